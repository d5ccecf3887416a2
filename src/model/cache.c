/* SPDX-License-Identifier: MIT
 *
 * cache.c: the key/value store. Memory is cut into blocks of REX_KV positions; a sequence is a list
 * of block numbers. A fork shares the full blocks before its position and copies the part of the
 * last one, so a prompt is stored once for all of its samples.
 *
 * Invariant: a block that is not full has one owner, a full block never changes while anyone refers
 * to it. Blocks of neighbouring numbers are neighbours in memory for every layer and head, so a
 * sequence whose numbers run on is one stretch (kern.h, rex_kv_seg).
 */
#include "model.h"

#include <string.h>

static size_t elem(bool bf16) { return bf16 ? 2 : 4; }

size_t rex_cache_block_bytes(const rex_shape *s, int layers, bool bf16) {
    return (size_t)layers * 2 * (size_t)s->K * (size_t)s->hd * REX_KV * elem(bf16);
}

static size_t align64(size_t n) { return (n + 63) & ~(size_t)63; }

rex_status rex_cache_open(const rex_shape *s, int layers, int seqs, int32_t per_seq, int32_t blocks,
                          bool bf16, rex_cache *c, rex_err *e) {
    *c = (rex_cache){.layers = layers, .heads = s->K, .hd = s->hd, .seqs = seqs, .per_seq = per_seq,
                     .blocks = blocks, .bf16 = bf16};
    size_t all = 0;
    REX_TRY(rex_mul_size((size_t)s->K * (size_t)s->hd * REX_KV * elem(bf16), (size_t)blocks,
                         &c->side_bytes, e));
    REX_TRY(rex_mul_size(c->side_bytes, (size_t)layers * 2, &all, e));
    const size_t n_table = (size_t)seqs * (size_t)per_seq;
    size_t at = 0, book = 0;
    book += align64(n_table * sizeof(int32_t));
    book += 2 * align64((size_t)seqs * sizeof(int32_t)) + align64((size_t)seqs);
    book += 2 * align64((size_t)blocks * sizeof(int32_t));
    c->kv = rex_mem_take(all, 1, e);
    char *b = c->kv ? rex_mem_take(book, 1, e) : NULL;
    if (!b) {
        rex_cache_close(c);
        return REX_ENOMEM;
    }
    c->table = (int32_t *)(void *)b;
    at += align64(n_table * sizeof(int32_t));
    c->len = (int32_t *)(void *)(b + at);
    at += align64((size_t)seqs * sizeof(int32_t));
    c->room = (int32_t *)(void *)(b + at);
    at += align64((size_t)seqs * sizeof(int32_t));
    c->ref = (int32_t *)(void *)(b + at);
    at += align64((size_t)blocks * sizeof(int32_t));
    c->spare = (int32_t *)(void *)(b + at);
    at += align64((size_t)blocks * sizeof(int32_t));
    c->used = (bool *)(void *)(b + at);
    rex_cache_reset(c);
    return REX_OK;
}

void rex_cache_close(rex_cache *c) {
    rex_mem_free(c->kv);
    rex_mem_free(c->table); /* the start of the book-keeping */
    *c = (rex_cache){0};
}

void rex_cache_reset(rex_cache *c) {
    memset(c->used, 0, (size_t)c->seqs);
    memset(c->ref, 0, (size_t)c->blocks * sizeof *c->ref);
    c->n_spare = c->blocks;
    for (int32_t i = 0; i < c->blocks; i++)
        c->spare[i] = c->blocks - 1 - i; /* block 0 goes first */
}

static int32_t n_blocks(int32_t len) { return (len + REX_KV - 1) / REX_KV; }

static int32_t *table(const rex_cache *c, int32_t seq) {
    return c->table + (size_t)seq * (size_t)c->per_seq;
}

static int32_t open_seq(rex_cache *c) {
    for (int32_t s = 0; s < c->seqs; s++) {
        if (c->used[s]) continue;
        c->used[s] = true;
        c->len[s] = c->room[s] = 0;
        return s;
    }
    return -1;
}

int32_t rex_seq_open(rex_ctx *ctx) { return open_seq(&ctx->cache); }

void rex_seq_close(rex_ctx *ctx, int32_t seq) {
    rex_cache *c = &ctx->cache;
    rex_assert(seq >= 0 && seq < c->seqs && c->used[seq]);
    const int32_t *t = table(c, seq);
    /* from the end, so that the stack hands the numbers out ascending again */
    for (int32_t j = c->room[seq]; j-- > 0;)
        if (--c->ref[t[j]] == 0) c->spare[c->n_spare++] = t[j];
    c->used[seq] = false;
}

int32_t rex_seq_len(const rex_ctx *ctx, int32_t seq) {
    rex_assert(seq >= 0 && seq < ctx->cache.seqs && ctx->cache.used[seq]);
    return ctx->cache.len[seq];
}

static int32_t take_block(rex_cache *c) {
    const int32_t b = c->spare[--c->n_spare];
    c->ref[b] = 1;
    return b;
}

static bool reserve(rex_cache *c, int32_t seq, int32_t len) {
    const int32_t want = n_blocks(len);
    if (want <= c->room[seq]) return true;
    if (want > c->per_seq || want - c->room[seq] > c->n_spare) return false;
    int32_t *t = table(c, seq);
    while (c->room[seq] < want) t[c->room[seq]++] = take_block(c);
    return true;
}

bool rex_seq_reserve(rex_ctx *ctx, int32_t seq, int32_t len) {
    rex_assert(seq >= 0 && seq < ctx->cache.seqs && ctx->cache.used[seq]);
    return reserve(&ctx->cache, seq, len);
}

int32_t rex_ctx_blocks(int32_t len, int32_t shared) { return n_blocks(len) - shared / REX_KV; }

int32_t rex_ctx_free(const rex_ctx *ctx) { return ctx->cache.n_spare; }

/* One block, keys and values of every layer and head. */
static void copy_block(const rex_cache *c, int32_t to, int32_t from) {
    const size_t one = (size_t)c->hd * REX_KV * elem(c->bf16);
    for (int side = 0; side < 2 * c->layers; side++) {
        char *base = c->kv + (size_t)side * c->side_bytes;
        for (int h = 0; h < c->heads; h++, base += one * (size_t)c->blocks)
            memcpy(base + one * (size_t)to, base + one * (size_t)from, one);
    }
}

int32_t rex_seq_fork(rex_ctx *ctx, int32_t seq, int32_t len) {
    rex_cache *c = &ctx->cache;
    rex_assert(seq >= 0 && seq < c->seqs && c->used[seq] && len >= 0 && len <= c->len[seq]);
    const int32_t full = len / REX_KV;
    const bool part = len % REX_KV != 0;
    if (part && c->n_spare < 1) return -1;
    const int32_t s = open_seq(c);
    if (s < 0) return -1;
    const int32_t *from = table(c, seq);
    int32_t *to = table(c, s);
    for (int32_t j = 0; j < full; j++) {
        to[j] = from[j];
        c->ref[to[j]]++;
    }
    if (part) {
        to[full] = take_block(c);
        copy_block(c, to[full], from[full]);
    }
    c->room[s] = full + part;
    c->len[s] = len;
    return s;
}

int32_t rex_cache_segs(const rex_cache *c, int32_t seq, int32_t len, rex_kv_seg *out) {
    const int32_t *t = table(c, seq);
    const int64_t head = (int64_t)c->blocks * c->hd * REX_KV;
    const size_t one = (size_t)c->hd * REX_KV * elem(c->bf16);
    int32_t n = 0;
    for (int32_t j = 0; j * REX_KV < len; j++) {
        const int32_t left = len - j * REX_KV;
        const int32_t here = left < REX_KV ? left : REX_KV;
        if (n > 0 && t[j] == t[j - 1] + 1 && c->ref[t[j]] == c->ref[t[j - 1]]) {
            out[n - 1].n += here;
            continue;
        }
        const char *k = c->kv + one * (size_t)t[j];
        out[n++] = (rex_kv_seg){.k = k, .v = k + c->side_bytes, .k_head = head, .v_head = head,
                                .pos0 = j * REX_KV, .n = here};
    }
    return n;
}
