# SPDX-License-Identifier: MIT
"""A run that is killed again and again ends with the bytes of one that was not: SHA-256 of weights, optimiser state
and steps.jsonl. REPEXP_KILLS instants (4), a quarter each inside a save (stopped while files lie under a name that ends
in .part) and inside an update (stopped while a thread's program counter is in AdamW, read from /proc), the others at
random. A process is stopped, looked at, and then killed or let go on, so the program needs no hook. Matrices have more
rows than checkpoints are written in at once (256): a part that went astray would show here."""
import glob
import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from repexp import PROGRAM, main

BIN = os.path.abspath(PROGRAM)
KILLS = int(os.environ.get("REPEXP_KILLS", "4"))
PER_RUN = 4
STEPS = 60


def adamw():
    """Address ranges of AdamW within the program, or None where its symbols cannot be read."""
    try:
        names = subprocess.run(["nm", "-S", BIN], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return [(int(a, 16), int(a, 16) + int(n, 16)) for a, n in re.findall(r"^(\w+) (\w+) [tT] rex_\w+_adamw$", names, re.M)] or None


def base_of(pid):
    with open("/proc/%d/maps" % pid) as f:
        for line in f:
            span, _, offset, *rest = line.split()
            if int(offset, 16) == 0 and rest[-1] == BIN:
                return int(span.split("-")[0], 16)
    return None


def counters(pid):
    """Where the threads of a stopped process stand."""
    for path in glob.glob("/proc/%d/task/*/syscall" % pid):
        with open(path) as f:
            words = f.read().split()
        if len(words) > 1:      # "running" has no more
            yield int(words[-1], 16)


class Kill(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = pathlib.Path(tempfile.mkdtemp())
        cls.rng = random.Random(int(os.environ.get("REPEXP_SEED", "6")))
        cls.data = cls.dir / "data.jsonl"
        with open(cls.data, "w") as f:
            for i in range(50):
                a, b = cls.rng.randrange(10, 99), cls.rng.randrange(10, 99)
                f.write(json.dumps({"prompt": f"{a}+{b}=", "response": str(a + b)}) + "\n")
        cls.recipe = ["--init", "tiny", "--build", "chars", "--layers", "2", "--width", "192", "--heads", "4", "--ffn", "512",
                      "--context", "32", "--data", str(cls.data), "--steps", str(STEPS), "--seqs", "4", "--lr", "3e-3",
                      "--warmup", "4", "--save-every", "4", "--keep", "2", "--quiet"]
        cls.ref = cls.dir / "ref"
        start = time.time()
        subprocess.run([BIN, "sft", *cls.recipe, "--out", str(cls.ref)], check=True)
        cls.took = time.time() - start
        cls.adamw = adamw()

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.dir)

    def digests(self, run):
        last = run / "checkpoints" / ("step_%d" % STEPS)
        return [hashlib.sha256(p.read_bytes()).hexdigest()
                for p in (last / "model.safetensors", last / "state.safetensors", run / "steps.jsonl")]

    def in_save(self, out, deep):
        """Bytes under a name that is not final; `deep`: of the named file."""
        for path in glob.glob(str(out / "checkpoints" / "*.part" / (deep + "*"))):
            try:
                if os.path.getsize(path) > 0:
                    return True
            except FileNotFoundError:
                pass            # it was renamed meanwhile
        return False

    def in_update(self, pid):
        base = base_of(pid)
        return base is not None and any(a <= c - base < b for c in counters(pid) for a, b in self.adamw)

    def kill(self, kind, out, args):
        """Runs until an instant of that kind and kills; False: the run came to its end before."""
        p = subprocess.Popen([BIN, "sft", *self.recipe, *args], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        deep = self.rng.choice(["", "model", "state"])
        until = time.time() + self.rng.uniform(0.02, 0.5) * self.took
        there = False
        while p.poll() is None and not there:
            if kind == "save":
                if not self.in_save(out, deep):
                    continue
            elif time.time() < until:
                time.sleep(0.0005)
                continue
            p.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, p.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
            if p.poll() is not None:
                break
            there = {"save": lambda: self.in_save(out, deep), "update": lambda: self.in_update(p.pid),
                     "any": lambda: True}[kind]()
            p.send_signal(signal.SIGKILL if there else signal.SIGCONT)
            if not there:
                time.sleep(0.0007)
        err = p.communicate()[1]
        self.assertEqual(p.returncode, -signal.SIGKILL if there else 0, err)
        return there

    def test_resumed_runs_end_with_the_same_bytes(self):
        want, count = self.digests(self.ref), {"save": 0, "update": 0, "any": 0}
        kinds = [("save", "update", "any", "any")[i % 4] for i in range(KILLS)]
        if not self.adamw:
            print("skipped: nm tells no address of AdamW: those kills come at random")
            kinds = ["any" if k == "update" else k for k in kinds]
        run = 0
        while kinds:
            out, args, kills = self.dir / ("run%d" % run), None, 0
            run += 1
            while kinds and kills < PER_RUN:
                args = ["--resume", str(out)] if (out / "steps.jsonl").exists() else ["--out", str(out)]
                if not self.kill(kinds[0], out, args):
                    break       # it ended: the next run takes the instant
                if kinds[0] == "save":
                    self.assertTrue(glob.glob(str(out / "checkpoints" / "*.part")))
                count[kinds.pop(0)] += 1
                kills += 1
            args = ["--resume", str(out)] if (out / "steps.jsonl").exists() else ["--out", str(out)]
            r = subprocess.run([BIN, "sft", *self.recipe, *args], capture_output=True, text=True)
            self.assertEqual(r.returncode, 0, r.stderr)
            self.assertEqual(self.digests(out), want, "run %d" % run)
            self.assertEqual(glob.glob(str(out / "checkpoints" / "*.part")), [])
            shutil.rmtree(out)
            self.assertLess(run, 10 * KILLS, "instants are never met: %s" % count)
        print("killed %d times inside a save, %d inside an update, %d at random; %d runs ended alike"
              % (count["save"], count["update"], count["any"], run))


if __name__ == "__main__":
    main()
