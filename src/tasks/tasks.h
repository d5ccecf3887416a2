/* SPDX-License-Identifier: MIT
 *
 * tasks: is this answer right? The public part (opening a task, making problems, verifying claims)
 * stands in repexp.h; here is what one task brings. A task is a file with a `const rex_task_kind`
 * and one line in REX_TASKS. Verification is a pure function of the claim and the options, safe
 * from any thread, bounded in steps, and says why; a reward of zero never stands for a verifier
 * that failed.
 */
#ifndef REX_TASKS_H
#define REX_TASKS_H

#include "../base/base.h"

#define REX_TASKS(X)                                                                         \
    X(gsm8k) X(math) X(aime) X(game24) X(countdown) X(maze) X(arithmetic) X(exact) X(regex)  \
    X(external)

/* A problem under construction: JSON values written by the task, all in the arena. */
typedef struct {
    rex_str id;
    rex_str prompt;          /* plain text; task.c makes a turn of it or not */
    bool verbatim;           /* prompt is JSON source already: a user's own */
    rex_str answer, problem; /* JSON source, p NULL where there is none */
    rex_str response;        /* plain text, p NULL where there is none */
} rex_draft;

typedef struct rex_task_kind rex_task_kind;
struct rex_task {
    const rex_task_kind *kind;
    rex_task_opts opt; /* strings borrowed from the opener's, who keeps them until close */
    void *state;       /* the kind's own, from its open */
    /* the watch over the mix of verdicts, see task.c */
    uint64_t seen[REX_VERDICT_COUNT], recent[REX_VERDICT_COUNT];
    uint64_t n_seen, n_recent;
    bool warned;
    /* Told of verdicts as they come: those of the claims first .. first + n - 1 of the call, from
     * the caller's thread. NULL: nobody listens. A failure ends the call. */
    rex_status (*told)(void *ud, size_t first, size_t n, const rex_judged *j, rex_err *e);
    void *told_ud;
};

struct rex_task_kind {
    rex_task_info info;
    bool chat; /* what --turn auto means for its own prompts */
    /* Checks the options and fills t->state; may be NULL. */
    rex_status (*open)(rex_task *t, rex_err *e);
    void (*close)(rex_task *t);
    /* The problem numbered `no` of a generator's endless sequence for this seed; *ok false: no
     * problem came of this draw. NULL where there is no generator. Equal ids are equal problems. */
    rex_status (*draw)(const rex_task *t, rex_key key, uint64_t no, bool solutions, rex_arena *a,
                       rex_draft *out, bool *ok, rex_err *e);
    /* How many draws the sequence has; 0: no end. A finite one (game24) is taken in order. */
    uint64_t draws;
    /* A row of --data, already parsed; `where` names file and line. Id, prompt and answer have been
     * filled from the usual fields where the row has them. NULL: nothing to add. */
    rex_status (*row)(const rex_task *t, const rex_jval *row, const char *where, bool solutions,
                      rex_arena *a, rex_draft *d, rex_err *e);
    /* Fills everything but the reward. Fails only where no verdict can be given (out of memory). */
    rex_status (*verify)(const rex_task *t, const rex_claim *c, rex_arena *a, rex_judged *out,
                         rex_err *e);
    /* Instead of verify, where claims go through something shared: all of them, in order. */
    rex_status (*verify_all)(rex_task *t, const rex_claim *c, size_t n, rex_arena *a,
                             rex_judged *out, rex_err *e);
};

#define X(n) extern const rex_task_kind rex_task_kind_##n;
REX_TASKS(X)
#undef X

/* ---- what the tasks share (task.c) ---- */

/* Sets verdict and reason (into the arena); returns REX_OK or REX_ENOMEM. */
REX_MUST rex_status rex_judge(rex_arena *a, rex_judged *out, rex_err *e, rex_verdict v,
                              const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* The text of a JSON value: a string decoded, anything else as its source. p NULL if absent/null.
 */
REX_MUST rex_status rex_claim_text(rex_arena *a, rex_str json, rex_str *out, rex_err *e);
rex_str rex_trim(rex_str s); /* ASCII blanks and line ends off both sides */
/* The last place where `what` occurs in `s`, or SIZE_MAX. */
size_t rex_find_last(rex_str s, const char *what);
/* What stands in the last `\boxed`: "{...}" balanced, or after `\boxed ` up to a dollar sign. With
 * `open` an unclosed brace runs to the end. False if there is none. */
bool rex_last_box(rex_str s, bool open, rex_str *out);
/* {"numbers": [...], "target": t} as JSON source in the arena; at most 60 numbers. */
REX_MUST rex_status rex_numbers_json(rex_arena *a, const int64_t *v, size_t n, int64_t target,
                                     rex_str *out, rex_err *e);
/* {"numbers": [...], "target": t} from a claim's problem; at most `max` numbers. */
REX_MUST rex_status rex_read_numbers(rex_arena *a, rex_str problem, int64_t *v, size_t max,
                                     size_t *n, int64_t *target, rex_err *e);

/* ---- exact expressions (arith.c) ---- */

/* Evaluates + - * / (and the signs and LaTeX spellings of times, divided, \frac), parentheses and
 * whole numbers, exactly. `used` gets the numbers in order of appearance. */
typedef enum {
    REX_EXPR_OK,
    REX_EXPR_SYNTAX,
    REX_EXPR_ZERO,
    REX_EXPR_BIG,
    REX_EXPR_DEEP
} rex_expr_status;
typedef struct {
    __extension__ __int128 num, den; /* lowest terms, den > 0 */
    int64_t used[64];
    size_t n_used;
    size_t at;       /* of a syntax error */
    const char *why; /* a few words */
} rex_expr;
rex_expr_status rex_expr_eval(rex_str s, rex_expr *out);
/* An expression over all of v[0..n) that gives the target, into buf; false if there is none. */
bool rex_expr_solve(const int64_t *v, size_t n, int64_t target, char *buf, size_t room);

/* The verdict on an expression in a response (A10.7): game24, and countdown's expression form. */
REX_MUST rex_status rex_expr_verify(rex_arena *a, rex_str response, const int64_t *v, size_t n,
                                    int64_t target, bool use_all, rex_judged *out, rex_err *e);

/* "Use the numbers ..., each exactly (or at most) once, ..., to make 24." */
REX_MUST rex_status rex_expr_prompt(rex_arena *a, const int64_t *v, size_t n, int64_t target,
                                    bool use_all, rex_str *out, rex_err *e);
/* The numbers and target of a row of data: in its `problem`, else at its top, from where `problem`
 * is filled. *target comes in with its default. */
REX_MUST rex_status rex_row_numbers(const rex_jval *row, const char *where, rex_arena *a,
                                    rex_draft *d, int64_t *v, size_t max, size_t *n,
                                    int64_t *target, rex_err *e);

/* ---- the graders of the paper (paper.c) ---- */

/* Methods A10.3, to the letter: the last "#### " with a number in the last 300 characters. */
REX_MUST rex_status rex_paper_gsm8k(rex_arena *a, rex_str gold, rex_str text, rex_judged *out,
                                    rex_err *e);
/* Methods A10.4: the last box, both sides normalised as text. */
REX_MUST rex_status rex_paper_math(rex_arena *a, rex_str gold, rex_str text, rex_judged *out,
                                   rex_err *e);
/* Methods A10.5: the last box as an integer. */
REX_MUST rex_status rex_paper_aime(rex_arena *a, rex_str gold, rex_str text, rex_judged *out,
                                   rex_err *e);

#endif
