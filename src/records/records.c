/* SPDX-License-Identifier: MIT
 *
 * records.c: sample records by column. One pass over the lines; of each line only the wanted
 * members are looked at. Groups and texts become numbers in order of first appearance, equality is
 * by bytes. In a mapped file texts are borrowed from the map, otherwise the first of equal ones is
 * copied.
 *
 * Invariant: all columns have one entry per kept row; a dropped row has left nothing behind, not
 * even its group. Columns are growable buffers, so the peak is at most three times their final
 * size.
 */
#include "records.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct {
    int field;
    char kind;
    rex_place place;
    rex_buf num, len, id; /* double; int64_t; uint32_t */
    rex_names names;
    size_t lacks; /* the first row without it, or SIZE_MAX */
} column;

struct rex_records {
    rex_arena *arena; /* owned, as is everything below */
    rex_lines *lines;
    bool copy;
    rex_records_opts o;
    char path[200];
    rex_fieldmap map;
    rex_scan scan;
    rex_place at_id, at_group;
    column col[REX_FIELD_COUNT];
    size_t n_col;
    int of[REX_FIELD_COUNT]; /* field to column or -1 */
    rex_names groups;
    rex_buf group, line;     /* uint32_t, int64_t per row */
    size_t n, dropped;
    rex_str last_id;         /* raw; the id of the row before, which is most often this one's */
    uint32_t last_group;
    uint32_t *rows;          /* by group */
    size_t *first;           /* groups + 1 */
};

void rex_records_defaults(rex_records_opts *o) { *o = (rex_records_opts){.size = sizeof *o}; }

/* ---- opening
 * ------------------------------------------------------------------------------------- */

static rex_status columns_open(rex_records *r, rex_err *e) {
    for (int f = 0; f < REX_FIELD_COUNT; f++) {
        r->of[f] = -1;
        if (!((r->o.want | r->o.need) & (1u << f))) continue;
        column *const c = &r->col[r->n_col];
        r->of[f] = (int)r->n_col++;
        *c = (column){.field = f, .kind = rex_field_kind(f), .lacks = SIZE_MAX};
        c->place = rex_scan_add(&r->scan, &r->map.path[f]);
        rex_buf_init(&c->num, 0);
        rex_buf_init(&c->len, 0);
        rex_buf_init(&c->id, 0);
        if (c->kind == 'T' || c->kind == 'J') REX_TRY(rex_names_open(&c->names, r->arena, e));
    }
    r->at_id = rex_scan_add(&r->scan, &r->map.path[REX_NAME_PROMPT_ID]);
    r->at_group = r->at_id;
    if (r->o.group_field) r->at_group = rex_scan_add(&r->scan, &r->map.path[REX_NAME_GROUP]);
    return REX_OK;
}

/* ---- one row
 * --------------------------------------------------------------------------------------- */

static rex_status row_number(const column *c, rex_str raw, double *out, rex_err *e) {
    const rex_jkind kind = rex_jraw_kind(raw);
    if (c->kind == 'B' && (kind == REX_J_TRUE || kind == REX_J_FALSE)) {
        *out = kind == REX_J_TRUE ? 1.0 : 0.0;
        return REX_OK;
    }
    if (c->kind == 'I') {
        int64_t x;
        REX_TRY(rex_jraw_i64(raw, &x, e));
        if (x < 0 || x > (INT64_C(1) << 53))
            return rex_fail(e, REX_EFORMAT, -1, "%lld is not within 0 .. 2^53", (long long)x);
        *out = (double)x;
        return REX_OK;
    }
    return rex_jraw_f64(raw, out, e);
}

static rex_status row_list(rex_str raw, double *sum, int64_t *len, rex_err *e) {
    const char *p;
    REX_TRY(rex_array_open(raw, &p, e));
    double x;
    bool more;
    *sum = 0.0;
    *len = 0;
    for (;;) {
        REX_TRY(rex_array_next(&p, raw.p + raw.n, &x, &more, e));
        if (!more) return REX_OK;
        *sum += x;
        ++*len;
    }
}

static rex_status row_value(rex_records *r, column *c, rex_str raw, rex_err *e) {
    double x = NAN;
    int64_t len = -1;
    uint32_t id = UINT32_MAX;
    if (!raw.p) {
        if (c->lacks == SIZE_MAX) c->lacks = r->n;
    } else if (c->kind == 'V') {
        REX_TRY(row_list(raw, &x, &len, e));
    } else if (c->kind == 'T' || c->kind == 'J') {
        const rex_mark m = rex_arena_mark(r->arena);
        rex_str s = raw;
        if (c->kind == 'T') REX_TRY(rex_text_value(r->arena, raw, &s, e));
        const size_t before = c->names.n;
        const bool lent = s.p >= raw.p && s.p <= raw.p + raw.n; /* no escapes: still in the line */
        REX_TRY(rex_names_put(&c->names, s, rex_hash64(s.p, s.n), lent && r->copy, &id, e));
        if (c->names.n == before) rex_arena_back(r->arena, m);
    } else {
        REX_TRY(row_number(c, raw, &x, e));
    }
    if (c->kind == 'T' || c->kind == 'J') rex_buf_add(&c->id, &id, sizeof id);
    else rex_buf_add(&c->num, &x, sizeof x);
    if (c->kind == 'V') rex_buf_add(&c->len, &len, sizeof len);
    return REX_OK;
}

static rex_status row_group(rex_records *r, int64_t no, uint32_t *out, rex_err *e) {
    rex_str raw = {NULL, 0}, id;
    if (r->o.group_field) REX_TRY(rex_scan_get(&r->scan, r->at_group, &raw, NULL, e));
    if (!raw.p) REX_TRY(rex_scan_get(&r->scan, r->at_id, &raw, NULL, e));
    if (!raw.p && r->o.group_field)
        return rex_fail(e, REX_EFORMAT, no, "neither group nor prompt_id is there");
    if (raw.p && r->last_id.p && rex_str_eq(raw, r->last_id)) {
        *out = r->last_group;
        return REX_OK;
    }
    const rex_mark m = rex_arena_mark(r->arena);
    REX_TRY(rex_id_value(r->arena, raw, no, &id, e));
    const uint64_t hash = rex_hash64(id.p, id.n);
    const size_t before = r->groups.n;
    const bool lent = raw.p && id.p >= raw.p && id.p <= raw.p + raw.n;
    REX_TRY(rex_names_put(&r->groups, id, hash, lent && r->copy, out, e));
    if (r->groups.n == before) {
        rex_arena_back(r->arena, m);
    } else if (r->o.streams) {
        const uint32_t twin = rex_names_twin(&r->groups, id, hash);
        if (twin != UINT32_MAX) {
            const rex_str other = rex_names_all(&r->groups)[twin].s;
            return rex_fail(e, REX_EFORMAT, no,
                            "ids '%.*s' and '%.*s' have one 64-bit hash and would "
                            "share their random numbers",
                            (int)(other.n < 100 ? other.n : 100), other.p,
                            (int)(id.n < 100 ? id.n : 100), id.p);
        }
    }
    r->last_group = *out;
    r->last_id = r->copy ? (rex_str){NULL, 0} : raw;
    return REX_OK;
}

/* The reward decides first whether the row stays at all. */
static rex_status row_read(rex_records *r, rex_str line, int64_t no, const char **field,
                           rex_err *e) {
    rex_str raw[REX_FIELD_COUNT];
    REX_TRY(rex_jscan(line, r->scan.want, r->scan.n, r->scan.raw, e));
    for (size_t i = 0; i < r->n_col; i++) {
        const column *const c = &r->col[i];
        *field = rex_field_name(c->field);
        bool null;
        REX_TRY(rex_scan_get(&r->scan, c->place, &raw[i], &null, e));
        const bool needed = (r->o.need & (1u << c->field)) != 0;
        if (null && c->field == REX_FI_REWARD) {
            if (r->o.broken == REX_BROKEN_DROP) {
                r->dropped++;
                return REX_OK;
            }
            if (r->o.broken == REX_BROKEN_REFUSE)
                return rex_fail(e, REX_EFORMAT, no,
                                "null, a broken verifier (--broken drop leaves such "
                                "rows out)");
        } else if (needed && !raw[i].p) {
            return rex_fail(e, REX_EFORMAT, no, "missing");
        }
    }
    uint32_t group;
    *field = "prompt_id";
    REX_TRY(row_group(r, no, &group, e));
    if (r->n >= UINT32_MAX) return rex_fail(e, REX_ELIMIT, no, "more than 2^32 rows");
    for (size_t i = 0; i < r->n_col; i++) {
        *field = rex_field_name(r->col[i].field);
        REX_TRY(row_value(r, &r->col[i], raw[i], e));
    }
    *field = NULL;
    rex_buf_add(&r->group, &group, sizeof group);
    rex_buf_add(&r->line, &no, sizeof no);
    r->n++;
    return REX_OK;
}

static bool blank(rex_str s) {
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] != ' ' && s.p[i] != '\t') return false;
    return true;
}

static rex_status rows_read(rex_records *r, rex_err *e) {
    int64_t no, empty = 0;
    for (;;) {
        rex_str line;
        bool more;
        REX_TRY(rex_lines_next(r->lines, &line, &no, &more, e));
        if (!more) break;
        if (blank(line)) { /* allowed at the end only */
            if (empty == 0) empty = no;
            continue;
        }
        if (empty > 0)
            return rex_fail(e, REX_EFORMAT, empty, "%s: line %lld: empty", r->path,
                            (long long)empty);
        if ((no & 4095) == 0 && rex_cancelled()) return rex_fail(e, REX_ECANCEL, no, "stopped");
        const char *field = NULL;
        const rex_status s = row_read(r, line, no, &field, e);
        if (s != REX_OK) {
            if (e) e->at = no;
            return rex_fail_in(e, s, "%s: line %lld%s%s", r->path, (long long)no, field ? ": " : "",
                               field ? field : "");
        }
    }
    rex_status s = rex_buf_check(&r->group, e);
    if (s == REX_OK) s = rex_buf_check(&r->line, e);
    for (size_t i = 0; s == REX_OK && i < r->n_col; i++) {
        s = rex_buf_check(&r->col[i].num, e);
        if (s == REX_OK) s = rex_buf_check(&r->col[i].len, e);
        if (s == REX_OK) s = rex_buf_check(&r->col[i].id, e);
    }
    return s;
}

/* ---- afterwards
 * -------------------------------------------------------------------------------------- */

static const uint32_t *groups_of(const rex_records *r) {
    return (const uint32_t *)(const void *)r->group.p;
}
static const int64_t *lines_of(const rex_records *r) {
    return (const int64_t *)(const void *)r->line.p;
}

/* Rows by group, ascending: a counting sort. */
static rex_status group_rows(rex_records *r, rex_err *e) {
    const size_t groups = r->groups.n;
    r->first = rex_arena_zero(r->arena, groups + 2, sizeof *r->first, e);
    r->rows = r->first ? rex_arena_take(r->arena, r->n, sizeof *r->rows, e) : NULL;
    if (!r->rows) return REX_ENOMEM;
    const uint32_t *const group = groups_of(r);
    for (size_t i = 0; i < r->n; i++) r->first[group[i] + 2]++;
    for (size_t g = 0; g < groups; g++) r->first[g + 2] += r->first[g + 1];
    for (size_t i = 0; i < r->n; i++) r->rows[r->first[group[i] + 1]++] = (uint32_t)i;
    return REX_OK;
}

static rex_status twice(const rex_records *r, size_t group, uint32_t a, uint32_t b, double sample,
                        rex_err *e) {
    const rex_str name = rex_names_all(&r->groups)[group].s;
    const int64_t x = lines_of(r)[a], y = lines_of(r)[b];
    return rex_fail(e, REX_EFORMAT, y,
                    "%s: lines %lld and %lld: sample %.0f of prompt '%.*s' is there "
                    "twice",
                    r->path, (long long)x, (long long)y, sample, (int)(name.n < 100 ? name.n : 100),
                    name.p);
}

/* The same (prompt_id, sample) twice. Samples that ascend, as programs write them, need no table.
 */
static rex_status refuse_twins(rex_records *r, rex_err *e) {
    const double *const sample = rex_records_num(r, REX_FI_SAMPLE);
    if (!sample) return REX_OK;
    const rex_mark m = rex_arena_mark(r->arena);
    for (size_t g = 0; g < r->groups.n; g++) {
        const uint32_t *const row = r->rows + r->first[g];
        const size_t n = r->first[g + 1] - r->first[g];
        double last = -1.0;
        bool ascend = true;
        for (size_t i = 0; i < n && ascend; i++) {
            if (isnan(sample[row[i]])) continue;
            ascend = sample[row[i]] > last;
            last = sample[row[i]];
        }
        if (ascend) continue;
        size_t room = 4;
        while (room < 2 * n) room *= 2;
        uint32_t *const slot = rex_arena_take(r->arena, room, sizeof *slot, e);
        if (!slot) return REX_ENOMEM;
        memset(slot, 0xff, room * sizeof *slot);
        for (size_t i = 0; i < n; i++) {
            const double x = sample[row[i]];
            if (isnan(x)) continue;
            size_t at = (size_t)(((uint64_t)x * 0x9E3779B97F4A7C15u) >> 32) & (room - 1);
            while (slot[at] != UINT32_MAX && sample[slot[at]] != x) at = (at + 1) & (room - 1);
            if (slot[at] != UINT32_MAX) return twice(r, g, slot[at], row[i], x, e);
            slot[at] = row[i];
        }
        rex_arena_back(r->arena, m);
    }
    return REX_OK;
}

rex_status rex_records_open(const char *path, const rex_records_opts *o, rex_records **out,
                            rex_err *e) {
    *out = NULL;
    rex_records *const r = rex_mem_take(1, sizeof *r, e);
    if (!r) return REX_ENOMEM;
    r->o = *o;
    r->o.want |= REX_F(SAMPLE); /* for duplicates */
    (void)snprintf(r->path, sizeof r->path, "%s", strcmp(path, "-") == 0 ? "stdin" : path);
    rex_buf_init(&r->group, 0);
    rex_buf_init(&r->line, 0);
    rex_status s = rex_arena_open(0, &r->arena, e);
    if (s == REX_OK) s = rex_names_open(&r->groups, r->arena, e);
    if (s == REX_OK) s = rex_fieldmap_read(r->arena, o->map, &r->map, e);
    if (s == REX_OK) s = columns_open(r, e);
    if (s == REX_OK) s = rex_lines_open(path, &r->lines, e);
    if (s == REX_OK) {
        r->copy = !rex_lines_stay(r->lines);
        s = rows_read(r, e);
    }
    if (s == REX_OK) s = group_rows(r, e);
    if (s == REX_OK) s = refuse_twins(r, e);
    if (s != REX_OK) {
        rex_records_close(r);
        return s;
    }
    *out = r;
    return REX_OK;
}

void rex_records_close(rex_records *r) {
    if (!r) return;
    for (size_t i = 0; i < r->n_col; i++) {
        rex_buf_free(&r->col[i].num);
        rex_buf_free(&r->col[i].len);
        rex_buf_free(&r->col[i].id);
        rex_names_close(&r->col[i].names);
    }
    rex_names_close(&r->groups);
    rex_buf_free(&r->group);
    rex_buf_free(&r->line);
    rex_lines_close(r->lines);
    rex_arena_close(r->arena);
    rex_mem_free(r);
}

/* ---- what was read
 * -------------------------------------------------------------------------------------- */

size_t rex_records_rows(const rex_records *r) { return r->n; }
size_t rex_records_groups(const rex_records *r) { return r->groups.n; }
size_t rex_records_dropped(const rex_records *r) { return r->dropped; }
rex_str rex_records_name(const rex_records *r, size_t group) {
    return rex_names_all(&r->groups)[group].s;
}
uint64_t rex_records_hash(const rex_records *r, size_t group) {
    return rex_names_all(&r->groups)[group].hash;
}
uint32_t rex_records_group(const rex_records *r, size_t row) { return groups_of(r)[row]; }
int64_t rex_records_line(const rex_records *r, size_t row) { return lines_of(r)[row]; }

size_t rex_records_find(const rex_records *r, rex_str name) {
    const uint32_t g = rex_names_find(&r->groups, name, rex_hash64(name.p, name.n));
    return g == UINT32_MAX ? SIZE_MAX : g;
}

const uint32_t *rex_records_of(const rex_records *r, size_t group, size_t *n) {
    *n = r->first[group + 1] - r->first[group];
    return r->rows + r->first[group];
}

static const column *column_of(const rex_records *r, rex_field f) {
    return (unsigned)f < REX_FIELD_COUNT && r->of[f] >= 0 ? &r->col[r->of[f]] : NULL;
}

const double *rex_records_num(const rex_records *r, rex_field f) {
    const column *const c = column_of(r, f);
    return c ? (const double *)(const void *)c->num.p : NULL;
}

const int64_t *rex_records_len(const rex_records *r, rex_field f) {
    const column *const c = column_of(r, f);
    return c ? (const int64_t *)(const void *)c->len.p : NULL;
}

const uint32_t *rex_records_ids(const rex_records *r, rex_field f) {
    const column *const c = column_of(r, f);
    return c ? (const uint32_t *)(const void *)c->id.p : NULL;
}

rex_str rex_records_str(const rex_records *r, rex_field f, size_t row) {
    const uint32_t *const id = rex_records_ids(r, f);
    if (!id || id[row] == UINT32_MAX) return (rex_str){NULL, 0};
    return rex_names_all(&column_of(r, f)->names)[id[row]].s;
}

size_t rex_records_lacks(const rex_records *r, rex_field f) {
    const column *const c = column_of(r, f);
    return c ? c->lacks : (r->n > 0 ? 0 : SIZE_MAX);
}

double rex_records_loglik(const rex_records *r, size_t row, bool mean) {
    const double *const sum = rex_records_num(r, REX_FI_LOGPROB);
    const double *const tokens = rex_records_num(r, REX_FI_N_TOK);
    const double *const list = rex_records_num(r, REX_FI_LOGP);
    const int64_t *const len = rex_records_len(r, REX_FI_LOGP);
    const bool has_sum = sum && !isnan(sum[row]), has_list = list && len[row] >= 0;
    if (!has_sum && !has_list) return NAN;
    const double l = has_sum ? sum[row] : list[row];
    if (!mean) return l;
    double n = has_list ? (double)len[row] : NAN;
    if (has_sum && tokens && !isnan(tokens[row])) n = tokens[row];
    return n > 0.0 ? l / n : NAN;
}

/* ---- to metrics and advantages
 * ------------------------------------------------------------------------------ */

static rex_status refuse_row(const rex_records *r, const char *path, size_t row, double reward,
                             rex_err *e) {
    const int64_t no = lines_of(r)[row];
    return rex_fail(e, REX_EFORMAT, no, "%s: line %lld: reward %.17g is neither 0 nor 1",
                    strcmp(path, "-") == 0 ? "stdin" : path, (long long)no, reward);
}

/* A column in the order of the groups; NULL where it was not read. */
static rex_status gather(const rex_records *r, rex_arena *a, const double *v, const double **out,
                         rex_err *e) {
    *out = NULL;
    if (!v) return REX_OK;
    double *const x = rex_arena_take(a, r->n, sizeof *x, e);
    if (!x) return REX_ENOMEM;
    for (size_t i = 0; i < r->n; i++) x[i] = v[r->rows[i]];
    *out = x;
    return REX_OK;
}

static rex_status gather_entropy(const rex_records *r, rex_arena *a, const double **out,
                                 rex_err *e) {
    const double *const own = rex_records_num(r, REX_FI_ENTROPY);
    const double *const sum = rex_records_num(r, REX_FI_ENT);
    const int64_t *const len = rex_records_len(r, REX_FI_ENT);
    *out = NULL;
    if (!own && !sum) return REX_OK;
    double *const x = rex_arena_take(a, r->n, sizeof *x, e);
    if (!x) return REX_ENOMEM;
    for (size_t i = 0; i < r->n; i++) {
        const size_t row = r->rows[i];
        x[i] = own ? own[row] : NAN;
        if (isnan(x[i]) && sum && len[row] > 0) x[i] = sum[row] / (double)len[row];
    }
    *out = x;
    return REX_OK;
}

rex_status rex_records_scored(const rex_records *r, const char *path, bool binary, rex_arena *a,
                              rex_scored *out, rex_err *e) {
    const size_t groups = r->groups.n;
    *out = (rex_scored){.n_groups = groups, .first = r->first, .row = r->rows};
    rex_str *const name = rex_arena_take(a, groups, sizeof *name, e);
    uint64_t *const stream = name ? rex_arena_take(a, groups, sizeof *stream, e) : NULL;
    if (!stream) return REX_ENOMEM;
    for (size_t g = 0; g < groups; g++) {
        name[g] = rex_records_name(r, g);
        stream[g] = rex_records_hash(r, g);
    }
    out->name = name;
    out->stream = stream;
    const double *const reward = rex_records_num(r, REX_FI_REWARD);
    for (size_t i = 0; binary && reward && i < r->n; i++)
        if (reward[i] != 0.0 && reward[i] != 1.0) return refuse_row(r, path, i, reward[i], e);
    REX_TRY(gather(r, a, reward, &out->reward, e));
    REX_TRY(gather(r, a, rex_records_num(r, REX_FI_BONUS_RAW), &out->bonus, e));
    REX_TRY(gather_entropy(r, a, &out->entropy, e));
    if (rex_records_num(r, REX_FI_LOGPROB) || rex_records_num(r, REX_FI_LOGP)) {
        double *const l = rex_arena_take(a, r->n, sizeof *l, e);
        if (!l) return REX_ENOMEM;
        for (size_t i = 0; i < r->n; i++) l[i] = rex_records_loglik(r, r->rows[i], true);
        out->logp_mean = l;
    }
    const uint32_t *const id = rex_records_ids(r, REX_FI_EXTRACTED);
    if (id) {
        uint32_t *const x = rex_arena_take(a, r->n, sizeof *x, e);
        if (!x) return REX_ENOMEM;
        for (size_t i = 0; i < r->n; i++) x[i] = id[r->rows[i]];
        out->answer = x;
    }
    return REX_OK;
}
