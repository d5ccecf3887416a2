/* SPDX-License-Identifier: MIT
 *
 * greedy: the fast form of greedy selection, for values that only fall as picks are added:
 *   ELLIPSE  f'(lambda I + sum h h')^-1 f   = |f|^2/lambda - sum_s (f.w_s)^2
 *   DPP      |f - its part in the span|^2   = |f|^2        - sum_s (f.w_s)^2
 *   FAR      distance^2 to the nearest pick = min_s (|f|^2 + |w_s|^2 - 2 f.w_s)
 * The w_s live in feature space (k x d, never n x k), so a row can be brought up to date at any
 * time by reading it once, and an old value is a bound on the new one. After a pick the few rows
 * that were best before are brought up to date and give a value to beat; then exactly the rows
 * whose bound reaches it are, all missing picks at once, wherever they lie (the largest bound of
 * each block of rows is kept). A block in which more than half of what lags must be read is read
 * whole, in one stream.
 *
 * Bounds are kept in f32 (half the memory, twice the speed): a product of d terms is off by at most
 * (d/16 + 8) 2^-24 |f| |w|, and what is subtracted from a bound is the square of what is left of
 * its magnitude. Only rows whose bound reaches the best exact value are worked out in double.
 *
 * Invariant: the number that decides for row i after t picks is a function of the rows and picks
 * alone (same sums in the same order), so blocks, order of refreshing and threads cannot change a
 * choice. Where the subtraction has cancelled 8 bits or more, the row's value is computed again as
 * the square of a residual: with G_s = I - gamma_s g_s g_s', the inverse is B B' with B = prod G_s
 * / sqrt(lambda) and value = |B'f|^2, which loses only half the digits that the subtraction loses
 * (Potter's form of Sherman and Morrison). That costs 2td, so it is done only for rows whose bound,
 * with a bound on the rounding of the subtraction added, still reaches the best.
 */
#include "explore.h"

#include <math.h>
#include <string.h>

enum { TILE = 16, PICKS = 24, CHUNK = 64 };

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

    double *val;  /* n: the subtraction in double after at[i] picks; never recomputed otherwise */
    int32_t *at;
    double *top;  /* n: no value after bt[i] picks is larger */
    int32_t *bt;
    double *key;  /* n: what is compared: exact where sure, else of `top` */
    int32_t *sure; /* t + 1: the key is exact at t */
    bool *out;    /* no candidate */

    double *w;     /* (room, ld) update vectors */
    float *w32;    /* (room, ld32) rounded */
    double *wn;    /* room: their norms */
    int64_t ld32;
    bool narrow;   /* numbers are of a size that f32 can bound */
    bool direct;   /* rows are f32 as the products need them */
    double *g;     /* (room, ld) B'f of the first n_g picks, or the orthonormal base of DPP */
    double *gamma; /* room */
    int64_t *pick; /* room: the rows */
    int64_t n_g, g_room;
    rex_status bad; /* sticky: memory for g, which is asked for deep in a pick */
    double *far2;  /* room: |w|^2 for FAR */
    double *dot;   /* room */
    int64_t t, room;
    double drift;  /* sum of 1 + value at first / (1 + value when picked): feeds the error bound */

    double *peak;  /* blocks: no key in the block is larger */
    int64_t blocks;
    int64_t *hot;  /* n_hot rows with large keys, of those seen last */
    int64_t n_hot, hot_cap, served;
    int64_t *set;  /* n: rows to refresh, or that may be the best */
    int64_t *spare; /* n: the same, being sorted */
    int64_t *lag;  /* room + 1: counts of the sort */

    double *scratch; /* (workers, TILE, ld) */
    float *scratch32; /* (workers, TILE, ld32) */
    int64_t rows_read, dots_made;
    int64_t *chunk_dots; /* per chunk of the rows being refreshed */
    int64_t n_set;
};

/* ---- values and keys --------------------------------------------------------------------- */

/* Not fmax and fma: the baseline build calls the library for those. */
static inline double larger(double a, double b) {
    return a > b ? a : b;
}

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

/* As many g as there may be w. */
static bool room_for_base(rex_greedy *g) {
    const size_t row = (size_t)g->f->ld * sizeof(double);
    if (g->g_room >= g->room) return true;
    double *const more = rex_mem_take((size_t)g->room, row, NULL);
    if (!more) {
        g->bad = REX_ENOMEM;
        return false;
    }
    if (g->g) memcpy(more, g->g, (size_t)g->n_g * row);
    rex_mem_free(g->g);
    g->g = more;
    g->g_room = g->room;
    return true;
}

/* The g of picks that nobody needed so far. They depend on the picks alone, so it does not matter
 * when they are made; most pools never need them. */
static bool make_residual_base(rex_greedy *g) {
    if (!room_for_base(g)) return false;
    for (; g->n_g < g->t; g->n_g++) {
        double *const own = g->g + g->n_g * g->f->ld;
        rex_feat_z(g->f, g->pick[g->n_g], -1, own);
        const double s = residual(g, g->pick[g->n_g], g->n_g, own), root = sqrt(1.0 + s);
        g->gamma[g->n_g] = 1.0 / (root * (1.0 + root)); /* (1 - 1/root) / s */
    }
    return true;
}

static bool is_deep(const rex_greedy *g, int64_t i) {
    return g->kind != REX_GREEDY_FAR && g->val[i] < DEEP * first_value(g, i);
}

/* A row whose gain has gone: it will never have one again. */
static bool spent(const rex_greedy *g, int64_t i, double value) {
    return g->kind == REX_GREEDY_DPP && !(value >= NO_GAIN * first_value(g, i));
}

/* The value of row i after update vector s, u being their product. */
static double after(const rex_greedy *g, int64_t i, int64_t s, double value, double u,
                    const double *z) {
    if (g->kind != REX_GREEDY_FAR) return value - u * u;
    const double all = rex_feat_norm2(g->f, i) + g->far2[s];
    double d2 = all - 2.0 * u;
    if (d2 < DEEP * all)
        d2 = g->f->op->dist2(z, rex_feat_inv(g->f, i), g->w + s * g->f->ld, g->f->ld);
    if (d2 <= REX_NOISE * all) d2 = 0.0;
    return value < d2 ? value : d2;
}

/* Brings val of R <= TILE rows up to t. z (R, ld) are their centred rows. Products that a row has
 * had already are made with the others', and not used. Returns the number of products. */
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

/* The key from the bound; a row without gain leaves. */
static void settle(rex_greedy *g, int64_t i) {
    const double value = larger(g->top[i], 0.0);
    if (spent(g, i, value)) g->out[i] = true;
    g->key[i] = key_of(g, i, value);
}

/* What the subtraction in double says: exact, or a bound where it has cancelled. */
static void settle_val(rex_greedy *g, int64_t i) {
    g->bt[i] = g->at[i];
    g->top[i] = g->val[i];
    if (is_deep(g, i))
        g->top[i] = larger(g->val[i], 0.0) + rounding(g, i);
    else
        g->sure[i] = (int32_t)g->t + 1;
    settle(g, i);
}

/* The exact key. */
static void settle_exact(rex_greedy *g, int64_t i) {
    double *const z = g->scratch;
    rex_feat_z(g->f, i, -1, z);
    g->rows_read++;
    if (g->at[i] < g->t) {
        g->dots_made += advance(g, &i, 1, z);
        settle_val(g, i);
    }
    if (!is_deep(g, i) || g->out[i] || !make_residual_base(g)) return;
    g->dots_made += 2 * g->t;
    const double value = residual(g, i, g->t, z);
    if (spent(g, i, value)) g->out[i] = true;
    g->key[i] = key_of(g, i, value);
    g->sure[i] = (int32_t)g->t + 1;
}

/* ---- refreshing -------------------------------------------------------------------------- */

/* Lowers the bounds of R <= TILE rows to t by products in f32. z[r] (ld32) are their rows; `ahead`
 * (R, or NULL) are fetched meanwhile. Products that a row has had are made with the others' and not
 * used. */
static int64_t advance32(rex_greedy *g, const int64_t *row, int64_t R, const float *const *z,
                         const float *const *ahead) {
    const double share = ((double)g->ld32 / 16.0 + 8.0) * 0x1.01p-24;
    float dot[TILE * PICKS];
    int64_t first = g->t;
    for (int64_t r = 0; r < R; r++)
        if (g->bt[row[r]] < first) first = g->bt[row[r]];
    for (int64_t v = first; v < g->t; v += PICKS) {
        const int64_t W = g->t - v < PICKS ? g->t - v : PICKS;
        g->f->op->dots32(dot, PICKS, z, v == first ? ahead : NULL, R, g->w32 + v * g->ld32, W,
                         g->ld32);
        for (int64_t r = 0; r < R; r++) {
            const int64_t i = row[r], skip = g->bt[i] > v ? g->bt[i] - v : 0;
            const double inv = rex_feat_inv(g->f, i), err = share * sqrt(g->f->norm2[i]);
            double less = 0.0;
            for (int64_t s = skip; s < W; s++) {
                const double u = larger(fabs((double)dot[r * PICKS + s]) - err * g->wn[v + s], 0.0);
                less += u * u;
            }
            g->top[i] -= less * inv * inv;
        }
    }
    for (int64_t r = 0; r < R; r++) g->bt[row[r]] = (int32_t)g->t;
    return R * (g->t - first);
}

/* May row i's bound be kept in f32? Near the end of its range it would say too little. */
static bool by_bound(const rex_greedy *g, int64_t i) {
    return g->narrow && g->top[i] >= DEEP * first_value(g, i);
}

static int64_t refresh_tile(rex_greedy *g, const int64_t *row, int64_t R, const int64_t *next,
                            int64_t n_next, int worker) {
    const rex_feat *const f = g->f;
    const float *z[TILE], *ahead[TILE];
    bool bounds = true;
    int64_t dots;
    for (int64_t r = 0; r < R && bounds; r++) bounds = by_bound(g, row[r]);
    if (!bounds) {
        double *const wide = g->scratch + (int64_t)worker * TILE * f->ld;
        for (int64_t r = 0; r < R; r++)
            rex_feat_z(f, row[r], r < n_next ? next[r] : -1, wide + r * f->ld);
        dots = advance(g, row, R, wide);
        for (int64_t r = 0; r < R; r++) settle_val(g, row[r]);
        return dots;
    }
    for (int64_t r = 0; r < R; r++) {
        float *const copy = g->scratch32 + ((int64_t)worker * TILE + r) * g->ld32;
        const void *const soon = r < n_next ? f->row[next[r]] : f->row[row[r]];
        if (!g->direct)
            f->op->narrow(copy, g->ld32, f->row[row[r]], f->type, f->dim, f->mean, soon);
        z[r] = g->direct ? (const float *)f->row[row[r]] : copy;
        ahead[r] = (const float *)soon;
    }
    dots = advance32(g, row, R, z, g->direct ? ahead : NULL);
    for (int64_t r = 0; r < R; r++) settle(g, row[r]);
    return dots;
}

/* One chunk of the rows in `set`, which are sorted by what they lack: tiles of rows that lag alike.
 */
static void refresh_chunk(void *ud, size_t item, int worker) {
    rex_greedy *const g = ud;
    const int64_t first = (int64_t)item * CHUNK;
    const int64_t end = first + CHUNK < g->n_set ? first + CHUNK : g->n_set;
    const int64_t *const set = g->set;
    int64_t dots = 0;
    for (int64_t r = first; r < end;) {
        const int64_t since = g->bt[set[r]], slack = (g->t - since) / 2 + 4;
        int64_t R = 1;
        while (R < TILE && r + R < end && g->bt[set[r + R]] - since <= slack) R++;
        dots += refresh_tile(g, set + r, R, set + r + R, g->n_set - r - R, worker);
        r += R;
    }
    g->chunk_dots[item] = dots;
}

/* Brings the bounds of the first n rows of `set` up to date. The set is sorted by lag, by counting.
 */
static void refresh(rex_greedy *g, int64_t n) {
    bool even = true;
    if (n == 0) return;
    for (int64_t r = 1; r < n && even; r++) even = g->bt[g->set[r]] == g->bt[g->set[0]];
    if (!even) {
        memset(g->lag, 0, (size_t)(g->t + 1) * sizeof *g->lag);
        for (int64_t r = 0; r < n; r++) g->lag[g->bt[g->set[r]] + 1]++;
        for (int64_t s = 1; s <= g->t; s++) g->lag[s] += g->lag[s - 1];
        for (int64_t r = 0; r < n; r++) g->spare[g->lag[g->bt[g->set[r]]]++] = g->set[r];
        int64_t *const swap = g->set;
        g->set = g->spare;
        g->spare = swap;
    }
    const int64_t chunks = (n + CHUNK - 1) / CHUNK;
    g->n_set = n;
    rex_pool_run(chunks > 4 ? g->workers : NULL, (size_t)chunks, refresh_chunk, g);
    g->rows_read += n;
    for (int64_t c = 0; c < chunks; c++) g->dots_made += g->chunk_dots[c];
}

/* The rows that lag and whose bound reaches thr into `set`; where those are a large share of a
 * block's, all that lag, so that memory is read in one stream and later picks find the block up to
 * date. */
static int64_t lagging(rex_greedy *g, double thr) {
    int64_t n = 0;
    for (int64_t b = 0; b < g->blocks; b++) {
        if (g->peak[b] < thr) continue;
        const int64_t first = b * g->tune.block;
        const int64_t end = first + g->tune.block < g->f->n ? first + g->tune.block : g->f->n;
        const int64_t had = n;
        int64_t lag = 0;
        for (int64_t i = first; i < end; i++) {
            if (g->bt[i] >= g->t) continue;
            lag++;
            if (g->key[i] >= thr && !g->out[i]) g->set[n++] = i;
        }
        if (n == had || (double)(n - had) <= g->tune.share * (double)lag) continue;
        n = had;
        for (int64_t i = first; i < end; i++)
            if (g->bt[i] < g->t && !g->out[i]) g->set[n++] = i;
    }
    return n;
}

/* All candidates whose key reaches thr into `set`; on the way the peaks are made exact. */
static int64_t contenders(rex_greedy *g, double thr) {
    int64_t n = 0;
    for (int64_t b = 0; b < g->blocks; b++) {
        if (g->peak[b] < thr) continue;
        const int64_t first = b * g->tune.block;
        const int64_t end = first + g->tune.block < g->f->n ? first + g->tune.block : g->f->n;
        double peak = -INFINITY;
        for (int64_t i = first; i < end; i++) {
            if (g->out[i]) continue;
            if (g->key[i] > peak) peak = g->key[i];
            if (g->key[i] >= thr) g->set[n++] = i;
        }
        g->peak[b] = peak;
    }
    return n;
}

/* The hot rows for the next pick: those with the largest keys, by a heap with the smallest on top.
 */
static void find_hot(rex_greedy *g) {
    int64_t *const h = g->hot, cap = g->hot_cap;
    g->n_hot = 0;
    for (int64_t b = 0; b < g->blocks; b++) {
        if (g->n_hot == cap && g->peak[b] <= g->key[h[0]]) continue;
        const int64_t first = b * g->tune.block;
        const int64_t end = first + g->tune.block < g->f->n ? first + g->tune.block : g->f->n;
        for (int64_t x = first; x < end; x++) {
            if (g->out[x] || (g->n_hot == cap && g->key[x] <= g->key[h[0]])) continue;
            int64_t i;
            if (g->n_hot < cap) { /* up from the end */
                for (i = g->n_hot++; i > 0 && g->key[h[(i - 1) / 2]] > g->key[x]; i = (i - 1) / 2)
                    h[i] = h[(i - 1) / 2];
            } else { /* down from the top */
                for (i = 0;;) {
                    int64_t c = 2 * i + 1;
                    if (c >= cap) break;
                    if (c + 1 < cap && g->key[h[c + 1]] < g->key[h[c]]) c++;
                    if (g->key[h[c]] >= g->key[x]) break;
                    h[i] = h[c];
                    i = c;
                }
            }
            h[i] = x;
        }
    }
}

static bool fresh(const rex_greedy *g, int64_t i) {
    return !g->out[i] && g->bt[i] == g->t;
}

static bool is_sure(const rex_greedy *g, int64_t i) {
    return g->sure[i] == (int32_t)g->t + 1;
}

/* The largest key of the n rows in `from`, whose bounds are up to date. On return every key that
 * reaches it is exact. */
static double best_of(rex_greedy *g, const int64_t *from, int64_t n) {
    double best = -INFINITY;
    int64_t top = -1;
    for (int64_t r = 0; r < n; r++) {
        const int64_t i = from[r];
        if (!fresh(g, i)) continue;
        if (is_sure(g, i))
            best = larger(best, g->key[i]);
        else if (top < 0 || g->key[i] > g->key[top])
            top = i;
    }
    for (int64_t r = -1; top >= 0 && r < n;
         r++) { /* the most promising first: it spares the others */
        const int64_t i = r < 0 ? top : from[r];
        if (!fresh(g, i) || is_sure(g, i) || g->key[i] < reach(g, best, SLACK)) continue;
        settle_exact(g, i);
        if (fresh(g, i)) best = larger(best, g->key[i]);
    }
    return best;
}

/* ---- picks ------------------------------------------------------------------------------- */

static rex_status grow(rex_greedy *g, rex_err *e) {
    if (g->t < g->room) return REX_OK;
    if (g->t >= INT32_MAX) return rex_fail(e, REX_ELIMIT, -1, "selection: too many picks");
    const int64_t room = g->room ? 2 * g->room : 64;
    const size_t row = (size_t)g->f->ld * sizeof(double);
    void *const old[] = {g->w, g->gamma, g->far2, g->dot, g->pick, g->w32, g->wn, g->lag};
    const size_t size[] = {row, 8, 8, 8, 8, (size_t)g->ld32 * sizeof(float), 8, 8};
    void *more[8];
    for (size_t p = 0; p < 8; p++) {
        more[p] = rex_mem_take((size_t)room + 2, size[p], e);
        if (!more[p]) {
            while (p > 0) rex_mem_free(more[--p]);
            return REX_ENOMEM;
        }
        if (old[p]) memcpy(more[p], old[p], (size_t)g->t * size[p]);
    }
    for (size_t p = 0; p < 8; p++) rex_mem_free(old[p]);
    g->w = more[0];
    g->gamma = more[1];
    g->far2 = more[2];
    g->dot = more[3];
    g->pick = more[4];
    g->w32 = more[5];
    g->wn = more[6];
    g->lag = more[7];
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

/* ELLIPSE: w = (lambda I + sum)^-1 f / sqrt(1 + value). Where the value has cancelled, by the
 * factors B and B'; else by the update vectors so far, all dot products at once. */
static void push_ellipse(rex_greedy *g, int64_t i, double *z, double *value) {
    const int64_t ld = g->f->ld;
    double *const w = g->w + g->t * ld, scale = rex_feat_inv(g->f, i) / g->lambda;
    if (is_deep(g, i) && make_residual_base(g)) {
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

/* The last update vector in f32. One that f32 cannot bound ends the use of bounds. */
static void push_narrow(rex_greedy *g) {
    const int64_t s = g->t - 1;
    const double *const w = g->w + s * g->f->ld;
    double n2 = 0.0;
    for (int64_t j = 0; j < g->f->dim; j++) g->w32[s * g->ld32 + j] = (float)w[j];
    g->f->op->dots(&n2, 1, w, 1, w, 1, g->f->ld);
    g->wn[s] = sqrt(n2);
    if (g->wn[s] != 0.0 && !(g->wn[s] > 1e-12 && g->wn[s] < 1e12)) g->narrow = false;
}

/* Row i joins: z (ld) is its centred row; *value is what it was worth, made exact. */
static void push(rex_greedy *g, int64_t i, double *z, double *value) {
    const int64_t ld = g->f->ld, before = g->t;
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
    if (g->kind != REX_GREEDY_FAR && g->t > before) push_narrow(g);
}

rex_status rex_greedy_take(rex_greedy *g, int64_t i, double *score, rex_err *e) {
    rex_assert(i >= 0 && i < g->f->n);
    REX_TRY(grow(g, e));
    if (g->kind == REX_GREEDY_DPP) (void)room_for_base(g);
    if (g->bad != REX_OK)
        return rex_fail(e, g->bad, -1, "out of memory for %lld picks", (long long)g->room);
    double *const z = g->scratch;
    rex_feat_z(g->f, i, -1, z);
    g->rows_read++;
    if (g->at[i] < g->t) g->dots_made += advance(g, &i, 1, z);
    double value = larger(g->val[i], 0.0);
    if (g->kind == REX_GREEDY_FAR) value = g->t == 0 ? g->f->norm2[i] : value;
    push(g, i, z, &value);
    if (g->bad != REX_OK)
        return rex_fail(e, g->bad, -1, "out of memory for %lld picks", (long long)g->room);
    g->out[i] = true;
    if (score) {
        if (g->kind == REX_GREEDY_FAR)
            *score = sqrt(value);
        else
            *score = g->kind == REX_GREEDY_DPP ? key_of(g, i, value) : value;
    }
    return REX_OK;
}

/* Of the n rows in `from` the lowest that ties with `best`. */
static int64_t lowest(const rex_greedy *g, const int64_t *from, int64_t n, double best) {
    const double thr = reach(g, best, REX_TIE);
    int64_t pick = -1;
    for (int64_t r = 0; r < n; r++) {
        const int64_t i = from[r];
        if (fresh(g, i) && is_sure(g, i) && g->key[i] >= thr && (pick < 0 || i < pick)) pick = i;
    }
    return pick;
}

rex_status rex_greedy_pick(rex_greedy *g, int64_t *i, double *score, rex_err *e) {
    int64_t n = 0;
    *i = -1;
    if (g->n_hot == 0) find_hot(g);
    for (int64_t r = 0; r < g->n_hot; r++)
        if (!g->out[g->hot[r]] && g->bt[g->hot[r]] < g->t) g->set[n++] = g->hot[r];
    refresh(g, n);
    double best = best_of(g, g->hot, g->n_hot);
    for (;;) {
        const double thr = reach(g, best, SLACK);
        refresh(g, lagging(g, thr));
        n = contenders(g, thr);
        const double found = best_of(g, g->set, n);
        *i = lowest(g, g->set, n, found);
        /* rows that turned out to have no gain left, and with them the value to beat: look lower */
        if (*i >= 0 || n == 0 || g->bad != REX_OK) break;
        best = -INFINITY;
    }
    if (g->bad != REX_OK)
        return rex_fail(e, g->bad, -1, "out of memory for %lld picks", (long long)g->room);
    bool was_hot = false; /* the set serves until it misses the best */
    for (int64_t r = 0; r < g->n_hot; r++) was_hot = was_hot || g->hot[r] == *i;
    if (!was_hot || ++g->served == 8) {
        find_hot(g);
        g->served = 0;
    }
    return *i < 0 ? REX_OK : rex_greedy_take(g, *i, score, e);
}

void rex_greedy_bar(rex_greedy *g, int64_t i) {
    g->out[i] = true;
}

void rex_greedy_work(const rex_greedy *g, int64_t *rows, int64_t *dots) {
    *rows = g->rows_read;
    *dots = g->dots_made;
}

/* ---- life -------------------------------------------------------------------------------- */

static rex_status open_arrays(rex_greedy *g, rex_err *e) {
    const rex_feat *const f = g->f;
    const size_t n = (size_t)f->n, ld = (size_t)f->ld;
    const size_t threads = g->workers ? (size_t)rex_pool_size(g->workers) : 1;
    g->val = rex_mem_take(n, sizeof(double), e);
    g->key = g->val ? rex_mem_take(n, sizeof(double), e) : NULL;
    g->at = g->key ? rex_mem_take(n, sizeof(int32_t), e) : NULL;
    g->out = g->at ? rex_mem_take(n, sizeof(bool), e) : NULL;
    g->peak = g->out ? rex_mem_take((size_t)g->blocks, sizeof(double), e) : NULL;
    g->hot = g->peak ? rex_mem_take((size_t)g->hot_cap, sizeof(int64_t), e) : NULL;
    g->set = g->hot ? rex_mem_take(n, sizeof(int64_t), e) : NULL;
    g->spare = g->set ? rex_mem_take(n, sizeof(int64_t), e) : NULL;
    g->top = g->spare ? rex_mem_take(n, sizeof(double), e) : NULL;
    g->bt = g->top ? rex_mem_take(n, sizeof(int32_t), e) : NULL;
    g->sure = g->bt ? rex_mem_take(n, sizeof(int32_t), e) : NULL;
    g->chunk_dots = g->sure ? rex_mem_take(n / CHUNK + 1, sizeof(int64_t), e) : NULL;
    g->scratch = g->chunk_dots ? rex_mem_take(threads * TILE * ld, sizeof(double), e) : NULL;
    const size_t ld32 = (size_t)g->ld32;
    g->scratch32 = g->scratch ? rex_mem_take(threads * TILE * ld32, sizeof(float), e) : NULL;
    return g->scratch32 ? REX_OK : REX_ENOMEM;
}

/* Bounds in f32 need norms whose squares and rounding stay well within its range. */
static bool can_narrow(const rex_greedy *g) {
    if (g->kind == REX_GREEDY_FAR) return false;
    for (int64_t i = 0; i < g->f->n; i++) {
        const double n2 = g->f->norm2[i];
        if (n2 != 0.0 && !(n2 > 1e-24 && n2 < 1e24)) return false;
    }
    return true;
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
    g->tune = tune ? *tune : (rex_greedy_tune){256, 16, 0.5};
    g->lambda = kind == REX_GREEDY_ELLIPSE ? f->lambda : 1.0;
    g->root = 1.0 / sqrt(g->lambda);
    g->ld32 = REX_ROW_PAD32(f->dim);
    g->direct = f->type == REX_ELEM_F32 && !f->mean && f->dim == g->ld32;
    for (int64_t i = 0; i < f->n && g->direct; i++)
        g->direct = (uintptr_t)f->row[i] % sizeof(float) == 0;
    g->narrow = can_narrow(g);
    g->blocks = (f->n + g->tune.block - 1) / g->tune.block;
    g->hot_cap = g->tune.hot < f->n ? g->tune.hot : f->n;
    if (open_arrays(g, e) != REX_OK) {
        rex_greedy_close(g);
        return REX_ENOMEM;
    }
    for (int64_t i = 0; i < f->n; i++) {
        const double v = first_value(g, i);
        g->val[i] = kind == REX_GREEDY_FAR ? INFINITY : v;
        g->out[i] = kind == REX_GREEDY_DPP && !(v > 0.0);
        g->top[i] = g->val[i];
        g->key[i] = key_of(g, i, g->val[i]);
        g->sure[i] = 1;
    }
    for (int64_t b = 0; b < g->blocks; b++) g->peak[b] = INFINITY;
    *out = g;
    return REX_OK;
}

void rex_greedy_close(rex_greedy *g) {
    if (!g) return;
    void *const part[] = {g->val,       g->key,  g->at,  g->out,        g->w,      g->g,
                          g->gamma,     g->far2, g->dot, g->pick,       g->hot,    g->set,
                          g->spare,     g->sure, g->top, g->bt,         g->w32,    g->wn,
                          g->scratch32, g->peak, g->lag, g->chunk_dots, g->scratch};
    for (size_t i = 0; i < sizeof part / sizeof *part; i++) rex_mem_free(part[i]);
    rex_mem_free(g);
}
