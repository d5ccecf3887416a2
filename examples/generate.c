/* SPDX-License-Identifier: MIT
 *
 * Eight samples of one prompt with their log-probabilities and pooled hidden states, from a model
 * folder or a GGUF file. Build it with
 *     cc generate.c $(pkg-config --cflags --libs repexp)
 * and run it as ./generate MODEL "Once upon a time"
 */
#include <repexp.h>

#include <stdio.h>
#include <string.h>

static rex_status show(void *ud, const rex_gen_sample *s, rex_err *e) {
    (void)ud;
    (void)e;
    double logp = 0;
    for (size_t i = 0; i < s->n; i++) logp += s->logp[i];
    printf("%u: %zu tokens, log-probability %.3f, feature %.4f %.4f ...: %.*s\n",
           (unsigned)s->sample, s->n, logp, s->feature[0], s->feature[1], (int)s->text.n,
           s->text.p);
    return REX_OK;
}

static rex_status run(const char *path, const char *text, rex_err *e) {
    rex_pool *pool = NULL;
    rex_model *model = NULL;
    rex_tok *tok = NULL;
    rex_arena *arena = NULL;
    rex_engine *engine = NULL;
    rex_ids ids;
    rex_gen_opts o;
    rex_gen_defaults(&o);
    o.temperature = 0.8;
    o.max_tokens = 40;
    o.group = 8;
    o.pooling = REX_POOLING_MEAN;

    rex_status st = rex_pool_open(0, &pool, e);
    if (st == REX_OK) st = rex_model_open(path, NULL, pool, &model, e);
    if (st == REX_OK) st = rex_tok_open(path, &tok, e);
    if (st == REX_OK) st = rex_arena_open(0, &arena, e);
    if (st == REX_OK) {
        const rex_str s = {text, strlen(text)};
        st = rex_tok_encode(tok, s, REX_TOK_BOS, arena, &ids, NULL, e);
    }
    if (st == REX_OK) o.max_prompt = (int64_t)ids.n;
    if (st == REX_OK) st = rex_gen_open(model, tok, pool, &o, &engine, e);
    if (st == REX_OK) {
        const rex_str name = {"example", 7};
        const rex_gen_prompt p = {rex_name_hash(name), ids.v, ids.n, 0, 8};
        st = rex_gen_run(engine, &p, 1, show, NULL, e);
    }
    rex_gen_close(engine);
    rex_arena_close(arena);
    rex_tok_close(tok);
    rex_model_close(model);
    rex_pool_close(pool);
    return st;
}

int main(int argc, char **argv) {
    rex_err e = {0};
    if (argc == 3 && run(argv[1], argv[2], &e) == REX_OK) return 0;
    fprintf(stderr, "%s\n", argc == 3 ? e.text : "usage: generate MODEL TEXT");
    return 1;
}
