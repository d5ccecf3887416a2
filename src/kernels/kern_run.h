/* SPDX-License-Identifier: MIT
 *
 * kern_run.h: the operations of kern.h, which includes it, split over a pool of workers (kern.c).
 * Work is cut by its shape; because every output has one accumulator, no cut can change a bit.
 */
#ifndef REX_KERN_RUN_H
#define REX_KERN_RUN_H

#include "kern.h"

/* Runs products (or attention) of which none needs another's result, split by their shape over the
 * pool. scratch: rex_pool_size pieces of `per_worker` bytes (REX_GEMM_SCRATCH, ...). */
void rex_gemm_run(const rex_kern *k, rex_pool *p, const rex_gemm *job, size_t n_job, void *scratch,
                  size_t per_worker);
void rex_attn_run(const rex_kern *k, rex_pool *p, const rex_attn *job, void *scratch,
                  size_t per_worker);
void rex_attn_grad_run(const rex_kern *k, rex_pool *p, const rex_attn_grad *job, size_t n_job,
                       void *scratch, size_t per_worker);
void rex_pack_run(const rex_kern *k, rex_pool *p, const rex_pack *job);
/* Sum of squares of a tensor, chunks of 2^16 added in order. `part`: one double per chunk. */
double rex_sumsq_run(const rex_kern *k, rex_pool *p, const float *x, int64_t n, double *part);
void rex_adamw_run(const rex_kern *k, rex_pool *p, float *w, const float *g, void *m, void *v,
                   rex_store state, int64_t n, uint64_t index0, const rex_adamw *a);

#endif
