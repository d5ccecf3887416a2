/* SPDX-License-Identifier: MIT
 *
 * model.c: opening and closing. Config first (cheap, most mistakes show there), then the weights.
 * What `generation_config.json` says about end tokens is joined to the config's own.
 */
#include "adapter.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

void rex_model_defaults(rex_model_opts *o) {
    *o = (rex_model_opts){.size = sizeof *o};
}

/* Is there a tokenizer beside the weights? Its reader tells about end tokens then. */
static bool has_tokenizer(const rex_model *m, const char *path) {
    char file[4096];
    struct stat sb;
    if (m->src.gguf) return rex_gguf_meta_find(m->src.gguf, "tokenizer.ggml.model") != NULL;
    return rex_path_join(file, sizeof file, path, "tokenizer.json") && stat(file, &sb) == 0;
}

/* An end token that is no token never comes: every response then runs to its limit. */
static void tell_eos(const rex_model *m, const char *file, const char *key, int64_t id) {
    if (id < 0 || id >= m->s.V)
        rex_say(REX_LOG_WARN, "%s: %s %lld is no id of the vocabulary (0 .. %lld): it ends nothing",
                file, key, (long long)id, (long long)m->s.V - 1);
}

/* The end tokens that the shape has left out. */
static void tell_config_eos(const rex_model *m, const char *path) {
    static const char *const gguf[] = {"tokenizer.ggml.eos_token_id",
                                       "tokenizer.ggml.eot_token_id"};
    const rex_jval *const v = rex_json_get(m->src.config, "eos_token_id");
    char file[4096];
    if (!v || v->kind == REX_J_NULL || has_tokenizer(m, path)) return;
    if (m->src.gguf || !rex_path_join(file, sizeof file, path, "config.json"))
        (void)snprintf(file, sizeof file, "%s", path);
    const uint32_t n = v->kind == REX_J_ARR ? v->n : 1;
    for (uint32_t i = 0; i < n; i++) {
        int64_t id;
        if (rex_json_i64(v->kind == REX_J_ARR ? &v->u.c.item[i] : v, "", &id, NULL) == REX_OK)
            tell_eos(m, file, m->src.gguf ? gguf[i < 2 ? i : 1] : "eos_token_id", id);
    }
}

static void add_eos(rex_shape *s, int64_t id) {
    if (id < 0 || id >= s->V || s->n_eos == REX_MAX_EOS) return;
    for (int i = 0; i < s->n_eos; i++)
        if (s->eos[i] == id) return;
    s->eos[s->n_eos++] = (int32_t)id;
}

/* generation_config.json of a folder, if there is one. Only its end tokens matter here. */
static rex_status generation_config(rex_model *m, const char *path, rex_err *e) {
    char file[4096];
    struct stat sb;
    if (m->src.gguf || !rex_path_join(file, sizeof file, path, "generation_config.json"))
        return REX_OK;
    if (stat(file, &sb) != 0) return REX_OK;
    rex_jval *doc = NULL;
    REX_TRY(rex_json_load(m->arena, file, &doc, e));
    const rex_jval *v = rex_json_get(doc, "eos_token_id");
    if (!v || v->kind == REX_J_NULL) return REX_OK;
    const uint32_t n = v->kind == REX_J_ARR ? v->n : 1;
    for (uint32_t i = 0; i < n; i++) {
        int64_t id = 0;
        const rex_status st =
            rex_json_i64(v->kind == REX_J_ARR ? &v->u.c.item[i] : v, "eos_token_id", &id, e);
        if (st != REX_OK) return rex_fail_in(e, st, "%s", file);
        if (!has_tokenizer(m, path)) tell_eos(m, file, "eos_token_id", id);
        add_eos(&m->s, id);
    }
    return REX_OK;
}

static void fill_info(rex_model *m) {
    const rex_shape *s = &m->s;
    rex_model_info *i = &m->info;
    i->size = sizeof *i;
    i->arch = m->src.arch->name;
    i->format = m->src.gguf ? "gguf" : "safetensors";
    i->kernel = m->kern.name;
    i->compute = m->bf16 ? "bf16" : "f32";
    i->layers = s->L;
    i->heads = s->H;
    i->kv_heads = s->K;
    i->head_dim = s->hd;
    i->width = s->D;
    i->ffn = s->F;
    i->vocab = s->V;
    i->context = s->ctx;
    i->tied = s->tied;
    i->bos = s->bos;
    i->n_eos = (size_t)s->n_eos;
    i->eos = s->eos;
    if (m->adapter) rex_adapter_info(m, i);
}

static rex_status open_all(rex_model *m, const char *path, const rex_model_opts *o, rex_pool *pool,
                           rex_err *e) {
    rex_str name;
    REX_TRY(rex_str_copy(m->arena, rex_str_of(path), &name, e));
    REX_TRY(rex_source_open(name.p, m->arena, &m->src, e));
    REX_TRY(rex_shape_read(m->src.arch, m->src.config, name.p, o->context, m->arena, &m->s, e));
    tell_config_eos(m, path);
    REX_TRY(generation_config(m, path, e));
    REX_TRY(rex_kern_pick(o->kernel, &m->kern, e));
    m->bf16 = o->compute == REX_COMPUTE_BF16;
    m->init = o->init;
    m->blank = o->blank;
    m->seed = o->seed;
    const bool adapted = o->adapter || o->lora_rank > 0;
    if (adapted && o->init)
        return rex_fail(e, REX_EARG, -1, "an adapter needs a base: a new model has none");
    m->train = (o->train && !adapted) || o->init;
    if (o->init) {
        REX_TRY(rex_bind(m, pool, e));
    } else if (!o->config_only) {
        REX_TRY(rex_source_weights(&m->src, e));
        REX_TRY(rex_bind(m, pool, e));
        rex_source_warn_unused(&m->src, &m->s);
    }
    if (adapted) REX_TRY(rex_adapter_open(m, o, pool, e));
    fill_info(m);
    return REX_OK;
}

rex_status rex_model_open(const char *path, const rex_model_opts *o, rex_pool *pool,
                          rex_model **out, rex_err *e) {
    rex_model_opts def;
    rex_model_defaults(&def);
    if (o) memcpy(&def, o, o->size < sizeof def ? o->size : sizeof def);
    *out = NULL;
    const uint64_t fp = rex_fp_enter();
    rex_model *m = rex_mem_take(1, sizeof *m, e);
    rex_status st = m ? rex_arena_open(0, &m->arena, e) : REX_ENOMEM;
    if (st == REX_OK) st = open_all(m, path, &def, pool, e);
    if (st != REX_OK) rex_model_close(m);
    else *out = m;
    rex_fp_leave(fp);
    return st;
}

const rex_model_info *rex_model_about(const rex_model *m) { return &m->info; }

void rex_model_close(rex_model *m) {
    if (!m) return;
    rex_adapter_close(m->adapter);
    rex_source_close(&m->src);
    rex_mem_free(m->slab);
    rex_mem_free(m->embed_own);
    rex_arena_close(m->arena);
    rex_mem_free(m);
}
