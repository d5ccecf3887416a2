/* SPDX-License-Identifier: MIT
 *
 * npy.c: NumPy array files, format 1.0, 2.0 and 3.0: a magic, a length, a Python dictionary
 * {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }, padding, the data. The dictionary
 * is read by a parser that knows exactly these three keys and nothing of Python beyond them.
 * Invariant: an open handle has a C-order little-endian array whose bytes end where the file ends.
 */
#include "formats.h"

#include <stdio.h>
#include <string.h>

enum { MAX_HEAD = 1 << 20 };

struct rex_npy {
    rex_map *map;
    rex_tensor t;
};

/* ---- the header dictionary ---- */

typedef struct {
    rex_str text;
    size_t i;
    int64_t at; /* of text in the file */
    const char *path;
    rex_err *e;
} cursor;

static rex_status bad(const cursor *c, const char *what) {
    return rex_fail(c->e, REX_EFORMAT, c->at + (int64_t)c->i,
                    "npy file %s: byte %lld of the header: %s", c->path,
                    (long long)(c->at + (int64_t)c->i), what);
}

static void blanks(cursor *c) {
    while (c->i < c->text.n && strchr(" \t\r\n", c->text.p[c->i]) && c->text.p[c->i]) c->i++;
}

static bool take(cursor *c, char want) {
    blanks(c);
    if (c->i >= c->text.n || c->text.p[c->i] != want) return false;
    c->i++;
    return true;
}

/* A Python string literal without escapes. */
static rex_status quoted(cursor *c, const char *what, rex_str *out) {
    blanks(c);
    const char q = c->i < c->text.n ? c->text.p[c->i] : 0;
    if (q != '\'' && q != '"') return bad(c, what);
    const size_t from = ++c->i;
    while (c->i < c->text.n && c->text.p[c->i] != q && c->text.p[c->i] != '\\') c->i++;
    if (c->i >= c->text.n || c->text.p[c->i] != q) return bad(c, "a string that does not end");
    *out = (rex_str){ c->text.p + from, c->i - from };
    c->i++;
    return REX_OK;
}

static bool word(cursor *c, const char *w) {
    blanks(c);
    const size_t n = strlen(w);
    if (c->text.n - c->i < n || memcmp(c->text.p + c->i, w, n) != 0) return false;
    c->i += n;
    return true;
}

static rex_status descr(cursor *c, rex_tensor *t) {
    static const struct {
        const char *code;
        rex_dtype type;
    } known[] = {
        { "<f4", REX_T_F32 }, { "<f2", REX_T_F16 }, { "<f8", REX_T_F64 }, { "<i8", REX_T_I64 },
        { "<i4", REX_T_I32 }, { "<i2", REX_T_I16 }, { "|i1", REX_T_I8 },  { "<u8", REX_T_U64 },
        { "<u4", REX_T_U32 }, { "<u2", REX_T_U16 }, { "|u1", REX_T_U8 },  { "|b1", REX_T_BOOL },
    };
    blanks(c);
    const long long at = (long long)(c->at + (int64_t)c->i);
    if (c->i < c->text.n && c->text.p[c->i] == '[')
        return rex_fail(c->e, REX_EUNSUP, at,
                        "npy file %s: byte %lld: a structured array; save one plain array of f16, "
                        "f32 or f64",
                        c->path, at);
    rex_str d;
    REX_TRY(quoted(c, "'descr' needs a string such as '<f4'", &d));
    for (size_t k = 0; k < sizeof known / sizeof *known; k++)
        if (rex_str_is(d, known[k].code)) {
            t->type = known[k].type;
            return REX_OK;
        }
    const int n = (int)(d.n > 40 ? 40 : d.n);
    if (d.n && d.p[0] == '>')
        return rex_fail(c->e, REX_EUNSUP, at,
                        "npy file %s: byte %lld: type '%.*s' is big-endian; save it little-endian, "
                        "a.astype(a.dtype.newbyteorder('<'))",
                        c->path, at, n, d.p);
    if (d.n > 1 && d.p[1] == 'O')
        return rex_fail(c->e, REX_EUNSUP, at,
                        "npy file %s: byte %lld: type '%.*s' holds Python objects, not numbers",
                        c->path, at, n, d.p);
    return rex_fail(c->e, REX_EUNSUP, at,
                    "npy file %s: byte %lld: type '%.*s' is not supported; save f16, f32 or f64",
                    c->path, at, n, d.p);
}

static rex_status shape(cursor *c, rex_tensor *t) {
    if (!take(c, '(')) return bad(c, "'shape' needs a tuple such as (3, 4)");
    t->ndim = 0;
    while (!take(c, ')')) {
        if (t->ndim == REX_DIMS) return bad(c, "an array of more than 8 dimensions");
        blanks(c);
        const size_t from = c->i;
        int64_t v = 0;
        while (c->i < c->text.n && c->text.p[c->i] >= '0' && c->text.p[c->i] <= '9') {
            if (__builtin_mul_overflow(v, 10, &v) ||
                __builtin_add_overflow(v, c->text.p[c->i] - '0', &v))
                return bad(c, "a dimension beyond 2^63");
            c->i++;
        }
        if (c->i == from) return bad(c, "a dimension that is no number");
        if (c->i < c->text.n && c->text.p[c->i] == 'L') c->i++; /* Python 2 wrote 3L */
        t->dim[t->ndim++] = v;
        if (!take(c, ',')) {
            if (!take(c, ')')) return bad(c, "a tuple that does not end");
            /* (3) is a number in Python, (3,) a tuple: NumPy never writes the former */
            if (t->ndim == 1) return bad(c, "a shape that is no tuple");
            break;
        }
    }
    return REX_OK;
}

rex_status rex_npy_parse(rex_str text, int64_t at, const char *path, rex_tensor *t, rex_err *e) {
    cursor c = { text, 0, at, path, e };
    unsigned seen = 0;
    *t = (rex_tensor){ .name = { "", 0 } };
    if (!take(&c, '{')) return bad(&c, "expected a dictionary, '{'");
    while (!take(&c, '}')) {
        rex_str key;
        REX_TRY(quoted(&c, "expected a quoted key or '}'", &key));
        if (!take(&c, ':')) return bad(&c, "expected ':' behind the key");
        unsigned bit = 0;
        if (rex_str_is(key, "descr")) {
            bit = 1;
            REX_TRY(descr(&c, t));
        } else if (rex_str_is(key, "fortran_order")) {
            bit = 2;
            if (word(&c, "True"))
                return rex_fail(e, REX_EUNSUP, at + (int64_t)c.i,
                                "npy file %s: the array is in Fortran (column-major) order; "
                                "rows must lie one after the other: save "
                                "numpy.ascontiguousarray(a)",
                                path);
            if (!word(&c, "False")) return bad(&c, "'fortran_order' is neither True nor False");
        } else if (rex_str_is(key, "shape")) {
            bit = 4;
            REX_TRY(shape(&c, t));
        } else {
            return bad(&c, "a key other than 'descr', 'fortran_order' and 'shape'");
        }
        if (seen & bit) return bad(&c, "a key that occurs twice");
        seen |= bit;
        if (!take(&c, ',')) {
            if (!take(&c, '}')) return bad(&c, "expected ',' or '}'");
            break;
        }
    }
    blanks(&c);
    if (c.i != text.n) return bad(&c, "something behind the dictionary");
    if (seen != 7) return bad(&c, "'descr', 'fortran_order' or 'shape' is missing");
    return REX_OK;
}

/* ---- the file ---- */

static rex_status read_file(rex_npy *n, const char *path, rex_err *e) {
    const rex_view all = rex_map_view(n->map);
    if (all.n < 10 || memcmp(all.p, "\x93NUMPY", 6) != 0)
        return rex_fail(e, REX_EFORMAT, 0,
                        "npy file %s: does not begin with \\x93NUMPY; it is no .npy file", path);
    const uint8_t major = all.p[6];
    if (major < 1 || major > 3 || all.p[7] != 0)
        return rex_fail(e, REX_EUNSUP, 6,
                        "npy file %s: byte 6: format version %u.%u, known are 1.0, 2.0 and 3.0",
                        path, major, all.p[7]);
    const size_t head_at = major == 1 ? 10 : 12;
    if (all.n < head_at)
        return rex_fail(e, REX_EFORMAT, 8, "npy file %s: ends within the header's length", path);
    uint64_t head_n = (uint64_t)(all.p[8] | all.p[9] << 8);
    if (major > 1) head_n |= (uint64_t)all.p[10] << 16 | (uint64_t)all.p[11] << 24;
    if (head_n > MAX_HEAD || head_n > all.n - head_at)
        return rex_fail(e, REX_EFORMAT, 8,
                        "npy file %s: byte 8: the header claims %llu bytes, the file has %llu in "
                        "all",
                        path, (unsigned long long)head_n, (unsigned long long)all.n);
    const rex_str text = { (const char *)all.p + head_at, (size_t)head_n };
    REX_TRY(rex_npy_parse(text, (int64_t)head_at, path, &n->t, e));
    uint64_t need = 0;
    const rex_status s = rex_tensor_shape(&n->t, &need, e);
    if (s != REX_OK)
        return rex_fail(e, s, (int64_t)head_at, "npy file %s: 'shape' has a product that overflows",
                        path);
    const uint64_t at = head_at + head_n;
    if (need != all.n - at)
        return rex_fail(e, REX_EFORMAT, (int64_t)at,
                        "npy file %s: the header promises %llu bytes of %s behind byte %llu, the "
                        "file has %llu",
                        path, (unsigned long long)need, rex_dtype_get(n->t.type)->name,
                        (unsigned long long)at, (unsigned long long)(all.n - at));
    return rex_view_sub(all, at, need, &n->t.data, e);
}

rex_status rex_npy_open(const char *path, rex_npy **out, rex_err *e) {
    *out = NULL;
    rex_npy *n = rex_mem_take(1, sizeof *n, e);
    if (!n) return REX_ENOMEM;
    rex_status s = rex_map_open(path, &n->map, e);
    if (s == REX_OK) s = read_file(n, path, e);
    if (s != REX_OK) {
        rex_npy_close(n);
        return s;
    }
    *out = n;
    return REX_OK;
}

const rex_tensor *rex_npy_tensor(const rex_npy *n) { return &n->t; }

void rex_npy_close(rex_npy *n) {
    if (!n) return;
    rex_map_close(n->map);
    rex_mem_free(n);
}

void rex_npy_head(uint8_t out[REX_NPY_HEAD], rex_dtype t, int64_t rows, int64_t cols) {
    rex_assert(t == REX_T_F32 || t == REX_T_F16);
    char text[REX_NPY_HEAD];
    const int n = snprintf(text, sizeof text,
                           "{'descr': '%s', 'fortran_order': False, 'shape': (%lld, %lld), }",
                           t == REX_T_F32 ? "<f4" : "<f2", (long long)rows, (long long)cols);
    rex_assert(n > 0 && n < REX_NPY_HEAD - 10);
    memset(out, ' ', REX_NPY_HEAD);
    memcpy(out, "\x93NUMPY\x01\x00", 8);
    out[8] = REX_NPY_HEAD - 10;
    out[9] = 0;
    memcpy(out + 10, text, (size_t)n);
    out[REX_NPY_HEAD - 1] = '\n';
}
