/* SPDX-License-Identifier: MIT
 *
 * Any bytes as a GGUF file with a tokenizer: refused with a sentence, or a tokenizer whose ids are
 * in range and whose text comes back through both ways of decoding.
 */
#include "fuzz_file.h"
#include "fuzz_tok.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char words[] = "the caf\xC3\xA9  12345\n <tool>xy<s>\xFF\x00end";
    rex_tok *t = NULL;
    rex_arena *a = NULL;
    rex_err e = {.text = ""};
    if (rex_arena_open((size_t)64 << 20, &a, NULL) != REX_OK) return 0;
    if (rex_tok_new(&t, &e) == REX_OK &&
        rex_tokgguf_load(t, a, fuzz_file(data, size), &e) == REX_OK &&
        rex_tok_finish(t, "input", &e) == REX_OK) {
        fuzz_tok_use(t, a, (rex_str){words, sizeof words - 1}, REX_TOK_BOS | REX_TOK_SPECIAL);
        fuzz_tok_use(t, a, (rex_str){(const char *)data, size < 512 ? size : 512}, 0);
    } else {
        rex_assert(e.text[0] != 0);
    }
    rex_tok_close(t);
    rex_arena_close(a);
    return 0;
}
