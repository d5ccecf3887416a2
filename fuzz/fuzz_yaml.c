/* SPDX-License-Identifier: MIT
 *
 * Any bytes as a recipe, and line by line as words of a command line. Whatever was accepted must
 * lie within the bounds of the list, and be told back as valid JSON.
 */
#include "../src/base/base.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define OPTS(X)                                                                              \
    X(BOOL, gate_all, "false", 0, 0, "", "a switch")                                         \
    X(I64, samples, "8", 1, 65536, "N", "n=a count")                                         \
    X(F64, temperature, "1", 0, 100, "X", "a number")                                        \
    X(ENUM, method, "grpo", 0, 0, "grpo|dr-grpo|rloo", "a choice")                           \
    X(STR, out, "", 0, 0, "FILE", "a text")                                                  \
    X(LIST, set, "", 0, 0, "K=V,...", "a list")
REX_OPT_STRUCT(opts, OPTS);
#define REX_OPT_TYPE opts
static const rex_opt list[] = {OPTS(REX_OPT_ROW)};
#define N (sizeof list / sizeof list[0])

static void check(const opts *o) {
    rex_assert(o->samples >= 1 && o->samples <= 65536);
    rex_assert(o->temperature >= 0 && o->temperature <= 100);
    rex_assert(o->method >= 0 && o->method <= 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    rex_arena *a;
    rex_err e;
    if (rex_arena_open((size_t)64 << 20, &a, NULL) != REX_OK) return 0;
    opts o;
    rex_opt_defaults(list, N, &o, sizeof o);
    const rex_str text = {(const char *)data, size};
    (void)!rex_opt_yaml_text(a, list, N, &o, text, "recipe", &e);
    check(&o);

    char *argv[64];
    int argc = 0, n_pos;
    rex_str copy;
    if (rex_str_copy(a, text, &copy, &e) == REX_OK) {
        char *p = rex_arena_zero(a, copy.n + 1, 1, &e);
        if (p) memcpy(p, copy.p, copy.n);
        for (char *const end = p ? p + copy.n : p; p && p < end && argc < 64;) {
            argv[argc++] = p;
            p += strcspn(p, "\n");
            *p++ = 0;
        }
        (void)!rex_opt_args(a, list, N, &o, argc, argv, &n_pos, &e);
        check(&o);
    }
    rex_buf b;
    rex_jw w;
    rex_jval *v;
    rex_buf_init(&b, 0);
    rex_jw_init(&w, &b);
    rex_opt_json(list, N, &o, &w);
    rex_assert(rex_json_parse(a, (rex_str){b.p, b.n}, "options", &v, &e) == REX_OK);
    rex_buf_free(&b);
    rex_arena_close(a);
    return 0;
}
