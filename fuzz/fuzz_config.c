/* SPDX-License-Identifier: MIT
 *
 * Any bytes as a config.json, for every architecture. What is accepted must be a shape that the
 * forward pass can work with.
 */
#include "../src/model/arch.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define X(n) &rex_arch_##n,
static const rex_arch *const archs[] = {REX_ARCHS(X)};
#undef X

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    rex_arena *a;
    rex_jval *doc;
    rex_err e;
    if (rex_arena_open((size_t)16 << 20, &a, NULL) != REX_OK) return 0;
    if (rex_json_parse(a, (rex_str){(const char *)data, size}, "config", &doc, &e) == REX_OK) {
        for (size_t i = 0; i < sizeof archs / sizeof archs[0]; i++) {
            rex_shape s;
            if (rex_shape_read(archs[i], doc, "config", 0, a, &s, &e) != REX_OK) continue;
            rex_assert(s.L > 0 && s.L <= REX_MAX_LAYERS && s.H % s.K == 0 && s.hd % 8 == 0);
            rex_assert(s.rot >= 2 && s.rot <= s.hd && s.rot % 2 == 0);
            rex_assert(s.D > 0 && s.F > 0 && s.V > 0 && s.ctx > 0 && s.eps > 0.0F);
            rex_assert(s.n_eos >= 0 && s.n_eos <= REX_MAX_EOS && s.bos < s.V);
            float c[4 * 512], n[4 * 512]; /* the first angles are finite */
            if (s.rot <= 1024) {
                rex_rope_table(&s.rope[0], s.rot, 4, c, n);
                rex_assert(c[0] - c[0] == 0.0F && n[0] - n[0] == 0.0F);
            }
        }
    }
    rex_arena_close(a);
    return 0;
}
