/* SPDX-License-Identifier: MIT
 *
 * rows.c: matrices of features in files, for those who know no file formats. Reading: an .npy or
 * one tensor of a safetensors file, mapped, widened row by row. Writing: rows of unknown number go
 * to PATH.part, whose header (of fixed length) is patched when the number is known; then fsync and
 * rename. Invariant of the writer: PATH.part is always a header followed by packed rows, so that
 * after any kill the whole rows in it can be kept (the torn one is cut off), and nothing partial
 * ever bears the final name.
 */
#include "formats.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- reading ---- */

struct rex_rows {
    rex_npy *npy; /* one of these two; owned */
    rex_st *st;
    const rex_tensor *t;
    char *spec; /* owned */
};

static bool ends_in(rex_str s, const char *end) {
    const size_t n = strlen(end);
    return s.n >= n && memcmp(s.p + s.n - n, end, n) == 0;
}

static rex_status pick_tensor(rex_rows *r, const char *path, const char *name, rex_err *e) {
    REX_TRY(rex_st_open(path, &r->st, e));
    if (name) {
        r->t = rex_st_find(r->st, name);
        if (!r->t)
            return rex_fail(e, REX_EFORMAT, -1,
                            "features %s: there is no tensor of that name in the file", r->spec);
        return REX_OK;
    }
    const size_t n = rex_st_count(r->st);
    if (n != 1)
        return rex_fail(e, REX_EFORMAT, -1,
                        "features %s: the file holds %zu tensors; say which: %s#name", r->spec, n,
                        r->spec);
    r->t = rex_st_at(r->st, 0);
    return REX_OK;
}

/* `FILE.safetensors#name` is split at the '#' behind ".safetensors". The spec itself stays as
 * given: it names the rows in sentences. */
static rex_status open_spec(rex_rows *r, rex_err *e) {
    const char *at = strstr(r->spec, ".safetensors#");
    if (at) {
        const size_t n = (size_t)(at - r->spec) + strlen(".safetensors");
        char *path = rex_mem_take(1, n + 1, e);
        if (!path) return REX_ENOMEM;
        memcpy(path, r->spec, n);
        const rex_status s = pick_tensor(r, path, r->spec + n + 1, e);
        rex_mem_free(path);
        return s;
    }
    if (ends_in(rex_str_of(r->spec), ".safetensors")) return pick_tensor(r, r->spec, NULL, e);
    REX_TRY(rex_npy_open(r->spec, &r->npy, e));
    r->t = rex_npy_tensor(r->npy);
    return REX_OK;
}

static rex_status check_rows(const rex_rows *r, rex_err *e) {
    const rex_tensor *t = r->t;
    if (t->type > REX_T_F16)
        return rex_fail(e, REX_EUNSUP, -1, "features %s: %s, expected F16, BF16, F32 or F64",
                        r->spec, rex_dtype_get(t->type)->name);
    if (t->ndim != 2)
        return rex_fail(e, REX_EFORMAT, -1, "features %s: %d dimensions, expected 2 (rows, dim)",
                        r->spec, t->ndim);
    if (t->dim[1] == 0)
        return rex_fail(e, REX_EFORMAT, -1, "features %s: rows of no numbers", r->spec);
    return REX_OK;
}

rex_status rex_rows_open(const char *spec, rex_rows **out, rex_err *e) {
    *out = NULL;
    rex_rows *r = rex_mem_take(1, sizeof *r, e);
    if (!r) return REX_ENOMEM;
    r->spec = rex_mem_take(1, strlen(spec) + 1, e);
    rex_status s = r->spec ? REX_OK : REX_ENOMEM;
    if (s == REX_OK) {
        memcpy(r->spec, spec, strlen(spec) + 1);
        s = open_spec(r, e);
    }
    if (s == REX_OK) s = check_rows(r, e);
    if (s != REX_OK) {
        rex_rows_close(r);
        return s;
    }
    *out = r;
    return REX_OK;
}

int64_t rex_rows_count(const rex_rows *r) { return r->t->dim[0]; }
int64_t rex_rows_dim(const rex_rows *r) { return r->t->dim[1]; }
const char *rex_rows_type(const rex_rows *r) { return rex_dtype_get(r->t->type)->name; }
const char *rex_rows_spec(const rex_rows *r) { return r->spec; }

const void *rex_rows_data(const rex_rows *r) {
    return r->t->data.p;
}

const float *rex_rows_f32(const rex_rows *r) {
    const rex_tensor *t = r->t;
    if (t->type != REX_T_F32 || (uintptr_t)t->data.p % sizeof(float) != 0) return NULL;
    return (const float *)(const void *)t->data.p;
}

void rex_rows_get_f32(const rex_rows *r, int64_t first, int64_t n, float *out) {
    const rex_tensor *t = r->t;
    rex_assert(first >= 0 && n >= 0 && first <= t->rows && n <= t->rows - first);
    if (n) rex_dtype_widen(t->type, t->data.p + (size_t)first * t->row_bytes, n * t->cols, out);
}

void rex_rows_get_f64(const rex_rows *r, int64_t first, int64_t n, double *out) {
    const rex_tensor *t = r->t;
    rex_assert(first >= 0 && n >= 0 && first <= t->rows && n <= t->rows - first);
    const uint8_t *src = t->data.p + (size_t)first * t->row_bytes;
    const int64_t count = n * t->cols;
    if (t->type == REX_T_F64) {
        if (count) memcpy(out, src, 8 * (size_t)count);
        return;
    }
    float part[256];
    const int64_t bytes = rex_dtype_get(t->type)->bytes;
    for (int64_t i = 0; i < count; i += 256) {
        const int64_t m = count - i < 256 ? count - i : 256;
        rex_dtype_widen(t->type, src + i * bytes, m, part);
        for (int64_t k = 0; k < m; k++) out[i + k] = (double)part[k];
    }
}

void rex_rows_close(rex_rows *r) {
    if (!r) return;
    rex_npy_close(r->npy);
    rex_st_close(r->st);
    rex_mem_free(r->spec);
    rex_mem_free(r);
}

/* ---- writing ---- */

enum { CHUNK = 1 << 16 };

struct rex_rows_out {
    int fd; /* -1: none */
    bool keep, st;
    rex_dtype type;
    int64_t dim, rows;
    size_t row_bytes, head_n, n; /* n: bytes waiting in chunk */
    rex_status bad;
    int err;           /* errno of the first failure */
    char *path, *part; /* owned */
    rex_buf meta, head;
    uint8_t chunk[CHUNK];
};

void rex_rows_out_defaults(rex_rows_out_opts *o) {
    *o = (rex_rows_out_opts){ .size = sizeof *o, .resume = -1 };
}

static rex_status io_fail(const rex_rows_out *o, const char *what, int err, rex_err *e) {
    return rex_fail(e, REX_EIO, -1, "features %s: cannot %s: %s", o->part, what, strerror(err));
}

/* The head for `rows` rows, always of the same length for the same dim, type and meta. */
static rex_status make_head(rex_rows_out *o, int64_t rows, rex_err *e) {
    rex_buf_reset(&o->head);
    if (!o->st) {
        uint8_t head[REX_NPY_HEAD];
        rex_npy_head(head, o->type, rows, o->dim);
        rex_buf_add(&o->head, head, sizeof head);
        return rex_buf_check(&o->head, e);
    }
    uint64_t n = 0;
    rex_buf_add(&o->head, &n, 8);
    rex_buf_addf(&o->head, "{");
    if (o->meta.n) {
        rex_buf_add(&o->head, o->meta.p, o->meta.n);
        rex_buf_addf(&o->head, ",");
    }
    rex_buf_addf(&o->head,
                 "\"features\":{\"dtype\":\"%s\",\"shape\":[%lld,%lld],\"data_offsets\":[0,%lld]}}",
                 rex_dtype_get(o->type)->name, (long long)rows, (long long)o->dim,
                 (long long)rows * (long long)o->row_bytes);
    REX_TRY(rex_buf_check(&o->head, e));
    /* room for the largest numbers, so that the length never changes */
    const size_t digits = 2 * 20;
    const size_t fixed = 8 + (o->meta.n ? o->meta.n + 1 : 0) + 100 + digits + 20;
    const size_t want = (fixed + 63) / 64 * 64;
    rex_assert(o->head.n <= want);
    while (o->head.bad == REX_OK && o->head.n < want) rex_buf_add(&o->head, " ", 1);
    REX_TRY(rex_buf_check(&o->head, e));
    n = o->head.n - 8;
    memcpy(o->head.p, &n, 8);
    return REX_OK;
}

/* One member of the description as text: a string as it is, anything else as its source. */
static rex_status meta_text(rex_str meta, rex_str key, const rex_jval *v, rex_str *out,
                            rex_err *e) {
    if (v->kind != REX_J_STR) return rex_jscan(meta, &key, 1, out, e);
    *out = v->u.s;
    return REX_OK;
}

/* The npy's description is kept as it was given; for safetensors it becomes
 * `"__metadata__":{...}`, an object of strings. */
static rex_status make_meta(rex_rows_out *o, rex_arena *a, rex_str meta, rex_err *e) {
    rex_jval *v;
    REX_TRY(rex_json_parse(a, meta, "the description of the features", &v, e));
    if (v->kind != REX_J_OBJ)
        return rex_fail(e, REX_EARG, -1, "the description of the features is %s, not an object",
                        rex_json_kind_name(v->kind));
    if (v->n == 0) return REX_OK;
    if (!o->st) {
        rex_buf_add(&o->meta, meta.p, meta.n);
        return rex_buf_check(&o->meta, e);
    }
    rex_jw w;
    rex_buf_addf(&o->meta, "\"__metadata__\":");
    rex_jw_init(&w, &o->meta);
    rex_jw_obj(&w);
    for (uint32_t i = 0; i < v->n; i++) {
        rex_str text;
        REX_TRY(meta_text(meta, v->u.c.key[i], &v->u.c.item[i], &text, e));
        rex_jw_keys(&w, v->u.c.key[i]);
        rex_jw_str(&w, text);
    }
    rex_jw_obj_end(&w);
    return rex_buf_check(&o->meta, e);
}

static rex_status take_meta(rex_rows_out *o, rex_str meta, rex_err *e) {
    if (meta.n == 0) return REX_OK;
    rex_arena *a;
    REX_TRY(rex_arena_open(0, &a, e));
    const rex_status s = make_meta(o, a, meta, e);
    rex_arena_close(a);
    return s;
}

static int write_all(int fd, const void *p, size_t n) {
    const uint8_t *from = p;
    while (n) {
        const ssize_t k = write(fd, from, n);
        if (k < 0 && errno == EINTR) continue;
        if (k <= 0) return k < 0 ? errno : ENOSPC;
        from += k;
        n -= (size_t)k;
    }
    return 0;
}

static void spill(rex_rows_out *o) {
    if (o->bad == REX_OK && o->n) {
        o->err = write_all(o->fd, o->chunk, o->n);
        if (o->err) o->bad = REX_EIO;
    }
    o->n = 0;
}

/* The head at the start of the file; the position goes behind the last row. */
static rex_status put_head(rex_rows_out *o, int64_t rows, rex_err *e) {
    REX_TRY(make_head(o, rows, e));
    o->head_n = o->head.n;
    if (lseek(o->fd, 0, SEEK_SET) < 0) return io_fail(o, "seek", errno, e);
    const int err = write_all(o->fd, o->head.p, o->head.n);
    if (err) return io_fail(o, "write", err, e);
    if (lseek(o->fd, 0, SEEK_END) < 0) return io_fail(o, "seek", errno, e);
    return REX_OK;
}

static int read_all(int fd, uint8_t *p, size_t n) {
    size_t got = 0;
    while (got < n) {
        const ssize_t k = pread(fd, p + got, n - got, (off_t)got);
        if (k < 0 && errno == EINTR) continue;
        if (k < 0) return errno;
        if (k == 0) return EIO;
        got += (size_t)k;
    }
    return 0;
}

/* Is the head in the file the one we would write for `rows` rows? */
static rex_status same_head(rex_rows_out *o, const uint8_t *was, int64_t rows, bool *same,
                            rex_err *e) {
    REX_TRY(make_head(o, rows, e));
    *same = memcmp(was, o->head.p, o->head.n) == 0;
    return REX_OK;
}

static rex_status check_begun(rex_rows_out *o, uint8_t *was, int64_t *have, rex_err *e) {
    struct stat st;
    if (fstat(o->fd, &st) != 0) return io_fail(o, "look at the file", errno, e);
    bool same = false;
    if ((uint64_t)st.st_size >= o->head_n) {
        const int err = read_all(o->fd, was, o->head_n);
        if (err) return io_fail(o, "read", err, e);
        *have = (st.st_size - (off_t)o->head_n) / (off_t)o->row_bytes;
        REX_TRY(same_head(o, was, 0, &same, e));
        if (!same) REX_TRY(same_head(o, was, *have, &same, e));
    }
    if (!same)
        return rex_fail(e, REX_EFORMAT, 0,
                        "features %s: was begun with another dimension, type or description, or is "
                        "no file of features",
                        o->part);
    return REX_OK;
}

static rex_status take_up(rex_rows_out *o, int64_t rows, rex_err *e) {
    struct stat st;
    if (stat(o->part, &st) != 0 && stat(o->path, &st) == 0 && rename(o->path, o->part) != 0)
        return io_fail(o, "take up the finished file", errno, e);
    o->fd = open(o->part, O_RDWR | O_CLOEXEC);
    if (o->fd < 0) return io_fail(o, "open", errno, e);
    REX_TRY(make_head(o, 0, e));
    o->head_n = o->head.n;
    uint8_t *was = rex_mem_take(1, o->head_n, e);
    if (!was) return REX_ENOMEM;
    int64_t have = 0;
    const rex_status s = check_begun(o, was, &have, e);
    rex_mem_free(was);
    REX_TRY(s);
    if (have < rows)
        return rex_fail(e, REX_EFORMAT, -1,
                        "features %s: holds %lld whole rows, the records need %lld", o->part,
                        (long long)have, (long long)rows);
    if (ftruncate(o->fd, (off_t)o->head_n + (off_t)rows * (off_t)o->row_bytes) != 0)
        return io_fail(o, "cut", errno, e);
    o->rows = rows;
    return put_head(o, 0, e);
}

static rex_status begin(rex_rows_out *o, const char *path, const rex_rows_out_opts *opt,
                        rex_err *e) {
    const size_t n = strlen(path);
    o->path = rex_mem_take(1, n + 1, e);
    o->part = rex_mem_take(1, n + 6, e);
    if (!o->path || !o->part) return REX_ENOMEM;
    memcpy(o->path, path, n + 1);
    memcpy(o->part, path, n);
    memcpy(o->part + n, ".part", 6);
    o->st = ends_in(rex_str_of(path), ".safetensors");
    if (!o->st && !ends_in(rex_str_of(path), ".npy"))
        return rex_fail(e, REX_EARG, -1, "features %s: the name must end in .npy or .safetensors",
                        path);
    if (opt->dim <= 0 || opt->dim > (int64_t)1 << 40)
        return rex_fail(e, REX_EARG, -1, "features %s: rows of %lld numbers", path,
                        (long long)opt->dim);
    o->dim = opt->dim;
    o->type = opt->half ? REX_T_F16 : REX_T_F32;
    o->row_bytes = (size_t)o->dim * (size_t)rex_dtype_get(o->type)->bytes;
    o->keep = opt->resumable;
    REX_TRY(take_meta(o, opt->meta, e));
    if (opt->resume >= 0) return take_up(o, opt->resume, e);
    o->fd = open(o->part, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (o->fd < 0) return io_fail(o, "create", errno, e);
    return put_head(o, 0, e);
}

rex_status rex_rows_out_open(const char *path, const rex_rows_out_opts *opt, rex_rows_out **out,
                             rex_err *e) {
    *out = NULL;
    rex_rows_out *o = rex_mem_take(1, sizeof *o, e);
    if (!o) return REX_ENOMEM;
    o->fd = -1;
    rex_buf_init(&o->meta, 0);
    rex_buf_init(&o->head, 0);
    const rex_status s = begin(o, path, opt, e);
    if (s != REX_OK) {
        /* what another run left to be resumed stays, whatever was wrong with this attempt */
        if (opt->resume >= 0) o->keep = true;
        rex_rows_out_close(o);
        return s;
    }
    *out = o;
    return REX_OK;
}

void rex_rows_out_add(rex_rows_out *o, const float *row, int64_t n) {
    const size_t bytes = (size_t)rex_dtype_get(o->type)->bytes;
    int64_t left = n * o->dim;
    while (left && o->bad == REX_OK) {
        const int64_t room = (int64_t)((CHUNK - o->n) / bytes);
        const int64_t m = left < room ? left : room;
        rex_dtype_pack(o->type, row, m, o->chunk + o->n);
        o->n += (size_t)m * bytes;
        row += m;
        left -= m;
        if (o->n == CHUNK) spill(o);
    }
    o->rows += n;
}

int64_t rex_rows_out_count(const rex_rows_out *o) { return o->rows; }

rex_status rex_rows_out_flush(rex_rows_out *o, rex_err *e) {
    spill(o);
    return o->bad == REX_OK ? REX_OK : io_fail(o, "write", o->err, e);
}

static rex_status write_beside(const rex_rows_out *o, rex_err *e) {
    if (o->st || o->meta.n == 0) return REX_OK;
    const size_t n = strlen(o->path);
    char *path = rex_mem_take(1, n + 6, e);
    if (!path) return REX_ENOMEM;
    memcpy(path, o->path, n);
    memcpy(path + n, ".json", 6);
    rex_out *out;
    rex_status s = rex_out_open(path, &out, e);
    rex_mem_free(path);
    REX_TRY(s);
    rex_out_add(out, o->meta.p, o->meta.n);
    rex_out_add(out, "\n", 1);
    return rex_out_commit(out, e);
}

static rex_status finish(rex_rows_out *o, rex_err *e) {
    REX_TRY(rex_rows_out_flush(o, e));
    REX_TRY(put_head(o, o->rows, e));
    if (fsync(o->fd) != 0) return io_fail(o, "fsync", errno, e);
    REX_TRY(write_beside(o, e));
    if (rename(o->part, o->path) != 0) return io_fail(o, "rename", errno, e);
    return REX_OK;
}

rex_status rex_rows_out_commit(rex_rows_out *o, rex_err *e) {
    const rex_status s = finish(o, e);
    if (s == REX_OK) {
        (void)close(o->fd);
        o->fd = -1;
    }
    rex_rows_out_close(o);
    return s;
}

void rex_rows_out_close(rex_rows_out *o) {
    if (!o) return;
    if (o->fd >= 0) {
        if (o->keep) spill(o);
        (void)close(o->fd);
        if (!o->keep) (void)unlink(o->part);
    }
    rex_buf_free(&o->meta);
    rex_buf_free(&o->head);
    rex_mem_free(o->path);
    rex_mem_free(o->part);
    rex_mem_free(o);
}
