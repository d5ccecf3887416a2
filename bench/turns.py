# SPDX-License-Identifier: MIT
"""Training steps of several programs in turns: every round each program makes one step, so that all of them see the
same minutes of a shared machine. One JSON line for each program: median, least and most.

    python3 bench/turns.py ROUNDS LIMIT "COMMAND" ["COMMAND"...]

Each command serves: for every line it reads it makes one step and answers with a JSON line of at least `seconds` and
`tokens`. The first one is ours: it also tells `flops` of a step and `peak_gflops` measured around it, from which the
share of the floor of all of them is taken, round by round. Before the rounds every program makes WARM=2 steps that do
not count. A program that does not answer within LIMIT seconds (START_LIMIT=600 for its first step, which may compile) is
stopped and reported as slower than that."""

import json
import os
import selectors
import shlex
import statistics
import subprocess
import sys
import time

WARM = int(os.environ.get("WARM", "2"))
START_LIMIT = float(os.environ.get("START_LIMIT", "600"))
SETTLE = 0.3  # until the threads of the one before have gone to sleep


class Server:
    def __init__(self, command):
        self.words = shlex.split(command)
        self.p = subprocess.Popen(self.words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.wait = selectors.DefaultSelector()
        self.wait.register(self.p.stdout, selectors.EVENT_READ)
        self.fault, self.steps, self.share = None, [], []

    def step(self, limit):
        """The answer to one request; None from a program that is slower than `limit` or has ended."""
        if self.fault:
            return None
        time.sleep(SETTLE)
        end, got = time.monotonic() + limit, b""
        try:
            self.p.stdin.write(b"step\n")
            self.p.stdin.flush()
        except BrokenPipeError:
            pass
        while not got.endswith(b"\n"):
            left = end - time.monotonic()
            if left <= 0 or not self.wait.select(left):
                self.fault = {"slower_than_s": limit}
                self.close()
                return None
            more = os.read(self.p.stdout.fileno(), 1 << 16)
            if not more:
                self.fault = {"failed": self.p.wait()}
                return None
            got += more
        return json.loads(got)

    def close(self):
        if self.p.poll() is None:
            self.p.kill()
        self.p.wait()


def share_of(step, ours):
    return ours["flops"] / step["seconds"] / (ours["peak_gflops"] * 1e9) if ours else None


def line(server):
    """What there is to say of one program."""
    if not server.steps:
        return {"command": " ".join(server.words), **(server.fault or {})}
    out = {k: v for k, v in server.steps[-1].items() if k not in ("seconds", "flops", "peak_gflops", "tokens")}
    rate = sorted(s["tokens"] / s["seconds"] for s in server.steps)
    out.update(tok_s=round(statistics.median(rate), 1), tok_s_low=round(rate[0], 1), tok_s_high=round(rate[-1], 1))
    if server.share:
        share = sorted(100 * s for s in server.share)
        out.update(floor_pct=round(statistics.median(share), 1), floor_low=round(share[0], 1),
                   floor_high=round(share[-1], 1))
    peaks = [s["peak_gflops"] for s in server.steps if "peak_gflops" in s]
    if peaks:
        out["peak_gflops"] = round(statistics.median(peaks), 1)
    out["n"] = len(server.steps)
    out.update(server.fault or {})
    return out


def main():
    rounds, limit = int(sys.argv[1]), float(sys.argv[2])
    servers = [Server(c) for c in sys.argv[3:]]
    try:
        for k in range(WARM):
            for s in servers:
                s.step(max(limit, START_LIMIT) if k == 0 else limit)
        for _ in range(rounds):
            ours = None
            for s in servers:
                got = s.step(limit)
                if got is None:
                    continue
                s.steps.append(got)
                ours = got if s is servers[0] else ours
                if ours:
                    s.share.append(share_of(got, ours))
    finally:
        for s in servers:
            s.close()
    for s in servers:
        print(json.dumps(line(s)), flush=True)
    return servers[0].fault is not None


if __name__ == "__main__":
    sys.exit(main())
