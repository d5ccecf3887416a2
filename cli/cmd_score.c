/* SPDX-License-Identifier: MIT
 *
 * score: the bonuses of the rows of each group: conditional, leverage or leave-one-out, with the
 * diagnostics of their scale. One object a line and group.
 */
#include "cli_pool.h"

#include <math.h>

#define OPTS(X)                                                                                   \
    REX_CLI_COMMON(X)                                                                             \
    X(STR, features, "", 0, 0, "FILE",                                                            \
      "rows of numbers: .npy, .safetensors, FILE.safetensors#name")                               \
    X(STR, groups, "", 0, 0, "FILE", "one record a row with group or prompt_id; none: one group") \
    X(ENUM, bonus, "leverage", 0, 0, "leverage|loo|conditional",                                  \
      "among all rows, among the others, or given the earlier ones")                              \
    X(STR, lambda, "0.01", 0, 0, "X|rel:X", "ridge, or X times the group's mean squared norm")    \
    X(I64, proj_dim, "0", 0, 1048576, "D", "random projection to D dimensions, 0 for none")       \
    X(ENUM, projection, "sparse", 0, 0, "sparse|gauss|none", "kind of random projection")         \
    X(BOOL, center, "true", 0, 0, "", "subtract the group's mean")                                \
    X(BOOL, unit, "false", 0, 0, "", "then scale rows to norm 1")                                 \
    X(ENUM, normalize, "none", 0, 0, "none|rnd|zscore",                                           \
      "divide by the group's deviation; subtract its mean first")                                 \
    X(ENUM, form, "auto", 0, 0, "auto|primal|dual",                                               \
      "auto: dual when rows are fewer than dimensions")                                           \
    X(ENUM, allow_nonfinite, "refuse", 0, 0, "refuse|drop", "rows that are not finite")           \
    X(STR, map, "", 0, 0, "MAP", "field=their.field,... for other programs' records")

REX_OPT_STRUCT(score_opts, OPTS);
#define REX_OPT_TYPE score_opts
static const rex_opt table[] = {OPTS(REX_OPT_ROW)};

typedef struct {
    const rex_pool_input *in;
    rex_bonus_opts o;
    double **bonus; /* per group: n numbers */
    rex_bonus_stat *stat;
    rex_status *st;
    rex_err *err;
} job;

static void one_group(void *ud, size_t g, int worker) {
    (void)worker;
    job *const j = ud;
    const rex_pool_group *const grp = &j->in->group[g];
    j->stat[g] = (rex_bonus_stat){.saturation = NAN};
    if (grp->n > 0)
        j->st[g] = rex_bonus_rows(&j->in->m, grp->row, grp->n, &j->o, j->bonus[g], &j->stat[g],
                                  &j->err[g]);
}

static void put_number(rex_jw *w, const char *key, double v) {
    rex_jw_key(w, key);
    isfinite(v) ? rex_jw_f64(w, v) : rex_jw_null(w);
}

static void put_group(const job *j, const rex_pool_input_opts *io, size_t g, rex_buf *b) {
    const rex_pool_group *const grp = &j->in->group[g];
    const rex_bonus_stat *const s = &j->stat[g];
    rex_jw w;
    rex_jw_init(&w, b);
    rex_jw_obj(&w);
    rex_jw_key(&w, "group");
    rex_jw_str(&w, grp->name);
    rex_jw_key(&w, "bonus");
    rex_jw_arr(&w);
    int64_t used = 0;
    for (int64_t i = 0; i < grp->n_all; i++) { /* null in the place of a row that was left out */
        if (used < grp->n && grp->place[used] == i)
            rex_jw_f64(&w, j->bonus[g][used++]);
        else
            rex_jw_null(&w);
    }
    rex_jw_arr_end(&w);
    put_number(&w, "lambda", s->lambda);
    put_number(&w, "sum", s->sum);
    put_number(&w, "rank", s->rank);
    put_number(&w, "min", s->min);
    put_number(&w, "mean", s->mean);
    put_number(&w, "max", s->max);
    put_number(&w, "std", s->std);
    put_number(&w, "saturation", s->saturation);
    rex_pool_input_json(j->in, io, &w);
    rex_jw_obj_end(&w);
    rex_buf_addf(b, "\n");
}

static void put_table(const job *j, rex_buf *b) {
    rex_buf_addf(b, "%-28s %7s %10s %10s %10s %10s %8s %10s\n", "group", "n", "least", "mean",
                 "most", "deviation", "rank", "saturation");
    for (size_t g = 0; g < j->in->n_group; g++) {
        const rex_str name = j->in->group[g].name;
        const rex_bonus_stat *const s = &j->stat[g];
        rex_buf_addf(b, "%-28.*s %7lld %10.5g %10.5g %10.5g %10.5g %8.2f %10.4f\n",
                     (int)(name.n < 28 ? name.n : 28), name.p, (long long)j->in->group[g].n, s->min,
                     s->mean, s->max, s->std, s->rank,
                     isfinite(s->saturation) ? s->saturation : 0.0);
    }
}

/* What the scale of the features makes of the bonus, in words. */
static void note_scale(const job *j, const score_opts *o) {
    size_t high = 0, low = 0;
    if (o->bonus != REX_BONUS_LEVERAGE) return;
    for (size_t g = 0; g < j->in->n_group; g++) {
        high += j->stat[g].saturation > 0.99;
        low += j->stat[g].saturation < 0.05;
    }
    if (high > 0)
        rex_cli_note(
            "%zu of %zu groups are saturated (above 0.99): their bonus only finds duplicates; a "
            "larger --lambda tells more",
            high, j->in->n_group);
    if (low > 0)
        rex_cli_note(
            "%zu of %zu groups are below 0.05: their bonus is the distance from the mean; a "
            "smaller --lambda tells more",
            low, j->in->n_group);
}

static rex_status score_all(const score_opts *o, job *j, rex_arena *a, rex_pool *workers,
                            rex_err *e) {
    const size_t n = j->in->n_group;
    j->bonus = rex_arena_zero(a, n, sizeof *j->bonus, e);
    j->stat = rex_arena_zero(a, n, sizeof *j->stat, e);
    j->st = rex_arena_zero(a, n, sizeof *j->st, e);
    j->err = rex_arena_zero(a, n, sizeof *j->err, e);
    if (!j->bonus || !j->stat || !j->st || !j->err) return REX_ENOMEM;
    for (size_t g = 0; g < n; g++) {
        j->bonus[g] = rex_arena_take(a, (size_t)j->in->group[g].n, sizeof(double), e);
        if (!j->bonus[g]) return REX_ENOMEM;
    }
    rex_bonus_defaults(&j->o);
    j->o.kind = (rex_bonus_kind)o->bonus;
    j->o.form = (rex_form)o->form;
    j->o.center = o->center;
    j->o.unit = o->unit;
    j->o.normalize = (rex_normalize)o->normalize;
    REX_TRY(rex_lambda_parse(o->lambda, &j->o.lambda, &j->o.lambda_rel, e));
    rex_pool_run(workers, n, one_group, j);
    for (size_t g = 0; g < n; g++)
        if (j->st[g] != REX_OK) {
            const rex_str name = j->in->group[g].name;
            if (e) *e = j->err[g];
            return rex_fail_in(e, j->st[g] == REX_EARG ? REX_ELIMIT : j->st[g], "group %.*s",
                               (int)name.n, name.p);
        }
    return REX_OK;
}

static rex_status run(const void *opts, int n_pos, char **pos, rex_err *e) {
    const score_opts *const o = opts;
    double lambda = 0.0;
    bool rel = false;
    if (n_pos > 0) return rex_fail(e, REX_EARG, -1, "score: '%s' is no option", pos[0]);
    if (!o->features || !*o->features)
        return rex_fail(e, REX_EARG, -1, "score needs --features FILE");
    REX_TRY(rex_lambda_parse(o->lambda, &lambda, &rel, e));
    rex_pool_input_opts io = {.features = o->features,
                              .groups = o->groups && *o->groups ? o->groups : NULL,
                              .map = o->map,
                              .drop = o->allow_nonfinite == 1,
                              .proj_dim = o->projection == 2 ? 0 : o->proj_dim,
                              .proj_kind =
                                  o->projection == 1 ? REX_PROJECT_GAUSS : REX_PROJECT_SPARSE,
                              .seed = (uint64_t)o->seed};
    rex_arena *a = NULL;
    rex_pool_input in = {0};
    job j = {.in = &in};
    rex_buf b;
    rex_buf_init(&b, 0);
    rex_status st = rex_arena_open(0, &a, e);
    if (st == REX_OK) st = rex_pool_open((int)o->threads, &io.workers, e);
    if (st == REX_OK) st = rex_pool_input_open(a, &io, &in, e);
    if (st == REX_OK) st = score_all(o, &j, a, io.workers, e);
    if (st == REX_OK) {
        if (!o->json) put_table(&j, &b);
        for (size_t g = 0; o->json && g < in.n_group; g++) put_group(&j, &io, g, &b);
        note_scale(&j, o);
        st = rex_cli_print(&b, e);
    }
    rex_buf_free(&b);
    rex_pool_input_close(&in);
    rex_pool_close(io.workers);
    rex_arena_close(a);
    return st;
}

const rex_cmd rex_cmd_score = {
    .name = "score",
    .summary = "bonuses of rows within their groups",
    .usage = "--features FILE [--groups FILE] [--bonus KIND] [options]",
    .text = "Prints for every group the bonus of each row: leverage h'(lambda I + sum of all)^-1 "
            "h, loo the "
            "same without the row itself, conditional given the earlier rows only; the ridge used; "
            "sum, "
            "extremes, mean and sample deviation of the bonuses before --normalize; rank, the "
            "exponential "
            "of the entropy of the normalised eigenvalues; saturation, the sum divided by n - 1: "
            "near 1 "
            "the bonus only finds duplicates, near 0 it is the distance from the mean.",
    .opt = table,
    .n_opt = sizeof table / sizeof *table,
    .opt_bytes = sizeof(score_opts),
    .run = run,
};
