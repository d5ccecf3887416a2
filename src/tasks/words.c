/* SPDX-License-Identifier: MIT
 *
 * words.c: the mathematical tasks with a gold answer in words or numbers: gsm8k, math, aime. What
 * they share is the prompt (the question, one space, one sentence of instruction), and that a
 * grader is chosen by --grader: `paper` (paper.c) or `strict` (math.h).
 * Invariant: a gold that is empty or cannot be read gives `ambiguous` with a reason that begins
 * with "gold:"; it never ends a run.
 */
#include "tasks.h"
#include "math.h"

#include <string.h>

static const char boxed_please[] =
    " Think step by step, then give the final answer inside \\boxed{}.";
static const char hashes_please[] =
    " Think step by step, then give the final answer as a number after \"####\".";

static rex_status ask(rex_arena *a, rex_draft *d, const char *instruction, rex_err *e) {
    if (d->verbatim || !d->prompt.p) return REX_OK;
    return rex_str_fmt(a, &d->prompt, e, "%.*s%s", (int)d->prompt.n, d->prompt.p, instruction);
}

static rex_status row_boxed(const rex_task *t, const rex_jval *row, const char *where,
                            bool solutions, rex_arena *a, rex_draft *d, rex_err *e) {
    (void)t;
    (void)row;
    (void)where;
    (void)solutions;
    return ask(a, d, boxed_please, e);
}

/* A reference solution ends in "#### N": the record's gold is N, the solution the response. */
static rex_status row_gsm8k(const rex_task *t, const rex_jval *row, const char *where,
                            bool solutions, rex_arena *a, rex_draft *d, rex_err *e) {
    (void)t;
    (void)row;
    (void)where;
    rex_str text;
    REX_TRY(rex_claim_text(a, d->answer, &text, e));
    const size_t at = text.p ? rex_find_last(text, "####") : SIZE_MAX;
    if (at != SIZE_MAX) {
        rex_str gold = rex_trim((rex_str){ text.p + at + 4, text.n - at - 4 });
        rex_buf b;
        rex_jw w;
        rex_buf_init(&b, 0);
        rex_jw_init(&w, &b);
        rex_jw_str(&w, gold);
        rex_status s = rex_buf_check(&b, e);
        if (s == REX_OK) s = rex_str_copy(a, (rex_str){ b.p, b.n }, &d->answer, e);
        rex_buf_free(&b);
        REX_TRY(s);
        if (solutions) d->response = text;
    }
    return ask(a, d, hashes_please, e);
}

/* ---- verdicts ---- */

static rex_status strict(rex_arena *a, rex_str gold, rex_str response, rex_judged *out,
                         rex_err *e) {
    rex_grade g;
    REX_TRY(rex_math_grade(gold, response, a, &g, e));
    out->extracted = g.extracted.n ? g.extracted : (rex_str){ NULL, 0 };
    return rex_judge(a, out, e, g.verdict, "%s", g.reason);
}

static bool is_paper(const rex_task *t) { return t->opt.grader == 1; }

static rex_status gold_of(const rex_claim *c, rex_arena *a, rex_str *gold, rex_err *e) {
    REX_TRY(rex_claim_text(a, c->answer, gold, e));
    if (!gold->p) *gold = (rex_str){ "", 0 };
    return REX_OK;
}

static rex_status verify_gsm8k(const rex_task *t, const rex_claim *c, rex_arena *a, rex_judged *out,
                               rex_err *e) {
    rex_str gold;
    REX_TRY(gold_of(c, a, &gold, e));
    if (is_paper(t)) return rex_paper_gsm8k(a, gold, c->response, out, e);
    const size_t mark = rex_find_last(gold, "####");
    if (mark != SIZE_MAX) gold = rex_trim((rex_str){ gold.p + mark + 4, gold.n - mark - 4 });
    /* the format that the prompt asks for: what stands behind the last hashes, on their line */
    rex_str text = c->response;
    const size_t at = rex_find_last(text, "####");
    if (at != SIZE_MAX) {
        rex_str tail = rex_trim((rex_str){ text.p + at + 4, text.n - at - 4 });
        const char *end = tail.n ? memchr(tail.p, '\n', tail.n) : NULL;
        if (end) tail.n = (size_t)(end - tail.p);
        if (tail.n) text = tail;
    }
    return strict(a, gold, text, out, e);
}

static rex_status verify_math(const rex_task *t, const rex_claim *c, rex_arena *a, rex_judged *out,
                              rex_err *e) {
    rex_str gold;
    REX_TRY(gold_of(c, a, &gold, e));
    return is_paper(t) ? rex_paper_math(a, gold, c->response, out, e)
                       : strict(a, gold, c->response, out, e);
}

static rex_status verify_aime(const rex_task *t, const rex_claim *c, rex_arena *a, rex_judged *out,
                              rex_err *e) {
    rex_str gold;
    REX_TRY(gold_of(c, a, &gold, e));
    return is_paper(t) ? rex_paper_aime(a, gold, c->response, out, e)
                       : strict(a, gold, c->response, out, e);
}

const rex_task_kind rex_task_kind_gsm8k = {
    .info = { "gsm8k", "grade-school word problems; the answer is a number", "question, answer",
              false, true },
    .chat = true,
    .row = row_gsm8k,
    .verify = verify_gsm8k,
};

const rex_task_kind rex_task_kind_math = {
    .info = { "math", "competition problems (MATH, MATH-500); any mathematical answer",
              "problem, answer", false, true },
    .chat = true,
    .row = row_boxed,
    .verify = verify_math,
};

const rex_task_kind rex_task_kind_aime = {
    .info = { "aime", "competition problems with integer answers (AIME, AMC)", "problem, answer",
              false, true },
    .chat = true,
    .row = row_boxed,
    .verify = verify_aime,
};
