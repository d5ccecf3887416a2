/* SPDX-License-Identifier: MIT
 *
 * gguf_config.c: the metadata of a GGUF file as the config document that config.c reads, so that
 * both kinds of model files go through one set of checks. Version 3 of the format; the key names
 * are those that its specification and the common converters write.
 *
 * Where a converter has already folded a setting into the weights (Gemma's 1 + w, the frequency
 * factors of Llama 3.1), the document says so.
 */
#include "model.h"

#include <string.h>

/* "<architecture>.<suffix>" and the name that config.c knows. */
static const struct {
    const char *suffix, *name;
} table[] = {
    {"block_count", "num_hidden_layers"},
    {"context_length", "max_position_embeddings"},
    {"embedding_length", "hidden_size"},
    {"feed_forward_length", "intermediate_size"},
    {"attention.head_count", "num_attention_heads"},
    {"attention.head_count_kv", "num_key_value_heads"},
    {"attention.layer_norm_rms_epsilon", "rms_norm_eps"},
    {"attention.key_length", "head_dim"},
    {"attention.sliding_window", "sliding_window"},
    {"attention.sliding_window_pattern", "sliding_window_pattern"},
    {"rope.dimension_count", "rotary_dim"},
    {"rope.freq_base", "rope_theta"},
    {"rope.freq_base_swa", "rope_local_base_freq"},
    {"attn_logit_softcapping", "attn_logit_softcapping"},
    {"final_logit_softcapping", "final_logit_softcapping"},
    {"expert_count", "num_experts"},
};

/* Read elsewhere, or without effect. */
static const char *const known[] = {
    "vocab_size", "attention.value_length", "rope.scaling.type", "rope.scaling.factor",
    "rope.scaling.original_context_length", "rope.scaling.attn_factor", "rope.scaling.finetuned",
    "expert_used_count",
};

static const rex_gguf_meta *meta(const rex_gguf *g, rex_str arch, const char *suffix) {
    char key[160];
    const size_t n = strlen(suffix);
    if (arch.n + n + 2 > sizeof key) return NULL;
    memcpy(key, arch.p, arch.n);
    key[arch.n] = '.';
    memcpy(key + arch.n + 1, suffix, n + 1);
    return rex_gguf_meta_find(g, key);
}

static bool is_real(rex_gguf_kind k) { return k == REX_G_F32 || k == REX_G_F64; }

/* A scalar of any kind as JSON. An f32 is written as the shortest decimal of its own precision: the
 * writer had a decimal number such as 1e-5 in mind. */
static void put_scalar(rex_jw *w, const rex_gguf_meta *m) {
    if (m->kind == REX_G_BOOL) rex_jw_bool(w, rex_gguf_elem_i64(m, 0) != 0);
    else if (m->kind == REX_G_F32) rex_jw_f32(w, (float)rex_gguf_elem_f64(m, 0));
    else if (is_real(m->kind)) rex_jw_f64(w, rex_gguf_elem_f64(m, 0));
    else rex_jw_i64(w, rex_gguf_elem_i64(m, 0));
}

static rex_status put_floats(rex_jw *w, const rex_tensor *t, const char *key, rex_err *e) {
    enum { MAX = 1024 };
    float v[MAX];
    if (!rex_dtype_get(t->type)->wide || t->rows != 1 || t->cols > MAX || t->cols % 8 != 0) {
        if (t->type != REX_T_F32 || t->rows != 1 || t->cols > MAX)
            return rex_fail(e, REX_EFORMAT, -1, "tensor %.*s must be one row of F32",
                            (int)t->name.n, t->name.p);
    }
    rex_tensor_get_f32(t, 0, 0, t->cols, v);
    rex_jw_key(w, key);
    rex_jw_arr(w);
    for (int64_t i = 0; i < t->cols; i++) {
        if (!(v[i] > 0.0F && v[i] < 1e9F))
            return rex_fail(e, REX_EFORMAT, -1, "tensor %.*s holds a factor out of range",
                            (int)t->name.n, t->name.p);
        rex_jw_f32(w, v[i]);
    }
    rex_jw_arr_end(w);
    return REX_OK;
}

/* Whether an attention factor is the rounded value of LongRoPE's own formula (config.c): then the
 * formula stands, which is exact. */
static bool follows(const rex_gguf *g, rex_str arch, const rex_gguf_meta *attn,
                    const rex_gguf_meta *old) {
    const rex_gguf_meta *const ctx = meta(g, arch, "context_length");
    if (!ctx || !old || ctx->kind == REX_G_ARR || old->kind == REX_G_ARR) return false;
    const double most = (double)rex_gguf_elem_i64(ctx, 0), was = (double)rex_gguf_elem_i64(old, 0);
    if (!(was >= 2.0 && most > was)) return false;
    const double scale = __builtin_sqrt(1.0 + rex_log(most / was) / rex_log(was));
    return (float)rex_gguf_elem_f64(attn, 0) == (float)scale;
}

static rex_status put_rope(const rex_gguf *g, rex_str arch, rex_jw *w, rex_err *e) {
    const rex_gguf_meta *type = meta(g, arch, "rope.scaling.type");
    const rex_gguf_meta *factor = meta(g, arch, "rope.scaling.factor");
    const rex_gguf_meta *old = meta(g, arch, "rope.scaling.original_context_length");
    const rex_gguf_meta *attn = meta(g, arch, "rope.scaling.attn_factor");
    const rex_tensor *freqs = rex_gguf_find(g, "rope_freqs.weight");
    const rex_tensor *longer = rex_gguf_find(g, "rope_factors_long.weight");
    const rex_tensor *shorter = rex_gguf_find(g, "rope_factors_short.weight");
    if (old && old->kind != REX_G_ARR && longer) {
        rex_jw_key(w, "original_max_position_embeddings");
        put_scalar(w, old);
    }
    if (longer && shorter) {
        rex_jw_key(w, "rope_scaling");
        rex_jw_obj(w);
        rex_jw_key(w, "rope_type");
        rex_jw_cstr(w, "longrope");
        if (attn && attn->kind != REX_G_ARR && !follows(g, arch, attn, old)) {
            rex_jw_key(w, "attention_factor");
            put_scalar(w, attn);
        }
        if (old && old->kind != REX_G_ARR) {
            rex_jw_key(w, "original_max_position_embeddings");
            put_scalar(w, old);
        }
        REX_TRY(put_floats(w, shorter, "short_factor", e));
        REX_TRY(put_floats(w, longer, "long_factor", e));
        rex_jw_obj_end(w);
        return REX_OK;
    }
    if (freqs) {
        rex_jw_key(w, "rope_scaling");
        rex_jw_obj(w);
        rex_jw_key(w, "rope_type");
        rex_jw_cstr(w, "factors");
        REX_TRY(put_floats(w, freqs, "factors", e));
        rex_jw_obj_end(w);
        return REX_OK;
    }
    if (type && type->kind == REX_G_STR && !rex_str_is(type->str[0], "none")) {
        rex_jw_key(w, "rope_scaling");
        rex_jw_obj(w);
        rex_jw_key(w, "rope_type");
        rex_jw_str(w, type->str[0]);
        if (factor && factor->kind != REX_G_ARR) {
            rex_jw_key(w, "factor");
            put_scalar(w, factor);
        }
        rex_jw_obj_end(w);
    }
    return REX_OK;
}

static void warn_unknown(const rex_gguf *g, rex_str arch, const char *path) {
    for (size_t i = 0; i < rex_gguf_meta_count(g); i++) {
        const rex_gguf_meta *m = rex_gguf_meta_at(g, i);
        if (m->key.n <= arch.n + 1 || memcmp(m->key.p, arch.p, arch.n) != 0 ||
            m->key.p[arch.n] != '.')
            continue;
        const rex_str s = {m->key.p + arch.n + 1, m->key.n - arch.n - 1};
        bool found = false;
        for (size_t j = 0; j < sizeof table / sizeof table[0]; j++)
            found |= rex_str_is(s, table[j].suffix);
        for (size_t j = 0; j < sizeof known / sizeof known[0]; j++)
            found |= rex_str_is(s, known[j]);
        if (!found)
            rex_say(REX_LOG_WARN, "%s: metadata key `%.*s` is not known and has no effect here",
                    path, (int)m->key.n, m->key.p);
    }
}

static void put_tokens(const rex_gguf *g, rex_jw *w) {
    const rex_gguf_meta *bos = rex_gguf_meta_find(g, "tokenizer.ggml.bos_token_id");
    const rex_gguf_meta *eos = rex_gguf_meta_find(g, "tokenizer.ggml.eos_token_id");
    const rex_gguf_meta *eot = rex_gguf_meta_find(g, "tokenizer.ggml.eot_token_id");
    if (bos && bos->kind != REX_G_ARR && bos->kind != REX_G_STR) {
        rex_jw_key(w, "bos_token_id");
        put_scalar(w, bos);
    }
    if (eos && eos->kind != REX_G_ARR && eos->kind != REX_G_STR) {
        rex_jw_key(w, "eos_token_id");
        rex_jw_arr(w);
        put_scalar(w, eos);
        if (eot && eot->kind != REX_G_ARR && eot->kind != REX_G_STR) put_scalar(w, eot);
        rex_jw_arr_end(w);
    }
}

/* Gemma's converter leaves settings out that follow from the size. */
static void put_gemma3(const rex_gguf *g, rex_str arch, rex_jw *w) {
    const rex_gguf_meta *hd = meta(g, arch, "attention.key_length");
    const rex_gguf_meta *layers = meta(g, arch, "block_count");
    const rex_gguf_meta *width = meta(g, arch, "embedding_length");
    const rex_gguf_meta *heads = meta(g, arch, "attention.head_count");
    rex_jw_key(w, "norm_weights_done");
    rex_jw_bool(w, true);
    if (!meta(g, arch, "rope.freq_base_swa")) {
        rex_jw_key(w, "rope_local_base_freq");
        rex_jw_f64(w, 10000.0);
    }
    /* The 27B model (62 layers) scales its scores by the width of a head's share of D. */
    const bool big = layers && width && heads && rex_gguf_elem_i64(layers, 0) == 62;
    rex_jw_key(w, "query_pre_attn_scalar");
    const int64_t h = heads ? rex_gguf_elem_i64(heads, 0) : 0;
    if (big && h > 0) rex_jw_i64(w, rex_gguf_elem_i64(width, 0) / h);
    else rex_jw_i64(w, hd ? rex_gguf_elem_i64(hd, 0) : 0);
}

static rex_status put_sizes(const rex_gguf *g, const rex_arch *a, rex_str arch, rex_jw *w,
                            rex_err *e) {
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        const rex_gguf_meta *m = meta(g, arch, table[i].suffix);
        if (!m) continue;
        if (m->kind == REX_G_ARR || m->kind == REX_G_STR)
            return rex_fail(e, REX_EUNSUP, -1, "metadata key `%.*s` is no single number",
                            (int)m->key.n, m->key.p);
        rex_jw_key(w, table[i].name);
        put_scalar(w, m);
    }
    const rex_gguf_meta *k = meta(g, arch, "attention.key_length");
    const rex_gguf_meta *v = meta(g, arch, "attention.value_length");
    if (k && v && rex_gguf_elem_i64(k, 0) != rex_gguf_elem_i64(v, 0))
        return rex_fail(e, REX_EUNSUP, -1,
                        "keys of %lld and values of %lld elements are not implemented",
                        (long long)rex_gguf_elem_i64(k, 0), (long long)rex_gguf_elem_i64(v, 0));
    const rex_tensor *embed = rex_gguf_find(g, "token_embd.weight");
    if (!embed) return rex_fail(e, REX_EFORMAT, -1, "tensor token_embd.weight is missing");
    rex_jw_key(w, "vocab_size");
    rex_jw_i64(w, embed->rows);
    rex_jw_key(w, "tie_word_embeddings");
    rex_jw_bool(w, !rex_gguf_find(g, "output.weight"));
    if (a != &rex_arch_phi3) {
        rex_jw_key(w, "attention_bias");
        rex_jw_bool(w, rex_gguf_find(g, "blk.0.attn_q.bias") != NULL);
        rex_jw_key(w, "mlp_bias");
        rex_jw_bool(w, rex_gguf_find(g, "blk.0.ffn_gate.bias") != NULL);
    }
    return REX_OK;
}

rex_status rex_gguf_config(const rex_gguf *g, const char *path, rex_buf *out, const rex_arch **arch,
                           rex_err *e) {
    rex_str type;
    REX_TRY(rex_gguf_str(g, "general.architecture", &type, e));
    const rex_gguf_meta *split = rex_gguf_meta_find(g, "split.count");
    if (split && rex_gguf_elem_i64(split, 0) > 1)
        return rex_fail(e, REX_EUNSUP, -1,
                        "%s: one part of a split GGUF file; join the parts first", path);
    *arch = rex_arch_find(type, true);
    if (!*arch)
        return rex_fail(e, REX_EUNSUP, -1, "%s: architecture `%.*s` is not implemented (%s are)",
                        path, (int)(type.n > 40 ? 40 : type.n), type.p, rex_arch_names());
    rex_jw w;
    rex_jw_init(&w, out);
    rex_jw_obj(&w);
    rex_status st = put_sizes(g, *arch, type, &w, e);
    if (st == REX_OK) st = put_rope(g, type, &w, e);
    if (st != REX_OK) return rex_fail_in(e, st, "%s", path);
    put_tokens(g, &w);
    if (*arch == &rex_arch_gemma3) put_gemma3(g, type, &w);
    rex_jw_obj_end(&w);
    warn_unknown(g, type, path);
    return rex_buf_check(out, e);
}
