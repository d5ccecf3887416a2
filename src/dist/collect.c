/* SPDX-License-Identifier: MIT
 *
 * collect.c: collective calls, made of messages. All parts go straight to everybody: what is
 * exchanged this way is small (sums, losses, verdicts), and two hops would take longer than the
 * bytes.
 */
#include "dist.h"

#include <stdio.h>
#include <string.h>

rex_status rex_dist_share(rex_dist *d, void *p, const size_t *at, rex_err *e) {
    if (!d) return REX_OK;
    const int me = rex_dist_rank(d), size = rex_dist_size(d);
    char *const base = p;
    rex_flow f;
    rex_status s = REX_OK;
    rex_flow_begin(d, &f, NULL, NULL);
    for (int r = 0; r < size && s == REX_OK; r++) {
        if (r == me) continue;
        s = rex_flow_recv(d, &f, r, base + at[r], at[r + 1] - at[r], e);
        if (s == REX_OK) s = rex_flow_send(d, &f, r, base + at[me], at[me + 1] - at[me], e);
    }
    rex_flow_end(d, &f);
    if (s == REX_OK) return rex_flow_wait(d, &f, e);
    rex_dist_fail(d, s, e); /* `f` and `p` are about to go */
    return s;
}

/* Room for n bytes of every rank, with their offsets; NULL on failure. */
static char *equal_parts(const rex_dist *d, size_t n, size_t **at, rex_err *e) {
    const size_t size = (size_t)rex_dist_size(d);
    char *const all = rex_mem_take(size, n, e);
    *at = all ? rex_mem_take(size + 1, sizeof **at, e) : NULL;
    if (!*at) {
        rex_mem_free(all);
        return NULL;
    }
    for (size_t r = 0; r <= size; r++) (*at)[r] = r * n;
    return all;
}

rex_status rex_dist_sum(rex_dist *d, double *x, size_t n, rex_err *e) {
    if (!d || n == 0) return REX_OK;
    size_t *at;
    char *const all = equal_parts(d, n * sizeof *x, &at, e);
    if (!all) return REX_ENOMEM;
    memcpy(all + at[rex_dist_rank(d)], x, n * sizeof *x);
    const rex_status s = rex_dist_share(d, all, at, e);
    for (size_t i = 0; i < n && s == REX_OK; i++) {
        double sum = 0.0, one;
        for (int r = 0; r < rex_dist_size(d); r++) {
            memcpy(&one, all + at[r] + i * sizeof one, sizeof one);
            sum += one;
        }
        x[i] = sum;
    }
    rex_mem_free(at);
    rex_mem_free(all);
    return s;
}

typedef struct {
    int32_t code;
    char host[64], text[360];
} state;

rex_status rex_dist_agree(rex_dist *d, rex_status s, rex_err *e) {
    if (!d) return s;
    size_t *at;
    rex_err none = { .code = REX_OK, .at = -1 };
    char *const all = equal_parts(d, sizeof(state), &at, &none);
    if (!all) {
        rex_dist_fail(d, REX_ENOMEM, &none);
        return s == REX_OK ? rex_fail(e, REX_ENOMEM, -1, "%s", none.text) : s;
    }
    state mine = { .code = (int32_t)s };
    if (s != REX_OK)
        (void)snprintf(mine.text, sizeof mine.text, "%.*s", (int)sizeof mine.text - 1,
                       e && e->text[0] ? e->text : rex_status_text(s));
    memcpy(all + at[rex_dist_rank(d)], &mine, sizeof mine);
    rex_status res = rex_dist_share(d, all, at, &none);
    if (res != REX_OK) res = s != REX_OK ? s : rex_fail(e, res, none.at, "%s", none.text);
    for (int r = 0; r < rex_dist_size(d) && res == REX_OK; r++) {
        state x;
        memcpy(&x, all + at[r], sizeof x);
        if (x.code == REX_OK) continue;
        if (r == rex_dist_rank(d)) res = s; /* in its own words */
        else if (r == 0) res = rex_fail(e, (rex_status)x.code, -1, "%s", x.text);
        else res = rex_fail(e, (rex_status)x.code, -1, "rank %d: %s", r, x.text);
    }
    rex_mem_free(at);
    rex_mem_free(all);
    return res;
}

rex_status rex_dist_same(rex_dist *d, const char *what, uint64_t value, rex_err *e) {
    if (!d) return REX_OK;
    size_t *at;
    uint64_t zero, one;
    char *const all = equal_parts(d, sizeof value, &at, e);
    if (!all) return REX_ENOMEM;
    memcpy(all + at[rex_dist_rank(d)], &value, sizeof value);
    rex_status s = rex_dist_share(d, all, at, e);
    char list[160] = "";
    size_t n = 0;
    int differ = 0;
    memcpy(&zero, all, sizeof zero);
    for (int r = 1; r < rex_dist_size(d) && s == REX_OK; r++) {
        memcpy(&one, all + at[r], sizeof one);
        if (one == zero) continue;
        differ++;
        if (n < sizeof list - 24)
            n += (size_t)snprintf(list + n, sizeof list - n, "%s%d", n ? ", " : "", r);
    }
    if (s == REX_OK && differ)
        s = rex_fail(e, REX_EFORMAT, -1, "%s of rank%s %s are not those of rank 0", what,
                     differ > 1 ? "s" : "", list);
    rex_mem_free(at);
    rex_mem_free(all);
    return s;
}
