/* SPDX-License-Identifier: MIT
 *
 * bootstrap.c: intervals over prompts and samples.
 *
 * Two levels: prompts are drawn with replacement, and within a drawn prompt its count of right
 * samples is redrawn, c* ~ Binomial(n, c/n). Done naively this is wrong twice. The redrawn unbiased
 * estimate is centred on the biased plug-in 1-(1-c/n)^k, so each prompt's redraw enters as its
 * deviation from its own mean. And the values of prompts already scatter by their sampling error,
 * which the second level would count again, so the first level is shrunk towards the mean until
 * both together have the variance S^2/P of a mean of P independent prompts (Davison and Hinkley
 * 1997, section 3.8, in its shrunken form). With one prompt there is no first level and the
 * interval speaks of that prompt alone. What cannot be redrawn from a count (majority, graded
 * rewards) is drawn by prompt, whose variance is S^2/P by itself.
 *
 * The interval is the percentile interval, widened about the value by t/z for few prompts (the
 * "expanded percentile" of Hesterberg 2015). A replicate names its draws (seed; prompt, replicate),
 * so the number of workers changes nothing.
 */
#include "metrics.h"

#include <math.h>
#include <string.h>

#define REX_BOOT_WORK 25000000.0 /* prompt draws beyond which normal theory is as good and taken */

double rex_t_quantile(size_t df) {
    static const double t[] = {
        12.7062047362, 4.30265272975, 3.18244630528, 2.7764451052,  2.57058183564, 2.44691185114,
        2.36462425159, 2.3060041352,  2.26215716280, 2.22813885199, 2.20098516009, 2.17881282967,
        2.16036865646, 2.14478668792, 2.13144954556, 2.11990529922, 2.10981557783, 2.10092204024,
        2.09302405441, 2.08596344727, 2.07961384473, 2.07387306790, 2.06865761042, 2.06389856163,
        2.05953855275, 2.05552943864, 2.05183051648, 2.04840714180, 2.04522964213, 2.04227245630};
    rex_assert(df >= 1);
    if (df <= sizeof t / sizeof *t) return t[df - 1];
    /* Cornish and Fisher's expansion in 1/df; below 1e-7 off from here on */
    const double z = REX_Z95, z2 = z * z, d = 1.0 / (double)df;
    const double g1 = z * (z2 + 1.0) / 4.0;
    const double g2 = z * ((5.0 * z2 + 16.0) * z2 + 3.0) / 96.0;
    const double g3 = z * (((3.0 * z2 + 19.0) * z2 + 17.0) * z2 - 15.0) / 384.0;
    const double g4 =
        z * ((((79.0 * z2 + 776.0) * z2 + 1482.0) * z2 - 1920.0) * z2 - 945.0) / 92160.0;
    return z + d * (g1 + d * (g2 + d * (g3 + d * g4)));
}

typedef struct {
    const rex_boot *b;
    rex_key key;
    double *base;  /* (n, cols): what a drawn prompt brings before its redraw */
    double *centre; /* cols: the mean of the values */
    double *rep;
} job;

/* One column of the alias table by one word: the high part is the column, the low part the coin. */
static size_t alias_draw(const rex_within *in, uint32_t word) {
    const uint64_t x = (uint64_t)word * (in->n + 1);
    const uint64_t cell = in->alias[x >> 32];
    return (uint32_t)x < (uint32_t)(cell >> 32) ? (size_t)(x >> 32) : (size_t)(uint32_t)cell;
}

/* The words of a replicate, four to a counter: word w of replicate d has the name (d; w). */
typedef struct {
    rex_key key;
    uint32_t item;
    uint64_t at;
    rex_u32x4 four;
} words;

static inline uint32_t next_word(words *w) {
    if ((w->at & 3) == 0)
        w->four = rex_rand_u32x4(w->key, (rex_u32x4){{(uint32_t)(w->at >> 2), w->item,
                                                      (uint32_t)(w->at >> 34), REX_STREAM_BOOT}});
    return w->four.v[w->at++ & 3];
}

/* Up to four columns over the drawn rows: the sums stay in registers. `x` is what a prompt brings,
 * `y` and `z` its redraws (NULL: none). */
static void add_rows(const double *const *x, const double *const *y, const double *const *z,
                     size_t n, size_t from, size_t width, double *sum) {
    double s[4] = {0.0, 0.0, 0.0, 0.0};
    if (width == 4 && y && !z) {
        for (size_t i = 0; i < n; i++)
            for (size_t c = 0; c < 4; c++) s[c] += x[i][from + c] + y[i][from + c];
    } else if (width == 4 && !y) {
        for (size_t i = 0; i < n; i++)
            for (size_t c = 0; c < 4; c++) s[c] += x[i][from + c];
    } else {
        for (size_t i = 0; i < n; i++)
            for (size_t c = 0; c < width; c++) {
                double v = x[i][from + c];
                if (y) v += y[i][from + c];
                if (z) v -= z[i][from + c];
                s[c] += v;
            }
    }
    for (size_t c = 0; c < width; c++) sum[from + c] += s[c];
}

#define REX_BOOT_PART 128 /* prompts drawn before their rows are added */

static void replicate(void *ud, size_t item, int worker) {
    const job *const j = ud;
    const rex_boot *const b = j->b;
    const size_t cols = b->cols;
    double *const sum = j->rep + item * cols;
    const double *row[3][REX_BOOT_PART];
    (void)worker;
    for (size_t c = 0; c < cols; c++) sum[c] = 0.0;
    words w = {.key = j->key, .item = (uint32_t)item};
    for (size_t done = 0; done < b->n;) {
        const size_t n = b->n - done < REX_BOOT_PART ? b->n - done : REX_BOOT_PART;
        for (size_t i = 0; i < n; i++) {
            size_t g = (size_t)(((uint64_t)next_word(&w) * b->n) >> 32);
            if (b->like) g = b->like[g];
            row[0][i] = j->base + g * cols;
            for (int k = 0; k < 2; k++)
                if (b->in[k])
                    row[k + 1][i] =
                        b->in[k][g].value + alias_draw(&b->in[k][g], next_word(&w)) * cols;
        }
        for (size_t c = 0; c < cols; c += 4)
            add_rows(row[0], b->in[0] ? row[1] : NULL, b->in[1] ? row[2] : NULL, n, c,
                     cols - c < 4 ? cols - c : 4, sum);
        done += n;
    }
    for (size_t c = 0; c < cols; c++) sum[c] /= (double)b->n;
}

/* Means by ratio of sums, for a statistic that only some prompts have. One column. */
static void replicate_weighted(void *ud, size_t item, int worker) {
    const job *const j = ud;
    const rex_boot *const b = j->b;
    double num = 0.0, den = 0.0;
    (void)worker;
    words w = {.key = j->key, .item = (uint32_t)item};
    for (size_t i = 0; i < b->n; i++) {
        const size_t g = (size_t)(((uint64_t)next_word(&w) * b->n) >> 32);
        num += b->weight[g] * b->v[g];
        den += b->weight[g];
    }
    j->rep[item] = den > 0.0 ? num / den : j->centre[0];
}

/* Shrinks the first level so that both levels have the variance of the mean, and puts the mean of
 * the redraw aside: base = A + shrink (v - A) - E[redraw]. */
static void plan(const rex_boot *b, job *j) {
    const double n = (double)b->n;
    for (size_t c = 0; c < b->cols; c++) {
        double mean = 0.0, var = 0.0;
        for (size_t g = 0; g < b->n; g++) mean += b->v[g * b->cols + c] / n;
        for (size_t g = 0; g < b->n; g++) {
            const double d = b->v[g * b->cols + c] - mean;
            var += d * d;
        }
        j->centre[c] = mean;
        double shrink = 1.0;
        if (b->n > 1) {
            const double total = var / (n - 1.0), within = b->in_var ? b->in_var[c] : 0.0;
            shrink = var > 0.0 && total > within ? sqrt((total - within) / (var / n)) : 0.0;
        }
        for (size_t g = 0; g < b->n; g++) {
            const size_t at = g * b->cols + c;
            double x = mean + shrink * (b->v[at] - mean);
            if (b->in_mean[0]) x -= b->in_mean[0][at];
            if (b->in_mean[1]) x += b->in_mean[1][at];
            j->base[at] = x;
        }
    }
}

rex_status rex_boot_run(rex_pool *p, const rex_boot *b, double *rep, rex_err *e) {
    rex_arena *a = NULL;
    REX_TRY(rex_arena_open(0, &a, e));
    job j = {.b = b, .rep = rep, .key = rex_key_fold(rex_key_make(b->seed), REX_STREAM_BOOT)};
    j.base = rex_arena_take(a, b->n * b->cols, sizeof *j.base, e);
    j.centre = j.base ? rex_arena_take(a, b->cols, sizeof *j.centre, e) : NULL;
    rex_assert(!b->weight || b->cols == 1);
    if (j.centre) {
        plan(b, &j);
        rex_pool_run(p, (size_t)b->draws, b->weight ? replicate_weighted : replicate, &j);
    }
    rex_arena_close(a);
    return j.centre ? REX_OK : REX_ENOMEM;
}

/* The q-th smallest (from 0), Hoare's selection with the middle as pivot; reorders. */
static double select_nth(double *v, size_t n, size_t q) {
    size_t lo = 0, hi = n - 1;
    while (lo < hi) {
        const double pivot = v[lo + (hi - lo) / 2];
        size_t i = lo, j = hi;
        for (;;) {
            while (v[i] < pivot) i++;
            while (pivot < v[j]) j--;
            if (i >= j) break;
            const double t = v[i];
            v[i++] = v[j];
            v[j--] = t;
        }
        if (q <= j) hi = j;
        else lo = j + 1;
    }
    return v[q];
}

/* The p-value inverts the interval: with the same widening, p < 0.05 exactly when zero lies outside
 * (up to the clamp to the range). */
rex_interval rex_boot_interval(double *rep, size_t draws, double value, double se, double widen,
                               double lo, double hi) {
    rex_interval out = {.value = value, .se = se, .p = 1.0};
    const double zero = value - value / widen; /* the replicate whose widened image is 0 */
    size_t below = 0, above = 0;
    for (size_t i = 0; i < draws; i++) {
        if (rep[i] <= zero) below++;
        if (rep[i] >= zero) above++;
    }
    const size_t tail = below < above ? below : above;
    const double p = 2.0 * (double)(tail + 1) / (double)(draws + 1);
    out.p = p < 1.0 ? p : 1.0;
    const size_t cut = (size_t)(0.025 * (double)(draws + 1));
    const size_t at = cut > 0 ? cut - 1 : 0;
    out.low = value - widen * (value - select_nth(rep, draws, at));
    out.high = value + widen * (select_nth(rep, draws, draws - 1 - at) - value);
    out.low = fmax(fmin(out.low, value), lo);
    out.high = fmin(fmax(out.high, value), hi);
    return out;
}

void rex_boot_defaults(rex_boot_opts *o) {
    *o = (rex_boot_opts){.size = sizeof *o, .draws = 2000, .lo = -INFINITY, .hi = INFINITY};
}

/* Two-sided tail of the standard normal, by the continued fraction of erfc beyond 2.5 and the
 * series of erf below: 1e-12 relative, which is more than a p-value deserves. */
static double normal_p(double z) {
    const double x = fabs(z), x2 = x * x;
    const double density = 0.3989422804014327 * rex_exp(-0.5 * x2);
    if (x < 2.5) {
        double term = x, sum = x;
        for (int i = 1; i < 100 && term > 1e-17 * sum; i++) {
            term *= x2 / (2.0 * i + 1.0);
            sum += term;
        }
        return 1.0 - 2.0 * density * sum;
    }
    double f = x;
    for (int i = 60; i > 0; i--) f = x + i / f;
    return 2.0 * density / f;
}

static rex_status check_values(const double *v, size_t n, rex_err *e) {
    if (n == 0) return rex_fail(e, REX_EARG, -1, "an interval over no prompts");
    if (n > UINT32_MAX) return rex_fail(e, REX_ELIMIT, -1, "more than 2^32 prompts");
    for (size_t i = 0; i < n; i++)
        if (!isfinite(v[i])) return rex_fail(e, REX_ENAN, (int64_t)i, "value %zu is not finite", i);
    return REX_OK;
}

/* Mean and its standard error; 0 for one value. */
static double mean_of(const double *v, size_t n, double *se) {
    double mean = 0.0, var = 0.0;
    for (size_t i = 0; i < n; i++) mean += (v[i] - v[0]) / (double)n;
    for (size_t i = 0; i < n; i++) var += (v[i] - v[0] - mean) * (v[i] - v[0] - mean);
    *se = n > 1 ? sqrt(var / (double)(n - 1) / (double)n) : 0.0;
    return v[0] + mean;
}

rex_interval rex_normal_interval(double value, double se, size_t n, double lo, double hi) {
    const double t = n > 1 ? rex_t_quantile(n - 1) : REX_Z95;
    const double scaled = se > 0.0 ? value / se * (REX_Z95 / t) : 0.0;
    rex_interval out = {.value = value, .se = se, .low = value - t * se, .high = value + t * se};
    out.p = se > 0.0 ? normal_p(scaled) : (value == 0.0 ? 1.0 : 0.0);
    out.low = fmax(out.low, lo);
    out.high = fmin(out.high, hi);
    return out;
}

bool rex_boot_too_long(size_t n, int64_t draws) {
    return (double)n * (double)draws > REX_BOOT_WORK;
}

rex_status rex_mean_interval(rex_pool *p, const double *v, size_t n, const rex_boot_opts *o,
                             rex_interval *out, rex_err *e) {
    REX_TRY(check_values(v, n, e));
    double se;
    const double mean = mean_of(v, n, &se);
    if (o->analytic || n < 2 || rex_boot_too_long(n, o->draws)) {
        *out = rex_normal_interval(mean, se, n, o->lo, o->hi);
        return REX_OK;
    }
    if (o->draws < 100) return rex_fail(e, REX_EARG, -1, "at least 100 replicates are needed");
    rex_arena *a = NULL;
    REX_TRY(rex_arena_open(0, &a, e));
    double *const rep = rex_arena_take(a, (size_t)o->draws, sizeof *rep, e);
    const rex_boot b = {.n = n, .cols = 1, .v = v, .seed = o->seed, .draws = o->draws};
    const rex_status s = rep ? rex_boot_run(p, &b, rep, e) : REX_ENOMEM;
    if (s == REX_OK)
        *out = rex_boot_interval(rep, (size_t)o->draws, mean, se, rex_t_quantile(n - 1) / REX_Z95,
                                 o->lo, o->hi);
    rex_arena_close(a);
    return s;
}

/* The logarithm of the ratio is what is drawn: it is nearer to normal, and 1 becomes 0. */
rex_status rex_ratio_interval(rex_pool *p, const double *num, const double *den, size_t n,
                              const rex_boot_opts *o, rex_interval *out, rex_err *e) {
    REX_TRY(check_values(num, n, e));
    REX_TRY(check_values(den, n, e));
    double se_num, se_den;
    const double top = mean_of(num, n, &se_num), bottom = mean_of(den, n, &se_den);
    if (!(top > 0.0) || !(bottom > 0.0))
        return rex_fail(e, REX_EARG, -1, "a ratio of means needs positive means");
    rex_arena *a = NULL;
    REX_TRY(rex_arena_open(0, &a, e));
    double *const both = rex_arena_take(a, 2 * n, sizeof *both, e);
    double *const rep = both ? rex_arena_take(a, 2 * (size_t)o->draws, sizeof *rep, e) : NULL;
    rex_status s = rep ? REX_OK : REX_ENOMEM;
    double var = 0.0; /* of log(top / bottom), by the delta method */
    for (size_t i = 0; s == REX_OK && i < n; i++) {
        both[2 * i] = num[i];
        both[2 * i + 1] = den[i];
        const double d = num[i] / top - den[i] / bottom;
        var += d * d;
    }
    const double se = n > 1 ? sqrt(var / (double)(n - 1) / (double)n) : 0.0;
    rex_interval l = rex_normal_interval(rex_log(top / bottom), se, n, -INFINITY, INFINITY);
    if (s == REX_OK && !o->analytic && n > 1 && !rex_boot_too_long(n, o->draws)) {
        const rex_boot b = {.n = n, .cols = 2, .v = both, .seed = o->seed, .draws = o->draws};
        s = rex_boot_run(p, &b, rep, e);
        size_t kept = 0; /* a replicate may miss every prompt that has a value */
        for (size_t i = 0; s == REX_OK && i < (size_t)o->draws; i++)
            if (rep[2 * i] > 0.0 && rep[2 * i + 1] > 0.0)
                rep[kept++] = rex_log(rep[2 * i] / rep[2 * i + 1]);
        if (s == REX_OK && kept > 0)
            l = rex_boot_interval(rep, kept, l.value, se, rex_t_quantile(n - 1) / REX_Z95,
                                  -INFINITY, INFINITY);
    }
    if (s == REX_OK)
        *out = (rex_interval){.value = top / bottom,
                              .low = fmax(rex_exp(l.low), o->lo),
                              .high = fmin(rex_exp(l.high), o->hi),
                              .se = se * top / bottom,
                              .p = l.p};
    rex_arena_close(a);
    return s;
}
