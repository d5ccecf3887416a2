/* SPDX-License-Identifier: MIT
 *
 * Numbers as text, JSON by both roads, the writer, lines.
 */
#include "rex_test.h"

#include <fcntl.h>
#include <unistd.h>

/* ---- numbers ----------------------------------------------------------------------------- */

START_TEST(t_num_reads_exactly) {
    static const struct {
        const char *text;
        double v;
    } good[] = {
        {"0", 0.0},
        {"-1.5", -1.5},
        {"0.1", 0.1},
        {"1e22", 1e22},
        {"1e23", 1e23},
        {"9007199254740993", 9007199254740992.0},
        {"9007199254740993.00000000000000000000000000001", 9007199254740994.0},
        {"1.7976931348623157e308", DBL_MAX},
        {"5e-324", 0x1p-1074},
        {"2.4703282292062328e-324", 0x1p-1074},
        {"2.47e-324", 0.0},
        {"123456789012345678901234567890", 123456789012345678901234567890.0},
        {"1e-400", 0.0},
        {"0.000000000000000000000000000000000000000000001e45", 1.0},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        double v = -7;
        CHECK(rex_num_parse(rex_str_of(good[i].text), &v));
        if (v != good[i].v) rex_test_fail(__FILE__, __LINE__, "%s reads %.17g", good[i].text, v);
    }
    static const char *const bad[] = {"",    "-",   "1e",    "1e+",   "0x1", "nan", "inf",
                                      "1 ",  " 1",  "1e400", "1.2.3", "--1", "1,5", ".",
                                      "e10", "1e1.5"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        double v;
        if (rex_num_parse(rex_str_of(bad[i]), &v))
            rex_test_fail(__FILE__, __LINE__, "\"%s\" was read as %g", bad[i], v);
    }
}
END_TEST

static uint64_t draw(uint32_t i) {
    const rex_u32x4 r = rex_rand_u32x4(rex_key_make(11), (rex_u32x4){{i, 0, 0, 0}});
    return (uint64_t)r.v[0] << 32 | r.v[1];
}

/* Any bits that are a number: print, read back, agree with the C library's correctly rounded
 * reader; and no shorter text would do. */
START_TEST(t_num_round_trip_any_bits) {
    for (uint32_t i = 0; i < 40000; i++) {
        const uint64_t u = draw(i);
        double v, back = -7;
        memcpy(&v, &u, sizeof v);
        if (i % 2) v = (double)(int64_t)u * ldexp(1.0, -(int)(draw(i) % 120));
        if (!isfinite(v)) continue;
        char text[REX_NUM_MAX], other[64];
        const size_t n = rex_num_print(text, v);
        CHECK_EQ(n, strlen(text));
        CHECK(rex_num_parse((rex_str){text, n}, &back));
        CHECK_MEM(&back, &v, sizeof v);
        CHECK(strtod(text, NULL) == v);
        int digits = 0, zeros = 0;
        for (const char *p = text; *p && *p != 'e'; p++) {
            if (*p < '0' || *p > '9' || (*p == '0' && digits == 0)) continue;
            digits++;
            zeros = *p == '0' ? zeros + 1 : 0;
        }
        const int prec = digits - zeros > 1 ? digits - zeros - 1 : 1;
        snprintf(other, sizeof other, "%.*e", prec - 1, v);
        if (prec < digits - zeros) CHECK(strtod(other, NULL) != v);
        snprintf(other, sizeof other, "%.*e", (int)(u % 40), v);
        if (rex_num_parse(rex_str_of(other), &back)) CHECK(back == strtod(other, NULL));
        float f;
        const uint32_t w = (uint32_t)u;
        memcpy(&f, &w, sizeof f);
        if (!isfinite(f)) continue;
        CHECK(rex_num_parse((rex_str){text, rex_num_print_f32(text, f)}, &back));
        const float g = (float)back;
        CHECK_MEM(&g, &f, sizeof f);
    }
}
END_TEST

/* Decimal texts that lie exactly between two doubles, the hardest to round. */
START_TEST(t_num_halfway_cases) {
    for (uint32_t i = 0; i < 3000; i++) {
        const uint64_t u = draw(i) & ~((uint64_t)1 << 63);
        double v, back;
        memcpy(&v, &u, sizeof v);
        if (!isfinite(v) || !isfinite(nextafter(v, INFINITY))) continue;
        const long double half = ((long double)v + (long double)nextafter(v, INFINITY)) / 2;
        char text[1200];
        snprintf(text, sizeof text, "%.800Le", half);
        CHECK(rex_num_parse(rex_str_of(text), &back));
        CHECK(back == strtod(text, NULL));
    }
}
END_TEST

START_TEST(t_num_prints_plainly) {
    static const struct {
        double v;
        const char *text;
    } say[] = {{0, "0"},         {-0.0, "-0.0"},       {1, "1"},         {-17, "-17"},
               {0.1, "0.1"},     {100.5, "100.5"},     {1e15, "1000000000000000"},
               {1e16, "1e16"},   {1e-5, "0.00001"},    {1.5e-6, "1.5e-6"},
               {1e23, "1e23"},   {0x1p-1074, "5e-324"}, {DBL_MAX, "1.7976931348623157e308"},
               {1.0 / 3, "0.3333333333333333"}};
    for (size_t i = 0; i < sizeof say / sizeof say[0]; i++) {
        char text[REX_NUM_MAX];
        rex_num_print(text, say[i].v);
        CHECK_STR(text, say[i].text);
    }
    char text[REX_NUM_MAX];
    rex_num_print_f32(text, 0.1f);
    CHECK_STR(text, "0.1");
}
END_TEST

START_TEST(t_f16_all_values) {
    for (uint32_t h = 0; h < 65536; h++) {
        const float f = rex_f16_f32((uint16_t)h);
        const float b = rex_bf16_f32((uint16_t)h);
        if (!isnan(f)) CHECK_EQ(rex_f32_f16(f), h);
        else CHECK(isnan(rex_f16_f32(rex_f32_f16(f))));
        if (!isnan(b)) CHECK_EQ(rex_f32_bf16(b), h);
        else CHECK(isnan(rex_bf16_f32(rex_f32_bf16(b))));
        const int e = (int)(h >> 10 & 31);
        const float m = (float)(h & 1023);
        const float want = e == 0 ? ldexpf(m, -24) : ldexpf(1024 + m, e - 25);
        if (e < 31) CHECK(fabsf(f) == want);
    }
    /* Halfway goes to even; just above and below do not. */
    CHECK_EQ(rex_f32_f16(1 + 0x1p-11f), 0x3C00);
    CHECK_EQ(rex_f32_f16(1 + 3 * 0x1p-11f), 0x3C02);
    CHECK_EQ(rex_f32_f16(1 + 0x1.004p-11f), 0x3C01);
    CHECK_EQ(rex_f32_f16(65519.0f), 0x7BFF);
    CHECK_EQ(rex_f32_f16(65520.0f), 0x7C00);
    CHECK_EQ(rex_f32_f16(0x1p-25f), 0);
    CHECK_EQ(rex_f32_f16(0x1.8p-25f), 1);
    CHECK_EQ(rex_f32_bf16(1 + 0x1p-8f), 0x3F80);
    CHECK_EQ(rex_f32_bf16(1 + 3 * 0x1p-8f), 0x3F82);
}
END_TEST

/* ---- documents --------------------------------------------------------------------------- */

static rex_status parse(const char *text, size_t n, rex_err *e) {
    rex_arena *a;
    rex_jval *v;
    REX_TRY(rex_arena_open(0, &a, e));
    /* A copy of the exact size: a read past the end is seen by the sanitizer. */
    char *const copy = rex_mem_take(n, 1, e);
    if (copy && n) memcpy(copy, text, n);
    const rex_status s =
        copy ? rex_json_parse(a, (rex_str){copy, n}, "doc", &v, e) : REX_ENOMEM;
    rex_mem_free(copy);
    rex_arena_close(a);
    return s;
}

static const char *const good_json[] = {
    "0", "-0", "1.5e+3", "\"\"", "null", " [ ] ", "{}", "[1,2,[3]]", "{\"a\":{\"b\":[true,false]}}",
    "\"\\u0000\\ud83d\\ude00\\/\"", "\r\n\t 1 ", "[\"\xF4\x8F\xBF\xBF\"]",
};

static const struct {
    const char *text;
    int64_t at;
    const char *part;
} bad_json[] = {
    {"", 0, "expected a value, found the end"},
    {"[1,]", 3, "expected a value, found ']'"},
    {"[1 2]", 3, "expected ',' or ']', found '2'"},
    {"{\"a\" 1}", 5, "expected ':' after a name, found '1'"},
    {"{\"a\":1,}", 7, "expected a name in quotes, found '}'"},
    {"{a:1}", 1, "expected a name in quotes, found 'a'"},
    {"{\"a\":1,\"a\":2}", 11, "a name occurs twice"},
    {"[1", 2, "expected ',' or ']', found the end"},
    {"01", 0, "begins with a zero"},
    {"1.", 2, "expected a digit after the point"},
    {"1e", 2, "expected a digit of the exponent"},
    {"-", 1, "expected a digit"},
    {"+1", 0, "expected a value, found '+'"},
    {".5", 0, "expected a value"},
    {"NaN", 0, "expected a value, found 'N'"},
    {"Infinity", 0, "expected a value"},
    {"'a'", 0, "expected a value"},
    {"tru", 0, "expected a value"},
    {"nulll", 4, "expected the end of the text, found 'l'"},
    {"[1]]", 3, "expected the end of the text"},
    {"\"a", 2, "not closed"},
    {"\"a\\", 3, "not closed"},
    {"\"\\x\"", 1, "unknown escape"},
    {"\"\\u12g4\"", 1, "four hexadecimal digits"},
    {"\"\\u12", 1, "four hexadecimal digits"},
    {"\"\\ud800\"", 1, "unpaired surrogate"},
    {"\"\\ud800\\u0041\"", 1, "unpaired surrogate"},
    {"\"\\udc00\"", 1, "unpaired surrogate"},
    {"\"a\nb\"", 2, "control character"},
    {"\"\x80\"", 1, "not valid UTF-8"},
    {"\"\xC0\xAF\"", 1, "not valid UTF-8"},
    {"\"\xED\xA0\x80\"", 1, "not valid UTF-8"},
    {"\"\xF4\x90\x80\x80\"", 1, "not valid UTF-8"},
    {"\"\xE2\x82\"", 1, "not valid UTF-8"},
    {"// x\n1", 0, "expected a value"},
    {"\xEF\xBB\xBF{}", 0, "expected a value, found byte 0xef"},
};

START_TEST(t_json_takes_the_grammar) {
    for (size_t i = 0; i < sizeof good_json / sizeof good_json[0]; i++) {
        rex_err e;
        CHECK_OK(parse(good_json[i], strlen(good_json[i]), &e), e);
    }
}
END_TEST

START_TEST(t_json_refuses_with_the_place) {
    for (size_t i = 0; i < sizeof bad_json / sizeof bad_json[0]; i++) {
        rex_err e = {.text = ""};
        CHECK_STATUS(parse(bad_json[i].text, strlen(bad_json[i].text), &e), REX_EFORMAT);
        CHECK_EQ(e.at, bad_json[i].at);
        CHECK_HAS(e.text, "doc: byte ");
        CHECK_HAS(e.text, bad_json[i].part);
    }
}
END_TEST

/* Only what is no UTF-8 is let through: the grammar is as strict as ever. */
START_TEST(t_json_bytes_stay_in_strings) {
    rex_err e;
    rex_arena *a;
    rex_jval *v = NULL;
    rex_str got;
    CHECK_OK(rex_arena_open(0, &a, &e), e);
    for (size_t i = 0; i < sizeof bad_json / sizeof bad_json[0]; i++) {
        const bool utf8 = strstr(bad_json[i].part, "UTF-8") != NULL;
        const rex_str text = rex_str_of(bad_json[i].text);
        CHECK_STATUS(rex_json_parse_bytes(a, text, "doc", &v, &e), utf8 ? REX_OK : REX_EFORMAT);
        if (!utf8) continue;
        CHECK(rex_str_eq(v->u.s, (rex_str){text.p + 1, text.n - 2}));
        CHECK_OK(rex_jraw_bytes(a, text, &got, &e), e);
        CHECK(rex_str_eq(got, v->u.s));
        CHECK_STATUS(rex_jraw_str(a, text, &got, &e), REX_EFORMAT);
    }
    CHECK_OK(rex_jraw_bytes(a, rex_str_of("\"\\n\xE9\\u00e9\xFF\\\\\""), &got, &e), e);
    CHECK(rex_str_eq(got, rex_str_of("\n\xE9\xC3\xA9\xFF\\")));
    rex_arena_close(a);
}
END_TEST

START_TEST(t_json_depth_is_bounded) {
    char text[260];
    rex_err e;
    memset(text, '[', 128);
    memset(text + 128, ']', 128);
    CHECK_OK(parse(text, 256, &e), e);
    memset(text, '[', 129);
    memset(text + 129, ']', 129);
    CHECK_STATUS(parse(text, 258, &e), REX_EFORMAT);
    CHECK_HAS(e.text, "deeper than 128");
}
END_TEST

START_TEST(t_json_tree_is_what_was_written) {
    rex_arena *a;
    rex_err e;
    rex_jval *v = NULL;
    const char *const text = "{\"n\": 12, \"x\": -2.5, \"s\": \"a\\n\\u00e9\\u0000z\", \"l\": [1, "
                             "\"two\", null], \"t\": true}";
    CHECK_OK(rex_arena_open(0, &a, &e), e);
    CHECK_OK(rex_json_parse(a, rex_str_of(text), "doc", &v, &e), e);
    ck_assert(v != NULL);
    CHECK_EQ(v->n, 5);
    int64_t n = 0;
    double x = 0;
    CHECK_OK(rex_json_i64(rex_json_get(v, "n"), "n", &n, &e), e);
    CHECK_OK(rex_json_f64(rex_json_get(v, "x"), "x", &x, &e), e);
    CHECK_EQ(n, 12);
    CHECK(x == -2.5);
    CHECK_EQ(rex_json_get(v, "s")->u.s.n, 6);
    CHECK_MEM(rex_json_get(v, "s")->u.s.p, "a\n\xC3\xA9\0z", 7);
    const rex_jval *const l = rex_json_get(v, "l");
    CHECK_EQ(l->n, 3);
    CHECK_TEXT(l->u.c.item[1].u.s, "two");
    CHECK_EQ(l->u.c.item[1].at, strstr(text, "\"two\"") - text);
    CHECK(rex_json_get(v, "absent") == NULL);
    CHECK(rex_json_get(l, "n") == NULL);
    CHECK_STATUS(rex_json_i64(rex_json_get(v, "x"), "key x", &n, &e), REX_EFORMAT);
    CHECK_STR(e.text, "key x: expected a whole number, found -2.5");
    CHECK_STATUS(rex_json_f64(l, "key l", &x, &e), REX_EFORMAT);
    CHECK_STR(e.text, "key l: expected a number, found an array");
    CHECK_STATUS(rex_json_f64(NULL, "key z", &x, &e), REX_EFORMAT);
    CHECK_HAS(e.text, "missing");
    rex_arena_close(a);
}
END_TEST

START_TEST(t_json_many_names_are_compared) {
    rex_buf b;
    rex_err e;
    rex_buf_init(&b, 0);
    rex_buf_addf(&b, "{");
    for (int i = 0; i < 5000; i++) rex_buf_addf(&b, "\"k%d\":%d,", i, i);
    const size_t n = b.n;
    rex_buf_addf(&b, "\"z\":0}");
    CHECK_OK(parse(b.p, b.n, &e), e);
    b.n = n;
    rex_buf_addf(&b, "\"k77\":0}");
    CHECK_STATUS(parse(b.p, b.n, &e), REX_EFORMAT);
    CHECK_HAS(e.text, "twice");
    rex_buf_free(&b);
}
END_TEST

static rex_status json_round(void) {
    rex_err e;
    const char *const text = "{\"a\":[1,2,{\"b\":\"c\\n\"}],\"d\":\"e\"}";
    return parse(text, strlen(text), &e);
}

static rex_status json_names_round(void) {
    char text[600] = "{";
    rex_err e;
    for (int i = 0; i < 40; i++) snprintf(text + strlen(text), 16, "\"k%d\":%d,", i, i);
    text[strlen(text) - 1] = '}';
    return parse(text, strlen(text), &e);
}

START_TEST(t_json_torture) {
    REX_TORTURE(json_round());
    REX_TORTURE(json_names_round());
}
END_TEST

/* ---- records ----------------------------------------------------------------------------- */

static const rex_str want[] = {{"reward", 6}, {"prompt_id", 9}, {"text", 4}};

START_TEST(t_scan_finds_spans) {
    rex_err e;
    rex_str raw[3];
    const char *const line =
        " { \"logp\" : [-0.1, [1, {\"x\":\"]}\\\"\"}]] , \"text\":\"a \\\"b\\\" \\\\\","
        "\"reward\": 1.0 ,\"\\u0070rompt_id\":\"p/1\" } ";
    CHECK_OK(rex_jscan(rex_str_of(line), want, 3, raw, &e), e);
    CHECK_TEXT(raw[0], "1.0");
    CHECK_TEXT(raw[1], "\"p/1\"");
    CHECK_TEXT(raw[2], "\"a \\\"b\\\" \\\\\"");
    double r = 0;
    int64_t n = 0;
    CHECK_OK(rex_jraw_f64(raw[0], &r, &e), e);
    CHECK_OK(rex_jraw_i64(raw[0], &n, &e), e);
    CHECK(r == 1.0);
    CHECK_EQ(n, 1);
    rex_arena *a;
    rex_str s;
    CHECK_OK(rex_arena_open(0, &a, &e), e);
    CHECK_OK(rex_jraw_str(a, raw[2], &s, &e), e);
    CHECK_TEXT(s, "a \"b\" \\");
    CHECK_OK(rex_jraw_str(a, raw[1], &s, &e), e);
    CHECK(s.p == raw[1].p + 1); /* no escapes: borrowed */
    CHECK_STATUS(rex_jraw_str(a, raw[0], &s, &e), REX_EFORMAT);
    CHECK_STR(e.text, "expected a string, found a number");
    CHECK_STATUS(rex_jraw_f64(raw[1], &r, &e), REX_EFORMAT);
    rex_arena_close(a);
    CHECK_OK(rex_jscan(rex_str_of("{}"), want, 3, raw, &e), e);
    CHECK(raw[0].p == NULL);
    CHECK_EQ(rex_jraw_kind((rex_str){"{", 1}), REX_J_OBJ);
}
END_TEST

START_TEST(t_scan_refuses_with_the_place) {
    static const struct {
        const char *line;
        int64_t at;
        const char *part;
    } bad[] = {
        {"", 0, "expected an object, found the end"},
        {"[1]", 0, "expected an object, found '['"},
        {"{", 1, "expected a name"},
        {"{\"a\":1", 6, "expected ',' or '}', found the end"},
        {"{\"a\":[1,{\"b\":2]]}", 14, "expected '}', found ']'"},
        {"{\"a\":[1,2", 9, "expected a closing bracket"},
        {"{\"a\":\"x}", 5, "a string is not closed"},
        {"{\"a\":\"x\\\"}", 5, "a string is not closed"},
        {"{\"a\":x}", 5, "expected a value, found 'x'"},
        {"{\"a\":1} {", 8, "expected the end of the line"},
        {"{\"reward\":1,\"reward\":0}", 12, "occurs twice"},
        {"{\"reward\":1,\"r\\u0065ward\":0}", 12, "occurs twice"},
        {"{\"a\":01}", 5, "begins with a zero"},
        {"{\"a\":1,}", 7, "expected a name"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        rex_err e = {.text = ""};
        rex_str raw[3];
        CHECK_STATUS(rex_jscan(rex_str_of(bad[i].line), want, 3, raw, &e), REX_EFORMAT);
        CHECK_EQ(e.at, bad[i].at);
        CHECK_HAS(e.text, bad[i].part);
    }
}
END_TEST

/* On every cut of a record: both roads refuse, and neither reads beyond the end. */
START_TEST(t_scan_agrees_with_parse_on_cuts) {
    const char *const line = "{\"prompt_id\":\"a\\u00e9\",\"ids\":[1,22,333,4444,55555,666666],"
                             "\"deep\":{\"x\":[[\"]\"]],\"y\":null},\"reward\":-1.5e-3}";
    const size_t n = strlen(line);
    for (size_t cut = 0; cut <= n; cut++) {
        char *const copy = rex_mem_take(cut, 1, NULL);
        memcpy(copy, line, cut);
        rex_err e;
        rex_str raw[3];
        const rex_status fast = rex_jscan((rex_str){copy, cut}, want, 3, raw, &e);
        const rex_status strict = parse(line, cut, &e);
        CHECK_STATUS(fast, cut == n ? REX_OK : REX_EFORMAT);
        CHECK_STATUS(strict, cut == n ? REX_OK : REX_EFORMAT);
        rex_mem_free(copy);
    }
}
END_TEST

START_TEST(t_i64_is_whole_or_refused) {
    int64_t v;
    rex_err e;
    CHECK_OK(rex_jraw_i64(rex_str_of("9223372036854775807"), &v, &e), e);
    CHECK(v == INT64_MAX);
    CHECK_OK(rex_jraw_i64(rex_str_of("-9223372036854775808"), &v, &e), e);
    CHECK(v == INT64_MIN);
    CHECK_STATUS(rex_jraw_i64(rex_str_of("9223372036854775808"), &v, &e), REX_ELIMIT);
    CHECK_STATUS(rex_jraw_i64(rex_str_of("1e19"), &v, &e), REX_ELIMIT);
    CHECK_OK(rex_jraw_i64(rex_str_of("1.2e1"), &v, &e), e);
    CHECK_EQ(v, 12);
    CHECK_STATUS(rex_jraw_i64(rex_str_of("0.5"), &v, &e), REX_EFORMAT);
}
END_TEST

/* ---- the writer -------------------------------------------------------------------------- */

START_TEST(t_writer_commas_and_escapes) {
    rex_buf b;
    rex_jw w;
    rex_buf_init(&b, 0);
    rex_jw_init(&w, &b);
    rex_jw_obj(&w);
    rex_jw_key(&w, "a");
    rex_jw_arr(&w);
    rex_jw_i64(&w, INT64_MIN);
    rex_jw_f64(&w, 0.1);
    rex_jw_f32(&w, 0.1f);
    rex_jw_obj(&w);
    rex_jw_obj_end(&w);
    rex_jw_arr(&w);
    rex_jw_arr_end(&w);
    rex_jw_arr_end(&w);
    rex_jw_keys(&w, (rex_str){"\"k\"", 3});
    rex_jw_str(&w, (rex_str){"\\\b\f\n\r\t\x01\0\x7F\xC3\xA9\xFFz", 13});
    rex_jw_key(&w, "c");
    rex_jw_bool(&w, true);
    rex_jw_key(&w, "d");
    rex_jw_null(&w);
    rex_jw_key(&w, "e");
    rex_jw_raw(&w, rex_str_of("[1]"));
    rex_jw_obj_end(&w);
    CHECK_STR(b.p, "{\"a\":[-9223372036854775808,0.1,0.1,{},[]],\"\\\"k\\\"\":"
                   "\"\\\\\\b\\f\\n\\r\\t\\u0001\\u0000\x7F\xC3\xA9\xEF\xBF\xBDz\","
                   "\"c\":true,\"d\":null,\"e\":[1]}");
    rex_err e;
    CHECK_OK(parse(b.p, b.n, &e), e);
    rex_buf_free(&b);
}
END_TEST

/* ---- lines ------------------------------------------------------------------------------- */

/* All lines joined by '|', read from a path. */
static rex_status joined(const char *path, rex_buf *b) {
    rex_lines *l;
    rex_err e;
    REX_TRY(rex_lines_open(path, &l, &e));
    rex_status s = REX_OK;
    bool more = true;
    for (int64_t want_no = 1; s == REX_OK; want_no++) {
        rex_str line;
        int64_t no;
        s = rex_lines_next(l, &line, &no, &more, &e);
        if (s != REX_OK || !more) break;
        CHECK_EQ(no, want_no);
        rex_buf_add(b, line.p, line.n);
        rex_buf_add(b, "|", 1);
    }
    rex_lines_close(l);
    return s == REX_OK ? rex_buf_check(b, &e) : s;
}

/* The same bytes through a pipe, written by a child in odd pieces. */
static rex_status piped(const char *text, size_t n, rex_buf *b) {
    int fd[2];
    if (pipe(fd) != 0) return REX_EIO;
    const pid_t child = fork();
    if (child == 0) {
        close(fd[0]);
        for (size_t at = 0, step = 1; at < n; at += step, step = step * 3 % 7001 + 1) {
            const size_t part = n - at < step ? n - at : step;
            if (write(fd[1], text + at, part) != (ssize_t)part) _exit(1);
            step = part;
        }
        _exit(0);
    }
    close(fd[1]);
    char path[32];
    snprintf(path, sizeof path, "/dev/fd/%d", fd[0]);
    const rex_status s = joined(path, b);
    close(fd[0]);
    return s;
}

START_TEST(t_lines_of_files_and_pipes) {
    static const struct {
        const char *text, *lines;
    } cases[] = {{"", ""},         {"\n", "|"},         {"a", "a|"},       {"a\n", "a|"},
                 {"a\n\nb", "a||b|"}, {"a\r\nb\r\n", "a|b|"}, {"\r", "|"}, {"a\rb\n", "a\rb|"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rex_buf b;
        rex_buf_init(&b, 0);
        const size_t n = strlen(cases[i].text);
        CHECK_STATUS(joined(rex_test_file("lines", cases[i].text, n), &b), REX_OK);
        CHECK_STR(b.p ? b.p : "", cases[i].lines);
        rex_buf_reset(&b);
        CHECK_STATUS(piped(cases[i].text, n, &b), REX_OK);
        CHECK_STR(b.p ? b.p : "", cases[i].lines);
        rex_buf_free(&b);
    }
    rex_lines *l;
    rex_err e;
    CHECK_STATUS(rex_lines_open(rex_test_tmp("absent"), &l, &e), REX_EIO);
    CHECK_HAS(e.text, "absent: cannot open");
}
END_TEST

START_TEST(t_lines_long_ones_through_a_pipe) {
    const size_t n = 1500000;
    char *const text = rex_mem_take(n, 1, NULL);
    for (size_t i = 0; i < n; i++) text[i] = i % 700001 == 700000 ? '\n' : (char)('a' + i % 26);
    rex_buf a, b;
    rex_buf_init(&a, 0);
    rex_buf_init(&b, 0);
    CHECK_STATUS(joined(rex_test_file("long", text, n), &a), REX_OK);
    CHECK_STATUS(piped(text, n, &b), REX_OK);
    CHECK_EQ(a.n, b.n);
    CHECK_MEM(a.p, b.p, a.n);
    rex_buf_free(&a);
    rex_buf_free(&b);
    rex_mem_free(text);
}
END_TEST

static rex_status lines_round(void) {
    rex_buf b;
    rex_buf_init(&b, 0);
    rex_status s = joined(rex_test_file("three", "a\nb\nc\n", 6), &b);
    if (s == REX_OK) s = piped("a\nb\nc\n", 6, &b);
    rex_buf_free(&b);
    return s;
}

START_TEST(t_lines_torture) { REX_TORTURE(lines_round()); }
END_TEST

REX_TEST_MAIN("base_text", t_num_reads_exactly, t_num_round_trip_any_bits, t_num_halfway_cases,
              t_num_prints_plainly, t_f16_all_values, t_json_takes_the_grammar,
              t_json_refuses_with_the_place, t_json_bytes_stay_in_strings, t_json_depth_is_bounded,
              t_json_tree_is_what_was_written, t_json_many_names_are_compared, t_json_torture,
              t_scan_finds_spans, t_scan_refuses_with_the_place, t_scan_agrees_with_parse_on_cuts,
              t_i64_is_whole_or_refused, t_writer_commas_and_escapes, t_lines_of_files_and_pipes,
              t_lines_long_ones_through_a_pipe, t_lines_torture)
