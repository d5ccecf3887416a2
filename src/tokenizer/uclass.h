/* SPDX-License-Identifier: MIT
 *
 * uclass: UTF-8 read strictly, and the classes of characters that words are cut by.
 */
#ifndef REX_UCLASS_H
#define REX_UCLASS_H

#include "../base/base.h"

/* ---- character classes (uclass.c, uclass_tab.c) ------------------------------------------------
 */

enum {
    REX_UC_L = 1,
    REX_UC_N = 2,
    REX_UC_S = 4,
    REX_UC_D = 8,
    REX_UC_W = 16,
    REX_UC_NL = 32, /* \r and \n */
    REX_UC_NEW = 64 /* an older PCRE2 may not know its class */
};
extern const uint32_t rex_uclass_range[][3];
extern const size_t rex_uclass_ranges;
extern const uint32_t rex_lower_new[][2]; /* ascending: capital, small letter */
extern const size_t rex_lower_news;

/* Two steps: page of 128 code points, then the code point. Pages that are alike are one. */
enum { REX_UC_PAGES = 0x110000 >> 7 };
typedef struct {
    uint16_t page[REX_UC_PAGES];
    uint8_t (*mask)[128]; /* owned by the tokenizer's arena; page 0 is ASCII */
} rex_uclass;

/* Spreads the ranges into pages. */
REX_MUST rex_status rex_uclass_make(rex_arena *a, rex_uclass *u, rex_err *e);
/* The mask of a code point up to U+10FFFF. */
static inline uint32_t rex_uclass_of(const rex_uclass *u, uint32_t cp) {
    return u->mask[u->page[cp >> 7]][cp & 127];
}
/* One character of s[i .. n-1], i < n: its bytes, and the code point; a byte that begins no valid
 * UTF-8 sequence is a character of one byte with code point REX_BAD_BYTE. */
#define REX_BAD_BYTE 0xFFFFFFFFu
int rex_utf8_next(const uint8_t *s, size_t i, size_t n, uint32_t *cp);
/* Writes a code point, returns its bytes. */
int rex_utf8_put(uint32_t cp, uint8_t out[4]);

#endif
