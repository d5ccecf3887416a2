# SPDX-License-Identifier: MIT
"""What ranks cost: 2 ranks of 1 thread beside 1 rank of 2 threads, interleaved, fast and exact.

Usage: python3 bench/ranks.py [BUILD [ROUNDS]]   Prints tokens/s of a step (median over its steps) and the ratios of the
rounds, median and range. On a busy machine the figures say little."""
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile

BUILD = sys.argv[1] if len(sys.argv) > 1 else "build"
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 5
MPIRUN = ["mpirun", "--oversubscribe", "--allow-run-as-root", "-n", "2"]
KINDS = {"1 rank x 2 threads": ([], ["--threads", "2"]), "2 ranks x 1 thread": (MPIRUN, ["--threads", "1"])}


def run(folder, before, more):
    out = os.path.join(folder, "run")
    shutil.rmtree(out, ignore_errors=True)
    args = ["sft", "--init", "tiny", "--build", "bytes", "--vocab", "1000", "--layers", "6", "--width", "256", "--heads", "8",
            "--ffn", "768", "--context", "128", "--truncate", "--data", os.path.join(folder, "data.jsonl"), "--steps", "12",
            "--seqs", "32", "--lr", "1e-3", "--out", out, "--quiet"]
    subprocess.run([*before, os.path.join(BUILD, "repexp"), *args, *more], check=True, stderr=subprocess.DEVNULL)
    with open(os.path.join(out, "timing.jsonl")) as f:
        return statistics.median([json.loads(x)["tok_s"] for x in f][2:])


def main():
    rng = random.Random(2)
    words = ["".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randrange(3, 9))) for _ in range(900)]
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "data.jsonl"), "w") as f:
            for _ in range(300):
                f.write(json.dumps({"text": " ".join(rng.choice(words) for _ in range(60))}) + "\n")
        for exact in ([], ["--exact"]):
            rate = {k: [] for k in KINDS}
            for _ in range(ROUNDS):
                for k, (before, more) in KINDS.items():
                    rate[k].append(run(folder, before, more + exact))
            one, two = rate.values()
            ratio = sorted(b / a for a, b in zip(one, two))
            for k, v in rate.items():
                print(f"{k}{' exact' if exact else ''}: {statistics.median(v):.0f} tok/s")
            print(f"two ranks / one: {statistics.median(ratio):.3f} [{ratio[0]:.3f}, {ratio[-1]:.3f}]", flush=True)


main()
