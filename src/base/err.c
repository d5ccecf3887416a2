/* SPDX-License-Identifier: MIT
 *
 * err: statuses, finished sentences, the log callback, progress, the clock, cancelling.
 *
 * The library never prints: sentences go into the caller's rex_err, messages and progress to
 * callbacks that start out empty. Everything here may be called from any thread; the callbacks
 * are set once, before the workers start. The single exception to silence is rex_die, which
 * tells about a bug of our own and then aborts.
 */
#include "base.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- statuses and sentences ------------------------------------------------------------- */

const char *rex_version(void) { return REX_VERSION; }

const char *rex_status_name(rex_status s) {
    static const char *const name[] = {
#define X(n, text) #n,
        REX_STATUSES(X)
#undef X
    };
    return (unsigned)s < REX_STATUS_COUNT ? name[s] : "EBUG";
}

const char *rex_status_text(rex_status s) {
    static const char *const text[] = {
#define X(n, t) t,
        REX_STATUSES(X)
#undef X
    };
    return (unsigned)s < REX_STATUS_COUNT ? text[s] : "an unknown status";
}

/* A sentence is one line whatever the bytes that were quoted in it: control bytes become '?'.
 * A cut in the middle of a UTF-8 sequence is moved before it. */
static void tidy(char *s, bool cut) {
    size_t n = strlen(s);
    if (cut) {
        size_t at = n;
        while (at > 0 && n - at < 4 && ((uint8_t)s[at - 1] & 0xC0) == 0x80) at--;
        if (at > 0 && (uint8_t)s[at - 1] >= 0xC0) s[at - 1] = 0;
    }
    for (; *s; s++)
        if ((uint8_t)*s < 0x20 || (uint8_t)*s == 0x7F) *s = '?';
}

rex_status rex_fail(rex_err *e, rex_status code, int64_t at, const char *fmt, ...) {
    if (!e) return code;
    e->code = code;
    e->at = at;
    va_list ap;
    va_start(ap, fmt);
    const int n = vsnprintf(e->text, sizeof e->text, fmt, ap);
    va_end(ap);
    if (n < 0) e->text[0] = 0;
    tidy(e->text, n >= (int)sizeof e->text);
    return code;
}

rex_status rex_fail_in(rex_err *e, rex_status code, const char *fmt, ...) {
    if (!e) return code;
    char all[sizeof e->text];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(all, sizeof all, fmt, ap);
    va_end(ap);
    if (n < 0) n = 0;
    if (n < (int)sizeof all) {
        const size_t room = sizeof all - (size_t)n;
        n += snprintf(all + n, room, ": %s", e->text);
    }
    tidy(all, n >= (int)sizeof all);
    memcpy(e->text, all, sizeof all);
    e->code = code;
    return code;
}

_Noreturn void rex_die(const char *file, int line, const char *what) {
    fprintf(stderr, "repexp: bug at %s:%d: %s\n", file, line, what);
    abort();
}

/* ---- log -------------------------------------------------------------------------------- */

static struct {
    rex_log_fn fn;
    void *ud;
    rex_log_level level;
} sink;

void rex_log_set(rex_log_fn fn, void *ud, rex_log_level level) {
    sink.fn = fn;
    sink.ud = ud;
    sink.level = level;
}

bool rex_log_on(rex_log_level level) { return sink.fn && level <= sink.level; }

void rex_log_put(rex_log_level level, const char *fmt, ...) {
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    const int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (n < 0 || !sink.fn) return;
    tidy(text, n >= (int)sizeof text);
    sink.fn(sink.ud, level, text);
}

/* ---- progress --------------------------------------------------------------------------- */

static struct {
    rex_progress_fn fn;
    void *ud;
    double every_s;
    pthread_mutex_t lock; /* one reporter at a time; the others go on working */
} meter = {.every_s = 1.0, .lock = PTHREAD_MUTEX_INITIALIZER};

void rex_progress_set(rex_progress_fn fn, void *ud, double every_s) {
    meter.fn = fn;
    meter.ud = ud;
    meter.every_s = every_s;
}

void rex_progress_begin(rex_progress *p, const char *what, int64_t total, const char *extra_unit) {
    *p = (rex_progress){.what = what, .total = total, .extra_unit = extra_unit};
    p->start = p->last = rex_clock();
}

/* Called under the lock. The rate is that of the whole run: steadier than a window, and the
 * estimate of the rest is what people look at. */
static void report(rex_progress *p, double now, bool last) {
    rex_progress seen = *p;
    seen.done = __atomic_load_n(&p->done, __ATOMIC_RELAXED);
    seen.extra = __atomic_load_n(&p->extra, __ATOMIC_RELAXED);
    const double took = now - p->start;
    const double rate = took > 0 ? (double)seen.done / took : 0.0;
    double eta = -1.0;
    if (seen.total > 0 && rate > 0) eta = (double)(seen.total - seen.done) / rate;
    p->last = now;
    meter.fn(meter.ud, &seen, rate, eta, last);
}

void rex_progress_add(rex_progress *p, int64_t done, int64_t extra) {
    __atomic_fetch_add(&p->done, done, __ATOMIC_RELAXED);
    __atomic_fetch_add(&p->extra, extra, __ATOMIC_RELAXED);
    if (!meter.fn || pthread_mutex_trylock(&meter.lock) != 0) return;
    const double now = rex_clock();
    if (now - p->last >= meter.every_s) report(p, now, false);
    pthread_mutex_unlock(&meter.lock);
}

void rex_progress_end(rex_progress *p) {
    if (!meter.fn) return;
    pthread_mutex_lock(&meter.lock);
    report(p, rex_clock(), true);
    pthread_mutex_unlock(&meter.lock);
}

/* ---- clock and cancelling --------------------------------------------------------------- */

double rex_clock(void) {
    struct timespec t = {0};
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* A lock-free atomic: may be set from a signal handler. */
static atomic_int cancelled;

void rex_cancel_request(void) { atomic_store(&cancelled, 1); }
bool rex_cancelled(void) { return atomic_load_explicit(&cancelled, memory_order_relaxed) != 0; }
