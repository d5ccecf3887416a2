/* SPDX-License-Identifier: MIT
 *
 * inspect: what is in this file or folder; without one, what this program is made of. JSON is the
 * contract; for people the same object is printed as an outline.
 */
#include "cli.h"

#include <stdio.h>
#include <string.h>

#define OPTS(X)                                                                              \
    REX_CLI_COMMON(X)                                                                        \
    X(STR, adapter, "", 0, 0, "DIR", "whether this adapter fits the model, and what it adds")

REX_OPT_STRUCT(inspect_opts, OPTS);
#define REX_OPT_TYPE inspect_opts
static const rex_opt table[] = { OPTS(REX_OPT_ROW) };

static rex_status about(rex_arena *a, rex_str *json, rex_err *e) {
    const char *kernel[16];
    const size_t n = rex_kern_list(kernel, 16);
    rex_buf b;
    rex_jw w;
    rex_buf_init(&b, 0);
    rex_jw_init(&w, &b);
    rex_jw_obj(&w);
    rex_jw_key(&w, "version");
    rex_jw_cstr(&w, rex_version());
    rex_jw_key(&w, "kernels");
    rex_jw_arr(&w);
    for (size_t i = 0; i < n && i < 16; i++) rex_jw_cstr(&w, kernel[i]);
    rex_jw_arr_end(&w);
    rex_jw_key(&w, "tasks");
    rex_jw_arr(&w);
    for (size_t i = 0; i < rex_task_count(); i++) rex_jw_cstr(&w, rex_task_at(i)->name);
    rex_jw_arr_end(&w);
    rex_jw_obj_end(&w);
    rex_status s = rex_buf_check(&b, e);
    if (s == REX_OK) s = rex_str_copy(a, (rex_str){ b.p, b.n }, json, e);
    rex_buf_free(&b);
    return s;
}

/* ---- the outline ---- */

static void scalar(rex_buf *b, const rex_jval *v) {
    static const char *const words[] = { "null", "false", "true" };
    if (v->kind <= REX_J_TRUE) {
        rex_buf_addf(b, "%s", words[v->kind]);
        return;
    }
    for (size_t i = 0; i < v->u.s.n && i < 200; i++) { /* no control codes on a terminal */
        const unsigned char c = (unsigned char)v->u.s.p[i];
        if (c < 32 || c == 127)
            rex_buf_addf(b, "\\x%02x", c);
        else
            rex_buf_add(b, v->u.s.p + i, 1);
    }
    if (v->u.s.n > 200) rex_buf_addf(b, "...");
}

static bool is_scalar(const rex_jval *v) { return v->kind != REX_J_ARR && v->kind != REX_J_OBJ; }

static bool all_scalars(const rex_jval *v) {
    for (uint32_t i = 0; i < v->n; i++)
        if (!is_scalar(&v->u.c.item[i])) return false;
    return true;
}

/* A row of a list: the values of an object side by side, the name first. */
static void row(rex_buf *b, const rex_jval *v) {
    for (uint32_t i = 0; i < v->n; i++) {
        const rex_jval *x = &v->u.c.item[i];
        if (is_scalar(x)) {
            const size_t at = b->n;
            scalar(b, x);
            const size_t want = i == 0 ? 48 : 6;
            for (size_t k = b->n - at; i + 1 < v->n && k < want; k++) rex_buf_add(b, " ", 1);
        } else if (x->kind == REX_J_ARR) {
            for (uint32_t k = 0; k < x->n; k++) {
                rex_buf_addf(b, k ? " x " : "");
                if (is_scalar(&x->u.c.item[k])) scalar(b, &x->u.c.item[k]);
            }
        }
        rex_buf_addf(b, i + 1 < v->n ? "  " : "\n");
    }
}

static void outline(rex_buf *b, const rex_jval *v, int depth) {
    for (uint32_t i = 0; i < v->n; i++) {
        const rex_jval *x = &v->u.c.item[i];
        rex_buf_addf(b, "%*s", 2 * depth, "");
        if (v->kind == REX_J_OBJ) rex_buf_addf(b, "%.*s: ", (int)v->u.c.key[i].n, v->u.c.key[i].p);
        if (is_scalar(x)) {
            scalar(b, x);
            rex_buf_addf(b, "\n");
        } else if (v->kind == REX_J_ARR) {
            row(b, x);
        } else if (x->kind == REX_J_ARR && all_scalars(x)) {
            for (uint32_t k = 0; k < x->n; k++) {
                rex_buf_addf(b, k ? ", " : "");
                scalar(b, &x->u.c.item[k]);
            }
            rex_buf_addf(b, "\n");
        } else {
            rex_buf_addf(b, "\n");
            if (depth < 20) outline(b, x, depth + 1);
        }
    }
}

/* The description of a model with that of an adapter on top of it, which must fit. */
static rex_status with_adapter(const char *path, const char *adapter, rex_arena *a, rex_str *json,
                               rex_err *e) {
    rex_model_opts o;
    rex_model *m = NULL;
    rex_buf b;
    rex_jw w;
    rex_model_defaults(&o);
    o.config_only = true;
    o.adapter = adapter;
    REX_TRY(rex_model_open(path, &o, NULL, &m, e));
    const rex_model_info *const i = rex_model_about(m);
    rex_buf_init(&b, 0);
    rex_buf_add(&b, json->p, json->n - 1); /* without its closing brace */
    rex_buf_addf(&b, ",\"adapter\":");
    rex_jw_init(&w, &b);
    rex_jw_obj(&w);
    rex_jw_key(&w, "path");
    rex_jw_cstr(&w, adapter);
    rex_jw_key(&w, "rank");
    rex_jw_i64(&w, i->lora_rank);
    rex_jw_key(&w, "alpha");
    rex_jw_f64(&w, i->lora_alpha);
    rex_jw_key(&w, "targets");
    rex_jw_cstr(&w, i->lora_targets);
    rex_jw_key(&w, "params");
    rex_jw_i64(&w, i->lora_params);
    rex_jw_obj_end(&w);
    rex_buf_addf(&b, "}");
    rex_status s = rex_buf_check(&b, e);
    if (s == REX_OK) s = rex_str_copy(a, (rex_str){ b.p, b.n }, json, e);
    rex_buf_free(&b);
    rex_model_close(m);
    return s;
}

static rex_status work(const inspect_opts *o, const char *path, rex_arena *a, rex_buf *b,
                       rex_err *e) {
    rex_str json;
    rex_jval *v;
    if (path)
        REX_TRY(rex_file_describe(a, path, &json, e));
    else
        REX_TRY(about(a, &json, e));
    if (path && o->adapter && *o->adapter) REX_TRY(with_adapter(path, o->adapter, a, &json, e));
    if (o->json) {
        rex_buf_add(b, json.p, json.n);
        rex_buf_addf(b, "\n");
    } else {
        REX_TRY(rex_json_parse(a, json, "description", &v, e));
        outline(b, v, 0);
    }
    return rex_cli_print(b, e);
}

static rex_status run(const void *opts, int n_pos, char **pos, rex_err *e) {
    const inspect_opts *o = opts;
    rex_arena *a = NULL;
    rex_buf b;
    if (n_pos > 1)
        return rex_fail(e, REX_EARG, -1, "inspect: one file at a time, not also '%s'", pos[1]);
    rex_buf_init(&b, 0);
    rex_status s = rex_arena_open(0, &a, e);
    if (s == REX_OK) s = work(o, n_pos ? pos[0] : NULL, a, &b, e);
    rex_buf_free(&b);
    rex_arena_close(a);
    return s;
}

const rex_cmd rex_cmd_inspect = {
    .name = "inspect",
    .summary = "what is in a file: arrays, tensors, models, pools, runs",
    .usage = "[FILE|FOLDER] [--adapter DIR] [--json]",
    .text = "Describes an .npy array, a safetensors or GGUF file, a model or run folder, a "
            "tokenizer.json, an adapter (of a folder, or with --adapter on top of a model), or "
            "records (rows, prompts, which fields how many rows have, rewards, verdicts). The file "
            "is read by the "
            "same readers as everywhere, so a file that lies is refused here with the sentence "
            "that it would get "
            "there. Without a file: the version and the kernel tables of this machine, the best "
            "one first.",
    .opt = table,
    .n_opt = sizeof table / sizeof *table,
    .opt_bytes = sizeof(inspect_opts),
    .run = run,
};
