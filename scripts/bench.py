#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs benchmarks and keeps what they print in docs/performance.md.

    python3 scripts/bench.py [--write] [--quick] [--needs] [PART...]
      PART      one of PARTS below; without one: all of them
      --write   the output replaces what stands between the part's marks in docs/performance.md
      --quick   fewer repeats and smaller cases: to see that they run, not for the page
      --needs   nothing is run; the programs that must have been built are printed

BUILD names the build folder (build), PYTHON the interpreter with the rivals (numpy, scikit-learn, torch, tokenizers:
scripts/venv.sh makes one in .venv). A rival that is not installed is said to be missing, not left out silently."""

import os
import platform
import re
import subprocess
import sys

import page

BUILD = os.environ.get("BUILD", "build")
PYTHON = os.environ.get("PYTHON") or (".venv/bin/python" if os.path.exists(".venv/bin/python") else sys.executable)
PAGE = "docs/performance.md"


def bench(name):
    return os.path.join(BUILD, "bench", "bench_" + name)


# part: (command, what --quick adds or None where it cannot be shortened)
PARTS = {
    "json": ([bench("json")], ["--quick"]),
    "records": ([bench("records")], ["--quick"]),
    "kern": ([bench("kern"), "1", "7"], None),
    "tok": ([PYTHON, "scripts/bench_tok.py", bench("tok")], None),
    "engine": (["sh", "bench/engine.sh", bench("gen"), bench("kern")], ["--quick"]),
    "train": (["sh", "bench/train.sh", bench("train")], ["--quick"]),
    "select": ([PYTHON, "bench/select_numpy.py", bench("select")], ["--quick"]),
}


def machine():
    with open("/proc/cpuinfo") as f:
        cpu = re.search(r"model name\s*: (.*)", f.read())
    gcc = subprocess.run(["gcc", "-dumpfullversion"], capture_output=True, text=True).stdout.strip()
    return "%s, %d cores, Linux %s, gcc %s, load %.1f before" % (
        " ".join(cpu.group(1).split()) if cpu else platform.machine(), os.cpu_count(), platform.release().split("-")[0],
        gcc, os.getloadavg()[0])


def needs(part):
    """The programs that a part runs."""
    return [word for word in PARTS[part][0] if word.startswith(bench(""))]


def run(part, quick):
    command, more = PARTS[part]
    if quick:
        if more is None:
            return None
        command = command + more
    head = machine()
    p = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ, PYTHON=PYTHON))
    if not p.stdout:
        sys.exit("%s: no output, status %d" % (" ".join(command), p.returncode))
    return "%s\n\n%s" % (head, p.stdout.strip("\n"))


def shape(text):
    """What a table is without its numbers: its rows, each line with figures and blanks taken out."""
    lines = [re.sub(r"[-+]?\d[\d.,]*(e[-+]?\d+)?", "#", line) for line in text.splitlines()[2:]]
    return [re.sub(r"\s+", " ", line).strip() for line in lines if line.strip()]


def maker(part):
    return "bench.py " + part


def kept(part):
    return page.cut(PAGE, maker(part))[1].strip().strip("`").strip("\n")


def main():
    parts = [a for a in sys.argv[1:] if not a.startswith("--")]
    unknown = [p for p in parts if p not in PARTS]
    if unknown:
        sys.exit("no benchmark %s; there are %s" % (unknown[0], ", ".join(PARTS)))
    if "--needs" in sys.argv:
        print(" ".join(sorted({program for part in parts or PARTS for program in needs(part)})))
        return
    for part in parts or PARTS:
        text = run(part, "--quick" in sys.argv)
        if text is None:
            continue
        print("== %s\n%s\n" % (part, text), flush=True)
        if "--write" in sys.argv and "--quick" not in sys.argv:
            page.put(PAGE, maker(part), "```\n%s\n```\n" % text)


if __name__ == "__main__":
    main()
