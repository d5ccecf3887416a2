/* SPDX-License-Identifier: MIT
 *
 * generate: prompts in, samples out, one record a line in (prompt, sample) order. A line is written
 * when it and all before it are complete, its feature row before it, so whatever a kill leaves is
 * the beginning of what an unbroken run writes; --resume goes on from there, if model, prompts and
 * settings are those that the file beside the pool names.
 */
#include "cli.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OPTS(X)                                                                                 \
    REX_CLI_COMMON(X)                                                                           \
    REX_CLI_MODEL(X)                                                                            \
    X(STR, prompts, "", 0, 0, "P.jsonl", "prompt records; - is standard input")                 \
    X(I64, samples, "1", 1, 16777216, "N", "n=samples of each prompt")                          \
    X(F64, temperature, "1", 0, 10000, "T", "0 is greedy")                                      \
    X(F64, top_p, "1", 0, 1, "P", "nucleus mass kept; the token that crosses is kept")          \
    X(I64, top_k, "0", 0, 16777216, "K", "most probable tokens kept; 0: all")                   \
    X(F64, min_p, "0", 0, 1, "P", "least probability kept, of the largest")                     \
    X(I64, max_tokens, "256", 1, 16777216, "T", "longest response")                             \
    X(STR, stop, "", 0, 0, "TEXT", "a text that ends a response, or a JSON list of them")       \
    X(LIST, stop_ids, "", 0, 0, "ID,...", "token ids that end a response, besides the model's") \
    X(BOOL, ignore_eos, "false", 0, 0, "", "the model's own end tokens do not stop")            \
    X(STR, features, "", 0, 0, "F.npy", "pooled states of the responses, a row for each")       \
    X(ENUM, features_dtype, "f32", 0, 0, "f32|f16", "element type of the feature file")         \
    X(ENUM, pool, "mean", 0, 0, "mean|last|mean-all",                                           \
      "over response tokens, the last, all tokens")                                             \
    X(I64, layer, "-1", -1, 511, "L",                                                           \
      "0 the embeddings, i behind block i, -1 after the final norm")                            \
    X(STR, out, "-", 0, 0, "POOL.jsonl", "o=where the records go; - is standard output")        \
    X(BOOL, resume, "false", 0, 0, "", "go on behind the lines that --out already has")         \
    X(BOOL, truncate, "false", 0, 0, "", "cut the beginning of prompts that are too long")      \
    X(BOOL, show_prompt, "false", 0, 0, "", "print every rendered prompt on stderr")

REX_OPT_STRUCT(generate_opts, OPTS);
#define REX_OPT_TYPE generate_opts
static const rex_opt table[] = {OPTS(REX_OPT_ROW)};
enum { N_OPT = sizeof table / sizeof table[0] };

static const char *const pool_name[] = {"mean", "last", "mean-all"};

typedef struct {
    const generate_opts *o;
    rex_cli_engine g;
    rex_arena *a, *line; /* prompts; one record */
    rex_prompt *prompt;
    rex_ids *ids;
    size_t n;
    rex_gen_prompt *ask;
    size_t *index;       /* prompt of each ask */
    size_t n_ask;
    rex_gen_opts opts;
    rex_out *out;
    rex_rows_out *rows;
    rex_progress progress;
    int64_t done;        /* samples already in the file, then all written */
} job;

/* ---- prompts ----------------------------------------------------------------------------- */

static rex_status read_prompts(job *j, rex_err *e) {
    const generate_opts *o = j->o;
    if (!o->prompts || !*o->prompts)
        return rex_fail(e, REX_EARG, -1, "--prompts P.jsonl is needed");
    REX_TRY(rex_prompts_read(j->a, o->prompts, o->map, &j->prompt, &j->n, e));
    j->ids = rex_arena_take(j->a, j->n + 1, sizeof *j->ids, e);
    if (!j->ids) return REX_ENOMEM;
    const int64_t most = rex_model_about(j->g.model)->context - 1;
    int64_t longest = 1;
    for (size_t i = 0; i < j->n; i++) {
        const rex_prompt *p = &j->prompt[i];
        rex_ids *x = &j->ids[i];
        rex_str shown;
        REX_TRY(rex_cli_encode(&j->g, p, j->a, x, &shown, e));
        if (o->show_prompt)
            rex_cli_note("---- %.*s (%zu tokens)\n%.*s", (int)p->id.n, p->id.p, x->n, (int)shown.n,
                         shown.p ? shown.p : "");
        if ((int64_t)x->n > most && !o->truncate)
            return rex_fail(e, REX_ELIMIT, p->no,
                            "line %lld: prompt %.*s has %zu tokens, a context of %lld "
                            "leaves room for %lld; --truncate cuts its beginning",
                            (long long)p->no, (int)p->id.n, p->id.p, x->n, (long long)(most + 1),
                            (long long)most);
        if (o->truncate && (int64_t)x->n > most + 1 - o->max_tokens) {
            const int64_t keep = most + 1 - o->max_tokens > 1 ? most + 1 - o->max_tokens : 1;
            if ((int64_t)x->n > keep) {
                x->v += (int64_t)x->n - keep;
                x->n = (size_t)keep;
            }
        }
        if ((int64_t)x->n > longest) longest = (int64_t)x->n;
    }
    j->opts.max_prompt = longest;
    return REX_OK;
}

/* ---- what is there already --------------------------------------------------------------- */

/* The lines of --out must be the first samples of these prompts, in order. */
static rex_status count_done(job *j, rex_err *e) {
    rex_lines *l = NULL;
    REX_TRY(rex_lines_open(j->o->out, &l, e));
    const int64_t n = j->o->samples;
    rex_status st = REX_OK;
    for (bool more = true; st == REX_OK;) {
        rex_str text;
        int64_t no = 0;
        const rex_mark mark = rex_arena_mark(j->line);
        st = rex_lines_next(l, &text, &no, &more, e);
        if (st != REX_OK || !more) break;
        rex_sample s;
        st = rex_sample_parse(j->line, text, no, NULL, &s, e);
        const size_t p = (size_t)(j->done / n);
        if (st == REX_OK &&
            (p >= j->n || !rex_str_eq(s.prompt_id, j->prompt[p].id) || s.sample != j->done % n))
            st = rex_fail(e, REX_EFORMAT, no,
                          "line %lld is not sample %lld of prompt %.*s: this pool was not "
                          "made from these prompts with -n %lld",
                          (long long)no, (long long)(j->done % n),
                          p < j->n ? (int)j->prompt[p].id.n : 4,
                          p < j->n ? j->prompt[p].id.p : "none", (long long)n);
        if (st == REX_OK) j->done++;
        rex_arena_back(j->line, mark);
    }
    rex_lines_close(l);
    return st == REX_OK ? st : rex_fail_in(e, st, "%s", j->o->out);
}

static rex_status open_out(job *j, rex_err *e) {
    const generate_opts *o = j->o;
    const bool file = strcmp(o->out, "-") != 0;
    if (o->resume && !file) return rex_fail(e, REX_EARG, -1, "--resume needs --out FILE");
    struct stat sb; /* a device or a pipe is written to, a file of an earlier run begins anew */
    const bool there = file && stat(o->out, &sb) == 0;
    if (file && (!there || S_ISREG(sb.st_mode))) {
        const rex_cli_made made = {.list = table, .n_list = N_OPT, .opts = o, .model = o->model,
                                   .adapter = o->adapter, .tokenizer = o->tokenizer,
                                   .prompt = j->prompt, .ids = j->ids, .n = j->n};
        const bool begun = there && o->resume && sb.st_size > 0;
        /* what is begun is looked at before it is touched, what is new is claimed before a word */
        if (begun) REX_TRY(rex_cli_made_with(&made, o->out, true, j->line, e));
        REX_TRY((o->resume ? rex_out_append : rex_out_anew)(o->out, &j->out, e));
        if (!begun) REX_TRY(rex_cli_made_with(&made, o->out, false, j->line, e));
    } else {
        REX_TRY(rex_out_append(o->out, &j->out, e));
    }
    if (o->resume) REX_TRY(count_done(j, e));
    if (!o->features || !*o->features) return REX_OK;
    rex_rows_out_opts r;
    rex_rows_out_defaults(&r);
    r.dim = rex_model_about(j->g.model)->width;
    r.half = o->features_dtype == 1;
    r.resumable = true;
    r.resume = o->resume && j->done > 0 ? j->done : -1;
    REX_TRY(rex_cli_pooled(j->a, o->model, pool_name[o->pool], o->layer,
                           rex_model_about(j->g.model), &r.meta, e));
    return rex_rows_out_open(o->features, &r, &j->rows, e);
}

static rex_status make_asks(job *j, rex_err *e) {
    j->ask = rex_arena_take(j->a, j->n + 1, sizeof *j->ask, e);
    j->index = rex_arena_take(j->a, j->n + 1, sizeof *j->index, e);
    if (!j->ask || !j->index) return REX_ENOMEM;
    const int64_t n = j->o->samples;
    for (size_t i = 0; i < j->n; i++) {
        const int64_t gone = j->done - (int64_t)i * n;
        if (gone >= n) continue;
        const uint32_t first = gone > 0 ? (uint32_t)gone : 0;
        j->index[j->n_ask] = i;
        j->ask[j->n_ask++] = (rex_gen_prompt){rex_name_hash(j->prompt[i].id), j->ids[i].v,
                                              j->ids[i].n, first, (uint32_t)n - first};
    }
    return REX_OK;
}

/* ---- records ----------------------------------------------------------------------------- */

static rex_status put(void *ud, const rex_gen_sample *s, rex_err *e) {
    job *j = ud;
    const size_t i = j->index[s->prompt];
    const rex_prompt *p = &j->prompt[i];
    rex_sample r = {.prompt_id = p->id,
                    .sample = s->sample,
                    .prompt_ids = j->ids[i].v,
                    .n_prompt_ids = j->ids[i].n,
                    .ids = s->ids,
                    .n_ids = s->n,
                    .logp = s->logp,
                    .n_logp = s->n,
                    .logq = s->logq,
                    .n_logq = s->n,
                    .ent = s->ent,
                    .n_ent = s->n,
                    .n_tok = (int64_t)s->n,
                    .text = s->text,
                    .finish = rex_str_of(s->stopped ? "stop" : "length"),
                    .answer = p->answer,
                    .problem = p->problem};
    r.has = REX_F(SAMPLE) | REX_F(PROMPT_IDS) | REX_F(IDS) | REX_F(LOGP) | REX_F(ENT) |
            REX_F(LOGPROB) | REX_F(N_TOK) | REX_F(FINISH);
    if (s->has_text) r.has |= REX_F(TEXT);
    if (s->logq) r.has |= REX_F(LOGQ);
    if (p->answer.p) r.has |= REX_F(ANSWER);
    if (p->problem.p) r.has |= REX_F(PROBLEM);
    for (size_t t = 0; t < s->n; t++) r.logprob += (double)s->logp[t];
    const rex_mark mark = rex_arena_mark(j->line);
    rex_status st = REX_OK;
    if (j->rows) {
        rex_rows_out_add(j->rows, s->feature, 1);
        st = rex_rows_out_flush(j->rows, e);
        r.has |= REX_F(FEAT);
        if (st == REX_OK)
            st = rex_str_fmt(j->line, &r.feat, e, "%s#%lld", j->o->features, (long long)j->done);
    }
    rex_str line;
    if (st == REX_OK) st = rex_sample_line(j->line, &r, &line, e);
    if (st == REX_OK) {
        rex_out_add(j->out, line.p, line.n);
        st = rex_out_flush(j->out, e);
    }
    rex_arena_back(j->line, mark);
    j->done++;
    rex_progress_add(&j->progress, 1, (int64_t)s->n);
    return st;
}

/* ---- the command ------------------------------------------------------------------------- */

/* --stop TEXT or a JSON list of texts. */
static rex_status stops(job *j, rex_err *e) {
    const generate_opts *o = j->o;
    if (o->stop && *o->stop == '[') {
        rex_jval *v = NULL;
        REX_TRY(rex_json_parse(j->a, rex_str_of(o->stop), "--stop", &v, e));
        const char **list = rex_arena_take(j->a, v->n + 1, sizeof *list, e);
        if (!list) return REX_ENOMEM;
        for (uint32_t i = 0; i < v->n; i++) {
            rex_str s;
            if (v->u.c.item[i].kind != REX_J_STR)
                return rex_fail(e, REX_EARG, -1, "--stop: element %u is no text", i);
            REX_TRY(rex_str_copy(j->a, v->u.c.item[i].u.s, &s, e));
            list[i] = s.p;
        }
        j->opts.stop = list;
        j->opts.n_stop = v->n;
    } else if (o->stop && *o->stop) {
        const char **list = rex_arena_take(j->a, 1, sizeof *list, e);
        if (!list) return REX_ENOMEM;
        list[0] = o->stop;
        j->opts.stop = list;
        j->opts.n_stop = 1;
    }
    if (!o->stop_ids || !*o->stop_ids) return REX_OK;
    int32_t *ids = rex_arena_take(j->a, strlen(o->stop_ids) + 1, sizeof *ids, e);
    if (!ids) return REX_ENOMEM;
    j->opts.stop_ids = ids;
    for (const char *p = o->stop_ids; *p;) {
        const size_t n = strcspn(p, ",");
        double x = -1.0;
        if (!rex_num_parse((rex_str){p, n}, &x) || !(x >= 0.0 && x < 2147483648.0) ||
            x != (double)(int32_t)x)
            return rex_fail(e, REX_EARG, -1, "--stop-ids: '%.*s' is no token id", (int)n, p);
        ids[j->opts.n_stop_ids++] = (int32_t)x;
        p += n + (p[n] == ',');
    }
    return REX_OK;
}

static void fill(job *j) {
    const generate_opts *o = j->o;
    rex_gen_opts *g = &j->opts;
    rex_gen_defaults(g);
    g->temperature = o->temperature;
    g->top_p = o->top_p;
    g->top_k = o->top_k;
    g->min_p = o->min_p;
    g->max_tokens = o->max_tokens;
    g->batch = o->batch;
    g->chunk = o->chunk;
    g->seed = (uint64_t)o->seed;
    g->kv_bf16 = o->kv == 1;
    g->ignore_eos = o->ignore_eos;
    if (o->features && *o->features) g->pooling = (rex_pooling)(REX_POOLING_MEAN + o->pool);
    g->layer = (int)o->layer;
}

static rex_status work(job *j, rex_err *e) {
    const generate_opts *o = j->o;
    const rex_cli_setup set = {.model = o->model, .tokenizer = o->tokenizer, .chat = o->chat,
                               .compute = o->compute, .kv = o->kv, .context = o->context,
                               .threads = o->threads, .special = o->special,
                               .adapter = o->adapter};
    REX_TRY(rex_arena_open(0, &j->a, e));
    REX_TRY(rex_arena_open(0, &j->line, e));
    REX_TRY(rex_cli_engine_open(&set, &j->g, e));
    fill(j);
    REX_TRY(stops(j, e));
    REX_TRY(read_prompts(j, e));
    const int64_t all = (int64_t)j->n * o->samples;
    if (j->opts.batch > all && all > 0) j->opts.batch = all;
    j->opts.group = o->samples < j->opts.batch ? o->samples : j->opts.batch;
    rex_engine *g = NULL;
    REX_TRY(rex_gen_open(j->g.model, j->g.tok, j->g.pool, &j->opts, &g, e));
    rex_status st = open_out(j, e);
    if (st == REX_OK) st = make_asks(j, e);
    if (st == REX_OK) {
        rex_progress_begin(&j->progress, "samples", all - j->done, "tok");
        st = rex_gen_run(g, j->ask, j->n_ask, put, j, e);
        rex_progress_end(&j->progress);
    }
    rex_gen_close(g);
    REX_TRY(st);
    rex_out *out = j->out;
    j->out = NULL;
    REX_TRY(rex_out_commit(out, e));
    rex_rows_out *rows = j->rows;
    j->rows = NULL;
    return rows ? rex_rows_out_commit(rows, e) : REX_OK;
}

static rex_status run(const void *opts, int n_pos, char **pos, rex_err *e) {
    job j = {.o = opts};
    if (n_pos > 0) return rex_fail(e, REX_EARG, -1, "generate: '%s' is no option", pos[0]);
    const rex_status st = work(&j, e);
    rex_out_close(j.out);
    rex_rows_out_close(j.rows);
    rex_cli_engine_close(&j.g);
    rex_arena_close(j.line);
    rex_arena_close(j.a);
    return st;
}

const rex_cmd rex_cmd_generate = {
    .name = "generate",
    .summary = "prompts in, samples out, with features",
    .usage =
        "--model M --prompts P.jsonl -n N [--temperature T] [--top-p P] [--top-k K] [--min-p P] "
        "[--max-tokens T] [--features F.npy] [--out POOL.jsonl] [--resume]",
    .text = "Writes one sample record a line, in (prompt, sample) order. Filters act in the order "
            "temperature, "
            "top-k, top-p, min-p. Sample i of a prompt is the same text whatever else is in the "
            "file, however "
            "many workers there are and however often the run was interrupted. A prompt that is a "
            "list of "
            "messages is rendered with the model's own chat layout, a plain string goes in as it "
            "stands "
            "(--chat NAME puts that layout round both); prompt_ids are taken as they are.",
    .opt = table,
    .n_opt = N_OPT,
    .opt_bytes = sizeof(generate_opts),
    .run = run,
};
