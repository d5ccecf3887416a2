/* SPDX-License-Identifier: MIT
 *
 * arch.c: the registry of architectures and the names of tensors. Names that most families share
 * stand here once, per slot: the Hugging Face name (a family may give another one) and the GGUF
 * name (the same for all).
 */
#include "arch.h"

#include <string.h>

#define X(n) &rex_arch_##n,
static const rex_arch *const all[] = {REX_ARCHS(X)};
#undef X

static const struct {
    const char *hf, *gguf;
} names[REX_SLOT_COUNT] = {
    [REX_SLOT_EMBED] = {"model.embed_tokens.weight", "token_embd.weight"},
    [REX_SLOT_IN_NORM] = {"model.layers.%d.input_layernorm.weight", "blk.%d.attn_norm.weight"},
    [REX_SLOT_Q] = {"model.layers.%d.self_attn.q_proj.weight", "blk.%d.attn_q.weight"},
    [REX_SLOT_Q_B] = {"model.layers.%d.self_attn.q_proj.bias", "blk.%d.attn_q.bias"},
    [REX_SLOT_K] = {"model.layers.%d.self_attn.k_proj.weight", "blk.%d.attn_k.weight"},
    [REX_SLOT_K_B] = {"model.layers.%d.self_attn.k_proj.bias", "blk.%d.attn_k.bias"},
    [REX_SLOT_V] = {"model.layers.%d.self_attn.v_proj.weight", "blk.%d.attn_v.weight"},
    [REX_SLOT_V_B] = {"model.layers.%d.self_attn.v_proj.bias", "blk.%d.attn_v.bias"},
    [REX_SLOT_QKV] = {"model.layers.%d.self_attn.qkv_proj.weight", "blk.%d.attn_qkv.weight"},
    [REX_SLOT_Q_NORM] = {"model.layers.%d.self_attn.q_norm.weight", "blk.%d.attn_q_norm.weight"},
    [REX_SLOT_K_NORM] = {"model.layers.%d.self_attn.k_norm.weight", "blk.%d.attn_k_norm.weight"},
    [REX_SLOT_O] = {"model.layers.%d.self_attn.o_proj.weight", "blk.%d.attn_output.weight"},
    [REX_SLOT_O_B] = {"model.layers.%d.self_attn.o_proj.bias", "blk.%d.attn_output.bias"},
    [REX_SLOT_POST_ATTN_NORM] = {"model.layers.%d.post_attention_layernorm.weight",
                                 "blk.%d.post_attention_norm.weight"},
    [REX_SLOT_FFN_NORM] = {"model.layers.%d.post_attention_layernorm.weight",
                           "blk.%d.ffn_norm.weight"},
    [REX_SLOT_GATE] = {"model.layers.%d.mlp.gate_proj.weight", "blk.%d.ffn_gate.weight"},
    [REX_SLOT_GATE_B] = {"model.layers.%d.mlp.gate_proj.bias", "blk.%d.ffn_gate.bias"},
    [REX_SLOT_UP] = {"model.layers.%d.mlp.up_proj.weight", "blk.%d.ffn_up.weight"},
    [REX_SLOT_UP_B] = {"model.layers.%d.mlp.up_proj.bias", "blk.%d.ffn_up.bias"},
    [REX_SLOT_GATE_UP] = {"model.layers.%d.mlp.gate_up_proj.weight", "blk.%d.ffn_up.weight"},
    [REX_SLOT_DOWN] = {"model.layers.%d.mlp.down_proj.weight", "blk.%d.ffn_down.weight"},
    [REX_SLOT_DOWN_B] = {"model.layers.%d.mlp.down_proj.bias", "blk.%d.ffn_down.bias"},
    [REX_SLOT_POST_FFN_NORM] = {"model.layers.%d.post_feedforward_layernorm.weight",
                                "blk.%d.post_ffw_norm.weight"},
    [REX_SLOT_NORM] = {"model.norm.weight", "output_norm.weight"},
    [REX_SLOT_HEAD] = {"lm_head.weight", "output.weight"},
};

#define X(name, per_layer) per_layer,
static const bool per_layer[REX_SLOT_COUNT] = {REX_SLOTS(X)};
#undef X

const rex_arch *rex_arch_find(rex_str type, bool gguf) {
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        const char *const *t = gguf ? all[i]->gguf_types : all[i]->hf_types;
        for (; *t; t++)
            if (rex_str_is(type, *t)) return all[i];
    }
    return NULL;
}

const char *rex_arch_names(void) {
#define X(n) ", " #n
    static const char list[] = "" REX_ARCHS(X);
#undef X
    return list + strlen(", ");
}

const char *rex_slot_hf(const rex_arch *a, rex_slot slot) {
    for (size_t i = 0; i < a->n_name; i++)
        if (a->name_hf[i].slot == slot) return a->name_hf[i].hf;
    return names[slot].hf;
}

const char *rex_slot_gguf(rex_slot slot) { return names[slot].gguf; }

bool rex_slot_per_layer(rex_slot slot) { return per_layer[slot]; }
