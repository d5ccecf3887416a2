/* SPDX-License-Identifier: MIT
 *
 * cli_run: shared options, run folders and pools made for a task. Everything under a final name is
 * complete; the pool and its features grow line by line and row by row, so a run that was stopped
 * goes on with --resume.
 */
#include "cli_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool given(const char *s) { return s && *s; }

/* ---- options -------------------------------------------------------------------------------- */

static const rex_opt shared[] = {
#define REX_OPT_TYPE rex_cli_shared
    REX_CLI_SHARED(REX_OPT_ROW)
#undef REX_OPT_TYPE
};

REX_OPT_STRUCT(task_part, REX_TASK_OPTS);
static const rex_opt task_list[] = {
#define REX_OPT_TYPE task_part
    REX_TASK_OPTS(REX_OPT_ROW)
#undef REX_OPT_TYPE
};

rex_status rex_cli_run_init(rex_cli_run *r, const rex_cmd *c, const void *opts, int n_pos,
                            char **pos, rex_err *e) {
    *r = (rex_cli_run){.command = c->name, .list = c->opt, .n_list = c->n_opt, .opts = opts};
    const rex_cli_shared *const o = &r->o;
    if (n_pos > 0) return rex_fail(e, REX_EARG, -1, "%s: '%s' is no option", c->name, pos[0]);
    rex_opt_copy(shared, sizeof shared / sizeof *shared, &r->o, c->opt, c->n_opt, opts);
    if (given(o->from) == given(o->model))
        return rex_fail(e, REX_EARG, -1, "%s needs either --model M or --from POOL", c->name);
    if (given(o->model) && !given(o->task))
        return rex_fail(e, REX_EARG, -1, "%s needs --task T", c->name);
    if (o->resume && !given(o->out)) return rex_fail(e, REX_EARG, -1, "--resume needs --out RUN");
    if (given(o->out) && given(o->from) && strcmp(o->from, "-") == 0)
        return rex_fail(e, REX_EARG, -1, "--out needs a pool that is a file, not standard input");
    return REX_OK;
}

rex_status rex_cli_task_open(const char *task, const rex_opt *list, size_t n_list, const void *opts,
                             rex_task **out, rex_err *e) {
    rex_task_opts t;
    task_part part = {.head = {.size = sizeof part}};
    rex_opt_copy(task_list, sizeof task_list / sizeof *task_list, &part, list, n_list, opts);
    rex_task_defaults(&t);
    t.task = task;
#define TAKE(KIND, name, def, lo, hi, meta, help) t.name = part.name;
    REX_TASK_OPTS(TAKE)
#undef TAKE
    return rex_task_open(&t, out, e);
}

rex_status rex_cli_run_open(rex_cli_run *r, rex_err *e) {
    REX_TRY(rex_arena_open(0, &r->a, e));
    REX_TRY(rex_pool_open((int)r->o.threads, &r->workers, e));
    if (!given(r->o.task)) return REX_OK;
    return rex_cli_task_open(r->o.task, r->list, r->n_list, r->opts, &r->task, e);
}

void rex_cli_run_close(rex_cli_run *r) {
    rex_task_close(r->task);
    rex_pool_close(r->workers);
    rex_arena_close(r->a);
}

rex_trial_opts rex_cli_trial_opts(const rex_cli_run *r, const rex_cli_folder *f) {
    const rex_cli_shared *const o = &r->o;
    rex_trial_opts t;
    rex_trial_defaults(&t);
    t.k = o->k;
    t.map = given(o->from) ? o->map : NULL;
    t.problems = given(o->from) ? o->problems : 0;
    t.draws = o->draws;
    t.reverify = o->reverify;
    t.journal = f->passing ? NULL : f->verdicts;
    t.resume = o->resume;
    t.seed = (uint64_t)o->seed;
    return t;
}

/* ---- folders -------------------------------------------------------------------------------- */

static rex_status join(rex_arena *a, const char *folder, const char *name, const char **out,
                       rex_err *e) {
    rex_str s;
    REX_TRY(rex_str_fmt(a, &s, e, "%s/%s", folder, name));
    *out = s.p;
    return REX_OK;
}

rex_status rex_cli_folder_open(const rex_cli_run *r, const char *below, rex_cli_folder *f,
                               rex_err *e) {
    rex_arena *const a = r->a;
    *f = (rex_cli_folder){.path = r->o.out};
    if (given(r->o.out)) {
        REX_TRY(rex_folder_make(r->o.out, REX_FOLDER_ANY, e));
        if (below) {
            REX_TRY(join(a, r->o.out, below, &f->path, e));
            REX_TRY(rex_folder_make(f->path, REX_FOLDER_ANY, e));
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

rex_status rex_cli_put(const rex_cli_run *r, const rex_cli_folder *f, const char *name,
                       rex_str text, rex_err *e) {
    const char *path = NULL;
    rex_out *out = NULL;
    REX_TRY(join(r->a, f->path, name, &path, e));
    REX_TRY(rex_out_open(path, &out, e));
    rex_out_add(out, text.p, text.n);
    return rex_out_commit(out, e);
}

/* ---- pools -------------------------------------------------------------------------------- */

static rex_status put_prompts(const rex_cli_run *r, const rex_cli_folder *f, rex_err *e) {
    rex_make_opts m;
    rex_item *item = NULL;
    size_t n = 0;
    rex_make_defaults(&m);
    m.n = r->o.problems > 0 ? r->o.problems : -1;
    m.seed = (uint64_t)r->o.seed;
    REX_TRY(rex_task_make(r->task, &m, r->a, &item, &n, e));
    if (n == 0) return rex_fail(e, REX_EFORMAT, -1, "the task has no problems");
    rex_buf b;
    rex_buf_init(&b, 0);
    for (size_t i = 0; i < n; i++) {
        rex_buf_add(&b, item[i].line.p, item[i].line.n);
        rex_buf_add(&b, "\n", 1);
    }
    rex_status s = rex_buf_check(&b, e);
    if (s == REX_OK) s = rex_cli_put(r, f, "prompts.jsonl", (rex_str){b.p, b.n}, e);
    rex_buf_free(&b);
    return s;
}

static rex_status make_pool(const rex_cli_run *r, const rex_cli_folder *f, bool states,
                            const char *const *set, size_t n_set, rex_err *e) {
    const rex_cmd *const g = &rex_cmd_generate;
    const int64_t n = r->o.samples > 0 ? r->o.samples : 64;
    rex_str count;
    REX_TRY(put_prompts(r, f, e));
    void *const o = rex_arena_zero(r->a, 1, g->opt_bytes, e);
    if (!o) return REX_ENOMEM;
    rex_opt_defaults(g->opt, g->n_opt, o, g->opt_bytes);
    rex_opt_copy(g->opt, g->n_opt, o, r->list, r->n_list, r->opts);
    REX_TRY(rex_str_fmt(r->a, &count, e, "%lld", (long long)n));
    REX_TRY(rex_opt_set(g->opt, g->n_opt, o, "samples", count.p, e));
    REX_TRY(rex_opt_set(g->opt, g->n_opt, o, "prompts", f->prompts, e));
    REX_TRY(rex_opt_set(g->opt, g->n_opt, o, "out", f->pool, e));
    if (states) REX_TRY(rex_opt_set(g->opt, g->n_opt, o, "features", f->features, e));
    REX_TRY(rex_opt_set(g->opt, g->n_opt, o, "map", "", e));
    for (size_t i = 0; i < n_set; i++)
        REX_TRY(rex_opt_set(g->opt, g->n_opt, o, set[2 * i], set[2 * i + 1], e));
    return g->run(o, 0, NULL, e);
}

rex_status rex_cli_pool_for(const rex_cli_run *r, const rex_cli_folder *f, bool states,
                            const char *const *set, size_t n_set, const char **pool, rex_err *e) {
    const bool made = !given(r->o.from);
    *pool = made || (r->o.resume && access(f->pool, R_OK) == 0) ? f->pool : r->o.from;
    return made ? make_pool(r, f, states, set, n_set, e) : REX_OK;
}

/* ---- run.json ----------------------------------------------------------------------------- */

static void put_hash(rex_jw *w, const char *key, const char *path) {
    char text[17];
    if (!rex_cli_digest(path, text)) return;
    rex_jw_key(w, key);
    rex_jw_cstr(w, text);
}

static void put_text(rex_jw *w, const char *key, const char *text) {
    if (!given(text)) return;
    rex_jw_key(w, key);
    rex_jw_cstr(w, text);
}

static rex_status put_run(const rex_cli_run *r, const rex_cli_folder *f, rex_err *e) {
    const rex_cli_shared *const o = &r->o;
    const char *const fact[][2] = {{"task", o->task}, {"model", o->model}, {"pool", o->from}};
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
    rex_jw_i64(&w, o->seed);
    put_text(&w, "task", o->task);
    put_text(&w, "model", o->model);
    put_text(&w, "adapter", o->adapter);
    if (given(o->from)) {
        put_text(&w, "pool", o->from);
        put_text(&w, "features", r->features);
    }
    rex_jw_key(&w, "hashes");
    rex_jw_obj(&w);
    put_hash(&w, "model", o->model);
    put_hash(&w, "adapter", o->adapter);
    put_hash(&w, "data", given(o->from) ? o->from : o->data);
    rex_jw_obj_end(&w);
    rex_jw_key(&w, "facts");
    rex_jw_arr(&w);
    for (size_t i = 0; i < sizeof fact / sizeof *fact; i++) {
        if (!given(fact[i][1])) continue;
        rex_jw_arr(&w);
        rex_jw_cstr(&w, fact[i][0]);
        rex_jw_cstr(&w, fact[i][1]);
        rex_jw_arr_end(&w);
    }
    rex_jw_arr_end(&w);
    rex_jw_obj_end(&w);
    rex_buf_add(&b, "\n", 1);
    rex_status s = rex_buf_check(&b, e);
    if (s == REX_OK) s = rex_cli_put(r, f, "run.json", (rex_str){b.p, b.n}, e);
    rex_buf_free(&b);
    return s;
}

/* ---- results ------------------------------------------------------------------------------ */

rex_status rex_cli_keep(const rex_cli_run *r, const rex_cli_folder *f, rex_trial *t,
                        const char *name, rex_str json, rex_err *e) {
    if (f->passing) return REX_OK;
    if (!given(r->o.from) || rex_trial_verified(t) > 0) REX_TRY(rex_trial_save(t, f->pool, e));
    (void)unlink(f->verdicts); /* the pool has them now */
    REX_TRY(rex_cli_put(r, f, name, json, e));
    return put_run(r, f, e);
}

rex_status rex_cli_result(const rex_cli_run *r, rex_str json, rex_str text, rex_err *e) {
    const rex_str shown = r->o.json ? json : text;
    rex_buf b;
    rex_buf_init(&b, 0);
    rex_buf_add(&b, shown.p, shown.n);
    const rex_status s = rex_cli_print(&b, e);
    rex_buf_free(&b);
    return s;
}
