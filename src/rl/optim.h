/* SPDX-License-Identifier: MIT
 *
 * optim.h: AdamW over the slab of gradients, its schedule and clipping.
 */
#ifndef REX_OPTIM_H
#define REX_OPTIM_H

#include "../model/train.h"

typedef enum { REX_LR_CONSTANT, REX_LR_LINEAR, REX_LR_COSINE } rex_lr_kind;

typedef struct {
    double lr, beta1, beta2, eps, decay;
    double clip;          /* largest global norm; 0: no clipping */
    rex_lr_kind schedule; /* after the warm-up, down to `floor` * lr at step `steps` */
    int64_t warmup, steps;
    double floor;
    const char *no_decay; /* comma-separated name patterns without weight decay; NULL: none */
    /* "PATTERN=X,...": X times lr or decay for matching names, the last match counts; NULL: none */
    const char *lr_for, *decay_for;
    rex_store state;      /* REX_K_F32 or REX_K_BF16 */
    uint64_t seed;        /* names the rounding of bf16 state */
} rex_optim_opts;
void rex_optim_defaults(rex_optim_opts *o); /* 1e-3, 0.9, 0.95, 1e-8, 0.01, clip 1, constant */

/* The learning rate of step t = 0, 1, ...: linear from lr / warmup up to lr, then the schedule. */
double rex_lr_at(const rex_optim_opts *o, int64_t t);

/* Neighbouring chunks of one parameter: floats at .. at+n-1 of the slab. A parameter is cut into
 * chunks of REX_CHUNK floats, numbered through all of them; sums of squares are formed by chunk. */
enum { REX_CHUNK = 1 << 16 };
typedef struct {
    size_t param, at, n;
    size_t chunk; /* the first one's number */
    size_t state; /* where its moments begin, in numbers */
    int owner, bucket; /* for ranks: see share.h */
} rex_slab_span;

typedef struct {
    rex_optim_opts o;
    rex_grads *g;
    int64_t t;          /* updates done */
    void *m, *v;        /* owned; of type o.state, those of the spans */
    rex_slab_span *span; /* owned; what this process updates, in the order of the slab */
    size_t n_span;
    double *part;       /* owned; sums of squares by chunk, of all parameters */
    size_t *chunk;      /* owned; g->n + 1: the first chunk of each parameter */
    double *lr_factor;  /* owned; by parameter: times the learning rate, times the decay (0 where */
    double *decay_factor; /* the name is one of no_decay) */
    size_t n, bytes;    /* numbers in m and in v; their bytes */
} rex_optim;

/* An optimiser over the parameters of `g` (borrowed), its moments zero; `o` is copied. `span`: the
 * n_span parts of the slab that it updates; NULL: all. REX_EARG for lists that rex_grads_factors
 * refuses. */
REX_MUST rex_status rex_optim_open(rex_grads *g, const rex_optim_opts *o, rex_optim **out,
                                   rex_err *e);
REX_MUST rex_status rex_optim_open_part(rex_grads *g, const rex_optim_opts *o,
                                        const rex_slab_span *span, size_t n_span, rex_optim **out,
                                        rex_err *e);
void rex_optim_close(rex_optim *p);

/* One update: global norm (per-tensor sums of squares in double, added in tensor order), clipping,
 * AdamW, then what follows the weights. A norm that is not finite is REX_ENAN naming the first
 * tensor whose gradient is not, with nothing changed. `norm` receives the norm before clipping. */
REX_MUST rex_status rex_optim_step(rex_optim *p, rex_pool *pool, double *norm, rex_err *e);

/* The same in parts, for ranks that exchange something in between; the gradient is finished
 * (rex_grads_finish). Sums of squares of the own spans, into `part`: */
void rex_optim_sums(rex_optim *p, rex_pool *pool);
/* The norm from all of `part`: */
REX_MUST rex_status rex_optim_norm(const rex_optim *p, double *norm, rex_err *e);
/* The update of the own spans; `done` (may be NULL) hears of each as soon as it has its new
 * weights. rex_grads_follow is left to the caller. */
typedef void (*rex_span_fn)(void *ud, const rex_slab_span *s);
void rex_optim_update(rex_optim *p, rex_pool *pool, double norm, rex_span_fn done, void *ud);

#endif
