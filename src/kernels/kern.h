/* SPDX-License-Identifier: MIT
 *
 * kern.h: arithmetic on raw rows; knows neither tensors nor layers. One table of operations per
 * instruction set; all tables return the same bits, cpu_ref.c is the definition (docs/numerics.md).
 *
 * Common to all: sizes are int64_t, zero rows are legal, outputs never alias inputs unless said. A
 * kernel allocates nothing, needs under 4 KiB of stack, and takes scratch from its caller: 64-byte
 * aligned, one piece per worker, contents of no meaning between calls. The caller has set the
 * floating-point state (rex_fp_enter). Ranges (m0, m1), (p0, p1) ... let a caller split outputs
 * over workers; how it splits never changes a bit.
 */
#ifndef REX_KERN_H
#define REX_KERN_H

#include "../base/base.h"

/* Outputs in a panel; positions in a block of keys. */
#define REX_PANEL 32
/* The log-sum-exp over a vocabulary is joined from tiles of this many words, whoever asks. */
#define REX_VOCAB_TILE 4096

/* Element formats of rows in memory. Q8_0 rows are GGUF blocks: f16 scale, 32 int8. */
typedef enum { REX_K_F32, REX_K_BF16, REX_K_F16, REX_K_Q8_0 } rex_store;
size_t rex_store_row_bytes(rex_store t, int64_t n); /* n a multiple of 32 for Q8_0 */

/* ---- panels ------------------------------------------------------------------------------ */

/* The right operand B (K, N) of a product. Packed: panel p holds outputs 32p .. 32p+31, missing
 * ones as zeros, in one piece:
 *   F32, F16  [K][32]                     BF16  [(K+1)/2][32][2], an odd K padded with zero
 *   Q8_0      per 32 of k: 32 f16 scales, then [32][32] int8 (K a multiple of 32); w = d * q
 * or, with ld > 0, row-major f32 activations (K, N) where they lie: B[k][n] = data[k*ld + n]. */
typedef struct {
    rex_store type;
    int64_t n, k;     /* outputs, summed length */
    int64_t ld;       /* 0: packed */
    const void *data; /* packed: 64-byte aligned */
} rex_panels;

/* Panels of n outputs. */
static inline int64_t rex_panel_count(int64_t n) { return (n + REX_PANEL - 1) / REX_PANEL; }
size_t rex_panel_bytes(rex_store t, int64_t k); /* one panel: a multiple of 64 */
/* Does b begin where a ends, so that both are one matrix of a->n + b->n outputs? */
bool rex_panels_go_on(const rex_panels *a, const rex_panels *b);

/* Rows or panels -> panels p0 .. p1-1. Source element (out, k) is src[out*row + k*col], in
 * elements. W (N, K) row-major: row = K, col = 1; the transposed orientation, for dX = dY W, is the
 * same source with row = 1, col = K and n, k exchanged. `from_panels`: src is packed panels of type
 * `from` of the transposed matrix (k outputs, summed length n), which turns them round; row and col
 * are not looked at. Q8_0 sources need col == 1 and row a multiple of 32. Allowed: anything -> F32
 * and -> BF16 (rounded to nearest even); F16 -> F16; Q8_0 -> Q8_0. */
typedef struct {
    rex_store from, to;
    const void *src;
    int64_t row, col;
    bool from_panels;
    int64_t n, k;
    void *dst;
} rex_pack;

/* ---- matrix product ---------------------------------------------------------------------- */

/* y[m][n] = fma chain over ascending k of x[m][k] * w[k][n], one accumulator, from 0 or, with
 * `more`, from what y holds; then + bias[n]; then + add[m][n]. Each of the three is one rounding.
 * x[m][k] at x[m*x_row + k*x_col], one of the strides 1. y[m][n] at
 * y[m*y_row + (n/32)*y_panel + n%32]: row-major (y_panel 32) or f32 panels of (k = M, n) (y_row 32,
 * y_panel M*32: how weight gradients are kept, dW panels = X^T dY). Columns beyond n are left alone
 * in row-major y and may be zeroed in panels. Nothing may alias, add and y neither.
 * bf16: x is rounded to bf16 (and B too if it is f32), and each pair (k = 2j, 2j+1) is two fma, the
 * odd one first, denormals in and out as zero (bias and add too); an odd K is padded by a zero. */
typedef struct {
    int64_t m, n, k;
    const float *x;
    int64_t x_row, x_col;
    rex_panels w;
    float *y;
    int64_t y_row, y_panel;
    const float *bias; /* (n) or NULL */
    const float *add;  /* row-major, stride add_row, or NULL */
    int64_t add_row;
    bool more, bf16;
} rex_gemm;

/* Scratch of one worker for any gemm (k up to 35000 where add is y). */
#define REX_GEMM_SCRATCH ((size_t)2 << 20)

/* ---- attention --------------------------------------------------------------------------- */

/* A stretch of stored positions pos0 .. pos0+n-1. Keys k[head*k_head + ((i/32)*hd + d)*32 + i%32],
 * values v[head*v_head + i*hd + d], i = position - pos0; f32 or bf16. Whole blocks of 32 keys are
 * readable. A sequence is a list of stretches that follow each other from position 0; sequences
 * that fork share the first ones. Where a list is cut never changes a bit. */
typedef struct {
    const void *k, *v;
    int64_t k_head, v_head;
    int32_t pos0, n;
} rex_kv_seg;

/* One query token: sees positions lo .. hi-1, lo < hi. q and out hold (H, hd). */
typedef struct {
    const float *q;
    float *out;
    const rex_kv_seg *seg;
    int32_t n_seg, lo, hi;
} rex_attn_row;

/* score[p] = (fma chain over d of q[d] k[p][d]) * scale; e[p] = exp(score - max); sum in 16 lanes,
 * lane = position % 16, from lo up; out[d] = (fma chain over ascending p of e[p] v[p][d]) * 1/sum.
 * Query head h reads kv head h / (H/KV). Rows that share stretches should be neighbours: their keys
 * and values are then read once per block of rows. */
typedef struct {
    const rex_attn_row *row;
    int64_t n_row;
    int64_t H, KV, hd; /* hd a multiple of 8, at most 256 */
    float scale;
    rex_store cache;    /* REX_K_F32 or REX_K_BF16 */
} rex_attn;
size_t rex_attn_scratch(const rex_attn *a); /* one worker; grows with the largest hi and H/KV, hd */
size_t rex_attn_scratch_for(int64_t H, int64_t KV, int64_t hd, int64_t max_hi);

/* Gradient of causal attention of one sequence by recomputation. q, out rows (T, H, hd), k, v rows
 * (T, KV, hd), token strides in floats; dq, dk, dv are overwritten. window 0: none, else position t
 * sees t-window+1 .. t. */
typedef struct {
    int64_t T, H, KV, hd, window;
    float scale;
    const float *q, *k, *v, *dout;
    int64_t q_row, k_row, v_row, dout_row;
    float *dq, *dk, *dv;
    int64_t dq_row, dk_row, dv_row;
    rex_store cache; /* BF16: k and v are rounded first, as the cache does */
} rex_attn_grad;
size_t rex_attn_grad_scratch(int64_t H, int64_t KV, int64_t hd, int64_t T); /* one worker */

/* ---- vocabulary, optimiser --------------------------------------------------------------- */

/* max, sum of exp(x - max), sum of exp(x - max) (x - max), of a tile or of all. */
typedef struct {
    double max, sum, xsum;
} rex_lse;
rex_lse rex_lse_join(const rex_lse *tile, int64_t n); /* in ascending order */
static inline double rex_lse_log(rex_lse s) { return s.max + rex_log(s.sum); } /* logp = x - this */
static inline double rex_lse_entropy(rex_lse s) { return rex_log(s.sum) - s.xsum / s.sum; }

typedef enum { REX_SILU, REX_GELU_TANH } rex_act;
typedef struct {
    float lr, beta1, beta2, eps, decay; /* decay: weight_decay, decoupled */
    float fix1, fix2;                   /* 1 - beta1^t, sqrt(1 - beta2^t) */
    float grad_scale;                   /* clipping and averaging in one */
    uint64_t round_key;                 /* names the stochastic rounding of bf16 state */
} rex_adamw;

/* ---- the operations --------------------------------------------------------------------- */

/* X(returned type, name, arguments). By name:
 * pack       panels p0 .. p1-1 of a rex_pack.
 * unpack     f32 panels (n, k) -> row-major rows of `to` (F32, BF16, F16), outputs n0 .. n1-1.
 * gemm       rows m0 .. m1-1, panels p0 .. p1-1 of a rex_gemm; scratch REX_GEMM_SCRATCH.
 * attn       tokens r0 .. r1-1, kv head h.          attn_bwd   kv head h (dq of its query heads).
 * kv_put     n tokens' k and v rows (KV, hd) into a stretch from its local position i on.
 * embed      out[i] = widen(table[id[i]]) * scale (one rounding; scale 1 is exact).
 * embed_bwd  grad[id[i]] += dout[i] * scale, i ascending, channels d0 .. d1-1; rows of stride ld.
 * rmsnorm    r = 1 / sqrt(mean of squares + eps) in double, 16 lanes; y = (x * (float)r) *
 *            (w + plus). y may be x. rstd (rows, or NULL) receives (float)r. ldx, ldy between rows.
 * rmsnorm_bwd  dx = or, with more, += from dy, x and the rstd that rmsnorm left; dx may be dy.
 * rmsnorm_dw   dw[d] += dy * (x * rstd) over ascending rows, channels d0 .. d1-1 only.
 * col_sum    y[d] += x[i][d] over ascending rows, channels d0 .. d1-1 only: the gradient of a bias.
 * rope       in place, rows of n_head heads of hd: pair j of the first 2*half channels turned by
 *            angle table row pos[i]: cos/sin (positions, half). near: pairs (2j, 2j+1), else
 *            (j, j+half). sign -1 is the gradient.
 * gate       y = act(g) * u, (rows, n).  gate_bwd  dg, du from g, u, dy; dg may be g, du may be u.
 * add        y = a + b (y may be either).  axpy  y = fma(a, x, y).  scale  x *= a.
 * round_bf16 x to the nearest bf16.
 * cast_to, cast_from  rows of n elements between f32 and F32, BF16, F16 (from: Q8_0 too).
 * softmax    y = exp(x * a - max) / sum, n elements, 16 lanes in double; y may be x.
 * lse_tile   statistics of x[0 .. n-1] * a, n <= REX_VOCAB_TILE; lse: of a whole row by tiles.
 * xent_bwd   logits of words v0 .. v0+n-1 of one row -> their gradient, in place:
 *            dlogp * ((word == id) - p) - dent * p * (log p + entropy), p = exp(x - lse).
 * argmax     first index of the largest, NaN never chosen; -1 if there is none.
 * dot, dotd, sumsq  16 lanes in double (fma).   axpyd  y = fma(a, x, y) over doubles.
 * gemvd      y[m] = dotd(row m of A, x).        gerd   A[m][:] = fma(x[m], y[:], A[m][:]).
 * adamw      one pass; index0 names the first element for rounding; state F32 or BF16. */
#define REX_KERN_OPS(X)                                                                          \
    X(void, pack, (const rex_pack *j, int64_t p0, int64_t p1))                                   \
    X(void, unpack, (void *dst, rex_store to, int64_t ld, const float *panels, int64_t n,         \
                     int64_t k, int64_t n0, int64_t n1))                                         \
    X(void, gemm, (const rex_gemm *j, int64_t m0, int64_t m1, int64_t p0, int64_t p1,            \
                   void *scratch))                                                               \
    X(void, attn, (const rex_attn *j, int64_t h, int64_t r0, int64_t r1, void *scratch))         \
    X(void, attn_bwd, (const rex_attn_grad *j, int64_t h, void *scratch))                        \
    X(void, kv_put, (const rex_kv_seg *s, rex_store cache, int64_t KV, int64_t hd, int64_t i,     \
                     int64_t n, const float *k, int64_t k_row, const float *v, int64_t v_row))   \
    X(void, embed, (float *out, int64_t ldo, const void *table, rex_store t, int64_t D,           \
                    const int32_t *id, int64_t n, float scale))                                  \
    X(void, embed_bwd, (float *grad, int64_t ld, const float *dout, int64_t ldd,                 \
                        const int32_t *id, int64_t n, int64_t d0, int64_t d1, float scale))      \
    X(void, rmsnorm, (float *y, int64_t ldy, const float *x, int64_t ldx, const float *w,        \
                      float plus, int64_t n, int64_t D, double eps, float *rstd))                \
    X(void, rmsnorm_bwd, (float *dx, int64_t lddx, const float *dy, int64_t lddy,                \
                          const float *x, int64_t ldx, const float *w, float plus,               \
                          const float *rstd, int64_t n, int64_t D, bool more))                   \
    X(void, rmsnorm_dw, (float *dw, const float *dy, int64_t lddy, const float *x, int64_t ldx,  \
                         const float *rstd, int64_t n, int64_t d0, int64_t d1))                  \
    X(void, col_sum, (float *y, const float *x, int64_t ldx, int64_t n, int64_t d0, int64_t d1)) \
    X(void, rope, (float *x, int64_t ldx, int64_t n, int64_t n_head, int64_t hd, int64_t half,   \
                   const float *cos, const float *sin, const int32_t *pos, bool near,            \
                   float sign))                                                                  \
    X(void, gate, (float *y, int64_t ldy, const float *g, int64_t ldg, const float *u,           \
                   int64_t ldu, int64_t rows, int64_t n, rex_act act))                           \
    X(void, gate_bwd, (float *dg, int64_t lddg, float *du, int64_t lddu, const float *g,         \
                       int64_t ldg, const float *u, int64_t ldu, const float *dy, int64_t lddy,  \
                       int64_t rows, int64_t n, rex_act act))                                    \
    X(void, add, (float *y, const float *a, const float *b, int64_t n))                          \
    X(void, axpy, (float *y, float a, const float *x, int64_t n))                                \
    X(void, scale, (float *x, float a, int64_t n))                                               \
    X(void, round_bf16, (float *x, int64_t n))                                                   \
    X(void, cast_to, (void *dst, rex_store to, const float *src, int64_t n))                      \
    X(void, cast_from, (float *dst, const void *src, rex_store from, int64_t n))                  \
    X(void, softmax, (float *y, const float *x, float a, int64_t n))                             \
    X(rex_lse, lse_tile, (const float *x, float a, int64_t n))                                   \
    X(rex_lse, lse, (const float *x, float a, int64_t n))                                        \
    X(void, xent_bwd, (float *x, int64_t v0, int64_t n, int64_t id, double lse, double entropy,  \
                       float dlogp, float dent))                                                 \
    X(int64_t, argmax, (const float *x, int64_t n))                                              \
    X(double, dot, (const float *x, const float *y, int64_t n))                                  \
    X(double, dotd, (const double *x, const double *y, int64_t n))                               \
    X(double, sumsq, (const float *x, int64_t n))                                                \
    X(void, axpyd, (double *y, double a, const double *x, int64_t n))                            \
    X(void, gemvd, (double *y, const double *a, int64_t lda, int64_t m, int64_t n,               \
                    const double *x))                                                            \
    X(void, gerd, (double *a, int64_t lda, int64_t m, int64_t n, const double *x,                \
                   const double *y))                                                             \
    X(void, adamw, (float *p, const float *g, void *m, void *v, rex_store state, int64_t n,       \
                    uint64_t index0, const rex_adamw *a))

typedef struct {
    const char *name;
    const char *bf16_note; /* how bf16 products run: "instruction" or "emulated" */
#define X(ret, op, args) ret(*op) args;
    REX_KERN_OPS(X)
#undef X
} rex_kern;
/* A complete table: what it leaves out it inherits from ref. `name` is one of rex_kern_list, NULL
 * for the environment's REX_KERNEL, and without that the best this machine has. An unknown name or
 * one that this machine cannot run is REX_EARG with the list of those it can. */
REX_MUST rex_status rex_kern_pick(const char *name, rex_kern *out, rex_err *e);

#include "kern_run.h"

#endif
