/* SPDX-License-Identifier: MIT
 *
 * GGUF: golden values of the Python package, metadata by sort, round trips, every way in which a
 * file can lie, allocations that fail.
 */
#include "rex_test.h"

#include "../src/formats/formats.h"

#include <unistd.h>

#define GOLDEN "tests/golden/quant.gguf"

static const rex_tensor *must(const rex_gguf *g, const char *name) {
    const rex_tensor *t = rex_gguf_find(g, name);
    if (!t) ck_abort_msg("no tensor %s", name);
    return t;
}

START_TEST(t_gguf_widens_as_python) {
    static const char *const types[] = { "F16",  "BF16", "Q4_0", "Q4_1", "Q5_0",
                                         "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K" };
    rex_err e;
    rex_gguf *g;
    CHECK_OK(rex_gguf_open(GOLDEN, &g, &e), e);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        char wide[32];
        snprintf(wide, sizeof wide, "%s.f32", types[i]);
        const rex_tensor *t = must(g, types[i]);
        const rex_tensor *w = must(g, wide);
        CHECK_EQ(t->rows, w->rows);
        CHECK_EQ(t->cols, w->cols);
        CHECK_TEXT(rex_str_of(rex_dtype_get(t->type)->name), types[i]);
        float got[512];
        for (int64_t r = 0; r < t->rows; r++) {
            rex_tensor_get_f32(t, r, 0, t->cols, got);
            CHECK_MEM(got, w->data.p + (size_t)r * w->row_bytes, w->row_bytes);
        }
        /* a part of a row, at the last block */
        const int block = rex_dtype_get(t->type)->block;
        const int64_t at = t->cols - block;
        rex_tensor_get_f32(t, 1, at, block, got);
        CHECK_MEM(got, w->data.p + w->row_bytes + 4 * (size_t)at, 4 * (size_t)block);
    }
    rex_gguf_close(g);
}
END_TEST

START_TEST(t_gguf_packs_q8_0_as_python) {
    rex_err e;
    rex_gguf *g;
    CHECK_OK(rex_gguf_open(GOLDEN, &g, &e), e);
    const rex_tensor *src = must(g, "pack.f32");
    const rex_tensor *want = must(g, "pack.q8_0");
    for (int64_t r = 0; r < src->rows; r++) {
        float row[64];
        uint8_t got[68];
        rex_tensor_get_f32(src, r, 0, 64, row);
        rex_dtype_pack(REX_T_Q8_0, row, 64, got);
        CHECK_MEM(got, want->data.p + (size_t)r * want->row_bytes, sizeof got);
    }
    rex_gguf_close(g);
}
END_TEST

START_TEST(t_gguf_metadata_by_sort) {
    rex_err e;
    rex_gguf *g;
    int64_t v = 0;
    double d = 0;
    bool yes = false;
    rex_str s;
    const rex_gguf_meta *m;
    CHECK_OK(rex_gguf_open(GOLDEN, &g, &e), e);
    CHECK_EQ(rex_gguf_version(g), 3);
    static const struct {
        const char *key;
        int64_t v;
    } ints[] = { { "golden.u8", 200 },          { "golden.i8", -100 },
                 { "golden.u16", 60000 },       { "golden.i16", -30000 },
                 { "golden.u32", 4000000000 },  { "golden.i32", -2000000000 },
                 { "golden.i64", -(1LL << 62) } };
    for (size_t i = 0; i < sizeof ints / sizeof *ints; i++) {
        CHECK_OK(rex_gguf_i64(g, ints[i].key, &v, &e), e);
        CHECK_EQ(v, ints[i].v);
        CHECK_OK(rex_gguf_f64(g, ints[i].key, &d, &e), e);
        CHECK_CLOSE(d, (double)ints[i].v, 1, 0);
    }
    CHECK_STATUS(rex_gguf_i64(g, "golden.u64", &v, &e), REX_EFORMAT);
    CHECK_HAS(e.text, "golden.u64");
    CHECK_OK(rex_gguf_f64(g, "golden.u64", &d, &e), e);
    CHECK_CLOSE(d, 9223372036854775813.0, 1, 0);
    CHECK_OK(rex_gguf_f64(g, "golden.f32", &d, &e), e);
    CHECK_CLOSE(d, (double)0.1f, 1, 0);
    CHECK_OK(rex_gguf_f64(g, "golden.f64", &d, &e), e);
    CHECK_CLOSE(d, 0.1, 1, 0);
    CHECK_OK(rex_gguf_bool(g, "golden.yes", &yes, &e), e);
    CHECK(yes);
    CHECK_OK(rex_gguf_str(g, "golden.text", &s, &e), e);
    CHECK_TEXT(s, "na\xc3\xafve \xe2\x98\x83");
    CHECK_OK(rex_gguf_arr(g, "golden.ints", REX_G_I64, &m, &e), e);
    CHECK_EQ(m->n, 3);
    CHECK_EQ(rex_gguf_elem_i64(m, 1), -2);
    CHECK_OK(rex_gguf_arr(g, "golden.floats", REX_G_F64, &m, &e), e);
    CHECK_CLOSE(rex_gguf_elem_f64(m, 1), -0.25, 1, 0);
    CHECK_OK(rex_gguf_arr(g, "golden.words", REX_G_STR, &m, &e), e);
    CHECK_EQ(m->n, 3);
    CHECK_TEXT(m->str[0], "");
    CHECK_TEXT(m->str[2], "two words");
    /* the wrong sort is a sentence that names file, key and what was found */
    CHECK_STATUS(rex_gguf_i64(g, "golden.text", &v, &e), REX_EFORMAT);
    CHECK_HAS(e.text, "quant.gguf: metadata key 'golden.text' is STR, expected a whole number");
    CHECK_STATUS(rex_gguf_str(g, "golden.words", &s, &e), REX_EFORMAT);
    CHECK_HAS(e.text, "an array of STR");
    CHECK_STATUS(rex_gguf_arr(g, "golden.ints", REX_G_STR, &m, &e), REX_EFORMAT);
    CHECK_STATUS(rex_gguf_bool(g, "golden.u8", &yes, &e), REX_EFORMAT);
    CHECK_STATUS(rex_gguf_f64(g, "no.such.key", &d, &e), REX_EFORMAT);
    CHECK_HAS(e.text, "'no.such.key' is missing");
    CHECK(!rex_gguf_find(g, "no such tensor"));
    rex_gguf_close(g);
}
END_TEST

START_TEST(t_gguf_reads_stories260k) {
    NEED_DATA(path, "models/stories260K/stories260K.gguf");
    rex_err e;
    rex_gguf *g;
    int64_t v;
    const rex_gguf_meta *m;
    CHECK_OK(rex_gguf_open(path, &g, &e), e);
    CHECK_EQ(rex_gguf_count(g), 48);
    CHECK_OK(rex_gguf_i64(g, "llama.block_count", &v, &e), e);
    CHECK_EQ(v, 5);
    CHECK_OK(rex_gguf_arr(g, "tokenizer.ggml.tokens", REX_G_STR, &m, &e), e);
    CHECK_EQ(m->n, 512);
    const rex_tensor *t = must(g, "token_embd.weight");
    CHECK_EQ(t->ndim, 2);
    CHECK_EQ(t->dim[0], 512);
    CHECK_EQ(t->dim[1], 64);
    rex_gguf_drop(g, t);
    float row[64];
    rex_tensor_get_f32(t, 511, 0, 64, row); /* dropped pages come back */
    rex_gguf_close(g);
}
END_TEST

/* Everything of a file written again, byte for byte the same tensors and metadata. */
static rex_status copy(const char *from, const char *to, rex_err *e) {
    rex_gguf *g;
    rex_gguf_out *o;
    REX_TRY(rex_gguf_open(from, &g, e));
    rex_status s = rex_gguf_out_open(to, &o, e);
    if (s == REX_OK) {
        for (size_t i = 0; i < rex_gguf_meta_count(g); i++)
            rex_gguf_out_meta(o, rex_gguf_meta_at(g, i));
        for (size_t i = 0; i < rex_gguf_count(g); i++) rex_gguf_out_tensor(o, rex_gguf_at(g, i));
        for (size_t i = 0; i < rex_gguf_count(g); i++) {
            const rex_view d = rex_gguf_at(g, i)->data;
            rex_gguf_out_add(o, d.p, d.n / 2); /* in pieces */
            rex_gguf_out_add(o, d.p + d.n / 2, d.n - d.n / 2);
        }
        s = rex_gguf_out_commit(o, e);
    }
    rex_gguf_close(g);
    return s;
}

START_TEST(t_gguf_round_trip) {
    rex_err e;
    rex_gguf *a;
    rex_gguf *b;
    const char *to = rex_test_tmp("copy.gguf");
    CHECK_OK(copy(GOLDEN, to, &e), e);
    CHECK_OK(rex_gguf_open(GOLDEN, &a, &e), e);
    CHECK_OK(rex_gguf_open(to, &b, &e), e);
    CHECK_EQ(rex_gguf_count(b), rex_gguf_count(a));
    CHECK_EQ(rex_gguf_meta_count(b), rex_gguf_meta_count(a));
    for (size_t i = 0; i < rex_gguf_meta_count(a); i++) {
        const rex_gguf_meta *x = rex_gguf_meta_at(a, i);
        const rex_gguf_meta *y = rex_gguf_meta_at(b, i);
        CHECK(rex_str_eq(x->key, y->key));
        CHECK_EQ(x->kind, y->kind);
        CHECK_EQ(x->elem, y->elem);
        CHECK_EQ(x->raw.n, y->raw.n);
        CHECK_MEM(y->raw.p, x->raw.p, x->raw.n);
    }
    for (size_t i = 0; i < rex_gguf_count(a); i++) {
        const rex_tensor *x = rex_gguf_at(a, i);
        const rex_tensor *y = rex_gguf_at(b, i);
        CHECK(rex_str_eq(x->name, y->name));
        CHECK_EQ(x->type, y->type);
        CHECK_EQ(x->rows, y->rows);
        CHECK_EQ(x->cols, y->cols);
        CHECK_EQ(x->data.n, y->data.n);
        CHECK_EQ((uintptr_t)y->data.p % 32, 0);
        CHECK_MEM(y->data.p, x->data.p, x->data.n);
    }
    rex_gguf_close(a);
    rex_gguf_close(b);
}
END_TEST

START_TEST(t_gguf_writer_kinds) {
    rex_err e;
    rex_gguf_out *o;
    rex_gguf *g;
    int64_t v;
    double d;
    bool yes;
    rex_str s;
    const rex_gguf_meta *m;
    const char *path = rex_test_tmp("kinds.gguf");
    const rex_str words[] = { { "a", 1 }, { "", 0 } };
    const float floats[] = { 1.5f, -2.0f };
    const int32_t ints[] = { 7, -8 };
    CHECK_OK(rex_gguf_out_open(path, &o, &e), e);
    rex_gguf_out_i64(o, "a.u8", REX_G_U8, 255);
    rex_gguf_out_i64(o, "a.i64", REX_G_I64, INT64_MIN);
    rex_gguf_out_f32(o, "a.f32", 0.25f);
    rex_gguf_out_bool(o, "a.bool", true);
    rex_gguf_out_str(o, "a.str", rex_str_of("text"));
    rex_gguf_out_strs(o, "a.strs", words, 2);
    rex_gguf_out_i32s(o, "a.i32s", ints, 2);
    rex_gguf_out_f32s(o, "a.f32s", floats, 2);
    const rex_tensor t = {
        .name = rex_str_of("none"), .type = REX_T_F32, .ndim = 2, .dim = { 0, 3 }
    };
    const rex_tensor u = { .name = rex_str_of("one"), .type = REX_T_F32, .ndim = 1, .dim = { 2 } };
    rex_gguf_out_tensor(o, &t);
    rex_gguf_out_tensor(o, &u);
    rex_gguf_out_add(o, floats, sizeof floats);
    CHECK_OK(rex_gguf_out_commit(o, &e), e);
    CHECK_OK(rex_gguf_open(path, &g, &e), e);
    CHECK_OK(rex_gguf_i64(g, "a.u8", &v, &e), e);
    CHECK_EQ(v, 255);
    CHECK_OK(rex_gguf_i64(g, "a.i64", &v, &e), e);
    CHECK(v == INT64_MIN);
    CHECK_OK(rex_gguf_f64(g, "a.f32", &d, &e), e);
    CHECK_CLOSE(d, 0.25, 1, 0);
    CHECK_OK(rex_gguf_bool(g, "a.bool", &yes, &e), e);
    CHECK(yes);
    CHECK_OK(rex_gguf_str(g, "a.str", &s, &e), e);
    CHECK_TEXT(s, "text");
    CHECK_OK(rex_gguf_arr(g, "a.strs", REX_G_STR, &m, &e), e);
    CHECK_TEXT(m->str[0], "a");
    CHECK_OK(rex_gguf_arr(g, "a.i32s", REX_G_I64, &m, &e), e);
    CHECK_EQ(rex_gguf_elem_i64(m, 1), -8);
    CHECK_OK(rex_gguf_arr(g, "a.f32s", REX_G_F64, &m, &e), e);
    CHECK_CLOSE(rex_gguf_elem_f64(m, 0), 1.5, 1, 0);
    CHECK_EQ(must(g, "none")->rows, 0);
    CHECK_MEM(must(g, "one")->data.p, floats, sizeof floats);
    rex_gguf_close(g);
}
END_TEST

START_TEST(t_gguf_writer_tells_misuse) {
    rex_err e;
    rex_gguf_out *o;
    const float x[3] = { 1, 2, 3 };
    const rex_tensor u = { .name = rex_str_of("one"), .type = REX_T_F32, .ndim = 1, .dim = { 2 } };
    const rex_tensor odd = {
        .name = rex_str_of("odd"), .type = REX_T_Q8_0, .ndim = 1, .dim = { 33 }
    };
    const char *path = rex_test_tmp("never.gguf");
    for (int how = 0; how < 5; how++) {
        CHECK_OK(rex_gguf_out_open(path, &o, &e), e);
        if (how == 3) rex_gguf_out_i64(o, "a", REX_G_U8, 256);
        rex_gguf_out_tensor(o, how == 4 ? &odd : &u);
        if (how == 0) rex_gguf_out_add(o, x, 4);
        if (how == 1) rex_gguf_out_add(o, x, 12);
        if (how == 2) {
            rex_gguf_out_add(o, x, 8);
            rex_gguf_out_bool(o, "late", true);
        }
        const rex_status want = how == 3 ? REX_EARG : how == 4 ? REX_EFORMAT : REX_EBUG;
        CHECK_STATUS(rex_gguf_out_commit(o, &e), want);
        CHECK(access(path, F_OK) != 0);
    }
    CHECK_OK(rex_gguf_out_open(path, &o, &e), e);
    rex_gguf_out_close(o); /* without commit: no file */
    CHECK(access(path, F_OK) != 0);
}
END_TEST

/* ---- files that lie ---- */

static void put(rex_buf *b, const void *p, size_t n) { rex_buf_add(b, p, n); }
static void u32(rex_buf *b, uint32_t v) { put(b, &v, 4); }
static void u64(rex_buf *b, uint64_t v) { put(b, &v, 8); }
static void str(rex_buf *b, const char *s) {
    u64(b, strlen(s));
    put(b, s, strlen(s));
}

static void head(rex_buf *b, uint32_t version, uint64_t n_tensor, uint64_t n_meta) {
    put(b, "GGUF", 4);
    u32(b, version);
    u64(b, n_tensor);
    u64(b, n_meta);
}

static void tensor(rex_buf *b, const char *name, uint64_t rows, uint64_t cols, uint32_t type,
                   uint64_t at) {
    str(b, name);
    u32(b, 2);
    u64(b, cols);
    u64(b, rows);
    u32(b, type);
    u64(b, at);
}

static void pad(rex_buf *b, size_t more) {
    static const uint8_t zero[4096];
    put(b, zero, (32 - b->n % 32) % 32);
    put(b, zero, more);
}

static void refused(rex_buf *b, rex_status want, const char *part) {
    rex_err e = { REX_OK, -1, "" };
    rex_gguf *g;
    const char *path = rex_test_file("lie.gguf", b->p, b->n);
    CHECK_STATUS(rex_gguf_open(path, &g, &e), want);
    CHECK(!g);
    CHECK_HAS(e.text, "lie.gguf");
    CHECK_HAS(e.text, part);
    rex_buf_reset(b);
}

START_TEST(t_gguf_refuses_bad_heads) {
    rex_buf b;
    rex_buf_init(&b, 0);
    put(&b, "GGML", 4);
    refused(&b, REX_EFORMAT, "does not begin with GGUF");
    put(&b, "GG", 2);
    refused(&b, REX_EFORMAT, "does not begin with GGUF");
    put(&b, "GGUF\x03\x00", 6);
    refused(&b, REX_EFORMAT, "byte 4");
    head(&b, 1, 0, 0);
    refused(&b, REX_EUNSUP, "version 1");
    head(&b, 4, 0, 0);
    refused(&b, REX_EUNSUP, "version 4");
    head(&b, 0x03000000, 0, 0);
    refused(&b, REX_EUNSUP, "big-endian");
    head(&b, 3, 1ull << 40, 0);
    refused(&b, REX_EFORMAT, "claims 1099511627776 tensors");
    head(&b, 3, 0, 1ull << 40);
    refused(&b, REX_EFORMAT, "1099511627776 metadata entries");
    rex_buf_free(&b);
}
END_TEST

START_TEST(t_gguf_refuses_bad_metadata) {
    rex_buf b;
    rex_buf_init(&b, 0);
    head(&b, 3, 0, 1);
    u64(&b, 1ull << 62); /* a key of 4 exabytes */
    pad(&b, 64);
    refused(&b, REX_EFORMAT, "a metadata key: needs 4611686018427387904 bytes");
    head(&b, 3, 0, 1);
    str(&b, "k");
    u32(&b, 13);
    pad(&b, 64);
    refused(&b, REX_EFORMAT, "k: a metadata value of a kind that is not known");
    head(&b, 3, 0, 1);
    str(&b, "flag");
    u32(&b, REX_G_BOOL);
    put(&b, "\x02", 1);
    pad(&b, 64);
    refused(&b, REX_EFORMAT, "flag: a truth value");
    head(&b, 3, 0, 1);
    str(&b, "words");
    u32(&b, REX_G_ARR);
    u32(&b, REX_G_STR);
    u64(&b, 1ull << 60);
    pad(&b, 64);
    refused(&b, REX_EFORMAT, "words: an array of more elements");
    head(&b, 3, 0, 1);
    str(&b, "ints");
    u32(&b, REX_G_ARR);
    u32(&b, REX_G_I64);
    u64(&b, UINT64_MAX / 4);
    pad(&b, 64);
    refused(&b, REX_EFORMAT, "ints: an array of more elements");
    head(&b, 3, 0, 1);
    str(&b, "deep");
    u32(&b, REX_G_ARR);
    for (int i = 0; i < 5; i++) {
        u32(&b, REX_G_ARR);
        u64(&b, 1);
    }
    pad(&b, 64);
    refused(&b, REX_EFORMAT, "deep: arrays nested");
    head(&b, 3, 0, 2);
    for (int i = 0; i < 2; i++) {
        str(&b, "twice");
        u32(&b, REX_G_U8);
        put(&b, "\x01", 1);
    }
    pad(&b, 64);
    refused(&b, REX_EFORMAT, "twice: a metadata key that occurs twice");
    head(&b, 3, 0, 1);
    str(&b, "general.alignment");
    u32(&b, REX_G_U32);
    u32(&b, 48);
    pad(&b, 64);
    refused(&b, REX_EFORMAT, "power of two");
    rex_buf_free(&b);
}
END_TEST

START_TEST(t_gguf_refuses_bad_tensors) {
    rex_buf b;
    rex_buf_init(&b, 0);
    head(&b, 3, 1, 0);
    tensor(&b, "w", 2, 33, 8, 0);
    pad(&b, 256);
    refused(&b, REX_EFORMAT, "tensor 'w': rows of 33 elements, Q8_0 needs a multiple of 32");
    head(&b, 3, 1, 0);
    tensor(&b, "w", 2, 8, 4, 0); /* a type that was withdrawn */
    pad(&b, 256);
    refused(&b, REX_EUNSUP, "type number 4");
    head(&b, 3, 1, 0);
    tensor(&b, "w", 1ull << 40, 1ull << 30, 0, 0);
    pad(&b, 256);
    refused(&b, REX_EFORMAT, "overflows");
    head(&b, 3, 1, 0);
    tensor(&b, "w", UINT64_MAX, 4, 0, 0);
    pad(&b, 256);
    refused(&b, REX_EFORMAT, "beyond 2^63");
    head(&b, 3, 1, 0);
    tensor(&b, "w", 50000, 50000, 0, 0); /* 10 GB in a file of a few hundred bytes */
    pad(&b, 256);
    refused(&b, REX_EFORMAT, "tensor 'w' needs 10000000000 bytes");
    head(&b, 3, 1, 0);
    tensor(&b, "w", 2, 2, 0, 8);
    pad(&b, 256);
    refused(&b, REX_EFORMAT, "no multiple of the alignment 32");
    head(&b, 3, 2, 0);
    tensor(&b, "v", 8, 8, 0, 0);
    tensor(&b, "w", 8, 8, 0, 64);
    pad(&b, 1024);
    refused(&b, REX_EFORMAT, "tensors 'v' and 'w' overlap");
    head(&b, 3, 2, 0);
    tensor(&b, "v", 2, 2, 0, 0);
    tensor(&b, "v", 2, 2, 0, 32);
    pad(&b, 1024);
    refused(&b, REX_EFORMAT, "v: a tensor's name that occurs twice");
    head(&b, 3, 1, 0);
    str(&b, "w");
    u32(&b, 9);
    pad(&b, 256);
    refused(&b, REX_EFORMAT, "more than 8 dimensions");
    head(&b, 3, 1, 0);
    tensor(&b, "w", 2, 2, 0, 1ull << 62);
    pad(&b, 256);
    refused(&b, REX_EFORMAT, "it is cut short or its header lies");
    rex_buf_free(&b);
}
END_TEST

/* Every prefix of a real file that lacks a byte of its last tensor is refused, none crashes. */
START_TEST(t_gguf_refuses_every_prefix) {
    rex_map *m;
    rex_gguf *whole;
    rex_err e;
    CHECK_OK(rex_map_open(GOLDEN, &m, &e), e);
    CHECK_OK(rex_gguf_open(GOLDEN, &whole, &e), e);
    const rex_view all = rex_map_view(m);
    const rex_view last = rex_gguf_at(whole, rex_gguf_count(whole) - 1)->data;
    size_t end = all.n; /* behind it there is only padding */
    while (all.n - end < 32 && memcmp(all.p + end - last.n, last.p, last.n) != 0) end--;
    rex_gguf_close(whole);
    for (size_t n = 0; n < end; n += n < 3000 || n + 200 > end ? 1 : 97) {
        rex_gguf *g;
        const char *path = rex_test_file("prefix.gguf", all.p, n);
        const rex_status s = rex_gguf_open(path, &g, NULL);
        if (s == REX_OK) {
            rex_test_fail(__FILE__, __LINE__, "the first %zu of %zu bytes were read", n, all.n);
            rex_gguf_close(g);
        }
    }
    rex_map_close(m);
}
END_TEST

static rex_status open_close(const char *path) {
    rex_gguf *g;
    const rex_status s = rex_gguf_open(path, &g, NULL);
    rex_gguf_close(g);
    return s;
}

START_TEST(t_gguf_survives_failing_allocations) {
    rex_err e;
    const char *to = rex_test_tmp("tortured.gguf");
    REX_TORTURE(open_close(GOLDEN));
    REX_TORTURE(copy(GOLDEN, to, &e));
}
END_TEST

REX_TEST_MAIN("formats_gguf", t_gguf_widens_as_python, t_gguf_packs_q8_0_as_python,
              t_gguf_metadata_by_sort, t_gguf_reads_stories260k, t_gguf_round_trip,
              t_gguf_writer_kinds, t_gguf_writer_tells_misuse, t_gguf_refuses_bad_heads,
              t_gguf_refuses_bad_metadata, t_gguf_refuses_bad_tensors, t_gguf_refuses_every_prefix,
              t_gguf_survives_failing_allocations)
