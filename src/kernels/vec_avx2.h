/* SPDX-License-Identifier: MIT
 *
 * vec_avx2.h: the vector vocabulary on AVX2 with FMA and F16C; see vec_avx512.h for the meanings.
 */
#ifndef REX_VEC_AVX2_H
#define REX_VEC_AVX2_H

#include <immintrin.h>

#define VW 8
#define TILE_M 6
#define THIN_M 2
#define STRIP_M 4
#define HOT static inline __attribute__((always_inline))

typedef __m256 vf;
typedef __m256d vd;
typedef __m256i vi;

HOT vi vi_first(int64_t n) { /* all ones in the first n lanes */
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0));
}
HOT vf v_load(const float *p) { return _mm256_loadu_ps(p); }
HOT void v_store(float *p, vf v) { _mm256_storeu_ps(p, v); }
HOT vf v_loadn(const float *p, int64_t n) { return _mm256_maskload_ps(p, vi_first(n)); }
HOT void v_storen(float *p, vf v, int64_t n) { _mm256_maskstore_ps(p, vi_first(n), v); }
HOT vf v_set(float x) { return _mm256_set1_ps(x); }
HOT vf v_zero(void) { return _mm256_setzero_ps(); }
HOT vf v_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
HOT vf v_add(vf a, vf b) { return _mm256_add_ps(a, b); }
HOT vf v_sub(vf a, vf b) { return _mm256_sub_ps(a, b); }
HOT vf v_mul(vf a, vf b) { return _mm256_mul_ps(a, b); }
HOT vf v_div(vf a, vf b) { return _mm256_div_ps(a, b); }
HOT vf v_sqrt(vf a) { return _mm256_sqrt_ps(a); }
HOT vf v_neg(vf a) { return _mm256_xor_ps(a, _mm256_set1_ps(-0.0f)); }
HOT vf v_max(vf x, vf m) { return _mm256_max_ps(x, m); }
HOT vf v_pick_gt(vf a, vf b, vf x, vf y) {
    return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_GT_OQ));
}
HOT vf v_pow2(vf t, int add) {
    return _mm256_castsi256_ps(
        _mm256_slli_epi32(_mm256_add_epi32(_mm256_castps_si256(t), _mm256_set1_epi32(add)), 23));
}
HOT vf v_near_bf16(vf v) {
    const vi u = _mm256_castps_si256(v);
    const vi odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
    const vi r = _mm256_add_epi32(_mm256_add_epi32(u, _mm256_set1_epi32(0x7fff)), odd);
    const vf nan = _mm256_cmp_ps(v, v, _CMP_UNORD_Q);
    const vf quiet = _mm256_or_ps(v, _mm256_castsi256_ps(_mm256_set1_epi32(0x400000)));
    const vf w = _mm256_blendv_ps(_mm256_castsi256_ps(r), quiet, nan);
    return _mm256_and_ps(w, _mm256_castsi256_ps(_mm256_set1_epi32((int)0xffff0000)));
}
HOT void v_store_top(uint16_t *p, vf v) {
    const vi u = _mm256_srli_epi32(_mm256_castps_si256(v), 16);
    const vi h = _mm256_permute4x64_epi64(_mm256_packus_epi32(u, u), 0x08);
    _mm_storeu_si128((__m128i *)(void *)p, _mm256_castsi256_si128(h));
}
HOT vf v_load_bf16(const uint16_t *p) {
    const __m128i h = _mm_loadu_si128((const __m128i *)(const void *)p);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}
HOT vf v_load_f16(const uint16_t *p) {
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
}
HOT void v_store_f16(uint16_t *p, vf v) {
    _mm_storeu_si128((__m128i *)(void *)p,
                     _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
HOT vf v_load_i8(const int8_t *p) {
    return _mm256_cvtepi32_ps(
        _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p)));
}
HOT void v_load_pairs(const uint16_t *p, vf *first, vf *second) {
    const vi u = _mm256_loadu_si256((const vi *)(const void *)p);
    *first = _mm256_castsi256_ps(_mm256_slli_epi32(u, 16));
    *second = _mm256_castsi256_ps(_mm256_and_si256(u, _mm256_set1_epi32((int)0xffff0000)));
}
HOT void v_store_pairs(uint16_t *p, vf first, vf second) {
    const vi a = _mm256_srli_epi32(_mm256_castps_si256(first), 16);
    const vi b = _mm256_and_si256(_mm256_castps_si256(second), _mm256_set1_epi32((int)0xffff0000));
    _mm256_storeu_si256((vi *)(void *)p, _mm256_or_si256(a, b));
}
HOT vf v_even(vf a, vf b) {
    const vf t = _mm256_shuffle_ps(a, b, 0x88);
    return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(t), 0xd8));
}
HOT vf v_odd(vf a, vf b) {
    const vf t = _mm256_shuffle_ps(a, b, 0xdd);
    return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(t), 0xd8));
}
HOT void v_store_zip(float *p, vf a, vf b) {
    const vf lo = _mm256_unpacklo_ps(a, b);
    const vf hi = _mm256_unpackhi_ps(a, b);
    _mm256_storeu_ps(p, _mm256_permute2f128_ps(lo, hi, 0x20));
    _mm256_storeu_ps(p + 8, _mm256_permute2f128_ps(lo, hi, 0x31));
}
HOT void v_transpose(vf r[VW]) {
    vf t[VW];
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
        r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
        r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
    for (int i = 0; i < 4; i++) {
        t[i] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x20);
        t[i + 4] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x31);
    }
    for (int i = 0; i < 8; i++) r[i] = t[i];
}

HOT vd d_lo(vf v) { return _mm256_cvtps_pd(_mm256_castps256_ps128(v)); }
HOT vd d_hi(vf v) { return _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1)); }
HOT vf d_narrow(vd lo, vd hi) {
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm256_cvtpd_ps(lo)), _mm256_cvtpd_ps(hi),
                                1);
}
HOT vd d_load(const double *p) { return _mm256_loadu_pd(p); }
HOT void d_store(double *p, vd v) { _mm256_storeu_pd(p, v); }
HOT vd d_set(double x) { return _mm256_set1_pd(x); }
HOT vd d_zero(void) { return _mm256_setzero_pd(); }
HOT vd d_fma(vd a, vd b, vd c) { return _mm256_fmadd_pd(a, b, c); }
HOT vd d_add(vd a, vd b) { return _mm256_add_pd(a, b); }
HOT vd d_sub(vd a, vd b) { return _mm256_sub_pd(a, b); }
HOT vd d_mul(vd a, vd b) { return _mm256_mul_pd(a, b); }
HOT vd d_pick_gt(vd a, vd b, vd x, vd y) {
    return _mm256_blendv_pd(y, x, _mm256_cmp_pd(a, b, _CMP_GT_OQ));
}
HOT vd d_pow2(vd t, int64_t add) {
    return _mm256_castsi256_pd(
        _mm256_slli_epi64(_mm256_add_epi64(_mm256_castpd_si256(t), _mm256_set1_epi64x(add)), 52));
}

#endif
