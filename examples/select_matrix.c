/* SPDX-License-Identifier: MIT
 *
 * Orders the rows of a matrix by representation novelty. Build, after `make install`:
 *     cc select_matrix.c $(pkg-config --cflags --libs repexp) -o select_matrix
 */
#include <repexp.h>
#include <stdio.h>

int main(void) {
    static const float rows[6][4] = {{1, 0, 2, -1}, {1, .5f, 2, -1}, {0, 2, -1, 1},
                                     {-1, 1, 0, 3}, {2, -1, 1, 0},   {.5f, .5f, .5f, .5f}};
    rex_err e;
    rex_select_opts o;
    rex_select_defaults(REX_SELECT_ELLIPTICAL, &o); /* centred, lambda 1, as published */
    o.first = REX_FIRST_NORM;

    rex_select_rows pool = {0};
    pool.size = sizeof pool;
    pool.m.p = rows;
    pool.m.rows = pool.n = 6;
    pool.m.cols = 4;
    pool.m.type = REX_ELEM_F32;

    rex_select *s = NULL;
    rex_status st = rex_select_open(&o, 0, NULL, &s, &e);
    if (st == REX_OK) st = rex_select_add(s, &pool, &e);
    /* Asked one at a time, so that a verifier can stop it early. */
    while (st == REX_OK && rex_select_left(s) > 0) {
        int64_t row;
        double bonus;
        st = rex_select_next(s, 1, &row, &bonus, &e);
        if (st == REX_OK) printf("row %lld, bonus %.6f\n", (long long)row, bonus);
    }
    if (st != REX_OK) fprintf(stderr, "%s\n", e.text);
    rex_select_close(s);
    return st != REX_OK;
}
