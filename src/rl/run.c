/* SPDX-License-Identifier: MIT
 *
 * run.c: where a training run begins and what it leaves behind. A run from scratch first becomes an
 * ordinary model folder without weights (out/init: config.json and tokenizer), so that everything
 * after that is the same whether there was a model or not.
 */
#include "../model/adapter.h"
#include "export.h"
#include "run.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static rex_status join(rex_arena *a, const char *dir, const char *name, const char **out,
                       rex_err *e) {
    rex_str s;
    REX_TRY(rex_str_fmt(a, &s, e, "%s/%s", dir, name));
    *out = s.p;
    return REX_OK;
}

static rex_status write_file(const char *path, rex_str text, rex_err *e) {
    rex_out *out = NULL;
    REX_TRY(rex_out_open(path, &out, e));
    rex_out_add(out, text.p, text.n);
    return rex_out_commit(out, e);
}

static rex_status read_file(rex_arena *a, const char *path, rex_str *out, rex_err *e) {
    rex_map *m = NULL;
    REX_TRY(rex_map_open(path, &m, e));
    const rex_view v = rex_map_view(m);
    const rex_status s = rex_str_copy(a, (rex_str){ (const char *)v.p, v.n }, out, e);
    rex_map_close(m);
    return s;
}

/* ---- from scratch ------------------------------------------------------------------------ */

/* A tokenizer from the texts of the data: characters, or bytes with merges. */
static rex_status build_tokenizer(const rex_sft_opts *o, rex_arena *a, const char *folder,
                                  rex_err *e) {
    static const char *const special[2] = { "<pad>", "<eos>" };
    rex_str *text = NULL, json;
    size_t n = 0;
    const char *path = NULL;
    REX_TRY(rex_docs_texts(a, o->data, o->map, &text, &n, e));
    rex_tok_build_opts b;
    rex_tok_build_defaults(&b);
    b.chars = o->build_chars;
    b.vocab = o->vocab;
    b.special = special;
    b.n_special = 2;
    b.pad = special[0];
    b.eos = special[1];
    REX_TRY(rex_tok_build(text, n, &b, a, &json, e));
    REX_TRY(join(a, folder, "tokenizer.json", &path, e));
    REX_TRY(write_file(path, json, e));
    REX_TRY(join(a, folder, "tokenizer_config.json", &path, e));
    return write_file(path,
                      rex_str_of("{\n  \"tokenizer_class\": \"PreTrainedTokenizerFast\",\n"
                                 "  \"pad_token\": \"<pad>\",\n  \"eos_token\": \"<eos>\"\n}\n"),
                      e);
}

static rex_status write_config(const rex_sft_opts *o, const rex_tok *tok, rex_arena *a,
                               const char *folder, rex_err *e) {
    const rex_tok_marks *const k = rex_tok_special(tok);
    const char *path = NULL;
    rex_buf b;
    rex_buf_init(&b, 0);
    rex_buf_addf(
        &b,
        "{\n  \"architectures\": [\"LlamaForCausalLM\"],\n  \"model_type\": \"llama\",\n"
        "  \"hidden_act\": \"silu\",\n  \"hidden_size\": %lld,\n  \"intermediate_size\": %lld,\n"
        "  \"num_hidden_layers\": %lld,\n  \"num_attention_heads\": %lld,\n"
        "  \"num_key_value_heads\": %lld,\n  \"max_position_embeddings\": %lld,\n"
        "  \"rms_norm_eps\": 1e-05,\n  \"rope_theta\": 10000.0,\n  \"vocab_size\": %lld,\n"
        "  \"tie_word_embeddings\": %s,\n  \"attention_bias\": false,\n  \"mlp_bias\": false,\n",
        (long long)o->width, (long long)o->ffn, (long long)o->layers, (long long)o->heads,
        (long long)(o->kv_heads ? o->kv_heads : o->heads), (long long)o->context,
        (long long)rex_tok_size(tok), o->tied ? "true" : "false");
    const struct {
        const char *name;
        int32_t id;
    } mark[3] = { {"bos_token_id", k->bos}, {"eos_token_id", k->eos}, {"pad_token_id", k->pad} };
    for (int i = 0; i < 3; i++)
        if (mark[i].id >= 0) rex_buf_addf(&b, "  \"%s\": %d,\n", mark[i].name, mark[i].id);
    rex_buf_addf(&b, "  \"dtype\": \"float32\"\n}\n");
    rex_status s = rex_buf_check(&b, e);
    if (s == REX_OK) s = join(a, folder, "config.json", &path, e);
    if (s == REX_OK) s = write_file(path, (rex_str){ b.p, b.n }, e);
    rex_buf_reset(&b);
    rex_buf_addf(&b, "{\n  \"do_sample\": true,\n  \"temperature\": 1.0");
    for (int i = 0; i < 3; i++)
        if (mark[i].id >= 0) rex_buf_addf(&b, ",\n  \"%s\": %d", mark[i].name, mark[i].id);
    rex_buf_addf(&b, "\n}\n");
    if (s == REX_OK) s = join(a, folder, "generation_config.json", &path, e);
    if (s == REX_OK) s = write_file(path, (rex_str){ b.p, b.n }, e);
    rex_buf_free(&b);
    return s;
}

/* The folder of a model without weights; the tokenizer built of the data. */
static rex_status make_init(rex_run *r, const rex_sft_opts *o, rex_arena *a, const char *folder,
                            rex_err *e) {
    rex_tok *tok = NULL;
    struct stat sb;
    const bool there = stat(o->out, &sb) == 0;
    REX_TRY(rex_folder_make(o->out, REX_FOLDER_ANY, e));
    r->made = !there;
    r->fresh = !o->resume;
    REX_TRY(rex_folder_make(folder, REX_FOLDER_ANY, e));
    if (!o->tokenizer) REX_TRY(build_tokenizer(o, a, folder, e));
    REX_TRY(rex_tok_open(o->tokenizer ? o->tokenizer : folder, &tok, e));
    r->tok = tok;
    return write_config(o, tok, a, folder, e);
}

static rex_status from_scratch(rex_run *r, const rex_sft_opts *o, rex_arena *a, rex_err *e) {
    const char *folder = NULL;
    if (o->width % o->heads != 0 || (o->width / o->heads) % 8 != 0)
        return rex_fail(e, REX_EARG, -1,
                        "a width of %lld does not give %lld heads of a multiple of 8",
                        (long long)o->width, (long long)o->heads);
    if (o->kv_heads && o->heads % o->kv_heads != 0)
        return rex_fail(e, REX_EARG, -1, "%lld heads do not share %lld key/value heads evenly",
                        (long long)o->heads, (long long)o->kv_heads);
    REX_TRY(join(a, o->out, "init", &folder, e));
    rex_status s = rex_dist_rank(r->dist) == 0 ? make_init(r, o, a, folder, e) : REX_OK;
    REX_TRY(rex_dist_agree(r->dist, s, e)); /* the others read what rank 0 has written */
    if (!r->tok) REX_TRY(rex_tok_open(o->tokenizer ? o->tokenizer : folder, &r->tok, e));
    r->base = folder;
    return REX_OK;
}

/* ---- what travels into checkpoints ------------------------------------------------------- */

static rex_status add_side(rex_run *r, rex_arena *a, const char *folder, const char *name,
                           rex_err *e) {
    const char *path = NULL;
    REX_TRY(join(a, folder, name, &path, e));
    if (access(path, R_OK) != 0 || r->n_side == REX_SIDE_FILES) return REX_OK;
    for (size_t i = 0; i < r->n_side; i++)
        if (strcmp(r->side[i].name, name) == 0) return REX_OK;
    r->side[r->n_side].name = name;
    return read_file(a, path, &r->side[r->n_side++].text, e);
}

/* GGUF has frequency factors as a list, for which a config has no name: Llama 3.1's are told by the
 * settings that they come from. */
static void put_rope_scaling(const rex_run *r, const rex_jval *v, rex_jw *w) {
    const rex_jval *const type = rex_json_get(v, "rope_type");
    const rex_shape *const s = &r->model->s;
    rex_llama3 p;
    if (!type || type->kind != REX_J_STR || !rex_str_is(type->u.s, "factors")) {
        rex_jw_val(w, v);
        return;
    }
    if (!rex_rope_as_llama3(&s->rope[0], s->rot, &p)) {
        rex_say(REX_LOG_WARN,
                "%s: its frequency factors follow no rule that a config has a name for: "
                "the new folder is read here, not by transformers",
                r->base);
        rex_jw_val(w, v);
        return;
    }
    rex_jw_obj(w);
    rex_jw_key(w, "rope_type");
    rex_jw_cstr(w, "llama3");
    rex_jw_key(w, "factor");
    rex_jw_f64(w, p.factor);
    rex_jw_key(w, "low_freq_factor");
    rex_jw_f64(w, p.low);
    rex_jw_key(w, "high_freq_factor");
    rex_jw_f64(w, p.high);
    rex_jw_key(w, "original_max_position_embeddings");
    rex_jw_i64(w, (int64_t)p.old);
    rex_jw_obj_end(w);
}

/* The config of the base, with the type of the weights that we write. A GGUF's metadata become the
 * keys of a Hugging Face config. */
static rex_status config_text(const rex_run *r, const char *dtype, rex_arena *a, rex_str *out,
                              rex_err *e) {
    static const char *const drop[] = {
        "dtype",      "torch_dtype", "quantization_config", "norm_weights_done", "architectures",
        "model_type", "permuted"};
    const rex_jval *const c = r->model->src.config;
    rex_buf b;
    rex_buf_init(&b, 0);
    rex_jw w;
    rex_jw_init(&w, &b);
    rex_jw_obj(&w);
    rex_jw_key(&w, "architectures");
    rex_jw_arr(&w);
    rex_jw_cstr(&w, r->model->src.arch->hf_class);
    rex_jw_arr_end(&w);
    rex_jw_key(&w, "model_type");
    rex_jw_cstr(&w, r->model->src.arch->hf_types[0]);
    for (uint32_t i = 0; i < c->n; i++) {
        bool skip = false;
        for (size_t k = 0; k < sizeof drop / sizeof *drop; k++)
            skip |= rex_str_is(c->u.c.key[i], drop[k]);
        if (skip) continue;
        rex_jw_keys(&w, c->u.c.key[i]);
        if (rex_str_is(c->u.c.key[i], "rope_scaling"))
            put_rope_scaling(r, &c->u.c.item[i], &w);
        else rex_jw_val(&w, &c->u.c.item[i]);
    }
    rex_jw_key(&w, "dtype");
    rex_jw_cstr(&w, dtype);
    rex_jw_obj_end(&w);
    rex_buf_addf(&b, "\n");
    rex_status s = rex_buf_check(&b, e);
    if (s == REX_OK) s = rex_str_copy(a, (rex_str){ b.p, b.n }, out, e);
    rex_buf_free(&b);
    return s;
}

rex_status rex_run_same_config(const rex_run *r, rex_err *e) {
    const rex_str side = r->side[0].text;
    rex_buf b;
    rex_jw w;
    rex_buf_init(&b, 0);
    rex_jw_init(&w, &b);
    rex_jw_val(&w, r->model->src.config);
    const rex_status s = rex_buf_check(&b, e);
    const uint64_t hash[2] = { rex_hash64(side.p, side.n), s == REX_OK ? rex_hash64(b.p, b.n) : 0 };
    rex_buf_free(&b);
    REX_TRY(s);
    return rex_dist_same(r->dist, "the model's config and sizes", rex_hash64(hash, sizeof hash), e);
}

static rex_status adapter_text(const rex_run *r, const char *base, rex_arena *a, rex_str *out,
                               rex_err *e) {
    rex_buf b;
    rex_buf_init(&b, 0);
    rex_adapter_config(r->model, base, &b);
    rex_status s = rex_buf_check(&b, e);
    if (s == REX_OK) s = rex_str_copy(a, (rex_str){b.p, b.n}, out, e);
    rex_buf_free(&b);
    return s;
}

rex_status rex_run_side(rex_run *r, const char *tokenizer, const char *dtype, rex_arena *a,
                        rex_err *e) {
    static const char *const text[] = {"tokenizer.json",
                                       "tokenizer_config.json",
                                       "special_tokens_map.json",
                                       "added_tokens.json",
                                       "vocab.json",
                                       "merges.txt",
                                       "chat_template.jinja",
                                       "tokenizer.model"};
    const bool whole = dtype != NULL; /* else the folder holds an adapter, no model */
    r->side[0].name = whole ? "config.json" : "adapter_config.json";
    r->n_side = 1;
    REX_TRY(whole ? config_text(r, dtype, a, &r->side[0].text, e)
                  : adapter_text(r, r->base, a, &r->side[0].text, e));
    struct stat sb;
    const bool given = tokenizer && stat(tokenizer, &sb) == 0;
    if (given && !S_ISDIR(sb.st_mode) && strstr(tokenizer, ".json")) {
        r->side[r->n_side].name = "tokenizer.json";
        REX_TRY(read_file(a, tokenizer, &r->side[r->n_side++].text, e));
    }
    const char *const from = given && S_ISDIR(sb.st_mode) ? tokenizer : r->base;
    if (stat(from, &sb) == 0 && S_ISDIR(sb.st_mode))
        for (size_t i = 0; i < sizeof text / sizeof *text; i++)
            REX_TRY(add_side(r, a, from, text[i], e));
    if (whole && !given && r->model->src.gguf) {
        static const char *const name[] = {"tokenizer.json", "tokenizer_config.json"};
        rex_str made[2] = {{NULL, 0}};
        REX_TRY(rex_export_tokenizer(r->model->src.gguf, r->base, a, &made[0], &made[1], e));
        for (int i = 0; i < 2 && made[i].p; i++)
            r->side[r->n_side++] = (rex_side_file){.name = name[i], .text = made[i]};
    }
    if (whole && stat(r->base, &sb) == 0 && S_ISDIR(sb.st_mode))
        REX_TRY(add_side(r, a, r->base, "generation_config.json", e));
    return REX_OK;
}

/* ---- open -------------------------------------------------------------------------------- */

static rex_status open_tokenizer(rex_run *r, const rex_sft_opts *o, rex_arena *a, rex_err *e) {
    struct stat sb;
    const char *path = NULL;
    if (!r->tok && o->tokenizer) REX_TRY(rex_tok_open(o->tokenizer, &r->tok, e));
    if (!r->tok && stat(r->base, &sb) == 0) {
        REX_TRY(join(a, r->base, "tokenizer.json", &path, e));
        const rex_gguf *const g = r->model->src.gguf;
        if (g ? rex_gguf_meta_find(g, "tokenizer.ggml.model") != NULL : access(path, R_OK) == 0)
            REX_TRY(rex_tok_open(r->base, &r->tok, e));
        else rex_say(REX_LOG_WARN, "%s has no tokenizer: records must hold token ids", r->base);
    }
    r->eos = -1;
    if (!r->tok) return REX_OK;
    r->eos = rex_tok_special(r->tok)->eos;
    if (o->chat && strcmp(o->chat, "auto") != 0) return rex_chat_find(o->chat, &r->chat, e);
    if (rex_chat_of(r->tok, &r->chat, NULL) != REX_OK) r->chat = NULL;
    return REX_OK;
}

/* A tokenizer of fewer ids than the weights may be the one that they were padded for: then both end
 * a text with the same id. */
static rex_status check_end(const rex_run *r, rex_err *e) {
    const rex_shape *const s = &r->model->s;
    const rex_tok_marks *const k = rex_tok_special(r->tok);
    if (rex_tok_size(r->tok) == s->V || s->n_eos == 0 || k->eos < 0) return REX_OK;
    for (int i = 0; i < s->n_eos; i++) {
        if (s->eos[i] == k->eos) return REX_OK;
        for (size_t j = 0; j < k->n_stop; j++)
            if (s->eos[i] == k->stop[j]) return REX_OK;
    }
    return rex_fail(e, REX_EFORMAT, -1,
                    "the tokenizer has %lld ids and ends with %d, the weights have %lld and end "
                    "with %d: they do not belong together",
                    (long long)rex_tok_size(r->tok), k->eos, (long long)s->V, s->eos[0]);
}

rex_status rex_run_check(const char *out, rex_err *e) {
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/steps.jsonl", out);
    if (access(path, F_OK) != 0) return REX_OK;
    return rex_fail(e, REX_EARG, -1,
                    "%s holds a run already: --resume %s goes on with it, another --out begins one",
                    out, out);
}

rex_status rex_run_open(rex_run *r, const rex_sft_opts *o, bool blank, rex_arena *a, rex_pool *pool,
                        rex_err *e) {
    *r = (rex_run){ .out = o->out, .from_step = -1, .base = o->model, .origin = o->model,
                    .data = o->data, .options = o->options, .seed = (uint64_t)o->seed,
                    .dist = o->dist };
    if (!o->resume) REX_TRY(rex_run_check(o->out, e));
    rex_model_opts m;
    rex_model_defaults(&m);
    m.train = true;
    m.blank = blank;
    m.compute = o->bf16 ? REX_COMPUTE_BF16 : REX_COMPUTE_F32;
    m.seed = (uint64_t)o->seed;
    m.adapter = o->adapter;
    m.lora_targets = o->lora_targets;
    m.lora_rank = o->lora;
    m.lora_alpha = o->lora_alpha;
    if ((o->adapter || o->lora > 0) && !o->model)
        return rex_fail(e, REX_EARG, -1, "an adapter needs a base: --model M");
    if (o->resume) {
        const char *folder = NULL;
        REX_TRY(join(a, o->out, "run.json", &folder, e));
        if (access(folder, F_OK) != 0)
            return rex_fail(e, REX_EARG, -1, "%s holds no run: --out begins one", o->out);
        rex_str found;
        REX_TRY(join(a, o->out, "checkpoints", &folder, e));
        REX_TRY(rex_ckpt_latest(a, folder, &found, &r->from_step, e));
        r->from = r->from_step >= 0 ? found.p : NULL;
        if (r->from_step >= 0 && (o->adapter || o->lora > 0)) {
            m.adapter = found.p;
            m.lora_rank = 0;
        } else if (r->from_step >= 0) {
            r->base = found.p;
        }
    }
    if (r->from_step < 0 && !o->model) {
        REX_TRY(from_scratch(r, o, a, e));
        m.init = true;
    }
    if (o->model) m.context = o->context;
    const size_t before = rex_mem_resident();
    REX_TRY(rex_model_open(r->base, &m, pool, &r->model, e));
    const size_t now = rex_mem_resident();
    r->model_bytes = now > before ? now - before : 0;
    if (r->model->src.gguf && r->model->src.arch == &rex_arch_gemma3 && !r->model->adapter)
        return rex_fail(
            e, REX_EUNSUP, -1,
            "%s: the GGUF form of gemma3 has changed its norms: its weights are trained "
            "from the Hugging Face folder, or an adapter on the file as it is with "
            "--lora RANK",
            r->base);
    REX_TRY(open_tokenizer(r, o, a, e));
    if (r->tok && rex_tok_size(r->tok) > r->model->s.V)
        return rex_fail(
            e, REX_EFORMAT, -1,
            "the tokenizer has %lld ids and the weights %lld: they do not belong together",
            (long long)rex_tok_size(r->tok), (long long)r->model->s.V);
    if (o->tokenizer && o->model) REX_TRY(check_end(r, e));
    REX_TRY(rex_run_side(r, o->tokenizer, r->model->adapter ? NULL : "float32", a, e));
    if (r->model->src.gguf && !r->model->adapter)
        rex_say(REX_LOG_WARN,
                "%s: the weights of a GGUF file, quantised or not, are trained as f32; checkpoints "
                "are full f32 models%s; --lora trains an adapter on the file as it is",
                r->base,
                r->n_side == 1 ? ", and hold no tokenizer: --tokenizer FOLDER adds one" : "");
    return REX_OK;
}

void rex_run_close(rex_run *r) {
    rex_out_close(r->steps);
    rex_out_close(r->timing);
    rex_tok_close(r->tok);
    rex_model_close(r->model);
}

void rex_run_forget(const char *folder, bool made) {
    static const char *const name[] = {"init/tokenizer.json", "init/tokenizer_config.json",
                                       "init/config.json", "init/generation_config.json", "init"};
    char path[4096];
    for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", folder, name[i]);
        (void)remove(path);
    }
    if (made) (void)remove(folder);
}

/* ---- run.json ---------------------------------------------------------------------------- */

/* Options that may differ on resume: they change no number of the run. */
static bool may_differ(rex_str key) {
    static const char *const free_ones[] = {
        "threads",    "quiet",        "json",    "resume",        "out",   "save_every", "keep",
        "eval_every", "sample_every", "samples", "sample_tokens", "micro", "recompute",  "dry_run",
        "memory",     "val",          "set",     "config",        "deadline",
        "data" /* known by its hash */};
    for (size_t i = 0; i < sizeof free_ones / sizeof *free_ones; i++)
        if (rex_str_is(key, free_ones[i])) return true;
    return false;
}

static bool same_value(const rex_jval *a, const rex_jval *b) {
    if (a->kind != b->kind) return false;
    return a->kind == REX_J_NUM || a->kind == REX_J_STR ? rex_str_eq(a->u.s, b->u.s) : true;
}

/* Options that ranks may have of their own: they decide neither what is computed nor when. */
static bool of_one_rank(rex_str key) {
    static const char *const own[] = { "threads", "quiet", "json",  "out",      "resume",
                                       "micro",   "data",  "model", "recompute", "set",
                                       "config",  "val",   "tokenizer", "deadline" };
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (rex_str_is(key, own[i])) return true;
    return false;
}

static rex_status same_options(rex_dist *d, const rex_sft_opts *o, rex_arena *a, rex_err *e) {
    REX_TRY(rex_dist_same(d, "the versions of repexp", rex_hash64(rex_version(),
                                                                 strlen(rex_version())), e));
    rex_jval *x = NULL;
    if (o->options) REX_TRY(rex_json_parse(a, rex_str_of(o->options), "options", &x, e));
    REX_TRY(rex_dist_same(d, "the lists of options", x ? x->n : 0, e));
    for (uint32_t i = 0; x && i < x->n; i++) {
        const rex_str key = x->u.c.key[i];
        const rex_jval *const v = &x->u.c.item[i];
        if (of_one_rank(key)) continue;
        uint64_t hash = (uint64_t)v->kind;
        if (v->kind == REX_J_NUM || v->kind == REX_J_STR) hash = rex_hash64(v->u.s.p, v->u.s.n);
        char what[160];
        (void)snprintf(what, sizeof what, "the values of `%.*s`", (int)key.n, key.p);
        REX_TRY(rex_dist_same(d, what, hash, e));
    }
    /* a caller without a list, and what follows from files of recipes */
    const uint64_t seed[6] = { (uint64_t)o->steps, (uint64_t)o->seqs, (uint64_t)o->seed,
                               (uint64_t)o->exact, (uint64_t)o->resume, (uint64_t)o->dry_run };
    return rex_dist_same(d, "the options", rex_hash64(seed, sizeof seed), e);
}

rex_status rex_run_same(rex_dist *d, const rex_sft_opts *o, rex_err *e) {
    rex_arena *a = NULL;
    if (!d) return REX_OK;
    REX_TRY(rex_arena_open(0, &a, e));
    const rex_status s = same_options(d, o, a, e);
    rex_arena_close(a);
    return s;
}

/* The hash of this name in run.json is another one. */
static bool other_hash(const rex_jval *run, const char *name, uint64_t now) {
    char text[32];
    const rex_jval *const all = rex_json_get(run, "hashes");
    const rex_jval *const was = all ? rex_json_get(all, name) : NULL;
    (void)snprintf(text, sizeof text, "%016llx", (unsigned long long)now);
    return was && !(was->kind == REX_J_STR && rex_str_is(was->u.s, text));
}

/* A run that was trained as a whole goes on from its checkpoint, where its model is gone. */
static rex_status compare_files(const rex_run *r, const rex_docs *d, const rex_jval *run,
                                rex_err *e) {
    uint64_t sum = 0;
    if (other_hash(run, "data", d->hash))
        return rex_fail(e, REX_EFORMAT, -1,
                        "resume %s: the data are not those of the run: %s is different now", r->out,
                        r->data);
    if (!r->origin || access(r->origin, F_OK) != 0) return REX_OK;
    REX_TRY(rex_weights_sum(r->origin, &sum, e));
    if (!other_hash(run, "model", sum)) return REX_OK;
    return rex_fail(e, REX_EFORMAT, -1,
                    "resume %s: the weights of %s are not those that the run began with", r->out,
                    r->origin);
}

static rex_status compare(const rex_run *r, const rex_docs *d, rex_arena *a, const char *path,
                          rex_err *e) {
    rex_jval *was = NULL, *now = NULL;
    REX_TRY(rex_json_load(a, path, &was, e));
    if (!r->options) return compare_files(r, d, was, e);
    REX_TRY(rex_json_parse(a, rex_str_of(r->options), "options", &now, e));
    const rex_jval *const old = rex_json_get(was, "options");
    for (uint32_t i = 0; old && i < now->n; i++) {
        const rex_str key = now->u.c.key[i];
        char name[128];
        if (may_differ(key) || key.n >= sizeof name) continue;
        memcpy(name, key.p, key.n);
        name[key.n] = 0;
        const rex_jval *const o = rex_json_get(old, name);
        if (o && !same_value(o, &now->u.c.item[i]))
            return rex_fail(
                e, REX_EARG, -1,
                "resume %s: `%s` differs from the run's (only threads, micro, recompute, "
                "keep and what is shown or saved when may)",
                r->out, name);
    }
    return compare_files(r, d, was, e);
}

rex_status rex_run_compare(const rex_run *r, const rex_docs *d, rex_err *e) {
    rex_arena *a = NULL;
    const char *path = NULL;
    REX_TRY(rex_arena_open(0, &a, e));
    rex_status s = join(a, r->out, "run.json", &path, e);
    if (s == REX_OK) s = compare(r, d, a, path, e);
    rex_arena_close(a);
    return s;
}

static rex_status put_run(const rex_run *r, const rex_docs *d, rex_buf *b, rex_err *e) {
    uint64_t model = 0;
    if (r->origin) REX_TRY(rex_weights_sum(r->origin, &model, e));
    char hash[32];
    rex_jw w;
    rex_jw_init(&w, b);
    rex_jw_obj(&w);
    rex_jw_key(&w, "v");
    rex_jw_i64(&w, 1);
    rex_jw_key(&w, "command");
    rex_jw_cstr(&w, "sft");
    rex_jw_key(&w, "version");
    rex_jw_cstr(&w, rex_version());
    rex_jw_key(&w, "kernel");
    rex_jw_cstr(&w, r->model->kern.name);
    rex_jw_key(&w, "seed");
    rex_jw_i64(&w, (int64_t)r->seed);
    rex_jw_key(&w, "params");
    rex_jw_i64(&w, rex_model_about(r->model)->params);
    rex_jw_key(&w, "hashes");
    rex_jw_obj(&w);
    rex_jw_key(&w, "data");
    (void)snprintf(hash, sizeof hash, "%016llx", (unsigned long long)d->hash);
    rex_jw_cstr(&w, hash);
    rex_jw_key(&w, "config");
    (void)snprintf(hash, sizeof hash, "%016llx",
                   (unsigned long long)rex_hash64(r->side[0].text.p, r->side[0].text.n));
    rex_jw_cstr(&w, hash);
    if (r->origin) {
        rex_jw_key(&w, "model");
        (void)snprintf(hash, sizeof hash, "%016llx", (unsigned long long)model);
        rex_jw_cstr(&w, hash);
    }
    rex_jw_obj_end(&w);
    if (r->options) {
        rex_jw_key(&w, "options");
        rex_jw_raw(&w, rex_str_of(r->options));
    }
    rex_jw_obj_end(&w);
    rex_buf_addf(b, "\n");
    return REX_OK;
}

rex_status rex_run_begin(rex_run *r, const rex_docs *d, rex_err *e) {
    if (rex_dist_rank(r->dist) > 0) return REX_OK;
    REX_TRY(rex_folder_make(r->out, REX_FOLDER_ANY, e));
    rex_arena *a = NULL;
    const char *path = NULL;
    REX_TRY(rex_arena_open(0, &a, e));
    rex_status s = join(a, r->out, "run.json", &path, e);
    if (s == REX_OK && access(path, F_OK) == 0) {
        s = compare(r, d, a, path, e);
    } else if (s == REX_OK) {
        rex_buf b;
        rex_buf_init(&b, 0);
        s = put_run(r, d, &b, e);
        if (s == REX_OK) s = rex_run_write(r, "run.json", &b, e);
        rex_buf_free(&b);
    }
    if (s == REX_OK) r->fresh = false;
    if (s == REX_OK) s = join(a, r->out, "steps.jsonl", &path, e);
    if (s == REX_OK) s = rex_out_append(path, &r->steps, e);
    if (s == REX_OK) s = join(a, r->out, "timing.jsonl", &path, e);
    if (s == REX_OK) s = rex_out_append(path, &r->timing, e);
    rex_arena_close(a);
    return s;
}

/* ---- line files -------------------------------------------------------------------------- */

/* `all`: so many lines must be there. */
static rex_status cut_file(const char *path, int64_t lines, bool all, rex_err *e) {
    rex_map *m = NULL;
    REX_TRY(rex_map_open(path, &m, e));
    const rex_view v = rex_map_view(m);
    size_t at = 0;
    int64_t n = 0;
    while (n < lines && at < v.n) {
        const uint8_t *const end = memchr(v.p + at, '\n', v.n - at);
        if (!end) break;
        at = (size_t)(end - v.p) + 1;
        n++;
    }
    rex_map_close(m);
    if (n < lines && all)
        return rex_fail(e, REX_EFORMAT, n,
                        "%s has %lld lines, the checkpoint was written behind line %lld", path,
                        (long long)n, (long long)lines);
    if (truncate(path, (off_t)at) != 0)
        return rex_fail(e, REX_EIO, -1, "%s: %s", path, strerror(errno));
    return REX_OK;
}

rex_status rex_run_cut(rex_run *r, int64_t lines, rex_err *e) {
    static const char *const name[2] = { "steps.jsonl", "timing.jsonl" };
    rex_out **const out[2] = { &r->steps, &r->timing };
    char path[4096];
    if (rex_dist_rank(r->dist) > 0) return REX_OK;
    for (int i = 0; i < 2; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", r->out, name[i]);
        rex_out_close(*out[i]);
        *out[i] = NULL;
        REX_TRY(cut_file(path, lines, i == 0, e)); /* nothing follows from lost times */
        REX_TRY(rex_out_append(path, out[i], e));
    }
    return REX_OK;
}

rex_status rex_run_line(rex_run *r, const char *file, const rex_buf *line, rex_err *e) {
    rex_out *const o = strcmp(file, "steps.jsonl") == 0 ? r->steps : r->timing;
    if (rex_dist_rank(r->dist) > 0) return REX_OK;
    REX_TRY(rex_buf_check(line, e));
    rex_out_add(o, line->p, line->n);
    return rex_out_flush(o, e);
}

rex_status rex_run_sync(rex_run *r, rex_err *e) {
    return rex_out_sync(r->steps, e);
}

rex_status rex_run_write(const rex_run *r, const char *name, const rex_buf *text, rex_err *e) {
    char path[4096];
    REX_TRY(rex_buf_check(text, e));
    const char *const slash = strchr(name, '/');
    if (slash) {
        (void)snprintf(path, sizeof path, "%s/%.*s", r->out, (int)(slash - name), name);
        REX_TRY(rex_folder_make(path, REX_FOLDER_ANY, e));
    }
    (void)snprintf(path, sizeof path, "%s/%s", r->out, name);
    return write_file(path, (rex_str){ text->p, text->n }, e);
}
