/* SPDX-License-Identifier: MIT
 *
 * cpu_ref.c: every operation in the plainest loops that fix its order of rounding. This is the
 * definition: a fast table must return these bits (tests/test_kern.c), so nothing here may be made
 * faster by changing an order. The backward operations are in cpu_ref_bwd.c.
 */
#include "kern_impl.h"

/* ---- panels ------------------------------------------------------------------------------ */

/* Element (k, n) of packed panels. */
static float panel_at(const void *data, rex_store t, int64_t k_len, int64_t k, int64_t n) {
    const char *p = (const char *)data + (size_t)(n / REX_PANEL) * rex_panel_bytes(t, k_len);
    const int64_t l = n % REX_PANEL;
    switch (t) {
    case REX_K_F32: return ((const float *)(const void *)p)[k * REX_PANEL + l];
    case REX_K_F16: return rex_f16_f32(((const uint16_t *)(const void *)p)[k * REX_PANEL + l]);
    case REX_K_BF16:
        return bf16_wide(((const uint16_t *)(const void *)p)[(k / 2 * REX_PANEL + l) * 2 + k % 2]);
    case REX_K_Q8_0: {
        const char *b = p + k / 32 * (64 + 32 * REX_PANEL);
        const float d = rex_f16_f32(((const uint16_t *)(const void *)b)[l]);
        return d * (float)((const int8_t *)b)[64 + k % 32 * REX_PANEL + l];
    }
    }
    return 0.0f;
}

/* Element (out, k) of a packing job's source, zero outside the matrix. */
static float pack_at(const rex_pack *j, int64_t out, int64_t k) {
    if (out >= j->n || k >= j->k) return 0.0f;
    if (j->from_panels) return panel_at(j->src, j->from, j->n, out, k);
    if (j->from == REX_K_Q8_0)
        return store_at((const char *)j->src + (size_t)(out * j->row / 32) * 34, j->from, k);
    return store_at(j->src, j->from, out * j->row + k * j->col);
}

static void pack_q8(const rex_pack *j, int64_t p0, int64_t p1) {
    for (int64_t p = p0; p < p1; p++) {
        char *dst = (char *)j->dst + (size_t)p * rex_panel_bytes(j->to, j->k);
        for (int64_t kb = 0; kb < j->k / 32; kb++, dst += 64 + 32 * REX_PANEL) {
            for (int64_t l = 0; l < REX_PANEL; l++) {
                const int64_t n = p * REX_PANEL + l;
                uint8_t block[34] = { 0 };
                if (n < j->n)
                    memcpy(block, (const char *)j->src + (size_t)(n * j->row / 32 + kb) * 34, 34);
                memcpy(dst + 2 * l, block, 2);
                for (int64_t k = 0; k < 32; k++) dst[64 + k * REX_PANEL + l] = (char)block[2 + k];
            }
        }
    }
}

void rex_ref_pack(const rex_pack *j, int64_t p0, int64_t p1) {
    if (j->to == REX_K_Q8_0) {
        pack_q8(j, p0, p1);
        return;
    }
    for (int64_t p = p0; p < p1; p++) {
        void *dst = (char *)j->dst + (size_t)p * rex_panel_bytes(j->to, j->k);
        for (int64_t k = 0; k < (j->to == REX_K_BF16 ? (j->k + 1) / 2 * 2 : j->k); k++) {
            for (int64_t l = 0; l < REX_PANEL; l++) {
                const float w = pack_at(j, p * REX_PANEL + l, k);
                if (j->to == REX_K_F32)
                    ((float *)dst)[k * REX_PANEL + l] = w;
                else if (j->to == REX_K_BF16)
                    ((uint16_t *)dst)[(k / 2 * REX_PANEL + l) * 2 + k % 2] = bf16_near(w);
                else
                    ((uint16_t *)dst)[k * REX_PANEL + l] = rex_f32_f16(w);
            }
        }
    }
}

void rex_ref_unpack(void *dst, rex_store to, int64_t ld, const float *panels, int64_t n, int64_t k,
                    int64_t n0, int64_t n1) {
    (void)n;
    for (int64_t i = n0; i < n1; i++)
        for (int64_t d = 0; d < k; d++) {
            const float w = panel_at(panels, REX_K_F32, k, d, i);
            if (to == REX_K_F32)
                ((float *)dst)[i * ld + d] = w;
            else
                ((uint16_t *)dst)[i * ld + d] = to == REX_K_BF16 ? bf16_near(w) : rex_f32_f16(w);
        }
}

/* ---- product ----------------------------------------------------------------------------- */

static float right_at(const rex_gemm *j, int64_t k, int64_t n) {
    const float w = j->w.ld > 0 ? ((const float *)j->w.data)[k * j->w.ld + n]
                                : panel_at(j->w.data, j->w.type, j->k, k, n);
    return j->bf16 ? bf16_wide(bf16_near(w)) : w;
}

static float left_at(const rex_gemm *j, int64_t m, int64_t k) {
    const float x = j->x[m * j->x_row + k * j->x_col];
    return j->bf16 ? bf16_wide(bf16_near(x)) : x;
}

static float chain(const rex_gemm *j, int64_t m, int64_t n, float acc) {
    if (!j->bf16) {
        for (int64_t k = 0; k < j->k; k++) acc = fmaf(left_at(j, m, k), right_at(j, k, n), acc);
        return acc;
    }
    for (int64_t k = 0; k < j->k; k += 2) { /* odd element first; an odd length is padded by 0 */
        const bool pair = k + 1 < j->k;
        acc = fmaf(pair ? left_at(j, m, k + 1) : 0.0f, pair ? right_at(j, k + 1, n) : 0.0f, acc);
        acc = fmaf(left_at(j, m, k), right_at(j, k, n), acc);
    }
    return acc;
}

void rex_ref_gemm(const rex_gemm *j, int64_t m0, int64_t m1, int64_t p0, int64_t p1,
                  void *scratch) {
    (void)scratch;
    const int64_t n1 = p1 * REX_PANEL < j->n ? p1 * REX_PANEL : j->n;
    const uint64_t fp = j->bf16 ? flush_enter() : 0;
    for (int64_t m = m0; m < m1; m++)
        for (int64_t n = p0 * REX_PANEL; n < n1; n++) {
            float *y = j->y + m * j->y_row + n / REX_PANEL * j->y_panel + n % REX_PANEL;
            const float add =
                j->add != NULL ? j->add[m * j->add_row + n] : 0.0f; /* may be y itself */
            const float sum = chain(j, m, n, j->more ? *y : 0.0f);
            const float biased = j->bias != NULL ? sum + j->bias[n] : sum;
            *y = j->add != NULL ? biased + add : biased;
        }
    if (j->bf16) flush_leave(fp);
}

/* ---- attention --------------------------------------------------------------------------- */

static float cache_at(const void *p, rex_store t, int64_t i) {
    return t == REX_K_F32 ? ((const float *)p)[i] : bf16_wide(((const uint16_t *)p)[i]);
}

/* One query head at one token. */
static void attn_one(const rex_attn *j, const rex_attn_row *r, int64_t head, float *s) {
    const int64_t h = head / (j->H / j->KV);
    const float *q = r->q + head * j->hd;
    float *out = r->out + head * j->hd;
    for (int64_t g = 0; g < r->n_seg; g++) {
        const rex_kv_seg *c = &r->seg[g];
        for (int64_t p = c->pos0 > r->lo ? c->pos0 : r->lo; p < r->hi && p < c->pos0 + c->n; p++) {
            const int64_t i = p - c->pos0;
            float acc = 0.0f;
            for (int64_t d = 0; d < j->hd; d++) {
                const int64_t at =
                    h * c->k_head + (i / REX_PANEL * j->hd + d) * REX_PANEL + i % REX_PANEL;
                acc = fmaf(q[d], cache_at(c->k, j->cache, at), acc);
            }
            s[p] = acc * j->scale;
        }
    }
    float lane[LANES];
    for (int l = 0; l < LANES; l++) lane[l] = -INFINITY;
    for (int64_t p = r->lo; p < r->hi; p++) lane[p % LANES] = max_f32(s[p], lane[p % LANES]);
    const float max = tree_max(lane);
    for (int l = 0; l < LANES; l++) lane[l] = 0.0f;
    for (int64_t p = r->lo; p < r->hi; p++) {
        s[p] = exp_f32(s[p] - max);
        lane[p % LANES] = lane[p % LANES] + s[p];
    }
    const float inv = 1.0f / tree_f32(lane);
    for (int64_t d = 0; d < j->hd; d++) out[d] = 0.0f;
    for (int64_t g = 0; g < r->n_seg; g++) {
        const rex_kv_seg *c = &r->seg[g];
        for (int64_t p = c->pos0 > r->lo ? c->pos0 : r->lo; p < r->hi && p < c->pos0 + c->n; p++)
            for (int64_t d = 0; d < j->hd; d++)
                out[d] =
                    fmaf(s[p], cache_at(c->v, j->cache, h * c->v_head + (p - c->pos0) * j->hd + d),
                         out[d]);
    }
    for (int64_t d = 0; d < j->hd; d++) out[d] = out[d] * inv;
}

void rex_ref_attn(const rex_attn *j, int64_t h, int64_t r0, int64_t r1, void *scratch) {
    const int64_t group = j->H / j->KV;
    for (int64_t r = r0; r < r1; r++)
        for (int64_t g = 0; g < group; g++) attn_one(j, &j->row[r], h * group + g, scratch);
}

void rex_ref_kv_put(const rex_kv_seg *s, rex_store cache, int64_t KV, int64_t hd, int64_t i,
                    int64_t n, const float *k, int64_t k_row, const float *v, int64_t v_row) {
    for (int64_t h = 0; h < KV; h++)
        for (int64_t t = 0; t < n; t++)
            for (int64_t d = 0; d < hd; d++) {
                const int64_t p = i + t;
                const int64_t ka =
                    h * s->k_head + (p / REX_PANEL * hd + d) * REX_PANEL + p % REX_PANEL;
                const int64_t va = h * s->v_head + p * hd + d;
                const float kv = k[t * k_row + h * hd + d];
                const float vv = v[t * v_row + h * hd + d];
                if (cache == REX_K_F32) {
                    ((float *)(uintptr_t)s->k)[ka] = kv;
                    ((float *)(uintptr_t)s->v)[va] = vv;
                } else {
                    ((uint16_t *)(uintptr_t)s->k)[ka] = bf16_near(kv);
                    ((uint16_t *)(uintptr_t)s->v)[va] = bf16_near(vv);
                }
            }
}

/* ---- rows -------------------------------------------------------------------------------- */

void rex_ref_embed(float *out, int64_t ldo, const void *table, rex_store t, int64_t D,
                   const int32_t *id, int64_t n, float scale) {
    const size_t row = rex_store_row_bytes(t, D);
    for (int64_t i = 0; i < n; i++)
        for (int64_t d = 0; d < D; d++)
            out[i * ldo + d] = store_at((const char *)table + (size_t)id[i] * row, t, d) * scale;
}

void rex_ref_rmsnorm(float *y, int64_t ldy, const float *x, int64_t ldx, const float *w, float plus,
                     int64_t n, int64_t D, double eps, float *rstd) {
    for (int64_t i = 0; i < n; i++) {
        const float *xi = x + i * ldx;
        const double ss = rex_ref_sumsq(xi, D);
        const float r = (float)(1.0 / sqrt(ss / (double)D + eps));
        for (int64_t d = 0; d < D; d++) y[i * ldy + d] = (xi[d] * r) * (w[d] + plus);
        if (rstd != NULL) rstd[i] = r;
    }
}

void rex_ref_rope(float *x, int64_t ldx, int64_t n, int64_t n_head, int64_t hd, int64_t half,
                  const float *cos, const float *sin, const int32_t *pos, bool near, float sign) {
    for (int64_t i = 0; i < n; i++)
        for (int64_t h = 0; h < n_head; h++)
            for (int64_t j = 0; j < half; j++) {
                float *a = x + i * ldx + h * hd + (near ? 2 * j : j);
                float *b = near ? a + 1 : a + half;
                const float c = cos[pos[i] * half + j];
                const float s = sin[pos[i] * half + j] * sign;
                const float u = *a;
                const float v = *b;
                *a = fmaf(-v, s, u * c);
                *b = fmaf(u, s, v * c);
            }
}

void rex_ref_gate(float *y, int64_t ldy, const float *g, int64_t ldg, const float *u, int64_t ldu,
                  int64_t rows, int64_t n, rex_act act) {
    for (int64_t i = 0; i < rows; i++)
        for (int64_t d = 0; d < n; d++)
            y[i * ldy + d] = gate_f32(g[i * ldg + d], act) * u[i * ldu + d];
}

void rex_ref_add(float *y, const float *a, const float *b, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] = a[i] + b[i];
}

void rex_ref_axpy(float *y, float a, const float *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] = fmaf(a, x[i], y[i]);
}

void rex_ref_scale(float *x, float a, int64_t n) {
    for (int64_t i = 0; i < n; i++) x[i] = x[i] * a;
}

void rex_ref_round_bf16(float *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) x[i] = bf16_wide(bf16_near(x[i]));
}

void rex_ref_cast_to(void *dst, rex_store to, const float *src, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        if (to == REX_K_F32)
            ((float *)dst)[i] = src[i];
        else
            ((uint16_t *)dst)[i] = to == REX_K_BF16 ? bf16_near(src[i]) : rex_f32_f16(src[i]);
    }
}

void rex_ref_cast_from(float *dst, const void *src, rex_store from, int64_t n) {
    for (int64_t i = 0; i < n; i++) dst[i] = store_at(src, from, i);
}

/* ---- vocabulary -------------------------------------------------------------------------- */

static float row_max(const float *x, float a, int64_t n) {
    float lane[LANES];
    for (int l = 0; l < LANES; l++) lane[l] = -INFINITY;
    for (int64_t i = 0; i < n; i++) lane[i % LANES] = max_f32(x[i] * a, lane[i % LANES]);
    return tree_max(lane);
}

void rex_ref_softmax(float *y, const float *x, float a, int64_t n) {
    const float max = row_max(x, a, n);
    double lane[LANES] = { 0.0 };
    for (int64_t i = 0; i < n; i++) {
        y[i] = exp_f32(x[i] * a - max);
        lane[i % LANES] += (double)y[i];
    }
    const float inv = (float)(1.0 / tree_f64(lane));
    for (int64_t i = 0; i < n; i++) y[i] = y[i] * inv;
}

rex_lse rex_ref_lse_tile(const float *x, float a, int64_t n) {
    const double max = (double)row_max(x, a, n);
    const double base = max == (double)-INFINITY ? 0.0 : max; /* all words impossible: sum 0 */
    double sum[LANES] = { 0.0 };
    double xsum[LANES] = { 0.0 };
    for (int64_t i = 0; i < n; i++) {
        const double d = (double)(x[i] * a) - base;
        const double e = exp_f64(d);
        sum[i % LANES] += e;
        /* words of probability zero (-INFINITY) add nothing: 0 * -inf would be NaN */
        xsum[i % LANES] = fma(e, d > EXPD_LOW ? d : 0.0, xsum[i % LANES]);
    }
    return (rex_lse){ max, tree_f64(sum), tree_f64(xsum) };
}

rex_lse rex_ref_lse(const float *x, float a, int64_t n) {
    rex_lse all = { (double)-INFINITY, 0.0, 0.0 };
    for (int64_t i = 0; i < n; i += REX_VOCAB_TILE) {
        const int64_t m = n - i < REX_VOCAB_TILE ? n - i : REX_VOCAB_TILE;
        const rex_lse two[2] = { all, rex_ref_lse_tile(x + i, a, m) };
        all = i == 0 ? two[1] : rex_lse_join(two, 2);
    }
    return all;
}

int64_t rex_ref_argmax(const float *x, int64_t n) {
    int64_t best = -1;
    for (int64_t i = 0; i < n; i++)
        if (best < 0 ? x[i] == x[i] : x[i] > x[best]) best = i;
    return best;
}

/* ---- sums -------------------------------------------------------------------------------- */

double rex_ref_dot(const float *x, const float *y, int64_t n) {
    double lane[LANES] = { 0.0 };
    for (int64_t i = 0; i < n; i++)
        lane[i % LANES] = fma((double)x[i], (double)y[i], lane[i % LANES]);
    return tree_f64(lane);
}

double rex_ref_dotd(const double *x, const double *y, int64_t n) {
    double lane[LANES] = { 0.0 };
    for (int64_t i = 0; i < n; i++) lane[i % LANES] = fma(x[i], y[i], lane[i % LANES]);
    return tree_f64(lane);
}

double rex_ref_sumsq(const float *x, int64_t n) {
    return rex_ref_dot(x, x, n);
}

void rex_ref_axpyd(double *y, double a, const double *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] = fma(a, x[i], y[i]);
}

void rex_ref_gemvd(double *y, const double *a, int64_t lda, int64_t m, int64_t n, const double *x) {
    for (int64_t i = 0; i < m; i++) y[i] = rex_ref_dotd(a + i * lda, x, n);
}

void rex_ref_gerd(double *a, int64_t lda, int64_t m, int64_t n, const double *x, const double *y) {
    for (int64_t i = 0; i < m; i++) rex_ref_axpyd(a + i * lda, x[i], y, n);
}

#define X(ret, op, args) .op = rex_ref_##op,
const rex_kern rex_kern_ref = { .name = "ref", .bf16_note = "emulated", REX_KERN_OPS(X) };
#undef X
