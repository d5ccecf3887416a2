/* SPDX-License-Identifier: MIT
 *
 * explore: the paper's test-time setting in one command. A pool of samples per problem, from a
 * model or from a file; orders by every rule; a verifier that is asked down each order until
 * something is right; what that cost against chance, with intervals.
 */
#include "cli_run.h"

#include <string.h>

#define OPTS(X)                                                                           \
    REX_CLI_COMMON(X)                                                                     \
    REX_CLI_RUN(X)                                                                        \
    X(STR, features, "", 0, 0, "F.npy", "states of the samples of --from, row by row")    \
    X(STR, rules, "elliptical,quality,random", 0, 0, "LIST",                              \
      "rules of selection, settings after slashes: random/outcome=answer; or auto")       \
    X(I64, trials, "5", 1, 100000, "T", "first picks of a rule that begins at random")    \
    X(BOOL, exact, "false", 0, 0, "", "average over every first pick instead")            \
    X(BOOL, verify_all, "", 0, 0, "",                                                     \
      "verify everything; default for built-in verifiers, off for external ones")         \
    X(BOOL, until_correct, "false", 0, 0, "",                                             \
      "stop at the first correct one of a problem and print it")                          \
    X(I64, budget, "0", 0, 1000000000, "B", "spend B verifier calls where they pay most") \
    X(I64, learn, "20", 1, 1000000, "L", "problems whose whole pools auto learns from")   \
    X(STR, candidates, "", 0, 0, "LIST", "rules that auto chooses from")                  \
    X(STR, reference, "", 0, 0, "POOL",                                                   \
      "bins are tenths by difficulty in this pool of another model")                      \
    X(STR, samplers, "", 0, 0, "LIST", "vanilla,low,high,min-p,nucleus: a pool by each")  \
    X(ENUM, features_dtype, "f32", 0, 0, "f32|f16", "element type of the feature file")   \
    X(ENUM, pool, "mean", 0, 0, "mean|last|mean-all",                                     \
      "over response tokens, the last, all tokens")                                       \
    X(I64, layer, "-1", -1, 511, "L",                                                     \
      "0 the embeddings, i behind block i, -1 after the final norm")                      \
    REX_CLI_MODEL(X)                                                                      \
    REX_TASK_OPTS(X)

REX_OPT_STRUCT(explore_opts, OPTS);
#define REX_OPT_TYPE explore_opts
static const rex_opt table[] = {OPTS(REX_OPT_ROW)};
enum { N_OPT = sizeof table / sizeof *table };

/* The samplers of the paper's study: name, temperature, top-p, min-p. */
static const char *const sampler[][4] = {{"vanilla", "1", "1", "0"},
                                         {"low", "0.6", "1", "0"},
                                         {"high", "1.5", "1", "0"},
                                         {"min-p", "1.5", "1", "0.05"},
                                         {"nucleus", "1", "0.9", "0"}};
enum { N_SAMPLER = sizeof sampler / sizeof *sampler };

typedef struct {
    const explore_opts *o;
    rex_cli_run run;
    bool finds; /* the first correct sample is the result, not the comparison */
} job;

static bool given(const char *s) { return s && *s; }

static rex_trial_opts trial_opts(const job *j, const rex_cli_folder *f) {
    const explore_opts *const o = j->o;
    rex_trial_opts t = rex_cli_trial_opts(&j->run, f);
    t.rules = o->rules;
    t.candidates = o->candidates;
    t.reference = o->reference;
    t.trials = o->trials;
    t.learn = o->learn;
    t.exact = o->exact;
    t.until = j->finds;
    if (rex_opt_given(table, N_OPT, o, "verify_all"))
        t.judge = o->verify_all ? REX_JUDGE_ALL : REX_JUDGE_LAZY;
    return t;
}

/* ---- one pool ---------------------------------------------------------------------------- */

static rex_status answer(const job *j, rex_trial *t, const rex_cli_folder *f, rex_str *json,
                         rex_str *text, rex_err *e) {
    rex_arena *const a = j->run.a;
    rex_str orders;
    const rex_status s =
        j->o->budget > 0 ? rex_trial_budget(t, j->o->budget, e) : rex_trial_run(t, e);
    if (s != REX_OK && !f->passing && rex_trial_verified(t) > 0)
        rex_cli_note("%s holds what was verified; --resume goes on from there", f->verdicts);
    REX_TRY(s);
    REX_TRY(rex_trial_text(t, j->finds ? REX_TRIAL_FOUND : REX_TRIAL_JSON, NULL, a, json, e));
    REX_TRY(rex_trial_text(t, j->finds ? REX_TRIAL_FOUND_TEXT : REX_TRIAL_TABLE, NULL, a, text, e));
    if (f->passing) return REX_OK;
    REX_TRY(rex_trial_text(t, REX_TRIAL_ORDERS, NULL, a, &orders, e));
    REX_TRY(rex_cli_put(&j->run, f, "orders.jsonl", orders, e));
    return rex_cli_keep(&j->run, f, t, j->finds ? "found.jsonl" : "explore.json", *json, e);
}

/* `which` of the samplers, -1: the options as they are. */
static rex_status one_pool(const job *j, int which, rex_str *json, rex_str *text, rex_err *e) {
    const explore_opts *const o = j->o;
    rex_cli_folder f;
    rex_trial *t = NULL;
    const char *const set[] = {"temperature", which < 0 ? "" : sampler[which][1],
                               "top_p",       which < 0 ? "" : sampler[which][2],
                               "min_p",       which < 0 ? "" : sampler[which][3]};
    const char *pool = NULL;
    rex_status s = rex_cli_folder_open(&j->run, which < 0 ? NULL : sampler[which][0], &f, e);
    if (s == REX_OK)
        s = rex_cli_pool_for(&j->run, &f, true, set, which < 0 ? 0 : 3, &pool, e);
    const rex_trial_opts opts = trial_opts(j, &f);
    const char *const features = given(o->from) ? o->features : f.features;
    if (s == REX_OK)
        s = rex_trial_open(&opts, j->run.task, j->run.workers, pool, features, &t, e);
    if (s == REX_OK) s = answer(j, t, &f, json, text, e);
    rex_trial_close(t);
    rex_cli_folder_close(&f);
    return s;
}

/* ---- the sampler study ------------------------------------------------------------------- */

static rex_status study(const job *j, rex_str *json, rex_str *text, rex_err *e) {
    rex_buf b, c;
    rex_status s = REX_OK;
    bool some = false;
    rex_buf_init(&b, 0);
    rex_buf_init(&c, 0);
    for (const char *p = j->o->samplers; s == REX_OK && p;) {
        const size_t n = strcspn(p, ",");
        int which = 0;
        while (which < N_SAMPLER && !rex_str_is((rex_str){p, n}, sampler[which][0])) which++;
        if (which == N_SAMPLER) {
            s = rex_fail(e, REX_EARG, -1,
                         "--samplers: there is no '%.*s'; there are vanilla, low, high, min-p "
                         "and nucleus",
                         (int)(n < 60 ? n : 60), p);
            break;
        }
        rex_str one, shown;
        s = one_pool(j, which, &one, &shown, e);
        if (s != REX_OK) break;
        if (!some) rex_buf_add(&b, one.p, one.n - 2); /* "}\n" */
        rex_buf_addf(&b, "%s\"%s\":", some ? "," : ",\"samplers\":{", sampler[which][0]);
        rex_buf_add(&b, one.p, one.n - 1);
        rex_buf_addf(&c, "## %s: temperature %s, top-p %s, min-p %s\n\n%.*s\n", sampler[which][0],
                     sampler[which][1], sampler[which][2], sampler[which][3], (int)shown.n,
                     shown.p);
        some = true;
        p = p[n] ? p + n + 1 : NULL;
    }
    rex_buf_addf(&b, "}}\n");
    if (s == REX_OK) s = rex_buf_check(&b, e);
    if (s == REX_OK) s = rex_buf_check(&c, e);
    if (s == REX_OK) s = rex_str_copy(j->run.a, (rex_str){b.p, b.n}, json, e);
    if (s == REX_OK) s = rex_str_copy(j->run.a, (rex_str){c.p, c.n}, text, e);
    rex_buf_free(&b);
    rex_buf_free(&c);
    return s;
}

/* ---- the command ------------------------------------------------------------------------- */

static rex_status check(const explore_opts *o, rex_err *e) {
    if (given(o->samplers) && !given(o->model))
        return rex_fail(e, REX_EARG, -1,
                        "--samplers needs --model M: every sampler makes a pool of its own");
    if (given(o->samplers) && (o->until_correct || o->budget > 0))
        return rex_fail(e, REX_EARG, -1,
                        "--samplers compares pools; --until-correct and --budget use one");
    if (o->until_correct && o->budget > 0)
        return rex_fail(e, REX_EARG, -1, "--until-correct and --budget exclude each other");
    if (!given(o->rules)) return rex_fail(e, REX_EARG, -1, "--rules: at least one rule is needed");
    return REX_OK;
}

static rex_status work(job *j, rex_err *e) {
    rex_str json, text;
    REX_TRY(rex_cli_run_open(&j->run, e));
    REX_TRY(given(j->o->samplers) ? study(j, &json, &text, e) : one_pool(j, -1, &json, &text, e));
    return rex_cli_result(&j->run, json, text, e);
}

static rex_status run(const void *opts, int n_pos, char **pos, rex_err *e) {
    const explore_opts *const o = opts;
    job j = {.o = o, .finds = o->until_correct || o->budget > 0};
    REX_TRY(rex_cli_run_init(&j.run, &rex_cmd_explore, opts, n_pos, pos, e));
    REX_TRY(check(o, e));
    j.run.features = o->features;
    const rex_status s = work(&j, e);
    rex_cli_run_close(&j.run);
    return s;
}

const rex_cmd rex_cmd_explore = {
    .name = "explore",
    .summary = "generate, select, verify: what each rule of selection saves",
    .usage = "(--model M -n N | --from POOL --features F) --task T [--data FILE] [--problems N] "
             "[--rules LIST] [--out RUN] [options]",
    .text = "Makes or reads a pool of samples for every problem, orders it by every rule, asks the "
            "verifier "
            "down each order until something is right, and reports samples and verifier calls to "
            "the first "
            "correct one and pass@k, with 95 % intervals over problems and paired comparisons with "
            "random "
            "choice from the same pool. Random choice is exact (closed form). A rule that begins "
            "at random is "
            "averaged over --trials first picks, or over all of them with --exact. With an "
            "external verifier "
            "only what the orders need is verified, unless --verify-all. --rules auto learns on "
            "the first "
            "problems which rule fits; --until-correct prints the first correct sample of every "
            "problem and "
            "verifies no more than that takes; --budget deals a number of calls to the problems "
            "where the "
            "next one is most likely to succeed.",
    .opt = table,
    .n_opt = N_OPT,
    .opt_bytes = sizeof(explore_opts),
    .run = run,
};
