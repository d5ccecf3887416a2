/* SPDX-License-Identifier: MIT
 *
 * ctx.c: the size plan of a context. Every buffer is one line of a list that is walked twice, once
 * to sum up and once to hand out, so that the plan and the memory cannot disagree. Nothing is
 * allocated after open.
 */
#include "adapter.h"

#include <stdio.h>
#include <string.h>

void rex_ctx_defaults(rex_ctx_opts *o) {
    *o = (rex_ctx_opts){
        .rows = 256, .seqs = 1, .per_seq = 0, .cache = 0, .logit_rows = 1, .tap = -1};
}

/* One walk over the slab: `base` NULL sums up. */
typedef struct {
    char *base;
    size_t at;
} slab;

static void *piece(slab *s, int64_t count, size_t size) {
    void *p = s->base ? s->base + s->at : NULL;
    s->at += ((size_t)count * size + 63) & ~(size_t)63;
    return p;
}

static float *floats(slab *s, int64_t rows, int64_t width) {
    return piece(s, rows * width, sizeof(float));
}

/* `x`: no layer keeps anything, the stream lies there. `whole`: a set whose xn1, xn2 and act serve
 * all layers, in bf16 compute also gu, att and qkv; NULL for that set itself. */
static void acts_of_layer(const rex_ctx *c, slab *s, rex_acts *a, float *x, const rex_acts *whole) {
    const rex_shape *h = &c->m->s;
    const int64_t R = c->o.rows, D = h->D;
    const int64_t A = (int64_t)h->H * h->hd, W = A + 2 * (int64_t)h->K * h->hd;
    const bool half = whole && c->m->bf16;
    *a = (rex_acts){0};
    a->x_in = x ? x : floats(s, R, D);
    a->xn1 = whole ? whole->xn1 : floats(s, R, D);
    a->r1 = floats(s, R, 1);
    a->qkv = half ? whole->qkv : floats(s, R, W);
    a->raw = h->qk_norm && c->o.keep ? floats(s, R, W) : a->qkv;
    a->rq = h->qk_norm ? floats(s, R, h->H + h->K) : NULL;
    a->att = half ? whole->att : floats(s, R, A);
    a->x_mid = floats(s, R, D); /* not x: a product reads what it adds after it has written */
    a->xn2 = whole ? whole->xn2 : x ? a->xn1 : floats(s, R, D);
    a->r2 = x ? a->r1 : floats(s, R, 1);
    if (h->sandwich) {
        a->o = floats(s, R, D);
        a->down = x ? a->o : floats(s, R, D);
        a->r_o = floats(s, R, 1);
        a->r_d = x ? a->r_o : floats(s, R, 1);
    }
    a->gu = half ? whole->gu : floats(s, R, 2 * h->F);
    a->act = whole ? whole->act : floats(s, R, h->F);
    if (half) a->half = piece(s, R * (2 * h->F + A + W), sizeof *a->half);
}

/* One whole set; it is the last layer's, and that of the layers that are computed again but for
 * what enters them. */
static void acts_kept(const rex_ctx *c, slab *s) {
    const int L = c->m->s.L;
    rex_acts whole, other;
    acts_of_layer(c, s, &whole, NULL, NULL);
    for (int l = 0; l < L; l++) {
        other = whole;
        if (l < c->o.redo) other.x_in = floats(s, c->o.rows, c->m->s.D);
        else if (l + 1 < L) acts_of_layer(c, s, &other, NULL, &whole);
        if (s->base) c->act[l] = other;
    }
}

static size_t lay_out(rex_ctx *c, char *base) {
    slab s = {base, 0};
    const rex_shape *h = &c->m->s;
    const int64_t R = c->o.rows;
    c->act = piece(&s, h->L, sizeof *c->act);
    rex_acts dummy;
    if (c->o.keep) {
        acts_kept(c, &s);
        c->x_out = floats(&s, R, h->D);
    } else {
        c->x_out = floats(&s, R, h->D);
        const size_t here = s.at;
        /* summing up, x_out is NULL, too: any other address tells that the stream is shared */
        acts_of_layer(c, &s, base ? &c->act[0] : &dummy, base ? c->x_out : (float *)(void *)&dummy,
                      NULL);
        rex_assert(s.at > here);
        for (int l = 1; base && l < h->L; l++) c->act[l] = c->act[0];
    }
    c->xf = floats(&s, R, h->D);
    c->rf = floats(&s, R, 1);
    c->tap = c->o.tap < 0 ? NULL : floats(&s, R, h->D);
    c->logits = floats(&s, c->o.logit_rows, h->V);
    c->pick = floats(&s, c->o.logit_rows, h->D);
    c->low = c->m->adapter ? floats(&s, 3 * R, c->m->adapter->rank) : NULL;
    for (int i = 0; i < 2; i++) {
        if (i == 1 && h->window <= 0) {
            c->cos[1] = c->cos[0];
            c->sin[1] = c->sin[0];
            break;
        }
        c->cos[i] = floats(&s, c->o.per_seq, h->rot / 2);
        c->sin[i] = floats(&s, c->o.per_seq, h->rot / 2);
    }
    c->tok = piece(&s, R, sizeof *c->tok);
    c->pos = piece(&s, R, sizeof *c->pos);
    c->seq = piece(&s, R, sizeof *c->seq);
    c->arow = piece(&s, R, sizeof *c->arow);
    c->seg =
        piece(&s, (int64_t)c->o.seqs * (rex_ctx_blocks((int32_t)c->o.per_seq, 0)), sizeof *c->seg);
    c->n_seg = piece(&s, c->o.seqs, sizeof *c->n_seg);
    const size_t attn = rex_attn_scratch_for(h->H, h->K, h->hd, c->o.per_seq);
    c->scratch_each = attn > REX_GEMM_SCRATCH ? attn : REX_GEMM_SCRATCH;
    if (c->o.keep) { /* the backward pass works in the same memory */
        const size_t grad = rex_attn_grad_scratch(h->H, h->K, h->hd, c->o.per_seq);
        if (grad > c->scratch_each) c->scratch_each = grad;
    }
    c->scratch_each = (c->scratch_each + 63) & ~(size_t)63;
    c->scratch = piece(&s, c->pool ? rex_pool_size(c->pool) : 1, c->scratch_each);
    return s.at;
}

/* Options with the open ends filled in. */
static rex_ctx_opts complete(const rex_model *m, const rex_ctx_opts *o) {
    rex_ctx_opts r = *o;
    if (r.per_seq <= 0 || r.per_seq > m->s.ctx) r.per_seq = m->s.ctx;
    if (r.cache < r.per_seq) r.cache = r.per_seq;
    return r;
}

static int64_t cache_blocks(const rex_ctx_opts *o) {
    return o->cache / REX_KV + (o->cache % REX_KV != 0);
}

/* What backward needs of keys and values is kept with the activations. */
static int cache_layers(const rex_model *m, const rex_ctx_opts *o) { return o->keep ? 1 : m->s.L; }

size_t rex_ctx_plan(const rex_model *m, const rex_pool *pool, const rex_ctx_opts *o,
                    size_t *cache_bytes) {
    rex_ctx c = {.m = m, .pool = (rex_pool *)(uintptr_t)pool, .o = complete(m, o)};
    const size_t kv = rex_cache_block_bytes(&m->s, cache_layers(m, &c.o), c.o.kv_bf16) *
                      (size_t)cache_blocks(&c.o);
    if (cache_bytes) *cache_bytes = kv;
    return lay_out(&c, NULL) + kv;
}

static rex_status too_much(const rex_ctx *c, size_t need, size_t kv, size_t have, rex_err *e) {
    char had[64] = "";
    if (have != SIZE_MAX) snprintf(had, sizeof had, ", %zu MiB are free", have >> 20);
    return rex_fail(
        e, REX_ENOMEM, -1,
        "running this model needs %zu MiB%s: %zu MiB cache for %lld positions, %zu MiB for steps "
        "of %d tokens; lower the batch, max-tokens, the chunk or the context, or keep the cache "
        "in bf16",
        need >> 20, had, kv >> 20, (long long)c->o.cache, (need - kv) >> 20, c->o.rows);
}

rex_status rex_ctx_open(const rex_model *m, rex_pool *pool, const rex_ctx_opts *o, rex_ctx **out,
                        rex_err *e) {
    *out = NULL;
    rex_assert(o->rows > 0 && o->seqs > 0 && o->logit_rows >= 0 && m->head.w.data);
    if (o->tap < -1 || o->tap > m->s.L)
        return rex_fail(e, REX_EARG, -1,
                        "layer %d does not exist: 0 is the embeddings, 1 to %d the blocks, "
                        "-1 the state after the final norm",
                        o->tap, m->s.L);
    if (o->per_seq > m->s.ctx)
        return rex_fail(e, REX_EARG, -1,
                        "%lld positions asked for, the model has a context of %lld",
                        (long long)o->per_seq, (long long)m->s.ctx);
    size_t kv = 0;
    rex_ctx *c = rex_mem_take(1, sizeof *c, e);
    if (!c) return REX_ENOMEM;
    c->m = m;
    c->pool = pool;
    c->o = complete(m, o);
    c->bytes = rex_ctx_plan(m, pool, o, &kv);
    const size_t have = rex_mem_available();
    const bool fits = c->bytes <= have && cache_blocks(&c->o) <= INT32_MAX;
    rex_status st = !fits ? too_much(c, c->bytes, kv, have, e) : REX_OK;
    if (st == REX_OK) {
        st = rex_cache_open(&m->s, cache_layers(m, &c->o), c->o.seqs,
                            rex_ctx_blocks((int32_t)c->o.per_seq, 0), (int32_t)cache_blocks(&c->o),
                            c->o.kv_bf16, &c->cache, e);
        const size_t n = lay_out(c, NULL);
        if (st == REX_OK && !(c->slab = rex_mem_take(n, 1, e))) st = REX_ENOMEM;
        if (st == REX_ENOMEM) st = too_much(c, c->bytes, kv, have, e);
    }
    if (st != REX_OK) {
        rex_ctx_close(c);
        return st;
    }
    lay_out(c, c->slab);
    const uint64_t fp = rex_fp_enter();
    for (int i = 0; i < (m->s.window > 0 ? 2 : 1); i++)
        rex_rope_table(&m->s.rope[i], m->s.rot, c->o.per_seq, c->cos[i], c->sin[i]);
    rex_fp_leave(fp);
    *out = c;
    return REX_OK;
}

void rex_ctx_close(rex_ctx *c) {
    if (!c) return;
    rex_cache_close(&c->cache);
    rex_mem_free(c->slab);
    rex_mem_free(c);
}
