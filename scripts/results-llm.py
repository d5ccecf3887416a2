#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The table of orders on a real model in docs/results.md, from the run folder of scripts/results-llm.sh: samples and
verifier calls to the first correct one, the change against random, and samples by difficulty.

    python3 scripts/results-llm.py RUN            prints the tables
    python3 scripts/results-llm.py --write RUN    puts them into docs/results.md between their marks
    python3 scripts/results-llm.py --rules        prints the orders, as `repexp explore --rules` takes them
"""

import json
import os
import sys

import page

RAW = "quality/no-center/no-unit/outcome=none/likelihood=sum/sharpness=1/alpha=0.5"
RULES = ["random", "random/outcome=answer", "likelihood", "likelihood/outcome=answer",
         "likelihood/likelihood=mean/outcome=answer", "votes", "votes/sharpness=0", "farthest", "farthest/outcome=answer",
         "elliptical", "elliptical/outcome=answer", "dpp", "dpp/outcome=answer", RAW, RAW + "/outcome=answer",
         "quality/outcome=none", "quality"]


def cell(x, form="%.1f", scale=1.0, shift=0.0):
    if not x:
        return "-"
    return (form + " [" + form + ", " + form + "]") % tuple(scale * (x[k] - shift) for k in ("value", "low", "high"))


def tables(run):
    with open(os.path.join(run, "explore.json")) as f:
        got = json.load(f)
    rules = got["rules"]
    out = ["%d questions, %d with a correct sample; pass@1 %s, pass@8 %s, pass@64 %s." % (
        got["n_problems"], got["n_solvable"], *(cell(got["pool"]["pass"][k], "%.3f") for k in ("1", "8", "64"))), "",
        "| order | samples | against random | verifier calls | against random's calls |", "|---|---|---|---|---|"]
    for name, r in rules.items():
        change = [cell(r[k], "%+.0f", 100.0, 1.0) + " %" if name != "random" else "" for k in ("vs_random", "calls_vs_random")]
        out.append("| `%s` | %s | %s | %s | %s |" % (
            name, cell(r["s2c"]["solvable"]), change[0], cell(r["calls"]["solvable"]), change[1]))
    bins = [i for i, _ in enumerate(got["bins"]) if any(r["bins"][i] for r in rules.values())]
    out += ["", "| samples, by share of correct ones | " + " | ".join(got["bins"][i] for i in bins) + " |",
            "|---" * (len(bins) + 1) + "|"]
    for name, r in rules.items():
        out.append("| `%s` | %s |" % (name, " | ".join(cell(r["bins"][i]) for i in bins)))
    return "\n".join(out) + "\n"


def main():
    if sys.argv[1:] == ["--rules"]:
        print(",".join(RULES))
        return
    runs = [a for a in sys.argv[1:] if a != "--write"]
    if len(runs) != 1:
        sys.exit(__doc__.strip())
    text = tables(runs[0])
    if "--write" in sys.argv:
        page.put("docs/results.md", "results-llm.py", text)
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
