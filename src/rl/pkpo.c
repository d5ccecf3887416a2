/* SPDX-License-Identifier: MIT
 *
 * pkpo.c: advantages from the maxima of k-subsets, for any reward (Walder and Karkhanis 2025, and
 * the general form of Pass@k training). With g_1 <= ... <= g_n:
 *
 *   s_i      = [C(i-1,k-1) g_i + sum_{j>i} C(j-2,k-2) g_j] / C(n,k)
 *   s_loo_i  = s_i - k/(n-1) rho(g without i; k)
 *   s_loo1_i = sum over k-subsets I with i of (max I - max I\{i}) / C(n,k)
 *
 * Binomials enter as ratios by recurrences from the top, where they are k/n or near it. s_loo1 is a
 * sum of gaps between neighbours with weights that grow, so nothing cancels. Equal rewards get
 * equal advantages, bit for bit: a run of equals takes the value of its first.
 */
#include "../metrics/metrics.h"
#include "rl.h"

#include <math.h>

/* s in sorted order into `s`. u_i = C(i-1,k-1)/C(n,k), v_j = C(j-2,k-2)/C(n,k). */
static void subset_maxima(const double *g, size_t n, int64_t k, double *s) {
    const double N = (double)n, K = (double)k;
    double u = K / N, v = n > 1 ? K * (K - 1.0) / (N * (N - 1.0)) : 0.0, behind = 0.0;
    for (size_t i = n; i >= 1; i--) {
        s[i - 1] = u * g[i - 1] + behind;
        behind += v * g[i - 1];
        const double I = (double)i;
        u = i > 1 && I > K ? u * (I - K) / (I - 1.0) : 0.0;
        v = i > 2 && I > K ? v * (I - K) / (I - 2.0) : 0.0;
    }
}

/* max I - max I\{i}: subsets whose maximum is i and whose second lies at or below i-1 number
 * C(i-1,k-1); each step up from g_{i-1} to g_i adds the gap once for all of them. */
static void gains(const double *g, size_t n, int64_t k, double *s) {
    const double K = (double)k;
    double w = K / (double)n; /* C(i-1,k-1)/C(n,k) at i = n */
    for (size_t i = n; i >= 1; i--) {
        const double I = (double)i;
        s[i - 1] = i > 1 ? w * (g[i - 1] - g[i - 2]) : 0.0;
        w = i > 1 && I > K ? w * (I - K) / (I - 1.0) : 0.0;
    }
    for (size_t i = 1; i < n; i++) s[i] += s[i - 1];
}

/* s_loo into `s`, which holds s. rho without i = sum_{j<i} C(j-1,k-1) g_j + sum_{j>i} C(j-2,k-1)
 * g_j over C(n-1,k); `below` has room for n. */
static void leave_out(const double *g, size_t n, int64_t k, double *s, double *below) {
    const double N = (double)n, K = (double)k, scale = K / (N - 1.0);
    /* a_j = C(j-1,k-1)/C(n-1,k): at j = n-1 it is k/(n-1) */
    double a = K / (N - 1.0);
    below[n - 1] = 0.0;
    for (size_t j = n - 1; j >= 1; j--) {
        below[j - 1] = a * g[j - 1];
        const double J = (double)j;
        a = j > 1 && J > K ? a * (J - K) / (J - 1.0) : 0.0;
    }
    double sum = 0.0;
    for (size_t j = 0; j < n; j++) { /* now the sum of what lies before j */
        const double x = below[j];
        below[j] = sum;
        sum += x;
    }
    double above = 0.0, b = K / (N - 1.0); /* b_j = a_{j-1}, at j = n */
    for (size_t i = n; i >= 1; i--) {
        s[i - 1] -= scale * (below[i - 1] + above);
        above += b * g[i - 1];
        const double I = (double)i;
        b = i > 2 && I - 1.0 > K ? b * (I - 1.0 - K) / (I - 2.0) : 0.0;
    }
}

/* ((n/k) s_i - mean) / std over all groups, with everything measured from the largest reward: terms
 * of one sign do not cancel. All groups have one maximum when g_k = g_n. */
static void general(double *g, size_t n, int64_t k, double *s) {
    const double top = g[n - 1];
    if (g[k - 1] == top) {
        for (size_t i = 0; i < n; i++) s[i] = 0.0;
        return;
    }
    for (size_t i = 0; i < n; i++) g[i] -= top;
    subset_maxima(g, n, k, s);
    const double N = (double)n, K = (double)k, mean = rex_best_sorted(g, n, k);
    double var = 0.0, w = K / N;
    for (size_t i = n; i >= (size_t)k; i--) {
        var += w * (g[i - 1] - mean) * (g[i - 1] - mean);
        if (i > 1) w *= ((double)i - K) / ((double)i - 1.0);
    }
    const double std = sqrt(var);
    for (size_t i = 0; i < n; i++) s[i] = std > 0.0 ? (N / K * s[i] - mean) / std : 0.0;
}

void rex_adv_pkpo(rex_adv_group x, rex_adv_kind kind, uint32_t *order, uint32_t *tmp, double *w) {
    double *const g = w, *const s = w + x.n;
    rex_sort_index(x.r, x.n, order, tmp);
    for (size_t i = 0; i < x.n; i++) g[i] = x.r[order[i]];
    if (kind == REX_ADV_PKPO) {
        gains(g, x.n, x.k, s);
    } else if (kind == REX_ADV_PASSK_GENERAL) {
        general(g, x.n, x.k, s);
    } else {
        subset_maxima(g, x.n, x.k, s);
        if (kind == REX_ADV_PKPO_LOO) leave_out(g, x.n, x.k, s, x.adv);
    }
    for (size_t i = 1; i < x.n; i++)
        if (g[i] == g[i - 1]) s[i] = s[i - 1];
    for (size_t i = 0; i < x.n; i++) x.adv[order[i]] = s[i];
}
