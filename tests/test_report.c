/* SPDX-License-Identifier: MIT
 *
 * test_report.c: the picture's plane, event files, and pages from run folders of several kinds.
 */
#include "rex_test.h"

#include "../src/report/report.h"

#include <sys/stat.h>

static const double PI = 3.14159265358979323846;

static bool holds(rex_view v, const char *what) {
    const size_t n = strlen(what);
    for (size_t i = 0; i + n <= v.n; i++)
        if (memcmp(v.p + i, what, n) == 0) return true;
    return false;
}

START_TEST(t_plane_finds_the_axes) {
    rex_arena *a = NULL;
    rex_err e;
    CHECK_STATUS(rex_arena_open(0, &a, &e), REX_OK);
    /* An ellipse in a plane of R^5: half axes 3 and 1 along orthonormal u, v, off the origin. */
    enum { N = 40, D = 5 };
    const double u[D] = {0.6, 0.0, 0.8, 0.0, 0.0}, v[D] = {0.0, 0.8, 0.0, -0.6, 0.0};
    double row[N * D], xy[2 * N], share[2];
    for (int i = 0; i < N; i++)
        for (int k = 0; k < D; k++)
            row[i * D + k] = 7.0 + 3.0 * cos(2 * PI * i / N) * u[k] + sin(2 * PI * i / N) * v[k];
    CHECK_STATUS(rex_plane(a, row, N, D, xy, share, &e), REX_OK);
    CHECK_CLOSE(share[0], 0.9, 1.0, 1000);
    CHECK_CLOSE(share[1], 0.1, 1.0, 1000);
    for (int i = 0; i < N; i++) {
        CHECK_CLOSE(fabs(xy[2 * i]), fabs(3.0 * cos(2 * PI * i / N)), 1.0, 1e5);
        CHECK_CLOSE(fabs(xy[2 * i + 1]), fabs(sin(2 * PI * i / N)), 1.0, 1e5);
    }
    for (int i = 0; i < N * D; i++) row[i] = 2.0; /* no variance at all */
    CHECK_STATUS(rex_plane(a, row, N, D, xy, share, &e), REX_OK);
    CHECK(share[0] == 0.0 && share[1] == 0.0);
    for (int i = 0; i < 2 * N; i++) CHECK(xy[i] == 0.0);
    CHECK_STATUS(rex_plane(a, row, 1, D, xy, share, &e), REX_OK);
    rex_arena_close(a);
} END_TEST

static uint32_t le32(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

START_TEST(t_events_frame) {
    const char *const dir = rex_test_tmp("events");
    rex_events *v = NULL;
    rex_err e;
    CHECK_EQ(mkdir(dir, 0777), 0);
    CHECK_STATUS(rex_events_open(dir, 1000.0, &v, &e), REX_OK);
    rex_events_scalar(v, "loss", 3, 1001.5, 0.25);
    CHECK_STATUS(rex_events_close(v, &e), REX_OK);
    char path[512];
    snprintf(path, sizeof path, "%s/events.out.tfevents.0000001000.repexp", dir);
    rex_map *m = NULL;
    CHECK_STATUS(rex_map_open(path, &m, &e), REX_OK);
    const rex_view f = rex_map_view(m);
    /* The first record: wall time, then the version; its length and that length's known checksum.
     */
    CHECK_EQ(le32(f.p), 24);
    CHECK(memcmp(f.p + 12 + 9, "\x1a\x0d" "brain.Event:2", 15) == 0);
    const uint8_t *const two = f.p + 12 + 24 + 4;
    const uint32_t n = le32(two);
    CHECK_EQ(f.n, 12u + 24 + 4 + 12 + n + 4);
    /* wall time 9 bytes, step 2, then summary { value { tag "loss", simple_value 0.25 } } */
    CHECK(memcmp(two + 12 + 9, "\x10\x03\x2a\x0d\x0a\x0b\x0a\x04loss\x15\x00\x00\x80\x3e", 17) ==
          0);
    rex_map_close(m);
} END_TEST

static void put(const char *dir, const char *name, const char *text) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *const f = fopen(path, "wb");
    CHECK(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

static const char POOL[] =
    "{\"prompt_id\":\"a\",\"sample\":0,\"text\":\"</script><b>x\",\"reward\":1}\n"
    "{\"prompt_id\":\"a\",\"sample\":1,\"text\":\"two\",\"reward\":0,\"reason\":\"off by one\"}\n"
    "{\"prompt_id\":\"b\",\"sample\":0,\"text\":\"three\",\"reward\":null}\n"
    "{\"prompt_id\":\"b\",\"sample\":1,\"text\":\"four\",\"reward\":0}\n";

static size_t page_bytes(const char *path, const char *must) {
    rex_map *m = NULL;
    rex_err e;
    CHECK_STATUS(rex_map_open(path, &m, &e), REX_OK);
    if (!m) return 0;
    const rex_view v = rex_map_view(m);
    CHECK(holds(v, must));
    CHECK(!holds(v, "</script><b>")); /* data never ends the script */
    const size_t n = v.n;
    rex_map_close(m);
    return n;
}

START_TEST(t_page_of_a_bare_pool) {
    const char *const dir = rex_test_tmp("bare");
    char out[512];
    rex_err e;
    CHECK_EQ(mkdir(dir, 0777), 0);
    put(dir, "pool.jsonl", POOL);
    snprintf(out, sizeof out, "%s/report.html", dir);
    rex_report_opts o;
    rex_report_defaults(&o);
    o.stamp = false;
    REX_TORTURE(rex_report_page(&dir, 1, out, &o, &e));
    const size_t n = page_bytes(out, "\"omitted\":0");
    CHECK(n > 10000);
    CHECK_STATUS(rex_report_page(&dir, 1, out, &o, &e), REX_OK);
    CHECK_EQ(page_bytes(out, "off by one"), n);
} END_TEST

START_TEST(t_page_refuses_what_is_no_run) {
    const char *dir = rex_test_tmp("none");
    char out[512];
    rex_err e;
    rex_report_opts o;
    rex_report_defaults(&o);
    CHECK_EQ(mkdir(dir, 0777), 0);
    snprintf(out, sizeof out, "%s/report.html", dir);
    CHECK_STATUS(rex_report_page(&dir, 1, out, &o, &e), REX_EFORMAT);
    CHECK(strstr(e.text, "no run folder") != NULL);
    CHECK_STATUS(rex_report_page(&dir, 0, out, &o, &e), REX_EARG);
    put(dir, "explore.json", "{\"rules\": ");
    CHECK(rex_report_page(&dir, 1, out, &o, &e) == REX_EFORMAT);
    put(dir, "explore.json", "{\"pass\": {\"x\": {\"value\": 1, \"low\": 0, \"high\": 1}}}");
    CHECK_STATUS(rex_report_page(&dir, 1, out, &o, &e), REX_EFORMAT);
    CHECK(strstr(e.text, "\"x\"") != NULL);
    FILE *const f = fopen(out, "rb");
    CHECK(f == NULL); /* nothing was left behind */
} END_TEST

REX_TEST_MAIN("report", t_plane_finds_the_axes, t_events_frame, t_page_of_a_bare_pool,
              t_page_refuses_what_is_no_run)
