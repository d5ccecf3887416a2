/* SPDX-License-Identifier: MIT
 *
 * bits: numbers as bits and as text: the floating-point state, f16 and bf16, decimal text to
 * double and back.
 *
 * Decimal conversions are exact by construction: a number is a 64-bit integer times a power of
 * ten, all steps are integer arithmetic with the remainder kept, and rounding happens once, to
 * nearest even. 128 bits are enough for up to 19 digits and powers up to 10^27, which is nearly
 * everything; the rest takes plain big integers. Nothing here looks at the locale.
 */
#include "base.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#if defined(__x86_64__) || defined(__i386__)
#include <xmmintrin.h>
#endif

__extension__ typedef unsigned __int128 u128;

/* ---- floating-point state --------------------------------------------------------------- */

uint64_t rex_fp_enter(void) {
#if defined(__x86_64__) || defined(__i386__)
    const unsigned was = _mm_getcsr();
    if (was != 0x1F80u) _mm_setcsr(0x1F80u); /* nearest, denormals kept, no traps */
    return was;
#elif defined(__aarch64__)
    uint64_t was;
    __asm__ volatile("mrs %0, fpcr" : "=r"(was));
    if (was != 0) __asm__ volatile("msr fpcr, %0" ::"r"((uint64_t)0));
    return was;
#else
    return 0;
#endif
}

void rex_fp_leave(uint64_t was) {
#if defined(__x86_64__) || defined(__i386__)
    _mm_setcsr((unsigned)was);
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" ::"r"(was));
#else
    (void)was;
#endif
}

/* ---- 16-bit floats ---------------------------------------------------------------------- */

static float f32_of(uint32_t u) {
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static uint32_t bits_of(float f) {
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

float rex_f16_f32(uint16_t h) {
    const uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
    const uint32_t e = (h >> 10) & 31u;
    uint32_t m = h & 0x3FFu;
    if (e == 31) return f32_of(sign | 0x7F800000u | m << 13);
    if (e > 0) return f32_of(sign | (e + 112) << 23 | m << 13);
    if (m == 0) return f32_of(sign);
    uint32_t up = 0; /* a denormal of f16 is a normal f32 */
    for (; !(m & 0x400u); up++) m <<= 1;
    return f32_of(sign | (113 - up) << 23 | (m & 0x3FFu) << 13);
}

uint16_t rex_f32_f16(float f) {
    const uint32_t u = bits_of(f);
    const uint32_t sign = (u >> 16) & 0x8000u;
    const uint32_t mag = u & 0x7FFFFFFFu;
    if (mag > 0x7F800000u) return (uint16_t)(sign | 0x7E00u | (mag >> 13 & 0x1FFu));
    if (mag >= 0x477FF000u)
        return (uint16_t)(sign | 0x7C00u); /* 65520 and more round to infinity */
    uint32_t m, drop;
    if (mag >= 0x38800000u) { /* 2^-14: normal; rebase the exponent, round 13 bits off */
        m = mag - 0x38000000u;
        drop = 13;
    } else if (mag >= 0x33000000u) { /* 2^-25 .. 2^-14: denormal */
        m = (mag & 0x7FFFFFu) | 0x800000u;
        drop = 126 - (mag >> 23);
    } else {
        return (uint16_t)sign;
    }
    const uint32_t half = 1u << (drop - 1);
    const uint32_t rest = m & (2 * half - 1);
    uint32_t r = m >> drop;
    if (rest > half || (rest == half && (r & 1))) r++;
    return (uint16_t)(sign | r);
}

float rex_bf16_f32(uint16_t h) { return f32_of((uint32_t)h << 16); }

uint16_t rex_f32_bf16(float f) {
    const uint32_t u = bits_of(f);
    if ((u & 0x7FFFFFFFu) > 0x7F800000u) return (uint16_t)(u >> 16 | 0x40u);
    return (uint16_t)((u + 0x7FFFu + (u >> 16 & 1u)) >> 16);
}

/* ---- decimal to double ------------------------------------------------------------------ */

#define POW5_MAX 27 /* the largest power of five in 64 bits */
static const uint64_t pow5[POW5_MAX + 1] = {1u,
                                            5u,
                                            25u,
                                            125u,
                                            625u,
                                            3125u,
                                            15625u,
                                            78125u,
                                            390625u,
                                            1953125u,
                                            9765625u,
                                            48828125u,
                                            244140625u,
                                            1220703125u,
                                            6103515625u,
                                            30517578125u,
                                            152587890625u,
                                            762939453125u,
                                            3814697265625u,
                                            19073486328125u,
                                            95367431640625u,
                                            476837158203125u,
                                            2384185791015625u,
                                            11920928955078125u,
                                            59604644775390625u,
                                            298023223876953125u,
                                            1490116119384765625u,
                                            7450580596923828125u};

static int clz128(u128 v) {
    const uint64_t hi = (uint64_t)(v >> 64);
    return hi ? __builtin_clzll(hi) : 64 + __builtin_clzll((uint64_t)v);
}

/* m * 2^e2, a little more if `sticky`, rounded once to nearest even; m > 0. */
static double assemble(u128 m, int e2, bool sticky) {
    const int over = 64 - clz128(m); /* bits beyond 64 */
    uint64_t top;
    if (over > 0) {
        sticky = sticky || (m & (((u128)1 << over) - 1)) != 0;
        top = (uint64_t)(m >> over);
    } else {
        top = (uint64_t)m << -over;
    }
    e2 += over;
    int drop = 11; /* 64 bits to 53, more where the result is denormal */
    if (e2 + 63 < -1022) drop += -1022 - (e2 + 63);
    if (drop > 64) return 0.0;
    uint64_t r = drop == 64 ? 0 : top >> drop;
    const bool half = (top >> (drop - 1)) & 1;
    const bool rest = sticky || (top & (((uint64_t)1 << (drop - 1)) - 1)) != 0;
    if (half && (rest || (r & 1))) r++;
    return ldexp((double)r, e2 + drop); /* exact: r has 53 bits at most, or is 2^53 */
}

/* A plain big integer, least limb first. 4,600 bits hold 800 digits over 10^1200. */
#define LIMBS 144
typedef struct {
    int n;
    uint32_t v[LIMBS];
} big;

static void big_muladd(big *b, uint32_t mul, uint32_t add) {
    uint64_t carry = add;
    for (int i = 0; i < b->n; i++) {
        carry += (uint64_t)b->v[i] * mul;
        b->v[i] = (uint32_t)carry;
        carry >>= 32;
    }
    if (carry) {
        rex_assert(b->n < LIMBS);
        b->v[b->n++] = (uint32_t)carry;
    }
}

static void big_mul_pow10(big *b, int e) {
    for (; e >= 9; e -= 9) big_muladd(b, 1000000000u, 0);
    for (; e > 0; e--) big_muladd(b, 10u, 0);
}

static int big_bits(const big *b) { return b->n ? 32 * b->n - __builtin_clz(b->v[b->n - 1]) : 0; }

static void big_shl(big *b, int by) {
    const int limbs = by / 32;
    const int bits = by % 32;
    rex_assert(b->n + limbs + 1 <= LIMBS);
    b->v[b->n] = 0;
    for (int i = b->n; i >= 0; i--) {
        const uint32_t low = i > 0 && bits ? b->v[i - 1] >> (32 - bits) : 0;
        b->v[i + limbs] = b->v[i] << bits | low;
    }
    memset(b->v, 0, (size_t)limbs * sizeof b->v[0]);
    b->n += limbs + 1;
    while (b->n > 0 && b->v[b->n - 1] == 0) b->n--;
}

/* a -= b if a >= b; says whether. */
static bool big_sub_if(big *a, const big *b) {
    if (a->n != b->n) {
        if (a->n < b->n) return false;
    } else {
        int i = a->n - 1;
        while (i >= 0 && a->v[i] == b->v[i]) i--;
        if (i >= 0 && a->v[i] < b->v[i]) return false;
    }
    uint64_t borrow = 0;
    for (int i = 0; i < a->n; i++) {
        const uint64_t d = (uint64_t)a->v[i] - (i < b->n ? b->v[i] : 0) - borrow;
        a->v[i] = (uint32_t)d;
        borrow = d >> 63;
    }
    while (a->n > 0 && a->v[a->n - 1] == 0) a->n--;
    return true;
}

/* num * 10^e10 by long division in bits: 66 of the quotient, the rest sticky. */
static double big_to_f64(big *num, int e10) {
    if (e10 >= 0) {
        big_mul_pow10(num, e10);
        const int bits = big_bits(num);
        u128 m = 0;
        bool sticky = false;
        const int low = bits > 96 ? (bits - 96) / 32 : 0; /* limbs below the ones taken */
        for (int i = num->n - 1; i >= low; i--) m = m << 32 | num->v[i];
        for (int i = 0; i < low; i++) sticky = sticky || num->v[i] != 0;
        return assemble(m, 32 * low, sticky);
    }
    big den = {.n = 1, .v = {1}};
    big_mul_pow10(&den, -e10);
    const int shift = big_bits(&den) - big_bits(num) + 66;
    if (shift > 0) big_shl(num, shift);
    else if (shift < 0) big_shl(&den, -shift);
    u128 q = 0;
    /* Schoolbook, most significant bit first: den starts at 67 places up and the numerator is
     * doubled instead of the denominator halved. */
    big_shl(&den, 67);
    for (int i = 0; i <= 67; i++) {
        q = q << 1 | (big_sub_if(num, &den) ? 1 : 0);
        if (i < 67) big_shl(num, 1);
    }
    return assemble(q, -shift, num->n != 0);
}

/* w * 10^e10, correctly rounded. */
static double dec_to_f64(uint64_t w, int e10) {
    if (w == 0) return 0.0;
    if (e10 >= 0 && e10 <= POW5_MAX) return assemble((u128)w * pow5[e10], e10, false);
    if (e10 < 0 && -e10 <= POW5_MAX) {
        const int lz = __builtin_clzll(w);
        const u128 n = (u128)(w << lz) << 63;
        const u128 q = n / pow5[-e10];
        return assemble(q, -63 - lz + e10, q * pow5[-e10] != n);
    }
    if (e10 > 330) return HUGE_VAL;
    if (e10 < -370) return 0.0;
    big b = {.n = 2, .v = {(uint32_t)w, (uint32_t)(w >> 32)}};
    if (b.v[1] == 0) b.n = 1;
    return big_to_f64(&b, e10);
}

/* More than 19 digits: up to 800 of them count exactly, what follows only as "a little more". */
static double long_to_f64(const char *p, const char *end, int e10) {
    big b = {.n = 1, .v = {0}};
    int n = 0;
    bool more = false;
    for (; p < end; p++) {
        if (*p == '.') continue;
        if (n == 0 && *p == '0') continue;
        if (n < 800) big_muladd(&b, 10u, (uint32_t)(*p - '0'));
        else {
            more = more || *p != '0';
            e10++;
        }
        n++;
    }
    const int top = n + e10 - (n > 800 ? n - 800 : 0); /* the value is below 10^top */
    if (top > 310) return HUGE_VAL;
    if (top < -330) return 0.0;
    if (more) {
        big_muladd(&b, 10u, 1);
        e10--;
    }
    return big_to_f64(&b, e10);
}

bool rex_num_parse(rex_str s, double *out) {
    const char *p = s.p;
    const char *const end = s.n ? s.p + s.n : s.p;
    bool neg = false;
    if (p < end && (*p == '-' || *p == '+')) neg = *p++ == '-';
    const char *const digits = p;
    uint64_t w = 0;
    int n = 0, scale = 0, seen = 0; /* significant digits, places after the point, any digit */
    bool point = false;
    for (; p < end; p++) {
        const unsigned d = (unsigned)(uint8_t)*p - '0';
        if (d > 9) {
            if (*p != '.' || point) break;
            point = true;
            continue;
        }
        seen = 1;
        scale += point;
        if (n > 0 || d > 0) n++;
        if (n <= 19) w = 10 * w + d;
        if (n > 100000000) return false;
    }
    if (!seen) return false;
    const char *const stop = p;
    int e10 = 0;
    if (p < end && (*p == 'e' || *p == 'E')) {
        bool eneg = false;
        p++;
        if (p < end && (*p == '-' || *p == '+')) eneg = *p++ == '-';
        if (p == end) return false;
        for (; p < end && (unsigned)(uint8_t)*p - '0' <= 9; p++)
            if (e10 < 100000000) e10 = 10 * e10 + (*p - '0');
        if (eneg) e10 = -e10;
    }
    if (p != end) return false;
    static const double ten[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                 1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    e10 -= scale;
    double v;
    if (n > 19) v = long_to_f64(digits, stop, e10);
    else if (w >> 53 == 0 && e10 >= 0 && e10 <= 22) v = (double)w * ten[e10];
    else if (w >> 53 == 0 && e10 < 0 && e10 >= -22) v = (double)w / ten[-e10];
    else v = dec_to_f64(w, e10);
    if (!(v <= 0x1.fffffffffffffp1023)) return false;
    *out = neg ? -v : v;
    return true;
}

/* ---- double to decimal ------------------------------------------------------------------ */

/* The 17 leading decimal digits of v > 0, cut off, and how the rest compares with a half. */
typedef struct {
    uint64_t q;
    int k;    /* v = q.rest * 10^(k - 16) */
    int rest; /* 0 none, 1 less than half, 2 half, 3 more */
} dec17;

static int compare_half(u128 rem, u128 whole) {
    if (rem == 0) return 0;
    if (rem < whole - rem) return 1;
    return rem == whole - rem ? 2 : 3;
}

static bool dec17_of(double v, dec17 *d) {
    int e;
    const uint64_t m = (uint64_t)ldexp(frexp(v, &e), 53);
    e -= 53;
    int k = (int)floor((e + 52) * 0.30102999566398120);
    for (;; k++) { /* the estimate is right or one too small */
        const int s = 16 - k;
        if (s > POW5_MAX || s < -POW5_MAX) return false;
        u128 q;
        if (s >= 0) {
            const u128 p = (u128)m * pow5[s];
            const int sh = e + s;
            q = sh >= 0 ? p << sh : p >> -sh;
            d->rest = sh >= 0 ? 0 : compare_half(p - (q << -sh), (u128)1 << -sh);
        } else {
            const u128 p = (u128)m << (e + s);
            q = p / pow5[-s];
            d->rest = compare_half(p - q * pow5[-s], pow5[-s]);
        }
        if (q >= 100000000000000000u) continue;
        d->q = (uint64_t)q;
        d->k = k;
        return true;
    }
}

/* v to p digits, correctly rounded; *k is the decimal exponent of the first digit. */
static uint64_t round_to(const dec17 *d, int p, int *k) {
    uint64_t div = 1;
    for (int i = p; i < 17; i++) div *= 10;
    uint64_t q = d->q / div;
    const uint64_t r = d->q % div;
    bool up;
    if (div == 1) up = d->rest > 2 || (d->rest == 2 && (q & 1));
    else up = r > div / 2 || (r == div / 2 && (d->rest > 0 || (q & 1)));
    *k = d->k;
    q += up;
    if (q == 100000000000000000u / div) { /* 9.99 became 10.0 */
        q /= 10;
        ++*k;
    }
    return q;
}

/* The same for values whose power of ten leaves 128 bits: the C library prints exact digits. */
static uint64_t round_far(double v, int p, int *k) {
    char text[64];
    (void)snprintf(text, sizeof text, "%.*e", p - 1, v);
    uint64_t q = 0;
    const char *c = text;
    for (; *c && *c != 'e'; c++) /* the decimal point may be anything: locales */
        if (*c >= '0' && *c <= '9') q = 10 * q + (uint64_t)(*c - '0');
    int x = 0;
    const bool neg = *c && c[1] == '-';
    for (; *c; c++)
        if (*c >= '0' && *c <= '9') x = 10 * x + (*c - '0');
    *k = neg ? -x : x;
    return q;
}

static bool reads_back(uint64_t q, int e10, double v, bool f32) {
    const double got = dec_to_f64(q, e10);
    return f32 ? (float)got == (float)v : got == v;
}

/* Fewest digits that read back equal, the nearest among those; v > 0. */
static uint64_t shortest(double v, bool f32, int *k, int *digits) {
    dec17 d;
    const bool near = dec17_of(v, &d);
    const bool small = f32 ? v < 0x1p-126 : v < 0x1p-1022;
    const int last = f32 ? 9 : 17;
    /* Up to 15 (6) digits survive the round trip, so trailing zeros give all shorter ones, except
     * among denormals, which have fewer. */
    for (int p = small ? 1 : f32 ? 6 : 15;; p++) {
        const uint64_t q = near ? round_to(&d, p, k) : round_far(v, p, k);
        *digits = p;
        if (p == last || reads_back(q, *k - p + 1, v, f32)) return q;
        /* At a power of two the interval is half as wide below: the neighbour above may do. */
        if (reads_back(q + 1, *k - p + 1, v, f32)) return q + 1;
    }
}

/* `q` of n digits with exponent k as text: plain from 1e-5 to 1e16, else d.ddde-dd. */
static size_t layout(char *out, uint64_t q, int n, int k) {
    while (n > 1 && q % 10 == 0) {
        q /= 10;
        n--;
    }
    char dig[24];
    for (int i = n - 1; i >= 0; i--, q /= 10) dig[i] = (char)('0' + q % 10);
    char *o = out;
    if (k >= -5 && k < 16) {
        if (k < 0) {
            *o++ = '0';
            *o++ = '.';
            for (int i = -1; i > k; i--) *o++ = '0';
        }
        for (int i = 0; i < n; i++) {
            *o++ = dig[i];
            if (i == k && i + 1 < n) *o++ = '.';
        }
        for (int i = n; i <= k; i++) *o++ = '0';
        return (size_t)(o - out);
    }
    *o++ = dig[0];
    if (n > 1) *o++ = '.';
    for (int i = 1; i < n; i++) *o++ = dig[i];
    return (size_t)(o - out) + (size_t)snprintf(o, 8, "e%d", k);
}

static size_t print(char out[REX_NUM_MAX], double v, bool f32) {
    rex_assert(isfinite(v));
    char *o = out;
    if (signbit(v)) {
        *o++ = '-';
        v = -v;
    }
    if (v == 0.0) {
        /* A negative zero reads back as one only with its point. */
        const char *const zero = o > out ? "0.0" : "0";
        o = stpcpy(o, zero);
    } else if (v < 1e15 && v == floor(v)) {
        uint64_t u = (uint64_t)v;
        char dig[24];
        int n = 0;
        for (; u; u /= 10) dig[n++] = (char)('0' + u % 10);
        while (n > 0) *o++ = dig[--n];
    } else {
        int k, n;
        const uint64_t q = shortest(v, f32, &k, &n);
        o += layout(o, q, n, k);
    }
    *o = 0;
    return (size_t)(o - out);
}

size_t rex_num_print(char out[REX_NUM_MAX], double v) { return print(out, v, false); }
size_t rex_num_print_f32(char out[REX_NUM_MAX], float v) { return print(out, (double)v, true); }
