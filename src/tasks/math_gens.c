/* SPDX-License-Identifier: MIT
 *
 * math_gens.c: the generators of the field and the functions that make them: roots, exponentials,
 * logarithms, absolute values, and opaque functions of an argument.
 *
 * The aim is that equal values get equal forms: integers under roots and logarithms are factored
 * into primes, trigonometric functions are exponentials, exponents are split into terms with a
 * rational factor, rational content comes out of roots. A generator that exists twice with orders 2
 * and 3 (x^(1/2), x^(1/3)) is made once with order 6: the context notes the larger order and asks
 * for the evaluation to be repeated (`again`). Every step is an identity on the principal branch;
 * the one exception, odd roots of negative reals, is a reading (REX_RD_PRINC).
 */
#include "math_in.h"

#include <flint/ulong_extras.h>

static bool fe_same(rex_mctx *c, const rex_fe *a, const rex_fe *b) {
    if (!a || !b) return a == b;
    if (fmpz_mpoly_equal(&a->n, &b->n, c->mp) && fmpz_mpoly_equal(&a->d, &b->d, c->mp)) return true;
    if (fmpz_mpoly_is_one(&a->d, c->mp) && fmpz_mpoly_is_one(&b->d, c->mp)) return false;
    fmpz_mpoly_t x, y;
    fmpz_mpoly_init(x, c->mp);
    fmpz_mpoly_init(y, c->mp);
    const bool same = rex_poly_mul(c, x, &a->n, &b->d) && rex_poly_mul(c, y, &b->n, &a->d) &&
                      rex_poly_reduce(c, x) && rex_poly_reduce(c, y) &&
                      fmpz_mpoly_equal(x, y, c->mp);
    fmpz_mpoly_clear(x, c->mp);
    fmpz_mpoly_clear(y, c->mp);
    return same;
}

static bool gen_same(rex_mctx *c, const rex_gen *a, const rex_gen *b) {
    if (a->kind != b->kind) return false;
    switch (a->kind) {
    case G_SYM: return rex_str_eq(a->name, b->name);
    case G_PI:
    case G_I:
    case G_ZETA: return true;
    case G_PRIME:
    case G_LOGP: return fmpz_equal(&a->base, &b->base);
    case G_FN:
        return a->fn == b->fn && rex_str_eq(a->name, b->name) && fe_same(c, a->arg, b->arg) &&
               fe_same(c, a->arg2, b->arg2);
    default: return fe_same(c, a->arg, b->arg);
    }
}

/* The order of an existing generator grows to the least common multiple; then all is done anew. */
int rex_gen_find(rex_mctx *c, const rex_gen *like) {
    for (int i = 0; i < c->n_gen; i++) {
        if (!gen_same(c, &c->gen[i], like)) continue;
        const uint32_t have = c->gen[i].order, want = like->order;
        if (have != want && want > 1 && have % want != 0) {
            const uint32_t lcm = have / (uint32_t)n_gcd(have, want) * want;
            if (lcm > 2520) return rex_mx_fail(c, REX_MF_LIMIT, "roots of too many orders"), -1;
            c->gen[i].order = lcm;
            c->again = true;
        }
        return i;
    }
    if (c->fault) return -1;
    if (c->n_gen == REX_MX_GENS)
        return rex_mx_fail(c, REX_MF_LIMIT, "too many different roots, logarithms and symbols"), -1;
    fmpq *base = rex_mx_q(c);
    if (!base) return -1;
    fmpz_set(fmpq_numref(base), &like->base);
    rex_gen *g = &c->gen[c->n_gen];
    *g = *like;
    g->base = *fmpq_numref(base); /* a borrowed view: never written */
    const uint32_t hint = c->hint[c->n_gen];
    if (hint > 1 && like->order >= 1 && like->kind != G_SYM)
        g->order = hint / (uint32_t)n_gcd(hint, like->order) * like->order;
    return c->n_gen++;
}

static int gen_plain(rex_mctx *c, rex_gen_kind kind) {
    const rex_gen g = { .kind = kind, .order = 1, .closed = true, .real = kind == G_PI };
    return rex_gen_find(c, &g);
}

rex_fe *rex_fe_sym(rex_mctx *c, rex_str name) {
    if (!rex_fe_new(c)) return NULL;
    const rex_gen g = { .kind = G_SYM, .order = 1, .name = name };
    return rex_fe_gen(c, rex_gen_find(c, &g), 1);
}

rex_fe *rex_fe_pi(rex_mctx *c) {
    return rex_fe_new(c) ? rex_fe_gen(c, gen_plain(c, G_PI), 1) : NULL;
}
rex_fe *rex_fe_i(rex_mctx *c) { return rex_fe_new(c) ? rex_fe_gen(c, gen_plain(c, G_I), 1) : NULL; }

/* All generators used are real numbers, so the value is. */
bool rex_fe_real(rex_mctx *c, const rex_fe *a) {
    for (int g = 0; g < c->n_gen; g++)
        if (!c->gen[g].real && rex_fe_uses(c, a, g)) return false;
    return true;
}

/* ---- factors ----------------------------------------------------------------------------- */

typedef struct {
    int n;
    fmpz p[24]; /* primes, or a composite without small factors; `sure` tells */
    bool sure[24];
    slong e[24];
} factors;

static void factors_add(factors *f, const fmpz_t p, bool sure, slong e) {
    for (int i = 0; i < f->n; i++)
        if (fmpz_equal(&f->p[i], p)) {
            f->e[i] += e;
            return;
        }
    fmpz_init_set(&f->p[f->n], p);
    f->sure[f->n] = sure;
    f->e[f->n++] = e;
}

/* |n| = product p^e: trial division to 2^15, then perfect powers of what is left. */
static bool factor_into(rex_mctx *c, factors *f, const fmpz_t n0, slong sign) {
    bool ok = true;
    fmpz_t n, q;
    fmpz_init(n);
    fmpz_init(q);
    fmpz_abs(n, n0);
    const ulong limit = 1 << 15;
    const slong words = (slong)fmpz_size(n);
    for (ulong p = 2; ok && p < limit && !fmpz_is_one(n); p = p == 2 ? 3 : p + 2) {
        if (fmpz_cmp_ui(n, p * p) < 0) break;
        if (!rex_mx_step(c, words)) ok = false;
        if (fmpz_fdiv_ui(n, p) != 0) continue;
        fmpz_set_ui(q, p);
        const slong e = fmpz_remove(n, n, q);
        if (f->n >= 22) ok = rex_mx_fail(c, REX_MF_LIMIT, "too many prime factors");
        else factors_add(f, q, true, sign * e);
    }
    if (ok && !fmpz_is_one(n)) {
        slong k = 1;
        if (fmpz_bits(n) > 30)
            for (k = (slong)(fmpz_bits(n) / 15); k > 1; k--) {
                if (!rex_mx_step(c, 20 + words * words)) break;
                if (fmpz_root(q, n, k)) {
                    fmpz_set(n, q);
                    break;
                }
            }
        if (k < 1) k = 1;
        bool sure = fmpz_bits(n) <= 30 || (fmpz_bits(n) <= 64 && n_is_prime(fmpz_get_ui(n)));
        if (f->n >= 23) ok = rex_mx_fail(c, REX_MF_LIMIT, "too many prime factors");
        else factors_add(f, n, sure, sign * k);
    }
    fmpz_clear(n);
    fmpz_clear(q);
    return ok && !c->fault;
}

static bool factor_q(rex_mctx *c, factors *f, const fmpq_t q) {
    f->n = 0;
    return factor_into(c, f, fmpq_numref(q), 1) && factor_into(c, f, fmpq_denref(q), -1);
}

static void factors_clear(factors *f) {
    for (int i = 0; i < f->n; i++) fmpz_clear(&f->p[i]);
    f->n = 0;
}

/* p^(e/q), for a prime p > 0. */
static rex_fe *prime_power(rex_mctx *c, const fmpz_t p, bool sure, slong e, ulong q) {
    const ulong g = n_gcd((ulong)(e < 0 ? -e : e), q);
    if (g > 1) {
        e /= (slong)g;
        q /= g;
    }
    slong whole = e / (slong)q, part = e % (slong)q;
    if (part < 0) {
        part += (slong)q;
        whole -= 1;
    }
    if ((whole < 0 ? -whole : whole) * (slong)fmpz_bits(p) > REX_MX_BITS)
        return rex_mx_fail(c, REX_MF_LIMIT, "a number has too many digits"), NULL;
    fmpq *w = rex_mx_q(c);
    if (!w) return NULL;
    fmpz_pow_ui(fmpq_numref(w), p, (ulong)(whole < 0 ? -whole : whole));
    if (whole < 0) fmpq_inv(w, w);
    rex_fe *r = rex_fe_q(c, w);
    if (part == 0) return r;
    if (q > 1000) return rex_mx_fail(c, REX_MF_LIMIT, "a root of too high an order"), NULL;
    const rex_gen like = { .kind = G_PRIME, .order = (uint32_t)q, .closed = true, .real = true,
                           .sure = sure, .base = *p };
    const int gi = rex_gen_find(c, &like);
    if (gi < 0) return NULL;
    return rex_fe_mul(c, r, rex_fe_gen(c, gi, part * (slong)(c->gen[gi].order / q)));
}

/* c^(1/q) for a positive rational. */
static rex_fe *root_of_q(rex_mctx *c, const fmpq_t x, ulong q) {
    factors f = { 0 };
    rex_fe *r = factor_q(c, &f, x) ? rex_fe_si(c, 1, 1) : NULL;
    for (int i = 0; r && i < f.n; i++)
        r = rex_fe_mul(c, r, prime_power(c, &f.p[i], f.sure[i], f.e[i], q));
    factors_clear(&f);
    return r;
}

/* ---- roots of unity ---------------------------------------------------------------------- */

static rex_fe *root_si(rex_mctx *c, slong n) {
    fmpq *q = rex_mx_q(c);
    if (!q) return NULL;
    fmpq_set_si(q, n, 1);
    return root_of_q(c, q, 2);
}

/* exp(i pi a/b), by square roots where b divides 12. */
static rex_fe *cis(rex_mctx *c, slong a, slong b) {
    a %= 2 * b;
    if (a < 0) a += 2 * b;
    const slong g = (slong)n_gcd((ulong)a, (ulong)b);
    a /= g;
    b /= g;
    if (b == 1) return rex_fe_si(c, a ? -1 : 1, 1);
    if (b == 2) {
        rex_fe *i = rex_fe_i(c);
        return a == 1 ? i : rex_fe_neg(c, i);
    }
    if (12 % b == 0) { /* k = 4u + 3v (mod 24): exp(i pi/3)^u exp(i pi/4)^v */
        const slong k = a * (12 / b), v = (4 - k % 4) % 4;
        const slong u = ((k - 3 * v + 24) / 4) % 6;
        rex_fe *i = rex_fe_i(c);
        rex_fe *half = rex_fe_si(c, 1, 2);
        rex_fe *third = rex_fe_mul(c, half, rex_fe_add(c, rex_fe_si(c, 1, 1),
                                                       rex_fe_mul(c, i, root_si(c, 3))));
        rex_fe *r = u ? rex_fe_pow(c, third, u) : rex_fe_si(c, 1, 1);
        if (v) {
            rex_fe *s = rex_fe_mul(c, half, root_si(c, 2));
            rex_fe *fourth = rex_fe_mul(c, s, rex_fe_add(c, rex_fe_si(c, 1, 1), i));
            r = rex_fe_mul(c, r, rex_fe_pow(c, fourth, v));
        }
        return r;
    }
    if (b > 720) return rex_mx_fail(c, REX_MF_LIMIT, "an angle with too large a denominator"), NULL;
    const rex_gen like = { .kind = G_ZETA, .order = (uint32_t)(2 * b), .closed = true };
    const int gi = rex_gen_find(c, &like);
    if (gi < 0) return NULL;
    return rex_fe_gen(c, gi, a * (slong)(c->gen[gi].order / (uint32_t)(2 * b)));
}

/* ---- roots ------------------------------------------------------------------------------- */

static rex_fe *negative_root(rex_mctx *c, rex_fe *of_positive, ulong q) {
    if (q == 2) return rex_fe_mul(c, of_positive, rex_fe_i(c));
    if (q % 2 == 1) {
        if (c->radical) return rex_fe_neg(c, of_positive);
        c->seen |= REX_RD_PRINC;
        if (!(c->reading & REX_RD_PRINC)) return rex_fe_neg(c, of_positive);
    }
    return rex_fe_mul(c, of_positive, cis(c, 1, (slong)q));
}

/* Positive rational content of num / den into `k`; what is left into `out`. */
static bool take_content(rex_mctx *c, const rex_fe *a, fmpq *k, rex_fe *out) {
    fmpz_t g;
    fmpz_init(g);
    fmpz_mpoly_set(&out->n, &a->n, c->mp);
    fmpz_mpoly_set(&out->d, &a->d, c->mp);
    _fmpz_vec_content(g, a->n.coeffs, a->n.length);
    fmpz_set(fmpq_numref(k), g);
    fmpz_mpoly_scalar_divexact_fmpz(&out->n, &out->n, g, c->mp);
    _fmpz_vec_content(g, a->d.coeffs, a->d.length);
    if (a->d.length && fmpz_sgn(a->d.coeffs) < 0) { /* the sign belongs to the numerator */
        fmpz_neg(g, g);
        fmpz_mpoly_neg(&out->n, &out->n, c->mp);
    }
    fmpz_mpoly_scalar_divexact_fmpz(&out->d, &out->d, g, c->mp);
    fmpz_abs(fmpq_denref(k), g);
    fmpz_clear(g);
    fmpq_canonicalise(k);
    return !c->fault;
}

/* x^(e/q) for a single generator that is a positive real: pi, exp of a real, a root of a prime. */
static rex_fe *monomial_root(rex_mctx *c, const fmpz_mpoly_t p, ulong q, bool den) {
    ulong exps[REX_MX_GENS];
    if (p->length != 1 || !fmpz_is_one(p->coeffs)) return NULL;
    fmpz_mpoly_get_term_exp_ui(exps, p, 0, c->mp);
    rex_fe *r = rex_fe_si(c, 1, 1);
    for (int g = 0; g < c->n_gen && r; g++) {
        if (!exps[g]) continue;
        const rex_gen *gen = &c->gen[g];
        const slong e = den ? -(slong)exps[g] : (slong)exps[g];
        if (gen->kind == G_PRIME) {
            r = rex_fe_mul(c, r, prime_power(c, &gen->base, gen->sure, e, q * gen->order));
        } else if (gen->kind == G_EXP && gen->closed && gen->real) {
            rex_fe *u = rex_fe_mul(c, gen->arg, rex_fe_si(c, e, (slong)(gen->order * q)));
            r = rex_fe_mul(c, r, rex_fe_exp(c, u));
        } else {
            return NULL;
        }
    }
    return r;
}

/* The opaque root of what has no content; order grows with use. */
static rex_fe *root_gen(rex_mctx *c, rex_fe *arg, ulong q) {
    const bool closed = rex_fe_closed(c, arg);
    if (q > 60) return rex_mx_fail(c, REX_MF_LIMIT, "a root of too high an order"), NULL;
    if (closed) {
        rex_fe *n = monomial_root(c, &arg->n, q, false);
        rex_fe *d = n ? monomial_root(c, &arg->d, q, true) : NULL;
        if (c->fault) return NULL;
        if (n && d) return rex_fe_mul(c, n, d);
        const int sign = rex_fe_sign(c, arg);
        if (sign == 0) return rex_fe_si(c, 0, 1);
        if (sign == -1) return negative_root(c, root_gen(c, rex_fe_neg(c, arg), q), q);
        if (c->fault) return NULL;
        const rex_gen like = { .kind = G_ROOT, .order = (uint32_t)q, .closed = true,
                               .real = sign == 1, .arg = arg };
        const int gi = rex_gen_find(c, &like);
        return gi < 0 ? NULL : rex_fe_gen(c, gi, (slong)(c->gen[gi].order / q));
    }
    const rex_gen like = { .kind = G_ROOT, .order = (uint32_t)q, .arg = arg };
    const int gi = rex_gen_find(c, &like);
    return gi < 0 ? NULL : rex_fe_gen(c, gi, (slong)(c->gen[gi].order / q));
}

rex_fe *rex_fe_root(rex_mctx *c, const rex_fe *a, ulong q) {
    if (!a || q < 1) return NULL;
    if (q == 1) return rex_fe_mul(c, a, rex_fe_si(c, 1, 1));
    if (fmpz_mpoly_is_zero(&a->n, c->mp)) return rex_fe_si(c, 0, 1);
    fmpq *x = rex_mx_q(c);
    if (!x) return NULL;
    if (rex_fe_is_q(c, a, x)) {
        const bool neg = fmpq_sgn(x) < 0;
        fmpq_abs(x, x);
        rex_fe *r = root_of_q(c, x, q);
        return neg ? negative_root(c, r, q) : r;
    }
    rex_fe *rest = rex_fe_new(c);
    if (!rest || !take_content(c, a, x, rest)) return NULL;
    rex_fe *k = root_of_q(c, x, q);
    return k ? rex_fe_mul(c, k, root_gen(c, rest, q)) : NULL;
}

/* ---- exponentials ------------------------------------------------------------------------ */

/* exp(r * m) for one monomial m (coefficient 1) and a rational r. */
static rex_fe *exp_term(rex_mctx *c, rex_fe *m, const ulong *exps, const fmpq_t r) {
    if (fmpz_bits(fmpq_numref(r)) > 17 || fmpz_bits(fmpq_denref(r)) > 10) { /* opaque */
        rex_fe *u = rex_fe_mul(c, m, rex_fe_q(c, r));
        if (!u) return NULL;
        const bool shut = rex_fe_closed(c, u);
        const rex_gen like = {
            .kind = G_EXP, .order = 1, .closed = shut, .real = shut && rex_fe_real(c, u), .arg = u};
        return rex_fe_gen(c, rex_gen_find(c, &like), 1);
    }
    const slong p = fmpz_get_si(fmpq_numref(r)), q = fmpz_get_si(fmpq_denref(r));
    ulong total = 0;
    int pi = -1, im = -1, logp = -1;
    for (int g = 0; g < c->n_gen; g++) {
        total += exps[g];
        if (!exps[g]) continue;
        if (c->gen[g].kind == G_PI) pi = g;
        if (c->gen[g].kind == G_I) im = g;
        if (c->gen[g].kind == G_LOGP) logp = g;
    }
    if (total == 2 && pi >= 0 && im >= 0) return cis(c, p, q);
    if (total == 1 && logp >= 0)
        return prime_power(c, &c->gen[logp].base, c->gen[logp].sure, p, (ulong)q);
    for (int g = 0; total == 1 && g < c->n_gen; g++)
        if (exps[g] && c->gen[g].kind == G_FN && c->gen[g].fn == MXF_ln) /* exp(p/q log a) */
            return rex_fe_pow(c, rex_fe_root(c, c->gen[g].arg, (ulong)q), p);
    const bool closed = rex_fe_closed(c, m);
    const rex_gen like = { .kind = G_EXP, .order = (uint32_t)q, .closed = closed,
                           .real = closed && rex_fe_real(c, m), .arg = m };
    const int gi = rex_gen_find(c, &like);
    return gi < 0 ? NULL : rex_fe_gen(c, gi, p * (slong)(c->gen[gi].order / (uint32_t)q));
}

rex_fe *rex_fe_exp(rex_mctx *c, const rex_fe *u) {
    if (!u) return NULL;
    if (!fmpz_mpoly_is_fmpz(&u->d, c->mp)) { /* no sum to split: one opaque exponential */
        const bool closed = rex_fe_closed(c, u);
        rex_fe *arg = rex_fe_mul(c, u, rex_fe_si(c, 1, 1));
        const rex_gen like = { .kind = G_EXP, .order = 1, .closed = closed,
                               .real = closed && rex_fe_real(c, u), .arg = arg };
        return arg ? rex_fe_gen(c, rex_gen_find(c, &like), 1) : NULL;
    }
    fmpq *r = rex_mx_q(c);
    rex_fe *out = rex_fe_si(c, 1, 1);
    if (u->n.length > 12)
        return rex_mx_fail(c, REX_MF_LIMIT, "an exponent has too many terms"), NULL;
    for (slong i = 0; r && out && i < u->n.length; i++) {
        ulong exps[REX_MX_GENS];
        fmpz_mpoly_get_term_exp_ui(exps, &u->n, i, c->mp);
        fmpz_set(fmpq_numref(r), u->n.coeffs + i);
        fmpz_set(fmpq_denref(r), u->d.coeffs);
        fmpq_canonicalise(r);
        rex_fe *m = rex_fe_new(c);
        if (!m) return NULL;
        fmpz_mpoly_push_term_ui_ui(&m->n, 1, exps, c->mp);
        out = rex_fe_mul(c, out, exp_term(c, m, exps, r));
    }
    return r ? out : NULL;
}

/* ---- logarithms -------------------------------------------------------------------------- */

static rex_fe *log_factors(rex_mctx *c, factors *f) {
    rex_fe *r = rex_fe_si(c, 0, 1);
    for (int i = 0; r && i < f->n; i++) {
        const rex_gen like = { .kind = G_LOGP, .order = 1, .closed = true, .real = true,
                               .sure = f->sure[i], .base = f->p[i] };
        rex_fe *l = rex_fe_gen(c, rex_gen_find(c, &like), 1);
        r = rex_fe_add(c, r, rex_fe_mul(c, l, rex_fe_si(c, f->e[i], 1)));
    }
    return r;
}

/* log of a positive monomial: sums of logarithms of its generators. NULL if it is not one. */
static rex_fe *log_monomial(rex_mctx *c, const fmpz_mpoly_t p) {
    ulong exps[REX_MX_GENS];
    if (p->length != 1 || fmpz_sgn(p->coeffs) < 0) return NULL;
    fmpz_mpoly_get_term_exp_ui(exps, p, 0, c->mp);
    for (int g = 0; g < c->n_gen; g++)
        if (exps[g] && c->gen[g].kind != G_PRIME && !(c->gen[g].kind == G_EXP && c->gen[g].real))
            return NULL;
    fmpq *q = rex_mx_q(c);
    if (!q) return NULL;
    fmpz_set(fmpq_numref(q), p->coeffs);
    factors f = { 0 };
    rex_fe *r = factor_q(c, &f, q) ? log_factors(c, &f) : NULL;
    factors_clear(&f);
    for (int g = 0; r && g < c->n_gen; g++) {
        if (!exps[g]) continue;
        rex_fe *k = rex_fe_si(c, (slong)exps[g], (slong)c->gen[g].order);
        if (c->gen[g].kind == G_EXP) {
            r = rex_fe_add(c, r, rex_fe_mul(c, k, c->gen[g].arg));
            continue;
        }
        fmpz_set(fmpq_numref(q), &c->gen[g].base);
        fmpz_one(fmpq_denref(q));
        if (!factor_q(c, &f, q)) return NULL;
        r = rex_fe_add(c, r, rex_fe_mul(c, k, log_factors(c, &f)));
        factors_clear(&f);
    }
    return r;
}

rex_fe *rex_fe_log(rex_mctx *c, const rex_fe *u) {
    if (!u) return NULL;
    const rex_tri zero = rex_fe_zero(c, u);
    if (zero == REX_EQ) return rex_mx_fail(c, REX_MF_UNDEF, "a logarithm of zero"), NULL;
    fmpq *q = rex_mx_q(c);
    if (!q) return NULL;
    if (rex_fe_is_q(c, u, q) && fmpq_sgn(q) < 0)
        return rex_fe_add(c, rex_fe_log(c, rex_fe_neg(c, u)),
                          rex_fe_mul(c, rex_fe_pi(c), rex_fe_i(c)));
    rex_fe *n = log_monomial(c, &u->n);
    rex_fe *d = n ? log_monomial(c, &u->d) : NULL;
    if (c->fault) return NULL;
    if (n && d) return rex_fe_sub(c, n, d);
    rex_fe *arg = rex_fe_mul(c, u, rex_fe_si(c, 1, 1));
    return rex_fe_fn(c, MXF_ln, arg, NULL);
}

/* ---- the rest ---------------------------------------------------------------------------- */

rex_fe *rex_fe_fn(rex_mctx *c, rex_mx_fn f, const rex_fe *a, const rex_fe *b) {
    if (!a) return NULL;
    rex_fe *x = rex_fe_mul(c, a, rex_fe_si(c, 1, 1));
    rex_fe *y = b ? rex_fe_mul(c, b, rex_fe_si(c, 1, 1)) : NULL;
    if (!x || (b && !y)) return NULL;
    const bool closed = rex_fe_closed(c, x) && (!y || rex_fe_closed(c, y));
    bool real = closed && rex_fe_real(c, x) && (!y || rex_fe_real(c, y));
    if (f == MXF_ln && real) real = rex_fe_sign(c, x) == 1;
    else if (f != MXF_floor && f != MXF_ceiling && f != MXF_atan && f != MXF_asinh) real = false;
    const rex_gen like = { .kind = G_FN, .order = 1, .fn = (uint8_t)f, .closed = closed,
                           .real = real, .arg = x, .arg2 = y };
    return rex_fe_gen(c, rex_gen_find(c, &like), 1);
}

/* The complex conjugate of a closed element whose only unreal generators are i and zeta. */
rex_fe *rex_fe_conj(rex_mctx *c, const rex_fe *a) {
    rex_fe *r = rex_fe_new(c);
    if (!r) return NULL;
    for (int part = 0; part < 2; part++) {
        const fmpz_mpoly_struct *p = part ? &a->d : &a->n;
        fmpz_mpoly_struct *out = part ? &r->d : &r->n;
        fmpz_mpoly_zero(out, c->mp);
        fmpz_t k;
        fmpz_init(k);
        for (slong i = 0; i < p->length; i++) {
            ulong exps[REX_MX_GENS];
            fmpz_mpoly_get_term_exp_ui(exps, p, i, c->mp);
            fmpz_set(k, p->coeffs + i);
            for (int g = 0; g < c->n_gen; g++) {
                const rex_gen *gen = &c->gen[g];
                if (!exps[g] || gen->real) continue;
                if (gen->kind == G_I) {
                    if (exps[g] % 2) fmpz_neg(k, k);
                } else if (gen->kind == G_ZETA) {
                    exps[g] = (gen->order - exps[g] % gen->order) % gen->order;
                } else {
                    fmpz_clear(k);
                    return NULL;
                }
            }
            fmpz_mpoly_push_term_fmpz_ui(out, k, exps, c->mp);
        }
        fmpz_clear(k);
        fmpz_mpoly_sort_terms(out, c->mp);
        fmpz_mpoly_combine_like_terms(out, c->mp);
        if (!rex_poly_reduce(c, out)) return NULL;
    }
    return r;
}

rex_fe *rex_fe_abs(rex_mctx *c, const rex_fe *u) {
    if (!u) return NULL;
    if (rex_fe_closed(c, u)) {
        const int s = rex_fe_sign(c, u);
        if (s == 0 || s == 1) return rex_fe_mul(c, u, rex_fe_si(c, 1, 1));
        if (s == -1) return rex_fe_neg(c, u);
        rex_fe *bar = c->fault ? NULL : rex_fe_conj(c, u);
        if (bar) return rex_fe_root(c, rex_fe_mul(c, u, bar), 2);
        return rex_fe_fn(c, MXF_abs, u, NULL);
    }
    /* of a real expression: content out, sign by the leading coefficient */
    for (int g = 0; g < c->n_gen; g++)
        if (c->gen[g].closed && !c->gen[g].real && rex_fe_uses(c, u, g))
            return rex_fe_fn(c, MXF_abs, u, NULL);
    fmpq *k = rex_mx_q(c);
    rex_fe *rest = rex_fe_new(c);
    if (!k || !rest || !take_content(c, u, k, rest)) return NULL;
    fmpz_mpoly_struct *const num = &rest->n;
    if (fmpz_sgn(num->coeffs) < 0) fmpz_mpoly_neg(num, num, c->mp);
    const rex_gen like = { .kind = G_ABS, .order = 1, .arg = rest };
    return rex_fe_mul(c, rex_fe_q(c, k), rex_fe_gen(c, rex_gen_find(c, &like), 1));
}
