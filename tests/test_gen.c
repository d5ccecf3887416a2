/* SPDX-License-Identifier: MIT
 *
 * test_gen: sampling against hand-made distributions and brute force, and the law of docs/numerics.md
 * by memcmp: batch mates, order, chunks, threads, tables, prefixes, and scoring never change a bit.
 */
#include "../src/gen/gen.h"
#include "rex_test.h"

#define GOLDEN "tests/golden/models/"

/* ---- records of a run -------------------------------------------------------------------------------- */

enum { MAX_T = 48, MAX_D = 64, MAX_S = 128 };

typedef struct {
    size_t prompt, n;
    uint32_t sample;
    bool stopped, has_q;
    int32_t ids[MAX_T];
    float logp[MAX_T], logq[MAX_T], ent[MAX_T], feature[MAX_D];
} record;

typedef struct {
    int64_t D;
    size_t n;
    record r[MAX_S];
} records;

static rex_status keep(void *ud, const rex_gen_sample *s, rex_err *e) {
    records *all = ud;
    (void)e;
    CHECK(all->n < MAX_S && s->n <= MAX_T && all->D <= MAX_D);
    record *r = &all->r[all->n++];
    memset(r, 0, sizeof *r);
    r->prompt = s->prompt;
    r->sample = s->sample;
    r->n = s->n;
    r->stopped = s->stopped;
    memcpy(r->ids, s->ids, s->n * sizeof *s->ids);
    if (s->logp) memcpy(r->logp, s->logp, s->n * sizeof *s->logp);
    if (s->ent) memcpy(r->ent, s->ent, s->n * sizeof *s->ent);
    r->has_q = s->logq != NULL;
    if (s->logq) memcpy(r->logq, s->logq, s->n * sizeof *s->logq);
    if (s->feature) memcpy(r->feature, s->feature, (size_t)all->D * sizeof(float));
    return REX_OK;
}

static rex_model *load(const char *name, const char *kernel, rex_compute compute) {
    char path[256];
    snprintf(path, sizeof path, GOLDEN "%s", name);
    rex_model_opts o;
    rex_model_defaults(&o);
    o.kernel = kernel;
    o.compute = compute;
    rex_model *m = NULL;
    rex_err e = {0};
    CHECK_OK(rex_model_open(path, &o, NULL, &m, &e), e);
    return m;
}

/* Three prompts of different lengths, two of which share a beginning; numbers of samples differ. */
static const int32_t prompt_a[] = {1, 17, 33, 5, 90, 41, 41, 8};
static const int32_t prompt_b[] = {1, 17, 33, 5, 7};
static const int32_t prompt_c[] = {64, 12, 9, 10, 11, 80, 81, 82, 83, 84, 85, 86, 20, 21, 22, 23, 24, 25,
                                   26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37};
static const rex_gen_prompt prompts[] = {
    {0x1234567890abcdefu, prompt_a, sizeof prompt_a / 4, 0, 9},
    {0xfedcba0987654321u, prompt_b, sizeof prompt_b / 4, 3, 4},
    {77, prompt_c, sizeof prompt_c / 4, 0, 6},
};
enum { N_PROMPT = 3 };

static rex_gen_opts base_opts(void) {
    rex_gen_opts o;
    rex_gen_defaults(&o);
    o.max_tokens = 20;
    o.max_prompt = 32;
    o.batch = 8;
    o.chunk = 16;
    o.group = 9;
    o.seed = 42;
    o.pooling = REX_POOLING_MEAN;
    return o;
}

static void run(const rex_model *m, int threads, const rex_gen_opts *o, const rex_gen_prompt *p, size_t n,
                records *out) {
    rex_pool *pool = NULL;
    rex_engine *g = NULL;
    rex_err e = {0};
    memset(out, 0, sizeof *out);
    out->D = m->s.D;
    if (threads > 1) CHECK_OK(rex_pool_open(threads, &pool, &e), e);
    CHECK_OK(rex_gen_open(m, NULL, pool, o, &g, &e), e);
    if (g) CHECK_OK(rex_gen_run(g, p, n, keep, out, &e), e);
    rex_gen_close(g);
    rex_pool_close(pool);
}

static void score(const rex_model *m, int threads, const rex_gen_opts *o, const rex_gen_prompt *p,
                  const record *r, const size_t *which, size_t n, records *out) {
    rex_gen_pair pair[MAX_S];
    for (size_t i = 0; i < n; i++) {
        const record *x = &r[which[i]];
        pair[i] = (rex_gen_pair){p[x->prompt].ids, x->ids, p[x->prompt].n, x->n};
    }
    rex_pool *pool = NULL;
    rex_engine *g = NULL;
    rex_err e = {0};
    memset(out, 0, sizeof *out);
    out->D = m->s.D;
    if (threads > 1) CHECK_OK(rex_pool_open(threads, &pool, &e), e);
    CHECK_OK(rex_gen_open(m, NULL, pool, o, &g, &e), e);
    if (g) CHECK_OK(rex_gen_score(g, pair, n, keep, out, &e), e);
    CHECK_EQ(out->n, n);
    rex_gen_close(g);
    rex_pool_close(pool);
}

static void same(const char *what, const records *a, const records *b) {
    CHECK_EQ(a->n, b->n);
    for (size_t i = 0; i < a->n && i < b->n; i++)
        if (memcmp(&a->r[i], &b->r[i], sizeof a->r[i]) != 0)
            rex_test_fail(__FILE__, __LINE__, "%s: sample %zu differs", what, i);
}

/* ---- the law ------------------------------------------------------------------------------------------- */

static const char *const families[] = {"llama", "llama3", "mistral", "qwen2", "qwen3", "phi3", "gemma3"};

static void invariant(const char *name, rex_pooling pooling, rex_compute compute, bool kv_bf16) {
    rex_model *m = load(name, "ref", compute);
    rex_gen_opts o = base_opts();
    o.pooling = pooling;
    o.kv_bf16 = kv_bf16;
    static records want, got;
    run(m, 1, &o, prompts, N_PROMPT, &want);
    CHECK_EQ(want.n, 19);
    rex_gen_opts v = o;
    v.batch = 3;
    run(m, 1, &v, prompts, N_PROMPT, &got);
    same("batch of 3", &got, &want);
    v.batch = 1;
    v.chunk = 1;
    run(m, 1, &v, prompts, N_PROMPT, &got);
    same("one at a time", &got, &want);
    v.batch = 19;
    v.chunk = 100;
    v.group = 1;
    run(m, 3, &v, prompts, N_PROMPT, &got);
    same("batch of 19, three threads", &got, &want);
    v.chunk = 7;
    v.batch = 5;
    run(m, 2, &v, prompts, N_PROMPT, &got);
    same("chunks of 7", &got, &want);
    const char *kern[8];
    const size_t n_kern = rex_kern_list(kern, 8);
    for (size_t i = 0; i < n_kern && i < 8; i++) {
        rex_model *other = load(name, kern[i], compute);
        run(other, 2, &o, prompts, N_PROMPT, &got);
        same(kern[i], &got, &want);
        rex_model_close(other);
    }
    /* scored alone, backwards, in other chunks and threads: logp, entropy and feature are the same */
    for (size_t i = 0; i < want.n; i++) {
        const size_t which = want.n - 1 - i;
        v.batch = 1 + (int64_t)i % 3;
        v.chunk = 1 + (int64_t)i;
        score(m, 1 + (int)i % 2, &v, prompts, want.r, &which, 1, &got);
        CHECK_MEM(got.r[0].logp, want.r[which].logp, sizeof got.r[0].logp);
        CHECK_MEM(got.r[0].ent, want.r[which].ent, sizeof got.r[0].ent);
        CHECK_MEM(got.r[0].feature, want.r[which].feature, sizeof got.r[0].feature);
    }
    size_t all[MAX_S];
    for (size_t i = 0; i < want.n; i++) all[i] = i;
    score(m, 2, &o, prompts, want.r, all, want.n, &got);
    for (size_t i = 0; i < want.n; i++) {
        CHECK_MEM(got.r[i].logp, want.r[i].logp, sizeof got.r[i].logp);
        CHECK_MEM(got.r[i].feature, want.r[i].feature, sizeof got.r[i].feature);
    }
    rex_model_close(m);
}

START_TEST(t_gen_law_families) {
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++)
        invariant(families[i], REX_POOLING_MEAN, REX_COMPUTE_F32, false);
}
END_TEST

START_TEST(t_gen_law_pooling) {
    invariant("qwen2", REX_POOLING_LAST, REX_COMPUTE_F32, false);
    invariant("gemma3", REX_POOLING_MEAN_ALL, REX_COMPUTE_F32, false);
    invariant("llama", REX_POOLING_NONE, REX_COMPUTE_F32, false);
}
END_TEST

START_TEST(t_gen_law_bf16) {
    invariant("llama", REX_POOLING_MEAN, REX_COMPUTE_BF16, false);
    invariant("llama3", REX_POOLING_MEAN, REX_COMPUTE_F32, true);
    invariant("gemma3", REX_POOLING_MEAN, REX_COMPUTE_BF16, true);
}
END_TEST

/* Order of prompts does not matter: their samples move with them. */
START_TEST(t_gen_order_of_prompts) {
    rex_model *m = load("llama", NULL, REX_COMPUTE_F32);
    const rex_gen_opts o = base_opts();
    static records want, got;
    run(m, 1, &o, prompts, N_PROMPT, &want);
    const rex_gen_prompt turned[] = {prompts[2], prompts[0], prompts[1]};
    run(m, 2, &o, turned, N_PROMPT, &got);
    for (size_t i = 0; i < 6; i++) CHECK_MEM(got.r[i].ids, want.r[13 + i].ids, sizeof got.r[i].ids);
    for (size_t i = 0; i < 13; i++) CHECK_MEM(got.r[6 + i].feature, want.r[i].feature, sizeof got.r[i].feature);
    /* a part of a prompt's samples is that part */
    rex_gen_prompt part = prompts[0];
    part.first = 4;
    part.samples = 2;
    run(m, 1, &o, &part, 1, &got);
    CHECK_EQ(got.n, 2);
    CHECK_MEM(got.r[0].ids, want.r[4].ids, sizeof got.r[0].ids);
    CHECK_MEM(got.r[1].logp, want.r[5].logp, sizeof got.r[1].logp);
    rex_model_close(m);
}
END_TEST

REX_TEST_MAIN("gen", t_gen_law_families, t_gen_law_pooling, t_gen_law_bf16, t_gen_order_of_prompts)
