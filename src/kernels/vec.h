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

/* ---- a tile whose rows lie anywhere (cpu_vec_gemm.c) ---------------------------------------- */

/* For i < rows: y[i][0 .. cols-1] (+)= chain over k of x[i][k] b[k][0 .. cols-1], ascending k;
 * rows <= STRIP_M, cols <= 2 VW; from 0 unless `more`. */
void VEC(strip)(int rows, int64_t cols, int64_t k_len, const float *const *x, const float *b,
                int64_t ldb, float *const *y, bool more);
/* The same, going on from y, where rows end or begin within k_len steps: row i takes part in step k
 * while at + k * by < limit[i]. */
void VEC(strip_some)(int rows, int64_t cols, int64_t k_len, const float *const *x, const float *b,
                     int64_t ldb, float *const *y, const float *limit, float at, float by);

#endif
