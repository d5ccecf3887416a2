/* SPDX-License-Identifier: MIT
 *
 * rex_test: checks that print both values and go on, over the Check library, which runs every
 * test in a process of its own with a timeout. A test that saw one failing check fails, and so
 * does a test that leaves library memory behind.
 *
 *     START_TEST(t_thing_claim) { CHECK_EQ(thing(2), 4); } END_TEST
 *     REX_TEST_MAIN("thing", t_thing_claim)
 *
 * Programs are run from the root of the project. CK_RUN_CASE=t_thing_claim runs one test.
 */
#ifndef REX_TEST_H
#define REX_TEST_H

#include "../src/base/base.h"

#include <check.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Runs the tests; the return value of main. The last line is "N passed, N failed, N skipped". */
int rex_test_run(const char *name, const TTest *const *tests, size_t n);
#define REX_TEST_MAIN(name, ...)                                                             \
    int main(void) {                                                                         \
        const TTest *const tests_[] = {__VA_ARGS__};                                         \
        return rex_test_run((name), tests_, sizeof tests_ / sizeof tests_[0]);               \
    }

/* Notes a failed check; prints the first 20 of a test. */
void rex_test_fail(const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Counts the test as skipped, with the reason. */
void rex_test_skip(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
#define SKIP(...)                                                                            \
    do {                                                                                     \
        rex_test_skip(__VA_ARGS__);                                                          \
        return;                                                                              \
    } while (0)

/* How many of n random cases to try: all, or an eighth where sanitizers make everything slow (there
 * the question is what memory is touched; the bits are the business of the ordinary build). */
#ifdef REX_SMALL
#define REX_TEST_FEW(n) ((n) > 8 ? (n) / 8 : 1)
#else
#define REX_TEST_FEW(n) (n)
#endif

/* A path below the shared data ($REPEXP_DATA, else ../shared/data), NULL if it is not there. */
const char *rex_test_data(const char *sub);
#define NEED_DATA(var, sub)                                                                  \
    const char *const var = rex_test_data(sub);                                              \
    if (!var) SKIP("no %s: set REPEXP_DATA to the folder that has it", (sub))
/* A path in a folder of this run that is removed at its end. */
const char *rex_test_tmp(const char *name);
/* Writes a file there and returns its path; a failure ends the test. */
const char *rex_test_file(const char *name, const void *p, size_t n);
/* Called after each round of a torture; false ends it. */
bool rex_test_torture(const char *file, int line, const char *what, int64_t round, int64_t asked,
                      int64_t leaked, rex_status got);

#define CHECK(cond)                                                                          \
    do {                                                                                     \
        if (!(cond)) rex_test_fail(__FILE__, __LINE__, "%s is false", #cond);                \
    } while (0)

/* Integers. */
#define CHECK_EQ(got, want)                                                                  \
    do {                                                                                     \
        const long long g_ = (long long)(got), w_ = (long long)(want);                       \
        if (g_ != w_) rex_test_fail(__FILE__, __LINE__, "%s = %lld, want %lld", #got, g_, w_); \
    } while (0)

/* |got - want| <= ulps * epsilon * scale, epsilon that of got's type; NaN fails. */
#define CHECK_CLOSE(got, want, scale, ulps)                                                  \
    do {                                                                                     \
        const double g_ = (double)(got), w_ = (double)(want);                                \
        const double t_ = (double)(ulps) * (double)(scale) *                                 \
                          _Generic((got), float: (double)FLT_EPSILON, default: DBL_EPSILON); \
        if (!(fabs(g_ - w_) <= t_))                                                          \
            rex_test_fail(__FILE__, __LINE__, "%s = %.17g, want %.17g, off by %.3g, allowed %.3g", \
                          #got, g_, w_, fabs(g_ - w_), t_);                                  \
    } while (0)

/* |got - want| <= tol, for printed reference values; NaN fails. */
#define CHECK_NEAR(got, want, tol)                                                           \
    do {                                                                                     \
        const double g_ = (double)(got), w_ = (double)(want), t_ = (double)(tol);            \
        if (!(fabs(g_ - w_) <= t_))                                                          \
            rex_test_fail(__FILE__, __LINE__, "%s = %.17g, want %.17g, off by %.3g, allowed %.3g", \
                          #got, g_, w_, fabs(g_ - w_), t_);                                  \
    } while (0)

#define CHECK_STATUS(call, code)                                                             \
    do {                                                                                     \
        const rex_status g_ = (call), w_ = (code);                                           \
        if (g_ != w_)                                                                        \
            rex_test_fail(__FILE__, __LINE__, "%s = %s, want %s", #call, rex_status_name(g_), \
                          rex_status_name(w_));                                              \
    } while (0)

/* As CHECK_STATUS(call, REX_OK), telling the sentence in `err` (a rex_err) on failure. */
#define CHECK_OK(call, err)                                                                  \
    do {                                                                                     \
        const rex_status g_ = (call);                                                        \
        if (g_ != REX_OK)                                                                    \
            rex_test_fail(__FILE__, __LINE__, "%s = %s: %s", #call, rex_status_name(g_),     \
                          (err).text);                                                       \
    } while (0)

#define CHECK_STR(got, want)                                                                 \
    do {                                                                                     \
        const char *const g_ = (got), *const w_ = (want);                                    \
        if (!g_ || strcmp(g_, w_) != 0)                                                      \
            rex_test_fail(__FILE__, __LINE__, "%s = \"%s\", want \"%s\"", #got,              \
                          g_ ? g_ : "(null)", w_);                                           \
    } while (0)

/* A rex_str against text. */
#define CHECK_TEXT(got, want)                                                                \
    do {                                                                                     \
        const rex_str g_ = (got);                                                            \
        const char *const w_ = (want);                                                       \
        if (!rex_str_is(g_, w_))                                                             \
            rex_test_fail(__FILE__, __LINE__, "%s = \"%.*s\", want \"%s\"", #got, (int)g_.n, \
                          g_.p ? g_.p : "", w_);                                             \
    } while (0)

/* A part that a sentence must contain. */
#define CHECK_HAS(got, part)                                                                 \
    do {                                                                                     \
        const char *const g_ = (got), *const w_ = (part);                                    \
        if (!strstr(g_, w_))                                                                 \
            rex_test_fail(__FILE__, __LINE__, "%s = \"%s\", has no \"%s\"", #got, g_, w_);   \
    } while (0)

/* Equal bytes; tells the first that differs. */
#define CHECK_MEM(got, want, bytes)                                                          \
    do {                                                                                     \
        const unsigned char *const g_ = (const void *)(got), *const w_ = (const void *)(want); \
        const size_t n_ = (bytes);                                                           \
        size_t i_ = 0;                                                                       \
        while (i_ < n_ && g_[i_] == w_[i_]) i_++;                                            \
        if (i_ < n_)                                                                         \
            rex_test_fail(__FILE__, __LINE__, "%s differs at byte %zu: 0x%02x, want 0x%02x", \
                          #got, i_, g_[i_], w_[i_]);                                         \
    } while (0)

/* `call` is an expression of type rex_status that gives back all it takes. It is run with its
 * first, second, third ... allocation failing until none is left to fail: every round must end in
 * ENOMEM and leave nothing behind, the last one in OK. */
#define REX_TORTURE(call)                                                                    \
    do {                                                                                     \
        bool go_ = true;                                                                     \
        for (int64_t n_ = 1; go_; n_++) {                                                    \
            const int64_t live_ = rex_mem_live(), count_ = rex_mem_count();                  \
            rex_mem_fail_at(n_);                                                             \
            const rex_status g_ = (call);                                                    \
            rex_mem_fail_at(0);                                                              \
            go_ = rex_test_torture(__FILE__, __LINE__, #call, n_, rex_mem_count() - count_,  \
                                   rex_mem_live() - live_, g_);                              \
        }                                                                                    \
    } while (0)

#endif
