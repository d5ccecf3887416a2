/* SPDX-License-Identifier: MIT
 *
 * majority.c: the expected reward of the majority answer over the k-subsets of n samples.
 *
 * The winner of a subset is the answer with most votes; among equals the one whose first sample in
 * the subset has the lowest row, and that sample's reward counts. Split by (p, m): the winner's
 * first row p and its number of votes m. With `after(b)` the samples of answer b behind row p, the
 * subsets of that kind are
 *
 *   C(after(a), m-1) * [x^(k-m)] (1+x)^rest * prod_{b != a} (sum_{t<m} C(n_b,t) x^t + C(after(b),m)
 * x^m)
 *
 * because a rival may have fewer votes, or as many if all of them lie behind p. If 2m > k no rival
 * can reach m votes, and if 3m > k at most one can, which leaves sums of products of two
 * coefficients; below that the polynomial is multiplied out, cut at degree k-m. All in double:
 * every coefficient is at most C(n,k), and the answer is a probability, so the error is a few ulps
 * of one. What would cost more than REX_MAJ_COST multiplications, or overflow, is estimated from
 * named subsets instead.
 */
#include "metrics.h"

#include <math.h>
#include <string.h>

#define REX_MAJ_COST 4194304.0
#define REX_MAJ_TABLE 1048576.0 /* entries of the table of binomials */

typedef struct {
    const double *reward;
    uint32_t *loc;   /* per row: local answer or NO_VOTE */
    uint32_t *count; /* per answer: its rows */
    uint32_t *after; /* per answer: its rows behind the current one */
    uint32_t *gain;  /* per answer: its rows with a reward other than 0 */
    size_t n, n_ans, silent;
    bool binary;
    double *bin; /* C(x, t) at bin[x * width + t] */
    size_t width;
    double *poly;    /* (n_ans + 1, width): products over the first rivals */
    uint32_t *place; /* per answer: its place among the rivals */
    size_t stale;    /* the first rival whose product is to be made anew */
    bool flip;    /* binary rewards: sum what the wrong answers win and subtract */
} ballot;

#define NO_VOTE UINT32_MAX

/* Answers get local numbers in order of first appearance; a table of twice the rows never fills. */
static rex_status ballot_init(rex_arena *a, const uint32_t *answer, const double *reward, size_t n,
                              ballot *b, rex_err *e) {
    size_t room = 4;
    while (room < 2 * n) room *= 2;
    *b = (ballot){.reward = reward, .n = n, .binary = true};
    b->loc = rex_arena_take(a, n, sizeof *b->loc, e);
    b->count = b->loc ? rex_arena_zero(a, n, sizeof *b->count, e) : NULL;
    b->after = b->count ? rex_arena_take(a, n, sizeof *b->after, e) : NULL;
    b->gain = b->after ? rex_arena_zero(a, n, sizeof *b->gain, e) : NULL;
    uint32_t *const slot = b->gain ? rex_arena_take(a, room, sizeof *slot, e) : NULL;
    uint32_t *const seen = slot ? rex_arena_take(a, n, sizeof *seen, e) : NULL; /* global names */
    if (!seen) return REX_ENOMEM;
    memset(slot, 0xff, room * sizeof *slot);
    for (size_t i = 0; i < n; i++) {
        b->loc[i] = NO_VOTE;
        if (answer[i] == UINT32_MAX) {
            b->silent++;
            continue;
        }
        size_t at = (size_t)(((uint64_t)answer[i] * 0x9E3779B97F4A7C15u) >> 20) & (room - 1);
        while (slot[at] != UINT32_MAX && seen[slot[at]] != answer[i]) at = (at + 1) & (room - 1);
        if (slot[at] == UINT32_MAX) {
            slot[at] = (uint32_t)b->n_ans;
            seen[b->n_ans++] = answer[i];
        }
        b->loc[i] = slot[at];
        b->count[slot[at]]++;
    }
    for (size_t i = 0; i < n; i++) {
        b->binary = b->binary && (reward[i] == 0.0 || reward[i] == 1.0);
        if (b->loc[i] != NO_VOTE && reward[i] != 0.0) b->gain[b->loc[i]]++;
    }
    return REX_OK;
}

/* Pascal's triangle up to row n and column `width` - 1; false if the numbers leave the range. */
static rex_status ballot_table(rex_arena *a, ballot *b, size_t width, bool *fits, rex_err *e) {
    *fits = false;
    if ((double)(b->n + 1) * (double)width > REX_MAJ_TABLE) return REX_OK;
    b->width = width;
    b->bin = rex_arena_take(a, (b->n + 1) * width, sizeof *b->bin, e);
    b->poly = b->bin ? rex_arena_take(a, (b->n_ans + 1) * width, sizeof *b->poly, e) : NULL;
    b->place = b->poly ? rex_arena_take(a, b->n_ans + 1, sizeof *b->place, e) : NULL;
    if (!b->place) return REX_ENOMEM;
    double *row = b->bin;
    for (size_t t = 0; t < width; t++) row[t] = t == 0 ? 1.0 : 0.0;
    for (size_t x = 1; x <= b->n; x++, row += width) {
        row[width] = 1.0;
        for (size_t t = 1; t < width; t++) row[width + t] = row[t - 1] + row[t];
    }
    *fits = true;
    return REX_OK;
}

static double choose(const ballot *b, size_t x, size_t t) { return b->bin[x * b->width + t]; }

/* Does row p's reward enter the sum, and with what weight? */
static double row_weight(const ballot *b, size_t p) {
    return b->flip ? 1.0 - b->reward[p] : b->reward[p];
}

/* Rows of an answer that enter the sum. */
static size_t rows_in_sum(const ballot *b, size_t x, bool flip) {
    return flip ? b->count[x] - b->gain[x] : b->gain[x];
}

/* Steps that `exact_at` would spend on this k, and whether summing the wrong ones is the cheaper.
 */
static double exact_cost(const ballot *b, size_t k, bool *flip) {
    double cost[2] = {0.0, 0.0}, rows[2] = {0.0, 0.0};
    for (size_t x = 0; x < b->n_ans; x++)
        for (int f = 0; f < 2; f++) {
            const size_t mine = rows_in_sum(b, x, f == 1);
            rows[f] += (double)mine;
            if (mine > 0)
                cost[f] += (double)(b->n + b->n_ans) * (double)(k < b->count[x] ? k : b->count[x]);
        }
    for (size_t m = 1; 2 * m <= k; m++) {
        double rivals = 0.0;
        for (size_t x = 0; x < b->n_ans; x++)
            if (b->count[x] >= m) rivals += 1.0;
        if (rivals == 0.0) break;
        for (int f = 0; f < 2; f++)
            cost[f] += rows[f] * rivals * (3 * m > k ? 1.0 : (double)m * (double)(k - m));
    }
    *flip = b->binary && cost[1] < cost[0];
    return *flip ? cost[1] : cost[0];
}

/* Ways to fill the other k-m places when at most one rival can reach m votes: all ways, less those
 * in which a rival has m or more, and again those in which it has m votes behind p. */
static double fill_single(const ballot *b, uint32_t a, size_t m, size_t places,
                          const double *over) {
    const size_t others = b->n - b->count[a];
    double ways = choose(b, others, places);
    for (uint32_t x = 0; x < b->n_ans; x++)
        if (x != a && b->count[x] >= m)
            ways +=
                choose(b, b->after[x], m) * choose(b, others - b->count[x], places - m) - over[x];
    return ways;
}

/* y += f x, four at a time: the elements do not wait for each other. */
static void add_scaled(double *restrict y, const double *restrict x, double f, size_t n) {
    size_t t = 0;
    for (; t + 4 <= n; t += 4) {
        y[t] += f * x[t];
        y[t + 1] += f * x[t + 1];
        y[t + 2] += f * x[t + 2];
        y[t + 3] += f * x[t + 3];
    }
    for (; t < n; t++) y[t] += f * x[t];
}

/* The same by multiplying out; `rest` samples belong to nobody who can reach m votes. Rival i's
 * product stands in row i+1 of `poly`: only those from b->stale on are made anew, and a rival who
 * has fewer than m rows behind p changes no more. */
static double fill_poly(ballot *b, uint32_t a, size_t m, size_t places, size_t rest) {
    double *now = b->poly;
    size_t i = 0;
    if (b->stale == 0) memcpy(now, b->bin + rest * b->width, (places + 1) * sizeof *now);
    for (uint32_t x = 0; x < b->n_ans; x++) {
        if (x == a || b->count[x] < m) continue;
        const double *const f = b->bin + (size_t)b->count[x] * b->width;
        double *const next = now + b->width;
        if (i++ >= b->stale) {
            memcpy(next, now, (places + 1) * sizeof *now);
            for (size_t s = 1; s < m; s++) add_scaled(next + s, now, f[s], places + 1 - s);
            add_scaled(next + m, now, choose(b, b->after[x], m), places + 1 - m);
        }
        now = next;
    }
    b->stale = i;
    return now[places];
}

/* Sum over the first rows p of answer `a` and one m; `over` is scratch per answer. */
static double sum_first_rows(ballot *b, uint32_t a, size_t m, size_t k, double *over) {
    const size_t places = k - m;
    const size_t others = b->n - b->count[a];
    size_t rest = others;
    uint32_t n_rival = 0;
    b->stale = 0;
    for (uint32_t x = 0; x < b->n_ans; x++) {
        b->after[x] = b->count[x];
        if (x == a || b->count[x] < m || places < m) continue;
        b->place[x] = n_rival++;
        rest -= b->count[x];
        over[x] = 0.0;
        if (places < 2 * m)
            for (size_t t = m; t <= places && t <= b->count[x]; t++)
                over[x] += choose(b, b->count[x], t) * choose(b, others - b->count[x], places - t);
    }
    double sum = 0.0;
    for (size_t p = 0; p < b->n; p++) {
        const uint32_t x = b->loc[p];
        if (x == NO_VOTE) continue;
        if (x != a && places >= m && b->after[x] >= m && b->place[x] < b->stale)
            b->stale = b->place[x];
        b->after[x]--;
        if (x != a) continue;
        if (b->after[a] + 1 < m) break;
        const double w = row_weight(b, p);
        if (w == 0.0) continue;
        double ways;
        if (n_rival == 0) ways = choose(b, others, places);
        else if (places < 2 * m) ways = fill_single(b, a, m, places, over);
        else ways = fill_poly(b, a, m, places, rest);
        sum += w * choose(b, b->after[a], m - 1) * ways;
    }
    return sum;
}

static double exact_at(ballot *b, size_t k, double *over) {
    double sum = 0.0;
    const double all = choose(b, b->n, k);
    for (uint32_t a = 0; a < b->n_ans; a++) {
        if (rows_in_sum(b, a, b->flip) == 0) continue;
        for (size_t m = 1; m <= k && m <= b->count[a]; m++)
            sum += sum_first_rows(b, a, m, k, over) / all;
    }
    if (b->flip) sum = (1.0 - choose(b, b->silent, k) / all) - sum;
    return sum < 0.0 && b->flip ? 0.0 : sum;
}

/* Subsets by the first steps of a shuffle; the leader at every size on the way is kept as rows come
 * in: votes only grow and first rows only fall, so the leader can change to the last voter alone.
 */
static rex_status drawn(rex_arena *a, ballot *b, const int64_t *k, const bool *skip, size_t n_k,
                        uint64_t seed, uint64_t stream, double *out, rex_err *e) {
    size_t k_max = 0;
    for (size_t j = 0; j < n_k; j++)
        if (!skip[j] && (size_t)k[j] > k_max) k_max = (size_t)k[j];
    if (k_max == 0) return REX_OK;
    uint32_t *const perm = rex_arena_take(a, b->n, sizeof *perm, e);
    uint32_t *const votes = perm ? rex_arena_zero(a, b->n_ans + 1, sizeof *votes, e) : NULL;
    uint32_t *const first = votes ? rex_arena_take(a, b->n_ans + 1, sizeof *first, e) : NULL;
    double *const got = first ? rex_arena_take(a, k_max + 1, sizeof *got, e) : NULL;
    if (!got) return REX_ENOMEM;
    for (size_t i = 0; i < b->n; i++) perm[i] = (uint32_t)i;
    for (size_t j = 0; j <= k_max; j++) got[j] = 0.0;
    const rex_key key = rex_key_fold(rex_key_make(seed), REX_STREAM_MAJ);
    const uint32_t lo = (uint32_t)stream, hi = (uint32_t)(stream >> 32);
    for (uint32_t d = 0; d < REX_MAJ_DRAWS; d++) {
        uint32_t best = NO_VOTE;
        rex_u32x4 word = {{0, 0, 0, 0}};
        for (size_t i = 0; i < k_max; i++) {
            if ((i & 3) == 0)
                word = rex_rand_u32x4(key, (rex_u32x4){{(uint32_t)(i >> 2), d, lo, hi}});
            const size_t j = i + (size_t)(((uint64_t)word.v[i & 3] * (b->n - i)) >> 32);
            const uint32_t row = perm[j];
            perm[j] = perm[i];
            perm[i] = row;
            const uint32_t x = b->loc[row];
            if (x != NO_VOTE) {
                if (votes[x]++ == 0 || row < first[x]) first[x] = row;
                if (best == NO_VOTE || votes[x] > votes[best] ||
                    (votes[x] == votes[best] && first[x] < first[best]))
                    best = x;
            }
            if (best != NO_VOTE) got[i + 1] += b->reward[first[best]];
        }
        for (size_t i = 0; i < k_max; i++)
            if (b->loc[perm[i]] != NO_VOTE) votes[b->loc[perm[i]]] = 0;
    }
    for (size_t j = 0; j < n_k; j++)
        if (!skip[j]) out[j] = got[k[j]] / REX_MAJ_DRAWS;
    return REX_OK;
}

rex_status rex_majority(rex_arena *a, const uint32_t *answer, const double *reward, size_t n,
                        const int64_t *k, size_t n_k, uint64_t seed, uint64_t stream, double *out,
                        bool *exact, rex_err *e) {
    ballot b;
    REX_TRY(ballot_init(a, answer, reward, n, &b, e));
    size_t width = 0;
    for (size_t j = 0; j < n_k; j++) {
        const double cost = exact_cost(&b, (size_t)k[j], &b.flip);
        const double table = (double)(n + 1) * (double)(k[j] + 1);
        exact[j] = cost <= REX_MAJ_COST && table <= REX_MAJ_TABLE;
        if (exact[j] && (size_t)k[j] + 1 > width) width = (size_t)k[j] + 1;
    }
    if (width > 0) {
        bool fits;
        REX_TRY(ballot_table(a, &b, width, &fits, e));
        double *const over = rex_arena_take(a, b.n_ans + 1, sizeof *over, e);
        if (!over) return REX_ENOMEM;
        for (size_t j = 0; j < n_k; j++) {
            /* k beyond the middle passes the largest coefficient on its way: ask for all of them */
            exact[j] = exact[j] && fits;
            for (size_t t = 0; exact[j] && t <= (size_t)k[j]; t++)
                exact[j] = choose(&b, n, t) < 1e290;
            (void)exact_cost(&b, (size_t)k[j], &b.flip);
            if (exact[j]) out[j] = exact_at(&b, (size_t)k[j], over);
        }
    }
    return drawn(a, &b, k, exact, n_k, seed, stream, out, e);
}

rex_status rex_maj_at_k(const uint32_t *answer, const double *reward, size_t n, const int64_t *k,
                        size_t n_k, uint64_t seed, uint64_t stream, double *out, bool *exact,
                        rex_err *e) {
    for (size_t j = 0; j < n_k; j++)
        if (k[j] < 1 || (uint64_t)k[j] > n)
            return rex_fail(e, REX_EARG, -1, "k = %lld with %zu samples: 1 <= k <= n is needed",
                            (long long)k[j], n);
    for (size_t i = 0; i < n; i++)
        if (!isfinite(reward[i]))
            return rex_fail(e, REX_ENAN, (int64_t)i, "reward %zu is not finite", i);
    rex_arena *a = NULL;
    REX_TRY(rex_arena_open(0, &a, e));
    bool *const flag = exact ? exact : rex_arena_take(a, n_k, sizeof *flag, e);
    const rex_status s =
        flag ? rex_majority(a, answer, reward, n, k, n_k, seed, stream, out, flag, e) : REX_ENOMEM;
    rex_arena_close(a);
    return s;
}
