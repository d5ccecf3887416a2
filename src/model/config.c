/* SPDX-License-Identifier: MIT
 *
 * config.c: a config document to a checked shape. There is one road for all model files: what a
 * GGUF file says is turned into the same document first (gguf_config.c).
 *
 * Invariant: whatever this file accepts, forward.c computes; a value that would need other
 * arithmetic is an error that names the key, a key that nobody here knows is one warning.
 */
#include "arch.h"

#include <math.h>

/* Bounds that keep every product of sizes far from overflow. */
enum { MAX_HEADS = 1024, MAX_HEAD_DIM = 1024 };
static const int64_t max_width = 1 << 20;
static const int64_t max_vocab = 1 << 24;
static const int64_t max_context = 1 << 24;

static const rex_config_key common[] = {
    REX_CONFIG_KEY(I64, "hidden_size", width),
    REX_CONFIG_KEY(I64, "intermediate_size", ffn),
    REX_CONFIG_KEY(I64, "num_hidden_layers", layers),
    REX_CONFIG_KEY(I64, "num_attention_heads", heads),
    REX_CONFIG_KEY(I64, "num_key_value_heads", kv_heads),
    REX_CONFIG_KEY(I64, "head_dim", head_dim),
    REX_CONFIG_KEY(I64, "vocab_size", vocab),
    REX_CONFIG_KEY(I64, "max_position_embeddings", max_position),
    REX_CONFIG_KEY(I64, "bos_token_id", bos),
    REX_CONFIG_KEY(VAL, "eos_token_id", eos),
    REX_CONFIG_KEY(F64, "rms_norm_eps", eps),
    REX_CONFIG_KEY(F64, "rope_theta", theta),
    REX_CONFIG_KEY(VAL, "rope_scaling", rope_scaling),
    REX_CONFIG_KEY(VAL, "rope_parameters", rope_parameters),
    REX_CONFIG_KEY(F64, "partial_rotary_factor", partial),
    REX_CONFIG_KEY(I64, "rotary_dim", rotary_dim),
    REX_CONFIG_KEY(VAL, "layer_types", layer_types),
    REX_CONFIG_KEY(BOOL, "tie_word_embeddings", tied),
    REX_CONFIG_KEY(BOOL, "attention_bias", attn_bias),
    REX_CONFIG_KEY(BOOL, "mlp_bias", mlp_bias),
    REX_CONFIG_IS("hidden_act", "silu|swish"),
    REX_CONFIG_IS("rope_interleaved", "false|null"),
    REX_CONFIG_IS("attn_logit_softcapping", "null"),
    REX_CONFIG_IS("final_logit_softcapping", "null"),
    REX_CONFIG_IS("quantization_config", "null"),
    REX_CONFIG_IS("num_local_experts", "null|0|1"),
    REX_CONFIG_IS("num_experts", "null|0|1"),
    REX_CONFIG_IS("use_bidirectional_attention", "false|null"),
    REX_CONFIG_IS("is_encoder_decoder", "false|null"),
    REX_CONFIG_IS("add_cross_attention", "false|null"),
    REX_CONFIG_IS("use_mrope", "false|null"),
    REX_CONFIG_IS("use_qk_norm", "false|null"),
    REX_CONFIG_IS("no_rope_layers", "null"),
    REX_CONFIG_IS("embedding_multiplier", "null|1|1.0"),
    REX_CONFIG_IS("residual_multiplier", "null|1|1.0"),
    REX_CONFIG_IS("attention_multiplier", "null"),
    REX_CONFIG_IS("logits_scaling", "null|1|1.0"),
    REX_CONFIG_SKIP("model_type"),
    REX_CONFIG_SKIP("architectures"),
    REX_CONFIG_SKIP("torch_dtype"),
    REX_CONFIG_SKIP("dtype"),
    REX_CONFIG_SKIP("transformers_version"),
    REX_CONFIG_SKIP("transformers.js_config"),
    REX_CONFIG_SKIP("use_cache"),
    REX_CONFIG_SKIP("initializer_range"),
    REX_CONFIG_SKIP("attention_dropout"),
    REX_CONFIG_SKIP("resid_pdrop"),
    REX_CONFIG_SKIP("embd_pdrop"),
    REX_CONFIG_SKIP("hidden_dropout"),
    REX_CONFIG_SKIP("pad_token_id"),
    REX_CONFIG_SKIP("pretraining_tp"), /* splits a product, the sum stays */
    REX_CONFIG_SKIP("is_llama_config"),
    REX_CONFIG_SKIP("auto_map"),
    REX_CONFIG_SKIP("_name_or_path"),
    REX_CONFIG_SKIP("_attn_implementation"),
    REX_CONFIG_SKIP("_attn_implementation_autoset"),
    REX_CONFIG_SKIP("output_attentions"),
    REX_CONFIG_SKIP("output_hidden_states"),
    REX_CONFIG_SKIP("return_dict"),
    REX_CONFIG_SKIP("chunk_size_feed_forward"),
    REX_CONFIG_SKIP("problem_type"),
    REX_CONFIG_SKIP("id2label"),
    REX_CONFIG_SKIP("label2id"),
    REX_CONFIG_SKIP("bad_words_ids"),
    REX_CONFIG_SKIP("unsloth_fixed"),
    REX_CONFIG_SKIP("unsloth_version"),
    REX_CONFIG_SKIP("cache_implementation"),
};

/* ---- one key ----------------------------------------------------------------------------- */

/* A scalar as it would stand in the document; for comparing with the allowed values. */
static rex_str scalar_text(const rex_jval *v) {
    switch (v->kind) {
    case REX_J_NULL: return rex_str_of("null");
    case REX_J_FALSE: return rex_str_of("false");
    case REX_J_TRUE: return rex_str_of("true");
    case REX_J_NUM:
    case REX_J_STR: return v->u.s;
    default: return rex_str_of(rex_json_kind_name(v->kind));
    }
}

static bool in_list(const char *list, rex_str s) {
    const char *p = list;
    while (*p) {
        const char *q = p;
        while (*q && *q != '|') q++;
        if (rex_str_eq(s, (rex_str){p, (size_t)(q - p)})) return true;
        p = *q ? q + 1 : q;
    }
    return false;
}

static rex_status take_key(const rex_config_key *k, const rex_jval *v, const char *what,
                           rex_config *c, rex_err *e) {
    char *const at = (char *)c + k->off;
    if (k->kind == REX_KEY_SKIP) return REX_OK;
    if (k->kind == REX_KEY_IS) {
        const rex_str s = scalar_text(v);
        if (in_list(k->allow, s)) return REX_OK;
        return rex_fail(e, REX_EUNSUP, v->at, "%s: `%s` is %.*s, only %s is implemented", what,
                        k->name, (int)(s.n > 40 ? 40 : s.n), s.p, k->allow);
    }
    if (v->kind == REX_J_NULL) return REX_OK;
    if (k->kind == REX_KEY_VAL) {
        *(const rex_jval **)(void *)at = v;
    } else if (k->kind == REX_KEY_BOOL) {
        if (v->kind != REX_J_TRUE && v->kind != REX_J_FALSE)
            return rex_fail(e, REX_EFORMAT, v->at, "%s: `%s` is %s, expected true or false", what,
                            k->name, rex_json_kind_name(v->kind));
        *(bool *)(void *)at = v->kind == REX_J_TRUE;
    } else {
        const rex_status st = k->kind == REX_KEY_I64
                                  ? rex_json_i64(v, k->name, (int64_t *)(void *)at, e)
                                  : rex_json_f64(v, k->name, (double *)(void *)at, e);
        if (st != REX_OK) return rex_fail_in(e, st, "%s", what);
    }
    return REX_OK;
}

static const rex_config_key *find_key(const rex_config_key *list, size_t n, rex_str name) {
    for (size_t i = 0; i < n; i++)
        if (rex_str_is(name, list[i].name)) return &list[i];
    return NULL;
}

static rex_status read_keys(const rex_arch *a, const rex_jval *doc, const char *what, rex_config *c,
                            rex_err *e) {
    for (uint32_t i = 0; i < doc->n; i++) {
        const rex_str name = doc->u.c.key[i];
        const rex_config_key *k = find_key(a->key, a->n_key, name);
        if (!k) k = find_key(common, sizeof common / sizeof common[0], name);
        if (!k) {
            rex_say(REX_LOG_WARN, "%s: config key `%.*s` is not known and has no effect here", what,
                    (int)name.n, name.p);
            continue;
        }
        REX_TRY(take_key(k, &doc->u.c.item[i], what, c, e));
    }
    return REX_OK;
}

/* ---- rotary embeddings ------------------------------------------------------------------- */

static rex_status member_f64(const rex_jval *obj, const char *key, bool need, const char *what,
                             double *out, rex_err *e) {
    const rex_jval *v = rex_json_get(obj, key);
    if (!v || v->kind == REX_J_NULL) {
        if (!need) return REX_OK;
        return rex_fail(e, REX_EFORMAT, obj->at, "%s: rope scaling without `%s`", what, key);
    }
    const rex_status st = rex_json_f64(v, key, out, e);
    if (st != REX_OK) return rex_fail_in(e, st, "%s: rope scaling", what);
    if (!(*out > 0.0 && *out < 1e15))
        return rex_fail(e, REX_EFORMAT, v->at, "%s: rope scaling `%s` is out of range", what, key);
    return REX_OK;
}

static rex_status member_factors(const rex_jval *obj, const char *key, int n, const char *what,
                                 float *out, rex_err *e) {
    const rex_jval *v = rex_json_get(obj, key);
    if (!v || v->kind != REX_J_ARR || v->n != (uint32_t)n)
        return rex_fail(e, REX_EFORMAT, obj->at,
                        "%s: rope scaling `%s` must be a list of %d numbers", what, key, n);
    for (int i = 0; i < n; i++) {
        double x = 0.0;
        REX_TRY(rex_json_f64(&v->u.c.item[i], key, &x, e));
        if (!(x > 0.0 && x < 1e9))
            return rex_fail(e, REX_EFORMAT, v->at,
                            "%s: rope scaling `%s` holds a number out of range", what, key);
        out[i] = (float)x;
    }
    return REX_OK;
}

/* Llama 3.1: long waves are stretched by `factor`, short ones are kept, those between are blended.
 */
static void llama3_fill(const rex_llama3 *p, double theta, int rot, float *out) {
    const double two_pi = 6.283185307179586;
    for (int i = 0; i < rot / 2; i++) {
        const double wave = two_pi * rex_pow(theta, 2.0 * i / rot);
        if (wave < p->old / p->high) {
            out[i] = 1.0F;
        } else if (wave > p->old / p->low) {
            out[i] = (float)p->factor;
        } else {
            const double smooth = (p->old / wave - p->low) / (p->high - p->low);
            out[i] = (float)(1.0 / ((1.0 - smooth) / p->factor + smooth));
        }
    }
}

static rex_status llama3_factors(const rex_jval *o, const char *what, double theta, int rot,
                                 float *out, rex_err *e) {
    rex_llama3 p = {0.0, 0.0, 0.0, 0.0};
    REX_TRY(member_f64(o, "factor", true, what, &p.factor, e));
    REX_TRY(member_f64(o, "low_freq_factor", true, what, &p.low, e));
    REX_TRY(member_f64(o, "high_freq_factor", true, what, &p.high, e));
    REX_TRY(member_f64(o, "original_max_position_embeddings", true, what, &p.old, e));
    if (!(p.high > p.low))
        return rex_fail(e, REX_EFORMAT, o->at,
                        "%s: rope scaling needs high_freq_factor > low_freq_factor", what);
    llama3_fill(&p, theta, rot, out);
    return REX_OK;
}

static double nearest(double x, double unit) { return floor(x / unit + 0.5) * unit; }

/* A blended factor f gives (1/f - 1/factor) / (1 - 1/factor) = A / wave - B with A = old / (high -
 * low) and B = low / (high - low), so two of them give A and B. A common multiple of old, low and
 * high cancels: low is taken as 1, as it is in every published model. */
bool rex_rope_as_llama3(const rex_rope *r, int rot, rex_llama3 *out) {
    float again[512];
    const double two_pi = 6.283185307179586;
    const int n = rot / 2;
    int at[2] = {-1, -1};
    double top = 1.0, s[2], w[2];
    if (!r->factor || n > 512) return false;
    for (int i = 0; i < n; i++) top = (double)r->factor[i] > top ? (double)r->factor[i] : top;
    for (int i = 0; i < n; i++) {
        const double f = (double)r->factor[i];
        if (f < 1.0001 || f > top * 0.9999) continue;
        at[at[0] >= 0] = i;
    }
    if (at[1] < 0) return false;
    for (int k = 0; k < 2; k++) {
        s[k] = (1.0 / (double)r->factor[at[k]] - 1.0 / top) / (1.0 - 1.0 / top);
        w[k] = two_pi * rex_pow(r->theta, 2.0 * at[k] / rot);
    }
    const double a = (s[0] - s[1]) / (1.0 / w[0] - 1.0 / w[1]);
    const double b = a / w[0] - s[0];
    if (!(b > 0.0)) return false;
    *out = (rex_llama3){nearest(top, 1e-3), 1.0, nearest(1.0 + 1.0 / b, 1e-3), nearest(a / b, 1.0)};
    if (!(out->high > 1.0 && out->old >= 1.0 && out->old < 1e12)) return false;
    llama3_fill(out, r->theta, rot, again);
    for (int i = 0; i < n; i++)
        if (!(fabs((double)again[i] - (double)r->factor[i]) <= 2e-6 * (double)again[i]))
            return false;
    return true;
}

/* Phi-3: two sets of factors. Which one holds is a property of the opened model, never of the
 * length of a sequence so far: otherwise the bits of a token would depend on what follows it. */
static rex_status longrope(const rex_jval *o, const rex_config *c, const char *what,
                           int64_t context, int rot, rex_shape *s, float *out, double *scale,
                           rex_err *e) {
    double old = (double)c->original_max;
    REX_TRY(member_f64(o, "original_max_position_embeddings", c->original_max <= 0, what, &old, e));
    if (!(old >= 2.0))
        return rex_fail(e, REX_EFORMAT, o->at,
                        "%s: `original_max_position_embeddings` is out of range", what);
    const bool is_long = context > 0 && (double)context > old;
    REX_TRY(member_factors(o, is_long ? "long_factor" : "short_factor", rot / 2, what, out, e));
    if (!is_long && (double)s->ctx > old) s->ctx = (int64_t)old;
    double factor = (double)c->max_position / old;
    REX_TRY(member_f64(o, "factor", false, what, &factor, e));
    *scale = factor <= 1.0 ? 1.0 : __builtin_sqrt(1.0 + rex_log(factor) / rex_log(old));
    return member_f64(o, "attention_factor", false, what, scale, e);
}

static rex_status read_rope(const rex_jval *o, const rex_config *c, const char *what,
                            int64_t context, rex_arena *arena, rex_shape *s, rex_rope *r,
                            rex_err *e) {
    if (!o || o->kind == REX_J_NULL) return REX_OK;
    if (o->kind != REX_J_OBJ)
        return rex_fail(e, REX_EFORMAT, o->at, "%s: rope scaling is %s, expected an object", what,
                        rex_json_kind_name(o->kind));
    const rex_jval *type = rex_json_get(o, "rope_type");
    if (!type) type = rex_json_get(o, "type");
    REX_TRY(member_f64(o, "rope_theta", false, what, &r->theta, e));
    const rex_str t = type ? scalar_text(type) : rex_str_of("default");
    if (rex_str_is(t, "default") || rex_str_is(t, "null")) return REX_OK;
    const int n = s->rot / 2;
    float *f = rex_arena_take(arena, (size_t)n, sizeof *f, e);
    if (!f) return REX_ENOMEM;
    r->factor = f;
    if (rex_str_is(t, "linear")) {
        double factor = 0.0;
        REX_TRY(member_f64(o, "factor", true, what, &factor, e));
        for (int i = 0; i < n; i++) f[i] = (float)factor;
        return REX_OK;
    }
    if (rex_str_is(t, "llama3")) return llama3_factors(o, what, r->theta, s->rot, f, e);
    if (rex_str_is(t, "factors")) return member_factors(o, "factors", n, what, f, e);
    if (rex_str_is(t, "longrope") || rex_str_is(t, "su"))
        return longrope(o, c, what, context, s->rot, s, f, &r->scale, e);
    return rex_fail(
        e, REX_EUNSUP, o->at,
        "%s: rope scaling `%.*s` is not implemented (default, linear, llama3, longrope are)", what,
        (int)(t.n > 40 ? 40 : t.n), t.p);
}

/* `rope_parameters` of newer configs holds what `rope_theta` and `rope_scaling` held, once for all
 * layers or once for each kind of layer. */
static rex_status read_ropes(const rex_config *c, const char *what, int64_t context,
                             rex_arena *arena, rex_shape *s, rex_err *e) {
    const rex_jval *p = c->rope_parameters;
    s->rope[0] = (rex_rope){c->theta, 1.0, NULL};
    s->rope[1] = (rex_rope){c->local_theta > 0.0 ? c->local_theta : c->theta, 1.0, NULL};
    const rex_jval *full = rex_json_get(p, "full_attention");
    const rex_jval *slid = rex_json_get(p, "sliding_attention");
    if (full || slid) {
        REX_TRY(read_rope(full, c, what, context, arena, s, &s->rope[0], e));
        return read_rope(slid, c, what, context, arena, s, &s->rope[1], e);
    }
    REX_TRY(read_rope(p ? p : c->rope_scaling, c, what, context, arena, s, &s->rope[0], e));
    if (!(c->local_theta > 0.0)) s->rope[1] = s->rope[0];
    return REX_OK;
}

void rex_rope_table(const rex_rope *r, int rot, int64_t n, float *cos_out, float *sin_out) {
    const int half = rot / 2;
    for (int i = 0; i < half; i++) {
        double freq = rex_pow(r->theta, -2.0 * i / rot);
        if (r->factor) freq /= (double)r->factor[i];
        for (int64_t t = 0; t < n; t++) {
            cos_out[t * half + i] = (float)(rex_cos((double)t * freq) * r->scale);
            sin_out[t * half + i] = (float)(rex_sin((double)t * freq) * r->scale);
        }
    }
}

/* ---- the shape --------------------------------------------------------------------------- */

static rex_status need(int64_t v, int64_t hi, const char *name, const char *what, rex_err *e) {
    if (v < 0) return rex_fail(e, REX_EFORMAT, -1, "%s: config has no `%s`", what, name);
    if (v < 1 || v > hi)
        return rex_fail(e, REX_ELIMIT, -1, "%s: `%s` is %lld, expected 1 to %lld", what, name,
                        (long long)v, (long long)hi);
    return REX_OK;
}

static rex_status layer_types(const rex_config *c, const char *what, rex_shape *s, rex_err *e) {
    const rex_jval *v = c->layer_types;
    if (!v) return REX_OK;
    if (v->kind != REX_J_ARR || v->n != (uint32_t)s->L)
        return rex_fail(e, REX_EFORMAT, v->at, "%s: `layer_types` must be a list of %d", what,
                        s->L);
    for (int i = 0; i < s->L; i++) {
        const rex_str t = scalar_text(&v->u.c.item[i]);
        const bool local = rex_str_is(t, "sliding_attention");
        if (!local && !rex_str_is(t, "full_attention"))
            return rex_fail(e, REX_EUNSUP, v->at, "%s: layer type `%.*s` is not implemented", what,
                            (int)(t.n > 40 ? 40 : t.n), t.p);
        s->local[i] = local;
    }
    return REX_OK;
}

static rex_status eos_ids(const rex_jval *v, const char *what, rex_shape *s, rex_err *e) {
    if (!v) return REX_OK;
    const uint32_t n = v->kind == REX_J_ARR ? v->n : 1;
    if (n > REX_MAX_EOS)
        return rex_fail(e, REX_ELIMIT, v->at, "%s: more than %d end tokens", what,
                        (int)REX_MAX_EOS);
    s->n_eos = 0;
    for (uint32_t i = 0; i < n; i++) {
        int64_t id = 0;
        REX_TRY(rex_json_i64(v->kind == REX_J_ARR ? &v->u.c.item[i] : v, "eos_token_id", &id, e));
        if (id >= 0 && id < s->V) s->eos[s->n_eos++] = (int32_t)id;
    }
    return REX_OK;
}

static rex_status sizes(const rex_config *c, const char *what, int64_t context, rex_shape *s,
                        rex_err *e) {
    REX_TRY(need(c->layers, REX_MAX_LAYERS, "num_hidden_layers", what, e));
    REX_TRY(need(c->heads, MAX_HEADS, "num_attention_heads", what, e));
    REX_TRY(need(c->width, max_width, "hidden_size", what, e));
    REX_TRY(need(c->ffn, max_width, "intermediate_size", what, e));
    REX_TRY(need(c->vocab, max_vocab, "vocab_size", what, e));
    REX_TRY(need(c->max_position, max_context, "max_position_embeddings", what, e));
    const int64_t kv = c->kv_heads < 0 ? c->heads : c->kv_heads;
    REX_TRY(need(kv, c->heads, "num_key_value_heads", what, e));
    if (c->heads % kv != 0)
        return rex_fail(e, REX_EFORMAT, -1,
                        "%s: %lld heads are no multiple of %lld key/value heads", what,
                        (long long)c->heads, (long long)kv);
    if (c->head_dim < 0 && c->width % c->heads != 0)
        return rex_fail(e, REX_EFORMAT, -1, "%s: hidden_size %lld is no multiple of %lld heads",
                        what, (long long)c->width, (long long)c->heads);
    const int64_t hd = c->head_dim < 0 ? c->width / c->heads : c->head_dim;
    REX_TRY(need(hd, MAX_HEAD_DIM, "head_dim", what, e));
    if (hd % 8 != 0)
        return rex_fail(e, REX_EUNSUP, -1, "%s: head size %lld is no multiple of 8", what,
                        (long long)hd);
    const int64_t rot = c->rotary_dim > 0 ? c->rotary_dim : (int64_t)((double)hd * c->partial);
    if (rot < 2 || rot > hd || rot % 2 != 0)
        return rex_fail(e, REX_EUNSUP, -1,
                        "%s: %lld of %lld head elements rotated, expected an even part", what,
                        (long long)rot, (long long)hd);
    if (!(c->eps > 1e-30 && c->eps < 1.0))
        return rex_fail(e, REX_EFORMAT, -1, "%s: `rms_norm_eps` is absent or out of range", what);
    *s = (rex_shape){.L = (int)c->layers,
                     .H = (int)c->heads,
                     .K = (int)kv,
                     .hd = (int)hd,
                     .rot = (int)rot,
                     .D = c->width,
                     .F = c->ffn,
                     .V = c->vocab,
                     .ctx = c->max_position,
                     .eps = (float)c->eps,
                     .embed_scale = 1.0F,
                     .tied = c->tied,
                     .bos = -1};
    s->attn_scale = (float)(1.0 / __builtin_sqrt((double)hd));
    if (c->bos >= 0 && c->bos < s->V) s->bos = (int32_t)c->bos;
    if (context > s->ctx)
        return rex_fail(e, REX_EARG, -1, "%s: a context of %lld was asked for, the model has %lld",
                        what, (long long)context, (long long)s->ctx);
    return REX_OK;
}

rex_status rex_shape_read(const rex_arch *a, const rex_jval *doc, const char *what, int64_t context,
                          rex_arena *arena, rex_shape *out, rex_err *e) {
    if (doc->kind != REX_J_OBJ)
        return rex_fail(e, REX_EFORMAT, doc->at, "%s: config is %s, expected an object", what,
                        rex_json_kind_name(doc->kind));
    rex_config c = {.layers = -1,
                    .heads = -1,
                    .kv_heads = -1,
                    .head_dim = -1,
                    .width = -1,
                    .ffn = -1,
                    .vocab = -1,
                    .max_position = -1,
                    .original_max = -1,
                    .window = -1,
                    .pattern = -1,
                    .window_from = -1,
                    .bos = -1,
                    .rotary_dim = -1,
                    .theta = 10000.0,
                    .partial = 1.0};
    REX_TRY(read_keys(a, doc, what, &c, e));
    const rex_jval *p = rex_json_get(c.rope_parameters, "partial_rotary_factor");
    if (p && p->kind != REX_J_NULL)
        REX_TRY(rex_json_f64(p, "partial_rotary_factor", &c.partial, e));
    if (!(c.partial > 0.0 && c.partial <= 1.0))
        return rex_fail(e, REX_EFORMAT, -1, "%s: `partial_rotary_factor` must lie in (0, 1]", what);
    rex_shape *s = out;
    REX_TRY(sizes(&c, what, context, s, e));
    REX_TRY(layer_types(&c, what, s, e));
    REX_TRY(eos_ids(c.eos, what, s, e));
    const rex_status st = a->finish(&c, s, e);
    if (st != REX_OK) return rex_fail_in(e, st, "%s", what);
    REX_TRY(read_ropes(&c, what, context, arena, s, e));
    for (int i = 0; i < s->L; i++)
        if (s->local[i] && s->window <= 0)
            return rex_fail(e, REX_EFORMAT, -1,
                            "%s: layer %d slides but there is no `sliding_window`", what, i);
    if (context > 0) s->ctx = context;
    return REX_OK;
}
