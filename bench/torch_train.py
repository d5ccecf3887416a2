# SPDX-License-Identifier: MIT
"""The PyTorch side of `make bench-train`: one optimiser step of a Llama-style decoder, as a careful
user would write it today: scaled-dot-product attention, fused AdamW, optionally torch.compile.

One JSON line per setting on stdout: tokens per second (median and spread over steps), the share of
the FLOP floor given by --peak (GFLOP/s of all threads, measured by the caller in the same run). With
--serve steps are made on demand, a JSON line for each line read (bench/turns.py). With one thread
seconds are processor time, as those of bench_train are.
"""
import argparse
import json
import resource
import statistics
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

SHAPES = {  # layers, width, heads, key/value heads, ffn, vocabulary, sequences, positions
    "135m": (30, 576, 9, 3, 1536, 49152, 16, 128),
    "tiny": (6, 256, 8, 8, 768, 4096, 64, 128),
}


class Block(nn.Module):
    def __init__(self, d, heads, kv, ffn):
        super().__init__()
        self.h, self.kv, self.hd = heads, kv, d // heads
        self.n1, self.n2 = nn.RMSNorm(d, eps=1e-5), nn.RMSNorm(d, eps=1e-5)
        self.qkv = nn.Linear(d, (heads + 2 * kv) * self.hd, bias=False)
        self.o = nn.Linear(d, d, bias=False)
        self.gate_up = nn.Linear(d, 2 * ffn, bias=False)
        self.down = nn.Linear(ffn, d, bias=False)

    def forward(self, x, cos, sin):
        b, t, d = x.shape
        q, k, v = self.qkv(self.n1(x)).split([self.h * self.hd, self.kv * self.hd, self.kv * self.hd], -1)
        q, k, v = (z.view(b, t, -1, self.hd).transpose(1, 2) for z in (q, k, v))
        q, k = (z * cos + torch.cat((-z[..., self.hd // 2:], z[..., :self.hd // 2]), -1) * sin for z in (q, k))
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=self.h != self.kv)
        x = x + self.o(a.transpose(1, 2).reshape(b, t, d))
        g, u = self.gate_up(self.n2(x)).chunk(2, -1)
        return x + self.down(F.silu(g) * u)


class Decoder(nn.Module):
    def __init__(self, layers, d, heads, kv, ffn, vocab, positions):
        super().__init__()
        self.embed = nn.Embedding(vocab, d)
        self.blocks = nn.ModuleList(Block(d, heads, kv, ffn) for _ in range(layers))
        self.norm = nn.RMSNorm(d, eps=1e-5)
        hd = d // heads
        f = 10000.0 ** (-torch.arange(0, hd, 2).float() / hd)
        a = torch.outer(torch.arange(positions).float(), f)
        self.register_buffer("cos", torch.cat((a.cos(), a.cos()), -1))
        self.register_buffer("sin", torch.cat((a.sin(), a.sin()), -1))

    def forward(self, ids, labels):
        x = self.embed(ids)
        for b in self.blocks:
            x = b(x, self.cos.to(x.dtype), self.sin.to(x.dtype))
        logits = F.linear(self.norm(x), self.embed.weight)
        return F.cross_entropy(logits.view(-1, logits.shape[-1]).float(), labels.reshape(-1))


def flops(shape):
    layers, d, heads, kv, ffn, vocab, b, t = shape
    hd = d // heads
    dense = layers * (d * (heads + 2 * kv) * hd + d * d + 3 * d * ffn) + d * vocab
    attention = layers * heads * hd * (t + 1)  # causal: scores and values, 2 x (t + 1) / 2 each
    return 3 * b * t * (2 * dense + 2 * attention)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--shape", choices=SHAPES, default="tiny")
    p.add_argument("--dtype", choices=["f32", "bf16"], default="f32")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--steps", type=int, default=5)
    p.add_argument("--compile", action="store_true")
    p.add_argument("--serve", action="store_true", help="a step for each line read")
    p.add_argument("--peak", type=float, default=0.0, help="GFLOP/s of all threads together")
    o = p.parse_args()
    torch.set_num_threads(o.threads)
    torch.manual_seed(0)
    shape = SHAPES[o.shape]
    b, t = shape[6], shape[7]
    model = Decoder(*shape[:6], t)
    if o.dtype == "bf16":
        model = model.bfloat16()
    opt = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    run = torch.compile(model) if o.compile else model
    clock = time.process_time if o.threads == 1 else time.perf_counter
    ids = torch.randint(0, shape[5], (b, t + 1))

    def step():
        start = clock()
        loss = run(ids[:, :-1], ids[:, 1:])
        loss.backward()
        opt.step()
        opt.zero_grad(set_to_none=False)
        return clock() - start

    def about():
        return {"rival": "torch " + torch.__version__, "mode": "compile" if o.compile else "eager",
                "shape": o.shape, "dtype": o.dtype, "threads": o.threads}

    def memory():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

    if o.serve:
        for _ in sys.stdin:
            print(json.dumps({**about(), "tokens": b * t, "seconds": step(), "peak_mib": memory()}), flush=True)
        return
    for _ in range(2):
        step()
    took = [step() for _ in range(o.steps)]
    mid = statistics.median(took)
    out = {**about(), "tok_s": b * t / mid, "tok_s_low": b * t / max(took), "tok_s_high": b * t / min(took),
           "peak_mib": memory()}
    if o.peak:
        out["floor_share"] = flops(shape) / mid / (o.peak * 1e9)
    print(json.dumps(out), flush=True)


if __name__ == "__main__":
    main()
