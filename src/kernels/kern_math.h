/* SPDX-License-Identifier: MIT
 *
 * kern_math.h: bits, bf16, exponentials and gates of one element: the definition, as a fixed
 * sequence of IEEE operations. The vector forms in vec.h do the same operations lane by lane.
 *
 * All functions are static inline: compiled once per instruction set, never merged by the linker.
 */
#ifndef REX_KERN_MATH_H
#define REX_KERN_MATH_H

#include "kern.h"

#include <math.h>
#include <string.h>

static inline uint32_t f32_bits(float f) {
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

static inline float bits_f32(uint32_t u) {
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static inline float bf16_wide(uint16_t h) {
    return bits_f32((uint32_t)h << 16);
}

/* To nearest even; a NaN stays one. */
static inline uint16_t bf16_near(float f) {
    const uint32_t u = f32_bits(f);
    if ((u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(u >> 16 | 0x40u);
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}

/* ---- exp --------------------------------------------------------------------------------------
 * x = n ln 2 + r, exp r = 1 + r + r^2 (c0 + c1 r + ...) with interpolated coefficients (relative
 * error 1.1e-8 and 1.3e-15 before rounding), scaled in two steps so that n = 128 does not overflow
 * early. Below LOW the result is zero: no denormals come out of an exponential. */
#define EXPF_LOG2E 0x1.715476p+0f
#define EXPF_ROUND 0x1.8p23f
#define EXPF_HI 0x1.62e4p-1f
#define EXPF_LO 0x1.7f7d1cp-20f
#define EXPF_C0 0x1p-1f
#define EXPF_C1 0x1.5554d8p-3f
#define EXPF_C2 0x1.555516p-5f
#define EXPF_C3 0x1.12106cp-7f
#define EXPF_C4 0x1.6d1606p-10f
#define EXPF_LOW -86.6f
#define EXPF_TOP 0x1.62e42ep+6f

static inline float exp_f32(float x) {
    const float t = fmaf(x, EXPF_LOG2E, EXPF_ROUND);
    const float n = t - EXPF_ROUND;
    float r = fmaf(n, -EXPF_HI, x);
    r = fmaf(n, -EXPF_LO, r);
    float p = fmaf(EXPF_C4, r, EXPF_C3);
    p = fmaf(p, r, EXPF_C2);
    p = fmaf(p, r, EXPF_C1);
    p = fmaf(p, r, EXPF_C0);
    p = fmaf(p, r, 1.0f);
    p = fmaf(p, r, 1.0f);
    float y = p * bits_f32((f32_bits(t) + 126u) << 23);
    y = y + y;
    if (x < EXPF_LOW) y = 0.0f;
    if (x > EXPF_TOP) y = INFINITY;
    return y;
}

#define EXPD_LOG2E 0x1.71547652b82fep+0
#define EXPD_ROUND 0x1.8p52
#define EXPD_HI 0x1.62e42fefa2p-1
#define EXPD_LO 0x1.9ef35793c7673p-41
#define EXPD_C0 0x1p-1
#define EXPD_C1 0x1.5555555553959p-3
#define EXPD_C2 0x1.5555555554c02p-5
#define EXPD_C3 0x1.1111111cf66cap-7
#define EXPD_C4 0x1.6c16c174047fap-10
#define EXPD_C5 0x1.a019aa42a2171p-13
#define EXPD_C6 0x1.a019c76516a5fp-16
#define EXPD_C7 0x1.72cbd08546d25p-19
#define EXPD_C8 0x1.288358c429efcp-22
#define EXPD_LOW -707.0
#define EXPD_TOP 709.78

static inline double exp_f64(double x) {
    const double t = fma(x, EXPD_LOG2E, EXPD_ROUND);
    const double n = t - EXPD_ROUND;
    double r = fma(n, -EXPD_HI, x);
    r = fma(n, -EXPD_LO, r);
    double p = fma(EXPD_C8, r, EXPD_C7);
    p = fma(p, r, EXPD_C6);
    p = fma(p, r, EXPD_C5);
    p = fma(p, r, EXPD_C4);
    p = fma(p, r, EXPD_C3);
    p = fma(p, r, EXPD_C2);
    p = fma(p, r, EXPD_C1);
    p = fma(p, r, EXPD_C0);
    p = fma(p, r, 1.0);
    p = fma(p, r, 1.0);
    uint64_t u;
    double s;
    memcpy(&u, &t, sizeof u);
    u = (u + 1022u) << 52;
    memcpy(&s, &u, sizeof s);
    double y = p * s;
    y = y + y;
    if (x < EXPD_LOW) y = 0.0;
    if (x > EXPD_TOP) y = (double)INFINITY;
    return y;
}

/* ---- gates ------------------------------------------------------------------------------------
 * Both are x times a logistic function: silu x / (1 + exp(-x)); the tanh form of gelu is
 * x / (1 + exp(-x (A + B x^2))) with A = 2 sqrt(2/pi), B = 0.044715 A. */
#define GELU_A 0x1.988454p+0f
#define GELU_B 0x1.2444f2p-4f
#define GELU_B3 0x1.b6676cp-3f

static inline float gate_arg(float x, rex_act act) {
    return act == REX_SILU ? x : x * fmaf(x * x, GELU_B, GELU_A);
}

static inline float gate_f32(float x, rex_act act) {
    return x / (1.0f + exp_f32(-gate_arg(x, act)));
}

/* d act / dx = s (1 + x d (1 - s)), d the derivative of the argument. */
static inline float gate_slope(float x, rex_act act) {
    const float s = 1.0f / (1.0f + exp_f32(-gate_arg(x, act)));
    const float d = act == REX_SILU ? 1.0f : fmaf(x * x, GELU_B3, GELU_A);
    return s * fmaf(x * d, 1.0f - s, 1.0f);
}

#endif
