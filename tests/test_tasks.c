/* SPDX-License-Identifier: MIT
 *
 * Tasks: the published test vectors of the graders, every puzzle of the Game of 24 solved and
 * accepted, near-misses refused, generators against an independent check of their own problems,
 * verdicts that do not depend on workers, allocations that fail. The strict grader of mathematical
 * answers has tests of its own.
 */
#include "rex_test.h"

#include "../src/tasks/tasks.h"

typedef struct {
    rex_task *t;
    rex_arena *a;
} bench;

static bench open_with(rex_task_opts o) {
    bench b;
    rex_err e;
    if (rex_task_open(&o, &b.t, &e) != REX_OK || rex_arena_open(0, &b.a, &e) != REX_OK)
        ck_abort_msg("%s", e.text);
    return b;
}

static bench open_task(const char *name, int grader) {
    rex_task_opts o;
    rex_task_defaults(&o);
    o.task = name;
    o.grader = grader;
    return open_with(o);
}

static void close_task(bench *b) {
    rex_task_close(b->t);
    rex_arena_close(b->a);
}

static rex_judged judge(const bench *b, rex_claim c) {
    rex_judged j = { .verdict = REX_VERDICT_COUNT };
    rex_err e;
    if (rex_task_verify(b->t, NULL, &c, 1, b->a, &j, &e) != REX_OK) ck_abort_msg("%s", e.text);
    return j;
}

/* JSON text of a plain string. */
static rex_str quoted(rex_arena *a, const char *s) {
    rex_buf b;
    rex_jw w;
    rex_str out;
    rex_buf_init(&b, 0);
    rex_jw_init(&w, &b);
    rex_jw_str(&w, rex_str_of(s));
    if (rex_str_copy(a, (rex_str){ b.p, b.n }, &out, NULL) != REX_OK) ck_abort_msg("no memory");
    rex_buf_free(&b);
    return out;
}

static rex_judged judge_gold(const bench *b, const char *gold, const char *text) {
    return judge(b, (rex_claim){ .answer = quoted(b->a, gold), .response = rex_str_of(text) });
}

static rex_judged judge_problem(const bench *b, const char *problem, const char *text) {
    return judge(b, (rex_claim){ .problem = rex_str_of(problem), .response = rex_str_of(text) });
}

#define EXPECT(j, want, what)                                                                      \
    do {                                                                                           \
        const rex_judged j_ = (j);                                                                 \
        if (j_.verdict != (want))                                                                  \
            rex_test_fail(__FILE__, __LINE__, "%s: %s (%.*s), want %s", (what),                    \
                          rex_verdict_name(j_.verdict), (int)j_.reason.n, j_.reason.p,             \
                          rex_verdict_name(want));                                                 \
    } while (0)

typedef struct {
    const char *gold, *text;
    int score;
} vector;

static void check_scores(const bench *b, const vector *v, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const rex_judged j = judge_gold(b, v[i].gold, v[i].text);
        if (j.reward != (double)v[i].score)
            rex_test_fail(__FILE__, __LINE__, "gold '%s', text '%s': %s (%.*s), want score %d",
                          v[i].gold, v[i].text, rex_verdict_name(j.verdict), (int)j.reason.n,
                          j.reason.p, v[i].score);
    }
}

#define COUNT(x) (sizeof(x) / sizeof *(x))

/* ---- D.9, the graders of the paper ---- */

START_TEST(t_paper_gsm8k_vectors) {
    static const vector v[] = {
        { "1234", "#### 1,234", 1 },     { "72", "#### 72", 1 },
        { "72", "#### 72.", 0 },         { "72", "#### 72.0", 0 },
        { "72", "#### $72", 0 },         { "72", "####72", 0 },
        { "-5", "#### -5", 1 },          { "4", "#### 3 ... #### 4", 1 },
        { "3", "#### 3 ... #### 4", 0 }, { "72", "answer 72", 0 },
        { "1,234", "#### 1234", 1 },     { "steps\n#### 1,234", "#### 1234", 1 },
        { "72", "##### 72", 1 },         { "72", "#### 72 #### ", 1 },
        { "72", "#### - 72", 0 },
    };
    bench b = open_task("gsm8k", 1);
    check_scores(&b, v, COUNT(v));
    char text[400];
    for (int spaces = 293; spaces <= 301; spaces++) { /* the last 300 characters decide */
        snprintf(text, sizeof text, "#### 72%*s", spaces, "");
        CHECK((judge_gold(&b, "72", text).reward == 1.0) == (spaces <= 293));
    }
    /* characters, not bytes: 293 times U+2003 */
    rex_buf wide;
    rex_buf_init(&wide, 0);
    rex_buf_addf(&wide, "#### 72");
    for (int i = 0; i < 293; i++) rex_buf_addf(&wide, "\xe2\x80\x83");
    rex_buf_add(&wide, "", 1);
    EXPECT(judge_gold(&b, "72", wide.p), REX_VERDICT_correct, "293 wide spaces");
    rex_buf_free(&wide);
    EXPECT(judge_gold(&b, "", "#### 72"), REX_VERDICT_ambiguous, "no gold");
    close_task(&b);
}
END_TEST

START_TEST(t_paper_math_vectors) {
    static const vector v[] = {
        { "\\frac{1}{2}", "\\boxed{\\frac12}", 1 },
        { "\\frac{1}{2}", "\\boxed{0.5}", 1 },
        { "\\frac{1}{2}", "\\boxed{1/2}", 1 },
        { "\\frac{1}{2}", "\\boxed{.5}", 1 },
        { "5", "\\boxed{x=5}", 1 },
        { "5", "\\boxed{5\\text{ cm}}", 1 },
        { "5", "\\boxed{ 5 }", 1 },
        { "5", "\\boxed 5$", 1 },
        { "5", "5", 0 },
        { "10", "\\boxed{10\\%}", 1 },
        { "90", "\\boxed{90^\\circ}", 1 },
        { "4", "\\boxed{3} then \\boxed{4}", 1 },
        { "\\frac{3}{4}", "\\boxed{\\dfrac{3}{4}}", 1 },
        { "\\sqrt{3}", "\\boxed{\\sqrt3}", 1 },
        { "(1,2)", "\\boxed{(1, 2)}", 1 },
        { "2.5", "\\boxed{2.50}", 0 },
        { "1000", "\\boxed{1,000}", 0 },
        { "7", "\\fbox{7}", 0 },
        /* each step of the chain, and its slips */
        { "90", "\\boxed{90^{\\circ}}", 1 },
        { "5", "\\boxed{\\$5}", 1 },
        { "12", "\\boxed{1\n2}", 1 },
        { "(1,2)", "\\boxed{\\left(1,2\\right)}", 1 },
        { "1000", "\\boxed{1\\!000}", 1 },
        { "-\\frac{3}{4}", "\\boxed{-3/4}", 0 },
        { "\\frac{-3}{4}", "\\boxed{-3/4}", 1 },
        { "\\frac{1}{2}", "\\boxed{\\frac1{2}}", 1 },
        { "\\frac{1}{23}", "\\boxed{\\frac123}", 0 },
        { "\\frac{1}{2}3", "\\boxed{\\frac123}", 1 },
        { "5", "\\boxed{xyz=5}", 0 },
        { "5", "\\boxed{xy=5}", 1 },
        { "a=b=5", "\\boxed{a=b=5}", 1 },
        { "0.75", "\\boxed{.75}", 1 },
        { "a 0.5", "\\boxed{a .5}", 1 },
        { "\\sqrt{x}y", "\\boxed{\\sqrt xy}", 0 },
        { "1/2/3", "\\boxed{1/2/3}", 1 },
        { "01/2", "\\boxed{\\frac{01}{2}}", 0 },
        { "3", "\\boxed{3", 0 },
        { "4", "\\boxed{4} and \\boxed{", 0 },
        { "{4}", "\\boxed{{4}}", 1 },
        { "4", "\\boxed 4$ or \\boxed{5}", 1 },
        { "\\sqrt", "\\boxed{\\sqrt}", 1 },
        { "x\\sqrt", "\\boxed{x \\sqrt}", 0 },
        { "1\\text{ a}\\text{ b}", "\\boxed{1\\text{ a}\\text{ b}}", 1 },
        { "1", "\\boxed{1\\text{ a}\\text{ b}}", 0 },
        { "8", "\\boxedx{8}", 0 },
        { "\\frac{\xc3\xa4}{2}",
          "\\boxed{\\frac\xc3\xa4"
          "2}",
          1 },
    };
    bench b = open_task("math", 1);
    check_scores(&b, v, COUNT(v));
    EXPECT(judge_gold(&b, " ", "\\boxed{}"), REX_VERDICT_ambiguous, "no gold");
    EXPECT(judge_gold(&b, "7", "\\fbox{7}"), REX_VERDICT_unparsed, "fbox");
    EXPECT(judge_gold(&b, "7", "\\boxed{8}"), REX_VERDICT_wrong, "wrong");
    close_task(&b);
}
END_TEST

START_TEST(t_paper_aime_vectors) {
    static const vector v[] = {
        { "204", "\\boxed{204}", 1 },
        { "33", "\\boxed{033}", 1 },
        { "033", "\\boxed{33}", 1 },
        { "33", "\\boxed{ +33 }", 1 },
        { "0", "\\boxed{000}", 1 },
        { "33", "\\boxed{33.0}", 0 },
        { "33", "33", 0 },
        { "33", "\\boxed{-33}", 0 },
        { "0", "\\boxed{-0}", 1 },
        { "-5", "\\boxed{-05}", 1 },
    };
    bench b = open_task("aime", 1);
    check_scores(&b, v, COUNT(v));
    /* a gold that is a number in the record */
    const rex_claim c = { .answer = rex_str_of("204"), .response = rex_str_of("so \\boxed{204}.") };
    EXPECT(judge(&b, c), REX_VERDICT_correct, "numeric gold");
    EXPECT(judge_gold(&b, "many", "\\boxed{1}"), REX_VERDICT_ambiguous, "gold no integer");
    close_task(&b);
}
END_TEST

/* ---- maze ---- */

static const char d9_maze[] = "{\"grid\": [\"*********\", \"*.......*\", \"*.*****.*\", "
                              "\"*E......*\", \"*.*.*.*.*\", \"*.*.*...*\","
                              "\"*.*.*.*.*\", \"*S......*\", \"*********\"]}";

START_TEST(t_maze_vectors) {
    static const struct {
        const char *text;
        int score;
    } v[] = {
        { "UUUU", 1 },
        { "uuuu", 1 },
        { "<answer> U U U U </answer>", 1 },
        { "<answer>UUU</answer>", 0 },
        { "<answer>UUUUU</answer>", 0 },
        { "<answer>UUUUDU</answer>", 1 },
        { "<answer>RRLLUUUU</answer>", 1 },
        { "<answer>L</answer>", 0 },
        { "<answer></answer>", 0 },
        { "<answer>RR</answer> no wait <answer>UUUU</answer>", 1 },
        { "<answer>UUUU</answer> then <answer>RR", 0 },
        { "\\boxed{UUUU}", 1 },
        { "\\boxed{UUUU", 1 },
        { "RRRRRRUUUULLLLLL", 1 },
        { "go UP, UP, UP, UP", 1 },
        { "the solution: UUUU", 0 },
        { "\\boxed{}", 0 },
        { "boxed UUUU$ RR", 1 },
        { "boxed", 0 },
        { "", 0 },
    };
    bench b = open_task("maze", 0);
    for (size_t i = 0; i < COUNT(v); i++) {
        const rex_judged j = judge_problem(&b, d9_maze, v[i].text);
        if (j.reward != (double)v[i].score)
            rex_test_fail(__FILE__, __LINE__, "'%s': %s (%.*s), want score %d", v[i].text,
                          rex_verdict_name(j.verdict), (int)j.reason.n, j.reason.p, v[i].score);
    }
    CHECK_TEXT(judge_problem(&b, d9_maze, "up UUU").extracted, "UUUU");
    EXPECT(judge_problem(&b, d9_maze, "123"), REX_VERDICT_unparsed, "no move");
    static const char *const bad[] = {
        "{}",
        "{\"grid\": 1}",
        "{\"grid\": []}",
        "{\"grid\": [\"S\", \"E*\"]}",
        "{\"grid\": [\"S*\"]}",
        "{\"grid\": [\"SE\", \"SE\"]}",
        "{\"grid\": [\"S#E\"]}",
        "{\"grid\": [1]}",
        "{\"grid\": [",
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        const rex_judged j = judge_problem(&b, bad[i], "U");
        EXPECT(j, REX_VERDICT_ambiguous, bad[i]);
        CHECK(j.reason.n > 5 && memcmp(j.reason.p, "gold:", 5) == 0);
    }
    EXPECT(judge_problem(&b, "{\"grid\": [\"SE\"]}", "L"), REX_VERDICT_wrong, "leaves the maze");
    EXPECT(judge_problem(&b, "{\"grid\": [\"SE\"]}", "R"), REX_VERDICT_correct, "one step");
    close_task(&b);
}
END_TEST

/* ---- expressions ---- */

START_TEST(t_game24_takes_and_refuses) {
    static const struct {
        const char *text;
        rex_verdict want;
    } v[] = {
        { "(4+8)*(6-4)", REX_VERDICT_correct },
        { "\\boxed{(4 + 8) \\times (6 - 4)}", REX_VERDICT_correct },
        { "I think\n\\boxed{(4+8)\\cdot(6-4) = 24}", REX_VERDICT_correct },
        { "some thought 1+1\n(4+8)*(6-4) = 24\n", REX_VERDICT_correct },
        { "Answer: (4+8)*(6-4)", REX_VERDICT_correct },
        { "The expression is: $(4+8)\\div\\frac{4-4}{6-4}$", REX_VERDICT_wrong },
        { "\\left(4+8\\right)*(6-4)=24.", REX_VERDICT_correct },
        { "[4+8]*(6-4)", REX_VERDICT_correct },
        { "\\[(4+8) \xc3\x97 (6 \xe2\x88\x92 4)\\]", REX_VERDICT_correct },
        { "\\boxed{\\frac{(4+8)*4}{8-6}}", REX_VERDICT_wrong },
        { "\\boxed{1} no, \\boxed{(4+8)*(6-4)}", REX_VERDICT_correct },
        { "(4+8)*(6-4) = 25", REX_VERDICT_wrong },
        { "(4+8)*(6-4) = 24.0", REX_VERDICT_wrong },
        { "(4+8)*(6-4) = 24.0000001", REX_VERDICT_wrong },
        { "(4+8)*(6-4) = 4*6", REX_VERDICT_wrong },
        { "(4+4)*6/(8-6)", REX_VERDICT_wrong }, /* the 6 twice */
        { "4+8+6+6", REX_VERDICT_wrong },       /* the 6 twice, a 4 missing */
        { "(8-4)*6", REX_VERDICT_wrong },       /* a 4 missing */
        { "4*(8-6)+4*4", REX_VERDICT_wrong },   /* a third 4 */
        { "(4+8)*(6-4)*1", REX_VERDICT_wrong },
        { "68-44", REX_VERDICT_wrong }, /* digits joined */
        { "4*6*8/(4-4)", REX_VERDICT_wrong },
        { "6/(4-4)+8", REX_VERDICT_wrong }, /* division by zero */
        { "24.0000001", REX_VERDICT_unparsed },
        { "24", REX_VERDICT_wrong },
        { "4.0+8+6+6", REX_VERDICT_unparsed },
        { "-(4+8)*(4-6)", REX_VERDICT_unparsed },
        { "(4+8)(6-4)", REX_VERDICT_unparsed },
        { "(4+8)*(6-4", REX_VERDICT_unparsed },
        { "(4+8)*(6-4))", REX_VERDICT_unparsed },
        { "4 8 6 4", REX_VERDICT_unparsed },
        { "4^8", REX_VERDICT_unparsed },
        { "", REX_VERDICT_unparsed },
        { "= 24", REX_VERDICT_unparsed },
        { "it cannot be done", REX_VERDICT_unparsed },
        { "24 = (4+8)*(6-4)", REX_VERDICT_wrong },
        { "\\boxed{}", REX_VERDICT_unparsed },
    };
    bench b = open_task("game24", 0);
    for (size_t i = 0; i < COUNT(v); i++)
        EXPECT(judge_problem(&b, "{\"numbers\": [4, 4, 6, 8], \"target\": 24}", v[i].text),
               v[i].want, v[i].text);
    CHECK_TEXT(
        judge_problem(&b, "{\"numbers\": [4, 4, 6, 8], \"target\": 24}", "x: (4+8)*(6-4) = 24")
            .extracted,
        "(4+8)*(6-4)");
    /* exact, not rounded: 8/(3-8/3) is 24, and 5-digit neighbours are not */
    EXPECT(judge_problem(&b, "{\"numbers\": [3, 3, 8, 8], \"target\": 24}", "8/(3-8/3)"),
           REX_VERDICT_correct, "8/(3-8/3)");
    EXPECT(judge_problem(&b, "{\"numbers\": [24, 100000000, 1, 100000000], \"target\": 24}",
                         "(24*100000000+1)/100000000"),
           REX_VERDICT_wrong, "24.00000001");
    EXPECT(judge_problem(&b,
                         "{\"numbers\": [999999999999999999, 999999999999999999, "
                         "999999999999999999], \"target\": 24}",
                         "999999999999999999*999999999999999999*999999999999999999"),
           REX_VERDICT_ambiguous, "beyond 126 bits");
    EXPECT(judge_problem(&b, "{\"numbers\": [], \"target\": 24}", "1"), REX_VERDICT_ambiguous,
           "no numbers");
    EXPECT(judge_problem(&b, "{\"numbers\": [1]}", "1"), REX_VERDICT_ambiguous, "no target");
    EXPECT(judge_gold(&b, "24", "4*6"), REX_VERDICT_ambiguous, "no problem");
    close_task(&b);
}
END_TEST

/* All values of expressions over a multiset, by splitting it in two: another road than the solver's
 * pairs. Fractions of int64: thirteen to the fourth is far below. Two numbers have 6 values, three
 * have 3 * 36, four have 4 * 648 + 3 * 216. */
enum { OF_THREE = 108, OF_FOUR = 3240 };
typedef struct {
    int64_t n, d;
} q;
static size_t values(const int64_t *v, int set, q *out) {
    size_t n = 0;
    if ((set & (set - 1)) == 0) {
        int i = 0;
        while (!(set >> i & 1)) i++;
        out[n++] = (q){ v[i], 1 };
        return n;
    }
    for (int left = (set - 1) & set; left > 0; left = (left - 1) & set) {
        q l[OF_THREE];
        q r[OF_THREE];
        const size_t nl = values(v, left, l);
        const size_t nr = values(v, set ^ left, r);
        for (size_t i = 0; i < nl; i++)
            for (size_t k = 0; k < nr; k++) {
                const q x = l[i];
                const q y = r[k];
                if (left < (set ^ left)) {
                    out[n++] = (q){ x.n * y.d + y.n * x.d, x.d * y.d };
                    out[n++] = (q){ x.n * y.n, x.d * y.d };
                }
                out[n++] = (q){ x.n * y.d - y.n * x.d, x.d * y.d };
                if (y.n) out[n++] = (q){ x.n * y.d, x.d * y.n };
            }
    }
    return n;
}

START_TEST(t_game24_generator_is_the_1362) {
    rex_err e;
    rex_make_opts m;
    rex_item *item;
    size_t n;
    size_t at = 0;
    size_t solvable = 0;
    bench b = open_task("game24", 0);
    rex_make_defaults(&m);
    m.solutions = true;
    CHECK_OK(rex_task_make(b.t, &m, b.a, &item, &n, &e), e);
    CHECK_EQ(n, 1362);
    static q all[OF_FOUR];
    for (int64_t i = 1; i <= REX_TEST_FEW(13); i++)
        for (int64_t k = i; k <= 13; k++)
            for (int64_t x = k; x <= 13; x++)
                for (int64_t y = x; y <= 13; y++) {
                    const int64_t v[4] = { i, k, x, y };
                    const size_t m4 = values(v, 15, all);
                    bool hit = false;
                    for (size_t j = 0; j < m4; j++) hit = hit || all[j].n == 24 * all[j].d;
                    if (!hit) continue;
                    char id[64];
                    snprintf(id, sizeof id, "game24/%d-%d-%d-%d", (int)i, (int)k, (int)x, (int)y);
                    if (at < n) CHECK_TEXT(item[at].id, id);
                    at++;
                    solvable++;
                }
    if (REX_TEST_FEW(13) == 13) CHECK_EQ(solvable, n);
    for (size_t i = 0; i < REX_TEST_FEW(n); i++) {
        rex_str text;
        CHECK_OK(rex_jraw_str(b.a, item[i].response, &text, &e), e);
        EXPECT(judge(&b, (rex_claim){ .problem = item[i].problem, .response = text }),
               REX_VERDICT_correct, text.p);
    }
    close_task(&b);
}
END_TEST

START_TEST(t_game24_solves_the_data) {
    NEED_DATA(path, "game24/game24.jsonl");
    rex_err e;
    rex_make_opts m;
    rex_item *item;
    size_t n;
    rex_task_opts o;
    rex_task_defaults(&o);
    o.task = "game24";
    o.data = path;
    bench b = open_with(o);
    rex_make_defaults(&m);
    m.solutions = true;
    CHECK_OK(rex_task_make(b.t, &m, b.a, &item, &n, &e), e);
    CHECK_EQ(n, 1362);
    for (size_t i = 0; i < REX_TEST_FEW(n); i++) {
        rex_str text;
        CHECK_OK(rex_jraw_str(b.a, item[i].response, &text, &e), e);
        EXPECT(judge(&b, (rex_claim){ .problem = item[i].problem, .response = text }),
               REX_VERDICT_correct, text.p);
    }
    CHECK_TEXT(item[0].id, "game24-1");
    close_task(&b);
}
END_TEST

/* ---- countdown ---- */

#define CD "{\"numbers\": [5, 4, 11, 1], \"target\": 10}"

START_TEST(t_countdown_steps) {
    static const struct {
        const char *text;
        rex_verdict want;
    } v[] = {
        { "11*1=11,5-4=1,11-1=10", REX_VERDICT_correct },
        { " 11 * 1 = 11 , 5 - 4 = 1 , 11 - 1 = 10 \n", REX_VERDICT_correct },
        { "4-5=-1,11*1=11,11+-1=10", REX_VERDICT_correct },
        { "11*1=11,5-4=1,11-1=11", REX_VERDICT_wrong },     /* false arithmetic */
        { "11*1=11,5-4=1,11+1=12", REX_VERDICT_wrong },     /* another target */
        { "11*1=11,5-4=1", REX_VERDICT_wrong },             /* two are left */
        { "11-1=10,5-4=1", REX_VERDICT_wrong },             /* 10 is there, but not alone */
        { "11*1=11,11-1=10,5-4=1", REX_VERDICT_wrong },     /* the 1 twice */
        { "11*1=11,5-4=1,12-2=10", REX_VERDICT_wrong },     /* numbers from nowhere */
        { "11-5=6,6/4=1,1*1=1", REX_VERDICT_wrong },        /* division with a rest */
        { "11*1=11,5-4=1,11-1=10$", REX_VERDICT_unparsed }, /* the end token is no part of a text */
        { "11*1=11,5-4=1,11-1=10,", REX_VERDICT_unparsed },
        { "11*1=11,5-4=1,11-1", REX_VERDICT_unparsed },
        { "11*1=11;5-4=1,11-1=10", REX_VERDICT_unparsed },
        { "11x1=11,5-4=1,11-1=10", REX_VERDICT_unparsed },
        { "1111111111111111111*1=11,5-4=1,11-1=10", REX_VERDICT_unparsed },
        { "(11-1)*(5-4)", REX_VERDICT_correct }, /* the other form */
        { "(11-1)*(5-4)=10", REX_VERDICT_correct },
        { "(11-1)*(5-4)=11", REX_VERDICT_wrong },
        { "11-1", REX_VERDICT_wrong },
    };
    bench b = open_task("countdown", 0);
    for (size_t i = 0; i < COUNT(v); i++)
        EXPECT(judge_problem(&b, CD, v[i].text), v[i].want, v[i].text);
    rex_claim cut = { .problem = rex_str_of(CD),
                      .response = rex_str_of("11*1=11,5-4=1,11-1=10"),
                      .finish = rex_str_of("length") };
    EXPECT(judge(&b, cut), REX_VERDICT_unparsed, "cut off");
    cut.finish = rex_str_of("stop");
    EXPECT(judge(&b, cut), REX_VERDICT_correct, "ended by itself");
    close_task(&b);
    rex_task_opts o;
    rex_task_defaults(&o);
    o.task = "countdown";
    o.use = 1;
    b = open_with(o);
    EXPECT(judge_problem(&b, CD, "11-1"), REX_VERDICT_correct, "at most once");
    EXPECT(judge_problem(&b, CD, "5-4=1,11-1=10"), REX_VERDICT_correct, "at most once, steps");
    EXPECT(judge_problem(&b, CD, "1*1*(11-1)"), REX_VERDICT_wrong, "the 1 three times");
    close_task(&b);
    o.use = 0;
    o.format = 1;
    b = open_with(o);
    EXPECT(judge_problem(&b, CD, "(11-1)*(5-4)"), REX_VERDICT_unparsed, "steps only");
    close_task(&b);
}
END_TEST

/* The problems of a generator: verified by their own solutions, distinct, on their side. */
static void check_made(rex_task_opts o, rex_split side, size_t n) {
    rex_err e;
    rex_make_opts m;
    rex_item *item;
    rex_item *again;
    size_t got;
    bench b = open_with(o);
    rex_make_defaults(&m);
    m.n = (int64_t)n;
    m.split = side;
    m.seed = 7;
    m.solutions = true;
    CHECK_OK(rex_task_make(b.t, &m, b.a, &item, &got, &e), e);
    CHECK_EQ(got, n);
    for (size_t i = 0; i < got; i++) {
        rex_str text;
        CHECK_OK(rex_jraw_str(b.a, item[i].response, &text, &e), e);
        const rex_claim c = { .problem = item[i].problem,
                              .answer = item[i].answer,
                              .response = text };
        EXPECT(judge(&b, c), REX_VERDICT_correct, text.p);
        const bool test = rex_hash64(item[i].id.p, item[i].id.n) % 16 == 0;
        CHECK(test == (side == REX_SPLIT_TEST));
        for (size_t k = 0; k < i; k++) CHECK(!rex_str_eq(item[i].id, item[k].id));
    }
    m.n = (int64_t)n / 2; /* fewer are the first of more; another seed gives others */
    CHECK_OK(rex_task_make(b.t, &m, b.a, &again, &got, &e), e);
    for (size_t i = 0; i < got; i++) CHECK(rex_str_eq(item[i].line, again[i].line));
    m.seed = 8;
    CHECK_OK(rex_task_make(b.t, &m, b.a, &again, &got, &e), e);
    CHECK(!rex_str_eq(item[0].line, again[0].line));
    close_task(&b);
}

START_TEST(t_generators_make_what_they_accept) {
    rex_task_opts o;
    for (int side = REX_SPLIT_TRAIN; side <= REX_SPLIT_TEST; side++) {
        rex_task_defaults(&o);
        o.task = "countdown";
        check_made(o, (rex_split)side, 400);
        o.format = 2;
        check_made(o, (rex_split)side, 200);
        o.numbers = 6;
        o.high = 100;
        o.target_high = 999;
        o.limit = 9999;
        o.format = 1;
        check_made(o, (rex_split)side, 100);
        rex_task_defaults(&o);
        o.task = "maze";
        check_made(o, (rex_split)side, 50);
        o.side = 21;
        o.open = 1.0;
        check_made(o, (rex_split)side, 10);
        o.side = 5;
        o.open = 0.0;
        check_made(o, (rex_split)side, 4);
        rex_task_defaults(&o);
        o.task = "arithmetic";
        check_made(o, (rex_split)side, 100);
        o.digits = 15;
        o.terms = 8;
        check_made(o, (rex_split)side, 50);
    }
}
END_TEST

START_TEST(t_countdown_prompts_have_one_width) {
    rex_err e;
    rex_make_opts m;
    rex_item *item;
    size_t n;
    bench b = open_task("countdown", 0);
    rex_make_defaults(&m);
    m.n = 200;
    CHECK_OK(rex_task_make(b.t, &m, b.a, &item, &n, &e), e);
    for (size_t i = 0; i < n; i++) {
        rex_str text;
        CHECK_OK(rex_jraw_str(b.a, item[i].prompt, &text, &e), e);
        CHECK_EQ(text.n, 15);
        CHECK(text.p[14] == '>');
    }
    close_task(&b);
}
END_TEST

START_TEST(t_generators_say_when_they_run_dry) {
    rex_err e;
    rex_make_opts m;
    rex_item *item;
    size_t n;
    rex_task_opts o;
    rex_task_defaults(&o);
    o.task = "arithmetic";
    o.digits = 1;
    bench b = open_with(o);
    rex_make_defaults(&m);
    m.n = 56; /* there are 55 sums of two digits */
    m.split = REX_SPLIT_ALL;
    CHECK_STATUS(rex_task_make(b.t, &m, b.a, &item, &n, &e), REX_ELIMIT);
    CHECK_HAS(e.text, "56 problems were asked for, the generator with these options found 55");
    m.n = 55;
    CHECK_OK(rex_task_make(b.t, &m, b.a, &item, &n, &e), e);
    m.n = -1;
    CHECK_STATUS(rex_task_make(b.t, &m, b.a, &item, &n, &e), REX_EARG);
    close_task(&b);
}
END_TEST

/* ---- text ---- */

START_TEST(t_literal_tasks) {
    bench b = open_task("exact", 0);
    EXPECT(judge_gold(&b, "Paris", " Paris\n"), REX_VERDICT_correct, "blanks around");
    EXPECT(judge_gold(&b, "Paris", "paris"), REX_VERDICT_wrong, "case");
    EXPECT(judge_gold(&b, "Paris", "  "), REX_VERDICT_unparsed, "empty");
    EXPECT(judge_gold(&b, "", "x"), REX_VERDICT_ambiguous, "no gold");
    EXPECT(judge(&b, (rex_claim){ .answer = rex_str_of("17"), .response = rex_str_of("17") }),
           REX_VERDICT_correct, "number");
    close_task(&b);
    b = open_task("arithmetic", 0);
    EXPECT(judge_gold(&b, "86", "86"), REX_VERDICT_correct, "86");
    EXPECT(judge_gold(&b, "86", "24+62 is 086."), REX_VERDICT_correct, "086");
    EXPECT(judge_gold(&b, "86", "87"), REX_VERDICT_wrong, "87");
    EXPECT(judge_gold(&b, "86", "-86"), REX_VERDICT_wrong, "-86");
    EXPECT(judge_gold(&b, "86", "none"), REX_VERDICT_unparsed, "none");
    EXPECT(judge_gold(&b, "-0", "0"), REX_VERDICT_correct, "-0");
    close_task(&b);
    rex_task_opts o;
    rex_task_defaults(&o);
    o.task = "regex";
    o.pattern = "answer is (\\w+)";
    b = open_with(o);
    EXPECT(judge_gold(&b, "blue", "the answer is red, no, the answer is blue."),
           REX_VERDICT_correct, "last match");
    EXPECT(judge_gold(&b, "red", "the answer is red, no, the answer is blue."), REX_VERDICT_wrong,
           "last match");
    EXPECT(judge_gold(&b, "red", "red"), REX_VERDICT_unparsed, "no match");
    EXPECT(judge(&b, (rex_claim){ .response = rex_str_of("answer is x") }), REX_VERDICT_correct,
           "no gold asked");
    EXPECT(judge_gold(&b, "x", "\xff answer is x \xc3"), REX_VERDICT_correct, "invalid UTF-8");
    close_task(&b);
    o.pattern = "(a+)+$";
    b = open_with(o);
    EXPECT(judge_gold(&b, "x",
                      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!"),
           REX_VERDICT_timeout, "catastrophe");
    close_task(&b);
    rex_err e;
    rex_task *t;
    o.pattern = "(";
    CHECK_STATUS(rex_task_open(&o, &t, &e), REX_EARG);
    CHECK_HAS(e.text, "--pattern '(': character 2");
    o.pattern = NULL;
    CHECK_STATUS(rex_task_open(&o, &t, &e), REX_EARG);
    o.task = "gsmk8";
    CHECK_STATUS(rex_task_open(&o, &t, &e), REX_EARG);
    CHECK_HAS(e.text, "did you mean 'gsm8k'");
}
END_TEST

/* ---- data ---- */

START_TEST(t_data_rows_become_prompts) {
    rex_err e;
    rex_make_opts m;
    rex_item *item;
    size_t n;
    rex_task_opts o;
    static const char rows[] = "{\"question\": \"2+2?\", \"answer\": \"two and two\\n#### "
                               "1,004\"}\n"
                               "{\"id\": \"b\", \"prompt\": [{\"role\": \"user\", \"content\": "
                               "\"hm\"}], \"label\": 5}\n"
                               "\n"
                               "{\"prompt_id\": 7, \"prompt\": \"as it is\", \"answer\": \"x\"}\n";
    rex_task_defaults(&o);
    o.task = "gsm8k";
    o.data = rex_test_file("rows.jsonl", rows, sizeof rows - 1);
    bench b = open_with(o);
    rex_make_defaults(&m);
    CHECK_OK(rex_task_make(b.t, &m, b.a, &item, &n, &e), e);
    CHECK_EQ(n, 3);
    CHECK_TEXT(item[0].id, "0"); /* the number of the line from 0 */
    CHECK_TEXT(item[0].answer, "\"1,004\"");
    CHECK_HAS(item[0].line.p, "[{\"role\":\"user\",\"content\":\"2+2? Think");
    CHECK_TEXT(item[1].id, "b");
    CHECK_TEXT(item[1].prompt, "[{\"role\": \"user\", \"content\": \"hm\"}]");
    CHECK_TEXT(item[1].answer, "5");
    CHECK_TEXT(item[2].id, "7");
    CHECK_TEXT(item[2].line, "{\"prompt_id\":\"7\",\"prompt\":\"as it is\",\"answer\":\"x\"}");
    m.n = 2;
    CHECK_OK(rex_task_make(b.t, &m, b.a, &item, &n, &e), e);
    CHECK_EQ(n, 2);
    m.n = 4;
    CHECK_STATUS(rex_task_make(b.t, &m, b.a, &item, &n, &e), REX_ELIMIT);
    CHECK_HAS(e.text, "the data has 3");
    close_task(&b);
    static const struct {
        const char *row, *part;
    } bad[] = {
        { "{\"answer\": 1}", "line 1: neither prompt, question nor" },
        { "{\"prompt\": \"a\"}\n{\"prompt\": \"b\", \"id\": \"0\"}", "line 2: prompt_id '0' has "
                                                                     "been there" },
        { "[1]", "line 1: expected an object" },
        { "{\"prompt\": \"a\"", "line 1" },
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        o.data = rex_test_file("bad.jsonl", bad[i].row, strlen(bad[i].row));
        b = open_with(o);
        rex_make_defaults(&m);
        CHECK_STATUS(rex_task_make(b.t, &m, b.a, &item, &n, &e), REX_EFORMAT);
        CHECK_HAS(e.text, bad[i].part);
        close_task(&b);
    }
}
END_TEST

/* ---- many claims ---- */

START_TEST(t_verdicts_do_not_depend_on_workers) {
    enum { N = 9000 };
    static rex_claim c[N];
    static rex_judged x[N];
    static rex_judged y[N];
    static char text[N][24];
    rex_err e;
    rex_pool *pool;
    bench b = open_task("arithmetic", 0);
    for (int i = 0; i < N; i++) {
        snprintf(text[i], sizeof text[i], i % 3 ? "%d" : "none %d", i % 5);
        if (i % 3 == 0) text[i][i % 2 ? 4 : 7] = 0;
        c[i] = (rex_claim){ .answer = rex_str_of("\"3\""), .response = rex_str_of(text[i]) };
    }
    CHECK_OK(rex_pool_open(3, &pool, &e), e);
    CHECK_OK(rex_task_verify(b.t, NULL, c, N, b.a, x, &e), e);
    CHECK_OK(rex_task_verify(b.t, pool, c, N, b.a, y, &e), e);
    for (int i = 0; i < N; i++) {
        CHECK_EQ(x[i].verdict, y[i].verdict);
        CHECK(rex_str_eq(x[i].reason, y[i].reason));
        CHECK(rex_str_eq(x[i].extracted, y[i].extracted));
    }
    rex_pool_close(pool);
    close_task(&b);
}
END_TEST

static int warned;
static char warning[400];
static void on_log(void *ud, rex_log_level level, const char *text) {
    (void)ud;
    warned += level == REX_LOG_WARN;
    snprintf(warning, sizeof warning, "%s", text);
}

START_TEST(t_a_jump_in_the_mix_is_told) {
    rex_claim c[100];
    rex_judged j[100];
    rex_err e;
    bench b = open_task("exact", 0);
    rex_log_set(on_log, NULL, REX_LOG_WARN);
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 100; i++) /* 5 % empty, then 95 % */
            c[i] = (rex_claim){ .answer = rex_str_of("\"a\""),
                                .response = rex_str_of(i < (round < 2 ? 5 : 95) ? "" : "a") };
        CHECK_OK(rex_task_verify(b.t, NULL, c, 100, b.a, j, &e), e);
        CHECK_EQ(warned, round >= 2); /* once */
    }
    CHECK_HAS(warning, "'unparsed' went from 5 % of the verdicts to 95 %");
    rex_log_set(NULL, NULL, REX_LOG_WARN);
    close_task(&b);
}
END_TEST

/* ---- allocations that fail ---- */

static rex_status once(const char *name, int grader, const char *gold, const char *problem,
                       const char *text) {
    rex_task_opts o;
    rex_task *t;
    rex_arena *a = NULL;
    rex_judged j;
    rex_task_defaults(&o);
    o.task = name;
    o.grader = grader;
    o.pattern = "a(b)";
    REX_TRY(rex_task_open(&o, &t, NULL));
    rex_status s = rex_arena_open(0, &a, NULL);
    const rex_claim c = { .answer = gold ? rex_str_of(gold) : (rex_str){ NULL, 0 },
                          .problem = problem ? rex_str_of(problem) : (rex_str){ NULL, 0 },
                          .response = rex_str_of(text) };
    if (s == REX_OK) s = rex_task_verify(t, NULL, &c, 1, a, &j, NULL);
    rex_arena_close(a);
    rex_task_close(t);
    return s;
}

static rex_status make_some(const char *name, const char *data) {
    rex_task_opts o;
    rex_task *t;
    rex_arena *a = NULL;
    rex_make_opts m;
    rex_item *item;
    size_t n;
    rex_task_defaults(&o);
    o.task = name;
    o.data = data;
    REX_TRY(rex_task_open(&o, &t, NULL));
    rex_status s = rex_arena_open(0, &a, NULL);
    rex_make_defaults(&m);
    m.n = 2;
    m.solutions = true;
    if (s == REX_OK) s = rex_task_make(t, &m, a, &item, &n, NULL);
    rex_arena_close(a);
    rex_task_close(t);
    return s;
}

START_TEST(t_tasks_survive_failing_allocations) {
    REX_TORTURE(once("gsm8k", 1, "\"1,234\"", NULL, "#### 1,234"));
    REX_TORTURE(once("math", 1, "\"\\\\frac{1}{2}\"", NULL, "\\boxed{\\frac12}"));
    REX_TORTURE(once("aime", 1, "204", NULL, "\\boxed{0204}"));
    REX_TORTURE(
        once("game24", 0, NULL, "{\"numbers\": [4, 4, 6, 8], \"target\": 24}", "(4+8)*(6-4)"));
    REX_TORTURE(once("countdown", 0, NULL, CD, "11*1=11,5-4=1,11-1=10"));
    REX_TORTURE(once("maze", 0, NULL, d9_maze, "UUUU"));
    REX_TORTURE(once("arithmetic", 0, "5", NULL, "5"));
    REX_TORTURE(once("regex", 0, "\"b\"", NULL, "xxab"));
    REX_TORTURE(make_some("countdown", NULL));
    REX_TORTURE(make_some("maze", NULL));
    REX_TORTURE(make_some("arithmetic", NULL));
    static const char rows[] = "{\"question\": \"a\", \"answer\": \"#### 1\"}\n{\"question\": "
                               "\"b\", \"answer\": \"#### 2\"}\n"
                               "{\"question\": \"c\", \"answer\": \"#### 3\"}\n";
    char path[600];
    snprintf(path, sizeof path, "%s", rex_test_file("t.jsonl", rows, sizeof rows - 1));
    REX_TORTURE(make_some("gsm8k", path));
}
END_TEST

REX_TEST_MAIN("tasks", t_paper_gsm8k_vectors, t_paper_math_vectors, t_paper_aime_vectors,
              t_maze_vectors, t_game24_takes_and_refuses, t_game24_generator_is_the_1362,
              t_game24_solves_the_data, t_countdown_steps, t_generators_make_what_they_accept,
              t_countdown_prompts_have_one_width, t_generators_say_when_they_run_dry,
              t_literal_tasks, t_data_rows_become_prompts, t_verdicts_do_not_depend_on_workers,
              t_a_jump_in_the_mix_is_told, t_tasks_survive_failing_allocations)
