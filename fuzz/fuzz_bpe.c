/* SPDX-License-Identifier: MIT
 *
 * A tokenizer.json and a text: the input up to the first 0xFF is the file, the rest the text. What
 * loads must encode any bytes, and its ids must decode; the stream must give what decode gives.
 */
#include "../src/tokenizer/tok.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const rex_tok *t, rex_arena *a, rex_str text, uint32_t flags) {
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
        if (rex_tok_stream_put(&s, i < ids.n ? ids.v[i] : -1, i == ids.n, a, &part, &e) != REX_OK)
            return;
        rex_assert(part.n <= all.n - n && memcmp(part.p, all.p + n, part.n) == 0);
        n += part.n;
    }
    rex_assert(n == all.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *const cut = size ? memchr(data, 0xFF, size) : NULL;
    const size_t n = cut ? (size_t)(cut - data) : size;
    const rex_str text =
        cut ? (rex_str){(const char *)cut + 1, size - n - 1} : (rex_str){(const char *)data, size};
    rex_arena *a = NULL;
    rex_tok *t = NULL;
    rex_err e;
    if (rex_arena_open((size_t)64 << 20, &a, &e) == REX_OK && rex_tok_new(&t, &e) == REX_OK &&
        rex_tokjson_parse(t, a, (rex_str){(const char *)data, n}, "input", &e) == REX_OK &&
        rex_tok_finish(t, "input", &e) == REX_OK) {
        use(t, a, text, REX_TOK_BOS | REX_TOK_SPECIAL);
        use(t, a, text, 0);
    }
    rex_tok_close(t);
    rex_arena_close(a);
    return 0;
}
