# SPDX-License-Identifier: MIT
"""The contract of `repexp passk`: shapes, exact values, refusals."""
import itertools
import json
import os
import subprocess
import tempfile
import unittest
from collections import Counter

import repexp

PROGRAM = repexp.PROGRAM


def run(*args, stdin=None):
    p = subprocess.run([PROGRAM, *args], input=stdin, capture_output=True, text=True, timeout=120)
    return p.returncode, p.stdout, p.stderr


class Files(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)

    def file(self, rows, name="r.jsonl"):
        path = os.path.join(self.dir.name, name)
        with open(path, "w", encoding="utf-8") as f:
            for row in rows:
                f.write(row if isinstance(row, str) else json.dumps(row))
                f.write("\n")
        return path

    def good(self, rows, *args):
        code, out, err = run("passk", "--rewards", self.file(rows), "--json", *args)
        self.assertEqual(code, 0, err)
        return json.loads(out)

    def bad(self, status, rows, *args):
        code, out, err = run("passk", "--rewards", self.file(rows), "--json", *args)
        self.assertEqual(code, status, err)
        self.assertEqual(out, "")
        return err


def samples(**prompts):
    return [{"prompt_id": p, "sample": i, "reward": r} for p, rs in prompts.items() for i,
            r in enumerate(rs)]


class Passk(Files):
    def test_values_and_shape(self):
        got = self.good(samples(a=[1, 0, 0, 0], b=[1, 1, 1, False]), "--k", "1,2,4")
        self.assertEqual((got["n_prompts"], got["n_samples"]), (2, 8))
        self.assertEqual(set(got["pass"]), {"1", "2", "4"})
        self.assertAlmostEqual(got["pass"]["1"]["value"], 0.5)
        self.assertAlmostEqual(got["pass"]["2"]["value"], (0.5 + 1.0) / 2)
        self.assertAlmostEqual(got["pow"]["2"]["value"], (0.0 + 0.5) / 2)
        self.assertAlmostEqual(got["samples_to_correct"]["all"]["value"], (5 / 2 + 5 / 4) / 2)
        for block in ("pass", "pow"):
            for iv in got[block].values():
                self.assertLessEqual(0, iv["low"])
                self.assertLessEqual(iv["low"], iv["value"])
                self.assertLessEqual(iv["value"], iv["high"])
                self.assertLessEqual(iv["high"], 1)
        self.assertNotIn("maj", got)

    def test_unsolved_counts_n_plus_one(self):
        got = self.good(samples(a=[1, 0, 0], b=[0, 0, 0]), "--k", "1")
        self.assertAlmostEqual(got["samples_to_correct"]["all"]["value"], (2 + 4) / 2)
        self.assertAlmostEqual(got["samples_to_correct"]["solvable"]["value"], 2)
        self.assertIsNone(self.good(samples(b=[0, 0]), "--k",
                                    "1")["samples_to_correct"]["solvable"])

    def test_a_k_named_twice_counts_once(self):
        self.assertEqual(list(self.good(samples(a=[1, 0]), "--k", "2,1,2")["pass"]), ["2", "1"])

    def test_majority_is_that_of_all_subsets(self):
        answers = ["x", "y", None, "y", "x", "z", "x"]
        rows = [{"prompt_id": "p",
                 "reward": int(a == "y")} | ({"extracted": a} if a else {}) for a in answers]
        got = self.good(rows, "--k", ",".join(str(k) for k in range(1, 8)))
        for k in range(1, 8):
            subsets = list(itertools.combinations(range(7), k))
            wins = 0
            for s in subsets:
                votes = Counter(answers[i] for i in s if answers[i])
                wins += bool(votes) and votes.most_common(1)[0][0] == "y"
            self.assertAlmostEqual(got["maj"][str(k)]["value"], wins / len(subsets), 12)

    def test_graded(self):
        got = self.good(samples(a=[0.25, 1, 0.5]), "--graded", "--k", "1,2")
        self.assertNotIn("pass", got)
        self.assertAlmostEqual(got["best"]["2"]["value"], (1 + 1 + 0.5) / 3)
        self.assertAlmostEqual(got["avg"]["2"]["value"], 1.75 / 3)

    def test_seed_and_threads(self):
        rows = samples(**{f"p{i}": [(i * j) % 3 == 0 for j in range(6)] for i in range(20)})
        one = self.good(rows, "--k", "1,2", "--threads", "1")
        self.assertEqual(one, self.good(rows, "--k", "1,2", "--threads", "3"))
        self.assertNotEqual(one, self.good(rows, "--k", "1,2", "--seed", "9"))

    def test_versus(self):
        a = samples(**{f"p{i}": [1, 1, 0, 1] for i in range(12)}, only=[0, 0, 0, 0])
        b = samples(**{f"p{i}": [0, i % 2, 0, 0] for i in range(12)})
        got = self.good(a, "--k", "1,4", "--vs", self.file(b, "b.jsonl"))
        diff = got["vs"]["pass"]["1"]
        self.assertAlmostEqual(diff["diff"], 0.75 - 0.125)
        self.assertLess(diff["p"], 0.05)
        self.assertTrue(diff["low"] <= diff["diff"] <= diff["high"])
        same = self.good(a, "--k", "1", "--vs", self.file(a, "c.jsonl"))["vs"]["pass"]["1"]
        self.assertEqual(same["diff"], 0)
        self.assertGreater(same["p"], 0.5)
        self.assertIn("no prompt in common",
                      self.bad(1, a, "--k", "1", "--vs", self.file(samples(zz=[1]), "d.jsonl")))

    def test_map_stdin_and_broken(self):
        rows = [{"uid": "q", "score": {"acc": x}} for x in (1, 0, None)]
        got = self.good(rows, "--map", "prompt_id=uid,reward=score.acc", "--broken", "drop",
                        "--k", "1")
        self.assertEqual((got["n_samples"], got["n_dropped"]), (2, 1))
        code, out, err = run("passk", "--rewards", "-", "--k", "1", "--json",
                             stdin='{"prompt_id":"a","reward":1}\n{"prompt_id":"a","reward":0}\n')
        self.assertEqual((code, json.loads(out)["pass"]["1"]["value"]), (0, 0.5), err)

    def test_tables_for_people(self):
        path = self.file(samples(a=[1, 0], b=[0, 0]))
        for extra in ((), ("--markdown",)):
            code, out, _ = run("passk", "--rewards", path, "--k", "1,2", *extra)
            self.assertEqual(code, 0)
            self.assertIn("pass@k", out)
            self.assertIn("0.2500", out)

    def test_refusals(self):
        two = samples(a=[1, 0], b=[0, 1, 1])
        self.assertIn("prompt a", self.bad(1, two, "--k", "3"))
        self.assertIn("line 2", self.bad(1, ['{"reward":1}', '{"reward":null}'], "--k", "1"))
        self.assertIn("line 1", self.bad(1, samples(a=[0.5, 1]), "--k", "1"))
        twice = samples(a=[1, 0]) + samples(a=[1])
        err = self.bad(1, twice, "--k", "1")
        self.assertIn("1 and 3", err)
        self.bad(1, [], "--k", "1")
        self.bad(1, ["{"], "--k", "1")
        self.bad(1, [{"prompt_id": "a"}], "--k", "1")
        for k in ("0", "-1", "x", "1,,2", "1.5", ""):
            if k:
                self.bad(2, two, "--k", k)
        self.bad(2, two, "--k", "1", "--mapp", "x=y")
        self.bad(2, two, "--k", "1", "--map", "rewards=y")
        self.assertEqual(run("passk", "--k", "1")[0], 2)
        self.assertEqual(run("passk", "--rewards", "/nowhere/r.jsonl", "--k", "1")[0], 1)


if __name__ == "__main__":
    repexp.main()
