/* SPDX-License-Identifier: MIT
 *
 * greedy: the fast form of greedy selection, for values that only fall as picks are added:
 *   ELLIPSE  f'(lambda I + sum h h')^-1 f   = |f|^2/lambda - sum_s (f.w_s)^2
 *   DPP      |f - its part in the span|^2   = |f|^2        - sum_s (f.w_s)^2
 *   FAR      distance^2 to the nearest pick = min_s (|f|^2 + |w_s|^2 - 2 f.w_s)
 * The w_s live in feature space (k x d, never n x k), so a row can be brought up to date at any time
 * by reading it once, and an old value is a bound on the new one. After a pick, rows of a short list
 * (the best so far) are brought up to date in the order of their bounds until no bound reaches the
 * best value; when the bound of the rows beside the list does, one sweep over memory refreshes exactly
 * the rows whose bound reaches it, all missing picks at once, and makes a new list.
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
#include <stdlib.h>
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
    int32_t *sure; /* t + 1: the key of a deep row is exact at t */
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

    int64_t *list; /* n_list rows with the largest keys when it was made */
    int64_t n_list, list_cap, lasted;
    double rest;   /* the largest key beside the list, if there is a row */
    bool beside;

    double *sort;    /* n */
    int64_t *set;    /* n: rows to refresh; a block's part belongs to its worker */
    double *scratch; /* (workers, TILE, ld) */
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

/* The value of row i after update vector s, u being their product. */
static double after(const rex_greedy *g, int64_t i, int64_t s, double value, double u, const double *z) {
    if (g->kind != REX_GREEDY_FAR) return fma(-u, u, value);
    const double all = rex_feat_norm2(g->f, i) + g->far2[s];
    double d2 = fma(-2.0, u, all);
    if (d2 < DEEP * all)
        d2 = g->f->op->dist2(z, rex_feat_inv(g->f, i), g->w + s * g->f->ld, g->f->ld);
    if (d2 <= REX_NOISE * all) d2 = 0.0;
    return fmin(value, d2);
}

/* Brings val of R <= TILE rows up to t. z (R, ld) are their centred rows. Products that a row has had
 * already are made with the others', and not used. Returns the number of products. */
static int64_t advance(rex_greedy *g, const int64_t *row, int64_t R, const double *z) {
    const int64_t ld = g->f->ld;
    double dot[TILE * PICKS];
    int64_t first = g->t;
    for (int64_t r = 0; r < R; r++)
        if (g->at[row[r]] < first) first = g->at[row[r]];
    for (int64_t v = first; v < g->t; v += PICKS) {
        const int64_t W = g->t - v < PICKS ? g->t - v : PICKS;
        g->f->op->dots(dot, PICKS, z, R, g->w + v * ld, W, ld);
        for (int64_t r = 0; r < R; r++) {
            const int64_t i = row[r], skip = g->at[i] > v ? g->at[i] - v : 0;
            const double inv = rex_feat_inv(g->f, i);
            double x = g->val[i];
            for (int64_t s = skip; s < W; s++)
                x = after(g, i, v + s, x, dot[r * PICKS + s] * inv, z + r * ld);
            g->val[i] = x;
        }
    }
    for (int64_t r = 0; r < R; r++) g->at[row[r]] = (int32_t)g->t;
    return R * (g->t - first);
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
    g->sure[i] = (int32_t)g->t + 1;
}

/* ---- refreshing ------------------------------------------------------------------------------ */

static int by_number(const void *x, const void *y) {
    const int64_t a = *(const int64_t *)x, b = *(const int64_t *)y;
    return (a > b) - (a < b);
}

/* Brings the n rows of `set` up to date, those that lag alike together; `z` holds TILE rows. The set
 * is rearranged. Returns the number of products. */
static int64_t refresh(rex_greedy *g, int64_t *set, int64_t n, double *z) {
    const int64_t ld = g->f->ld;
    bool even = true;
    int64_t dots = 0;
    for (int64_t r = 1; r < n && even; r++) even = g->at[set[r]] == g->at[set[0]];
    if (!even) {
        for (int64_t r = 0; r < n; r++) set[r] |= (int64_t)g->at[set[r]] << 32;
        qsort(set, (size_t)n, sizeof *set, by_number);
        for (int64_t r = 0; r < n; r++) set[r] &= 0xFFFFFFFF;
    }
    for (int64_t r = 0; r < n;) {
        const int64_t since = g->at[set[r]], slack = (g->t - since) / 2 + 4;
        int64_t R = 0;
        while (R < TILE && r + R < n && g->at[set[r + R]] - since <= slack) {
            rex_feat_z(g->f, set[r + R], r + R + 1 < n ? set[r + R + 1] : -1, z + R * ld);
            R++;
        }
        dots += advance(g, set + r, R, z);
        for (int64_t k = r; k < r + R; k++) settle(g, set[k]);
        r += R;
    }
    return dots;
}

/* One block of a sweep: the rows whose bound reaches thr; if they are a large share, all that lag, so
 * that memory is read in one stream and the next sweeps find the block up to date. */
static void sweep_block(void *ud, size_t item, int worker) {
    rex_greedy *const g = ud;
    const int64_t first = (int64_t)item * g->tune.block;
    const int64_t end = first + g->tune.block < g->f->n ? first + g->tune.block : g->f->n;
    int64_t lag = 0, need = 0, n = 0;
    for (int64_t i = first; i < end; i++)
        if (!g->out[i] && g->at[i] < g->t) {
            lag++;
            need += g->key[i] >= g->thr;
        }
    const bool all = (double)need > g->tune.share * (double)lag;
    for (int64_t i = first; i < end && need > 0; i++)
        if (!g->out[i] && g->at[i] < g->t && (all || g->key[i] >= g->thr)) g->set[first + n++] = i;
    double *const z = g->scratch + (int64_t)worker * TILE * g->f->ld;
    g->block_work[2 * item] = n;
    g->block_work[2 * item + 1] = refresh(g, g->set + first, n, z);
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

/* The rows with the largest keys, old or new, become the list. One that had to be given up soon was
 * too short: the next is twice as long. */
static void make_list(rex_greedy *g) {
    int64_t n = 0;
    if (g->tune.list == 0 && g->lasted < 8 && g->t > 1 && g->list_cap < g->f->n / 2) g->list_cap *= 2;
    g->lasted = 0;
    for (int64_t i = 0; i < g->f->n; i++)
        if (!g->out[i]) g->sort[n++] = g->key[i];
    g->n_list = 0;
    g->rest = -INFINITY;
    if (n == 0) return;
    const double cut = n > g->list_cap ? mth_largest(g->sort, n, g->list_cap) : -INFINITY;
    g->beside = false;
    for (int64_t i = 0; i < g->f->n; i++) {
        if (g->out[i]) continue;
        if (g->key[i] >= cut && g->n_list < g->list_cap) {
            g->list[g->n_list++] = i;
        } else {
            g->rest = g->beside ? fmax(g->rest, g->key[i]) : g->key[i];
            g->beside = true;
        }
    }
}

static bool fresh(const rex_greedy *g, int64_t i) {
    return !g->out[i] && g->at[i] == g->t;
}

static bool is_sure(const rex_greedy *g, int64_t i) {
    return !is_deep(g, i) || g->sure[i] == (int32_t)g->t + 1;
}

/* The largest key of the rows in `from` (NULL: 0 .. n-1) that are up to date. On return every key
 * that reaches it is exact. */
static double best_of(rex_greedy *g, const int64_t *from, int64_t n) {
    double best = -INFINITY;
    int64_t top = -1;
    for (int64_t r = 0; r < n; r++) {
        const int64_t i = from ? from[r] : r;
        if (!fresh(g, i)) continue;
        if (is_sure(g, i))
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
        if (!fresh(g, i) || is_sure(g, i) || g->key[i] < reach(g, best, SLACK)) continue;
        settle_deep(g, i);
        if (fresh(g, i)) best = fmax(best, g->key[i]);
    }
    return best;
}

/* Refreshes rows of the list, those with the largest bounds first and ever more at once, until no
 * bound reaches the best value, which is returned. */
static double freshen_list(rex_greedy *g) {
    int64_t n = 0;
    for (int64_t r = 0; r < g->n_list; r++)
        if (!g->out[g->list[r]]) g->list[n++] = g->list[r];
    g->n_list = n;
    for (int64_t some = 4 * TILE;; some *= 2) {
        const double best = best_of(g, g->list, g->n_list), thr = reach(g, best, SLACK);
        int64_t m = 0;
        for (int64_t r = 0; r < n; r++) {
            const int64_t i = g->list[r];
            if (!g->out[i] && !fresh(g, i) && g->key[i] >= thr) g->sort[m++] = g->key[i];
        }
        if (m == 0) return best;
        const double cut = m > some ? mth_largest(g->sort, m, some) : thr;
        m = 0;
        for (int64_t r = 0; r < n; r++) {
            const int64_t i = g->list[r];
            if (!g->out[i] && !fresh(g, i) && g->key[i] >= cut) g->set[m++] = i;
        }
        g->rows_read += m;
        g->dots_made += refresh(g, g->set, m, g->scratch);
    }
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
    if (g->at[i] < g->t) g->dots_made += advance(g, &i, 1, z);
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
    if (g->n_list == 0) make_list(g);
    const double best = freshen_list(g);
    if (!g->beside || g->rest < reach(g, best, SLACK)) {
        *i = lowest(g, g->list, g->n_list, best);
        g->lasted++;
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

/* The first list: a sixty-fourth of the pool, but 64 rows at least. */
static int64_t list_size(const rex_feat *f) {
    const int64_t m = f->n / 64 < 64 ? 64 : f->n / 64;
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
    g->list = g->sort ? rex_mem_take(n, sizeof(int64_t), e) : NULL;
    g->set = g->list ? rex_mem_take(n, sizeof(int64_t), e) : NULL;
    g->sure = g->set ? rex_mem_take(n, sizeof(int32_t), e) : NULL;
    g->block_work = g->sure ? rex_mem_take(blocks * 2, sizeof(int64_t), e) : NULL;
    g->scratch = g->block_work ? rex_mem_take(threads * TILE * ld, sizeof(double), e) : NULL;
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
                          g->dot, g->pick, g->list, g->set, g->sure, g->sort, g->block_work, g->scratch};
    for (size_t i = 0; i < sizeof part / sizeof *part; i++) rex_mem_free(part[i]);
    rex_mem_free(g);
}
