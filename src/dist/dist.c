/* SPDX-License-Identifier: MIT
 *
 * dist.c: messages in the background and the watch over the ranks.
 *
 * One thread of each rank keeps the transport moving, so that messages travel while the others
 * compute; whoever waits moves it as well. A lock stands before the transport. Ten times a second
 * every rank tells rank 0 that it lives, in which step, whether it waits and whether it has failed;
 * rank 0 tells all others the same of itself and of the run. So a failure anywhere reaches
 * everybody without a message being waited for, and silence is noticed without MPI's help.
 *
 * After a failure no message may touch memory that the rank gives back: the transport is frozen
 * then, and closing ends all ranks.
 */
#include "dist.h"

#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "dist_in.h"

enum { TAG_DATA = 1, TAG_BEAT = 2, FINISHED = 64 };
#ifdef REX_SMALL
enum { LARGEST = 1000 }; /* bytes of one message */
#else
enum { LARGEST = 1 << 30 };
#endif
static const double BEAT_EVERY = 0.1, LOG_AFTER = 0.4, STOP_AFTER = 10.0, ASSEMBLE = 15.0;

/* Without signals: they belong to the thread that installed the handlers. */
static int begin_thread(pthread_t *t, void *(*f)(void *), void *arg) {
    sigset_t all, was;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &was);
    const int bad = pthread_create(t, NULL, f, arg);
    pthread_sigmask(SIG_SETMASK, &was, NULL);
    return bad;
}

static void nap(long microseconds) {
    const struct timespec t = { 0, microseconds * 1000 };
    (void)nanosleep(&t, NULL);
}

/* ---- failure ----------------------------------------------------------------------------- */

/* The first failure is the one that everybody hears of. Under the lock. */
static void failed(rex_dist *d, rex_status s, bool lost, const char *text) {
    if (atomic_load(&d->code) != REX_OK) return;
    (void)snprintf(d->text, sizeof d->text, "%s", text);
    d->lost = lost;
    d->failed_at = rex_clock();
    atomic_store(&d->code, (int)s);
}

static rex_status say_failure(rex_dist *d, rex_err *e) {
    pthread_mutex_lock(&d->lock);
    const rex_status s = rex_fail(e, (rex_status)atomic_load(&d->code), d->step, "%s", d->text);
    pthread_mutex_unlock(&d->lock);
    return s;
}

static void transport_failed(rex_dist *d) {
    char text[BEAT_TEXT];
    (void)snprintf(text, sizeof text, "rank %d (%s): %s", d->rank, d->t->host, d->t->why);
    failed(d, REX_EIO, true, text);
}

/* ---- messages ---------------------------------------------------------------------------- */

/* Under the lock: a free record of a message, or NULL. */
static message *take_message(rex_dist *d) {
    message *m = d->spare;
    if (m) {
        d->spare = m->next;
        return m;
    }
    m = rex_mem_take(1, sizeof *m, NULL);
    if (!m) return NULL;
    m->older = d->newest;
    d->newest = m;
    return m;
}

static void drop_message(rex_dist *d, message *m) {
    m->next = d->spare;
    d->spare = m;
}

/* Under the lock. */
static rex_status post(rex_dist *d, const message *what, int tag, void *p, size_t n) {
    message *const m = take_message(d);
    if (!m) return REX_ENOMEM;
    message *const older = m->older;
    *m = *what;
    m->older = older;
    const int bad = m->in ? d->t->recv(d->t, m->peer, tag, p, n, m)
                          : d->t->send(d->t, m->peer, tag, p, n, m);
    if (bad) {
        drop_message(d, m);
        transport_failed(d);
        return REX_EIO;
    }
    if (m->flow) {
        m->flow->left++;
        d->underway++;
    }
    return REX_OK;
}

/* Under the lock: one message less; the last one makes the flow ready. */
static void flow_down(rex_dist *d, rex_flow *f) {
    if (--f->left > 0) return;
    f->next = NULL;
    *d->ready_end = f;
    d->ready_end = &f->next;
}

static void run_ready(rex_flow *f) {
    while (f) {
        rex_flow *const next = f->next;
        if (f->done) {
            const uint64_t fp = rex_fp_enter();
            f->done(f->ud);
            rex_fp_leave(fp);
        }
        atomic_store(&f->finished, true); /* the flow may be gone after this */
        f = next;
    }
}

static void beat_arrived(rex_dist *d, wire *k);

/* Moves the transport once; true if something finished. */
static bool move(rex_dist *d) {
    void *ticket[FINISHED];
    pthread_mutex_lock(&d->lock);
    const int n = d->frozen ? 0 : d->t->poll(d->t, ticket, FINISHED);
    if (n < 0) transport_failed(d);
    for (int i = 0; i < n; i++) {
        message *const m = ticket[i];
        if (m->flow) {
            d->underway--;
            flow_down(d, m->flow);
        } else if (m->in) {
            beat_arrived(d, m->link);
        } else {
            m->link->sending = false;
            m->link->told |= m->link->out.code != REX_OK && m->link->out.lost == d->lost;
            m->link->bye_sent |= m->link->out.bye;
        }
        drop_message(d, m);
    }
    rex_flow *const ready = d->frozen ? NULL : d->ready;
    if (ready) {
        d->ready = NULL;
        d->ready_end = &d->ready;
        d->running++;
    }
    pthread_mutex_unlock(&d->lock);
    if (ready) {
        run_ready(ready);
        pthread_mutex_lock(&d->lock);
        d->running--;
        pthread_mutex_unlock(&d->lock);
    }
    return n > 0 || ready;
}

void rex_flow_begin(rex_dist *d, rex_flow *f, void (*done)(void *ud), void *ud) {
    (void)d;
    f->done = done;
    f->ud = ud;
    f->left = 1;
    f->next = NULL;
    atomic_store(&f->finished, false);
}

static rex_status add(rex_dist *d, message what, void *p, size_t n, rex_err *e) {
    char *at = p;
    rex_status s = REX_OK;
    pthread_mutex_lock(&d->lock);
    if (d->frozen || atomic_load(&d->code) != REX_OK) s = REX_EIO;
    while (s == REX_OK && n > 0) {
        const size_t part = n < LARGEST ? n : LARGEST;
        s = post(d, &what, TAG_DATA, at, part);
        at += part;
        n -= part;
    }
    pthread_cond_signal(&d->wake);
    pthread_mutex_unlock(&d->lock);
    if (s == REX_OK) return s;
    if (s == REX_ENOMEM) return rex_fail(e, s, -1, "ranks: no memory for a message");
    return say_failure(d, e);
}

rex_status rex_flow_send(rex_dist *d, rex_flow *f, int to, const void *p, size_t n, rex_err *e) {
    union { /* the transport only reads it */
        const void *seen;
        void *p;
    } u = { .seen = p };
    return add(d, (message){ .flow = f, .peer = to }, u.p, n, e);
}

rex_status rex_flow_recv(rex_dist *d, rex_flow *f, int from, void *p, size_t n, rex_err *e) {
    return add(d, (message){ .flow = f, .peer = from, .in = true }, p, n, e);
}

void rex_flow_end(rex_dist *d, rex_flow *f) {
    pthread_mutex_lock(&d->lock);
    flow_down(d, f);
    pthread_cond_signal(&d->wake);
    pthread_mutex_unlock(&d->lock);
}

/* A failure that all are about to agree upon may be heard of before the message that tells it: what
 * is on its way gets a second to arrive, unless a rank is lost. */
static bool given_up(rex_dist *d) {
    if (atomic_load(&d->code) == REX_OK) return false;
    pthread_mutex_lock(&d->lock);
    const bool up = d->lost || rex_clock() - d->failed_at > 1.0;
    pthread_mutex_unlock(&d->lock);
    return up;
}

rex_status rex_flow_wait(rex_dist *d, rex_flow *f, rex_err *e) {
    pthread_mutex_lock(&d->lock);
    d->spent = rex_clock() - d->resumed;
    d->waiting = true;
    pthread_mutex_unlock(&d->lock);
    int idle = 0;
    while (!atomic_load(&f->finished) && !given_up(d)) {
        if (move(d)) idle = 0;
        else nap(idle++ < 200 ? 10 : 50);
    }
    pthread_mutex_lock(&d->lock);
    d->waiting = false;
    d->rounds++;
    d->resumed = rex_clock();
    pthread_mutex_unlock(&d->lock);
    if (atomic_load(&f->finished)) return REX_OK;
    const rex_status s = say_failure(d, e);
    rex_dist_fail(d, s, NULL);
    return s;
}

/* ---- beats ------------------------------------------------------------------------------- */

static void listen(rex_dist *d, wire *k) {
    if (post(d, &(message){ .link = k, .peer = k->peer, .in = true }, TAG_BEAT, &k->in,
             sizeof k->in) == REX_ENOMEM)
        failed(d, REX_ENOMEM, true, "ranks: no memory for a message");
}

static beat beat_of(rex_dist *d) {
    beat b = { .step = d->step, .rounds = d->rounds, .spent = d->spent, .pid = (int64_t)getpid(),
               .waiting = d->waiting, .busy = d->busy, .bye = d->closing, .lost = d->lost,
               .code = atomic_load(&d->code) };
    (void)snprintf(b.host, sizeof b.host, "%s", d->t->host);
    if (b.code != REX_OK) (void)snprintf(b.text, sizeof b.text, "%s", d->text);
    return b;
}

/* Under the lock. */
static void send_beats(rex_dist *d, bool now) {
    const double t = rex_clock();
    if (d->frozen || (!now && t - d->beaten < BEAT_EVERY)) return;
    d->beaten = t;
    for (int i = 0; i < d->n_link; i++) {
        wire *const k = &d->link[i];
        if (k->sending || k->bye_sent) continue;
        k->out = beat_of(d);
        k->sending = true;
        if (post(d, &(message){ .link = k, .peer = k->peer }, TAG_BEAT, &k->out, sizeof k->out) !=
            REX_OK)
            k->sending = false;
    }
}

/* A process of this machine that can be seen from here can be asked whether it is there. */
static bool is_there(int64_t pid) {
    return kill((pid_t)pid, 0) == 0 || errno != ESRCH;
}

/* Under the lock. */
static void beat_arrived(rex_dist *d, wire *k) {
    const beat was = k->seen;
    const double t = rex_clock();
    k->seen = k->in;
    k->seen.host[sizeof k->seen.host - 1] = 0;
    k->seen.text[sizeof k->seen.text - 1] = 0;
    k->heard = t;
    const beat *const b = &k->seen;
    if (!k->known) k->near_by = strcmp(b->host, d->t->host) == 0 && is_there(b->pid);
    if (!k->known || b->step != was.step || b->rounds != was.rounds || b->waiting != was.waiting)
        k->since = t;
    k->known = true;
    d->lost |= b->lost;
    if (b->code != REX_OK && atomic_load(&d->code) == REX_OK) {
        failed(d, (rex_status)b->code, b->lost, b->text);
        if (d->rank == 0) send_beats(d, true);
    }
    if (!b->bye) listen(d, k);
}

/* ---- the watch --------------------------------------------------------------------------- */

/* `k` NULL: this rank itself, rank -1: all of them. */
static void lose(rex_dist *d, wire *k, int rank, const char *how) {
    char text[BEAT_TEXT], where[48] = "before the first step";
    if (d->step > 0) (void)snprintf(where, sizeof where, "in step %lld", (long long)d->step);
    if (k && k->known)
        (void)snprintf(text, sizeof text, "rank %d (%s, process %lld) %s, %s", rank, k->seen.host,
                       (long long)k->seen.pid, how, where);
    else if (rank < 0) (void)snprintf(text, sizeof text, "all ranks %s, %s", how, where);
    else (void)snprintf(text, sizeof text, "rank %d %s, %s", rank, how, where);
    if (k) k->gone = true;
    failed(d, REX_ECHILD, true, text);
    send_beats(d, true);
}

/* A rank that computes while others wait, much longer than they did. On rank 0. */
static void look_for_stuck(rex_dist *d, double t) {
    double since = d->waiting ? t - d->resumed : 0.0;
    if (d->waiting && d->spent > d->longest) d->longest = d->spent;
    for (int i = 0; i < d->n_link; i++) {
        const wire *const k = &d->link[i];
        if (!k->known || !k->seen.waiting) continue;
        if (k->seen.spent > d->longest) d->longest = k->seen.spent;
        if (t - k->since > since) since = t - k->since;
    }
    const double limit = d->deadline + 10.0 * d->longest;
    if (since < limit) return;
    bool all = d->waiting;
    char how[96];
    (void)snprintf(how, sizeof how, "has kept the others waiting for %.0f s", since);
    if (!d->waiting && !d->busy && t - d->resumed >= limit) {
        lose(d, NULL, 0, how);
        return;
    }
    for (int i = 0; i < d->n_link; i++) {
        wire *const k = &d->link[i];
        all &= k->known && k->seen.waiting;
        if (!k->known || k->seen.waiting || k->seen.busy || k->seen.bye || t - k->since < limit)
            continue;
        lose(d, k, k->peer, how);
        return;
    }
    if (all) lose(d, NULL, -1, "wait for each other");
}

/* Under the lock. */
static void watch(rex_dist *d) {
    const double t = rex_clock(), gap = t - d->watched;
    d->watched = t;
    if (gap > 1.0) /* this process itself has slept: nobody is blamed for that */
        for (int i = 0; i < d->n_link; i++) {
            d->link[i].heard += gap;
            d->link[i].since += gap;
        }
    if (d->frozen) return;
    const bool over = atomic_load(&d->code) != REX_OK;
    for (int i = 0; i < d->n_link; i++) {
        wire *const k = &d->link[i];
        char how[96];
        if (k->known && k->seen.bye) continue;
        if (over) { /* only whether all can still part in peace */
            d->lost |= t - k->heard > d->deadline;
            continue;
        }
        if (k->known && k->near_by && !is_there(k->seen.pid)) {
            lose(d, k, k->peer, "has died");
            return;
        }
        if (t - k->heard <= d->deadline) continue;
        (void)snprintf(how, sizeof how, "has been silent for %.0f s", t - k->heard);
        lose(d, k, k->peer, how);
        return;
    }
    if (d->rank == 0 && !over) look_for_stuck(d, t);
}

/* Rank 0 speaks for all, rank 1 where rank 0 is gone. */
static bool speaks(const rex_dist *d) {
    return d->rank == 0 || (d->rank == 1 && d->link[0].gone);
}

/* What is lost must be said even if nobody comes to hear it: a launcher that sees a rank die kills
 * the others within a second, and a rank in the middle of a long step asks nothing. */
static void speak_up(rex_dist *d) {
    pthread_mutex_lock(&d->lock);
    const double since = rex_clock() - d->failed_at;
    const bool lost = atomic_load(&d->code) != REX_OK && d->lost && !d->closing;
    const bool say = lost && !d->said && since > LOG_AFTER && speaks(d);
    char text[BEAT_TEXT];
    (void)snprintf(text, sizeof text, "%s", d->text);
    d->said |= say;
    pthread_mutex_unlock(&d->lock);
    if (say) rex_say(REX_LOG_ERROR, "%s", text);
    if (lost && since > STOP_AFTER + d->deadline) d->t->stop(d->t, 1);
}

static void *mind(void *arg) {
    rex_dist *const d = arg;
    for (;;) {
        pthread_mutex_lock(&d->lock);
        send_beats(d, false);
        watch(d);
        const bool end = d->end, active = d->underway > 0 || d->ready;
        if (!active && !end) {
            struct timespec until;
            (void)clock_gettime(CLOCK_REALTIME, &until);
            until.tv_nsec += 20000000;
            until.tv_sec += until.tv_nsec / 1000000000;
            until.tv_nsec %= 1000000000;
            (void)pthread_cond_timedwait(&d->wake, &d->lock, &until);
        }
        pthread_mutex_unlock(&d->lock);
        if (end) return NULL;
        if (!move(d) && active) nap(200);
        speak_up(d);
    }
}

void rex_dist_at(rex_dist *d, int64_t step) {
    if (!d) return;
    pthread_mutex_lock(&d->lock);
    d->step = step;
    pthread_mutex_unlock(&d->lock);
}

void rex_dist_busy(rex_dist *d, bool busy) {
    if (!d) return;
    pthread_mutex_lock(&d->lock);
    d->busy = busy;
    pthread_mutex_unlock(&d->lock);
}

void rex_dist_fail(rex_dist *d, rex_status s, const rex_err *e) {
    if (!d || s == REX_OK || s == REX_ECANCEL) return;
    char text[BEAT_TEXT];
    const char *const why = e && e->text[0] ? e->text : rex_status_text(s);
    if (d->rank == 0) (void)snprintf(text, sizeof text, "%s", why);
    else (void)snprintf(text, sizeof text, "rank %d (%s): %.*s", d->rank, d->t->host, 400, why);
    pthread_mutex_lock(&d->lock);
    failed(d, s, false, text);
    const bool open = (d->underway > 0 || d->ready) && !d->frozen;
    for (int i = 0; i < d->n_link && open && !d->lost; i++) d->link[i].told = false;
    d->lost |= open;
    send_beats(d, true);
    pthread_mutex_unlock(&d->lock);
    if (!open) return;
    const double start = rex_clock();
    for (;;) { /* the failure must be on its way before the transport stands still */
        pthread_mutex_lock(&d->lock);
        bool all = true;
        for (int i = 0; i < d->n_link; i++)
            all &= d->link[i].told || d->link[i].bye_sent || d->link[i].gone;
        send_beats(d, false);
        const bool late = rex_clock() - start > 2.0;
        if (all || late) d->frozen = true;
        const bool still = d->frozen && d->running == 0;
        pthread_mutex_unlock(&d->lock);
        if (still) return;
        (void)move(d);
        nap(200);
    }
}

/* ---- open and close ---------------------------------------------------------------------- */

static void free_all(rex_dist *d) {
    for (message *m = d->newest; m;) {
        message *const older = m->older;
        rex_mem_free(m);
        m = older;
    }
    if (d->sync) {
        pthread_mutex_destroy(&d->lock);
        pthread_cond_destroy(&d->wake);
    }
    rex_mem_free(d->link);
    if (d->plugin) (void)dlclose(d->plugin);
    rex_mem_free(d);
}

static rex_status start(rex_dist *d, rex_err *e) {
    if (pthread_mutex_init(&d->lock, NULL) != 0 || pthread_cond_init(&d->wake, NULL) != 0)
        return rex_fail(e, REX_ENOMEM, -1, "ranks: no memory for their locks");
    d->sync = true;
    d->n_link = d->rank == 0 ? d->size - 1 : 1;
    d->link = rex_mem_take((size_t)d->n_link + 1, sizeof *d->link, e);
    if (!d->link) return REX_ENOMEM;
    const double t = rex_clock();
    d->resumed = d->watched = t;
    for (int i = 0; i < d->n_link; i++) {
        d->link[i].peer = d->rank == 0 ? i + 1 : 0;
        d->link[i].heard = d->link[i].since = t;
        listen(d, &d->link[i]);
    }
    send_beats(d, true);
    if (atomic_load(&d->code) != REX_OK) return say_failure(d, e);
    const int bad = begin_thread(&d->thread, mind, d);
    if (bad) return rex_fail(e, REX_ENOMEM, -1, "ranks: their thread: %s", strerror(bad));
    d->threaded = true;
    return REX_OK;
}

rex_status rex_dist_join(rex_transport *t, double deadline, rex_dist **out, rex_err *e) {
    *out = NULL;
    rex_dist *const d = rex_mem_take(1, sizeof *d, e);
    if (!d) {
        t->stop(t, 1);
        return REX_ENOMEM;
    }
    d->t = t;
    d->rank = t->rank;
    d->size = t->size;
    d->deadline = deadline;
    d->ready_end = &d->ready;
    rex_status s = start(d, e);
    if (s == REX_OK) {
        *out = d;
        return REX_OK;
    }
    t->stop(t, 1);
    free_all(d);
    return s;
}

/* Until the transport is open nobody hears anybody, and opening it waits for all: a rank that
 * never comes is noticed by the clock alone, of every process for itself. */
typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    double seconds;
    bool over;
} assembly;

static void *wait_for_all(void *arg) {
    assembly *const a = arg;
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += (time_t)a->seconds;
    int late = 0;
    pthread_mutex_lock(&a->lock);
    while (!a->over && late == 0) late = pthread_cond_timedwait(&a->wake, &a->lock, &until);
    const bool over = a->over;
    pthread_mutex_unlock(&a->lock);
    if (over) return NULL;
    rex_say(REX_LOG_ERROR, "not all ranks have come together within %.0f s, before the first step",
            a->seconds);
    _exit(1); /* whoever waits inside MPI cannot be called back; mpirun ends the others */
}

static bool assembly_begin(assembly *a, double deadline) {
    *a = (assembly){.seconds = deadline > ASSEMBLE ? deadline : ASSEMBLE};
    if (pthread_mutex_init(&a->lock, NULL) != 0) return false;
    if (pthread_cond_init(&a->wake, NULL) == 0) {
        if (begin_thread(&a->thread, wait_for_all, a) == 0) return true;
        pthread_cond_destroy(&a->wake);
    }
    pthread_mutex_destroy(&a->lock);
    return false;
}

static void assembly_end(assembly *a) {
    pthread_mutex_lock(&a->lock);
    a->over = true;
    pthread_cond_signal(&a->wake);
    pthread_mutex_unlock(&a->lock);
    pthread_join(a->thread, NULL);
    pthread_cond_destroy(&a->wake);
    pthread_mutex_destroy(&a->lock);
}

static void *take_bytes(size_t n) {
    return rex_mem_take(1, n, NULL);
}

rex_status rex_dist_open(const char *plugin, double deadline, rex_dist **out, rex_err *e) {
    union { /* a symbol is data to dlsym and a function to us */
        void *p;
        rex_transport_fn fn;
    } open;
    char why[160] = "";
    *out = NULL;
    void *const h = dlopen(plugin, RTLD_NOW | RTLD_GLOBAL);
    if (!h) return rex_fail(e, REX_EUNSUP, -1, "%s cannot be loaded: %s", plugin, dlerror());
    open.p = dlsym(h, REX_TRANSPORT_NAME);
    rex_transport *t = NULL;
    assembly all;
    const bool timed = assembly_begin(&all, deadline); /* without a thread to spare: untimed */
    const bool bad = !open.p || open.fn(REX_TRANSPORT_ABI, take_bytes, rex_mem_free, &t, why,
                                        sizeof why) != 0;
    if (timed) assembly_end(&all);
    if (bad) {
        const rex_status s = rex_fail(e, REX_EUNSUP, -1, "%s: %s", plugin,
                                      open.p ? why : "not a plug-in of this program");
        (void)dlclose(h);
        return s;
    }
    REX_TRY(rex_dist_join(t, deadline, out, e));
    (*out)->plugin = h;
    return REX_OK;
}

int rex_dist_rank(const rex_dist *d) {
    return d ? d->rank : 0;
}

int rex_dist_size(const rex_dist *d) {
    return d ? d->size : 1;
}

int rex_dist_threads(rex_dist *d, int asked) {
    const long n = sysconf(_SC_NPROCESSORS_ONLN);
    const int cores = n < 1 ? 1 : n > 4096 ? 4096 : (int)n;
    if (!d) return asked;
    int want = asked ? asked : cores / d->t->local_size;
    if (want < 1) want = 1;
    const int may = d->t->cores(d->t, want);
    return asked || may > want ? want : may;
}

/* Waits until everybody knows that nobody will write any more. */
static void part(rex_dist *d) {
    for (bool all = d->frozen; !all;) {
        pthread_mutex_lock(&d->lock);
        all = true;
        for (int i = 0; i < d->n_link; i++)
            all &= d->link[i].bye_sent && d->link[i].known && d->link[i].seen.bye;
        all |= d->lost;
        send_beats(d, false);
        pthread_mutex_unlock(&d->lock);
        if (!all && !move(d)) nap(500);
    }
}

void rex_dist_close(rex_dist *d) {
    if (!d) return;
    pthread_mutex_lock(&d->lock);
    d->closing = true;
    const bool say = d->rank > 0 && speaks(d) && !d->said; /* the caller of rank 0 has said it */
    d->said = true;
    send_beats(d, true);
    pthread_mutex_unlock(&d->lock);
    if (say) rex_say(REX_LOG_ERROR, "%s", d->text);
    part(d);
    pthread_mutex_lock(&d->lock);
    d->end = true;
    const bool clean = !d->frozen && !d->lost && d->underway == 0;
    pthread_cond_signal(&d->wake);
    pthread_mutex_unlock(&d->lock);
    if (d->threaded) pthread_join(d->thread, NULL);
    if (clean) {
        d->t->close(d->t);
    } else {
        /* Rank 0 ends all; the others only if it does not come to that. */
        for (int i = 0; d->rank > 0 && i < 30; i++) nap(100000);
        d->t->stop(d->t, 1);
    }
    free_all(d);
}
