/* SPDX-License-Identifier: MIT
 *
 * greedy: the fast form of greedy selection, for values that only fall as picks are added:
 *   ELLIPSE  f'(lambda I + sum h h')^-1 f   = |f|^2/lambda - sum_s (f.w_s)^2
 *   DPP      |f - its part in the span|^2   = |f|^2        - sum_s (f.w_s)^2
 *   FAR      distance^2 to the nearest pick = min_s (|f|^2 + |w_s|^2 - 2 f.w_s)
 * The w_s live in feature space (k x d, never n x k), so a row can be brought up to date at any time
 * by reading it once, and an old value is a bound on the new one. After a pick only a short list of
 * the best rows is brought up to date; when its best falls to the bound of the rest, one sweep
 * refreshes exactly the rows whose bound still reaches it, all missing picks at once.
 *
 * Invariant: the number that decides for row i after t picks is a function of the rows and picks
 * alone (same sums in the same order), so list, blocks, sweeps and threads cannot change a choice.
 * Where the subtraction has cancelled 8 bits or more, the row's value is computed again as the square
 * of a residual: with G_s = I - gamma_s g_s g_s', the inverse is B B' with B = prod G_s / sqrt(lambda)
 * and value = |B'f|^2, which loses only half the digits that the subtraction loses (Potter's form
 * of Sherman and Morrison). That costs 2td, so it is done only for rows whose bound, with a bound on
 * the rounding of the subtraction added, still reaches the best.
 */
#include "explore.h"

#include <math.h>
#include <string.h>

enum { TILE = 16, PICKS = 24 };

#define DEEP 0x1p-8      /* of its first value: below, a value is recomputed as a residual */
#define SLACK 2e-10      /* rows this close to the best are refreshed: a little over REX_TIE */
#define NO_GAIN 1e-10    /* DPP: of a row's own L_ii, below which it has no gain */

struct rex_greedy {
    const rex_feat *f;
    rex_greedy_kind kind;
    const double *weight;
    rex_greedy_tune tune;
    rex_pool *workers;
    double lambda, root; /* root = 1/sqrt(lambda); 1 for DPP and FAR */

    double *val;  /* n: the subtraction so far, after at[i] picks; never recomputed otherwise */
    double *key;  /* n: what is compared; a bound from above where at[i] < t */
    int32_t *at;
    bool *out;    /* no candidate */

    double *w;     /* (room, ld) update vectors */
    double *g;     /* (room, ld) B'f of the first n_g picks, or the orthonormal base of DPP */
    double *gamma; /* room */
    int64_t *pick; /* room: the rows */
    int64_t n_g;
    double *far2;  /* room: |w|^2 for FAR */
    double *dot;   /* room */
    int64_t t, room;
    double drift;  /* sum of 1 + value at first / (1 + value when picked): feeds the error bound */

    int64_t *list; /* n_list rows brought up to date after each pick */
    double *lz;    /* (list_cap, ld) their z */
    int64_t n_list, list_cap;
    double rest;   /* the largest key outside the list */

    double *sort;    /* n */
    double *scratch; /* (workers, TILE + 1, ld) */
    int64_t rows_read, dots_made;
    int64_t *block_work; /* (blocks, 2) of the running sweep */
    double thr;
};

/* ---- values and keys -------------------------------------------------------------------------- */

static double first_value(const rex_greedy *g, int64_t i) {
    return rex_feat_norm2(g->f, i) / g->lambda;
}

static double key_of(const rex_greedy *g, int64_t i, double value) {
    if (g->kind == REX_GREEDY_FAR) return sqrt(value);
    if (g->kind == REX_GREEDY_ELLIPSE && !g->weight) return value;
    if (!(value > 0.0)) return -INFINITY;
    return rex_log(value) + (g->weight ? g->weight[i] : 0.0);
}

static bool is_log(const rex_greedy *g) {
    return g->kind == REX_GREEDY_DPP || (g->kind == REX_GREEDY_ELLIPSE && g->weight);
}

/* The lowest key within `tol` of `best`. */
static double reach(const rex_greedy *g, double best, double tol) {
    if (isinf(best)) return best;
    return is_log(g) ? best - tol : best - fabs(best) * tol;
}

/* What the subtraction may be off by after t picks: dot products of d terms against vectors that
 * carry the rounding of t updates each, added up by Cauchy and Schwarz. */
static double rounding(const rex_greedy *g, int64_t i) {
    const double terms = (double)g->f->ld / 8.0 + 2.0 * (double)g->t + 32.0;
    return first_value(g, i) * 0x1p-52 * 2.0 * terms * sqrt(1.0 + g->drift);
}

/* z = G_s z for one pick. */
static void reflect(const rex_greedy *g, int64_t s, double *z) {
    const int64_t ld = g->f->ld;
    double c = 0.0;
    g->f->op->dots(&c, 1, z, 1, g->g + s * ld, 1, ld);
    c *= -g->gamma[s];
    g->f->op->combine(z, &c, g->g + s * ld, 1, ld);
}

/* z, the centred row i, becomes B'f of the first t picks; its squared norm is the row's value. */
static double residual(const rex_greedy *g, int64_t i, int64_t t, double *z) {
    const int64_t ld = g->f->ld;
    const double scale = rex_feat_inv(g->f, i) * g->root;
    double r = 0.0;
    for (int64_t j = 0; j < ld; j++) z[j] *= scale;
    for (int64_t s = 0; s < t; s++) reflect(g, s, z);
    g->f->op->dots(&r, 1, z, 1, z, 1, ld);
    return r;
}

/* The g of picks that nobody needed so far. They depend on the picks alone, so it does not matter
 * when they are made; most pools never need them. */
static void make_residual_base(rex_greedy *g) {
    for (; g->n_g < g->t; g->n_g++) {
        double *const own = g->g + g->n_g * g->f->ld;
        rex_feat_z(g->f, g->pick[g->n_g], -1, own);
        const double s = residual(g, g->pick[g->n_g], g->n_g, own), root = sqrt(1.0 + s);
        g->gamma[g->n_g] = 1.0 / (root * (1.0 + root)); /* (1 - 1/root) / s */
    }
}

static bool is_deep(const rex_greedy *g, int64_t i) {
    return g->kind != REX_GREEDY_FAR && g->val[i] < DEEP * first_value(g, i);
}

/* A row whose gain has gone: it will never have one again. */
static bool spent(const rex_greedy *g, int64_t i, double value) {
    return g->kind == REX_GREEDY_DPP && !(value >= NO_GAIN * first_value(g, i));
}

/* Brings val of R rows from at to t; all have the same `at`. */
static void advance(rex_greedy *g, const int64_t *row, int64_t R, const double *z, int64_t ldz) {
    const int64_t ld = g->f->ld;
    double dot[TILE * PICKS];
    for (int64_t v = g->at[row[0]]; v < g->t; v += PICKS) {
        const int64_t W = g->t - v < PICKS ? g->t - v : PICKS;
        g->f->op->dots(dot, PICKS, z, R, g->w + v * ld, W, ldz);
        for (int64_t r = 0; r < R; r++) {
            const double inv = rex_feat_inv(g->f, row[r]), n2 = rex_feat_norm2(g->f, row[r]);
            double x = g->val[row[r]];
            for (int64_t s = 0; s < W; s++) {
                const double u = dot[r * PICKS + s] * inv;
                if (g->kind != REX_GREEDY_FAR) {
                    x = fma(-u, u, x);
                    continue;
                }
                const double all = n2 + g->far2[v + s];
                double d2 = fma(-2.0, u, all);
                if (d2 < DEEP * all)
                    d2 = g->f->op->dist2(z + r * ldz, inv, g->w + (v + s) * ld, ld);
                if (d2 <= REX_NOISE * all) d2 = 0.0;
                x = fmin(x, d2);
            }
            g->val[row[r]] = x;
        }
    }
    for (int64_t r = 0; r < R; r++) g->at[row[r]] = (int32_t)g->t;
}

/* The key of an up-to-date row: exact, or a bound on it where the subtraction has cancelled. */
static void settle(rex_greedy *g, int64_t i) {
    double value = fmax(g->val[i], 0.0);
    if (is_deep(g, i)) value += rounding(g, i);
    if (spent(g, i, value)) g->out[i] = true;
    g->key[i] = key_of(g, i, value);
}

/* The exact key of a row whose subtraction has cancelled. */
static void settle_deep(rex_greedy *g, int64_t i) {
    double *const z = g->scratch;
    make_residual_base(g);
    rex_feat_z(g->f, i, -1, z);
    g->rows_read++;
    g->dots_made += 2 * g->t;
    const double value = residual(g, i, g->t, z);
    if (spent(g, i, value)) g->out[i] = true;
    g->key[i] = key_of(g, i, value);
}

/* ---- sweep ------------------------------------------------------------------------------------ */

/* Refreshes up to TILE rows with equal `at`. */
static void refresh_tile(rex_greedy *g, const int64_t *row, int64_t R, int64_t next, double *z) {
    const int64_t ld = g->f->ld;
    for (int64_t r = 0; r < R; r++) rex_feat_z(g->f, row[r], r + 1 < R ? row[r + 1] : next, z + r * ld);
    advance(g, row, R, z, ld);
    for (int64_t r = 0; r < R; r++) settle(g, row[r]);
}

/* One block: the rows whose bound reaches thr; if they are a large share, all that lag, so that
 * memory is read in one stream and the next sweeps find the block up to date. */
static void sweep_block(void *ud, size_t item, int worker) {
    rex_greedy *const g = ud;
    const int64_t first = (int64_t)item * g->tune.block;
    const int64_t end = first + g->tune.block < g->f->n ? first + g->tune.block : g->f->n;
    double *const z = g->scratch + (int64_t)worker * (TILE + 1) * g->f->ld;
    int64_t lag = 0, need = 0, rows = 0, dots = 0;
    for (int64_t i = first; i < end; i++)
        if (!g->out[i] && g->at[i] < g->t) {
            lag++;
            need += g->key[i] >= g->thr;
        }
    const bool all = (double)need > g->tune.share * (double)lag;
    for (int64_t from = first; need > 0 && from >= 0;) {
        int64_t row[TILE], n = 0, more = -1, other = -1;
        for (int64_t i = from; i < end && more < 0; i++) {
            if (g->out[i] || g->at[i] >= g->t || !(all || g->key[i] >= g->thr)) continue;
            if (n > 0 && g->at[i] != g->at[row[0]]) {
                if (other < 0) other = i;
            } else if (n == TILE) {
                more = i;
            } else {
                row[n++] = i;
            }
        }
        if (n == 0) break;
        rows += n;
        dots += n * (g->t - g->at[row[0]]);
        refresh_tile(g, row, n, more, z);
        from = other >= 0 ? other : more;
    }
    g->block_work[2 * item] = rows;
    g->block_work[2 * item + 1] = dots;
}

static void sweep(rex_greedy *g, double thr) {
    const int64_t blocks = (g->f->n + g->tune.block - 1) / g->tune.block;
    g->thr = thr;
    rex_pool_run(g->workers, (size_t)blocks, sweep_block, g);
    for (int64_t b = 0; b < blocks; b++) {
        g->rows_read += g->block_work[2 * b];
        g->dots_made += g->block_work[2 * b + 1];
    }
}

/* ---- list ------------------------------------------------------------------------------------- */

/* The m-th largest of x (n): Hoare's selection, which rearranges x. */
static double mth_largest(double *x, int64_t n, int64_t m) {
    int64_t lo = 0, hi = n - 1, k = m - 1;
    while (lo < hi) {
        const double a = x[lo], b = x[lo + (hi - lo) / 2], c = x[hi];
        const double pivot = fmax(fmin(a, b), fmin(fmax(a, b), c));
        int64_t i = lo, j = hi;
        while (i <= j) {
            while (x[i] > pivot) i++;
            while (x[j] < pivot) j--;
            if (i <= j) {
                const double t = x[i];
                x[i++] = x[j];
                x[j--] = t;
            }
        }
        if (k <= j)
            hi = j;
        else if (k >= i)
            lo = i;
        else
            break;
    }
    return x[k];
}

/* The rows with the largest keys, old or new, become the list and are brought up to date. */
static void make_list(rex_greedy *g) {
    const rex_feat *const f = g->f;
    int64_t n = 0;
    for (int64_t i = 0; i < f->n; i++)
        if (!g->out[i]) g->sort[n++] = g->key[i];
    g->n_list = 0;
    g->rest = -INFINITY;
    if (n == 0) return;
    const double cut = n > g->list_cap ? mth_largest(g->sort, n, g->list_cap) : -INFINITY;
    bool left_out = false;
    for (int64_t i = 0; i < f->n; i++) {
        if (g->out[i]) continue;
        if (g->key[i] >= cut && g->n_list < g->list_cap) {
            double *const z = g->lz + g->n_list * f->ld;
            rex_feat_z(f, i, -1, z);
            g->rows_read++;
            if (g->at[i] < g->t) {
                g->dots_made += g->t - g->at[i];
                advance(g, &i, 1, z, f->ld);
                settle(g, i);
            }
            g->list[g->n_list++] = i;
        } else {
            g->rest = left_out ? fmax(g->rest, g->key[i]) : g->key[i];
            left_out = true;
        }
    }
}

/* One more pick for rows of the list that lag by it. */
static void update_list(rex_greedy *g) {
    int64_t n = 0;
    const int64_t ld = g->f->ld;
    for (int64_t r = 0; r < g->n_list; r++) { /* picked and spent rows leave, the last takes over */
        if (!g->out[g->list[r]]) {
            n++;
            continue;
        }
        const int64_t last = --g->n_list;
        g->list[r] = g->list[last];
        memcpy(g->lz + r * ld, g->lz + last * ld, (size_t)ld * sizeof(double));
        r--;
    }
    for (int64_t r = 0; r < n;) {
        int64_t end = r;
        while (end < n && end - r < TILE && g->at[g->list[end]] == g->at[g->list[r]]) end++;
        if (g->at[g->list[r]] < g->t) {
            g->dots_made += (end - r) * (g->t - g->at[g->list[r]]);
            advance(g, g->list + r, end - r, g->lz + r * ld, ld);
            for (int64_t k = r; k < end; k++) settle(g, g->list[k]);
        }
        r = end;
    }
}

static bool fresh(const rex_greedy *g, int64_t i) {
    return !g->out[i] && g->at[i] == g->t;
}

/* The largest key of the rows in `from` (NULL: 0 .. n-1) that are up to date. On return every key
 * that reaches it is exact. */
static double best_of(rex_greedy *g, const int64_t *from, int64_t n) {
    double best = -INFINITY;
    int64_t top = -1;
    for (int64_t r = 0; r < n; r++) {
        const int64_t i = from ? from[r] : r;
        if (!fresh(g, i)) continue;
        if (!is_deep(g, i))
            best = fmax(best, g->key[i]);
        else if (top < 0 || g->key[i] > g->key[top])
            top = i;
    }
    if (top < 0) return best;
    if (g->key[top] >= reach(g, best, SLACK)) { /* the most promising first: it spares the others */
        settle_deep(g, top);
        if (fresh(g, top)) best = fmax(best, g->key[top]);
    }
    for (int64_t r = 0; r < n; r++) {
        const int64_t i = from ? from[r] : r;
        if (i == top || !fresh(g, i) || !is_deep(g, i)) continue;
        if (g->key[i] < reach(g, best, SLACK)) continue;
        settle_deep(g, i);
        if (fresh(g, i)) best = fmax(best, g->key[i]);
    }
    return best;
}

/* ---- picks ------------------------------------------------------------------------------------ */

static rex_status grow(rex_greedy *g, rex_err *e) {
    if (g->t < g->room) return REX_OK;
    if (g->t >= INT32_MAX) return rex_fail(e, REX_ELIMIT, -1, "selection: too many picks");
    const int64_t room = g->room ? 2 * g->room : 64;
    const size_t row = (size_t)g->f->ld * sizeof(double);
    void *const old[] = {g->w, g->g, g->gamma, g->far2, g->dot, g->pick};
    const size_t size[] = {row, row, sizeof(double), sizeof(double), sizeof(double), sizeof(int64_t)};
    void *more[6];
    for (size_t p = 0; p < 6; p++) {
        more[p] = rex_mem_take((size_t)room, size[p], e);
        if (!more[p]) {
            while (p > 0) rex_mem_free(more[--p]);
            return REX_ENOMEM;
        }
        if (old[p]) memcpy(more[p], old[p], (size_t)g->t * size[p]);
    }
    for (size_t p = 0; p < 6; p++) rex_mem_free(old[p]);
    g->w = more[0];
    g->g = more[1];
    g->gamma = more[2];
    g->far2 = more[3];
    g->dot = more[4];
    g->pick = more[5];
    g->room = room;
    return REX_OK;
}

/* DPP: z is what is left of f beside the span; once more, so that the base stays orthogonal. */
static void push_dpp(rex_greedy *g, int64_t i, double *z, double gain) {
    const int64_t ld = g->f->ld;
    double n2 = 0.0;
    for (int64_t s = 0; s < g->t; s++) reflect(g, s, z);
    g->f->op->dots(&n2, 1, z, 1, z, 1, ld);
    const double scale = 1.0 / sqrt(n2);
    for (int64_t j = 0; j < ld; j++) g->w[g->t * ld + j] = g->g[g->t * ld + j] = z[j] * scale;
    g->gamma[g->t] = 1.0;
    g->drift += 1.0 + first_value(g, i) / gain;
    g->n_g = ++g->t;
}

/* ELLIPSE: w = (lambda I + sum)^-1 f / sqrt(1 + value). Where the value has cancelled, by the factors
 * B and B'; else by the update vectors so far, all dot products at once. */
static void push_ellipse(rex_greedy *g, int64_t i, double *z, double *value) {
    const int64_t ld = g->f->ld;
    double *const w = g->w + g->t * ld, scale = rex_feat_inv(g->f, i) / g->lambda;
    if (is_deep(g, i)) {
        make_residual_base(g);
        *value = residual(g, i, g->t, z);
        for (int64_t k = g->t - 1; k >= 0; k--) reflect(g, k, z);
        scale = g->root;
    } else {
        g->f->op->dots(g->dot, g->t, z, 1, g->w, g->t, ld);
        for (int64_t s = 0; s < g->t; s++) g->dot[s] *= -g->lambda;
        g->f->op->combine(z, g->dot, g->w, g->t, ld);
    }
    scale /= sqrt(1.0 + *value);
    for (int64_t j = 0; j < ld; j++) w[j] = z[j] * scale;
    g->drift += 1.0 + first_value(g, i) / (1.0 + *value);
    g->t++;
}

/* Row i joins: z (ld) is its centred row; *value is what it was worth, made exact. */
static void push(rex_greedy *g, int64_t i, double *z, double *value) {
    const int64_t ld = g->f->ld;
    g->pick[g->t] = i;
    if (g->kind == REX_GREEDY_FAR) {
        const double inv = rex_feat_inv(g->f, i);
        for (int64_t j = 0; j < ld; j++) g->w[g->t * ld + j] = z[j] * inv;
        g->far2[g->t++] = rex_feat_norm2(g->f, i);
    } else if (g->kind == REX_GREEDY_ELLIPSE) {
        push_ellipse(g, i, z, value);
    } else {
        const double gain = residual(g, i, g->t, z);
        if (is_deep(g, i)) *value = gain;
        if (spent(g, i, *value))
            *value = 0.0;
        else
            push_dpp(g, i, z, gain);
    }
}

rex_status rex_greedy_take(rex_greedy *g, int64_t i, double *score, rex_err *e) {
    rex_assert(i >= 0 && i < g->f->n);
    REX_TRY(grow(g, e));
    double *const z = g->scratch;
    rex_feat_z(g->f, i, -1, z);
    g->rows_read++;
    if (g->at[i] < g->t) {
        g->dots_made += g->t - g->at[i];
        advance(g, &i, 1, z, g->f->ld);
    }
    double value = fmax(g->val[i], 0.0);
    if (g->kind == REX_GREEDY_FAR) value = g->t == 0 ? g->f->norm2[i] : value;
    push(g, i, z, &value);
    g->out[i] = true;
    if (score) {
        if (g->kind == REX_GREEDY_FAR)
            *score = sqrt(value);
        else
            *score = g->kind == REX_GREEDY_DPP ? key_of(g, i, value) : value;
    }
    return REX_OK;
}

/* Of the rows in `from` (NULL: all) that are up to date, the lowest that ties with `best`. */
static int64_t lowest(const rex_greedy *g, const int64_t *from, int64_t n, double best) {
    const double thr = reach(g, best, REX_TIE);
    int64_t pick = -1;
    for (int64_t r = 0; r < n; r++) {
        const int64_t i = from ? from[r] : r;
        if (fresh(g, i) && g->key[i] >= thr && (pick < 0 || i < pick)) pick = i;
    }
    return pick;
}

rex_status rex_greedy_pick(rex_greedy *g, int64_t *i, double *score, rex_err *e) {
    *i = -1;
    update_list(g);
    if (g->n_list == 0) make_list(g);
    const double best = best_of(g, g->list, g->n_list);
    if (g->rest < reach(g, best, SLACK)) {
        *i = lowest(g, g->list, g->n_list, best);
    } else {
        sweep(g, reach(g, best, SLACK));
        *i = lowest(g, NULL, g->f->n, best_of(g, NULL, g->f->n));
        g->n_list = 0; /* made again from what the sweep found */
    }
    if (*i < 0) { /* every row of the list was spent: there may be others */
        bool any = false;
        for (int64_t r = 0; r < g->f->n && !any; r++) any = !g->out[r];
        if (!any) return REX_OK;
        g->n_list = 0;
        return rex_greedy_pick(g, i, score, e);
    }
    return rex_greedy_take(g, *i, score, e);
}

void rex_greedy_bar(rex_greedy *g, int64_t i) {
    g->out[i] = true;
}

void rex_greedy_work(const rex_greedy *g, int64_t *rows, int64_t *dots) {
    *rows = g->rows_read;
    *dots = g->dots_made;
}

/* ---- life ------------------------------------------------------------------------------------- */

/* The list: a thirty-second of the pool, between 32 and 1024 rows, at most 2 MB of them. */
static int64_t list_size(const rex_feat *f) {
    int64_t m = f->n / 32;
    if (m < 32) m = 32;
    if (m > 1024) m = 1024;
    const int64_t fit = (int64_t)(2 << 20) / (f->ld * 8);
    if (m > fit) m = fit < 32 ? 32 : fit;
    return m < f->n ? m : f->n;
}

static rex_status open_arrays(rex_greedy *g, rex_err *e) {
    const rex_feat *const f = g->f;
    const size_t n = (size_t)f->n, ld = (size_t)f->ld;
    const size_t blocks = (n + (size_t)g->tune.block - 1) / (size_t)g->tune.block;
    const size_t threads = g->workers ? (size_t)rex_pool_size(g->workers) : 1;
    g->val = rex_mem_take(n, sizeof(double), e);
    g->key = g->val ? rex_mem_take(n, sizeof(double), e) : NULL;
    g->at = g->key ? rex_mem_take(n, sizeof(int32_t), e) : NULL;
    g->out = g->at ? rex_mem_take(n, sizeof(bool), e) : NULL;
    g->sort = g->out ? rex_mem_take(n, sizeof(double), e) : NULL;
    g->list = g->sort ? rex_mem_take((size_t)g->list_cap, sizeof(int64_t), e) : NULL;
    g->lz = g->list ? rex_mem_take((size_t)g->list_cap * ld, sizeof(double), e) : NULL;
    g->block_work = g->lz ? rex_mem_take(blocks * 2, sizeof(int64_t), e) : NULL;
    g->scratch = g->block_work ? rex_mem_take(threads * (TILE + 1) * ld, sizeof(double), e) : NULL;
    return g->scratch ? REX_OK : REX_ENOMEM;
}

rex_status rex_greedy_open(const rex_feat *f, rex_greedy_kind kind, const double *weight,
                           const rex_greedy_tune *tune, rex_pool *workers, rex_greedy **out,
                           rex_err *e) {
    rex_greedy *const g = rex_mem_take(1, sizeof *g, e);
    if (!g) return REX_ENOMEM;
    g->f = f;
    g->kind = kind;
    g->weight = weight;
    g->workers = workers;
    g->tune = tune ? *tune : (rex_greedy_tune){256, 0, 0.5};
    g->lambda = kind == REX_GREEDY_ELLIPSE ? f->lambda : 1.0;
    g->root = 1.0 / sqrt(g->lambda);
    g->list_cap = g->tune.list > 0 ? g->tune.list : list_size(f);
    if (g->list_cap > f->n) g->list_cap = f->n;
    if (open_arrays(g, e) != REX_OK) {
        rex_greedy_close(g);
        return REX_ENOMEM;
    }
    for (int64_t i = 0; i < f->n; i++) {
        const double v = first_value(g, i);
        g->val[i] = kind == REX_GREEDY_FAR ? INFINITY : v;
        g->out[i] = kind == REX_GREEDY_DPP && !(v > 0.0);
        g->key[i] = key_of(g, i, g->val[i]);
    }
    *out = g;
    return REX_OK;
}

void rex_greedy_close(rex_greedy *g) {
    if (!g) return;
    void *const part[] = {g->val,  g->key, g->at,   g->out,  g->w,  g->g,    g->gamma,  g->far2,
                          g->dot, g->pick, g->list, g->lz, g->sort, g->block_work, g->scratch};
    for (size_t i = 0; i < sizeof part / sizeof *part; i++) rex_mem_free(part[i]);
    rex_mem_free(g);
}
