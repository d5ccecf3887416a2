/* SPDX-License-Identifier: MIT
 *
 * task: what tasks there are, problems from them, verdicts on responses with a reason, and where
 * the two graders of mathematical answers disagree. Records go in and out line by line.
 */
#include "cli_run.h"

#include <stdio.h>
#include <string.h>

enum { BATCH = 4096 };

#define TASK_OPT(X)                                                                                \
    REX_CLI_COMMON(X)                                                                              \
    X(STR, task, "", 0, 0, "T", "t=the task; 'repexp task list' names them")

/* ---- task list ---- */

REX_OPT_STRUCT(list_opts, REX_CLI_COMMON);
#define REX_OPT_TYPE list_opts
static const rex_opt list_table[] = { REX_CLI_COMMON(REX_OPT_ROW) };
#undef REX_OPT_TYPE

static void list_json(const rex_task_info *t, rex_buf *b) {
    rex_jw w;
    rex_jw_init(&w, b);
    rex_jw_obj(&w);
    rex_jw_key(&w, "task");
    rex_jw_cstr(&w, t->name);
    rex_jw_key(&w, "help");
    rex_jw_cstr(&w, t->help);
    rex_jw_key(&w, "problem");
    rex_jw_cstr(&w, t->problem);
    rex_jw_key(&w, "makes");
    rex_jw_bool(&w, t->makes);
    rex_jw_key(&w, "by_answer");
    rex_jw_bool(&w, t->by_answer);
    rex_jw_obj_end(&w);
    rex_buf_add(b, "\n", 1);
}

static rex_status run_list(const void *opts, int n_pos, char **pos, rex_err *e) {
    const list_opts *o = opts;
    if (n_pos > 0) return rex_fail(e, REX_EARG, -1, "task list: '%s' is no option", pos[0]);
    rex_buf b;
    rex_buf_init(&b, 0);
    if (!o->json)
        rex_buf_addf(&b, "%-12s %-10s %-18s %s\n", "task", "problems", "fields of --data",
                     "what it is");
    for (size_t i = 0; i < rex_task_count(); i++) {
        const rex_task_info *t = rex_task_at(i);
        if (o->json)
            list_json(t, &b);
        else
            rex_buf_addf(&b, "%-12s %-10s %-18s %s\n", t->name, t->makes ? "makes" : "--data",
                         t->problem, t->help);
    }
    const rex_status s = rex_cli_print(&b, e);
    rex_buf_free(&b);
    return s;
}

const rex_cmd rex_cmd_task_list = {
    .name = "task list",
    .summary = "the tasks that there are",
    .usage = "[--json]",
    .text = "One task a line: whether it makes problems of its own or needs --data, and the fields "
            "that a row of "
            "--data has. by_answer (in the JSON) says that the verdict depends on the extracted "
            "answer alone, so "
            "that one call of the verifier serves all samples with that answer.",
    .opt = list_table,
    .n_opt = sizeof list_table / sizeof *list_table,
    .opt_bytes = sizeof(list_opts),
    .run = run_list,
};

/* ---- task make ---- */

#define MAKE_OPTS(X)                                                                               \
    TASK_OPT(X)                                                                                    \
    X(I64, n, "0", 0, 100000000, "N", "n=how many problems; 0 is all there are")                   \
    X(ENUM, split, "auto", 0, 0, "auto|train|test|all", "the side of a generator's problems")      \
    X(BOOL, solutions, "false", 0, 0, "", "with a worked solution in 'response'")                  \
    X(BOOL, repeats, "false", 0, 0, "", "a generator's draws as they come, repeated ones too")     \
    REX_TASK_OPTS(X)

REX_OPT_STRUCT(make_opts, MAKE_OPTS);
#define REX_OPT_TYPE make_opts
static const rex_opt make_table[] = { MAKE_OPTS(REX_OPT_ROW) };
enum { N_MAKE = sizeof make_table / sizeof *make_table };
#undef REX_OPT_TYPE

static rex_status make_items(const rex_task *t, const make_opts *o, rex_arena *a, rex_buf *b,
                             rex_err *e) {
    rex_make_opts m;
    rex_item *item;
    size_t n;
    rex_make_defaults(&m);
    m.n = o->n ? o->n : -1;
    m.split = (rex_split)o->split;
    m.seed = (uint64_t)o->seed;
    m.solutions = o->solutions;
    m.repeats = o->repeats;
    REX_TRY(rex_task_make(t, &m, a, &item, &n, e));
    for (size_t i = 0; i < n; i++) {
        rex_buf_add(b, item[i].line.p, item[i].line.n);
        rex_buf_add(b, "\n", 1);
        if (b->n < 1 << 20) continue;
        REX_TRY(rex_cli_print(b, e));
        rex_buf_reset(b);
    }
    return rex_cli_print(b, e);
}

static rex_status run_make(const void *opts, int n_pos, char **pos, rex_err *e) {
    const make_opts *o = opts;
    rex_task *task = NULL;
    rex_arena *a = NULL;
    rex_buf b;
    if (n_pos > 0) return rex_fail(e, REX_EARG, -1, "task make: '%s' is no option", pos[0]);
    if (!o->task) return rex_fail(e, REX_EARG, -1, "task make needs --task T");
    rex_buf_init(&b, 0);
    rex_status s = rex_cli_task_open(o->task, make_table, N_MAKE, o, &task, e);
    if (s == REX_OK) s = rex_arena_open(0, &a, e);
    if (s == REX_OK) s = make_items(task, o, a, &b, e);
    rex_buf_free(&b);
    rex_arena_close(a);
    rex_task_close(task);
    return s;
}

const rex_cmd rex_cmd_task_make = {
    .name = "task make",
    .summary = "problems of a task, as prompt records",
    .usage = "--task T [-n N] [--data FILE] [--split train|test] [--solutions]",
    .text = "Prints prompt records, one a line, for 'repexp generate' and 'repexp sft'. With "
            "--data the rows of the "
            "file become prompts (N of them drawn by the seed, in the order of the file): a row's "
            "own prompt is "
            "kept, a question gets the task's instruction. Without --data the task makes problems: "
            "distinct, named "
            "by the seed, and split by a hash of the problem, so that train and test never meet. "
            "--repeats keeps "
            "problems that are drawn again (as often as they come, with other solutions): for "
            "training, where how often counts.",
    .opt = make_table,
    .n_opt = N_MAKE,
    .opt_bytes = sizeof(make_opts),
    .run = run_make,
};

/* ---- records in, claims out ---- */

/* A batch of records as claims; strings live in the arena. */
typedef struct {
    rex_arena *a;
    rex_lines *lines;
    const char *path, *map;
    rex_sample *rec;
    rex_claim *claim;
    rex_judged *got;
    size_t n;
    bool more;
} batch;

static void batch_close(batch *x) {
    rex_lines_close(x->lines);
    rex_arena_close(x->a);
    rex_mem_free(x->rec);
    rex_mem_free(x->claim);
    rex_mem_free(x->got);
}

static rex_status batch_open(batch *x, const char *path, const char *map, rex_err *e) {
    *x = (batch){ .path = path, .map = map, .more = true };
    x->rec = rex_mem_take(BATCH, sizeof *x->rec, e);
    x->claim = rex_mem_take(BATCH, sizeof *x->claim, e);
    x->got = rex_mem_take(BATCH, sizeof *x->got, e);
    if (!x->rec || !x->claim || !x->got) return REX_ENOMEM;
    REX_TRY(rex_arena_open(0, &x->a, e));
    return rex_lines_open(path, &x->lines, e);
}

static rex_status batch_read(batch *x, rex_err *e) {
    static const char *const top[] = { "prompt", "problem" };
    x->n = 0;
    while (x->n < BATCH) {
        rex_str line;
        rex_str kept;
        int64_t no;
        REX_TRY(rex_lines_next(x->lines, &line, &no, &x->more, e));
        if (!x->more) break;
        REX_TRY(rex_str_copy(x->a, line, &kept, e));
        rex_sample *r = &x->rec[x->n];
        rex_claim *c = &x->claim[x->n];
        rex_status s = rex_sample_parse(x->a, kept, no, x->map, r, e);
        if (s != REX_OK) return rex_fail_in(e, s, "%s", x->path);
        const rex_str want[] = { rex_str_of(top[0]), rex_str_of(top[1]) };
        rex_str raw[2];
        REX_TRY(rex_jscan(kept, want, 2, raw, e));
        *c = (rex_claim){
            .prompt = raw[0], .answer = r->answer, .problem = r->problem, .finish = r->finish
        };
        c->response = r->has & REX_F(RESPONSE) ? r->response : r->text;
        if (!(r->has & (REX_F(RESPONSE) | REX_F(TEXT))))
            return rex_fail(e, REX_EFORMAT, no, "%s: line %lld: neither response nor text", x->path,
                            (long long)no);
        x->n++;
    }
    return REX_OK;
}

/* ---- task verify ---- */

#define VERIFY_OPTS(X)                                                                             \
    TASK_OPT(X)                                                                                    \
    X(STR, map, "", 0, 0, "MAP", "field=their.field,... for other programs' records")              \
    X(BOOL, records, "false", 0, 0, "", "print the records themselves, with their verdicts")       \
    REX_TASK_OPTS(X)

REX_OPT_STRUCT(verify_opts, VERIFY_OPTS);
#define REX_OPT_TYPE verify_opts
static const rex_opt verify_table[] = { VERIFY_OPTS(REX_OPT_ROW) };
enum { N_VERIFY = sizeof verify_table / sizeof *verify_table };
#undef REX_OPT_TYPE

static void put_extracted(rex_jw *w, rex_str s) {
    rex_jw_key(w, "extracted");
    if (s.p)
        rex_jw_str(w, s);
    else
        rex_jw_null(w);
}

static void put_verdict(const rex_judged *j, rex_buf *b) {
    rex_jw w;
    rex_jw_init(&w, b);
    rex_jw_obj(&w);
    rex_jw_key(&w, "verdict");
    rex_jw_cstr(&w, rex_verdict_name(j->verdict));
    rex_jw_key(&w, "reward");
    if (j->verdict == REX_VERDICT_broken)
        rex_jw_null(&w);
    else
        rex_jw_f64(&w, j->reward);
    put_extracted(&w, j->extracted);
    rex_jw_key(&w, "reason");
    rex_jw_str(&w, j->reason);
    rex_jw_obj_end(&w);
    rex_buf_add(b, "\n", 1);
}

static rex_status put_record(batch *x, size_t i, rex_buf *b, rex_err *e) {
    rex_sample *r = &x->rec[i];
    const rex_judged *j = &x->got[i];
    rex_str line;
    r->has |= REX_F(VERDICT) | REX_F(REASON) | REX_F(REWARD);
    r->verdict = rex_str_of(rex_verdict_name(j->verdict));
    r->reason = j->reason;
    r->reward = j->reward;
    r->has = j->extracted.p ? r->has | REX_F(EXTRACTED) : r->has & ~REX_F(EXTRACTED);
    r->extracted = j->extracted;
    REX_TRY(rex_sample_line(x->a, r, &line, e));
    rex_buf_add(b, line.p, line.n);
    return REX_OK;
}

static rex_status verify_batches(const verify_opts *o, batch *x, rex_task *t, rex_pool *p,
                                 rex_buf *b, uint64_t *counts, rex_err *e) {
    while (x->more) {
        const rex_mark was = rex_arena_mark(x->a);
        REX_TRY(batch_read(x, e));
        REX_TRY(rex_task_verify(t, p, x->claim, x->n, x->a, x->got, e));
        for (size_t i = 0; i < x->n; i++) {
            const rex_judged *j = &x->got[i];
            counts[j->verdict]++;
            if (o->records)
                REX_TRY(put_record(x, i, b, e));
            else if (o->json)
                put_verdict(j, b);
            else
                rex_buf_addf(b, "%-10s %-24.*s %.*s\n", rex_verdict_name(j->verdict),
                             (int)j->extracted.n, j->extracted.p ? j->extracted.p : "",
                             (int)j->reason.n, j->reason.p);
        }
        REX_TRY(rex_cli_print(b, e));
        rex_buf_reset(b);
        rex_arena_back(x->a, was);
    }
    return REX_OK;
}

static void tell_counts(const uint64_t *counts) {
    char text[400];
    uint64_t n = 0;
    size_t k = 0;
    for (int v = 0; v < REX_VERDICT_COUNT; v++) n += counts[v];
    for (int v = 0; v < REX_VERDICT_COUNT && k < sizeof text; v++)
        if (counts[v])
            k += (size_t)snprintf(text + k, sizeof text - k, "%s%llu %s", k ? ", " : "",
                                  (unsigned long long)counts[v], rex_verdict_name((rex_verdict)v));
    if (n)
        rex_cli_note("%llu responses: %s", (unsigned long long)n, text);
    else
        rex_cli_note("no responses");
}

static rex_status run_verify(const void *opts, int n_pos, char **pos, rex_err *e) {
    const verify_opts *o = opts;
    rex_task *task = NULL;
    rex_pool *pool = NULL;
    batch x = { .more = false };
    uint64_t counts[REX_VERDICT_COUNT] = { 0 };
    rex_buf b;
    if (n_pos > 1)
        return rex_fail(e, REX_EARG, -1, "task verify: one file at a time, not also '%s'", pos[1]);
    if (!o->task) return rex_fail(e, REX_EARG, -1, "task verify needs --task T");
    rex_buf_init(&b, 0);
    rex_status s = rex_cli_task_open(o->task, verify_table, N_VERIFY, o, &task, e);
    if (s == REX_OK) s = rex_pool_open((int)o->threads, &pool, e);
    if (s == REX_OK) s = batch_open(&x, n_pos ? pos[0] : "-", o->map, e);
    if (s == REX_OK) s = verify_batches(o, &x, task, pool, &b, counts, e);
    if (s == REX_OK) tell_counts(counts);
    rex_buf_free(&b);
    batch_close(&x);
    rex_pool_close(pool);
    rex_task_close(task);
    return s;
}

const rex_cmd rex_cmd_task_verify = {
    .name = "task verify",
    .summary = "verdicts on responses, with the answer found and a reason",
    .usage = "--task T [FILE] [--grader strict|paper] [options]",
    .text = "Reads records, one a line, from FILE or standard input: the gold in 'answer' or "
            "'problem', the response "
            "in 'response' or 'text', and 'finish' if there is one. Prints in the same order the "
            "verdict (correct, "
            "wrong, unparsed, ambiguous, timeout, crash, blocked, or broken: the verifier itself "
            "failed), the reward "
            "(1, 0, or null for broken), what was extracted, and why.",
    .opt = verify_table,
    .n_opt = N_VERIFY,
    .opt_bytes = sizeof(verify_opts),
    .run = run_verify,
};

/* ---- task audit ---- */

#define AUDIT_OPTS(X)                                                                              \
    REX_CLI_COMMON(X)                                                                              \
    X(STR, task, "math", 0, 0, "T", "t=gsm8k, math or aime")                                       \
    X(STR, data, "", 0, 0, "FILE", "sample records with answer and text or response; - is stdin")  \
    X(STR, map, "", 0, 0, "MAP", "field=their.field,... for other programs' records")

REX_OPT_STRUCT(audit_opts, AUDIT_OPTS);
#define REX_OPT_TYPE audit_opts
static const rex_opt audit_table[] = { AUDIT_OPTS(REX_OPT_ROW) };
#undef REX_OPT_TYPE

typedef struct {
    rex_task *task[2]; /* strict, paper */
    rex_judged *second;
    uint64_t table[REX_VERDICT_COUNT][REX_VERDICT_COUNT];
    uint64_t n, apart;
} audit;

static void put_side(rex_jw *w, const char *name, const rex_judged *j) {
    rex_jw_key(w, name);
    rex_jw_obj(w);
    rex_jw_key(w, "verdict");
    rex_jw_cstr(w, rex_verdict_name(j->verdict));
    put_extracted(w, j->extracted);
    rex_jw_key(w, "reason");
    rex_jw_str(w, j->reason);
    rex_jw_obj_end(w);
}

static void put_apart(const rex_sample *r, const rex_judged *strict, const rex_judged *paper,
                      bool json, rex_buf *b) {
    if (!json) {
        rex_buf_addf(b, "line %lld (%.*s): gold %.*s\n  strict %-10s %.*s\n  paper  %-10s %.*s\n",
                     (long long)r->no, (int)r->prompt_id.n, r->prompt_id.p, (int)r->answer.n,
                     r->answer.p ? r->answer.p : "", rex_verdict_name(strict->verdict),
                     (int)strict->reason.n, strict->reason.p, rex_verdict_name(paper->verdict),
                     (int)paper->reason.n, paper->reason.p);
        return;
    }
    rex_jw w;
    rex_jw_init(&w, b);
    rex_jw_obj(&w);
    rex_jw_key(&w, "line");
    rex_jw_i64(&w, r->no);
    rex_jw_key(&w, "prompt_id");
    rex_jw_str(&w, r->prompt_id);
    if (r->has & REX_F(SAMPLE)) {
        rex_jw_key(&w, "sample");
        rex_jw_i64(&w, r->sample);
    }
    rex_jw_key(&w, "answer");
    if (r->answer.p)
        rex_jw_raw(&w, r->answer);
    else
        rex_jw_null(&w);
    put_side(&w, "strict", strict);
    put_side(&w, "paper", paper);
    rex_jw_obj_end(&w);
    rex_buf_add(b, "\n", 1);
}

static rex_status audit_batches(const audit_opts *o, audit *u, batch *x, rex_pool *p, rex_buf *b,
                                rex_err *e) {
    while (x->more) {
        const rex_mark was = rex_arena_mark(x->a);
        REX_TRY(batch_read(x, e));
        REX_TRY(rex_task_verify(u->task[0], p, x->claim, x->n, x->a, x->got, e));
        REX_TRY(rex_task_verify(u->task[1], p, x->claim, x->n, x->a, u->second, e));
        for (size_t i = 0; i < x->n; i++) {
            const rex_judged *strict = &x->got[i];
            const rex_judged *paper = &u->second[i];
            u->n++;
            u->table[strict->verdict][paper->verdict]++;
            if ((strict->verdict == REX_VERDICT_correct) == (paper->verdict == REX_VERDICT_correct))
                continue;
            u->apart++;
            put_apart(&x->rec[i], strict, paper, o->json, b);
        }
        REX_TRY(rex_cli_print(b, e));
        rex_buf_reset(b);
        rex_arena_back(x->a, was);
    }
    return REX_OK;
}

static void tell_audit(const audit *u) {
    for (int s = 0; s < REX_VERDICT_COUNT; s++)
        for (int p = 0; p < REX_VERDICT_COUNT; p++)
            if (u->table[s][p])
                rex_cli_note("strict %-10s paper %-10s %llu", rex_verdict_name((rex_verdict)s),
                             rex_verdict_name((rex_verdict)p), (unsigned long long)u->table[s][p]);
    rex_cli_note("%llu responses, the graders disagree on %llu", (unsigned long long)u->n,
                 (unsigned long long)u->apart);
}

static rex_status run_audit(const void *opts, int n_pos, char **pos, rex_err *e) {
    const audit_opts *o = opts;
    audit u = { .n = 0 };
    rex_pool *pool = NULL;
    batch x = { .more = false };
    rex_buf b;
    if (n_pos > 0) return rex_fail(e, REX_EARG, -1, "task audit: '%s' is no option", pos[0]);
    if (!o->data) return rex_fail(e, REX_EARG, -1, "task audit needs --data FILE");
    if (strcmp(o->task, "gsm8k") != 0 && strcmp(o->task, "math") != 0 &&
        strcmp(o->task, "aime") != 0)
        return rex_fail(e, REX_EARG, -1,
                        "task audit: '%s' has one grader only; gsm8k, math and aime have two",
                        o->task);
    rex_buf_init(&b, 0);
    rex_status s = rex_pool_open((int)o->threads, &pool, e);
    for (int g = 0; g < 2 && s == REX_OK; g++) {
        rex_task_opts t;
        rex_task_defaults(&t);
        t.task = o->task;
        t.grader = g;
        s = rex_task_open(&t, &u.task[g], e);
    }
    if (s == REX_OK) {
        u.second = rex_mem_take(BATCH, sizeof *u.second, e);
        s = u.second ? batch_open(&x, o->data, o->map, e) : REX_ENOMEM;
    }
    if (s == REX_OK) s = audit_batches(o, &u, &x, pool, &b, e);
    if (s == REX_OK) tell_audit(&u);
    rex_buf_free(&b);
    batch_close(&x);
    rex_mem_free(u.second);
    rex_task_close(u.task[0]);
    rex_task_close(u.task[1]);
    rex_pool_close(pool);
    return s;
}

const rex_cmd rex_cmd_task_audit = {
    .name = "task audit",
    .summary = "where the strict grader and the paper's disagree",
    .usage = "--task gsm8k|math|aime --data POOL [--json]",
    .text = "Grades every record twice and prints those that only one of the two graders calls "
            "correct, with both "
            "reasons; then, on standard error, how often each pair of verdicts occurred.",
    .opt = audit_table,
    .n_opt = sizeof audit_table / sizeof *audit_table,
    .opt_bytes = sizeof(audit_opts),
    .run = run_audit,
};
