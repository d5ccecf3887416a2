/* SPDX-License-Identifier: MIT
 *
 * test_model: every architecture against logits and hidden states recorded by transformers
 * (scripts/make_golden_models.py), the two forms of a trained model against each other, and the
 * invariances of docs/numerics.md by memcmp.
 */
#include "../src/model/model.h"
#include "rex_test.h"

#define GOLDEN "tests/golden/models/"

static const char *const golden[] = {"llama", "llama3", "llama_linear", "mistral", "qwen2", "qwen3", "phi3",
                                     "phi3_long", "gemma3"};
enum { N_GOLDEN = sizeof golden / sizeof golden[0] };

static rex_model *open_model(const char *path, int64_t context) {
    rex_model_opts o;
    rex_model_defaults(&o);
    o.context = context;
    rex_model *m = NULL;
    rex_err e = {0};
    if (rex_model_open(path, &o, NULL, &m, &e) != REX_OK) rex_test_fail(__FILE__, __LINE__, "%s", e.text);
    return m;
}

static rex_ctx *open_ctx(const rex_model *m, rex_pool *pool, int rows, int seqs, int64_t per_seq, int tap) {
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
    if (rex_ctx_open(m, pool, &o, &c, &e) != REX_OK) rex_test_fail(__FILE__, __LINE__, "%s", e.text);
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
        const double d = off(run_all(c, ids, 24), f32(g, "logits_short"), 24, s->V);
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

REX_TEST_MAIN("model", t_model_golden, t_model_two_forms)
