/* SPDX-License-Identifier: MIT
 *
 * journal: verdicts as they come, one a line in a file of the run's folder, so that a run which is
 * killed asks for none of them again. It is a memory of what the verifier said, asked in its stead:
 * a run that goes on takes the very path of one that was never stopped, and ends in the same bytes.
 * Its first line holds the task and its options; other ones are refused. A line names the row and
 * the digest of the response, so that a verdict never meets another text. `broken` is not kept: a
 * verifier that failed is asked again.
 */
#include "trial.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../tasks/tasks.h"

static void digest(rex_str response, char out[17]) {
    const uint64_t h = rex_hash64(response.p, response.n);
    (void)snprintf(out, 17, "%016llx", (unsigned long long)h);
}

/* ---- the first line ---------------------------------------------------------------------- */

#define PUT_STR(w, v) ((v) ? rex_jw_cstr(w, v) : rex_jw_null(w))
#define PUT_ENUM(w, v) rex_jw_i64(w, v)
#define PUT_I64(w, v) rex_jw_i64(w, v)
#define PUT_F64(w, v) rex_jw_f64(w, v)

static void head(const rex_trial *t, rex_buf *b) {
    const rex_task_opts *const o = &t->task->opt;
    rex_jw w;
    rex_jw_init(&w, b);
    rex_jw_obj(&w);
    rex_jw_key(&w, "task");
    rex_jw_cstr(&w, t->task->kind->info.name);
#define X(KIND, name, def, lo, hi, meta, help) \
    rex_jw_key(&w, #name);                     \
    PUT_##KIND(&w, o->name);
    REX_TASK_OPTS(X)
#undef X
    rex_jw_obj_end(&w);
}

/* ---- reading ----------------------------------------------------------------------------- */

enum { ROW, TEXT, VERDICT, REWARD, EXTRACTED, REASON, FIELDS };
static const char *const field[FIELDS] = {"row", "text", "verdict", "reward", "extracted",
                                          "reason"};

static rex_status bad_line(const rex_trial *t, int64_t no, const char *why, rex_err *e) {
    return rex_fail(e, REX_EFORMAT, no, "%s: line %lld: %s", t->o.journal, (long long)no, why);
}

static rex_status take_line(rex_trial *t, rex_str line, int64_t no, rex_err *e) {
    rex_trial_pool *const p = &t->p;
    rex_str want[FIELDS], raw[FIELDS], text, name;
    int64_t row = -1;
    char now[17];
    rex_judged j = {.verdict = REX_VERDICT_COUNT};
    for (int i = 0; i < FIELDS; i++) want[i] = rex_str_of(field[i]);
    const rex_status s = rex_jscan(line, want, FIELDS, raw, e);
    if (s != REX_OK) return rex_fail_in(e, s, "%s: line %lld", t->o.journal, (long long)no);
    if (!raw[ROW].p || !raw[TEXT].p || !raw[VERDICT].p || !raw[REWARD].p || !raw[REASON].p)
        return bad_line(t, no, "a verdict has row, text, verdict, reward and reason", e);
    REX_TRY(rex_jraw_i64(raw[ROW], &row, e));
    REX_TRY(rex_jraw_f64(raw[REWARD], &j.reward, e));
    REX_TRY(rex_jraw_str(t->a, raw[TEXT], &text, e));
    REX_TRY(rex_jraw_str(t->a, raw[VERDICT], &name, e));
    for (int v = 0; v < REX_VERDICT_broken; v++)
        if (rex_str_is(name, rex_verdict_name((rex_verdict)v))) j.verdict = (rex_verdict)v;
    if (j.verdict == REX_VERDICT_COUNT) return bad_line(t, no, "an unknown verdict", e);
    if (row < 0 || (size_t)row >= p->n)
        return bad_line(t, no, "a row that the pool does not have", e);
    digest(rex_trial_response(t, (size_t)row), now);
    if (!rex_str_is(text, now)) return bad_line(t, no, "the pool has another text there", e);
    rex_str said;
    REX_TRY(rex_jraw_str(t->a, raw[REASON], &said, e));
    REX_TRY(rex_str_copy(t->a, said, &j.reason, e));
    if (raw[EXTRACTED].p) {
        REX_TRY(rex_jraw_str(t->a, raw[EXTRACTED], &said, e));
        REX_TRY(rex_str_copy(t->a, said, &j.extracted, e));
    }
    p->said[row] = j;
    return REX_OK;
}

static rex_status read_all(rex_trial *t, rex_lines *l, rex_str now, size_t *n, rex_err *e) {
    for (bool more = true;;) {
        rex_str line;
        int64_t no = 0;
        REX_TRY(rex_lines_next(l, &line, &no, &more, e));
        if (!more) return REX_OK;
        if (no > 1) REX_TRY(take_line(t, line, no, e));
        else if (!rex_str_eq(line, now))
            return rex_fail(e, REX_EARG, 1,
                            "--resume: the verdicts of %s are of another task or other options: "
                            "it has %.*s, asked for is %.*s",
                            t->o.journal, (int)(line.n < 150 ? line.n : 150), line.p,
                            (int)(now.n < 150 ? now.n : 150), now.p);
        ++*n;
    }
}

/* ---- the file ---------------------------------------------------------------------------- */

rex_status rex_journal_open(rex_trial *t, rex_err *e) {
    rex_trial_pool *const p = &t->p;
    size_t lines = 0;
    rex_buf b;
    if (!t->o.journal || !t->task) return REX_OK;
    p->said = rex_arena_take(t->a, p->n + 1, sizeof *p->said, e);
    if (!p->said) return REX_ENOMEM;
    for (size_t i = 0; i < p->n; i++) p->said[i] = (rex_judged){.verdict = REX_VERDICT_COUNT};
    if (!t->o.resume) (void)unlink(t->o.journal);
    REX_TRY(rex_out_append(t->o.journal, &p->journal, e)); /* cuts a torn last line */
    rex_buf_init(&b, 0);
    head(t, &b);
    rex_status s = rex_buf_check(&b, e);
    rex_lines *l = NULL;
    if (s == REX_OK) s = rex_lines_open(t->o.journal, &l, e);
    if (s == REX_OK) s = read_all(t, l, (rex_str){b.p, b.n}, &lines, e);
    rex_lines_close(l);
    if (s == REX_OK && lines == 0) {
        rex_buf_add(&b, "\n", 1);
        s = rex_buf_check(&b, e);
        if (s == REX_OK) rex_out_add(p->journal, b.p, b.n);
        if (s == REX_OK) s = rex_out_flush(p->journal, e);
    }
    if (lines > 1)
        rex_say(REX_LOG_INFO, "%s: %zu verdicts of the run that was stopped", t->o.journal,
                lines - 1);
    rex_buf_free(&b);
    return s;
}

void rex_journal_close(rex_trial *t) {
    rex_out_close(t->p.journal);
    t->p.journal = NULL;
}

rex_status rex_journal_add(const rex_trial *t, size_t row, const rex_judged *j, rex_err *e) {
    char text[17];
    rex_buf b;
    rex_jw w;
    if (!t->p.journal || j->verdict == REX_VERDICT_broken || !isfinite(j->reward)) return REX_OK;
    digest(rex_trial_response(t, row), text);
    rex_buf_init(&b, 0);
    rex_jw_init(&w, &b);
    rex_jw_obj(&w);
    rex_jw_key(&w, field[ROW]);
    rex_jw_i64(&w, (int64_t)row);
    rex_jw_key(&w, field[TEXT]);
    rex_jw_cstr(&w, text);
    rex_jw_key(&w, field[VERDICT]);
    rex_jw_cstr(&w, rex_verdict_name(j->verdict));
    rex_jw_key(&w, field[REWARD]);
    rex_jw_f64(&w, j->reward);
    if (j->extracted.p) {
        rex_jw_key(&w, field[EXTRACTED]);
        rex_jw_str(&w, j->extracted);
    }
    rex_jw_key(&w, field[REASON]);
    rex_jw_str(&w, j->reason);
    rex_jw_obj_end(&w);
    rex_buf_addf(&b, "\n");
    const rex_status s = rex_buf_check(&b, e);
    if (s == REX_OK) rex_out_add(t->p.journal, b.p, b.n);
    rex_buf_free(&b);
    return s;
}

rex_status rex_journal_flush(const rex_trial *t, rex_err *e) {
    return t->p.journal ? rex_out_flush(t->p.journal, e) : REX_OK;
}
