#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Ten AdamW steps by PyTorch on tiny models of tests/golden/models, for tests/cli/test_train_golden.py.

usage: make_golden_train.py OUT_DIR        (tests/golden/train; run from the project's root)

data.jsonl holds eight documents of token ids, prompts of which are not learnt. Every step sees all of
them, so that the order within a step is nobody's business. Loss, gradient and update are computed in
double precision by transformers and torch.optim.AdamW: what is left as a difference is our own error.
CASE.json: options, loss, norm of the gradient before clipping and learning rate of each step, and some
of the weights behind the last step (name -> shape and values in row-major order).
"""
import fnmatch
import json
import math
import os
import random
import sys

import torch
import transformers
from transformers import AutoModelForCausalLM

MODELS = "tests/golden/models"
STEPS = 10
# model, options of the run, weights to record
CASES = {
    "llama": (dict(lr=4e-3, warmup=3, schedule="cosine", lr_floor=0.1, weight_decay=0.1, clip=1.0,
                   beta1=0.9, beta2=0.95, eps=1e-8, no_decay="*norm*"),
              ["model.embed_tokens.weight", "model.layers.0.self_attn.k_proj.weight",
               "model.layers.1.mlp.down_proj.weight", "model.norm.weight"]),
    "qwen2": (dict(lr=6e-3, warmup=4, schedule="cosine", lr_floor=0.0, weight_decay=0.05, clip=0.7,
                   beta1=0.8, beta2=0.99, eps=1e-6, no_decay="*norm*,*.bias"),
              ["model.layers.0.self_attn.q_proj.bias", "model.layers.1.self_attn.k_proj.bias",
               "model.layers.0.mlp.gate_proj.weight", "model.layers.1.input_layernorm.weight"]),
    "qwen3": (dict(lr=3e-3, warmup=0, schedule="linear", lr_floor=0.2, weight_decay=0.0, clip=1.0,
                   beta1=0.9, beta2=0.999, eps=1e-8, no_decay=""),
              ["lm_head.weight", "model.layers.0.self_attn.q_norm.weight",
               "model.layers.1.self_attn.k_norm.weight", "model.layers.1.self_attn.o_proj.weight"]),
}


def documents():
    rng = random.Random(20)
    out = []
    for i in range(8):
        p, r = rng.randrange(1, 12), rng.randrange(1, 26)
        ids = [rng.randrange(3, 96) for _ in range(p + r)]
        out.append({"prompt_ids": ids[:p], "ids": ids[p:]})
    return out


def rate(o, t):
    """Linear warm-up to lr, then the schedule down to lr_floor of it at step STEPS."""
    if t < o["warmup"]:
        return o["lr"] * (t + 1) / o["warmup"]
    x = (t - o["warmup"]) / (STEPS - o["warmup"])
    f = {"cosine": (1 + math.cos(math.pi * x)) / 2, "linear": 1 - x}[o["schedule"]]
    return o["lr"] * (o["lr_floor"] + (1 - o["lr_floor"]) * f)


def matches(patterns, name):
    return any(fnmatch.fnmatchcase(name, p) for p in patterns.split(",") if p)


def total_loss(model, docs):
    """Mean of -log p over all learnt tokens of all documents."""
    total, n = 0.0, 0
    for d in docs:
        ids = torch.tensor([d["prompt_ids"] + d["ids"]])
        logits = model(ids, use_cache=False).logits[0]
        p = len(d["prompt_ids"])
        logp = torch.log_softmax(logits[p - 1:-1], -1)
        total = total - logp[torch.arange(len(d["ids"])), ids[0, p:]].sum()
        n += len(d["ids"])
    return total / n


def run(case, docs):
    o, keep = CASES[case]
    model = AutoModelForCausalLM.from_pretrained(os.path.join(MODELS, case), dtype=torch.float64,
                                                 attn_implementation="eager").train()
    named = list(model.named_parameters())
    groups = [{"params": [p for n, p in named if not matches(o["no_decay"], n)], "weight_decay": o["weight_decay"]},
              {"params": [p for n, p in named if matches(o["no_decay"], n)], "weight_decay": 0.0}]
    opt = torch.optim.AdamW(groups, lr=o["lr"], betas=(o["beta1"], o["beta2"]), eps=o["eps"])
    out = {"versions": {"torch": torch.__version__, "transformers": transformers.__version__},
           "options": {**o, "steps": STEPS, "seqs": len(docs)}, "loss": [], "grad_norm": [], "lr": []}
    for t in range(STEPS):
        for g in opt.param_groups:
            g["lr"] = rate(o, t)
        opt.zero_grad()
        loss = total_loss(model, docs)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), o["clip"])
        opt.step()
        out["loss"].append(loss.item())
        out["grad_norm"].append(norm.item())
        out["lr"].append(rate(o, t))
    state = model.state_dict()
    out["weights"] = {n: {"shape": list(state[n].shape), "values": [float("%.7g" % x) for x in state[n].flatten().tolist()]}
                      for n in keep}
    return out


def main():
    out = sys.argv[1]
    torch.manual_seed(0)
    docs = documents()
    with open(os.path.join(out, "data.jsonl"), "w") as f:
        f.writelines(json.dumps(d) + "\n" for d in docs)
    for case in CASES:
        result = run(case, docs)
        with open(os.path.join(out, case + ".json"), "w") as f:
            json.dump(result, f, separators=(",", ":"))
            f.write("\n")
        print(case, " ".join("%.5f" % x for x in result["loss"]))


if __name__ == "__main__":
    main()
