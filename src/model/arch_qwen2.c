/* SPDX-License-Identifier: MIT
 *
 * arch_qwen2.c: Qwen2 and Qwen2.5, dense: Llama's block with biases on q, k and v. With
 * `use_sliding_window` the layers from `max_window_layers` on slide.
 */
#include "arch.h"

static const rex_config_key keys[] = {
    REX_CONFIG_KEY(I64, "sliding_window", window),
    REX_CONFIG_KEY(I64, "max_window_layers", window_from),
    REX_CONFIG_KEY(BOOL, "use_sliding_window", use_window),
    REX_CONFIG_SKIP("attention_bias"), /* q, k and v always have one here */
};

static rex_status finish(const rex_config *c, rex_shape *s, rex_err *e) {
    (void)e;
    s->qkv_bias = true;
    if (c->use_window && c->window > 0) {
        s->window = c->window;
        for (int i = 0; !c->layer_types && i < s->L; i++) s->local[i] = i >= c->window_from;
    }
    return REX_OK;
}

static const char *const types[] = {"qwen2", NULL};

const rex_arch rex_arch_qwen2 = {
    .name = "qwen2",
    .hf_types = types,
    .gguf_types = types,
    .hf_class = "Qwen2ForCausalLM",
    .key = keys,
    .n_key = sizeof keys / sizeof keys[0],
    .finish = finish,
};
