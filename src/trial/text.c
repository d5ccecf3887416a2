/* SPDX-License-Identifier: MIT
 *
 * text: what a run came to, as JSON for programs and as tables for people. Every number has its 95
 * % interval over problems; both forms are made from the same numbers.
 */
#include "trial.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { BINS = 6 };
static const double bin_top[BINS] = {0.02, 0.05, 0.10, 0.25, 0.50, 1.0};
static const char *const bin_name[BINS] = {"0 < c/n <= 2 %",     "2 % < c/n <= 5 %",
                                           "5 % < c/n <= 10 %",  "10 % < c/n <= 25 %",
                                           "25 % < c/n <= 50 %", "50 % < c/n"};
static const char *const tenth_name[REX_TENTHS] = {
    "hardest tenth", "2nd tenth", "3rd tenth", "4th tenth", "5th tenth",
    "6th tenth",     "7th tenth", "8th tenth", "9th tenth", "easiest tenth"};

static int bins_of(const rex_trial *t) { return t->tenth ? REX_TENTHS : BINS; }
static const char *bin_of(const rex_trial *t, int i) {
    return (t->tenth ? tenth_name : bin_name)[i];
}

/* Which problems a number is over. */
typedef enum { OF_SOLVABLE, OF_ALL, OF_HARD, OF_BIN } subset;

typedef struct {
    rex_trial *t;
    rex_arena *a;
    double *v, *w; /* a value per problem that counts */
} maker;

typedef struct {
    bool there;
    rex_interval iv;
} maybe;

static bool counts(const rex_trial *t, size_t g, subset of, int bin) {
    const double share = t->c[g] / t->size[g];
    if (of == OF_ALL) return true;
    if (of == OF_SOLVABLE) return t->c[g] > 0.0;
    if (!t->known || !(t->c[g] > 0.0)) return false;
    if (of == OF_HARD) return share <= 0.05;
    if (t->tenth) return t->tenth[g] == bin;
    return share <= bin_top[bin] && (bin == 0 || share > bin_top[bin - 1]);
}

/* The mean of `v` over the problems of a subset, or of v / by as a ratio of means. */
static rex_status interval(const maker *m, size_t from, const double *v, const double *by,
                           size_t stride, subset of, int bin, double lo, double hi, maybe *out,
                           rex_err *e) {
    const rex_trial *const t = m->t;
    size_t n = 0;
    *out = (maybe){false, {0}};
    for (size_t g = from; g < t->p.groups; g++) {
        if (!counts(t, g, of, bin)) continue;
        m->v[n] = v[g * stride];
        m->w[n++] = by ? by[g] : 1.0;
    }
    if (n == 0) return REX_OK;
    rex_boot_opts b;
    rex_boot_defaults(&b);
    b.seed = t->o.seed;
    b.draws = t->o.draws;
    b.lo = lo;
    b.hi = hi;
    out->there = true;
    bool same = lo == 0.0 && hi == 1.0 && (m->v[0] == lo || m->v[0] == hi);
    for (size_t i = 1; same && i < n; i++) same = m->v[i] == m->v[0];
    if (same && !by) { /* nothing to redraw: the exact binomial bound over problems */
        const double far = rex_pow(0.025, 1.0 / (double)n), at = m->v[0];
        out->iv = (rex_interval){
            .value = at, .low = at > 0.0 ? far : 0.0, .high = at > 0.0 ? 1.0 : 1.0 - far, .p = 1.0};
        return REX_OK;
    }
    return by ? rex_ratio_interval(t->workers, m->v, m->w, n, &b, &out->iv, e)
              : rex_mean_interval(t->workers, m->v, n, &b, &out->iv, e);
}

static void put(rex_jw *w, const char *key, const maybe *x) {
    if (key) rex_jw_key(w, key);
    if (!x->there) {
        rex_jw_null(w);
        return;
    }
    rex_jw_obj(w);
    rex_jw_key(w, "value");
    rex_jw_f64(w, x->iv.value);
    rex_jw_key(w, "low");
    rex_jw_f64(w, x->iv.low);
    rex_jw_key(w, "high");
    rex_jw_f64(w, x->iv.high);
    rex_jw_obj_end(w);
}

/* ---- pass@k of the pool ------------------------------------------------------------------ */

static rex_status scored(const rex_trial *t, rex_arena *a, rex_scored *s, rex_err *e) {
    const rex_trial_pool *const p = &t->p;
    size_t *const first = rex_arena_take(a, p->groups + 1, sizeof *first, e);
    rex_str *const name = rex_arena_take(a, p->groups, sizeof *name, e);
    uint64_t *const stream = rex_arena_take(a, p->groups, sizeof *stream, e);
    double *const reward = rex_arena_take(a, p->total + 1, sizeof *reward, e);
    uint32_t *const answer = rex_arena_take(a, p->total + 1, sizeof *answer, e);
    if (!first || !name || !stream || !reward || !answer) return REX_ENOMEM;
    first[0] = 0;
    for (size_t g = 0; g < p->groups; g++) {
        const size_t own = rex_records_group(p->rec, p->of[g][0]);
        name[g] = rex_records_name(p->rec, own);
        stream[g] = rex_records_hash(p->rec, own);
        first[g + 1] = first[g] + p->count[g];
        for (size_t i = 0; i < p->count[g]; i++) {
            const uint32_t row = p->of[g][i];
            reward[first[g] + i] = rex_trial_state(t, row) == REX_ROW_RIGHT ? 1.0 : 0.0;
            answer[first[g] + i] = p->answer[row];
        }
    }
    *s = (rex_scored){.n_groups = p->groups, .first = first, .name = name, .stream = stream,
                      .reward = reward, .answer = p->answers ? answer : NULL};
    return REX_OK;
}

static rex_status pool_stats(rex_trial *t, const rex_trial *vs, rex_arena *a, rex_passk *out,
                             rex_passk *diff, rex_err *e) {
    rex_scored mine, theirs;
    rex_passk_opts o;
    rex_passk_defaults(&o);
    o.k = t->k;
    o.n_k = t->n_k;
    o.seed = t->o.seed;
    o.draws = t->o.draws;
    REX_TRY(scored(t, a, &mine, e));
    rex_status s = rex_passk_run(a, t->workers, &mine, &o, out, e);
    out->n_dropped = t->p.broken;
    if (s == REX_OK && vs) s = scored(vs, a, &theirs, e);
    if (s == REX_OK && vs) s = rex_passk_vs(a, t->workers, &mine, &theirs, &o, diff, e);
    return s == REX_OK || s == REX_EARG ? s : rex_fail_in(e, s, "%s", t->p.path);
}

static void put_verdicts(const rex_trial *t, rex_jw *w) {
    size_t count[REX_VERDICT_COUNT] = {0}, unknown = 0;
    for (size_t i = 0; i < t->p.n; i++) {
        const rex_row_state s = (rex_row_state)t->p.state[i];
        rex_verdict v = t->p.judged[i].verdict;
        if (s == REX_ROW_UNKNOWN) {
            unknown += rex_records_group(t->p.rec, i) < t->p.groups;
            continue;
        }
        if (v == REX_VERDICT_COUNT) { /* the reward was stored; perhaps the verdict, too */
            const rex_str said = rex_records_str(t->p.rec, REX_FI_VERDICT, i);
            v = s == REX_ROW_RIGHT ? REX_VERDICT_correct : REX_VERDICT_wrong;
            for (int k = 0; said.p && k < REX_VERDICT_COUNT; k++)
                if (rex_str_is(said, rex_verdict_name((rex_verdict)k))) v = (rex_verdict)k;
        }
        count[v]++;
    }
    rex_jw_key(w, "verdicts");
    rex_jw_obj(w);
    for (int v = 0; v < REX_VERDICT_COUNT; v++) {
        rex_jw_key(w, rex_verdict_name((rex_verdict)v));
        rex_jw_i64(w, (int64_t)count[v]);
    }
    if (unknown > 0) {
        rex_jw_key(w, "not_verified");
        rex_jw_i64(w, (int64_t)unknown);
    }
    rex_jw_obj_end(w);
}

static void put_task(const rex_trial *t, rex_jw *w) {
    rex_jw_key(w, "task");
    if (t->task) rex_jw_cstr(w, rex_task_what(t->task)->name);
    else rex_jw_null(w);
}

/* avg@k of right and wrong is pass@1, whatever k. */
static rex_status average(rex_trial *t, rex_arena *a, rex_interval *out, rex_err *e) {
    static const int64_t one = 1;
    rex_scored s;
    rex_passk p;
    rex_passk_opts o;
    rex_passk_defaults(&o);
    o.k = &one;
    o.n_k = 1;
    o.seed = t->o.seed;
    o.draws = t->o.draws;
    REX_TRY(scored(t, a, &s, e));
    s.answer = NULL;
    REX_TRY(rex_passk_run(a, t->workers, &s, &o, &p, e));
    *out = p.pass[0];
    return REX_OK;
}

static void put_average(const rex_trial *t, const rex_interval *iv, rex_jw *w) {
    const maybe x = {true, *iv};
    rex_jw_key(w, "avg");
    rex_jw_obj(w);
    for (size_t j = 0; j < t->n_k; j++) {
        char key[24];
        (void)snprintf(key, sizeof key, "%lld", (long long)t->k[j]);
        put(w, key, &x);
    }
    rex_jw_obj_end(w);
}

static rex_status eval_json(rex_trial *t, const rex_trial *vs, rex_arena *a, rex_buf *b,
                            rex_err *e) {
    rex_passk p, d;
    rex_str text;
    rex_jw w;
    rex_interval avg;
    REX_TRY(pool_stats(t, vs, a, &p, &d, e));
    REX_TRY(average(t, a, &avg, e));
    REX_TRY(rex_passk_json(a, &p, vs ? &d : NULL, &text, e));
    rex_buf_add(b, text.p, text.n - 1); /* its last brace comes behind ours */
    rex_buf_add(b, ",", 1);
    rex_jw_init(&w, b);
    put_task(t, &w);
    put_average(t, &avg, &w);
    put_verdicts(t, &w);
    rex_buf_add(b, "}", 1);
    return REX_OK;
}

/* ---- rules ------------------------------------------------------------------------------- */

static const struct {
    const char *key;
    subset of;
} sets[] = {{"solvable", OF_SOLVABLE}, {"all", OF_ALL}, {"hard", OF_HARD}};

static rex_status put_sets(const maker *m, rex_jw *w, const char *key, size_t from, const double *v,
                           rex_err *e) {
    rex_jw_key(w, key);
    rex_jw_obj(w);
    for (int i = 0; i < 3; i++) {
        maybe x;
        REX_TRY(interval(m, from, v, NULL, 1, sets[i].of, 0, 1.0, (double)INFINITY, &x, e));
        put(w, sets[i].key, &x);
    }
    rex_jw_obj_end(w);
    return REX_OK;
}

static void put_settings(const rex_trial *t, const rex_trial_result *r, rex_jw *w) {
    rex_jw_key(w, "settings");
    rex_jw_obj(w);
    if (r->chosen) {
        rex_jw_key(w, "chosen");
        rex_jw_str(w, r->chosen->name);
        rex_jw_key(w, "learned_from");
        rex_jw_i64(w, (int64_t)r->from);
        rex_jw_key(w, "calls_to_learn");
        int64_t calls = 0;
        for (size_t g = 0; g < r->from; g++)
            for (size_t i = 0; i < t->p.count[g]; i++) {
                size_t j = 0;
                while (t->p.key[t->p.of[g][j]] != t->p.key[t->p.of[g][i]]) j++;
                calls += j == i;
            }
        rex_jw_i64(w, calls);
        rex_jw_key(w, "candidates");
        rex_jw_obj(w);
        for (size_t i = 0; i < t->n_candidate; i++) {
            const maybe x = {true, r->learnt[i]};
            rex_jw_keys(w, t->candidate[i].name);
            put(w, NULL, &x);
        }
        rex_jw_obj_end(w);
    }
    rex_rule_json(r->chosen ? r->chosen : r->rule, w);
    rex_jw_key(w, "estimate");
    rex_jw_cstr(w, r->why ? r->why : "one order");
    rex_jw_key(w, "trials");
    rex_jw_i64(w, r->variants ? (int64_t)r->variants : 1);
    rex_jw_obj_end(w);
}

static rex_status put_rule(const maker *m, const rex_trial_result *r, rex_jw *w, rex_err *e) {
    const rex_trial *const t = m->t;
    maybe x = {false, {0}};
    rex_jw_keys(w, r->rule->name);
    rex_jw_obj(w);
    put_settings(t, r, w);
    REX_TRY(put_sets(m, w, "s2c", r->from, r->s2c, e));
    REX_TRY(put_sets(m, w, "calls", r->from, r->calls, e));
    rex_jw_key(w, "pass");
    rex_jw_obj(w);
    for (size_t j = 0; j < t->n_k; j++) {
        char key[24];
        (void)snprintf(key, sizeof key, "%lld", (long long)t->k[j]);
        REX_TRY(interval(m, r->from, r->pass + j, NULL, t->n_k, OF_ALL, 0, 0.0, 1.0, &x, e));
        put(w, key, &x);
    }
    rex_jw_obj_end(w);
    x.there = false;
    if (t->random)
        REX_TRY(interval(m, r->from, r->s2c, t->random, 1, OF_SOLVABLE, 0, 0.0, (double)INFINITY,
                         &x, e));
    put(w, "vs_random", &x);
    x.there = false;
    if (t->random)
        REX_TRY(interval(m, r->from, r->calls, t->random_calls, 1, OF_SOLVABLE, 0, 0.0,
                         (double)INFINITY, &x, e));
    put(w, "calls_vs_random", &x);
    rex_jw_key(w, "bins");
    rex_jw_arr(w);
    for (int i = 0; i < bins_of(t); i++) {
        REX_TRY(interval(m, r->from, r->s2c, NULL, 1, OF_BIN, i, 1.0, (double)INFINITY, &x, e));
        put(w, NULL, &x);
    }
    rex_jw_arr_end(w);
    rex_jw_obj_end(w);
    return REX_OK;
}

/* Different texts and answers of a problem, as means over problems. */
static rex_status distinct(const maker *m, rex_outcome kind, maybe *out, rex_err *e) {
    rex_trial *const t = m->t;
    double *const v = rex_arena_take(m->a, t->p.groups, sizeof *v, e);
    if (!v) return REX_ENOMEM;
    const rex_mark was = rex_arena_mark(m->a);
    for (size_t g = 0; g < t->p.groups; g++) {
        int64_t *label = NULL;
        const size_t n = t->p.count[g];
        REX_TRY(rex_trial_labels(t, g, kind, m->a, &label, e));
        size_t room = 16, found = 0;
        while (room < 2 * n) room *= 2;
        int64_t *const slot = rex_arena_zero(m->a, room, sizeof *slot, e);
        if (!slot) return REX_ENOMEM;
        for (size_t i = 0; i < n; i++) {
            if (kind == REX_OUTCOME_ANSWER && label[i] % 3 != 0) continue; /* no answer */
            size_t at = (size_t)rex_hash64(&label[i], sizeof *label) & (room - 1);
            while (slot[at] && slot[at] != label[i] + 1) at = (at + 1) & (room - 1);
            found += slot[at] == 0;
            slot[at] = label[i] + 1;
        }
        v[g] = (double)found;
        rex_arena_back(m->a, was);
    }
    return interval(m, 0, v, NULL, 1, OF_ALL, 0, 0.0, (double)INFINITY, out, e);
}

static rex_status open_maker(rex_trial *t, rex_arena *a, maker *m, rex_err *e) {
    *m = (maker){.t = t, .a = a};
    m->v = rex_arena_take(a, t->p.groups + 1, sizeof *m->v, e);
    m->w = m->v ? rex_arena_take(a, t->p.groups + 1, sizeof *m->w, e) : NULL;
    return m->w ? REX_OK : REX_ENOMEM;
}

static const char *verified_how(const rex_trial *t) {
    return t->p.claim == NULL ? "stored" : t->p.lazy ? "lazy" : "all";
}

static rex_status explore_json(rex_trial *t, rex_arena *a, rex_buf *b, rex_err *e) {
    maker m;
    rex_jw w;
    int64_t solvable = 0;
    maybe x;
    REX_TRY(open_maker(t, a, &m, e));
    for (size_t g = 0; g < t->p.groups; g++) solvable += t->c[g] > 0.0;
    rex_jw_init(&w, b);
    rex_jw_obj(&w);
    put_task(t, &w);
    rex_jw_key(&w, "n_problems");
    rex_jw_i64(&w, (int64_t)t->p.groups);
    rex_jw_key(&w, "n_solvable");
    rex_jw_i64(&w, solvable);
    rex_jw_key(&w, "pool");
    if (t->known) {
        rex_passk p;
        rex_str text;
        REX_TRY(pool_stats(t, NULL, a, &p, NULL, e));
        REX_TRY(rex_passk_json(a, &p, NULL, &text, e));
        rex_jw_raw(&w, text);
    } else {
        rex_jw_null(&w);
    }
    put_verdicts(t, &w);
    rex_jw_key(&w, "verification");
    rex_jw_cstr(&w, verified_how(t));
    REX_TRY(distinct(&m, REX_OUTCOME_TEXT, &x, e));
    put(&w, "distinct_texts", &x);
    x.there = false;
    if (t->p.answers) REX_TRY(distinct(&m, REX_OUTCOME_ANSWER, &x, e));
    put(&w, "distinct_answers", &x);
    rex_jw_key(&w, "bins");
    rex_jw_arr(&w);
    for (int i = 0; i < bins_of(t); i++) rex_jw_cstr(&w, bin_of(t, i));
    rex_jw_arr_end(&w);
    rex_jw_key(&w, "rules");
    rex_jw_obj(&w);
    for (size_t i = 0; i < t->n_rule; i++) REX_TRY(put_rule(&m, &t->result[i], &w, e));
    rex_jw_obj_end(&w);
    rex_jw_obj_end(&w);
    return REX_OK;
}

/* ---- tables ------------------------------------------------------------------------------ */

static void cell(rex_buf *b, const maybe *x, int digits) {
    if (x->there)
        rex_buf_addf(b, " %.*f [%.*f, %.*f] |", digits, x->iv.value, digits, x->iv.low, digits,
                     x->iv.high);
    else
        rex_buf_addf(b, " - |");
}

/* A ratio as the change that it is, in per cent. */
static void change(rex_buf *b, const maybe *x) {
    if (x->there)
        rex_buf_addf(b, " %+.0f %% [%+.0f, %+.0f] |", 100.0 * (x->iv.value - 1.0),
                     100.0 * (x->iv.low - 1.0), 100.0 * (x->iv.high - 1.0));
    else
        rex_buf_addf(b, " - |");
}

static rex_status rule_rows(const maker *m, rex_buf *b, rex_err *e) {
    const rex_trial *const t = m->t;
    maybe x = {false, {0}};
    rex_buf_addf(
        b, "| rule | samples to correct, solvable | against random | hard | all | verifier calls, "
           "solvable | calls against random |\n|---|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < t->n_rule; i++) {
        const rex_trial_result *const r = &t->result[i];
        rex_buf_addf(b, "| %.*s |", (int)r->rule->name.n, r->rule->name.p);
        REX_TRY(
            interval(m, r->from, r->s2c, NULL, 1, OF_SOLVABLE, 0, 1.0, (double)INFINITY, &x, e));
        cell(b, &x, 2);
        x.there = false;
        if (t->random)
            REX_TRY(interval(m, r->from, r->s2c, t->random, 1, OF_SOLVABLE, 0, 0.0,
                             (double)INFINITY, &x, e));
        change(b, &x);
        REX_TRY(interval(m, r->from, r->s2c, NULL, 1, OF_HARD, 0, 1.0, (double)INFINITY, &x, e));
        cell(b, &x, 1);
        REX_TRY(interval(m, r->from, r->s2c, NULL, 1, OF_ALL, 0, 1.0, (double)INFINITY, &x, e));
        cell(b, &x, 1);
        REX_TRY(
            interval(m, r->from, r->calls, NULL, 1, OF_SOLVABLE, 0, 1.0, (double)INFINITY, &x, e));
        cell(b, &x, 2);
        x.there = false;
        if (t->random)
            REX_TRY(interval(m, r->from, r->calls, t->random_calls, 1, OF_SOLVABLE, 0, 0.0,
                             (double)INFINITY, &x, e));
        change(b, &x);
        rex_buf_addf(b, "\n");
    }
    return REX_OK;
}

/* One column per k or per bin, one row per rule. */
static rex_status wide_rows(const maker *m, bool bins, rex_buf *b, rex_err *e) {
    const rex_trial *const t = m->t;
    const size_t cols = bins ? (size_t)bins_of(t) : t->n_k;
    maybe x;
    rex_buf_addf(b, "\n| %s |", bins ? "samples to correct" : "pass@k");
    for (size_t j = 0; j < cols; j++)
        bins ? rex_buf_addf(b, " %s |", bin_of(t, (int)j))
             : rex_buf_addf(b, " %lld |", (long long)t->k[j]);
    rex_buf_addf(b, "\n|---|");
    for (size_t j = 0; j < cols; j++) rex_buf_addf(b, "---|");
    rex_buf_addf(b, "\n");
    for (size_t i = 0; i < t->n_rule; i++) {
        const rex_trial_result *const r = &t->result[i];
        rex_buf_addf(b, "| %.*s |", (int)r->rule->name.n, r->rule->name.p);
        for (size_t j = 0; j < cols; j++) {
            if (bins)
                REX_TRY(interval(m, r->from, r->s2c, NULL, 1, OF_BIN, (int)j, 1.0, (double)INFINITY,
                                 &x, e));
            else
                REX_TRY(
                    interval(m, r->from, r->pass + j, NULL, t->n_k, OF_ALL, 0, 0.0, 1.0, &x, e));
            cell(b, &x, bins ? 1 : 3);
        }
        rex_buf_addf(b, "\n");
    }
    return REX_OK;
}

static void learnt_lines(const rex_trial *t, rex_buf *b) {
    for (size_t i = 0; i < t->n_rule; i++) {
        const rex_trial_result *const r = &t->result[i];
        if (!r->chosen) continue;
        rex_buf_addf(
            b,
            "\nauto verified the whole pools of the first %zu problems and took %.*s; its numbers "
            "are over the other %zu.\n\n| candidate | verifier calls on the first %zu "
            "|\n|---|---|\n",
            r->from, (int)r->chosen->name.n, r->chosen->name.p, t->p.groups - r->from, r->from);
        for (size_t k = 0; k < t->n_candidate; k++) {
            const maybe x = {true, r->learnt[k]};
            rex_buf_addf(b, "| %.*s%s |", (int)t->candidate[k].name.n, t->candidate[k].name.p,
                         &t->candidate[k] == r->chosen ? " (taken)" : "");
            cell(b, &x, 2);
            rex_buf_addf(b, "\n");
        }
    }
}

static rex_status explore_table(rex_trial *t, rex_arena *a, rex_buf *b, rex_err *e) {
    maker m;
    maybe texts, answers = {false, {0}};
    size_t solvable = 0;
    REX_TRY(open_maker(t, a, &m, e));
    for (size_t g = 0; g < t->p.groups; g++) solvable += t->c[g] > 0.0;
    REX_TRY(distinct(&m, REX_OUTCOME_TEXT, &texts, e));
    if (t->p.answers) REX_TRY(distinct(&m, REX_OUTCOME_ANSWER, &answers, e));
    rex_buf_addf(
        b, "%zu problems, %zu samples, %zu problems solvable; %.1f [%.1f, %.1f] different texts",
        t->p.groups, t->p.total, solvable, texts.iv.value, texts.iv.low, texts.iv.high);
    if (answers.there)
        rex_buf_addf(b, ", %.1f [%.1f, %.1f] different answers", answers.iv.value, answers.iv.low,
                     answers.iv.high);
    rex_buf_addf(
        b,
        " a problem. 95 %% intervals over problems; calls are verifier calls when one verdict "
        "serves all samples of the same %s.%s\n\n",
        t->p.by_answer ? "answer" : "text",
        t->known ? ""
                 : " Not everything was verified: no numbers by difficulty, no pass@k of the "
                   "pool.");
    REX_TRY(rule_rows(&m, b, e));
    REX_TRY(wide_rows(&m, false, b, e));
    if (t->known) REX_TRY(wide_rows(&m, true, b, e));
    learnt_lines(t, b);
    return REX_OK;
}

static void passk_rows(const rex_passk *p, rex_buf *b) {
    const struct {
        const char *name;
        const rex_interval *iv;
    } col[] = {{"pass@k", p->pass}, {"pass^k", p->pow}, {"maj@k", p->maj}};
    rex_buf_addf(b, "| k |");
    for (int i = 0; i < 3; i++)
        if (col[i].iv) rex_buf_addf(b, " %s |", col[i].name);
    rex_buf_addf(b, "\n|---|");
    for (int i = 0; i < 3; i++)
        if (col[i].iv) rex_buf_addf(b, "---|");
    rex_buf_addf(b, "\n");
    for (size_t j = 0; j < p->n_k; j++) {
        rex_buf_addf(b, "| %lld |", (long long)p->k[j]);
        for (int i = 0; i < 3; i++) {
            const rex_interval *const iv = col[i].iv ? &col[i].iv[j] : NULL;
            if (iv && p->diff)
                rex_buf_addf(b, " %+.4f [%+.4f, %+.4f], p = %.3g |", iv->value, iv->low, iv->high,
                             iv->p);
            else if (iv)
                rex_buf_addf(b, " %.4f [%.4f, %.4f] |", iv->value, iv->low, iv->high);
        }
        rex_buf_addf(b, "\n");
    }
}

static rex_status eval_table(rex_trial *t, const rex_trial *vs, rex_arena *a, rex_buf *b,
                             rex_err *e) {
    rex_passk p, d;
    rex_interval avg;
    REX_TRY(pool_stats(t, vs, a, &p, &d, e));
    REX_TRY(average(t, a, &avg, e));
    rex_buf_addf(
        b,
        "%s%s%zu problems, %zu samples; 95 %% intervals over problems and samples. avg@k, the same "
        "at every k: %.4f [%.4f, %.4f].\n\n",
        t->task ? rex_task_what(t->task)->name : "", t->task ? ": " : "", p.n_prompts, p.n_samples,
        avg.value, avg.low, avg.high);
    passk_rows(&p, b);
    rex_buf_addf(b, "\nSamples to the first correct one: %.2f [%.2f, %.2f] over all problems",
                 p.s2c_all.value, p.s2c_all.low, p.s2c_all.high);
    if (p.solvable)
        rex_buf_addf(b, ", %.2f [%.2f, %.2f] over those that have one", p.s2c_solvable.value,
                     p.s2c_solvable.low, p.s2c_solvable.high);
    rex_buf_addf(b, ".\n");
    if (vs) {
        rex_buf_addf(b, "\nDifference to %s, paired over %zu problems:\n\n", vs->p.path,
                     d.n_prompts);
        passk_rows(&d, b);
    }
    return REX_OK;
}

/* ---- orders and finds -------------------------------------------------------------------- */

static rex_str name_of(const rex_trial *t, size_t g) {
    return rex_records_name(t->p.rec, rex_records_group(t->p.rec, t->p.of[g][0]));
}

/* Places within the group as the file has it: rows that were left out keep theirs. */
static int64_t place_of(const rex_trial *t, size_t g, int32_t i) {
    size_t n = 0;
    const uint32_t *const all =
        rex_records_of(t->p.rec, rex_records_group(t->p.rec, t->p.of[g][0]), &n);
    const uint32_t row = t->p.of[g][i];
    size_t at = 0;
    while (at < n && all[at] != row) at++;
    return (int64_t)at;
}

static void orders(const rex_trial *t, rex_buf *b) {
    for (size_t i = 0; i < t->n_rule; i++)
        for (size_t g = 0; g < t->p.groups; g++) {
            const rex_trial_result *const r = &t->result[i];
            rex_jw w;
            rex_jw_init(&w, b);
            rex_jw_obj(&w);
            rex_jw_key(&w, "prompt_id");
            rex_jw_str(&w, name_of(t, g));
            rex_jw_key(&w, "rule");
            rex_jw_str(&w, r->rule->name);
            rex_jw_key(&w, "order");
            rex_jw_arr(&w);
            for (uint32_t k = 0; k < r->n_order[g]; k++)
                rex_jw_i64(&w, place_of(t, g, r->order[g][k]));
            rex_jw_arr_end(&w);
            rex_jw_key(&w, "n");
            rex_jw_f64(&w, t->size[g]);
            if (t->known) {
                rex_jw_key(&w, "correct");
                rex_jw_f64(&w, t->c[g]);
            }
            if (g >= r->from) {
                rex_jw_key(&w, "s2c");
                rex_jw_f64(&w, r->s2c[g]);
                rex_jw_key(&w, "calls");
                rex_jw_f64(&w, r->calls[g]);
            }
            rex_jw_obj_end(&w);
            rex_buf_add(b, "\n", 1);
        }
}

static void found_line(const rex_trial *t, size_t g, uint32_t row, double samples, double calls,
                       bool json, rex_buf *b) {
    const rex_str name = name_of(t, g);
    const bool any = row != UINT32_MAX;
    const rex_str text = any ? rex_trial_response(t, row) : (rex_str){NULL, 0};
    const rex_str said = any ? rex_trial_extracted(t, row) : (rex_str){NULL, 0};
    if (!json) {
        if (any)
            rex_buf_addf(b, "%.*s: correct after %.0f verifier calls\n%.*s\n\n", (int)name.n,
                         name.p, calls, (int)text.n, text.p ? text.p : "");
        else
            rex_buf_addf(b, "%.*s: none found in %.0f verifier calls\n\n", (int)name.n, name.p,
                         calls);
        return;
    }
    rex_jw w;
    rex_jw_init(&w, b);
    rex_jw_obj(&w);
    rex_jw_key(&w, "prompt_id");
    rex_jw_str(&w, name);
    rex_jw_key(&w, "correct");
    rex_jw_bool(&w, any);
    rex_jw_key(&w, "sample");
    const double sample = any ? rex_records_num(t->p.rec, REX_FI_SAMPLE)[row] : (double)NAN;
    if (isnan(sample)) rex_jw_null(&w);
    else rex_jw_f64(&w, sample);
    rex_jw_key(&w, "text");
    if (text.p) rex_jw_str(&w, text);
    else rex_jw_null(&w);
    rex_jw_key(&w, "extracted");
    if (said.p) rex_jw_str(&w, said);
    else rex_jw_null(&w);
    rex_jw_key(&w, "samples");
    if (samples > 0.0) rex_jw_f64(&w, samples);
    else rex_jw_null(&w);
    rex_jw_key(&w, "calls");
    rex_jw_f64(&w, calls);
    rex_jw_obj_end(&w);
    rex_buf_add(b, "\n", 1);
}

/* One rule; what was not found took every outcome's call. */
static void finds(const rex_trial *t, bool json, rex_buf *b) {
    const rex_trial_spent *const s = t->spent;
    for (size_t g = 0; s && g < t->p.groups; g++)
        found_line(t, g, s->found[g], 0.0, (double)s->spent[g], json, b);
    if (s && !json) {
        rex_buf_addf(b, "%zu of %zu problems solved with %lld of %lld verifier calls", s->solved,
                     t->p.groups, (long long)s->used, (long long)s->calls);
        if (s->round_robin != SIZE_MAX)
            rex_buf_addf(b, "; dealt in turns they would have solved %zu", s->round_robin);
        rex_buf_addf(b, "\n");
    }
    if (s) return;
    const rex_trial_result *const r = &t->result[0];
    for (size_t g = 0; g < t->p.groups; g++) {
        const bool any = r->found[g] != UINT32_MAX;
        found_line(t, g, r->found[g], any ? r->s2c[g] : 0.0, r->calls[g] - (any ? 0.0 : 1.0), json,
                   b);
    }
}

/* ---- the pool with its verdicts ---------------------------------------------------------- */

static rex_status save_rows(rex_trial *t, rex_lines *l, rex_out *out, rex_arena *a, rex_err *e) {
    size_t row = 0;
    for (bool more = true; row < t->p.n;) {
        rex_str line, text;
        int64_t no = 0;
        REX_TRY(rex_lines_next(l, &line, &no, &more, e));
        if (!more) return REX_OK;
        if (no != rex_records_line(t->p.rec, row)) continue;
        const rex_mark was = rex_arena_mark(a);
        const rex_judged *const j = &t->p.judged[row];
        rex_str kept;
        REX_TRY(rex_str_copy(a, line, &kept, e));
        if (j->verdict == REX_VERDICT_COUNT) {
            rex_out_add(out, line.p, line.n);
            rex_out_add(out, "\n", 1);
        } else {
            rex_sample s;
            REX_TRY(rex_sample_parse(a, kept, no, t->o.map, &s, e));
            s.has |= REX_F(VERDICT) | REX_F(REASON) | REX_F(REWARD);
            s.verdict = rex_str_of(rex_verdict_name(j->verdict));
            s.reason = j->reason;
            s.reward = j->reward;
            const rex_str said = rex_trial_extracted(t, row);
            s.has = said.p ? s.has | REX_F(EXTRACTED) : s.has & ~REX_F(EXTRACTED);
            s.extracted = said;
            REX_TRY(rex_sample_line(a, &s, &text, e));
            rex_out_add(out, text.p, text.n);
        }
        rex_arena_back(a, was);
        row++;
    }
    return REX_OK;
}

rex_status rex_trial_save(rex_trial *t, const char *path, rex_err *e) {
    rex_lines *l = NULL;
    rex_out *out = NULL;
    rex_arena *a = NULL;
    rex_status s = rex_arena_open(0, &a, e);
    if (s == REX_OK) s = rex_lines_open(t->p.path, &l, e);
    if (s == REX_OK) s = rex_out_open(path, &out, e);
    if (s == REX_OK) s = save_rows(t, l, out, a, e);
    rex_lines_close(l);
    if (s == REX_OK) {
        s = rex_out_commit(out, e);
        out = NULL;
    }
    rex_out_close(out);
    rex_arena_close(a);
    return s;
}

/* ---- one door ---------------------------------------------------------------------------- */

rex_status rex_trial_text(rex_trial *t, rex_trial_form form, const rex_trial *vs, rex_arena *a,
                          rex_str *out, rex_err *e) {
    rex_buf b;
    rex_status s = REX_OK;
    rex_buf_init(&b, 0);
    rex_assert(t->result || t->spent || form == REX_TRIAL_EVAL || form == REX_TRIAL_EVAL_TABLE);
    switch (form) {
    case REX_TRIAL_JSON: s = explore_json(t, a, &b, e); break;
    case REX_TRIAL_EVAL: s = eval_json(t, vs, a, &b, e); break;
    case REX_TRIAL_TABLE: s = explore_table(t, a, &b, e); break;
    case REX_TRIAL_EVAL_TABLE: s = eval_table(t, vs, a, &b, e); break;
    case REX_TRIAL_ORDERS: orders(t, &b); break;
    case REX_TRIAL_FOUND: finds(t, true, &b); break;
    case REX_TRIAL_FOUND_TEXT: finds(t, false, &b); break;
    }
    if (s == REX_OK && (form == REX_TRIAL_JSON || form == REX_TRIAL_EVAL)) rex_buf_add(&b, "\n", 1);
    if (s == REX_OK) s = rex_buf_check(&b, e);
    if (s == REX_OK) s = rex_str_copy(a, (rex_str){b.p ? b.p : "", b.n}, out, e);
    rex_buf_free(&b);
    return s;
}
