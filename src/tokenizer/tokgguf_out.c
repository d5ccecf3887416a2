/* SPDX-License-Identifier: MIT
 *
 * tokgguf_out: a tokenizer as the metadata of a GGUF file, `tokenizer.ggml.*`.
 *
 * GGUF names a byte-level pre-tokeniser by a word (`pre`) instead of spelling it, and has no place
 * for the finer flags of added tokens. So what is written is checked to mean, for every text, what
 * the tokenizer means; where that cannot be said the tokenizer is refused. A tokenizer of single
 * ASCII characters is written as a byte-level one without merges: the same ids for every text.
 */
#include "tok.h"
#include "../formats/formats.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum { TYPE_NORMAL = 1, TYPE_CONTROL = 3, TYPE_USER = 4 };

typedef struct {
    const rex_tok *t;
    const char *what;
    rex_gguf_out *out;
    rex_arena *tmp;
    rex_err *e;
} sink;

static rex_status no_place(const sink *s, const char *why) {
    return rex_fail(s->e, REX_EUNSUP, -1,
                    "%s: GGUF has no exact form for this tokenizer: %s; --no-tokenizer writes the "
                    "model without it",
                    s->what, why);
}

/* ---- is there a form? -------------------------------------------------------------------- */

/* Every piece of the model is one byte below 128, and texts are cut by nothing. */
static bool is_ascii_characters(const rex_tok *t) {
    if (t->byte_level || t->byte_fallback || t->spm || t->n_norm || t->n_pre || t->dec.join_space ||
        t->dec.drop_meta || t->dec.strip)
        return false;
    for (int64_t i = 0; i < t->n; i++)
        if (!(t->kind[i] & REX_P_ADDED) && (t->raw[i].n != 1 || (uint8_t)t->raw[i].p[0] > 127))
            return false;
    return true;
}

/* The word for the steps before merging, or NULL. */
static const char *pre_name(const rex_tok *t) {
    const bool nfc = t->n_norm == 1 && t->norm[0].kind == REX_NORM_FORM &&
                     t->norm[0].form == (UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    if (t->n_norm > 0 && !nfc) return NULL;
    const bool digits = t->n_pre == 2 && t->pre[0].kind == REX_PRE_DIGITS &&
                        t->pre[0].how == REX_ISOLATED && t->pre[0].each;
    if (t->n_pre != (digits ? 2 : 1)) return NULL;
    const rex_pre *const p = &t->pre[t->n_pre - 1];
    if (p->kind != REX_PRE_SCAN || p->how != REX_ISOLATED || p->invert) return NULL;
    if (p->scan == REX_SCAN_GPT2 && !nfc && !t->ignore_merges) return digits ? "smollm" : "gpt-2";
    if (digits) return NULL;
    if (p->scan == REX_SCAN_QWEN2 && nfc && !t->ignore_merges) return "qwen2";
    if (p->scan == REX_SCAN_LLAMA3 && !nfc) return t->ignore_merges ? "llama-bpe" : "dbrx";
    return NULL;
}

static rex_status check_added(const sink *s) {
    for (size_t i = 0; i < s->t->n_added; i++) {
        const rex_added *const d = &s->t->added[i];
        if (d->lstrip || d->rstrip || d->single_word)
            return no_place(s,
                            "an added token takes the white space beside it, or stands for whole "
                            "words only");
        if (d->normalized && s->t->n_norm > 0)
            return no_place(s, "an added token is looked for in normalised text");
    }
    return REX_OK;
}

static bool is_around(const int32_t *v, size_t n, int32_t id) {
    return n == 0 || (n == 1 && v[0] == id && id >= 0);
}

/* ---- vocabulary and merges --------------------------------------------------------------- */

/* A piece of characters in the byte-level alphabet. */
static rex_status spelt(const sink *s, rex_str raw, rex_str *out) {
    uint8_t c[4];
    const size_t n = (size_t)rex_utf8_put(rex_byte_char((uint8_t)raw.p[0]), c);
    return rex_str_copy(s->tmp, (rex_str){(const char *)c, n}, out, s->e);
}

static rex_status put_vocabulary(const sink *s, bool characters) {
    const rex_tok *const t = s->t;
    rex_str *const piece = rex_arena_take(s->tmp, (size_t)t->n, sizeof *piece, s->e);
    int32_t *const type = piece ? rex_arena_take(s->tmp, (size_t)t->n, sizeof *type, s->e) : NULL;
    if (!type) return REX_ENOMEM;
    for (int64_t i = 0; i < t->n; i++) {
        const uint8_t k = t->kind[i];
        type[i] = k & REX_P_CONTROL ? TYPE_CONTROL : k & REX_P_ADDED ? TYPE_USER : TYPE_NORMAL;
        piece[i] = t->piece[i];
        if (characters && type[i] == TYPE_NORMAL) REX_TRY(spelt(s, t->raw[i], &piece[i]));
    }
    rex_gguf_out_strs(s->out, "tokenizer.ggml.tokens", piece, (size_t)t->n);
    rex_gguf_out_i32s(s->out, "tokenizer.ggml.token_type", type, (size_t)t->n);
    return REX_OK;
}

static int by_rank(const void *a, const void *b) {
    const rex_merge *const x = a, *const y = b;
    return (x->rank > y->rank) - (x->rank < y->rank);
}

static rex_status put_merges(const sink *s) {
    const rex_tok *const t = s->t;
    size_t n = 0;
    for (uint64_t i = 0; t->merge && i <= t->merge_mask; i++) n += t->merge[i].key != UINT64_MAX;
    rex_merge *const m = rex_arena_take(s->tmp, n + 1, sizeof *m, s->e);
    rex_str *const line = m ? rex_arena_take(s->tmp, n + 1, sizeof *line, s->e) : NULL;
    if (!line) return REX_ENOMEM;
    n = 0;
    for (uint64_t i = 0; t->merge && i <= t->merge_mask; i++)
        if (t->merge[i].key != UINT64_MAX) m[n++] = t->merge[i];
    qsort(m, n, sizeof *m, by_rank);
    for (size_t i = 0; i < n; i++) {
        const rex_str a = t->piece[m[i].key >> 32], b = t->piece[(uint32_t)m[i].key];
        REX_TRY(rex_str_fmt(s->tmp, &line[i], s->e, "%.*s %.*s", (int)a.n, a.p, (int)b.n, b.p));
    }
    rex_gguf_out_strs(s->out, "tokenizer.ggml.merges", line, n);
    return REX_OK;
}

/* ---- together ---------------------------------------------------------------------------- */

static void put_id(const sink *s, const char *key, int32_t id) {
    if (id >= 0) rex_gguf_out_i64(s->out, key, REX_G_U32, id);
}

static rex_status put(const sink *s) {
    const rex_tok *const t = s->t;
    const bool characters = is_ascii_characters(t);
    if (!characters && !t->byte_level)
        return no_place(s, "it is neither byte-level nor one of single ASCII characters");
    const char *const pre = characters ? "gpt-2" : pre_name(t);
    if (!pre) return no_place(s, "its way of cutting a text into words has no name there");
    REX_TRY(check_added(s));
    if (!is_around(t->head, t->n_head, t->marks.bos) ||
        !is_around(t->tail, t->n_tail, t->marks.eos))
        return no_place(s, "it puts more than a first and a last token round a text");
    rex_gguf_out_str(s->out, "tokenizer.ggml.model", rex_str_of("gpt2"));
    rex_gguf_out_str(s->out, "tokenizer.ggml.pre", rex_str_of(pre));
    REX_TRY(put_vocabulary(s, characters));
    REX_TRY(put_merges(s));
    put_id(s, "tokenizer.ggml.bos_token_id", t->marks.bos);
    put_id(s, "tokenizer.ggml.eos_token_id", t->marks.eos);
    put_id(s, "tokenizer.ggml.padding_token_id", t->marks.pad);
    put_id(s, "tokenizer.ggml.unknown_token_id", t->unk);
    /* an end of turn beside eos: the reader stops at both */
    int32_t turn = t->marks.end_of_turn;
    for (size_t i = 0; i < t->marks.n_stop && turn < 0; i++)
        if (t->marks.stop[i] != t->marks.eos) turn = t->marks.stop[i];
    put_id(s, "tokenizer.ggml.eot_token_id", turn);
    rex_gguf_out_bool(s->out, "tokenizer.ggml.add_bos_token", t->n_head > 0);
    rex_gguf_out_bool(s->out, "tokenizer.ggml.add_eos_token", t->n_tail > 0);
    if (t->template_text.p)
        rex_gguf_out_str(s->out, "tokenizer.chat_template", t->template_text);
    return REX_OK;
}

rex_status rex_tok_put_gguf(const rex_tok *t, const char *what, struct rex_gguf_out *out,
                            rex_err *e) {
    sink s = {.t = t, .what = what, .out = out, .e = e};
    REX_TRY(rex_arena_open(0, &s.tmp, e));
    const rex_status st = put(&s);
    rex_arena_close(s.tmp);
    return st;
}
