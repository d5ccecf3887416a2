/* SPDX-License-Identifier: MIT
 *
 * budget: a number of verifier calls dealt to the problems where the next one is most likely to
 * succeed. The outcomes of a problem are met in the order of its rule. After r wrong ones a problem
 * whose chance per call is drawn from a beta law succeeds next with a chance in proportion to 1 /
 * (r + c): a problem that has failed often is a hard one. The share m of the next outcome in the
 * mass of the pool speaks for it, but less than in proportion (sure models are wrong, too): the
 * index is m^(1/4) / (r + 4). The largest goes first, equal ones by the order of the pool.
 */
#include "trial.h"

#include <math.h>
#include <string.h>

typedef struct {
    uint32_t *row;   /* one row per key, in the order of the rule */
    double *share;   /* its share of the mass */
    size_t n, at;
    bool closed;
} queue;

/* The keys of a group as the rule's order meets them, with their shares of mass (sharpness 4 on the
 * mean likelihood where every row has one, else counts). */
static rex_status open_queue(rex_trial *t, const rex_trial_rule *r, size_t g, queue *q,
                             rex_err *e) {
    const size_t n = t->p.count[g];
    rex_select *s = NULL;
    rex_arena *a = NULL;
    double *l = NULL;
    rex_trial_rule mean = *r;
    mean.o.rule = REX_SELECT_RANDOM; /* asks for l without insisting */
    mean.o.likelihood = REX_LOGLIK_MEAN;
    *q = (queue){.n = 0};
    q->row = rex_arena_take(t->a, n + 1, sizeof *q->row, e);
    q->share = rex_arena_zero(t->a, n + 1, sizeof *q->share, e);
    if (!q->row || !q->share) return REX_ENOMEM;
    REX_TRY(rex_arena_open(0, &a, e));
    int64_t *const order = rex_arena_take(a, n + 1, sizeof *order, e);
    rex_status st = order ? rex_trial_order(t, g, r, t->o.seed, -1, a, &s, e) : REX_ENOMEM;
    if (st == REX_OK) st = rex_select_next(s, (int64_t)n, order, NULL, e);
    if (st == REX_OK) st = rex_trial_likelihoods(t, g, &mean, a, &l, e);
    double top = -INFINITY, sum = 0.0;
    for (size_t i = 0; st == REX_OK && l && i < n; i++) top = fmax(top, 4.0 * l[i]);
    for (size_t i = 0; st == REX_OK && i < n; i++) {
        const uint32_t row = t->p.of[g][order[i]];
        size_t k = 0;
        while (k < q->n && t->p.key[q->row[k]] != t->p.key[row]) k++;
        if (k == q->n) q->row[q->n++] = row;
        const double mass = l ? rex_exp(4.0 * l[order[i]] - top) : 1.0;
        q->share[k] += mass;
        sum += mass;
    }
    for (size_t k = 0; k < q->n; k++) q->share[k] /= sum;
    rex_select_close(s);
    rex_arena_close(a);
    return st;
}

/* Not a probability, but in the order of one; below 0: nothing is left. */
static double chance(const queue *q) {
    if (q->closed || q->at == q->n) return -1.0;
    return sqrt(sqrt(q->share[q->at])) / ((double)q->at + 4.0);
}

static rex_status one_call(rex_trial *t, queue *q, size_t g, rex_err *e) {
    const uint32_t row = q->row[q->at];
    if (rex_trial_state(t, row) == REX_ROW_UNKNOWN) REX_TRY(rex_trial_judge(t, &row, 1, e));
    t->spent->used++;
    t->spent->spent[g]++;
    if (rex_trial_state(t, row) == REX_ROW_RIGHT) {
        t->spent->found[g] = row;
        t->spent->solved++;
        q->closed = true;
        return REX_OK;
    }
    q->at++;
    return REX_OK;
}

/* How many would be solved if the calls were dealt in turns; only where every verdict is known. */
static size_t in_turns(const rex_trial *t, const queue *q, int64_t calls) {
    size_t solved = 0;
    bool any = true;
    for (size_t round = 0; any && calls > 0; round++) {
        any = false;
        for (size_t g = 0; g < t->p.groups && calls > 0; g++) {
            bool before = false;
            for (size_t i = 0; i < round && i < q[g].n; i++)
                before = before || rex_trial_state(t, q[g].row[i]) == REX_ROW_RIGHT;
            if (before || round >= q[g].n) continue;
            any = true;
            calls--;
            solved += rex_trial_state(t, q[g].row[round]) == REX_ROW_RIGHT;
        }
    }
    return solved;
}

rex_status rex_trial_budget(rex_trial *t, int64_t calls, rex_err *e) {
    const size_t n = t->p.groups;
    if (t->n_rule != 1 || t->rule[0].learned)
        return rex_fail(e, REX_EARG, -1, "a budget is spent down the order of one rule");
    if (calls < 1) return rex_fail(e, REX_EARG, -1, "a budget is one call or more");
    REX_TRY(rex_trial_project(t, &t->rule[0], e));
    queue *const q = rex_arena_zero(t->a, n, sizeof *q, e);
    rex_trial_spent *const s = rex_arena_zero(t->a, 1, sizeof *s, e);
    if (!q || !s) return REX_ENOMEM;
    s->calls = calls;
    s->spent = rex_arena_zero(t->a, n, sizeof *s->spent, e);
    s->found = rex_arena_take(t->a, n, sizeof *s->found, e);
    if (!s->spent || !s->found) return REX_ENOMEM;
    t->spent = s;
    for (size_t g = 0; g < n; g++) {
        s->found[g] = UINT32_MAX;
        REX_TRY(open_queue(t, &t->rule[0], g, &q[g], e));
    }
    while (s->used < calls) {
        size_t best = 0;
        if (rex_cancelled())
            return rex_fail(e, REX_ECANCEL, -1, "stopped while spending the budget");
        for (size_t g = 1; g < n; g++)
            if (chance(&q[g]) > chance(&q[best])) best = g;
        if (chance(&q[best]) < 0.0) break;
        REX_TRY(one_call(t, &q[best], best, e));
    }
    t->known = true;
    for (size_t i = 0; i < t->p.n_key; i++)
        t->known = t->known && t->p.served[i] != REX_ROW_UNKNOWN;
    for (size_t g = 0; g < n; g++) s->closed += q[g].closed || q[g].at == q[g].n;
    s->round_robin = t->known ? in_turns(t, q, calls) : SIZE_MAX;
    return REX_OK;
}
