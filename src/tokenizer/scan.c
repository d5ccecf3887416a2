/* SPDX-License-Identifier: MIT
 *
 * scan: the pre-tokeniser. A text is cut by a chain of steps; each piece of one step is cut further
 * by the next, and what comes out of the last is a word for bpe.c. No list of pieces is kept.
 *
 * Three patterns cover most models, and each has a scanner by hand: it reads every byte once and
 * never backtracks further than one run of white space. A scanner is taken only where the file's
 * pattern is that text exactly, and a property test holds it against the pattern itself run by
 * PCRE2. All other patterns go to regex.c.
 */
#include "tok.h"

#include <string.h>

/* ---- the known patterns
 * ----------------------------------------------------------------------------- */

#define TAIL "|\\s+(?!\\S)|\\s+"
#define LLAMA(digits)                                                    \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+" TAIL

static const char *const patterns[REX_SCAN_COUNT] = {
    [REX_SCAN_GPT2] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+" TAIL,
    [REX_SCAN_QWEN2] = LLAMA("\\p{N}"),
    [REX_SCAN_LLAMA3] = LLAMA("\\p{N}{1,3}"),
};

const char *rex_scan_pattern(rex_scan_kind k) { return patterns[k]; }

rex_scan_kind rex_scan_find(rex_str pattern) {
    int k = 0;
    while (k < REX_SCAN_COUNT && !rex_str_is(pattern, patterns[k])) k++;
    return (rex_scan_kind)k;
}

/* Classes of the character at i and its length; at the end of the text class END. */
enum { END = 128, LNS = REX_UC_L | REX_UC_N | REX_UC_S };

typedef struct {
    const rex_uclass *u;
    const uint8_t *s;
    size_t n;
} text;

static inline uint32_t class_at(const text *x, size_t i, size_t *len) {
    *len = 1;
    if (i >= x->n) return END;
    if (x->s[i] < 0x80) return x->u->mask[0][x->s[i]];
    uint32_t cp;
    *len = (size_t)rex_utf8_next(x->s, i, x->n, &cp);
    return cp == REX_BAD_BYTE ? 0 : rex_uclass_of(x->u, cp);
}

/* The end of the run of characters with (class & mask) == want. */
static inline size_t run_of(const text *x, size_t i, uint32_t mask, uint32_t want) {
    size_t len;
    while (i < x->n && (class_at(x, i, &len) & mask) == want) i += len;
    return i;
}

/* `\s+(?!\S)|\s+` at a run of white space: all of it at the end of the text, else all but its last
 * character, which goes with the word behind it; a run of one is taken. */
static size_t space_end(const text *x, size_t i) {
    size_t last = i, j = i, len;
    while (j < x->n && (class_at(x, j, &len) & REX_UC_S)) {
        last = j;
        j += len;
    }
    return j == x->n || last == i ? j : last;
}

/* 's 't 're 've 'm 'll 'd behind an apostrophe at i: the bytes of the whole, 0 if none. With
 * `fold`, capitals too, and the long s that folds to s. */
static size_t contraction(const text *x, size_t i, bool fold) {
    if (i + 1 >= x->n) return 0;
    uint8_t a = x->s[i + 1], b = i + 2 < x->n ? x->s[i + 2] : 0;
    if (fold) {
        if (a == 0xC5 && b == 0xBF) return 3;
        if (a >= 'A' && a <= 'Z') a |= 0x20;
        if (b >= 'A' && b <= 'Z') b |= 0x20;
    }
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
    if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l')) return 3;
    return 0;
}

static size_t scan_gpt2(const text *x, size_t i) {
    if (x->s[i] == '\'') {
        const size_t k = contraction(x, i, false);
        if (k) return i + k;
    }
    size_t len;
    const size_t j = i + (x->s[i] == ' ');
    const uint32_t c = class_at(x, j, &len);
    if (c & REX_UC_L) return run_of(x, j + len, REX_UC_L, REX_UC_L);
    if (c & REX_UC_N) return run_of(x, j + len, REX_UC_N, REX_UC_N);
    if (!(c & (REX_UC_S | END))) return run_of(x, j + len, LNS, 0);
    return space_end(x, i);
}

/* White space that holds a line end: up to the last one; else as everywhere. */
static size_t lines_end(const text *x, size_t i) {
    size_t j = i, nl = 0, len;
    for (uint32_t c; (c = class_at(x, j, &len)) & REX_UC_S; j += len)
        if (c & REX_UC_NL) nl = j + len;
    return nl ? nl : space_end(x, i);
}

static size_t scan_llama(const text *x, size_t i, int digits) {
    if (x->s[i] == '\'') {
        const size_t k = contraction(x, i, true);
        if (k) return i + k;
    }
    size_t len, next_len;
    const uint32_t c = class_at(x, i, &len);
    if (c & REX_UC_L) return run_of(x, i + len, REX_UC_L, REX_UC_L);
    if (c & REX_UC_N) {
        for (; digits > 0 && (class_at(x, i, &len) & REX_UC_N); digits--) i += len;
        return i;
    }
    if (!(c & REX_UC_NL) && (class_at(x, i + len, &next_len) & REX_UC_L))
        return run_of(x, i + len + next_len, REX_UC_L, REX_UC_L);
    const size_t j = i + (x->s[i] == ' ');
    if (!(class_at(x, j, &len) & (LNS | END)))
        return run_of(x, run_of(x, j + len, LNS, 0), REX_UC_NL, REX_UC_NL);
    return lines_end(x, i);
}

size_t rex_scan_next(const rex_uclass *u, rex_scan_kind k, const uint8_t *s, size_t i, size_t n) {
    const text x = {u, s, n};
    switch (k) {
    case REX_SCAN_GPT2: return scan_gpt2(&x, i);
    case REX_SCAN_QWEN2: return scan_llama(&x, i, 1);
    case REX_SCAN_LLAMA3: return scan_llama(&x, i, 3);
    case REX_SCAN_COUNT: break;
    }
    rex_assert(!"a scanner");
    return n;
}

/* ---- pieces of a step
 * --------------------------------------------------------------------------------- */

typedef struct {
    rex_span at;
    bool match;
} piece;

/* Takes pieces in order and hands on what the step's behaviour makes of them: neighbours that go
 * together are held until the next one shows that they are complete. */
typedef struct {
    rex_work *w;
    int step;
    const rex_pre *pre;
    const uint8_t *s;
    bool first; /* the text's own start lies at s[0] */
    piece held;
    bool holds;
} cutter;

static rex_status hand_on(cutter *c, rex_span a) {
    if (a.from == a.to) return REX_OK;
    return rex_pre_run(c->w, c->step + 1, c->s + a.from, a.to - a.from, c->first && a.from == 0);
}

static rex_status cut_end(cutter *c) {
    if (!c->holds) return REX_OK;
    c->holds = false;
    return hand_on(c, c->held.at);
}

static rex_status cut(cutter *c, size_t from, size_t to, bool match) {
    if (from == to) return REX_OK;
    match = match != c->pre->invert;
    const rex_split_how how = c->pre->how;
    if (how == REX_ISOLATED) return hand_on(c, (rex_span){from, to});
    if (how == REX_REMOVED) return match ? REX_OK : hand_on(c, (rex_span){from, to});
    /* Contiguous: with a neighbour of its kind. With the previous: a match joins what stands
     * before it unless that is a match. With the next: what follows a match joins it, unless
     * it is a match. */
    const bool joins = c->holds && (how == REX_CONTIGUOUS   ? c->held.match == match
                                    : how == REX_MERGE_PREV ? match && !c->held.match
                                                            : c->held.match && !match);
    if (joins) {
        c->held.at.to = to;
        c->held.match = match;
        return REX_OK;
    }
    REX_TRY(cut_end(c));
    c->held = (piece){{from, to}, match};
    c->holds = true;
    return REX_OK;
}

static rex_status step_regex(cutter *c, size_t n) {
    const uint8_t *s;
    REX_TRY(rex_regex_text(c->w, c->s, n, &s));
    size_t done = 0, at = 0;
    for (;;) {
        bool found;
        rex_span m;
        REX_TRY(rex_regex_next(c->w, c->pre->re, s, n, at, &found, &m));
        if (!found) break;
        REX_TRY(cut(c, done, m.from, false));
        REX_TRY(cut(c, m.from, m.to, true));
        done = m.to;
        if (m.to > m.from) {
            at = m.to;
        } else {
            if (m.to >= n) break;
            uint32_t cp;
            at = m.to + (size_t)rex_utf8_next(s, m.to, n, &cp);
        }
    }
    return cut(c, done, n, false);
}

static rex_status step_literal(cutter *c, size_t n) {
    const rex_str t = c->pre->text;
    size_t done = 0;
    for (size_t i = 0; t.n > 0 && i + t.n <= n;) {
        if (c->s[i] != (uint8_t)t.p[0] || memcmp(c->s + i, t.p, t.n) != 0) {
            i++;
            continue;
        }
        REX_TRY(cut(c, done, i, false));
        REX_TRY(cut(c, i, i + t.n, true));
        done = i += t.n;
    }
    return cut(c, done, n, false);
}

static rex_status step_digits(cutter *c, size_t n) {
    const text x = {&c->w->t->cls, c->s, n};
    size_t len;
    for (size_t i = 0, j; i < n; i = j) {
        const bool digit = class_at(&x, i, &len) & REX_UC_D;
        j = digit && c->pre->each ? i + len : run_of(&x, i, REX_UC_D, digit ? REX_UC_D : 0);
        REX_TRY(cut(c, i, j, digit));
    }
    return REX_OK;
}

static rex_status step_scan(cutter *c, size_t n) {
    const rex_uclass *const u = &c->w->t->cls;
    for (size_t i = 0, j; i < n; i = j) {
        j = rex_scan_next(u, c->pre->scan, c->s, i, n);
        REX_TRY(cut(c, i, j, true));
    }
    return REX_OK;
}

/* ---- steps that write
 * -------------------------------------------------------------------------------- */

/* One space before a piece that has none. */
static rex_status step_prefix(rex_work *w, int step, const uint8_t *p, size_t n, bool first) {
    if (n == 0 || p[0] == ' ') return rex_pre_run(w, step + 1, p, n, first);
    rex_arena *tmp;
    REX_TRY(rex_work_tmp(w, &tmp));
    const rex_mark mark = rex_arena_mark(tmp);
    uint8_t *const s = rex_arena_take(tmp, n + 1, 1, w->e);
    if (!s) return REX_ENOMEM;
    s[0] = ' ';
    memcpy(s + 1, p, n);
    const rex_status st = rex_pre_run(w, step + 1, s, n + 1, first);
    rex_arena_back(tmp, mark);
    return st;
}

/* Spaces become the meta character, one is put before the piece, and words begin at each. */
static rex_status step_meta(rex_work *w, int step, const uint8_t *p, size_t n, bool first) {
    const rex_pre *const pre = &w->t->pre[step];
    const rex_str meta = pre->text;
    size_t room;
    rex_arena *tmp;
    REX_TRY(rex_work_tmp(w, &tmp));
    REX_TRY(rex_mul_size(n + 1, meta.n, &room, w->e));
    const rex_mark mark = rex_arena_mark(tmp);
    char *const s = rex_arena_take(tmp, room, 1, w->e);
    if (!s) return REX_ENOMEM;
    const bool has = p[0] == ' ' || (n >= meta.n && memcmp(p, meta.p, meta.n) == 0);
    size_t k = 0;
    if (!has && (pre->when == REX_META_ALWAYS || (pre->when == REX_META_FIRST && first))) {
        memcpy(s, meta.p, meta.n);
        k = meta.n;
    }
    for (size_t i = 0; i < n; i++) {
        if (p[i] == ' ') {
            memcpy(s + k, meta.p, meta.n);
            k += meta.n;
        } else {
            s[k++] = (char)p[i];
        }
    }
    rex_status st;
    if (pre->each) {
        cutter c = {.w = w, .step = step, .pre = pre, .s = (const uint8_t *)s, .first = first};
        st = step_literal(&c, k);
        if (st == REX_OK) st = cut_end(&c);
    } else {
        st = rex_pre_run(w, step + 1, (const uint8_t *)s, k, first);
    }
    rex_arena_back(tmp, mark);
    return st;
}

rex_status rex_pre_run(rex_work *w, int step, const uint8_t *p, size_t n, bool first) {
    if (n == 0) return REX_OK;
    if (step == w->t->n_pre) return rex_bpe_word(w, p, n);
    const rex_pre *const pre = &w->t->pre[step];
    cutter c = {.w = w, .step = step, .pre = pre, .s = p, .first = first};
    rex_status st = REX_OK;
    switch (pre->kind) {
    case REX_PRE_PREFIX: return step_prefix(w, step, p, n, first);
    case REX_PRE_META: return step_meta(w, step, p, n, first);
    case REX_PRE_SCAN: st = step_scan(&c, n); break;
    case REX_PRE_REGEX: st = step_regex(&c, n); break;
    case REX_PRE_LITERAL: st = step_literal(&c, n); break;
    case REX_PRE_DIGITS: st = step_digits(&c, n); break;
    }
    return st == REX_OK ? cut_end(&c) : st;
}
