/* SPDX-License-Identifier: MIT
 *
 * plane.c: the two directions in which the rows of one group vary most. The Gram matrix of the
 * centred rows is n x n, small for one problem's pool, so its two largest eigenvectors come from
 * subspace iteration in double with a fixed start: the same rows give the same picture.
 */
#include "report.h"

#include <math.h>
#include <string.h>

enum { ROUNDS = 300 };

static double dot(const double *a, const double *b, size_t n) {
    double s = 0.0;
    for (size_t i = 0; i < n; i++) s += a[i] * b[i];
    return s;
}

/* Makes `v` unit, or zero where it is nothing but rounding against `scale`. */
static double unit(double *v, size_t n, double scale) {
    const double norm = sqrt(dot(v, v, n));
    const double f = norm > 1e-14 * scale && norm > 0.0 ? 1.0 / norm : 0.0;
    for (size_t i = 0; i < n; i++) v[i] *= f;
    return f > 0.0 ? norm : 0.0;
}

static void apply(const double *gram, const double *v, double *out, size_t n) {
    for (size_t i = 0; i < n; i++) out[i] = dot(gram + i * n, v, n);
}

static void gram_of(const double *row, size_t n, size_t d, const double *mean, double *diff,
                    double *gram) {
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < d; k++) diff[i * d + k] = row[i * d + k] - mean[k];
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++)
            gram[i * n + j] = gram[j * n + i] = dot(diff + i * d, diff + j * d, d);
}

rex_status rex_plane(rex_arena *a, const double *row, size_t n, size_t d, double *xy,
                     double explained[2], rex_err *e) {
    const rex_mark start = rex_arena_mark(a);
    double *const mean = rex_arena_zero(a, d + 1, sizeof *mean, e);
    double *const diff = mean ? rex_arena_take(a, n * d + 1, sizeof *diff, e) : NULL;
    double *const gram = diff ? rex_arena_take(a, n * n + 1, sizeof *gram, e) : NULL;
    double *const v = gram ? rex_arena_take(a, 3 * n + 1, sizeof *v, e) : NULL;
    if (!v) {
        rex_arena_back(a, start);
        return REX_ENOMEM;
    }
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < d; k++) mean[k] += row[i * d + k] / (double)n;
    gram_of(row, n, d, mean, diff, gram);
    double trace = 0.0;
    for (size_t i = 0; i < n; i++) trace += gram[i * n + i];
    if (trace <= 1e-24 * dot(row, row, n * d)) { /* equal rows up to the rounding of their mean */
        memset(gram, 0, n * n * sizeof *gram);
        trace = 0.0;
    }
    const rex_key key = rex_key_make(0);
    double *const v0 = v, *const v1 = v + n, *const tmp = v + 2 * n;
    for (size_t i = 0; i < n; i++) {
        v0[i] = rex_rand_unit(key, REX_STREAM_TEST, (uint32_t)i, 0, 0) - 0.5;
        v1[i] = rex_rand_unit(key, REX_STREAM_TEST, (uint32_t)i, 1, 0) - 0.5;
    }
    double l0 = 0.0, l1 = 0.0;
    for (int r = 0; r < ROUNDS; r++) {
        apply(gram, v0, tmp, n);
        memcpy(v0, tmp, n * sizeof *v0);
        l0 = unit(v0, n, trace);
        apply(gram, v1, tmp, n);
        const double along = dot(tmp, v0, n);
        for (size_t i = 0; i < n; i++) v1[i] = tmp[i] - along * v0[i];
        l1 = unit(v1, n, trace);
    }
    explained[0] = trace > 0.0 ? l0 / trace : 0.0;
    explained[1] = trace > 0.0 ? l1 / trace : 0.0;
    for (int c = 0; c < 2; c++) {
        const double *const u = c ? v1 : v0;
        const double scale = sqrt(c ? l1 : l0);
        double far = 0.0;
        for (size_t i = 0; i < n; i++)
            if (fabs(u[i]) > fabs(far)) far = u[i];
        for (size_t i = 0; i < n; i++) xy[2 * i + (size_t)c] = (far < 0.0 ? -scale : scale) * u[i];
    }
    rex_arena_back(a, start);
    return REX_OK;
}
