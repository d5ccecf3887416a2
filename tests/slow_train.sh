#!/bin/sh
# SPDX-License-Identifier: MIT
# Training at length: twenty kills, and the predicted memory of six settings beside the measured one.
set -u
OUT=${OUT:-build} pass=0 fail=0
export REPEXP="$OUT/repexp" REPEXP_KILLS=20 REPEXP_PLANS=6
for t in kill plan; do
    if python3 -B tests/cli/test_$t.py; then pass=$((pass + 1)); else fail=$((fail + 1)); fi
done
echo "$pass passed, $fail failed, 0 skipped"
[ $fail = 0 ]
