/* SPDX-License-Identifier: MIT
 *
 * cmd_sft.c: supervised training, from a model or from scratch. A recipe is a flat YAML file with
 * the same names as the options; --set key=value and options on the command line win over it.
 */
#include "cli.h"

#include <string.h>

#define SFT_OPTS(X)                                                                          \
    REX_CLI_COMMON(X)                                                                        \
    X(STR, config, "", 0, 0, "FILE", "a recipe: `option: value` lines (YAML)")               \
    X(LIST, set, "", 0, 0, "K=V,...", "options over the recipe's")                           \
    X(STR, model, "", 0, 0, "M", "model folder or GGUF file to start from")                  \
    X(ENUM, init, "none", 0, 0, "none|tiny", "start from scratch, with the sizes below")     \
    X(STR, tokenizer, "", 0, 0, "FILE",                                                      \
      "tokenizer; without one a model from scratch gets one built from the data")            \
    X(ENUM, build, "bytes", 0, 0, "bytes|chars", "what a tokenizer is built of")             \
    X(I64, vocab, "512", 3, 1e6, "N", "ids of a tokenizer built of bytes")                   \
    X(I64, layers, "3", 1, 512, "N", "from scratch: blocks")                                 \
    X(I64, width, "96", 8, 65536, "N", "from scratch: width of the stream")                  \
    X(I64, heads, "4", 1, 1024, "N", "from scratch: query heads")                            \
    X(I64, kv_heads, "0", 0, 1024, "N",                                                      \
      "from scratch: key/value heads; 0: as many as query heads")                            \
    X(I64, ffn, "256", 8, 1e6, "N", "from scratch: inner width of the MLP")                  \
    X(BOOL, tied, "false", 0, 0, "", "from scratch: the head is the embedding")              \
    X(I64, context, "0", 0, 1e7, "N", "positions; 0: the model's own, 512 from scratch")     \
    X(STR, data, "", 0, 0, "FILE",                                                           \
      "training records: messages, prompt and response, text, or ids")                       \
    X(STR, val, "", 0, 0, "FILE", "validation records")                                      \
    X(STR, map, "", 0, 0, "F=THEIRS,...", "names of fields in the records")                  \
    X(STR, chat, "auto", 0, 0, "NAME", "chat layout of messages")                            \
    X(BOOL, loss_on_all, "false", 0, 0, "", "prompts are learnt, too")                       \
    X(BOOL, truncate, "false", 0, 0, "",                                                     \
      "cut documents beyond the context instead of leaving them out")                        \
    X(I64, steps, "1000", 1, 1e9, "S", "updates")                                            \
    X(I64, seqs, "64", 1, 1e6, "B", "documents of one update")                               \
    X(I64, micro, "4096", 1, 1e8, "TOKENS",                                                  \
      "tokens of one batch; changes memory and speed, no bit")                               \
    X(F64, lr, "0.001", 0, 10, "X", "largest learning rate")                                 \
    X(F64, lr_floor, "0.1", 0, 1, "X", "share of it at the end of the schedule")             \
    X(I64, warmup, "0", 0, 1e9, "STEPS", "updates over which it rises")                      \
    X(ENUM, schedule, "cosine", 0, 0, "constant|linear|cosine", "what follows the warm-up")  \
    X(F64, beta1, "0.9", 0, 1, "X", "AdamW: decay of the mean")                              \
    X(F64, beta2, "0.95", 0, 1, "X", "AdamW: decay of the squares")                          \
    X(F64, eps, "1e-08", 0, 1, "X", "AdamW: added to the root")                              \
    X(F64, weight_decay, "0.01", 0, 10, "X", "AdamW: decoupled decay")                       \
    X(STR, no_decay, "", 0, 0, "PATTERNS", "parameters without decay: `*norm*,*.bias`")      \
    X(LIST, lr_for, "", 0, 0, "PATTERN=X,...",                                               \
      "X times --lr for matching parameters: `*embed*=0.1,*norm*=2`; the last match counts") \
    X(LIST, decay_for, "", 0, 0, "PATTERN=X,...", "X times --weight-decay, in the same way")  \
    X(F64, clip, "1", 0, 1e9, "X", "largest norm of the gradient; 0: no clipping")           \
    X(STR, freeze, "", 0, 0, "PATTERNS", "parameters that stay as they are")                 \
    X(I64, lora, "", 1, 65536, "RANK", "train an adapter of this rank, no weight of the model") \
    X(F64, lora_alpha, "0", 0, 1e6, "X", "its scale is alpha / rank; 0: twice the rank")     \
    X(STR, lora_targets, "all-linear", 0, 0, "LIST", "layers that get one: q_proj,v_proj")   \
    X(STR, adapter, "", 0, 0, "DIR", "go on training the adapter of this folder")            \
    X(ENUM, compute, "f32", 0, 0, "f32|bf16", "how the linear layers compute")               \
    X(ENUM, state, "f32", 0, 0, "f32|bf16", "format of the optimiser's moments")             \
    X(I64, recompute, "0", 0, 512, "LAYERS",                                                 \
      "layers whose activations are computed again instead of kept")                         \
    X(STR, memory, "", 0, 0, "SIZE",                                                         \
      "as `6GiB`: at most so much memory, by smaller batches and recomputation")             \
    X(I64, eval_every, "0", 0, 1e9, "STEPS", "validation loss every so often; 0: never")     \
    X(I64, sample_every, "0", 0, 1e9, "STEPS", "show some samples every so often; 0: never") \
    X(I64, samples, "4", 1, 32, "N", "how many")                                             \
    X(I64, sample_tokens, "64", 1, 1e6, "N", "of at most so many tokens")                    \
    X(I64, save_every, "0", 0, 1e9, "STEPS",                                                 \
      "checkpoint every so often; the last step always has one")                             \
    X(I64, keep, "2", 0, 1e6, "N", "newest checkpoints kept; 0: all")                        \
    X(STR, out, "", 0, 0, "RUN", "the run's folder")                                         \
    X(STR, resume, "", 0, 0, "RUN", "go on with this run from its newest checkpoint")        \
    X(BOOL, exact, "false", 0, 0, "",                                                        \
      "several ranks: the same bytes on 1, 2, 4 ... of them")                                \
    X(F64, deadline, "60", 1, 1e6, "SECONDS",                                                \
      "several ranks: how long one may be silent")                                           \
    X(BOOL, dry_run, "false", 0, 0, "", "check everything, tell the cost, train nothing")

REX_OPT_STRUCT(sft_opts, SFT_OPTS);
#define REX_OPT_TYPE sft_opts
static const rex_opt options[] = { SFT_OPTS(REX_OPT_ROW) };
#undef REX_OPT_TYPE
enum { N_OPT = sizeof options / sizeof *options };

/* The recipe first, --set over it, then everything that was on the command line. */
static rex_status merge(rex_arena *a, const sft_opts *given, sft_opts *o, rex_err *e) {
    rex_opt_defaults(options, N_OPT, o, sizeof *o);
    if (given->config) REX_TRY(rex_opt_yaml(a, options, N_OPT, o, given->config, e));
    if (o->config || o->set)
        return rex_fail(e, REX_EARG, -1, "%s: a recipe can hold neither config nor set",
                        given->config);
    rex_str list = rex_str_of(given->set ? given->set : "");
    while (list.n) {
        const char *const comma = memchr(list.p, ',', list.n);
        rex_str one = { list.p, comma ? (size_t)(comma - list.p) : list.n }, copy;
        list.p += one.n + (comma ? 1 : 0);
        list.n -= one.n + (comma ? 1 : 0);
        REX_TRY(rex_str_copy(a, one, &copy, e));
        const char *const eq = strchr(copy.p, '=');
        if (!eq) return rex_fail(e, REX_EARG, -1, "--set takes key=value, not \"%s\"", copy.p);
        rex_str key;
        REX_TRY(rex_str_copy(a, (rex_str){ copy.p, (size_t)(eq - copy.p) }, &key, e));
        REX_TRY(rex_opt_set(options, N_OPT, o, key.p, eq + 1, e));
    }
    rex_opt_overlay(options, N_OPT, o, given);
    return REX_OK;
}

/* "6GiB", "512 MiB", "8e9": bytes. */
static rex_status bytes_of(const char *text, int64_t *out, rex_err *e) {
    static const struct {
        const char *name;
        double bytes;
    } unit[] = {{"GiB", 0x1p30}, {"MiB", 0x1p20}, {"KiB", 0x1p10}, {"GB", 1e9}, {"MB", 1e6},
                {"kB", 1e3},     {"G", 0x1p30},   {"M", 0x1p20},   {"B", 1}};
    rex_str s = rex_str_of(text);
    double scale = 1.0, x = 0.0;
    for (size_t i = 0; i < sizeof unit / sizeof *unit; i++) {
        const size_t n = strlen(unit[i].name);
        if (s.n <= n || memcmp(s.p + s.n - n, unit[i].name, n) != 0) continue;
        s.n -= n;
        scale = unit[i].bytes;
        break;
    }
    while (s.n && s.p[s.n - 1] == ' ') s.n--;
    if (!rex_num_parse(s, &x) || !(x > 0.0) || !(x * scale >= 1.0) || x * scale > 1e15)
        return rex_fail(e, REX_EARG, -1, "--memory takes a size like 6GiB or 512MiB, not \"%s\"",
                        text);
    *out = (int64_t)(x * scale);
    return REX_OK;
}

/* Options that would have no effect, because of another one. */
static rex_status check_idle(const sft_opts *o, rex_err *e) {
    static const char *const made[] = { "vocab",    "build", "layers", "width", "heads",
                                        "kv_heads", "ffn",   "tied" };
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
        if (!rex_opt_given(options, N_OPT, o, made[i])) continue;
        if (o->model)
            return rex_fail(e, REX_EARG, -1, "%s is about a model from scratch, not --model",
                            made[i]);
        if (o->tokenizer && i < 2)
            return rex_fail(e, REX_EARG, -1,
                            "%s is about a tokenizer that is built: no --tokenizer", made[i]);
    }
    if (o->build == 1 && rex_opt_given(options, N_OPT, o, "vocab"))
        return rex_fail(e, REX_EARG, -1, "vocab is about a tokenizer of bytes, not of chars");
    if (o->eval_every > 0 && !o->val)
        return rex_fail(e, REX_EARG, -1, "eval_every needs validation records: --val FILE");
    return REX_OK;
}

static rex_status check(const sft_opts *o, bool plan, rex_err *e) {
    const char *const who = plan ? "plan" : "sft";
    if (!o->data) return rex_fail(e, REX_EARG, -1, "%s needs --data FILE", who);
    if (!o->out && !o->resume && !plan && !o->dry_run)
        return rex_fail(e, REX_EARG, -1, "sft needs --out RUN");
    if (!o->model == (o->init == 0))
        return o->model ? rex_fail(e, REX_EARG, -1, "--model and --init exclude each other")
                        : rex_fail(e, REX_EARG, -1, "%s needs --model M, or --init tiny", who);
    if (o->adapter && o->lora > 0)
        return rex_fail(e, REX_EARG, -1,
                        "--adapter goes on with an adapter, --lora begins one: not both");
    if (!o->lora && (rex_opt_given(options, N_OPT, o, "lora_alpha") ||
                     rex_opt_given(options, N_OPT, o, "lora_targets")))
        return rex_fail(e, REX_EARG, -1,
                        "--lora-alpha and --lora-targets are about a new adapter: --lora RANK");
    return check_idle(o, e);
}

static rex_sft_opts to_run(const sft_opts *o, const char *json) {
    rex_sft_opts r;
    rex_sft_defaults(&r);
    r.model = o->model; r.tokenizer = o->tokenizer; r.data = o->data; r.val = o->val;
    r.out = o->resume ? o->resume : o->out; r.map = o->map; r.chat = o->chat;
    r.freeze = o->freeze; r.no_decay = o->no_decay; r.options = json;
    r.lr_for = o->lr_for; r.decay_for = o->decay_for;
    r.steps = o->steps; r.seqs = o->seqs; r.micro = o->micro; r.warmup = o->warmup;
    r.context = o->context ? o->context : o->model ? 0 : 512;
    r.eval_every = o->eval_every; r.sample_every = o->sample_every; r.samples = o->samples;
    r.sample_tokens = o->sample_tokens; r.save_every = o->save_every; r.keep = o->keep;
    r.recompute = o->recompute; r.layers = o->layers; r.width = o->width; r.heads = o->heads;
    r.kv_heads = o->kv_heads;
    r.ffn = o->ffn;
    r.vocab = o->vocab;
    r.seed = o->seed;
    r.threads = o->threads;
    r.lr = o->lr; r.lr_floor = o->lr_floor; r.beta1 = o->beta1; r.beta2 = o->beta2; r.eps = o->eps;
    r.weight_decay = o->weight_decay; r.clip = o->clip; r.schedule = (rex_schedule)o->schedule;
    r.tied = o->tied; r.build_chars = o->build == 1; r.loss_on_all = o->loss_on_all;
    r.truncate = o->truncate; r.bf16 = o->compute == 1; r.state_bf16 = o->state == 1;
    r.adapter = o->adapter; r.lora = o->lora; r.lora_alpha = o->lora_alpha;
    r.lora_targets = o->lora_targets;
    r.dry_run = o->dry_run; r.resume = o->resume != NULL; r.exact = o->exact;
    return r;
}

/* ---- the cost ---------------------------------------------------------------------------- */

static void put_bytes(rex_buf *b, const char *what, int64_t n) {
    const double x = (double)n;
    rex_buf_addf(b, "%-22s", what);
    if (x >= 0x1p30) rex_buf_addf(b, "%9.2f GiB\n", x / 0x1p30);
    else rex_buf_addf(b, "%9.1f MiB\n", x / 0x1p20);
}

static void cost_text(const rex_sft_cost *c, rex_buf *b) {
    rex_buf_addf(b, "%-22s%9lld", "parameters", (long long)c->params);
    if (c->trained != c->params) rex_buf_addf(b, ", %lld of them trained", (long long)c->trained);
    rex_buf_addf(b, "\n%-22s%9.0f in %.1f batches of at most %lld\n", "tokens of a step",
                 c->tokens_per_step, c->batches, (long long)c->micro);
    put_bytes(b, "memory", c->memory);
    put_bytes(b, "  weights", c->weights);
    put_bytes(b, "  gradients", c->gradients);
    put_bytes(b, "  optimiser", c->optimiser);
    put_bytes(b, "  activations", c->activations);
    put_bytes(b, "  backward", c->backward);
    put_bytes(b, "  data", c->data);
    put_bytes(b, "  program", c->program);
    rex_buf_addf(b, "%-22s%9lld\n", "layers computed again", (long long)c->recompute);
    put_bytes(b, "disk", c->disk);
    rex_buf_addf(b, "%-22s%9lld at once\n", "  checkpoints", (long long)c->checkpoints);
    put_bytes(b, "  each", c->checkpoint);
    if (c->seconds_per_step > 0.0) {
        const double all = c->seconds_per_step * (double)c->steps;
        rex_buf_addf(b, "%-22s%9.3f s, %.0f tokens/s\n", "time of a step", c->seconds_per_step,
                     c->tokens_per_step / c->seconds_per_step);
        if (all < 7200) rex_buf_addf(b, "%-22s%9.1f min\n", "time of all", all / 60.0);
        else rex_buf_addf(b, "%-22s%9.1f h\n", "time of all", all / 3600.0);
    }
}

static void cost_json(const rex_sft_cost *c, bool fits, rex_buf *b) {
    const struct {
        const char *name;
        int64_t bytes;
    } part[] = {{"total", c->memory},           {"weights", c->weights},
                {"gradients", c->gradients},    {"optimiser", c->optimiser},
                {"activations", c->activations}, {"backward", c->backward},
                {"data", c->data},              {"program", c->program},
                {"limit", c->memory_limit}};
    rex_jw w;
    rex_jw_init(&w, b);
    rex_jw_obj(&w);
    rex_jw_key(&w, "fits");
    rex_jw_bool(&w, fits);
    rex_jw_key(&w, "params");
    rex_jw_i64(&w, c->params);
    rex_jw_key(&w, "trained");
    rex_jw_i64(&w, c->trained);
    rex_jw_key(&w, "memory");
    rex_jw_obj(&w);
    for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
        rex_jw_key(&w, part[i].name);
        rex_jw_i64(&w, part[i].bytes);
    }
    rex_jw_obj_end(&w);
    rex_jw_key(&w, "micro");
    rex_jw_i64(&w, c->micro);
    rex_jw_key(&w, "recompute");
    rex_jw_i64(&w, c->recompute);
    rex_jw_key(&w, "steps");
    rex_jw_i64(&w, c->steps);
    rex_jw_key(&w, "batches_per_step");
    rex_jw_f64(&w, c->batches);
    rex_jw_key(&w, "tokens_per_step");
    rex_jw_f64(&w, c->tokens_per_step);
    rex_jw_key(&w, "seconds_per_step");
    if (c->seconds_per_step > 0.0) rex_jw_f64(&w, c->seconds_per_step);
    else rex_jw_null(&w);
    rex_jw_key(&w, "disk");
    rex_jw_i64(&w, c->disk);
    rex_jw_key(&w, "checkpoint");
    rex_jw_i64(&w, c->checkpoint);
    rex_jw_key(&w, "checkpoints");
    rex_jw_i64(&w, c->checkpoints);
    rex_jw_key(&w, "disk_free");
    rex_jw_i64(&w, c->disk_free);
    rex_jw_obj_end(&w);
    rex_buf_addf(b, "\n");
}

/* The cost is printed also where the run does not fit; of several ranks one has it. */
static rex_status tell_cost(const rex_sft_opts *r, bool json, rex_err *e) {
    rex_sft_cost c = {.size = sizeof c};
    rex_buf b;
    rex_buf_init(&b, 0);
    const rex_status s = rex_sft_plan(r, &c, e);
    rex_status p = REX_OK;
    if (c.memory) {
        if (json) cost_json(&c, s == REX_OK, &b);
        else cost_text(&c, &b);
        p = rex_cli_print(&b, s == REX_OK ? e : NULL);
    }
    rex_buf_free(&b);
    return s == REX_OK ? p : s;
}

/* ---- the commands ------------------------------------------------------------------------ */

static rex_status run(const void *opts, int n_pos, char **pos, bool plan, rex_err *e) {
    const sft_opts *const given = opts;
    if (n_pos)
        return rex_fail(e, REX_EARG, -1, "%s takes no argument \"%s\"", plan ? "plan" : "sft",
                        pos[0]);
    rex_arena *a = NULL;
    REX_TRY(rex_arena_open(0, &a, e));
    sft_opts o;
    rex_buf json;
    rex_buf_init(&json, 0);
    rex_status s = merge(a, given, &o, e);
    int64_t memory = 0;
    if (s == REX_OK) s = check(&o, plan, e);
    if (s == REX_OK && o.memory) s = bytes_of(o.memory, &memory, e);
    if (s == REX_OK) {
        rex_jw w;
        rex_jw_init(&w, &json);
        rex_opt_json(options, N_OPT, &o, &w);
        s = rex_buf_check(&json, e);
    }
    rex_dist *ranks = NULL;
    const rex_status joined = rex_cli_ranks_open(o.deadline, &ranks, s == REX_OK ? e : NULL);
    if (s == REX_OK) s = joined;
    if (joined == REX_OK) s = rex_dist_agree(ranks, s, e); /* one that has no recipe says so */
    if (s == REX_OK) {
        rex_sft_opts r = to_run(&o, json.p);
        r.memory = memory;
        r.dist = ranks;
        if (plan || o.dry_run) s = tell_cost(&r, o.json, e);
        else s = rex_sft_run(&r, e);
        if (s == REX_OK && !plan)
            rex_cli_note("%s", o.dry_run ? "everything is in order" : r.out);
    }
    rex_buf_free(&json);
    rex_arena_close(a);
    return s;
}

static rex_status run_sft(const void *opts, int n_pos, char **pos, rex_err *e) {
    return run(opts, n_pos, pos, false, e);
}

static rex_status run_plan(const void *opts, int n_pos, char **pos, rex_err *e) {
    return run(opts, n_pos, pos, true, e);
}

const rex_cmd rex_cmd_plan = {
    .name = "plan",
    .summary = "what a training run will cost, before it starts",
    .usage = "--config recipe.yaml [--set key=value ...]",
    .text =
        "Takes a recipe of sft (or its options) and tells parameters, tokens of a step, memory by "
        "part, disk, and the time of a step, measured on a batch of the data. Everything that the "
        "run would check is checked. A run that does not fit into memory or disk is refused with "
        "exit status 1 and "
        "values of micro, recompute, state, keep or save_every that would make it fit. Nothing is "
        "written.",
    .opt = options,
    .n_opt = N_OPT,
    .opt_bytes = sizeof(sft_opts),
    .run = run_plan,
};

const rex_cmd rex_cmd_sft = {
    .name = "sft",
    .summary = "supervised training, from a model or from scratch",
    .usage = "(--model M | --init tiny) --data F --steps S --seqs B --lr X --out RUN",
    .text =
        "Trains on JSON lines with `messages`, `prompt` and `response`, `text`, or token ids; "
        "responses "
        "alone are learnt unless --loss-on-all. The run's folder holds run.json, steps.jsonl (the "
        "same bytes for the same run, whatever the threads), timing.jsonl and checkpoints, each "
        "an ordinary Hugging Face model folder with one state file; with --lora they hold an "
        "adapter alone, as PEFT reads it, and the model stays as it is, be it f32, bf16 or "
        "quantised. A run that was stopped or killed goes "
        "on with --resume RUN and the same options, and ends with the same bytes.\n"
        "`mpirun -n R repexp sft ...` trains on R ranks (docs/distributed.md).",
    .opt = options,
    .n_opt = N_OPT,
    .opt_bytes = sizeof(sft_opts),
    .run = run_sft,
    .ranks = true,
};
