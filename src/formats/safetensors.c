/* SPDX-License-Identifier: MIT
 *
 * safetensors.c: a length of 8 bytes, a JSON object {"name": {"dtype", "shape", "data_offsets"},
 * ..., "__metadata__": {...}}, the data. One file, or the shards that an index names.
 * Invariant: in an open handle every tensor lies inside its file, has exactly the bytes of its
 * shape and type, and the tensors of one file tile its data from the first byte to the last (as
 * the format demands: what no tensor owns could hide anything). Names are unique.
 */
#include "formats.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_HEAD = 100000000, MAX_SHARDS = 4096 }; /* the first is the reference library's bound */

typedef struct {
    rex_map *map;
    rex_view data;
    const char *path;
} shard;

struct rex_st {
    rex_arena *arena; /* owned: names, tables */
    shard *shard;
    size_t n_shard;
    rex_tensor *t; /* by place */
    size_t n, room;
    const rex_tensor **by_name;
    rex_str *meta; /* 2 n_meta: key, value */
    size_t n_meta;
};

static int shown(rex_str s) { return (int)(s.n > 120 ? 120 : s.n); }

/* ---- one file ---- */

static rex_status read_meta(rex_st *s, const shard *f, const rex_jval *v, rex_err *e) {
    if (v->kind != REX_J_OBJ)
        return rex_fail(e, REX_EFORMAT, 8 + v->at,
                        "safetensors file %s: byte %lld: __metadata__ is %s, not an object of "
                        "strings",
                        f->path, (long long)(8 + v->at), rex_json_kind_name(v->kind));
    if (f != s->shard) return REX_OK; /* that of the first shard speaks for all */
    s->meta = rex_arena_take(s->arena, (size_t)v->n + 1, 2 * sizeof *s->meta, e);
    if (!s->meta) return REX_ENOMEM;
    for (uint32_t i = 0; i < v->n; i++) {
        const rex_jval *item = &v->u.c.item[i];
        if (item->kind != REX_J_STR)
            return rex_fail(e, REX_EFORMAT, 8 + item->at,
                            "safetensors file %s: byte %lld: __metadata__ '%.*s' is %s, not a "
                            "string",
                            f->path, (long long)(8 + item->at), shown(v->u.c.key[i]),
                            v->u.c.key[i].p, rex_json_kind_name(item->kind));
        s->meta[2 * i] = v->u.c.key[i];
        s->meta[2 * i + 1] = item->u.s;
    }
    s->n_meta = v->n;
    return REX_OK;
}

typedef struct {
    const shard *f;
    rex_str name;
    rex_err *e;
} place;

static rex_status wrong(const place *p, int64_t at, const char *what) {
    return rex_fail(p->e, REX_EFORMAT, 8 + at, "safetensors file %s: byte %lld: tensor '%.*s': %s",
                    p->f->path, (long long)(8 + at), shown(p->name), p->name.p, what);
}

/* A JSON number that is a whole number of at least 0. */
static rex_status whole(const place *p, const rex_jval *v, const char *what, int64_t *out) {
    if (v->kind != REX_J_NUM || rex_json_i64(v, what, out, NULL) != REX_OK || *out < 0)
        return wrong(p, v->at, what);
    return REX_OK;
}

static rex_status read_tensor(const place *p, const rex_jval *v, rex_tensor *t) {
    if (v->kind != REX_J_OBJ)
        return wrong(p, v->at, "expected an object with dtype, shape, data_offsets");
    const rex_jval *type = rex_json_get(v, "dtype");
    const rex_jval *dims = rex_json_get(v, "shape");
    const rex_jval *offs = rex_json_get(v, "data_offsets");
    if (!type || type->kind != REX_J_STR) return wrong(p, v->at, "dtype is missing or no string");
    if (!dims || dims->kind != REX_J_ARR) return wrong(p, v->at, "shape is missing or no array");
    if (!offs || offs->kind != REX_J_ARR || offs->n != 2)
        return wrong(p, v->at, "data_offsets is missing or no pair");
    *t = (rex_tensor){ .name = p->name, .type = rex_dtype_find(type->u.s) };
    if (t->type == REX_T_COUNT || rex_dtype_get(t->type)->block != 1)
        return rex_fail(p->e, REX_EUNSUP, 8 + type->at,
                        "safetensors file %s: byte %lld: tensor '%.*s': dtype '%.*s' is not known",
                        p->f->path, (long long)(8 + type->at), shown(p->name), p->name.p,
                        shown(type->u.s), type->u.s.p);
    if (dims->n > REX_DIMS) return wrong(p, dims->at, "more than 8 dimensions");
    t->ndim = (int)dims->n;
    for (uint32_t i = 0; i < dims->n; i++)
        REX_TRY(whole(p, &dims->u.c.item[i], "a dimension that is no whole number of at least 0",
                      &t->dim[i]));
    int64_t from;
    int64_t to;
    REX_TRY(whole(p, &offs->u.c.item[0], "an offset that is no whole number of at least 0", &from));
    REX_TRY(whole(p, &offs->u.c.item[1], "an offset that is no whole number of at least 0", &to));
    uint64_t need = 0;
    const rex_status s = rex_tensor_shape(t, &need, p->e);
    if (s != REX_OK) return rex_fail_in(p->e, s, "safetensors file %s", p->f->path);
    if (to < from) return wrong(p, offs->at, "data_offsets end before they begin");
    if ((uint64_t)(to - from) != need)
        return rex_fail(p->e, REX_EFORMAT, 8 + offs->at,
                        "safetensors file %s: byte %lld: tensor '%.*s': data_offsets span %lld "
                        "bytes, "
                        "its shape and type %s need %llu",
                        p->f->path, (long long)(8 + offs->at), shown(p->name), p->name.p,
                        (long long)(to - from), rex_dtype_get(t->type)->name,
                        (unsigned long long)need);
    if ((uint64_t)to > p->f->data.n)
        return rex_fail(p->e, REX_EFORMAT, 8 + offs->at,
                        "safetensors file %s: byte %lld: tensor '%.*s' ends at byte %lld of the "
                        "data, the "
                        "file has %llu: it is cut short or its header lies",
                        p->f->path, (long long)(8 + offs->at), shown(p->name), p->name.p,
                        (long long)to, (unsigned long long)p->f->data.n);
    return rex_view_sub(p->f->data, (uint64_t)from, need, &t->data, p->e);
}

static int by_place(const void *a, const void *b) {
    const rex_tensor *x = a;
    const rex_tensor *y = b;
    if (x->data.p != y->data.p) return x->data.p < y->data.p ? -1 : 1;
    return x->data.n < y->data.n ? -1 : x->data.n > y->data.n;
}

static rex_status check_tiling(const shard *f, const rex_tensor *t, size_t n, rex_err *e) {
    const uint8_t *end = f->data.p;
    for (size_t i = 0; i < n; i++) {
        const long long at = (long long)(t[i].data.p - f->data.p);
        if (t[i].data.p < end)
            return rex_fail(e, REX_EFORMAT, at,
                            "safetensors file %s: tensors '%.*s' and '%.*s' overlap at byte %lld "
                            "of the data",
                            f->path, shown(t[i - 1].name), t[i - 1].name.p, shown(t[i].name),
                            t[i].name.p, at);
        if (t[i].data.p > end)
            return rex_fail(e, REX_EFORMAT, at,
                            "safetensors file %s: %lld bytes of the data before tensor '%.*s' "
                            "belong to no tensor",
                            f->path, (long long)(t[i].data.p - end), shown(t[i].name), t[i].name.p);
        end = t[i].data.p + t[i].data.n;
    }
    const uint64_t used = (uint64_t)(end - f->data.p);
    if (used != f->data.n)
        return rex_fail(e, REX_EFORMAT, (int64_t)used,
                        "safetensors file %s: the tensors end at byte %llu of the data, the file "
                        "has %llu",
                        f->path, (unsigned long long)used, (unsigned long long)f->data.n);
    return REX_OK;
}

/* The head's JSON into the arena; sets the shard's data. */
static rex_status read_head(rex_st *s, shard *f, rex_jval **head, rex_err *e) {
    const rex_view all = rex_map_view(f->map);
    if (all.n < 8)
        return rex_fail(e, REX_EFORMAT, 0,
                        "safetensors file %s: %llu bytes, too short for a header", f->path,
                        (unsigned long long)all.n);
    uint64_t n;
    memcpy(&n, all.p, 8);
    if (n > MAX_HEAD || n > all.n - 8)
        return rex_fail(e, REX_EFORMAT, 0,
                        "safetensors file %s: byte 0: the header claims %llu bytes, the file has "
                        "%llu in all",
                        f->path, (unsigned long long)n, (unsigned long long)all.n);
    if (n == 0 || all.p[8] != '{')
        return rex_fail(e, REX_EFORMAT, 8,
                        "safetensors file %s: byte 8: the header does not begin with '{'", f->path);
    REX_TRY(rex_view_sub(all, 8 + n, all.n - 8 - n, &f->data, e));
    rex_str what;
    REX_TRY(rex_str_fmt(s->arena, &what, e, "header of safetensors file %s", f->path));
    return rex_json_parse(s->arena, (rex_str){ (const char *)all.p + 8, (size_t)n }, what.p, head,
                          e);
}

/* Room for n more tensors. The table lives in the arena: the old one is left behind. */
static rex_status reserve(rex_st *s, size_t n, rex_err *e) {
    if (s->room - s->n >= n) return REX_OK;
    const size_t room = s->n + n + (s->room ? s->room : 0);
    rex_tensor *t = rex_arena_take(s->arena, room, sizeof *t, e);
    if (!t) return REX_ENOMEM;
    if (s->n) memcpy(t, s->t, s->n * sizeof *t);
    s->t = t;
    s->room = room;
    return REX_OK;
}

/* What an index says: this tensor lies in that file. */
typedef struct {
    rex_str name, file;
} entry;

static int text_cmp(rex_str x, rex_str y) {
    const size_t n = x.n < y.n ? x.n : y.n;
    const int c = n ? memcmp(x.p, y.p, n) : 0;
    return c ? c : x.n < y.n ? -1 : x.n > y.n;
}

static int by_text(const void *a, const void *b) {
    return text_cmp(*(const rex_str *)a, *(const rex_str *)b);
}

static int by_entry(const void *a, const void *b) {
    return text_cmp(((const entry *)a)->name, ((const entry *)b)->name);
}

/* `list` (n_list entries sorted by name) or NULL; with it only the tensors that it places in this
 * file are kept (a shard may hold more: the index decides). All of them are checked. */
static rex_status read_shard(rex_st *s, shard *f, const entry *list, size_t n_list, rex_str file,
                             rex_err *e) {
    rex_jval *head;
    REX_TRY(rex_map_open(f->path, &f->map, e));
    REX_TRY(read_head(s, f, &head, e));
    rex_tensor *all = rex_arena_take(s->arena, (size_t)head->n + 1, sizeof *all, e);
    if (!all) return REX_ENOMEM;
    size_t n = 0;
    for (uint32_t i = 0; i < head->n; i++) {
        const rex_str name = head->u.c.key[i];
        if (rex_str_is(name, "__metadata__")) {
            REX_TRY(read_meta(s, f, &head->u.c.item[i], e));
            continue;
        }
        const place p = { f, name, e };
        REX_TRY(read_tensor(&p, &head->u.c.item[i], &all[n]));
        n++;
    }
    qsort(all, n, sizeof *all, by_place);
    REX_TRY(check_tiling(f, all, n, e));
    REX_TRY(reserve(s, n, e));
    for (size_t i = 0; i < n; i++) {
        if (list) {
            const entry key = { all[i].name, file };
            const entry *where = bsearch(&key, list, n_list, sizeof *list, by_entry);
            if (!where || !rex_str_eq(where->file, file)) continue;
        }
        s->t[s->n++] = all[i];
    }
    return REX_OK;
}

/* ---- the index ---- */

/* The weight_map as a table sorted by tensor name. */
static rex_status index_table(rex_st *s, const char *path, const rex_jval *map, entry **out,
                              rex_err *e) {
    if (!map || map->kind != REX_J_OBJ)
        return rex_fail(e, REX_EFORMAT, -1,
                        "index %s: no object 'weight_map' of tensor names and files", path);
    entry *list = rex_arena_take(s->arena, (size_t)map->n + 1, sizeof *list, e);
    if (!list) return REX_ENOMEM;
    for (uint32_t i = 0; i < map->n; i++) {
        const rex_jval *v = &map->u.c.item[i];
        const bool plain = v->kind == REX_J_STR && v->u.s.n && !memchr(v->u.s.p, '/', v->u.s.n) &&
                           !memchr(v->u.s.p, 0, v->u.s.n) && v->u.s.p[0] != '.';
        if (!plain)
            return rex_fail(e, REX_EFORMAT, v->at,
                            "index %s: byte %lld: tensor '%.*s' needs the plain name of a file in "
                            "the same folder",
                            path, (long long)v->at, shown(map->u.c.key[i]), map->u.c.key[i].p);
        list[i] = (entry){ map->u.c.key[i], v->u.s };
    }
    qsort(list, map->n, sizeof *list, by_entry);
    *out = list;
    return REX_OK;
}

/* The files of the table, each once, in the order of their names. */
static rex_status index_files(rex_st *s, const char *path, const entry *list, size_t n_list,
                              rex_str **out, size_t *n, rex_err *e) {
    rex_str *file = rex_arena_take(s->arena, n_list + 1, sizeof *file, e);
    if (!file) return REX_ENOMEM;
    for (size_t i = 0; i < n_list; i++) file[i] = list[i].file;
    qsort(file, n_list, sizeof *file, by_text);
    *n = 0;
    for (size_t i = 0; i < n_list; i++)
        if (*n == 0 || !rex_str_eq(file[i], file[*n - 1])) file[(*n)++] = file[i];
    if (*n > MAX_SHARDS)
        return rex_fail(e, REX_ELIMIT, -1, "index %s: %zu files, at most %d are read", path, *n,
                        MAX_SHARDS);
    *out = file;
    return REX_OK;
}

static rex_status read_index(rex_st *s, const char *path, rex_err *e) {
    rex_jval *root;
    REX_TRY(rex_json_load(s->arena, path, &root, e));
    const rex_jval *map = rex_json_get(root, "weight_map");
    entry *list = NULL;
    rex_str *file = NULL;
    size_t n = 0;
    REX_TRY(index_table(s, path, map, &list, e));
    REX_TRY(index_files(s, path, list, map->n, &file, &n, e));
    s->shard = rex_arena_zero(s->arena, n + 1, sizeof *s->shard, e);
    if (!s->shard) return REX_ENOMEM;
    const char *slash = strrchr(path, '/');
    const int folder = slash ? (int)(slash - path) + 1 : 0;
    for (size_t i = 0; i < n; i++) {
        rex_str full;
        REX_TRY(
            rex_str_fmt(s->arena, &full, e, "%.*s%.*s", folder, path, (int)file[i].n, file[i].p));
        shard *f = &s->shard[s->n_shard++];
        f->path = full.p;
        const rex_status st = read_shard(s, f, list, map->n, file[i], e);
        if (st != REX_OK) return rex_fail_in(e, st, "index %s", path);
    }
    if (s->n == map->n) return REX_OK;
    for (uint32_t i = 0; i < map->n; i++) {
        size_t k = 0;
        while (k < s->n && !rex_str_eq(s->t[k].name, list[i].name)) k++;
        if (k == s->n)
            return rex_fail(e, REX_EFORMAT, -1, "index %s: tensor '%.*s' is not in %.*s", path,
                            shown(list[i].name), list[i].name.p, shown(list[i].file),
                            list[i].file.p);
    }
    return REX_OK;
}

static rex_status read_one(rex_st *s, const char *path, rex_err *e) {
    s->shard = rex_arena_zero(s->arena, 1, sizeof *s->shard, e);
    rex_str copy;
    if (!s->shard) return REX_ENOMEM;
    REX_TRY(rex_str_copy(s->arena, rex_str_of(path), &copy, e));
    s->n_shard = 1;
    s->shard[0].path = copy.p;
    return read_shard(s, s->shard, NULL, 0, (rex_str){ "", 0 }, e);
}

/* ---- the handle ---- */

static bool ends_in(const char *s, const char *end) {
    const size_t n = strlen(s);
    const size_t m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

static rex_status read_path(rex_st *s, const char *path, rex_err *e) {
    struct stat st;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        rex_str one;
        rex_str index;
        REX_TRY(rex_str_fmt(s->arena, &one, e, "%s/model.safetensors", path));
        REX_TRY(rex_str_fmt(s->arena, &index, e, "%s/model.safetensors.index.json", path));
        if (stat(one.p, &st) == 0) return read_one(s, one.p, e);
        if (stat(index.p, &st) == 0) return read_index(s, index.p, e);
        return rex_fail(e, REX_EIO, -1,
                        "folder %s: neither model.safetensors nor model.safetensors.index.json",
                        path);
    }
    return ends_in(path, ".index.json") ? read_index(s, path, e) : read_one(s, path, e);
}

static int by_name(const void *a, const void *b) {
    const rex_tensor *const *x = a;
    const rex_tensor *const *y = b;
    return text_cmp((*x)->name, (*y)->name);
}

rex_status rex_st_open(const char *path, rex_st **out, rex_err *e) {
    *out = NULL;
    rex_st *s = rex_mem_take(1, sizeof *s, e);
    if (!s) return REX_ENOMEM;
    rex_status st = rex_arena_open(0, &s->arena, e);
    if (st == REX_OK) st = read_path(s, path, e);
    if (st == REX_OK) {
        s->by_name = rex_arena_take(s->arena, s->n + 1, sizeof *s->by_name, e);
        if (!s->by_name) st = REX_ENOMEM;
    }
    if (st != REX_OK) {
        rex_st_close(s);
        return st;
    }
    for (size_t i = 0; i < s->n; i++) s->by_name[i] = &s->t[i];
    qsort(s->by_name, s->n, sizeof *s->by_name, by_name);
    *out = s;
    return REX_OK;
}

size_t rex_st_count(const rex_st *s) { return s->n; }

const rex_tensor *rex_st_at(const rex_st *s, size_t i) {
    rex_assert(i < s->n);
    return &s->t[i];
}

const rex_tensor *rex_st_find(const rex_st *s, const char *name) {
    const rex_tensor key = { .name = rex_str_of(name) };
    const rex_tensor *const at = &key;
    const rex_tensor *const *hit = bsearch(&at, s->by_name, s->n, sizeof *s->by_name, by_name);
    return hit ? *hit : NULL;
}

size_t rex_st_meta_count(const rex_st *s) { return s->n_meta; }

void rex_st_meta_at(const rex_st *s, size_t i, rex_str *key, rex_str *value) {
    rex_assert(i < s->n_meta);
    *key = s->meta[2 * i];
    *value = s->meta[2 * i + 1];
}

rex_str rex_st_meta(const rex_st *s, const char *key) {
    for (size_t i = 0; i < s->n_meta; i++)
        if (rex_str_is(s->meta[2 * i], key)) return s->meta[2 * i + 1];
    return (rex_str){ NULL, 0 };
}

void rex_st_drop(rex_st *s, const rex_tensor *t) {
    for (size_t i = 0; i < s->n_shard; i++) {
        const rex_view all = s->shard[i].data;
        if (all.p && t->data.p >= all.p && t->data.p < all.p + all.n)
            rex_map_drop(s->shard[i].map, t->data);
    }
}

void rex_st_close(rex_st *s) {
    if (!s) return;
    for (size_t i = 0; i < s->n_shard; i++) rex_map_close(s->shard[i].map);
    rex_arena_close(s->arena);
    rex_mem_free(s);
}

/* ---- writing ---- */

struct rex_st_out {
    rex_out *out; /* owned */
    uint64_t want, got;
};

static rex_status put_head(rex_buf *b, const char *path, const rex_tensor *t, size_t n,
                           const rex_str *meta, size_t n_meta, uint64_t *bytes, rex_err *e) {
    rex_jw w;
    rex_jw_init(&w, b);
    rex_jw_obj(&w);
    if (n_meta) {
        rex_jw_key(&w, "__metadata__");
        rex_jw_obj(&w);
        for (size_t i = 0; i < n_meta; i++) {
            rex_jw_keys(&w, meta[2 * i]);
            rex_jw_str(&w, meta[2 * i + 1]);
        }
        rex_jw_obj_end(&w);
    }
    *bytes = 0;
    for (size_t i = 0; i < n; i++) {
        rex_tensor d = t[i];
        uint64_t need;
        REX_TRY(rex_tensor_shape(&d, &need, e));
        if (rex_dtype_get(d.type)->block != 1)
            return rex_fail(e, REX_EUNSUP, -1,
                            "safetensors file %s: tensor '%.*s': type %s has no place there", path,
                            shown(d.name), d.name.p, rex_dtype_get(d.type)->name);
        rex_jw_keys(&w, d.name);
        rex_jw_obj(&w);
        rex_jw_key(&w, "dtype");
        rex_jw_cstr(&w, rex_dtype_get(d.type)->name);
        rex_jw_key(&w, "shape");
        rex_jw_arr(&w);
        for (int k = 0; k < d.ndim; k++) rex_jw_i64(&w, d.dim[k]);
        rex_jw_arr_end(&w);
        rex_jw_key(&w, "data_offsets");
        rex_jw_arr(&w);
        rex_jw_i64(&w, (int64_t)*bytes);
        if (__builtin_add_overflow(*bytes, need, bytes) || *bytes > INT64_MAX)
            return rex_fail(e, REX_ELIMIT, -1,
                            "safetensors file %s: more than 2^63 bytes of tensors", path);
        rex_jw_i64(&w, (int64_t)*bytes);
        rex_jw_arr_end(&w);
        rex_jw_obj_end(&w);
    }
    rex_jw_obj_end(&w);
    /* the data begins at a multiple of 64 bytes, so that a mapped f32 row can be read in place */
    while (b->bad == REX_OK && (b->n + 8) % 64 != 0) rex_buf_add(b, " ", 1);
    REX_TRY(rex_buf_check(b, e));
    if (b->n > MAX_HEAD)
        return rex_fail(e, REX_ELIMIT, -1,
                        "safetensors file %s: a header of %zu bytes, readers take %d", path, b->n,
                        MAX_HEAD);
    return REX_OK;
}

/* A name twice would be a file that we ourselves refuse to read. */
static rex_status check_names(const char *path, const rex_tensor *t, size_t n, rex_err *e) {
    const rex_tensor **p = rex_mem_take(n + 1, sizeof *p, e);
    if (!p) return REX_ENOMEM;
    for (size_t i = 0; i < n; i++) p[i] = &t[i];
    qsort(p, n, sizeof *p, by_name);
    rex_status s = REX_OK;
    for (size_t i = 0; i < n && s == REX_OK; i++)
        if ((i && rex_str_eq(p[i]->name, p[i - 1]->name)) || rex_str_is(p[i]->name, "__metadata__"))
            s = rex_fail(e, REX_EARG, -1, "safetensors file %s: tensor name '%.*s' is taken", path,
                         shown(p[i]->name), p[i]->name.p);
    rex_mem_free(p);
    return s;
}

rex_status rex_st_out_open(const char *path, const rex_tensor *t, size_t n, const rex_str *meta,
                           size_t n_meta, rex_st_out **out, rex_err *e) {
    *out = NULL;
    REX_TRY(check_names(path, t, n, e));
    rex_st_out *o = rex_mem_take(1, sizeof *o, e);
    if (!o) return REX_ENOMEM;
    rex_buf head;
    rex_buf_init(&head, 0);
    rex_status s = put_head(&head, path, t, n, meta, n_meta, &o->want, e);
    if (s == REX_OK) s = rex_out_open(path, &o->out, e);
    if (s == REX_OK) {
        const uint64_t len = head.n;
        rex_out_add(o->out, &len, 8);
        rex_out_add(o->out, head.p, head.n);
        *out = o;
    } else {
        rex_st_out_close(o);
    }
    rex_buf_free(&head);
    return s;
}

void rex_st_out_add(rex_st_out *o, const void *p, size_t n) {
    o->got += n;
    if (o->got <= o->want) rex_out_add(o->out, p, n);
}

rex_status rex_st_out_commit(rex_st_out *o, rex_err *e) {
    rex_status s = REX_OK;
    if (o->got != o->want) {
        s = rex_fail(e, REX_EBUG, -1, "safetensors file: %llu bytes given, %llu declared",
                     (unsigned long long)o->got, (unsigned long long)o->want);
    } else {
        rex_out *f = o->out;
        o->out = NULL; /* commit closes it, whatever comes of it */
        s = rex_out_commit(f, e);
    }
    rex_st_out_close(o);
    return s;
}

void rex_st_out_close(rex_st_out *o) {
    if (!o) return;
    rex_out_close(o->out);
    rex_mem_free(o);
}
