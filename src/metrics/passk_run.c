/* SPDX-License-Identifier: MIT
 *
 * passk_run.c: one file of scored samples, or two on the same prompts, to a table of values with
 * intervals. Statistics that follow from the count of right samples are redrawn on both levels;
 * cov, maj, best and avg by prompt (see bootstrap.c). A value that is the same bound for every
 * prompt leaves nothing to redraw: its interval is the exact binomial one, over prompts, or over
 * the samples of the only prompt.
 */
#include "metrics.h"

#include <math.h>
#include <string.h>

void rex_passk_defaults(rex_passk_opts *o) {
    *o = (rex_passk_opts){.size = sizeof *o, .draws = 2000};
}

/* Per-prompt values of one file. `plain` has the columns cov (not graded) or best and avg (graded),
 * then maj if there are answers, each for every k. */
typedef struct {
    rex_counts count;
    double *plain;      /* (n_prompts, plain_cols) */
    size_t plain_cols;
    bool maj, maj_exact;
    double *plain_se;   /* plain_cols, for a single prompt; else NULL */
} sheet;

typedef struct {
    const rex_scored *s;
    const rex_passk_opts *o;
    sheet *out;
    rex_arena **scratch; /* one per worker */
    rex_status *bad;     /* one per worker */
    bool *exact;         /* one per worker */
} job;

static size_t samples_of(const rex_scored *s, size_t g) { return s->first[g + 1] - s->first[g]; }

static rex_status check_scored(const rex_scored *s, const rex_passk_opts *o, rex_err *e) {
    if (o->n_k < 1) return rex_fail(e, REX_EARG, -1, "no k was given");
    if (o->draws < 100) return rex_fail(e, REX_EARG, -1, "at least 100 replicates are needed");
    for (size_t j = 0; j < o->n_k; j++)
        if (o->k[j] < 1)
            return rex_fail(e, REX_EARG, -1, "k = %lld: 1 or more is needed", (long long)o->k[j]);
    if (s->n_groups < 1) return rex_fail(e, REX_EFORMAT, -1, "no samples");
    if (s->n_groups > UINT32_MAX) return rex_fail(e, REX_ELIMIT, -1, "more than 2^32 prompts");
    for (size_t g = 0; g < s->n_groups; g++) {
        const size_t n = samples_of(s, g);
        const rex_str name = s->name ? s->name[g] : rex_str_of("?");
        for (size_t j = 0; j < o->n_k; j++)
            if ((uint64_t)o->k[j] > n)
                return rex_fail(e, REX_EFORMAT, (int64_t)g,
                                "k = %lld is above the %zu samples of prompt %.*s",
                                (long long)o->k[j], n, (int)(name.n < 200 ? name.n : 200), name.p);
        for (size_t i = s->first[g]; i < s->first[g + 1]; i++) {
            const double r = s->reward[i];
            if (!isfinite(r))
                return rex_fail(e, REX_ENAN, (int64_t)i,
                                "sample %zu of prompt %.*s: reward is not "
                                "finite",
                                i - s->first[g], (int)(name.n < 200 ? name.n : 200), name.p);
            if (!o->graded && r != 0.0 && r != 1.0)
                return rex_fail(e, REX_EFORMAT, (int64_t)i,
                                "sample %zu of prompt %.*s: reward %g is neither 0 nor 1 (graded "
                                "rewards have best and avg)", i - s->first[g],
                                (int)(name.n < 200 ? name.n : 200), name.p, r);
        }
    }
    return REX_OK;
}

static rex_status graded_prompt(rex_arena *a, const double *reward, size_t n,
                                const rex_passk_opts *o, double *row, rex_err *e) {
    uint32_t *const order = rex_arena_take(a, 2 * n, sizeof *order, e);
    double *const asc = order ? rex_arena_take(a, n, sizeof *asc, e) : NULL;
    if (!asc) return REX_ENOMEM;
    rex_sort_index(reward, n, order, order + n);
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        asc[i] = reward[order[i]];
        sum += reward[i] - reward[0];
    }
    for (size_t j = 0; j < o->n_k; j++) {
        row[j] = rex_best_sorted(asc, n, o->k[j]);
        row[o->n_k + j] = reward[0] + sum / (double)n;
    }
    return REX_OK;
}

/* Coverage of the first k samples, in the order in which they were drawn. */
static void cov_prompt(const double *reward, size_t n, const rex_passk_opts *o, double *row) {
    const size_t at = rex_first_correct(reward, NULL, n);
    for (size_t j = 0; j < o->n_k; j++) row[j] = at > 0 && at <= (size_t)o->k[j] ? 1.0 : 0.0;
}

static rex_status plain_prompt(rex_arena *a, const double *reward, const uint32_t *answer, size_t n,
                               uint64_t stream, const rex_passk_opts *o, double *row, bool *exact,
                               rex_err *e) {
    size_t at = o->n_k;
    if (o->graded) {
        at = 2 * o->n_k;
        REX_TRY(graded_prompt(a, reward, n, o, row, e));
    } else {
        cov_prompt(reward, n, o, row);
    }
    if (!answer) return REX_OK;
    bool *const flag = rex_arena_take(a, o->n_k, sizeof *flag, e);
    if (!flag) return REX_ENOMEM;
    REX_TRY(rex_majority(a, answer, reward, n, o->k, o->n_k, o->seed, stream, row + at, flag, e));
    for (size_t j = 0; j < o->n_k; j++) *exact = *exact && flag[j];
    return REX_OK;
}

static void plain_work(void *ud, size_t g, int worker) {
    job *const j = ud;
    rex_arena *const a = j->scratch[worker];
    const rex_mark m = rex_arena_mark(a);
    const size_t at = j->s->first[g];
    const uint64_t stream = j->s->stream ? j->s->stream[g] : g;
    const rex_status s = plain_prompt(
        a, j->s->reward + at, j->out->maj ? j->s->answer + at : NULL, samples_of(j->s, g), stream,
        j->o, j->out->plain + g * j->out->plain_cols, &j->exact[worker], NULL);
    if (s != REX_OK) j->bad[worker] = s;
    rex_arena_back(a, m);
}

/* The spread of a lone prompt's plain columns: its samples drawn with replacement, in row order so
 * that the tie rule keeps its meaning. */
static rex_status lone_spread(rex_arena *a, const rex_scored *s, const rex_passk_opts *o, sheet *t,
                              rex_err *e) {
    const size_t n = samples_of(s, 0), cols = t->plain_cols, rounds = 200;
    t->plain_se = rex_arena_zero(a, cols, sizeof *t->plain_se, e);
    double *const sum = t->plain_se ? rex_arena_zero(a, 2 * cols, sizeof *sum, e) : NULL;
    double *const row = sum ? rex_arena_take(a, cols, sizeof *row, e) : NULL;
    double *const reward = row ? rex_arena_take(a, n, sizeof *reward, e) : NULL;
    uint32_t *const answer = reward ? rex_arena_take(a, n, sizeof *answer, e) : NULL;
    uint32_t *const times = answer ? rex_arena_take(a, n, sizeof *times, e) : NULL;
    if (!times) return REX_ENOMEM;
    const rex_key key = rex_key_fold(rex_key_make(o->seed), REX_STREAM_BOOT);
    for (uint32_t r = 0; r < rounds; r++) {
        memset(times, 0, n * sizeof *times);
        for (size_t i = 0; i < n; i++)
            times[rex_rand_below(key, REX_STREAM_BOOT, (uint32_t)i, r, 1, n)]++;
        size_t at = 0;
        for (size_t i = 0; i < n; i++)
            for (uint32_t c = 0; c < times[i]; c++, at++) {
                reward[at] = s->reward[i];
                answer[at] = s->answer ? s->answer[i] : UINT32_MAX;
            }
        const rex_mark m = rex_arena_mark(a);
        bool exact = true;
        REX_TRY(plain_prompt(a, reward, t->maj ? answer : NULL, n, r, o, row, &exact, e));
        rex_arena_back(a, m);
        for (size_t c = 0; c < cols; c++) {
            sum[c] += row[c] - t->plain[c];
            sum[cols + c] += (row[c] - t->plain[c]) * (row[c] - t->plain[c]);
        }
    }
    for (size_t c = 0; c < cols; c++) {
        const double m = sum[c] / (double)rounds;
        t->plain_se[c] = sqrt(fmax(sum[cols + c] / (double)rounds - m * m, 0.0));
    }
    return REX_OK;
}

static rex_status plain_fill(rex_arena *a, rex_pool *p, const rex_scored *s,
                             const rex_passk_opts *o, sheet *t, rex_err *e) {
    const size_t workers = p ? (size_t)rex_pool_size(p) : 1;
    size_t cells;
    REX_TRY(rex_mul_size(s->n_groups, t->plain_cols, &cells, e));
    t->plain = rex_arena_take(a, cells, sizeof *t->plain, e);
    job j = {.s = s, .o = o, .out = t};
    j.scratch = t->plain ? rex_arena_zero(a, workers, sizeof *j.scratch, e) : NULL;
    j.bad = j.scratch ? rex_arena_zero(a, workers, sizeof *j.bad, e) : NULL;
    j.exact = j.bad ? rex_arena_take(a, workers, sizeof *j.exact, e) : NULL;
    if (!j.exact) return REX_ENOMEM;
    rex_status bad = REX_OK;
    for (size_t w = 0; w < workers && bad == REX_OK; w++) {
        j.exact[w] = true;
        bad = rex_arena_open(0, &j.scratch[w], e);
    }
    if (bad == REX_OK) rex_pool_run(p, s->n_groups, plain_work, &j);
    t->maj_exact = true;
    for (size_t w = 0; w < workers; w++) {
        rex_arena_close(j.scratch[w]);
        t->maj_exact = t->maj_exact && j.exact[w];
        if (bad == REX_OK && j.bad[w] != REX_OK)
            bad = rex_fail(e, j.bad[w], -1, "out of memory while scoring prompts");
    }
    if (bad == REX_OK && s->n_groups == 1) bad = lone_spread(a, s, o, t, e);
    return bad;
}

static rex_status sheet_fill(rex_arena *a, rex_pool *p, const rex_scored *s,
                             const rex_passk_opts *o, bool maj, sheet *t, rex_err *e) {
    *t = (sheet){.maj = maj};
    t->plain_cols = (o->graded ? 2 : 1) * o->n_k + (maj ? o->n_k : 0);
    REX_TRY(plain_fill(a, p, s, o, t, e));
    if (o->graded) return REX_OK;
    size_t *const n = rex_arena_take(a, s->n_groups, sizeof *n, e);
    size_t *const c = n ? rex_arena_zero(a, s->n_groups, sizeof *c, e) : NULL;
    if (!c) return REX_ENOMEM;
    for (size_t g = 0; g < s->n_groups; g++) {
        n[g] = samples_of(s, g);
        for (size_t i = s->first[g]; i < s->first[g + 1]; i++) c[g] += s->reward[i] == 1.0;
    }
    t->count = (rex_counts){.n_prompts = s->n_groups, .n = n, .c = c};
    return rex_counts_fill(a, o->k, o->n_k, &t->count, e);
}

/* ---- intervals of a block of columns ----------------------------------------------------- */

typedef struct {
    size_t n, cols;
    const double *v;      /* (n, cols) */
    const rex_counts *in[2];
    const double *se;     /* of a lone prompt, per column; NULL: from the redraw */
    const double *lo, *hi;
} block;

/* Mean, standard error and mean redraw variance of every column. The mean is the reported value and
 * is summed with its rounding errors carried along (Neumaier). */
static void block_moments(const block *b, double *mean, double *se, double *within) {
    for (size_t c = 0; c < b->cols; c++) {
        double sum = 0.0, lost = 0.0, var = 0.0, w = 0.0;
        for (size_t g = 0; g < b->n; g++) {
            const double x = b->v[g * b->cols + c], t = sum + x;
            lost += fabs(sum) >= fabs(x) ? (sum - t) + x : (x - t) + sum;
            sum = t;
        }
        mean[c] = (sum + lost) / (double)b->n;
        for (size_t g = 0; g < b->n; g++) {
            const double d = b->v[g * b->cols + c] - mean[c];
            var += d * d;
            for (int i = 0; i < 2; i++)
                if (b->in[i]) w += b->in[i]->var[g * b->cols + c];
        }
        within[c] = w / (double)b->n;
        se[c] = b->n > 1 ? sqrt(var / (double)(b->n - 1) / (double)b->n)
                         : (b->se ? b->se[c] : sqrt(within[c]));
    }
}

static rex_status block_intervals(rex_arena *a, rex_pool *p, const block *b,
                                  const rex_passk_opts *o, rex_interval *out, rex_err *e) {
    double *const mean = rex_arena_take(a, 3 * b->cols, sizeof *mean, e);
    if (!mean) return REX_ENOMEM;
    double *const se = mean + b->cols, *const within = se + b->cols;
    block_moments(b, mean, se, within);
    if (o->analytic || (b->n == 1 && !b->in[0]) || rex_boot_too_long(b->n, o->draws)) {
        for (size_t c = 0; c < b->cols; c++)
            out[c] = rex_normal_interval(mean[c], se[c], b->n, b->lo[c], b->hi[c]);
        return REX_OK;
    }
    const size_t draws = (size_t)o->draws;
    double *const rep = rex_arena_take(a, draws * b->cols, sizeof *rep, e);
    double *const one = rep ? rex_arena_take(a, draws, sizeof *one, e) : NULL;
    if (!one) return REX_ENOMEM;
    rex_boot boot = {.n = b->n, .cols = b->cols, .v = b->v, .seed = o->seed, .draws = o->draws};
    for (int i = 0; i < 2; i++)
        if (b->in[i]) {
            boot.in[i] = b->in[i]->law;
            boot.in_mean[i] = b->in[i]->mean;
            boot.in_var = within;
        }
    if (b->in[0] && !b->in[1]) boot.like = b->in[0]->like;
    REX_TRY(rex_boot_run(p, &boot, rep, e));
    const double widen = b->n > 1 ? rex_t_quantile(b->n - 1) / REX_Z95 : 1.0;
    for (size_t c = 0; c < b->cols; c++) {
        for (size_t d = 0; d < draws; d++) one[d] = rep[d * b->cols + c];
        out[c] = rex_boot_interval(one, draws, mean[c], se[c], widen, b->lo[c], b->hi[c]);
    }
    return REX_OK;
}

/* Every prompt gave exactly 0, or exactly 1: with P prompts of mean mu, P(all 1) <= mu^P. Of a lone
 * prompt the n samples speak: `hit` chances of k of them (pass has one of k, pow needs all). */
static void mend_bound(rex_interval *iv, size_t prompts, size_t n, int64_t k, bool any) {
    if (iv->value != 0.0 && iv->value != 1.0) return;
    if (prompts > 1) {
        const double low = rex_exp(rex_log(0.025) / (double)prompts);
        if (iv->value == 1.0) iv->low = fmin(iv->low, low);
        else iv->high = fmax(iv->high, 1.0 - low);
        return;
    }
    const double p_low = rex_exp(rex_log(0.025) / (double)n); /* all n right */
    const double all = rex_exp((double)k * rex_log(p_low));
    const double none = rex_exp((double)k * rex_log1p(-p_low));
    if (iv->value == 1.0) iv->low = fmin(iv->low, any ? 1.0 - none : all);
    else iv->high = fmax(iv->high, any ? 1.0 - all : none);
}

/* Solvable prompts alone: the mean is a ratio of sums over the drawn prompts. */
static rex_status solvable(rex_arena *a, rex_pool *p, const rex_counts *t, const rex_passk_opts *o,
                           rex_passk *out, rex_err *e) {
    const size_t col = t->cols - 1;
    double *const v = rex_arena_take(a, 2 * t->n_prompts, sizeof *v, e);
    double *const rep = v ? rex_arena_take(a, (size_t)o->draws, sizeof *rep, e) : NULL;
    if (!rep) return REX_ENOMEM;
    double *const w = v + t->n_prompts;
    double sum = 0.0, n_max = 0.0, var = 0.0;
    size_t m = 0, last = 0;
    for (size_t g = 0; g < t->n_prompts; g++) {
        v[g] = t->v[g * t->cols + col];
        w[g] = t->c[g] > 0 ? 1.0 : 0.0;
        n_max = fmax(n_max, (double)t->n[g]);
        if (t->c[g] == 0) continue;
        sum += v[g];
        last = g;
        m++;
    }
    out->solvable = m > 0;
    if (m == 0) return REX_OK;
    const double mean = sum / (double)m, lo = 1.0, hi = n_max + 1.0;
    for (size_t g = 0; g < t->n_prompts; g++) var += w[g] * (v[g] - mean) * (v[g] - mean);
    const double se = m > 1 ? sqrt(var / (double)(m - 1) / (double)m)
                            : sqrt(t->var[last * t->cols + col]);
    if (o->analytic || m == 1 || rex_boot_too_long(t->n_prompts, o->draws)) {
        out->s2c_solvable = rex_normal_interval(mean, se, m, lo, hi);
        return REX_OK;
    }
    const rex_boot b = {.n = t->n_prompts, .cols = 1, .v = v, .weight = w, .seed = o->seed,
                        .draws = o->draws};
    REX_TRY(rex_boot_run(p, &b, rep, e));
    const double widen = rex_t_quantile(m - 1) / REX_Z95 * sqrt((double)m / (double)(m - 1));
    out->s2c_solvable = rex_boot_interval(rep, (size_t)o->draws, mean, se, widen, lo, hi);
    return REX_OK;
}

static rex_status bounds(rex_arena *a, size_t cols, double lo, double hi, double **l, double **h,
                         rex_err *e) {
    *l = rex_arena_take(a, 2 * cols, sizeof **l, e);
    if (!*l) return REX_ENOMEM;
    *h = *l + cols;
    for (size_t c = 0; c < cols; c++) {
        (*l)[c] = lo;
        (*h)[c] = hi;
    }
    return REX_OK;
}

/* Hands the columns of the plain block to their names. */
static void name_plain(const rex_interval *iv, size_t n_k, bool maj, rex_passk *out) {
    if (out->graded) {
        out->best = iv;
        out->avg = iv + n_k;
        iv += n_k;
    } else {
        out->cov = iv;
    }
    if (maj) out->maj = iv + n_k;
}

static rex_status report(rex_arena *a, rex_pool *p, const block *count, const block *plain,
                         bool maj, const rex_passk_opts *o, rex_passk *out, rex_err *e) {
    rex_interval *const iv = rex_arena_take(a, plain->cols, sizeof *iv, e);
    if (!iv) return REX_ENOMEM;
    REX_TRY(block_intervals(a, p, plain, o, iv, e));
    name_plain(iv, o->n_k, maj, out);
    if (o->graded) return REX_OK;
    rex_interval *const cv = rex_arena_take(a, count->cols, sizeof *cv, e);
    if (!cv) return REX_ENOMEM;
    REX_TRY(block_intervals(a, p, count, o, cv, e));
    out->pass = cv;
    out->pow = cv + o->n_k;
    out->s2c_all = cv[2 * o->n_k];
    return REX_OK;
}

/* A k named twice counts once. */
static rex_status distinct_k(rex_arena *a, const rex_passk_opts *o, rex_passk_opts *out,
                             rex_err *e) {
    int64_t *const k = rex_arena_take(a, o->n_k, sizeof *k, e);
    if (!k) return REX_ENOMEM;
    *out = *o;
    out->k = k;
    out->n_k = 0;
    for (size_t i = 0; i < o->n_k; i++) {
        bool seen = false;
        for (size_t j = 0; j < out->n_k; j++) seen = seen || k[j] == o->k[i];
        if (!seen) k[out->n_k++] = o->k[i];
    }
    return REX_OK;
}

static bool has_answers(const rex_scored *s) {
    for (size_t i = 0; s->answer && i < s->first[s->n_groups]; i++)
        if (s->answer[i] != UINT32_MAX) return true;
    return false;
}

rex_status rex_passk_run(rex_arena *a, rex_pool *p, const rex_scored *s, const rex_passk_opts *opts,
                         rex_passk *out, rex_err *e) {
    REX_TRY(check_scored(s, opts, e));
    rex_passk_opts o;
    REX_TRY(distinct_k(a, opts, &o, e));
    sheet t;
    REX_TRY(sheet_fill(a, p, s, &o, has_answers(s), &t, e));
    *out = (rex_passk){.n_prompts = s->n_groups, .n_samples = s->first[s->n_groups], .k = o.k,
                       .n_k = o.n_k, .graded = o.graded, .maj_exact = t.maj && t.maj_exact};
    const double inf = INFINITY;
    double *lo = NULL, *hi = NULL, *plo = NULL, *phi = NULL;
    REX_TRY(bounds(a, t.plain_cols, o.graded ? -inf : 0.0, o.graded ? inf : 1.0, &plo, &phi, e));
    const block plain = {.n = s->n_groups, .cols = t.plain_cols, .v = t.plain, .se = t.plain_se,
                         .lo = plo, .hi = phi};
    block count = {.n = 0};
    if (!o.graded) {
        double n_max = 0.0;
        for (size_t g = 0; g < s->n_groups; g++) n_max = fmax(n_max, (double)samples_of(s, g));
        REX_TRY(bounds(a, t.count.cols, 0.0, 1.0, &lo, &hi, e));
        lo[t.count.cols - 1] = 1.0;
        hi[t.count.cols - 1] = n_max + 1.0;
        count = (block){.n = s->n_groups, .cols = t.count.cols, .v = t.count.v, .in = {&t.count},
                        .lo = lo, .hi = hi};
    }
    REX_TRY(report(a, p, &count, &plain, t.maj, &o, out, e));
    if (o.graded) return REX_OK;
    const size_t n = samples_of(s, 0);
    for (size_t j = 0; j < o.n_k; j++) {
        mend_bound((rex_interval *)&out->pass[j], s->n_groups, n, o.k[j], true);
        mend_bound((rex_interval *)&out->pow[j], s->n_groups, n, o.k[j], false);
        mend_bound((rex_interval *)&out->cov[j], s->n_groups, 1, 1, true);
        if (out->maj) mend_bound((rex_interval *)&out->maj[j], s->n_groups, 1, 1, true);
    }
    return solvable(a, p, &t.count, &o, out, e);
}

/* ---- two files on the same prompts ------------------------------------------------------- */

/* For every prompt of `s` its place in `vs` or SIZE_MAX; open addressing over the names of `vs`. */
static rex_status match(rex_arena *a, const rex_scored *s, const rex_scored *vs, size_t *at,
                        rex_err *e) {
    size_t room = 4;
    while (room < 2 * vs->n_groups) room *= 2;
    size_t *const slot = rex_arena_zero(a, room, sizeof *slot, e); /* prompt + 1 */
    if (!slot) return REX_ENOMEM;
    for (size_t g = 0; g < vs->n_groups; g++) {
        size_t i = (size_t)rex_hash64(vs->name[g].p, vs->name[g].n) & (room - 1);
        while (slot[i]) i = (i + 1) & (room - 1);
        slot[i] = g + 1;
    }
    for (size_t g = 0; g < s->n_groups; g++) {
        size_t i = (size_t)rex_hash64(s->name[g].p, s->name[g].n) & (room - 1);
        while (slot[i] && !rex_str_eq(vs->name[slot[i] - 1], s->name[g])) i = (i + 1) & (room - 1);
        at[g] = slot[i] ? slot[i] - 1 : SIZE_MAX;
    }
    return REX_OK;
}

/* The prompts `pick[0 .. n-1]` of `s`, in that order. */
static rex_status subset(rex_arena *a, const rex_scored *s, const size_t *pick, size_t n,
                         rex_scored *out, rex_err *e) {
    size_t rows = 0;
    for (size_t g = 0; g < n; g++) rows += samples_of(s, pick[g]);
    size_t *const first = rex_arena_take(a, n + 1, sizeof *first, e);
    rex_str *const name = first ? rex_arena_take(a, n, sizeof *name, e) : NULL;
    uint64_t *const stream = name ? rex_arena_take(a, n, sizeof *stream, e) : NULL;
    double *const reward = stream ? rex_arena_take(a, rows, sizeof *reward, e) : NULL;
    uint32_t *const answer = reward ? rex_arena_take(a, rows, sizeof *answer, e) : NULL;
    if (!answer) return REX_ENOMEM;
    first[0] = 0;
    for (size_t g = 0; g < n; g++) {
        const size_t from = s->first[pick[g]], len = samples_of(s, pick[g]);
        first[g + 1] = first[g] + len;
        name[g] = s->name[pick[g]];
        stream[g] = s->stream ? s->stream[pick[g]] : pick[g];
        memcpy(reward + first[g], s->reward + from, len * sizeof *reward);
        if (s->answer) memcpy(answer + first[g], s->answer + from, len * sizeof *answer);
    }
    *out = (rex_scored){.n_groups = n, .first = first, .name = name, .stream = stream,
                        .reward = reward, .answer = s->answer ? answer : NULL};
    return REX_OK;
}

static rex_status minus(rex_arena *a, const double *x, const double *y, size_t n, double **out,
                        rex_err *e) {
    *out = rex_arena_take(a, n, sizeof **out, e);
    if (!*out) return REX_ENOMEM;
    for (size_t i = 0; i < n; i++) (*out)[i] = x[i] - y[i];
    return REX_OK;
}

/* The differences of two sheets of the same prompts. A lone prompt's columns add their variances.
 */
static rex_status vs_report(rex_arena *a, rex_pool *p, const sheet *x, const sheet *y, size_t n,
                            bool maj, const rex_passk_opts *o, rex_passk *out, rex_err *e) {
    block plain = {.n = n, .cols = x->plain_cols}, count = {.n = n, .cols = x->count.cols};
    double *lo = NULL, *hi = NULL, *clo = NULL, *chi = NULL, *d = NULL, *se = NULL;
    const double far = o->graded ? INFINITY : 1.0;
    REX_TRY(minus(a, x->plain, y->plain, n * plain.cols, &d, e));
    REX_TRY(bounds(a, plain.cols, -far, far, &lo, &hi, e));
    plain.v = d;
    plain.lo = lo;
    plain.hi = hi;
    if (n == 1) {
        se = rex_arena_take(a, plain.cols, sizeof *se, e);
        if (!se) return REX_ENOMEM;
        for (size_t c = 0; c < plain.cols; c++)
            se[c] = sqrt(x->plain_se[c] * x->plain_se[c] + y->plain_se[c] * y->plain_se[c]);
        plain.se = se;
    }
    if (!o->graded) {
        REX_TRY(minus(a, x->count.v, y->count.v, n * count.cols, &d, e));
        REX_TRY(bounds(a, count.cols, -1.0, 1.0, &clo, &chi, e));
        clo[count.cols - 1] = -INFINITY;
        chi[count.cols - 1] = INFINITY;
        count.v = d;
        count.lo = clo;
        count.hi = chi;
        count.in[0] = &x->count;
        count.in[1] = &y->count;
    }
    return report(a, p, &count, &plain, maj, o, out, e);
}

rex_status rex_passk_vs(rex_arena *a, rex_pool *p, const rex_scored *s, const rex_scored *vs,
                        const rex_passk_opts *opts, rex_passk *out, rex_err *e) {
    if (!s->name || !vs->name)
        return rex_fail(e, REX_EARG, -1, "prompts without names cannot be paired");
    size_t *const at = rex_arena_take(a, s->n_groups, sizeof *at, e);
    size_t *const mine = at ? rex_arena_take(a, s->n_groups, sizeof *mine, e) : NULL;
    if (!mine) return REX_ENOMEM;
    REX_TRY(match(a, s, vs, at, e));
    size_t n = 0;
    for (size_t g = 0; g < s->n_groups; g++) {
        if (at[g] == SIZE_MAX) continue;
        at[n] = at[g];
        mine[n++] = g;
    }
    if (n == 0) return rex_fail(e, REX_EFORMAT, -1, "the two files have no prompt in common");
    rex_scored x, y;
    REX_TRY(subset(a, s, mine, n, &x, e));
    REX_TRY(subset(a, vs, at, n, &y, e));
    REX_TRY(check_scored(&x, opts, e));
    REX_TRY(check_scored(&y, opts, e));
    rex_passk_opts o;
    REX_TRY(distinct_k(a, opts, &o, e));
    const bool maj = has_answers(&x) && has_answers(&y);
    sheet tx, ty;
    REX_TRY(sheet_fill(a, p, &x, &o, maj, &tx, e));
    REX_TRY(sheet_fill(a, p, &y, &o, maj, &ty, e));
    *out = (rex_passk){.n_prompts = n, .n_samples = x.first[n] + y.first[n], .k = o.k, .n_k = o.n_k,
                       .graded = o.graded, .diff = true,
                       .maj_exact = maj && tx.maj_exact && ty.maj_exact};
    return vs_report(a, p, &tx, &ty, n, maj, &o, out, e);
}

/* ---- the object of `repexp passk` -------------------------------------------------------------
 */

static void put_interval(rex_jw *w, const rex_interval *iv, bool diff) {
    rex_jw_obj(w);
    rex_jw_key(w, diff ? "diff" : "value");
    rex_jw_f64(w, iv->value);
    rex_jw_key(w, "low");
    rex_jw_f64(w, iv->low);
    rex_jw_key(w, "high");
    rex_jw_f64(w, iv->high);
    if (diff) {
        rex_jw_key(w, "p");
        rex_jw_f64(w, iv->p);
    }
    rex_jw_key(w, "se");
    rex_jw_f64(w, iv->se);
    rex_jw_obj_end(w);
}

static void put_by_k(rex_jw *w, const char *name, const rex_passk *p, const rex_interval *iv) {
    if (!iv) return;
    rex_jw_key(w, name);
    rex_jw_obj(w);
    for (size_t j = 0; j < p->n_k; j++) {
        char key[24];
        size_t at = sizeof key; /* decimal, from its end */
        key[--at] = '\0';
        for (int64_t k = p->k[j]; k > 0; k /= 10) key[--at] = (char)('0' + k % 10);
        rex_jw_key(w, key + at);
        put_interval(w, &iv[j], p->diff);
    }
    rex_jw_obj_end(w);
}

static void put_passk(rex_jw *w, const rex_passk *p) {
    rex_jw_key(w, "n_prompts");
    rex_jw_i64(w, (int64_t)p->n_prompts);
    rex_jw_key(w, "n_samples");
    rex_jw_i64(w, (int64_t)p->n_samples);
    if (p->n_dropped > 0) {
        rex_jw_key(w, "n_dropped");
        rex_jw_i64(w, (int64_t)p->n_dropped);
    }
    put_by_k(w, "pass", p, p->pass);
    put_by_k(w, "pow", p, p->pow);
    put_by_k(w, "best", p, p->best);
    put_by_k(w, "avg", p, p->avg);
    put_by_k(w, "maj", p, p->maj);
    if (p->maj) {
        rex_jw_key(w, "maj_exact");
        rex_jw_bool(w, p->maj_exact);
    }
    put_by_k(w, "cov", p, p->cov);
    if (p->graded) return;
    rex_jw_key(w, "samples_to_correct");
    rex_jw_obj(w);
    if (!p->diff) {
        rex_jw_key(w, "solvable");
        if (p->solvable) put_interval(w, &p->s2c_solvable, false);
        else rex_jw_null(w);
    }
    rex_jw_key(w, "all");
    put_interval(w, &p->s2c_all, p->diff);
    rex_jw_obj_end(w);
}

rex_status rex_passk_json(rex_arena *a, const rex_passk *p, const rex_passk *vs, rex_str *out,
                          rex_err *e) {
    rex_buf b;
    rex_buf_init(&b, 0);
    rex_jw w;
    rex_jw_init(&w, &b);
    rex_jw_obj(&w);
    put_passk(&w, p);
    if (vs) {
        rex_jw_key(&w, "vs");
        rex_jw_obj(&w);
        put_passk(&w, vs);
        rex_jw_obj_end(&w);
    }
    rex_jw_obj_end(&w);
    rex_status s = rex_buf_check(&b, e);
    if (s == REX_OK) s = rex_str_copy(a, (rex_str){b.p, b.n}, out, e);
    rex_buf_free(&b);
    return s;
}
