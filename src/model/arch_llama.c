/* SPDX-License-Identifier: MIT
 *
 * arch_llama.c: Llama 2 to 3.2, SmolLM2, TinyStories and others that call themselves llama.
 * Pre-norm block, rotary positions with optional "llama3" or "linear" scaling, SwiGLU.
 * `attention_bias` puts biases on q, k, v and o; `mlp_bias` on gate, up and down.
 */
#include "arch.h"

static rex_status finish(const rex_config *c, rex_shape *s, rex_err *e) {
    (void)e;
    s->qkv_bias = s->o_bias = c->attn_bias;
    s->mlp_bias = c->mlp_bias;
    return REX_OK;
}

static const char *const types[] = {"llama", NULL};

const rex_arch rex_arch_llama = {
    .name = "llama",
    .hf_types = types,
    .gguf_types = types,
    .hf_class = "LlamaForCausalLM",
    .gguf_permuted = true,
    .finish = finish,
};
