#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Chat layouts against the templates of models: each file of a folder is given to the program as a
model's own chat_template.jinja. Either the program says that it does not know the layout, or what it
renders must be what Jinja makes of the template, byte for byte, and both must refuse the same.

    python3 scripts/check_chat.py PROGRAM FOLDER   (FOLDER of *.jinja, from the models' own repositories
        or from a program that ships them; needs jinja2)"""
import json
import os
import subprocess
import sys
import tempfile

from jinja2.sandbox import ImmutableSandboxedEnvironment

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
MODEL = os.path.join(ROOT, "tests", "golden", "models", "qwen2")
CONTROL = ["<s>", "</s>", "<bos>", "<eos>", "<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
           "<|eot_id|>", "<|im_start|>", "<|im_sep|>", "<|im_end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>",
           "<|endoftext|>", "<start_of_turn>", "<end_of_turn>"]
# what a template calls bos_token and eos_token, by what it holds
MARKS = (("<|start_header_id|>", "<|begin_of_text|>", "<|eot_id|>"), ("<start_of_turn>", "<bos>", "<eos>"),
         ("[INST]", "<s>", "</s>"), ("<|end|>", "<s>", "<|endoftext|>"), ("", "", "<|im_end|>"))


def say(role, content):
    return {"role": role, "content": content}


U, A, S = (lambda x, r=r: say(r, x) for r in ("user", "assistant", "system"))
CHATS = [[U("Hello")], [U(" lead and tail \n")], [U("")], [S("Be brief."), U("Hi")], [S(""), U("Hi")], [S(" a \n"), U(" b ")],
         [U("1"), A("2"), U("3")], [S("s"), U("1"), A(" 2 "), U("3")], [U("q"), A("<think>\nhm\n</think>\n\nr"), U("s")],
         [S("s"), U("1"), A("x</think>y"), U("3"), A("4"), U("5")], [U("caf\u00e9 \u3000"), A("\n"), U("\x1c z")],
         [U("1"), U("2")], [U("1"), A("2"), A("3"), U("4")], [U("a"), S("late"), U("b")], [A("first"), U("b")],
         [U("<tool_response>q</tool_response>"), A("b"), U("c")]]


def reference(text):
    def stop(what):
        raise ValueError(what)

    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    env.globals["raise_exception"] = stop
    template = env.from_string(text)
    bos, eos = next((b, e) for mark, b, e in MARKS if mark in text)
    for chat in CHATS:
        try:
            yield template.render(messages=chat, add_generation_prompt=True, bos_token=bos, eos_token=eos)
        except Exception:  # whatever a template does about a conversation that it does not take
            yield None


def render(program, folder, prompts, chat):
    with open(prompts, "w") as f:
        f.write(json.dumps({"prompt_id": "x", "prompt": chat}) + "\n")
    p = subprocess.run([program, "generate", "--model", MODEL, "--tokenizer", folder, "--prompts", prompts, "--max-tokens", "1",
                        "--truncate", "--show-prompt", "--threads", "1"], capture_output=True)
    err = p.stderr.decode(errors="surrogateescape")
    at = err.find("---- x (")
    if at < 0:
        return None, err
    body = err[err.index("\n", at) + 1:]
    return body[:-1] if p.returncode == 0 else body.rsplit("\nrepexp: ", 1)[0], err


def main():
    program, source = sys.argv[1:]
    same = unknown = bad = 0
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "tokenizer.json"), "w") as f:
            json.dump({"added_tokens": [{"id": i + 1, "content": c, "special": True} for i, c in enumerate(CONTROL)],
                       "model": {"type": "BPE", "vocab": {"?": 0}, "merges": [], "unk_token": "?"}}, f)
        for name in sorted(os.listdir(source)):
            if not name.endswith(".jinja"):
                continue
            with open(os.path.join(source, name), newline="") as f:
                text = f.read()
            with open(os.path.join(folder, "chat_template.jinja"), "w", newline="") as f:
                f.write(text)
            prompts = os.path.join(folder, "p.jsonl")
            if "layout that is not known" in render(program, folder, prompts, CHATS[0])[1]:
                unknown += 1
                continue
            wrong = []
            for chat, want in zip(CHATS, reference(text)):
                got, err = render(program, folder, prompts, chat)
                late = any(m["role"] == "system" for m in chat[1:])  # some templates let it slip through by accident
                if got != want and not (got is None and late):
                    wrong.append("  %s\n    got  %r\n    want %r%s" % (json.dumps(chat), got, want,
                                                                      "" if got is not None else "\n    " + err.strip()))
            print("%-50s %s" % (name, "%d of %d differ" % (len(wrong), len(CHATS)) if wrong else "equal"))
            print("\n".join(wrong), end="\n" if wrong else "")
            same, bad = same + (not wrong), bad + bool(wrong)
    print("%d equal, %d differ, %d not known" % (same, bad, unknown))
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
