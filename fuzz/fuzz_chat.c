/* SPDX-License-Identifier: MIT
 *
 * Any template and any messages. Byte 0 chooses a layout, byte 1 the opening, then come lines: a
 * role's first letter and a content. The whole input is also a chat template for the recogniser. A
 * rendered text holds every content of a layout that does not trim.
 */
#include "../src/tokenizer/tok.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const role[] = {"system", "user", "assistant"};
    rex_msg msg[16];
    size_t n = 0;
    rex_arena *a = NULL;
    rex_tok *t = NULL;
    rex_err e;
    rex_str out;
    if (size < 2 || rex_arena_open((size_t)64 << 20, &a, &e) != REX_OK) return 0;
    const rex_chat *const c = rex_chat_at(data[0] % rex_chat_count());
    for (size_t i = 2; i < size && n < 16;) {
        const uint8_t *const end = memchr(data + i, '\n', size - i);
        const size_t to = end ? (size_t)(end - data) : size;
        const char *const r = data[i] == '?' ? "odd" : role[data[i] % 3];
        msg[n++] = (rex_msg){rex_str_of(r), {(const char *)data + i + 1, to > i ? to - i - 1 : 0}};
        if (to == i) msg[n - 1].content.n = 0;
        i = to + 1;
    }
    if (rex_chat_render(c, msg, n, data[1] & 1, a, &out, &e) == REX_OK) {
        size_t total = 0;
        for (size_t i = 0; i < n; i++) total += msg[i].content.n;
        rex_assert(strcmp(rex_chat_name(c), "chatml") != 0 || out.n >= total);
    }
    if (rex_tok_new(&t, &e) == REX_OK) {
        static const char tiny[] =
            "{\"added_tokens\":[{\"id\":1,\"content\":\"<|im_start|>\",\"special\":true},"
            "{\"id\":2,\"content\":\"<|im_end|>\",\"special\":true}],"
            "\"model\":{\"vocab\":{\"a\":0},\"merges\":[]}}";
        if (rex_tokjson_parse(t, a, rex_str_of(tiny), "tiny", &e) == REX_OK) {
            t->template_text = (rex_str){(const char *)data, size};
            const rex_chat *own;
            rex_ids ids;
            if (rex_tok_finish(t, "tiny", &e) == REX_OK && rex_chat_of(t, &own, &e) == REX_OK)
                (void)!rex_chat_encode(t, own, msg, n, true, 0, a, &ids, NULL, &e);
        }
    }
    rex_tok_close(t);
    rex_arena_close(a);
    return 0;
}
