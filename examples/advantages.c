/* SPDX-License-Identifier: MIT
 *
 * pass@k with an interval, and advantages, from two arrays. Build it with
 *     cc advantages.c $(pkg-config --cflags --libs repexp)
 */
#include <repexp.h>

#include <stdio.h>

int main(void) {
    /* two prompts with eight samples each: two are right of the first, five of the second */
    static const double reward[16] = {0, 1, 0, 0, 1, 0, 0, 0, 1, 1, 0, 1, 1, 0, 1, 0};
    static const size_t first[3] = {0, 8, 16};
    static const int64_t k[3] = {1, 2, 4};
    rex_scored s = {0};
    rex_passk_opts pass;
    rex_passk result;
    rex_adv_opts adv;
    rex_arena *arena = NULL;
    rex_err err;
    double advantage[16];

    s.n_groups = 2;
    s.first = first;
    s.reward = reward;
    rex_passk_defaults(&pass);
    pass.k = k;
    pass.n_k = 3;
    rex_adv_defaults(&adv);
    adv.kind = REX_ADV_PASSK; /* analytic Pass@k training */
    adv.k = 4;

    rex_status st = rex_arena_open(0, &arena, &err);
    if (st == REX_OK) st = rex_passk_run(arena, NULL, &s, &pass, &result, &err);
    if (st == REX_OK) st = rex_advantage_run(&s, &adv, advantage, &err);
    if (st != REX_OK) {
        fprintf(stderr, "%s\n", err.text);
        rex_arena_close(arena);
        return 1;
    }
    for (size_t j = 0; j < result.n_k; j++)
        printf("pass@%lld = %.4f [%.4f, %.4f]\n", (long long)result.k[j], result.pass[j].value,
               result.pass[j].low, result.pass[j].high);
    for (size_t i = 0; i < 16; i++) printf("%s%+.4f", i % 8 ? " " : "\n", advantage[i]);
    printf("\n");
    rex_arena_close(arena);
    return 0;
}
