/* SPDX-License-Identifier: MIT
 *
 * eval: pass@k, maj@k and avg@k of a model on a task at any n, all from one pool; two runs compared
 * over the problems that both have. The pool and its verdicts stay in the run folder.
 */
#include "cli_run.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OPTS(X)                                                                              \
    REX_CLI_COMMON(X)                                                                        \
    REX_CLI_RUN(X)                                                                           \
    X(STR, vs, "", 0, 0, "RUN", "compare with this run folder or pool over the problems of both") \
    REX_CLI_MODEL(X)                                                                         \
    REX_TASK_OPTS(X)

REX_OPT_STRUCT(eval_opts, OPTS);
#define REX_OPT_TYPE eval_opts
static const rex_opt table[] = {OPTS(REX_OPT_ROW)};
enum { N_OPT = sizeof table / sizeof *table };

typedef struct {
    const eval_opts *o;
    rex_cli_run run;
    rex_arena *a;
    rex_pool *workers;
    rex_task *task;
} job;

static bool given(const char *s) { return s && *s; }

static rex_status open_vs(const job *j, const rex_trial_opts *opts, rex_trial **vs, rex_err *e) {
    struct stat sb;
    rex_str path = rex_str_of(j->o->vs);
    if (!given(j->o->vs)) return REX_OK;
    if (stat(j->o->vs, &sb) == 0 && S_ISDIR(sb.st_mode))
        REX_TRY(rex_str_fmt(j->a, &path, e, "%s/pool.jsonl", j->o->vs));
    rex_trial_opts o = *opts;
    o.problems = 0;
    o.k = NULL;
    o.reverify = false;
    o.journal = NULL;
    return rex_trial_open(&o, j->task, j->workers, path.p, NULL, vs, e);
}

static rex_status evaluate(const job *j, rex_trial *t, const rex_trial *vs, const rex_cli_folder *f,
                           rex_err *e) {
    const eval_opts *const o = j->o;
    const char *const fact[] = {"task", o->task, "model", o->model, "pool", o->from};
    rex_str json, text;
    rex_buf b;
    REX_TRY(rex_trial_text(t, REX_TRIAL_EVAL, vs, j->a, &json, e));
    REX_TRY(rex_trial_text(t, REX_TRIAL_EVAL_TABLE, vs, j->a, &text, e));
    if (!f->passing) {
        if (!given(o->from) || rex_trial_verified(t) > 0) REX_TRY(rex_trial_save(t, f->pool, e));
        (void)unlink(f->verdicts); /* the pool has them now */
        REX_TRY(rex_cli_put(f, "eval.json", json, j->a, e));
        REX_TRY(
            rex_cli_put_run(&j->run, f, o->task, fact, sizeof fact / sizeof *fact / 2, j->a, e));
    }
    rex_buf_init(&b, 0);
    rex_buf_add(&b, o->json ? json.p : text.p, o->json ? json.n : text.n);
    const rex_status s = rex_cli_print(&b, e);
    rex_buf_free(&b);
    return s;
}

static rex_status work(job *j, rex_cli_folder *f, rex_err *e) {
    const eval_opts *const o = j->o;
    rex_task_opts t;
    rex_trial_opts opts;
    rex_trial *mine = NULL, *theirs = NULL;
    if (given(o->from) == given(o->model))
        return rex_fail(e, REX_EARG, -1, "eval needs either --model M or --from POOL");
    if (given(o->model) && !given(o->task)) return rex_fail(e, REX_EARG, -1, "eval needs --task T");
    if (o->resume && !given(o->out)) return rex_fail(e, REX_EARG, -1, "--resume needs --out RUN");
    if (given(o->out) && given(o->from) && strcmp(o->from, "-") == 0)
        return rex_fail(e, REX_EARG, -1, "--out needs a pool that is a file, not standard input");
    REX_TRY(rex_arena_open(0, &j->a, e));
    REX_TRY(rex_pool_open((int)o->threads, &j->workers, e));
    if (given(o->task)) {
        rex_task_defaults(&t);
        t.task = o->task;
#define TAKE(KIND, name, def, lo, hi, meta, help) t.name = o->name;
        REX_TASK_OPTS(TAKE)
        REX_TRY(rex_task_open(&t, &j->task, e));
    }
    REX_TRY(rex_cli_folder_open(&j->run, NULL, j->a, f, e));
    rex_trial_defaults(&opts);
    opts.k = o->k;
    opts.map = given(o->from) ? o->map : NULL;
    opts.problems = given(o->from) ? o->problems : 0;
    opts.draws = o->draws;
    opts.reverify = o->reverify;
    opts.judge = REX_JUDGE_ALL;
    opts.journal = f->passing ? NULL : f->verdicts;
    opts.resume = o->resume;
    opts.seed = (uint64_t)o->seed;
    const char *pool = o->from;
    if (!given(o->from)) {
        REX_TRY(rex_cli_make_pool(&j->run, j->task, f, false, NULL, 0, j->a, e));
        pool = f->pool;
    } else if (o->resume && access(f->pool, R_OK) == 0) {
        pool = f->pool;
    }
    rex_status s = rex_trial_open(&opts, j->task, j->workers, pool, NULL, &mine, e);
    if (s == REX_OK) s = open_vs(j, &opts, &theirs, e);
    if (s == REX_OK) s = evaluate(j, mine, theirs, f, e);
    rex_trial_close(theirs);
    rex_trial_close(mine);
    return s;
}

static rex_status run(const void *opts, int n_pos, char **pos, rex_err *e) {
    const eval_opts *const o = opts;
    rex_cli_folder f = {.passing = false};
    job j = {.o = o};
    if (n_pos > 0) return rex_fail(e, REX_EARG, -1, "eval: '%s' is no option", pos[0]);
    j.run = (rex_cli_run){.command = "eval",
                          .list = table,
                          .n_list = N_OPT,
                          .opts = opts,
                          .from = o->from,
                          .out = o->out,
                          .model = o->model,
                          .adapter = o->adapter,
                          .data = o->data,
                          .problems = o->problems,
                          .samples = o->samples,
                          .seed = o->seed,
                          .resume = o->resume};
    const rex_status s = work(&j, &f, e);
    rex_cli_folder_close(&f);
    rex_task_close(j.task);
    rex_pool_close(j.workers);
    rex_arena_close(j.a);
    return s;
}

const rex_cmd rex_cmd_eval = {
    .name = "eval",
    .summary = "pass@k of a model on a task, with intervals",
    .usage = "(--model M -n N | --from POOL) --task T [--data FILE] [--problems N] [--k LIST] "
             "[--vs RUN] "
             "[--out RUN] [options]",
    .text = "Samples n responses to every problem, verifies all of them and prints pass@k (one of "
            "k is right), "
            "pass^k (all are) and maj@k (the majority answer is), with 95 % intervals, as a "
            "Markdown table or "
            "as JSON; avg@k is pass@1. --vs compares with another run over the problems that both "
            "have. "
            "Samples whose verifier failed are left out and counted.",
    .opt = table,
    .n_opt = N_OPT,
    .opt_bytes = sizeof(eval_opts),
    .run = run,
};
