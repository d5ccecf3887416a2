#!/bin/sh
# SPDX-License-Identifier: MIT
# The main job of `make run`: order the bundled pool by several rules and tell how many samples
# must be verified until the first correct one, with intervals. Usage: run-sample.sh PROGRAM
set -eu
repexp=$1
pool=samples/countdown4-t06
has() { "$repexp" man --list | grep -qx "$1"; }
if has demo && [ -d models/countdown4 ]; then
    exec "$repexp" demo
fi
if has passk; then
    echo "pass@k of the bundled pool (16 problems x 128 samples):"
    "$repexp" passk --rewards $pool/pool.jsonl --k 1,4,16,64
fi
has select || exit 0
for rule in random likelihood elliptical quality; do
    echo
    echo "samples until the first correct one, by rule: $rule"
    "$repexp" select --features $pool/features.npy --groups $pool/pool.jsonl -k all \
        --method $rule --json >/dev/null
done
