/* SPDX-License-Identifier: MIT
 *
 * vec_avx512.h: the vector vocabulary on AVX-512 (F, BW, VL, DQ). vf is VW floats, vd half as many
 * doubles. Every word is one IEEE operation per lane, or moves bits.
 */
#ifndef REX_VEC_AVX512_H
#define REX_VEC_AVX512_H

#include <immintrin.h>

#define VW 16
#define TILE_M 14  /* rows of a register tile; it is two vectors wide */
#define THIN_M 4   /* rows of the matrix-vector path */
#define STRIP_M 8  /* rows of a tile whose rows lie anywhere */
#define HOT static inline __attribute__((always_inline))

typedef __m512 vf;
typedef __m512d vd;
typedef __m512i vi;

HOT vf v_load(const float *p) { return _mm512_loadu_ps(p); }
HOT void v_store(float *p, vf v) { _mm512_storeu_ps(p, v); }
HOT vf v_loadn(const float *p, int64_t n) {
    return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1u), p);
}
HOT void v_storen(float *p, vf v, int64_t n) {
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1u), v);
}
HOT vf v_set(float x) { return _mm512_set1_ps(x); }
HOT vf v_zero(void) { return _mm512_setzero_ps(); }
HOT vf v_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
HOT vf v_add(vf a, vf b) { return _mm512_add_ps(a, b); }
HOT vf v_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
HOT vf v_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
HOT vf v_div(vf a, vf b) { return _mm512_div_ps(a, b); }
HOT vf v_sqrt(vf a) { return _mm512_sqrt_ps(a); }
HOT vf v_neg(vf a) {
    return _mm512_castsi512_ps(
        _mm512_xor_si512(_mm512_castps_si512(a), _mm512_set1_epi32((int)0x80000000)));
}
HOT vf v_max(vf x, vf m) { return _mm512_max_ps(x, m); } /* x > m ? x : m */
/* a > b ? x : y */
HOT vf v_pick_gt(vf a, vf b, vf x, vf y) {
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_GT_OQ), y, x);
}
/* (bits(t) + add) << 23 as a float */
HOT vf v_pow2(vf t, int add) {
    return _mm512_castsi512_ps(
        _mm512_slli_epi32(_mm512_add_epi32(_mm512_castps_si512(t), _mm512_set1_epi32(add)), 23));
}
HOT vf v_near_bf16(vf v) {
    const vi u = _mm512_castps_si512(v);
    const vi odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
    vi r = _mm512_add_epi32(_mm512_add_epi32(u, _mm512_set1_epi32(0x7fff)), odd);
    const __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    r = _mm512_mask_or_epi32(r, nan, u, _mm512_set1_epi32(0x400000));
    return _mm512_castsi512_ps(_mm512_and_si512(r, _mm512_set1_epi32((int)0xffff0000)));
}
/* Top halves of v, which hold all of it. */
HOT void v_store_top(uint16_t *p, vf v) {
    _mm256_storeu_si256((__m256i *)(void *)p,
                        _mm512_cvtepi32_epi16(_mm512_srli_epi32(_mm512_castps_si512(v), 16)));
}
HOT vf v_load_bf16(const uint16_t *p) {
    const __m256i h = _mm256_loadu_si256((const __m256i *)(const void *)p);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}
HOT vf v_load_f16(const uint16_t *p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}
HOT void v_store_f16(uint16_t *p, vf v) {
    _mm256_storeu_si256((__m256i *)(void *)p,
                        _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
HOT vf v_load_i8(const int8_t *p) {
    return _mm512_cvtepi32_ps(
        _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)));
}
/* VW pairs of bf16: the first of each pair, the second of each. */
HOT void v_load_pairs(const uint16_t *p, vf *first, vf *second) {
    const vi u = _mm512_loadu_si512(p);
    *first = _mm512_castsi512_ps(_mm512_slli_epi32(u, 16));
    *second = _mm512_castsi512_ps(_mm512_and_si512(u, _mm512_set1_epi32((int)0xffff0000)));
}
/* Bits of (top half of a) | (top half of b) << 16: how pairs are stored. */
HOT void v_store_pairs(uint16_t *p, vf first, vf second) {
    const vi a = _mm512_srli_epi32(_mm512_castps_si512(first), 16);
    const vi b = _mm512_and_si512(_mm512_castps_si512(second), _mm512_set1_epi32((int)0xffff0000));
    _mm512_storeu_si512(p, _mm512_or_si512(a, b));
}

/* Pairs for interleaved channels: even ones of a:b, odd ones, and back. */
HOT vf v_even(vf a, vf b) {
    const vi i = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    return _mm512_permutex2var_ps(a, i, b);
}
HOT vf v_odd(vf a, vf b) {
    const vi i = _mm512_set_epi32(31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1);
    return _mm512_permutex2var_ps(a, i, b);
}

/* a0 b0 a1 b1 ... */
HOT void v_store_zip(float *p, vf a, vf b) {
    const vi lo = _mm512_set_epi32(23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    const vi hi = _mm512_set_epi32(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8);
    _mm512_storeu_ps(p, _mm512_permutex2var_ps(a, lo, b));
    _mm512_storeu_ps(p + 16, _mm512_permutex2var_ps(a, hi, b));
}

/* VW x VW transpose in place. */
HOT void v_transpose(vf r[VW]) {
    vf t[VW];
#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_shuffle_ps(t[i], t[i + 2], 0x44);
        r[i + 1] = _mm512_shuffle_ps(t[i], t[i + 2], 0xee);
        r[i + 2] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        r[i + 3] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        t[i] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0xdd);
        t[i + 8] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0x88);
        t[i + 12] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0xdd);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        r[i] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0x88);
        r[i + 8] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0xdd);
        r[i + 4] = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0x88);
        r[i + 12] = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0xdd);
    }
}

/* ---- doubles: lanes 0 .. VW/2-1 of a vf are `lo`, the others `hi` --------------------------- */

HOT vd d_lo(vf v) { return _mm512_cvtps_pd(_mm512_castps512_ps256(v)); }
HOT vd d_hi(vf v) { return _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1)); }
HOT vf d_narrow(vd lo, vd hi) {
    return _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(lo)), _mm512_cvtpd_ps(hi), 1);
}
HOT vd d_load(const double *p) { return _mm512_loadu_pd(p); }
HOT void d_store(double *p, vd v) { _mm512_storeu_pd(p, v); }
HOT vd d_set(double x) { return _mm512_set1_pd(x); }
HOT vd d_zero(void) { return _mm512_setzero_pd(); }
HOT vd d_fma(vd a, vd b, vd c) { return _mm512_fmadd_pd(a, b, c); }
HOT vd d_add(vd a, vd b) { return _mm512_add_pd(a, b); }
HOT vd d_sub(vd a, vd b) { return _mm512_sub_pd(a, b); }
HOT vd d_mul(vd a, vd b) { return _mm512_mul_pd(a, b); }
HOT vd d_pick_gt(vd a, vd b, vd x, vd y) {
    return _mm512_mask_blend_pd(_mm512_cmp_pd_mask(a, b, _CMP_GT_OQ), y, x);
}
HOT vd d_pow2(vd t, int64_t add) {
    return _mm512_castsi512_pd(
        _mm512_slli_epi64(_mm512_add_epi64(_mm512_castpd_si512(t), _mm512_set1_epi64(add)), 52));
}

#endif
