#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Byte-level tokenizers in GGUF form, written from a tokenizer.json with the gguf package in the way
of the usual converter: tokens by id with their types, merges and special ids by its SpecialVocab.

    python3 scripts/make_golden_tok_gguf.py            writes tests/golden/tok_gguf_*.gguf (small
        tokenizers trained here) and tok_gguf.jsonl, the ids of the tokenizer.json they came from; seeds of
        fuzz/corpus/tokgguf
    python3 scripts/make_golden_tok_gguf.py PROGRAM    converts the tokenizers of the shared data into
        a passing folder and compares `PROGRAM tokenize` on them with the tokenizers package, over
        all problems and solutions of MATH

Needs tokenizers and gguf; REPEXP_DATA names the shared data."""
import json
import os
import shutil
import subprocess
import sys
import tempfile

import gguf
from tokenizers import AddedToken, Regex, Tokenizer, normalizers, pre_tokenizers

from make_golden_tok import DATA, LLAMA3, OUT, TEXTS, byte_level, cases, random_texts, write

QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
# shared folder: name of its pre-tokeniser in a GGUF
SHARED = {"gpt2": "gpt-2", "smollm2": "smollm", "qwen2.5": "qwen2"}


def convert(folder, pre, path, size=None):
    """tokenizer.json and tokenizer_config.json of a folder to a GGUF that holds the vocabulary."""
    with open(os.path.join(folder, "tokenizer.json")) as f:
        data = json.load(f)
    added = {a["id"]: a for a in data["added_tokens"]}
    by_id = {i: s for s, i in data["model"]["vocab"].items()}
    n = size or max([*by_id, *added]) + 1
    tokens, types = [], []
    for i in range(n):
        if i in added:
            tokens.append(added[i]["content"])
            types.append(gguf.TokenType.CONTROL if added[i]["special"] else gguf.TokenType.USER_DEFINED)
        elif i in by_id:
            tokens.append(by_id[i])
            types.append(gguf.TokenType.NORMAL)
        else:
            tokens.append("[PAD%d]" % i)
            types.append(gguf.TokenType.UNUSED)
    w = gguf.GGUFWriter(path, "llama")
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre(pre)
    w.add_token_list(tokens)
    w.add_token_types(types)
    gguf.SpecialVocab(folder, load_merges=True, n_vocab=n).add_to_gguf(w)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def small():
    B, S, seq = pre_tokenizers.ByteLevel, pre_tokenizers.Split, pre_tokenizers.Sequence
    plain = B(add_prefix_space=False, use_regex=False)
    own = B(add_prefix_space=False)
    yield "gpt-2", byte_level(own)
    yield "smollm", byte_level(seq([pre_tokenizers.Digits(individual_digits=True), own]))
    yield "qwen2", byte_level(seq([S(Regex(QWEN2), "isolated"), plain]), normalizers.NFC())
    tok = json.loads(byte_level(seq([S(Regex(LLAMA3), "isolated"), plain])).to_str())
    tok["model"]["ignore_merges"] = True
    yield "llama-bpe", Tokenizer.from_str(json.dumps(tok))


def pieces(path):
    """A vocabulary with scores, in which characters occur that have no piece of their own."""
    bytes_ = ["<0x%02X>" % b for b in range(256)]
    words = ["\u2581", "t", "h", "e", "\u2581t", "he", "\u2581the", "\u00e9", "caf\u00e9", "xy"]
    w = gguf.GGUFWriter(path, "llama")
    w.add_tokenizer_model("llama")
    w.add_token_list(["<unk>", "<s>", "</s>"] + bytes_ + words + ["<tool>"])
    w.add_token_scores([0.0] * 259 + [-float(i) for i in range(len(words))] + [0.0])
    w.add_token_types([2, 3, 3] + [6] * 256 + [1] * len(words) + [4])
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def golden():
    lines = []
    seeds = os.path.join(OUT, "..", "..", "fuzz", "corpus", "tokgguf")
    os.makedirs(seeds, exist_ok=True)
    pieces(os.path.join(seeds, "pieces.gguf"))
    for pre, tok in small():
        tok.add_special_tokens([AddedToken("<|im_start|>", normalized=False), AddedToken("<|im_end|>", normalized=False)])
        tok.add_tokens([AddedToken("<tool>", normalized=False)])
        with tempfile.TemporaryDirectory() as folder:
            tok.save(os.path.join(folder, "tokenizer.json"))
            with open(os.path.join(folder, "tokenizer_config.json"), "w") as f:
                json.dump({"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "add_bos_token": False}, f)
            # three ids more than there are tokens, as in models whose embeddings are padded
            convert(folder, pre, os.path.join(OUT, "tok_gguf_%s.gguf" % pre), tok.get_vocab_size() + 3)
        texts = TEXTS + ["<tool>a</tool> <tool>", "<|im_start|>user\nhi<|im_end|>\n"] + random_texts(pre, 12, 30)
        lines += [dict(c, pre=pre) for c in cases(tok, texts)]
    shutil.copy(os.path.join(OUT, "tok_gguf_qwen2.gguf"), os.path.join(seeds, "bytes.gguf"))
    write("tok_gguf.jsonl", lines)


def check(program):
    texts = []
    for name in ("train", "test"):
        with open(os.path.join(DATA, "math", name + ".jsonl")) as f:
            for line in f:
                row = json.loads(line)
                texts += [row["problem"], row["solution"]]
    bad = 0
    for name, pre in SHARED.items():
        folder = os.path.join(DATA, "tokenizers", name)
        tok = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
        with tempfile.TemporaryDirectory() as tmp:
            path = os.path.join(tmp, "vocab.gguf")
            convert(folder, pre, path)
            differ = ids = 0
            step = 250  # texts of one call, joined: the ids of a joined text are a text's as well
            for at in range(0, len(texts), step):
                text = "\n\n".join(texts[at:at + step])
                got = subprocess.run([program, "tokenize", "--model", path, "--no-bos", "--json"], input=text.encode(),
                                     capture_output=True, check=True).stdout
                got, want = json.loads(got)["ids"], tok.encode(text, add_special_tokens=False).ids
                ids += len(want)
                differ += got != want
        print("%s: %d texts, %d ids, %d pieces of %d texts differ" % (name, len(texts), ids, differ, step))
        bad += differ
    sys.exit(bad > 0)


if __name__ == "__main__":
    check(sys.argv[1]) if len(sys.argv) > 1 else golden()
