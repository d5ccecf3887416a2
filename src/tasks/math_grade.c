/* SPDX-License-Identifier: MIT
 *
 * math_grade.c: the verdict. Both texts are extracted; the gold is read as words or as mathematics
 * and the response in the same way; every reading that the text leaves open (the base of \log,
 * degrees or radians, ...) is graded, and the verdicts are joined: one `correct` is enough for a
 * logarithm's base and for degrees, all must agree for the others.
 */
#include "math_in.h"

#include <stdio.h>
#include <string.h>

/* ---- reasons ----------------------------------------------------------------------------- */

static void say(rex_grade *g, const char *head, const char *mid, rex_str quote, const char *tail) {
    char q[49];
    size_t n = 0;
    for (size_t k = 0; k < quote.n && n < sizeof q - 4; k++) {
        const unsigned char ch = (unsigned char)quote.p[k];
        q[n++] = ch < 0x20 || ch >= 0x7f ? (ch == '\n' ? ' ' : '?') : (char)ch;
    }
    if (n == sizeof q - 4 && n < quote.n) {
        memcpy(q + n, "...", 3);
        n += 3;
    }
    q[n] = 0;
    (void)snprintf(g->reason, 201, quote.p ? "%s%s '%s'%s" : "%s%s%s%s", head, mid,
                   quote.p ? q : "", tail);
}

typedef struct {
    rex_tri r;
    rex_mx_fault fault;
    char why[80];
    int seen;
    bool rounded, response_bad, gold_bad;
} outcome;

/* ---- one pair of texts under one reading ------------------------------------------------- */

/* A choice at the head of a longer answer: "(C) 12", "C. twelve". */
static rex_mx *leading_choice(rex_mctx *c, rex_str s) {
    size_t k = 0;
    while (k < s.n && strchr("$\\{ ", s.p[k])) k++;
    if (s.n - k > 5 && !memcmp(s.p + k, "text", 4)) k += 4;
    while (k < s.n && strchr("{ ", s.p[k])) k++;
    const bool open = k < s.n && s.p[k] == '(';
    if (open) k++;
    if (k + 1 >= s.n || s.p[k] < 'A' || s.p[k] > 'Z') return NULL;
    const char next = s.p[k + 1];
    if (!(next == ')' || (!open && (next == '.' || next == ':')))) return NULL;
    return rex_mx_words(c, (rex_str){ s.p + k, 1 });
}

static bool is_choice(const rex_mx *x) {
    return x->kind == MX_TEXT
               ? x->op == 1
               : x->kind == MX_SET && x->n && x->arg[0]->kind == MX_TEXT && x->arg[0]->op == 1;
}

static bool one_number(const rex_mx *x) { return rex_mx_is_scalar(x) && x->kind != MX_SYM; }

static void compare(rex_mctx *c, rex_str gold, rex_str resp, outcome *o) {
    rex_mx *g = rex_mx_words(c, gold), *r = NULL;
    if (g) {
        r = rex_mx_words(c, resp);
        if (!r && is_choice(g)) r = leading_choice(c, resp);
        if (!r) r = rex_mx_parse(c, resp);
        if (r && r->kind == MX_SYM && g->kind == MX_TEXT && g->op != 1) r = rex_mx_text(c, resp);
    } else {
        g = rex_mx_parse(c, gold);
        if (!g) {
            o->gold_bad = true;
            return;
        }
        r = rex_mx_words(c, resp);
        if (r && !(r->kind == MX_TEXT && r->s.n && r->s.p[0] <= '9'))
            r = NULL; /* a clock time stays one */
        if (!r) r = rex_mx_parse(c, resp);
        if (!r && c->fault == REX_MF_SYNTAX) {
            rex_mx_fault was = c->fault;
            c->fault = REX_MF_NONE;
            r = rex_mx_words(c, resp);
            if (!r) c->fault = was;
        }
    }
    if (!r || c->fault) {
        o->response_bad = true;
        return;
    }
    o->r = rex_mx_equal(c, g, r);
    if (o->r != REX_NE || c->fault) return;
    /* a decimal comma, where the other side is one number */
    rex_mx *dr = one_number(g) ? rex_mx_decimal_comma(c, resp) : NULL;
    rex_mx *dg = !dr && one_number(r) ? rex_mx_decimal_comma(c, gold) : NULL;
    if (dr) o->r = rex_mx_equal(c, g, dr);
    else if (dg) o->r = rex_mx_equal(c, dg, r);
}

static outcome one_reading(rex_arena *a, rex_str gold, rex_str resp, int reading, bool identity,
                           int64_t *steps, rex_err *e) {
    outcome o = { .r = REX_UNK };
    rex_mctx c;
    rex_mctx_init(&c, a, reading, identity, e);
    c.steps = *steps;
    compare(&c, gold, resp, &o);
    *steps = c.steps;
    o.fault = c.fault;
    o.seen = c.seen;
    o.rounded = c.rounded;
    memcpy(o.why, c.why, sizeof o.why);
    rex_mctx_done(&c);
    return o;
}

/* All readings that the texts leave open, joined. */
static outcome all_readings(rex_arena *a, rex_str gold, rex_str resp, bool identity, int64_t *steps,
                            rex_err *e) {
    outcome best = one_reading(a, gold, resp, 0, identity, steps, e);
    int seen = best.seen;
    for (int bits = 1; bits <= REX_RD_ALL && best.fault != REX_MF_NOMEM; bits++) {
        if (bits & ~seen) continue; /* only places that exist */
        const outcome o = one_reading(a, gold, resp, bits, identity, steps, e);
        if (o.fault == REX_MF_NOMEM) return o;
        seen |= o.seen;
        const bool either = (bits & ~(REX_RD_LOG10 | REX_RD_RAD)) == 0;
        if (either) {
            if (best.r != REX_EQ && (o.r == REX_EQ || (o.r == REX_UNK && best.r == REX_NE)))
                best = o;
        } else if (o.r != best.r && !(bits & (REX_RD_LOG10 | REX_RD_RAD))) {
            best.r = REX_UNK;
            memcpy(best.why, "it can be read in two ways", 27);
        }
    }
    if ((seen & REX_RD_MURKY) && best.r == REX_EQ) {
        best.r = REX_UNK;
        memcpy(best.why, "it is written in a way that can be misread", 43);
    }
    best.seen = seen;
    return best;
}

/* ---- the verdict ------------------------------------------------------------------------- */

static bool find(rex_arena *a, rex_str text, rex_found *f, rex_err *e) {
    rex_mctx c;
    rex_mctx_init(&c, a, 0, true, e);
    rex_math_extract(&c, text, f);
    const bool ok = c.fault != REX_MF_NOMEM;
    if (c.fault) *f = (rex_found){ .step = "", .none = "the text is too long or too tangled" };
    rex_mctx_done(&c);
    return ok;
}

static void verdict_of(rex_grade *g, const outcome *o, const rex_found *r, bool list) {
    const char *step = list ? "boxes as one list" : r->step;
    if (o->gold_bad) {
        g->verdict = REX_VERDICT_ambiguous;
        say(g, "gold: cannot be read: ", o->why, (rex_str){ NULL, 0 }, "");
    } else if (o->response_bad) {
        const bool limit = o->fault == REX_MF_LIMIT;
        g->verdict = limit ? REX_VERDICT_ambiguous : REX_VERDICT_unparsed;
        say(g, step, limit ? ": too large to be read:" : ": cannot be read:", r->text, "");
        const size_t n = strlen(g->reason);
        (void)snprintf(g->reason + n, 201 - n, ": %s", o->why);
    } else if (o->r == REX_EQ) {
        g->verdict = REX_VERDICT_correct;
        say(g, step, ":", g->extracted,
            o->rounded ? " is the gold answer, rounded" : " equals the gold answer");
    } else if (o->r == REX_NE) {
        g->verdict = REX_VERDICT_wrong;
        say(g, step, ":", g->extracted, " is not the gold answer");
    } else {
        g->verdict = REX_VERDICT_ambiguous;
        say(g, step, ":", g->extracted,
            o->why[0] ? " could not be compared: " : " could not be proved equal or different");
        if (o->why[0]) {
            const size_t n = strlen(g->reason);
            (void)snprintf(g->reason + n, 201 - n, "%s", o->why);
        }
    }
}

/* A verdict that counts more when several texts are offered: correct, then ambiguous. */
static bool better(const outcome *x, const outcome *y) {
    const int a = x->response_bad ? 0 : x->r == REX_EQ ? 3 : x->r == REX_UNK ? 2 : 1;
    const int b = y->response_bad ? 0 : y->r == REX_EQ ? 3 : y->r == REX_UNK ? 2 : 1;
    return a > b;
}

rex_status rex_math_grade_with(rex_str gold, rex_str response, int flags, rex_arena *scratch,
                               rex_grade *out, rex_err *e) {
    const bool identity = !(flags & REX_MATH_NO_IDENTITY);
    *out = (rex_grade){ .verdict = REX_VERDICT_ambiguous };
    rex_found g, r;
    if (!find(scratch, gold, &g, e) || !find(scratch, response, &r, e)) return REX_ENOMEM;
    if (g.none) {
        say(out, "gold: ", g.none, (rex_str){ NULL, 0 }, "");
        return REX_OK;
    }
    if (r.none) {
        out->verdict = REX_VERDICT_unparsed;
        say(out, "response: ", r.none, (rex_str){ NULL, 0 }, "");
        return REX_OK;
    }
    outcome best = { 0 };
    bool list = false, first = true;
    int64_t steps = REX_MX_STEPS; /* for all pairs together: a verdict has one bound */
    for (int k = 0; k < 4; k++) { /* last box or list, of the gold and of the response */
        const rex_str a = k & 2 ? g.list : g.text, b = k & 1 ? r.list : r.text;
        if (!a.p || !b.p || (k && (!a.n || !b.n))) continue;
        const bool same = identity && rex_str_eq(a, b);
        outcome o = same ? one_reading(scratch, a, b, 0, true, &steps, e)
                         : all_readings(scratch, a, b, identity, &steps, e);
        if (o.fault == REX_MF_NOMEM) return REX_ENOMEM;
        if (same && !o.gold_bad) o = (outcome){ .r = REX_EQ };
        /* the gold's last box alone, where it offers a list: not the whole key */
        if (!(k & 2) && g.list.n && o.r == REX_EQ) {
            o.r = REX_UNK;
            memcpy(o.why, "the gold has several boxes", 27);
        }
        if (first || better(&o, &best)) best = o, list = (k & 1) != 0;
        first = false;
    }
    out->extracted = list ? r.list : r.text;
    verdict_of(out, &best, &r, list);
    return REX_OK;
}

rex_status rex_math_grade(rex_str gold, rex_str response, rex_arena *scratch, rex_grade *out,
                          rex_err *e) {
    return rex_math_grade_with(gold, response, 0, scratch, out, e);
}
