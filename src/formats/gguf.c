/* SPDX-License-Identifier: MIT
 *
 * gguf.c: GGUF version 2 and 3 read: a header, metadata of thirteen kinds, the list of tensors,
 * then their data, each at a multiple of `general.alignment` (default 32). Little-endian.
 * Invariant: in an open handle every metadata value and every tensor lies inside the file, counts
 * have been checked against the bytes that they would need before anything was allocated for them,
 * keys and names are unique, and no two tensors overlap. Dims, innermost first in the file, are
 * given outermost first.
 */
#include "formats.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 4, MAX_ALIGN = 1 << 20, MIN_META = 13, MIN_TENSOR = 24 };

struct rex_gguf {
    rex_map *map;     /* owned */
    rex_arena *arena; /* owned */
    const char *path;
    uint32_t version;
    uint64_t align;
    rex_gguf_meta *meta; /* in file order */
    const rex_gguf_meta **by_key;
    size_t n_meta;
    rex_tensor *t; /* in file order */
    const rex_tensor **by_name;
    uint64_t *place; /* offset of t[i] in the data */
    size_t n;
};

static const struct {
    const char *name;
    size_t bytes;
} kinds[] = {
#define X(name, bytes) { #name, bytes },
    REX_GGUF_KINDS(X)
#undef X
};

static int shown(rex_str s) { return (int)(s.n > 120 ? 120 : s.n); }

/* ---- a cursor over the file ---- */

typedef struct {
    rex_gguf *g;
    rex_view all;
    uint64_t at;
    rex_str in; /* the key or tensor that is being read, for sentences */
    rex_err *e;
} cursor;

static rex_status wrong(const cursor *c, const char *what) {
    return rex_fail(c->e, REX_EFORMAT, (int64_t)c->at, "gguf file %s: byte %llu: %.*s%s%s",
                    c->g->path, (unsigned long long)c->at, shown(c->in), c->in.n ? c->in.p : "",
                    c->in.n ? ": " : "", what);
}

static rex_status take(cursor *c, uint64_t n, rex_view *out) {
    if (n > c->all.n - c->at)
        return rex_fail(c->e, REX_EFORMAT, (int64_t)c->at,
                        "gguf file %s: byte %llu: %.*s%sneeds %llu bytes, the file ends after %llu",
                        c->g->path, (unsigned long long)c->at, shown(c->in), c->in.n ? c->in.p : "",
                        c->in.n ? ": " : "", (unsigned long long)n,
                        (unsigned long long)(c->all.n - c->at));
    REX_TRY(rex_view_sub(c->all, c->at, n, out, c->e));
    c->at += n;
    return REX_OK;
}

static rex_status take_u32(cursor *c, uint32_t *out) {
    rex_view v;
    REX_TRY(take(c, 4, &v));
    memcpy(out, v.p, 4);
    return REX_OK;
}

static rex_status take_u64(cursor *c, uint64_t *out) {
    rex_view v;
    REX_TRY(take(c, 8, &v));
    memcpy(out, v.p, 8);
    return REX_OK;
}

static rex_status take_str(cursor *c, rex_str *out) {
    uint64_t n;
    rex_view v;
    REX_TRY(take_u64(c, &n));
    REX_TRY(take(c, n, &v));
    *out = (rex_str){ (const char *)v.p, v.n };
    return REX_OK;
}

/* ---- metadata ---- */

static rex_status check_bools(cursor *c, rex_view v) {
    for (size_t i = 0; i < v.n; i++)
        if (v.p[i] > 1) return wrong(c, "a truth value that is neither 0 nor 1");
    return REX_OK;
}

/* Steps over an array within an array; its own kind and count are still to come. */
static rex_status skip_array(cursor *c, int depth) {
    uint32_t kind;
    uint64_t n;
    rex_view v;
    if (depth > MAX_DEPTH) return wrong(c, "arrays nested more than 4 deep");
    REX_TRY(take_u32(c, &kind));
    REX_TRY(take_u64(c, &n));
    if (kind >= REX_G_COUNT) return wrong(c, "an array of a kind that is not known");
    const uint64_t least = kind == REX_G_ARR ? 12 : kind == REX_G_STR ? 8 : kinds[kind].bytes;
    if (n > (c->all.n - c->at) / least)
        return wrong(c, "an array of more elements than the file can hold");
    if (kind != REX_G_ARR && kind != REX_G_STR) return take(c, n * least, &v);
    for (uint64_t i = 0; i < n; i++) {
        rex_str s;
        REX_TRY(kind == REX_G_ARR ? skip_array(c, depth + 1) : take_str(c, &s));
    }
    return REX_OK;
}

static rex_status take_array(cursor *c, rex_gguf_meta *m) {
    uint32_t kind;
    REX_TRY(take_u32(c, &kind));
    REX_TRY(take_u64(c, &m->n));
    if (kind >= REX_G_COUNT) return wrong(c, "an array of a kind that is not known");
    m->elem = (rex_gguf_kind)kind;
    const uint64_t least = kind == REX_G_ARR ? 12 : kind == REX_G_STR ? 8 : kinds[kind].bytes;
    if (m->n > (c->all.n - c->at) / least)
        return wrong(c, "an array of more elements than the file can hold");
    const uint64_t from = c->at;
    if (kind == REX_G_STR) {
        m->str = rex_arena_take(c->g->arena, (size_t)m->n + 1, sizeof *m->str, c->e);
        if (!m->str) return REX_ENOMEM;
        for (uint64_t i = 0; i < m->n; i++) REX_TRY(take_str(c, &m->str[i]));
    } else if (kind == REX_G_ARR) {
        for (uint64_t i = 0; i < m->n; i++) REX_TRY(skip_array(c, 2));
    } else {
        rex_view v;
        REX_TRY(take(c, m->n * least, &v));
        if (kind == REX_G_BOOL) REX_TRY(check_bools(c, v));
    }
    return rex_view_sub(c->all, from, c->at - from, &m->raw, c->e);
}

static rex_status take_meta(cursor *c, rex_gguf_meta *m) {
    uint32_t kind;
    c->in = (rex_str){ "a metadata key", 14 };
    *m = (rex_gguf_meta){ .n = 1 };
    REX_TRY(take_str(c, &m->key));
    c->in = m->key;
    REX_TRY(take_u32(c, &kind));
    if (kind >= REX_G_COUNT) return wrong(c, "a metadata value of a kind that is not known");
    m->kind = m->elem = (rex_gguf_kind)kind;
    if (kind == REX_G_ARR) return take_array(c, m);
    if (kind == REX_G_STR) {
        m->str = rex_arena_take(c->g->arena, 1, sizeof *m->str, c->e);
        if (!m->str) return REX_ENOMEM;
        REX_TRY(take_str(c, m->str));
        m->raw = (rex_view){ (const uint8_t *)m->str->p, m->str->n };
        return REX_OK;
    }
    REX_TRY(take(c, kinds[kind].bytes, &m->raw));
    return kind == REX_G_BOOL ? check_bools(c, m->raw) : REX_OK;
}

static int text_cmp(rex_str x, rex_str y) {
    const size_t n = x.n < y.n ? x.n : y.n;
    const int c = n ? memcmp(x.p, y.p, n) : 0;
    return c ? c : x.n < y.n ? -1 : x.n > y.n;
}

static int by_key(const void *a, const void *b) {
    const rex_gguf_meta *const *x = a;
    const rex_gguf_meta *const *y = b;
    return text_cmp((*x)->key, (*y)->key);
}

static int by_name(const void *a, const void *b) {
    const rex_tensor *const *x = a;
    const rex_tensor *const *y = b;
    return text_cmp((*x)->name, (*y)->name);
}

static rex_status read_metas(cursor *c, uint64_t n) {
    rex_gguf *g = c->g;
    g->meta = rex_arena_zero(g->arena, (size_t)n + 1, sizeof *g->meta, c->e);
    g->by_key = rex_arena_take(g->arena, (size_t)n + 1, sizeof *g->by_key, c->e);
    if (!g->meta || !g->by_key) return REX_ENOMEM;
    for (uint64_t i = 0; i < n; i++) {
        REX_TRY(take_meta(c, &g->meta[i]));
        g->by_key[i] = &g->meta[i];
    }
    g->n_meta = (size_t)n;
    qsort(g->by_key, g->n_meta, sizeof *g->by_key, by_key);
    for (size_t i = 1; i < g->n_meta; i++) {
        c->in = g->by_key[i]->key;
        if (rex_str_eq(c->in, g->by_key[i - 1]->key))
            return wrong(c, "a metadata key that occurs twice");
    }
    g->align = 32;
    if (rex_gguf_meta_find(g, "general.alignment")) {
        int64_t v;
        REX_TRY(rex_gguf_i64(g, "general.alignment", &v, c->e));
        c->in = rex_str_of("general.alignment");
        if (v < 1 || v > MAX_ALIGN || (v & (v - 1)) != 0)
            return wrong(c, "expected a power of two of at most 2^20");
        g->align = (uint64_t)v;
    }
    return REX_OK;
}

/* ---- tensors ---- */

static rex_dtype type_of(uint32_t number) {
    for (int t = 0; t < REX_T_COUNT; t++) {
        const rex_dtype_info *d = rex_dtype_get((rex_dtype)t);
        if (d->gguf >= 0 && (uint32_t)d->gguf == number) return (rex_dtype)t;
    }
    return REX_T_COUNT;
}

static rex_status take_tensor(cursor *c, rex_tensor *t, uint64_t *place) {
    uint32_t ndim;
    uint32_t type;
    c->in = (rex_str){ "a tensor's name", 15 };
    *t = (rex_tensor){ .ndim = 0 };
    REX_TRY(take_str(c, &t->name));
    c->in = t->name;
    REX_TRY(take_u32(c, &ndim));
    if (ndim > REX_DIMS) return wrong(c, "a tensor of more than 8 dimensions");
    t->ndim = (int)ndim;
    for (uint32_t i = 0; i < ndim; i++) {
        uint64_t d;
        REX_TRY(take_u64(c, &d));
        if (d > INT64_MAX) return wrong(c, "a dimension beyond 2^63");
        t->dim[ndim - 1 - i] = (int64_t)d;
    }
    REX_TRY(take_u32(c, &type));
    REX_TRY(take_u64(c, place));
    t->type = type_of(type);
    if (t->type == REX_T_COUNT)
        return rex_fail(c->e, REX_EUNSUP, (int64_t)c->at,
                        "gguf file %s: byte %llu: tensor '%.*s' has type number %u, which is not "
                        "known",
                        c->g->path, (unsigned long long)c->at, shown(t->name), t->name.p, type);
    uint64_t need;
    const rex_status s = rex_tensor_shape(t, &need, c->e);
    if (s != REX_OK) return rex_fail_in(c->e, s, "gguf file %s", c->g->path);
    t->data.n = (size_t)need;
    if (*place % c->g->align != 0)
        return rex_fail(c->e, REX_EFORMAT, (int64_t)c->at,
                        "gguf file %s: tensor '%.*s' begins at byte %llu of the data, which is no "
                        "multiple of the alignment %llu",
                        c->g->path, shown(t->name), t->name.p, (unsigned long long)*place,
                        (unsigned long long)c->g->align);
    return REX_OK;
}

static int by_place(const void *a, const void *b) {
    const rex_tensor *const *x = a;
    const rex_tensor *const *y = b;
    if ((*x)->data.p != (*y)->data.p) return (*x)->data.p < (*y)->data.p ? -1 : 1;
    return (*x)->data.n < (*y)->data.n ? -1 : (*x)->data.n > (*y)->data.n;
}

/* Data views, now that it is known where the data begins; then overlaps and names. */
static rex_status bind_tensors(cursor *c) {
    rex_gguf *g = c->g;
    const uint64_t start = (c->at + g->align - 1) / g->align * g->align;
    for (size_t i = 0; i < g->n; i++) {
        rex_tensor *t = &g->t[i];
        const uint64_t room = start > c->all.n ? 0 : c->all.n - start;
        if (start > c->all.n || g->place[i] > room || t->data.n > room - g->place[i])
            return rex_fail(c->e, REX_EFORMAT, (int64_t)start,
                            "gguf file %s: tensor '%.*s' needs %llu bytes at byte %llu of the "
                            "data, the "
                            "file has %llu: it is cut short or its header lies",
                            g->path, shown(t->name), t->name.p, (unsigned long long)t->data.n,
                            (unsigned long long)g->place[i], (unsigned long long)room);
        REX_TRY(rex_view_sub(c->all, start + g->place[i], t->data.n, &t->data, c->e));
        g->by_name[i] = t;
    }
    qsort(g->by_name, g->n, sizeof *g->by_name, by_place);
    for (size_t i = 1; i < g->n; i++) {
        const rex_tensor *a = g->by_name[i - 1];
        const rex_tensor *b = g->by_name[i];
        if (b->data.p < a->data.p + a->data.n)
            return rex_fail(c->e, REX_EFORMAT, (int64_t)(b->data.p - c->all.p),
                            "gguf file %s: tensors '%.*s' and '%.*s' overlap", g->path,
                            shown(a->name), a->name.p, shown(b->name), b->name.p);
    }
    qsort(g->by_name, g->n, sizeof *g->by_name, by_name);
    for (size_t i = 1; i < g->n; i++) {
        c->in = g->by_name[i]->name;
        if (rex_str_eq(c->in, g->by_name[i - 1]->name))
            return wrong(c, "a tensor's name that occurs twice");
    }
    return REX_OK;
}

static rex_status read_tensors(cursor *c, uint64_t n) {
    rex_gguf *g = c->g;
    g->t = rex_arena_zero(g->arena, (size_t)n + 1, sizeof *g->t, c->e);
    g->by_name = rex_arena_take(g->arena, (size_t)n + 1, sizeof *g->by_name, c->e);
    g->place = rex_arena_take(g->arena, (size_t)n + 1, sizeof *g->place, c->e);
    if (!g->t || !g->by_name || !g->place) return REX_ENOMEM;
    for (uint64_t i = 0; i < n; i++) REX_TRY(take_tensor(c, &g->t[i], &g->place[i]));
    g->n = (size_t)n;
    return bind_tensors(c);
}

/* ---- the handle ---- */

static rex_status read_file(rex_gguf *g, rex_err *e) {
    cursor c = { g, rex_map_view(g->map), 0, { "", 0 }, e };
    rex_view magic;
    uint64_t n_tensor;
    uint64_t n_meta;
    if (c.all.n < 4 || memcmp(c.all.p, "GGUF", 4) != 0)
        return rex_fail(e, REX_EFORMAT, 0,
                        "gguf file %s: does not begin with GGUF; it is no .gguf file", g->path);
    REX_TRY(take(&c, 4, &magic));
    REX_TRY(take_u32(&c, &g->version));
    if (g->version == 0x02000000 || g->version == 0x03000000)
        return rex_fail(e, REX_EUNSUP, 4,
                        "gguf file %s: is big-endian; gguf-convert-endian makes it little-endian",
                        g->path);
    if (g->version != 2 && g->version != 3)
        return rex_fail(e, REX_EUNSUP, 4, "gguf file %s: version %u, known are 2 and 3", g->path,
                        g->version);
    REX_TRY(take_u64(&c, &n_tensor));
    REX_TRY(take_u64(&c, &n_meta));
    const uint64_t left = c.all.n - c.at;
    if (n_meta > left / MIN_META || n_tensor > left / MIN_TENSOR)
        return rex_fail(e, REX_EFORMAT, 8,
                        "gguf file %s: byte 8: claims %llu tensors and %llu metadata entries, the "
                        "file has only %llu bytes",
                        g->path, (unsigned long long)n_tensor, (unsigned long long)n_meta,
                        (unsigned long long)c.all.n);
    REX_TRY(read_metas(&c, n_meta));
    return read_tensors(&c, n_tensor);
}

rex_status rex_gguf_open(const char *path, rex_gguf **out, rex_err *e) {
    *out = NULL;
    rex_gguf *g = rex_mem_take(1, sizeof *g, e);
    if (!g) return REX_ENOMEM;
    rex_str copy;
    rex_status s = rex_arena_open(0, &g->arena, e);
    if (s == REX_OK) s = rex_str_copy(g->arena, rex_str_of(path), &copy, e);
    if (s == REX_OK) {
        g->path = copy.p;
        s = rex_map_open(path, &g->map, e);
    }
    if (s == REX_OK) s = read_file(g, e);
    if (s != REX_OK) {
        rex_gguf_close(g);
        return s;
    }
    *out = g;
    return REX_OK;
}

uint32_t rex_gguf_version(const rex_gguf *g) { return g->version; }
size_t rex_gguf_count(const rex_gguf *g) { return g->n; }
size_t rex_gguf_meta_count(const rex_gguf *g) { return g->n_meta; }

const rex_tensor *rex_gguf_at(const rex_gguf *g, size_t i) {
    rex_assert(i < g->n);
    return &g->t[i];
}

const rex_gguf_meta *rex_gguf_meta_at(const rex_gguf *g, size_t i) {
    rex_assert(i < g->n_meta);
    return &g->meta[i];
}

const rex_tensor *rex_gguf_find(const rex_gguf *g, const char *name) {
    const rex_tensor key = { .name = rex_str_of(name) };
    const rex_tensor *const at = &key;
    const rex_tensor *const *hit = bsearch(&at, g->by_name, g->n, sizeof *g->by_name, by_name);
    return hit ? *hit : NULL;
}

const rex_gguf_meta *rex_gguf_meta_find(const rex_gguf *g, const char *key) {
    const rex_gguf_meta want = { .key = rex_str_of(key) };
    const rex_gguf_meta *const at = &want;
    const rex_gguf_meta *const *hit = bsearch(&at, g->by_key, g->n_meta, sizeof *g->by_key, by_key);
    return hit ? *hit : NULL;
}

void rex_gguf_drop(rex_gguf *g, const rex_tensor *t) { rex_map_drop(g->map, t->data); }

void rex_gguf_close(rex_gguf *g) {
    if (!g) return;
    rex_map_close(g->map);
    rex_arena_close(g->arena);
    rex_mem_free(g);
}

/* ---- metadata by sort ---- */

static bool is_int(rex_gguf_kind k) { return k <= REX_G_I32 || k == REX_G_U64 || k == REX_G_I64; }

static bool is_num(rex_gguf_kind k) { return is_int(k) || k == REX_G_F32 || k == REX_G_F64; }

int64_t rex_gguf_elem_i64(const rex_gguf_meta *m, uint64_t i) {
    rex_assert(i < m->n);
    const uint8_t *p = m->raw.p + i * kinds[m->elem].bytes;
    uint16_t h;
    uint32_t w;
    uint64_t d;
    switch (m->elem) {
    case REX_G_U8:
    case REX_G_BOOL: return *p;
    case REX_G_I8: return (int8_t)*p;
    case REX_G_U16: memcpy(&h, p, 2); return h;
    case REX_G_I16: memcpy(&h, p, 2); return (int16_t)h;
    case REX_G_U32: memcpy(&w, p, 4); return w;
    case REX_G_I32: memcpy(&w, p, 4); return (int32_t)w;
    case REX_G_U64:
    case REX_G_I64: memcpy(&d, p, 8); return (int64_t)d;
    case REX_G_F32:
    case REX_G_STR:
    case REX_G_ARR:
    case REX_G_F64:
    case REX_G_COUNT: break;
    }
    return 0;
}

double rex_gguf_elem_f64(const rex_gguf_meta *m, uint64_t i) {
    rex_assert(i < m->n);
    const uint8_t *p = m->raw.p + i * kinds[m->elem].bytes;
    if (m->elem == REX_G_F32) {
        float f;
        memcpy(&f, p, 4);
        return (double)f;
    }
    if (m->elem == REX_G_F64) {
        double d;
        memcpy(&d, p, 8);
        return d;
    }
    const int64_t v = rex_gguf_elem_i64(m, i);
    return m->elem == REX_G_U64 ? (double)(uint64_t)v : (double)v;
}

/* The entry, or a sentence that says what was expected. */
static rex_status need(const rex_gguf *g, const char *key, bool array, bool (*fits)(rex_gguf_kind),
                       rex_gguf_kind exact, const char *want, const rex_gguf_meta **out,
                       rex_err *e) {
    const rex_gguf_meta *m = rex_gguf_meta_find(g, key);
    if (!m)
        return rex_fail(e, REX_EFORMAT, -1, "gguf file %s: metadata key '%s' is missing", g->path,
                        key);
    const bool right = (m->kind == REX_G_ARR) == array && (fits ? fits(m->elem) : m->elem == exact);
    if (!right)
        return rex_fail(e, REX_EFORMAT, -1, "gguf file %s: metadata key '%s' is %s%s, expected %s",
                        g->path, key, m->kind == REX_G_ARR ? "an array of " : "",
                        kinds[m->elem].name, want);
    *out = m;
    return REX_OK;
}

rex_status rex_gguf_i64(const rex_gguf *g, const char *key, int64_t *out, rex_err *e) {
    const rex_gguf_meta *m;
    REX_TRY(need(g, key, false, is_int, REX_G_I64, "a whole number", &m, e));
    *out = rex_gguf_elem_i64(m, 0);
    if (m->elem == REX_G_U64 && *out < 0)
        return rex_fail(e, REX_EFORMAT, -1, "gguf file %s: metadata key '%s' is beyond 2^63",
                        g->path, key);
    return REX_OK;
}

rex_status rex_gguf_f64(const rex_gguf *g, const char *key, double *out, rex_err *e) {
    const rex_gguf_meta *m;
    REX_TRY(need(g, key, false, is_num, REX_G_F64, "a number", &m, e));
    *out = rex_gguf_elem_f64(m, 0);
    return REX_OK;
}

rex_status rex_gguf_bool(const rex_gguf *g, const char *key, bool *out, rex_err *e) {
    const rex_gguf_meta *m;
    REX_TRY(need(g, key, false, NULL, REX_G_BOOL, "a truth value", &m, e));
    *out = m->raw.p[0] != 0;
    return REX_OK;
}

rex_status rex_gguf_str(const rex_gguf *g, const char *key, rex_str *out, rex_err *e) {
    const rex_gguf_meta *m;
    REX_TRY(need(g, key, false, NULL, REX_G_STR, "a string", &m, e));
    *out = *m->str;
    return REX_OK;
}

rex_status rex_gguf_arr(const rex_gguf *g, const char *key, rex_gguf_kind want,
                        const rex_gguf_meta **out, rex_err *e) {
    if (want == REX_G_I64)
        return need(g, key, true, is_int, want, "an array of whole numbers", out, e);
    if (want == REX_G_F64) return need(g, key, true, is_num, want, "an array of numbers", out, e);
    return need(g, key, true, NULL, want, "an array of strings", out, e);
}
