/* SPDX-License-Identifier: MIT
 *
 * metrics: pass@k and its relatives. Pure functions on arrays; the public ones stand in repexp.h.
 * Everything here is exact where a closed form exists, and a named draw where none does.
 */
#ifndef REX_METRICS_H
#define REX_METRICS_H

#include "../base/base.h"

/* C(n-c, k) / C(n, k): no right one among k. Stable for any n; 0 where n-c < k. */
double rex_miss_at_k(int64_t n, int64_t c, int64_t k);

/* The expected maximum of k of n ascending rewards, 1 <= k <= n. */
double rex_best_sorted(const double *asc, size_t n, int64_t k);


/* The indices of `v` in ascending order of value, equal values by index. Values are finite; `tmp`
 * has room for n. O(n log n), stable. */
void rex_sort_index(const double *v, size_t n, uint32_t *order, uint32_t *tmp);

/* The t quantile of a two-sided 95 % interval. `df` >= 1. */
double rex_t_quantile(size_t df);
#define REX_Z95 1.959963984540054

/* rex_maj_at_k with its scratch taken from `a` (the caller goes back to its mark). */
REX_MUST rex_status rex_majority(rex_arena *a, const uint32_t *answer, const double *reward,
                                 size_t n, const int64_t *k, size_t n_k, uint64_t seed,
                                 uint64_t stream, double *out, bool *exact, rex_err *e);
#define REX_MAJ_DRAWS 10000

/* ---- the bootstrap (bootstrap.c) ---------------------------------------------------------- */

/* The within-prompt law of one prompt: c* ~ Binomial(n, c/n), and the values that depend on it. */
typedef struct {
    const uint64_t *alias;  /* n + 1 columns: threshold << 32 | other */
    const double *value;    /* (n + 1, cols): the statistic of each count */
    size_t n;
} rex_within;

/* Right and wrong of every prompt, and what follows from the counts alone: pass@k for each k,
 * pass^k for each k, samples-to-correct (cols = 2 n_k + 1), with the within-prompt law of each
 * prompt. */
typedef struct {
    size_t n_prompts, cols;
    const size_t *n, *c;     /* set by the caller */
    double *v, *mean, *var;  /* (n_prompts, cols): values; mean and variance of the redraw */
    rex_within *law;
    uint32_t *like; /* per prompt: the first one with the same counts */
} rex_counts;
REX_MUST rex_status rex_counts_fill(rex_arena *a, const int64_t *k, size_t n_k, rex_counts *t,
                                    rex_err *e);

/* Replicates of the means of `cols` statistics over prompts. */
typedef struct {
    size_t n, cols;
    const double *v;           /* (n, cols) */
    const uint32_t *like; /* per prompt: one with the same row and law (for the cache), or NULL */
    const rex_within *in[2];   /* per prompt; NULL: nothing is drawn within prompts */
    const double *in_mean[2];  /* (n, cols): the mean of the within-prompt law */
    const double *in_var;      /* cols: the mean within-prompt variance of the statistics */
    const double *weight; /* n, or NULL: the mean is sum(w v) / sum(w), by prompt; one column */
    uint64_t seed;
    int64_t draws;
} rex_boot;

/* rep: (draws, cols). Two levels, centred on the observed value, with the variance of the mean of
 * independent prompts; see the definition. */
REX_MUST rex_status rex_boot_run(rex_pool *p, const rex_boot *b, double *rep, rex_err *e);
/* The interval of one column from its replicates (reordered); `widen` >= 1 is t / z. */
rex_interval rex_boot_interval(double *rep, size_t draws, double value, double se, double widen,
                               double lo, double hi);
/* Normal theory: value -+ t se within [lo, hi]; n prompts. */
rex_interval rex_normal_interval(double value, double se, size_t n, double lo, double hi);
/* More prompt draws than an interval is worth: normal theory is used. */
bool rex_boot_too_long(size_t n, int64_t draws);

#endif
