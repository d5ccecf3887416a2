/* SPDX-License-Identifier: MIT
 *
 * select: orders the rows of each group by a rule of selection. Features come from anywhere; no
 * model is needed. One object a line and group on stdout; where every row has a reward, what the
 * order would have saved of a verifier's calls, with intervals, on stderr.
 */
#include "cli_pool.h"

#include <math.h>
#include <string.h>

#define OPTS(X)                                                                                    \
    REX_CLI_COMMON(X)                                                                              \
    X(STR, features, "", 0, 0, "FILE",                                                             \
      "rows of numbers: .npy, .safetensors, FILE.safetensors#name")                                \
    X(STR, groups, "", 0, 0, "FILE", "one record a row with group or prompt_id; none: one group")  \
    X(STR, k, "", 0, 0, "K|all", "k=how many rows to pick from every group")                       \
    X(ENUM, method, "elliptical", 0, 0, "elliptical|quality|votes|likelihood|farthest|dpp|random", \
      "the rule of selection")                                                                     \
    X(STR, lambda, "", 0, 0, "X|rel:X",                                                            \
      "ridge, or X times the group's mean squared norm; default 1, quality 0.01")                  \
    X(I64, proj_dim, "", 0, 1048576, "D",                                                          \
      "random projection to D dimensions, 0 for none; default 512 for elliptical, else 0")         \
    X(ENUM, projection, "sparse", 0, 0, "sparse|gauss|none", "kind of random projection")          \
    X(BOOL, center, "", 0, 0, "", "subtract the group's mean; default on")                         \
    X(BOOL, unit, "", 0, 0, "", "then scale rows to norm 1; default on, off for elliptical")       \
    X(STR, first, "", 0, 0, "random|norm|best|INDEX",                                              \
      "first pick; default best, random for elliptical, norm for farthest")                        \
    X(ENUM, outcome, "", 0, 0, "none|text|answer|auto",                                            \
      "what makes rows the same outcome; default none, auto for quality and votes")                \
    X(ENUM, likelihood, "", 0, 0, "mean|sum",                                                      \
      "log-probability per token or summed; default mean, sum for likelihood")                     \
    X(F64, sharpness, "4", -1e6, 1e6, "X", "mass of an outcome: sum of exp(X * likelihood)")       \
    X(F64, alpha, "1", -1e6, 1e6, "X", "weight of the logarithm of the mass")                      \
    X(STR, start, "", 0, 0, "FILE",                                                                \
      "rows verified already: group or prompt_id, and row or sample")                              \
    X(ENUM, allow_nonfinite, "refuse", 0, 0, "refuse|drop", "rows that are not finite")            \
    X(STR, map, "", 0, 0, "MAP", "field=their.field,... for other programs' records")

REX_OPT_STRUCT(select_opts, OPTS);
#define REX_OPT_TYPE select_opts
static const rex_opt table[] = {OPTS(REX_OPT_ROW)};

/* One group's part of the answer. */
typedef struct {
    int64_t *start;  /* n_start rows, by index among the group's used rows */
    int64_t n_start, n_pick;
    int64_t *order;  /* n_pick places within the group */
    double *score;
    double lambda;
    int64_t right;         /* correct rows among those to be ordered */
    int64_t first_correct; /* 0: none */
    rex_status st;
    rex_err err;
} answer;

typedef struct {
    const select_opts *opt;
    rex_select_opts o;
    rex_pool_input_opts io;
    rex_pool_input in;
    rex_arena *a;
    rex_pool *workers;
    rex_boot_opts boot;
    int64_t k; /* -1: all */
    double *l; /* per row of the file; NULL: nobody wants it */
    int64_t *label;
    const double *reward; /* NULL unless every row has one */
    answer *ans;
    rex_pool *inner; /* for the group being ordered */
    int64_t big;     /* groups from this many rows on get all workers */
    rex_progress progress;
} job;

#define GIVEN(o, name) rex_opt_given(table, sizeof table / sizeof *table, (o), (name))

/* ---- options ----------------------------------------------------------------------------- */

static rex_status parse_first(const char *text, rex_select_opts *s, rex_err *e) {
    static const char *const words[] = {"random", "norm", "best"};
    for (int i = 0; i < 3; i++)
        if (strcmp(text, words[i]) == 0) {
            s->first = (rex_first)i;
            return REX_OK;
        }
    s->first = REX_FIRST_INDEX;
    s->first_index = 0;
    bool ok = *text != '\0' && strlen(text) < 19;
    for (const char *c = text; ok && *c; c++) {
        ok = *c >= '0' && *c <= '9';
        s->first_index = s->first_index * 10 + (*c - '0');
    }
    if (!ok)
        return rex_fail(e, REX_EARG, -1, "--first %s: expected random, norm, best or a row's index",
                        text);
    return REX_OK;
}

static rex_status parse_k(const char *text, int64_t *k, rex_err *e) {
    *k = -1;
    if (text && strcmp(text, "all") == 0) return REX_OK;
    double x = 0.0;
    if (!text || !*text) return rex_fail(e, REX_EARG, -1, "select needs -k K or -k all");
    if (!rex_num_parse(rex_str_of(text), &x) || x != floor(x) || x < 1.0 || x > 9e15)
        return rex_fail(e, REX_EARG, -1, "-k %s: expected a whole number from 1 on, or all", text);
    *k = (int64_t)x;
    return REX_OK;
}

static rex_status parse(const select_opts *o, job *j, rex_err *e) {
    rex_select_defaults((rex_rule)o->method, &j->o);
    REX_TRY(parse_k(o->k, &j->k, e));
    if (GIVEN(o, "lambda")) REX_TRY(rex_lambda_parse(o->lambda, &j->o.lambda, &j->o.lambda_rel, e));
    if (GIVEN(o, "first")) REX_TRY(parse_first(o->first, &j->o, e));
    if (GIVEN(o, "proj_dim")) j->o.proj_dim = o->proj_dim;
    if (GIVEN(o, "center")) j->o.center = o->center;
    if (GIVEN(o, "unit")) j->o.unit = o->unit;
    if (GIVEN(o, "outcome")) j->o.outcome = (rex_outcome)o->outcome;
    if (GIVEN(o, "likelihood")) j->o.likelihood = (rex_loglik)o->likelihood;
    j->o.sharpness = o->sharpness;
    j->o.alpha = o->alpha;
    j->o.seed = (uint64_t)o->seed;
    const bool uses_rows = rex_select_uses_rows(&j->o), records = o->groups && *o->groups;
    if ((!o->features || !*o->features) && (uses_rows || !records))
        return rex_fail(e, REX_EARG, -1, "select needs --features FILE");
    if (rex_select_uses_l(&j->o) && !records)
        return rex_fail(e, REX_EARG, -1, "--method %s needs --groups FILE with log-probabilities",
                        rex_select_name(j->o.rule));
    j->io = (rex_pool_input_opts){
        .features = o->features && *o->features ? o->features : NULL,
        .groups = records ? o->groups : NULL,
        .map = o->map,
        .want = REX_F(LOGPROB) | REX_F(N_TOK) | REX_F(LOGP) | REX_F(REWARD),
        .streams = true,
        .unused = !uses_rows,
        .drop = o->allow_nonfinite == 1,
        .proj_dim = uses_rows && o->projection != 2 ? j->o.proj_dim : 0,
        .proj_kind = o->projection == 1 ? REX_PROJECT_GAUSS : REX_PROJECT_SPARSE,
        .seed = (uint64_t)o->seed,
    };
    if (j->o.outcome == REX_OUTCOME_TEXT || j->o.outcome == REX_OUTCOME_AUTO)
        j->io.want |= REX_F(TEXT);
    if (j->o.outcome == REX_OUTCOME_ANSWER || j->o.outcome == REX_OUTCOME_AUTO)
        j->io.want |= REX_F(EXTRACTED);
    if (o->start && *o->start) j->io.want |= REX_F(SAMPLE);
    return REX_OK;
}

/* ---- records ----------------------------------------------------------------------------- */

static rex_status take_likelihoods(job *j, rex_err *e) {
    rex_records *const rec = j->in.rec;
    const size_t n = rex_records_rows(rec);
    const bool mean = j->o.likelihood == REX_LOGLIK_MEAN;
    j->l = rex_arena_take(j->a, n, sizeof(double), e);
    if (!j->l) return REX_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        j->l[i] = rex_records_loglik(rec, i, mean);
        if (isfinite(j->l[i]) || !rex_select_uses_l(&j->o)) continue;
        const long long no = (long long)rex_records_line(rec, i);
        return rex_fail(e, REX_EFORMAT, no, "%s: line %lld: %s needs %s, or logp", j->io.groups, no,
                        rex_select_name(j->o.rule),
                        mean ? "logprob with n_tok of 1 or more" : "logprob");
    }
    return REX_OK;
}

/* Equal numbers for equal outcomes; answers, texts and rows for themselves are kept apart by the
 * remainder of 3. */
static rex_status take_outcomes(job *j, rex_err *e) {
    rex_records *const rec = j->in.rec;
    const size_t n = rex_records_rows(rec);
    const uint32_t *const said = rex_records_ids(rec, REX_FI_EXTRACTED);
    const uint32_t *const text = rex_records_ids(rec, REX_FI_TEXT);
    j->label = rex_arena_take(j->a, n, sizeof(int64_t), e);
    if (!j->label) return REX_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        if (said && said[i] != UINT32_MAX)
            j->label[i] = 3 * (int64_t)said[i];
        else if (text && text[i] != UINT32_MAX)
            j->label[i] = 3 * (int64_t)text[i] + 1;
        else
            j->label[i] = 3 * (int64_t)i + 2;
    }
    return REX_OK;
}

static rex_status take_columns(job *j, rex_err *e) {
    if (!j->in.rec) return REX_OK;
    REX_TRY(take_likelihoods(j, e));
    if (j->o.outcome != REX_OUTCOME_NONE) REX_TRY(take_outcomes(j, e));
    j->reward = rex_records_num(j->in.rec, REX_FI_REWARD);
    for (size_t i = 0; j->reward && i < rex_records_rows(j->in.rec); i++)
        if (isnan(j->reward[i])) j->reward = NULL;
    return REX_OK;
}

/* ---- start set --------------------------------------------------------------------------- */

/* The index within its group that a line of the start set names. */
static rex_status start_place(const job *j, const rex_records *s, size_t i, size_t g,
                              int64_t *place, rex_err *e) {
    const char *const path = j->opt->start;
    const long long no = (long long)rex_records_line(s, i);
    const double row = rex_records_num(s, REX_FI_ROW)[i],
                 sample = rex_records_num(s, REX_FI_SAMPLE)[i];
    const rex_pool_group *const grp = &j->in.group[g];
    if (!isnan(row)) {
        if (row < 0 || row >= (double)grp->n_all)
            return rex_fail(e, REX_EFORMAT, no,
                            "%s: line %lld: row %.0f of group %.*s, which has %lld", path, no, row,
                            (int)grp->name.n, grp->name.p, (long long)grp->n_all);
        *place = (int64_t)row;
        return REX_OK;
    }
    if (isnan(sample))
        return rex_fail(e, REX_EFORMAT, no, "%s: line %lld: neither row nor sample", path, no);
    const double *const have = j->in.rec ? rex_records_num(j->in.rec, REX_FI_SAMPLE) : NULL;
    size_t n = 0;
    const uint32_t *const of = j->in.rec ? rex_records_of(j->in.rec, g, &n) : NULL;
    for (size_t r = 0; have && r < n; r++)
        if (have[of[r]] == sample) {
            *place = (int64_t)r;
            return REX_OK;
        }
    return rex_fail(e, REX_EFORMAT, no, "%s: line %lld: group %.*s has no sample %.0f", path, no,
                    (int)grp->name.n, grp->name.p, sample);
}

static rex_status add_start(job *j, const rex_records *s, size_t i, rex_err *e) {
    const long long no = (long long)rex_records_line(s, i);
    size_t g = 0;
    if (j->in.rec) {
        const rex_str name = rex_records_name(s, rex_records_group(s, i));
        g = rex_records_find(j->in.rec, name);
        if (g == SIZE_MAX)
            return rex_fail(e, REX_EFORMAT, no, "%s: line %lld: %s has no group %.*s",
                            j->opt->start, no, j->io.groups, (int)name.n, name.p);
    }
    const rex_pool_group *const grp = &j->in.group[g];
    answer *const ans = &j->ans[g];
    int64_t place = 0, used = 0;
    REX_TRY(start_place(j, s, i, g, &place, e));
    while (used < grp->n && grp->place[used] != place) used++;
    if (used == grp->n) {
        rex_cli_note("%s: line %lld: that row was left out", j->opt->start, no);
        return REX_OK;
    }
    if (!ans->start) ans->start = rex_arena_take(j->a, (size_t)grp->n, sizeof(int64_t), e);
    if (!ans->start) return REX_ENOMEM;
    for (int64_t r = 0; r < ans->n_start; r++)
        if (ans->start[r] == used)
            return rex_fail(e, REX_EFORMAT, no,
                            "%s: line %lld: row %lld of group %.*s for the second time",
                            j->opt->start, no, (long long)place, (int)grp->name.n, grp->name.p);
    ans->start[ans->n_start++] = used;
    return REX_OK;
}

static rex_status read_start(job *j, rex_err *e) {
    if (!j->opt->start || !*j->opt->start) return REX_OK;
    rex_records *s = NULL;
    rex_records_opts r;
    rex_records_defaults(&r);
    r.want = REX_F(ROW) | REX_F(SAMPLE);
    r.group_field = j->in.rec != NULL;
    REX_TRY(rex_records_open(j->opt->start, &r, &s, e));
    rex_status st = REX_OK;
    for (size_t i = 0; st == REX_OK && i < rex_records_rows(s); i++) st = add_start(j, s, i, e);
    rex_records_close(s);
    return st;
}

/* ---- selecting --------------------------------------------------------------------------- */

/* Everything that the size of a group can make wrong, before any work. */
static rex_status check_groups(job *j, rex_err *e) {
    for (size_t g = 0; g < j->in.n_group; g++) {
        const rex_pool_group *const grp = &j->in.group[g];
        answer *const ans = &j->ans[g];
        const int64_t left = grp->n - ans->n_start;
        if (j->k > left)
            return rex_fail(e, REX_ELIMIT, -1, "group %.*s: -k %lld, but %lld rows are left",
                            (int)grp->name.n, grp->name.p, (long long)j->k, (long long)left);
        ans->n_pick = j->k < 0 ? left : j->k;
        ans->order = rex_arena_take(j->a, (size_t)ans->n_pick, sizeof(int64_t), e);
        ans->score = rex_arena_take(j->a, (size_t)ans->n_pick, sizeof(double), e);
        if (!ans->order || !ans->score) return REX_ENOMEM;
        if (j->o.first != REX_FIRST_INDEX) continue;
        bool there = false;
        for (int64_t i = 0; i < grp->n; i++) there = there || grp->place[i] == j->o.first_index;
        if (!there)
            return rex_fail(e, REX_ELIMIT, -1, "group %.*s: --first %lld, but it has %lld rows%s",
                            (int)grp->name.n, grp->name.p, (long long)j->o.first_index,
                            (long long)grp->n_all,
                            j->o.first_index < grp->n_all ? " and that one was "
                                                            "left out"
                                                          : "");
    }
    return REX_OK;
}

static rex_status open_group(const job *j, size_t g, rex_arena *a, rex_select **out, rex_err *e) {
    const rex_pool_group *const grp = &j->in.group[g];
    const answer *const ans = &j->ans[g];
    rex_select_opts o = j->o;
    for (int64_t i = 0; o.first == REX_FIRST_INDEX && i < grp->n; i++)
        if (grp->place[i] == j->o.first_index) o.first_index = i;
    rex_select_rows r = {.size = sizeof r, .m = j->in.m, .row = grp->row, .n = grp->n};
    double *const l = rex_arena_take(a, (size_t)grp->n, sizeof *l, e);
    int64_t *const label = rex_arena_take(a, (size_t)grp->n, sizeof *label, e);
    if (!l || !label) return REX_ENOMEM;
    bool have_l = j->l != NULL;
    for (int64_t i = 0; i < grp->n; i++) {
        l[i] = j->l ? j->l[grp->row[i]] : 0.0;
        have_l = have_l && isfinite(l[i]);
        label[i] = j->label ? j->label[grp->row[i]] : 0;
    }
    r.l = have_l ? l : NULL;
    r.outcome = j->label ? label : NULL;
    REX_TRY(rex_select_open(&o, grp->id, j->inner, out, e));
    REX_TRY(rex_select_add(*out, &r, e));
    return rex_select_start(*out, ans->start, ans->n_start, e);
}

/* The picks, and then as many more as it takes to meet the first correct row. */
static rex_status order_group(const job *j, size_t g, rex_arena *a, rex_select **s, rex_err *e) {
    const rex_pool_group *const grp = &j->in.group[g];
    answer *const ans = &j->ans[g];
    if (grp->n == 0) return REX_OK;
    REX_TRY(open_group(j, g, a, s, e));
    REX_TRY(rex_select_next(*s, ans->n_pick, ans->order, ans->score, e));
    ans->lambda = rex_select_lambda(*s);
    if (j->reward) {
        for (int64_t i = 0; i < grp->n; i++) ans->right += j->reward[grp->row[i]] > 0.0;
        for (int64_t i = 0; i < ans->n_start; i++)
            ans->right -= j->reward[grp->row[ans->start[i]]] > 0.0;
    }
    int64_t at = 0;
    for (; ans->right > 0 && at < ans->n_pick && ans->first_correct == 0; at++)
        if (j->reward[grp->row[ans->order[at]]] > 0.0) ans->first_correct = at + 1;
    for (; ans->right > 0 && ans->first_correct == 0; at++) {
        int64_t i = 0;
        REX_TRY(rex_select_next(*s, 1, &i, NULL, e));
        if (j->reward[grp->row[i]] > 0.0) ans->first_correct = at + 1;
    }
    for (int64_t i = 0; i < ans->n_pick; i++) ans->order[i] = grp->place[ans->order[i]];
    return REX_OK;
}

static void one_group(void *ud, size_t g, int worker) {
    (void)worker;
    job *const j = ud;
    answer *const ans = &j->ans[g];
    if (j->inner == NULL && j->in.group[g].n >= j->big) return; /* has its turn with all workers */
    rex_arena *a = NULL;
    rex_select *s = NULL;
    ans->st = rex_arena_open(0, &a, &ans->err);
    if (ans->st == REX_OK) ans->st = order_group(j, g, a, &s, &ans->err);
    rex_select_close(s);
    rex_arena_close(a);
}

/* Small groups run side by side; a large one gets all workers to itself. */
static rex_status order_all(job *j, rex_err *e) {
    j->big = 1 << 15;
    j->inner = NULL;
    rex_pool_run(j->workers, j->in.n_group, one_group, j);
    j->inner = j->workers;
    for (size_t g = 0; g < j->in.n_group; g++)
        if (j->in.group[g].n >= j->big) one_group(j, g, 0);
    for (size_t g = 0; g < j->in.n_group; g++) {
        const answer *const ans = &j->ans[g];
        if (ans->st == REX_OK) continue;
        const rex_str name = j->in.group[g].name;
        if (e) *e = ans->err;
        return rex_fail_in(e, ans->st == REX_EARG ? REX_ELIMIT : ans->st, "group %.*s", (int)name.n,
                           name.p);
    }
    return REX_OK;
}

/* ---- printing ---------------------------------------------------------------------------- */

static void put_group(const job *j, size_t g, rex_buf *b) {
    const rex_pool_group *const grp = &j->in.group[g];
    const answer *const ans = &j->ans[g];
    rex_jw w;
    rex_jw_init(&w, b);
    rex_jw_obj(&w);
    rex_jw_key(&w, "group");
    rex_jw_str(&w, grp->name);
    rex_jw_key(&w, "n");
    rex_jw_i64(&w, grp->n_all);
    rex_jw_key(&w, "order");
    rex_jw_arr(&w);
    for (int64_t i = 0; i < ans->n_pick; i++) rex_jw_i64(&w, ans->order[i]);
    rex_jw_arr_end(&w);
    rex_jw_key(&w, "score");
    rex_jw_arr(&w);
    for (int64_t i = 0; i < ans->n_pick; i++)
        isfinite(ans->score[i]) ? rex_jw_f64(&w, ans->score[i]) : rex_jw_null(&w);
    rex_jw_arr_end(&w);
    if (j->reward) {
        rex_jw_key(&w, "first_correct");
        ans->first_correct ? rex_jw_i64(&w, ans->first_correct) : rex_jw_null(&w);
    }
    if (j->o.rule == REX_SELECT_ELLIPTICAL || j->o.rule == REX_SELECT_QUALITY) {
        rex_jw_key(&w, "lambda");
        rex_jw_f64(&w, ans->lambda);
    }
    if (grp->n < grp->n_all) {
        rex_jw_key(&w, "dropped");
        rex_jw_i64(&w, grp->n_all - grp->n);
    }
    rex_pool_input_json(&j->in, &j->io, &w);
    rex_jw_obj_end(&w);
    rex_buf_addf(b, "\n");
}

static void put_text(const job *j, size_t g, rex_buf *b) {
    const rex_pool_group *const grp = &j->in.group[g];
    const answer *const ans = &j->ans[g];
    rex_buf_addf(b, "%.*s\t%lld:", (int)grp->name.n, grp->name.p, (long long)grp->n_all);
    for (int64_t i = 0; i < ans->n_pick; i++) rex_buf_addf(b, " %lld", (long long)ans->order[i]);
    rex_buf_addf(b, "\n");
}

static rex_status note_row(const job *j, const char *what, const double *v, const double *random,
                           size_t n, rex_err *e) {
    rex_interval mine, ratio;
    REX_TRY(rex_mean_interval(j->workers, v, n, &j->boot, &mine, e));
    REX_TRY(rex_ratio_interval(j->workers, v, random, n, &j->boot, &ratio, e));
    if (v == random)
        rex_cli_note("%-22s %10.2f  [%.2f, %.2f]", what, mine.value, mine.low, mine.high);
    else
        rex_cli_note("%-22s %10.2f  [%.2f, %.2f]  %+6.1f %% [%+.1f, %+.1f]", what, mine.value,
                     mine.low, mine.high, 100.0 * (ratio.value - 1.0), 100.0 * (ratio.low - 1.0),
                     100.0 * (ratio.high - 1.0));
    return REX_OK;
}

/* Samples to the first correct one, down this order and at random, over the groups that have one.
 */
static rex_status note_saving(const job *j, rex_err *e) {
    if (!j->reward) return REX_OK;
    const size_t n = j->in.n_group;
    double *const mine = rex_arena_take(j->a, 2 * n, sizeof(double), e), *const other = mine + n;
    if (!mine) return REX_ENOMEM;
    size_t solvable = 0;
    for (int part = 0; part < 2; part++) { /* first those that can be solved, then all */
        size_t m = 0;
        for (size_t g = 0; g < n; g++) {
            const answer *const ans = &j->ans[g];
            const int64_t rows = j->in.group[g].n - ans->n_start;
            double sd = 0.0;
            if (rows == 0 || (part == 0 && ans->right == 0)) continue;
            REX_TRY(rex_samples_to_correct(rows, ans->right, &other[m], &sd, e));
            mine[m++] = ans->right > 0 ? (double)ans->first_correct : (double)rows + 1.0;
        }
        if (part == 0) {
            solvable = m;
            rex_cli_note(
                "samples to correct, %zu of %zu groups solvable; mean and 95 %% interval over "
                "groups, change against random",
                m, n);
        }
        if (m == 0 || (part == 1 && m == solvable)) continue;
        REX_TRY(note_row(j, part ? "at random, all" : "at random", other, other, m, e));
        const char *const name = rex_select_name(j->o.rule);
        char label[40];
        const size_t len = strlen(name);
        memcpy(label, name, len + 1);
        if (part) memcpy(label + len, ", all", 6);
        REX_TRY(note_row(j, label, mine, other, m, e));
    }
    return REX_OK;
}

/* ---- the command ------------------------------------------------------------------------- */

static rex_status work(job *j, rex_buf *b, rex_err *e) {
    REX_TRY(rex_pool_open((int)j->opt->threads, &j->workers, e));
    j->io.workers = j->workers;
    REX_TRY(rex_pool_input_open(j->a, &j->io, &j->in, e));
    REX_TRY(take_columns(j, e));
    j->ans = rex_arena_zero(j->a, j->in.n_group, sizeof *j->ans, e);
    if (!j->ans) return REX_ENOMEM;
    REX_TRY(read_start(j, e));
    REX_TRY(check_groups(j, e));
    REX_TRY(order_all(j, e));
    rex_boot_defaults(&j->boot);
    j->boot.seed = (uint64_t)j->opt->seed;
    for (size_t g = 0; g < j->in.n_group; g++)
        j->opt->json ? put_group(j, g, b) : put_text(j, g, b);
    REX_TRY(rex_cli_print(b, e));
    return note_saving(j, e);
}

static rex_status run(const void *opts, int n_pos, char **pos, rex_err *e) {
    job j = {.opt = opts};
    if (n_pos > 0) return rex_fail(e, REX_EARG, -1, "select: '%s' is no option", pos[0]);
    REX_TRY(parse(j.opt, &j, e));
    rex_buf b;
    rex_buf_init(&b, 0);
    rex_status st = rex_arena_open(0, &j.a, e);
    if (st == REX_OK) st = work(&j, &b, e);
    rex_buf_free(&b);
    rex_pool_input_close(&j.in);
    rex_pool_close(j.workers);
    rex_arena_close(j.a);
    return st;
}

const rex_cmd rex_cmd_select = {
    .name = "select",
    .summary = "order a pool of samples by a rule of selection",
    .usage = "--features FILE -k K [--groups FILE] [--method RULE] [options]",
    .text =
        "Orders the rows of every group so that a verifier meets a correct one early. Rules: "
        "elliptical takes the row with the largest bonus h'(lambda I + sum of picks)^-1 h (the "
        "paper); "
        "quality the largest log(bonus) + alpha * log(mass of its outcome); votes the largest "
        "mass; "
        "likelihood the most likely; farthest the one farthest from the picks; dpp the greedy mode "
        "of "
        "a determinantal process of similarity times mass; random a seeded permutation. Rows of "
        "one "
        "outcome are represented by their most likely; representatives come first, then all "
        "others. "
        "Where every row has a reward, the place of the first correct row is told as well, and on "
        "stderr what the order saves against random.",
    .opt = table,
    .n_opt = sizeof table / sizeof *table,
    .opt_bytes = sizeof(select_opts),
    .run = run,
};
