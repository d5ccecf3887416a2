# SPDX-License-Identifier: MIT
"""The contract of `repexp eval`: the object of `passk` recomputed from the pool, verdict counts, two runs
compared, tables, resuming, and sentences for what is wrong."""

import json
import math
import os
import random

from repexp import Case, main, need_data


def pool(seed=2, problems=9, n=8):
    rng = random.Random(seed)
    return [{"prompt_id": "q%d" % p, "sample": s, "text": "a%d" % min(rng.randrange(6), rng.randrange(6)),
             "answer": "a%d" % (p % 3)} for p in range(problems) for s in range(n)]


def pass_at(n, c, k):
    return 1 - math.comb(n - c, k) / math.comb(n, k)


class Eval(Case):
    def test_values_are_those_of_the_pool(self):
        rows = pool()
        got = self.ok("eval", "--from", self.write("p.jsonl", rows), "--task", "exact", "--k", "1,3,8",
                      "--json").json()
        right = {}
        for r in rows:
            right.setdefault(r["prompt_id"], []).append(r["text"] == r["answer"])
        self.assertEqual((got["n_prompts"], got["n_samples"], got["task"]), (9, 72, "exact"))
        for k in (1, 3, 8):
            want = math.fsum(pass_at(8, sum(v), k) for v in right.values()) / 9
            x = got["pass"][str(k)]
            self.assertAlmostEqual(x["value"], want, delta=1e-12)
            self.assertTrue(0 <= x["low"] <= x["value"] <= x["high"] <= 1)
            self.assertIn(str(k), got["maj"])
            self.assertAlmostEqual(got["avg"][str(k)]["value"], got["pass"]["1"]["value"], delta=1e-12)
        all_ = math.fsum(9 / (sum(v) + 1) for v in right.values()) / 9
        self.assertAlmostEqual(got["samples_to_correct"]["all"]["value"], all_, delta=1e-12)
        n_right = sum(map(sum, right.values()))
        self.assertEqual({k: v for k, v in got["verdicts"].items() if v},
                         {"correct": n_right, "wrong": 72 - n_right})

    def test_stored_rewards_give_the_object_of_passk(self):
        rows = [dict(r, reward=int(r["text"] == r["answer"]), extracted=r["text"]) for r in pool()]
        path = self.write("p.jsonl", rows)
        got = self.ok("eval", "--from", path, "--task", "exact", "--k", "1,2,4", "--seed", 3, "--json").json()
        want = self.ok("passk", "--rewards", path, "--k", "1,2,4", "--seed", 3, "--json").json()
        self.assertEqual({k: v for k, v in got.items() if k not in ("task", "verdicts", "avg")},
                         want)

    def test_two_runs(self):
        a, b = self.path("a"), self.path("b")
        for seed, run in ((2, a), (9, b)):
            self.ok("eval", "--from", self.write("p%d.jsonl" % seed, pool(seed)), "--task", "exact", "--out", run)
        self.assertEqual(sorted(os.listdir(a)), ["eval.json", "pool.jsonl", "run.json"])
        got = self.ok("eval", "--from", os.path.join(a, "pool.jsonl"), "--task", "exact", "--vs", b, "--k",
                      "1,2", "--json").json()
        with open(os.path.join(a, "eval.json")) as x, open(os.path.join(b, "eval.json")) as y:
            one, two = json.load(x), json.load(y)
        for k in ("1", "2"):
            self.assertAlmostEqual(got["vs"]["pass"][k]["diff"],
                                   one["pass"][k]["value"] - two["pass"][k]["value"], delta=1e-12)
        table = self.ok("eval", "--from", os.path.join(a, "pool.jsonl"), "--task", "exact", "--vs", b).out
        self.assertIn("| k | pass@k |", table)
        self.assertIn("p = ", table)

    def test_broken_samples_are_left_out_and_counted(self):
        prog = self.write("v.py", "import json,sys\nfor l in sys.stdin:\n r=json.loads(l)\n bad=r['response']=='a0'\n"
                          " print(json.dumps({'id':r['id'],'verdict':'broken' if bad else 'correct',"
                          "'reward':None if bad else 1}),flush=True)\n")
        rows = [dict(r, text="a%d" % (r["sample"] % 2)) for r in pool(problems=2, n=4)]
        done = self.ok("eval", "--from", self.write("p.jsonl", rows), "--task", "external", "--cmd",
                       "python3 " + prog, "--json")
        got = done.json()
        self.assertEqual((got["verdicts"]["broken"], got["verdicts"]["correct"]), (4, 4))
        self.assertEqual((got["n_samples"], got["pass"]["1"]["value"]), (4, 1))
        self.assertIn("verifier failed on 4 of 8", done.err)

    def test_a_jump_of_verdicts_is_told(self):
        rows = [{"prompt_id": "q%d" % (i // 10), "text": "#### 4" if i < 400 else "nothing here",
                 "answer": "4", "sample": i % 10} for i in range(800)]
        done = self.ok("eval", "--from", self.write("p.jsonl", rows), "--task", "gsm8k", "--json")
        self.assertIn("went from", done.err)

    def test_model(self):
        gguf = need_data("models/stories260K/stories260K.gguf")
        run = self.path("run")
        args = ("eval", "--model", gguf, "--task", "arithmetic", "--turn", "plain", "--problems", 3, "-n", 4,
                "--max-tokens", 6, "--out", run, "--json")
        one = self.ok(*args)
        self.assertEqual(one.json()["n_samples"], 12)
        self.assertEqual(sorted(os.listdir(run)), ["eval.json", "pool.jsonl", "pool.jsonl.json", "prompts.jsonl", "run.json"])
        # a pool that was cut off goes on, and comes to the same
        path = os.path.join(run, "pool.jsonl")
        with open(path) as f:
            lines = f.readlines()
        with open(path, "w") as f:
            f.writelines(lines[:5])
            f.write(lines[5][:20])
        self.assertEqual(self.ok(*args, "--resume").out, one.out)

    def test_wrong_use(self):
        rows = pool()
        path = self.write("p.jsonl", rows)
        self.fails("eval", "--task", "exact", status=2, saying="either --model M or --from POOL")
        self.fails("eval", "--from", path, "--task", "exact", "--k", "0", status=2, saying="--k")
        self.fails("eval", "--from", path, "--task", "exact", "--k", "9", saying="above the 8 samples")
        self.fails("eval", "--from", self.write("q.jsonl", [{"prompt_id": "x", "text": "y"}]), "--task", "exact",
                   saying=("line 1", "no gold"))

    def test_out_of_memory(self):
        self.torture("eval", "--from", self.write("p.jsonl", pool(problems=2, n=3)), "--task", "exact",
                     "--draws", 100, "--threads", 1)


if __name__ == "__main__":
    main()
