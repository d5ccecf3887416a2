/* SPDX-License-Identifier: MIT
 *
 * math_lex.c: text to tokens, LaTeX and plain infix alike. Spacing commands, \left, \right and
 * dollar signs vanish here; a number comes out in one spelling, digits[.digits][(period)][e[-]n],
 * whatever separators it was written with; a run of letters becomes a function, a constant, single
 * letters, one name or a word. Nothing here decides what an answer means.
 *
 * Judgement calls made here (docs/grading.md): 1,234 is a number and 1, 234 are two; inside
 * brackets a tight comma separates unless another comma of the same bracket has a space behind it;
 * `{,}` and `,\!` never separate.
 */
#include "math_in.h"

#include <string.h>

typedef struct {
    rex_mctx *c;
    const char *p;
    size_t n, i;
    rex_tk *t;
    uint32_t nt, cap;
    bool sp, latex;
    int depth; /* of brackets that hold items */
} lx;

static bool is_digit(int ch) { return ch >= '0' && ch <= '9'; }
static bool is_upper(int ch) { return ch >= 'A' && ch <= 'Z'; }
static bool is_lower(int ch) { return ch >= 'a' && ch <= 'z'; }
static bool is_alpha(int ch) { return is_upper(ch) || is_lower(ch); }
static bool is_base_digit(int ch) { return is_digit(ch) || is_upper(ch); }
static bool is_space(int ch) {
    return ch == ' ' || ch == '\t' || ch == '\n' || ch == '\r' || ch == '~';
}

static int peek(const lx *l, size_t k) {
    return l->i + k < l->n ? (unsigned char)l->p[l->i + k] : -1;
}
static rex_str cut(const lx *l, size_t from, size_t to) {
    return (rex_str){l->p + from, to - from};
}

static rex_tk *put(lx *l, rex_tk_kind kind, char op, rex_str s) {
    if (l->nt + 2 >= l->cap) { /* the last place is a sink */
        rex_mx_fail(l->c, REX_MF_LIMIT, "the answer is too long");
        return &l->t[l->cap - 1];
    }
    rex_tk *t = &l->t[l->nt++];
    *t = (rex_tk){ .kind = (uint8_t)kind, .op = op, .sp = l->sp, .s = s, .at = (int32_t)l->i };
    l->sp = false;
    return t;
}

/* ---- tables ------------------------------------------------------------------------------ */

typedef struct {
    const char *name;
    rex_tk_kind kind;
    char op;
} row;

static const row commands[] = {
    {"cdot", TK_OP, '*'},
    {"times", TK_OP, '*'},
    {"ast", TK_OP, '*'},
    {"div", TK_OP, '/'},
    {"pm", TK_OP, 'p'},
    {"mp", TK_OP, 'm'},
    {"colon", TK_OP, ':'},
    {"bullet", TK_OP, '*'},
    {"le", TK_REL, 'l'},
    {"leq", TK_REL, 'l'},
    {"leqslant", TK_REL, 'l'},
    {"leqq", TK_REL, 'l'},
    {"ge", TK_REL, 'g'},
    {"geq", TK_REL, 'g'},
    {"geqslant", TK_REL, 'g'},
    {"geqq", TK_REL, 'g'},
    {"lt", TK_REL, '<'},
    {"gt", TK_REL, '>'},
    {"ne", TK_REL, 'n'},
    {"neq", TK_REL, 'n'},
    {"approx", TK_REL, 'a'},
    {"simeq", TK_REL, 'a'},
    {"doteq", TK_REL, 'a'},
    {"equiv", TK_REL, '='},
    {"in", TK_IN, 0},
    {"cup", TK_CUP, 0},
    {"bigcup", TK_CUP, 0},
    {"cap", TK_CAP, 0},
    {"setminus", TK_SETMINUS, 0},
    {"backslash", TK_SETMINUS, 0},
    {"smallsetminus", TK_SETMINUS, 0},
    {"infty", TK_CONST, MXC_INF},
    {"pi", TK_CONST, MXC_PI},
    {"emptyset", TK_CONST, MXC_EMPTY},
    {"varnothing", TK_CONST, MXC_EMPTY},
    {"imath", TK_CONST, MXC_I},
    {"R", TK_CONST, MXC_REALS},
    {"frac", TK_FRAC, 0},
    {"dfrac", TK_FRAC, 0},
    {"tfrac", TK_FRAC, 0},
    {"cfrac", TK_FRAC, 0},
    {"sqrt", TK_SQRT, 0},
    {"binom", TK_BINOM, 0},
    {"dbinom", TK_BINOM, 0},
    {"tbinom", TK_BINOM, 0},
    {"choose", TK_CHOOSE, 0},
    {"over", TK_OVER, 0},
    {"circ", TK_DEG, 0},
    {"degree", TK_DEG, 0},
    {"prime", TK_PRIME, 0},
    {"ldots", TK_DOTS, 0},
    {"cdots", TK_DOTS, 0},
    {"dots", TK_DOTS, 0},
    {"dotsc", TK_DOTS, 0},
    {"vert", TK_BAR, 0},
    {"mid", TK_BAR, 0},
    {"lvert", TK_OPEN, 'V'},
    {"rvert", TK_CLOSE, 'V'},
    {"lfloor", TK_OPEN, 'F'},
    {"rfloor", TK_CLOSE, 'F'},
    {"lceil", TK_OPEN, 'C'},
    {"rceil", TK_CLOSE, 'C'},
    {"langle", TK_OPEN, 'A'},
    {"rangle", TK_CLOSE, 'A'},
    {"lbrace", TK_OPEN, 'S'},
    {"rbrace", TK_CLOSE, 'S'},
    {"lbrack", TK_OPEN, '['},
    {"rbrack", TK_CLOSE, ']'},
    {"land", TK_SEP, 'a'},
    {"wedge", TK_SEP, 'a'},
    {"lor", TK_SEP, 'o'},
    {"vee", TK_SEP, 'o'},
};

static const char *const skipped[] = {
    "left",      "right",    "big",          "Big",       "bigg",        "Bigg",    "bigl",
    "bigr",      "Bigl",     "Bigr",         "biggl",     "biggr",       "Biggl",   "Biggr",
    "quad",      "qquad",    "displaystyle", "textstyle", "scriptstyle", "limits",  "nolimits",
    "mathstrut", "nonumber", "notag",        "thinspace", "ensuremath",  "boxed",   "fbox",
    "bf",        "rm",       "it",           "hfill",     "noindent",    "mathrel", "mathop",
    "mathbin",   "strut",    "smash",        "enspace",
};
static const char *const greek[] = {
    "alpha", "beta",   "gamma", "delta", "epsilon", "zeta",     "eta",   "theta",  "iota",
    "kappa", "lambda", "mu",    "nu",    "xi",      "rho",      "sigma", "tau",    "upsilon",
    "phi",   "chi",    "psi",   "omega", "Gamma",   "Delta",    "Theta", "Lambda", "Xi",
    "Sigma", "Phi",    "Psi",   "Omega", "ell",     "triangle", "angle", "hbar",
};
static const char *const texts[] = {"text",         "mbox",   "textrm", "textnormal",
                                    "textsf",       "texttt", "hbox",   "mathrm",
                                    "operatorname", "textup", "textsc"};
static const char *const faces[] = {"mathbf",    "boldsymbol", "mathit", "mathsf",
                                    "mathcal",   "textbf",     "textit", "emph",
                                    "underline", "bm",         "bold",   "mathtt"};
static const char *const accents[] = { "overline", "bar", "vec", "hat", "widehat", "tilde",
                                       "overrightarrow", "overleftrightarrow", "widetilde" };
static const char *const voids[] = {"phantom", "hphantom", "vphantom", "hspace",
                                    "vspace",  "label",    "tag",      "color"};

static bool among(rex_str s, const char *const *list, size_t n) {
    for (size_t k = 0; k < n; k++)
        if (rex_str_is(s, list[k])) return true;
    return false;
}
#define AMONG(s, list) among((s), (list), sizeof(list) / sizeof *(list))

rex_mx_fn rex_mx_fn_find(rex_str s) {
    static const struct {
        const char *name;
        rex_mx_fn f;
    } also[] = {
        {"arcsin", MXF_asin},   {"arccos", MXF_acos},    {"arctan", MXF_atan},
        {"arcsec", MXF_asec},   {"arccsc", MXF_acsc},    {"arccot", MXF_acot},
        {"arcsinh", MXF_asinh}, {"arccosh", MXF_acosh},  {"arctanh", MXF_atanh},
        {"arsinh", MXF_asinh},  {"arcosh", MXF_acosh},   {"artanh", MXF_atanh},
        {"arcsech", MXF_asech}, {"arccsch", MXF_acsch},  {"arccoth", MXF_acoth},
        {"cosec", MXF_csc},     {"cotan", MXF_cot},      {"Abs", MXF_abs},
        {"ceil", MXF_ceiling},  {"binom", MXF_binomial}, {"Max", MXF_max},
        {"Min", MXF_min},       {"Re", MXF_re},          {"Im", MXF_im},
        {"tg", MXF_tan},        {"ctg", MXF_cot},        {"conjugate", MXF_conj},
        {"arg", MXF_arg},
    };
#define X(n) if (rex_str_is(s, #n)) return MXF_##n;
    REX_MX_FNS(X)
#undef X
    for (size_t k = 0; k < sizeof also / sizeof *also; k++)
        if (rex_str_is(s, also[k].name)) return also[k].f;
    return MXF_COUNT;
}

/* ---- numbers ----------------------------------------------------------------------------- */

/* Length of a group separator at `at` (0: none): `{,}`, `,\!`, `\,`, a comma or a space. */
static size_t separator(const lx *l, size_t at, bool *hard) {
    const char *p = l->p + at;
    const size_t n = l->n - at;
    *hard = true;
    if (n >= 3 && !memcmp(p, "{,}", 3)) return 3;
    if (n >= 3 && !memcmp(p, ",\\!", 3)) {
        size_t k = 3;
        while (k < n && is_space(p[k])) k++;
        return k;
    }
    if (n >= 4 && !memcmp(p, ", \\!", 4)) {
        size_t k = 4;
        while (k < n && is_space(p[k])) k++;
        return k;
    }
    if (n >= 2 && !memcmp(p, "\\,", 2)) return 2;
    *hard = false;
    if (n >= 1 && (*p == ',' || *p == ' ')) return 1;
    return 0;
}

/* A comma of the same bracket that has a space behind it. */
static bool spaced_comma(const lx *l, size_t at) {
    int depth = 0;
    for (size_t k = at; k-- > 0;) {
        if (strchr(")]}", l->p[k]) && l->p[k]) depth++;
        if (strchr("([{", l->p[k]) && l->p[k] && depth-- == 0) break;
        if (depth == 0 && l->p[k] == ',' && k + 1 < l->n && is_space(l->p[k + 1])) return true;
    }
    depth = 0;
    for (size_t k = at; k < l->n; k++) {
        if (l->p[k] && strchr("([{", l->p[k])) depth++;
        if (l->p[k] && strchr(")]}", l->p[k]) && depth-- == 0) break;
        if (depth == 0 && l->p[k] == ',' && k + 1 < l->n && is_space(l->p[k + 1])) return true;
    }
    return false;
}

/* Groups of three behind the first group, all with the same kind of separator. */
static size_t take_groups(lx *l, char *out, size_t *m) {
    const size_t start = l->i;
    size_t at = l->i;
    while (at < l->n && is_digit(l->p[at])) out[(*m)++] = l->p[at++];
    const size_t first = at - start;
    if (first > 3 || first == 0 || (l->p[start] == '0' && first == 1)) return at;
    size_t end = at, kept = *m;
    char kind = 0;
    for (;;) {
        bool hard;
        const size_t k = separator(l, at, &hard);
        if (k == 0 || at + k + 3 > l->n) break;
        const char *d = l->p + at + k;
        if (!is_digit(d[0]) || !is_digit(d[1]) || !is_digit(d[2])) break;
        const char now = hard && l->p[at] != '\\' ? 'h' : l->p[at];
        if (kind && now != kind) break;
        kind = now;
        memcpy(out + *m, d, 3);
        *m += 3;
        at += k + 3;
    }
    const bool cut_short = at < l->n && is_digit(l->p[at]);
    const bool list = kind == ',' && l->depth > 0 && !spaced_comma(l, start);
    const bool mixed = kind == ' ' && at < l->n && l->p[at] == '/';
    if (kind && !cut_short && !list && !mixed) return at;
    *m = kept;
    return end;
}

/* The period behind the decimal digits: \overline{3}, \bar 3, \dot{3}, (3), or dots. */
static void take_period(lx *l, char *out, size_t *m, size_t frac) {
    static const char *const heads[] = { "\\overline{", "\\bar{", "\\dot{" };
    for (size_t k = 0; k < 3; k++) {
        const size_t h = strlen(heads[k]);
        if (l->i + h >= l->n || memcmp(l->p + l->i, heads[k], h)) continue;
        size_t e = l->i + h;
        while (e < l->n && is_digit(l->p[e])) e++;
        if (e == l->i + h || e >= l->n || l->p[e] != '}') return;
        out[(*m)++] = '(';
        memcpy(out + *m, l->p + l->i + h, e - l->i - h);
        *m += e - l->i - h;
        out[(*m)++] = ')';
        l->i = e + 1;
        return;
    }
    if (peek(l, 0) == '(' && is_digit(peek(l, 1))) {
        size_t e = l->i + 1;
        while (e < l->n && is_digit(l->p[e])) e++;
        if (e >= l->n || l->p[e] != ')') return;
        memcpy(out + *m, l->p + l->i, e + 1 - l->i);
        *m += e + 1 - l->i;
        l->i = e + 1;
        return;
    }
    size_t dots = 0;
    if (peek(l, 0) == '.' && peek(l, 1) == '.') dots = peek(l, 2) == '.' ? 3 : 2;
    else if (l->n - l->i >= 6 &&
             (!memcmp(l->p + l->i, "\\ldots", 6) || !memcmp(l->p + l->i, "\\cdots", 6)))
        dots = 6;
    else if (l->n - l->i >= 5 && !memcmp(l->p + l->i, "\\dots", 5)) dots = 5;
    else if (l->n - l->i >= 3 && !memcmp(l->p + l->i, "\xe2\x80\xa6", 3)) dots = 3;
    if (dots == 0) return;
    const size_t n = *m - frac;
    for (size_t k = 1; k * 2 <= n; k++) { /* the shortest period that is seen twice (thrice if 1) */
        const char *end = out + *m;
        const size_t need = k == 1 ? 3 : 2;
        if (k * need > n) continue;
        bool same = true;
        for (size_t r = 2; r <= need; r++) same = same && !memcmp(end - k, end - r * k, k);
        if (!same) continue;
        memmove(out + *m - k + 1, out + *m - k, k);
        out[*m - k] = '(';
        *m += 1;
        out[(*m)++] = ')';
        l->i += dots;
        return;
    }
    rex_mx_fail(l->c, REX_MF_SYNTAX, "a decimal that goes on without a visible period");
}

static void lex_number(lx *l) {
    char *out = rex_mx_take(l->c, l->n - l->i + 16, 1);
    if (!out) {
        l->i = l->n;
        return;
    }
    size_t m = 0;
    const size_t start = l->i;
    if (is_digit(l->p[l->i])) l->i = take_groups(l, out, &m);
    else out[m++] = '0';
    /* digits of a base above ten: 152A_{11} */
    size_t b = l->i;
    while (b < l->n && (is_digit(l->p[b]) || is_upper(l->p[b]))) b++;
    if (b > l->i && b < l->n && l->p[b] == '_' && m == l->i - start) {
        rex_tk *t = put(l, TK_NUM, 'b', cut(l, start, b));
        t->at = (int32_t)start;
        l->i = b;
        return;
    }
    if (peek(l, 0) == '.' && (is_digit(peek(l, 1)) ||
                              (l->n - l->i > 5 && (!memcmp(l->p + l->i, ".\\over", 6) ||
                                                   !memcmp(l->p + l->i, ".\\bar{", 6) ||
                                                   !memcmp(l->p + l->i, ".\\dot{", 6))) ||
                              (peek(l, 1) == '(' && is_digit(peek(l, 2)) && m == 1))) {
        out[m++] = '.';
        l->i++;
        const size_t frac = m;
        while (is_digit(peek(l, 0))) out[m++] = l->p[l->i++];
        take_period(l, out, &m, frac);
    }
    const int x = peek(l, 0);
    if (x == 'e' || x == 'E') {
        const size_t s = peek(l, 1) == '-' || peek(l, 1) == '+' ? 2 : 1;
        size_t e = l->i + s;
        while (e < l->n && is_digit(l->p[e])) e++;
        if (e > l->i + s && e - l->i < 9 && !(e < l->n && is_alpha(l->p[e]))) {
            out[m++] = 'e';
            if (peek(l, 1) == '-') out[m++] = '-';
            memcpy(out + m, l->p + l->i + s, e - l->i - s);
            m += e - l->i - s;
            l->i = e;
        }
    }
    rex_tk *t = put(l, TK_NUM, 0, (rex_str){ out, m });
    t->at = (int32_t)start;
}

/* ---- words ------------------------------------------------------------------------------- */

bool rex_mx_is_unit(rex_str s) {
    static const char *const units[] = {
        "cm",     "mm",   "km",   "ft",   "kg",   "mg",      "ml",    "mL",
        "mph",    "kph",  "gm",   "lb",   "lbs",  "oz",      "hr",    "hrs",
        "min",    "mins", "sec",  "secs", "sq",   "cu",      "in",    "yd",
        "yds",    "mi",   "deg",  "rad",  "gal",  "usd",     "USD",   "EUR",
        "kmh",    "rpm",  "dm",   "ms",   "pm",   "am",      "cents", "dollars",
        "dollar", "inch", "feet", "foot", "unit", "square",  "cubic", "meter",
        "metre",  "hour", "mile", "day",  "days", "percent", "miles",
    };
    return AMONG(s, units);
}

static bool has(rex_str s, const char *set) {
    for (size_t k = 0; k < s.n; k++)
        if (strchr(set, s.p[k])) return true;
    return false;
}

static bool all(rex_str s, bool (*is)(int)) {
    for (size_t k = 0; k < s.n; k++)
        if (!is(s.p[k])) return false;
    return true;
}

/* The last token ends a value: a unit may follow. */
static bool after_value(const lx *l) {
    if (l->nt == 0) return false;
    const rex_tk *t = &l->t[l->nt - 1];
    return t->kind == TK_NUM || t->kind == TK_CLOSE || t->kind == TK_ID || t->kind == TK_CONST ||
           t->kind == TK_TEXT || t->kind == TK_DEG;
}

static void put_letter(lx *l, rex_str s) {
    const char ch = s.p[0];
    if (ch == 'e') put(l, TK_CONST, MXC_E, s);
    else if (ch == 'i') put(l, TK_CONST, MXC_I, s);
    else if (ch == 'E' && !l->latex) put(l, TK_CONST, MXC_E, s);
    else if (ch == 'I' && !l->latex) put(l, TK_CONST, MXC_I, s);
    else put(l, TK_ID, 0, s);
}

static bool is_word(rex_str s) {
    if (s.n >= 4) return has(s, "eiou");
    return s.n == 3 && all(s, is_lower) && has(s, "eou");
}

static void lex_run(lx *l, rex_str s) {
    static const struct {
        const char *name;
        rex_tk_kind kind;
        char op;
    } names[] = {
        { "pi", TK_CONST, MXC_PI }, { "infinity", TK_CONST, MXC_INF }, { "inf", TK_CONST, MXC_INF },
        { "oo", TK_CONST, MXC_INF }, { "Infinity", TK_CONST, MXC_INF }, { "and", TK_SEP, 'a' },
        { "or", TK_SEP, 'o' }, { "degrees", TK_DEG, 0 }, { "union", TK_CUP, 0 }, { "U", TK_CUP, 0 },
    };
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        if (!rex_str_is(s, names[k].name)) continue;
        if (names[k].op == 0 && names[k].kind == TK_CUP &&
            s.n == 1 && /* a capital U between sets */
            !(l->nt && l->t[l->nt - 1].kind == TK_CLOSE && l->sp))
            continue;
        put(l, names[k].kind, names[k].op, s);
        return;
    }
    if (rex_str_is(s, "in") && l->nt && l->t[l->nt - 1].kind == TK_ID && l->sp) {
        put(l, TK_IN, 0, s);
        return;
    }
    if (s.n == 1) {
        put_letter(l, s);
        return;
    }
    const rex_mx_fn f = rex_mx_fn_find(s);
    size_t k = l->i;
    while (k < l->n && is_space(l->p[k])) k++;
    if (f != MXF_COUNT && !(rex_mx_is_unit(s) && !(k < l->n && l->p[k] == '(')) && s.n > 2) {
        put(l, TK_FN, (char)f, s);
        return;
    }
    if (f == MXF_ln || f == MXF_lg) {
        put(l, TK_FN, (char)f, s);
        return;
    }
    if (after_value(l) && rex_mx_is_unit(s)) {
        put(l, TK_TEXT, 0, s);
        return;
    }
    static const char *const heads[] = { "sin", "cos", "tan", "log", "sqrt", "ln", "pi" };
    for (size_t h = 0; h < sizeof heads / sizeof *heads; h++) {
        const size_t n = strlen(heads[h]);
        if (s.n <= n || s.n > n + 1 || memcmp(s.p, heads[h], n)) continue;
        lex_run(l, (rex_str){ s.p, n });
        lex_run(l, (rex_str){ s.p + n, s.n - n });
        return;
    }
    if (is_word(s)) {
        put(l, TK_TEXT, 0, s);
        return;
    }
    if (all(s, is_upper) || (is_upper(s.p[0]) && s.n > 2)) {
        put(l, TK_ID, 0, s);
        return;
    }
    for (k = 0; k < s.n; k++) put_letter(l, (rex_str){ s.p + k, 1 });
}

/* ---- commands ---------------------------------------------------------------------------- */

/* The brace group (or one character) behind the position; moves past it. */
static rex_str take_group(lx *l) {
    while (l->i < l->n && is_space(l->p[l->i])) l->i++;
    if (l->i >= l->n) return (rex_str){ l->p, 0 };
    if (l->p[l->i] != '{') {
        l->i++;
        return cut(l, l->i - 1, l->i);
    }
    int depth = 0;
    const size_t from = l->i + 1;
    for (; l->i < l->n; l->i++) {
        if (l->p[l->i] == '\\') {
            l->i++;
            continue;
        }
        if (l->p[l->i] == '{') depth++;
        if (l->p[l->i] == '}' && --depth == 0) return cut(l, from, l->i++);
    }
    l->i = l->n;
    rex_mx_fail(l->c, REX_MF_SYNTAX, "a brace is not closed");
    return cut(l, from, l->n);
}

static rex_str trimmed(rex_str s) {
    while (s.n && (is_space(s.p[0]) || s.p[0] == ',')) s.p++, s.n--;
    while (s.n && (is_space(s.p[s.n - 1]) || s.p[s.n - 1] == ',')) s.n--;
    return s;
}

static void lex_all(lx *l);

/* The tokens of an inner text, at this place. */
static void sub_lex(lx *l, rex_str s) {
    if (l->c->depth > REX_MX_DEPTH) {
        rex_mx_fail(l->c, REX_MF_LIMIT, "nested too deeply");
        return;
    }
    lx in = *l;
    in.p = s.p;
    in.n = s.n;
    in.i = 0;
    l->c->depth++;
    lex_all(&in);
    l->c->depth--;
    l->nt = in.nt;
    l->sp = in.sp;
}

static void lex_text(lx *l, rex_str raw) {
    const rex_str s = trimmed(raw);
    if (s.n == 0) {
        l->sp = true;
        return;
    }
    if (rex_str_is(s, "and") || rex_str_is(s, "or") || rex_str_is(s, "OR") ||
        rex_str_is(s, "AND")) {
        put(l, TK_SEP, (s.p[0] | 0x20), s);
        return;
    }
    if (rex_str_is(s, "degrees") || rex_str_is(s, "degree") || rex_str_is(s, "deg")) {
        put(l, TK_DEG, 0, s);
        return;
    }
    const rex_mx_fn f = rex_mx_fn_find(s);
    if (f != MXF_COUNT && !(after_value(l) && rex_mx_is_unit(s)) && s.n > 1) {
        put(l, TK_FN, (char)f, s);
        return;
    }
    const bool letter = s.n == 1 && is_alpha(s.p[0]);
    if (peek(l, 0) == '_' && all(s, is_base_digit)) { /* \text{A5}_{11} */
        put(l, TK_NUM, 'b', s);
        return;
    }
    if (has(s, "0123456789%$\\^+-=()") || (letter && !after_value(l))) {
        sub_lex(l, s);
        return;
    }
    put(l, TK_TEXT, 1, s);
}

static void lex_env(lx *l, bool begin) {
    const rex_str s = take_group(l);
    static const char *const matrices[] = {"pmatrix", "bmatrix", "matrix",      "vmatrix",
                                           "Bmatrix", "Vmatrix", "smallmatrix", "array"};
    if (AMONG(s, matrices)) {
        if (begin && rex_str_is(s, "array")) (void)take_group(l);
        put(l, begin ? TK_BEGIN : TK_ENDENV, s.p[0], s);
        return;
    }
    static const char *const layouts[] = {"align",     "align*", "aligned", "equation",
                                          "equation*", "gather", "gather*"};
    if (!AMONG(s, layouts)) rex_mx_fail(l->c, REX_MF_SYNTAX, "an environment that is not read");
}

static void lex_symbol_command(lx *l) { /* a backslash and one character that is no letter */
    const int ch = peek(l, 1);
    l->i += 2;
    switch (ch) {
    case ',':
    case ';':
    case ':':
    case ' ':
    case '/':
    case '>':
    case '\n': l->sp = true; return;
    case '!':
    case '(':
    case ')':
    case '[':
    case ']': return;
    case '%': put(l, TK_PERCENT, 0, cut(l, l->i - 2, l->i)); return;
    case '$': put(l, TK_CURR, '$', cut(l, l->i - 2, l->i)); return;
    case '{':
        put(l, TK_OPEN, 'S', cut(l, l->i - 2, l->i));
        l->depth++;
        return;
    case '}':
        put(l, TK_CLOSE, 'S', cut(l, l->i - 2, l->i));
        l->depth--;
        return;
    case '|': put(l, TK_BAR, 0, cut(l, l->i - 2, l->i)); return;
    case '\\': put(l, TK_ROW, 0, cut(l, l->i - 2, l->i)); return;
    default:
        rex_mx_fail(l->c, REX_MF_SYNTAX, "a backslash before a character that it does not know");
        return;
    }
}

static void lex_command(lx *l) {
    if (!is_alpha(peek(l, 1))) {
        lex_symbol_command(l);
        return;
    }
    const size_t from = ++l->i;
    while (l->i < l->n && is_alpha(l->p[l->i])) l->i++;
    rex_str s = cut(l, from, l->i);
    if (AMONG(s, skipped)) {
        const bool fence = rex_str_is(s, "left") || rex_str_is(s, "right");
        while (fence && is_space(peek(l, 0))) l->i++;
        if (fence && peek(l, 0) == '.') l->i++;
        return;
    }
    for (size_t k = 0; k < sizeof commands / sizeof *commands; k++) {
        if (!rex_str_is(s, commands[k].name)) continue;
        rex_tk *t = put(l, commands[k].kind, commands[k].op, s);
        t->cmd = true;
        if (t->kind == TK_OPEN && t->op != 'F' && t->op != 'C' && t->op != 'V') l->depth++;
        if (t->kind == TK_CLOSE && t->op != 'F' && t->op != 'C' && t->op != 'V') l->depth--;
        return;
    }
    const rex_mx_fn f = rex_mx_fn_find(s);
    if (f != MXF_COUNT) {
        put(l, TK_FN, (char)f, s)->cmd = true;
        return;
    }
    if (s.n > 3 && !memcmp(s.p, "var", 3)) s = (rex_str){ s.p + 3, s.n - 3 };
    if (AMONG(s, greek)) put(l, TK_ID, 'g', s);
    else if (AMONG(s, texts)) lex_text(l, take_group(l));
    else if (AMONG(s, faces)) sub_lex(l, take_group(l));
    else if (AMONG(s, voids)) (void)take_group(l);
    else if (AMONG(s, accents)) {
        put(l, TK_ID, 'o', s);
        l->t[l->nt ? l->nt - 1 : 0].s = trimmed(take_group(l));
    } else if (rex_str_is(s, "begin") || rex_str_is(s, "end")) lex_env(l, s.p[0] == 'b');
    else if (rex_str_is(s, "not")) put(l, TK_BANG, 'n', s);
    else if (rex_str_is(s, "mathbb") || rex_str_is(s, "Bbb")) {
        const rex_str g = trimmed(take_group(l));
        const char ch = g.n == 1 ? g.p[0] : 0;
        const int set = ch == 'R' ? MXC_REALS : ch == 'Z' ? MXC_INTS : ch == 'N' ? MXC_NATS
                        : ch == 'Q' ? MXC_RATS : ch == 'C' ? MXC_CPLX : -1;
        if (set >= 0) put(l, TK_CONST, (char)set, g);
        else rex_mx_fail(l->c, REX_MF_SYNTAX, "an unknown double-struck letter");
    } else rex_mx_fail(l->c, REX_MF_SYNTAX, "an unknown command");
}

/* ---- characters beyond ASCII ------------------------------------------------------------- */

static bool lex_utf8(lx *l) {
    static const struct {
        const char *bytes;
        rex_tk_kind kind;
        char op;
        const char *name;
    } map[] = {
        {"\xcf\x80", TK_CONST, MXC_PI, 0},
        {"\xe2\x88\x9e", TK_CONST, MXC_INF, 0},
        {"\xe2\x88\x85", TK_CONST, MXC_EMPTY, 0},
        {"\xe2\x84\x9d", TK_CONST, MXC_REALS, 0},
        {"\xc3\x97", TK_OP, '*', 0},
        {"\xc2\xb7", TK_OP, '*', 0},
        {"\xe2\x8b\x85", TK_OP, '*', 0},
        {"\xe2\x88\x97", TK_OP, '*', 0},
        {"\xc3\xb7", TK_OP, '/', 0},
        {"\xe2\x88\x92", TK_OP, '-', 0},
        {"\xe2\x80\x93", TK_OP, '-', 0},
        {"\xe2\x80\x90", TK_OP, '-', 0},
        {"\xe2\x80\x91", TK_OP, '-', 0},
        {"\xc2\xb1", TK_OP, 'p', 0},
        {"\xe2\x88\x93", TK_OP, 'm', 0},
        {"\xe2\x89\xa4", TK_REL, 'l', 0},
        {"\xe2\x89\xa5", TK_REL, 'g', 0},
        {"\xe2\x89\xa0", TK_REL, 'n', 0},
        {"\xe2\x89\x88", TK_REL, 'a', 0},
        {"\xe2\x88\x88", TK_IN, 0, 0},
        {"\xe2\x88\xaa", TK_CUP, 0, 0},
        {"\xe2\x88\xa9", TK_CAP, 0, 0},
        {"\xe2\x88\x96", TK_SETMINUS, 0, 0},
        {"\xc2\xb0", TK_DEG, 0, 0},
        {"\xe2\x88\x9a", TK_FN, MXF_sqrt, 0},
        {"\xce\xb8", TK_ID, 'g', "theta"},
        {"\xce\xb1", TK_ID, 'g', "alpha"},
        {"\xce\xb2", TK_ID, 'g', "beta"},
        {"\xce\xbb", TK_ID, 'g', "lambda"},
        {"\xce\xbc", TK_ID, 'g', "mu"},
        {"\xe2\x82\xac", TK_CURR, 'E', 0},
        {"\xc2\xa3", TK_CURR, 'L', 0},
        {"\xc2\xa5", TK_CURR, 'Y', 0},
        {"\xe2\x80\xa6", TK_DOTS, 0, 0},
        {"\xe2\x9f\xa8", TK_OPEN, 'A', 0},
        {"\xe2\x9f\xa9", TK_CLOSE, 'A', 0},
        {"\xe2\x8c\x8a", TK_OPEN, 'F', 0},
        {"\xe2\x8c\x8b", TK_CLOSE, 'F', 0},
        {"\xe2\x8c\x88", TK_OPEN, 'C', 0},
        {"\xe2\x8c\x89", TK_CLOSE, 'C', 0},
    };
    const size_t left = l->n - l->i;
    for (size_t k = 0; k < sizeof map / sizeof *map; k++) {
        const size_t n = strlen(map[k].bytes);
        if (left < n || memcmp(l->p + l->i, map[k].bytes, n)) continue;
        put(l, map[k].kind, map[k].op,
            map[k].name ? rex_str_of(map[k].name) : cut(l, l->i, l->i + n));
        l->i += n;
        return true;
    }
    static const char *const spaces[] = {"\xc2\xa0", "\xe2\x80\x89", "\xe2\x80\xaf", "\xe2\x80\x82",
                                         "\xe3\x80\x80"};
    for (size_t k = 0; k < sizeof spaces / sizeof *spaces; k++) {
        const size_t n = strlen(spaces[k]);
        if (left < n || memcmp(l->p + l->i, spaces[k], n)) continue;
        l->i += n;
        l->sp = true;
        return true;
    }
    static const char *const raised[] = {
        "\xe2\x81\xb0", "\xc2\xb9",     "\xc2\xb2",     "\xc2\xb3",     "\xe2\x81\xb4",
        "\xe2\x81\xb5", "\xe2\x81\xb6", "\xe2\x81\xb7", "\xe2\x81\xb8", "\xe2\x81\xb9"};
    static const char digits[] = "0123456789";
    for (size_t k = 0; k < 10; k++) {
        const size_t n = strlen(raised[k]);
        if (left < n || memcmp(l->p + l->i, raised[k], n)) continue;
        put(l, TK_OP, '^', cut(l, l->i, l->i + n));
        put(l, TK_NUM, 0, (rex_str){ digits + k, 1 });
        l->i += n;
        return true;
    }
    return false;
}

/* ---- the loop ---------------------------------------------------------------------------- */

static void lex_char(lx *l, int ch) {
    const rex_str s = cut(l, l->i, l->i + 1);
    const int next = peek(l, 1);
    l->i++;
    switch (ch) {
    case '$':
        if (is_digit(next) || next == '.') put(l, TK_CURR, '$', s); /* $5: money or a maths sign */
        return;
    case '+':
    case '-':
    case '/': put(l, TK_OP, (char)ch, s); return;
    case '^': put(l, TK_OP, '^', s); return;
    case ':': put(l, TK_OP, ':', s); return;
    case '*':
        if (next == '*') l->i++;
        put(l, TK_OP, next == '*' ? '^' : '*', s);
        return;
    case '=':
        if (next == '=') l->i++;
        put(l, TK_REL, '=', s);
        return;
    case '<':
    case '>':
        if (next == '=') l->i++;
        put(l, TK_REL, next == '=' ? (ch == '<' ? 'l' : 'g') : (char)ch, s);
        return;
    case '!':
        if (next == '=') {
            l->i++;
            put(l, TK_REL, 'n', s);
        } else {
            put(l, TK_BANG, 0, s);
        }
        return;
    case '(':
    case '[':
        put(l, TK_OPEN, (char)ch, s);
        l->depth++;
        return;
    case ')':
    case ']':
        put(l, TK_CLOSE, ch == ')' ? '(' : '[', s);
        l->depth--;
        return;
    case '{': put(l, TK_OPEN, '{', s); return;
    case '}': put(l, TK_CLOSE, '{', s); return;
    case '|': put(l, TK_BAR, 0, s); return;
    case ',':
    case ';': put(l, TK_SEP, ',', s)->tight = !is_space(next); return;
    case '&': put(l, TK_AMP, 0, s); return;
    case '%': put(l, TK_PERCENT, 0, s); return;
    case '_': put(l, TK_SUB, 0, s); return;
    case '\'': put(l, TK_PRIME, 0, s); return;
    default: rex_mx_fail(l->c, REX_MF_SYNTAX, "a character that has no meaning here"); return;
    }
}

static void lex_all(lx *l) {
    while (l->i < l->n && !l->c->fault && rex_mx_step(l->c, 8)) {
        const int ch = (unsigned char)l->p[l->i];
        if (is_space(ch)) {
            l->sp = true;
            l->i++;
        } else if (is_digit(ch) || (ch == '.' && (is_digit(peek(l, 1))))) {
            lex_number(l);
        } else if (is_alpha(ch)) {
            const size_t from = l->i;
            if (is_upper(ch)) { /* A5_{11} */
                size_t e = from + 1;
                bool digit = false;
                for (; e < l->n && is_base_digit(l->p[e]); e++) digit = digit || is_digit(l->p[e]);
                if (digit && e + 1 < l->n && l->p[e] == '_' &&
                    (l->p[e + 1] == '{' || is_digit(l->p[e + 1]))) {
                    l->i = e;
                    put(l, TK_NUM, 'b', cut(l, from, e));
                    continue;
                }
            }
            while (l->i < l->n && is_alpha(l->p[l->i])) l->i++;
            lex_run(l, cut(l, from, l->i));
        } else if (ch == '\\') {
            lex_command(l);
        } else if (ch >= 0x80) {
            if (!lex_utf8(l))
                rex_mx_fail(l->c, REX_MF_SYNTAX, "a character that has no meaning here");
        } else if (ch == '.') {
            if (peek(l, 1) == '.') {
                put(l, TK_DOTS, 0, cut(l, l->i, l->i + 1));
                while (peek(l, 0) == '.') l->i++;
            } else { /* the full stop of a sentence, at the end only */
                size_t k = l->i + 1;
                while (k < l->n && (is_space(l->p[k]) || l->p[k] == '$' || l->p[k] == '}')) k++;
                if (k < l->n) rex_mx_fail(l->c, REX_MF_SYNTAX, "a full stop inside the answer");
                l->i++;
            }
        } else {
            lex_char(l, ch);
        }
    }
}

bool rex_mx_lex(rex_mctx *c, rex_str text, rex_tk **out, uint32_t *n, bool *latex) {
    if (text.n > REX_MX_BYTES) return rex_mx_fail(c, REX_MF_LIMIT, "the answer is too long");
    lx l = { .c = c, .p = text.p, .n = text.n };
    l.cap = (uint32_t)text.n * 2 + 8;
    l.t = rex_mx_take(c, l.cap, sizeof *l.t);
    if (!l.t) return false;
    l.latex = text.n && memchr(text.p, '\\', text.n) != NULL;
    lex_all(&l);
    if (c->fault) return false;
    while (l.nt && l.t[l.nt - 1].kind == TK_SEP && l.t[l.nt - 1].op == ',') l.nt--; /* "5," */
    l.t[l.nt] = (rex_tk){ .kind = TK_END, .at = (int32_t)text.n };
    *out = l.t;
    *n = l.nt;
    *latex = l.latex;
    return true;
}
