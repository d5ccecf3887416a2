/* SPDX-License-Identifier: MIT
 *
 * Option lists: defaults, bounds, the command line, YAML, help, JSON.
 */
#include "rex_test.h"

#define OPTS(X)                                                                              \
    X(BOOL, center, "true", 0, 0, "", "subtract the mean of the group")                      \
    X(BOOL, json, "false", 0, 0, "", "JSON on stdout")                                       \
    X(I64, k, "8", 1, 100, "K", "k=how many to pick")                                        \
    X(I64, any, "", 0, 0, "N", "a number without bounds")                                    \
    X(F64, lambda_rel, "0.01", 0, 1, "X", "the ridge")                                       \
    X(ENUM, method, "dr-grpo", 0, 0, "grpo|dr-grpo|rloo", "which kind")                      \
    X(STR, features, "", 0, 0, "FILE", "rows of numbers")                                    \
    X(LIST, rules, "a,b", 0, 0, "LIST", "r=what to compare")
REX_OPT_STRUCT(opts, OPTS);
#define REX_OPT_TYPE opts
static const rex_opt list[] = {OPTS(REX_OPT_ROW)};
#define N (sizeof list / sizeof list[0])

static opts fresh(void) {
    opts o;
    rex_opt_defaults(list, N, &o, sizeof o);
    return o;
}

START_TEST(t_opt_defaults_come_from_the_list) {
    const opts o = fresh();
    CHECK_EQ(o.head.size, sizeof o);
    CHECK(o.center && !o.json);
    CHECK_EQ(o.k, 8);
    CHECK_EQ(o.any, 0);
    CHECK(o.lambda_rel == 0.01);
    CHECK_EQ(o.method, 1);
    CHECK(o.features == NULL);
    CHECK_STR(o.rules, "a,b");
    CHECK(!rex_opt_given(list, N, &o, "k"));
}
END_TEST

#define FEW(X)                                                       \
    X(ENUM, method, "grpo", 0, 0, "grpo|dr-grpo|rloo", "which kind") \
    X(I64, other, "3", 0, 9, "N", "not in the first list")           \
    X(I64, k, "1", 1, 9, "K", "how many")                            \
    X(STR, features, "", 0, 0, "FILE", "rows")
REX_OPT_STRUCT(few, FEW);
#undef REX_OPT_TYPE
#define REX_OPT_TYPE few
static const rex_opt few_list[] = {FEW(REX_OPT_ROW)};
#define N_FEW (sizeof few_list / sizeof *few_list)

START_TEST(t_opt_copy_goes_by_name_and_knows_what_was_given) {
    rex_err e;
    opts from = fresh();
    few to;
    rex_opt_defaults(few_list, N_FEW, &to, sizeof to);
    CHECK_OK(rex_opt_set(few_list, N_FEW, &to, "other", "5", &e), e);
    CHECK_OK(rex_opt_set(few_list, N_FEW, &to, "method", "rloo", &e), e);
    CHECK_OK(rex_opt_set(list, N, &from, "k", "42", &e), e);
    CHECK_OK(rex_opt_set(list, N, &from, "features", "F.npy", &e), e);
    rex_opt_copy(few_list, N_FEW, &to, list, N, &from);
    CHECK_EQ(to.head.size, sizeof to);
    CHECK(to.method == 1 && to.other == 5 && to.k == 42);
    CHECK_STR(to.features, "F.npy");
    CHECK(rex_opt_given(few_list, N_FEW, &to, "k"));
    CHECK(rex_opt_given(few_list, N_FEW, &to, "features"));
    CHECK(rex_opt_given(few_list, N_FEW, &to, "other"));
    CHECK(!rex_opt_given(few_list, N_FEW, &to, "method")); /* a default of `from` */
    to.k = 7;
    rex_opt_copy(list, N, &from, few_list, N_FEW, &to);
    CHECK(from.k == 7 && from.method == 1 && from.center && from.lambda_rel == 0.01);
    CHECK(!rex_opt_given(list, N, &from, "center"));
}
END_TEST

static rex_status args(opts *o, const char *line, int *n_pos, char **argv, rex_err *e) {
    static char copy[512];
    static rex_arena *a;
    int argc = 0;
    snprintf(copy, sizeof copy, "%s", line);
    for (char *p = strtok(copy, " "); p; p = strtok(NULL, " ")) argv[argc++] = p;
    if (a) rex_arena_close(a);
    a = NULL;
    if (argc == 0) return REX_OK;
    REX_TRY(rex_arena_open(0, &a, e));
    return rex_opt_args(a, list, N, o, argc, argv, n_pos, e);
}

START_TEST(t_opt_command_line) {
    opts o = fresh();
    rex_err e;
    int n = 0;
    char *argv[32];
    CHECK_OK(args(&o, "one --no-center --json -k4 --lambda-rel=0.5 two --method rloo --any -7 "
                      "--features - -r x --rules y -- --three", &n, argv, &e), e);
    CHECK_EQ(n, 3);
    CHECK_STR(argv[0], "one");
    CHECK_STR(argv[1], "two");
    CHECK_STR(argv[2], "--three");
    CHECK(!o.center && o.json);
    CHECK_EQ(o.k, 4);
    CHECK_EQ(o.any, -7);
    CHECK(o.lambda_rel == 0.5);
    CHECK_EQ(o.method, 2);
    CHECK_STR(o.features, "-");
    CHECK_STR(o.rules, "x,y"); /* a list given twice is joined */
    CHECK(rex_opt_given(list, N, &o, "lambda-rel"));
    CHECK_OK(args(&o, "--json=false --lambda_rel 1 -k 5 -3 -", &n, argv, &e), e);
    CHECK(!o.json && o.lambda_rel == 1 && o.k == 5);
    CHECK_EQ(n, 2);
    (void)args(&o, "", &n, argv, &e);
}
END_TEST

START_TEST(t_opt_misuse_is_told) {
    static const struct {
        const char *line, *sentence;
    } bad[] = {
        {"--centre", "unknown option --centre, did you mean --center?"},
        {"--metod rloo", "unknown option --metod, did you mean --method?"},
        {"--zzzzzz 1", "unknown option --zzzzzz"},
        {"-z", "unknown option -z"},
        {"-k 0", "--k: 0 is outside 1 .. 100"},
        {"-k 101", "--k: 101 is outside 1 .. 100"},
        {"-k 1.5", "--k: expected a whole number, found \"1.5\""},
        {"-k", "--k: needs a value (K)"},
        {"--features --json", "--features: needs a value (FILE)"},
        {"--lambda-rel nan", "--lambda-rel: expected a number, found \"nan\""},
        {"--lambda-rel 1x", "--lambda-rel: expected a number, found \"1x\""},
        {"--method grop", "--method: \"grop\" is none of grpo|dr-grpo|rloo; did you mean grpo?"},
        {"--json=maybe", "--json: expected true or false, found \"maybe\""},
        {"--no-center=1", "--no-center: takes no value"},
        {"--no-k", "unknown option --no-k"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        opts o = fresh();
        rex_err e = {.text = ""};
        int n;
        char *argv[32];
        CHECK_STATUS(args(&o, bad[i].line, &n, argv, &e), REX_EARG);
        CHECK_STR(e.text, bad[i].sentence);
        (void)args(&o, "", &n, argv, &e);
    }
}
END_TEST

static rex_status yaml(const char *text, opts *o, rex_arena **a, rex_err *e) {
    *o = fresh();
    REX_TRY(rex_arena_open(0, a, e));
    return rex_opt_yaml_text(*a, list, N, o, rex_str_of(text), "r.yaml", e);
}

START_TEST(t_opt_yaml) {
    opts o;
    rex_err e;
    rex_arena *a;
    CHECK_OK(yaml("# a recipe\nk: 5\nlambda-rel: 0.25 # half\nmethod: \"rloo\"\ncenter: no\n"
                  "rules:\n  - x\n  - 'y z'\nfeatures: f.npy\n", &o, &a, &e), e);
    CHECK_EQ(o.k, 5);
    CHECK(o.lambda_rel == 0.25);
    CHECK_EQ(o.method, 2);
    CHECK(!o.center);
    CHECK_STR(o.rules, "x,y z");
    CHECK_STR(o.features, "f.npy");
    rex_arena_close(a);
    CHECK_OK(yaml("# nothing\n", &o, &a, &e), e);
    rex_arena_close(a);
    CHECK_OK(yaml("", &o, &a, &e), e);
    rex_arena_close(a);
}
END_TEST

START_TEST(t_opt_yaml_refuses_with_the_line) {
    static const struct {
        const char *text;
        int64_t line;
        const char *part;
    } bad[] = {
        {"k: 5\nmetod: rloo\n", 2, "r.yaml: line 2: unknown key metod, did you mean method?"},
        {"k: 0\n", 1, "r.yaml: line 1: --k: 0 is outside 1 .. 100"},
        {"k: 1\n\nk: 2\n", 3, "r.yaml: line 3: key k occurs twice"},
        {"k: {a: 1}\n", 1, "r.yaml: line 1: expected a value or a list, found a mapping"},
        {"- k\n", 1, "expected lines of key: value, found a list"},
        {"rules: [a, [b]]\n", 1, "expected a value in the list, found a list"},
        {"k: &x 1\nany: *x\n", 2, "expected a value or a list, found an alias"},
        {"k: 1\n---\nk: 2\n", 2, "expected the end, found a second document"},
        {"k: \"1\nany: 2\n", 3, "r.yaml: line "},
        {"k: 1\n\tany: 2\n", 2, "r.yaml: line 2: "},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        opts o;
        rex_err e = {.text = ""};
        rex_arena *a;
        CHECK(yaml(bad[i].text, &o, &a, &e) != REX_OK);
        CHECK_EQ(e.at, bad[i].line);
        CHECK_HAS(e.text, bad[i].part);
        rex_arena_close(a);
    }
}
END_TEST

START_TEST(t_opt_json_reads_back) {
    opts o = fresh();
    rex_err e;
    rex_buf b;
    rex_jw w;
    CHECK_OK(rex_opt_set(list, N, &o, "any", "0", &e), e);
    rex_buf_init(&b, 0);
    rex_jw_init(&w, &b);
    rex_opt_json(list, N, &o, &w);
    CHECK_STR(b.p, "{\"center\":true,\"json\":false,\"k\":8,\"any\":0,\"lambda_rel\":0.01,"
                   "\"method\":\"dr-grpo\",\"features\":null,\"rules\":\"a,b\"}");
    rex_buf_free(&b);
}
END_TEST

START_TEST(t_opt_help_and_man_show_every_option) {
    rex_buf b;
    rex_buf_init(&b, 0);
    rex_opt_help(list, N, &b);
    CHECK_HAS(b.p, "      --[no-]center           subtract the mean of the group [true]\n");
    CHECK_HAS(b.p, "  -k K                        how many to pick [8]\n");
    CHECK_HAS(b.p, "      --lambda-rel X          the ridge [0.01]\n");
    CHECK_HAS(b.p, "  -r, --rules LIST            what to compare [a,b]\n");
    CHECK_HAS(b.p, "      --features FILE         rows of numbers\n");
    rex_buf_reset(&b);
    rex_opt_man(list, N, &b);
    for (size_t i = 0; i < N; i++) CHECK_HAS(b.p, list[i].help + (list[i].help[1] == '=' ? 2 : 0));
    CHECK_HAS(b.p, ".TP\n.B \\-\\-lambda\\-rel X\nthe ridge (default: 0.01)\n");
    rex_buf_reset(&b);
    rex_man_text(&b, ".a\\b-c\n'd");
    CHECK_STR(b.p, "\\&.a\\eb\\-c\n\\&'d");
    rex_buf_free(&b);
}
END_TEST

START_TEST(t_nearest_is_near_or_none) {
    static const char *const names[] = {"select", "score", "passk", "advantage"};
    CHECK_STR(rex_nearest("slect", names, 4), "select");
    CHECK_STR(rex_nearest("socre", names, 4), "score");
    CHECK_STR(rex_nearest("pass", names, 4), "passk");
    CHECK_STR(rex_nearest("adv", names, 4), "advantage");
    CHECK(rex_nearest("train", names, 4) == NULL);
    CHECK(rex_nearest("", names, 4) == NULL);
    CHECK(rex_nearest("x", names, 0) == NULL);
}
END_TEST

static rex_status yaml_round(void) {
    opts o;
    rex_err e;
    rex_arena *a = NULL;
    const rex_status s = yaml("k: 5\nrules: [a, b]\n", &o, &a, &e);
    rex_arena_close(a);
    return s;
}

START_TEST(t_opt_torture) { REX_TORTURE(yaml_round()); }
END_TEST

REX_TEST_MAIN("base_opt", t_opt_defaults_come_from_the_list,
              t_opt_copy_goes_by_name_and_knows_what_was_given, t_opt_command_line,
              t_opt_misuse_is_told, t_opt_yaml, t_opt_yaml_refuses_with_the_line,
              t_opt_json_reads_back, t_opt_help_and_man_show_every_option,
              t_nearest_is_near_or_none, t_opt_torture)
