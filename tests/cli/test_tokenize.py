# SPDX-License-Identifier: MIT
"""repexp tokenize: ids and texts through the command line."""

import json
import subprocess
import unittest

from repexp import PROGRAM, Case, main, need_data


class Tokenize(Case):
    def model(self):
        path = "tests/golden/tok_variants.jsonl"
        with open(path) as f:
            for line in f:
                r = json.loads(line)
                if r["name"] == "template":
                    return self.write("tokenizer.json", json.dumps(r["tokenizer"])), r["cases"]
        self.fail("no variant with a template in " + path)

    def test_ids_and_back(self):
        m, cases = self.model()
        for c in cases[:20]:
            got = self.ok("tokenize", "--model", m, "--json", "--text", c["text"]).json()
            self.assertEqual(got, {"ids": c["ids"]})
            plain = self.ok("tokenize", "--model", m, "--json", "--no-bos", "--no-special", stdin=c["text"]).json()
            if "\r" not in c["text"]:
                self.assertEqual(plain, {"ids": c["plain"]})
            back = self.ok("tokenize", "--model", m, "--decode", "--no-special", "--json", stdin=json.dumps(c["ids"]))
            self.assertEqual(back.json(), {"text": c["back"]})

    def test_stdin_is_bytes(self):
        m, _ = self.model()
        for data in (b"\xff\xfe\x80 x\n", b"", b"\n", b"a\0b"):
            p = subprocess.run([PROGRAM, "tokenize", "--model", m, "--json", "--no-bos"], input=data,
                               capture_output=True, check=True)
            ids = p.stdout
            q = subprocess.run([PROGRAM, "tokenize", "--model", m, "--decode"], input=ids, capture_output=True,
                               check=True)
            self.assertEqual(q.stdout, data)

    def test_misuse_and_bad_ids(self):
        m, _ = self.model()
        self.fails("tokenize", status=2, saying="needs --model")
        self.fails("tokenize", "--model", m, "text", status=2, saying="--text")
        self.fails("tokenize", "--model", self.path("none"), saying="none")
        self.fails("tokenize", "--model", m, "--decode", "--text", "1 x", saying="byte 2")
        self.fails("tokenize", "--model", m, "--decode", "--text", "[1, -3]", saying="whole number")
        self.fails("tokenize", "--model", m, "--decode", "--text", "999999", saying="id 999999")
        self.fails("tokenize", "--model", self.write("broken.json", "{"), saying="broken.json: byte")

    def test_real_models(self):
        m = need_data("tokenizers/smollm2")
        self.assertEqual(self.ok("tokenize", "--model", m, "--json", "--text", "Hello <|im_start|> world\n").json(),
                         {"ids": [19556, 216, 1, 905, 198]})
        g = need_data("models/stories260K/stories260K.gguf")
        ids = self.ok("tokenize", "--model", g, "--json", "--text", "Once upon a time").json()["ids"]
        self.assertEqual(ids, [1, 403, 407, 261, 378])
        self.assertEqual(self.ok("tokenize", "--model", g, "--decode", "--no-special", "--text", str(ids)).out,
                         "Once upon a time")


if __name__ == "__main__":
    main()
