/* SPDX-License-Identifier: MIT
 *
 * row_ops: arithmetic on single rows of numbers in double, for the exploration of pools. One table
 * per instruction set, all with the same bits: every sum over a row runs in 8 lanes, lane l takes
 * the elements 8j + l in ascending j by fused multiply-add, and the lanes are added by a fixed tree
 * (4+4, 2+2, 1+1). Rows from outside may lie at any address; rows of our own (z, w) begin at a
 * multiple of 64 bytes and are padded with zeros to `ld`, a multiple of 8.
 */
#ifndef REX_KERN_ROWS_H
#define REX_KERN_ROWS_H

#include "../base/base.h"

#define REX_ROW_LANES 8
#define REX_ROW_PAD(n) (((n) + REX_ROW_LANES - 1) / REX_ROW_LANES * REX_ROW_LANES)
#define REX_ROW_PAD32(n) (((n) + 15) / 16 * 16)
/* Rows that one step of a projection works on; lanes run over them. */
#define REX_PROJECT_LANES 32

/* X(ret, name, args). Element types are those of rex_elem. */
#define REX_ROW_OPS(X)                                                                       \
    /* z[j] = x[j] - mean[j], exactly widened before; zeros up to ld. mean may be NULL, else  \
     * (ld). `ahead`: a row soon to be read, fetched meanwhile (may be NULL). */               \
    X(void, widen, (double *z, int64_t ld, const void *x, rex_elem type, int64_t n,            \
                    const double *mean, const void *ahead))                                    \
    /* sum of (x[j] - mean[j])^2 without storing them: the bits of dots(z, z). */              \
    X(double, norm2, (const void *x, rex_elem type, int64_t n, const double *mean,             \
                      const void *ahead))                                                      \
    /* out[r * ldo + v] = z_r . w_v for R rows z (R, ld) and W rows w (W, ld). */              \
    X(void, dots, (double *out, int64_t ldo, const double *z, int64_t R, const double *w,      \
                   int64_t W, int64_t ld))                                                     \
    /* y += a[0] x_0, then a[1] x_1, ...: W fused multiply-adds per element, in that order. */  \
    X(void, combine, (double *y, const double *a, const double *x, int64_t W, int64_t ld))     \
    /* sum of (a z[j] - w[j])^2 over ld, a z[j] rounded, lanes as in dots. */                   \
    X(double, dist2, (const double *z, double a, const double *w, int64_t ld))                 \
    /* (hi, lo) += x, element by element, the rounding error of hi caught in lo. */            \
    X(void, add, (double *hi, double *lo, const void *x, rex_elem type, int64_t n,             \
                  const void *ahead))                                                          \
    /* z[j] = x[j] - mean[j] rounded once to f32; zeros up to ld, a multiple of 16. */          \
    X(void, narrow, (float *z, int64_t ld, const void *x, rex_elem type, int64_t n,            \
                     const double *mean, const void *ahead))                                   \
    /* out[r * ldo + v] = z[r] . w_v in f32 for R rows z[r] (ld) and W rows w (W, ld), ld a      \
     * multiple of 16: lane l of 16 takes the elements 16j + l, then 8+8, 4+4, 2+2, 1+1. Off by   \
     * at most (ld/16 + 4) 2^-24 |z| |w| (1 + 1e-3). ahead: R rows to fetch meanwhile, or NULL. */ \
    X(void, dots32, (float *out, int64_t ldo, const float *const *z,                            \
                     const float *const *ahead, int64_t R, const float *w, int64_t W,           \
                     int64_t ld))                                                               \
    /* out[r * ldo] = scale * (sum of t[plus] - sum of t[minus]) in f32 for 32 rows r, t        \
     * transposed (columns, 32). Offsets are columns. */                                       \
    X(void, gather, (float *out, int64_t ldo, const float *t, const uint32_t *plus,            \
                     int64_t n_plus, const uint32_t *minus, int64_t n_minus, float scale))     \
    /* t (n, 32) from 32 rows of f32; a NULL row gives zeros. */                               \
    X(void, turn, (float *t, const float *const *row, int64_t n))

typedef struct {
    const char *name; /* "ref", "avx2", "avx512", "neon" */
#define X(ret, op, args) ret(*op) args;
    REX_ROW_OPS(X)
#undef X
} rex_row_ops;

/* The fastest table that this machine has, or the one named (NULL if it has none of that name). */
const rex_row_ops *rex_row_ops_best(void);
const rex_row_ops *rex_row_ops_find(const char *name);

/* Bytes of one element. */
int64_t rex_elem_bytes(rex_elem type);

/* The tables themselves. */
extern const rex_row_ops rex_row_ops_ref;
#ifdef __x86_64__
extern const rex_row_ops rex_row_ops_avx2;
extern const rex_row_ops rex_row_ops_avx512;
#endif
#ifdef __aarch64__
extern const rex_row_ops rex_row_ops_neon;
#endif

#endif
