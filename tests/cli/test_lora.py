# SPDX-License-Identifier: MIT
"""Adapters: `sft --lora`, its checkpoints and resume, `--adapter` where models run, `merge`; and `export`, models and
checkpoints as GGUF. The same in the hands of PEFT, transformers and gguf: scripts/check_adapter.py."""
import filecmp
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

import repexp
from repexp import PROGRAM, main

GOLDEN = "tests/golden/models/"
STEP = "checkpoints/step_12"


def lines(path):
    return [json.loads(x) for x in pathlib.Path(path).read_text().splitlines()]


class Lora(repexp.Case):
    """One base with a tokenizer, one adapter trained on it; tests look and compare."""

    @classmethod
    def setUpClass(cls):
        cls.home = pathlib.Path(tempfile.mkdtemp(prefix="repexp-lora-"))
        cls.data = str(cls.home / "data.jsonl")
        rng = random.Random(1)
        with open(cls.data, "w") as f:
            for i in range(90):
                a, b = rng.randrange(10, 99), rng.randrange(10, 99)
                f.write(json.dumps({"prompt_id": str(i), "prompt": f"{a}+{b}=", "response": str(a + b)}) + "\n")
        with open(cls.home / "prompts.jsonl", "w") as f:
            f.writelines(json.dumps({"prompt_id": str(i), "prompt": f"{17 + i}+{60 - i}="}) + "\n" for i in range(4))
        cls.prompts = str(cls.home / "prompts.jsonl")
        cls.call("sft", "--init", "tiny", "--build", "chars", "--layers", "2", "--width", "64", "--heads", "4",
                 "--kv-heads", "2", "--ffn", "96", "--context", "32", "--data", cls.data, "--steps", "40", "--seqs", "12",
                 "--lr", "3e-3", "--out", str(cls.home / "base"))
        cls.base = str(cls.home / "base/checkpoints/step_40")
        cls.recipe = ["--model", cls.base, "--lora", "4", "--data", cls.data, "--steps", "12", "--seqs", "10", "--lr",
                      "1e-2", "--save-every", "3", "--keep", "0"]
        cls.ref = cls.home / "ref"
        cls.call("sft", *cls.recipe, "--threads", "1", "--out", str(cls.ref))
        cls.adapter = str(cls.ref / STEP)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.home)

    @classmethod
    def call(cls, *args):
        p = subprocess.run([PROGRAM, *args], capture_output=True, text=True)
        assert p.returncode == 0, p.stderr
        return p.stdout

    def same(self, run):
        self.assertTrue(filecmp.cmp(self.ref / "steps.jsonl", pathlib.Path(run) / "steps.jsonl", shallow=False))
        for name in ("adapter_model.safetensors", "adapter_config.json", "state.safetensors"):
            self.assertTrue(filecmp.cmp(self.ref / STEP / name, pathlib.Path(run) / STEP / name, shallow=False), name)

    def pool(self, name, *more, model=None, adapter=None):
        out = self.path(name)
        self.ok("generate", "--model", model or self.base, *(("--adapter", adapter) if adapter else ()), "--prompts",
                self.prompts, "-n", 3, "--max-tokens", 8, "--out", out, *more)
        return lines(out)

    # ---- training ----

    def test_folder(self):
        steps = lines(self.ref / "steps.jsonl")
        self.assertEqual(len(steps), 12)
        self.assertLess(steps[-1]["loss"], steps[0]["loss"])
        self.assertEqual(sorted(os.listdir(self.adapter)), ["adapter_config.json", "adapter_model.safetensors",
                                                            "state.safetensors", "tokenizer.json", "tokenizer_config.json"])
        config = json.loads((self.ref / STEP / "adapter_config.json").read_text())
        self.assertEqual((config["peft_type"], config["r"], config["lora_alpha"], config["base_model_name_or_path"]),
                         ("LORA", 4, 8, self.base))
        self.assertEqual(len(config["target_modules"]), 7)
        d = self.ok("inspect", self.adapter, "--json").json()
        self.assertEqual((d["kind"], d["config"]["r"], d["tensors"]), ("adapter", 4, 28))
        self.assertIn({"name": "base_model.model.model.layers.1.self_attn.k_proj.lora_B.weight", "type": "F32",
                       "shape": [32, 4]}, [{k: t[k] for k in ("name", "type", "shape")} for t in d["list"]])
        fit = self.ok("inspect", self.base, "--adapter", self.adapter, "--json").json()
        self.assertEqual((fit["kind"], fit["adapter"]["rank"], fit["adapter"]["alpha"]), ("model", 4, 8))
        self.assertEqual(fit["adapter"]["params"], d["parameters"])
        self.fails("inspect", GOLDEN + "llama", "--adapter", self.adapter, saying="64, expected")

    def test_batches_threads_recomputation_tables(self):
        self.ok("sft", *self.recipe, "--threads", 2, "--micro", 40, "--recompute", 1, "--out", self.path("a"))
        self.same(self.path("a"))
        self.ok("sft", *self.recipe, "--out", self.path("b"), env={"REX_KERNEL": "ref"})
        self.same(self.path("b"))

    def test_kill_and_resume(self):
        out, args = self.path("killed"), ["--out", self.path("killed")]
        p = subprocess.Popen([PROGRAM, "sft", *self.recipe, *args], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        steps = pathlib.Path(out) / "steps.jsonl"
        while p.poll() is None and (not steps.exists() or steps.read_bytes().count(b"\n") < 5):
            time.sleep(0.002)
        p.send_signal(signal.SIGKILL)
        p.wait()
        self.ok("sft", *self.recipe, "--resume", out)
        self.same(out)
        self.fails("sft", *[x if x != "4" else "5" for x in self.recipe], "--resume", out, status=2,
                   saying="`lora` differs")
        weights = pathlib.Path(self.base) / "model.safetensors"
        kept = weights.read_bytes()
        try:
            weights.write_bytes(kept[:-4] + bytes(4))
            self.fails("sft", *self.recipe, "--resume", out, status=1, saying="are not those that the run began with")
        finally:
            weights.write_bytes(kept)

    def test_ranks(self):
        """With --exact an adapter trained on two ranks is that of one, byte for byte."""
        if not shutil.which("mpirun") or not os.path.exists(os.path.join(os.path.dirname(PROGRAM), "librepexp-mpi.so")):
            raise unittest.SkipTest("no mpirun, or no librepexp-mpi.so beside the program")
        run = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-n"]
        for n in (1, 2):
            p = subprocess.run([*run, str(n), PROGRAM, "sft", *self.recipe, "--exact", "--threads", "1", "--out",
                                self.path("r%d" % n)], capture_output=True, text=True, timeout=120)
            self.assertEqual(p.returncode, 0, p.stderr)
        for name in ("adapter_model.safetensors", "state.safetensors"):
            self.assertTrue(filecmp.cmp(*(self.path("r%d/%s/%s" % (n, STEP, name)) for n in (1, 2)), shallow=False))

    def test_go_on_with_an_adapter(self):
        out = self.path("more")
        self.ok("sft", "--model", self.base, "--adapter", self.adapter, "--data", self.data, "--steps", 6, "--seqs", 10,
                "--lr", "5e-3", "--out", out)
        self.assertLess(lines(out + "/steps.jsonl")[0]["loss"], lines(self.ref / "steps.jsonl")[0]["loss"])
        config = json.loads(pathlib.Path(out, "checkpoints/step_6/adapter_config.json").read_text())
        self.assertEqual((config["r"], config["lora_alpha"]), (4, 8))

    def test_bases_of_every_form(self):
        """f16, bf16 and quantised bases are trained as they are: what was sampled has the log-probabilities that the
        trainer sees, and the file is not touched."""
        for form in ("f16", "bf16", "q8_0"):
            base, run = self.path(form + ".gguf"), self.path(form)
            self.ok("export", "--model", self.base, "--type", form, "--out", base)
            before = pathlib.Path(base).read_bytes()
            done = self.ok("sft", "--model", base, *self.recipe[2:], "--out", run)
            self.assertNotIn("widened", done.err)
            self.assertEqual(pathlib.Path(base).read_bytes(), before)
            loss = [s["loss"] for s in lines(run + "/steps.jsonl")]
            self.assertLess(loss[-1], loss[0])
            self.assertLess(abs(loss[0] - lines(self.ref / "steps.jsonl")[0]["loss"]), 0.05)
            rows = self.pool(form + ".jsonl", model=base, adapter=run + "/" + STEP)
            again = self.ok("logprob", "--model", base, "--adapter", run + "/" + STEP, "--pairs",
                            self.path(form + ".jsonl"), "--threads", 1, "--batch", 1).lines()
            self.assertEqual([r["logp"] for r in rows], [r["logp"] for r in again])

    def test_sampled_is_trained(self):
        """A step with a learning rate of 0 tells the loss of a sampled text: what its record says, up to the record's
        rounding to f32. (By memcmp: test_adapter.c.)"""
        rows = self.pool("s.jsonl", adapter=self.adapter)
        data = self.write("s_data.jsonl", [{"prompt_ids": r["prompt_ids"], "ids": r["ids"]} for r in rows])
        for form in ("f32", "bf16"):
            if form == "bf16":
                rows = self.pool("b.jsonl", "--compute", "bf16", adapter=self.adapter)
                data = self.write("b_data.jsonl", [{"prompt_ids": r["prompt_ids"], "ids": r["ids"]} for r in rows])
            run = self.path("zero_" + form)
            self.ok("sft", "--model", self.base, "--adapter", self.adapter, "--data", data, "--steps", 1, "--seqs", 1,
                    "--lr", 0, "--seed", 3, "--compute", form, "--out", run)
            step = lines(run + "/steps.jsonl")[0]
            sums = [sum(r["logp"]) / len(r["logp"]) for r in rows if len(r["ids"]) == step["targets"]]
            self.assertLess(min(abs(step["loss"] + s) for s in sums), 1e-6)

    # ---- running ----

    def test_adapter_where_models_run(self):
        plain, rows = self.pool("plain.jsonl"), self.pool("pool.jsonl", adapter=self.adapter)
        self.assertNotEqual([r["logp"] for r in plain], [r["logp"] for r in rows])
        again = self.ok("logprob", "--model", self.base, "--adapter", self.adapter, "--pairs",
                        self.path("pool.jsonl")).lines()
        self.assertEqual([r["logp"] for r in rows], [r["logp"] for r in again])
        for more in (("--threads", 1, "--batch", 1, "--chunk", 1), ("--batch", 2, "--chunk", 300)):
            self.assertEqual(rows, self.pool("again.jsonl", *more, adapter=self.adapter))
        self.ok("embed", "--model", self.base, "--adapter", self.adapter, "--pairs", self.path("pool.jsonl"), "--out",
                self.path("f.npy"))
        self.assertEqual(json.loads(pathlib.Path(self.path("f.npy.json")).read_text())["adapter"], self.adapter)
        self.fails("generate", "--model", self.base, "--prompts", self.prompts, "-n", 3, "--max-tokens", 8, "--out",
                   self.path("pool.jsonl"), "--resume", status=2, saying="adapter was")
        for command in ("eval", "explore"):
            got = {}
            for adapter in ((), ("--adapter", self.adapter)):
                run = self.path(command + str(len(adapter)))
                self.ok(command, "--model", self.base, *adapter, "--task", "countdown", "--problems", 2, "-n", 2,
                        "--max-tokens", 4, "--out", run)
                got[len(adapter)] = lines(run + "/pool.jsonl")
            self.assertNotEqual([r["logp"] for r in got[0]], [r["logp"] for r in got[2]])
            self.assertEqual(json.loads(pathlib.Path(run, "run.json").read_text())["adapter"], self.adapter)

    def test_merge(self):
        out = self.path("merged")
        self.ok("merge", "--model", self.base, "--adapter", self.adapter, "--out", out)
        self.assertEqual(sorted(os.listdir(out)), ["config.json", "generation_config.json", "model.safetensors",
                                                   "tokenizer.json", "tokenizer_config.json"])
        rows = self.pool("pool.jsonl", adapter=self.adapter)
        merged = self.ok("logprob", "--model", out, "--pairs", self.path("pool.jsonl")).lines()
        self.assertLess(max(abs(x - y) for a, b in zip(rows, merged) for x, y in zip(a["logp"], b["logp"])), 1e-5)
        # without an adapter: the same weights
        self.ok("merge", "--model", self.base, "--out", self.path("copy") + "/")
        self.assertEqual(self.pool("x.jsonl"), self.pool("y.jsonl", model=self.path("copy")))
        half = self.path("half")
        self.ok("merge", "--model", self.base, "--adapter", self.adapter, "--out", half, "--type", "bf16")
        self.assertEqual(json.loads(pathlib.Path(half, "config.json").read_text())["dtype"], "bfloat16")
        self.pool("z.jsonl", model=half)
        self.fails("merge", "--model", self.base, "--out", out, status=2, saying="is there already")
        self.fails("merge", "--model", self.base, status=2, saying="--out DIR")
        self.fails("merge", "--model", self.base, "--out", self.path("q"), "--type", "q8_0", status=2, saying="q8_0")
        self.fails("merge", "--model", GOLDEN + "llama", "--adapter", self.adapter, "--out", self.path("q"),
                   saying="expected")

    # ---- GGUF ----

    def test_export(self):
        """A greedy continuation of the file is the folder's, token for token; so is every log-probability."""
        for adapter in ((), ("--adapter", self.adapter)):
            out, folder = self.path("model%d.gguf" % len(adapter)), self.base
            self.ok("export", "--model", self.base, *adapter, "--out", out)
            if adapter:
                folder = self.path("whole")
                self.ok("merge", "--model", self.base, *adapter, "--out", folder)
            for more in (("--temperature", 0), ("--seed", 4)):
                self.assertEqual(self.pool("a.jsonl", *more, model=folder), self.pool("b.jsonl", *more, model=out))
        twice = self.path("twice.gguf")     # the file made anew is the same file
        self.ok("export", "--model", out, "--out", twice)
        self.assertTrue(filecmp.cmp(out, twice, shallow=False))
        bare = self.path("bare.gguf")
        self.ok("export", "--model", self.base, "--no-tokenizer", "--out", bare)
        self.fails("generate", "--model", bare, "--prompts", self.prompts, saying="tokenizer")

    def test_export_tokenizers(self):
        """Byte-level tokenizers go along: texts have the same ids from the file as from the folder."""
        text = "12+34=46 isn't  \u00fcber \u4e2d\u6587\n\n\tx 1234567 <eos> \U0001f600"
        run = self.path("bytes")
        self.ok("sft", "--init", "tiny", "--build", "bytes", "--vocab", 300, "--layers", 1, "--width", 32, "--heads", 2,
                "--ffn", 32, "--context", 64, "--data", self.data, "--steps", 1, "--seqs", 2, "--out", run)
        models = [run + "/checkpoints/step_1"]
        for path in models:
            out = self.path("t.gguf")
            self.ok("export", "--model", path, "--out", out)
            back = self.path("back")        # and into the files of a folder again
            self.ok("merge", "--model", out, "--out", back)
            self.assertTrue(os.path.exists(os.path.join(back, "tokenizer_config.json")))
            for more in ((), ("--special",)):
                ids = {self.ok("tokenize", "--model", m, "--text", text, "--json", *more).out for m in (path, out, back)}
                self.assertEqual(len(ids), 1)
        bad = self.path("lstrip")
        shutil.copytree(models[0], bad)
        name = os.path.join(bad, "tokenizer.json")
        doc = json.loads(pathlib.Path(name).read_text())
        doc["added_tokens"][0]["lstrip"] = True
        pathlib.Path(name).write_text(json.dumps(doc))
        self.fails("export", "--model", bad, "--out", self.path("n.gguf"), saying=("white space", "--no-tokenizer"))
        doc["added_tokens"][0]["lstrip"] = False
        doc["pre_tokenizer"] = {"type": "Digits", "individual_digits": False}
        doc["decoder"] = {"type": "ByteLevel"}
        pathlib.Path(name).write_text(json.dumps(doc))
        self.fails("export", "--model", bad, "--out", self.path("n.gguf"), saying="no exact form")

    # ---- what is refused ----

    def test_refusals(self):
        def bad(*args, **kw):
            self.fails("sft", "--model", self.base, "--data", self.data, "--steps", 1, "--seqs", 2, "--out",
                       self.path("never"), *args, **kw)
        bad("--lora", 0, status=2, saying="lora")
        bad("--lora", 4, "--lora-targets", "q_proj,lm_head", status=2, saying=("`lm_head`", "q_proj,k_proj"))
        bad("--lora", 4, "--adapter", self.adapter, status=2, saying="--adapter goes on")
        bad("--lora-alpha", 4, status=2, saying="--lora RANK")
        bad("--adapter", self.base, saying="adapter_config.json")
        bad("--adapter", self.path("none"), saying="adapter_config.json")
        self.fails("sft", "--init", "tiny", "--lora", 4, "--data", self.data, "--out", self.path("never"), status=2,
                   saying="an adapter needs a base")
        self.fails("generate", "--model", GOLDEN + "llama", "--adapter", self.adapter, "--prompts", self.prompts,
                   saying=("lora_A.weight is 4 x 64, expected 4 x 32", "rank 4"))
        broken = self.path("broken")
        shutil.copytree(self.adapter, broken)
        config = json.loads(pathlib.Path(broken, "adapter_config.json").read_text())
        for key, value in (("use_dora", True), ("bias", "lora_only"), ("modules_to_save", ["embed_tokens"])):
            pathlib.Path(broken, "adapter_config.json").write_text(json.dumps({**config, key: value}))
            self.fails("generate", "--model", self.base, "--adapter", broken, "--prompts", self.prompts,
                       saying="`%s` is not implemented" % key)
        for key, said in (("r", "r: expected a whole number"), ("lora_alpha", "lora_alpha: expected a number")):
            pathlib.Path(broken, "adapter_config.json").write_text(json.dumps({**config, key: "4"}))
            bad("--adapter", broken, saying="adapter_config.json: " + said)
        # a base that is neither trainable nor given an adapter
        gemma = self.path("gemma3")
        shutil.copytree(GOLDEN + "gemma3", gemma)
        doc = json.loads(pathlib.Path(gemma, "config.json").read_text())
        doc["query_pre_attn_scalar"] = doc["head_dim"]
        pathlib.Path(gemma, "config.json").write_text(json.dumps(doc))
        file = self.path("gemma3.gguf")
        self.ok("export", "--model", gemma, "--out", file)
        ids = self.write("ids.jsonl", [{"ids": [5, 6, 7, 8]}] * 4)
        args = ["sft", "--model", file, "--data", ids, "--steps", 2, "--seqs", 2, "--loss-on-all", "--out",
                self.path("g")]
        self.fails(*args, saying="--lora RANK")
        self.ok(*args, "--lora", 2)

    def test_torture(self):
        self.assertGreater(self.torture("merge", "--model", GOLDEN + "phi3", "--out", self.path("m"), "--quiet",
                                        files=()), 20)

    def test_in_the_hands_of_others(self):
        python = os.path.join(os.environ.get("REPEXP_VENV", ".venv"), "bin/python")
        if not os.path.exists(python):
            raise unittest.SkipTest("no %s with peft, transformers and gguf: scripts/venv.sh makes it" % python)
        work = self.path("others")
        os.mkdir(work)
        p = subprocess.run([python, "scripts/check_adapter.py", PROGRAM, work], capture_output=True, text=True,
                           timeout=600, env={**os.environ, "PYTHONWARNINGS": "ignore", "TQDM_DISABLE": "1"})
        self.assertEqual(p.returncode, 0, p.stdout + p.stderr[-2000:])
        self.assertEqual(p.stdout.count("ok   "), 28, p.stdout)


if __name__ == "__main__":
    main()
