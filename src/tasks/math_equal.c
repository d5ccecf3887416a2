/* SPDX-License-Identifier: MIT
 *
 * math_equal.c: are two answers equal? Shapes first (lists, sets, tuples, matrices, statements),
 * scalars at the leaves, where the field decides. The result is one of three: EQ and NE are proved,
 * UNKNOWN becomes `ambiguous`. The judgement calls of docs/grading.md live here: units and
 * currency, per cent, the rounding rule, `x = 5` as 5, unordered lists, ordered tuples.
 */
#include "math_in.h"

#include <string.h>

/* ---- what is it? ------------------------------------------------------------------------- */

bool rex_mx_is_scalar(const rex_mx *x) {
    switch (x->kind) {
    case MX_PAIR:
    case MX_TUPLE:
    case MX_SET:
    case MX_LIST:
    case MX_UNION:
    case MX_INTER:
    case MX_MINUS:
    case MX_MATRIX:
    case MX_REL:
    case MX_IN:
    case MX_OR:
    case MX_TEXT:
    case MX_RATIO: return false;
    case MX_CONST: return x->op <= MXC_INF;
    default: return true;
    }
}

static bool has_symbol(const rex_mx *x) {
    if (x->kind == MX_SYM || x->kind == MX_APP) return true;
    for (uint32_t i = 0; i < x->n; i++)
        if (has_symbol(x->arg[i])) return true;
    return false;
}

static bool has_kind(const rex_mx *x, rex_mx_kind k) {
    if (x->kind == k) return true;
    for (uint32_t i = 0; i < x->n; i++)
        if (has_kind(x->arg[i], k)) return true;
    return false;
}

static int infinity_of(const rex_mx *x) {
    if (x->kind == MX_UNIT) return infinity_of(x->arg[0]);
    if (x->kind == MX_CONST && x->op == MXC_INF) return 1;
    if (x->kind == MX_NEG) return -infinity_of(x->arg[0]);
    if (x->kind == MX_ADD && x->n == 1) return infinity_of(x->arg[0]);
    return 0;
}

static bool inequality(const rex_mx *x) {
    if (x->kind != MX_REL) return false;
    for (size_t i = 0; i < x->s.n; i++)
        if (x->s.p[i] == '=' || x->s.p[i] == 'a') return false;
    return true;
}

/* Sets that are not finite lists of things. A pair in round brackets alone may be a point. */
bool rex_mx_is_set(const rex_mx *x) {
    switch (x->kind) {
    case MX_UNION:
    case MX_INTER:
    case MX_MINUS:
    case MX_IN: return true;
    case MX_PAIR: return true;
    case MX_CONST: return x->op == MXC_REALS || x->op == MXC_EMPTY;
    case MX_REL: return inequality(x);
    case MX_LIST: {
        bool all = x->op == 1;
        for (uint32_t i = 0; i < x->n; i++) all = all && inequality(x->arg[i]);
        return all;
    }
    default: return false;
    }
}

static bool is_name(const rex_mx *x) { return x->kind == MX_SYM || x->kind == MX_APP; }

/* name = value (either way round), also (x, y) = (1, 2): the value, and the name; else NULL. */
static rex_mx *assigned(const rex_mx *x, const rex_mx **name) {
    if (x->kind != MX_REL || x->n != 2 || x->s.p[0] != '=') return NULL;
    for (int k = 0; k < 2; k++) {
        const rex_mx *l = x->arg[k];
        rex_mx *r = x->arg[1 - k];
        bool names = is_name(l);
        if ((l->kind == MX_PAIR || l->kind == MX_TUPLE) && (r->kind == l->kind) && r->n == l->n) {
            names = true;
            for (uint32_t i = 0; i < l->n; i++) names = names && is_name(l->arg[i]);
        }
        if (names && !has_symbol(r)) {
            *name = l;
            return r;
        }
    }
    return NULL;
}

/* ---- the quick road: rationals ----------------------------------------------------------- */

static bool quick(const rex_mx *x, fmpq_t r, int depth) {
    if (depth > 40) return false;
    fmpq_t t;
    switch (x->kind) {
    case MX_NUM:
        if (fmpz_bits(fmpq_numref(x->q)) > 2000 || fmpz_bits(fmpq_denref(x->q)) > 2000)
            return false;
        fmpq_set(r, x->q);
        return true;
    case MX_UNIT: return quick(x->arg[0], r, depth + 1);
    case MX_NEG:
        if (!quick(x->arg[0], r, depth + 1)) return false;
        fmpq_neg(r, r);
        return true;
    case MX_ADD:
    case MX_MUL:
    case MX_DIV: {
        if (x->n > 16) return false;
        bool ok = true;
        fmpq_init(t);
        for (uint32_t i = 0; ok && i < x->n; i++) {
            ok = quick(x->arg[i], i ? t : r, depth + 1) && fmpz_bits(fmpq_numref(r)) < 4000 &&
                 fmpz_bits(fmpq_denref(r)) < 4000;
            if (!ok || i == 0) continue;
            if (x->kind == MX_ADD) fmpq_add(r, r, t);
            else if (x->kind == MX_MUL) fmpq_mul(r, r, t);
            else if (fmpq_is_zero(t)) ok = false;
            else fmpq_div(r, r, t);
        }
        fmpq_clear(t);
        return ok;
    }
    default: return false;
    }
}

/* ---- scalars ----------------------------------------------------------------------------- */

/* A decimal literal with a sign, a unit or times a power of ten. */
typedef struct {
    fmpq *q;
    slong sig, exp10;
    bool scientific;
} decimal;

static bool as_decimal(rex_mctx *c, const rex_mx *x, decimal *d) {
    if (x->kind == MX_UNIT) return as_decimal(c, x->arg[0], d);
    if (x->kind == MX_NEG || (x->kind == MX_MUL && x->n == 2 && x->arg[1]->kind == MX_POW)) {
        if (!as_decimal(c, x->arg[0], d)) return false;
        fmpq *q = rex_mx_q(c);
        if (!q) return false;
        if (x->kind == MX_NEG) {
            fmpq_neg(q, d->q);
        } else { /* d * 10^k */
            const rex_mx *base = x->arg[1]->arg[0], *e = x->arg[1]->arg[1];
            fmpq_t k;
            fmpq_init(k);
            const bool ten = base->kind == MX_NUM && fmpq_equal_ui(base->q, 10) && quick(e, k, 0) &&
                             fmpz_is_one(fmpq_denref(k)) &&
                             fmpz_cmpabs(fmpq_numref(k), fmpq_numref(base->q)) <= 0;
            const slong n = ten ? fmpz_get_si(fmpq_numref(k)) : 0;
            fmpq_clear(k);
            if (!ten) return false;
            fmpq_set(q, base->q);
            fmpq_pow_si(q, q, n);
            fmpq_mul(q, q, d->q);
            d->exp10 += n;
            d->scientific = true;
        }
        d->q = q;
        return true;
    }
    if (x->kind != MX_NUM || x->sig == 0) return false;
    *d = (decimal){ x->q, x->sig, x->exp10, x->exp10 >= 0 };
    return true;
}

/* Does the element lie within half a unit of the last digit? */
static rex_tri rounds_to(rex_mctx *c, const rex_mx *exact, const decimal *d) {
    if (d->exp10 > 40 || d->exp10 < -1000) return REX_UNK;
    fmpq *half = rex_mx_q(c), *ten = rex_mx_q(c);
    if (!half || !ten) return REX_UNK;
    fmpq_set_si(ten, 10, 1);
    fmpq_pow_si(half, ten, d->exp10);
    fmpq_set_si(ten, 1, 2);
    fmpq_mul(half, half, ten);
    rex_mctx_again(c);
    rex_fe *v = rex_mx_eval(c, exact);
    if (c->again) {
        rex_mctx_again(c);
        v = rex_mx_eval(c, exact);
    }
    if (!v || !rex_fe_closed(c, v)) return v ? REX_NE : REX_UNK;
    rex_fe *diff = rex_fe_sub(c, v, rex_fe_q(c, d->q)), *h = rex_fe_q(c, half);
    const int above = rex_fe_sign(c, rex_fe_sub(c, h, diff)),
              below = rex_fe_sign(c, rex_fe_add(c, h, diff));
    if (c->fault) return REX_UNK;
    if (above == 2 || below == 2)
        return REX_NE; /* not real, or not decided: equality was refused */
    return above >= 0 && below >= 0 ? REX_EQ : REX_NE;
}

/* The rounding rule, once plain equality has failed. */
static rex_tri rounded(rex_mctx *c, const rex_mx *a, const rex_mx *b) {
    decimal da, db;
    const bool a_dec = as_decimal(c, a, &da), b_dec = as_decimal(c, b, &db);
    if (a_dec == b_dec && !a_dec) return REX_NE;
    const rex_mx *exact = a_dec && !(b_dec && db.exp10 > da.exp10) ? b : a;
    const decimal *d = exact == b ? &da : &db;
    if (d->sig < 4) return REX_NE;
    const rex_tri t = rounds_to(c, exact, d);
    if (t != REX_EQ) return t;
    fmpq_t q;
    fmpq_init(q);
    const bool integer = quick(exact, q, 0) && fmpz_is_one(fmpq_denref(q));
    fmpq_clear(q);
    if (a_dec && b_dec) return REX_UNK;             /* two roundings of who knows what */
    if (d->scientific && integer) return REX_UNK;   /* 1.234e4 and 12344 */
    c->rounded = true;
    return REX_EQ;
}

static rex_tri field_equal(rex_mctx *c, const rex_mx *a, const rex_mx *b) {
    fmpq_t p, q;
    fmpq_init(p);
    fmpq_init(q);
    const bool fast = quick(a, p, 0) && quick(b, q, 0);
    const bool same = fast && fmpq_equal(p, q);
    fmpq_clear(p);
    fmpq_clear(q);
    if (fast) return same ? REX_EQ : REX_NE;
    for (int pass = 0; pass < 4; pass++) {
        if (pass == 0) {
            c->n_gen = 0;
            memset(c->hint, 0, sizeof c->hint);
        }
        rex_mctx_again(c);
        rex_fe *x = rex_mx_eval(c, a), *y = rex_mx_eval(c, b);
        if (!x || !y) return REX_UNK;
        rex_fe *d = rex_fe_sub(c, x, y);
        if (!d) return REX_UNK;
        if (!c->again) return rex_fe_zero(c, d);
    }
    return rex_mx_fail(c, REX_MF_LIMIT, "roots of too many orders"), REX_UNK;
}

/* p % as p/100 (scale) or as p. */
static rex_mx *percent(rex_mctx *c, const rex_mx *x, bool scale) {
    if (x->kind == MX_UNIT || x->kind == MX_NEG) {
        rex_mx *in = percent(c, x->arg[0], scale);
        return in ? rex_mx_new1(c, (rex_mx_kind)x->kind, in) : NULL;
    }
    if (x->kind != MX_PERCENT) return NULL;
    rex_mx *p = x->arg[0];
    if (!scale) return p;
    if (p->kind == MX_NUM && p->sig > 0) { /* stays a decimal, two places on */
        rex_mx *y = rex_mx_new(c, MX_NUM, 0);
        if (!y || !(y->q = rex_mx_q(c))) return NULL;
        fmpq *hundred = rex_mx_q(c);
        if (!hundred) return NULL;
        fmpq_set_si(hundred, 100, 1);
        fmpq_div(y->q, p->q, hundred);
        y->sig = p->sig;
        y->exp10 = p->exp10 - 2;
        return y;
    }
    return rex_mx_new2(c, MX_DIV, p, rex_mx_int(c, 100));
}

static rex_tri any(rex_tri x, rex_tri y) { /* one of two readings suffices */
    if (x == REX_EQ || y == REX_EQ) return REX_EQ;
    return x == REX_UNK || y == REX_UNK ? REX_UNK : REX_NE;
}

/* 12_5: equal to itself; against an unmarked number nobody can tell which is meant. */
static rex_tri based(rex_mctx *c, const rex_mx *a, const rex_mx *b) {
    const bool both = a->kind == MX_BASE && b->kind == MX_BASE;
    if (both) return fmpq_equal(a->q, b->q) ? (a->op == b->op ? REX_EQ : REX_UNK) : REX_NE;
    const rex_mx *m = a->kind == MX_BASE ? a : b, *o = m == a ? b : a;
    if (m->op == 10) return field_equal(c, a, b);
    rex_mx *digits = NULL;
    bool decimal_digits = true;
    for (size_t k = 0; k < m->s.n; k++) decimal_digits = decimal_digits && (m->s.p[k] <= '9');
    if (decimal_digits) digits = rex_mx_number(c, m->s);
    if (digits && field_equal(c, digits, o) != REX_NE) return REX_UNK;
    return field_equal(c, m, o) == REX_NE ? REX_NE : REX_UNK;
}

/* A bare letter behind a number is a unit against a plain number, a symbol against symbols. */
static rex_mx *letter_unit(rex_mctx *c, const rex_mx *x, const rex_mx *other) {
    if (x->kind != MX_UNIT || x->op != 1 || !has_symbol(other)) return NULL;
    rex_mx *s = rex_mx_new(c, MX_SYM, 0);
    if (!s) return NULL;
    s->s = x->s;
    return rex_mx_new2(c, MX_MUL, x->arg[0], s);
}

rex_tri rex_mx_scalar(rex_mctx *c, const rex_mx *a, const rex_mx *b) {
    if (c->fault || !rex_mx_step(c, 20)) return REX_UNK;
    if (c->identity && rex_mx_same(a, b)) return REX_EQ;
    rex_mx *m = letter_unit(c, a, b);
    if (m) a = m;
    m = letter_unit(c, b, a);
    if (m) b = m;
    const int ia = infinity_of(a), ib = infinity_of(b);
    if (ia || ib) return ia == ib ? REX_EQ : REX_NE;
    rex_mx *pa = percent(c, a, false), *pb = percent(c, b, false);
    if (pa && pb) return rex_mx_scalar(c, pa, pb);
    if (pa) return any(rex_mx_scalar(c, pa, b), rex_mx_scalar(c, percent(c, a, true), b));
    if (pb) return any(rex_mx_scalar(c, a, pb), rex_mx_scalar(c, a, percent(c, b, true)));
    if (c->fault) return REX_UNK;
    const rex_mx *sa = rex_mx_strip((rex_mx *)(uintptr_t)a),
                 *sb = rex_mx_strip((rex_mx *)(uintptr_t)b);
    if (sa->kind == MX_BASE || sb->kind == MX_BASE) return based(c, sa, sb);
    rex_tri r = field_equal(c, a, b);
    if (r == REX_NE && !c->fault) r = rounded(c, a, b);
    return c->fault ? REX_UNK : r;
}

/* ---- lists ------------------------------------------------------------------------------- */

/* A copy with every +- read as + (or, if lower, as -). */
static rex_mx *choose_sign(rex_mctx *c, const rex_mx *x, bool lower) {
    rex_mx *y = rex_mx_new(c, (rex_mx_kind)x->kind, x->n);
    if (!y) return NULL;
    rex_mx **arg = y->arg;
    *y = *x;
    y->arg = arg;
    for (uint32_t i = 0; i < x->n; i++)
        if (!(arg[i] = choose_sign(c, x->arg[i], lower))) return NULL;
    if (x->kind != MX_PM) return y;
    y->kind = MX_ADD;
    y->op = 0;
    if ((x->op == 1) != lower) y->arg[1] = rex_mx_new1(c, MX_NEG, y->arg[1]);
    return y->arg[1] ? y : NULL;
}

/* Items of a list, set or single value, with +- written out and `x =` taken off. */
typedef struct {
    const rex_mx **v;
    uint32_t n;
    bool braces, names; /* names: different unknowns are assigned */
    const rex_mx *name;
} items;

static bool put_item(rex_mctx *c, items *s, uint32_t room, const rex_mx *x) {
    const rex_mx *name = NULL;
    const rex_mx *value = assigned(x, &name);
    if (value) {
        if (s->name && !rex_mx_same(s->name, name)) s->names = true;
        s->name = name;
        x = value;
    }
    if (x->kind == MX_SET && !s->braces) { /* x = {1, 2}, or {1, 2} alone */
        for (uint32_t i = 0; i < x->n; i++)
            if (!put_item(c, s, room, x->arg[i])) return false;
        return true;
    }
    if (has_kind(x, MX_PM) && x->kind != MX_PAIR && x->kind != MX_TUPLE) {
        const rex_mx *p = choose_sign(c, x, false), *q = choose_sign(c, x, true);
        if (!p || !q || s->n + 2 > room) return false;
        s->v[s->n++] = p;
        s->v[s->n++] = q;
        return true;
    }
    if (s->n == room) return rex_mx_fail(c, REX_MF_LIMIT, "a list is too long");
    s->v[s->n++] = x;
    return true;
}

static bool list_items(rex_mctx *c, const rex_mx *x, items *s) {
    const uint32_t room = 600;
    *s = (items){ .v = rex_mx_take(c, room, sizeof *s->v), .braces = x->kind == MX_SET };
    if (!s->v) return false;
    if (x->kind != MX_LIST && x->kind != MX_SET) return put_item(c, s, room, x);
    for (uint32_t i = 0; i < x->n; i++)
        if (!put_item(c, s, room, x->arg[i])) return false;
    return true;
}

/* Every item of one side has its equal on the other; for sets how often does not matter. Lists
 * are matched one to one, greedily: equality is an equivalence, so no choice can be a bad one. */
static rex_tri unordered(rex_mctx *c, const items *a, const items *b) {
    if ((uint64_t)a->n * b->n > 10000)
        return rex_mx_fail(c, REX_MF_LIMIT, "a list is too long"), REX_UNK;
    uint8_t *hit = rex_mx_take(c, b->n, 1); /* 1: equal to some, 2: perhaps */
    uint8_t *used = rex_mx_take(c, b->n, 1);
    if (!hit || !used) return REX_UNK;
    bool unknown = false, once = a->n == b->n;
    for (uint32_t i = 0; i < a->n; i++) {
        bool eq = false, unk = false, matched = false;
        for (uint32_t j = 0; j < b->n; j++) {
            const rex_tri t = rex_mx_equal(c, a->v[i], b->v[j]);
            if (c->fault) return REX_UNK;
            if (t == REX_EQ) {
                eq = true;
                hit[j] = 1;
                if (!matched && !used[j]) {
                    used[j] = 1;
                    matched = true;
                }
            } else if (t == REX_UNK) {
                unk = true;
                if (!hit[j]) hit[j] = 2;
            }
        }
        once = once && matched;
        if (!eq && !unk) return REX_NE;
        unknown = unknown || !eq;
    }
    for (uint32_t j = 0; j < b->n; j++) {
        if (!hit[j]) return REX_NE;
        unknown = unknown || hit[j] == 2;
    }
    if (unknown) return REX_UNK;
    /* 1, 1, 2 and 1, 2: the same set, not the same list */
    return once || (a->braces && b->braces) ? REX_EQ : REX_UNK;
}

/* x = 1, y = 2 against the same unknowns in any order. */
static rex_tri by_name(rex_mctx *c, const rex_mx *a, const rex_mx *b) {
    if (a->kind != MX_LIST || b->kind != MX_LIST || a->n != b->n) return REX_UNK;
    rex_tri r = REX_EQ;
    for (uint32_t i = 0; i < a->n; i++) {
        rex_tri best = REX_NE;
        for (uint32_t j = 0; j < b->n && best != REX_EQ; j++) {
            const rex_mx *p = NULL, *q = NULL;
            const rex_mx *u = assigned(a->arg[i], &p), *v = assigned(b->arg[j], &q);
            if (!u || !v) return REX_UNK;
            if (rex_mx_same(p, q)) best = any(best, rex_mx_equal(c, u, v));
        }
        if (best == REX_NE) return REX_NE;
        if (best == REX_UNK) r = REX_UNK;
    }
    return r;
}

static rex_tri ordered(rex_mctx *c, const items *a, const items *b) {
    if (a->n != b->n) return REX_NE;
    rex_tri r = REX_EQ;
    for (uint32_t i = 0; i < a->n; i++) {
        const rex_tri t = rex_mx_equal(c, a->v[i], b->v[i]);
        if (t == REX_NE) return REX_NE;
        if (t == REX_UNK) r = REX_UNK;
    }
    return r;
}

static rex_tri entries(rex_mctx *c, const rex_mx *a, const rex_mx *b) {
    const items x = {.v = (const rex_mx **)a->arg, .n = a->n},
                y = {.v = (const rex_mx **)b->arg, .n = b->n};
    return ordered(c, &x, &y);
}

static rex_tri lists(rex_mctx *c, const rex_mx *a, const rex_mx *b) {
    items x, y;
    if (!list_items(c, a, &x) || !list_items(c, b, &y)) return REX_UNK;
    if (x.names || y.names) return by_name(c, a, b);
    if (x.name && y.name && !rex_mx_same(x.name, y.name)) { /* x = 5 and y = 5 */
        const rex_tri t = unordered(c, &x, &y);
        return t == REX_EQ ? REX_UNK : t;
    }
    return unordered(c, &x, &y);
}

/* ---- chains of equal values -------------------------------------------------------------- */

/* 0.56 = 56 %, 2/3 \approx 0.67, x = 3 + 4 = 7: all operands closed but for a leading name. */
static bool value_chain(const rex_mx *x) {
    if (x->kind != MX_REL ||
        (x->n == 2 && x->s.p[0] == '=' && (is_name(x->arg[0]) || is_name(x->arg[1]))))
        return false;
    for (size_t i = 0; i < x->s.n; i++)
        if (x->s.p[i] != '=' && x->s.p[i] != 'a') return false;
    for (uint32_t i = 0; i < x->n; i++)
        if (!(i == 0 && is_name(x->arg[0])) && has_symbol(x->arg[i])) return false;
    return x->n > 2 || !is_name(x->arg[0]) || x->s.p[0] == 'a';
}

static rex_tri chain(rex_mctx *c, const rex_mx *x, const rex_mx *other, bool gold) {
    const uint32_t first = is_name(x->arg[0]) ? 1 : 0;
    bool eq = false, ne = false, unk = false;
    rex_tri head = REX_UNK;
    for (uint32_t i = first; i < x->n; i++) {
        const rex_tri t = rex_mx_equal(c, gold ? x->arg[i] : other, gold ? other : x->arg[i]);
        if (c->fault) return REX_UNK;
        if (i == first) head = t;
        const bool approx = i > first && x->s.p[i - 1] == 'a';
        decimal d;
        if (t == REX_EQ) eq = true;
        else if (t == REX_UNK) unk = true;
        else if (!approx || !as_decimal(c, x->arg[i], &d) ||
                 rounds_to(c, x->arg[first], &d) != REX_EQ)
            ne = true;
    }
    if (gold)
        return eq ? REX_EQ : unk ? REX_UNK : REX_NE; /* the key says that all of these are right */
    if (head == REX_EQ && !ne) return REX_EQ;
    return eq || unk ? REX_UNK : REX_NE; /* one part matches, another does not */
}

/* ---- all shapes -------------------------------------------------------------------------- */

static bool listlike(const rex_mx *x) { return x->kind == MX_LIST || x->kind == MX_SET; }
static bool tuplelike(const rex_mx *x) { return x->kind == MX_PAIR || x->kind == MX_TUPLE; }

static rex_tri texts(const rex_mx *a, const rex_mx *b) {
    if (a->kind != b->kind) {
        const rex_mx *t = a->kind == MX_TEXT ? a : b, *o = t == a ? b : a;
        if (o->kind == MX_SYM && t->s.n == o->s.n && t->op == 1 && !memcmp(t->s.p, o->s.p, t->s.n))
            return REX_EQ;
        return REX_NE;
    }
    if (a->s.n != b->s.n) return REX_NE;
    for (size_t k = 0; k < a->s.n; k++)
        if ((a->s.p[k] | 0x20) != (b->s.p[k] | 0x20)) return REX_NE;
    return REX_EQ;
}

static rex_tri pairs(rex_mctx *c, const rex_mx *a, const rex_mx *b) {
    const bool interval = a->lb == '[' || a->rb == '[' || b->lb == '[' || b->rb == '[';
    if (a->lb == b->lb && a->rb == b->rb) return entries(c, a, b);
    if (a->kind != b->kind) return REX_NE;
    if (a->kind == MX_TUPLE)
        return entries(c, a, b); /* (1, 2, 3), [1, 2, 3], \langle 1, 2, 3 \rangle */
    if (!interval) return entries(c, a, b);
    if (infinity_of(a->arg[0]) || infinity_of(a->arg[1]))
        return rex_mx_sets(c, a, b); /* [-oo, 3) */
    return REX_NE;
}

static rex_tri unequal_shapes(rex_mctx *c, const rex_mx *a, const rex_mx *b) {
    /* a column or a bare list where a tuple is asked: same entries, other writing */
    if (tuplelike(a) || tuplelike(b)) {
        const rex_mx *t = tuplelike(a) ? a : b, *o = t == a ? b : a;
        const bool near = (o->kind == MX_LIST || o->kind == MX_MATRIX || o->kind == MX_TUPLE) &&
                          o->n == t->n && t->lb != '[';
        if (near) return entries(c, t, o) == REX_NE ? REX_NE : REX_UNK;
    }
    if (a->kind == MX_RATIO || b->kind == MX_RATIO) {
        const rex_mx *t = a->kind == MX_RATIO ? a : b, *o = t == a ? b : a;
        if (t->n != 2 || !rex_mx_is_scalar(o)) return REX_NE;
        const rex_mx *q = rex_mx_new2(c, MX_DIV, t->arg[0], t->arg[1]);
        return q && rex_mx_scalar(c, q, o) == REX_NE ? REX_NE : REX_UNK;
    }
    return REX_NE;
}

static rex_tri ratios(rex_mctx *c, const rex_mx *a, const rex_mx *b) {
    if (a->n != b->n) return REX_NE;
    const rex_tri t = entries(c, a, b);
    if (t != REX_NE || c->fault) return t;
    for (uint32_t i = 1; i < a->n; i++) { /* 2 : 4 for 1 : 2 may or may not be meant */
        const rex_mx *x = rex_mx_new2(c, MX_MUL, a->arg[0], b->arg[i]),
                     *y = rex_mx_new2(c, MX_MUL, a->arg[i], b->arg[0]);
        if (!x || !y || rex_mx_scalar(c, x, y) == REX_NE) return REX_NE;
    }
    return REX_UNK;
}

/* Does every name of x stand in y? x > 3 and y > 3 may or may not be the same answer. */
static bool names_within(const rex_mx *x, const rex_mx *y) {
    if (x->kind == MX_SYM) {
        if (y->kind == MX_SYM && rex_str_eq(x->s, y->s)) return true;
        for (uint32_t i = 0; i < y->n; i++)
            if (names_within(x, y->arg[i])) return true;
        return false;
    }
    for (uint32_t i = 0; i < x->n; i++)
        if (!names_within(x->arg[i], y)) return false;
    return true;
}

static rex_tri statements(rex_mctx *c, const rex_mx *a, const rex_mx *b) {
    const rex_mx *p = NULL, *q = NULL;
    if (a->kind == MX_REL && b->kind == MX_REL) {
        const rex_mx *u = assigned(a, &p), *v = assigned(b, &q);
        if (u && v) {
            const rex_tri t = lists(c, a, b);
            return t;
        }
        if (inequality(a) && inequality(b)) {
            const rex_tri t = rex_mx_rels(c, a, b);
            if (t == REX_EQ || c->fault) return t;
            const rex_tri sets = rex_mx_sets(c, a, b);
            if (sets == REX_EQ) return names_within(a, b) && names_within(b, a) ? REX_EQ : REX_UNK;
            if (c->fault == REX_MF_NONE) return sets;
            if (c->fault == REX_MF_LIMIT && c->steps > 0)
                c->fault = REX_MF_NONE; /* not linear, say */
            return t; /* then what the statements said */
        }
        return rex_mx_rels(c, a, b);
    }
    const rex_mx *r = a->kind == MX_REL ? a : b, *o = r == a ? b : a;
    if (assigned(r, &p)) return lists(c, a, b);
    if (inequality(r) && rex_mx_is_set(o)) return rex_mx_sets(c, a, b);
    return REX_NE; /* an equation equals only an equation */
}

static rex_tri shapes(rex_mctx *c, const rex_mx *a, const rex_mx *b) {
    if (value_chain(a)) return chain(c, a, b, true);
    if (value_chain(b)) return chain(c, b, a, false);
    if (a->kind == MX_IN && b->kind != MX_IN) return rex_mx_equal(c, a->arg[1], b);
    if (b->kind == MX_IN && a->kind != MX_IN) return rex_mx_equal(c, a, b->arg[1]);
    if (a->kind == MX_IN) return rex_mx_equal(c, a->arg[1], b->arg[1]);
    if (tuplelike(a) && tuplelike(b) && a->kind == b->kind) return pairs(c, a, b);
    const bool sa = rex_mx_is_set(a), sb = rex_mx_is_set(b);
    const bool union_a = sa && !tuplelike(a) && a->kind != MX_REL,
               union_b = sb && !tuplelike(b) && b->kind != MX_REL;
    if ((union_a || union_b) && (sa || listlike(a) || rex_mx_is_scalar(a)) &&
        (sb || listlike(b) || rex_mx_is_scalar(b)))
        return rex_mx_sets(c, a, b);
    if ((a->kind == MX_REL || b->kind == MX_REL) && !listlike(a) && !listlike(b))
        return statements(c, a, b);
    if (listlike(a) || listlike(b)) {
        if (tuplelike(a) || tuplelike(b) || a->kind == MX_MATRIX || b->kind == MX_MATRIX) {
            const rex_tri t = lists(c, a, b); /* {(1, 2)} and (1, 2) */
            return t == REX_NE && !c->fault ? unequal_shapes(c, a, b) : t;
        }
        return lists(c, a, b);
    }
    if (has_kind(a, MX_PM) || has_kind(b, MX_PM)) return lists(c, a, b);
    if (a->kind == MX_TEXT || b->kind == MX_TEXT) return texts(a, b);
    if (a->kind == MX_CONST && b->kind == MX_CONST && (a->op > MXC_INF || b->op > MXC_INF))
        return a->op == b->op ? REX_EQ : REX_NE;
    if (a->kind == MX_MATRIX && b->kind == MX_MATRIX) {
        if (a->n != b->n || a->op != b->op)
            return a->n == b->n && (a->op == 1 || b->op == 1) ? REX_NE : REX_NE;
        return entries(c, a, b);
    }
    if (a->kind == MX_RATIO && b->kind == MX_RATIO) return ratios(c, a, b);
    if (rex_mx_is_scalar(a) && rex_mx_is_scalar(b)) return rex_mx_scalar(c, a, b);
    return unequal_shapes(c, a, b);
}

rex_tri rex_mx_equal(rex_mctx *c, const rex_mx *a, const rex_mx *b) {
    if (c->fault || !rex_mx_step(c, 20)) return REX_UNK;
    if (c->identity && rex_mx_same(a, b)) return REX_EQ;
    if (c->depth > REX_MX_DEPTH) return rex_mx_fail(c, REX_MF_LIMIT, "nested too deeply"), REX_UNK;
    c->depth++;
    const rex_mx *x = a, *y = b;
    while (x->kind == MX_UNIT && !rex_mx_is_scalar(x->arg[0])) x = x->arg[0]; /* (1, 2) cm */
    while (y->kind == MX_UNIT && !rex_mx_is_scalar(y->arg[0])) y = y->arg[0];
    const rex_tri r = shapes(c, x, y);
    c->depth--;
    return c->fault ? REX_UNK : r;
}
