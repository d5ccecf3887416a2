/* SPDX-License-Identifier: MIT
 *
 * kern.c: which tables this machine can run, the choice among them, inheritance from ref, sizes
 * that all tables share, and the splitting of work over a pool. Compiled for the baseline processor
 * and without link-time optimisation: what runs here must not need what it is asking for.
 *
 * Work is split by its shape alone. Because every output has one accumulator, no split can change a
 * bit; the cuts below only balance the cost of packing rows against idle workers.
 */
#include "kern_impl.h"

#include <stdlib.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#if defined(__x86_64__)
extern const rex_kern rex_kern_avx2;
extern const rex_kern rex_kern_avx512;
#elif defined(__aarch64__)
extern const rex_kern rex_kern_neon;
#endif

/* ---- what the machine has ---------------------------------------------------------------- */

#if defined(__x86_64__)
/* The parts of the register state that the operating system saves (XCR0). */
static uint64_t os_state(void) {
    uint32_t a, b, c, d;
    if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & 1u << 27) == 0) return 0;
    __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
    return (uint64_t)d << 32 | a;
}

static bool has_avx2(void) {
    uint32_t a, b, c, d;
    if ((os_state() & 6u) != 6u) return false;
    if (__get_cpuid(1, &a, &b, &c, &d) == 0) return false;
    if ((c & 1u << 12) == 0 || (c & 1u << 29) == 0) return false; /* fma, f16c */
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b & 1u << 5) != 0;
}

static bool has_avx512(void) {
    uint32_t a, b, c, d;
    const uint32_t need = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31; /* f, dq, bw, vl */
    if (!has_avx2() || (os_state() & 0xe6u) != 0xe6u) return false;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b & need) == need;
}
#endif

/* ---- the bf16 dot instruction -----------------------------------------------------------------
 */

#if defined(REX_HAVE_DOT)
#define DOT_CASES 64
#define DOT_K 31

static bool has_dot(void) {
    uint32_t a, b, c, d;
    return has_avx512() && __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a & 1u << 5) != 0;
}

/* Ordinary, huge, tiny, denormal, zero and infinite values by turns. */
static float dot_value(uint32_t *state) {
    static const float unit[8] = {1.0f,      1.0f,      0x1p100f, 0x1p-100f,
                                  0x1p-120f, 0x1p-135f, 0.0f,     1.0f};
    *state = *state * 1664525u + 1013904223u;
    const uint32_t r = *state >> 8;
    if (r % 1021 == 0) return INFINITY;
    return ((float)(r & 0xffffu) - 32768.0f) * 0x1p-15f * unit[r >> 16 & 7u];
}

/* Does the instruction return ref's bits on a few thousand chains? */
static bool dot_agrees(void) {
    uint32_t state = 1;
    for (int i = 0; i < DOT_CASES; i++) {
        float x[DOT_K];
        uint16_t w[(DOT_K + 1) * REX_PANEL];
        float got[REX_PANEL], want[REX_PANEL];
        uint32_t room[(DOT_K + 1) / 2 * 14];
        for (int k = 0; k < DOT_K; k++) x[k] = dot_value(&state);
        for (int k = 0; k < (DOT_K + 1) * REX_PANEL; k++)
            w[k] = k / (2 * REX_PANEL) * 2 + k % 2 < DOT_K ? bf16_near(dot_value(&state)) : 0;
        for (int n = 0; n < REX_PANEL; n++) got[n] = want[n] = dot_value(&state);
        rex_gemm j = { .m = 1, .n = REX_PANEL, .k = DOT_K, .x = x, .x_row = DOT_K, .x_col = 1,
                       .w = { REX_K_BF16, REX_PANEL, DOT_K, 0, w }, .y = got, .y_row = REX_PANEL,
                       .y_panel = REX_PANEL, .more = true, .bf16 = true };
        rex_bf16_gemm(&j, 0, 1, 0, 1, room);
        j.y = want;
        rex_ref_gemm(&j, 0, 1, 0, 1, NULL);
        for (int n = 0; n < REX_PANEL; n++)
            if (f32_bits(got[n]) != f32_bits(want[n]) && (got[n] == got[n] || want[n] == want[n]))
                return false;
    }
    return true;
}

/* Asked once; the answer is the same for every thread that races to write it. */
static bool use_dot(void) {
    static _Atomic int known; /* 1: yes, 2: no */
    if (known == 0) known = has_dot() && dot_agrees() ? 1 : 2;
    return known == 1;
}
#endif

static bool always(void) {
    return true;
}

/* In order of preference, ref last. */
static const struct {
    const rex_kern *table;
    bool (*can)(void);
} all[] = {
#if defined(__x86_64__)
    { &rex_kern_avx512, has_avx512 },
    { &rex_kern_avx2, has_avx2 },
#elif defined(__aarch64__)
    { &rex_kern_neon, always },
#endif
    { &rex_kern_ref, always },
};
#define N_ALL (sizeof all / sizeof all[0])

size_t rex_kern_list(const char **name, size_t room) {
    size_t n = 0;
    for (size_t i = 0; i < N_ALL; i++) {
        if (!all[i].can()) continue;
        if (n < room) name[n] = all[i].table->name;
        n++;
    }
    return n;
}

static rex_status no_table(const char *name, rex_err *e) {
    char text[128] = "";
    size_t at = 0;
    for (size_t i = 0; i < N_ALL; i++) {
        if (!all[i].can()) continue;
        const size_t n = strlen(all[i].table->name);
        if (at + n + 2 > sizeof text) break;
        if (at > 0) text[at++] = ' ';
        memcpy(text + at, all[i].table->name, n);
        at += n;
        text[at] = '\0';
    }
    return rex_fail(e, REX_EARG, -1, "kernel table \"%s\": this machine can run: %s", name, text);
}

rex_status rex_kern_pick(const char *name, rex_kern *out, rex_err *e) {
    if (name == NULL) name = getenv("REX_KERNEL");
    const bool best = name == NULL || name[0] == '\0';
    for (size_t i = 0; i < N_ALL; i++) {
        if (!all[i].can() || (!best && strcmp(all[i].table->name, name) != 0)) continue;
        *out = *all[i].table;
#define X(ret, op, args) if (out->op == NULL) out->op = rex_kern_ref.op;
        REX_KERN_OPS(X)
#undef X
#if defined(REX_HAVE_DOT)
        if (all[i].table == &rex_kern_avx512 && use_dot()) {
            out->gemm = rex_bf16_gemm;
            out->bf16_note = "instruction";
        }
#endif
        return REX_OK;
    }
    return no_table(name, e);
}

/* ---- sizes ------------------------------------------------------------------------------- */

size_t rex_store_row_bytes(rex_store t, int64_t n) {
    switch (t) {
    case REX_K_F32: return (size_t)n * 4;
    case REX_K_BF16:
    case REX_K_F16: return (size_t)n * 2;
    case REX_K_Q8_0: return (size_t)(n / 32) * 34;
    }
    return 0;
}

size_t rex_panel_bytes(rex_store t, int64_t k) {
    switch (t) {
    case REX_K_F32: return (size_t)k * REX_PANEL * 4;
    case REX_K_BF16: return (size_t)((k + 1) / 2) * REX_PANEL * 4;
    case REX_K_F16: return (size_t)k * REX_PANEL * 2;
    case REX_K_Q8_0: return (size_t)(k / 32) * (64 + 32 * REX_PANEL);
    }
    return 0;
}

/* Score rows of a block, its running outputs, and one block of keys or values widened. */
size_t rex_attn_scratch_for(int64_t H, int64_t KV, int64_t hd, int64_t max_hi) {
    const int64_t rows = attn_tokens(H / KV) * (H / KV);
    const size_t score = (size_t)(rows * attn_score_ld(max_hi)) * sizeof(float);
    const size_t out = (size_t)(rows * (hd + REX_PANEL)) * sizeof(float);
    const size_t wide = (size_t)(REX_PANEL * hd + ATTN_WIDE * REX_PANEL) * sizeof(float);
    return score + out + wide + (size_t)rows * 64 + 1024;
}

size_t rex_attn_scratch(const rex_attn *a) {
    int64_t hi = 0;
    for (int64_t r = 0; r < a->n_row; r++)
        if (a->row[r].hi > hi) hi = a->row[r].hi;
    return rex_attn_scratch_for(a->H, a->KV, a->hd, hi);
}

bool rex_panels_go_on(const rex_panels *a, const rex_panels *b) {
    const size_t bytes = a->ld > 0 ? (size_t)a->n * sizeof(float)
                                   : rex_panel_bytes(a->type, a->k) *
                                         (size_t)rex_panel_count(a->n);
    return a->n % REX_PANEL == 0 && a->type == b->type && a->k == b->k && a->ld == b->ld &&
           (const char *)a->data + bytes == b->data;
}

/* K and V of one head by rows and by panels, what K sums; a block of score rows and of score
 * gradients, also by columns; a block of queries and of output gradients. */
size_t rex_attn_grad_scratch(int64_t H, int64_t KV, int64_t hd, int64_t T) {
    const int64_t rows = attn_tokens(H / KV) * (H / KV);
    const int64_t whole = (T + REX_PANEL - 1) / REX_PANEL * REX_PANEL;
    const int64_t floats =
        5 * whole * hd + (4 * rows + 2 * LANES) * attn_score_ld(T) + 2 * rows * hd;
    return (size_t)floats * sizeof(float) + 1024;
}

/* ---- log-sum-exp ------------------------------------------------------------------------- */

static void lse_fold(rex_lse *a, const rex_lse *b) {
    const double max = b->max > a->max ? b->max : a->max;
    const double none = -(double)INFINITY;
    const double da = a->max == none ? 0.0 : a->max - max;
    const double db = b->max == none ? 0.0 : b->max - max;
    const double ea = a->max == none ? 0.0 : rex_exp(da);
    const double eb = b->max == none ? 0.0 : rex_exp(db);
    a->xsum = ea * (a->xsum + a->sum * da) + eb * (b->xsum + b->sum * db);
    a->sum = a->sum * ea + b->sum * eb;
    a->max = max;
}

rex_lse rex_lse_join(const rex_lse *tile, int64_t n) {
    rex_lse s = { -(double)INFINITY, 0.0, 0.0 };
    for (int64_t i = 0; i < n; i++) {
        if (i == 0)
            s = tile[0];
        else
            lse_fold(&s, &tile[i]);
    }
    return s;
}

/* ---- splitting --------------------------------------------------------------------------- */

/* Rows in a piece, at least and at most. */
#define M_STEP 126
#define M_MOST 504
/* Pieces per product and worker, at most: enough to even them out. Every piece packs its rows anew,
 * so a lone worker takes all panels at once. */
#define PIECES(workers) ((workers) > 1 ? 2 * (int64_t)(workers) : 1)
#define MOST_WORKERS 16 /* with more, pieces are not weighed against each other */
#define MOST_JOINED 8   /* more products are run as they come */

typedef struct {
    const rex_kern *k;
    const rex_gemm *job;
    size_t n_job;
    int64_t share;
    char *scratch;
    size_t per_worker;
    int workers;
} gemm_work;

typedef struct {
    int64_t m_len, p_len, m_parts, p_parts;
} gemm_cut;

/* Equal pieces of rows, as many for every worker; panels are cut in `share` where rows are not. */
static gemm_cut cut_gemm(const rex_gemm *j, int workers, int64_t share) {
    const int64_t pieces = PIECES(workers);
    const int64_t panels = rex_panel_count(j->n);
    gemm_cut c;
    int64_t parts = j->m / M_STEP;
    if (parts > pieces) parts = pieces;
    if (parts * M_MOST < j->m) parts = (j->m + M_MOST - 1) / M_MOST;
    if (parts > 1) parts = (parts + workers - 1) / workers * workers;
    if (parts < 1) parts = 1;
    c.m_len = (j->m + parts - 1) / parts;
    if (c.m_len < 1) c.m_len = 1;
    c.m_parts = (j->m + c.m_len - 1) / c.m_len;
    int64_t want = c.m_parts > 1 ? 1 : share;
    if (want > panels) want = panels;
    if (want < 1) want = 1;
    c.p_len = (panels + want - 1) / want;
    if (c.p_len < 1) c.p_len = 1;
    c.p_parts = (panels + c.p_len - 1) / c.p_len;
    return c;
}

/* When the last worker ends; packing the rows of a piece counts as one panel more. */
static double makespan(const rex_gemm *job, size_t n_job, int workers, int64_t share) {
    double at[MOST_WORKERS] = { 0.0 };
    double last = 0.0;
    for (size_t n = 0; n < n_job; n++) {
        const gemm_cut c = cut_gemm(&job[n], workers, share);
        const int64_t panels = rex_panel_count(job[n].n);
        for (int64_t i = 0; i < c.m_parts * c.p_parts; i++) {
            const int64_t p = i % c.p_parts * c.p_len;
            const int64_t len = panels - p < c.p_len ? panels - p : c.p_len;
            int w = 0;
            for (int k = 1; k < workers; k++)
                if (at[k] < at[w]) w = k;
            at[w] += (double)(len + 1) * (double)(job[n].k * c.m_len);
            if (at[w] > last) last = at[w];
        }
    }
    return last;
}

/* Into how many pieces panels are cut. Many even out what disturbs a worker; fewer are taken if
 * they promise five per cent. */
static int64_t best_share(const rex_gemm *job, size_t n_job, int workers) {
    int64_t best = PIECES(workers);
    if (workers <= 1 || workers > MOST_WORKERS) return best;
    double least = makespan(job, n_job, workers, best);
    for (int64_t share = best / 2; share > 0; share /= 2) {
        const double span = makespan(job, n_job, workers, share);
        if (span >= 0.95 * least) continue;
        least = span;
        best = share;
    }
    return best;
}

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static void gemm_piece(void *ud, size_t item, int worker) {
    const gemm_work *w = ud;
    int64_t i = (int64_t)item;
    for (size_t n = 0; n < w->n_job; n++) {
        const rex_gemm *j = &w->job[n];
        const gemm_cut c = cut_gemm(j, w->workers, w->share);
        const int64_t pieces = c.m_parts * c.p_parts;
        if (i >= pieces) {
            i -= pieces;
            continue;
        }
        const int64_t m = i / c.p_parts * c.m_len;
        const int64_t p = i % c.p_parts * c.p_len;
        w->k->gemm(j, m, least(m + c.m_len, j->m), p, least(p + c.p_len, rex_panel_count(j->n)),
                   w->scratch + (size_t)worker * w->per_worker);
        return;
    }
}

/* Does b continue a: the same rows by the panels behind a's, into the columns behind a's? Query,
 * key and value of a layer do, gate and up likewise, as the engine lays them. */
static bool goes_on(const rex_gemm *a, const rex_gemm *b) {
    return rex_panels_go_on(&a->w, &b->w) && a->m == b->m && a->x == b->x && a->x_row == b->x_row &&
           a->x_col == b->x_col && a->y_row == b->y_row && a->y_panel == b->y_panel &&
           a->y + a->n / REX_PANEL * a->y_panel == b->y &&
           (a->bias != NULL ? a->bias + a->n == b->bias : b->bias == NULL) &&
           (a->add != NULL ? a->add + a->n == b->add && a->add_row == b->add_row
                           : b->add == NULL) &&
           a->more == b->more && a->bf16 == b->bf16;
}

/* Products that are parts of one become one, so that rows are packed once. Returns their number. */
static size_t join_parts(const rex_gemm *job, size_t n_job, rex_gemm *out) {
    size_t n = 0;
    for (size_t i = 0; i < n_job; i++) {
        if (n > 0 && goes_on(&out[n - 1], &job[i])) {
            out[n - 1].n += job[i].n;
            out[n - 1].w.n += job[i].n;
        } else {
            out[n++] = job[i];
        }
    }
    return n;
}

void rex_gemm_run(const rex_kern *k, rex_pool *p, const rex_gemm *job, size_t n_job, void *scratch,
                  size_t per_worker) {
    const int workers = p != NULL ? rex_pool_size(p) : 1;
    rex_gemm joined[MOST_JOINED];
    if (n_job > 1 && n_job <= MOST_JOINED) {
        n_job = join_parts(job, n_job, joined);
        job = joined;
    }
    gemm_work w = { k, job, n_job, best_share(job, n_job, workers), scratch, per_worker, workers };
    rex_assert(per_worker >= REX_GEMM_SCRATCH);
    int64_t items = 0;
    for (size_t n = 0; n < n_job; n++) {
        const gemm_cut c = cut_gemm(&job[n], w.workers, w.share);
        items += c.m_parts * c.p_parts;
    }
    rex_pool_run(p, (size_t)items, gemm_piece, &w);
}

typedef struct {
    const rex_kern *k;
    const rex_attn *job;
    int64_t step;
    char *scratch;
    size_t per_worker;
} attn_work;

static void attn_piece(void *ud, size_t item, int worker) {
    const attn_work *w = ud;
    const int64_t h = (int64_t)item % w->job->KV;
    const int64_t r = (int64_t)item / w->job->KV * w->step;
    w->k->attn(w->job, h, r, least(r + w->step, w->job->n_row),
               w->scratch + (size_t)worker * w->per_worker);
}

void rex_attn_run(const rex_kern *k, rex_pool *p, const rex_attn *job, void *scratch,
                  size_t per_worker) {
    attn_work w = { k, job, attn_tokens(job->H / job->KV), scratch, per_worker };
    const int64_t blocks = (job->n_row + w.step - 1) / w.step;
    rex_pool_run(p, (size_t)(blocks * job->KV), attn_piece, &w);
}

typedef struct {
    const rex_kern *k;
    const rex_attn_grad *job;
    size_t n_job;
    char *scratch;
    size_t per_worker;
} grad_work;

static void grad_piece(void *ud, size_t item, int worker) {
    const grad_work *w = ud;
    int64_t i = (int64_t)item;
    size_t n = 0;
    while (i >= w->job[n].KV) i -= w->job[n++].KV;
    w->k->attn_bwd(&w->job[n], i, w->scratch + (size_t)worker * w->per_worker);
}

void rex_attn_grad_run(const rex_kern *k, rex_pool *p, const rex_attn_grad *job, size_t n_job,
                       void *scratch, size_t per_worker) {
    grad_work w = { k, job, n_job, scratch, per_worker };
    int64_t items = 0;
    for (size_t n = 0; n < n_job; n++) items += job[n].KV;
    rex_pool_run(p, (size_t)items, grad_piece, &w);
}

typedef struct {
    const rex_kern *k;
    const rex_pack *job;
} pack_work;

static void pack_piece(void *ud, size_t item, int worker) {
    const pack_work *w = ud;
    (void)worker;
    const int64_t p = (int64_t)item * 4;
    w->k->pack(w->job, p, least(p + 4, rex_panel_count(w->job->n)));
}

void rex_pack_run(const rex_kern *k, rex_pool *p, const rex_pack *job) {
    pack_work w = { k, job };
    rex_pool_run(p, (size_t)((rex_panel_count(job->n) + 3) / 4), pack_piece, &w);
}

#define CHUNK ((int64_t)1 << 16)

typedef struct {
    const rex_kern *k;
    const float *x;
    int64_t n;
    double *part;
} sum_work;

static void sum_piece(void *ud, size_t item, int worker) {
    const sum_work *w = ud;
    (void)worker;
    const int64_t i = (int64_t)item * CHUNK;
    w->part[item] = w->k->sumsq(w->x + i, least(CHUNK, w->n - i));
}

double rex_sumsq_run(const rex_kern *k, rex_pool *p, const float *x, int64_t n, double *part) {
    sum_work w = { k, x, n, part };
    const int64_t chunks = (n + CHUNK - 1) / CHUNK;
    rex_pool_run(p, (size_t)chunks, sum_piece, &w);
    double s = 0.0;
    for (int64_t i = 0; i < chunks; i++) s += part[i];
    return s;
}

typedef struct {
    const rex_kern *k;
    float *w;
    const float *g;
    char *m, *v;
    rex_store state;
    int64_t n;
    uint64_t index0;
    const rex_adamw *a;
} adamw_work;

static void adamw_piece(void *ud, size_t item, int worker) {
    const adamw_work *w = ud;
    (void)worker;
    const int64_t i = (int64_t)item * CHUNK;
    const size_t at = rex_store_row_bytes(w->state, i);
    w->k->adamw(w->w + i, w->g + i, w->m + at, w->v + at, w->state, least(CHUNK, w->n - i),
                w->index0 + (uint64_t)i, w->a);
}

void rex_adamw_run(const rex_kern *k, rex_pool *p, float *w, const float *g, void *m, void *v,
                   rex_store state, int64_t n, uint64_t index0, const rex_adamw *a) {
    adamw_work work = { k, w, g, m, v, state, n, index0, a };
    rex_pool_run(p, (size_t)((n + CHUNK - 1) / CHUNK), adamw_piece, &work);
}
