/* SPDX-License-Identifier: MIT
 *
 * The row operations: every table of this machine returns the bits of the plain one, on odd sizes,
 * unaligned starts, huge, tiny and signed zero values; the plain one agrees with long double.
 */
#include "../src/kernels/row_ops.h"
#include "rex_test.h"

enum { TOP = 1030, ROWS = 11, PICKS = 9 };

static const int64_t sizes[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 63, 64, 65, 512, 1023, TOP};

/* Ordinary, huge, tiny, zero. */
static double number(uint32_t i, uint32_t what) {
    const rex_key key = rex_key_make(77);
    const double x = rex_rand_normal(key, REX_STREAM_TEST, i, what, 0);
    switch (rex_rand_below(key, REX_STREAM_TEST, i, what, 1, 12)) {
    case 0: return x * 1e4;
    case 1: return x * 1e-5;
    case 2: return 0.0;
    case 3: return -0.0;
    default: return x;
    }
}

static void fill(unsigned char *raw, rex_elem type, int64_t n, uint32_t what) {
    for (int64_t i = 0; i < n; i++) {
        const double d = number((uint32_t)i, what);
        const float f = (float)d;
        const uint16_t h = rex_f32_f16(f), b = rex_f32_bf16(f);
        const void *const from[] = {&f, &d, &h, &b};
        const size_t size = (size_t)rex_elem_bytes(type);
        memcpy(raw + (size_t)i * size, from[type], size);
    }
}

static void compare(const rex_row_ops *ops, const rex_row_ops *ref, int64_t n, rex_elem type) {
    static unsigned char raw[8 * TOP + 3];
    static double z[2][ROWS * (TOP + 8)], w[PICKS * (TOP + 8)], mean[TOP + 8], out[2][ROWS * PICKS];
    static double hi[2][TOP + 8], lo[2][TOP + 8], y[2][TOP + 8];
    const rex_row_ops *const both[2] = {ops, ref};
    const int64_t ld = REX_ROW_PAD(n);
    memset(mean, 0, sizeof mean);
    memset(w, 0, sizeof w);
    for (int64_t j = 0; j < n; j++) mean[j] = number((uint32_t)j, 500);
    for (int64_t v = 0; v < PICKS; v++)
        for (int64_t j = 0; j < n; j++) w[v * ld + j] = number((uint32_t)j, 600 + (uint32_t)v);
    memset(hi, 0, sizeof hi);
    memset(lo, 0, sizeof lo);
    double norm[2] = {0}, dist[2] = {0};
    for (int t = 0; t < 2; t++) {
        for (uint32_t r = 0; r < ROWS; r++) {
            fill(raw + 3, type, n, r); /* an address that is a multiple of nothing */
            both[t]->widen(z[t] + r * ld, ld, raw + 3, type, n, r % 2 ? mean : NULL,
                           r % 3 ? raw : NULL);
            both[t]->add(hi[t], lo[t], raw + 3, type, n, NULL);
        }
        norm[t] = both[t]->norm2(raw + 3, type, n, mean, raw);
        both[t]->dots(out[t], PICKS, z[t], ROWS, w, PICKS, ld);
        memcpy(y[t], w, (size_t)ld * sizeof(double));
        both[t]->combine(y[t], mean, z[t], ROWS, ld);
        dist[t] = both[t]->dist2(z[t], 0.3, w, ld);
    }
    CHECK_MEM(z[0], z[1], (size_t)(ROWS * ld) * sizeof(double));
    CHECK_MEM(out[0], out[1], sizeof out[0]);
    CHECK_MEM(hi[0], hi[1], (size_t)ld * sizeof(double));
    CHECK_MEM(lo[0], lo[1], (size_t)ld * sizeof(double));
    CHECK_MEM(y[0], y[1], (size_t)ld * sizeof(double));
    CHECK_MEM(&norm[0], &norm[1], sizeof(double));
    CHECK_MEM(&dist[0], &dist[1], sizeof(double));
    for (int64_t j = n; j < ld; j++) CHECK(z[0][j] == 0.0);
    for (int r = 0; r < ROWS; r++)
        for (int v = 0; v < PICKS; v++) {
            long double want = 0, scale = 0;
            for (int64_t j = 0; j < n; j++) {
                want += (long double)z[1][r * ld + j] * w[v * ld + j];
                scale += fabsl((long double)z[1][r * ld + j] * w[v * ld + j]);
            }
            CHECK_CLOSE(out[1][r * PICKS + v], want, scale, (double)n / 8 + 4);
        }
    /* tile shapes do not matter: one row, one pick */
    double one = 0.0;
    ops->dots(&one, 1, z[0] + 4 * ld, 1, w + 5 * ld, 1, ld);
    CHECK_MEM(&one, &out[1][4 * PICKS + 5], sizeof one);
}

START_TEST(t_tables_return_the_same_bits) {
    static const char *const names[] = {"avx2", "avx512", "neon", "ref"};
    const rex_row_ops *const ref = rex_row_ops_find("ref");
    CHECK(ref != NULL && rex_row_ops_best() != NULL && rex_row_ops_find("none") == NULL);
    for (size_t t = 0; t < 4; t++) {
        const rex_row_ops *const ops = rex_row_ops_find(names[t]);
        if (!ops) continue;
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
            for (int type = 0; type < REX_ELEM_COUNT; type++)
                compare(ops, ref, sizes[s], (rex_elem)type);
    }
} END_TEST

/* f32 products: the same bits in every table, and never off by more than their bound. */
START_TEST(t_narrow_products_keep_their_bound) {
    static const char *const names[] = {"avx2", "avx512", "neon", "ref"};
    static unsigned char raw[8 * TOP + 3];
    static double wide[ROWS][TOP + 16], w[PICKS][TOP + 16], mean[TOP + 16];
    static float z[2][ROWS * (TOP + 16)], w32[PICKS * (TOP + 16)], out[2][ROWS * PICKS];
    const rex_row_ops *const ref = rex_row_ops_find("ref");
    for (size_t t = 0; t < 4; t++) {
        const rex_row_ops *const both[2] = {rex_row_ops_find(names[t]), ref};
        if (!both[0]) continue;
        for (size_t c = 0; c < sizeof sizes / sizeof *sizes; c++) {
            const int64_t n = sizes[c], ld = REX_ROW_PAD32(n);
            const float *rows[2][ROWS];
            memset(mean, 0, sizeof mean);
            memset(w32, 0, sizeof w32);
            for (int64_t j = 0; j < n; j++) mean[j] = number((uint32_t)j, 500);
            for (int64_t v = 0; v < PICKS; v++)
                for (int64_t j = 0; j < n; j++) {
                    w[v][j] = 1.1 * number((uint32_t)j, 700 + (uint32_t)v);
                    w32[v * ld + j] = (float)w[v][j];
                }
            for (uint32_t r = 0; r < ROWS; r++) {
                const rex_elem type = (rex_elem)(r % REX_ELEM_COUNT);
                const double *const m = r % 2 ? mean : NULL;
                fill(raw + 3, type, n, r);
                ref->widen(wide[r], REX_ROW_PAD(n), raw + 3, type, n, m, NULL);
                for (int k = 0; k < 2; k++) {
                    rows[k][r] = z[k] + r * ld;
                    both[k]->narrow(z[k] + r * ld, ld, raw + 3, type, n, m, raw);
                }
            }
            for (int k = 0; k < 2; k++)
                both[k]->dots32(out[k], PICKS, rows[k], k ? rows[k] : NULL, ROWS, w32, PICKS, ld);
            CHECK_MEM(z[0], z[1], (size_t)(ROWS * ld) * sizeof(float));
            CHECK_MEM(out[0], out[1], sizeof out[0]);
            for (int r = 0; r < ROWS; r++)
                for (int v = 0; v < PICKS; v++) {
                    long double want = 0, zz = 0, ww = 0;
                    for (int64_t j = 0; j < n; j++) {
                        want += (long double)wide[r][j] * w[v][j];
                        zz += (long double)wide[r][j] * wide[r][j];
                        ww += (long double)w[v][j] * w[v][j];
                    }
                    const double bound =
                        ((double)ld / 16 + 8) * 0x1.01p-24 * sqrt((double)(zz * ww));
                    CHECK_NEAR((double)out[1][r * PICKS + v], (double)want, bound);
                }
        }
    }
} END_TEST

START_TEST(t_projection_steps_agree) {
    static const char *const names[] = {"avx2", "avx512", "neon", "ref"};
    enum { N = 37 };
    static float x[REX_PROJECT_LANES][N], t[N * REX_PROJECT_LANES], want[N * REX_PROJECT_LANES];
    float out[REX_PROJECT_LANES * 3], ref_out[REX_PROJECT_LANES * 3];
    const uint32_t plus[] = {0, 5, 36, 11}, minus[] = {7, 8};
    const float *row[REX_PROJECT_LANES];
    for (int r = 0; r < REX_PROJECT_LANES; r++) {
        row[r] = r < 29 ? x[r] : NULL;
        for (int j = 0; j < N; j++) {
            x[r][j] = (float)number((uint32_t)j, (uint32_t)r);
            want[j * REX_PROJECT_LANES + r] = r < 29 ? x[r][j] : 0.0f;
        }
    }
    for (size_t c = 0; c < 4; c++) {
        const rex_row_ops *const ops = rex_row_ops_find(names[c]);
        if (!ops) continue;
        ops->turn(t, row, N);
        CHECK_MEM(t, want, sizeof t);
        memset(out, 0, sizeof out);
        memset(ref_out, 0, sizeof ref_out);
        ops->gather(out + 1, 3, t, plus, 4, minus, 2, 0.7f);
        rex_row_ops_find("ref")->gather(ref_out + 1, 3, t, plus, 4, minus, 2, 0.7f);
        CHECK_MEM(out, ref_out, sizeof out);
        CHECK_NEAR(out[3 * 2 + 1],
                   0.7f * (x[2][0] + x[2][5] + x[2][36] + x[2][11] - x[2][7] - x[2][8]), 1e-2);
    }
} END_TEST

/* The compensated sum: a thousand copies of a number that has no short binary form. */
START_TEST(t_sums_catch_their_rounding) {
    double hi[8] = {0}, lo[8] = {0};
    const double x = 0.1;
    for (int i = 0; i < 1000; i++) rex_row_ops_best()->add(hi, lo, &x, REX_ELEM_F64, 1, NULL);
    const long double sum = (long double)hi[0] + lo[0], want = 1000.0L * x;
    CHECK(fabsl(sum - want) < 1e-16L * want);
} END_TEST

REX_TEST_MAIN("row_ops", t_tables_return_the_same_bits,
              t_narrow_products_keep_their_bound, t_projection_steps_agree,
              t_sums_catch_their_rounding)
