/* SPDX-License-Identifier: MIT
 *
 * regex: patterns without a scanner of their own, by PCRE2 with its just-in-time compiler.
 *
 * The files' patterns are in the dialect of Oniguruma. Where a word of it means something else in
 * PCRE2 the word is said in another way (\s \w \h \b and their opposites); what cannot be said is
 * refused. The library's edition of Unicode may be older than the reference's: a character that the
 * two put into different classes is replaced, in a copy of the text that is only matched, by one of
 * the same length and class; so are bytes that are no UTF-8.
 */
#include "tok.h"

#include <string.h>

/* ---- the dialect
 * ----------------------------------------------------------------------------------------- */

#define WORD "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}"

/* What stands for \c outside and inside a class; NULL: cannot be said. */
static const struct {
    char c;
    const char *outside, *inside;
} words[] = {
    {'s', "\\p{White_Space}", "\\p{White_Space}"},
    {'S', "\\P{White_Space}", "\\P{White_Space}"},
    {'w', "[" WORD "]", WORD},
    {'W', "[^" WORD "]", NULL},
    {'h', "[0-9a-fA-F]", "0-9a-fA-F"},
    {'H', "[^0-9a-fA-F]", NULL},
    {'b', "(?:(?<=[" WORD "])(?![" WORD "])|(?<![" WORD "])(?=[" WORD "]))", NULL},
    {'B', "(?:(?<=[" WORD "])(?=[" WORD "])|(?<![" WORD "])(?![" WORD "]))", NULL},
};

static rex_status refuse(rex_str pattern, size_t i, rex_err *e) {
    return rex_fail(e, REX_EUNSUP, (int64_t)i,
                    "regular expression %.*s: what stands at byte %zu is not "
                    "supported",
                    (int)(pattern.n < 200 ? pattern.n : 200), pattern.p, i);
}

/* \x at i: appends its translation; returns the bytes read, 0 if it cannot be said. */
static size_t escape(rex_str p, size_t i, bool in_class, rex_buf *out) {
    if (i + 1 >= p.n) return 0;
    const char c = p.p[i + 1];
    for (size_t k = 0; k < sizeof words / sizeof words[0]; k++)
        if (words[k].c == c) {
            const char *const say = in_class ? words[k].inside : words[k].outside;
            if (!say) return 0;
            rex_buf_add(out, say, strlen(say));
            return 2;
        }
    if ((c >= '1' && c <= '9') || strchr("gGKkXRyYOZ", c)) return 0;
    rex_buf_add(out, p.p + i, 2);
    return 2;
}

static rex_status translate(rex_str p, rex_buf *out, rex_err *e) {
    bool in_class = false;
    for (size_t i = 0, open = 0; i < p.n;) {
        const char c = p.p[i];
        if (c == '\\') {
            const size_t k = escape(p, i, in_class, out);
            if (k == 0) return refuse(p, i, e);
            i += k;
            continue;
        }
        if (in_class) {
            if (c == '[' || (c == '&' && i + 1 < p.n && p.p[i + 1] == '&')) return refuse(p, i, e);
            if (c == ']' && i > open) in_class = false;
        } else if (c == '[') {
            in_class = true;
            open = i + 1 + (i + 1 < p.n && p.p[i + 1] == '^');
        } else if (c == '(' && i + 2 < p.n && p.p[i + 1] == '?' && !strchr(":=!<>", p.p[i + 2]) &&
                   !(p.p[i + 2] == 'i' && i + 3 < p.n && strchr(":)", p.p[i + 3]))) {
            return refuse(p, i, e);
        }
        rex_buf_add(out, &c, 1);
        i++;
    }
    return rex_buf_check(out, e);
}

rex_status rex_regex_make(rex_tok *t, rex_str pattern, pcre2_code **out, rex_err *e) {
    rex_buf b;
    rex_buf_init(&b, (size_t)1 << 20);
    rex_status st = translate(pattern, &b, e);
    pcre2_compile_context *cc = NULL;
    if (st == REX_OK) {
        cc = pcre2_compile_context_create(t->pcre);
        if (!cc) st = rex_fail(e, REX_ENOMEM, -1, "out of memory for a regular expression");
    }
    if (st == REX_OK) {
        (void)pcre2_set_newline(cc, PCRE2_NEWLINE_LF);
        int code = 0;
        PCRE2_SIZE at = 0;
        *out = pcre2_compile((PCRE2_SPTR)b.p, b.n, PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE, &code,
                             &at, cc);
        if (!*out) {
            PCRE2_UCHAR text[128] = "";
            (void)pcre2_get_error_message(code, text, sizeof text);
            st = rex_fail(e, code == PCRE2_ERROR_HEAP_FAILED ? REX_ENOMEM : REX_EUNSUP, -1,
                          "regular expression %.*s: %s", (int)(pattern.n < 200 ? pattern.n : 200),
                          pattern.p, (const char *)text);
        } else {
            /* A system without the compiler is slower, not wrong. */
            if (pcre2_jit_compile(*out, PCRE2_JIT_COMPLETE) == PCRE2_ERROR_NOMEMORY)
                st = rex_fail(e, REX_ENOMEM, -1, "out of memory for a regular expression");
        }
    }
    pcre2_compile_context_free(cc);
    rex_buf_free(&b);
    return st;
}

/* ---- matching ---------------------------------------------------------------------------- */

/* Lengths 1 to 4 and classes none, letter, digit, white space: an old character of each, 0 if the
 * length has none. */
static const uint32_t stand_in[5][4] = {
    {0},
    {1, 'a', '1', ' '},
    {0xA1, 0xE1, 0xB2, 0xA0},
    {0x2010, 0x4E00, 0x2160, 0x2003},
    {0x1F600, 0x20000, 0x1D7CE, 0},
};

rex_status rex_regex_text(rex_work *w, const uint8_t *s, size_t n, const uint8_t **out) {
    uint8_t *copy = NULL;
    *out = s;
    for (size_t i = 0; i < n;) {
        uint32_t cp;
        const size_t len = (size_t)rex_utf8_next(s, i, n, &cp);
        const uint32_t c = cp == REX_BAD_BYTE ? REX_UC_NEW : rex_uclass_of(&w->t->cls, cp);
        if (c & REX_UC_NEW) {
            if (!copy) {
                rex_arena *tmp;
                REX_TRY(rex_work_tmp(w, &tmp));
                copy = rex_arena_take(tmp, n, 1, w->e);
                if (!copy) return REX_ENOMEM;
                memcpy(copy, s, n);
                *out = copy;
            }
            const int k = c & REX_UC_L ? 1 : c & REX_UC_N ? 2 : c & REX_UC_S ? 3 : 0;
            (void)rex_utf8_put(stand_in[len][k], copy + i);
        }
        i += len;
    }
    return REX_OK;
}

rex_status rex_regex_next(rex_work *w, const pcre2_code *re, const uint8_t *s, size_t n, size_t at,
                          bool *found, rex_span *m) {
    *found = false;
    if (at > n) return REX_OK;
    if (!w->md) {
        w->md = pcre2_match_data_create(1, w->t->pcre);
        if (!w->md) return rex_fail(w->e, REX_ENOMEM, -1, "out of memory for a regular expression");
    }
    const int r = pcre2_match(re, s, n, at, PCRE2_NO_UTF_CHECK, w->md, w->t->pcre_limits);
    if (r == PCRE2_ERROR_NOMATCH) return REX_OK;
    if (r < 0) {
        PCRE2_UCHAR text[128] = "";
        (void)pcre2_get_error_message(r, text, sizeof text);
        return rex_fail(
            w->e, r == PCRE2_ERROR_NOMEMORY ? REX_ENOMEM : REX_ELIMIT, (int64_t)at,
            "a regular expression of the tokenizer gave up on a text of %zu bytes at byte "
            "%zu: %s",
            n, at, (const char *)text);
    }
    const PCRE2_SIZE *const v = pcre2_get_ovector_pointer(w->md);
    *m = (rex_span){v[0], v[1]};
    *found = true;
    return REX_OK;
}
