/* SPDX-License-Identifier: MIT
 *
 * pool: workers that share out numbered items.
 *
 * The caller is worker 0; the others sleep between runs. Items are handed out by a counter in
 * small runs, so any worker may get any item: what an item computes must depend on its number
 * alone, and sums over items are the caller's business, in index order. That is how the number of
 * workers never changes a result. Every item runs with the floating-point state of rex_fp_enter.
 */
#include "base.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

/* How a worker waits: it looks at the counter a while, then it looks as often as it gets the
 * processor and leaves it to whoever else wants it, and sleeps only when nothing comes for long.
 * Waking up is dear: in a virtual machine a halted processor needs up to a millisecond, and a layer
 * of a small model has a dozen runs of a few milliseconds each. */
#define LOOKS 500
#define PATIENCE 0.003 /* seconds */

#if defined(__x86_64__) || defined(__i386__)
#define RELAX() __builtin_ia32_pause()
#else
#define RELAX() ((void)0)
#endif

typedef struct {
    rex_pool *pool;
    int index;
} worker;

struct rex_pool {
    int n;               /* workers, the caller counted in */
    int started;         /* threads to join */
    pthread_t *thread;   /* owned; n - 1 of them */
    worker *self;        /* owned; n - 1 of them */
    pthread_mutex_t run; /* one run at a time; a second caller waits */
    pthread_mutex_t lock;
    pthread_cond_t wake, done;
    bool have_sync;

    /* The present run; written before `round` is raised. */
    rex_work_fn fn;
    void *ud;
    size_t items, chunk;
    atomic_size_t next;
    atomic_uint busy;  /* helpers that have not finished this round */
    atomic_uint round; /* raised for each run */
    atomic_bool closing;
};

/* Which pool this thread is working for: a nested run of the same pool goes on serially under
 * the same worker index, so that scratch indexed by it is not shared. */
static _Thread_local const rex_pool *inside;
static _Thread_local int inside_as;

static void work(rex_pool *p, int index) {
    const uint64_t fp = rex_fp_enter();
    const rex_pool *const was = inside;
    const int was_as = inside_as;
    inside = p;
    inside_as = index;
    for (;;) {
        const size_t at = atomic_fetch_add(&p->next, p->chunk);
        if (at >= p->items) break;
        const size_t end = p->items - at > p->chunk ? at + p->chunk : p->items;
        for (size_t i = at; i < end; i++) p->fn(p->ud, i, index);
    }
    inside = was;
    inside_as = was_as;
    rex_fp_leave(fp);
}

/* True as soon as *at is (or, with `differs`, is not) `value`; false when it is time to sleep. */
static bool look(const atomic_uint *at, unsigned value, bool differs) {
    for (int i = 0; i < LOOKS; i++) {
        if ((atomic_load(at) != value) == differs) return true;
        RELAX();
    }
    const double end = rex_clock() + PATIENCE;
    do {
        for (int i = 0; i < 8; i++) {
            if ((atomic_load(at) != value) == differs) return true;
            sched_yield();
        }
    } while (rex_clock() < end);
    return false;
}

/* Returns when the round differs from `seen`. */
static unsigned wait_round(rex_pool *p, unsigned seen) {
    if (look(&p->round, seen, true)) return atomic_load(&p->round);
    pthread_mutex_lock(&p->lock);
    unsigned now;
    while ((now = atomic_load(&p->round)) == seen) pthread_cond_wait(&p->wake, &p->lock);
    pthread_mutex_unlock(&p->lock);
    return now;
}

static void *helper(void *arg) {
    const worker *const w = arg;
    rex_pool *const p = w->pool;
    unsigned seen = 0;
    for (;;) {
        seen = wait_round(p, seen);
        if (atomic_load(&p->closing)) return NULL;
        work(p, w->index);
        if (atomic_fetch_sub(&p->busy, 1) == 1) {
            pthread_mutex_lock(&p->lock);
            pthread_cond_signal(&p->done);
            pthread_mutex_unlock(&p->lock);
        }
    }
}

static void raise_round(rex_pool *p) {
    pthread_mutex_lock(&p->lock);
    atomic_fetch_add(&p->round, 1);
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
}

static int cores(void) {
#ifdef REX_SMALL
    return 3;
#else
    const long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > 4096 ? 4096 : (int)n;
#endif
}

static rex_status start(rex_pool *p, rex_err *e) {
    if (pthread_mutex_init(&p->run, NULL) != 0 || pthread_mutex_init(&p->lock, NULL) != 0 ||
        pthread_cond_init(&p->wake, NULL) != 0 || pthread_cond_init(&p->done, NULL) != 0)
        return rex_fail(e, REX_ENOMEM, -1, "workers: no memory for their locks");
    p->have_sync = true;
    /* Signals belong to the thread that installed the handlers. */
    sigset_t all, was;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &was);
    int bad = 0;
    for (int i = 0; i < p->n - 1 && !bad; i++) {
        p->self[i] = (worker){p, i + 1};
        bad = pthread_create(&p->thread[i], NULL, helper, &p->self[i]);
        if (!bad) p->started++;
    }
    pthread_sigmask(SIG_SETMASK, &was, NULL);
    if (bad)
        return rex_fail(e, REX_ENOMEM, -1, "workers: thread %d of %d could not be started: %s",
                        p->started + 2, p->n, strerror(bad));
    return REX_OK;
}

rex_status rex_pool_open(int threads, rex_pool **out, rex_err *e) {
    *out = NULL;
    if (threads < 0 || threads > 4096)
        return rex_fail(e, REX_EARG, -1, "workers: %d is outside 0 .. 4096", threads);
    rex_pool *const p = rex_mem_take(1, sizeof *p, e);
    if (!p) return REX_ENOMEM;
    p->n = threads ? threads : cores();
    rex_status s = REX_OK;
    if (p->n > 1) {
        p->thread = rex_mem_take((size_t)p->n - 1, sizeof *p->thread, e);
        p->self = rex_mem_take((size_t)p->n - 1, sizeof *p->self, e);
        s = p->thread && p->self ? start(p, e) : REX_ENOMEM;
    }
    if (s != REX_OK) {
        rex_pool_close(p);
        return s;
    }
    *out = p;
    return REX_OK;
}

int rex_pool_size(const rex_pool *p) { return p ? p->n : 1; }

void rex_pool_close(rex_pool *p) {
    if (!p) return;
    if (p->started) {
        atomic_store(&p->closing, true);
        raise_round(p);
        for (int i = 0; i < p->started; i++) pthread_join(p->thread[i], NULL);
    }
    if (p->have_sync) {
        pthread_cond_destroy(&p->done);
        pthread_cond_destroy(&p->wake);
        pthread_mutex_destroy(&p->lock);
        pthread_mutex_destroy(&p->run);
    }
    rex_mem_free(p->thread);
    rex_mem_free(p->self);
    rex_mem_free(p);
}

static void serial(size_t n, rex_work_fn fn, void *ud, int index) {
    const uint64_t fp = rex_fp_enter();
    for (size_t i = 0; i < n; i++) fn(ud, i, index);
    rex_fp_leave(fp);
}

void rex_pool_run(rex_pool *p, size_t n, rex_work_fn fn, void *ud) {
    if (n == 0) return;
    if (!p || inside) {
        serial(n, fn, ud, p && inside == p ? inside_as : 0);
        return;
    }
    if (p->n == 1) {
        serial(n, fn, ud, 0);
        return;
    }
    pthread_mutex_lock(&p->run);
    p->fn = fn;
    p->ud = ud;
    p->items = n;
    p->chunk = n / ((size_t)p->n * 32) + 1;
    atomic_store(&p->next, 0);
    if (n == 1) {
        work(p, 0);
    } else {
        atomic_store(&p->busy, (unsigned)p->n - 1);
        raise_round(p);
        work(p, 0);
        if (!look(&p->busy, 0, false)) {
            pthread_mutex_lock(&p->lock);
            while (atomic_load(&p->busy) > 0) pthread_cond_wait(&p->done, &p->lock);
            pthread_mutex_unlock(&p->lock);
        }
    }
    pthread_mutex_unlock(&p->run);
}
