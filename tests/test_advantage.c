/* SPDX-License-Identifier: MIT
 *
 * The registry of advantages: printed tables of every kind, enumeration of all subsets (n <= 10)
 * and of all partitions, simulation where the kind draws, the gates, and every refusal.
 */
#include "rex_test.h"

#include "../src/rl/rl.h"

static uint64_t state;
static double unit(void) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    uint64_t x = state ^ (state >> 29);
    x *= 0xBF58476D1CE4E5B9u;
    return (double)(x >> 11) * 0x1p-53;
}

/* One group through the registry. */
static rex_status one(rex_adv_opts o, const double *r, size_t n, double *adv, rex_err *e) {
    const size_t first[] = {0, n};
    const rex_scored s = {.n_groups = 1, .first = first, .reward = r};
    return rex_advantage_run(&s, &o, adv, e);
}

static rex_adv_opts kind_k(rex_adv_kind kind, int64_t k) {
    rex_adv_opts o;
    rex_adv_defaults(&o);
    o.kind = kind;
    o.k = k;
    return o;
}

/* n samples, the first c right. */
static void binary(double *r, size_t n, size_t c) {
    for (size_t i = 0; i < n; i++) r[i] = i < c ? 1.0 : 0.0;
}

static void check_signs(rex_adv_opts o, size_t n, size_t c, double pos, double neg, double tol) {
    double r[64], adv[64];
    rex_err e = {.text = ""};
    binary(r, n, c);
    CHECK_OK(one(o, r, n, adv, &e), e);
    for (size_t i = 0; i < n; i++) CHECK_NEAR(adv[i], i < c ? pos : neg, tol);
}

/* ---- printed tables
 * --------------------------------------------------------------------------------- */

START_TEST(t_grpo_table_of_8) {
    static const double want[7][4] = {
        {2.474867, -0.353552, 2.645751, -0.377964}, {1.620182, -0.540061, 1.732051, -0.577350},
        {1.207612, -0.724567, 1.290994, -0.774597}, {0.935413, -0.935413, 1.000000, -1.000000},
        {0.724567, -1.207612, 0.774597, -1.290994}, {0.540061, -1.620182, 0.577350, -1.732051},
        {0.353552, -2.474867, 0.377964, -2.645751}};
    for (size_t c = 1; c <= 7; c++) {
        rex_adv_opts o = kind_k(REX_ADV_GRPO, 0);
        check_signs(o, 8, c, want[c - 1][0], want[c - 1][1], 1e-6);
        /* the population columns are printed without the 1e-6 that grpo adds to the deviation */
        o.std = REX_STD_POPULATION;
        const double p = (double)c / 8.0, s = sqrt(p * (1.0 - p)), f = s / (s + 1e-6);
        check_signs(o, 8, c, want[c - 1][2] * f, want[c - 1][3] * f, 1e-6);
        o.std = REX_STD_NONE;
        check_signs(o, 8, c, 1.0 - p, -p, 1e-15);
    }
} END_TEST

/* Leverages of six centred rows of four columns, lambda 0.01, by plain elimination: the bonus of
 * the printed rows in full precision. */
static void leverages(double *out) {
    static const double h[6][4] = {{1, 0, 2, -1}, {1, 0.5, 2, -1}, {0, 2, -1, 1},
                                   {-1, 1, 0, 3}, {2, -1, 1, 0},   {0.5, 0.5, 0.5, 0.5}};
    double x[6][4], a[4][4], mean[4] = {0};
    for (int i = 0; i < 6; i++)
        for (int j = 0; j < 4; j++) mean[j] += h[i][j] / 6;
    for (int j = 0; j < 4; j++)
        for (int k = 0; k < 4; k++) {
            a[j][k] = j == k ? 0.01 : 0;
            for (int i = 0; i < 6; i++) a[j][k] += (h[i][j] - mean[j]) * (h[i][k] - mean[k]);
        }
    for (int i = 0; i < 6; i++)
        for (int j = 0; j < 4; j++) x[i][j] = h[i][j] - mean[j];
    for (int i = 0; i < 6; i++) { /* solve a y = x_i; out = x_i y */
        double m[4][5], y[4];
        for (int j = 0; j < 4; j++) {
            memcpy(m[j], a[j], sizeof a[j]);
            m[j][4] = x[i][j];
        }
        for (int p = 0; p < 4; p++)
            for (int j = p + 1; j < 4; j++) {
                const double f = m[j][p] / m[p][p];
                for (int k = p; k < 5; k++) m[j][k] -= f * m[p][k];
            }
        out[i] = 0;
        for (int p = 3; p >= 0; p--) {
            y[p] = m[p][4];
            for (int k = p + 1; k < 4; k++) y[p] -= m[p][k] * y[k];
            y[p] /= m[p][p];
            out[i] += x[i][p] * y[p];
        }
    }
}

START_TEST(t_reward_mixing_table) {
    static const double r[3][6] = {{1, 0, 0, 1, 0, 0}, {1, 1, 1, 1, 1, 1}, {0, 0, 0, 0, 0, 0}};
    static const double want[3][6] = {
        {1.288204, -0.643948, -0.642699, 1.293754, -0.641894, -0.653416},
        {-0.476257, 0.271996, 0.547923, 0.749301, 0.725519, -1.818482}, {0, 0, 0, 0, 0, 0}};
    const size_t first[] = {0, 6};
    double bonus[6], adv[6];
    leverages(bonus);
    CHECK_NEAR(bonus[0], 0.526458, 1e-6);
    for (int row = 0; row < 3; row++) {
        const rex_scored s = {.n_groups = 1, .first = first, .reward = r[row], .bonus = bonus};
        rex_adv_opts o = kind_k(REX_ADV_GRPO, 0);
        o.beta = 0.01;
        CHECK_STATUS(rex_advantage_run(&s, &o, adv, NULL), REX_OK);
        for (int i = 0; i < 6; i++) CHECK_NEAR(adv[i], want[row][i], 1e-6);
        o.beta = 0.0;
        CHECK_STATUS(rex_advantage_run(&s, &o, adv, NULL), REX_OK);
        if (row == 0)
            for (int i = 0; i < 6; i++)
                CHECK_NEAR(adv[i], r[0][i] == 1 ? 1.290992 : -0.645496, 1e-6);
    }
} END_TEST

START_TEST(t_unlikeliness_table) {
    static const double r[] = {1, 1, 0, 1}, l[] = {-0.5, -1.0, -0.2, -0.8};
    static const double code[] = {0.364512, 0.629612, -1.491186, 0.497062};
    static const double paper[] = {0.354737, 0.638527, -1.489895, 0.496632};
    static const double plain[] = {0.499999, 0.499999, -1.499997, 0.499999};
    const size_t first[] = {0, 4};
    const rex_scored s = {.n_groups = 1, .first = first, .reward = r, .logp_mean = l};
    double adv[4];
    rex_adv_opts o = kind_k(REX_ADV_UNLIKELINESS, 0);
    CHECK_STATUS(rex_advantage_run(&s, &o, adv, NULL), REX_OK);
    for (int i = 0; i < 4; i++) CHECK_NEAR(adv[i], code[i], 1e-6);
    o.paper_form = true;
    CHECK_STATUS(rex_advantage_run(&s, &o, adv, NULL), REX_OK);
    for (int i = 0; i < 4; i++) CHECK_NEAR(adv[i], paper[i], 1e-6);
    o.rank_weight = 0.0;
    CHECK_STATUS(rex_advantage_run(&s, &o, adv, NULL), REX_OK);
    for (int i = 0; i < 4; i++) CHECK_NEAR(adv[i], plain[i], 1e-6);
    o = kind_k(REX_ADV_UNLIKELINESS, 0);
    const rex_scored bare = {.n_groups = 1, .first = first, .reward = r};
    CHECK_STATUS(rex_advantage_run(&bare, &o, adv, NULL), REX_EFORMAT);
} END_TEST

START_TEST(t_best_minus_second_table) {
    static const double r[4][4] = {{0.2, 0.9, 0.5, 0.1}, {0, 0, 1, 0}, {0, 1, 1, 0}, {1, 1, 1, 1}};
    static const double plain[] = {0.4, 1, 0, 0}, divided[] = {1.112970, 1.999996, 0, 0};
    static const int at[] = {1, 2, 1, 0};
    for (int row = 0; row < 4; row++) {
        double adv[4];
        rex_adv_opts o = kind_k(REX_ADV_BEST_SECOND, 0);
        CHECK_STATUS(one(o, r[row], 4, adv, NULL), REX_OK);
        for (int i = 0; i < 4; i++) CHECK_NEAR(adv[i], i == at[row] ? plain[row] : 0, 1e-15);
        o.std = REX_STD_SAMPLE;
        CHECK_STATUS(one(o, r[row], 4, adv, NULL), REX_OK);
        for (int i = 0; i < 4; i++) CHECK_NEAR(adv[i], i == at[row] ? divided[row] : 0, 1e-6);
    }
} END_TEST

START_TEST(t_passk_table_of_8) {
    static const struct { int64_t k; size_t c; double pos, neg;
    } want[] = {{1, 0, 0, 0},
                {1, 1, 2.645751, -0.377964},
                {1, 2, 1.732051, -0.577350},
                {1, 3, 1.290994, -0.774597},
                {1, 4, 1, -1},
                {1, 5, 0.774597, -1.290994},
                {1, 6, 0.577350, -1.732051},
                {1, 7, 0.377964, -2.645751},
                {1, 8, 0, 0},
                {2, 0, 0, 0},
                {2, 1, 1.732051, -0.247436},
                {2, 2, 1.074172, -0.358057},
                {2, 3, 0.745356, -0.447214},
                {2, 4, 0.522233, -0.522233},
                {2, 5, 0.346410, -0.577350},
                {2, 6, 0.192450, -0.577350},
                {2, 7, 0, 0},
                {2, 8, 0, 0},
                {4, 0, 0, 0},
                {4, 1, 1, -0.142857},
                {4, 2, 0.522233, -0.174078},
                {4, 3, 0.277350, -0.166410},
                {4, 4, 0.120386, -0.120386},
                {4, 5, 0, 0},
                {4, 6, 0, 0},
                {4, 7, 0, 0},
                {4, 8, 0, 0}};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        check_signs(kind_k(REX_ADV_PASSK, want[i].k), 8, want[i].c, want[i].pos, want[i].neg, 1e-6);
        check_signs(kind_k(REX_ADV_PASSK_GENERAL, want[i].k), 8, want[i].c, want[i].pos,
                    want[i].neg, 1e-6);
    }
    double r[8], adv[8];
    rex_err e;
    for (size_t c = 0; c <= 8; c++) { /* the degenerate table of k = n is a refusal */
        binary(r, 8, c);
        CHECK_STATUS(one(kind_k(REX_ADV_PASSK, 8), r, 8, adv, &e), REX_EFORMAT);
        CHECK_HAS(e.text, "k = 8");
    }
} END_TEST

START_TEST(t_eta_peaks_where_printed) {
    static const struct { size_t n; int64_t k; size_t c; double eta; } want[] = {
        {8, 1, 4, 8.0}, {8, 2, 3, 4.4721}, {8, 4, 2, 2.0889}, {16, 1, 8, 16}, {16, 2, 6, 9.2952},
        {16, 4, 4, 4.8897}, {16, 8, 2, 2.2067}, {32, 1, 16, 32}, {32, 2, 12, 18.9116},
        {32, 4, 8, 10.3622}, {32, 8, 4, 5.1811}, {32, 16, 2, 2.2597}};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        double best = 0.0, r[32], adv[32];
        size_t at = 0;
        for (size_t c = 0; c <= want[i].n; c++) {
            double eta = 0.0;
            binary(r, want[i].n, c);
            CHECK_STATUS(one(kind_k(REX_ADV_PASSK, want[i].k), r, want[i].n, adv, NULL), REX_OK);
            for (size_t j = 0; j < want[i].n; j++) eta += fabs(adv[j]);
            if (eta > best) best = eta, at = c;
        }
        CHECK_EQ(at, want[i].c);
        CHECK_NEAR(best, want[i].eta, 0.51e-4);
    }
} END_TEST

START_TEST(t_combined_and_exceed_table) {
    static const double want[7][4] = {
        {2.440032, -0.348576, 0.986521, -0.140932}, {1.429596, -0.476532, 0.227977, -0.075992},
        {0.910878, -0.546527, 0.088556, -0.053134}, {0.560193, -0.560193, 0.032016, -0.032016},
        {0.290474, -0.484123, 0, 0}, {0.144338, -0.433013, 0, 0}, {0.047246, -0.330719, 0, 0}};
    for (size_t c = 1; c <= 7; c++) {
        check_signs(kind_k(REX_ADV_COMBINED, 4), 8, c, want[c - 1][0], want[c - 1][1], 1e-6);
        check_signs(kind_k(REX_ADV_EXCEED, 4), 8, c, want[c - 1][2], want[c - 1][3], 1e-6);
    }
    check_signs(kind_k(REX_ADV_EXCEED, 4), 8, 0, 0, 0, 0);
    check_signs(kind_k(REX_ADV_COMBINED, 4), 8, 8, 0, 0, 0);
} END_TEST

START_TEST(t_pkpo_table) {
    static const double g[] = {0, 0.5, 0.2, 1.0};
    static const struct { rex_adv_kind kind; int64_t k; double v[4]; } want[] = {
        {REX_ADV_PKPO_S, 1, {0, 0.125, 0.05, 0.25}},
        {REX_ADV_PKPO_S, 2, {0.283333, 0.333333, 0.283333, 0.5}},
        {REX_ADV_PKPO_S, 3, {0.625, 0.625, 0.625, 0.75}},
        {REX_ADV_PKPO_S, 4, {1, 1, 1, 1}},
        {REX_ADV_PKPO_LOO, 1, {-0.188889, -0.008333, -0.116667, 0.172222}},
        {REX_ADV_PKPO_LOO, 2, {-0.272222, -0.155556, -0.272222, 0.233333}},
        {REX_ADV_PKPO_LOO, 3, {-0.375, -0.375, -0.375, 0.25}},
        {REX_ADV_PKPO, 2, {0, 0.133333, 0.033333, 0.383333}},
        {REX_ADV_PKPO, 3, {0, 0.075, 0, 0.45}},
        {REX_ADV_PKPO, 4, {0, 0, 0, 0.5}},
        {REX_ADV_PASSK_GENERAL, 1, {-1.128330, 0.199117, -0.597351, 1.526564}},
        {REX_ADV_PASSK_GENERAL, 2, {-0.421637, -0.105409, -0.421637, 0.948683}},
        {REX_ADV_PASSK_GENERAL, 3, {-0.192450, -0.192450, -0.192450, 0.577350}}};
    double adv[4];
    rex_err e = {.text = ""};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        CHECK_OK(one(kind_k(want[i].kind, want[i].k), g, 4, adv, &e), e);
        for (int j = 0; j < 4; j++) CHECK_NEAR(adv[j], want[i].v[j], 1e-6);
    }
    CHECK_STATUS(one(kind_k(REX_ADV_PKPO_LOO, 4), g, 4, adv, &e), REX_EFORMAT);
    CHECK_STATUS(one(kind_k(REX_ADV_PASSK_GENERAL, 4), g, 4, adv, &e), REX_EFORMAT);
    CHECK_STATUS(one(kind_k(REX_ADV_PKPO, 5), g, 4, adv, &e), REX_EFORMAT);
    CHECK_STATUS(one(kind_k(REX_ADV_PKPO, 1), g, 4, adv, &e), REX_EARG);
    CHECK_HAS(e.text, "rloo");
} END_TEST

START_TEST(t_pkpo_binary_table) {
    static const struct { size_t c; int64_t k; double s[2], loo[2], loo1[2]; } want[] = {
        {1, 2, {0.25, 0.035714}, {0.25, -0.045918}, {0.25, 0}},
        {1, 4, {0.5, 0.214286}, {0.5, -0.112245}, {0.5, 0}},
        {2, 2, {0.25, 0.071429}, {0.168367, -0.078231}, {0.214286, 0}},
        {2, 4, {0.5, 0.357143}, {0.173469, -0.132653}, {0.285714, 0}},
        {4, 2, {0.25, 0.142857}, {0.045918, -0.102041}, {0.142857, 0}},
        {4, 4, {0.5, 0.485714}, {-0.055102, -0.085714}, {0.057143, 0}},
        {6, 2, {0.25, 0.214286}, {-0.022109, -0.071429}, {0.071429, 0}},
        {6, 4, {0.5, 0.5}, {-0.071429, -0.071429}, {0, 0}}};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        check_signs(kind_k(REX_ADV_PKPO_S, want[i].k), 8, want[i].c, want[i].s[0], want[i].s[1],
                    1e-6);
        check_signs(kind_k(REX_ADV_PKPO_LOO, want[i].k), 8, want[i].c, want[i].loo[0],
                    want[i].loo[1], 1e-6);
        check_signs(kind_k(REX_ADV_PKPO, want[i].k), 8, want[i].c, want[i].loo1[0], want[i].loo1[1],
                    1e-6);
    }
} END_TEST

/* ---- enumeration
 * ------------------------------------------------------------------------------------- */

static double max_of(const double *g, unsigned set) {
    double best = -INFINITY;
    for (int i = 0; i < 10; i++)
        if (set >> i & 1 && g[i] > best) best = g[i];
    return best;
}

static double rho_without(const double *g, size_t n, int k, int without) {
    double sum = 0, count = 0;
    for (unsigned set = 0; set < 1u << n; set++) {
        if (__builtin_popcount(set) != k || (without >= 0 && set >> without & 1)) continue;
        sum += max_of(g, set);
        count++;
    }
    return sum / count;
}

START_TEST(t_subset_kinds_equal_enumeration) {
    state = 21;
    for (int round = 0; round < 60; round++) {
        const size_t n = 2 + (size_t)(unit() * 9);
        double g[10];
        for (size_t i = 0; i < n; i++) g[i] = round % 2 ? floor(unit() * 4) - 1 : 3 * unit() - 1;
        for (int k = 1; k <= (int)n; k++) {
            double s[10] = {0}, gain[10] = {0}, adv[10], mean = 0, square = 0, all = 0;
            for (unsigned set = 0; set < 1u << n; set++) {
                if (__builtin_popcount(set) != k) continue;
                const double m = max_of(g, set);
                all++;
                mean += m;
                square += m * m;
                for (size_t i = 0; i < n; i++)
                    if (set >> i & 1) {
                        s[i] += m;
                        if (k > 1) gain[i] += m - max_of(g, set & ~(1u << i));
                    }
            }
            mean /= all;
            const double std = sqrt(fmax(square / all - mean * mean, 0));
            CHECK_STATUS(one(kind_k(REX_ADV_PKPO_S, k), g, n, adv, NULL), REX_OK);
            for (size_t i = 0; i < n; i++) CHECK_CLOSE(adv[i], s[i] / all, 3.0, 64);
            if (k > 1) {
                CHECK_STATUS(one(kind_k(REX_ADV_PKPO, k), g, n, adv, NULL), REX_OK);
                for (size_t i = 0; i < n; i++) CHECK_CLOSE(adv[i], gain[i] / all, 3.0, 64);
            }
            if ((size_t)k == n) continue;
            CHECK_STATUS(one(kind_k(REX_ADV_PKPO_LOO, k), g, n, adv, NULL), REX_OK);
            for (size_t i = 0; i < n; i++)
                CHECK_CLOSE(adv[i], s[i] / all - k / (n - 1.0) * rho_without(g, n, k, (int)i), 3.0,
                            64);
            CHECK_STATUS(one(kind_k(REX_ADV_PASSK_GENERAL, k), g, n, adv, NULL), REX_OK);
            for (size_t i = 0; i < n; i++)
                CHECK_NEAR(adv[i], std > 1e-7 ? ((double)n / k * s[i] / all - mean) / std : 0,
                           1e-9);
        }
    }
} END_TEST

/* All groups, each normalised by the mean and deviation over all groups, averaged over those that
 * hold the sample: the analytic advantage. */
START_TEST(t_passk_equals_all_groups) {
    for (size_t n = 2; n <= 10; n++)
        for (size_t c = 0; c <= n; c++)
            for (int k = 1; k < (int)n; k++) {
                double r[10], adv[10], hits = 0, all = 0, in[10] = {0}, sum[10] = {0};
                binary(r, n, c);
                for (unsigned set = 0; set < 1u << n; set++) {
                    if (__builtin_popcount(set) != k) continue;
                    all++;
                    hits += max_of(r, set);
                    for (size_t i = 0; i < n; i++)
                        if (set >> i & 1) in[i]++, sum[i] += max_of(r, set);
                }
                const double R = hits / all, std = sqrt(R * (1 - R));
                CHECK_STATUS(one(kind_k(REX_ADV_PASSK, k), r, n, adv, NULL), REX_OK);
                for (size_t i = 0; i < n; i++)
                    CHECK_CLOSE(adv[i], std > 0 ? (sum[i] / in[i] - R) / std : 0, 4.0, 64);
            }
} END_TEST

/* Two groups of three from six with two right: over all orders the mean of the own-normalised
 * advantage is 0.4 and -0.2. */
START_TEST(t_full_sampling_over_all_splits) {
    double pos = 0, neg = 0, splits = 0;
    for (unsigned set = 0; set < 64; set++) {
        if (__builtin_popcount(set) != 3) continue;
        size_t where[6], a = 0, b = 3;
        for (size_t i = 0; i < 6; i++) where[i] = set >> i & 1 ? a++ : b++;
        double r[6] = {0}, adv[6];
        r[where[0]] = r[where[1]] = 1;
        CHECK_STATUS(one(kind_k(REX_ADV_PASSK_FULL, 3), r, 6, adv, NULL), REX_OK);
        pos += (adv[where[0]] + adv[where[1]]) / 2;
        for (size_t i = 2; i < 6; i++) neg += adv[where[i]] / 4;
        splits++;
    }
    CHECK_NEAR(pos / splits, 0.4, 1e-12);
    CHECK_NEAR(neg / splits, -0.2, 1e-12);
    /* what is left over is not trained */
    const double r[] = {1, 0, 0, 0, 1};
    double adv[5];
    CHECK_STATUS(one(kind_k(REX_ADV_PASSK_FULL, 2), r, 5, adv, NULL), REX_OK);
    static const double want[] = {1, 1, -1, -1, 0};
    for (int i = 0; i < 5; i++) CHECK_NEAR(adv[i], want[i], 1e-12);
} END_TEST

/* Bootstrap groups: printed means within four standard errors, and the share of idle draws. */
START_TEST(t_bootstrap_groups_simulated) {
    static const struct { size_t n, c; int64_t k; double pos, neg, idle; } want[] = {
        {6, 2, 3, 1.1669, -0.5835, 0.2622}, {8, 2, 4, 1.7858, -0.5953, 0.1445}};
    enum { ROUNDS = 20000 };
    for (int w = 0; w < 2; w++) {
        double pos = 0, pos2 = 0, neg = 0, neg2 = 0, idle = 0, r[8], adv[8];
        binary(r, want[w].n, want[w].c);
        for (uint64_t d = 0; d < ROUNDS; d++) {
            rex_adv_opts o = kind_k(REX_ADV_PASSK_BOOT, want[w].k);
            const size_t first[] = {0, want[w].n};
            const rex_scored s = {.n_groups = 1, .first = first, .reward = r, .stream = &d};
            CHECK_STATUS(rex_advantage_run(&s, &o, adv, NULL), REX_OK);
            pos += adv[0], pos2 += adv[0] * adv[0];
            neg += adv[7 < want[w].n ? 7 : 5], neg2 += adv[5] * adv[5];
            bool any = false;
            for (size_t i = 0; i < want[w].n; i++) any = any || adv[i] != 0;
            idle += !any;
        }
        const double N = ROUNDS, se_pos = sqrt((pos2 / N - pos / N * pos / N) / N);
        const double se_neg = sqrt((neg2 / N - neg / N * neg / N) / N);
        CHECK_NEAR(pos / N, want[w].pos, 4 * sqrt(se_pos * se_pos + 0.003 * 0.003));
        CHECK_NEAR(neg / N, want[w].neg, 4 * sqrt(se_neg * se_neg + 0.003 * 0.003));
        /* a sum of advantages can cancel to 0 in a draw that was not idle, but never the other way
         */
        const double p = want[w].idle, se = sqrt(p * (1 - p) / N);
        CHECK_NEAR(idle / N, p, 4 * se + 0.002);
    }
} END_TEST

START_TEST(t_bootstrap_groups_are_named) {
    const double r[] = {1, 0, 0, 0, 1, 0};
    double a[6], b[6], c[6];
    rex_adv_opts o = kind_k(REX_ADV_PASSK_BOOT, 2);
    CHECK_STATUS(one(o, r, 6, a, NULL), REX_OK);
    CHECK_STATUS(one(o, r, 6, b, NULL), REX_OK);
    CHECK_MEM(a, b, sizeof a);
    o.group_mean = true;
    CHECK_STATUS(one(o, r, 6, b, NULL), REX_OK);
    for (int i = 0; i < 6; i++) CHECK_CLOSE(b[i], a[i] / 2, 1, 2);
    o.group_mean = false;
    o.seed = 1;
    CHECK_STATUS(one(o, r, 6, c, NULL), REX_OK);
    CHECK(memcmp(a, c, sizeof a) != 0);
} END_TEST

/* ---- the rest of the registry
 * --------------------------------------------------------------------------- */

START_TEST(t_small_kinds_by_hand) {
    static const double r[] = {1, 0, 0.5, 0.5, 0, 1};
    const size_t first[] = {0, 4, 6};
    const rex_scored s = {.n_groups = 2, .first = first, .reward = r};
    double adv[6];
    rex_adv_opts o = kind_k(REX_ADV_DR_GRPO, 0);
    CHECK_STATUS(rex_advantage_run(&s, &o, adv, NULL), REX_OK);
    static const double dr[] = {0.5, -0.5, 0, 0, -0.5, 0.5};
    for (int i = 0; i < 6; i++) CHECK_CLOSE(adv[i], dr[i], 1, 2);
    o.kind = REX_ADV_RLOO;
    CHECK_STATUS(rex_advantage_run(&s, &o, adv, NULL), REX_OK);
    for (int i = 0; i < 6; i++) CHECK_CLOSE(adv[i], dr[i] * (i < 4 ? 4.0 / 3.0 : 2.0), 1, 2);
    o.kind = REX_ADV_REINFORCE;
    CHECK_STATUS(rex_advantage_run(&s, &o, adv, NULL), REX_OK);
    double std = sqrt((4 * 0.25) / 6.0) + 1e-8;
    for (int i = 0; i < 6; i++) CHECK_CLOSE(adv[i], (r[i] - 0.5) / std, 2, 8);
    o.kind = REX_ADV_REINFORCE_BASE;
    CHECK_STATUS(rex_advantage_run(&s, &o, adv, NULL), REX_OK);
    for (int i = 0; i < 6; i++) CHECK_CLOSE(adv[i], dr[i] / std, 2, 8);
    static const double b[] = {1, 0};
    CHECK_STATUS(one(kind_k(REX_ADV_NSR, 0), b, 2, adv, NULL), REX_OK);
    CHECK(adv[0] == 0 && adv[1] == -1);
    CHECK_STATUS(one(kind_k(REX_ADV_W_REINFORCE, 0), b, 2, adv, NULL), REX_OK);
    CHECK(adv[0] == 0.1 && adv[1] == -1);
} END_TEST

START_TEST(t_one_sample) {
    static const double r[] = {0.75}, b[] = {1};
    double adv[1];
    for (int kind = 0; kind < REX_ADV_COUNT; kind++) {
        rex_adv_opts o = kind_k((rex_adv_kind)kind, 2);
        const double *const x = rex_adv_binary(o.kind) ? b : r;
        const size_t first[] = {0, 1};
        const rex_scored s = {
            .n_groups = 1, .first = first, .reward = x, .logp_mean = x, .entropy = x};
        const bool alone = kind == REX_ADV_GRPO || kind == REX_ADV_DR_GRPO ||
                           kind == REX_ADV_REINFORCE || kind == REX_ADV_NSR ||
                           kind == REX_ADV_W_REINFORCE;
        CHECK_STATUS(rex_advantage_run(&s, &o, adv, NULL), alone ? REX_OK : REX_EFORMAT);
        if (kind == REX_ADV_GRPO) CHECK_CLOSE(adv[0], 0.75 / (1 + 1e-6), 1, 2);
        if (kind == REX_ADV_DR_GRPO || kind == REX_ADV_REINFORCE) CHECK(adv[0] == 0);
    }
} END_TEST

START_TEST(t_which_k_and_rewards_each_kind_takes) {
    static const double half[] = {1, 0, 0.5, 0}, b[] = {1, 0, 1, 0};
    double adv[4];
    const size_t first[] = {0, 4};
    for (int kind = 0; kind < REX_ADV_COUNT; kind++) {
        const rex_adv_kind x = (rex_adv_kind)kind;
        rex_scored s = {.n_groups = 1, .first = first, .reward = b, .logp_mean = b, .entropy = b};
        const bool needs = x == REX_ADV_PASSK || x == REX_ADV_PASSK_FULL ||
                           x == REX_ADV_PASSK_BOOT || x == REX_ADV_PASSK_GENERAL ||
                           x == REX_ADV_EXCEED || x == REX_ADV_COMBINED || x == REX_ADV_ADAPTIVE ||
                           x == REX_ADV_PKPO || x == REX_ADV_PKPO_S || x == REX_ADV_PKPO_LOO;
        const bool full = x == REX_ADV_PKPO || x == REX_ADV_PKPO_S;
        rex_adv_opts o = kind_k(x, 0);
        CHECK_STATUS(rex_advantage_run(&s, &o, adv, NULL), needs ? REX_EARG : REX_OK);
        o.k = -1;
        CHECK_STATUS(rex_advantage_run(&s, &o, adv, NULL), needs ? REX_EARG : REX_OK);
        o.k = 4;
        CHECK_STATUS(rex_advantage_run(&s, &o, adv, NULL), needs && !full ? REX_EFORMAT : REX_OK);
        o.k = 5;
        CHECK_STATUS(rex_advantage_run(&s, &o, adv, NULL), needs ? REX_EFORMAT : REX_OK);
        o.k = 2;
        CHECK_STATUS(rex_advantage_run(&s, &o, adv, NULL), REX_OK);
        const bool binary_only =
            x == REX_ADV_PASSK || x == REX_ADV_PASSK_FULL || x == REX_ADV_PASSK_BOOT ||
            x == REX_ADV_EXCEED || x == REX_ADV_COMBINED || x == REX_ADV_ADAPTIVE ||
            x == REX_ADV_NSR || x == REX_ADV_W_REINFORCE || x == REX_ADV_UNLIKELINESS;
        s.reward = half;
        CHECK_STATUS(rex_advantage_run(&s, &o, adv, NULL), binary_only ? REX_EFORMAT : REX_OK);
        s.reward = s.bonus = b;
        o.beta = 0.1;
        CHECK_STATUS(rex_advantage_run(&s, &o, adv, NULL), binary_only ? REX_EARG : REX_OK);
        o.bonus_late = true;
        CHECK_STATUS(rex_advantage_run(&s, &o, adv, NULL), REX_OK);
        CHECK_EQ(rex_adv_binary(x), binary_only);
        rex_adv_kind found;
        CHECK_STATUS(rex_adv_find(rex_adv_name(x), &found, NULL), REX_OK);
        CHECK_EQ(found, x);
    }
    rex_adv_kind found;
    rex_err e;
    CHECK_STATUS(rex_adv_find("pkp", &found, &e), REX_EARG);
    CHECK_HAS(e.text, "pkpo");
} END_TEST

START_TEST(t_gates) {
    static const double r[] = {0, 0, 1, 0, 1, 1}, bonus[] = {1, 2, 3, 4, 5, 6};
    const size_t first[] = {0, 2, 4, 6};
    const rex_scored s = {.n_groups = 3, .first = first, .reward = r, .bonus = bonus};
    static const struct { bool incorrect, none, some, all; double v[6]; } want[] = {
        {0, 0, 0, 0, {1, 2, 3, 4, 5, 6}}, {0, 1, 0, 0, {0, 0, 3, 4, 5, 6}},
        {1, 0, 0, 0, {0, 0, 3, 0, 5, 6}}, {0, 0, 1, 0, {1, 2, 0, 0, 5, 6}},
        {0, 0, 0, 1, {1, 2, 3, 4, 0, 0}}, {1, 1, 1, 1, {0, 0, 0, 0, 0, 0}}};
    for (size_t w = 0; w < sizeof want / sizeof *want; w++) {
        rex_adv_opts o = kind_k(REX_ADV_NSR, 0);
        o.bonus_late = true;
        o.beta = 0.5;
        o.gate_incorrect = want[w].incorrect;
        o.gate_none = want[w].none;
        o.gate_some = want[w].some;
        o.gate_all = want[w].all;
        double adv[6];
        CHECK_STATUS(rex_advantage_run(&s, &o, adv, NULL), REX_OK);
        for (int i = 0; i < 6; i++)
            CHECK_CLOSE(adv[i], (r[i] == 1 ? 0 : -1) + 0.5 * want[w].v[i], 4, 2);
    }
    /* before normalisation, with alpha */
    rex_adv_opts o = kind_k(REX_ADV_DR_GRPO, 0);
    o.alpha = 2;
    o.beta = 0.5;
    double adv[6];
    CHECK_STATUS(rex_advantage_run(&s, &o, adv, NULL), REX_OK);
    static const double dr[] = {0, 0, 0.75, -0.75, -0.25, 0.25};
    for (int i = 0; i < 6; i++) CHECK_CLOSE(adv[i], dr[i], 4, 2);
    const rex_scored bare = {.n_groups = 3, .first = first, .reward = r};
    rex_err e;
    CHECK_STATUS(rex_advantage_run(&bare, &o, adv, &e), REX_EFORMAT);
    CHECK_HAS(e.text, "bonus_raw");
} END_TEST

START_TEST(t_adaptive_splits_by_entropy) {
        /* five prompts of four samples, one right in each; entropies 3 1 3 2 5: the upper two
         * explore */
        double r[20], entropy[20], adv[20];
        static const double h[] = {3, 1, 3, 2, 5};
        static const bool explores[] = {true, false, false, false, true};
        size_t first[6];
        for (size_t g = 0; g < 6; g++) first[g] = 4 * g;
        for (size_t i = 0; i < 20; i++) {
            r[i] = i % 4 == 0;
            entropy[i] = h[i / 4] + (i % 2 ? 0.25 : -0.25);
    }
    const rex_scored s = {.n_groups = 5, .first = first, .reward = r, .entropy = entropy};
    rex_adv_opts o = kind_k(REX_ADV_ADAPTIVE, 2);
    CHECK_STATUS(rex_advantage_run(&s, &o, adv, NULL), REX_OK);
    for (size_t i = 0; i < 20; i += 4) CHECK_CLOSE(adv[i], explores[i / 4] ? sqrt(3.0) : 1.0, 2, 8);
} END_TEST

/* Equal rewards must not be divided by their own rounding. */
START_TEST(t_equal_rewards_are_exactly_zero) {
    double r[7], adv[7];
    for (int i = 0; i < 7; i++) r[i] = 0.1;
    static const rex_adv_kind kinds[] = {
        REX_ADV_GRPO,           REX_ADV_DR_GRPO,       REX_ADV_RLOO, REX_ADV_REINFORCE,
        REX_ADV_REINFORCE_BASE, REX_ADV_PASSK_GENERAL, REX_ADV_PKPO, REX_ADV_BEST_SECOND};
    for (size_t j = 0; j < sizeof kinds / sizeof *kinds; j++) {
        CHECK_STATUS(one(kind_k(kinds[j], 3), r, 7, adv, NULL), REX_OK);
        for (int i = 0; i < 7; i++)
            if (adv[i] != 0)
                rex_test_fail(__FILE__, __LINE__, "%s gives %g", rex_adv_name(kinds[j]), adv[i]);
    }
    r[0] = 1e308, r[1] = -1e308;
    rex_err e;
    CHECK_STATUS(one(kind_k(REX_ADV_GRPO, 0), r, 7, adv, &e), REX_ENAN);
} END_TEST

START_TEST(t_advantage_survives_failing_memory) {
    static const double r[] = {1, 0, 0, 1};
    double adv[4];
    REX_TORTURE(one(kind_k(REX_ADV_PKPO_LOO, 2), r, 4, adv, NULL));
    REX_TORTURE(one(kind_k(REX_ADV_PASSK_BOOT, 2), r, 4, adv, NULL));
} END_TEST

REX_TEST_MAIN("advantage", t_grpo_table_of_8, t_reward_mixing_table, t_unlikeliness_table,
              t_best_minus_second_table, t_passk_table_of_8, t_eta_peaks_where_printed,
              t_combined_and_exceed_table, t_pkpo_table, t_pkpo_binary_table,
              t_subset_kinds_equal_enumeration, t_passk_equals_all_groups,
              t_full_sampling_over_all_splits, t_bootstrap_groups_simulated,
              t_bootstrap_groups_are_named, t_small_kinds_by_hand, t_one_sample,
              t_which_k_and_rewards_each_kind_takes, t_gates, t_adaptive_splits_by_entropy,
              t_equal_rewards_are_exactly_zero, t_advantage_survives_failing_memory)
