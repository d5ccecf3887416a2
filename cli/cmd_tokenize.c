/* SPDX-License-Identifier: MIT
 *
 * tokenize: text to ids, ids to text, by the model's own tokenizer. Standard input is read byte for
 * byte: a line end at its end is a part of the text.
 */
#include "cli.h"

#include <string.h>

#define OPTS(X)                                                                           \
    REX_CLI_COMMON(X)                                                                     \
    X(STR, model, "", 0, 0, "M", "m=a model folder, a tokenizer.json or a GGUF file")     \
    X(STR, text, "", 0, 0, "TEXT", "this text (or these ids) instead of standard input")  \
    X(BOOL, decode, "false", 0, 0, "", "ids in, text out; ids as JSON or as numbers")     \
    X(BOOL, bos, "true", 0, 0, "", "put what the tokenizer's own files put round a text") \
    X(BOOL, special, "true", 0, 0, "", "recognise control text; with --decode, show it")

REX_OPT_STRUCT(tokenize_opts, OPTS);
#define REX_OPT_TYPE tokenize_opts
static const rex_opt table[] = {OPTS(REX_OPT_ROW)};
enum { N_OPT = sizeof table / sizeof table[0] };

typedef struct {
    const tokenize_opts *o;
    const rex_tok *tok;
    rex_arena *a;
    rex_buf out;
    rex_str text;
    uint32_t flags;
    rex_err *e;
} job;

static rex_status encode(job *j) {
    rex_ids ids;
    size_t lost;
    REX_TRY(rex_tok_encode(j->tok, j->text, j->flags | (j->o->bos ? REX_TOK_BOS : 0), j->a, &ids,
                           &lost, j->e));
    if (lost) rex_cli_note("%zu bytes were dropped: this vocabulary has no token for them", lost);
    if (!j->o->json) {
        for (size_t i = 0; i < ids.n; i++) {
            rex_str piece;
            REX_TRY(rex_tok_piece(j->tok, ids.v[i], &piece, NULL, j->e));
            rex_jw w; /* quoted, so that line ends and spaces show */
            rex_buf_addf(&j->out, "%7d  ", ids.v[i]);
            rex_jw_init(&w, &j->out);
            rex_jw_str(&w, piece);
            rex_buf_add(&j->out, "\n", 1);
        }
        rex_cli_note("%zu tokens, %zu bytes", ids.n, j->text.n);
        return REX_OK;
    }
    rex_jw w;
    rex_jw_init(&w, &j->out);
    rex_jw_obj(&w);
    rex_jw_key(&w, "ids");
    rex_jw_arr(&w);
    for (size_t i = 0; i < ids.n; i++) rex_jw_i64(&w, ids.v[i]);
    rex_jw_arr_end(&w);
    rex_jw_obj_end(&w);
    rex_buf_add(&j->out, "\n", 1);
    return REX_OK;
}

static rex_status id_put(job *j, int32_t *v, size_t *n, double x, int64_t at) {
    if (!(x >= 0 && x <= INT32_MAX) || x != (double)(int32_t)x)
        return rex_fail(j->e, REX_EFORMAT, at, "byte %lld: a token id is a whole number from 0",
                        (long long)at);
    v[(*n)++] = (int32_t)x;
    return REX_OK;
}

/* [1, 2], {"ids": [1, 2]}, or numbers with blanks or commas between. */
static rex_status ids_read(job *j, int32_t **out, size_t *n) {
    const rex_str s = j->text;
    int32_t *const v = rex_arena_take(j->a, s.n / 2 + 1, sizeof *v, j->e);
    if (!v) return REX_ENOMEM;
    *out = v;
    *n = 0;
    size_t i = 0;
    while (i < s.n && strchr(" \t\r\n", s.p[i]) && s.p[i]) i++;
    if (i < s.n && (s.p[i] == '[' || s.p[i] == '{')) {
        rex_jval *root;
        REX_TRY(rex_json_parse(j->a, s, "the ids", &root, j->e));
        const rex_jval *const list = root->kind == REX_J_OBJ ? rex_json_get(root, "ids") : root;
        if (!list || list->kind != REX_J_ARR)
            return rex_fail(j->e, REX_EFORMAT, root->at,
                            "the ids: expected a list, or an object with \"ids\"");
        for (uint32_t k = 0; k < list->n; k++) {
            double x;
            REX_TRY(rex_json_f64(&list->u.c.item[k], "a token id", &x, j->e));
            REX_TRY(id_put(j, v, n, x, list->u.c.item[k].at));
        }
        return REX_OK;
    }
    while (i < s.n) {
        size_t k = i;
        while (k < s.n && !(s.p[k] && strchr(" ,\t\r\n", s.p[k]))) k++;
        double x = -1;
        if (k > i && !rex_num_parse((rex_str){s.p + i, k - i}, &x)) x = -1;
        if (k > i) REX_TRY(id_put(j, v, n, x, (int64_t)i));
        i = k + 1;
    }
    return REX_OK;
}

static rex_status decode(job *j) {
    int32_t *ids;
    size_t n;
    rex_str text;
    REX_TRY(ids_read(j, &ids, &n));
    const rex_status st = rex_tok_decode(j->tok, ids, n, j->flags, j->a, &text, j->e);
    /* Ids are data here, so one that is none is a failure, not misuse. */
    if (st == REX_EARG && j->e) return j->e->code = REX_EFORMAT;
    REX_TRY(st);
    if (!j->o->json) {
        rex_buf_add(&j->out, text.p, text.n);
        return REX_OK;
    }
    rex_jw w;
    rex_jw_init(&w, &j->out);
    rex_jw_obj(&w);
    rex_jw_key(&w, "text");
    rex_jw_str(&w, text);
    rex_jw_obj_end(&w);
    rex_buf_add(&j->out, "\n", 1);
    return REX_OK;
}

static rex_status run(const void *opts, int n_pos, char **pos, rex_err *e) {
    const tokenize_opts *const o = opts;
    if (n_pos > 0)
        return rex_fail(e, REX_EARG, -1, "tokenize: '%s' is no option; text goes to --text",
                        pos[0]);
    if (!o->model || !*o->model) return rex_fail(e, REX_EARG, -1, "tokenize needs --model M");
    job j = {.o = o, .flags = o->special ? REX_TOK_SPECIAL : 0, .e = e};
    rex_tok *tok = NULL;
    rex_map *in = NULL;
    rex_buf_init(&j.out, 0);
    rex_status st = rex_arena_open(0, &j.a, e);
    if (st == REX_OK) st = rex_tok_open(o->model, &tok, e);
    j.tok = tok;
    if (st == REX_OK && rex_opt_given(table, N_OPT, opts, "text")) {
        j.text = rex_str_of(o->text ? o->text : "");
    } else if (st == REX_OK) {
        st = rex_map_open("-", &in, e);
        if (st == REX_OK) j.text = (rex_str){(const char *)rex_map_view(in).p, rex_map_view(in).n};
    }
    if (st == REX_OK) st = o->decode ? decode(&j) : encode(&j);
    if (st == REX_OK) st = rex_cli_print(&j.out, e);
    rex_map_close(in);
    rex_tok_close(tok);
    rex_buf_free(&j.out);
    rex_arena_close(j.a);
    return st;
}

const rex_cmd rex_cmd_tokenize = {
    .name = "tokenize",
    .summary = "text to token ids and back",
    .usage = "--model M [--text TEXT] [--decode] [--no-bos] [--no-special]",
    .text =
        "Reads a text from standard input, byte for byte, or from --text, and prints {\"ids\": "
        "[...]} with "
        "--json, else one token a line. With --decode reads ids and prints the text; as JSON, "
        "bytes that "
        "are no UTF-8 become U+FFFD there. M is a model folder, a tokenizer.json, or a GGUF file.",
    .opt = table,
    .n_opt = N_OPT,
    .opt_bytes = sizeof(tokenize_opts),
    .run = run,
};
