/* SPDX-License-Identifier: MIT
 *
 * Tests of src/trial: rules as written, expected calls of a random order against every permutation,
 * what an order costs on a pool worked by hand, and every allocation failing in turn.
 */
#include "rex_test.h"

#include <math.h>
#include <string.h>

#include "src/trial/trial.h"

static rex_trial_rule *read_rules(rex_arena *a, const char *text, size_t *n) {
    rex_trial_rule *r = NULL;
    rex_err e;
    CHECK_STATUS(rex_rules_read(a, text, "--rules", 9, &r, n, &e), REX_OK);
    return r;
}

START_TEST(rules_as_written) {
    rex_arena *a = NULL;
    size_t n = 0;
    CHECK_STATUS(rex_arena_open(0, &a, NULL), REX_OK);
    const rex_trial_rule *r = read_rules(
        a, "elliptical/lambda=rel:0.01/unit,random/outcome=answer,quality/proj_dim=32/alpha=2,auto",
        &n);
    CHECK_EQ(n, 4);
    CHECK(r[0].o.rule == REX_SELECT_ELLIPTICAL && r[0].o.lambda_rel && r[0].o.unit &&
          r[0].o.center);
    CHECK_CLOSE(r[0].o.lambda, 0.01, 1.0, 0);
    CHECK_EQ(r[0].o.seed, 9);
    CHECK(rex_str_is(r[0].name, "elliptical/lambda=rel:0.01/unit"));
    CHECK(r[1].o.rule == REX_SELECT_RANDOM && r[1].o.outcome == REX_OUTCOME_ANSWER);
    CHECK(r[2].o.proj_dim == 32 && r[2].o.alpha == 2.0 && r[2].o.unit);
    CHECK(r[3].learned);
    r = read_rules(
        a, "farthest/first=3/no-center/projection=none,likelihood/likelihood=mean/sharpness=0", &n);
    CHECK(r[0].o.first == REX_FIRST_INDEX && r[0].o.first_index == 3 && !r[0].o.center &&
          !r[0].project);
    CHECK(r[1].o.likelihood == REX_LOGLIK_MEAN && r[1].o.sharpness == 0.0);
    rex_arena_close(a);
}
END_TEST

START_TEST(rules_that_are_none) {
        static const char *const bad[] = {"",
                                          ",",
                                          "random,",
                                          "random/",
                                          "random/=",
                                          "random/unit=1",
                                          "random/lambda=0",
                                          "random/lambda=rel:",
                                          "random/first=-1",
                                          "random/proj-dim=1e9",
                                          "random/outcome=",
                                          "Random",
                                          "random/alpha=nan",
                                          "random,random",
                                          "auto/x"};
        rex_arena *a = NULL;
        rex_trial_rule *r = NULL;
        rex_err e;
        size_t n = 0;
        CHECK_STATUS(rex_arena_open(0, &a, NULL), REX_OK);
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
            CHECK_STATUS(rex_rules_read(a, bad[i], "--rules", 0, &r, &n, &e), REX_EARG);
            CHECK(strncmp(e.text, "--rules: ", 9) == 0);
    }
    rex_arena_close(a);
}
END_TEST

/* Three problems: q has one right of four (two texts), r all right, s none. */
static const char pool[] =
    "{\"prompt_id\":\"q\",\"text\":\"a\",\"reward\":0,\"logprob\":-1,\"n_tok\":1}\n"
    "{\"prompt_id\":\"q\",\"text\":\"a\",\"reward\":0,\"logprob\":-2,\"n_tok\":1}\n"
    "{\"prompt_id\":\"q\",\"text\":\"b\",\"reward\":1,\"logprob\":-3,\"n_tok\":1}\n"
    "{\"prompt_id\":\"q\",\"text\":\"a\",\"reward\":0,\"logprob\":-4,\"n_tok\":1}\n"
    "{\"prompt_id\":\"r\",\"text\":\"a\",\"reward\":1,\"logprob\":-1,\"n_tok\":1}\n"
    "{\"prompt_id\":\"r\",\"text\":\"b\",\"reward\":1,\"logprob\":-2,\"n_tok\":1}\n"
    "{\"prompt_id\":\"s\",\"text\":\"a\",\"reward\":0,\"logprob\":-1,\"n_tok\":1}\n"
    "{\"prompt_id\":\"s\",\"text\":\"a\",\"reward\":0,\"logprob\":-2,\"n_tok\":1}\n";

static rex_status run_pool(const char *path, const char *rules, rex_trial **t, rex_err *e) {
    rex_trial_opts o;
    rex_trial_defaults(&o);
    o.rules = rules;
    o.draws = 100;
    REX_TRY(rex_trial_open(&o, NULL, NULL, path, NULL, t, e));
    return rex_trial_run(*t, e);
}

static const char *write_pool(const char *text) {
    return rex_test_file("trial.jsonl", text, strlen(text));
}

START_TEST(a_pool_by_hand) {
    rex_trial *t = NULL;
    rex_err e;
    CHECK_STATUS(run_pool(write_pool(pool), "likelihood,votes,random,random/outcome=text", &t, &e),
                 REX_OK);
    /* samples and calls of q, r, s */
    static const double want[4][2][3] = {
        {{3, 1, 3}, {2, 1, 2}},         /* a a b */
        {{2, 1, 3}, {2, 1, 2}},         /* a, then b */
        {{2.5, 1, 3}, {1.75, 1, 2}},    /* (n+1)/(c+1); 1 + 3/(3+1) */
        {{1.5, 1, 3}, {1.5, 1, 2}},     /* two representatives, one of them right */
    };
    for (int r = 0; r < 4; r++)
        for (int g = 0; g < 3; g++) {
            CHECK_CLOSE(t->result[r].s2c[g], want[r][0][g], 1.0, 0);
            CHECK_CLOSE(t->result[r].calls[g], want[r][1][g], 1.0, 0);
        }
    CHECK(t->known && t->n_k == 2 && t->k[1] == 2);
    CHECK_CLOSE(t->result[2].pass[1], 0.5, 1.0, 0); /* q, random, k = 2 */
    CHECK_CLOSE(t->result[0].pass[1], 0.0, 1.0, 0);
    CHECK_EQ(t->result[0].found[0], 2);
    CHECK_EQ(t->result[0].found[2], UINT32_MAX);
    CHECK_EQ(rex_trial_verified(t), 0);
    rex_trial_close(t);
}
END_TEST

START_TEST(a_budget_by_hand) {
    rex_trial *t = NULL;
    rex_trial_opts o;
    rex_err e;
    rex_trial_defaults(&o);
    o.rules = "votes";
    o.until = true;
    CHECK_STATUS(rex_trial_open(&o, NULL, NULL, write_pool(pool), NULL, &t, &e), REX_OK);
    CHECK_STATUS(rex_trial_budget(t, 100, &e), REX_OK);
    CHECK_EQ(t->spent->used, 4); /* q two texts, r one, s its only one: nothing is left then */
    CHECK_EQ(t->spent->solved, 2);
    CHECK_EQ(t->spent->round_robin, 2);
    CHECK_EQ(t->spent->found[0], 2);
    CHECK_STATUS(rex_trial_budget(t, 0, &e), REX_EARG);
    rex_trial_close(t);
}
END_TEST

static rex_status run_and_tell(const char *path) {
    rex_trial *t = NULL;
    rex_arena *a = NULL;
    rex_str text = {NULL, 0};
    rex_status s = run_pool(path, "votes,random,random/outcome=text", &t, NULL);
    if (s == REX_OK) s = rex_arena_open(0, &a, NULL);
    if (s == REX_OK) s = rex_trial_text(t, REX_TRIAL_JSON, NULL, a, &text, NULL);
    rex_arena_close(a);
    rex_trial_close(t);
    return s;
}

START_TEST(t_trial_torture) {
    const char *const path = write_pool(pool);
    REX_TORTURE(run_and_tell(path));
}
END_TEST

REX_TEST_MAIN("trial", rules_as_written, rules_that_are_none, a_pool_by_hand, a_budget_by_hand,
              t_trial_torture)
