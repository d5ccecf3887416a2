/* SPDX-License-Identifier: MIT
 *
 * bench_kern: what each operation takes, against the ceilings of the same minute.
 *
 *     bench_kern [threads] [rounds] [products|rows]
 *
 * All candidates are run once in every round, each between a loop of pure FMA and a loop that reads
 * memory, so that a change of clock or a busy neighbour hits all alike; a line gives the median of
 * the rounds and the spread (10th to 90th percentile) of the share of that round's ceiling: FMA
 * peak for products of 16 rows and more, read speed below. Rivals (built in where their headers
 * are): OpenBLAS sgemm, and the oneDNN matmul primitive with weights packed in the format it asks
 * for.
 */
#include "../src/kernels/kern.h"
#include "ceiling.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if __has_include(<cblas.h>) && defined(REX_BENCH_BLAS)
#include <cblas.h>
void openblas_set_num_threads(int n);
#define HAVE_BLAS 1
#endif
#if __has_include(<dnnl.h>) && defined(REX_BENCH_DNNL)
#include <dnnl.h>
void omp_set_num_threads(int n);
#define HAVE_DNNL (DNNL_VERSION_MAJOR == 2)
#endif

#define MAX_ROUNDS 64
#define MAX_LINES 512
#define READ_BYTES ((size_t)256 << 20)

static rex_kern kern;
static rex_pool *pool;
static int threads = 1;
static char *scratch;
static float *big; /* READ_BYTES of it: the memory-read loop, and operands of row operations */
static double peak_now, read_now;

static void *need(size_t bytes) {
    void *p = rex_mem_take(bytes, 1, NULL);
    if (p == NULL) exit(1);
    return p;
}

/* ---- ceilings ---------------------------------------------------------------------------- */

static double peak_gflops(void) { return ceiling_flops(pool, CEILING_SHORT) / 1e9; }

static double read_gbs(void) { return ceiling_read(pool, big, READ_BYTES) / 1e9; }

/* ---- lines ------------------------------------------------------------------------------- */

typedef struct {
    char name[96];
    double flops, bytes; /* of one call */
    double ns[MAX_ROUNDS], share[MAX_ROUNDS];
    int n;
} line;

static line lines[MAX_LINES];
static int n_lines, at_line;

typedef void (*work_fn)(void *ud);

static void measure(const char *name, double flops, double bytes, work_fn fn, void *ud) {
    if (at_line == MAX_LINES) exit(1);
    line *l = &lines[at_line++];
    if (at_line > n_lines) n_lines = at_line;
    snprintf(l->name, sizeof l->name, "%s", name);
    l->flops = flops;
    l->bytes = bytes;
    double best = 1e30;
    fn(ud); /* warm */
    peak_now = peak_gflops();
    const double begin = ceiling_now();
    for (int r = 0; r < 2 || (r < 50 && ceiling_now() - begin < 0.02); r++) {
        const double t = ceiling_now();
        fn(ud);
        const double s = ceiling_now() - t;
        if (s < best) best = s;
    }
    peak_now = (peak_now + peak_gflops()) / 2.0;
    const double floor_s = flops / peak_now / 1e9 > bytes / read_now / 1e9 ? flops / peak_now / 1e9
                                                                           : bytes / read_now / 1e9;
    l->ns[l->n] = best * 1e9;
    l->share[l->n++] = floor_s / best * 100.0;
}

static int up(const void *a, const void *b) {
    const double x = *(const double *)a;
    const double y = *(const double *)b;
    return (x > y) - (x < y);
}

static void report(void) {
    printf("%-46s %12s %9s %8s  %s\n", "operation", "ns", "GFLOP/s", "GB/s",
           "% of floor (10th..90th)");
    for (int i = 0; i < n_lines; i++) {
        line *l = &lines[i];
        qsort(l->ns, (size_t)l->n, sizeof l->ns[0], up);
        qsort(l->share, (size_t)l->n, sizeof l->share[0], up);
        const double ns = l->ns[l->n / 2];
        printf("%-46s %12.0f %9.1f %8.1f  %5.1f (%.1f..%.1f)\n", l->name, ns, l->flops / ns,
               l->bytes / ns, l->share[l->n / 2], l->share[l->n / 10], l->share[l->n * 9 / 10]);
    }
}

/* ---- products ---------------------------------------------------------------------------- */

static const struct {
    const char *what;
    int64_t n, k;
} shapes[] = {
    { "135M o", 576, 576 },      { "135M up", 1536, 576 },     { "135M down", 576, 1536 },
    { "135M head", 49152, 576 }, { "0.5B up", 4864, 896 },     { "0.5B down", 896, 4864 },
};
#define N_SHAPES (sizeof shapes / sizeof shapes[0])
static const int64_t row_counts[] = { 1, 4, 64, 512 };
#define N_ROWS (sizeof row_counts / sizeof row_counts[0])

typedef struct {
    rex_gemm j;
    const float *w; /* row-major, for the rivals */
#if defined(HAVE_DNNL)
    dnnl_primitive_t prim;
    dnnl_exec_arg_t args[3];
#endif
} product;

static product products[N_SHAPES][N_ROWS][4];

static void run_ours(void *ud) {
    const product *p = ud;
    rex_gemm_run(&kern, pool, &p->j, 1, scratch, REX_GEMM_SCRATCH);
}

#if defined(HAVE_BLAS)
static void run_blas(void *ud) {
    const product *p = ud;
    const rex_gemm *j = &p->j;
    openblas_set_num_threads(threads);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)j->m, (int)j->n, (int)j->k, 1.0f,
                j->x, (int)j->k, p->w, (int)j->k, 0.0f, j->y, (int)j->n);
}
#endif

#if defined(HAVE_DNNL)
static dnnl_engine_t engine;
static dnnl_stream_t stream;

static void must(dnnl_status_t s) {
    if (s != dnnl_success) {
        fprintf(stderr, "bench_kern: onednn status %d\n", (int)s);
        exit(1);
    }
}

static void make_dnnl(product *p) {
    const rex_gemm *j = &p->j;
    const dnnl_dims_t xd = { j->m, j->k }, wd = { j->k, j->n }, yd = { j->m, j->n };
    dnnl_memory_desc_t xm, wm, wt, ym;
    must(dnnl_memory_desc_init_by_tag(&xm, 2, xd, dnnl_f32, dnnl_ab));
    must(dnnl_memory_desc_init_by_tag(&wm, 2, wd, dnnl_f32, dnnl_format_tag_any));
    must(dnnl_memory_desc_init_by_tag(&wt, 2, wd, dnnl_f32, dnnl_ba));
    must(dnnl_memory_desc_init_by_tag(&ym, 2, yd, dnnl_f32, dnnl_ab));
    dnnl_matmul_desc_t desc;
    dnnl_primitive_desc_t pd;
    must(dnnl_matmul_desc_init(&desc, &xm, &wm, NULL, &ym));
    must(dnnl_primitive_desc_create(&pd, &desc, NULL, engine, NULL));
    const dnnl_memory_desc_t *packed = dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0);
    dnnl_memory_t x, from, w, y;
    must(dnnl_memory_create(&x, &xm, engine, (void *)(uintptr_t)j->x));
    must(dnnl_memory_create(&from, &wt, engine, (void *)(uintptr_t)p->w));
    must(dnnl_memory_create(&w, packed, engine, DNNL_MEMORY_ALLOCATE));
    must(dnnl_memory_create(&y, &ym, engine, j->y));
    dnnl_primitive_desc_t rd;
    dnnl_primitive_t reorder;
    must(dnnl_reorder_primitive_desc_create(&rd, &wt, engine, packed, engine, NULL));
    must(dnnl_primitive_create(&reorder, rd));
    const dnnl_exec_arg_t ra[2] = { { DNNL_ARG_FROM, from }, { DNNL_ARG_TO, w } };
    must(dnnl_primitive_execute(reorder, stream, 2, ra));
    must(dnnl_stream_wait(stream));
    must(dnnl_primitive_create(&p->prim, pd));
    p->args[0] = (dnnl_exec_arg_t){ DNNL_ARG_SRC, x };
    p->args[1] = (dnnl_exec_arg_t){ DNNL_ARG_WEIGHTS, w };
    p->args[2] = (dnnl_exec_arg_t){ DNNL_ARG_DST, y };
}

static void run_dnnl(void *ud) {
    product *p = ud;
    omp_set_num_threads(threads);
    must(dnnl_primitive_execute(p->prim, stream, 3, p->args));
    must(dnnl_stream_wait(stream));
}
#endif

static const rex_store store_of[4] = { REX_K_F32, REX_K_BF16, REX_K_BF16, REX_K_Q8_0 };
static const char *const store_name[4] = { "f32", "bf16", "bf16 mode", "q8_0" };

static void make_products(void) {
#if defined(HAVE_DNNL)
    omp_set_num_threads(threads);
    must(dnnl_engine_create(&engine, dnnl_cpu, 0));
    must(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags));
#endif
    for (size_t s = 0; s < N_SHAPES; s++) {
        const int64_t n = shapes[s].n;
        const int64_t k = shapes[s].k;
        float *w = need((size_t)(n * k) * sizeof(float));
        for (int64_t i = 0; i < n * k; i++) w[i] = (float)(i * 7919 % 1009 - 504) * 1e-3f;
        void *panels[4];
        for (int t = 0; t < 4; t++) {
            const size_t bytes = rex_panel_bytes(store_of[t], k) * (size_t)rex_panel_count(n);
            panels[t] = t == 2 ? panels[1] : need(bytes);
            const rex_pack pk = { REX_K_F32, store_of[t], w, k, 1, false, n, k, panels[t] };
            if (t < 2) rex_pack_run(&kern, pool, &pk);
            if (t == 3) memset(panels[t], 0x11, bytes);
        }
        float *x = need((size_t)(512 * k) * sizeof(float));
        float *y = need((size_t)(512 * n) * sizeof(float));
        for (int64_t i = 0; i < 512 * k; i++) x[i] = (float)(i * 104729 % 997 - 498) * 1e-3f;
        for (size_t r = 0; r < N_ROWS; r++)
            for (int t = 0; t < 4; t++) {
                product *p = &products[s][r][t];
                p->w = w;
                p->j = (rex_gemm){.m = row_counts[r],
                                  .n = n,
                                  .k = k,
                                  .x = x,
                                  .x_row = k,
                                  .x_col = 1,
                                  .w = {store_of[t], n, k, 0, panels[t]},
                                  .y = y,
                                  .y_row = n,
                                  .y_panel = 32,
                                  .bf16 = t == 2};
#if defined(HAVE_DNNL)
                if (t == 0) make_dnnl(p);
#endif
            }
    }
}

static void round_products(void) {
    for (size_t s = 0; s < N_SHAPES; s++)
        for (size_t r = 0; r < (shapes[s].n > 10000 ? N_ROWS - 1 : N_ROWS); r++) {
            read_now = read_gbs();
            const double flops = 2.0 * (double)(row_counts[r] * shapes[s].n * shapes[s].k);
            char name[96];
            for (int t = 0; t < 4; t++) {
                product *p = &products[s][r][t];
                const double bytes = (double)rex_panel_bytes(store_of[t], p->j.k) *
                                     (double)rex_panel_count(p->j.n);
                snprintf(name, sizeof name, "gemm %s M=%lld %s", shapes[s].what,
                         (long long)row_counts[r], store_name[t]);
                measure(name, flops, bytes, run_ours, p);
            }
            product *p = &products[s][r][0];
            const double bytes = 4.0 * (double)(p->j.n * p->j.k);
            (void)p;
            (void)bytes;
#if defined(HAVE_BLAS)
            snprintf(name, sizeof name, "  OpenBLAS %s M=%lld f32", shapes[s].what,
                     (long long)row_counts[r]);
            measure(name, flops, bytes, run_blas, p);
#endif
#if defined(HAVE_DNNL)
            snprintf(name, sizeof name, "  oneDNN %s M=%lld f32 packed", shapes[s].what,
                     (long long)row_counts[r]);
            measure(name, flops, bytes, run_dnnl, p);
#endif
        }
}

/* ---- everything else: one thread, rows of a transformer ---------------------------------- */

#define ROWS 64
#define WIDE 1536
#define VOCAB 49152

static int32_t ids[ROWS];
static float cos_row[64], sin_row[64];
static rex_attn_row tokens[ROWS * 4];
static rex_kv_seg stretch, tail[ROWS];

/* Operands are carved from `big`: A, B, C, D rows x wide. */
#define A_ (big)
#define B_ (big + ROWS * VOCAB)
#define C_ (big + 2 * ROWS * VOCAB)
#define D_ (big + 3 * ROWS * VOCAB)

/* X(op, flops, bytes, call): floor by the FLOPs named, or by the bytes that must move. */
#define ELEMS ((double)(ROWS * WIDE))
#define ROW_OPS(X)                                                                                \
    X(embed, 0, 8 * ELEMS, kern.embed(A_, WIDE, B_, REX_K_F32, WIDE, ids, ROWS, 1.0f))            \
    X(embed_bwd, 0, 12 * ELEMS, kern.embed_bwd(A_, WIDE, B_, WIDE, ids, ROWS, 0, WIDE, 1.0f))     \
    X(rmsnorm, 0, 8 * ELEMS, kern.rmsnorm(A_, WIDE, B_, WIDE, C_, 0.0f, ROWS, WIDE, 1e-6, D_))    \
    X(rmsnorm_bwd, 0, 12 * ELEMS,                                                                 \
      kern.rmsnorm_bwd(A_, WIDE, B_, WIDE, C_, WIDE, D_, 0.0f, D_, ROWS, WIDE, false))            \
    X(rmsnorm_dw, 0, 8 * ELEMS, kern.rmsnorm_dw(D_, A_, WIDE, B_, WIDE, C_, ROWS, 0, WIDE))       \
    X(col_sum, 0, 4 * ELEMS, kern.col_sum(D_, A_, WIDE, ROWS, 0, WIDE))                           \
    X(rope, 0, 8 * ELEMS,                                                                         \
      kern.rope(A_, WIDE, ROWS, WIDE / 64, 64, 32, cos_row, sin_row, ids, false, 1.0f))           \
    X(gate, 0, 12 * ELEMS, kern.gate(A_, WIDE, B_, WIDE, C_, WIDE, ROWS, WIDE, REX_SILU))         \
    X(gate_bwd, 0, 20 * ELEMS,                                                                    \
      kern.gate_bwd(A_, WIDE, B_, WIDE, C_, WIDE, D_, WIDE, A_, WIDE, ROWS, WIDE, REX_SILU))      \
    X(add, 0, 12 * ELEMS, kern.add(A_, B_, C_, ROWS * WIDE))                                      \
    X(axpy, 0, 12 * ELEMS, kern.axpy(A_, 0.5f, B_, ROWS * WIDE))                                  \
    X(scale, 0, 8 * ELEMS, kern.scale(A_, 1.0f, ROWS * WIDE))                                     \
    X(round_bf16, 0, 8 * ELEMS, kern.round_bf16(A_, ROWS * WIDE))                                 \
    X(cast_to, 0, 6 * ELEMS, kern.cast_to(A_, REX_K_BF16, B_, ROWS * WIDE))                       \
    X(cast_from, 0, 6 * ELEMS, kern.cast_from(A_, B_, REX_K_BF16, ROWS * WIDE))                   \
    X(softmax, 0, 8.0 * VOCAB, kern.softmax(A_, B_, 1.0f, VOCAB))                                 \
    X(lse, 0, 4.0 * VOCAB, kern.lse(A_, 1.0f, VOCAB))                                             \
    X(lse_tile, 0, 4.0 * REX_VOCAB_TILE, kern.lse_tile(A_, 1.0f, REX_VOCAB_TILE))                 \
    X(xent_bwd, 0, 8.0 * VOCAB, kern.xent_bwd(D_, 0, VOCAB, 5, 9.0, 0.0, 1.0f, 0.0f))             \
    X(argmax, 0, 4.0 * VOCAB, kern.argmax(A_, VOCAB))                                             \
    X(dot, 0, 8 * ELEMS, kern.dot(A_, B_, ROWS * WIDE))                                           \
    X(sumsq, 0, 4 * ELEMS, kern.sumsq(A_, ROWS * WIDE))                                           \
    X(dotd, 0, 8 * ELEMS, kern.dotd((double *)(void *)A_, (double *)(void *)B_, ROWS * WIDE / 2)) \
    X(axpyd, 0, 12 * ELEMS,                                                                       \
      kern.axpyd((double *)(void *)A_, 0.5, (double *)(void *)B_, ROWS * WIDE / 2))               \
    X(gemvd, 0, 8 * ELEMS,                                                                        \
      kern.gemvd((double *)(void *)D_, (double *)(void *)A_, WIDE, ROWS, WIDE,                    \
                 (double *)(void *)B_))                                                           \
    X(gerd, 0, 16 * ELEMS,                                                                        \
      kern.gerd((double *)(void *)A_, WIDE, ROWS, WIDE, (double *)(void *)B_,                     \
                (double *)(void *)C_))                                                            \
    X(adamw, 0, 28 * ELEMS, kern.adamw(A_, B_, C_, D_, REX_K_F32, ROWS * WIDE, 0, &adam))         \
    X(pack, 0, 8 * ELEMS, kern.pack(&lay, 0, WIDE / 32))                                          \
    X(unpack, 0, 8 * ELEMS, kern.unpack(A_, REX_K_F32, ROWS, D_, WIDE, ROWS, 0, WIDE))            \
    X(kv_put, 0, 16.0 * ROWS * 192,                                                               \
      kern.kv_put(&stretch, REX_K_F32, 3, 64, 0, ROWS, A_, 192, B_, 192))                         \
    X(attn, 4.0 * ROWS * 9 * 64 * 192, 8.0 * 3 * 64 * (ROWS * 64 + 128),                          \
      for (int h = 0; h < 3; h++) kern.attn(&shared, h, 0, ROWS, scratch))                        \
    X(attn_bwd, 10.0 * 9 * 64 * 128 * 129 / 2, 0,                                                 \
      for (int h = 0; h < 3; h++) kern.attn_bwd(&back, h, scratch))

static rex_adamw adam = { 0.0f, 0.9f, 0.999f, 1e-8f, 0.0f, 0.1f, 0.1f, 1.0f, 1 };
static rex_pack lay;
static rex_attn shared; /* 64 samples after a prompt of 128 tokens, 64 of their own; heads 9:3 */
static rex_attn_grad back;

#define X(op, flops, bytes, ...)                                                                 \
    static void run_##op(void *ud) {                                                             \
        (void)ud;                                                                                \
        __VA_ARGS__;                                                                             \
    }
ROW_OPS(X)
#undef X

static void make_rows(void) {
    const int64_t head = 128 * 64;
    for (int i = 0; i < 64; i++) cos_row[i] = 1.0f;
    lay = (rex_pack){ REX_K_F32, REX_K_F32, B_, ROWS, 1, false, WIDE, ROWS, D_ };
    float *cache = need((size_t)(ROWS + 1) * 2 * 3 * 128 * 64 * sizeof(float));
    stretch = (rex_kv_seg){ cache, cache + 3 * head, head, head, 0, 128 };
    static rex_kv_seg list[ROWS][2];
    for (int i = 0; i < ROWS; i++) {
        const float *own = cache + (i + 1) * 6 * head;
        tail[i] = (rex_kv_seg){ own, own + 3 * head, head, head, 128, 64 };
        list[i][0] = stretch;
        list[i][1] = tail[i];
        tokens[i] = (rex_attn_row){ A_ + i * 576, D_ + i * 576, list[i], 2, 0, 192 };
    }
    shared = (rex_attn){ tokens, ROWS, 9, 3, 64, 0.125f, REX_K_F32 };
    back = (rex_attn_grad){ .T = 128, .H = 9, .KV = 3, .hd = 64, .scale = 0.125f, .q = A_, .k = B_,
                            .v = B_, .dout = C_, .q_row = 576, .k_row = 192, .v_row = 192,
                            .dout_row = 576, .dq = D_, .dk = D_ + 128 * 576, .dv = D_ + 128 * 768,
                            .dq_row = 576, .dk_row = 192, .dv_row = 192, .cache = REX_K_F32 };
}

static void round_rows(void) {
    read_now = read_gbs() / threads;
#define X(op, flops, bytes, ...) measure(#op, flops, bytes, run_##op, NULL);
    ROW_OPS(X)
#undef X
}

int main(int argc, char **argv) {
    threads = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 1;
    const int rounds = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 5;
    const char *only = argc > 3 ? argv[3] : "";
    rex_err e;
    if (threads < 1 || rounds < 1 || rounds > MAX_ROUNDS ||
        rex_kern_pick(NULL, &kern, &e) != REX_OK || rex_pool_open(threads, &pool, &e) != REX_OK) {
        fprintf(stderr, "bench_kern: threads, rounds (1..%d), products|rows\n", MAX_ROUNDS);
        return 2;
    }
    ceiling_open(kern.name, threads);
    const uint64_t fp = rex_fp_enter();
    scratch = need((size_t)threads * (REX_GEMM_SCRATCH > ((size_t)4 << 20) ? REX_GEMM_SCRATCH
                                                                             : (size_t)4 << 20));
    big = need(READ_BYTES);
    for (size_t i = 0; i < READ_BYTES / sizeof(float); i++)
        big[i] = (float)(i % 251) * 0.01f - 1.0f;
    if (strcmp(only, "rows") != 0) make_products();
    make_rows();
    double peaks[MAX_ROUNDS], reads[MAX_ROUNDS];
    for (int r = 0; r < rounds; r++) {
        at_line = 0;
        if (strcmp(only, "rows") != 0) round_products();
        peaks[r] = peak_gflops();
        reads[r] = read_gbs();
        if (strcmp(only, "products") != 0) round_rows();
    }
    rex_fp_leave(fp);
    qsort(peaks, (size_t)rounds, sizeof peaks[0], up);
    qsort(reads, (size_t)rounds, sizeof reads[0], up);
    printf(
        "table %s, %d thread(s), %d rounds; FMA peak %.1f GFLOP/s (%.1f..%.1f), read %.1f GB/s\n",
        kern.name, threads, rounds, peaks[rounds / 2], peaks[0], peaks[rounds - 1],
        reads[rounds / 2]);
    report();
    rex_pool_close(pool);
    return 0;
}
