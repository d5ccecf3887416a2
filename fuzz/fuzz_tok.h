/* SPDX-License-Identifier: MIT
 *
 * fuzz_tok: what every tokenizer that loads must do with any text: ids in range, and the same bytes
 * from both ways of decoding.
 */
#ifndef REX_FUZZ_TOK_H
#define REX_FUZZ_TOK_H

#include "../src/tokenizer/tok.h"

#include <string.h>

static inline void fuzz_tok_use(const rex_tok *t, rex_arena *a, rex_str text, uint32_t flags) {
    rex_ids ids;
    rex_err e;
    rex_str all, part;
    if (rex_tok_encode(t, text, flags, a, &ids, NULL, &e) != REX_OK) return;
    for (size_t i = 0; i < ids.n; i++) rex_assert(ids.v[i] >= 0 && ids.v[i] < rex_tok_size(t));
    if (rex_tok_decode(t, ids.v, ids.n, flags, a, &all, &e) != REX_OK) return;
    rex_tok_stream s;
    size_t n = 0;
    rex_tok_stream_init(&s, t, flags);
    for (size_t i = 0; i <= ids.n; i++) {
        const int32_t id = i < ids.n ? ids.v[i] : -1;
        if (rex_tok_stream_put(&s, id, i == ids.n, a, &part, &e) != REX_OK) return;
        rex_assert(part.n <= all.n - n && memcmp(part.p, all.p + n, part.n) == 0);
        n += part.n;
    }
    rex_assert(n == all.n);
}

#endif
