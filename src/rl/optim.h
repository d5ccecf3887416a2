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
    rex_store state;      /* REX_K_F32 or REX_K_BF16 */
    uint64_t seed;        /* names the rounding of bf16 state */
} rex_optim_opts;
void rex_optim_defaults(rex_optim_opts *o); /* 1e-3, 0.9, 0.95, 1e-8, 0.01, clip 1, constant */

/* The learning rate of step t = 0, 1, ...: linear from lr / warmup up to lr, then the schedule. */
double rex_lr_at(const rex_optim_opts *o, int64_t t);

typedef struct {
    rex_optim_opts o;
    rex_grads *g;
    int64_t t;          /* updates done */
    void *m, *v;        /* owned; the slab's layout, of type o.state */
    double *part;       /* owned; sums of squares by chunk */
    bool *decays;       /* owned; by parameter */
    size_t n, bytes;    /* floats of the slab; bytes of m and of v */
} rex_optim;

/* An optimiser over the parameters of `g` (borrowed), its moments zero; `o` is copied. */
REX_MUST rex_status rex_optim_open(rex_grads *g, const rex_optim_opts *o, rex_optim **out,
                                   rex_err *e);
void rex_optim_close(rex_optim *p);

/* One update: global norm (per-tensor sums of squares in double, added in tensor order), clipping,
 * AdamW, then what follows the weights. A norm that is not finite is REX_ENAN naming the first
 * tensor whose gradient is not, with nothing changed. `norm` receives the norm before clipping. */
REX_MUST rex_status rex_optim_step(rex_optim *p, rex_pool *pool, double *norm, rex_err *e);

#endif
