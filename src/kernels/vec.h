/* SPDX-License-Identifier: MIT
 *
 * vec.h: the vocabulary of the vector files, for the one instruction set that a file is being
 * compiled for. VEC(op) names this set's version of an operation; a vector file that implements one
 * is linked into that set's table at the bottom of cpu_vec.c.
 */
#ifndef REX_VEC_H
#define REX_VEC_H

#include "kern_impl.h"

#if defined(REX_VEC_AVX512)
#include "vec_avx512.h"
#define VEC(op) rex_avx512_##op
#define VEC_NAME "avx512"
#define VEC_TABLE rex_kern_avx512
#elif defined(REX_VEC_AVX2)
#include "vec_avx2.h"
#define VEC(op) rex_avx2_##op
#define VEC_NAME "avx2"
#define VEC_TABLE rex_kern_avx2
#elif defined(REX_VEC_NEON)
#include "vec_neon.h"
#define VEC(op) rex_neon_##op
#define VEC_NAME "neon"
#define VEC_TABLE rex_kern_neon
#endif

#define X(ret, op, args) ret VEC(op) args;
REX_KERN_OPS(X)
#undef X

extern const rex_kern VEC_TABLE;

/* Vectors in sixteen lanes. */
#define NL (16 / VW)

/* exp_f32 of kern_math.h, lane by lane. */
HOT vf v_exp(vf x) {
    const vf t = v_fma(x, v_set(EXPF_LOG2E), v_set(EXPF_ROUND));
    const vf n = v_sub(t, v_set(EXPF_ROUND));
    vf r = v_fma(n, v_set(-EXPF_HI), x);
    r = v_fma(n, v_set(-EXPF_LO), r);
    vf p = v_fma(v_set(EXPF_C4), r, v_set(EXPF_C3));
    p = v_fma(p, r, v_set(EXPF_C2));
    p = v_fma(p, r, v_set(EXPF_C1));
    p = v_fma(p, r, v_set(EXPF_C0));
    p = v_fma(p, r, v_set(1.0f));
    p = v_fma(p, r, v_set(1.0f));
    vf y = v_mul(p, v_pow2(t, 126));
    y = v_add(y, y);
    y = v_pick_gt(v_set(EXPF_LOW), x, v_zero(), y);
    return v_pick_gt(x, v_set(EXPF_TOP), v_set(INFINITY), y);
}

/* exp_f64 of kern_math.h. */
HOT vd d_exp(vd x) {
    const vd t = d_fma(x, d_set(EXPD_LOG2E), d_set(EXPD_ROUND));
    const vd n = d_sub(t, d_set(EXPD_ROUND));
    vd r = d_fma(n, d_set(-EXPD_HI), x);
    r = d_fma(n, d_set(-EXPD_LO), r);
    vd p = d_fma(d_set(EXPD_C8), r, d_set(EXPD_C7));
    p = d_fma(p, r, d_set(EXPD_C6));
    p = d_fma(p, r, d_set(EXPD_C5));
    p = d_fma(p, r, d_set(EXPD_C4));
    p = d_fma(p, r, d_set(EXPD_C3));
    p = d_fma(p, r, d_set(EXPD_C2));
    p = d_fma(p, r, d_set(EXPD_C1));
    p = d_fma(p, r, d_set(EXPD_C0));
    p = d_fma(p, r, d_set(1.0));
    p = d_fma(p, r, d_set(1.0));
    vd y = d_mul(p, d_pow2(t, 1022));
    y = d_add(y, y);
    y = d_pick_gt(d_set(EXPD_LOW), x, d_zero(), y);
    return d_pick_gt(x, d_set(EXPD_TOP), d_set((double)INFINITY), y);
}

HOT vf v_gate_arg(vf x, rex_act act) {
    if (act == REX_SILU) return x;
    return v_mul(x, v_fma(v_mul(x, x), v_set(GELU_B), v_set(GELU_A)));
}

/* ---- a tile whose rows lie anywhere (cpu_vec_strip.c) --------------------------------------- */

/* For i < rows: y[i][0 .. cols-1] (+)= chain over ascending k of x[i][k] b[k][0 .. cols-1], from 0
 * unless `more`. The first `before` steps are those of rows that begin early and the last `after`
 * those of rows that end late; all rows take part in the `all` steps between them. Done `count`
 * times, each time dx, db and dy floats further on. */
typedef struct {
    int rows; /* <= STRIP_M */
    bool more;
    int64_t cols; /* <= 2 VW */
    int64_t before, all, after;
    float early[STRIP_M], late[STRIP_M]; /* row i takes so many, the last and the first of them */
    const float *x[STRIP_M], *b;
    int64_t ldb;
    float *y[STRIP_M];
    int64_t count, dx, db, dy;
} strip;

void VEC(strip_run)(const strip *s);

#endif
