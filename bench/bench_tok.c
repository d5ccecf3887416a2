/* SPDX-License-Identifier: MIT
 *
 * Encoding speed on one core: bench_tok MODEL FILE.jsonl [FIELD...]. The texts are the fields
 * (default: problem and solution) of every record; each is encoded on its own, nothing is kept
 * between them. Prints MB/s of seven passes, median, least and most, and the time to load.
 * scripts/bench_tok.py runs it in turns with the reference package.
 */
#include "../src/base/base.h"

#include <stdio.h>
#include <stdlib.h>

enum { PASSES = 7, TEXTS = 1 << 20 };

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static rex_status read_texts(rex_arena *a, const char *path, int n_field, char **field,
                             rex_str **out, size_t *n, rex_err *e) {
    rex_lines *l;
    rex_str line, want[8], raw[8];
    int64_t no;
    bool more = true;
    *out = rex_arena_take(a, TEXTS, sizeof **out, e);
    if (!*out) return REX_ENOMEM;
    REX_TRY(rex_lines_open(path, &l, e));
    for (int i = 0; i < n_field; i++) want[i] = rex_str_of(field[i]);
    rex_status st = REX_OK;
    while (st == REX_OK && (st = rex_lines_next(l, &line, &no, &more, e)) == REX_OK && more) {
        st = rex_jscan(line, want, (size_t)n_field, raw, e);
        for (int i = 0; st == REX_OK && i < n_field; i++) {
            rex_str s;
            if (!raw[i].p || *n == TEXTS) continue;
            st = rex_jraw_str(a, raw[i], &s, e);
            if (st == REX_OK) st = rex_str_copy(a, s, &(*out)[(*n)++], e);
        }
    }
    rex_lines_close(l);
    return st;
}

int main(int argc, char **argv) {
    static char *usual[] = {"problem", "solution"};
    rex_err e;
    rex_arena *a, *out;
    rex_tok *t;
    rex_str *text;
    size_t n = 0, bytes = 0, tokens = 0;
    if (argc < 3 || argc > 11) {
        puts("bench_tok MODEL FILE.jsonl [FIELD...]: skipped, no model given");
        return 0;
    }
    if (rex_arena_open(0, &a, &e) != REX_OK || rex_arena_open(0, &out, &e) != REX_OK) return 1;
    const double start = rex_clock();
    rex_status st = rex_tok_open(argv[1], &t, &e);
    const double load = rex_clock() - start;
    if (st == REX_OK)
        st = read_texts(a, argv[2], argc > 3 ? argc - 3 : 2, argc > 3 ? argv + 3 : usual, &text, &n,
                        &e);
    if (st != REX_OK) {
        fprintf(stderr, "bench_tok: %s\n", e.text);
        return 1;
    }
    for (size_t i = 0; i < n; i++) bytes += text[i].n;
    double mbs[PASSES];
    for (int p = 0; p < PASSES; p++) {
        const double begin = rex_clock();
        tokens = 0;
        for (size_t i = 0; i < n; i++) {
            const rex_mark m = rex_arena_mark(out);
            rex_ids ids;
            if (rex_tok_encode(t, text[i], REX_TOK_SPECIAL, out, &ids, NULL, &e) != REX_OK)
                return 1;
            tokens += ids.n;
            rex_arena_back(out, m);
        }
        mbs[p] = (double)bytes / (rex_clock() - begin) / 1e6;
    }
    qsort(mbs, PASSES, sizeof *mbs, by_value);
    printf("%s: %zu texts, %zu bytes, %zu tokens; %.1f MB/s (%.1f..%.1f); load %.0f ms\n",
           rex_tok_summary(t), n, bytes, tokens, mbs[PASSES / 2], mbs[0], mbs[PASSES - 1],
           load * 1e3);
    rex_tok_close(t);
    rex_arena_close(out);
    rex_arena_close(a);
    return 0;
}
