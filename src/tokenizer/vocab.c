/* SPDX-License-Identifier: MIT
 *
 * vocab: from bytes to ids and from a pair of ids to what they merge into.
 *
 * Both tables are flat, open addressing with linear probes, a power of two of slots at most half
 * full, written while loading and only read afterwards. An entry of the first holds the upper half
 * of the hash, so that a probe rarely touches a piece that is not the one; an entry of the second
 * holds the whole pair.
 */
#include "tok.h"

#include <string.h>

__extension__ typedef unsigned __int128 u128;

#define MIX_A UINT64_C(0x9E3779B97F4A7C15)
#define MIX_B UINT64_C(0xD1B54A32D192ED03)

/* Folds the 128-bit product: every bit of the input reaches every bit of the result. */
static inline uint64_t fold(uint64_t a, uint64_t b) {
    const u128 p = (u128)a * b;
    return (uint64_t)p ^ (uint64_t)(p >> 64);
}

static inline uint64_t load8(const uint8_t *p) {
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline uint64_t load_part(const uint8_t *p, size_t n) { /* 1 <= n <= 8 */
    if (n >= 4) {
        uint32_t a, b;
        memcpy(&a, p, 4);
        memcpy(&b, p + n - 4, 4);
        return (uint64_t)b << 32 | a;
    }
    return (uint64_t)p[n - 1] << 16 | (uint64_t)p[n >> 1] << 8 | p[0];
}

static inline uint64_t hash_bytes(const uint8_t *p, size_t n) {
    uint64_t h = MIX_B ^ n;
    for (; n > 16; p += 16, n -= 16) h = fold(load8(p) ^ h, load8(p + 8) ^ MIX_A);
    if (n > 8) return fold(load8(p) ^ h, load8(p + n - 8) ^ MIX_A);
    return n ? fold(load_part(p, n) ^ h, MIX_A) : fold(h, MIX_A);
}

static uint64_t table_size(size_t n) {
    uint64_t m = 64;
    while (m < 2 * (uint64_t)n) m *= 2;
    return m;
}

/* ---- bytes to ids
 * ----------------------------------------------------------------------------------- */

int32_t rex_vocab_find(const rex_tok *t, const uint8_t *p, size_t n) {
    const uint64_t h = hash_bytes(p, n);
    for (uint64_t i = h & t->slot_mask;; i = (i + 1) & t->slot_mask) {
        const uint64_t s = t->slot[i];
        if (s == 0) return -1;
        if ((s ^ h) >> 32) continue;
        const int32_t id = (int32_t)((uint32_t)s - 1);
        if (t->raw[id].n == n && memcmp(t->raw[id].p, p, n) == 0) return id;
    }
}

static rex_status slot_put(rex_tok *t, int32_t id, const char *what, rex_err *e) {
    const uint64_t h = hash_bytes((const uint8_t *)t->raw[id].p, t->raw[id].n);
    uint64_t i = h & t->slot_mask;
    for (; t->slot[i]; i = (i + 1) & t->slot_mask) {
        if ((t->slot[i] ^ h) >> 32) continue;
        const int32_t other = (int32_t)((uint32_t)t->slot[i] - 1);
        if (rex_str_eq(t->raw[other], t->raw[id]))
            return rex_fail(e, REX_EFORMAT, id, "%s: ids %d and %d both stand for \"%.*s\"", what,
                            other, id, (int)(t->piece[id].n < 64 ? t->piece[id].n : 64),
                            t->piece[id].p);
    }
    t->slot[i] = (h >> 32) << 32 | ((uint32_t)id + 1);
    return REX_OK;
}

rex_status rex_vocab_index(rex_tok *t, const char *what, rex_err *e) {
    const uint64_t m = table_size((size_t)t->n_sym);
    t->slot = rex_arena_zero(t->arena, m, sizeof *t->slot, e);
    if (!t->slot) return REX_ENOMEM;
    t->slot_mask = m - 1;
    for (int64_t i = 0; i < t->n_sym; i++)
        if (t->raw[i].p) REX_TRY(slot_put(t, (int32_t)i, what, e));
    for (int c = 0; c < 128; c++) {
        const uint8_t b = (uint8_t)c;
        t->ascii[c] = rex_vocab_find(t, &b, 1);
    }
    for (int b = 0; b < 256; b++) t->byte_id[b] = -1;
    if (t->byte_level) {
        for (int b = 0; b < 256; b++) {
            const uint8_t byte = (uint8_t)b;
            t->byte_id[b] = rex_vocab_find(t, &byte, 1);
        }
        return REX_OK;
    }
    for (int64_t i = 0; i < t->n; i++)
        if (t->kind[i] & REX_P_BYTE) t->byte_id[rex_byte_piece(t->piece[i])] = (int32_t)i;
    return REX_OK;
}

/* ---- pairs to merges
 * --------------------------------------------------------------------------------- */

rex_status rex_merges_room(rex_tok *t, size_t n, rex_err *e) {
    const uint64_t m = table_size(n);
    t->merge = rex_arena_take(t->arena, m, sizeof *t->merge, e);
    if (!t->merge) return REX_ENOMEM;
    memset(t->merge, 0xFF, m * sizeof *t->merge);
    t->merge_mask = m - 1;
    return REX_OK;
}

static inline uint64_t pair_key(int32_t left, int32_t right) {
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

static inline uint64_t pair_slot(const rex_tok *t, uint64_t key) {
    const uint64_t h = key * MIX_A;
    return (h ^ h >> 32) & t->merge_mask;
}

void rex_merges_put(rex_tok *t, int32_t left, int32_t right, uint32_t rank, int32_t id) {
    const uint64_t key = pair_key(left, right);
    uint64_t i = pair_slot(t, key);
    while (t->merge[i].key != UINT64_MAX && t->merge[i].key != key) i = (i + 1) & t->merge_mask;
    t->merge[i] = (rex_merge){key, rank, id};
}

const rex_merge *rex_merges_find(const rex_tok *t, int32_t left, int32_t right) {
    const uint64_t key = pair_key(left, right);
    for (uint64_t i = pair_slot(t, key);; i = (i + 1) & t->merge_mask) {
        if (t->merge[i].key == key) return &t->merge[i];
        if (t->merge[i].key == UINT64_MAX) return NULL;
    }
}

/* ---- merging few symbols
 * ------------------------------------------------------------------------------ */

/* The lowest rank first, among equals the leftmost, by looking at all pairs: for the length of a
 * word this is faster than a heap. sym has n symbols; returns how many are left. */
size_t rex_bpe_small(const rex_tok *t, int32_t *sym, size_t n) {
    uint32_t rank[REX_BPE_SMALL];
    int32_t into[REX_BPE_SMALL];
    rex_dassert(n <= REX_BPE_SMALL);
#define PAIR(i)                                                               \
    do {                                                                      \
        const rex_merge *const m_ = rex_merges_find(t, sym[i], sym[(i) + 1]); \
        rank[i] = m_ ? m_->rank : UINT32_MAX;                                 \
        into[i] = m_ ? m_->id : -1;                                           \
    } while (0)
    for (size_t i = 0; i + 1 < n; i++) PAIR(i);
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (rank[i] < rank[best]) best = i;
        if (rank[best] == UINT32_MAX) break;
        sym[best] = into[best];
        for (size_t i = best + 1; i + 1 < n; i++) {
            sym[i] = sym[i + 1];
            rank[i] = rank[i + 1];
            into[i] = into[i + 1];
        }
        n--;
        if (best > 0) PAIR(best - 1);
        if (best + 1 < n) PAIR(best);
    }
#undef PAIR
    return n;
}

/* A word that is a token need not be merged if merging would give that token: whether it does is
 * found out once, here, for every token that a word can be. */
void rex_vocab_mark_whole(rex_tok *t) {
    int32_t sym[REX_BPE_SMALL];
    for (int64_t id = 0; id < t->n; id++) {
        if (!(t->kind[id] & REX_P_MODEL) || !t->raw[id].p) continue;
        const uint8_t *const p = (const uint8_t *)t->raw[id].p;
        const size_t n = t->raw[id].n;
        if (t->ignore_merges) {
            t->kind[id] |= REX_P_WHOLE;
            continue;
        }
        size_t k = 0;
        bool ok = n <= REX_BPE_SMALL;
        for (size_t i = 0; ok && i < n;) {
            uint32_t cp;
            const size_t len = t->byte_level ? 1 : (size_t)rex_utf8_next(p, i, n, &cp);
            const int32_t s = t->byte_level ? t->byte_id[p[i]] : rex_vocab_find(t, p + i, len);
            ok = s >= 0;
            sym[k++] = s;
            i += len;
        }
        if (ok && rex_bpe_small(t, sym, k) == 1 && sym[0] == (int32_t)id)
            t->kind[id] |= REX_P_WHOLE;
    }
}
