/* SPDX-License-Identifier: MIT
 *
 * rex_test: the runner behind rex_test.h.
 *
 * Each test is a test case of its own, so that it gets its own process and timeout. Checks count
 * in that process; a teardown turns the count into a failed test, so that a test cannot pass over
 * a failed check. Skips are told to the parent through shared memory.
 */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include "rex_test.h"

#include <dirent.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef REX_TEST_SECONDS
#define REX_TEST_SECONDS 180
#endif
#define SHOWN 20

static int failures;
static int64_t live_before;
static int *skipped; /* shared with the parent */
static const char *current = "";
static char tmp[256];

void rex_test_fail(const char *file, int line, const char *fmt, ...) {
    if (++failures > SHOWN) return;
    va_list ap;
    va_start(ap, fmt);
    fprintf(stderr, "%s:%d: ", file, line);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
}

void rex_test_skip(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    fprintf(stderr, "skipped: ");
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    ++*skipped;
}

static void setup(void) {
    failures = 0;
    live_before = rex_mem_live();
}

static void teardown(void) {
    rex_mem_fail_at(0);
    const long long left = rex_mem_live() - live_before;
    if (failures) ck_abort_msg("%d failed checks", failures);
    if (left) ck_abort_msg("%lld allocations were not given back", left);
}

const char *rex_test_data(const char *sub) {
    static char path[4096];
    const char *const root = getenv("REPEXP_DATA");
    snprintf(path, sizeof path, "%s/%s", root && *root ? root : "../shared/data", sub);
    return access(path, R_OK) == 0 ? path : NULL;
}

const char *rex_test_tmp(const char *name) {
    static char path[8][512];
    static int at;
    char *const out = path[at++ % 8];
    snprintf(out, sizeof path[0], "%s/%s", tmp, name);
    return out;
}

const char *rex_test_file(const char *name, const void *p, size_t n) {
    const char *const path = rex_test_tmp(name);
    FILE *const f = fopen(path, "wb");
    if (!f || fwrite(p, 1, n, f) != n || fclose(f) != 0) ck_abort_msg("cannot write %s", path);
    return path;
}

bool rex_test_torture(const char *file, int line, const char *what, int64_t round, int64_t asked,
                      int64_t leaked, rex_status got) {
    const bool failed = asked >= round; /* the chosen allocation did take place */
    const rex_status want = failed ? REX_ENOMEM : REX_OK;
    if (got != want)
        rex_test_fail(file, line, "%s with allocation %lld of %lld failing = %s, want %s", what,
                      (long long)round, (long long)asked, rex_status_name(got),
                      rex_status_name(want));
    if (leaked)
        rex_test_fail(file, line, "%s with allocation %lld failing leaves %lld allocations", what,
                      (long long)round, (long long)leaked);
    return failed && failures < SHOWN;
}

static void remove_tree(const char *dir) {
    DIR *const d = opendir(dir);
    if (!d) return;
    for (const struct dirent *x; (x = readdir(d));) {
        char path[1024];
        struct stat st;
        if (strcmp(x->d_name, ".") == 0 || strcmp(x->d_name, "..") == 0) continue;
        snprintf(path, sizeof path, "%s/%s", dir, x->d_name);
        if (lstat(path, &st) == 0 && S_ISDIR(st.st_mode)) remove_tree(path);
        else unlink(path);
    }
    closedir(d);
    rmdir(dir);
}

/* Check's own report goes line by line: file:line:kind:case:test:0: message. */
static void tell(SRunner *sr, const char *name) {
    TestResult **const all = srunner_failures(sr);
    const int n = srunner_ntests_failed(sr);
    for (int i = 0; i < n; i++) {
        const char *const msg = tr_msg(all[i]);
        fprintf(stderr, "FAILED %s %s: %s (%s:%d)\n", name, tr_tcname(all[i]), msg ? msg : "",
                tr_lfile(all[i]) ? tr_lfile(all[i]) : "?", tr_lno(all[i]));
    }
    free(all);
}

int rex_test_run(const char *name, const TTest *const *tests, size_t n) {
    current = name;
    skipped =
        mmap(NULL, sizeof *skipped, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    const char *const base = getenv("TMPDIR");
    snprintf(tmp, sizeof tmp, "%s/repexp-test-XXXXXX", base && *base ? base : "/tmp");
    if (skipped == MAP_FAILED || !mkdtemp(tmp)) {
        fprintf(stderr, "%s: no place for temporary files\n", name);
        return 1;
    }
    SRunner *const sr = srunner_create(NULL);
    Suite *const suite = suite_create(name);
    srunner_add_suite(sr, suite);
    for (size_t i = 0; i < n; i++) {
        TCase *const tc = tcase_create(tests[i]->name);
        tcase_set_timeout(tc, REX_TEST_SECONDS);
        tcase_add_checked_fixture(tc, setup, teardown);
        tcase_add_test(tc, tests[i]);
        suite_add_tcase(suite, tc);
    }
    srunner_run_all(sr, CK_SILENT);
    tell(sr, name);
    const int failed = srunner_ntests_failed(sr);
    const int ran = srunner_ntests_run(sr);
    remove_tree(tmp);
    printf("%d passed, %d failed, %d skipped\n", ran - failed - *skipped, failed, *skipped);
    srunner_free(sr);
    return failed != 0;
}
