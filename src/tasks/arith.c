/* SPDX-License-Identifier: MIT
 *
 * arith.c: expressions over whole numbers with + - * / and parentheses, evaluated exactly as
 * fractions of 128-bit integers; the verdict on such an expression (methods A10.7), and a solver.
 * Invariants: a value is never rounded: where 128 bits do not hold it the result is "too big", not
 * a guess; parsing takes one pass, is bounded in length and depth, and never calls a number what
 * is not written as digits alone.
 */
#include "tasks.h"

#include <stdio.h>
#include <string.h>

__extension__ typedef __int128 wide;

enum { MAX_TEXT = 4096, MAX_DEPTH = 64, MAX_DIGITS = 18, MAX_USED = 64 };

/* ---- fractions ---- */

typedef struct {
    wide num, den;      /* lowest terms, den > 0 */
    bool zero_div, big; /* what became of it instead */
} frac;

static wide gcd(wide a, wide b) {
    if (a < 0) a = -a;
    while (b) {
        const wide r = a % b;
        a = b;
        b = r;
    }
    return a < 0 ? -a : a;
}

/* The worst of two: division by zero is told before size. */
static bool spoiled(frac a, frac b, frac *out) {
    *out = (frac){ 0, 1, a.zero_div || b.zero_div, a.big || b.big };
    return out->zero_div || out->big;
}

static frac too_big(void) { return (frac){ 0, 1, false, true }; }

/* Halving the range leaves -x and gcd without overflow everywhere. */
static bool wide_mul(wide a, wide b, wide *out) {
    const wide lim = (wide)1 << 126;
    return __builtin_mul_overflow(a, b, out) || *out > lim || *out < -lim;
}

static frac frac_mul(frac a, frac b) {
    frac r;
    if (spoiled(a, b, &r)) return r;
    const wide g = gcd(a.num, b.den);
    const wide h = gcd(b.num, a.den);
    if (g > 1) {
        a.num /= g;
        b.den /= g;
    }
    if (h > 1) {
        b.num /= h;
        a.den /= h;
    }
    if (wide_mul(a.num, b.num, &r.num) || wide_mul(a.den, b.den, &r.den)) return too_big();
    return r;
}

static frac frac_div(frac a, frac b) {
    frac r;
    if (spoiled(a, b, &r)) return r;
    if (b.num == 0) return (frac){ 0, 1, true, false };
    const bool minus = b.num < 0;
    return frac_mul(a, (frac){ minus ? -b.den : b.den, minus ? -b.num : b.num, false, false });
}

static frac frac_add(frac a, frac b) {
    frac r;
    wide x;
    wide y;
    if (spoiled(a, b, &r)) return r;
    if (wide_mul(a.num, b.den, &x) || wide_mul(b.num, a.den, &y) || wide_mul(a.den, b.den, &r.den))
        return too_big();
    r.num = x + y; /* both within 2^126 */
    const wide g = gcd(r.num, r.den);
    if (g > 1) {
        r.num /= g;
        r.den /= g;
    }
    const wide lim = (wide)1 << 126;
    return r.num > lim || r.num < -lim ? too_big() : r;
}

static frac frac_neg(frac a) {
    a.num = -a.num;
    return a;
}

/* ---- the parser ---- */

typedef struct {
    rex_str s;
    size_t i;
    int depth;
    rex_expr *x;
    const char *why; /* NULL while all is well */
} parser;

static frac give_up(parser *p, const char *why) {
    if (!p->why) p->why = why;
    return (frac){ 0, 1, false, false };
}

static bool lit(const parser *p, const char *what) {
    const size_t n = strlen(what);
    return p->s.n - p->i >= n && memcmp(p->s.p + p->i, what, n) == 0;
}

static void skip_space(parser *p) {
    static const char *const spaces[] = { " ",   "\t",  "\n", "\r",       "\\,",    "\\;",
                                          "\\!", "\\ ", "~",  "\xc2\xa0", "\\left", "\\right" };
    for (size_t k = 0; k < sizeof spaces / sizeof *spaces;)
        if (lit(p, spaces[k])) {
            p->i += strlen(spaces[k]);
            k = 0;
        } else {
            k++;
        }
}

/* The operator at the cursor, one of + - * / or 0; steps over it. */
static char take_op(parser *p) {
    static const struct {
        const char *text;
        char op;
    } ops[] = {
        { "+", '+' },       { "-", '-' },        { "\xe2\x88\x92", '-' },
        { "*", '*' },       { "\xc3\x97", '*' }, { "\xc2\xb7", '*' },
        { "\\times", '*' }, { "\\cdot", '*' },   { "\xe2\x8b\x85", '*' },
        { "/", '/' },       { "\xc3\xb7", '/' }, { "\\div", '/' },
    };
    skip_space(p);
    for (size_t k = 0; k < sizeof ops / sizeof *ops; k++)
        if (lit(p, ops[k].text)) {
            p->i += strlen(ops[k].text);
            return ops[k].op;
        }
    return 0;
}

static frac sum(parser *p);

static frac group(parser *p, const char *close) {
    if (++p->depth > MAX_DEPTH) return give_up(p, "nested too deep");
    const frac v = sum(p);
    skip_space(p);
    if (!p->why && !lit(p, close)) return give_up(p, "a bracket that is not closed");
    if (!p->why) p->i += strlen(close);
    p->depth--;
    return v;
}

static frac braced(parser *p) {
    skip_space(p);
    if (!lit(p, "{")) return give_up(p, "\\frac without braces");
    p->i++;
    return group(p, "}");
}

static frac number(parser *p) {
    const size_t from = p->i;
    int64_t v = 0;
    while (p->i < p->s.n && p->s.p[p->i] >= '0' && p->s.p[p->i] <= '9') {
        if (p->i - from == MAX_DIGITS) return give_up(p, "a number of more than 18 digits");
        v = 10 * v + (p->s.p[p->i++] - '0');
    }
    if (lit(p, ".")) return give_up(p, "a decimal point");
    if (p->x->n_used == MAX_USED) return give_up(p, "more than 64 numbers");
    p->x->used[p->x->n_used++] = v;
    return (frac){ v, 1, false, false };
}

static frac atom(parser *p) {
    skip_space(p);
    if (p->why) return (frac){ 0, 1, false, false };
    if (p->i == p->s.n) return give_up(p, "ends where a number is missing");
    const char c = p->s.p[p->i];
    if (c >= '0' && c <= '9') return number(p);
    if (c == '(' || c == '[') {
        p->i++;
        return group(p, c == '(' ? ")" : "]");
    }
    if (lit(p, "\\frac") || lit(p, "\\dfrac") || lit(p, "\\tfrac")) {
        p->i += lit(p, "\\frac") ? 5 : 6;
        const frac top = braced(p);
        return frac_div(top, braced(p));
    }
    return give_up(p, c == '-' || c == '+' ? "a sign that is no operator"
                                           : "neither a number nor a bracket");
}

static frac product(parser *p) {
    frac v = atom(p);
    while (!p->why) {
        const size_t was = p->i;
        const char op = take_op(p);
        if (op != '*' && op != '/') {
            p->i = was;
            break;
        }
        const frac w = atom(p);
        v = op == '*' ? frac_mul(v, w) : frac_div(v, w);
    }
    return v;
}

static frac sum(parser *p) {
    frac v = product(p);
    while (!p->why) {
        const size_t was = p->i;
        const char op = take_op(p);
        if (op != '+' && op != '-') {
            p->i = was;
            break;
        }
        const frac w = product(p);
        v = frac_add(v, op == '+' ? w : frac_neg(w));
    }
    return v;
}

rex_expr_status rex_expr_eval(rex_str s, rex_expr *out) {
    *out = (rex_expr){ .den = 1 };
    parser p = { s, 0, 0, out, NULL };
    if (s.n > MAX_TEXT) {
        out->why = "longer than 4096 bytes";
        return REX_EXPR_SYNTAX;
    }
    const frac v = sum(&p);
    skip_space(&p);
    if (!p.why && p.i != s.n) p.why = "something behind the expression";
    out->at = p.i;
    out->why = p.why;
    if (p.why) return REX_EXPR_SYNTAX;
    if (v.zero_div) return REX_EXPR_ZERO;
    if (v.big) return REX_EXPR_BIG;
    out->num = v.num;
    out->den = v.den;
    return REX_EXPR_OK;
}

/* ---- the verdict ---- */

static int shown(rex_str s) { return (int)(s.n > 100 ? 100 : s.n); }

/* The last line that is not blank. */
static rex_str last_line(rex_str s) {
    s = rex_trim(s);
    for (size_t i = s.n; i-- > 0;)
        if (s.p[i] == '\n') return (rex_str){ s.p + i + 1, s.n - i - 1 };
    return s;
}

static bool is_any(char c, const char *set) { return c && strchr(set, c); }

/* Off both ends: blanks, dollar signs, backticks, \( \) and \[ \], a full stop at the end. */
static rex_str strip(rex_str s) {
    for (;;) {
        const rex_str was = s;
        s = rex_trim(s);
        if (s.n && is_any(s.p[0], "$`")) s = (rex_str){ s.p + 1, s.n - 1 };
        if (s.n && is_any(s.p[s.n - 1], "$`.")) s.n--;
        if (s.n > 1 && s.p[0] == '\\' && is_any(s.p[1], "([")) s = (rex_str){ s.p + 2, s.n - 2 };
        if (s.n > 1 && s.p[s.n - 2] == '\\' && is_any(s.p[s.n - 1], ")]")) s.n -= 2;
        if (s.n == was.n) return s;
    }
}

/* "Answer: ..." loses its label: what ends in the last colon and has a letter in it. */
static rex_str unlabel(rex_str s) {
    const size_t at = rex_find_last(s, ":");
    if (at == SIZE_MAX) return s;
    for (size_t i = 0; i < at; i++)
        if ((s.p[i] | 32) >= 'a' && (s.p[i] | 32) <= 'z')
            return strip((rex_str){ s.p + at + 1, s.n - at - 1 });
    return s;
}

static int by_value(const int64_t *a, const int64_t *b) { return *a < *b ? -1 : *a > *b; }

static void sort(int64_t *v, size_t n) {
    for (size_t i = 1; i < n; i++)
        for (size_t k = i; k > 0 && by_value(&v[k - 1], &v[k]) > 0; k--) {
            const int64_t t = v[k];
            v[k] = v[k - 1];
            v[k - 1] = t;
        }
}

/* Both sorted; every used number is one of the given. Sets the first that is not, or the first
 * given that is left over (*missing true). */
static bool covers(const int64_t *given, size_t n, const int64_t *used, size_t m, int64_t *odd,
                   bool *missing) {
    bool left = false;
    size_t i = 0;
    for (size_t k = 0; k < m; k++) {
        while (i < n && given[i] < used[k]) {
            if (!left) *odd = given[i];
            left = true;
            i++;
        }
        if (i == n || given[i] != used[k]) {
            *odd = used[k];
            *missing = false;
            return false;
        }
        i++;
    }
    if (i < n && !left) *odd = given[i];
    *missing = left || i < n;
    return true;
}

static rex_status judge_value(rex_arena *a, rex_expr_status s, const rex_expr *x, int64_t target,
                              rex_judged *out, rex_err *e) {
    if (s == REX_EXPR_ZERO) return rex_judge(a, out, e, REX_VERDICT_wrong, "divides by zero");
    if (s == REX_EXPR_BIG)
        return rex_judge(a, out, e, REX_VERDICT_ambiguous, "a value on the way is beyond 126 bits");
    if (x->den == 1 && x->num == target)
        return rex_judge(a, out, e, REX_VERDICT_correct,
                         "every number used as allowed; the value is %lld", (long long)target);
    if (x->num > INT64_MAX || x->num < INT64_MIN || x->den > INT64_MAX)
        return rex_judge(a, out, e, REX_VERDICT_wrong, "the value is not %lld", (long long)target);
    if (x->den == 1)
        return rex_judge(a, out, e, REX_VERDICT_wrong, "the value is %lld, not %lld",
                         (long long)x->num, (long long)target);
    return rex_judge(a, out, e, REX_VERDICT_wrong, "the value is %lld/%lld, not %lld",
                     (long long)x->num, (long long)x->den, (long long)target);
}

rex_status rex_expr_verify(rex_arena *a, rex_str response, const int64_t *v, size_t n,
                           int64_t target, bool use_all, rex_judged *out, rex_err *e) {
    rex_str text;
    int64_t given[MAX_USED];
    int64_t odd = 0;
    bool missing = false;
    rex_expr x;
    if (!rex_last_box(response, false, &text)) text = last_line(response);
    text = unlabel(strip(text));
    const size_t eq = rex_find_last(text, "=");
    if (eq != SIZE_MAX) {
        /* a claim of the target is dropped; any other stays part of the answer and condemns it */
        const rex_str claim = strip((rex_str){ text.p + eq + 1, text.n - eq - 1 });
        rex_expr c;
        if (rex_expr_eval(claim, &c) != REX_EXPR_OK || c.n_used != 1 || c.den != 1 ||
            c.num != target) {
            REX_TRY(rex_str_copy(a, text, &out->extracted, e));
            return rex_judge(a, out, e, REX_VERDICT_wrong, "claims '%.*s', the target is %lld",
                             shown(claim), claim.p, (long long)target);
        }
        text = strip((rex_str){ text.p, eq });
    }
    if (text.n == 0) return rex_judge(a, out, e, REX_VERDICT_unparsed, "there is no expression");
    REX_TRY(rex_str_copy(a, text, &out->extracted, e));
    const rex_expr_status s = rex_expr_eval(text, &x);
    if (s == REX_EXPR_SYNTAX)
        return rex_judge(a, out, e, REX_VERDICT_unparsed, "'%.*s': byte %zu: %s", shown(text),
                         text.p, x.at, x.why);
    rex_assert(n <= MAX_USED);
    memcpy(given, v, n * sizeof *v);
    sort(given, n);
    sort(x.used, x.n_used);
    if (!covers(given, n, x.used, x.n_used, &odd, &missing))
        return rex_judge(a, out, e, REX_VERDICT_wrong,
                         "uses %lld, which is not given or already used", (long long)odd);
    if (missing && use_all)
        return rex_judge(a, out, e, REX_VERDICT_wrong, "leaves %lld unused", (long long)odd);
    return judge_value(a, s, &x, target, out, e);
}

/* ---- the solver ---- */

enum { SOLVE_MAX = 6, SOLVE_TEXT = 256 };

typedef struct {
    frac v;
    char text[SOLVE_TEXT];
    bool atom; /* needs no brackets */
} term;

/* Two terms become one, in every way, until one is left: every expression over all the numbers is
 * reached, because its innermost operation is one of these pairs. */
static bool solve(term *t, size_t n, int64_t target, char *buf, size_t room) {
    if (n == 1) {
        if (t[0].v.den != 1 || t[0].v.num != target) return false;
        snprintf(buf, room, "%s", t[0].text);
        return true;
    }
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < n; k++) {
            if (i == k) continue;
            term next[SOLVE_MAX];
            size_t m = 0;
            for (size_t j = 0; j < n; j++)
                if (j != i && j != k) next[m++] = t[j];
            for (int op = 0; op < 4; op++) {
                const bool swaps = op == 0 || op == 2; /* + and * need one order only */
                if (swaps && i > k) continue;
                if (op == 3 && t[k].v.num == 0) continue;
                term *r = &next[m];
                r->v = op == 0   ? frac_add(t[i].v, t[k].v)
                       : op == 1 ? frac_add(t[i].v, frac_neg(t[k].v))
                       : op == 2 ? frac_mul(t[i].v, t[k].v)
                                 : frac_div(t[i].v, t[k].v);
                if (r->v.big || r->v.zero_div) continue;
                r->atom = false;
                const char *l = t[i].atom ? "" : "(";
                const char *lr = t[i].atom ? "" : ")";
                const char *s = t[k].atom ? "" : "(";
                const char *sr = t[k].atom ? "" : ")";
                const int len = snprintf(r->text, sizeof r->text, "%s%s%s %c %s%s%s", l, t[i].text,
                                         lr, "+-*/"[op], s, t[k].text, sr);
                if (len < 0 || (size_t)len >= sizeof r->text) continue;
                if (solve(next, m + 1, target, buf, room)) return true;
            }
        }
    return false;
}

bool rex_expr_solve(const int64_t *v, size_t n, int64_t target, char *buf, size_t room) {
    rex_assert(n >= 1 && n <= SOLVE_MAX);
    term t[SOLVE_MAX];
    for (size_t i = 0; i < n; i++) {
        t[i] = (term){ .v = { v[i], 1, false, false }, .atom = true };
        snprintf(t[i].text, sizeof t[i].text, "%lld", (long long)v[i]);
    }
    return solve(t, n, target, buf, room);
}

/* ---- the Game of 24 ---- */

enum { G_LOW = 1, G_HIGH = 13, G_TARGET = 24 };

rex_status rex_expr_prompt(rex_arena *a, const int64_t *v, size_t n, int64_t target, bool use_all,
                           rex_str *out, rex_err *e) {
    char list[60 * 24];
    size_t k = 0;
    rex_assert(n <= 60);
    for (size_t i = 0; i < n; i++)
        k += (size_t)snprintf(list + k, sizeof list - k, "%s%lld",
                              i == 0       ? ""
                              : i + 1 == n ? " and "
                                           : ", ",
                              (long long)v[i]);
    return rex_str_fmt(a, out, e,
                       "Use the numbers %s, each %s once, with +, -, *, / and parentheses, to make "
                       "%lld. Think step by step, then give one arithmetic expression inside "
                       "\\boxed{}.",
                       list, use_all ? "exactly" : "at most", (long long)target);
}

/* Draw number `no` is the no-th of the 1820 multisets of four numbers in 1..13, in ascending
 * order; those without solution are passed over, which leaves 1362. */
static rex_status draw_game24(const rex_task *t, rex_key key, uint64_t no, bool solutions,
                              rex_arena *a, rex_draft *d, bool *ok, rex_err *e) {
    int64_t v[4] = { G_LOW, G_LOW, G_LOW, G_LOW };
    char text[SOLVE_TEXT];
    (void)t;
    (void)key;
    for (uint64_t i = 0; i < no; i++) {
        size_t k = 3;
        while (v[k] == G_HIGH) k--;
        const int64_t up = v[k] + 1;
        for (; k < 4; k++) v[k] = up;
    }
    *ok = rex_expr_solve(v, 4, G_TARGET, text, sizeof text);
    if (!*ok) return REX_OK;
    REX_TRY(rex_str_fmt(a, &d->id, e, "game24/%lld-%lld-%lld-%lld", (long long)v[0],
                        (long long)v[1], (long long)v[2], (long long)v[3]));
    REX_TRY(rex_expr_prompt(a, v, 4, G_TARGET, true, &d->prompt, e));
    if (solutions) REX_TRY(rex_str_fmt(a, &d->response, e, "\\boxed{%s}", text));
    return rex_numbers_json(a, v, 4, G_TARGET, &d->problem, e);
}

rex_status rex_row_numbers(const rex_jval *row, const char *where, rex_arena *a, rex_draft *d,
                           int64_t *v, size_t max, size_t *n, int64_t *target, rex_err *e) {
    if (!d->problem.p) {
        const rex_jval *nums = rex_json_get(row, "numbers");
        const rex_jval *goal = rex_json_get(row, "target");
        if (!nums || nums->kind != REX_J_ARR || nums->n == 0 || nums->n > max)
            return rex_fail(e, REX_EFORMAT, -1,
                            "%s: needs \"numbers\", a list of 1 to %zu integers", where, max);
        for (*n = 0; *n < nums->n; ++*n)
            REX_TRY(rex_json_i64(&nums->u.c.item[*n], where, &v[*n], e));
        if (goal) REX_TRY(rex_json_i64(goal, where, target, e));
        REX_TRY(rex_numbers_json(a, v, *n, *target, &d->problem, e));
    }
    const rex_status s = rex_read_numbers(a, d->problem, v, max, n, target, e);
    return s == REX_OK ? s : rex_fail_in(e, s, "%s", where);
}

static rex_status row_game24(const rex_task *t, const rex_jval *row, const char *where,
                             bool solutions, rex_arena *a, rex_draft *d, rex_err *e) {
    int64_t v[SOLVE_MAX];
    size_t n = 0;
    int64_t target = G_TARGET;
    (void)t;
    REX_TRY(rex_row_numbers(row, where, a, d, v, SOLVE_MAX, &n, &target, e));
    if (!d->verbatim && !d->prompt.p)
        REX_TRY(rex_expr_prompt(a, v, n, target, true, &d->prompt, e));
    if (solutions && !d->response.p) {
        char text[SOLVE_TEXT];
        if (!rex_expr_solve(v, n, target, text, sizeof text))
            return rex_fail(e, REX_EFORMAT, -1, "%s: the problem has no solution", where);
        REX_TRY(rex_str_fmt(a, &d->response, e, "\\boxed{%s}", text));
    }
    return REX_OK;
}

static rex_status verify_game24(const rex_task *t, const rex_claim *c, rex_arena *a,
                                rex_judged *out, rex_err *e) {
    int64_t v[MAX_USED];
    size_t n;
    int64_t target;
    rex_err why;
    (void)t;
    const rex_status s = rex_read_numbers(a, c->problem, v, 60, &n, &target, &why);
    if (s == REX_ENOMEM) return s;
    if (s != REX_OK) return rex_judge(a, out, e, REX_VERDICT_ambiguous, "gold: %s", why.text);
    return rex_expr_verify(a, c->response, v, n, target, true, out, e);
}

const rex_task_kind rex_task_kind_game24 = {
    .info = { "game24", "four numbers, + - * /, to make 24", "numbers, target", true, true },
    .chat = true,
    .draw = draw_game24,
    .draws = 1820,
    .row = row_game24,
    .verify = verify_game24,
};
