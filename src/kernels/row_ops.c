/* SPDX-License-Identifier: MIT
 *
 * row_ops: which table of row operations this machine gets. Compiled for the baseline, because it
 * runs before anyone knows what the processor can do. The choice never changes a result: all tables
 * return the same bits (tests/test_row_ops.c compares them), so it needs no setting in a run's
 * record.
 */
#include "row_ops.h"

/* The plain build, for the table "ref". */
#include "cpu_vec_rows.c"

int64_t rex_elem_bytes(rex_elem type) {
    switch (type) {
    case REX_ELEM_F32: return 4;
    case REX_ELEM_F64: return 8;
    case REX_ELEM_F16:
    case REX_ELEM_BF16: return 2;
    case REX_ELEM_COUNT: break;
    }
    rex_die(__FILE__, __LINE__, "element type");
}

/* Fastest first. */
static size_t tables(const rex_row_ops *out[3]) {
    size_t n = 0;
#ifdef __x86_64__
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw"))
        out[n++] = &rex_row_ops_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        out[n++] = &rex_row_ops_avx2;
#endif
#ifdef __aarch64__
    out[n++] = &rex_row_ops_neon;
#endif
    out[n++] = &rex_row_ops_ref;
    return n;
}

const rex_row_ops *rex_row_ops_best(void) {
    const rex_row_ops *t[3];
    (void)tables(t);
    return t[0];
}

const rex_row_ops *rex_row_ops_find(const char *name) {
    const rex_row_ops *t[3];
    const size_t n = tables(t);
    for (size_t i = 0; i < n; i++)
        if (rex_str_is(rex_str_of(t[i]->name), name)) return t[i];
    return NULL;
}
