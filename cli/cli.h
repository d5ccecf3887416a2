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
} rex_cmd;

/* One line per command, in the order of `repexp help`. */
#define REX_CMDS(X)                                                                          \
    X(passk)                                                                                 \
    X(advantage)                                                                             \
    X(tokenize)                                                                              \
    X(task_list) X(task_make) X(task_verify) X(task_audit)                                   \
    X(report)

#define X(n) extern const rex_cmd rex_cmd_##n;
REX_CMDS(X)
#undef X

/* stdout, sticky and checked: everything a command prints as data. */
REX_MUST rex_status rex_cli_print(const rex_buf *b, rex_err *e);
/* A note for people on stderr, unless --quiet. */
void rex_cli_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
