# SPDX-License-Identifier: MIT
"""Loads a model folder as transformers does, without any code of ours, and compares with the program: the ids of every
prompt and, to 1e-4, the log-probability of every token.

usage: check_model.py REPEXP MODEL PROMPTS.jsonl WORK      (an environment of scripts/venv.sh; WORK takes the pool)
"""
import json
import os
import subprocess
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

program, model, prompts, work = sys.argv[1:]
pool = os.path.join(work, "pool.jsonl")
subprocess.run([program, "generate", "--model", model, "--prompts", prompts, "-n", "4", "--max-tokens", "24", "--out", pool,
                "--quiet"], check=True)
with open(prompts) as f:
    text = {r["prompt_id"]: r["prompt"] for r in map(json.loads, f)}
with open(pool) as f:
    rows = [json.loads(x) for x in f]
tok = AutoTokenizer.from_pretrained(model)
net = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
worst = 0.0
for r in rows:
    head = tok(text[r["prompt_id"]], add_special_tokens=True)["input_ids"]
    if "prompt_ids" in r and head != r["prompt_ids"]:
        sys.exit(f"{r['prompt_id']}: ids {head}, the program has {r['prompt_ids']}")
    ids = head + r["ids"]
    with torch.no_grad():
        logp = net(torch.tensor([ids])).logits[0].double().log_softmax(-1)
    worst = max([worst] + [abs(float(logp[len(head) + i - 1, t]) - r["logp"][i]) for i, t in enumerate(r["ids"])])
print("ok   %d texts, log-probabilities within %.2g" % (len(rows), worst))
sys.exit(worst > 1e-4)
