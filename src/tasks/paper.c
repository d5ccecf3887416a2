/* SPDX-License-Identifier: MIT
 *
 * paper.c: the graders that published results of RL on gsm8k, MATH and AIME were scored with, kept
 * to the letter, slips included, so that numbers can be compared: the last number after four hash
 * signs; the last box, both sides put through a fixed chain of textual replacements and compared
 * as text; the last box as an integer. Their rules are told step by step in docs/tasks.md.
 * Text is UTF-8: "character" means code point where the rule counts them. Invariant: a verdict is
 * `correct` exactly where the published rule scores 1.
 */
#include "tasks.h"

#include <string.h>

static int shown(rex_str s) { return (int)(s.n > 100 ? 100 : s.n); }

static bool continues(char c) { return ((unsigned char)c & 0xc0) == 0x80; }

/* Bytes of the first character. */
static size_t char_len(rex_str s) {
    size_t n = s.n ? 1 : 0;
    while (n < s.n && continues(s.p[n])) n++;
    return n;
}

static size_t char_count(rex_str s) {
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) n += !continues(s.p[i]);
    return n;
}

static rex_status same_or_not(rex_arena *a, bool same, rex_str gold, rex_str got, rex_judged *out,
                              rex_err *e) {
    return rex_judge(a, out, e, same ? REX_VERDICT_correct : REX_VERDICT_wrong,
                     "'%.*s' %s the gold '%.*s'", shown(got), got.p,
                     same ? "equals" : "differs from", shown(gold), gold.p);
}

/* ---- gsm8k ---- */

static bool number_char(char c) { return (c >= '0' && c <= '9') || c == '.' || c == ','; }

/* The last "#### -?[0-9.,]+" of s: the part behind "#### ". */
static bool last_hash_number(rex_str s, rex_str *out) {
    for (size_t i = s.n; i-- > 0;) {
        if (s.n - i < 6 || memcmp(s.p + i, "#### ", 5) != 0) continue;
        const size_t from = i + 5;
        size_t to = from + (s.p[from] == '-');
        const size_t digits = to;
        while (to < s.n && number_char(s.p[to])) to++;
        if (to == digits) continue;
        *out = (rex_str){ s.p + from, to - from };
        return true;
    }
    return false;
}

/* Without commas and dollar signs, in the arena. */
static rex_status drop_marks(rex_arena *a, rex_str s, rex_str *out, rex_err *e) {
    REX_TRY(rex_str_copy(a, s, out, e));
    char *p = (char *)(uintptr_t)out->p;
    size_t k = 0;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] != ',' && s.p[i] != '$') p[k++] = s.p[i];
    out->n = k;
    return REX_OK;
}

rex_status rex_paper_gsm8k(rex_arena *a, rex_str gold, rex_str text, rex_judged *out, rex_err *e) {
    size_t kept = 0;
    size_t from = text.n;
    while (from > 0 && kept < 300) { /* the last 300 characters */
        from--;
        kept += !continues(text.p[from]);
    }
    const rex_str tail = { text.p + from, text.n - from };
    rex_str number;
    rex_str want = rex_trim(gold);
    (void)last_hash_number(gold, &want); /* a whole reference solution serves as gold, too */
    REX_TRY(drop_marks(a, want, &want, e));
    if (want.n == 0) return rex_judge(a, out, e, REX_VERDICT_ambiguous, "gold: it is empty");
    if (!last_hash_number(tail, &number))
        return rex_judge(a, out, e, REX_VERDICT_unparsed,
                         "no '#### ' with a number in the last 300 characters");
    REX_TRY(drop_marks(a, number, &out->extracted, e));
    return same_or_not(a, rex_str_eq(out->extracted, want), want, out->extracted, out, e);
}

/* ---- MATH: extraction ---- */

/* What the last `\boxed` holds. False: the rule scores 0, `why` says at what step. */
static bool box_of(rex_str s, rex_str *out, const char **why) {
    const size_t spaced = rex_find_last(s, "\\boxed ");
    if (spaced != SIZE_MAX) {
        const char *p = s.p + spaced + 7;
        const size_t left = s.n - spaced - 7;
        const char *stop = memchr(p, '$', left);
        *out = (rex_str){ p, stop ? (size_t)(stop - p) : left };
        return true;
    }
    const size_t at = rex_find_last(s, "\\boxed");
    if (at == SIZE_MAX) {
        *why = rex_find_last(s, "\\fbox") == SIZE_MAX ? "no \\boxed" : "\\fbox instead of \\boxed";
        return false;
    }
    int depth = 0;
    for (size_t i = at; i < s.n; i++) {
        depth += s.p[i] == '{' ? 1 : s.p[i] == '}' ? -1 : 0;
        if (s.p[i] != '}' || depth != 0) continue;
        *why = "\\boxed is not followed by a brace";
        if (s.p[at + 6] != '{') return false;
        *out = (rex_str){ s.p + at + 7, i - at - 7 };
        return true;
    }
    *why = "the brace after the last \\boxed is never closed";
    return false;
}

/* ---- MATH: the chain of replacements ---- */

/* A text that is rewritten step by step: each step reads `s` and writes the other buffer. */
typedef struct {
    rex_buf b[2];
    int now; /* s lies in b[now] */
    rex_str s;
    rex_status bad; /* out of memory at some step */
} chain;

static rex_buf *next_buf(chain *c) {
    rex_buf *b = &c->b[1 - c->now];
    rex_buf_reset(b);
    return b;
}

static void done(chain *c) {
    c->now = 1 - c->now;
    if (c->b[c->now].bad != REX_OK) c->bad = c->b[c->now].bad;
    c->s = (rex_str){ c->b[c->now].p, c->b[c->now].n };
}

static bool at(rex_str s, size_t i, const char *what) {
    const size_t n = strlen(what);
    return s.n - i >= n && memcmp(s.p + i, what, n) == 0;
}

static void replace(chain *c, const char *what, const char *by) {
    const size_t n = strlen(what);
    rex_buf *b = next_buf(c);
    for (size_t i = 0; i < c->s.n;) {
        if (at(c->s, i, what)) {
            rex_buf_add(b, by, strlen(by));
            i += n;
        } else {
            rex_buf_add(b, c->s.p + i++, 1);
        }
    }
    done(c);
}

static size_t count(rex_str s, const char *what) {
    size_t n = 0;
    for (size_t i = 0; i < s.n;) {
        const bool hit = at(s, i, what);
        n += hit;
        i += hit ? strlen(what) : 1;
    }
    return n;
}

static size_t find(rex_str s, const char *what) {
    for (size_t i = 0; i < s.n; i++)
        if (at(s, i, what)) return i;
    return s.n;
}

static void add(rex_buf *b, rex_str s) { rex_buf_add(b, s.p, s.n); }

/* \sqrt3 becomes \sqrt{3}. False where nothing follows: an error of the rule. */
static bool brace_roots(chain *c) {
    rex_buf *b = next_buf(c);
    for (size_t i = 0; i < c->s.n;) {
        if (!at(c->s, i, "\\sqrt")) {
            rex_buf_add(b, c->s.p + i++, 1);
            continue;
        }
        i += 5;
        if (i == c->s.n || at(c->s, i, "\\sqrt")) return false;
        rex_buf_add(b, "\\sqrt", 5);
        if (c->s.p[i] == '{') continue;
        const rex_str arg = { c->s.p + i, char_len((rex_str){ c->s.p + i, c->s.n - i }) };
        rex_buf_add(b, "{", 1);
        add(b, arg);
        rex_buf_add(b, "}", 1);
        i += arg.n;
    }
    done(c);
    return true;
}

/* \frac12 becomes \frac{1}{2}, \frac1{2} becomes \frac{1}{2}. A piece of one character leaves the
 * whole text as it was; one of none is an error of the rule. */
static bool brace_fractions(chain *c) {
    rex_buf *b = next_buf(c);
    rex_str rest = c->s;
    const size_t first = find(rest, "\\frac");
    rex_buf_add(b, rest.p, first);
    rest = (rex_str){ rest.p + first, rest.n - first };
    while (rest.n) {
        rest = (rex_str){ rest.p + 5, rest.n - 5 };
        const rex_str piece = { rest.p, find(rest, "\\frac") };
        rest = (rex_str){ rest.p + piece.n, rest.n - piece.n };
        rex_buf_add(b, "\\frac", 5);
        if (piece.n == 0) return false;
        if (piece.p[0] == '{') {
            add(b, piece);
            continue;
        }
        const rex_str x = { piece.p, char_len(piece) };
        const rex_str more = { piece.p + x.n, piece.n - x.n };
        if (more.n == 0) return true; /* s stays */
        rex_buf_add(b, "{", 1);
        add(b, x);
        rex_buf_add(b, "}", 1);
        if (more.p[0] == '{') {
            add(b, more);
            continue;
        }
        const rex_str y = { more.p, char_len(more) };
        rex_buf_add(b, "{", 1);
        add(b, y);
        rex_buf_add(b, "}", 1);
        rex_buf_add(b, more.p + y.n, more.n - y.n);
    }
    done(c);
    return true;
}

/* -?0 or digits without a leading zero, as an integer prints. */
static bool canonical_int(rex_str s) {
    const size_t sign = s.n && s.p[0] == '-';
    if (s.n == sign) return false;
    for (size_t i = sign; i < s.n; i++)
        if (s.p[i] < '0' || s.p[i] > '9') return false;
    return s.p[sign] != '0' || s.n == 1;
}

static void slash_to_fraction(chain *c) {
    const char *slash = c->s.n ? memchr(c->s.p, '/', c->s.n) : NULL;
    if (!slash) return;
    const rex_str x = { c->s.p, (size_t)(slash - c->s.p) };
    const rex_str y = { slash + 1, c->s.n - x.n - 1 };
    if (!canonical_int(x) || !canonical_int(y)) return; /* a second slash is no digit, either */
    rex_buf *b = next_buf(c);
    rex_buf_add(b, "\\frac{", 6);
    add(b, x);
    rex_buf_add(b, "}{", 2);
    add(b, y);
    rex_buf_add(b, "}", 1);
    done(c);
}

/* The normal form into c->s. False: the rule ends in an error, and raw texts are compared. */
static bool normalise(chain *c, rex_str s) {
    static const char *const swaps[][2] = {
        { "\n", "" },        { "\\!", "" },    { "\\\\", "\\" },  { "tfrac", "frac" },
        { "dfrac", "frac" }, { "\\left", "" }, { "\\right", "" }, { "^{\\circ}", "" },
        { "^\\circ", "" },   { "\\$", "" },
    };
    add(next_buf(c), s);
    done(c);
    for (size_t i = 0; i < sizeof swaps / sizeof *swaps; i++) replace(c, swaps[i][0], swaps[i][1]);
    const size_t units = count(c->s, "\\text{ ");
    if (units > 1) return false;
    if (units) c->s.n = find(c->s, "\\text{ ");
    replace(c, "\\%", "");
    replace(c, " .", " 0.");
    replace(c, "{.", "{0.");
    if (c->s.n == 0) return true;
    if (c->s.p[0] == '.') {
        rex_buf *b = next_buf(c);
        rex_buf_add(b, "0", 1);
        add(b, c->s);
        done(c);
    }
    if (count(c->s, "=") == 1) {
        const size_t left = find(c->s, "=");
        if (char_count((rex_str){ c->s.p, left }) <= 2)
            c->s = (rex_str){ c->s.p + left + 1, c->s.n - left - 1 };
    }
    if (!brace_roots(c)) return false;
    replace(c, " ", "");
    if (!brace_fractions(c)) return false;
    if (rex_str_is(c->s, "0.5")) replace(c, "0.5", "\\frac{1}{2}");
    slash_to_fraction(c);
    return true;
}

static void chain_open(chain *c) {
    *c = (chain){ .now = 0 };
    rex_buf_init(&c->b[0], 0);
    rex_buf_init(&c->b[1], 0);
}

static rex_status chain_check(const chain *c, rex_err *e) {
    if (c->bad == REX_OK) return REX_OK;
    return rex_fail(e, c->bad, -1, "no memory to normalise an answer");
}

static void chain_close(chain *c) {
    rex_buf_free(&c->b[0]);
    rex_buf_free(&c->b[1]);
}

static rex_status compare(chain *x, chain *y, rex_str got, rex_str gold, bool *same, rex_err *e) {
    const bool ok = normalise(x, got) && normalise(y, gold);
    REX_TRY(chain_check(x, e));
    REX_TRY(chain_check(y, e));
    *same = ok ? rex_str_eq(x->s, y->s) : rex_str_eq(got, gold);
    return REX_OK;
}

rex_status rex_paper_math(rex_arena *a, rex_str gold, rex_str text, rex_judged *out, rex_err *e) {
    const char *why = "";
    rex_str got;
    if (rex_trim(gold).n == 0)
        return rex_judge(a, out, e, REX_VERDICT_ambiguous, "gold: it is empty");
    if (!box_of(text, &got, &why)) return rex_judge(a, out, e, REX_VERDICT_unparsed, "%s", why);
    REX_TRY(rex_str_copy(a, got, &out->extracted, e));
    chain x;
    chain y;
    bool same = false;
    chain_open(&x);
    chain_open(&y);
    const rex_status s = compare(&x, &y, got, gold, &same, e);
    chain_close(&x);
    chain_close(&y);
    REX_TRY(s);
    return same_or_not(a, same, gold, out->extracted, out, e);
}

/* ---- AIME ---- */

/* Without spaces, a leading plus and leading zeros; false if no integer is left. */
static rex_status plain_int(rex_arena *a, rex_str s, rex_str *out, bool *ok, rex_err *e) {
    REX_TRY(rex_str_copy(a, s, out, e));
    char *p = (char *)(uintptr_t)out->p;
    size_t k = 0;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] != ' ' && s.p[i] != '\t' && s.p[i] != '\n' && s.p[i] != '\r') p[k++] = s.p[i];
    rex_str v = { p, k };
    const bool minus = v.n && v.p[0] == '-';
    if (v.n && (v.p[0] == '+' || minus)) v = (rex_str){ v.p + 1, v.n - 1 };
    *ok = v.n > 0;
    for (size_t i = 0; i < v.n; i++) *ok = *ok && v.p[i] >= '0' && v.p[i] <= '9';
    while (*ok && v.n > 1 && v.p[0] == '0') v = (rex_str){ v.p + 1, v.n - 1 };
    if (*ok && minus && !rex_str_is(v, "0")) {
        p[v.p - p - 1] = '-'; /* over a zero or the sign itself */
        v = (rex_str){ v.p - 1, v.n + 1 };
    }
    *out = v;
    return REX_OK;
}

rex_status rex_paper_aime(rex_arena *a, rex_str gold, rex_str text, rex_judged *out, rex_err *e) {
    const char *why = "";
    rex_str want;
    rex_str got;
    bool ok;
    REX_TRY(plain_int(a, gold, &want, &ok, e));
    if (!ok)
        return rex_judge(a, out, e, REX_VERDICT_ambiguous, "gold: '%.*s' is no integer",
                         shown(gold), gold.p ? gold.p : "");
    if (!box_of(text, &got, &why)) return rex_judge(a, out, e, REX_VERDICT_unparsed, "%s", why);
    REX_TRY(plain_int(a, got, &out->extracted, &ok, e));
    if (!ok)
        return rex_judge(a, out, e, REX_VERDICT_wrong, "'%.*s' is no integer", shown(got), got.p);
    return same_or_not(a, rex_str_eq(out->extracted, want), want, out->extracted, out, e);
}
