# SPDX-License-Identifier: MIT
"""`mpirun -n R repexp sft`: the bytes of exact sums, ranks that die, hang or disagree, restarts on other numbers of ranks."""
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
PLUGIN = os.path.join(os.path.dirname(BIN), "librepexp-mpi.so")
MPIRUN = ["mpirun", "--oversubscribe", "--allow-run-as-root"]
STEPS = 90


def children(pid):
    """Processes of the program below mpirun, by rank."""
    found = {}
    for p in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            ppid = int((p / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if ppid == pid:
                env = dict(x.split("=", 1) for x in (p / "environ").read_text().split("\0") if "=" in x)
                found[int(env["OMPI_COMM_WORLD_RANK"])] = int(p.name)
        except (OSError, KeyError, ValueError, IndexError):
            pass
    return found


def runs(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


@unittest.skipUnless(shutil.which("mpirun"), "no mpirun")
@unittest.skipUnless(os.path.exists(PLUGIN), "built without MPI")
class Ranks(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = pathlib.Path(tempfile.mkdtemp())
        rng = random.Random(1)
        cls.data, cls.other = cls.dir / "data.jsonl", cls.dir / "other.jsonl"
        rows = []
        for i in range(120):
            a, b = rng.randrange(10, 99), rng.randrange(10, 99)
            rows.append(json.dumps({"prompt_id": str(i), "prompt": f"{a}+{b}=", "response": str(a + b)}) + "\n")
        cls.data.write_text("".join(rows))
        cls.other.write_text("".join(rows[1:] + rows[:1]))
        cls.recipe = cls.with_data(cls.data)
        cls.ref = cls.dir / "ref"
        r = subprocess.run([BIN, "sft", *cls.recipe, "--exact", "--out", str(cls.ref), "--threads", "2"],
                           capture_output=True, text=True)
        assert r.returncode == 0, r.stderr

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.dir)

    @staticmethod
    def with_data(data, lr="3e-3"):
        return ["--init", "tiny", "--build", "chars", "--layers", "2", "--width", "40", "--heads", "5", "--ffn", "72", "--tied",
                "--context", "32", "--data", str(data), "--steps", str(STEPS), "--seqs", "11", "--lr", lr, "--warmup", "4",
                "--save-every", "15", "--keep", "0"]

    def mpirun(self, n, *args, code=0):
        r = subprocess.run([*MPIRUN, "-n", str(n), BIN, "sft", *self.recipe, *args], capture_output=True, text=True, timeout=120)
        self.assertEqual(r.returncode, code, r.stderr)
        self.assertNotIn("bug at", r.stderr)
        return r.stderr

    def same(self, out, ref=None):
        ref = ref or self.ref
        names = ["steps.jsonl"] + [f"checkpoints/step_{STEPS}/{x}" for x in
                                   ("model.safetensors", "state.safetensors", "config.json", "tokenizer.json")]
        for name in names:
            self.assertTrue(filecmp.cmp(ref / name, out / name, shallow=False), name)

    def test_exact(self):
        for n in (2, 4):
            out = self.dir / f"exact{n}"
            self.mpirun(n, "--exact", "--out", str(out))
            self.same(out)

    def test_adapter(self):
        base = str(self.ref / f"checkpoints/step_{STEPS}")
        args = ["--model", base, "--lora", "3", "--context", "32", "--data", str(self.data), "--steps", "6", "--seqs", "11",
                "--lr", "1e-3", "--exact"]
        one = self.dir / "lora1"
        for n in (1, 2, 4):
            out = self.dir / f"lora{n}"
            r = subprocess.run([*MPIRUN, "-n", str(n), BIN, "sft", *args, "--out", str(out)], capture_output=True, text=True,
                               timeout=120)
            self.assertEqual(r.returncode, 0, r.stderr)
            for name in ("steps.jsonl", "checkpoints/step_6/adapter_model.safetensors", "checkpoints/step_6/state.safetensors"):
                self.assertTrue(filecmp.cmp(one / name, out / name, shallow=False), name)

    def test_fast(self):
        a, b, one = self.dir / "fast_a", self.dir / "fast_b", self.dir / "fast_1"
        more = ["--val", str(self.data), "--eval-every", str(STEPS), "--sample-every", str(STEPS)]
        self.mpirun(3, "--out", str(a), *more)
        self.mpirun(3, "--out", str(b), "--micro", "40", "--threads", "2")
        self.same(a, b)
        r = subprocess.run([BIN, "sft", *self.recipe, "--out", str(one), *more], capture_output=True, text=True)
        self.assertEqual(r.returncode, 0, r.stderr)
        x, y = ([json.loads(z) for z in (p / "steps.jsonl").read_text().splitlines()] for p in (a, one))
        for s, t in zip(x, y):
            self.assertEqual({k: s[k] for k in ("step", "lr", "tokens", "targets")},
                             {k: t[k] for k in ("step", "lr", "tokens", "targets")})
            self.assertAlmostEqual(s["loss"], t["loss"], delta=1e-4 * t["loss"])
        x, y = (json.loads((p / f"eval/step_{STEPS}.json").read_text()) for p in (a, one))
        self.assertEqual(x["targets"], y["targets"])
        self.assertAlmostEqual(x["loss"], y["loss"], delta=1e-4 * y["loss"])
        self.assertEqual(len((a / f"samples/step_{STEPS}.jsonl").read_text().splitlines()), 4)

    def test_rates_by_name(self):
        rates = ["--exact", "--lr-for", "*embed*=0.25,*norm*=0", "--decay-for", "*mlp*=3"]
        one, two = self.dir / "rates1", self.dir / "rates2"
        r = subprocess.run([BIN, "sft", *self.recipe, *rates, "--out", str(one)], capture_output=True, text=True)
        self.assertEqual(r.returncode, 0, r.stderr)
        self.mpirun(2, *rates, "--out", str(two))
        self.same(two, one)

    def test_dry_run(self):
        out = self.dir / "dry"
        def plan(n, *args, code=0):
            r = subprocess.run([*MPIRUN, "-n", str(n), BIN, "sft", *self.recipe, "--dry-run", "--json", "--out", str(out), *args],
                               capture_output=True, text=True, timeout=120)
            self.assertEqual(r.returncode, code, r.stderr)
            self.assertEqual(len(r.stdout.splitlines()), 1)
            return json.loads(r.stdout), r.stderr
        (one, _), (two, err) = plan(1), plan(2)
        self.assertEqual(err.count("everything is in order"), 1)
        self.assertLess(two["memory"]["optimiser"], 0.6 * one["memory"]["optimiser"])
        self.assertEqual(two["memory"]["gradients"], one["memory"]["gradients"])
        cost, err = plan(2, "--memory", "1MiB", code=1)
        self.assertFalse(cost["fits"])
        self.assertEqual(err.count("the run takes"), 1, err)
        self.assertFalse(out.exists())

    def begin(self, n, out, *args, until=30):
        """Starts a long run and returns when it has written the checkpoint of step `until`."""
        p = subprocess.Popen(([*MPIRUN, "-n", str(n)] if n else []) + [BIN, "sft", *self.recipe, "--out", str(out), *args],
                             stderr=subprocess.PIPE, text=True)
        while not (out / f"checkpoints/step_{until}").exists():
            self.assertIsNone(p.poll())
            time.sleep(0.005)
        return p

    def test_restart_on_other_numbers(self):
        """One of two ranks is killed; one process goes on and is stopped; four ranks bring it to the end."""
        out = self.dir / "elastic"
        p = self.begin(2, out, "--exact")
        rank = children(p.pid)
        os.kill(rank[1], signal.SIGKILL)
        err = p.communicate(timeout=60)[1]
        self.assertNotEqual(p.returncode, 0)
        self.assertRegex(err, rf"rank 1 \(.*process {rank[1]}\) has died, in step \d+; the newest checkpoint is that of step \d+")
        end = time.time() + 10
        while runs(rank[0]) and time.time() < end:
            time.sleep(0.05)
        self.assertFalse(runs(rank[0]), "rank 0 outlives its run")
        p = subprocess.Popen([BIN, "sft", *self.recipe, "--exact", "--resume", str(out)], stderr=subprocess.PIPE, text=True)
        while not (out / "checkpoints/step_60").exists():
            self.assertIsNone(p.poll())
            time.sleep(0.002)
        p.send_signal(signal.SIGINT)
        err = p.communicate(timeout=60)[1]
        self.assertIn(p.returncode, (0, 130), err)
        self.mpirun(4, "--exact", "--deadline", "30", "--resume", str(out))
        self.same(out)

    def test_hanging(self):
        out = self.dir / "hang"
        p = self.begin(2, out, "--steps", "100000", "--deadline", "2")
        rank = children(p.pid)
        os.kill(rank[1], signal.SIGSTOP)
        start = time.time()
        err = p.communicate(timeout=60)[1]
        self.assertLess(time.time() - start, 30)
        self.assertEqual(p.returncode, 1, err)
        self.assertRegex(err, rf"rank 1 \(.*process {rank[1]}\) has been silent for 2 s, in step \d+; the newest checkpoint")
        self.assertFalse(any(x.endswith(".part") for x in os.listdir(out / "checkpoints")))

    def test_one_never_comes(self):
        """Stopped before MPI has brought the ranks together: no beat has been heard yet."""
        out = self.dir / "never"
        start = time.time()
        r = subprocess.run([*MPIRUN, "-n", "2", "sh", "-c", '[ "$OMPI_COMM_WORLD_RANK" = 0 ] || kill -STOP $$; exec "$@"', "sh",
                            BIN, "sft", *self.recipe, "--deadline", "2", "--out", str(out)], capture_output=True, text=True,
                           timeout=60)
        self.assertEqual(r.returncode, 1, r.stderr)
        self.assertLess(time.time() - start, 40)
        self.assertIn("not all ranks have come together within 15 s, before the first step", r.stderr)

    def test_first_rank_dies(self):
        out = self.dir / "first"
        p = self.begin(2, out, "--steps", "100000")
        rank = children(p.pid)
        os.kill(rank[0], signal.SIGKILL)
        err = p.communicate(timeout=60)[1]
        self.assertNotEqual(p.returncode, 0)
        self.assertRegex(err, rf"rank 0 \(.*process {rank[0]}\) has died, in step \d+")

    def test_stop(self):
        """mpirun passes SIGUSR1 on without killing anybody."""
        out = self.dir / "stop"
        p = self.begin(2, out, "--exact")
        p.send_signal(signal.SIGUSR1)
        err = p.communicate(timeout=60)[1]
        self.assertEqual(p.returncode, 130, err)
        self.assertIn("go on with --resume", err)
        step = len((out / "steps.jsonl").read_text().splitlines())
        self.assertTrue((out / f"checkpoints/step_{step}/state.safetensors").exists())
        self.mpirun(2, "--exact", "--resume", str(out))
        self.same(out)

    def test_disagreement(self):
        def two(*args):
            r = subprocess.run([*MPIRUN, "-n", "1", BIN, "sft", *self.recipe, "--out", out, ":",
                                "-n", "1", BIN, "sft", *args, "--out", out], capture_output=True, text=True, timeout=60)
            self.assertNotEqual(r.returncode, 0)
            self.assertFalse(os.path.exists(out + "/checkpoints"))
            return r.stderr
        out = str(self.dir / "differ")
        self.assertIn("repexp: the training data of rank 1 are not those of rank 0\n", two(*self.with_data(self.other)))
        out = str(self.dir / "differ2")
        self.assertIn("the values of `lr` of rank 1 are not those of rank 0", two(*self.with_data(self.data, "2e-3")))
        out = str(self.dir / "differ3")
        self.assertRegex(two(*self.with_data(self.dir / "none.jsonl")), r"rank 1: .*none\.jsonl")
        out = str(self.dir / "differ4")
        self.assertIn("the values of `dry_run` of rank 1 are not those of rank 0", two(*self.recipe, "--dry-run"))
        out = str(self.dir / "differ5")
        self.assertRegex(two(*self.recipe, "--config", str(self.dir / "none.yaml")), r"repexp: rank 1: .*none\.yaml: cannot open")

    def test_disagreement_below_an_adapter(self):
        """Ranks that find other files under the name of the base."""
        for name, change, what in (("config", None, "model's config and sizes"), ("norm", "model.norm.weight", "model's weights"),
                                   ("embed", "model.embed_tokens.weight", "model's weights")):
            where = self.dir / f"hosts_{name}"
            for host in ("0", "1"):
                shutil.copytree(self.ref / f"checkpoints/step_{STEPS}", where / host / "base")
            path = where / "1/base" / ("model.safetensors" if change else "config.json")
            raw = bytearray(path.read_bytes())
            if not change:
                raw = raw.replace(b"10000", b"20000")
            else:
                n = 8 + int.from_bytes(raw[:8], "little")
                raw[n + json.loads(raw[8:n])[change]["data_offsets"][0]] ^= 1
            path.write_bytes(raw)
            out = self.dir / f"below_{name}"
            r = subprocess.run([*MPIRUN, "-n", "2", "sh", "-c", f'cd {where}/$OMPI_COMM_WORLD_RANK && exec "$@"', "sh", BIN, "sft",
                                "--model", "base", "--lora", "2", "--context", "32", "--data", str(self.data), "--steps", "4",
                                "--seqs", "8", "--out", str(out)], capture_output=True, text=True, timeout=60)
            self.assertEqual(r.returncode, 1, r.stderr)
            self.assertIn(f"the {what} of rank 1 are not those of rank 0", r.stderr)
            self.assertFalse((out / "checkpoints").exists())

    def test_refusals(self):
        def env(**kw):
            return {**os.environ, **{k: str(v) for k, v in kw.items()}}
        two = {"OMPI_COMM_WORLD_SIZE": 2, "OMPI_COMM_WORLD_RANK": 0}
        alone = self.dir / "alone"
        shutil.copy(BIN, alone)
        r = subprocess.run([alone, "sft", *self.recipe, "--out", str(self.dir / "x")], capture_output=True, text=True, env=env(**two))
        self.assertEqual(r.returncode, 1)
        self.assertIn("was built without MPI: librepexp-mpi.so is not beside it", r.stderr)
        r = subprocess.run([BIN, "sft", *self.recipe, "--out", str(self.dir / "x")], capture_output=True, text=True,
                           env=env(PMI_SIZE=2, PMI_RANK=0))
        self.assertEqual(r.returncode, 1)
        self.assertIn("not OpenMPI's", r.stderr)
        r = subprocess.run([*MPIRUN, "-n", "2", BIN, "passk", str(self.data)], capture_output=True, text=True)
        self.assertEqual(r.returncode, 2)
        self.assertEqual(r.stderr.count("passk runs in one process, and mpirun has started 2"), 1)
        self.assertFalse((self.dir / "x").exists())
        err = self.mpirun(3, "--exact", "--out", str(self.dir / "three"), code=2)
        self.assertIn("1, 2, 4, 8 ... ranks, not 3", err)


if __name__ == "__main__":
    main()
