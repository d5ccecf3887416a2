/* SPDX-License-Identifier: MIT
 *
 * Numbers as text, JSON by both roads, lines, the writer.
 */
#include "rex_test.h"

START_TEST(t_num_reads_exactly) {
    static const struct { const char *text; double v; } good[] = {
        {"0", 0.0}, {"1", 1.0}, {"-1.5", -1.5}, {"0.1", 0.1}, {"1e22", 1e22}, {"1e23", 1e23},
        {"9007199254740993", 9007199254740992.0}, {"1.7976931348623157e308", DBL_MAX},
        {"5e-324", 0x1p-1074}, {"2.4703282292062328e-324", 0x1p-1074}, {"2.47e-324", 0.0},
        {"179769313486231580793728971405301e276", 0x1.fffffffffffffp1023},
        {"123456789012345678901234567890", 123456789012345678901234567890.0}, {"1e-400", 0.0},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        double v = -7;
        CHECK(rex_num_parse(rex_str_of(good[i].text), &v));
        if (v != good[i].v) rex_test_fail(__FILE__, __LINE__, "%s reads %.17g", good[i].text, v);
    }
    static const char *const bad[] = {"", "-", "1e", "1e+", "0x1", "nan", "inf", "1 ", " 1", "1e400",
                                      "1.2.3", "--1", "1,5"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        double v;
        if (rex_num_parse(rex_str_of(bad[i]), &v)) rex_test_fail(__FILE__, __LINE__, "%s was read", bad[i]);
    }
} END_TEST

REX_TEST_MAIN("base_text", t_num_reads_exactly)
