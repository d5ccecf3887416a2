/* SPDX-License-Identifier: MIT
 *
 * quant.c: the block-quantised types of GGUF, widened to f32. The formulas, for element i of a
 * block with scale d (f16), minimum m (f16) and packed integer q_i:
 *     Q4_0 d (q - 8)   Q5_0 d (q - 16)   Q8_0 d q   Q4_1, Q5_1 d q + m
 *     Q4_K, Q5_K (d s_j) q - (dmin m_j)  over 8 sub-blocks j of 32, s_j and m_j of 6 bits
 *     Q6_K (d s_j) (q - 32)              over 16 sub-blocks j of 16, s_j of 8 bits, signed
 * each product and sum rounded to f32 in the order written (the build forbids contraction), which
 * is what the `gguf` Python package computes: tests/golden/quant.bin holds its answers.
 * A block is read with byte loads only, so its address need not be aligned.
 */
#include "quant.h"

#include <math.h>
#include <string.h>

enum { QK = 256 };

static float half_at(const uint8_t *p) { return rex_f16_f32((uint16_t)(p[0] | p[1] << 8)); }

/* Loops have constant lengths and restricted pointers, so that the compiler makes vectors of them.
 *
 * 16 bytes hold 32 nibbles: the low ones are elements 0..15, the high ones 16..31. */
static void nibbles(const uint8_t *restrict q, int *restrict out) {
    for (int i = 0; i < 16; i++) out[i] = q[i] & 15;
    for (int i = 0; i < 16; i++) out[i + 16] = q[i] >> 4;
}

static void fifth_bits(uint32_t high, int *restrict out) {
    for (int i = 0; i < 32; i++) out[i] |= (int)((high >> i & 1) << 4);
}

static uint32_t word_at(const uint8_t *p) {
    uint32_t w;
    memcpy(&w, p, 4);
    return w;
}

static void block_q4_0(const uint8_t *restrict b, float *restrict out) {
    const float d = half_at(b);
    int q[32];
    nibbles(b + 2, q);
    for (int i = 0; i < 32; i++) out[i] = d * (float)(q[i] - 8);
}

static void block_q4_1(const uint8_t *restrict b, float *restrict out) {
    const float d = half_at(b);
    const float m = half_at(b + 2);
    int q[32];
    nibbles(b + 4, q);
    for (int i = 0; i < 32; i++) out[i] = d * (float)q[i] + m;
}

static void block_q5_0(const uint8_t *restrict b, float *restrict out) {
    const float d = half_at(b);
    int q[32];
    nibbles(b + 6, q);
    fifth_bits(word_at(b + 2), q);
    for (int i = 0; i < 32; i++) out[i] = d * (float)(q[i] - 16);
}

static void block_q5_1(const uint8_t *restrict b, float *restrict out) {
    const float d = half_at(b);
    const float m = half_at(b + 2);
    int q[32];
    nibbles(b + 8, q);
    fifth_bits(word_at(b + 4), q);
    for (int i = 0; i < 32; i++) out[i] = d * (float)q[i] + m;
}

static void block_q8_0(const uint8_t *restrict b, float *restrict out) {
    const float d = half_at(b);
    for (int i = 0; i < 32; i++) out[i] = (float)(int8_t)b[2 + i] * d;
}

/* The scale and minimum of sub-block j of Q4_K and Q5_K, 6 bits each in 12 bytes: bytes 0..3 and
 * 4..7 hold those of sub-blocks 0..3 in their low six bits; of sub-blocks 4..7 the low four bits
 * are the nibbles of bytes 8..11, the high two bits the top of bytes 0..3 and 4..7. */
static void scale_min(const uint8_t *s, int j, int *scale, int *min) {
    if (j < 4) {
        *scale = s[j] & 63;
        *min = s[j + 4] & 63;
    } else {
        *scale = (s[j + 4] & 15) | (s[j - 4] >> 6) << 4;
        *min = (s[j + 4] >> 4) | (s[j] >> 6) << 4;
    }
}

/* Q4_K (high == NULL) and Q5_K: each 32 bytes of q hold two sub-blocks, low nibbles first; bit j
 * of high[i] is the fifth bit of element i of sub-block j. */
static void block_q45_k(const uint8_t *b, const uint8_t *q, const uint8_t *high,
                        float *restrict out) {
    const float d = half_at(b);
    const float dmin = half_at(b + 2);
    for (int j = 0; j < 8; j++) {
        int scale;
        int min;
        scale_min(b + 4, j, &scale, &min);
        const float ds = d * (float)scale;
        const float dm = dmin * (float)min;
        const uint8_t *part = q + 32 * (j / 2);
        for (int i = 0; i < 32; i++) {
            const int low = j & 1 ? part[i] >> 4 : part[i] & 15;
            const int v = low | (high ? (high[i] >> j & 1) << 4 : 0);
            out[32 * j + i] = ds * (float)v - dm;
        }
    }
}

static void block_q4_k(const uint8_t *restrict b, float *restrict out) {
    block_q45_k(b, b + 16, NULL, out);
}

static void block_q5_k(const uint8_t *restrict b, float *restrict out) {
    block_q45_k(b, b + 48, b + 16, out);
}

/* 128 bytes of low nibbles, 64 of high bit pairs, 16 signed scales, d. Element 128 h + 32 k + i
 * has its nibble in byte 64 h + 32 (k & 1) + i (low half for k < 2), its pair at bit 2 k of byte
 * 32 h + i. */
static void block_q6_k(const uint8_t *restrict b, float *restrict out) {
    const uint8_t *high = b + 128;
    const uint8_t *scale = b + 192;
    const float d = half_at(b + 208);
    for (int j = 0; j < QK; j++) {
        const int h = j / 128;
        const int k = j / 32 % 4;
        const int i = j % 32;
        const uint8_t low = b[64 * h + 32 * (k & 1) + i];
        const int q = (k < 2 ? low & 15 : low >> 4) | (high[32 * h + i] >> (2 * k) & 3) << 4;
        const float ds = d * (float)(int8_t)scale[j / 16];
        out[j] = ds * (float)(q - 32);
    }
}

void rex_quant_widen(rex_dtype t, const uint8_t *src, int64_t n, float *out) {
    void (*block)(const uint8_t *, float *) = NULL;
    switch (t) {
    case REX_T_Q4_0: block = block_q4_0; break;
    case REX_T_Q4_1: block = block_q4_1; break;
    case REX_T_Q5_0: block = block_q5_0; break;
    case REX_T_Q5_1: block = block_q5_1; break;
    case REX_T_Q8_0: block = block_q8_0; break;
    case REX_T_Q4_K: block = block_q4_k; break;
    case REX_T_Q5_K: block = block_q5_k; break;
    case REX_T_Q6_K: block = block_q6_k; break;
    default: rex_die(__FILE__, __LINE__, "a quantised type that can be widened");
    }
    const rex_dtype_info *d = rex_dtype_get(t);
    for (int64_t i = 0; i < n / d->block; i++)
        block(src + (size_t)i * (size_t)d->bytes, out + i * d->block);
}

/* d = max |x| / 127 is used in f32 and stored in f16; q = x / d to nearest, halves away from
 * zero, as the Python package and llama.cpp round. */
void rex_quant_pack_q8_0(const float *src, int64_t n, uint8_t *dst) {
    for (int64_t b = 0; b < n / 32; b++, src += 32, dst += 34) {
        float top = 0.0f;
        for (int i = 0; i < 32; i++) top = fmaxf(top, fabsf(src[i]));
        const float d = top / 127.0f;
        const float inv = d == 0.0f ? 0.0f : 1.0f / d;
        const uint16_t h = rex_f32_f16(d);
        memcpy(dst, &h, 2);
        for (int i = 0; i < 32; i++) {
            const float x = src[i] * inv;
            const float whole = floorf(fabsf(x));
            const float up = fabsf(x) - whole >= 0.5f ? whole + 1.0f : whole;
            dst[2 + i] = (uint8_t)(int8_t)(x < 0.0f ? -up : up);
        }
    }
}
