/* SPDX-License-Identifier: MIT
 *
 * trial: the run. Random orders have closed forms wherever every verdict is known, with
 * representatives of outcomes as well; all other rules are walked. `auto` verifies the whole pools
 * of the first problems, takes the rule with the fewest calls there and is judged on the others
 * alone.
 */
#include "trial.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void rex_trial_defaults(rex_trial_opts *o) {
    *o = (rex_trial_opts){.size = sizeof *o, .trials = 5, .learn = 20, .draws = 2000};
}

/* What `auto` chooses from: novelty with mass, mass, likelihood both ways, the far ones, chance. */
static const char with_rows[] =
    "quality,votes,likelihood/outcome=auto,likelihood/likelihood=mean/outcome=auto,"
    "elliptical/unit/lambda=0.01/outcome=auto,farthest/outcome=auto,random/outcome=auto";
static const char without_rows[] =
    "votes,likelihood/outcome=auto,likelihood/likelihood=mean/outcome=auto,random/outcome=auto";

/* ---- opening ----------------------------------------------------------------------------- */

static rex_status read_k(rex_trial *t, rex_err *e) {
    const char *p = t->o.k;
    const bool given = p && *p;
    const size_t room = given ? strlen(p) / 2 + 1 : 63;
    t->k = rex_arena_take(t->a, room, sizeof *t->k, e);
    if (!t->k) return REX_ENOMEM;
    size_t least = SIZE_MAX;
    for (size_t g = 0; g < t->p.groups; g++)
        if (t->p.count[g] < least) least = t->p.count[g];
    for (size_t x = 1; !given && x <= least && t->n_k < room; x *= 2) t->k[t->n_k++] = (int64_t)x;
    while (given) {
        const rex_str text = {p, strcspn(p, ",")};
        int64_t x = 0;
        if (*p < '0' || *p > '9' || rex_jraw_i64(text, &x, NULL) != REX_OK || x < 1)
            return rex_fail(e, REX_EARG, -1, "--k: '%.*s' is no whole number of 1 or more",
                            (int)(text.n < 60 ? text.n : 60), p);
        bool twice = false;
        for (size_t i = 0; i < t->n_k; i++) twice = twice || t->k[i] == x;
        if (!twice) t->k[t->n_k++] = x;
        if (p[text.n] == '\0') break;
        p += text.n + 1;
    }
    return REX_OK;
}

static rex_status open_trial(rex_trial *t, const char *pool, const char *features, rex_err *e) {
    REX_TRY(rex_arena_open(0, &t->a, e));
    if (t->o.trials < 1) return rex_fail(e, REX_EARG, -1, "at least one trial is needed");
    if (t->o.rules)
        REX_TRY(rex_rules_read(t->a, t->o.rules, "--rules", t->o.seed, &t->rule, &t->n_rule, e));
    if (t->o.until && t->n_rule != 1)
        return rex_fail(e, REX_EARG, -1, "stopping at what is found first needs one rule, not %zu",
                        t->n_rule);
    bool learns = false;
    for (size_t i = 0; i < t->n_rule; i++) {
        learns = learns || t->rule[i].learned;
        if (!t->rule[i].learned && rex_select_uses_rows(&t->rule[i].o) && (!features || !*features))
            return rex_fail(e, REX_EARG, -1, "rule %.*s needs --features FILE",
                            (int)t->rule[i].name.n, t->rule[i].name.p);
    }
    const bool named = t->o.candidates && *t->o.candidates;
    if (learns) {
        REX_TRY(rex_rules_read(t->a,
                               named                   ? t->o.candidates
                               : features && *features ? with_rows
                                                       : without_rows,
                               "--candidates", t->o.seed, &t->candidate, &t->n_candidate, e));
        for (size_t i = 0; i < t->n_candidate; i++)
            if (t->candidate[i].learned)
                return rex_fail(e, REX_EARG, -1,
                                "--candidates: auto cannot be one of its own candidates");
    }
    REX_TRY(rex_trial_read(t, pool, features, e));
    if (t->o.reference && *t->o.reference) REX_TRY(rex_trial_tenths(t, t->o.reference, e));
    if (learns && t->o.learn >= (int64_t)t->p.groups)
        return rex_fail(e, REX_ELIMIT, -1,
                        "%s: auto learns from the first %lld problems, the pool has %zu: "
                        "lower --learn",
                        pool, (long long)t->o.learn, t->p.groups);
    return read_k(t, e);
}

rex_status rex_trial_open(const rex_trial_opts *o, rex_task *task, rex_pool *workers,
                          const char *pool, const char *features, rex_trial **out, rex_err *e) {
    *out = NULL;
    rex_trial *const t = rex_mem_take(1, sizeof *t, e);
    if (!t) return REX_ENOMEM;
    t->o = *o;
    t->task = task;
    t->workers = workers;
    const rex_status s = open_trial(t, pool, features, e);
    if (s != REX_OK) rex_trial_close(t);
    else *out = t;
    return s;
}

size_t rex_trial_verified(const rex_trial *t) { return t->p.verified; }

void rex_trial_close(rex_trial *t) {
    if (!t) return;
    for (size_t i = 0; i < t->n_proj; i++) rex_mem_free(t->proj[i].v);
    rex_journal_close(t);
    rex_records_close(t->p.rec);
    rex_rows_close(t->p.file);
    rex_arena_close(t->a);
    rex_mem_free(t);
}

/* ---- random, in closed form -------------------------------------------------------------- */

typedef struct {
    int64_t key;
    bool right;
} keyed;

static int by_key(const void *x, const void *y) {
    const keyed *const a = x, *const b = y;
    return (a->key > b->key) - (a->key < b->key);
}

/* The expected number of distinct keys in a random order of these rows up to and with its first
 * right one of `right`. A key with w wrong and c right rows is met unless all its wrong rows come
 * behind the first right one and that is another key's: 1 - (right - c) / (right + w). With none
 * right: all keys. */
static double expected_calls(keyed *row, size_t n, size_t right) {
    double sum = 0.0;
    qsort(row, n, sizeof *row, by_key);
    for (size_t i = 0; i < n;) {
        size_t end = i, c = 0;
        for (; end < n && row[end].key == row[i].key; end++) c += row[end].right;
        sum += right == 0 ? 1.0 : 1.0 - (double)(right - c) / (double)(right + (end - i - c));
        i = end;
    }
    return sum;
}

/* A whole order of the group under the seed: representatives first, then the others. */
static rex_status whole_order(rex_trial *t, const rex_trial_rule *r, size_t g, rex_arena *a,
                              int64_t **out, size_t *n_rep, rex_err *e) {
    const size_t n = t->p.count[g];
    int64_t *label = NULL;
    rex_select *s = NULL;
    *out = rex_arena_take(a, n + 1, sizeof **out, e);
    if (!*out) return REX_ENOMEM;
    *n_rep = n;
    REX_TRY(rex_trial_labels(t, g, r->o.outcome, a, &label, e));
    if (label) {
        keyed *const x = rex_arena_take(a, n + 1, sizeof *x, e);
        if (!x) return REX_ENOMEM;
        for (size_t i = 0; i < n; i++) x[i] = (keyed){label[i], false};
        qsort(x, n, sizeof *x, by_key);
        *n_rep = 0;
        for (size_t i = 0; i < n; i++) *n_rep += i == 0 || x[i].key != x[i - 1].key;
    }
    rex_status st = rex_trial_order(t, g, r, t->o.seed, -1, a, &s, e);
    if (st == REX_OK) st = rex_select_next(s, (int64_t)n, *out, NULL, e);
    rex_select_close(s);
    return st;
}

static rex_status random_group(rex_trial *t, rex_trial_result *res, size_t g, rex_arena *a,
                               rex_err *e) {
    const rex_trial_rule *const r = res->chosen ? res->chosen : res->rule;
    const size_t n = t->p.count[g];
    size_t n_rep = 0, right = 0, first = 0;
    int64_t *order = NULL;
    REX_TRY(whole_order(t, r, g, a, &order, &n_rep, e));
    keyed *const x = rex_arena_take(a, n + 1, sizeof *x, e);
    if (!x) return REX_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        const uint32_t row = t->p.of[g][order[i]];
        x[i] = (keyed){t->p.key[row], rex_trial_state(t, row) == REX_ROW_RIGHT};
        right += i < n_rep && x[i].right;
        if (x[i].right && first == 0) {
            first = i + 1;
            res->found[g] = row;
        }
        if (i < REX_TRIAL_SHOWN) res->order[g][i] = (int32_t)order[i];
    }
    res->n_order[g] = n < REX_TRIAL_SHOWN ? (uint32_t)n : REX_TRIAL_SHOWN;
    double sd = 0.0;
    if (right > 0) {
        REX_TRY(rex_samples_to_correct((int64_t)n_rep, (int64_t)right, &res->s2c[g], &sd, e));
        res->calls[g] = expected_calls(x, n_rep, right);
    } else { /* representatives are all wrong: what follows them has no chance in it */
        res->s2c[g] = first ? (double)first : (double)n + 1.0;
        res->calls[g] = expected_calls(x, first ? first : n, 0) + (first ? 0.0 : 1.0);
    }
    for (size_t j = 0; j < t->n_k; j++) {
        double *const pass = &res->pass[g * t->n_k + j];
        const int64_t k = t->k[j] < (int64_t)n_rep ? t->k[j] : (int64_t)n_rep;
        *pass = first > 0 && (int64_t)first <= t->k[j] ? 1.0 : 0.0;
        if (right > 0) REX_TRY(rex_pass_at_k((int64_t)n_rep, (int64_t)right, k, pass, e));
    }
    return REX_OK;
}

static bool closed(const rex_trial *t, const rex_trial_rule *r) {
    return t->known && !t->o.until && r->o.rule == REX_SELECT_RANDOM &&
           (r->o.first == REX_FIRST_BEST || r->o.first == REX_FIRST_RANDOM);
}

static rex_status walk_or_count(rex_trial *t, rex_trial_result *r, size_t n, size_t g0, size_t g1,
                                rex_err *e) {
    rex_trial_result *const walked = rex_arena_take(t->a, n + 1, sizeof *walked, e);
    rex_arena *a = NULL;
    size_t m = 0;
    if (!walked) return REX_ENOMEM;
    REX_TRY(rex_arena_open(0, &a, e));
    rex_status s = REX_OK;
    for (size_t i = 0; i < n && s == REX_OK; i++) {
        if (!closed(t, r[i].chosen ? r[i].chosen : r[i].rule)) {
            walked[m++] = r[i];
            continue;
        }
        r[i].why = "closed form";
        for (size_t g = g0; g < g1 && s == REX_OK; g++) {
            const rex_mark was = rex_arena_mark(a);
            s = random_group(t, &r[i], g, a, e);
            rex_arena_back(a, was);
        }
    }
    rex_arena_close(a);
    if (s == REX_OK) s = rex_trial_walk(t, walked, m, g0, g1, e);
    for (size_t i = 0, k = 0; i < n && s == REX_OK; i++)
        if (!closed(t, r[i].chosen ? r[i].chosen : r[i].rule)) r[i] = walked[k++];
    return s;
}

/* ---- learning ---------------------------------------------------------------------------- */

static rex_status judge_groups(rex_trial *t, size_t g0, size_t g1, rex_err *e) {
    uint32_t *const row = rex_mem_take(t->p.total + 1, sizeof *row, e);
    bool *const asked = row ? rex_mem_take(t->p.n_key + 1, sizeof *asked, e) : NULL;
    size_t n = 0;
    for (size_t g = g0; asked && g < g1; g++)
        for (size_t i = 0; i < t->p.count[g]; i++) {
            const uint32_t at = t->p.of[g][i];
            if (rex_trial_state(t, at) != REX_ROW_UNKNOWN || asked[t->p.key[at]]) continue;
            asked[t->p.key[at]] = true;
            row[n++] = at;
        }
    const rex_status s = asked ? rex_trial_judge(t, row, n, e) : REX_ENOMEM;
    rex_mem_free(row);
    rex_mem_free(asked);
    return s;
}

/* The candidate with the fewest calls on the first problems; equal ones by their place in the list.
 */
static rex_status learn(rex_trial *t, rex_trial_result *res, rex_err *e) {
    const size_t L = (size_t)t->o.learn;
    REX_TRY(judge_groups(t, 0, L, e));
    if (!t->tried) {
        t->tried = rex_arena_zero(t->a, t->n_candidate, sizeof *t->tried, e);
        if (!t->tried) return REX_ENOMEM;
        for (size_t i = 0; i < t->n_candidate; i++)
            REX_TRY(rex_trial_result_open(t, &t->candidate[i], &t->tried[i], e));
        const bool was = t->known, until = t->o.until;
        t->known = true; /* of these groups it is true */
        t->o.until = false;
        const rex_status s = walk_or_count(t, t->tried, t->n_candidate, 0, L, e);
        t->known = was;
        t->o.until = until;
        REX_TRY(s);
    }
    res->learnt = rex_arena_zero(t->a, t->n_candidate, sizeof *res->learnt, e);
    if (!res->learnt) return REX_ENOMEM;
    rex_boot_opts b;
    rex_boot_defaults(&b);
    b.seed = t->o.seed;
    b.draws = t->o.draws;
    b.lo = 1.0;
    size_t best = 0;
    for (size_t i = 0; i < t->n_candidate; i++) {
        REX_TRY(rex_mean_interval(t->workers, t->tried[i].calls, L, &b, &res->learnt[i], e));
        if (res->learnt[i].value < res->learnt[best].value - 1e-10) best = i;
    }
    res->chosen = &t->candidate[best];
    res->from = L;
    return REX_OK;
}

/* ---- the run ----------------------------------------------------------------------------- */

static rex_status look_at_pool(rex_trial *t, rex_err *e) {
    const size_t n = t->p.groups;
    t->c = rex_arena_zero(t->a, n, sizeof *t->c, e);
    t->size = rex_arena_zero(t->a, n, sizeof *t->size, e);
    t->random = rex_arena_zero(t->a, n, sizeof *t->random, e);
    t->random_calls = rex_arena_zero(t->a, n, sizeof *t->random_calls, e);
    if (!t->c || !t->size || !t->random || !t->random_calls) return REX_ENOMEM;
    t->known = true;
    for (size_t g = 0; g < n; g++) {
        t->size[g] = (double)t->p.count[g];
        for (size_t i = 0; i < t->p.count[g]; i++) {
            const rex_row_state s = rex_trial_state(t, t->p.of[g][i]);
            t->c[g] += s == REX_ROW_RIGHT ? 1.0 : 0.0;
            t->known = t->known && s != REX_ROW_UNKNOWN;
        }
    }
    return REX_OK;
}

/* Chance on this pool, the baseline of every comparison: closed where all is known, otherwise the
 * plain random rule if it was among those asked for. */
static rex_status baseline(rex_trial *t, rex_err *e) {
    rex_trial_rule plain = {.name = rex_str_of("random")};
    rex_trial_result r;
    rex_select_defaults(REX_SELECT_RANDOM, &plain.o);
    for (size_t i = 0; i < t->n_rule && !t->known; i++) {
        const rex_select_opts *const o = &t->rule[i].o;
        if (t->rule[i].learned || o->rule != REX_SELECT_RANDOM || o->outcome != REX_OUTCOME_NONE ||
            o->first != REX_FIRST_BEST)
            continue;
        t->random = t->result[i].s2c;
        t->random_calls = t->result[i].calls;
        return REX_OK;
    }
    if (!t->known) {
        t->random = t->random_calls = NULL;
        return REX_OK;
    }
    plain.o.seed = t->o.seed;
    REX_TRY(rex_trial_result_open(t, &plain, &r, e));
    const bool until = t->o.until;
    t->o.until = false;
    const rex_status s = walk_or_count(t, &r, 1, 0, t->p.groups, e);
    t->o.until = until;
    t->random = r.s2c;
    t->random_calls = r.calls;
    return s;
}

rex_status rex_trial_run(rex_trial *t, rex_err *e) {
    rex_trial_result *const r = rex_arena_zero(t->a, t->n_rule + 1, sizeof *r, e);
    if (!r) return REX_ENOMEM;
    REX_TRY(look_at_pool(t, e));
    for (size_t i = 0; i < t->n_rule; i++) {
        REX_TRY(rex_trial_result_open(t, &t->rule[i], &r[i], e));
        if (t->rule[i].learned) REX_TRY(learn(t, &r[i], e));
    }
    t->result = r;
    REX_TRY(walk_or_count(t, r, t->n_rule, 0, t->p.groups, e));
    /* lazily many verdicts have come since */
    REX_TRY(look_at_pool(t, e));
    return baseline(t, e);
}
