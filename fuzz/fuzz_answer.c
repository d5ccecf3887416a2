/* SPDX-License-Identifier: MIT
 *
 * Any bytes as gold and response of the strict maths grader: the part before the first byte 0x1f
 * is the gold, what follows the response. The verdict must be one of four, the same twice and in a
 * used arena, the reason short; a text against itself must not be `wrong`.
 */
#include "../src/tasks/math.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    rex_arena *a;
    if (rex_arena_open((size_t)256 << 20, &a, NULL) != REX_OK) return 0;
    const char *text = (const char *)data;
    const char *cut = size ? memchr(text, 0x1f, size) : NULL;
    const rex_str gold = { text, cut ? (size_t)(cut - text) : size };
    const rex_str resp = cut ? (rex_str){ cut + 1, size - gold.n - 1 } : gold;
    rex_grade g, again, self;
    rex_err e;
    rex_assert(rex_math_grade(gold, resp, a, &g, &e) == REX_OK);
    rex_assert(g.verdict == REX_VERDICT_correct || g.verdict == REX_VERDICT_wrong ||
               g.verdict == REX_VERDICT_unparsed || g.verdict == REX_VERDICT_ambiguous);
    rex_assert(memchr(g.reason, 0, sizeof g.reason) && strlen(g.reason) <= 200);
    rex_assert(rex_math_grade(gold, resp, a, &again, &e) == REX_OK);
    rex_assert(again.verdict == g.verdict && strcmp(again.reason, g.reason) == 0);
    rex_assert(rex_math_grade_with(resp, resp, REX_MATH_NO_IDENTITY, a, &self, &e) == REX_OK);
    rex_assert(self.verdict != REX_VERDICT_wrong);
    rex_arena_close(a);
    return 0;
}
