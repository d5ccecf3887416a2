/* SPDX-License-Identifier: MIT
 *
 * mpi.c: the transport over MPI, a plug-in of its own (librepexp-mpi.so), so that neither the
 * program nor the library depends on MPI. Only calls that do not wait are used, and MPI is told
 * that they come from one thread at a time. It is built where MPI is installed, and loaded when an
 * mpirun has started the program.
 */
#define _GNU_SOURCE /* sched_setaffinity */
#include "dist.h"

#include <mpi.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

typedef struct {
    rex_transport t; /* first: the two are one object */
    rex_take_fn take;
    rex_give_fn give;
    char host[MPI_MAX_PROCESSOR_NAME + 1];
    MPI_Request *request; /* owned, as the next three; n of room */
    void **ticket;
    int *index;
    int n, room;
} mpi;

static int fail(mpi *m, const char *what, int code) {
    char text[MPI_MAX_ERROR_STRING + 1] = "";
    int n = 0;
    (void)MPI_Error_string(code, text, &n);
    (void)snprintf(m->t.why, sizeof m->t.why, "%s: %.120s", what, text);
    return -1;
}

/* Room for one more request. */
static int grow(mpi *m) {
    if (m->n < m->room) return 0;
    const int room = m->room ? 2 * m->room : 256;
    MPI_Request *const request = m->take((size_t)room * sizeof *request);
    void **const ticket = request ? m->take((size_t)room * sizeof *ticket) : NULL;
    int *const index = ticket ? m->take((size_t)room * sizeof *index) : NULL;
    if (!index) {
        m->give(request);
        m->give(ticket);
        (void)snprintf(m->t.why, sizeof m->t.why, "no memory for %d messages", room);
        return -1;
    }
    if (m->n) {
        memcpy(request, m->request, (size_t)m->n * sizeof *request);
        memcpy(ticket, m->ticket, (size_t)m->n * sizeof *ticket);
    }
    m->give(m->request);
    m->give(m->ticket);
    m->give(m->index);
    m->request = request;
    m->ticket = ticket;
    m->index = index;
    m->room = room;
    return 0;
}

static int send_bytes(rex_transport *t, int peer, int tag, const void *p, size_t n, void *ticket) {
    mpi *const m = (mpi *)t;
    if (grow(m)) return -1;
    const int bad = MPI_Isend(p, (int)n, MPI_BYTE, peer, tag, MPI_COMM_WORLD, &m->request[m->n]);
    if (bad) return fail(m, "MPI_Isend", bad);
    m->ticket[m->n++] = ticket;
    return 0;
}

static int recv_bytes(rex_transport *t, int peer, int tag, void *p, size_t n, void *ticket) {
    mpi *const m = (mpi *)t;
    if (grow(m)) return -1;
    const int bad = MPI_Irecv(p, (int)n, MPI_BYTE, peer, tag, MPI_COMM_WORLD, &m->request[m->n]);
    if (bad) return fail(m, "MPI_Irecv", bad);
    m->ticket[m->n++] = ticket;
    return 0;
}

static int poll_all(rex_transport *t, void **ticket, int room) {
    mpi *const m = (mpi *)t;
    int done = 0;
    if (m->n == 0) return 0;
    const int bad = MPI_Testsome(m->n, m->request, &done, m->index, MPI_STATUSES_IGNORE);
    if (bad) return fail(m, "MPI_Testsome", bad);
    if (done == MPI_UNDEFINED) done = 0;
    /* A finished request has become MPI_REQUEST_NULL; what does not fit waits in `ticket` for the
     * next call, with its request null. */
    int kept = 0, n = 0;
    for (int i = 0; i < m->n; i++) {
        if (m->request[i] == MPI_REQUEST_NULL && n < room) {
            ticket[n++] = m->ticket[i];
            continue;
        }
        m->request[kept] = m->request[i];
        m->ticket[kept++] = m->ticket[i];
    }
    m->n = kept;
    return n;
}

static int widen(rex_transport *t, int want) {
    (void)t;
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0) return want;
    int n = CPU_COUNT(&set);
    if (n >= want) return n;
    for (size_t i = 0; i < CPU_SETSIZE; i++) CPU_SET(i, &set);
    (void)sched_setaffinity(0, sizeof set, &set); /* the system leaves those that there are */
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) == 0) n = CPU_COUNT(&set);
    return n;
}

static void free_mpi(mpi *m) {
    m->give(m->request);
    m->give(m->ticket);
    m->give(m->index);
    m->give(m);
}

static void stop_all(rex_transport *t, int status) {
    (void)t;
    (void)MPI_Abort(MPI_COMM_WORLD, status);
}

static void close_mpi(rex_transport *t) {
    (void)MPI_Finalize();
    free_mpi((mpi *)t);
}

__attribute__((visibility("default"))) int rex_transport_open(int abi, rex_take_fn take,
                                                              rex_give_fn give, rex_transport **out,
                                                              char *why, size_t room);

int rex_transport_open(int abi, rex_take_fn take, rex_give_fn give, rex_transport **out, char *why,
                       size_t room) {
    if (abi != REX_TRANSPORT_ABI) {
        (void)snprintf(why, room, "of another version of repexp (%d, wanted %d)",
                       (int)REX_TRANSPORT_ABI, abi);
        return -1;
    }
    mpi *const m = take(sizeof *m);
    if (!m) {
        (void)snprintf(why, room, "no memory");
        return -1;
    }
    m->take = take;
    m->give = give;
    int have = MPI_THREAD_SINGLE, n = 0;
    const int bad = MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &have);
    if (bad || have < MPI_THREAD_SERIALIZED) {
        (void)snprintf(why, room, bad ? "MPI_Init_thread failed (%d)"
                                      : "this MPI takes calls of one thread only (%d)",
                       bad ? bad : have);
        give(m);
        return -1;
    }
    MPI_Comm local;
    (void)MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    (void)MPI_Comm_rank(MPI_COMM_WORLD, &m->t.rank);
    (void)MPI_Comm_size(MPI_COMM_WORLD, &m->t.size);
    (void)MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &local);
    (void)MPI_Comm_rank(local, &m->t.local_rank);
    (void)MPI_Comm_size(local, &m->t.local_size);
    (void)MPI_Comm_free(&local);
    (void)MPI_Get_processor_name(m->host, &n);
    m->t.host = m->host;
    m->t.send = send_bytes;
    m->t.recv = recv_bytes;
    m->t.poll = poll_all;
    m->t.cores = widen;
    m->t.stop = stop_all;
    m->t.close = close_mpi;
    *out = &m->t;
    return 0;
}
