/* SPDX-License-Identifier: MIT
 *
 * gguf_out.c: GGUF version 3 written, alignment 32. Metadata and the list of tensors are gathered
 * in memory; with the first byte of data the head goes out and the list is closed.
 * Invariant: the bytes that follow are exactly those declared, in that order, each tensor padded
 * with zeros to the alignment; anything else is told at commit and leaves no file.
 */
#include "formats.h"

#include <string.h>

enum { ALIGN = 32 };

struct rex_gguf_out {
    rex_out *out;              /* owned */
    rex_buf meta, list, slots; /* slots: an array of uint64_t, the bytes of each tensor */
    uint64_t n_meta, n_tensor;
    uint64_t place; /* where the next declared tensor will lie */
    uint64_t now;   /* the tensor that is being written */
    uint64_t got;   /* bytes of it so far */
    bool begun;
    rex_status bad;
    rex_err why;
};

rex_status rex_gguf_out_open(const char *path, rex_gguf_out **out, rex_err *e) {
    *out = NULL;
    rex_gguf_out *o = rex_mem_take(1, sizeof *o, e);
    if (!o) return REX_ENOMEM;
    rex_buf_init(&o->meta, 0);
    rex_buf_init(&o->list, 0);
    rex_buf_init(&o->slots, 0);
    const rex_status s = rex_out_open(path, &o->out, e);
    if (s != REX_OK) {
        rex_gguf_out_close(o);
        return s;
    }
    *out = o;
    return REX_OK;
}

/* The first thing that went wrong is the one that commit tells. */
static void sour(rex_gguf_out *o, rex_status s, const char *what) {
    if (o->bad == REX_OK) o->bad = rex_fail(&o->why, s, -1, "gguf file: %s", what);
}

static void put_str(rex_buf *b, rex_str s) {
    const uint64_t n = s.n;
    rex_buf_add(b, &n, 8);
    rex_buf_add(b, s.p, s.n);
}

static void put_u32(rex_buf *b, uint32_t v) { rex_buf_add(b, &v, 4); }
static void put_u64(rex_buf *b, uint64_t v) { rex_buf_add(b, &v, 8); }

static void put_key(rex_gguf_out *o, rex_str key, rex_gguf_kind kind) {
    if (o->begun) sour(o, REX_EBUG, "metadata after the data has begun");
    put_str(&o->meta, key);
    put_u32(&o->meta, kind);
    o->n_meta++;
}

static void put_arr(rex_gguf_out *o, const char *key, rex_gguf_kind elem, uint64_t n) {
    put_key(o, rex_str_of(key), REX_G_ARR);
    put_u32(&o->meta, elem);
    put_u64(&o->meta, n);
}

void rex_gguf_out_i64(rex_gguf_out *o, const char *key, rex_gguf_kind kind, int64_t v) {
    static const struct {
        rex_gguf_kind kind;
        size_t bytes;
        int64_t lo, hi;
    } ints[] = {
        { REX_G_U8, 1, 0, UINT8_MAX },   { REX_G_I8, 1, INT8_MIN, INT8_MAX },
        { REX_G_U16, 2, 0, UINT16_MAX }, { REX_G_I16, 2, INT16_MIN, INT16_MAX },
        { REX_G_U32, 4, 0, UINT32_MAX }, { REX_G_I32, 4, INT32_MIN, INT32_MAX },
        { REX_G_U64, 8, 0, INT64_MAX },  { REX_G_I64, 8, INT64_MIN, INT64_MAX },
    };
    for (size_t i = 0; i < sizeof ints / sizeof *ints; i++) {
        if (ints[i].kind != kind) continue;
        if (v < ints[i].lo || v > ints[i].hi)
            sour(o, REX_EARG, "a number that its kind cannot hold");
        put_key(o, rex_str_of(key), kind);
        rex_buf_add(&o->meta, &v, ints[i].bytes); /* little-endian: the low bytes come first */
        return;
    }
    sour(o, REX_EBUG, "a kind that is no whole number");
}

void rex_gguf_out_f32(rex_gguf_out *o, const char *key, float v) {
    put_key(o, rex_str_of(key), REX_G_F32);
    rex_buf_add(&o->meta, &v, 4);
}

void rex_gguf_out_bool(rex_gguf_out *o, const char *key, bool v) {
    const uint8_t byte = v;
    put_key(o, rex_str_of(key), REX_G_BOOL);
    rex_buf_add(&o->meta, &byte, 1);
}

void rex_gguf_out_str(rex_gguf_out *o, const char *key, rex_str v) {
    put_key(o, rex_str_of(key), REX_G_STR);
    put_str(&o->meta, v);
}

void rex_gguf_out_strs(rex_gguf_out *o, const char *key, const rex_str *v, size_t n) {
    put_arr(o, key, REX_G_STR, n);
    for (size_t i = 0; i < n; i++) put_str(&o->meta, v[i]);
}

void rex_gguf_out_i32s(rex_gguf_out *o, const char *key, const int32_t *v, size_t n) {
    put_arr(o, key, REX_G_I32, n);
    rex_buf_add(&o->meta, v, n * sizeof *v);
}

void rex_gguf_out_f32s(rex_gguf_out *o, const char *key, const float *v, size_t n) {
    put_arr(o, key, REX_G_F32, n);
    rex_buf_add(&o->meta, v, n * sizeof *v);
}

void rex_gguf_out_meta(rex_gguf_out *o, const rex_gguf_meta *m) {
    put_key(o, m->key, m->kind);
    if (m->kind == REX_G_ARR) {
        put_u32(&o->meta, m->elem);
        put_u64(&o->meta, m->n);
    } else if (m->kind == REX_G_STR) {
        put_u64(&o->meta, m->raw.n);
    }
    rex_buf_add(&o->meta, m->raw.p, m->raw.n);
}

void rex_gguf_out_tensor(rex_gguf_out *o, const rex_tensor *t) {
    rex_tensor d = *t;
    uint64_t bytes = 0;
    if (o->begun) sour(o, REX_EBUG, "a tensor declared after the data has begun");
    if (o->bad != REX_OK) return;
    const rex_dtype_info *info = rex_dtype_get(d.type);
    if (info->gguf < 0) {
        sour(o, REX_EUNSUP, "a tensor of a type that GGUF does not have");
        return;
    }
    o->bad = rex_tensor_shape(&d, &bytes, &o->why);
    if (o->bad != REX_OK) return;
    put_str(&o->list, d.name);
    put_u32(&o->list, (uint32_t)d.ndim);
    for (int i = d.ndim - 1; i >= 0; i--) put_u64(&o->list, (uint64_t)d.dim[i]);
    put_u32(&o->list, (uint32_t)info->gguf);
    put_u64(&o->list, o->place);
    put_u64(&o->slots, bytes);
    o->n_tensor++;
    if (__builtin_add_overflow(o->place, (bytes + ALIGN - 1) / ALIGN * ALIGN, &o->place))
        sour(o, REX_ELIMIT, "more than 2^64 bytes of tensors");
}

static void pad(rex_gguf_out *o, uint64_t at) {
    static const uint8_t zero[ALIGN];
    rex_out_add(o->out, zero, (size_t)((ALIGN - at % ALIGN) % ALIGN));
}

static void begin(rex_gguf_out *o) {
    if (o->begun) return;
    o->begun = true;
    if (o->bad == REX_OK) o->bad = rex_buf_check(&o->meta, &o->why);
    if (o->bad == REX_OK) o->bad = rex_buf_check(&o->list, &o->why);
    if (o->bad == REX_OK) o->bad = rex_buf_check(&o->slots, &o->why);
    if (o->bad != REX_OK) return;
    const uint32_t version = 3;
    rex_out_add(o->out, "GGUF", 4);
    rex_out_add(o->out, &version, 4);
    rex_out_add(o->out, &o->n_tensor, 8);
    rex_out_add(o->out, &o->n_meta, 8);
    rex_out_add(o->out, o->meta.p, o->meta.n);
    rex_out_add(o->out, o->list.p, o->list.n);
    pad(o, 24 + o->meta.n + o->list.n);
}

/* Steps over tensors that are complete (those of no bytes at once). */
static uint64_t bytes_left(rex_gguf_out *o) {
    while (o->now < o->n_tensor) {
        uint64_t bytes;
        memcpy(&bytes, o->slots.p + 8 * o->now, 8);
        if (o->got < bytes) return bytes - o->got;
        pad(o, bytes);
        o->now++;
        o->got = 0;
    }
    return 0;
}

void rex_gguf_out_add(rex_gguf_out *o, const void *p, size_t n) {
    const uint8_t *from = p;
    begin(o);
    while (n && o->bad == REX_OK) {
        const uint64_t left = bytes_left(o);
        if (left == 0) {
            sour(o, REX_EBUG, "more bytes of tensors than were declared");
            return;
        }
        const size_t m = n < left ? n : (size_t)left;
        rex_out_add(o->out, from, m);
        o->got += m;
        from += m;
        n -= m;
    }
}

rex_status rex_gguf_out_commit(rex_gguf_out *o, rex_err *e) {
    begin(o);
    if (o->bad == REX_OK && bytes_left(o) != 0)
        sour(o, REX_EBUG, "fewer bytes of tensors than were declared");
    rex_status s = o->bad;
    if (s == REX_OK) {
        rex_out *f = o->out;
        o->out = NULL; /* commit closes it, whatever comes of it */
        s = rex_out_commit(f, e);
    } else if (e) {
        *e = o->why;
    }
    rex_gguf_out_close(o);
    return s;
}

void rex_gguf_out_close(rex_gguf_out *o) {
    if (!o) return;
    rex_out_close(o->out);
    rex_buf_free(&o->meta);
    rex_buf_free(&o->list);
    rex_buf_free(&o->slots);
    rex_mem_free(o);
}
