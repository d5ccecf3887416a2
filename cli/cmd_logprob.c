/* SPDX-License-Identifier: MIT
 *
 * logprob: token log-probabilities of given responses, through the forward pass that samples: for a
 * pool of `generate` with the same model the numbers are those of the pool, bit for bit.
 */
#include "cli.h"

#define OPTS(X)                                                                              \
    REX_CLI_COMMON(X)                                                                        \
    REX_CLI_MODEL(X)                                                                         \
    X(STR, pairs, "", 0, 0, "POOL.jsonl", "sample records; token ids count where there are any")

REX_OPT_STRUCT(logprob_opts, OPTS);
#define REX_OPT_TYPE logprob_opts
static const rex_opt table[] = {OPTS(REX_OPT_ROW)};
enum { N_OPT = sizeof table / sizeof table[0] };

typedef struct {
    const logprob_opts *o;
    rex_cli_engine g;
    rex_arena *a;
    rex_sample *sample;
    rex_gen_pair *pair;
    size_t n;
    rex_buf line;
    rex_progress progress;
} job;

static rex_status put(void *ud, const rex_gen_sample *s, rex_err *e) {
    job *j = ud;
    const rex_sample *from = &j->sample[s->prompt];
    rex_jw w;
    rex_buf_reset(&j->line);
    rex_jw_init(&w, &j->line);
    rex_jw_obj(&w);
    rex_jw_key(&w, "prompt_id");
    rex_jw_str(&w, from->prompt_id);
    if (from->has & REX_F(SAMPLE)) {
        rex_jw_key(&w, "sample");
        rex_jw_i64(&w, from->sample);
    }
    rex_jw_key(&w, "logp");
    rex_jw_arr(&w);
    for (size_t t = 0; t < s->n; t++) rex_jw_f32(&w, s->logp[t]);
    rex_jw_arr_end(&w);
    rex_jw_obj_end(&w);
    rex_buf_add(&j->line, "\n", 1);
    rex_progress_add(&j->progress, 1, (int64_t)s->n);
    return rex_cli_print(&j->line, e);
}

static rex_status work(job *j, rex_err *e) {
    const logprob_opts *o = j->o;
    const rex_cli_setup set = {.model = o->model, .tokenizer = o->tokenizer, .chat = o->chat,
                               .compute = o->compute, .kv = o->kv, .context = o->context,
                               .threads = o->threads, .special = o->special,
                               .adapter = o->adapter};
    if (!o->pairs || !*o->pairs) return rex_fail(e, REX_EARG, -1, "--pairs POOL.jsonl is needed");
    REX_TRY(rex_arena_open(0, &j->a, e));
    REX_TRY(rex_cli_engine_open(&set, &j->g, e));
    REX_TRY(rex_cli_pairs(&j->g, o->pairs, o->map, j->a, &j->sample, &j->pair, &j->n, e));
    rex_gen_opts opts;
    rex_gen_defaults(&opts);
    opts.batch = o->batch;
    opts.chunk = o->chunk;
    opts.kv_bf16 = o->kv == 1;
    rex_cli_fit(&opts, j->pair, j->n);
    rex_engine *g = NULL;
    REX_TRY(rex_gen_open(j->g.model, NULL, j->g.pool, &opts, &g, e));
    rex_progress_begin(&j->progress, "pairs", (int64_t)j->n, "tok");
    const rex_status st = rex_gen_score(g, j->pair, j->n, put, j, e);
    rex_progress_end(&j->progress);
    rex_gen_close(g);
    return st;
}

static rex_status run(const void *opts, int n_pos, char **pos, rex_err *e) {
    job j = {.o = opts};
    if (n_pos > 0) return rex_fail(e, REX_EARG, -1, "logprob: '%s' is no option", pos[0]);
    rex_buf_init(&j.line, 0);
    const rex_status st = work(&j, e);
    rex_buf_free(&j.line);
    rex_cli_engine_close(&j.g);
    rex_arena_close(j.a);
    return st;
}

const rex_cmd rex_cmd_logprob = {
    .name = "logprob",
    .summary = "token log-probabilities of given responses",
    .usage = "--model M --pairs POOL.jsonl",
    .text = "Prints {\"prompt_id\", \"sample\", \"logp\"} for every record, at temperature 1, "
            "unfiltered. "
            "prompt_ids and ids of a record are taken as they are; a record without them is "
            "encoded from "
            "prompt (or question, messages) and text (or response).",
    .opt = table,
    .n_opt = N_OPT,
    .opt_bytes = sizeof(logprob_opts),
    .run = run,
};
