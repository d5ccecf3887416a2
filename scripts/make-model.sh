#!/bin/sh
# SPDX-License-Identifier: MIT
# The Countdown model, made from nothing: 60,000 worked problems as the generator draws them, 2,500 updates; its window
# on 300 held-out problems: pass@1 in [0.08, 0.18], pass@64 at least 0.80. The same bytes with any number of threads.
# Usage: scripts/make-model.sh PROGRAM [FOLDER]
#   FOLDER (out/model): run folder; goes on with a run that was stopped. The model is copied to models/countdown4,
#   unless one is there that differs: then it is compared, the difference named, and exit 1.
# STEPS=N and PROBLEMS=N shrink it for a trial; nothing is copied or judged then.
set -eu
repexp=$1
out=${2:-out/model}
steps=${STEPS:-2500}
problems=${PROBLEMS:-300}
model=models/countdown4
mkdir -p "$out"

[ -s "$out/train.jsonl" ] || {
    # draws as they come: a problem with many solutions comes often, each time with another of them
    "$repexp" task make --task countdown -n 60000 --split train --solutions --repeats --seed 0 >"$out/train.part"
    mv "$out/train.part" "$out/train.jsonl"
}
set -- --init tiny --build chars --context 64 --data "$out/train.jsonl" --steps "$steps" --seqs 64 \
    --lr 3e-3 --warmup 50 --save-every 500 --seed 0
if [ -d "$out/run/checkpoints" ]; then
    "$repexp" sft "$@" --resume "$out/run"
else
    "$repexp" sft "$@" --out "$out/run"
fi
made=$out/run/checkpoints/step_$steps

"$repexp" task make --task countdown -n "$problems" --split test --seed 0 >"$out/held-out.jsonl"
"$repexp" generate --model "$made" --prompts "$out/held-out.jsonl" -n 128 --max-tokens 32 --seed 0 \
    --out "$out/raw.jsonl" --resume
"$repexp" task verify --task countdown "$out/raw.jsonl" --records >"$out/pool.jsonl"
"$repexp" passk --rewards "$out/pool.jsonl" --k 1,8,64,128
"$repexp" passk --rewards "$out/pool.jsonl" --k 1,64 --json --quiet >"$out/pass.json"
[ "$steps" = 2500 ] && [ "$problems" = 300 ] || { echo "a trial: neither judged nor copied"; exit 0; }

awk '{
    match($0, /"pass":\{"1":\{"value":[0-9.e-]+/); one = substr($0, RSTART + 21, RLENGTH - 21)
    match($0, /"64":\{"value":[0-9.e-]+/); many = substr($0, RSTART + 14, RLENGTH - 14)
    if (one < 0.08 || one > 0.18 || many < 0.80) {
        print "outside its window: pass@1 " one " (0.08 .. 0.18), pass@64 " many " (0.80 or more)"; exit 1 }
    print "inside its window: pass@1 " one ", pass@64 " many }' "$out/pass.json"

if [ -d $model ]; then
    for f in "$made"/*; do
        name=${f##*/}
        [ "$name" = state.safetensors ] || [ ! -e "$model/$name" ] || cmp "$f" "$model/$name" || exit 1
    done
    echo "$model: the same bytes"
else
    mkdir -p $model.part
    for f in "$made"/*; do
        [ "${f##*/}" = state.safetensors ] || cp "$f" $model.part/
    done
    mv $model.part $model
    echo "$model: made"
fi
