/* SPDX-License-Identifier: MIT
 *
 * base: memory, errors, logs, randomness, workers, JSON, lines, options, exact mathematics.
 * The only room that calls malloc or abort, and the only one that every other room may include.
 */
#ifndef REX_BASE_H
#define REX_BASE_H

#include "../../include/repexp.h"

#include <stdarg.h>

/* ---- errors (err.c) ---------------------------------------------------------------------- */

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
typedef void (*rex_progress_fn)(void *ud, const rex_progress *p, double rate, double eta, bool last);
void rex_progress_set(rex_progress_fn fn, void *ud, double every_s);
void rex_progress_begin(rex_progress *p, const char *what, int64_t total, const char *extra_unit);
void rex_progress_add(rex_progress *p, int64_t done, int64_t extra);
void rex_progress_end(rex_progress *p);

double rex_clock(void); /* monotonic seconds; for progress and benchmarks only, never for results */

/* Set by the signal handler that the command line installs; long loops ask at safe places. */
void rex_cancel_request(void);
bool rex_cancelled(void);

/* ---- memory (mem.c) ---------------------------------------------------------------------- */

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
REX_MUST rex_status rex_view_sub(rex_view all, uint64_t off, uint64_t len, rex_view *out, rex_err *e);

typedef struct rex_map rex_map;
REX_MUST rex_status rex_map_open(const char *path, rex_map **out, rex_err *e);
rex_view rex_map_view(const rex_map *m);
void rex_map_drop(rex_map *m, rex_view consumed); /* gives the pages of a consumed part back */
void rex_map_close(rex_map *m);

/* Output written aside, fsynced and renamed: nothing partial under the final name. "-" is
 * stdout. A failed write is sticky; `commit` reports it; `close` without commit removes. */
typedef struct rex_out rex_out;
REX_MUST rex_status rex_out_open(const char *path, rex_out **out, rex_err *e);
REX_MUST rex_status rex_out_append(const char *path, rex_out **out, rex_err *e); /* line records */
void rex_out_add(rex_out *o, const void *p, size_t n);
void rex_out_addf(rex_out *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
REX_MUST rex_status rex_out_flush(rex_out *o, rex_err *e);  /* append mode: to the system */
REX_MUST rex_status rex_out_commit(rex_out *o, rex_err *e); /* flush, fsync, rename, close */
void rex_out_close(rex_out *o);

/* Between begin and end an allocation by this thread is a fatal bug. */
void rex_mem_guard_begin(const char *what);
void rex_mem_guard_end(void);
/* Tests: the n-th allocation from now on fails (0: none). Counted over all threads. */
void rex_mem_fail_at(int64_t n);
int64_t rex_mem_count(void); /* allocations asked for since the start */
int64_t rex_mem_live(void);  /* allocations not yet given back: a test for leaks */

/* ---- randomness (rng.c): Philox 4x32-10; every draw has a name ----------------------------- */

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

rex_key rex_key_make(uint64_t seed);
rex_key rex_key_fold(rex_key k, uint64_t with); /* a key of its own for each `with` */
rex_u32x4 rex_rand_u32x4(rex_key k, rex_u32x4 counter);
/* The draw named (key; position, stream, sample, id): uniform in [0, 1) with 53 bits. */
double rex_rand_unit(rex_key k, rex_stream s, uint32_t pos, uint32_t sample, uint64_t id);
/* Standard normal by the named draw (our own log, sqrt, cos). */
double rex_rand_normal(rex_key k, rex_stream s, uint32_t pos, uint32_t sample, uint64_t id);
/* Uniform in 0 .. n-1 without bias (n >= 1). */
uint64_t rex_rand_below(rex_key k, rex_stream s, uint32_t pos, uint32_t sample, uint64_t id, uint64_t n);
/* A permutation of 0 .. n-1. */
void rex_rand_perm(rex_key k, rex_stream s, uint64_t id, uint32_t *out, size_t n);

/* ---- exact mathematics (num.c): our own, same bits on every machine, below one ulp ---------- */

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

/* In bits.c. Decimal text to a number, correctly rounded, whatever the locale; false when the whole text is
 * not one finite number. */
bool rex_num_parse(rex_str s, double *out);
/* The shortest text that reads back equal, NUL behind it; returns its length. `v` is finite. */
#define REX_NUM_MAX 32
size_t rex_num_print(char out[REX_NUM_MAX], double v);
size_t rex_num_print_f32(char out[REX_NUM_MAX], float v);

/* ---- workers (pool.c) ---------------------------------------------------------------------- */

/* Calls fn(ud, item, worker) once for every item 0 .. n-1, in any order, on any worker; returns
 * when all are done. `worker` < rex_pool_size: index for scratch. A NULL pool and nested calls
 * run serially. Split by the shape of the data, never by the number of workers. */
typedef void (*rex_work_fn)(void *ud, size_t item, int worker);
void rex_pool_run(rex_pool *p, size_t n, rex_work_fn fn, void *ud);

/* ---- JSON (json.c): strict RFC 8259; errors carry byte positions ----------------------------- */

typedef enum { REX_J_NULL, REX_J_FALSE, REX_J_TRUE, REX_J_NUM, REX_J_STR, REX_J_ARR, REX_J_OBJ } rex_jkind;

typedef struct rex_jval rex_jval;
struct rex_jval {
    rex_jkind kind;
    uint32_t n; /* elements or members */
    int64_t at; /* byte offset in the text */
    union {
        rex_str s;      /* J_STR: decoded, may hold NUL; J_NUM: source text */
        struct {
            rex_jval *item; /* J_ARR, J_OBJ: n values */
            rex_str *key;   /* J_OBJ: n decoded names in file order */
        } c;
    } u;
};

/* A whole document into the arena. `what` names it in errors. Depth is bounded at 128. A name
 * that occurs twice in one object is refused. */
REX_MUST rex_status rex_json_parse(rex_arena *a, rex_str text, const char *what, rex_jval **out, rex_err *e);
REX_MUST rex_status rex_json_load(rex_arena *a, const char *path, rex_jval **out, rex_err *e);
/* A member by name; NULL if absent or if `obj` is no object. */
const rex_jval *rex_json_get(const rex_jval *obj, const char *key);
REX_MUST rex_status rex_json_f64(const rex_jval *v, const char *what, double *out, rex_err *e);
REX_MUST rex_status rex_json_i64(const rex_jval *v, const char *what, int64_t *out, rex_err *e);
const char *rex_json_kind_name(rex_jkind k); /* "a string" */

/* The fast road for records: the source spans of the wanted top-level members of one object.
 * Members not wanted are skipped unparsed (brackets and strings are still balanced). Absent
 * members have p == NULL. Names in `want` are plain ASCII. */
REX_MUST rex_status rex_jscan(rex_str line, const rex_str *want, size_t n, rex_str *raw, rex_err *e);
rex_jkind rex_jraw_kind(rex_str raw);
REX_MUST rex_status rex_jraw_f64(rex_str raw, double *out, rex_err *e);
REX_MUST rex_status rex_jraw_i64(rex_str raw, int64_t *out, rex_err *e);
/* Decoded string; borrowed from `raw` when it has no escapes, else copied into the arena. */
REX_MUST rex_status rex_jraw_str(rex_arena *a, rex_str raw, rex_str *out, rex_err *e);

/* Lines of a file (mapped) or of stdin ("-"). The line ends are taken off; an empty last line is
 * none. `no` counts from 1. Done: REX_OK with *more false. */
typedef struct rex_lines rex_lines;
REX_MUST rex_status rex_lines_open(const char *path, rex_lines **out, rex_err *e);
REX_MUST rex_status rex_lines_next(rex_lines *l, rex_str *line, int64_t *no, bool *more, rex_err *e);
void rex_lines_close(rex_lines *l);

/* A writer over a buffer: commas and escapes are its business. NaN and infinity are a bug. */
typedef struct {
    rex_buf *b;
    bool comma;
} rex_jw;
void rex_jw_init(rex_jw *w, rex_buf *b);
void rex_jw_obj(rex_jw *w);
void rex_jw_obj_end(rex_jw *w);
void rex_jw_arr(rex_jw *w);
void rex_jw_arr_end(rex_jw *w);
void rex_jw_key(rex_jw *w, const char *key);
void rex_jw_keys(rex_jw *w, rex_str key);
void rex_jw_str(rex_jw *w, rex_str s); /* invalid UTF-8 becomes U+FFFD */
void rex_jw_cstr(rex_jw *w, const char *s);
void rex_jw_i64(rex_jw *w, int64_t v);
void rex_jw_f64(rex_jw *w, double v); /* shortest text that reads back equal */
void rex_jw_f32(rex_jw *w, float v);
void rex_jw_bool(rex_jw *w, bool v);
void rex_jw_null(rex_jw *w);
void rex_jw_raw(rex_jw *w, rex_str json); /* a finished value */

/* ---- options (opt.c): one list gives struct, defaults, parser, help, JSON, YAML, man page ------ */

/* A list is a macro L(X) of lines
 *     X(KIND, name, "default", lo, hi, "META or a|b|c", "help")
 * KIND is BOOL I64 F64 STR ENUM LIST. Names are snake_case; on the command line and in help they
 * are kebab-case; recipes take both. A BOOL takes --name and --no-name. An ENUM is held as the
 * index of its choice. A LIST is text, split by whoever reads it. Defaults are text, read by the
 * same parser; a default of "" leaves 0 / NULL and means "not set" (see rex_opt_given). Numbers
 * are held to lo .. hi, both included; lo == hi means no bounds. At most 128 options a list.
 * A one-letter alias is written "k=" before the help text: "k=how many to pick". */
typedef enum { REX_OPT_BOOL, REX_OPT_I64, REX_OPT_F64, REX_OPT_STR, REX_OPT_ENUM, REX_OPT_LIST } rex_opt_kind;
#define REX_OPT_T_BOOL bool
#define REX_OPT_T_I64 int64_t
#define REX_OPT_T_F64 double
#define REX_OPT_T_STR const char *
#define REX_OPT_T_ENUM int
#define REX_OPT_T_LIST const char *

typedef struct {
    rex_opt_kind kind;
    const char *name, *def;
    double lo, hi;
    const char *meta, *help;
    size_t offset;
} rex_opt;

/* The head of every generated struct; which options were given, by their index in the list. */
typedef struct {
    size_t size;
    uint64_t given[2];
} rex_opt_head;

#define REX_OPT_FIELD(KIND, name, def, lo, hi, meta, help) REX_OPT_T_##KIND name;
#define REX_OPT_STRUCT(type, LIST)                                                           \
    typedef struct {                                                                         \
        rex_opt_head head;                                                                   \
        LIST(REX_OPT_FIELD)                                                                  \
    } type
/* Inside a `static const rex_opt table[] = { LIST(REX_OPT_ROW) };` with REX_OPT_TYPE defined. */
#define REX_OPT_ROW(KIND, name, def, lo, hi, meta, help)                                     \
    { REX_OPT_##KIND, #name, def, lo, hi, meta, help, offsetof(REX_OPT_TYPE, name) },

/* Fills the struct with the defaults; a default that does not parse is a bug. */
void rex_opt_defaults(const rex_opt *list, size_t n, void *opts, size_t bytes);
/* Sets one option by name (either spelling) from text; the text is borrowed. Bounds and choices
 * are checked; an unknown name is REX_EARG with the nearest name. `value` NULL: a bare BOOL. */
REX_MUST rex_status rex_opt_set(const rex_opt *list, size_t n, void *opts, const char *name,
                                const char *value, rex_err *e);
/* Long options --name value, --name=value, --no-name, one-letter aliases (-k 4, -k4); others are
 * positional and are moved to the front of argv, their count in *n_pos. "--" ends the options. A
 * LIST given twice is joined by a comma, in the arena. `argv` is without the program's name. */
REX_MUST rex_status rex_opt_args(rex_arena *a, const rex_opt *list, size_t n, void *opts, int argc,
                                 char **argv, int *n_pos, rex_err *e);
/* A flat YAML file: `key: value` lines, lists become comma-joined text. Unknown keys are refused. */
REX_MUST rex_status rex_opt_yaml(rex_arena *a, const rex_opt *list, size_t n, void *opts,
                                 const char *path, rex_err *e);
/* The same from text; `what` names it in errors. */
REX_MUST rex_status rex_opt_yaml_text(rex_arena *a, const rex_opt *list, size_t n, void *opts,
                                      rex_str text, const char *what, rex_err *e);
/* Whether the option was set by rex_opt_set, rex_opt_args or rex_opt_yaml; `name` is in the list. */
bool rex_opt_given(const rex_opt *list, size_t n, const void *opts, const char *name);
void rex_opt_json(const rex_opt *list, size_t n, const void *opts, rex_jw *w); /* an object */
void rex_opt_help(const rex_opt *list, size_t n, rex_buf *out);               /* for --help */
void rex_opt_man(const rex_opt *list, size_t n, rex_buf *out);                /* roff */
void rex_man_text(rex_buf *out, const char *text); /* escapes text for roff */
/* The nearest of `count` names to `name` by edit distance, or NULL if none is near. */
const char *rex_nearest(const char *name, const char *const *names, size_t count);

#endif
