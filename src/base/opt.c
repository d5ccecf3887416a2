/* SPDX-License-Identifier: MIT
 *
 * opt: options as lists. One list gives the struct, its defaults, the parser of the command line
 * and of YAML files, the help text, the JSON of a run and the man page, so that none of them can
 * say anything else than the others.
 *
 * Names are snake_case in the list and in JSON, kebab-case on the command line and in help; both
 * spellings are read everywhere. Values are text that is parsed once, checked against bounds and
 * choices, and borrowed where it stays text. libyaml does the reading of recipes.
 */
#include "base.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#define NAME_MAX_LEN 64
#define OPT_MAX 128

/* ---- names ------------------------------------------------------------------------------ */

/* Equal but for - and _. */
static bool same_name(const char *a, const char *b) {
    for (; *a && *b; a++, b++) {
        const char x = *a == '-' ? '_' : *a;
        const char y = *b == '-' ? '_' : *b;
        if (x != y) return false;
    }
    return *a == *b;
}

static const char *kebab(const char *name, char out[NAME_MAX_LEN]) {
    size_t i = 0;
    for (; name[i] && i + 1 < NAME_MAX_LEN; i++) out[i] = name[i] == '_' ? '-' : name[i];
    out[i] = 0;
    return out;
}

/* The one-letter alias of an option, 0 if it has none; *help is moved behind it. */
static char alias_of(const rex_opt *o, const char **help) {
    const bool has = o->help[0] && o->help[1] == '=';
    *help = has ? o->help + 2 : o->help;
    return has ? o->help[0] : 0;
}

/* Edit distance with swaps of neighbours (optimal string alignment); names are short. */
static int distance(const char *a, const char *b) {
    int row[3][NAME_MAX_LEN + 1];
    const int la = (int)strlen(a), lb = (int)strlen(b);
    if (la > NAME_MAX_LEN || lb > NAME_MAX_LEN) return NAME_MAX_LEN;
    for (int j = 0; j <= lb; j++) row[0][j] = j;
    for (int i = 1; i <= la; i++) {
        int *const now = row[i % 3];
        const int *const up = row[(i + 2) % 3];
        const int *const up2 = row[(i + 1) % 3];
        now[0] = i;
        for (int j = 1; j <= lb; j++) {
            const char x = a[i - 1] == '_' ? '-' : a[i - 1];
            const char y = b[j - 1] == '_' ? '-' : b[j - 1];
            int d = up[j - 1] + (x != y);
            if (up[j] + 1 < d) d = up[j] + 1;
            if (now[j - 1] + 1 < d) d = now[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                up2[j - 2] + 1 < d)
                d = up2[j - 2] + 1;
            now[j] = d;
        }
    }
    return row[la % 3][lb];
}

/* Near is: a third of the letters wrong at most, or one name begins with the other. */
const char *rex_nearest(const char *name, const char *const *names, size_t count) {
    const char *best = NULL;
    int best_d = 0;
    const size_t n = strlen(name);
    for (size_t i = 0; i < count; i++) {
        const int d = distance(name, names[i]);
        const size_t len = strlen(names[i]);
        const size_t shorter = n < len ? n : len;
        const bool prefix = shorter >= 3 && strncmp(name, names[i], shorter) == 0;
        const int limit = (int)(len > n ? len : n) / 3;
        if (d > (limit < 1 ? 1 : limit) && !prefix) continue;
        if (best && d >= best_d) continue;
        best = names[i];
        best_d = d;
    }
    return best;
}

static const rex_opt *find(const rex_opt *list, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++)
        if (same_name(list[i].name, name)) return &list[i];
    return NULL;
}

static rex_status unknown(const rex_opt *list, size_t n, const char *dash, const char *name,
                          rex_err *e) {
    char text[OPT_MAX][NAME_MAX_LEN];
    const char *names[OPT_MAX];
    const size_t count = n < OPT_MAX ? n : OPT_MAX;
    for (size_t i = 0; i < count; i++)
        names[i] = *dash ? kebab(list[i].name, text[i]) : list[i].name;
    const char *const near = rex_nearest(name, names, count);
    const char *const kind = *dash ? "option" : "key";
    if (near)
        return rex_fail(e, REX_EARG, -1, "unknown %s %s%s, did you mean %s%s?", kind, dash, name,
                        dash, near);
    return rex_fail(e, REX_EARG, -1, "unknown %s %s%s", kind, dash, name);
}

/* ---- values ----------------------------------------------------------------------------- */

static void *field(const rex_opt *o, void *opts) { return (char *)opts + o->offset; }
static const void *field_c(const rex_opt *o, const void *opts) {
    return (const char *)opts + o->offset;
}

static rex_status bad_value(const rex_opt *o, const char *value, const char *want, rex_err *e) {
    char name[NAME_MAX_LEN];
    return rex_fail(e, REX_EARG, -1, "--%s: expected %s, found \"%s\"", kebab(o->name, name), want,
                    value);
}

static rex_status out_of_bounds(const rex_opt *o, const char *value, rex_err *e) {
    char name[NAME_MAX_LEN], lo[REX_NUM_MAX] = "-inf", hi[REX_NUM_MAX] = "inf";
    if (isfinite(o->lo)) (void)rex_num_print(lo, o->lo);
    if (isfinite(o->hi)) (void)rex_num_print(hi, o->hi);
    return rex_fail(e, REX_EARG, -1, "--%s: %s is outside %s .. %s", kebab(o->name, name), value,
                    lo, hi);
}

static bool in_bounds(const rex_opt *o, double v) {
    return o->lo == o->hi || (v >= o->lo && v <= o->hi);
}

static rex_status set_bool(const rex_opt *o, const char *v, void *opts, rex_err *e) {
    static const char *const yes[] = {"true", "yes", "on", "1"};
    static const char *const no[] = {"false", "no", "off", "0"};
    bool is = !v;
    bool known = !v;
    for (int i = 0; i < 4 && v; i++) {
        if (strcmp(v, yes[i]) == 0) is = known = true;
        if (strcmp(v, no[i]) == 0) known = true;
    }
    if (!known) return bad_value(o, v, "true or false", e);
    memcpy(field(o, opts), &is, sizeof is);
    return REX_OK;
}

static rex_status set_i64(const rex_opt *o, const char *v, void *opts, rex_err *e) {
    int64_t x;
    if (rex_jraw_i64(rex_str_of(v), &x, NULL) != REX_OK)
        return bad_value(o, v, "a whole number", e);
    if (!in_bounds(o, (double)x)) return out_of_bounds(o, v, e);
    memcpy(field(o, opts), &x, sizeof x);
    return REX_OK;
}

static rex_status set_f64(const rex_opt *o, const char *v, void *opts, rex_err *e) {
    double x;
    if (!rex_num_parse(rex_str_of(v), &x)) return bad_value(o, v, "a number", e);
    if (!in_bounds(o, x)) return out_of_bounds(o, v, e);
    memcpy(field(o, opts), &x, sizeof x);
    return REX_OK;
}

/* The choices of an ENUM stand in its meta text, separated by bars. */
static rex_status set_enum(const rex_opt *o, const char *v, void *opts, rex_err *e) {
    char text[32][NAME_MAX_LEN];
    const char *names[32];
    int n = 0;
    for (const char *p = o->meta; *p && n < 32; n++) {
        const size_t len = strcspn(p, "|");
        rex_assert(len < NAME_MAX_LEN);
        memcpy(text[n], p, len);
        text[n][len] = 0;
        names[n] = text[n];
        p += len + (p[len] == '|');
        if (!same_name(text[n], v)) continue;
        memcpy(field(o, opts), &n, sizeof n);
        return REX_OK;
    }
    char name[NAME_MAX_LEN];
    const char *const near = rex_nearest(v, names, (size_t)n);
    return rex_fail(e, REX_EARG, -1, "--%s: \"%s\" is none of %s%s%s%s", kebab(o->name, name), v,
                    o->meta, near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
}

static rex_status set_value(const rex_opt *o, const char *v, void *opts, rex_err *e) {
    char name[NAME_MAX_LEN];
    if (!v && o->kind != REX_OPT_BOOL)
        return rex_fail(e, REX_EARG, -1, "--%s: needs a value", kebab(o->name, name));
    switch (o->kind) {
    case REX_OPT_BOOL: return set_bool(o, v, opts, e);
    case REX_OPT_I64: return set_i64(o, v, opts, e);
    case REX_OPT_F64: return set_f64(o, v, opts, e);
    case REX_OPT_ENUM: return set_enum(o, v, opts, e);
    case REX_OPT_STR:
    case REX_OPT_LIST: break;
    }
    memcpy(field(o, opts), &v, sizeof v);
    return REX_OK;
}

void rex_opt_defaults(const rex_opt *list, size_t n, void *opts, size_t bytes) {
    rex_assert(n <= OPT_MAX && bytes >= sizeof(rex_opt_head));
    memset(opts, 0, bytes);
    ((rex_opt_head *)opts)->size = bytes;
    for (size_t i = 0; i < n; i++)
        if (list[i].def[0]) rex_assert(set_value(&list[i], list[i].def, opts, NULL) == REX_OK);
}

static rex_status set_found(const rex_opt *list, const rex_opt *o, void *opts, const char *value,
                            rex_err *e) {
    REX_TRY(set_value(o, value, opts, e));
    const size_t i = (size_t)(o - list);
    ((rex_opt_head *)opts)->given[i / 64] |= (uint64_t)1 << (i % 64);
    return REX_OK;
}

rex_status rex_opt_set(const rex_opt *list, size_t n, void *opts, const char *name,
                       const char *value, rex_err *e) {
    const rex_opt *const o = find(list, n, name);
    return o ? set_found(list, o, opts, value, e) : unknown(list, n, "", name, e);
}

static bool given(const rex_opt *list, const rex_opt *o, const void *opts) {
    const size_t i = (size_t)(o - list);
    return ((const rex_opt_head *)opts)->given[i / 64] >> (i % 64) & 1;
}

bool rex_opt_given(const rex_opt *list, size_t n, const void *opts, const char *name) {
    const rex_opt *const o = find(list, n, name);
    rex_assert(o != NULL);
    return given(list, o, opts);
}

static const size_t value_bytes[] = {
    [REX_OPT_BOOL] = sizeof(REX_OPT_T_BOOL), [REX_OPT_I64] = sizeof(REX_OPT_T_I64),
    [REX_OPT_F64] = sizeof(REX_OPT_T_F64), [REX_OPT_STR] = sizeof(REX_OPT_T_STR),
    [REX_OPT_ENUM] = sizeof(REX_OPT_T_ENUM), [REX_OPT_LIST] = sizeof(REX_OPT_T_LIST),
};

void rex_opt_overlay(const rex_opt *list, size_t n, void *opts, const void *over) {
    rex_opt_head *const to = opts;
    const rex_opt_head *const from = over;
    for (size_t i = 0; i < n; i++) {
        if (!given(list, &list[i], over)) continue;
        memcpy(field(&list[i], opts), field_c(&list[i], over), value_bytes[list[i].kind]);
        to->given[i / 64] |= from->given[i / 64] & (uint64_t)1 << i % 64;
    }
}

void rex_opt_copy(const rex_opt *to_list, size_t n_to, void *to, const rex_opt *list, size_t n,
                  const void *opts) {
    for (size_t i = 0; i < n_to; i++) {
        const rex_opt *const o = find(list, n, to_list[i].name);
        if (!o) continue;
        rex_assert(o->kind == to_list[i].kind);
        rex_assert(o->kind != REX_OPT_ENUM || strcmp(o->meta, to_list[i].meta) == 0);
        memcpy(field(&to_list[i], to), field_c(o, opts), value_bytes[o->kind]);
        uint64_t *const word = &((rex_opt_head *)to)->given[i / 64];
        const uint64_t bit = (uint64_t)1 << i % 64;
        *word = given(list, o, opts) ? *word | bit : *word & ~bit;
    }
}

/* ---- the command line ------------------------------------------------------------------- */

typedef struct {
    rex_arena *a;
    const rex_opt *list;
    size_t n;
    void *opts;
    int argc;
    char **argv;
    rex_err *e;
} args;

/* A value for `o` that is not in the same word: the next word, unless that is an option. */
static rex_status next_value(const args *x, const rex_opt *o, int *at, const char **value) {
    char name[NAME_MAX_LEN];
    const char *const next = *at + 1 < x->argc ? x->argv[*at + 1] : NULL;
    if (!next || (next[0] == '-' && next[1] == '-'))
        return rex_fail(x->e, REX_EARG, -1, "--%s: needs a value (%s)", kebab(o->name, name),
                        *o->meta ? o->meta : "VALUE");
    *value = next;
    ++*at;
    return REX_OK;
}

static rex_status set_arg(const args *x, const rex_opt *o, const char *value) {
    if (o->kind != REX_OPT_LIST || !given(x->list, o, x->opts))
        return set_found(x->list, o, x->opts, value, x->e);
    const char *before;
    memcpy(&before, field_c(o, x->opts), sizeof before);
    rex_str both;
    REX_TRY(rex_str_fmt(x->a, &both, x->e, "%s,%s", before, value));
    return set_found(x->list, o, x->opts, both.p, x->e);
}

/* The word argv[*at] begins with "--". */
static rex_status long_option(const args *x, int *at) {
    const char *const word = x->argv[*at] + 2;
    const size_t len = strcspn(word, "=");
    char name[NAME_MAX_LEN];
    if (len >= sizeof name) return rex_fail(x->e, REX_EARG, -1, "unknown option --%.60s...", word);
    memcpy(name, word, len);
    name[len] = 0;
    const char *value = word[len] ? word + len + 1 : NULL;
    const rex_opt *o = find(x->list, x->n, name);
    if (!o && strncmp(name, "no-", 3) == 0) {
        o = find(x->list, x->n, name + 3);
        if (o && o->kind == REX_OPT_BOOL) {
            if (value) return rex_fail(x->e, REX_EARG, -1, "--%s: takes no value", name);
            return set_found(x->list, o, x->opts, "false", x->e);
        }
        o = NULL;
    }
    if (!o) return unknown(x->list, x->n, "--", name, x->e);
    if (!value && o->kind != REX_OPT_BOOL) REX_TRY(next_value(x, o, at, &value));
    return set_arg(x, o, value);
}

/* The word argv[*at] is "-k" or "-k4". */
static rex_status short_option(const args *x, int *at) {
    const char *const word = x->argv[*at];
    for (size_t i = 0; i < x->n; i++) {
        const char *help;
        const rex_opt *const o = &x->list[i];
        if (alias_of(o, &help) != word[1]) continue;
        const char *value = word[2] ? word + 2 + (word[2] == '=') : NULL;
        if (!value && o->kind != REX_OPT_BOOL) REX_TRY(next_value(x, o, at, &value));
        return set_arg(x, o, value);
    }
    return rex_fail(x->e, REX_EARG, -1, "unknown option %s", word);
}

rex_status rex_opt_args(rex_arena *a, const rex_opt *list, size_t n, void *opts, int argc,
                        char **argv, int *n_pos, rex_err *e) {
    const args x = {a, list, n, opts, argc, argv, e};
    int kept = 0;
    bool plain = false;
    for (int i = 0; i < argc; i++) {
        const char *const w = argv[i];
        const bool number = w[0] == '-' && ((w[1] >= '0' && w[1] <= '9') || w[1] == '.');
        if (plain || w[0] != '-' || w[1] == 0 || number) argv[kept++] = argv[i];
        else if (w[1] != '-') REX_TRY(short_option(&x, &i));
        else if (w[2] != 0) REX_TRY(long_option(&x, &i));
        else plain = true;
    }
    *n_pos = kept;
    return REX_OK;
}

/* ---- YAML ------------------------------------------------------------------------------- */

typedef struct {
    yaml_parser_t parser;
    yaml_event_t ev;
    bool have; /* ev must be deleted */
    rex_view text;
    size_t at;
    const char *path;
    rex_err *e;
} recipe;

static int yaml_read(void *ud, unsigned char *buffer, size_t size, size_t *got) {
    recipe *const r = ud;
    const size_t left = r->text.n - r->at;
    *got = size < left ? size : left;
    if (*got) memcpy(buffer, r->text.p + r->at, *got);
    r->at += *got;
    return 1;
}

static rex_status yaml_next(recipe *r) {
    if (r->have) yaml_event_delete(&r->ev);
    r->have = false;
    if (yaml_parser_parse(&r->parser, &r->ev)) {
        r->have = true;
        return REX_OK;
    }
    if (r->parser.error == YAML_MEMORY_ERROR)
        return rex_fail(r->e, REX_ENOMEM, -1, "%s: out of memory", r->path);
    const int64_t line = (int64_t)r->parser.problem_mark.line + 1;
    return rex_fail(r->e, REX_EFORMAT, line, "%s: line %lld: %s", r->path, (long long)line,
                    r->parser.problem ? r->parser.problem : "no YAML");
}

static int64_t line_of(const recipe *r) { return (int64_t)r->ev.start_mark.line + 1; }

static rex_status yaml_want(const recipe *r, const char *want) {
    static const char *const name[] = {[YAML_STREAM_END_EVENT] = "the end",
                                       [YAML_DOCUMENT_START_EVENT] = "a second document",
                                       [YAML_DOCUMENT_END_EVENT] = "the end",
                                       [YAML_ALIAS_EVENT] = "an alias",
                                       [YAML_SCALAR_EVENT] = "a value",
                                       [YAML_SEQUENCE_START_EVENT] = "a list",
                                       [YAML_SEQUENCE_END_EVENT] = "the list's end",
                                       [YAML_MAPPING_START_EVENT] = "a mapping",
                                       [YAML_MAPPING_END_EVENT] = "the mapping's end"};
    const size_t i = (size_t)r->ev.type;
    const char *const seen = i < sizeof name / sizeof name[0] && name[i] ? name[i] : "nothing";
    return rex_fail(r->e, REX_EFORMAT, line_of(r), "%s: line %lld: expected %s, found %s", r->path,
                    (long long)line_of(r), want, seen);
}

static rex_status yaml_scalar(const recipe *r, rex_arena *a, rex_str *out) {
    const rex_str s = {(const char *)r->ev.data.scalar.value, r->ev.data.scalar.length};
    if (s.n && memchr(s.p, 0, s.n))
        return rex_fail(r->e, REX_EFORMAT, line_of(r), "%s: line %lld: a NUL in a value", r->path,
                        (long long)line_of(r));
    return rex_str_copy(a, s, out, r->e);
}

/* A list of scalars, joined by commas. */
static rex_status yaml_list(recipe *r, rex_arena *a, rex_str *out) {
    rex_buf b;
    rex_buf_init(&b, (size_t)1 << 20);
    rex_status s = REX_OK;
    for (bool first = true; s == REX_OK; first = false) {
        s = yaml_next(r);
        if (s != REX_OK || r->ev.type == YAML_SEQUENCE_END_EVENT) break;
        if (r->ev.type != YAML_SCALAR_EVENT) {
            s = yaml_want(r, "a value in the list");
            break;
        }
        if (!first) rex_buf_add(&b, ",", 1);
        rex_buf_add(&b, r->ev.data.scalar.value, r->ev.data.scalar.length);
    }
    if (s == REX_OK) s = rex_buf_check(&b, r->e);
    if (s == REX_OK) s = rex_str_copy(a, (rex_str){b.p, b.n}, out, r->e);
    rex_buf_free(&b);
    return s;
}

/* One `key: value`; the event at hand is the key. */
static rex_status yaml_pair(recipe *r, rex_arena *a, const rex_opt *list, size_t n, void *opts,
                            uint64_t seen[2]) {
    if (r->ev.type != YAML_SCALAR_EVENT) return yaml_want(r, "a key");
    const int64_t line = line_of(r);
    rex_str key, value = {NULL, 0};
    REX_TRY(yaml_scalar(r, a, &key));
    REX_TRY(yaml_next(r));
    if (r->ev.type == YAML_SEQUENCE_START_EVENT) REX_TRY(yaml_list(r, a, &value));
    else if (r->ev.type == YAML_SCALAR_EVENT) REX_TRY(yaml_scalar(r, a, &value));
    else return yaml_want(r, "a value or a list");
    const rex_opt *const o = find(list, n, key.p);
    rex_status s;
    if (!o) {
        s = unknown(list, n, "", key.p, r->e);
    } else {
        const size_t i = (size_t)(o - list);
        const uint64_t bit = (uint64_t)1 << (i % 64);
        if (seen[i / 64] & bit) s = rex_fail(r->e, REX_EARG, line, "key %s occurs twice", key.p);
        else s = set_found(list, o, opts, value.p, r->e);
        seen[i / 64] |= bit;
    }
    if (s != REX_OK) (void)rex_fail_in(r->e, s, "%s: line %lld", r->path, (long long)line);
    if (s != REX_OK && r->e) r->e->at = line;
    return s;
}

static rex_status yaml_document(recipe *r, rex_arena *a, const rex_opt *list, size_t n,
                                void *opts) {
    uint64_t seen[2] = {0, 0};
    REX_TRY(yaml_next(r)); /* stream start */
    REX_TRY(yaml_next(r));
    if (r->ev.type == YAML_STREAM_END_EVENT) return REX_OK; /* nothing but comments */
    REX_TRY(yaml_next(r));
    if (r->ev.type != YAML_MAPPING_START_EVENT) return yaml_want(r, "lines of key: value");
    REX_TRY(yaml_next(r));
    while (r->ev.type != YAML_MAPPING_END_EVENT) {
        REX_TRY(yaml_pair(r, a, list, n, opts, seen));
        REX_TRY(yaml_next(r));
    }
    REX_TRY(yaml_next(r)); /* document end */
    REX_TRY(yaml_next(r));
    return r->ev.type == YAML_STREAM_END_EVENT ? REX_OK : yaml_want(r, "the end");
}

rex_status rex_opt_yaml_text(rex_arena *a, const rex_opt *list, size_t n, void *opts, rex_str text,
                             const char *what, rex_err *e) {
    recipe r = {.text = {(const uint8_t *)text.p, text.n}, .path = what, .e = e};
    if (!yaml_parser_initialize(&r.parser))
        return rex_fail(e, REX_ENOMEM, -1, "%s: out of memory", what);
    yaml_parser_set_input(&r.parser, yaml_read, &r);
    const rex_status s = yaml_document(&r, a, list, n, opts);
    if (r.have) yaml_event_delete(&r.ev);
    yaml_parser_delete(&r.parser);
    return s;
}

rex_status rex_opt_yaml(rex_arena *a, const rex_opt *list, size_t n, void *opts, const char *path,
                        rex_err *e) {
    rex_map *m;
    REX_TRY(rex_map_open(path, &m, e));
    const rex_view v = rex_map_view(m);
    const rex_str text = {(const char *)v.p, v.n};
    const rex_status s = rex_opt_yaml_text(a, list, n, opts, text, path, e);
    rex_map_close(m);
    return s;
}

/* ---- telling ---------------------------------------------------------------------------- */

static void enum_name(const rex_opt *o, int at, rex_str *out) {
    const char *p = o->meta;
    for (; at > 0 && *p; at--) {
        p += strcspn(p, "|");
        if (*p) p++;
    }
    *out = (rex_str){p, strcspn(p, "|")};
}

static void json_value(const rex_opt *o, const void *opts, rex_jw *w) {
    const void *const f = field_c(o, opts);
    switch (o->kind) {
    case REX_OPT_BOOL: rex_jw_bool(w, *(const bool *)f); return;
    case REX_OPT_I64: rex_jw_i64(w, *(const int64_t *)f); return;
    case REX_OPT_F64: rex_jw_f64(w, *(const double *)f); return;
    case REX_OPT_ENUM: {
        rex_str s;
        enum_name(o, *(const int *)f, &s);
        rex_jw_str(w, s);
        return;
    }
    case REX_OPT_STR:
    case REX_OPT_LIST: break;
    }
    const char *const text = *(const char *const *)f;
    if (text) rex_jw_cstr(w, text);
    else rex_jw_null(w);
}

void rex_opt_json(const rex_opt *list, size_t n, const void *opts, rex_jw *w) {
    rex_jw_obj(w);
    for (size_t i = 0; i < n; i++) {
        rex_jw_key(w, list[i].name);
        if (!list[i].def[0] && !given(list, &list[i], opts)) rex_jw_null(w);
        else json_value(&list[i], opts, w);
    }
    rex_jw_obj_end(w);
}

/* "-k, --samples N"; a switch shows both of its forms. Returns its width in columns. */
static int head_line(const rex_opt *o, char *out, size_t room) {
    char name[NAME_MAX_LEN], lead[8] = "    ";
    const char *help;
    const char alias = alias_of(o, &help);
    const bool single = o->name[1] == 0 && alias == o->name[0]; /* -k: --k is not worth a word */
    if (alias) (void)snprintf(lead, sizeof lead, "-%c%s", alias, single ? "" : ", ");
    const bool both = o->kind == REX_OPT_BOOL && strncmp(o->name, "no_", 3) != 0;
    const char *const no = both ? "[no-]" : "";
    kebab(o->name, name);
    if (single) return snprintf(out, room, "%s%s%s", lead, *o->meta ? " " : "", o->meta);
    return snprintf(out, room, "%s--%s%s%s%s", lead, no, name, *o->meta ? " " : "", o->meta);
}

/* Words of `text` from column `col` on, at most 96 wide; continuation lines begin at `col`. */
static void wrap(rex_buf *out, const char *text, int col) {
    int at = col;
    while (*text) {
        const int len = (int)strcspn(text, " ");
        if (at > col && at + len > 96) {
            out->n -= out->n > 0 && out->p[out->n - 1] == ' ';
            rex_buf_addf(out, "\n%*s", col, "");
            at = col;
        }
        rex_buf_addf(out, "%.*s", len, text);
        at += len;
        text += len;
        if (*text) {
            rex_buf_add(out, " ", 1);
            at++;
            text++;
        }
    }
}

#define HELP_COL 30

void rex_opt_help(const rex_opt *list, size_t n, rex_buf *out) {
    for (size_t i = 0; i < n; i++) {
        char head[160], text[1024];
        const char *help;
        (void)alias_of(&list[i], &help);
        const int w = head_line(&list[i], head, sizeof head) + 2;
        rex_buf_addf(out, "  %s", head);
        if (w + 2 > HELP_COL) rex_buf_addf(out, "\n%*s", HELP_COL, "");
        else rex_buf_addf(out, "%*s", HELP_COL - w, "");
        const bool tell =
            list[i].def[0] && !(list[i].kind == REX_OPT_BOOL && strcmp(list[i].def, "false") == 0);
        (void)snprintf(text, sizeof text, tell ? "%s [%s]" : "%s", help, list[i].def);
        wrap(out, text, HELP_COL);
        rex_buf_add(out, "\n", 1);
    }
}

/* Text for roff: backslashes and hyphens escaped, no line may begin with a dot or a quote. */
void rex_man_text(rex_buf *out, const char *text) {
    bool start = true;
    for (; *text; text++) {
        if (start && (*text == '.' || *text == '\'')) rex_buf_add(out, "\\&", 2);
        if (*text == '\\') rex_buf_add(out, "\\e", 2);
        else if (*text == '-') rex_buf_add(out, "\\-", 2);
        else rex_buf_add(out, text, 1);
        start = *text == '\n';
    }
}

void rex_opt_man(const rex_opt *list, size_t n, rex_buf *out) {
    for (size_t i = 0; i < n; i++) {
        char head[160];
        const char *help;
        (void)alias_of(&list[i], &help);
        (void)head_line(&list[i], head, sizeof head);
        rex_buf_addf(out, ".TP\n.B ");
        rex_man_text(out, head + strspn(head, " "));
        rex_buf_addf(out, "\n");
        rex_man_text(out, help);
        if (list[i].def[0]) {
            rex_buf_addf(out, " (default: ");
            rex_man_text(out, list[i].def);
            rex_buf_addf(out, ")");
        }
        rex_buf_addf(out, "\n");
    }
}
