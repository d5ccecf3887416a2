/* SPDX-License-Identifier: MIT
 *
 * test_train.c: gradients. The loss of every tiny golden model is computed a second time by plain
 * loops in double, straight from the file's tensors; its difference quotient in a random direction
 * must be what the slab of gradients says. Then the law: batches, threads and tables change
 * nothing.
 */
#include "rex_test.h"

#include "../src/rl/optim.h"

static const char *const ARCHS[] = {"llama", "llama3", "mistral", "qwen2",
                                    "qwen3", "phi3",   "gemma3"};
enum { DOCS = 3 };

static const char *model_path(const char *arch) {
    static char path[128];
    snprintf(path, sizeof path, "tests/golden/models/%s", arch);
    return path;
}

/* ---- the loss in double ------------------------------------------------------------------ */

typedef struct {
    const rex_shape *s;
    const rex_param *param;
    double **w; /* by parameter, row-major */
    size_t n;
} plain;

static const double *weight(const plain *p, rex_slot slot, int layer) {
    for (size_t i = 0; i < p->n; i++)
        if (p->param[i].slot == slot && p->param[i].layer == layer) return p->w[i];
    return NULL;
}

static void linear(double *y, const double *w, const double *bias, const double *x, int64_t n,
                   int64_t k) {
    for (int64_t i = 0; i < n; i++) {
        double s = bias ? bias[i] : 0.0;
        for (int64_t j = 0; j < k; j++) s += w[i * k + j] * x[j];
        y[i] = s;
    }
}

static void rms(const rex_shape *s, double *y, const double *x, const double *w, int64_t n) {
    double q = 0.0;
    for (int64_t i = 0; i < n; i++) q += x[i] * x[i];
    const double r = 1.0 / sqrt(q / (double)n + (double)s->eps);
    for (int64_t i = 0; i < n; i++) y[i] = x[i] * r * (w[i] + (s->norm_plus1 ? 1.0 : 0.0));
}

static void turn(const rex_shape *s, double *x, int64_t heads, int64_t pos, int local) {
    const rex_rope *const r = &s->rope[local];
    const int64_t half = s->rot / 2;
    for (int64_t h = 0; h < heads; h++)
        for (int64_t i = 0; i < half; i++) {
            const double f = r->factor ? (double)r->factor[i] : 1.0;
            const double a = (double)pos * pow(r->theta, -2.0 * (double)i / (double)s->rot) / f;
            double *const u = x + h * s->hd + i, *const v = u + half;
            const double c = cos(a) * r->scale, n = sin(a) * r->scale, u0 = *u, v0 = *v;
            *u = u0 * c - v0 * n;
            *v = v0 * c + u0 * n;
        }
}

static double activation(const rex_shape *s, double x) {
    if (s->act == REX_SILU) return x / (1.0 + exp(-x));
    return 0.5 * x * (1.0 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
}

/* q, k, v of one token into C numbers. */
static void plain_qkv(const plain *p, int l, const double *x, double *out, int64_t pos) {
    const rex_shape *const s = p->s;
    const int64_t A = (int64_t)s->H * s->hd, G = (int64_t)s->K * s->hd;
    if (s->fused_qkv) {
        linear(out, weight(p, REX_SLOT_QKV, l), NULL, x, A + 2 * G, s->D);
    } else {
        linear(out, weight(p, REX_SLOT_Q, l), weight(p, REX_SLOT_Q_B, l), x, A, s->D);
        linear(out + A, weight(p, REX_SLOT_K, l), weight(p, REX_SLOT_K_B, l), x, G, s->D);
        linear(out + A + G, weight(p, REX_SLOT_V, l), weight(p, REX_SLOT_V_B, l), x, G, s->D);
    }
    for (int64_t h = 0; s->qk_norm && h < s->H + s->K; h++)
        rms(s, out + h * s->hd, out + h * s->hd,
            weight(p, h < s->H ? REX_SLOT_Q_NORM : REX_SLOT_K_NORM, l), s->hd);
    turn(s, out, s->H + s->K, pos, s->local[l]);
}

static void plain_attention(const plain *p, int l, const double *qkv, double *out, int64_t t) {
    const rex_shape *const s = p->s;
    const int64_t A = (int64_t)s->H * s->hd, G = (int64_t)s->K * s->hd, C = A + 2 * G;
    const int64_t lo = s->local[l] && t + 1 > s->window ? t + 1 - s->window : 0;
    double score[256];
    for (int64_t h = 0; h < s->H; h++) {
        const int64_t kv = h / (s->H / s->K);
        double max = -INFINITY, sum = 0.0;
        for (int64_t j = lo; j <= t; j++) {
            score[j] = 0.0;
            for (int64_t d = 0; d < s->hd; d++)
                score[j] += qkv[t * C + h * s->hd + d] * qkv[j * C + A + kv * s->hd + d];
            score[j] *= (double)s->attn_scale;
            if (score[j] > max) max = score[j];
        }
        for (int64_t j = lo; j <= t; j++) sum += score[j] = exp(score[j] - max);
        for (int64_t d = 0; d < s->hd; d++) {
            double o = 0.0;
            for (int64_t j = lo; j <= t; j++)
                o += score[j] / sum * qkv[j * C + A + G + kv * s->hd + d];
            out[h * s->hd + d] = o;
        }
    }
}

static void plain_block(const plain *p, int l, double *x, int64_t T) {
    const rex_shape *const s = p->s;
    const int64_t D = s->D, F = s->F, A = (int64_t)s->H * s->hd, C = A + 2 * (int64_t)s->K * s->hd;
    double *const qkv = calloc((size_t)(T * C), sizeof *qkv);
    double *const tmp = calloc((size_t)(2 * D + A + 3 * F), sizeof *tmp);
    double *const xn = tmp, *const y = tmp + D, *const att = y + D, *const gu = att + A,
                  *const act = gu + 2 * F;
    for (int64_t t = 0; t < T; t++) {
        rms(s, xn, x + t * D, weight(p, REX_SLOT_IN_NORM, l), D);
        plain_qkv(p, l, xn, qkv + t * C, t);
    }
    for (int64_t t = 0; t < T; t++) {
        plain_attention(p, l, qkv, att, t);
        linear(y, weight(p, REX_SLOT_O, l), weight(p, REX_SLOT_O_B, l), att, D, A);
        if (s->sandwich) rms(s, y, y, weight(p, REX_SLOT_POST_ATTN_NORM, l), D);
        for (int64_t d = 0; d < D; d++) x[t * D + d] += y[d];
        rms(s, xn, x + t * D, weight(p, REX_SLOT_FFN_NORM, l), D);
        if (s->fused_up) {
            linear(gu, weight(p, REX_SLOT_GATE_UP, l), NULL, xn, 2 * F, D);
        } else {
            linear(gu, weight(p, REX_SLOT_GATE, l), weight(p, REX_SLOT_GATE_B, l), xn, F, D);
            linear(gu + F, weight(p, REX_SLOT_UP, l), weight(p, REX_SLOT_UP_B, l), xn, F, D);
        }
        for (int64_t i = 0; i < F; i++) act[i] = activation(s, gu[i]) * gu[F + i];
        linear(y, weight(p, REX_SLOT_DOWN, l), weight(p, REX_SLOT_DOWN_B, l), act, D, F);
        if (s->sandwich) rms(s, y, y, weight(p, REX_SLOT_POST_FFN_NORM, l), D);
        for (int64_t d = 0; d < D; d++) x[t * D + d] += y[d];
    }
    free(qkv);
    free(tmp);
}

/* Sum over targets of weight[t] * (-logp) + 0.1 * entropy. */
static double plain_loss(const plain *p, const int32_t *id, int64_t T) {
    const rex_shape *const s = p->s;
    const int64_t D = s->D, V = s->V;
    double *const x = calloc((size_t)(T * D), sizeof *x), *const z = calloc((size_t)V, sizeof *z);
    const double *const emb = weight(p, REX_SLOT_EMBED, -1);
    for (int64_t t = 0; t < T; t++)
        for (int64_t d = 0; d < D; d++) x[t * D + d] = emb[id[t] * D + d] * (double)s->embed_scale;
    for (int l = 0; l < s->L; l++) plain_block(p, l, x, T);
    double loss = 0.0;
    for (int64_t t = 0; t + 1 < T; t++) {
        rms(s, x + t * D, x + t * D, weight(p, REX_SLOT_NORM, -1), D);
        linear(z, s->tied ? emb : weight(p, REX_SLOT_HEAD, -1), NULL, x + t * D, V, D);
        double max = -INFINITY, sum = 0.0, h = 0.0;
        for (int64_t v = 0; v < V; v++) max = z[v] > max ? z[v] : max;
        for (int64_t v = 0; v < V; v++) sum += exp(z[v] - max);
        const double lse = max + log(sum);
        for (int64_t v = 0; v < V; v++) h -= exp(z[v] - lse) * (z[v] - lse);
        loss += (1.0 + 0.25 * (double)(t % 3)) * (lse - z[id[t + 1]]) + 0.1 * h;
    }
    free(x);
    free(z);
    return loss;
}

/* ---- the same by the engine -------------------------------------------------------------- */

typedef struct {
    const int32_t *step; /* position of each target within its document */
} loss_ud;

static void loss_fn(void *ud, int64_t i0, int64_t n, const double *logp, const double *ent,
                    float *dlogp, float *dent) {
    (void)logp;
    (void)ent;
    const loss_ud *const u = ud;
    for (int64_t i = 0; i < n; i++) {
        dlogp[i] = -(1.0f + 0.25f * (float)(u->step[i0 + i] % 3));
        dent[i] = 0.1f;
    }
}

typedef struct {
    rex_pool *pool;
    rex_model *m;
    rex_ctx *c;
    rex_grads *g;
    rex_back *b;
} rig;

typedef struct {
    int threads;
    const char *kernel;
    int rows, redo;
    bool bf16, init;
    int rank; /* of an adapter on every linear layer; 0: none */
} rig_opts;

static void rig_open(rig *r, const char *path, rig_opts o) {
    rex_err e = {0};
    rex_model_opts mo;
    rex_model_defaults(&mo);
    mo.train = true;
    mo.init = o.init;
    mo.lora_rank = o.rank;
    mo.lora_alpha = 1.5 * o.rank;
    mo.kernel = o.kernel;
    mo.compute = o.bf16 ? REX_COMPUTE_BF16 : REX_COMPUTE_F32;
    rex_ctx_opts co;
    rex_ctx_defaults(&co);
    co.rows = o.rows;
    co.seqs = 8;
    co.per_seq = o.rows < 64 ? 64 : o.rows;
    co.cache = o.rows + 8 * 64;
    co.logit_rows = 1;
    co.keep = true;
    co.redo = o.redo;
    r->pool = NULL;
    CHECK_STATUS(rex_pool_open(o.threads, &r->pool, &e), REX_OK);
    CHECK_STATUS(rex_model_open(path, &mo, r->pool, &r->m, &e), REX_OK);
    CHECK_STATUS(rex_ctx_open(r->m, r->pool, &co, &r->c, &e), REX_OK);
    CHECK_STATUS(rex_grads_open(r->m, NULL, &r->g, &e), REX_OK);
    CHECK_STATUS(rex_back_open(r->c, r->g, &r->b, &e), REX_OK);
    if (e.code != REX_OK) fprintf(stderr, "%s: %s\n", path, e.text);
}

static void rig_close(rig *r) {
    rex_back_close(r->b);
    rex_grads_close(r->g);
    rex_ctx_close(r->c);
    rex_model_close(r->m);
    rex_pool_close(r->pool);
}

typedef struct {
    int32_t id[DOCS][40];
    int T[DOCS];
} docs;

static docs make_docs(int64_t vocab) {
    docs d = { .T = {12, 5, 23} }; /* odd and even rows, odd and even targets */
    const rex_key key = rex_key_make(7);
    for (int k = 0; k < DOCS; k++)
        for (int t = 0; t < d.T[k]; t++)
            d.id[k][t] = (int32_t)rex_rand_below(key, REX_STREAM_TEST, (uint32_t)t, (uint32_t)k, 0,
                                                 (uint64_t)vocab);
    return d;
}

/* Adds the gradient of documents k0 .. k1-1, one batch. */
static void run_docs(rig *r, const docs *d, int k0, int k1) {
    rex_row row[128];
    int32_t idx[128], target[128], step[128], seq[DOCS];
    rex_err e = {0};
    int n = 0, n_target = 0;
    for (int k = k0; k < k1; k++) {
        seq[k] = rex_seq_open(r->c);
        for (int t = 0; t < d->T[k]; t++, n++) {
            row[n] = (rex_row){ seq[k], d->id[k][t] };
            if (t + 1 == d->T[k]) continue;
            idx[n_target] = n;
            step[n_target] = t;
            target[n_target++] = d->id[k][t + 1];
        }
    }
    loss_ud u = { step };
    CHECK_STATUS(rex_ctx_step(r->c, row, n, &e), REX_OK);
    CHECK_STATUS(rex_back_run(r->b, idx, target, n_target, loss_fn, &u, &e), REX_OK);
    for (int k = k0; k < k1; k++) rex_seq_close(r->c, seq[k]);
}

/* Element (row, col) of a parameter within its piece of the slab. */
static size_t place(const rig *r, size_t i, int64_t row, int64_t col) {
    const rex_param *const p = &r->g->param[i];
    if (rex_grads_weights(r->g, i) == p->vec) return (size_t)(row * p->cols + col);
    return (size_t)((row / REX_PANEL * p->cols + col) * REX_PANEL + row % REX_PANEL);
}

/* B begins at zero, where A has no gradient: here it is as after some training. */
static void fill_b(const rig *r) {
    const rex_key key = rex_key_make(5);
    for (size_t i = 0; i < r->g->n; i++) {
        const rex_param *const p = &r->g->param[i];
        for (int64_t a = 0; p->part == 2 && a < p->rows; a++)
            for (int64_t b = 0; b < p->cols; b++)
                rex_grads_weights(r->g, i)[place(r, i, a, b)] =
                    0.1f *
                    (float)rex_rand_normal(key, REX_STREAM_TEST, (uint32_t)b, (uint32_t)a, i);
    }
}

/* The weights at the point `side * eps` of the random direction, in double: what is trained moves
 * along, an adapter is added to its matrix. */
static const double EPS = 1e-5;

static double step_of(size_t i, int64_t a, int64_t b) {
    return rex_rand_normal(rex_key_make(11), REX_STREAM_TEST, (uint32_t)b, (uint32_t)a, i);
}

static void move_base(const rig *r, plain *p, const rex_st *st, double by) {
    for (size_t i = 0; i < p->n; i++) {
        const rex_param *const q = &p->param[i];
        const rex_tensor *const t = rex_st_find(st, q->name);
        if (!t) {
            rex_test_fail(__FILE__, __LINE__, "%s is not in the file", q->name);
            continue;
        }
        float *const f = calloc((size_t)q->cols, sizeof *f);
        free(p->w[i]);
        p->w[i] = calloc((size_t)(q->rows * q->cols), sizeof **p->w);
        for (int64_t a = 0; a < q->rows; a++) {
            rex_tensor_get_f32(t, a, 0, q->cols, f);
            for (int64_t b = 0; b < q->cols; b++)
                p->w[i][a * q->cols + b] =
                    (double)f[b] + (r->g->train[i] ? by * step_of(i, a, b) : 0.0);
        }
        free(f);
    }
}

static void add_adapter(const rig *r, plain *p, double scale, double by) {
    for (size_t i = p->n; i + 1 < r->g->n; i += 2) {
        const rex_param *const A = &r->g->param[i], *const B = A + 1;
        const float *const wa = rex_grads_weights(r->g, i), *const wb =
                                                                rex_grads_weights(r->g, i + 1);
        double *const w = (double *)(uintptr_t)weight(p, A->slot, A->layer);
        for (int64_t o = 0; o < B->rows; o++)
            for (int64_t k = 0; k < A->cols; k++)
                for (int64_t j = 0; j < A->rows; j++)
                    w[o * A->cols + k] +=
                        scale * ((double)wb[place(r, i + 1, o, j)] + by * step_of(i + 1, o, j)) *
                        ((double)wa[place(r, i, j, k)] + by * step_of(i, j, k));
    }
}

/* rank 0: all weights move; else the adapter's alone. */
static void check_direction(const char *arch, int rank, int redo) {
    rig r;
    rex_err e = {0};
    rig_open(&r, model_path(arch),
             (rig_opts){.threads = 2, .rows = 64, .rank = rank, .redo = redo});
    const docs d = make_docs(r.m->s.V);
    fill_b(&r);
    rex_grads_zero(r.g, r.pool);
    run_docs(&r, &d, 0, DOCS);
    rex_grads_finish(r.g, r.pool);
    plain p = { .s = &r.m->s, .param = r.g->param };
    while (p.n < r.g->n && r.g->param[p.n].part == 0) p.n++;
    CHECK_EQ(r.g->n > p.n, rank > 0);
    p.w = calloc(p.n, sizeof *p.w);
    rex_st *st = NULL;
    CHECK_STATUS(rex_st_open(model_path(arch), &st, &e), REX_OK);
    double analytic = 0.0, scale = 0.0, numeric = 0.0;
    for (size_t i = 0; i < r.g->n; i++) {
        const rex_param *const q = &r.g->param[i];
        CHECK_EQ(r.g->train[i], rank == 0 || q->part > 0);
        for (int64_t a = 0; r.g->train[i] && a < q->rows; a++)
            for (int64_t b = 0; b < q->cols; b++) {
                const double g = (double)r.g->grad[r.g->off[i] + place(&r, i, a, b)];
                analytic += g * step_of(i, a, b);
                scale += g * g;
            }
    }
    for (int side = -1; side <= 1; side += 2) {
        move_base(&r, &p, st, side * EPS);
        add_adapter(&r, &p, 1.5, side * EPS);
        for (int k = 0; k < DOCS; k++)
            numeric += (double)side * plain_loss(&p, d.id[k], d.T[k]) / (2.0 * EPS);
    }
    if (!(fabs(analytic - numeric) <= 1e-4 * sqrt(scale)) || !(scale > 0.0))
        rex_test_fail(__FILE__, __LINE__,
                      "%s, rank %d: gradient gives %.9g, differences %.9g (norm %.4g)", arch, rank,
                      analytic, numeric, sqrt(scale));
    for (size_t i = 0; i < p.n; i++) free(p.w[i]);
    free(p.w);
    rex_st_close(st);
    rig_close(&r);
}

START_TEST(t_backward_follows_differences) {
    for (size_t i = 0; i < sizeof ARCHS / sizeof *ARCHS; i++) check_direction(ARCHS[i], 0, 0);
} END_TEST

START_TEST(t_backward_of_adapters_follows_differences) {
    for (size_t i = 0; i < REX_TEST_FEW(sizeof ARCHS / sizeof *ARCHS); i++) {
        check_direction(ARCHS[i], 5, 0);
        check_direction(ARCHS[i], 1, 1); /* one layer is computed again */
        check_direction(ARCHS[i], 40, 0); /* more than the width, more than a panel */
    }
} END_TEST

static void same_gradients(const rig *a, const rig *b, const char *what) {
    for (size_t k = 0; k < a->g->n; k++)
        if (memcmp(a->g->grad + a->g->off[k], b->g->grad + b->g->off[k],
                   (a->g->off[k + 1] - a->g->off[k]) * sizeof(float)) != 0)
            rex_test_fail(__FILE__, __LINE__, "%s: the gradient of %s differs", what,
                          a->g->param[k].name);
}

static void check_batches(bool bf16, int rank) {
    const size_t n = sizeof ARCHS / sizeof *ARCHS;
    const size_t from = (size_t)(2 * bf16 + rank) % n; /* few of them: another one each time */
    for (size_t k = 0; k < REX_TEST_FEW(n); k++) {
        const size_t i = (from + k) % n;
        rig a, b;
        rig_open(&a, model_path(ARCHS[i]),
                 (rig_opts){.threads = 1, .kernel = "ref", .rows = 64, .bf16 = bf16, .rank = rank});
        rig_open(&b, model_path(ARCHS[i]),
                 (rig_opts){.threads = 3, .rows = 40, .redo = 1, .bf16 = bf16, .rank = rank});
        const docs d = make_docs(a.m->s.V);
        fill_b(&a);
        fill_b(&b);
        rex_grads_zero(a.g, a.pool);
        run_docs(&a, &d, 0, DOCS);
        rex_grads_finish(a.g, a.pool);
        rex_grads_zero(b.g, b.pool);
        for (int at = 0; at < DOCS; at++) run_docs(&b, &d, at, at + 1);
        rex_grads_finish(b.g, b.pool);
        same_gradients(&a, &b, ARCHS[i]);
        rig_close(&a);
        rig_close(&b);
    }
}

START_TEST(t_backward_batches_threads_tables_recomputation_do_not_matter) {
    check_batches(false, 0);
} END_TEST

/* bf16 compute keeps gate, up, queries, keys, values and attention in bf16: so they come back, in
 * every layer, and the gradient stays as near that of f32 compute as its own products let it. */
START_TEST(t_backward_bf16_keeps_half_and_stays_near_f32) {
    for (size_t i = 0; i < sizeof ARCHS / sizeof *ARCHS; i++) {
        rig a, b;
        rig_open(&a, model_path(ARCHS[i]), (rig_opts){.threads = 2, .rows = 64});
        rig_open(&b, model_path(ARCHS[i]), (rig_opts){.threads = 2, .rows = 64, .bf16 = true});
        const docs d = make_docs(a.m->s.V);
        rex_grads_zero(a.g, a.pool);
        run_docs(&a, &d, 0, DOCS);
        rex_grads_finish(a.g, a.pool);
        rex_grads_zero(b.g, b.pool);
        run_docs(&b, &d, 0, DOCS);
        rex_grads_finish(b.g, b.pool);
        double diff = 0.0, norm = 0.0;
        for (size_t k = 0; k < a.g->off[a.g->n]; k++) {
            const double x = (double)a.g->grad[k];
            diff += (x - (double)b.g->grad[k]) * (x - (double)b.g->grad[k]);
            norm += x * x;
        }
        CHECK(diff > 0.0);
        CHECK(diff < 0.05 * 0.05 * norm); /* 0.004 to 0.029; 0.028 with all kept in f32 */
        const rex_shape *const s = &b.m->s;
        const int64_t wide[] = {2 * s->F, (int64_t)s->H * s->hd,
                                (int64_t)(s->H + 2 * s->K) * s->hd};
        for (int l = s->L; l-- > 0;) {
            rex_ctx_redo(b.c, l);
            const float *const x[] = { b.c->act[l].gu, b.c->act[l].att, b.c->act[l].qkv };
            for (int p = 0; p < 3; p++)
                for (int64_t k = 0; k < wide[p] * b.c->n; k++) {
                    uint32_t bits;
                    memcpy(&bits, x[p] + k, sizeof bits);
                    if ((bits & 0xffff) != 0)
                        rex_test_fail(__FILE__, __LINE__, "%s, layer %d: %a is no bf16", ARCHS[i],
                                      l, (double)x[p][k]);
                }
        }
        rig_close(&a);
        rig_close(&b);
    }
} END_TEST

START_TEST(t_backward_bf16_pairs_begin_with_each_document) { check_batches(true, 0); } END_TEST

START_TEST(t_backward_of_adapters_batches_threads_tables_recomputation_do_not_matter) {
    check_batches(false, 6);
    check_batches(true, 6);
} END_TEST

/* A vocabulary so large that the loss takes its rows in tiles of an odd number: 279. */
START_TEST(t_backward_bf16_tiles_of_the_loss_end_no_pair) {
    static const char config[] =
        "{\"model_type\": \"llama\", \"hidden_size\": 16, \"num_hidden_layers\": 1,\n"
        "\"num_attention_heads\": 2, \"num_key_value_heads\": 1, \"intermediate_size\": 24,\n"
        "\"vocab_size\": 60001, \"rms_norm_eps\": 1e-5, \"max_position_embeddings\": 512,\n"
        "\"rope_theta\": 10000.0, \"hidden_act\": \"silu\", \"tie_word_embeddings\": false}";
    enum { LONG = 300, SHORT = 41, CUTS = 3 };
    static const int order[CUTS][3] = { {0, 1, 2}, {0, 1, 1}, {0, 0, 0} }; /* batch of document */
    static rex_row row[LONG + 2 * SHORT];
    static int32_t idx[LONG + 2 * SHORT], target[LONG + 2 * SHORT], step[LONG + 2 * SHORT];
    char path[512];
    snprintf(path, sizeof path, "%s", rex_test_file("config.json", config, sizeof config - 1));
    *strrchr(path, '/') = 0;
    const int len[3] = {SHORT, LONG, SHORT};
    rig r[CUTS];
    rex_err e = {0};
    for (int c = 0; c < CUTS; c++) {
        rig_open(&r[c], path, (rig_opts){.threads = 2, .rows = LONG + 2 * SHORT, .bf16 = true,
                                         .init = true});
        rex_grads_zero(r[c].g, r[c].pool);
        for (int batch = 0; batch < 3; batch++) {
            int n = 0;
            for (int k = 0; k < 3; k++) {
                if (order[c][k] != batch) continue;
                const int32_t seq = rex_seq_open(r[c].c);
                for (int t = 0; t < len[k]; t++, n++) {
                    row[n] = (rex_row){seq, (k * 977 + t * 131) % 60001};
                    idx[n] = n;
                    target[n] = (k * 31 + t * 7919) % 60001;
                    step[n] = t;
                }
            }
            loss_ud u = {step};
            if (n == 0) continue;
            CHECK_OK(rex_ctx_step(r[c].c, row, n, &e), e);
            CHECK_OK(rex_back_run(r[c].b, idx, target, n, loss_fn, &u, &e), e);
            for (int i = 0; i < n; i++)
                if (i == 0 || row[i].seq != row[i - 1].seq) rex_seq_close(r[c].c, row[i].seq);
        }
        rex_grads_finish(r[c].g, r[c].pool);
        if (c > 0) same_gradients(&r[0], &r[c], c == 1 ? "two batches" : "one batch");
    }
    for (int c = 0; c < CUTS; c++) rig_close(&r[c]);
} END_TEST

START_TEST(t_optim_schedule_and_patterns) {
    rex_optim_opts o;
    rex_optim_defaults(&o);
    o.lr = 2.0;
    o.warmup = 4;
    o.steps = 14;
    o.floor = 0.1;
    CHECK_CLOSE(rex_lr_at(&o, 0), 0.5, 1.0, 2);
    CHECK_CLOSE(rex_lr_at(&o, 3), 2.0, 1.0, 2);
    CHECK_CLOSE(rex_lr_at(&o, 9), 2.0, 1.0, 2);
    o.schedule = REX_LR_COSINE;
    CHECK_CLOSE(rex_lr_at(&o, 4), 2.0, 1.0, 2);
    CHECK_CLOSE(rex_lr_at(&o, 9), 2.0 * (0.1 + 0.9 * 0.5), 1.0, 4);
    CHECK_CLOSE(rex_lr_at(&o, 14), 0.2, 1.0, 4);
    CHECK_CLOSE(rex_lr_at(&o, 99), 0.2, 1.0, 4);
    o.schedule = REX_LR_LINEAR;
    CHECK_CLOSE(rex_lr_at(&o, 9), 2.0 * (0.1 + 0.9 * 0.5), 1.0, 4);
    CHECK(rex_name_matches("*norm*,lm_head.weight", "model.norm.weight"));
    CHECK(rex_name_matches("*norm*,lm_head.weight", "lm_head.weight"));
    CHECK(!rex_name_matches("*norm*,lm_head.weight", "lm_head.weight.x"));
    CHECK(!rex_name_matches(NULL, "x"));
    CHECK(rex_name_matches("a*b*c", "aXXbYbZc"));
    CHECK(!rex_name_matches("a*b*c", "aXXbYbZ"));
} END_TEST

/* Two updates of a model with made-up gradients. */
static void two_updates(rig *r, rex_optim_opts o) {
    rex_err e = {0};
    rex_optim *p = NULL;
    rig_open(r, model_path("llama"), (rig_opts){ .rows = 48, .threads = 2 });
    CHECK_STATUS(rex_optim_open(r->g, &o, &p, &e), REX_OK);
    for (int t = 0; p && t < 2; t++) {
        rex_grads_zero(r->g, r->pool);
        for (size_t i = 0; i < r->g->off[r->g->n]; i++)
            r->g->grad[i] = (float)((i * 7919 + (size_t)t) % 1009) * 1e-3f - 0.5f;
        CHECK_STATUS(rex_optim_step(p, r->pool, NULL, &e), REX_OK);
    }
    rex_optim_close(p);
}

/* Whether parameter i of two models has the same bits. */
static bool same_weights(const rig *a, const rig *b, size_t i) {
    return memcmp(rex_grads_weights(a->g, i), rex_grads_weights(b->g, i),
                  rex_grads_size(a->g, i) * sizeof(float)) == 0;
}

START_TEST(t_optim_factors_by_name) {
    rex_optim_opts o;
    rex_optim_defaults(&o);
    o.decay = 0.1;
    rig start, full, half, some, without;
    rig_open(&start, model_path("llama"), (rig_opts){ .rows = 48, .threads = 1 });
    two_updates(&full, o);
    o.lr *= 2.0;
    o.lr_for = "*=0.5"; /* a power of two: the very same rate */
    two_updates(&half, o);
    o.lr /= 2.0;
    o.lr_for = "*=3,*=1,*q_proj*=0"; /* the last one counts */
    o.decay_for = "*norm*=0,*up_proj*=0.5";
    two_updates(&some, o);
    o.lr_for = NULL;
    o.decay_for = NULL;
    o.no_decay = "*norm*";
    two_updates(&without, o);
    size_t still = 0, halved = 0;
    for (size_t i = 0; i < full.g->n; i++) {
        const char *const name = full.g->param[i].name;
        CHECK(same_weights(&full, &half, i));
        CHECK(!same_weights(&start, &full, i));
        const bool q = strstr(name, "q_proj") != NULL, up = strstr(name, "up_proj") != NULL;
        still += q;
        halved += up;
        if (q) CHECK(same_weights(&start, &some, i));
        else CHECK(same_weights(&without, &some, i) == !up);
    }
    CHECK(still > 0 && halved > 0);
    static const char *const bad[][2] = {
        {"*=1,*quaxle*=2", "like \"*quaxle*\""}, {"*norm*", "not \"*norm*\""},
        {"=2", "not \"=2\""},          {"*=-1", "not \"*=-1\""},
        {"*=nan", "not \"*=nan\""},    {"*=", "not \"*=\""},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        rex_err e = {0};
        rex_optim *p = NULL;
        o.lr_for = bad[i][0];
        CHECK_STATUS(rex_optim_open(start.g, &o, &p, &e), REX_EARG);
        CHECK(strncmp(e.text, "lr_for", 6) == 0 && strstr(e.text, bad[i][1]));
    }
    rig *const all[] = { &start, &full, &half, &some, &without };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) rig_close(all[i]);
} END_TEST

REX_TEST_MAIN("train", t_backward_follows_differences,
              t_backward_of_adapters_follows_differences,
              t_backward_of_adapters_batches_threads_tables_recomputation_do_not_matter,
              t_backward_batches_threads_tables_recomputation_do_not_matter,
              t_backward_bf16_keeps_half_and_stays_near_f32,
              t_backward_bf16_pairs_begin_with_each_document,
              t_backward_bf16_tiles_of_the_loss_end_no_pair,
              t_optim_schedule_and_patterns, t_optim_factors_by_name)
