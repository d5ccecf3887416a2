/* SPDX-License-Identifier: MIT
 *
 * Arrays, safetensors and rows of features: what is read equals what was written, every way of
 * lying is refused with a sentence, allocations fail one by one, a killed writer can be resumed.
 */
#include "rex_test.h"

#include "../src/formats/formats.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- npy ---- */

/* An .npy file of version `v` from a header text and data. */
static const char *npy(const char *name, int v, const char *head, const void *data, size_t n) {
    rex_buf b;
    rex_buf_init(&b, 0);
    const uint8_t magic[8] = { 0x93, 'N', 'U', 'M', 'P', 'Y', (uint8_t)v, 0 };
    const uint32_t len = (uint32_t)strlen(head);
    rex_buf_add(&b, magic, 8);
    rex_buf_add(&b, &len, v == 1 ? 2 : 4);
    rex_buf_add(&b, head, len);
    rex_buf_add(&b, data, n);
    const char *path = rex_test_file(name, b.p, b.n);
    rex_buf_free(&b);
    return path;
}

START_TEST(t_npy_reads_all_versions_and_types) {
    rex_err e;
    rex_rows *r;
    const double d[6] = { 1, -2.5, 3, 1e300, -0.0, 0.1 };
    const float f[6] = { 1, -2.5f, 3, 1e30f, -0.0f, 0.1f };
    const uint16_t h[6] = { 0x3c00, 0xc100, 0x4200, 0x7bff, 0x8000, 0x0001 };
    const float hw[6] = { 1, -2.5f, 3, 65504, -0.0f, 0x1p-24f };
    for (int v = 1; v <= 3; v++) {
        float got[6];
        double wide[6];
        const char *p =
            npy("a.npy", v, "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 2), }\n", d,
                sizeof d);
        CHECK_OK(rex_rows_open(p, &r, &e), e);
        CHECK_EQ(rex_rows_count(r), 3);
        CHECK_EQ(rex_rows_dim(r), 2);
        CHECK_STR(rex_rows_type(r), "F64");
        CHECK(!rex_rows_f32(r));
        rex_rows_get_f64(r, 0, 3, wide);
        CHECK_MEM(wide, d, sizeof d);
        rex_rows_get_f32(r, 2, 1, got);
        CHECK(got[1] == 0.1f && signbit(got[0]));
        rex_rows_close(r);
        p = npy("a.npy", v, "{\"shape\":(2,3),\"descr\":\"<f4\",'fortran_order':False}", f,
                sizeof f);
        CHECK_OK(rex_rows_open(p, &r, &e), e);
        rex_rows_get_f64(r, 0, 2, wide);
        for (int i = 0; i < 6; i++) CHECK(wide[i] == (double)f[i]);
        rex_rows_close(r);
        p = npy("a.npy", v, "{'descr': '<f2', 'fortran_order': False, 'shape': (2L, 3L)}   \n", h,
                sizeof h);
        CHECK_OK(rex_rows_open(p, &r, &e), e);
        rex_rows_get_f32(r, 0, 2, got);
        CHECK_MEM(got, hw, sizeof hw);
        rex_rows_get_f32(r, 1, 1, got);
        CHECK_MEM(got, hw + 3, 12);
        rex_rows_close(r);
    }
}
END_TEST

START_TEST(t_npy_refuses_lies) {
    static const struct {
        rex_status status;
        const char *head, *part;
    } bad[] = {
        { REX_EUNSUP, "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 2), }",
          "Fortran (column-major) order" },
        { REX_EUNSUP, "{'descr': '>f4', 'fortran_order': False, 'shape': (2, 2), }", "big-endian" },
        { REX_EUNSUP, "{'descr': '|O', 'fortran_order': False, 'shape': (2, 2), }",
          "Python objects" },
        { REX_EUNSUP, "{'descr': '|V2', 'fortran_order': False, 'shape': (2, 2), }",
          "'|V2' is not supported" },
        { REX_EUNSUP, "{'descr': '<U4', 'fortran_order': False, 'shape': (2, 2), }",
          "'<U4' is not supported" },
        { REX_EUNSUP, "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (4,), }",
          "structured" },
        { REX_EFORMAT, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }",
          "promises 24 bytes" },
        { REX_EFORMAT, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1), }",
          "promises 8 bytes" },
        { REX_EFORMAT, "{'descr': '<f4', 'fortran_order': False, 'shape': (50000, 50000), }",
          "promises 10000000000 bytes" },
        { REX_EFORMAT,
          "{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4), }",
          "overflows" },
        { REX_EFORMAT,
          "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999, 4), }",
          "beyond 2^63" },
        { REX_EFORMAT, "{'descr': '<f4', 'fortran_order': False, 'shape': (-2, 2), }",
          "no number" },
        { REX_EFORMAT, "{'descr': '<f4', 'fortran_order': False, 'shape': (4), }", "no tuple" },
        { REX_EFORMAT, "{'descr': '<f4', 'fortran_order': False, 'shape': (2 2), }",
          "does not end" },
        { REX_EFORMAT, "{'descr': '<f4', 'fortran_order': False, 'shape': 4, }", "needs a tuple" },
        { REX_EFORMAT, "{'descr': '<f4', 'fortran_order': 0, 'shape': (2, 2), }",
          "neither True nor False" },
        { REX_EFORMAT, "{'descr': '<f4', 'fortran_order': False, }", "is missing" },
        { REX_EFORMAT, "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2, 2)}",
          "occurs twice" },
        { REX_EFORMAT, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), 'meta': 1}",
          "a key other than" },
        { REX_EFORMAT, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2)} x",
          "behind the dictionary" },
        { REX_EFORMAT, "{'descr': '<f4' 'fortran_order': False, 'shape': (2, 2)}", "expected ','" },
        { REX_EFORMAT, "{'descr', '<f4'}", "expected ':'" },
        { REX_EFORMAT, "{'descr: 1", "does not end" },
        { REX_EFORMAT, "", "expected a dictionary" },
        { REX_EFORMAT, "[1]", "expected a dictionary" },
        { REX_EFORMAT, "{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,4)}",
          "more than 8" },
        { REX_EFORMAT, "{'descr': '<f4', 'fortran_order': False, 'shape': (4,), }",
          "1 dimensions, expected 2" },
        { REX_EFORMAT, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2, 1), }",
          "3 dimensions, expected 2" },
        { REX_EUNSUP, "{'descr': '<i4', 'fortran_order': False, 'shape': (2, 2), }",
          "I32, expected F16" },
    };
    const float f[4] = { 1, 2, 3, 4 };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        rex_err e = { REX_OK, -1, "" };
        rex_rows *r;
        const char *p = npy("lie.npy", 1, bad[i].head, f, sizeof f);
        const rex_status s = rex_rows_open(p, &r, &e);
        if (s != bad[i].status)
            rex_test_fail(__FILE__, __LINE__, "%s: %s, want %s", bad[i].head, rex_status_name(s),
                          rex_status_name(bad[i].status));
        CHECK_HAS(e.text, "lie.npy");
        CHECK_HAS(e.text, bad[i].part);
        CHECK(!r);
    }
}
END_TEST

START_TEST(t_npy_refuses_bad_starts) {
    static const struct {
        const char *bytes;
        size_t n;
        const char *part;
    } bad[] = {
        { "", 0, "does not begin" },
        { "\x93NUMP", 5, "does not begin" },
        { "PK\x03\x04 an npz archive", 20, "does not begin" },
        { "\x93NUMPY\x04\x00\x10\x00\x00\x00", 12, "format version 4.0" },
        { "\x93NUMPY\x01\x00\xff\xff{", 11, "claims 65535 bytes" },
        { "\x93NUMPY\x02\x00\xff\xff", 10, "ends within" },
        { "\x93NUMPY\x02\x00\xff\xff\xff\xff{", 13, "claims 4294967295 bytes" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        rex_err e = { REX_OK, -1, "" };
        rex_npy *n;
        CHECK(rex_npy_open(rex_test_file("start.npy", bad[i].bytes, bad[i].n), &n, &e) != REX_OK);
        CHECK_HAS(e.text, bad[i].part);
    }
    rex_rows *r;
    rex_err e;
    CHECK_STATUS(rex_rows_open(rex_test_tmp("not there.npy"), &r, &e), REX_EIO);
    CHECK_HAS(e.text, "not there.npy");
}
END_TEST

START_TEST(t_npy_reads_the_pools) {
    NEED_DATA(path, "pools/smollm2-gsm8k/features.npy");
    rex_err e;
    rex_rows *r;
    CHECK_OK(rex_rows_open(path, &r, &e), e);
    CHECK_EQ(rex_rows_count(r), 6336);
    CHECK_EQ(rex_rows_dim(r), 576);
    CHECK_STR(rex_rows_type(r), "F16");
    rex_rows_close(r);
}
END_TEST

/* ---- safetensors ---- */

static const char *st_file(const char *name, const char *head, size_t data) {
    static const uint8_t zero[256];
    rex_buf b;
    rex_buf_init(&b, 0);
    const uint64_t n = strlen(head);
    rex_buf_add(&b, &n, 8);
    rex_buf_add(&b, head, n);
    rex_buf_add(&b, zero, data);
    const char *path = rex_test_file(name, b.p, b.n);
    rex_buf_free(&b);
    return path;
}

#define T(name, type, shape, from, to)                                                             \
    "\"" name "\":{\"dtype\":\"" type "\",\"shape\":" shape ",\"data_offsets\":[" #from "," #to "]}"

START_TEST(t_st_refuses_lies) {
    static const struct {
        rex_status status;
        const char *head;
        size_t data;
        const char *part;
    } bad[] = {
        { REX_EFORMAT, "{" T("a", "F32", "[2]", 0, 8) "," T("b", "F32", "[2]", 4, 12) "}", 12,
          "'a' and 'b' overlap at byte 4" },
        { REX_EFORMAT, "{" T("a", "F32", "[2]", 0, 8) "," T("b", "F32", "[2]", 0, 8) "}", 8,
          "overlap" },
        { REX_EFORMAT, "{" T("a", "F32", "[2]", 0, 8) "," T("b", "F32", "[2]", 12, 20) "}", 20,
          "4 bytes of the data before tensor 'b'" },
        { REX_EFORMAT, "{" T("a", "F32", "[2]", 4, 12) "}", 12, "before tensor 'a'" },
        { REX_EFORMAT, "{" T("a", "F32", "[2]", 0, 8) "}", 12,
          "end at byte 8 of the data, the file has 12" },
        { REX_EFORMAT, "{" T("a", "F32", "[2]", 0, 8) "}", 7, "cut short" },
        { REX_EFORMAT, "{" T("a", "F32", "[50000,50000]", 0, 10000000000) "}", 64,
          "tensor 'a' ends at byte 10000000000" },
        { REX_EFORMAT, "{" T("a", "F32", "[3]", 0, 8) "}", 8,
          "span 8 bytes, its shape and type F32 need 12" },
        { REX_EFORMAT, "{" T("a", "F16", "[2]", 0, 8) "}", 8, "type F16 need 4" },
        { REX_EFORMAT, "{" T("a", "F32", "[4611686018427387904,4]", 0, 0) "}", 0, "overflows" },
        { REX_EFORMAT, "{" T("a", "F32", "[-1]", 0, 4) "}", 4, "no whole number" },
        { REX_EFORMAT, "{" T("a", "F32", "[1.5]", 0, 4) "}", 4, "no whole number" },
        { REX_EFORMAT, "{" T("a", "F32", "[1]", 4, 0) "}", 4, "end before they begin" },
        { REX_EFORMAT, "{" T("a", "F32", "[1]", -4, 0) "}", 4, "no whole number" },
        { REX_EFORMAT, "{" T("a", "F32", "[1,1,1,1,1,1,1,1,1]", 0, 4) "}", 4, "more than 8" },
        { REX_EUNSUP, "{" T("a", "Q8_0", "[32]", 0, 34) "}", 34, "dtype 'Q8_0' is not known" },
        { REX_EUNSUP, "{" T("a", "F128", "[1]", 0, 16) "}", 16, "dtype 'F128' is not known" },
        { REX_EFORMAT, "{" T("a", "F32", "[1]", 0, 4) "," T("a", "F32", "[1]", 4, 8) "}", 8, "a" },
        { REX_EFORMAT, "{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "data_offsets is missing" },
        { REX_EFORMAT, "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4,
          "shape is missing" },
        { REX_EFORMAT, "{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "dtype is missing" },
        { REX_EFORMAT, "{\"a\":[1]}", 4, "expected an object" },
        { REX_EFORMAT, "{\"__metadata__\":[1]," T("a", "F32", "[1]", 0, 4) "}", 4, "__metadata__" },
        { REX_EFORMAT, "{\"__metadata__\":{\"k\":1}," T("a", "F32", "[1]", 0, 4) "}", 4,
          "'k' is a number" },
        { REX_EFORMAT, "{\"a\":", 4, "lie.safetensors" },
        { REX_EFORMAT, "[]", 0, "does not begin with '{'" },
        { REX_EFORMAT, "", 0, "does not begin with '{'" },
        { REX_EFORMAT, " {}", 0, "does not begin with '{'" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        rex_err e = { REX_OK, -1, "" };
        rex_st *s;
        const rex_status got =
            rex_st_open(st_file("lie.safetensors", bad[i].head, bad[i].data), &s, &e);
        if (got != bad[i].status)
            rex_test_fail(__FILE__, __LINE__, "%s: %s, want %s", bad[i].head, rex_status_name(got),
                          rex_status_name(bad[i].status));
        CHECK_HAS(e.text, "lie.safetensors");
        CHECK_HAS(e.text, bad[i].part);
        rex_st_close(s);
    }
    rex_err e;
    rex_st *s;
    const uint64_t huge = 10ull << 30;
    CHECK_STATUS(rex_st_open(rex_test_file("lie.safetensors", &huge, 8), &s, &e), REX_EFORMAT);
    CHECK_HAS(e.text, "claims 10737418240 bytes, the file has 8");
    CHECK_STATUS(rex_st_open(rex_test_file("lie.safetensors", "1234567", 7), &s, &e), REX_EFORMAT);
    CHECK_HAS(e.text, "too short");
}
END_TEST

static rex_status write_st(const char *path, rex_err *e) {
    const rex_str meta[] = { { "made", 4 }, { "by \"us\"", 7 }, { "format", 6 }, { "pt", 2 } };
    const rex_tensor t[] = {
        { .name = { "z.f32", 5 }, .type = REX_T_F32, .ndim = 2, .dim = { 2, 3 } },
        { .name = { "empty", 5 }, .type = REX_T_F16, .ndim = 2, .dim = { 0, 3 } },
        { .name = { "scalar", 6 }, .type = REX_T_F64, .ndim = 0 },
        { .name = { "a.bf16", 6 }, .type = REX_T_BF16, .ndim = 1, .dim = { 3 } },
        { .name = { "int", 3 }, .type = REX_T_I64, .ndim = 1, .dim = { 1 } },
    };
    const float f[6] = { 1, 2, 3, 4, 5, 6 };
    const double d = 0.1;
    const uint16_t h[3] = { 0x3f80, 0xbf80, 0x4000 };
    const int64_t n = -7;
    rex_st_out *o;
    REX_TRY(rex_st_out_open(path, t, 5, meta, 2, &o, e));
    rex_st_out_add(o, f, 5);
    rex_st_out_add(o, (const char *)f + 5, sizeof f - 5);
    rex_st_out_add(o, &d, 8);
    rex_st_out_add(o, h, 6);
    rex_st_out_add(o, &n, 8);
    return rex_st_out_commit(o, e);
}

START_TEST(t_st_round_trip) {
    rex_err e;
    rex_st *s;
    const char *path = rex_test_tmp("a.safetensors");
    CHECK_OK(write_st(path, &e), e);
    CHECK_OK(rex_st_open(path, &s, &e), e);
    CHECK_EQ(rex_st_count(s), 5);
    CHECK_EQ(rex_st_meta_count(s), 2);
    CHECK_TEXT(rex_st_meta(s, "made"), "by \"us\"");
    CHECK(!rex_st_meta(s, "not there").p);
    CHECK_TEXT(rex_st_at(s, 0)->name, "z.f32"); /* the order given is kept */
    const rex_tensor *t = rex_st_find(s, "z.f32");
    float row[3];
    rex_tensor_get_f32(t, 1, 0, 3, row);
    CHECK(row[0] == 4 && row[1] == 5 && row[2] == 6);
    CHECK_EQ((uintptr_t)t->data.p % 64, 0);
    t = rex_st_find(s, "a.bf16");
    rex_tensor_get_f32(t, 0, 1, 2, row);
    CHECK(row[0] == -1 && row[1] == 2);
    t = rex_st_find(s, "scalar");
    CHECK_EQ(t->ndim, 0);
    rex_tensor_get_f32(t, 0, 0, 1, row);
    CHECK(row[0] == 0.1f);
    CHECK_EQ(rex_st_find(s, "empty")->rows, 0);
    CHECK(!rex_st_find(s, "a"));
    rex_st_close(s);
    rex_rows *r;
    CHECK_STATUS(rex_rows_open(path, &r, &e), REX_EFORMAT);
    CHECK_HAS(e.text, "holds 5 tensors; say which");
    char spec[600];
    snprintf(spec, sizeof spec, "%s#z.f32", path);
    CHECK_OK(rex_rows_open(spec, &r, &e), e);
    CHECK_EQ(rex_rows_dim(r), 3);
    CHECK(rex_rows_f32(r) && rex_rows_f32(r)[5] == 6);
    CHECK_STR(rex_rows_spec(r), spec);
    rex_rows_close(r);
    snprintf(spec, sizeof spec, "%s#nothing", path);
    CHECK_STATUS(rex_rows_open(spec, &r, &e), REX_EFORMAT);
    CHECK_HAS(e.text, "#nothing: there is no tensor of that name");
    snprintf(spec, sizeof spec, "%s#int", path);
    CHECK_STATUS(rex_rows_open(spec, &r, &e), REX_EUNSUP);
}
END_TEST

START_TEST(t_st_writer_tells_misuse) {
    rex_err e;
    rex_st_out *o;
    const char *path = rex_test_tmp("never.safetensors");
    const rex_tensor two[] = { { .name = { "a", 1 }, .type = REX_T_F32, .ndim = 1, .dim = { 1 } },
                               { .name = { "a", 1 }, .type = REX_T_F32, .ndim = 1, .dim = { 1 } } };
    const rex_tensor q = { .name = { "q", 1 }, .type = REX_T_Q8_0, .ndim = 1, .dim = { 32 } };
    CHECK_STATUS(rex_st_out_open(path, two, 2, NULL, 0, &o, &e), REX_EARG);
    CHECK_STATUS(rex_st_out_open(path, &q, 1, NULL, 0, &o, &e), REX_EUNSUP);
    for (int bytes = 0; bytes <= 8; bytes += 8) {
        CHECK_OK(rex_st_out_open(path, two, 1, NULL, 0, &o, &e), e);
        rex_st_out_add(o, "12345678", (size_t)bytes);
        CHECK_STATUS(rex_st_out_commit(o, &e), REX_EBUG);
        CHECK(access(path, F_OK) != 0);
    }
}
END_TEST

/* Two shards and an index in a folder of their own. */
static const char *shards(const char *index) {
    static char dir[512];
    snprintf(dir, sizeof dir, "%s", rex_test_tmp("sharded"));
    (void)mkdir(dir, 0777);
    (void)st_file("sharded/one.safetensors",
                  "{" T("a", "F32", "[2]", 0, 8) "," T("x", "F32", "[1]", 8, 12) "}", 12);
    (void)st_file("sharded/two.safetensors",
                  "{\"__metadata__\":{\"n\":\"2\"}," T("b", "F32", "[1]", 0,
                                                       4) "," T("x", "F32", "[1]", 4, 8) "}",
                  8);
    (void)rex_test_file("sharded/model.safetensors.index.json", index, strlen(index));
    return dir;
}

START_TEST(t_st_shards) {
    rex_err e;
    rex_st *s;
    const char *dir = shards("{\"metadata\":{\"total_size\":20},\"weight_map\":{\"b\":\"two."
                             "safetensors\","
                             "\"a\":\"one.safetensors\",\"x\":\"two.safetensors\"}}");
    CHECK_OK(rex_st_open(dir, &s, &e), e);
    CHECK_EQ(rex_st_count(s), 3); /* the x of the first shard is not the one that the index names */
    CHECK_TEXT(rex_st_at(s, 0)->name, "a");
    CHECK_TEXT(rex_st_at(s, 1)->name, "b");
    CHECK(rex_st_find(s, "x")->data.p == rex_st_find(s, "b")->data.p + 4);
    rex_st_drop(s, rex_st_find(s, "x"));
    rex_st_close(s);
    static const struct {
        rex_status status;
        const char *index, *part;
    } bad[] = {
        { REX_EFORMAT, "{\"weight_map\":{\"c\":\"one.safetensors\"}}",
          "tensor 'c' is not in one.safetensors" },
        { REX_EFORMAT, "{\"weight_map\":{\"a\":\"../one.safetensors\"}}", "plain name of a file" },
        { REX_EFORMAT, "{\"weight_map\":{\"a\":\"/etc/passwd\"}}", "plain name of a file" },
        { REX_EFORMAT, "{\"weight_map\":{\"a\":1}}", "plain name of a file" },
        { REX_EFORMAT, "{\"weight_map\":[]}", "no object 'weight_map'" },
        { REX_EFORMAT, "{}", "no object 'weight_map'" },
        { REX_EIO, "{\"weight_map\":{\"a\":\"three.safetensors\"}}", "three.safetensors" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK_STATUS(rex_st_open(shards(bad[i].index), &s, &e), bad[i].status);
        CHECK_HAS(e.text, bad[i].part);
    }
    CHECK_STATUS(rex_st_open("tests", &s, &e), REX_EIO);
    CHECK_HAS(e.text, "neither model.safetensors nor");
}
END_TEST

START_TEST(t_st_reads_stories260k) {
    NEED_DATA(path, "models/stories260K/hf");
    rex_err e;
    rex_st *s;
    CHECK_OK(rex_st_open(path, &s, &e), e);
    CHECK_EQ(rex_st_count(s), 47);
    CHECK(rex_st_find(s, "model.layers.4.mlp.down_proj.weight") != NULL);
    rex_st_close(s);
}
END_TEST

/* ---- rows written ---- */

static void fill(float *row, int64_t from, int64_t n, int64_t dim) {
    for (int64_t i = 0; i < n * dim; i++) row[i] = (float)(from * dim + i) * 0.125f;
}

typedef struct {
    int64_t from, until, dim; /* goes on behind row `from` (-1: from the start) up to `until` */
    bool half, commit;
} job;

static rex_status write_rows(const char *path, const job *j, rex_err *e) {
    rex_rows_out_opts opt;
    rex_rows_out *o;
    float row[3 * 40];
    rex_rows_out_defaults(&opt);
    opt.dim = j->dim;
    opt.half = j->half;
    opt.resumable = true;
    opt.resume = j->from;
    opt.meta = rex_str_of("{\"pool\": \"mean\", \"layer\": -1, \"what\": [1, 2]}");
    REX_TRY(rex_rows_out_open(path, &opt, &o, e));
    for (int64_t i = j->from < 0 ? 0 : j->from; i < j->until; i += 3) {
        const int64_t n = j->until - i < 3 ? j->until - i : 3;
        fill(row, i, n, j->dim);
        rex_rows_out_add(o, row, n);
    }
    const rex_status s = rex_rows_out_flush(o, e);
    if (s == REX_OK && j->commit) return rex_rows_out_commit(o, e);
    rex_rows_out_close(o);
    return s;
}

static void same_file(const char *a, const char *b) {
    rex_map *x;
    rex_map *y;
    rex_err e;
    CHECK_OK(rex_map_open(a, &x, &e), e);
    CHECK_OK(rex_map_open(b, &y, &e), e);
    CHECK_EQ(rex_map_view(x).n, rex_map_view(y).n);
    CHECK_MEM(rex_map_view(x).p, rex_map_view(y).p, rex_map_view(x).n);
    rex_map_close(x);
    rex_map_close(y);
}

static void check_rows(const char *path, int64_t rows, int64_t dim) {
    rex_rows *r;
    rex_err e;
    float got[40];
    float want[40];
    CHECK_OK(rex_rows_open(path, &r, &e), e);
    CHECK_EQ(rex_rows_count(r), rows);
    for (int64_t i = 0; i < rows; i++) {
        rex_rows_get_f32(r, i, 1, got);
        fill(want, i, 1, dim);
        CHECK_MEM(got, want, (size_t)dim * 4);
    }
    rex_rows_close(r);
}

START_TEST(t_rows_stopped_and_resumed_equal_one_go) {
    static const char *const names[] = { "r.npy", "r.safetensors" };
    rex_err e;
    for (int k = 0; k < 4; k++) {
        char path[600];
        char part[700];
        char whole[600];
        snprintf(path, sizeof path, "%s", rex_test_tmp(names[k % 2]));
        (void)unlink(path);
        snprintf(part, sizeof part, "%s.part", path);
        snprintf(whole, sizeof whole, "%s",
                 rex_test_tmp(k % 2 ? "whole.safetensors" : "whole.npy"));
        const bool half = k >= 2;
        const job one = { .from = -1, .until = 20, .dim = 7, .half = half, .commit = true };
        CHECK_OK(write_rows(whole, &one, &e), e);
        check_rows(whole, 20, 7);
        const job first = { .from = -1, .until = 11, .dim = 7, .half = half };
        CHECK_OK(write_rows(path, &first, &e), e);
        CHECK(access(path, F_OK) != 0); /* nothing partial under the final name */
        FILE *f = fopen(part, "ab");    /* a torn row, as after a kill */
        fwrite("torn", 1, 4, f);
        fclose(f);
        const job more = { .from = 12, .until = 20, .dim = 7, .half = half };
        CHECK_STATUS(write_rows(path, &more, &e), REX_EFORMAT);
        CHECK_HAS(e.text, "holds 11 whole rows, the records need 12");
        CHECK_EQ(access(part, F_OK), 0);
        const job other = { .from = 9, .until = 20, .dim = 8, .half = half };
        CHECK_STATUS(write_rows(path, &other, &e), REX_EFORMAT);
        CHECK_HAS(e.text, "was begun with another dimension");
        const job rest = { .from = 9, .until = 20, .dim = 7, .half = half, .commit = true };
        CHECK_OK(write_rows(path, &rest, &e), e);
        CHECK(access(part, F_OK) != 0);
        same_file(path, whole);
        /* finished, then taken up again: killed after the rename */
        const job again = { .from = 20, .until = 20, .dim = 7, .half = half, .commit = true };
        CHECK_OK(write_rows(path, &again, &e), e);
        same_file(path, whole);
        if (k % 2) {
            rex_st *s;
            CHECK_OK(rex_st_open(path, &s, &e), e);
            CHECK_TEXT(rex_st_meta(s, "pool"), "mean");
            CHECK_TEXT(rex_st_meta(s, "layer"), "-1");
            CHECK_TEXT(rex_st_meta(s, "what"), "[1, 2]");
            rex_st_close(s);
        } else {
            snprintf(part, sizeof part, "%s.json", path);
            rex_map *m;
            CHECK_OK(rex_map_open(part, &m, &e), e);
            CHECK_EQ(rex_map_view(m).n, 46);
            rex_map_close(m);
        }
    }
}
END_TEST

START_TEST(t_rows_of_none_and_of_many) {
    rex_err e;
    const char *path = rex_test_tmp("none.npy");
    const job none = { .from = -1, .until = 0, .dim = 5, .commit = true };
    CHECK_OK(write_rows(path, &none, &e), e);
    check_rows(path, 0, 5);
    const job many = { .from = -1, .until = 5000, .dim = 37, .commit = true };
    CHECK_OK(write_rows(path, &many, &e), e);
    check_rows(path, 5000, 37);
    rex_rows_out_opts opt;
    rex_rows_out *o;
    rex_rows_out_defaults(&opt);
    opt.dim = 3;
    CHECK_STATUS(rex_rows_out_open(rex_test_tmp("a.txt"), &opt, &o, &e), REX_EARG);
    CHECK_HAS(e.text, "must end in .npy or .safetensors");
    opt.meta = rex_str_of("[1]");
    CHECK_STATUS(rex_rows_out_open(path, &opt, &o, &e), REX_EARG);
    opt.meta = rex_str_of("{\"a\":");
    CHECK(rex_rows_out_open(path, &opt, &o, &e) != REX_OK);
    opt.meta = rex_str_of("");
    CHECK_STATUS(rex_rows_out_open("/nonexistent/folder/a.npy", &opt, &o, &e), REX_EIO);
    /* not resumable, closed without commit: nothing is left */
    path = rex_test_tmp("gone.npy");
    CHECK_OK(rex_rows_out_open(path, &opt, &o, &e), e);
    rex_rows_out_close(o);
    CHECK(access(rex_test_tmp("gone.npy.part"), F_OK) != 0);
    CHECK(access(path, F_OK) != 0);
}
END_TEST

START_TEST(t_rows_tell_a_full_disk) {
    /* a bound on file size stands for the disk; the signal would end the test */
    const struct rlimit small = { 100000, 100000 };
    rex_err e;
    signal(SIGXFSZ, SIG_IGN);
    CHECK_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
    const char *path = rex_test_tmp("full.npy");
    const job much = { .from = -1, .until = 5000, .dim = 37, .commit = true };
    CHECK_STATUS(write_rows(path, &much, &e), REX_EIO);
    CHECK_HAS(e.text, "full.npy.part: cannot write");
    CHECK(access(path, F_OK) != 0);
}
END_TEST

/* ---- allocations that fail ---- */

static rex_status open_rows(const char *spec) {
    rex_rows *r;
    const rex_status s = rex_rows_open(spec, &r, NULL);
    rex_rows_close(r);
    return s;
}

static rex_status open_st(const char *path) {
    rex_st *s;
    const rex_status st = rex_st_open(path, &s, NULL);
    rex_st_close(s);
    return st;
}

START_TEST(t_formats_survive_failing_allocations) {
    char npy_path[600];
    char st_path[600];
    char spec[700];
    rex_err e;
    const float f[4] = { 1, 2, 3, 4 };
    snprintf(
        npy_path, sizeof npy_path, "%s",
        npy("t.npy", 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2)}", f, sizeof f));
    snprintf(st_path, sizeof st_path, "%s", rex_test_tmp("t.safetensors"));
    snprintf(spec, sizeof spec, "%s#z.f32", st_path);
    REX_TORTURE(open_rows(npy_path));
    REX_TORTURE(write_st(st_path, &e));
    REX_TORTURE(open_rows(spec));
    const char *dir = shards("{\"weight_map\":{\"b\":\"two.safetensors\",\"a\":\"one.safetensors\"}"
                             "}");
    REX_TORTURE(open_st(dir));
    char out[2][600];
    for (int i = 0; i < 2; i++) {
        snprintf(out[i], sizeof out[i], "%s", rex_test_tmp(i ? "w.safetensors" : "w.npy"));
        const job fresh = { .from = -1, .until = 9, .dim = 5, .half = true, .commit = true };
        const job resume = { .from = 6, .until = 9, .dim = 5, .half = true, .commit = true };
        REX_TORTURE(write_rows(out[i], &fresh, &e));
        REX_TORTURE(write_rows(out[i], &resume, &e));
    }
}
END_TEST

REX_TEST_MAIN("formats", t_npy_reads_all_versions_and_types, t_npy_refuses_lies,
              t_npy_refuses_bad_starts, t_npy_reads_the_pools, t_st_refuses_lies, t_st_round_trip,
              t_st_writer_tells_misuse, t_st_shards, t_st_reads_stories260k,
              t_rows_stopped_and_resumed_equal_one_go, t_rows_of_none_and_of_many,
              t_rows_tell_a_full_disk, t_formats_survive_failing_allocations)
