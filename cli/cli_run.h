/* SPDX-License-Identifier: MIT
 *
 * cli_run: what `explore` and `eval` share: their options and what those open, run folders, and
 * pools that a model makes for a task. A pool is made by `generate` itself, called with the options
 * that both have.
 */
#ifndef REX_CLI_RUN_H
#define REX_CLI_RUN_H

#include "cli.h"

/* Options of both, besides those of the model and the task. */
#define REX_CLI_RUN(X)                                                                       \
    X(STR, from, "", 0, 0, "POOL", "sample records that are there already, instead of --model") \
    X(STR, task, "", 0, 0, "T", "t=the task; 'repexp task list' names them")                 \
    X(I64, problems, "0", 0, 100000000, "N", "how many; 0: all of the data or the pool")     \
    X(I64, samples, "0", 0, 16777216, "N", "n=samples of each problem; default 64")          \
    X(LIST, k, "", 0, 0, "LIST", "k=the sizes to report; default 1, 2, 4, ... up to the samples") \
    X(STR, out, "", 0, 0, "RUN", "o=a folder for the pool, the numbers and what made them")  \
    X(BOOL, resume, "false", 0, 0, "", "go on with the run in --out")                        \
    X(BOOL, reverify, "false", 0, 0, "", "stored rewards are not believed")                  \
    X(I64, draws, "2000", 100, 1000000, "N", "replicates of the bootstrap")                  \
    X(F64, temperature, "1", 0, 10000, "T", "0 is greedy")                                   \
    X(F64, top_p, "1", 0, 1, "P", "nucleus mass kept; the token that crosses is kept")       \
    X(I64, top_k, "0", 0, 16777216, "K", "most probable tokens kept; 0: all")                \
    X(F64, min_p, "0", 0, 1, "P", "least probability kept, of the largest")                  \
    X(I64, max_tokens, "512", 1, 16777216, "T", "longest response")                          \
    X(STR, stop, "", 0, 0, "TEXT", "a text that ends a response, or a JSON list of them")    \
    X(BOOL, truncate, "false", 0, 0, "", "cut the beginning of prompts that are too long")

/* What both commands have, whatever else their own lists hold. */
#define REX_CLI_SHARED(X) REX_CLI_COMMON(X) REX_CLI_RUN(X) REX_CLI_MODEL(X) REX_TASK_OPTS(X)
REX_OPT_STRUCT(rex_cli_shared, REX_CLI_SHARED);

/* One run: its options as the command's own list has them, the shared ones once more as a struct,
 * and what it works with. */
typedef struct {
    const char *command;
    const rex_opt *list;
    size_t n_list;
    const void *opts;
    rex_cli_shared o;
    const char *features; /* with --from: the states of its samples; NULL: none */
    rex_arena *a;         /* owned, as the workers and the task */
    rex_pool *workers;
    rex_task *task; /* NULL without --task */
} rex_cli_run;

/* Takes the options over and refuses what neither command can run with: positional arguments, not
 * exactly one of --model and --from, a model without a task, --resume without --out. Opens
 * nothing. */
REX_MUST rex_status rex_cli_run_init(rex_cli_run *r, const rex_cmd *c, const void *opts, int n_pos,
                                     char **pos, rex_err *e);
/* Arena, workers and task. After a failure rex_cli_run_close is still due. */
REX_MUST rex_status rex_cli_run_open(rex_cli_run *r, rex_err *e);
void rex_cli_run_close(rex_cli_run *r);

/* Opens the task that a command's options describe: `task`, and REX_TASK_OPTS by name. */
REX_MUST rex_status rex_cli_task_open(const char *task, const rex_opt *list, size_t n_list,
                                      const void *opts, rex_task **out, rex_err *e);

/* Where a run keeps its files: --out, or a folder that is removed at the end. */
typedef struct {
    const char *path, *pool, *features, *prompts, *verdicts;
    bool passing;
} rex_cli_folder;

/* --out, or a passing folder; `below`: a folder in it. */
REX_MUST rex_status rex_cli_folder_open(const rex_cli_run *r, const char *below, rex_cli_folder *f,
                                        rex_err *e);
/* Removes the folder if it was a passing one. */
void rex_cli_folder_close(rex_cli_folder *f);
/* The pool to read: --from; with --resume what the folder has of it by now; else one that the model
 * makes: problems of the task to prompts.jsonl, samples to pool.jsonl, states to features.npy (if
 * `states`). `set`: n_set pairs of option and value that go before the run's own. */
REX_MUST rex_status rex_cli_pool_for(const rex_cli_run *r, const rex_cli_folder *f, bool states,
                                     const char *const *set, size_t n_set, const char **pool,
                                     rex_err *e);
/* The options of a trial, as far as the shared ones decide them. */
rex_trial_opts rex_cli_trial_opts(const rex_cli_run *r, const rex_cli_folder *f);
/* A text as a file of the folder, written aside and renamed. */
REX_MUST rex_status rex_cli_put(const rex_cli_run *r, const rex_cli_folder *f, const char *name,
                                rex_str text, rex_err *e);
/* What stays of a finished run: the pool with its verdicts, `json` as the file `name`, run.json.
 * Nothing in a passing folder. */
REX_MUST rex_status rex_cli_keep(const rex_cli_run *r, const rex_cli_folder *f, rex_trial *t,
                                 const char *name, rex_str json, rex_err *e);
/* The result on stdout: the JSON under --json, else the text. */
REX_MUST rex_status rex_cli_result(const rex_cli_run *r, rex_str json, rex_str text, rex_err *e);

#endif
