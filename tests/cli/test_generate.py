# SPDX-License-Identifier: MIT
"""generate, logprob and embed: records, resume, the two forms of a model, what is refused."""
import fcntl
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

    def test_another_writer(self):
        path = self.path("pool.jsonl")
        with open(path, "w", encoding="utf-8") as f:
            fcntl.flock(f, fcntl.LOCK_EX)
            self.fails("generate", "--model", GOLDEN + "qwen2", "--prompts", self.ids(), "-n", 1, "--out", path,
                       saying=["another program is writing this file"])

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
        os.remove(self.path("f.jsonl.json"))  # nothing but the lines tells what this pool is
        done = self.run_cmd("generate", "--model", GOLDEN + "qwen2", "--prompts", self.ids(), "-n", 3, "--resume",
                            "--out", self.path("f.jsonl"))
        self.assertEqual(done.status, 1)
        self.assertIn("line 4 is not sample 0 of prompt p1", done.err)
        self.assertIn("no %s" % self.path("f.jsonl.json"), done.err)

    def test_resume_other_settings(self):
        """A pool goes on only with the model, prompts and settings it was begun with; each is named."""
        pool, more = self.path("r.jsonl"), ("--features", self.path("r.npy"), "--top-p", 0.9)
        self.gen(*more, out="r.jsonl")
        whole, rows = self.read("r.jsonl"), self.read("r.npy")
        half = whole[:len(whole) // 2]
        with open(pool, "wb") as f:
            f.write(half)
        base = {"--model": GOLDEN + "qwen2", "--prompts": self.ids(), "-n": 4, "--max-tokens": 12, "--seed": 5,
                "--out": pool, "--features": self.path("r.npy"), "--top-p": 0.9}
        other = self.write("other.jsonl", [{"prompt_id": "p%d" % i, "prompt_ids": [4 + i, 40, 7]} for i in range(3)])
        for key, value, says in (
                ("--model", GOLDEN + "qwen3", "model was "), ("--prompts", other, "prompts was "),
                ("--seed", 6, "seed was 5, is 6"), ("-n", 5, "samples was 4, is 5"),
                ("--temperature", 0.5, "temperature was 1, is 0.5"), ("--top-p", 1, "top-p was 0.9, is 1"),
                ("--top-k", 3, "top-k was 0, is 3"), ("--min-p", 0.1, "min-p was 0, is 0.1"),
                ("--max-tokens", 11, "max-tokens was 12, is 11"), ("--stop-ids", "7", "stop-ids was "),
                ("--features", self.path("q.npy"), "features was "), ("--pool", "last", "pool was mean, is last"),
                ("--layer", 0, "layer was -1, is 0"), ("--kv", "bf16", "kv was f32, is bf16"),
                ("--compute", "bf16", "compute was f32, is bf16")):
            args = [x for k, v in dict(base, **{key: value}).items() for x in (k, v)]
            done = self.run_cmd("generate", *args, "--resume")
            self.assertEqual(done.status, 2, (key, done.err))
            self.assertIn(says, done.err)
            self.assertEqual(self.read("r.jsonl"), half, key)
        args = [x for k, v in dict(base, **{"--seed": 6, "--min-p": 0.1}).items() for x in (k, v)]
        self.assertIn("seed was 5, is 6; min-p was 0, is 0.1", self.run_cmd("generate", *args, "--resume").err)
        self.gen(*more, "--resume", "--threads", 1, "--batch", 2, "--chunk", 3, out="r.jsonl")
        self.assertEqual((self.read("r.jsonl"), self.read("r.npy")), (whole, rows))

    def test_interrupted(self):
        """SIGINT (exit 130) and SIGKILL: --resume gives the bytes of an unbroken run, features too."""
        prompts = self.write("many.jsonl", [{"prompt_ids": [5, 6 + i % 80]} for i in range(400)])
        feats = self.path("s.npy")
        whole = self.gen("--features", feats, out="whole.jsonl", prompts=prompts, n=8)
        self.assertEqual(len(whole), 3200)
        pool, rows = self.read("whole.jsonl"), self.read("s.npy")
        for sig, status in ((signal.SIGINT, 130), (signal.SIGKILL, -9)):
            os.remove(feats)
            part = self.path("part%d.jsonl" % sig)
            args = [repexp.PROGRAM, "generate", "--model", GOLDEN + "qwen2", "--prompts", prompts, "-n", "8",
                    "--max-tokens", "12", "--seed", "5", "--batch", "4", "--threads", "1", "--out", part,
                    "--features", feats]
            with subprocess.Popen(args, stderr=subprocess.PIPE) as p:
                while p.poll() is None and (not os.path.exists(part) or os.path.getsize(part) < 4000):
                    time.sleep(0.005)
                p.send_signal(sig)
                p.communicate()
            self.assertEqual(p.returncode, status)
            self.assertFalse(os.path.exists(feats))
            got = self.read(os.path.basename(part))
            self.assertLess(len(got), len(pool))
            if sig == signal.SIGINT:
                self.assertTrue(got.endswith(b"\n"))
            with open(part, "wb") as f:  # a line torn by the kill
                f.write(got + pool[len(got):len(got) + 40])
            self.gen("--resume", "--features", feats, out=os.path.basename(part), prompts=prompts, n=8)
            self.assertEqual(self.read(os.path.basename(part)), pool)
            self.assertEqual(self.read("s.npy"), rows)

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

    def test_bytes_that_are_no_utf8(self):
        """In a prompt they reach the tokenizer as they are; what is written is JSON."""
        gguf = repexp.need_data("models/stories260K/stories260K.gguf")
        plain = self.ok("tokenize", "--model", gguf, "--json", "--text", os.fsdecode(b"caf\xe9\xff!")).json()["ids"]
        record = b'{"prompt": "caf\xe9\xff!"}\n'
        r = self.gen(model=gguf, prompts=self.write("b.jsonl", record), n=1)[0]
        self.assertEqual(r["prompt_ids"], plain)
        self.assertEqual([3 + 0xe9, 3 + 0xff], plain[-3:-1])    # byte tokens
        pair = self.write("p.jsonl", b'{"prompt": "caf\xe9", "response": "\xff!"}\n')
        self.assertEqual(len(self.ok("logprob", "--model", gguf, "--pairs", pair, "--json").json()["logp"]), 3)
        bad = self.write("a.jsonl", b'{"prompt": "a", "answer": "\xe9"}\n')
        self.fails("generate", "--model", gguf, "--prompts", bad, saying="line 1: answer: byte 1: a string is not valid")

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
        cut = self.gen("--truncate", prompts=self.path("long.jsonl"))
        self.assertEqual(len(cut[0]["prompt_ids"]), 64 - 12)
        done = self.run_cmd("logprob", "--model", GOLDEN + "qwen2", "--pairs",
                            self.write("p.jsonl", [{"prompt_ids": [1], "ids": [200]}]))
        self.assertEqual(done.status, 1)
        self.assertIn("line 1", done.err)

    def test_disk_full(self):
        if not os.path.exists("/dev/full"):
            self.skipTest("no /dev/full")
        self.fails("generate", "--model", GOLDEN + "qwen2", "--prompts", self.ids(), "--out", "/dev/full",
                   saying="/dev/full: cannot write: No space left")
        self.fails("generate", "--model", GOLDEN + "qwen2", "--prompts", self.ids(), "--out", self.path("no/pool.jsonl"),
                   saying=self.path("no/pool.jsonl") + ": ")

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
