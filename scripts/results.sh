#!/bin/sh
# SPDX-License-Identifier: MIT
# The protocol of docs/results.md on the bundled model, and its table. Usage: scripts/results.sh PROGRAM
# Five samplers of 300 problems, 128 samples each: about 192,000 samples. SHORT=1: two samplers of 100 problems.
set -eu
repexp=$1
out=${RESULTS:-out/results}
if [ "${SHORT:-}" ]; then
    "$repexp" demo --out "$out"
    python3 scripts/results-explore.py --write "$out/t10" "$out/t06"
else
    "$repexp" demo --full --out "$out"
    python3 scripts/results-explore.py --write "$out/t10" "$out/t06" "$out/t14" "$out/top-p" "$out/min-p"
fi
