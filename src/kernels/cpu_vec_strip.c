/* SPDX-License-Identifier: MIT
 *
 * cpu_vec_strip.c: the tile of attention, compiled once per instruction set: rows and results lie
 * anywhere, columns where they are stored, and rows may begin and end at steps of their own.
 */
#include "vec.h"

#if defined(REX_VEC_AVX2)
#define STRIP_ROWS(X) X(0) X(1) X(2) X(3)
#else
#define STRIP_ROWS(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
#endif

/* Accumulators of row i from y and back to it. */
#define TAKE(i)                                                                                  \
    if (i < rows) {                                                                              \
        c##i = full ? v_load(s->y[i] + y) : v_loadn(s->y[i] + y, n0);                            \
        d##i = full ? v_load(s->y[i] + y + VW) : v_loadn(s->y[i] + y + VW, n1);                  \
    }
#define GIVE(i)                                                                                  \
    if (i < rows) {                                                                              \
        if (full) {                                                                              \
            v_store(s->y[i] + y, c##i);                                                          \
            v_store(s->y[i] + y + VW, d##i);                                                     \
        } else {                                                                                 \
            v_storen(s->y[i] + y, c##i, n0);                                                     \
            v_storen(s->y[i] + y + VW, d##i, n1);                                                \
        }                                                                                        \
    }
#define COLUMNS                                                                                  \
    const vf b0 = full ? v_load(b) : v_loadn(b, n0);                                             \
    const vf b1 = full ? v_load(b + VW) : v_loadn(b + VW, n1);                                   \
    b += s->ldb
#define STEP(i)                                                                                  \
    if (i < rows) {                                                                              \
        const vf v = v_set(x##i[k]);                                                             \
        c##i = v_fma(v, b0, c##i);                                                               \
        d##i = v_fma(v, b1, d##i);                                                               \
    }
/* The step of the rows with more than `now` steps. */
#define SOME(i, steps)                                                                           \
    if (i < rows) {                                                                              \
        const vf v = v_set(x##i[k]);                                                             \
        const vf mine = v_set(s->steps[i]);                                                      \
        c##i = v_pick_gt(mine, now, v_fma(v, b0, c##i), c##i);                                   \
        d##i = v_pick_gt(mine, now, v_fma(v, b1, d##i), d##i);                                   \
    }
#define EARLY(i) SOME(i, early)
#define LATE(i) SOME(i, late)

HOT void strip_body(const int rows, const bool full, const strip *s) {
    const int64_t n0 = s->cols < VW ? s->cols : VW;
    const int64_t n1 = s->cols - n0;
#define X(i) const float *const x##i = s->x[i < rows ? i : 0];
    STRIP_ROWS(X)
#undef X
    int64_t n = s->count, at_x = 0, at_b = 0, y = 0;
    for (;;) {
        const float *b = s->b + at_b;
        int64_t k = at_x;
#define X(i) vf c##i = v_zero(), d##i = v_zero();
        STRIP_ROWS(X)
#undef X
        if (s->more) {
            STRIP_ROWS(TAKE)
        }
        for (int64_t left = s->before; left > 0; left--, k++) {
            COLUMNS;
            const vf now = v_set((float)(left - 1));
            STRIP_ROWS(EARLY)
        }
        const int64_t end = k + s->all;
#pragma GCC unroll 2
        for (; k < end; k++) {
            __asm__("" : "+r"(k)); /* one index for all rows, not a pointer to advance for each */
            COLUMNS;
            STRIP_ROWS(STEP)
        }
        for (int64_t i = 0; i < s->after; i++, k++) {
            COLUMNS;
            const vf now = v_set((float)i);
            STRIP_ROWS(LATE)
        }
        STRIP_ROWS(GIVE)
        if (--n <= 0) return; /* steps are for those who count more than one */
        at_x += s->dx;
        at_b += s->db;
        y += s->dy;
    }
}

void VEC(strip_run)(const strip *s) {
    const bool full = s->cols == 2 * VW;
    switch (s->rows) {
#define X(i)                                                                                     \
    case i + 1:                                                                                  \
        if (full)                                                                                \
            strip_body(i + 1, true, s);                                                          \
        else                                                                                     \
            strip_body(i + 1, false, s);                                                         \
        break;
        STRIP_ROWS(X)
#undef X
    }
}
