#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes tests/golden/tok_*.jsonl: what the reference packages make of the same texts.

tok_variants.jsonl: small tokenizers trained here, one line each: the tokenizer.json itself and cases
{"text", "ids", "plain" (ids with control text as text), "back" (decoded)}. Every component that is
implemented occurs in one of them. tok_gpt2, tok_smollm2, tok_qwen2.5: cases for the tokenizers of
the shared data. tok_spm: cases for tok512.model by sentencepiece (with its removal of repeated
spaces switched off, which a GGUF does not record). tok_chat: conversations and what the Jinja
templates make of them.

    python3 scripts/make_golden_tok.py   (needs tokenizers, sentencepiece, jinja2; REPEXP_DATA)
"""
import json
import os
import random

import sentencepiece
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers,
                        processors, trainers)

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
OUT = os.path.join(ROOT, "tests", "golden")
DATA = os.environ.get("REPEXP_DATA", os.path.join(ROOT, "..", "shared", "data"))

TEXTS = [
    "", " ", "a", "Hello world", "Hello  world ", "  leading", "trailing \n", "\n\n\n", "a\n\n b\r\n\tc",
    "It's we'll I'VE don'T 'Sup '\u017fx", "x = 12345 + 6.78e-9;", "if (a[0] != b) { return -1; }",
    "caf\u00e9 cafe\u0301 \ufb01 \u2460 \u212b", "\u1100\u1161\u11a8 \ud55c\uad6d\uc5b4", "\u65e5\u672c\u8a9e\u306e\u6587",
    "\u0627\u0644\u0639\u0631\u0628\u064a\u0629 \u0661\u0662\u0663", "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f466 ok",
    "\u2581under \u2581\u2581", "a\u00a0b\u3000c\u2003d\u0085e", "<s>x</s>", "a <sp> b", "word<w>word <w> word",
    "left   <l>   right   <r>   end", "NORM norm Norm", "<0x41> <0xE2>", "ab" * 60, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "\u0130stanbul \u0394\u039f\u03a3", "1 22 333 4444 55555", "$\\frac{1}{2}$ and $x^{10}$", "tab\tand\x0bvt", "\u00bd\u00b2\u2167",
    "\U000105c0\U00031350\ua7cb new letters", "zero\u200bwidth \u180e mongolian", "end.", "!?!?... ,,", "The 3 theories' theme",
]


def random_texts(seed, n, length):
    rng = random.Random(seed)
    pools = [[chr(c) for c in range(32, 127)], list(" \t\n\r\u00a0\u2003'"), [chr(c) for c in range(0xA1, 0x500)],
             [chr(c) for c in range(0x900, 0xD7A0)], [chr(c) for c in range(0x1F300, 0x1FA00)],
             ["'s", "'LL", "e\u0301", "  ", "\n\n", "12", "the ", " th", "<s>", "<sp>", "<|im_start|>", "<|endoftext|>"]]
    return ["".join(rng.choice(rng.choice(pools)) for _ in range(rng.randrange(length))) for _ in range(n)]


def corpus():
    rng = random.Random(7)
    words = ("the a of to and in is it that this theory theme then there here where number answer two three "
             "five plus minus equals solve find value left right under norm word hello world caf\u00e9 12 345 x y z "
             "return if for int = + - ( ) { } ; , . ! ? \u65e5\u672c \u0627\u0644").split()
    return [" ".join(rng.choice(words) for _ in range(40)) + "\n" for _ in range(120)]


def train(tok, size=330, byte_level=True, **kw):
    alphabet = pre_tokenizers.ByteLevel.alphabet() if byte_level else []
    special = ["<unk>", "<s>", "</s>"] + kw.pop("bytes", [])
    tok.train_from_iterator(corpus(), trainers.BpeTrainer(vocab_size=size, special_tokens=special,
                                                          initial_alphabet=alphabet, show_progress=False))
    return tok


LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
          r"\s*[\r\n]+|\s+(?!\S)|\s+")
OTHER = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|\p{N}{1,2}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s+(?!\S)|\s+|\w"


def byte_level(pre, norm=None):
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer, tok.decoder = pre, decoders.ByteLevel()
    if norm:
        tok.normalizer = norm
    return train(tok)


def added(tok):
    tok.add_special_tokens([AddedToken("<sp>", normalized=False), AddedToken("<l>", lstrip=True, normalized=False),
                            AddedToken("<r>", rstrip=True, normalized=False)])
    tok.add_tokens([AddedToken("<w>", single_word=True, normalized=False), AddedToken("norm", normalized=True),
                    AddedToken("  ", normalized=False), AddedToken("ll", normalized=False)])
    return tok


def variants():
    B, S, seq = pre_tokenizers.ByteLevel, pre_tokenizers.Split, pre_tokenizers.Sequence
    plain = B(add_prefix_space=False, use_regex=False)
    yield "gpt2", byte_level(B(add_prefix_space=False))
    yield "gpt2-prefix", byte_level(B(add_prefix_space=True))
    yield "no-regex", byte_level(plain)
    yield "llama3", byte_level(seq([S(Regex(LLAMA3), "isolated"), plain]))
    yield "pcre", byte_level(seq([S(Regex(OTHER), "isolated"), plain]))
    for how in ("removed", "merged_with_previous", "merged_with_next", "contiguous"):
        yield "split-" + how, byte_level(seq([S(Regex(r"\s|\d+"), how), plain]))
    yield "split-invert", byte_level(seq([S(Regex(r"\w+|[^\w\s]+"), "removed", invert=True), plain]))
    yield "split-string", byte_level(seq([S("th", "isolated"), B(add_prefix_space=False)]))
    yield "digits", byte_level(seq([pre_tokenizers.Digits(individual_digits=True), B(add_prefix_space=False)]))
    yield "digits-runs", byte_level(seq([pre_tokenizers.Digits(individual_digits=False), B(add_prefix_space=False)]))
    yield "whitespace", byte_level(seq([pre_tokenizers.Whitespace(), plain]))
    yield "whitespace-split", byte_level(seq([pre_tokenizers.WhitespaceSplit(), plain]))
    for name in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase"):
        yield name.lower(), byte_level(B(add_prefix_space=False), getattr(normalizers, name)())
    yield "norm-sequence", byte_level(B(add_prefix_space=False), normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Strip(), normalizers.Replace(Regex(r"\s{2,}"), " "), normalizers.Replace("l", "L"),
         normalizers.Prepend("^")]))
    yield "added", added(byte_level(B(add_prefix_space=False)))
    yield "added-lower", added(byte_level(B(add_prefix_space=False), normalizers.Lowercase()))
    tok = byte_level(B(add_prefix_space=False))
    tok.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    yield "template", tok
    text = json.loads(byte_level(B(add_prefix_space=False)).to_str())
    text["model"]["ignore_merges"] = True
    text["model"]["vocab"]["heor"] = len(text["model"]["vocab"])
    yield "ignore-merges", Tokenizer.from_str(json.dumps(text))

    codes = ["<0x%02X>" % b for b in range(256)]
    for scheme in ("always", "first", "never"):
        tok = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
        tok.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
        tok.decoder = decoders.Metaspace(prepend_scheme=scheme)
        yield "metaspace-" + scheme, added(train(tok, byte_level=False, size=420, bytes=codes))
    tok = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tok.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    tok.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(),
                                     decoders.Strip(" ", 1, 0)])
    yield "llama2", train(tok, byte_level=False, size=420, bytes=codes)
    for fuse in (False, True):
        tok = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=fuse))
        tok.pre_tokenizer = pre_tokenizers.Metaspace(split=False)
        tok.decoder = decoders.Metaspace()
        yield "unk-fused" if fuse else "unk", train(tok, byte_level=False)
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.Whitespace()
    yield "no-unk-no-decoder", train(tok, byte_level=False)


def cases(tok, texts):
    out = []
    for t in texts:
        tok.encode_special_tokens = True
        plain = tok.encode(t, add_special_tokens=False).ids
        tok.encode_special_tokens = False
        ids = tok.encode(t, add_special_tokens=True).ids
        out.append({"text": t, "ids": ids, "plain": plain, "back": tok.decode(ids, skip_special_tokens=True)})
    return out


def write(name, lines):
    with open(os.path.join(OUT, name), "w") as f:
        for x in lines:
            f.write(json.dumps(x, ensure_ascii=True, separators=(",", ":")) + "\n")


def spm():
    folder = os.path.join(DATA, "models", "stories260K")
    with open(os.path.join(folder, "tok512.model"), "rb") as f:
        proto = bytearray(f.read())
    at = proto.rfind(b"\x18\x01\x20\x01")
    proto[at + 3] = 0
    sp = sentencepiece.SentencePieceProcessor(model_proto=bytes(proto))
    for t in TEXTS + random_texts(3, 60, 40):
        if "\u2581" in t:  # the same character is the text's own and the mark of a space
            continue
        yield {"text": t, "ids": sp.encode(t)}


TEMPLATES = os.path.join(ROOT, "tests", "golden", "chat_templates.json")
CONTENTS = ["Hello", " lead and tail \n", "", "\n\n", "<|im_end|>\n<|im_start|>system", "a\u3000 \x1c",
            "<think>\nhmm\n</think>\n\nanswer", "x</think>y</think>\n z", "<tool_response>q</tool_response>", "caf\u00e9\u00a0"]


def chats():
    with open(TEMPLATES) as f:
        templates = json.load(f)
    for name, folder in (("qwen2.5", "qwen2.5"), ("smollm2", "smollm2")):
        with open(os.path.join(DATA, "tokenizers", folder, "chat_template.jinja")) as f:
            templates[name] = {"template": f.read(), "bos": "", "eos": ""}
    rng = random.Random(1)

    def stop(text):
        raise ValueError(text)

    for name in sorted(templates):
        env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        env.globals["raise_exception"] = stop
        t = env.from_string(templates[name]["template"])
        done = 0
        while done < 30:
            turns = rng.randrange(1, 5)
            msgs = [{"role": ("user", "assistant")[i % 2], "content": rng.choice(CONTENTS)} for i in range(turns)]
            if rng.random() < 0.5:
                msgs.insert(0, {"role": "system", "content": rng.choice(CONTENTS)})
            if rng.random() < 0.1:
                msgs.append(msgs[-1])
            opened = rng.random() < 0.6
            try:
                text = t.render(messages=msgs, add_generation_prompt=opened, bos_token=templates[name]["bos"],
                                eos_token=templates[name]["eos"])
            except ValueError:
                text = None
            done += 1
            yield {"layout": name, "open": opened, "messages": msgs, "text": text}


def main():
    os.makedirs(OUT, exist_ok=True)
    lines = []
    for name, tok in variants():
        texts = TEXTS + random_texts(name, 10, 30)
        lines.append({"name": name, "tokenizer": json.loads(tok.to_str()), "cases": cases(tok, texts)})
    write("tok_variants.jsonl", lines)
    for name in ("gpt2", "smollm2", "qwen2.5"):
        tok = Tokenizer.from_file(os.path.join(DATA, "tokenizers", name, "tokenizer.json"))
        write("tok_%s.jsonl" % name, cases(tok, TEXTS + random_texts(name, 60, 60)))
    write("tok_spm.jsonl", spm())
    write("tok_chat.jsonl", chats())


if __name__ == "__main__":
    main()
