/* SPDX-License-Identifier: MIT
 *
 * dist.h: several processes (ranks) that make one run. A transport carries bytes between them (MPI
 * by a plug-in, mailboxes in a test); everything with a meaning stands above it and is the same for
 * all: messages in the background, collective calls, agreement, and the watch over ranks that die
 * or hang. A NULL rex_dist is a run of one process: every call here takes it and does nothing.
 *
 * The law: all ranks make the same collective calls in the same order. Sums are formed in the order
 * of ranks, never in the order of arrival.
 */
#ifndef REX_DIST_H
#define REX_DIST_H

#include "../base/base.h"

#include <pthread.h>
#include <stdatomic.h>

/* ---- what carries bytes ------------------------------------------------------------------ */

/* Never called by two threads at a time. Calls that can fail return -1 and leave the reason in
 * `why`. Nothing here waits. */
typedef struct rex_transport rex_transport;
struct rex_transport {
    int rank, size, local_rank, local_size;
    const char *host;
    char why[160];
    /* Begins a message; those of one (peer, tag) arrive in the order in which they were sent.
     * `ticket` comes back from poll when `p` may be used again. n < 2^31. */
    int (*send)(rex_transport *t, int peer, int tag, const void *p, size_t n, void *ticket);
    int (*recv)(rex_transport *t, int peer, int tag, void *p, size_t n, void *ticket);
    int (*poll)(rex_transport *t, void **ticket, int room); /* how many have finished */
    /* Lets the calling thread run on all cores again, where the launcher has bound it to fewer than
     * `want`; the number that it may use afterwards. */
    int (*cores)(rex_transport *t, int want);
    void (*stop)(rex_transport *t, int status); /* ends all ranks at once; may return */
    void (*close)(rex_transport *t);            /* in agreement with all others */
};

/* The one function of a plug-in: joins the other ranks. Memory comes from `take` (zeroed, NULL on
 * failure) and goes back by `give`. 0, or -1 with the reason in `why`. */
enum { REX_TRANSPORT_ABI = 1 };
typedef void *(*rex_take_fn)(size_t n);
typedef void (*rex_give_fn)(void *p);
typedef int (*rex_transport_fn)(int abi, rex_take_fn take, rex_give_fn give, rex_transport **out,
                                char *why, size_t room);
#define REX_TRANSPORT_NAME "rex_transport_open"

/* Ranks over a transport, which the handle owns from then on (whatever is returned). */
REX_MUST rex_status rex_dist_join(rex_transport *t, double deadline, rex_dist **out, rex_err *e);

/* ---- messages in the background (dist.c) -------------------------------------------------- */

/* Messages that are waited for together. Between begin and end any number are added; when the last
 * one has arrived (and end was called), `done` runs once on some thread, then the wait is over. All
 * memory stays the caller's and untouched until then. */
typedef struct rex_flow {
    void (*done)(void *ud);
    void *ud;
    int left;            /* under the lock of the rex_dist */
    atomic_bool finished;
    struct rex_flow *next;
} rex_flow;

/* `done` may be NULL. */
void rex_flow_begin(rex_dist *d, rex_flow *f, void (*done)(void *ud), void *ud);
/* n bytes to or from a rank; both sides name the messages between them in the same order. */
REX_MUST rex_status rex_flow_send(rex_dist *d, rex_flow *f, int to, const void *p, size_t n,
                                  rex_err *e);
REX_MUST rex_status rex_flow_recv(rex_dist *d, rex_flow *f, int from, void *p, size_t n,
                                  rex_err *e);
void rex_flow_end(rex_dist *d, rex_flow *f);
/* Returns when the flow has finished, or with the failure that ends the run. */
REX_MUST rex_status rex_flow_wait(rex_dist *d, rex_flow *f, rex_err *e);

/* ---- collective calls (collect.c) ---------------------------------------------------------- */

/* Bytes at[r] .. at[r+1]-1 of `p` go from rank r to all others. at: size + 1 offsets. */
REX_MUST rex_status rex_dist_share(rex_dist *d, void *p, const size_t *at, rex_err *e);
/* x[i] becomes the sum over the ranks, added in their order. */
REX_MUST rex_status rex_dist_sum(rex_dist *d, double *x, size_t n, rex_err *e);
/* All ranks must have the same value; otherwise the ranks that differ from rank 0 are named. `what`
 * is a plural: "the training data". */
REX_MUST rex_status rex_dist_same(rex_dist *d, const char *what, uint64_t value, rex_err *e);

/* ---- the watch (dist.c) ------------------------------------------------------------------- */

/* Names the step that the run is in, for messages; 0: none yet. */
void rex_dist_at(rex_dist *d, int64_t step);
/* While this rank does something that the others wait for without knowing how long it takes. */
void rex_dist_busy(rex_dist *d, bool busy);
/* This rank goes no further: tells the others, and takes care that no message touches the memory of
 * this rank after it returns. REX_OK or REX_ECANCEL: nothing. */
void rex_dist_fail(rex_dist *d, rex_status s, const rex_err *e);
/* Workers of one rank: what was asked for, or, with 0, cores by ranks of this machine. The binding
 * of this thread to fewer cores is undone. */
int rex_dist_threads(rex_dist *d, int asked);

#endif
