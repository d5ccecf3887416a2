/* SPDX-License-Identifier: MIT
 *
 * Records a second: lines of a mapped file, four wanted fields found, one string and one number
 * decoded; short records (about 80 bytes) and full ones (1 KB: two arrays of numbers and a text).
 * Beside it, in the same run: the line scan alone (memchr), which is the ceiling, and the whole
 * tree by rex_json_parse, which is what the fast road saves. Median of 7 interleaved repeats, in
 * processor time of one thread.
 * Ends with status 1 when the fast road is below 200 MB/s on full records, where most is skipped.
 */
#include "../src/base/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define REPEATS 7

static const rex_str want[] = {{"prompt_id", 9}, {"sample", 6}, {"reward", 6}, {"extracted", 9}};

static void short_record(rex_buf *b, int i) {
    rex_buf_addf(b, "{\"prompt_id\": \"gsm8k/test/%d\", \"sample\": %d, \"reward\": %d, "
                    "\"extracted\": \"%d\"}\n", i / 128, i % 128, i % 3 == 0, i % 997);
}

static void full_record(rex_buf *b, int i) {
    rex_buf_addf(b, "{\"v\":1,\"prompt_id\":\"gsm8k/test/%d\",\"sample\":%d,\"ids\":[", i / 128,
                 i % 128);
    for (int j = 0; j < 40; j++) rex_buf_addf(b, "%s%d", j ? "," : "", (i * 31 + j * 977) % 49152);
    rex_buf_addf(b, "],\"text\":\"There are %d apples and \\\"%d\\\" pears.\\nSo the answer is "
                    "%d, because each of the children gets two of them and one is left.\","
                    "\"logp\":[", i % 50, i % 7, i % 997);
    for (int j = 0; j < 40; j++)
        rex_buf_addf(b, "%s-%d.%06d", j ? "," : "", j % 3, (i * 7919 + j * 104729) % 1000000);
    rex_buf_addf(b, "],\"n_tok\":40,\"finish\":\"stop\",\"reward\":%d,\"extracted\":\"%d\"}\n",
                 i % 3 == 0, i % 997);
}

/* Seconds of processor time: what one core gives, also while others use the machine. */
static double cpu_clock(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double run(const char *path, int how, int64_t *sum) {
    const double start = cpu_clock();
    rex_lines *l;
    rex_arena *a;
    rex_err e;
    if (rex_lines_open(path, &l, &e) != REX_OK || rex_arena_open(0, &a, &e) != REX_OK) exit(1);
    const rex_mark m = rex_arena_mark(a);
    for (;;) {
        rex_str line, raw[4], id;
        int64_t no;
        bool more;
        double reward;
        rex_jval *v;
        if (rex_lines_next(l, &line, &no, &more, &e) != REX_OK) exit(1);
        if (!more) break;
        if (how == 0) {
            *sum += (int64_t)line.n;
        } else if (how == 1) {
            if (rex_jscan(line, want, 4, raw, &e) != REX_OK ||
                rex_jraw_f64(raw[2], &reward, &e) != REX_OK ||
                rex_jraw_str(a, raw[0], &id, &e) != REX_OK)
                exit(1);
            *sum += (int64_t)id.n + (reward > 0);
        } else {
            if (rex_json_parse(a, line, "line", &v, &e) != REX_OK) exit(1);
            *sum += v->n;
            rex_arena_back(a, m);
        }
    }
    rex_arena_close(a);
    rex_lines_close(l);
    return cpu_clock() - start;
}

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double measure(const char *name, void (*record)(rex_buf *, int), int n, int repeats) {
    char path[] = "/tmp/repexp-bench-XXXXXX";
    const int fd = mkstemp(path);
    rex_buf b;
    rex_buf_init(&b, 0);
    for (int i = 0; i < n; i++) record(&b, i);
    if (fd < 0 || b.bad || write(fd, b.p, b.n) != (ssize_t)b.n) exit(1);
    static const char *const how[] = {"lines alone", "wanted fields", "whole tree"};
    double t[3][REPEATS], fast = 0;
    int64_t sum = 0;
    for (int r = 0; r < repeats; r++)
        for (int h = 0; h < 3; h++) t[h][r] = run(path, h, &sum);
    printf("%s: %d of %.0f bytes (check %lld)\n", name, n, (double)b.n / n, (long long)sum);
    for (int h = 0; h < 3; h++) {
        qsort(t[h], (size_t)repeats, sizeof t[h][0], by_value);
        const double mb = (double)b.n * 1e-6;
        printf("  %-14s %7.0f MB/s  (%.0f .. %.0f)  %6.2f M records/s\n", how[h],
               mb / t[h][repeats / 2], mb / t[h][repeats - 1], mb / t[h][0],
               1e-6 * n / t[h][repeats / 2]);
        if (h == 1) fast = mb / t[h][repeats / 2];
    }
    unlink(path);
    close(fd);
    rex_buf_free(&b);
    return fast;
}

int main(int argc, char **argv) {
    const bool quick = argc > 1 && strcmp(argv[1], "--quick") == 0;
    const int part = quick ? 20 : 1;
    const int repeats = quick ? 1 : REPEATS;
    (void)measure("short records", short_record, 300000 / part, repeats);
    const double b = measure("full records", full_record, 60000 / part, repeats);
    return b < 200;
}
