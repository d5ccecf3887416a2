/* SPDX-License-Identifier: MIT
 *
 * embed: pooled hidden states of given (prompt, response) pairs, a row for each, through the
 * forward pass that samples: the rows of `generate --features`, bit for bit.
 */
#include "cli.h"

#define OPTS(X)                                                                                  \
    REX_CLI_COMMON(X)                                                                            \
    REX_CLI_MODEL(X)                                                                             \
    X(STR, pairs, "", 0, 0, "POOL.jsonl", "sample records; token ids count where there are any") \
    X(STR, out, "", 0, 0, "F.npy", "o=feature file, .npy or .safetensors")                       \
    X(ENUM, features_dtype, "f32", 0, 0, "f32|f16", "element type of the feature file")          \
    X(ENUM, pool, "mean", 0, 0, "mean|last|mean-all",                                            \
      "over response tokens, the last, all tokens")                                              \
    X(I64, layer, "-1", -1, 511, "L", "0 the embeddings, i behind block i, -1 after the final norm")

REX_OPT_STRUCT(embed_opts, OPTS);
#define REX_OPT_TYPE embed_opts
static const rex_opt table[] = {OPTS(REX_OPT_ROW)};
enum { N_OPT = sizeof table / sizeof table[0] };

static const char *const pool_name[] = {"mean", "last", "mean-all"};

typedef struct {
    const embed_opts *o;
    rex_cli_engine g;
    rex_arena *a;
    rex_sample *sample;
    rex_gen_pair *pair;
    size_t n;
    rex_rows_out *rows;
    rex_progress progress;
} job;

static rex_status put(void *ud, const rex_gen_sample *s, rex_err *e) {
    (void)e;
    job *j = ud;
    rex_rows_out_add(j->rows, s->feature, 1);
    rex_progress_add(&j->progress, 1, (int64_t)s->n);
    return REX_OK;
}

static rex_status work(job *j, rex_err *e) {
    const embed_opts *o = j->o;
    const rex_cli_setup set = {.model = o->model, .tokenizer = o->tokenizer, .chat = o->chat,
                               .compute = o->compute, .kv = o->kv, .context = o->context,
                               .threads = o->threads, .special = o->special,
                               .adapter = o->adapter};
    if (!o->pairs || !*o->pairs) return rex_fail(e, REX_EARG, -1, "--pairs POOL.jsonl is needed");
    if (!o->out || !*o->out) return rex_fail(e, REX_EARG, -1, "--out F.npy is needed");
    REX_TRY(rex_arena_open(0, &j->a, e));
    REX_TRY(rex_cli_engine_open(&set, &j->g, e));
    REX_TRY(rex_cli_pairs(&j->g, o->pairs, o->map, j->a, &j->sample, &j->pair, &j->n, e));
    rex_gen_opts opts;
    rex_gen_defaults(&opts);
    opts.batch = o->batch;
    opts.chunk = o->chunk;
    opts.kv_bf16 = o->kv == 1;
    opts.detail = false;
    opts.pooling = (rex_pooling)(REX_POOLING_MEAN + o->pool);
    opts.layer = (int)o->layer;
    rex_cli_fit(&opts, j->pair, j->n);
    const rex_model_info *m = rex_model_about(j->g.model);
    rex_engine *g = NULL;
    REX_TRY(rex_gen_open(j->g.model, NULL, j->g.pool, &opts, &g, e));
    rex_rows_out_opts r;
    rex_rows_out_defaults(&r);
    r.dim = m->width;
    r.half = o->features_dtype == 1;
    rex_status st = rex_cli_pooled(j->a, o->model, pool_name[o->pool], o->layer, m, &r.meta, e);
    if (st == REX_OK) st = rex_rows_out_open(o->out, &r, &j->rows, e);
    if (st == REX_OK) {
        rex_progress_begin(&j->progress, "pairs", (int64_t)j->n, "tok");
        st = rex_gen_score(g, j->pair, j->n, put, j, e);
        rex_progress_end(&j->progress);
    }
    rex_gen_close(g);
    REX_TRY(st);
    rex_rows_out *rows = j->rows;
    j->rows = NULL;
    return rex_rows_out_commit(rows, e);
}

static rex_status run(const void *opts, int n_pos, char **pos, rex_err *e) {
    job j = {.o = opts};
    if (n_pos > 0) return rex_fail(e, REX_EARG, -1, "embed: '%s' is no option", pos[0]);
    const rex_status st = work(&j, e);
    rex_rows_out_close(j.rows);
    rex_cli_engine_close(&j.g);
    rex_arena_close(j.a);
    return st;
}

const rex_cmd rex_cmd_embed = {
    .name = "embed",
    .summary = "pooled hidden states of given responses",
    .usage = "--model M --pairs POOL.jsonl --out F.npy [--pool mean|last|mean-all] [--layer -1]",
    .text = "Writes a feature row for every record, in the order of the file, and beside it "
            "OUT.json, which "
            "says what was pooled (in a .safetensors it stands in the metadata).",
    .opt = table,
    .n_opt = N_OPT,
    .opt_bytes = sizeof(embed_opts),
    .run = run,
};
