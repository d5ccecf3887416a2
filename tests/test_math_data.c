/* SPDX-License-Identifier: MIT
 *
 * The strict maths grader on real answers: every MATH gold against itself without the identity
 * shortcut, every reference solution against its gold, gsm8k and AIME likewise, and 5,000 seeded
 * rewritings of MATH golds that keep the value (other fractions, decimals, spacing, units, order,
 * prose). Counts and times are printed.
 */
#include "../src/tasks/math.h"
#include "rex_test.h"

#include <time.h>

typedef struct {
    rex_str gold, solution;
} row;

typedef struct {
    rex_arena *a;
    row *r;
    size_t n;
} rows;

static rex_str field(rex_arena *a, rex_str raw) {
    rex_str s = { "", 0 };
    if (raw.p && rex_jraw_kind(raw) == REX_J_STR && rex_jraw_str(a, raw, &s, NULL) != REX_OK)
        ck_abort();
    return raw.p && rex_jraw_kind(raw) == REX_J_NUM ? raw : s;
}

static void load(rows *t, const char *path) {
    const rex_str want[] = { { "answer", 6 }, { "solution", 8 } };
    rex_lines *l = NULL;
    rex_err e;
    CHECK_OK(rex_lines_open(path, &l, &e), e);
    for (bool more = true; l && more;) {
        rex_str line, raw[2];
        int64_t no;
        if (rex_lines_next(l, &line, &no, &more, &e) != REX_OK || !more) break;
        CHECK_OK(rex_jscan(line, want, 2, raw, &e), e);
        row x = { field(t->a, raw[0]), field(t->a, raw[1]) }, copy;
        if (x.gold.n == 0) continue;
        CHECK_OK(rex_str_copy(t->a, x.gold, &copy.gold, &e), e);
        CHECK_OK(rex_str_copy(t->a, x.solution, &copy.solution, &e), e);
        if (t->n == 20000) ck_abort();
        t->r[t->n++] = copy;
    }
    rex_lines_close(l);
}

static rows open_rows(void) {
    rows t = { 0 };
    if (rex_arena_open(0, &t.a, NULL) != REX_OK ||
        !(t.r = rex_arena_zero(t.a, 20000, sizeof *t.r, NULL)))
        ck_abort();
    return t;
}

static rex_grade grade(rex_arena *a, rex_str gold, rex_str resp, int flags) {
    rex_grade g;
    rex_err e;
    CHECK_OK(rex_math_grade_with(gold, resp, flags, a, &g, &e), e);
    return g;
}

static double now_us(void) { /* of this thread: the machine may be shared */
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int by_time(const void *x, const void *y) {
    const double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

/* How many grade `correct`; tells the first few that do not. */
static size_t count(const rows *t, bool solution, int flags, const char *what) {
    rex_arena *a = NULL;
    double *us = malloc(t->n * sizeof *us);
    size_t ok = 0;
    if (rex_arena_open(0, &a, NULL) != REX_OK || !us) ck_abort();
    for (size_t k = 0; k < t->n; k++) {
        const rex_mark m = rex_arena_mark(a);
        const double start = now_us();
        const rex_grade g =
            grade(a, t->r[k].gold, solution ? t->r[k].solution : t->r[k].gold, flags);
        us[k] = now_us() - start;
        if (g.verdict == REX_VERDICT_correct) ok++;
        else if (k - ok < 8)
            fprintf(stderr, "%s: gold %.*s: %s\n", what, (int)t->r[k].gold.n, t->r[k].gold.p,
                    g.reason);
        rex_arena_back(a, m);
    }
    qsort(us, t->n, sizeof *us, by_time);
    printf("%s: %zu of %zu correct; us median %.1f, 99%% %.1f, worst %.1f\n", what, ok, t->n,
           us[t->n / 2], us[t->n * 99 / 100], us[t->n - 1]);
    CHECK(us[t->n * 99 / 100] < 1000.0);
    free(us);
    rex_arena_close(a);
    return ok;
}

START_TEST(t_math_golds_equal_themselves) {
    NEED_DATA(train, "math/train.jsonl");
    rows t = open_rows();
    load(&t, train);
    load(&t, rex_test_data("math/test.jsonl"));
    CHECK_EQ(t.n, 12498);
    CHECK_EQ(count(&t, false, REX_MATH_NO_IDENTITY, "MATH golds"), 12498);
    rex_arena_close(t.a);
} END_TEST

START_TEST(t_math_reference_solutions_are_correct) {
    NEED_DATA(train, "math/train.jsonl");
    rows t = open_rows();
    load(&t, train);
    load(&t, rex_test_data("math/test.jsonl"));
    CHECK(count(&t, true, 0, "MATH solutions") * 1000 >= t.n * 998);
    CHECK(count(&t, true, REX_MATH_NO_IDENTITY, "MATH solutions, no identity") * 1000 >= t.n * 998);
    rex_arena_close(t.a);
} END_TEST

START_TEST(t_math_gsm8k_and_aime_golds) {
    NEED_DATA(train, "gsm8k/train.jsonl");
    rows t = open_rows();
    load(&t, train);
    load(&t, rex_test_data("gsm8k/test.jsonl"));
    CHECK_EQ(t.n, 8792);
    CHECK_EQ(count(&t, false, REX_MATH_NO_IDENTITY, "gsm8k golds"), 8792);
    static const char *const aime[] = {"aime/aime2024.jsonl", "aime/aime2025.jsonl",
                                       "aime/amc23.jsonl"};
    t.n = 0;
    for (int k = 0; k < 3; k++) load(&t, rex_test_data(aime[k]));
    CHECK_EQ(t.n, 100);
    CHECK_EQ(count(&t, false, REX_MATH_NO_IDENTITY, "AIME golds"), 100);
    rex_arena_close(t.a);
} END_TEST

/* ---- rewritings -------------------------------------------------------------------------- */

typedef struct {
    char p[4096];
    size_t n;
} text;

static void put(text *t, const char *p, size_t n) {
    if (t->n + n < sizeof t->p) {
        memcpy(t->p + t->n, p, n);
        t->n += n;
    }
}
static void puts_(text *t, const char *s) { put(t, s, strlen(s)); }

static bool starts(const char *p, size_t left, const char *s) {
    return left >= strlen(s) && !memcmp(p, s, strlen(s));
}

/* \frac{a}{b} with integers at p: their values and the length. */
static size_t int_frac(const char *p, size_t left, long *a, long *b) {
    char s[48];
    int used = 0;
    const size_t n = left < 47 ? left : 47;
    memcpy(s, p, n);
    s[n] = 0;
    const char *head = starts(s, n, "\\frac{") ? "\\frac{%5ld}{%5ld}%n" : "\\dfrac{%5ld}{%5ld}%n";
    return sscanf(s, head, a, b, &used) == 2 && used > 0 && *b > 0 ? (size_t)used : 0;
}

/* Every fraction of integers as one of: larger terms, dfrac, tfrac, a decimal if the text is only
 * that fraction. False if there is none. */
static bool other_fractions(rex_str g, int way, text *out) {
    bool any = false;
    for (size_t k = 0; k < g.n;) {
        long a, b;
        const size_t n = int_frac(g.p + k, g.n - k, &a, &b);
        char s[96];
        if (!n || (k && g.p[k - 1] >= '0' && g.p[k - 1] <= '9')) {
            put(out, g.p + k++, 1);
            continue;
        }
        if (way == 0) snprintf(s, sizeof s, "\\frac{%ld}{%ld}", 3 * a, 3 * b);
        else if (way == 1) snprintf(s, sizeof s, "\\dfrac{%ld}{%ld}", a, b);
        else if (way == 2) snprintf(s, sizeof s, "\\tfrac{%ld}{%ld}", 2 * a, 2 * b);
        else if (way == 3) snprintf(s, sizeof s, "(%ld/%ld)", a, b);
        else if (10000 % b == 0 && k == 0 && n == g.n)
            snprintf(s, sizeof s, "%.4f", (double)a / (double)b);
        else return false;
        puts_(out, s);
        any = true;
        k += n;
    }
    return any;
}

/* Splits at commas or signs outside of brackets; at most 16 parts. */
static size_t split(rex_str g, bool signs, rex_str *part) {
    size_t n = 0, from = 0;
    int depth = 0;
    for (size_t k = 0; k <= g.n; k++) {
        const char ch = k < g.n ? g.p[k] : 0;
        if (strchr("([{", ch) && ch) depth++;
        if (strchr(")]}", ch) && ch) depth--;
        const bool cut =
            signs ? (ch == '+' || ch == '-') && k > from && g.p[k - 1] != '^' : ch == ',';
        if (k < g.n && !(depth == 0 && cut)) continue;
        if (n == 16) return 0;
        part[n++] = (rex_str){ g.p + from, k - from };
        from = signs ? k : k + 1;
    }
    return n;
}

static bool has_any(rex_str g, const char *const *list, size_t n) {
    for (size_t k = 0; k < g.n; k++)
        for (size_t j = 0; j < n; j++)
            if (starts(g.p + k, g.n - k, list[j])) return true;
    return false;
}

static bool reordered_sum(rex_str g, text *out) {
    static const char *const no[] = {"=",       ",",    "\\text", "\\mbox", "cup",  "[",
                                     "\\begin", "<",    ">",      "\\le",   "\\ge", "\\in",
                                     ":",       "\\pm", "sin",    "cos",    "tan",  "cot",
                                     "sec",     "csc",  "log",    "\\$",    "%",    "circ"};
    rex_str part[16];
    if (has_any(g, no, sizeof no / sizeof *no) || g.n == 0 || g.p[0] == '(') return false;
    const size_t n = split(g, true, part);
    if (n < 2) return false;
    for (size_t k = n; k-- > 0;) {
        rex_str s = part[k];
        while (s.n && s.p[0] == ' ') s.p++, s.n--;
        if (s.n < 2 && k) return false;
        if (k == 0 && s.p[0] != '-' && s.p[0] != '+') puts_(out, "+");
        put(out, s.p, s.n);
        puts_(out, " ");
    }
    return true;
}

static bool reordered_list(rex_str g, text *out) {
    static const char *const no[] = {"(",       "[",    "\\text", "\\mbox", "=",
                                     "\\begin", ",\\!", "{,}",    ";",      ", \\!"};
    rex_str part[16];
    const bool braces = starts(g.p, g.n, "\\{");
    if (has_any(g, no, sizeof no / sizeof *no)) return false;
    if (braces) g = (rex_str){ g.p + 2, g.n - 4 };
    const size_t n = split(g, false, part);
    if (n < 2 || (n > 1 && part[1].n == 3 && part[1].p[0] != ' ')) return false; /* 1,234 */
    puts_(out, braces ? "\\{" : "");
    for (size_t k = n; k-- > 0;) {
        put(out, part[k].p, part[k].n);
        if (k) puts_(out, ", ");
    }
    puts_(out, braces ? "\\}" : "");
    return true;
}

static bool number_only(rex_str g) {
    for (size_t k = 0; k < g.n; k++)
        if (!strchr("0123456789-.", g.p[k])) return false;
    return g.n > 0;
}

/* Space around signs and commas, thin space, \left and \right. */
static bool respaced(rex_str g, text *out) {
    static const char *const no[] = {"\\text", "\\mbox",  ",\\!", "{,}",
                                     "\\$",    "\\begin", "_",    ", \\!"};
    if (has_any(g, no, sizeof no / sizeof *no)) return false;
    bool any = false;
    for (size_t k = 0; k < g.n; k++) {
        const char ch = g.p[k];
        const bool escaped = k && g.p[k - 1] == '\\';
        if (ch == ',' && !(k + 1 < g.n && g.p[k + 1] == ' ')) {
            if (number_only((rex_str){ g.p, k })) return false;
            puts_(out, ", ");
            any = true;
        } else if (ch == '+' || ch == '=') {
            put(out, &ch, 1);
            puts_(out, "\\,");
            any = true;
        } else if (ch == '(' && !escaped && !starts(g.p + (k > 5 ? k - 5 : 0), 5, "\\left")) {
            puts_(out, "\\left( ");
            any = true;
        } else if (ch == ')' && !escaped && !(k > 5 && starts(g.p + k - 6, 6, "\\right"))) {
            puts_(out, "\\right)");
            any = true;
        } else {
            put(out, &ch, 1);
        }
    }
    /* a bracket that had \left or \right already keeps it; mixed ones are left out */
    return any && !has_any(g, (const char *const[]){ "\\left", "]", "[" }, 3);
}

/* One value-keeping rewriting of the gold; false if `way` does not apply. */
static bool rewrite(rex_str g, int way, text *out) {
    static const char *const frames[][2] = {
        {"$", "$"},
        {"Thus the result is \\boxed{", "}."},
        {"The final answer is $", "$."},
        {"\\[\\boxed{", "}\\]"},
        {"**Answer:** $", "$"},
    };
    static const char *const words[] = { "\\text", "\\mbox" };
    out->n = 0;
    if (way < 5) return other_fractions(g, way, out);
    if (way == 5) return reordered_sum(g, out);
    if (way == 6) return reordered_list(g, out);
    if (way == 7) return respaced(g, out);
    if (way == 8) {
        if (!number_only(g)) return false;
        put(out, g.p, g.n);
        puts_(out, g.n % 2 ? "\\text{ cm}" : " miles");
        return true;
    }
    if (way == 9) {
        if (!number_only(g) || memchr(g.p, '.', g.n)) return false;
        put(out, g.p, g.n);
        puts_(out, ".0");
        return true;
    }
    if (way == 10) { /* a minus sign of the numerator moves out, or in */
        if (!starts(g.p, g.n, "-\\frac{")) return false;
        puts_(out, "\\frac{-");
        put(out, g.p + 7, g.n - 7);
        return !has_any((rex_str){g.p + 7, g.n - 7}, (const char *const[]){"+", "-", "\\frac"}, 3);
    }
    if (way > 15 || (way == 13 && has_any(g, words, 2))) return false;
    puts_(out, frames[way - 11][0]);
    put(out, g.p, g.n);
    puts_(out, frames[way - 11][1]);
    return true;
}

START_TEST(t_math_rewritings_stay_correct) {
    NEED_DATA(train, "math/train.jsonl");
    rows t = open_rows();
    load(&t, train);
    load(&t, rex_test_data("math/test.jsonl"));
    rex_arena *a = NULL;
    if (rex_arena_open(0, &a, NULL) != REX_OK) ck_abort();
    const rex_key key = rex_key_make(5);
    static text w;
    int done = 0, correct = 0, ambiguous = 0, shown = 0, by_way[16] = { 0 };
    for (uint32_t k = 0; done < 5000 && t.n; k++) {
        const row *r = &t.r[rex_rand_below(key, REX_STREAM_TEST, k, 0, 1, t.n)];
        const int way = (int)rex_rand_below(key, REX_STREAM_TEST, k, 1, 1, 16);
        if (by_way[way] >= (way < 8 ? 600 : 330) || !rewrite(r->gold, way, &w)) continue;
        const rex_mark m = rex_arena_mark(a);
        const rex_grade g = grade(a, r->gold, (rex_str){ w.p, w.n }, 0);
        done++;
        by_way[way]++;
        correct += g.verdict == REX_VERDICT_correct;
        ambiguous += g.verdict == REX_VERDICT_ambiguous;
        if (g.verdict != REX_VERDICT_correct && shown++ < 20)
            fprintf(stderr, "way %d: %.*s as %.*s: %s\n", way, (int)r->gold.n, r->gold.p, (int)w.n,
                    w.p, g.reason);
        rex_arena_back(a, m);
    }
    printf("rewritings: %d of %d correct, %d ambiguous; by way", correct, done, ambiguous);
    for (int k = 0; k < 16; k++) printf(" %d", by_way[k]);
    printf("\n");
    CHECK_EQ(done, 5000);
    CHECK(correct * 100 >= done * 97);
    CHECK(ambiguous * 100 < done * 2);
    rex_arena_close(a);
    rex_arena_close(t.a);
} END_TEST

REX_TEST_MAIN("math_data", t_math_golds_equal_themselves, t_math_reference_solutions_are_correct,
              t_math_gsm8k_and_aime_golds, t_math_rewritings_stay_correct)
