#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Pairs of different MATH golds of one type, and golds with one digit or sign changed, graded by
`test_math --pairs`; every pair called `correct` must be equal for SymPy, which reads the two texts
by the small converter below and by nothing of ours.

Usage: check_math_sympy.py TEST_MATH DATA [PAIRS]
"""
import collections
import json
import os
import random
import re
import subprocess
import sys

import sympy
from sympy.parsing.sympy_parser import (convert_xor, implicit_multiplication, parse_expr,
                                        standard_transformations)

TRANSFORMS = standard_transformations + (implicit_multiplication, convert_xor)
UNITS = re.compile(r"\\(?:text|mbox|textnormal)\s*\{[^{}]*\}(\^\{?\d\}?)?")


def kind(a):
    """The type of a gold, so that pairs are of like things."""
    if "pmatrix" in a:
        return "matrix"
    if "text" in a or "mbox" in a:
        return "words and units"
    if re.fullmatch(r"[-\d.,\\!$ {}]+", a):
        return "number"
    if "cup" in a or "infty" in a or "[" in a:
        return "interval"
    if "(" in a and "," in a:
        return "tuple"
    if "," in a:
        return "list"
    if "=" in a:
        return "equation"
    if re.search(r"[a-zA-Z]", re.sub(r"\\[a-z]+", "", a)):
        return "expression"
    return "constant"


def split(s):
    """At commas outside of brackets."""
    parts, depth, last = [], 0, 0
    for i, ch in enumerate(s):
        depth += (ch in "([{") - (ch in ")]}")
        if ch == "," and depth == 0:
            parts.append(s[last:i])
            last = i + 1
    return parts + [s[last:]]


def plain(s):
    """LaTeX of one scalar to the infix that SymPy reads."""
    s = re.sub(r"\\(left|right|!|,|;|displaystyle)", "", s)
    s = re.sub(r"\\[dt]?frac\s*(\d)\s*(\d)", r"((\1)/(\2))", s)
    s = re.sub(r"\\sqrt\s*(\d)", r"sqrt(\1)", s)
    for _ in range(12):
        was = s
        s = re.sub(r"(\d)\s*\\[dtc]?frac\s*\{(\d+)\}\s*\{(\d+)\}", r"(\1+(\2)/(\3))", s)
        s = re.sub(r"\\[dtc]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}", r"((\1)/(\2))", s)
        s = re.sub(r"\\sqrt\s*\[(\d+)\]\s*\{([^{}]*)\}", r"((\2)**(Rational(1,\1)))", s)
        s = re.sub(r"\\sqrt\s*\{([^{}]*)\}", r"sqrt(\1)", s)
        s = re.sub(r"\^\s*\{([^{}]*)\}", r"**(\1)", s)
        if s == was:
            break
    s = re.sub(r"\^?\\circ", "", s).replace("\\cdot", "*").replace("\\times", "*")
    s = re.sub(r"\\(sin|cos|tan|cot|sec|csc|log|ln|pi|theta|alpha)", r" \1 ", s)
    s = s.replace("\\%", "").replace("%", "").replace("\\$", "").replace("\\infty", "oo")
    return re.sub(r"(?<![a-zA-Z])i(?![a-zA-Z])", "I", re.sub(r"(?<![a-zA-Z])e(?![a-zA-Z])", "E", s))


def scalar(s):
    """A SymPy value; its text where SymPy cannot read it."""
    s = UNITS.sub("", s).strip().rstrip(".,")
    if re.fullmatch(r"-?(\\\$)?\s*[\d,.]+|-?[\d{},\\!. ]+", s) and re.search(r"\d", s):
        digits = re.sub(r"[{}\\!, $]", "", s)
        return sympy.Rational(digits)
    try:
        return parse_expr(plain(s), transformations=TRANSFORMS, evaluate=True)
    except Exception:
        return re.sub(r"\s|\\[a-z]*box|\\text|[{}()]", "", s).lower()


def same(x, y):
    if isinstance(x, str) or isinstance(y, str):
        return isinstance(x, str) and isinstance(y, str) and x == y
    try:
        if sympy.simplify(x - y) == 0:
            return True
        value = complex(sympy.N(x - y, 60))
    except Exception:
        return False
    return abs(value) < 1e-40


def rounded(x, y, text):
    """The rounding rule: `text` is a decimal of four or more significant digits."""
    m = re.fullmatch(r"-?\d*\.(\d+)", text.strip())
    if not m or isinstance(x, str) or len(text.replace("-", "").replace(".", "").lstrip("0")) < 4:
        return False
    return abs(sympy.N(x - y, 40)) <= sympy.Rational(1, 2 * 10 ** len(m.group(1)))


def equal(a, b):
    """Equal as the judgement calls of docs/grading.md have it."""
    a, b = a.strip(), b.strip()
    squeeze = lambda s: re.sub(r"\s|\\left|\\right|\\!|\\,|\\;|\\ ", "", s).replace("tfrac", "frac").replace("dfrac", "frac")
    if squeeze(a) == squeeze(b):
        return True
    a, b = (re.sub(r"^\\?[A-Za-z]+(\([a-z]\))?\s*=\s*", "", s) if s.count("=") == 1 and not
            re.search(r"[a-z]", re.sub(r"\\[a-z]+", "", s.split("=")[1])) else s for s in (a, b))
    if "=" in a or "=" in b:
        if a.count("=") != 1 or b.count("=") != 1:
            return False
        d = [scalar(s.split("=")[0]) - scalar(s.split("=")[1]) for s in (a, b)]
        ratio = sympy.simplify(d[0] / d[1])
        return ratio.is_number and ratio != 0
    if "pmatrix" in a and "pmatrix" in b:
        cells = [[[scalar(c) for c in row.split("&")] for row in re.sub(r"\\(begin|end)\{pmatrix\}", "", s).strip().split("\\\\")]
                 for s in (a, b)]
        return (len(cells[0]) == len(cells[1]) and all(len(p) == len(q) and all(map(same, p, q)) for p, q in zip(*cells)))
    if re.fullmatch(r"-?[\d,\\!{}.$ ]+", a) and re.fullmatch(r"-?[\d,\\!{}.$ ]+", b) and ", " not in a + b:
        return same(scalar(a), scalar(b))
    if "cup" in a or "cup" in b:
        pieces = [sorted(squeeze(s).split("\\cup")) for s in (a, b)]
        return len(pieces[0]) == len(pieces[1]) and all(map(equal, *pieces))
    a, b = (re.sub(r"\\left|\\right", "", s).strip() for s in (a, b))
    if a[:1] in "([" and a[-1:] in ")]" and b[:1] in "([" and len(split(a[1:-1])) > 1:
        if (a[0], a[-1]) != (b[0], b[-1]):
            return False
        p, q = split(a[1:-1]), split(b[1:-1])
        return len(p) == len(q) and all(same(scalar(x), scalar(y)) for x, y in zip(p, q))
    p, q = split(a.replace("\\{", "").replace("\\}", "")), split(b.replace("\\{", "").replace("\\}", ""))
    if len(p) > 1 or len(q) > 1:
        p, q = ([scalar(x) for x in s] for s in (p, q))
        return all(any(same(x, y) for y in q) for x in p) and all(any(same(x, y) for x in p) for y in q)
    x, y = scalar(a), scalar(b)
    return same(x, y) or rounded(x, y, a) or rounded(x, y, b)


def changed(rng, a):
    """One digit or sign of a gold changed."""
    spots = [i for i, ch in enumerate(a) if ch.isdigit() or ch in "+-"]
    if not spots:
        return None
    i = rng.choice(spots)
    new = rng.choice("0123456789") if a[i].isdigit() else ("-" if a[i] == "+" else "+")
    return a[:i] + new + a[i + 1:]


def main():
    program, data = sys.argv[1], sys.argv[2]
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 5000
    golds = sorted({row["answer"] for name in ("train", "test")
                    for row in map(json.loads, open(os.path.join(data, "math", name + ".jsonl"))) if row["answer"]})
    by_kind = collections.defaultdict(list)
    for a in golds:
        by_kind[kind(a)].append(a)
    rng = random.Random(2026)
    pairs = []
    while len(pairs) < count:
        group = by_kind[rng.choice(sorted(by_kind))]
        a, b = rng.choice(group), rng.choice(group)
        if a != b:
            pairs.append((a, b))
    random_pairs = len(pairs)
    while len(pairs) < 2 * count:
        a = rng.choice(golds)
        b = changed(rng, a)
        if b and b != a:
            pairs.append((a, b))
    lines = "".join(json.dumps({"gold": a, "response": b}) + "\n" for a, b in pairs)
    out = subprocess.run([program, "--pairs"], input=lines.encode(), capture_output=True, check=True).stdout
    verdicts = [line.split("\t")[0] for line in out.decode(errors="replace").splitlines()]
    if len(verdicts) != len(pairs):
        sys.exit(f"{len(verdicts)} verdicts for {len(pairs)} pairs")
    false = 0
    for (a, b), verdict in zip(pairs, verdicts):
        if verdict != "correct":
            continue
        try:
            ok = equal(a, b)
        except Exception as e:  # SymPy could not say: look by eye
            ok = False
            print(f"not read by the checker: {e!r}")
        if not ok:
            false += 1
            print(f"called correct, not equal for SymPy: {a!r} :: {b!r}")
    for name, part in (("random pairs", slice(0, random_pairs)), ("changed golds", slice(random_pairs, None))):
        print(name, dict(collections.Counter(verdicts[part])))
    print(f"{int(false == 0)} passed, {int(false > 0)} failed, 0 skipped")
    sys.exit(false > 0)


if __name__ == "__main__":
    main()
