# SPDX-License-Identifier: MIT
"""The contract of `repexp explore`: every value of its JSON recomputed from the pool file (rules in plain
Python, orders of seeded rules from `select`), closed forms against every permutation, what is verified and
what is not, auto, budgets, and a sentence for everything that can be wrong."""

import itertools
import json
import math
import os
import random
import subprocess
import time

from repexp import PROGRAM, Case, main, need_data
from test_select import bonus, npy, outcomes, prepare, tied

HARD = 0.05
BINS = (.02, .05, .10, .25, .50, 1.0)


def mean(v):
    v = list(v)
    return math.fsum(v) / len(v)


def groups(rows):
    g = {}
    for i, r in enumerate(rows):
        g.setdefault(r["prompt_id"], []).append((i, r))
    return g


def make_pool(problems=14, n=12, seed=3, answers=True):
    """Rows with duplicates of texts and answers; an answer is right or wrong as a whole."""
    rng, rows, feats = random.Random(seed), [], []
    for p in range(problems):
        right = set(rng.sample(range(7), rng.choice([0, 1, 1, 2, 3])))
        for s in range(n):
            a = min(rng.randrange(7), rng.randrange(7))
            r = {"prompt_id": "p/%d" % p, "sample": s, "text": "t%d.%d" % (a, rng.randrange(2)),
                 "logprob": -rng.uniform(1, 9), "n_tok": rng.randrange(2, 9), "reward": int(a in right)}
            if answers:
                r["extracted"] = str(a)
            rows.append(r)
            feats.append([rng.gauss(0, 1) for _ in range(4)])
    return rows, feats


def order_by(rule, sub, feats):
    """Whole orders of a group by the deterministic rules, from their definitions."""
    rows = [r for _, r in sub]
    per_tok = [r["logprob"] / r["n_tok"] for r in rows]
    label = [r.get("extracted", r["text"]) for r in rows]
    if rule == "likelihood":
        left, out = {i: rows[i]["logprob"] for i in range(len(rows))}, []
        while left:
            out.append(tied(left, True))
            del left[out[-1]]
        return out
    rep, mass = outcomes(per_tok, label, 4.0)
    reps = sorted(set(rep.values()))
    rest = [i for i in range(len(rows)) if i not in reps]
    picks = []
    f, _ = prepare([feats[i] for i, _ in sub], True, True)
    while len(picks) < len(reps):
        todo = [i for i in reps if i not in picks]
        if rule == "votes":
            key = {i: mass[i] for i in todo}
        else:
            b = bonus(f, picks, 0.01)
            key = {i: math.log(b[i]) + mass[i] for i in todo}
        picks.append(tied(key, True))
    left = {i: per_tok[i] for i in rest}
    while left:
        picks.append(tied(left, True))
        del left[picks[-1]]
    return picks


def walk(order, sub):
    """Samples and calls to the first right one."""
    seen = set()
    for at, i in enumerate(order):
        r = sub[i][1]
        seen.add(r.get("extracted", r["text"]))
        if r["reward"]:
            return at + 1, len(seen)
    return len(order) + 1, len(seen) + 1


class Recomputed(Case):
    def explore(self, rows, feats, rules, *more):
        pool = self.write("pool.jsonl", rows)
        f = self.write("f.npy", npy(feats))
        return self.ok("explore", "--from", pool, "--features", f, "--task", "exact", "--rules", rules,
                       "--json", *more).json()

    def check_interval(self, x, value, lo=-math.inf, hi=math.inf):
        self.assertAlmostEqual(x["value"], value, delta=1e-11 * max(1, abs(value)))
        self.assertLessEqual(lo, x["low"])
        self.assertLessEqual(x["low"], x["value"])
        self.assertLessEqual(x["value"], x["high"])
        self.assertLessEqual(x["high"], hi)

    def check_rule(self, got, sub, per, n):
        """`per`: per problem a list of (samples, calls) over the trials."""
        c = {p: sum(r["reward"] for _, r in rows) for p, rows in sub.items()}
        sets = {"all": list(sub), "solvable": [p for p in sub if c[p]],
                "hard": [p for p in sub if 0 < c[p] / n <= HARD]}
        for j, key in enumerate(("s2c", "calls")):
            self.assertEqual(set(got[key]), set(sets))
            for name, members in sets.items():
                if not members:
                    self.assertIsNone(got[key][name])
                    continue
                self.check_interval(got[key][name], mean(mean(t[j] for t in per[p]) for p in members), 1)
        for k, x in got["pass"].items():
            self.check_interval(x, mean(mean(t[0] <= int(k) for t in per[p]) for p in sub), 0, 1)
        some = sets["solvable"]
        ratio = mean(mean(t[0] for t in per[p]) for p in some) / mean((n + 1) / (c[p] + 1) for p in some)
        self.check_interval(got["vs_random"], ratio, 0)
        for top, below, x in zip(BINS, (0,) + BINS, got["bins"]):
            members = [p for p in some if below < c[p] / n <= top]
            if members:
                self.check_interval(x, mean(mean(t[0] for t in per[p]) for p in members), 1)
            else:
                self.assertIsNone(x)

    def test_deterministic_rules(self):
        for seed, n in ((3, 12), (5, 40)):
            rows, feats = make_pool(seed=seed, n=n)
            sub = groups(rows)
            got = self.explore(rows, feats, "quality,votes,likelihood")
            self.assertEqual(got["n_problems"], len(sub))
            self.assertEqual(got["n_solvable"], sum(any(r["reward"] for _, r in s) for s in sub.values()))
            self.assertEqual(list(got["rules"]), ["quality", "votes", "likelihood"])
            for rule, x in got["rules"].items():
                per = {p: [walk(order_by(rule, s, feats), s)] for p, s in sub.items()}
                self.check_rule(x, sub, per, n)

    def test_the_pool_is_that_of_passk(self):
        rows, feats = make_pool()
        got = self.explore(rows, feats, "random")
        want = self.ok("passk", "--rewards", self.path("pool.jsonl"), "--k", "1,2,4,8", "--json").json()
        self.assertEqual(got["pool"], want)

    def test_seeded_rules_are_the_orders_of_select(self):
        rows, feats = make_pool()
        sub = groups(rows)
        spelt = "elliptical/lambda=rel:0.01/unit"
        got = self.explore(rows, feats, spelt, "--trials", 3, "--seed", 7)
        per = {p: [] for p in sub}
        for t in range(3):
            for x in self.ok("select", "--features", self.path("f.npy"), "--groups", self.path("pool.jsonl"),
                             "-k", "all", "--lambda", "rel:0.01", "--unit", "--seed", 7 + t,
                             "--json").lines():
                per[x["group"]].append(walk(x["order"], sub[x["group"]]))
        self.assertEqual(list(got["rules"]), [spelt])
        self.assertEqual(got["rules"][spelt]["settings"]["trials"], 3)
        self.check_rule(got["rules"][spelt], sub, per, 12)

    def test_exact_is_every_first_pick(self):
        rows, feats = make_pool(problems=5, n=6)
        sub = groups(rows)
        got = self.explore(rows, feats, "elliptical", "--exact")
        per = {p: [] for p in sub}
        for first in range(6):
            for x in self.ok("select", "--features", self.path("f.npy"), "--groups", self.path("pool.jsonl"),
                             "-k", "all", "--first", first, "--json").lines():
                per[x["group"]].append(walk(x["order"], sub[x["group"]]))
        self.check_rule(got["rules"]["elliptical"], sub, per, 6)

    def test_random_in_closed_form_is_every_permutation(self):
        rows, feats = make_pool(problems=6, n=6, seed=8)
        # one answer that is right here and wrong there, as saved pools have
        rows[1]["reward"] = 1 - rows[1]["reward"]
        sub = groups(rows)
        got = self.explore(rows, feats, "random,random/outcome=answer,random/outcome=text", "--k", "1,2,3,6")
        plain = {p: [walk(o, s) for o in itertools.permutations(range(6))] for p, s in sub.items()}
        self.check_rule(got["rules"]["random"], sub, plain, 6)
        for name, field in (("answer", "extracted"), ("text", "text")):
            per = {}
            for p, s in sub.items():
                l = [r["logprob"] / r["n_tok"] for _, r in s]
                rep, _ = outcomes(l, [r[field] for _, r in s], 4.0)
                reps = sorted(set(rep.values()))
                rest = sorted((i for i in range(6) if i not in reps), key=lambda i: (-l[i], i))
                per[p] = [walk(list(o) + rest, s) for o in itertools.permutations(reps)]
            self.check_rule(got["rules"]["random/outcome=" + name], sub, per, 6)

    def test_texts_serve_where_there_is_no_answer(self):
        rows, feats = make_pool(answers=False)
        got = self.explore(rows, feats, "votes")
        sub = groups(rows)
        self.check_rule(got["rules"]["votes"], sub,
                        {p: [walk(order_by("votes", s, feats), s)] for p, s in sub.items()}, 12)
        self.assertIsNone(got["distinct_answers"])

    def test_threads_change_nothing(self):
        rows, feats = make_pool()
        a = self.explore(rows, feats, "elliptical,quality,auto,random", "--learn", 5, "--threads", 1)
        b = self.explore(rows, feats, "elliptical,quality,auto,random", "--learn", 5, "--threads", 3)
        self.assertEqual(a, b)

    def test_shared_pools(self):
        """The published effects on the real pools: signs and rough sizes."""
        for name, least, most in (("countdown4-t06", .41, .70), ("smollm2-gsm8k", .45, .60)):
            base = need_data("pools/" + name)
            got = self.ok("explore", "--from", os.path.join(base, "pool.jsonl"), "--features",
                          os.path.join(base, "features.npy"), "--rules", "quality,random", "--json").json()
            x = got["rules"]["quality"]["vs_random"]
            self.assertTrue(least < x["value"] < most and x["high"] < 1, x)
            self.assertEqual(got["rules"]["random"]["vs_random"], {"value": 1, "low": 1, "high": 1})
            self.assertIsNone(got["task"])


class Reference(Case):
    def test_tenths_of_another_pool(self):
        rows, feats = make_pool(problems=25)
        other = make_pool(problems=25, n=9, seed=8)[0]
        random.Random(2).shuffle(other)
        run = ["explore", "--task", "exact", "--from", self.write("pool.jsonl", rows), "--features",
               self.write("f.npy", npy(feats)), "--rules", "likelihood,votes", "--json", "--quiet"]
        plain = self.ok(*run).json()
        got = self.ok(*run, "--reference", self.write("other.jsonl", other)).json()
        self.assertEqual(got["rules"]["votes"]["s2c"], plain["rules"]["votes"]["s2c"])
        ref = {p: (len(g) + 1) / (sum(r["reward"] for _, r in g) + 1) for p, g in groups(other).items()}
        mine = groups(rows)
        names = sorted(mine, key=lambda p: (-ref[p], list(mine).index(p)))
        self.assertEqual((len(got["bins"]), got["bins"][0], got["bins"][9]), (10, "hardest tenth", "easiest tenth"))
        for rule in ("likelihood", "votes"):
            first = {p: next((k for k, i in enumerate(order_by(rule, g, feats), 1) if g[i][1]["reward"]), None)
                     for p, g in mine.items()}
            for b in range(10):
                here = [first[p] for k, p in enumerate(names) if 10 * k // 25 == b and first[p]]
                told = got["rules"][rule]["bins"][b]
                self.assertEqual(told is None, not here)
                if here:
                    self.assertAlmostEqual(told["value"], mean(here), 9)

    def test_refused(self):
        rows, feats = make_pool(problems=3)
        pool = self.write("pool.jsonl", rows)
        short = self.write("short.jsonl", [r for r in rows if r["prompt_id"] != "p/1"])
        bare = self.write("bare.jsonl", [{"prompt_id": r["prompt_id"]} for r in rows])
        run = ["explore", "--task", "exact", "--from", pool, "--rules", "likelihood", "--reference"]
        self.fails(*run, short, saying=["--reference", "no sample of problem p/1"])
        self.fails(*run, bare, saying=["bare.jsonl", "reward"])


class Learning(Case):
    def test_auto_takes_the_cheapest_of_the_first_and_counts_the_rest(self):
        rows, feats = make_pool(problems=20)
        pool, f = self.write("pool.jsonl", rows), self.write("f.npy", npy(feats))
        got = self.ok("explore", "--from", pool, "--features", f, "--rules", "auto,votes,likelihood",
                      "--candidates", "votes,likelihood,random", "--learn", 8, "--json").json()["rules"]
        sub = groups(rows)
        cost = {rule: mean(walk(order_by(rule, s, feats), s)[1] for s in list(sub.values())[:8])
                for rule in ("votes", "likelihood")}
        said = got["auto"]["settings"]
        for rule, value in cost.items():
            self.assertAlmostEqual(said["candidates"][rule]["value"], value, delta=1e-9)
        best = min(said["candidates"], key=lambda r: said["candidates"][r]["value"])
        self.assertEqual(said["chosen"], best)
        self.assertEqual(said["learned_from"], 8)
        if best in cost:
            rest = list(sub.values())[8:]
            self.assertAlmostEqual(got["auto"]["s2c"]["all"]["value"],
                                   mean(walk(order_by(best, s, feats), s)[0] for s in rest), delta=1e-9)

    def test_auto_needs_problems_left(self):
        rows, _ = make_pool(problems=4)
        self.write("pool.jsonl", rows)
        self.fails("explore", "--from", self.path("pool.jsonl"), "--rules", "auto",
                   saying=("first 20 problems", "has 4", "--learn"))


ECHO = """
import json, sys
for line in sys.stdin:
    r = json.loads(line)
    with open(sys.argv[1], 'a') as f: f.write(r['response'] + '\\n')
    ok = r['response'] == r['answer']
    print(json.dumps({'id': r['id'], 'verdict': 'correct' if ok else 'wrong', 'reward': int(ok)}), flush=True)
"""


class Verifying(Case):
    def pool(self, problems=4, n=10):
        rng = random.Random(1)
        return [{"prompt_id": "q%d" % p, "sample": s, "text": "a%d" % rng.randrange(5), "answer": "a%d" % p,
                 "logprob": -rng.uniform(1, 5), "n_tok": 3} for p in range(problems) for s in range(n)]

    def external(self, *more):
        prog = self.write("v.py", ECHO)
        return self.ok("explore", "--from", self.write("pool.jsonl", self.pool()), "--task", "external", "--cmd",
                       "python3 %s %s" % (prog, self.path("asked")), *more)

    def test_external_is_asked_no_more_than_needed(self):
        got = self.external("--rules", "likelihood", "--json").json()
        with open(self.path("asked")) as f:
            asked = f.read().splitlines()
        rows = self.pool()
        for r in rows:
            r["reward"] = int(r["text"] == r["answer"])
        sub = groups(rows)
        calls = 0
        for s in sub.values():
            order = order_by("likelihood", s, None)
            at = walk(order, s)[0]
            calls += len({s[i][1]["text"] for i in order[:at]})
        self.assertEqual(len(asked), calls)
        self.assertLess(calls, len({(r["prompt_id"], r["text"]) for r in rows}))
        self.assertEqual(got["verification"], "lazy")
        self.assertIsNone(got["pool"])
        self.assertEqual(got["verdicts"]["broken"], 0)

    def test_verify_all_knows_everything(self):
        got = self.external("--rules", "likelihood,random", "--verify-all", "--json").json()
        self.assertEqual(got["verification"], "all")
        self.assertEqual(sum(got["verdicts"].values()), 40)
        self.assertEqual(got["rules"]["random"]["settings"]["estimate"], "closed form")

    def test_until_correct_prints_what_it_found(self):
        found = self.external("--rules", "likelihood", "--until-correct", "--json").lines()
        self.assertEqual([x["prompt_id"] for x in found], ["q0", "q1", "q2", "q3"])
        for i, x in enumerate(found):
            self.assertTrue(x["correct"])
            self.assertEqual(x["text"], "a%d" % i)
        with open(self.path("asked")) as f:
            self.assertEqual(len(f.read().splitlines()), sum(x["calls"] for x in found))

    def test_budget_is_kept(self):
        found = self.external("--rules", "likelihood", "--budget", 7, "--json").lines()
        self.assertEqual(sum(x["calls"] for x in found), 7)
        with open(self.path("asked")) as f:
            self.assertEqual(len(f.read().splitlines()), 7)

    def test_resume_asks_nothing_twice(self):
        run = self.path("run")
        self.external("--rules", "likelihood", "--out", run, "--json")
        os.remove(self.path("asked"))
        self.external("--rules", "likelihood", "--out", run, "--resume", "--json")
        self.assertFalse(os.path.exists(self.path("asked")))

    def kill_and_resume(self, command, *more):
        """kill -9 while a slow verifier is at work: --resume asks only for what had no answer yet, and ends
        in the files of a run that was never stopped."""
        prog, pool = self.write("slow.py", ECHO.replace("    ok =", "    time.sleep(0.01)\n    ok =").replace(
            "import json", "import time, json")), self.write("pool.jsonl", self.pool(8, 16))
        asked = self.path("asked")
        args = [command, "--from", pool, "--task", "external", "--cmd", "python3 %s %s" % (prog, asked), "--json", *more]
        whole, part = self.path("whole"), self.path("part")
        want = self.ok(*args, "--out", whole).out
        calls = sum(1 for _ in open(asked))
        os.remove(asked)
        self.assertFalse(os.path.exists(whole + "/verdicts.jsonl"))
        journal = part + "/verdicts.jsonl"
        with subprocess.Popen([PROGRAM, *map(str, args), "--out", part], stderr=subprocess.PIPE, stdout=subprocess.PIPE) as p:
            while p.poll() is None and (not os.path.exists(journal) or os.path.getsize(journal) < 2500):
                time.sleep(0.005)
            p.kill()
            p.communicate()
        self.assertEqual(p.returncode, -9)
        with open(journal, "ab") as f:
            f.write(b'{"row":3,"te')  # torn by the kill
        with open(journal) as f:
            had = len(f.read().splitlines()) - 2
        self.assertGreater(had, 10)
        self.assertLess(had, calls)
        other = self.run_cmd(*args, "--out", part, "--resume", "--deadline", 9)
        self.assertEqual(other.status, 2)
        self.assertIn("verdicts of " + journal + " are of another task", other.err)
        time.sleep(0.2)  # the verifier of the killed run ends when its input does
        os.remove(asked)
        self.assertEqual(self.ok(*args, "--out", part, "--resume").out, want)
        self.assertEqual(sum(1 for _ in open(asked)), calls - had)
        names = sorted(os.listdir(whole))
        self.assertEqual(sorted(os.listdir(part)), names)
        for name in names:
            if name == "run.json":  # names the folder
                continue
            with open(whole + "/" + name, "rb") as a, open(part + "/" + name, "rb") as b:
                self.assertEqual(a.read(), b.read(), name)

    def test_killed_while_verifying_all(self):
        self.kill_and_resume("explore", "--rules", "likelihood,random", "--verify-all")

    def test_killed_while_going_down_the_orders(self):
        self.kill_and_resume("explore", "--rules", "likelihood,votes,random", "--trials", 3)

    def test_killed_during_eval(self):
        self.kill_and_resume("eval")

    def test_a_dying_verifier_stops_the_run(self):
        pool = self.write("pool.jsonl", self.pool())
        self.fails("explore", "--from", pool, "--task", "external", "--cmd", "false", "--rules", "likelihood",
                   "--verify-all", saying="in a row")

    def test_gold_from_data_and_reverify(self):
        rows = self.pool()
        data = self.write("d.jsonl", [{"prompt_id": "q%d" % p, "prompt": "?", "answer": "a%d" % p}
                                      for p in range(4)])
        bare = [{k: v for k, v in r.items() if k != "answer"} for r in rows]
        a = self.ok("explore", "--from", self.write("a.jsonl", rows), "--task", "exact", "--rules", "random",
                    "--json").json()
        b = self.ok("explore", "--from", self.write("b.jsonl", bare), "--task", "exact", "--data", data,
                    "--rules", "random", "--json").json()
        lies = [dict(r, reward=0) for r in rows]
        c = self.ok("explore", "--from", self.write("c.jsonl", lies), "--task", "exact", "--reverify",
                    "--rules", "random", "--json").json()
        d = self.ok("explore", "--from", self.path("c.jsonl"), "--task", "exact", "--rules", "random",
                    "--json").json()
        self.assertEqual(a, b)
        self.assertEqual(a, c)
        self.assertEqual((a["n_solvable"], d["n_solvable"]), (4, 0))


class Folders(Case):
    def test_run_folder(self):
        rows, feats = make_pool()
        pool, f, run = self.write("pool.jsonl", rows), self.write("f.npy", npy(feats)), self.path("run")
        done = self.ok("explore", "--from", pool, "--features", f, "--task", "exact", "--rules",
                       "quality,random", "--out", run, "--json")
        with open(os.path.join(run, "explore.json")) as x:
            self.assertEqual(x.read(), done.out)
        with open(os.path.join(run, "run.json")) as x:
            told = json.load(x)
        self.assertEqual((told["command"], told["pool"], told["features"]), ("explore", pool, f))
        with open(os.path.join(run, "orders.jsonl")) as x:
            orders = [json.loads(l) for l in x]
        sub = groups(rows)
        for o in orders:
            if o["rule"] == "quality":
                self.assertEqual(o["order"], order_by("quality", sub[o["prompt_id"]], feats))

    def test_model_to_page(self):
        gguf = need_data("models/stories260K/stories260K.gguf")
        run = self.path("run")
        args = ("explore", "--model", gguf, "--task", "arithmetic", "--turn", "plain", "--problems", 3, "-n", 6,
                "--max-tokens", 8, "--rules", "elliptical,random", "--out", run, "--json")
        one = self.ok(*args).json()
        self.assertEqual((one["n_problems"], one["pool"]["n_samples"]), (3, 18))
        with open(os.path.join(run, "pool.jsonl")) as x:
            first = x.read()
        lines = [json.loads(l) for l in first.splitlines()]
        self.assertTrue(all("verdict" in l and "reason" in l for l in lines))
        again = self.ok(*args, "--resume").json()
        self.assertEqual(one["rules"], again["rules"])
        study = self.ok("explore", "--model", gguf, "--task", "arithmetic", "--turn", "plain", "--problems", 2,
                        "-n", 4, "--max-tokens", 6, "--rules", "random", "--samplers", "vanilla,nucleus",
                        "--json").json()
        self.assertEqual(list(study["samplers"]), ["vanilla", "nucleus"])
        self.ok("report", run, "--out", self.path("page.html"))


class Refused(Case):
    def test_misuse(self):
        rows, _ = make_pool(problems=2, n=3)
        pool = self.write("pool.jsonl", rows)
        base = ("explore", "--from", pool, "--rules")
        for rules, saying in (("qualty", "did you mean quality"), ("quality", "needs --features"),
                              ("random/outcome=word", "no value of that setting"),
                              ("random/colour=red", "no setting 'colour=red'"), ("random,random", "twice"),
                              ("likelihood/lambda=-1", "lambda=-1"), ("auto/unit", "auto takes no settings")):
            self.fails(*base, rules, status=2, saying=saying)
        self.fails("explore", "--rules", "random", status=2, saying="either --model M or --from POOL")
        self.fails(*base, "random", "--task", "exct", status=2, saying="did you mean 'exact'")
        self.fails(*base, "random", "--budget", 3, "--until-correct", status=2, saying="exclude each other")
        self.fails(*base, "random,votes", "--until-correct", status=2, saying="one rule")
        with open(pool) as f:
            text = f.read()
        self.fails("explore", "--from", "-", "--rules", "random", "--out", self.path("run"), status=2,
                   saying="not standard input", stdin=text)
        self.assertEqual(self.ok("explore", "--from", "-", "--rules", "random", "--json", stdin=text).out,
                         self.ok(*base, "random", "--json").out)

    def test_bad_data(self):
        rows, feats = make_pool(problems=2, n=3)
        bare = [dict(r) for r in rows]
        del bare[4]["reward"]
        self.fails("explore", "--from", self.write("a.jsonl", bare), "--rules", "random",
                   saying=("line 5", "no reward"))
        self.fails("explore", "--from", self.path("a.jsonl"), "--rules", "random", "--task", "exact",
                   saying=("line 5", "no gold"))
        f = self.write("f.npy", npy(feats[:5]))
        self.fails("explore", "--from", self.path("a.jsonl"), "--features", f, "--rules", "quality",
                   saying=("6 records", "5 rows"))
        rows[2]["reward"] = 0.5
        self.fails("explore", "--from", self.write("c.jsonl", rows), "--rules", "random",
                   saying=("line 3", "neither 0 nor 1"))
        rows[2]["reward"] = 1
        del rows[1]["n_tok"]
        self.fails("explore", "--from", self.write("d.jsonl", rows), "--rules", "votes",
                   saying=("line 2", "votes needs"))

    def test_out_of_memory(self):
        rows, feats = make_pool(problems=3, n=4)
        pool, f = self.write("pool.jsonl", rows), self.write("f.npy", npy(feats))
        self.torture("explore", "--from", pool, "--features", f, "--rules", "elliptical,quality,random",
                     "--draws", 100, "--threads", 1)


if __name__ == "__main__":
    main()
