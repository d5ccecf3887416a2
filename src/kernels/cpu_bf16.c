/* SPDX-License-Identifier: MIT
 *
 * cpu_bf16.c: products of bf16 mode by the AVX512-BF16 dot instruction, in an object of its own.
 *
 * The instruction adds the product of the odd elements and then that of the even ones, each fused
 * and rounded to nearest, denormals as zero whatever the control register says: the definition that
 * ref emulates. kern.c puts this product into the avx512 table only where the processor has the
 * instruction and a start-up check has found its bits to be ref's; jobs whose weights are not
 * packed bf16 go to the emulation. A tile keeps its accumulators in registers for the whole of k,
 * so that y is touched once, at the edge.
 *
 * Compiled with -mavx512bf16 where the compiler knows it. Without it (REX_DOT_EMULATED, for testing
 * the packing and the tiles on any AVX-512 machine) the dot is two fused products.
 */
#include "vec.h"

#if defined(REX_VEC_AVX512)

#define ROWS(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13)

/* acc + odd * odd, then + even * even; a holds one pair, b one for every output. */
HOT vf dot(vf acc, uint32_t a, const uint16_t *b) {
#if defined(__AVX512BF16__)
    const vi x = _mm512_set1_epi32((int)a);
    return _mm512_dpbf16_ps(acc, (__m512bh)x, (__m512bh)_mm512_loadu_si512(b));
#else
    vf even, odd;
    v_load_pairs(b, &even, &odd);
    acc = v_fma(v_set(bits_f32(a & 0xffff0000u)), odd, acc);
    return v_fma(v_set(bits_f32(a << 16)), even, acc);
#endif
}

/* Pairs of rows m .. m+rows-1, rounded: to[pair][TILE_M]; an odd k is padded by zero. */
static void pack_pairs(const rex_gemm *j, int64_t m, int rows, uint32_t *to) {
    for (int64_t k = 0; k < j->k; k += 2, to += TILE_M)
        for (int r = 0; r < rows; r++) {
            const float *x = j->x + (m + r) * j->x_row + k * j->x_col;
            const uint32_t even = bf16_near(x[0]);
            const uint32_t odd = k + 1 < j->k ? bf16_near(x[j->x_col]) : 0u;
            to[r] = even | odd << 16;
        }
}

HOT vf begin(const rex_gemm *j, const float *y, int64_t left) {
    return j->more && left > 0 ? v_loadn(y, left < VW ? left : VW) : v_zero();
}

HOT void finish(const rex_gemm *j, float *y, int64_t m, int64_t n, int64_t left, vf v) {
    if (left <= 0) return;
    if (left > VW) left = VW;
    if (j->bias != NULL) v = v_add(v, v_loadn(j->bias + n, left));
    if (j->add != NULL) v = v_add(v, v_loadn(j->add + m * j->add_row + n, left));
    v_storen(y, v, left);
}

HOT void tile(const int rows, const rex_gemm *j, int64_t m, int64_t p, const uint32_t *a,
              const uint16_t *b) {
    const int64_t n = p * REX_PANEL;
    const int64_t left = j->n - n;
    float *y = j->y + m * j->y_row + p * j->y_panel;
#define X(i) vf c##i = v_zero(), d##i = v_zero();
    ROWS(X)
#undef X
#define X(i)                                                                                     \
    if (i < rows) {                                                                              \
        c##i = begin(j, y + i * j->y_row, left);                                                 \
        d##i = begin(j, y + i * j->y_row + VW, left - VW);                                       \
    }
    ROWS(X)
#undef X
    for (int64_t k = 0; k < j->k; k += 2) {
        __builtin_prefetch((const char *)b + 2048, 0, 3);
        __builtin_prefetch((const char *)b + 2112, 0, 3);
#define X(i)                                                                                     \
    if (i < rows) {                                                                              \
        c##i = dot(c##i, a[i], b);                                                               \
        d##i = dot(d##i, a[i], b + 2 * VW);                                                      \
    }
        ROWS(X)
#undef X
        a += TILE_M;
        b += 2 * REX_PANEL;
    }
#define X(i)                                                                                     \
    if (i < rows) {                                                                              \
        finish(j, y + i * j->y_row, m + i, n, left, c##i);                                       \
        finish(j, y + i * j->y_row + VW, m + i, n + VW, left - VW, d##i);                        \
    }
    ROWS(X)
#undef X
}

static void tile_any(int rows, const rex_gemm *j, int64_t m, int64_t p, const uint32_t *a,
                     const uint16_t *b) {
    switch (rows) {
#define X(i) case i + 1: tile(i + 1, j, m, p, a, b); break;
        ROWS(X)
#undef X
    }
}

void rex_bf16_gemm(const rex_gemm *j, int64_t m0, int64_t m1, int64_t p0, int64_t p1,
                   void *scratch) {
    const int64_t pairs = (j->k + 1) / 2;
    const int64_t tiles = (int64_t)(REX_GEMM_SCRATCH / 4) / (pairs * TILE_M + 1);
    if (!j->bf16 || j->w.ld > 0 || j->w.type != REX_K_BF16 || tiles < 1) {
        VEC(gemm)(j, m0, m1, p0, p1, scratch);
        return;
    }
    const uint64_t fp = flush_enter();
    uint32_t *a = scratch;
    for (int64_t m = m0; m < m1; m += tiles * TILE_M) {
        const int64_t past = m1 - m < tiles * TILE_M ? m1 : m + tiles * TILE_M;
        for (int64_t r = m; r < past; r += TILE_M) {
            const int rows = (int)(past - r < TILE_M ? past - r : TILE_M);
            pack_pairs(j, r, rows, a + (r - m) * pairs);
        }
        for (int64_t p = p0; p < p1; p++) {
            const char *panel =
                (const char *)j->w.data + (size_t)p * rex_panel_bytes(REX_K_BF16, j->k);
            for (int64_t r = m; r < past; r += TILE_M) {
                const int rows = (int)(past - r < TILE_M ? past - r : TILE_M);
                tile_any(rows, j, r, p, a + (r - m) * pairs, (const uint16_t *)(const void *)panel);
            }
        }
    }
    flush_leave(fp);
}

#else
typedef int rex_bf16_is_for_avx512;
#endif
