/* SPDX-License-Identifier: MIT
 *
 * trial: what the order of a pool saves of a verifier. The policy of `explore` and `eval`: which
 * rules, which trials, who is verified and when, statistics over orders. The public functions stand
 * in repexp.h. Rows are those of the record file; a group is one prompt; a key is what one verdict
 * serves: the extracted answer where the task's verdict depends on it alone, otherwise the text.
 */
#ifndef REX_TRIAL_H
#define REX_TRIAL_H

#include "../base/base.h"

/* One rule as written, read. */
typedef struct {
    rex_str name;
    rex_select_opts o;
    rex_project_kind proj;
    bool project; /* projection=none switches it off */
    bool learned; /* `auto` */
} rex_trial_rule;

/* "name/key=value/flag,...": at least one rule, none twice. `what` names the option in errors. */
REX_MUST rex_status rex_rules_read(rex_arena *a, const char *text, const char *what, uint64_t seed,
                                   rex_trial_rule **out, size_t *n, rex_err *e);
/* The members of a rule's settings. */
void rex_rule_json(const rex_trial_rule *r, rex_jw *w);

/* ---- the pool (input.c) ------------------------------------------------------------------ */

typedef enum { REX_ROW_UNKNOWN, REX_ROW_WRONG, REX_ROW_RIGHT, REX_ROW_BROKEN } rex_row_state;

typedef struct {
    const char *path;
    rex_records *rec;
    rex_rows *file;
    rex_matrix m;        /* p NULL without features */
    size_t n, groups;    /* rows of the file; groups that count */
    const uint32_t **of; /* per group: its rows that count */
    size_t *count;
    size_t total;        /* rows that count */
    rex_claim *claim;    /* per row; NULL where every row came with a reward */
    rex_judged *judged;  /* per row; verdict REX_VERDICT_COUNT where the reward was stored */
    uint8_t *state;      /* per row: rex_row_state */
    uint32_t *answer;    /* per row: equal extracted answers have equal numbers; UINT32_MAX none */
    bool answers;        /* some row has one */
    int64_t *key;        /* per row: what one verdict serves, 0 .. n_key-1 */
    size_t n_key;
    uint8_t *served;     /* per key: rex_row_state */
    bool by_answer, lazy;
    rex_judged
        *said; /* per row: verdict of the journal, REX_VERDICT_COUNT none; NULL: no journal */
    rex_out *journal;
    size_t verified;     /* verdicts asked of the task here, or of the journal in its stead */
    size_t broken;
} rex_trial_pool;

/* A rule over all groups, after a run. */
typedef struct {
    const rex_trial_rule *rule;
    double *s2c, *calls; /* per group: means over the trials */
    double *pass;        /* (groups, n_k) */
    uint32_t *found;     /* per group: the row that was first correct, UINT32_MAX: none */
    int32_t **order; /* per group: the beginning of the first trial's order; places in the group */
    uint32_t *n_order;
    size_t from;         /* groups before this one do not count (auto learnt from them) */
    size_t variants;     /* orders per group, at most; 0: closed form */
    const rex_trial_rule *chosen;           /* of `auto` */
    rex_interval *learnt;                   /* of `auto`: calls of each candidate */
    const char *why; /* "closed form", "5 first picks", ... */
} rex_trial_result;

enum { REX_TRIAL_SHOWN = 64 }; /* places of an order that are kept */

/* One step of a budget: which calls went where. */
typedef struct {
    int64_t calls, used;
    size_t solved, round_robin, closed;
    size_t *spent; /* per group */
    uint32_t *found;
} rex_trial_spent;

struct rex_trial {
    rex_trial_opts o;
    rex_arena *a;
    rex_task *task;
    rex_pool *workers;
    rex_trial_pool p;
    rex_trial_rule *rule, *candidate;
    size_t n_rule, n_candidate;
    int64_t *k;
    size_t n_k;
    struct {
        int64_t dim;
        rex_project_kind kind;
        float *v;
    } proj[16]; /* projected copies of the features, one per (dim, kind) in use */
    size_t n_proj;
    rex_trial_result *result; /* n_rule; NULL before the run */
    rex_trial_result *tried;  /* n_candidate */
    rex_trial_spent *spent;   /* NULL without a budget */
    double *c, *size;         /* per group: correct rows (all known), rows */
    double *random;           /* per group: samples-to-correct at random; NULL unknown */
    double *random_calls;     /* per group: calls at random, distinct outcomes only */
    bool known;               /* every row has its verdict */
    uint8_t *tenth; /* per group: 0 .. 9, hardest first, by the reference; NULL: by its own share */
};

/* Pool, features, stored rewards; verifies what is to be verified at once. */
REX_MUST rex_status rex_trial_read(rex_trial *t, const char *pool, const char *features,
                                   rex_err *e);
/* Verdicts for these rows, served to the others of their keys as well. */
REX_MUST rex_status rex_trial_judge(rex_trial *t, const uint32_t *row, size_t n, rex_err *e);
/* Problems in ten bins by samples-to-correct at random in another pool of the same problems. */
enum { REX_TENTHS = 10 };
REX_MUST rex_status rex_trial_tenths(rex_trial *t, const char *reference, rex_err *e);
/* What is known of a row, by itself or through its key. */
rex_row_state rex_trial_state(const rex_trial *t, size_t row);
/* The text of a row (p NULL: none) and its extracted answer. */
rex_str rex_trial_response(const rex_trial *t, size_t row);
rex_str rex_trial_extracted(const rex_trial *t, size_t row);
/* Labels of outcomes of a group's rows (n of them); NULL for none. */
REX_MUST rex_status rex_trial_labels(const rex_trial *t, size_t group, rex_outcome kind,
                                     rex_arena *a, int64_t **out, rex_err *e);
/* l of a group's rows, or NULL where some row has none and the rule can do without. */
REX_MUST rex_status rex_trial_likelihoods(const rex_trial *t, size_t group, const rex_trial_rule *r,
                                          rex_arena *a, double **out, rex_err *e);

/* ---- the journal (journal.c) ------------------------------------------------------------- */

/* Opens the journal of the options, if they name one, and reads what it has. */
REX_MUST rex_status rex_journal_open(rex_trial *t, rex_err *e);
void rex_journal_close(rex_trial *t);
/* One verdict more; `flush` hands what was added to the system. */
REX_MUST rex_status rex_journal_add(const rex_trial *t, size_t row, const rex_judged *j,
                                    rex_err *e);
REX_MUST rex_status rex_journal_flush(const rex_trial *t, rex_err *e);

/* ---- orders (walk.c) --------------------------------------------------------------------- */

/* The features as the rule wants them (projected once per width). */
REX_MUST rex_status rex_trial_project(rex_trial *t, const rex_trial_rule *r, rex_err *e);
/* An order of a group by a rule under a seed; `first` >= 0: with that first pick. */
REX_MUST rex_status rex_trial_order(const rex_trial *t, size_t group, const rex_trial_rule *r,
                                    uint64_t seed, int64_t first, rex_arena *a, rex_select **out,
                                    rex_err *e);
/* Fills results of the rules over groups g0 .. g1-1, verifying as needed. */
REX_MUST rex_status rex_trial_walk(rex_trial *t, rex_trial_result *r, size_t n, size_t g0,
                                   size_t g1, rex_err *e);
/* An empty result of a rule, in the arena of the trial. */
REX_MUST rex_status rex_trial_result_open(rex_trial *t, const rex_trial_rule *rule,
                                          rex_trial_result *r, rex_err *e);

#endif
