/* SPDX-License-Identifier: MIT
 *
 * math_sets.c: sets of real numbers (intervals, unions, differences, inequalities in one unknown)
 * as sorted disjoint pieces, and equations and inequalities as statements. Pieces are ordered by
 * proved signs only; one sign that cannot be decided makes the comparison UNKNOWN.
 *
 * Equations are equal when their differences (left minus right) are rational multiples of each
 * other: multiplying out and moving terms keeps the solutions, and nothing else is believed.
 */
#include "math_in.h"

#include <string.h>

enum { PIECES = 40 };

typedef struct {
    rex_fe *lo, *hi; /* NULL: infinite */
    bool lo_in, hi_in;
} piece;

typedef struct {
    piece p[PIECES];
    int n;
} pieces;

static bool no(rex_mctx *c, const char *why) { return rex_mx_fail(c, REX_MF_LIMIT, why); }

static bool add(rex_mctx *c, pieces *s, piece p) {
    if (s->n == PIECES) return no(c, "a union of too many intervals");
    s->p[s->n++] = p;
    return true;
}

/* -1, 0, 1: a below, at, above b; 2 unknown. */
static int order(rex_mctx *c, const rex_fe *a, const rex_fe *b) {
    return rex_fe_sign(c, rex_fe_sub(c, a, b));
}

/* Compares left ends: smaller first, closed before open. */
static int order_lo(rex_mctx *c, const piece *a, const piece *b) {
    if (!a->lo || !b->lo) return (a->lo != NULL) - (b->lo != NULL);
    const int s = order(c, a->lo, b->lo);
    return s ? s : (int)b->lo_in - (int)a->lo_in;
}

static bool normal(rex_mctx *c, pieces *s) {
    for (int i = 1; i < s->n; i++) /* insertion: few pieces */
        for (int j = i; j > 0; j--) {
            const int o = order_lo(c, &s->p[j], &s->p[j - 1]);
            if (o == 2) return no(c, "two ends of intervals could not be ordered");
            if (o >= 0) break;
            const piece t = s->p[j];
            s->p[j] = s->p[j - 1];
            s->p[j - 1] = t;
        }
    int m = 0;
    for (int i = 1; i < s->n; i++) {
        piece *last = &s->p[m];
        const piece *next = &s->p[i];
        int gap = -1; /* sign of next.lo - last.hi */
        if (last->hi && next->lo) gap = order(c, next->lo, last->hi);
        if (gap == 2) return no(c, "two ends of intervals could not be ordered");
        if (gap > 0 || (gap == 0 && !last->hi_in && !next->lo_in)) {
            s->p[++m] = *next;
            continue;
        }
        if (!last->hi) continue;
        const int o = next->hi ? order(c, next->hi, last->hi) : 1;
        if (o == 2) return no(c, "two ends of intervals could not be ordered");
        if (o > 0) {
            last->hi = next->hi;
            last->hi_in = next->hi_in;
        } else if (o == 0) {
            last->hi_in = last->hi_in || next->hi_in;
        }
    }
    if (s->n) s->n = m + 1;
    return !c->fault;
}

static bool complement(rex_mctx *c, const pieces *s, pieces *out) {
    rex_fe *lo = NULL;
    bool lo_in = false;
    out->n = 0;
    for (int i = 0; i < s->n; i++) {
        const piece *p = &s->p[i];
        if (p->lo && !add(c, out, (piece){ lo, p->lo, lo_in, !p->lo_in })) return false;
        if (!p->hi) return true;
        lo = p->hi;
        lo_in = !p->hi_in;
    }
    return add(c, out, (piece){ lo, NULL, lo_in, false });
}

/* a and b: the complement of the union of complements. */
static bool intersect(rex_mctx *c, const pieces *a, const pieces *b, pieces *out) {
    pieces x, y;
    if (!complement(c, a, &x) || !complement(c, b, &y)) return false;
    for (int i = 0; i < y.n; i++)
        if (!add(c, &x, y.p[i])) return false;
    return normal(c, &x) && complement(c, &x, out);
}

/* ---- from trees -------------------------------------------------------------------------- */

static int infinite(const rex_mx *x) { /* the sign of an infinity, 0 if it is none */
    if (x->kind == MX_CONST && x->op == MXC_INF) return 1;
    if (x->kind == MX_NEG) return -infinite(x->arg[0]);
    if (x->kind == MX_ADD && x->n == 1) return infinite(x->arg[0]);
    return 0;
}

static bool build(rex_mctx *c, const rex_mx *x, pieces *out);

static bool from_pair(rex_mctx *c, const rex_mx *x, pieces *out) {
    piece p = { NULL, NULL, x->lb == '[', x->rb == '[' };
    const int lo = infinite(x->arg[0]), hi = infinite(x->arg[1]);
    if (lo > 0 || hi < 0) return no(c, "an interval that runs backwards");
    if (!lo && !(p.lo = rex_mx_eval(c, x->arg[0]))) return false;
    if (!hi && !(p.hi = rex_mx_eval(c, x->arg[1]))) return false;
    if (!p.lo) p.lo_in = false; /* [-oo, ...: sloppy, but clear */
    if (!p.hi) p.hi_in = false;
    if (p.lo && p.hi) {
        const int o = order(c, p.lo, p.hi);
        if (o == 2 || o > 0) return no(c, "an interval that runs backwards or cannot be ordered");
        if (o == 0 && !(p.lo_in && p.hi_in)) {
            out->n = 0;
            return true;
        }
    }
    out->n = 0;
    return add(c, out, p);
}

/* The one unknown of an element (a symbol or a f(x)), if it is linear in it; else -1. */
static int unknown(rex_mctx *c, const rex_fe *d) {
    int at = -1;
    for (int g = 0; g < c->n_gen; g++) {
        if (c->gen[g].closed || !rex_fe_uses(c, d, g)) continue;
        if (at >= 0) return -1;
        at = g;
    }
    if (at < 0) return -1;
    const rex_gen *g = &c->gen[at];
    if (g->kind != G_SYM && !(g->kind == G_FN && g->fn == MXF_COUNT)) return -1;
    if (fmpz_mpoly_degree_si(&d->n, at, c->mp) != 1 || fmpz_mpoly_degree_si(&d->d, at, c->mp) > 0)
        return -1;
    return at;
}

/* l op r in one unknown, linear: a half line. */
static bool half_line(rex_mctx *c, const rex_fe *l, const rex_fe *r, char op, int *var,
                      pieces *out) {
    rex_fe *d = rex_fe_sub(c, l, r);
    if (!d) return false;
    const int g = unknown(c, d);
    if (g < 0 || (*var >= 0 && *var != g))
        return no(c, "an inequality that is not linear in one unknown");
    *var = g;
    rex_fe *m = rex_fe_new(c), *k = rex_fe_new(c);
    if (!m || !k) return false;
    const slong v = g;
    const ulong one = 1, zero = 0;
    fmpz_mpoly_get_coeff_vars_ui(&m->n, &d->n, &v, &one, 1, c->mp);
    fmpz_mpoly_get_coeff_vars_ui(&k->n, &d->n, &v, &zero, 1, c->mp);
    rex_fe *den = rex_fe_new(c);
    if (!den) return false;
    fmpz_mpoly_set(&den->n, &d->d, c->mp);
    const int ms = rex_fe_sign(c, m), ds = rex_fe_sign(c, den);
    if (ms == 2 || ds == 2 || !ms || !ds) return no(c, "an inequality that could not be solved");
    rex_fe *b = rex_fe_neg(c, rex_fe_div(c, k, m));
    if (!b) return false;
    out->n = 0;
    if (op == 'n')
        return add(c, out, (piece){NULL, b, false, false}) &&
               add(c, out, (piece){b, NULL, false, false});
    if (op == '=') return add(c, out, (piece){ b, b, true, true });
    const bool below = (op == '<' || op == 'l') == (ms * ds > 0), in = op == 'l' || op == 'g';
    return add(c, out, below ? (piece){ NULL, b, false, in } : (piece){ b, NULL, in, false });
}

static bool from_rel(rex_mctx *c, const rex_mx *x, pieces *out) {
    int var = -1;
    *out = (pieces){ .n = 1 };
    rex_fe *l = NULL;
    for (uint32_t i = 0; i + 1 < x->n; i++) {
        const char op = x->s.p[i];
        if (op == 'a') return no(c, "an approximate relation");
        const int li = infinite(x->arg[i]), ri = infinite(x->arg[i + 1]);
        if (li || ri) { /* -oo < x says nothing */
            l = NULL;
            if ((li < 0 || ri > 0) != (op == '<' || op == 'l'))
                return no(c, "an inequality with infinity");
            continue;
        }
        if (!l) l = rex_mx_eval(c, x->arg[i]);
        rex_fe *r = rex_mx_eval(c, x->arg[i + 1]);
        pieces h, both;
        if (!l || !r || !half_line(c, l, r, op, &var, &h) || !intersect(c, out, &h, &both))
            return false;
        *out = both;
        l = r;
    }
    return true;
}

static bool merge(rex_mctx *c, const rex_mx *x, pieces *out) { /* a union of the arguments */
    out->n = 0;
    for (uint32_t i = 0; i < x->n; i++) {
        pieces one;
        if (!build(c, x->arg[i], &one)) return false;
        for (int k = 0; k < one.n; k++)
            if (!add(c, out, one.p[k])) return false;
    }
    return normal(c, out);
}

static bool build(rex_mctx *c, const rex_mx *x, pieces *out) {
    out->n = 0;
    if (c->fault || !rex_mx_step(c, 50)) return false;
    switch (x->kind) {
    case MX_PAIR: return from_pair(c, x, out);
    case MX_UNION: return merge(c, x, out);
    case MX_SET:
    case MX_LIST: return merge(c, x, out);
    case MX_IN: return build(c, x->arg[1], out);
    case MX_REL: return from_rel(c, x, out);
    case MX_INTER:
    case MX_MINUS: {
        pieces a, b, t;
        if (!build(c, x->arg[0], &a) || !build(c, x->arg[1], &b)) return false;
        if (!normal(c, &a) || !normal(c, &b)) return false;
        if (x->kind == MX_INTER) return intersect(c, &a, &b, out);
        return complement(c, &b, &t) && intersect(c, &a, &t, out);
    }
    case MX_CONST:
        if (x->op == MXC_EMPTY) return true;
        if (x->op == MXC_REALS) return add(c, out, (piece){ NULL, NULL, false, false });
        break;
    default: break;
    }
    if (!rex_mx_is_scalar(x)) return no(c, "something that is no set of real numbers");
    rex_fe *v = rex_mx_eval(c, x);
    return v && add(c, out, (piece){ v, v, true, true });
}

rex_tri rex_mx_sets(rex_mctx *c, const rex_mx *a, const rex_mx *b) {
    pieces x, y;
    for (int pass = 0; pass < 4; pass++) {
        rex_mctx_again(c);
        if (!build(c, a, &x) || !build(c, b, &y) || !normal(c, &x) || !normal(c, &y))
            return REX_UNK;
        if (!c->again) break;
    }
    if (c->again) return no(c, "roots of too many orders"), REX_UNK;
    if (x.n != y.n) return REX_NE;
    rex_tri r = REX_EQ;
    for (int i = 0; i < x.n; i++) {
        const piece *p = &x.p[i], *q = &y.p[i];
        if (!p->lo != !q->lo || !p->hi != !q->hi || p->lo_in != q->lo_in || p->hi_in != q->hi_in)
            return REX_NE;
        for (int end = 0; end < 2; end++) {
            const rex_fe *u = end ? p->hi : p->lo, *v = end ? q->hi : q->lo;
            if (!u) continue;
            const rex_tri t = rex_fe_equal(c, u, v);
            if (t == REX_NE) return REX_NE;
            if (t == REX_UNK) r = REX_UNK;
        }
    }
    return r;
}

/* ---- statements -------------------------------------------------------------------------- */

static char flipped(char op) {
    switch (op) {
    case '<': return '>';
    case '>': return '<';
    case 'l': return 'g';
    case 'g': return 'l';
    default: return op;
    }
}

/* Sign of the rational factor k with d1 = k d2; 0: none; 2: unknown or a different domain. */
static int proportion(rex_mctx *c, const rex_fe *d1, const rex_fe *d2) {
    fmpz_mpoly_t p, q;
    fmpz_t u, v;
    int r = 0;
    fmpz_mpoly_init(p, c->mp);
    fmpz_mpoly_init(q, c->mp);
    fmpz_init(u);
    fmpz_init(v);
    for (int whole = 1; whole >= 0 && r == 0 && !c->fault;
         whole--) { /* d1 : d2, then numerators only */
        if (whole) {
            if (!rex_poly_mul(c, p, &d1->n, &d2->d) || !rex_poly_mul(c, q, &d2->n, &d1->d)) break;
        } else {
            fmpz_mpoly_set(p, &d1->n, c->mp);
            fmpz_mpoly_set(q, &d2->n, c->mp);
        }
        if (!rex_poly_reduce(c, p) || !rex_poly_reduce(c, q) || !p->length || !q->length) break;
        fmpz_set(u, p->coeffs);
        fmpz_set(v, q->coeffs);
        fmpz_mpoly_scalar_mul_fmpz(p, p, v, c->mp);
        fmpz_mpoly_scalar_mul_fmpz(q, q, u, c->mp);
        fmpz_mpoly_sub(p, p, q, c->mp);
        const rex_tri t = rex_poly_zero(c, p);
        const int sign = fmpz_sgn(u) * fmpz_sgn(v);
        if (whole && t == REX_EQ) r = sign;
        else if (whole && t == REX_UNK) r = 2;
        else if (!whole && t != REX_NE) {
            /* 1/x = y and xy = 1: no solution is lost or won if at a zero of a monomial
             * denominator the numerator is a constant that is not zero */
            r = 2;
            bool safe = t == REX_EQ;
            for (int side = 0; side < 2; side++) {
                const rex_fe *d = side ? d2 : d1;
                if (d->d.length != 1) safe = false;
                for (int g = 0; safe && g < c->n_gen; g++) {
                    if (fmpz_mpoly_degree_si(&d->d, g, c->mp) <= 0 || c->gen[g].closed) continue;
                    const slong var = g;
                    const ulong zero = 0;
                    fmpz_mpoly_get_coeff_vars_ui(p, &d->n, &var, &zero, 1, c->mp);
                    safe = fmpz_mpoly_is_fmpz(p, c->mp) && !fmpz_mpoly_is_zero(p, c->mp);
                }
            }
            if (safe) r = 3;
        }
    }
    fmpz_mpoly_clear(p, c->mp);
    fmpz_mpoly_clear(q, c->mp);
    fmpz_clear(u);
    fmpz_clear(v);
    return c->fault ? 2 : r;
}

/* Two relations of one sign each. */
static rex_tri single(rex_mctx *c, const rex_mx *a, const rex_mx *b) {
    const char f = a->s.p[0], g = b->s.p[0];
    if (f == 'a' || g == 'a') return REX_UNK;
    if ((f == '=') != (g == '=') || (f == 'n') != (g == 'n')) return REX_NE;
    rex_fe *d1 = NULL, *d2 = NULL;
    for (int pass = 0; pass < 4; pass++) {
        rex_mctx_again(c);
        d1 = rex_fe_sub(c, rex_mx_eval(c, a->arg[0]), rex_mx_eval(c, a->arg[1]));
        d2 = rex_fe_sub(c, rex_mx_eval(c, b->arg[0]), rex_mx_eval(c, b->arg[1]));
        if (!d1 || !d2) return REX_UNK;
        if (!c->again) break;
    }
    const rex_tri z1 = rex_fe_zero(c, d1), z2 = rex_fe_zero(c, d2);
    if (z1 == REX_UNK || z2 == REX_UNK) return REX_UNK;
    if (z1 == REX_EQ || z2 == REX_EQ) return z1 == z2 ? (f == g ? REX_EQ : REX_UNK) : REX_NE;
    const int k = proportion(c, d1, d2);
    if (k == 2 || c->fault) return REX_UNK;
    if (k == 0) return f == '=' || f == 'n' ? REX_NE : REX_UNK; /* |x| > 2 and x^2 > 4 */
    if (f == '=' || f == 'n') return REX_EQ;
    if (k == 3) return REX_UNK;
    const char want = k > 0 ? f : flipped(f);
    return want == g ? REX_EQ : REX_NE;
}

rex_tri rex_mx_rels(rex_mctx *c, const rex_mx *a, const rex_mx *b) {
    if (a->n == 2 && b->n == 2) return single(c, a, b);
    if (a->n != b->n) return REX_NE;
    for (int back = 0; back < 2; back++) { /* the same chain, read either way */
        bool ops = true;
        for (size_t i = 0; i < a->s.n; i++)
            ops = ops && a->s.p[i] == (back ? flipped(b->s.p[b->s.n - 1 - i]) : b->s.p[i]);
        if (!ops) continue;
        rex_tri r = REX_EQ;
        for (uint32_t i = 0; i < a->n && r == REX_EQ; i++)
            r = rex_mx_scalar(c, a->arg[i], b->arg[back ? b->n - 1 - i : i]);
        if (r != REX_NE) return r;
    }
    return REX_NE;
}
