/* SPDX-License-Identifier: MIT
 *
 * sampler.c: logits to a token. Filters act in the order temperature, top-k, top-p, min-p, each on
 * the renormalised survivors of the one before; equal probabilities go by token id; top-p keeps the
 * token that crosses. One uniform draw with 53 bits, named by what it is for, picks by the running
 * sum.
 *
 * Without filters the sum runs over tiles of REX_VOCAB_TILE words in ascending order, whose weights
 * the log-sum-exp needs anyway, then over the words of one tile: no pass over the vocabulary is
 * added. With filters the survivors are sorted by probability first and the sum runs in that order.
 */
#include "gen.h"

#include <string.h>

enum { MAX_TILES = 4096 }; /* a vocabulary of 2^24 */

/* A candidate: sorts by larger logit, then by smaller id. */
typedef struct {
    float x;
    int32_t id;
} cand;

size_t rex_sampler_scratch(int64_t V) {
    const size_t tiles = (size_t)((V + REX_VOCAB_TILE - 1) / REX_VOCAB_TILE);
    const size_t n = (size_t)V * (sizeof(float) + sizeof(cand)) + tiles * sizeof(rex_lse) + 256;
    return (n + 63) & ~(size_t)63;
}

bool rex_sampler_bends(const rex_sampler *s) {
    return s->temperature != 1.0 || s->top_k > 0 || s->top_p < 1.0 || s->min_p > 0.0;
}

/* Statistics of all tiles of a row; returns their join. */
static rex_lse row_lse(const rex_kern *k, const float *x, float a, int64_t V, rex_lse *tile) {
    int64_t n = 0;
    for (int64_t i = 0; i < V; i += REX_VOCAB_TILE)
        tile[n++] = k->lse_tile(x + i, a, V - i < REX_VOCAB_TILE ? V - i : REX_VOCAB_TILE);
    return rex_lse_join(tile, n);
}

static bool sound(rex_lse s) {
    return s.max - s.max == 0.0 && s.sum > 0.0 && s.sum - s.sum == 0.0;
}

static rex_status unsound(rex_err *e) {
    return rex_fail(e, REX_ENAN, -1, "the logits are not finite");
}

/* One way to a log-probability, whoever asks. */
static void describe(const float *logit, rex_lse all, int32_t token, rex_draw *out) {
    out->token = token;
    out->logp = (float)((double)logit[token] - rex_lse_log(all));
    out->ent = (float)rex_lse_entropy(all);
    out->logq = out->logp;
}

rex_status rex_score_token(const rex_kern *k, const float *logit, int64_t V, int32_t token,
                           rex_draw *out, rex_err *e) {
    const rex_lse all = k->lse(logit, 1.0F, V);
    if (!sound(all)) return unsound(e);
    describe(logit, all, token, out);
    return REX_OK;
}

/* The first word of p[0 .. n-1] at which the running sum exceeds u times the whole; the last one
 * that has any probability if rounding keeps the sum below. */
static int64_t walk(const float *p, int64_t n, double u) {
    double sum = 0.0;
    int64_t last = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += (double)p[i];
        if (sum > u) return i;
        if (p[i] > 0.0F) last = i;
    }
    return last;
}

/* Draws from all words. */
static int32_t draw_all(const rex_kern *k, const float *x, float a, int64_t V, const rex_lse *tile,
                        rex_lse all, double u, float *p) {
    const int64_t tiles = (V + REX_VOCAB_TILE - 1) / REX_VOCAB_TILE;
    double left = u * all.sum, weight = 0.0;
    int64_t t = 0, last = 0;
    for (; t < tiles; t++) {
        if (!(tile[t].sum > 0.0) || tile[t].max < all.max - 700.0) continue;
        weight = tile[t].sum * rex_exp(tile[t].max - all.max);
        last = t;
        if (left < weight) break;
        left -= weight;
    }
    const bool over = t == tiles; /* rounding: the last word of the last tile */
    if (over) t = last;
    const int64_t from = t * REX_VOCAB_TILE;
    const int64_t n = V - from < REX_VOCAB_TILE ? V - from : REX_VOCAB_TILE;
    k->softmax(p, x + from, a, n);
    return (int32_t)(from + walk(p, n, over ? 2.0 : left / weight));
}

/* ---- filters ----------------------------------------------------------------------------- */

static bool before(cand a, cand b) { return a.x > b.x || (a.x == b.x && a.id < b.id); }

static void sift(cand *c, int64_t i, int64_t n) {
    const cand v = c[i];
    for (int64_t j; (j = 2 * i + 1) < n; i = j) {
        if (j + 1 < n && before(c[j + 1], c[j])) j++;
        if (!before(c[j], v)) break;
        c[i] = c[j];
    }
    c[i] = v;
}

/* Takes the first candidate out of the heap c[0 .. n-1]. */
static cand pop(cand *c, int64_t *n) {
    const cand top = c[0];
    c[0] = c[--*n];
    if (*n > 0) sift(c, 0, *n);
    return top;
}

/* Words that can survive, as a heap with the most probable on top. A word below (1 - top_p) / V, or
 * below min_p of the largest, cannot (half of it, so that rounding cannot drop one wrongly). */
static int64_t gather(const rex_sampler *s, const float *x, const float *p, int64_t V, cand *c) {
    float low = 0.0F, most = 0.0F;
    for (int64_t i = 0; i < V; i++)
        if (p[i] > most) most = p[i];
    if (s->top_k == 0 && s->top_p < 1.0) low = (float)(0.5 * (1.0 - s->top_p) / (double)V);
    if (s->min_p > 0.0 && (float)(0.5 * s->min_p) * most > low)
        low = (float)(0.5 * s->min_p) * most;
    int64_t n = 0;
    for (int64_t i = 0; i < V; i++)
        if (p[i] > low) c[n++] = (cand){x[i], (int32_t)i};
    for (int64_t i = n / 2; i-- > 0;) sift(c, i, n);
    return n;
}

/* The survivors, most probable first, over the candidates' own memory (the heap shrinks from
 * behind, so they are put there and turned round). Returns how many; *mass is their share of all.
 */
static int64_t survivors(const rex_sampler *s, const float *p, cand *c, int64_t n, double *mass) {
    const int64_t most = s->top_k > 0 && s->top_k < n ? s->top_k : n;
    const int64_t end = n;
    int64_t kept = 0;
    double sum = 0.0;
    while (kept < most) { /* top-k, and all that top-p and min-p could need */
        const cand v = pop(c, &n);
        sum += (double)p[v.id];
        c[end - 1 - kept] = v; /* the place that the heap has just given up */
        kept++;
        if (s->top_k == 0 && sum >= s->top_p) break;
    }
    for (int64_t i = 0, j = end - kept; i < kept; i++, j++) { /* move to the front, still turned */
        c[i] = c[j];
    }
    for (int64_t i = 0, j = kept - 1; i < j; i++, j--) {
        const cand v = c[i];
        c[i] = c[j];
        c[j] = v;
    }
    if (s->top_p < 1.0 && s->top_k > 0) {
        const double goal = s->top_p * sum;
        double run = 0.0;
        int64_t i = 0;
        while (i < kept && run < goal) run += (double)p[c[i++].id];
        kept = i > 0 ? i : 1;
    }
    if (s->min_p > 0.0) {
        const double least = s->min_p * (double)p[c[0].id];
        int64_t i = 1;
        while (i < kept && (double)p[c[i].id] >= least) i++;
        kept = i;
    }
    *mass = 0.0;
    for (int64_t i = 0; i < kept; i++) *mass += (double)p[c[i].id];
    return kept;
}

static int32_t draw_filtered(const rex_kern *k, const rex_sampler *s, const float *x, float a,
                             int64_t V, double u, float *p, cand *c, double *log_mass) {
    k->softmax(p, x, a, V);
    double mass = 0.0;
    const int64_t n = survivors(s, p, c, gather(s, x, p, V, c), &mass);
    const double goal = u * mass;
    double sum = 0.0;
    int64_t i = 0;
    for (; i < n - 1; i++) {
        sum += (double)p[c[i].id];
        if (sum > goal) break;
    }
    *log_mass = rex_log(mass);
    return c[i].id;
}

rex_status rex_sample_token(const rex_kern *k, const rex_sampler *s, const float *logit,
                            const float *bent, int64_t V, rex_draw_name name, void *scratch,
                            rex_draw *out, rex_err *e) {
    rex_lse *tile = scratch;
    const int64_t tiles = (V + REX_VOCAB_TILE - 1) / REX_VOCAB_TILE;
    float *p = (float *)(void *)(((uintptr_t)(tile + tiles) + 63) & ~(uintptr_t)63);
    cand *c = (cand *)(void *)(p + V);
    rex_lse all = row_lse(k, logit, 1.0F, V, tile);
    if (!sound(all)) return unsound(e);
    const rex_lse plain = all;
    if (s->temperature == 0.0) {
        const int64_t best = k->argmax(bent, V);
        if (best < 0) return unsound(e);
        describe(logit, plain, (int32_t)best, out);
        out->logq = 0.0F;
        return REX_OK;
    }
    const float a = (float)(1.0 / s->temperature);
    if (bent != logit || a != 1.0F) all = row_lse(k, bent, a, V, tile);
    if (!sound(all)) return unsound(e);
    const double u = rex_rand_unit(s->key, REX_STREAM_SAMPLE, name.pos, name.sample, name.id);
    const bool filters = s->top_k > 0 || s->top_p < 1.0 || s->min_p > 0.0;
    double log_mass = 0.0;
    const int32_t token = filters ? draw_filtered(k, s, bent, a, V, u, p, c, &log_mass)
                                  : draw_all(k, bent, a, V, tile, all, u, p);
    describe(logit, plain, token, out);
    if (bent != logit || a != 1.0F || filters)
        out->logq = (float)((double)(bent[token] * a) - rex_lse_log(all) - log_mass);
    return REX_OK;
}
