/* SPDX-License-Identifier: MIT
 *
 * vec_neon.h: the vector vocabulary on AArch64 NEON; see vec_avx512.h for the meanings.
 */
#ifndef REX_VEC_NEON_H
#define REX_VEC_NEON_H

#include <arm_neon.h>

#define VW 4
#define TILE_M 12
#define THIN_M 2
#define STRIP_M 8
#define HOT static inline __attribute__((always_inline))

typedef float32x4_t vf;
typedef float64x2_t vd;

HOT vf v_load(const float *p) { return vld1q_f32(p); }
HOT void v_store(float *p, vf v) { vst1q_f32(p, v); }
HOT vf v_loadn(const float *p, int64_t n) {
    float t[4] = { 0.0f, 0.0f, 0.0f, 0.0f };
    for (int64_t i = 0; i < n; i++) t[i] = p[i];
    return vld1q_f32(t);
}
HOT void v_storen(float *p, vf v, int64_t n) {
    float t[4];
    vst1q_f32(t, v);
    for (int64_t i = 0; i < n; i++) p[i] = t[i];
}
HOT vf v_set(float x) { return vdupq_n_f32(x); }
HOT vf v_zero(void) { return vdupq_n_f32(0.0f); }
HOT vf v_fma(vf a, vf b, vf c) { return vfmaq_f32(c, a, b); }
HOT vf v_add(vf a, vf b) { return vaddq_f32(a, b); }
HOT vf v_sub(vf a, vf b) { return vsubq_f32(a, b); }
HOT vf v_mul(vf a, vf b) { return vmulq_f32(a, b); }
HOT vf v_div(vf a, vf b) { return vdivq_f32(a, b); }
HOT vf v_sqrt(vf a) { return vsqrtq_f32(a); }
HOT vf v_neg(vf a) { return vnegq_f32(a); }
HOT vf v_max(vf x, vf m) { return vbslq_f32(vcgtq_f32(x, m), x, m); }
HOT vf v_pick_gt(vf a, vf b, vf x, vf y) { return vbslq_f32(vcgtq_f32(a, b), x, y); }
HOT vf v_pow2(vf t, int add) {
    return vreinterpretq_f32_u32(
        vshlq_n_u32(vaddq_u32(vreinterpretq_u32_f32(t), vdupq_n_u32((uint32_t)add)), 23));
}
HOT vf v_near_bf16(vf v) {
    const uint32x4_t u = vreinterpretq_u32_f32(v);
    const uint32x4_t odd = vandq_u32(vshrq_n_u32(u, 16), vdupq_n_u32(1));
    const uint32x4_t r = vaddq_u32(vaddq_u32(u, vdupq_n_u32(0x7fff)), odd);
    const uint32x4_t quiet = vorrq_u32(u, vdupq_n_u32(0x400000));
    const uint32x4_t w = vbslq_u32(vceqq_f32(v, v), r, quiet);
    return vreinterpretq_f32_u32(vandq_u32(w, vdupq_n_u32(0xffff0000u)));
}
HOT void v_store_top(uint16_t *p, vf v) { vst1_u16(p, vshrn_n_u32(vreinterpretq_u32_f32(v), 16)); }
HOT vf v_load_bf16(const uint16_t *p) {
    return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16));
}
HOT vf v_load_f16(const uint16_t *p) {
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
}
HOT void v_store_f16(uint16_t *p, vf v) { vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(v))); }
HOT vf v_load_i8(const int8_t *p) {
    int8_t t[8] = { p[0], p[1], p[2], p[3], 0, 0, 0, 0 };
    return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(vld1_s8(t)))));
}
HOT void v_load_pairs(const uint16_t *p, vf *first, vf *second) {
    const uint32x4_t u = vreinterpretq_u32_u16(vld1q_u16(p));
    *first = vreinterpretq_f32_u32(vshlq_n_u32(u, 16));
    *second = vreinterpretq_f32_u32(vandq_u32(u, vdupq_n_u32(0xffff0000u)));
}
HOT void v_store_pairs(uint16_t *p, vf first, vf second) {
    const uint32x4_t a = vshrq_n_u32(vreinterpretq_u32_f32(first), 16);
    const uint32x4_t b = vandq_u32(vreinterpretq_u32_f32(second), vdupq_n_u32(0xffff0000u));
    vst1q_u16(p, vreinterpretq_u16_u32(vorrq_u32(a, b)));
}
HOT vf v_even(vf a, vf b) { return vuzp1q_f32(a, b); }
HOT vf v_odd(vf a, vf b) { return vuzp2q_f32(a, b); }
HOT void v_store_zip(float *p, vf a, vf b) {
    vst1q_f32(p, vzip1q_f32(a, b));
    vst1q_f32(p + 4, vzip2q_f32(a, b));
}
HOT void v_transpose(vf r[VW]) {
    const float32x4x2_t a = vtrnq_f32(r[0], r[1]);
    const float32x4x2_t b = vtrnq_f32(r[2], r[3]);
    r[0] = vcombine_f32(vget_low_f32(a.val[0]), vget_low_f32(b.val[0]));
    r[1] = vcombine_f32(vget_low_f32(a.val[1]), vget_low_f32(b.val[1]));
    r[2] = vcombine_f32(vget_high_f32(a.val[0]), vget_high_f32(b.val[0]));
    r[3] = vcombine_f32(vget_high_f32(a.val[1]), vget_high_f32(b.val[1]));
}

HOT vd d_lo(vf v) { return vcvt_f64_f32(vget_low_f32(v)); }
HOT vd d_hi(vf v) { return vcvt_high_f64_f32(v); }
HOT vf d_narrow(vd lo, vd hi) { return vcvt_high_f32_f64(vcvt_f32_f64(lo), hi); }
HOT vd d_load(const double *p) { return vld1q_f64(p); }
HOT void d_store(double *p, vd v) { vst1q_f64(p, v); }
HOT vd d_set(double x) { return vdupq_n_f64(x); }
HOT vd d_zero(void) { return vdupq_n_f64(0.0); }
HOT vd d_fma(vd a, vd b, vd c) { return vfmaq_f64(c, a, b); }
HOT vd d_add(vd a, vd b) { return vaddq_f64(a, b); }
HOT vd d_sub(vd a, vd b) { return vsubq_f64(a, b); }
HOT vd d_mul(vd a, vd b) { return vmulq_f64(a, b); }
HOT vd d_pick_gt(vd a, vd b, vd x, vd y) { return vbslq_f64(vcgtq_f64(a, b), x, y); }
HOT vd d_pow2(vd t, int64_t add) {
    return vreinterpretq_f64_u64(
        vshlq_n_u64(vaddq_u64(vreinterpretq_u64_f64(t), vdupq_n_u64((uint64_t)add)), 52));
}

#endif
