#!/bin/sh
# SPDX-License-Identifier: MIT
# Lays out again, by .clang-format, the lines of C that are wider than 100 columns and the
# statements that they belong to; leaves everything else as it was written. Needs clang-format.
# Usage: scripts/format.sh [FILE...]   (default: all C files of the project)
set -eu
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- $(git ls-files '*.c' '*.h')
for f in "$@"; do
    # Ruled headings are cut, not wrapped.
    awk 'length($0) > 96 && match($0, /^\/\* ---- .* -+ \*\/$/) {
            sub(/ -+ \*\/$/, " "); while (length($0) < 93) $0 = $0 "-"; $0 = $0 " */" }
        { print }' "$f" >"$f.tmp"
    cmp -s "$f" "$f.tmp" || cat "$f.tmp" >"$f"
    rm -f "$f.tmp"
    # A second round: what was broken once may still be too wide.
    for round in 1 2; do
        lines=$(awk 'length($0) > 100 { printf " --lines=%d:%d", FNR, FNR }' "$f")
        # shellcheck disable=SC2086
        [ -z "$lines" ] || clang-format -i $lines "$f"
    done
    awk -v f="$f" 'length($0) > 100 { print f ":" FNR ": still " length($0) " columns" }' "$f"
done
