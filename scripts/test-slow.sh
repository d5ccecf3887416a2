#!/bin/sh
# SPDX-License-Identifier: MIT
# What takes minutes and is run on request. Usage: OUT= MAKE= CC= scripts/test-slow.sh KIND
#   test-slow  tests/slow_*.sh: long runs, other processors
#   torture    every unit test under valgrind (memcheck), where it is installed
#   fuzz       libFuzzer on every target, FUZZ_SECONDS (60) each; needs clang
set -u
OUT=${OUT:-build} MAKE=${MAKE:-make} kind=$1
logs=$OUT/log
mkdir -p "$logs"
case $kind in
test-slow)
    # shellcheck disable=SC2046
    OUT=$OUT sh scripts/test.sh slow "$logs" $(ls tests/slow_*.sh 2>/dev/null)
    ;;
torture)
    command -v valgrind >/dev/null || { echo "torture needs valgrind"; exit 1; }
    "$MAKE" --no-print-directory programs OUT="$OUT" || exit 1
    bad=0
    for t in "$OUT"/tests/test_*; do
        case $t in *.o | *.d) continue ;; esac
        CK_FORK=no valgrind -q --error-exitcode=9 --leak-check=full "$t" >"$logs/valgrind.log" 2>&1
        rc=$?
        echo "$(basename "$t"): $(tail -1 "$logs/valgrind.log")"
        [ $rc != 9 ] || { cat "$logs/valgrind.log"; bad=1; }
    done
    exit $bad
    ;;
fuzz)
    dir=$OUT/fuzzer
    flags="-std=c11 -D_POSIX_C_SOURCE=200809L -g -O1 -fsanitize=fuzzer,address,undefined
        -fno-sanitize-recover=undefined -ffp-contract=off -fno-math-errno -I. -pthread"
    mkdir -p "$dir"
    src=$(ls src/*/*.c | grep -v -e cpu_vec -e /mpi.c)
    for t in fuzz/fuzz_*.c; do
        name=$(basename "$t" .c)
        echo "== $name"
        # shellcheck disable=SC2086,SC2046
        clang $flags -o "$dir/$name" "$t" $src $(sed -n 's/^LIBS := //p' "$OUT/config.mk") || exit 1
        mkdir -p "$dir/corpus-$name"
        "$dir/$name" -max_total_time="${FUZZ_SECONDS:-60}" -timeout=10 -rss_limit_mb=2048 \
            -print_final_stats=1 "$dir/corpus-$name" "fuzz/corpus/${name#fuzz_}" \
            >"$logs/$name.fuzz" 2>&1 || { tail -40 "$logs/$name.fuzz"; exit 1; }
        grep -E 'number_of_executed_units' "$logs/$name.fuzz"
    done
    ;;
esac
