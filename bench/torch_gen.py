#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The engine's three scenes in PyTorch, as good as sixty lines get: one fused product for q, k, v and
one for gate and up, the keys of a shared prompt stored once, grouped heads without copies.

usage: torch_gen.py SHAPE THREADS [f32|bf16] [REPEATS] [SCENES]      one JSON line for each scene
SCENES: letters of pds, as bench_gen takes them
"""
import json
import statistics
import sys
import time

import torch
import torch.nn.functional as F

SHAPES = {"135m": (30, 576, 9, 3, 1536, 49152), "0.5b": (24, 896, 14, 2, 4864, 151936)}
L, D, H, K, FF, V = SHAPES[sys.argv[1]]
torch.set_num_threads(int(sys.argv[2]))
DT = torch.bfloat16 if "bf16" in sys.argv else torch.float32
REPEATS = int(sys.argv[4]) if len(sys.argv) > 4 else 3
HD, G = 64, H // K
torch.manual_seed(1)
rnd = lambda *s: (torch.randn(*s) * 0.02).to(DT)
E = rnd(V, D)
W = [(rnd((H + 2 * K) * HD, D), rnd(D, H * HD), rnd(2 * FF, D), rnd(D, FF)) for _ in range(L)]
ONE = torch.ones(D, dtype=DT)
ang = torch.outer(torch.arange(2048.0), 100000.0 ** (-torch.arange(0, HD, 2) / HD))
COS, SIN = ang.cos().to(DT), ang.sin().to(DT)


def rope(x, pos):  # (n, heads, HD)
    c, s = COS[pos][:, None], SIN[pos][:, None]
    a, b = x[..., :HD // 2], x[..., HD // 2:]
    return torch.cat([a * c - b * s, b * c + a * s], -1)


def block(x, w, pos, attend):
    q, k, v = F.linear(F.rms_norm(x, (D,), ONE, 1e-5), w[0]).split([H * HD, K * HD, K * HD], -1)
    n = x.shape[0]
    o = attend(rope(q.view(n, H, HD), pos), rope(k.view(n, K, HD), pos), v.view(n, K, HD))
    x = x + F.linear(o.reshape(n, H * HD), w[1])
    g, u = F.linear(F.rms_norm(x, (D,), ONE, 1e-5), w[2]).chunk(2, -1)
    return x + F.linear(F.silu(g) * u, w[3])


def head(x):
    return F.linear(F.rms_norm(x, (D,), ONE, 1e-5), E).float()


def prefill(ids):  # keys and values of every layer, (K, n, HD)
    x, pos, cache = E[ids], torch.arange(len(ids)), []

    def attend(q, k, v):
        k, v = k.transpose(0, 1).contiguous(), v.transpose(0, 1).contiguous()
        cache.append((k, v))
        return F.scaled_dot_product_attention(q.transpose(0, 1)[None], k[None], v[None], is_causal=True,
                                              enable_gqa=True)[0].transpose(0, 1)
    for w in W:
        x = block(x, w, pos, attend)
    return head(x[-1:]), cache


def samples(ids, n, new):  # n samples of one prompt: the prompt's part of attention is one product
    logits, cache = prefill(ids)
    tok = torch.multinomial(logits.softmax(-1).expand(n, -1), 1)[:, 0]
    own = [(torch.empty(n, K, new, HD, dtype=DT), torch.empty(n, K, new, HD, dtype=DT)) for _ in W]
    for t in range(new - 1):
        x, pos = E[tok], torch.full((n,), len(ids) + t)
        for (pk, pv), (ok, ov), w in zip(cache, own, W):
            def attend(q, k, v):
                ok[:, :, t], ov[:, :, t] = k, v
                q = q.view(n, K, G, HD)
                qs = q.permute(1, 0, 2, 3).reshape(K, n * G, HD)
                a = (qs @ pk.transpose(1, 2)).view(K, n, G, -1).transpose(0, 1)
                s = torch.cat([a, q @ ok[:, :, :t + 1].transpose(2, 3)], -1).float() * HD ** -0.5
                p = s.softmax(-1).to(DT)
                shared = p[..., :len(ids)].transpose(0, 1).reshape(K, n * G, -1) @ pv
                return shared.view(K, n, G, HD).transpose(0, 1) + p[..., len(ids):] @ ov[:, :, :t + 1]
            x = block(x, w, pos, attend)
        lp = head(x).log_softmax(-1)
        tok = torch.multinomial(lp.exp(), 1)[:, 0]
        lp.gather(1, tok[:, None])


with torch.inference_mode():
    prompt = [(i * 7919 + 13) % V for i in range(512)]
    for scene, tokens, run in (("prefill 512", 512, lambda: prefill(prompt)),
                               ("one sequence", 47, lambda: samples(prompt[:1], 1, 48)),
                               ("64 samples of one prompt", 64 * 128, lambda: samples(prompt[:128], 64, 128))):
        if len(sys.argv) > 5 and {"p": "p", "o": "d", "6": "s"}[scene[0]] not in sys.argv[5]:
            continue
        took = []
        for i in range(REPEATS + (scene != "64 samples of one prompt")):
            start = time.perf_counter()
            run()
            took.append(time.perf_counter() - start)
        print(json.dumps({"bench": "torch", "torch": torch.__version__, "shape": sys.argv[1], "threads":
                          torch.get_num_threads(), "type": str(DT), "scene": scene,
                          "tok_per_s": round(tokens / statistics.median(took), 1)}), flush=True)
