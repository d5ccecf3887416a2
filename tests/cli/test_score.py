# SPDX-License-Identifier: MIT
"""The contract of `repexp score`: worked leverages, the fields, normalisation, bad input."""

import math
import random
import statistics

from repexp import Case, main
from test_select import H, bonus, dot, npy, prepare


class Score(Case):
    def score(self, *args):
        return self.ok("score", *args, "--json").lines()

    def setUp(self):
        super().setUp()
        self.f = self.write("f.npy", npy(H))

    def test_worked_leverages(self):
        for center, lam, kind, want in (
                (False, "1", "leverage", [.383540, .488142, .733864, .846549, .749794, .119528]),
                (False, "0.01", "loo", [.761355, 1.270739, 13.864288, 33.706010, 21.953257, .161267]),
                (True, "1", "loo", [.347588, .476174, 1.609245, 2.168400, 1.540845, .019253]),
                (True, "0.01", "leverage", [.526458, .701541, .766104, .813224, .807659, .212394])):
            got, = self.score("--features", self.f, "--bonus", kind, "--lambda", lam,
                              "--center" if center else "--no-center")
            for a, b in zip(got["bonus"], want):
                self.assertAlmostEqual(a, b, delta=1e-6)
            self.assertAlmostEqual(got["sum"], math.fsum(got["bonus"]), places=12)
        # the defaults are those of the last case
        self.assertEqual(self.score("--features", self.f)[0], got)

    def test_fields(self):
        got, = self.score("--features", self.f)
        self.assertEqual(set(got), {"group", "bonus", "lambda", "sum", "rank", "min", "mean", "max", "std",
                                    "saturation"})
        b = got["bonus"]
        self.assertAlmostEqual(got["mean"], statistics.mean(b), places=12)
        self.assertAlmostEqual(got["std"], statistics.stdev(b), places=12)
        self.assertEqual((got["min"], got["max"], got["lambda"]), (min(b), max(b), 0.01))
        self.assertAlmostEqual(got["saturation"], sum(b) / 5, places=12)
        self.assertTrue(1 <= got["rank"] <= 4)

    def test_rank_of_known_spectra(self):
        equal = [[3, 0, 0], [-3, 0, 0], [0, 3, 0], [0, -3, 0], [0, 0, 3], [0, 0, -3]]
        got, = self.score("--features", self.write("e.npy", npy(equal)))
        self.assertAlmostEqual(got["rank"], 3, places=12)
        line = [[x, 2 * x] for x in (1.0, 2.0, 4.0)]
        got, = self.score("--features", self.write("l.npy", npy(line)))
        self.assertAlmostEqual(got["rank"], 1, places=9)

    def test_groups_and_kinds(self):
        rng = random.Random(4)
        for n, d in ((5, 9), (12, 3)):  # dual and primal
            rows = [[rng.gauss(0, 1) for _ in range(d)] for _ in range(2 * n)]
            f = self.write("r.npy", npy(rows))
            g = self.write("g.jsonl", [{"group": "ab"[i % 2]} for i in range(2 * n)])
            for kind in ("leverage", "loo", "conditional"):
                for line in self.score("--features", f, "--groups", g, "--bonus", kind, "--lambda", "rel:0.1"):
                    mine, _ = prepare([r for i, r in enumerate(rows) if "ab"[i % 2] == line["group"]], True, False)
                    lam = 0.1 * sum(dot(r, r) for r in mine) / n
                    self.assertAlmostEqual(line["lambda"], lam, places=12)
                    for i, b in enumerate(line["bonus"]):
                        among = {"leverage": range(n), "loo": [j for j in range(n) if j != i],
                                 "conditional": range(i)}[kind]
                        self.assertAlmostEqual(b, bonus(mine, among, lam)[i], delta=1e-9 * (1 + b))

    def test_normalisation(self):
        raw, = self.score("--features", self.f)
        rnd, = self.score("--features", self.f, "--normalize", "rnd")
        z, = self.score("--features", self.f, "--normalize", "zscore")
        for r, a, b in zip(raw["bonus"], rnd["bonus"], z["bonus"]):
            self.assertAlmostEqual(a, r / raw["std"], places=12)
            self.assertAlmostEqual(b, (r - raw["mean"]) / raw["std"], places=12)
        same, = self.score("--features", self.write("s.npy", npy([[1.0, 2.0]] * 8)), "--normalize", "zscore")
        self.assertEqual(same["bonus"], [0.0] * 8)
        self.assertEqual((same["rank"], same["sum"]), (0, 0))
        one, = self.score("--features", self.write("o.npy", npy([[1.0, 2.0]])))
        self.assertEqual((one["bonus"], one["saturation"], one["std"]), ([0.0], None, 0))

    def test_allocations_may_fail(self):
        self.torture("score", "--features", self.f, "--threads", "1", "--json")

    def test_bad_input(self):
        self.fails("score", status=2, saying="--features")
        self.fails("score", "--features", self.f, "--lambda", "0", status=2, saying="--lambda")
        self.fails("score", "--features", self.f, "--bonus", "lever", status=2)
        rows = [list(r) for r in H]
        rows[1][3] = math.inf
        bad = self.write("n.npy", npy(rows))
        self.fails("score", "--features", bad, status=1, saying="row 1, column 3")
        got, = self.score("--features", bad, "--allow-nonfinite", "drop")
        self.assertIsNone(got["bonus"][1])
        want, = self.score("--features", self.write("m.npy", npy([r for i, r in enumerate(H) if i != 1])))
        self.assertEqual([b for b in got["bonus"] if b is not None], want["bonus"])
        g = self.write("g.jsonl", [{"group": "a"}] * 5)
        self.fails("score", "--features", self.f, "--groups", g, status=1, saying="5 records")


if __name__ == "__main__":
    main()
