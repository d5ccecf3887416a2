/* SPDX-License-Identifier: MIT
 *
 * passk.c: the estimators of one prompt. pass@k (Chen et al. 2021), pass^k, best@k (expected
 * maximum of a k-subset), samples-to-correct without replacement, and the small measures that are
 * derived from them. Binomial coefficients never appear: they are ratios of equal length, and the
 * products below stay in (0, 1] for every n.
 */
#include "metrics.h"

#include <math.h>

/* C(n-c,k)/C(n,k) = prod_{i<k} (n-c-i)/(n-i) = prod_{j<c} (n-k-j)/(n-j): the shorter one. */
double rex_miss_at_k(int64_t n, int64_t c, int64_t k) {
    if (n - c < k) return 0.0;
    const int64_t len = k < c ? k : c;
    const int64_t top = k < c ? n - c : n - k;
    double q = 1.0;
    for (int64_t i = 0; i < len; i++) q *= (double)(top - i) / (double)(n - i);
    return q;
}

static rex_status check_nck(int64_t n, int64_t c, int64_t k, rex_err *e) {
    if (n < 1 || c < 0 || c > n)
        return rex_fail(e, REX_EARG, -1, "%lld right of %lld samples is not a count",
                        (long long)c, (long long)n);
    if (k < 1 || k > n)
        return rex_fail(e, REX_EARG, -1, "k = %lld with %lld samples: 1 <= k <= n is needed",
                        (long long)k, (long long)n);
    return REX_OK;
}

rex_status rex_pass_at_k(int64_t n, int64_t c, int64_t k, double *out, rex_err *e) {
    REX_TRY(check_nck(n, c, k, e));
    *out = 1.0 - rex_miss_at_k(n, c, k);
    return REX_OK;
}

rex_status rex_pow_at_k(int64_t n, int64_t c, int64_t k, double *out, rex_err *e) {
    REX_TRY(check_nck(n, c, k, e));
    *out = rex_miss_at_k(n, n - c, k); /* no wrong one among k */
    return REX_OK;
}

/* The maximum is the i-th smallest with weight C(i-1,k-1)/C(n,k); from the top these are k/n and
 * then w(i-1) = w(i) (i-k)/(i-1), which never grows. */
double rex_best_sorted(const double *asc, size_t n, int64_t k) {
    double w = (double)k / (double)n;
    double sum = 0.0;
    for (size_t i = n; i >= (size_t)k; i--) {
        sum += w * asc[i - 1];
        if (i > 1) w *= (double)(i - (size_t)k) / (double)(i - 1);
    }
    return sum;
}

/* Bottom-up merging: stable, no recursion, one spare array. */
void rex_sort_index(const double *v, size_t n, uint32_t *order, uint32_t *tmp) {
    for (size_t i = 0; i < n; i++) order[i] = (uint32_t)i;
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t lo = 0; lo < n; lo += 2 * width) {
            const size_t mid = lo + width < n ? lo + width : n;
            const size_t hi = lo + 2 * width < n ? lo + 2 * width : n;
            size_t i = lo, j = mid, t = lo;
            while (i < mid && j < hi)
                tmp[t++] = v[order[j]] < v[order[i]] ? order[j++] : order[i++];
            while (i < mid) tmp[t++] = order[i++];
            while (j < hi) tmp[t++] = order[j++];
        }
        for (size_t i = 0; i < n; i++) order[i] = tmp[i];
    }
}

rex_status rex_best_at_k(const double *reward, size_t n, int64_t k, double *out, rex_err *e) {
    REX_TRY(check_nck((int64_t)n, 0, k, e));
    for (size_t i = 0; i < n; i++)
        if (!isfinite(reward[i]))
            return rex_fail(e, REX_ENAN, (int64_t)i, "reward %zu is not finite", i);
    rex_arena *a = NULL;
    REX_TRY(rex_arena_open(0, &a, e));
    uint32_t *const order = rex_arena_take(a, 2 * n, sizeof *order, e);
    double *const asc = order ? rex_arena_take(a, n, sizeof *asc, e) : NULL;
    if (asc) {
        rex_sort_index(reward, n, order, order + n);
        for (size_t i = 0; i < n; i++) asc[i] = reward[order[i]];
        *out = rex_best_sorted(asc, n, k);
    }
    rex_arena_close(a);
    return asc ? REX_OK : REX_ENOMEM;
}

rex_status rex_samples_to_correct(int64_t n, int64_t c, double *mean, double *std, rex_err *e) {
    REX_TRY(check_nck(n, c, 1, e));
    const double N = (double)n, C = (double)c;
    *mean = (N + 1.0) / (C + 1.0);
    *std = sqrt(C * (N + 1.0) * (N - C) / (C + 2.0)) / (C + 1.0);
    return REX_OK;
}

size_t rex_first_correct(const double *reward, const uint32_t *order, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (reward[order ? order[i] : i] > 0.0) return i + 1;
    return 0;
}

rex_status rex_horizontal_gap(const double *k, const double *base, const double *method, size_t n,
                              double k_base, double *out, rex_err *e) {
    const double ln2 = 0.6931471805599453;
    size_t at = n;
    for (size_t i = 0; i < n; i++) {
        if (!(k[i] >= 1.0) || (i > 0 && !(k[i] > k[i - 1])))
            return rex_fail(e, REX_EARG, (int64_t)i, "the k of a curve must ascend from 1 or more");
        if (k[i] == k_base) at = i;
    }
    if (at == n)
        return rex_fail(e, REX_EARG, -1, "k = %g is no point of the curve", k_base);
    const double want = base[at];
    *out = 0.0;
    for (size_t i = 0; i < n; i++) {
        if (!(method[i] >= want)) continue;
        double hit = k[i];
        if (i > 0 && method[i] > want) {
            const double lo = rex_log(k[i - 1]) / ln2, hi = rex_log(k[i]) / ln2;
            const double t = (want - method[i - 1]) / (method[i] - method[i - 1]);
            hit = rex_exp((lo + t * (hi - lo)) * ln2);
        }
        *out = k_base / hit;
        break;
    }
    return REX_OK;
}

rex_status rex_difficulty_bins(const double *hard, size_t n, int bins, int *bin, rex_err *e) {
    if (bins < 1) return rex_fail(e, REX_EARG, -1, "%d bins: at least one is needed", bins);
    for (size_t i = 0; i < n; i++)
        if (!isfinite(hard[i]))
            return rex_fail(e, REX_ENAN, (int64_t)i, "difficulty %zu is not finite", i);
    if (n == 0) return REX_OK;
    rex_arena *a = NULL;
    REX_TRY(rex_arena_open(0, &a, e));
    uint32_t *const order = rex_arena_take(a, 2 * n, sizeof *order, e);
    if (order) {
        rex_sort_index(hard, n, order, order + n);
        for (size_t i = 0; i < n; i++) bin[order[i]] = (int)(i * (size_t)bins / n);
    }
    rex_arena_close(a);
    return order ? REX_OK : REX_ENOMEM;
}
