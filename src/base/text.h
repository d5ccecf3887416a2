/* SPDX-License-Identifier: MIT
 *
 * text: the half of the base room that reads and writes text: numbers, JSON, lines, options.
 * Included by base.h, never alone.
 */
#ifndef REX_TEXT_H
#define REX_TEXT_H

#include "base.h"

/* ---- numbers as text (bits.c) ----------------------------------------------------------- */

/* Decimal text to a number, correctly rounded, whatever the locale; false when the whole text is
 * not one finite number. */
bool rex_num_parse(rex_str s, double *out);
/* The shortest text that reads back equal, NUL behind it; returns its length. `v` is finite. */
#define REX_NUM_MAX 32
size_t rex_num_print(char out[REX_NUM_MAX], double v);
size_t rex_num_print_f32(char out[REX_NUM_MAX], float v);

/* ---- JSON (json.c): strict RFC 8259; errors carry byte positions ------------------------ */

typedef enum {
    REX_J_NULL,
    REX_J_FALSE,
    REX_J_TRUE,
    REX_J_NUM,
    REX_J_STR,
    REX_J_ARR,
    REX_J_OBJ
} rex_jkind;

typedef struct rex_jval rex_jval;
struct rex_jval {
    rex_jkind kind;
    uint32_t n; /* elements or members */
    int64_t at; /* byte offset in the text */
    union {
        rex_str s; /* J_STR: decoded, may hold NUL; J_NUM: source text */
        struct {
            rex_jval *item; /* J_ARR, J_OBJ: n values */
            rex_str *key;   /* J_OBJ: n decoded names in file order */
        } c;
    } u;
};

/* A whole document into the arena. `what` names it in errors. Depth is bounded at 128. A name
 * that occurs twice in one object is refused. */
REX_MUST rex_status rex_json_parse(rex_arena *a, rex_str text, const char *what, rex_jval **out,
                                   rex_err *e);
/* The same, but bytes in strings that are no UTF-8 stay: for texts that a model reads. */
REX_MUST rex_status rex_json_parse_bytes(rex_arena *a, rex_str text, const char *what,
                                         rex_jval **out, rex_err *e);
REX_MUST rex_status rex_json_load(rex_arena *a, const char *path, rex_jval **out, rex_err *e);
/* A member by name; NULL if absent or if `obj` is no object. */
const rex_jval *rex_json_get(const rex_jval *obj, const char *key);
REX_MUST rex_status rex_json_f64(const rex_jval *v, const char *what, double *out, rex_err *e);
REX_MUST rex_status rex_json_i64(const rex_jval *v, const char *what, int64_t *out, rex_err *e);
const char *rex_json_kind_name(rex_jkind k); /* "a string" */

/* The fast road for records: the source spans of the wanted top-level members of one object.
 * Members not wanted are skipped unparsed (brackets and strings are still balanced). Absent
 * members have p == NULL. Names in `want` are plain ASCII. */
REX_MUST rex_status rex_jscan(rex_str line, const rex_str *want, size_t n, rex_str *raw,
                              rex_err *e);
rex_jkind rex_jraw_kind(rex_str raw);
REX_MUST rex_status rex_jraw_f64(rex_str raw, double *out, rex_err *e);
REX_MUST rex_status rex_jraw_i64(rex_str raw, int64_t *out, rex_err *e);
/* Decoded string; borrowed from `raw` when it has no escapes, else copied into the arena. */
REX_MUST rex_status rex_jraw_str(rex_arena *a, rex_str raw, rex_str *out, rex_err *e);
/* The same, but bytes that are no UTF-8 stay as they are. */
REX_MUST rex_status rex_jraw_bytes(rex_arena *a, rex_str raw, rex_str *out, rex_err *e);

/* Lines of a file (mapped) or of stdin ("-"). The line ends are taken off; an empty last line is
 * none. `no` counts from 1. Done: REX_OK with *more false. */
typedef struct rex_lines rex_lines;
REX_MUST rex_status rex_lines_open(const char *path, rex_lines **out, rex_err *e);
REX_MUST rex_status rex_lines_next(rex_lines *l, rex_str *line, int64_t *no, bool *more,
                                   rex_err *e);
/* True if lines are views of a mapped file and stay valid until close, not only until the next. */
bool rex_lines_stay(const rex_lines *l);
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
void rex_jw_val(rex_jw *w, const rex_jval *v); /* a value as it was read */

/* ---- options (opt.c): one list gives struct, defaults, parser, help, JSON, YAML, man page  */

/* A list is a macro L(X) of lines
 *     X(KIND, name, "default", lo, hi, "META or a|b|c", "help")
 * KIND is BOOL I64 F64 STR ENUM LIST. Names are snake_case; on the command line and in help they
 * are kebab-case; recipes take both. A BOOL takes --name and --no-name. An ENUM is held as the
 * index of its choice. A LIST is text, split by whoever reads it. Defaults are text, read by the
 * same parser; a default of "" leaves 0 / NULL and means "not set" (see rex_opt_given). Numbers
 * are held to lo .. hi, both included; lo == hi means no bounds. At most 128 options a list.
 * A one-letter alias is written "k=" before the help text: "k=how many to pick". */
typedef enum {
    REX_OPT_BOOL,
    REX_OPT_I64,
    REX_OPT_F64,
    REX_OPT_STR,
    REX_OPT_ENUM,
    REX_OPT_LIST
} rex_opt_kind;
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
#define REX_OPT_STRUCT(type, LIST) \
    typedef struct {               \
        rex_opt_head head;         \
        LIST(REX_OPT_FIELD)        \
    } type
/* Inside a `static const rex_opt table[] = { LIST(REX_OPT_ROW) };` with REX_OPT_TYPE defined. */
#define REX_OPT_ROW(KIND, name, def, lo, hi, meta, help) \
    {REX_OPT_##KIND, #name, def, lo, hi, meta, help, offsetof(REX_OPT_TYPE, name)},

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
/* A flat YAML file: `key: value` lines, lists become comma-joined text. Unknown keys are refused.
 */
REX_MUST rex_status rex_opt_yaml(rex_arena *a, const rex_opt *list, size_t n, void *opts,
                                 const char *path, rex_err *e);
/* The same from text; `what` names it in errors. */
REX_MUST rex_status rex_opt_yaml_text(rex_arena *a, const rex_opt *list, size_t n, void *opts,
                                      rex_str text, const char *what, rex_err *e);
/* Whether the option was set by rex_opt_set, rex_opt_args or rex_opt_yaml; `name` is in the list.
 */
bool rex_opt_given(const rex_opt *list, size_t n, const void *opts, const char *name);
/* Takes over what was set in `over`, a struct of the same list: flags over a recipe. */
void rex_opt_overlay(const rex_opt *list, size_t n, void *opts, const void *over);
/* Copies the options that both lists have, by name, and whether they were given: a name in both
 * has the same kind and the same choices. */
void rex_opt_copy(const rex_opt *to_list, size_t n_to, void *to, const rex_opt *list, size_t n,
                  const void *opts);
void rex_opt_json(const rex_opt *list, size_t n, const void *opts, rex_jw *w); /* an object */
void rex_opt_help(const rex_opt *list, size_t n, rex_buf *out);                /* for --help */
void rex_opt_man(const rex_opt *list, size_t n, rex_buf *out);                 /* roff */
void rex_man_text(rex_buf *out, const char *text); /* escapes text for roff */
/* The nearest of `count` names to `name` by edit distance, or NULL if none is near. */
const char *rex_nearest(const char *name, const char *const *names, size_t count);

#endif
