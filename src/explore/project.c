/* SPDX-License-Identifier: MIT
 *
 * project: random projection of rows to fewer dimensions, and what a matrix of rows is made of.
 * The sparse matrix has density 1/sqrt(D) and entries +-v, v = D^(1/4)/sqrt(d) (Li, Hastie, Church
 * 2006, as in scikit-learn's SparseRandomProjection). Entry (a, b) is fixed by the draw
 * (seed; b/4, PROJECT, a) and its word b%4, so the matrix does not depend on who asks for it or how
 * much of it. Applied with lanes over rows: 32 rows are turned on their side, and an output is a
 * sum of some sixty of their columns, one vector addition each. Sums run in f32 in the order of the
 * list, so a row's result does not depend on its neighbours.
 */
#include "explore.h"

#include <math.h>
#include <string.h>

struct rex_project {
    rex_project_kind kind;
    uint64_t seed, digest;
    int64_t in, out;
    const rex_row_ops *op;
    uint32_t *col;  /* sparse: columns, the positive ones of each output first */
    int64_t *start; /* sparse: 2 out + 1 bounds in col */
    float scale;
    double *w;      /* gauss: (out, ld) */
};

/* ---- element types ----------------------------------------------------------------------- */

rex_elem rex_elem_find(const char *name) {
    static const char *const names[] = {"F32", "F64", "F16", "BF16"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0) return (rex_elem)i;
    return REX_ELEM_COUNT;
}

bool rex_matrix_nonfinite(const rex_matrix *m, int64_t first_row, int64_t *row, int64_t *col) {
    const rex_row_ops *const op = rex_row_ops_best();
    const int64_t size = rex_elem_bytes(m->type);
    for (int64_t r = first_row; r < m->rows; r++) {
        const char *const x = (const char *)m->p + r * m->cols * size;
        /* the sum of squares of a finite row can only fail to be finite for huge f64 */
        if (isfinite(op->norm2(x, m->type, m->cols, NULL, NULL))) continue;
        for (int64_t c = 0; c < m->cols; c++) {
            double v[REX_ROW_LANES];
            op->widen(v, REX_ROW_LANES, x + c * size, m->type, 1, NULL, NULL);
            if (isfinite(v[0])) continue;
            *row = r;
            *col = c;
            return true;
        }
    }
    return false;
}

/* ---- the matrix -------------------------------------------------------------------------- */

/* +1, -1 or 0 for four columns of an output. The thresholds are density/2 in units of 2^-32. */
static void draw4(rex_key key, int64_t a, int64_t b4, uint64_t half, int sign[4]) {
    const rex_u32x4 r = rex_rand_u32x4(
        key, (rex_u32x4){{(uint32_t)b4, (uint32_t)REX_STREAM_PROJECT << 24, (uint32_t)a, 0}});
    for (int i = 0; i < 4; i++) sign[i] = r.v[i] < half ? 1 : r.v[i] < 2 * half ? -1 : 0;
}

static rex_status draw_sparse(rex_project *p, rex_err *e) {
    const rex_key key = rex_key_make(p->seed);
    const uint64_t half = (uint64_t)(0x1p32 / sqrt((double)p->in) / 2.0);
    rex_buf plus = {0}, minus = {0}, all = {0};
    rex_buf_init(&plus, 0);
    rex_buf_init(&minus, 0);
    rex_buf_init(&all, 0);
    p->start = rex_mem_take((size_t)(2 * p->out + 1), sizeof *p->start, e);
    rex_status st = p->start ? REX_OK : REX_ENOMEM;
    for (int64_t a = 0; a < p->out && st == REX_OK; a++) {
        rex_buf_reset(&plus);
        rex_buf_reset(&minus);
        for (int64_t b = 0; b < p->in; b += 4) {
            int sign[4];
            draw4(key, a, b / 4, half, sign);
            for (int i = 0; i < 4 && b + i < p->in; i++) {
                const uint32_t c = (uint32_t)(b + i);
                if (sign[i]) rex_buf_add(sign[i] > 0 ? &plus : &minus, &c, sizeof c);
            }
        }
        rex_buf_add(&all, plus.p, plus.n);
        p->start[2 * a + 1] = (int64_t)(all.n / sizeof(uint32_t));
        rex_buf_add(&all, minus.p, minus.n);
        p->start[2 * a + 2] = (int64_t)(all.n / sizeof(uint32_t));
        st = rex_buf_check(&plus, e);
        if (st == REX_OK) st = rex_buf_check(&minus, e);
        if (st == REX_OK) st = rex_buf_check(&all, e);
    }
    if (st == REX_OK) {
        p->col = rex_mem_take(all.n / sizeof(uint32_t) + 1, sizeof(uint32_t), e);
        if (!p->col) st = REX_ENOMEM;
    }
    if (st == REX_OK && all.n > 0) memcpy(p->col, all.p, all.n);
    rex_buf_free(&plus);
    rex_buf_free(&minus);
    rex_buf_free(&all);
    p->scale = (float)(sqrt(sqrt((double)p->in)) / sqrt((double)p->out));
    return st;
}

static rex_status draw_gauss(rex_project *p, rex_err *e) {
    const rex_key key = rex_key_make(p->seed);
    const int64_t ld = REX_ROW_PAD(p->in);
    size_t bytes = 0;
    REX_TRY(rex_mul_size((size_t)p->out, (size_t)ld, &bytes, e));
    p->w = rex_mem_take(bytes, sizeof(double), e);
    if (!p->w) return REX_ENOMEM;
    const double sd = 1.0 / sqrt((double)p->out);
    for (int64_t a = 0; a < p->out; a++)
        for (int64_t b = 0; b < p->in; b++)
            p->w[a * ld + b] =
                sd * rex_rand_normal(key, REX_STREAM_PROJECT, (uint32_t)b, 1, (uint64_t)a);
    return REX_OK;
}

/* Of (kind, sizes, and every entry): columns of a sparse matrix, bits of a dense one. */
static uint64_t digest(const rex_project *p) {
    uint64_t h[5] = {(uint64_t)p->kind, (uint64_t)p->in, (uint64_t)p->out, 0, 0};
    if (p->kind == REX_PROJECT_SPARSE) {
        h[3] = rex_hash64(p->col, (size_t)p->start[2 * p->out] * sizeof *p->col);
        h[4] = rex_hash64(p->start, (size_t)(2 * p->out + 1) * sizeof *p->start);
    } else {
        h[3] = rex_hash64(p->w, (size_t)(p->out * REX_ROW_PAD(p->in)) * sizeof *p->w);
    }
    return rex_hash64(h, sizeof h);
}

rex_status rex_project_open(rex_project_kind kind, uint64_t seed, int64_t dim_in, int64_t dim_out,
                            rex_project **out, rex_err *e) {
    if (dim_in <= 0 || dim_out <= 0 || dim_in > INT32_MAX || dim_out > INT32_MAX / 2)
        return rex_fail(e, REX_EARG, -1, "projection from %lld to %lld dimensions",
                        (long long)dim_in, (long long)dim_out);
    rex_project *const p = rex_mem_take(1, sizeof *p, e);
    if (!p) return REX_ENOMEM;
    p->kind = kind;
    p->seed = seed;
    p->in = dim_in;
    p->out = dim_out;
    p->op = rex_row_ops_best();
    const rex_status st = kind == REX_PROJECT_SPARSE ? draw_sparse(p, e) : draw_gauss(p, e);
    if (st != REX_OK) {
        rex_project_close(p);
        return st;
    }
    p->digest = digest(p);
    *out = p;
    return REX_OK;
}

uint64_t rex_project_digest(const rex_project *p) {
    return p->digest;
}

void rex_project_close(rex_project *p) {
    if (!p) return;
    rex_mem_free(p->col);
    rex_mem_free(p->start);
    rex_mem_free(p->w);
    rex_mem_free(p);
}

/* ---- applying it ------------------------------------------------------------------------- */

typedef struct {
    const rex_project *p;
    const rex_matrix *in;
    float *out;
    double *wide;  /* (workers, ld): one row */
    float *narrow; /* (workers, 32, in): rows that are not f32, or not aligned */
    float *turned; /* (workers, in, 32) */
    double *dots;  /* (workers, out) */
} apply_job;

/* Row r in f32: where it lies, or converted. */
static const float *as_f32(const apply_job *j, int64_t r, int worker, int slot) {
    const rex_project *const p = j->p;
    const char *const x =
        (const char *)j->in->p + r * p->in * rex_elem_bytes(j->in->type);
    if (j->in->type == REX_ELEM_F32 && (uintptr_t)x % sizeof(float) == 0) {
        const void *const at = x;
        return at;
    }
    double *const wide = j->wide + worker * REX_ROW_PAD(p->in);
    float *const to = j->narrow + ((int64_t)worker * REX_PROJECT_LANES + slot) * p->in;
    p->op->widen(wide, REX_ROW_PAD(p->in), x, j->in->type, p->in, NULL, NULL);
    for (int64_t b = 0; b < p->in; b++) to[b] = (float)wide[b];
    return to;
}

static void apply_sparse(void *ud, size_t item, int worker) {
    const apply_job *const j = ud;
    const rex_project *const p = j->p;
    float *const t = j->turned + (int64_t)worker * p->in * REX_PROJECT_LANES;
    const int64_t first = (int64_t)item * REX_PROJECT_LANES, left = j->in->rows - first;
    const float *row[REX_PROJECT_LANES];
    for (int r = 0; r < REX_PROJECT_LANES; r++)
        row[r] = r < left ? as_f32(j, first + r, worker, r) : NULL;
    p->op->turn(t, row, p->in);
    float *out = j->out + first * p->out, *spare = NULL;
    if (left < REX_PROJECT_LANES) { /* the last rows: the lanes behind them go nowhere */
        spare = (float *)(void *)(j->dots + (int64_t)worker * REX_PROJECT_LANES * p->out);
        out = spare;
    }
    for (int64_t a = 0; a < p->out; a++) {
        const int64_t *const s = p->start + 2 * a;
        p->op->gather(out + a, p->out, t, p->col + s[0], s[1] - s[0], p->col + s[1], s[2] - s[1],
                      p->scale);
    }
    if (spare)
        memcpy(j->out + first * p->out, spare, (size_t)(left * p->out) * sizeof(float));
}

static void apply_gauss(void *ud, size_t item, int worker) {
    const apply_job *const j = ud;
    const rex_project *const p = j->p;
    const int64_t ld = REX_ROW_PAD(p->in), first = (int64_t)item * REX_PROJECT_LANES;
    double *const wide = j->wide + worker * ld;
    double *const dots = j->dots + (int64_t)worker * REX_PROJECT_LANES * p->out;
    for (int64_t r = first; r < first + REX_PROJECT_LANES && r < j->in->rows; r++) {
        p->op->widen(wide, ld, (const char *)j->in->p + r * p->in * rex_elem_bytes(j->in->type),
                     j->in->type, p->in, NULL, NULL);
        p->op->dots(dots, p->out, wide, 1, p->w, p->out, ld);
        for (int64_t a = 0; a < p->out; a++) j->out[r * p->out + a] = (float)dots[a];
    }
}

rex_status rex_project_apply(const rex_project *p, const rex_matrix *in, rex_pool *workers,
                             float *out, rex_err *e) {
    if (in->cols != p->in)
        return rex_fail(e, REX_EARG, -1, "projection of %lld dimensions, rows have %lld",
                        (long long)p->in, (long long)in->cols);
    const size_t threads = workers ? (size_t)rex_pool_size(workers) : 1;
    const size_t lanes = REX_PROJECT_LANES, dim = (size_t)p->in;
    const bool sparse = p->kind == REX_PROJECT_SPARSE;
    apply_job j = {.p = p, .in = in, .out = out};
    j.wide = rex_mem_take(threads * (size_t)REX_ROW_PAD(p->in), sizeof(double), e);
    j.dots = j.wide ? rex_mem_take(threads * lanes * (size_t)p->out, sizeof(double), e) : NULL;
    j.narrow = j.dots && sparse ? rex_mem_take(threads * lanes * dim, sizeof(float), e) : NULL;
    j.turned = j.narrow ? rex_mem_take(threads * lanes * dim, sizeof(float), e) : NULL;
    const bool ready = sparse ? j.turned != NULL : j.dots != NULL;
    const size_t items = ((size_t)in->rows + lanes - 1) / lanes;
    if (ready) rex_pool_run(workers, items, sparse ? apply_sparse : apply_gauss, &j);
    rex_mem_free(j.wide);
    rex_mem_free(j.dots);
    rex_mem_free(j.narrow);
    rex_mem_free(j.turned);
    return ready ? REX_OK : REX_ENOMEM;
}
