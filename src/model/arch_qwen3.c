/* SPDX-License-Identifier: MIT
 *
 * arch_qwen3.c: Qwen3, dense: Llama's block with an RMS norm over each head of q and k before the
 * rotation, and a head size of its own.
 */
#include "arch.h"

static const rex_config_key keys[] = {
    REX_CONFIG_KEY(I64, "sliding_window", window),
    REX_CONFIG_KEY(I64, "max_window_layers", window_from),
    REX_CONFIG_KEY(BOOL, "use_sliding_window", use_window),
};

static rex_status finish(const rex_config *c, rex_shape *s, rex_err *e) {
    if (c->head_dim < 0) return rex_fail(e, REX_EFORMAT, -1, "config has no `head_dim`");
    s->qk_norm = true;
    s->qkv_bias = s->o_bias = c->attn_bias;
    if (c->use_window && c->window > 0) {
        s->window = c->window;
        for (int i = 0; !c->layer_types && i < s->L; i++) s->local[i] = i >= c->window_from;
    }
    return REX_OK;
}

static const char *const types[] = {"qwen3", NULL};

const rex_arch rex_arch_qwen3 = {
    .name = "qwen3",
    .hf_types = types,
    .gguf_types = types,
    .hf_class = "Qwen3ForCausalLM",
    .key = keys,
    .n_key = sizeof keys / sizeof keys[0],
    .finish = finish,
};
