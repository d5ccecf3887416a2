/* SPDX-License-Identifier: MIT
 *
 * tokbuild: a new tokenizer from texts, written as a tokenizer.json.
 *
 * Byte level: words by the GPT-2 pattern, every byte a symbol. Character level: every distinct
 * character a symbol, no words, no merges. Training is the plain count of Sennrich et al.: the
 * most frequent pair over all words (a word counts as often as it occurs) becomes a merge. Nothing
 * depends on hashing order, so the same texts give the same bytes. Made for small vocabularies:
 * each merge counts all pairs of the distinct words anew.
 */
#include "tok.h"

#include <stdlib.h>
#include <string.h>

void rex_tok_build_defaults(rex_tok_build_opts *o) {
    *o = (rex_tok_build_opts){.size = sizeof *o, .vocab = 512};
}

typedef struct {
    rex_str text;
    int64_t count;
    int32_t *sym;
    size_t n;
} word;

typedef struct {
    const rex_tok_build_opts *o;
    rex_arena *a;
    rex_str *piece; /* the symbols behind the control tokens: raw bytes */
    size_t n, room;
    int32_t (*merge)[2];
    size_t n_merge;
    word *words;
    size_t n_words;
    rex_err *e;
} builder;

/* ---- symbols
 * -------------------------------------------------------------------------------------------- */

static rex_status piece_add(builder *b, rex_str s) {
    if (b->n == b->room)
        return rex_fail(b->e, REX_EARG, -1, "tokenizer: %lld ids are too few for its characters",
                        (long long)b->o->vocab);
    return rex_str_copy(b->a, s, &b->piece[b->n++], b->e);
}

static rex_status characters(builder *b, const rex_str *texts, size_t n) {
    uint8_t *const seen = rex_arena_zero(b->a, 0x110000 / 8, 1, b->e);
    if (!seen) return REX_ENOMEM;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < texts[i].n;) {
            uint32_t cp;
            const size_t at = k;
            k += (size_t)rex_utf8_next((const uint8_t *)texts[i].p, k, texts[i].n, &cp);
            if (cp == REX_BAD_BYTE)
                return rex_fail(b->e, REX_EFORMAT, (int64_t)at,
                                "tokenizer: text %zu is no UTF-8 at byte %zu", i, at);
            seen[cp / 8] |= (uint8_t)(1 << cp % 8);
        }
    for (uint32_t cp = 0; cp < 0x110000; cp++) {
        uint8_t c[4];
        if (!(seen[cp / 8] >> cp % 8 & 1)) continue;
        const size_t len = (size_t)rex_utf8_put(cp, c);
        REX_TRY(piece_add(b, (rex_str){(const char *)c, len}));
    }
    return REX_OK;
}

static int by_text(const void *x, const void *y) {
    const rex_str a = ((const word *)x)->text, b = ((const word *)y)->text;
    const int c = memcmp(a.p, b.p, a.n < b.n ? a.n : b.n);
    return c ? c : (a.n > b.n) - (a.n < b.n);
}

/* The distinct words of the texts in byte order, each with its count and its bytes as symbols. */
static rex_status words_of(builder *b, const rex_str *texts, size_t n) {
    rex_uclass *const u = rex_arena_take(b->a, 1, sizeof *u, b->e);
    size_t total = 0, k = 0;
    if (!u) return REX_ENOMEM;
    REX_TRY(rex_uclass_make(b->a, u, b->e));
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < n; i++)
            for (size_t at = 0, to; at < texts[i].n; at = to) {
                to = rex_scan_next(u, REX_SCAN_GPT2, (const uint8_t *)texts[i].p, at, texts[i].n);
                if (pass) b->words[k++] = (word){.text = {texts[i].p + at, to - at}, .count = 1};
                else total++;
            }
        if (pass == 0) b->words = rex_arena_take(b->a, total + 1, sizeof *b->words, b->e);
        if (!b->words) return REX_ENOMEM;
    }
    qsort(b->words, total, sizeof *b->words, by_text);
    for (size_t i = 0; i < total; i++) {
        if (b->n_words && by_text(&b->words[b->n_words - 1], &b->words[i]) == 0)
            b->words[b->n_words - 1].count++;
        else b->words[b->n_words++] = b->words[i];
    }
    for (size_t i = 0; i < b->n_words; i++) {
        word *const w = &b->words[i];
        w->n = w->text.n;
        w->sym = rex_arena_take(b->a, w->n, sizeof *w->sym, b->e);
        if (!w->sym) return REX_ENOMEM;
        for (size_t c = 0; c < w->n; c++) w->sym[c] = (uint8_t)w->text.p[c];
    }
    return REX_OK;
}

/* ---- merges
 * ---------------------------------------------------------------------------------------------- */

typedef struct {
    uint64_t key; /* left << 32 | right */
    int64_t count;
} pair;

static int by_key(const void *x, const void *y) {
    const uint64_t a = ((const pair *)x)->key, b = ((const pair *)y)->key;
    return (a > b) - (a < b);
}

/* The most frequent pair, equal counts by the smaller ids; *count 0 if there is none. */
static pair best_pair(const builder *b, pair *v) {
    size_t n = 0;
    for (size_t i = 0; i < b->n_words; i++)
        for (size_t k = 0; k + 1 < b->words[i].n; k++)
            v[n++] = (pair){(uint64_t)(uint32_t)b->words[i].sym[k] << 32 |
                                (uint32_t)b->words[i].sym[k + 1],
                            b->words[i].count};
    qsort(v, n, sizeof *v, by_key);
    pair best = {0, 0}, run = {0, 0};
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || v[i].key != v[i - 1].key) run = (pair){v[i].key, 0};
        run.count += v[i].count;
        if ((i + 1 == n || v[i + 1].key != run.key) && run.count > best.count) best = run;
    }
    return best;
}

static void apply(builder *b, int32_t left, int32_t right, int32_t into) {
    for (size_t i = 0; i < b->n_words; i++) {
        word *const w = &b->words[i];
        size_t k = 0;
        for (size_t c = 0; c < w->n; c++, k++) {
            const bool hit = c + 1 < w->n && w->sym[c] == left && w->sym[c + 1] == right;
            w->sym[k] = hit ? into : w->sym[c];
            c += hit;
        }
        w->n = k;
    }
}

static rex_status merges(builder *b) {
    size_t most = 0;
    for (size_t i = 0; i < b->n_words; i++) most += b->words[i].n;
    pair *const v = rex_arena_take(b->a, most + 1, sizeof *v, b->e);
    b->merge = rex_arena_take(b->a, b->room + 1, sizeof *b->merge, b->e);
    if (!v || !b->merge) return REX_ENOMEM;
    while (b->n < b->room) {
        const pair p = best_pair(b, v);
        if (p.count < 2) break;
        const int32_t left = (int32_t)(p.key >> 32), right = (int32_t)(uint32_t)p.key;
        const rex_str x = b->piece[left], y = b->piece[right];
        rex_str s;
        char *const text = rex_arena_take(b->a, x.n + y.n + 1, 1, b->e);
        if (!text) return REX_ENOMEM;
        memcpy(text, x.p, x.n);
        memcpy(text + x.n, y.p, y.n);
        s = (rex_str){text, x.n + y.n};
        /* Two ways to the same bytes are one token; the second way would be a second id. */
        int32_t into = -1;
        for (size_t i = 0; i < b->n && into < 0; i++)
            if (rex_str_eq(b->piece[i], s)) into = (int32_t)i;
        if (into < 0) {
            into = (int32_t)b->n;
            b->piece[b->n++] = s;
        }
        b->merge[b->n_merge][0] = left;
        b->merge[b->n_merge++][1] = right;
        apply(b, left, right, into);
        if (b->n_merge == b->room) break;
    }
    return REX_OK;
}

/* ---- writing
 * --------------------------------------------------------------------------------------------- */

/* A piece as a tokenizer.json spells it, into the buffer. */
static rex_str spelling(const builder *b, rex_str raw, rex_buf *out, const rex_jw *w) {
    if (b->o->chars) return raw;
    rex_buf_reset(out);
    for (size_t i = 0; i < raw.n; i++) {
        uint8_t c[4];
        rex_buf_add(out, c, (size_t)rex_utf8_put(rex_byte_char((uint8_t)raw.p[i]), c));
    }
    if (out->bad != REX_OK) w->b->bad = out->bad; /* the next reset would forget it */
    return (rex_str){out->p, out->n};
}

static void put_added(const builder *b, rex_jw *w) {
    static const char *const flags[] = {"single_word", "lstrip", "rstrip", "normalized"};
    rex_jw_key(w, "added_tokens");
    rex_jw_arr(w);
    for (size_t i = 0; i < b->o->n_special; i++) {
        rex_jw_obj(w);
        rex_jw_key(w, "id");
        rex_jw_i64(w, (int64_t)i);
        rex_jw_key(w, "content");
        rex_jw_cstr(w, b->o->special[i]);
        for (int k = 0; k < 4; k++) {
            rex_jw_key(w, flags[k]);
            rex_jw_bool(w, false);
        }
        rex_jw_key(w, "special");
        rex_jw_bool(w, true);
        rex_jw_obj_end(w);
    }
    rex_jw_arr_end(w);
}

static void put_model(const builder *b, rex_jw *w, rex_buf *tmp) {
    rex_jw_key(w, "model");
    rex_jw_obj(w);
    rex_jw_key(w, "type");
    rex_jw_cstr(w, "BPE");
    static const char *const nulls[] = {"dropout", "unk_token", "continuing_subword_prefix",
                                        "end_of_word_suffix"};
    for (int i = 0; i < 4; i++) {
        rex_jw_key(w, nulls[i]);
        rex_jw_null(w);
    }
    static const char *const off[] = {"fuse_unk", "byte_fallback", "ignore_merges"};
    for (int i = 0; i < 3; i++) {
        rex_jw_key(w, off[i]);
        rex_jw_bool(w, false);
    }
    rex_jw_key(w, "vocab");
    rex_jw_obj(w);
    for (size_t i = 0; i < b->o->n_special; i++) {
        rex_jw_key(w, b->o->special[i]);
        rex_jw_i64(w, (int64_t)i);
    }
    for (size_t i = 0; i < b->n; i++) {
        rex_jw_keys(w, spelling(b, b->piece[i], tmp, w));
        rex_jw_i64(w, (int64_t)(b->o->n_special + i));
    }
    rex_jw_obj_end(w);
    rex_jw_key(w, "merges");
    rex_jw_arr(w);
    for (size_t i = 0; i < b->n_merge; i++) {
        rex_jw_arr(w);
        for (int k = 0; k < 2; k++) rex_jw_str(w, spelling(b, b->piece[b->merge[i][k]], tmp, w));
        rex_jw_arr_end(w);
    }
    rex_jw_arr_end(w);
    rex_jw_obj_end(w);
}

static int64_t special_id(const builder *b, const char *name) {
    for (size_t i = 0; i < b->o->n_special; i++)
        if (strcmp(b->o->special[i], name) == 0) return (int64_t)i;
    return -1;
}

static void put_post(const builder *b, rex_jw *w) {
    rex_jw_key(w, "post_processor");
    if (!b->o->bos) {
        rex_jw_null(w);
        return;
    }
    rex_buf name;
    rex_jw q;
    rex_buf_init(&name, 0);
    rex_jw_init(&q, &name);
    rex_jw_cstr(&q, b->o->bos);
    rex_buf t;
    rex_buf_init(&t, 0);
    rex_buf_addf(&t,
                 "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":%.*s,"
                 "\"type_id\":0}},"
                 "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],\"pair\":[{\"Sequence\":{\"id\":"
                 "\"A\",\"type_id\":0}},"
                 "{\"Sequence\":{\"id\":\"B\",\"type_id\":1}}],\"special_tokens\":{%.*s:{\"id\":%.*"
                 "s,\"ids\":[%lld],"
                 "\"tokens\":[%.*s]}}}",
                 (int)name.n, name.p, (int)name.n, name.p, (int)name.n, name.p,
                 (long long)special_id(b, b->o->bos), (int)name.n, name.p);
    if (name.bad != REX_OK || t.bad != REX_OK) w->b->bad = REX_ENOMEM;
    else rex_jw_raw(w, (rex_str){t.p, t.n});
    rex_buf_free(&t);
    rex_buf_free(&name);
}

static rex_status write(builder *b, rex_str *json) {
    rex_buf out, tmp;
    rex_jw w;
    rex_buf_init(&out, 0);
    rex_buf_init(&tmp, 0);
    rex_jw_init(&w, &out);
    rex_jw_obj(&w);
    rex_jw_key(&w, "version");
    rex_jw_cstr(&w, "1.0");
    static const char *const nulls[] = {"truncation", "padding"};
    for (int i = 0; i < 2; i++) {
        rex_jw_key(&w, nulls[i]);
        rex_jw_null(&w);
    }
    put_added(b, &w);
    rex_jw_key(&w, "normalizer");
    rex_jw_null(&w);
    static const char level[] =
        "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,"
        "\"use_regex\":true}";
    rex_jw_key(&w, "pre_tokenizer");
    if (b->o->chars) rex_jw_null(&w);
    else rex_jw_raw(&w, rex_str_of(level));
    put_post(b, &w);
    rex_jw_key(&w, "decoder");
    rex_jw_raw(&w, rex_str_of(b->o->chars ? "{\"type\":\"Fuse\"}" : level));
    put_model(b, &w, &tmp);
    rex_jw_obj_end(&w);
    rex_buf_add(&out, "\n", 1);
    rex_status st = rex_buf_check(&tmp, b->e);
    if (st == REX_OK) st = rex_buf_check(&out, b->e);
    if (st == REX_OK) st = rex_str_copy(b->a, (rex_str){out.p, out.n}, json, b->e);
    rex_buf_free(&tmp);
    rex_buf_free(&out);
    return st;
}

rex_status rex_tok_build(const rex_str *texts, size_t n, const rex_tok_build_opts *o, rex_arena *a,
                         rex_str *json, rex_err *e) {
    builder b = {.o = o, .a = a, .e = e};
    const int64_t least = (int64_t)o->n_special + (o->chars ? 1 : 256);
    if (o->vocab < least || o->vocab > INT32_MAX / 2)
        return rex_fail(e, REX_EARG, o->vocab,
                        "tokenizer: a vocabulary of %lld, at least %lld are needed",
                        (long long)o->vocab, (long long)least);
    const char *const marks[] = {o->bos, o->eos, o->pad};
    for (int i = 0; i < 3; i++)
        if (marks[i] && special_id(&b, marks[i]) < 0)
            return rex_fail(e, REX_EARG, -1, "tokenizer: \"%s\" is not among the control tokens",
                            marks[i]);
    b.room = (size_t)o->vocab - o->n_special;
    b.piece = rex_arena_take(a, b.room, sizeof *b.piece, e);
    if (!b.piece) return REX_ENOMEM;
    if (o->chars) {
        REX_TRY(characters(&b, texts, n));
        return write(&b, json);
    }
    for (int c = 0; c < 256; c++) {
        const char byte = (char)c;
        REX_TRY(piece_add(&b, (rex_str){&byte, 1}));
    }
    REX_TRY(words_of(&b, texts, n));
    REX_TRY(merges(&b));
    return write(&b, json);
}
