/* SPDX-License-Identifier: MIT
 *
 * tokjson_out: a byte-level tokenizer as tokenizer.json and tokenizer_config.json, the form in
 * which a model folder carries it. Meant for tokenizers that came from a GGUF file.
 *
 * What is written means, for every text, what the tokenizer means; where that cannot be said it is
 * refused. Every id is spelt in the vocabulary, the added ones too: the reference package numbers
 * added tokens anew unless the vocabulary already has them.
 */
#include "tok.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

static const char byte_level[] =
    "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":";

static rex_status no_form(const char *what, const char *why, rex_err *e) {
    return rex_fail(e, REX_EUNSUP, -1,
                    "%s: tokenizer.json has no exact form for this tokenizer: %s", what, why);
}

/* ---- is there a form? -------------------------------------------------------------------- */

static bool is_nfc(const rex_norm *n) {
    return n->kind == REX_NORM_FORM && n->form == (UTF8PROC_STABLE | UTF8PROC_COMPOSE);
}

/* Ids at the end that no text reaches fill a table of weights up; a tokenizer.json has none. */
static int64_t n_used(const rex_tok *t) {
    int64_t n = t->n;
    while (n > 0 && !(t->kind[n - 1] & (REX_P_MODEL | REX_P_ADDED))) n--;
    return n;
}

static rex_status check(const rex_tok *t, const char *what, rex_err *e) {
    if (!t->byte_level) return no_form(what, "it is not byte-level", e);
    if (t->n_norm > 1 || (t->n_norm == 1 && !is_nfc(&t->norm[0])))
        return no_form(what, "it changes texts by more than NFC", e);
    for (int i = 0; i < t->n_pre; i++) {
        const rex_pre *const p = &t->pre[i];
        const bool digits = p->kind == REX_PRE_DIGITS && p->each;
        const bool scan = p->kind == REX_PRE_SCAN && i == t->n_pre - 1;
        if ((!digits && !scan) || p->how != REX_ISOLATED || p->invert)
            return no_form(what, "a step of its way of cutting texts", e);
    }
    if (t->n_pre == 0 || t->pre[t->n_pre - 1].kind != REX_PRE_SCAN)
        return no_form(what, "its way of cutting texts", e);
    const int64_t n = n_used(t);
    for (int64_t i = 0; i < n; i++)
        if (t->ignore_merges && !(t->kind[i] & (REX_P_MODEL | REX_P_ADDED)))
            return no_form(what, "a token that no text reaches would be reached as a whole word",
                           e);
    return REX_OK;
}

/* ---- parts ------------------------------------------------------------------------------- */

static void put_added(const rex_tok *t, rex_jw *w) {
    rex_jw_key(w, "added_tokens");
    rex_jw_arr(w);
    for (size_t i = 0; i < t->n_added; i++) {
        const rex_added *const d = &t->added[i];
        const struct {
            const char *key;
            bool v;
        } flag[] = {{"single_word", d->single_word}, {"lstrip", d->lstrip}, {"rstrip", d->rstrip},
                    {"normalized", d->normalized},   {"special", d->control}};
        rex_jw_obj(w);
        rex_jw_key(w, "id");
        rex_jw_i64(w, d->id);
        rex_jw_key(w, "content");
        rex_jw_str(w, d->text);
        for (size_t k = 0; k < sizeof flag / sizeof *flag; k++) {
            rex_jw_key(w, flag[k].key);
            rex_jw_bool(w, flag[k].v);
        }
        rex_jw_obj_end(w);
    }
    rex_jw_arr_end(w);
}

static void put_pre(const rex_tok *t, rex_buf *b, rex_jw *w) {
    rex_jw_key(w, "pre_tokenizer");
    rex_jw_obj(w);
    rex_jw_key(w, "type");
    rex_jw_cstr(w, "Sequence");
    rex_jw_key(w, "pretokenizers");
    rex_jw_arr(w);
    for (int i = 0; i < t->n_pre - 1; i++)
        rex_jw_raw(w, rex_str_of("{\"type\":\"Digits\",\"individual_digits\":true}"));
    rex_jw_raw(w, rex_str_of("{\"type\":\"Split\",\"pattern\":{\"Regex\":"));
    w->comma = false;
    rex_jw_cstr(w, rex_scan_pattern(t->pre[t->n_pre - 1].scan));
    rex_buf_addf(b, "},\"behavior\":\"Isolated\",\"invert\":false},%sfalse}", byte_level);
    rex_jw_arr_end(w);
    rex_jw_obj_end(w);
}

static void put_single(const rex_tok *t, const int32_t *id, size_t n, rex_jw *w) {
    for (size_t i = 0; i < n; i++) {
        rex_jw_obj(w);
        rex_jw_key(w, "SpecialToken");
        rex_jw_obj(w);
        rex_jw_key(w, "id");
        rex_jw_str(w, t->piece[id[i]]);
        rex_jw_key(w, "type_id");
        rex_jw_i64(w, 0);
        rex_jw_obj_end(w);
        rex_jw_obj_end(w);
    }
}

static void put_special(const rex_tok *t, const int32_t *id, size_t n, rex_jw *w) {
    for (size_t i = 0; i < n; i++) {
        rex_jw_keys(w, t->piece[id[i]]);
        rex_jw_obj(w);
        rex_jw_key(w, "id");
        rex_jw_str(w, t->piece[id[i]]);
        rex_jw_key(w, "ids");
        rex_jw_arr(w);
        rex_jw_i64(w, id[i]);
        rex_jw_arr_end(w);
        rex_jw_key(w, "tokens");
        rex_jw_arr(w);
        rex_jw_str(w, t->piece[id[i]]);
        rex_jw_arr_end(w);
        rex_jw_obj_end(w);
    }
}

/* What goes round a text; a pair is the two texts behind each other, as the reference demands. */
static void put_post(const rex_tok *t, rex_jw *w) {
    static const char *const texts[] = {"{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}",
                                        "{\"Sequence\":{\"id\":\"B\",\"type_id\":1}}"};
    const bool same = t->n_head && t->n_tail && t->head[0] == t->tail[0];
    rex_jw_key(w, "post_processor");
    if (t->n_head + t->n_tail == 0) {
        rex_jw_null(w);
        return;
    }
    rex_jw_obj(w);
    rex_jw_key(w, "type");
    rex_jw_cstr(w, "TemplateProcessing");
    for (int n = 1; n <= 2; n++) {
        rex_jw_key(w, n == 1 ? "single" : "pair");
        rex_jw_arr(w);
        put_single(t, t->head, t->n_head, w);
        for (int k = 0; k < n; k++) rex_jw_raw(w, rex_str_of(texts[k]));
        put_single(t, t->tail, t->n_tail, w);
        rex_jw_arr_end(w);
    }
    rex_jw_key(w, "special_tokens");
    rex_jw_obj(w);
    put_special(t, t->head, t->n_head, w);
    put_special(t, t->tail, same ? 0 : t->n_tail, w);
    rex_jw_obj_end(w);
    rex_jw_obj_end(w);
}

static int by_rank(const void *a, const void *b) {
    const rex_merge *const x = a, *const y = b;
    return (x->rank > y->rank) - (x->rank < y->rank);
}

static rex_status put_model(const rex_tok *t, rex_arena *tmp, rex_jw *w, rex_err *e) {
    size_t n = 0;
    for (uint64_t i = 0; t->merge && i <= t->merge_mask; i++) n += t->merge[i].key != UINT64_MAX;
    rex_merge *const m = rex_arena_take(tmp, n + 1, sizeof *m, e);
    if (!m) return REX_ENOMEM;
    n = 0;
    for (uint64_t i = 0; t->merge && i <= t->merge_mask; i++)
        if (t->merge[i].key != UINT64_MAX) m[n++] = t->merge[i];
    qsort(m, n, sizeof *m, by_rank);
    rex_jw_key(w, "model");
    rex_jw_raw(w, rex_str_of("{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":null,"
                             "\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,"
                             "\"fuse_unk\":false,\"byte_fallback\":false"));
    rex_jw_key(w, "ignore_merges");
    rex_jw_bool(w, t->ignore_merges);
    rex_jw_key(w, "vocab");
    rex_jw_obj(w);
    const int64_t used = n_used(t);
    for (int64_t i = 0; i < used; i++) {
        rex_jw_keys(w, t->piece[i]);
        rex_jw_i64(w, i);
    }
    rex_jw_obj_end(w);
    rex_jw_key(w, "merges");
    rex_jw_arr(w);
    for (size_t i = 0; i < n; i++) {
        rex_jw_arr(w);
        rex_jw_str(w, t->piece[m[i].key >> 32]);
        rex_jw_str(w, t->piece[(uint32_t)m[i].key]);
        rex_jw_arr_end(w);
    }
    rex_jw_arr_end(w);
    rex_jw_obj_end(w);
    return REX_OK;
}

/* ---- together ---------------------------------------------------------------------------- */

static rex_status put(const rex_tok *t, rex_arena *tmp, rex_buf *b, rex_err *e) {
    rex_jw w;
    rex_jw_init(&w, b);
    rex_jw_obj(&w);
    rex_jw_key(&w, "version");
    rex_jw_cstr(&w, "1.0");
    rex_jw_key(&w, "truncation");
    rex_jw_null(&w);
    rex_jw_key(&w, "padding");
    rex_jw_null(&w);
    put_added(t, &w);
    rex_jw_key(&w, "normalizer");
    rex_jw_raw(&w, rex_str_of(t->n_norm ? "{\"type\":\"NFC\"}" : "null"));
    put_pre(t, b, &w);
    put_post(t, &w);
    rex_jw_key(&w, "decoder");
    rex_jw_raw(&w, rex_str_of(byte_level));
    rex_buf_addf(b, "true}");
    REX_TRY(put_model(t, tmp, &w, e));
    rex_jw_obj_end(&w);
    rex_buf_addf(b, "\n");
    return rex_buf_check(b, e);
}

static rex_status put_config(const rex_tok *t, rex_buf *b, rex_err *e) {
    const struct {
        const char *key;
        int32_t id;
    } mark[] = {{"bos_token", t->marks.bos},
                {"eos_token", t->marks.eos},
                {"pad_token", t->marks.pad},
                {"unk_token", t->marks.unk}};
    rex_jw w;
    rex_jw_init(&w, b);
    rex_jw_obj(&w);
    rex_jw_key(&w, "tokenizer_class");
    rex_jw_cstr(&w, "PreTrainedTokenizerFast");
    rex_jw_key(&w, "clean_up_tokenization_spaces");
    rex_jw_bool(&w, false);
    for (size_t i = 0; i < sizeof mark / sizeof *mark; i++) {
        if (mark[i].id < 0) continue;
        rex_jw_key(&w, mark[i].key);
        rex_jw_str(&w, t->piece[mark[i].id]);
    }
    if (t->template_text.p) {
        rex_jw_key(&w, "chat_template");
        rex_jw_str(&w, t->template_text);
    }
    rex_jw_obj_end(&w);
    rex_buf_addf(b, "\n");
    return rex_buf_check(b, e);
}

/* Names that JSON cannot hold, or that occur twice, show when the text is read. */
static rex_status read_back(const rex_str text, const char *what, rex_arena *tmp, rex_err *e) {
    rex_tok *again = NULL;
    rex_err why;
    REX_TRY(rex_tok_new(&again, e));
    const rex_status s = rex_tokjson_parse(again, tmp, text, "tokenizer.json", &why);
    rex_tok_close(again);
    if (s == REX_EFORMAT) return no_form(what, why.text, e);
    return s == REX_OK ? s : rex_fail(e, s, why.at, "%s: %s", what, why.text);
}

rex_status rex_tok_put_json(const rex_tok *t, const char *what, rex_arena *a, rex_str *tokenizer,
                            rex_str *config, rex_err *e) {
    rex_arena *tmp = NULL;
    rex_buf b;
    REX_TRY(check(t, what, e));
    REX_TRY(rex_arena_open(0, &tmp, e));
    rex_buf_init(&b, 0);
    rex_status s = put(t, tmp, &b, e);
    if (s == REX_OK) s = rex_str_copy(a, (rex_str){b.p, b.n}, tokenizer, e);
    if (s == REX_OK) s = read_back(*tokenizer, what, tmp, e);
    rex_buf_reset(&b);
    if (s == REX_OK) s = put_config(t, &b, e);
    if (s == REX_OK) s = rex_str_copy(a, (rex_str){b.p, b.n}, config, e);
    rex_buf_free(&b);
    rex_arena_close(tmp);
    return s;
}
