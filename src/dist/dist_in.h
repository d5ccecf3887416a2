/* SPDX-License-Identifier: MIT
 *
 * dist_in.h: the inside of a rex_dist, for dist.c alone and its tests.
 */
#ifndef REX_DIST_IN_H
#define REX_DIST_IN_H

#include "dist.h"

enum { BEAT_TEXT = 512 };

/* What a rank says of itself. The same program runs on all ranks, so it travels as it is. */
typedef struct {
    int64_t step, rounds, pid; /* rounds: waits that have ended */
    double spent;              /* seconds of computing before the present (or last) wait */
    int32_t code;              /* what ended the run, or REX_OK */
    bool waiting, busy, bye, lost;
    char host[64], text[BEAT_TEXT];
} beat;

/* Rank 0 has one to every other rank, all others one to rank 0. */
typedef struct {
    int peer;
    beat in, out, seen; /* being received, being sent, the newest */
    bool sending, known, near_by, told, bye_sent, gone;
    double heard, since; /* when the newest came; when it last said something new */
} wire;

typedef struct message message;
struct message {
    message *next;  /* of the spare ones */
    message *older; /* of all there are */
    rex_flow *flow; /* NULL: a beat */
    wire *link;
    int peer;
    bool in;
};

struct rex_dist {
    rex_transport *t; /* owned */
    void *plugin;     /* owned */
    int rank, size;
    double deadline;
    pthread_t thread;
    bool threaded, sync;
    pthread_mutex_t lock; /* before all that follows, and before the transport */
    pthread_cond_t wake;
    wire *link; /* owned; n_link */
    int n_link;
    message *spare, *newest; /* owned, by `newest` */
    rex_flow *ready, **ready_end; /* flows whose messages are all in */
    int64_t underway;             /* messages of flows */
    int running;                  /* threads inside a flow's `done` */
    atomic_int code;              /* why the run ends, or REX_OK */
    char text[BEAT_TEXT];
    bool lost;   /* a rank is gone, or stands still: nothing orderly can follow */
    bool said, closing, end, frozen;
    double failed_at, beaten, watched;
    /* what this rank is doing */
    int64_t step, rounds;
    double spent, resumed, longest;
    bool waiting, busy;
};

#endif
