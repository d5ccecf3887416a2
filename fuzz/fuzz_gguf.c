/* SPDX-License-Identifier: MIT
 *
 * GGUF files: all metadata and the last block of every tensor that a handle gives can be read.
 */
#include "fuzz_file.h"

#include "../src/formats/formats.h"

static uint64_t read_meta(const rex_gguf_meta *m) {
    uint64_t sum = m->key.n;
    for (uint64_t i = 0; i < m->n && m->elem != REX_G_ARR; i++) {
        if (m->str)
            for (size_t k = 0; k < m->str[i].n; k++) sum += (uint8_t)m->str[i].p[k];
        else sum += (uint64_t)rex_gguf_elem_i64(m, i) + (rex_gguf_elem_f64(m, i) > 0);
    }
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    rex_gguf *g;
    rex_err e;
    if (rex_gguf_open(fuzz_file(data, size), &g, &e) != REX_OK) return 0;
    uint64_t sum = 0;
    for (size_t i = 0; i < rex_gguf_meta_count(g); i++) sum += read_meta(rex_gguf_meta_at(g, i));
    for (size_t i = 0; i < rex_gguf_count(g); i++) {
        const rex_tensor *t = rex_gguf_at(g, i);
        const int block = rex_dtype_get(t->type)->block;
        float x[256];
        if (rex_dtype_get(t->type)->wide && t->rows && t->cols)
            rex_tensor_get_f32(t, t->rows - 1, t->cols - block, block, x);
        if (t->data.n != (size_t)t->rows * t->row_bytes) abort();
    }
    rex_gguf_close(g);
    return sum == UINT64_MAX;
}
