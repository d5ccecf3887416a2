/* SPDX-License-Identifier: MIT
 *
 * arch_mistral.c: Mistral 7B and relatives: Llama's block, every layer with a sliding window when
 * `sliding_window` is a number. In GGUF files they call themselves llama and have no window.
 */
#include "arch.h"

#include <string.h>

static const rex_config_key keys[] = {
    REX_CONFIG_KEY(I64, "sliding_window", window),
};

static rex_status finish(const rex_config *c, rex_shape *s, rex_err *e) {
    (void)e;
    if (c->window > 0) {
        s->window = c->window;
        if (!c->layer_types) memset(s->local, 1, (size_t)s->L);
    }
    return REX_OK;
}

static const char *const hf_types[] = {"mistral", NULL};
static const char *const gguf_types[] = {NULL};

const rex_arch rex_arch_mistral = {
    .name = "mistral",
    .hf_types = hf_types,
    .gguf_types = gguf_types,
    .hf_class = "MistralForCausalLM",
    .gguf_permuted = true,
    .key = keys,
    .n_key = sizeof keys / sizeof keys[0],
    .finish = finish,
};
