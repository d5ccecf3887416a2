/* SPDX-License-Identifier: MIT
 *
 * test_model: every architecture against logits and hidden states recorded by transformers
 * (scripts/make_golden_models.py), the two forms of a trained model against each other, and the
 * invariances of docs/numerics.md by memcmp.
 */
#include "../src/model/model.h"
#include "rex_test.h"

#define GOLDEN "tests/golden/models/"

static const char *const golden[] = {"llama", "llama3", "llama_linear", "mistral", "qwen2",
                                     "qwen3", "phi3",   "phi3_long",    "gemma3"};
enum { N_GOLDEN = sizeof golden / sizeof golden[0] };

static rex_model *open_model(const char *path, int64_t context) {
    rex_model_opts o;
    rex_model_defaults(&o);
    o.context = context;
    rex_model *m = NULL;
    rex_err e = {0};
    if (rex_model_open(path, &o, NULL, &m, &e) != REX_OK)
        rex_test_fail(__FILE__, __LINE__, "%s", e.text);
    return m;
}

static rex_ctx *open_ctx(const rex_model *m, rex_pool *pool, int rows, int seqs, int64_t per_seq,
                         int tap) {
    rex_ctx_opts o;
    rex_ctx_defaults(&o);
    o.rows = rows;
    o.seqs = seqs;
    o.per_seq = per_seq;
    o.cache = per_seq * seqs + 32 * seqs;
    o.logit_rows = rows;
    o.tap = tap;
    rex_ctx *c = NULL;
    rex_err e = {0};
    if (rex_ctx_open(m, pool, &o, &c, &e) != REX_OK)
        rex_test_fail(__FILE__, __LINE__, "%s", e.text);
    return c;
}

/* All tokens in one step; their logits into `out`, valid until the next head. */
static const float *run_all(rex_ctx *c, const int32_t *id, int n) {
    rex_row row[128];
    const float *state[128];
    const int32_t seq = rex_seq_open(c);
    for (int i = 0; i < n; i++) {
        row[i] = (rex_row){seq, id[i]};
    }
    CHECK_STATUS(rex_ctx_step(c, row, n, NULL), REX_OK);
    for (int i = 0; i < n; i++) state[i] = rex_ctx_state(c, i);
    const float *l = rex_ctx_head(c, state, n);
    rex_seq_close(c, seq);
    return l;
}

/* The largest difference relative to the largest value of the row. */
static double off(const float *got, const float *want, int64_t rows, int64_t n) {
    double worst = 0.0;
    for (int64_t r = 0; r < rows; r++) {
        double diff = 0.0, scale = 0.0;
        for (int64_t i = 0; i < n; i++) {
            const double d = fabs((double)got[r * n + i] - (double)want[r * n + i]);
            if (!(d <= diff)) diff = d;
            scale = fmax(scale, fabs((double)want[r * n + i]));
        }
        if (!(diff / scale <= worst)) worst = diff / scale;
    }
    return worst;
}

static const float *f32(const rex_st *s, const char *name) {
    const rex_tensor *t = rex_st_find(s, name);
    return t ? (const float *)(const void *)t->data.p : NULL;
}

/* Every architecture gives the logits and the states of all layers of the reference. */
static void golden_model(const char *name) {
    char path[256];
    snprintf(path, sizeof path, GOLDEN "%s/golden.safetensors", name);
    rex_st *g = NULL;
    CHECK_STATUS(rex_st_open(path, &g, NULL), REX_OK);
    snprintf(path, sizeof path, GOLDEN "%s", name);
    const bool is_long = strcmp(name, "phi3_long") == 0;
    rex_model *m = open_model(path, is_long ? 64 : 0);
    const int32_t *ids = (const int32_t *)(const void *)rex_st_find(g, "ids")->data.p;
    const int T = (int)rex_st_find(g, "ids")->cols;
    const rex_shape *s = &m->s;
    for (int tap = -1; tap <= s->L; tap++) {
        rex_ctx *c = open_ctx(m, NULL, T, 1, T, tap);
        const float *l = run_all(c, ids, T);
        const double d = off(l, f32(g, "logits"), T, s->V);
        if (!(d < 1e-4)) rex_test_fail(__FILE__, __LINE__, "%s: logits off by %g", name, d);
        const float *want = tap < 0 ? f32(g, "hidden") + (int64_t)s->L * T * s->D
                            : tap == s->L ? f32(g, "raw_last")
                                          : f32(g, "hidden") + (int64_t)tap * T * s->D;
        const double h = off(rex_ctx_tap(c, 0), want, T, s->D);
        if (!(h < 1e-4)) rex_test_fail(__FILE__, __LINE__, "%s: layer %d off by %g", name, tap, h);
        rex_ctx_close(c);
    }
    rex_model_close(m);
    if (is_long) { /* the short frequencies hold up to the original context */
        m = open_model(path, 0);
        CHECK_EQ(m->s.ctx, 32);
        rex_ctx *c = open_ctx(m, NULL, 24, 1, 24, -1);
        const double d = off(run_all(c, ids, 24), f32(g, "logits_short"), 24, m->s.V);
        if (!(d < 1e-4)) rex_test_fail(__FILE__, __LINE__, "%s: short form off by %g", name, d);
        rex_ctx_close(c);
        rex_model_close(m);
    }
    rex_st_close(g);
}

START_TEST(t_model_golden) {
    for (int i = 0; i < N_GOLDEN; i++) golden_model(golden[i]);
}
END_TEST

/* One greedy token after the other, `n` of them behind token 1. */
static void greedy(const rex_model *m, int32_t *out, float *logit, int n) {
    rex_ctx *c = open_ctx(m, NULL, 1, 1, n + 1, -1);
    const int32_t seq = rex_seq_open(c);
    int32_t tok = 1;
    for (int i = 0; i < n; i++) {
        const rex_row row = {seq, tok};
        CHECK_STATUS(rex_ctx_step(c, &row, 1, NULL), REX_OK);
        const float *x = rex_ctx_state(c, 0);
        const float *l = rex_ctx_head(c, &x, 1);
        memcpy(logit + (int64_t)i * m->s.V, l, (size_t)m->s.V * sizeof *l);
        out[i] = tok = (int32_t)m->kern.argmax(l, m->s.V);
    }
    rex_ctx_close(c);
}

/* The Hugging Face form and the GGUF form of one model are the same model, bit for bit. */
START_TEST(t_model_two_forms) {
    enum { N = 200 };
    NEED_DATA(gguf, "models/stories260K/stories260K.gguf");
    char file[512];
    snprintf(file, sizeof file, "%s", gguf);
    NEED_DATA(hf, "models/stories260K/hf");
    rex_model *a = open_model(hf, 0), *b = open_model(file, 0);
    int32_t ia[N], ib[N];
    float *la = malloc(N * 512 * sizeof *la), *lb = malloc(N * 512 * sizeof *lb);
    CHECK_EQ(a->s.V, 512);
    greedy(a, ia, la, N);
    greedy(b, ib, lb, N);
    CHECK(memcmp(ia, ib, sizeof ia) == 0);
    CHECK(memcmp(la, lb, N * 512 * sizeof *la) == 0);
    /* "Once upon a time, there was a little girl named Lily." */
    static const int32_t once[] = {403, 407, 261, 378, 432, 383, 286, 261, 376, 298, 315, 421};
    for (int i = 0; i < (int)(sizeof once / sizeof once[0]); i++) CHECK_EQ(ia[i], once[i]);
    free(la);
    free(lb);
    rex_model_close(a);
    rex_model_close(b);
}
END_TEST

/* ---- caches ------------------------------------------------------------------------------ */

/* Rows `from` .. `to`-1 of ids into seq, in steps of `chunk`; the last state of the final norm. */
static void feed(rex_ctx * c, int32_t seq, const int32_t *id, int from, int to, int chunk,
                 float *last) {
    rex_row row[128];
    for (int i = from; i < to; i += chunk) {
        const int n = to - i < chunk ? to - i : chunk;
        for (int k = 0; k < n; k++) row[k] = (rex_row){seq, id[i + k]};
        CHECK_STATUS(rex_ctx_step(c, row, n, NULL), REX_OK);
        memcpy(last, rex_ctx_state(c, n - 1), (size_t)c->m->s.D * sizeof *last);
    }
}

/* A fork at any position goes on as if it had read everything itself, and leaves its parent alone.
 */
static void fork_anywhere(const char *name, bool kv_bf16) {
    enum { T = 48 };
    char path[256];
    snprintf(path, sizeof path, GOLDEN "%s", name);
    rex_model *m = open_model(path, 0);
    const int n = m->s.ctx < T ? (int)m->s.ctx : T;
    int32_t a[T], b[T];
    float want_a[64], want_b[64], got[64];
    rex_ctx_opts o;
    rex_ctx_defaults(&o);
    o.rows = T;
    o.seqs = 4;
    o.per_seq = n;
    o.cache = 6 * 64;
    o.kv_bf16 = kv_bf16;
    rex_ctx *c = NULL;
    CHECK_STATUS(rex_ctx_open(m, NULL, &o, &c, NULL), REX_OK);
    for (int at = 1; at < n; at++) {
        for (int i = 0; i < n; i++) {
            a[i] = (i * 31 + 5) % 96;
            b[i] = i < at ? a[i] : (i * 17 + 3) % 96;
        }
        const int32_t x = rex_seq_open(c), y = rex_seq_open(c);
        feed(c, x, a, 0, n, n, want_a);
        feed(c, y, b, 0, n, 5, want_b);
        rex_seq_close(c, y);
        const int32_t z = rex_seq_fork(c, x, at);
        CHECK(z >= 0);
        CHECK_EQ(rex_seq_len(c, z), at);
        feed(c, z, b, at, n, 3, got);
        CHECK_MEM(got, want_b, (size_t)m->s.D * sizeof *got);
        const int32_t w = rex_seq_fork(c, z, at);
        rex_seq_close(c, x);
        feed(c, w, a, at, n, 1, got);
        CHECK_MEM(got, want_a, (size_t)m->s.D * sizeof *got);
        rex_seq_close(c, z);
        rex_seq_close(c, w);
        CHECK_EQ(rex_ctx_free(c), c->cache.blocks);
    }
    rex_ctx_close(c);
    rex_model_close(m);
}

START_TEST(t_model_fork_anywhere) {
    fork_anywhere("llama", false);
    fork_anywhere("mistral", true); /* a window of 20 */
    fork_anywhere("gemma3", false); /* a window of 12 in two of three layers */
}
END_TEST

/* What a step cannot do is an error before anything has changed. */
START_TEST(t_model_refused_steps) {
    rex_model *m = open_model(GOLDEN "llama", 0);
    rex_ctx_opts o;
    rex_ctx_defaults(&o);
    o.rows = 64;
    o.seqs = 2;
    o.per_seq = 40;
    o.cache = 64;
    rex_ctx *c = NULL;
    rex_err e;
    CHECK_STATUS(rex_ctx_open(m, NULL, &o, &c, &e), REX_OK);
    const int32_t x = rex_seq_open(c), y = rex_seq_open(c);
    CHECK_EQ(rex_seq_open(c), -1);
    rex_row row[64];
    for (int i = 0; i < 64; i++) row[i] = (rex_row){x, 5};
    CHECK_STATUS(rex_ctx_step(c, row, 41, &e), REX_ELIMIT);
    CHECK_HAS(e.text, "context of 40");
    row[3].token = 96;
    CHECK_STATUS(rex_ctx_step(c, row, 5, &e), REX_EARG);
    CHECK_HAS(e.text, "96");
    row[3].token = -1;
    CHECK_STATUS(rex_ctx_step(c, row, 5, &e), REX_EARG);
    row[3].token = 5;
    CHECK_EQ(rex_seq_len(c, x), 0);
    CHECK_STATUS(rex_ctx_step(c, row, 40, &e), REX_OK); /* two blocks: all there are */
    row[0].seq = y;
    CHECK_STATUS(rex_ctx_step(c, row, 1, &e), REX_ELIMIT);
    CHECK_HAS(e.text, "cache is full");
    CHECK_EQ(rex_seq_fork(c, x, 40), -1);
    rex_seq_close(c, x);
    CHECK_STATUS(rex_ctx_step(c, row, 1, &e), REX_OK);
    rex_ctx_close(c);
    /* far more than there is: an answer before start that says what to lower */
    o.cache = (int64_t)1 << 40;
    CHECK_STATUS(rex_ctx_open(m, NULL, &o, &c, &e), REX_ENOMEM);
    CHECK_HAS(e.text, "lower the batch");
    CHECK(c == NULL);
    o.cache = 64;
    o.tap = 3;
    CHECK_STATUS(rex_ctx_open(m, NULL, &o, &c, &e), REX_EARG);
    CHECK_HAS(e.text, "layer 3");
    rex_model_close(m);
}
END_TEST

/* ---- configs ----------------------------------------------------------------------------- */

static char warned[4096];
static void on_log(void *ud, rex_log_level level, const char *text) {
    (void)ud;
    (void)level;
    strncat(warned, text, sizeof warned - strlen(warned) - 1);
}

/* The tiny llama's config with `old` replaced by `new`; reads the shape alone. */
static rex_status shape_with(const char *base, const char *old, const char *new, rex_shape *s,
                             rex_err *e) {
    char path[256];
    snprintf(path, sizeof path, GOLDEN "%s/config.json", base);
    FILE *f = fopen(path, "r");
    char text[8192], out[8192];
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    char *at = strstr(text, old);
    CHECK(at != NULL);
    if (!at) return REX_OK;
    snprintf(out, sizeof out, "%.*s%s%s", (int)(at - text), text, new, at + strlen(old));
    rex_arena *a = NULL;
    rex_jval *doc = NULL;
    CHECK_STATUS(rex_arena_open(0, &a, NULL), REX_OK);
    CHECK_STATUS(rex_json_parse(a, rex_str_of(out), "config", &doc, NULL), REX_OK);
    const rex_arch *arch = rex_arch_find(rex_json_get(doc, "model_type")->u.s, false);
    const rex_status st = rex_shape_read(arch, doc, "config", 0, a, s, e);
    rex_arena_close(a);
    return st;
}

/* A key that changes the arithmetic to something we do not compute is refused by name; an unknown
 * one is one warning. */
START_TEST(t_model_config_keys) {
    static const struct {
        const char *base, *old, *new, *says;
    } bad[] = {
        {"llama", "\"silu\"", "\"gelu\"", "hidden_act"},
        {"llama", "\"head_dim\": 8", "\"head_dim\": 12", "multiple of 8"},
        {"llama", "\"num_key_value_heads\": 2", "\"num_key_value_heads\": 3", "key/value heads"},
        {"llama", "\"rope_type\": \"default\"", "\"rope_type\": \"yarn\"", "yarn"},
        {"llama", "\"vocab_size\": 96", "\"vocab_size\": -1", "vocab_size"},
        {"llama", "\"vocab_size\": 96", "\"vocab_size\": 96.5", "vocab_size"},
        {"llama", "\"hidden_size\": 32,", "", "hidden_size"},
        {"llama", "\"rms_norm_eps\": 1e-06", "\"rms_norm_eps\": 0", "rms_norm_eps"},
        {"llama", "\"mlp_bias\": false", "\"mlp_bias\": \"no\"", "mlp_bias"},
        {"llama", "\"pretraining_tp\": 1", "\"final_logit_softcapping\": 30.0",
         "final_logit_softcapping"},
        {"llama", "\"pretraining_tp\": 1", "\"quantization_config\": {\"bits\": 4}",
         "quantization_config"},
        {"gemma3", "\"attn_logit_softcapping\": null", "\"attn_logit_softcapping\": 50.0",
         "softcapping"},
        {"gemma3", "\"use_bidirectional_attention\": false",
         "\"use_bidirectional_attention\": true", "use_bidirectional_attention"},
        {"gemma3", "\"sliding_window\": 12", "\"sliding_window\": null", "sliding_window"},
        {"qwen3", "\"full_attention\"", "\"linear_attention\"", "linear_attention"},
        {"phi3_long", "\"long_factor\": [", "\"long_factor\": [1.0,", "short_factor"},
    };
    rex_shape s;
    rex_err e;
    for (size_t i = 0; i + 1 < sizeof bad / sizeof bad[0]; i++) {
        e.text[0] = 0;
        const rex_status st = shape_with(bad[i].base, bad[i].old, bad[i].new, &s, &e);
        CHECK(st == REX_EUNSUP || st == REX_EFORMAT || st == REX_ELIMIT);
        CHECK_HAS(e.text, bad[i].says);
    }
    rex_log_set(on_log, NULL, REX_LOG_WARN);
    warned[0] = 0;
    CHECK_STATUS(shape_with("llama", "\"pretraining_tp\": 1", "\"flux_factor\": 7", &s, &e),
                 REX_OK);
    CHECK_HAS(warned, "flux_factor");
    warned[0] = 0;
    CHECK_STATUS(shape_with("llama", "\"pretraining_tp\": 1", "\"pretraining_tp\": 2", &s, &e),
                 REX_OK);
    CHECK_STR(warned, "");
    rex_log_set(NULL, NULL, REX_LOG_WARN);
}
END_TEST

/* Every config of the shared data is read. */
START_TEST(t_model_shared_configs) {
        static const char *const file[] = {"models/stories260K/hf/config.json",
                                           "tokenizers/smollm2/config.json",
                                           "tokenizers/qwen2.5/config.qwen2.5-0.5b-instruct.json"};
        for (int i = 0; i < 3; i++) {
            NEED_DATA(path, file[i]);
            rex_arena *a = NULL;
            rex_jval *doc = NULL;
            rex_shape s;
            rex_err e = {0};
            CHECK_STATUS(rex_arena_open(0, &a, &e), REX_OK);
            CHECK_OK(rex_json_load(a, path, &doc, &e), e);
            const rex_arch *arch = rex_arch_find(rex_json_get(doc, "model_type")->u.s, false);
            CHECK(arch != NULL);
            rex_log_set(on_log, NULL, REX_LOG_WARN);
            warned[0] = 0;
            CHECK_OK(rex_shape_read(arch, doc, path, 0, a, &s, &e), e);
            rex_log_set(NULL, NULL, REX_LOG_WARN);
            CHECK_STR(warned, "");
            if (i == 1) CHECK(s.rope[0].theta == 100000.0 && s.hd == 64 && s.K == 3 && s.tied);
            if (i == 2) CHECK(s.window == 0 && s.qkv_bias && !s.o_bias && s.F == 4864);
            rex_arena_close(a);
    }
}
END_TEST

/* Factors of Llama 3.1, 3.2 and of other sizes give their settings back, also when they were
 * rounded by f32 arithmetic; others do not. */
START_TEST(t_model_llama3_settings_from_factors) {
    static const struct {
        int rot;
        double theta, factor, high, old;
    } c[] = {{128, 5e5, 8, 4, 8192}, {64, 5e5, 32, 4, 8192}, {128, 1e6, 2.5, 3, 4096}};
    for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
        float f[64];
        const rex_rope r = {c[i].theta, 1.0, f};
        rex_llama3 p;
        for (int k = 0; k < c[i].rot / 2; k++) {
            const double turns = c[i].old / (6.283185307179586 *
                                             rex_pow(c[i].theta, 2.0 * k / c[i].rot));
            const double s = (turns - 1.0) / (c[i].high - 1.0);
            f[k] = (float)(s < 0 ? c[i].factor : s > 1 ? 1 : 1 / ((1 - s) / c[i].factor + s));
            f[k] *= s < 0 || s > 1 ? 1.0F : 1.0F + (float)(k % 3 - 1) * 3e-7F;
        }
        CHECK(rex_rope_as_llama3(&r, c[i].rot, &p));
        CHECK(p.factor == c[i].factor && p.low == 1 && p.high == c[i].high && p.old == c[i].old);
        f[1] = 1.1F; /* not by this rule */
        CHECK(!rex_rope_as_llama3(&r, c[i].rot, &p));
        for (int k = 0; k < c[i].rot / 2; k++) f[k] = k ? 8.0F : 1.0F;
        CHECK(!rex_rope_as_llama3(&r, c[i].rot, &p));
    }
}
END_TEST

/* An end token outside the vocabulary is told by file, key and number; those within stay. */
START_TEST(t_model_eos_outside_the_vocabulary) {
    char dir[512], path[2048];
    rex_model_opts o;
    rex_model *m = NULL;
    rex_err e;
    rex_model_defaults(&o);
    o.config_only = true;
    snprintf(dir, sizeof dir, "%s", rex_test_tmp("eos"));
    snprintf(path, sizeof path,
             "mkdir -p %s && sed 's/\"eos_token_id\": 2/\"eos_token_id\": [2, 96]/' "
             GOLDEN "qwen2/config.json > %s/config.json && "
             "echo '{\"eos_token_id\": [5, -1]}' > %s/generation_config.json", dir, dir, dir);
    CHECK_EQ(system(path), 0);
    rex_log_set(on_log, NULL, REX_LOG_WARN);
    for (int with = 0; with < 2; with++) {
        warned[0] = 0;
        CHECK_OK(rex_model_open(dir, &o, NULL, &m, &e), e);
        CHECK_EQ(rex_model_about(m)->n_eos, 2);
        CHECK_EQ(rex_model_about(m)->eos[1], 5);
        rex_model_close(m);
        if (with) {
            CHECK_STR(warned, ""); /* the tokenizer's reader has its own sentence */
            break;
        }
        CHECK_HAS(warned, "eos/config.json: eos_token_id 96 is no id of the vocabulary (0 .. 95)");
        CHECK_HAS(warned, "eos/generation_config.json: eos_token_id -1");
        (void)rex_test_file("eos/tokenizer.json", "{}", 2);
    }
    rex_log_set(NULL, NULL, REX_LOG_WARN);
}
END_TEST

/* ---- broken files ------------------------------------------------------------------------ */

/* A copy of the tiny llama whose weights have been through `change`: a tensor dropped, renamed,
 * given another shape or another type. */
static void broken(const char *drop, const char *reshape, const char *retype,
                   const char *config_from, const char *says) {
    rex_st *in = NULL;
    rex_st_out *out = NULL;
    rex_err e = {0};
    static rex_tensor t[64];
    size_t n = 0;
    CHECK_STATUS(rex_st_open(GOLDEN "llama/model.safetensors", &in, &e), REX_OK);
    for (size_t i = 0; i < rex_st_count(in); i++) {
        rex_tensor x = *rex_st_at(in, i);
        if (drop && rex_str_is(x.name, drop)) continue;
        if (reshape && rex_str_is(x.name, reshape)) {
            const int64_t d = x.dim[0];
            x.dim[0] = x.dim[1];
            x.dim[1] = d;
        }
        if (retype && rex_str_is(x.name, retype)) x.type = REX_T_I32;
        t[n++] = x;
    }
    char dir[512], path[1400];
    snprintf(dir, sizeof dir, "%s", rex_test_tmp("broken"));
    snprintf(path, sizeof path, "mkdir -p %s && cp %s %s/config.json", dir, config_from, dir);
    CHECK_EQ(system(path), 0);
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    CHECK_OK(rex_st_out_open(path, t, n, NULL, 0, &out, &e), e);
    for (size_t i = 0; i < n; i++) rex_st_out_add(out, t[i].data.p, t[i].data.n);
    CHECK_OK(rex_st_out_commit(out, &e), e);
    rex_st_close(in);
    rex_model *m = NULL;
    const rex_status st = rex_model_open(dir, NULL, NULL, &m, &e);
    CHECK(m == NULL);
    CHECK(st == REX_EFORMAT || st == REX_EUNSUP);
    CHECK_HAS(e.text, says);
}

START_TEST(t_model_broken_files) {
    const char *config = GOLDEN "llama/config.json";
    broken("model.layers.1.mlp.up_proj.weight", NULL, NULL, config,
           "model.layers.1.mlp.up_proj.weight is missing");
    broken("model.norm.weight", NULL, NULL, config, "model.norm.weight is missing");
    broken(NULL, "model.layers.0.mlp.down_proj.weight", NULL, config, "56 x 32, expected 32 x 56");
    broken(NULL, NULL, "model.layers.0.self_attn.q_proj.weight", config,
           "cannot be read as weights");
    broken(NULL, NULL, NULL, GOLDEN "mistral/config.json", "expected");
    rex_model *m = NULL;
    rex_err e;
    CHECK_STATUS(rex_model_open("tests/golden/no-such-model", NULL, NULL, &m, &e), REX_EIO);
    CHECK_STATUS(rex_model_open("tests/golden", NULL, NULL, &m, &e), REX_EIO);
    CHECK_HAS(e.text, "config.json");
    CHECK_STATUS(rex_model_open(GOLDEN "llama/config.json", NULL, NULL, &m, &e), REX_EFORMAT);
    rex_model_opts o;
    rex_model_defaults(&o);
    o.context = 65;
    CHECK_STATUS(rex_model_open(GOLDEN "llama", &o, NULL, &m, &e), REX_EARG);
    CHECK_HAS(e.text, "65");
    o.context = 0;
    o.kernel = "abacus";
    CHECK_STATUS(rex_model_open(GOLDEN "llama", &o, NULL, &m, &e), REX_EARG);
}
END_TEST

/* ---- the host's state, memory ------------------------------------------------------------ */

#if defined(__x86_64__)
#include <xmmintrin.h>
/* A host that flushes denormals and rounds upwards gets the same bits, and its own state back. */
START_TEST(t_model_foreign_fp_state) {
    enum { T = 20 };
    int32_t id[T];
    for (int i = 0; i < T; i++) id[i] = (i * 31 + 5) % 96;
    static float want[T * 96];
    for (int round = 0; round < 2; round++) {
        const unsigned was = _mm_getcsr();
        const unsigned odd =
            was | 0x8040u | 0x4000u; /* flush to zero, denormals are zero, round up */
        if (round) _mm_setcsr(odd);
        rex_model *m = open_model(GOLDEN "gemma3", 0);
        rex_ctx *c = open_ctx(m, NULL, T, 1, T, -1);
        const float *l = run_all(c, id, T);
        if (round) CHECK_EQ(_mm_getcsr() & 0xffc0u, odd & 0xffc0u);
        _mm_setcsr(was);
        if (round) CHECK_MEM(l, want, sizeof want);
        else memcpy(want, l, sizeof want);
        rex_ctx_close(c);
        rex_model_close(m);
    }
}
END_TEST
#else
START_TEST(t_model_foreign_fp_state) { SKIP("x86-64 only"); }
END_TEST
#endif

static rex_status open_and_step(const char *path) {
    rex_model *m = NULL;
    rex_ctx *c = NULL;
    rex_err e;
    rex_status st = rex_model_open(path, NULL, NULL, &m, &e);
    rex_ctx_opts o;
    rex_ctx_defaults(&o);
    o.per_seq = 32;
    if (st == REX_OK) st = rex_ctx_open(m, NULL, &o, &c, &e);
    if (st == REX_OK) {
        const rex_row row = {rex_seq_open(c), 3};
        const int64_t before = rex_mem_count();
        st = rex_ctx_step(c, &row, 1, &e);
        CHECK_EQ(rex_mem_count(), before); /* a step allocates nothing */
    }
    rex_ctx_close(c);
    rex_model_close(m);
    return st;
}

START_TEST(t_model_torture) {
    REX_TORTURE(open_and_step(GOLDEN "llama"));
    REX_TORTURE(open_and_step(GOLDEN "gemma3"));
}
END_TEST

/* ---- a real model ------------------------------------------------------------------------ */

START_TEST(t_model_smollm2) {
    const char *path = "models/SmolLM2-135M-Instruct.Q4_1.gguf";
    FILE *f = fopen(path, "rb");
    if (!f) SKIP("no %s: scripts/get-smollm2.sh fetches it", path);
    fclose(f);
    rex_model *m = open_model(path, 1024);
    if (!m) return;
    CHECK_EQ(m->info.layers, 30);
    CHECK(m->s.rope[0].theta == 100000.0);
    CHECK_EQ(m->info.params, 134515008);
    /* "What is the capital of France?" in the model's chat layout */
    static const int32_t ask[] = {1,    9690, 198,   2683, 359,  253,  5356, 5646,  11173, 3365,
                                  3511, 308,  34519, 28,   7018, 411,  407,  19712, 8182,  2,
                                  198,  1,    4093,  198,  1780, 314,  260,  3575,  282,   4649,
                                  47,   2,    198,   1,    520,  9531, 198};
    /* "The capital of France is Paris." */
    static const int32_t say[] = {504, 3575, 282, 4649, 314, 7042, 30, 2};
    enum { P = sizeof ask / sizeof ask[0], N = sizeof say / sizeof say[0] };
    rex_ctx *c = open_ctx(m, NULL, 64, 1, 64, -1);
    const int32_t seq = rex_seq_open(c);
    rex_row row[P];
    for (int i = 0; i < P; i++) row[i] = (rex_row){seq, ask[i]};
    CHECK_STATUS(rex_ctx_step(c, row, P, NULL), REX_OK);
    for (int i = 0; i < N; i++) {
        const float *x = rex_ctx_state(c, c->n - 1);
        const int32_t t = (int32_t)m->kern.argmax(rex_ctx_head(c, &x, 1), m->s.V);
        CHECK_EQ(t, say[i]);
        row[0] = (rex_row){seq, t};
        CHECK_STATUS(rex_ctx_step(c, row, 1, NULL), REX_OK);
    }
    rex_ctx_close(c);
    rex_model_close(m);
}
END_TEST

REX_TEST_MAIN("model", t_model_golden, t_model_two_forms, t_model_fork_anywhere,
              t_model_refused_steps, t_model_config_keys, t_model_llama3_settings_from_factors,
              t_model_eos_outside_the_vocabulary, t_model_shared_configs, t_model_broken_files,
              t_model_foreign_fp_state, t_model_torture, t_model_smollm2)
