/* SPDX-License-Identifier: MIT
 *
 * countdown.c: reach a target from a handful of numbers. A problem is made by its solution, so
 * every one can be solved: two of the numbers are replaced by the result of an operation until one
 * is left. Two forms of an answer: `steps`, "11*1=11,5-4=1,11-1=10", where every step is checked,
 * and `expression`, one formula with the target as its value (arith.c).
 * Invariant: `correct` means that each step takes two numbers that are there, computes exactly
 * what it says, and that the last value is the target.
 */
#include "tasks.h"

#include <stdio.h>
#include <string.h>

enum { MAX_N = 60, FORM_AUTO = 0, FORM_STEPS = 1, FORM_EXPRESSION = 2, USE_ONCE = 1 };

static rex_status open_countdown(rex_task *t, rex_err *e) {
    const rex_task_opts *o = &t->opt;
    if (o->low > o->high)
        return rex_fail(e, REX_EARG, -1, "countdown: --low %lld is above --high %lld",
                        (long long)o->low, (long long)o->high);
    if (o->target_low > o->target_high)
        return rex_fail(e, REX_EARG, -1, "countdown: --target-low %lld is above --target-high %lld",
                        (long long)o->target_low, (long long)o->target_high);
    return REX_OK;
}

/* ---- the generator ---- */

/* One of the numbers on the way, with how it came about. */
typedef struct {
    int64_t v;
    char text[160]; /* as an expression */
    bool atom;
} piece;

typedef struct {
    rex_key key;
    uint64_t no;
    uint32_t pos;
} dice;

static size_t roll(dice *d, size_t n) {
    return (size_t)rex_rand_below(d->key, REX_STREAM_DATA, d->pos++, 0, d->no, n);
}

/* The operations allowed on a and b, their results: at most four. */
static size_t allowed(int64_t a, int64_t b, int64_t limit, char *op, int64_t *value) {
    const int64_t hi = a > b ? a : b;
    const int64_t lo = a > b ? b : a;
    size_t n = 0;
    if (a + b <= limit) {
        op[n] = '+';
        value[n++] = a + b;
    }
    if (hi - lo >= 1) {
        op[n] = '-';
        value[n++] = hi - lo;
    }
    if (a * b <= limit) {
        op[n] = '*';
        value[n++] = a * b;
    }
    if (lo > 0 && hi % lo == 0) {
        op[n] = '/';
        value[n++] = hi / lo;
    }
    return n;
}

static void wrap(char *out, size_t room, const piece *p) {
    snprintf(out, room, p->atom ? "%s" : "(%s)", p->text);
}

/* Replaces two of the n pieces by one; false if nothing is allowed. Operands of + and * are written
 * in either order, the larger one first for - and /. */
static bool step(dice *d, piece *p, size_t n, int64_t limit, char *steps, size_t room) {
    char op[4];
    int64_t value[4];
    size_t i = roll(d, n);
    size_t k = roll(d, n - 1);
    if (k >= i) k++;
    const size_t m = allowed(p[i].v, p[k].v, limit, op, value);
    if (m == 0) return false;
    const size_t pick = roll(d, m);
    const bool free_order = op[pick] == '+' || op[pick] == '*';
    const bool swap = free_order ? roll(d, 2) == 1 : p[i].v < p[k].v;
    const piece *x = swap ? &p[k] : &p[i];
    const piece *y = swap ? &p[i] : &p[k];
    const size_t len = strlen(steps);
    snprintf(steps + len, room - len, "%s%lld%c%lld=%lld", len ? "," : "", (long long)x->v,
             op[pick], (long long)y->v, (long long)value[pick]);
    piece r = { .v = value[pick], .atom = false };
    char l[164];
    char s[164];
    wrap(l, sizeof l, x);
    wrap(s, sizeof s, y);
    const int wrote = snprintf(r.text, sizeof r.text, "%s%c%s", l, op[pick], s);
    rex_assert(wrote > 0 && (size_t)wrote < sizeof r.text);
    /* both leave, the result goes to the end */
    size_t at = 0;
    for (size_t j = 0; j < n; j++)
        if (j != i && j != k) p[at++] = p[j];
    p[at] = r;
    return true;
}

static void sort(int64_t *v, size_t n) {
    for (size_t i = 1; i < n; i++)
        for (size_t k = i; k > 0 && v[k - 1] > v[k]; k--) {
            const int64_t t = v[k];
            v[k] = v[k - 1];
            v[k - 1] = t;
        }
}

static int digits(int64_t v) {
    int n = 1;
    while (v >= 10) {
        v /= 10;
        n++;
    }
    return n;
}

/* "5 4 11 1:10>", with blanks on the left up to the length of the longest problem of these
 * options: a model trained on one length sees one length. */
static rex_status steps_prompt(const rex_task *t, rex_arena *a, const int64_t *v, size_t n,
                               int64_t target, rex_str *out, rex_err *e) {
    char text[MAX_N * 24];
    size_t k = 0;
    for (size_t i = 0; i < n; i++)
        k += (size_t)snprintf(text + k, sizeof text - k, "%s%lld", i ? " " : "", (long long)v[i]);
    snprintf(text + k, sizeof text - k, ":%lld>", (long long)target);
    const int width =
        (int)t->opt.numbers * (digits(t->opt.high) + 1) + digits(t->opt.target_high) + 1;
    return rex_str_fmt(a, out, e, "%*s", width, text);
}

static rex_status prompt_of(const rex_task *t, rex_arena *a, const int64_t *v, size_t n,
                            int64_t target, rex_draft *d, rex_err *e) {
    if (t->opt.format != FORM_EXPRESSION) return steps_prompt(t, a, v, n, target, &d->prompt, e);
    return rex_expr_prompt(a, v, n, target, t->opt.use != USE_ONCE, &d->prompt, e);
}

static rex_status id_of(rex_arena *a, const int64_t *v, size_t n, int64_t target, rex_str *out,
                        rex_err *e) {
    int64_t s[8];
    char text[256];
    size_t k = 0;
    memcpy(s, v, n * sizeof *v);
    sort(s, n);
    for (size_t i = 0; i < n; i++)
        k += (size_t)snprintf(text + k, sizeof text - k, "%s%lld", i ? "-" : "", (long long)s[i]);
    return rex_str_fmt(a, out, e, "countdown/%s:%lld", text, (long long)target);
}

static rex_status draw_countdown(const rex_task *t, rex_key key, uint64_t no, bool solutions,
                                 rex_arena *a, rex_draft *d, bool *ok, rex_err *e) {
    const rex_task_opts *o = &t->opt;
    const size_t n = (size_t)o->numbers;
    dice dd = { key, no, 0 };
    piece p[8];
    int64_t v[8];
    char steps[8 * 32] = "";
    for (size_t i = 0; i < n; i++) {
        v[i] = o->low + (int64_t)roll(&dd, (size_t)(o->high - o->low + 1));
        p[i] = (piece){ .v = v[i], .atom = true };
        snprintf(p[i].text, sizeof p[i].text, "%lld", (long long)v[i]);
    }
    *ok = false;
    for (size_t left = n; left > 1; left--)
        if (!step(&dd, p, left, o->limit, steps, sizeof steps)) return REX_OK;
    const int64_t target = p[0].v;
    if (target < o->target_low || target > o->target_high) return REX_OK;
    *ok = true;
    REX_TRY(id_of(a, v, n, target, &d->id, e));
    REX_TRY(prompt_of(t, a, v, n, target, d, e));
    if (solutions && o->format == FORM_EXPRESSION)
        REX_TRY(rex_str_fmt(a, &d->response, e, "\\boxed{%s}", p[0].text));
    if (solutions && o->format != FORM_EXPRESSION)
        REX_TRY(rex_str_copy(a, rex_str_of(steps), &d->response, e));
    return rex_numbers_json(a, v, n, target, &d->problem, e);
}

static rex_status row_countdown(const rex_task *t, const rex_jval *row, const char *where,
                                bool solutions, rex_arena *a, rex_draft *d, rex_err *e) {
    int64_t v[MAX_N];
    size_t n = 0;
    int64_t target = -1;
    (void)solutions;
    REX_TRY(rex_row_numbers(row, where, a, d, v, MAX_N, &n, &target, e));
    if (target < 0)
        return rex_fail(e, REX_EFORMAT, -1, "%s: needs \"target\", a positive integer", where);
    return d->verbatim || d->prompt.p ? REX_OK : prompt_of(t, a, v, n, target, d, e);
}

/* ---- steps, verified ---- */

typedef struct {
    rex_str s;
    size_t i;
} cursor;

static void blanks(cursor *c) {
    while (c->i < c->s.n && (c->s.p[c->i] == ' ' || c->s.p[c->i] == '\t' || c->s.p[c->i] == '\n'))
        c->i++;
}

static bool take(cursor *c, char want) {
    blanks(c);
    if (c->i >= c->s.n || c->s.p[c->i] != want) return false;
    c->i++;
    return true;
}

/* A whole number of at most 18 digits, with or without a minus. */
static bool take_int(cursor *c, int64_t *out) {
    const bool minus = take(c, '-');
    if (!minus) blanks(c);
    const size_t from = c->i;
    int64_t v = 0;
    while (c->i < c->s.n && c->s.p[c->i] >= '0' && c->s.p[c->i] <= '9') {
        if (c->i - from == 18) return false;
        v = 10 * v + (c->s.p[c->i++] - '0');
    }
    *out = minus ? -v : v;
    return c->i > from;
}

static char take_op(cursor *c) {
    static const char ops[] = "+-*/";
    for (int k = 0; k < 4; k++)
        if (take(c, ops[k])) return ops[k];
    return 0;
}

static bool compute(int64_t x, char op, int64_t y, int64_t *out) {
    switch (op) {
    case '+': return !__builtin_add_overflow(x, y, out);
    case '-': return !__builtin_sub_overflow(x, y, out);
    case '*': return !__builtin_mul_overflow(x, y, out);
    default:
        if (y == 0 || x % y != 0) return false;
        *out = x / y;
        return true;
    }
}

/* Takes one item of this value out of the list. */
static bool consume(int64_t *v, size_t *n, int64_t value) {
    for (size_t i = 0; i < *n; i++)
        if (v[i] == value) {
            v[i] = v[--*n];
            return true;
        }
    return false;
}

static rex_status verify_steps(rex_arena *a, rex_str text, int64_t *v, size_t n, int64_t target,
                               bool use_all, rex_judged *out, rex_err *e) {
    cursor c = { text, 0 };
    int64_t last = 0;
    for (int no = 1;; no++) {
        int64_t x;
        int64_t y;
        int64_t claimed;
        int64_t value;
        char op = 0;
        const bool parsed = take_int(&c, &x) && (op = take_op(&c)) != 0 && take_int(&c, &y) &&
                            take(&c, '=') && take_int(&c, &claimed);
        blanks(&c);
        if (!parsed || (c.i < c.s.n && c.s.p[c.i] != ','))
            return rex_judge(a, out, e, REX_VERDICT_unparsed,
                             "step %d, byte %zu: expected a step such as 5-4=1", no, c.i);
        if (!consume(v, &n, x))
            return rex_judge(a, out, e, REX_VERDICT_wrong, "step %d: there is no %lld", no,
                             (long long)x);
        if (!consume(v, &n, y))
            return rex_judge(a, out, e, REX_VERDICT_wrong, "step %d: there is no %s%lld", no,
                             x == y ? "second " : "", (long long)y);
        if (!compute(x, op, y, &value))
            return rex_judge(a, out, e, REX_VERDICT_wrong, "step %d: %lld%c%lld is no whole number",
                             no, (long long)x, op, (long long)y);
        if (value != claimed)
            return rex_judge(a, out, e, REX_VERDICT_wrong, "step %d: %lld%c%lld is %lld, not %lld",
                             no, (long long)x, op, (long long)y, (long long)value,
                             (long long)claimed);
        v[n++] = last = value;
        if (!take(&c, ',')) break;
    }
    if (use_all && n != 1)
        return rex_judge(a, out, e, REX_VERDICT_wrong, "%zu numbers are left, one was expected", n);
    if (last != target)
        return rex_judge(a, out, e, REX_VERDICT_wrong, "ends at %lld, not %lld", (long long)last,
                         (long long)target);
    return rex_judge(a, out, e, REX_VERDICT_correct, "every step is right and the last gives %lld",
                     (long long)target);
}

static rex_status verify_countdown(const rex_task *t, const rex_claim *c, rex_arena *a,
                                   rex_judged *out, rex_err *e) {
    int64_t v[MAX_N];
    size_t n;
    int64_t target;
    rex_err why;
    const rex_status s = rex_read_numbers(a, c->problem, v, MAX_N, &n, &target, &why);
    if (s == REX_ENOMEM) return s;
    if (s != REX_OK) return rex_judge(a, out, e, REX_VERDICT_ambiguous, "gold: %s", why.text);
    if (rex_str_is(c->finish, "length"))
        return rex_judge(a, out, e, REX_VERDICT_unparsed, "the response was cut off by its length");
    const rex_str text = rex_trim(c->response);
    const bool steps =
        t->opt.format == FORM_STEPS || (t->opt.format == FORM_AUTO && text.n &&
                                        memchr(text.p, '=', text.n) && memchr(text.p, ',', text.n));
    const bool use_all = t->opt.use != USE_ONCE;
    if (!steps) return rex_expr_verify(a, c->response, v, n, target, use_all, out, e);
    REX_TRY(rex_str_copy(a, text, &out->extracted, e));
    return verify_steps(a, text, v, n, target, use_all, out, e);
}

const rex_task_kind rex_task_kind_countdown = {
    .info = { "countdown", "reach a target from a few numbers with + - * /", "numbers, target",
              true, true },
    .open = open_countdown,
    .draw = draw_countdown,
    .row = row_countdown,
    .verify = verify_countdown,
};
