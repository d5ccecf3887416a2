/* SPDX-License-Identifier: MIT
 *
 * run.h: the folder of a training run and what it starts from: base model, tokenizer, chat layout,
 * the files that travel into every checkpoint, run.json, and the line files.
 */
#ifndef REX_RUN_H
#define REX_RUN_H

#include "sft.h"

enum { REX_SIDE_FILES = 16 };

typedef struct {
    const char *out;
    const char
        *base; /* what the model is opened from: a checkpoint, the given model, or out/init */
    const char *from;    /* the checkpoint that is gone on with: base, or of an adapter; or NULL */
    int64_t from_step;   /* its step; -1: none */
    rex_tok *tok;        /* owned; NULL: records must hold ids */
    const rex_chat *chat; /* NULL: none is known */
    int32_t eos;         /* -1: none */
    rex_model *model;    /* owned */
    rex_side_file side[REX_SIDE_FILES];
    size_t n_side;
    rex_out *steps, *timing; /* owned */
    const char *origin, *data; /* model and data as given; NULL: from scratch */
    const char *options; /* JSON object, for run.json */
    uint64_t seed;
    rex_dist *dist;      /* borrowed; only rank 0 writes */
    size_t model_bytes;   /* that the model made resident */
    bool fresh, made;    /* nothing but out/init is there yet; `out` itself was made here */
} rex_run;

/* Ranks whose options differ, but for those that change no number of the run and the names of
 * files, are named with the first option that does. */
REX_MUST rex_status rex_run_same(rex_dist *d, const rex_sft_opts *o, rex_err *e);

/* Opens model and tokenizer as the options say. With `resume` the newest checkpoint that is whole.
 * `blank`: without weights, for a plan. */
REX_MUST rex_status rex_run_open(rex_run *r, const rex_sft_opts *o, bool blank, rex_arena *a,
                                 rex_pool *pool, rex_err *e);
void rex_run_close(rex_run *r);
/* Reads what stands beside the weights into r->side: config.json, with `dtype` as the type of the
 * weights (NULL: adapter_config.json, for a folder that holds the adapter alone), and the files of
 * the tokenizer, the base's own or those of `tokenizer`. */
REX_MUST rex_status rex_run_side(rex_run *r, const char *tokenizer, const char *dtype, rex_arena *a,
                                 rex_err *e);
/* REX_EARG where the folder holds a run. */
REX_MUST rex_status rex_run_check(const char *out, rex_err *e);
/* Removes what rex_run_open has made of a run that never began; `made`: the folder as well. */
void rex_run_forget(const char *folder, bool made);
/* Ranks whose model has another config than rank 0's are named; of an adapter, its base's too. */
REX_MUST rex_status rex_run_same_config(const rex_run *r, rex_err *e);
/* Makes the folder and run.json; on resume compares with the one that is there and names what
 * differs. */
REX_MUST rex_status rex_run_begin(rex_run *r, const rex_docs *d, rex_err *e);
/* The comparison alone. */
REX_MUST rex_status rex_run_compare(const rex_run *r, const rex_docs *d, rex_err *e);
/* Cuts the line files behind their first `lines` lines. */
REX_MUST rex_status rex_run_cut(rex_run *r, int64_t lines, rex_err *e);
/* A line into steps.jsonl or timing.jsonl, handed to the system at once. */
REX_MUST rex_status rex_run_line(rex_run *r, const char *file, const rex_buf *line, rex_err *e);
/* steps.jsonl is on the disk as far as it was written: before a checkpoint that counts on it. */
REX_MUST rex_status rex_run_sync(rex_run *r, rex_err *e);
/* A whole file below the folder; one level of folders is made. */
REX_MUST rex_status rex_run_write(const rex_run *r, const char *name, const rex_buf *text,
                                  rex_err *e);

#endif
