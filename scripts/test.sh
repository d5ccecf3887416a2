#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs test programs side by side, shows what failed or was skipped, and adds up their counts.
# Usage: scripts/test.sh LABEL LOGDIR PROGRAM...
# Each program ends with "N passed, N failed, N skipped"; one that does not has failed. The sums
# of this call are added to LOGDIR/total and its last line has the same form.
set -u
label=$1 logs=$2
shift 2
mkdir -p "$logs"
jobs=$(($(nproc 2>/dev/null || echo 2) + 1)) # one more: some of them wait for clocks
# What took longest the last time begins first, so that no core waits for it at the end.
touch "$logs/times"
first=$(for p in "$@"; do
    echo "$(grep -F " $label-$(basename "$p") " "$logs/times" | tail -1 | cut -d' ' -f3) $p"
done | sort -s -r -n -k1,1 | sed 's/^[0-9]* //')
[ $# -eq 0 ] || echo "$first" | xargs -P "$jobs" -I{} sh -c '
    log=$2/$1-$(basename "$3").log
    start=$(date +%s)
    case $3 in
    *.py) python3 -B "$3" >"$log" 2>&1 ;;
    *.sh) sh "$3" >"$log" 2>&1 ;;
    *) "$3" >"$log" 2>&1 ;;
    esac
    rc=$?
    echo "rc $rc $(($(date +%s) - start))" >>"$log"' sh "$label" "$logs" {}
pass=0 fail=0 skip=0
for p in "$@"; do
    log=$logs/$label-$(basename "$p").log
    sum=$(grep -E '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$log" | tail -1)
    echo " $label-$(basename "$p") $(sed -n 's/^rc [0-9]* //p' "$log" | tail -1)" >>"$logs/times.new"
    rc=$(sed -n 's/^rc \([0-9]*\).*/\1/p' "$log" | tail -1)
    # shellcheck disable=SC2046
    set -- $(echo "$sum" | tr -d ,)
    f=${3:-0}
    if [ -z "$sum" ] || { [ "$rc" != 0 ] && [ "$f" = 0 ]; }; then
        f=$((f + 1))
        echo "$label $(basename "$p"): ended with status $rc and no proper count"
    fi
    pass=$((pass + ${1:-0})) fail=$((fail + f)) skip=$((skip + ${5:-0}))
    [ "$f" = 0 ] || { echo "== $label $(basename "$p")"; grep -v '^rc ' "$log" | tail -60; }
    grep -h '^skipped: ' "$log" | sort | uniq -c | sed "s|^ *|$label $(basename "$p"): |"
done
if [ -e "$logs/times.new" ]; then
    cat "$logs/times.new" "$logs/times" | sort -u -k1,1 >"$logs/times.all"
    mv "$logs/times.all" "$logs/times"
    rm -f "$logs/times.new"
fi
echo "$pass $fail $skip" >>"$logs/total"
echo "$label: $pass passed, $fail failed, $skip skipped"
[ "$fail" = 0 ]
