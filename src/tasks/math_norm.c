/* SPDX-License-Identifier: MIT
 *
 * math_norm.c: the parts of an answer that are not algebra: number literals (periods, exponents),
 * words, clock times and choice letters, units around a value, decimal commas, and the equality of
 * trees. Pure text and tree work; no judgement about value is made here.
 */
#include "math_in.h"

#include <string.h>

static bool is_digit(int ch) { return ch >= '0' && ch <= '9'; }
static bool is_upper(int ch) { return ch >= 'A' && ch <= 'Z'; }
static bool is_lower(int ch) { return ch >= 'a' && ch <= 'z'; }
static bool is_alpha(int ch) { return is_upper(ch) || is_lower(ch); }
static bool is_space(int ch) { return ch == ' ' || ch == '\t' || ch == '\n' || ch == '\r'; }
static char lower(char ch) { return (char)(is_upper(ch) ? ch | 0x20 : ch); }

/* ---- number literals --------------------------------------------------------------------- */

static void add_digits(fmpz_t v, const char *p, size_t n) {
    for (size_t k = 0; k < n; k++) {
        fmpz_mul_ui(v, v, 10);
        fmpz_add_ui(v, v, (ulong)(p[k] - '0'));
    }
}

rex_mx *rex_mx_number(rex_mctx *c, rex_str s) {
    rex_mx *x = rex_mx_new(c, MX_NUM, 0);
    if (!x || !(x->q = rex_mx_q(c)) || !rex_mx_step(c, (int64_t)(s.n * s.n / 32 + 4))) return NULL;
    size_t i = 0, whole = 0, frac = 0, period = 0;
    while (i + whole < s.n && is_digit(s.p[i + whole])) whole++;
    i += whole;
    const bool point = i < s.n && s.p[i] == '.';
    if (point) i++;
    const size_t f0 = i;
    while (i < s.n && is_digit(s.p[i])) i++, frac++;
    const size_t p0 = i + 1;
    if (i < s.n && s.p[i] == '(') {
        for (i++; i < s.n && is_digit(s.p[i]); i++) period++;
        i++;
    }
    slong e = 0;
    if (i < s.n && s.p[i] == 'e') {
        const bool neg = i + 1 < s.n && s.p[i + 1] == '-';
        for (i += neg ? 2 : 1; i < s.n; i++) e = e * 10 + (s.p[i] - '0');
        if (e > 15000) return rex_mx_fail(c, REX_MF_LIMIT, "a number has too many digits"), NULL;
        if (neg) e = -e;
    }
    /* (all digits - digits before the period) / (10^frac (10^period - 1)) */
    fmpz *num = fmpq_numref(x->q), *den = fmpq_denref(x->q);
    fmpz_t t;
    fmpz_init(t);
    add_digits(num, s.p, whole);
    add_digits(num, s.p + f0, frac);
    fmpz_ui_pow_ui(den, 10, frac);
    if (period) {
        fmpz_set(t, num);
        add_digits(num, s.p + p0, period);
        fmpz_sub(num, num, t);
        fmpz_ui_pow_ui(t, 10, period);
        fmpz_sub_ui(t, t, 1);
        fmpz_mul(den, den, t);
    } else if (point) {
        size_t lead = 0;
        for (size_t k = 0; k < f0 + frac; k++) {
            if (s.p[k] == '.') continue;
            if (s.p[k] != '0') break;
            lead++;
        }
        x->sig = (int32_t)(whole + frac - lead);
        x->exp10 = (int32_t)(e - (slong)frac);
        if (x->sig == 0) x->sig = 1;
    }
    fmpz_ui_pow_ui(t, 10, (ulong)(e < 0 ? -e : e));
    fmpz_mul(e < 0 ? den : num, e < 0 ? den : num, t);
    fmpz_clear(t);
    fmpq_canonicalise(x->q);
    return x;
}

rex_mx *rex_mx_decimal_comma(rex_mctx *c, rex_str text) {
    char *buf = rex_mx_take(c, text.n + 1, 1);
    if (!buf) return NULL;
    size_t n = 0, comma = 0, commas = 0;
    bool neg = false;
    for (size_t k = 0; k < text.n; k++) {
        const char ch = text.p[k];
        if (is_digit(ch)) {
            buf[n++] = ch;
        } else if (ch == ',' && n > 0) {
            if (k + 1 < text.n && is_space(text.p[k + 1])) return NULL;
            commas++;
            comma = n;
            buf[n++] = '.';
        } else if (ch == '-' && n == 0) {
            neg = true;
        } else if (ch != '$' && !is_space(ch) && !(ch == '.' && k + 1 == text.n)) {
            return NULL;
        }
    }
    if (commas != 1 || comma + 1 >= n) return NULL;
    if (n - comma - 1 == 3 && comma <= 3 && buf[0] != '0') return NULL; /* 1,234 */
    rex_mx *x = rex_mx_number(c, (rex_str){ buf, n });
    return neg ? rex_mx_new1(c, MX_NEG, x) : x;
}

/* ---- words ------------------------------------------------------------------------------- */

/* The text without markup: \text and its kin, braces, dollar signs, spacing commands. */
static rex_str bare(rex_mctx *c, rex_str s) {
    static const char *const drop[] = {
        "text",   "mbox",       "textrm",       "textbf",       "textit", "mathrm",
        "mathbf", "textnormal", "left",         "right",        "quad",   "qquad",
        "boxed",  "hbox",       "emph",         "operatorname", "textsf", "texttt",
        "bf",     "rm",         "displaystyle", "boldsymbol",   "mathit"};
    char *buf = rex_mx_take(c, s.n + 1, 1);
    size_t n = 0;
    if (!buf) return (rex_str){ "", 0 };
    for (size_t k = 0; k < s.n; k++) {
        const char ch = s.p[k];
        if (ch == '\\') {
            size_t e = k + 1;
            while (e < s.n && is_alpha(s.p[e])) e++;
            bool known = false;
            for (size_t d = 0; d < sizeof drop / sizeof *drop; d++)
                known = known || rex_str_is((rex_str){ s.p + k + 1, e - k - 1 }, drop[d]);
            if (known) {
                k = e - 1;
                continue;
            }
            if (e == k + 1 && e < s.n && strchr("!,;: ", s.p[e])) {
                if (s.p[e] != '!') buf[n++] = ' ';
                k = e;
                continue;
            }
            buf[n++] = ch;
        } else if (ch == '{' || ch == '}' || ch == '$') {
            continue;
        } else if (ch == '~' || is_space(ch)) {
            if (n && buf[n - 1] != ' ') buf[n++] = ' ';
        } else {
            buf[n++] = ch;
        }
    }
    while (n && (buf[n - 1] == ' ' || strchr(".,;:!", buf[n - 1]))) n--;
    size_t from = 0;
    while (from < n && buf[from] == ' ') from++;
    return (rex_str){ buf + from, n - from };
}

static rex_mx *text_node(rex_mctx *c, const char *p, size_t n) {
    rex_mx *x = rex_mx_new(c, MX_TEXT, 0);
    if (x) x->s = (rex_str){ p, n };
    return x;
}

/* Lower case, no outer brackets, quotes or article. Number words become numbers. */
static rex_mx *one_text(rex_mctx *c, rex_str s) {
    static const char *const small[] = {
        "zero",     "one",     "two",     "three",     "four",     "five",     "six",
        "seven",    "eight",   "nine",    "ten",       "eleven",   "twelve",   "thirteen",
        "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
    };
    while (s.n && (is_space(s.p[0]) || strchr("(\"'`", s.p[0]))) s.p++, s.n--;
    while (s.n && (is_space(s.p[s.n - 1]) || strchr(")\"'`.", s.p[s.n - 1]))) s.n--;
    static const char *const articles[] = { "the ", "The ", "a ", "an ", "A ", "An " };
    for (size_t k = 0; k < 6; k++) {
        const size_t n = strlen(articles[k]);
        if (s.n > n && !memcmp(s.p, articles[k], n)) s = (rex_str){ s.p + n, s.n - n };
    }
    if (s.n == 0) return NULL;
    char *buf = rex_mx_take(c, s.n, 1);
    if (!buf) return NULL;
    for (size_t k = 0; k < s.n; k++) buf[k] = lower(s.p[k]);
    for (slong k = 0; k <= 20; k++)
        if (rex_str_is((rex_str){ buf, s.n }, small[k])) return rex_mx_int(c, k);
    return text_node(c, buf, s.n);
}

rex_mx *rex_mx_text(rex_mctx *c, rex_str text) { return one_text(c, bare(c, text)); }

/* Letters in brackets or alone, with separators: (A), B and C. */
static bool all_choices(rex_str s, size_t *count) {
    *count = 0;
    for (size_t k = 0; k < s.n; k++) {
        const char ch = s.p[k];
        if (is_alpha(ch)) {
            size_t e = k;
            while (e < s.n && is_alpha(s.p[e])) e++;
            const rex_str w = { s.p + k, e - k };
            k = e - 1;
            if (rex_str_is(w, "and") || rex_str_is(w, "or")) continue;
            if (w.n != 1 || !is_upper(w.p[0])) return false;
            ++*count;
        } else if (!strchr("(), ;", ch)) {
            return false;
        }
    }
    return *count > 0;
}

static rex_mx *choices(rex_mctx *c, rex_str s, size_t count) {
    rex_mx *set = rex_mx_new(c, MX_SET, (uint32_t)count);
    size_t m = 0;
    for (size_t k = 0; set && k < s.n; k++) {
        if (!is_upper(s.p[k])) continue;
        rex_mx *x = text_node(c, s.p + k, 1);
        if (!x) return NULL;
        x->op = 1; /* a choice letter */
        set->arg[m++] = x;
    }
    return set && count == 1 ? set->arg[0] : set;
}

/* 8:34 p.m. */
static rex_mx *clock_time(rex_mctx *c, rex_str s) {
    char *buf = rex_mx_take(c, s.n, 1);
    size_t n = 0;
    if (!buf || s.n < 3 || s.n > 24) return NULL;
    for (size_t k = 0; k < s.n; k++) {
        const char ch = lower(s.p[k]);
        if (is_digit(ch) || ch == ':' || ch == 'a' || ch == 'p' || ch == 'm') buf[n++] = ch;
        else if (ch != ' ' && ch != '.') return NULL;
    }
    if (n < 3 || !is_digit(buf[0]) || buf[n - 1] != 'm' || (buf[n - 2] != 'a' && buf[n - 2] != 'p'))
        return NULL;
    for (size_t k = 0; k + 2 < n; k++)
        if (!is_digit(buf[k]) && buf[k] != ':') return NULL;
    return text_node(c, buf, n);
}

/* Words of a sentence, not of an answer. */
bool rex_mx_is_prose(rex_str w) {
    static const char *const stops[] = {
        "so",     "there",   "are",   "is",    "we",     "i",    "do",    "know",      "it",
        "be",     "was",     "get",   "have",  "has",    "thus", "hence", "therefore", "this",
        "that",   "because", "since", "sorry", "cannot", "then", "which", "will",      "would",
        "should", "must",    "let",   "our",   "they",   "you",  "your",  "he",        "she",
        "his",    "her",     "my",    "think", "were",
    };
    char low[12];
    if (w.n >= sizeof low) return false;
    for (size_t k = 0; k < w.n; k++) low[k] = lower(w.p[k]);
    for (size_t k = 0; k < sizeof stops / sizeof *stops; k++)
        if (rex_str_is((rex_str){ low, w.n }, stops[k])) return true;
    return false;
}

static bool looks_like_word(rex_str w) {
    static const char *const maths[] = {"pi", "infinity", "inf",   "oo",      "and",
                                        "or", "in",       "union", "degrees", "mod"};
    for (size_t k = 0; k < sizeof maths / sizeof *maths; k++)
        if (rex_str_is(w, maths[k])) return false;
    if (w.n < 2 || rex_mx_fn_find(w) != MXF_COUNT) return false;
    bool upper = true, vowel = false;
    for (size_t k = 0; k < w.n; k++) {
        upper = upper && is_upper(w.p[k]);
        vowel = vowel || strchr("eouEOU", w.p[k]) || (w.n > 3 && strchr("aiAI", w.p[k]));
    }
    return upper || (vowel && w.n >= 2 && (w.n > 2 || is_upper(w.p[0]))) || rex_str_is(w, "no") ||
           is_upper(w.p[0]);
}

rex_mx *rex_mx_words(rex_mctx *c, rex_str text) {
    if (text.n > 400) return NULL;
    const rex_str s = bare(c, text);
    size_t count = 0;
    if (s.n == 0 || c->fault) return NULL;
    if (all_choices(s, &count) && count <= 26) return choices(c, s, count);
    rex_mx *t = clock_time(c, s);
    if (t) return t;
    bool word = false;
    const bool open = s.p[0] == '(';
    int words = 0;
    const size_t from = open ? 1 : 0;
    if (from >= s.n || !is_alpha(s.p[from])) return NULL;
    for (size_t k = 0; k < s.n; k++) {
        if (is_alpha(s.p[k])) {
            size_t e = k;
            while (e < s.n && is_alpha(s.p[e])) e++;
            const rex_str w = { s.p + k, e - k };
            if (rex_mx_is_prose(w) || ++words > 16) return NULL;
            word = word || looks_like_word(w);
            k = e - 1;
            continue;
        }
        const bool joins = (s.p[k] == '-' || s.p[k] == '\'') && k && is_alpha(s.p[k - 1]) &&
                           k + 1 < s.n && is_alpha(s.p[k + 1]);
        if (!joins && !is_digit(s.p[k]) && !strchr(" ,.:()_", s.p[k])) return NULL;
    }
    if (!word) return NULL;
    uint32_t parts = 1;
    for (size_t k = 0; k < s.n; k++) parts += s.p[k] == ',';
    if (parts == 1) return one_text(c, s);
    rex_mx *set = rex_mx_new(c, MX_SET, parts);
    size_t at = 0;
    uint32_t m = 0;
    for (size_t k = 0; set && k <= s.n; k++) {
        if (k < s.n && s.p[k] != ',') continue;
        rex_str part = { s.p + at, k - at };
        while (part.n && is_space(part.p[0])) part.p++, part.n--;
        if (part.n > 4 && !memcmp(part.p, "and ", 4)) part = (rex_str){ part.p + 4, part.n - 4 };
        rex_mx *x = one_text(c, part);
        if (x) set->arg[m++] = x;
        at = k + 1;
    }
    if (set) set->n = m;
    return set;
}

/* ---- trees ------------------------------------------------------------------------------- */

rex_mx *rex_mx_strip(rex_mx *x) {
    while (x && x->kind == MX_UNIT) x = x->arg[0];
    return x;
}

bool rex_mx_same(const rex_mx *a, const rex_mx *b) {
    if (a->kind != b->kind || a->n != b->n) return false;
    const bool group = a->kind == MX_ADD || a->kind == MX_MUL;
    if ((!group && a->op != b->op) || a->lb != b->lb || a->rb != b->rb || !rex_str_eq(a->s, b->s))
        return false;
    if ((a->q != NULL) != (b->q != NULL) || (a->q && !fmpq_equal(a->q, b->q))) return false;
    for (uint32_t i = 0; i < a->n; i++)
        if (!rex_mx_same(a->arg[i], b->arg[i])) return false;
    return true;
}
