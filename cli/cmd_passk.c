/* SPDX-License-Identifier: MIT
 *
 * passk: pass@k and its relatives from rewards, each with its interval; two runs compared over the
 * prompts that both have. JSON is the contract; the table says the same to people.
 */
#include "cli.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define OPTS(X)                                                                                \
    REX_CLI_COMMON(X)                                                                          \
    X(STR, rewards, "", 0, 0, "FILE", "sample records with prompt_id and reward; - is stdin")  \
    X(LIST, k, "", 0, 0, "LIST",                                                               \
      "k=the sizes to report; default 1, 2, 4, ... up to the fewest samples")                  \
    X(STR, vs, "", 0, 0, "FILE", "compare with these records over the prompts that both have") \
    X(BOOL, graded, "false", 0, 0, "", "any reward: best and avg instead of pass")             \
    X(ENUM, broken, "refuse", 0, 0, "refuse|drop",                                             \
      "null rewards: refused, or dropped and counted")                                         \
    X(STR, map, "", 0, 0, "MAP", "field=their.field,... for other programs' records")          \
    X(ENUM, interval, "bootstrap", 0, 0, "bootstrap|analytic", "how intervals are made")       \
    X(I64, draws, "2000", 100, 1000000, "N", "replicates of the bootstrap")                    \
    X(BOOL, markdown, "false", 0, 0, "", "the table as Markdown")

REX_OPT_STRUCT(passk_opts, OPTS);
#define REX_OPT_TYPE passk_opts
static const rex_opt table[] = {OPTS(REX_OPT_ROW)};

typedef struct {
    rex_records *rec;
    rex_scored scored;
    const char *path;
} side;

static rex_status side_open(const passk_opts *o, const char *path, rex_arena *a, side *out,
                            rex_err *e) {
    rex_records_opts r;
    rex_records_defaults(&r);
    r.want = REX_F(REWARD) | REX_F(EXTRACTED);
    r.need = REX_F(REWARD);
    r.map = o->map;
    r.broken = o->broken == 1 ? REX_BROKEN_DROP : REX_BROKEN_REFUSE;
    r.streams = true;
    out->path = path;
    REX_TRY(rex_records_open(path, &r, &out->rec, e));
    if (rex_records_dropped(out->rec) > 0)
        rex_cli_note("%s: %zu records with a null reward were dropped", path,
                     rex_records_dropped(out->rec));
    if (rex_records_rows(out->rec) == 0)
        return rex_fail(e, REX_EFORMAT, -1, "%s: no records", path);
    return rex_records_scored(out->rec, path, !o->graded, a, &out->scored, e);
}

/* "1,2,8" to numbers; without a list the powers of two up to the fewest samples of a prompt. */
static rex_status read_k(const passk_opts *o, const rex_scored *s, rex_arena *a, int64_t **k,
                         size_t *n, rex_err *e) {
    const bool given = o->k && *o->k;
    const size_t room = given ? strlen(o->k) / 2 + 1 : 63;
    *k = rex_arena_take(a, room, sizeof **k, e);
    if (!*k) return REX_ENOMEM;
    *n = 0;
    if (!given) {
        size_t least = SIZE_MAX;
        for (size_t g = 0; g < s->n_groups; g++)
            if (s->first[g + 1] - s->first[g] < least) least = s->first[g + 1] - s->first[g];
        for (size_t x = 1; x <= least && *n < room; x *= 2) (*k)[(*n)++] = (int64_t)x;
        return REX_OK;
    }
    for (const char *p = o->k;;) {
        const char *const comma = strchr(p, ',');
        const rex_str text = {p, comma ? (size_t)(comma - p) : strlen(p)};
        int64_t x;
        if (*p < '0' || *p > '9' || rex_jraw_i64(text, &x, NULL) != REX_OK || x < 1)
            return rex_fail(e, REX_EARG, -1, "--k: '%.*s' is no whole number of 1 or more",
                            (int)(text.n < 60 ? text.n : 60), p);
        (*k)[(*n)++] = x;
        if (!comma) return REX_OK;
        p = comma + 1;
    }
}

static void cell(rex_buf *b, bool md, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void cell(rex_buf *b, bool md, const char *fmt, ...) {
    char text[96];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    rex_buf_addf(b, md ? " %s |" : "%-27s", text);
}

static void row_begin(rex_buf *b, bool md, const char *name) {
    rex_buf_addf(b, md ? "| %s |" : "%-12s", name);
}

static void interval_cell(rex_buf *b, bool md, const rex_interval *iv, bool diff) {
    if (diff) cell(b, md, "%+.4f [%+.4f, %+.4f] p=%.3g", iv->value, iv->low, iv->high, iv->p);
    else cell(b, md, "%.4f [%.4f, %.4f]", iv->value, iv->low, iv->high);
}

/* One row per k, one column per statistic that there is. */
static void put_table(rex_buf *b, const rex_passk *p, bool md, const char *title) {
    const struct {
        const char *name;
        const rex_interval *iv;
    } col[] = {{"pass@k", p->pass}, {"pass^k", p->pow}, {"best@k", p->best},
               {"avg@k", p->avg},   {"maj@k", p->maj},  {"cov@k", p->cov}};
    const size_t n_col = sizeof col / sizeof *col;
    rex_buf_addf(b, "%s: %zu prompts, %zu samples; 95 %% intervals\n%s", title, p->n_prompts,
                 p->n_samples, md ? "\n" : "");
    row_begin(b, md, "k");
    for (size_t i = 0; i < n_col; i++)
        if (col[i].iv) cell(b, md, "%s", col[i].name);
    rex_buf_addf(b, "\n");
    if (md) {
        rex_buf_addf(b, "|---|");
        for (size_t i = 0; i < n_col; i++)
            if (col[i].iv) rex_buf_addf(b, "---|");
        rex_buf_addf(b, "\n");
    }
    for (size_t j = 0; j < p->n_k; j++) {
        char k[24];
        (void)snprintf(k, sizeof k, "%lld", (long long)p->k[j]);
        row_begin(b, md, k);
        for (size_t i = 0; i < n_col; i++)
            if (col[i].iv) interval_cell(b, md, &col[i].iv[j], p->diff);
        rex_buf_addf(b, "\n");
    }
    rex_buf_addf(b, md ? "\n" : "");
    if (p->graded) return;
    const rex_interval *const all = &p->s2c_all, *const some = &p->s2c_solvable;
    rex_buf_addf(b, "samples to the first correct: all %.4g [%.4g, %.4g]", all->value, all->low,
                 all->high);
    if (p->solvable)
        rex_buf_addf(b, ", solvable %.4g [%.4g, %.4g]", some->value, some->low, some->high);
    rex_buf_addf(b, "\n");
}

static rex_status work(const passk_opts *o, rex_arena *a, rex_pool *pool, side *x, side *y,
                       rex_buf *b, rex_err *e) {
    REX_TRY(side_open(o, o->rewards, a, x, e));
    if (o->vs && *o->vs) REX_TRY(side_open(o, o->vs, a, y, e));
    int64_t *k;
    size_t n_k;
    REX_TRY(read_k(o, &x->scored, a, &k, &n_k, e));
    rex_passk_opts p;
    rex_passk_defaults(&p);
    p.k = k;
    p.n_k = n_k;
    p.graded = o->graded;
    p.seed = (uint64_t)o->seed;
    p.draws = o->draws;
    p.analytic = o->interval == 1;
    rex_passk main_run, versus;
    rex_status s = rex_passk_run(a, pool, &x->scored, &p, &main_run, e);
    if (s != REX_OK) return s == REX_EARG ? s : rex_fail_in(e, s, "%s", o->rewards);
    main_run.n_dropped = rex_records_dropped(x->rec);
    if (y->rec) {
        s = rex_passk_vs(a, pool, &x->scored, &y->scored, &p, &versus, e);
        if (s != REX_OK) return s == REX_EARG ? s : rex_fail_in(e, s, "%s, %s", o->rewards, o->vs);
    }
    if (o->json) {
        rex_str text;
        REX_TRY(rex_passk_json(a, &main_run, y->rec ? &versus : NULL, &text, e));
        rex_buf_add(b, text.p, text.n);
        rex_buf_addf(b, "\n");
    } else {
        put_table(b, &main_run, o->markdown, o->rewards);
        if (y->rec) put_table(b, &versus, o->markdown, "difference to --vs");
    }
    return rex_cli_print(b, e);
}

static rex_status run(const void *opts, int n_pos, char **pos, rex_err *e) {
    const passk_opts *const o = opts;
    if (n_pos > 0) return rex_fail(e, REX_EARG, -1, "passk: '%s' is no option", pos[0]);
    if (!o->rewards || !*o->rewards)
        return rex_fail(e, REX_EARG, -1, "passk needs --rewards FILE");
    rex_arena *a = NULL;
    rex_pool *pool = NULL;
    side x = {.rec = NULL}, y = {.rec = NULL};
    rex_buf b;
    rex_buf_init(&b, 0);
    rex_status s = rex_arena_open(0, &a, e);
    if (s == REX_OK) s = rex_pool_open((int)o->threads, &pool, e);
    if (s == REX_OK) s = work(o, a, pool, &x, &y, &b, e);
    rex_buf_free(&b);
    rex_records_close(x.rec);
    rex_records_close(y.rec);
    rex_pool_close(pool);
    rex_arena_close(a);
    return s;
}

const rex_cmd rex_cmd_passk = {
    .name = "passk",
    .summary = "pass@k and its relatives from rewards, with intervals",
    .usage = "--rewards FILE [--k LIST] [--vs FILE] [options]",
    .text =
        "Reads one JSON object per sample with prompt_id and reward (0 or 1, false or true), and "
        "optionally extracted, the sample's own answer. Prints, for each k: pass (one of k is "
        "right), pow (all k are), maj (the majority answer among k is; ties go to the answer that "
        "came first, a sample without extracted does not vote), cov (one of the first k is), and "
        "samples_to_correct, the draws until the first right one; with --graded: best and avg. All "
        "are means over prompts of the unbiased estimates from every subset of size k, with 95 % "
        "intervals over prompts and samples.",
    .opt = table,
    .n_opt = sizeof table / sizeof *table,
    .opt_bytes = sizeof(passk_opts),
    .run = run,
};
