/* SPDX-License-Identifier: MIT
 *
 * bpe: one word into tokens.
 *
 * The rule (Sennrich et al. 2016, as the reference package runs it): begin with the word's
 * characters (or bytes); merge the adjacent pair of lowest rank, among equals the leftmost, until
 * no pair has a rank. A word that is a token and would merge into it is looked up at once. Short
 * words are merged by looking at all pairs, long ones with a heap and a linked list, so that a word
 * of n bytes costs O(n log n) whatever it is made of.
 */
#include "tok.h"

#include <string.h>

static rex_status put(rex_work *w, const int32_t *id, size_t n) {
    rex_buf_add(&w->ids, id, n * sizeof *id);
    return w->ids.bad == REX_OK ? REX_OK : rex_buf_check(&w->ids, w->e);
}

/* ---- the characters of a word
 * -------------------------------------------------------------------------- */

/* Collects symbols; a character that is none becomes its bytes' tokens, the unknown token, or is
 * lost, in this order, as the reference has it. */
typedef struct {
    int32_t *sym;
    size_t n;
    bool unk; /* an unknown token is still to come: adjacent ones may be fused */
} symbols;

static void unk_flush(const rex_tok *t, symbols *s) {
    if (s->unk) s->sym[s->n++] = t->unk;
    s->unk = false;
}

static void symbol_unknown(rex_work *w, symbols *s, const uint8_t *p, size_t len) {
    const rex_tok *const t = w->t;
    if (t->byte_fallback) {
        bool all = true;
        for (size_t i = 0; i < len; i++) all = all && t->byte_id[p[i]] >= 0;
        if (all) {
            for (size_t i = 0; i < len; i++) s->sym[s->n++] = t->byte_id[p[i]];
            return;
        }
    }
    if (t->unk < 0) {
        w->lost += len;
        return;
    }
    if (!t->fuse_unk) unk_flush(t, s);
    s->unk = true;
}

/* At most one symbol per byte of the word. */
static size_t word_symbols(rex_work *w, const uint8_t *p, size_t n, int32_t *sym) {
    const rex_tok *const t = w->t;
    symbols s = {sym, 0, false};
    for (size_t i = 0; i < n;) {
        size_t len = 1;
        int32_t id;
        if (t->byte_level) {
            id = t->byte_id[p[i]];
        } else if (p[i] < 0x80) {
            id = t->ascii[p[i]];
        } else {
            uint32_t cp;
            len = (size_t)rex_utf8_next(p, i, n, &cp);
            id = rex_vocab_find(t, p + i, len);
        }
        if (id >= 0) {
            unk_flush(t, &s);
            s.sym[s.n++] = id;
        } else {
            symbol_unknown(w, &s, p + i, len);
        }
        i += len;
    }
    unk_flush(t, &s);
    return s.n;
}

/* ---- long words
 * ------------------------------------------------------------------------------------------ */

typedef struct {
    uint32_t rank, pos;
    int32_t into;
} cand;

typedef struct {
    const rex_tok *t;
    int32_t *sym;
    uint32_t *prev, *next; /* of live symbols; UINT32_MAX: none. A dead symbol has sym -1 */
    cand *heap;
    size_t n_heap;
} merger;

static bool before(cand a, cand b) { return a.rank != b.rank ? a.rank < b.rank : a.pos < b.pos; }

static void heap_push(merger *m, cand c) {
    size_t i = m->n_heap++;
    while (i > 0 && before(c, m->heap[(i - 1) / 2])) {
        m->heap[i] = m->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    m->heap[i] = c;
}

static cand heap_pop(merger *m) {
    const cand top = m->heap[0], last = m->heap[--m->n_heap];
    size_t i = 0;
    for (size_t k; (k = 2 * i + 1) < m->n_heap; i = k) {
        if (k + 1 < m->n_heap && before(m->heap[k + 1], m->heap[k])) k++;
        if (!before(m->heap[k], last)) break;
        m->heap[i] = m->heap[k];
    }
    m->heap[i] = last;
    return top;
}

static void offer(merger *m, uint32_t pos) {
    const rex_merge *const r = rex_merges_find(m->t, m->sym[pos], m->sym[m->next[pos]]);
    if (r) heap_push(m, (cand){r->rank, pos, r->id});
}

/* Every merge removes a symbol and offers two pairs, so the heap holds fewer than 3 n entries. */
static size_t merge_long(merger *m, size_t n) {
    for (size_t i = 0; i < n; i++) {
        m->prev[i] = i ? (uint32_t)i - 1 : UINT32_MAX;
        m->next[i] = i + 1 < n ? (uint32_t)i + 1 : UINT32_MAX;
    }
    for (size_t i = 0; i + 1 < n; i++) offer(m, (uint32_t)i);
    while (m->n_heap > 0) {
        const cand c = heap_pop(m);
        if (m->sym[c.pos] < 0 || m->next[c.pos] == UINT32_MAX) continue;
        const uint32_t right = m->next[c.pos];
        const rex_merge *const r = rex_merges_find(m->t, m->sym[c.pos], m->sym[right]);
        if (!r || r->id != c.into || r->rank != c.rank)
            continue; /* offered before a neighbour changed */
        m->sym[c.pos] = c.into;
        m->sym[right] = -1;
        m->next[c.pos] = m->next[right];
        if (m->next[right] != UINT32_MAX) {
            m->prev[m->next[right]] = c.pos;
            offer(m, c.pos);
        }
        if (m->prev[c.pos] != UINT32_MAX) offer(m, m->prev[c.pos]);
    }
    size_t k = 0;
    for (uint32_t i = 0; i != UINT32_MAX; i = m->next[i]) m->sym[k++] = m->sym[i];
    return k;
}

/* A symbol that is only a part of pieces, and no piece itself, is an unknown character. */
static rex_status put_symbols(rex_work *w, const int32_t *sym, size_t n) {
    const rex_tok *const t = w->t;
    if (t->n_sym == t->n) return put(w, sym, n);
    bool was_unk = false;
    for (size_t i = 0; i < n; i++) {
        if (sym[i] < t->n) {
            const bool unk = sym[i] == t->unk;
            if (!(unk && was_unk && t->fuse_unk)) REX_TRY(put(w, &sym[i], 1));
            was_unk = unk;
            continue;
        }
        int32_t id[4];
        const rex_str raw = t->raw[sym[i]];
        symbols s = {id, 0, false};
        symbol_unknown(w, &s, (const uint8_t *)raw.p, raw.n);
        const bool unk = s.unk;
        if (unk && was_unk && t->fuse_unk) continue;
        unk_flush(t, &s);
        REX_TRY(put(w, id, s.n));
        was_unk = unk;
    }
    return REX_OK;
}

static rex_status word_long(rex_work *w, const uint8_t *p, size_t n) {
    if (n >= UINT32_MAX / 4)
        return rex_fail(w->e, REX_ELIMIT, -1, "a word of %zu bytes is too long to merge", n);
    rex_arena *tmp;
    REX_TRY(rex_work_tmp(w, &tmp));
    const rex_mark mark = rex_arena_mark(tmp);
    merger m = {.t = w->t};
    m.sym = rex_arena_take(tmp, n, sizeof *m.sym, w->e);
    m.prev = rex_arena_take(tmp, n, sizeof *m.prev, w->e);
    m.next = rex_arena_take(tmp, n, sizeof *m.next, w->e);
    m.heap = rex_arena_take(tmp, 3 * n, sizeof *m.heap, w->e);
    rex_status st = REX_ENOMEM;
    if (m.sym && m.prev && m.next && m.heap) {
        const size_t k = word_symbols(w, p, n, m.sym);
        st = k ? put_symbols(w, m.sym, merge_long(&m, k)) : REX_OK;
    }
    rex_arena_back(tmp, mark);
    return st;
}

rex_status rex_bpe_word(rex_work *w, const uint8_t *p, size_t n) {
    const rex_tok *const t = w->t;
    if (n == 0) return REX_OK;
    if (n == 1 && t->byte_level && t->byte_id[p[0]] >= 0) return put(w, &t->byte_id[p[0]], 1);
    if (n <= REX_BPE_SMALL || t->ignore_merges) {
        const int32_t id = rex_vocab_find(t, p, n);
        if (id >= 0 && id < t->n && (t->kind[id] & REX_P_WHOLE)) return put(w, &id, 1);
    }
    if (n > REX_BPE_SMALL) return word_long(w, p, n);
    int32_t sym[REX_BPE_SMALL];
    const size_t k = word_symbols(w, p, n, sym);
    return put_symbols(w, sym, rex_bpe_small(t, sym, k));
}
