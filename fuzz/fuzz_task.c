/* SPDX-License-Identifier: MIT
 *
 * Verifiers of tasks: the first byte picks the task, the first line is the gold (JSON), the rest is
 * the response. Any bytes give a verdict with a reason, the same one twice.
 */
#include "../src/tasks/tasks.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *task;
    int grader, format, use;
} setup;

static const setup setups[] = {
    { "gsm8k", 1, 0, 0 },  { "math", 1, 0, 0 },       { "aime", 1, 0, 0 },
    { "game24", 0, 0, 0 }, { "countdown", 0, 1, 0 },  { "countdown", 0, 2, 1 },
    { "maze", 0, 0, 0 },   { "arithmetic", 0, 0, 0 }, { "exact", 0, 0, 0 },
    { "regex", 0, 0, 0 },
};
enum { N = sizeof setups / sizeof *setups };

static rex_task *task_at(size_t i) {
    static rex_task *open[N];
    if (!open[i]) {
        rex_task_opts o;
        rex_task_defaults(&o);
        o.task = setups[i].task;
        o.grader = setups[i].grader;
        o.format = setups[i].format;
        o.use = setups[i].use;
        o.pattern = "(\\w+)\\s*=\\s*(?:[^,]|,(?!,))*?;";
        if (rex_task_open(&o, &open[i], NULL) != REX_OK) abort();
    }
    return open[i];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    const uint8_t *p = data + 1;
    const uint8_t *line = memchr(p, '\n', size - 1);
    const size_t n = line ? (size_t)(line - p) : 0;
    const rex_str gold = { (const char *)p, n };
    const rex_str response = { (const char *)p + n + (line != NULL),
                               size - 1 - n - (line != NULL) };
    rex_arena *a;
    rex_jval *v;
    if (rex_arena_open(0, &a, NULL) != REX_OK) return 0;
    rex_claim c[2] = { { .response = response } };
    if (rex_json_parse(a, gold, "gold", &v, NULL) == REX_OK) c[0].answer = c[0].problem = gold;
    c[1] = c[0];
    rex_judged j[2];
    if (rex_task_verify(task_at(data[0] % N), NULL, c, 2, a, j, NULL) != REX_OK) abort();
    if (j[0].verdict != j[1].verdict || !rex_str_eq(j[0].reason, j[1].reason) || !j[0].reason.n)
        abort();
    rex_arena_close(a);
    return 0;
}
