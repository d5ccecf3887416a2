/* SPDX-License-Identifier: MIT
 *
 * explore: the paper's test-time setting in one command. A pool of samples per problem, from a
 * model or from a file; orders by every rule; a verifier that is asked down each order until
 * something is right; what that cost against chance, with intervals.
 */
#include "cli_run.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

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
    rex_arena *a;
    rex_pool *workers;
    rex_task *task;
} job;

static bool given(const char *s) { return s && *s; }

static rex_trial_opts trial_opts(const job *j) {
    const explore_opts *const o = j->o;
    rex_trial_opts t;
    rex_trial_defaults(&t);
    t.rules = o->rules;
    t.candidates = o->candidates;
    t.k = o->k;
    t.reference = o->reference;
    t.map = given(o->from) ? o->map : NULL;
    t.problems = given(o->from) ? o->problems : 0;
    t.trials = o->trials;
    t.learn = o->learn;
    t.draws = o->draws;
    t.exact = o->exact;
    t.reverify = o->reverify;
    t.until = o->until_correct || o->budget > 0;
    t.seed = (uint64_t)o->seed;
    if (rex_opt_given(table, N_OPT, o, "verify_all"))
        t.judge = o->verify_all ? REX_JUDGE_ALL : REX_JUDGE_LAZY;
    return t;
}

static rex_status print_text(rex_str s, rex_err *e) {
    rex_buf b;
    rex_buf_init(&b, 0);
    rex_buf_add(&b, s.p, s.n);
    const rex_status st = rex_cli_print(&b, e);
    rex_buf_free(&b);
    return st;
}

/* ---- one pool ---------------------------------------------------------------------------- */

static rex_status keep(const job *j, rex_trial *t, const rex_cli_folder *f, rex_str json,
                       rex_err *e) {
    const explore_opts *const o = j->o;
    const char *const fact[] = {"task", o->task, "model", o->model,
                                "pool", o->from};
    rex_str orders;
    REX_TRY(rex_trial_text(t, REX_TRIAL_ORDERS, NULL, j->a, &orders, e));
    REX_TRY(rex_cli_put(f, "orders.jsonl", orders, j->a, e));
    if (!given(o->from) || rex_trial_verified(t) > 0) REX_TRY(rex_trial_save(t, f->pool, e));
    (void)unlink(f->verdicts); /* the pool has them now */
    REX_TRY(rex_cli_put(f, o->until_correct || o->budget > 0 ? "found.jsonl" : "explore.json", json,
                        j->a, e));
    return rex_cli_put_run(&j->run, f, o->task, fact, sizeof fact / sizeof *fact / 2, j->a, e);
}

static rex_status answer(const job *j, rex_trial *t, const rex_cli_folder *f, rex_str *json,
                         rex_str *table_text, rex_err *e) {
    const explore_opts *const o = j->o;
    const bool finds = o->until_correct || o->budget > 0;
    rex_status s = o->budget > 0 ? rex_trial_budget(t, o->budget, e) : rex_trial_run(t, e);
    if (s != REX_OK && !f->passing && rex_trial_verified(t) > 0)
        rex_cli_note("%s holds what was verified; --resume goes on from there", f->verdicts);
    REX_TRY(s);
    REX_TRY(rex_trial_text(t, finds ? REX_TRIAL_FOUND : REX_TRIAL_JSON, NULL, j->a, json, e));
    REX_TRY(rex_trial_text(t, finds ? REX_TRIAL_FOUND_TEXT : REX_TRIAL_TABLE, NULL, j->a,
                           table_text, e));
    return f->passing ? REX_OK : keep(j, t, f, *json, e);
}

/* `which` of the samplers, -1: the options as they are. */
static rex_status one_pool(const job *j, int which, rex_str *json, rex_str *text, rex_err *e) {
    const explore_opts *const o = j->o;
    rex_cli_folder f;
    rex_trial *t = NULL;
    const char *const set[] = {"temperature", which < 0 ? "" : sampler[which][1],
                               "top_p",       which < 0 ? "" : sampler[which][2],
                               "min_p",       which < 0 ? "" : sampler[which][3]};
    rex_status s = rex_cli_folder_open(&j->run, which < 0 ? NULL : sampler[which][0], j->a, &f, e);
    const char *pool = o->from, *features = o->features;
    if (s == REX_OK && !given(o->from)) {
        s = rex_cli_make_pool(&j->run, j->task, &f, true, set, which < 0 ? 0 : 3, j->a, e);
        pool = f.pool;
        features = f.features;
    } else if (s == REX_OK && o->resume && access(f.pool, R_OK) == 0) {
        pool = f.pool;
    }
    rex_trial_opts opts = trial_opts(j);
    opts.journal = f.passing ? NULL : f.verdicts;
    opts.resume = o->resume;
    if (s == REX_OK) s = rex_trial_open(&opts, j->task, j->workers, pool, features, &t, e);
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
    if (s == REX_OK) s = rex_str_copy(j->a, (rex_str){b.p, b.n}, json, e);
    if (s == REX_OK) s = rex_str_copy(j->a, (rex_str){c.p, c.n}, text, e);
    rex_buf_free(&b);
    rex_buf_free(&c);
    return s;
}

/* ---- the command ------------------------------------------------------------------------- */

static rex_status check(const explore_opts *o, rex_err *e) {
    if (given(o->from) == given(o->model))
        return rex_fail(e, REX_EARG, -1, "explore needs either --model M or --from POOL");
    if (given(o->model) && !given(o->task))
        return rex_fail(e, REX_EARG, -1, "explore needs --task T");
    if (given(o->samplers) && !given(o->model))
        return rex_fail(e, REX_EARG, -1,
                        "--samplers needs --model M: every sampler makes a pool of its own");
    if (given(o->samplers) && (o->until_correct || o->budget > 0))
        return rex_fail(e, REX_EARG, -1,
                        "--samplers compares pools; --until-correct and --budget use one");
    if (o->until_correct && o->budget > 0)
        return rex_fail(e, REX_EARG, -1, "--until-correct and --budget exclude each other");
    if (o->resume && !given(o->out)) return rex_fail(e, REX_EARG, -1, "--resume needs --out RUN");
    if (given(o->out) && given(o->from) && strcmp(o->from, "-") == 0)
        return rex_fail(e, REX_EARG, -1, "--out needs a pool that is a file, not standard input");
    if (!given(o->rules)) return rex_fail(e, REX_EARG, -1, "--rules: at least one rule is needed");
    return REX_OK;
}

static rex_status work(job *j, rex_err *e) {
    const explore_opts *const o = j->o;
    rex_task_opts t;
    rex_str json, text;
    REX_TRY(check(o, e));
    REX_TRY(rex_arena_open(0, &j->a, e));
    REX_TRY(rex_pool_open((int)o->threads, &j->workers, e));
    if (given(o->task)) {
        rex_task_defaults(&t);
        t.task = o->task;
#define TAKE(KIND, name, def, lo, hi, meta, help) t.name = o->name;
        REX_TASK_OPTS(TAKE)
        REX_TRY(rex_task_open(&t, &j->task, e));
    }
    REX_TRY(given(o->samplers) ? study(j, &json, &text, e) : one_pool(j, -1, &json, &text, e));
    return print_text(o->json ? json : text, e);
}

static rex_status run(const void *opts, int n_pos, char **pos, rex_err *e) {
    const explore_opts *const o = opts;
    job j = {.o = o};
    if (n_pos > 0) return rex_fail(e, REX_EARG, -1, "explore: '%s' is no option", pos[0]);
    j.run = (rex_cli_run){.command = "explore",
                          .list = table,
                          .n_list = N_OPT,
                          .opts = opts,
                          .from = o->from,
                          .out = o->out,
                          .model = o->model,
                          .adapter = o->adapter,
                          .data = o->data,
                          .problems = o->problems,
                          .samples = o->samples,
                          .seed = o->seed,
                          .resume = o->resume,
                          .features = o->features};
    const rex_status s = work(&j, e);
    rex_task_close(j.task);
    rex_pool_close(j.workers);
    rex_arena_close(j.a);
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
