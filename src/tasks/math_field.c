/* SPDX-License-Identifier: MIT
 *
 * math_field.c: the context of one reading, and the field in which scalars live: rational functions
 * with integer coefficients over named generators (symbols, pi, i, roots of primes, ...).
 *
 * Invariants. num and den are polynomials over the generators of the context; den is not proved to
 * be zero (every division checks). Both are reduced by the relations of the generators (g^q =
 * radicand, i^2 = -1, the cyclotomic polynomial) after each product, so that over symbols, roots of
 * primes, i and pi alone a value is zero if and only if its numerator is the zero polynomial:
 * square roots of different primes and their higher kin are linearly independent over Q
 * (Besicovitch 1940), i is not real, pi is transcendental.
 * No size is computed before it is bounded: GMP aborts where memory ends.
 */
#include "math_in.h"

#include <flint/fmpz_poly.h>

#include <string.h>

typedef enum { OWN_FMPQ, OWN_POLY, OWN_FMPZ, OWN_ACB } own_kind;
struct rex_own {
    rex_own *next;
    own_kind kind;
    void *p;
};

bool rex_mx_fail(rex_mctx *c, rex_mx_fault f, const char *why) {
    if (c->fault != REX_MF_NONE) return false;
    c->fault = f;
    size_t n = strlen(why);
    if (n > sizeof c->why - 1) n = sizeof c->why - 1;
    memcpy(c->why, why, n);
    c->why[n] = 0;
    return false;
}

bool rex_mx_step(rex_mctx *c, int64_t cost) {
    if (c->fault != REX_MF_NONE) return false;
    if (cost > c->steps) {
        c->steps = 0;
        return rex_mx_fail(c, REX_MF_LIMIT, "the step budget is spent");
    }
    c->steps -= cost;
    return true;
}

void *rex_mx_take(rex_mctx *c, size_t n, size_t size) {
    void *p = rex_arena_zero(c->a, n ? n : 1, size, c->e);
    if (!p) rex_mx_fail(c, REX_MF_NOMEM, "out of memory");
    return p;
}

static bool own(rex_mctx *c, own_kind kind, void *p) {
    rex_own *o = rex_mx_take(c, 1, sizeof *o);
    if (!o) return false;
    *o = (rex_own){ c->own, kind, p };
    c->own = o;
    return true;
}

fmpq *rex_mx_q(rex_mctx *c) {
    fmpq *q = rex_mx_take(c, 1, sizeof(fmpq));
    if (!q || !own(c, OWN_FMPQ, q)) return NULL;
    fmpq_init(q);
    return q;
}

acb_ptr rex_mx_acb(rex_mctx *c) {
    acb_ptr v = rex_mx_take(c, 1, sizeof(acb_struct));
    if (!v || !own(c, OWN_ACB, v)) return NULL;
    acb_init(v);
    return v;
}

void rex_mctx_again(rex_mctx *c) {
    for (int i = 0; i < REX_MX_GENS; i++) c->hint[i] = i < c->n_gen ? c->gen[i].order : 1;
    c->n_gen = 0;
    c->again = false;
}

void rex_mctx_init(rex_mctx *c, rex_arena *a, int reading, bool identity, rex_err *e) {
    memset(c, 0, sizeof *c);
    c->a = a;
    c->e = e;
    c->reading = reading;
    c->identity = identity;
    c->steps = REX_MX_STEPS;
}

void rex_mctx_done(rex_mctx *c) {
    bool big = c->mp_open;
    for (rex_own *o = c->own; o; o = o->next) {
        if (o->kind == OWN_FMPQ) fmpq_clear(o->p);
        if (o->kind == OWN_POLY) fmpz_mpoly_clear(o->p, c->mp);
        if (o->kind == OWN_FMPZ) fmpz_clear(o->p);
        if (o->kind == OWN_ACB) acb_clear(o->p);
    }
    c->own = NULL;
    if (c->mp_open) fmpz_mpoly_ctx_clear(c->mp);
    c->mp_open = false;
    c->n_gen = 0;
    if (big) flint_cleanup(); /* what FLINT and Arb cached for this thread */
}

/* ---- elements ---------------------------------------------------------------------------- */

static fmpz_mpoly_struct *poly_new(rex_mctx *c, fmpz_mpoly_struct *p) {
    if (!own(c, OWN_POLY, p)) return NULL;
    fmpz_mpoly_init(p, c->mp);
    return p;
}

rex_fe *rex_fe_new(rex_mctx *c) {
    if (!rex_mx_step(c, 20)) return NULL;
    if (!c->mp_open) {
        fmpz_mpoly_ctx_init(c->mp, REX_MX_GENS, ORD_LEX);
        c->mp_open = true;
    }
    rex_fe *r = rex_mx_take(c, 1, sizeof *r);
    if (!r || !poly_new(c, &r->n) || !poly_new(c, &r->d)) return NULL;
    fmpz_mpoly_one(&r->d, c->mp);
    return r;
}

rex_fe *rex_fe_q(rex_mctx *c, const fmpq *q) {
    rex_fe *r = rex_fe_new(c);
    if (!r) return NULL;
    fmpz_mpoly_set_fmpz(&r->n, fmpq_numref(q), c->mp);
    fmpz_mpoly_set_fmpz(&r->d, fmpq_denref(q), c->mp);
    return r;
}

rex_fe *rex_fe_si(rex_mctx *c, slong p, slong q) {
    rex_fe *r = rex_fe_new(c);
    if (!r) return NULL;
    fmpz_mpoly_set_si(&r->n, p, c->mp);
    fmpz_mpoly_set_si(&r->d, q, c->mp);
    return r;
}

rex_fe *rex_fe_gen(rex_mctx *c, int g, slong pow) {
    if (g < 0) return NULL;
    rex_fe *r = rex_fe_new(c);
    if (!r) return NULL;
    ulong exps[REX_MX_GENS] = { 0 };
    exps[g] = (ulong)(pow < 0 ? -pow : pow);
    fmpz_mpoly_struct *at = pow < 0 ? &r->d : &r->n;
    fmpz_mpoly_one(&r->n, c->mp);
    fmpz_mpoly_zero(at, c->mp);
    fmpz_mpoly_push_term_ui_ui(at, 1, exps, c->mp);
    return r;
}

/* Largest coefficient in bits, and the largest degree of any generator. */
static slong poly_bits(const fmpz_mpoly_t p) {
    const slong b = fmpz_mpoly_max_bits(p);
    return b < 0 ? -b : b;
}

static slong poly_degree(rex_mctx *c, const fmpz_mpoly_t p) {
    slong deg[REX_MX_GENS], max = 0;
    if (p->length == 0) return 0;
    fmpz_mpoly_degrees_si(deg, p, c->mp);
    for (int i = 0; i < REX_MX_GENS; i++)
        if (deg[i] > max) max = deg[i];
    return max;
}

bool rex_poly_mul(rex_mctx *c, fmpz_mpoly_t r, const fmpz_mpoly_t a, const fmpz_mpoly_t b) {
    const int64_t la = a->length, lb = b->length;
    const slong ba = poly_bits(a), bb = poly_bits(b);
    if (la * lb > 40000) return rex_mx_fail(c, REX_MF_LIMIT, "an expansion has too many terms");
    if (ba + bb > REX_MX_BITS) return rex_mx_fail(c, REX_MF_LIMIT, "a number has too many digits");
    /* exponents in fields of 16 bits are below 2^15 each: nothing to look at */
    if ((a->bits > 16 || b->bits > 16) && poly_degree(c, a) + poly_degree(c, b) > 200000)
        return rex_mx_fail(c, REX_MF_LIMIT, "a power is too high");
    if (!rex_mx_step(c, 10 + la * lb * (4 + (ba / 64 + 1) * (bb / 64 + 1) / 4))) return false;
    if (fmpz_mpoly_is_one(b, c->mp)) fmpz_mpoly_set(r, a, c->mp); /* most denominators */
    else fmpz_mpoly_mul(r, a, b, c->mp);
    return true;
}

/* Common integer content, and a denominator that divides, are taken out: keeps sizes down. */
static rex_fe *tidy(rex_mctx *c, rex_fe *r) {
    if (!r || c->fault) return NULL;
    if (fmpz_mpoly_is_zero(&r->n, c->mp)) {
        fmpz_mpoly_one(&r->d, c->mp);
        return r;
    }
    if (fmpz_mpoly_is_one(&r->d, c->mp)) return r;
    fmpz_t g;
    fmpz_init(g);
    _fmpz_vec_content(g, r->n.coeffs, r->n.length);
    for (slong i = 0; i < r->d.length && !fmpz_is_one(g); i++) fmpz_gcd(g, g, r->d.coeffs + i);
    if (r->d.length > 0 && fmpz_sgn(r->d.coeffs) < 0) fmpz_neg(g, g);
    if (!fmpz_is_one(g)) {
        fmpz_mpoly_scalar_divexact_fmpz(&r->n, &r->n, g, c->mp);
        fmpz_mpoly_scalar_divexact_fmpz(&r->d, &r->d, g, c->mp);
    }
    fmpz_clear(g);
    if (!fmpz_mpoly_is_fmpz(&r->d, c->mp) && r->n.length * r->d.length <= 400 &&
        rex_mx_step(c, 4 * r->n.length * r->d.length)) {
        fmpz_mpoly_t q;
        fmpz_mpoly_init(q, c->mp);
        if (fmpz_mpoly_divides(q, &r->n, &r->d, c->mp)) {
            fmpz_mpoly_swap(&r->n, q, c->mp);
            fmpz_mpoly_one(&r->d, c->mp);
        }
        fmpz_mpoly_clear(q, c->mp);
    }
    return c->fault ? NULL : r;
}

static rex_fe *sum(rex_mctx *c, const rex_fe *a, const rex_fe *b, bool minus) {
    if (!a || !b) return NULL;
    rex_fe *r = rex_fe_new(c);
    if (!r) return NULL;
    const bool same = fmpz_mpoly_equal(&a->d, &b->d, c->mp);
    if (same) {
        fmpz_mpoly_set(&r->n, &a->n, c->mp);
        fmpz_mpoly_set(&r->d, &a->d, c->mp);
    } else if (!rex_poly_mul(c, &r->n, &a->n, &b->d) || !rex_poly_mul(c, &r->d, &a->d, &b->d)) {
        return NULL;
    }
    fmpz_mpoly_t t;
    fmpz_mpoly_init(t, c->mp);
    bool ok = true;
    if (same) fmpz_mpoly_set(t, &b->n, c->mp);
    else ok = rex_poly_mul(c, t, &b->n, &a->d);
    ok = ok && rex_mx_step(c, 4 * (r->n.length + t->length));
    if (ok && minus) fmpz_mpoly_sub(&r->n, &r->n, t, c->mp);
    else if (ok) fmpz_mpoly_add(&r->n, &r->n, t, c->mp);
    fmpz_mpoly_clear(t, c->mp);
    if (!ok || !rex_poly_reduce(c, &r->n) || !rex_poly_reduce(c, &r->d)) return NULL;
    return tidy(c, r);
}

rex_fe *rex_fe_add(rex_mctx *c, const rex_fe *a, const rex_fe *b) { return sum(c, a, b, false); }
rex_fe *rex_fe_sub(rex_mctx *c, const rex_fe *a, const rex_fe *b) { return sum(c, a, b, true); }

rex_fe *rex_fe_mul(rex_mctx *c, const rex_fe *a, const rex_fe *b) {
    if (!a || !b) return NULL;
    rex_fe *r = rex_fe_new(c);
    if (!r) return NULL;
    if (!rex_poly_mul(c, &r->n, &a->n, &b->n) || !rex_poly_mul(c, &r->d, &a->d, &b->d)) return NULL;
    if (!rex_poly_reduce(c, &r->n) || !rex_poly_reduce(c, &r->d)) return NULL;
    return tidy(c, r);
}

rex_fe *rex_fe_div(rex_mctx *c, const rex_fe *a, const rex_fe *b) {
    if (!a || !b) return NULL;
    const rex_tri zero = rex_fe_zero(c, b);
    if (zero == REX_EQ) return rex_mx_fail(c, REX_MF_UNDEF, "a division by zero"), NULL;
    if (zero == REX_UNK) return rex_mx_fail(c, REX_MF_LIMIT, "a divisor may be zero"), NULL;
    rex_fe *inv = rex_fe_new(c);
    if (!inv) return NULL;
    fmpz_mpoly_set(&inv->n, &b->d, c->mp);
    fmpz_mpoly_set(&inv->d, &b->n, c->mp);
    return rex_fe_mul(c, a, inv);
}

rex_fe *rex_fe_neg(rex_mctx *c, const rex_fe *a) {
    if (!a) return NULL;
    rex_fe *r = rex_fe_new(c);
    if (!r) return NULL;
    fmpz_mpoly_neg(&r->n, &a->n, c->mp);
    fmpz_mpoly_set(&r->d, &a->d, c->mp);
    return r;
}

rex_fe *rex_fe_pow(rex_mctx *c, const rex_fe *a, slong n) {
    if (!a) return NULL;
    if (n < 0) {
        if (n < -REX_MX_BITS) return rex_mx_fail(c, REX_MF_LIMIT, "a power is too high"), NULL;
        rex_fe *one = rex_fe_si(c, 1, 1);
        return rex_fe_pow(c, rex_fe_div(c, one, a), -n);
    }
    rex_fe *r = rex_fe_si(c, 1, 1);
    for (slong bit = n; r && bit > 0; bit >>= 1) {
        if (bit & 1) r = rex_fe_mul(c, r, a);
        if (bit > 1) a = rex_fe_mul(c, a, a);
    }
    return r;
}

bool rex_fe_is_q(rex_mctx *c, const rex_fe *a, fmpq_t q) {
    if (!fmpz_mpoly_is_fmpz(&a->n, c->mp) || !fmpz_mpoly_is_fmpz(&a->d, c->mp)) return false;
    fmpz_mpoly_get_fmpz(fmpq_numref(q), &a->n, c->mp);
    fmpz_mpoly_get_fmpz(fmpq_denref(q), &a->d, c->mp);
    if (fmpz_is_zero(fmpq_denref(q))) fmpz_one(fmpq_denref(q));
    fmpq_canonicalise(q);
    return true;
}

static bool poly_closed(rex_mctx *c, const fmpz_mpoly_t p) {
    int used[REX_MX_GENS] = { 0 };
    if (p->length == 0) return true;
    fmpz_mpoly_used_vars(used, p, c->mp);
    for (int i = 0; i < c->n_gen; i++)
        if (used[i] && !c->gen[i].closed) return false;
    return true;
}

bool rex_fe_closed(rex_mctx *c, const rex_fe *a) {
    return poly_closed(c, &a->n) && poly_closed(c, &a->d);
}

bool rex_fe_uses(rex_mctx *c, const rex_fe *a, int g) {
    int used[REX_MX_GENS] = { 0 };
    if (a->n.length) fmpz_mpoly_used_vars(used, &a->n, c->mp);
    int used_d[REX_MX_GENS] = { 0 };
    fmpz_mpoly_used_vars(used_d, &a->d, c->mp);
    return used[g] || used_d[g];
}

/* ---- relations --------------------------------------------------------------------------- */

/* Lead * g^order = rest, as polynomials without g. */
static bool relation(rex_mctx *c, const rex_gen *g, fmpz_mpoly_t lead, fmpz_mpoly_t rest) {
    fmpz_mpoly_one(lead, c->mp);
    switch (g->kind) {
    case G_I: fmpz_mpoly_set_si(rest, -1, c->mp); return true;
    case G_PRIME: fmpz_mpoly_set_fmpz(rest, &g->base, c->mp); return g->order > 1;
    case G_ROOT:
        fmpz_mpoly_set(lead, &g->arg->d, c->mp);
        fmpz_mpoly_set(rest, &g->arg->n, c->mp);
        return true;
    case G_ABS: /* of a real argument: |u|^2 = u^2 */
        fmpz_mpoly_mul(lead, &g->arg->d, &g->arg->d, c->mp);
        fmpz_mpoly_mul(rest, &g->arg->n, &g->arg->n, c->mp);
        return true;
    default: return false;
    }
}

static ulong relation_order(const rex_gen *g) {
    if (g->kind == G_I || g->kind == G_ABS) return 2;
    return g->order;
}

/* p as a sum of C_k g^k with k < order; multiplied by a power of the relation's leading factor. */
static bool reduce_gen(rex_mctx *c, fmpz_mpoly_t p, int gi, slong deg) {
    const rex_gen *g = &c->gen[gi];
    const ulong q = relation_order(g);
    const ulong top = (ulong)deg / q;
    fmpz_mpoly_t lead, rest, sum, t, f;
    fmpz_mpoly_init(lead, c->mp);
    fmpz_mpoly_init(rest, c->mp);
    fmpz_mpoly_init(sum, c->mp);
    fmpz_mpoly_init(t, c->mp);
    fmpz_mpoly_init(f, c->mp);
    bool ok = relation(c, g, lead, rest) && top < 3000;
    if (!ok) rex_mx_fail(c, REX_MF_LIMIT, "a power is too high");
    const slong var = gi;
    /* Horner in g^q, from the top: sum = sum * rest + C_j * lead^(top - j). */
    fmpz_mpoly_one(f, c->mp);
    for (ulong j = top + 1; ok && j-- > 0;) {
        ok = rex_poly_mul(c, sum, sum, rest);
        for (ulong r = 0; ok && r < q; r++) {
            const ulong k = j * q + r;
            if (k > (ulong)deg) break;
            fmpz_mpoly_get_coeff_vars_ui(t, p, &var, &k, 1, c->mp);
            ok = rex_mx_step(c, 4 + p->length);
            if (!ok || fmpz_mpoly_is_zero(t, c->mp)) continue;
            ok = rex_poly_mul(c, t, t, f);
            if (!ok) break;
            ulong exps[REX_MX_GENS] = { 0 };
            exps[gi] = r;
            fmpz_mpoly_t m;
            fmpz_mpoly_init(m, c->mp);
            fmpz_mpoly_push_term_ui_ui(m, 1, exps, c->mp);
            fmpz_mpoly_mul(t, t, m, c->mp);
            fmpz_mpoly_clear(m, c->mp);
            fmpz_mpoly_add(sum, sum, t, c->mp);
        }
        if (ok && j > 0) ok = rex_poly_mul(c, f, f, lead);
    }
    if (ok) fmpz_mpoly_swap(p, sum, c->mp);
    fmpz_mpoly_clear(lead, c->mp);
    fmpz_mpoly_clear(rest, c->mp);
    fmpz_mpoly_clear(sum, c->mp);
    fmpz_mpoly_clear(t, c->mp);
    fmpz_mpoly_clear(f, c->mp);
    return ok;
}

/* Powers of a root of unity: k mod N, then modulo the cyclotomic polynomial. */
static bool reduce_zeta(rex_mctx *c, fmpz_mpoly_t p, int gi) {
    const ulong N = c->gen[gi].order;
    fmpz_poly_t phi, x;
    fmpz_poly_init(phi);
    fmpz_poly_init(x);
    fmpz_poly_cyclotomic(phi, N);
    const slong len = p->length;
    bool ok = rex_mx_step(c, 200 + (int64_t)len * (int64_t)N);
    fmpz_mpoly_t out, t;
    fmpz_mpoly_init(out, c->mp);
    fmpz_mpoly_init(t, c->mp);
    fmpz_t k;
    fmpz_init(k);
    for (slong i = 0; ok && i < len; i++) {
        ulong exps[REX_MX_GENS];
        fmpz_mpoly_get_term_exp_ui(exps, p, i, c->mp);
        fmpz_poly_zero(x);
        fmpz_poly_set_coeff_ui(x, (slong)(exps[gi] % N), 1);
        fmpz_poly_rem(x, x, phi);
        fmpz_mpoly_zero(t, c->mp);
        for (slong j = fmpz_poly_length(x) - 1; j >= 0; j--) {
            fmpz_poly_get_coeff_fmpz(k, x, j);
            if (fmpz_is_zero(k)) continue;
            fmpz_mul(k, k, p->coeffs + i);
            exps[gi] = (ulong)j;
            fmpz_mpoly_push_term_fmpz_ui(t, k, exps, c->mp);
        }
        fmpz_mpoly_add(out, out, t, c->mp);
        ok = rex_mx_step(c, 20 + out->length + t->length * 8);
    }
    if (ok) fmpz_mpoly_swap(p, out, c->mp);
    fmpz_clear(k);
    fmpz_mpoly_clear(out, c->mp);
    fmpz_mpoly_clear(t, c->mp);
    fmpz_poly_clear(phi);
    fmpz_poly_clear(x);
    return ok;
}

/* Later generators first: their radicands are made of earlier ones. The result is the input times
 * a product of nonzero radicand denominators: good for a zero test, and for num and den alike only
 * because fractions reduce both by generators whose leading factor is 1 (see below). */
static bool reduce_some(rex_mctx *c, fmpz_mpoly_t p, bool all) {
    for (int g = c->n_gen - 1; g >= 0; g--) {
        if (p->length == 0) return true;
        const rex_gen *gen = &c->gen[g];
        if (gen->kind != G_I && gen->kind != G_PRIME && gen->kind != G_ROOT && gen->kind != G_ABS &&
            gen->kind != G_ZETA)
            continue;
        const slong deg = fmpz_mpoly_degree_si(p, g, c->mp);
        if (gen->kind == G_ZETA) {
            if (deg > 0 && !reduce_zeta(c, p, g)) return false;
            continue;
        }
        if (deg < (slong)relation_order(gen) || (gen->kind == G_PRIME && gen->order < 2)) continue;
        const bool unit = !gen->arg || fmpz_mpoly_is_one(&gen->arg->d, c->mp);
        if (!unit && !all) continue;
        if (!reduce_gen(c, p, g, deg)) return false;
    }
    return true;
}

bool rex_poly_reduce(rex_mctx *c, fmpz_mpoly_t p) { return reduce_some(c, p, false); }

/* ---- zero -------------------------------------------------------------------------------- */

/* Only generators that are algebraically independent once the relations are divided out. */
static bool independent(rex_mctx *c, const fmpz_mpoly_t p) {
    int used[REX_MX_GENS] = { 0 };
    fmpz_mpoly_used_vars(used, p, c->mp);
    for (int i = 0; i < c->n_gen; i++) {
        if (!used[i]) continue;
        const rex_gen_kind k = c->gen[i].kind;
        if (k == G_SYM || k == G_I || k == G_PI || (k == G_PRIME && c->gen[i].sure)) continue;
        return false;
    }
    return true;
}

/* The terms of p that share the exponents of the open generators with term `lead`, with those
 * exponents set to zero: a closed coefficient. `done` marks terms already seen. */
static void coefficient(rex_mctx *c, const fmpz_mpoly_t p, slong lead, bool *done,
                        fmpz_mpoly_t out) {
    ulong want[REX_MX_GENS], have[REX_MX_GENS];
    fmpz_mpoly_get_term_exp_ui(want, p, lead, c->mp);
    fmpz_mpoly_zero(out, c->mp);
    for (slong i = lead; i < p->length; i++) {
        if (done[i]) continue;
        fmpz_mpoly_get_term_exp_ui(have, p, i, c->mp);
        bool same = true;
        for (int g = 0; g < c->n_gen; g++) {
            if (c->gen[g].closed) continue;
            same = same && have[g] == want[g];
            have[g] = 0;
        }
        if (!same) continue;
        done[i] = true;
        fmpz_mpoly_push_term_fmpz_ui(out, p->coeffs + i, have, c->mp);
    }
    fmpz_mpoly_sort_terms(out, c->mp);
    fmpz_mpoly_combine_like_terms(out, c->mp);
}

/* At the point of the last evaluation every open root, logarithm and the like is real: elsewhere
 * two expressions may differ by a branch only, which is no proof that they differ. */
static bool in_domain(rex_mctx *c) {
    for (int i = 0; i < c->n_gen; i++) {
        const rex_gen *g = &c->gen[i];
        if (g->closed || g->prec <= 0 || (g->kind != G_ROOT && g->kind != G_FN)) continue;
        if (!arb_contains_zero(acb_imagref(g->val))) return false;
    }
    return true;
}

/* Some point at which the value is a ball away from zero (and every real root real). */
static bool separated(rex_mctx *c, const fmpz_mpoly_t p) {
    acb_t v;
    acb_init(v);
    bool apart = false;
    for (c->trial = 0; c->trial < 6 && !apart; c->trial++) {
        for (int i = 0; i < c->n_gen; i++)
            if (!c->gen[i].closed) c->gen[i].prec = 0;
        for (slong prec = 128; prec <= 512 && !apart; prec *= 4) {
            rex_poly_ball(c, v, p, prec);
            apart = acb_is_finite(v) && !acb_contains_zero(v) && in_domain(c);
        }
    }
    acb_clear(v);
    return apart;
}

rex_tri rex_poly_zero(rex_mctx *c, const fmpz_mpoly_t p0) {
    if (c->fault) return REX_UNK;
    fmpz_mpoly_t p;
    fmpz_mpoly_init(p, c->mp);
    fmpz_mpoly_set(p, p0, c->mp);
    rex_tri r = REX_UNK;
    if (!reduce_some(c, p, true)) goto out;
    if (fmpz_mpoly_is_zero(p, c->mp)) {
        r = REX_EQ;
        goto out;
    }
    if (independent(c, p)) {
        r = REX_NE;
        goto out;
    }
    if (poly_closed(c, p)) {
        r = rex_closed_zero(c, p);
        goto out;
    }
    bool *done = rex_mx_take(c, (size_t)p->length, sizeof *done);
    if (!done) goto out;
    fmpz_mpoly_t k;
    fmpz_mpoly_init(k, c->mp);
    r = REX_EQ; /* every closed coefficient is zero */
    for (slong i = 0; i < p->length && r == REX_EQ; i++) {
        if (done[i]) continue;
        coefficient(c, p, i, done, k);
        if (!rex_mx_step(c, 20 * p->length)) r = REX_UNK;
        else
            r = fmpz_mpoly_is_zero(k, c->mp) ? REX_EQ
                : independent(c, k)          ? REX_NE
                                             : rex_closed_zero(c, k);
    }
    fmpz_mpoly_clear(k, c->mp);
    if (r != REX_EQ) r = separated(c, p) ? REX_NE : REX_UNK;
out:
    fmpz_mpoly_clear(p, c->mp);
    return c->fault ? REX_UNK : r;
}

rex_tri rex_fe_zero(rex_mctx *c, const rex_fe *a) { return a ? rex_poly_zero(c, &a->n) : REX_UNK; }

rex_tri rex_fe_equal(rex_mctx *c, const rex_fe *a, const rex_fe *b) {
    rex_fe *d = rex_fe_sub(c, a, b);
    return d ? rex_poly_zero(c, &d->n) : REX_UNK;
}
