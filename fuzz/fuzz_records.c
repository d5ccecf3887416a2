/* SPDX-License-Identifier: MIT
 *
 * A line of a file through both readers and the writer. What reads must write, and what was written
 * must read and write itself again, byte for byte.
 */
#include "../src/records/records.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void one_line(rex_arena *a, rex_str line) {
    rex_sample s, t;
    rex_prompt p;
    rex_str out, again;
    (void)!rex_prompt_parse(a, line, 1, "prompt=prompt.text", &p, NULL);
    if (rex_sample_parse(a, line, 1, NULL, &s, NULL) != REX_OK) return;
    const rex_status st = rex_sample_line(a, &s, &out, NULL);
    if (st != REX_OK)
        return; /* a name of more than 256 bytes, or what only the strict parser sees */
    rex_assert(rex_sample_parse(a, (rex_str){out.p, out.n - 1}, 1, NULL, &t, NULL) == REX_OK);
    rex_assert(rex_sample_line(a, &t, &again, NULL) == REX_OK);
    rex_assert(rex_str_eq(out, again));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    rex_arena *a = NULL;
    if (rex_arena_open((size_t)64 << 20, &a, NULL) != REX_OK) return 0;
    rex_fieldmap map;
    rex_str text;
    if (rex_str_copy(a, (rex_str){(const char *)data, size}, &text, NULL) == REX_OK) {
        (void)!rex_fieldmap_read(a, text.p, &map, NULL);
        one_line(a, text);
    }
    rex_arena_close(a);
    return 0;
}
