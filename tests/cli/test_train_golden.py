# SPDX-License-Identifier: MIT
"""`repexp sft` beside a recorded PyTorch run (tests/golden/train, made by scripts/make_golden_train.py): ten
steps with warm-up, schedule, clipping and decay end at the same losses, norms and weights."""
import json
import pathlib
import struct
import unittest

from repexp import Case, main

GOLDEN = pathlib.Path("tests/golden/train")
NEAR = 1e-4


def tensors(path):
    """Name -> list of floats of an f32 safetensors file."""
    raw = pathlib.Path(path).read_bytes()
    n = struct.unpack("<Q", raw[:8])[0]
    head = json.loads(raw[8:8 + n])
    out = {}
    for name, t in head.items():
        if name != "__metadata__":
            assert t["dtype"] == "F32"
            a, b = t["data_offsets"]
            out[name] = (t["shape"], struct.unpack("<%df" % ((b - a) // 4), raw[8 + n + a:8 + n + b]))
    return out


class Golden(Case):
    def follow(self, case, *more):
        want = json.loads((GOLDEN / (case + ".json")).read_text())
        out = pathlib.Path(self.dir) / "run"
        options = [x for k, v in want["options"].items() for x in ("--" + k.replace("_", "-"), str(v)) if v != ""]
        self.ok("sft", "--model", "tests/golden/models/" + case, "--data", GOLDEN / "data.jsonl", "--out", out, *options, *more)
        steps = [json.loads(x) for x in (out / "steps.jsonl").read_text().splitlines()]
        self.assertEqual(len(steps), len(want["loss"]))
        for key in ("loss", "grad_norm", "lr"):
            for t, s in enumerate(steps):
                w = want[key][t]
                self.assertLessEqual(abs(s[key] - w), NEAR * abs(w), "%s: %s of step %d" % (case, key, t + 1))
        got = tensors(out / "checkpoints" / ("step_%d" % len(steps)) / "model.safetensors")
        for name, w in want["weights"].items():
            self.assertEqual(got[name][0], w["shape"])
            off = max(abs(a - b) for a, b in zip(got[name][1], w["values"]))
            scale = (sum(x * x for x in w["values"]) / len(w["values"])) ** 0.5
            self.assertLessEqual(off, NEAR * scale, "%s: %s" % (case, name))

    def test_llama(self):
        self.follow("llama")

    def test_qwen2_small_batches(self):
        self.follow("qwen2", "--micro", "40", "--recompute", "1")

    def test_qwen3(self):
        self.follow("qwen3")


if __name__ == "__main__":
    main()
