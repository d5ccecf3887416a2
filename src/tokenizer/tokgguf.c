/* SPDX-License-Identifier: MIT
 *
 * tokgguf: the tokenizer inside a GGUF file, from its metadata `tokenizer.ggml.*`.
 *
 * Two models: `gpt2`, byte-level BPE with merges, whose pre-tokeniser the key `pre` names; `llama`,
 * SentencePiece pieces with scores. Scores become merges: every cut of a piece into two symbols is
 * a merge whose rank is the place of the piece's score among all scores, so that equal scores are
 * equal ranks and the leftmost pair goes first, as in SentencePiece. A character that occurs only
 * inside pieces is a symbol without an id of its own.
 */
#include "tok.h"
#include "../formats/formats.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum { TYPE_NORMAL = 1, TYPE_UNKNOWN, TYPE_CONTROL, TYPE_USER, TYPE_UNUSED, TYPE_BYTE };

static const char meta[] = "\xE2\x96\x81"; /* U+2581 stands for a space */

typedef struct {
    rex_tok *t;
    const rex_gguf *g;
    const char *path;
    rex_arena *tmp;
    const rex_gguf_meta *tokens, *types, *scores, *merges;
    rex_err *e;
} source;

static rex_status flag(const source *s, const char *key, bool def, bool *out) {
    *out = def;
    return rex_gguf_meta_find(s->g, key) ? rex_gguf_bool(s->g, key, out, s->e) : REX_OK;
}

/* An id that a key names; absent: -1. */
static rex_status id_key(const source *s, const char *key, int32_t *out) {
    int64_t v = -1;
    if (!rex_gguf_meta_find(s->g, key)) return REX_OK;
    REX_TRY(rex_gguf_i64(s->g, key, &v, s->e));
    if (v < 0 || v >= s->t->n)
        return rex_fail(s->e, REX_EFORMAT, v, "%s: %s is %lld, the vocabulary has ids 0 .. %lld",
                        s->path, key, (long long)v, (long long)s->t->n - 1);
    *out = (int32_t)v;
    return REX_OK;
}

static rex_status list(const source *s, const char *key, rex_gguf_kind want, bool needed,
                       const rex_gguf_meta **out) {
    *out = NULL;
    if (!needed && !rex_gguf_meta_find(s->g, key)) return REX_OK;
    REX_TRY(rex_gguf_arr(s->g, key, want, out, s->e));
    if (s->tokens && want != REX_G_STR && (*out)->n != s->tokens->n)
        return rex_fail(s->e, REX_EFORMAT, (int64_t)(*out)->n,
                        "%s: %s has %llu entries for %llu tokens", s->path, key,
                        (unsigned long long)(*out)->n, (unsigned long long)s->tokens->n);
    return REX_OK;
}

/* ---- vocabulary -------------------------------------------------------------------------- */

static int64_t type_of(const source *s, uint64_t i) {
    return s->types ? rex_gguf_elem_i64(s->types, i) : TYPE_NORMAL;
}

static rex_status vocab_take(source *s, uint8_t **bytes) {
    rex_tok *const t = s->t;
    size_t total = 0;
    if (s->tokens->n == 0 || s->tokens->n > INT32_MAX)
        return rex_fail(s->e, REX_EFORMAT, -1, "%s: a vocabulary of %llu tokens", s->path,
                        (unsigned long long)s->tokens->n);
    for (uint64_t i = 0; i < s->tokens->n; i++) total += s->tokens->str[i].n;
    t->n = t->n_sym = (int64_t)s->tokens->n;
    const size_t n = (size_t)t->n;
    t->piece = rex_arena_zero(t->arena, n, sizeof *t->piece, s->e);
    t->kind = rex_arena_zero(t->arena, n, 1, s->e);
    t->added = rex_arena_zero(t->arena, n, sizeof *t->added, s->e);
    *bytes = rex_arena_take(t->arena, total + 1, 1, s->e);
    return t->piece && t->kind && t->added && *bytes ? REX_OK : REX_ENOMEM;
}

/* Pieces, kinds and added tokens; raw has room for the symbols that scores may add. */
static rex_status vocab_fill(source *s) {
    rex_tok *const t = s->t;
    uint8_t *bytes = NULL;
    REX_TRY(vocab_take(s, &bytes));
    if (!t->raw) t->raw = rex_arena_zero(t->arena, (size_t)t->n, sizeof *t->raw, s->e);
    if (!t->raw) return REX_ENOMEM;
    for (int64_t i = 0; i < t->n; i++) {
        const int64_t type = type_of(s, (uint64_t)i);
        REX_TRY(rex_str_copy(t->arena, s->tokens->str[i], &t->piece[i], s->e));
        const rex_str p = t->piece[i];
        if (type < TYPE_NORMAL || type > TYPE_BYTE)
            return rex_fail(s->e, REX_EFORMAT, i, "%s: token %lld has type %lld, expected 1 .. 6",
                            s->path, (long long)i, (long long)type);
        if (type == TYPE_CONTROL || type == TYPE_USER || type == TYPE_UNKNOWN) {
            t->kind[i] |= REX_P_ADDED | (type == TYPE_USER ? 0 : REX_P_CONTROL);
            if (type == TYPE_UNKNOWN) continue; /* has no text of its own */
            t->added[t->n_added++] = (rex_added){.text = p,
                                                 .id = (int32_t)i,
                                                 .control = type == TYPE_CONTROL,
                                                 .normalized = t->spm && type == TYPE_USER};
            continue;
        }
        if (type == TYPE_BYTE) {
            if (rex_byte_piece(p) < 0)
                return rex_fail(s->e, REX_EFORMAT, i,
                                "%s: token %lld is of type byte and spelt \"%.*s\", "
                                "expected <0xXX>",
                                s->path, (long long)i, (int)(p.n < 64 ? p.n : 64), p.p);
            t->kind[i] |= REX_P_BYTE;
            continue;
        }
        if (type == TYPE_UNUSED) continue;
        t->kind[i] |= REX_P_MODEL;
        if (!t->byte_level) {
            t->raw[i] = p;
            continue;
        }
        size_t n;
        if (!rex_byte_unmap(p, bytes, &n)) continue;
        t->raw[i] = (rex_str){(const char *)bytes, n};
        bytes += n;
    }
    return REX_OK;
}

/* ---- scores ------------------------------------------------------------------------------ */

static int by_score(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

/* Symbols for characters of pieces that are no pieces themselves. */
static rex_status extra_symbols(source *s) {
    rex_tok *const t = s->t;
    REX_TRY(rex_vocab_index(t, s->path, s->e));
    size_t room = 0;
    rex_str *extra = NULL;
    for (int64_t i = 0; i < t->n; i++)
        for (size_t k = 0; k < t->raw[i].n;) {
            const uint8_t *const p = (const uint8_t *)t->raw[i].p;
            uint32_t cp;
            const size_t len = (size_t)rex_utf8_next(p, k, t->raw[i].n, &cp);
            const rex_str c = {t->raw[i].p + k, len};
            k += len;
            if (rex_vocab_find(t, (const uint8_t *)c.p, c.n) >= 0) continue;
            bool known = false;
            for (size_t x = 0; x < room && !known; x++) known = rex_str_eq(extra[x], c);
            if (known) continue;
            if (!extra) extra = rex_arena_take(s->tmp, 4096, sizeof *extra, s->e);
            if (!extra) return REX_ENOMEM;
            if (room == 4096)
                return rex_fail(s->e, REX_EFORMAT, i,
                                "%s: more than 4096 characters of pieces have no piece "
                                "of their own",
                                s->path);
            extra[room++] = c;
        }
    if (room == 0) return REX_OK;
    rex_str *const raw = rex_arena_zero(t->arena, (size_t)t->n + room, sizeof *raw, s->e);
    if (!raw) return REX_ENOMEM;
    memcpy(raw, t->raw, (size_t)t->n * sizeof *raw);
    memcpy(raw + t->n, extra, room * sizeof *raw);
    t->raw = raw;
    t->n_sym = t->n + (int64_t)room;
    /* The names of extra symbols in sentences: none is ever needed, duplicates cannot be. */
    return rex_vocab_index(t, s->path, s->e);
}

static rex_status scores_to_merges(source *s) {
    rex_tok *const t = s->t;
    double *const sorted = rex_arena_take(s->tmp, (size_t)t->n, sizeof *sorted, s->e);
    if (!sorted) return REX_ENOMEM;
    size_t cuts = 0, n = 0;
    for (int64_t i = 0; i < t->n; i++) {
        const double v = rex_gguf_elem_f64(s->scores, (uint64_t)i);
        if (v != v)
            return rex_fail(s->e, REX_EFORMAT, i, "%s: the score of token %lld is not a number",
                            s->path, (long long)i);
        sorted[i] = v;
        cuts += t->raw[i].n;
    }
    qsort(sorted, (size_t)t->n, sizeof *sorted, by_score);
    for (int64_t i = 0; i < t->n; i++)
        if (i == 0 || sorted[i] != sorted[n - 1]) sorted[n++] = sorted[i];
    REX_TRY(rex_merges_room(t, cuts, s->e));
    for (int64_t i = 0; i < t->n; i++) {
        const uint8_t *const p = (const uint8_t *)t->raw[i].p;
        if (!p) continue;
        const double v = rex_gguf_elem_f64(s->scores, (uint64_t)i);
        const double *const at = bsearch(&v, sorted, n, sizeof v, by_score);
        for (size_t k = 1; k < t->raw[i].n; k++) {
            if ((p[k] & 0xC0) == 0x80) continue;
            const int32_t a = rex_vocab_find(t, p, k),
                          b = rex_vocab_find(t, p + k, t->raw[i].n - k);
            if (a >= 0 && b >= 0) rex_merges_put(t, a, b, (uint32_t)(at - sorted), (int32_t)i);
        }
    }
    return REX_OK;
}

static rex_status load_llama(source *s) {
    rex_tok *const t = s->t;
    bool prefix, squeeze;
    t->spm = true;
    t->byte_fallback = t->fuse_unk = true;
    REX_TRY(list(s, "tokenizer.ggml.scores", REX_G_F64, true, &s->scores));
    REX_TRY(flag(s, "tokenizer.ggml.add_space_prefix", true, &prefix));
    REX_TRY(flag(s, "tokenizer.ggml.remove_extra_whitespaces", false, &squeeze));
    if (squeeze || rex_gguf_meta_find(s->g, "tokenizer.ggml.precompiled_charsmap"))
        return rex_fail(s->e, REX_EUNSUP, -1, "%s: %s is not supported", s->path,
                        squeeze ? "tokenizer.ggml.remove_extra_whitespaces"
                                : "tokenizer.ggml.precompiled_charsmap");
    REX_TRY(vocab_fill(s));
    for (int64_t i = 0; i < t->n; i++)
        if (type_of(s, (uint64_t)i) == TYPE_UNKNOWN) t->unk = (int32_t)i;
    REX_TRY(extra_symbols(s));
    REX_TRY(scores_to_merges(s));
    if (prefix) {
        t->norm[t->n_norm++] = (rex_norm){.kind = REX_NORM_PREPEND, .to = rex_str_of(" ")};
        t->dec.strip = 1;
        t->dec.strip_byte = ' ';
    }
    t->norm[t->n_norm++] =
        (rex_norm){.kind = REX_NORM_REPLACE, .from = rex_str_of(" "), .to = rex_str_of(meta)};
    return rex_tj_pieces(t, s->e);
}

/* ---- byte level -------------------------------------------------------------------------- */

/* What the key `pre` stands for. `nfc`: the model's own files normalise. */
static const struct {
    const char *name;
    bool digits;
    rex_scan_kind scan;
    bool nfc, whole;
} pres[] = {
    {"gpt-2", false, REX_SCAN_GPT2, false, false},
    {"gpt2", false, REX_SCAN_GPT2, false, false},
    {"phi-2", false, REX_SCAN_GPT2, false, false},
    {"smollm", true, REX_SCAN_GPT2, false, false},
    {"qwen2", false, REX_SCAN_QWEN2, true, false},
    {"deepseek-r1-qwen", false, REX_SCAN_QWEN2, true, false},
    {"llama-bpe", false, REX_SCAN_LLAMA3, false, true},
    {"llama3", false, REX_SCAN_LLAMA3, false, true},
    {"llama-v3", false, REX_SCAN_LLAMA3, false, true},
    {"dbrx", false, REX_SCAN_LLAMA3, false, false},
};
enum { PRES = sizeof pres / sizeof pres[0] };

static rex_status pre_of(source *s) {
    rex_tok *const t = s->t;
    rex_str name;
    REX_TRY(rex_gguf_str(s->g, "tokenizer.ggml.pre", &name, s->e));
    size_t k = 0;
    while (k < PRES && !rex_str_is(name, pres[k].name)) k++;
    if (k == PRES) {
        char known[256];
        size_t n = 0;
        for (size_t i = 0; i < PRES; i++) {
            const size_t len = strlen(pres[i].name);
            memcpy(known + n, pres[i].name, len);
            n += len;
            known[n++] = ' ';
        }
        known[n - 1] = 0;
        return rex_fail(s->e, REX_EUNSUP, -1,
                        "%s: tokenizer.ggml.pre \"%.*s\" is not supported; known: %s", s->path,
                        (int)(name.n < 64 ? name.n : 64), name.p, known);
    }
    if (pres[k].nfc)
        t->norm[t->n_norm++] =
            (rex_norm){.kind = REX_NORM_FORM, .form = UTF8PROC_STABLE | UTF8PROC_COMPOSE};
    if (pres[k].digits)
        t->pre[t->n_pre++] = (rex_pre){.kind = REX_PRE_DIGITS, .how = REX_ISOLATED, .each = true};
    t->pre[t->n_pre++] = (rex_pre){.kind = REX_PRE_SCAN, .scan = pres[k].scan, .how = REX_ISOLATED};
    t->ignore_merges = pres[k].whole;
    return REX_OK;
}

static rex_status merge_add(source *s, uint64_t rank, uint8_t *buf) {
    rex_tok *const t = s->t;
    const rex_str m = s->merges->str[rank];
    const char *const sp = m.n > 1 ? memchr(m.p + 1, ' ', m.n - 1) : NULL;
    size_t n[2] = {0, 0};
    int32_t id[3] = {-1, -1, -1};
    const bool two = sp && sp + 1 < m.p + m.n;
    if (two) {
        const rex_str part[2] = {{m.p, (size_t)(sp - m.p)}, {sp + 1, m.n - (size_t)(sp - m.p) - 1}};
        for (int i = 0; i < 2; i++)
            if (rex_byte_unmap(part[i], buf + n[0], &n[i]))
                id[i] = rex_vocab_find(t, buf + (i ? n[0] : 0), n[i]);
        if (id[0] >= 0 && id[1] >= 0) id[2] = rex_vocab_find(t, buf, n[0] + n[1]);
    }
    if (id[2] < 0)
        return rex_fail(s->e, REX_EFORMAT, (int64_t)rank, "%s: merge %llu \"%.*s\" %s", s->path,
                        (unsigned long long)rank, (int)(m.n < 64 ? m.n : 64), m.p,
                        two ? "joins or gives a token that is not in the vocabulary"
                            : "is not two parts with one space between");
    rex_merges_put(t, id[0], id[1], (uint32_t)rank, id[2]);
    return REX_OK;
}

static rex_status load_gpt2(source *s) {
    rex_tok *const t = s->t;
    size_t longest = 0;
    t->byte_level = true;
    REX_TRY(pre_of(s));
    REX_TRY(list(s, "tokenizer.ggml.merges", REX_G_STR, true, &s->merges));
    REX_TRY(vocab_fill(s));
    REX_TRY(rex_vocab_index(t, s->path, s->e));
    if (s->merges->n > UINT32_MAX / 2)
        return rex_fail(s->e, REX_ELIMIT, -1, "%s: too many merges", s->path);
    for (uint64_t i = 0; i < s->merges->n; i++)
        if (s->merges->str[i].n > longest) longest = s->merges->str[i].n;
    uint8_t *const buf = rex_arena_take(s->tmp, longest + 1, 1, s->e);
    if (!buf) return REX_ENOMEM;
    REX_TRY(rex_merges_room(t, (size_t)s->merges->n, s->e));
    for (uint64_t i = 0; i < s->merges->n; i++) REX_TRY(merge_add(s, i, buf));
    return rex_tj_bytes(t, s->e);
}

/* ---- together ---------------------------------------------------------------------------- */

static rex_status marks(source *s, bool bos_default) {
    rex_tok *const t = s->t;
    bool bos, eos;
    REX_TRY(id_key(s, "tokenizer.ggml.bos_token_id", &t->marks.bos));
    REX_TRY(id_key(s, "tokenizer.ggml.eos_token_id", &t->marks.eos));
    REX_TRY(id_key(s, "tokenizer.ggml.padding_token_id", &t->marks.pad));
    REX_TRY(id_key(s, "tokenizer.ggml.unknown_token_id", &t->unk));
    REX_TRY(id_key(s, "tokenizer.ggml.eot_token_id", &t->marks.end_of_turn));
    REX_TRY(flag(s, "tokenizer.ggml.add_bos_token", bos_default, &bos));
    REX_TRY(flag(s, "tokenizer.ggml.add_eos_token", false, &eos));
    int32_t *const v = rex_arena_take(t->arena, 2, sizeof *v, s->e);
    if (!v) return REX_ENOMEM;
    v[0] = t->marks.bos;
    v[1] = t->marks.eos;
    t->head = v;
    t->tail = v + 1;
    t->n_head = bos && t->marks.bos >= 0;
    t->n_tail = eos && t->marks.eos >= 0;
    if (!rex_gguf_meta_find(s->g, "tokenizer.chat_template")) return REX_OK;
    rex_str text;
    REX_TRY(rex_gguf_str(s->g, "tokenizer.chat_template", &text, s->e));
    return rex_str_copy(t->arena, text, &t->template_text, s->e);
}

static rex_status load(source *s) {
    rex_str model;
    REX_TRY(rex_gguf_str(s->g, "tokenizer.ggml.model", &model, s->e));
    REX_TRY(list(s, "tokenizer.ggml.tokens", REX_G_STR, true, &s->tokens));
    REX_TRY(list(s, "tokenizer.ggml.token_type", REX_G_I64, false, &s->types));
    if (rex_str_is(model, "llama")) {
        REX_TRY(load_llama(s));
        return marks(s, true);
    }
    if (rex_str_is(model, "gpt2")) {
        REX_TRY(load_gpt2(s));
        return marks(s, s->t->pre[0].scan == REX_SCAN_LLAMA3);
    }
    return rex_fail(s->e, REX_EUNSUP, -1,
                    "%s: tokenizer.ggml.model \"%.*s\" is not supported; known: gpt2 "
                    "llama",
                    s->path, (int)(model.n < 64 ? model.n : 64), model.p);
}

rex_status rex_tokgguf_load(rex_tok *t, rex_arena *tmp, const char *path, rex_err *e) {
    rex_gguf *g;
    REX_TRY(rex_gguf_open(path, &g, e));
    source s = {.t = t, .g = g, .path = path, .tmp = tmp, .e = e};
    const rex_status st = load(&s);
    rex_gguf_close(g);
    return st;
}
