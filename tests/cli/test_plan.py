# SPDX-License-Identifier: MIT
"""`repexp plan`: its object, what it refuses and whether the values that it names would do, and, run by run, the
predicted peak of memory against that of the process (REPEXP_PLANS settings, 2; `make test-slow` takes all six)."""
import json
import os
import pathlib
import random

import subprocess
import unittest

from repexp import PROGRAM, Case, main

SETTINGS = int(os.environ.get("REPEXP_PLANS", "2"))
BASE = {"init": "tiny", "layers": 6, "width": 256, "heads": 8, "ffn": 768, "context": 128, "vocab": 400, "steps": 2,
        "lr": 1e-3, "seqs": 24, "micro": 4096, "save_every": 1, "keep": 1}
SMALL = dict(BASE, layers=2, width=64, heads=2, ffn=128)
CASES = [
    dict(BASE),
    dict(BASE, micro=512, compute="bf16", state="bf16", tied="true"),
    dict(BASE, recompute=5, seqs=48, layers=12),
    dict(BASE, memory="400MiB", seqs=48, layers=12, schedule="linear"),
    dict(BASE, layers=4, width=768, heads=12, kv_heads=4, ffn=2048, seqs=8, freeze="model.layers.0.*"),
    dict(BASE, layers=30, width=576, heads=9, kv_heads=3, ffn=1536, seqs=4, compute="bf16", eval_every=1),
]


class Plan(Case):
    def setUp(self):
        super().setUp()
        self.data = os.path.join(self.dir, "data.jsonl")
        rng = random.Random(3)
        with open(self.data, "w") as f:
            for _ in range(200):
                words = " ".join(str(rng.randrange(10 ** 6)) for _ in range(rng.randrange(10, 14)))
                f.write(json.dumps({"text": words}) + "\n")

    def recipe(self, **keys):
        path = os.path.join(self.dir, "recipe.yaml")
        with open(path, "w") as f:
            f.writelines("%s: %s\n" % kv for kv in dict({"data": self.data}, **keys).items())
        return path

    def plan(self, *args, **keys):
        return json.loads(self.ok("plan", "--config", self.recipe(**keys), "--json", "--quiet", *args).out)

    def test_object(self):
        got = self.plan(**SMALL)
        memory = got["memory"]
        parts = ("weights", "gradients", "optimiser", "activations", "backward", "data", "program")
        self.assertEqual(memory["total"], sum(memory[p] for p in parts))
        self.assertTrue(got["fits"])
        self.assertGreater(got["seconds_per_step"], 0)
        self.assertGreater(got["tokens_per_step"], 24 * 20)
        self.assertGreaterEqual(got["disk"], got["checkpoints"] * got["checkpoint"])
        self.assertEqual(got["checkpoints"], 2)     # the one kept and the one being written
        self.assertGreater(memory["gradients"], 4 * got["params"])
        self.assertEqual(sorted(os.listdir(self.dir)), ["data.jsonl", "recipe.yaml"])

    def test_parameters_and_checkpoint_are_those_of_the_run(self):
        got = self.plan(**dict(SMALL, freeze="model.layers.0.*"))
        self.ok("sft", "--config", self.recipe(**dict(SMALL, freeze="model.layers.0.*")), "--out", os.path.join(self.dir, "run"))
        run = pathlib.Path(self.dir) / "run"
        self.assertEqual(json.loads((run / "run.json").read_text())["params"], got["params"])
        self.assertLess(got["trained"], got["params"])
        size = sum(p.stat().st_size for p in (run / "checkpoints" / "step_2").iterdir())
        self.assertLess(abs(size - got["checkpoint"]), 0.02 * size + 70000)

    def test_dry_run_tells_the_same(self):
        path, out = self.recipe(**SMALL), os.path.join(self.dir, "run")
        a = self.ok("sft", "--config", path, "--dry-run", "--out", out, "--json").out
        self.assertFalse(os.path.exists(out))
        b = self.ok("sft", "--config", path, "--dry-run", "--json").out     # without --out, as plan
        self.assertEqual(json.loads(b)["disk"], json.loads(a)["disk"])
        self.assertEqual(json.loads(a)["params"], self.plan(**SMALL)["params"])
        self.assertIn("gradients", self.ok("plan", "--config", path).out)

    def refused(self, **keys):
        done = self.run_cmd("plan", "--config", self.recipe(**keys), "--json")
        self.assertEqual(done.status, 1, done.err)
        self.assertIs(json.loads(done.out)["fits"], False)
        return done.err

    def test_memory_that_does_not_suffice(self):
        keys = dict(BASE, layers=12, seqs=48, memory="90MiB")
        err = self.refused(**keys)
        for word in ("micro: ", "recompute: ", "state: bf16", "smaller model"):
            self.assertIn(word, err)
        # the machine's own memory, by a batch that no machine holds: each value named does it alone
        keys = dict(BASE, layers=400, width=1024, heads=16, ffn=4096, seqs=20000, micro=2000000)
        err = self.refused(**keys)
        self.assertIn("more than", err)
        keys = dict(BASE, layers=12, seqs=48)
        whole = self.plan(**keys)["memory"]
        limit = whole["total"] - whole["optimiser"] // 2 + (1 << 20)
        self.assertLessEqual(self.plan(**dict(keys, memory="%dMB" % (limit / 1e6)))["memory"]["total"], limit)

    def test_a_budget_changes_no_bit(self):
        steps = []
        for i, memory in enumerate(("4GiB", "120MiB")):
            out = os.path.join(self.dir, "run%d" % i)
            self.ok("sft", "--config", self.recipe(**dict(BASE, memory=memory)), "--out", out)
            with open(os.path.join(out, "steps.jsonl")) as f:
                steps.append(f.read())
        self.assertEqual(*steps)
        a, b = (self.plan(**dict(BASE, memory=m)) for m in ("4GiB", "120MiB"))
        self.assertLess(b["memory"]["total"], 120 << 20)
        self.assertTrue(b["micro"] < a["micro"] or b["recompute"] > 0)

    def test_refusals(self):
        self.fails("plan", "--config", self.recipe(**dict(SMALL, memory="lots")), status=2, saying="a size like 6GiB")
        self.fails("plan", "--config", self.recipe(**dict(SMALL, memry="1GiB")), status=2, saying="memory")
        self.fails("plan", "--init", "tiny", status=2, saying="plan needs --data")

    def test_predicted_peak(self):
        for i, case in enumerate(CASES[:SETTINGS]):
            more = {"val": self.data} if "eval_every" in case else {}
            got = self.plan(**case, **more)
            out = os.path.join(self.dir, "peak%d" % i)
            p = subprocess.Popen([PROGRAM, "sft", "--config", self.recipe(**case, **more), "--out", out, "--quiet"])
            _, status, used = os.wait4(p.pid, 0)
            p.returncode = status
            self.assertEqual(status, 0)
            peak, want = used.ru_maxrss * 1024, got["memory"]["total"]
            print("setting %d: predicted %.1f MiB, measured %.1f MiB, off by %+.1f %%"
                  % (i + 1, want / 2 ** 20, peak / 2 ** 20, 100 * (want / peak - 1)))
            self.assertLessEqual(abs(want / peak - 1), 0.05, case)


if __name__ == "__main__":
    main()
