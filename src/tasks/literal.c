/* SPDX-License-Identifier: MIT
 *
 * literal.c: tasks whose gold is compared as it stands: arithmetic (sums, for smoke tests), exact
 * (equal text) and regex (what a pattern finds in the response).
 * Invariant: nothing is interpreted beyond what is said here; whoever wants more equality takes
 * `math`. A pattern is bounded in steps: beyond them the verdict is `timeout`.
 */
#include "tasks.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>
#include <string.h>

static int shown(rex_str s) { return (int)(s.n > 100 ? 100 : s.n); }

/* The claim's gold as text; *none true if it is missing or empty. */
static rex_status gold_of(const rex_claim *c, rex_arena *a, rex_str *gold, bool *none, rex_err *e) {
    REX_TRY(rex_claim_text(a, c->answer, gold, e));
    *gold = rex_trim(gold->p ? *gold : (rex_str){ "", 0 });
    *none = gold->n == 0;
    return REX_OK;
}

static rex_status equal_or_not(rex_arena *a, rex_str gold, rex_judged *out, rex_err *e) {
    const bool same = rex_str_eq(gold, out->extracted);
    return rex_judge(a, out, e, same ? REX_VERDICT_correct : REX_VERDICT_wrong,
                     "'%.*s' %s the gold '%.*s'", shown(out->extracted), out->extracted.p,
                     same ? "equals" : "differs from", shown(gold), gold.p);
}

/* ---- arithmetic ---- */

static rex_status draw_sum(const rex_task *t, rex_key key, uint64_t no, bool solutions,
                           rex_arena *a, rex_draft *d, bool *ok, rex_err *e) {
    const int n = (int)t->opt.terms;
    int64_t v[8];
    int64_t s[8];
    int64_t range = 1;
    int64_t total = 0;
    char text[8 * 20] = "";
    char name[8 * 20] = "";
    for (int i = 0; i < t->opt.digits; i++) range *= 10;
    for (int i = 0; i < n; i++) {
        v[i] = (int64_t)rex_rand_below(key, REX_STREAM_DATA, (uint32_t)i, 0, no, (uint64_t)range);
        total += v[i];
        int k = i; /* the same numbers in another order are the same problem */
        for (; k > 0 && s[k - 1] > v[i]; k--) s[k] = s[k - 1];
        s[k] = v[i];
    }
    for (int i = 0; i < n; i++) {
        const size_t at = strlen(text);
        const size_t to = strlen(name);
        snprintf(text + at, sizeof text - at, "%s%lld", i ? "+" : "", (long long)v[i]);
        snprintf(name + to, sizeof name - to, "%s%lld", i ? "+" : "", (long long)s[i]);
    }
    *ok = true;
    REX_TRY(rex_str_fmt(a, &d->id, e, "arithmetic/%s", name));
    REX_TRY(rex_str_fmt(a, &d->prompt, e, "%s=", text));
    if (solutions) REX_TRY(rex_str_fmt(a, &d->response, e, "%lld", (long long)total));
    return rex_str_fmt(a, &d->answer, e, "\"%lld\"", (long long)total);
}

/* The last run of digits, with a minus before it, without leading zeros. */
static bool last_int(rex_str s, rex_str *sign, rex_str *out) {
    size_t end = s.n;
    while (end > 0 && (s.p[end - 1] < '0' || s.p[end - 1] > '9')) end--;
    size_t from = end;
    while (from > 0 && s.p[from - 1] >= '0' && s.p[from - 1] <= '9') from--;
    if (from == end) return false;
    *sign = (rex_str){ "-", from > 0 && s.p[from - 1] == '-' };
    while (from + 1 < end && s.p[from] == '0') from++;
    *out = (rex_str){ s.p + from, end - from };
    if (rex_str_is(*out, "0")) sign->n = 0;
    return true;
}

static rex_status verify_sum(const rex_task *t, const rex_claim *c, rex_arena *a, rex_judged *out,
                             rex_err *e) {
    rex_str gold;
    rex_str sign;
    rex_str v;
    bool none;
    (void)t;
    REX_TRY(gold_of(c, a, &gold, &none, e));
    if (none || !last_int(gold, &sign, &v))
        return rex_judge(a, out, e, REX_VERDICT_ambiguous, "gold: '%.*s' holds no integer",
                         shown(gold), gold.p);
    REX_TRY(rex_str_fmt(a, &gold, e, "%.*s%.*s", (int)sign.n, sign.p, (int)v.n, v.p));
    if (rex_str_is(c->finish, "length"))
        return rex_judge(a, out, e, REX_VERDICT_unparsed, "the response was cut off by its length");
    if (!last_int(c->response, &sign, &v))
        return rex_judge(a, out, e, REX_VERDICT_unparsed, "there is no integer");
    REX_TRY(rex_str_fmt(a, &out->extracted, e, "%.*s%.*s", (int)sign.n, sign.p, (int)v.n, v.p));
    return equal_or_not(a, gold, out, e);
}

const rex_task_kind rex_task_kind_arithmetic = {
    .info = { "arithmetic", "sums of numbers of several digits; the last integer counts",
              "question, answer", true, true },
    .draw = draw_sum,
    .verify = verify_sum,
};

/* ---- exact ---- */

static rex_status verify_exact(const rex_task *t, const rex_claim *c, rex_arena *a, rex_judged *out,
                               rex_err *e) {
    rex_str gold;
    bool none;
    (void)t;
    REX_TRY(gold_of(c, a, &gold, &none, e));
    if (none) return rex_judge(a, out, e, REX_VERDICT_ambiguous, "gold: it is empty");
    out->extracted = rex_trim(c->response);
    if (out->extracted.n == 0) {
        out->extracted.p = NULL;
        return rex_judge(a, out, e, REX_VERDICT_unparsed, "the response is empty");
    }
    return equal_or_not(a, gold, out, e);
}

const rex_task_kind rex_task_kind_exact = {
    .info = { "exact", "the response, without blanks around it, equals the answer",
              "prompt, answer", false, true },
    .verify = verify_exact,
};

/* ---- regex ---- */

enum { MATCH_STEPS = 1000000, MATCH_DEPTH = 100000, MATCH_HEAP_KIB = 65536, MATCHES = 10000 };

typedef struct {
    pcre2_general_context *mem;
    pcre2_code *code;
    pcre2_match_context *bound;
} regex;

static void *take(size_t n, void *ud) {
    (void)ud;
    return rex_mem_take(1, n, NULL);
}

static void give(void *p, void *ud) {
    (void)ud;
    rex_mem_free(p);
}

static void close_regex(rex_task *t) {
    regex *r = t->state;
    if (!r) return;
    pcre2_match_context_free(r->bound);
    pcre2_code_free(r->code);
    pcre2_general_context_free(r->mem);
    rex_mem_free(r);
}

static rex_status open_regex(rex_task *t, rex_err *e) {
    const char *p = t->opt.pattern;
    int code = 0;
    PCRE2_SIZE at = 0;
    if (!p || !*p) return rex_fail(e, REX_EARG, -1, "regex: give --pattern RE");
    regex *r = rex_mem_take(1, sizeof *r, e);
    if (!r) return REX_ENOMEM;
    t->state = r;
    r->mem = pcre2_general_context_create(take, give, NULL);
    if (!r->mem) return rex_fail(e, REX_ENOMEM, -1, "no memory for the pattern");
    pcre2_compile_context *cc = pcre2_compile_context_create(r->mem);
    if (!cc) return rex_fail(e, REX_ENOMEM, -1, "no memory for the pattern");
    r->code = pcre2_compile((PCRE2_SPTR)p, strlen(p), PCRE2_UTF | PCRE2_MATCH_INVALID_UTF, &code,
                            &at, cc);
    pcre2_compile_context_free(cc);
    if (!r->code) {
        PCRE2_UCHAR why[160] = "";
        (void)pcre2_get_error_message(code, why, sizeof why);
        if (code == PCRE2_ERROR_NOMEMORY || code == 121)
            return rex_fail(e, REX_ENOMEM, -1, "no memory for the pattern");
        return rex_fail(e, REX_EARG, (int64_t)at, "regex: --pattern '%s': character %zu: %s", p,
                        (size_t)at + 1, (char *)why);
    }
    r->bound = pcre2_match_context_create(r->mem);
    if (!r->bound) return rex_fail(e, REX_ENOMEM, -1, "no memory for the pattern");
    (void)pcre2_set_match_limit(r->bound, MATCH_STEPS);
    (void)pcre2_set_depth_limit(r->bound, MATCH_DEPTH);
    (void)pcre2_set_heap_limit(r->bound, MATCH_HEAP_KIB);
    return REX_OK;
}

/* The last match; *rc < 0 is PCRE's error or no match. */
static rex_str last_match(const regex *r, rex_str s, pcre2_match_data *m, int *rc) {
    rex_str found = { NULL, 0 };
    size_t at = 0;
    *rc = PCRE2_ERROR_NOMATCH;
    for (int k = 0; k < MATCHES && at <= s.n; k++) {
        const int got = pcre2_match(r->code, (PCRE2_SPTR)s.p, s.n, at, 0, m, r->bound);
        if (got == PCRE2_ERROR_NOMATCH) break;
        *rc = got;
        if (got < 0) break;
        const PCRE2_SIZE *v = pcre2_get_ovector_pointer(m);
        const PCRE2_SIZE *g = got > 1 && v[2] != PCRE2_UNSET ? v + 2 : v;
        found = (rex_str){ s.p + g[0], g[1] > g[0] ? g[1] - g[0] : 0 };
        /* \K may put the start behind the end; an empty match must not stand still */
        at = v[1] > v[0] && v[1] > at ? v[1] : (v[1] > at ? v[1] : at) + 1;
    }
    return found;
}

static rex_status verify_regex(const rex_task *t, const rex_claim *c, rex_arena *a, rex_judged *out,
                               rex_err *e) {
    const regex *r = t->state;
    rex_str gold;
    bool none;
    int rc;
    const rex_str text = c->response.p ? c->response : (rex_str){ "", 0 };
    REX_TRY(gold_of(c, a, &gold, &none, e));
    if (none && c->answer.p)
        return rex_judge(a, out, e, REX_VERDICT_ambiguous, "gold: it is empty");
    pcre2_match_data *m = pcre2_match_data_create_from_pattern(r->code, r->mem);
    if (!m) return rex_fail(e, REX_ENOMEM, -1, "no memory for a match");
    const rex_str found = last_match(r, text, m, &rc);
    pcre2_match_data_free(m);
    if (rc == PCRE2_ERROR_NOMEMORY) return rex_fail(e, REX_ENOMEM, -1, "no memory for a match");
    if (rc == PCRE2_ERROR_MATCHLIMIT || rc == PCRE2_ERROR_DEPTHLIMIT || rc == PCRE2_ERROR_HEAPLIMIT)
        return rex_judge(a, out, e, REX_VERDICT_timeout,
                         "the pattern needs more than %d steps here", MATCH_STEPS);
    if (rc < 0 && rc != PCRE2_ERROR_NOMATCH)
        return rex_judge(a, out, e, REX_VERDICT_broken, "the pattern failed with PCRE error %d",
                         rc);
    if (rc < 0) return rex_judge(a, out, e, REX_VERDICT_unparsed, "the pattern finds nothing");
    out->extracted = rex_trim(found);
    if (!out->extracted.p) out->extracted = (rex_str){ "", 0 };
    if (none) return rex_judge(a, out, e, REX_VERDICT_correct, "the pattern matches");
    return equal_or_not(a, gold, out, e);
}

const rex_task_kind rex_task_kind_regex = {
    .info = { "regex", "what --pattern last finds equals the answer, or is there at all",
              "prompt, answer", false, false },
    .open = open_regex,
    .close = close_regex,
    .verify = verify_regex,
};
