/* SPDX-License-Identifier: MIT
 *
 * input: a pool, its features and its verdicts. Who is verified here is decided once: rows with a
 * stored reward are believed (unless told otherwise); the others need a gold, from their own record
 * or by prompt_id from the task's data. A verdict serves every row of its key.
 */
#include "trial.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../tasks/tasks.h"

/* ---- equal texts, equal numbers -----------------------------------------------------------------
 */

typedef struct {
    uint32_t *slot; /* number + 1; 0 is free */
    rex_str *text;  /* by number */
    size_t mask, n;
} interner;

static rex_status interner_open(rex_arena *a, size_t most, interner *x, rex_err *e) {
    size_t room = 16;
    while (room < 2 * most + 2) room *= 2;
    x->slot = rex_arena_zero(a, room, sizeof *x->slot, e);
    x->text = x->slot ? rex_arena_take(a, most + 1, sizeof *x->text, e) : NULL;
    x->mask = room - 1;
    x->n = 0;
    return x->text ? REX_OK : REX_ENOMEM;
}

static uint32_t intern(interner *x, rex_str s) {
    size_t k = (size_t)rex_hash64(s.p, s.n) & x->mask;
    for (; x->slot[k]; k = (k + 1) & x->mask)
        if (rex_str_eq(x->text[x->slot[k] - 1], s)) return x->slot[k] - 1;
    x->text[x->n] = s;
    x->slot[k] = (uint32_t)++x->n;
    return x->slot[k] - 1;
}

/* ---- columns ----------------------------------------------------------------------------- */

rex_str rex_trial_response(const rex_trial *t, size_t row) {
    const rex_str s = rex_records_str(t->p.rec, REX_FI_TEXT, row);
    return s.p ? s : rex_records_str(t->p.rec, REX_FI_RESPONSE, row);
}

rex_str rex_trial_extracted(const rex_trial *t, size_t row) {
    const rex_judged *const j = &t->p.judged[row];
    if (j->verdict != REX_VERDICT_COUNT && j->extracted.p) return j->extracted;
    if (j->verdict != REX_VERDICT_COUNT && t->p.by_answer) return (rex_str){NULL, 0};
    return rex_records_str(t->p.rec, REX_FI_EXTRACTED, row);
}

rex_row_state rex_trial_state(const rex_trial *t, size_t row) {
    const rex_row_state own = (rex_row_state)t->p.state[row];
    return own != REX_ROW_UNKNOWN ? own : (rex_row_state)t->p.served[t->p.key[row]];
}

/* Equal labels for equal outcomes; answers, texts and rows for themselves are kept apart by the
 * remainder of 3. */
static int64_t label_of(const rex_trial *t, const uint32_t *text, rex_outcome kind, size_t row) {
    if ((kind == REX_OUTCOME_ANSWER || kind == REX_OUTCOME_AUTO) && t->p.answer[row] != UINT32_MAX)
        return 3 * (int64_t)t->p.answer[row];
    if ((kind == REX_OUTCOME_TEXT || kind == REX_OUTCOME_AUTO) && text && text[row] != UINT32_MAX)
        return 3 * (int64_t)text[row] + 1;
    return 3 * (int64_t)row + 2;
}

/* Of TEXT and RESPONSE the column that is there (a pool has one of them). */
static const uint32_t *text_ids(const rex_trial *t) {
    const size_t none = t->p.n;
    const uint32_t *const text = rex_records_ids(t->p.rec, REX_FI_TEXT);
    for (size_t i = 0; i < none; i++)
        if (text[i] != UINT32_MAX) return text;
    return rex_records_ids(t->p.rec, REX_FI_RESPONSE);
}

rex_status rex_trial_labels(const rex_trial *t, size_t group, rex_outcome kind, rex_arena *a,
                            int64_t **out, rex_err *e) {
    *out = NULL;
    if (kind == REX_OUTCOME_NONE) return REX_OK;
    const size_t n = t->p.count[group];
    const uint32_t *const text = text_ids(t);
    *out = rex_arena_take(a, n + 1, sizeof **out, e);
    if (!*out) return REX_ENOMEM;
    for (size_t i = 0; i < n; i++) (*out)[i] = label_of(t, text, kind, t->p.of[group][i]);
    return REX_OK;
}

rex_status rex_trial_likelihoods(const rex_trial *t, size_t group, const rex_trial_rule *r,
                                 rex_arena *a, double **out, rex_err *e) {
    const size_t n = t->p.count[group];
    const bool mean = r->o.likelihood == REX_LOGLIK_MEAN;
    double *const l = rex_arena_take(a, n + 1, sizeof *l, e);
    *out = NULL;
    if (!l) return REX_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        const size_t row = t->p.of[group][i];
        l[i] = rex_records_loglik(t->p.rec, row, mean);
        if (isfinite(l[i])) continue;
        if (!rex_select_uses_l(&r->o)) return REX_OK;
        const long long no = (long long)rex_records_line(t->p.rec, row);
        return rex_fail(e, REX_EFORMAT, no, "%s: line %lld: rule %.*s needs %s, or logp", t->p.path,
                        no, (int)r->name.n, r->name.p,
                        mean ? "logprob with n_tok of 1 or more" : "logprob");
    }
    *out = l;
    return REX_OK;
}

/* Numbers for answers and keys, after verdicts may have brought answers. */
static rex_status number_keys(rex_trial *t, rex_err *e) {
    rex_trial_pool *const p = &t->p;
    interner x;
    const rex_mark was = rex_arena_mark(t->a);
    REX_TRY(interner_open(t->a, p->n, &x, e));
    p->answers = false;
    for (size_t i = 0; i < p->n; i++) {
        const rex_str s = rex_trial_extracted(t, i);
        p->answer[i] = s.p ? intern(&x, s) : UINT32_MAX;
        p->answers = p->answers || s.p;
    }
    rex_arena_back(t->a, was);
    /* keys are of one prompt: (group, label) as text */
    REX_TRY(interner_open(t->a, p->n, &x, e));
    int64_t (*const pair)[2] = rex_arena_take(t->a, p->n + 1, sizeof *pair, e);
    if (!pair) return REX_ENOMEM;
    const uint32_t *const text = text_ids(t);
    for (size_t i = 0; i < p->n; i++) {
        pair[i][0] = rex_records_group(p->rec, i);
        pair[i][1] = label_of(t, text, p->by_answer ? REX_OUTCOME_AUTO : REX_OUTCOME_TEXT, i);
        p->key[i] = intern(&x, (rex_str){(const char *)pair[i], sizeof *pair});
    }
    p->n_key = x.n;
    rex_arena_back(t->a, was);
    memset(p->served, REX_ROW_UNKNOWN, p->n);
    for (size_t i = 0; i < p->n; i++)
        if (p->state[i] == REX_ROW_RIGHT || p->state[i] == REX_ROW_WRONG)
            if (p->served[p->key[i]] == REX_ROW_UNKNOWN) p->served[p->key[i]] = p->state[i];
    return REX_OK;
}

/* ---- claims ------------------------------------------------------------------------------ */

/* Golds by prompt_id, from --data. */
static rex_status golds_from_data(rex_trial *t, rex_err *e) {
    if (!t->task->opt.data) return REX_OK;
    rex_make_opts m;
    rex_item *item = NULL;
    size_t n = 0;
    rex_make_defaults(&m);
    m.split = REX_SPLIT_ALL;
    REX_TRY(rex_task_make(t->task, &m, t->a, &item, &n, e));
    for (size_t i = 0; i < n; i++) {
        const size_t g = rex_records_find(t->p.rec, item[i].id);
        size_t rows = 0;
        const uint32_t *const of = g == SIZE_MAX ? NULL : rex_records_of(t->p.rec, g, &rows);
        for (size_t r = 0; r < rows; r++) {
            rex_claim *const c = &t->p.claim[of[r]];
            if (!c->answer.p && !c->problem.p) {
                c->answer = item[i].answer;
                c->problem = item[i].problem;
            }
            if (!c->prompt.p) c->prompt = item[i].prompt;
        }
    }
    return REX_OK;
}

/* The prompts as the records have them: a program of the user's may want to see them. */
static rex_status prompts_from_lines(rex_trial *t, rex_err *e) {
    rex_lines *l = NULL;
    REX_TRY(rex_lines_open(t->p.path, &l, e));
    const rex_str want = rex_str_of("prompt");
    rex_status s = REX_OK;
    size_t row = 0;
    for (bool more = true; s == REX_OK && row < t->p.n;) {
        rex_str line, raw = {NULL, 0};
        int64_t no = 0;
        s = rex_lines_next(l, &line, &no, &more, e);
        if (s != REX_OK || !more) break;
        if (no != rex_records_line(t->p.rec, row)) continue;
        s = rex_jscan(line, &want, 1, &raw, e);
        if (s == REX_OK && raw.p) s = rex_str_copy(t->a, raw, &t->p.claim[row].prompt, e);
        row++;
    }
    rex_lines_close(l);
    return s;
}

static rex_status make_claims(rex_trial *t, rex_err *e) {
    rex_trial_pool *const p = &t->p;
    p->claim = rex_arena_zero(t->a, p->n + 1, sizeof *p->claim, e);
    if (!p->claim) return REX_ENOMEM;
    for (size_t i = 0; i < p->n; i++)
        p->claim[i] = (rex_claim){.answer = rex_records_str(p->rec, REX_FI_ANSWER, i),
                                  .problem = rex_records_str(p->rec, REX_FI_PROBLEM, i),
                                  .response = rex_trial_response(t, i),
                                  .finish = rex_records_str(p->rec, REX_FI_FINISH, i)};
    if (strcmp(t->task->kind->info.name, "external") == 0 && strcmp(p->path, "-") != 0)
        REX_TRY(prompts_from_lines(t, e));
    REX_TRY(golds_from_data(t, e));
    const bool free_of_gold = strcmp(t->task->kind->info.name, "external") == 0 ||
                              strcmp(t->task->kind->info.name, "regex") == 0;
    for (size_t g = 0; g < p->groups; g++)
        for (size_t i = 0; i < p->count[g]; i++) {
            const uint32_t row = p->of[g][i];
            const rex_claim *const c = &p->claim[row];
            const long long no = (long long)rex_records_line(p->rec, row);
            if (p->state[row] != REX_ROW_UNKNOWN) continue;
            if (!c->response.p)
                return rex_fail(e, REX_EFORMAT, no,
                                "%s: line %lld: neither text nor response to verify", p->path, no);
            if (!c->answer.p && !c->problem.p && !free_of_gold)
                return rex_fail(
                    e, REX_EFORMAT, no,
                    "%s: line %lld: no reward, and no gold to verify by: "
                    "neither answer nor problem in the record, nor its prompt_id in --data",
                    p->path, no);
        }
    return REX_OK;
}

/* ---- verdicts ---------------------------------------------------------------------------- */

typedef struct {
    const rex_trial *t;
    const uint32_t *row; /* of each claim of the call */
} asked;

static rex_status note(void *ud, size_t first, size_t n, const rex_judged *j, rex_err *e) {
    const asked *const q = ud;
    for (size_t i = 0; i < n; i++) REX_TRY(rex_journal_add(q->t, q->row[first + i], &j[i], e));
    return rex_journal_flush(q->t, e);
}

/* Asks the task about the rows that the journal knows nothing of. */
static rex_status ask(rex_trial *t, const uint32_t *row, size_t n, rex_judged *out, rex_err *e) {
    rex_trial_pool *const p = &t->p;
    rex_claim *const c = rex_mem_take(n, sizeof *c, e);
    rex_judged *const j = c ? rex_mem_take(n, sizeof *j, e) : NULL;
    uint32_t *const to = j ? rex_mem_take(n, sizeof *to, e) : NULL;
    rex_status s = to ? REX_OK : REX_ENOMEM;
    size_t m = 0;
    for (size_t i = 0; s == REX_OK && i < n; i++) {
        if (p->said && p->said[row[i]].verdict != REX_VERDICT_COUNT) {
            out[i] = p->said[row[i]];
            continue;
        }
        c[m] = p->claim[row[i]];
        to[m++] = row[i];
    }
    asked q = {t, to};
    t->task->told = note;
    t->task->told_ud = &q;
    if (s == REX_OK && m > 0) s = rex_task_verify(t->task, t->workers, c, m, t->a, j, e);
    t->task->told = NULL;
    m = 0;
    for (size_t i = 0; s == REX_OK && i < n; i++)
        if (!p->said || p->said[row[i]].verdict == REX_VERDICT_COUNT) out[i] = j[m++];
    rex_mem_free(c);
    rex_mem_free(j);
    rex_mem_free(to);
    return s;
}

rex_status rex_trial_judge(rex_trial *t, const uint32_t *row, size_t n, rex_err *e) {
    rex_trial_pool *const p = &t->p;
    if (n == 0) return REX_OK;
    const rex_mark was = rex_arena_mark(t->a);
    rex_judged *const j = rex_mem_take(n, sizeof *j, e);
    const rex_status s = j ? ask(t, row, n, j, e) : REX_ENOMEM;
    if (s != REX_OK) rex_arena_back(t->a, was);
    for (size_t i = 0; s == REX_OK && i < n; i++) {
        const bool broken = j[i].verdict == REX_VERDICT_broken;
        p->judged[row[i]] = j[i];
        p->state[row[i]] = broken ? REX_ROW_BROKEN
                           : j[i].verdict == REX_VERDICT_correct ? REX_ROW_RIGHT : REX_ROW_WRONG;
        p->broken += broken;
        p->verified++;
        if (!broken && p->n_key > 0) p->served[p->key[row[i]]] = p->state[row[i]];
    }
    rex_mem_free(j);
    return s;
}

static rex_status judge_all(rex_trial *t, rex_err *e) {
    rex_trial_pool *const p = &t->p;
    uint32_t *const row = rex_mem_take(p->total + 1, sizeof *row, e);
    if (!row) return REX_ENOMEM;
    size_t n = 0;
    for (size_t g = 0; g < p->groups; g++)
        for (size_t i = 0; i < p->count[g]; i++)
            if (p->state[p->of[g][i]] == REX_ROW_UNKNOWN) row[n++] = p->of[g][i];
    const rex_status s = rex_trial_judge(t, row, n, e);
    rex_mem_free(row);
    return s;
}

static rex_status stored_rewards(rex_trial *t, size_t *missing, rex_err *e) {
    rex_trial_pool *const p = &t->p;
    const double *const reward = rex_records_num(p->rec, REX_FI_REWARD);
    *missing = 0;
    for (size_t i = 0; i < p->n; i++) p->judged[i] = (rex_judged){.verdict = REX_VERDICT_COUNT};
    for (size_t g = 0; g < p->groups; g++)
        for (size_t i = 0; i < p->count[g]; i++) {
            const uint32_t row = p->of[g][i];
            const double r = reward[row];
            const long long no = (long long)rex_records_line(p->rec, row);
            if (t->o.reverify || isnan(r)) {
                ++*missing;
                if (!t->task)
                    return rex_fail(e, REX_EFORMAT, no,
                                    "%s: line %lld: no reward, and no --task to verify "
                                    "by",
                                    p->path, no);
                continue;
            }
            if (r != 0.0 && r != 1.0)
                return rex_fail(e, REX_EFORMAT, no, "%s: line %lld: reward %g is neither 0 nor 1",
                                p->path, no, r);
            p->state[row] = r > 0.0 ? REX_ROW_RIGHT : REX_ROW_WRONG;
        }
    return REX_OK;
}

/* Rows whose verifier failed leave the pool: they are neither right nor wrong. */
static void drop_broken(rex_trial *t) {
    rex_trial_pool *const p = &t->p;
    if (p->broken == 0) return;
    rex_say(REX_LOG_WARN, "%s: the verifier failed on %zu of %zu samples; they are left out",
            p->path, p->broken, p->total);
    size_t kept_groups = 0;
    p->total = 0;
    for (size_t g = 0; g < p->groups; g++) {
        uint32_t *const of = (uint32_t *)(uintptr_t)p->of[g];
        size_t n = 0;
        for (size_t i = 0; i < p->count[g]; i++)
            if (p->state[of[i]] != REX_ROW_BROKEN) of[n++] = of[i];
        p->count[g] = n;
        p->total += n;
        kept_groups += n > 0;
    }
    size_t to = 0;
    for (size_t g = 0; g < p->groups; g++)
        if (p->count[g] > 0) {
            p->of[to] = p->of[g];
            p->count[to++] = p->count[g];
        }
    p->groups = kept_groups;
}

/* ---- reading ----------------------------------------------------------------------------- */

static rex_status open_records(rex_trial *t, const char *pool, rex_err *e) {
    rex_trial_pool *const p = &t->p;
    rex_records_opts r;
    rex_records_defaults(&r);
    r.want = REX_F(TEXT) | REX_F(RESPONSE) | REX_F(EXTRACTED) | REX_F(ANSWER) | REX_F(PROBLEM) |
             REX_F(FINISH) | REX_F(REWARD) | REX_F(VERDICT) | REX_F(LOGPROB) | REX_F(N_TOK) |
             REX_F(LOGP) | REX_F(SAMPLE);
    r.map = t->o.map;
    r.broken = REX_BROKEN_KEEP;
    r.streams = true;
    REX_TRY(rex_records_open(pool, &r, &p->rec, e));
    p->path = pool;
    p->n = rex_records_rows(p->rec);
    p->groups = rex_records_groups(p->rec);
    if (p->n == 0) return rex_fail(e, REX_EFORMAT, -1, "%s: no records", pool);
    if (t->o.problems > 0) {
        if ((size_t)t->o.problems > p->groups)
            return rex_fail(e, REX_ELIMIT, -1, "%s: %lld problems were asked for, the pool has %zu",
                            pool, (long long)t->o.problems, p->groups);
        p->groups = (size_t)t->o.problems;
    }
    p->of = rex_arena_take(t->a, p->groups, sizeof *p->of, e);
    p->count = rex_arena_take(t->a, p->groups, sizeof *p->count, e);
    uint32_t *const copy = rex_arena_take(t->a, p->n, sizeof *copy, e);
    p->judged = rex_arena_zero(t->a, p->n, sizeof *p->judged, e);
    p->state = rex_arena_zero(t->a, p->n, sizeof *p->state, e);
    p->served = rex_arena_zero(t->a, p->n, sizeof *p->served, e);
    p->answer = rex_arena_take(t->a, p->n, sizeof *p->answer, e);
    p->key = rex_arena_take(t->a, p->n, sizeof *p->key, e);
    if (!p->of || !p->count || !copy || !p->judged || !p->state || !p->served || !p->answer ||
        !p->key)
        return REX_ENOMEM;
    uint32_t *at = copy;
    for (size_t g = 0; g < p->groups; g++) {
        const uint32_t *const of = rex_records_of(p->rec, g, &p->count[g]);
        memcpy(at, of, p->count[g] * sizeof *at);
        p->of[g] = at;
        at += p->count[g];
        p->total += p->count[g];
    }
    return REX_OK;
}

static rex_status open_features(rex_trial *t, const char *features, rex_err *e) {
    rex_trial_pool *const p = &t->p;
    if (!features || !*features) return REX_OK;
    REX_TRY(rex_rows_open(features, &p->file, e));
    p->m = (rex_matrix){rex_rows_data(p->file), rex_rows_count(p->file), rex_rows_dim(p->file),
                        rex_elem_find(rex_rows_type(p->file))};
    if (p->m.type == REX_ELEM_COUNT)
        return rex_fail(e, REX_EUNSUP, -1, "%s: numbers of type %s", features,
                        rex_rows_type(p->file));
    if ((size_t)p->m.rows != p->n)
        return rex_fail(e, REX_EFORMAT, -1, "%s has %zu records, but %s has %lld rows", p->path,
                        p->n, features, (long long)p->m.rows);
    int64_t row = 0, col = 0;
    if (rex_matrix_nonfinite(&p->m, 0, &row, &col))
        return rex_fail(e, REX_ENAN, row, "%s: row %lld, column %lld is not a finite number",
                        features, (long long)row, (long long)col);
    return REX_OK;
}

rex_status rex_trial_read(rex_trial *t, const char *pool, const char *features, rex_err *e) {
    rex_trial_pool *const p = &t->p;
    size_t missing = 0;
    REX_TRY(open_records(t, pool, e));
    REX_TRY(open_features(t, features, e));
    p->by_answer = !t->task || t->task->kind->info.by_answer;
    REX_TRY(stored_rewards(t, &missing, e));
    const bool outside = t->task && t->task->kind->verify_all;
    p->lazy = t->o.judge == REX_JUDGE_LAZY || (t->o.judge == REX_JUDGE_AUTO && outside);
    if (missing > 0) {
        REX_TRY(make_claims(t, e));
        REX_TRY(rex_journal_open(t, e));
        if (!p->lazy) REX_TRY(judge_all(t, e));
    }
    drop_broken(t);
    if (p->total == 0) return rex_fail(e, REX_ECHILD, -1, "%s: no sample has a verdict", p->path);
    return number_keys(t, e);
}

/* ---- difficulty by another pool ---------------------------------------------------------- */

typedef struct {
    double s2c;
    size_t group;
} hardness;

static int hardest_first(const void *x, const void *y) {
    const hardness *const a = x, *const b = y;
    if (a->s2c != b->s2c) return a->s2c > b->s2c ? -1 : 1;
    return (a->group > b->group) - (a->group < b->group);
}

/* (N + 1) / (c + 1) of every problem in the reference; a problem without a sample is refused. */
static rex_status rank_by(const rex_trial *t, const rex_records *ref, hardness *h, rex_err *e) {
    const double *const reward = rex_records_num(ref, REX_FI_REWARD);
    for (size_t g = 0; g < t->p.groups; g++) {
        const rex_str name =
            rex_records_name(t->p.rec, rex_records_group(t->p.rec, t->p.of[g][0]));
        const size_t at = rex_records_find(ref, name);
        if (at == SIZE_MAX)
            return rex_fail(e, REX_EFORMAT, -1, "no sample of problem %.*s", (int)name.n, name.p);
        size_t n = 0;
        double c = 0.0;
        const uint32_t *const row = rex_records_of(ref, at, &n);
        for (size_t i = 0; i < n; i++) c += reward[row[i]] > 0.0;
        h[g] = (hardness){((double)n + 1.0) / (c + 1.0), g};
    }
    qsort(h, t->p.groups, sizeof *h, hardest_first);
    return REX_OK;
}

rex_status rex_trial_tenths(rex_trial *t, const char *reference, rex_err *e) {
    rex_records_opts o;
    rex_records *ref = NULL;
    hardness *const h = rex_arena_take(t->a, t->p.groups + 1, sizeof *h, e);
    uint8_t *const tenth = h ? rex_arena_take(t->a, t->p.groups + 1, 1, e) : NULL;
    if (!tenth) return REX_ENOMEM;
    rex_records_defaults(&o);
    o.want = o.need = REX_F(REWARD);
    o.broken = REX_BROKEN_DROP;
    REX_TRY(rex_records_open(reference, &o, &ref, e));
    const rex_status s = rank_by(t, ref, h, e);
    rex_records_close(ref);
    if (s != REX_OK) return rex_fail_in(e, s, "--reference %s", reference);
    for (size_t i = 0; i < t->p.groups; i++)
        tenth[h[i].group] = (uint8_t)(REX_TENTHS * i / t->p.groups);
    t->tenth = tenth;
    return REX_OK;
}
