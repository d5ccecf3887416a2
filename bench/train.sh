#!/bin/sh
# SPDX-License-Identifier: MIT
# train.sh BENCH_TRAIN [--quick]: training steps beside their floor and PyTorch, in turns (bench/turns.py), one JSON
# line for each program and setting; then the memory of a step of one batch of 64 x 128 tokens. Everything may be
# narrowed, so that a long table can be taken in quiet minutes:
#   SHAPES="135m tiny"  FORMATS="f32 bf16"  THREADS="1 2"  STEPS=3 (rounds)  CORE=0 (pin to a core, one thread only)
#   MEMORY="f32 bf16" (formats of the memory lines; empty: none)  MODES="eager compile" (of PyTorch; empty: it is
#   left out)  LIMIT=120 (seconds: a step of a rival that takes longer is reported as such)
#   PYTHON=python3 (with torch, for bench/torch_train.py)
set -eu
train=$1 here=$(dirname "$0")
if [ "${2:-}" = --quick ]; then
    THREADS=1 SHAPES=tiny FORMATS="f32 bf16" STEPS=1 MODES='' MEMORY=''
    WARM=1
    export WARM
fi
python=${PYTHON:-python3}
modes=${MODES-eager compile}
if [ -n "$modes" ] && ! "$python" -c 'import torch' 2>/dev/null; then
    echo "train.sh: no PYTHON with torch: the rival is left out" >&2
    modes=
fi

pinned() { # THREADS COMMAND...
    n=$1
    shift
    if [ "$n" = 1 ] && [ -n "${CORE:-}" ]; then taskset -c "$CORE" "$@"; else "$@"; fi
}

for threads in ${THREADS:-1 2}; do
    for shape in ${SHAPES:-135m tiny}; do
        for format in ${FORMATS:-f32 bf16}; do
            word=
            [ "$format" = f32 ] || word=$format
            set -- "$train $shape $threads 0 $word serve"
            for mode in $modes; do
                flag=
                [ "$mode" = eager ] || flag=--$mode
                set -- "$@" "$python $here/torch_train.py --shape $shape --dtype $format --threads $threads $flag --serve"
            done
            pinned "$threads" python3 "$here/turns.py" "${STEPS:-3}" "${LIMIT:-120}" "$@"
        done
    done
done
for format in ${MEMORY-f32 bf16}; do
    for redo in 0 30; do
        word=
        [ "$format" = f32 ] || word=$format
        "$train" 135m 2 0 $word redo=$redo seqs=64 micro=64
    done
done
