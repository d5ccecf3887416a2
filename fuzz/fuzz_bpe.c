/* SPDX-License-Identifier: MIT
 *
 * A tokenizer.json and a text: the input up to the first 0xFF is the file, the rest the text. What
 * loads must encode any bytes, and its ids must decode; the stream must give what decode gives.
 */
#include "fuzz_tok.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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
        fuzz_tok_use(t, a, text, REX_TOK_BOS | REX_TOK_SPECIAL);
        fuzz_tok_use(t, a, text, 0);
    }
    rex_tok_close(t);
    rex_arena_close(a);
    return 0;
}
