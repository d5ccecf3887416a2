/* SPDX-License-Identifier: MIT
 *
 * math.h: the strict grader of mathematical answers. Two texts go in, the gold answer and the
 * response; a verdict, the extracted answer and a reason come out. The judgement calls are written
 * down in docs/grading.md. Promises: a pure function of its two texts, safe from any thread,
 * bounded by counted steps (never by a clock or a signal), and `correct` only where equality is
 * proved by exact means; what cannot be decided is `ambiguous`.
 */
#ifndef REX_TASKS_MATH_H
#define REX_TASKS_MATH_H

#include "../base/base.h"

#define REX_GRADE_REASON 208

typedef struct {
    rex_verdict verdict;           /* correct, wrong, unparsed or ambiguous */
    rex_str extracted;             /* the answer found; a view of the response, or in the scratch */
    char reason[REX_GRADE_REASON]; /* a sentence of at most 200 bytes, NUL-terminated */
} rex_grade;

enum {
    REX_MATH_NO_IDENTITY = 1, /* tests: equal texts and equal trees are no proof */
};

/* Grades `response` against `gold`; both pass the same extraction (last box, then "answer is",
 * then last expression), and both may be any bytes. A gold that cannot be read gives `ambiguous`
 * with a reason that begins with "gold:". Everything taken from `scratch` may be given back by the
 * caller after reading `out`. Fails with REX_ENOMEM only. */
REX_MUST rex_status rex_math_grade(rex_str gold, rex_str response, rex_arena *scratch,
                                   rex_grade *out, rex_err *e);
/* The same with flags (REX_MATH_...). */
REX_MUST rex_status rex_math_grade_with(rex_str gold, rex_str response, int flags,
                                        rex_arena *scratch, rex_grade *out, rex_err *e);

#endif
