# SPDX-License-Identifier: MIT
"""The generated table of docs/results.md has the rows and columns that scripts/results-explore.py makes from
a demo run today."""
import os
import subprocess
import sys

import repexp

sys.path.insert(0, "scripts")
import page  # noqa: E402

MODEL = "models/countdown4"


def rows(text):
    return [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|")]


def columns(text):
    return [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("|")][0]


def kept(script):
    return page.cut("docs/results.md", script)[1].strip("\n") + "\n"


class Results(repexp.Case):
    def script(self, name, *args):
        p = subprocess.run([sys.executable, "scripts/" + name, *args], capture_output=True, text=True)
        self.assertEqual(p.returncode, 0, p.stderr)
        return p.stdout

    def test_bundled_model(self):
        if not os.path.isdir(MODEL):
            self.skipTest("no %s: make model trains it" % MODEL)
        self.ok("demo", "--out", self.path("demo"), "--problems", 12, "--samples", 64, "--quiet")
        runs = [self.path("demo/" + r) for r in ("t10", "t06")]
        orders, made = kept("results-explore.py"), self.script("results-explore.py", *runs)
        self.assertEqual(rows(orders), rows(made))
        self.assertEqual(columns(orders)[:3], columns(made))
        for line in orders.splitlines()[2:-1]:
            for cell in line.split("|")[2:-1]:
                self.assertRegex(cell, r"-?[0-9.]+ \[-?[0-9.]+, -?[0-9.]+\]")
        bars, made = kept("results-bars.py"), self.script("results-bars.py", "0=" + self.path("demo"))
        self.assertEqual([line.split("|")[1:5] for line in bars.splitlines()[2:]],
                         [line.split("|")[1:5] for line in made.splitlines()[2:]])
        self.assertEqual(columns(bars)[:5], columns(made))

    def test_real_model(self):
        pool = repexp.need_data("pools/smollm2-gsm8k")
        rules = self.script("results-llm.py", "--rules").strip()
        self.ok("explore", "--task", "gsm8k", "--from", pool + "/pool.jsonl", "--features", pool + "/features.npy",
                "--rules", rules, "--out", self.path("run"), "--quiet")
        told, made = kept("results-llm.py"), self.script("results-llm.py", self.path("run"))
        self.assertEqual(rows(told), rows(made))
        self.assertEqual(columns(told), columns(made))


if __name__ == "__main__":
    repexp.main()
