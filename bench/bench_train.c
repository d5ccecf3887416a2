/* SPDX-License-Identifier: MIT
 *
 * bench_train.c: optimiser steps (forward, backward, AdamW) of the shapes that
 * bench/torch_train.py trains. The floor of a step is its FLOPs over the FMA peak of the same
 * threads, measured right before and right after it, so a share of the floor is a share of that
 * minute. With one thread seconds are processor time, with more those of the wall.
 *
 *     bench_train SHAPE THREADS STEPS [bf16] [redo=N] [micro=N] [seqs=N] [serve]
 *
 * SHAPE 135m|tiny|countdown; redo: layers computed again; seqs: documents of a step; micro: of a
 * batch. One JSON line on stdout, of STEPS steps behind one that warms up; 0: that one itself, for
 * its memory. serve: steps on demand instead, a JSON line for each line read (bench/turns.py).
 */
#include "../src/rl/optim.h"
#include "ceiling.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { MOST = 64 };

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

/* Multiply-adds of a step twice: forward once, backward two times that, nothing computed again. */
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
    int micro, redo;
    bool bf16, serve;
    double forward, backward, adamw;
} rig;

static double step(rig *r) {
    rex_err e;
    const int T = r->s->positions, n = r->s->seqs;
    double denominator = (double)n * T, norm = 0.0;
    const double start = ceiling_now();
    rex_grads_zero(r->g, r->pool);
    r->forward = r->backward = 0.0;
    for (int at = 0; at < n; at += r->micro) {
        const int docs = n - at < r->micro ? n - at : r->micro;
        const double t0 = ceiling_now();
        for (int k = 0; k < docs; k++) {
            const int32_t seq = rex_seq_open(r->c);
            for (int t = 0; t < T; t++) {
                r->row[k * T + t].seq = seq;
                r->row[k * T + t].token = r->target[(at + k) * T + (t + T - 1) % T];
                r->idx[k * T + t] = k * T + t;
            }
        }
        if (rex_ctx_step(r->c, r->row, docs * T, &e) != REX_OK) die(&e);
        const double t1 = ceiling_now();
        if (rex_back_run(r->b, r->idx, r->target + (size_t)at * (size_t)T, (int64_t)docs * T, loss,
                         &denominator, &e) != REX_OK)
            die(&e);
        for (int k = 0; k < docs; k++) rex_seq_close(r->c, r->row[k * T].seq);
        r->forward += t1 - t0;
        r->backward += ceiling_now() - t1;
    }
    const double t2 = ceiling_now();
    if (rex_optim_step(r->o, r->pool, &norm, &e) != REX_OK) die(&e);
    r->adamw = ceiling_now() - t2;
    return ceiling_now() - start;
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

static void open_rig(rig *r, const char *dir) {
    rex_err e;
    const int T = r->s->positions;
    rex_model_opts mo;
    rex_model_defaults(&mo);
    mo.init = true;
    mo.compute = r->bf16 ? REX_COMPUTE_BF16 : REX_COMPUTE_F32;
    rex_ctx_opts co;
    rex_ctx_defaults(&co);
    co.rows = r->micro * T;
    co.seqs = r->micro;
    co.per_seq = T;
    co.cache = (int64_t)r->micro * ((T + 31) / 32 * 32);
    co.keep = true;
    co.redo = r->redo;
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

/* ---- report ------------------------------------------------------------------------------ */

static int by_size(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* One step between two measurements of the peak, whose mean is left in `peak`. */
static double timed_step(rig *r, double *peak) {
    const double before = ceiling_flops(r->pool, CEILING_LONG);
    const double took = step(r);
    *peak = (before + ceiling_flops(r->pool, CEILING_LONG)) / 2;
    return took;
}

static long peak_mib(void) {
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return use.ru_maxrss / 1024;
}

static void print_setting(const rig *r) {
    printf("{\"ours\": \"repexp %s\", \"shape\": \"%s\", \"dtype\": \"%s\", \"threads\": %d, "
           "\"redo\": %d, \"seqs\": %d, \"micro\": %d, ",
           r->m->kern.name, r->s->name, r->bf16 ? "bf16" : "f32", ceiling_threads, r->redo,
           r->s->seqs, r->micro);
}

static void report(rig *r, int steps) {
    double took[MOST], share[MOST], peak = 0.0;
    const double flops = flops_of(r->s), tok = (double)r->s->seqs * r->s->positions;
    took[0] = timed_step(r, &peak);
    share[0] = flops / took[0] / peak;
    for (int i = 0; i < steps; i++) {
        took[i] = timed_step(r, &peak);
        share[i] = flops / took[i] / peak;
    }
    if (steps == 0) steps = 1;
    qsort(took, (size_t)steps, sizeof *took, by_size);
    qsort(share, (size_t)steps, sizeof *share, by_size);
    print_setting(r);
    printf("\"tok_s\": %.1f, \"tok_s_low\": %.1f, \"tok_s_high\": %.1f, \"floor_share\": %.4f, "
           "\"forward_s\": %.4f, \"backward_s\": %.4f, \"adamw_s\": %.4f, "
           "\"peak_gflops\": %.1f, \"peak_mib\": %ld}\n",
           tok / took[steps / 2], tok / took[steps - 1], tok / took[0], share[steps / 2],
           r->forward, r->backward, r->adamw, peak / 1e9, peak_mib());
}

static void serve(rig *r) {
    char line[256];
    double peak = 0.0;
    while (fgets(line, sizeof line, stdin)) {
        const double took = timed_step(r, &peak);
        print_setting(r);
        printf("\"tokens\": %d, \"flops\": %.6g, \"seconds\": %.6f, \"peak_gflops\": %.2f, "
               "\"peak_mib\": %ld}\n",
               r->s->seqs * r->s->positions, flops_of(r->s), took, peak / 1e9, peak_mib());
        fflush(stdout);
    }
}

static int count_of(const char *arg, const char *name, int otherwise) {
    const size_t n = strlen(name);
    return strncmp(arg, name, n) == 0 ? (int)strtol(arg + n, NULL, 10) : otherwise;
}

static bool take_args(rig *r, shape *own, int argc, char **argv, int *threads, int *steps) {
    for (size_t i = 0; argc > 3 && i < sizeof SHAPES / sizeof *SHAPES; i++)
        if (strcmp(argv[1], SHAPES[i].name) == 0) *own = SHAPES[i];
    if (!own->name) return false;
    r->s = own;
    *threads = (int)strtol(argv[2], NULL, 10);
    *steps = (int)strtol(argv[3], NULL, 10);
    for (int i = 4; i < argc; i++) own->seqs = count_of(argv[i], "seqs=", own->seqs);
    r->micro = own->seqs;
    for (int i = 4; i < argc; i++) {
        if (strcmp(argv[i], "bf16") == 0) r->bf16 = true;
        if (strcmp(argv[i], "serve") == 0) r->serve = true;
        r->redo = count_of(argv[i], "redo=", r->redo);
        r->micro = count_of(argv[i], "micro=", r->micro);
    }
    return *threads > 0 && *steps >= 0 && *steps <= MOST && own->seqs > 0 && r->micro > 0;
}

int main(int argc, char **argv) {
    rig r = {.s = NULL};
    shape own = {.name = NULL};
    int threads = 0, steps = 0;
    if (!take_args(&r, &own, argc, argv, &threads, &steps)) {
        fprintf(stderr, "bench_train: SHAPE (135m, tiny, countdown), THREADS, STEPS (0..%d)\n",
                MOST);
        return 2;
    }
    char dir[] = "/tmp/bench_train.XXXXXX", path[64];
    rex_err e;
    if (!mkdtemp(dir)) return 1;
    snprintf(path, sizeof path, "%s/config.json", dir);
    make_config(r.s, path);
    if (rex_pool_open(threads, &r.pool, &e) != REX_OK) die(&e);
    open_rig(&r, dir);
    unlink(path);
    rmdir(dir);
    ceiling_open(r.m->kern.name, threads);
    if (r.serve) serve(&r);
    else report(&r, steps);
    return 0;
}
