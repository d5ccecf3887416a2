/* SPDX-License-Identifier: MIT
 *
 * math_extract.c: from prose to the text of the answer. In order: the last box; what follows the
 * last "answer is" (or "####"); the last expression: a text that is one expression, then the last
 * piece between dollar signs, then the last number. Several boxes with nothing but markup,
 * punctuation and a few words ending in "and" or "or" between them are also offered as one list.
 * Only views of the text are formed, except for that list, which lives in the arena.
 */
#include "math_in.h"

#include <string.h>

static bool is_digit(int ch) { return ch >= '0' && ch <= '9'; }
static bool is_alpha(int ch) { return (ch >= 'A' && ch <= 'Z') || (ch >= 'a' && ch <= 'z'); }
static bool is_space(int ch) { return ch == ' ' || ch == '\t' || ch == '\n' || ch == '\r'; }

static rex_str trim(rex_str s) {
    while (s.n && is_space(s.p[0])) s.p++, s.n--;
    while (s.n && is_space(s.p[s.n - 1])) s.n--;
    return s;
}

/* ---- boxes ------------------------------------------------------------------------------- */

typedef struct {
    size_t from, to; /* of the whole box */
    rex_str in;
} box;

/* The box whose backslash stands at `at`; false if it is not closed. */
static bool box_at(rex_str t, size_t at, box *b) {
    size_t k = at + (t.p[at + 1] == 'b' ? 6 : 5);
    while (k < t.n && is_space(t.p[k])) k++;
    if (k >= t.n) return false;
    if (t.p[k] != '{') { /* \boxed 7: one token, up to a dollar sign or space */
        size_t e = k;
        while (e < t.n && t.p[e] != '$' && !is_space(t.p[e])) e++;
        *b = (box){ at, e, { t.p + k, e - k } };
        return e > k;
    }
    int depth = 0;
    for (size_t e = k; e < t.n; e++) {
        if (t.p[e] == '\\') {
            e++;
            continue;
        }
        if (t.p[e] == '{') depth++;
        if (t.p[e] == '}' && --depth == 0) {
            *b = (box){ at, e + 1, { t.p + k + 1, e - k - 1 } };
            return true;
        }
    }
    return false;
}

static bool box_head(rex_str t, size_t at) {
    const size_t left = t.n - at;
    const size_t n = left >= 6 && !memcmp(t.p + at, "\\boxed", 6)  ? 6
                     : left >= 5 && !memcmp(t.p + at, "\\fbox", 5) ? 5
                                                                   : 0;
    return n && !(n < left && is_alpha(t.p[at + n]));
}

/* What stands between two boxes: punctuation, nothing, or a few words ending in and/or. */
static bool joins(rex_str s) {
    int words = 0;
    rex_str last = { "", 0 };
    for (size_t k = 0; k < s.n; k++) {
        if (s.p[k] == '\\') { /* markup: \text, \quad, \] ... */
            size_t e = k + 1;
            while (e < s.n && is_alpha(s.p[e])) e++;
            static const char *const ok[] = {"text",   "mbox",   "quad",   "qquad",
                                             "textbf", "mathrm", "hspace", "textrm"};
            bool known = e == k + 1;
            for (size_t j = 0; j < sizeof ok / sizeof *ok; j++)
                known = known || rex_str_is((rex_str){ s.p + k + 1, e - k - 1 }, ok[j]);
            if (!known) return false;
            k = e == k + 1 ? k + 1 : e - 1;
        } else if (is_alpha(s.p[k])) {
            size_t e = k;
            while (e < s.n && is_alpha(s.p[e])) e++;
            last = (rex_str){ s.p + k, e - k };
            if (++words > 6) return false;
            k = e - 1;
        } else if (!is_space(s.p[k]) && !strchr("$,.;:{}*&~()", s.p[k])) {
            return false;
        } else if (s.p[k] == '\n' && k + 1 < s.n && s.p[k + 1] == '\n') {
            return false; /* a new paragraph is a new thought */
        }
    }
    return words == 0 || rex_str_is(last, "and") || rex_str_is(last, "or");
}

/* All boxes, each found from its head; a box inside a box is part of it. */
static size_t find_boxes(rex_mctx *c, rex_str t, box **out, bool *broken) {
    size_t n = 0, room = 0, end = 0;
    box *list = NULL;
    *broken = false;
    for (size_t k = 0; k + 5 < t.n; k++) {
        const char *hit = memchr(t.p + k, '\\', t.n - k);
        if (!hit) break;
        k = (size_t)(hit - t.p);
        if (k + 5 >= t.n) break;
        if (k < end || !box_head(t, k)) continue;
        if (n == room) {
            box *more = rex_mx_take(c, room ? 2 * room : 4, sizeof *more);
            if (!more) return 0;
            if (n) memcpy(more, list, n * sizeof *more);
            list = more;
            room = room ? 2 * room : 4;
        }
        *broken = !box_at(t, k, &list[n]);
        if (*broken) break; /* nothing behind it can be a box of its own */
        end = list[n].to;
        n++;
    }
    *out = list;
    return n;
}

static bool from_boxes(rex_mctx *c, rex_str t, rex_found *out) {
    box *b = NULL;
    bool broken;
    const size_t n = find_boxes(c, t, &b, &broken);
    if (c->fault) return false;
    if (broken) {
        *out = (rex_found){ .step = "last box", .none = "the last box is not closed" };
        return true;
    }
    if (n == 0) return false;
    out->step = "last box";
    out->text = trim(b[n - 1].in);
    size_t first = n - 1;
    while (first > 0 && joins((rex_str){t.p + b[first - 1].to, b[first].from - b[first - 1].to}))
        first--;
    if (first == n - 1) return true;
    size_t len = 0;
    for (size_t k = first; k < n; k++) len += b[k].in.n + 2;
    char *buf = rex_mx_take(c, len + 1, 1);
    if (!buf) return false;
    size_t m = 0;
    for (size_t k = first; k < n; k++) {
        if (k > first) {
            memcpy(buf + m, ", ", 2);
            m += 2;
        }
        memcpy(buf + m, b[k].in.p, b[k].in.n);
        m += b[k].in.n;
    }
    out->list = (rex_str){ buf, m };
    return true;
}

/* ---- "answer is" ------------------------------------------------------------------------- */

static bool word_at(rex_str t, size_t at, const char *w) {
    const size_t n = strlen(w);
    if (t.n - at < n) return false;
    for (size_t k = 0; k < n; k++)
        if ((t.p[at + k] | 0x20) != w[k] && t.p[at + k] != w[k]) return false;
    return true;
}

/* The end of the sentence that begins at `at`: a full stop before space, or a line's end; dollar
 * signs and brackets are not looked into. */
static size_t sentence_end(rex_str t, size_t at) {
    bool maths = false;
    int depth = 0;
    for (size_t k = at; k < t.n; k++) {
        const char ch = t.p[k];
        if (ch == '\\' && k + 1 < t.n && (t.p[k + 1] == '[' || t.p[k + 1] == '(')) maths = true;
        if (ch == '\\' && k + 1 < t.n && (t.p[k + 1] == ']' || t.p[k + 1] == ')')) maths = false;
        if (ch == '$' && (k == 0 || t.p[k - 1] != '\\')) {
            if (k + 1 < t.n && t.p[k + 1] == '$') k++;
            maths = !maths;
        }
        if (ch == '{') depth++;
        if (ch == '}') depth--;
        if (maths || depth > 0) continue;
        if (ch == '\n') return k;
        if ((ch == '.' || ch == '!' || ch == '?') && (k + 1 >= t.n || is_space(t.p[k + 1]))) {
            const bool abbreviation =
                k >= 2 && t.p[k - 2] == '.' && is_alpha(t.p[k - 1]); /* p.m. */
            if (!abbreviation && !(ch == '.' && k + 2 < t.n && t.p[k + 2] == '.')) return k;
        }
    }
    return t.n;
}

/* Markdown stars and the like at both ends. */
static rex_str unmark(rex_str s) {
    s = trim(s);
    while (s.n && strchr("*:`\"", s.p[0])) s = trim((rex_str){ s.p + 1, s.n - 1 });
    while (s.n && strchr("*`\"", s.p[s.n - 1])) s = trim((rex_str){ s.p, s.n - 1 });
    return s;
}

/* Words between pieces in dollar signs: prose around mathematics, not one expression. */
static bool words_outside(rex_str s) {
    bool maths = false, seen = false, words = false;
    for (size_t k = 0; k < s.n; k++) {
        if (s.p[k] == '\\') {
            if (!maths && k + 1 < s.n && is_alpha(s.p[k + 1])) words = words || seen;
            k++;
        } else if (s.p[k] == '$') {
            maths = !maths;
            seen = true;
        } else if (!maths && is_alpha(s.p[k])) {
            size_t e = k;
            while (e < s.n && is_alpha(s.p[e])) e++;
            const rex_str w = { s.p + k, e - k };
            words = words || !(rex_str_is(w, "and") || rex_str_is(w, "or"));
            k = e - 1;
        }
    }
    return seen && words && !maths;
}

/* A word of a sentence stands alone somewhere: letters would be read as a product. */
static bool has_prose(rex_str s) {
    static const char *const links[] = {"of",   "if",    "to",   "for", "but",  "not",    "with",
                                        "when", "where", "both", "the", "an",   "course", "total",
                                        "as",   "from",  "by",   "all", "each", "after",  "only"};
    for (size_t k = 0; k < s.n; k++) {
        if (!is_alpha(s.p[k])) continue;
        size_t e = k;
        while (e < s.n && is_alpha(s.p[e])) e++;
        const bool alone = (k == 0 || is_space(s.p[k - 1])) &&
                           (e == s.n || is_space(s.p[e]) || strchr(",.;:!?", s.p[e]));
        const rex_str w = { s.p + k, e - k };
        for (size_t j = 0; alone && j < sizeof links / sizeof *links; j++)
            if (rex_str_is(w, links[j])) return true;
        if (alone && w.n >= 2 && rex_mx_is_prose(w)) return true;
        k = e;
    }
    return false;
}

/* A text that is one expression or words from end to end. */
static bool readable(rex_mctx *c, rex_str s) {
    if (s.n == 0 || s.n > 600 || words_outside(s)) return false;
    if (rex_mx_words(c, s)) return true;
    if (has_prose(s)) return false;
    rex_mctx in;
    rex_mctx_init(&in, c->a, 0, true, c->e);
    in.steps = 40000;
    const bool ok = rex_mx_parse(&in, s) != NULL;
    if (in.fault == REX_MF_NOMEM) rex_mx_fail(c, REX_MF_NOMEM, "out of memory");
    rex_mctx_done(&in);
    return ok && rex_mx_step(c, 200);
}

/* A piece between dollar signs, \( \) or \[ \]: the first or the last one. */
static bool maths_piece(rex_str t, bool last, rex_str *out, size_t *end) {
    bool found = false;
    for (size_t k = 0; k < t.n; k++) {
        size_t open = 0, e = t.n;
        if (t.p[k] == '\\' && k + 1 < t.n && (t.p[k + 1] == '(' || t.p[k + 1] == '[')) {
            const char close = t.p[k + 1] == '(' ? ')' : ']';
            open = k + 2;
            for (e = open; e + 1 < t.n; e++)
                if (t.p[e] == '\\' && t.p[e + 1] == close) break;
            if (e + 1 >= t.n) continue;
            k = e + 1;
        } else if (t.p[k] == '\\') {
            k++;
            continue;
        } else if (t.p[k] == '$') {
            const size_t w = k + 1 < t.n && t.p[k + 1] == '$' ? 2 : 1;
            open = k + w;
            for (e = open; e < t.n; e++) {
                if (t.p[e] == '\\') e++;
                else if (t.p[e] == '$') break;
            }
            if (e >= t.n) break;
            k = e + w - 1;
        } else {
            continue;
        }
        const rex_str piece = trim((rex_str){ t.p + open, e - open });
        if (piece.n == 0) continue;
        *out = piece;
        *end = k + 1 < t.n ? k + 1 : t.n; /* "$$x$" ends before its second sign */
        found = true;
        if (!last) return true;
    }
    return found;
}

/* A number of a sentence, not a part of an expression that could not be read: no operator, brace
 * or lone letter touches it. Without this, any broken formula would answer with its last digit. */
static bool stands_alone(rex_str t, size_t from, size_t to) {
    size_t b = from, e = to;
    while (b && is_space(t.p[b - 1])) b--;
    while (e < t.n && is_space(t.p[e])) e++;
    if (b && strchr("^_+*/{\\<>|&([", t.p[b - 1])) return false;
    if (b > 1 && t.p[b - 1] == '-' &&
        (is_digit(t.p[b - 2]) || is_space(t.p[b - 2]) || strchr(")}]", t.p[b - 2])))
        return false;
    if (b && (unsigned char)t.p[b - 1] >= 0x80) return false;
    if (e == t.n) return true;
    if (strchr("^_+*/}{<>|&!=)]", t.p[e]) && !(t.p[e] == '*' && e + 1 < t.n && t.p[e + 1] == '*'))
        return false;
    if (t.p[e] == '\\' && !(e + 1 < t.n && strchr(")]", t.p[e + 1]))) return false;
    if (t.p[e] == '-' && e + 1 < t.n && (is_digit(t.p[e + 1]) || is_space(t.p[e + 1])))
        return false;
    if ((unsigned char)t.p[e] >= 0x80) return false;
    size_t w = to;
    while (w < t.n && is_alpha(t.p[w])) w++;
    return w != to + 1; /* 5x */
}

/* A number with its sign, separators, fraction bar and per cent sign, first or last in the text. */
static bool number_piece(rex_str t, bool last, rex_str *out) {
    bool found = false;
    for (size_t k = 0; k < t.n; k++) {
        if (!is_digit(t.p[k])) continue;
        size_t from = k, e = k;
        while (e < t.n && (is_digit(t.p[e]) || ((t.p[e] == '.' || t.p[e] == ',' || t.p[e] == '/') &&
                                                e + 1 < t.n && is_digit(t.p[e + 1]))))
            e++;
        if (e < t.n && t.p[e] == '%') e++;
        else if (e + 1 < t.n && t.p[e] == '\\' && t.p[e + 1] == '%') e += 2;
        if (from && t.p[from - 1] == '.' && (from < 2 || !is_digit(t.p[from - 2]))) from--;
        if (from && t.p[from - 1] == '$') from--;
        if (from && t.p[from - 1] == '-' &&
            (from < 2 || !(is_digit(t.p[from - 2]) || is_alpha(t.p[from - 2]))))
            from--;
        if (!(from && (is_alpha(t.p[from - 1]) || t.p[from - 1] == '_'))) {
            *out = (rex_str){ t.p + from, e - from };
            found = stands_alone(t, from, e);
            if (!last) return found;
        } else {
            found = false;
        }
        k = e;
    }
    return found;
}

/* The answer within one clause. */
static bool from_clause(rex_mctx *c, rex_str s, rex_str *out) {
    s = unmark(s);
    static const char *const fillers[] = {
        "therefore ", "thus ",     "then ",     "simply ", "just ",   "exactly ", "option ",
        "choice ",    "equal to ", "given by ", "Option ", "Choice ", "indeed ",  "actually "};
    for (size_t k = 0; k < sizeof fillers / sizeof *fillers; k++) {
        const size_t n = strlen(fillers[k]);
        if (s.n > n && !memcmp(s.p, fillers[k], n)) {
            s = unmark((rex_str){ s.p + n, s.n - n });
            k = 0;
        }
    }
    if (s.n == 0) return false;
    if (readable(c, s)) {
        *out = s;
        return true;
    }
    if (c->fault == REX_MF_NOMEM) return false;
    size_t end = 0;
    if (maths_piece(s, false, out, &end)) return true;
    if (number_piece(s, false, out)) return true;
    return false;
}

static bool from_phrase(rex_mctx *c, rex_str t, rex_found *out) {
    for (size_t k = t.n; k-- > 0;) {
        size_t from = 0;
        if (t.p[k] == '#' && t.n - k >= 4 && !memcmp(t.p + k, "####", 4)) {
            from = k + 4;
        } else if ((t.p[k] == 'a' || t.p[k] == 'A') && (k == 0 || !is_alpha(t.p[k - 1])) &&
                   word_at(t, k, "answer")) {
            from = k + 6;
            while (from < t.n && (is_space(t.p[from]) || t.p[from] == '*')) from++;
            if (word_at(t, from, "is") && from + 2 < t.n && !is_alpha(t.p[from + 2])) from += 2;
            else if (from < t.n && (t.p[from] == ':' || t.p[from] == '=')) from += 1;
            else continue;
            while (from < t.n && (t.p[from] == ':' || t.p[from] == '*' || is_space(t.p[from])))
                from++;
        } else {
            continue;
        }
        while (from < t.n && is_space(t.p[from])) from++;
        if (from >= t.n) continue;
        const size_t end = sentence_end(t, from);
        if (from_clause(c, (rex_str){ t.p + from, end - from }, &out->text)) {
            out->step = t.p[k] == '#' ? "after ####" : "answer is";
            return true;
        }
        if (c->fault) return false;
    }
    return false;
}

/* ---- last expression --------------------------------------------------------------------- */

static bool from_last(rex_mctx *c, rex_str t, rex_found *out) {
    const rex_str whole = unmark(t);
    out->step = "last expression";
    if (readable(c, whole)) {
        out->text = whole;
        out->step = "whole text";
        return true;
    }
    if (c->fault) return false;
    /* the last line or sentence alone */
    size_t end = 0, from = 0;
    for (size_t k = 0; k < whole.n;) {
        const size_t e = sentence_end(whole, k);
        from = k;
        k = e + 1;
        while (k < whole.n && is_space(whole.p[k])) k++;
    }
    const rex_str tail = unmark((rex_str){ whole.p + from, whole.n - from });
    if (tail.n && tail.n < 200 && !rex_mx_words(c, tail) && readable(c, tail)) {
        out->text = tail;
        return true;
    }
    rex_str piece, number;
    if (maths_piece(whole, true, &piece, &end)) {
        const rex_str rest = { whole.p + end, whole.n - end };
        out->text = number_piece(rest, true, &number) ? number : piece;
        return true;
    }
    /* behind the last sign of equality of the last sentence */
    for (size_t k = tail.n; k-- > 0;) {
        if (tail.p[k] != '=') continue;
        const rex_str right = unmark((rex_str){ tail.p + k + 1, tail.n - k - 1 });
        if (readable(c, right) && !rex_mx_words(c, right)) {
            out->text = right;
            return true;
        }
        break;
    }
    if (number_piece(whole, true, &number)) {
        out->text = number;
        return true;
    }
    return false;
}

bool rex_math_extract(rex_mctx *c, rex_str text, rex_found *out) {
    *out = (rex_found){ .step = "" };
    const rex_str t = trim(text);
    if (t.n == 0) {
        out->none = "it is empty";
        return true;
    }
    if (from_boxes(c, t, out)) return true;
    if (c->fault) return false;
    const rex_str end = t.n > 20000 ? (rex_str){ t.p + t.n - 20000, 20000 } : t;
    if (from_phrase(c, end, out)) return true;
    if (c->fault) return false;
    if (from_last(c, end, out)) return true;
    if (c->fault) return false;
    *out = (rex_found){ .step = "", .none = "no box, no \"answer is\", no expression" };
    return true;
}
