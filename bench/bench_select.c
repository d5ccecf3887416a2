/* SPDX-License-Identifier: MIT
 *
 * bench_select: our side of `make bench-select`. Without argument it measures a pool of 10,000
 * random rows by itself. With `serve` it reads one command a line on stdin and answers with one
 * JSON object a line on stdout, so that bench/select_numpy.py can run it and NumPy in turns on one
 * core over the same file of f32 rows. Everything is timed from mapped rows to the finished order.
 *   open PATH ROWS COLS     maps packed f32 rows (read once, so that the page cache has them)
 *   select K                the order of K picks: no centring, lambda 1, first pick row 0
 *   stream                  seconds to read all rows once, the best of three
 *   sweep                   seconds per pass of the greedy form when every row is refreshed by it
 *   project OUT             sparse projection of all rows to OUT dimensions
 */
#include "../src/explore/explore.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static rex_matrix rows;
static uint64_t sink;

/* Processor time of this process, which has one thread. */
static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static rex_status check(rex_status st, const rex_err *e) {
    if (st != REX_OK) fprintf(stderr, "bench_select: %s\n", e->text);
    return st;
}

static int open_rows(const char *path, long long n, long long d) {
    const int fd = open(path, O_RDONLY);
    const size_t bytes = (size_t)n * (size_t)d * sizeof(float);
    void *const p = fd < 0 ? MAP_FAILED : mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED) return 0;
    close(fd);
    rows = (rex_matrix){p, n, d, REX_ELEM_F32};
    for (size_t i = 0; i < bytes; i += 4096) sink += ((const unsigned char *)p)[i];
    return 1;
}

static size_t peak_kib(void) {
    size_t kib = 0;
    char line[256];
    FILE *const f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f)) (void)sscanf(line, "VmHWM: %zu", &kib);
    if (f) fclose(f);
    return kib;
}

static int run_select(long long k) {
    rex_select_opts o;
    rex_select *s = NULL;
    rex_err e;
    rex_select_defaults(REX_SELECT_ELLIPTICAL, &o);
    o.center = false;
    o.first = REX_FIRST_INDEX;
    o.first_index = 0;
    int64_t *const order = calloc((size_t)k, sizeof *order);
    const rex_select_rows r = {.size = sizeof r, .m = rows, .n = rows.rows};
    const double start = seconds();
    rex_status st = rex_select_open(&o, 0, NULL, &s, &e);
    if (st == REX_OK) st = rex_select_add(s, &r, &e);
    if (st == REX_OK) st = rex_select_next(s, k, order, NULL, &e);
    const double took = seconds() - start;
    rex_select_close(s);
    printf("{\"seconds\": %.9f, \"peak_kib\": %zu, \"order\": [", took, peak_kib());
    for (long long i = 0; i < k; i++) printf("%s%lld", i ? ", " : "", (long long)order[i]);
    printf("]}\n");
    free(order);
    return check(st, &e) == REX_OK;
}

static int run_stream(void) {
    const uint64_t *const p = rows.p;
    const size_t n = (size_t)(rows.rows * rows.cols) / 16 * 8;
    double best = 1e9;
    for (int again = 0; again < 3; again++) {
        uint64_t a[8] = {0};
        const double start = seconds();
        for (size_t i = 0; i < n; i += 8)
            for (int l = 0; l < 8; l++) a[l] += p[i + (size_t)l];
        const double took = seconds() - start;
        for (int l = 0; l < 8; l++) sink += a[l];
        if (took < best) best = took;
    }
    printf("{\"seconds\": %.9f, \"sink\": %d}\n", best, (int)(sink & 1));
    return 1;
}

/* One hot row and a share of 0: a pick that must refresh one row of a block refreshes all of it. */
static int run_sweep(void) {
    enum { PICKS = 8 };
    rex_arena *a = NULL;
    rex_greedy *g = NULL;
    rex_feat f;
    rex_err e;
    const rex_feat_part part = {&rows, NULL, rows.rows};
    const rex_feat_opts o = {false, true, false, 1.0, NULL};
    const rex_greedy_tune tune = {256, 1, 0.0};
    if (check(rex_arena_open(0, &a, &e), &e) != REX_OK) return 0;
    double start = seconds();
    if (check(rex_feat_open(a, &part, 1, &o, NULL, &f, &e), &e) != REX_OK) return 0;
    const double norms = seconds() - start;
    if (check(rex_greedy_open(&f, REX_GREEDY_ELLIPSE, NULL, &tune, NULL, &g, &e), &e) != REX_OK)
        return 0;
    double least = 0.0;
    int64_t before = 0, after = 0, dots = 0, i = 0, passes = 0;
    for (int t = 0; t < PICKS; t++) {
        rex_greedy_work(g, &before, &dots);
        start = seconds();
        if (check(rex_greedy_pick(g, &i, NULL, &e), &e) != REX_OK) return 0;
        const double took = seconds() - start;
        rex_greedy_work(g, &after, &dots);
        if (after - before < rows.rows * 9 / 10) continue;
        least = passes == 0 || took < least ? took : least;
        passes++;
    }
    rex_greedy_close(g);
    rex_arena_close(a);
    printf("{\"seconds\": %.9f, \"passes\": %lld, \"norms\": %.9f}\n", least, (long long)passes,
           norms);
    return 1;
}

static int run_project(long long out) {
    rex_project *p = NULL;
    rex_err e;
    float *const y = malloc((size_t)(rows.rows * out) * sizeof *y);
    const double start = seconds();
    rex_status st = rex_project_open(REX_PROJECT_SPARSE, 0, rows.cols, out, &p, &e);
    const double drawn = seconds();
    if (st == REX_OK) st = rex_project_apply(p, &rows, NULL, y, &e);
    const double end = seconds();
    rex_project_close(p);
    printf("{\"seconds\": %.9f, \"draw\": %.9f}\n", end - drawn, drawn - start);
    free(y);
    return check(st, &e) == REX_OK;
}

/* By itself: what one core does with 20 MB of rows. */
static int run_alone(void) {
    enum { N = 10000, D = 512 };
    float *const x = malloc(sizeof(float) * N * D);
    const rex_key key = rex_key_make(0);
    for (uint32_t i = 0; x && i < N * D; i++)
        x[i] = (float)(rex_rand_unit(key, REX_STREAM_TEST, i, 0, 0) - 0.5);
    rows = (rex_matrix){x, N, D, REX_ELEM_F32};
    printf("10,000 x 512 rows, table %s: 64 picks, streaming, a sweep, projection to 64\n",
           rex_row_ops_best()->name);
    const int ok = x && run_select(64) && run_stream() && run_sweep() && run_project(64);
    free(x);
    return ok ? 0 : 1;
}

int main(int argc, char **argv) {
    char line[4096], path[4000];
    long long n, d;
    if (argc < 2 || strcmp(argv[1], "serve") != 0) return run_alone();
    while (fgets(line, sizeof line, stdin)) {
        int ok = 0;
        if (sscanf(line, "open %3999s %lld %lld", path, &n, &d) == 3) {
            ok = open_rows(path, n, d);
            printf("{\"ops\": \"%s\"}\n", rex_row_ops_best()->name);
        } else if (sscanf(line, "select %lld", &n) == 1) {
            ok = run_select(n);
        } else if (strncmp(line, "stream", 6) == 0) {
            ok = run_stream();
        } else if (strncmp(line, "sweep", 5) == 0) {
            ok = run_sweep();
        } else if (sscanf(line, "project %lld", &n) == 1) {
            ok = run_project(n);
        }
        if (!ok) return 1;
        fflush(stdout);
    }
    return 0;
}
