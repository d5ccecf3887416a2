/* SPDX-License-Identifier: MIT
 *
 * Bonuses and projections: the worked leverage tables, saturation, the identities between forms,
 * the covariance handle against a fresh factorisation, eigenvalues, random matrices against their
 * law.
 */
#include "../src/explore/explore.h"
#include "rex_test.h"

static const double H[6][4] = {{1, 0, 2, -1},  {1, .5, 2, -1},  {0, 2, -1, 1},
                               {-1, 1, 0, 3}, {2, -1, 1, 0}, {.5, .5, .5, .5}};

static rex_status bonus_of(const double *x, int64_t n, int64_t d, const rex_bonus_opts *o,
                           double *bonus, rex_bonus_stat *s, rex_err *e) {
    const rex_matrix m = {x, n, d, REX_ELEM_F64};
    return rex_bonus_rows(&m, NULL, n, o, bonus, s, e);
}

START_TEST(t_worked_leverages) {
    static const struct {
        bool center;
        double lambda;
        rex_bonus_kind kind;
        double want[6], sum;
    } v[] = {
        {false, 1, REX_BONUS_LEVERAGE,
         {0.383540, 0.488142, 0.733864, 0.846549, 0.749794, 0.119528}, 3.321416},
        {false, 1, REX_BONUS_LOO,
         {0.622165, 0.953665, 2.757482, 5.516724, 2.996699, 0.135754}, NAN},
        {false, .01, REX_BONUS_LEVERAGE,
         {0.432255, 0.559615, 0.932725, 0.971187, 0.956433, 0.138872}, 3.991086},
        {false, .01, REX_BONUS_LOO,
         {0.761355, 1.270739, 13.864288, 33.706010, 21.953257, 0.161267}, NAN},
        {true, 1, REX_BONUS_LEVERAGE,
         {0.257933, 0.322573, 0.616747, 0.684383, 0.606430, 0.018889}, 2.506956},
        {true, 1, REX_BONUS_LOO,
         {0.347588, 0.476174, 1.609245, 2.168400, 1.540845, 0.019253}, NAN},
        {true, .01, REX_BONUS_LEVERAGE,
         {0.526458, 0.701541, 0.766104, 0.813224, 0.807659, 0.212394}, 3.827381},
        {true, .01, REX_BONUS_LOO,
         {1.111747, 2.350539, 3.275405, 4.354006, 4.199110, 0.269671}, NAN},
    };
    for (size_t c = 0; c < sizeof v / sizeof *v; c++)
        for (int form = 0; form < 3; form++) {
            rex_bonus_opts o;
            rex_bonus_defaults(&o);
            o.center = v[c].center;
            o.lambda = v[c].lambda;
            o.kind = v[c].kind;
            o.form = (rex_form)form;
            double b[6];
            rex_bonus_stat s;
            rex_err e;
            CHECK_OK(bonus_of(H[0], 6, 4, &o, b, &s, &e), e);
            for (int i = 0; i < 6; i++) CHECK_NEAR(b[i], v[c].want[i], 1e-6);
            if (!isnan(v[c].sum)) CHECK_NEAR(s.sum, v[c].sum, 1e-6);
        }
} END_TEST

/* X[i][j] = sin(1 + 3i + 7j + ij); Y: row 1 nearly row 0; Z: exactly. */
START_TEST(t_worked_saturation) {
    static const struct {
        int set;
        double scale, want[8], sum;
    } v[] = {
        {0,
         1,
         {0.874477, 0.874454, 0.874395, 0.874449, 0.874446, 0.874438, 0.874429, 0.874444},
         6.995531},
        {0,
         .1,
         {0.825815, 0.823754, 0.818641, 0.823372, 0.823009, 0.822335, 0.821413, 0.822703},
         6.581042},
        {0,
         .01,
         {0.130626, 0.127072, 0.117635, 0.126740, 0.124564, 0.122613, 0.116949, 0.119841},
         0.986040},
        {1,
         1,
         {0.709773, 0.709746, 0.874420, 0.874467, 0.874449, 0.874470, 0.874450, 0.874445},
         6.666220},
        {1,
         .1,
         {0.372872, 0.372822, 0.820819, 0.824894, 0.823272, 0.825313, 0.823273, 0.822876},
         5.686140},
        {1,
         .01,
         {0.089217, 0.089297, 0.120943, 0.129568, 0.122024, 0.132650, 0.122749, 0.121677},
         0.928125},
        {2,
         1,
         {0.374875, 0.374875, 0.874421, 0.874467, 0.874450, 0.874472, 0.874450, 0.874445},
         5.996454},
        {2,
         .1,
         {0.362910, 0.362910, 0.820836, 0.824891, 0.823298, 0.825317, 0.823267, 0.822878},
         5.666308},
        {2,
         .01,
         {0.089166, 0.089166, 0.120980, 0.129551, 0.122103, 0.132594, 0.122721, 0.121685},
         0.927963},
    };
    for (size_t c = 0; c < sizeof v / sizeof *v; c++) {
        double x[8][32];
        for (int i = 0; i < 8; i++)
            for (int j = 0; j < 32; j++) x[i][j] = rex_sin(1 + 3 * i + 7 * j + i * j);
        CHECK_NEAR(x[0][0], 0.841471, 5e-7);
        CHECK_NEAR(x[7][2], -0.262375, 5e-7);
        for (int j = 0; j < 32 && v[c].set > 0; j++)
            x[1][j] = x[0][j] + (v[c].set == 1 ? 0.05 * rex_cos(2 * j) : 0.0);
        for (int i = 0; i < 8; i++)
            for (int j = 0; j < 32; j++) x[i][j] *= v[c].scale;
        rex_bonus_opts o;
        rex_bonus_defaults(&o);
        for (int form = 0; form < 3; form++) {
            o.form = (rex_form)form;
            double b[8];
            rex_bonus_stat s;
            rex_err e;
            CHECK_OK(bonus_of(x[0], 8, 32, &o, b, &s, &e), e);
            for (int i = 0; i < 8; i++) CHECK_NEAR(b[i], v[c].want[i], 1e-6);
            CHECK_NEAR(s.sum, v[c].sum, 1e-6);
            CHECK_NEAR(s.saturation, v[c].sum / 7, 1e-6);
        }
    }
    double same[8][32];
    for (int i = 0; i < 8; i++)
        for (int j = 0; j < 32; j++) same[i][j] = 0.1 * j - 0.7;
    rex_bonus_opts o;
    rex_bonus_defaults(&o);
    double b[8];
    rex_bonus_stat s;
    rex_err e;
    CHECK_OK(bonus_of(same[0], 8, 32, &o, b, &s, &e), e);
    for (int i = 0; i < 8; i++) CHECK(b[i] == 0.0);
    CHECK(s.rank == 0.0);
} END_TEST

START_TEST(t_forms_agree_on_random_groups) {
    for (uint32_t seed = 0; seed < 60; seed++) {
        const rex_key key = rex_key_make(seed);
        const int64_t n = 2 + (int64_t)rex_rand_below(key, REX_STREAM_TEST, 0, 0, 0, 20);
        const int64_t d = 1 + (int64_t)rex_rand_below(key, REX_STREAM_TEST, 1, 0, 0, 20);
        double x[22 * 21], lev[2][22], loo[2][22], cond[2][22];
        for (int64_t i = 0; i < n * d; i++)
            x[i] = rex_rand_normal(key, REX_STREAM_TEST, (uint32_t)i, 1, 0);
        rex_bonus_opts o;
        rex_bonus_defaults(&o);
        o.lambda = seed % 3 ? 0.01 : 5.0;
        o.lambda_rel = seed % 4 == 0;
        o.unit = seed % 5 == 0;
        rex_bonus_stat s;
        rex_err e;
        for (int form = 0; form < 2; form++) {
            o.form = form ? REX_FORM_DUAL : REX_FORM_PRIMAL;
            o.kind = REX_BONUS_LEVERAGE;
            CHECK_OK(bonus_of(x, n, d, &o, lev[form], &s, &e), e);
            o.kind = REX_BONUS_LOO;
            CHECK_OK(bonus_of(x, n, d, &o, loo[form], &s, &e), e);
            o.kind = REX_BONUS_CONDITIONAL;
            CHECK_OK(bonus_of(x, n, d, &o, cond[form], &s, &e), e);
        }
        rex_ellipse *el = NULL;
        rex_arena *a = NULL;
        rex_feat f;
        CHECK_OK(rex_arena_open(0, &a, &e), e);
        const rex_matrix m = {x, n, d, REX_ELEM_F64};
        const rex_feat_part part = {&m, NULL, n};
        const rex_feat_opts fo = {true, o.unit, o.lambda_rel, o.lambda, NULL};
        CHECK_OK(rex_feat_open(a, &part, 1, &fo, NULL, &f, &e), e);
        CHECK_OK(rex_ellipse_open(d, f.lambda, 3, &el, &e), e);
        double row[24], gram[21 * 21] = {0}, value[21], work[21], sum = 0.0, trace = 0.0;
        for (int64_t i = 0; i < n; i++) {
            rex_feat_row(&f, i, row);
            CHECK_NEAR(rex_ellipse_bonus(el, row), cond[0][i], 1e-9 * (1 + cond[0][i]));
            CHECK_OK(rex_ellipse_add(el, row, &e), e);
            for (int64_t p = 0; p < d; p++)
                for (int64_t q = 0; q < d; q++) gram[p * d + q] += row[p] * row[q];
        }
        double logdet = (double)d * rex_log(f.lambda);
        for (int64_t i = 0; i < n; i++) {
            rex_feat_row(&f, i, row);
            CHECK_NEAR(lev[0][i], lev[1][i], 1e-12);
            CHECK_NEAR(loo[0][i], loo[1][i], 1e-9 * (1 + loo[0][i]));
            CHECK_NEAR(cond[0][i], cond[1][i], 1e-9 * (1 + cond[0][i]));
            CHECK_NEAR(rex_ellipse_bonus(el, row), lev[0][i], 1e-11);
            CHECK(lev[0][i] >= 0.0 && lev[0][i] < 1.0);
            CHECK_NEAR(loo[1][i], lev[1][i] / (1 - lev[1][i]), 1e-9 * (1 + loo[1][i]));
            /* leave one out, literally */
            CHECK_OK(rex_ellipse_remove(el, row, &e), e);
            CHECK_NEAR(rex_ellipse_bonus(el, row), loo[0][i], 1e-8 * (1 + loo[0][i]));
            CHECK_OK(rex_ellipse_add(el, row, &e), e);
            sum += lev[0][i];
            logdet += rex_log(1.0 + cond[0][i]);
        }
        CHECK_NEAR(rex_ellipse_logdet(el), logdet, 1e-9);
        for (int64_t p = 0; p < d; p++) trace += gram[p * d + p];
        CHECK_OK(rex_eigenvalues(gram, d, value, work, &e), e);
        double by_value = 0.0, total = 0.0;
        for (int64_t p = 0; p < d; p++) {
            by_value += fmax(value[p], 0) / (fmax(value[p], 0) + f.lambda);
            total += value[p];
            if (p > 0) CHECK(value[p - 1] <= value[p]);
        }
        CHECK_NEAR(by_value, sum, 1e-10 * (double)n);
        CHECK_NEAR(total, trace, 1e-12 * (1 + trace));
        rex_ellipse_close(el);
        rex_arena_close(a);
    }
} END_TEST

START_TEST(t_eigenvalues_of_known_matrices) {
    double a[9] = {2, -1, 0, -1, 2, -1, 0, -1, 2}, value[3], work[3];
    rex_err e;
    CHECK_OK(rex_eigenvalues(a, 3, value, work, &e), e);
    CHECK_NEAR(value[0], 2 - sqrt(2), 1e-15);
    CHECK_NEAR(value[1], 2, 1e-15);
    CHECK_NEAR(value[2], 2 + sqrt(2), 1e-15);
    double diag[9] = {3, 0, 0, 0, 1, 0, 0, 0, 2};
    CHECK_OK(rex_eigenvalues(diag, 3, value, work, &e), e);
    for (int i = 0; i < 3; i++) CHECK(value[i] == i + 1);
    /* the path graph of 40 corners: 4 sin^2(k pi / 80) */
    enum { N = 40 };
    static double p[N * N], v[N], w[N];
    for (int i = 0; i < N; i++) {
        p[i * N + i] = i == 0 || i == N - 1 ? 1 : 2;
        if (i > 0) p[i * N + i - 1] = p[(i - 1) * N + i] = -1;
    }
    CHECK_OK(rex_eigenvalues(p, N, v, w, &e), e);
    for (int k = 0; k < N; k++)
        CHECK_NEAR(v[k], 4 * pow(sin(k * 3.141592653589793 / (2 * N)), 2), 1e-14);
} END_TEST

START_TEST(t_normalisations) {
    double b[6], raw[6];
    rex_bonus_stat s;
    rex_err e;
    rex_bonus_opts o;
    rex_bonus_defaults(&o);
    CHECK_OK(bonus_of(H[0], 6, 4, &o, raw, &s, &e), e);
    o.normalize = REX_NORMALIZE_RND;
    CHECK_OK(bonus_of(H[0], 6, 4, &o, b, &s, &e), e);
    for (int i = 0; i < 6; i++) CHECK_NEAR(b[i], raw[i] / s.std, 1e-12);
    o.normalize = REX_NORMALIZE_ZSCORE;
    CHECK_OK(bonus_of(H[0], 6, 4, &o, b, &s, &e), e);
    double mean = 0, var = 0;
    for (int i = 0; i < 6; i++) mean += b[i] / 6;
    for (int i = 0; i < 6; i++) var += b[i] * b[i] / 5;
    CHECK_NEAR(mean, 0, 1e-12);
    CHECK_NEAR(var, 1, 1e-12);
    /* nothing to divide by: only subtract */
    CHECK_OK(bonus_of(H[0], 1, 4, &o, b, &s, &e), e);
    CHECK(b[0] == 0.0 && s.std == 0.0 && isnan(s.saturation));
    o.size = 8;
    CHECK_STATUS(bonus_of(H[0], 6, 4, &o, b, &s, &e), REX_EARG);
} END_TEST

START_TEST(t_ellipse_refuses_what_was_never_added) {
    rex_ellipse *x = NULL;
    rex_err e;
    CHECK_OK(rex_ellipse_open(4, 0.5, 0, &x, &e), e);
    CHECK_STATUS(rex_ellipse_remove(x, H[0], &e), REX_EARG);
    CHECK_OK(rex_ellipse_add(x, H[0], &e), e);
    CHECK_STATUS(rex_ellipse_remove(x, H[3], &e), REX_EARG);
    CHECK_HAS(e.text, "never added");
    CHECK_EQ(rex_ellipse_count(x), 1);
    CHECK_OK(rex_ellipse_remove(x, H[0], &e), e);
    CHECK_NEAR(rex_ellipse_bonus(x, H[0]), 12.0, 1e-12);
    CHECK_NEAR(rex_ellipse_logdet(x), 4 * log(0.5), 1e-12);
    rex_ellipse_close(x);
    CHECK_STATUS(rex_ellipse_open(0, 1, 0, &x, &e), REX_EARG);
    CHECK_STATUS(rex_ellipse_open(4, -1, 0, &x, &e), REX_EARG);
} END_TEST

/* Ten thousand additions and removals with and without refactorisation end at the same place. */
START_TEST(t_refactorisation_bounds_drift) {
    enum { D = 6 };
    rex_ellipse *x = NULL, *fresh = NULL;
    rex_err e;
    CHECK_OK(rex_ellipse_open(D, 1e-3, 0, &x, &e), e);
    CHECK_OK(rex_ellipse_open(D, 1e-3, 1, &fresh, &e), e);
    double h[D], last[8][D];
    const rex_key key = rex_key_make(1);
    for (uint32_t i = 0; i < 10000; i++) {
        for (uint32_t j = 0; j < D; j++) h[j] = rex_rand_normal(key, REX_STREAM_TEST, j, 0, i);
        if (i >= 8) CHECK_OK(rex_ellipse_remove(x, last[i % 8], &e), e);
        memcpy(last[i % 8], h, sizeof h);
        CHECK_OK(rex_ellipse_add(x, h, &e), e);
    }
    for (uint32_t i = 10000 - 8; i < 10000; i++)
        CHECK_OK(rex_ellipse_add(fresh, last[i % 8], &e), e);
    for (int i = 0; i < 8; i++) {
        const double want = rex_ellipse_bonus(fresh, last[i]);
        CHECK_NEAR(rex_ellipse_bonus(x, last[i]), want, 1e-8);
    }
    CHECK_NEAR(rex_ellipse_logdet(x), rex_ellipse_logdet(fresh), 1e-8);
    rex_ellipse_close(x);
    rex_ellipse_close(fresh);
} END_TEST

/* ---- projection -------------------------------------------------------------------------- */

/* The matrix itself: the image of each unit vector. */
static rex_status matrix_of(rex_project_kind kind, uint64_t seed, int64_t in, int64_t out, float *m,
                            uint64_t *digest, rex_err *e) {
    rex_project *p = NULL;
    float *const unit = calloc((size_t)(in * in), sizeof *unit);
    for (int64_t i = 0; i < in; i++) unit[i * in + i] = 1.0f;
    const rex_matrix rows = {unit, in, in, REX_ELEM_F32};
    rex_status st = rex_project_open(kind, seed, in, out, &p, e);
    if (st == REX_OK) {
        st = rex_project_apply(p, &rows, NULL, m, e);
        *digest = rex_project_digest(p);
    }
    rex_project_close(p);
    free(unit);
    return st;
}

START_TEST(t_sparse_matrix_follows_its_law) {
    static const struct { int64_t in, out; double density, v, per_row; } law[] = {
        {3584, 512, 0.016704, 0.341946, 59.87}, {3584, 32, 0.016704, 1.367782, 59.87},
        {256, 32, 0.062500, 0.707107, 16.00},   {128, 32, 0.088388, 0.594604, 11.31},
        {64, 16, 0.125000, 0.707107, 8.00}};
    for (size_t c = 0; c < sizeof law / sizeof *law; c++) {
        const int64_t in = law[c].in, out = law[c].out;
        float *const m = malloc(sizeof(float) * (size_t)(in * out));
        uint64_t digest = 0;
        rex_err e;
        CHECK_OK(matrix_of(REX_PROJECT_SPARSE, 7, in, out, m, &digest, &e), e);
        int64_t plus = 0, minus = 0;
        for (int64_t i = 0; i < in * out; i++) {
            if (m[i] == 0.0f) continue;
            CHECK_NEAR(fabs((double)m[i]), law[c].v, 1e-6);
            plus += m[i] > 0;
            minus += m[i] < 0;
        }
        const double total = (double)(in * out), sd = sqrt(total * law[c].density);
        CHECK_NEAR((double)(plus + minus), total * law[c].density, 4 * sd);
        CHECK_NEAR((double)(plus - minus), 0, 4 * sd);
        CHECK_NEAR((double)(plus + minus) / (double)out, law[c].per_row, 4 * sd / (double)out);
        free(m);
    }
} END_TEST

START_TEST(t_projection_is_named_by_seed) {
    float a[40 * 8], b[40 * 8];
    uint64_t da = 0, db = 0;
    rex_err e;
    for (int kind = 0; kind < 2; kind++) {
        CHECK_OK(matrix_of((rex_project_kind)kind, 3, 40, 8, a, &da, &e), e);
        CHECK_OK(matrix_of((rex_project_kind)kind, 3, 40, 8, b, &db, &e), e);
        CHECK_MEM(a, b, sizeof a);
        CHECK(da == db);
        CHECK_OK(matrix_of((rex_project_kind)kind, 4, 40, 8, b, &db, &e), e);
        CHECK(da != db && memcmp(a, b, sizeof a) != 0);
    }
} END_TEST

/* Applied to rows of every type, on any number of workers, it is the product with the matrix. */
START_TEST(t_projection_is_a_product) {
    enum { N = 77, IN = 101, OUT = 13 };
    static double x[N * IN];
    static float f[N * IN + 1], m[IN * OUT], got[N * OUT], other[N * OUT];
    static uint16_t h[N * IN];
    const rex_key key = rex_key_make(2);
    for (int i = 0; i < N * IN; i++) {
        h[i] = rex_f32_f16((float)rex_rand_normal(key, REX_STREAM_TEST, (uint32_t)i, 0, 0));
        f[i] = rex_f16_f32(h[i]);
        x[i] = (double)f[i];
    }
    rex_pool *pool = NULL;
    rex_err e;
    CHECK_OK(rex_pool_open(3, &pool, &e), e);
    for (int kind = 0; kind < 2; kind++) {
        uint64_t digest = 0;
        CHECK_OK(matrix_of((rex_project_kind)kind, 0, IN, OUT, m, &digest, &e), e);
        rex_project *p = NULL;
        CHECK_OK(rex_project_open((rex_project_kind)kind, 0, IN, OUT, &p, &e), e);
        const rex_matrix as[3] = {{f, N, IN, REX_ELEM_F32}, {x, N, IN, REX_ELEM_F64},
                                  {h, N, IN, REX_ELEM_F16}};
        for (int t = 0; t < 3; t++) {
            CHECK_OK(rex_project_apply(p, &as[t], t ? pool : NULL, t ? other : got, &e), e);
            if (t) CHECK_MEM(other, got, sizeof got);
        }
        for (int r = 0; r < N; r++)
            for (int a = 0; a < OUT; a++) {
                double want = 0.0, scale = 0.0;
                for (int j = 0; j < IN; j++) {
                    want += x[r * IN + j] * (double)m[j * OUT + a];
                    scale += fabs(x[r * IN + j] * (double)m[j * OUT + a]);
                }
                CHECK_CLOSE(got[r * OUT + a], want, scale, 20);
            }
        const rex_matrix wrong = {f, N, IN - 1, REX_ELEM_F32};
        CHECK_STATUS(rex_project_apply(p, &wrong, NULL, got, &e), REX_EARG);
        rex_project_close(p);
    }
    rex_pool_close(pool);
} END_TEST

static rex_status all_of_it(rex_err *e) {
    double b[6];
    rex_bonus_opts o;
    rex_bonus_defaults(&o);
    o.kind = REX_BONUS_CONDITIONAL;
    REX_TRY(bonus_of(H[0], 6, 4, &o, b, NULL, e));
    rex_project *p = NULL;
    for (int kind = 0; kind < 2; kind++) {
        REX_TRY(rex_project_open((rex_project_kind)kind, 0, 4, 2, &p, e));
        const rex_matrix m = {H, 6, 4, REX_ELEM_F64};
        float out[12];
        const rex_status st = rex_project_apply(p, &m, NULL, out, e);
        rex_project_close(p);
        REX_TRY(st);
    }
    return REX_OK;
}

START_TEST(t_allocations_may_fail) {
    rex_err e;
    REX_TORTURE(all_of_it(&e));
} END_TEST

REX_TEST_MAIN("explore_bonus", t_worked_leverages, t_worked_saturation,
              t_forms_agree_on_random_groups, t_eigenvalues_of_known_matrices, t_normalisations,
              t_ellipse_refuses_what_was_never_added, t_refactorisation_bounds_drift,
              t_sparse_matrix_follows_its_law, t_projection_is_named_by_seed,
              t_projection_is_a_product, t_allocations_may_fail)
