/* SPDX-License-Identifier: MIT
 *
 * within.c: the within-prompt law of right-or-wrong samples. A prompt is its counts (n, c); prompts
 * with equal counts share one law: Binomial(n, c/n) as an alias table, and pass@k, pass^k and
 * samples-to-correct at every count c* = 0 .. n with their mean and variance under it. Columns:
 * pass for each k, pow for each k, samples-to-correct.
 */
#include "metrics.h"

#include <math.h>

/* The statistics at every count, by recurrences between neighbours: the tables feed replicates,
 * never a reported value, and n ulps do no harm there. */
static void fill_values(double *v, size_t n, const int64_t *k, size_t n_k) {
    const size_t cols = 2 * n_k + 1;
    for (size_t j = 0; j < n_k; j++) {
        const double K = (double)k[j];
        double miss = 1.0, all = 1.0;
        for (size_t c = 0; c <= n; c++) {
            v[c * cols + j] = 1.0 - miss;
            const double left = (double)(n - c);
            miss = left > K ? miss * (left - K) / left : 0.0;
        }
        for (size_t c = n + 1; c-- > 0;) {
            v[c * cols + n_k + j] = all;
            all = (double)c > K ? all * ((double)c - K) / (double)c : 0.0;
        }
    }
    for (size_t c = 0; c <= n; c++) v[c * cols + 2 * n_k] = (double)(n + 1) / (double)(c + 1);
}

/* Binomial(n, c/n), from the mode outwards so that nothing underflows that matters. */
static void fill_pmf(double *pmf, size_t n, size_t c) {
    for (size_t i = 0; i <= n; i++) pmf[i] = 0.0;
    pmf[c] = 1.0; /* c is a mode */
    if (c == 0 || c == n) return;
    const double odds = (double)c / (double)(n - c);
    for (size_t i = c; i < n && pmf[i] > 1e-30; i++)
        pmf[i + 1] = pmf[i] * (double)(n - i) / (double)(i + 1) * odds;
    for (size_t i = c; i > 0 && pmf[i] > 1e-30; i--)
        pmf[i - 1] = pmf[i] * (double)i / (double)(n - i + 1) / odds;
    double sum = 0.0;
    for (size_t i = 0; i <= n; i++) sum += pmf[i];
    for (size_t i = 0; i <= n; i++) pmf[i] /= sum;
}

/* Vose's alias table; `pmf` is used up, `work` has room for n + 1. */
static void fill_alias(uint64_t *alias, double *pmf, uint32_t *work, size_t n) {
    const size_t m = n + 1;
    size_t small = 0, large = m; /* two stacks in one array, growing towards each other */
    for (size_t i = 0; i < m; i++) {
        pmf[i] *= (double)m;
        if (pmf[i] < 1.0) work[small++] = (uint32_t)i;
        else work[--large] = (uint32_t)i;
    }
    for (size_t i = 0; i < m; i++) alias[i] = ((uint64_t)UINT32_MAX << 32) | i;
    while (small > 0 && large < m) {
        const uint32_t s = work[--small], l = work[large];
        alias[s] = ((uint64_t)(pmf[s] * 4294967295.0) << 32) | l;
        pmf[l] -= 1.0 - pmf[s];
        if (pmf[l] < 1.0) {
            large++;
            work[small++] = l;
        }
    }
}

static rex_status law_of(rex_arena *a, size_t n, size_t c, const double *value, rex_counts *out,
                         size_t at, size_t cols, double *pmf, uint32_t *work, rex_err *e) {
    uint64_t *const alias = rex_arena_take(a, n + 1, sizeof *alias, e);
    if (!alias) return REX_ENOMEM;
    double *const mean = out->mean + at * cols;
    fill_pmf(pmf, n, c);
    for (size_t j = 0; j < cols; j++) {
        double m = 0.0, var = 0.0;
        for (size_t i = 0; i <= n; i++) m += pmf[i] * value[i * cols + j];
        for (size_t i = 0; i <= n; i++) {
            const double d = value[i * cols + j] - m;
            var += pmf[i] * d * d;
        }
        mean[j] = m;
        out->var[at * cols + j] = var;
    }
    fill_alias(alias, pmf, work, n);
    out->law[at] = (rex_within){.alias = alias, .value = value, .n = n};
    return REX_OK;
}

/* Prompts in order of (n, c), so that equal ones stand together; the key is exact in a double. */
static rex_status by_counts(rex_arena *a, const rex_counts *t, uint32_t **order, rex_err *e) {
    size_t n_max = 0;
    for (size_t g = 0; g < t->n_prompts; g++)
        if (t->n[g] > n_max) n_max = t->n[g];
    double *const key = rex_arena_take(a, t->n_prompts, sizeof *key, e);
    *order = key ? rex_arena_take(a, 2 * t->n_prompts, sizeof **order, e) : NULL;
    if (!*order) return REX_ENOMEM;
    for (size_t g = 0; g < t->n_prompts; g++)
        key[g] = (double)t->n[g] * (double)(n_max + 1) + (double)t->c[g];
    rex_sort_index(key, t->n_prompts, *order, *order + t->n_prompts);
    return REX_OK;
}

rex_status rex_counts_fill(rex_arena *a, const int64_t *k, size_t n_k, rex_counts *t, rex_err *e) {
    const size_t cols = 2 * n_k + 1;
    t->cols = cols;
    size_t cells, n_max = 0;
    REX_TRY(rex_mul_size(t->n_prompts, cols, &cells, e));
    for (size_t g = 0; g < t->n_prompts; g++)
        if (t->n[g] > n_max) n_max = t->n[g];
    t->v = rex_arena_take(a, cells, sizeof *t->v, e);
    t->mean = t->v ? rex_arena_take(a, cells, sizeof *t->mean, e) : NULL;
    t->var = t->mean ? rex_arena_take(a, cells, sizeof *t->var, e) : NULL;
    t->law = t->var ? rex_arena_take(a, t->n_prompts, sizeof *t->law, e) : NULL;
    t->like = t->law ? rex_arena_take(a, t->n_prompts, sizeof *t->like, e) : NULL;
    double *const pmf = t->like ? rex_arena_take(a, n_max + 1, sizeof *pmf, e) : NULL;
    uint32_t *const work = pmf ? rex_arena_take(a, n_max + 1, sizeof *work, e) : NULL;
    if (!work) return REX_ENOMEM;
    uint32_t *order = NULL;
    REX_TRY(by_counts(a, t, &order, e));
    double *value = NULL;
    for (size_t i = 0; i < t->n_prompts; i++) {
        const size_t g = order[i], n = t->n[g], c = t->c[g];
        const size_t was = i > 0 ? order[i - 1] : g;
        if (i == 0 || t->n[was] != n) {
            value = rex_arena_take(a, (n + 1) * cols, sizeof *value, e);
            if (!value) return REX_ENOMEM;
            fill_values(value, n, k, n_k);
        }
        if (i > 0 && t->n[was] == n && t->c[was] == c) {
            t->law[g] = t->law[was];
            t->like[g] = t->like[was];
            for (size_t j = 0; j < cols; j++) {
                t->v[g * cols + j] = t->v[was * cols + j];
                t->mean[g * cols + j] = t->mean[was * cols + j];
                t->var[g * cols + j] = t->var[was * cols + j];
            }
            continue;
        }
        t->like[g] = (uint32_t)g;
        for (size_t j = 0; j < n_k; j++) { /* the reported values: direct products */
            t->v[g * cols + j] = 1.0 - rex_miss_at_k((int64_t)n, (int64_t)c, k[j]);
            t->v[g * cols + n_k + j] = rex_miss_at_k((int64_t)n, (int64_t)(n - c), k[j]);
        }
        t->v[g * cols + 2 * n_k] = (double)(n + 1) / (double)(c + 1);
        REX_TRY(law_of(a, n, c, value, t, g, cols, pmf, work, e));
    }
    return REX_OK;
}
