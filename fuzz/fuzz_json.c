/* SPDX-License-Identifier: MIT
 *
 * Any bytes through both roads of the JSON reader. What the strict road takes, the fast road must
 * take too (if it is an object), and what the writer makes of it must read back as the same tree.
 */
#include "../src/base/base.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write(rex_jw *w, const rex_jval *v) {
    double d;
    switch (v->kind) {
    case REX_J_NULL: rex_jw_null(w); break;
    case REX_J_FALSE: rex_jw_bool(w, false); break;
    case REX_J_TRUE: rex_jw_bool(w, true); break;
    case REX_J_NUM:
        if (rex_json_f64(v, "x", &d, NULL) == REX_OK) rex_jw_f64(w, d);
        else rex_jw_raw(w, v->u.s);
        break;
    case REX_J_STR: rex_jw_str(w, v->u.s); break;
    case REX_J_ARR:
        rex_jw_arr(w);
        for (uint32_t i = 0; i < v->n; i++) write(w, &v->u.c.item[i]);
        rex_jw_arr_end(w);
        break;
    case REX_J_OBJ:
        rex_jw_obj(w);
        for (uint32_t i = 0; i < v->n; i++) {
            rex_jw_keys(w, v->u.c.key[i]);
            write(w, &v->u.c.item[i]);
        }
        rex_jw_obj_end(w);
        break;
    }
}

static bool same(const rex_jval *a, const rex_jval *b) {
    if (a->kind != b->kind) return false;
    double x, y;
    switch (a->kind) {
    case REX_J_NUM:
        if (rex_json_f64(a, "x", &x, NULL) != REX_OK) return rex_str_eq(a->u.s, b->u.s);
        return rex_json_f64(b, "x", &y, NULL) == REX_OK && x == y;
    case REX_J_STR: return rex_str_eq(a->u.s, b->u.s);
    case REX_J_ARR:
    case REX_J_OBJ:
        if (a->n != b->n) return false;
        for (uint32_t i = 0; i < a->n; i++) {
            if (a->kind == REX_J_OBJ && !rex_str_eq(a->u.c.key[i], b->u.c.key[i])) return false;
            if (!same(&a->u.c.item[i], &b->u.c.item[i])) return false;
        }
        return true;
    default: return true;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    rex_arena *a;
    if (rex_arena_open((size_t)64 << 20, &a, NULL) != REX_OK) return 0;
    const rex_str text = {(const char *)data, size};
    const rex_str want[] = {{"a", 1}, {"text", 4}, {"reward", 6}};
    rex_str raw[3];
    rex_jval *v, *again;
    rex_err e;
    const rex_status strict = rex_json_parse(a, text, "input", &v, &e);
    const rex_status fast = rex_jscan(text, want, 3, raw, &e);
    const rex_status loose = rex_json_parse_bytes(a, text, "input", &again, &e);
    if (strict == REX_OK) {
        rex_assert(loose == REX_OK && same(v, again));
        rex_assert(fast == REX_OK || v->kind != REX_J_OBJ);
        rex_buf b;
        rex_jw w;
        rex_buf_init(&b, 0);
        rex_jw_init(&w, &b);
        write(&w, v);
        rex_assert(rex_json_parse(a, (rex_str){b.p, b.n}, "again", &again, &e) == REX_OK);
        rex_assert(same(v, again));
        rex_buf_free(&b);
    }
    for (int i = 0; i < 3 && fast == REX_OK; i++) {
        double d;
        int64_t n;
        rex_str s = {NULL, 0};
        if (!raw[i].p) continue;
        rex_assert(raw[i].p >= text.p && raw[i].p + raw[i].n <= text.p + text.n);
        (void)!rex_jraw_f64(raw[i], &d, &e);
        (void)!rex_jraw_i64(raw[i], &n, &e);
        const bool text_ok = rex_jraw_str(a, raw[i], &s, &e) == REX_OK;
        const rex_str had = s;
        if (rex_jraw_bytes(a, raw[i], &s, &e) != REX_OK) rex_assert(!text_ok);
        else if (text_ok) rex_assert(rex_str_eq(s, had));
    }
    rex_arena_close(a);
    return 0;
}
