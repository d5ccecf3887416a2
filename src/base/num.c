/* SPDX-License-Identifier: MIT
 *
 * num.c: elementary functions in double.
 *
 * C libraries differ in the last bit by version and processor, so nothing that reaches a weight, a
 * token or a record may call theirs. Every function here is one fixed sequence of IEEE operations
 * (+ - * / fma, integer arithmetic), hence the same bits on every machine as long as the caller's
 * rounding mode is to nearest (rex_fp_enter). The files of this project are compiled with
 * -ffp-contract=off: a compiler that fuses on its own would change the sequence.
 *
 * Method throughout: reduce to a short interval, Taylor or atanh series of an order that leaves the
 * truncation below 2^-57 of the result, last addition arranged so that the big term is exact.
 * Where a difference cancels (pow, tanh, lgamma) the value is carried as an unevaluated sum of
 * two doubles. Errors: exp, log, sin, cos within 1 ulp, the others within 2 (tests/test_num.c).
 */
#include "base.h"

#include <math.h>
#include <string.h>

/* ---- bits and pairs ---------------------------------------------------------------------- */

static uint64_t bits_of(double x) {
    uint64_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static double of_bits(uint64_t u) {
    double x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* x * 2^k for any k that matters; one rounding, in the last step, if the result is subnormal. */
static double scale(double x, int k) {
    if (k > 1023) {
        x *= 0x1p1023;
        k -= 1023;
        if (k > 1023) k = 1023;
    } else if (k < -1021) {
        if (k < -1100) k = -1100;
        return x * of_bits((uint64_t)(k + 200 + 1023) << 52) * 0x1p-200;
    }
    return x * of_bits((uint64_t)(k + 1023) << 52);
}

/* The value hi + lo, |lo| <= ulp(hi) / 2. */
typedef struct {
    double hi, lo;
} pair;

static pair fast_sum(double a, double b) { /* needs |a| >= |b| or a == 0 */
    const double s = a + b;
    return (pair){ s, b - (s - a) };
}

static pair two_sum(double a, double b) {
    const double s = a + b;
    const double t = s - a;
    return (pair){ s, (a - (s - t)) + (b - t) };
}

static pair pair_add(pair a, pair b) {
    const pair s = two_sum(a.hi, b.hi);
    const pair t = two_sum(a.lo, b.lo);
    const pair u = fast_sum(s.hi, s.lo + t.hi);
    return fast_sum(u.hi, u.lo + t.lo);
}

static pair pair_neg(pair a) {
    return (pair){ -a.hi, -a.lo };
}

static pair pair_mul(pair a, pair b) {
    const double p = a.hi * b.hi;
    const double e = fma(a.hi, b.hi, -p);
    return fast_sum(p, e + (a.hi * b.lo + a.lo * b.hi));
}

static pair pair_div(pair a, pair b) {
    const double q = a.hi / b.hi;
    const double r = fma(-q, b.hi, a.hi); /* exact */
    return fast_sum(q, (r + (a.lo - q * b.lo)) / b.hi);
}

/* ---- exp --------------------------------------------------------------------------------- */

/* ln 2 with 32 bits in the first part, so that k * LN2_HI is exact for every exponent k. */
#define LN2_HI 0x1.62e42feep-1
#define LN2_LO 0x1.a39ef35793c76p-33
#define LOG2E 0x1.71547652b82fep+0
/* Adding and taking off 1.5 * 2^52 rounds to an integer in the current (nearest) mode. */
#define ROUNDER 0x1.8p52

/* exp(x + lo) = 2^k (1 + s); s is returned, as a pair, with |s| < 0.42. |x| < 2000. */
static pair exp_parts(double x, double lo, int *k) {
    const double n = (x * LOG2E + ROUNDER) - ROUNDER;
    const double a = x - n * LN2_HI;
    const double b = n * LN2_LO - lo;
    const double r = a - b;
    const double c = (a - r) - b; /* what r lost */
    double p = 1.0 / 87178291200.0;
    p = p * r + 1.0 / 6227020800.0;
    p = p * r + 1.0 / 479001600.0;
    p = p * r + 1.0 / 39916800.0;
    p = p * r + 1.0 / 3628800.0;
    p = p * r + 1.0 / 362880.0;
    p = p * r + 1.0 / 40320.0;
    p = p * r + 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    /* r + c + (r + c)^2 / 2 + r^3 p; c only matters to first order. */
    const double q = r * r * 0.5 + (r * r * r * p + (c + c * r));
    *k = (int)n;
    return fast_sum(r, q);
}

static double exp_pair(double x, double lo) {
    if (x != x) return x;
    if (x > 710.0) return INFINITY;
    if (x < -746.0) return 0.0;
    int k;
    const pair s = exp_parts(x, lo, &k);
    const pair t = fast_sum(1.0, s.hi);
    return scale(t.hi + (t.lo + s.lo), k);
}

double rex_exp(double x) {
    return exp_pair(x, 0.0);
}

double rex_expm1(double x) {
    if (x != x) return x;
    if (x > 710.0) return INFINITY;
    if (x < -50.0) return -1.0;
    if (x == 0.0) return x;
    int k;
    const pair s = exp_parts(x, 0.0, &k);
    if (k == 0) return s.hi + s.lo;
    if (k > 1000) return scale(1.0 + s.hi, k); /* the one is far below the last bit */
    const double f = scale(1.0, k);
    const pair t = two_sum(f, -1.0);
    const pair u = two_sum(t.hi, f * s.hi);
    return u.hi + (u.lo + (t.lo + f * s.lo));
}

double rex_tanh(double x) {
    if (x != x) return x;
    const double a = x < 0.0 ? -x : x;
    double y;
    if (a < 0x1p-28) return x;
    if (a > 22.0) {
        y = 1.0;
    } else {
        int k;
        const pair s = exp_parts(2.0 * a, 0.0, &k);
        const double f = scale(1.0, k);
        const pair one = two_sum(f, -1.0);
        const pair t = pair_add(one, (pair){ f * s.hi, f * s.lo }); /* expm1(2a) */
        const pair q = pair_div(t, pair_add(t, (pair){ 2.0, 0.0 }));
        y = q.hi + q.lo;
    }
    return x < 0.0 ? -y : y;
}

/* ---- log --------------------------------------------------------------------------------- */

/* x = m 2^k with m in [sqrt(1/2), sqrt(2)); x positive and finite. */
static double log_split(double x, int *k) {
    int e = 0;
    if (x < 0x1p-1022) {
        x *= 0x1p54;
        e = -54;
    }
    const uint64_t u = bits_of(x);
    const uint64_t rise = 0x3ff0000000000000u - 0x3fe6a09e667f3bcdu; /* 1 - sqrt(1/2), as bits */
    const uint64_t v = u + rise;
    *k = e + (int)(v >> 52) - 1023;
    return of_bits(u - ((uint64_t)((int64_t)(v >> 52) - 1023) << 52));
}

double rex_log(double x) {
    if (x != x || x == INFINITY) return x;
    if (x < 0.0) return NAN;
    if (x == 0.0) return -INFINITY;
    int k;
    const double f = log_split(x, &k) - 1.0;
    /* log(1 + f) = 2 atanh(s) with s = f / (2 + f), and 2 s = f - s f = f - f^2/2 + s f^2/2:
     * in this form the large terms are exact, and what is rounded is small. */
    const double s = f / (2.0 + f);
    const double z = s * s;
    double p = 2.0 / 25.0;
    p = p * z + 2.0 / 23.0;
    p = p * z + 2.0 / 21.0;
    p = p * z + 2.0 / 19.0;
    p = p * z + 2.0 / 17.0;
    p = p * z + 2.0 / 15.0;
    p = p * z + 2.0 / 13.0;
    p = p * z + 2.0 / 11.0;
    p = p * z + 2.0 / 9.0;
    p = p * z + 2.0 / 7.0;
    p = p * z + 2.0 / 5.0;
    p = p * z + 2.0 / 3.0;
    const double half = 0.5 * f * f;
    const double n = (double)k;
    return n * LN2_HI - ((half - (s * (half + p * z) + n * LN2_LO)) - f);
}

/* log(x) to about 100 bits. */
static pair log_pair(double x) {
    int k;
    const double m = log_split(x, &k);
    const double f = m - 1.0;
    const pair s = pair_div((pair){ f, 0.0 }, two_sum(2.0, f));
    const pair z = pair_mul(s, s);
    pair p = { 0.0, 0.0 };
    for (int n = 41; n >= 1; n -= 2) {
        const double d = (double)n;
        const double c = 1.0 / d;
        p = pair_add(pair_mul(p, z), (pair){ c, fma(-c, d, 1.0) / d });
    }
    p = pair_mul(p, (pair){ 2.0 * s.hi, 2.0 * s.lo });
    const pair ln2 = { 0x1.62e42fefa39efp-1, 0x1.abc9e3b39803fp-56 };
    return pair_add(pair_mul(ln2, (pair){ (double)k, 0.0 }), p);
}

double rex_log1p(double x) {
    if (x != x || x == INFINITY) return x;
    if (x < -1.0) return NAN;
    if (x == -1.0) return -INFINITY;
    if (fabs(x) < 0x1p-54) return x;
    const pair u = two_sum(1.0, x);
    const pair l = log_pair(u.hi);
    return l.hi + (l.lo + u.lo / u.hi);
}

/* ---- pow --------------------------------------------------------------------------------- */

/* 0: not an integer, 1: odd, 2: even. */
static int parity(double y) {
    const double a = fabs(y);
    if (a >= 0x1p53) return 2;
    if (floor(a) != a) return 0;
    return ((uint64_t)a & 1u) != 0 ? 1 : 2;
}

double rex_pow(double x, double y) {
    if (y == 0.0 || x == 1.0) return 1.0;
    if (x != x || y != y) return x + y;
    const int kind = parity(y);
    const bool minus = kind == 1 && (bits_of(x) >> 63) != 0;
    const double a = fabs(x);
    double r;
    if (a == 0.0 || a == INFINITY) {
        r = (a == 0.0) == (y < 0.0) ? INFINITY : 0.0;
    } else if (x < 0.0 && kind == 0 && fabs(y) != INFINITY) {
        return NAN;
    } else if (a == 1.0) {
        r = 1.0;
    } else if (fabs(y) > 0x1p65) {
        r = (a > 1.0) == (y > 0.0) ? INFINITY : 0.0;
    } else {
        const pair p = pair_mul(log_pair(a), (pair){ y, 0.0 });
        r = exp_pair(p.hi, fabs(p.hi) < 800.0 ? p.lo : 0.0);
    }
    return minus ? -r : r;
}

/* ---- sine and cosine --------------------------------------------------------------------- */

/* The first 1344 bits of 2 / pi: enough for the largest double and 192 bits beyond it. */
static const uint32_t two_over_pi[42] = {
    0xa2f9836eu, 0x4e441529u, 0xfc2757d1u, 0xf534ddc0u, 0xdb629599u, 0x3c439041u, 0xfe5163abu,
    0xdebbc561u, 0xb7246e3au, 0x424dd2e0u, 0x06492eeau, 0x09d1921cu, 0xfe1deb1cu, 0xb129a73eu,
    0xe88235f5u, 0x2ebb4484u, 0xe99c7026u, 0xb45f7e41u, 0x3991d639u, 0x835339f4u, 0x9c845f8bu,
    0xbdf9283bu, 0x1ff897ffu, 0xde05980fu, 0xef2f118bu, 0x5a0a6d1fu, 0x6d367ecfu, 0x27cb09b7u,
    0x4f463f66u, 0x9e5fea2du, 0x7527bac7u, 0xebe5f17bu, 0x3d0739f7u, 0x8a5292eau, 0x6bfb5fb1u,
    0x1f8d5d08u, 0x56033046u, 0xfc7b6babu, 0xf0cfbc20u, 0x9af4361du, 0xa9e39161u, 0x5ee61b08u,
};

/* 32 bits of 2/pi that follow the first `skip` (which may be negative: zeros stand before). */
static uint32_t pi_bits(int skip) {
    uint64_t two = 0;
    const int word = (skip + 320) / 32 - 10; /* floor for skip >= -320 */
    for (int i = word; i < word + 2; i++)
        two = two << 32 | (i < 0 || i >= 42 ? 0u : two_over_pi[i]);
    return (uint32_t)(two >> (32 - (skip - word * 32)));
}

/* a = quadrant * pi/2 + r, |r| <= pi/4, for finite a >= 0; the quadrant modulo 4. Exact up to
 * 2^-137: a is an integer m times 2^e, and those bits of 2/pi that m 2^e would lift to multiples of
 * 4 are never looked at, so the product modulo 4 is a 192-bit integer. */
static int reduce(double a, pair *r) {
    if (a <= 0x1.921fb54442d18p-1) {
        *r = (pair){ a, 0.0 };
        return 0;
    }
    const uint64_t u = bits_of(a);
    const uint64_t m = (u & 0xfffffffffffffu) | 0x10000000000000u;
    const int skip = (int)(u >> 52) - 1023 - 52 - 2;
    const uint64_t m_lo = m & 0xffffffffu;
    const uint64_t m_hi = m >> 32;
    uint32_t w[6]; /* the product, least significant word first */
    uint64_t carry = 0;
    uint64_t before = 0; /* the window's word one place lower */
    for (int i = 0; i < 6; i++) {
        const uint64_t b = pi_bits(skip + 32 * (5 - i));
        const uint64_t x = b * m_lo;
        const uint64_t y = before * m_hi;
        const uint64_t sum = (x & 0xffffffffu) + (y & 0xffffffffu) + (carry & 0xffffffffu);
        w[i] = (uint32_t)sum;
        carry = (x >> 32) + (y >> 32) + (carry >> 32) + (sum >> 32);
        before = b;
    }
    int quadrant = (int)(w[5] >> 30);
    const bool minus = (w[5] >> 29 & 1u) != 0; /* fraction above one half: take the next one */
    w[5] &= 0x3fffffffu;
    if (minus) {
        quadrant = (quadrant + 1) & 3;
        uint64_t up = 1;
        for (int i = 0; i < 6; i++) {
            up += (uint64_t)(uint32_t)~w[i];
            w[i] = (uint32_t)up;
            up >>= 32;
        }
        w[5] &= 0x3fffffffu;
    }
    pair f = { 0.0, 0.0 };
    double unit = 0x1p-30;
    for (int i = 5; i >= 0; i--, unit *= 0x1p-32)
        f = pair_add(f, (pair){ (double)w[i] * unit, 0.0 });
    f = pair_mul(f, (pair){ 0x1.921fb54442d18p+0, 0x1.1a62633145c07p-54 });
    *r = minus ? pair_neg(f) : f;
    return quadrant;
}

static double sin_part(pair r) {
    const double z = r.hi * r.hi;
    double p = 1.0 / 51090942171709440000.0;
    p = p * z - 1.0 / 121645100408832000.0;
    p = p * z + 1.0 / 355687428096000.0;
    p = p * z - 1.0 / 1307674368000.0;
    p = p * z + 1.0 / 6227020800.0;
    p = p * z - 1.0 / 39916800.0;
    p = p * z + 1.0 / 362880.0;
    p = p * z - 1.0 / 5040.0;
    p = p * z + 1.0 / 120.0;
    p = p * z - 1.0 / 6.0;
    return r.hi + (r.hi * z * p + (r.lo - 0.5 * z * r.lo));
}

static double cos_part(pair r) {
    const double z = r.hi * r.hi;
    const double zl = fma(r.hi, r.hi, -z); /* what z lost */
    double p = 1.0 / 2432902008176640000.0;
    p = p * z - 1.0 / 6402373705728000.0;
    p = p * z + 1.0 / 20922789888000.0;
    p = p * z - 1.0 / 87178291200.0;
    p = p * z + 1.0 / 479001600.0;
    p = p * z - 1.0 / 3628800.0;
    p = p * z + 1.0 / 40320.0;
    p = p * z - 1.0 / 720.0;
    p = p * z + 1.0 / 24.0;
    const pair t = fast_sum(1.0, -0.5 * z);
    return t.hi + (t.lo + (z * z * p - (0.5 * zl + r.hi * r.lo)));
}

static double circle(double x, int turn, bool minus) {
    if (!isfinite(x)) return NAN;
    pair r;
    const int q = (reduce(fabs(x), &r) + turn) & 3;
    const double y = (q & 1) != 0 ? cos_part(r) : sin_part(r);
    return ((q & 2) != 0) != minus ? -y : y;
}

double rex_sin(double x) {
    if (x == 0.0) return x;
    return circle(x, 0, x < 0.0);
}

double rex_cos(double x) {
    return circle(x, 1, false);
}

/* ---- log gamma --------------------------------------------------------------------------- */

/* Taylor coefficients of log gamma about 1 and 2, from the linear term on: (-1)^k zeta(k) / k and
 * (-1)^k (zeta(k) - 1) / k. The first in two parts, because values near both zeros are built
 * from them alone. */
#define LG_PAIRS 4
#define LG_TERMS 32
static const pair lg1_pair[LG_PAIRS] = {
    { -0x1.2788cfc6fb619p-1, 0x1.6cb90701fbfabp-58 },
    { 0x1.a51a6625307d3p-1, 0x1.1873d8912200cp-56 },
    { -0x1.9a4d55beab2d7p-2, 0x1.4c26d1b465993p-59 },
    { 0x1.151322ac7d848p-2, 0x1.b5f91211196e5p-57 },
};
static const pair lg2_pair[LG_PAIRS] = {
    { 0x1.b0ee6072093cep-2, 0x1.6cb90701fbfabp-58 },
    { 0x1.4a34cc4a60fa6p-2, 0x1.1873d8912200cp-56 },
    { -0x1.13e001a557607p-4, 0x1.fb68be2f8821fp-58 },
    { 0x1.51322ac7d8483p-6, 0x1.afc89088cb729p-60 },
};
static const double lg1_tail[LG_TERMS - LG_PAIRS] = {
    -0x1.a8b9c17aa6149p-3, 0x1.5b40cb100c306p-3, -0x1.2703a1dcea3aep-3, 0x1.010b36af86397p-3,
    -0x1.c806706d57db4p-4, 0x1.9a01e385d5f8fp-4, -0x1.748c33114c6d6p-4, 0x1.556ad63243bc4p-4,
    -0x1.3b1d971fc5985p-4, 0x1.2496df8320c5fp-4, -0x1.11133476e7fe0p-4, 0x1.00010064cdeb2p-4,
    -0x1.e1e2d311e8abdp-5, 0x1.c71ce3a20b419p-5, -0x1.af28a1b5688a0p-5, 0x1.9999b3352d5bap-5,
    -0x1.86186db77bfbfp-5, 0x1.745d1d1778df9p-5, -0x1.642c88591b66dp-5, 0x1.555556aaafdcdp-5,
    -0x1.47ae151eb9fb7p-5, 0x1.3b13b189d925ep-5, -0x1.2f684c00002bcp-5, 0x1.24924936db7bcp-5,
    -0x1.1a7b961a7b9aap-5, 0x1.111111155556dp-5, -0x1.08421086318cep-5, 0x1.0000000100002p-5,
};
static const double lg2_tail[LG_TERMS - LG_PAIRS] = {
    -0x1.e404fc218f5f2p-8, 0x1.7add6eadb6c30p-9, -0x1.38ac5c2bf8e08p-10, 0x1.0b36af86396e9p-11,
    -0x1.d3fd4c76d2fc8p-13, 0x1.a127b0f17d65ap-14, -0x1.78de5bd7c81efp-15, 0x1.580dcee66eb02p-16,
    -0x1.3cbc963ce2243p-17, 0x1.2597a39f34aacp-18, -0x1.11b2eb7679541p-19, 0x1.0064cdeb22f0fp-20,
    -0x1.e2600d93cfd2fp-22, 0x1.c76bbb3f07a4dp-23, -0x1.af5a6cbbf8a97p-24, 0x1.99b93c2070b0fp-25,
    -0x1.862c734df3eacp-26, 0x1.7469daccfadcdp-27, -0x1.6434a8447aeadp-28, 0x1.555a877ffd2c3p-29,
    -0x1.47b1679258d0ep-30, 0x1.3b15d2b2fc10cp-31, -0x1.2f69a9fabe3e0p-32, 0x1.24932a337434cp-33,
    -0x1.1a7c26ec2523cp-34, 0x1.11116e693ed98p-35, -0x1.08424cbc543d8p-36, 0x1.000026e3f644fp-37,
};
/* sum of c_k z^k, k = 1 ... */
static pair lg_series(double z, const pair *head, const double *tail) {
    double t = 0.0;
    for (int k = LG_TERMS - LG_PAIRS - 1; k >= 0; k--) t = t * z + tail[k];
    pair p = { t, 0.0 };
    for (int k = LG_PAIRS - 1; k >= 0; k--) p = pair_add(pair_mul(p, (pair){ z, 0.0 }), head[k]);
    return pair_mul(p, (pair){ z, 0.0 });
}

/* Stirling's series, x >= 8. */
static pair lg_large(double x) {
    static const double c[12] = {
        0x1.5555555555555p-4,  -0x1.6c16c16c16c17p-9, 0x1.a01a01a01a01ap-11,
        -0x1.3813813813814p-11, 0x1.b951e2b18ff23p-11, -0x1.f6ab0d9993c7dp-10,
        0x1.a41a41a41a41ap-8,  -0x1.e4286cb0f5398p-6, 0x1.6fe96381e0680p-3,
        -0x1.6476701181f3ap+0, 0x1.ace44322ce006p+3,  -0x1.39b2525cccc1bp+7,
    };
    const pair l = pair_mul(log_pair(x), two_sum(x, -0.5));
    const pair k = { 0x1.d67f1c864beb5p-1, -0x1.65b5a1b7ff5dfp-55 }; /* log(2 pi) / 2 */
    const double y = 1.0 / x;
    const double z = y * y;
    double s = 0.0;
    if (x < 0x1p30)
        for (int i = 11; i >= 0; i--) s = s * z + c[i];
    else
        s = c[0];
    return pair_add(pair_add(l, (pair){ -x, 0.0 }), pair_add(k, (pair){ s * y, 0.0 }));
}

double rex_lgamma(double x) {
    if (x != x || x == INFINITY) return x;
    if (x < 0.0) return NAN;
    if (x == 0.0 || x > 2.6e305) return INFINITY;
    pair r;
    if (x >= 8.0) {
        r = lg_large(x);
    } else if (x <= 0.25) {
        r = pair_add(lg_series(x, lg1_pair, lg1_tail), pair_neg(log_pair(x)));
    } else if (x < 0.5) { /* two steps up: gamma(x + 2) = (x + 1) x gamma(x) */
        const pair u = two_sum(1.0, x);
        const pair l = pair_add(log_pair(u.hi), (pair){ u.lo / u.hi, 0.0 });
        r = pair_add(lg_series(x, lg2_pair, lg2_tail), pair_neg(pair_add(l, log_pair(x))));
    } else if (x < 0.75 || (x > 1.25 && x < 1.5)) {
        r = pair_add(lg_series(x - 1.0, lg2_pair, lg2_tail), pair_neg(log_pair(x)));
    } else if (x <= 1.25) {
        r = lg_series(x - 1.0, lg1_pair, lg1_tail);
    } else {
        pair l = { 0.0, 0.0 };
        double y = x;
        while (y >= 2.5) {
            y -= 1.0;
            l = pair_add(l, log_pair(y));
        }
        r = pair_add(lg_series(y - 2.0, lg2_pair, lg2_tail), l);
    }
    return r.hi + r.lo;
}
