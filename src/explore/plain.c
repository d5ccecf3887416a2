/* SPDX-License-Identifier: MIT
 *
 * plain: selection written down as it is defined, without regard to cost: features in a matrix, the
 * covariance inverted anew for every pick (Cholesky), the quadratic form of every row from it; for
 * `dpp` the conditional variance from the inverted kernel of the picks; for `farthest` all
 * distances; every choice by looking at all rows. It shares the named draws with the fast form and
 * nothing else, and is what the fast form is tested against. O(k (d^3 + n d^2)).
 */
#include "explore.h"

#include <math.h>
#include <string.h>

typedef struct {
    const rex_select_opts *o;
    const rex_select_rows *r;
    int64_t n, d;
    double *f;      /* (n, d) centred, scaled */
    double *norm;   /* n: before scaling */
    double lambda;
    double *mass;   /* n */
    int64_t *rep;   /* n */
    int64_t *taken; /* n_taken */
    int64_t n_taken;
    bool *gone;
    double *a, *inv, *work; /* max(n, d)^2 twice, max(n, d) */
} plain;

static void features(plain *p) {
    const rex_row_ops *const op = rex_row_ops_find("ref");
    const rex_matrix *const m = &p->r->m;
    const int64_t size = rex_elem_bytes(m->type);
    double total = 0.0;
    for (int64_t i = 0; i < p->n; i++) {
        const char *const x = (const char *)m->p + (p->r->row ? p->r->row[i] : i) * m->cols * size;
        for (int64_t j = 0; j < p->d; j++) {
            double v[REX_ROW_LANES];
            op->widen(v, REX_ROW_LANES, x + j * size, m->type, 1, NULL, NULL);
            p->f[i * p->d + j] = v[0];
        }
    }
    for (int64_t j = 0; p->o->center && j < p->d; j++) {
        double mean = 0.0;
        for (int64_t i = 0; i < p->n; i++) mean += p->f[i * p->d + j] / (double)p->n;
        for (int64_t i = 0; i < p->n; i++) p->f[i * p->d + j] -= mean;
    }
    for (int64_t i = 0; i < p->n; i++) {
        double s = 0.0;
        for (int64_t j = 0; j < p->d; j++) s += p->f[i * p->d + j] * p->f[i * p->d + j];
        p->norm[i] = sqrt(s);
        total += s;
        for (int64_t j = 0; p->o->unit && s > 0.0 && j < p->d; j++)
            p->f[i * p->d + j] /= p->norm[i];
    }
    p->lambda =
        p->o->lambda_rel && total > 0.0 ? p->o->lambda * total / (double)p->n : p->o->lambda;
}

static bool same_outcome(const plain *p, int64_t i, int64_t j) {
    return i == j || (p->r->outcome && p->r->outcome[i] == p->r->outcome[j]);
}

static void outcomes(plain *p) {
    for (int64_t i = 0; i < p->n; i++) {
        double most = -INFINITY, sum = 0.0, top = -INFINITY;
        const double sharp = p->r->l ? p->o->sharpness : 0.0;
        for (int64_t j = 0; j < p->n; j++) {
            if (!same_outcome(p, i, j)) continue;
            most = fmax(most, sharp != 0.0 ? sharp * p->r->l[j] : 0.0);
            if (p->r->l) top = fmax(top, p->r->l[j]);
        }
        p->rep[i] = -1;
        for (int64_t j = 0; j < p->n; j++) {
            if (!same_outcome(p, i, j)) continue;
            sum += rex_exp((sharp != 0.0 ? sharp * p->r->l[j] : 0.0) - most);
            if (p->rep[i] < 0 && (!p->r->l || p->r->l[j] >= top - REX_TIE)) p->rep[i] = j;
        }
        p->mass[i] = most + rex_log(sum);
    }
    const int64_t own = p->o->first_index;
    if (p->o->first == REX_FIRST_INDEX && !p->gone[own])
        for (int64_t i = 0; i < p->n; i++)
            if (same_outcome(p, i, own)) p->rep[i] = own;
}

/* h'(lambda I + sum h h')^-1 h of every row, by the explicit inverse. */
static void bonus(plain *p, double *out) {
    const int64_t d = p->d;
    memset(p->a, 0, (size_t)(d * d) * sizeof(double));
    for (int64_t j = 0; j < d; j++) p->a[j * d + j] = p->lambda;
    for (int64_t t = 0; t < p->n_taken; t++) {
        const double *const h = p->f + p->taken[t] * d;
        for (int64_t i = 0; i < d; i++)
            for (int64_t j = 0; j < d; j++) p->a[i * d + j] += h[i] * h[j];
    }
    rex_assert(rex_chol(p->a, d));
    rex_chol_inverse(p->a, d, p->inv);
    for (int64_t r = 0; r < p->n; r++) {
        const double *const h = p->f + r * d;
        double s = 0.0;
        for (int64_t i = 0; i < d; i++)
            for (int64_t j = 0; j < d; j++) s += h[i] * p->inv[i * d + j] * h[j];
        out[r] = fmax(s, 0.0);
    }
}

static double inner(const plain *p, int64_t i, int64_t j) {
    double s = 0.0;
    for (int64_t k = 0; k < p->d; k++) s += p->f[i * p->d + k] * p->f[j * p->d + k];
    return s;
}

/* log(q^2 times the variance of each row given the picks), from the kernel of the picks that had a
 * gain; -infinity below NO_GAIN of its own. */
static void gain(plain *p, double *out) {
    const int64_t d = p->d;
    int64_t m = 0;
    /* rows without gain were never factored in: pivots by Cholesky, row after row */
    for (int64_t t = 0; t <= p->n_taken; t++) {
        const int64_t last = t == p->n_taken;
        for (int64_t r = last ? 0 : p->taken[t]; r < (last ? p->n : p->taken[t] + 1); r++) {
            double *const c = p->work;
            for (int64_t s = 0; s < d; s++) c[s] = p->f[r * d + s];
            for (int twice = 0; twice < 2; twice++)
                for (int64_t b = 0; b < m; b++) {
                    double x = 0.0;
                    for (int64_t s = 0; s < d; s++) x += c[s] * p->a[b * d + s];
                    for (int64_t s = 0; s < d; s++) c[s] -= x * p->a[b * d + s];
                }
            double left = 0.0;
            for (int64_t s = 0; s < d; s++) left += c[s] * c[s];
            const double all = inner(p, r, r);
            const bool none = !(left >= 1e-10 * all) || !(all > 0.0);
            if (last) out[r] = none ? -INFINITY : rex_log(left) + p->o->alpha * p->mass[r];
            if (!last && !none) {
                for (int64_t s = 0; s < d; s++) p->a[m * d + s] = c[s] / sqrt(left);
                m++;
            }
        }
    }
}

/* What is compared for every row, and whether it is a logarithm (ties are absolute then). */
static bool keys(plain *p, double *key, double *score) {
    switch (p->o->rule) {
    case REX_SELECT_ELLIPTICAL:
        bonus(p, key);
        memcpy(score, key, (size_t)p->n * sizeof(double));
        return false;
    case REX_SELECT_QUALITY:
        bonus(p, score);
        for (int64_t i = 0; i < p->n; i++)
            key[i] = score[i] > 0.0 ? rex_log(score[i]) + p->o->alpha * p->mass[i] : -INFINITY;
        return true;
    case REX_SELECT_DPP:
        gain(p, key);
        memcpy(score, key, (size_t)p->n * sizeof(double));
        return true;
    case REX_SELECT_FARTHEST:
        for (int64_t i = 0; i < p->n; i++) {
            key[i] = INFINITY;
            for (int64_t t = 0; t < p->n_taken; t++) {
                double s = 0.0, all = 0.0;
                for (int64_t j = 0; j < p->d; j++) {
                    const double a = p->f[i * p->d + j], b = p->f[p->taken[t] * p->d + j];
                    s += (a - b) * (a - b);
                    all += a * a + b * b;
                }
                if (s <= REX_NOISE * all) s = 0.0;
                key[i] = fmin(key[i], sqrt(s));
            }
            score[i] = p->n_taken ? key[i] : p->norm[i];
        }
        return false;
    case REX_SELECT_VOTES: memcpy(key, p->mass, (size_t)p->n * sizeof(double)); break;
    case REX_SELECT_LIKELIHOOD: memcpy(key, p->r->l, (size_t)p->n * sizeof(double)); break;
    default: {
        uint32_t perm[4096];
        rex_assert(p->n <= 4096);
        rex_rand_perm(rex_key_make(p->o->seed), REX_STREAM_PERM, 0, perm, (size_t)p->n);
        for (int64_t i = 0; i < p->n; i++) key[perm[i]] = -(double)i;
        for (int64_t i = 0; i < p->n; i++) score[i] = 0.0;
        return true;
    }
    }
    memcpy(score, key, (size_t)p->n * sizeof(double));
    return true;
}

/* The lowest of the eligible rows that tie with the largest key. */
static int64_t choose(const plain *p, const bool *ok, const double *key, bool logs) {
    double best = -INFINITY;
    for (int64_t i = 0; i < p->n; i++)
        if (ok[i]) best = fmax(best, key[i]);
    const double thr = isinf(best) ? best : best - REX_TIE * (logs ? 1.0 : fabs(best));
    for (int64_t i = 0; i < p->n; i++)
        if (ok[i] && key[i] >= thr) return i;
    return -1;
}

static int64_t pick(plain *p, uint64_t id, int64_t n_start, bool *ok, double *key, double *score) {
    int64_t n_rep = 0;
    for (int64_t i = 0; i < p->n; i++) {
        bool open = !p->gone[i] && p->rep[i] == i;
        for (int64_t t = 0; open && t < p->n_taken; t++) open = !same_outcome(p, p->taken[t], i);
        ok[i] = open;
        n_rep += open;
    }
    const bool logs = keys(p, key, score);
    if (n_rep == 0) { /* the others, by l */
        for (int64_t i = 0; i < p->n; i++) ok[i] = !p->gone[i];
        for (int64_t i = 0; i < p->n; i++) key[i] = p->r->l ? p->r->l[i] : 0.0;
        return choose(p, ok, key, true);
    }
    if (p->n_taken == n_start && p->o->first == REX_FIRST_INDEX && ok[p->o->first_index])
        return p->o->first_index;
    if (p->n_taken == 0 && p->o->first == REX_FIRST_RANDOM) {
        uint64_t skip = rex_rand_below(rex_key_make(p->o->seed), REX_STREAM_FIRST, 0, 0, id,
                                       (uint64_t)n_rep);
        for (int64_t i = 0; i < p->n; i++)
            if (ok[i] && skip-- == 0) return i;
    }
    if (p->n_taken == 0 && p->o->first == REX_FIRST_NORM) return choose(p, ok, p->norm, false);
    const int64_t i = choose(p, ok, key, logs);
    if (p->o->rule == REX_SELECT_DPP && isinf(key[i])) return choose(p, ok, p->mass, true);
    return i;
}

rex_status rex_select_plain(const rex_select_opts *o, uint64_t id, const rex_select_rows *rows,
                            const int64_t *start, int64_t n_start, int64_t *index, double *score,
                            rex_err *e) {
    rex_arena *a = NULL;
    REX_TRY(rex_arena_open(0, &a, e));
    plain p = {.o = o, .r = rows, .n = rows->n, .d = rows->m.p ? rows->m.cols : 1, .lambda = 1.0};
    const size_t n = (size_t)p.n, d = (size_t)p.d, top = n > d ? n : d;
    p.f = rex_arena_zero(a, n * d, sizeof(double), e);
    p.norm = p.f ? rex_arena_zero(a, n, sizeof(double), e) : NULL;
    p.mass = p.norm ? rex_arena_zero(a, n, sizeof(double), e) : NULL;
    p.rep = p.mass ? rex_arena_zero(a, n, sizeof(int64_t), e) : NULL;
    p.taken = p.rep ? rex_arena_zero(a, n, sizeof(int64_t), e) : NULL;
    p.gone = p.taken ? rex_arena_zero(a, 2 * n, sizeof(bool), e) : NULL;
    p.a = p.gone ? rex_arena_zero(a, top * top, sizeof(double), e) : NULL;
    p.inv = p.a ? rex_arena_zero(a, top * top, sizeof(double), e) : NULL;
    p.work = p.inv ? rex_arena_zero(a, 3 * top, sizeof(double), e) : NULL;
    if (!p.work) {
        rex_arena_close(a);
        return REX_ENOMEM;
    }
    for (int64_t i = 0; i < n_start; i++) {
        p.gone[start[i]] = true;
        p.taken[p.n_taken++] = start[i];
    }
    if (rows->m.p) features(&p);
    outcomes(&p);
    for (int64_t t = 0; t < p.n - n_start; t++) {
        const int64_t i = pick(&p, id, n_start, p.gone + n, p.work + top, p.work + 2 * top);
        index[t] = i;
        if (score) score[t] = p.work[2 * top + (size_t)i];
        p.gone[i] = true;
        p.taken[p.n_taken++] = i;
    }
    rex_arena_close(a);
    return REX_OK;
}
