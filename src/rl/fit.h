/* SPDX-License-Identifier: MIT
 *
 * fit.h: memory and disk of a training run before they are taken, and the batch size and
 * recomputation that a budget leaves.
 */
#ifndef REX_FIT_H
#define REX_FIT_H

#include "sft.h"

enum { REX_FIT_LOGITS = 64 }; /* rows of logits of one round of validation */

/* What a run has before its activations: all borrowed. The model may be blank, gradients and
 * moments untouched: what counts is their size. */
typedef struct {
    const rex_sft_opts *o;
    const rex_model *m;
    const rex_grads *g;
    const rex_optim *opt;
    const rex_pool *pool;
    const rex_docs *docs, *val; /* val NULL or empty: none */
    size_t program; /* bytes of what is neither: code, tokenizer, what ranks exchange */
} rex_fit_in;

typedef struct {
    int64_t micro, recompute; /* tokens of a batch at most, layers computed again: as chosen */
    rex_ctx_opts ctx;         /* to be opened with */
    double batches, tokens;   /* of a step, on average */
    /* bytes of memory; program: code, tokenizer, what else is resident */
    size_t weights, gradients, optimiser, activations, backward, data, program, total, limit;
    uint64_t checkpoint, lines, disk, disk_free; /* bytes of disk */
    int64_t checkpoints; /* at once */
} rex_fit;

/* The sizes of a run, and what a budget (o->memory > 0) changes. REX_ELIMIT where it takes more
 * than the budget or the machine has, naming micro, recompute and state with values that would do;
 * `f` is filled in all the same. */
REX_MUST rex_status rex_fit_run(const rex_fit_in *in, rex_fit *f, rex_err *e);
/* The disk, given the bytes of one checkpoint. REX_ELIMIT likewise, naming keep and save_every. */
REX_MUST rex_status rex_fit_disk(const rex_sft_opts *o, uint64_t one, rex_fit *f, rex_err *e);

#endif
