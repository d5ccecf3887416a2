/* SPDX-License-Identifier: MIT
 *
 * merge, export: a model written anew, with an adapter merged into its weights or as it is, as a
 * Hugging Face folder (merge) or as one GGUF file (export).
 */
#include "cli.h"

#define MERGE_OPTS(X)                                                                        \
    REX_CLI_COMMON(X)                                                                        \
    X(STR, model, "", 0, 0, "M", "m=a Hugging Face folder or a GGUF file")                   \
    X(STR, adapter, "", 0, 0, "DIR", "a LoRA adapter in the form of PEFT, merged")           \
    X(STR, tokenizer, "", 0, 0, "FILE", "a tokenizer for a model that has none")             \
    X(STR, out, "", 0, 0, "DIR", "the new folder")                                           \
    X(ENUM, type, "f32", 0, 0, "f32|f16|bf16", "of the weights")

#define EXPORT_OPTS(X)                                                                       \
    REX_CLI_COMMON(X)                                                                        \
    X(STR, model, "", 0, 0, "M", "m=a Hugging Face folder (a checkpoint is one) or a GGUF file") \
    X(STR, adapter, "", 0, 0, "DIR", "a LoRA adapter in the form of PEFT, merged")           \
    X(STR, tokenizer, "", 0, 0, "FILE", "a tokenizer for a model that has none")             \
    X(BOOL, no_tokenizer, "false", 0, 0, "", "leave the tokenizer out")                      \
    X(STR, out, "", 0, 0, "FILE", "the new GGUF file")                                       \
    X(ENUM, type, "f32", 0, 0, "f32|f16|bf16|q8_0", "of the matrices; vectors are f32")

REX_OPT_STRUCT(merge_opts, MERGE_OPTS);
REX_OPT_STRUCT(export_opts, EXPORT_OPTS);
#define REX_OPT_TYPE merge_opts
static const rex_opt merge_table[] = { MERGE_OPTS(REX_OPT_ROW) };
#undef REX_OPT_TYPE
#define REX_OPT_TYPE export_opts
static const rex_opt export_table[] = { EXPORT_OPTS(REX_OPT_ROW) };
#undef REX_OPT_TYPE

static const char *given(const char *s) { return s && *s ? s : NULL; }

static rex_status write(const rex_export_opts *o, rex_err *e) {
    const rex_status s = rex_export_run(o, e);
    if (s == REX_OK) rex_cli_note("%s", o->out);
    return s;
}

static rex_status run_merge(const void *opts, int n_pos, char **pos, rex_err *e) {
    const merge_opts *const o = opts;
    rex_export_opts x;
    if (n_pos) return rex_fail(e, REX_EARG, -1, "merge takes no argument \"%s\"", pos[0]);
    if (!given(o->model) || !given(o->out))
        return rex_fail(e, REX_EARG, -1, "merge needs --model M and --out DIR");
    rex_export_defaults(&x);
    x.model = o->model;
    x.adapter = given(o->adapter);
    x.tokenizer = given(o->tokenizer);
    x.out = o->out;
    x.type = (rex_weights_as)o->type;
    return write(&x, e);
}

static rex_status run_export(const void *opts, int n_pos, char **pos, rex_err *e) {
    const export_opts *const o = opts;
    rex_export_opts x;
    if (n_pos) return rex_fail(e, REX_EARG, -1, "export takes no argument \"%s\"", pos[0]);
    if (!given(o->model) || !given(o->out))
        return rex_fail(e, REX_EARG, -1, "export needs --model M and --out FILE.gguf");
    rex_export_defaults(&x);
    x.model = o->model;
    x.adapter = given(o->adapter);
    x.tokenizer = given(o->tokenizer);
    x.no_tokenizer = o->no_tokenizer;
    x.out = o->out;
    x.gguf = true;
    x.type = (rex_weights_as)o->type;
    return write(&x, e);
}

const rex_cmd rex_cmd_merge = {
    .name = "merge",
    .summary = "a full model folder from a model and an adapter",
    .usage = "--model BASE --adapter DIR --out NEW [--type f32|f16|bf16]",
    .text = "Writes W + scale * (B A) for every layer that the adapter has, each number summed in "
            "double and rounded once, and everything else as it is, as a Hugging Face folder. "
            "Without --adapter the model is written as it is; weights of a GGUF file are widened.",
    .opt = merge_table,
    .n_opt = sizeof merge_table / sizeof *merge_table,
    .opt_bytes = sizeof(merge_opts),
    .run = run_merge,
};

const rex_cmd rex_cmd_export = {
    .name = "export",
    .summary = "a model or checkpoint as one GGUF file",
    .usage = "--model M --out FILE.gguf [--adapter DIR] [--type f32|f16|bf16|q8_0]",
    .text =
        "Writes weights, settings and tokenizer as a GGUF file of version 3. With --type f32 "
        "the numbers are those of the model, bit for bit, and a greedy continuation is the "
        "same, token for token. The file is read back before it gets its name: what GGUF cannot "
        "say exactly is refused with the reason.",
    .opt = export_table,
    .n_opt = sizeof export_table / sizeof *export_table,
    .opt_bytes = sizeof(export_opts),
    .run = run_export,
};
