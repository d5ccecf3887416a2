/* SPDX-License-Identifier: MIT
 *
 * backward.c: the mirror of forward.c. Each step of a block stands here in reverse order under the
 * same name of its activation; dX = dY W reads panels turned round (made per layer into one piece
 * of scratch), dW += X^T dY continues the chains in the slab. The loss takes a tile of rows: their
 * logits, statistics, log-probabilities, the caller's dLoss/dlogp, and the gradient of the logits
 * in the same memory; nothing of the size tokens x vocabulary exists.
 */
#include "adapter.h"
#include "train.h"

#include <string.h>

enum { ROWS = 64 }; /* rows of one piece of row-wise work */
enum { WORD_TILE = 4096, LOGIT_BYTES = 64 << 20 };

struct rex_back {
    rex_ctx *c;
    rex_grads *g;
    int64_t tile; /* rows whose logits exist at once */
    float *dx, *dn, *dqkv, *datt, *dgu, *dact; /* (rows, width) each */
    float *pick, *dpick, *logits;              /* (tile, D), (tile, D), (tile, V) */
    float *turned;                             /* transposed panels of one matrix, or word tile */
    float *low;                                /* (rows, rank), with an adapter */
    double *logp, *ent, *lse;                  /* (tile) */
    float *dlogp, *dent;                       /* (tile) */
    int32_t *doc; /* first row of each document of the step, and its end */
    int32_t *cut; /* rows where products over tokens begin anew, and the end; see find_cuts */
    int64_t n_cut;
    int64_t *slot;                             /* parameter by (layer, slot, part), -1: none */
    void *scratch; /* the context's */
    size_t scratch_each;
    rex_layer_fn watch; /* may be NULL */
    void *watch_ud;
    void *slab; /* owned */
};

/* ---- plan -------------------------------------------------------------------------------- */

typedef struct {
    int64_t M, D, A, C, F, V, R, tile, turned; /* A = H*hd, C = (H+2K)*hd, R the adapter's rank */
} plan;

static int64_t larger(int64_t a, int64_t b) {
    return a > b ? a : b;
}

static int64_t turned_floats(int64_t n_in, int64_t n_out) {
    return rex_panel_count(n_in) * REX_PANEL * n_out;
}

static plan plan_of(const rex_model *m, const rex_ctx_opts *o) {
    const rex_shape *const s = &m->s;
    plan p = { .M = o->rows, .D = s->D, .A = (int64_t)s->H * s->hd,
               .C = (int64_t)(s->H + 2 * s->K) * s->hd, .F = s->F, .V = s->V,
               .R = m->adapter ? m->adapter->rank : 0 };
    p.tile = LOGIT_BYTES / 4 / p.V;
    p.tile = p.tile < 32 ? 32 : p.tile;
    if (p.tile > p.M) p.tile = p.M;
    p.turned = larger(turned_floats(p.D, p.C), turned_floats(p.A, p.D));
    p.turned = larger(p.turned, larger(turned_floats(p.D, 2 * p.F), turned_floats(p.F, p.D)));
    p.turned = larger(p.turned, turned_floats(p.D, p.V < WORD_TILE ? p.V : WORD_TILE));
    const int64_t widest = larger(larger(p.D, p.A), larger(p.C, 2 * p.F));
    p.turned = larger(p.turned, larger(turned_floats(p.R, widest), turned_floats(widest, p.R)));
    return p;
}

/* Hands out the slab piece by piece; with base NULL it only counts. */
static void *piece(char *base, size_t *at, int64_t n, size_t size) {
    char *const p = base ? base + *at : NULL;
    *at += ((size_t)n * size + 63) / 64 * 64;
    return p;
}

static size_t lay_out(rex_back *b, char *base, const plan *p, size_t n_slot) {
    size_t at = 0;
    b->tile = p->tile;
    b->dx = piece(base, &at, p->M * p->D, 4);
    b->dn = piece(base, &at, p->M * p->D, 4);
    b->dqkv = piece(base, &at, p->M * p->C, 4);
    b->datt = piece(base, &at, p->M * p->A, 4);
    b->dgu = piece(base, &at, p->M * 2 * p->F, 4);
    b->dact = piece(base, &at, p->M * p->F, 4);
    b->pick = piece(base, &at, p->tile * p->D, 4);
    b->dpick = piece(base, &at, p->tile * p->D, 4);
    b->logits = piece(base, &at, p->tile * p->V, 4);
    b->turned = piece(base, &at, p->turned, 4);
    b->low = piece(base, &at, p->M * p->R, 4);
    b->logp = piece(base, &at, p->tile, 8);
    b->ent = piece(base, &at, p->tile, 8);
    b->lse = piece(base, &at, p->tile, 8);
    b->dlogp = piece(base, &at, p->tile, 4);
    b->dent = piece(base, &at, p->tile, 4);
    b->doc = piece(base, &at, p->M + 1, 4);
    b->cut = piece(base, &at, p->M + 1, 4);
    b->slot = piece(base, &at, (int64_t)n_slot, 8);
    return at;
}

enum { PARTS = 3 };

static size_t slots_of(const rex_model *m) {
    return (size_t)(m->s.L + 1) * REX_SLOT_COUNT * PARTS;
}

static size_t slot_at(int layer, rex_slot slot, int part) {
    return ((size_t)(layer + 1) * REX_SLOT_COUNT + slot) * PARTS + (size_t)part;
}

size_t rex_back_plan(const rex_model *m, const rex_ctx_opts *o) {
    rex_back b;
    const plan p = plan_of(m, o);
    return lay_out(&b, NULL, &p, slots_of(m));
}

rex_status rex_back_open(rex_ctx *c, rex_grads *g, rex_back **out, rex_err *e) {
    rex_assert(c->o.keep && g->m == c->m);
    rex_back *const b = rex_mem_take(1, sizeof *b, e);
    if (!b) return REX_ENOMEM;
    const plan p = plan_of(c->m, &c->o);
    const size_t bytes = lay_out(b, NULL, &p, slots_of(c->m));
    b->slab = rex_mem_take(1, bytes, e);
    if (!b->slab) {
        rex_mem_free(b);
        return REX_ENOMEM;
    }
    lay_out(b, b->slab, &p, slots_of(c->m));
    b->c = c;
    b->scratch = c->scratch;
    b->scratch_each = c->scratch_each;
    b->g = g;
    for (size_t i = 0; i < slots_of(c->m); i++) b->slot[i] = -1;
    for (size_t i = 0; i < g->n; i++)
        if (g->train[i])
            b->slot[slot_at(g->param[i].layer, g->param[i].slot, g->param[i].part)] = (int64_t)i;
    *out = b;
    return REX_OK;
}

void rex_back_close(rex_back *b) {
    if (!b) return;
    rex_mem_free(b->slab);
    rex_mem_free(b);
}

void rex_back_watch(rex_back *b, rex_layer_fn fn, void *ud) {
    b->watch = fn;
    b->watch_ud = ud;
}

/* The gradient of a parameter or of part of an adapter, or NULL where it is frozen or absent. */
static float *grad_part(const rex_back *b, int layer, rex_slot slot, int part) {
    const int64_t i = b->slot[slot_at(layer, slot, part)];
    return i < 0 ? NULL : b->g->grad + b->g->off[i];
}

static float *grad_of(const rex_back *b, int layer, rex_slot slot) {
    return grad_part(b, layer, slot, 0);
}

/* ---- products ---------------------------------------------------------------------------- */

/* In bf16 a product over tokens adds them in pairs. A pair begins at a document's first row, and
 * the last row of an odd number is paired with zero, so that a sum does not depend on what stands
 * before a document in its batch: the product is cut behind every document that ends a pair early.
 * `row`: the rows of the step that the product reads, NULL for all. */
static void find_cuts(rex_back *b, const int32_t *row, int64_t n) {
    const rex_ctx *const c = b->c;
    int64_t from = 0;
    b->n_cut = 0;
    b->cut[b->n_cut++] = 0;
    for (int64_t i = 1; i < n && c->m->bf16; i++) {
        const int32_t was = c->seq[row ? row[i - 1] : i - 1], now = c->seq[row ? row[i] : i];
        if (was == now || (i - from) % 2 == 0) continue;
        b->cut[b->n_cut++] = (int32_t)i;
        from = i;
    }
    b->cut[b->n_cut] = (int32_t)n;
}

/* dW += X^T dY and db += column sums, X (n, k), dY (n, outputs) with row strides; the rows are
 * those that find_cuts has seen. */
typedef struct {
    const rex_back *b;
    float *y;
    const float *x;
    int64_t ld, n, width;
} sums;

static void sum_columns(void *ud, size_t item, int worker) {
    (void)worker;
    const sums *const s = ud;
    const int64_t d0 = (int64_t)item * ROWS, d1 = d0 + ROWS < s->width ? d0 + ROWS : s->width;
    s->b->c->m->kern.col_sum(s->y, s->x, s->ld, s->n, d0, d1);
}

/* What is wanted of a linear layer: either may be NULL. */
typedef struct {
    float *dw, *db;
    int64_t outputs;
} wanted;

enum { SIDE_BY_SIDE = 3 };

/* The same for layers of one input, at most SIDE_BY_SIDE, whose outputs lie behind each other in
 * dY. */
static void grad_linears(const rex_back *b, const wanted *w, int parts, const float *x, int64_t ldx,
                         int64_t k, const float *dy, int64_t ldy, int64_t n) {
    rex_dassert(b->cut[b->n_cut] == n);
    for (int64_t i = 0; i < b->n_cut; i++) {
        const int64_t r = b->cut[i], rows = b->cut[i + 1] - r;
        rex_gemm job[SIDE_BY_SIDE];
        size_t n_job = 0;
        int64_t at = 0;
        for (int p = 0; p < parts; at += w[p++].outputs) {
            if (!w[p].dw) continue;
            job[n_job++] = (rex_gemm){.m = k,
                                      .n = w[p].outputs,
                                      .k = rows,
                                      .x = x + r * ldx,
                                      .x_row = 1,
                                      .x_col = ldx,
                                      .w = {.type = REX_K_F32, .n = w[p].outputs, .k = rows,
                                            .ld = ldy, .data = dy + r * ldy + at},
                                      .y = w[p].dw,
                                      .y_row = REX_PANEL,
                                      .y_panel = k * REX_PANEL,
                                      .more = true,
                                      .bf16 = b->c->m->bf16};
        }
        if (n_job == 0) break;
        rex_gemm_run(&b->c->m->kern, b->c->pool, job, n_job, b->scratch, b->scratch_each);
    }
    for (int p = 0; p < parts; dy += w[p++].outputs) {
        sums s = { b, w[p].db, dy, ldy, n, w[p].outputs };
        if (w[p].db)
            rex_pool_run(b->c->pool, (size_t)((s.width + ROWS - 1) / ROWS), sum_columns, &s);
    }
}

static void grad_linear(const rex_back *b, float *dw, const float *x, int64_t ldx, int64_t k,
                        const float *dy, int64_t ldy, int64_t outputs, int64_t n) {
    const wanted w = { dw, NULL, outputs };
    grad_linears(b, &w, 1, x, ldx, k, dy, ldy, n);
}

/* dX (= or, with more, +=) dY W for the outputs from0 .. from0+n_out-1 of a matrix in panels;
 * from0 a multiple of 32. */
static void grad_input(const rex_back *b, const rex_panels *w, int64_t from0, int64_t n_out,
                       const float *dy, int64_t ldy, float *dx, int64_t lddx, int64_t n,
                       bool more) {
    const rex_kern *const k = &b->c->m->kern;
    const char *const src = w->data;
    const rex_pack turn = {.from = w->type,
                           .to = REX_K_F32,
                           .src =
                               src + (size_t)(from0 / REX_PANEL) * rex_panel_bytes(w->type, w->k),
                           .from_panels = true,
                           .n = w->k,
                           .k = n_out,
                           .dst = b->turned};
    rex_pack_run(k, b->c->pool, &turn);
    const rex_gemm j = { .m = n, .n = w->k, .k = n_out, .x = dy, .x_row = ldy, .x_col = 1,
                         .w = { .type = REX_K_F32, .n = w->k, .k = n_out, .data = b->turned },
                         .y = dx, .y_row = lddx, .y_panel = REX_PANEL, .more = more,
                         .bf16 = b->c->m->bf16 };
    rex_gemm_run(k, b->c->pool, &j, 1, b->scratch, b->scratch_each);
}

typedef struct {
    const rex_back *b;
    int64_t n;
} scaling;

static void scale_piece(void *ud, size_t item, int worker) {
    (void)worker;
    const scaling *const s = ud;
    const rex_model *const m = s->b->c->m;
    const int64_t at = (int64_t)item * ROWS * ROWS;
    const int64_t n = s->n - at < ROWS * ROWS ? s->n - at : ROWS * ROWS;
    m->kern.scale(s->b->low + at, m->adapter->scale, n);
}

static void scale_low(const rex_back *b, int64_t n) {
    scaling s = { b, n };
    rex_pool_run(b->c->pool, (size_t)((n + ROWS * ROWS - 1) / (ROWS * ROWS)), scale_piece, &s);
}

/* What an adapter adds to a layer's gradients, behind the base's: with u = scale * (A x), made
 * again, dB += dY^T u; with t = scale * (dY B), dA += t^T x and dX += t A. */
static void grad_low(const rex_back *b, const rex_lora *low, float *da, float *db, const float *x,
                     const float *dy, int64_t ldy, float *dx, int64_t n) {
    const rex_model *const m = b->c->m;
    const int64_t k = low->a.w.k, outputs = low->b.w.n, R = m->adapter->rank;
    if (db) {
        const rex_gemm u = {.m = n, .n = R, .k = k, .x = x, .x_row = k, .x_col = 1, .w = low->a.w,
                            .y = b->low, .y_row = R, .y_panel = REX_PANEL, .bf16 = m->bf16};
        rex_gemm_run(&m->kern, b->c->pool, &u, 1, b->scratch, b->scratch_each);
        scale_low(b, n * R);
        grad_linear(b, db, b->low, R, R, dy, ldy, outputs, n);
    }
    grad_input(b, &low->b.w, 0, outputs, dy, ldy, b->low, R, n, false);
    scale_low(b, n * R);
    grad_linear(b, da, x, k, k, b->low, R, R, n);
    grad_input(b, &low->a.w, 0, R, b->low, R, dx, k, n, true);
}

/* A linear layer of a block and the names of what there is to train of it; `bias` REX_SLOT_COUNT:
 * it has none. */
typedef struct {
    rex_lin_id id;
    rex_slot slot, bias;
} linear;

/* Linear layers side by side, x their packed input: what there is to train of them, then dX = the
 * sum of their dY W. Where panels lie side by side, as those of query, key and value do, it is one
 * product, whose chains run through one layer and on through the next; adapters come between. */
static void grad_layers(const rex_back *b, int l, const linear *part, int parts, const float *x,
                        const float *dy, int64_t ldy, float *dx, int64_t n) {
    const rex_lin *const lin = b->c->m->layer[l].lin;
    const int64_t k = lin[part[0].id].w.k;
    wanted w[SIDE_BY_SIDE];
    for (int i = 0; i < parts; i++)
        w[i] = (wanted){ grad_of(b, l, part[i].slot),
                         part[i].bias == REX_SLOT_COUNT ? NULL : grad_of(b, l, part[i].bias),
                         lin[part[i].id].w.n };
    grad_linears(b, w, parts, x, k, k, dy, ldy, n);
    for (int i = 0, next; i < parts; i = next) {
        const rex_lin *const a = &lin[part[i].id];
        rex_panels all = a->w;
        for (next = i + 1; next < parts && !a->low; next++) {
            const rex_lin *const c = &lin[part[next].id];
            if (c->low || !rex_panels_go_on(&all, &c->w)) break;
            all.n += c->w.n;
        }
        grad_input(b, &all, 0, all.n, dy, ldy, dx, k, n, i > 0);
        if (a->low)
            grad_low(b, a->low, grad_part(b, l, part[i].slot, 1),
                     grad_part(b, l, part[i].slot, 2), x, dy, ldy, dx, n);
        dy += all.n;
    }
}

static void grad_layer(const rex_back *b, int l, rex_lin_id id, rex_slot slot, rex_slot bias,
                       const float *x, const float *dy, int64_t ldy, float *dx, int64_t n) {
    const linear one = { id, slot, bias };
    grad_layers(b, l, &one, 1, x, dy, ldy, dx, n);
}

/* ---- row-wise steps ---------------------------------------------------------------------- */

typedef struct {
    const rex_back *b;
    const rex_layer *layer;
    const rex_acts *a;
    int64_t n;
    /* a norm */
    float *dx;
    const float *dy, *x, *w, *rstd;
    float *dw;
    bool more;
    /* the heads */
    float *dq_norm, *dk_norm;
    int l;
} rows_job;

static void norm_rows(void *ud, size_t item, int worker) {
    (void)worker;
    const rows_job *const j = ud;
    const rex_model *const m = j->b->c->m;
    const int64_t D = m->s.D, i = (int64_t)item * ROWS, n = j->n - i < ROWS ? j->n - i : ROWS;
    m->kern.rmsnorm_bwd(j->dx + i * D, D, j->dy + i * D, D, j->x + i * D, D, j->w,
                        m->s.norm_plus1 ? 1.0f : 0.0f, j->rstd + i, n, D, j->more);
}

static void norm_weights(void *ud, size_t item, int worker) {
    (void)worker;
    const rows_job *const j = ud;
    const rex_model *const m = j->b->c->m;
    const int64_t D = m->s.D, d0 = (int64_t)item * ROWS, d1 = d0 + ROWS < D ? d0 + ROWS : D;
    m->kern.rmsnorm_dw(j->dw, j->dy, D, j->x, D, j->rstd, j->n, d0, d1);
}

/* The gradient of an RMS norm over the width of the stream; dw first, dx may be dy. */
static void grad_norm(const rex_back *b, float *dw, float *dx, const float *dy, const float *x,
                      const float *w, const float *rstd, int64_t n, bool more) {
    rows_job j = { .b = b, .n = n, .dx = dx, .dy = dy, .x = x, .w = w, .rstd = rstd, .dw = dw,
                   .more = more };
    if (dw) rex_pool_run(b->c->pool, (size_t)((b->c->m->s.D + ROWS - 1) / ROWS), norm_weights, &j);
    rex_pool_run(b->c->pool, (size_t)((n + ROWS - 1) / ROWS), norm_rows, &j);
}

static void gate_rows(void *ud, size_t item, int worker) {
    (void)worker;
    const rows_job *const j = ud;
    const rex_model *const m = j->b->c->m;
    const int64_t F = m->s.F, i = (int64_t)item * ROWS, n = j->n - i < ROWS ? j->n - i : ROWS;
    const float *const gu = j->a->gu + i * 2 * F;
    float *const dgu = j->b->dgu + i * 2 * F;
    m->kern.gate_bwd(dgu, 2 * F, dgu + F, 2 * F, gu, 2 * F, gu + F, 2 * F, j->b->dact + i * F, F, n,
                     F, m->s.act);
}

/* Undoes the rotation and the QK-norm of the query and key heads of some rows. */
static void head_rows(void *ud, size_t item, int worker) {
    (void)worker;
    const rows_job *const j = ud;
    const rex_ctx *const c = j->b->c;
    const rex_shape *const s = &c->m->s;
    const int64_t C = (int64_t)(s->H + 2 * s->K) * s->hd, i = (int64_t)item * ROWS;
    const int64_t n = j->n - i < ROWS ? j->n - i : ROWS;
    const int kind = s->local[j->l] ? 1 : 0;
    float *const d = j->b->dqkv + i * C;
    c->m->kern.rope(d, C, n, s->H + s->K, s->hd, s->rot / 2, c->cos[kind], c->sin[kind], c->pos + i,
                    false, -1.0f);
}

static void head_norms(const rows_job *j) {
    const rex_ctx *const c = j->b->c;
    const rex_shape *const s = &c->m->s;
    const int64_t H = s->H, K = s->K, hd = s->hd, C = (H + 2 * K) * hd;
    const float plus = s->norm_plus1 ? 1.0f : 0.0f;
    for (int64_t i = 0; i < j->n; i++) { /* tokens outermost: one ascending chain per weight */
        float *const d = j->b->dqkv + i * C;
        const float *const x = j->a->raw + i * C, *const r = j->a->rq + i * (H + K);
        if (j->dq_norm) c->m->kern.rmsnorm_dw(j->dq_norm, d, hd, x, hd, r, H, 0, hd);
        if (j->dk_norm)
            c->m->kern.rmsnorm_dw(j->dk_norm, d + H * hd, hd, x + H * hd, hd, r + H, K, 0, hd);
        c->m->kern.rmsnorm_bwd(d, hd, d, hd, x, hd, j->layer->norm[REX_NORM_Q], plus, r, H, hd,
                               false);
        c->m->kern.rmsnorm_bwd(d + H * hd, hd, d + H * hd, hd, x + H * hd, hd,
                               j->layer->norm[REX_NORM_K], plus, r + H, K, hd, false);
    }
}

/* ---- a block ----------------------------------------------------------------------------- */

static void grad_attention(const rex_back *b, int l, const rex_acts *a, int64_t n_doc) {
    const rex_ctx *const c = b->c;
    const rex_shape *const s = &c->m->s;
    const int64_t A = (int64_t)s->H * s->hd, G = (int64_t)s->K * s->hd, C = A + 2 * G;
    rex_attn_grad job[64];
    for (int64_t i = 0; i < n_doc;) {
        size_t n = 0;
        for (; n < 64 && i < n_doc; n++, i++) {
            const int64_t r0 = b->doc[i], r1 = b->doc[i + 1];
            const float *const q = a->qkv + r0 * C;
            float *const d = b->dqkv + r0 * C;
            job[n] = (rex_attn_grad){.T = r1 - r0,
                                     .H = s->H,
                                     .KV = s->K,
                                     .hd = s->hd,
                                     .window = s->local[l] ? s->window : 0,
                                     .scale = s->attn_scale,
                                     .q = q,
                                     .k = q + A,
                                     .v = q + A + G,
                                     .dout = b->datt + r0 * A,
                                     .q_row = C,
                                     .k_row = C,
                                     .v_row = C,
                                     .dout_row = A,
                                     .dq = d,
                                     .dk = d + A,
                                     .dv = d + A + G,
                                     .dq_row = C,
                                     .dk_row = C,
                                     .dv_row = C,
                                     .cache = c->o.kv_bf16 ? REX_K_BF16 : REX_K_F32};
        }
        rex_attn_grad_run(&c->m->kern, c->pool, job, n, b->scratch, b->scratch_each);
    }
}

static void grad_mlp(const rex_back *b, int l, const rex_acts *a, int64_t n) {
    const rex_model *const m = b->c->m;
    const rex_layer *const w = &m->layer[l];
    const int64_t D = m->s.D, F = m->s.F;
    const float *dy = b->dx;
    if (m->s.sandwich) {
        grad_norm(b, grad_of(b, l, REX_SLOT_POST_FFN_NORM), b->dn, b->dx, a->down,
                  w->norm[REX_NORM_POST_FFN], a->r_d, n, false);
        dy = b->dn;
    }
    grad_layer(b, l, REX_LIN_DOWN, REX_SLOT_DOWN, REX_SLOT_DOWN_B, a->act, dy, D, b->dact, n);
    rows_job j = { .b = b, .a = a, .n = n };
    rex_pool_run(b->c->pool, (size_t)((n + ROWS - 1) / ROWS), gate_rows, &j);
    const linear fused = { REX_LIN_GATE, REX_SLOT_GATE_UP, REX_SLOT_COUNT };
    const linear two[] = { { REX_LIN_GATE, REX_SLOT_GATE, REX_SLOT_GATE_B },
                           { REX_LIN_UP, REX_SLOT_UP, REX_SLOT_UP_B } };
    grad_layers(b, l, m->s.fused_up ? &fused : two, m->s.fused_up ? 1 : 2, a->xn2, b->dgu, 2 * F,
                b->dn, n);
    grad_norm(b, grad_of(b, l, REX_SLOT_FFN_NORM), b->dx, b->dn, a->x_mid, w->norm[REX_NORM_FFN],
              a->r2, n, true);
}

static void grad_qkv(const rex_back *b, int l, const rex_acts *a, int64_t n) {
    const rex_shape *const s = &b->c->m->s;
    const int64_t C = (int64_t)(s->H + 2 * s->K) * s->hd;
    const linear fused = { REX_LIN_Q, REX_SLOT_QKV, REX_SLOT_COUNT };
    const linear three[] = { { REX_LIN_Q, REX_SLOT_Q, REX_SLOT_Q_B },
                             { REX_LIN_K, REX_SLOT_K, REX_SLOT_K_B },
                             { REX_LIN_V, REX_SLOT_V, REX_SLOT_V_B } };
    grad_layers(b, l, s->fused_qkv ? &fused : three, s->fused_qkv ? 1 : SIDE_BY_SIDE, a->xn1,
                b->dqkv, C, b->dn, n);
}

static void grad_block(const rex_back *b, int l, int64_t n, int64_t n_doc) {
    const rex_ctx *const c = b->c;
    const rex_model *const m = c->m;
    const rex_layer *const w = &m->layer[l];
    const rex_acts *const a = &c->act[l];
    const int64_t D = m->s.D;
    rex_ctx_redo(b->c, l);
    grad_mlp(b, l, a, n);
    const float *dy = b->dx;
    if (m->s.sandwich) {
        grad_norm(b, grad_of(b, l, REX_SLOT_POST_ATTN_NORM), b->dn, b->dx, a->o,
                  w->norm[REX_NORM_POST_ATTN], a->r_o, n, false);
        dy = b->dn;
    }
    grad_layer(b, l, REX_LIN_O, REX_SLOT_O, REX_SLOT_O_B, a->att, dy, D, b->datt, n);
    grad_attention(b, l, a, n_doc);
    rows_job j = { .b = b, .a = a, .layer = w, .n = n, .l = l };
    rex_pool_run(c->pool, (size_t)((n + ROWS - 1) / ROWS), head_rows, &j);
    if (m->s.qk_norm) {
        j.dq_norm = grad_of(b, l, REX_SLOT_Q_NORM);
        j.dk_norm = grad_of(b, l, REX_SLOT_K_NORM);
        head_norms(&j);
    }
    grad_qkv(b, l, a, n);
    grad_norm(b, grad_of(b, l, REX_SLOT_IN_NORM), b->dx, b->dn, a->x_in, w->norm[REX_NORM_IN],
              a->r1, n, true);
}

/* ---- the loss ---------------------------------------------------------------------------- */

typedef struct {
    const rex_back *b;
    const int32_t *idx, *target;
    int64_t n;
} loss_job;

static void row_statistics(void *ud, size_t item, int worker) {
    (void)worker;
    const loss_job *const j = ud;
    const rex_back *const b = j->b;
    const int64_t V = b->c->m->s.V;
    const float *const x = b->logits + (int64_t)item * V;
    const rex_lse s = b->c->m->kern.lse(x, 1.0f, V);
    b->lse[item] = rex_lse_log(s);
    b->ent[item] = rex_lse_entropy(s);
    b->logp[item] = (double)x[j->target[item]] - b->lse[item];
}

static void row_gradient(void *ud, size_t item, int worker) {
    (void)worker;
    const loss_job *const j = ud;
    const rex_back *const b = j->b;
    const int64_t V = b->c->m->s.V;
    b->c->m->kern.xent_bwd(b->logits + (int64_t)item * V, 0, V, j->target[item], b->lse[item],
                           b->ent[item], b->dlogp[item], b->dent[item]);
}

/* Rows i0 .. of the targets: logits to their gradient, to the head's, to that of the states. */
static void loss_tile(rex_back *b, const loss_job *j, int64_t i0, rex_loss_fn loss,
                      void *ud) {
    const rex_model *const m = b->c->m;
    const int64_t D = m->s.D, V = m->s.V, n = j->n;
    for (int64_t i = 0; i < n; i++)
        memcpy(b->pick + i * D, b->c->xf + (int64_t)j->idx[i] * D, (size_t)D * sizeof(float));
    const rex_gemm head = { .m = n, .n = V, .k = D, .x = b->pick, .x_row = D, .x_col = 1,
                            .w = m->head.w, .y = b->logits, .y_row = V, .y_panel = REX_PANEL,
                            .bf16 = m->bf16 };
    rex_gemm_run(&m->kern, b->c->pool, &head, 1, b->scratch, b->scratch_each);
    loss_job job = *j;
    rex_pool_run(b->c->pool, (size_t)n, row_statistics, &job);
    memset(b->dent, 0, (size_t)n * sizeof *b->dent);
    loss(ud, i0, n, b->logp, b->ent, b->dlogp, b->dent);
    rex_pool_run(b->c->pool, (size_t)n, row_gradient, &job);
    float *const dw = grad_of(b, -1, m->s.tied ? REX_SLOT_EMBED : REX_SLOT_HEAD);
    find_cuts(b, j->idx, n);
    grad_linear(b, dw, b->pick, D, D, b->logits, V, V, n);
    for (int64_t v = 0; v < V; v += WORD_TILE)
        grad_input(b, &m->head.w, v, V - v < WORD_TILE ? V - v : WORD_TILE, b->logits + v, V,
                   b->dpick, D, n, v > 0);
    for (int64_t i = 0; i < n; i++)
        memcpy(b->dx + (int64_t)j->idx[i] * D, b->dpick + i * D, (size_t)D * sizeof(float));
}

/* How many of the targets from i0 on make a tile. In bf16 a tile never ends inside a pair. */
static int64_t tile_of(const rex_back *b, const int32_t *idx, int64_t n) {
    const int32_t *const seq = b->c->seq;
    if (n <= b->tile) return n;
    int64_t from = b->tile;
    if (!b->c->m->bf16 || seq[idx[b->tile - 1]] != seq[idx[b->tile]]) return b->tile;
    while (from > 0 && seq[idx[from - 1]] == seq[idx[b->tile]]) from--;
    return b->tile - (b->tile - from) % 2;
}

/* ---- all of it --------------------------------------------------------------------------- */

/* Documents of the step: rows of one sequence, from position 0. */
static rex_status find_documents(const rex_back *b, int64_t *n_doc, rex_err *e) {
    const rex_ctx *const c = b->c;
    int64_t n = 0;
    for (int32_t i = 0; i < c->n; i++) {
        const bool begins = i == 0 || c->seq[i] != c->seq[i - 1];
        if (begins != (c->pos[i] == 0))
            return rex_fail(e, REX_EBUG, i,
                            "backward: row %d is at position %d: the step holds no whole documents",
                            i, c->pos[i]);
        if (begins) b->doc[n++] = i;
    }
    b->doc[n] = c->n;
    *n_doc = n;
    return REX_OK;
}

static void embed_channels(void *ud, size_t item, int worker) {
    (void)worker;
    const sums *const s = ud;
    const rex_model *const m = s->b->c->m;
    const int64_t d0 = (int64_t)item * ROWS, d1 = d0 + ROWS < m->s.D ? d0 + ROWS : m->s.D;
    m->kern.embed_bwd(s->y, m->s.D, s->b->dx, m->s.D, s->b->c->tok, s->n, d0, d1, m->s.embed_scale);
}

rex_status rex_back_run(rex_back *b, const int32_t *idx, const int32_t *target, int64_t n,
                        rex_loss_fn loss, void *ud, rex_err *e) {
    rex_ctx *const c = b->c;
    const rex_model *const m = c->m;
    const int64_t M = c->n, D = m->s.D;
    int64_t n_doc = 0;
    REX_TRY(find_documents(b, &n_doc, e));
    for (int64_t i = 0; i < n; i++)
        if (target[i] < 0 || target[i] >= m->s.V || idx[i] < 0 || idx[i] >= M)
            return rex_fail(e, REX_EARG, i,
                            "backward: target %d of row %d is outside the vocabulary of %lld",
                            (int)target[i], (int)idx[i], (long long)m->s.V);
    const uint64_t fp = rex_fp_enter();
    memset(b->dx, 0, (size_t)(M * D) * sizeof(float));
    for (int64_t i = 0; i < n;) {
        const loss_job j = { b, idx + i, target + i, tile_of(b, idx + i, n - i) };
        loss_tile(b, &j, i, loss, ud);
        i += j.n;
    }
    find_cuts(b, NULL, M);
    grad_norm(b, grad_of(b, -1, REX_SLOT_NORM), b->dx, b->dx, c->x_out, m->norm, c->rf, M, false);
    if (b->watch) b->watch(b->watch_ud, m->s.L);
    for (int l = m->s.L - 1; l >= 0; l--) {
        grad_block(b, l, M, n_doc);
        if (b->watch) b->watch(b->watch_ud, l);
    }
    float *const de = m->s.tied ? b->g->embed : grad_of(b, -1, REX_SLOT_EMBED);
    if (de) {
        sums s = { .b = b, .y = de, .n = M };
        rex_pool_run(c->pool, (size_t)((D + ROWS - 1) / ROWS), embed_channels, &s);
    }
    if (b->watch) b->watch(b->watch_ud, -1);
    rex_fp_leave(fp);
    return REX_OK;
}
