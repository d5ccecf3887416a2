#!/bin/sh
# SPDX-License-Identifier: MIT
# engine.sh BENCH_GEN BENCH_KERN [--quick]: the engine beside its floor and its rivals, one JSON line for each
# scene. Everything may be narrowed, so that a long table can be taken in quiet minutes:
#   SHAPES="135m 0.5b"  FORMATS="f32 bf16 q8_0 bf16c"  THREADS="1 2"  SCENES=lpds (f: what pooled
#   features cost, 20 pairs)  REPEATS=5  PRODUCTS=1 (the table of bench_kern)  CORE=0 (pin to a core,
#   one thread only)
#   PYTHON=python3 (with torch: bench/torch_gen.py runs in turns with ours, f32 and bf16)
set -eu
gen=$1 kern=$2 here=$(dirname "$0")
if [ "${3:-}" = --quick ]; then
    THREADS=1 SHAPES=135m FORMATS=bf16 SCENES=lpd REPEATS=1 PYTHON=
fi
torch=
if [ -n "${PYTHON:-}" ] && "$PYTHON" -c 'import torch' 2>/dev/null; then torch=$PYTHON; fi
[ -n "$torch" ] || echo "engine.sh: no PYTHON with torch: the rival is left out" >&2

pinned() { # THREADS COMMAND...
    n=$1
    shift
    if [ "$n" = 1 ] && [ -n "${CORE:-}" ]; then taskset -c "$CORE" "$@"; else "$@"; fi
}

for threads in ${THREADS:-1 2}; do
    for shape in ${SHAPES:-135m 0.5b}; do
        for format in ${FORMATS:-f32 bf16 q8_0}; do
            scenes=${SCENES:-lpds}
            plain=$(printf %s "$scenes" | tr -d f)
            [ -z "$plain" ] ||
                pinned "$threads" "$gen" "$shape" "$format" "$threads" "${REPEATS:-5}" "$plain"
            case $scenes in
            *f*) pinned "$threads" "$gen" "$shape" "$format" "$threads" 20 f ;;
            esac
            case $format in f32 | bf16) ;; *) continue ;; esac
            rival=$(printf %s "$scenes" | tr -cd pds)
            [ -z "$torch" ] || [ -z "$rival" ] ||
                pinned "$threads" "$torch" "$here/torch_gen.py" "$shape" "$threads" "$format" \
                    "${REPEATS:-5}" "$rival"
        done
    done
    [ -z "${PRODUCTS:-}" ] || pinned "$threads" "$kern" "$threads" "${REPEATS:-5}" products
done
