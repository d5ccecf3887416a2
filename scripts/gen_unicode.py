#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes src/tokenizer/uclass_tab.c: the character classes that the reference tokenizers split by.

The classes are asked of the reference itself (the package `tokenizers`), code point by code point,
because its regular expressions and its digits follow newer editions of Unicode than the libraries
of a stable system. What the edition of Python's own tables does not know yet is marked as new: it
must be no newer than that of the oldest PCRE2 that is supported (10.42: Unicode 14). Run it in an environment that has `tokenizers`:

    python3 scripts/gen_unicode.py > src/tokenizer/uclass_tab.c
"""
import sys
import unicodedata

import tokenizers
from tokenizers import Regex, normalizers, pre_tokenizers

CODES = [c for c in range(1, 0x110000) if not 0xD800 <= c < 0xE000]
STEP = 50000


def members(splitter, keep):
    """The code points that `splitter` removes (keep False) or isolates as one piece (keep True)."""
    out = set()
    for i in range(0, len(CODES), STEP):
        part = CODES[i:i + STEP]
        pieces = [t for t, _ in splitter.pre_tokenize_str("\0".join(map(chr, part)))]
        if keep:
            out |= {ord(t) for t in pieces if len(t) == 1 and t != "\0"}
        else:
            left = set(map(ord, "".join(pieces)))
            out |= {c for c in part if c not in left}
    return out


def main():
    names = [("L", r"\p{L}"), ("N", r"\p{N}"), ("S", r"\s"), (None, None), ("W", r"\w")]
    mask = dict.fromkeys(CODES, 0)
    for bit, (_, pattern) in enumerate(names):
        if pattern is None:
            found = members(pre_tokenizers.Digits(individual_digits=True), True)
        else:
            found = members(pre_tokenizers.Split(Regex(pattern), "removed"), False)
        for c in found:
            mask[c] |= 1 << bit
    if unicodedata.unidata_version != "14.0.0":
        sys.exit("this needs a Python with Unicode 14, not " + unicodedata.unidata_version)
    for c in CODES:
        if mask[c] and unicodedata.category(chr(c)) == "Cn":
            mask[c] |= 64
    ranges = []
    for c in CODES:
        if not mask[c]:
            continue
        if ranges and ranges[-1][1] == c - 1 and ranges[-1][2] == mask[c]:
            ranges[-1][1] = c
        else:
            ranges.append([c, c, mask[c]])
    print("""/* SPDX-License-Identifier: MIT
 *
 * uclass_tab: ranges of code points by class, written by scripts/gen_unicode.py from the package
 * tokenizers %s. A row is first, last, mask; the bits are REX_UC_L (letters, \\p{L}), REX_UC_N
 * (\\p{N}), REX_UC_S (white space, \\s), REX_UC_D (what its Digits step splits off), REX_UC_W
 * (\\w) and REX_UC_NEW (not in Unicode 14). Ascending and disjoint; what is in no range is in no
 * class. rex_lower_new: capitals that Unicode 14 does not know and their small letters. Do not edit
 * by hand.
 */
#include "tok.h"

const uint32_t rex_uclass_range[][3] = {""" % tokenizers.__version__)
    for i in range(0, len(ranges), 4):
        print("    " + " ".join("{0x%x, 0x%x, %d}," % tuple(r) for r in ranges[i:i + 4]))
    print("};\nconst size_t rex_uclass_ranges = sizeof rex_uclass_range / sizeof rex_uclass_range[0];\n")
    lower = normalizers.Lowercase()
    pairs = [(c, lower.normalize_str(chr(c))) for c in CODES]
    pairs = [(c, ord(t)) for c, t in pairs if len(t) == 1 and t != chr(c).lower() and ord(t) != c]
    print("const uint32_t rex_lower_new[][2] = {")
    for i in range(0, len(pairs), 5):
        print("    " + " ".join("{0x%x, 0x%x}," % p for p in pairs[i:i + 5]))
    print("};\nconst size_t rex_lower_news = sizeof rex_lower_new / sizeof rex_lower_new[0];")


if __name__ == "__main__":
    sys.exit(main())
