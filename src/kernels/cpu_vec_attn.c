/* SPDX-License-Identifier: MIT
 *
 * cpu_vec_attn.c: attention forward and backward, compiled once per instruction set.
 *
 * A block is a few query tokens times the heads of one group; its score rows lie in scratch at the
 * absolute positions of the keys, so that neither the cut of a sequence into stretches nor the
 * block of queries is visible in a result. Scores run strips of rows over blocks of 32 keys (lanes
 * over keys), values run strips over positions (lanes over channels). Rows of a strip see different
 * positions: before and after what all of them see, a mask keeps the sums of the others as they
 * are, so that every row sums exactly its own positions in ascending order (adding a product with
 * zero would turn -0 into 0 and spread a NaN). What has to be added up over the lanes of a row is
 * done for as many rows at once as a vector has lanes.
 */
#include "vec.h"

#define STRIP_N (2 * VW)
/* Floats of keys or of values that all strips of a block read before the next ones are. */
#define NEAR 4096
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

typedef struct {
    int64_t lo, hi; /* positions lo .. hi-1; none where hi <= lo */
} span;

/* y[i][0 .. width-1] (+)= chain over the k of seen[i] of x[i][k] b[k - from][...], for i < n; from
 * 0 unless `more`. A row that sees nothing is left as it is. */
static void ragged(int n, const span *seen, const float *const *x, const float *b, int64_t from,
                   int64_t ldb, int64_t width, float *const *y, bool more) {
    span any = seen[0];
    span all = seen[0];
    for (int i = 1; i < n; i++) {
        any.lo = least(any.lo, seen[i].lo);
        any.hi = most(any.hi, seen[i].hi);
        all.lo = most(all.lo, seen[i].lo);
        all.hi = least(all.hi, seen[i].hi);
    }
    if (all.lo >= all.hi && n > 1) {
        for (int i = 0; i < n; i++)
            ragged(1, seen + i, x + i, b, from, ldb, width, y + i, more);
        return;
    }
    if (any.lo >= any.hi) return;
    strip s;
    s.rows = n;
    s.more = more;
    s.before = all.lo - any.lo;
    s.all = all.hi - all.lo;
    s.after = any.hi - all.hi;
    s.b = b + (any.lo - from) * ldb;
    s.ldb = ldb;
    s.count = 1;
    for (int i = 0; i < n; i++) {
        s.x[i] = x[i] + any.lo;
        s.y[i] = y[i];
        s.early[i] = (float)(all.lo - seen[i].lo);
        s.late[i] = (float)(seen[i].hi - all.hi);
    }
    for (int64_t c = 0; c < width; c += STRIP_N, s.b += STRIP_N) {
        s.cols = least(width - c, STRIP_N);
        VEC(strip_run)(&s);
        for (int i = 0; i < n; i++) s.y[i] += STRIP_N;
    }
}

/* n rows of scores against `blocks` blocks of 32 keys [hd][32]; y at the first one's position. */
static void score_blocks(int n, int64_t hd, const float *const *x, const float *keys,
                         int64_t blocks, float *const *y) {
    strip s;
    s.rows = n;
    s.more = false;
    s.cols = STRIP_N;
    s.before = s.after = s.dx = 0;
    s.all = hd;
    s.b = keys;
    s.ldb = REX_PANEL;
    s.count = blocks;
    s.db = hd * REX_PANEL;
    s.dy = REX_PANEL;
    for (int i = 0; i < n; i++) {
        s.x[i] = x[i];
        s.y[i] = y[i];
    }
    for (int c = 0; c < REX_PANEL; c += STRIP_N, s.b += STRIP_N) {
        VEC(strip_run)(&s);
        for (int i = 0; i < n; i++) s.y[i] += STRIP_N;
    }
}

/* x at the positions of `seen` among those of vector l from `at`, else y. */
HOT vf inside(int64_t at, int l, span seen, vf x, vf y) {
    const vf i = v_load(lane_index + l * VW);
    const vf first = v_set((float)most(seen.lo - at, 0));
    const vf past = v_set((float)least(seen.hi - at, LANES));
    return v_pick_gt(first, i, y, v_pick_gt(past, i, x, y));
}

/* The trees over the sixteen lanes of n <= VW rows at once: row i's in lane i. */
HOT vf trees(int n, vf (*w)[NL], vf (*join)(vf, vf)) {
    vf c[VW];
    for (int i = 0; i < VW; i++) {
        vf *const v = w[i < n ? i : 0];
        if (i < n)
            for (int half = NL / 2; half > 0; half /= 2)
                for (int l = 0; l < half; l++) v[l] = join(v[l], v[l + half]);
        c[i] = v[0];
    }
    v_transpose(c);
    for (int half = VW / 2; half >= 4; half /= 2)
        for (int i = 0; i < half; i++) c[i] = join(c[i], c[i + half]);
    return join(join(c[0], c[2]), join(c[1], c[3]));
}

/* step(..., edge, m) for every sixteen positions p that `seen` reaches into; `edge` is NULL where
 * it fills them. */
#define EACH_LANES(seen, step, ...)                                                              \
    do {                                                                                         \
        const int64_t full = (seen).hi / LANES * LANES;                                          \
        int64_t p = (seen).lo / LANES * LANES;                                                   \
        if (p < (seen).lo) {                                                                     \
            step(__VA_ARGS__, &(seen), m);                                                       \
            p += LANES;                                                                          \
        }                                                                                        \
        for (; p < full; p += LANES) step(__VA_ARGS__, NULL, m);                                 \
        if (p < (seen).hi) step(__VA_ARGS__, &(seen), m);                                        \
    } while (0)

HOT void largest(const float *x, int64_t p, vf by, const span *edge, vf *m) {
#pragma GCC unroll 4
    for (int l = 0; l < NL; l++) {
        vf v = v_mul(v_load(x + p + l * VW), by);
        if (edge) v = inside(p, l, *edge, v, v_set(-INFINITY));
        m[l] = v_max(v, m[l]);
    }
}

HOT void exp_step(float *x, int64_t p, vf by, vf max, const span *edge, vf *m) {
#pragma GCC unroll 4
    for (int l = 0; l < NL; l++) {
        vf e = v_exp(v_sub(v_mul(v_load(x + p + l * VW), by), max));
        if (edge) e = inside(p, l, *edge, e, v_zero());
        v_store(x + p + l * VW, e);
        m[l] = v_add(m[l], e);
    }
}

/* s[p] = exp(s[p] * scale - the row's largest) for the positions p of each of n <= VW rows, which
 * lie ld apart; their sums. Sixteen lanes by position. */
static vf exp_rows(int n, float *s, int64_t ld, const span *seen, float scale) {
    const vf by = v_set(scale);
    vf w[VW][NL];
    float top[VW];
    for (int i = 0; i < n; i++) {
        const float *const x = s + i * ld;
        vf m[NL];
        for (int l = 0; l < NL; l++) m[l] = v_set(-INFINITY);
        EACH_LANES(seen[i], largest, x, p, by);
        for (int l = 0; l < NL; l++) w[i][l] = m[l];
    }
    v_store(top, trees(n, w, v_max));
    for (int i = 0; i < n; i++) {
        float *const x = s + i * ld;
        const vf max = v_set(top[i]);
        vf m[NL];
        for (int l = 0; l < NL; l++) m[l] = v_zero();
        EACH_LANES(seen[i], exp_step, x, p, by, max);
        for (int l = 0; l < NL; l++) w[i][l] = m[l];
    }
    return trees(n, w, v_add);
}

/* ---- rows of one head --------------------------------------------------------------------- */

HOT void scale_row(float *x, float by, int64_t hd) {
    int64_t d = 0;
    for (; d + VW <= hd; d += VW) v_store(x + d, v_mul(v_load(x + d), v_set(by)));
    if (d < hd) v_storen(x + d, v_mul(v_loadn(x + d, hd - d), v_set(by)), hd - d);
}

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

/* ---- forward ----------------------------------------------------------------------------- */

/* A row of a block: one query head of one token, which sees positions lo .. hi-1. */
typedef struct {
    const float *q;
    float *out, *score; /* score[position] */
    span seen;
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

/* What any of n rows sees of positions from .. to-1. */
static span any_of(const head_row *w, int64_t n, int64_t from, int64_t to) {
    span any = { to, from };
    for (int64_t i = 0; i < n; i++) {
        any.lo = least(any.lo, w[i].seen.lo);
        any.hi = most(any.hi, w[i].seen.hi);
    }
    return (span){ most(any.lo, from), least(any.hi, to) };
}

/* Blocks of keys, or rows of 32 values, that are taken at once. */
static int64_t near(const block *b) {
    const int64_t blocks = b->j->cache == REX_K_F32 ? NEAR / (REX_PANEL * b->j->hd) : 1;
    return most(blocks, 1) * REX_PANEL;
}

/* Scores of tokens t .. u-1, which share the stretch c. What lies in a key block beyond a row's own
 * positions is computed with the rest and never looked at. */
static void score_run(const block *b, int64_t t, int64_t u, const rex_kv_seg *c) {
    const int64_t hd = b->j->hd;
    const int64_t step = near(b);
    const head_row *const row = b->row + t * b->group;
    const int64_t rows = (u - t) * b->group;
    const span all = any_of(row, rows, c->pos0, c->pos0 + c->n);
    if (all.lo >= all.hi) return;
    for (int64_t i = (all.lo - c->pos0) / REX_PANEL * REX_PANEL; i < all.hi - c->pos0; i += step) {
        const int64_t at = c->pos0 + i;
        const int64_t len = least(step, (all.hi - at + REX_PANEL - 1) / REX_PANEL * REX_PANEL);
        const float *keys = stored(b, c->k, b->h * c->k_head + i * hd, len * hd);
        for (int64_t r = 0; r < rows; r += STRIP_M) {
            const head_row *const w = row + r;
            const int n = (int)least(STRIP_M, rows - r);
            const span any = any_of(w, n, at, at + len);
            if (any.lo >= any.hi) continue;
            const int64_t first = (any.lo - at) / REX_PANEL;
            const int64_t past = (any.hi - at + REX_PANEL - 1) / REX_PANEL;
            const float *x[STRIP_M];
            float *y[STRIP_M];
            for (int k = 0; k < n; k++) {
                x[k] = w[k].q;
                y[k] = w[k].score + at + first * REX_PANEL;
            }
            score_blocks(n, hd, x, keys + first * REX_PANEL * hd, past - first, y);
        }
    }
}

/* Adds what tokens t .. u-1 see of the values of stretch c. */
static void value_run(const block *b, int64_t t, int64_t u, const rex_kv_seg *c) {
    const int64_t hd = b->j->hd;
    const int64_t step = near(b);
    const head_row *const row = b->row + t * b->group;
    const int64_t rows = (u - t) * b->group;
    const span all = any_of(row, rows, c->pos0, c->pos0 + c->n);
    for (int64_t at = all.lo; at < all.hi; at += step) {
        const int64_t end = least(at + step, all.hi);
        const float *v =
            stored(b, c->v, b->h * c->v_head + (at - c->pos0) * hd, (end - at) * hd);
        for (int64_t r = 0; r < rows; r += STRIP_M) {
            const head_row *const w = row + r;
            const int n = (int)least(STRIP_M, rows - r);
            span seen[STRIP_M];
            const float *x[STRIP_M];
            float *y[STRIP_M];
            for (int k = 0; k < n; k++) {
                seen[k].lo = most(w[k].seen.lo, at);
                seen[k].hi = most(least(w[k].seen.hi, end), seen[k].lo);
                x[k] = w[k].score;
                y[k] = w[k].out;
            }
            ragged(n, seen, x, v, at, hd, hd, y, true);
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
                                                   { b.tok[t].lo, b.tok[t].hi } };
        each_run(&b, false);
        float *inv = bump(&at, (size_t)(rows + VW) * sizeof *inv);
        for (int64_t i = 0; i < rows; i += VW) {
            const int n = (int)least(VW, rows - i);
            span seen[VW];
            for (int k = 0; k < n; k++) seen[k] = b.row[i + k].seen;
            v_store(inv + i,
                    v_div(v_set(1.0f), exp_rows(n, b.row[i].score, ld, seen, j->scale)));
        }
        for (int64_t i = 0; i < rows; i++) memset(b.row[i].out, 0, bytes);
        each_run(&b, true);
        for (int64_t i = 0; i < rows; i++) scale_row(b.row[i].out, inv[i], j->hd);
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
        if (cache == REX_K_F32)
            copy_rows((float *)(uintptr_t)s->v + h * s->v_head + i * hd, hd, v + h * hd, v_row, n,
                      hd);
        for (int64_t t = 0; t < n && cache != REX_K_F32; t++)
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
    int64_t p0;        /* position of its first column, a multiple of VW */
    float *K, *Kp, *Vp; /* (T, hd); blocks of 32 keys, of 32 values */
    float *P, *D;   /* (rows, ld) */
    float *Pt, *Dt; /* (positions, rows up to a multiple of VW) */
    float *Q, *Y;      /* queries and output gradients of the block (rows, hd) */
    float *dK, *dV;    /* (T, hd) */
} grad;

/* What token t sees. */
static span seen_by(const rex_attn_grad *j, int64_t t) {
    return (span){ j->window > 0 ? most(t - j->window + 1, 0) : 0, t + 1 };
}

/* What each of n <= VW rows of a block sees, from row r on. */
static void seen_by_rows(const grad *g, int64_t r, int n, span *seen) {
    int64_t t = g->t0 + r / g->group;
    int64_t head = r % g->group;
    for (int i = 0; i < n; i++) {
        seen[i] = seen_by(g->j, t);
        if (++head == g->group) head = 0, t++;
    }
}

/* Scores and their gradient for strips of rows over all key blocks that they see. */
static void grad_strips(const grad *g, const float *rows, const float *panels, float *out) {
    const int64_t hd = g->j->hd;
    for (int64_t r = 0; r < g->rows; r += STRIP_M) {
        const int n = (int)least(STRIP_M, g->rows - r);
        const int64_t p0 = seen_by(g->j, g->t0 + r / g->group).lo / REX_PANEL;
        const int64_t p1 = (g->t0 + (r + n - 1) / g->group) / REX_PANEL + 1;
        const float *x[STRIP_M];
        float *y[STRIP_M];
        for (int i = 0; i < n; i++) {
            x[i] = rows + (r + i) * hd;
            y[i] = out + (r + i) * g->ld + p0 * REX_PANEL;
        }
        score_blocks(n, hd, x, panels + p0 * REX_PANEL * hd, p1 - p0, y);
    }
}

HOT void dot_step(const float *P, const float *D, int64_t p, vf inv, const span *edge, vf *m) {
    for (int l = 0; l < NL; l++) {
        const vf d = v_fma(v_mul(v_load(P + p + l * VW), inv), v_load(D + p + l * VW), m[l]);
        m[l] = edge ? inside(p, l, *edge, d, m[l]) : d;
    }
}

/* The sums over positions of P inv D, row by row. */
static vf dots(int n, const float *P, const float *D, int64_t ld, const span *seen,
               const float *inv) {
    vf w[VW][NL];
    for (int i = 0; i < n; i++, P += ld, D += ld) {
        const vf by = v_set(inv[i]);
        vf m[NL];
        for (int l = 0; l < NL; l++) m[l] = v_zero();
        EACH_LANES(seen[i], dot_step, P, D, p, by);
        for (int l = 0; l < NL; l++) w[i][l] = m[l];
    }
    return trees(n, w, v_add);
}

/* From scores P and gradients D of probabilities: the gradient of the unscaled scores into D and,
 * by columns, Dt; probabilities by columns into Pt. Positions beyond a row's own get anything. */
static void grad_softmax(const grad *g) {
    const vf scale = v_set(g->j->scale);
    const int64_t wide = (g->rows + VW - 1) / VW * VW;
    for (int64_t r = 0; r < g->rows; r += VW) {
        const int n = (int)least(VW, g->rows - r);
        float *const P = g->P + r * g->ld;
        float *const D = g->D + r * g->ld;
        span seen[VW];
        float inv[VW], delta[VW];
        seen_by_rows(g, r, n, seen);
        v_store(inv, v_div(v_set(1.0f), exp_rows(n, P, g->ld, seen, g->j->scale)));
        v_store(delta, dots(n, P, D, g->ld, seen, inv));
        for (int64_t p = seen[0].lo / VW * VW; p < seen[n - 1].hi; p += VW) {
            vf x[VW], d[VW];
            for (int i = 0; i < VW; i++) {
                x[i] = d[i] = v_zero();
                if (i >= n) continue;
                x[i] = v_mul(v_load(P + i * g->ld + p), v_set(inv[i]));
                d[i] = v_sub(v_load(D + i * g->ld + p), v_set(delta[i]));
                d[i] = v_mul(v_mul(d[i], x[i]), scale);
                v_store(D + i * g->ld + p, d[i]);
            }
            float *const Pt = g->Pt + (p - g->p0) * wide + r;
            float *const Dt = g->Dt + (p - g->p0) * wide + r;
            v_transpose(x);
            for (int i = 0; i < VW; i++) v_store(Pt + i * wide, x[i]);
            v_transpose(d);
            for (int i = 0; i < VW; i++) v_store(Dt + i * wide, d[i]);
        }
    }
}

static void grad_queries(const grad *g) {
    const int64_t hd = g->j->hd;
    int64_t t = g->t0;
    int64_t head = 0;
    for (int64_t r = 0; r < g->rows; r += STRIP_M) {
        const int n = (int)least(STRIP_M, g->rows - r);
        span seen[STRIP_M];
        const float *x[STRIP_M];
        float *y[STRIP_M];
        seen_by_rows(g, r, n, seen);
        for (int i = 0; i < n; i++) {
            x[i] = g->D + (r + i) * g->ld;
            y[i] = g->j->dq + t * g->j->dq_row + (g->h * g->group + head) * hd;
            if (++head == g->group) head = 0, t++;
        }
        ragged(n, seen, x, g->K, 0, hd, hd, y, false);
    }
}

/* Positions from .. to-1, each summed over the rows of the block that see it. */
static void grad_some_keys(const grad *g, const float *cols, int64_t from, int64_t to,
                           const float *rows, float *out) {
    const int64_t hd = g->j->hd;
    const int64_t wide = (g->rows + VW - 1) / VW * VW;
    for (int64_t p = from; p < to; p += STRIP_M) {
        const int n = (int)least(STRIP_M, to - p);
        span seen[STRIP_M];
        const float *x[STRIP_M];
        float *y[STRIP_M];
        for (int i = 0; i < n; i++) {
            const int64_t at = p + i;
            const int64_t past = g->j->window > 0 ? at + g->j->window - g->t0 : g->n_tok;
            seen[i].lo = most(at - g->t0, 0) * g->group;
            seen[i].hi = most(most(least(past, g->n_tok), 0) * g->group, seen[i].lo);
            x[i] = cols + (at - g->p0) * wide;
            y[i] = out + at * hd;
        }
        ragged(n, seen, x, rows, 0, hd, hd, y, true);
    }
}

/* The same for positions that all rows see, in strips side by side. */
static void grad_whole_keys(const grad *g, const float *cols, int64_t from, int64_t strips,
                            const float *rows, float *out) {
    const int64_t hd = g->j->hd;
    const int64_t wide = (g->rows + VW - 1) / VW * VW;
    if (strips == 0) return;
    strip s = { .rows = STRIP_M, .more = true, .all = g->rows, .b = rows, .ldb = hd,
                .count = strips, .dx = STRIP_M * wide, .dy = STRIP_M * hd };
    for (int i = 0; i < STRIP_M; i++) {
        s.x[i] = cols + (from + i - g->p0) * wide;
        s.y[i] = out + (from + i) * hd;
    }
    for (int64_t c = 0; c < hd; c += STRIP_N, s.b += STRIP_N) {
        s.cols = least(hd - c, STRIP_N);
        VEC(strip_run)(&s);
        for (int i = 0; i < STRIP_M; i++) s.y[i] += STRIP_N;
    }
}

/* All positions that the block sees; those in the middle are seen by all of it. */
static void grad_keys(const grad *g, const float *cols, const float *rows, float *out) {
    const int64_t p1 = g->t0 + g->n_tok;
    const int64_t first = least(most(seen_by(g->j, p1 - 1).lo, g->p0), p1);
    const int64_t strips = most(g->t0 + 1 - first, 0) / STRIP_M;
    grad_some_keys(g, cols, g->p0, first, rows, out);
    grad_whole_keys(g, cols, first, strips, rows, out);
    grad_some_keys(g, cols, first + strips * STRIP_M, p1, rows, out);
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
    grad_keys(g, g->Dt, g->Q, g->dK);
    grad_keys(g, g->Pt, g->Y, g->dV);
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
        g.p0 = seen_by(j, t).lo / VW * VW;
        grad_block(&g);
    }
    copy_rows(j->dk + h * j->hd, j->dk_row, g.dK, j->hd, j->T, j->hd);
    copy_rows(j->dv + h * j->hd, j->dv_row, g.dV, j->hd, j->T, j->hd);
}
