/* SPDX-License-Identifier: MIT
 *
 * arch_gemma3.c: Gemma 3, text. GeGLU with the tanh form of GELU, norms that scale by 1 + w, a
 * second norm behind attention and MLP, QK-norm, embeddings scaled by sqrt(D), five local layers
 * (window, rotary base 10000) to each global one (base 1e6, scaled), scores scaled by
 * query_pre_attn_scalar^-1/2. GGUF files store 1 + w. Soft-capping is refused (config.c).
 */
#include "arch.h"

static const rex_config_key keys[] = {
    REX_CONFIG_KEY(I64, "sliding_window", window),
    REX_CONFIG_KEY(I64, "sliding_window_pattern", pattern),
    REX_CONFIG_KEY(I64, "_sliding_window_pattern", pattern),
    REX_CONFIG_KEY(F64, "rope_local_base_freq", local_theta),
    REX_CONFIG_KEY(F64, "query_pre_attn_scalar", query_scalar),
    REX_CONFIG_KEY(BOOL, "norm_weights_done", plus1_done), /* written by gguf_config.c */
    REX_CONFIG_IS("hidden_activation", "gelu_pytorch_tanh"),
    REX_CONFIG_IS("hidden_act", "gelu_pytorch_tanh"),
};

static const rex_slot_name slot_names[] = {
    {REX_SLOT_FFN_NORM, "model.layers.%d.pre_feedforward_layernorm.weight"},
};

static rex_status finish(const rex_config *c, rex_shape *s, rex_err *e) {
    if (!(c->query_scalar > 0.0))
        return rex_fail(e, REX_EFORMAT, -1, "config has no `query_pre_attn_scalar`");
    if (c->window <= 0) return rex_fail(e, REX_EFORMAT, -1, "config has no `sliding_window`");
    s->act = REX_GELU_TANH;
    s->norm_plus1 = !c->plus1_done;
    s->qk_norm = s->sandwich = true;
    s->qkv_bias = s->o_bias = c->attn_bias;
    s->attn_scale = (float)(1.0 / __builtin_sqrt(c->query_scalar));
    s->embed_scale = (float)__builtin_sqrt((double)s->D);
    s->window = c->window;
    const int64_t every = c->pattern > 0 ? c->pattern : 6;
    for (int i = 0; !c->layer_types && i < s->L; i++) s->local[i] = (i + 1) % every != 0;
    return REX_OK;
}

static const char *const hf_types[] = {"gemma3_text", NULL};
static const char *const gguf_types[] = {"gemma3", NULL};

const rex_arch rex_arch_gemma3 = {
    .name = "gemma3",
    .hf_types = hf_types,
    .gguf_types = gguf_types,
    .hf_class = "Gemma3ForCausalLM",
    .key = keys,
    .n_key = sizeof keys / sizeof keys[0],
    .name_hf = slot_names,
    .n_name = sizeof slot_names / sizeof slot_names[0],
    .finish = finish,
};
