/* SPDX-License-Identifier: MIT
 *
 * json: RFC 8259, read strictly and written so that it reads back equal.
 *
 * Two roads in. `rex_json_parse` makes a tree of a whole document in an arena. `rex_jscan` finds
 * the wanted members of one record and skips the rest unparsed: strings by memchr, arrays of
 * numbers eight bytes at a time; what is not wanted is balanced but not validated. Both refuse
 * what the grammar does not have (trailing commas, comments, NaN, single quotes), names that
 * occur twice, unpaired surrogates, and depth beyond 128. Positions are bytes from 0.
 *
 * Invariant: every read is before `end`; text need not end in NUL.
 */
#include "base.h"

#include <math.h>
#include <string.h>

#define DEPTH_MAX 128

typedef struct {
    const char *p, *start, *end;
    const char *what; /* names the text in errors; NULL: the caller will */
    rex_err *e;
    bool bytes; /* strings may hold what is no UTF-8 */
} cursor;

/* ---- errors ----------------------------------------------------------------------------- */

/* What stands at `p`, for a sentence. */
static const char *found(const cursor *c, const char *p, char out[16]) {
    if (p >= c->end) return "the end";
    const uint8_t b = (uint8_t)*p;
    static const char hex[] = "0123456789abcdef";
    if (b > 0x20 && b < 0x7F) {
        const char text[] = {'\'', (char)b, '\'', 0};
        memcpy(out, text, sizeof text);
    } else {
        const char text[] = {'b', 'y', 't', 'e', ' ', '0', 'x', hex[b >> 4], hex[b & 15], 0};
        memcpy(out, text, sizeof text);
    }
    return out;
}

static rex_status bad_at(const cursor *c, const char *p, const char *problem) {
    const long long at = p - c->start;
    return rex_fail(c->e, REX_EFORMAT, at, "%s%sbyte %lld: %s", c->what ? c->what : "",
                    c->what ? ": " : "", at, problem);
}

static rex_status expected(const cursor *c, const char *p, const char *what) {
    char seen[16];
    const long long at = p - c->start;
    return rex_fail(c->e, REX_EFORMAT, at, "%s%sbyte %lld: expected %s, found %s",
                    c->what ? c->what : "", c->what ? ": " : "", at, what, found(c, p, seen));
}

static inline void skip_space(cursor *c) {
    while (c->p < c->end && (*c->p == ' ' || *c->p == '\n' || *c->p == '\r' || *c->p == '\t'))
        c->p++;
}

/* ---- strings ---------------------------------------------------------------------------- */

static int hex4(const char *p) {
    int v = 0;
    for (int i = 0; i < 4; i++) {
        const char b = p[i];
        const int d = b >= '0' && b <= '9'   ? b - '0'
                      : b >= 'a' && b <= 'f' ? b - 'a' + 10
                      : b >= 'A' && b <= 'F' ? b - 'A' + 10
                                             : -1;
        if (d < 0) return -1;
        v = v * 16 + d;
    }
    return v;
}

static char *put_utf8(char *o, uint32_t u) {
    if (u < 0x80) {
        *o++ = (char)u;
    } else if (u < 0x800) {
        *o++ = (char)(0xC0 | u >> 6);
        *o++ = (char)(0x80 | (u & 63));
    } else if (u < 0x10000) {
        *o++ = (char)(0xE0 | u >> 12);
        *o++ = (char)(0x80 | (u >> 6 & 63));
        *o++ = (char)(0x80 | (u & 63));
    } else {
        *o++ = (char)(0xF0 | u >> 18);
        *o++ = (char)(0x80 | (u >> 12 & 63));
        *o++ = (char)(0x80 | (u >> 6 & 63));
        *o++ = (char)(0x80 | (u & 63));
    }
    return o;
}

/* Length of the well-formed UTF-8 sequence at `p` (Unicode, table 3-7), 0 if there is none. */
static int utf8_len(const char *p, const char *end) {
    const uint8_t *const s = (const uint8_t *)p;
    const ptrdiff_t n = end - p;
    if (s[0] < 0x80) return 1;
    if (s[0] < 0xC2 || s[0] > 0xF4) return 0;
    const int len = s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : 4;
    if (n < len) return 0;
    uint8_t lo = 0x80, hi = 0xBF;
    if (s[0] == 0xE0) lo = 0xA0;
    if (s[0] == 0xED) hi = 0x9F;
    if (s[0] == 0xF0) lo = 0x90;
    if (s[0] == 0xF4) hi = 0x8F;
    if (s[1] < lo || s[1] > hi) return 0;
    for (int i = 2; i < len; i++)
        if ((s[i] & 0xC0) != 0x80) return 0;
    return len;
}

static uint64_t load8(const char *p) {
    uint64_t w;
    memcpy(&w, p, sizeof w);
    return w;
}

#define ONES 0x0101010101010101u
#define HIGHS 0x8080808080808080u
/* A high bit in every byte of w that is zero (bytes above a zero byte may be marked too). */
#define ZEROS(w) (((w) - (ONES)) & ~(w) & (HIGHS))

/* The index in memory of the first byte that ZEROS marked: below it nothing is marked wrongly. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "files are mapped as they are");
static inline int first_byte(uint64_t marks) { return __builtin_ctzll(marks) >> 3; }

/* From `p` to the first byte that is no plain ASCII character of a string. */
static const char *plain_run(const char *p, const char *end) {
    while (end - p >= 8) {
        const uint64_t w = load8(p);
        const uint64_t quote = ZEROS(w ^ ONES * '"');
        const uint64_t slash = ZEROS(w ^ ONES * '\\');
        const uint64_t control = (w - ONES * 0x20) & ~w & HIGHS;
        if ((quote | slash | control | (w & HIGHS)) != 0) break;
        p += 8;
    }
    while (p < end && (uint8_t)*p >= 0x20 && (uint8_t)*p < 0x80 && *p != '"' && *p != '\\') p++;
    return p;
}

/* Checks the string that starts after its opening quote; *close is its closing quote. */
static rex_status string_end(const cursor *c, const char *p, const char **close, bool *escaped) {
    *escaped = false;
    for (;;) {
        p = plain_run(p, c->end);
        if (p >= c->end) return bad_at(c, p, "a string is not closed");
        if (*p == '"') break;
        if (*p == '\\') {
            *escaped = true;
            if (c->end - p < 2) return bad_at(c, c->end, "a string is not closed");
            if (p[1] == 'u') {
                if (c->end - p < 6 || hex4(p + 2) < 0)
                    return bad_at(c, p, "\\u needs four hexadecimal digits");
                const int u = hex4(p + 2);
                if (u >= 0xDC00 && u < 0xE000) return bad_at(c, p, "an unpaired surrogate");
                if (u >= 0xD800 && u < 0xDC00) {
                    const int v =
                        c->end - p >= 12 && p[6] == '\\' && p[7] == 'u' ? hex4(p + 8) : -1;
                    if (v < 0xDC00 || v > 0xDFFF) return bad_at(c, p, "an unpaired surrogate");
                    p += 6;
                }
                p += 6;
            } else {
                if (!memchr("\"\\/bfnrt", p[1], 8) || p[1] == 0)
                    return bad_at(c, p, "an unknown escape in a string");
                p += 2;
            }
        } else if ((uint8_t)*p < 0x20) {
            return bad_at(c, p, "a control character in a string");
        } else {
            const int n = utf8_len(p, c->end);
            if (n == 0 && !c->bytes) return bad_at(c, p, "a string is not valid UTF-8");
            p += n ? n : 1;
        }
    }
    *close = p;
    return REX_OK;
}

/* Decodes a checked string body; never longer than its source. Returns the bytes written. */
static size_t unescape(const char *p, const char *end, char *out) {
    char *o = out;
    while (p < end) {
        const char *const slash = memchr(p, '\\', (size_t)(end - p));
        const size_t run = (size_t)((slash ? slash : end) - p);
        memmove(o, p, run);
        o += run;
        if (!slash) break;
        p = slash + 2;
        switch (slash[1]) {
        case 'b': *o++ = '\b'; break;
        case 'f': *o++ = '\f'; break;
        case 'n': *o++ = '\n'; break;
        case 'r': *o++ = '\r'; break;
        case 't': *o++ = '\t'; break;
        case 'u': {
            uint32_t u = (uint32_t)hex4(p);
            p += 4;
            if (u >= 0xD800 && u < 0xDC00) {
                u = 0x10000 + ((u - 0xD800) << 10) + ((uint32_t)hex4(p + 2) - 0xDC00);
                p += 6;
            }
            o = put_utf8(o, u);
            break;
        }
        default: *o++ = slash[1]; break;
        }
    }
    return (size_t)(o - out);
}

/* c->p is at the opening quote; the decoded text goes to the arena with a NUL behind it. */
static rex_status take_string(cursor *c, rex_arena *a, rex_str *out) {
    const char *const body = c->p + 1;
    const char *close;
    bool escaped;
    REX_TRY(string_end(c, body, &close, &escaped));
    const size_t n = (size_t)(close - body);
    char *const text = rex_arena_take(a, n + 1, 1, c->e);
    if (!text) return c->e ? c->e->code : REX_ENOMEM;
    size_t len = n;
    if (escaped) len = unescape(body, close, text);
    else if (n) memcpy(text, body, n);
    text[len] = 0;
    *out = (rex_str){text, len};
    c->p = close + 1;
    return REX_OK;
}

/* ---- numbers and words ------------------------------------------------------------------ */

static bool digit(const char *p, const char *end) { return p < end && *p >= '0' && *p <= '9'; }

/* The grammar of section 6; *end is behind the number. */
static rex_status number_end(const cursor *c, const char *p, const char **end) {
    if (*p == '-') p++;
    if (!digit(p, c->end)) return expected(c, p, "a digit");
    if (*p == '0') {
        p++;
        if (digit(p, c->end)) return bad_at(c, p - 1, "a number begins with a zero");
    } else {
        while (digit(p, c->end)) p++;
    }
    if (p < c->end && *p == '.') {
        p++;
        if (!digit(p, c->end)) return expected(c, p, "a digit after the point");
        while (digit(p, c->end)) p++;
    }
    if (p < c->end && (*p == 'e' || *p == 'E')) {
        p++;
        if (p < c->end && (*p == '+' || *p == '-')) p++;
        if (!digit(p, c->end)) return expected(c, p, "a digit of the exponent");
        while (digit(p, c->end)) p++;
    }
    *end = p;
    return REX_OK;
}

static rex_status word_end(const cursor *c, const char *p, rex_jkind *kind, const char **end) {
    static const struct {
        const char *word;
        size_t n;
        rex_jkind kind;
    } words[] = {{"true", 4, REX_J_TRUE}, {"false", 5, REX_J_FALSE}, {"null", 4, REX_J_NULL}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if ((size_t)(c->end - p) < words[i].n || memcmp(p, words[i].word, words[i].n) != 0)
            continue;
        *kind = words[i].kind;
        *end = p + words[i].n;
        return REX_OK;
    }
    return expected(c, p, "a value");
}

/* A number, true, false or null; *end is behind it. */
static rex_status scalar_end(const cursor *c, const char *p, rex_jkind *kind, const char **end) {
    if (p < c->end && (*p == '-' || digit(p, c->end))) {
        *kind = REX_J_NUM;
        return number_end(c, p, end);
    }
    return word_end(c, p, kind, end);
}

/* ---- documents -------------------------------------------------------------------------- */

typedef struct {
    cursor c;
    rex_arena *a;
    rex_buf vals; /* values and names of the containers that are still open */
    rex_buf keys;
    int depth;
} parser;

static rex_status value(parser *ps, rex_jval *out);

/* The names of one object, all different? Beyond a few, by an open-addressed table. */
static rex_status check_names(parser *ps, const rex_str *key, const rex_jval *item, size_t n) {
    const char *const twice = "a name occurs twice in one object";
    if (n <= 16) {
        for (size_t i = 1; i < n; i++)
            for (size_t j = 0; j < i; j++)
                if (rex_str_eq(key[i], key[j]))
                    return bad_at(&ps->c, ps->c.start + item[i].at, twice);
        return REX_OK;
    }
    size_t room = 64;
    while (room < 2 * n) room *= 2;
    uint32_t *const slot = rex_mem_take(room, sizeof *slot, ps->c.e);
    if (!slot) return REX_ENOMEM;
    rex_status s = REX_OK;
    for (size_t i = 0; i < n && s == REX_OK; i++) {
        size_t at = rex_hash64(key[i].p, key[i].n) & (room - 1);
        for (; slot[at] && s == REX_OK; at = (at + 1) & (room - 1))
            if (rex_str_eq(key[slot[at] - 1], key[i]))
                s = bad_at(&ps->c, ps->c.start + item[i].at, twice);
        slot[at] = (uint32_t)i + 1;
    }
    rex_mem_free(slot);
    return s;
}

/* Moves the values (and names) of a closed container from the stacks into the arena. */
static rex_status collect(parser *ps, size_t val0, size_t key0, rex_jval *out) {
    const size_t n = (ps->vals.n - val0) / sizeof(rex_jval);
    if (n > UINT32_MAX) return bad_at(&ps->c, ps->c.p, "more than 4 billion values in one place");
    out->n = (uint32_t)n;
    out->u.c.item = NULL;
    out->u.c.key = NULL;
    if (n == 0) return REX_OK;
    out->u.c.item = rex_arena_take(ps->a, n, sizeof(rex_jval), ps->c.e);
    if (!out->u.c.item) return ps->c.e ? ps->c.e->code : REX_ENOMEM;
    memcpy(out->u.c.item, ps->vals.p + val0, n * sizeof(rex_jval));
    ps->vals.n = val0;
    if (out->kind != REX_J_OBJ) return REX_OK;
    out->u.c.key = rex_arena_take(ps->a, n, sizeof(rex_str), ps->c.e);
    if (!out->u.c.key) return ps->c.e ? ps->c.e->code : REX_ENOMEM;
    memcpy(out->u.c.key, ps->keys.p + key0, n * sizeof(rex_str));
    ps->keys.n = key0;
    return check_names(ps, out->u.c.key, out->u.c.item, n);
}

static rex_status member_name(parser *ps) {
    cursor *const c = &ps->c;
    if (c->p >= c->end || *c->p != '"') return expected(c, c->p, "a name in quotes");
    rex_str key;
    REX_TRY(take_string(c, ps->a, &key));
    rex_buf_add(&ps->keys, &key, sizeof key);
    REX_TRY(rex_buf_check(&ps->keys, c->e));
    skip_space(c);
    if (c->p >= c->end || *c->p != ':') return expected(c, c->p, "':' after a name");
    c->p++;
    return REX_OK;
}

static rex_status container(parser *ps, rex_jval *out, bool obj) {
    cursor *const c = &ps->c;
    const char close = obj ? '}' : ']';
    const size_t val0 = ps->vals.n;
    const size_t key0 = ps->keys.n;
    if (++ps->depth > DEPTH_MAX) return bad_at(c, c->p, "nested deeper than 128");
    out->kind = obj ? REX_J_OBJ : REX_J_ARR;
    c->p++;
    skip_space(c);
    bool more = !(c->p < c->end && *c->p == close);
    while (more) {
        skip_space(c);
        if (obj) REX_TRY(member_name(ps));
        rex_jval v;
        REX_TRY(value(ps, &v));
        rex_buf_add(&ps->vals, &v, sizeof v);
        REX_TRY(rex_buf_check(&ps->vals, c->e));
        skip_space(c);
        if (c->p < c->end && *c->p == close) break;
        if (c->p >= c->end || *c->p != ',')
            return expected(c, c->p, obj ? "',' or '}'" : "',' or ']'");
        c->p++;
    }
    c->p++;
    ps->depth--;
    return collect(ps, val0, key0, out);
}

static rex_status value(parser *ps, rex_jval *out) {
    cursor *const c = &ps->c;
    skip_space(c);
    *out = (rex_jval){.at = c->p - c->start};
    if (c->p >= c->end) return expected(c, c->p, "a value");
    if (*c->p == '{' || *c->p == '[') return container(ps, out, *c->p == '{');
    if (*c->p == '"') {
        out->kind = REX_J_STR;
        return take_string(c, ps->a, &out->u.s);
    }
    const char *end;
    REX_TRY(scalar_end(c, c->p, &out->kind, &end));
    if (out->kind == REX_J_NUM) {
        const rex_str text = {c->p, (size_t)(end - c->p)};
        REX_TRY(rex_str_copy(ps->a, text, &out->u.s, c->e));
    }
    c->p = end;
    return REX_OK;
}

static rex_status document(rex_arena *a, rex_str text, const char *what, bool bytes,
                           rex_jval **out, rex_err *e) {
    static const char empty[1];
    const char *const start = text.n ? text.p : empty;
    parser ps = {.c = {start, start, start + text.n, what, e, bytes}, .a = a};
    const rex_mark mark = rex_arena_mark(a);
    *out = NULL;
    rex_jval *const root = rex_arena_zero(a, 1, sizeof *root, e);
    rex_status s = root ? value(&ps, root) : REX_ENOMEM;
    if (s == REX_OK) {
        skip_space(&ps.c);
        if (ps.c.p < ps.c.end) s = expected(&ps.c, ps.c.p, "the end of the text");
    }
    rex_buf_free(&ps.vals);
    rex_buf_free(&ps.keys);
    if (s == REX_OK) *out = root;
    else rex_arena_back(a, mark);
    return s;
}

rex_status rex_json_parse(rex_arena *a, rex_str text, const char *what, rex_jval **out,
                          rex_err *e) {
    return document(a, text, what, false, out, e);
}

rex_status rex_json_parse_bytes(rex_arena *a, rex_str text, const char *what, rex_jval **out,
                                rex_err *e) {
    return document(a, text, what, true, out, e);
}

rex_status rex_json_load(rex_arena *a, const char *path, rex_jval **out, rex_err *e) {
    rex_map *m;
    *out = NULL;
    REX_TRY(rex_map_open(path, &m, e));
    const rex_view v = rex_map_view(m);
    const rex_status s = rex_json_parse(a, (rex_str){(const char *)v.p, v.n}, path, out, e);
    rex_map_close(m);
    return s;
}

const rex_jval *rex_json_get(const rex_jval *obj, const char *key) {
    if (!obj || obj->kind != REX_J_OBJ) return NULL;
    const rex_str want = rex_str_of(key);
    for (uint32_t i = 0; i < obj->n; i++)
        if (rex_str_eq(obj->u.c.key[i], want)) return &obj->u.c.item[i];
    return NULL;
}

const char *rex_json_kind_name(rex_jkind k) {
    static const char *const name[] = {"null",     "false",    "true",     "a number",
                                       "a string", "an array", "an object"};
    return (unsigned)k < sizeof name / sizeof name[0] ? name[k] : "nothing";
}

/* A whole number that a double would not round: digits alone, or a value equal to one. */
static rex_status to_i64(rex_str s, int64_t *out) {
    int64_t v = 0;
    const bool neg = s.n && s.p[0] == '-';
    size_t i = neg;
    for (; i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; i++) {
        if (__builtin_mul_overflow(v, (int64_t)10, &v)) return REX_ELIMIT;
        const int64_t d = s.p[i] - '0';
        if (__builtin_sub_overflow(v, d, &v)) return REX_ELIMIT; /* negative: has one more */
    }
    if (i == s.n && i > neg) {
        if (!neg && v == INT64_MIN) return REX_ELIMIT;
        *out = neg ? v : -v;
        return REX_OK;
    }
    double d;
    if (!rex_num_parse(s, &d)) return REX_EFORMAT;
    if (d != floor(d)) return REX_EFORMAT;
    if (fabs(d) > 0x1p53) return REX_ELIMIT;
    *out = (int64_t)d;
    return REX_OK;
}

rex_status rex_json_f64(const rex_jval *v, const char *what, double *out, rex_err *e) {
    if (!v) return rex_fail(e, REX_EFORMAT, -1, "%s: missing, a number was expected", what);
    if (v->kind != REX_J_NUM)
        return rex_fail(e, REX_EFORMAT, v->at, "%s: expected a number, found %s", what,
                        rex_json_kind_name(v->kind));
    if (!rex_num_parse(v->u.s, out))
        return rex_fail(e, REX_ELIMIT, v->at, "%s: %.*s is beyond the range of a double", what,
                        (int)(v->u.s.n < 40 ? v->u.s.n : 40), v->u.s.p);
    return REX_OK;
}

static rex_status i64_fail(rex_status s, rex_str text, int64_t at, const char *what, rex_err *e) {
    const int n = (int)(text.n < 40 ? text.n : 40);
    const char *const colon = *what ? ": " : "";
    if (s == REX_ELIMIT)
        return rex_fail(e, s, at, "%s%s%.*s is beyond 64 bits", what, colon, n, text.p);
    return rex_fail(e, s, at, "%s%sexpected a whole number, found %.*s", what, colon, n, text.p);
}

rex_status rex_json_i64(const rex_jval *v, const char *what, int64_t *out, rex_err *e) {
    if (!v) return rex_fail(e, REX_EFORMAT, -1, "%s: missing, a whole number was expected", what);
    if (v->kind != REX_J_NUM)
        return rex_fail(e, REX_EFORMAT, v->at, "%s: expected a whole number, found %s", what,
                        rex_json_kind_name(v->kind));
    const rex_status s = to_i64(v->u.s, out);
    return s == REX_OK ? s : i64_fail(s, v->u.s, v->at, what, e);
}

/* ---- records: the fast road ------------------------------------------------------------- */

/* Behind the closing quote of the string whose body starts at `p`, unchecked; NULL if it is open.
 * Names and short values end within a word or two; long texts go on by memchr. */
static inline const char *string_skip(const char *p, const char *end, bool *escaped) {
    *escaped = false;
    for (int words = 0; words < 4 && end - p >= 8; words++) {
        const uint64_t w = load8(p);
        const uint64_t stop = ZEROS(w ^ ONES * '"') | ZEROS(w ^ ONES * '\\');
        if (stop == 0) {
            p += 8;
            continue;
        }
        p += first_byte(stop);
        if (*p == '"') return p + 1;
        break;
    }
    const char *const body = p;
    for (;;) {
        const char *const q = memchr(p, '"', (size_t)(end - p));
        if (!q) return NULL;
        const char *b = q; /* a quote after an odd number of backslashes is escaped */
        while (b > body && b[-1] == '\\') b--;
        if (((q - b) & 1) == 0) {
            *escaped = memchr(body, '\\', (size_t)(q - body)) != NULL;
            return q + 1;
        }
        p = q + 1;
    }
}

/* Behind the container that opens at c->p: brackets and strings are balanced, no more. Numbers,
 * commas and spaces have no bit 0x40 and are no quote: they are passed eight at a time. */
static rex_status container_skip(const cursor *c, const char **out) {
    uint64_t obj[DEPTH_MAX / 64] = {0};
    int depth = 0;
    const char *p = c->p;
    while (p < c->end) {
        while (c->end - p >= 8) {
            const uint64_t w = load8(p);
            if (((w & ONES * 0x40) | ZEROS(w ^ ONES * '"')) != 0) break;
            p += 8;
        }
        for (const char *const stop = c->end - p > 8 ? p + 8 : c->end; p < stop; p++) {
            const char b = *p;
            if (b == '"') {
                bool escaped;
                const char *const q = string_skip(p + 1, c->end, &escaped);
                if (!q) return bad_at(c, p, "a string is not closed");
                p = q;
                break;
            }
            if (b == '{' || b == '[') {
                if (depth == DEPTH_MAX) return bad_at(c, p, "nested deeper than 128");
                const uint64_t bit = (uint64_t)1 << (depth % 64);
                if (b == '{') obj[depth / 64] |= bit;
                else obj[depth / 64] &= ~bit;
                depth++;
            } else if (b == '}' || b == ']') {
                depth--;
                const bool is_obj = obj[depth / 64] >> (depth % 64) & 1;
                if (is_obj != (b == '}')) return expected(c, p, is_obj ? "'}'" : "']'");
                if (depth == 0) {
                    *out = p + 1;
                    return REX_OK;
                }
            }
        }
    }
    return expected(c, c->end, "a closing bracket");
}

static rex_status value_skip(const cursor *c, const char **out) {
    if (c->p >= c->end) return expected(c, c->p, "a value");
    if (*c->p == '{' || *c->p == '[') return container_skip(c, out);
    if (*c->p == '"') {
        bool escaped;
        *out = string_skip(c->p + 1, c->end, &escaped);
        return *out ? REX_OK : bad_at(c, c->p, "a string is not closed");
    }
    rex_jkind kind;
    return scalar_end(c, c->p, &kind, out);
}

/* Which of the wanted names this one is; n when none. `*which` comes in as the guess to try first:
 * records of one file have their members in one order. */
static rex_status name_find(const cursor *c, rex_str raw, bool escapes, const rex_str *want,
                            size_t n, size_t *which) {
    char plain[256];
    if (escapes) {
        const char *close;
        bool escaped;
        cursor whole = *c;
        whole.p = raw.p;
        REX_TRY(string_end(&whole, raw.p, &close, &escaped));
        if (raw.n > sizeof plain) {
            *which = n;
            return REX_OK;
        }
        raw = (rex_str){plain, unescape(raw.p, raw.p + raw.n, plain)};
    }
    size_t i = *which;
    if (i < n && raw.n == want[i].n && memcmp(raw.p, want[i].p, raw.n) == 0) return REX_OK;
    for (i = 0; i < n; i++)
        if (raw.n == want[i].n && memcmp(raw.p, want[i].p, raw.n) == 0) break;
    *which = i;
    return REX_OK;
}

rex_status rex_jscan(rex_str line, const rex_str *want, size_t n, rex_str *raw, rex_err *e) {
    static const char empty[1];
    const char *const start = line.n ? line.p : empty;
    cursor c = {start, start, start + line.n, NULL, e, false};
    size_t guess = 0;
    for (size_t i = 0; i < n; i++) raw[i] = (rex_str){NULL, 0};
    skip_space(&c);
    if (c.p >= c.end || *c.p != '{') return expected(&c, c.p, "an object");
    c.p++;
    skip_space(&c);
    bool more = !(c.p < c.end && *c.p == '}');
    while (more) {
        skip_space(&c);
        if (c.p >= c.end || *c.p != '"') return expected(&c, c.p, "a name in quotes");
        const char *const name = c.p + 1;
        bool escapes;
        const char *const after = string_skip(name, c.end, &escapes);
        if (!after) return bad_at(&c, c.p, "a string is not closed");
        size_t which = guess;
        REX_TRY(name_find(&c, (rex_str){name, (size_t)(after - 1 - name)}, escapes, want, n,
                          &which));
        if (which < n && raw[which].p) return bad_at(&c, c.p, "a name occurs twice in one object");
        c.p = after;
        skip_space(&c);
        if (c.p >= c.end || *c.p != ':') return expected(&c, c.p, "':' after a name");
        c.p++;
        skip_space(&c);
        const char *end;
        REX_TRY(value_skip(&c, &end));
        if (which < n) {
            raw[which] = (rex_str){c.p, (size_t)(end - c.p)};
            guess = which + 1;
        }
        c.p = end;
        skip_space(&c);
        if (c.p < c.end && *c.p == '}') break;
        if (c.p >= c.end || *c.p != ',') return expected(&c, c.p, "',' or '}'");
        c.p++;
    }
    c.p++;
    skip_space(&c);
    if (c.p < c.end) return expected(&c, c.p, "the end of the line");
    return REX_OK;
}

rex_jkind rex_jraw_kind(rex_str raw) {
    if (raw.n == 0) return REX_J_NULL;
    switch (raw.p[0]) {
    case '{': return REX_J_OBJ;
    case '[': return REX_J_ARR;
    case '"': return REX_J_STR;
    case 't': return REX_J_TRUE;
    case 'f': return REX_J_FALSE;
    case 'n': return REX_J_NULL;
    default: return REX_J_NUM;
    }
}

rex_status rex_jraw_f64(rex_str raw, double *out, rex_err *e) {
    if (rex_jraw_kind(raw) != REX_J_NUM)
        return rex_fail(e, REX_EFORMAT, -1, "expected a number, found %s",
                        rex_json_kind_name(rex_jraw_kind(raw)));
    if (!rex_num_parse(raw, out))
        return rex_fail(e, REX_ELIMIT, -1, "%.*s is beyond the range of a double",
                        (int)(raw.n < 40 ? raw.n : 40), raw.p);
    return REX_OK;
}

rex_status rex_jraw_i64(rex_str raw, int64_t *out, rex_err *e) {
    if (rex_jraw_kind(raw) != REX_J_NUM)
        return rex_fail(e, REX_EFORMAT, -1, "expected a whole number, found %s",
                        rex_json_kind_name(rex_jraw_kind(raw)));
    const rex_status s = to_i64(raw, out);
    return s == REX_OK ? s : i64_fail(s, raw, -1, "", e);
}

static rex_status raw_text(rex_arena *a, rex_str raw, bool bytes, rex_str *out, rex_err *e) {
    if (rex_jraw_kind(raw) != REX_J_STR)
        return rex_fail(e, REX_EFORMAT, -1, "expected a string, found %s",
                        rex_json_kind_name(rex_jraw_kind(raw)));
    cursor c = {raw.p, raw.p, raw.p + raw.n, NULL, e, bytes};
    const char *close;
    bool escaped;
    REX_TRY(string_end(&c, raw.p + 1, &close, &escaped));
    if (close + 1 != c.end) return expected(&c, close + 1, "the end of the string");
    if (escaped) return take_string(&c, a, out);
    *out = (rex_str){raw.p + 1, (size_t)(close - raw.p - 1)};
    return REX_OK;
}

rex_status rex_jraw_str(rex_arena *a, rex_str raw, rex_str *out, rex_err *e) {
    return raw_text(a, raw, false, out, e);
}

rex_status rex_jraw_bytes(rex_arena *a, rex_str raw, rex_str *out, rex_err *e) {
    return raw_text(a, raw, true, out, e);
}

/* ---- the writer ------------------------------------------------------------------------- */

void rex_jw_init(rex_jw *w, rex_buf *b) { *w = (rex_jw){.b = b}; }

/* Before a value or a name: the comma that separates it from the one before. */
static void separate(rex_jw *w) {
    if (w->comma) rex_buf_add(w->b, ",", 1);
    w->comma = true;
}

static void put(rex_jw *w, const char *p, size_t n) {
    separate(w);
    rex_buf_add(w->b, p, n);
}

void rex_jw_obj(rex_jw *w) {
    put(w, "{", 1);
    w->comma = false;
}

void rex_jw_obj_end(rex_jw *w) {
    rex_buf_add(w->b, "}", 1);
    w->comma = true;
}

void rex_jw_arr(rex_jw *w) {
    put(w, "[", 1);
    w->comma = false;
}

void rex_jw_arr_end(rex_jw *w) {
    rex_buf_add(w->b, "]", 1);
    w->comma = true;
}

static void quote(rex_buf *b, rex_str s) {
    static const char hex[] = "0123456789abcdef";
    rex_buf_add(b, "\"", 1);
    const char *p = s.p;
    const char *const end = s.n ? s.p + s.n : s.p;
    while (p < end) {
        const char *const run = plain_run(p, end);
        rex_buf_add(b, p, (size_t)(run - p));
        if (run == end) break;
        p = run;
        const uint8_t c = (uint8_t)*p;
        if (c >= 0x80) {
            const int n = utf8_len(p, end);
            if (n) rex_buf_add(b, p, (size_t)n);
            else rex_buf_add(b, "\xEF\xBF\xBD", 3);
            p += n ? n : 1;
            continue;
        }
        const char *const names = "\"\\\b\f\n\r\t";
        const char *const at = c ? strchr(names, c) : NULL;
        if (at) {
            const char two[2] = {'\\', "\"\\bfnrt"[at - names]};
            rex_buf_add(b, two, 2);
        } else {
            const char six[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
            rex_buf_add(b, six, 6);
        }
        p++;
    }
    rex_buf_add(b, "\"", 1);
}

void rex_jw_keys(rex_jw *w, rex_str key) {
    separate(w);
    quote(w->b, key);
    rex_buf_add(w->b, ":", 1);
    w->comma = false;
}

void rex_jw_key(rex_jw *w, const char *key) { rex_jw_keys(w, rex_str_of(key)); }

void rex_jw_str(rex_jw *w, rex_str s) {
    separate(w);
    quote(w->b, s);
}

void rex_jw_cstr(rex_jw *w, const char *s) { rex_jw_str(w, rex_str_of(s)); }

void rex_jw_i64(rex_jw *w, int64_t v) {
    char text[24];
    char *p = text + sizeof text;
    uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    do {
        *--p = (char)('0' + u % 10);
        u /= 10;
    } while (u);
    if (v < 0) *--p = '-';
    put(w, p, (size_t)(text + sizeof text - p));
}

void rex_jw_f64(rex_jw *w, double v) {
    char text[REX_NUM_MAX];
    put(w, text, rex_num_print(text, v));
}

void rex_jw_f32(rex_jw *w, float v) {
    char text[REX_NUM_MAX];
    put(w, text, rex_num_print_f32(text, v));
}

void rex_jw_bool(rex_jw *w, bool v) { put(w, v ? "true" : "false", v ? 4 : 5); }
void rex_jw_null(rex_jw *w) { put(w, "null", 4); }
void rex_jw_raw(rex_jw *w, rex_str json) { put(w, json.p, json.n); }

void rex_jw_val(rex_jw *w, const rex_jval *v) {
    switch (v->kind) {
    case REX_J_NULL: rex_jw_null(w); break;
    case REX_J_FALSE: rex_jw_bool(w, false); break;
    case REX_J_TRUE: rex_jw_bool(w, true); break;
    case REX_J_NUM: rex_jw_raw(w, v->u.s); break;
    case REX_J_STR: rex_jw_str(w, v->u.s); break;
    case REX_J_ARR:
        rex_jw_arr(w);
        for (uint32_t i = 0; i < v->n; i++) rex_jw_val(w, &v->u.c.item[i]);
        rex_jw_arr_end(w);
        break;
    case REX_J_OBJ:
        rex_jw_obj(w);
        for (uint32_t i = 0; i < v->n; i++) {
            rex_jw_keys(w, v->u.c.key[i]);
            rex_jw_val(w, &v->u.c.item[i]);
        }
        rex_jw_obj_end(w);
        break;
    }
}
