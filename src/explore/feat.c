/* SPDX-License-Identifier: MIT
 *
 * feat: the rows of one group, ready for use: where they lie, their mean, their norms, the ridge.
 * Rows are never copied: centring and scaling happen on the fly wherever a row is read, so that a
 * pool of 2 GB needs 2 GB. The mean is a compensated sum (Knuth's two-sum, element by element)
 * divided with its remainder, in blocks of fixed size combined in index order: rows that are equal
 * equal their mean exactly, and neither threads nor (but for the last bit) the order of rows
 * matter.
 */
#include "explore.h"

#include <math.h>

enum { SUM_BLOCK = 2048, NORM_BLOCK = 256 };

void rex_feat_z(const rex_feat *f, int64_t i, int64_t next, double *z) {
    f->op->widen(z, f->ld, f->row[i], f->type, f->dim, f->mean, next >= 0 ? f->row[next] : NULL);
}

void rex_feat_row(const rex_feat *f, int64_t i, double *out) {
    rex_feat_z(f, i, -1, out);
    if (f->inv)
        for (int64_t j = 0; j < f->dim; j++) out[j] *= f->inv[i];
}

/* ---- mean -------------------------------------------------------------------------------- */

typedef struct {
    const rex_feat *f;
    double *sum; /* (blocks, 2, ld): high and low parts */
} sum_job;

static void sum_block(void *ud, size_t item, int worker) {
    (void)worker;
    const sum_job *const j = ud;
    const rex_feat *const f = j->f;
    double *const hi = j->sum + (int64_t)item * 2 * f->ld;
    const int64_t first = (int64_t)item * SUM_BLOCK;
    const int64_t end = first + SUM_BLOCK < f->n ? first + SUM_BLOCK : f->n;
    for (int64_t i = first; i < end; i++)
        f->op->add(hi, hi + f->ld, f->row[i], f->type, f->dim, i + 2 < end ? f->row[i + 2] : NULL);
}

static rex_status find_mean(rex_arena *a, rex_feat *f, rex_pool *workers, rex_err *e) {
    const int64_t blocks = (f->n + SUM_BLOCK - 1) / SUM_BLOCK;
    f->mean = rex_arena_zero(a, (size_t)f->ld, sizeof(double), e);
    if (!f->mean) return REX_ENOMEM;
    const rex_mark start = rex_arena_mark(a);
    sum_job job = {f, rex_arena_zero(a, (size_t)(blocks * 2 * f->ld), sizeof(double), e)};
    if (!job.sum) return REX_ENOMEM;
    rex_pool_run(workers, (size_t)blocks, sum_block, &job);

    const double n = (double)f->n;
    for (int64_t j = 0; j < f->dim; j++) {
        double hi = 0.0, lo = 0.0;
        for (int64_t b = 0; b < blocks; b++) {
            const double x = job.sum[b * 2 * f->ld + j], s = hi + x, xx = s - hi;
            lo += ((hi - (s - xx)) + (x - xx)) + job.sum[(b * 2 + 1) * f->ld + j];
            hi = s;
        }
        const double m = (hi + lo) / n, rest = fma(-m, n, hi) + lo;
        f->mean[j] = m + rest / n;
    }
    rex_arena_back(a, start);
    return REX_OK;
}

/* ---- norms ------------------------------------------------------------------------------- */

typedef struct {
    rex_feat *f;
} norm_job;

static void norm_block(void *ud, size_t item, int worker) {
    (void)worker;
    rex_feat *const f = ((const norm_job *)ud)->f;
    const int64_t first = (int64_t)item * NORM_BLOCK;
    const int64_t end = first + NORM_BLOCK < f->n ? first + NORM_BLOCK : f->n;
    for (int64_t i = first; i < end; i++)
        f->norm2[i] = f->op->norm2(f->row[i], f->type, f->dim, f->mean,
                                   i + 2 < end ? f->row[i + 2] : NULL);
}

/* A centred row that is nothing but the rounding of the mean counts as zero; otherwise scaling to
 * unit norm would make noise as long as data. */
static void drop_noise(rex_feat *f) {
    double m2 = 0.0;
    for (int64_t j = 0; j < f->dim; j++) m2 += f->mean[j] * f->mean[j];
    for (int64_t i = 0; i < f->n; i++)
        if (f->norm2[i] <= REX_NOISE * m2) f->norm2[i] = 0.0;
}

/* Something overflowed or was not finite from the start: says where. */
static rex_status not_finite(const rex_feat_part *part, size_t n_part, rex_err *e) {
    for (size_t p = 0; p < n_part; p++)
        for (int64_t i = 0; i < part[p].n; i++) {
            const int64_t at = part[p].row ? part[p].row[i] : i;
            rex_matrix one = *part[p].m;
            one.p = (const char *)one.p + at * one.cols * rex_elem_bytes(one.type);
            one.rows = 1;
            int64_t row = 0, col = 0;
            if (rex_matrix_nonfinite(&one, 0, &row, &col))
                return rex_fail(e, REX_ENAN, at,
                                "features: row %lld, column %lld is not a finite number",
                                (long long)at, (long long)col);
        }
    return rex_fail(e, REX_ELIMIT, -1, "features: norms are beyond the range of a double");
}

static rex_status addresses(rex_arena *a, const rex_feat_part *part, size_t n_part, rex_feat *f,
                            rex_err *e) {
    f->row = rex_arena_take(a, (size_t)f->n, sizeof *f->row, e);
    if (!f->row) return REX_ENOMEM;
    int64_t at = 0;
    for (size_t p = 0; p < n_part; p++) {
        const rex_matrix *const m = part[p].m;
        const int64_t bytes = m->cols * rex_elem_bytes(m->type);
        if (m->type != f->type || m->cols != f->dim)
            return rex_fail(e, REX_EARG, -1,
                            "features: all rows of a group have one type and size");
        for (int64_t i = 0; i < part[p].n; i++) {
            const int64_t r = part[p].row ? part[p].row[i] : i;
            if (r < 0 || r >= m->rows)
                return rex_fail(e, REX_EARG, r, "features: row %lld of %lld", (long long)r,
                                (long long)m->rows);
            f->row[at++] = (const char *)m->p + r * bytes;
        }
    }
    return REX_OK;
}

rex_status rex_feat_open(rex_arena *a, const rex_feat_part *part, size_t n_part,
                         const rex_feat_opts *o, rex_pool *workers, rex_feat *out, rex_err *e) {
    rex_feat f = {.op = o->ops ? rex_row_ops_find(o->ops) : rex_row_ops_best()};
    rex_assert(f.op && n_part > 0);
    f.type = part[0].m->type;
    f.dim = part[0].m->cols;
    f.ld = REX_ROW_PAD(f.dim);
    for (size_t p = 0; p < n_part; p++) f.n += part[p].n;
    if (!(o->lambda > 0.0) || !(o->lambda <= 1e300))
        return rex_fail(e, REX_EARG, -1, "lambda must be greater than 0, not %g", o->lambda);
    if (f.n == 0) return rex_fail(e, REX_EARG, -1, "features: a group without rows");
    if (f.dim <= 0) return rex_fail(e, REX_EARG, -1, "features: rows without columns");
    REX_TRY(addresses(a, part, n_part, &f, e));
    f.norm2 = rex_arena_take(a, (size_t)f.n, sizeof(double), e);
    if (!f.norm2) return REX_ENOMEM;

    if (o->center) REX_TRY(find_mean(a, &f, workers, e));
    norm_job job = {&f};
    rex_pool_run(workers, (size_t)((f.n + NORM_BLOCK - 1) / NORM_BLOCK), norm_block, &job);
    double total = 0.0;
    for (int64_t i = 0; i < f.n; i++) total += f.norm2[i];
    if (!isfinite(total)) return not_finite(part, n_part, e);
    if (o->center) {
        drop_noise(&f);
        total = 0.0;
        for (int64_t i = 0; i < f.n; i++) total += f.norm2[i];
    }
    if (o->unit) {
        f.inv = rex_arena_take(a, (size_t)f.n, sizeof(double), e);
        if (!f.inv) return REX_ENOMEM;
        for (int64_t i = 0; i < f.n; i++)
            f.inv[i] = f.norm2[i] > 0.0 ? 1.0 / sqrt(f.norm2[i]) : 0.0;
    }
    /* All rows equal: nothing to be relative to, and nothing to tell apart either. */
    f.lambda = o->lambda_rel && total > 0.0 ? o->lambda * (total / (double)f.n) : o->lambda;
    *out = f;
    return REX_OK;
}
