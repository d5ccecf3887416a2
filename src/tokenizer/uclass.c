/* SPDX-License-Identifier: MIT
 *
 * uclass: characters of a text and the classes they belong to.
 *
 * The ranges of uclass_tab.c are spread into pages of 128 code points once per tokenizer, equal
 * pages shared, so that a class costs two loads. UTF-8 is read strictly (no overlong forms, no
 * surrogates, nothing beyond U+10FFFF): what is not UTF-8 is bytes of no class, each on its own,
 * so that a text of any bytes is cut and merged without losing one.
 * The byte-level alphabet (every byte as one printable character) lives here, too.
 */
#include "tok.h"

#include <string.h>

/* ---- UTF-8
 * ---------------------------------------------------------------------------------------- */

static bool follows(uint8_t b) { return (b & 0xC0) == 0x80; }

int rex_utf8_next(const uint8_t *s, size_t i, size_t n, uint32_t *cp) {
    const uint8_t *const p = s + i;
    const size_t left = n - i;
    const uint8_t b = p[0];
    if (b < 0x80) {
        *cp = b;
        return 1;
    }
    if (b >= 0xC2 && b <= 0xDF && left >= 2 && follows(p[1])) {
        *cp = (uint32_t)(b & 0x1F) << 6 | (p[1] & 0x3F);
        return 2;
    }
    if ((b & 0xF0) == 0xE0 && left >= 3 && follows(p[1]) && follows(p[2])) {
        *cp = (uint32_t)(b & 0x0F) << 12 | (uint32_t)(p[1] & 0x3F) << 6 | (p[2] & 0x3F);
        if (*cp >= 0x800 && (*cp < 0xD800 || *cp > 0xDFFF)) return 3;
    }
    if (b >= 0xF0 && b <= 0xF4 && left >= 4 && follows(p[1]) && follows(p[2]) && follows(p[3])) {
        *cp = (uint32_t)(b & 0x07) << 18 | (uint32_t)(p[1] & 0x3F) << 12 |
              (uint32_t)(p[2] & 0x3F) << 6 | (p[3] & 0x3F);
        if (*cp >= 0x10000 && *cp <= 0x10FFFF) return 4;
    }
    *cp = REX_BAD_BYTE;
    return 1;
}

int rex_utf8_put(uint32_t cp, uint8_t out[4]) {
    if (cp < 0x80) {
        out[0] = (uint8_t)cp;
        return 1;
    }
    if (cp < 0x800) {
        out[0] = (uint8_t)(0xC0 | cp >> 6);
        out[1] = (uint8_t)(0x80 | (cp & 0x3F));
        return 2;
    }
    if (cp < 0x10000) {
        out[0] = (uint8_t)(0xE0 | cp >> 12);
        out[1] = (uint8_t)(0x80 | (cp >> 6 & 0x3F));
        out[2] = (uint8_t)(0x80 | (cp & 0x3F));
        return 3;
    }
    out[0] = (uint8_t)(0xF0 | cp >> 18);
    out[1] = (uint8_t)(0x80 | (cp >> 12 & 0x3F));
    out[2] = (uint8_t)(0x80 | (cp >> 6 & 0x3F));
    out[3] = (uint8_t)(0x80 | (cp & 0x3F));
    return 4;
}

/* ---- classes
 * -------------------------------------------------------------------------------------- */

/* The page's masks from the ranges; `from` is the first range that may reach into it. */
static void fill(uint8_t mask[128], uint32_t page, size_t *from) {
    const uint32_t lo = page << 7, hi = lo + 127;
    memset(mask, 0, 128);
    while (*from < rex_uclass_ranges && rex_uclass_range[*from][1] < lo) (*from)++;
    for (size_t r = *from; r < rex_uclass_ranges && rex_uclass_range[r][0] <= hi; r++) {
        const uint32_t *const row = rex_uclass_range[r];
        const uint32_t a = row[0] > lo ? row[0] : lo, b = row[1] < hi ? row[1] : hi;
        for (uint32_t c = a; c <= b; c++) mask[c - lo] = (uint8_t)row[2];
    }
}

rex_status rex_uclass_make(rex_arena *a, rex_uclass *u, rex_err *e) {
    /* A page that is unlike the one before it contains the border of a range, so there are at
     * most two new pages per range, and in fact fewer than 256. */
    const size_t room = 2 * rex_uclass_ranges + 2;
    u->mask = rex_arena_zero(a, room, sizeof *u->mask, e);
    if (!u->mask) return REX_ENOMEM;
    size_t n = 0, from = 0;
    uint8_t mask[128];
    for (uint32_t page = 0; page < REX_UC_PAGES; page++) {
        fill(mask, page, &from);
        if (page == 0) mask['\r'] = mask['\n'] = REX_UC_S | REX_UC_NL;
        size_t i = n;
        /* Pages alike are near each other: look at the last few only. */
        for (size_t back = 1; back <= n && back <= 8; back++)
            if (memcmp(u->mask[n - back], mask, sizeof mask) == 0) {
                i = n - back;
                break;
            }
        if (i == n) {
            rex_assert(n < room);
            memcpy(u->mask[n++], mask, sizeof mask);
        }
        u->page[page] = (uint16_t)i;
    }
    return REX_OK;
}

/* ---- bytes as characters
 * ---------------------------------------------------------------------------- */

/* Printable bytes of Latin-1 stand for themselves; the other 68 come from U+0100 on, in order. */
static bool printable(uint32_t b) {
    return (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
}

uint32_t rex_byte_char(uint8_t b) {
    if (printable(b)) return b;
    if (b <= 0x20) return 0x100u + b;
    if (b <= 0xA0) return 0x100u + 33 + (b - 0x7Fu);
    return 0x100u + 67; /* 0xAD */
}

static int byte_of_char(uint32_t cp) {
    if (cp < 0x100) return printable(cp) ? (int)cp : -1;
    const uint32_t k = cp - 0x100;
    if (k <= 0x20) return (int)k;
    if (k <= 66) return (int)(k - 33 + 0x7F);
    return k == 67 ? 0xAD : -1;
}

bool rex_byte_unmap(rex_str s, uint8_t *out, size_t *n) {
    size_t k = 0;
    for (size_t i = 0; i < s.n;) {
        uint32_t cp;
        i += (size_t)rex_utf8_next((const uint8_t *)s.p, i, s.n, &cp);
        const int b = byte_of_char(cp);
        if (b < 0) return false;
        out[k++] = (uint8_t)b;
    }
    *n = k;
    return true;
}

int rex_byte_piece(rex_str s) {
    if (s.n != 6 || memcmp(s.p, "<0x", 3) != 0 || s.p[5] != '>') return -1;
    int v = 0;
    for (int i = 3; i < 5; i++) {
        const char c = s.p[i];
        const int d = c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (d < 0) return -1;
        v = 16 * v + d;
    }
    return v;
}
