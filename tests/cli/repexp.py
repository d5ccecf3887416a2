# SPDX-License-Identifier: MIT
"""What the contract tests of the command line share: running the program, reading its JSON,
temporary files, and a main that ends with the count line that scripts/test.sh reads.

The program is $REPEXP, build/repexp by default; tests run from the root of the project."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

PROGRAM = os.environ.get("REPEXP", "build/repexp")
DATA = os.environ.get("REPEXP_DATA", "../shared/data")


def need_data(sub):
    """A path below the shared data; skips the test, with the reason, where it is not there."""
    path = os.path.join(DATA, sub)
    if not os.path.exists(path):
        raise unittest.SkipTest("no %s: set REPEXP_DATA to the folder that has it" % sub)
    return path


class Done:
    """A finished run: status, out and err as text."""

    def __init__(self, p):
        self.status, self.out, self.err = p.returncode, p.stdout, p.stderr

    def json(self):
        return json.loads(self.out)

    def lines(self):
        return [json.loads(x) for x in self.out.splitlines()]


class Case(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="repexp-cli-")
        self.addCleanup(shutil.rmtree, self.dir, True)

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, data):
        """Text, bytes, or a list of records (one JSON object a line); returns the path."""
        if isinstance(data, list):
            data = "".join(json.dumps(x) + "\n" for x in data)
        if isinstance(data, str):
            data = data.encode()
        with open(self.path(name), "wb") as f:
            f.write(data)
        return self.path(name)

    def run_cmd(self, *args, stdin="", env=None, timeout=120):
        """Runs the program; whatever its status, stderr must hold no crash."""
        p = subprocess.run([PROGRAM, *map(str, args)], input=stdin, capture_output=True, text=True,
                           timeout=timeout, env=dict(os.environ, **(env or {})))
        self.assertGreaterEqual(p.returncode, 0, "killed by a signal: " + p.stderr)
        self.assertNotIn("bug at", p.stderr)
        self.assertNotIn("Sanitizer", p.stderr)
        return Done(p)

    def ok(self, *args, **kw):
        done = self.run_cmd(*args, **kw)
        self.assertEqual(done.status, 0, done.err)
        return done

    def fails(self, *args, status=1, saying=(), **kw):
        """The command must fail with the status and a single sentence that has all of `saying`;
        nothing may be left in the test's folder that was not there before."""
        before = sorted(os.listdir(self.dir))
        done = self.run_cmd(*args, **kw)
        self.assertEqual(done.status, status, done.out + done.err)
        for part in [saying] if isinstance(saying, str) else saying:
            self.assertIn(part, done.err)
        self.assertEqual(sorted(os.listdir(self.dir)), before, "a file was left behind")
        return done

    def torture(self, *args, most=20000, stdin="", files=()):
        """Every allocation of the command fails in turn: status 1, a sentence about memory, no
        file under its final name; until no allocation is left to fail. A long command is sampled
        with growing steps. Returns how many rounds failed."""
        n, rounds = 1, 0
        while n < most:
            for f in files:
                if os.path.exists(f):
                    os.remove(f)
            done = self.run_cmd(*args, stdin=stdin, env={"REPEXP_FAIL_ALLOC": str(n)})
            if done.status == 0:
                return rounds
            self.assertEqual(done.status, 1, "allocation %d: %s" % (n, done.err))
            self.assertIn("memory", done.err, "allocation %d" % n)
            for f in files:
                self.assertFalse(os.path.exists(f), "allocation %d left %s" % (n, f))
            rounds += 1
            n += 1 + n // 40
        self.fail("allocation %d still fails" % n)


def main():
    loader = unittest.TestLoader().loadTestsFromModule(sys.modules["__main__"])
    result = unittest.TextTestRunner(stream=sys.stderr, verbosity=0).run(loader)
    for _, reason in result.skipped:
        print("skipped: " + reason)
    bad = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    good = result.testsRun - bad - len(result.skipped)
    print("%d passed, %d failed, %d skipped" % (max(good, 0), bad, len(result.skipped)))
    sys.exit(bad > 0)
