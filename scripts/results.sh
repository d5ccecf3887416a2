#!/bin/sh
# SPDX-License-Identifier: MIT
# The protocol of docs/results.md on the bundled model, and its tables. Usage: scripts/results.sh PROGRAM
# Five samplers of 300 problems, 128 samples each, under each of four seeds of problems and samples: about 770,000
# samples, a quarter of an hour on two cores. SEEDS="0 1" takes others; what stands in RESULTS (out/results) is made anew.
set -eu
repexp=$1
out=${RESULTS:-out/results}
seeds=${SEEDS:-0 1 2 3}
first=${seeds%% *}
bars=
for seed in $seeds; do
    "$repexp" demo --full --seed "$seed" --out "$out/seed$seed"
    bars="$bars $seed=$out/seed$seed"
done
one=$out/seed$first
python3 scripts/results-explore.py --write "$one/t10" "$one/t06" "$one/t14" "$one/top-p" "$one/min-p"
# shellcheck disable=SC2086
python3 scripts/results-bars.py --write $bars
