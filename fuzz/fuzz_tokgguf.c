/* SPDX-License-Identifier: MIT
 *
 * Any bytes as a GGUF file with a tokenizer: refused with a sentence, or a tokenizer whose ids are
 * in range and whose text comes back through both ways of decoding.
 */
#include "fuzz_file.h"

#include "../src/tokenizer/tok.h"

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
        const int32_t id = i < ids.n ? ids.v[i] : -1;
        if (rex_tok_stream_put(&s, id, i == ids.n, a, &part, &e) != REX_OK) return;
        rex_assert(part.n <= all.n - n && memcmp(part.p, all.p + n, part.n) == 0);
        n += part.n;
    }
    rex_assert(n == all.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char words[] = "the caf\xC3\xA9  12345\n <tool>xy<s>\xFF\x00end";
    rex_tok *t = NULL;
    rex_arena *a = NULL;
    rex_err e = {.text = ""};
    if (rex_arena_open((size_t)64 << 20, &a, NULL) != REX_OK) return 0;
    if (rex_tok_new(&t, &e) == REX_OK &&
        rex_tokgguf_load(t, a, fuzz_file(data, size), &e) == REX_OK &&
        rex_tok_finish(t, "input", &e) == REX_OK) {
        use(t, a, (rex_str){words, sizeof words - 1}, REX_TOK_BOS | REX_TOK_SPECIAL);
        use(t, a, (rex_str){(const char *)data, size < 512 ? size : 512}, 0);
    } else {
        rex_assert(e.text[0] != 0);
    }
    rex_tok_close(t);
    rex_arena_close(a);
    return 0;
}
