/* SPDX-License-Identifier: MIT
 *
 * cpu_vec_attn.c: attention forward and backward, compiled once per instruction set.
 *
 * A block is a few query tokens times the heads of one group; its score rows lie in scratch at the
 * absolute positions of the keys, so that neither the cut of a sequence into stretches nor the
 * block of queries is visible in a result. Scores run strips of rows over blocks of 32 keys (lanes
 * over keys), values run strips over positions (lanes over channels). Rows of a strip see different
 * positions: what all of them see is done together, what only some see, row by row before and
 * after, so that every row sums exactly its own positions in ascending order (a masked product
 * would turn -0 into 0 and spread a NaN).
 */
#include "vec.h"

#define STRIP_N (2 * VW)
/* Positions whose values are read by all strips of a block before the next ones are. */
#define V_STEP 64
#define CALL_LINES 12
/* Rows of one head lie pages apart: they are called up as many ahead. */
#define HEAD_ROWS_AHEAD 24

static const float lane_index[LANES] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };

static int64_t most(int64_t a, int64_t b) {
    return a > b ? a : b;
}

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* y[i][0 .. width-1] += chain over k in lo[i] .. hi[i]-1 of x[i][k] b[k][...], for i < n <=
 * STRIP_M; k is counted from `from` in b. */
static void ragged(int n, const int64_t *lo, const int64_t *hi, const float *const *x,
                   const float *b, int64_t from, int64_t ldb, int64_t width, float *const *y) {
    int64_t first = lo[0], c0 = lo[0];
    int64_t last = hi[0], c1 = hi[0];
    for (int i = 1; i < n; i++) {
        first = least(first, lo[i]);
        c0 = most(c0, lo[i]);
        c1 = least(c1, hi[i]);
        last = most(last, hi[i]);
    }
    for (int64_t c = 0; c < width; c += STRIP_N) {
        const int64_t cols = least(width - c, STRIP_N);
        const float *xs[STRIP_M];
        float *ys[STRIP_M];
        float limit[STRIP_M];
        if (c0 >= c1) {
            for (int i = 0; i < n; i++) {
                xs[0] = x[i] + lo[i];
                ys[0] = y[i] + c;
                if (lo[i] < hi[i])
                    VEC(strip)
                    (1, cols, hi[i] - lo[i], xs, b + (lo[i] - from) * ldb + c, ldb, ys, true);
            }
            continue;
        }
        for (int i = 0; i < n; i++) {
            xs[i] = x[i] + first;
            ys[i] = y[i] + c;
            limit[i] = (float)(c0 - lo[i]);
        }
        const float *at = b + (first - from) * ldb + c;
        if (first < c0)
            VEC(strip_some)
            (n, cols, c0 - first, xs, at, ldb, ys, limit, (float)(c0 - first - 1), -1.0f);
        for (int i = 0; i < n; i++) xs[i] = x[i] + c0;
        VEC(strip)(n, cols, c1 - c0, xs, at + (c0 - first) * ldb, ldb, ys, true);
        if (c1 == last) continue;
        for (int i = 0; i < n; i++) {
            xs[i] = x[i] + c1;
            limit[i] = (float)(hi[i] - c1);
        }
        VEC(strip_some)
        (n, cols, last - c1, xs, at + (c1 - first) * ldb, ldb, ys, limit, 0.0f, 1.0f);
    }
}

/* n rows of scores against one block of 32 keys [hd][32]; y at the block's first position. */
static void score_block(int n, int64_t hd, const float *const *q, const float *keys,
                        float *const *y) {
    float *ys[STRIP_M];
    for (int c = 0; c < REX_PANEL; c += STRIP_N) {
        for (int i = 0; i < n; i++) ys[i] = y[i] + c;
        VEC(strip)(n, STRIP_N, hd, q, keys + c, REX_PANEL, ys, false);
    }
}

/* x where lo <= at + lane < hi, else y. */
HOT vf inside(int64_t at, int l, int64_t lo, int64_t hi, vf x, vf y) {
    const vf i = v_load(lane_index + l * VW);
    const float first = (float)(lo - at > 0 ? lo - at : 0);
    const float past = (float)(hi - at < LANES ? hi - at : LANES);
    return v_pick_gt(v_set(first), i, y, v_pick_gt(v_set(past), i, x, y));
}

/* s[p] = exp(s[p] * scale - max) for lo <= p < hi; returns the sum. Sixteen lanes by position. */
static float exp_row(float *s, int64_t lo, int64_t hi, float scale) {
    const vf none = v_set(-INFINITY);
    vf m[NL];
    float lane[LANES];
    for (int l = 0; l < NL; l++) m[l] = none;
    for (int64_t p = lo / LANES * LANES; p < hi; p += LANES)
#pragma GCC unroll 4
        for (int l = 0; l < NL; l++) {
            vf v = v_mul(v_load(s + p + l * VW), v_set(scale));
            if (p < lo || p + LANES > hi) v = inside(p, l, lo, hi, v, none);
            m[l] = v_max(v, m[l]);
        }
    for (int l = 0; l < NL; l++) v_store(lane + l * VW, m[l]);
    const vf max = v_set(tree_max(lane));
    for (int l = 0; l < NL; l++) m[l] = v_zero();
    for (int64_t p = lo / LANES * LANES; p < hi; p += LANES)
#pragma GCC unroll 4
        for (int l = 0; l < NL; l++) {
            vf e = v_exp(v_sub(v_mul(v_load(s + p + l * VW), v_set(scale)), max));
            if (p < lo || p + LANES > hi) e = inside(p, l, lo, hi, e, v_zero());
            v_store(s + p + l * VW, e);
            m[l] = v_add(m[l], e);
        }
    for (int l = 0; l < NL; l++) v_store(lane + l * VW, m[l]);
    return tree_f32(lane);
}

/* ---- forward ----------------------------------------------------------------------------- */

/* A row of a block: one query head of one token, which sees positions lo .. hi-1. */
typedef struct {
    const float *q;
    float *out, *score; /* score[position] */
    int64_t lo, hi;
} head_row;

typedef struct {
    const rex_attn *j;
    const rex_attn_row *tok;
    int64_t n_tok, group, h;
    head_row *row; /* n_tok * group, heads of a token side by side */
    float *wide;
} block;

static bool same_seg(const rex_kv_seg *a, const rex_kv_seg *b) {
    return a->k == b->k && a->v == b->v && a->pos0 == b->pos0 && a->n == b->n &&
           a->k_head == b->k_head && a->v_head == b->v_head;
}

/* `count` stored elements as f32: in place, or widened. */
static const float *stored(const block *b, const void *base, int64_t at, int64_t count) {
    if (b->j->cache == REX_K_F32) return (const float *)base + at;
    const uint16_t *src = (const uint16_t *)base + at;
    for (int64_t i = 0; i < count; i += VW) {
        if (i + VW <= count)
            v_store(b->wide + i, v_load_bf16(src + i));
        else
            for (int64_t k = i; k < count; k++) b->wide[k] = bf16_wide(src[k]);
    }
    return b->wide;
}

static bool sees(const head_row *w, int64_t p0, int64_t p1) { return w->lo < p1 && w->hi > p0; }

/* Scores of tokens t .. u-1, which share the stretch c. What lies in a key block beyond a row's own
 * positions is computed with the rest and never looked at. */
static void score_run(const block *b, int64_t t, int64_t u, const rex_kv_seg *c) {
    const int64_t hd = b->j->hd;
    int64_t lo = b->tok[t].lo;
    int64_t hi = b->tok[t].hi;
    for (int64_t i = t; i < u; i++) {
        lo = least(lo, b->tok[i].lo);
        hi = most(hi, b->tok[i].hi);
    }
    const int64_t end = least(c->n, hi - c->pos0);
    for (int64_t i = most(lo - c->pos0, 0) / REX_PANEL * REX_PANEL; i < end; i += REX_PANEL) {
        const float *keys = stored(b, c->k, b->h * c->k_head + i * hd, hd * REX_PANEL);
        const int64_t at = c->pos0 + i;
        for (int64_t r = t * b->group; r < u * b->group; r += STRIP_M) {
            const head_row *w = b->row + r;
            const int n = (int)least(STRIP_M, u * b->group - r);
            const float *q[STRIP_M];
            float *y[STRIP_M];
            bool any = false;
            for (int k = 0; k < n; k++) {
                any = any || sees(&w[k], at, at + REX_PANEL);
                q[k] = w[k].q;
                y[k] = w[k].score + at;
            }
            if (any) score_block(n, hd, q, keys, y);
        }
    }
}

/* Adds what tokens t .. u-1 see of the values of stretch c. */
static void value_run(const block *b, int64_t t, int64_t u, const rex_kv_seg *c) {
    const int64_t hd = b->j->hd;
    const int64_t step = b->j->cache == REX_K_F32 ? V_STEP : REX_PANEL;
    int64_t first = b->tok[t].lo;
    int64_t last = b->tok[t].hi;
    for (int64_t i = t; i < u; i++) {
        first = least(first, b->tok[i].lo);
        last = most(last, b->tok[i].hi);
    }
    const int64_t end = least(c->n, last - c->pos0);
    for (int64_t i = most(first - c->pos0, 0); i < end; i += step) {
        const int64_t len = least(step, end - i);
        const float *v = stored(b, c->v, b->h * c->v_head + i * hd, len * hd);
        const int64_t at = c->pos0 + i;
        for (int64_t r = t * b->group; r < u * b->group; r += STRIP_M) {
            const head_row *w = b->row + r;
            const int n = (int)least(STRIP_M, u * b->group - r);
            int64_t lo[STRIP_M], hi[STRIP_M];
            const float *x[STRIP_M];
            float *y[STRIP_M];
            bool any = false;
            for (int k = 0; k < n; k++) {
                lo[k] = most(w[k].lo, at);
                hi[k] = most(least(w[k].hi, at + len), lo[k]);
                any = any || lo[k] < hi[k];
                x[k] = w[k].score;
                y[k] = w[k].out;
            }
            if (any) ragged(n, lo, hi, x, v, at, hd, hd, y);
        }
    }
}

/* The first lines of what the next run reads: a stream that begins somewhere else begins slowly. */
static void call_run(const block *b, const rex_kv_seg *c, bool values) {
    const int64_t at = b->h * (values ? c->v_head : c->k_head);
    const char *p = (const char *)(values ? c->v : c->k) + rex_store_row_bytes(b->j->cache, at);
    for (int i = 0; i < CALL_LINES; i++) __builtin_prefetch(p + 64 * i, 0, 2);
}

/* Neighbouring tokens with the same stretch in slot s are one run. */
static void each_run(const block *b, bool values) {
    int32_t slots = 0;
    for (int64_t t = 0; t < b->n_tok; t++)
        if (b->tok[t].n_seg > slots) slots = b->tok[t].n_seg;
    for (int32_t s = 0; s < slots; s++)
        for (int64_t t = 0, u; t < b->n_tok; t = u) {
            u = t + 1;
            if (s >= b->tok[t].n_seg) continue;
            const rex_kv_seg *c = &b->tok[t].seg[s];
            while (u < b->n_tok && s < b->tok[u].n_seg && same_seg(c, &b->tok[u].seg[s])) u++;
            if (u < b->n_tok && s < b->tok[u].n_seg) call_run(b, &b->tok[u].seg[s], values);
            if (values)
                value_run(b, t, u, c);
            else
                score_run(b, t, u, c);
        }
}

void VEC(attn)(const rex_attn *j, int64_t h, int64_t r0, int64_t r1, void *scratch) {
    const int64_t group = j->H / j->KV;
    const int64_t step = attn_tokens(group);
    const size_t bytes = (size_t)j->hd * sizeof(float);
    for (int64_t r = r0; r < r1; r += step) {
        block b = {.j = j, .tok = j->row + r, .n_tok = least(step, r1 - r), .group = group, .h = h};
        const int64_t rows = b.n_tok * group;
        int64_t hi = 0;
        for (int64_t t = 0; t < b.n_tok; t++) hi = most(hi, b.tok[t].hi);
        void *at = scratch;
        const int64_t ld = attn_score_ld(hi);
        float *score = bump(&at, (size_t)(rows * ld) * sizeof *score);
        b.wide = bump(&at, (size_t)(REX_PANEL * j->hd) * sizeof(float));
        b.row = bump(&at, (size_t)rows * sizeof *b.row);
        for (int64_t t = 0; t < b.n_tok; t++)
            for (int64_t g = 0; g < group; g++, score += ld)
                b.row[t * group + g] = (head_row){ b.tok[t].q + (h * group + g) * j->hd,
                                                   b.tok[t].out + (h * group + g) * j->hd, score,
                                                   b.tok[t].lo, b.tok[t].hi };
        each_run(&b, false);
        float *inv = bump(&at, (size_t)rows * sizeof *inv);
        for (int64_t i = 0; i < rows; i++) {
            inv[i] = 1.0f / exp_row(b.row[i].score, b.row[i].lo, b.row[i].hi, j->scale);
            memset(b.row[i].out, 0, bytes);
        }
        each_run(&b, true);
        for (int64_t i = 0; i < rows; i++) VEC(scale)(b.row[i].out, inv[i], j->hd);
    }
}

/* VW tokens of one head whose keys begin a vector of their block. */
static void put_keys(float *dst, const float *k, int64_t k_row, int64_t hd) {
    int64_t d = 0;
    for (; d + VW <= hd; d += VW) {
        vf w[VW];
        for (int c = 0; c < VW; c++) w[c] = v_load(k + c * k_row + d);
        v_transpose(w);
        for (int c = 0; c < VW; c++) v_store(dst + (d + c) * REX_PANEL, w[c]);
    }
    for (; d < hd; d++)
        for (int c = 0; c < VW; c++) dst[d * REX_PANEL + c] = k[c * k_row + d];
}

void VEC(kv_put)(const rex_kv_seg *s, rex_store cache, int64_t KV, int64_t hd, int64_t i, int64_t n,
                 const float *k, int64_t k_row, const float *v, int64_t v_row) {
    for (int64_t h = 0; h < KV; h++) {
        for (int64_t t = 0; t < n; t++)
            VEC(cast_to)((char *)(uintptr_t)s->v +
                             rex_store_row_bytes(cache, h * s->v_head + (i + t) * hd),
                         cache, v + t * v_row + h * hd, hd);
        for (int64_t t = 0; t < n;) {
            const int64_t p = i + t;
            const int64_t at = h * s->k_head + p / REX_PANEL * hd * REX_PANEL + p % REX_PANEL;
            const float *kr = k + t * k_row + h * hd;
            if (cache == REX_K_F32 && p % VW == 0 && t + VW <= n) {
                put_keys((float *)(uintptr_t)s->k + at, kr, k_row, hd);
                t += VW;
                continue;
            }
            for (int64_t d = 0; d < hd; d++) {
                if (cache == REX_K_F32)
                    ((float *)(uintptr_t)s->k)[at + d * REX_PANEL] = kr[d];
                else
                    ((uint16_t *)(uintptr_t)s->k)[at + d * REX_PANEL] = bf16_near(kr[d]);
            }
            t++;
        }
    }
}

/* ---- backward ---------------------------------------------------------------------------- */

typedef struct {
    const rex_attn_grad *j;
    int64_t h, group, ld, rows;
    int64_t t0, n_tok; /* the block of tokens */
    float *K, *Kp, *Vp; /* (T, hd); blocks of 32 keys, of 32 values */
    float *P, *D, *Pt, *Dt; /* (rows, ld) and their transposes (positions, ATTN_ROWS or rows) */
    float *Q, *Y;      /* queries and output gradients of the block (rows, hd) */
    float *dK, *dV;    /* (T, hd) */
} grad;

/* n rows of one head between a wide matrix and a narrow one. */
static void copy_rows(float *to, int64_t ldt, const float *from, int64_t ldf, int64_t n,
                      int64_t hd) {
    const char *far = (const char *)(ldt > ldf ? to : from);
    const int64_t apart = (ldt > ldf ? ldt : ldf) * (int64_t)sizeof(float);
    far += HEAD_ROWS_AHEAD * apart;
    for (int64_t i = 0; i < n; i++, to += ldt, from += ldf, far += apart) {
        for (int64_t c = 0; c < hd * 4; c += 64) __builtin_prefetch(far + c, 0, 3);
        int64_t d = 0;
        for (; d + VW <= hd; d += VW) v_store(to + d, v_load(from + d));
        if (d < hd) v_storen(to + d, v_loadn(from + d, hd - d), hd - d);
    }
}

static int64_t first_seen(const rex_attn_grad *j, int64_t t) {
    return j->window > 0 && t - j->window + 1 > 0 ? t - j->window + 1 : 0;
}

/* Scores and their gradient for strips of rows over all key blocks that they see. */
static void grad_strips(const grad *g, const float *rows, const float *panels, float *out) {
    const int64_t hd = g->j->hd;
    for (int64_t r = 0; r < g->rows; r += STRIP_M) {
        const int n = (int)least(STRIP_M, g->rows - r);
        const int64_t ta = g->t0 + r / g->group;
        const int64_t tb = g->t0 + (r + n - 1) / g->group;
        const float *x[STRIP_M];
        for (int i = 0; i < n; i++) x[i] = rows + (r + i) * hd;
        for (int64_t p = first_seen(g->j, ta) / REX_PANEL * REX_PANEL; p <= tb; p += REX_PANEL) {
            float *y[STRIP_M];
            for (int i = 0; i < n; i++) y[i] = out + (r + i) * g->ld + p;
            score_block(n, hd, x, panels + p * hd, y);
        }
    }
}

/* P normalised, D the gradient of the unscaled scores, on lo .. t of every row. */
static void grad_softmax(const grad *g) {
    for (int64_t r = 0; r < g->rows; r++) {
        const int64_t t = g->t0 + r / g->group;
        const int64_t lo = first_seen(g->j, t);
        const int64_t hi = t + 1;
        float *P = g->P + r * g->ld;
        float *D = g->D + r * g->ld;
        const vf inv = v_set(1.0f / exp_row(P, lo, hi, g->j->scale));
        vf s[NL];
        float lane[LANES];
        for (int l = 0; l < NL; l++) s[l] = v_zero();
        for (int64_t p = lo / LANES * LANES; p < hi; p += LANES)
            for (int l = 0; l < NL; l++) {
                const vf w = v_mul(v_load(P + p + l * VW), inv);
                v_store(P + p + l * VW, w);
                vf d = v_fma(w, v_load(D + p + l * VW), s[l]);
                if (p < lo || p + LANES > hi) d = inside(p, l, lo, hi, d, s[l]);
                s[l] = d;
            }
        for (int l = 0; l < NL; l++) v_store(lane + l * VW, s[l]);
        const vf delta = v_set(tree_f32(lane));
        for (int64_t p = lo / LANES * LANES; p < hi; p += VW) {
            const vf d = v_sub(v_load(D + p), delta);
            v_store(D + p, v_mul(v_mul(d, v_load(P + p)), v_set(g->j->scale)));
        }
    }
}

static void grad_queries(const grad *g) {
    const int64_t hd = g->j->hd;
    for (int64_t r = 0; r < g->rows; r += STRIP_M) {
        const int n = (int)least(STRIP_M, g->rows - r);
        int64_t lo[STRIP_M], hi[STRIP_M];
        const float *x[STRIP_M];
        float *y[STRIP_M];
        for (int i = 0; i < n; i++) {
            const int64_t t = g->t0 + (r + i) / g->group;
            const int64_t head = g->h * g->group + (r + i) % g->group;
            lo[i] = first_seen(g->j, t);
            hi[i] = t + 1;
            x[i] = g->D + (r + i) * g->ld;
            y[i] = g->j->dq + t * g->j->dq_row + head * hd;
            memset(y[i], 0, (size_t)hd * sizeof(float));
        }
        ragged(n, lo, hi, x, g->K, 0, hd, hd, y);
    }
}

/* Score rows to columns: to[p - p0][row], for positions p0 (a multiple of VW) .. p1-1. */
static void flip(const grad *g, const float *from, float *to, int64_t p0, int64_t p1) {
    const int64_t wide = (g->rows + VW - 1) / VW * VW;
    for (int64_t p = p0; p < p1; p += VW)
        for (int64_t r = 0; r < wide; r += VW) {
            vf w[VW];
            for (int i = 0; i < VW; i++)
                w[i] = r + i < g->rows ? v_load(from + (r + i) * g->ld + p) : v_zero();
            v_transpose(w);
            for (int i = 0; i < VW; i++) v_store(to + (p - p0 + i) * wide + r, w[i]);
        }
}

/* Strips of positions sum over the rows of the block that see them, in ascending order. */
static void grad_keys(const grad *g, const float *cols, int64_t p0, int64_t p1, const float *rows,
                      float *out) {
    const int64_t hd = g->j->hd;
    const int64_t wide = (g->rows + VW - 1) / VW * VW;
    for (int64_t p = p0; p < p1; p += STRIP_M) {
        const int n = (int)least(STRIP_M, p1 - p);
        int64_t lo[STRIP_M], hi[STRIP_M];
        const float *x[STRIP_M];
        float *y[STRIP_M];
        for (int i = 0; i < n; i++) {
            const int64_t at = p + i;
            const int64_t past = g->j->window > 0 ? at + g->j->window - g->t0 : g->n_tok;
            lo[i] = most(at - g->t0, 0) * g->group;
            hi[i] = most(least(past, g->n_tok), 0) * g->group;
            if (hi[i] < lo[i]) hi[i] = lo[i];
            x[i] = cols + (at - p0) * wide;
            y[i] = out + at * hd;
        }
        ragged(n, lo, hi, x, rows, 0, hd, hd, y);
    }
}

/* K and V of the head as the cache would hold them, and zeros for what will be summed. */
static void grad_prepare(const grad *g, float *V) {
    const rex_attn_grad *j = g->j;
    const int64_t hd = j->hd;
    copy_rows(g->K, hd, j->k + g->h * hd, j->k_row, j->T, hd);
    copy_rows(V, hd, j->v + g->h * hd, j->v_row, j->T, hd);
    if (j->cache == REX_K_BF16) {
        VEC(round_bf16)(g->K, j->T * hd);
        VEC(round_bf16)(V, j->T * hd);
    }
    for (int64_t t = 0; t < j->T;) {
        const int64_t at = t / REX_PANEL * hd * REX_PANEL + t % REX_PANEL;
        const int64_t n = t + VW <= j->T ? VW : 1;
        for (int64_t d = 0; n == 1 && d < hd; d++) {
            g->Kp[at + d * REX_PANEL] = g->K[t * hd + d];
            g->Vp[at + d * REX_PANEL] = V[t * hd + d];
        }
        if (n == VW) {
            put_keys(g->Kp + at, g->K + t * hd, hd, hd);
            put_keys(g->Vp + at, V + t * hd, hd, hd);
        }
        t += n;
    }
    memset(g->dK, 0, (size_t)(j->T * hd) * sizeof(float));
    memset(g->dV, 0, (size_t)(j->T * hd) * sizeof(float)); /* where V was */
}

static void grad_block(const grad *g) {
    const rex_attn_grad *j = g->j;
    const int64_t hd = j->hd;
    for (int64_t i = 0; i < g->group; i++) {
        const int64_t at = (g->h * g->group + i) * hd;
        copy_rows(g->Q + i * hd, g->group * hd, j->q + g->t0 * j->q_row + at, j->q_row, g->n_tok,
                  hd);
        copy_rows(g->Y + i * hd, g->group * hd, j->dout + g->t0 * j->dout_row + at, j->dout_row,
                  g->n_tok, hd);
    }
    grad_strips(g, g->Q, g->Kp, g->P);
    grad_strips(g, g->Y, g->Vp, g->D);
    grad_softmax(g);
    grad_queries(g);
    const int64_t p0 = first_seen(j, g->t0) / VW * VW;
    const int64_t p1 = g->t0 + g->n_tok;
    flip(g, g->P, g->Pt, p0, p1);
    flip(g, g->D, g->Dt, p0, p1);
    grad_keys(g, g->Dt, p0, p1, g->Q, g->dK);
    grad_keys(g, g->Pt, p0, p1, g->Y, g->dV);
}

void VEC(attn_bwd)(const rex_attn_grad *j, int64_t h, void *scratch) {
    const int64_t group = j->H / j->KV;
    const int64_t step = attn_tokens(group);
    const int64_t whole = (j->T + REX_PANEL - 1) / REX_PANEL * REX_PANEL;
    const size_t matrix = (size_t)(whole * j->hd) * sizeof(float);
    grad g = { .j = j, .h = h, .group = group, .ld = attn_score_ld(j->T) };
    const size_t score = (size_t)(step * group * g.ld) * sizeof(float);
    const size_t flipped = (size_t)((step * group + VW) * g.ld) * sizeof(float);
    g.K = bump(&scratch, matrix);
    float *V = bump(&scratch, matrix);
    g.dV = V;
    g.dK = bump(&scratch, matrix);
    g.Kp = bump(&scratch, matrix);
    g.Vp = bump(&scratch, matrix);
    g.P = bump(&scratch, score);
    g.D = bump(&scratch, score);
    g.Pt = bump(&scratch, flipped);
    g.Dt = bump(&scratch, flipped);
    g.Q = bump(&scratch, (size_t)(step * group * j->hd) * sizeof(float));
    g.Y = bump(&scratch, (size_t)(step * group * j->hd) * sizeof(float));
    grad_prepare(&g, V);
    for (int64_t t = 0; t < j->T; t += step) {
        g.t0 = t;
        g.n_tok = least(step, j->T - t);
        g.rows = g.n_tok * group;
        grad_block(&g);
    }
    copy_rows(j->dk + h * j->hd, j->dk_row, g.dK, j->hd, j->T, j->hd);
    copy_rows(j->dv + h * j->hd, j->dv_row, g.dV, j->hd, j->T, j->hd);
}
