/* SPDX-License-Identifier: MIT
 *
 * math_ball.c: balls around values (Arb), and what may be concluded from them.
 *
 * A ball that does not hold zero proves "not zero". A ball that holds zero proves nothing by
 * itself; "zero" is concluded in two cases only. (1) The value is algebraic and the ball is
 * smaller than a bound below which only zero lies: write it as U / L with algebraic integers U, L
 * whose conjugates are all below 2^u and 2^l; the norm of a nonzero U is an integer, so |U| >=
 * 2^(-u (D - 1)) for degree at most D, and |U/L| >= 2^(-u (D - 1) - l) (Burnikel, Fleischer,
 * Mehlhorn, Schirra 2000; the same bound serves complex values). (2) The value is a rational
 * combination T of logarithms of algebraic numbers and of pi: if exp(N T) = 1, which is algebraic,
 * then N T is a multiple of 2 pi i, and a ball inside |N T| < 6 leaves zero only.
 * Everything else stays UNKNOWN, however many digits agree.
 */
#include "math_in.h"

/* ---- values ------------------------------------------------------------------------------ */

/* Where a symbol stands in a trial: fixed rationals; four positive points, two with negatives. */
static void symbol_at(acb_t r, int index, int trial, slong prec) {
    static const int scale[6][2] = {{3, 17}, {29, 13}, {97, 7}, {7, 11}, {-31, 19}, {-5, 23}};
    const slong p = scale[trial % 6][0] * (7 + 3 * index) + (trial % 6 == 3 ? 2 * index : 0);
    const slong q = scale[trial % 6][1] * (5 + index);
    acb_set_si(r, index % 2 && trial == 4 ? -p : p);
    acb_div_si(r, r, q, prec);
}

static void fn_ball(acb_t r, rex_mx_fn f, const acb_t x, slong prec) {
    switch (f) {
    case MXF_ln: acb_log(r, x, prec); break;
    case MXF_asin: acb_asin(r, x, prec); break;
    case MXF_acos: acb_acos(r, x, prec); break;
    case MXF_atan: acb_atan(r, x, prec); break;
    case MXF_asinh: acb_asinh(r, x, prec); break;
    case MXF_acosh: acb_acosh(r, x, prec); break;
    case MXF_atanh: acb_atanh(r, x, prec); break;
    case MXF_floor:
        arb_floor(acb_realref(r), acb_realref(x), prec);
        arb_zero(acb_imagref(r));
        break;
    case MXF_ceiling:
        arb_ceil(acb_realref(r), acb_realref(x), prec);
        arb_zero(acb_imagref(r));
        break;
    case MXF_abs:
        acb_abs(acb_realref(r), x, prec);
        arb_zero(acb_imagref(r));
        break;
    case MXF_arg:
        acb_arg(acb_realref(r), x, prec);
        arb_zero(acb_imagref(r));
        break;
    case MXF_factorial:
        acb_add_ui(r, x, 1, prec);
        if (mag_cmp_2exp_si(arb_radref(acb_realref(r)), 0) < 0 &&
            arf_cmpabs_2exp_si(arb_midref(acb_realref(r)), 12) < 0)
            acb_gamma(r, r, prec);
        else
            acb_indeterminate(r);
        break;
    default: acb_indeterminate(r); break;
    }
}

static void gen_eval(rex_mctx *c, acb_t r, int index, slong prec) {
    const rex_gen *g = &c->gen[index];
    switch (g->kind) {
    case G_SYM: symbol_at(r, index, c->trial, prec); break;
    case G_PI: acb_const_pi(r, prec); break;
    case G_I: acb_onei(r); break;
    case G_PRIME:
        acb_set_fmpz(r, &g->base);
        if (g->order > 1) arb_root_ui(acb_realref(r), acb_realref(r), g->order, prec);
        break;
    case G_ZETA: acb_unit_root(r, g->order, prec); break;
    case G_LOGP:
        acb_set_fmpz(r, &g->base);
        acb_log(r, r, prec);
        break;
    case G_EXP:
        rex_fe_ball(c, r, g->arg, prec);
        acb_div_si(r, r, (slong)g->order, prec);
        if (arf_cmpabs_2exp_si(arb_midref(acb_realref(r)), 24) > 0) acb_indeterminate(r);
        else acb_exp(r, r, prec);
        break;
    case G_ROOT:
        rex_fe_ball(c, r, g->arg, prec);
        acb_root_ui(r, r, g->order, prec);
        break;
    case G_ABS:
        rex_fe_ball(c, r, g->arg, prec);
        fn_ball(r, MXF_abs, r, prec);
        break;
    case G_FN:
        if (g->fn >= MXF_COUNT || g->arg2) {
            symbol_at(r, index, c->trial, prec);
            if (g->arg2 || g->closed) acb_indeterminate(r);
        } else {
            rex_fe_ball(c, r, g->arg, prec);
            fn_ball(r, (rex_mx_fn)g->fn, r, prec);
        }
        break;
    }
}

static acb_srcptr gen_ball(rex_mctx *c, int index, slong prec) {
    rex_gen *g = &c->gen[index];
    if (!g->val && !(g->val = rex_mx_acb(c))) return NULL;
    if (g->prec < prec) {
        const int64_t w = prec / 64 + 1;
        if (!rex_mx_step(c, 150 + w * w * 6 + w * 60)) return NULL;
        gen_eval(c, g->val, index, prec);
        g->prec = prec;
    }
    return g->val;
}

void rex_poly_ball(rex_mctx *c, acb_t r, const fmpz_mpoly_t p, slong prec) {
    acb_t t, w;
    acb_init(t);
    acb_init(w);
    acb_zero(r);
    for (slong i = 0; i < p->length; i++) {
        ulong exps[REX_MX_GENS];
        fmpz_mpoly_get_term_exp_ui(exps, p, i, c->mp);
        acb_set_fmpz(t, p->coeffs + i);
        for (int g = 0; g < c->n_gen; g++) {
            if (!exps[g]) continue;
            acb_srcptr v = gen_ball(c, g, prec);
            if (!v || !rex_mx_step(c, 10 + prec / 16)) {
                acb_indeterminate(t);
                break;
            }
            acb_pow_ui(w, v, exps[g], prec);
            acb_mul(t, t, w, prec);
        }
        acb_add(r, r, t, prec);
    }
    acb_clear(t);
    acb_clear(w);
}

void rex_fe_ball(rex_mctx *c, acb_t r, const rex_fe *a, slong prec) {
    acb_t d;
    acb_init(d);
    rex_poly_ball(c, r, &a->n, prec);
    rex_poly_ball(c, d, &a->d, prec);
    acb_div(r, r, d, prec);
    acb_clear(d);
}

/* ---- the root bound ---------------------------------------------------------------------- */

typedef struct {
    double u, l; /* log2 of the largest conjugate of numerator and denominator, rounded up */
} bound;

static bool poly_bound(rex_mctx *c, const fmpz_mpoly_t p, bound *b, uint32_t *used);

static bool gen_bound(rex_mctx *c, int index, bound *b, uint32_t *used) {
    const rex_gen *g = &c->gen[index];
    *b = (bound){ 0, 0 };
    *used |= 1u << index;
    switch (g->kind) {
    case G_I:
    case G_ZETA: return true;
    case G_PRIME: b->u = (double)fmpz_bits(&g->base) / (double)g->order; return true;
    case G_ABS:
    case G_ROOT: {
        bound n, d;
        if (g->kind == G_ABS && !rex_fe_real(c, g->arg)) return false;
        if (!poly_bound(c, &g->arg->n, &n, used) || !poly_bound(c, &g->arg->d, &d, used))
            return false;
        const double q = g->kind == G_ABS ? 1.0 : (double)g->order;
        const double A = n.u + d.l, B = n.l + d.u;
        b->u = (A + (q - 1.0) * B) / q;
        b->l = B;
        return true;
    }
    default: return false;
    }
}

static bool poly_bound(rex_mctx *c, const fmpz_mpoly_t p, bound *b, uint32_t *used) {
    bound gb[REX_MX_GENS] = { { 0, 0 } };
    slong deg[REX_MX_GENS] = { 0 };
    *b = (bound){ 0, 0 };
    if (p->length == 0) return true;
    fmpz_mpoly_degrees_si(deg, p, c->mp);
    for (int g = 0; g < c->n_gen; g++) {
        if (deg[g] == 0) continue;
        if (!gen_bound(c, g, &gb[g], used)) return false;
        b->l += gb[g].l * (double)deg[g];
    }
    for (slong i = 0; i < p->length; i++) {
        ulong exps[REX_MX_GENS];
        fmpz_mpoly_get_term_exp_ui(exps, p, i, c->mp);
        double t = (double)fmpz_bits(p->coeffs + i);
        for (int g = 0; g < c->n_gen; g++)
            t += gb[g].u * (double)exps[g] + gb[g].l * (double)(deg[g] - (slong)exps[g]);
        if (t > b->u) b->u = t;
    }
    b->u += (double)FLINT_BIT_COUNT((ulong)p->length) + 1.0;
    b->l += 1.0;
    return true;
}

bool rex_poly_bound(rex_mctx *c, const fmpz_mpoly_t p, double *u, double *l, double *deg) {
    bound b;
    uint32_t used = 0;
    if (!poly_bound(c, p, &b, &used)) return false;
    *u = b.u;
    *l = b.l;
    *deg = 1.0;
    for (int g = 0; g < c->n_gen; g++) {
        if (!(used >> g & 1)) continue;
        const rex_gen_kind k = c->gen[g].kind;
        *deg *= k == G_I || k == G_ABS ? 2.0 : (double)c->gen[g].order;
    }
    return true;
}

/* ---- zero? ------------------------------------------------------------------------------- */

/* p = sum n_k log a_k + m i pi with integers (all multiplied by i if need be): product form.
 * Collects exp(p) as an element; false if p is not of that form. */
static bool exp_of_logs(rex_mctx *c, const fmpz_mpoly_t p, bool turned, rex_fe **out) {
    *out = rex_fe_si(c, 1, 1);
    for (slong i = 0; i < p->length && *out; i++) {
        ulong exps[REX_MX_GENS];
        fmpz_mpoly_get_term_exp_ui(exps, p, i, c->mp);
        int log_gen = -1;
        bool has_i = turned;
        slong sign = 1;
        for (int g = 0; g < c->n_gen; g++) {
            if (!exps[g]) continue;
            const rex_gen *gen = &c->gen[g];
            if (gen->kind == G_I && exps[g] == 1) {
                if (has_i) sign = -sign;
                has_i = !has_i;
            } else if (exps[g] == 1 && log_gen < 0 &&
                       (gen->kind == G_PI || gen->kind == G_LOGP ||
                        (gen->kind == G_FN && gen->fn == MXF_ln))) {
                log_gen = g;
            } else {
                return false;
            }
        }
        if (log_gen < 0 || !fmpz_fits_si(p->coeffs + i)) return false;
        const slong k = sign * fmpz_get_si(p->coeffs + i);
        if (k > 400 || k < -400) return false;
        const rex_gen *gen = &c->gen[log_gen];
        if ((gen->kind == G_PI) != has_i) return false;
        rex_fe *f;
        if (gen->kind == G_PI) {
            f = rex_fe_si(c, k % 2 ? -1 : 1, 1);
        } else if (gen->kind == G_LOGP) {
            fmpq *q = rex_mx_q(c);
            if (!q) return false;
            fmpz_set(fmpq_numref(q), &gen->base);
            f = rex_fe_pow(c, rex_fe_q(c, q), k);
        } else {
            f = rex_fe_pow(c, gen->arg, k);
        }
        *out = rex_fe_mul(c, *out, f);
    }
    return *out != NULL;
}

static rex_tri by_logs(rex_mctx *c, const fmpz_mpoly_t p) {
    acb_t v;
    mag_t m;
    acb_init(v);
    mag_init(m);
    rex_poly_ball(c, v, p, 256);
    acb_get_mag(m, v);
    const bool small = mag_cmp_2exp_si(m, 0) < 0;
    acb_clear(v);
    mag_clear(m);
    if (!small) return REX_UNK;
    for (int turned = 0; turned < 2; turned++) {
        rex_fe *x = NULL;
        if (!exp_of_logs(c, p, turned != 0, &x)) {
            if (c->fault) return REX_UNK;
            continue;
        }
        double u, l, deg;
        rex_fe *d = rex_fe_sub(c, x, rex_fe_si(c, 1, 1));
        if (d && rex_poly_bound(c, &d->n, &u, &l, &deg))
            return rex_poly_zero(c, &d->n) == REX_EQ ? REX_EQ : REX_UNK;
    }
    return REX_UNK;
}

rex_tri rex_closed_zero(rex_mctx *c, const fmpz_mpoly_t p) {
    double u = 0, l = 0, deg = 1;
    rex_tri r = REX_UNK;
    acb_t v;
    mag_t m;
    acb_init(v);
    mag_init(m);
    const bool alg = rex_poly_bound(c, p, &u, &l, &deg);
    const double need = alg ? u * (deg - 1.0) + l + 2.0 : 1e9;
    for (slong prec = 64; prec <= 16384 && !c->fault; prec *= 2) {
        if (alg && prec == 256 && need < 16000.0) prec = (slong)need + 192;
        rex_poly_ball(c, v, p, prec);
        if (!acb_is_finite(v)) continue;
        if (!acb_contains_zero(v)) {
            r = REX_NE;
            break;
        }
        acb_get_mag(m, v);
        if (alg && need < 16000.0 && mag_cmp_2exp_si(m, -(slong)need - 1) < 0) {
            r = REX_EQ;
            break;
        }
        if (!alg && prec == 256) {
            r = by_logs(c, p);
            if (r == REX_EQ) break;
        }
        if ((!alg || need >= 16000.0) && prec >= 1024) break;
    }
    acb_clear(v);
    mag_clear(m);
    return c->fault ? REX_UNK : r;
}

int rex_fe_sign(rex_mctx *c, const rex_fe *a) {
    if (!a || c->fault || !rex_fe_closed(c, a)) return 2;
    fmpq_t q;
    fmpq_init(q);
    const bool rational = rex_fe_is_q(c, a, q);
    int s = rational ? fmpq_sgn(q) : 2;
    fmpq_clear(q);
    if (rational) return s;
    if (!rex_fe_real(c, a)) {
        rex_fe *bar = rex_fe_conj(c, a);
        if (!bar || rex_fe_equal(c, a, bar) != REX_EQ) return 2;
    }
    acb_t v;
    acb_init(v);
    for (slong prec = 64; prec <= 512 && s == 2 && !c->fault; prec *= 2) {
        rex_fe_ball(c, v, a, prec);
        if (arb_is_positive(acb_realref(v))) s = 1;
        else if (arb_is_negative(acb_realref(v))) s = -1;
    }
    acb_clear(v);
    if (s == 2 && rex_fe_zero(c, a) == REX_EQ) s = 0;
    return c->fault ? 2 : s;
}
