/* SPDX-License-Identifier: MIT
 *
 * cli: one file per command. A command is a const rex_cmd and one X line in REX_CMDS; the parser,
 * --help, the man page and run.json come from its option list. Commands are composed of the public
 * functions of repexp.h and of base (options, lines, the JSON writer, progress).
 */
#ifndef REX_CLI_H
#define REX_CLI_H

#include "../src/base/base.h"

/* What every command gets; parsed together with its own list. */
#define REX_CLI_COMMON(X)                                                                    \
    X(BOOL, json, "false", 0, 0, "", "JSON (or JSON lines) on stdout")                       \
    X(I64, seed, "0", 0, 9007199254740992.0, "S", "fixes everything random")                 \
    X(I64, threads, "0", 0, 4096, "N", "workers; 0 is every core; never changes a result")   \
    X(BOOL, quiet, "false", 0, 0, "", "no progress and no notes on stderr")

/* Options that begin every command's struct: L(X) is REX_CLI_COMMON(X) then the command's own. */
typedef struct {
    const char *name;    /* "select"; two words for "task make" */
    const char *summary; /* one line */
    const char *usage;   /* "--features F.npy [options]" */
    const char *text;    /* a paragraph or more for --help and the man page */
    const rex_opt *opt;
    size_t n_opt, opt_bytes;
    /* `pos` are the positional arguments. The status becomes the exit status: REX_OK 0, REX_EARG 2,
     * REX_ECANCEL 130, all others 1; the sentence goes to stderr. */
    rex_status (*run)(const void *opts, int n_pos, char **pos, rex_err *e);
    bool ranks; /* may be started several times by an mpirun, to work as one */
} rex_cmd;

/* One line per command, in the order of `repexp help`. */
#define REX_CMDS(X)                                                                          \
    X(demo)                                                                                  \
    X(select) X(score) X(passk)                                                              \
    X(advantage)                                                                             \
    X(tokenize) X(inspect)                                                                   \
    X(generate) X(logprob) X(embed) X(explore) X(eval)                                       \
    X(task_list) X(task_make) X(task_verify) X(task_audit)                                   \
    X(sft) X(plan) X(merge) X(export)                                                        \
    X(report)

#define X(n) extern const rex_cmd rex_cmd_##n;
REX_CMDS(X)
#undef X

/* stdout, sticky and checked: everything a command prints as data. */
REX_MUST rex_status rex_cli_print(const rex_buf *b, rex_err *e);
/* Runs a command line ("explore", "--model", ...; the strings are writable) as if it had been
 * typed, except that what it prints on stdout goes to `out`. `quiet` adds --quiet. Not nested. */
REX_MUST rex_status rex_cli_call(int argc, char **argv, bool quiet, rex_buf *out, rex_err *e);
/* A note for people on stderr, unless --quiet. */
void rex_cli_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* ---- several processes (cli_ranks.c) ------------------------------------------------------ */

/* Which process this is, and of how many that a launcher (mpirun) has started: 0 and 1 without. */
int rex_cli_rank(void);
int rex_cli_ranks(void);
/* Refuses a command that several processes would only repeat. */
REX_MUST rex_status rex_cli_ranks_check(const rex_cmd *c, rex_err *e);
/* Joins the others; NULL where there are none. Rank 0 speaks for all from then on. The process
 * closes it when its last sentence is out. */
REX_MUST rex_status rex_cli_ranks_open(double deadline, rex_dist **out, rex_err *e);
void rex_cli_ranks_close(void);
/* Turns notes, progress and sentences off: another process speaks. */
void rex_cli_mute(void);

/* ---- models (engine.c) ------------------------------------------------------------------- */

/* Options of every command that runs a model. */
#define REX_CLI_MODEL(X)                                                                     \
    X(STR, model, "", 0, 0, "M", "m=a Hugging Face folder or a GGUF file")                   \
    X(STR, adapter, "", 0, 0, "DIR", "a LoRA adapter in the form of PEFT, on top of the model") \
    X(STR, tokenizer, "", 0, 0, "FILE", "a tokenizer for a model that has none")             \
    X(ENUM, compute, "f32", 0, 0, "f32|bf16", "how the linear layers compute")               \
    X(ENUM, kv, "f32", 0, 0, "f32|bf16", "how keys and values are kept")                     \
    X(I64, context, "0", 0, 16777216, "N", "positions of a sequence; 0: the model's own")    \
    X(I64, batch, "64", 1, 65536, "N", "sequences decoded at once; never changes a result")  \
    X(I64, chunk, "256", 1, 1048576, "N", "tokens of one step; never changes a result")      \
    X(STR, chat, "auto", 0, 0, "auto|none|NAME",                                             \
      "layout of chat prompts; auto: the model's own; a NAME is put round plain prompts, too") \
    X(BOOL, special, "false", 0, 0, "", "recognise control text in prompts and messages")    \
    X(STR, map, "", 0, 0, "F=G,...", "read field F of a record from its field G")

typedef struct {
    const char *model, *adapter, *tokenizer, *chat;
    int compute, kv;
    int64_t context, threads;
    bool special;
} rex_cli_setup;

/* A model, its tokenizer (NULL where there is none; the reason is kept), workers. */
typedef struct {
    rex_pool *pool;
    rex_model *model;
    rex_tok *tok;
    const rex_chat *chat; /* NULL: chats are refused or, with auto, found when one comes */
    rex_cli_setup set;
    rex_err no_tok;
} rex_cli_engine;

/* After a failure rex_cli_engine_close is still due. */
REX_MUST rex_status rex_cli_engine_open(const rex_cli_setup *set, rex_cli_engine *g, rex_err *e);
void rex_cli_engine_close(rex_cli_engine *g);
/* Token ids of a prompt: as given, by the chat layout, or from text. `shown` gets the text that was
 * encoded (p NULL where ids were given). Errors name the prompt. */
REX_MUST rex_status rex_cli_encode(rex_cli_engine *g, const rex_prompt *p, rex_arena *a,
                                   rex_ids *ids, rex_str *shown, rex_err *e);
/* Pairs of a file of sample records, prompts and responses as ids. */
REX_MUST rex_status rex_cli_pairs(rex_cli_engine *g, const char *path, const char *map,
                                  rex_arena *a, rex_sample **sample, rex_gen_pair **pair, size_t *n,
                                  rex_err *e);
/* Sizes a generator for those pairs. */
void rex_cli_fit(rex_gen_opts *o, const rex_gen_pair *p, size_t n);
/* "mean" etc.; what was pooled, as the JSON beside a feature file. */
REX_MUST rex_status rex_cli_pooled(rex_arena *a, const char *model, const char *pool, int64_t layer,
                                   const rex_model_info *m, rex_str *json, rex_err *e);

/* ---- what a pool was made with (made.c) --------------------------------------------------- */

/* 16 hex digits over the bytes of a file, or of a model folder's configuration, weights and
 * tokenizer; false where there is nothing to read. */
bool rex_cli_digest(const char *path, char text[17]);

/* The options of a `generate`, what it reads, and its prompts as the model gets them. */
typedef struct {
    const rex_opt *list;
    size_t n_list;
    const void *opts;
    const char *model, *adapter, *tokenizer;
    const rex_prompt *prompt;
    const rex_ids *ids;
    size_t n;
} rex_cli_made;

/* Writes POOL.json (POOL being pool.jsonl). A pool that is `begun` is held to the file that is
 * there: REX_EARG names every setting that differs; without it a note says that nothing is known.
 */
REX_MUST rex_status rex_cli_made_with(const rex_cli_made *m, const char *pool, bool begun,
                                      rex_arena *a, rex_err *e);

#endif
