#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Encoding speed beside the reference package, in turns, on one core each.

    REPEXP_DATA=... python3 scripts/bench_tok.py [build/bench/bench_tok]   (the rival: tokenizers)
"""
import json
import os
import subprocess
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
try:
    from tokenizers import Tokenizer  # the variable is read at import
except ImportError:
    Tokenizer = None
    print("bench_tok.py: no tokenizers in %s: the rival is left out" % sys.executable, file=sys.stderr)

DATA = os.environ.get("REPEXP_DATA", "../shared/data")
BENCH = sys.argv[1] if len(sys.argv) > 1 else "build/bench/bench_tok"
FILE = os.path.join(DATA, "math", "test.jsonl")


def main():
    with open(FILE) as f:
        rows = [json.loads(x) for x in f]
    texts = [r[k] for r in rows for k in ("problem", "solution")]
    size = sum(len(t.encode()) for t in texts)
    for name in ("gpt2", "smollm2", "qwen2.5"):
        folder = os.path.join(DATA, "tokenizers", name)
        tok = Tokenizer and Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
        rates, ours = [], []
        for _ in range(3):
            if tok:
                begin = time.perf_counter()
                for t in texts:
                    tok.encode(t, add_special_tokens=False)
                rates.append(size / (time.perf_counter() - begin) / 1e6)
            p = subprocess.run([BENCH, folder, FILE], capture_output=True, text=True, check=True)
            ours.append(p.stdout)
        print(name + (" reference %.1f MB/s (%.1f..%.1f)" % (sorted(rates)[1], min(rates), max(rates)) if tok else ""))
        print("".join("  " + x for x in ours), end="", flush=True)


if __name__ == "__main__":
    main()
