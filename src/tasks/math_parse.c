/* SPDX-License-Identifier: MIT
 *
 * math_parse.c: tokens to a tree, by recursive descent. From loose to tight: list, relation, union,
 * ratio, sum, product (written or not), unary sign, power, postfix, primary. Depth and nodes are
 * bounded, and a text that is not wholly read is an error: a tree always stands for all of it.
 *
 * What a reader may take in two ways is either noted as a reading (the caller grades both) or
 * marked murky (never better than `ambiguous`): 1/2x, \sin x/2, \sqrt10, x2.
 */
#include "math_in.h"

#include <string.h>

typedef struct {
    rex_mctx *c;
    rex_tk *t;
    uint32_t i, n;
    bool latex;
    int bars; /* open absolute values that a bar may close */
} ps;

static rex_mx *p_list(ps *p, bool top);
static rex_mx *p_item(ps *p);
static rex_mx *p_sum(ps *p);
static rex_mx *p_primary(ps *p);
static rex_mx *p_factor(ps *p);

static rex_mx *bad(ps *p, const char *why) {
    rex_mx_fail(p->c, REX_MF_SYNTAX, why);
    return NULL;
}

static const rex_tk *cur(const ps *p) { return &p->t[p->i]; }
static const rex_tk *ahead(const ps *p, uint32_t k) {
    return &p->t[p->i + k < p->n ? p->i + k : p->n];
}
static bool at(const ps *p, rex_tk_kind kind, char op) {
    return cur(p)->kind == kind && cur(p)->op == op;
}
static bool eat(ps *p, rex_tk_kind kind, char op) {
    if (!at(p, kind, op)) return false;
    p->i++;
    return true;
}

/* ---- nodes ------------------------------------------------------------------------------- */

rex_mx *rex_mx_new(rex_mctx *c, rex_mx_kind k, uint32_t n) {
    if (c->fault || !rex_mx_step(c, 5)) return NULL;
    if (++c->nodes > REX_MX_NODES) return rex_mx_fail(c, REX_MF_LIMIT, "too many parts"), NULL;
    rex_mx *x = rex_mx_take(c, 1, sizeof *x);
    rex_mx **arg = n ? rex_mx_take(c, n, sizeof(rex_mx *)) : NULL;
    if (!x || (n && !arg)) return NULL;
    x->kind = (uint8_t)k;
    x->n = n;
    x->arg = arg;
    return x;
}

rex_mx *rex_mx_new1(rex_mctx *c, rex_mx_kind k, rex_mx *a) {
    rex_mx *x = a ? rex_mx_new(c, k, 1) : NULL;
    if (x) x->arg[0] = a;
    return x;
}

rex_mx *rex_mx_new2(rex_mctx *c, rex_mx_kind k, rex_mx *a, rex_mx *b) {
    rex_mx *x = a && b ? rex_mx_new(c, k, 2) : NULL;
    if (x) {
        x->arg[0] = a;
        x->arg[1] = b;
    }
    return x;
}

rex_mx *rex_mx_int(rex_mctx *c, slong v) {
    rex_mx *x = rex_mx_new(c, MX_NUM, 0);
    if (x && (x->q = rex_mx_q(c))) fmpq_set_si(x->q, v, 1);
    return x && x->q ? x : NULL;
}

/* One more argument; nodes grow rarely and by doubling. */
static bool push(ps *p, rex_mx *x, rex_mx *a) {
    if (!x || !a) return false;
    if ((x->n & (x->n - 1)) == 0) {
        rex_mx **arg = rex_mx_take(p->c, x->n ? 2 * x->n : 1, sizeof *arg);
        if (!arg) return false;
        if (x->n) memcpy(arg, x->arg, x->n * sizeof *arg);
        x->arg = arg;
    }
    x->arg[x->n++] = a;
    return true;
}

static rex_mx *flat(ps *p, rex_mx_kind k, rex_mx *a, rex_mx *b) { /* a and b under one node */
    if (!a || !b) return NULL;
    if (a->kind == k && a->op == 0) return push(p, a, b) ? a : NULL;
    rex_mx *x = rex_mx_new(p->c, k, 0);
    return push(p, x, a) && push(p, x, b) ? x : NULL;
}

static rex_mx *sym(ps *p, rex_str s) {
    rex_mx *x = rex_mx_new(p->c, MX_SYM, 0);
    if (x) x->s = s;
    return x;
}

static rex_mx *konst(ps *p, int op) {
    rex_mx *x = rex_mx_new(p->c, MX_CONST, 0);
    if (x) x->op = (uint8_t)op;
    return x;
}

static rex_mx *fn(ps *p, rex_mx_fn f, rex_mx *a) {
    rex_mx *x = rex_mx_new1(p->c, MX_FN, a);
    if (x) x->op = (uint8_t)f;
    return x;
}

/* ---- arguments --------------------------------------------------------------------------- */

static bool is_int_lit(const rex_mx *x) {
    return x && x->kind == MX_NUM && x->sig == 0 && fmpz_is_one(fmpq_denref(x->q));
}

/* { ... }: a group of LaTeX; with a comma in it, a set written without backslashes. */
static rex_mx *p_group(ps *p) {
    if (!eat(p, TK_OPEN, '{')) return bad(p, "an opening brace is missing");
    const int bars = p->bars;
    p->bars = 0;
    rex_mx *x = p_list(p, false);
    p->bars = bars;
    if (!x) return NULL;
    if (cur(p)->kind == TK_CHOOSE || cur(p)->kind == TK_OVER) {
        const bool choose = cur(p)->kind == TK_CHOOSE;
        p->i++;
        rex_mx *y = p_sum(p);
        x = rex_mx_new2(p->c, choose ? MX_FN : MX_DIV, x, y);
        if (x && choose) x->op = MXF_binomial;
    }
    if (!eat(p, TK_CLOSE, '{')) return bad(p, "a brace is not closed");
    if (x && x->kind == MX_LIST) x->kind = MX_SET;
    return x;
}

/* The argument of \frac and of a subscript: a group, or one digit, or one primary. */
static rex_mx *p_single(ps *p) {
    if (at(p, TK_OPEN, '{')) return p_group(p);
    rex_tk *t = &p->t[p->i];
    if (t->kind == TK_NUM && t->op == 0 && t->s.n > 1) {
        const rex_str first = { t->s.p, 1 };
        t->s = (rex_str){ t->s.p + 1, t->s.n - 1 };
        t->sp = false;
        if (t->s.p[0] == '.' || t->s.p[0] == '(' || t->s.p[0] == 'e')
            return bad(p, "a decimal where one digit stands");
        return rex_mx_number(p->c, first);
    }
    return p_primary(p);
}

static rex_mx *p_frac(ps *p) {
    p->i++;
    rex_mx *a = p_single(p);
    return a ? rex_mx_new2(p->c, MX_DIV, a, p_single(p)) : NULL;
}

static rex_mx *p_sqrt(ps *p) {
    p->i++;
    rex_mx *order = NULL;
    if (eat(p, TK_OPEN, '[')) {
        order = p_sum(p);
        if (!order || !eat(p, TK_CLOSE, '[')) return bad(p, "the order of a root is not closed");
    }
    if (cur(p)->kind == TK_NUM && cur(p)->s.n > 1) p->c->seen |= REX_RD_MURKY; /* \sqrt10 */
    rex_mx *x = at(p, TK_OPEN, '{') ? p_group(p) : p_primary(p);
    if (!x) return NULL;
    return order ? rex_mx_new2(p->c, MX_ROOT, x, order) : fn(p, MXF_sqrt, x);
}

/* ---- functions --------------------------------------------------------------------------- */

static rex_mx_fn inverse_of(rex_mx_fn f) {
    switch (f) {
    case MXF_sin: return MXF_asin;
    case MXF_cos: return MXF_acos;
    case MXF_tan: return MXF_atan;
    case MXF_sec: return MXF_asec;
    case MXF_csc: return MXF_acsc;
    case MXF_cot: return MXF_acot;
    case MXF_sinh: return MXF_asinh;
    case MXF_cosh: return MXF_acosh;
    case MXF_tanh: return MXF_atanh;
    case MXF_sech: return MXF_asech;
    case MXF_csch: return MXF_acsch;
    case MXF_coth: return MXF_acoth;
    default: return MXF_COUNT;
    }
}

static bool starts_factor(const ps *p, bool in_fn) {
    const rex_tk *t = cur(p);
    switch (t->kind) {
    case TK_NUM:
    case TK_ID:
    case TK_CONST:
    case TK_FRAC:
    case TK_SQRT:
    case TK_BINOM: return true;
    case TK_FN: return !in_fn;
    case TK_BEGIN: return !in_fn;
    case TK_OPEN:
        return t->op == '(' || t->op == '{' || t->op == 'F' || t->op == 'C' || t->op == 'V' ||
               (t->op == '[' && !in_fn);
    case TK_BAR: return p->bars == 0;
    default: return false;
    }
}

/* Without brackets a function takes the product that follows, up to the next function. */
static rex_mx *p_bare_arg(ps *p) {
    bool neg = false;
    if (at(p, TK_OP, '-')) {
        p->i++;
        neg = true;
    }
    rex_mx *x = p_factor(p);
    while (x && starts_factor(p, true) && !at(p, TK_OPEN, '(')) x = flat(p, MX_MUL, x, p_factor(p));
    if (x && at(p, TK_OP, '/')) p->c->seen |= REX_RD_MURKY; /* \sin x/2 */
    return neg ? rex_mx_new1(p->c, MX_NEG, x) : x;
}

static rex_mx *p_args(ps *p, rex_mx *call) {
    const bool round = at(p, TK_OPEN, '('), brace = at(p, TK_OPEN, '{'),
               square = at(p, TK_OPEN, '[');
    const char close = round ? '(' : brace ? '{' : '[';
    const bool product = call->op >= MXF_sin || (call->op >= MXF_exp && call->op <= MXF_lg);
    if (!round && !brace && !square)
        return push(p, call, product ? p_bare_arg(p) : p_factor(p)) ? call : NULL;
    p->i++;
    const int bars = p->bars;
    p->bars = 0;
    for (;;) {
        if (!push(p, call, p_sum(p))) return NULL;
        if (!(cur(p)->kind == TK_SEP && cur(p)->op == ',')) break;
        p->i++;
    }
    p->bars = bars;
    if (!eat(p, TK_CLOSE, close)) return bad(p, "the brackets of a function are not closed");
    return call;
}

static rex_mx *p_fn(ps *p) {
    rex_mx_fn f = (rex_mx_fn)cur(p)->op;
    p->i++;
    rex_mx *base = NULL, *pow = NULL;
    for (int k = 0; k < 2; k++) {
        if (at(p, TK_SUB, 0) && !base) {
            p->i++;
            if (!(base = p_single(p))) return NULL;
        } else if (at(p, TK_OP, '^') && !pow) {
            p->i++;
            if (at(p, TK_OP, '-')) {
                p->i++;
                pow = rex_mx_new1(p->c, MX_NEG, p_single(p));
            } else {
                pow = p_single(p);
            }
            if (!pow) return NULL;
        }
    }
    const bool minus_one =
        pow && pow->kind == MX_NEG && is_int_lit(pow->arg[0]) && fmpq_is_one(pow->arg[0]->q);
    if (minus_one && inverse_of(f) != MXF_COUNT) {
        f = inverse_of(f);
        pow = NULL;
    }
    rex_mx *x = rex_mx_new(p->c, MX_FN, 0);
    if (!x) return NULL;
    x->op = (uint8_t)f;
    if (!p_args(p, x)) return NULL;
    if (base) {
        if ((f != MXF_log && f != MXF_ln && f != MXF_lg) || x->n != 1)
            return bad(p, "a subscript of a function");
        x->op = MXF_log;
        if (!push(p, x, base)) return NULL;
    }
    return pow ? rex_mx_new2(p->c, MX_POW, x, pow) : x;
}

/* ---- brackets ---------------------------------------------------------------------------- */

static rex_mx *p_around(ps *p, char open, rex_mx_fn f) {
    p->i++;
    const int bars = p->bars;
    p->bars = open == '|' ? 1 : 0;
    rex_mx *x = p_sum(p);
    p->bars = bars;
    const bool closed = open == '|' ? cur(p)->kind == TK_BAR : at(p, TK_CLOSE, open);
    if (!x) return NULL;
    if (!closed) return bad(p, "an absolute value, floor or ceiling is not closed");
    p->i++;
    return fn(p, f, x);
}

static rex_mx *p_bracket(ps *p) {
    const char lb = cur(p)->op;
    p->i++;
    if (lb == 'S' && eat(p, TK_CLOSE, 'S')) return konst(p, MXC_EMPTY);
    const int bars = p->bars;
    p->bars = lb == 'S' ? 1 : 0;
    rex_mx *x = p_list(p, false);
    if (x && lb == 'S' && cur(p)->kind == TK_BAR) { /* { x | condition } */
        p->i++;
        p->bars = 0;
        x = p_list(p, false);
        p->bars = bars;
        return x && eat(p, TK_CLOSE, 'S') ? x : bad(p, "a set is not closed");
    }
    p->bars = bars;
    if (!x) return NULL;
    if (cur(p)->kind != TK_CLOSE) return bad(p, "a bracket is not closed");
    const char rb = cur(p)->op;
    p->i++;
    const bool many = x->kind == MX_LIST;
    if (lb == 'S' || lb == 'A' || rb == 'S' || rb == 'A') {
        if (lb != rb) return bad(p, "brackets that do not match");
        if (!many) {
            rex_mx *s = rex_mx_new(p->c, lb == 'S' ? MX_SET : MX_TUPLE, 0);
            return push(p, s, x) ? s : NULL;
        }
        x->kind = lb == 'S' ? MX_SET : MX_TUPLE;
        return x;
    }
    if ((lb != '(' && lb != '[') || (rb != '(' && rb != '['))
        return bad(p, "brackets that do not match");
    if (!many) {
        if (lb != rb) return bad(p, "brackets that do not match");
        if (x->kind == MX_ADD || x->kind == MX_MUL) { /* keep the brackets: no flattening */
            rex_mx *g = rex_mx_new(p->c, (rex_mx_kind)x->kind, 0);
            if (!g) return NULL;
            *g = *x;
            g->op = 1;
            return g;
        }
        return x;
    }
    if (x->n == 2) {
        x->kind = MX_PAIR;
    } else {
        if (lb != rb) return bad(p, "brackets that do not match");
        x->kind = MX_TUPLE;
    }
    x->lb = lb;
    x->rb = rb;
    x->op = 0;
    return x;
}

static rex_mx *p_matrix(ps *p) {
    if (cur(p)->op == 'v' || cur(p)->op == 'V') return bad(p, "a determinant");
    p->i++;
    rex_mx *m = rex_mx_new(p->c, MX_MATRIX, 0);
    uint32_t rows = 0, row_start = 0, cols = 0;
    const int bars = p->bars;
    p->bars = 0;
    while (m) {
        while (at(p, TK_AMP, 0) || cur(p)->kind == TK_END)
            return bad(p, "an empty entry of a matrix");
        if (cur(p)->kind == TK_ENDENV && m->n == row_start && rows) break; /* a last \\ */
        if (!push(p, m, p_item(p))) return NULL;
        if (eat(p, TK_AMP, 0)) continue;
        const uint32_t here = m->n - row_start;
        if (rows && here != cols) return bad(p, "rows of different lengths");
        cols = here;
        rows++;
        row_start = m->n;
        if (eat(p, TK_ROW, 0)) continue;
        break;
    }
    p->bars = bars;
    if (!m || cur(p)->kind != TK_ENDENV) return bad(p, "a matrix is not closed");
    p->i++;
    if (rows > 200) return bad(p, "a matrix with too many rows");
    m->op = (uint8_t)rows;
    return m;
}

/* ---- names ------------------------------------------------------------------------------- */

/* The text of a subscript, without braces and spaces. */
static bool subscript(ps *p, char *buf, size_t *n, size_t cap) {
    p->i++;
    const bool group = eat(p, TK_OPEN, '{');
    uint32_t first = p->i, depth = 0;
    while (cur(p)->kind != TK_END &&
           (group ? !(depth == 0 && at(p, TK_CLOSE, '{')) : p->i == first)) {
        const rex_tk *t = cur(p);
        if (at(p, TK_OPEN, '{')) depth++;
        else if (at(p, TK_CLOSE, '{')) depth--;
        else {
            if (*n + t->s.n + 1 >= cap) return bad(p, "a name is too long") != NULL;
            memcpy(buf + *n, t->s.p, t->s.n);
            *n += t->s.n;
        }
        p->i++;
    }
    if (p->i == first || (group && !eat(p, TK_CLOSE, '{')))
        return bad(p, "an empty subscript") != NULL;
    return true;
}

static rex_mx *p_name(ps *p) {
    const rex_tk *t = cur(p);
    p->i++;
    const size_t cap = 256;
    char *buf = rex_mx_take(p->c, cap, 1);
    if (!buf || t->s.n >= cap - 8) return bad(p, "a name is too long");
    size_t n = 0;
    if (t->op == 'o') buf[n++] = '~'; /* \overline{CD} is not CD */
    memcpy(buf + n, t->s.p, t->s.n);
    n += t->s.n;
    if (t->op == 'g') {
        const bool figure = rex_str_is(t->s, "triangle") || rex_str_is(t->s, "angle");
        if (n > 1) buf[n++] = ' ';
        while (figure && cur(p)->kind == TK_ID && n + cur(p)->s.n < cap - 8) {
            memcpy(buf + n, cur(p)->s.p, cur(p)->s.n);
            n += cur(p)->s.n;
            p->i++;
        }
    }
    for (;;) {
        if (at(p, TK_PRIME, 0) && n < cap - 8) {
            buf[n++] = '\'';
            p->i++;
        } else if (at(p, TK_SUB, 0)) {
            buf[n++] = '_';
            if (!subscript(p, buf, &n, cap - 8)) return NULL;
        } else {
            break;
        }
    }
    const bool letter = t->s.n == 1 && strchr("fghFGHPQ", t->s.p[0]);
    if (letter && at(p, TK_OPEN, '(') && !cur(p)->sp) { /* f(2) */
        p->i++;
        rex_mx *x = rex_mx_new1(p->c, MX_APP, p_sum(p));
        if (!x || !eat(p, TK_CLOSE, '('))
            return bad(p, "the brackets of a function are not closed");
        x->s = (rex_str){ buf, n };
        return x;
    }
    return sym(p, (rex_str){ buf, n });
}

/* ---- numbers ----------------------------------------------------------------------------- */

static rex_mx *p_based(ps *p, rex_str digits) { /* digits with a base as subscript */
    p->i++;
    rex_mx *b = p_single(p);
    if (!b) return NULL;
    if (!is_int_lit(b) || fmpz_cmp_ui(fmpq_numref(b->q), 2) < 0 ||
        fmpz_cmp_ui(fmpq_numref(b->q), 36) > 0)
        return bad(p, "a base that is no integer from 2 to 36");
    const ulong base = fmpz_get_ui(fmpq_numref(b->q));
    rex_mx *x = rex_mx_new(p->c, MX_BASE, 0);
    if (!x || !(x->q = rex_mx_q(p->c))) return NULL;
    x->op = (uint8_t)base;
    x->s = digits;
    bool point = false;
    for (size_t k = 0; k < digits.n; k++) {
        const char ch = digits.p[k];
        if (ch == '.' && !point) {
            point = true;
            continue;
        }
        const ulong d = ch >= '0' && ch <= '9'   ? (ulong)(ch - '0')
                        : ch >= 'A' && ch <= 'Z' ? (ulong)(ch - 'A') + 10
                                                 : 99;
        if (d >= base) return bad(p, "a digit that the base does not have");
        fmpz_mul_ui(fmpq_numref(x->q), fmpq_numref(x->q), base);
        fmpz_add_ui(fmpq_numref(x->q), fmpq_numref(x->q), d);
        if (point) fmpz_mul_ui(fmpq_denref(x->q), fmpq_denref(x->q), base);
    }
    fmpq_canonicalise(x->q);
    return x;
}

static rex_mx *p_number(ps *p) {
    const rex_tk t = *cur(p);
    p->i++;
    if (at(p, TK_SUB, 0)) return p_based(p, t.s);
    if (t.op == 'b') return bad(p, "letters in a number");
    rex_mx *x = rex_mx_number(p->c, t.s);
    if (!is_int_lit(x)) return x;
    /* mixed numbers: 1\frac{2}{3}, and 1 2/3 with a space */
    if (cur(p)->kind == TK_FRAC) {
        const uint32_t back = p->i;
        const rex_tk save = p->t[back + 1 < p->n ? back + 1 : back],
                     save2 = p->t[back + 2 < p->n ? back + 2 : back];
        rex_mx *f = p_frac(p);
        if (!f) return NULL;
        if (is_int_lit(f->arg[0]) && is_int_lit(f->arg[1]) && fmpq_sgn(f->arg[0]->q) > 0)
            return rex_mx_new2(p->c, MX_ADD, x, f);
        if (back + 1 < p->n) p->t[back + 1] = save;
        if (back + 2 < p->n) p->t[back + 2] = save2;
        return flat(p, MX_MUL, x, f);
    }
    if (cur(p)->kind == TK_NUM && cur(p)->sp && ahead(p, 1)->kind == TK_OP &&
        ahead(p, 1)->op == '/' && ahead(p, 2)->kind == TK_NUM) {
        rex_mx *a = rex_mx_number(p->c, cur(p)->s), *b = rex_mx_number(p->c, ahead(p, 2)->s);
        p->i += 3;
        if (!is_int_lit(a) || !is_int_lit(b)) return bad(p, "two numbers side by side");
        return rex_mx_new2(p->c, MX_ADD, x, rex_mx_new2(p->c, MX_DIV, a, b));
    }
    return x;
}

/* ---- factors ----------------------------------------------------------------------------- */

static rex_mx *p_primary(ps *p) {
    if (p->c->depth > REX_MX_DEPTH) {
        rex_mx_fail(p->c, REX_MF_LIMIT, "nested too deeply");
        return NULL;
    }
    const rex_tk *t = cur(p);
    rex_mx *x = NULL;
    p->c->depth++;
    switch (t->kind) {
    case TK_NUM: x = p_number(p); break;
    case TK_ID: x = p_name(p); break;
    case TK_CONST:
        p->i++;
        x = konst(p, t->op);
        break;
    case TK_FN: x = p_fn(p); break;
    case TK_FRAC: x = p_frac(p); break;
    case TK_SQRT: x = p_sqrt(p); break;
    case TK_BINOM:
        p->i++;
        x = p_single(p);
        x = x ? rex_mx_new2(p->c, MX_FN, x, p_single(p)) : NULL;
        if (x) x->op = MXF_binomial;
        break;
    case TK_BEGIN: x = p_matrix(p); break;
    case TK_BAR: x = p_around(p, '|', MXF_abs); break;
    case TK_TEXT:
        p->i++;
        x = sym(p, t->s);
        break;
    case TK_OPEN:
        if (t->op == '{') x = p_group(p);
        else if (t->op == 'F') x = p_around(p, 'F', MXF_floor);
        else if (t->op == 'C') x = p_around(p, 'C', MXF_ceiling);
        else if (t->op == 'V') x = p_around(p, 'V', MXF_abs);
        else x = p_bracket(p);
        break;
    default:
        x = bad(p, t->kind == TK_END ? "it ends where a value should stand" : "a value is missing");
    }
    p->c->depth--;
    return x;
}

static rex_mx *p_exponent(ps *p) {
    if (at(p, TK_OP, '-') || at(p, TK_OP, '+')) {
        const bool neg = at(p, TK_OP, '-');
        p->i++;
        rex_mx *x = p_exponent(p);
        return neg ? rex_mx_new1(p->c, MX_NEG, x) : x;
    }
    rex_mx *x = p_primary(p);
    if (x && at(p, TK_OP, '^')) { /* right to left */
        p->i++;
        x = rex_mx_new2(p->c, MX_POW, x, p_exponent(p));
    }
    return x;
}

/* ^\circ or ^{\circ} or ^{\prime} at the position; eaten if so. */
static bool raised(ps *p, rex_tk_kind kind) {
    if (ahead(p, 1)->kind == kind) {
        p->i += 2;
        return true;
    }
    if (ahead(p, 1)->kind == TK_OPEN && ahead(p, 1)->op == '{' && ahead(p, 2)->kind == kind &&
        ahead(p, 3)->kind == TK_CLOSE) {
        p->i += 4;
        return true;
    }
    return false;
}

static rex_mx *p_factor(ps *p) {
    rex_mx *x = p_primary(p);
    while (x) {
        if (at(p, TK_OP, '^')) {
            if (raised(p, TK_DEG)) {
                x = rex_mx_new1(p->c, MX_DEG, x);
                continue;
            }
            p->i++;
            x = rex_mx_new2(p->c, MX_POW, x, p_exponent(p));
        } else if (at(p, TK_BANG, 0)) {
            p->i++;
            if (at(p, TK_BANG, 0)) return bad(p, "a double factorial");
            x = fn(p, MXF_factorial, x);
        } else if (cur(p)->kind == TK_PERCENT) {
            p->i++;
            x = rex_mx_new1(p->c, MX_PERCENT, x);
        } else if (cur(p)->kind == TK_DEG) {
            p->i++;
            x = rex_mx_new1(p->c, MX_DEG, x);
        } else {
            break;
        }
    }
    return x;
}

/* ---- products and sums ------------------------------------------------------------------- */

static bool literal(const rex_mx *x) {
    return x && (x->kind == MX_NUM || (x->kind == MX_NEG && literal(x->arg[0])));
}

/* Words behind a value: a unit, dropped by the comparison; powers of it, too. */
static rex_mx *p_units(ps *p, rex_mx *x) {
    while (x && (cur(p)->kind == TK_TEXT || cur(p)->kind == TK_CURR)) {
        rex_mx *u = rex_mx_new1(p->c, MX_UNIT, x);
        if (!u) return NULL;
        u->s = cur(p)->s;
        p->i++;
        if (at(p, TK_OP, '^')) {
            p->i++;
            if (!p_exponent(p)) return NULL;
        }
        if (at(p, TK_OP, '/') && ahead(p, 1)->kind == TK_TEXT) p->i++;
        if (at(p, TK_OP, '/') && ahead(p, 1)->kind == TK_ID && ahead(p, 2)->kind == TK_END)
            p->i += 2; /* km/h */
        x = u;
    }
    const rex_tk *t = cur(p);
    if (x && literal(x) && t->kind == TK_ID && t->sp && t->s.n == 1 &&
        strchr("mgshLNJWVKA", t->s.p[0]) && ahead(p, 1)->kind == TK_END) {
        rex_mx *u = rex_mx_new1(p->c, MX_UNIT, x);
        if (u) {
            u->s = t->s;
            u->op = 1;
        }
        p->i++;
        return u;
    }
    return x;
}

static rex_mx *p_money(ps *p) { /* a currency sign before the number */
    const rex_str s = cur(p)->s;
    p->i++;
    rex_mx *x = p_factor(p);
    rex_mx *u = rex_mx_new1(p->c, MX_UNIT, x);
    if (u) u->s = s;
    return u;
}

static rex_mx *p_signed(ps *p) {
    if (p->c->depth > REX_MX_DEPTH) {
        rex_mx_fail(p->c, REX_MF_LIMIT, "nested too deeply");
        return NULL;
    }
    if (at(p, TK_OP, '-') || at(p, TK_OP, '+')) {
        const bool neg = at(p, TK_OP, '-');
        p->i++;
        p->c->depth++;
        rex_mx *x = p_signed(p);
        p->c->depth--;
        return neg ? rex_mx_new1(p->c, MX_NEG, x) : x;
    }
    return cur(p)->kind == TK_CURR ? p_money(p) : p_factor(p);
}

static rex_mx *p_term(ps *p) {
    rex_mx *x = p_signed(p);
    bool slash = false;
    while (x) {
        const rex_tk *t = cur(p), *before = &p->t[p->i ? p->i - 1 : 0];
        if (at(p, TK_OP, '*')) {
            p->i++;
            x = flat(p, MX_MUL, x, p_signed(p));
            slash = false;
        } else if (at(p, TK_OP, '/')) {
            p->i++;
            x = rex_mx_new2(p->c, MX_DIV, x, p_signed(p));
            slash = true;
        } else if (t->kind == TK_TEXT || t->kind == TK_CURR) {
            x = p_units(p, x);
            if (starts_factor(p, false)) return bad(p, "a value behind a unit");
        } else if (starts_factor(p, false)) {
            if (t->kind == TK_ID) {
                rex_mx *u = p_units(p, x);
                if (u != x) return u;
            }
            if (t->kind == TK_NUM) {
                if (before->kind == TK_NUM) return bad(p, "two numbers side by side");
                p->c->seen |= REX_RD_MURKY; /* x2 */
            }
            rex_mx *f = p_factor(p);
            if (slash && !t->sp && !t->cmd && x->kind == MX_DIV) { /* 1/2x */
                p->c->seen |= REX_RD_SLASH;
                if (p->c->reading & REX_RD_SLASH) {
                    x = rex_mx_new2(p->c, MX_DIV, x->arg[0], flat(p, MX_MUL, x->arg[1], f));
                    continue;
                }
            }
            x = flat(p, MX_MUL, x, f);
            slash = false;
        } else {
            break;
        }
    }
    return x;
}

static rex_mx *p_sum(ps *p) {
    rex_mx *x;
    if (p->c->depth > REX_MX_DEPTH)
        return rex_mx_fail(p->c, REX_MF_LIMIT, "nested too deeply"), NULL;
    p->c->depth++;
    if (at(p, TK_OP, 'p') || at(p, TK_OP, 'm')) { /* +-3 */
        x = rex_mx_int(p->c, 0);
    } else {
        x = p_term(p);
    }
    while (x) {
        if (at(p, TK_OP, '+')) {
            p->i++;
            x = flat(p, MX_ADD, x, p_term(p));
        } else if (at(p, TK_OP, '-')) {
            p->i++;
            x = flat(p, MX_ADD, x, rex_mx_new1(p->c, MX_NEG, p_term(p)));
        } else if (at(p, TK_OP, 'p') || at(p, TK_OP, 'm')) {
            const bool lower = at(p, TK_OP, 'm');
            p->i++;
            x = rex_mx_new2(p->c, MX_PM, x, p_term(p));
            if (x) x->op = lower;
        } else {
            break;
        }
    }
    p->c->depth--;
    return x;
}

/* ---- sets, relations, lists -------------------------------------------------------------- */

static rex_mx *p_ratio(ps *p) {
    rex_mx *x = p_sum(p);
    while (x && at(p, TK_OP, ':')) {
        p->i++;
        x = flat(p, MX_RATIO, x, p_sum(p));
    }
    return x;
}

static rex_mx *p_sets(ps *p) {
    rex_mx *x = p_ratio(p);
    while (x) {
        const uint8_t k = cur(p)->kind;
        if (k != TK_CUP && k != TK_CAP && k != TK_SETMINUS) break;
        p->i++;
        rex_mx *y = p_ratio(p);
        x = k == TK_CUP ? flat(p, MX_UNION, x, y)
                        : rex_mx_new2(p->c, k == TK_CAP ? MX_INTER : MX_MINUS, x, y);
    }
    return x;
}

static rex_mx *p_item(ps *p) {
    if (at(p, TK_REL, 'a') || at(p, TK_REL, '=')) p->i++; /* "= 5", "\approx 8.2" */
    rex_mx *x = p_sets(p);
    if (!x) return NULL;
    if (cur(p)->kind == TK_BANG && cur(p)->op == 'n' && ahead(p, 1)->kind == TK_REL &&
        ahead(p, 1)->op == '=') {
        p->i++; /* \not= */
        p->t[p->i].op = 'n';
    }
    if (cur(p)->kind == TK_IN) {
        p->i++;
        return rex_mx_new2(p->c, MX_IN, x, p_sets(p));
    }
    if (cur(p)->kind != TK_REL) return x;
    rex_mx *r = rex_mx_new(p->c, MX_REL, 0);
    char *ops = rex_mx_take(p->c, 64, 1);
    size_t n = 0;
    if (!ops || !push(p, r, x)) return NULL;
    while (cur(p)->kind == TK_REL) {
        if (n == 60) return bad(p, "too many relations in one chain");
        ops[n++] = cur(p)->op;
        p->i++;
        if (!push(p, r, p_sets(p))) return NULL;
    }
    r->s = (rex_str){ ops, n };
    return r;
}

/* Items with commas, semicolons, "and", "or" between them; one alone is itself. */
static rex_mx *p_list(ps *p, bool top) {
    if (p->c->depth > REX_MX_DEPTH)
        return rex_mx_fail(p->c, REX_MF_LIMIT, "nested too deeply"), NULL;
    p->c->depth++;
    rex_mx *first = p_item(p), *list = NULL;
    while (first && cur(p)->kind == TK_SEP) {
        bool either = false;
        while (cur(p)->kind == TK_SEP) {
            either = either || cur(p)->op == 'o';
            p->i++;
        }
        if (cur(p)->kind == TK_END && top) break;
        if (!list) {
            list = rex_mx_new(p->c, MX_LIST, 0);
            if (!push(p, list, first)) return NULL;
        }
        if (either) list->op = 1;
        if (!push(p, list, p_item(p))) return NULL;
    }
    p->c->depth--;
    return list ? list : first;
}

rex_mx *rex_mx_parse(rex_mctx *c, rex_str text) {
    ps p = { .c = c };
    if (!rex_mx_lex(c, text, &p.t, &p.n, &p.latex)) return NULL;
    if (p.n == 0) return bad(&p, "it is empty");
    rex_mx *x = p_list(&p, true);
    if (x && cur(&p)->kind != TK_END) return bad(&p, "it does not end where its meaning ends");
    return c->fault ? NULL : x;
}
