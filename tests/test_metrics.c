/* SPDX-License-Identifier: MIT
 *
 * Estimators against printed tables and against enumeration of all subsets (n <= 10), the majority
 * and its tie rule, intervals by coverage on simulated data, and independence of workers.
 */
#include "rex_test.h"

#include "../src/metrics/metrics.h"

/* A cheap stream for test data; the seed is printed by whoever fails. */
static uint64_t state;
static double unit(void) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    uint64_t x = state ^ (state >> 29);
    x *= 0xBF58476D1CE4E5B9u;
    return (double)(x >> 11) * 0x1p-53;
}
static size_t below(size_t n) { return (size_t)(unit() * (double)n); }

/* ---- tables
 * --------------------------------------------------------------------------------------- */

START_TEST(t_pass_table_of_8) {
    static const double want[9][4] = {
        {0, 0, 0, 0},
        {0.125, 0.25, 0.5, 1},
        {0.25, 0.464286, 0.785714, 1},
        {0.375, 0.642857, 0.928571, 1},
        {0.5, 0.785714, 0.985714, 1},
        {0.625, 0.892857, 1, 1},
        {0.75, 0.964286, 1, 1},
        {0.875, 1, 1, 1},
        {1, 1, 1, 1}};
    static const int64_t k[] = {1, 2, 4, 8};
    for (int64_t c = 0; c <= 8; c++)
        for (int j = 0; j < 4; j++) {
            double got = -1;
            CHECK_STATUS(rex_pass_at_k(8, c, k[j], &got, NULL), REX_OK);
            CHECK_NEAR(got, want[c][j], 0.5e-6);
        }
} END_TEST

START_TEST(t_pass_table_of_256) {
    static const struct { int64_t c; double v[9]; } want[] = {
        {1, {0.003906, 0.007812, 0.015625, 0.031250, 0.062500, 0.125000, 0.250000, 0.500000, 1}},
        {2, {0.007812, 0.015594, 0.031066, 0.061642, 0.121324, 0.234804, 0.438235, 0.750980, 1}},
        {8, {0.031250, 0.061642, 0.119934, 0.227087, 0.407705, 0.661832, 0.903554, 0.996510, 1}},
        {64, {0.250000, 0.438235, 0.686082, 0.903554, 0.991494, 0.999951, 1, 1, 1}},
        {128, {0.500000, 0.750980, 0.938968, 0.996510, 0.999991, 1, 1, 1, 1}}};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++)
        for (int j = 0; j < 9; j++) {
            double got = -1;
            CHECK_STATUS(rex_pass_at_k(256, want[i].c, INT64_C(1) << j, &got, NULL), REX_OK);
            CHECK_NEAR(got, want[i].v[j], 0.51e-6);
        }
} END_TEST

START_TEST(t_pass_huge_n_is_stable) {
    double got;
    CHECK_STATUS(rex_pass_at_k(1000000000, 1, 500000000, &got, NULL), REX_OK);
    CHECK_CLOSE(got, 0.5, 1.0, 4);
    CHECK_STATUS(rex_pass_at_k(1000000, 1000, 1, &got, NULL), REX_OK);
    CHECK_CLOSE(got, 1e-3, 1.0, 4);
    CHECK_STATUS(rex_pow_at_k(1000000, 999999, 500000, &got, NULL), REX_OK);
    CHECK_CLOSE(got, 0.5, 1.0, 4);
} END_TEST

START_TEST(t_counts_that_are_none_are_refused) {
    double got;
    rex_err e;
    CHECK_STATUS(rex_pass_at_k(8, 9, 1, &got, &e), REX_EARG);
    CHECK_STATUS(rex_pass_at_k(8, -1, 1, &got, &e), REX_EARG);
    CHECK_STATUS(rex_pass_at_k(8, 1, 0, &got, &e), REX_EARG);
    CHECK_STATUS(rex_pass_at_k(8, 1, 9, &got, &e), REX_EARG);
    CHECK_HAS(e.text, "k = 9");
    CHECK_STATUS(rex_pow_at_k(0, 0, 1, &got, &e), REX_EARG);
    const double bad[] = {0.0, NAN};
    CHECK_STATUS(rex_best_at_k(bad, 2, 1, &got, &e), REX_ENAN);
    CHECK_STATUS(rex_best_at_k(bad, 2, 3, &got, &e), REX_EARG);
} END_TEST

START_TEST(t_samples_to_correct_table) {
    static const struct { int64_t n, c; double mean, std;
    } want[] = {{6, 1, 3.5, 1.7078},           {6, 2, 2.333333, 1.2472},
                {6, 3, 1.75, 0.8874},          {10, 1, 5.5, 2.8723},
                {10, 3, 2.75, 1.6993},         {100, 5, 16.833333, 13.7977},
                {6400, 1, 3200.5, 1847.5208},  {6400, 64, 98.476923, 96.4797},
                {6400, 640, 9.985959, 9.4580}, {8192, 1, 4096.5, 2364.8267}};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        double mean, std;
        CHECK_STATUS(rex_samples_to_correct(want[i].n, want[i].c, &mean, &std, NULL), REX_OK);
        CHECK_NEAR(mean, want[i].mean, 0.51e-6);
        CHECK_NEAR(std, want[i].std, 0.51e-4);
    }
    double mean, std;
    CHECK_STATUS(rex_samples_to_correct(6, 0, &mean, &std, NULL), REX_OK);
    CHECK_CLOSE(mean, 7.0, 1.0, 1);
    CHECK_CLOSE(std, 0.0, 1.0, 0);
} END_TEST

/* ---- enumeration
 * ------------------------------------------------------------------------------------ */

static int bits(unsigned x) { return __builtin_popcount(x); }

/* Mean over all k-subsets of n of a statistic of the subset. */
typedef double (*subset_fn)(const void *ud, unsigned set);
static double over_subsets(size_t n, int k, subset_fn fn, const void *ud) {
    double sum = 0.0, count = 0.0;
    for (unsigned set = 0; set < 1u << n; set++) {
        if (bits(set) != k) continue;
        sum += fn(ud, set);
        count += 1.0;
    }
    return sum / count;
}

static double has_right(const void *ud, unsigned set) { return (set & *(const unsigned *)ud) != 0; }
static double all_right(const void *ud, unsigned set) {
    return (set & ~*(const unsigned *)ud) == 0;
}
static double largest(const void *ud, unsigned set) {
    const double *const r = ud;
    double best = -INFINITY;
    for (int i = 0; i < 10; i++)
        if (set >> i & 1 && r[i] > best) best = r[i];
    return best;
}

START_TEST(t_pass_pow_best_equal_enumeration) {
    state = 11;
    for (size_t n = 1; n <= 10; n++)
        for (size_t c = 0; c <= n; c++) {
            const unsigned right = (1u << c) - 1;
            double r[10];
            for (size_t i = 0; i < n; i++) r[i] = i % 3 == 2 && i > 2 ? r[i - 1] : unit() * 4 - 2;
            for (int k = 1; k <= (int)n; k++) {
                double got;
                CHECK_STATUS(rex_pass_at_k((int64_t)n, (int64_t)c, k, &got, NULL), REX_OK);
                CHECK_CLOSE(got, over_subsets(n, k, has_right, &right), 1.0, 16);
                CHECK_STATUS(rex_pow_at_k((int64_t)n, (int64_t)c, k, &got, NULL), REX_OK);
                CHECK_CLOSE(got, over_subsets(n, k, all_right, &right), 1.0, 16);
                CHECK_STATUS(rex_best_at_k(r, n, k, &got, NULL), REX_OK);
                CHECK_CLOSE(got, over_subsets(n, k, largest, r), 2.0, 64);
            }
        }
} END_TEST

typedef struct {
    uint32_t answer[10];
    double reward[10];
    size_t n;
} vote;

/* The definition: count, take the largest count, among equals the first to come; its reward. */
static double majority(const void *ud, unsigned set) {
    const vote *const v = ud;
    int best = 0;
    double reward = 0.0;
    for (size_t i = 0; i < v->n; i++) {
        if (!(set >> i & 1) || v->answer[i] == UINT32_MAX) continue;
        bool first = true;
        int votes = 0;
        for (size_t j = 0; j < v->n; j++) {
            if (!(set >> j & 1) || v->answer[j] != v->answer[i]) continue;
            if (j < i) first = false;
            votes++;
        }
        if (first && votes > best) {
            best = votes;
            reward = v->reward[i];
        }
    }
    return reward;
}

START_TEST(t_majority_equals_enumeration) {
    state = 12;
    for (int round = 0; round < 300; round++) {
        vote v = {.n = 1 + below(10)};
        const size_t answers = 1 + below(5);
        for (size_t i = 0; i < v.n; i++) {
            v.answer[i] = round % 2 && below(4) == 0 ? UINT32_MAX : 7 * (uint32_t)below(answers);
            v.reward[i] = round % 3 == 0   ? v.answer[i] == 0
                          : round % 3 == 1 ? (double)below(2)
                                           : unit();
        }
        int64_t k[10];
        double got[10];
        bool exact[10];
        for (size_t j = 0; j < v.n; j++) k[j] = (int64_t)j + 1;
        CHECK_STATUS(rex_maj_at_k(v.answer, v.reward, v.n, k, v.n, 0, 0, got, exact, NULL), REX_OK);
        for (size_t j = 0; j < v.n; j++) {
            CHECK(exact[j]);
            CHECK_CLOSE(got[j], over_subsets(v.n, (int)k[j], majority, &v), 1.0, 128);
        }
    }
} END_TEST

START_TEST(t_majority_of_one_is_pass_of_one) {
    const uint32_t answer[] = {3, 3, 1, 9, UINT32_MAX, 3};
    const double reward[] = {1, 1, 0, 0, 1, 1};
    const int64_t k[] = {1, 6};
    double got[2];
    CHECK_STATUS(rex_maj_at_k(answer, reward, 6, k, 2, 0, 0, got, NULL, NULL), REX_OK);
    CHECK_CLOSE(got[0], 0.5, 1.0, 8); /* the silent one is right, but does not vote */
    CHECK_CLOSE(got[1], 1.0, 1.0, 8);
} END_TEST

/* Beyond the bound subsets are drawn: the draws agree with the exact value of a pool that both can
 * do, within four standard errors, and their names make them repeat. */
START_TEST(t_majority_drawn_agrees_with_exact) {
    enum { N = 3000 };
    uint32_t *const answer = malloc(N * sizeof *answer);
    double *const reward = malloc(N * sizeof *reward);
    state = 13;
    for (size_t i = 0; i < N; i++) {
        answer[i] = (uint32_t)(below(3) * below(4));
        reward[i] = answer[i] == 2;
    }
    const int64_t k[] = {2, 700};
    double a[2], b[2], c[2];
    bool exact[2];
    CHECK_STATUS(rex_maj_at_k(answer, reward, N, k, 2, 5, 6, a, exact, NULL), REX_OK);
    CHECK(exact[0]);
    CHECK(!exact[1]);
    CHECK_STATUS(rex_maj_at_k(answer, reward, N, k + 1, 1, 5, 6, b, NULL, NULL), REX_OK);
    CHECK(a[1] == b[0]);
    CHECK_STATUS(rex_maj_at_k(answer, reward, N, k, 2, 6, 6, c, NULL, NULL), REX_OK);
    CHECK(a[0] == c[0]);
    /* k = 16 of 2,000 samples of few answers: exact; the same through one more, silent, huge pool
     */
    const int64_t k16[] = {16};
    double few, far;
    CHECK_STATUS(rex_maj_at_k(answer, reward, 100, k16, 1, 5, 6, &few, exact, NULL), REX_OK);
    CHECK(exact[0]);
    double sum = 0.0;
    for (uint32_t d = 0; d < 40000; d++) { /* plain simulation of the definition */
        uint32_t perm[100], votes[16] = {0}, first[16];
        for (uint32_t i = 0; i < 100; i++) perm[i] = i;
        for (uint32_t i = 0; i < 16; i++) {
            const size_t j = i + below(100 - i);
            const uint32_t row = perm[j];
            perm[j] = perm[i];
            perm[i] = row;
            if (votes[answer[row]]++ == 0 || row < first[answer[row]]) first[answer[row]] = row;
        }
        uint32_t best = 0;
        for (uint32_t x = 1; x < 16; x++)
            if (votes[x] > votes[best] ||
                (votes[x] == votes[best] && votes[x] && first[x] < first[best]))
                best = x;
        sum += best == 2;
    }
    far = sum / 40000.0;
    CHECK_NEAR(far, few, 4.0 * sqrt(few * (1.0 - few) / 40000.0));
    free(answer);
    free(reward);
} END_TEST

/* ---- small measures
 * ------------------------------------------------------------------------------------ */

START_TEST(t_first_correct_and_gap_and_bins) {
    const double r[] = {0, 0, 1, 0, 1};
    const uint32_t order[] = {3, 1, 0, 4, 2};
    CHECK_EQ(rex_first_correct(r, NULL, 5), 3);
    CHECK_EQ(rex_first_correct(r, order, 5), 4);
    CHECK_EQ(rex_first_correct(r, NULL, 2), 0);
    const double k[] = {64, 128, 256}, base[] = {0.5, 0.6, 0.7}, best[] = {0.6, 0.8, 0.9};
    double gap;
    CHECK_STATUS(rex_horizontal_gap(k, base, best, 3, 256, &gap, NULL), REX_OK);
    CHECK_CLOSE(gap, 256.0 / (64.0 * sqrt(2.0)), 4.0, 16); /* halfway in log2 k */
    CHECK_STATUS(rex_horizontal_gap(k, best, base, 3, 256, &gap, NULL), REX_OK);
    CHECK_EQ(gap, 0);
    CHECK_STATUS(rex_horizontal_gap(k, base, best, 3, 200, &gap, NULL), REX_EARG);
    const double hard[] = {9, 1, 5, 5, 7, 2};
    int bin[6];
    CHECK_STATUS(rex_difficulty_bins(hard, 6, 3, bin, NULL), REX_OK);
    static const int want[] = {2, 0, 1, 1, 2, 0};
    for (int i = 0; i < 6; i++) CHECK_EQ(bin[i], want[i]);
} END_TEST

START_TEST(t_t_quantile_meets_the_table) {
    CHECK_NEAR(rex_t_quantile(1), 12.7062047362, 1e-9);
    CHECK_NEAR(rex_t_quantile(30), 2.04227245630, 1e-9);
    CHECK_NEAR(rex_t_quantile(31), 2.0395134464, 1e-7);
    CHECK_NEAR(rex_t_quantile(100), 1.98397151852, 1e-9);
    CHECK_NEAR(rex_t_quantile(1000000), REX_Z95, 1e-5);
} END_TEST

/* ---- intervals
 * ---------------------------------------------------------------------------------------- */

typedef struct {
    size_t first[401];
    double reward[400 * 16];
    rex_scored s;
} pool;

/* Prompts with abilities uniform on [lo, 1]^2-ish, `n` samples each. */
static void draw_pool(pool *p, size_t prompts, size_t n, double gain) {
    p->first[0] = 0;
    for (size_t g = 0; g < prompts; g++) {
        const double u = unit(), ability = fmin(1.0, u * u * gain);
        p->first[g + 1] = p->first[g] + n;
        for (size_t i = 0; i < n; i++) p->reward[g * n + i] = unit() < ability;
    }
    p->s = (rex_scored){.n_groups = prompts, .first = p->first, .reward = p->reward};
}

/* True mean of 1 - (1 - min(1, g u^2))^k over u. */
static double truth(double gain, int k) {
    double sum = 0.0;
    for (int i = 0; i < 100000; i++) {
        const double u = (i + 0.5) / 100000.0, a = fmin(1.0, u * u * gain);
        double miss = 1.0;
        for (int j = 0; j < k; j++) miss *= 1.0 - a;
        sum += 1.0 - miss;
    }
    return sum / 100000.0;
}

/* 400 files of 40 prompts with 16 samples: the 95 % intervals must hold the truth in 92 to 98 % of
 * them, and lie about the unbiased value, not about the plug-in. */
static void coverage(bool analytic) {
    static pool p;
    const int64_t k[] = {1, 8};
    const double want[] = {truth(0.7, 1), truth(0.7, 8)};
    int hit[2] = {0, 0}, rounds = 400;
    double bias[2] = {0, 0}, width[2] = {0, 0}, spread[2] = {0, 0};
    state = 14;
    for (int r = 0; r < rounds; r++) {
        rex_arena *a;
        CHECK_STATUS(rex_arena_open(0, &a, NULL), REX_OK);
        draw_pool(&p, 40, 16, 0.7);
        rex_passk_opts o;
        rex_passk_defaults(&o);
        o.k = k;
        o.n_k = 2;
        o.draws = 600;
        o.seed = (uint64_t)r;
        o.analytic = analytic;
        rex_passk out;
        CHECK_STATUS(rex_passk_run(a, NULL, &p.s, &o, &out, NULL), REX_OK);
        for (int j = 0; j < 2; j++) {
            hit[j] += out.pass[j].low <= want[j] && want[j] <= out.pass[j].high;
            bias[j] += (out.pass[j].value - want[j]) / rounds;
            width[j] += (out.pass[j].high - out.pass[j].low) / rounds;
            spread[j] += (out.pass[j].value - want[j]) * (out.pass[j].value - want[j]) / rounds;
        }
        rex_arena_close(a);
    }
    for (int j = 0; j < 2; j++) {
        CHECK(hit[j] >= 0.92 * rounds && hit[j] <= 0.98 * rounds);
        CHECK_NEAR(bias[j], 0.0, 4.0 * sqrt(spread[j] / rounds));
        CHECK_NEAR(width[j], 2.0 * rex_t_quantile(39) * sqrt(spread[j]), 0.15 * width[j]);
        if (hit[j] < 0.92 * rounds || hit[j] > 0.98 * rounds)
            fprintf(stderr, "hits %d of %d\n", hit[j], rounds);
    }
}
START_TEST(t_bootstrap_covers) { coverage(false); } END_TEST
START_TEST(t_analytic_covers) { coverage(true); } END_TEST

/* The bootstrap and normal theory agree on 300 prompts to a tenth of the width. */
START_TEST(t_bootstrap_agrees_with_normal_theory) {
    static pool p;
    state = 15;
    draw_pool(&p, 300, 16, 1.2);
    const int64_t k[] = {1, 4, 16};
    rex_arena *a;
    CHECK_STATUS(rex_arena_open(0, &a, NULL), REX_OK);
    rex_passk_opts o;
    rex_passk_defaults(&o);
    o.k = k;
    o.n_k = 3;
    rex_passk boot, normal;
    CHECK_STATUS(rex_passk_run(a, NULL, &p.s, &o, &boot, NULL), REX_OK);
    o.analytic = true;
    CHECK_STATUS(rex_passk_run(a, NULL, &p.s, &o, &normal, NULL), REX_OK);
    for (int j = 0; j < 3; j++) {
        const double w = normal.pass[j].high - normal.pass[j].low;
        CHECK(boot.pass[j].value == normal.pass[j].value);
        CHECK_NEAR(boot.pass[j].low, normal.pass[j].low, 0.1 * w);
        CHECK_NEAR(boot.pass[j].high, normal.pass[j].high, 0.1 * w);
        CHECK_NEAR(boot.pow[j].low, normal.pow[j].low,
                   0.1 * (normal.pow[j].high - normal.pow[j].low));
    }
    const double w = normal.s2c_solvable.high - normal.s2c_solvable.low;
    CHECK_NEAR(boot.s2c_solvable.low, normal.s2c_solvable.low, 0.12 * w);
    CHECK_NEAR(boot.s2c_solvable.high, normal.s2c_solvable.high, 0.12 * w);
    rex_arena_close(a);
} END_TEST

/* A lone prompt: the interval is that of its samples, and follows 1/sqrt(n). */
START_TEST(t_lone_prompt_has_an_interval) {
    static double reward[4096];
    static uint32_t answer[4096];
    for (size_t i = 0; i < 4096; i++) reward[i] = answer[i] = i % 4 == 0;
    rex_arena *a;
    CHECK_STATUS(rex_arena_open(0, &a, NULL), REX_OK);
    const int64_t k[] = {1};
    rex_passk_opts o;
    rex_passk_defaults(&o);
    o.k = k;
    o.n_k = 1;
    double width[2];
    for (int r = 0; r < 2; r++) {
        const size_t first[] = {0, r ? 1024 : 64};
        const rex_scored s = {.n_groups = 1, .first = first, .reward = reward, .answer = answer};
        rex_passk out;
        CHECK_STATUS(rex_passk_run(a, NULL, &s, &o, &out, NULL), REX_OK);
        width[r] = out.pass[0].high - out.pass[0].low;
        CHECK(out.pass[0].value == 0.25);
        CHECK(out.pass[0].low < 0.25 && out.pass[0].high > 0.25);
        CHECK_NEAR(width[r], 2 * 1.96 * sqrt(0.25 * 0.75 / (double)first[1]), 0.2 * width[r]);
        CHECK_NEAR(out.maj[0].high - out.maj[0].low, width[r], 0.3 * width[r]);
    }
    rex_arena_close(a);
} END_TEST

/* Every sample of every prompt right: nothing varies, but 20 prompts do not prove certainty. */
START_TEST(t_unanimous_files_are_not_certain) {
    size_t first[21];
    double reward[80];
    for (size_t i = 0; i < 21; i++) first[i] = 4 * i;
    for (size_t i = 0; i < 80; i++) reward[i] = 1.0;
    const rex_scored s = {.n_groups = 20, .first = first, .reward = reward};
    const int64_t k[] = {1, 4};
    rex_passk_opts o;
    rex_passk_defaults(&o);
    o.k = k;
    o.n_k = 2;
    rex_arena *a;
    CHECK_STATUS(rex_arena_open(0, &a, NULL), REX_OK);
    rex_passk out;
    CHECK_STATUS(rex_passk_run(a, NULL, &s, &o, &out, NULL), REX_OK);
    CHECK(out.pass[0].value == 1.0 && out.pass[0].high == 1.0);
    CHECK_NEAR(out.pass[0].low, 0.8316, 1e-4); /* 0.025^(1/20) */
    for (size_t i = 0; i < 80; i++) reward[i] = 0.0;
    CHECK_STATUS(rex_passk_run(a, NULL, &s, &o, &out, NULL), REX_OK);
    CHECK(out.pass[1].value == 0.0 && out.pass[1].low == 0.0);
    CHECK_NEAR(out.pass[1].high, 0.1684, 1e-4);
    CHECK(!out.solvable);
    CHECK(out.s2c_all.value == 5.0);
    rex_arena_close(a);
} END_TEST

/* p < 0.05 exactly where the interval leaves zero out; equal runs differ by nothing. */
START_TEST(t_paired_p_is_that_of_the_interval) {
    static pool x, y;
    static rex_str name[400];
    static char text[400][8];
    const int64_t k[] = {1, 4};
    rex_passk_opts o;
    rex_passk_defaults(&o);
    o.k = k;
    o.n_k = 2;
    o.draws = 400;
    for (int i = 0; i < 400; i++) {
        snprintf(text[i], sizeof text[i], "p%d", i);
        name[i] = rex_str_of(text[i]);
    }
    state = 16;
    int out_of = 0, rounds = 60;
    for (int r = 0; r < rounds; r++) {
        rex_arena *a;
        CHECK_STATUS(rex_arena_open(0, &a, NULL), REX_OK);
        draw_pool(&x, 30, 8, 0.8);
        draw_pool(&y, 30, 8, 0.8 + 0.01 * r);
        x.s.name = y.s.name = name;
        rex_passk d;
        CHECK_STATUS(rex_passk_vs(a, NULL, &x.s, &y.s, &o, &d, NULL), REX_OK);
        for (int j = 0; j < 2; j++) {
            const bool leaves = d.pass[j].low > 0.0 || d.pass[j].high < 0.0;
            CHECK_EQ(leaves, d.pass[j].p < 0.05);
            out_of += leaves;
        }
        CHECK_STATUS(rex_passk_vs(a, NULL, &x.s, &x.s, &o, &d, NULL), REX_OK);
        CHECK(d.pass[0].value == 0.0);
        CHECK(d.pass[0].p > 0.5);
        rex_arena_close(a);
    }
    CHECK(out_of > 5 && out_of < 115);
} END_TEST

START_TEST(t_pairs_are_matched_by_name) {
    const size_t first[] = {0, 2, 4}, three[] = {0, 2, 4, 6};
    const double x[] = {1, 0, 1, 1}, y[] = {0, 0, 1, 0, 1, 1};
    const rex_str nx[] = {rex_str_of("a"), rex_str_of("b")};
    const rex_str ny[] = {rex_str_of("b"), rex_str_of("c"), rex_str_of("a")};
    const rex_scored s = {.n_groups = 2, .first = first, .name = nx, .reward = x};
    const rex_scored t = {.n_groups = 3, .first = three, .name = ny, .reward = y};
    const rex_scored u = {.n_groups = 1, .first = first, .name = ny + 1, .reward = y};
    const int64_t k[] = {1, 1, 2};
    rex_passk_opts o;
    rex_passk_defaults(&o);
    o.k = k;
    o.n_k = 3;
    rex_arena *a;
    CHECK_STATUS(rex_arena_open(0, &a, NULL), REX_OK);
    rex_passk d;
    CHECK_STATUS(rex_passk_vs(a, NULL, &s, &t, &o, &d, NULL), REX_OK);
    CHECK_EQ(d.n_prompts, 2);
    CHECK_EQ(d.n_k, 2); /* a k named twice counts once */
    CHECK_CLOSE(d.pass[0].value, 0.25, 1.0, 4); /* (0.5 - 1 + 1 - 0) / 2 */
    rex_err e;
    CHECK_STATUS(rex_passk_vs(a, NULL, &s, &u, &o, &d, &e), REX_EFORMAT);
    CHECK_HAS(e.text, "no prompt in common");
    rex_arena_close(a);
} END_TEST

START_TEST(t_workers_change_nothing) {
    static pool p;
    static uint32_t answer[400 * 16];
    state = 17;
    draw_pool(&p, 200, 16, 1.0);
    for (size_t i = 0; i < 200 * 16; i++)
        answer[i] = p.reward[i] == 1.0 ? 0 : 1 + (uint32_t)below(4);
    p.s.answer = answer;
    const int64_t k[] = {1, 3, 16};
    rex_passk_opts o;
    rex_passk_defaults(&o);
    o.k = k;
    o.n_k = 3;
    rex_arena *a;
    CHECK_STATUS(rex_arena_open(0, &a, NULL), REX_OK);
    rex_str want = {NULL, 0};
    for (int threads = 1; threads <= 3; threads++) {
        rex_pool *w;
        rex_passk out;
        rex_str got;
        CHECK_STATUS(rex_pool_open(threads, &w, NULL), REX_OK);
        CHECK_STATUS(rex_passk_run(a, w, &p.s, &o, &out, NULL), REX_OK);
        CHECK_STATUS(rex_passk_json(a, &out, NULL, &got, NULL), REX_OK);
        if (threads == 1) want = got;
        CHECK(rex_str_eq(got, want));
        rex_pool_close(w);
    }
    rex_arena_close(a);
} END_TEST

START_TEST(t_mean_and_ratio_intervals) {
    double a[200], b[200];
    state = 18;
    for (int i = 0; i < 200; i++) {
        b[i] = 1.0 + unit();
        a[i] = 0.6 * b[i] + 0.05 * unit();
    }
    rex_boot_opts o;
    rex_boot_defaults(&o);
    rex_interval boot, normal;
    CHECK_STATUS(rex_ratio_interval(NULL, a, b, 200, &o, &boot, NULL), REX_OK);
    o.analytic = true;
    CHECK_STATUS(rex_ratio_interval(NULL, a, b, 200, &o, &normal, NULL), REX_OK);
    CHECK(boot.low < boot.value && boot.value < boot.high && boot.p < 0.01);
    CHECK_NEAR(boot.low, normal.low, 0.15 * (normal.high - normal.low));
    CHECK_NEAR(boot.high, normal.high, 0.15 * (normal.high - normal.low));
    CHECK_STATUS(rex_ratio_interval(NULL, b, b, 200, &o, &boot, NULL), REX_OK);
    CHECK(boot.value == 1.0 && boot.p == 1.0);
    rex_err e;
    const double zero[] = {0, 0};
    CHECK_STATUS(rex_ratio_interval(NULL, zero, b, 2, &o, &boot, &e), REX_EARG);
    CHECK_STATUS(rex_mean_interval(NULL, a, 0, &o, &boot, &e), REX_EARG);
    const double nan[] = {NAN, 1};
    CHECK_STATUS(rex_mean_interval(NULL, nan, 2, &o, &boot, &e), REX_ENAN);
} END_TEST

/* ---- refusals and memory
 * ----------------------------------------------------------------------------------- */

START_TEST(t_k_above_a_prompt_names_it) {
    const size_t first[] = {0, 3, 4};
    const double r[] = {1, 0, 0, 1}, half[] = {1, 0, 0.5, 1};
    const rex_str name[] = {rex_str_of("long"), rex_str_of("short")};
    rex_scored s = {.n_groups = 2, .first = first, .name = name, .reward = r};
    const int64_t k[] = {2};
    rex_passk_opts o;
    rex_passk_defaults(&o);
    o.k = k;
    o.n_k = 1;
    rex_arena *a;
    rex_err e;
    rex_passk out;
    CHECK_STATUS(rex_arena_open(0, &a, NULL), REX_OK);
    CHECK_STATUS(rex_passk_run(a, NULL, &s, &o, &out, &e), REX_EFORMAT);
    CHECK_HAS(e.text, "short");
    s.n_groups = 1;
    s.reward = half;
    CHECK_STATUS(rex_passk_run(a, NULL, &s, &o, &out, &e), REX_EFORMAT);
    CHECK_HAS(e.text, "0.5");
    o.graded = true;
    CHECK_STATUS(rex_passk_run(a, NULL, &s, &o, &out, &e), REX_OK);
    CHECK_CLOSE(out.best[0].value, (1 + 1 + 0.5) / 3, 1.0, 8);
    CHECK_CLOSE(out.avg[0].value, 0.5, 1.0, 8);
    CHECK(!out.pass && !out.pow);
    rex_arena_close(a);
} END_TEST

static rex_status whole(const rex_scored *s, const rex_passk_opts *o) {
    rex_arena *a = NULL;
    rex_passk out;
    rex_str text;
    rex_status st = rex_arena_open(0, &a, NULL);
    if (st == REX_OK) st = rex_passk_run(a, NULL, s, o, &out, NULL);
    if (st == REX_OK) st = rex_passk_json(a, &out, NULL, &text, NULL);
    rex_arena_close(a);
    return st;
}

START_TEST(t_every_allocation_may_fail) {
    static pool p;
    static uint32_t answer[400 * 16];
    const int64_t k[] = {1, 3};
    rex_passk_opts o;
    rex_passk_defaults(&o);
    o.k = k;
    o.n_k = 2;
    o.draws = 100;
    state = 19;
    for (size_t prompts = 12; prompts > 0; prompts = prompts == 12 ? 1 : 0) {
        draw_pool(&p, prompts, 6, 1.0);
        for (size_t i = 0; i < 72; i++) answer[i] = (uint32_t)below(3);
        p.s.answer = answer;
        REX_TORTURE(whole(&p.s, &o));
    }
} END_TEST

REX_TEST_MAIN("metrics", t_pass_table_of_8, t_pass_table_of_256, t_pass_huge_n_is_stable,
              t_counts_that_are_none_are_refused, t_samples_to_correct_table,
              t_pass_pow_best_equal_enumeration, t_majority_equals_enumeration,
              t_majority_of_one_is_pass_of_one, t_majority_drawn_agrees_with_exact,
              t_first_correct_and_gap_and_bins, t_t_quantile_meets_the_table, t_bootstrap_covers,
              t_analytic_covers, t_bootstrap_agrees_with_normal_theory,
              t_lone_prompt_has_an_interval, t_unanimous_files_are_not_certain,
              t_paired_p_is_that_of_the_interval, t_pairs_are_matched_by_name,
              t_workers_change_nothing, t_mean_and_ratio_intervals, t_k_above_a_prompt_names_it,
              t_every_allocation_may_fail)
