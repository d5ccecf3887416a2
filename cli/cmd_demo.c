/* SPDX-License-Identifier: MIT
 *
 * demo: the test-time story on the bundled model. It runs ordinary command lines, each printed
 * before it runs, and reads the numbers that they leave in their run folders; no number is of its
 * own making, every one stands with its 95 % interval, and nothing is wider than 80 columns.
 */
#include "cli.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define DEMO_OPTS(X)                                                           \
    REX_CLI_COMMON(X)                                                          \
    X(STR, model, "models/countdown4", 0, 0, "M", "m=the model that is shown") \
    X(STR, out, "out/demo", 0, 0, "DIR",                                       \
      "o=run folders and the report; what is there is replaced")               \
    X(I64, problems, "100", 2, 100000, "N", "held-out problems")               \
    X(I64, samples, "128", 2, 65536, "N", "n=samples of each problem")         \
    X(BOOL, full, "false", 0, 0, "", "300 problems and five samplers instead of two")

REX_OPT_STRUCT(demo_opts, DEMO_OPTS);
#define REX_OPT_TYPE demo_opts
static const rex_opt options[] = {DEMO_OPTS(REX_OPT_ROW)};
#undef REX_OPT_TYPE

enum { WIDTH = 80, ARGS = 32 };

/* The orders shown: the rule as `explore` takes it, and what it is called in the table. */
static const struct {
    const char *rule, *label;
} order[] = {
    {"random", "random"},
    {"random/outcome=text", "random, distinct texts"},
    {"likelihood/outcome=text", "likely first, distinct texts"},
    {"votes", "votes weighted by likelihood"},
    {"farthest", "farthest first"},
    {"elliptical", "elliptical (as published)"},
    {"elliptical/no-center/lambda=0.01", "elliptical, raw, ridge 0.01"},
    {"quality/no-center/no-unit/outcome=none/likelihood=sum/sharpness=1/alpha=0.5",
     "bonus * sqrt(likelihood)"},
    {"quality", "quality (bonus times mass)"},
};
enum { ORDERS = sizeof order / sizeof *order, PAPER = ORDERS - 4, QUALITY = ORDERS - 1 };

/* A pool: its folder below --out, what it is, and the options that make it. The first two are the
 * demo. */
static const struct {
    const char *name, *what, *temperature, *top_p, *min_p;
} sampler[] = {
    {"t10", "temperature 1", "1", NULL, NULL},
    {"t06", "temperature 0.6, a cold pool", "0.6", NULL, NULL},
    {"t14", "temperature 1.4, a hot pool", "1.4", NULL, NULL},
    {"top-p", "temperature 1, top-p 0.9", "1", "0.9", NULL},
    {"min-p", "temperature 1, min-p 0.1", "1", NULL, "0.1"},
};
enum { SAMPLERS = sizeof sampler / sizeof *sampler };

typedef struct {
    double value, low, high;
    bool there;
} number;

typedef struct {
    const demo_opts *o;
    rex_arena *a;
    rex_buf b;               /* what is to be printed next */
    int lock;
    size_t n_run;
    const char *folder[SAMPLERS];
    number change[SAMPLERS][ORDERS]; /* samples-to-correct over random's */
} demo;

static rex_status flush(demo *d, rex_err *e) {
    rex_status s = REX_OK;
    if (!d->o->json) s = rex_cli_print(&d->b, e);
    rex_buf_reset(&d->b);
    return s;
}

/* ---- command lines ----------------------------------------------------------------------- */

/* "$ repexp ARGS", broken between arguments with a backslash. */
static void show(demo *d, int n, const char *const *arg) {
    size_t at = (size_t)8;
    rex_buf_addf(&d->b, "$ repexp");
    for (int i = 0; i < n; i++) {
        const bool pair = arg[i][0] == '-' && i + 1 < n && arg[i + 1][0] != '-';
        const size_t len = strlen(arg[i]) + (pair ? strlen(arg[i + 1]) + 1 : 0) + 1;
        if (at + len > WIDTH - 2 && at > 4) {
            rex_buf_addf(&d->b, " \\\n   ");
            at = 3;
        }
        rex_buf_addf(&d->b, " %s", arg[i]);
        if (pair) rex_buf_addf(&d->b, " %s", arg[++i]);
        at += len;
    }
    rex_buf_addf(&d->b, "\n\n");
}

/* The rules are one long argument: shown as a variable, broken behind its commas. */
static void show_rules(demo *d, const char *rules) {
    size_t at = (size_t)8;
    rex_buf_addf(&d->b, "$ RULES=");
    for (const char *p = rules; *p;) {
        const size_t n = strcspn(p, ",") + 1;
        const bool last = p[n - 1] == '\0';
        if (at + n > WIDTH - 1) {
            rex_buf_addf(&d->b, "\\\n");
            at = 0;
        }
        rex_buf_add(&d->b, p, last ? n - 1 : n);
        at += n;
        p += last ? n - 1 : n;
    }
    rex_buf_addf(&d->b, "\n");
}

static rex_status call(demo *d, int n, const char *const *arg, rex_err *e) {
    rex_buf swallowed; /* the tables of the command itself are wider */
    char *v[ARGS];
    rex_buf_init(&swallowed, 0);
    rex_status s = flush(d, e);
    for (int i = 0; s == REX_OK && i < n; i++) {
        rex_str copy; /* the parser may move arguments */
        s = rex_str_copy(d->a, rex_str_of(arg[i]), &copy, e);
        v[i] = (char *)(uintptr_t)copy.p;
    }
    if (s == REX_OK) s = rex_cli_call(n, v, d->o->quiet, &swallowed, e);
    rex_buf_free(&swallowed);
    return s;
}

/* ---- numbers of a run -------------------------------------------------------------------- */

static const rex_jval *member(const rex_jval *v, const char *key) {
    return v && v->kind == REX_J_OBJ ? rex_json_get(v, key) : NULL;
}

/* {"value", "low", "high"}; not there where it is null. */
static rex_status read_number(const rex_jval *v, number *out, rex_err *e) {
    *out = (number){0};
    if (!v || v->kind != REX_J_OBJ) return REX_OK;
    REX_TRY(rex_json_f64(member(v, "value"), "value", &out->value, e));
    REX_TRY(rex_json_f64(member(v, "low"), "low", &out->low, e));
    REX_TRY(rex_json_f64(member(v, "high"), "high", &out->high, e));
    out->there = true;
    return REX_OK;
}

static rex_status pass_curve(demo *d, const rex_jval *run, rex_err *e) {
    const rex_jval *const pass = member(member(run, "pool"), "pass");
    rex_buf_addf(&d->b, "     k  pass@k\n");
    for (int64_t k = 1; k <= d->o->samples; k *= 2) {
        char key[24];
        number x;
        (void)snprintf(key, sizeof key, "%lld", (long long)k);
        REX_TRY(read_number(member(pass, key), &x, e));
        if (!x.there) continue;
        rex_buf_addf(&d->b, "  %4lld  %.3f [%.3f, %.3f]  ", (long long)k, x.value, x.low, x.high);
        for (int i = 0; i < (int)(40.0 * x.value + 0.5); i++) rex_buf_add(&d->b, "#", 1);
        rex_buf_addf(&d->b, "\n");
    }
    rex_buf_addf(&d->b, "\n");
    return REX_OK;
}

static rex_status order_table(demo *d, size_t run, const rex_jval *v, rex_err *e) {
    int64_t n = 0, solvable = 0;
    REX_TRY(rex_json_i64(member(v, "n_problems"), "n_problems", &n, e));
    REX_TRY(rex_json_i64(member(v, "n_solvable"), "n_solvable", &solvable, e));
    rex_buf_addf(&d->b,
                 "%lld of %lld problems have a correct sample. Verified until the first one:\n\n"
                 "  order                         samples              against random\n",
                 (long long)solvable, (long long)n);
    for (int i = 0; i < ORDERS; i++) {
        const rex_jval *const r = member(member(v, "rules"), order[i].rule);
        number s, *const c = &d->change[run][i];
        REX_TRY(read_number(member(member(r, "s2c"), "solvable"), &s, e));
        REX_TRY(read_number(member(r, "vs_random"), c, e));
        if (!s.there) continue;
        char value[40];
        (void)snprintf(value, sizeof value, "%.1f [%.1f, %.1f]", s.value, s.low, s.high);
        rex_buf_addf(&d->b, i ? "  %-28s  %-19s" : "  %-28s  %s", order[i].label, value);
        if (i > 0 && c->there)
            rex_buf_addf(&d->b, "  %+.0f %% [%+.0f, %+.0f]", 100.0 * (c->value - 1.0),
                         100.0 * (c->low - 1.0), 100.0 * (c->high - 1.0));
        rex_buf_addf(&d->b, "\n");
    }
    rex_buf_addf(&d->b, "\n");
    return REX_OK;
}

/* What `quality` means for somebody who pays for every call, from its interval. */
static void money(demo *d, const number *c) {
    if (!c->there) return;
    const double low = 100.0 * (1.0 - c->high), high = 100.0 * (1.0 - c->low);
    if (c->high < 1.0)
        rex_buf_addf(
            &d->b,
            "Who pays for every verifier call keeps %.0f [%.0f, %.0f] of every 100 calls by\n"
            "verifying in the order of `quality` instead of at random.\n\n",
            100.0 * (1.0 - c->value), low, high);
    else
        rex_buf_addf(
            &d->b,
            "These problems do not show that the order of `quality` saves verifier calls:\n"
            "%.0f [%.0f, %.0f] of every 100.\n\n",
            100.0 * (1.0 - c->value), low, high);
}

static const char *judged(const number *c) {
    return c->high < 1.0 ? "saves" : c->low > 1.0 ? "costs" : "unclear";
}

static void which_when(demo *d) {
    rex_buf_addf(&d->b, "When which rule is right (change against random, 95 %% interval)\n\n"
                        "  pool   as published                 quality\n");
    for (size_t i = 0; i < d->n_run; i++) {
        rex_buf_addf(&d->b, "  %-5s", sampler[i].name);
        for (int k = 0; k < 2; k++) {
            const number *const c = &d->change[i][k ? QUALITY : PAPER];
            char text[64];
            if (c->there)
                (void)snprintf(text, sizeof text, "%+.0f %% [%+.0f, %+.0f] %s",
                               100.0 * (c->value - 1.0), 100.0 * (c->low - 1.0),
                               100.0 * (c->high - 1.0), judged(c));
            else
                (void)snprintf(text, sizeof text, "-");
            rex_buf_addf(&d->b, k ? "  %s" : "  %-26s", text);
        }
        rex_buf_addf(&d->b, "\n");
    }
    rex_buf_addf(&d->b, "\n");
}

/* ---- the walk ---------------------------------------------------------------------------- */

/* The place of the demo, for one demo at a time: two would take each other's files. */
static rex_status claim(demo *d, rex_err *e) {
    const char *const out = d->o->out;
    const rex_status s = rex_folder_make(out, REX_FOLDER_ALL, e);
    if (s != REX_OK) return rex_fail_in(e, s, "--out DIR can name another place");
    if (rex_folder_claim(out, &d->lock)) return REX_OK;
    return rex_fail(e, REX_EIO, -1,
                    "%s: another demo is at work here; wait for it, or name another place with "
                    "--out DIR",
                    out);
}

static rex_status decimal(demo *d, int64_t v, const char **out, rex_err *e) {
    rex_str s;
    REX_TRY(rex_str_fmt(d->a, &s, e, "%lld", (long long)v));
    *out = s.p;
    return REX_OK;
}

static rex_status explore(demo *d, size_t run, const char *rules, rex_jval **out, rex_err *e) {
    const demo_opts *const o = d->o;
    const char *problems, *samples, *seed, *threads;
    rex_str folder, path;
    REX_TRY(decimal(d, o->full ? 300 : o->problems, &problems, e));
    REX_TRY(decimal(d, o->samples, &samples, e));
    REX_TRY(decimal(d, o->seed, &seed, e));
    REX_TRY(decimal(d, o->threads, &threads, e));
    REX_TRY(rex_str_fmt(d->a, &folder, e, "%s/%s", o->out, sampler[run].name));
    REX_TRY(rex_str_fmt(d->a, &path, e, "%s/explore.json", folder.p));
    d->folder[run] = folder.p;
    const char *arg[ARGS] = {"explore",
                             "--model",
                             o->model,
                             "--task",
                             "countdown",
                             "--problems",
                             problems,
                             "-n",
                             samples,
                             "--max-tokens",
                             "32",
                             "--temperature",
                             sampler[run].temperature,
                             "--seed",
                             seed,
                             "--out",
                             folder.p};
    int n = 17;
    if (sampler[run].top_p) {
        arg[n++] = "--top-p";
        arg[n++] = sampler[run].top_p;
    }
    if (sampler[run].min_p) {
        arg[n++] = "--min-p";
        arg[n++] = sampler[run].min_p;
    }
    arg[n++] = "--rules";
    arg[n++] = "$RULES";
    if (run == 0) show_rules(d, rules);
    show(d, n, arg);
    arg[n - 1] = rules;
    arg[n++] = "--threads";
    arg[n++] = threads;
    REX_TRY(call(d, n, arg, e));
    return rex_json_load(d->a, path.p, out, e);
}

static rex_status report(demo *d, const char **page, rex_err *e) {
    const char *arg[ARGS] = {"report"};
    int n = 1;
    rex_str s;
    REX_TRY(rex_str_fmt(d->a, &s, e, "%s/report.html", d->o->out));
    for (size_t i = 0; i < d->n_run; i++) arg[n++] = d->folder[i];
    arg[n++] = "--out";
    arg[n++] = s.p;
    *page = s.p;
    rex_buf_addf(&d->b, "== The whole of it as a page\n\n");
    show(d, n, arg);
    REX_TRY(call(d, n, arg, e));
    rex_buf_addf(&d->b, "It needs no network; open it in a browser:\n%s\n", s.p);
    return REX_OK;
}

static rex_status walk(demo *d, rex_err *e) {
    const demo_opts *const o = d->o;
    struct stat sb;
    rex_buf rules, json;
    rex_jval *run[SAMPLERS] = {NULL};
    const char *page = NULL;
    if (stat(o->model, &sb) != 0)
        return rex_fail(e, REX_EIO, -1,
                        "%s: there is no model here; run in the folder of the project, or name one "
                        "with --model; `make model` trains it",
                        o->model);
    REX_TRY(rex_arena_open(0, &d->a, e));
    REX_TRY(claim(d, e));
    rex_buf_init(&rules, 0);
    for (int i = 0; i < ORDERS; i++) rex_buf_addf(&rules, "%s%s", i ? "," : "", order[i].rule);
    rex_status s = rex_buf_check(&rules, e);
    d->n_run = o->full ? SAMPLERS : 2;
    rex_buf_addf(&d->b,
                 "A small model reaches a target from four numbers, often in a wrong way. Which\n"
                 "of its samples do you verify first?\n\n");
    for (size_t i = 0; s == REX_OK && i < d->n_run; i++) {
        rex_buf_addf(&d->b, "== %zu samples of each problem, %s\n\n", (size_t)o->samples,
                     sampler[i].what);
        s = explore(d, i, rules.p, &run[i], e);
        if (s == REX_OK && i == 0) s = pass_curve(d, run[i], e);
        if (s == REX_OK) s = order_table(d, i, run[i], e);
        if (s == REX_OK) money(d, &d->change[i][QUALITY]);
        if (s == REX_OK) s = flush(d, e);
    }
    rex_buf_free(&rules);
    if (s == REX_OK) which_when(d);
    if (s == REX_OK) s = report(d, &page, e);
    if (s == REX_OK) s = flush(d, e);
    if (s != REX_OK || !o->json) return s;
    rex_jw w;
    rex_buf_init(&json, 0);
    rex_jw_init(&w, &json);
    rex_jw_obj(&w);
    rex_jw_key(&w, "runs");
    rex_jw_obj(&w);
    for (size_t i = 0; i < d->n_run; i++) {
        rex_jw_key(&w, sampler[i].name);
        rex_jw_val(&w, run[i]);
    }
    rex_jw_obj_end(&w);
    rex_jw_key(&w, "page");
    rex_jw_cstr(&w, page);
    rex_jw_obj_end(&w);
    rex_buf_addf(&json, "\n");
    s = rex_cli_print(&json, e);
    rex_buf_free(&json);
    return s;
}

static rex_status run(const void *opts, int n_pos, char **pos, rex_err *e) {
    demo d = {.o = opts, .lock = -1};
    if (n_pos > 0) return rex_fail(e, REX_EARG, -1, "demo: '%s' is no option", pos[0]);
    rex_buf_init(&d.b, 0);
    const rex_status s = walk(&d, e);
    rex_buf_free(&d.b);
    rex_arena_close(d.a);
    rex_folder_release(d.lock);
    return s;
}

const rex_cmd rex_cmd_demo = {
    .name = "demo",
    .summary = "the whole story on the bundled model, without a network",
    .usage = "[--full] [--out DIR] [options]",
    .text = "Draws samples from the bundled Countdown model, orders them by several rules, "
            "verifies down each order "
            "until the first correct one, and tells what that saves, on a warm pool and on a cold "
            "one. Every "
            "step prints the ordinary command that it runs. The page in --out has the rest. Same "
            "seed, same "
            "numbers. --full takes 300 problems and five samplers.",
    .opt = options,
    .n_opt = sizeof options / sizeof *options,
    .opt_bytes = sizeof(demo_opts),
    .run = run,
};
