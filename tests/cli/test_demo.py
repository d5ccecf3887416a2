# SPDX-License-Identifier: MIT
"""The demo: every number with its interval, 80 columns, the same bytes again and with other threads,
commands that can be typed, sentences where it cannot run."""
import fcntl
import os
import re
import stat
import subprocess
import unittest

import repexp

MODEL = "models/countdown4"


class Demo(repexp.Case):
    def small(self, name, *more):
        if not os.path.isdir(MODEL):
            self.skipTest("no %s: make model trains it" % MODEL)
        return self.ok("demo", "--out", self.path(name), "--problems", 6, "--samples", 16, *more)

    def test_model_in_the_hands_of_others(self):
        """transformers loads the bundled model and gives the program's ids and log-probabilities."""
        python = os.path.join(os.environ.get("REPEXP_VENV", ".venv"), "bin/python")
        if not os.path.exists(python):
            self.skipTest("no %s with torch and transformers: scripts/venv.sh makes it" % python)
        prompts = self.write("prompts.jsonl", self.ok("task", "make", "--task", "countdown", "-n", 10, "--split", "test").out)
        p = subprocess.run([python, "scripts/check_model.py", repexp.PROGRAM, MODEL, prompts, self.dir], capture_output=True,
                           text=True, timeout=300, env={**os.environ, "PYTHONWARNINGS": "ignore", "TQDM_DISABLE": "1"})
        self.assertEqual(p.returncode, 0, p.stdout + p.stderr[-2000:])
        self.assertIn("ok   40 texts", p.stdout)

    def test_story(self):
        first = self.small("one")
        for line in first.out.splitlines():
            self.assertLessEqual(len(line), 80, line)
        self.assertEqual(re.findall(r"[ \t]+$", first.out, re.M), [])
        table = re.findall(r"^  (\S.*?)  +([0-9.]+) \[([0-9.]+), ([0-9.]+)\]", first.out, re.M)
        self.assertEqual(len([t for t in table if t[0].startswith("quality")]), 2, first.out)
        for _, value, low, high in table:
            self.assertLessEqual(float(low), float(value))
            self.assertLessEqual(float(value), float(high))
        with open(self.path("one/report.html"), encoding="utf-8") as f:
            self.assertIn("<html", f.read(4000))
        again = self.small("one", "--threads", 1)
        self.assertEqual(again.out, first.out)

    def test_printed_command_gives_the_number(self):
        told = self.small("two").out
        rules = re.search(r"^\$ (RULES=.*?[^\\])\n", told, re.M | re.S).group(1).replace("\\\n", "")
        line = re.search(r"^\$ repexp (explore .*?[^\\])\n", told, re.M | re.S).group(1)
        args = line.replace("\\\n", " ").replace("$RULES", rules[len("RULES="):]).split()
        args[args.index("--out") + 1] = self.path("three")
        done = self.ok(*args, "--json").json()
        s2c = done["rules"]["quality"]["s2c"]["solvable"]
        want = "%.1f [%.1f, %.1f]" % (s2c["value"], s2c["low"], s2c["high"])
        self.assertIn(want, re.search(r"quality \(bonus.*", told).group(0))

    def test_json(self):
        if not os.path.isdir(MODEL):
            self.skipTest("no %s: make model trains it" % MODEL)
        got = self.small("json", "--json").json()
        self.assertEqual(sorted(got["runs"]), ["t06", "t10"])
        self.assertEqual(got["runs"]["t10"]["n_problems"], 6)

    def test_no_model(self):
        self.fails("demo", "--model", self.path("none"), "--out", self.path("x"), saying=["no model here", "make model"])

    def test_no_room(self):
        self.write("file", "here")
        model = self.dir if not os.path.isdir(MODEL) else MODEL
        self.fails("demo", "--model", model, "--out", self.path("file/below"), saying=["cannot make the folder"])

    def test_two_in_one_folder(self):
        if not os.path.isdir(MODEL):
            self.skipTest("no %s: make model trains it" % MODEL)
        os.mkdir(self.path("both"))
        held = os.open(self.path("both"), os.O_RDONLY)
        self.addCleanup(os.close, held)
        fcntl.flock(held, fcntl.LOCK_EX)
        self.fails("demo", "--out", self.path("both"), saying=["another demo is at work here", "--out"])

    @unittest.skipIf(os.geteuid() == 0, "root may write anywhere")
    def test_read_only(self):
        os.chmod(self.dir, stat.S_IRUSR | stat.S_IXUSR)
        self.addCleanup(os.chmod, self.dir, 0o700)
        model = self.dir if not os.path.isdir(MODEL) else MODEL
        self.fails("demo", "--model", model, "--out", self.path("x"), saying=["cannot make the folder"])


if __name__ == "__main__":
    repexp.main()
