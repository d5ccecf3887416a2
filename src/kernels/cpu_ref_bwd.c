/* SPDX-License-Identifier: MIT
 *
 * cpu_ref_bwd.c: the definition of every backward operation and of the optimiser, in the plainest
 * loops. Each is the derivative of its namesake in cpu_ref.c; summed indices run upwards, one
 * accumulator per output, so that how a batch is cut never changes a bit.
 */
#include "kern_impl.h"

void rex_ref_embed_bwd(float *grad, int64_t ld, const float *dout, int64_t ldd, const int32_t *id,
                       int64_t n, int64_t d0, int64_t d1, float scale) {
    for (int64_t i = 0; i < n; i++)
        for (int64_t d = d0; d < d1; d++) {
            float *g = grad + id[i] * ld + d;
            *g = fmaf(dout[i * ldd + d], scale, *g);
        }
}

/* With xhat = x r and g = dy (w + plus): dx = r (g - xhat mean(g xhat)). */
void rex_ref_rmsnorm_bwd(float *dx, int64_t lddx, const float *dy, int64_t lddy, const float *x,
                         int64_t ldx, const float *w, float plus, const float *rstd, int64_t n,
                         int64_t D, bool more) {
    for (int64_t i = 0; i < n; i++) {
        const float r = rstd[i];
        double lane[LANES] = { 0.0 };
        for (int64_t d = 0; d < D; d++) {
            const float g = dy[i * lddy + d] * (w[d] + plus);
            const float h = x[i * ldx + d] * r;
            lane[d % LANES] = fma((double)g, (double)h, lane[d % LANES]);
        }
        const float c = (float)(tree_f64(lane) / (double)D);
        for (int64_t d = 0; d < D; d++) {
            const float g = dy[i * lddy + d] * (w[d] + plus);
            const float h = x[i * ldx + d] * r;
            const float v = fmaf(-h, c, g) * r;
            dx[i * lddx + d] = more ? dx[i * lddx + d] + v : v;
        }
    }
}

void rex_ref_rmsnorm_dw(float *dw, const float *dy, int64_t lddy, const float *x, int64_t ldx,
                        const float *rstd, int64_t n, int64_t d0, int64_t d1) {
    for (int64_t i = 0; i < n; i++)
        for (int64_t d = d0; d < d1; d++)
            dw[d] = fmaf(dy[i * lddy + d], x[i * ldx + d] * rstd[i], dw[d]);
}

void rex_ref_col_sum(float *y, const float *x, int64_t ldx, int64_t n, int64_t d0, int64_t d1) {
    for (int64_t i = 0; i < n; i++)
        for (int64_t d = d0; d < d1; d++) y[d] = y[d] + x[i * ldx + d];
}

void rex_ref_gate_bwd(float *dg, int64_t lddg, float *du, int64_t lddu, const float *g, int64_t ldg,
                      const float *u, int64_t ldu, const float *dy, int64_t lddy, int64_t rows,
                      int64_t n, rex_act act) {
    for (int64_t i = 0; i < rows; i++)
        for (int64_t d = 0; d < n; d++) {
            const float gv = g[i * ldg + d];
            const float uv = u[i * ldu + d];
            const float yv = dy[i * lddy + d];
            dg[i * lddg + d] = (yv * uv) * gate_slope(gv, act);
            du[i * lddu + d] = yv * gate_f32(gv, act);
        }
}

/* ---- attention --------------------------------------------------------------------------- */

/* One token and query head: probabilities and score gradients for positions lo .. t, then dq. */
static void grad_scores(const rex_attn_grad *j, int64_t head, int64_t t, int64_t lo, const float *K,
                        const float *V, float *P, float *S) {
    const int64_t hd = j->hd;
    const float *q = j->q + t * j->q_row + head * hd;
    const float *dy = j->dout + t * j->dout_row + head * hd;
    float lane[LANES];
    for (int l = 0; l < LANES; l++) lane[l] = -INFINITY;
    for (int64_t p = lo; p <= t; p++) {
        float acc = 0.0f;
        for (int64_t d = 0; d < hd; d++) acc = fmaf(q[d], K[p * hd + d], acc);
        P[p] = acc * j->scale;
        lane[p % LANES] = max_f32(P[p], lane[p % LANES]);
    }
    const float max = tree_max(lane);
    for (int l = 0; l < LANES; l++) lane[l] = 0.0f;
    for (int64_t p = lo; p <= t; p++) {
        P[p] = exp_f32(P[p] - max);
        lane[p % LANES] = lane[p % LANES] + P[p];
    }
    const float inv = 1.0f / tree_f32(lane);
    for (int l = 0; l < LANES; l++) lane[l] = 0.0f;
    for (int64_t p = lo; p <= t; p++) {
        float acc = 0.0f;
        for (int64_t d = 0; d < hd; d++) acc = fmaf(dy[d], V[p * hd + d], acc);
        P[p] = P[p] * inv;
        S[p] = acc;
        lane[p % LANES] = fmaf(P[p], acc, lane[p % LANES]);
    }
    const float delta = tree_f32(lane);
    for (int64_t p = lo; p <= t; p++) S[p] = ((S[p] - delta) * P[p]) * j->scale;
    float *dq = j->dq + t * j->dq_row + head * hd;
    for (int64_t d = 0; d < hd; d++) dq[d] = 0.0f;
    for (int64_t p = lo; p <= t; p++)
        for (int64_t d = 0; d < hd; d++) dq[d] = fmaf(S[p], K[p * hd + d], dq[d]);
}

/* dk and dv of a position sum over tokens ascending, and within a token over the heads of the
 * group; scratch: K and V of the head as the cache holds them, then two score rows. */
void rex_ref_attn_bwd(const rex_attn_grad *j, int64_t h, void *scratch) {
    const int64_t hd = j->hd;
    const int64_t group = j->H / j->KV;
    float *K = bump(&scratch, (size_t)(j->T * hd) * sizeof(float));
    float *V = bump(&scratch, (size_t)(j->T * hd) * sizeof(float));
    float *P = bump(&scratch, (size_t)j->T * sizeof(float));
    float *S = bump(&scratch, (size_t)j->T * sizeof(float));
    for (int64_t t = 0; t < j->T; t++)
        for (int64_t d = 0; d < hd; d++) {
            const float k = j->k[t * j->k_row + h * hd + d];
            const float v = j->v[t * j->v_row + h * hd + d];
            K[t * hd + d] = j->cache == REX_K_BF16 ? bf16_wide(bf16_near(k)) : k;
            V[t * hd + d] = j->cache == REX_K_BF16 ? bf16_wide(bf16_near(v)) : v;
            j->dk[t * j->dk_row + h * hd + d] = 0.0f;
            j->dv[t * j->dv_row + h * hd + d] = 0.0f;
        }
    for (int64_t t = 0; t < j->T; t++) {
        const int64_t lo = j->window > 0 && t - j->window + 1 > 0 ? t - j->window + 1 : 0;
        for (int64_t g = 0; g < group; g++) {
            const int64_t head = h * group + g;
            grad_scores(j, head, t, lo, K, V, P, S);
            const float *q = j->q + t * j->q_row + head * hd;
            const float *dy = j->dout + t * j->dout_row + head * hd;
            for (int64_t p = lo; p <= t; p++)
                for (int64_t d = 0; d < hd; d++) {
                    float *dk = &j->dk[p * j->dk_row + h * hd + d];
                    float *dv = &j->dv[p * j->dv_row + h * hd + d];
                    *dk = fmaf(S[p], q[d], *dk);
                    *dv = fmaf(P[p], dy[d], *dv);
                }
        }
    }
}

/* ---- loss and optimiser ------------------------------------------------------------------ */

void rex_ref_xent_bwd(float *x, int64_t v0, int64_t n, int64_t id, double lse, double entropy,
                      float dlogp, float dent) {
    const float ent = (float)entropy;
    for (int64_t i = 0; i < n; i++) {
        const float l = (float)((double)x[i] - lse);
        const float p = exp_f32(l);
        float g = dlogp * ((v0 + i == id ? 1.0f : 0.0f) - p);
        if (dent != 0.0f && l > EXPF_LOW) g = fmaf(-(dent * p), l + ent, g);
        x[i] = g;
    }
}

void rex_ref_adamw(float *p, const float *g, void *m, void *v, rex_store state, int64_t n,
                   uint64_t index0, const rex_adamw *a) {
    if (state == REX_K_F32) {
        for (int64_t i = 0; i < n; i++)
            p[i] = adamw_f32(p[i], g[i], (float *)m + i, (float *)v + i, a);
        return;
    }
    uint16_t *mh = m;
    uint16_t *vh = v;
    for (int64_t i = 0; i < n; i++) {
        float mf = bf16_wide(mh[i]);
        float vf = bf16_wide(vh[i]);
        p[i] = adamw_f32(p[i], g[i], &mf, &vf, a);
        const uint32_t r = round_bits(a->round_key, index0 + (uint64_t)i);
        mh[i] = bf16_stochastic(mf, r >> 16);
        vh[i] = bf16_stochastic(vf, r);
    }
}
