/* SPDX-License-Identifier: MIT
 *
 * export_gguf.c: a model as a GGUF file, version 3, in the keys, tensor names and orientations that
 * the common converters write and gguf_config.c reads: rows of q and k interleaved where the
 * architecture has it so, norms as 1 + w, frequency factors as tensors. What GGUF derives by rule
 * (which layers slide, how scores are scaled) must follow from the rule: the file is read back and
 * its shape compared with the model's, member by member, before it gets its name. And the way back
 * for the one part that weights do not hold: the tokenizer of a GGUF file as files of a folder.
 */
#include "export.h"

#include "../tokenizer/tokenizer.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const rex_dtype types[] = {REX_T_F32, REX_T_F16, REX_T_BF16, REX_T_Q8_0};
static const int file_types[] = {0, 1, 32, 7}; /* general.file_type */

typedef struct {
    rex_exporting *x;
    rex_gguf_out *out;
    const char *arch;
    char key[160];
} writer;

static const char *key(writer *w, const char *suffix) {
    (void)snprintf(w->key, sizeof w->key, "%s.%s", w->arch, suffix);
    return w->key;
}

static void put_u32(writer *w, const char *suffix, int64_t v) {
    rex_gguf_out_i64(w->out, key(w, suffix), REX_G_U32, v);
}

static void put_f32(writer *w, const char *suffix, double v) {
    rex_gguf_out_f32(w->out, key(w, suffix), (float)v);
}

/* Mistral's block without a window that matters is Llama's; GGUF has no name of its own for it. */
static rex_status arch_name(const rex_model *m, const char **out, rex_err *e) {
    *out = m->src.arch->gguf_types[0];
    if (*out) return REX_OK;
    *out = "llama";
    if (m->s.window <= 0 || m->s.window >= m->s.ctx) return REX_OK;
    return rex_fail(e, REX_EUNSUP, -1,
                    "%s: a sliding window of %lld positions has no place in GGUF's llama "
                    "architecture",
                    m->src.path, (long long)m->s.window);
}

/* ---- metadata ---------------------------------------------------------------------------- */

/* The period p of layers of which every p-th is global; 0: there is none. */
static int pattern_of(const rex_shape *s) {
    for (int p = 2; p <= s->L + 1; p++) {
        int i = 0;
        while (i < s->L && (s->local[i] != 0) == ((i + 1) % p != 0)) i++;
        if (i == s->L) return p;
    }
    return 0;
}

static const rex_jval *rope_scaling(const rex_model *m) {
    const rex_jval *const p = rex_json_get(m->src.config, "rope_parameters");
    const rex_jval *const full = rex_json_get(p, "full_attention");
    if (full) return full;
    return p ? p : rex_json_get(m->src.config, "rope_scaling");
}

static bool rope_is(const rex_jval *o, const char *name) {
    const rex_jval *t = rex_json_get(o, "rope_type");
    if (!t) t = rex_json_get(o, "type");
    return t && t->kind == REX_J_STR && rex_str_is(t->u.s, name);
}

static bool is_longrope(const rex_jval *o) { return rope_is(o, "longrope") || rope_is(o, "su"); }

static void put_rope(writer *w) {
    const rex_model *const m = w->x->m;
    const rex_jval *const o = rope_scaling(m);
    double v = 0.0;
    int64_t old = 0;
    put_u32(w, "rope.dimension_count", m->s.rot);
    put_f32(w, "rope.freq_base", m->s.rope[0].theta);
    if (m->src.arch == &rex_arch_gemma3) put_f32(w, "rope.freq_base_swa", m->s.rope[1].theta);
    if (rope_is(o, "linear") &&
        rex_json_f64(rex_json_get(o, "factor"), "factor", &v, NULL) == REX_OK) {
        rex_gguf_out_str(w->out, key(w, "rope.scaling.type"), rex_str_of("linear"));
        put_f32(w, "rope.scaling.factor", v);
    }
    if (!is_longrope(o)) return;
    const rex_jval *orig = rex_json_get(o, "original_max_position_embeddings");
    if (!orig) orig = rex_json_get(m->src.config, "original_max_position_embeddings");
    if (orig && rex_json_i64(orig, "original", &old, NULL) == REX_OK)
        put_u32(w, "rope.scaling.original_context_length", old);
    put_f32(w, "rope.scaling.attn_factor", m->s.rope[0].scale);
}

static void put_sizes(writer *w) {
    const rex_model *const m = w->x->m;
    const rex_shape *const s = &m->s;
    int64_t ctx = s->ctx; /* of LongRoPE the shape shows the short one */
    const rex_jval *const most = rex_json_get(m->src.config, "max_position_embeddings");
    if (most && rex_json_i64(most, "max_position_embeddings", &ctx, NULL) != REX_OK) ctx = s->ctx;
    put_u32(w, "block_count", s->L);
    put_u32(w, "context_length", ctx);
    put_u32(w, "embedding_length", s->D);
    put_u32(w, "feed_forward_length", s->F);
    put_u32(w, "attention.head_count", s->H);
    put_u32(w, "attention.head_count_kv", s->K);
    put_u32(w, "attention.key_length", s->hd);
    put_u32(w, "attention.value_length", s->hd);
    put_u32(w, "vocab_size", s->V);
    put_f32(w, "attention.layer_norm_rms_epsilon", (double)s->eps);
    const bool windowed = m->src.arch == &rex_arch_gemma3 || m->src.arch == &rex_arch_phi3;
    if (windowed && s->window > 0) put_u32(w, "attention.sliding_window", s->window);
    if (m->src.arch == &rex_arch_gemma3 && pattern_of(s) > 0)
        put_u32(w, "attention.sliding_window_pattern", pattern_of(s));
}

/* The tokenizer as it stands in the GGUF that the model came from. */
static void copy_tokenizer(writer *w, const rex_gguf *g) {
    for (size_t i = 0; i < rex_gguf_meta_count(g); i++) {
        const rex_gguf_meta *const m = rex_gguf_meta_at(g, i);
        if (m->key.n > 10 && memcmp(m->key.p, "tokenizer.", 10) == 0)
            rex_gguf_out_meta(w->out, m);
    }
}

static rex_status put_meta(writer *w, rex_err *e) {
    const rex_exporting *const x = w->x;
    rex_gguf_out_str(w->out, "general.architecture", rex_str_of(w->arch));
    rex_gguf_out_i64(w->out, "general.file_type", REX_G_U32, file_types[x->o.type]);
    rex_gguf_out_i64(w->out, "general.alignment", REX_G_U32, 32);
    put_sizes(w);
    put_rope(w);
    if (x->tok && x->m->src.gguf && !x->o.tokenizer) {
        copy_tokenizer(w, x->m->src.gguf);
        return REX_OK;
    }
    if (x->tok)
        return rex_tok_put_gguf(x->tok, x->o.tokenizer ? x->o.tokenizer : x->o.model, w->out, e);
    if (x->m->s.bos >= 0)
        rex_gguf_out_i64(w->out, "tokenizer.ggml.bos_token_id", REX_G_U32, x->m->s.bos);
    static const char *const end[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"};
    for (int i = 0; i < x->m->s.n_eos && i < 2; i++)
        rex_gguf_out_i64(w->out, end[i], REX_G_U32, x->m->s.eos[i]);
    return REX_OK;
}

/* ---- tensors ----------------------------------------------------------------------------- */

/* Vectors are f32; so is a matrix whose rows are no whole blocks. */
static rex_dtype type_of(const rex_exporting *x, const rex_weight *w) {
    const rex_dtype t = types[x->o.type];
    return w->vector || w->cols % rex_dtype_get(t)->block != 0 ? REX_T_F32 : t;
}

static rex_status put_factors(writer *w, const char *name, const float *v, int64_t n,
                              bool declare) {
    if (declare) {
        const rex_tensor t = {.name = rex_str_of(name), .type = REX_T_F32, .ndim = 1, .dim = {n}};
        rex_gguf_out_tensor(w->out, &t);
    } else {
        rex_gguf_out_add(w->out, v, (size_t)n * sizeof *v);
    }
    return REX_OK;
}

/* Factors of the frequencies: declared first, then written. */
static rex_status factors(writer *w, bool declare, rex_err *e) {
    static const char *const sets[] = {"long_factor", "short_factor"};
    static const char *const names[] = {"rope_factors_long.weight", "rope_factors_short.weight"};
    const rex_model *const m = w->x->m;
    const rex_jval *const o = rope_scaling(m);
    const int n = m->s.rot / 2;
    if (!m->s.rope[0].factor || rope_is(o, "linear")) return REX_OK;
    if (!is_longrope(o))
        return put_factors(w, "rope_freqs.weight", m->s.rope[0].factor, n, declare);
    float *const f = rex_arena_take(w->x->a, (size_t)n, sizeof *f, e);
    if (!f) return REX_ENOMEM;
    for (int k = 0; k < 2; k++) {
        const rex_jval *const v = rex_json_get(o, sets[k]);
        double one = 0.0;
        if (!v || v->n != (uint32_t)n)
            return rex_fail(e, REX_EFORMAT, -1, "%s: rope scaling without `%s` of %d numbers",
                            m->src.path, sets[k], n);
        for (int i = 0; i < n; i++) {
            REX_TRY(rex_json_f64(&v->u.c.item[i], sets[k], &one, e));
            f[i] = (float)one;
        }
        REX_TRY(put_factors(w, names[k], f, n, declare));
    }
    return REX_OK;
}

static rex_status declare(writer *w, rex_err *e) {
    const rex_exporting *const x = w->x;
    size_t wide = 0;
    REX_TRY(factors(w, true, e));
    for (size_t i = 0; i < x->n; i++) {
        const rex_weight *const v = &x->w[i];
        const char *const f = rex_slot_gguf(v->slot), *const mark = strstr(f, "%d");
        char name[128];
        if (mark)
            (void)snprintf(name, sizeof name, "%.*s%d%s", (int)(mark - f), f, v->layer, mark + 2);
        else (void)snprintf(name, sizeof name, "%s", f);
        rex_tensor t = {.name = rex_str_of(name), .type = type_of(x, v), .ndim = v->vector ? 1 : 2};
        t.dim[0] = v->vector ? v->cols : v->rows;
        t.dim[1] = v->cols;
        rex_gguf_out_tensor(w->out, &t);
        wide += !v->vector && t.type != types[x->o.type];
    }
    if (wide)
        rex_say(REX_LOG_WARN, "%zu matrices have rows that are no multiple of 32: they stay f32",
                wide);
    return REX_OK;
}

/* The row of the Hugging Face form that stands at place `at` of a turned matrix. */
static int64_t row_at(int64_t at, int64_t hd) {
    const int64_t i = at % hd;
    return at - i + (i % 2 == 0 ? i / 2 : hd / 2 + i / 2);
}

static rex_status put_turned_vector(writer *w, const rex_weight *v, rex_err *e) {
    rex_exporting *const x = w->x;
    float *const turned = (float *)(void *)x->bytes;
    REX_TRY(rex_weights_row(x->m, v, 0, x->row, e));
    for (int64_t i = 0; i < v->cols; i++) turned[i] = x->row[row_at(i, v->hd)];
    rex_gguf_out_add(w->out, turned, (size_t)v->cols * sizeof *turned);
    return REX_OK;
}

static rex_status put_tensor(writer *w, const rex_weight *v, bool turned, rex_err *e) {
    rex_exporting *const x = w->x;
    const bool turn = turned && v->hd > 0;
    if (v->vector && turn) return put_turned_vector(w, v, e);
    for (int64_t r = 0; r < v->rows; r++) {
        size_t n = 0;
        if (rex_cancelled()) return rex_fail(e, REX_ECANCEL, -1, "stopped; nothing was written");
        REX_TRY(rex_export_row(x, v, turn ? row_at(r, v->hd) : r, type_of(x, v), x->m->s.norm_plus1,
                               &n, e));
        rex_gguf_out_add(w->out, x->bytes, n);
    }
    return REX_OK;
}

/* ---- the file ---------------------------------------------------------------------------- */

static bool same_rope(const rex_rope *a, const rex_rope *b, int n) {
    if (a->theta != b->theta || a->scale != b->scale || !a->factor != !b->factor)
        return false;
    return !a->factor || memcmp(a->factor, b->factor, (size_t)n * sizeof *a->factor) == 0;
}

static bool same_layers(const rex_shape *a, const rex_shape *b) {
    for (int i = 0; i < a->L; i++) {
        const bool x = a->local[i] && a->window < a->ctx, y = b->local[i] && b->window < b->ctx;
        if (x != y || (x && a->window != b->window)) return false;
        if (!same_rope(&a->rope[a->local[i]], &b->rope[b->local[i]], a->rot / 2)) return false;
    }
    return true;
}

/* Every end token of the model still ends a text. */
static bool same_ends(const rex_shape *a, const rex_shape *b) {
    for (int i = 0; i < a->n_eos; i++) {
        int k = 0;
        while (k < b->n_eos && b->eos[k] != a->eos[i]) k++;
        if (k == b->n_eos) return false;
    }
    return true;
}

/* What of the model the file does not say; NULL: nothing. */
static const char *lost(const rex_shape *a, const rex_shape *b) {
    if (a->L != b->L || a->H != b->H || a->K != b->K || a->hd != b->hd || a->rot != b->rot ||
        a->D != b->D || a->F != b->F || a->V != b->V || a->tied != b->tied)
        return "its sizes";
    if (a->ctx != b->ctx) return "its context";
    if (a->eps != b->eps) return "the epsilon of its norms";
    if (a->attn_scale != b->attn_scale) return "how its scores are scaled";
    if (a->embed_scale != b->embed_scale || a->act != b->act) return "its embeddings or activation";
    if (a->qkv_bias != b->qkv_bias || a->o_bias != b->o_bias || a->mlp_bias != b->mlp_bias)
        return "its biases";
    if (a->qk_norm != b->qk_norm || a->sandwich != b->sandwich) return "its norms";
    if (!same_layers(a, b)) return "which layers slide, or their rotary frequencies";
    if (!same_ends(a, b)) return "all of its end tokens";
    return NULL;
}

static rex_status read_back(const rex_exporting *x, const char *path, rex_err *e) {
    rex_model *m = NULL;
    rex_model_opts o;
    rex_model_defaults(&o);
    o.config_only = true;
    REX_TRY(rex_model_open(path, &o, NULL, &m, e));
    const char *const what = lost(&x->m->s, &m->s);
    rex_model_close(m);
    if (!what) return REX_OK;
    return rex_fail(e, REX_EUNSUP, -1, "%s: GGUF has no way to say %s", x->o.model, what);
}

static rex_status write_file(writer *w, rex_err *e) {
    rex_exporting *const x = w->x;
    const bool turned = rex_arch_find(rex_str_of(w->arch), true)->gguf_permuted;
    REX_TRY(put_meta(w, e));
    REX_TRY(declare(w, e));
    REX_TRY(factors(w, false, e));
    for (size_t i = 0; i < x->n; i++) REX_TRY(put_tensor(w, &x->w[i], turned, e));
    return REX_OK;
}

rex_status rex_export_gguf(rex_exporting *x, rex_err *e) {
    writer w = {.x = x};
    rex_str part;
    REX_TRY(arch_name(x->m, &w.arch, e));
    REX_TRY(rex_str_fmt(x->a, &part, e, "%s.part", x->o.out));
    REX_TRY(rex_gguf_out_open(part.p, &w.out, e));
    rex_status s = write_file(&w, e);
    if (s != REX_OK) {
        rex_gguf_out_close(w.out);
        return s;
    }
    REX_TRY(rex_gguf_out_commit(w.out, e));
    s = read_back(x, part.p, e);
    if (s == REX_OK && rename(part.p, x->o.out) != 0)
        s = rex_fail(e, REX_EIO, -1, "%s: cannot be renamed: %s", part.p, strerror(errno));
    if (s != REX_OK) (void)unlink(part.p);
    return s;
}

/* ---- and back: the tokenizer of a GGUF base ------------------------------------------------- */

rex_status rex_export_tokenizer(const rex_gguf *g, const char *path, rex_arena *a,
                                rex_str *tokenizer, rex_str *config, rex_err *e) {
    rex_tok *t = NULL;
    rex_err why = {.at = -1};
    *tokenizer = *config = (rex_str){NULL, 0};
    if (!rex_gguf_meta_find(g, "tokenizer.ggml.model")) return REX_OK;
    rex_status s = rex_tok_open(path, &t, &why);
    if (s == REX_OK) s = rex_tok_put_json(t, path, a, tokenizer, config, &why);
    rex_tok_close(t);
    if (s == REX_OK) return REX_OK;
    *tokenizer = *config = (rex_str){NULL, 0};
    if (s != REX_EUNSUP) return rex_fail(e, s, why.at, "%s", why.text);
    rex_say(REX_LOG_WARN, "%s", why.text);
    return REX_OK;
}
