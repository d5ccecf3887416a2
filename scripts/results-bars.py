#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the protocol expects of the bundled model, and what was seen: S1 to S6 of docs/results.md, from folders
that `repexp demo --full` left, one per seed. Every bar is a ratio of samples to the first correct one over the
problems that have one (S3: a difference of pass@16), with a 95 % interval from 10,000 paired draws of problems.

    python3 scripts/results-bars.py SEED=FOLDER...           prints the table
    python3 scripts/results-bars.py --write SEED=FOLDER...   puts it into docs/results.md between its marks
"""

import json
import os
import random
import sys

import page

WEIGHED = "quality/no-center/no-unit/outcome=none/likelihood=sum/sharpness=1/alpha=0.5"
RAW = "elliptical/no-center/lambda=0.01"
# name, pool, what it says, rule, baseline, at most, problems: all that are solvable, or the hard ones
BARS = [
    ("S1", "t10", "bonus times root of likelihood, against random", WEIGHED, "random", 0.65, False),
    ("S2", "t10", "the same, against likelihood over distinct texts", WEIGHED, "likelihood/outcome=text", 0.85, False),
    ("S4", "t06", "as published, against random", "elliptical", "random", 0.85, False),
    ("S4", "t06", "as published, against random over distinct texts", "elliptical", "random/outcome=text", 1.0, False),
    ("S5", "t10", "raw rows, ridge 0.01, hard problems, against random", RAW, "random", 0.90, True),
    ("S6", "t10", "`quality`, against random", "quality", "random", 0.70, False),
    ("S6", "t06", "`quality`, against random", "quality", "random", 0.70, False),
]


def per_problem(folder):
    """{rule: {prompt: (samples to correct, correct, n)}}"""
    rules = {}
    with open(os.path.join(folder, "orders.jsonl")) as f:
        for line in f:
            r = json.loads(line)
            rules.setdefault(r["rule"], {})[r["prompt_id"]] = (r["s2c"], r["correct"], r["n"])
    return rules


def paired(pairs, draws=10000):
    rng = random.Random(1)
    n = len(pairs)
    value = sum(a for a, _ in pairs) / sum(b for _, b in pairs)
    got = []
    for _ in range(draws):
        some = rng.choices(pairs, k=n)
        got.append(sum(a for a, _ in some) / sum(b for _, b in some))
    got.sort()
    return value, got[int(0.025 * draws)], got[int(0.975 * draws) - 1]


def ratio(rules, rule, base, hard):
    keep = [p for p, (_, c, n) in rules[rule].items() if c > 0 and (not hard or c <= 0.05 * n)]
    return paired([(rules[rule][p][0], rules[base][p][0]) for p in keep])


def gain_at_16(folder):
    with open(os.path.join(folder, "explore.json")) as f:
        rules = json.load(f)["rules"]
    return rules[WEIGHED]["pass"]["16"]["value"] - rules["random"]["pass"]["16"]["value"]


def verdict(ok):
    return "holds" if ok else "**missed**"


def table(runs):
    out = ["| bar | pool | what | at most | " + " | ".join("seed " + s for s, _ in runs) + " |",
           "|---" * (4 + len(runs)) + "|"]
    kept = {(pool, seed): per_problem(os.path.join(folder, pool)) for pool in ("t10", "t06") for seed, folder in runs}
    for name, pool, what, rule, base, most, hard in BARS:
        cells = []
        for seed, _ in runs:
            v, low, high = ratio(kept[pool, seed], rule, base, hard)
            cells.append("%.2f [%.2f, %.2f] %s" % (v, low, high, verdict(v <= most)))
        out.append("| %s | %s | %s | %.2f | %s |" % (name, pool, what, most, " | ".join(cells)))
        if name == "S2":
            gains = [gain_at_16(os.path.join(folder, "t10")) for _, folder in runs]
            cells = ["%+.1f points %s" % (100 * g, verdict(g >= 0.06)) for g in gains]
            out.append("| S3 | t10 | pass@16 of the same over random, at least +6 points | | %s |" % " | ".join(cells))
    return "\n".join(out) + "\n"


def main():
    runs = [a.partition("=")[::2] for a in sys.argv[1:] if a != "--write"]
    if not runs or any(not folder for _, folder in runs):
        sys.exit(__doc__.strip())
    text = table(runs)
    if "--write" in sys.argv:
        page.put("docs/results.md", "results-bars.py", text)
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
