/* SPDX-License-Identifier: MIT
 *
 * test_gen: sampling against hand-made distributions and brute force, and the law of
 * docs/numerics.md by memcmp: batch mates, order, chunks, threads, tables, prefixes, and scoring
 * never change a bit.
 */
#include "../src/gen/gen.h"
#include "rex_test.h"

#define GOLDEN "tests/golden/models/"

/* ---- records of a run -------------------------------------------------------------------- */

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
static const int32_t prompt_c[] = {64, 12, 9,  10, 11, 80, 81, 82, 83, 84, 85, 86, 20, 21, 22,
                                   23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37};
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

static void run(const rex_model *m, int threads, const rex_gen_opts *o, const rex_gen_prompt *p,
                size_t n, records *out) {
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

/* ---- the law ----------------------------------------------------------------------------- */

static const char *const families[] = {"llama", "llama3", "mistral", "qwen2",
                                       "qwen3", "phi3",   "gemma3"};

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
    /* scored alone, backwards, in other chunks and threads: logp, entropy and feature are the same
     */
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
    for (size_t i = 0; i < REX_TEST_FEW(sizeof families / sizeof families[0]); i++)
        invariant(families[i], REX_POOLING_MEAN, REX_COMPUTE_F32, false);
}
END_TEST

START_TEST(t_gen_law_pooling) {
    invariant("qwen2", REX_POOLING_LAST, REX_COMPUTE_F32, false);
#ifndef REX_SMALL
    invariant("gemma3", REX_POOLING_MEAN_ALL, REX_COMPUTE_F32, false);
    invariant("llama", REX_POOLING_NONE, REX_COMPUTE_F32, false);
#endif
}
END_TEST

START_TEST(t_gen_law_bf16) {
#ifndef REX_SMALL
    invariant("llama", REX_POOLING_MEAN, REX_COMPUTE_BF16, false);
    invariant("llama3", REX_POOLING_MEAN, REX_COMPUTE_F32, true);
#endif
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
    for (size_t i = 0; i < 13; i++)
        CHECK_MEM(got.r[6 + i].feature, want.r[i].feature, sizeof got.r[i].feature);
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

/* ---- the sampler ------------------------------------------------------------------------- */

/* The distribution after all filters, by the words of the contract: a sort and four loops. */
static void brute(const double *logit, int n, const rex_sampler *s, double *q) {
    int order[64];
    double p[64], sum = 0.0, max = -1e300;
    for (int i = 0; i < n; i++) max = fmax(max, logit[i] / s->temperature);
    for (int i = 0; i < n; i++) sum += p[i] = exp(logit[i] / s->temperature - max);
    for (int i = 0; i < n; i++) p[order[i] = i] /= sum;
    for (int i = 1; i < n; i++)
        for (int j = i; j > 0; j--) {
            const int a = order[j - 1], b = order[j];
            if (p[b] > p[a]) {
                order[j - 1] = b;
                order[j] = a;
            }
        }
    int kept = s->top_k > 0 && s->top_k < n ? (int)s->top_k : n;
    sum = 0.0;
    for (int i = 0; i < kept; i++) sum += p[order[i]];
    if (s->top_p < 1.0) {
        double run = 0.0;
        int m = 0;
        while (m < kept && run < s->top_p * sum * (1.0 - 1e-12)) run += p[order[m++]];
        kept = m;
    }
    int m = 1;
    while (m < kept && p[order[m]] >= s->min_p * p[order[0]]) m++;
    kept = m;
    sum = 0.0;
    for (int i = 0; i < kept; i++) sum += p[order[i]];
    for (int i = 0; i < n; i++) q[i] = 0.0;
    for (int i = 0; i < kept; i++) q[order[i]] = p[order[i]] / sum;
}

/* Many named draws: what may not come never comes, the rest comes as often as it should, and logp,
 * logq and entropy are what the formulas say. */
static void check_sampler(const rex_kern *k, rex_sampler s, int n, int salt) {
    enum { DRAWS = 20000 };
    float logit[64];
    double wide[64], q[64], plain[64];
    int count[64] = {0};
    void *scratch = malloc(rex_sampler_scratch(n));
    const rex_key dice = rex_key_make(99);
    for (int i = 0; i < n; i++)
        wide[i] = logit[i] = (float)(int)(6.0 * rex_rand_normal(dice, REX_STREAM_TEST, (uint32_t)i,
                                                                (uint32_t)salt, 0)) *
                             0.25F; /* coarse: ties occur */
    const rex_sampler one = {1.0, 1.0, 0.0, 0, {{0, 0}}};
    brute(wide, n, &one, plain);
    brute(wide, n, &s, q);
    double ent = 0.0;
    for (int i = 0; i < n; i++) ent -= plain[i] * log(plain[i]);
    s.key = rex_key_make(7);
    for (int d = 0; d < DRAWS; d++) {
        rex_draw got;
        const rex_draw_name name = {5, (uint32_t)salt, (uint32_t)d};
        CHECK_STATUS(rex_sample_token(k, &s, logit, logit, n, name, scratch, &got, NULL), REX_OK);
        if (d > 0 && count[got.token] == 0 && !(q[got.token] > 0.0))
            rex_test_fail(__FILE__, __LINE__, "token %d was filtered but drawn", got.token);
        if (count[got.token]++ > 0) continue;
        CHECK_NEAR(got.logp, log(plain[got.token]), 1e-5);
        CHECK_NEAR(got.logq, log(q[got.token]), 1e-5);
        CHECK_NEAR(got.ent, ent, 1e-5);
    }
    double chi = 0.0;
    int cells = 0;
    for (int i = 0; i < n; i++) {
        if (q[i] * DRAWS < 5.0) continue;
        chi += (count[i] - q[i] * DRAWS) * (count[i] - q[i] * DRAWS) / (q[i] * DRAWS);
        cells++;
    }
    /* far in the tail: mean cells - 1, deviation sqrt(2 cells) */
    if (!(chi < cells + 6.0 * sqrt(2.0 * cells) + 6.0))
        rex_test_fail(__FILE__, __LINE__, "chi square %g over %d cells, salt %d", chi, cells, salt);
    free(scratch);
}

START_TEST(t_sampler_filters) {
        static const rex_sampler s[] = {
            {1.0, 1.0, 0.0, 0, {{0, 0}}},  {0.7, 1.0, 0.0, 0, {{0, 0}}},
            {1.0, 1.0, 0.0, 5, {{0, 0}}},  {1.0, 0.8, 0.0, 0, {{0, 0}}},
            {1.0, 1.0, 0.2, 0, {{0, 0}}},  {1.3, 0.9, 0.05, 20, {{0, 0}}},
            {0.5, 0.95, 0.0, 3, {{0, 0}}}, {2.0, 1.0, 0.0, 1, {{0, 0}}},
            {1.0, 1e-9, 0.0, 0, {{0, 0}}}, {1.0, 1.0, 1.0, 0, {{0, 0}}},
            {1.0, 0.5, 0.9, 7, {{0, 0}}},
        };
        rex_kern k;
        CHECK_STATUS(rex_kern_pick(NULL, &k, NULL), REX_OK);
        for (size_t i = 0; i < sizeof s / sizeof s[0]; i++)
            check_sampler(&k, s[i], 50 - (int)i, (int)i);
}
END_TEST

/* Equal probabilities go by token id: the first k of a flat row, and greedy takes the first. */
START_TEST(t_sampler_ties) {
    enum { N = 9000 };
    static float flat[N];
    void *scratch = malloc(rex_sampler_scratch(N));
    rex_kern k;
    rex_draw got;
    CHECK_STATUS(rex_kern_pick(NULL, &k, NULL), REX_OK);
    rex_sampler s = {1.0, 1.0, 0.0, 3, {{1, 2}}};
    for (uint32_t i = 0; i < 200; i++) {
        CHECK_STATUS(
            rex_sample_token(&k, &s, flat, flat, N, (rex_draw_name){1, 2, i}, scratch, &got, NULL),
            REX_OK);
        CHECK(got.token < 3);
    }
    s = (rex_sampler){1.0, 0.5, 0.0, 4, {{1, 2}}}; /* two of four reach one half exactly */
    for (uint32_t i = 0; i < 200; i++) {
        CHECK_STATUS(
            rex_sample_token(&k, &s, flat, flat, N, (rex_draw_name){1, 2, i}, scratch, &got, NULL),
            REX_OK);
        CHECK(got.token < 2);
        CHECK_NEAR(got.logq, log(0.5), 1e-6);
    }
    s = (rex_sampler){0.0, 1.0, 0.0, 0, {{1, 2}}};
    flat[5000] = flat[7000] = 1.0F;
    CHECK_STATUS(rex_sample_token(&k, &s, flat, flat, N, (rex_draw_name){0}, scratch, &got, NULL),
                 REX_OK);
    CHECK_EQ(got.token, 5000);
    CHECK(got.logq == 0.0F);
    /* tiles of the vocabulary are found: every third of a flat row comes as often as it should */
    s = (rex_sampler){1.0, 1.0, 0.0, 0, {{1, 2}}};
    flat[5000] = flat[7000] = 0.0F;
    int third[3] = {0};
    for (uint32_t i = 0; i < 3000; i++) {
        CHECK_STATUS(
            rex_sample_token(&k, &s, flat, flat, N, (rex_draw_name){3, 2, i}, scratch, &got, NULL),
            REX_OK);
        third[got.token / 3000]++;
    }
    for (int i = 0; i < 3; i++) CHECK_NEAR(third[i], 1000, 160);
    flat[17] = NAN;
    flat[18] = INFINITY;
    CHECK_STATUS(rex_sample_token(&k, &s, flat, flat, N, (rex_draw_name){0}, scratch, &got, NULL),
                 REX_ENAN);
    free(scratch);
}
END_TEST

/* ---- refusals, hooks --------------------------------------------------------------------- */

static void lift(void *ud, size_t prompt, uint32_t sample, int32_t pos, const float *state,
                 int64_t n_state, float *logit, int64_t n_logit) {
    (void)prompt;
    (void)sample;
    (void)pos;
    CHECK(state != NULL && n_state == 32 && n_logit == 96);
    logit[*(int *)ud] += 1000.0F;
}

/* A hook decides what is drawn; logp stays that of the model. Stop ids and limits end a response.
 */
START_TEST(t_gen_hooks_and_ends) {
    rex_model *m = load("llama", NULL, REX_COMPUTE_F32);
    rex_gen_opts o = base_opts();
    int token = 77;
    const int32_t stop = 77;
    static records got, again;
    o.bend = lift;
    o.bend_ud = &token;
    run(m, 1, &o, prompts, 1, &got);
    CHECK_EQ(got.n, 9);
    for (size_t i = 0; i < got.n; i++) {
        CHECK_EQ(got.r[i].n, 20);
        CHECK(!got.r[i].stopped && got.r[i].has_q);
        for (size_t t = 0; t < got.r[i].n; t++) CHECK_EQ(got.r[i].ids[t], 77);
        CHECK(got.r[i].logq[3] > -1e-6F && got.r[i].logp[3] < -0.001F);
    }
    size_t all[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8};
    score(m, 1, &o, prompts, got.r, all, got.n, &again);
    for (size_t i = 0; i < got.n; i++)
        CHECK_MEM(again.r[i].logp, got.r[i].logp, sizeof got.r[i].logp);
    o.stop_ids = &stop;
    o.n_stop_ids = 1;
    run(m, 1, &o, prompts, 1, &got);
    CHECK_EQ(got.r[0].n, 1);
    CHECK(got.r[0].stopped);
    rex_model_close(m);
}
END_TEST

static rex_status refuse(rex_gen_opts o, const rex_model *m, rex_err *e) {
    rex_engine *g = NULL;
    const rex_status st = rex_gen_open(m, NULL, NULL, &o, &g, e);
    CHECK(st == REX_OK || g == NULL);
    rex_gen_close(g);
    return st;
}

START_TEST(t_gen_refusals) {
    rex_model *m = load("llama", NULL, REX_COMPUTE_F32);
    rex_err e;
    rex_gen_opts o = base_opts();
    o.temperature = -1.0;
    CHECK_STATUS(refuse(o, m, &e), REX_EARG);
    o = base_opts();
    o.top_p = 0.0;
    CHECK_STATUS(refuse(o, m, &e), REX_EARG);
    CHECK_HAS(e.text, "top-p");
    o = base_opts();
    const char *text = "x";
    o.stop = &text;
    o.n_stop = 1;
    CHECK_STATUS(refuse(o, m, &e), REX_EARG);
    CHECK_HAS(e.text, "tokenizer");
    o = base_opts();
    rex_engine *g = NULL;
    records *none = calloc(1, sizeof *none);
    CHECK_STATUS(rex_gen_open(m, NULL, NULL, &o, &g, &e), REX_OK);
    const rex_gen_prompt empty = {1, prompt_a, 0, 0, 1},
                         bad = {1, (const int32_t[]){5, 96}, 2, 0, 1};
    CHECK_STATUS(rex_gen_run(g, &empty, 1, keep, none, &e), REX_EARG);
    CHECK_STATUS(rex_gen_run(g, &bad, 1, keep, none, &e), REX_EARG);
    CHECK_HAS(e.text, "96");
    static int32_t many[40];
    const rex_gen_prompt long_one = {1, many, 40, 0, 1};
    CHECK_STATUS(rex_gen_run(g, &long_one, 1, keep, none, &e), REX_ELIMIT);
    rex_cancel_request();
    CHECK_STATUS(rex_gen_run(g, prompts, 1, keep, none, &e), REX_ECANCEL);
    rex_gen_close(g);
    free(none);
    rex_model_close(m);
}
END_TEST

static rex_status open_and_run(const rex_model *m) {
    rex_gen_opts o = base_opts();
    o.max_tokens = 3;
    rex_engine *g = NULL;
    records *all = calloc(1, sizeof *all);
    all->D = m->s.D;
    rex_status st = rex_gen_open(m, NULL, NULL, &o, &g, NULL);
    if (st == REX_OK) st = rex_gen_run(g, prompts, 1, keep, all, NULL);
    rex_gen_close(g);
    free(all);
    return st;
}

START_TEST(t_gen_torture) {
    rex_model *m = load("llama", NULL, REX_COMPUTE_F32);
    REX_TORTURE(open_and_run(m));
    rex_model_close(m);
}
END_TEST

REX_TEST_MAIN("gen", t_gen_law_families, t_gen_law_pooling, t_gen_law_bf16, t_gen_order_of_prompts,
              t_sampler_filters, t_sampler_ties, t_gen_hooks_and_ends, t_gen_refusals,
              t_gen_torture)
