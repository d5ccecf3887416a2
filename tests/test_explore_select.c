/* SPDX-License-Identifier: MIT
 *
 * Selection: the worked vectors (orders and scores of a 6 x 4 example), the fast form against the
 * plain definition on random problems of every rule, ties, exhaustive small pools, start sets,
 * streaming pools, threads, blocks and lists that must not matter, and failing allocations.
 */
#include "../src/explore/explore.h"
#include "rex_test.h"

static const double H[6][4] = {{1, 0, 2, -1},  {1, .5, 2, -1},  {0, 2, -1, 1},
                               {-1, 1, 0, 3}, {2, -1, 1, 0}, {.5, .5, .5, .5}};

static rex_select_rows rows_of(const double *x, int64_t n, int64_t d) {
    return (rex_select_rows){.size = sizeof(rex_select_rows),
                             .m = {x, n, d, REX_ELEM_F64},
                             .n = n};
}

/* A whole order by the fast form. */
static rex_status order_of(const rex_select_opts *o, uint64_t id, const rex_select_rows *r,
                           const int64_t *start, int64_t n_start, rex_pool *pool,
                           const rex_greedy_tune *tune, int64_t k, int64_t *index, double *score,
                           rex_err *e) {
    rex_select *s = NULL;
    rex_status st = rex_select_open(o, id, pool, &s, e);
    if (st == REX_OK && tune) rex_select_tune(s, tune);
    if (st == REX_OK) st = rex_select_add(s, r, e);
    if (st == REX_OK) st = rex_select_start(s, start, n_start, e);
    if (st == REX_OK) st = rex_select_next(s, k, index, score, e);
    rex_select_close(s);
    return st;
}

static rex_select_opts elliptical(bool center, double lambda, rex_first first, int64_t index) {
    rex_select_opts o;
    rex_select_defaults(REX_SELECT_ELLIPTICAL, &o);
    o.center = center;
    o.lambda = lambda;
    o.first = first;
    o.first_index = index;
    return o;
}

START_TEST(t_worked_orders_and_scores) {
    static const struct {
        bool center;
        double lambda;
        rex_first first;
        int64_t index, order[6];
        double score[6];
    } v[] = {
        {false, 1, REX_FIRST_INDEX, 0, {0, 3, 4, 2, 1, 5},
         {6.000000, 8.714286, 3.661765, 3.369085, 1.020397, 0.135754}},
        {false, 1, REX_FIRST_INDEX, 5, {5, 3, 4, 1, 2, 0},
         {1.000000, 9.875000, 4.206897, 3.310706, 3.013187, 0.622165}},
        {false, 1, REX_FIRST_NORM, 0, {3, 4, 1, 2, 0, 5},
         {11.000000, 5.250000, 4.126667, 3.419376, 0.646756, 0.135754}},
        {false, .01, REX_FIRST_INDEX, 0, {0, 3, 2, 4, 1, 5},
         {600.000000, 833.777038, 342.197046, 309.753327, 1.377595, 0.161267}},
        {false, .01, REX_FIRST_INDEX, 5, {5, 3, 2, 4, 1, 0},
         {100.000000, 877.227723, 360.318373, 138.579952, 17.749333, 0.761355}},
        {false, .01, REX_FIRST_NORM, 0, {3, 4, 1, 2, 0, 5},
         {1100.000000, 518.256131, 388.871324, 317.336223, 0.792941, 0.161267}},
        {true, 1, REX_FIRST_INDEX, 0, {0, 3, 4, 2, 1, 5},
         {3.993056, 3.919332, 2.839129, 1.805950, 0.482481, 0.019253}},
        {true, 1, REX_FIRST_INDEX, 5, {5, 3, 2, 4, 1, 0},
         {0.076389, 9.727419, 4.061495, 2.042687, 0.668395, 0.347588}},
        {true, 1, REX_FIRST_NORM, 0, {3, 2, 4, 1, 0, 5},
         {9.993056, 4.156665, 2.055617, 0.679078, 0.348706, 0.019253}},
        {true, .01, REX_FIRST_INDEX, 0, {0, 4, 3, 1, 2, 5},
         {399.305556, 323.619110, 199.466935, 7.769361, 3.299751, 0.269671}},
        {true, .01, REX_FIRST_INDEX, 5, {5, 3, 4, 2, 1, 0},
         {7.638889, 668.327974, 267.884234, 112.097600, 2.358562, 1.111747}},
        {true, .01, REX_FIRST_NORM, 0, {3, 2, 4, 1, 0, 5},
         {999.305556, 397.491739, 182.735398, 4.820678, 1.304100, 0.269671}},
    };
    const rex_select_rows r = rows_of(H[0], 6, 4);
    for (size_t c = 0; c < sizeof v / sizeof *v; c++) {
        const rex_select_opts o = elliptical(v[c].center, v[c].lambda, v[c].first, v[c].index);
        int64_t got[6], plain[6];
        double score[6], plain_score[6];
        rex_err e;
        CHECK_OK(order_of(&o, 0, &r, NULL, 0, NULL, NULL, 6, got, score, &e), e);
        CHECK_OK(rex_select_plain(&o, 0, &r, NULL, 0, plain, plain_score, &e), e);
        for (int i = 0; i < 6; i++) {
            CHECK_EQ(got[i], v[c].order[i]);
            CHECK_EQ(plain[i], v[c].order[i]);
            CHECK_NEAR(score[i], v[c].score[i], 1e-6);
            CHECK_NEAR(plain_score[i], v[c].score[i], 1e-6);
        }
    }
} END_TEST

/* Scores of all rows after one and two picks, through the covariance handle. */
START_TEST(t_worked_scores_after_picks) {
    static const struct {
        bool center;
        double lambda;
        int64_t pick[2], n;
        double want[6];
    } v[] = {
        {false, 1, {0, 0}, 1, {0.857143, 1.107143, 4.714286, 8.714286, 3.714286, 0.857143}},
        {false, 1, {0, 3}, 2, {0.823529, 1.106618, 3.602941, 0.897059, 3.661765, 0.415441}},
        {false,
         .01,
         {0, 0},
         1,
         {0.998336, 25.998336, 450.249584, 833.777038, 333.777038, 83.361065}},
        {false, .01, {0, 3}, 2, {0.997805, 23.082723, 342.197046, 0.998802, 332.410340, 27.182724}},
        {true, 1, {0, 0}, 1, {0.799722, 0.937065, 2.777469, 3.919332, 3.485396, 0.033032}},
        {true, 1, {0, 3}, 2, {0.552446, 0.678117, 2.776364, 0.796720, 2.839129, 0.032938}},
        {true, .01, {0, 0}, 1, {0.997502, 24.311290, 198.221844, 241.723336, 323.619110, 2.230935}},
        {true, .01, {0, 4}, 2, {0.996535, 13.061373, 127.823446, 199.466935, 0.996919, 2.167345}},
    };
    double mean[4] = {0};
    for (int i = 0; i < 6; i++)
        for (int j = 0; j < 4; j++) mean[j] += H[i][j] / 6;
    for (size_t c = 0; c < sizeof v / sizeof *v; c++) {
        rex_ellipse *x = NULL;
        rex_err e;
        CHECK_OK(rex_ellipse_open(4, v[c].lambda, 0, &x, &e), e);
        double f[6][4];
        for (int i = 0; i < 6; i++)
            for (int j = 0; j < 4; j++) f[i][j] = H[i][j] - (v[c].center ? mean[j] : 0.0);
        for (int64_t i = 0; i < v[c].n; i++) CHECK_OK(rex_ellipse_add(x, f[v[c].pick[i]], &e), e);
        for (int i = 0; i < 6; i++) CHECK_NEAR(rex_ellipse_bonus(x, f[i]), v[c].want[i], 1e-6);
        rex_ellipse_close(x);
    }
} END_TEST

/* Without exclusion the printed rule picks rows twice; the library's order never does. */
START_TEST(t_exclusion_is_needed) {
    static const struct {
        bool center;
        double lambda;
        int64_t order[6];
    } v[] = {{false, 1, {0, 3, 4, 2, 1, 3}},
             {false, .01, {0, 3, 2, 4, 1, 3}},
             {true, 1, {0, 3, 4, 2, 3, 2}},
             {true, .01, {0, 4, 3, 1, 2, 1}}};
    double mean[4] = {0};
    for (int i = 0; i < 6; i++)
        for (int j = 0; j < 4; j++) mean[j] += H[i][j] / 6;
    for (size_t c = 0; c < sizeof v / sizeof *v; c++) {
        rex_ellipse *x = NULL;
        rex_err e;
        CHECK_OK(rex_ellipse_open(4, v[c].lambda, 0, &x, &e), e);
        double f[6][4];
        for (int i = 0; i < 6; i++)
            for (int j = 0; j < 4; j++) f[i][j] = H[i][j] - (v[c].center ? mean[j] : 0.0);
        int64_t at = 0;
        for (int t = 0; t < 6; t++) {
            CHECK_EQ(at, v[c].order[t]);
            CHECK_OK(rex_ellipse_add(x, f[at], &e), e);
            for (int i = 1, best = 0; i < 6; i++) {
                if (rex_ellipse_bonus(x, f[i]) > rex_ellipse_bonus(x, f[best])) best = i;
                at = best;
            }
        }
        rex_ellipse_close(x);
    }
} END_TEST

START_TEST(t_worked_samples_to_correct) {
    static const struct {
        bool center;
        double lambda;
        int correct[2], rank[6];
        double mean;
    } v[] = {
        {false, 1, {2, 2}, {4, 4, 1, 4, 4, 5}, 3.666667},
        {false, 1, {1, 1}, {5, 1, 3, 3, 3, 4}, 3.166667},
        {false, 1, {2, 5}, {4, 4, 1, 4, 4, 1}, 3.000000},
        {false, .01, {2, 2}, {3, 4, 1, 4, 4, 3}, 3.166667},
        {false, .01, {1, 1}, {5, 1, 3, 3, 3, 5}, 3.333333},
        {false, .01, {2, 5}, {3, 4, 1, 4, 4, 1}, 2.833333},
        {true, 1, {2, 2}, {4, 3, 1, 2, 3, 3}, 2.666667},
        {true, 1, {1, 1}, {5, 1, 4, 4, 4, 5}, 3.833333},
        {true, 1, {2, 5}, {4, 3, 1, 2, 3, 1}, 2.333333},
        {true, .01, {2, 2}, {5, 3, 1, 2, 3, 4}, 3.000000},
        {true, .01, {1, 1}, {4, 1, 4, 4, 4, 5}, 3.666667},
        {true, .01, {2, 5}, {5, 3, 1, 2, 3, 1}, 2.500000},
    };
    const rex_select_rows r = rows_of(H[0], 6, 4);
    for (size_t c = 0; c < sizeof v / sizeof *v; c++) {
        double mean = 0.0;
        for (int64_t f = 0; f < 6; f++) {
            const rex_select_opts o = elliptical(v[c].center, v[c].lambda, REX_FIRST_INDEX, f);
            int64_t got[6];
            rex_err e;
            CHECK_OK(order_of(&o, 0, &r, NULL, 0, NULL, NULL, 6, got, NULL, &e), e);
            int rank = 0;
            while (got[rank] != v[c].correct[0] && got[rank] != v[c].correct[1]) rank++;
            CHECK_EQ(rank + 1, v[c].rank[f]);
            mean += (rank + 1) / 6.0;
        }
        CHECK_NEAR(mean, v[c].mean, 1e-6);
    }
} END_TEST

/* ---- random problems --------------------------------------------------------------------- */

typedef struct {
    int64_t n, d;
    double *x, *l;
    int64_t *label;
    rex_select_opts o;
    rex_select_rows r;
} problem;

static uint64_t below(uint32_t seed, uint32_t what, uint64_t n) {
    return rex_rand_below(rex_key_make(seed), REX_STREAM_TEST, what, 0, 0, n);
}

/* Pools of many shapes: fewer rows than dimensions and more, duplicates, tiny and large scales, a
 * spectrum that decays, outcomes shared by several rows. */
static void problem_open(problem *p, uint32_t seed) {
    memset(p, 0, sizeof *p);
    const rex_key key = rex_key_make(seed);
    p->n = 1 + (int64_t)below(seed, 1, 60);
    p->d = 1 + (int64_t)below(seed, 2, 24);
    p->x = calloc((size_t)(p->n * p->d), sizeof(double));
    p->l = calloc((size_t)p->n, sizeof(double));
    p->label = calloc((size_t)p->n, sizeof(int64_t));
    const double decay = below(seed, 3, 2) ? 0.7 : 1.0;
    const double scale = below(seed, 4, 3) == 0 ? 30.0 : 1.0, shift = below(seed, 5, 2) ? 5.0 : 0.0;
    for (int64_t i = 0; i < p->n; i++) {
        double s = scale;
        for (int64_t j = 0; j < p->d; j++, s *= decay)
            p->x[i * p->d + j] = shift + s * rex_rand_normal(key, REX_STREAM_TEST, (uint32_t)j, 1,
                                                             (uint64_t)i);
        if (i > 0 && below(seed, 100 + (uint32_t)i, 8) == 0)
            memcpy(p->x + i * p->d, p->x + (i - 1) * p->d, (size_t)p->d * sizeof(double));
        p->l[i] = -5.0 * rex_rand_unit(key, REX_STREAM_TEST, (uint32_t)i, 2, 0);
        p->label[i] = (int64_t)below(seed, 300 + (uint32_t)i, (uint64_t)(1 + p->n / 2));
    }
    const rex_rule rule = (rex_rule)(seed % REX_SELECT_COUNT);
    rex_select_defaults(rule, &p->o);
    p->o.seed = seed;
    if (below(seed, 6, 3) == 0) p->o.center = !p->o.center;
    if (below(seed, 7, 3) == 0) p->o.unit = !p->o.unit;
    p->o.lambda_rel = below(seed, 8, 4) == 0;
    if (below(seed, 9, 2)) p->o.lambda = 0.05;
    p->o.first = (rex_first)below(seed, 10, 4);
    p->o.first_index = (int64_t)below(seed, 11, (uint64_t)p->n);
    p->r = rows_of(p->x, p->n, p->d);
    if (rex_select_uses_l(&p->o) || below(seed, 12, 2)) p->r.l = p->l;
    if (below(seed, 13, 2)) p->r.outcome = p->label;
}

static void problem_close(problem *p) {
    free(p->x);
    free(p->l);
    free(p->label);
}

START_TEST(t_fast_is_plain_on_random_problems) {
    for (uint32_t seed = 0; seed < 200 * REX_SELECT_COUNT; seed++) {
        problem p;
        problem_open(&p, seed);
        int64_t want[64], got[64], start[3];
        double want_score[64], score[64];
        int64_t n_start = 0;
        if (p.n > 6 && below(seed, 14, 3) == 0)
            for (; n_start < 3; n_start++) start[n_start] = 2 * n_start;
        rex_err e;
        CHECK_OK(rex_select_plain(&p.o, 0, &p.r, start, n_start, want, want_score, &e), e);
        const rex_greedy_tune tune = {1 + (int64_t)below(seed, 15, 9),
                                      1 + (int64_t)below(seed, 16, 9), 0.5};
        CHECK_OK(order_of(&p.o, 0, &p.r, start, n_start, NULL, below(seed, 17, 2) ? &tune : NULL,
                          p.n - n_start, got, score, &e), e);
        for (int64_t i = 0; i < p.n - n_start; i++) {
            if (got[i] != want[i]) {
                rex_test_fail(__FILE__, __LINE__,
                              "seed %u (%s, n %lld, d %lld): place %lld is %lld, "
                              "want %lld (scores %.17g and %.17g)",
                              seed, rex_select_name(p.o.rule), (long long)p.n, (long long)p.d,
                              (long long)i, (long long)got[i], (long long)want[i], score[i],
                              want_score[i]);
                break;
            }
            if (isfinite(
                    want_score[i])) /* the explicit inverse loses more digits than the fast form */
                CHECK_NEAR(score[i], want_score[i], 1e-8 * (1.0 + fabs(want_score[i])));
            else
                CHECK(score[i] == want_score[i]);
        }
        problem_close(&p);
    }
} END_TEST

START_TEST(t_cutting_up_changes_nothing) {
    static const rex_greedy_tune tunes[] = {{1, 1, 0.5}, {7, 3, 0.0}, {64, 1000, 1.0}, {3, 2, 1.0},
                                            {5, 17, 0.1}};
    rex_pool *pool = NULL;
    rex_err e;
    CHECK_OK(rex_pool_open(3, &pool, &e), e);
    for (uint32_t seed = 1000; seed < 1070; seed++) {
        problem p;
        problem_open(&p, seed);
        int64_t want[64], got[64];
        double want_score[64], score[64];
        CHECK_OK(order_of(&p.o, 9, &p.r, NULL, 0, NULL, NULL, p.n, want, want_score, &e), e);
        for (size_t t = 0; t < sizeof tunes / sizeof *tunes; t++) {
            CHECK_OK(order_of(&p.o, 9, &p.r, NULL, 0, t % 2 ? pool : NULL, &tunes[t], p.n, got,
                              score, &e),
                     e);
            CHECK_MEM(got, want, (size_t)p.n * sizeof *got);
            CHECK_MEM(score, want_score, (size_t)p.n * sizeof *score);
        }
        problem_close(&p);
    }
    rex_pool_close(pool);
} END_TEST

/* f32, f16 and bf16 rows that hold the same numbers as f64 rows give the same order and bits. */
START_TEST(t_element_types_agree) {
    enum { N = 40, D = 19 };
    double x[N * D];
    float f[N * D + 1];
    uint16_t h[N * D + 1], b[N * D];
    const rex_key key = rex_key_make(5);
    for (int i = 0; i < N * D; i++) {
        x[i] = (double)rex_bf16_f32(rex_f32_bf16(
            (float)rex_rand_normal(key, REX_STREAM_TEST, (uint32_t)i, 0, 0)));
        if (fabs(x[i]) < 1e-4) x[i] = 0.0; /* f16 has fewer exponents */
        x[i] = (double)rex_f16_f32(rex_f32_f16((float)x[i]));
        f[i] = (float)x[i];
        h[i] = rex_f32_f16(f[i]);
        b[i] = rex_f32_bf16(f[i]);
    }
    rex_select_opts o = elliptical(true, 0.1, REX_FIRST_NORM, 0);
    rex_select_rows r[4] = {rows_of(x, N, D), rows_of(x, N, D), rows_of(x, N, D), rows_of(x, N, D)};
    r[1].m = (rex_matrix){f, N, D, REX_ELEM_F32};
    r[2].m = (rex_matrix){h, N, D, REX_ELEM_F16};
    r[3].m = (rex_matrix){b, N, D, REX_ELEM_BF16};
    int64_t want[N], got[N];
    double want_score[N], score[N];
    rex_err e;
    for (int t = 0; t < 4; t++) {
        CHECK_OK(order_of(&o, 0, &r[t], NULL, 0, NULL, NULL, N, got, score, &e), e);
        if (t == 0) {
            memcpy(want, got, sizeof want);
            memcpy(want_score, score, sizeof score);
        }
        CHECK_MEM(got, want, sizeof got);
        CHECK_MEM(score, want_score, sizeof score);
    }
} END_TEST

/* Rows shuffled: the same rows are picked. */
START_TEST(t_order_of_rows_does_not_matter) {
    enum { N = 80, D = 12 };
    double x[N * D], y[N * D];
    uint32_t perm[N];
    const rex_key key = rex_key_make(11);
    for (int i = 0; i < N * D; i++)
        x[i] = rex_rand_normal(key, REX_STREAM_TEST, (uint32_t)i, 0, 0);
    rex_rand_perm(key, REX_STREAM_TEST, 0, perm, N);
    for (int i = 0; i < N; i++) memcpy(y + i * D, x + perm[i] * D, sizeof(double) * D);
    const rex_rule rules[] = {REX_SELECT_ELLIPTICAL, REX_SELECT_FARTHEST, REX_SELECT_DPP,
                              REX_SELECT_QUALITY};
    for (size_t c = 0; c < 4; c++) {
        rex_select_opts o;
        rex_select_defaults(rules[c], &o);
        o.first = REX_FIRST_NORM;
        o.sharpness = 0.0;
        const rex_select_rows a = rows_of(x, N, D), b = rows_of(y, N, D);
        int64_t p[D - 1], q[D - 1];
        rex_err e;
        CHECK_OK(order_of(&o, 0, &a, NULL, 0, NULL, NULL, D - 1, p, NULL, &e), e);
        CHECK_OK(order_of(&o, 0, &b, NULL, 0, NULL, NULL, D - 1, q, NULL, &e), e);
        for (int i = 0; i < D - 1; i++) CHECK_EQ(perm[q[i]], p[i]);
    }
} END_TEST

/* A larger pool takes sweeps and lists; the first picks are those of the definition. */
START_TEST(t_large_pools_take_the_same_picks) {
    enum { N = 3000, D = 16, K = 40 };
    float *const x = malloc(sizeof(float) * N * D);
    double *const wide = malloc(sizeof(double) * N * D);
    const rex_key key = rex_key_make(3);
    rex_pool *pool = NULL;
    rex_err e;
    CHECK_OK(rex_pool_open(2, &pool, &e), e);
    for (int i = 0; i < N * D; i++)
        wide[i] = x[i] = (float)rex_rand_normal(key, REX_STREAM_TEST, (uint32_t)i, 0, 0);
    for (int unit = 0; unit < 2; unit++) {
        rex_select_opts o = elliptical(true, 0.3, REX_FIRST_BEST, 0);
        o.unit = unit;
        rex_select_rows r = rows_of(wide, N, D);
        r.m = (rex_matrix){x, N, D, REX_ELEM_F32};
        int64_t got[K], other[K];
        double score[K];
        CHECK_OK(order_of(&o, 0, &r, NULL, 0, pool, NULL, K, got, score, &e), e);
        const rex_greedy_tune tune = {100, 5, 0.9};
        CHECK_OK(order_of(&o, 0, &r, NULL, 0, NULL, &tune, K, other, NULL, &e), e);
        CHECK_MEM(got, other, sizeof got);
        /* one at a time by the covariance itself */
        rex_ellipse *el = NULL;
        CHECK_OK(rex_ellipse_open(D, 0.3, 4, &el, &e), e);
        rex_arena *a = NULL;
        CHECK_OK(rex_arena_open(0, &a, &e), e);
        rex_feat f;
        const rex_feat_part part = {&r.m, NULL, N};
        const rex_feat_opts fo = {true, unit, false, 0.3, "ref"};
        CHECK_OK(rex_feat_open(a, &part, 1, &fo, NULL, &f, &e), e);
        bool gone[N] = {0};
        for (int t = 0; t < K; t++) {
            double best = -1.0, row[D];
            int64_t at = -1;
            for (int64_t i = 0; i < N; i++) {
                if (gone[i]) continue;
                rex_feat_row(&f, i, row);
                best = fmax(best, rex_ellipse_bonus(el, row));
            }
            for (int64_t i = N - 1; i >= 0; i--) {
                if (gone[i]) continue;
                rex_feat_row(&f, i, row);
                if (rex_ellipse_bonus(el, row) >= best * (1.0 - REX_TIE)) at = i;
            }
            CHECK_EQ(got[t], at);
            CHECK_NEAR(score[t], best, 1e-9 * best);
            gone[got[t]] = true;
            rex_feat_row(&f, got[t], row);
            CHECK_OK(rex_ellipse_add(el, row, &e), e);
        }
        rex_ellipse_close(el);
        rex_arena_close(a);
    }
    rex_pool_close(pool);
    free(x);
    free(wide);
} END_TEST

/* ---- ties and degenerate pools ----------------------------------------------------------- */

START_TEST(t_ties_go_to_the_lowest_index) {
    /* the corners of a cross: all norms equal, everything symmetric */
    static const double x[6][3] = {{0, 0, 2},  {2, 0, 0},  {0, 2, 0},
                                   {0, 0, -2}, {-2, 0, 0}, {0, -2, 0}};
    rex_select_opts o = elliptical(true, 1.0, REX_FIRST_BEST, 0);
    const rex_select_rows r = rows_of(x[0], 6, 3);
    int64_t got[6];
    rex_err e;
    static const int64_t want[6] = {0, 1, 2, 3, 4, 5};
    CHECK_OK(order_of(&o, 0, &r, NULL, 0, NULL, NULL, 6, got, NULL, &e), e);
    CHECK_MEM(got, want, sizeof got);
    /* a difference of 1e-11 is a tie, of 1e-9 is none */
    double y[2][1] = {{1.0}, {1.0 + 5e-12}};
    const rex_select_rows q = rows_of(y[0], 2, 1);
    o.center = false;
    CHECK_OK(order_of(&o, 0, &q, NULL, 0, NULL, NULL, 2, got, NULL, &e), e);
    CHECK_EQ(got[0], 0);
    y[1][0] = 1.0 + 1e-9;
    CHECK_OK(order_of(&o, 0, &q, NULL, 0, NULL, NULL, 2, got, NULL, &e), e);
    CHECK_EQ(got[0], 1);
} END_TEST

START_TEST(t_equal_rows_score_nothing) {
    double x[8][3];
    for (int i = 0; i < 8; i++)
        for (int j = 0; j < 3; j++) x[i][j] = 0.1 * (j + 1);
    static const int64_t want[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    for (int rule = 0; rule < REX_SELECT_COUNT; rule++) {
        if (rule == REX_SELECT_RANDOM) continue;
        rex_select_opts o;
        rex_select_defaults((rex_rule)rule, &o);
        o.first = REX_FIRST_BEST;
        double l[8] = {-1, -1, -1, -1, -1, -1, -1, -1};
        rex_select_rows r = rows_of(x[0], 8, 3);
        r.l = l;
        int64_t got[8];
        double score[8];
        rex_err e;
        CHECK_OK(order_of(&o, 0, &r, NULL, 0, NULL, NULL, 8, got, score, &e), e);
        CHECK_MEM(got, want, sizeof got);
        if (rule == REX_SELECT_ELLIPTICAL || rule == REX_SELECT_QUALITY) CHECK(score[3] == 0.0);
    }
} END_TEST

/* Every pool of 8 points on a line: the greedy pick is the best single addition by log det. */
START_TEST(t_each_pick_is_the_best_addition) {
    enum { N = 8, D = 2 };
    for (uint32_t seed = 0; seed < 40; seed++) {
        double x[N * D];
        for (int i = 0; i < N * D; i++)
            x[i] = rex_rand_normal(rex_key_make(seed), REX_STREAM_TEST, (uint32_t)i, 0, 0);
        rex_select_opts o = elliptical(false, 0.5, REX_FIRST_BEST, 0);
        const rex_select_rows r = rows_of(x, N, D);
        int64_t got[N];
        rex_err e;
        CHECK_OK(order_of(&o, 0, &r, NULL, 0, NULL, NULL, N, got, NULL, &e), e);
        double a = 0.5, b = 0.0, c = 0.5; /* the covariance, written out */
        for (int t = 0; t < N; t++) {
            double best = -1.0, mine = -1.0;
            for (int i = 0; i < N; i++) {
                bool gone = false;
                for (int s = 0; s < t; s++) gone = gone || got[s] == i;
                const double u = x[i * D], v = x[i * D + 1];
                const double det = (a + u * u) * (c + v * v) - (b + u * v) * (b + u * v);
                if (!gone) best = fmax(best, det);
                if (i == got[t]) mine = det;
            }
            CHECK_NEAR(mine, best, 1e-12 * best);
            const double u = x[got[t] * D], v = x[got[t] * D + 1];
            a += u * u;
            b += u * v;
            c += v * v;
        }
    }
} END_TEST

/* ---- start sets and streams -------------------------------------------------------------- */

/* A prefix given as start set continues the order; any budget is a prefix. */
START_TEST(t_prefixes_and_starts_continue) {
    for (uint32_t seed = 2000; seed < 2056; seed++) {
        problem p;
        problem_open(&p, seed);
        int64_t whole[64], tail[64];
        double score[64], tail_score[64];
        rex_err e;
        CHECK_OK(order_of(&p.o, 1, &p.r, NULL, 0, NULL, NULL, p.n, whole, score, &e), e);
        for (int64_t cut = 0; cut <= p.n; cut += 1 + p.n / 5) {
            CHECK_OK(order_of(&p.o, 1, &p.r, NULL, 0, NULL, NULL, cut, tail, tail_score, &e), e);
            CHECK_MEM(tail, whole, (size_t)cut * sizeof *tail);
            if (p.o.first == REX_FIRST_INDEX && cut == 0) continue;
            CHECK_OK(
                order_of(&p.o, 1, &p.r, whole, cut, NULL, NULL, p.n - cut, tail, tail_score, &e),
                e);
            CHECK_MEM(tail, whole + cut, (size_t)(p.n - cut) * sizeof *tail);
            CHECK_MEM(tail_score, score + cut, (size_t)(p.n - cut) * sizeof *tail_score);
        }
        problem_close(&p);
    }
} END_TEST

/* Rows that come later: as if all had been there, with the earlier picks as start set. */
START_TEST(t_streams_go_on) {
    for (uint32_t seed = 3000; seed < 3042; seed++) {
        problem p;
        problem_open(&p, seed);
        if (p.n < 10 || p.o.first == REX_FIRST_INDEX) {
            problem_close(&p);
            continue;
        }
        const int64_t half = p.n / 2;
        rex_select_rows a = p.r, b = p.r;
        a.n = half;
        b.n = p.n - half;
        b.m.p = p.x + half * p.d;
        b.m.rows = b.n;
        if (b.l) b.l += half;
        if (b.outcome) b.outcome += half;
        rex_select *s = NULL;
        rex_err e;
        int64_t first[3], got[64], want[64];
        CHECK_OK(rex_select_open(&p.o, 0, NULL, &s, &e), e);
        CHECK_OK(rex_select_add(s, &a, &e), e);
        CHECK_OK(rex_select_next(s, 3, first, NULL, &e), e);
        CHECK_OK(rex_select_add(s, &b, &e), e);
        CHECK_EQ(rex_select_left(s), p.n - 3);
        CHECK_OK(rex_select_next(s, 4, got, NULL, &e), e);
        CHECK_OK(rex_select_next(s, p.n - 7, got + 4, NULL, &e), e);
        CHECK_STATUS(rex_select_next(s, 1, got, NULL, &e), REX_EARG);
        rex_select_close(s);
        CHECK_OK(order_of(&p.o, 0, &p.r, first, 3, NULL, NULL, p.n - 3, want, NULL, &e), e);
        CHECK_MEM(got, want, (size_t)(p.n - 3) * sizeof *got);
        problem_close(&p);
    }
} END_TEST

START_TEST(t_bad_input_is_told) {
    rex_select_opts o = elliptical(true, 1.0, REX_FIRST_BEST, 0);
    double x[6][4];
    memcpy(x, H, sizeof x);
    rex_select_rows r = rows_of(x[0], 6, 4);
    int64_t got[8];
    rex_err e;
    CHECK_STATUS(order_of(&o, 0, &r, NULL, 0, NULL, NULL, 7, got, NULL, &e), REX_EARG);
    CHECK_HAS(e.text, "6 rows are left");
    x[4][2] = NAN;
    CHECK_STATUS(order_of(&o, 0, &r, NULL, 0, NULL, NULL, 6, got, NULL, &e), REX_ENAN);
    CHECK_HAS(e.text, "row 4, column 2");
    x[4][2] = -INFINITY;
    o.center = false;
    CHECK_STATUS(order_of(&o, 0, &r, NULL, 0, NULL, NULL, 6, got, NULL, &e), REX_ENAN);
    CHECK_HAS(e.text, "row 4, column 2");
    x[4][2] = 1e200;
    CHECK_STATUS(order_of(&o, 0, &r, NULL, 0, NULL, NULL, 6, got, NULL, &e), REX_ELIMIT);
    o.lambda = 0.0;
    CHECK_STATUS(order_of(&o, 0, &r, NULL, 0, NULL, NULL, 6, got, NULL, &e), REX_EARG);
    o.lambda = NAN;
    CHECK_STATUS(order_of(&o, 0, &r, NULL, 0, NULL, NULL, 6, got, NULL, &e), REX_EARG);
    rex_select_defaults(REX_SELECT_LIKELIHOOD, &o);
    CHECK_STATUS(order_of(&o, 0, &r, NULL, 0, NULL, NULL, 6, got, NULL, &e), REX_EARG);
    rex_select_defaults(REX_SELECT_FARTHEST, &o);
    o.first = REX_FIRST_INDEX;
    o.first_index = 6;
    x[4][2] = 1.0;
    CHECK_STATUS(order_of(&o, 0, &r, NULL, 0, NULL, NULL, 6, got, NULL, &e), REX_EARG);
    const int64_t twice[2] = {1, 1}, out[1] = {6};
    CHECK_STATUS(order_of(&o, 0, &r, twice, 2, NULL, NULL, 4, got, NULL, &e), REX_EARG);
    CHECK_STATUS(order_of(&o, 0, &r, out, 1, NULL, NULL, 4, got, NULL, &e), REX_EARG);
} END_TEST

/* Masses that would underflow as numbers still decide. */
START_TEST(t_masses_stay_in_logarithms) {
    const double l[4] = {-2000, -1000, -1500, -1000.0000001};
    rex_select_opts o;
    rex_select_defaults(REX_SELECT_VOTES, &o);
    rex_select_rows r = {.size = sizeof r, .n = 4, .l = l};
    int64_t got[4];
    double score[4];
    rex_err e;
    static const int64_t want[4] = {1, 3, 2, 0};
    CHECK_OK(order_of(&o, 0, &r, NULL, 0, NULL, NULL, 4, got, score, &e), e);
    CHECK_MEM(got, want, sizeof got);
    CHECK_NEAR(score[0], -4000.0, 1e-9);
    rex_select_defaults(REX_SELECT_QUALITY, &o);
    r = rows_of(H[0], 4, 4);
    r.l = l;
    CHECK_OK(order_of(&o, 0, &r, NULL, 0, NULL, NULL, 4, got, score, &e), e);
    CHECK_MEM(got, want, sizeof got);
} END_TEST

START_TEST(t_allocations_may_fail) {
    for (int rule = 0; rule < REX_SELECT_COUNT; rule++) {
        rex_select_opts o;
        rex_select_defaults((rex_rule)rule, &o);
        const double l[6] = {-1, -2, -3, -1, -2, -3};
        const int64_t label[6] = {1, 2, 1, 3, 4, 4}, start[1] = {2};
        rex_select_rows r = rows_of(H[0], 6, 4);
        r.l = l;
        r.outcome = label;
        int64_t got[6];
        rex_err e;
        REX_TORTURE(order_of(&o, 0, &r, start, 1, NULL, NULL, 5, got, NULL, &e));
    }
} END_TEST

REX_TEST_MAIN(
    "explore_select", t_worked_orders_and_scores, t_worked_scores_after_picks,
    t_exclusion_is_needed, t_worked_samples_to_correct, t_fast_is_plain_on_random_problems,
    t_cutting_up_changes_nothing, t_element_types_agree, t_order_of_rows_does_not_matter,
    t_large_pools_take_the_same_picks, t_ties_go_to_the_lowest_index, t_equal_rows_score_nothing,
    t_each_pick_is_the_best_addition, t_prefixes_and_starts_continue, t_streams_go_on,
    t_bad_input_is_told, t_masses_stay_in_logarithms, t_allocations_may_fail)
