# SPDX-License-Identifier: MIT
"""The contract of `repexp inspect`: what it says of each kind of file, and its refusals."""
import json
import os
import struct

import repexp


def npy(shape=(2, 3), descr="<f4"):
    head = ("{'descr': '%s', 'fortran_order': False, 'shape': %r, }" % (descr, shape)).encode()
    n = 4
    for d in shape:
        n *= d
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + bytes(n)


def safetensors(head, n):
    text = json.dumps(head).encode()
    return struct.pack("<Q", len(text)) + text + bytes(n)


TENSORS = {"__metadata__": {"format": "pt"}, "a": {"dtype": "F32", "shape": [2, 3],
                                                   "data_offsets": [0, 24]},
           "b": {"dtype": "BF16", "shape": [4], "data_offsets": [24, 32]}}


class Inspect(repexp.Case):
    def look(self, path):
        return self.ok("inspect", "--json", path).json()

    def test_program(self):
        got = self.ok("inspect", "--json").json()
        self.assertIn("ref", got["kernels"])
        self.assertRegex(got["version"], r"^\d+\.\d+\.\d+$")
        self.assertIn("version: ", self.ok("inspect").out)

    def test_npy(self):
        path = self.write("f.npy", npy())
        self.write("f.npy.json", '{"pool": "mean", "layer": -1}\n')
        self.assertEqual(self.look(path), {"kind": "npy", "path": path, "type": "F32",
                                           "shape": [2, 3], "bytes": 24,
                                           "about": {"pool": "mean", "layer": -1}})
        self.assertIn("shape: 2, 3", self.ok("inspect", path).out)

    def test_safetensors(self):
        got = self.look(self.write("m.safetensors", safetensors(TENSORS, 32)))
        self.assertEqual((got["kind"], got["tensors"], got["parameters"], got["bytes"]),
                         ("safetensors", 2, 10, 32))
        self.assertEqual(got["types"], {"F32": 1, "BF16": 1})
        self.assertEqual(got["metadata"], {"format": "pt"})
        self.assertEqual(got["list"][0], {"name": "a", "type": "F32", "shape": [2, 3]})

    def test_gguf(self):
        got = self.look("tests/golden/quant.gguf")
        self.assertEqual((got["kind"], got["version"]), ("gguf", 3))
        self.assertEqual(got["metadata"]["golden.i64"], -2 ** 62)
        self.assertEqual(got["metadata"]["golden.words"],
                         {"of": "STR", "n": 3, "first": ["", "a", "two words"]})
        self.assertEqual(got["types"]["Q4_K"], 1)
        self.assertIn({"name": "Q6_K", "type": "Q6_K", "shape": [4, 256]}, got["list"])

    def test_samples(self):
        rows = [{"prompt_id": p, "sample": i, "text": t, "reward": r, "extracted": x,
                 "finish": "stop", "verdict": v, "odd": 1}
                for p, i, t, r, x, v in (("a", 0, "s", 1, "1", "correct"),
                                         ("a", 1, "t", 0, "2", "wrong"),
                                         ("b", 0, "s", None, None, "broken"))]
        del rows[2]["extracted"]
        got = self.look(self.write("pool.jsonl", rows))
        self.assertEqual((got["kind"], got["rows"], got["prompts"]), ("samples", 3, 2))
        self.assertEqual(got["rows_per_prompt"], {"min": 1, "max": 2})
        self.assertEqual((got["fields"]["text"], got["fields"]["reward"],
                          got["fields"]["extracted"]), (3, 2, 2))
        self.assertEqual(got["rewards"], {"rows": 2, "right": 1, "graded": 0, "mean": 0.5,
                                          "prompts_solved": 1})
        self.assertEqual(got["verdict"], {"correct": 1, "wrong": 1, "broken": 1})
        self.assertEqual((got["distinct_texts"], got["distinct_extracted"]), (2, 2))
        self.assertEqual(got["other_fields"], ["odd"])

    def test_prompts(self):
        got = self.look(self.write("p.jsonl",
                                   [{"prompt": "a", "answer": "1"}, {"prompt": "b", "answer": 2}]))
        self.assertEqual((got["kind"], got["rows"], got["fields"]), ("prompts", 2, {"answer": 2}))

    def test_folders(self):
        os.mkdir(self.path("model"))
        self.write("model/config.json",
                   '{"model_type": "llama", "hidden_size": 8, "architectures": ["L"],'
                   ' "rope": {"a": 1}}')
        self.write("model/model.safetensors", safetensors(TENSORS, 32))
        self.write("model/tokenizer.json",
                   '{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []},'
                   ' "added_tokens": []}')
        got = self.look(self.path("model"))
        self.assertEqual((got["kind"], got["config"]),
                         ("model", {"architectures": ["L"], "model_type": "llama",
                                    "hidden_size": 8}))
        self.assertEqual((got["files"], got["tensors"]), (["tokenizer.json"], 2))
        got = self.look(self.path("model/tokenizer.json"))
        self.assertEqual((got["kind"], got["type"], got["vocab"], got["merges"]),
                         ("tokenizer", "BPE", 1, 0))
        os.makedirs(self.path("run/checkpoints/step_2"))
        os.makedirs(self.path("run/checkpoints/step_1"))
        self.write("run/run.json", '{"seed": 1}\n')
        self.write("run/steps.jsonl", [{"step": 1}, {"step": 2, "loss": 0.5}])
        got = self.look(self.path("run"))
        self.assertEqual((got["kind"], got["run"], got["steps"], got["last_step"]),
                         ("run", {"seed": 1}, 2, {"step": 2, "loss": 0.5}))
        self.assertEqual(got["checkpoints"], ["step_1", "step_2"])

    def test_refusals(self):
        self.fails("inspect", self.path("nothing"), saying="nothing")
        self.fails("inspect", self.dir, saying="neither a run")
        self.fails("inspect", self.write("a.npy", npy()[:-1]), saying="promises 24 bytes")
        self.fails("inspect", self.write("a.bin", b"\x00\x01\x02"), saying="a.bin")
        self.fails("inspect", self.write("empty", b""), saying="empty")
        self.fails("inspect", self.write("m.safetensors", safetensors(TENSORS, 31)),
                   saying="cut short")
        self.fails("inspect", self.write("r.jsonl", '{"text": "a"}\n{"text"\n'), saying="line 2")
        self.fails("inspect", "a", "b", status=2, saying="one file")

    def test_every_allocation_may_fail(self):
        self.torture("inspect", "tests/golden/quant.gguf")
        self.torture("inspect", "--json", self.write("pool.jsonl",
                                                     [{"text": "a", "reward": 1,
                                                       "verdict": "correct"}]))
        self.torture("task", "make", "--task", "countdown", "-n", "3", "--solutions")
        rows = [{"answer": "1", "response": "\\boxed{1}"}, {"answer": "2", "response": "1"}]
        self.torture("task", "verify", "--task", "math", "--grader", "paper",
                     self.write("c.jsonl", rows))


if __name__ == "__main__":
    repexp.main()
