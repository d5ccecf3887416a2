/* SPDX-License-Identifier: MIT
 *
 * ceiling.h: what the machine can do in this minute: fused multiply-adds from registers, bytes read
 * from memory; and the clock by which benchmarks go. A benchmark includes it once, and measures a
 * ceiling right before and right after a figure, so that a change of clock or a neighbour hits
 * both alike. The loops are written for each instruction set, so that no compiler's mood is in
 * them.
 */
#ifndef REX_BENCH_CEILING_H
#define REX_BENCH_CEILING_H

#include "../src/base/base.h"

#include <string.h>
#include <time.h>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

/* CEILING_SHORT and _LONG are loops of ceiling_flops for each thread: half a millisecond, and
 * eight. */
enum { CEILING_STEPS = 1 << 16, CEILING_CHAINS = 12, CEILING_PIECE = 1 << 20,
       CEILING_SHORT = 4, CEILING_LONG = 64 };

static int ceiling_threads = 1, ceiling_lanes = 4;
static volatile float ceiling_sink;

/* Once, before all else: the kernel table's name, and how many threads will be measured. */
static inline void ceiling_open(const char *table, int threads) {
    ceiling_threads = threads;
#if defined(__x86_64__)
    ceiling_lanes = strcmp(table, "avx512") == 0 ? 16 : 8;
#else
    (void)table;
#endif
}

/* Seconds: with one thread its processor time, which a busy machine lengthens little; with more
 * they are those of the wall. */
static inline double ceiling_now(void) {
    struct timespec t;
    if (ceiling_threads > 1 || clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) != 0) return rex_clock();
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#if defined(__x86_64__)
__attribute__((target("avx512f"))) static inline void ceiling_fma_512(void) {
    __m512 a[CEILING_CHAINS];
    const __m512 x = _mm512_set1_ps(1.0F + 1e-7F), y = _mm512_set1_ps(1e-9F);
    for (int i = 0; i < CEILING_CHAINS; i++) a[i] = _mm512_set1_ps((float)i);
    for (int r = 0; r < CEILING_STEPS; r++)
#pragma GCC unroll 12
        for (int i = 0; i < CEILING_CHAINS; i++) a[i] = _mm512_fmadd_ps(a[i], x, y);
    for (int i = 1; i < CEILING_CHAINS; i++) a[0] = _mm512_add_ps(a[0], a[i]);
    ceiling_sink = _mm512_reduce_add_ps(a[0]);
}

__attribute__((target("avx2,fma"))) static inline void ceiling_fma_256(void) {
    __m256 a[CEILING_CHAINS];
    const __m256 x = _mm256_set1_ps(1.0F + 1e-7F), y = _mm256_set1_ps(1e-9F);
    for (int i = 0; i < CEILING_CHAINS; i++) a[i] = _mm256_set1_ps((float)i);
    for (int r = 0; r < CEILING_STEPS; r++)
#pragma GCC unroll 12
        for (int i = 0; i < CEILING_CHAINS; i++) a[i] = _mm256_fmadd_ps(a[i], x, y);
    for (int i = 1; i < CEILING_CHAINS; i++) a[0] = _mm256_add_ps(a[0], a[i]);
    ceiling_sink = _mm256_cvtss_f32(a[0]);
}

__attribute__((target("avx2"))) static inline float ceiling_read_256(const float *p, size_t n) {
    __m256i s[8];
    for (int i = 0; i < 8; i++) s[i] = _mm256_setzero_si256();
    for (size_t k = 0; k + 64 <= n; k += 64) {
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++)
            _mm_prefetch((const char *)(p + k + 16 * i) + 4096, _MM_HINT_T0);
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++)
            s[i] = _mm256_xor_si256(s[i], _mm256_loadu_si256((const void *)(p + k + 8 * i)));
    }
    for (int i = 1; i < 8; i++) s[0] = _mm256_xor_si256(s[0], s[i]);
    return (float)_mm256_extract_epi32(s[0], 0);
}
#elif defined(__aarch64__)
static inline void ceiling_fma_128(void) {
    float32x4_t a[CEILING_CHAINS];
    const float32x4_t x = vdupq_n_f32(1.0F + 1e-7F), y = vdupq_n_f32(1e-9F);
    for (int i = 0; i < CEILING_CHAINS; i++) a[i] = vdupq_n_f32((float)i);
    for (int r = 0; r < CEILING_STEPS; r++)
#pragma GCC unroll 12
        for (int i = 0; i < CEILING_CHAINS; i++) a[i] = vfmaq_f32(a[i], x, y);
    for (int i = 1; i < CEILING_CHAINS; i++) a[0] = vaddq_f32(a[0], a[i]);
    ceiling_sink = vaddvq_f32(a[0]);
}
#endif

static inline void ceiling_fma_item(void *ud, size_t item, int worker) {
    (void)ud;
    (void)item;
    (void)worker;
#if defined(__x86_64__)
    if (ceiling_lanes == 16) ceiling_fma_512();
    else ceiling_fma_256();
#elif defined(__aarch64__)
    ceiling_fma_128();
#else
#error "ceiling.h: no loop of fused multiply-adds for this instruction set"
#endif
}

static inline void ceiling_read_item(void *ud, size_t item, int worker) {
    const float *const p = (const float *)ud + item * (CEILING_PIECE / 4);
    (void)worker;
#if defined(__x86_64__)
    ceiling_sink = ceiling_read_256(p, CEILING_PIECE / 4);
#else
    float s = 0.0F;
    for (size_t i = 0; i < CEILING_PIECE / 4; i++) s += p[i];
    ceiling_sink = s;
#endif
}

/* Floating-point operations a second (an FMA is two), all threads of the pool together. */
static inline double ceiling_flops(rex_pool *pool, int loops) {
    const int n = loops * (pool ? rex_pool_size(pool) : 1);
    const double t = ceiling_now();
    rex_pool_run(pool, (size_t)n, ceiling_fma_item, NULL);
    return 2.0 * ceiling_lanes * CEILING_CHAINS * CEILING_STEPS * n / (ceiling_now() - t);
}

/* Bytes a second, reading the first `bytes` (whole megabytes, more than caches hold) of `buf`. */
static inline double ceiling_read(rex_pool *pool, float *buf, size_t bytes) {
    const double t = ceiling_now();
    rex_pool_run(pool, bytes / CEILING_PIECE, ceiling_read_item, buf);
    return (double)(bytes / CEILING_PIECE * CEILING_PIECE) / (ceiling_now() - t);
}

#endif
