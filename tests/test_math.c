/* SPDX-License-Identifier: MIT
 *
 * The strict maths grader on hand-written cases: tests/golden/math_cases.txt and the examples of
 * docs/grading.md, each with the verdict it must get; purity, threads, bounds, failing memory.
 * With --pairs it reads lines {"gold": .., "response": ..} and prints verdict and reason of each
 * (for scripts/check_math_sympy.py); with --fuzz N it grades N seeded mutations and reports times.
 */
#include "../src/tasks/math.h"
#include "rex_test.h"

#include <time.h>

static const char *const names[] = {
#define X(n) #n,
    REX_VERDICTS(X)
#undef X
};

static rex_arena *arena(void) {
    rex_arena *a = NULL;
    if (rex_arena_open(0, &a, NULL) != REX_OK) ck_abort();
    return a;
}

static double now_us(void) { /* of this thread: the machine may be shared */
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* "<nl>" becomes a line break; trailing space goes. */
static rex_str unfold(rex_arena *a, rex_str s) {
    char *buf = rex_arena_take(a, s.n + 1, 1, NULL);
    size_t n = 0;
    if (!buf) ck_abort();
    while (s.n && s.p[s.n - 1] == ' ') s.n--;
    for (size_t k = 0; k < s.n; k++) {
        if (s.n - k >= 4 && !memcmp(s.p + k, "<nl>", 4)) {
            buf[n++] = '\n';
            k += 3;
        } else {
            buf[n++] = s.p[k];
        }
    }
    return (rex_str){ buf, n };
}

/* One line "verdict gold :: response". */
static void check_line(rex_arena *a, const char *file, int64_t no, rex_str line, int flags) {
    const char *space = memchr(line.p, ' ', line.n);
    if (!space) {
        rex_test_fail(file, (int)no, "no verdict in '%.*s'", (int)line.n, line.p);
        return;
    }
    const rex_str want = { line.p, (size_t)(space - line.p) };
    size_t at = want.n + 1, mark = 0;
    for (size_t k = want.n; k + 3 < line.n + 1 && !mark; k++)
        if (!memcmp(line.p + k, " ::", 3)) mark = k;
    if (!mark) {
        rex_test_fail(file, (int)no, "no '::' in '%.*s'", (int)line.n, line.p);
        return;
    }
    const rex_str gold = unfold(a, (rex_str){ line.p + at, mark > at ? mark - at : 0 });
    const size_t r = mark + 3 < line.n ? mark + 4 : line.n;
    const rex_str resp = unfold(a, (rex_str){ line.p + r, line.n - r });
    rex_grade g;
    rex_err e;
    CHECK_OK(rex_math_grade_with(gold, resp, flags, a, &g, &e), e);
    const char *got = names[g.verdict];
    const bool ok =
        rex_str_is(want, got) || (rex_str_is(want, "refused") && g.verdict != REX_VERDICT_correct);
    if (!ok)
        rex_test_fail(file, (int)no, "%.*s :: %.*s is %s (%s), want %.*s", (int)gold.n, gold.p,
                      (int)resp.n, resp.p, got, g.reason, (int)want.n, want.p);
    if (g.verdict == REX_VERDICT_unparsed && g.extracted.n == 0) CHECK(strlen(g.reason) > 0);
    if (strlen(g.reason) == 0 || strlen(g.reason) > 200)
        rex_test_fail(file, (int)no, "no proper reason");
    if (g.verdict == REX_VERDICT_ambiguous && gold.n == 0)
        CHECK(strncmp(g.reason, "gold:", 5) == 0);
}

/* All cases of a file: whole lines, or the lines inside ``` fences only. */
static int run_file(const char *path, bool fenced, int flags) {
    rex_arena *a = arena();
    rex_lines *l = NULL;
    rex_err e;
    int count = 0;
    bool more = true, inside = !fenced;
    CHECK_OK(rex_lines_open(path, &l, &e), e);
    while (l && more) {
        rex_str line;
        int64_t no;
        if (rex_lines_next(l, &line, &no, &more, &e) != REX_OK || !more) break;
        if (fenced && line.n >= 3 && !memcmp(line.p, "```", 3)) {
            inside = !inside;
            continue;
        }
        if (!inside || line.n == 0 || line.p[0] == '#') continue;
        const rex_mark m = rex_arena_mark(a);
        check_line(a, path, no, line, flags);
        rex_arena_back(a, m);
        count++;
    }
    rex_lines_close(l);
    rex_arena_close(a);
    return count;
}

START_TEST(t_math_cases_by_hand) {
    CHECK(run_file("tests/golden/math_cases.txt", false, 0) >= 500);
}
END_TEST

START_TEST(t_math_examples_of_the_docs) { CHECK(run_file("docs/grading.md", true, 0) >= 40); }
END_TEST

static rex_verdict grade(rex_arena *a, const char *gold, const char *resp, int flags,
                         rex_grade *out) {
    rex_err e;
    CHECK_OK(rex_math_grade_with(rex_str_of(gold), rex_str_of(resp), flags, a, out, &e), e);
    return out->verdict;
}

START_TEST(t_math_reason_names_the_step) {
    rex_arena *a = arena();
    rex_grade g;
    CHECK_EQ(grade(a, "12", "so \\boxed{12}", 0, &g), REX_VERDICT_correct);
    CHECK_HAS(g.reason, "last box");
    CHECK_TEXT(g.extracted, "12");
    CHECK_EQ(grade(a, "12", "The answer is 12.", 0, &g), REX_VERDICT_correct);
    CHECK_HAS(g.reason, "answer is");
    CHECK_EQ(grade(a, "12", "altogether 12 of them came, so it seems", 0, &g), REX_VERDICT_correct);
    CHECK_HAS(g.reason, "last expression");
    CHECK_EQ(grade(a, "2, 3", "\\boxed{2} and \\boxed{3}", 0, &g), REX_VERDICT_correct);
    CHECK_HAS(g.reason, "one list");
    CHECK_TEXT(g.extracted, "2, 3");
    CHECK_EQ(grade(a, "", "5", 0, &g), REX_VERDICT_ambiguous);
    CHECK(strncmp(g.reason, "gold:", 5) == 0);
    CHECK_EQ(grade(a, "\\frac{", "5", 0, &g), REX_VERDICT_ambiguous);
    CHECK(strncmp(g.reason, "gold:", 5) == 0);
    CHECK_EQ(grade(a, "\\pi", "3.1416", 0, &g), REX_VERDICT_correct);
    CHECK_HAS(g.reason, "rounded");
    rex_arena_close(a);
} END_TEST

START_TEST(t_math_identity_can_be_switched_off) {
    rex_arena *a = arena();
    rex_grade g;
    CHECK_EQ(grade(a, "9^{9^{9^9}}", "9^{9^{9^9}}", 0, &g), REX_VERDICT_correct);
    CHECK_EQ(grade(a, "9^{9^{9^9}}", "9^{9^{9^9}}", REX_MATH_NO_IDENTITY, &g),
             REX_VERDICT_ambiguous);
    CHECK_EQ(grade(a, "x^2+1", "x^2+1", REX_MATH_NO_IDENTITY, &g), REX_VERDICT_correct);
    rex_arena_close(a);
} END_TEST

/* Inputs that would need astronomic numbers or deep stacks end quickly, by steps. */
START_TEST(t_math_traps_are_bounded) {
    static const char *const heads[] = {"(",   "\\frac{1}{", "\\sqrt{", "-",  "2^",    "|",
                                        "\\{", "x_{",        "\\text{", "1,", "\\sin "};
    rex_arena *a = arena();
    rex_grade g;
    rex_err e;
    for (size_t h = 0; h < sizeof heads / sizeof *heads; h++) {
        rex_buf b;
        rex_buf_init(&b, 0);
        for (int k = 0; k < 3000; k++) rex_buf_add(&b, heads[h], strlen(heads[h]));
        rex_buf_add(&b, "1", 1);
        const double start = now_us();
        CHECK_OK(rex_math_grade(rex_str_of("5"), (rex_str){ b.p, b.n }, a, &g, &e), e);
        CHECK(g.verdict != REX_VERDICT_correct);
        CHECK(now_us() - start < 2e6); /* a step bound, with room for a loaded machine */
        rex_buf_free(&b);
    }
    static const char *const big[] = {"10^{10}!",
                                      "9^9^9^9",
                                      "(x+y+z+w+1)^{200}",
                                      "3000!^{3000}",
                                      "\\binom{10^9}{5\\cdot10^8}",
                                      "2^{1000000}",
                                      "(1+\\sqrt{2}+\\sqrt{3}+\\sqrt{5}+\\sqrt{7})^{500}",
                                      "1e15000 + 1",
                                      "\\sqrt[999]{10^{3000}+7}",
                                      "\\cos^{400} 1^\\circ",
                                      "\\sin(\\sin(\\sin(\\sin(\\sin 1))))",
                                      "\\log\\log\\log\\log\\log 10^{9999}",
                                      "\\sqrt{\\sqrt{\\sqrt{\\sqrt{2}+3}+5}+7}"};
    for (size_t k = 0; k < sizeof big / sizeof *big; k++) {
        const double start = now_us();
        CHECK(grade(a, "5", big[k], 0, &g) != REX_VERDICT_correct);
        CHECK(grade(a, big[k], "5", 0, &g) != REX_VERDICT_correct);
        CHECK(now_us() - start < 2e6);
    }
    rex_arena_close(a);
} END_TEST

static double cpu_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

/* Unordered lists compare every item with every other: the budget of steps, not the square of the
 * length, bounds the time. A list of 58 sines once took 59 ms. */
START_TEST(t_math_long_lists_are_bounded) {
    static const char *const item[] = {"\\sin %d", "\\cosh %d", "\\arctan %d", "e^{%d}", "x_{%d}",
                                       "\\sqrt[3]{%d+\\sqrt{7}}", "\\boxed{\\sin %d} and "};
#ifdef REX_SMALL
    const double most = 2e6; /* sanitizers: the count of steps is the same */
#else
    const double most = 5e4;
#endif
    double worst = 0;
    rex_arena *a = arena();
    for (size_t h = 0; h < sizeof item / sizeof *item; h++)
        for (int n = 20; n <= 80; n += 12) {
            rex_buf b[2];
            rex_grade g;
            rex_err e;
            for (int side = 0; side < 2; side++) {
                const bool one = h + 1 < sizeof item / sizeof *item; /* box */
                rex_buf_init(&b[side], 0);
                rex_buf_addf(&b[side], "%s", one ? "\\boxed{" : "");
                for (int k = 2; k < n + 2; k++) {
                    rex_buf_addf(&b[side], item[h], side ? n + 3 - k : k);
                    rex_buf_addf(&b[side], "%s", !one ? "" : k < n + 1 ? ", " : "}");
                }
            }
            const rex_mark m = rex_arena_mark(a);
            const double start = cpu_us();
            CHECK_OK(
                rex_math_grade((rex_str){b[0].p, b[0].n}, (rex_str){b[1].p, b[1].n}, a, &g, &e), e);
            const double took = cpu_us() - start;
            if (took > worst) worst = took;
            if (g.verdict != REX_VERDICT_correct && g.verdict != REX_VERDICT_ambiguous)
                rex_test_fail(__FILE__, __LINE__, "%d of %s: %s", n, item[h], g.reason);
            rex_arena_back(a, m);
            for (int side = 0; side < 2; side++) rex_buf_free(&b[side]);
        }
    if (worst > most) rex_test_fail(__FILE__, __LINE__, "a long list takes %.0f us", worst);
    rex_arena_close(a);
} END_TEST

/* ---- purity ------------------------------------------------------------------------------ */

static const char *const sample[][2] = {
    { "\\frac{1}{2}", "0.5" },           { "\\sqrt{5+2\\sqrt6}", "\\sqrt2+\\sqrt3" },
    { "\\sin 2x", "2\\sin x\\cos x" },   { "\\pi", "3.1416" },
    { "(0,1]\\cup\\{3\\}", "\\{3\\}\\cup(0,1]" }, { "\\cos\\frac{\\pi}{7}", "0.9010" },
    { "x^2-1", "(x-1)(x+1)" },           { "\\frac{1}{2004!}", "1/2004!" },
};

static void many(void *ud, size_t item, int worker) {
    (void)worker;
    rex_arena *a = NULL;
    rex_grade g;
    int *bad = ud;
    if (rex_arena_open(0, &a, NULL) != REX_OK) return;
    const char *const *s = sample[item % (sizeof sample / sizeof *sample)];
    if (rex_math_grade(rex_str_of(s[0]), rex_str_of(s[1]), a, &g, NULL) != REX_OK ||
        g.verdict != REX_VERDICT_correct)
        bad[item] = 1;
    rex_arena_close(a);
}

START_TEST(t_math_threads_agree) {
    static int bad[2000];
    rex_pool *p = NULL;
    rex_err e;
    CHECK_OK(rex_pool_open(4, &p, &e), e);
    rex_pool_run(p, 2000, many, bad);
    rex_pool_close(p);
    int sum = 0;
    for (int k = 0; k < 2000; k++) sum += bad[k];
    CHECK_EQ(sum, 0);
} END_TEST

START_TEST(t_math_every_allocation_may_fail) {
    for (size_t k = 0; k < sizeof sample / sizeof *sample; k++)
        for (int64_t n = 1; n < 40; n++) {
            rex_arena *a = arena();
            rex_grade g;
            rex_err e;
            rex_mem_fail_at(n);
            const rex_status s =
                rex_math_grade(rex_str_of(sample[k][0]), rex_str_of(sample[k][1]), a, &g, &e);
            rex_mem_fail_at(0);
            CHECK(s == REX_OK || s == REX_ENOMEM);
            if (s == REX_OK) CHECK_EQ(g.verdict, REX_VERDICT_correct);
            rex_arena_close(a);
        }
} END_TEST

/* ---- --pairs, --fuzz --------------------------------------------------------------------- */

static int pairs(void) {
    rex_lines *l = NULL;
    rex_err e;
    if (rex_lines_open("-", &l, &e) != REX_OK) return 1;
    rex_arena *a = arena();
    const rex_str want[] = { { "gold", 4 }, { "response", 8 } };
    for (bool more = true; more;) {
        rex_str line, raw[2], gold, resp;
        int64_t no;
        rex_grade g;
        if (rex_lines_next(l, &line, &no, &more, &e) != REX_OK) return 1;
        if (!more) break;
        const rex_mark m = rex_arena_mark(a);
        if (rex_jscan(line, want, 2, raw, &e) != REX_OK ||
            rex_jraw_str(a, raw[0], &gold, &e) != REX_OK ||
            rex_jraw_str(a, raw[1], &resp, &e) != REX_OK ||
            rex_math_grade(gold, resp, a, &g, &e) != REX_OK) {
            fprintf(stderr, "line %lld: %s\n", (long long)no, e.text);
            return 1;
        }
        for (char *p = g.reason; *p; p++)
            if (*p == '\n' || *p == '\t') *p = ' ';
        printf("%s\t%s\n", names[g.verdict], g.reason);
        rex_arena_back(a, m);
    }
    rex_lines_close(l);
    rex_arena_close(a);
    return 0;
}

static int by_time(const void *x, const void *y) {
    const float a = *(const float *)x, b = *(const float *)y;
    return (a > b) - (a < b);
}

/* Seeded mutations of the cases: bytes swapped, doubled, cut, taken from other cases. */
static int fuzz(long count) {
    static const char *const bits[] = {
        "\\frac{", "}{",          "\\sqrt",   "^{",     "_{",      "(",       ")",        "[",
        "\\{",     "\\}",         ",",        "\\cup ", "\\pm ",   "\\sin ",  "!",        "|",
        "=",       "\\le ",       "\\infty",  "9^9",    "10^{10}", "\\text{", "\\boxed{", "$",
        "%",       "^\\circ",     "e",        "i",      "\\pi",    "\\log_",  "&",        "\\\\",
        "0.",      "\\overline{", "\xc3\x97", "e99"};
    rex_map *map = NULL;
    rex_err e;
    if (rex_map_open("tests/golden/math_cases.txt", &map, &e) != REX_OK) return 1;
    const rex_view v = rex_map_view(map);
    const rex_key key = rex_key_make(20260101);
    float *us = malloc((size_t)count * sizeof *us);
    rex_arena *a = arena();
    long by[REX_VERDICT_COUNT] = { 0 };
    char worst[2][400] = { "", "" };
    float slowest = 0;
    for (long k = 0; k < count && us; k++) {
        char text[2][512];
        size_t len[2];
        uint32_t draw = 0;
#define DRAW(n) \
    ((size_t)rex_rand_below(key, REX_STREAM_TEST, draw++, 0, (uint64_t)k, (uint64_t)(n)))
        for (int side = 0; side < 2; side++) {
            size_t n = 1 + DRAW(60);
            const size_t at = DRAW(v.n - n);
            memcpy(text[side], v.p + at, n);
            for (size_t m = DRAW(5); m > 0; m--) {
                const char *bit = bits[DRAW(sizeof bits / sizeof *bits)];
                const size_t b = strlen(bit);
                const size_t to = DRAW(n + 1);
                memmove(text[side] + to + b, text[side] + to, n - to);
                memcpy(text[side] + to, bit, b);
                n += b;
                const size_t where = DRAW(4 * n);
                const char put = (char)DRAW(256);
                if (where < n) text[side][where] = put;
            }
            len[side] = n;
        }
#undef DRAW
        const rex_mark m = rex_arena_mark(a);
        rex_grade g;
        const double start = now_us();
        if (rex_math_grade((rex_str){text[0], len[0]}, (rex_str){text[1], len[1]}, a, &g, &e) !=
            REX_OK)
            return 1;
        us[k] = (float)(now_us() - start);
        by[g.verdict]++;
        if (us[k] > slowest) {
            slowest = us[k];
            for (int side = 0; side < 2; side++)
                snprintf(worst[side], 400, "%.*s", (int)len[side], text[side]);
        }
        rex_arena_back(a, m);
    }
    if (!us) return 1;
    qsort(us, (size_t)count, sizeof *us, by_time);
    printf("%ld strings: %ld correct, %ld wrong, %ld unparsed, %ld ambiguous\n", count,
           by[REX_VERDICT_correct], by[REX_VERDICT_wrong], by[REX_VERDICT_unparsed],
           by[REX_VERDICT_ambiguous]);
    printf("us: median %.1f, 99%% %.1f, 99.99%% %.1f, worst %.1f\nworst: %s :: %s\n",
           (double)us[count / 2], (double)us[count * 99 / 100],
           (double)us[count - 1 - count / 10000], (double)slowest, worst[0], worst[1]);
    const bool ok = us[count * 99 / 100] < 1000.0f && slowest < 50000.0f;
    printf("%d passed, %d failed, 0 skipped\n", ok, !ok);
    free(us);
    rex_arena_close(a);
    rex_map_close(map);
    return ok ? 0 : 1;
}

int main(int argc, char **argv) {
    if (argc > 1 && !strcmp(argv[1], "--pairs")) return pairs();
    if (argc > 2 && !strcmp(argv[1], "--fuzz")) return fuzz(strtol(argv[2], NULL, 10));
    const TTest *const tests[] = {t_math_cases_by_hand,
                                  t_math_examples_of_the_docs,
                                  t_math_reason_names_the_step,
                                  t_math_identity_can_be_switched_off,
                                  t_math_traps_are_bounded,
                                  t_math_long_lists_are_bounded,
                                  t_math_threads_agree,
                                  t_math_every_allocation_may_fail};
    return rex_test_run("math", tests, sizeof tests / sizeof *tests);
}
