/* SPDX-License-Identifier: MIT
 *
 * cli_pool: what `select` and `score` share: features from a file, projected where asked for, in
 * groups that a record file names, without the rows that are not finite where those are dropped.
 */
#ifndef REX_CLI_POOL_H
#define REX_CLI_POOL_H

#include "cli.h"

typedef struct {
    const char *features; /* NULL: none */
    const char *groups;   /* NULL: all rows are one group */
    const char *map;
    uint32_t want;        /* fields of the records */
    bool streams;         /* ids name random draws */
    bool unused;          /* the command will not look at the features: check them here */
    bool drop;            /* rows that are not finite are left out, not refused */
    int64_t proj_dim;     /* 0: none */
    rex_project_kind proj_kind;
    uint64_t seed;
    rex_pool *workers;
} rex_pool_input_opts;

/* One group: its rows as they are used (without those dropped), ascending; `place` of each is its
 * index within the group as the files have it. */
typedef struct {
    rex_str name;
    uint64_t id;
    int64_t *row, *place;
    int64_t n, n_all;
} rex_pool_group;

typedef struct {
    rex_rows *file;
    rex_records *rec; /* NULL without --groups */
    rex_matrix m;     /* p NULL without features */
    float *projected; /* owned */
    bool is_projected;
    uint64_t digest;
    rex_pool_group *group;
    size_t n_group;
    int64_t n_dropped;
} rex_pool_input;

/* Reads and checks; on failure what was opened is in `in` all the same: close it. */
REX_MUST rex_status rex_pool_input_open(rex_arena *a, const rex_pool_input_opts *o,
                                        rex_pool_input *in, rex_err *e);
void rex_pool_input_close(rex_pool_input *in);

/* "X" or "rel:X", X > 0. */
REX_MUST rex_status rex_lambda_parse(const char *text, double *lambda, bool *rel, rex_err *e);
/* The projection of a result, as members of an object, if there was one. */
void rex_pool_input_json(const rex_pool_input *in, const rex_pool_input_opts *o, rex_jw *w);

#endif
