# SPDX-License-Identifier: MIT
"""What docs/performance.md shows between its marks is what the benchmarks print today: the same rows, figures aside.
The parts that need no rival and little time. Then the turns in which training steps are taken."""
import json
import os
import subprocess
import sys
import unittest

import repexp

os.environ.setdefault("BUILD", os.path.dirname(repexp.PROGRAM))
sys.path.insert(0, "scripts")
import bench  # noqa: E402  (it reads BUILD)


class Bench(unittest.TestCase):
    def same(self, part):
        if not os.path.exists(bench.PARTS[part][0][0]):
            self.skipTest("no %s: make bench-programs" % bench.PARTS[part][0][0])
        self.assertEqual(bench.shape(bench.kept(part)), bench.shape(bench.run(part, True)))

    def test_json(self):
        self.same("json")

    def test_records(self):
        self.same("records")

    def test_every_part_has_its_marks(self):
        for part in bench.PARTS:
            self.assertTrue(bench.shape(bench.kept(part)), part)

    def test_every_part_can_be_run(self):
        """The files of every command are there, and its programs are among those that make builds."""
        for part, (command, _) in bench.PARTS.items():
            built = bench.needs(part)
            self.assertTrue(built, part)
            for program in built:
                self.assertTrue(os.path.exists("bench/" + os.path.basename(program) + ".c"), program)
            for word in command:
                if word not in built and "/" in word and not os.path.isabs(word):
                    self.assertTrue(os.path.exists(word) or word == bench.PYTHON, word)

    def test_needs(self):
        p = subprocess.run([sys.executable, "scripts/bench.py", "--needs", "engine", "kern"], capture_output=True, text=True)
        self.assertEqual(p.stdout.split(), [bench.bench("gen"), bench.bench("kern")])

    def test_train_prints_its_rows(self):
        rows = [json.loads(x) for x in bench.kept("train").splitlines() if x.startswith("{")]
        ours = [r for r in rows if "ours" in r]
        self.assertTrue(ours)
        for r in ours:
            self.assertIn(r["shape"], ("135m", "tiny"))
            self.assertTrue(0 < r["tok_s_low"] <= r["tok_s"] <= r["tok_s_high"])


STEP = """import sys, time
for k, _ in enumerate(sys.stdin):
    time.sleep(%g if k > 2 else 0)
    print('{"name": "%s", "tokens": 100, "seconds": %%g%s}' %% (%g * (k + 1)), flush=True)
"""


class Turns(repexp.Case):
    def turns(self, *programs, rounds=3):
        commands = ["%s %s" % (sys.executable, self.write("p%d.py" % i, text)) for i, text in enumerate(programs)]
        p = subprocess.run([sys.executable, "bench/turns.py", str(rounds), "1", *commands], capture_output=True, text=True,
                           env=dict(os.environ, WARM="1"))
        return p.returncode, [json.loads(x) for x in p.stdout.splitlines()]

    def test_medians_and_shares(self):
        """Steps 2, 3 and 4 count; 1 GFLOP in s seconds at 2 GFLOP/s is half of the floor over s."""
        code, (ours, rival) = self.turns(STEP % (0, "ours", ', "flops": 1e9, "peak_gflops": 2', 1),
                                         STEP % (0, "rival", "", 10))
        self.assertEqual(code, 0)
        self.assertEqual((ours["name"], ours["n"], rival["n"]), ("ours", 3, 3))
        self.assertEqual([ours[k] for k in ("tok_s", "tok_s_low", "tok_s_high")], [33.3, 25.0, 50.0])
        self.assertEqual([ours[k] for k in ("floor_pct", "floor_low", "floor_high")], [16.7, 12.5, 25.0])
        self.assertEqual([rival[k] for k in ("tok_s", "floor_pct", "floor_high")], [3.3, 1.7, 2.5])

    def test_a_slow_and_a_broken_rival(self):
        code, rows = self.turns(STEP % (0, "ours", ', "flops": 1e9, "peak_gflops": 2', 1), STEP % (30, "slow", "", 1),
                                "import sys; sys.exit(3)")
        self.assertEqual(code, 0)
        self.assertEqual((rows[0]["n"], rows[1]["n"], rows[1]["slower_than_s"], rows[2]["failed"]), (3, 2, 1.0, 3))

    def test_ours_serves(self):
        program = bench.bench("train")
        if not os.path.exists(program):
            self.skipTest("no %s: make bench-programs" % program)
        p = subprocess.run([program, "countdown", "1", "0", "serve", "redo=1", "seqs=4"], input="step\nstep\n",
                           capture_output=True, text=True)
        rows = [json.loads(x) for x in p.stdout.splitlines()]
        self.assertEqual([r["tokens"] for r in rows], [4 * 37] * 2)
        for r in rows:
            self.assertEqual((r["redo"], r["seqs"], r["dtype"]), (1, 4, "f32"))
            self.assertTrue(0 < r["flops"] / r["seconds"] < r["peak_gflops"] * 1e9)


if __name__ == "__main__":
    repexp.main()
