/* SPDX-License-Identifier: MIT
 *
 * kern_impl.h: what the tables share and nobody else sees: the scalar form of every elementary
 * function (the definition; the vector forms do the same operations lane by lane), the fixed tree
 * of sixteen lanes, the flush-to-zero state of bf16 products, and the prototypes of ref.
 *
 * All functions are static inline: compiled once per instruction set, never merged by the linker.
 */
#ifndef REX_KERN_IMPL_H
#define REX_KERN_IMPL_H

#include "kern_math.h"

#include <string.h>
#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

#define LANES 16

/* ---- sixteen lanes -------------------------------------------------------------------------- */

static inline double tree_f64(const double *l) {
    double a[8];
    for (int i = 0; i < 8; i++) a[i] = l[i] + l[i + 8];
    for (int i = 0; i < 4; i++) a[i] = a[i] + a[i + 4];
    return (a[0] + a[2]) + (a[1] + a[3]);
}

static inline float tree_f32(const float *l) {
    float a[8];
    for (int i = 0; i < 8; i++) a[i] = l[i] + l[i + 8];
    for (int i = 0; i < 4; i++) a[i] = a[i] + a[i + 4];
    return (a[0] + a[2]) + (a[1] + a[3]);
}

/* The larger; `m` where they are equal or x is NaN. */
static inline float max_f32(float x, float m) {
    return x > m ? x : m;
}

static inline float tree_max(const float *l) {
    float a[8];
    for (int i = 0; i < 8; i++) a[i] = max_f32(l[i], l[i + 8]);
    for (int i = 0; i < 4; i++) a[i] = max_f32(a[i], a[i + 4]);
    return max_f32(max_f32(a[0], a[2]), max_f32(a[1], a[3]));
}

/* ---- stochastic rounding of bf16 optimiser state -------------------------------------------- */

/* A named draw: 16 bits from (key, index, which), by two rounds of a 64-bit mixing. Rounding to
 * nearest would freeze the second moment, which moves by less than half a bf16 step. */
static inline uint32_t round_bits(uint64_t key, uint64_t index) {
    uint64_t z = key + index * 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (uint32_t)(z >> 32); /* high 16 bits for the first moment, low ones for the second */
}

static inline uint16_t bf16_stochastic(float f, uint32_t bits16) {
    const uint32_t u = f32_bits(f);
    if ((u & 0x7f800000u) == 0x7f800000u) return bf16_near(f);
    return (uint16_t)((u + (bits16 & 0xffffu)) >> 16);
}

/* One element of AdamW on f32 moments; m and v are updated, the new parameter returned. */
static inline float adamw_f32(float p, float g, float *m, float *v, const rex_adamw *a) {
    const float gs = g * a->grad_scale;
    *m = fmaf(a->beta1, *m, (1.0f - a->beta1) * gs);
    *v = fmaf(a->beta2, *v, ((1.0f - a->beta2) * gs) * gs);
    const float d = sqrtf(*v) / a->fix2 + a->eps;
    const float keep = 1.0f - a->lr * a->decay;
    return fmaf(-(a->lr / a->fix1), *m / d, p * keep);
}

/* ---- flush to zero for bf16 products -------------------------------------------------------- */

static inline uint64_t flush_enter(void) {
#if defined(__SSE2__)
    const uint32_t was = _mm_getcsr();
    _mm_setcsr(0x9fc0u); /* nearest, denormals in and out as zero */
    return was;
#else
    uint64_t was;
    __asm__ volatile("mrs %0, fpcr" : "=r"(was));
    __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)1 << 24) : "memory");
    return was;
#endif
}

static inline void flush_leave(uint64_t was) {
#if defined(__SSE2__)
    _mm_setcsr((uint32_t)was);
#else
    __asm__ volatile("msr fpcr, %0" : : "r"(was) : "memory");
#endif
}

/* ---- shared by the tables ------------------------------------------------------------------- */

/* Rows (query token times head of the group) that an attention block holds at most; a group larger
 * than this is a block of its own. */
#define ATTN_ROWS 32
#define ATTN_WIDE 32 /* slack, in positions, of the widened block */

static inline int64_t attn_tokens(int64_t group) { /* tokens in a block */
    return group >= ATTN_ROWS ? 1 : ATTN_ROWS / group;
}

/* Score row of a block: whole key blocks may be written behind the last visible position. */
static inline int64_t attn_score_ld(int64_t max_hi) {
    return (max_hi + 2 * REX_PANEL + 15) / 16 * 16;
}

static inline void *bump(void **at, size_t bytes) {
    void *p = *at;
    *at = (char *)p + (bytes + 63) / 64 * 64;
    return p;
}

/* Element i of a stored row. */
static inline float store_at(const void *p, rex_store t, int64_t i) {
    switch (t) {
    case REX_K_F32: return ((const float *)p)[i];
    case REX_K_BF16: return bf16_wide(((const uint16_t *)p)[i]);
    case REX_K_F16: return rex_f16_f32(((const uint16_t *)p)[i]);
    case REX_K_Q8_0: {
        const uint8_t *b = (const uint8_t *)p + i / 32 * 34;
        const uint16_t d = (uint16_t)(b[0] | b[1] << 8);
        return rex_f16_f32(d) * (float)(int8_t)b[2 + i % 32];
    }
    }
    return 0.0f;
}

#define X(ret, op, args) ret rex_ref_##op args;
REX_KERN_OPS(X)
#undef X

extern const rex_kern rex_kern_ref;
/* The product by the bf16 dot instruction (cpu_bf16.c); an odd corner of the avx512 table. */
void rex_bf16_gemm(const rex_gemm *j, int64_t m0, int64_t m1, int64_t p0, int64_t p1,
                   void *scratch);

#endif
