/* SPDX-License-Identifier: MIT
 *
 * data.c: records of supervised training to token ids with their targets. A prompt and its response
 * are tokenised apart, as they are when sampling; the end token belongs to the response. Of a chat
 * the assistant's turns are targets, from behind the opening of the turn to its end token.
 */
#include "sft.h"

#include <string.h>

typedef struct {
    const rex_docs_opts *o;
    const char *path;
    int64_t line;
    rex_arena *a;       /* of one record */
    rex_buf id, loss;   /* int32 and bytes of all documents */
    rex_buf first;      /* int64 */
    size_t start;       /* tokens before this document */
    int64_t too_long, left_out, lost, targets, longest;
} reader;

static rex_status wrong(const reader *r, rex_err *e, const char *what) {
    return rex_fail(e, REX_EFORMAT, r->line, "%s, line %lld: %s", r->path, (long long)r->line,
                    what);
}

/* `map` is made of NAME=path and names members that there are. */
static rex_status check_map(const char *map, rex_err *e) {
    static const char *const names[] = { "messages", "prompt",     "response",
                                         "text",     "prompt_ids", "ids" };
    enum { N = sizeof names / sizeof *names };
    for (const char *p = map; p && *p; p += *p == ',') {
        char name[64];
        const size_t len = strcspn(p, ","), n = strcspn(p, "=,");
        if (n == 0 || n + 1 >= len || n >= sizeof name)
            return rex_fail(e, REX_EARG, -1, "--map: expected field=their.field, found '%.*s'",
                            (int)(len < 100 ? len : 100), p);
        memcpy(name, p, n);
        name[n] = 0;
        size_t i = 0;
        while (i < N && strcmp(names[i], name) != 0) i++;
        if (i == N) {
            const char *const near = rex_nearest(name, names, N);
            return rex_fail(e, REX_EARG, -1, "--map: no field of a document is called '%s'%s%s",
                            name, near ? "; did you mean " : "", near ? near : "");
        }
        p += len;
    }
    return REX_OK;
}

/* A member by our name for it: `map` ("prompt=their.field,...") may say where it is instead. */
static const rex_jval *member(const rex_jval *v, const char *map, const char *name) {
    const size_t n = strlen(name);
    for (const char *p = map; p && *p;) {
        const char *const end = p + strcspn(p, ",");
        if ((size_t)(end - p) > n && memcmp(p, name, n) == 0 && p[n] == '=') {
            for (const char *step = p + n + 1; v && step < end;) {
                const size_t len = strcspn(step, ".,");
                const rex_jval *next = NULL;
                for (uint32_t i = 0; v->kind == REX_J_OBJ && i < v->n; i++)
                    if (rex_str_eq(v->u.c.key[i], (rex_str){ step, len })) next = &v->u.c.item[i];
                v = next;
                step += len + (step + len < end ? 1 : 0);
            }
            return v;
        }
        p = *end ? end + 1 : end;
    }
    return rex_json_get(v, name);
}

static void put(reader *r, const int32_t *id, size_t n, bool target) {
    rex_buf_add(&r->id, id, n * sizeof *id);
    const char c = target ? 1 : 0;
    for (size_t i = 0; i < n; i++) rex_buf_add(&r->loss, &c, 1);
}

static rex_status put_text(reader *r, rex_str text, uint32_t flags, bool target, rex_err *e) {
    rex_ids ids;
    size_t lost = 0;
    if (!r->o->tok) return wrong(r, e, "text, but there is no tokenizer");
    REX_TRY(rex_tok_encode(r->o->tok, text, flags, r->a, &ids, &lost, e));
    r->lost += (int64_t)lost;
    put(r, ids.v, ids.n, target);
    return REX_OK;
}

static rex_status put_ids(reader *r, const rex_jval *v, const char *name, bool target, rex_err *e) {
    if (v->kind != REX_J_ARR) return wrong(r, e, "ids are not a list");
    for (uint32_t i = 0; i < v->n; i++) {
        int64_t id = -1;
        REX_TRY(rex_json_i64(&v->u.c.item[i], name, &id, e));
        if (id < 0 || id >= r->o->vocab)
            return rex_fail(e, REX_EFORMAT, r->line,
                            "%s, line %lld: %s[%u] is %lld, the vocabulary has %lld", r->path,
                            (long long)r->line, name, (unsigned)i, (long long)id,
                            (long long)r->o->vocab);
        const int32_t one = (int32_t)id;
        put(r, &one, 1, target);
    }
    return REX_OK;
}

/* ---- chats ------------------------------------------------------------------------------- */

static rex_status read_messages(const reader *r, const rex_jval *v, rex_msg **out, size_t *n,
                                rex_err *e) {
    if (v->kind != REX_J_ARR || v->n == 0) return wrong(r, e, "`messages` is no list of messages");
    rex_msg *const m = rex_arena_take(r->a, v->n, sizeof *m, e);
    if (!m) return REX_ENOMEM;
    for (uint32_t i = 0; i < v->n; i++) {
        const rex_jval *const role = rex_json_get(&v->u.c.item[i], "role");
        const rex_jval *const content = rex_json_get(&v->u.c.item[i], "content");
        if (!role || role->kind != REX_J_STR) return wrong(r, e, "a message has no role");
        if (!content || content->kind != REX_J_STR) return wrong(r, e, "a message has no content");
        m[i] = (rex_msg){ role->u.s, content->u.s };
    }
    *out = m;
    *n = v->n;
    return REX_OK;
}

static bool ends_turn(const reader *r, int32_t id) {
    const rex_tok_marks *const k = rex_tok_special(r->o->tok);
    for (size_t i = 0; i < k->n_stop; i++)
        if (k->stop[i] == id) return true;
    return id == r->o->eos;
}

/* Renders the chat up to each assistant turn and behind it: what the second has more is the turn.
 */
static rex_status put_chat(reader *r, const rex_msg *m, size_t n, rex_err *e) {
    if (!r->o->tok || !r->o->chat)
        return wrong(r, e, "messages, but no chat layout is known: --chat names one");
    rex_ids all;
    REX_TRY(rex_chat_encode(r->o->tok, r->o->chat, m, n, false, 0, r->a, &all, NULL, e));
    const size_t at = r->id.n / sizeof(int32_t);
    put(r, all.v, all.n, false);
    REX_TRY(rex_buf_check(&r->loss, e));
    size_t turns = 0;
    for (size_t i = 0; i < n; i++) {
        if (!rex_str_is(m[i].role, "assistant")) continue;
        if (m[i].content.n == 0) return wrong(r, e, "an empty response");
        rex_ids before, behind;
        turns++;
        if (i == 0) return wrong(r, e, "the chat begins with the assistant");
        REX_TRY(rex_chat_encode(r->o->tok, r->o->chat, m, i, true, 0, r->a, &before, NULL, e));
        REX_TRY(rex_chat_encode(r->o->tok, r->o->chat, m, i + 1, false, 0, r->a, &behind, NULL, e));
        if (before.n > behind.n || behind.n > all.n ||
            memcmp(before.v, all.v, before.n * sizeof *all.v) != 0 ||
            memcmp(behind.v, all.v, behind.n * sizeof *all.v) != 0)
            return wrong(r, e, "the layout does not render this chat turn by turn");
        size_t end = behind.n;
        while (end > before.n && !ends_turn(r, all.v[end - 1])) end--;
        if (end == before.n) end = behind.n;
        memset(r->loss.p + at + before.n, 1, end - before.n);
    }
    return turns ? REX_OK : wrong(r, e, "no turn of the assistant");
}

/* ---- one record -------------------------------------------------------------------------- */

static rex_status put_prompted(reader *r, const rex_jval *prompt, const rex_jval *response,
                               rex_err *e) {
    if (response->kind != REX_J_STR) return wrong(r, e, "`response` is no text");
    if (response->u.s.n == 0) return wrong(r, e, "an empty response");
    if (prompt->kind == REX_J_ARR) {
        rex_msg *m = NULL;
        size_t n = 0;
        REX_TRY(read_messages(r, prompt, &m, &n, e));
        rex_msg *const with = rex_arena_take(r->a, n + 1, sizeof *with, e);
        if (!with) return REX_ENOMEM;
        memcpy(with, m, n * sizeof *m);
        with[n] = (rex_msg){ rex_str_of("assistant"), response->u.s };
        return put_chat(r, with, n + 1, e);
    }
    if (prompt->kind != REX_J_STR) return wrong(r, e, "`prompt` is neither text nor messages");
    REX_TRY(put_text(r, prompt->u.s, REX_TOK_BOS, r->o->all, e));
    REX_TRY(put_text(r, response->u.s, 0, true, e));
    if (r->o->eos >= 0) put(r, &r->o->eos, 1, true);
    return REX_OK;
}

static rex_status put_record(reader *r, const rex_jval *v, rex_err *e) {
    const char *const map = r->o->map;
    const rex_jval *const messages = member(v, map, "messages"), *const text =
                                                                     member(v, map, "text");
    const rex_jval *prompt = member(v, map, "prompt"), *const response = member(v, map, "response");
    const rex_jval *const before = member(v, map, "prompt_ids"), *const ids = member(v, map, "ids");
    if (v->kind != REX_J_OBJ) return wrong(r, e, "no JSON object");
    if (!prompt) prompt = rex_json_get(v, "question");
    if (ids) {
        if (before) REX_TRY(put_ids(r, before, "prompt_ids", r->o->all, e));
        return put_ids(r, ids, "ids", true, e);
    }
    if (prompt && response) return put_prompted(r, prompt, response, e);
    if (messages) {
        rex_msg *m = NULL;
        size_t n = 0;
        REX_TRY(read_messages(r, messages, &m, &n, e));
        return put_chat(r, m, n, e);
    }
    if (text) {
        if (text->kind != REX_J_STR || text->u.s.n == 0)
            return wrong(r, e, "`text` is empty or no text");
        REX_TRY(put_text(r, text->u.s, REX_TOK_BOS, true, e));
        if (r->o->eos >= 0) put(r, &r->o->eos, 1, true);
        return REX_OK;
    }
    return wrong(r, e, prompt ? "`prompt` without `response`"
                              : "neither messages, prompt and response, text, nor ids");
}

/* The first token has nothing before it and is no target. */
static rex_status close_record(reader *r, rex_err *e) {
    REX_TRY(rex_buf_check(&r->id, e));
    REX_TRY(rex_buf_check(&r->loss, e));
    int64_t n = (int64_t)(r->loss.n - r->start);
    const bool long_one = n > r->o->context;
    if (n > 0) r->loss.p[r->start] = 0;
    int64_t targets = 0;
    for (int64_t i = 0; i < n; i++) targets += r->loss.p[r->start + (size_t)i];
    if (targets == 0) return wrong(r, e, "a record without a token to learn");
    if (long_one) {
        n = r->o->truncate ? r->o->context : 0;
        targets = 0;
        for (int64_t i = 0; i < n; i++) targets += r->loss.p[r->start + (size_t)i];
        if (targets == 0) n = 0;
        r->too_long++;
        r->left_out += n == 0;
        r->loss.n = r->start + (size_t)n;
        r->id.n = r->loss.n * sizeof(int32_t);
        if (n == 0) return REX_OK;
    }
    r->targets += targets;
    if (n > r->longest) r->longest = n;
    r->start = r->loss.n;
    const int64_t end = (int64_t)r->start;
    rex_buf_add(&r->first, &end, sizeof end);
    return rex_buf_check(&r->first, e);
}

static rex_status read_lines(reader *r, rex_err *e) {
    rex_lines *l = NULL;
    REX_TRY(rex_lines_open(r->path, &l, e));
    rex_status s = REX_OK;
    for (bool more = true; s == REX_OK;) {
        rex_str line;
        s = rex_lines_next(l, &line, &r->line, &more, e);
        if (s != REX_OK || !more) break;
        const rex_mark mark = rex_arena_mark(r->a);
        rex_jval *v = NULL;
        s = rex_json_parse(r->a, line, "record", &v, e);
        if (s != REX_OK) s = rex_fail_in(e, s, "%s, line %lld", r->path, (long long)r->line);
        if (s == REX_OK) {
            s = put_record(r, v, e);
            if (s != REX_OK && e && strncmp(e->text, r->path, strlen(r->path)) != 0)
                s = rex_fail_in(e, s, "%s, line %lld", r->path, (long long)r->line);
        }
        if (s == REX_OK) s = close_record(r, e);
        rex_arena_back(r->a, mark);
    }
    rex_lines_close(l);
    return s;
}

static rex_status take_over(rex_arena *a, const reader *r, rex_docs *out, rex_err *e) {
    *out = (rex_docs){ .n = r->first.n / sizeof(int64_t) - 1, .tokens = (int64_t)r->start,
                       .targets = r->targets, .longest = r->longest, .too_long = r->too_long,
                       .left_out = r->left_out, .lost = r->lost };
    if (out->n == 0)
        return rex_fail(e, REX_EFORMAT, -1, "%s: no record to learn from%s", r->path,
                        r->too_long ? ": all are longer than the context" : "");
    out->first = rex_arena_take(a, out->n + 1, sizeof *out->first, e);
    out->id = out->first ? rex_arena_take(a, r->start, sizeof *out->id, e) : NULL;
    out->loss = out->id ? rex_arena_take(a, r->start, 1, e) : NULL;
    if (!out->loss) return REX_ENOMEM;
    memcpy(out->first, r->first.p, r->first.n);
    memcpy(out->id, r->id.p, r->start * sizeof *out->id);
    memcpy(out->loss, r->loss.p, r->start);
    const uint64_t part[3] = {rex_hash64(out->id, r->start * sizeof *out->id),
                              rex_hash64(out->loss, r->start), rex_hash64(out->first, r->first.n)};
    out->hash = rex_hash64(part, sizeof part);
    return REX_OK;
}

rex_status rex_docs_read(rex_arena *a, const char *path, const rex_docs_opts *o, rex_docs *out,
                         rex_err *e) {
    reader r = { .o = o, .path = path };
    REX_TRY(check_map(o->map, e));
    rex_buf_init(&r.id, 0);
    rex_buf_init(&r.loss, 0);
    rex_buf_init(&r.first, 0);
    const int64_t zero = 0;
    rex_buf_add(&r.first, &zero, sizeof zero);
    rex_status s = rex_arena_open(0, &r.a, e);
    if (s == REX_OK) s = read_lines(&r, e);
    if (s == REX_OK) s = take_over(a, &r, out, e);
    rex_arena_close(r.a);
    rex_buf_free(&r.id);
    rex_buf_free(&r.loss);
    rex_buf_free(&r.first);
    return s;
}

void rex_docs_tell(const rex_docs *d, const char *path, int64_t context) {
    rex_say(REX_LOG_INFO,
            "%s: %zu documents, %lld tokens, %lld of them to learn, the longest has %lld", path,
            d->n, (long long)d->tokens, (long long)d->targets, (long long)d->longest);
    if (d->too_long)
        rex_say(REX_LOG_WARN,
                "%s: %lld documents are longer than the context of %lld: %lld left out, %lld cut",
                path, (long long)d->too_long, (long long)context,
                (long long)d->left_out, (long long)(d->too_long - d->left_out));
    if (d->lost)
        rex_say(REX_LOG_WARN, "%s: %lld bytes were dropped: the vocabulary has no token for them",
                path, (long long)d->lost);
}

/* ---- texts for a tokenizer --------------------------------------------------------------- */

static rex_status collect(rex_arena *a, const rex_jval *v, rex_buf *out, rex_err *e) {
    if (v->kind == REX_J_STR) {
        rex_str s;
        REX_TRY(rex_str_copy(a, v->u.s, &s, e));
        rex_buf_add(out, &s, sizeof s);
    } else if (v->kind == REX_J_ARR) {
        for (uint32_t i = 0; i < v->n; i++) {
            const rex_jval *const content = rex_json_get(&v->u.c.item[i], "content");
            if (content) REX_TRY(collect(a, content, out, e));
        }
    }
    return rex_buf_check(out, e);
}

rex_status rex_docs_texts(rex_arena *a, const char *path, const char *map, rex_str **out, size_t *n,
                          rex_err *e) {
    static const char *const field[] = { "messages", "prompt", "question", "response", "text" };
    REX_TRY(check_map(map, e));
    rex_lines *l = NULL;
    REX_TRY(rex_lines_open(path, &l, e));
    rex_arena *tmp = NULL;
    rex_buf all;
    rex_buf_init(&all, 0);
    rex_status s = rex_arena_open(0, &tmp, e);
    for (bool more = true; s == REX_OK;) {
        rex_str line;
        int64_t no = 0;
        s = rex_lines_next(l, &line, &no, &more, e);
        if (s != REX_OK || !more) break;
        const rex_mark mark = rex_arena_mark(tmp);
        rex_jval *v = NULL;
        s = rex_json_parse(tmp, line, "record", &v, e);
        if (s != REX_OK) s = rex_fail_in(e, s, "%s, line %lld", path, (long long)no);
        for (size_t i = 0; s == REX_OK && i < sizeof field / sizeof *field; i++) {
            const rex_jval *const f = member(v, map, field[i]);
            if (f) s = collect(a, f, &all, e);
        }
        rex_arena_back(tmp, mark);
    }
    *n = all.n / sizeof(rex_str);
    if (s == REX_OK) {
        *out = rex_arena_take(a, *n + 1, sizeof **out, e);
        if (!*out) s = REX_ENOMEM;
        else if (all.n) memcpy(*out, all.p, all.n);
    }
    rex_buf_free(&all);
    rex_arena_close(tmp);
    rex_lines_close(l);
    return s;
}
