/* SPDX-License-Identifier: MIT
 *
 * Safetensors files: the bytes of every tensor that a handle gives can be read.
 */
#include "fuzz_file.h"

#include "../src/formats/formats.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    rex_st *s;
    rex_err e;
    if (rex_st_open(fuzz_file(data, size), &s, &e) != REX_OK) return 0;
    uint64_t sum = 0;
    for (size_t i = 0; i < rex_st_count(s); i++) {
        const rex_tensor *t = rex_st_at(s, i);
        for (size_t k = 0; k < t->data.n; k++) sum += t->data.p[k];
        float x;
        if (rex_dtype_get(t->type)->wide && t->rows && t->cols)
            rex_tensor_get_f32(t, t->rows - 1, t->cols - 1, 1, &x);
        if (t->data.n != (size_t)t->rows * t->row_bytes) abort();
    }
    for (size_t i = 0; i < rex_st_meta_count(s); i++) {
        rex_str k;
        rex_str v;
        rex_st_meta_at(s, i, &k, &v);
        sum += k.n + v.n;
    }
    rex_st_close(s);
    return sum == UINT64_MAX;
}
