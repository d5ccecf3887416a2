# SPDX-License-Identifier: MIT
"""The contract of `repexp advantage`: the lines, the kinds, the refusals and their exit status."""
import json
import math
import os
import subprocess
import tempfile
import unittest

import repexp

PROGRAM = repexp.PROGRAM


class Advantage(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)

    def run_on(self, rows, *args):
        path = os.path.join(self.dir.name, "r.jsonl")
        with open(path, "w", encoding="utf-8") as f:
            f.writelines(json.dumps(r) + "\n" for r in rows)
        p = subprocess.run([PROGRAM, "advantage", "--rewards", path, *args], capture_output=True,
                           text=True, timeout=120)
        return p.returncode, p.stdout, p.stderr

    def good(self, rows, *args):
        code, out, err = self.run_on(rows, *args, "--json")
        self.assertEqual(code, 0, err)
        return [json.loads(line) for line in out.splitlines()]

    def bad(self, status, rows, *args):
        code, out, err = self.run_on(rows, *args, "--json")
        self.assertEqual(code, status, err)
        self.assertEqual(out, "")
        return err

    def close(self, got, want, tol=1e-6):
        self.assertEqual(len(got), len(want))
        for g, w in zip(got, want):
            self.assertLess(abs(g - w), tol, (got, want))

    @staticmethod
    def rows(rewards, prompt="p", **columns):
        return [{"prompt_id": prompt, "reward": r} | {k: v[i] for k, v in columns.items()}
                for i, r in enumerate(rewards)]

    def test_lines_in_order_of_first_appearance(self):
        mixed = [{"prompt_id": p, "reward": r} for p, r in (("b", 1), ("a", 0), ("b", False),
                                                            ("a", True))]
        got = self.good(mixed, "--kind", "dr-grpo")
        self.assertEqual(got, [{"prompt_id": "b", "advantage": [0.5, -0.5]},
                               {"prompt_id": "a", "advantage": [-0.5, 0.5]}])

    def test_kinds(self):
        r8 = self.rows([1, 1, 0, 0, 0, 0, 0, 0])
        table = {("grpo",): (1.620182, -0.540061), ("passk", "-k", "4"): (0.522233, -0.174078),
                 ("passk-general", "-k", "4"): (0.522233, -0.174078),
                 ("combined", "-k", "4"): (1.429596, -0.476532),
                 ("exceed", "-k", "4"): (0.227977, -0.075992), ("pkpo", "-k", "4"): (0.285714, 0),
                 ("pkpo-s", "-k", "2"): (0.25, 0.071429), ("pkpo-loo", "-k", "2"): (0.168367,
                                                                                    -0.078231),
                 ("nsr",): (0, -1), ("w-reinforce",): (0.1, -1), ("rloo",): (6 / 7, -2 / 7)}
        for args, (pos, neg) in table.items():
            got = self.good(r8, "--kind", *args)
            self.close(got[0]["advantage"], [pos] * 2 + [neg] * 6)

    def test_unlikeliness_reads_sums(self):
        rows = self.rows([1, 1, 0, 1], logprob=[-5.0, -2.0, -0.4, -8.0], n_tok=[10, 2, 2, 10])
        want = [0.364512, 0.629612, -1.491186, 0.497062]
        self.close(self.good(rows, "--kind", "unlikeliness")[0]["advantage"], want)
        rows = self.rows([1, 1, 0, 1], logp=[[-0.5, -0.5], [-1.0], [-0.2], [-0.9, -0.7]])
        self.close(self.good(rows, "--kind", "unlikeliness")[0]["advantage"], want)
        rows[2].pop("logp")
        self.assertIn("line 3", self.bad(1, rows, "--kind", "unlikeliness"))

    def test_adaptive_reads_entropy(self):
        rows = self.rows([1, 0, 0, 0], "a", entropy=[2] * 4) + self.rows([1, 0, 0, 0], "b",
                                                                         entropy=[1] * 4)
        got = self.good(rows, "--kind", "adaptive", "-k", "2")
        self.assertAlmostEqual(got[0]["advantage"][0], math.sqrt(3))
        self.assertAlmostEqual(got[1]["advantage"][0], 1)
        del rows[5]["entropy"]
        self.assertIn("line 6", self.bad(1, rows, "--kind", "adaptive", "-k", "2"))

    def test_bonus_gates_and_place(self):
        rows = self.rows([1, 0], "a", bonus_raw=[1, 2]) + self.rows([0, 0], "b", bonus_raw=[1, 2])
        got = self.good(rows, "--kind", "dr-grpo", "--beta", "0.1")
        self.close(got[0]["advantage"], [0.45, -0.45])
        self.close(got[1]["advantage"], [0, 0])
        got = self.good(rows, "--kind", "dr-grpo", "--beta", "0.1", "--no-gate-none")
        self.close(got[1]["advantage"], [-0.05, 0.05])
        got = self.good(rows, "--kind", "nsr", "--beta", "0.1", "--bonus-at", "advantage",
                        "--gate-incorrect")
        self.close(got[0]["advantage"], [0.1, -1])
        self.assertIn("advantage", self.bad(2, rows, "--kind", "nsr", "--beta", "0.1"))
        del rows[1]["bonus_raw"]
        self.assertIn("line 2", self.bad(1, rows, "--kind", "grpo", "--beta", "0.1"))

    def test_seed(self):
        rows = self.rows([1, 0, 0, 1, 0, 0])
        one = self.good(rows, "--kind", "passk-bootstrap", "-k", "2")
        self.assertEqual(one, self.good(rows, "--kind", "passk-bootstrap", "-k", "2",
                                        "--threads", "2"))
        self.assertNotEqual(one, self.good(rows, "--kind", "passk-bootstrap", "-k", "2",
                                           "--seed", "3"))

    def test_refusals(self):
        four, half, alone = self.rows([1, 0, 0, 1]), self.rows([1, 0.5, 0, 0]), self.rows([1])
        for kind in ("passk", "passk-full", "passk-bootstrap", "passk-general", "exceed",
                     "combined",
                     "pkpo-loo"):
            self.bad(1, four, "--kind", kind, "-k", "4")
            self.bad(2, four, "--kind", kind)
            self.bad(2, four, "--kind", kind, "-k", "0")
        self.assertIn("rloo", self.bad(2, four, "--kind", "pkpo", "-k", "1"))
        self.bad(1, four, "--kind", "pkpo", "-k", "5")
        self.good(four, "--kind", "pkpo", "-k", "4")
        for kind in ("passk", "nsr", "w-reinforce"):
            self.assertIn("line 2", self.bad(1, half, "--kind", kind, "-k", "2"))
        for kind in ("rloo", "best-minus-second", "reinforce++-baseline"):
            self.bad(1, alone, "--kind", kind)
        for kind in ("reinforce++", "dr-grpo", "nsr", "w-reinforce", "grpo"):
            self.good(alone, "--kind", kind)
        self.assertIn("rloo", self.bad(2, four, "--kind", "rlo"))
        null = four + [{"prompt_id": "p", "reward": None}]
        self.assertIn("line 5", self.bad(1, null, "--kind", "grpo"))
        self.assertEqual(len(self.good(null, "--kind", "grpo", "--broken",
                                       "drop")[0]["advantage"]), 4)

    def test_table_for_people(self):
        code, out, _ = self.run_on(self.rows([1, 0]), "--kind", "grpo")
        self.assertEqual(code, 0)
        self.assertIn("2 samples", out)


if __name__ == "__main__":
    repexp.main()
