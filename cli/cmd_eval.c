/* SPDX-License-Identifier: MIT
 *
 * eval: pass@k, maj@k and avg@k of a model on a task at any n, all from one pool; two runs compared
 * over the problems that both have. The pool and its verdicts stay in the run folder.
 */
#include "cli_run.h"

#include <sys/stat.h>

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

/* The other pool, held to the same options; it is only read. */
static rex_status open_vs(const rex_cli_run *r, const char *path, const rex_trial_opts *opts,
                          rex_trial **vs, rex_err *e) {
    struct stat sb;
    rex_str pool = rex_str_of(path);
    if (!path || !*path) return REX_OK;
    if (stat(path, &sb) == 0 && S_ISDIR(sb.st_mode))
        REX_TRY(rex_str_fmt(r->a, &pool, e, "%s/pool.jsonl", path));
    rex_trial_opts o = *opts;
    o.problems = 0;
    o.k = NULL;
    o.reverify = false;
    o.journal = NULL;
    return rex_trial_open(&o, r->task, r->workers, pool.p, NULL, vs, e);
}

static rex_status evaluate(const rex_cli_run *r, rex_trial *t, const rex_trial *vs,
                           const rex_cli_folder *f, rex_err *e) {
    rex_str json, text;
    REX_TRY(rex_trial_text(t, REX_TRIAL_EVAL, vs, r->a, &json, e));
    REX_TRY(rex_trial_text(t, REX_TRIAL_EVAL_TABLE, vs, r->a, &text, e));
    REX_TRY(rex_cli_keep(r, f, t, "eval.json", json, e));
    return rex_cli_result(r, json, text, e);
}

static rex_status work(rex_cli_run *r, const char *vs, rex_cli_folder *f, rex_err *e) {
    rex_trial *mine = NULL, *theirs = NULL;
    const char *pool;
    REX_TRY(rex_cli_run_open(r, e));
    REX_TRY(rex_cli_folder_open(r, NULL, f, e));
    REX_TRY(rex_cli_pool_for(r, f, false, NULL, 0, &pool, e));
    rex_trial_opts opts = rex_cli_trial_opts(r, f);
    opts.judge = REX_JUDGE_ALL;
    rex_status s = rex_trial_open(&opts, r->task, r->workers, pool, NULL, &mine, e);
    if (s == REX_OK) s = open_vs(r, vs, &opts, &theirs, e);
    if (s == REX_OK) s = evaluate(r, mine, theirs, f, e);
    rex_trial_close(theirs);
    rex_trial_close(mine);
    return s;
}

static rex_status run(const void *opts, int n_pos, char **pos, rex_err *e) {
    const eval_opts *const o = opts;
    rex_cli_folder f = {.passing = false};
    rex_cli_run r;
    REX_TRY(rex_cli_run_init(&r, &rex_cmd_eval, opts, n_pos, pos, e));
    const rex_status s = work(&r, o->vs, &f, e);
    rex_cli_folder_close(&f);
    rex_cli_run_close(&r);
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
