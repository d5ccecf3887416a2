/* SPDX-License-Identifier: MIT
 *
 * share.h: what the ranks of a run share of a step. Each works on its part of the step's documents
 * and updates its spans of the slab: gradients of a span are summed at its owner while the backward
 * pass goes on, new weights go from the owner to all others, moments stay with it.
 *
 * Fast: ranks are added in their order. Exact: the gradient of every document starts at zero, and
 * documents are added by a tree of pairs over their index in the step, padded to a power of two; a
 * rank owns an aligned range of it, so any power of two of ranks makes the same additions.
 */
#ifndef REX_SHARE_H
#define REX_SHARE_H

#include "../dist/dist.h"
#include "optim.h"

typedef struct rex_share rex_share;

/* For steps of `docs` documents. `d` NULL: one process. */
REX_MUST rex_status rex_share_open(rex_grads *g, rex_dist *d, bool exact, int64_t docs,
                                   rex_share **out, rex_err *e);
void rex_share_close(rex_share *s);
/* Bytes that it takes besides the slab: sums of the tree, and what comes from other ranks. */
size_t rex_share_bytes(const rex_share *s);
/* The spans of this rank, for rex_optim_open_part. */
const rex_slab_span *rex_share_spans(const rex_share *s, size_t *n);
/* The documents of rank r: lo .. hi-1; may be none in exact mode. */
void rex_share_range(const rex_share *s, int rank, int64_t *lo, int64_t *hi);

/* A step: begin; then per document (exact) rex_share_leaf when the gradient of document i, counted
 * from this rank's first, is finished in the slab; or (fast) rex_share_layer as the watcher of the
 * last batch. rex_share_sum returns when the slab holds, in this rank's spans, the sum over all. */
REX_MUST rex_status rex_share_begin(rex_share *s, rex_err *e);
void rex_share_leaf(rex_share *s, int64_t i, rex_pool *pool);
void rex_share_layer(void *share, int layer);
REX_MUST rex_status rex_share_sum(rex_share *s, rex_pool *pool, rex_err *e);

/* Sums of squares of all chunks, and `mine`, of which every rank gives n[rank] numbers, to all: the
 * ranks' numbers one behind the other in `all`. */
REX_MUST rex_status rex_share_numbers(rex_share *s, rex_optim *p, const double *mine,
                                      const size_t *n, double *all, rex_err *e);
/* The update, new weights to and from all ranks, and what follows the weights. */
REX_MUST rex_status rex_share_update(rex_share *s, rex_optim *p, rex_pool *pool, double norm,
                                     rex_err *e);

/* Moments m (which 0) or v (1) of one parameter in the layout of the slab, of type o.state, on rank
 * 0, while all others are in rex_share_serve. After the last one, or a failure: rex_share_drain. */
REX_MUST rex_status rex_share_moments(rex_share *s, const rex_optim *p, size_t param, int which,
                                      void *out, rex_err *e);
REX_MUST rex_status rex_share_drain(rex_share *s, const rex_optim *p, rex_err *e);
REX_MUST rex_status rex_share_serve(rex_share *s, const rex_optim *p, rex_err *e);

#endif
