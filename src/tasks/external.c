/* SPDX-License-Identifier: MIT
 *
 * external.c: a verifier of someone else's: any program that reads one JSON object a line,
 * {"id", "prompt", "answer", "response"}, and answers one a line, {"id", "verdict", "reward",
 * "reason"}, in any order. It is kept running; up to 32 requests are on their way at a time.
 * Where it hangs, dies, floods or talks nonsense, the oldest unanswered request is `broken` (it is
 * the one that a program working in order was busy with), the program is started anew and the
 * others are sent again. Five broken in a row end the run.
 * Invariant: no claim is lost, none gets another's verdict, and no zero reward is made up here.
 */
#include "tasks.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

enum { WINDOW = 32, ROW_END = 5, LINE_MAX_BYTES = 1 << 20, MAX_WORDS = 64 };

typedef struct {
    uint64_t id;
    size_t claim;
} flight;

typedef struct {
    char *words; /* owned: the command, cut into argv */
    char *argv[MAX_WORDS + 1];
    pid_t pid;   /* 0: not running */
    bool reaped; /* it has ended; what it started may still run */
    int status;
    int in, out;
    rex_buf to, from; /* not yet sent; not yet a whole line */
    size_t sent;
    flight fly[WINDOW]; /* the oldest first */
    size_t n_fly;
    uint64_t next_id;
    double since; /* when the oldest could be worked on */
    int row;      /* broken in a row */
} verifier;

/* ---- the command ---- */

/* Words as a shell cuts them: blanks between, '...', "..." and backslashes; nothing is expanded. */
static rex_status cut_words(verifier *v, const char *cmd, rex_err *e) {
    size_t n = 0;
    char *to = v->words;
    const char *p = cmd;
    for (;;) {
        while (*p == ' ' || *p == '\t') p++;
        if (!*p) break;
        if (n == MAX_WORDS)
            return rex_fail(e, REX_EARG, -1, "external: --cmd has more than %d words", MAX_WORDS);
        v->argv[n++] = to;
        char quote = 0;
        for (; *p && (quote || (*p != ' ' && *p != '\t')); p++) {
            if (quote ? *p == quote : *p == '\'' || *p == '"') {
                quote = quote ? 0 : *p;
            } else if (*p == '\\' && quote != '\'' && p[1]) {
                *to++ = *++p;
            } else {
                *to++ = *p;
            }
        }
        if (quote)
            return rex_fail(e, REX_EARG, -1, "external: --cmd has a quote that is not closed");
        *to++ = 0;
    }
    if (n == 0) return rex_fail(e, REX_EARG, -1, "external: give --cmd 'PROG ARGS'");
    return REX_OK;
}

static rex_status open_external(rex_task *t, rex_err *e) {
    const char *cmd = t->opt.cmd ? t->opt.cmd : "";
    verifier *v = rex_mem_take(1, sizeof *v, e);
    if (!v) return REX_ENOMEM;
    t->state = v;
    v->in = v->out = -1;
    rex_buf_init(&v->to, 0);
    rex_buf_init(&v->from, 2 * LINE_MAX_BYTES);
    v->words = rex_mem_take(strlen(cmd) + 2, 1, e);
    return v->words ? cut_words(v, cmd, e) : REX_ENOMEM;
}

/* ---- the process ---- */

static void shut(int *fd) {
    if (*fd >= 0) (void)close(*fd);
    *fd = -1;
}

/* Has the program itself ended? What it started may hold its output open. */
static bool ended(verifier *v) {
    if (!v->reaped && waitpid(v->pid, &v->status, WNOHANG) == v->pid) v->reaped = true;
    return v->reaped;
}

/* Ends the program and everything it started; tells how it had ended if it was already gone. */
static void stop(verifier *v, char *how, size_t room) {
    if (how) snprintf(how, room, "closed its output");
    if (v->pid) {
        if (how && !ended(v)) {
            /* an end of its output comes a moment before its own end */
            const struct timespec moment = { 0, 50000000 };
            (void)nanosleep(&moment, NULL);
        }
        const bool gone = ended(v);
        (void)kill(-v->pid, SIGKILL);
        if (!gone) {
            while (waitpid(v->pid, &v->status, 0) < 0 && errno == EINTR) continue;
        } else if (how && WIFEXITED(v->status)) {
            snprintf(how, room, "ended with status %d", WEXITSTATUS(v->status));
        } else if (how && WIFSIGNALED(v->status)) {
            snprintf(how, room, "was killed by signal %d", WTERMSIG(v->status));
        }
    }
    v->pid = 0;
    v->reaped = false;
    shut(&v->in);
    shut(&v->out);
    rex_buf_reset(&v->to);
    rex_buf_reset(&v->from);
    v->sent = 0;
}

static void close_external(rex_task *t) {
    verifier *v = t->state;
    if (!v) return;
    if (v->pid) {
        /* the end of its input asks it to go; it gets a tenth of a second */
        shut(&v->in);
        for (int k = 0; k < 10 && !ended(v); k++) {
            const struct timespec moment = { 0, 10000000 };
            (void)nanosleep(&moment, NULL);
        }
    }
    stop(v, NULL, 0);
    rex_buf_free(&v->to);
    rex_buf_free(&v->from);
    rex_mem_free(v->words);
    rex_mem_free(v);
}

static bool ours_only(int fd) {
    return fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 && fcntl(fd, F_SETFL, O_NONBLOCK) == 0;
}

static int spawn(verifier *v, int in, int out) {
    posix_spawn_file_actions_t acts;
    posix_spawnattr_t attr;
    sigset_t none;
    sigset_t pipe_only;
    if (posix_spawn_file_actions_init(&acts) != 0) return ENOMEM;
    if (posix_spawnattr_init(&attr) != 0) {
        (void)posix_spawn_file_actions_destroy(&acts);
        return ENOMEM;
    }
    sigemptyset(&none);
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    int rc = posix_spawn_file_actions_adddup2(&acts, in, 0);
    if (!rc) rc = posix_spawn_file_actions_adddup2(&acts, out, 1);
    if (!rc) rc = posix_spawnattr_setpgroup(&attr, 0);
    if (!rc) rc = posix_spawnattr_setsigmask(&attr, &none);
    if (!rc) rc = posix_spawnattr_setsigdefault(&attr, &pipe_only);
    if (!rc)
        rc = posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                                 POSIX_SPAWN_SETSIGDEF);
    pid_t pid = 0;
    if (!rc) rc = posix_spawnp(&pid, v->argv[0], &acts, &attr, v->argv, environ);
    if (!rc) v->pid = pid;
    (void)posix_spawnattr_destroy(&attr);
    (void)posix_spawn_file_actions_destroy(&acts);
    return rc;
}

/* Its input is a socket, because a write to a closed one can be told not to raise a signal. */
static rex_status start(verifier *v, rex_err *e) {
    int in[2];
    int out[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, in) != 0)
        return rex_fail(e, REX_ECHILD, -1, "external: no socket for '%s': %s", v->argv[0],
                        strerror(errno));
    if (pipe(out) != 0) {
        (void)close(in[0]);
        (void)close(in[1]);
        return rex_fail(e, REX_ECHILD, -1, "external: no pipe for '%s': %s", v->argv[0],
                        strerror(errno));
    }
    const bool ok = ours_only(in[0]) && ours_only(out[0]) &&
                    fcntl(in[1], F_SETFD, FD_CLOEXEC) == 0 &&
                    fcntl(out[1], F_SETFD, FD_CLOEXEC) == 0;
    const int rc = ok ? spawn(v, in[1], out[1]) : errno;
    (void)close(in[1]);
    (void)close(out[1]);
    v->in = in[0];
    v->out = out[0];
    if (rc == 0) return REX_OK;
    shut(&v->in);
    shut(&v->out);
    return rex_fail(e, REX_ECHILD, -1, "external: cannot start '%s': %s", v->argv[0], strerror(rc));
}

/* ---- requests and answers ---- */

static rex_status ask(verifier *v, const rex_claim *c, size_t claim, rex_err *e) {
    rex_jw w;
    const flight f = { v->next_id++, claim };
    rex_jw_init(&w, &v->to);
    rex_jw_obj(&w);
    rex_jw_key(&w, "id");
    rex_jw_i64(&w, (int64_t)f.id);
    const struct {
        const char *key;
        rex_str json;
    } parts[] = { { "prompt", c->prompt }, { "answer", c->answer }, { "problem", c->problem } };
    for (int i = 0; i < 3; i++)
        if (parts[i].json.p) {
            rex_jw_key(&w, parts[i].key);
            rex_jw_raw(&w, parts[i].json);
        }
    rex_jw_key(&w, "response");
    rex_jw_str(&w, c->response);
    if (c->finish.n) {
        rex_jw_key(&w, "finish");
        rex_jw_str(&w, c->finish);
    }
    rex_jw_obj_end(&w);
    rex_buf_add(&v->to, "\n", 1);
    if (v->n_fly == 0) v->since = rex_clock();
    v->fly[v->n_fly++] = f;
    return rex_buf_check(&v->to, e);
}

typedef struct {
    rex_task *t;
    verifier *v;
    const rex_claim *c;
    size_t n, next, n_done; /* claims: all, the next never asked, those with a verdict */
    size_t *again;          /* asked, to be asked again: a stack, the oldest on top */
    size_t n_again;
    rex_arena *a;
    rex_judged *out;
} run;

/* The oldest is broken. Too many in a row: the run is over. */
static rex_status give_up_oldest(run *r, const char *why, rex_err *e) {
    verifier *v = r->v;
    rex_judged *o = &r->out[v->fly[0].claim];
    *o = (rex_judged){ .reward = (double)NAN };
    REX_TRY(rex_judge(r->a, o, e, REX_VERDICT_broken, "the verifier %s", why));
    r->n_done++;
    for (size_t i = v->n_fly; i-- > 1;) r->again[r->n_again++] = v->fly[i].claim;
    v->n_fly = 0;
    rex_say(REX_LOG_WARN, "external: the verifier %s; response %zu is 'broken'", why, r->n_done);
    if (++v->row < ROW_END) return REX_OK;
    v->row = 0;
    return rex_fail(e, REX_ECHILD, -1,
                    "external: '%s' failed on %d responses in a row; at the last it %s", v->argv[0],
                    ROW_END, why);
}

static rex_status restart(run *r, const char *why, rex_err *e) {
    char how[64];
    stop(r->v, how, sizeof how);
    return give_up_oldest(r, why ? why : how, e);
}

static rex_verdict verdict_named(rex_str s) {
    for (int v = 0; v < REX_VERDICT_COUNT; v++)
        if (rex_str_is(s, rex_verdict_name((rex_verdict)v))) return (rex_verdict)v;
    return REX_VERDICT_COUNT;
}

/* What the fields say into `o`; false: nonsense. A reward without a verdict is one by itself: 1 is
 * correct, less is wrong, null is broken. */
static bool read_fields(run *r, const rex_str *raw, rex_judged *o, rex_status *s, rex_err *e) {
    rex_str name = { NULL, 0 };
    double reward = (double)NAN;
    const bool null = raw[2].p && rex_jraw_kind(raw[2]) == REX_J_NULL;
    if (raw[2].p && !null && rex_jraw_f64(raw[2], &reward, NULL) != REX_OK) return false;
    if (!raw[1].p && !raw[2].p) return false;
    o->verdict = null            ? REX_VERDICT_broken
                 : reward >= 1.0 ? REX_VERDICT_correct
                                 : REX_VERDICT_wrong;
    if (raw[1].p) {
        if (rex_jraw_str(r->a, raw[1], &name, NULL) != REX_OK) return false;
        o->verdict = verdict_named(name);
        if (o->verdict == REX_VERDICT_COUNT) return false;
        if (!raw[2].p) reward = o->verdict == REX_VERDICT_correct ? 1.0 : 0.0;
    }
    if (null || o->verdict == REX_VERDICT_broken) {
        o->verdict = REX_VERDICT_broken;
        reward = (double)NAN;
    }
    o->reward = reward;
    rex_str text = { "", 0 };
    if (raw[3].p && rex_jraw_kind(raw[3]) == REX_J_STR &&
        rex_jraw_str(r->a, raw[3], &text, NULL) != REX_OK)
        return false;
    *s = rex_str_copy(r->a, text, &o->reason, e);
    if (*s == REX_OK && raw[4].p && rex_jraw_kind(raw[4]) == REX_J_STR) {
        if (rex_jraw_str(r->a, raw[4], &text, NULL) != REX_OK) return false;
        *s = rex_str_copy(r->a, text, &o->extracted, e);
    }
    return true;
}

static rex_status take_answer(run *r, rex_str line, rex_err *e) {
    static const char *const names[] = { "id", "verdict", "reward", "reason", "extracted" };
    verifier *v = r->v;
    rex_str want[5];
    rex_str raw[5];
    int64_t id = -1;
    for (int i = 0; i < 5; i++) want[i] = rex_str_of(names[i]);
    size_t k = v->n_fly;
    if (rex_jscan(line, want, 5, raw, NULL) == REX_OK && raw[0].p &&
        rex_jraw_i64(raw[0], &id, NULL) == REX_OK)
        for (k = 0; k < v->n_fly && v->fly[k].id != (uint64_t)id; k++) continue;
    rex_judged o = { .reward = (double)NAN };
    rex_status s = REX_OK;
    if (k == v->n_fly || !read_fields(r, raw, &o, &s, e)) {
        char why[200];
        snprintf(why, sizeof why, "answered nonsense: '%.*s'", (int)(line.n > 120 ? 120 : line.n),
                 line.p);
        return restart(r, why, e);
    }
    REX_TRY(s);
    const size_t claim = v->fly[k].claim;
    r->out[claim] = o;
    memmove(&v->fly[k], &v->fly[k + 1], (v->n_fly - k - 1) * sizeof *v->fly);
    v->n_fly--;
    v->since = rex_clock();
    r->n_done++;
    if (r->t->told) REX_TRY(r->t->told(r->t->told_ud, claim, 1, &r->out[claim], e));
    v->row = o.verdict == REX_VERDICT_broken ? v->row + 1 : 0;
    if (v->row < ROW_END) return REX_OK;
    v->row = 0;
    return rex_fail(e, REX_ECHILD, -1, "external: '%s' called %d responses in a row 'broken'",
                    v->argv[0], ROW_END);
}

/* Whole lines of what has come in. A restart on the way empties the buffer. */
static rex_status take_lines(run *r, rex_err *e) {
    verifier *v = r->v;
    size_t at = 0;
    while (v->pid && at < v->from.n) {
        const char *p = v->from.p + at;
        const char *end = memchr(p, '\n', v->from.n - at);
        if (!end) break;
        rex_str line = rex_trim((rex_str){ p, (size_t)(end - p) });
        at += (size_t)(end - p) + 1;
        if (line.n == 0) continue;
        REX_TRY(take_answer(r, line, e));
    }
    if (!v->pid) return REX_OK;
    if (at) {
        memmove(v->from.p, v->from.p + at, v->from.n - at);
        v->from.n -= at;
    }
    if (v->from.n > LINE_MAX_BYTES)
        return restart(r, "floods its output: a line of more than 1 MiB", e);
    return REX_OK;
}

static rex_status receive(run *r, rex_err *e) {
    verifier *v = r->v;
    char part[16384];
    const ssize_t n = read(v->out, part, sizeof part);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return REX_OK;
    if (n <= 0) return restart(r, NULL, e);
    rex_buf_add(&v->from, part, (size_t)n);
    REX_TRY(rex_buf_check(&v->from, e));
    return take_lines(r, e);
}

static rex_status send_some(run *r, rex_err *e) {
    verifier *v = r->v;
    const ssize_t n = send(v->in, v->to.p + v->sent, v->to.n - v->sent, MSG_NOSIGNAL);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return REX_OK;
    if (n < 0) return restart(r, NULL, e);
    v->sent += (size_t)n;
    if (v->sent == v->to.n) {
        rex_buf_reset(&v->to);
        v->sent = 0;
    }
    return REX_OK;
}

static rex_status turn(run *r, rex_err *e) {
    verifier *v = r->v;
    if (!v->pid) REX_TRY(start(v, e));
    while (v->n_fly < WINDOW && (r->n_again || r->next < r->n)) {
        const size_t claim = r->n_again ? r->again[--r->n_again] : r->next++;
        REX_TRY(ask(v, &r->c[claim], claim, e));
    }
    const double left = v->since + r->t->opt.deadline - rex_clock();
    if (left <= 0) {
        char why[100];
        snprintf(why, sizeof why, "gave no answer within %g s", r->t->opt.deadline);
        return restart(r, why, e);
    }
    const bool more = v->sent < v->to.n;
    struct pollfd p[2] = { { .fd = v->out, .events = POLLIN },
                           { .fd = v->in, .events = (short)(more ? POLLOUT : 0) } };
    const double wait = left > 0.25 ? 0.25 : left; /* so that a cancellation is seen */
    const int events = poll(p, more ? 2 : 1, (int)(wait * 1000) + 1);
    if (events < 0 && errno != EINTR)
        return rex_fail(e, REX_ECHILD, -1, "external: poll: %s", strerror(errno));
    if (events <= 0) return events == 0 && ended(v) ? restart(r, NULL, e) : REX_OK;
    if (p[0].revents) return receive(r, e);
    if (more && p[1].revents) return send_some(r, e);
    return REX_OK;
}

static rex_status verify_external(rex_task *t, const rex_claim *c, size_t n, rex_arena *a,
                                  rex_judged *out, rex_err *e) {
    verifier *v = t->state;
    run r = { .t = t, .v = v, .c = c, .n = n, .a = a, .out = out };
    r.again = rex_mem_take(WINDOW, sizeof *r.again, e);
    if (!r.again) return REX_ENOMEM;
    v->n_fly = 0;
    rex_status s = REX_OK;
    while (s == REX_OK && r.n_done < n) {
        s = rex_cancelled() ? rex_fail(e, REX_ECANCEL, -1, "stopped while verifying") : turn(&r, e);
    }
    if (s != REX_OK) stop(v, NULL, 0); /* what is still on its way must not meet the next call */
    rex_mem_free(r.again);
    return s;
}

const rex_task_kind rex_task_kind_external = {
    .info = { "external", "a program of yours decides: --cmd, one JSON object a line",
              "prompt, answer", false, false },
    .open = open_external,
    .close = close_external,
    .verify_all = verify_external,
};
