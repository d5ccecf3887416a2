/* SPDX-License-Identifier: MIT
 *
 * walk: down the orders to the first correct sample. A chain is one order: (rule, group, first
 * pick). It goes as far as verdicts are known and waits at the first row without one; what all
 * chains wait for is verified together, then they go on. Where everything is known that is one
 * round. Chains share nothing but the pool, so they run side by side; results are gathered in
 * order.
 */
#include "trial.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    size_t result, group;
    int64_t variant, first; /* first pick by index within the group, -1: the rule's own */
    rex_arena *a;           /* while it is on its way */
    rex_select *s;
    int32_t *place;         /* what was met, in order */
    int64_t at;             /* how many */
    bool waits;             /* the last one has no verdict yet */
    int64_t found;          /* 1-based place of the first correct one; 0: none */
    uint32_t row;           /* its row */
    int64_t calls;
    bool done;
} chain;

typedef struct {
    rex_trial *t;
    rex_trial_result *result;
    chain *c;
    size_t n, *active, n_active;
    struct failure {
        rex_status st;
        size_t at;
        rex_err err;
    } *bad; /* per worker: of the first chain that failed */
} walk;

/* ---- features and orders ------------------------------------------------------------------------
 */

rex_status rex_trial_project(rex_trial *t, const rex_trial_rule *r, rex_err *e) {
    const int64_t dim = r->o.proj_dim;
    if (!rex_select_uses_rows(&r->o)) return REX_OK;
    if (!t->p.m.p)
        return rex_fail(e, REX_EARG, -1, "rule %.*s needs --features FILE", (int)r->name.n,
                        r->name.p);
    if (!r->project || dim <= 0 || t->p.m.cols <= dim) return REX_OK;
    for (size_t i = 0; i < t->n_proj; i++)
        if (t->proj[i].dim == dim && t->proj[i].kind == r->proj) return REX_OK;
    if (t->n_proj == sizeof t->proj / sizeof *t->proj)
        return rex_fail(e, REX_EARG, -1, "more than %zu different projections", t->n_proj);
    float *const v = rex_mem_take((size_t)t->p.m.rows, (size_t)dim * sizeof *v, e);
    if (!v) return REX_ENOMEM;
    t->proj[t->n_proj].dim = dim;
    t->proj[t->n_proj].kind = r->proj;
    t->proj[t->n_proj++].v = v;
    rex_project *p = NULL;
    REX_TRY(rex_project_open(r->proj, t->o.seed, t->p.m.cols, dim, &p, e));
    const rex_status s = rex_project_apply(p, &t->p.m, t->workers, v, e);
    rex_project_close(p);
    return s;
}

static rex_matrix features_of(const rex_trial *t, const rex_trial_rule *r) {
    if (!rex_select_uses_rows(&r->o)) return (rex_matrix){0};
    for (size_t i = 0; r->project && i < t->n_proj; i++)
        if (t->proj[i].dim == r->o.proj_dim && t->proj[i].kind == r->proj &&
            t->p.m.cols > r->o.proj_dim)
            return (rex_matrix){t->proj[i].v, t->p.m.rows, t->proj[i].dim, REX_ELEM_F32};
    return t->p.m;
}

rex_status rex_trial_order(const rex_trial *t, size_t group, const rex_trial_rule *r, uint64_t seed,
                           int64_t first, rex_arena *a, rex_select **out, rex_err *e) {
    const size_t n = t->p.count[group], from = rex_records_group(t->p.rec, t->p.of[group][0]);
    rex_select_opts o = r->o;
    double *l = NULL;
    int64_t *label = NULL;
    o.seed = seed;
    if (first >= 0) {
        o.first = REX_FIRST_INDEX;
        o.first_index = first;
    }
    if (o.first == REX_FIRST_INDEX && o.first_index >= (int64_t)n) {
        const rex_str name = rex_records_name(t->p.rec, from);
        return rex_fail(e, REX_ELIMIT, -1, "rule %.*s: prompt %.*s has %zu samples", (int)r->name.n,
                        r->name.p, (int)(name.n < 100 ? name.n : 100), name.p, n);
    }
    int64_t *const row = rex_arena_take(a, n, sizeof *row, e);
    if (!row) return REX_ENOMEM;
    for (size_t i = 0; i < n; i++) row[i] = t->p.of[group][i];
    REX_TRY(rex_trial_likelihoods(t, group, r, a, &l, e));
    REX_TRY(rex_trial_labels(t, group, o.outcome, a, &label, e));
    const rex_select_rows rows = {.size = sizeof rows,
                                  .m = features_of(t, r),
                                  .row = row,
                                  .n = (int64_t)n,
                                  .l = l,
                                  .outcome = label};
    REX_TRY(rex_select_open(&o, rex_records_hash(t->p.rec, from), NULL, out, e));
    return rex_select_add(*out, &rows, e);
}

/* ---- one chain --------------------------------------------------------------------------- */

static int by_number(const void *x, const void *y) {
    const int64_t a = *(const int64_t *)x, b = *(const int64_t *)y;
    return (a > b) - (a < b);
}

/* The distinct keys among these places. */
static rex_status count_calls(const rex_trial *t, const chain *c, int64_t n, int64_t *out,
                              rex_err *e) {
    int64_t *const key = rex_arena_take(c->a, (size_t)n + 1, sizeof *key, e);
    if (!key) return REX_ENOMEM;
    for (int64_t i = 0; i < n; i++) key[i] = t->p.key[t->p.of[c->group][c->place[i]]];
    qsort(key, (size_t)n, sizeof *key, by_number);
    *out = 0;
    for (int64_t i = 0; i < n; i++) *out += i == 0 || key[i] != key[i - 1];
    return REX_OK;
}

/* What the chain says once it has ended; the beginning of the first one is kept for pictures. */
static rex_status settle(walk *w, chain *c, rex_err *e) {
    const rex_trial *const t = w->t;
    const size_t n = t->p.count[c->group];
    rex_trial_result *const r = &w->result[c->result];
    REX_TRY(count_calls(t, c, c->found ? c->found : c->at, &c->calls, e));
    if (!c->found) c->calls++;
    if (c->variant != 0) return REX_OK;
    r->found[c->group] = c->found ? c->row : UINT32_MAX;
    const int64_t show = n < REX_TRIAL_SHOWN ? (int64_t)n : REX_TRIAL_SHOWN;
    int64_t next = 0;
    for (; c->at < show; c->at++) {
        REX_TRY(rex_select_next(c->s, 1, &next, NULL, e));
        c->place[c->at] = (int32_t)next;
    }
    r->n_order[c->group] = (uint32_t)show;
    memcpy(r->order[c->group], c->place, (size_t)show * sizeof(int32_t));
    return REX_OK;
}

static rex_status go_on(walk *w, chain *c, rex_err *e) {
    const rex_trial *const t = w->t;
    const rex_trial_rule *const r =
        w->result[c->result].chosen ? w->result[c->result].chosen : w->result[c->result].rule;
    const int64_t n = (int64_t)t->p.count[c->group];
    if (!c->a) {
        REX_TRY(rex_arena_open(0, &c->a, e));
        c->place = rex_arena_take(c->a, (size_t)n + 1, sizeof *c->place, e);
        if (!c->place) return REX_ENOMEM;
        REX_TRY(rex_trial_order(t, c->group, r,
                                t->o.seed + (uint64_t)(c->first < 0 ? c->variant : 0), c->first,
                                c->a, &c->s, e));
    }
    while (c->found == 0) {
        if (!c->waits) {
            if (c->at == n) break;
            int64_t next = 0;
            REX_TRY(rex_select_next(c->s, 1, &next, NULL, e));
            c->place[c->at++] = (int32_t)next;
        }
        const uint32_t row = t->p.of[c->group][c->place[c->at - 1]];
        const rex_row_state s = rex_trial_state(t, row);
        c->waits = s == REX_ROW_UNKNOWN;
        if (c->waits) return REX_OK;
        if (s != REX_ROW_RIGHT) continue;
        c->found = c->at;
        c->row = row;
    }
    c->done = true;
    return settle(w, c, e);
}

static void drop(chain *c) {
    rex_select_close(c->s);
    rex_arena_close(c->a);
    c->s = NULL;
    c->a = NULL;
    c->place = NULL;
}

static void one_chain(void *ud, size_t item, int worker) {
    walk *const w = ud;
    struct failure *const bad = &w->bad[worker];
    chain *const c = &w->c[w->active[item]];
    if (rex_cancelled()) return;
    rex_err err;
    const rex_status s = go_on(w, c, &err);
    if (s != REX_OK && (bad->st == REX_OK || w->active[item] < bad->at)) {
        bad->st = s;
        bad->at = w->active[item];
        bad->err = err;
    }
    if (s != REX_OK || c->done) drop(c);
}

/* ---- rounds ------------------------------------------------------------------------------ */

static rex_status first_failure(const walk *w, rex_err *e) {
    const struct failure *first = NULL;
    for (int i = 0; i < rex_pool_size(w->t->workers); i++)
        if (w->bad[i].st != REX_OK && (!first || w->bad[i].at < first->at)) first = &w->bad[i];
    if (!first) return REX_OK;
    if (e) *e = first->err;
    return first->st;
}

/* The rows that chains wait for, each once, and only one of a key. */
static rex_status judge_waiting(walk *w, rex_err *e) {
    rex_trial *const t = w->t;
    uint32_t *const row = rex_mem_take(w->n_active + 1, sizeof *row, e);
    bool *const asked = row ? rex_mem_take(t->p.n_key + 1, sizeof *asked, e) : NULL;
    size_t n = 0;
    for (size_t i = 0; asked && i < w->n_active; i++) {
        const chain *const c = &w->c[w->active[i]];
        if (!c->waits) continue;
        const uint32_t at = t->p.of[c->group][c->place[c->at - 1]];
        if (asked[t->p.key[at]]) continue;
        asked[t->p.key[at]] = true;
        row[n++] = at;
    }
    const rex_status s = asked ? rex_trial_judge(t, row, n, e) : REX_ENOMEM;
    rex_mem_free(row);
    rex_mem_free(asked);
    return s;
}

static rex_status rounds(walk *w, rex_err *e) {
    while (w->n_active > 0) {
        rex_pool_run(w->t->workers, w->n_active, one_chain, w);
        REX_TRY(first_failure(w, e));
        if (rex_cancelled())
            return rex_fail(e, REX_ECANCEL, -1, "stopped while going down the orders");
        size_t left = 0;
        for (size_t i = 0; i < w->n_active; i++)
            if (!w->c[w->active[i]].done) w->active[left++] = w->active[i];
        w->n_active = left;
        if (left > 0) REX_TRY(judge_waiting(w, e));
    }
    return REX_OK;
}

/* ---- which chains ------------------------------------------------------------------------ */

/* The first of each outcome of a group, its representatives: what --exact begins with. */
static rex_status representatives(const rex_trial *t, size_t group, const rex_trial_rule *r,
                                  rex_arena *a, int64_t **rep, size_t *n, rex_err *e) {
    int64_t *label = NULL;
    REX_TRY(rex_trial_labels(t, group, r->o.outcome, a, &label, e));
    *n = t->p.count[group];
    *rep = rex_arena_take(a, *n, sizeof **rep, e);
    if (!*rep) return REX_ENOMEM;
    if (label) {
        int64_t *const sorted = rex_arena_take(a, *n, sizeof *sorted, e);
        if (!sorted) return REX_ENOMEM;
        memcpy(sorted, label, *n * sizeof *sorted);
        qsort(sorted, *n, sizeof *sorted, by_number);
        size_t distinct = 0;
        for (size_t i = 0; i < *n; i++) distinct += i == 0 || sorted[i] != sorted[i - 1];
        rex_trial_rule plain = *r;
        plain.o.rule = REX_SELECT_RANDOM;
        rex_select *s = NULL;
        rex_status st = rex_trial_order(t, group, &plain, 0, -1, a, &s, e);
        if (st == REX_OK) st = rex_select_next(s, (int64_t)distinct, *rep, NULL, e);
        rex_select_close(s);
        *n = distinct;
        if (st == REX_OK) qsort(*rep, *n, sizeof **rep, by_number);
        return st;
    }
    for (size_t i = 0; i < *n; i++) (*rep)[i] = (int64_t)i;
    return REX_OK;
}

static bool varies(const rex_trial_rule *r) {
    return r->o.rule == REX_SELECT_RANDOM || r->o.first == REX_FIRST_RANDOM;
}

static rex_status add_chains(walk *w, size_t result, size_t g, rex_arena *a, rex_err *e) {
    const rex_trial *const t = w->t;
    rex_trial_result *const res = &w->result[result];
    const rex_trial_rule *const r = res->chosen ? res->chosen : res->rule;
    const rex_mark was = rex_arena_mark(a);
    size_t n = varies(r) && !t->o.until ? (size_t)t->o.trials : 1;
    int64_t *rep = NULL;
    if (t->o.exact && !t->o.until && varies(r) && r->o.rule != REX_SELECT_RANDOM)
        REX_TRY(representatives(t, g, r, a, &rep, &n, e));
    for (size_t v = 0; v < n; v++, w->n++)
        if (w->c)
            w->c[w->n] = (chain){.result = result, .group = g, .variant = (int64_t)v,
                                 .first = rep ? rep[v] : -1};
    if (n > res->variants) res->variants = n;
    res->why = rep ? "every first pick" : n > 1 ? "seeded orders" : "one order";
    rex_arena_back(a, was);
    return REX_OK;
}

/* Means over the chains of a rule and a group. */
static rex_status gather(const walk *w, size_t g0, size_t g1, size_t n, rex_err *e) {
    const rex_trial *const t = w->t;
    size_t *const times = rex_mem_take(n * t->p.groups + 1, sizeof *times, e);
    if (!times) return REX_ENOMEM;
    for (size_t i = 0; i < w->n; i++) times[w->c[i].result * t->p.groups + w->c[i].group]++;
    for (size_t r = 0; r < n; r++)
        for (size_t g = g0; g < g1; g++) {
            w->result[r].s2c[g] = w->result[r].calls[g] = 0.0;
            for (size_t j = 0; j < t->n_k; j++) w->result[r].pass[g * t->n_k + j] = 0.0;
        }
    for (size_t i = 0; i < w->n; i++) {
        const chain *const c = &w->c[i];
        rex_trial_result *const r = &w->result[c->result];
        const double rows = (double)t->p.count[c->group];
        r->s2c[c->group] += c->found ? (double)c->found : rows + 1.0;
        r->calls[c->group] += (double)c->calls;
        for (size_t j = 0; j < t->n_k; j++)
            r->pass[c->group * t->n_k + j] += c->found > 0 && c->found <= t->k[j] ? 1.0 : 0.0;
    }
    for (size_t r = 0; r < n; r++)
        for (size_t g = g0; g < g1; g++) {
            const double by = (double)times[r * t->p.groups + g];
            w->result[r].s2c[g] /= by;
            w->result[r].calls[g] /= by;
            for (size_t j = 0; j < t->n_k; j++) w->result[r].pass[g * t->n_k + j] /= by;
        }
    rex_mem_free(times);
    return REX_OK;
}

static rex_status open_walk(walk *w, size_t n, size_t g0, size_t g1, rex_arena *a, rex_err *e) {
    for (size_t r = 0; r < n; r++)
        REX_TRY(rex_trial_project(
            w->t, w->result[r].chosen ? w->result[r].chosen : w->result[r].rule, e));
    for (int pass = 0; pass < 2; pass++) { /* first they are counted */
        w->n = 0;
        for (size_t r = 0; r < n; r++)
            for (size_t g = g0; g < g1; g++) REX_TRY(add_chains(w, r, g, a, e));
        if (pass == 0) w->c = rex_mem_take(w->n + 1, sizeof *w->c, e);
        if (!w->c) return REX_ENOMEM;
    }
    w->active = rex_mem_take(w->n + 1, sizeof *w->active, e);
    w->bad =
        w->active ? rex_mem_take((size_t)rex_pool_size(w->t->workers), sizeof *w->bad, e) : NULL;
    if (!w->bad) return REX_ENOMEM;
    for (size_t i = 0; i < w->n; i++) w->active[w->n_active++] = i;
    return REX_OK;
}

rex_status rex_trial_walk(rex_trial *t, rex_trial_result *r, size_t n, size_t g0, size_t g1,
                          rex_err *e) {
    walk w = {.t = t, .result = r};
    rex_arena *a = NULL;
    if (n == 0 || g0 == g1) return REX_OK;
    REX_TRY(rex_arena_open(0, &a, e));
    rex_status s = open_walk(&w, n, g0, g1, a, e);
    if (s == REX_OK) s = rounds(&w, e);
    if (s == REX_OK) s = gather(&w, g0, g1, n, e);
    for (size_t i = 0; w.c && i < w.n; i++) drop(&w.c[i]);
    rex_mem_free(w.c);
    rex_mem_free(w.active);
    rex_mem_free(w.bad);
    rex_arena_close(a);
    return s;
}

rex_status rex_trial_result_open(rex_trial *t, const rex_trial_rule *rule, rex_trial_result *r,
                                 rex_err *e) {
    const size_t n = t->p.groups;
    *r = (rex_trial_result){.rule = rule};
    r->s2c = rex_arena_zero(t->a, n, sizeof *r->s2c, e);
    r->calls = rex_arena_zero(t->a, n, sizeof *r->calls, e);
    r->pass = rex_arena_zero(t->a, n * (t->n_k + 1), sizeof *r->pass, e);
    r->found = rex_arena_take(t->a, n, sizeof *r->found, e);
    r->order = rex_arena_take(t->a, n, sizeof *r->order, e);
    r->n_order = rex_arena_zero(t->a, n, sizeof *r->n_order, e);
    if (!r->s2c || !r->calls || !r->pass || !r->found || !r->order || !r->n_order)
        return REX_ENOMEM;
    for (size_t g = 0; g < n; g++) {
        r->found[g] = UINT32_MAX;
        r->order[g] = rex_arena_take(t->a, REX_TRIAL_SHOWN, sizeof **r->order, e);
        if (!r->order[g]) return REX_ENOMEM;
    }
    return REX_OK;
}
