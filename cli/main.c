/* SPDX-License-Identifier: MIT
 *
 * main: finds the command, parses its options, runs it, turns its status into an exit status.
 *
 * stdout carries data, stderr everything else: sentences, notes, the log, the progress line. A
 * first SIGINT or SIGTERM asks the work to stop at a safe place, a second one ends the process. A
 * reader that closes stdout early ends the command quietly. Help, man pages and parsers come from
 * the option lists of the commands; nothing about an option is written here.
 */
#include "cli.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct {
    bool quiet, tty, stdout_gone, mute;
    int shown; /* columns of the moving line that is on the terminal */
    rex_buf *capture; /* stdout of a command that another command runs */
} term;

static const rex_cmd *const commands[] = {
#define X(n) &rex_cmd_##n,
    REX_CMDS(X)
#undef X
        NULL,
};

/* ---- stderr ----------------------------------------------------------------------------- */

static void clear_line(void) {
    if (term.shown) fprintf(stderr, "\r%*s\r", term.shown, "");
    term.shown = 0;
}

void rex_cli_note(const char *fmt, ...) {
    if (term.quiet) return;
    char text[2048];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    clear_line();
    fprintf(stderr, "%s\n", text);
}

static void on_log(void *ud, rex_log_level level, const char *text) {
    (void)ud;
    if ((term.quiet || term.mute) && level > REX_LOG_ERROR) return;
    clear_line();
    fprintf(stderr, "repexp: %s%s\n", level == REX_LOG_WARN ? "warning: " : "", text);
}

/* 75 -> "1:15", 4000 -> "1:06:40". */
static void clock_text(double s, char *out, size_t room) {
    const long t = s < 0 ? 0 : s > 1e8 ? 100000000L : (long)(s + 0.5);
    if (t >= 3600) (void)snprintf(out, room, "%ld:%02ld:%02ld", t / 3600, t / 60 % 60, t % 60);
    else (void)snprintf(out, room, "%ld:%02ld", t / 60, t % 60);
}

static void on_progress(void *ud, const rex_progress *p, double rate, double eta, bool last) {
    (void)ud;
    if (term.quiet || (last && !term.shown && rex_clock() - p->start < 1.0)) return;
    char of[32] = "", left[48] = "", extra[48] = "", took[24];
    if (p->total > 0) (void)snprintf(of, sizeof of, "/%lld", (long long)p->total);
    if (!last && eta >= 0) {
        char t[24];
        clock_text(eta, t, sizeof t);
        (void)snprintf(left, sizeof left, ", %s left", t);
    }
    const double spent = rex_clock() - p->start;
    if (p->extra_unit && spent > 0)
        (void)snprintf(extra, sizeof extra, ", %.0f %s/s", (double)p->extra / spent, p->extra_unit);
    clock_text(spent, took, sizeof took);
    char line[256];
    int n = snprintf(line, sizeof line, "%s: %lld%s in %s, %.*f/s%s%s", p->what, (long long)p->done,
                     of, took, rate < 10 ? 2 : 0, rate, extra, left);
    if (n >= (int)sizeof line) n = (int)sizeof line - 1;
    if (!term.tty) {
        fprintf(stderr, "%s\n", line);
        return;
    }
    const int blank = term.shown > n ? term.shown - n : 0;
    fprintf(stderr, "\r%s%*s", line, blank, "");
    term.shown = n;
    if (last) {
        fputc('\n', stderr);
        term.shown = 0;
    }
    fflush(stderr);
}

void rex_cli_mute(void) {
    term.quiet = term.mute = true;
}

/* ---- stdout ----------------------------------------------------------------------------- */

rex_status rex_cli_print(const rex_buf *b, rex_err *e) {
    REX_TRY(rex_buf_check(b, e));
    if (term.capture) {
        rex_buf_add(term.capture, b->p, b->n);
        return rex_buf_check(term.capture, e);
    }
    clear_line();
    for (size_t at = 0; at < b->n;) {
        const ssize_t n = write(STDOUT_FILENO, b->p + at, b->n - at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            term.stdout_gone = errno == EPIPE;
            return rex_fail(e, REX_EIO, -1, "stdout: cannot write: %s", strerror(errno));
        }
        at += (size_t)n;
    }
    return REX_OK;
}

/* Prints and frees. */
static rex_status say(rex_buf *b, rex_err *e) {
    const rex_status s = rex_cli_print(b, e);
    rex_buf_free(b);
    return s;
}

/* ---- help ------------------------------------------------------------------------------- */

static rex_status help_all(rex_err *e) {
    rex_buf b;
    rex_buf_init(&b, 0);
    rex_buf_addf(&b,
                 "repexp %s: exploration with language models\n\n"
                 "usage: repexp COMMAND [options]\n"
                 "       repexp COMMAND --help\n\n",
                 rex_version());
    for (const rex_cmd *const *c = commands; *c; c++)
        rex_buf_addf(&b, "  %-14s %s\n", (*c)->name, (*c)->summary);
    rex_buf_addf(&b, "  %-14s %s\n", "help", "this text; help COMMAND for one command");
    rex_buf_addf(&b, "\nexit status: 0 done, 1 failed, 2 misuse, 130 stopped and resumable\n");
    return say(&b, e);
}

/* A text for people at 96 columns; its own line breaks and indented lines stay. */
static void wrap(rex_buf *b, const char *text) {
    int at = 0;
    bool keep = *text == ' ';
    while (*text) {
        const int n = (int)strcspn(text, " \n");
        if (at > 0 && at + n > 96 && !keep) {
            b->n -= b->n > 0 && b->p[b->n - 1] == ' ';
            rex_buf_add(b, "\n", 1);
            at = 0;
        }
        rex_buf_add(b, text, (size_t)n);
        at += n;
        text += n;
        if (*text == '\n') {
            at = 0;
            keep = text[1] == ' ';
        } else if (*text) {
            at++;
        }
        if (*text) rex_buf_add(b, text++, 1);
    }
}

static rex_status help_one(const rex_cmd *c, rex_err *e) {
    rex_buf b;
    rex_buf_init(&b, 0);
    rex_buf line;
    rex_buf_init(&line, 0);
    rex_buf_addf(&line, "usage: repexp %s %s\n\n%s", c->name, c->usage, c->text);
    if (line.p) wrap(&b, line.p);
    if (line.bad != REX_OK) b.bad = line.bad;
    rex_buf_free(&line);
    rex_buf_addf(&b, "\n\noptions\n");
    rex_opt_help(c->opt, c->n_opt, &b);
    return say(&b, e);
}

/* "task make" -> "task-make", for the name of a page. */
static void page_name(const rex_cmd *c, char out[64]) {
    size_t i = 0;
    for (; c->name[i] && i < 63; i++) out[i] = c->name[i] == ' ' ? '-' : c->name[i];
    out[i] = 0;
}

static void man_head(rex_buf *b, const char *page, const char *summary) {
    rex_buf_addf(b, ".TH REPEXP%s%s 1 \"\" \"repexp %s\"\n.SH NAME\nrepexp%s%s \\- ",
                 *page ? "\\-" : "", page, rex_version(), *page ? "\\-" : "", page);
    rex_man_text(b, summary);
    rex_buf_addf(b, "\n.SH SYNOPSIS\n.B repexp ");
}

static rex_status man_one(const rex_cmd *c, rex_err *e) {
    rex_buf b;
    char page[64];
    rex_buf_init(&b, 0);
    page_name(c, page);
    man_head(&b, page, c->summary);
    rex_man_text(&b, c->name);
    rex_buf_addf(&b, "\n");
    rex_man_text(&b, c->usage);
    rex_buf_addf(&b, "\n.SH DESCRIPTION\n");
    rex_man_text(&b, c->text);
    rex_buf_addf(&b, "\n.SH OPTIONS\n");
    rex_opt_man(c->opt, c->n_opt, &b);
    rex_buf_addf(&b, ".SH EXIT STATUS\n0 done, 1 failed, 2 misuse, 130 stopped by a signal\n");
    return say(&b, e);
}

static rex_status man_all(rex_err *e) {
    rex_buf b;
    rex_buf_init(&b, 0);
    man_head(&b, "", "exploration with language models");
    rex_buf_addf(&b, "COMMAND [options]\n.SH COMMANDS\n");
    for (const rex_cmd *const *c = commands; *c; c++) {
        rex_buf_addf(&b, ".TP\n.B ");
        rex_man_text(&b, (*c)->name);
        rex_buf_addf(&b, "\n");
        rex_man_text(&b, (*c)->summary);
        rex_buf_addf(&b, "\n");
    }
    rex_buf_addf(&b, ".SH EXIT STATUS\n0 done, 1 failed, 2 misuse, 130 stopped by a signal\n");
    return say(&b, e);
}

/* The names of the pages, one a line; `make man` walks over them. */
static rex_status man_list(rex_err *e) {
    rex_buf b;
    rex_buf_init(&b, 0);
    for (const rex_cmd *const *c = commands; *c; c++) {
        char page[64];
        page_name(*c, page);
        rex_buf_addf(&b, "%s\n", page);
    }
    return say(&b, e);
}

/* ---- choosing --------------------------------------------------------------------------- */

/* The command that the first one or two words name; *words says how many. Dashes between the two
 * words are taken as well, so that the names of man pages work. */
static const rex_cmd *find(int argc, char **argv, int *words) {
    for (const rex_cmd *const *c = commands; *c; c++) {
        char page[64];
        page_name(*c, page);
        const size_t first = strcspn((*c)->name, " ");
        *words = 1;
        if (strcmp(argv[0], (*c)->name) == 0 || strcmp(argv[0], page) == 0) return *c;
        if (!(*c)->name[first] || argc < 2) continue;
        *words = 2;
        if (strlen(argv[0]) == first && strncmp(argv[0], (*c)->name, first) == 0 &&
            strcmp(argv[1], (*c)->name + first + 1) == 0)
            return *c;
    }
    return NULL;
}

/* The first word of commands that have two: names them all. */
static rex_status half_command(const char *word, rex_err *e) {
    char all[256] = "";
    size_t at = 0, n = 0;
    const size_t len = strlen(word);
    for (const rex_cmd *const *c = commands; *c; c++) {
        if (strncmp((*c)->name, word, len) != 0 || (*c)->name[len] != ' ') continue;
        at += (size_t)snprintf(all + at, sizeof all - at, "%s'repexp %s'", n++ ? ", " : "",
                               (*c)->name);
        if (at >= sizeof all) break;
    }
    return rex_fail(e, REX_EARG, -1, "%s is the first word of several commands: %s", word, all);
}

static rex_status no_command(int argc, char **argv, rex_err *e) {
    const char *names[128];
    size_t n = 0;
    char both[128];
    (void)snprintf(both, sizeof both, "%s %s", argv[0], argc > 1 ? argv[1] : "");
    bool first_known = false;
    const size_t len = strlen(argv[0]);
    for (const rex_cmd *const *c = commands; *c && n < 127; c++) {
        names[n++] = (*c)->name;
        if (strncmp((*c)->name, argv[0], len) == 0 && (*c)->name[len] == ' ') first_known = true;
    }
    names[n++] = "help";
    if (argv[0][0] == '-')
        return rex_fail(e, REX_EARG, -1, "a command comes first, found %s; try repexp help",
                        argv[0]);
    if (first_known && (argc < 2 || argv[1][0] == '-')) return half_command(argv[0], e);
    const char *const near = rex_nearest(first_known ? both : argv[0], names, n);
    return rex_fail(e, REX_EARG, -1, "unknown command %s%s%s%s", first_known ? both : argv[0],
                    near ? ", did you mean " : "; try repexp help", near ? near : "",
                    near ? "?" : "");
}

static bool wants_help(int argc, char **argv) {
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) return true;
    return false;
}

/* --quiet of REX_CLI_COMMON, where the command's list has it. */
static bool quiet_in(const rex_cmd *c, const void *opts) {
    for (size_t i = 0; i < c->n_opt; i++) {
        bool v;
        if (c->opt[i].kind != REX_OPT_BOOL || strcmp(c->opt[i].name, "quiet") != 0) continue;
        memcpy(&v, (const char *)opts + c->opt[i].offset, sizeof v);
        return v;
    }
    return false;
}

static rex_status run(const rex_cmd *c, int argc, char **argv, rex_err *e) {
    if (wants_help(argc, argv)) return help_one(c, e);
    REX_TRY(rex_cli_ranks_check(c, e));
    rex_arena *a;
    REX_TRY(rex_arena_open(0, &a, e));
    rex_status s = REX_ENOMEM;
    int n_pos = 0;
    void *const opts = rex_arena_zero(a, 1, c->opt_bytes, e);
    if (opts) {
        rex_opt_defaults(c->opt, c->n_opt, opts, c->opt_bytes);
        s = rex_opt_args(a, c->opt, c->n_opt, opts, argc, argv, &n_pos, e);
    }
    if (s == REX_OK) {
        term.quiet = term.quiet || quiet_in(c, opts);
        s = c->run(opts, n_pos, argv, e);
    }
    rex_arena_close(a);
    return s;
}

rex_status rex_cli_call(int argc, char **argv, bool quiet, rex_buf *out, rex_err *e) {
    int words = 0;
    const bool was = term.quiet;
    rex_assert(argc > 0 && !term.capture);
    const rex_cmd *const c = find(argc, argv, &words);
    rex_assert(c != NULL);
    term.capture = out;
    term.quiet = term.quiet || quiet;
    const rex_status s = run(c, argc - words, argv + words, e);
    term.quiet = was;
    term.capture = NULL;
    return s;
}

static rex_status man(int argc, char **argv, rex_err *e) {
    if (argc == 0) return man_all(e);
    if (strcmp(argv[0], "--list") == 0) return man_list(e);
    int words;
    const rex_cmd *const c = find(argc, argv, &words);
    return c ? man_one(c, e) : no_command(argc, argv, e);
}

static rex_status dispatch(int argc, char **argv, rex_err *e) {
    if (argc == 0) {
        (void)help_all(NULL);
        return rex_fail(e, REX_EARG, -1, "a command is needed");
    }
    const char *const w = argv[0];
    if (strcmp(w, "--version") == 0 || strcmp(w, "version") == 0) {
        rex_buf b;
        rex_buf_init(&b, 0);
        rex_buf_addf(&b, "repexp %s\n", rex_version());
        return say(&b, e);
    }
    int words;
    const bool help = strcmp(w, "help") == 0;
    if (strcmp(w, "--help") == 0 || strcmp(w, "-h") == 0 || (help && argc == 1)) return help_all(e);
    if (strcmp(w, "man") == 0) return man(argc - 1, argv + 1, e);
    const rex_cmd *const c = find(argc - help, argv + help, &words);
    if (!c) return no_command(argc - help, argv + help, e);
    return help ? help_one(c, e) : run(c, argc - words, argv + words, e);
}

/* ---- the process ------------------------------------------------------------------------ */

static void on_signal(int sig) {
    (void)sig;
    rex_cancel_request();
}

static void signals(void) {
    struct sigaction stop = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&stop.sa_mask);
    (void)sigaction(SIGINT, &stop, NULL);
    (void)sigaction(SIGTERM, &stop, NULL);
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigemptyset(&ignore.sa_mask);
    (void)sigaction(SIGPIPE, &ignore, NULL); /* write() tells; files left aside are removed */
}

int main(int argc, char **argv) {
    term.tty = isatty(STDERR_FILENO) == 1;
    signals();
    const char *const fail_at = getenv("REPEXP_FAIL_ALLOC"); /* tests: this allocation fails */
    int64_t nth = 0;
    if (fail_at && rex_jraw_i64(rex_str_of(fail_at), &nth, NULL) == REX_OK) rex_mem_fail_at(nth);
    rex_log_set(on_log, NULL, REX_LOG_INFO);
    rex_progress_set(on_progress, NULL, term.tty ? 0.2 : 5.0);
    rex_err e = {.code = REX_OK, .at = -1};
    const rex_status s = dispatch(argc - 1, argv + (argc > 0), &e);
    clear_line();
    if (s != REX_OK && !term.stdout_gone && rex_cli_rank() == 0)
        fprintf(stderr, "repexp: %s\n", e.text[0] ? e.text : rex_status_text(s));
    rex_cli_ranks_close();
    if (s == REX_OK) return 0;
    return s == REX_EARG ? 2 : s == REX_ECANCEL ? 130 : 1;
}
