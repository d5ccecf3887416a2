# SPDX-License-Identifier: MIT
"""generate, logprob and embed: records, resume, the two forms of a model, what is refused."""
import json
import os
import shutil
import signal
import subprocess
import time

import repexp

GOLDEN = "tests/golden/models/"


class Generate(repexp.Case):
    def ids(self, n=3):
        return self.write("ids.jsonl", [{"prompt_id": "p%d" % i, "prompt_ids": [3 + i, 40, 7, 9 * i + 1],
                                         "answer": i} for i in range(n)])

    def gen(self, *more, out="pool.jsonl", model=GOLDEN + "qwen2", n=4, prompts=None):
        path = self.path(out)
        self.ok("generate", "--model", model, "--prompts", prompts or self.ids(), "-n", n, "--max-tokens", 12,
                "--seed", 5, "--out", path, *more)
        with open(path, encoding="utf-8") as f:
            return [json.loads(x) for x in f]

    def read(self, name):
        with open(self.path(name), "rb") as f:
            return f.read()

    def test_records(self):
        rows = self.gen()
        self.assertEqual([(r["prompt_id"], r["sample"]) for r in rows],
                         [("p%d" % p, s) for p in range(3) for s in range(4)])
        for r in rows:
            self.assertEqual(r["v"], 1)
            self.assertEqual(r["n_tok"], len(r["ids"]))
            self.assertEqual(len(r["logp"]), len(r["ids"]))
            self.assertEqual(len(r["ent"]), len(r["ids"]))
            self.assertNotIn("logq", r)
            self.assertNotIn("text", r)      # a model without a tokenizer runs on ids
            self.assertAlmostEqual(r["logprob"], sum(r["logp"]), 4)
            self.assertEqual(r["answer"], int(r["prompt_id"][1:]))
            self.assertEqual(r["finish"] == "stop", r["ids"][-1] == 2)
            self.assertTrue(all(x <= 0 for x in r["logp"]))

    def test_nothing_shared_matters(self):
        self.gen("--features", self.path("a.npy"), out="a.jsonl")
        for i, more in enumerate((("--threads", 1, "--batch", 1), ("--threads", 2, "--batch", 5, "--chunk", 1),
                                  ("--batch", 64, "--chunk", 512))):
            self.gen("--features", self.path("b.npy"), *more, out="b%d.jsonl" % i)
            self.assertEqual(self.read("b%d.jsonl" % i), self.read("a.jsonl").replace(b"a.npy", b"b.npy"))
            self.assertEqual(self.read("b.npy"), self.read("a.npy"))

    def test_resume(self):
        self.gen("--features", self.path("f.npy"), out="f.jsonl")
        whole, rows = self.read("f.jsonl"), self.read("f.npy")
        for cut in (0, 1, len(whole) // 3, len(whole) // 2, len(whole) - 1, len(whole)):
            with open(self.path("f.jsonl"), "wb") as f:
                f.write(whole[:cut])
            self.gen("--features", self.path("f.npy"), "--resume", out="f.jsonl")
            self.assertEqual(self.read("f.jsonl"), whole, cut)
            self.assertEqual(self.read("f.npy"), rows, cut)
        done = self.run_cmd("generate", "--model", GOLDEN + "qwen2", "--prompts", self.ids(), "-n", 3, "--resume",
                            "--out", self.path("f.jsonl"))
        self.assertEqual(done.status, 1)
        self.assertIn("line 4 is not sample 0 of prompt p1", done.err)

    def test_interrupted(self):
        """SIGINT: exit 130, what is there is whole lines, and --resume gives the bytes of one run."""
        prompts = self.write("many.jsonl", [{"prompt_ids": [5, 6 + i % 80]} for i in range(400)])
        whole = self.gen(out="whole.jsonl", prompts=prompts, n=8)
        part = self.path("part.jsonl")
        args = [repexp.PROGRAM, "generate", "--model", GOLDEN + "qwen2", "--prompts", prompts, "-n", "8",
                "--max-tokens", "12", "--seed", "5", "--batch", "4", "--threads", "1", "--out", part]
        with subprocess.Popen(args, stderr=subprocess.PIPE) as p:
            while p.poll() is None and (not os.path.exists(part) or os.path.getsize(part) < 4000):
                time.sleep(0.005)
            p.send_signal(signal.SIGINT)
            p.communicate()
        self.assertEqual(p.returncode, 130)
        got = self.read("part.jsonl")
        self.assertTrue(got.endswith(b"\n"))
        self.assertLess(len(got), len(self.read("whole.jsonl")))
        self.gen("--resume", out="part.jsonl", prompts=prompts, n=8)
        self.assertEqual(self.read("part.jsonl"), self.read("whole.jsonl"))
        self.assertEqual(len(whole), 3200)

    def test_scored_again(self):
        rows = self.gen("--features", self.path("g.npy"), "--temperature", 0.8, "--top-p", 0.9, out="g.jsonl")
        self.assertIn("logq", rows[0])
        again = self.ok("logprob", "--model", GOLDEN + "qwen2", "--pairs", self.path("g.jsonl"), "--json").lines()
        self.assertEqual([r["logp"] for r in again], [r["logp"] for r in rows])
        self.assertEqual([(r["prompt_id"], r["sample"]) for r in again],
                         [(r["prompt_id"], r["sample"]) for r in rows])
        self.ok("embed", "--model", GOLDEN + "qwen2", "--pairs", self.path("g.jsonl"), "--out", self.path("e.npy"))
        self.assertEqual(self.read("e.npy"), self.read("g.npy"))
        said = json.loads(self.read("e.npy.json"))
        self.assertEqual((said["pool"], said["layer"], said["dim"]), ("mean", -1, 32))
        self.ok("embed", "--model", GOLDEN + "qwen2", "--pairs", self.path("g.jsonl"), "--out",
                self.path("l.npy"), "--pool", "last", "--layer", 0)
        self.assertNotEqual(self.read("l.npy"), self.read("g.npy"))

    def test_two_forms(self):
        hf, gguf = repexp.need_data("models/stories260K/hf"), repexp.need_data("models/stories260K/stories260K.gguf")
        prompts = self.write("t.jsonl", [{"prompt": "Once upon a time"}])
        a = self.gen("--temperature", 0, "--tokenizer", gguf, out="a.jsonl", model=hf, prompts=prompts, n=1)
        b = self.gen("--temperature", 0, out="b.jsonl", model=gguf, prompts=prompts, n=1)
        self.assertEqual(a, b)
        self.assertEqual(a[0]["prompt_ids"], [1, 403, 407, 261, 378])
        self.assertEqual(a[0]["text"][:26], ", there was a little girl ")
        done = self.run_cmd("generate", "--model", hf, "--prompts", prompts)
        self.assertEqual(done.status, 2)
        self.assertIn("--tokenizer", done.err)

    def test_stop_text(self):
        gguf = repexp.need_data("models/stories260K/stories260K.gguf")
        prompts = self.write("t.jsonl", [{"prompt": "Once upon a time"}])
        more = ("--temperature", 0, "--stop", '["little g", "zebra"]')
        r = self.gen(*more, out="s.jsonl", model=gguf, prompts=prompts, n=1)[0]
        self.assertEqual(r["text"], ", there was a ")
        self.assertEqual(r["finish"], "stop")

    def test_refused(self):
        for args, status, says in (
                (["--prompts", self.write("long.jsonl", [{"prompt_id": "big", "prompt_ids": [5] * 70}])], 1, "big"),
                (["--prompts", self.write("bad.jsonl", [{"prompt_ids": [5, 96]}])], 1, "96"),
                (["--prompts", self.write("none.jsonl", [{"prompt_ids": []}])], 1, "no tokens"),
                (["--prompts", self.write("text.jsonl", [{"prompt": "hello"}])], 2, "tokenizer"),
                (["--prompts", self.ids(), "-n", "0"], 2, "samples"),
                (["--prompts", self.ids(), "--top-p", "0"], 2, "top-p"),
                (["--prompts", self.ids(), "--layer", "7", "--features", self.path("x.npy")], 2, "layer 7"),
                (["--prompts", self.ids(), "--chat", "nonsense"], 2, "chatml"),
                (["--prompts", self.ids(), "--resume"], 2, "--out"),
                ([], 2, "--prompts")):
            done = self.run_cmd("generate", "--model", GOLDEN + "qwen2", *args)
            self.assertEqual(done.status, status, (args, done.err))
            self.assertIn(says, done.err)
        self.gen("--truncate", prompts=self.path("long.jsonl"))
        done = self.run_cmd("logprob", "--model", GOLDEN + "qwen2", "--pairs",
                            self.write("p.jsonl", [{"prompt_ids": [1], "ids": [200]}]))
        self.assertEqual(done.status, 1)
        self.assertIn("line 1", done.err)

    def test_disk_full(self):
        if not os.path.exists("/dev/full"):
            self.skipTest("no /dev/full")
        done = self.run_cmd("generate", "--model", GOLDEN + "qwen2", "--prompts", self.ids(), "--out", "/dev/full")
        self.assertEqual(done.status, 1)

    def test_real_model(self):
        """A real model answers a question in its chat layout."""
        path = "models/SmolLM2-135M-Instruct.Q4_1.gguf"
        if not os.path.exists(path):
            self.skipTest("no %s: scripts/get-smollm2.sh fetches it" % path)
        prompts = self.write("q.jsonl", [{"prompt": [{"role": "user", "content": "What is the capital of France?"}]}])
        done = self.ok("generate", "--model", path, "--prompts", prompts, "--temperature", 0, "--max-tokens", 20,
                       "--show-prompt")
        row = done.lines()[0]
        self.assertEqual(row["text"], "The capital of France is Paris.")
        self.assertEqual(row["finish"], "stop")
        self.assertIn("<|im_start|>assistant", done.err)


if __name__ == "__main__":
    repexp.main()
