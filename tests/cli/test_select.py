# SPDX-License-Identifier: MIT
"""The contract of `repexp select`: worked orders, the rules in a few lines of Python over random pools,
outcomes, start sets, ties, and a sentence for everything that can be wrong."""

import json
import math
import os
import random
import struct

from repexp import Case, main, need_data

H = [[1, 0, 2, -1], [1, .5, 2, -1], [0, 2, -1, 1], [-1, 1, 0, 3], [2, -1, 1, 0], [.5, .5, .5, .5]]
CODES = {"f4": "f", "f8": "d", "f2": "e"}


def npy(rows, kind="f8", fortran=False):
    flat = [x for r in rows for x in r]
    head = "{'descr': '<%s', 'fortran_order': %s, 'shape': (%d, %d), }" % (
        kind, fortran, len(rows), len(rows[0]) if rows else 0)
    head += " " * (-(len(head) + 11) % 64) + "\n"
    return (b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() +
            struct.pack("<%d%s" % (len(flat), CODES[kind]), *flat))


# ---- the rules, in plain Python ------------------------------------------------------------------

def solve(a, b):
    """a^-1 b by elimination with pivots."""
    n = len(a)
    m = [list(a[i]) + [b[i]] for i in range(n)]
    for c in range(n):
        p = max(range(c, n), key=lambda r: abs(m[r][c]))
        m[c], m[p] = m[p], m[c]
        for r in range(c + 1, n):
            f = m[r][c] / m[c][c]
            for k in range(c, n + 1):
                m[r][k] -= f * m[c][k]
    x = [0.0] * n
    for r in range(n - 1, -1, -1):
        x[r] = (m[r][n] - sum(m[r][k] * x[k] for k in range(r + 1, n))) / m[r][r]
    return x


def dot(a, b):
    return math.fsum(x * y for x, y in zip(a, b))


def prepare(rows, center, unit):
    d = len(rows[0])
    mean = [math.fsum(r[j] for r in rows) / len(rows) if center else 0.0 for j in range(d)]
    f = [[r[j] - mean[j] for j in range(d)] for r in rows]
    norm = [math.sqrt(dot(r, r)) for r in f]
    if unit:
        f = [[x / n for x in r] if n > 0 else r for r, n in zip(f, norm)]
    return f, norm


def bonus(f, picks, lam):
    d = len(f[0])
    a = [[(lam if i == j else 0.0) + sum(f[p][i] * f[p][j] for p in picks) for j in range(d)]
         for i in range(d)]
    return [dot(h, solve(a, h)) for h in f]


def tied(keys, logs):
    """The index that wins: lowest of those within 1e-10 of the largest."""
    best = max(keys.values())
    thr = best - 1e-10 * (1 if logs else abs(best))
    return min(i for i in keys if keys[i] >= thr or keys[i] == best)


def outcomes(l, label, sharp):
    rep, mass = {}, {}
    for i in range(len(label)):
        same = [j for j in range(len(label)) if label[j] == label[i]]
        mass[i] = math.log(sum(math.exp(sharp * l[j]) for j in same))
        rep[i] = tied({j: l[j] for j in same}, True)
    return rep, mass


def reference(method, rows, l, label, k, lam, center, unit, first, start=()):
    f, norm = prepare(rows, center, unit)
    rep, mass = outcomes(l, label, 4.0)
    picks, out = list(start), []
    while len(out) < k:
        done = {rep[p] for p in picks}
        wait = [i for i in range(len(rows)) if rep[i] == i and i not in picks and i not in done]
        if not wait:
            rest = {i: l[i] for i in range(len(rows)) if i not in picks}
            i = tied(rest, True)
        elif not picks and isinstance(first, int):
            i = first
        elif not picks and first == "norm":
            i = tied({j: norm[j] for j in wait}, False)
        elif method in ("elliptical", "quality"):
            s = bonus(f, picks, lam)
            i = (tied({j: s[j] for j in wait}, False) if method == "elliptical" else
                 tied({j: math.log(s[j]) + mass[j] for j in wait}, True))
        elif method == "farthest":
            i = tied({j: min(math.dist(f[j], f[p]) for p in picks) for j in wait}, False)
        elif method == "dpp":
            gain = {}
            for j in wait:
                v = list(f[j])
                base = []
                for p in picks:  # Gram and Schmidt over the picks
                    q = list(f[p])
                    for b in base:
                        c = dot(q, b)
                        q = [x - c * y for x, y in zip(q, b)]
                    n = dot(q, q)
                    if n >= 1e-10 * dot(f[p], f[p]) and n > 0:
                        base.append([x / math.sqrt(n) for x in q])
                for b in base + base:
                    c = dot(v, b)
                    v = [x - c * y for x, y in zip(v, b)]
                r = dot(v, v)
                if r >= 1e-10 * dot(f[j], f[j]) and r > 0:
                    gain[j] = math.log(r) + mass[j]
            i = tied(gain, True) if gain else tied({j: mass[j] for j in wait}, True)
        else:
            key = l if method == "likelihood" else mass
            i = tied({j: key[j] for j in wait}, True)
        picks.append(i)
        out.append(i)
    return out


class Select(Case):
    def features(self, rows, kind="f8", name="f.npy"):
        return self.write(name, npy(rows, kind))

    def order(self, *args):
        return self.ok("select", *args, "--json").lines()

    def test_worked_orders(self):
        f = self.features(H)
        for center, lam, first, want, score in (
                (False, "1", "0", [0, 3, 4, 2, 1, 5], [6, 8.714286, 3.661765, 3.369085, 1.020397, .135754]),
                (False, "0.01", "norm", [3, 4, 1, 2, 0, 5],
                 [1100, 518.256131, 388.871324, 317.336223, .792941, .161267]),
                (True, "1", "5", [5, 3, 2, 4, 1, 0], [.076389, 9.727419, 4.061495, 2.042687, .668395, .347588]),
                (True, "0.01", "norm", [3, 2, 4, 1, 0, 5],
                 [999.305556, 397.491739, 182.735398, 4.820678, 1.3041, .269671])):
            got, = self.order("--features", f, "-k", "all", "--lambda", lam, "--first", first,
                              "--center" if center else "--no-center")
            self.assertEqual((got["n"], got["order"]), (6, want))
            for a, b in zip(got["score"], score):
                self.assertAlmostEqual(a, b, delta=1e-6)
            part, = self.order("--features", f, "-k", "2", "--lambda", lam, "--first", first,
                               "--center" if center else "--no-center")
            self.assertEqual(part["order"], want[:2])

    def pool(self, seed, n=14, d=5, groups=2):
        rng = random.Random(seed)
        rows = [[round(rng.gauss(0, 1), 3) for _ in range(d)] for _ in range(n * groups)]
        recs = [{"prompt_id": "p%d" % (i % groups), "sample": i // groups,
                 "logprob": round(-rng.random() * 20, 2), "n_tok": rng.randint(1, 9),
                 "extracted": rng.choice(["1", "2", "3", "4", "5"])} for i in range(n * groups)]
        return rows, recs

    def test_every_rule_is_its_definition(self):
        settings = {"elliptical": (1.0, True, False, "norm", "none", "mean"),
                    "quality": (0.01, True, True, "best", "auto", "mean"),
                    "votes": (1.0, True, True, "best", "auto", "mean"),
                    "likelihood": (1.0, True, True, "best", "none", "sum"),
                    "farthest": (1.0, True, True, "norm", "none", "mean"),
                    "dpp": (1.0, True, True, "best", "none", "mean")}
        for seed in range(6):
            rows, recs = self.pool(seed)
            f = self.features(rows, "f8")
            g = self.write("g.jsonl", recs)
            for method, (lam, center, unit, first, outcome, like) in settings.items():
                extra = ["--first", "norm"] if method == "elliptical" else []
                if seed % 2:
                    outcome = "answer"
                    extra += ["--outcome", "answer"]
                got = self.order("--features", f, "--groups", g, "-k", "all", "--method", method, *extra)
                self.assertEqual([x["group"] for x in got], ["p0", "p1"])
                for part, line in enumerate(got):
                    mine = [r for i, r in enumerate(rows) if i % 2 == part]
                    rec = [r for i, r in enumerate(recs) if i % 2 == part]
                    l = [r["logprob"] / (r["n_tok"] if like == "mean" else 1) for r in rec]
                    label = ([r["extracted"] for r in rec] if outcome != "none" else list(range(len(rec))))
                    want = reference(method, mine, l, label, len(mine), lam, center, unit, first)
                    self.assertEqual(line["order"], want, (seed, method, outcome))

    def test_random_is_a_seeded_permutation(self):
        f = self.features([[float(i)] for i in range(40)])
        a, = self.order("--features", f, "-k", "all", "--method", "random")
        b, = self.order("--features", f, "-k", "all", "--method", "random", "--seed", "1")
        self.assertEqual(sorted(a["order"]), list(range(40)))
        self.assertNotEqual(a["order"], b["order"])
        self.assertEqual(a, self.order("--features", f, "-k", "all", "--method", "random")[0])
        first = {self.order("--features", f, "-k", "1", "--seed", str(s))[0]["order"][0] for s in range(30)}
        self.assertGreater(len(first), 10)

    def test_threads_change_nothing(self):
        rows, recs = self.pool(3, n=60, d=9, groups=5)
        f, g = self.features(rows, "f4"), self.write("g.jsonl", recs)
        for method in ("elliptical", "quality", "farthest", "dpp"):
            args = ("select", "--features", f, "--groups", g, "-k", "all", "--method", method, "--json")
            self.assertEqual(self.ok(*args, "--threads", "1").out, self.ok(*args, "--threads", "3").out)

    def test_element_types(self):
        rows = [[x / 4 for x in r] for r in H]
        want = self.order("--features", self.features(rows), "-k", "all", "--first", "0")[0]["order"]
        for kind in ("f2", "f4"):
            got, = self.order("--features", self.features(rows, kind, kind + ".npy"), "-k", "all", "--first", "0")
            self.assertEqual(got["order"], want)
        head = json.dumps({"h": {"dtype": "F32", "shape": [6, 4], "data_offsets": [0, 96]},
                           "z": {"dtype": "F32", "shape": [1, 1], "data_offsets": [96, 100]}}).encode()
        head += b" " * (-len(head) % 8)
        data = struct.pack("<24f", *[x for r in rows for x in r]) + b"\0" * 4
        st = self.write("t.safetensors", struct.pack("<Q", len(head)) + head + data)
        got, = self.order("--features", st + "#h", "-k", "all", "--first", "0")
        self.assertEqual(got["order"], want)
        self.fails("select", "--features", st, "-k", "1", status=1, saying="2 tensors")
        self.fails("select", "--features", st + "#q", "-k", "1", status=1, saying="no tensor")

    def test_start_sets_continue(self):
        rows, recs = self.pool(7)
        f, g = self.features(rows), self.write("g.jsonl", recs)
        for method in ("elliptical", "quality", "votes", "likelihood", "farthest", "dpp", "random"):
            args = ("--features", f, "--groups", g, "--method", method)
            whole = self.order(*args, "-k", "all")
            by_row = self.write("s.jsonl", [{"group": w["group"], "row": i} for w in whole for i in w["order"][:4]])
            by_sample = self.write("t.jsonl", [{"prompt_id": w["group"], "sample": i} for w in whole
                                               for i in w["order"][:4]])
            for s in (by_row, by_sample):
                tail = self.order(*args, "-k", "all", "--start", s)
                self.assertEqual([t["order"] for t in tail], [w["order"][4:] for w in whole], method)
        self.fails("select", *args, "-k", "11", "--start", by_row, status=1, saying="group p0")
        bad = self.write("u.jsonl", [{"group": "p0", "row": 14}])
        self.fails("select", *args, "-k", "1", "--start", bad, status=1, saying="line 1")
        bad = self.write("u.jsonl", [{"group": "p9", "row": 1}])
        self.fails("select", *args, "-k", "1", "--start", bad, status=1, saying="no group p9")
        bad = self.write("u.jsonl", [{"group": "p0", "row": 1}, {"group": "p0", "row": 1}])
        self.fails("select", *args, "-k", "1", "--start", bad, status=1, saying="line 2")

    def test_first_correct_looks_behind_k(self):
        recs = [{"group": "a", "reward": int(i == 5)} for i in range(6)] + [{"group": "b", "reward": 0}]
        f = self.features(H + [[1, 2, 3, 4]])
        g = self.write("g.jsonl", recs)
        p = self.ok("select", "--features", f, "--groups", g, "-k", "1", "--first", "0", "--no-center", "--json")
        a, b = p.lines()
        self.assertEqual((a["order"], a["first_correct"], b["first_correct"]), ([0], 6, None))
        self.assertIn("random", p.err)
        self.assertIn("3.50", p.err)
        recs[2].pop("reward")
        got = self.order("--features", f, "--groups", self.write("g.jsonl", recs), "-k", "1")
        self.assertNotIn("first_correct", got[0])

    def test_ties(self):
        cross = [[0, 0, 2], [2, 0, 0], [0, 2, 0], [0, 0, -2], [-2, 0, 0], [0, -2, 0]]
        got, = self.order("--features", self.features(cross), "-k", "all", "--first", "best")
        self.assertEqual(got["order"], list(range(6)))
        recs = [{"group": "a", "logp": [x]} for x in (-1, -1 + 5e-11, -2, -1 + 3e-10)]
        got, = self.order("--groups", self.write("g.jsonl", recs), "-k", "all", "--method", "likelihood")
        self.assertEqual(got["order"], [3, 0, 1, 2])

    def test_votes_count_and_weigh(self):
        said = ["a", "b", "b", None, "c", "b", "c"]
        recs = [dict({"group": "g", "logprob": -9.0 if s == "b" else -1.0, "n_tok": 3},
                     **({"extracted": s} if s else {})) for s in said]
        g = self.write("g.jsonl", recs)
        got, = self.order("--groups", g, "-k", "all", "--method", "votes", "--sharpness", "0")
        self.assertEqual(got["order"], [1, 4, 0, 3, 6, 2, 5])
        got, = self.order("--groups", g, "-k", "all", "--method", "votes")
        self.assertEqual(got["order"], [4, 0, 3, 1, 6, 2, 5])
        bare = self.write("h.jsonl", [{"group": "g", "extracted": s or "z"} for s in said])
        got, = self.order("--groups", bare, "-k", "all", "--method", "votes", "--sharpness", "0")
        self.assertEqual(got["order"], [1, 4, 0, 3, 2, 5, 6])
        self.fails("select", "--groups", bare, "-k", "1", "--method", "votes", status=1, saying="line 1")

    def test_rules_that_weigh_likelihood_name_the_line(self):
        recs = [{"group": "g", "logprob": -1.0, "n_tok": 2} for _ in range(6)]
        del recs[3]["n_tok"]
        f, g = self.features(H), self.write("g.jsonl", recs)
        for method in ("quality", "dpp", "votes"):
            self.fails("select", "--features", f, "--groups", g, "-k", "1", "--method", method, status=1,
                       saying="line 4")
        self.order("--features", f, "--groups", g, "-k", "1", "--method", "likelihood")
        del recs[4]["logprob"]
        g = self.write("g.jsonl", recs)
        self.fails("select", "--features", f, "--groups", g, "-k", "1", "--method", "likelihood", status=1,
                   saying="line 5")
        got, = self.order("--features", f, "--groups", g, "-k", "all", "--outcome", "text")
        self.assertEqual(sorted(got["order"]), list(range(6)))

    def test_projection_is_recorded(self):
        rng = random.Random(0)
        f = self.features([[rng.gauss(0, 1) for _ in range(40)] for _ in range(9)], "f4")
        a, = self.order("--features", f, "-k", "all", "--proj-dim", "8", "--first", "0")
        self.assertEqual((a["projection"]["dim"], a["projection"]["seed"]), (8, 0))
        b, = self.order("--features", f, "-k", "all", "--proj-dim", "8", "--first", "0", "--seed", "5")
        self.assertNotEqual(a["projection"]["digest"], b["projection"]["digest"])
        c, = self.order("--features", f, "-k", "all", "--first", "0")
        self.assertNotIn("projection", c)
        d, = self.order("--features", f, "-k", "all", "--proj-dim", "40", "--first", "0")
        self.assertEqual(c["order"], d["order"])

    def test_relative_ridge(self):
        f = self.features(H)
        rows, _ = prepare(H, True, False)
        mean2 = sum(dot(r, r) for r in rows) / 6
        a, = self.order("--features", f, "-k", "all", "--first", "0", "--lambda", "rel:0.05")
        b, = self.order("--features", f, "-k", "all", "--first", "0", "--lambda", repr(0.05 * mean2))
        self.assertAlmostEqual(a["lambda"], 0.05 * mean2, places=12)
        self.assertEqual(a["order"], b["order"])

    def test_not_finite(self):
        rows = [list(r) for r in H]
        rows[4][2] = math.nan
        f = self.features(rows)
        for extra in ((), ("--proj-dim", "2"), ("--no-center",)):
            self.fails("select", "--features", f, "-k", "1", *extra, status=1, saying="row 4, column 2")
        self.fails("select", "--features", f, "-k", "1", "--method", "random", status=1, saying="row 4, column 2")
        all_bad = self.write("b.npy", npy([[math.nan], [1.0], [2.0]]))
        two = self.write("two.jsonl", [{"group": "a"}, {"group": "b"}, {"group": "b"}])
        got = self.order("--features", all_bad, "--groups", two, "-k", "all", "--allow-nonfinite", "drop",
                         "--first", "best")
        self.assertEqual([x["order"] for x in got], [[], [0, 1]])
        p = self.ok("select", "--features", f, "-k", "all", "--allow-nonfinite", "drop", "--first", "5", "--json")
        got, = p.lines()
        self.assertEqual((sorted(got["order"]), got["n"], got["dropped"]), ([0, 1, 2, 3, 5], 6, 1))
        self.assertIn("row 4 is left out", p.err)
        want = reference("elliptical", [r for i, r in enumerate(H) if i != 4], [0] * 5, list(range(5)), 5, 1.0,
                         True, False, 4)
        self.assertEqual(got["order"], [i if i < 4 else 5 for i in want])
        self.fails("select", "--features", f, "-k", "6", "--allow-nonfinite", "drop", status=1, saying="5 rows")

    def test_misuse_and_bad_input(self):
        f = self.features(H)
        g = self.write("g.jsonl", [{"prompt_id": "a"}] * 4 + [{"prompt_id": "b"}] * 2)
        self.fails("select", "--features", f, status=2, saying="-k")
        self.fails("select", "-k", "1", status=2, saying="--features")
        for k in ("0", "-1", "two", "1.5"):
            self.fails("select", "--features", f, "-k", k, status=2)
        for lam in ("0", "-1", "rel:", "rel:0", "nan", "x"):
            self.fails("select", "--features", f, "-k", "1", "--lambda", lam, status=2, saying="lambda")
        self.fails("select", "--features", f, "-k", "1", "--first", "seven", status=2, saying="--first")
        self.fails("select", "--features", f, "-k", "1", "--method", "elliptic", status=2)
        self.fails("select", "--features", f, "-k", "1", "--metod", "dpp", status=2, saying="method")
        self.fails("select", "--features", f, "-k", "7", status=1, saying="6 rows")
        self.fails("select", "--features", f, "--groups", g, "-k", "3", status=1, saying="group b")
        self.fails("select", "--features", f, "--groups", g, "-k", "1", "--first", "3", status=1, saying="group b")
        g5 = self.write("h.jsonl", [{"prompt_id": "a"}] * 5)
        self.fails("select", "--features", f, "--groups", g5, "-k", "1", status=1, saying="5 records")
        twice = self.write("h.jsonl", [{"prompt_id": "a", "sample": i % 5} for i in range(6)])
        self.fails("select", "--features", f, "--groups", twice, "-k", "1", status=1, saying="and 6")
        self.fails("select", "--features", self.path("none.npy"), "-k", "1", status=1, saying="none.npy")
        self.write("f.npy", npy(H)[:-1])
        self.fails("select", "--features", f, "-k", "1", status=1)
        self.write("f.npy", npy(H, fortran=True))
        self.fails("select", "--features", f, "-k", "1", status=1, saying="ortran")
        self.write("f.npy", npy(H))
        empty = self.write("e.jsonl", b"")
        self.fails("select", "--features", f, "--groups", empty, "-k", "1", status=1)

    def test_allocations_may_fail(self):
        rows, recs = self.pool(1)
        f, g = self.features(rows), self.write("g.jsonl", [dict(r, reward=i % 3 == 0) for i, r in enumerate(recs)])
        self.torture("select", "--features", f, "--groups", g, "-k", "3", "--method", "quality", "--threads", "1",
                     "--proj-dim", "3", "--json")

    def test_quality_saves_on_every_pool(self):
        for pool in ("countdown4-t06", "countdown4-t10", "smollm2-gsm8k", "smollm2-mbpp"):
            base = need_data("pools/" + pool)
            got = self.order("--features", os.path.join(base, "features.npy"), "--groups",
                             os.path.join(base, "pool.jsonl"), "-k", "1", "--method", "quality")
            count = {}
            with open(os.path.join(base, "pool.jsonl")) as lines:
                for line in lines:
                    r = json.loads(line)
                    n, c = count.get(r["prompt_id"], (0, 0))
                    count[r["prompt_id"]] = (n + 1, c + (r["reward"] > 0))
            solved = [x for x in got if x["first_correct"]]
            self.assertEqual({x["group"] for x in solved}, {p for p, (_, c) in count.items() if c})
            mine = sum(x["first_correct"] for x in solved)
            other = sum((count[x["group"]][0] + 1) / (count[x["group"]][1] + 1) for x in solved)
            self.assertTrue(-0.50 <= mine / other - 1 <= -0.38, (pool, mine / other - 1))


if __name__ == "__main__":
    main()
