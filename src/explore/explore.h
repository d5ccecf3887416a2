/* SPDX-License-Identifier: MIT
 *
 * explore: rows of numbers in, choices out. What the files of the room share; the public part
 * stands in repexp.h. The room never sees a model, a token or a file: rows come as matrices that
 * somebody else owns, and are read where they lie. Everything that decides is computed in double.
 */
#ifndef REX_EXPLORE_H
#define REX_EXPLORE_H

#include "../base/base.h"
#include "../kernels/row_ops.h"

/* Scores within this share of the largest (or this far from a largest logarithm) are tied. */
#define REX_TIE 1e-10
/* Squared lengths below this share (2^-48, squared) of the numbers they were made from are
 * rounding, not data, and count as 0. */
#define REX_NOISE 0x1p-96

/* ---- dense symmetric matrices (linalg.c) ------------------------------------------------- */

/* a (n, n) = L L', lower triangle in place; false if it is not positive definite. */
bool rex_chol(double *a, int64_t n);
/* x = L^-1 x; then x = L'^-1 x. */
void rex_chol_forward(const double *l, int64_t n, double *x);
void rex_chol_back(const double *l, int64_t n, double *x);
/* inv (n, n) = (L L')^-1, both triangles. */
void rex_chol_inverse(const double *l, int64_t n, double *inv);
/* The eigenvalues of the symmetric a (n, n), which is destroyed, into value (n), ascending; `work`
 * holds n numbers. Householder tridiagonalisation, then implicit QL. */
REX_MUST rex_status rex_eigenvalues(double *a, int64_t n, double *value, double *work, rex_err *e);

/* ---- the rows of one group, ready for use (feat.c) --------------------------------------- */

/* Row i is f = (x - mean) * inv with x as it lies in memory. Nothing is copied. */
typedef struct {
    const rex_row_ops *op;
    rex_elem type;
    int64_t n, dim, ld;
    const void **row; /* n addresses */
    double *mean;     /* (ld), or NULL */
    double *norm2;    /* n: |x - mean|^2, 0 where nothing but rounding is left */
    double *inv;      /* n: 1/|x - mean| or 0; NULL where rows are not scaled */
    double lambda;
} rex_feat;

typedef struct {
    bool center, unit, lambda_rel;
    double lambda;
    const char *ops; /* the table to use; NULL: the best */
} rex_feat_opts;

/* A part of a group: n rows of a matrix. */
typedef struct {
    const rex_matrix *m;
    const int64_t *row; /* NULL: 0 .. n-1 */
    int64_t n;
} rex_feat_part;

/* Two passes over the rows at most. The mean is summed with its rounding errors caught, in blocks
 * of fixed size, so that equal rows are exactly equal to their mean and threads change nothing.
 * Rows that are not finite are refused by row and column. */
REX_MUST rex_status rex_feat_open(rex_arena *a, const rex_feat_part *part, size_t n_part,
                                  const rex_feat_opts *o, rex_pool *workers, rex_feat *out,
                                  rex_err *e);
/* z (ld) = x - mean of row i; `next`: a row soon to be read, or -1. */
void rex_feat_z(const rex_feat *f, int64_t i, int64_t next, double *z);
/* f (ld): z scaled. */
void rex_feat_row(const rex_feat *f, int64_t i, double *out);
static inline double rex_feat_inv(const rex_feat *f, int64_t i) {
    return f->inv ? f->inv[i] : 1.0;
}
/* |f|^2, exactly 1 or 0 for scaled rows. */
static inline double rex_feat_norm2(const rex_feat *f, int64_t i) {
    return f->inv ? (f->inv[i] > 0.0 ? 1.0 : 0.0) : f->norm2[i];
}

/* ---- outcomes and their weight (outcome.c) ----------------------------------------------- */

typedef struct {
    int64_t n;
    const double *l;    /* n, or NULL */
    const int64_t *label; /* n, or NULL: each row its own */
    double *mass;       /* n: log mass of the row's outcome */
    int64_t *rep;       /* n: the representative of the row's outcome */
} rex_outcomes;

/* mass = log sum exp(sharpness l) over the rows of the outcome (log of their number without l or
 * where sharpness is 0); rep = the row with the largest l, ties to the lowest index. */
REX_MUST rex_status rex_outcomes_open(rex_arena *a, int64_t n, const double *l,
                                      const int64_t *label, double sharpness, rex_outcomes *out,
                                      rex_err *e);
/* The `n` indices of `idx` (ascending) in order of falling key: of those within REX_TIE of the
 * largest that is left, the lowest index. key is indexed by idx; NULL leaves the order. */
REX_MUST rex_status rex_order_falling(rex_arena *a, int64_t *idx, int64_t n, const double *key,
                                      rex_err *e);

/* ---- greedy selection (greedy.c) --------------------------------------------------------- */

typedef enum { REX_GREEDY_ELLIPSE, REX_GREEDY_DPP, REX_GREEDY_FAR } rex_greedy_kind;

/* How the work is cut up; no setting changes a result. */
typedef struct {
    int64_t block; /* rows per block */
    int64_t hot;   /* rows that are brought up to date first, 1 or more */
    double share;  /* of a block's lagging rows, from which on all of them are refreshed */
} rex_greedy_tune;

typedef struct rex_greedy rex_greedy;
/* weight: n logarithms added to the logarithm of a row's value (ELLIPSE, DPP), or NULL. The rows
 * and weights are borrowed until close. */
REX_MUST rex_status rex_greedy_open(const rex_feat *f, rex_greedy_kind kind, const double *weight,
                                    const rex_greedy_tune *tune, rex_pool *workers,
                                    rex_greedy **out, rex_err *e);
void rex_greedy_close(rex_greedy *g);
/* Row i is no candidate (any more). */
void rex_greedy_bar(rex_greedy *g, int64_t i);
/* Row i joins the picks whatever its score, which is told. */
REX_MUST rex_status rex_greedy_take(rex_greedy *g, int64_t i, double *score, rex_err *e);
/* The best candidate joins the picks; *i is -1 when none is left (DPP: none with a gain). */
REX_MUST rex_status rex_greedy_pick(rex_greedy *g, int64_t *i, double *score, rex_err *e);
/* Rows read from memory and dot products made so far: for benchmarks and tests. */
void rex_greedy_work(const rex_greedy *g, int64_t *rows, int64_t *dots);

/* ---- selection (select.c, plain.c) ------------------------------------------------------- */

/* Block size and bounds of the fast form, for tests: a result never depends on them. */
void rex_select_tune(rex_select *s, const rex_greedy_tune *tune);

/* The definition: every score afresh from an explicit inverse (a Gram matrix for `dpp`, plain
 * distances for `farthest`), every choice by looking at all rows. Slow on purpose; what the fast
 * form must reproduce. Orders all rows that are not in `start`. */
REX_MUST rex_status rex_select_plain(const rex_select_opts *o, uint64_t id,
                                     const rex_select_rows *rows, const int64_t *start,
                                     int64_t n_start, int64_t *index, double *score, rex_err *e);

#endif
