/* SPDX-License-Identifier: MIT
 *
 * linalg: the few dense symmetric routines that covariances need, in double, row-major, plain
 * loops in a fixed order: Cholesky factor, triangular solves, inverse, eigenvalues. Matrices here
 * are at most as large as a group or a feature space (hundreds, rarely a few thousand), and
 * products are not fused, because the baseline build would call the library for each; the large
 * sums over rows are made with the row operations of kernels/row_ops.h instead.
 */
#include "explore.h"

#include <math.h>
#include <stdlib.h>

bool rex_chol(double *a, int64_t n) {
    for (int64_t j = 0; j < n; j++) {
        for (int64_t i = j; i < n; i++) {
            double s = a[i * n + j];
            for (int64_t k = 0; k < j; k++) s -= a[i * n + k] * a[j * n + k];
            if (i == j) {
                if (!(s > 0.0)) return false;
                a[j * n + j] = sqrt(s);
            } else {
                a[i * n + j] = s / a[j * n + j];
            }
        }
    }
    return true;
}

void rex_chol_forward(const double *l, int64_t n, double *x) {
    for (int64_t i = 0; i < n; i++) {
        double s = x[i];
        for (int64_t k = 0; k < i; k++) s -= l[i * n + k] * x[k];
        x[i] = s / l[i * n + i];
    }
}

void rex_chol_back(const double *l, int64_t n, double *x) {
    for (int64_t i = n - 1; i >= 0; i--) {
        const double v = x[i] /= l[i * n + i];
        for (int64_t k = 0; k < i; k++) x[k] -= l[i * n + k] * v;
    }
}

void rex_chol_inverse(const double *l, int64_t n, double *inv) {
    for (int64_t c = 0; c < n; c++) {
        double *const x = inv + c * n;
        for (int64_t i = 0; i < n; i++) x[i] = i == c ? 1.0 : 0.0;
        rex_chol_forward(l, n, x);
        rex_chol_back(l, n, x);
    }
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < i; j++)
            inv[i * n + j] = inv[j * n + i] = 0.5 * (inv[i * n + j] + inv[j * n + i]);
}

/* ---- eigenvalues ------------------------------------------------------------------------- */

/* Reduces a to tridiagonal form by reflections from the last row up: diagonal in d, what stands
 * beside it in e (e[0] = 0). */
static void tridiagonal(double *a, int64_t n, double *d, double *e) {
    for (int64_t i = n - 1; i >= 1; i--) {
        double *const u = a + i * n; /* the row left of the diagonal becomes the reflector */
        double scale = 0.0, h = 0.0;
        for (int64_t k = 0; k < i; k++) scale += fabs(u[k]);
        d[i] = a[i * n + i];
        if (i == 1 || scale == 0.0) {
            e[i] = i == 1 ? u[0] : 0.0;
            continue;
        }
        for (int64_t k = 0; k < i; k++) {
            u[k] /= scale;
            h += u[k] * u[k];
        }
        const double f = u[i - 1], g = f >= 0.0 ? -sqrt(h) : sqrt(h);
        e[i] = scale * g;
        h -= f * g;
        u[i - 1] = f - g;
        /* e[0 .. i-1] = p = A u / h, then q = p - (u'p / 2h) u, A -= u q' + q u' */
        for (int64_t j = 0; j < i; j++) e[j] = 0.0;
        for (int64_t j = 0; j < i; j++) {
            double s = a[j * n + j] * u[j];
            for (int64_t k = 0; k < j; k++) {
                s += a[j * n + k] * u[k];
                e[k] += a[j * n + k] * u[j];
            }
            e[j] += s;
        }
        double up = 0.0;
        for (int64_t j = 0; j < i; j++) {
            e[j] /= h;
            up += u[j] * e[j];
        }
        for (int64_t j = 0; j < i; j++) e[j] -= up / (h + h) * u[j];
        for (int64_t j = 0; j < i; j++)
            for (int64_t k = 0; k <= j; k++)
                a[j * n + k] -= u[j] * e[k] + e[j] * u[k];
    }
    d[0] = a[0];
    e[0] = 0.0;
}

/* One implicit QL sweep with Wilkinson's shift on the block l .. m. */
static void ql_sweep(double *d, double *e, int64_t l, int64_t m) {
    double g = (d[l + 1] - d[l]) / (2.0 * e[l]);
    double r = sqrt(g * g + 1.0);
    g = d[m] - d[l] + e[l] / (g + copysign(r, g));
    double s = 1.0, c = 1.0, p = 0.0;
    for (int64_t i = m - 1; i >= l; i--) {
        const double f = s * e[i], b = c * e[i];
        r = sqrt(f * f + g * g);
        e[i + 1] = r;
        if (r == 0.0) { /* the block fell apart: take the rest up again later */
            d[i + 1] -= p;
            e[m] = 0.0;
            return;
        }
        s = f / r;
        c = g / r;
        g = d[i + 1] - p;
        r = (d[i] - g) * s + 2.0 * c * b;
        p = s * r;
        d[i + 1] = g + p;
        g = c * r - b;
    }
    d[l] -= p;
    e[l] = g;
    e[m] = 0.0;
}

static int by_value(const void *x, const void *y) {
    const double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

rex_status rex_eigenvalues(double *a, int64_t n, double *value, double *work, rex_err *e) {
    if (n <= 0) return REX_OK;
    double *const d = value, *const off = work;
    tridiagonal(a, n, d, off);
    for (int64_t i = 1; i < n; i++) off[i - 1] = off[i];
    off[n - 1] = 0.0;
    for (int64_t l = 0; l < n; l++) {
        for (int sweep = 0;; sweep++) {
            int64_t m = l;
            for (; m < n - 1; m++) {
                const double dd = fabs(d[m]) + fabs(d[m + 1]);
                if (fabs(off[m]) <= 0x1p-52 * dd) break;
            }
            if (m == l) break;
            if (sweep == 60)
                return rex_fail(e, REX_EBUG, -1, "eigenvalues: no convergence after 60 sweeps");
            ql_sweep(d, off, l, m);
        }
    }
    qsort(value, (size_t)n, sizeof *value, by_value);
    return REX_OK;
}
