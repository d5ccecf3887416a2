/* SPDX-License-Identifier: MIT
 *
 * train.h: gradients of a model opened for training. The forward pass is rex_ctx_step with kept
 * activations, the same as for sampling; rex_backward walks it in reverse, function by function.
 *
 * The law: every gradient element is one chain of fused multiply-adds over the tokens in ascending
 * order, continued from batch to batch in memory. So how a step's documents are cut into batches
 * never changes a bit, as long as their order stays. In bf16 tokens are summed in pairs, each pair
 * within a document (of the head's matrix: within a document's targets), an odd last one alone.
 */
#ifndef REX_TRAIN_H
#define REX_TRAIN_H

#include "model.h"

/* ---- gradients (grads.c) ----------------------------------------------------------------- */

/* One slab over all trainable parameters, each in the layout that its weights have in memory
 * (matrices as panels, padding included and zero). */
typedef struct {
    rex_model *m;
    rex_param *param; /* n of them, in the order of a checkpoint; adapters last */
    size_t n;
    size_t *off;      /* n + 1: floats before parameter i in the slab; frozen ones have none */
    bool *train;      /* n */
    float *grad;      /* owned; off[n] floats */
    float *embed; /* tied models: (V, D), the gradient of the embedding as it is read; else NULL */
    rex_arena *arena; /* owned */
} rex_grads;

/* What is trained: of a model with an adapter, that alone; else all, but what is frozen.
 * `freeze`: comma-separated patterns of parameter names ('*' matches anything); NULL: none is
 * frozen. A pattern that matches nothing is REX_EARG. */
REX_MUST rex_status rex_grads_open(rex_model *m, const char *freeze, rex_grads **out, rex_err *e);
void rex_grads_close(rex_grads *g);
void rex_grads_zero(rex_grads *g, rex_pool *pool);
/* Where the weights of parameter i lie. */
float *rex_grads_weights(const rex_grads *g, size_t i);
/* How many floats of the slab are those of parameter i, a last panel's padding included. */
size_t rex_grads_size(const rex_grads *g, size_t i);
/* Once per step, when all batches are in: a tied embedding's two gradients become one. */
void rex_grads_finish(rex_grads *g, rex_pool *pool);
/* After weights have changed: copies that follow them (the rows of a tied embedding). */
void rex_grads_follow(rex_grads *g, rex_pool *pool);

/* True if one of the comma-separated patterns ('*' matches anything) matches the whole name. */
bool rex_name_matches(const char *patterns, const char *name);
/* factor[0 .. n-1], by parameter: X of the last "PATTERN=X" of the comma-separated list that
 * matches its name, 1 where none does (list NULL: nowhere). An X that is not a number from 0 to
 * 1e6, and a pattern that matches no parameter that is trained, are REX_EARG naming it; `what`
 * begins the sentence. */
REX_MUST rex_status rex_grads_factors(const rex_grads *g, const char *what, const char *list,
                                      double *factor, rex_err *e);

/* ---- backward (backward.c) --------------------------------------------------------------- */

/* What the loss wants of tokens i0 .. i0+n-1 of the targets: given their log-probabilities and the
 * entropies of their distributions, dLoss/dlogp and dLoss/dentropy. Called in ascending order. */
typedef void (*rex_loss_fn)(void *ud, int64_t i0, int64_t n, const double *logp,
                            const double *entropy, float *dlogp, float *dent);

typedef struct rex_back rex_back;

/* Room for the backward pass of `c` (opened with keep or recompute): all that it ever takes. */
REX_MUST rex_status rex_back_open(rex_ctx *c, rex_grads *g, rex_back **out, rex_err *e);
void rex_back_close(rex_back *b);
size_t rex_back_plan(const rex_model *m, const rex_ctx_opts *o);

/* Tells when the gradients of a layer's parameters are complete, as far as rex_back_run goes: first
 * layer L (final norm; the head of an untied model), then L-1 .. 0, then -1 (what is left). `fn`
 * NULL: no more. */
typedef void (*rex_layer_fn)(void *ud, int layer);
void rex_back_watch(rex_back *b, rex_layer_fn fn, void *ud);

/* After rex_ctx_step over whole documents (each sequence new in that step): adds the gradient of
 * the loss over rows idx[0 .. n-1], whose next tokens are target[], to the slab. Allocates nothing.
 */
REX_MUST rex_status rex_back_run(rex_back *b, const int32_t *idx, const int32_t *target, int64_t n,
                                 rex_loss_fn loss, void *ud, rex_err *e);

#endif
