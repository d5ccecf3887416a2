/* SPDX-License-Identifier: MIT
 *
 * arch_phi3.c: Phi-3 and Phi-4: Llama's block with q, k, v in one tensor and gate, up in another, a
 * part of each head rotated, and LongRoPE: two sets of frequencies, the short one up to the
 * original context, the long one when the model is opened with a longer context.
 */
#include "arch.h"

#include <string.h>

static const rex_config_key keys[] = {
    REX_CONFIG_KEY(I64, "sliding_window", window),
    REX_CONFIG_KEY(I64, "original_max_position_embeddings", original_max),
    REX_CONFIG_IS("attention_bias", "false|null"),
    REX_CONFIG_IS("lm_head_bias", "false|null"),
    REX_CONFIG_IS("interpolate_factor", "null|1|1.0"),
    REX_CONFIG_IS("full_attn_mod", "null|1"),
};

static rex_status finish(const rex_config *c, rex_shape *s, rex_err *e) {
    (void)e;
    s->fused_qkv = s->fused_up = true;
    if (c->window > 0) {
        s->window = c->window;
        if (!c->layer_types) memset(s->local, 1, (size_t)s->L);
    }
    return REX_OK;
}

static const char *const types[] = {"phi3", NULL};

const rex_arch rex_arch_phi3 = {
    .name = "phi3",
    .hf_types = types,
    .gguf_types = types,
    .hf_class = "Phi3ForCausalLM",
    .key = keys,
    .n_key = sizeof keys / sizeof keys[0],
    .finish = finish,
};
