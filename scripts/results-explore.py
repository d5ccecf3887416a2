#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The table of orders in docs/results.md from run folders of `repexp explore`: one column a run, one row a
rule; samples to the first correct one over the solvable problems, and the change against random.

    python3 scripts/results-explore.py RUN...           prints the table
    python3 scripts/results-explore.py --write RUN...   puts it into docs/results.md between its marks
"""

import json
import os
import sys

import page



def interval(x, form, scale=1.0, shift=0.0):
    return (form + " [" + form + ", " + form + "]") % tuple(scale * (x[k] - shift) for k in ("value", "low", "high"))


def load(run):
    with open(os.path.join(run, "explore.json")) as f:
        got = json.load(f)
    with open(os.path.join(run, "run.json")) as f:
        o = json.load(f)["options"]
    name = "T = %g" % o["temperature"]
    name += ", top-p %g" % o["top_p"] if o["top_p"] < 1 else ""
    name += ", min-p %g" % o["min_p"] if o["min_p"] > 0 else ""
    return name, got


def table(runs):
    loaded = [load(r) for r in runs]
    rules = list(loaded[0][1]["rules"])
    for (_, got), run in zip(loaded, runs):
        if list(got["rules"]) != rules:
            sys.exit("%s has other rules than %s" % (run, runs[0]))
    out = ["| order | " + " | ".join(n for n, _ in loaded) + " |", "|---" * (len(loaded) + 1) + "|"]
    for k in ("1", "16", "64"):
        if all(k in got["pool"]["pass"] for _, got in loaded):
            cells = [interval(got["pool"]["pass"][k], "%.3f") for _, got in loaded]
            out.append("| pass@%s of the pool | %s |" % (k, " | ".join(cells)))
    for rule in rules:
        cells = []
        for _, got in loaded:
            r = got["rules"][rule]
            cell = interval(r["s2c"]["solvable"], "%.1f")
            if rule != "random":
                cell += "; " + interval(r["vs_random"], "%+.0f", 100.0, 1.0) + " %"
            cells.append(cell)
        out.append("| `%s` | %s |" % (rule, " | ".join(cells)))
    out.append("| solvable problems, of all | %s |" % " | ".join(
        "%d of %d" % (got["n_solvable"], got["n_problems"]) for _, got in loaded))
    return "\n".join(out) + "\n"


def main():
    runs = [a for a in sys.argv[1:] if a != "--write"]
    if not runs:
        sys.exit(__doc__.strip())
    text = table(runs)
    if "--write" in sys.argv:
        page.put("docs/results.md", "results-explore.py", text)
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
