/* SPDX-License-Identifier: MIT
 *
 * base: memory, errors, logs, randomness, workers, JSON, lines, options, exact mathematics.
 * The only room that calls malloc or abort, and the only one that every other room may include.
 */
#ifndef REX_BASE_H
#define REX_BASE_H

#include "../../include/repexp.h"

#include <stdarg.h>

/* ---- errors (err.c) --------------------------------------------------------------------- */

/* Fills `e` (may be NULL) and returns `code`. Sentences: lower case, no full stop, no newline. */
rex_status rex_fail(rex_err *e, rex_status code, int64_t at, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Puts "prefix: " before the sentence already in `e`; returns its code. */
rex_status rex_fail_in(rex_err *e, rex_status code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The one macro that hides a return: forwards a failure. */
#define REX_TRY(call)                                                                        \
    do {                                                                                     \
        const rex_status try_ = (call);                                                      \
        if (try_ != REX_OK) return try_;                                                     \
    } while (0)

/* Our own bugs only; stays on in release. The debug one is for inner loops. */
_Noreturn void rex_die(const char *file, int line, const char *what);
#define rex_assert(cond) ((cond) ? (void)0 : rex_die(__FILE__, __LINE__, #cond))
#ifdef REX_DEBUG
#define rex_dassert(cond) rex_assert(cond)
#else
#define rex_dassert(cond) ((void)0)
#endif

/* Whether a message of this level would be seen; the message itself. rex_say does both. */
bool rex_log_on(rex_log_level level);
void rex_log_put(rex_log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The level is tested before the arguments are evaluated. */
#define rex_say(level, ...)                                                                  \
    ((void)(rex_log_on(level) ? (rex_log_put((level), __VA_ARGS__), 0) : 0))

/* A progress line: moving on a terminal, a plain line now and then otherwise, on stderr, through
 * the callback that the command line installs. `total` 0 means unknown. Cheap to call often. */
typedef struct {
    const char *what; /* "samples" */
    int64_t total, done, extra;
    const char *extra_unit; /* "tok" gives tok/s; NULL for none */
    double start, last;
} rex_progress;
/* `rate` is per second since the start; `eta` in seconds, -1 when unknown; `last`: it is done. */
typedef void (*rex_progress_fn)(void *ud, const rex_progress *p, double rate, double eta,
                                bool last);
void rex_progress_set(rex_progress_fn fn, void *ud, double every_s);
void rex_progress_begin(rex_progress *p, const char *what, int64_t total, const char *extra_unit);
void rex_progress_add(rex_progress *p, int64_t done, int64_t extra);
void rex_progress_end(rex_progress *p);

double rex_clock(void); /* monotonic seconds; for progress and benchmarks only, never for results */

/* Set by the signal handler that the command line installs; long loops ask at safe places. */
void rex_cancel_request(void);
bool rex_cancelled(void);

/* ---- memory (mem.c) --------------------------------------------------------------------- */

/* count * size with the overflow checked. */
REX_MUST rex_status rex_mul_size(size_t a, size_t b, size_t *out, rex_err *e);

/* Zeroed, 64-byte aligned memory for handles and large slabs (2 MiB and more: huge pages where
 * the system gives them). NULL and a filled `e` on failure. Free with rex_mem_free. */
REX_MUST void *rex_mem_take(size_t count, size_t size, rex_err *e);
void rex_mem_free(void *p);

typedef struct {
    void *block;
    size_t used;
} rex_mark;

/* Uninitialised, aligned to 16 bytes (64 from 4 KiB up). NULL and a filled `e` on failure. */
REX_MUST void *rex_arena_take(rex_arena *a, size_t count, size_t size, rex_err *e);
REX_MUST void *rex_arena_zero(rex_arena *a, size_t count, size_t size, rex_err *e);
rex_mark rex_arena_mark(rex_arena *a);
void rex_arena_back(rex_arena *a, rex_mark m);
size_t rex_arena_bytes(const rex_arena *a); /* live bytes taken from the system */

/* Text into an arena, NUL behind it. */
REX_MUST rex_status rex_str_copy(rex_arena *a, rex_str s, rex_str *out, rex_err *e);
REX_MUST rex_status rex_str_fmt(rex_arena *a, rex_str *out, rex_err *e, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
bool rex_str_eq(rex_str a, rex_str b);
bool rex_str_is(rex_str a, const char *b);
rex_str rex_str_of(const char *s);
uint64_t rex_hash64(const void *p, size_t n); /* documented, stable, little-endian; names ids */

/* A growing byte buffer with a cap fixed at birth and a sticky status: write, check once. */
typedef struct {
    char *p;
    size_t n, room, cap;
    rex_status bad;
} rex_buf;
void rex_buf_init(rex_buf *b, size_t cap); /* cap 0: no cap */
void rex_buf_add(rex_buf *b, const void *p, size_t n);
void rex_buf_addf(rex_buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void rex_buf_reset(rex_buf *b); /* keeps the memory, empties, clears the status */
REX_MUST rex_status rex_buf_check(const rex_buf *b, rex_err *e);
void rex_buf_free(rex_buf *b);

/* Bytes from outside. Every pointer into a file is formed by rex_view_sub and nobody else. */
typedef struct {
    const uint8_t *p;
    size_t n;
} rex_view;
REX_MUST rex_status rex_view_sub(rex_view all, uint64_t off, uint64_t len, rex_view *out,
                                 rex_err *e);

/* A file as bytes: mapped, or read to its end where it has no size. "-" is stdin. */
typedef struct rex_map rex_map;
REX_MUST rex_status rex_map_open(const char *path, rex_map **out, rex_err *e);
rex_view rex_map_view(const rex_map *m);
void rex_map_drop(rex_map *m, rex_view consumed); /* gives the pages of a consumed part back */
void rex_map_close(rex_map *m);

/* Output written aside, fsynced and renamed: nothing partial under the final name. "-" is
 * stdout. A failed write is sticky; `commit` reports it; `close` without commit removes. */
typedef struct rex_out rex_out;
REX_MUST rex_status rex_out_open(const char *path, rex_out **out, rex_err *e);
/* Line records; a torn last line is cut. REX_EIO while another program has the file open so. */
REX_MUST rex_status rex_out_append(const char *path, rex_out **out, rex_err *e);
/* The same, and what the file holds is dropped. */
REX_MUST rex_status rex_out_anew(const char *path, rex_out **out, rex_err *e);
void rex_out_add(rex_out *o, const void *p, size_t n);
void rex_out_addf(rex_out *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
REX_MUST rex_status rex_out_flush(rex_out *o, rex_err *e);  /* append mode: to the system */
REX_MUST rex_status rex_out_sync(rex_out *o, rex_err *e);   /* append mode: to the disk */
REX_MUST rex_status rex_out_commit(rex_out *o, rex_err *e); /* flush, fsync, rename, close */
void rex_out_close(rex_out *o);

/* A folder. ANY: one that is there already will do; NEW: nothing of this name may be there; ALL:
 * as ANY, and those on the way to it are made, too. */
typedef enum { REX_FOLDER_ANY, REX_FOLDER_NEW, REX_FOLDER_ALL } rex_folder_how;
REX_MUST rex_status rex_folder_make(const char *path, rex_folder_how how, rex_err *e);
/* Removes a folder of plain files; what cannot be removed stays. */
void rex_folder_remove(const char *path);
/* What was made, renamed or removed in it is on the disk. */
REX_MUST rex_status rex_folder_sync(const char *path, rex_err *e);
/* Holds a folder for this program until rex_folder_release or its end; false while another one
 * holds it. A folder that cannot be locked is held by nobody: true, and *lock is -1. */
bool rex_folder_claim(const char *path, int *lock);
void rex_folder_release(int lock);

/* Bytes of this process in memory now; bytes that the system could still give (SIZE_MAX: it does
 * not say); what rex_mem_take(1, bytes) takes when all of it is touched (huge pages are whole). */
size_t rex_mem_resident(void);
size_t rex_mem_available(void);
size_t rex_mem_whole(size_t bytes);

/* Between begin and end an allocation by this thread is a fatal bug. */
void rex_mem_guard_begin(const char *what);
void rex_mem_guard_end(void);
/* Tests: the n-th allocation from now on fails (0: none). Counted over all threads. */
void rex_mem_fail_at(int64_t n);
int64_t rex_mem_count(void); /* allocations asked for since the start */
int64_t rex_mem_live(void);  /* allocations not yet given back: a test for leaks */

/* ---- randomness (rng.c): Philox 4x32-10; every draw has a name -------------------------- */

typedef struct {
    uint32_t v[2];
} rex_key;
typedef struct {
    uint32_t v[4];
} rex_u32x4;

#define REX_STREAMS(X)                                                                       \
    X(SAMPLE) X(FIRST) X(PROJECT) X(BOOT) X(PERM) X(MAJ) X(GROUP) X(DATA) X(INIT) X(SPLIT) X(TEST)
typedef enum {
#define X(n) REX_STREAM_##n,
    REX_STREAMS(X)
#undef X
    REX_STREAM_COUNT
} rex_stream;

/* The key of a seed; 0 is just a seed. */
rex_key rex_key_make(uint64_t seed);
rex_key rex_key_fold(rex_key k, uint64_t with); /* a key of its own for each `with` */
rex_u32x4 rex_rand_u32x4(rex_key k, rex_u32x4 counter);
/* The draw named (key; position, stream, sample, id): uniform in [0, 1) with 53 bits. */
double rex_rand_unit(rex_key k, rex_stream s, uint32_t pos, uint32_t sample, uint64_t id);
/* Standard normal by the named draw (our own log, sqrt, cos). */
double rex_rand_normal(rex_key k, rex_stream s, uint32_t pos, uint32_t sample, uint64_t id);
/* Uniform in 0 .. n-1 without bias (n >= 1). */
uint64_t rex_rand_below(rex_key k, rex_stream s, uint32_t pos, uint32_t sample, uint64_t id,
                        uint64_t n);
/* A permutation of 0 .. n-1. */
void rex_rand_perm(rex_key k, rex_stream s, uint64_t id, uint32_t *out, size_t n);

/* ---- exact mathematics (num.c): our own, same bits on every machine, below one ulp ------ */

/* The usual functions of that name, with the usual values at the ends of their domains. */
double rex_exp(double x);
double rex_log(double x);
double rex_log1p(double x);
double rex_expm1(double x);
double rex_pow(double x, double y);
double rex_sin(double x);
double rex_cos(double x);
double rex_tanh(double x);
double rex_lgamma(double x); /* x > 0 */

/* Sets round-to-nearest with denormals kept; returns what was there, for rex_fp_leave. */
uint64_t rex_fp_enter(void);
void rex_fp_leave(uint64_t was);

/* f16 and bf16 to f32 (exact) and back (nearest even). */
float rex_f16_f32(uint16_t h);
uint16_t rex_f32_f16(float f);
float rex_bf16_f32(uint16_t h);
uint16_t rex_f32_bf16(float f);

/* ---- workers (pool.c) ------------------------------------------------------------------- */

/* Calls fn(ud, item, worker) once for every item 0 .. n-1, in any order, on any worker; returns
 * when all are done. `worker` < rex_pool_size: index for scratch. A NULL pool and nested calls
 * run serially. Split by the shape of the data, never by the number of workers. */
typedef void (*rex_work_fn)(void *ud, size_t item, int worker);
void rex_pool_run(rex_pool *p, size_t n, rex_work_fn fn, void *ud);

#include "text.h"

#endif
