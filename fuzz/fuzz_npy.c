/* SPDX-License-Identifier: MIT
 *
 * Array files: whatever opens can be read from the first row to the last.
 */
#include "fuzz_file.h"

#include "../src/formats/formats.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    rex_rows *r;
    rex_err e;
    if (rex_rows_open(fuzz_file(data, size), &r, &e) != REX_OK) return 0;
    float row[64];
    if (rex_rows_dim(r) <= 64) {
        const int64_t n = rex_rows_count(r);
        for (int64_t i = 0; i < n && i < 100; i++) rex_rows_get_f32(r, i, 1, row);
        if (n) rex_rows_get_f32(r, n - 1, 1, row);
    }
    rex_rows_close(r);
    return 0;
}
