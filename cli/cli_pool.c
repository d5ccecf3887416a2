/* SPDX-License-Identifier: MIT
 *
 * cli_pool: reading pools for `select` and `score`. Features stay mapped where they are; only a
 * projection makes rows of its own. Every complaint names the file and the row, line or group.
 */
#include "cli_pool.h"

#include <string.h>

void rex_pool_input_close(rex_pool_input *in) {
    rex_rows_close(in->file);
    rex_records_close(in->rec);
    rex_mem_free(in->projected);
    *in = (rex_pool_input){0};
}

rex_status rex_lambda_parse(const char *text, double *lambda, bool *rel, rex_err *e) {
    *rel = strncmp(text, "rel:", 4) == 0;
    const char *const x = *rel ? text + 4 : text;
    if (!rex_num_parse(rex_str_of(x), lambda) || !(*lambda > 0.0))
        return rex_fail(e, REX_EARG, -1,
                        "--lambda %s: not a number above 0, or rel: and such a number", text);
    return REX_OK;
}

void rex_pool_input_json(const rex_pool_input *in, const rex_pool_input_opts *o, rex_jw *w) {
    if (!in->is_projected) return;
    char digest[17];
    for (int i = 0; i < 16; i++) digest[i] = "0123456789abcdef"[in->digest >> (60 - 4 * i) & 15];
    rex_jw_key(w, "projection");
    rex_jw_obj(w);
    rex_jw_key(w, "kind");
    rex_jw_cstr(w, o->proj_kind == REX_PROJECT_SPARSE ? "sparse" : "gauss");
    rex_jw_key(w, "dim");
    rex_jw_i64(w, o->proj_dim);
    rex_jw_key(w, "seed");
    rex_jw_i64(w, (int64_t)o->seed);
    rex_jw_key(w, "digest");
    rex_jw_str(w, (rex_str){digest, 16});
    rex_jw_obj_end(w);
}

/* ---- features ---------------------------------------------------------------------------- */

static rex_status open_features(const rex_pool_input_opts *o, rex_pool_input *in, rex_err *e) {
    REX_TRY(rex_rows_open(o->features, &in->file, e));
    in->m.p = rex_rows_data(in->file);
    in->m.rows = rex_rows_count(in->file);
    in->m.cols = rex_rows_dim(in->file);
    in->m.type = rex_elem_find(rex_rows_type(in->file));
    if (in->m.type == REX_ELEM_COUNT)
        return rex_fail(e, REX_EUNSUP, -1, "%s: numbers of type %s", o->features,
                        rex_rows_type(in->file));
    if (in->m.rows == 0) return rex_fail(e, REX_EFORMAT, -1, "%s: no rows", o->features);
    return REX_OK;
}

/* `bad` marks the rows to leave out, where there are any and dropping was asked for. */
static rex_status find_nonfinite(rex_arena *a, const rex_pool_input_opts *o, rex_pool_input *in,
                                 bool **bad, rex_err *e) {
    int64_t row = 0, col = 0;
    *bad = NULL;
    for (int64_t from = 0; rex_matrix_nonfinite(&in->m, from, &row, &col); from = row + 1) {
        if (!o->drop)
            return rex_fail(e, REX_ENAN, row, "%s: row %lld, column %lld is not a finite number; "
                            "--allow-nonfinite drop leaves such rows out", o->features,
                            (long long)row, (long long)col);
        if (!*bad) *bad = rex_arena_zero(a, (size_t)in->m.rows, sizeof(bool), e);
        if (!*bad) return REX_ENOMEM;
        (*bad)[row] = true;
        if (in->n_dropped++ < 5)
            rex_cli_note("%s: row %lld is left out: column %lld is not a finite number",
                         o->features, (long long)row, (long long)col);
    }
    if (in->n_dropped > 0)
        rex_cli_note("%s: %lld of %lld rows were left out", o->features, (long long)in->n_dropped,
                     (long long)in->m.rows);
    return REX_OK;
}

static rex_status project(const rex_pool_input_opts *o, rex_pool_input *in, rex_err *e) {
    if (o->proj_dim <= 0 || in->m.cols <= o->proj_dim) return REX_OK;
    rex_project *p = NULL;
    in->projected = rex_mem_take((size_t)in->m.rows, (size_t)o->proj_dim * sizeof(float), e);
    if (!in->projected) return REX_ENOMEM;
    REX_TRY(rex_project_open(o->proj_kind, o->seed, in->m.cols, o->proj_dim, &p, e));
    const rex_status st = rex_project_apply(p, &in->m, o->workers, in->projected, e);
    in->digest = rex_project_digest(p);
    rex_project_close(p);
    REX_TRY(st);
    in->m = (rex_matrix){in->projected, in->m.rows, o->proj_dim, REX_ELEM_F32};
    in->is_projected = true;
    return REX_OK;
}

/* ---- groups ------------------------------------------------------------------------------ */

static rex_status open_groups(const rex_pool_input_opts *o, rex_pool_input *in, rex_err *e) {
    rex_records_opts r;
    rex_records_defaults(&r);
    r.want = o->want;
    r.map = o->map;
    r.broken = REX_BROKEN_KEEP;
    r.group_field = true;
    r.streams = o->streams;
    REX_TRY(rex_records_open(o->groups, &r, &in->rec, e));
    const int64_t n = (int64_t)rex_records_rows(in->rec);
    if (n == 0) return rex_fail(e, REX_EFORMAT, -1, "%s: no records", o->groups);
    if (o->features && n != in->m.rows)
        return rex_fail(e, REX_EFORMAT, -1, "%s has %lld records, but %s has %lld rows", o->groups,
                        (long long)n, o->features, (long long)in->m.rows);
    return REX_OK;
}

static rex_status fill_group(rex_arena *a, const rex_pool_input *in, const bool *bad, size_t g,
                             rex_pool_group *out, rex_err *e) {
    size_t n = (size_t)in->m.rows;
    const uint32_t *const of = in->rec ? rex_records_of(in->rec, g, &n) : NULL;
    out->name = in->rec ? rex_records_name(in->rec, g) : rex_str_of("all");
    out->id = in->rec ? rex_records_hash(in->rec, g) : 0;
    out->n_all = (int64_t)n;
    out->row = rex_arena_take(a, n, sizeof(int64_t), e);
    out->place = out->row ? rex_arena_take(a, n, sizeof(int64_t), e) : NULL;
    if (!out->place) return REX_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        const int64_t row = of ? (int64_t)of[i] : (int64_t)i;
        if (bad && bad[row]) continue;
        out->row[out->n] = row;
        out->place[out->n++] = (int64_t)i;
    }
    return REX_OK;
}

rex_status rex_pool_input_open(rex_arena *a, const rex_pool_input_opts *o, rex_pool_input *in,
                               rex_err *e) {
    *in = (rex_pool_input){0};
    bool *bad = NULL;
    if (o->features) REX_TRY(open_features(o, in, e));
    if (o->groups) REX_TRY(open_groups(o, in, e));
    /* without projection the core's own passes meet what is not finite and name it */
    const bool projects = o->features && o->proj_dim > 0 && in->m.cols > o->proj_dim;
    if (o->features && (o->drop || o->unused || projects))
        REX_TRY(find_nonfinite(a, o, in, &bad, e));
    if (o->features) REX_TRY(project(o, in, e));
    in->n_group = in->rec ? rex_records_groups(in->rec) : 1;
    in->group = rex_arena_zero(a, in->n_group, sizeof *in->group, e);
    if (!in->group) return REX_ENOMEM;
    for (size_t g = 0; g < in->n_group; g++)
        REX_TRY(fill_group(a, in, bad, g, &in->group[g], e));
    return REX_OK;
}
