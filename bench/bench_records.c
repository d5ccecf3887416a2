/* SPDX-License-Identifier: MIT
 *
 * Records by column and what is made of them: a million short records in 10,000 prompts, read and
 * scored as `passk` does it (k of 1, 2, 4, 8 with majority and intervals), and full records of 1 KB
 * read for three fields. Processor time of one thread, median of 5 interleaved repeats; beside each
 * the line scan alone, which is the ceiling. Ends with status 1 when the million takes 3 s or more,
 * or full records are read at less than 200 MB/s. --quick: a twentieth of it, once.
 */
#include "../src/base/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { REPEATS = 5 };

static double cpu_clock(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void need(rex_status s, const rex_err *e) {
    if (s == REX_OK) return;
    fprintf(stderr, "%s\n", e->text);
    exit(1);
}

static uint64_t mix(uint64_t x) {
    x = (x + 1) * 0x9E3779B97F4A7C15u;
    return (x ^ x >> 31) >> 8;
}

static void write_file(const char *path, size_t n, size_t per, bool full) {
    rex_buf b;
    rex_buf_init(&b, 0);
    for (size_t i = 0; i < n; i++) {
        const uint64_t hard = mix(i / per) % 100;
        const bool right = mix(i) % 100 < hard;
        rex_buf_addf(&b, "{\"prompt_id\": \"task/%05zu\", \"sample\": %zu, ", i / per, i % per);
        if (full) {
            rex_buf_addf(&b, "\"ids\": [");
            for (size_t j = 0; j < 48; j++)
                rex_buf_addf(&b, "%s%d", j ? "," : "", (int)(mix(i * 48 + j) % 49152));
            rex_buf_addf(&b, "], \"logp\": [");
            for (size_t j = 0; j < 48; j++)
                rex_buf_addf(&b, "%s-0.%06d", j ? "," : "", (int)(mix(i * 48 + j) % 1000000));
            rex_buf_addf(&b, "], \"text\": \"");
            for (int j = 0; j < 6; j++) rex_buf_addf(&b, "so %d and \\\"that\\\" makes it ", j);
            rex_buf_addf(&b, "\", \"n_tok\": 48, ");
        }
        rex_buf_addf(&b, "\"reward\": %d, \"extracted\": \"%d\"}\n", right,
                     right ? 7 : 8 + (int)(mix(3 * i) % 10));
    }
    rex_out *o;
    rex_err e;
    need(rex_out_open(path, &o, &e), &e);
    rex_out_add(o, b.p, b.n);
    need(rex_out_commit(o, &e), &e);
    rex_buf_free(&b);
}

typedef struct {
    double lines, read, score;
    size_t bytes, rows;
} times;

static times once(const char *path, bool score) {
    times t = {.bytes = 0};
    rex_err e;
    rex_lines *l;
    double at = cpu_clock();
    need(rex_lines_open(path, &l, &e), &e);
    for (;;) {
        rex_str line;
        int64_t no;
        bool more;
        need(rex_lines_next(l, &line, &no, &more, &e), &e);
        if (!more) break;
        t.bytes += line.n + 1;
    }
    rex_lines_close(l);
    t.lines = cpu_clock() - at;
    rex_records_opts o;
    rex_records *r;
    rex_records_defaults(&o);
    o.want = REX_F(REWARD) | REX_F(EXTRACTED);
    at = cpu_clock();
    need(rex_records_open(path, &o, &r, &e), &e);
    t.read = cpu_clock() - at;
    t.rows = rex_records_rows(r);
    at = cpu_clock();
    if (score) {
        static const int64_t k[] = {1, 2, 4, 8};
        rex_arena *a;
        rex_scored s;
        rex_passk_opts p;
        rex_passk out;
        need(rex_arena_open(0, &a, &e), &e);
        need(rex_records_scored(r, path, true, a, &s, &e), &e);
        rex_passk_defaults(&p);
        p.k = k;
        p.n_k = 4;
        need(rex_passk_run(a, NULL, &s, &p, &out, &e), &e);
        rex_arena_close(a);
    }
    t.score = cpu_clock() - at;
    rex_records_close(r);
    return t;
}

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Prints median (least .. most) of one measure; returns the median. */
static double say(const char *what, double *v, int n, double scale, const char *unit) {
    qsort(v, (size_t)n, sizeof *v, by_value);
    printf("  %-26s %8.3f s (%.3f .. %.3f)", what, v[n / 2], v[0], v[n - 1]);
    if (unit) printf("  %7.0f %s", scale / v[n / 2], unit);
    printf("\n");
    return v[n / 2];
}

int main(int argc, char **argv) {
    const bool quick = argc > 1 && strcmp(argv[1], "--quick") == 0;
    const int repeats = quick ? 1 : REPEATS;
    const size_t part = quick ? 20 : 1;
    char path[2][64];
    double v[2][3][REPEATS];
    times t[2];
    for (int f = 0; f < 2; f++) {
        (void)snprintf(path[f], sizeof path[f], "/tmp/bench-records-%ld-%d.jsonl", (long)getpid(),
                       f);
        write_file(path[f], (f ? 100000 : 1000000) / part, 100, f == 1);
    }
    for (int i = 0; i < repeats; i++)
        for (int f = 0; f < 2; f++) {
            t[f] = once(path[f], f == 0);
            v[f][0][i] = t[f].lines;
            v[f][1][i] = t[f].read;
            v[f][2][i] = t[f].read + t[f].score;
        }
    bool ok = true;
    for (int f = 0; f < 2; f++) {
        const double mb = (double)t[f].bytes * 1e-6;
        printf("%zu records of %zu bytes\n", t[f].rows, t[f].bytes / t[f].rows);
        (void)say("lines alone", v[f][0], repeats, mb, "MB/s");
        const double read = say("columns", v[f][1], repeats, mb, "MB/s");
        if (f == 0) ok = say("columns, passk, intervals", v[f][2], repeats, 0, NULL) < 3.0 && ok;
        else ok = mb / read >= 200.0 && ok;
        (void)remove(path[f]);
    }
    return ok ? 0 : 1;
}
