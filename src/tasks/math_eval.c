/* SPDX-License-Identifier: MIT
 *
 * math_eval.c: from a tree to an element of the field. Exact throughout: a function whose value at
 * a closed argument is not known exactly becomes an opaque generator, never a rounded number. Sizes
 * are bounded before they are computed (powers, factorials, binomials), so 9^9^9^9 costs nothing.
 */
#include "math_in.h"

#include <string.h>

static rex_fe *limit(rex_mctx *c, const char *why) {
    rex_mx_fail(c, REX_MF_LIMIT, why);
    return NULL;
}

static rex_fe *undef(rex_mctx *c, const char *why) {
    rex_mx_fail(c, REX_MF_UNDEF, why);
    return NULL;
}

static rex_fe *one(rex_mctx *c) { return rex_fe_si(c, 1, 1); }
static rex_fe *inverse(rex_mctx *c, const rex_fe *a) { return rex_fe_div(c, one(c), a); }

/* A rational integer that fits. */
static bool is_int(rex_mctx *c, const rex_fe *a, slong *v) {
    fmpq_t q;
    fmpq_init(q);
    const bool ok =
        a && rex_fe_is_q(c, a, q) && fmpz_is_one(fmpq_denref(q)) && fmpz_fits_si(fmpq_numref(q));
    if (ok) *v = fmpz_get_si(fmpq_numref(q));
    fmpq_clear(q);
    return ok;
}

/* ---- powers ------------------------------------------------------------------------------ */

static rex_fe *power_q(rex_mctx *c, const rex_fe *a, const fmpq *r) {
    fmpq *base = rex_mx_q(c);
    if (!base) return NULL;
    const bool rational = rex_fe_is_q(c, a, base);
    if (rex_fe_zero(c, a) == REX_EQ) {
        if (fmpq_sgn(r) > 0) return rex_fe_si(c, 0, 1);
        return undef(c, fmpq_sgn(r) ? "a division by zero" : "0 to the power 0");
    }
    if (rational && fmpz_is_one(fmpq_denref(r)) &&
        (fmpq_is_one(base) ||
         (fmpz_equal_si(fmpq_numref(base), -1) && fmpz_is_one(fmpq_denref(base)))))
        return rex_fe_si(c, fmpq_is_one(base) || fmpz_is_even(fmpq_numref(r)) ? 1 : -1, 1);
    if (fmpz_bits(fmpq_numref(r)) > 18 || fmpz_bits(fmpq_denref(r)) > 12)
        return limit(c, "a power is too high");
    const slong p = fmpz_get_si(fmpq_numref(r)), q = fmpz_get_si(fmpq_denref(r));
    if (rational && q == 1) {
        const slong bits = (slong)(fmpz_bits(fmpq_numref(base)) + fmpz_bits(fmpq_denref(base)));
        const slong n = p < 0 ? -p : p;
        if (n * bits > 2 * REX_MX_BITS) return limit(c, "a number has too many digits");
        if (!rex_mx_step(c, n * bits / 16 + 10)) return NULL;
        fmpq_pow_si(base, base, p);
        return rex_fe_q(c, base);
    }
    if (q == 1) return rex_fe_pow(c, a, p);
    slong whole = p / q, part = p % q;
    if (part < 0) {
        part += q;
        whole -= 1;
    }
    rex_fe *root = rex_fe_root(c, a, (ulong)q);
    return rex_fe_mul(c, rex_fe_pow(c, a, whole), rex_fe_pow(c, root, part));
}

static rex_fe *power(rex_mctx *c, const rex_mx *x) {
    const rex_mx *base = x->arg[0];
    rex_fe *b = rex_mx_eval(c, x->arg[1]);
    if (!b) return NULL;
    if (base->kind == MX_CONST && base->op == MXC_E) return rex_fe_exp(c, b);
    rex_fe *a = rex_mx_eval(c, base);
    fmpq *r = rex_mx_q(c);
    if (!a || !r) return NULL;
    if (rex_fe_is_q(c, b, r)) return power_q(c, a, r);
    if (rex_fe_zero(c, a) == REX_EQ) return undef(c, "a power of zero");
    return rex_fe_exp(c, rex_fe_mul(c, b, rex_fe_log(c, a)));
}

/* ---- circular and hyperbolic functions --------------------------------------------------- */

/* sum and difference of exp(w) and exp(-w) */
static bool exp_pair(rex_mctx *c, const rex_fe *w, rex_fe **plus, rex_fe **minus) {
    rex_fe *e = rex_fe_exp(c, w);
    rex_fe *f = rex_fe_exp(c, rex_fe_neg(c, w));
    *plus = rex_fe_add(c, e, f);
    *minus = rex_fe_sub(c, e, f);
    return *plus && *minus;
}

static rex_fe *circular(rex_mctx *c, rex_mx_fn f, const rex_fe *u) {
    rex_fe *i = rex_fe_i(c);
    rex_fe *plus, *minus;
    if (!exp_pair(c, rex_fe_mul(c, i, u), &plus, &minus)) return NULL;
    rex_fe *half = rex_fe_si(c, 1, 2);
    rex_fe *cosine = rex_fe_mul(c, plus, half);
    rex_fe *sine = rex_fe_neg(c, rex_fe_mul(c, i, rex_fe_mul(c, minus, half)));
    switch (f) {
    case MXF_sin: return sine;
    case MXF_cos: return cosine;
    case MXF_tan: return rex_fe_div(c, sine, cosine);
    case MXF_cot: return rex_fe_div(c, cosine, sine);
    case MXF_sec: return inverse(c, cosine);
    default: return inverse(c, sine);
    }
}

static rex_fe *hyperbolic(rex_mctx *c, rex_mx_fn f, const rex_fe *u) {
    rex_fe *plus, *minus;
    if (!exp_pair(c, u, &plus, &minus)) return NULL;
    rex_fe *half = rex_fe_si(c, 1, 2);
    switch (f) {
    case MXF_sinh: return rex_fe_mul(c, minus, half);
    case MXF_cosh: return rex_fe_mul(c, plus, half);
    case MXF_tanh: return rex_fe_div(c, minus, plus);
    case MXF_coth: return rex_fe_div(c, plus, minus);
    case MXF_sech: return rex_fe_div(c, rex_fe_si(c, 2, 1), plus);
    default: return rex_fe_div(c, rex_fe_si(c, 2, 1), minus);
    }
}

/* asin, acos, atan at a value where the angle is r pi with a small denominator: the candidate
 * comes from a ball, and is accepted only when its sine (...) is proved to be the argument. */
static rex_fe *special_angle(rex_mctx *c, rex_mx_fn f, const rex_fe *u) {
    static const slong dens[] = { 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 16, 20, 24, 30, 36, 60 };
    arb_t x, pi;
    acb_t v;
    rex_fe *r = NULL;
    arb_init(x);
    arb_init(pi);
    acb_init(v);
    rex_fe_ball(c, v, u, 64);
    if (!arb_contains_zero(acb_imagref(v)) || !acb_is_finite(v)) goto out;
    if (f == MXF_asin) arb_asin(x, acb_realref(v), 64);
    else if (f == MXF_acos) arb_acos(x, acb_realref(v), 64);
    else arb_atan(x, acb_realref(v), 64);
    if (!arb_is_finite(x)) /* the end points +-1, straddled by the ball */
        goto ends;
    arb_const_pi(pi, 64);
    arb_div(x, x, pi, 64);
    for (size_t k = 0; k < sizeof dens / sizeof *dens && !r && !c->fault; k++) {
        fmpz_t n;
        arb_t t;
        fmpz_init(n);
        arb_init(t);
        arb_mul_si(t, x, dens[k], 64);
        const bool near = arb_get_unique_fmpz(n, t) && rex_mx_step(c, 50);
        if (near) {
            rex_fe *angle = rex_fe_mul(c, rex_fe_pi(c), rex_fe_si(c, fmpz_get_si(n), dens[k]));
            const rex_mx_fn back = f == MXF_asin ? MXF_sin : f == MXF_acos ? MXF_cos : MXF_tan;
            rex_fe *value = circular(c, back, angle);
            if (value && rex_fe_equal(c, value, u) == REX_EQ) r = angle;
        }
        arb_clear(t);
        fmpz_clear(n);
        if (near) break;
    }
    goto out;
ends:
    if (f != MXF_atan && rex_fe_equal(c, u, one(c)) == REX_EQ)
        r = rex_fe_mul(c, rex_fe_pi(c), rex_fe_si(c, f == MXF_asin, 2));
    else if (f != MXF_atan && rex_fe_equal(c, u, rex_fe_si(c, -1, 1)) == REX_EQ)
        r = rex_fe_mul(c, rex_fe_pi(c), rex_fe_si(c, f == MXF_asin ? -1 : 2, 2));
out:
    arb_clear(x);
    arb_clear(pi);
    acb_clear(v);
    return r;
}

/* Closed arguments: a special angle, or by logarithms (which math_ball can compare). */
static rex_fe *inverse_circular(rex_mctx *c, rex_mx_fn f, const rex_fe *u) {
    if (f == MXF_asec) return inverse_circular(c, MXF_acos, inverse(c, u));
    if (f == MXF_acsc) return inverse_circular(c, MXF_asin, inverse(c, u));
    if (!u || c->fault) return NULL;
    if (f == MXF_acot) {
        if (rex_fe_zero(c, u) == REX_EQ) return rex_fe_mul(c, rex_fe_pi(c), rex_fe_si(c, 1, 2));
        return inverse_circular(c, MXF_atan, inverse(c, u));
    }
    if (!rex_fe_closed(c, u)) {
        if (f == MXF_acos)
            return rex_fe_sub(c, rex_fe_mul(c, rex_fe_pi(c), rex_fe_si(c, 1, 2)),
                              inverse_circular(c, MXF_asin, u));
        if (u->n.length && fmpz_sgn(u->n.coeffs) < 0)
            return rex_fe_neg(c, rex_fe_fn(c, f, rex_fe_neg(c, u), NULL));
        return rex_fe_fn(c, f, u, NULL);
    }
    rex_fe *r = special_angle(c, f, u);
    if (r || c->fault) return r;
    rex_fe *i = rex_fe_i(c), *iu = rex_fe_mul(c, i, u);
    if (f == MXF_atan) {
        rex_fe *d = rex_fe_sub(c, rex_fe_log(c, rex_fe_sub(c, one(c), iu)),
                               rex_fe_log(c, rex_fe_add(c, one(c), iu)));
        return rex_fe_mul(c, rex_fe_mul(c, i, rex_fe_si(c, 1, 2)), d);
    }
    if (f == MXF_acos)
        return rex_fe_sub(c, rex_fe_mul(c, rex_fe_pi(c), rex_fe_si(c, 1, 2)),
                          inverse_circular(c, MXF_asin, u));
    rex_fe *s = rex_fe_root(c, rex_fe_sub(c, one(c), rex_fe_mul(c, u, u)), 2);
    return rex_fe_neg(c, rex_fe_mul(c, i, rex_fe_log(c, rex_fe_add(c, iu, s))));
}

static rex_fe *inverse_hyperbolic(rex_mctx *c, rex_mx_fn f, const rex_fe *u) {
    if (f == MXF_asech) return inverse_hyperbolic(c, MXF_acosh, inverse(c, u));
    if (f == MXF_acsch) return inverse_hyperbolic(c, MXF_asinh, inverse(c, u));
    if (f == MXF_acoth) return inverse_hyperbolic(c, MXF_atanh, inverse(c, u));
    if (!u || c->fault) return NULL;
    rex_fe *plus = rex_fe_add(c, u, one(c)), *minus = rex_fe_sub(c, u, one(c));
    if (f == MXF_atanh) {
        rex_fe *d = rex_fe_sub(c, rex_fe_log(c, plus), rex_fe_log(c, rex_fe_neg(c, minus)));
        return rex_fe_mul(c, d, rex_fe_si(c, 1, 2));
    }
    rex_fe *s;
    if (f == MXF_asinh) s = rex_fe_root(c, rex_fe_add(c, rex_fe_mul(c, u, u), one(c)), 2);
    else s = rex_fe_mul(c, rex_fe_root(c, plus, 2), rex_fe_root(c, minus, 2));
    return rex_fe_log(c, rex_fe_add(c, u, s));
}

/* ---- functions of integers --------------------------------------------------------------- */

static rex_fe *floor_of(rex_mctx *c, const rex_fe *u, bool up) {
    if (!rex_fe_closed(c, u)) return rex_fe_fn(c, up ? MXF_ceiling : MXF_floor, u, NULL);
    fmpq *q = rex_mx_q(c);
    if (!q) return NULL;
    if (rex_fe_is_q(c, u, q)) {
        if (up) fmpz_cdiv_q(fmpq_numref(q), fmpq_numref(q), fmpq_denref(q));
        else fmpz_fdiv_q(fmpq_numref(q), fmpq_numref(q), fmpq_denref(q));
        fmpz_one(fmpq_denref(q));
        return rex_fe_q(c, q);
    }
    acb_t v;
    acb_init(v);
    arb_t t;
    arb_init(t);
    bool found = false, real = true;
    for (slong prec = 64; prec <= 4096 && !found && real && !c->fault; prec *= 2) {
        rex_fe_ball(c, v, u, prec);
        real = acb_is_finite(v) && arb_contains_zero(acb_imagref(v));
        if (!real) break;
        if (up) arb_ceil(t, acb_realref(v), prec);
        else arb_floor(t, acb_realref(v), prec);
        found = arb_get_unique_fmpz(fmpq_numref(q), t);
        fmpz_one(fmpq_denref(q));
        if (!found && prec >= 128 && arb_get_unique_fmpz(fmpq_numref(q), acb_realref(v)))
            found = rex_fe_equal(c, u, rex_fe_q(c, q)) == REX_EQ;
    }
    arb_clear(t);
    acb_clear(v);
    if (c->fault) return NULL;
    if (!real) return undef(c, "floor or ceiling of a number that is not real");
    return found ? rex_fe_q(c, q) : limit(c, "floor or ceiling could not be decided");
}

static rex_fe *factorial(rex_mctx *c, const rex_fe *u) {
    slong n;
    if (!is_int(c, u, &n)) {
        fmpq_t q;
        fmpq_init(q);
        const bool rational = rex_fe_is_q(c, u, q);
        const bool whole = rational && fmpz_is_one(fmpq_denref(q));
        fmpq_clear(q);
        if (whole) return limit(c, "a factorial is too large");
        return rex_fe_fn(c, MXF_factorial, u, NULL);
    }
    if (n < 0) return undef(c, "a factorial of a negative integer");
    if (n > 3000) return limit(c, "a factorial is too large");
    fmpq *q = rex_mx_q(c);
    if (!q || !rex_mx_step(c, 20 + n * n / 64)) return NULL;
    fmpz_fac_ui(fmpq_numref(q), (ulong)n);
    return rex_fe_q(c, q);
}

static rex_fe *binomial(rex_mctx *c, const rex_fe *n, const rex_fe *k) {
    slong a, b;
    if (is_int(c, n, &a) && is_int(c, k, &b)) {
        if (b < 0) return rex_fe_si(c, 0, 1);
        if (a >= 0 && b > a) return rex_fe_si(c, 0, 1);
        if (a >= 0) {
            if (a - b < b) b = a - b;
            if (b > 3000 || b * (slong)FLINT_BIT_COUNT((ulong)a) > REX_MX_BITS)
                return limit(c, "a binomial coefficient is too large");
            fmpq *q = rex_mx_q(c);
            if (!q || !rex_mx_step(c, 20 + b * b)) return NULL;
            fmpz_bin_uiui(fmpq_numref(q), (ulong)a, (ulong)b);
            return rex_fe_q(c, q);
        }
    }
    if (is_int(c, k, &b) && b >= 0 && b <= 12) { /* n (n-1) ... (n-k+1) / k! */
        rex_fe *r = one(c);
        for (slong j = 0; r && j < b; j++)
            r = rex_fe_mul(
                c, r, rex_fe_mul(c, rex_fe_sub(c, n, rex_fe_si(c, j, 1)), rex_fe_si(c, 1, j + 1)));
        return r;
    }
    return rex_fe_fn(c, MXF_binomial, n, k);
}

static rex_fe *fold(rex_mctx *c, const rex_mx *x) { /* gcd, lcm, max, min over all arguments */
    rex_fe *r = NULL;
    for (uint32_t i = 0; i < x->n; i++) {
        rex_fe *v = rex_mx_eval(c, x->arg[i]);
        if (!v) return NULL;
        if (!r) {
            r = v;
            if (x->n > 1) continue;
        }
        if (x->op == MXF_max || x->op == MXF_min) {
            const int s = rex_fe_sign(c, rex_fe_sub(c, v, r));
            if (c->fault) return NULL;
            if (s == 2) return limit(c, "a maximum or minimum could not be decided");
            if ((x->op == MXF_max && s > 0) || (x->op == MXF_min && s < 0)) r = v;
            continue;
        }
        fmpq *a = rex_mx_q(c), *b = rex_mx_q(c);
        if (!a || !b) return NULL;
        if (!rex_fe_is_q(c, r, a) || !rex_fe_is_q(c, v, b) || !fmpz_is_one(fmpq_denref(a)) ||
            !fmpz_is_one(fmpq_denref(b)))
            return limit(c, "gcd or lcm of what is not an integer");
        if (x->op == MXF_gcd) fmpz_gcd(fmpq_numref(a), fmpq_numref(a), fmpq_numref(b));
        else fmpz_lcm(fmpq_numref(a), fmpq_numref(a), fmpq_numref(b));
        r = rex_fe_q(c, a);
    }
    return r;
}

/* ---- functions --------------------------------------------------------------------------- */

static rex_fe *log_fn(rex_mctx *c, const rex_mx *x, const rex_fe *u) {
    rex_fe *l = rex_fe_log(c, u);
    if (x->n == 2) return rex_fe_div(c, l, rex_fe_log(c, rex_mx_eval(c, x->arg[1])));
    const bool ten = x->op == MXF_lg || (x->op == MXF_log && (c->reading & REX_RD_LOG10));
    if (x->op == MXF_log) c->seen |= REX_RD_LOG10;
    return ten ? rex_fe_div(c, l, rex_fe_log(c, rex_fe_si(c, 10, 1))) : l;
}

static rex_fe *parts(rex_mctx *c, rex_mx_fn f, const rex_fe *u) { /* re, im, conj, arg */
    if (!rex_fe_closed(c, u)) return rex_fe_fn(c, f, u, NULL);
    rex_fe *bar = rex_fe_conj(c, u);
    if (!bar) return c->fault ? NULL : rex_fe_fn(c, f, u, NULL);
    if (f == MXF_conj) return bar;
    rex_fe *half = rex_fe_si(c, 1, 2);
    rex_fe *re = rex_fe_mul(c, half, rex_fe_add(c, u, bar));
    rex_fe *im =
        rex_fe_neg(c, rex_fe_mul(c, rex_fe_i(c), rex_fe_mul(c, half, rex_fe_sub(c, u, bar))));
    if (f == MXF_re) return re;
    if (f == MXF_im) return im;
    const int x = rex_fe_sign(c, re), y = rex_fe_sign(c, im);
    if (c->fault || x == 2 || y == 2) return limit(c, "an argument could not be decided");
    if (x == 0 && y == 0) return undef(c, "the argument of zero");
    rex_fe *pi = rex_fe_pi(c);
    if (x == 0) return rex_fe_mul(c, pi, rex_fe_si(c, y, 2));
    rex_fe *t = inverse_circular(c, MXF_atan, rex_fe_div(c, im, re));
    if (x > 0) return t;
    return rex_fe_add(c, t, rex_fe_mul(c, pi, rex_fe_si(c, y < 0 ? -1 : 1, 1)));
}

static rex_fe *call(rex_mctx *c, const rex_mx *x) {
    const rex_mx_fn f = (rex_mx_fn)x->op;
    if (f == MXF_gcd || f == MXF_lcm || f == MXF_max || f == MXF_min) return fold(c, x);
    const bool angle = (f >= MXF_sin && f <= MXF_cot);
    if (angle) c->trig++;
    rex_fe *u = x->n ? rex_mx_eval(c, x->arg[0]) : NULL;
    if (angle) c->trig--;
    if (!u) return NULL;
    if (x->n > 1 && f != MXF_log && f != MXF_binomial)
        return limit(c, "a function with too many arguments");
    switch (f) {
    case MXF_sqrt: return rex_fe_root(c, u, 2);
    case MXF_cbrt:
        c->radical = true;
        u = rex_fe_root(c, u, 3);
        c->radical = false;
        return u;
    case MXF_exp: return rex_fe_exp(c, u);
    case MXF_log:
    case MXF_ln:
    case MXF_lg: return log_fn(c, x, u);
    case MXF_abs: return rex_fe_abs(c, u);
    case MXF_floor: return floor_of(c, u, false);
    case MXF_ceiling: return floor_of(c, u, true);
    case MXF_factorial: return factorial(c, u);
    case MXF_binomial: {
        rex_fe *k = x->n == 2 ? rex_mx_eval(c, x->arg[1]) : NULL;
        return k ? binomial(c, u, k) : NULL;
    }
    case MXF_re:
    case MXF_im:
    case MXF_conj:
    case MXF_arg: return parts(c, f, u);
    default: break;
    }
    if (f <= MXF_cot) return circular(c, f, u);
    if (f <= MXF_acot) return inverse_circular(c, f, u);
    if (f <= MXF_coth) return hyperbolic(c, f, u);
    return inverse_hyperbolic(c, f, u);
}

static rex_fe *applied(rex_mctx *c, const rex_mx *x) {
    rex_fe *u = rex_mx_eval(c, x->arg[0]);
    if (!u) return NULL;
    const rex_gen like = { .kind = G_FN, .order = 1, .fn = MXF_COUNT, .name = x->s, .arg = u };
    return rex_fe_gen(c, rex_gen_find(c, &like), 1);
}

static rex_fe *constant(rex_mctx *c, const rex_mx *x) {
    if (x->op == MXC_PI) return rex_fe_pi(c);
    if (x->op == MXC_E) return rex_fe_exp(c, one(c));
    if (x->op == MXC_I) return rex_fe_i(c);
    return limit(c, "infinity or a set where a number should stand");
}

static rex_fe *eval_in(rex_mctx *c, const rex_mx *x) {
    rex_fe *r = NULL;
    switch (x->kind) {
    case MX_BASE:
    case MX_NUM: return rex_fe_q(c, x->q);
    case MX_SYM: return rex_fe_sym(c, x->s);
    case MX_CONST: return constant(c, x);
    case MX_ADD:
        for (uint32_t i = 0; i < x->n; i++) {
            rex_fe *v = rex_mx_eval(c, x->arg[i]);
            r = i ? rex_fe_add(c, r, v) : v;
            if (!r) return NULL;
        }
        return r;
    case MX_MUL:
        for (uint32_t i = 0; i < x->n; i++) {
            rex_fe *v = rex_mx_eval(c, x->arg[i]);
            r = i ? rex_fe_mul(c, r, v) : v;
            if (!r) return NULL;
        }
        return r;
    case MX_NEG: return rex_fe_neg(c, rex_mx_eval(c, x->arg[0]));
    case MX_DIV:
        r = rex_mx_eval(c, x->arg[0]);
        return r ? rex_fe_div(c, r, rex_mx_eval(c, x->arg[1])) : NULL;
    case MX_POW: return power(c, x);
    case MX_ROOT: {
        slong n;
        r = rex_mx_eval(c, x->arg[0]);
        rex_fe *k = r ? rex_mx_eval(c, x->arg[1]) : NULL;
        if (!k) return NULL;
        if (!is_int(c, k, &n) || n < 2 || n > 1000)
            return limit(c, "a root whose order is not an integer from 2");
        c->radical = true;
        r = rex_fe_root(c, r, (ulong)n);
        c->radical = false;
        return r;
    }
    case MX_FN: return call(c, x);
    case MX_APP: return applied(c, x);
    case MX_UNIT: return rex_mx_eval(c, x->arg[0]);
    case MX_PERCENT: return rex_fe_mul(c, rex_mx_eval(c, x->arg[0]), rex_fe_si(c, 1, 100));
    case MX_DEG:
        r = rex_mx_eval(c, x->arg[0]);
        if (c->trig == 0) c->seen |= REX_RD_RAD;
        if (c->trig == 0 && !(c->reading & REX_RD_RAD)) return r;
        return rex_fe_mul(c, r, rex_fe_mul(c, rex_fe_pi(c), rex_fe_si(c, 1, 180)));
    default: return limit(c, "a set, list or relation where a number should stand");
    }
}

rex_fe *rex_mx_eval(rex_mctx *c, const rex_mx *x) {
    if (!x || c->fault) return NULL;
    if (c->depth > 4 * REX_MX_DEPTH) return limit(c, "nested too deeply");
    c->depth++;
    rex_fe *r = eval_in(c, x);
    c->depth--;
    return c->fault ? NULL : r;
}
