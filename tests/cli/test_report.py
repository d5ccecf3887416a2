# SPDX-License-Identifier: MIT
"""`repexp report`: a run folder to a page that a browser can draw without any network."""
import json
import math
import os
import pathlib
import re
import shutil
import struct
import subprocess
import tempfile
import unittest

from repexp import PROGRAM, main

BIN = os.path.abspath(PROGRAM)
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def make_run(folder, problems=3, n=8):
    """A small explore run written by hand."""
    with open(os.path.join(folder, "pool.jsonl"), "w") as f:
        for p in range(problems):
            for s in range(n):
                f.write(json.dumps({"prompt_id": f"t/{p}", "sample": s, "text": f"try {s} <of> {p}", "n_tok": 3,
                                    "logprob": -1.5 - s, "reward": int(s % 4 == p), "extracted": str(s)}) + "\n")
    head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({problems * n}, 4), }}"
    head += " " * (117 - len(head)) + "\n"
    with open(os.path.join(folder, "features.npy"), "wb") as f:
        f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode())
        for i in range(problems * n):
            f.write(struct.pack("<4f", *(math.sin(1 + i * (k + 1)) for k in range(4))))
    iv = {"value": 3.0, "low": 2.0, "high": 4.5}
    rule = {"settings": {"lambda": 1}, "s2c": {"solvable": iv, "all": iv, "hard": None}, "calls": {"solvable": iv, "all": iv, "hard": None},
            "pass": {"1": iv | {"value": 0.25}, "2": iv | {"value": 0.5}}, "vs_random": {"value": .8, "low": .7, "high": .9}, "bins": [iv, None]}
    curve = {str(k): {"value": k / 10, "low": k / 20, "high": k / 8} for k in (8, 1, 2, 4)}
    with open(os.path.join(folder, "explore.json"), "w") as f:
        json.dump({"n_problems": problems, "n_solvable": problems, "pool": {"pass": curve}, "bins": ["hard", "easy"],
                   "rules": {"random": rule, "quality/alpha=1": rule}}, f)
    with open(os.path.join(folder, "orders.jsonl"), "w") as f:
        f.write(json.dumps({"prompt_id": "t/0", "rule": "random", "order": [3, 1, 2]}) + "\n")
    with open(os.path.join(folder, "run.json"), "w") as f:
        json.dump({"v": 1, "command": "explore", "options": {"task": "exact", "n": n}, "seed": 0}, f)
    with open(os.path.join(folder, "steps.jsonl"), "w") as f:
        for i in range(1000):
            f.write(json.dumps({"step": i, "loss": 1 / (i + 1), "note": "x"}) + "\n")


def data_of(path):
    with open(path, encoding="utf-8") as f:
        page = f.read()
    return page, json.loads(re.search(r'id="data">(.*?)</script>', page, re.S).group(1))


class Report(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp()
        self.run_dir = os.path.join(self.dir, "run")
        os.mkdir(self.run_dir)
        make_run(self.run_dir)

    def tearDown(self):
        shutil.rmtree(self.dir)

    def repexp(self, *args):
        return subprocess.run([BIN, *args], capture_output=True, text=True)

    def test_page(self):
        out = os.path.join(self.dir, "p.html")
        r = self.repexp("report", self.run_dir, "--out", out, "--title", "A <title>", "--no-stamp")
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertEqual(r.stdout.strip(), out)
        page, data = data_of(out)
        self.assertIsNone(re.search(r'(src|href)\s*=\s*["\']?(https?:)?//', page))
        run = data["runs"][0]
        self.assertEqual(data["title"], "A <title>")
        self.assertEqual(run["passk"]["k"], [1, 2, 4, 8])
        self.assertEqual(run["passk"]["value"], [.1, .2, .4, .8])
        self.assertEqual([x["name"] for x in run["rules"]], ["random", "quality/alpha=1"])
        self.assertEqual(run["bins"], ["hard", "easy"])
        self.assertEqual(len(run["samples"]), 24)
        self.assertEqual(run["omitted"], 0)
        self.assertEqual(run["samples"][0]["t"], "try 0 <of> 0")
        self.assertEqual(run["scenes"][0]["orders"], {"random": [3, 1, 2]})
        self.assertEqual(len(run["scenes"]), 3)
        self.assertLessEqual(len(run["steps"]["loss"]), 400)
        self.assertNotIn("note", run["steps"])
        first = pathlib.Path(out).read_bytes()
        self.repexp("report", self.run_dir, "--out", out, "--title", "A <title>", "--no-stamp")
        self.assertEqual(pathlib.Path(out).read_bytes(), first)

    def test_samples_bounded(self):
        out = os.path.join(self.dir, "p.html")
        self.repexp("report", self.run_dir, "--out", out, "--samples", "6")
        _, data = data_of(out)
        run = data["runs"][0]
        self.assertEqual((len(run["samples"]), run["omitted"]), (6, 18))
        self.assertEqual(sum(x["w"] for x in run["samples"]), 3)  # each problem's first correct one is there

    def test_a_pool_file_stands_for_a_folder(self):
        pool = os.path.join(self.dir, "mine.jsonl")
        shutil.copy(os.path.join(self.run_dir, "pool.jsonl"), pool)
        self.repexp("report", pool)
        _, data = data_of(pool + ".html")
        self.assertEqual(data["runs"][0]["passk"]["k"], [1, 2, 4, 8])

    def test_refusals(self):
        self.assertEqual(self.repexp("report").returncode, 2)
        r = self.repexp("report", self.dir)
        self.assertEqual(r.returncode, 1)
        self.assertIn("no run folder", r.stderr)
        os.truncate(os.path.join(self.run_dir, "features.npy"), 128 + 16 * 23)
        r = self.repexp("report", self.run_dir)
        self.assertEqual(r.returncode, 1)
        self.assertFalse(os.path.exists(os.path.join(self.run_dir, "report.html")))

    @unittest.skipUnless(shutil.which("gnuplot"), "no gnuplot")
    def test_figures(self):
        fig, path = os.path.join(self.dir, "fig"), os.path.join(self.run_dir, "explore.json")
        with open(path) as f:
            doc = json.load(f)
        # a name that once left no room for the plot
        long = "quality/no-center/no-unit/outcome=none/likelihood=sum/sharpness=1/alpha=0.5"
        doc["rules"][long] = doc["rules"]["random"]
        with open(path, "w") as f:
            json.dump(doc, f)
        r = self.repexp("report", self.run_dir, "--figures", fig)
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertNotIn("warning", r.stderr)
        for name in ("passk", "samples_to_correct", "solved_by_budget"):
            for end, magic in (("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF"), ("dat", b""), ("gp", b"")):
                with open(os.path.join(fig, f"{name}.{end}"), "rb") as f:
                    self.assertTrue(f.read().startswith(magic), name + "." + end)

    def test_figures_without_gnuplot(self):
        r = subprocess.run([BIN, "report", self.run_dir, "--figures", os.path.join(self.dir, "f")], capture_output=True,
                           text=True, env={"PATH": "/nowhere"})
        self.assertEqual(r.returncode, 1)
        self.assertIn("gnuplot", r.stderr)

    @unittest.skipUnless(BROWSER, "no chromium")
    def test_browser_draws_it(self):
        out = os.path.join(self.dir, "p.html")
        self.repexp("report", self.run_dir, "--out", out)
        for size in ("1280,900", "400,900"):
            r = subprocess.run([BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={self.dir}/profile",
                                "--virtual-time-budget=4000", f"--window-size={size}", "--dump-dom", "file://" + out],
                               capture_output=True, text=True, timeout=120)
            dom = r.stdout
            self.assertIn('data-ready="yes"', dom)
            self.assertGreaterEqual(dom.count("<svg"), 6, size)
            self.assertIn("try 0 &lt;of&gt; 0", dom)
            self.assertNotIn("NaN", re.sub(r"<script.*?</script>", "", dom, flags=re.S))


if __name__ == "__main__":
    main()
