# SPDX-License-Identifier: MIT
"""`make bench-select`: greedy elliptical selection beside two NumPy programs, in turns in one run on one
core over the same rows; and the sparse projection beside scikit-learn's, where that is installed.

  (i)  what the paper prints: a rank-one update of the inverse, then the quadratic form of every row
  (ii) the score downdate that a careful reader would write in ten lines

NumPy runs on one thread with the BLAS it came with, in double (as the paper says) and, for (ii), in single
precision as well. Seconds are processor time, which a busy machine disturbs less than the clock on the wall
(everything runs on one thread, and waiting for memory counts). Rounds interleave the programs; medians with least and most are printed. (i) is timed over
fewer picks where it takes minutes and scaled: its picks all cost the same.

    python3 bench/select_numpy.py build/bench/bench_select [--quick]      (make bench-select PYTHON=...)
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
import numpy as np  # noqa: E402  (after the thread settings)

D, LAM = 512, 1.0
CASES = [(256, 64, 9, 3), (10_000, 256, 5, 1), (100_000, 64, 5, 1), (1_000_000, 64, 3, 0)]


def paper(x, k, picks):
    """(i), `picks` of the k - 1 choices; returns the order so far."""
    inv = np.eye(x.shape[1], dtype=x.dtype) / x.dtype.type(LAM)
    chosen = [0]
    for _ in range(picks):
        h = x[chosen[-1]]
        v = inv @ h
        inv -= np.outer(v, v) / (1 + h @ v)
        score = np.einsum("ij,ij->i", x @ inv, x)
        score[chosen] = -np.inf
        chosen.append(int(score.argmax()))
    return chosen


def downdate(x, k):
    """(ii)"""
    inv = np.eye(x.shape[1], dtype=x.dtype) / x.dtype.type(LAM)
    score = np.einsum("ij,ij->i", x, x) / x.dtype.type(LAM)
    chosen, p = [0], 0
    while len(chosen) < k:
        v = inv @ x[p]
        one = 1 + score[p]
        u = x @ v
        score -= u * u / one
        inv -= np.outer(v, v) / one
        score[chosen] = -np.inf
        p = int(score.argmax())
        chosen.append(p)
    return chosen


class Ours:
    def __init__(self, program, path, rows, cols):
        self.p = subprocess.Popen([program, "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.table = self("open %s %d %d" % (path, rows, cols))["ops"]

    def __call__(self, line):
        self.p.stdin.write(line + "\n")
        self.p.stdin.flush()
        return json.loads(self.p.stdout.readline())

    def close(self):
        self.p.stdin.close()
        self.p.wait()


def timed(f, *args):
    start = time.process_time()
    got = f(*args)
    return time.process_time() - start, got


def spread(v):
    v = sorted(v)
    return "%.4g (%.4g..%.4g)" % (statistics.median(v), v[0], v[-1])


def make(path, n, kind):
    """Rows of standard normal numbers; `decaying` has column j shrunk by 1/sqrt(1 + j/4)."""
    rng = np.random.default_rng(0)
    shrink = (1 / np.sqrt(1 + np.arange(D) / 4)).astype(np.float32) if kind == "decaying" else np.float32(1)
    with open(path, "wb") as f:
        for first in range(0, n, 100_000):
            (rng.standard_normal((min(100_000, n - first), D), dtype=np.float32) * shrink).tofile(f)


def agree(a, b):
    """How many of the first picks are the same."""
    same = 0
    while same < min(len(a), len(b)) and a[same] == b[same]:
        same += 1
    return "%d of %d" % (same, min(len(a), len(b)))


def select_case(program, folder, n, k, rounds, paper_rounds, kind):
    path = os.path.join(folder, "rows")
    make(path, n, kind)
    ours = Ours(program, path, n, D)
    rivals = n <= 100_000
    x32 = np.fromfile(path, dtype=np.float32).reshape(n, D) if rivals else None
    x64 = x32.astype(np.float64) if rivals else None
    t = {"ours": [], "(i)": [], "(ii)": [], "(ii) f32": [], "stream": [], "sweep": []}
    same = []
    few = k - 1 if n <= 1_000 else 16 if n <= 10_000 else 6
    for r in range(rounds):
        got = ours("select %d" % k)
        t["ours"].append(got["seconds"])
        t["stream"].append(ours("stream")["seconds"])
        t["sweep"].append(ours("sweep")["seconds"])
        if not rivals:
            continue
        for name, x in (("(ii)", x64), ("(ii) f32", x32)):
            s, order = timed(downdate, x, k)
            t[name].append(s)
            if r == 0:
                same.append("%s %s" % (name, agree(got["order"], order)))
        if r < paper_rounds:
            s, order = timed(paper, x64, k, few)
            t["(i)"].append(s * (k - 1) / few)
            if r == 0:
                same.append("(i) %s" % agree(got["order"], order))
    mine = statistics.median(t["ours"])
    print("\nN = %d, d = %d, k = %d, %s rows (%s)" % (n, D, k, kind, ours.table))
    for name, v in t.items():
        if not v or name in ("stream", "sweep"):
            continue
        ratio = "" if name == "ours" else "  %.4gx" % (statistics.median(v) / mine)
        print("  %-9s %s s%s" % (name, spread(v), ratio))
    passes = [b / a for a, b in zip(t["stream"], t["sweep"])]
    print("  streaming the rows %s s; one sweep over all %s s, ratio %s" % (
        spread(t["stream"]), spread(t["sweep"]), spread(passes)))
    print("  peak memory %.3f x the features; same picks: %s" % (
        got["peak_kib"] * 1024 / (n * D * 4), ", ".join(same) or "-"))
    sys.stdout.flush()
    ours.close()
    os.unlink(path)


def project_case(program, folder, n):
    path = os.path.join(folder, "wide")
    rng = np.random.default_rng(1)
    with open(path, "wb") as f:
        for first in range(0, n, 10_000):
            rng.standard_normal((min(10_000, n - first), 3584), dtype=np.float32).tofile(f)
    ours = Ours(program, path, n, 3584)
    mine = [ours("project 512")["seconds"] for _ in range(3)]
    print("\nprojection of %d x 3584 to 512: ours %s s" % (n, spread(mine)))
    try:
        from sklearn.random_projection import SparseRandomProjection
        x = np.fromfile(path, dtype=np.float32).reshape(n, 3584)
        p = SparseRandomProjection(512, random_state=0, dense_output=True).fit(x[:2])
        s, _ = timed(p.transform, x)
        mine.append(ours("project 512")["seconds"])
        print("  scikit-learn %.4g s, %.3gx" % (s, s / statistics.median(mine)))
    except ImportError:
        print("  scikit-learn is not installed: not compared")
    ours.close()
    os.unlink(path)


def main():
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    quick = "--quick" in sys.argv  # the two smaller pools and a tenth of the projection
    print("NumPy %s, one core, load %.1f" % (np.__version__, os.getloadavg()[0]))
    with tempfile.TemporaryDirectory(prefix="repexp-bench-") as folder:
        for n, k, rounds, paper_rounds in CASES[:2] if quick else CASES:
            for kind in ("isotropic", "decaying"):
                select_case(sys.argv[1], folder, n, k, rounds, paper_rounds, kind)
        project_case(sys.argv[1], folder, 10_000 if quick else 100_000)


if __name__ == "__main__":
    main()
