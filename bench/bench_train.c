/* SPDX-License-Identifier: MIT
 *
 * bench_train.c: one optimiser step (forward, backward, AdamW) of the shapes that
 * bench/torch_train.py trains, in the same units. Around each timed step the peak of the same
 * threads is measured by a product that lives in the first-level cache, so a share of the floor is
 * a share of that minute.
 *
 *     bench_train SHAPE THREADS STEPS [bf16] [redo=N] [micro=N] [seqs=N]   one JSON line on stdout
 *
 * micro: sequences of one batch; STEPS 0: one step, for its peak memory.
 */
#include "../src/rl/optim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

typedef struct {
    const char *name;
    int layers, width, heads, kv, ffn, vocab, seqs, positions;
    bool tied;
} shape;

static const shape SHAPES[] = {
    {"135m", 30, 576, 9, 3, 1536, 49152, 16, 128, true},
    {"tiny", 6, 256, 8, 8, 768, 4096, 64, 128, true},
    {"countdown", 3, 96, 4, 4, 256, 21, 64, 37, false},
};

static void die(const rex_err *e) {
    fprintf(stderr, "bench_train: %s\n", e->text);
    exit(1);
}

/* ---- the floor --------------------------------------------------------------------------- */

enum { PEAK_M = 48, PEAK_K = 128, PEAK_ROUNDS = 2000 };

typedef struct {
    const rex_kern *k;
    float *x, *w, *y;
    char *scratch;
} peak_job;

static void peak_work(void *ud, size_t item, int worker) {
    (void)item;
    const peak_job *const p = ud;
    const rex_gemm j = {.m = PEAK_M,
                        .n = REX_PANEL,
                        .k = PEAK_K,
                        .x = p->x,
                        .x_row = PEAK_K,
                        .x_col = 1,
                        .w = {.type = REX_K_F32, .n = REX_PANEL, .k = PEAK_K, .data = p->w},
                        .y = p->y + (size_t)worker * PEAK_M * REX_PANEL,
                        .y_row = REX_PANEL,
                        .y_panel = REX_PANEL};
    for (int i = 0; i < PEAK_ROUNDS; i++)
        p->k->gemm(&j, 0, PEAK_M, 0, 1, p->scratch + (size_t)worker * REX_GEMM_SCRATCH);
}

static double peak_of(rex_pool *pool, peak_job *p) {
    const int n = rex_pool_size(pool);
    const double start = rex_clock();
    rex_pool_run(pool, (size_t)n, peak_work, p);
    return 2.0 * PEAK_ROUNDS * PEAK_M * REX_PANEL * PEAK_K * n / (rex_clock() - start);
}

static double flops_of(const shape *s) {
    const double hd = (double)s->width / s->heads, t = s->positions;
    const double layer = s->width * (s->heads + 2.0 * s->kv) * hd + (double)s->width * s->width +
                         3.0 * s->width * s->ffn;
    const double dense = s->layers * layer + (double)s->width * s->vocab;
    return 3 * s->seqs * t * (2 * dense + 2 * s->layers * s->heads * hd * (t + 1));
}

/* ---- the step ---------------------------------------------------------------------------- */

static void loss(void *ud, int64_t i0, int64_t n, const double *logp, const double *ent,
                 float *dlogp, float *dent) {
    (void)i0;
    (void)logp;
    (void)ent;
    (void)dent;
    const double *const denominator = ud;
    for (int64_t i = 0; i < n; i++) dlogp[i] = (float)(-1.0 / *denominator);
}

typedef struct {
    const shape *s;
    rex_pool *pool;
    rex_model *m;
    rex_ctx *c;
    rex_grads *g;
    rex_back *b;
    rex_optim *o;
    rex_row *row;
    int32_t *idx, *target;
    int micro;
    double forward, backward, adamw;
} rig;

static double step(rig *r) {
    rex_err e;
    const int T = r->s->positions, n = r->s->seqs;
    double denominator = (double)n * T, norm = 0.0;
    const double start = rex_clock();
    rex_grads_zero(r->g, r->pool);
    r->forward = r->backward = 0.0;
    for (int at = 0; at < n; at += r->micro) {
        const int docs = n - at < r->micro ? n - at : r->micro;
        const double t0 = rex_clock();
        for (int k = 0; k < docs; k++) {
            const int32_t seq = rex_seq_open(r->c);
            for (int t = 0; t < T; t++) {
                r->row[k * T + t].seq = seq;
                r->row[k * T + t].token = r->target[(at + k) * T + (t + T - 1) % T];
                r->idx[k * T + t] = k * T + t;
            }
        }
        if (rex_ctx_step(r->c, r->row, docs * T, &e) != REX_OK) die(&e);
        const double t1 = rex_clock();
        if (rex_back_run(r->b, r->idx, r->target + (size_t)at * (size_t)T, (int64_t)docs * T, loss,
                         &denominator, &e) != REX_OK)
            die(&e);
        for (int k = 0; k < docs; k++) rex_seq_close(r->c, r->row[k * T].seq);
        r->forward += t1 - t0;
        r->backward += rex_clock() - t1;
    }
    const double t2 = rex_clock();
    if (rex_optim_step(r->o, r->pool, &norm, &e) != REX_OK) die(&e);
    r->adamw = rex_clock() - t2;
    return rex_clock() - start;
}

static void make_config(const shape *s, const char *path) {
    FILE *const f = fopen(path, "w");
    if (!f) exit(1);
    fprintf(f,
            "{\"model_type\": \"llama\", \"hidden_size\": %d, \"num_hidden_layers\": %d,\n"
            "\"num_attention_heads\": %d, \"num_key_value_heads\": %d, \"intermediate_size\": %d,\n"
            "\"vocab_size\": %d, \"rms_norm_eps\": 1e-5, \"max_position_embeddings\": %d,\n"
            "\"rope_theta\": 10000.0, \"hidden_act\": \"silu\", \"tie_word_embeddings\": %s}\n",
            s->width, s->layers, s->heads, s->kv, s->ffn, s->vocab, s->positions,
            s->tied ? "true" : "false");
    fclose(f);
}

static void open_rig(rig *r, bool bf16, int redo, const char *dir) {
    rex_err e;
    const int T = r->s->positions;
    rex_model_opts mo;
    rex_model_defaults(&mo);
    mo.init = true;
    mo.compute = bf16 ? REX_COMPUTE_BF16 : REX_COMPUTE_F32;
    rex_ctx_opts co;
    rex_ctx_defaults(&co);
    co.rows = r->micro * T;
    co.seqs = r->micro;
    co.per_seq = T;
    co.cache = (int64_t)r->micro * ((T + 31) / 32 * 32);
    co.keep = true;
    co.redo = redo;
    rex_optim_opts oo;
    rex_optim_defaults(&oo);
    oo.lr = 1e-4;
    if (rex_model_open(dir, &mo, r->pool, &r->m, &e) != REX_OK) die(&e);
    if (rex_ctx_open(r->m, r->pool, &co, &r->c, &e) != REX_OK) die(&e);
    if (rex_grads_open(r->m, NULL, &r->g, &e) != REX_OK) die(&e);
    if (rex_back_open(r->c, r->g, &r->b, &e) != REX_OK) die(&e);
    if (rex_optim_open(r->g, &oo, &r->o, &e) != REX_OK) die(&e);
    const size_t n = (size_t)r->s->seqs * (size_t)T;
    r->row = rex_mem_take(n, sizeof *r->row, &e);
    r->idx = rex_mem_take(n, sizeof *r->idx, &e);
    r->target = rex_mem_take(n, sizeof *r->target, &e);
    if (!r->row || !r->idx || !r->target) die(&e);
    const rex_key key = rex_key_make(1);
    for (size_t i = 0; i < n; i++)
        r->target[i] =
            (int32_t)rex_rand_below(key, REX_STREAM_TEST, (uint32_t)i, 0, 0, (uint64_t)r->s->vocab);
}

static int by_size(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    enum { MOST = 64 };
    rig r = {.s = NULL};
    for (size_t i = 0; argc > 3 && i < sizeof SHAPES / sizeof *SHAPES; i++)
        if (strcmp(argv[1], SHAPES[i].name) == 0) r.s = &SHAPES[i];
    if (!r.s) return 2;
    const int threads = (int)strtol(argv[2], NULL, 10);
    int steps = (int)strtol(argv[3], NULL, 10), redo = 0;
    steps = steps < 0 ? 0 : steps > MOST ? MOST : steps;
    bool bf16 = false;
    shape own = *r.s;
    r.s = &own;
    for (int i = 4; i < argc; i++)
        if (strncmp(argv[i], "seqs=", 5) == 0) own.seqs = (int)strtol(argv[i] + 5, NULL, 10);
    r.micro = own.seqs;
    for (int i = 4; i < argc; i++) {
        if (strcmp(argv[i], "bf16") == 0) bf16 = true;
        if (strncmp(argv[i], "redo=", 5) == 0) redo = (int)strtol(argv[i] + 5, NULL, 10);
        if (strncmp(argv[i], "micro=", 6) == 0) r.micro = (int)strtol(argv[i] + 6, NULL, 10);
    }
    char dir[] = "/tmp/bench_train.XXXXXX", path[64];
    rex_err e;
    if (!mkdtemp(dir)) return 1;
    snprintf(path, sizeof path, "%s/config.json", dir);
    make_config(r.s, path);
    if (rex_pool_open(threads, &r.pool, &e) != REX_OK) die(&e);
    open_rig(&r, bf16, redo, dir);
    unlink(path);
    rmdir(dir);
    peak_job p = {&r.m->kern, rex_mem_take(PEAK_M * PEAK_K, 4, &e),
                  rex_mem_take(REX_PANEL * PEAK_K, 4, &e),
                  rex_mem_take((size_t)threads * PEAK_M * REX_PANEL, 4, &e),
                  rex_mem_take((size_t)threads, REX_GEMM_SCRATCH, &e)};
    if (!p.x || !p.w || !p.y || !p.scratch) die(&e);
    double took[MOST], share[MOST], peak = peak_of(r.pool, &p);
    took[0] = step(&r);
    share[0] = flops_of(r.s) / took[0] / peak;
    for (int i = 0; i < steps; i++) {
        const double before = peak_of(r.pool, &p);
        took[i] = step(&r);
        peak = (before + peak_of(r.pool, &p)) / 2;
        share[i] = flops_of(r.s) / took[i] / peak;
    }
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    if (steps == 0) steps = 1;
    qsort(took, (size_t)steps, sizeof *took, by_size);
    qsort(share, (size_t)steps, sizeof *share, by_size);
    const double tok = (double)r.s->seqs * r.s->positions;
    printf(
        "{\"ours\": \"repexp %s\", \"shape\": \"%s\", \"dtype\": \"%s\", \"threads\": %d, "
        "\"redo\": %d, "
        "\"seqs\": %d, \"micro\": %d, \"tok_s\": %.1f, \"tok_s_low\": %.1f, \"tok_s_high\": %.1f, "
        "\"floor_share\": %.4f, "
        "\"forward_s\": %.4f, \"backward_s\": %.4f, \"adamw_s\": %.4f, \"peak_gflops\": %.1f, "
        "\"peak_mib\": %ld}\n",
        r.m->kern.name, r.s->name, bf16 ? "bf16" : "f32", threads, redo, own.seqs, r.micro,
        tok / took[steps / 2], tok / took[steps - 1], tok / took[0], share[steps / 2], r.forward,
        r.backward, r.adamw, peak / 1e9, use.ru_maxrss / 1024);
    return 0;
}
