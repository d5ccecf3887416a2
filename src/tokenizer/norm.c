/* SPDX-License-Identifier: MIT
 *
 * norm: the normaliser. Each step rewrites the text of the one before; a text that a step leaves as
 * it is costs no copy. Normal forms come from utf8proc; bytes that are no UTF-8 go through every
 * step unchanged and part the text there: what stands on their two sides is normalised apart.
 */
#include "tok.h"

#include <string.h>
#include <utf8proc.h>

static char *room_for(rex_work *w, size_t n) {
    rex_arena *tmp;
    if (rex_work_tmp(w, &tmp) != REX_OK) return NULL;
    return rex_arena_take(tmp, n ? n : 1, 1, w->e);
}

/* ---- normal forms
 * --------------------------------------------------------------------------------------- */

/* Blocks in which every character is its own NFC and NFD-inert for composition with what follows
 * or precedes: letters and signs without decomposition that combine with nothing (a test holds the
 * list against utf8proc). Everything below U+0300 is composed, too. */
static bool inert_nfc(uint32_t cp) {
    return cp < 0x300 || (cp >= 0x3400 && cp < 0x4DC0) || (cp >= 0x4E00 && cp < 0xA000) ||
           (cp >= 0x2010 && cp < 0x2070) || (cp >= 0x2500 && cp < 0x27C0) ||
           (cp >= 0x30A1 && cp < 0x30FB) || (cp >= 0x3041 && cp < 0x3097) ||
           (cp >= 0x410 && cp < 0x450) || (cp >= 0x1F300 && cp < 0x1FB00);
}

/* True when the form cannot change the text. */
static bool form_is(const uint8_t *s, size_t n, bool nfc) {
    size_t i = 0;
    while (i < n && s[i] < 0x80) i++;
    if (i == n || !nfc) return i == n;
    while (i < n) {
        uint32_t cp;
        i += (size_t)rex_utf8_next(s, i, n, &cp);
        if (cp != REX_BAD_BYTE && !inert_nfc(cp)) return false;
    }
    return true;
}

/* The valid UTF-8 s[0 .. n-1] in `form` appended to out. */
static rex_status form_put(rex_work *w, const uint8_t *s, size_t n, int form, rex_buf *out) {
    utf8proc_option_t opt = (utf8proc_option_t)form;
    const utf8proc_ssize_t room = utf8proc_decompose(s, (utf8proc_ssize_t)n, NULL, 0, opt);
    if (room < 0 || (size_t)room > SIZE_MAX / sizeof(utf8proc_int32_t) - 1)
        return rex_fail(w->e, REX_ELIMIT, -1, "a text of %zu bytes is too long to normalise", n);
    rex_arena *tmp;
    REX_TRY(rex_work_tmp(w, &tmp));
    const rex_mark mark = rex_arena_mark(tmp);
    utf8proc_int32_t *const v = rex_arena_take(tmp, (size_t)room + 1, sizeof *v, w->e);
    if (!v) return REX_ENOMEM;
    utf8proc_ssize_t k = utf8proc_decompose(s, (utf8proc_ssize_t)n, v, room, opt);
    if (k >= 0) k = utf8proc_normalize_utf32(v, k, opt);
    rex_assert(k >= 0); /* valid UTF-8 in, measured room */
    for (utf8proc_ssize_t i = 0; i < k; i++) {
        uint8_t c[4];
        rex_buf_add(out, c, (size_t)rex_utf8_put((uint32_t)v[i], c));
    }
    rex_arena_back(tmp, mark);
    return rex_buf_check(out, w->e);
}

static rex_status step_form(rex_work *w, const rex_norm *f, rex_str *s) {
    const uint8_t *const p = (const uint8_t *)s->p;
    if (form_is(p, s->n, f->form == (UTF8PROC_STABLE | UTF8PROC_COMPOSE))) return REX_OK;
    rex_buf b;
    rex_buf_init(&b, 0);
    rex_status st = REX_OK;
    for (size_t i = 0, from = 0; st == REX_OK && i <= s->n;) {
        uint32_t cp = 0;
        const int len = i < s->n ? rex_utf8_next(p, i, s->n, &cp) : 0;
        if (i == s->n || cp == REX_BAD_BYTE) {
            if (i > from) st = form_put(w, p + from, i - from, f->form, &b);
            rex_buf_add(&b, p + i, i < s->n);
            from = i + 1;
        }
        if (len == 0) break;
        i += (size_t)len;
    }
    if (st == REX_OK) st = rex_buf_check(&b, w->e);
    if (st == REX_OK) {
        char *const d = room_for(w, b.n);
        if (d) {
            memcpy(d, b.p, b.n);
            *s = (rex_str){d, b.n};
        } else {
            st = REX_ENOMEM;
        }
    }
    rex_buf_free(&b);
    return st;
}

/* ---- the other steps
 * ---------------------------------------------------------------------------------------- */

static uint32_t lower(uint32_t cp) {
    for (size_t i = 0; cp >= rex_lower_new[0][0] && i < rex_lower_news; i++)
        if (rex_lower_new[i][0] == cp) return rex_lower_new[i][1];
    return (uint32_t)utf8proc_tolower((utf8proc_int32_t)cp);
}

/* Character by character, without context; U+0130 alone becomes two. */
static rex_status step_lower(rex_work *w, rex_str *s) {
    const uint8_t *const p = (const uint8_t *)s->p;
    size_t room;
    REX_TRY(rex_mul_size(s->n, 2, &room, w->e)); /* U+023A: two bytes become three */
    char *const d = room_for(w, room);
    if (!d) return REX_ENOMEM;
    size_t k = 0;
    for (size_t i = 0; i < s->n;) {
        uint32_t cp;
        const size_t len = (size_t)rex_utf8_next(p, i, s->n, &cp);
        if (cp == REX_BAD_BYTE) {
            d[k++] = s->p[i];
        } else if (cp == 0x130) {
            memcpy(d + k, "i\xCC\x87", 3);
            k += 3;
        } else {
            k += (size_t)rex_utf8_put(lower(cp), (uint8_t *)d + k);
        }
        i += len;
    }
    *s = (rex_str){d, k};
    return REX_OK;
}

static rex_status step_prepend(rex_work *w, const rex_norm *f, rex_str *s) {
    if (s->n == 0) return REX_OK;
    char *const d = room_for(w, s->n + f->to.n);
    if (!d) return REX_ENOMEM;
    memcpy(d, f->to.p, f->to.n);
    memcpy(d + f->to.n, s->p, s->n);
    *s = (rex_str){d, s->n + f->to.n};
    return REX_OK;
}

/* The next occurrence at or behind i; an empty literal never occurs. */
static rex_status next_match(rex_work *w, const rex_norm *f, rex_str s, const uint8_t *safe,
                             size_t i, bool *found, rex_span *m) {
    if (f->re) return rex_regex_next(w, f->re, safe, s.n, i, found, m);
    *found = false;
    for (; f->from.n > 0 && i + f->from.n <= s.n; i++) {
        const char *const hit = memchr(s.p + i, f->from.p[0], s.n - i - f->from.n + 1);
        if (!hit) break;
        i = (size_t)(hit - s.p);
        if (memcmp(hit, f->from.p, f->from.n) != 0) continue;
        *found = true;
        *m = (rex_span){i, i + f->from.n};
        break;
    }
    return REX_OK;
}

static rex_status replace_into(rex_work *w, const rex_norm *f, rex_str s, rex_buf *b) {
    const uint8_t *safe = (const uint8_t *)s.p;
    if (f->re) REX_TRY(rex_regex_text(w, safe, s.n, &safe));
    size_t done = 0, i = 0;
    for (;;) {
        bool found;
        rex_span m;
        REX_TRY(next_match(w, f, s, safe, i, &found, &m));
        if (!found) break;
        rex_buf_add(b, s.p + done, m.from - done);
        rex_buf_add(b, f->to.p, f->to.n);
        done = m.to;
        uint32_t cp;
        if (m.to == m.from && m.to >= s.n) break;
        i = m.to > m.from ? m.to : m.to + (size_t)rex_utf8_next(safe, m.to, s.n, &cp);
    }
    rex_buf_add(b, s.p + done, s.n - done);
    return rex_buf_check(b, w->e);
}

static rex_status step_replace(rex_work *w, const rex_norm *f, rex_str *s) {
    rex_buf b;
    rex_buf_init(&b, 0);
    rex_status st = replace_into(w, f, *s, &b);
    if (st == REX_OK) {
        char *const d = room_for(w, b.n);
        if (!d) st = REX_ENOMEM;
        else {
            if (b.n) memcpy(d, b.p, b.n);
            *s = (rex_str){d, b.n};
        }
    }
    rex_buf_free(&b);
    return st;
}

static void step_strip(const rex_tok *t, const rex_norm *f, rex_str *s) {
    const uint8_t *const p = (const uint8_t *)s->p;
    size_t first = s->n, last = s->n; /* of what is no white space: where it begins and ends */
    for (size_t i = 0, len; i < s->n; i += len) {
        uint32_t cp;
        len = (size_t)rex_utf8_next(p, i, s->n, &cp);
        if (cp != REX_BAD_BYTE && (rex_uclass_of(&t->cls, cp) & REX_UC_S)) continue;
        if (first == s->n) first = i;
        last = i + len;
    }
    const size_t from = f->left ? first : 0;
    const size_t to = f->right ? (first == s->n ? from : last) : s->n;
    *s = (rex_str){s->p + from, to - from};
}

rex_status rex_norm_run(rex_work *w, rex_str s, rex_str *out) {
    const rex_tok *const t = w->t;
    for (int k = 0; k < t->n_norm && s.n > 0; k++) {
        const rex_norm *const f = &t->norm[k];
        switch (f->kind) {
        case REX_NORM_FORM: REX_TRY(step_form(w, f, &s)); break;
        case REX_NORM_LOWER: REX_TRY(step_lower(w, &s)); break;
        case REX_NORM_PREPEND: REX_TRY(step_prepend(w, f, &s)); break;
        case REX_NORM_REPLACE: REX_TRY(step_replace(w, f, &s)); break;
        case REX_NORM_STRIP: step_strip(t, f, &s); break;
        }
    }
    *out = s;
    return REX_OK;
}
