/* SPDX-License-Identifier: MIT
 *
 * cli_run: what `explore` and `eval` share: run folders, and pools that a model makes for a task. A
 * pool is made by `generate` itself, called with the options that both have.
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

/* The options of one run, as their list has them. */
typedef struct {
    const char *command;
    const rex_opt *list;
    size_t n_list;
    const void *opts;
    const char *from, *out, *model, *adapter, *data;
    int64_t problems, samples, seed;
    bool resume;
    const char *features; /* with --from */
} rex_cli_run;

/* Where a run keeps its files: --out, or a folder that is removed at the end. */
typedef struct {
    const char *path, *pool, *features, *prompts, *verdicts;
    bool passing;
} rex_cli_folder;

/* --out, or a passing folder; `below`: a folder in it. */
REX_MUST rex_status rex_cli_folder_open(const rex_cli_run *r, const char *below, rex_arena *a,
                                        rex_cli_folder *f, rex_err *e);
/* Removes the folder if it was a passing one. */
void rex_cli_folder_close(rex_cli_folder *f);
/* Problems of the task to prompts.jsonl, samples to pool.jsonl, states to features.npy (if
 * `states`). `set`: n_set pairs of option and value that go before the run's own. */
REX_MUST rex_status rex_cli_make_pool(const rex_cli_run *r, const rex_task *t,
                                      const rex_cli_folder *f, bool states, const char *const *set,
                                      size_t n_set, rex_arena *a, rex_err *e);
/* A text as a file of the folder, written aside and renamed. */
REX_MUST rex_status rex_cli_put(const rex_cli_folder *f, const char *name, rex_str text,
                                rex_arena *a, rex_err *e);
/* run.json; `fact`: n_fact pairs of label and text for people. */
REX_MUST rex_status rex_cli_put_run(const rex_cli_run *r, const rex_cli_folder *f, const char *task,
                                    const char *const *fact, size_t n_fact, rex_arena *a,
                                    rex_err *e);

#endif
