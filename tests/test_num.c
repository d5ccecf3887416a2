/* SPDX-License-Identifier: MIT
 *
 * Our own elementary functions against 300-bit values (tests/golden/num.txt, made by
 * scripts/make_num_golden.py): exp, log, sin and cos within one ulp, the others within two; their
 * values at the edges; and that a caller's control bits change nothing.
 */
#include "rex_test.h"

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

static double one_arg(const char *name, double x) {
    if (strcmp(name, "exp") == 0) return rex_exp(x);
    if (strcmp(name, "log") == 0) return rex_log(x);
    if (strcmp(name, "log1p") == 0) return rex_log1p(x);
    if (strcmp(name, "expm1") == 0) return rex_expm1(x);
    if (strcmp(name, "tanh") == 0) return rex_tanh(x);
    if (strcmp(name, "sin") == 0) return rex_sin(x);
    if (strcmp(name, "cos") == 0) return rex_cos(x);
    if (strcmp(name, "lgamma") == 0) return rex_lgamma(x);
    return NAN;
}

static double allowed(const char *name) {
    const char *const strict[] = { "exp", "log", "sin", "cos" };
    for (int i = 0; i < 4; i++)
        if (strcmp(name, strict[i]) == 0) return 1.0;
    return 2.0;
}

START_TEST(t_num_against_long_precision) {
    FILE *f = fopen("tests/golden/num.txt", "r");
    CHECK(f != NULL);
    if (f == NULL) return;
    char name[16];
    double x, y, hi, lo;
    int lines = 0;
    while (fscanf(f, "%15s %la %la %la %la", name, &x, &y, &hi, &lo) == 5) {
        const double got = strcmp(name, "pow") == 0 ? rex_pow(x, y) : one_arg(name, x);
        const double ulp = nextafter(fabs(hi), (double)INFINITY) - fabs(hi);
        const double off = fabs((got - hi) - lo) / ulp;
        lines++;
        if (got == hi && !isfinite(hi)) continue;
        if (!(off <= allowed(name)))
            rex_test_fail(__FILE__, __LINE__, "%s(%a, %a) = %a, want %a: off by %.3g ulp", name, x,
                          y, got, hi, off);
    }
    fclose(f);
    CHECK(lines > 1500);
}
END_TEST

static void same_bits(double got, double want) {
    if (memcmp(&got, &want, sizeof got) != 0 && !(got != got && want != want))
        rex_test_fail(__FILE__, __LINE__, "%a, want %a", got, want);
}

START_TEST(t_num_edges) {
    const double inf = (double)INFINITY;
    same_bits(rex_exp(0.0), 1.0);
    same_bits(rex_exp(-inf), 0.0);
    same_bits(rex_exp(inf), inf);
    same_bits(rex_exp(710.0), inf);
    same_bits(rex_exp(NAN), NAN);
    same_bits(rex_log(1.0), 0.0);
    same_bits(rex_log(0.0), -inf);
    same_bits(rex_log(-1.0), NAN);
    same_bits(rex_log(inf), inf);
    same_bits(rex_log1p(-1.0), -inf);
    same_bits(rex_log1p(-0.0), -0.0);
    same_bits(rex_expm1(-0.0), -0.0);
    same_bits(rex_expm1(-1e4), -1.0);
    same_bits(rex_tanh(-0.0), -0.0);
    same_bits(rex_tanh(-1e4), -1.0);
    same_bits(rex_sin(-0.0), -0.0);
    same_bits(rex_cos(0.0), 1.0);
    same_bits(rex_sin(inf), NAN);
    same_bits(rex_pow(-2.0, 3.0), -8.0);
    same_bits(rex_pow(-2.0, 4.0), 16.0);
    same_bits(rex_pow(-2.0, 0.5), NAN);
    same_bits(rex_pow(NAN, 0.0), 1.0);
    same_bits(rex_pow(-0.0, -3.0), -inf);
    same_bits(rex_pow(-0.0, 2.0), 0.0);
    same_bits(rex_pow(0.5, inf), 0.0);
    same_bits(rex_pow(0.5, -inf), inf);
    same_bits(rex_pow(10.0, 22.0), 1e22);
    same_bits(rex_lgamma(1.0), 0.0);
    same_bits(rex_lgamma(2.0), 0.0);
    same_bits(rex_lgamma(inf), inf);
    same_bits(rex_lgamma(0.0), inf);
}
END_TEST

/* A host built with fast-math has flush-to-zero set; another rounding mode may be set too. */
START_TEST(t_num_state_is_ours) {
#if defined(__SSE2__)
    const uint32_t before = _mm_getcsr();
    const double want = rex_exp(-1.75);
    _mm_setcsr(0x1f80u | 0x8040u | 0x6000u); /* flush, denormals as zero, towards zero */
    const uint64_t was = rex_fp_enter();
    const double got = rex_exp(-1.75);
    volatile float tiny = 1e-39f;
    const float kept = tiny * 0.5f;
    rex_fp_leave(was);
    CHECK_EQ(_mm_getcsr() & ~0x3fu, 0x1f80u | 0x8040u | 0x6000u);
    _mm_setcsr(before);
    same_bits(got, want);
    CHECK(kept > 0.0f);
#else
    SKIP("the control register of this architecture is not written here");
#endif
}
END_TEST

START_TEST(t_num_halves_round_trip) {
    for (uint32_t i = 0; i < 65536; i++) {
        const float h = rex_f16_f32((uint16_t)i);
        const float b = rex_bf16_f32((uint16_t)i);
        if (h == h) CHECK_EQ(rex_f32_f16(h), i);
        if (b == b) CHECK_EQ(rex_f32_bf16(b), i);
        if (h != h) CHECK(rex_f16_f32(rex_f32_f16(h)) != rex_f16_f32(rex_f32_f16(h)));
    }
    CHECK_EQ(rex_f32_f16(65520.0f), 0x7c00); /* half way to 2^16: to even, infinity */
    CHECK_EQ(rex_f32_f16(0x1.002p0f), 0x3c00);
    CHECK_EQ(rex_f32_f16(0x1.006p0f), 0x3c02);
    CHECK_EQ(rex_f32_f16(0x1p-25f), 0x0000);
    CHECK_EQ(rex_f32_f16(0x1.8p-25f), 0x0001);
    CHECK_EQ(rex_f32_bf16(0x1.01p0f), 0x3f80);
    CHECK_EQ(rex_f32_bf16(0x1.03p0f), 0x3f82);
}
END_TEST

REX_TEST_MAIN("num", t_num_against_long_precision, t_num_edges, t_num_state_is_ours,
              t_num_halves_round_trip)
