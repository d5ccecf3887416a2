/* SPDX-License-Identifier: MIT
 *
 * sample.c: prompt and sample records in full, read into an arena, and the line of a sample.
 *
 * Fields of a record that it does not have stay out of what is written; members that no field owns
 * are kept, behind the known ones, in the order and spelling of the source. So a pool that passes
 * through several commands loses nothing on the way.
 */
#include "records.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- values -------------------------------------------------------------------------------------
 */

/* The length of an array of numbers; 0 for an empty one. */
static rex_status array_count(rex_str raw, size_t *n, rex_err *e) {
    const char *p;
    REX_TRY(rex_array_open(raw, &p, e));
    *n = 1;
    for (const char *c = p; c < raw.p + raw.n; c++) *n += *c == ',';
    return REX_OK;
}

static rex_status int_array(rex_arena *a, rex_str raw, const int32_t **out, size_t *n, rex_err *e) {
    size_t room;
    REX_TRY(array_count(raw, &room, e));
    int32_t *const v = rex_arena_take(a, room, sizeof *v, e);
    if (!v) return REX_ENOMEM;
    const char *p = raw.p + 1;
    *n = 0;
    for (;;) {
        double x;
        bool more;
        REX_TRY(rex_array_next(&p, raw.p + raw.n, &x, &more, e));
        if (!more) break;
        if (!(x >= 0.0 && x <= 2147483647.0) || x != floor(x))
            return rex_fail(e, REX_EFORMAT, -1, "%g at place %zu is no token id", x, *n);
        v[(*n)++] = (int32_t)x;
    }
    *out = v;
    return REX_OK;
}

static rex_status float_array(rex_arena *a, rex_str raw, const float **out, size_t *n, rex_err *e) {
    size_t room;
    REX_TRY(array_count(raw, &room, e));
    float *const v = rex_arena_take(a, room, sizeof *v, e);
    if (!v) return REX_ENOMEM;
    const char *p = raw.p + 1;
    *n = 0;
    for (;;) {
        double x;
        bool more;
        REX_TRY(rex_array_next(&p, raw.p + raw.n, &x, &more, e));
        if (!more) break;
        if (fabs(x) > 3.4028234663852886e38)
            return rex_fail(e, REX_EFORMAT, -1, "%g at place %zu is beyond a 32-bit float", x, *n);
        v[(*n)++] = (float)x;
    }
    *out = v;
    return REX_OK;
}

static rex_status count_value(rex_str raw, int64_t *out, rex_err *e) {
    REX_TRY(rex_jraw_i64(raw, out, e));
    if (*out < 0) return rex_fail(e, REX_EFORMAT, -1, "%lld is negative", (long long)*out);
    return REX_OK;
}

/* ---- samples
 * -------------------------------------------------------------------------------------- */

typedef struct {
    rex_fieldmap map;
    rex_scan scan;
    rex_place field[REX_FIELD_COUNT], id, prompt, alt[3];
    rex_path alt_path[3]; /* other spellings: messages, question, label */
} reader;

enum { ALT_MESSAGES, ALT_QUESTION, ALT_LABEL };

static rex_status sample_reader(rex_arena *a, const char *map, reader *r, rex_err *e) {
    r->scan.n = 0;
    REX_TRY(rex_fieldmap_read(a, map, &r->map, e));
    for (int f = 0; f < REX_FIELD_COUNT; f++) r->field[f] = rex_scan_add(&r->scan, &r->map.path[f]);
    r->id = rex_scan_add(&r->scan, &r->map.path[REX_NAME_PROMPT_ID]);
    return REX_OK;
}

/* A text that a model has read or written: any bytes. */
static rex_status text_bytes(rex_arena *a, rex_str raw, rex_str *out, rex_err *e) {
    return rex_jraw_kind(raw) == REX_J_STR ? rex_jraw_bytes(a, raw, out, e)
                                           : rex_text_value(a, raw, out, e);
}

/* What is carried along as JSON source has been skipped by its brackets only; it goes into files
 * of ours, so it has to be JSON. */
static rex_status source_value(rex_arena *a, rex_str raw, rex_str *out, rex_err *e) {
    const rex_mark m = rex_arena_mark(a);
    rex_jval *v;
    if (raw.p) REX_TRY(rex_json_parse(a, raw, NULL, &v, e));
    rex_arena_back(a, m);
    *out = raw;
    return REX_OK;
}

static rex_status sample_field(rex_arena *a, rex_sample *s, int f, rex_str raw, rex_err *e) {
    switch (f) {
    case REX_FI_PROMPT_IDS: return int_array(a, raw, &s->prompt_ids, &s->n_prompt_ids, e);
    case REX_FI_IDS: return int_array(a, raw, &s->ids, &s->n_ids, e);
    case REX_FI_LOGP: return float_array(a, raw, &s->logp, &s->n_logp, e);
    case REX_FI_LOGQ: return float_array(a, raw, &s->logq, &s->n_logq, e);
    case REX_FI_ENT: return float_array(a, raw, &s->ent, &s->n_ent, e);
    case REX_FI_TEXT: return text_bytes(a, raw, &s->text, e);
    case REX_FI_FINISH: return rex_text_value(a, raw, &s->finish, e);
    case REX_FI_VERDICT: return rex_text_value(a, raw, &s->verdict, e);
    case REX_FI_REASON: return rex_text_value(a, raw, &s->reason, e);
    case REX_FI_EXTRACTED: return rex_text_value(a, raw, &s->extracted, e);
    case REX_FI_FEAT: return rex_text_value(a, raw, &s->feat, e);
    case REX_FI_RESPONSE: return text_bytes(a, raw, &s->response, e);
    case REX_FI_LOGPROB: return rex_jraw_f64(raw, &s->logprob, e);
    case REX_FI_BONUS_RAW: return rex_jraw_f64(raw, &s->bonus_raw, e);
    case REX_FI_BONUS: return rex_jraw_f64(raw, &s->bonus, e);
    case REX_FI_ADV: return rex_jraw_f64(raw, &s->adv, e);
    case REX_FI_ENTROPY: return rex_jraw_f64(raw, &s->entropy, e);
    case REX_FI_REWARD:
        if (rex_jraw_kind(raw) == REX_J_TRUE || rex_jraw_kind(raw) == REX_J_FALSE) {
            s->reward = rex_jraw_kind(raw) == REX_J_TRUE ? 1.0 : 0.0;
            return REX_OK;
        }
        return rex_jraw_f64(raw, &s->reward, e);
    case REX_FI_N_TOK: return count_value(raw, &s->n_tok, e);
    case REX_FI_ROW: return count_value(raw, &s->row, e);
    case REX_FI_SAMPLE: return count_value(raw, &s->sample, e);
    case REX_FI_ANSWER: s->answer = raw; return REX_OK;
    case REX_FI_PROBLEM: s->problem = raw; return REX_OK;
    default: rex_die(__FILE__, __LINE__, "a field without a case");
    }
}

static rex_status at_line(rex_err *e, rex_status s, int64_t no, const char *field) {
    if (s == REX_OK) return s;
    if (e) e->at = no;
    return rex_fail_in(e, s, "line %lld%s%s", (long long)no, field ? ": " : "", field ? field : "");
}

/* `line` must outlive the record: fields without escapes are borrowed from it. */
static rex_status sample_read(rex_arena *a, reader *r, rex_str line, int64_t no, rex_sample *s,
                              rex_err *e) {
    *s = (rex_sample){.sample = -1, .row = -1, .n_tok = -1, .logprob = NAN, .reward = NAN,
                      .bonus_raw = NAN, .bonus = NAN, .adv = NAN, .entropy = NAN, .line = line,
                      .no = no};
    REX_TRY(at_line(e, rex_jscan(line, r->scan.want, r->scan.n, r->scan.raw, e), no, NULL));
    rex_str raw;
    for (int f = 0; f < REX_FIELD_COUNT; f++) {
        bool null;
        rex_status st = rex_scan_get(&r->scan, r->field[f], &raw, &null, e);
        if (st == REX_OK && raw.p) st = sample_field(a, s, f, raw, e);
        REX_TRY(at_line(e, st, no, rex_field_name(f)));
        if (raw.p || (null && f == REX_FI_REWARD)) s->has |= 1u << f;
    }
    rex_status st = rex_scan_get(&r->scan, r->id, &raw, NULL, e);
    if (st == REX_OK) st = rex_id_value(a, raw, no, &s->prompt_id, e);
    return at_line(e, st, no, "prompt_id");
}

rex_status rex_sample_parse(rex_arena *a, rex_str line, int64_t no, const char *map,
                            rex_sample *out, rex_err *e) {
    reader r;
    REX_TRY(sample_reader(a, map, &r, e));
    rex_str copy;
    REX_TRY(rex_str_copy(a, line, &copy, e));
    return sample_read(a, &r, copy, no, out, e);
}

/* ---- prompts
 * ---------------------------------------------------------------------------------------- */

static rex_status prompt_reader(rex_arena *a, const char *map, reader *r, rex_err *e) {
    static const char *const alt[] = {"messages", "question", "label"};
    r->scan.n = 0;
    REX_TRY(rex_fieldmap_read(a, map, &r->map, e));
    r->id = rex_scan_add(&r->scan, &r->map.path[REX_NAME_PROMPT_ID]);
    r->prompt = rex_scan_add(&r->scan, &r->map.path[REX_NAME_PROMPT]);
    for (int i = 0; i < 3; i++) r->alt[i] = rex_scan_add_name(&r->scan, alt[i], &r->alt_path[i]);
    static const int want[] = {REX_FI_PROMPT_IDS, REX_FI_ANSWER, REX_FI_PROBLEM};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++)
        r->field[want[i]] = rex_scan_add(&r->scan, &r->map.path[want[i]]);
    return REX_OK;
}

static rex_status chat_read(rex_arena *a, rex_str raw, rex_prompt *p, rex_err *e) {
    rex_jval *v;
    REX_TRY(rex_json_parse_bytes(a, raw, NULL, &v, e));
    rex_msg *const msg = rex_arena_take(a, v->n, sizeof *msg, e);
    if (!msg) return REX_ENOMEM;
    if (v->n == 0) return rex_fail(e, REX_EFORMAT, -1, "a chat of no messages");
    for (uint32_t i = 0; i < v->n; i++) {
        const rex_jval *const role = rex_json_get(&v->u.c.item[i], "role");
        const rex_jval *const text = rex_json_get(&v->u.c.item[i], "content");
        if (!role || role->kind != REX_J_STR)
            return rex_fail(e, REX_EFORMAT, -1, "message %u has no role that is a string", i);
        if (!text || text->kind != REX_J_STR)
            return rex_fail(e, REX_EFORMAT, -1, "message %u has no content that is a string", i);
        msg[i] = (rex_msg){role->u.s, text->u.s};
    }
    p->chat = true;
    p->msg = msg;
    p->n_msg = v->n;
    return REX_OK;
}

/* `prompt` first, then `messages`, then `question`; a mapped name stands alone. */
static rex_status prompt_text(rex_arena *a, reader *r, rex_prompt *p, rex_err *e) {
    rex_str raw;
    REX_TRY(rex_scan_get(&r->scan, r->prompt, &raw, NULL, e));
    if (!raw.p && !r->map.given[REX_NAME_PROMPT]) {
        REX_TRY(rex_scan_get(&r->scan, r->alt[ALT_MESSAGES], &raw, NULL, e));
        if (!raw.p) REX_TRY(rex_scan_get(&r->scan, r->alt[ALT_QUESTION], &raw, NULL, e));
    }
    if (!raw.p) return REX_OK;
    switch (rex_jraw_kind(raw)) {
    case REX_J_STR:
        p->has_text = true;
        return rex_jraw_bytes(a, raw, &p->text, e);
    case REX_J_ARR: return chat_read(a, raw, p, e);
    default:
        return rex_fail(e, REX_EFORMAT, -1, "expected a string or a list of messages, found %s",
                        rex_json_kind_name(rex_jraw_kind(raw)));
    }
}

static rex_status prompt_read(rex_arena *a, reader *r, rex_str line, int64_t no, rex_prompt *p,
                              rex_err *e) {
    *p = (rex_prompt){.line = line, .no = no};
    REX_TRY(at_line(e, rex_jscan(line, r->scan.want, r->scan.n, r->scan.raw, e), no, NULL));
    rex_str raw;
    rex_status s = rex_scan_get(&r->scan, r->id, &raw, NULL, e);
    if (s == REX_OK) s = rex_id_value(a, raw, no, &p->id, e);
    REX_TRY(at_line(e, s, no, "prompt_id"));
    REX_TRY(at_line(e, prompt_text(a, r, p, e), no, "prompt"));
    s = rex_scan_get(&r->scan, r->field[REX_FI_PROMPT_IDS], &raw, NULL, e);
    if (s == REX_OK && raw.p) s = int_array(a, raw, &p->ids, &p->n_ids, e);
    REX_TRY(at_line(e, s, no, "prompt_ids"));
    s = rex_scan_get(&r->scan, r->field[REX_FI_ANSWER], &raw, NULL, e);
    if (s == REX_OK && !raw.p && !r->map.given[REX_FI_ANSWER])
        s = rex_scan_get(&r->scan, r->alt[ALT_LABEL], &raw, NULL, e);
    if (s == REX_OK) s = source_value(a, raw, &p->answer, e);
    REX_TRY(at_line(e, s, no, "answer"));
    s = rex_scan_get(&r->scan, r->field[REX_FI_PROBLEM], &raw, NULL, e);
    if (s == REX_OK) s = source_value(a, raw, &p->problem, e);
    return at_line(e, s, no, "problem");
}

rex_status rex_prompt_parse(rex_arena *a, rex_str line, int64_t no, const char *map,
                            rex_prompt *out, rex_err *e) {
    reader r;
    REX_TRY(prompt_reader(a, map, &r, e));
    rex_str copy;
    REX_TRY(rex_str_copy(a, line, &copy, e));
    return prompt_read(a, &r, copy, no, out, e);
}

/* ---- whole files
 * --------------------------------------------------------------------------------------- */

typedef rex_status (*one_fn)(rex_arena *a, reader *r, rex_str line, int64_t no, void *out,
                             rex_err *e);

static rex_status one_sample(rex_arena *a, reader *r, rex_str line, int64_t no, void *out,
                             rex_err *e) {
    return sample_read(a, r, line, no, out, e);
}

static rex_status one_prompt(rex_arena *a, reader *r, rex_str line, int64_t no, void *out,
                             rex_err *e) {
    REX_TRY(prompt_read(a, r, line, no, out, e));
    const rex_prompt *const p = out;
    if (!p->has_text && !p->chat && !p->ids)
        return rex_fail(e, REX_EFORMAT, no,
                        "line %lld: no prompt: expected prompt, question, messages or "
                        "prompt_ids",
                        (long long)no);
    return REX_OK;
}

static bool blank(rex_str s) {
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] != ' ' && s.p[i] != '\t') return false;
    return true;
}

/* Lines are copied into the arena: the file is closed before the records are used. */
static rex_status each_line(rex_arena *a, rex_lines *l, reader *r, one_fn one, size_t size,
                            rex_buf *all, rex_err *e) {
    union {
        rex_sample s;
        rex_prompt p;
    } x;
    int64_t empty = 0;
    for (;;) {
        rex_str line, copy;
        int64_t no;
        bool more;
        REX_TRY(rex_lines_next(l, &line, &no, &more, e));
        if (!more) return rex_buf_check(all, e);
        if (blank(line)) {
            if (empty == 0) empty = no;
            continue;
        }
        if (empty > 0)
            return rex_fail(e, REX_EFORMAT, empty, "line %lld: empty", (long long)empty);
        REX_TRY(rex_str_copy(a, line, &copy, e));
        REX_TRY(one(a, r, copy, no, &x, e));
        rex_buf_add(all, &x, size);
    }
}

static rex_status read_all(rex_arena *a, const char *path, reader *r, one_fn one, size_t size,
                           void **out, size_t *n, rex_err *e) {
    rex_lines *l = NULL;
    rex_buf all;
    rex_buf_init(&all, 0);
    rex_status s = rex_lines_open(path, &l, e);
    if (s == REX_OK) {
        s = each_line(a, l, r, one, size, &all, e);
        if (s != REX_OK && s != REX_EIO)
            s = rex_fail_in(e, s, "%s", strcmp(path, "-") ? path : "stdin");
    }
    if (s == REX_OK) {
        *n = all.n / size;
        *out = rex_arena_take(a, *n, size, e);
        if (!*out) s = REX_ENOMEM;
        else if (*n > 0) memcpy(*out, all.p, all.n);
    }
    rex_buf_free(&all);
    rex_lines_close(l);
    return s;
}

/* An id twice, or two ids with one hash: both would share random numbers. */
static rex_status refuse_same_ids(rex_arena *a, const char *path, const rex_prompt *p, size_t n,
                                  rex_err *e) {
    rex_names t;
    rex_status s = rex_names_open(&t, a, e);
    for (size_t i = 0; s == REX_OK && i < n; i++) {
        const uint64_t hash = rex_hash64(p[i].id.p, p[i].id.n);
        uint32_t id;
        s = rex_names_put(&t, p[i].id, hash, false, &id, e);
        if (s != REX_OK) break;
        const uint32_t twin = rex_names_twin(&t, p[i].id, hash);
        const int len = (int)(p[i].id.n < 100 ? p[i].id.n : 100);
        if (id != i)
            s = rex_fail(e, REX_EFORMAT, p[i].no,
                         "%s: lines %lld and %lld: prompt '%.*s' is there twice", path,
                         (long long)p[id].no, (long long)p[i].no, len, p[i].id.p);
        else if (twin != UINT32_MAX)
            s = rex_fail(e, REX_EFORMAT, p[i].no,
                         "%s: lines %lld and %lld: two ids have one 64-bit hash "
                         "and would share their random numbers",
                         path, (long long)p[twin].no, (long long)p[i].no);
    }
    rex_names_close(&t);
    return s;
}

rex_status rex_prompts_read(rex_arena *a, const char *path, const char *map, rex_prompt **out,
                            size_t *n, rex_err *e) {
    reader r;
    void *all = NULL;
    REX_TRY(prompt_reader(a, map, &r, e));
    REX_TRY(read_all(a, path, &r, one_prompt, sizeof(rex_prompt), &all, n, e));
    *out = all;
    return refuse_same_ids(a, path, *out, *n, e);
}

rex_status rex_samples_read(rex_arena *a, const char *path, const char *map, rex_sample **out,
                            size_t *n, rex_err *e) {
    reader r;
    void *all = NULL;
    REX_TRY(sample_reader(a, map, &r, e));
    REX_TRY(read_all(a, path, &r, one_sample, sizeof(rex_sample), &all, n, e));
    *out = all;
    return REX_OK;
}

/* ---- the line of a sample
 * ------------------------------------------------------------------------------- */

static void put_ints(rex_jw *w, const int32_t *v, size_t n) {
    rex_jw_arr(w);
    for (size_t i = 0; i < n; i++) rex_jw_i64(w, v[i]);
    rex_jw_arr_end(w);
}

static void put_floats(rex_jw *w, const float *v, size_t n) {
    rex_jw_arr(w);
    for (size_t i = 0; i < n; i++) rex_jw_f32(w, v[i]);
    rex_jw_arr_end(w);
}

static void put_field(rex_jw *w, const rex_sample *s, int f) {
    rex_jw_key(w, rex_field_name(f));
    switch (f) {
    case REX_FI_PROMPT_IDS: put_ints(w, s->prompt_ids, s->n_prompt_ids); break;
    case REX_FI_IDS: put_ints(w, s->ids, s->n_ids); break;
    case REX_FI_LOGP: put_floats(w, s->logp, s->n_logp); break;
    case REX_FI_LOGQ: put_floats(w, s->logq, s->n_logq); break;
    case REX_FI_ENT: put_floats(w, s->ent, s->n_ent); break;
    case REX_FI_TEXT: rex_jw_str(w, s->text); break;
    case REX_FI_FINISH: rex_jw_str(w, s->finish); break;
    case REX_FI_VERDICT: rex_jw_str(w, s->verdict); break;
    case REX_FI_REASON: rex_jw_str(w, s->reason); break;
    case REX_FI_EXTRACTED: rex_jw_str(w, s->extracted); break;
    case REX_FI_FEAT: rex_jw_str(w, s->feat); break;
    case REX_FI_RESPONSE: rex_jw_str(w, s->response); break;
    case REX_FI_LOGPROB: rex_jw_f64(w, s->logprob); break;
    case REX_FI_BONUS_RAW: rex_jw_f64(w, s->bonus_raw); break;
    case REX_FI_BONUS: rex_jw_f64(w, s->bonus); break;
    case REX_FI_ADV: rex_jw_f64(w, s->adv); break;
    case REX_FI_ENTROPY: rex_jw_f64(w, s->entropy); break;
    case REX_FI_REWARD:
        if (isnan(s->reward)) rex_jw_null(w);
        else rex_jw_f64(w, s->reward);
        break;
    case REX_FI_N_TOK: rex_jw_i64(w, s->n_tok); break;
    case REX_FI_ROW: rex_jw_i64(w, s->row); break;
    case REX_FI_ANSWER: rex_jw_raw(w, s->answer); break;
    case REX_FI_PROBLEM: rex_jw_raw(w, s->problem); break;
    default: rex_die(__FILE__, __LINE__, "a field without a case");
    }
}

/* Is a member of the source line written by the record itself? */
static bool owned(const rex_sample *s, rex_str name) {
    if (rex_str_is(name, "v") || rex_str_is(name, "prompt_id")) return true;
    for (int f = 0; f < REX_FIELD_COUNT; f++)
        if (rex_str_is(name, rex_field_name(f))) return (s->has & (1u << f)) != 0;
    return false;
}

/* What the source has besides: the document is parsed for its names, then their source spans are
 * found by the fast road and copied as they stand. */
static rex_status put_rest(rex_arena *a, rex_jw *w, const rex_sample *s, rex_err *e) {
    if (!s->line.p) return REX_OK;
    rex_jval *v;
    REX_TRY(at_line(e, rex_json_parse(a, s->line, NULL, &v, e), s->no, NULL));
    rex_str *const name = rex_arena_take(a, 2 * (size_t)v->n + 1, sizeof *name, e);
    if (!name) return REX_ENOMEM;
    size_t n = 0;
    for (uint32_t i = 0; i < v->n; i++)
        if (!owned(s, v->u.c.key[i])) name[n++] = v->u.c.key[i];
    if (n == 0) return REX_OK;
    rex_str *const raw = name + n;
    REX_TRY(rex_jscan(s->line, name, n, raw, e));
    for (size_t i = 0; i < n; i++) {
        if (!raw[i].p)
            return rex_fail(e, REX_EUNSUP, s->no,
                            "line %lld: a member's name of more than 256 bytes", (long long)s->no);
        rex_jw_keys(w, name[i]);
        rex_jw_raw(w, raw[i]);
    }
    return REX_OK;
}

rex_status rex_sample_line(rex_arena *a, const rex_sample *s, rex_str *out, rex_err *e) {
    rex_buf b;
    rex_jw w;
    rex_buf_init(&b, 0);
    rex_jw_init(&w, &b);
    rex_jw_obj(&w);
    rex_jw_key(&w, "v");
    rex_jw_i64(&w, 1);
    rex_jw_key(&w, "prompt_id");
    rex_jw_str(&w, s->prompt_id);
    if (s->has & REX_F(SAMPLE)) {
        rex_jw_key(&w, "sample");
        rex_jw_i64(&w, s->sample);
    }
    for (int f = 0; f < REX_FI_SAMPLE; f++)
        if (s->has & (1u << f)) put_field(&w, s, f);
    rex_status st = put_rest(a, &w, s, e);
    rex_jw_obj_end(&w);
    rex_buf_add(&b, "\n", 1);
    if (st == REX_OK) st = rex_buf_check(&b, e);
    if (st == REX_OK) st = rex_str_copy(a, (rex_str){b.p, b.n}, out, e);
    rex_buf_free(&b);
    return st;
}
