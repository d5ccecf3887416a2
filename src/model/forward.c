/* SPDX-License-Identifier: MIT
 *
 * forward.c: one step of any number of tokens through all blocks. There is no other forward pass:
 * prefill, decode, scoring, features and training are steps of different rows.
 *
 *   x += o(attention(rope(norm(qkv(norm(x))))));  x += down(act(gate(norm(x))) * up(norm(x)))
 *
 * Every operation works on rows one by one or is a matrix product whose outputs are sums of their
 * own (docs/numerics.md), so a row's bits are its own affair. Work is split by rows or outputs.
 */
#include "adapter.h"

#include <string.h>

/* Rows of one piece of row-wise work. */
enum { ROW_TILE = 8 };

typedef struct {
    rex_ctx *c;
    const rex_layer *w;
    rex_acts *a;
    float *x_next;
    int layer;
} stage;

static void by_rows(rex_ctx *c, rex_work_fn fn, stage *s) {
    rex_pool_run(c->pool, (size_t)((c->n + ROW_TILE - 1) / ROW_TILE), fn, s);
}

static int64_t first(size_t item) { return (int64_t)item * ROW_TILE; }

static int64_t count(const rex_ctx *c, size_t item) {
    const int64_t left = c->n - first(item);
    return left < ROW_TILE ? left : ROW_TILE;
}

static void norm(const rex_ctx *c, float *y, const float *x, const float *w, float *r, int64_t i,
                 int64_t n) {
    const rex_shape *s = &c->m->s;
    const int64_t D = s->D;
    c->m->kern.rmsnorm(y + i * D, D, x + i * D, D, w, s->norm_plus1 ? 1.0F : 0.0F, n, D,
                       (double)s->eps, r + i);
}

/* ---- products ---------------------------------------------------------------------------- */

static rex_gemm product(const rex_ctx *c, const rex_lin *l, const float *x, float *y,
                        int64_t y_row) {
    return (rex_gemm){.m = c->n,
                      .n = l->w.n,
                      .k = l->w.k,
                      .x = x,
                      .x_row = l->w.k,
                      .x_col = 1,
                      .w = l->w,
                      .y = y,
                      .y_row = y_row,
                      .y_panel = REX_PANEL,
                      .bias = l->bias,
                      .bf16 = c->m->bf16};
}

static void run(rex_ctx *c, const rex_gemm *job, size_t n) {
    rex_gemm_run(&c->m->kern, c->pool, job, n, c->scratch, c->scratch_each);
}

/* Where one product of a shared input goes. */
typedef struct {
    const rex_lin *lin;
    float *y;
    int64_t y_row;
    const float *add; /* (rows, D), or NULL */
} target;

enum { TARGETS = 3, SCALE_PIECE = 8192 };

typedef struct {
    const rex_ctx *c;
    int64_t n;
} scaling;

static void scale_piece(void *ud, size_t item, int worker) {
    (void)worker;
    const scaling *const s = ud;
    const int64_t at = (int64_t)item * SCALE_PIECE;
    const int64_t n = s->n - at < SCALE_PIECE ? s->n - at : SCALE_PIECE;
    s->c->m->kern.scale(s->c->low + at, s->c->m->adapter->scale, n);
}

/* y = W x + bias of each target. An adapter adds to it in this order: u = A x, u * scale, then the
 * chain of W x + bias goes on with B u, then comes `add`. */
static void products(rex_ctx *c, const float *x, const target *t, int n) {
    rex_gemm job[2 * TARGETS];
    size_t n_job = 0;
    int64_t n_low = 0, rank = c->m->adapter ? c->m->adapter->rank : 0;
    for (int i = 0; i < n; i++) {
        rex_gemm *const j = &job[n_job++];
        *j = product(c, t[i].lin, x, t[i].y, t[i].y_row);
        j->add = t[i].lin->low ? NULL : t[i].add;
        j->add_row = t[i].y_row;
    }
    for (int i = 0; i < n; i++)
        if (t[i].lin->low)
            job[n_job++] = product(c, &t[i].lin->low->a, x, c->low + n_low++ * c->n * rank, rank);
    run(c, job, n_job);
    if (n_low == 0) return;
    scaling s = {c, n_low * c->n * rank};
    rex_pool_run(c->pool, (size_t)((s.n + SCALE_PIECE - 1) / SCALE_PIECE), scale_piece, &s);
    n_job = 0;
    for (int i = 0; i < n; i++) {
        if (!t[i].lin->low) continue;
        rex_gemm *const j = &job[n_job];
        *j = product(c, &t[i].lin->low->b, c->low + (int64_t)n_job * c->n * rank, t[i].y,
                     t[i].y_row);
        j->more = true;
        j->add = t[i].add;
        j->add_row = t[i].y_row;
        n_job++;
    }
    run(c, job, n_job);
}

static void qkv(const stage *s) {
    const rex_shape *h = &s->c->m->s;
    const int64_t q = (int64_t)h->H * h->hd, k = (int64_t)h->K * h->hd, W = q + 2 * k;
    const rex_lin *const lin = s->w->lin;
    float *const y = s->a->raw;
    const target t[TARGETS] = {{&lin[REX_LIN_Q], y, W, NULL},
                               {&lin[REX_LIN_K], y + q, W, NULL},
                               {&lin[REX_LIN_V], y + q + k, W, NULL}};
    products(s->c, s->a->xn1, t, h->fused_qkv ? 1 : 3);
}

static void gate_up(const stage *s) {
    const rex_shape *h = &s->c->m->s;
    const target t[2] = {{&s->w->lin[REX_LIN_GATE], s->a->gu, 2 * h->F, NULL},
                         {&s->w->lin[REX_LIN_UP], s->a->gu + h->F, 2 * h->F, NULL}};
    products(s->c, s->a->xn2, t, h->fused_up ? 1 : 2);
}

/* y = x W^T (+ add); with a sandwich norm the sum comes later. */
static void project(const stage *s, rex_lin_id id, const float *x, float *plain, float *y,
                    const float *add) {
    const rex_shape *h = &s->c->m->s;
    const target t = {&s->w->lin[id], h->sandwich ? plain : y, h->D, h->sandwich ? NULL : add};
    products(s->c, x, &t, 1);
}

/* ---- row-wise work ----------------------------------------------------------------------- */

static void embed_rows(void *ud, size_t item, int worker) {
    (void)worker;
    const stage *s = ud;
    const rex_model *m = s->c->m;
    const int64_t i = first(item), n = count(s->c, item), D = m->s.D;
    float *x = s->a->x_in + i * D;
    if (m->embed) {
        m->kern.embed(x, D, m->embed, m->embed_elem, D, s->c->tok + i, n, m->s.embed_scale);
    } else {
        for (int64_t r = 0; r < n; r++) {
            rex_tensor_get_f32(m->embed_src, s->c->tok[i + r], 0, D, x + r * D);
            if (m->s.embed_scale != 1.0F) m->kern.scale(x + r * D, m->s.embed_scale, D);
        }
    }
    if (s->c->o.tap == 0) memcpy(s->c->tap + i * D, x, (size_t)(n * D) * sizeof *x);
}

static void norm_in(void *ud, size_t item, int worker) {
    (void)worker;
    const stage *s = ud;
    norm(s->c, s->a->xn1, s->a->x_in, s->w->norm[REX_NORM_IN], s->a->r1, first(item),
         count(s->c, item));
}

static void head_norms(const stage *s, int64_t i) {
    const rex_shape *h = &s->c->m->s;
    const int64_t hd = h->hd, W = (int64_t)(h->H + 2 * h->K) * hd, q = (int64_t)h->H * hd;
    const float plus = h->norm_plus1 ? 1.0F : 0.0F;
    const rex_kern *k = &s->c->m->kern;
    float *y = s->a->qkv + i * W, *r = s->a->rq + i * (h->H + h->K);
    const float *x = s->a->raw + i * W;
    k->rmsnorm(y, hd, x, hd, s->w->norm[REX_NORM_Q], plus, h->H, hd, (double)h->eps, r);
    k->rmsnorm(y + q, hd, x + q, hd, s->w->norm[REX_NORM_K], plus, h->K, hd, (double)h->eps,
               r + h->H);
    if (x != y) memcpy(y + q + h->K * hd, x + q + h->K * hd, (size_t)(h->K * hd) * sizeof *y);
}

/* Puts keys and values of rows i .. i+n-1 where they belong; a run of rows of one sequence goes in
 * at once as far as its stretch reaches. */
static void store(const stage *s, int64_t i, int64_t n) {
    const rex_ctx *c = s->c;
    const rex_shape *h = &c->m->s;
    const int64_t q = (int64_t)h->H * h->hd, k = (int64_t)h->K * h->hd, W = q + 2 * k;
    for (int64_t r = i; r < i + n;) {
        const int32_t seq = c->seq[r];
        const rex_kv_seg *seg = c->seg + (size_t)seq * (size_t)c->cache.per_seq + c->n_seg[seq] - 1;
        while (c->pos[r] < seg->pos0) seg--;
        int64_t m = 1;
        while (r + m < i + n && c->seq[r + m] == seq && c->pos[r + m] < seg->pos0 + seg->n) m++;
        const float *at = s->a->qkv + r * W;
        c->m->kern.kv_put(seg, c->o.kv_bf16 ? REX_K_BF16 : REX_K_F32, h->K, h->hd,
                          c->pos[r] - seg->pos0, m, at + q, W, at + q + k, W);
        r += m;
    }
}

static void turn_and_store(void *ud, size_t item, int worker) {
    (void)worker;
    const stage *s = ud;
    const rex_ctx *c = s->c;
    const rex_shape *h = &c->m->s;
    const int64_t i = first(item), n = count(c, item);
    const int64_t W = (int64_t)(h->H + 2 * h->K) * h->hd;
    const int kind = h->local[s->layer];
    if (h->qk_norm)
        for (int64_t r = i; r < i + n; r++) head_norms(s, r);
    c->m->kern.rope(s->a->qkv + i * W, W, n, h->H + h->K, h->hd, h->rot / 2, c->cos[kind],
                    c->sin[kind], c->pos + i, false, 1.0F);
    store(s, i, n);
}

static void norm_mid(void *ud, size_t item, int worker) {
    (void)worker;
    const stage *s = ud;
    const rex_ctx *c = s->c;
    rex_acts *a = s->a;
    const int64_t i = first(item), n = count(c, item), D = c->m->s.D;
    if (c->m->s.sandwich) {
        norm(c, a->xn2, a->o, s->w->norm[REX_NORM_POST_ATTN], a->r_o, i, n);
        c->m->kern.add(a->x_mid + i * D, a->x_in + i * D, a->xn2 + i * D, n * D);
    }
    norm(c, a->xn2, a->x_mid, s->w->norm[REX_NORM_FFN], a->r2, i, n);
}

static void gate_rows(void *ud, size_t item, int worker) {
    (void)worker;
    const stage *s = ud;
    const rex_shape *h = &s->c->m->s;
    const int64_t i = first(item), n = count(s->c, item), F = h->F;
    const float *g = s->a->gu + i * 2 * F;
    s->c->m->kern.gate(s->a->act + i * F, F, g, 2 * F, g + F, 2 * F, n, F, h->act);
}

static void end_of_block(void *ud, size_t item, int worker) {
    (void)worker;
    const stage *s = ud;
    const rex_ctx *c = s->c;
    rex_acts *a = s->a;
    const int64_t i = first(item), n = count(c, item), D = c->m->s.D;
    if (c->m->s.sandwich) {
        float *t = c->xf; /* free until the last block's end, and that row by row */
        norm(c, t, a->down, s->w->norm[REX_NORM_POST_FFN], a->r_d, i, n);
        c->m->kern.add(s->x_next + i * D, a->x_mid + i * D, t + i * D, n * D);
    }
    if (c->o.tap == s->layer + 1)
        memcpy(c->tap + i * D, s->x_next + i * D, (size_t)(n * D) * sizeof(float));
    if (s->layer + 1 < c->m->s.L) {
        const stage next = {s->c, s->w + 1, &c->act[s->layer + 1], NULL, s->layer + 1};
        norm(c, next.a->xn1, s->x_next, next.w->norm[REX_NORM_IN], next.a->r1, i, n);
    } else {
        norm(c, c->xf, s->x_next, c->m->norm, c->rf, i, n);
    }
}

/* ---- the block --------------------------------------------------------------------------- */

static void attention(const stage *s) {
    rex_ctx *c = s->c;
    const rex_shape *h = &c->m->s;
    const int64_t q = (int64_t)h->H * h->hd, W = q + 2 * (int64_t)h->K * h->hd;
    for (int i = 0; i < c->n; i++) {
        const int32_t seq = c->seq[i], hi = c->pos[i] + 1;
        const int32_t lo = h->local[s->layer] && hi > h->window ? hi - (int32_t)h->window : 0;
        c->arow[i] = (rex_attn_row){.q = s->a->qkv + i * W, .out = s->a->att + i * q,
                                    .seg = c->seg + (size_t)seq * (size_t)c->cache.per_seq,
                                    .n_seg = c->n_seg[seq], .lo = lo, .hi = hi};
    }
    const rex_attn job = {.row = c->arow, .n_row = c->n, .H = h->H, .KV = h->K, .hd = h->hd,
                          .scale = h->attn_scale, .cache = c->o.kv_bf16 ? REX_K_BF16 : REX_K_F32};
    rex_attn_run(&c->m->kern, c->pool, &job, c->scratch, c->scratch_each);
}

/* The stretches of the layer `by` layers on: everything lies two sides further for each. */
static void shift_segs(rex_ctx *c, int by) {
    if (c->cache.layers == 1) return;
    const ptrdiff_t bytes = 2 * (ptrdiff_t)c->cache.side_bytes * by;
    int32_t last = -1;
    for (int i = 0; i < c->n; i++) {
        if (c->seq[i] == last) continue;
        last = c->seq[i];
        rex_kv_seg *g = c->seg + (size_t)last * (size_t)c->cache.per_seq;
        for (int32_t j = 0; j < c->n_seg[last]; j++) {
            g[j].k = (const char *)g[j].k + bytes;
            g[j].v = (const char *)g[j].v + bytes;
        }
    }
}

static stage stage_of(rex_ctx *c, int layer) {
    const bool last = layer + 1 == c->m->s.L;
    return (stage){c, &c->m->layer[layer], &c->act[layer], last ? c->x_out : c->act[layer + 1].x_in,
                   layer};
}

/* From the normed stream to the gated MLP. */
static void upper_part(const stage *s) {
    rex_ctx *c = s->c;
    const rex_acts *a = s->a;
    stage t = *s;
    qkv(s);
    by_rows(c, turn_and_store, &t);
    attention(s);
    project(s, REX_LIN_O, a->att, a->o, a->x_mid, a->x_in);
    by_rows(c, norm_mid, &t);
    gate_up(s);
    by_rows(c, gate_rows, &t);
}

/* What bf16 compute keeps of a layer in bf16. */
typedef struct {
    float *x;
    int64_t width, at; /* at: rows of this begin at element at * rows of `half` */
} half_part;
enum { HALF_PARTS = 3 };

static void half_parts(const stage *s, half_part part[HALF_PARTS]) {
    const rex_shape *h = &s->c->m->s;
    const int64_t G = 2 * h->F, A = (int64_t)h->H * h->hd;
    part[0] = (half_part){s->a->gu, G, 0};
    part[1] = (half_part){s->a->att, A, G};
    part[2] = (half_part){s->a->qkv, A + 2 * (int64_t)h->K * h->hd, G + A};
}

static void keep_half(void *ud, size_t item, int worker) {
    (void)worker;
    const stage *s = ud;
    half_part p[HALF_PARTS];
    half_parts(s, p);
    const int64_t i = first(item), n = count(s->c, item);
    for (int j = 0; j < HALF_PARTS; j++)
        s->c->m->kern.cast_to(s->a->half + p[j].at * s->c->o.rows + i * p[j].width, REX_K_BF16,
                              p[j].x + i * p[j].width, n * p[j].width);
}

/* Back again; what was not kept so is rounded in place, so that all layers go the same way. */
static void restore_half(void *ud, size_t item, int worker) {
    (void)worker;
    const stage *s = ud;
    const rex_kern *const k = &s->c->m->kern;
    half_part p[HALF_PARTS];
    half_parts(s, p);
    const int64_t i = first(item), n = count(s->c, item);
    for (int j = 0; j < HALF_PARTS; j++) {
        float *const x = p[j].x + i * p[j].width;
        const int64_t at = p[j].at * s->c->o.rows + i * p[j].width;
        if (s->a->half)
            k->cast_from(x, s->a->half + at, REX_K_BF16, n * p[j].width);
        else
            k->round_bf16(x, n * p[j].width);
    }
}

static void block(rex_ctx *c, int layer) {
    stage s = stage_of(c, layer);
    upper_part(&s);
    if (s.a->half) by_rows(c, keep_half, &s);
    project(&s, REX_LIN_DOWN, s.a->act, s.a->down, s.x_next, s.a->x_mid);
    by_rows(c, end_of_block, &s);
    shift_segs(c, 1);
}

/* ---- a block once more ------------------------------------------------------------------- */

static void renorm_mid(void *ud, size_t item, int worker) {
    (void)worker;
    const stage *s = ud;
    norm(s->c, s->a->xn2, s->a->x_mid, s->w->norm[REX_NORM_FFN], s->a->r2, first(item),
         count(s->c, item));
}

static void renorm_down(void *ud, size_t item, int worker) {
    (void)worker;
    const stage *s = ud;
    norm(s->c, s->c->xf, s->a->down, s->w->norm[REX_NORM_POST_FFN], s->a->r_d, first(item),
         count(s->c, item));
}

void rex_ctx_redo(rex_ctx *c, int layer) {
    rex_assert(c->o.keep && layer >= 0 && layer < c->m->s.L);
    stage s = stage_of(c, layer);
    const uint64_t fp = rex_fp_enter();
    by_rows(c, norm_in, &s);
    if (layer < c->o.redo) {
        const int back = layer - c->m->s.L; /* a step leaves the stretches behind the last layer */
        shift_segs(c, back);
        upper_part(&s);
        shift_segs(c, -back);
        if (c->m->s.sandwich) {
            project(&s, REX_LIN_DOWN, s.a->act, s.a->down, NULL, NULL);
            by_rows(c, renorm_down, &s);
        }
    } else {
        by_rows(c, renorm_mid, &s);
    }
    if (c->m->bf16) by_rows(c, restore_half, &s);
    if (c->m->bf16 || layer >= c->o.redo) by_rows(c, gate_rows, &s);
    rex_fp_leave(fp);
}

/* ---- the step ---------------------------------------------------------------------------- */

/* Checks the whole step before anything changes. */
static rex_status check(const rex_ctx *c, const rex_row *row, int n, rex_err *e) {
    int64_t blocks = 0;
    rex_assert(n > 0 && n <= c->o.rows);
    for (int i = 0; i < n;) {
        const int32_t seq = row[i].seq;
        rex_assert(seq >= 0 && seq < c->cache.seqs && c->cache.used[seq]);
        int m = 0;
        for (; i < n && row[i].seq == seq; i++, m++)
            if (row[i].token < 0 || row[i].token >= c->m->s.V)
                return rex_fail(e, REX_EARG, i, "token id %d is outside the vocabulary of %lld",
                                (int)row[i].token, (long long)c->m->s.V);
        if (c->o.keep && c->cache.len[seq] > 0)
            return rex_fail(e, REX_EARG, i, "training takes a sequence whole, in one step");
        const int64_t len = (int64_t)c->cache.len[seq] + m;
        if (len > c->o.per_seq)
            return rex_fail(e, REX_ELIMIT, -1,
                            "a sequence of %lld tokens is longer than the context of %lld",
                            (long long)len, (long long)c->o.per_seq);
        const int64_t want = rex_ctx_blocks((int32_t)len, 0) - c->cache.room[seq];
        if (want > 0) blocks += want;
    }
    if (blocks > c->cache.n_spare)
        return rex_fail(e, REX_ELIMIT, -1,
                        "the cache is full: %lld blocks of %d positions needed, %d free",
                        (long long)blocks, (int)REX_KV, (int)c->cache.n_spare);
    return REX_OK;
}

static void place(rex_ctx *c, const rex_row *row, int n) {
    for (int i = 0; i < n;) {
        const int32_t seq = row[i].seq;
        int32_t len = c->cache.len[seq];
        for (; i < n && row[i].seq == seq; i++) {
            c->seq[i] = seq;
            c->tok[i] = row[i].token;
            c->pos[i] = len++;
        }
        const bool ok = rex_seq_reserve(c, seq, len);
        rex_assert(ok);
        c->cache.len[seq] = len;
        c->n_seg[seq] =
            rex_cache_segs(&c->cache, seq, len, c->seg + (size_t)seq * (size_t)c->cache.per_seq);
    }
    c->n = n;
}

rex_status rex_ctx_step(rex_ctx *c, const rex_row *row, int n, rex_err *e) {
    REX_TRY(check(c, row, n, e));
    const uint64_t fp = rex_fp_enter();
    rex_mem_guard_begin("step");
    place(c, row, n);
    stage s = {c, &c->m->layer[0], &c->act[0], NULL, 0};
    by_rows(c, embed_rows, &s);
    by_rows(c, norm_in, &s);
    for (int l = 0; l < c->m->s.L; l++) block(c, l);
    rex_mem_guard_end();
    rex_fp_leave(fp);
    return REX_OK;
}

const float *rex_ctx_state(const rex_ctx *c, int i) {
    rex_assert(i >= 0 && i < c->n);
    return c->xf + (int64_t)i * c->m->s.D;
}

const float *rex_ctx_tap(const rex_ctx *c, int i) {
    rex_assert(i >= 0 && i < c->n);
    return (c->tap ? c->tap : c->xf) + (int64_t)i * c->m->s.D;
}

const float *rex_ctx_head(rex_ctx *c, const float *const *state, int n) {
    const int64_t D = c->m->s.D, V = c->m->s.V;
    rex_assert(n >= 0 && n <= c->o.logit_rows);
    if (n == 0) return c->logits;
    const uint64_t fp = rex_fp_enter();
    rex_mem_guard_begin("head");
    bool run_on = true;
    for (int i = 1; i < n; i++) run_on &= state[i] == state[0] + i * D;
    const float *x = state[0];
    if (!run_on) {
        for (int i = 0; i < n; i++) memcpy(c->pick + i * D, state[i], (size_t)D * sizeof *x);
        x = c->pick;
    }
    rex_gemm job = product(c, &c->m->head, x, c->logits, V);
    job.m = n;
    run(c, &job, 1);
    rex_mem_guard_end();
    rex_fp_leave(fp);
    return c->logits;
}
