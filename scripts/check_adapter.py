#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Adapters and GGUF files of ours in the hands of others, and theirs in ours.

usage: check_adapter.py REPEXP WORK [ARCH ...]      (from the project's root; WORK: an empty folder)

For tiny models of every architecture (tests/golden/models):
  1. an adapter that `repexp sft --lora` has trained is loaded by PEFT; log-probabilities of every token
     by transformers and by `repexp logprob --adapter` agree to 1e-4;
  2. so do those of an adapter that PEFT has made (random B, some targets, rslora, bf16 weights);
  3. so do those of the folder that `repexp merge` writes, loaded by transformers alone;
  4. the file that `repexp export` writes is read by the package gguf: every tensor has the bits of the
     folder's (q and k of llama interleaved, gemma's norms plus one).
Prints one line a check and exits with 1 if one fails."""
import json
import os
import subprocess
import sys

import gguf
import numpy as np
import peft
import torch
import transformers
from safetensors.torch import load_file

LIMIT = 1e-4
GOLDEN = "tests/golden/models/"
ARCHS = ["llama", "llama3", "mistral", "qwen2", "qwen3", "phi3", "gemma3"]
SEQS = [[3, 40, 7, 91, 15, 16, 88, 2, 5, 31, 64], [9, 9, 60, 41, 22], [70 - i for i in range(30)]]
failed = False


def say(what, worst, limit=LIMIT):
    global failed
    good = worst <= limit
    failed |= not good
    print(("ok   " if good else "FAIL ") + "%s: largest difference %.3g" % (what, worst), flush=True)


def repexp(*args):
    p = subprocess.run([REPEXP, *map(str, args)], capture_output=True, text=True)
    if p.returncode != 0:
        sys.exit("repexp %s: %s" % (" ".join(map(str, args)), p.stderr))
    return p.stdout


def jsonl(name, rows):
    path = os.path.join(WORK, name)
    with open(path, "w") as f:
        f.writelines(json.dumps(r) + "\n" for r in rows)
    return path


def ours(model, *more):
    """Log-probabilities of all tokens but the first of each sequence."""
    pairs = jsonl("pairs.jsonl", [{"prompt_id": str(i), "sample": 0, "prompt_ids": s[:1], "ids": s[1:]}
                                  for i, s in enumerate(SEQS)])
    return [json.loads(x)["logp"] for x in repexp("logprob", "--model", model, "--pairs", pairs, *more).splitlines()]


def theirs(model):
    out = []
    with torch.no_grad():
        for s in SEQS:
            logp = torch.log_softmax(model(torch.tensor([s])).logits[0].double(), -1)
            out.append([logp[t, s[t + 1]].item() for t in range(len(s) - 1)])
    return out


def compare(what, a, b):
    say(what, max(abs(x - y) for p, q in zip(a, b) for x, y in zip(p, q)))


def base_of(path):
    return transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32,
                                                             attn_implementation="eager").eval()


def check_adapters(arch):
    path, run = GOLDEN + arch, os.path.join(WORK, "run_" + arch)
    data = jsonl("data.jsonl", [{"ids": s} for s in SEQS] * 4)
    repexp("sft", "--model", path, "--lora", 4, "--data", data, "--steps", 6, "--seqs", 6, "--lr", 2e-2,
           "--loss-on-all", "--out", run, "--quiet")
    adapter = run + "/checkpoints/step_6"
    plain = ours(path)
    trained = ours(path, "--adapter", adapter)
    moved = max(abs(x - y) for p, q in zip(plain, trained) for x, y in zip(p, q))
    if moved < 0.1:
        say(arch + ": the adapter does not matter", np.inf)
    compare(arch + ": our adapter in PEFT", trained,
            theirs(peft.PeftModel.from_pretrained(base_of(path), adapter).eval()))
    merged = os.path.join(WORK, "merged_" + arch)
    repexp("merge", "--model", path, "--adapter", adapter, "--out", merged, "--quiet")
    compare(arch + ": merged, in transformers", trained, theirs(base_of(merged)))
    targets = ["qkv_proj", "down_proj"] if arch == "phi3" else ["q_proj", "v_proj", "o_proj", "up_proj"]
    torch.manual_seed(3)
    made = peft.get_peft_model(base_of(path), peft.LoraConfig(r=5, lora_alpha=7, target_modules=targets,
                                                              use_rslora=True, task_type="CAUSAL_LM"))
    for name, p in made.named_parameters():
        if "lora_" in name:
            p.data = (torch.randn_like(p) * 0.1).bfloat16().float()
    out = os.path.join(WORK, "made_" + arch)
    made.save_pretrained(out)
    compare(arch + ": an adapter of PEFT in ours", ours(path, "--adapter", out), theirs(made.eval()))


def turned(w, heads):
    """GGUF's order of the rows of q and k: a head's halves interleaved."""
    return w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def check_gguf(arch):
    path, out = GOLDEN + arch, os.path.join(WORK, arch + ".gguf")
    config = json.load(open(path + "/config.json"))
    if arch in ("mistral", "gemma3"):      # as they are, GGUF cannot say them: made sayable
        copy = os.path.join(WORK, "sayable_" + arch)
        os.makedirs(copy)
        config.update({"sliding_window": None} if arch == "mistral" else {"query_pre_attn_scalar": config["head_dim"]})
        json.dump(config, open(copy + "/config.json", "w"))
        os.symlink(os.path.abspath(path + "/model.safetensors"), copy + "/model.safetensors")
        path = copy
    repexp("export", "--model", path, "--out", out, "--quiet")
    reader = gguf.GGUFReader(out)
    tied = config.get("tie_word_embeddings", False)
    names = gguf.get_tensor_name_map({"mistral": gguf.MODEL_ARCH.LLAMA, "llama3": gguf.MODEL_ARCH.LLAMA}.get(
        arch, getattr(gguf.MODEL_ARCH, arch.upper(), None)), config["num_hidden_layers"])
    got = {t.name: t.data for t in reader.tensors}
    count = 0
    for name, w in load_file(path + "/model.safetensors").items():
        w = w.float().numpy()
        if name == "lm_head.weight" and tied:
            continue
        if arch in ("llama", "llama3", "mistral") and ("q_proj" in name or "k_proj" in name):
            w = turned(w, config["num_attention_heads" if "q_proj" in name else "num_key_value_heads"])
        if arch == "gemma3" and "norm" in name:
            w = w + np.float32(1)
        theirs_name = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if theirs_name not in got:
            say("%s: %s as %s" % (arch, name, theirs_name), np.inf)
            continue
        same = np.array_equal(np.asarray(got[theirs_name], np.float32).reshape(w.shape), w)
        count += 1
        if not same:
            say("%s: the bits of %s" % (arch, name), np.inf)
    extra = {n for n in got if n.startswith("rope_")}
    say("%s: %d tensors in the package gguf" % (arch, count), abs(count + len(extra) - len(got)), 0)


def main():
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    for arch in sys.argv[3:] or ARCHS:
        check_adapters(arch)
        check_gguf(arch)
    print("peft %s, transformers %s, torch %s" % (peft.__version__, transformers.__version__, torch.__version__))
    sys.exit(failed)


REPEXP, WORK = sys.argv[1], sys.argv[2]
main()
