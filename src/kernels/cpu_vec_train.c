/* SPDX-License-Identifier: MIT
 *
 * cpu_vec_train.c: the element-wise backward operations, the optimiser, and the laying of panels,
 * compiled once per instruction set. Orders and operations per element are those of cpu_ref_bwd.c
 * and cpu_ref.c.
 */
#include "vec.h"

/* ---- norm, gate -------------------------------------------------------------------------- */

static void norm_row(float *dx, const float *dy, const float *x, const float *w, float plus,
                     float r, int64_t D, bool more) {
    vd s[2 * NL];
    double lane[LANES];
    for (int l = 0; l < 2 * NL; l++) s[l] = d_zero();
    int64_t d = 0;
    for (; d + LANES <= D; d += LANES)
#pragma GCC unroll 4
        for (int l = 0; l < NL; l++) {
            const int64_t i = d + l * VW;
            const vf g = v_mul(v_load(dy + i), v_add(v_load(w + i), v_set(plus)));
            const vf h = v_mul(v_load(x + i), v_set(r));
            s[2 * l] = d_fma(d_lo(g), d_lo(h), s[2 * l]);
            s[2 * l + 1] = d_fma(d_hi(g), d_hi(h), s[2 * l + 1]);
        }
    for (int l = 0; l < 2 * NL; l++) d_store(lane + l * (VW / 2), s[l]);
    for (; d < D; d++) {
        const float g = dy[d] * (w[d] + plus);
        const float h = x[d] * r;
        lane[d % LANES] = fma((double)g, (double)h, lane[d % LANES]);
    }
    const float c = (float)(tree_f64(lane) / (double)D);
    for (d = 0; d + VW <= D; d += VW) {
        const vf g = v_mul(v_load(dy + d), v_add(v_load(w + d), v_set(plus)));
        const vf h = v_mul(v_load(x + d), v_set(r));
        vf v = v_mul(v_fma(v_neg(h), v_set(c), g), v_set(r));
        if (more) v = v_add(v_load(dx + d), v);
        v_store(dx + d, v);
    }
    for (; d < D; d++) {
        const float g = dy[d] * (w[d] + plus);
        const float v = fmaf(-(x[d] * r), c, g) * r;
        dx[d] = more ? dx[d] + v : v;
    }
}

void VEC(rmsnorm_bwd)(float *dx, int64_t lddx, const float *dy, int64_t lddy, const float *x,
                      int64_t ldx, const float *w, float plus, const float *rstd, int64_t n,
                      int64_t D, bool more) {
    for (int64_t i = 0; i < n; i++)
        norm_row(dx + i * lddx, dy + i * lddy, x + i * ldx, w, plus, rstd[i], D, more);
}

/* Columns outside, rows inside: the running sums stay in registers. */
void VEC(rmsnorm_dw)(float *dw, const float *dy, int64_t lddy, const float *x, int64_t ldx,
                     const float *rstd, int64_t n, int64_t d0, int64_t d1) {
    int64_t d = d0;
    for (; d + VW <= d1; d += VW) {
        vf s = v_load(dw + d);
        for (int64_t i = 0; i < n; i++)
            s = v_fma(v_load(dy + i * lddy + d), v_mul(v_load(x + i * ldx + d), v_set(rstd[i])), s);
        v_store(dw + d, s);
    }
    for (; d < d1; d++)
        for (int64_t i = 0; i < n; i++)
            dw[d] = fmaf(dy[i * lddy + d], x[i * ldx + d] * rstd[i], dw[d]);
}

void VEC(col_sum)(float *y, const float *x, int64_t ldx, int64_t n, int64_t d0, int64_t d1) {
    int64_t d = d0;
    for (; d + VW <= d1; d += VW) {
        vf s = v_load(y + d);
        for (int64_t i = 0; i < n; i++) s = v_add(s, v_load(x + i * ldx + d));
        v_store(y + d, s);
    }
    for (; d < d1; d++)
        for (int64_t i = 0; i < n; i++) y[d] = y[d] + x[i * ldx + d];
}

void VEC(gate_bwd)(float *dg, int64_t lddg, float *du, int64_t lddu, const float *g, int64_t ldg,
                   const float *u, int64_t ldu, const float *dy, int64_t lddy, int64_t rows,
                   int64_t n, rex_act act) {
    const vf one = v_set(1.0f);
    for (int64_t i = 0; i < rows; i++) {
        int64_t d = 0;
        for (; d + VW <= n; d += VW) {
            const vf x = v_load(g + i * ldg + d);
            const vf uv = v_load(u + i * ldu + d);
            const vf yv = v_load(dy + i * lddy + d);
            const vf e = v_add(one, v_exp(v_neg(v_gate_arg(x, act))));
            const vf s = v_div(one, e);
            const vf k = act == REX_SILU ? one : v_fma(v_mul(x, x), v_set(GELU_B3), v_set(GELU_A));
            const vf slope = v_mul(s, v_fma(v_mul(x, k), v_sub(one, s), one));
            v_store(dg + i * lddg + d, v_mul(v_mul(yv, uv), slope));
            v_store(du + i * lddu + d, v_mul(yv, v_div(x, e)));
        }
        for (; d < n; d++) {
            const float x = g[i * ldg + d];
            const float uv = u[i * ldu + d];
            const float yv = dy[i * lddy + d];
            dg[i * lddg + d] = (yv * uv) * gate_slope(x, act);
            du[i * lddu + d] = yv * gate_f32(x, act);
        }
    }
}

/* ---- embedding, loss, optimiser ---------------------------------------------------------- */

void VEC(embed_bwd)(float *grad, int64_t ld, const float *dout, int64_t ldd, const int32_t *id,
                    int64_t n, int64_t d0, int64_t d1, float scale) {
    for (int64_t i = 0; i < n; i++) {
        float *g = grad + id[i] * ld;
        const float *s = dout + i * ldd;
        int64_t d = d0;
        for (; d + VW <= d1; d += VW)
            v_store(g + d, v_fma(v_load(s + d), v_set(scale), v_load(g + d)));
        for (; d < d1; d++) g[d] = fmaf(s[d], scale, g[d]);
    }
}

void VEC(xent_bwd)(float *x, int64_t v0, int64_t n, int64_t id, double lse, double entropy,
                   float dlogp, float dent) {
    const int64_t at = id - v0; /* the word's place here, if it is here */
    const float own = at >= 0 && at < n ? x[at] : 0.0f;
    const vd ls = d_set(lse);
    const vf ent = v_set((float)entropy);
    int64_t i = 0;
    for (; i + VW <= n; i += VW) {
        const vf v = v_load(x + i);
        const vf l = d_narrow(d_sub(d_lo(v), ls), d_sub(d_hi(v), ls));
        const vf p = v_exp(l);
        vf g = v_mul(v_set(dlogp), v_sub(v_zero(), p));
        if (dent != 0.0f) {
            const vf h = v_fma(v_neg(v_mul(v_set(dent), p)), v_add(l, ent), g);
            g = v_pick_gt(l, v_set(EXPF_LOW), h, g);
        }
        v_store(x + i, g);
    }
    if (i < n) rex_ref_xent_bwd(x + i, v0 + i, n - i, id, lse, entropy, dlogp, dent);
    if (at >= 0 && at < i) {
        x[at] = own;
        rex_ref_xent_bwd(x + at, id, 1, id, lse, entropy, dlogp, dent);
    }
}

HOT vf adamw_vec(vf p, vf g, vf *m, vf *v, const rex_adamw *a) {
    const vf gs = v_mul(g, v_set(a->grad_scale));
    *m = v_fma(v_set(a->beta1), *m, v_mul(v_set(1.0f - a->beta1), gs));
    *v = v_fma(v_set(a->beta2), *v, v_mul(v_mul(v_set(1.0f - a->beta2), gs), gs));
    const vf d = v_add(v_div(v_sqrt(*v), v_set(a->fix2)), v_set(a->eps));
    const float keep = 1.0f - a->lr * a->decay;
    return v_fma(v_set(-(a->lr / a->fix1)), v_div(*m, d), v_mul(p, v_set(keep)));
}

void VEC(adamw)(float *p, const float *g, void *m, void *v, rex_store state, int64_t n,
                uint64_t index0, const rex_adamw *a) {
    int64_t i = 0;
    if (state == REX_K_F32) {
        float *mf = m;
        float *vv = v;
        for (; i + VW <= n; i += VW) {
            vf mv = v_load(mf + i);
            vf w = v_load(vv + i);
            v_store(p + i, adamw_vec(v_load(p + i), v_load(g + i), &mv, &w, a));
            v_store(mf + i, mv);
            v_store(vv + i, w);
        }
        for (; i < n; i++) p[i] = adamw_f32(p[i], g[i], mf + i, vv + i, a);
        return;
    }
    uint16_t *mh = m;
    uint16_t *vh = v;
    for (; i + VW <= n; i += VW) {
        vf mv = v_load_bf16(mh + i);
        vf w = v_load_bf16(vh + i);
        float mt[VW], vt[VW];
        v_store(p + i, adamw_vec(v_load(p + i), v_load(g + i), &mv, &w, a));
        v_store(mt, mv);
        v_store(vt, w);
        for (int l = 0; l < VW; l++) {
            const uint32_t r = round_bits(a->round_key, index0 + (uint64_t)(i + l));
            mh[i + l] = bf16_stochastic(mt[l], r >> 16);
            vh[i + l] = bf16_stochastic(vt[l], r);
        }
    }
    if (i < n)
        rex_ref_adamw(p + i, g + i, mh + i, vh + i, state, n - i, index0 + (uint64_t)i, a);
}

/* ---- panels ------------------------------------------------------------------------------ */

static vf source(const rex_pack *j, int64_t at) {
    if (j->from == REX_K_F32) return v_load((const float *)j->src + at);
    if (j->from == REX_K_BF16) return v_load_bf16((const uint16_t *)j->src + at);
    return v_load_f16((const uint16_t *)j->src + at);
}

/* Row k of packed panels, outputs n .. n+VW-1. */
static vf panel_row(const rex_pack *j, int64_t k, int64_t n) {
    const char *const p =
        (const char *)j->src + (size_t)(n / REX_PANEL) * rex_panel_bytes(j->from, j->n);
    const int64_t l = n % REX_PANEL;
    float t[VW];
    if (j->from == REX_K_F32)
        return v_load((const float *)(const void *)p + k * REX_PANEL + l);
    if (j->from == REX_K_F16)
        return v_load_f16((const uint16_t *)(const void *)p + k * REX_PANEL + l);
    if (j->from == REX_K_BF16) {
        const uint16_t *const h =
            (const uint16_t *)(const void *)p + (k / 2 * REX_PANEL + l) * 2 + k % 2;
        for (int i = 0; i < VW; i++) t[i] = bf16_wide(h[2 * i]);
        return v_load(t);
    }
    const char *const b = p + k / 32 * (64 + 32 * REX_PANEL);
    const int8_t *const q = (const int8_t *)b + 64 + k % 32 * REX_PANEL + l;
    for (int i = 0; i < VW; i++) t[i] = (float)q[i];
    return v_mul(v_load_f16((const uint16_t *)(const void *)b + l), v_load(t));
}

/* VW elements of k (two vectors' worth of pairs at most) for outputs n .. n+VW-1, as rows [k]. */
static void block_of(const rex_pack *j, int64_t n, int64_t k, vf r[VW]) {
    if (j->from_panels) { /* the turned matrix: its outputs are our k, its k our outputs */
        for (int i = 0; i < VW; i++) r[i] = panel_row(j, n + i, k);
        v_transpose(r);
    } else if (j->row == 1) {
        for (int i = 0; i < VW; i++) r[i] = source(j, n + (k + i) * j->col);
    } else {
        for (int i = 0; i < VW; i++) r[i] = source(j, (n + i) * j->row + k);
        v_transpose(r);
    }
}

static void lay(const rex_pack *j, void *panel, int64_t l, int64_t k, const vf r[VW]) {
    if (j->to == REX_K_F32) {
        for (int i = 0; i < VW; i++) v_store((float *)panel + (k + i) * REX_PANEL + l, r[i]);
    } else if (j->to == REX_K_BF16) {
        for (int i = 0; i < VW; i += 2)
            v_store_pairs((uint16_t *)panel + ((k + i) / 2 * REX_PANEL + l) * 2, v_near_bf16(r[i]),
                          v_near_bf16(r[i + 1]));
    } else {
        for (int i = 0; i < VW; i++) v_store_f16((uint16_t *)panel + (k + i) * REX_PANEL + l, r[i]);
    }
}

/* Whole vectors of outputs and of k by transposes; what is left over goes element by element
 * through ref, which fills one panel: so a panel is either all ours or all its. */
void VEC(pack)(const rex_pack *j, int64_t p0, int64_t p1) {
    for (int64_t p = p0; p < p1; p++) {
        const bool whole = (p + 1) * REX_PANEL <= j->n && j->k % VW == 0 &&
                           (j->from_panels || (j->from != REX_K_Q8_0 &&
                                               (j->row == 1 || j->col == 1)));
        if (!whole) {
            rex_ref_pack(j, p, p + 1);
            continue;
        }
        void *panel = (char *)j->dst + (size_t)p * rex_panel_bytes(j->to, j->k);
        for (int64_t k = 0; k < j->k; k += VW)
            for (int64_t l = 0; l < REX_PANEL; l += VW) {
                vf r[VW];
                block_of(j, p * REX_PANEL + l, k, r);
                lay(j, panel, l, k, r);
            }
    }
}
