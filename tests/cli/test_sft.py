# SPDX-License-Identifier: MIT
"""`repexp sft`: a small run from scratch, its folder, its determinism, kills, resume and refusals."""
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

from repexp import PROGRAM, main

BIN = os.path.abspath(PROGRAM)
KILLS = int(os.environ.get("REPEXP_KILLS", "3"))


class Sft(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = pathlib.Path(tempfile.mkdtemp())
        cls.data = cls.dir / "data.jsonl"
        rng = random.Random(1)
        with open(cls.data, "w") as f:
            for i in range(120):
                a, b = rng.randrange(10, 99), rng.randrange(10, 99)
                f.write(json.dumps({"prompt_id": str(i), "prompt": f"{a}+{b}=", "response": str(a + b)}) + "\n")
        cls.recipe = ["--init", "tiny", "--build", "chars", "--layers", "2", "--width", "32", "--heads", "2", "--ffn", "48",
                      "--context", "32", "--data", str(cls.data), "--steps", "24", "--seqs", "10", "--lr", "3e-3",
                      "--warmup", "4", "--save-every", "5", "--keep", "0"]
        cls.ref = cls.dir / "ref"
        r = cls.repexp("sft", *cls.recipe, "--out", str(cls.ref), "--threads", "1", "--val", str(cls.data),
                       "--eval-every", "12", "--sample-every", "12")
        assert r.returncode == 0, r.stderr

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.dir)

    @staticmethod
    def repexp(*args, **kw):
        return subprocess.run([BIN, *args], capture_output=True, text=True, **kw)

    def same(self, a, b):
        self.assertTrue(filecmp.cmp(a / "steps.jsonl", b / "steps.jsonl", shallow=False))
        for name in ("model.safetensors", "state.safetensors", "config.json", "tokenizer.json"):
            self.assertTrue(filecmp.cmp(a / "checkpoints/step_24" / name, b / "checkpoints/step_24" / name, shallow=False), name)

    def test_folder(self):
        steps = [json.loads(x) for x in (self.ref / "steps.jsonl").read_text().splitlines()]
        self.assertEqual([s["step"] for s in steps], list(range(1, 25)))
        self.assertLess(steps[-1]["loss"], steps[0]["loss"])
        self.assertEqual(sorted(steps[0]), ["grad_norm", "loss", "lr", "step", "targets", "tokens"])
        self.assertAlmostEqual(steps[3]["lr"], 3e-3)
        self.assertEqual(sorted(os.listdir(self.ref / "checkpoints")), [f"step_{n}" for n in (10, 15, 20, 24, 5)])
        run = json.loads((self.ref / "run.json").read_text())
        self.assertEqual((run["command"], run["options"]["width"], run["options"]["beta2"]), ("sft", 32, 0.95))
        val = [json.loads((self.ref / f"eval/step_{n}.json").read_text())["loss"] for n in (12, 24)]
        self.assertLess(val[1], val[0])
        shown = [json.loads(x) for x in (self.ref / "samples/step_24.jsonl").read_text().splitlines()]
        self.assertEqual(len(shown), 4)

    def test_batches_threads_recomputation(self):
        out = self.dir / "other"
        r = self.repexp("sft", *self.recipe, "--out", str(out), "--threads", "2", "--micro", "40", "--recompute", "1")
        self.assertEqual(r.returncode, 0, r.stderr)
        self.same(self.ref, out)

    def test_batches_in_bf16(self):
        a, b = self.dir / "bf16", self.dir / "bf16_other"
        r = self.repexp("sft", *self.recipe, "--compute", "bf16", "--out", str(a), "--threads", "1")
        self.assertEqual(r.returncode, 0, r.stderr)
        r = self.repexp("sft", *self.recipe, "--compute", "bf16", "--out", str(b), "--threads", "2", "--micro", "31",
                        "--recompute", "1")
        self.assertEqual(r.returncode, 0, r.stderr)
        self.same(a, b)
        self.assertFalse(filecmp.cmp(self.ref / "steps.jsonl", a / "steps.jsonl", shallow=False))

    def test_kernel_tables(self):
        out = self.dir / "tables"
        r = self.repexp("sft", *self.recipe, "--out", str(out), env={**os.environ, "REX_KERNEL": "ref"})
        self.assertEqual(r.returncode, 0, r.stderr)
        self.same(self.ref, out)

    def test_kill_and_resume(self):
        rng = random.Random(int(os.environ.get("REPEXP_SEED", "5")))
        start = time.time()
        out = self.dir / "time"
        self.repexp("sft", *self.recipe, "--out", str(out))
        took = time.time() - start
        for k in range(KILLS):
            out = self.dir / f"kill{k}"
            args, kills = ["--out", str(out)], 0
            while True:
                p = subprocess.Popen([BIN, "sft", *self.recipe, *args], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
                try:
                    err = p.communicate(timeout=rng.uniform(0.1, 0.9) * took if kills < 2 else 120)[1]
                    self.assertEqual(p.returncode, 0, err)
                    break
                except subprocess.TimeoutExpired:
                    p.send_signal(signal.SIGKILL)
                    p.communicate()
                    kills += 1
                    if (out / "steps.jsonl").exists():
                        args = ["--resume", str(out)]
            self.same(self.ref, out)
            self.assertFalse(any(x.endswith(".part") for x in os.listdir(out / "checkpoints")))

    def test_no_checkpoint_is_whole(self):
        """A run is not begun anew over the lines of the old one."""
        out = self.dir / "none_whole"
        shutil.copytree(self.ref, out)
        for n in (5, 10, 15, 20, 24):
            (out / f"checkpoints/step_{n}/config.json").unlink()
        r = self.repexp("sft", *self.recipe, "--resume", str(out))
        self.assertEqual(r.returncode, 1, r.stderr)
        self.assertIn("none of the checkpoints is whole", r.stderr)
        self.assertTrue(filecmp.cmp(self.ref / "steps.jsonl", out / "steps.jsonl", shallow=False))

    def test_checkpoint_of_another_shape(self):
        """A folder in place of a file and a name that is not ours; what was passed over stays beside what replaces it."""
        out = self.dir / "shape"
        shutil.copytree(self.ref, out)
        last = out / "checkpoints/step_24"
        (last / "model.safetensors").unlink()
        (last / "model.safetensors").mkdir()
        (out / "checkpoints/step_0099").mkdir()
        r = self.repexp("sft", *self.recipe, "--resume", str(out))
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertIn("goes on behind step 20\n", r.stderr)
        self.same(self.ref, out)
        self.assertTrue((out / "checkpoints/step_24.torn/model.safetensors").is_dir())

    def test_times_may_be_lost(self):
        out = self.dir / "times"
        shutil.copytree(self.ref, out)
        shutil.rmtree(out / "checkpoints/step_24")
        (out / "timing.jsonl").unlink()
        r = self.repexp("sft", *self.recipe, "--resume", str(out))
        self.assertEqual(r.returncode, 0, r.stderr)
        self.same(self.ref, out)
        self.assertEqual(json.loads((out / "timing.jsonl").read_text().splitlines()[0])["step"], 21)

    def test_interrupt(self):
        out = self.dir / "int"
        p = subprocess.Popen([BIN, "sft", *self.recipe[:-4], "--steps", "100000", "--out", str(out)], stderr=subprocess.PIPE)
        while not (out / "steps.jsonl").exists() or (out / "steps.jsonl").stat().st_size == 0:
            time.sleep(0.01)
        p.send_signal(signal.SIGINT)
        err = p.communicate(timeout=60)[1].decode()
        self.assertEqual(p.returncode, 130, err)
        self.assertIn("--resume", err)
        step = len((out / "steps.jsonl").read_text().splitlines())
        self.assertTrue((out / f"checkpoints/step_{step}/state.safetensors").exists())

    def test_damaged_checkpoints(self):
        def change(path, how):
            raw = bytearray(path.read_bytes())
            if how == "flip":
                raw[len(raw) // 2] ^= 1
            path.write_bytes(raw[:-1] if how == "cut" else raw)

        out = self.dir / "damaged"
        for name in ("model.safetensors", "state.safetensors", "config.json", "tokenizer.json"):
            for how in ("cut", "flip", "lost"):
                with self.subTest(name=name, how=how):
                    shutil.rmtree(out, ignore_errors=True)
                    shutil.copytree(self.ref, out)
                    last = out / "checkpoints/step_24" / name
                    last.unlink() if how == "lost" else change(last, how)
                    change(out / "checkpoints/step_20/model.safetensors", "flip")
                    r = self.repexp("sft", *self.recipe, "--resume", str(out), "--threads", "1")
                    self.assertEqual(r.returncode, 0, r.stderr)
                    self.assertRegex(r.stderr, f"step 24 is passed over.*{name}")
                    self.assertIn("step_20/model.safetensors is not as it was written", r.stderr)
                    self.assertIn("goes on behind step 15", r.stderr)
                    self.same(self.ref, out)

    def refused(self, what, data=None, code=1, extra=()):
        args = list(self.recipe)
        if data is not None:
            bad = self.dir / "bad.jsonl"
            bad.write_text(data)
            args[args.index("--data") + 1] = str(bad)
        out = self.dir / "refused"
        r = self.repexp("sft", *args, *extra, *(() if "--resume" in extra else ("--out", str(out))))
        self.assertEqual(r.returncode, code, r.stderr)
        self.assertIn(what, r.stderr)
        self.assertFalse(out.exists())

    def test_told_of_data(self):
        """Documents beyond the context and characters that nobody can say are counted, of --val, too."""
        data, val = self.dir / "long.jsonl", self.dir / "foreign.jsonl"
        data.write_text("".join(json.dumps({"prompt": "1" * n, "response": "22"}) + "\n" for n in (2, 6, 7, 30)))
        val.write_text('{"prompt": "1Z", "response": "2\\u00e9"}\n')
        for cut, tail in (((), "3 documents are longer than the context of 8: 3 left out, 0 cut"),
                          (("--truncate",), "3 documents are longer than the context of 8: 1 left out, 2 cut")):
            r = self.repexp("sft", "--init", "tiny", "--build", "chars", "--layers", "1", "--width", "32", "--heads", "2",
                            "--ffn", "48", "--context", "8", "--data", str(data), "--val", str(val), "--dry-run", *cut)
            self.assertEqual(r.returncode, 0, r.stderr)
            self.assertIn(tail + "\n", r.stderr)
            self.assertIn("foreign.jsonl: 3 bytes were dropped: the vocabulary has no token for them\n", r.stderr)

    def test_disk(self):
        """On a disk with room for one checkpoint the run ends behind it; with room for none it does not begin."""
        def on_disk(size, end):
            script = f'mount -t tmpfs -o size={size}k tmpfs "$1" && cd "$1" && shift && "$@"; rc=$?; {end}; exit $rc'
            (self.dir / "disk").mkdir(exist_ok=True)
            return subprocess.run(["unshare", "-rm", "sh", "-c", script, "sh", str(self.dir / "disk"), BIN, "sft", *self.recipe,
                                   "--out", "run"], capture_output=True, text=True)

        if shutil.which("unshare") is None or subprocess.run(
                ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", str(self.dir)], capture_output=True).returncode != 0:
            self.skipTest("no file system can be mounted here")
        r = on_disk(200, "ls")
        self.assertEqual((r.returncode, r.stdout), (1, ""), r.stderr)
        self.assertIn("a checkpoint needs 0.3 MiB, the disk has 0.2 MiB left", r.stderr)
        r = on_disk(480, "ls run/checkpoints; wc -l < run/steps.jsonl")
        self.assertEqual((r.returncode, r.stdout), (1, "step_5\n5\n"), r.stderr)
        self.assertIn("step 5 is saved, the next checkpoint would not be; go on with --resume run", r.stderr)

    def test_refusals(self):
        good = '{"prompt": "1+1=", "response": "2"}\n'
        self.refused("line 2", good + "{\n")
        self.refused("line 2: an empty response", good + '{"prompt": "x", "response": ""}\n')
        self.refused("line 2: `prompt` without `response`", good + '{"prompt": "x"}\n')
        self.refused("line 1: a message has no role", '{"messages": [{"content": "x"}]}\n' + good)
        self.refused("no chat layout", good + '{"messages": [{"role": "user", "content": "1"}]}\n')
        self.refused("line 1: ids[1] is 999", '{"ids": [1, 999]}\n' + good)
        self.refused("without a token to learn", '{"ids": [1]}\n' + good)
        self.refused("steps", code=2, extra=("--stepz", "4"))
        self.refused("--init", code=2, extra=("--model", "x"))
        for more in ((), ("--dry-run",)):
            self.refused("`lr` differs", code=2, extra=("--lr", "1e-3", "--resume", str(self.ref), *more))
        self.refused("beta1: 1 is not below 1", code=2, extra=("--beta1", "1"))
        self.refused("beta2: 0.999999999 is not below 1", code=2, extra=("--beta2", "0.999999999"))
        self.refused("eps: 0 is not above 0", code=2, extra=("--eps", "0"))     # 0 / 0 where no gradient ever was
        self.refused("2 heads do not share 3 key/value heads", code=2, extra=("--kv-heads", "3"))
        self.refused("eval_every needs", code=2, extra=("--eval-every", "4"))
        self.refused("vocab is about a tokenizer of bytes", code=2, extra=("--vocab", "300"))
        self.refused("build is about a tokenizer that is built", code=2, extra=("--tokenizer", str(self.ref / "init")))
        self.refused("build is about a model from scratch", code=2, extra=("--init", "none", "--model", str(self.ref)))
        self.refused("no record to learn from", "")
        self.refused("no field of a document is called 'respnse'; did you mean response", code=2, extra=("--map", "respnse=a"))
        self.refused("expected field=their.field, found 'prompt='", code=2, extra=("--map", "text=a.b,prompt="))
        recipe = self.dir / "nested.yaml"
        recipe.write_text("config: other.yaml\n")
        self.refused("nested.yaml: a recipe can hold neither config nor set", code=2, extra=("--config", str(recipe)))
        r = self.repexp("sft", *self.recipe, "--resume", str(self.dir / "nowhere"))
        self.assertEqual(r.returncode, 2)
        self.assertIn("holds no run", r.stderr)
        self.assertFalse((self.dir / "nowhere").exists())
        r = self.repexp("sft", *self.recipe, "--out", str(self.ref))
        self.assertEqual(r.returncode, 2)
        self.assertIn("holds a run already", r.stderr)
        other = self.dir / "resume_data"
        shutil.copytree(self.ref, other)
        moved = self.dir / "data2.jsonl"
        moved.write_text(good * 120)
        args = list(self.recipe)
        args[args.index("--data") + 1] = str(moved)
        for killed_early in (False, True):
            if killed_early:
                shutil.rmtree(other / "checkpoints")
            r = self.repexp("sft", *args, "--resume", str(other))
            self.assertEqual(r.returncode, 1)
            self.assertIn("data are not those of the run", r.stderr)

    @staticmethod
    def tensors(path):
        """Name to bytes, of a safetensors file."""
        raw = path.read_bytes()
        n = 8 + int.from_bytes(raw[:8], "little")
        head = json.loads(raw[8:n])
        return {k: raw[n + v["data_offsets"][0]:n + v["data_offsets"][1]] for k, v in head.items() if k != "__metadata__"}

    def test_rates_by_name(self):
        half, a, b = self.dir / "half", self.dir / "rates_a", self.dir / "rates_b"
        r = self.repexp("sft", *self.recipe, "--lr", "6e-3", "--lr-for", "*=0.5", "--out", str(half))
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertEqual(self.tensors(half / "checkpoints/step_24/model.safetensors"),
                         self.tensors(self.ref / "checkpoints/step_24/model.safetensors"))
        rates = ["--lr-for", "*embed*=0", "--lr-for", "*norm*=2,*.0.self_attn.q_proj*=0", "--decay-for", "*norm*=0"]
        r = self.repexp("sft", *self.recipe, *rates, "--out", str(a), "--threads", "1")
        self.assertEqual(r.returncode, 0, r.stderr)
        r = self.repexp("sft", *self.recipe, *rates, "--out", str(b), "--threads", "2", "--micro", "40")
        self.assertEqual(r.returncode, 0, r.stderr)
        self.same(a, b)
        five, last = (self.tensors(a / f"checkpoints/step_{n}/model.safetensors") for n in (5, 24))
        still = {"model.embed_tokens.weight", "model.layers.0.self_attn.q_proj.weight"}
        self.assertEqual({k for k in five if five[k] == last[k]}, still)
        self.refused('lr_for: no parameter that is trained is named like "*quaxle*"', code=2, extra=("--lr-for", "*quaxle*=2"))
        self.refused('named like "*embed*"', code=2, extra=("--lr-for", "*embed*=2", "--freeze", "*embed*"))
        self.refused("PATTERN=FACTOR", code=2, extra=("--decay-for", "*norm*"))
        self.refused("`lr_for` differs", code=2, extra=("--lr-for", "*=2", "--resume", str(self.ref)))

    def test_not_finite(self):
        """Names the tensor, keeps the batch."""
        model, out = self.dir / "nan_model", self.dir / "nan"
        shutil.copytree(self.ref / "checkpoints/step_24", model)
        path = model / "model.safetensors"
        raw = bytearray(path.read_bytes())
        n = 8 + int.from_bytes(raw[:8], "little")
        name = "model.layers.1.mlp.down_proj.weight"
        at = n + json.loads(raw[8:n])[name]["data_offsets"][0]
        raw[at:at + 4] = b"\xff\xff\xff\x7f"
        path.write_bytes(raw)
        args = ["--data", str(self.data), "--steps", "4", "--seqs", "3", "--lr", "1e-3"]
        r = self.repexp("sft", "--model", str(model), *args, "--out", str(out))
        self.assertEqual(r.returncode, 1)
        self.assertIn(f"step 1: the weights of {name} are not finite", r.stderr)
        self.assertEqual(len((out / "failed_step_1.jsonl").read_text().splitlines()), 3)
        r = self.repexp("sft", "--init", "tiny", *args, "--lr", "10", "--lr-for", "*=1e6", "--clip", "0", "--steps", "9", "--out",
                        str(self.dir / "blown"))
        self.assertEqual(r.returncode, 1)
        self.assertRegex(r.stderr, r"step [2-9]: the (gradient|weights) of \S+ (is|are) not finite")

    def test_foreign_tokenizer(self):
        """Of fewer ids than the weights and with another end: refused; with the same end: a model with padding."""
        args = ["--data", str(self.data), "--steps", "2", "--seqs", "3", "--lr", "1e-3", "--tokenizer", str(self.ref / "init")]
        for end in (1, 2):
            model, out = self.dir / f"padded_{end}", self.dir / f"padded_run_{end}"
            shutil.copytree(self.ref / "checkpoints/step_24", model)
            config = json.loads((model / "config.json").read_text())
            config.update(vocab_size=config["vocab_size"] + 8, eos_token_id=end)
            (model / "config.json").write_text(json.dumps(config))
            (model / "generation_config.json").unlink()
            path = model / "model.safetensors"
            raw = path.read_bytes()
            n = 8 + int.from_bytes(raw[:8], "little")
            head, data, at = json.loads(raw[8:n]), b"", 0
            for name, t in sorted(((k, v) for k, v in head.items() if k != "__metadata__"), key=lambda x: x[1]["data_offsets"]):
                piece = raw[n + t["data_offsets"][0]:n + t["data_offsets"][1]]
                if name in ("model.embed_tokens.weight", "lm_head.weight"):
                    t["shape"][0] += 8
                    piece += bytes(4 * 8 * t["shape"][1])
                t["data_offsets"] = [at, at + len(piece)]
                data, at = data + piece, at + len(piece)
            text = json.dumps(head).encode()
            path.write_bytes(len(text).to_bytes(8, "little") + text + data)
            r = self.repexp("sft", "--model", str(model), *args, "--out", str(out))
            self.assertEqual(r.returncode, 0 if end == 1 else 1, r.stderr)
            self.assertEqual("do not belong together" in r.stderr, end == 2)
            self.assertEqual(out.exists(), end == 1)

    def test_dry_run(self):
        out = self.dir / "dry"
        r = self.repexp("sft", *self.recipe, "--dry-run", "--out", str(out))
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertFalse((out / "steps.jsonl").exists())

    def test_recipe(self):
        recipe, out = self.dir / "r.yaml", self.dir / "yaml"
        pairs = self.recipe
        recipe.write_text("".join(f"{pairs[i][2:].replace('-', '_')}: {pairs[i + 1]}\n" for i in range(0, len(pairs), 2)))
        r = self.repexp("sft", "--config", str(recipe), "--set", "steps=24,lr=0.003", "--out", str(out))
        self.assertEqual(r.returncode, 0, r.stderr)
        self.same(self.ref, out)


if __name__ == "__main__":
    main()
