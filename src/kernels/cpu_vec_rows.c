/* SPDX-License-Identifier: MIT
 *
 * cpu_vec_rows: the row operations of row_ops.h, written once over a vocabulary of 8 doubles and
 * compiled once per instruction set (the Makefile passes REX_VEC_AVX512, REX_VEC_AVX2 or
 * REX_VEC_NEON), and once plainly from row_ops.c. All give the same bits: a lane is a lane whatever
 * register it lives in, every product is fused into its sum, and conversions are exact. The plain
 * build is the definition of the others.
 */
#include "row_ops.h"

#include <math.h>
#include <string.h>

#if defined(REX_VEC_AVX512)
#include <immintrin.h>
#define TABLE rex_row_ops_avx512
#define TABLE_NAME "avx512"
typedef __m512d v8;
static inline v8 v_zero(void) { return _mm512_setzero_pd(); }
static inline v8 v_set(double a) { return _mm512_set1_pd(a); }
static inline v8 v_load(const double *p) { return _mm512_loadu_pd(p); }
static inline void v_store(double *p, v8 a) { _mm512_storeu_pd(p, a); }
static inline v8 v_fma(v8 a, v8 b, v8 c) { return _mm512_fmadd_pd(a, b, c); }
static inline v8 v_mul(v8 a, v8 b) { return _mm512_mul_pd(a, b); }
static inline v8 v_add(v8 a, v8 b) { return _mm512_add_pd(a, b); }
static inline v8 v_sub(v8 a, v8 b) { return _mm512_sub_pd(a, b); }
static inline v8 v_f32(__m256 f) { return _mm512_cvtps_pd(f); }
static inline v8 v_from(const void *p, rex_elem type) {
    switch (type) {
    case REX_ELEM_F64: return _mm512_loadu_pd(p);
    case REX_ELEM_F16: /* by the 16-wide conversion: the 8-wide one is another CPU flag */
        return v_f32(_mm512_castps512_ps256(
            _mm512_cvtph_ps(_mm256_zextsi128_si256(_mm_loadu_si128(p)))));
    case REX_ELEM_BF16:
        return v_f32(_mm256_castsi256_ps(
            _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(p)), 16)));
    default: return v_f32(_mm256_loadu_ps(p));
    }
}
static inline double v_sum(v8 a) {
    const __m256d q = _mm256_add_pd(_mm512_castpd512_pd256(a), _mm512_extractf64x4_pd(a, 1));
    const __m128d d = _mm_add_pd(_mm256_castpd256_pd128(q), _mm256_extractf128_pd(q, 1));
    return _mm_cvtsd_f64(_mm_add_sd(d, _mm_unpackhi_pd(d, d)));
}
typedef __m512 s16;
static inline s16 s_zero(void) { return _mm512_setzero_ps(); }
static inline s16 s_load(const float *p) { return _mm512_loadu_ps(p); }
static inline s16 s_fma(s16 a, s16 b, s16 c) { return _mm512_fmadd_ps(a, b, c); }
static inline void s_store8(float *p, v8 a) { _mm256_storeu_ps(p, _mm512_cvtpd_ps(a)); }
static inline float s_sum(s16 a) {
    const __m256 o = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    const __m128 q = _mm_add_ps(_mm256_castps256_ps128(o), _mm256_extractf128_ps(o, 1));
    const __m128 d = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(d, _mm_shuffle_ps(d, d, 1)));
}
enum { TILE_R = 4, TILE_W = 6 };

#elif defined(REX_VEC_AVX2)
#include <immintrin.h>
#define TABLE rex_row_ops_avx2
#define TABLE_NAME "avx2"
typedef struct {
    __m256d a, b;
} v8;
static inline v8 v_zero(void) { return (v8){_mm256_setzero_pd(), _mm256_setzero_pd()}; }
static inline v8 v_set(double x) { return (v8){_mm256_set1_pd(x), _mm256_set1_pd(x)}; }
static inline v8 v_load(const double *p) {
    return (v8){_mm256_loadu_pd(p), _mm256_loadu_pd(p + 4)};
}
static inline void v_store(double *p, v8 x) {
    _mm256_storeu_pd(p, x.a);
    _mm256_storeu_pd(p + 4, x.b);
}
static inline v8 v_fma(v8 x, v8 y, v8 z) {
    return (v8){_mm256_fmadd_pd(x.a, y.a, z.a), _mm256_fmadd_pd(x.b, y.b, z.b)};
}
static inline v8 v_mul(v8 x, v8 y) {
    return (v8){_mm256_mul_pd(x.a, y.a), _mm256_mul_pd(x.b, y.b)};
}
static inline v8 v_add(v8 x, v8 y) {
    return (v8){_mm256_add_pd(x.a, y.a), _mm256_add_pd(x.b, y.b)};
}
static inline v8 v_sub(v8 x, v8 y) {
    return (v8){_mm256_sub_pd(x.a, y.a), _mm256_sub_pd(x.b, y.b)};
}
static inline v8 v_f32(__m256 f) {
    return (v8){_mm256_cvtps_pd(_mm256_castps256_ps128(f)),
                _mm256_cvtps_pd(_mm256_extractf128_ps(f, 1))};
}
static inline v8 v_from(const void *p, rex_elem type) {
    switch (type) {
    case REX_ELEM_F64: return v_load(p);
    case REX_ELEM_F16: return v_f32(_mm256_cvtph_ps(_mm_loadu_si128(p)));
    case REX_ELEM_BF16:
        return v_f32(_mm256_castsi256_ps(
            _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(p)), 16)));
    default: return v_f32(_mm256_loadu_ps(p));
    }
}
static inline double v_sum(v8 x) {
    const __m256d q = _mm256_add_pd(x.a, x.b);
    const __m128d d = _mm_add_pd(_mm256_castpd256_pd128(q), _mm256_extractf128_pd(q, 1));
    return _mm_cvtsd_f64(_mm_add_sd(d, _mm_unpackhi_pd(d, d)));
}
typedef struct {
    __m256 a, b;
} s16;
static inline s16 s_zero(void) { return (s16){_mm256_setzero_ps(), _mm256_setzero_ps()}; }
static inline s16 s_load(const float *p) {
    return (s16){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
static inline s16 s_fma(s16 x, s16 y, s16 z) {
    return (s16){_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
static inline void s_store8(float *p, v8 x) {
    _mm_storeu_ps(p, _mm256_cvtpd_ps(x.a));
    _mm_storeu_ps(p + 4, _mm256_cvtpd_ps(x.b));
}
static inline float s_sum(s16 x) {
    const __m256 o = _mm256_add_ps(x.a, x.b);
    const __m128 q = _mm_add_ps(_mm256_castps256_ps128(o), _mm256_extractf128_ps(o, 1));
    const __m128 d = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(d, _mm_shuffle_ps(d, d, 1)));
}
enum { TILE_R = 3, TILE_W = 2 };

#else
#ifdef REX_VEC_NEON
#define TABLE rex_row_ops_neon
#define TABLE_NAME "neon"
#else
#define TABLE rex_row_ops_ref
#define TABLE_NAME "ref"
#endif
typedef struct {
    double l[8];
} v8;
#define EACH for (int i = 0; i < 8; i++)
static inline v8 v_set(double a) {
    v8 r;
    EACH r.l[i] = a;
    return r;
}
static inline v8 v_zero(void) { return v_set(0.0); }
static inline v8 v_load(const double *p) {
    v8 r;
    memcpy(r.l, p, sizeof r.l);
    return r;
}
static inline void v_store(double *p, v8 a) { memcpy(p, a.l, sizeof a.l); }
static inline v8 v_fma(v8 a, v8 b, v8 c) {
    EACH c.l[i] = fma(a.l[i], b.l[i], c.l[i]);
    return c;
}
static inline v8 v_mul(v8 a, v8 b) {
    EACH a.l[i] *= b.l[i];
    return a;
}
static inline v8 v_add(v8 a, v8 b) {
    EACH a.l[i] += b.l[i];
    return a;
}
static inline v8 v_sub(v8 a, v8 b) {
    EACH a.l[i] -= b.l[i];
    return a;
}
static inline v8 v_from(const void *p, rex_elem type) {
    v8 r;
    float f[8];
    uint16_t h[8];
    switch (type) {
    case REX_ELEM_F64: return v_load(p);
    case REX_ELEM_F16:
        memcpy(h, p, sizeof h);
        EACH r.l[i] = (double)rex_f16_f32(h[i]);
        return r;
    case REX_ELEM_BF16:
        memcpy(h, p, sizeof h);
        EACH r.l[i] = (double)rex_bf16_f32(h[i]);
        return r;
    default:
        memcpy(f, p, sizeof f);
        EACH r.l[i] = (double)f[i];
        return r;
    }
}
static inline double v_sum(v8 a) {
    const double p = a.l[0] + a.l[4], q = a.l[1] + a.l[5];
    const double s = a.l[2] + a.l[6], t = a.l[3] + a.l[7];
    return (p + s) + (q + t);
}
typedef struct {
    float l[16];
} s16;
static inline s16 s_load(const float *p) {
    s16 r;
    memcpy(r.l, p, sizeof r.l);
    return r;
}
static inline s16 s_zero(void) {
    static const float zero[16];
    return s_load(zero);
}
static inline s16 s_fma(s16 a, s16 b, s16 c) {
    for (int i = 0; i < 16; i++) c.l[i] = fmaf(a.l[i], b.l[i], c.l[i]);
    return c;
}
static inline void s_store8(float *p, v8 a) { EACH p[i] = (float)a.l[i]; }
static inline float s_sum(s16 a) {
    for (int half = 8; half > 0; half /= 2)
        for (int i = 0; i < half; i++) a.l[i] += a.l[i + half];
    return a.l[0];
}
enum { TILE_R = 1, TILE_W = 1 };
#endif

#define INLINE static inline __attribute__((always_inline))

/* Eight elements from j on, the ones behind n as zeros. */
INLINE v8 take(const char *x, rex_elem type, int64_t size, int64_t j, int64_t n) {
    if (j + 8 <= n) return v_from(x + j * size, type);
    uint64_t part[8] = {0};
    memcpy(part, x + j * size, (size_t)((n - j) * size));
    return v_from(part, type);
}

INLINE void fetch(const char *ahead, int64_t size, int64_t j) {
    __builtin_prefetch(ahead + j * size, 0, 3);
}

/* ---- one row ----------------------------------------------------------------------------- */

INLINE void widen_as(double *z, int64_t ld, const char *x, rex_elem type, int64_t size, int64_t n,
                     const double *mean, const char *ahead) {
    for (int64_t j = 0; j < ld; j += 8) {
        v8 a = take(x, type, size, j, n);
        if (ahead) fetch(ahead, size, j);
        if (mean) a = v_sub(a, v_load(mean + j));
        v_store(z + j, a);
    }
}

INLINE double norm2_as(const char *x, rex_elem type, int64_t size, int64_t n, const double *mean,
                       const char *ahead) {
    v8 acc = v_zero();
    for (int64_t j = 0; j < n; j += 8) {
        v8 a = take(x, type, size, j, n);
        if (ahead) fetch(ahead, size, j);
        if (mean) a = v_sub(a, v_load(mean + j));
        acc = v_fma(a, a, acc);
    }
    return v_sum(acc);
}

/* Two-sum (Knuth): hi + lo stays the exact sum as long as lo itself does not round. */
INLINE void add_as(double *hi, double *lo, const char *x, rex_elem type, int64_t size, int64_t n,
                   const char *ahead) {
    for (int64_t j = 0; j < n; j += 8) {
        const v8 b = take(x, type, size, j, n), a = v_load(hi + j);
        if (ahead) fetch(ahead, size, j);
        const v8 s = v_add(a, b), bb = v_sub(s, a);
        const v8 err = v_add(v_sub(a, v_sub(s, bb)), v_sub(b, bb));
        v_store(hi + j, s);
        v_store(lo + j, v_add(v_load(lo + j), err));
    }
}

/* The type becomes a constant of each copy of the loop. */
#define BY_TYPE(call)                                                                        \
    switch (type) {                                                                          \
    case REX_ELEM_F64: call(REX_ELEM_F64, 8);                                                \
    case REX_ELEM_F16: call(REX_ELEM_F16, 2);                                                \
    case REX_ELEM_BF16: call(REX_ELEM_BF16, 2);                                              \
    default: call(REX_ELEM_F32, 4);                                                          \
    }

static void op_widen(double *z, int64_t ld, const void *x, rex_elem type, int64_t n,
                     const double *mean, const void *ahead) {
#define CALL(T, S) widen_as(z, ld, x, T, S, n, mean, ahead); return
    BY_TYPE(CALL)
#undef CALL
}

static double op_norm2(const void *x, rex_elem type, int64_t n, const double *mean,
                       const void *ahead) {
#define CALL(T, S) return norm2_as(x, T, S, n, mean, ahead)
    BY_TYPE(CALL)
#undef CALL
}

static void op_add(double *hi, double *lo, const void *x, rex_elem type, int64_t n,
                   const void *ahead) {
#define CALL(T, S) add_as(hi, lo, x, T, S, n, ahead); return
    BY_TYPE(CALL)
#undef CALL
}

INLINE void combine_some(double *y, const double *a, const double *x, int64_t W, int64_t ld) {
    for (int64_t j = 0; j < ld; j += 8) {
        v8 sum = v_load(y + j);
#pragma GCC unroll 8
        for (int64_t s = 0; s < W; s++) sum = v_fma(v_set(a[s]), v_load(x + s * ld + j), sum);
        v_store(y + j, sum);
    }
}

static void op_combine(double *y, const double *a, const double *x, int64_t W, int64_t ld) {
    int64_t s = 0;
    for (; s + 8 <= W; s += 8) combine_some(y, a + s, x + s * ld, 8, ld);
    for (; s < W; s++) combine_some(y, a + s, x + s * ld, 1, ld);
}

static double op_dist2(const double *z, double a, const double *w, int64_t ld) {
    const v8 k = v_set(a);
    v8 acc = v_zero();
    for (int64_t j = 0; j < ld; j += 8) {
        const v8 d = v_sub(v_mul(k, v_load(z + j)), v_load(w + j));
        acc = v_fma(d, d, acc);
    }
    return v_sum(acc);
}

/* ---- rows against rows ------------------------------------------------------------------- */

/* R x W dot products at once; R and W are constants, so that the sums live in registers. */
INLINE void tile(double *out, int64_t ldo, const double *z, const double *w, int64_t ld, int R,
                 int W) {
    v8 acc[TILE_R][TILE_W];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 8
        for (int v = 0; v < W; v++) acc[r][v] = v_zero();
    }
    for (int64_t j = 0; j < ld; j += 8) {
        v8 row[TILE_R];
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) row[r] = v_load(z + r * ld + j);
#pragma GCC unroll 8
        for (int v = 0; v < W; v++) {
            const v8 x = v_load(w + v * ld + j);
#pragma GCC unroll 8
            for (int r = 0; r < R; r++) acc[r][v] = v_fma(row[r], x, acc[r][v]);
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 8
        for (int v = 0; v < W; v++) out[r * ldo + v] = v_sum(acc[r][v]);
    }
}

INLINE void tile_w(double *out, int64_t ldo, const double *z, const double *w, int64_t ld, int R,
                   int W) {
    switch (W) {
    case 1: tile(out, ldo, z, w, ld, R, 1); break;
#if defined(REX_VEC_AVX512) || defined(REX_VEC_AVX2)
    case 2: tile(out, ldo, z, w, ld, R, 2); break;
#endif
#if defined(REX_VEC_AVX512)
    case 3: tile(out, ldo, z, w, ld, R, 3); break;
    case 4: tile(out, ldo, z, w, ld, R, 4); break;
    case 5: tile(out, ldo, z, w, ld, R, 5); break;
    case 6: tile(out, ldo, z, w, ld, R, 6); break;
#endif
    default: break;
    }
}

static void op_dots(double *out, int64_t ldo, const double *z, int64_t R, const double *w,
                    int64_t W, int64_t ld) {
    for (int64_t v = 0; v < W; v += TILE_W) {
        const int wide = W - v < TILE_W ? (int)(W - v) : TILE_W;
        int64_t r = 0;
        for (; r + TILE_R <= R; r += TILE_R)
            tile_w(out + r * ldo + v, ldo, z + r * ld, w + v * ld, ld, TILE_R, wide);
        for (; r < R; r++) tile_w(out + r * ldo + v, ldo, z + r * ld, w + v * ld, ld, 1, wide);
    }
}

/* ---- the same in f32: bounds ------------------------------------------------------------- */

INLINE void narrow_as(float *z, int64_t ld, const char *x, rex_elem type, int64_t size, int64_t n,
                      const double *mean, const char *ahead) {
    for (int64_t j = 0; j < ld; j += 8) {
        v8 a = j < n ? take(x, type, size, j, n) : v_zero();
        if (ahead && j < n) fetch(ahead, size, j);
        if (mean && j < n) a = v_sub(a, v_load(mean + j));
        s_store8(z + j, a);
    }
}

static void op_narrow(float *z, int64_t ld, const void *x, rex_elem type, int64_t n,
                      const double *mean, const void *ahead) {
#define CALL(T, S) narrow_as(z, ld, x, T, S, n, mean, ahead); return
    BY_TYPE(CALL)
#undef CALL
}

INLINE void tile32(float *out, int64_t ldo, const float *const *z, const float *const *ahead,
                   const float *w, int64_t ld, int R, int W) {
    s16 acc[TILE_R][TILE_W];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 8
        for (int v = 0; v < W; v++) acc[r][v] = s_zero();
    }
    for (int64_t j = 0; j < ld; j += 16) {
        s16 row[TILE_R];
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            row[r] = s_load(z[r] + j);
            if (ahead) __builtin_prefetch(ahead[r] + j, 0, 3);
        }
#pragma GCC unroll 8
        for (int v = 0; v < W; v++) {
            const s16 x = s_load(w + v * ld + j);
#pragma GCC unroll 8
            for (int r = 0; r < R; r++) acc[r][v] = s_fma(row[r], x, acc[r][v]);
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 8
        for (int v = 0; v < W; v++) out[r * ldo + v] = s_sum(acc[r][v]);
    }
}

INLINE void tile32_w(float *out, int64_t ldo, const float *const *z, const float *const *ahead,
                     const float *w, int64_t ld, int R, int W) {
    switch (W) {
    case 1: tile32(out, ldo, z, ahead, w, ld, R, 1); break;
#if defined(REX_VEC_AVX512) || defined(REX_VEC_AVX2)
    case 2: tile32(out, ldo, z, ahead, w, ld, R, 2); break;
#endif
#if defined(REX_VEC_AVX512)
    case 3: tile32(out, ldo, z, ahead, w, ld, R, 3); break;
    case 4: tile32(out, ldo, z, ahead, w, ld, R, 4); break;
    case 5: tile32(out, ldo, z, ahead, w, ld, R, 5); break;
    case 6: tile32(out, ldo, z, ahead, w, ld, R, 6); break;
#endif
    default: break;
    }
}

/* The rows that follow are fetched while the first products are made: that hides memory. */
static void op_dots32(float *out, int64_t ldo, const float *const *z, const float *const *ahead,
                      int64_t R, const float *w, int64_t W, int64_t ld) {
    for (int64_t v = 0; v < W; v += TILE_W) {
        const int wide = W - v < TILE_W ? (int)(W - v) : TILE_W;
        const float *const *const fetch = v == 0 ? ahead : NULL;
        int64_t r = 0;
        for (; r + TILE_R <= R; r += TILE_R)
            tile32_w(out + r * ldo + v, ldo, z + r, fetch ? fetch + r : NULL, w + v * ld, ld,
                     TILE_R, wide);
        for (; r < R; r++)
            tile32_w(out + r * ldo + v, ldo, z + r, fetch ? fetch + r : NULL, w + v * ld, ld, 1,
                     wide);
    }
}

/* ---- projection: lanes run over rows ----------------------------------------------------- */

typedef float f16 __attribute__((vector_size(64), aligned(4), may_alias));
typedef float f4 __attribute__((vector_size(16), aligned(4), may_alias));

static void op_gather(float *out, int64_t ldo, const float *t, const uint32_t *plus,
                      int64_t n_plus, const uint32_t *minus, int64_t n_minus, float scale) {
    f16 p0 = {0}, p1 = {0}, m0 = {0}, m1 = {0};
    for (int64_t i = 0; i < n_plus; i++) {
        const float *const c = t + (size_t)plus[i] * REX_PROJECT_LANES;
        p0 += *(const f16 *)c;
        p1 += *(const f16 *)(c + 16);
    }
    for (int64_t i = 0; i < n_minus; i++) {
        const float *const c = t + (size_t)minus[i] * REX_PROJECT_LANES;
        m0 += *(const f16 *)c;
        m1 += *(const f16 *)(c + 16);
    }
    p0 = (p0 - m0) * scale;
    p1 = (p1 - m1) * scale;
    for (int r = 0; r < 16; r++) {
        out[r * ldo] = p0[r];
        out[(r + 16) * ldo] = p1[r];
    }
}

static void op_turn(float *t, const float *const *row, int64_t n) {
    for (int r = 0; r < REX_PROJECT_LANES; r += 4) {
        int64_t j = 0;
        if (row[r] && row[r + 1] && row[r + 2] && row[r + 3])
            for (; j + 4 <= n; j += 4) {
                const f4 a = *(const f4 *)(row[r] + j), b = *(const f4 *)(row[r + 1] + j);
                const f4 c = *(const f4 *)(row[r + 2] + j), d = *(const f4 *)(row[r + 3] + j);
                const f4 ab0 = __builtin_shufflevector(a, b, 0, 4, 1, 5);
                const f4 ab1 = __builtin_shufflevector(a, b, 2, 6, 3, 7);
                const f4 cd0 = __builtin_shufflevector(c, d, 0, 4, 1, 5);
                const f4 cd1 = __builtin_shufflevector(c, d, 2, 6, 3, 7);
                float *const o = t + j * REX_PROJECT_LANES + r;
                *(f4 *)o = __builtin_shufflevector(ab0, cd0, 0, 1, 4, 5);
                *(f4 *)(o + REX_PROJECT_LANES) = __builtin_shufflevector(ab0, cd0, 2, 3, 6, 7);
                *(f4 *)(o + 2 * REX_PROJECT_LANES) = __builtin_shufflevector(ab1, cd1, 0, 1, 4, 5);
                *(f4 *)(o + 3 * REX_PROJECT_LANES) = __builtin_shufflevector(ab1, cd1, 2, 3, 6, 7);
            }
        for (; j < n; j++)
            for (int i = r; i < r + 4; i++)
                t[j * REX_PROJECT_LANES + i] = row[i] ? row[i][j] : 0.0f;
    }
}

const rex_row_ops TABLE = {
    TABLE_NAME,
#define X(ret, op, args) op_##op,
    REX_ROW_OPS(X)
#undef X
};
