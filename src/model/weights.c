/* SPDX-License-Identifier: MIT
 *
 * weights.c: the list of a model's tensors from its shape alone, and their rows from its file. The
 * order is that of rex_model_params; rows come as the Hugging Face form has them, so that whoever
 * writes them need not know where they came from.
 */
#include "weights.h"

typedef struct {
    const rex_model *m;
    rex_weight *w;
    size_t n;
} listing;

static void put(listing *l, rex_weight w) {
    if (l->w) l->w[l->n] = w;
    l->n++;
}

static void vector(listing *l, rex_slot slot, int layer, int64_t n, bool norm) {
    put(l, (rex_weight){.slot = slot, .layer = layer, .vector = true, .norm = norm, .rows = 1,
                        .cols = n});
}

/* A linear layer and, behind it, its bias. */
static void linear(listing *l, rex_slot slot, int layer, rex_slot bias, bool biased, int64_t hd) {
    const rex_model *const m = l->m;
    rex_lin_id id;
    int64_t rows, cols;
    if (!rex_slot_lin(&m->s, slot, &id, &rows, &cols)) return;
    put(l, (rex_weight){.slot = slot, .layer = layer, .rows = rows, .cols = cols, .hd = hd,
                        .low = m->adapter ? m->layer[layer].lin[id].low : NULL});
    if (!biased) return;
    put(l, (rex_weight){.slot = bias, .layer = layer, .vector = true, .rows = 1, .cols = rows,
                        .hd = hd});
}

static void layer(listing *l, int i) {
    const rex_shape *const s = &l->m->s;
    vector(l, REX_SLOT_IN_NORM, i, s->D, true);
    linear(l, REX_SLOT_QKV, i, REX_SLOT_COUNT, false, 0);
    linear(l, REX_SLOT_Q, i, REX_SLOT_Q_B, s->qkv_bias, s->hd);
    linear(l, REX_SLOT_K, i, REX_SLOT_K_B, s->qkv_bias, s->hd);
    linear(l, REX_SLOT_V, i, REX_SLOT_V_B, s->qkv_bias, 0);
    if (s->qk_norm) {
        vector(l, REX_SLOT_Q_NORM, i, s->hd, true);
        vector(l, REX_SLOT_K_NORM, i, s->hd, true);
    }
    linear(l, REX_SLOT_O, i, REX_SLOT_O_B, s->o_bias, 0);
    if (s->sandwich) vector(l, REX_SLOT_POST_ATTN_NORM, i, s->D, true);
    vector(l, REX_SLOT_FFN_NORM, i, s->D, true);
    linear(l, REX_SLOT_GATE_UP, i, REX_SLOT_COUNT, false, 0);
    linear(l, REX_SLOT_GATE, i, REX_SLOT_GATE_B, s->mlp_bias, 0);
    linear(l, REX_SLOT_UP, i, REX_SLOT_UP_B, s->mlp_bias, 0);
    linear(l, REX_SLOT_DOWN, i, REX_SLOT_DOWN_B, s->mlp_bias, 0);
    if (s->sandwich) vector(l, REX_SLOT_POST_FFN_NORM, i, s->D, true);
}

static void all(listing *l) {
    const rex_shape *const s = &l->m->s;
    l->n = 0;
    put(l, (rex_weight){.slot = REX_SLOT_EMBED, .rows = s->V, .cols = s->D});
    for (int i = 0; i < s->L; i++) layer(l, i);
    vector(l, REX_SLOT_NORM, 0, s->D, true);
    if (!s->tied) put(l, (rex_weight){.slot = REX_SLOT_HEAD, .rows = s->V, .cols = s->D});
}

rex_status rex_weights_list(const rex_model *m, rex_arena *a, rex_weight **out, size_t *n,
                            rex_err *e) {
    listing l = {.m = m};
    all(&l);
    l.w = rex_arena_take(a, l.n, sizeof *l.w, e);
    if (!l.w) return REX_ENOMEM;
    all(&l);
    *out = l.w;
    *n = l.n;
    return REX_OK;
}

rex_status rex_weights_row(rex_model *m, const rex_weight *w, int64_t row, float *out, rex_err *e) {
    const rex_tensor *t = NULL;
    REX_TRY(rex_source_weights(&m->src, e));
    REX_TRY(rex_source_get(&m->src, w->slot, w->layer, w->rows, w->cols, &t, e));
    const int64_t hd = m->src.gguf && m->src.arch->gguf_permuted ? w->hd : 0;
    if (w->vector && hd > 0) {
        const size_t each = t->row_bytes / (size_t)w->cols;
        if (rex_dtype_get(t->type)->block != 1)
            return rex_fail(e, REX_EUNSUP, -1, "%s: a bias of q or k in quantised blocks",
                            m->src.path);
        for (int64_t i = 0; i < w->cols; i++)
            rex_dtype_widen(t->type, t->data.p + (size_t)rex_gguf_row(i, hd) * each, 1, out + i);
        return REX_OK;
    }
    rex_tensor_get_f32(t, w->vector ? 0 : rex_gguf_row(row, hd), 0, w->cols, out);
    if (w->low) rex_adapter_merge_row(m->adapter, w->low, row, out);
    return REX_OK;
}
