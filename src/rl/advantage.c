/* SPDX-License-Identifier: MIT
 *
 * advantage.c: the registry of advantages. Rewards (and bonuses, likelihoods, entropies) in, one
 * advantage per sample out; nothing is kept, so the command line and the trainer say the same.
 *
 * Order of things: the verifier's reward decides the gates and every check; then the reward is
 * alpha * reward + beta * gated bonus, unless the bonus is added to the finished advantage; then
 * the kind. Kinds that are defined on right and wrong read the verifier's reward alone. Means are
 * taken of differences to the first reward, so that a group of equal rewards has advantage exactly
 * 0. Sources of the formulas: docs/methods.md, section "Advantages".
 */
#include "rl.h"

#include "../metrics/metrics.h"

#include <math.h>
#include <string.h>

enum { BINARY = 1, ALONE = 2, K_BELOW = 4 }; /* right and wrong only; takes n = 1; needs k < n */

static unsigned traits_of(rex_adv_kind kind) {
    switch (kind) {
    case REX_ADV_GRPO:
    case REX_ADV_DR_GRPO:
    case REX_ADV_REINFORCE: return ALONE;
    case REX_ADV_PASSK:
    case REX_ADV_PASSK_FULL:
    case REX_ADV_PASSK_BOOT:
    case REX_ADV_EXCEED:
    case REX_ADV_COMBINED:
    case REX_ADV_ADAPTIVE: return BINARY | K_BELOW;
    case REX_ADV_PASSK_GENERAL:
    case REX_ADV_PKPO_LOO: return K_BELOW;
    case REX_ADV_UNLIKELINESS: return BINARY;
    case REX_ADV_NSR:
    case REX_ADV_W_REINFORCE: return BINARY | ALONE;
    default: return 0;
    }
}

static const struct {
    const char *name;
    bool k;
} kinds[] = {
#define X(ID, name, k, text) {name, k},
    REX_ADVANTAGES(X)
#undef X
};

void rex_adv_defaults(rex_adv_opts *o) {
    *o = (rex_adv_opts){.size = sizeof *o, .kind = REX_ADV_GRPO, .alpha = 1.0, .gate_none = true,
                        .rank_weight = 0.25};
}

const char *rex_adv_name(rex_adv_kind kind) {
    return (unsigned)kind < REX_ADV_COUNT ? kinds[kind].name : "?";
}

bool rex_adv_binary(rex_adv_kind kind) { return (traits_of(kind) & BINARY) != 0; }

uint32_t rex_adv_reads(rex_adv_kind kind) {
    if (kind == REX_ADV_UNLIKELINESS) return REX_F(LOGPROB);
    if (kind == REX_ADV_ADAPTIVE) return REX_F(ENTROPY);
    return 0;
}

rex_status rex_adv_find(const char *name, rex_adv_kind *out, rex_err *e) {
    const char *names[REX_ADV_COUNT];
    for (int i = 0; i < REX_ADV_COUNT; i++) {
        names[i] = kinds[i].name;
        if (strcmp(name, names[i]) == 0) {
            *out = (rex_adv_kind)i;
            return REX_OK;
        }
    }
    const char *const near = rex_nearest(name, names, REX_ADV_COUNT);
    if (near)
        return rex_fail(e, REX_EARG, -1, "no advantage is called %s; did you mean %s?", name, near);
    return rex_fail(e, REX_EARG, -1, "no advantage is called %s", name);
}

/* ---- checks -----------------------------------------------------------------------------------
 */

typedef struct {
    const rex_scored *s;
    const rex_adv_opts *o;
    unsigned traits;
    double *r;     /* what the kind sees, per sample */
    double *extra; /* gated bonus, per sample; NULL without one */
    double *adv;
    uint32_t *order, *tmp; /* room for the largest group */
    double *w;             /* twice that */
    size_t n_max;
} job;

static size_t size_of(const rex_scored *s, size_t g) { return s->first[g + 1] - s->first[g]; }

static rex_str name_of(const rex_scored *s, size_t g) {
    rex_str name = s->name ? s->name[g] : rex_str_of("?");
    if (name.n > 200) name.n = 200;
    return name;
}

/* What no data could make right. */
static rex_status check_opts(const rex_adv_opts *o, rex_err *e) {
    if ((unsigned)o->kind >= REX_ADV_COUNT) return rex_fail(e, REX_EARG, -1, "no such advantage");
    const char *const name = kinds[o->kind].name;
    if (kinds[o->kind].k) {
        if (o->k == 0) return rex_fail(e, REX_EARG, -1, "%s needs a k", name);
        if (o->k < 1) return rex_fail(e, REX_EARG, -1, "%s: k = %lld: 1 or more is needed", name,
                                      (long long)o->k);
        if (o->kind == REX_ADV_PKPO && o->k == 1)
            return rex_fail(e, REX_EARG, -1, "pkpo needs k of 2 or more; its k = 1 is rloo");
    }
    if (!isfinite(o->alpha) || !isfinite(o->beta) || !isfinite(o->rank_weight))
        return rex_fail(e, REX_EARG, -1, "%s: alpha and beta must be finite", name);
    if (rex_adv_binary(o->kind) && o->beta != 0.0 && !o->bonus_late)
        return rex_fail(e, REX_EARG, -1,
                        "%s is defined on right and wrong alone: a bonus can only be "
                        "added at the advantage",
                        name);
    return REX_OK;
}

static rex_status check_column(const job *j, const double *v, const char *what, rex_err *e) {
    const char *const kind = kinds[j->o->kind].name;
    if (j->s->n_groups == 0) return REX_OK;
    if (!v) return rex_fail(e, REX_EFORMAT, -1, "%s needs %s of every sample", kind, what);
    for (size_t g = 0; g < j->s->n_groups; g++)
        for (size_t i = j->s->first[g]; i < j->s->first[g + 1]; i++)
            if (!isfinite(v[i])) {
                const rex_str name = name_of(j->s, g);
                return rex_fail(e, REX_EFORMAT, (int64_t)i,
                                "%s needs %s of every sample: sample %zu of prompt %.*s has none",
                                kind, what, i - j->s->first[g], (int)name.n, name.p);
            }
    return REX_OK;
}

static rex_status check_group(const job *j, size_t g, rex_err *e) {
    const rex_adv_opts *const o = j->o;
    const char *const kind = kinds[o->kind].name;
    const size_t n = size_of(j->s, g);
    const rex_str name = name_of(j->s, g);
    if (n == 0)
        return rex_fail(e, REX_EFORMAT, (int64_t)g, "prompt %.*s has no samples", (int)name.n,
                        name.p);
    if (n == 1 && !(j->traits & ALONE))
        return rex_fail(e, REX_EFORMAT, (int64_t)g,
                        "%s needs two samples or more: prompt %.*s has one", kind, (int)name.n,
                        name.p);
    const bool below = (j->traits & K_BELOW) != 0;
    if (kinds[o->kind].k && (below ? (uint64_t)o->k >= n : (uint64_t)o->k > n))
        return rex_fail(e, REX_EFORMAT, (int64_t)g,
                        "%s needs k %s the number of samples: k = %lld, "
                        "prompt %.*s has %zu",
                        kind, below ? "below" : "of at most", (long long)o->k, (int)name.n, name.p,
                        n);
    for (size_t i = j->s->first[g]; i < j->s->first[g + 1]; i++) {
        const double r = j->s->reward[i];
        if (!isfinite(r))
            return rex_fail(e, REX_ENAN, (int64_t)i,
                            "sample %zu of prompt %.*s: reward is not finite", i - j->s->first[g],
                            (int)name.n, name.p);
        if ((j->traits & BINARY) && r != 0.0 && r != 1.0)
            return rex_fail(e, REX_EFORMAT, (int64_t)i,
                            "%s is defined on right and wrong alone: sample "
                            "%zu of prompt %.*s has reward %g",
                            kind, i - j->s->first[g], (int)name.n, name.p, r);
    }
    return REX_OK;
}

/* ---- bonus -------------------------------------------------------------------------------------
 */

/* The gates look at the verifier's rewards, one prompt at a time, in this order. */
static void gate(const rex_adv_opts *o, const double *r, size_t n, double *bonus) {
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        sum += r[i];
        if (o->gate_incorrect && r[i] == 0.0) bonus[i] = 0.0;
    }
    const bool none = sum == 0.0, all = sum == (double)n, some = sum > 0.0 && sum < (double)n;
    if ((o->gate_none && none) || (o->gate_some && some) || (o->gate_all && all))
        for (size_t i = 0; i < n; i++) bonus[i] = 0.0;
}

static void mix(const job *j) {
    const rex_scored *const s = j->s;
    const rex_adv_opts *const o = j->o;
    const bool binary = (j->traits & BINARY) != 0;
    for (size_t g = 0; g < s->n_groups; g++) {
        const size_t at = s->first[g], n = size_of(s, g);
        if (j->extra) {
            memcpy(j->extra + at, s->bonus + at, n * sizeof *j->extra);
            gate(o, s->reward + at, n, j->extra + at);
        }
        for (size_t i = at; i < at + n; i++) {
            j->r[i] = binary ? s->reward[i] : o->alpha * s->reward[i];
            if (j->extra && !o->bonus_late) j->r[i] += o->beta * j->extra[i];
        }
    }
}

/* ---- kinds of the GRPO family
 * -------------------------------------------------------------------- */

typedef struct {
    double mean, ss; /* ss: sum of squared deviations */
} moments;

static moments moments_of(const double *r, size_t n) {
    double shift = 0.0, ss = 0.0;
    for (size_t i = 0; i < n; i++) shift += r[i] - r[0];
    shift /= (double)n;
    for (size_t i = 0; i < n; i++) ss += (r[i] - r[0] - shift) * (r[i] - r[0] - shift);
    return (moments){r[0] + shift, ss};
}

/* r - mean, exactly 0 where all are equal. */
static void centre(const double *r, double *adv, size_t n) {
    double shift = 0.0;
    for (size_t i = 0; i < n; i++) shift += r[i] - r[0];
    shift /= (double)n;
    for (size_t i = 0; i < n; i++) adv[i] = (r[i] - r[0]) - shift;
}

static double divisor(rex_adv_std std, const double *r, size_t n) {
    if (std == REX_STD_NONE) return 1.0;
    const double ss = moments_of(r, n).ss;
    return sqrt(ss / (double)(std == REX_STD_POPULATION ? n : n - 1)) + 1e-6;
}

/* One sample has mean 0 and deviation 1, by convention. */
static void grpo(const double *r, double *adv, size_t n, rex_adv_std std) {
    if (std == REX_STD_DEFAULT) std = REX_STD_SAMPLE;
    if (n == 1) {
        adv[0] = std == REX_STD_NONE ? r[0] : r[0] / (1.0 + 1e-6);
        return;
    }
    centre(r, adv, n);
    const double by = divisor(std, r, n);
    for (size_t i = 0; i < n; i++) adv[i] /= by;
}

/* Over the whole file: r itself, or what is left of it after its group's mean. */
static void whole_file(const job *j, bool baseline) {
    const size_t n = j->s->first[j->s->n_groups];
    if (n == 0) return;
    if (!baseline) {
        centre(j->r, j->adv, n);
    } else {
        for (size_t g = 0; g < j->s->n_groups; g++)
            centre(j->r + j->s->first[g], j->adv + j->s->first[g], size_of(j->s, g));
    }
    const double std = sqrt(moments_of(j->adv, n).ss / (double)n) + 1e-8;
    for (size_t i = 0; i < n; i++) j->adv[i] /= std;
}

static void best_minus_second(const double *r, double *adv, size_t n, rex_adv_std std) {
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (r[i] > r[best]) best = i;
    double second = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        adv[i] = 0.0;
        if (i != best && r[i] > second) second = r[i];
    }
    if (std == REX_STD_DEFAULT) std = REX_STD_NONE;
    adv[best] = (r[best] - second) / divisor(std, r, n);
}

/* Rank by mean log-probability over all samples, right and wrong, ties by index; the rarest right
 * one keeps its whole reward in the form published as code, and pays 1/n less in the printed one.
 */
static void unlikeliness(const job *j, size_t at, size_t n) {
    const double *const l = j->s->logp_mean + at;
    rex_sort_index(l, n, j->order, j->tmp);
    for (size_t asc = 0; asc < n; asc++) {
        const size_t i = j->order[asc];
        const double rank = (double)(j->o->paper_form ? asc + 1 : asc) / (double)n;
        j->w[i] = j->o->alpha * j->s->reward[at + i] * (1.0 - j->o->rank_weight * rank);
    }
    grpo(j->w, j->adv + at, n, j->o->std);
}

/* ---- Pass@k training
 * ------------------------------------------------------------------------------- */

typedef struct {
    double pos, neg;
} signs;

/* q = P(no right one among k): A_pos = sqrt(q/(1-q)), A_neg = -(c/(n-c)) A_pos; all zero where the
 * deviation is: no right one, or fewer than k wrong ones. */
static signs analytic(size_t n, size_t c, int64_t k) {
    if (c == 0 || n - c < (size_t)k) return (signs){0.0, 0.0};
    const double q = rex_miss_at_k((int64_t)n, (int64_t)c, k);
    const double pos = sqrt(q / (1.0 - q));
    return (signs){pos, -((double)c / (double)(n - c)) * pos};
}

static size_t count_right(const double *r, size_t n) {
    size_t c = 0;
    for (size_t i = 0; i < n; i++) c += r[i] == 1.0;
    return c;
}

static void passk_family(const double *r, double *adv, size_t n, const rex_adv_opts *o,
                         rex_adv_kind kind) {
    const size_t c = count_right(r, n);
    signs a = analytic(n, c, o->k);
    if (kind == REX_ADV_EXCEED && c > 0) {
        const double f = 4.0 / (10.0 * rex_log((double)c + 0.5));
        a.pos *= f;
        a.neg *= f;
    }
    if (kind == REX_ADV_COMBINED) {
        const double share = (double)c / (double)n;
        const signs one = analytic(n, c, 1);
        a.pos = share * a.pos + (1.0 - share) * one.pos;
        a.neg = share * a.neg + (1.0 - share) * one.neg;
    }
    for (size_t i = 0; i < n; i++) adv[i] = r[i] == 1.0 ? a.pos : a.neg;
}

/* (reward of the group - mean) / population deviation, 0 where that is 0. `hits` of `groups` are 1.
 */
static signs group_values(size_t hits, size_t groups) {
    if (hits == 0 || hits == groups) return (signs){0.0, 0.0};
    const double p = (double)hits / (double)groups, std = sqrt(p * (1.0 - p));
    return (signs){(1.0 - p) / std, -p / std};
}

/* Groups of k in order; what is left over at the end gets 0. */
static void passk_full(const double *r, double *adv, size_t n, int64_t k) {
    const size_t size = (size_t)k, groups = n / size;
    size_t hits = 0;
    for (size_t j = 0; j < groups; j++) hits += count_right(r + j * size, size) > 0;
    const signs a = group_values(hits, groups);
    for (size_t i = 0; i < n; i++) adv[i] = 0.0;
    for (size_t j = 0; j < groups; j++) {
        const double x = count_right(r + j * size, size) > 0 ? a.pos : a.neg;
        for (size_t i = 0; i < size; i++) adv[j * size + i] = x;
    }
}

/* n groups of k distinct samples each, by the first k steps of a shuffle; a draw is named by
 * (seed; step, group, prompt). Twice over: first the hits, then the sums. */
static void passk_boot(const job *j, size_t g) {
    const size_t at = j->s->first[g], n = size_of(j->s, g), k = (size_t)j->o->k;
    const double *const r = j->r + at;
    double *const adv = j->adv + at;
    const uint64_t stream = j->s->stream ? j->s->stream[g] : g;
    const rex_key key = rex_key_make(j->o->seed);
    signs a = {0.0, 0.0};
    size_t hits = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < n; i++) {
            j->order[i] = (uint32_t)i;
            if (pass == 1) adv[i] = 0.0;
        }
        for (size_t q = 0; q < n; q++) {
            bool hit = false;
            for (size_t i = 0; i < k; i++) {
                const size_t d = i + (size_t)rex_rand_below(key, REX_STREAM_GROUP, (uint32_t)i,
                                                            (uint32_t)q, stream, n - i);
                const uint32_t row = j->order[d];
                j->order[d] = j->order[i];
                j->order[i] = row;
                hit = hit || r[row] == 1.0;
            }
            if (pass == 0) hits += hit;
            else
                for (size_t i = 0; i < k; i++) adv[j->order[i]] += hit ? a.pos : a.neg;
        }
        a = group_values(hits, n);
    }
    if (j->o->group_mean)
        for (size_t i = 0; i < n; i++) adv[i] /= (double)k;
}

/* Prompts by their entropy, high first, ties by index: the upper half explores and takes Pass@1,
 * the middle one of an odd number goes with the lower half. */
static rex_status adaptive(const job *j, rex_arena *a, rex_err *e) {
    const size_t n = j->s->n_groups;
    double *const low_first = rex_arena_take(a, n, sizeof *low_first, e);
    uint32_t *const order = low_first ? rex_arena_take(a, 2 * n, sizeof *order, e) : NULL;
    if (!order) return REX_ENOMEM;
    for (size_t g = 0; g < n; g++) {
        double sum = 0.0;
        for (size_t i = j->s->first[g]; i < j->s->first[g + 1]; i++) sum += j->s->entropy[i];
        low_first[g] = -sum / (double)size_of(j->s, g);
    }
    rex_sort_index(low_first, n, order, order + n);
    for (size_t i = 0; i < n; i++) {
        const size_t g = order[i], at = j->s->first[g];
        rex_adv_opts o = *j->o;
        if (i < n / 2) o.k = 1;
        passk_family(j->r + at, j->adv + at, size_of(j->s, g), &o, REX_ADV_PASSK);
    }
    return REX_OK;
}

/* ---- the main act
 * ----------------------------------------------------------------------------------- */

static void one_group(const job *j, size_t g) {
    const rex_adv_opts *const o = j->o;
    const size_t at = j->s->first[g], n = size_of(j->s, g);
    const double *const r = j->r + at;
    double *const adv = j->adv + at;
    switch (o->kind) {
    case REX_ADV_GRPO: grpo(r, adv, n, o->std); break;
    case REX_ADV_DR_GRPO: centre(r, adv, n); break;
    case REX_ADV_RLOO:
        centre(r, adv, n);
        for (size_t i = 0; i < n; i++) adv[i] *= (double)n / (double)(n - 1);
        break;
    case REX_ADV_PASSK:
    case REX_ADV_EXCEED:
    case REX_ADV_COMBINED: passk_family(r, adv, n, o, o->kind); break;
    case REX_ADV_PASSK_FULL: passk_full(r, adv, n, o->k); break;
    case REX_ADV_PASSK_BOOT: passk_boot(j, g); break;
    case REX_ADV_PASSK_GENERAL:
    case REX_ADV_PKPO:
    case REX_ADV_PKPO_S:
    case REX_ADV_PKPO_LOO:
        rex_adv_pkpo((rex_adv_group){r, adv, n, o->k}, o->kind, j->order, j->tmp, j->w);
        break;
    case REX_ADV_BEST_SECOND: best_minus_second(r, adv, n, o->std); break;
    case REX_ADV_UNLIKELINESS: unlikeliness(j, at, n); break;
    case REX_ADV_NSR:
    case REX_ADV_W_REINFORCE:
        for (size_t i = 0; i < n; i++)
            adv[i] = r[i] == 1.0 ? (o->kind == REX_ADV_NSR ? 0.0 : 0.1) : -1.0;
        break;
    default: rex_die(__FILE__, __LINE__, "a kind without a case");
    }
}

static rex_status check_all(job *j, rex_err *e) {
    REX_TRY(check_opts(j->o, e));
    j->traits = traits_of(j->o->kind);
    for (size_t g = 0; g < j->s->n_groups; g++) {
        REX_TRY(check_group(j, g, e));
        if (size_of(j->s, g) > j->n_max) j->n_max = size_of(j->s, g);
    }
    if (j->n_max >= UINT32_MAX)
        return rex_fail(e, REX_ELIMIT, -1, "more than 2^32 samples of a prompt");
    if (j->o->kind == REX_ADV_UNLIKELINESS)
        REX_TRY(check_column(j, j->s->logp_mean, "the mean log-probability", e));
    if (j->o->kind == REX_ADV_ADAPTIVE) REX_TRY(check_column(j, j->s->entropy, "the entropy", e));
    if (j->o->beta != 0.0) REX_TRY(check_column(j, j->s->bonus, "bonus_raw", e));
    return REX_OK;
}

static rex_status run(rex_arena *a, job *j, rex_err *e) {
    const size_t rows = j->s->first[j->s->n_groups];
    j->r = rex_arena_take(a, rows, sizeof *j->r, e);
    j->order = j->r ? rex_arena_take(a, 2 * j->n_max, sizeof *j->order, e) : NULL;
    j->w = j->order ? rex_arena_take(a, 2 * j->n_max, sizeof *j->w, e) : NULL;
    if (!j->w) return REX_ENOMEM;
    j->tmp = j->order + j->n_max;
    if (j->o->beta != 0.0) {
        j->extra = rex_arena_take(a, rows, sizeof *j->extra, e);
        if (!j->extra) return REX_ENOMEM;
    }
    mix(j);
    if (j->o->kind == REX_ADV_REINFORCE || j->o->kind == REX_ADV_REINFORCE_BASE)
        whole_file(j, j->o->kind == REX_ADV_REINFORCE_BASE);
    else if (j->o->kind == REX_ADV_ADAPTIVE)
        REX_TRY(adaptive(j, a, e));
    else
        for (size_t g = 0; g < j->s->n_groups; g++) one_group(j, g);
    if (j->extra && j->o->bonus_late)
        for (size_t i = 0; i < rows; i++) j->adv[i] += j->o->beta * j->extra[i];
    for (size_t i = 0; i < rows; i++)
        if (!isfinite(j->adv[i]))
            return rex_fail(e, REX_ENAN, (int64_t)i,
                            "the rewards are too large: an advantage is not finite");
    return REX_OK;
}

rex_status rex_advantage_run(const rex_scored *s, const rex_adv_opts *o, double *adv, rex_err *e) {
    job j = {.s = s, .o = o, .adv = adv};
    REX_TRY(check_all(&j, e));
    if (s->n_groups == 0) return REX_OK;
    rex_arena *a = NULL;
    REX_TRY(rex_arena_open(0, &a, e));
    const rex_status st = run(a, &j, e);
    rex_arena_close(a);
    return st;
}
