/* SPDX-License-Identifier: MIT
 *
 * task.c: the registry of tasks, problems from data or generators, verdicts on many claims.
 * Relies on the kinds for everything that a task knows. Invariants: problems of one call have
 * distinct ids; a generator's train and test sides never share an id (the side is a function of
 * the id alone); a verdict is a function of claim and options, whatever the number of workers.
 */
#include "tasks.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define X(n) &rex_task_kind_##n,
static const rex_task_kind *const all[] = { REX_TASKS(X) };
#undef X
enum { N_TASKS = sizeof all / sizeof *all };

const char *rex_verdict_name(rex_verdict v) {
    static const char *const names[] = {
#define X(n) #n,
        REX_VERDICTS(X)
#undef X
    };
    return (unsigned)v < REX_VERDICT_COUNT ? names[v] : "unknown";
}

size_t rex_task_count(void) { return N_TASKS; }

const rex_task_info *rex_task_at(size_t i) {
    rex_assert(i < N_TASKS);
    return &all[i]->info;
}

/* ---- opening ---- */

static const rex_opt opt_list[] = {
#define REX_OPT_TYPE rex_task_opts
    REX_TASK_OPTS(REX_OPT_ROW)
};

void rex_task_defaults(rex_task_opts *o) {
    /* the head of a generated struct is wider than `size` alone, so the defaults are read one by
     * one into ours */
    *o = (rex_task_opts){ .size = sizeof *o };
    for (size_t i = 0; i < sizeof opt_list / sizeof *opt_list; i++) {
        const rex_opt *p = &opt_list[i];
        void *at = (char *)o + p->offset;
        double v = 0;
        if (p->kind == REX_OPT_STR) continue; /* "" is NULL */
        if (p->kind == REX_OPT_ENUM) {
            const char *end = strchr(p->meta, '|');
            rex_assert(strncmp(p->meta, p->def, (size_t)(end - p->meta)) ==
                       0); /* the first choice */
            continue;
        }
        rex_assert(rex_num_parse(rex_str_of(p->def), &v));
        if (p->kind == REX_OPT_F64) memcpy(at, &v, sizeof v);
        const int64_t whole = (int64_t)v;
        if (p->kind == REX_OPT_I64) memcpy(at, &whole, sizeof whole);
    }
}

static rex_status find_kind(const char *name, const rex_task_kind **out, rex_err *e) {
    const char *names[N_TASKS];
    for (size_t i = 0; i < N_TASKS; i++) {
        names[i] = all[i]->info.name;
        if (name && strcmp(names[i], name) == 0) {
            *out = all[i];
            return REX_OK;
        }
    }
    const char *near = name ? rex_nearest(name, names, N_TASKS) : NULL;
    if (near)
        return rex_fail(e, REX_EARG, -1, "there is no task '%s'; did you mean '%s'?", name, near);
    return rex_fail(e, REX_EARG, -1,
                    "there is no task '%s'; 'repexp task list' shows what there is",
                    name ? name : "");
}

rex_status rex_task_open(const rex_task_opts *o, rex_task **out, rex_err *e) {
    *out = NULL;
    const rex_task_kind *kind = NULL;
    REX_TRY(find_kind(o->task, &kind, e));
    rex_task *t = rex_mem_take(1, sizeof *t, e);
    if (!t) return REX_ENOMEM;
    t->kind = kind;
    t->opt = *o;
    const rex_status s = kind->open ? kind->open(t, e) : REX_OK;
    if (s != REX_OK) {
        rex_task_close(t);
        return s;
    }
    *out = t;
    return REX_OK;
}

const rex_task_info *rex_task_what(const rex_task *t) { return &t->kind->info; }

void rex_task_close(rex_task *t) {
    if (!t) return;
    if (t->kind->close) t->kind->close(t);
    rex_mem_free(t);
}

/* ---- what the tasks share ---- */

rex_status rex_judge(rex_arena *a, rex_judged *out, rex_err *e, rex_verdict v, const char *fmt,
                     ...) {
    char text[320];
    va_list ap;
    va_start(ap, fmt);
    const int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
    /* a cut inside a character of several bytes is moved before it */
    if ((size_t)(n < 0 ? 0 : n) > len)
        while (len && ((unsigned char)text[len] & 0xc0) == 0x80) len--;
    out->verdict = v;
    return rex_str_copy(a, (rex_str){ text, len }, &out->reason, e);
}

rex_status rex_claim_text(rex_arena *a, rex_str json, rex_str *out, rex_err *e) {
    *out = (rex_str){ NULL, 0 };
    if (!json.p) return REX_OK;
    json = rex_trim(json);
    const rex_jkind k = rex_jraw_kind(json);
    if (k == REX_J_STR) return rex_jraw_str(a, json, out, e);
    if (k != REX_J_NULL) *out = json;
    return REX_OK;
}

static bool blank(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f';
}

rex_str rex_trim(rex_str s) {
    while (s.n && blank(s.p[0])) s = (rex_str){ s.p + 1, s.n - 1 };
    while (s.n && blank(s.p[s.n - 1])) s.n--;
    return s;
}

size_t rex_find_last(rex_str s, const char *what) {
    const size_t n = strlen(what);
    for (size_t i = s.n < n ? 0 : s.n - n + 1; i-- > 0;)
        if (memcmp(s.p + i, what, n) == 0) return i;
    return SIZE_MAX;
}

bool rex_last_box(rex_str s, bool open, rex_str *out) {
    const size_t at = rex_find_last(s, "\\boxed");
    if (at == SIZE_MAX) return false;
    const char *p = s.p + at + 6;
    const char *end = s.p + s.n;
    while (p < end && *p == ' ') p++;
    if (p == end) return false;
    if (*p != '{') { /* \boxed 5$ */
        if (p == s.p + at + 6) return false;
        const char *stop = memchr(p, '$', (size_t)(end - p));
        *out = (rex_str){ p, (size_t)((stop ? stop : end) - p) };
        return true;
    }
    int depth = 0;
    for (const char *q = p; q < end; q++) {
        depth += *q == '{' ? 1 : *q == '}' ? -1 : 0;
        if (depth == 0) {
            *out = (rex_str){ p + 1, (size_t)(q - p) - 1 };
            return true;
        }
    }
    *out = (rex_str){ p + 1, (size_t)(end - p) - 1 };
    return open;
}

rex_status rex_numbers_json(rex_arena *a, const int64_t *v, size_t n, int64_t target, rex_str *out,
                            rex_err *e) {
    char text[64 * 24];
    size_t k = (size_t)snprintf(text, sizeof text, "{\"numbers\": [");
    rex_assert(n <= 60);
    for (size_t i = 0; i < n; i++)
        k += (size_t)snprintf(text + k, sizeof text - k, "%s%lld", i ? ", " : "", (long long)v[i]);
    k += (size_t)snprintf(text + k, sizeof text - k, "], \"target\": %lld}", (long long)target);
    return rex_str_copy(a, (rex_str){ text, k }, out, e);
}

rex_status rex_read_numbers(rex_arena *a, rex_str problem, int64_t *v, size_t max, size_t *n,
                            int64_t *target, rex_err *e) {
    rex_jval *root;
    if (!problem.p)
        return rex_fail(e, REX_EFORMAT, -1,
                        "there is no problem {\"numbers\": ..., \"target\": ...}");
    REX_TRY(rex_json_parse(a, problem, "problem", &root, e));
    const rex_jval *nums = rex_json_get(root, "numbers");
    const rex_jval *goal = rex_json_get(root, "target");
    if (!nums || nums->kind != REX_J_ARR || nums->n == 0 || nums->n > max)
        return rex_fail(e, REX_EFORMAT, -1,
                        "the problem needs \"numbers\", a list of 1 to %zu integers", max);
    if (!goal) return rex_fail(e, REX_EFORMAT, -1, "the problem needs \"target\"");
    for (uint32_t i = 0; i < nums->n; i++) {
        REX_TRY(rex_json_i64(&nums->u.c.item[i], "a number of the problem", &v[i], e));
        if (v[i] < 0)
            return rex_fail(e, REX_EFORMAT, -1, "the problem has a negative number, %lld",
                            (long long)v[i]);
    }
    *n = nums->n;
    return rex_json_i64(goal, "the target of the problem", target, e);
}

/* ---- a draft becomes a prompt record ---- */

static void jw_text(rex_jw *w, const char *key, rex_str json) {
    if (!json.p) return;
    rex_jw_key(w, key);
    rex_jw_raw(w, json);
}

static rex_status finish_item(const rex_task *t, const rex_draft *d, rex_buf *b, rex_arena *a,
                              rex_item *out, rex_err *e) {
    const bool chat = t->opt.turn == 0 ? t->kind->chat : t->opt.turn == 1;
    rex_jw w;
    *out = (rex_item){ .id = d->id, .answer = d->answer, .problem = d->problem };
    out->prompt = d->prompt;
    if (!d->verbatim) {
        rex_buf_reset(b);
        rex_jw_init(&w, b);
        if (chat) {
            rex_jw_arr(&w);
            rex_jw_obj(&w);
            rex_jw_key(&w, "role");
            rex_jw_cstr(&w, "user");
            rex_jw_key(&w, "content");
        }
        rex_jw_str(&w, d->prompt);
        if (chat) {
            rex_jw_obj_end(&w);
            rex_jw_arr_end(&w);
        }
        REX_TRY(rex_buf_check(b, e));
        REX_TRY(rex_str_copy(a, (rex_str){ b->p, b->n }, &out->prompt, e));
    }
    if (d->response.p) {
        rex_buf_reset(b);
        rex_jw_init(&w, b);
        rex_jw_str(&w, d->response);
        REX_TRY(rex_buf_check(b, e));
        REX_TRY(rex_str_copy(a, (rex_str){ b->p, b->n }, &out->response, e));
    }
    rex_buf_reset(b);
    rex_jw_init(&w, b);
    rex_jw_obj(&w);
    rex_jw_key(&w, "prompt_id");
    rex_jw_str(&w, d->id);
    jw_text(&w, "prompt", out->prompt);
    jw_text(&w, "answer", out->answer);
    jw_text(&w, "problem", out->problem);
    jw_text(&w, "response", out->response);
    rex_jw_obj_end(&w);
    REX_TRY(rex_buf_check(b, e));
    return rex_str_copy(a, (rex_str){ b->p, b->n }, &out->line, e);
}

/* ---- problems from a generator ---- */

/* A set of 64-bit hashes; two problems of one hash count as one. */
typedef struct {
    uint64_t *slot; /* 0 is free */
    size_t n, mask;
} seen_set;

static rex_status seen_put(seen_set *s, uint64_t h, bool *fresh, rex_err *e) {
    if (2 * (s->n + 1) > s->mask) {
        const size_t room = s->mask ? 2 * (s->mask + 1) : 1024;
        seen_set big = { rex_mem_take(room, sizeof *big.slot, e), 0, room - 1 };
        if (!big.slot) return REX_ENOMEM;
        for (size_t i = 0; s->slot && i <= s->mask; i++)
            if (s->slot[i]) {
                size_t k = (size_t)s->slot[i] & big.mask;
                while (big.slot[k]) k = (k + 1) & big.mask;
                big.slot[k] = s->slot[i];
                big.n++;
            }
        rex_mem_free(s->slot);
        *s = big;
    }
    h = h ? h : 1;
    size_t k = (size_t)h & s->mask;
    while (s->slot[k] && s->slot[k] != h) k = (k + 1) & s->mask;
    *fresh = s->slot[k] == 0;
    if (*fresh) {
        s->slot[k] = h;
        s->n++;
    }
    return REX_OK;
}

typedef struct {
    rex_item *v;
    size_t n, room;
} item_list;

static rex_status item_add(item_list *l, const rex_item *x, rex_err *e) {
    if (l->n == l->room) {
        const size_t room = l->room ? 2 * l->room : 64;
        rex_item *v = rex_mem_take(room, sizeof *v, e);
        if (!v) return REX_ENOMEM;
        if (l->n) memcpy(v, l->v, l->n * sizeof *v);
        rex_mem_free(l->v);
        l->v = v;
        l->room = room;
    }
    l->v[l->n++] = *x;
    return REX_OK;
}

/* A draw is wanted if it is new (or may repeat) and falls on the right side. What it took is given
 * back if not. */
static rex_status try_draw(const rex_task *t, const rex_make_opts *o, uint64_t no, seen_set *seen,
                           rex_buf *b, rex_arena *a, item_list *list, bool *got, rex_err *e) {
    const rex_task_kind *k = t->kind;
    const rex_mark was = rex_arena_mark(a);
    const rex_key key = rex_key_fold(rex_key_make(o->seed), REX_STREAM_DATA);
    rex_split side = o->split;
    if (side == REX_SPLIT_AUTO) side = k->draws ? REX_SPLIT_ALL : REX_SPLIT_TEST;
    rex_draft d = { .verbatim = false };
    bool ok = false;
    REX_TRY(k->draw(t, key, no, o->solutions, a, &d, &ok, e));
    if (ok) {
        const uint64_t h = rex_hash64(d.id.p, d.id.n);
        const bool test = h % 16 == 0;
        ok = side == REX_SPLIT_ALL || test == (side == REX_SPLIT_TEST);
        if (ok && !o->repeats) REX_TRY(seen_put(seen, h, &ok, e));
    }
    *got = ok;
    if (!ok) {
        rex_arena_back(a, was);
        return REX_OK;
    }
    rex_item item;
    REX_TRY(finish_item(t, &d, b, a, &item, e));
    return item_add(list, &item, e);
}

static rex_status draw_all(const rex_task *t, const rex_make_opts *o, seen_set *seen, rex_buf *b,
                           rex_arena *a, item_list *list, rex_err *e) {
    const uint64_t end = t->kind->draws;
    const uint64_t patience = 100000;
    uint64_t missed = 0;
    for (uint64_t no = 0; end ? no < end : (int64_t)list->n < o->n; no++) {
        bool got = false;
        if (rex_cancelled()) return rex_fail(e, REX_ECANCEL, -1, "stopped while making problems");
        REX_TRY(try_draw(t, o, no, seen, b, a, list, &got, e));
        missed = got ? 0 : missed + 1;
        if (missed == patience && !end) break;
    }
    return REX_OK;
}

/* ---- problems from data ---- */

static const char *first_of(const rex_jval *row, const char *const *names, size_t n,
                            const rex_jval **out) {
    for (size_t i = 0; i < n; i++) {
        const rex_jval *v = rex_json_get(row, names[i]);
        if (v && v->kind != REX_J_NULL) {
            *out = v;
            return names[i];
        }
    }
    *out = NULL;
    return NULL;
}

/* The source of a member of the row, as it stands in the line. */
static rex_status source_of(rex_str line, const char *name, rex_str *out, rex_err *e) {
    const rex_str want = rex_str_of(name);
    return rex_jscan(line, &want, 1, out, e);
}

static rex_status read_row(const rex_task *t, rex_str line, int64_t no, const char *where,
                           bool solutions, rex_arena *a, rex_draft *d, rex_err *e) {
    static const char *const ids[] = { "prompt_id", "id", "unique_id" };
    static const char *const own[] = { "prompt", "messages" };
    static const char *const asked[] = { "question", "problem" };
    static const char *const golds[] = { "answer", "label" };
    rex_jval *row;
    const rex_jval *v;
    const char *name;
    REX_TRY(rex_json_parse(a, line, where, &row, e));
    if (row->kind != REX_J_OBJ)
        return rex_fail(e, REX_EFORMAT, row->at, "%s: expected an object, found %s", where,
                        rex_json_kind_name(row->kind));
    *d = (rex_draft){ .verbatim = false };
    name = first_of(row, ids, 3, &v);
    if (v && v->kind == REX_J_STR)
        d->id = v->u.s;
    else if (v && v->kind == REX_J_NUM)
        REX_TRY(source_of(line, name, &d->id, e));
    else
        REX_TRY(rex_str_fmt(a, &d->id, e, "%lld", (long long)no - 1));
    name = first_of(row, own, 2, &v);
    if (v) {
        d->verbatim = true;
        REX_TRY(source_of(line, name, &d->prompt, e));
    } else {
        (void)first_of(row, asked, 2, &v);
        if (v && v->kind == REX_J_STR) d->prompt = v->u.s;
    }
    v = rex_json_get(row, "problem");
    if (v && v->kind == REX_J_OBJ) REX_TRY(source_of(line, "problem", &d->problem, e));
    name = first_of(row, golds, 2, &v);
    if (v) REX_TRY(source_of(line, name, &d->answer, e));
    v = rex_json_get(row, "solution");
    if (solutions && v && v->kind == REX_J_STR) d->response = v->u.s;
    if (t->kind->row) REX_TRY(t->kind->row(t, row, where, solutions, a, d, e));
    if (!d->prompt.p)
        return rex_fail(e, REX_EFORMAT, -1, "%s: neither prompt, question nor %s", where,
                        t->kind->info.problem);
    if (solutions && !d->response.p)
        return rex_fail(e, REX_EFORMAT, -1, "%s: has no worked solution", where);
    return REX_OK;
}

static rex_status read_rows(const rex_task *t, const rex_make_opts *o, rex_lines *lines,
                            rex_arena *rows, seen_set *seen, rex_buf *b, rex_arena *a,
                            item_list *list, rex_err *e) {
    for (;;) {
        rex_str line;
        int64_t no;
        bool more;
        char where[300];
        rex_draft d;
        rex_item item;
        bool fresh;
        REX_TRY(rex_lines_next(lines, &line, &no, &more, e));
        if (!more) return REX_OK;
        if (rex_trim(line).n == 0) continue;
        snprintf(where, sizeof where, "%s: line %lld", t->opt.data, (long long)no);
        const rex_mark was = rex_arena_mark(rows);
        rex_str kept; /* the line may be gone when the next one is read */
        REX_TRY(rex_str_copy(rows, line, &kept, e));
        REX_TRY(read_row(t, kept, no, where, o->solutions, rows, &d, e));
        REX_TRY(seen_put(seen, rex_hash64(d.id.p, d.id.n), &fresh, e));
        if (!fresh)
            return rex_fail(e, REX_EFORMAT, no, "%s: prompt_id '%.*s' has been there before", where,
                            (int)(d.id.n > 80 ? 80 : d.id.n), d.id.p);
        REX_TRY(finish_item(t, &d, b, a, &item, e));
        REX_TRY(rex_str_copy(a, d.id, &item.id, e));
        if (d.answer.p) REX_TRY(rex_str_copy(a, d.answer, &item.answer, e));
        if (d.problem.p) REX_TRY(rex_str_copy(a, d.problem, &item.problem, e));
        if (d.verbatim) REX_TRY(rex_str_copy(a, d.prompt, &item.prompt, e));
        rex_arena_back(rows, was);
        REX_TRY(item_add(list, &item, e));
    }
}

static rex_status read_data(const rex_task *t, const rex_make_opts *o, seen_set *seen, rex_buf *b,
                            rex_arena *a, item_list *list, rex_err *e) {
    rex_lines *lines;
    rex_arena *rows;
    REX_TRY(rex_lines_open(t->opt.data, &lines, e));
    rex_status s = rex_arena_open(0, &rows, e);
    if (s == REX_OK) {
        s = read_rows(t, o, lines, rows, seen, b, a, list, e);
        rex_arena_close(rows);
    }
    rex_lines_close(lines);
    return s;
}

/* ---- making ---- */

void rex_make_defaults(rex_make_opts *o) { *o = (rex_make_opts){ .size = sizeof *o, .n = -1 }; }

/* n of the items, drawn by the seed, in their own order. */
static rex_status pick(const rex_make_opts *o, const item_list *l, rex_arena *a, rex_item **out,
                       size_t *n, rex_err *e) {
    const size_t want = o->n < 0 ? l->n : (size_t)o->n;
    *n = want;
    *out = rex_arena_take(a, want + 1, sizeof **out, e);
    if (!*out) return REX_ENOMEM;
    if (want == l->n) {
        if (want) memcpy(*out, l->v, want * sizeof **out);
        return REX_OK;
    }
    uint32_t *order = rex_mem_take(l->n + 1, sizeof *order, e);
    uint8_t *in = rex_mem_take(l->n + 1, 1, e);
    if (order && in) {
        rex_rand_perm(rex_key_make(o->seed), REX_STREAM_DATA, 0, order, l->n);
        for (size_t i = 0; i < want; i++) in[order[i]] = 1;
        size_t k = 0;
        for (size_t i = 0; i < l->n; i++)
            if (in[i]) (*out)[k++] = l->v[i];
    }
    const rex_status s = order && in ? REX_OK : REX_ENOMEM;
    rex_mem_free(order);
    rex_mem_free(in);
    return s;
}

rex_status rex_task_make(const rex_task *t, const rex_make_opts *o, rex_arena *a, rex_item **out,
                         size_t *n, rex_err *e) {
    const char *name = t->kind->info.name;
    *out = NULL;
    *n = 0;
    if (!t->opt.data && !t->kind->draw)
        return rex_fail(e, REX_EARG, -1, "task %s makes no problems of its own: give --data FILE",
                        name);
    if (!t->opt.data && o->n < 0 && !t->kind->draws)
        return rex_fail(e, REX_EARG, -1, "task %s has no end of problems: say how many", name);
    item_list list = { NULL, 0, 0 };
    seen_set seen = { NULL, 0, 0 };
    rex_buf b;
    rex_buf_init(&b, 0);
    rex_status s = t->opt.data ? read_data(t, o, &seen, &b, a, &list, e)
                               : draw_all(t, o, &seen, &b, a, &list, e);
    if (s == REX_OK && o->n >= 0 && list.n < (size_t)o->n)
        s = rex_fail(e, REX_ELIMIT, -1, "task %s: %lld problems were asked for, %s %zu", name,
                     (long long)o->n,
                     t->opt.data ? "the data has" : "the generator with these options found",
                     list.n);
    if (s == REX_OK) s = pick(o, &list, a, out, n, e);
    rex_buf_free(&b);
    rex_mem_free(list.v);
    rex_mem_free(seen.slot);
    return s;
}

/* ---- verdicts ---- */

enum { CHUNK = 64, ROUND = 64 * CHUNK, WINDOW = 100 };

typedef struct {
    const rex_task *t;
    const rex_claim *c;
    rex_judged *out;
    size_t n;
    rex_arena **arena;  /* one per chunk: strings of its verdicts */
    rex_status *status; /* one per chunk */
    rex_err *err;
} round_job;

static void judge_chunk(void *ud, size_t item, int worker) {
    const round_job *r = ud;
    (void)worker;
    const size_t from = item * CHUNK;
    const size_t to = from + CHUNK < r->n ? from + CHUNK : r->n;
    rex_status s = REX_OK;
    for (size_t i = from; i < to && s == REX_OK; i++) {
        r->out[i] = (rex_judged){ .verdict = REX_VERDICT_broken };
        s = r->t->kind->verify(r->t, &r->c[i], r->arena[item], &r->out[i], &r->err[item]);
    }
    r->status[item] = s;
}

static double reward_of(rex_verdict v) {
    return v == REX_VERDICT_broken ? (double)NAN : v == REX_VERDICT_correct ? 1.0 : 0.0;
}

/* Workers write strings into the arenas of their chunks; here they move, in order, to the
 * caller's. */
static rex_status gather(round_job *r, size_t chunks, rex_arena *a, rex_err *e) {
    for (size_t k = 0; k < chunks; k++)
        if (r->status[k] != REX_OK) {
            if (e) *e = r->err[k];
            return r->status[k];
        }
    for (size_t i = 0; i < r->n; i++) {
        rex_judged *o = &r->out[i];
        o->reward = reward_of(o->verdict);
        if (o->extracted.p) REX_TRY(rex_str_copy(a, o->extracted, &o->extracted, e));
        REX_TRY(rex_str_copy(a, o->reason, &o->reason, e));
    }
    return REX_OK;
}

static rex_status judge_round(const rex_task *t, rex_pool *p, const rex_claim *c, size_t n,
                              rex_arena *a, rex_judged *out, rex_err *e) {
    rex_arena *arena[ROUND / CHUNK] = { NULL };
    rex_status status[ROUND / CHUNK] = { REX_OK };
    rex_err *err = rex_mem_take(ROUND / CHUNK, sizeof *err, e);
    if (!err) return REX_ENOMEM;
    round_job r = { t, c, out, n, arena, status, err };
    const size_t chunks = (n + CHUNK - 1) / CHUNK;
    rex_status s = REX_OK;
    for (size_t k = 0; k < chunks && s == REX_OK; k++) s = rex_arena_open(0, &arena[k], e);
    if (s == REX_OK) {
        rex_pool_run(p, chunks, judge_chunk, &r);
        s = gather(&r, chunks, a, e);
    }
    for (size_t k = 0; k < chunks; k++) rex_arena_close(arena[k]);
    rex_mem_free(err);
    return s;
}

/* A run whose mix of verdicts jumps (unparsed from 5 % to 95 %, say) has most likely lost its
 * format, not its ability: said once. Shares of a window are compared with all before it. */
static void watch(rex_task *t, const rex_judged *j, size_t n) {
    for (size_t i = 0; i < n; i++) {
        t->recent[j[i].verdict]++;
        if (++t->n_recent < WINDOW) continue;
        for (int v = 0; v < REX_VERDICT_COUNT && t->n_seen && !t->warned; v++) {
            const double was = (double)t->seen[v] / (double)t->n_seen;
            const double now = (double)t->recent[v] / (double)t->n_recent;
            if (v == REX_VERDICT_correct || fabs(now - was) <= 0.5) continue;
            rex_say(REX_LOG_WARN,
                    "task %s: '%s' went from %.0f %% of the verdicts to %.0f %% of the last %d",
                    t->kind->info.name, rex_verdict_name((rex_verdict)v), 100 * was, 100 * now,
                    WINDOW);
            t->warned = true;
        }
        for (int v = 0; v < REX_VERDICT_COUNT; v++) {
            t->seen[v] += t->recent[v];
            t->recent[v] = 0;
        }
        t->n_seen += t->n_recent;
        t->n_recent = 0;
    }
}

rex_status rex_task_verify(rex_task *t, rex_pool *p, const rex_claim *c, size_t n, rex_arena *a,
                           rex_judged *out, rex_err *e) {
    if (t->kind->verify_all) {
        REX_TRY(t->kind->verify_all(t, c, n, a, out, e));
    } else {
        for (size_t i = 0; i < n; i += ROUND) {
            const size_t m = n - i < ROUND ? n - i : ROUND;
            REX_TRY(judge_round(t, p, c + i, m, a, out + i, e));
            if (t->told) REX_TRY(t->told(t->told_ud, i, m, out + i, e));
        }
    }
    watch(t, out, n);
    return REX_OK;
}
