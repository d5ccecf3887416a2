#!/bin/sh
# SPDX-License-Identifier: MIT
# Everything that `make test` checks, cheapest first, summed up in the last line:
# N passed, N failed, N skipped. Goes on after a failure; the exit status tells.
# Usage: OUT=build MAKE=make scripts/test-all.sh
set -u
OUT=${OUT:-build} MAKE=${MAKE:-make}
logs=$OUT/log
jobs=$(nproc 2>/dev/null || echo 2)
mkdir -p "$logs"
rm -f "$logs"/*.log "$logs/total"
start=$(date +%s)

# One check that passes or fails as a whole, with the end of its output where it fails.
step() {
    label=$1
    shift
    if "$@" >"$logs/$label.log" 2>&1; then
        echo "1 0 0" >>"$logs/total"
        echo "$label: 1 passed, 0 failed, 0 skipped"
    else
        echo "0 1 0" >>"$logs/total"
        echo "== $label"
        tail -60 "$logs/$label.log"
        echo "$label: 0 passed, 1 failed, 0 skipped"
        return 1
    fi
}
build() { "$MAKE" --no-print-directory -j"$jobs" "$@"; }
list() { # programs of a build folder: list FOLDER tests/test_*.c ...
    out=$1
    shift
    for f in "$@"; do [ -e "$f" ] && echo "$out/${f%.c}"; done
}
finish() {
    awk -v s="$start" '{ p += $1; f += $2; k += $3 }
        END { printf "%d passed, %d failed, %d skipped\n", p, f, k; exit f > 0 }' "$logs/total"
    exit $?
}

step lint sh scripts/lint.sh full
step build build OUT="$OUT" programs bench-programs || finish
step exports sh scripts/check-exports.sh "$OUT/librepexp.so"
step header sh scripts/check-header.sh
# shellcheck disable=SC2046
sh scripts/test.sh unit "$logs" $(list "$OUT" tests/test_*.c tests/prop_*.c)
# shellcheck disable=SC2046
REPEXP=$OUT/repexp sh scripts/test.sh cli "$logs" $(ls tests/cli/test_*.py 2>/dev/null)
if step build-san build OUT="$OUT/san" SAN=address,undefined programs; then
    export ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1
    # shellcheck disable=SC2046
    sh scripts/test.sh san "$logs" $(list "$OUT/san" tests/test_*.c tests/prop_*.c)
    # shellcheck disable=SC2046
    sh scripts/test.sh fuzz "$logs" $(list "$OUT/san" fuzz/fuzz_*.c)
fi
step clang build OUT="$OUT/clang" CC=clang CFLAGS=-O1 all
echo "took $(($(date +%s) - start)) s"
finish
