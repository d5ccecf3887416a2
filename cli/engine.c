/* SPDX-License-Identifier: MIT
 *
 * engine: what the commands that run a model share: opening it with its tokenizer, prompts to ids,
 * pairs of a pool. A plain string is never silently put into a chat layout and a chat never
 * silently flattened: --chat decides.
 */
#include "cli.h"

#include <string.h>
#include <sys/stat.h>

static bool has_tokenizer(const char *model) {
    struct stat sb;
    if (stat(model, &sb) != 0 || !S_ISDIR(sb.st_mode)) return true; /* a GGUF file says so itself */
    rex_buf b;
    rex_buf_init(&b, 0);
    rex_buf_addf(&b, "%s/tokenizer.json", model);
    const bool there = rex_buf_check(&b, NULL) == REX_OK && stat(b.p, &sb) == 0;
    rex_buf_free(&b);
    return there;
}

static rex_status open_tok(rex_cli_engine *g, rex_err *e) {
    const rex_cli_setup *s = &g->set;
    const bool given = s->tokenizer && *s->tokenizer;
    if (!given && !has_tokenizer(s->model))
        return rex_fail(&g->no_tok, REX_EARG, -1, "%s has no tokenizer.json: give --tokenizer FILE",
                        s->model),
               REX_OK;
    const rex_status st =
        rex_tok_open(given ? s->tokenizer : s->model, &g->tok, given ? e : &g->no_tok);
    if (given) REX_TRY(st);
    if (st != REX_OK) {
        rex_cli_note("warning: no text, token ids only: %s", g->no_tok.text);
        return REX_OK;
    }
    const int64_t V = rex_model_about(g->model)->vocab;
    if (rex_tok_size(g->tok) > V)
        return rex_fail(e, REX_EFORMAT, -1,
                        "the tokenizer has %lld tokens, the model only %lld: they do not "
                        "belong together",
                        (long long)rex_tok_size(g->tok), (long long)V);
    return REX_OK;
}

rex_status rex_cli_engine_open(const rex_cli_setup *set, rex_cli_engine *g, rex_err *e) {
    *g = (rex_cli_engine){.set = *set};
    if (!set->model || !*set->model) return rex_fail(e, REX_EARG, -1, "--model M is needed");
    REX_TRY(rex_pool_open((int)set->threads, &g->pool, e));
    rex_model_opts o;
    rex_model_defaults(&o);
    o.context = set->context;
    o.adapter = set->adapter && *set->adapter ? set->adapter : NULL;
    o.compute = set->compute == 1 ? REX_COMPUTE_BF16 : REX_COMPUTE_F32;
    const char *chat = set->chat ? set->chat : "auto";
    if (strcmp(chat, "auto") != 0 && strcmp(chat, "none") != 0)
        REX_TRY(rex_chat_find(chat, &g->chat, e));
    REX_TRY(rex_model_open(set->model, &o, g->pool, &g->model, e));
    return open_tok(g, e);
}

void rex_cli_engine_close(rex_cli_engine *g) {
    rex_tok_close(g->tok);
    rex_model_close(g->model);
    rex_pool_close(g->pool);
    *g = (rex_cli_engine){0};
}

/* ---- prompts ----------------------------------------------------------------------------- */

static rex_status chat_ids(rex_cli_engine *g, const rex_msg *msg, size_t n, rex_arena *a,
                           rex_ids *ids, rex_str *shown, rex_err *e) {
    if (!g->chat) REX_TRY(rex_chat_of(g->tok, &g->chat, e));
    return rex_chat_encode(g->tok, g->chat, msg, n, true, g->set.special ? REX_TOK_SPECIAL : 0, a,
                           ids, shown, e);
}

static rex_status prompt_ids(rex_cli_engine *g, const rex_prompt *p, rex_arena *a, rex_ids *ids,
                             rex_str *shown, rex_err *e) {
    *shown = (rex_str){0};
    if (p->n_ids > 0 || (!p->chat && !p->has_text)) {
        int32_t *v = rex_arena_take(a, p->n_ids + 1, sizeof *v, e);
        if (!v) return REX_ENOMEM;
        const int64_t V = rex_model_about(g->model)->vocab;
        for (size_t i = 0; i < p->n_ids; i++) {
            if (p->ids[i] < 0 || p->ids[i] >= V)
                return rex_fail(e, REX_EFORMAT, (int64_t)i,
                                "token id %d is outside the vocabulary of %lld", (int)p->ids[i],
                                (long long)V);
            v[i] = p->ids[i];
        }
        *ids = (rex_ids){v, p->n_ids};
        return REX_OK;
    }
    if (!g->tok)
        return rex_fail(e, g->no_tok.code, -1, "text needs a tokenizer: %s", g->no_tok.text);
    if (p->chat) {
        if (g->set.chat && strcmp(g->set.chat, "none") == 0)
            return rex_fail(e, REX_EFORMAT, -1,
                            "a chat, but --chat none: it is not flattened silently");
        return chat_ids(g, p->msg, p->n_msg, a, ids, shown, e);
    }
    if (g->chat && g->set.chat && strcmp(g->set.chat, "auto") != 0) {
        const rex_msg one = {rex_str_of("user"), p->text};
        return chat_ids(g, &one, 1, a, ids, shown, e);
    }
    *shown = p->text;
    return rex_tok_encode(g->tok, p->text, REX_TOK_BOS | (g->set.special ? REX_TOK_SPECIAL : 0), a,
                          ids, NULL, e);
}

rex_status rex_cli_encode(rex_cli_engine *g, const rex_prompt *p, rex_arena *a, rex_ids *ids,
                          rex_str *shown, rex_err *e) {
    rex_status st = prompt_ids(g, p, a, ids, shown, e);
    if (st == REX_OK && ids->n == 0)
        st = rex_fail(e, REX_EFORMAT, -1, "no tokens: nothing to go on from");
    if (st == REX_OK) return st;
    return rex_fail_in(e, st, "line %lld: prompt %.*s", (long long)p->no,
                       (int)(p->id.n > 60 ? 60 : p->id.n), p->id.p);
}

/* ---- pairs ------------------------------------------------------------------------------- */

static rex_status response_ids(rex_cli_engine *g, const rex_sample *s, rex_arena *a, rex_ids *ids,
                               rex_err *e) {
    if (s->has & REX_F(IDS)) {
        const int64_t V = rex_model_about(g->model)->vocab;
        for (size_t i = 0; i < s->n_ids; i++)
            if (s->ids[i] < 0 || s->ids[i] >= V)
                return rex_fail(e, REX_EFORMAT, s->no,
                                "line %lld: token id %d is outside the vocabulary of "
                                "%lld",
                                (long long)s->no, (int)s->ids[i], (long long)V);
        *ids = (rex_ids){(int32_t *)(uintptr_t)s->ids, s->n_ids};
        return REX_OK;
    }
    const bool text = (s->has & REX_F(TEXT)) != 0;
    if (!text && !(s->has & REX_F(RESPONSE)))
        return rex_fail(e, REX_EFORMAT, s->no, "line %lld: neither ids nor text nor response",
                        (long long)s->no);
    if (!g->tok) return rex_fail(e, g->no_tok.code, s->no, "line %lld: text needs a tokenizer: %s",
                                 (long long)s->no, g->no_tok.text);
    return rex_tok_encode(g->tok, text ? s->text : s->response, 0, a, ids, NULL, e);
}

rex_status rex_cli_pairs(rex_cli_engine *g, const char *path, const char *map, rex_arena *a,
                         rex_sample **sample, rex_gen_pair **pair, size_t *n, rex_err *e) {
    REX_TRY(rex_samples_read(a, path, map, sample, n, e));
    rex_gen_pair *p = rex_arena_take(a, *n + 1, sizeof *p, e);
    if (!p) return REX_ENOMEM;
    const int64_t ctx = rex_model_about(g->model)->context;
    for (size_t i = 0; i < *n; i++) {
        const rex_sample *s = &(*sample)[i];
        rex_ids prompt = {(int32_t *)(uintptr_t)s->prompt_ids, s->n_prompt_ids}, ids;
        if (!(s->has & REX_F(PROMPT_IDS))) {
            rex_prompt text;
            rex_str shown;
            REX_TRY(rex_prompt_parse(a, s->line, s->no, map, &text, e));
            REX_TRY(rex_cli_encode(g, &text, a, &prompt, &shown, e));
        } else {
            const rex_prompt given = {
                .id = s->prompt_id, .ids = s->prompt_ids, .n_ids = s->n_prompt_ids, .no = s->no};
            rex_str shown;
            REX_TRY(rex_cli_encode(g, &given, a, &prompt, &shown, e));
        }
        REX_TRY(response_ids(g, s, a, &ids, e));
        if ((int64_t)(prompt.n + ids.n) > ctx)
            return rex_fail(e, REX_ELIMIT, s->no,
                            "line %lld: %zu + %zu tokens are longer than the context of "
                            "%lld",
                            (long long)s->no, prompt.n, ids.n, (long long)ctx);
        p[i] = (rex_gen_pair){prompt.v, ids.v, prompt.n, ids.n};
    }
    *pair = p;
    return REX_OK;
}

void rex_cli_fit(rex_gen_opts *o, const rex_gen_pair *p, size_t n) {
    o->max_prompt = 1;
    o->max_tokens = 1;
    for (size_t i = 0; i < n; i++) {
        if ((int64_t)p[i].n_prompt > o->max_prompt) o->max_prompt = (int64_t)p[i].n_prompt;
        if ((int64_t)p[i].n > o->max_tokens) o->max_tokens = (int64_t)p[i].n;
    }
    if (n > 0 && (int64_t)n < o->batch) o->batch = (int64_t)n;
}

rex_status rex_cli_pooled(rex_arena *a, const char *model, const char *pool, int64_t layer,
                          const rex_model_info *m, rex_str *json, rex_err *e) {
    rex_buf b;
    rex_jw w;
    rex_buf_init(&b, 0);
    rex_jw_init(&w, &b);
    rex_jw_obj(&w);
    rex_jw_key(&w, "model");
    rex_jw_cstr(&w, model);
    if (m->adapter) {
        rex_jw_key(&w, "adapter");
        rex_jw_cstr(&w, m->adapter);
    }
    rex_jw_key(&w, "arch");
    rex_jw_cstr(&w, m->arch);
    rex_jw_key(&w, "pool");
    rex_jw_cstr(&w, pool);
    rex_jw_key(&w, "layer");
    rex_jw_i64(&w, layer);
    rex_jw_key(&w, "dim");
    rex_jw_i64(&w, m->width);
    rex_jw_key(&w, "compute");
    rex_jw_cstr(&w, m->compute);
    rex_jw_obj_end(&w);
    rex_status st = rex_buf_check(&b, e);
    if (st == REX_OK) st = rex_str_copy(a, (rex_str){b.p, b.n}, json, e);
    rex_buf_free(&b);
    return st;
}
