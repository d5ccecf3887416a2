/* SPDX-License-Identifier: MIT
 *
 * tok: the public face of the room: open, encode, decode, look up.
 *
 * Encoding follows the reference package step by step: added tokens that are matched in the text as
 * it is, normal form, added tokens that are matched in normal form, words, merging. The handle is
 * never written after open; whatever a call needs it takes itself and gives back.
 */
#include "tok.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- life -------------------------------------------------------------------------------- */

static void *pcre_take(size_t n, void *ud) {
    (void)ud;
    return rex_mem_take(n, 1, NULL);
}

static void pcre_give(void *p, void *ud) {
    (void)ud;
    rex_mem_free(p);
}

rex_status rex_tok_new(rex_tok **out, rex_err *e) {
    rex_tok *const t = rex_mem_take(1, sizeof *t, e);
    if (!t) return REX_ENOMEM;
    t->unk = -1;
    t->marks = (rex_tok_marks){.bos = -1, .eos = -1, .pad = -1, .unk = -1, .end_of_turn = -1};
    rex_status st = rex_arena_open(0, &t->arena, e);
    if (st == REX_OK) {
        t->pcre = pcre2_general_context_create(pcre_take, pcre_give, NULL);
        if (t->pcre) t->pcre_limits = pcre2_match_context_create(t->pcre);
        if (!t->pcre_limits)
            st = rex_fail(e, REX_ENOMEM, -1, "out of memory for regular expressions");
    }
    if (st == REX_OK) st = rex_uclass_make(t->arena, &t->cls, e);
    if (st != REX_OK) {
        rex_tok_close(t);
        return st;
    }
    *out = t;
    return REX_OK;
}

void rex_tok_close(rex_tok *t) {
    if (!t) return;
    for (int i = 0; i < t->n_norm; i++) pcre2_code_free(t->norm[i].re);
    for (int i = 0; i < t->n_pre; i++) pcre2_code_free(t->pre[i].re);
    pcre2_match_context_free(t->pcre_limits);
    pcre2_general_context_free(t->pcre);
    rex_arena_close(t->arena);
    rex_mem_free(t);
}

static bool ends_with(const char *s, const char *end) {
    const size_t a = strlen(s), b = strlen(end);
    return a >= b && memcmp(s + a - b, end, b) == 0;
}

rex_status rex_tok_open(const char *path, rex_tok **out, rex_err *e) {
    *out = NULL;
    struct stat sb;
    if (stat(path, &sb) != 0) return rex_fail(e, REX_EIO, -1, "tokenizer %s: cannot open", path);
    rex_arena *tmp = NULL;
    rex_tok *t = NULL;
    rex_status st = rex_arena_open(0, &tmp, e);
    if (st == REX_OK) st = rex_tok_new(&t, e);
    if (st == REX_OK) {
        if (S_ISDIR(sb.st_mode)) st = rex_tokdir_load(t, tmp, path, e);
        else if (ends_with(path, ".gguf")) st = rex_tokgguf_load(t, tmp, path, e);
        else st = rex_tokjson_load(t, tmp, path, e);
    }
    if (st == REX_OK) st = rex_tok_finish(t, path, e);
    rex_arena_close(tmp);
    if (st != REX_OK) rex_tok_close(t);
    else *out = t;
    return st;
}

static int by_value(const void *a, const void *b) {
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* Stop ids: what the loaders gathered, eos and end of turn, ascending, each once. */
static rex_status finish_stops(rex_tok *t, rex_err *e) {
    rex_tok_marks *const m = &t->marks;
    int32_t *const v = rex_arena_take(t->arena, m->n_stop + 2, sizeof *v, e);
    if (!v) return REX_ENOMEM;
    size_t n = m->n_stop, k = 0;
    if (n) memcpy(v, m->stop, n * sizeof *v);
    if (m->eos >= 0) v[n++] = m->eos;
    if (m->end_of_turn >= 0) v[n++] = m->end_of_turn;
    qsort(v, n, sizeof *v, by_value);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || v[i] != v[i - 1]) v[k++] = v[i];
    m->stop = v;
    m->n_stop = k;
    return REX_OK;
}

rex_status rex_tok_finish(rex_tok *t, const char *what, rex_err *e) {
    for (size_t i = 0; i < t->marks.n_stop; i++)
        if (t->marks.stop[i] < 0 || t->marks.stop[i] >= t->n)
            return rex_fail(e, REX_EFORMAT, t->marks.stop[i],
                            "%s: eos_token_id %d is not an id of the vocabulary (0 .. %lld)", what,
                            t->marks.stop[i], (long long)t->n - 1);
    REX_TRY(rex_added_index(t, e));
    rex_vocab_mark_whole(t);
    t->marks.unk = t->unk;
    rex_chat_choose(t);
    REX_TRY(finish_stops(t, e));
    rex_str s;
    REX_TRY(rex_str_fmt(t->arena, &s, e, "%s BPE, %lld tokens, %zu added%s%s",
                        t->byte_level ? "byte-level"
                        : t->spm      ? "score-driven"
                                      : "character-level",
                        (long long)t->n, t->n_added, t->has_chat ? ", chat layout " : "",
                        t->has_chat ? t->chat.name : ""));
    const size_t n = s.n < sizeof t->summary - 1 ? s.n : sizeof t->summary - 1;
    memcpy(t->summary, s.p, n);
    t->summary[n] = 0;
    return REX_OK;
}

int64_t rex_tok_size(const rex_tok *t) { return t->n; }
const rex_tok_marks *rex_tok_special(const rex_tok *t) { return &t->marks; }
const char *rex_tok_summary(const rex_tok *t) { return t->summary; }

rex_status rex_tok_piece(const rex_tok *t, int32_t id, rex_str *out, bool *control, rex_err *e) {
    if (id < 0 || id >= t->n)
        return rex_fail(e, REX_EARG, id, "id %d is not in the vocabulary (0 .. %lld)", id,
                        (long long)t->n - 1);
    *out = t->piece[id];
    if (control) *control = t->kind[id] & REX_P_CONTROL;
    return REX_OK;
}

int32_t rex_tok_find(const rex_tok *t, rex_str piece) {
    for (size_t i = 0; i < t->n_added; i++)
        if (rex_str_eq(t->added[i].text, piece)) return t->added[i].id;
    for (int64_t i = 0; i < t->n; i++)
        if (rex_str_eq(t->piece[i], piece)) return (int32_t)i;
    return -1;
}

/* ---- encoding ---------------------------------------------------------------------------- */

rex_status rex_work_tmp(rex_work *w, rex_arena **out) {
    if (!w->tmp) REX_TRY(rex_arena_open(0, &w->tmp, w->e));
    *out = w->tmp;
    return REX_OK;
}

typedef struct {
    rex_work *w;
    uint32_t flags;
    const rex_span *literal;
    size_t n_literal;
    bool spans; /* literal spans were given, be they none */
} job;

static rex_status put_id(rex_work *w, int32_t id) {
    rex_buf_add(&w->ids, &id, sizeof id);
    return rex_buf_check(&w->ids, w->e);
}

static bool touches(const job *j, size_t from, size_t to) {
    size_t lo = 0, hi = j->n_literal;
    while (lo < hi) {
        const size_t mid = (lo + hi) / 2;
        if (j->literal[mid].to <= from) lo = mid + 1;
        else hi = mid;
    }
    return lo < j->n_literal && j->literal[lo].from < to;
}

static uint32_t class_of(const rex_tok *t, const uint8_t *s, size_t i, size_t n, size_t *len) {
    uint32_t cp;
    *len = (size_t)rex_utf8_next(s, i, n, &cp);
    return cp == REX_BAD_BYTE ? 0 : rex_uclass_of(&t->cls, cp);
}

/* The beginning of the last character before i. */
static size_t step_back(const uint8_t *s, size_t i) {
    size_t k = i - 1, len;
    uint32_t cp;
    for (int b = 0; b < 3 && k > 0 && (s[k] & 0xC0) == 0x80; b++) k--;
    len = (size_t)rex_utf8_next(s, k, i, &cp);
    return k + len == i ? k : i - 1;
}

static bool stands_alone(const rex_tok *t, const uint8_t *s, size_t n, size_t from, size_t to) {
    size_t len;
    if (from > 0 && (class_of(t, s, step_back(s, from), from, &len) & REX_UC_W)) return false;
    return to == n || !(class_of(t, s, to, n, &len) & REX_UC_W);
}

/* The longest added token of the set at s + i, or NULL: the range of candidates is narrowed byte by
 * byte in their sorted order. */
static const rex_added *longest(const rex_added_set *set, const uint8_t *s, size_t i, size_t n) {
    size_t lo = 0, hi = set->n;
    const rex_added *best = NULL;
    for (size_t k = 0; lo < hi; k++) {
        if (set->v[lo]->text.n == k) { /* the shorter comes first in order */
            best = set->v[lo];
            if (++lo == hi) break;
        }
        if (i + k >= n) break;
        const uint8_t c = s[i + k];
        size_t a = lo, b = hi;
        while (a < b) {
            const size_t m = (a + b) / 2;
            if ((uint8_t)set->v[m]->text.p[k] < c) a = m + 1;
            else b = m;
        }
        lo = a;
        b = hi;
        while (a < b) {
            const size_t m = (a + b) / 2;
            if ((uint8_t)set->v[m]->text.p[k] <= c) a = m + 1;
            else b = m;
        }
        hi = a;
    }
    return best;
}

typedef rex_status (*gap_fn)(const job *j, const uint8_t *s, size_t n, bool first);

/* Cuts s at the added tokens of the set; what lies between goes to `gap`. `base`: s is the raw text
 * itself, whose literal spans count. */
static rex_status cut_added(const job *j, const rex_added_set *set, const uint8_t *s, size_t n,
                            bool first, bool raw, gap_fn gap) {
    const rex_tok *const t = j->w->t;
    size_t done = 0;
    for (size_t i = 0; set->n > 0 && i < n;) {
        const rex_added *const a = set->first[s[i]] ? longest(set, s, i, n) : NULL;
        if (!a) {
            i++;
            continue;
        }
        size_t from = i, to = i + a->text.n;
        i = to;
        if (a->control && !(j->flags & REX_TOK_SPECIAL)) {
            if (!j->spans) continue;
            if (!raw || touches(j, from, to)) {
                i = from + 1; /* a token of the layout may begin inside this text */
                continue;
            }
        }
        if (a->single_word && !stands_alone(t, s, n, from, to)) continue;
        size_t len;
        if (a->lstrip)
            while (from > done && (class_of(t, s, step_back(s, from), from, &len) & REX_UC_S))
                from = step_back(s, from);
        if (a->rstrip)
            while (to < n && (class_of(t, s, to, n, &len) & REX_UC_S)) to += len;
        if (from > done) REX_TRY(gap(j, s + done, from - done, first && done == 0));
        REX_TRY(put_id(j->w, a->id));
        /* The search goes on behind the token's own text, not behind the white space that it took:
         * a token that begins in there is found, and the text goes on behind it, as the
         * reference has it. */
        done = to;
    }
    return done < n ? gap(j, s + done, n - done, first && done == 0) : REX_OK;
}

static rex_status words(const job *j, const uint8_t *s, size_t n, bool first) {
    return rex_pre_run(j->w, 0, s, n, first);
}

static rex_status normal(const job *j, const uint8_t *s, size_t n, bool first) {
    rex_work *const w = j->w;
    rex_mark mark = {0};
    rex_arena *tmp = NULL;
    if (w->t->n_norm > 0) {
        REX_TRY(rex_work_tmp(w, &tmp));
        mark = rex_arena_mark(tmp);
    }
    rex_str out;
    REX_TRY(rex_norm_run(w, (rex_str){(const char *)s, n}, &out));
    const rex_status st =
        cut_added(j, &w->t->norm_set, (const uint8_t *)out.p, out.n, first, false, words);
    if (tmp) rex_arena_back(tmp, mark);
    return st;
}

static rex_status encode(job *j, rex_str text, rex_arena *a, rex_ids *out, size_t *lost) {
    rex_work *const w = j->w;
    const rex_tok *const t = w->t;
    const bool around = j->flags & REX_TOK_BOS;
    for (size_t i = 0; around && i < t->n_head; i++) REX_TRY(put_id(w, t->head[i]));
    const rex_added_set *const set = j->spans ? &t->ctl_set : &t->raw_set;
    REX_TRY(cut_added(j, set, (const uint8_t *)text.p, text.n, true, true, normal));
    for (size_t i = 0; around && i < t->n_tail; i++) REX_TRY(put_id(w, t->tail[i]));
    const size_t n = w->ids.n / sizeof *out->v;
    out->v = rex_arena_take(a, n ? n : 1, sizeof *out->v, w->e);
    if (!out->v) return REX_ENOMEM;
    if (n) memcpy(out->v, w->ids.p, w->ids.n);
    out->n = n;
    if (lost) *lost = w->lost;
    return REX_OK;
}

static rex_status run(job *j, const rex_tok *t, rex_str text, rex_arena *a, rex_ids *out,
                      size_t *lost, rex_err *e) {
    rex_work w = {.t = t, .e = e};
    rex_buf_init(&w.ids, 0);
    j->w = &w;
    *out = (rex_ids){NULL, 0};
    const rex_status st = encode(j, text, a, out, lost);
    pcre2_match_data_free(w.md);
    rex_arena_close(w.tmp);
    rex_buf_free(&w.ids);
    return st;
}

rex_status rex_tok_encode(const rex_tok *t, rex_str text, uint32_t flags, rex_arena *a,
                          rex_ids *out, size_t *lost, rex_err *e) {
    job j = {.flags = flags};
    return run(&j, t, text, a, out, lost, e);
}

rex_status rex_tok_encode_spans(const rex_tok *t, rex_str text, uint32_t flags,
                                const rex_span *literal, size_t n_literal, rex_arena *a,
                                rex_ids *out, size_t *lost, rex_err *e) {
    job j = {.flags = flags, .literal = literal, .n_literal = n_literal, .spans = true};
    return run(&j, t, text, a, out, lost, e);
}

/* ---- decoding ---------------------------------------------------------------------------- */

/* Appends the bytes of one id; `begun`: a token has been shown before. */
static rex_status show(const rex_tok *t, int32_t id, size_t at, uint32_t flags, bool *begun,
                       rex_buf *b, rex_err *e) {
    if (id < 0 || id >= t->n)
        return rex_fail(e, REX_EARG, (int64_t)at,
                        "id %d at place %zu is not in the vocabulary (0 .. %lld)", id, at,
                        (long long)t->n - 1);
    if ((t->kind[id] & REX_P_CONTROL) && !(flags & REX_TOK_SPECIAL)) return REX_OK;
    rex_str s = *begun ? t->shown[id] : t->first[id];
    if (*begun && t->dec.join_space) rex_buf_add(b, " ", 1);
    if (!*begun && t->dec.strip && s.n > 0 && s.p[0] == t->dec.strip_byte)
        s = (rex_str){s.p + 1, s.n - 1};
    *begun = true;
    rex_buf_add(b, s.p, s.n);
    return rex_buf_check(b, e);
}

rex_status rex_tok_decode(const rex_tok *t, const int32_t *id, size_t n, uint32_t flags,
                          rex_arena *a, rex_str *out, rex_err *e) {
    rex_buf b;
    rex_buf_init(&b, 0);
    bool begun = false;
    rex_status st = REX_OK;
    for (size_t i = 0; st == REX_OK && i < n; i++) st = show(t, id[i], i, flags, &begun, &b, e);
    if (st == REX_OK) st = rex_str_copy(a, (rex_str){b.n ? b.p : "", b.n}, out, e);
    rex_buf_free(&b);
    return st;
}

void rex_tok_stream_init(rex_tok_stream *s, const rex_tok *t, uint32_t flags) {
    *s = (rex_tok_stream){.tok = t, .flags = flags};
}

/* How many bytes at the end of s begin a character whose rest may still come. */
static size_t unfinished(const char *s, size_t n) {
    for (size_t k = 1; k <= 3 && k <= n; k++) {
        const uint8_t c = (uint8_t)s[n - k];
        if ((c & 0xC0) == 0x80) continue;
        const size_t want = c >= 0xF0 && c <= 0xF4  ? 4
                            : c >= 0xE0 && c < 0xF0 ? 3
                            : c >= 0xC2 && c < 0xE0 ? 2
                                                    : 1;
        return want > k ? k : 0;
    }
    return 0;
}

rex_status rex_tok_stream_put(rex_tok_stream *s, int32_t id, bool last, rex_arena *a, rex_str *out,
                              rex_err *e) {
    rex_buf b;
    rex_buf_init(&b, 0);
    rex_buf_add(&b, s->hold, (size_t)s->held);
    rex_status st = last ? REX_OK : show(s->tok, id, 0, s->flags, &s->begun, &b, e);
    if (st == REX_OK) st = rex_buf_check(&b, e);
    if (st == REX_OK) {
        const size_t keep = last ? 0 : unfinished(b.p, b.n);
        st = rex_str_copy(a, (rex_str){b.n ? b.p : "", b.n - keep}, out, e);
        if (st == REX_OK) {
            if (keep) memcpy(s->hold, b.p + b.n - keep, keep);
            s->held = (int)keep;
        }
    }
    rex_buf_free(&b);
    return st;
}

/* ---- added tokens
 * ---------------------------------------------------------------------------------------------- */

static int by_bytes(const void *a, const void *b) {
    const rex_str x = (*(const rex_added *const *)a)->text,
                  y = (*(const rex_added *const *)b)->text;
    const int c = memcmp(x.p, y.p, x.n < y.n ? x.n : y.n);
    return c ? c : (x.n > y.n) - (x.n < y.n);
}

static rex_status set_make(rex_tok *t, rex_added_set *set, const rex_added *from, bool raw,
                           bool ctl, rex_err *e) {
    set->v = rex_arena_take(t->arena, t->n_added ? t->n_added : 1, sizeof *set->v, e);
    if (!set->v) return REX_ENOMEM;
    for (size_t i = 0; i < t->n_added; i++) {
        const bool in = raw ? !from[i].normalized || (ctl && from[i].control) : from[i].normalized;
        if (!in || from[i].text.n == 0) continue;
        set->v[set->n++] = &from[i];
        set->first[(uint8_t)from[i].text.p[0]] = 1;
    }
    qsort(set->v, set->n, sizeof *set->v, by_bytes);
    return REX_OK;
}

/* Tokens that are matched in normal form are themselves normalised first. */
rex_status rex_added_index(rex_tok *t, rex_err *e) {
    rex_added *const normed =
        rex_arena_take(t->arena, t->n_added ? t->n_added : 1, sizeof *normed, e);
    if (!normed) return REX_ENOMEM;
    rex_work w = {.t = t, .e = e};
    rex_status st = REX_OK;
    for (size_t i = 0; st == REX_OK && i < t->n_added; i++) {
        normed[i] = t->added[i];
        if (!t->added[i].normalized || t->n_norm == 0) continue;
        rex_str s;
        st = rex_norm_run(&w, t->added[i].text, &s);
        if (st == REX_OK) st = rex_str_copy(t->arena, s, &normed[i].text, e);
    }
    pcre2_match_data_free(w.md);
    rex_arena_close(w.tmp);
    if (st != REX_OK) return st;
    REX_TRY(set_make(t, &t->raw_set, t->added, true, false, e));
    REX_TRY(set_make(t, &t->ctl_set, t->added, true, true, e));
    return set_make(t, &t->norm_set, normed, false, false, e);
}
