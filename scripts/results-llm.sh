#!/bin/sh
# SPDX-License-Identifier: MIT
# The orders on a real model: SmolLM2-135M-Instruct on the 200 questions of GSM8K's test set with the shortest
# solutions, 64 samples each at temperature 0.7, and the table in docs/results.md. Goes on with a run that was
# stopped. About half an hour of two cores. Usage: scripts/results-llm.sh PROGRAM
#   RESULTS (out/results-llm): its folder; PROBLEMS=N takes fewer questions: nothing is written into docs then.
set -eu
repexp=$1
out=${RESULTS:-out/results-llm}
problems=${PROBLEMS:-200}
data=${REPEXP_DATA:-../shared/data}
model=$(sh scripts/get-smollm2.sh)
rules=$(python3 scripts/results-llm.py --rules)
mkdir -p "$out"
python3 scripts/llm-prompts.py "$data/gsm8k/test.jsonl" "$problems" >"$out/prompts.jsonl"
"$repexp" explore --model "$model" --task gsm8k --data "$out/prompts.jsonl" -n 64 --temperature 0.7 \
    --max-tokens 80 --stop '["\n\n"]' --turn plain --chat none --rules "$rules" --out "$out/run" --resume
[ "$problems" = 200 ] || exit 0
python3 scripts/results-llm.py --write "$out/run"
