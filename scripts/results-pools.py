#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The table of samples-to-correct on the four sample pools in docs/results.md, made through the command
line alone: repexp select on $REPEXP_DATA/pools (default ../shared/data/pools), first_correct per problem,
the mean over problems with a correct sample, and its change against random with a 95 % interval from a
paired bootstrap over problems (seed 0). Rules with a random element are averaged over seeds first.

    python3 scripts/results-pools.py            prints the table
    python3 scripts/results-pools.py --write    puts it into docs/results.md between its marks
"""

import json
import os
import random
import subprocess
import sys

import page

PROGRAM = os.environ.get("REPEXP", "build/repexp")
DATA = os.path.join(os.environ.get("REPEXP_DATA", "../shared/data"), "pools")
POOLS = ["smollm2-gsm8k", "smollm2-mbpp", "countdown4-t10", "countdown4-t06"]
RULES = [  # what, options, seeds
    ("random, distinct outcomes", ["--method", "random", "--outcome", "auto"], 40),
    ("likelihood, distinct outcomes", ["--method", "likelihood", "--outcome", "auto"], 1),
    ("`elliptical` (paper form)", ["--method", "elliptical"], 5),
    ("`quality`", ["--method", "quality"], 1),
    ("`votes`", ["--method", "votes"], 1),
    ("`likelihood`", ["--method", "likelihood"], 1),
    ("`farthest`", ["--method", "farthest"], 1),
    ("`dpp`", ["--method", "dpp"], 1),
]
DRAWS = 4000


def ranks(pool, options, seeds):
    """Mean place of the first correct row per problem that has one."""
    base, total = os.path.join(DATA, pool), {}
    for seed in range(seeds):
        p = subprocess.run([PROGRAM, "select", "--features", base + "/features.npy", "--groups",
                            base + "/pool.jsonl", "-k", "1", "--json", "--quiet", "--seed", str(seed), *options],
                           capture_output=True, text=True, check=True)
        for line in map(json.loads, p.stdout.splitlines()):
            if line["first_correct"] is not None:
                total[line["group"]] = total.get(line["group"], 0.0) + line["first_correct"] / seeds
    return total


def at_random(pool):
    """(n + 1) / (c + 1) per problem that has a correct sample."""
    count = {}
    with open(os.path.join(DATA, pool, "pool.jsonl")) as lines:
        for r in map(json.loads, lines):
            n, c = count.get(r["prompt_id"], (0, 0))
            count[r["prompt_id"]] = (n + 1, c + (r["reward"] > 0))
    return {p: (n + 1) / (c + 1) for p, (n, c) in count.items() if c > 0}


def interval(values, draw):
    """95 % percentile interval of draw(indices) under resampling of problems."""
    rng, n = random.Random(0), len(values)
    got = sorted(draw([rng.randrange(n) for _ in range(n)]) for _ in range(DRAWS))
    return got[int(0.025 * DRAWS)], got[int(0.975 * DRAWS)]


def cell(mine, base):
    problems = sorted(base)
    a, b = [mine[p] for p in problems], [base[p] for p in problems]

    def change(pick):
        return 100 * (sum(a[i] for i in pick) / sum(b[i] for i in pick) - 1)
    low, high = interval(problems, change)
    return "%.2f, %+.0f %% [%+.0f, %+.0f]" % (sum(a) / len(a), change(range(len(a))), low, high)


def table():
    base = {pool: at_random(pool) for pool in POOLS}
    out = ["| order | " + " | ".join(POOLS) + " |", "|---" * (len(POOLS) + 1) + "|"]
    row = []
    for pool in POOLS:
        v = list(base[pool].values())
        low, high = interval(v, lambda pick: sum(v[i] for i in pick) / len(pick))
        row.append("%.2f [%.2f, %.2f]" % (sum(v) / len(v), low, high))
    out.append("| random, (N+1)/(c+1) | " + " | ".join(row) + " |")
    for what, options, seeds in RULES:
        out.append("| %s | %s |" % (what + (", mean of %d seeds" % seeds if seeds > 1 else ""), " | ".join(
            cell(ranks(pool, options, seeds), base[pool]) for pool in POOLS)))
    out.append("| solvable problems, of all | " + " | ".join(
        "%d of %d" % (len(base[p]), len({json.loads(x)["prompt_id"] for x in open(
            os.path.join(DATA, p, "pool.jsonl"))})) for p in POOLS) + " |")
    return "\n".join(out) + "\n"


def main():
    if not os.path.isdir(DATA):
        sys.exit("no %s: set REPEXP_DATA to the folder that holds pools/" % DATA)
    text = table()
    if "--write" in sys.argv:
        page.put("docs/results.md", "results-pools.py", text)
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
