/* SPDX-License-Identifier: MIT
 *
 * select: an order of a pool by one of the rules of REX_SELECTS. One shape for all of them:
 * outcomes get a representative each; the representatives are ordered by the rule (greedily by
 * greedy.c, or by a fixed number); then come all other rows by l. Rows verified before (a start
 * set, or picks made before more rows came) enter the rule's state first, and their outcomes count
 * as done.
 *
 * Invariant: `taken` holds every row that was given out or started with, in that order, and is all
 * that the state depends on besides the rows: the rest is built from it when the first place is
 * asked for, and again after rows came.
 */
#include "explore.h"

#include <math.h>
#include <string.h>

struct rex_select {
    rex_select_opts o;
    rex_key key;
    uint64_t id;
    rex_pool *workers;
    rex_greedy_tune tune;
    bool tuned;

    rex_select_rows *part; /* owned list of borrowed rows */
    size_t n_part, part_room;
    int64_t n;
    int64_t *taken; /* taken_room */
    bool *is_taken;
    int64_t n_taken, room;

    /* built from the above */
    bool built;
    rex_arena *arena;
    rex_feat feat;
    rex_outcomes outcomes;
    const double *l; /* NULL: not every row has one */
    rex_greedy *greedy;
    double *weight;
    int64_t *rep, n_rep, next_rep; /* what waits under the rule; for greedy rules in row order */
    int64_t *rest, n_rest, next_rest;
    bool rule_done; /* a greedy rule has no candidate left */
};

static const char *const names[] = {
#define X(NAME, name, center, unit, lambda, proj_dim, first, outcome, likelihood) #name,
    REX_SELECTS(X)
#undef X
};

const char *rex_select_name(rex_rule rule) {
    rex_assert((int)rule >= 0 && rule < REX_SELECT_COUNT);
    return names[rule];
}

void rex_select_defaults(rex_rule rule, rex_select_opts *o) {
    static const rex_select_opts all[] = {
#define X(NAME, name, center_, unit_, lambda_, proj_dim_, first_, outcome_, likelihood_)     \
    {.size = sizeof(rex_select_opts), .rule = REX_SELECT_##NAME, .center = center_,          \
     .unit = unit_, .lambda = lambda_, .proj_dim = proj_dim_, .first = REX_FIRST_##first_,   \
     .outcome = REX_OUTCOME_##outcome_, .likelihood = REX_LOGLIK_##likelihood_,              \
     .sharpness = 4.0, .alpha = 1.0},
        REX_SELECTS(X)
#undef X
    };
    rex_assert((int)rule >= 0 && rule < REX_SELECT_COUNT);
    *o = all[rule];
}

static bool is_greedy(rex_rule r) {
    return r == REX_SELECT_ELLIPTICAL || r == REX_SELECT_QUALITY || r == REX_SELECT_FARTHEST ||
           r == REX_SELECT_DPP;
}

bool rex_select_uses_rows(const rex_select_opts *o) {
    return is_greedy(o->rule) || o->first == REX_FIRST_NORM;
}

bool rex_select_uses_l(const rex_select_opts *o) {
    switch (o->rule) {
    case REX_SELECT_LIKELIHOOD: return true;
    case REX_SELECT_VOTES: return o->sharpness != 0.0;
    case REX_SELECT_QUALITY:
    case REX_SELECT_DPP: return o->sharpness != 0.0 && o->alpha != 0.0;
    default: return false;
    }
}

/* ---- life -------------------------------------------------------------------------------- */

rex_status rex_select_open(const rex_select_opts *o, uint64_t id, rex_pool *workers,
                           rex_select **out, rex_err *e) {
    if (o->size != sizeof *o)
        return rex_fail(e, REX_EARG, -1, "selection: options were not filled by their defaults");
    if ((int)o->rule < 0 || o->rule >= REX_SELECT_COUNT)
        return rex_fail(e, REX_EARG, -1, "selection: there is no rule %d", (int)o->rule);
    if (!(o->lambda > 0.0) || !(o->lambda <= 1e300))
        return rex_fail(e, REX_EARG, -1, "lambda must be greater than 0, not %g", o->lambda);
    if (!isfinite(o->sharpness) || !isfinite(o->alpha))
        return rex_fail(e, REX_EARG, -1, "selection: sharpness and alpha must be finite");
    rex_select *const s = rex_mem_take(1, sizeof *s, e);
    if (!s) return REX_ENOMEM;
    s->o = *o;
    s->key = rex_key_make(o->seed);
    s->id = id;
    s->workers = workers;
    *out = s;
    return REX_OK;
}

void rex_select_close(rex_select *s) {
    if (!s) return;
    rex_greedy_close(s->greedy);
    rex_arena_close(s->arena);
    rex_mem_free(s->part);
    rex_mem_free(s->taken);
    rex_mem_free(s->is_taken);
    rex_mem_free(s);
}

void rex_select_tune(rex_select *s, const rex_greedy_tune *tune) {
    s->tune = *tune;
    s->tuned = true;
}

static rex_status grow(void **p, size_t have, size_t want, size_t size, rex_err *e) {
    void *const more = rex_mem_take(want, size, e);
    if (!more) return REX_ENOMEM;
    if (*p) memcpy(more, *p, have * size);
    rex_mem_free(*p);
    *p = more;
    return REX_OK;
}

rex_status rex_select_add(rex_select *s, const rex_select_rows *rows, rex_err *e) {
    if (rows->size != sizeof *rows || rows->n < 0)
        return rex_fail(e, REX_EARG, -1, "selection: rows without size");
    if (rex_select_uses_rows(&s->o) && (!rows->m.p || rows->m.cols <= 0))
        return rex_fail(e, REX_EARG, -1, "selection: %s needs features", names[s->o.rule]);
    if (rows->m.p && !rows->row && rows->n > rows->m.rows)
        return rex_fail(e, REX_EARG, -1, "selection: %lld rows of %lld", (long long)rows->n,
                        (long long)rows->m.rows);
    if (rex_select_uses_l(&s->o) && !rows->l)
        return rex_fail(e, REX_EARG, -1, "selection: %s needs a likelihood for every row",
                        names[s->o.rule]);
    for (int64_t i = 0; rows->l && i < rows->n; i++)
        if (!isfinite(rows->l[i]))
            return rex_fail(e, REX_ENAN, i, "selection: the likelihood of row %lld is not finite",
                            (long long)(s->n + i));
    if (rows->n >= INT32_MAX - s->n)
        return rex_fail(e, REX_ELIMIT, -1, "selection: a pool of 2^31 rows or more");
    if (s->n_part == s->part_room) {
        const size_t room = s->part_room ? 2 * s->part_room : 4;
        void *p = s->part;
        REX_TRY(grow(&p, s->n_part, room, sizeof *s->part, e));
        s->part = p;
        s->part_room = room;
    }
    if (s->n + rows->n > s->room) {
        const int64_t room = s->n + rows->n > 2 * s->room ? s->n + rows->n : 2 * s->room;
        void *p = s->taken, *q = s->is_taken;
        REX_TRY(grow(&p, (size_t)s->n_taken, (size_t)room, sizeof *s->taken, e));
        s->taken = p;
        REX_TRY(grow(&q, (size_t)s->n, (size_t)room, sizeof *s->is_taken, e));
        s->is_taken = q;
        s->room = room;
    }
    s->part[s->n_part++] = *rows;
    s->n += rows->n;
    s->built = false;
    return REX_OK;
}

rex_status rex_select_start(rex_select *s, const int64_t *row, int64_t n, rex_err *e) {
    for (int64_t i = 0; i < n; i++) {
        if (row[i] < 0 || row[i] >= s->n)
            return rex_fail(e, REX_EARG, i, "start: row %lld of a pool of %lld", (long long)row[i],
                            (long long)s->n);
        if (s->is_taken[row[i]])
            return rex_fail(e, REX_EARG, i, "start: row %lld twice", (long long)row[i]);
        s->is_taken[row[i]] = true;
        s->taken[s->n_taken++] = row[i];
    }
    s->built = false;
    return REX_OK;
}

int64_t rex_select_left(const rex_select *s) {
    return s->n - s->n_taken;
}

double rex_select_lambda(const rex_select *s) {
    return s->built && rex_select_uses_rows(&s->o) ? s->feat.lambda : s->o.lambda;
}

/* ---- building ---------------------------------------------------------------------------- */

/* l and labels of all parts in one array each. l counts only where every row has it. */
static rex_status gather(rex_select *s, const double **l, const int64_t **label, rex_err *e) {
    bool have_l = true, have_label = false;
    for (size_t p = 0; p < s->n_part; p++) {
        have_l = have_l && (s->part[p].l || s->part[p].n == 0);
        have_label = have_label || s->part[p].outcome;
    }
    double *const ll = rex_arena_take(s->arena, (size_t)s->n, sizeof *ll, e);
    int64_t *const lab = rex_arena_take(s->arena, (size_t)s->n, sizeof *lab, e);
    if (!ll || !lab) return REX_ENOMEM;
    int64_t own = 0; /* a label that nobody has, for rows without one */
    for (size_t p = 0; p < s->n_part; p++)
        for (int64_t i = 0; s->part[p].outcome && i < s->part[p].n; i++)
            if (s->part[p].outcome[i] >= own) own = s->part[p].outcome[i] + 1;
    for (size_t p = 0, at = 0; p < s->n_part; p++) {
        const rex_select_rows *const r = &s->part[p];
        for (int64_t i = 0; i < r->n; i++, at++) {
            ll[at] = r->l ? r->l[i] : 0.0;
            lab[at] = r->outcome ? r->outcome[i] : own++;
        }
    }
    *l = have_l ? ll : NULL;
    *label = have_label ? lab : NULL;
    return REX_OK;
}

static rex_status open_rows(rex_select *s, rex_err *e) {
    rex_feat_part *const part = rex_arena_take(s->arena, s->n_part, sizeof *part, e);
    if (!part) return REX_ENOMEM;
    for (size_t p = 0; p < s->n_part; p++)
        part[p] = (rex_feat_part){&s->part[p].m, s->part[p].row, s->part[p].n};
    const rex_feat_opts o = {s->o.center, s->o.unit, s->o.lambda_rel, s->o.lambda, NULL};
    REX_TRY(rex_feat_open(s->arena, part, s->n_part, &o, s->workers, &s->feat, e));
    if (!is_greedy(s->o.rule)) return REX_OK;
    if (s->o.rule == REX_SELECT_QUALITY || s->o.rule == REX_SELECT_DPP) {
        s->weight = rex_arena_take(s->arena, (size_t)s->n, sizeof *s->weight, e);
        if (!s->weight) return REX_ENOMEM;
        for (int64_t i = 0; i < s->n; i++) s->weight[i] = s->o.alpha * s->outcomes.mass[i];
    }
    const rex_greedy_kind kind = s->o.rule == REX_SELECT_FARTHEST ? REX_GREEDY_FAR
                                 : s->o.rule == REX_SELECT_DPP    ? REX_GREEDY_DPP
                                                                  : REX_GREEDY_ELLIPSE;
    return rex_greedy_open(&s->feat, kind, s->weight, s->tuned ? &s->tune : NULL, s->workers,
                           &s->greedy, e);
}

/* A first pick by index speaks for its outcome, whoever would otherwise. */
static rex_status first_by_index(rex_select *s, rex_err *e) {
    if (s->o.first != REX_FIRST_INDEX) return REX_OK;
    const int64_t i = s->o.first_index;
    if (i < 0 || i >= s->n)
        return rex_fail(e, REX_EARG, -1, "first pick: row %lld of a pool of %lld", (long long)i,
                        (long long)s->n);
    if (s->is_taken[i]) return REX_OK;
    const int64_t was = s->outcomes.rep[i];
    for (int64_t r = 0; r < s->n; r++)
        if (s->outcomes.rep[r] == was) s->outcomes.rep[r] = i;
    return REX_OK;
}

/* What waits under the rule and what follows, both without what is taken. */
static rex_status split(rex_select *s, rex_err *e) {
    s->rep = rex_arena_take(s->arena, (size_t)s->n, sizeof(int64_t), e);
    s->rest = rex_arena_take(s->arena, (size_t)s->n, sizeof(int64_t), e);
    bool *const done = rex_arena_zero(s->arena, (size_t)s->n, sizeof(bool), e);
    if (!s->rep || !s->rest || !done) return REX_ENOMEM;
    for (int64_t i = 0; i < s->n_taken; i++) done[s->outcomes.rep[s->taken[i]]] = true;
    for (int64_t i = 0; i < s->n; i++) {
        if (s->is_taken[i]) continue;
        if (s->outcomes.rep[i] == i && !done[i])
            s->rep[s->n_rep++] = i;
        else
            s->rest[s->n_rest++] = i;
    }
    return rex_order_falling(s->arena, s->rest, s->n_rest, s->l, e);
}

static rex_status order_fixed(rex_select *s, rex_err *e) {
    if (s->o.rule == REX_SELECT_RANDOM) {
        uint32_t *const perm = rex_arena_take(s->arena, (size_t)s->n, sizeof *perm, e);
        double *const place = rex_arena_take(s->arena, (size_t)s->n, sizeof *place, e);
        if (!perm || !place) return REX_ENOMEM;
        rex_rand_perm(s->key, REX_STREAM_PERM, s->id, perm, (size_t)s->n);
        for (int64_t i = 0; i < s->n; i++) place[perm[i]] = -(double)i;
        return rex_order_falling(s->arena, s->rep, s->n_rep, place, e);
    }
    const double *const key = s->o.rule == REX_SELECT_VOTES ? s->outcomes.mass : s->l;
    return rex_order_falling(s->arena, s->rep, s->n_rep, key, e);
}

static rex_status build(rex_select *s, rex_err *e) {
    rex_greedy_close(s->greedy);
    s->greedy = NULL;
    s->weight = NULL;
    s->n_rep = s->n_rest = s->next_rep = s->next_rest = 0;
    s->rule_done = false;
    rex_arena_close(s->arena);
    s->arena = NULL;
    REX_TRY(rex_arena_open(0, &s->arena, e));
    const int64_t *label = NULL;
    REX_TRY(gather(s, &s->l, &label, e));
    REX_TRY(rex_outcomes_open(s->arena, s->n, s->l, label, s->o.sharpness, &s->outcomes, e));
    REX_TRY(first_by_index(s, e));
    REX_TRY(split(s, e));
    if (rex_select_uses_rows(&s->o)) REX_TRY(open_rows(s, e));
    if (!s->greedy) {
        REX_TRY(order_fixed(s, e));
    } else {
        for (int64_t i = 0; i < s->n_taken; i++)
            REX_TRY(rex_greedy_take(s->greedy, s->taken[i], NULL, e));
        for (int64_t i = 0; i < s->n_rest; i++) rex_greedy_bar(s->greedy, s->rest[i]);
    }
    s->built = true;
    return REX_OK;
}

/* ---- places ------------------------------------------------------------------------------ */

/* The first pick of all where it is not left to the rule: a place in rep, or -1. */
static int64_t first_place(const rex_select *s) {
    if (s->n_rep == 0 || s->next_rep > 0) return -1;
    if (s->o.first == REX_FIRST_INDEX) {
        for (int64_t r = 0; r < s->n_rep; r++)
            if (s->rep[r] == s->o.first_index) return r;
        return -1;
    }
    if (s->n_taken > 0 || s->o.first == REX_FIRST_BEST) return -1;
    if (s->o.first == REX_FIRST_RANDOM) {
        /* the draw is among representatives in row order, whatever order they wait in */
        uint64_t skip = rex_rand_below(s->key, REX_STREAM_FIRST, 0, 0, s->id, (uint64_t)s->n_rep);
        int64_t row = 0;
        for (;; row++)
            if (s->outcomes.rep[row] == row && skip-- == 0) break;
        for (int64_t r = 0; r < s->n_rep; r++)
            if (s->rep[r] == row) return r;
        return -1;
    }
    double top = 0.0;
    int64_t place = -1;
    for (int64_t r = 0; r < s->n_rep; r++) top = fmax(top, sqrt(s->feat.norm2[s->rep[r]]));
    for (int64_t r = 0; r < s->n_rep; r++)
        if (sqrt(s->feat.norm2[s->rep[r]]) >= top - REX_TIE * top &&
            (place < 0 || s->rep[r] < s->rep[place]))
            place = r;
    return place;
}

static double fixed_score(const rex_select *s, int64_t i) {
    if (s->o.rule == REX_SELECT_VOTES) return s->outcomes.mass[i];
    return s->o.rule == REX_SELECT_LIKELIHOOD ? s->l[i] : 0.0;
}

/* What waits under the rule goes without it: DPP rows without gain, by mass. */
static rex_status give_up(rex_select *s, rex_err *e) {
    int64_t n = 0;
    for (int64_t r = 0; r < s->n_rep; r++)
        if (!s->is_taken[s->rep[r]]) s->rep[n++] = s->rep[r];
    s->n_rep = n;
    s->next_rep = 0;
    s->rule_done = true;
    return rex_order_falling(s->arena, s->rep, n, s->outcomes.mass, e);
}

static rex_status next_place(rex_select *s, int64_t *i, double *score, rex_err *e) {
    const int64_t forced = first_place(s);
    *i = -1;
    if (forced >= 0) {
        *i = s->rep[forced];
        if (!s->greedy) {
            memmove(s->rep + 1, s->rep, (size_t)forced * sizeof *s->rep);
            s->rep[0] = *i;
        }
    } else if (s->greedy && !s->rule_done && s->next_rep < s->n_rep) {
        REX_TRY(rex_greedy_pick(s->greedy, i, score, e));
        if (*i >= 0) {
            s->next_rep++;
            return REX_OK;
        }
        REX_TRY(give_up(s, e));
    }
    if (*i < 0) *i = s->next_rep < s->n_rep ? s->rep[s->next_rep] : s->rest[s->next_rest];
    if (s->next_rep < s->n_rep)
        s->next_rep++;
    else
        s->next_rest++;
    if (s->greedy) return rex_greedy_take(s->greedy, *i, score, e);
    *score = fixed_score(s, *i);
    return REX_OK;
}

rex_status rex_select_next(rex_select *s, int64_t k, int64_t *index, double *score, rex_err *e) {
    if (k < 0 || k > rex_select_left(s))
        return rex_fail(e, REX_EARG, -1, "k is %lld, but %lld rows are left", (long long)k,
                        (long long)rex_select_left(s));
    if (k == 0) return REX_OK;
    const uint64_t fp = rex_fp_enter();
    rex_status st = s->built ? REX_OK : build(s, e);
    for (int64_t t = 0; t < k && st == REX_OK; t++) {
        int64_t i = -1;
        double x = 0.0;
        if (rex_cancelled()) {
            st = rex_fail(e, REX_ECANCEL, t, "selection stopped after %lld picks", (long long)t);
            break;
        }
        st = next_place(s, &i, &x, e);
        if (st != REX_OK) break;
        rex_assert(i >= 0 && !s->is_taken[i]);
        s->is_taken[i] = true;
        s->taken[s->n_taken++] = i;
        if (index) index[t] = i;
        if (score) score[t] = x;
    }
    if (st != REX_OK) s->built = false; /* made again from what was given out */
    rex_fp_leave(fp);
    return st;
}
