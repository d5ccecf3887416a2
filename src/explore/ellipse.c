/* SPDX-License-Identifier: MIT
 *
 * ellipse: the regularised covariance lambda I + sum h h' of a set of rows, and the three bonuses
 * of a group of rows under it:
 *   conditional  h_i'(lambda I + sum_{j<i}  h_j h_j')^-1 h_i
 *   leverage     h_i'(lambda I + sum_j      h_j h_j')^-1 h_i
 *   loo          h_i'(lambda I + sum_{j!=i} h_j h_j')^-1 h_i = lev_i / (1 - lev_i)
 * The handle updates the inverse by Sherman and Morrison and makes it afresh from the sum after
 * every `refresh` changes. Groups are worked out from one Cholesky factor: of the d x d covariance,
 * or of the n x n Gram matrix when there are fewer rows than dimensions, where with
 * B = (G + lambda I)^-1 the leverage is 1 - lambda B_ii.
 */
#include "explore.h"

#include <math.h>
#include <string.h>

struct rex_ellipse {
    int64_t dim, ld, refresh, since, count;
    double lambda, logdet;
    const rex_row_ops *op;
    double *sum; /* (dim, dim) lambda I + sum h h' */
    double *inv; /* (dim, ld) its inverse, rows padded */
    double *v;   /* ld */
    double *h;   /* ld */
    double *f;   /* (dim, dim) factor while refreshing */
};

/* ---- the handle -------------------------------------------------------------------------- */

void rex_ellipse_close(rex_ellipse *x) {
    if (!x) return;
    void *const part[] = {x->sum, x->inv, x->v, x->h, x->f};
    for (size_t i = 0; i < sizeof part / sizeof *part; i++) rex_mem_free(part[i]);
    rex_mem_free(x);
}

rex_status rex_ellipse_open(int64_t dim, double lambda, int64_t refresh, rex_ellipse **out,
                            rex_err *e) {
    if (dim <= 0 || dim > 1 << 16)
        return rex_fail(e, REX_EARG, -1, "ellipse: %lld dimensions", (long long)dim);
    if (!(lambda > 0.0) || !(lambda <= 1e300))
        return rex_fail(e, REX_EARG, -1, "lambda must be greater than 0, not %g", lambda);
    rex_ellipse *const x = rex_mem_take(1, sizeof *x, e);
    if (!x) return REX_ENOMEM;
    const size_t d = (size_t)dim, ld = (size_t)REX_ROW_PAD(dim);
    x->sum = rex_mem_take(d * d, sizeof(double), e);
    x->inv = x->sum ? rex_mem_take(d * ld, sizeof(double), e) : NULL;
    x->v = x->inv ? rex_mem_take(ld, sizeof(double), e) : NULL;
    x->h = x->v ? rex_mem_take(ld, sizeof(double), e) : NULL;
    x->f = x->h ? rex_mem_take(d * d, sizeof(double), e) : NULL;
    if (!x->f) {
        rex_ellipse_close(x);
        return REX_ENOMEM;
    }
    x->dim = dim;
    x->ld = (int64_t)ld;
    x->lambda = lambda;
    x->refresh = refresh > 0 ? refresh : dim;
    x->op = rex_row_ops_best();
    x->logdet = (double)dim * rex_log(lambda);
    for (int64_t i = 0; i < dim; i++) {
        x->sum[i * dim + i] = lambda;
        x->inv[i * x->ld + i] = 1.0 / lambda;
    }
    *out = x;
    return REX_OK;
}

/* v = inverse times h; returns h.v */
static double solve(rex_ellipse *x, const double *h) {
    double s = 0.0;
    memcpy(x->h, h, (size_t)x->dim * sizeof(double));
    x->op->dots(x->v, x->dim, x->h, 1, x->inv, x->dim, x->ld);
    x->op->dots(&s, 1, x->h, 1, x->v, 1, x->ld);
    return s;
}

double rex_ellipse_bonus(rex_ellipse *x, const double *h) {
    return fmax(solve(x, h), 0.0);
}

double rex_ellipse_logdet(const rex_ellipse *x) {
    return x->logdet;
}

int64_t rex_ellipse_count(const rex_ellipse *x) {
    return x->count;
}

/* The inverse and the determinant from the sum; false if the sum is no longer positive definite. */
static bool refresh(rex_ellipse *x) {
    const int64_t d = x->dim;
    memcpy(x->f, x->sum, (size_t)(d * d) * sizeof(double));
    if (!rex_chol(x->f, d)) return false;
    x->logdet = 0.0;
    for (int64_t i = 0; i < d; i++) x->logdet += 2.0 * rex_log(x->f[i * d + i]);
    for (int64_t c = 0; c < d; c++) {
        double *const col = x->inv + c * x->ld;
        for (int64_t i = 0; i < d; i++) col[i] = i == c ? 1.0 : 0.0;
        rex_chol_forward(x->f, d, col);
        rex_chol_back(x->f, d, col);
    }
    x->since = 0;
    return true;
}

/* sum += sign h h', inverse -= sign v v' / (1 + sign s) */
static rex_status change(rex_ellipse *x, const double *h, double sign, rex_err *e) {
    const double s = solve(x, h), k = 1.0 + sign * s;
    if (!isfinite(s)) return rex_fail(e, REX_ENAN, -1, "ellipse: a row that is not finite");
    if (!(k > 0.0))
        return rex_fail(e, REX_EARG, -1,
                        "ellipse: remove a row that was never added (h'A^-1h = %g)", s);
    for (int64_t i = 0; i < x->dim; i++) {
        const double a = sign * h[i], b = -sign * x->v[i] / k;
        for (int64_t j = 0; j < x->dim; j++) x->sum[i * x->dim + j] += a * h[j];
        x->op->combine(x->inv + i * x->ld, &b, x->v, 1, x->ld);
    }
    x->logdet += rex_log(k);
    x->count += sign > 0.0 ? 1 : -1;
    if (++x->since < x->refresh) return REX_OK;
    return refresh(x)
               ? REX_OK
               : rex_fail(e, REX_EARG, -1, "ellipse: rows were removed that were never added");
}

rex_status rex_ellipse_add(rex_ellipse *x, const double *h, rex_err *e) {
    return change(x, h, 1.0, e);
}

rex_status rex_ellipse_remove(rex_ellipse *x, const double *h, rex_err *e) {
    if (x->count == 0) return rex_fail(e, REX_EARG, -1, "ellipse: remove from an empty one");
    return change(x, h, -1.0, e);
}

/* ---- bonuses of a group ------------------------------------------------------------------ */

void rex_bonus_defaults(rex_bonus_opts *o) {
    *o = (rex_bonus_opts){.size = sizeof *o, .center = true, .lambda = 0.01};
}

enum { GRAM_BLOCK = 128 };

/* What a group's bonuses are worked out from. m = min(n, dim) unless a form was asked for. */
typedef struct {
    const rex_feat *f;
    double *rows; /* (n, ld) f */
    double *gram; /* (m, m): H H' if dual, else H'H */
    double *fac;  /* (m, m) */
    double *wide; /* primal: (dim, ld) and GRAM_BLOCK more: H'H, then the inverse of its factor */
    int64_t m;
    bool dual;
} group;

static void fill_gram(group *g) {
    const rex_feat *const f = g->f;
    if (g->dual) {
        for (int64_t i = 0; i < f->n; i++)
            f->op->dots(g->gram + i * f->n, f->n, g->rows + i * f->ld, 1, g->rows, f->n, f->ld);
        return;
    }
    /* row a of H'H += sum_r h_r[a] h_r, in blocks of rows that stay in the cache */
    double *const column = g->wide + f->dim * f->ld;
    for (int64_t first = 0; first < f->n; first += GRAM_BLOCK) {
        const int64_t some = f->n - first < GRAM_BLOCK ? f->n - first : GRAM_BLOCK;
        const double *const rows = g->rows + first * f->ld;
        for (int64_t a = 0; a < f->dim; a++) {
            for (int64_t r = 0; r < some; r++) column[r] = rows[r * f->ld + a];
            f->op->combine(g->wide + a * f->ld, column, rows, some, f->ld);
        }
    }
    for (int64_t a = 0; a < f->dim; a++)
        memcpy(g->gram + a * f->dim, g->wide + a * f->ld, (size_t)f->dim * sizeof(double));
}

static rex_status factor(group *g, rex_err *e) {
    memcpy(g->fac, g->gram, (size_t)(g->m * g->m) * sizeof(double));
    for (int64_t i = 0; i < g->m; i++) g->fac[i * g->m + i] += g->f->lambda;
    if (!rex_chol(g->fac, g->m))
        return rex_fail(e, REX_EARG, -1, "lambda %g is too small for features of this size",
                        g->f->lambda);
    return REX_OK;
}

/* wide = L^-1, row by row, so that |L^-1 h|^2 is made of dot products. */
static void invert_factor(const group *g, double *work) {
    memset(g->wide, 0, (size_t)(g->m * g->f->ld) * sizeof(double));
    for (int64_t c = 0; c < g->m; c++) {
        for (int64_t k = 0; k < g->m; k++) work[k] = k == c ? 1.0 : 0.0;
        rex_chol_forward(g->fac, g->m, work);
        for (int64_t k = c; k < g->m; k++) g->wide[k * g->f->ld + c] = work[k];
    }
}

/* lev and 1 - lev of every row; each by the form that does not cancel. */
static void leverages(const group *g, double *work, double *lev, double *rest) {
    const rex_feat *const f = g->f;
    if (!g->dual) invert_factor(g, work);
    for (int64_t i = 0; i < f->n; i++) {
        if (g->dual) {
            /* column i of B: 1 - lev = lambda B_ii, and lev = row i of G times it */
            for (int64_t k = 0; k < g->m; k++) work[k] = k == i ? 1.0 : 0.0;
            rex_chol_forward(g->fac, g->m, work);
            rex_chol_back(g->fac, g->m, work);
            rest[i] = f->lambda * work[i];
            lev[i] = 1.0 - rest[i];
            if (lev[i] < 0.5) {
                double s = 0.0;
                for (int64_t k = 0; k < g->m; k++) s += g->gram[i * g->m + k] * work[k];
                lev[i] = fmax(s, 0.0);
            }
        } else {
            f->op->dots(work, g->m, g->rows + i * f->ld, 1, g->wide, g->m, f->ld);
            double s = 0.0;
            for (int64_t k = 0; k < g->m; k++) s += work[k] * work[k];
            lev[i] = s;
            rest[i] = 1.0 - s;
        }
    }
}

/* Each row given the earlier ones: the leading parts of one factor of G + lambda I say it all,
 * L_ii^2 = lambda + lambda bonus_i; in the primal form one covariance grows. */
static rex_status conditional(const group *g, double *bonus, rex_err *e) {
    const rex_feat *const f = g->f;
    if (g->dual) {
        for (int64_t i = 0; i < f->n; i++) {
            const double l = g->fac[i * g->m + i];
            bonus[i] = fmax(l * l / f->lambda - 1.0, 0.0);
        }
        return REX_OK;
    }
    rex_ellipse *x = NULL;
    REX_TRY(rex_ellipse_open(f->dim, f->lambda, 0, &x, e));
    rex_status st = REX_OK;
    for (int64_t i = 0; i < f->n && st == REX_OK; i++) {
        bonus[i] = rex_ellipse_bonus(x, g->rows + i * f->ld);
        st = rex_ellipse_add(x, g->rows + i * f->ld, e);
    }
    rex_ellipse_close(x);
    return st;
}

/* exp of the entropy of the eigenvalues, taken as shares of their sum; 0 when all are 0. */
static rex_status effective_rank(group *g, double *value, double *work, double *rank, rex_err *e) {
    REX_TRY(rex_eigenvalues(g->gram, g->m, value, work, e));
    double sum = 0.0, entropy = 0.0;
    for (int64_t i = 0; i < g->m; i++) sum += fmax(value[i], 0.0);
    for (int64_t i = 0; i < g->m && sum > 0.0; i++) {
        const double p = fmax(value[i], 0.0) / sum;
        if (p > 0.0) entropy -= p * rex_log(p);
    }
    *rank = sum > 0.0 ? rex_exp(entropy) : 0.0;
    return REX_OK;
}

static double deviation(const double *x, int64_t n, double mean) {
    double s = 0.0;
    for (int64_t i = 0; i < n; i++) s += (x[i] - mean) * (x[i] - mean);
    return n > 1 ? sqrt(s / (double)(n - 1)) : 0.0;
}

static void describe(const double *bonus, int64_t n, rex_bonus_stat *s) {
    s->sum = 0.0;
    s->min = s->max = bonus[0];
    for (int64_t i = 0; i < n; i++) {
        s->sum += bonus[i];
        s->min = fmin(s->min, bonus[i]);
        s->max = fmax(s->max, bonus[i]);
    }
    s->mean = s->sum / (double)n;
    s->std = deviation(bonus, n, s->mean);
    s->saturation = n > 1 ? s->sum / (double)(n - 1) : NAN;
}

static void normalize(rex_normalize how, const rex_bonus_stat *s, double *bonus, int64_t n) {
    const double mean = how == REX_NORMALIZE_ZSCORE ? s->mean : 0.0;
    const double std = how != REX_NORMALIZE_NONE && s->std > 0.0 ? s->std : 1.0;
    for (int64_t i = 0; i < n; i++) bonus[i] = (bonus[i] - mean) / std;
}

static rex_status bonuses(rex_arena *a, const rex_feat *f, const rex_bonus_opts *o, double *bonus,
                          rex_bonus_stat *stat, rex_err *e) {
    group g = {.f = f};
    g.dual = o->form == REX_FORM_AUTO ? f->n < f->dim : o->form == REX_FORM_DUAL;
    g.m = g.dual ? f->n : f->dim;
    size_t mm = 0, all = 0;
    REX_TRY(rex_mul_size((size_t)g.m, (size_t)g.m, &mm, e));
    REX_TRY(rex_mul_size((size_t)f->n, (size_t)f->ld, &all, e));
    const size_t top = (size_t)(f->n > f->ld ? f->n : f->ld);
    g.rows = rex_arena_take(a, all, sizeof(double), e);
    g.gram = g.rows ? rex_arena_zero(a, mm, sizeof(double), e) : NULL;
    g.fac = g.gram ? rex_arena_take(a, mm, sizeof(double), e) : NULL;
    const size_t wide = g.dual ? 8 : (size_t)(f->dim * f->ld) + GRAM_BLOCK;
    g.wide = g.fac ? rex_arena_zero(a, wide, sizeof(double), e) : NULL;
    double *const work = g.wide ? rex_arena_take(a, 2 * top, sizeof(double), e) : NULL;
    double *const rest = work ? rex_arena_take(a, (size_t)f->n, sizeof(double), e) : NULL;
    if (!rest) return REX_ENOMEM;
    for (int64_t i = 0; i < f->n; i++) rex_feat_row(f, i, g.rows + i * f->ld);
    fill_gram(&g);
    REX_TRY(factor(&g, e));
    if (o->kind == REX_BONUS_CONDITIONAL) {
        REX_TRY(conditional(&g, bonus, e));
    } else {
        leverages(&g, work, bonus, rest);
        if (o->kind == REX_BONUS_LOO)
            for (int64_t i = 0; i < f->n; i++) bonus[i] /= rest[i];
    }
    rex_bonus_stat s = {.lambda = f->lambda};
    describe(bonus, f->n, &s);
    REX_TRY(effective_rank(&g, work, work + top, &s.rank, e));
    normalize(o->normalize, &s, bonus, f->n);
    if (stat) *stat = s;
    return REX_OK;
}

rex_status rex_bonus_rows(const rex_matrix *m, const int64_t *row, int64_t n,
                          const rex_bonus_opts *o, double *bonus, rex_bonus_stat *stat,
                          rex_err *e) {
    if (o->size != sizeof *o)
        return rex_fail(e, REX_EARG, -1, "bonus: options were not filled by their defaults");
    const uint64_t fp = rex_fp_enter();
    rex_arena *a = NULL;
    rex_feat f;
    rex_status st = rex_arena_open(0, &a, e);
    if (st == REX_OK) {
        const rex_feat_part part = {m, row, n};
        const rex_feat_opts fo = {o->center, o->unit, o->lambda_rel, o->lambda, NULL};
        st = rex_feat_open(a, &part, 1, &fo, NULL, &f, e);
    }
    if (st == REX_OK) st = bonuses(a, &f, o, bonus, stat, e);
    rex_arena_close(a);
    rex_fp_leave(fp);
    return st;
}
