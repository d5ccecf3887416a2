/* SPDX-License-Identifier: MIT
 *
 * repexp.h: the public face of librepexp, exploration with language models.
 *
 * One header, no include beyond three of the standard ones, clean under C99, C11 and C++17.
 * Handles (`rex_x_open` ... `rex_x_close`) are opaque; things that flow are plain records.
 * Option records begin with `size`, filled by `rex_x_defaults`, so that a caller compiled against
 * an older header keeps working. Whatever can fail returns `rex_status` and takes `rex_err *`
 * last (it may be NULL). The library never prints and never exits.
 */
#ifndef REPEXP_H
#define REPEXP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define REX_API __attribute__((visibility("default")))
#define REX_MUST __attribute__((warn_unused_result))

/* ---- status and errors ------------------------------------------------------------------ */

/* One list: the enum, the texts and the exit status of the command line come from it. */
#define REX_STATUSES(X)                                                                      \
    X(OK, "done")                                                                            \
    X(EARG, "misuse: an option or argument that can never be right")                         \
    X(ENOMEM, "out of memory")                                                               \
    X(EIO, "a file or stream could not be read or written")                                  \
    X(EFORMAT, "data that is not what it should be")                                         \
    X(EUNSUP, "well-formed, but not supported")                                              \
    X(ELIMIT, "a size or count beyond its bound")                                            \
    X(ENAN, "a number that is not finite")                                                   \
    X(ECHILD, "a child process failed")                                                      \
    X(ECANCEL, "stopped on request; can be resumed")                                         \
    X(EBUG, "an error of our own")

typedef enum {
#define X(name, text) REX_##name,
    REX_STATUSES(X)
#undef X
    REX_STATUS_COUNT
} rex_status;

/* A finished sentence: what was attempted, on which object, what was found. */
typedef struct {
    rex_status code;
    int64_t at; /* byte, line or step, as the sentence says; -1 if none */
    char text[512];
} rex_err;

/* The name of a status ("EFORMAT") and what it means; never NULL. */
REX_API const char *rex_status_name(rex_status s);
REX_API const char *rex_status_text(rex_status s);

/* ---- logging ---------------------------------------------------------------------------- */

typedef enum { REX_LOG_ERROR, REX_LOG_WARN, REX_LOG_INFO, REX_LOG_STEP, REX_LOG_DEBUG } rex_log_level;
typedef void (*rex_log_fn)(void *ud, rex_log_level level, const char *text);

/* Messages up to `level` go to `fn`; NULL silences the library, which is how it starts. */
REX_API void rex_log_set(rex_log_fn fn, void *ud, rex_log_level level);

/* ---- plain records ---------------------------------------------------------------------- */

typedef struct {
    const char *p;
    size_t n;
} rex_str;

/* Row-major, packed. */
typedef struct {
    float *v;
    int64_t rows, cols;
} rex_mat;

/* ---- memory and workers ----------------------------------------------------------------- */

typedef struct rex_arena rex_arena;
typedef struct rex_pool rex_pool;

/* An arena grows in blocks up to `cap` bytes (0: no cap); everything taken dies with it. */
REX_API REX_MUST rex_status rex_arena_open(size_t cap, rex_arena **out, rex_err *e);
REX_API void rex_arena_close(rex_arena *a);

/* `threads` workers, the caller counted in; 0 means every core. The number of workers never
 * changes a result. */
REX_API REX_MUST rex_status rex_pool_open(int threads, rex_pool **out, rex_err *e);
REX_API int rex_pool_size(const rex_pool *p);
REX_API void rex_pool_close(rex_pool *p);

#ifdef __cplusplus
}
#endif
#endif
