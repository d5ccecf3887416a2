/* SPDX-License-Identifier: MIT
 *
 * names.c: what the fields of a record are called, here and in other programs' files, and the table
 * that turns equal texts into equal numbers. A map names members by dotted paths; a path is first
 * tried as one member's name, because some programs have dots in theirs.
 */
#include "records.h"

#include <string.h>

static const struct {
    const char *name;
    char kind;
} fields[REX_NAME_COUNT] = {
#define X(NAME, name, kind) {#name, #kind[0]},
    REX_FIELDS(X)
#undef X
    {"prompt_id", 'T'}, {"group", 'T'}, {"prompt", 'J'}};

const char *rex_field_name(int field) { return fields[field].name; }
char rex_field_kind(int field) { return fields[field].kind; }

static rex_status path_read(rex_str text, rex_path *out, const char *field, rex_err *e) {
    *out = (rex_path){.whole = text};
    size_t from = 0;
    for (size_t i = 0; i <= text.n; i++) {
        if (i < text.n && text.p[i] != '.') continue;
        if (i == from)
            return rex_fail(e, REX_EARG, -1, "--map: %s has an empty name in its path", field);
        if (out->n == REX_PATH_STEPS)
            return rex_fail(e, REX_EARG, -1, "--map: the path of %s is deeper than %d", field,
                            REX_PATH_STEPS);
        out->step[out->n++] = (rex_str){text.p + from, i - from};
        from = i + 1;
    }
    return REX_OK;
}

static rex_status map_one(rex_arena *a, rex_str item, rex_fieldmap *out, rex_err *e) {
    const char *const eq = item.n ? memchr(item.p, '=', item.n) : NULL;
    if (!eq || eq == item.p || eq + 1 == item.p + item.n)
        return rex_fail(e, REX_EARG, -1, "--map: expected field=their.field, found '%.*s'",
                        (int)(item.n < 100 ? item.n : 100), item.p);
    rex_str name, path;
    REX_TRY(rex_str_copy(a, (rex_str){item.p, (size_t)(eq - item.p)}, &name, e));
    REX_TRY(rex_str_copy(a, (rex_str){eq + 1, item.n - name.n - 1}, &path, e));
    const char *names[REX_NAME_COUNT];
    for (int f = 0; f < REX_NAME_COUNT; f++) {
        names[f] = fields[f].name;
        if (!rex_str_is(name, names[f])) continue;
        if (out->given[f]) return rex_fail(e, REX_EARG, -1, "--map: %s is named twice", names[f]);
        out->given[f] = true;
        return path_read(path, &out->path[f], names[f], e);
    }
    const char *const near = rex_nearest(name.p, names, REX_NAME_COUNT);
    return rex_fail(e, REX_EARG, -1, "--map: no field is called '%s'%s%s", name.p,
                    near ? "; did you mean " : "", near ? near : "");
}

rex_status rex_fieldmap_read(rex_arena *a, const char *map, rex_fieldmap *out, rex_err *e) {
    memset(out, 0, sizeof *out);
    for (int f = 0; f < REX_NAME_COUNT; f++) {
        out->path[f].whole = out->path[f].step[0] = rex_str_of(fields[f].name);
        out->path[f].n = 1;
    }
    if (!map || !*map) return REX_OK;
    rex_str copy; /* the paths borrow from the arena, not from the caller */
    REX_TRY(rex_str_copy(a, rex_str_of(map), &copy, e));
    size_t from = 0;
    for (size_t i = 0; i <= copy.n; i++) {
        if (i < copy.n && copy.p[i] != ',') continue;
        REX_TRY(map_one(a, (rex_str){copy.p + from, i - from}, out, e));
        from = i + 1;
    }
    return REX_OK;
}

/* ---- scanning ----------------------------------------------------------------------------------
 */

static size_t want(rex_scan *s, rex_str name) {
    for (size_t i = 0; i < s->n; i++)
        if (rex_str_eq(s->want[i], name)) return i;
    rex_assert(s->n < REX_WANT_MAX);
    s->want[s->n] = name;
    return s->n++;
}

rex_place rex_scan_add(rex_scan *s, const rex_path *path) {
    const size_t whole = want(s, path->whole);
    return (rex_place){path, whole, path->n > 1 ? want(s, path->step[0]) : whole};
}

rex_place rex_scan_add_name(rex_scan *s, const char *name, rex_path *path) {
    *path = (rex_path){.whole = rex_str_of(name), .step = {rex_str_of(name)}, .n = 1};
    return rex_scan_add(s, path);
}

rex_status rex_scan_get(const rex_scan *s, rex_place at, rex_str *raw, bool *null, rex_err *e) {
    *raw = s->raw[at.whole];
    if (!raw->p && at.path->n > 1) {
        *raw = s->raw[at.first];
        for (size_t i = 1; i < at.path->n && raw->p; i++) {
            const rex_str outer = *raw;
            if (rex_jraw_kind(outer) == REX_J_OBJ)
                REX_TRY(rex_jscan(outer, &at.path->step[i], 1, raw, e));
            else
                *raw = (rex_str){NULL, 0};
        }
    }
    const bool is_null = raw->p && rex_jraw_kind(*raw) == REX_J_NULL;
    if (null) *null = is_null;
    if (is_null) *raw = (rex_str){NULL, 0};
    return REX_OK;
}

static bool space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

rex_status rex_array_open(rex_str raw, const char **p, rex_err *e) {
    if (rex_jraw_kind(raw) != REX_J_ARR)
        return rex_fail(e, REX_EFORMAT, -1, "expected a list of numbers, found %s",
                        rex_json_kind_name(rex_jraw_kind(raw)));
    *p = raw.p + 1;
    return REX_OK;
}

rex_status rex_array_next(const char **p, const char *end, double *out, bool *more, rex_err *e) {
    const char *c = *p;
    *more = false;
    while (c < end && space(*c)) c++;
    if (c < end && *c == ']') return REX_OK;
    if ((*p)[-1] != '[') { /* behind a number */
        if (c >= end || *c != ',')
            return rex_fail(e, REX_EFORMAT, -1, "expected ',' or ']' in a list of numbers");
        c++;
        while (c < end && space(*c)) c++;
    }
    const char *const from = c;
    while (c < end && *c != ',' && *c != ']' && !space(*c)) c++;
    const rex_str text = {from, (size_t)(c - from)};
    if (text.n == 0 || rex_jraw_kind(text) != REX_J_NUM || !rex_num_parse(text, out))
        return rex_fail(e, REX_EFORMAT, -1, "'%.*s' in a list is no number within range",
                        (int)(text.n < 40 ? text.n : 40), from);
    *p = c;
    *more = true;
    return REX_OK;
}

rex_status rex_text_value(rex_arena *a, rex_str raw, rex_str *out, rex_err *e) {
    switch (rex_jraw_kind(raw)) {
    case REX_J_STR: return rex_jraw_str(a, raw, out, e);
    case REX_J_NUM: {
        double x;
        REX_TRY(rex_jraw_f64(raw, &x, e));
        *out = raw;
        return REX_OK;
    }
    case REX_J_TRUE:
    case REX_J_FALSE: *out = raw; return REX_OK;
    default:
        return rex_fail(e, REX_EFORMAT, -1, "expected a string, found %s",
                        rex_json_kind_name(rex_jraw_kind(raw)));
    }
}

rex_status rex_id_value(rex_arena *a, rex_str raw, int64_t no, rex_str *out, rex_err *e) {
    if (!raw.p) return rex_str_fmt(a, out, e, "%lld", (long long)(no > 0 ? no - 1 : 0));
    const rex_jkind kind = rex_jraw_kind(raw);
    if (kind != REX_J_STR && kind != REX_J_NUM)
        return rex_fail(e, REX_EFORMAT, -1, "expected a string, found %s",
                        rex_json_kind_name(kind));
    return rex_text_value(a, raw, out, e);
}

/* ---- equal texts, equal numbers
 * ------------------------------------------------------------------ */

rex_status rex_names_open(rex_names *t, rex_arena *arena, rex_err *e) {
    *t = (rex_names){.arena = arena, .mask = 63};
    rex_buf_init(&t->store, 0);
    t->slot = rex_mem_take(t->mask + 1, sizeof *t->slot, e);
    if (!t->slot) return REX_ENOMEM;
    memset(t->slot, 0xff, (t->mask + 1) * sizeof *t->slot);
    return REX_OK;
}

static rex_status names_grow(rex_names *t, rex_err *e) {
    const size_t mask = 2 * t->mask + 1;
    uint32_t *const slot = rex_mem_take(mask + 1, sizeof *slot, e);
    if (!slot) return REX_ENOMEM;
    memset(slot, 0xff, (mask + 1) * sizeof *slot);
    const rex_named *const all = rex_names_all(t);
    for (size_t i = 0; i < t->n; i++) {
        size_t at = (size_t)all[i].hash & mask;
        while (slot[at] != UINT32_MAX) at = (at + 1) & mask;
        slot[at] = (uint32_t)i;
    }
    rex_mem_free(t->slot);
    t->slot = slot;
    t->mask = mask;
    return REX_OK;
}

/* The slot of `s`, or the free one where it belongs. */
static size_t names_at(const rex_names *t, rex_str s, uint64_t hash) {
    const rex_named *const all = rex_names_all(t);
    size_t at = (size_t)hash & t->mask;
    for (; t->slot[at] != UINT32_MAX; at = (at + 1) & t->mask) {
        const rex_named *const x = &all[t->slot[at]];
        if (x->hash == hash && rex_str_eq(x->s, s)) break;
    }
    return at;
}

rex_status rex_names_put(rex_names *t, rex_str s, uint64_t hash, bool copy, uint32_t *id,
                         rex_err *e) {
    size_t at = names_at(t, s, hash);
    if (t->slot[at] != UINT32_MAX) {
        *id = t->slot[at];
        return REX_OK;
    }
    if (t->n >= UINT32_MAX - 1)
        return rex_fail(e, REX_ELIMIT, -1, "more than 2^32 different texts");
    if (2 * (t->n + 1) > t->mask) {
        REX_TRY(names_grow(t, e));
        at = names_at(t, s, hash);
    }
    rex_named x = {.s = s, .hash = hash};
    if (copy) REX_TRY(rex_str_copy(t->arena, s, &x.s, e));
    rex_buf_add(&t->store, &x, sizeof x);
    REX_TRY(rex_buf_check(&t->store, e));
    t->slot[at] = *id = (uint32_t)t->n++;
    return REX_OK;
}

uint32_t rex_names_find(const rex_names *t, rex_str s, uint64_t hash) {
    return t->slot ? t->slot[names_at(t, s, hash)] : UINT32_MAX;
}

uint32_t rex_names_twin(const rex_names *t, rex_str s, uint64_t hash) {
    const rex_named *const all = rex_names_all(t);
    for (size_t at = (size_t)hash & t->mask; t->slot[at] != UINT32_MAX; at = (at + 1) & t->mask) {
        const rex_named *const x = &all[t->slot[at]];
        if (x->hash == hash && !rex_str_eq(x->s, s)) return t->slot[at];
    }
    return UINT32_MAX;
}

void rex_names_close(rex_names *t) {
    rex_mem_free(t->slot);
    rex_buf_free(&t->store);
    *t = (rex_names){.slot = NULL};
}
