/* SPDX-License-Identifier: MIT
 *
 * share.c: see share.h. Parameters fall into buckets, one per layer and one for the rest of each
 * end, in the order in which the backward pass completes them. Every rank owns about the same share
 * of every bucket, so that all receive at the same time whatever the pass has reached. Chunks of
 * one owner that lie side by side in the slab travel as one message.
 */
#include "share.h"

#include <string.h>

enum { SUM = 8192, LEVELS = 32 }; /* floats of one round of a sum */

typedef struct {
    size_t at, n; /* of the slab */
    size_t in;    /* where the parts of other ranks are kept, in one rank's piece of `in` */
    int owner, bucket;
} range;

/* One of this rank's ranges: its parts from all ranks, and their sum when all are there. */
typedef struct {
    rex_flow flow;
    rex_share *s;
    const range *r;
} arrival;

struct rex_share {
    rex_grads *g;
    rex_dist *d;
    bool exact;
    int rank, size, n_bucket;
    int64_t docs, leaves;         /* leaves: docs, padded to a power of two */
    rex_slab_span *span, *own;    /* owned; all of them, and this rank's */
    size_t n_span, n_own, n_chunk;
    range *range;                 /* owned */
    size_t n_range;
    arrival *arrival;             /* owned; n_arrival, by bucket from the first to complete */
    size_t n_arrival;
    size_t own_floats, bytes;
    float *in;                    /* owned; (size - 1, own_floats) */
    rex_flow sent;                /* of gradients, in this step */
    rex_flow weights;
    rex_status bad;               /* of a watcher or a span, who cannot return one */
    rex_err why;
    float *level[LEVELS];         /* owned; sums of the tree that wait for their right half */
    bool full[LEVELS];
    size_t *at;                   /* owned; size + 1 */
    double *number;               /* owned */
    size_t asked;                 /* moments handed out since the last save began */
};

/* ---- who owns what ----------------------------------------------------------------------- */

static int bucket_of(const rex_grads *g, size_t i) {
    const rex_param *const p = &g->param[i];
    if (p->layer >= 0) return g->m->s.L - p->layer;
    return p->slot == REX_SLOT_EMBED ? g->m->s.L + 1 : 0;
}

static size_t chunks_of(const rex_grads *g, size_t i) {
    return (rex_grads_size(g, i) + REX_CHUNK - 1) / REX_CHUNK;
}

/* Spans in the order of the slab: chunks of one parameter and owner. */
static rex_status make_spans(rex_share *s, rex_err *e) {
    const rex_grads *const g = s->g;
    size_t *const total = rex_mem_take((size_t)s->n_bucket * 2, sizeof *total, e);
    if (!total) return REX_ENOMEM;
    size_t *const before = total + s->n_bucket;
    for (size_t i = 0; i < g->n; i++) {
        total[bucket_of(g, i)] += rex_grads_size(g, i);
        s->n_chunk += chunks_of(g, i);
    }
    s->span = rex_mem_take(s->n_chunk + 1, sizeof *s->span, e);
    s->own = s->span ? rex_mem_take(s->n_chunk + 1, sizeof *s->own, e) : NULL;
    size_t chunk = 0;
    for (size_t i = 0; i < g->n && s->own; i++) {
        const int b = bucket_of(g, i);
        const size_t end = g->off[i] + rex_grads_size(g, i);
        for (size_t at = g->off[i]; at < end; at += REX_CHUNK, chunk++) {
            const size_t left = end - at, n = left < REX_CHUNK ? left : REX_CHUNK;
            const int owner = (int)((double)s->size * ((double)before[b] + 0.5 * (double)n) /
                                    (double)total[b]);
            before[b] += n;
            rex_slab_span *const last = s->n_span ? &s->span[s->n_span - 1] : NULL;
            if (last && last->param == i && last->owner == owner) last->n += n;
            else
                s->span[s->n_span++] = (rex_slab_span){
                    .param = i, .at = at, .n = n, .chunk = chunk, .owner = owner, .bucket = b};
        }
    }
    for (size_t i = 0; i < s->n_span && s->own; i++) {
        if (s->span[i].owner == s->rank) s->own[s->n_own++] = s->span[i];
    }
    rex_mem_free(total);
    return s->own ? REX_OK : REX_ENOMEM;
}

static rex_status make_ranges(rex_share *s, rex_err *e) {
    s->range = rex_mem_take(s->n_span + 1, sizeof *s->range, e);
    s->arrival = s->range ? rex_mem_take(s->n_span + 1, sizeof *s->arrival, e) : NULL;
    if (!s->arrival) return REX_ENOMEM;
    for (size_t i = 0; i < s->n_span; i++) {
        const rex_slab_span *const p = &s->span[i];
        range *const last = s->n_range ? &s->range[s->n_range - 1] : NULL;
        /* between parameters there may be some padding, which travels along */
        if (last && last->owner == p->owner && last->bucket == p->bucket &&
            p->at - (last->at + last->n) < 16)
            last->n = p->at + p->n - last->at;
        else
            s->range[s->n_range++] = (range){ .at = p->at, .n = p->n, .owner = p->owner,
                                              .bucket = p->bucket };
    }
    for (size_t i = 0; i < s->n_range; i++) {
        if (s->range[i].owner != s->rank) continue;
        s->range[i].in = s->own_floats;
        s->own_floats += s->range[i].n;
    }
    for (int b = 0; b < s->n_bucket; b++)
        for (size_t i = 0; i < s->n_range; i++)
            if (s->range[i].bucket == b && s->range[i].owner == s->rank)
                s->arrival[s->n_arrival++] = (arrival){ .s = s, .r = &s->range[i] };
    return REX_OK;
}

/* ---- open -------------------------------------------------------------------------------- */

static rex_status check(rex_share *s, rex_err *e) {
    if (s->exact && (s->size & (s->size - 1)) != 0)
        return rex_fail(e, REX_EARG, -1,
                        "--exact adds in pairs: it takes 1, 2, 4, 8 ... ranks, not %d", s->size);
    if (s->size > s->docs)
        return rex_fail(e, REX_EARG, -1,
                        "%d ranks cannot share a step of %lld documents: --seqs must be at least "
                        "as large",
                        s->size, (long long)s->docs);
    return REX_OK;
}

static rex_status take_memory(rex_share *s, rex_err *e) {
    const size_t floats = s->g->off[s->g->n];
    if (s->size > 1) {
        const size_t n = s->own_floats * (size_t)(s->size - 1);
        s->in = rex_mem_take(n + 1, sizeof *s->in, e);
        if (!s->in) return REX_ENOMEM;
        s->bytes += n * sizeof *s->in;
    }
    const int64_t mine = s->leaves / s->size;
    for (int k = 0; s->exact && (int64_t)1 << k < mine; k++) {
        s->level[k] = rex_mem_take(floats, sizeof(float), e);
        if (!s->level[k]) return REX_ENOMEM;
        s->bytes += floats * sizeof(float);
    }
    s->at = rex_mem_take((size_t)s->size + 1, sizeof *s->at, e);
    s->number = s->at ? rex_mem_take(s->n_chunk + (size_t)(s->docs + 8 * s->size),
                                     sizeof *s->number, e) : NULL;
    return s->number ? REX_OK : REX_ENOMEM;
}

rex_status rex_share_open(rex_grads *g, rex_dist *d, bool exact, int64_t docs, rex_share **out,
                          rex_err *e) {
    rex_share *const s = rex_mem_take(1, sizeof *s, e);
    *out = NULL;
    if (!s) return REX_ENOMEM;
    s->g = g;
    s->d = d;
    s->exact = exact;
    s->rank = rex_dist_rank(d);
    s->size = rex_dist_size(d);
    s->docs = docs;
    s->leaves = 1;
    while (s->leaves < docs) s->leaves *= 2;
    s->n_bucket = g->m->s.L + 2;
    rex_status st = check(s, e);
    if (st == REX_OK) st = make_spans(s, e);
    if (st == REX_OK) st = make_ranges(s, e);
    if (st == REX_OK) st = take_memory(s, e);
    if (st != REX_OK) {
        rex_share_close(s);
        return st;
    }
    *out = s;
    return REX_OK;
}

void rex_share_close(rex_share *s) {
    if (!s) return;
    for (int k = 0; k < LEVELS; k++) rex_mem_free(s->level[k]);
    rex_mem_free(s->span);
    rex_mem_free(s->own);
    rex_mem_free(s->range);
    rex_mem_free(s->arrival);
    rex_mem_free(s->in);
    rex_mem_free(s->at);
    rex_mem_free(s->number);
    rex_mem_free(s);
}

size_t rex_share_bytes(const rex_share *s) {
    return s->bytes;
}

const rex_slab_span *rex_share_spans(const rex_share *s, size_t *n) {
    *n = s->n_own;
    return s->own;
}

void rex_share_range(const rex_share *s, int rank, int64_t *lo, int64_t *hi) {
    const int64_t n = s->exact ? s->leaves : s->docs;
    *lo = n * rank / s->size;
    *hi = n * (rank + 1) / s->size;
    if (*lo > s->docs) *lo = s->docs;
    if (*hi > s->docs) *hi = s->docs;
}

/* Whether a rank has any document of a step, and with it a gradient to send. */
static bool takes_part(const rex_share *s, int rank) {
    int64_t lo, hi;
    rex_share_range(s, rank, &lo, &hi);
    return lo < hi;
}

/* ---- sums -------------------------------------------------------------------------------- */

static void add_to(float *restrict y, const float *restrict x, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] += x[i];
}

/* The part of rank r of one of this rank's ranges. */
static float *part_of(const rex_share *s, const range *g, int r) {
    if (r == s->rank) return s->g->grad + g->at;
    return s->in + (size_t)(r < s->rank ? r : r - 1) * s->own_floats + g->in;
}

/* All parts of a range are there: their sum into the slab, in the order of ranks or by the tree.
 * Parts are left changed. */
static void sum_range(void *ud) {
    const arrival *const a = ud;
    const rex_share *const s = a->s;
    float *const first = part_of(s, a->r, 0), *const own = part_of(s, a->r, s->rank);
    for (size_t i = 0; i < a->r->n; i += SUM) {
        const size_t n = a->r->n - i < SUM ? a->r->n - i : SUM;
        for (int gap = 1; s->exact && gap < s->size; gap *= 2)
            for (int r = 0; r + gap < s->size; r += 2 * gap)
                if (takes_part(s, r + gap))
                    add_to(part_of(s, a->r, r) + i, part_of(s, a->r, r + gap) + i, n);
        for (int r = 1; !s->exact && r < s->size; r++)
            add_to(first + i, part_of(s, a->r, r) + i, n);
        if (first != own) memcpy(own + i, first + i, n * sizeof *own);
    }
}

rex_status rex_share_begin(rex_share *s, rex_err *e) {
    memset(s->full, 0, sizeof s->full);
    s->bad = REX_OK;
    if (s->size == 1) return REX_OK;
    rex_flow_begin(s->d, &s->sent, NULL, NULL);
    for (size_t i = 0; i < s->n_arrival; i++)
        rex_flow_begin(s->d, &s->arrival[i].flow, sum_range, &s->arrival[i]);
    for (size_t i = 0; i < s->n_arrival; i++) {
        arrival *const a = &s->arrival[i];
        for (int r = 0; r < s->size; r++)
            if (r != s->rank && takes_part(s, r))
                REX_TRY(rex_flow_recv(s->d, &a->flow, r, part_of(s, a->r, r),
                                      a->r->n * sizeof(float), e));
    }
    return REX_OK;
}

/* The gradients of a bucket are complete: off they go, and the own ones are there. */
static rex_status send_bucket(rex_share *s, int bucket, rex_err *e) {
    for (size_t i = 0; i < s->n_range && takes_part(s, s->rank); i++) {
        const range *const r = &s->range[i];
        if (r->bucket == bucket && r->owner != s->rank)
            REX_TRY(rex_flow_send(s->d, &s->sent, r->owner, s->g->grad + r->at,
                                  r->n * sizeof(float), e));
    }
    for (size_t i = 0; i < s->n_arrival; i++)
        if (s->arrival[i].r->bucket == bucket) rex_flow_end(s->d, &s->arrival[i].flow);
    return REX_OK;
}

void rex_share_layer(void *share, int layer) {
    rex_share *const s = share;
    /* What is left at the end (a tied embedding's two gradients) is joined first, by the caller. */
    if (s->size == 1 || layer < 0 || s->bad != REX_OK) return;
    s->bad = send_bucket(s, s->g->m->s.L - layer, &s->why);
}

/* ---- the tree within a rank -------------------------------------------------------------- */

typedef struct {
    float *y;
    const float *x;
    size_t n;
} sweep;

static void add_piece(void *ud, size_t item, int worker) {
    (void)worker;
    const sweep *const s = ud;
    const size_t at = item * REX_CHUNK, n = s->n - at < REX_CHUNK ? s->n - at : REX_CHUNK;
    add_to(s->y + at, s->x + at, n);
}

/* slab = left half (of level k) + slab */
static void join(rex_share *s, int k, rex_pool *pool) {
    sweep w = { s->level[k], s->g->grad, s->g->off[s->g->n] };
    rex_pool_run(pool, (w.n + REX_CHUNK - 1) / REX_CHUNK, add_piece, &w);
    float *const sum = s->level[k]; /* the two change places, so nothing is copied */
    s->level[k] = s->g->grad;
    s->g->grad = sum;
    s->full[k] = false;
}

void rex_share_leaf(rex_share *s, int64_t i, rex_pool *pool) {
    int64_t lo, hi;
    rex_share_range(s, s->rank, &lo, &hi);
    int k = 0;
    for (; i >> k & 1; k++) join(s, k, pool);
    if (i + 1 < hi - lo) { /* a left half: it waits for its right one */
        float *const room = s->level[k];
        s->level[k] = s->g->grad;
        s->g->grad = room;
        s->full[k] = true;
        return;
    }
    for (; k < LEVELS; k++) /* the last one: what is missing on its right is padding */
        if (s->full[k]) join(s, k, pool);
}

rex_status rex_share_sum(rex_share *s, rex_pool *pool, rex_err *e) {
    if (!s->exact) rex_grads_finish(s->g, pool);
    if (s->size == 1) return REX_OK;
    for (int b = s->exact ? 0 : s->n_bucket - 1; b < s->n_bucket && s->bad == REX_OK; b++)
        s->bad = send_bucket(s, b, &s->why);
    rex_flow_end(s->d, &s->sent);
    if (s->bad != REX_OK) return rex_fail(e, s->bad, -1, "%s", s->why.text);
    for (size_t i = 0; i < s->n_arrival; i++) REX_TRY(rex_flow_wait(s->d, &s->arrival[i].flow, e));
    return rex_flow_wait(s->d, &s->sent, e);
}

/* ---- numbers and weights ----------------------------------------------------------------- */

rex_status rex_share_numbers(rex_share *s, rex_optim *p, const double *mine, const size_t *n,
                             double *all, rex_err *e) {
    double *x = s->number;
    s->at[0] = 0;
    for (int r = 0; r < s->size; r++) {
        size_t count = n[r];
        for (size_t i = 0; i < s->n_span; i++)
            if (s->span[i].owner == r) count += (s->span[i].n + REX_CHUNK - 1) / REX_CHUNK;
        s->at[r + 1] = s->at[r] + count * sizeof *x;
        rex_assert(s->at[r + 1] / sizeof *x <= s->n_chunk + (size_t)(s->docs + 8 * s->size));
    }
    x += s->at[s->rank] / sizeof *x;
    memcpy(x, mine, n[s->rank] * sizeof *x);
    x += n[s->rank];
    for (size_t i = 0; i < s->n_own; i++) {
        const size_t count = (s->own[i].n + REX_CHUNK - 1) / REX_CHUNK;
        memcpy(x, p->part + s->own[i].chunk, count * sizeof *x);
        x += count;
    }
    REX_TRY(rex_dist_share(s->d, s->number, s->at, e));
    for (int r = 0; r < s->size; r++) {
        const double *from = s->number + s->at[r] / sizeof *from;
        memcpy(all, from, n[r] * sizeof *all);
        all += n[r];
        from += n[r];
        for (size_t i = 0; i < s->n_span; i++) {
            if (s->span[i].owner != r) continue;
            const size_t count = (s->span[i].n + REX_CHUNK - 1) / REX_CHUNK;
            memcpy(p->part + s->span[i].chunk, from, count * sizeof *from);
            from += count;
        }
    }
    return REX_OK;
}

static float *weights_of(const rex_share *s, const rex_slab_span *p) {
    return rex_grads_weights(s->g, p->param) + (p->at - s->g->off[p->param]);
}

static void send_weights(void *ud, const rex_slab_span *p) {
    rex_share *const s = ud;
    for (int r = 0; r < s->size && s->bad == REX_OK; r++)
        if (r != s->rank)
            s->bad = rex_flow_send(s->d, &s->weights, r, weights_of(s, p), p->n * sizeof(float),
                                   &s->why);
}

rex_status rex_share_update(rex_share *s, rex_optim *p, rex_pool *pool, double norm, rex_err *e) {
    rex_status st = REX_OK;
    if (s->size > 1) {
        rex_flow_begin(s->d, &s->weights, NULL, NULL);
        for (size_t i = 0; i < s->n_span && st == REX_OK; i++)
            if (s->span[i].owner != s->rank)
                st = rex_flow_recv(s->d, &s->weights, s->span[i].owner, weights_of(s, &s->span[i]),
                                   s->span[i].n * sizeof(float), e);
    }
    rex_optim_update(p, pool, norm, s->size > 1 ? send_weights : NULL, s);
    if (s->size > 1) {
        rex_flow_end(s->d, &s->weights);
        if (st == REX_OK && s->bad != REX_OK) st = rex_fail(e, s->bad, -1, "%s", s->why.text);
        if (st == REX_OK) st = rex_flow_wait(s->d, &s->weights, e);
    }
    rex_grads_follow(s->g, pool);
    return st;
}

/* ---- moments ----------------------------------------------------------------------------- */

/* Where the moments of a span of this rank lie. */
static char *own_moments(const rex_optim *p, size_t at, int which, size_t each) {
    for (size_t i = 0; i < p->n_span; i++)
        if (p->span[i].at == at) return (char *)(which ? p->v : p->m) + p->span[i].state * each;
    rex_assert(!"a span of this rank");
    return NULL;
}

rex_status rex_share_moments(rex_share *s, const rex_optim *p, size_t param, int which, void *out,
                             rex_err *e) {
    const size_t each = p->o.state == REX_K_F32 ? 4 : 2;
    rex_flow f;
    rex_status st = REX_OK;
    s->asked++;
    if (s->size > 1) rex_flow_begin(s->d, &f, NULL, NULL);
    for (size_t i = 0; i < s->n_span && st == REX_OK; i++) {
        const rex_slab_span *const q = &s->span[i];
        if (q->param != param) continue;
        char *const to = (char *)out + (q->at - s->g->off[param]) * each;
        if (q->owner == s->rank) memcpy(to, own_moments(p, q->at, which, each), q->n * each);
        else st = rex_flow_recv(s->d, &f, q->owner, to, q->n * each, e);
    }
    if (s->size == 1) return st;
    rex_flow_end(s->d, &f);
    if (st == REX_OK) return rex_flow_wait(s->d, &f, e);
    rex_dist_fail(s->d, st, e);
    return st;
}

rex_status rex_share_drain(rex_share *s, const rex_optim *p, rex_err *e) {
    const rex_grads *const g = s->g;
    size_t largest = 0, k = 0;
    rex_status st = REX_OK;
    for (size_t i = 0; i < g->n; i++)
        if (g->off[i + 1] - g->off[i] > largest) largest = g->off[i + 1] - g->off[i];
    void *rest = NULL;
    for (size_t i = 0; i < g->n && s->size > 1 && st == REX_OK; i++)
        for (int which = 0; which < 2 && g->train[i] && st == REX_OK; which++, k++) {
            if (k < s->asked) continue;
            if (!rest) rest = rex_mem_take(largest, sizeof(float), e);
            st = rest ? rex_share_moments(s, p, i, which, rest, e) : REX_ENOMEM;
        }
    rex_mem_free(rest);
    s->asked = 0;
    return st;
}

rex_status rex_share_serve(rex_share *s, const rex_optim *p, rex_err *e) {
    const size_t each = p->o.state == REX_K_F32 ? 4 : 2;
    rex_flow f;
    rex_status st = REX_OK;
    rex_flow_begin(s->d, &f, NULL, NULL);
    for (size_t i = 0; i < s->g->n; i++)
        for (int which = 0; which < 2; which++)
            for (size_t k = 0; k < s->n_own && st == REX_OK; k++)
                if (s->own[k].param == i)
                    st = rex_flow_send(s->d, &f, 0, own_moments(p, s->own[k].at, which, each),
                                       s->own[k].n * each, e);
    rex_flow_end(s->d, &f);
    if (st == REX_OK) return rex_flow_wait(s->d, &f, e);
    rex_dist_fail(s->d, st, e);
    return st;
}
