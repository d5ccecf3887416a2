/* SPDX-License-Identifier: MIT
 *
 * cli_run: run folders and pools made for a task. Everything under a final name is complete; the
 * pool and its features grow line by line and row by row, so a run that was stopped goes on with
 * --resume.
 */
#include "cli_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static rex_status join(rex_arena *a, const char *folder, const char *name, const char **out,
                       rex_err *e) {
    rex_str s;
    REX_TRY(rex_str_fmt(a, &s, e, "%s/%s", folder, name));
    *out = s.p;
    return REX_OK;
}

static rex_status make_folder(const char *path, rex_err *e) {
    struct stat sb;
    if (mkdir(path, 0777) == 0 || (stat(path, &sb) == 0 && S_ISDIR(sb.st_mode))) return REX_OK;
    return rex_fail(e, REX_EIO, -1, "%s: cannot make this folder", path);
}

rex_status rex_cli_folder_open(const rex_cli_run *r, const char *below, rex_arena *a,
                               rex_cli_folder *f, rex_err *e) {
    *f = (rex_cli_folder){.path = r->out};
    if (r->out && *r->out) {
        REX_TRY(make_folder(r->out, e));
        if (below) {
            REX_TRY(join(a, r->out, below, &f->path, e));
            REX_TRY(make_folder(f->path, e));
        }
    } else {
        const char *const tmp = getenv("TMPDIR");
        rex_str s;
        REX_TRY(rex_str_fmt(a, &s, e, "%s/repexp-XXXXXX", tmp && *tmp ? tmp : "/tmp"));
        f->path = mkdtemp((char *)(uintptr_t)s.p);
        if (!f->path) return rex_fail(e, REX_EIO, -1, "%s: cannot make a folder here", s.p);
        f->passing = true;
    }
    REX_TRY(join(a, f->path, "pool.jsonl", &f->pool, e));
    REX_TRY(join(a, f->path, "features.npy", &f->features, e));
    REX_TRY(join(a, f->path, "verdicts.jsonl", &f->verdicts, e));
    return join(a, f->path, "prompts.jsonl", &f->prompts, e);
}

void rex_cli_folder_close(rex_cli_folder *f) {
    static const char *const names[] = {"pool.jsonl",        "pool.jsonl.json",   "features.npy",
                                        "features.npy.part", "features.npy.json", "prompts.jsonl"};
    if (!f->passing || !f->path) return;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[4096];
        const int n = snprintf(path, sizeof path, "%s/%s", f->path, names[i]);
        if (n > 0 && (size_t)n < sizeof path) (void)unlink(path);
    }
    (void)rmdir(f->path);
    f->path = NULL;
}

rex_status rex_cli_put(const rex_cli_folder *f, const char *name, rex_str text, rex_arena *a,
                       rex_err *e) {
    const char *path = NULL;
    rex_out *out = NULL;
    REX_TRY(join(a, f->path, name, &path, e));
    REX_TRY(rex_out_open(path, &out, e));
    rex_out_add(out, text.p, text.n);
    return rex_out_commit(out, e);
}

/* ---- pools -------------------------------------------------------------------------------- */

static rex_status put_prompts(const rex_cli_run *r, const rex_task *t, const rex_cli_folder *f,
                              rex_arena *a, rex_err *e) {
    rex_make_opts m;
    rex_item *item = NULL;
    size_t n = 0;
    rex_make_defaults(&m);
    m.n = r->problems > 0 ? r->problems : -1;
    m.seed = (uint64_t)r->seed;
    REX_TRY(rex_task_make(t, &m, a, &item, &n, e));
    if (n == 0) return rex_fail(e, REX_EFORMAT, -1, "the task has no problems");
    rex_buf b;
    rex_buf_init(&b, 0);
    for (size_t i = 0; i < n; i++) {
        rex_buf_add(&b, item[i].line.p, item[i].line.n);
        rex_buf_add(&b, "\n", 1);
    }
    rex_status s = rex_buf_check(&b, e);
    if (s == REX_OK) s = rex_cli_put(f, "prompts.jsonl", (rex_str){b.p, b.n}, a, e);
    rex_buf_free(&b);
    return s;
}

/* The options that this run and `generate` both have, by name. */
static rex_status share_options(const rex_cli_run *r, void *to, rex_arena *a, rex_err *e) {
    rex_buf b;
    rex_jw w;
    rex_jval *mine = NULL;
    rex_str text;
    rex_buf_init(&b, 0);
    rex_jw_init(&w, &b);
    rex_opt_json(r->list, r->n_list, r->opts, &w);
    rex_status s = rex_buf_check(&b, e);
    if (s == REX_OK) s = rex_str_copy(a, (rex_str){b.p, b.n}, &text, e);
    rex_buf_free(&b);
    if (s == REX_OK) s = rex_json_parse(a, text, "options", &mine, e);
    const rex_cmd *const g = &rex_cmd_generate;
    for (size_t i = 0; s == REX_OK && i < g->n_opt; i++) {
        const rex_jval *const v = rex_json_get(mine, g->opt[i].name);
        rex_str value = {NULL, 0};
        if (!v || v->kind == REX_J_NULL) continue;
        if (v->kind == REX_J_STR || v->kind == REX_J_NUM) s = rex_str_copy(a, v->u.s, &value, e);
        else value = rex_str_of(v->kind == REX_J_TRUE ? "true" : "false");
        if (s == REX_OK && value.n > 0)
            s = rex_opt_set(g->opt, g->n_opt, to, g->opt[i].name, value.p, e);
    }
    return s;
}

rex_status rex_cli_make_pool(const rex_cli_run *r, const rex_task *t, const rex_cli_folder *f,
                             bool states, const char *const *set, size_t n_set, rex_arena *a,
                             rex_err *e) {
    const rex_cmd *const g = &rex_cmd_generate;
    char n[24];
    REX_TRY(put_prompts(r, t, f, a, e));
    void *const o = rex_arena_zero(a, 1, g->opt_bytes, e);
    if (!o) return REX_ENOMEM;
    rex_opt_defaults(g->opt, g->n_opt, o, g->opt_bytes);
    REX_TRY(share_options(r, o, a, e));
    (void)snprintf(n, sizeof n, "%lld", (long long)(r->samples > 0 ? r->samples : 64));
    rex_str count;
    REX_TRY(rex_str_copy(a, rex_str_of(n), &count, e));
    REX_TRY(rex_opt_set(g->opt, g->n_opt, o, "samples", count.p, e));
    REX_TRY(rex_opt_set(g->opt, g->n_opt, o, "prompts", f->prompts, e));
    REX_TRY(rex_opt_set(g->opt, g->n_opt, o, "out", f->pool, e));
    if (states) REX_TRY(rex_opt_set(g->opt, g->n_opt, o, "features", f->features, e));
    REX_TRY(rex_opt_set(g->opt, g->n_opt, o, "map", "", e));
    for (size_t i = 0; i < n_set; i++)
        REX_TRY(rex_opt_set(g->opt, g->n_opt, o, set[2 * i], set[2 * i + 1], e));
    return g->run(o, 0, NULL, e);
}

/* ---- run.json ----------------------------------------------------------------------------- */

static void put_hash(rex_jw *w, const char *key, const char *path) {
    char text[17];
    if (!rex_cli_digest(path, text)) return;
    rex_jw_key(w, key);
    rex_jw_cstr(w, text);
}

static void put_text(rex_jw *w, const char *key, const char *text) {
    if (!text || !*text) return;
    rex_jw_key(w, key);
    rex_jw_cstr(w, text);
}

rex_status rex_cli_put_run(const rex_cli_run *r, const rex_cli_folder *f, const char *task,
                           const char *const *fact, size_t n_fact, rex_arena *a, rex_err *e) {
    const char *kernel[8] = {"ref"};
    const char *const forced = getenv("REX_KERNEL");
    rex_buf b;
    rex_jw w;
    (void)rex_kern_list(kernel, 8);
    rex_buf_init(&b, 0);
    rex_jw_init(&w, &b);
    rex_jw_obj(&w);
    rex_jw_key(&w, "v");
    rex_jw_i64(&w, 1);
    put_text(&w, "command", r->command);
    put_text(&w, "version", rex_version());
    rex_jw_key(&w, "options");
    rex_opt_json(r->list, r->n_list, r->opts, &w);
    put_text(&w, "kernel", forced && *forced ? forced : kernel[0]);
    rex_jw_key(&w, "seed");
    rex_jw_i64(&w, r->seed);
    put_text(&w, "task", task);
    put_text(&w, "model", r->model);
    put_text(&w, "adapter", r->adapter);
    if (r->from && *r->from) {
        put_text(&w, "pool", r->from);
        put_text(&w, "features", r->features);
    }
    rex_jw_key(&w, "hashes");
    rex_jw_obj(&w);
    put_hash(&w, "model", r->model);
    put_hash(&w, "adapter", r->adapter);
    put_hash(&w, "data", r->from && *r->from ? r->from : r->data);
    rex_jw_obj_end(&w);
    rex_jw_key(&w, "facts");
    rex_jw_arr(&w);
    for (size_t i = 0; i < n_fact; i++) {
        if (!fact[2 * i + 1] || !*fact[2 * i + 1]) continue;
        rex_jw_arr(&w);
        rex_jw_cstr(&w, fact[2 * i]);
        rex_jw_cstr(&w, fact[2 * i + 1]);
        rex_jw_arr_end(&w);
    }
    rex_jw_arr_end(&w);
    rex_jw_obj_end(&w);
    rex_buf_add(&b, "\n", 1);
    rex_status s = rex_buf_check(&b, e);
    if (s == REX_OK) s = rex_cli_put(f, "run.json", (rex_str){b.p, b.n}, a, e);
    rex_buf_free(&b);
    return s;
}
