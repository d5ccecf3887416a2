#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes tests/golden/quant.gguf: every quantised type with random blocks beside the f32 values
that the `gguf` package widens them to, a Q8_0 tensor packed by it, and metadata of every kind.
The test reads the file, widens and packs itself, and compares bits.

    python3 -m venv v && v/bin/pip install gguf && v/bin/python scripts/make_golden_gguf.py
"""
import sys

import numpy as np
from gguf import GGMLQuantizationType as T
from gguf import GGUFValueType, GGUFWriter, quants
from gguf.constants import GGML_QUANT_SIZES

TYPES = [T.F16, T.BF16, T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q8_0, T.Q4_K, T.Q5_K, T.Q6_K]
# where the f16 scales of a block lie; all other bytes may be anything
SCALES = {T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0],
          T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208]}


def scale(rng):
    """Finite halves: ordinary ones, subnormal ones, zeros, the largest."""
    pick = rng.integers(8)
    if pick == 0:
        return np.array(rng.integers(0, 1024), np.uint16)
    if pick == 1:
        return np.array([0x0000, 0x8000, 0x7BFF, 0xFBFF][rng.integers(4)], np.uint16)
    return np.float16(rng.normal() * 0.05).view(np.uint16)


def blocks(rng, kind, n):
    _, size = GGML_QUANT_SIZES[kind]
    raw = rng.integers(0, 256, (n, size), dtype=np.uint8)
    for at in SCALES.get(kind, []):
        for i in range(n):
            raw[i, at:at + 2] = np.frombuffer(scale(rng).tobytes(), np.uint8)
    return raw


def main(path):
    rng = np.random.default_rng(24)
    w = GGUFWriter(path, "golden")
    w.add_name("quant")
    for kind, value in [("u8", 200), ("i8", -100), ("u16", 60000), ("i16", -30000),
                        ("u32", 4000000000), ("i32", -2000000000), ("u64", 2 ** 63 + 5),
                        ("i64", -(2 ** 62)), ("f32", 0.1), ("f64", 0.1)]:
        name = {"u": "UINT", "i": "INT", "f": "FLOAT"}[kind[0]] + kind[1:]
        w.add_key_value("golden." + kind, value, getattr(GGUFValueType, name))
    w.add_bool("golden.yes", True)
    w.add_string("golden.text", "na\u00efve \u2603")
    w.add_array("golden.ints", [1, -2, 3])
    w.add_array("golden.floats", [0.5, -0.25])
    w.add_array("golden.words", ["", "a", "two words"])
    w.add_array("golden.nested", [[1, 2], [3]])
    for kind in TYPES:
        block, size = GGML_QUANT_SIZES[kind]
        per_row = 1 if block > 1 else 37
        rows = 4 if block == 256 else 6
        if block == 1:
            f = rng.normal(size=(rows, per_row)).astype(np.float32)
            raw = quants.quantize(f, kind)
            if kind == T.F16:
                raw = raw.view(np.uint8)
        else:
            raw = blocks(rng, kind, rows * per_row).reshape(rows, per_row * size)
        typed = raw.view(np.float16) if kind == T.F16 else raw
        wide = np.ascontiguousarray(quants.dequantize(typed, kind), dtype=np.float32)
        w.add_tensor(kind.name, np.ascontiguousarray(raw), raw_shape=raw.shape, raw_dtype=kind)
        w.add_tensor(kind.name + ".f32", wide)
    src = rng.normal(size=(6, 64)).astype(np.float32)
    src[1] = 0
    src[2, 3:] = 0
    src[3] *= np.float32(1e-7)
    src[4] = np.round(src[4] * 8) / 8
    src[4, 0], src[4, 32] = 15.875, -15.875  # 127 / 8: halves must round away from zero
    w.add_tensor("pack.f32", src)
    q = quants.quantize(src, T.Q8_0)
    w.add_tensor("pack.q8_0", q, raw_shape=q.shape, raw_dtype=T.Q8_0)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "tests/golden/quant.gguf")
