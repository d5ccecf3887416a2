#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tiny random models of every architecture, with logits and hidden states by transformers.

usage: make_golden_models.py OUT_DIR        (tests/golden/models)

Each folder holds config.json, model.safetensors (f32 or bf16) and golden.safetensors:
  ids     (T,)            the token ids of one sequence
  logits  (T, V)          f32
  hidden  (L + 1, T, D)   embeddings, then the state after each block; the last one after the
                          final norm (as transformers returns them)
  raw_last (T, D)         the state after the last block, before the final norm
  logits_short (24, V)    phi3_long only: the first 24 tokens alone, under the short frequencies
Everything follows from the seed, the versions are written into the metadata.
"""
import json
import os
import sys

import torch
import transformers
from safetensors.torch import save_file
from transformers import (
    Gemma3TextConfig, LlamaConfig, MistralConfig, Phi3Config, Qwen2Config, Qwen3Config,
    AutoModelForCausalLM,
)

T = 48
COMMON = dict(vocab_size=96, num_hidden_layers=2, max_position_embeddings=64, bos_token_id=1,
              eos_token_id=2, pad_token_id=0)

CASES = {
    # Llama 2 / SmolLM2: tied head, grouped heads
    "llama": (LlamaConfig(hidden_size=32, intermediate_size=56, num_attention_heads=4,
                          num_key_value_heads=2, head_dim=8, tie_word_embeddings=True, **COMMON), "f32"),
    # Llama 3: scaled rotary frequencies, untied head, biases, bf16 weights
    "llama3": (LlamaConfig(hidden_size=32, intermediate_size=56, num_attention_heads=2,
                           num_key_value_heads=1, head_dim=16, tie_word_embeddings=False,
                           attention_bias=True, mlp_bias=True,
                           rope_parameters=dict(rope_type="llama3", rope_theta=500000.0, factor=8.0,
                                                low_freq_factor=1.0, high_freq_factor=4.0,
                                                original_max_position_embeddings=32), **COMMON), "bf16"),
    "llama_linear": (LlamaConfig(hidden_size=32, intermediate_size=40, num_attention_heads=2,
                                 num_key_value_heads=2, head_dim=16, tie_word_embeddings=True,
                                 rope_parameters=dict(rope_type="linear", rope_theta=10000.0,
                                                      factor=4.0), **COMMON), "f32"),
    "mistral": (MistralConfig(hidden_size=32, intermediate_size=56, num_attention_heads=4,
                              num_key_value_heads=2, head_dim=16, sliding_window=20,
                              tie_word_embeddings=False, **COMMON), "f32"),
    "qwen2": (Qwen2Config(hidden_size=32, intermediate_size=56, num_attention_heads=4,
                          num_key_value_heads=2, tie_word_embeddings=True, **COMMON), "f32"),
    "qwen3": (Qwen3Config(hidden_size=32, intermediate_size=56, num_attention_heads=4,
                          num_key_value_heads=2, head_dim=16, tie_word_embeddings=False, **COMMON), "f32"),
    "phi3": (Phi3Config(hidden_size=32, intermediate_size=56, num_attention_heads=2,
                        num_key_value_heads=1, sliding_window=None, tie_word_embeddings=False,
                        **COMMON), "f32"),
    # Phi-4-mini: a part of the head rotated, two sets of frequencies, tied head
    "phi3_long": (Phi3Config(hidden_size=32, intermediate_size=56, num_attention_heads=2,
                             num_key_value_heads=1, sliding_window=30, tie_word_embeddings=True,
                             original_max_position_embeddings=32, partial_rotary_factor=0.75,
                             rope_parameters=dict(rope_type="longrope", rope_theta=10000.0,
                                                  partial_rotary_factor=0.75,
                                                  original_max_position_embeddings=32,
                                                  short_factor=[1.0 + 0.05 * i for i in range(6)],
                                                  long_factor=[1.5 + 0.3 * i for i in range(6)]),
                             **COMMON), "f32"),
    "gemma3": (Gemma3TextConfig(hidden_size=32, intermediate_size=40, num_attention_heads=4,
                                num_key_value_heads=2, head_dim=16, query_pre_attn_scalar=24,
                                sliding_window=12,
                                **{**COMMON, "num_hidden_layers": 3},
                                layer_types=["sliding_attention", "sliding_attention", "full_attention"],
                                rope_parameters=dict(
                                    full_attention=dict(rope_type="linear", rope_theta=1000000.0, factor=8.0),
                                    sliding_attention=dict(rope_type="default", rope_theta=10000.0))), "f32"),
}


def randomise(model, gen):
    """Weights far enough from their start that every bias and norm matters."""
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            if "norm" in name:
                p.add_(0.3 * torch.randn(p.shape, generator=gen))
            elif name.endswith("bias"):
                p.copy_(0.2 * torch.randn(p.shape, generator=gen))
            else:
                scale = 1.0 if "embed" in name else 1.5 / p.shape[-1] ** 0.5
                p.copy_(scale * torch.randn(p.shape, generator=gen))


def make(name, config, dtype, out):
    seed = 1 + sorted(CASES).index(name)
    torch.manual_seed(seed)
    gen = torch.Generator().manual_seed(seed)
    config._attn_implementation = "eager"
    model = AutoModelForCausalLM.from_config(config).float().eval()
    randomise(model, gen)
    if dtype == "bf16":
        model = model.bfloat16()
    folder = os.path.join(out, name)
    os.makedirs(folder, exist_ok=True)
    model.save_pretrained(folder)
    extra = os.path.join(folder, "generation_config.json")
    if name != "llama" and os.path.exists(extra):
        os.remove(extra)
    if dtype == "bf16":     # a cast would round the rotary frequencies, too
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
        model.eval()
    ids = torch.randint(3, config.vocab_size, (1, T), generator=gen)
    raw = {}
    model.model.layers[-1].register_forward_hook(
        lambda m, i, o: raw.update(x=o[0] if isinstance(o, tuple) else o))
    with torch.no_grad():
        got = model(ids, output_hidden_states=True, use_cache=False)
    last = raw["x"].reshape(T, -1)
    short = {}
    if name == "phi3_long":     # below the original context the other set of frequencies is in force
        with torch.no_grad():
            short["logits_short"] = model(ids[:, :24], use_cache=False).logits[0].float().contiguous()
    save_file({**short, "ids": ids[0].to(torch.int32), "logits": got.logits[0].float().contiguous(),
               "hidden": torch.stack([h[0] for h in got.hidden_states]).float().contiguous(),
               "raw_last": last.float().contiguous()},
              os.path.join(folder, "golden.safetensors"),
              metadata={"torch": torch.__version__, "transformers": transformers.__version__,
                        "seed": str(seed), "arch": name})
    print(name, sum(p.numel() for p in model.parameters()), json.load(open(folder + "/config.json")))


def main():
    out = sys.argv[1]
    for name, (config, dtype) in CASES.items():
        make(name, config, dtype, out)


if __name__ == "__main__":
    main()
