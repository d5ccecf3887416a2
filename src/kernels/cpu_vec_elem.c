/* SPDX-License-Identifier: MIT
 *
 * cpu_vec_elem.c: element-wise operations and row reductions over the vector vocabulary, compiled
 * once per instruction set. Element-wise operations have no order, so only the operations per
 * element must be those of ref; reductions keep sixteen lanes in 16 / VW vectors. Tails are done by
 * the scalar definitions of kern_math.h on the same lanes.
 */
#include "vec.h"

/* ---- lanes ------------------------------------------------------------------------------- */

typedef struct {
    vd v[2 * NL];
} lanes_d;

HOT lanes_d lanes_zero(void) {
    lanes_d a;
#pragma GCC unroll 8
    for (int l = 0; l < 2 * NL; l++) a.v[l] = d_zero();
    return a;
}

HOT void lanes_store(double *out, const lanes_d *a) {
#pragma GCC unroll 8
    for (int l = 0; l < 2 * NL; l++) d_store(out + l * (VW / 2), a->v[l]);
}

static float lanes_max(const float *x, float a, int64_t n) {
    vf m[NL];
    for (int l = 0; l < NL; l++) m[l] = v_set(-INFINITY);
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
#pragma GCC unroll 4
        for (int l = 0; l < NL; l++) m[l] = v_max(v_mul(v_load(x + i + l * VW), v_set(a)), m[l]);
    float lane[LANES];
    for (int l = 0; l < NL; l++) v_store(lane + l * VW, m[l]);
    for (; i < n; i++) lane[i % LANES] = max_f32(x[i] * a, lane[i % LANES]);
    return tree_max(lane);
}

/* ---- sums -------------------------------------------------------------------------------- */

double VEC(dot)(const float *x, const float *y, int64_t n) {
    lanes_d s = lanes_zero();
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
#pragma GCC unroll 4
        for (int l = 0; l < NL; l++) {
            const vf a = v_load(x + i + l * VW);
            const vf b = v_load(y + i + l * VW);
            s.v[2 * l] = d_fma(d_lo(a), d_lo(b), s.v[2 * l]);
            s.v[2 * l + 1] = d_fma(d_hi(a), d_hi(b), s.v[2 * l + 1]);
        }
    double lane[LANES];
    lanes_store(lane, &s);
    for (; i < n; i++) lane[i % LANES] = fma((double)x[i], (double)y[i], lane[i % LANES]);
    return tree_f64(lane);
}

double VEC(sumsq)(const float *x, int64_t n) {
    return VEC(dot)(x, x, n);
}

double VEC(dotd)(const double *x, const double *y, int64_t n) {
    lanes_d s = lanes_zero();
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
#pragma GCC unroll 8
        for (int l = 0; l < 2 * NL; l++)
            s.v[l] = d_fma(d_load(x + i + l * (VW / 2)), d_load(y + i + l * (VW / 2)), s.v[l]);
    double lane[LANES];
    lanes_store(lane, &s);
    for (; i < n; i++) lane[i % LANES] = fma(x[i], y[i], lane[i % LANES]);
    return tree_f64(lane);
}

void VEC(axpyd)(double *y, double a, const double *x, int64_t n) {
    int64_t i = 0;
    for (; i + VW / 2 <= n; i += VW / 2)
        d_store(y + i, d_fma(d_set(a), d_load(x + i), d_load(y + i)));
    for (; i < n; i++) y[i] = fma(a, x[i], y[i]);
}

/* Two rows at a time: their chains hide each other's latency. */
void VEC(gemvd)(double *y, const double *a, int64_t lda, int64_t m, int64_t n, const double *x) {
    int64_t r = 0;
    for (; r + 2 <= m; r += 2) {
        const double *p = a + r * lda;
        const double *q = p + lda;
        lanes_d s = lanes_zero();
        lanes_d t = lanes_zero();
        int64_t i = 0;
        for (; i + LANES <= n; i += LANES)
#pragma GCC unroll 8
            for (int l = 0; l < 2 * NL; l++) {
                const vd v = d_load(x + i + l * (VW / 2));
                s.v[l] = d_fma(d_load(p + i + l * (VW / 2)), v, s.v[l]);
                t.v[l] = d_fma(d_load(q + i + l * (VW / 2)), v, t.v[l]);
            }
        double ls[LANES], lt[LANES];
        lanes_store(ls, &s);
        lanes_store(lt, &t);
        for (; i < n; i++) {
            ls[i % LANES] = fma(p[i], x[i], ls[i % LANES]);
            lt[i % LANES] = fma(q[i], x[i], lt[i % LANES]);
        }
        y[r] = tree_f64(ls);
        y[r + 1] = tree_f64(lt);
    }
    if (r < m) y[r] = VEC(dotd)(a + r * lda, x, n);
}

void VEC(gerd)(double *a, int64_t lda, int64_t m, int64_t n, const double *x, const double *y) {
    for (int64_t i = 0; i < m; i++) VEC(axpyd)(a + i * lda, x[i], y, n);
}

/* ---- element by element ------------------------------------------------------------------ */

void VEC(add)(float *y, const float *a, const float *b, int64_t n) {
    int64_t i = 0;
    for (; i + VW <= n; i += VW) v_store(y + i, v_add(v_load(a + i), v_load(b + i)));
    for (; i < n; i++) y[i] = a[i] + b[i];
}

void VEC(axpy)(float *y, float a, const float *x, int64_t n) {
    int64_t i = 0;
    for (; i + VW <= n; i += VW) v_store(y + i, v_fma(v_set(a), v_load(x + i), v_load(y + i)));
    for (; i < n; i++) y[i] = fmaf(a, x[i], y[i]);
}

void VEC(scale)(float *x, float a, int64_t n) {
    int64_t i = 0;
    for (; i + VW <= n; i += VW) v_store(x + i, v_mul(v_load(x + i), v_set(a)));
    for (; i < n; i++) x[i] = x[i] * a;
}

void VEC(round_bf16)(float *x, int64_t n) {
    int64_t i = 0;
    for (; i + VW <= n; i += VW) v_store(x + i, v_near_bf16(v_load(x + i)));
    for (; i < n; i++) x[i] = bf16_wide(bf16_near(x[i]));
}

void VEC(cast_to)(void *dst, rex_store to, const float *src, int64_t n) {
    uint16_t *h = dst;
    int64_t i = 0;
    if (to == REX_K_F32) {
        memcpy(dst, src, (size_t)n * sizeof(float));
        return;
    }
    if (to == REX_K_BF16) {
        for (; i + VW <= n; i += VW) v_store_top(h + i, v_near_bf16(v_load(src + i)));
        for (; i < n; i++) h[i] = bf16_near(src[i]);
        return;
    }
    for (; i + VW <= n; i += VW) v_store_f16(h + i, v_load(src + i));
    for (; i < n; i++) h[i] = rex_f32_f16(src[i]);
}

void VEC(cast_from)(float *dst, const void *src, rex_store from, int64_t n) {
    const uint16_t *h = src;
    int64_t i = 0;
    switch (from) {
    case REX_K_F32: memcpy(dst, src, (size_t)n * sizeof(float)); return;
    case REX_K_BF16:
        for (; i + VW <= n; i += VW) v_store(dst + i, v_load_bf16(h + i));
        break;
    case REX_K_F16:
        for (; i + VW <= n; i += VW) v_store(dst + i, v_load_f16(h + i));
        break;
    case REX_K_Q8_0:
        for (; i + 32 <= n; i += 32) {
            const uint8_t *b = (const uint8_t *)src + i / 32 * 34;
            const vf d = v_set(rex_f16_f32((uint16_t)(b[0] | b[1] << 8)));
            for (int c = 0; c < 32; c += VW)
                v_store(dst + i + c, v_mul(d, v_load_i8((const int8_t *)b + 2 + c)));
        }
        break;
    }
    for (; i < n; i++) dst[i] = store_at(src, from, i);
}

void VEC(embed)(float *out, int64_t ldo, const void *table, rex_store t, int64_t D,
                const int32_t *id, int64_t n, float scale) {
    const size_t row = rex_store_row_bytes(t, D);
    for (int64_t i = 0; i < n; i++) {
        VEC(cast_from)(out + i * ldo, (const char *)table + (size_t)id[i] * row, t, D);
        if (scale != 1.0f) VEC(scale)(out + i * ldo, scale, D);
    }
}

/* ---- norm, rotation, gate ---------------------------------------------------------------- */

void VEC(rmsnorm)(float *y, int64_t ldy, const float *x, int64_t ldx, const float *w, float plus,
                  int64_t n, int64_t D, double eps, float *rstd) {
    for (int64_t i = 0; i < n; i++) {
        const float *xi = x + i * ldx;
        float *yi = y + i * ldy;
        const float r = (float)(1.0 / sqrt(VEC(dot)(xi, xi, D) / (double)D + eps));
        const vf rv = v_set(r);
        const vf one = v_set(plus);
        int64_t d = 0;
        for (; d + VW <= D; d += VW)
            v_store(yi + d, v_mul(v_mul(v_load(xi + d), rv), v_add(v_load(w + d), one)));
        for (; d < D; d++) yi[d] = (xi[d] * r) * (w[d] + plus);
        if (rstd != NULL) rstd[i] = r;
    }
}

/* One head, first and second channels `half` apart. */
static void turn(float *a, int64_t half, const float *c, const float *s, float sign) {
    float *b = a + half;
    int64_t j = 0;
    for (; j + VW <= half; j += VW) {
        const vf cv = v_load(c + j);
        const vf sv = v_mul(v_load(s + j), v_set(sign));
        const vf u = v_load(a + j);
        const vf v = v_load(b + j);
        v_store(a + j, v_fma(v_neg(v), sv, v_mul(u, cv)));
        v_store(b + j, v_fma(u, sv, v_mul(v, cv)));
    }
    for (; j < half; j++) {
        const float sv = s[j] * sign;
        const float u = a[j];
        const float v = b[j];
        a[j] = fmaf(-v, sv, u * c[j]);
        b[j] = fmaf(u, sv, v * c[j]);
    }
}

/* One head, neighbouring channels. */
static void turn_near(float *a, int64_t half, const float *c, const float *s, float sign) {
    int64_t j = 0;
    for (; j + VW <= half; j += VW) {
        const vf p = v_load(a + 2 * j);
        const vf q = v_load(a + 2 * j + VW);
        const vf cv = v_load(c + j);
        const vf sv = v_mul(v_load(s + j), v_set(sign));
        const vf u = v_even(p, q);
        const vf v = v_odd(p, q);
        v_store_zip(a + 2 * j, v_fma(v_neg(v), sv, v_mul(u, cv)), v_fma(u, sv, v_mul(v, cv)));
    }
    for (; j < half; j++) {
        const float sv = s[j] * sign;
        const float u = a[2 * j];
        const float v = a[2 * j + 1];
        a[2 * j] = fmaf(-v, sv, u * c[j]);
        a[2 * j + 1] = fmaf(u, sv, v * c[j]);
    }
}

void VEC(rope)(float *x, int64_t ldx, int64_t n, int64_t n_head, int64_t hd, int64_t half,
               const float *cos, const float *sin, const int32_t *pos, bool near, float sign) {
    for (int64_t i = 0; i < n; i++)
        for (int64_t h = 0; h < n_head; h++) {
            const int64_t at = pos[i] * half;
            if (near)
                turn_near(x + i * ldx + h * hd, half, cos + at, sin + at, sign);
            else
                turn(x + i * ldx + h * hd, half, cos + at, sin + at, sign);
        }
}

void VEC(gate)(float *y, int64_t ldy, const float *g, int64_t ldg, const float *u, int64_t ldu,
               int64_t rows, int64_t n, rex_act act) {
    for (int64_t i = 0; i < rows; i++) {
        int64_t d = 0;
        for (; d + VW <= n; d += VW) {
            const vf x = v_load(g + i * ldg + d);
            const vf e = v_exp(v_neg(v_gate_arg(x, act)));
            const vf a = v_div(x, v_add(v_set(1.0f), e));
            v_store(y + i * ldy + d, v_mul(a, v_load(u + i * ldu + d)));
        }
        for (; d < n; d++) y[i * ldy + d] = gate_f32(g[i * ldg + d], act) * u[i * ldu + d];
    }
}

/* ---- vocabulary -------------------------------------------------------------------------- */

void VEC(softmax)(float *y, const float *x, float a, int64_t n) {
    const float max = lanes_max(x, a, n);
    lanes_d s = lanes_zero();
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
#pragma GCC unroll 4
        for (int l = 0; l < NL; l++) {
            const vf e = v_exp(v_sub(v_mul(v_load(x + i + l * VW), v_set(a)), v_set(max)));
            v_store(y + i + l * VW, e);
            s.v[2 * l] = d_add(s.v[2 * l], d_lo(e));
            s.v[2 * l + 1] = d_add(s.v[2 * l + 1], d_hi(e));
        }
    double lane[LANES];
    lanes_store(lane, &s);
    for (; i < n; i++) {
        y[i] = exp_f32(x[i] * a - max);
        lane[i % LANES] += (double)y[i];
    }
    VEC(scale)(y, (float)(1.0 / tree_f64(lane)), n);
}

HOT void lse_add(vd x, vd max, vd *sum, vd *xsum) {
    const vd d = d_sub(x, max);
    const vd e = d_exp(d);
    *sum = d_add(*sum, e);
    *xsum = d_fma(e, d_pick_gt(d, d_set(EXPD_LOW), d, d_zero()), *xsum);
}

rex_lse VEC(lse_tile)(const float *x, float a, int64_t n) {
    const double max = (double)lanes_max(x, a, n);
    const double base = max == (double)-INFINITY ? 0.0 : max;
    lanes_d s = lanes_zero();
    lanes_d t = lanes_zero();
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
#pragma GCC unroll 4
        for (int l = 0; l < NL; l++) {
            const vf v = v_mul(v_load(x + i + l * VW), v_set(a));
            lse_add(d_lo(v), d_set(base), &s.v[2 * l], &t.v[2 * l]);
            lse_add(d_hi(v), d_set(base), &s.v[2 * l + 1], &t.v[2 * l + 1]);
        }
    double ls[LANES], lt[LANES];
    lanes_store(ls, &s);
    lanes_store(lt, &t);
    for (; i < n; i++) {
        const double d = (double)(x[i] * a) - base;
        const double e = exp_f64(d);
        ls[i % LANES] += e;
        lt[i % LANES] = fma(e, d > EXPD_LOW ? d : 0.0, lt[i % LANES]);
    }
    return (rex_lse){ max, tree_f64(ls), tree_f64(lt) };
}

rex_lse VEC(lse)(const float *x, float a, int64_t n) {
    rex_lse all = { (double)-INFINITY, 0.0, 0.0 };
    for (int64_t i = 0; i < n; i += REX_VOCAB_TILE) {
        const int64_t m = n - i < REX_VOCAB_TILE ? n - i : REX_VOCAB_TILE;
        const rex_lse two[2] = { all, VEC(lse_tile)(x + i, a, m) };
        all = i == 0 ? two[1] : rex_lse_join(two, 2);
    }
    return all;
}

/* The largest value first, then its first place. */
int64_t VEC(argmax)(const float *x, int64_t n) {
    const float max = lanes_max(x, 1.0f, n);
    if (max == -INFINITY) return rex_ref_argmax(x, n);
    for (int64_t i = 0; i < n; i++)
        if (x[i] == max) return i;
    return -1;
}
