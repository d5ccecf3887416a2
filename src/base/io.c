/* SPDX-License-Identifier: MIT
 *
 * io: lines in, files out, folders.
 *
 * Output goes to a file beside the final one, is synced and then renamed: under the final name
 * there is the old content or the whole new one, never a part. The exception is append mode, for
 * records that are valid line by line: a torn last line from an earlier kill is cut off when the
 * file is opened again. Writes are sticky: the first failure is kept and told at the end.
 */
#include "base.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- lines ------------------------------------------------------------------------------ */

#define PART ((size_t)1 << 18)     /* bytes read at a time from a stream */
#define LINE_MAX ((size_t)1 << 31) /* a line longer than that is no line */
#define PATH_ROOM 4096             /* longer ones the system refuses itself */
#define DROP ((size_t)32 << 20)    /* mapped pages are given back in pieces of this size */

struct rex_lines {
    rex_map *map; /* owned; NULL for streams */
    const char *p, *end, *dropped;
    rex_buf buf; /* streams: bytes read and not yet given out start at `at` */
    size_t at;
    int fd;
    bool own_fd, eof;
    int64_t no;
    char name[256];
};

rex_status rex_lines_open(const char *path, rex_lines **out, rex_err *e) {
    *out = NULL;
    rex_lines *const l = rex_mem_take(1, sizeof *l, e);
    if (!l) return REX_ENOMEM;
    l->fd = -1;
    rex_buf_init(&l->buf, LINE_MAX);
    const bool in = strcmp(path, "-") == 0;
    (void)snprintf(l->name, sizeof l->name, "%s", in ? "stdin" : path);
    rex_status s = REX_OK;
    struct stat st;
    if (!in && stat(path, &st) == 0 && S_ISREG(st.st_mode)) {
        s = rex_map_open(path, &l->map, e);
        if (s == REX_OK) {
            const rex_view v = rex_map_view(l->map);
            l->p = l->dropped = (const char *)v.p;
            l->end = l->p ? l->p + v.n : NULL;
        }
    } else {
        l->fd = in ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
        l->own_fd = !in;
        if (l->fd < 0) s = rex_fail(e, REX_EIO, -1, "%s: cannot open: %s", path, strerror(errno));
    }
    if (s != REX_OK) {
        rex_lines_close(l);
        return s;
    }
    *out = l;
    return REX_OK;
}

/* Takes the line end off; a carriage return before it belongs to it. */
static rex_str chomp(const char *p, size_t n) {
    if (n && p[n - 1] == '\r') n--;
    return (rex_str){p, n};
}

/* More bytes behind those in the buffer; those given out are dropped first. */
static rex_status refill(rex_lines *l, rex_err *e) {
    if (l->at > 0) {
        l->buf.n -= l->at;
        memmove(l->buf.p, l->buf.p + l->at, l->buf.n);
        l->at = 0;
    }
    static const char blank[4096];
    const size_t have = l->buf.n;
    size_t want = have > PART ? have : PART;
    for (size_t n = want; n > 0;) { /* the buffer grows by its own rules, cap included */
        const size_t part = n < sizeof blank ? n : sizeof blank;
        rex_buf_add(&l->buf, blank, part);
        n -= part;
    }
    if (l->buf.bad == REX_ELIMIT)
        return rex_fail(e, REX_ELIMIT, l->no + 1, "%s: line %lld: longer than %zu bytes", l->name,
                        (long long)l->no + 1, LINE_MAX);
    REX_TRY(rex_buf_check(&l->buf, e));
    ssize_t n;
    do {
        n = read(l->fd, l->buf.p + have, want);
    } while (n < 0 && errno == EINTR && !rex_cancelled());
    if (n < 0 && errno == EINTR) return rex_fail(e, REX_ECANCEL, -1, "%s: stopped", l->name);
    if (n < 0) return rex_fail(e, REX_EIO, -1, "%s: cannot read: %s", l->name, strerror(errno));
    l->buf.n = have + (size_t)n;
    l->eof = n == 0;
    return REX_OK;
}

static rex_status stream_next(rex_lines *l, rex_str *line, bool *more, rex_err *e) {
    size_t from = l->at; /* where to look on for the line end */
    for (;;) {
        const size_t left = l->buf.n - from;
        const char *const base = l->buf.p;
        const char *const nl = left ? memchr(base + from, '\n', left) : NULL;
        if (nl || (l->eof && l->buf.n > l->at)) {
            const char *const start = base + l->at;
            const char *const stop = nl ? nl : base + l->buf.n;
            *line = chomp(start, (size_t)(stop - start));
            l->at = (size_t)(stop - base) + (nl != NULL);
            *more = true;
            return REX_OK;
        }
        if (l->eof) return REX_OK;
        const size_t seen = l->buf.n - l->at;
        REX_TRY(refill(l, e));
        from = seen;
    }
}

rex_status rex_lines_next(rex_lines *l, rex_str *line, int64_t *no, bool *more, rex_err *e) {
    *more = false;
    *line = (rex_str){NULL, 0};
    if (!l->map) {
        REX_TRY(stream_next(l, line, more, e));
    } else if (l->p < l->end) {
        const size_t left = (size_t)(l->end - l->p);
        const char *const nl = memchr(l->p, '\n', left);
        *line = chomp(l->p, nl ? (size_t)(nl - l->p) : left);
        l->p = nl ? nl + 1 : l->end;
        *more = true;
        if ((size_t)(line->p - l->dropped) >= DROP) {
            rex_map_drop(l->map,
                         (rex_view){(const uint8_t *)l->dropped, (size_t)(line->p - l->dropped)});
            l->dropped = line->p;
        }
    }
    if (*more) l->no++;
    *no = l->no;
    return REX_OK;
}

bool rex_lines_stay(const rex_lines *l) { return l->map != NULL; }

void rex_lines_close(rex_lines *l) {
    if (!l) return;
    rex_map_close(l->map);
    rex_buf_free(&l->buf);
    if (l->own_fd && l->fd >= 0) (void)close(l->fd);
    rex_mem_free(l);
}

/* ---- output ----------------------------------------------------------------------------- */

#define OUT_ROOM ((size_t)1 << 16)

struct rex_out {
    int fd;
    bool own_fd, append, aside; /* aside: `temp` must be renamed to `path` */
    int bad;                    /* errno of the first failed write */
    bool no_memory;             /* a formatted piece did not fit into memory */
    size_t n;
    char *path, *temp; /* in `names` */
    rex_buf names;
    char part[OUT_ROOM];
};

static rex_status out_fail(const rex_out *o, const char *what, int err, rex_err *e) {
    return rex_fail(e, REX_EIO, -1, "%s: cannot %s: %s", o->path, what, strerror(err));
}

/* Names beside the final one: path.tmp-PID-N, so that neither threads nor processes meet. */
static rex_status out_names(rex_out *o, const char *path, rex_err *e) {
    static atomic_uint serial;
    rex_buf_add(&o->names, path, strlen(path) + 1);
    const size_t at = o->names.n;
    rex_buf_addf(&o->names, "%s.tmp-%ld-%u", path, (long)getpid(), atomic_fetch_add(&serial, 1));
    REX_TRY(rex_buf_check(&o->names, e));
    o->path = o->names.p;
    o->temp = o->names.p + at;
    return REX_OK;
}

/* A torn last line, left by a kill, is cut off before new records follow. */
static rex_status cut_torn(rex_out *o, rex_err *e) {
    struct stat st;
    if (fstat(o->fd, &st) != 0) return out_fail(o, "read", errno, e);
    if (!S_ISREG(st.st_mode) || st.st_size == 0) return REX_OK;
    off_t end = st.st_size;
    char part[4096];
    while (end > 0) {
        const off_t from = end > (off_t)sizeof part ? end - (off_t)sizeof part : 0;
        const ssize_t n = pread(o->fd, part, (size_t)(end - from), from);
        if (n != end - from) return out_fail(o, "read", n < 0 ? errno : EIO, e);
        ssize_t i = n;
        while (i > 0 && part[i - 1] != '\n') i--;
        end = from + i;
        if (i > 0) break;
    }
    if (end == st.st_size) return REX_OK;
    rex_say(REX_LOG_WARN, "%s: a torn last line of %lld bytes was cut off", o->path,
            (long long)(st.st_size - end));
    if (ftruncate(o->fd, end) != 0) return out_fail(o, "cut its torn last line", errno, e);
    return REX_OK;
}

/* Locks what is open. A file system without locks lets everybody. */
static bool lock_open(int fd) {
    return flock(fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK;
}

/* Two programs that append to one file would mix their lines. */
static rex_status claim(rex_out *o, rex_err *e) {
    if (lock_open(o->fd)) return REX_OK;
    return rex_fail(e, REX_EIO, -1,
                    "%s: another program is writing this file; wait for it, or name another file",
                    o->path);
}

static rex_status begin_anew(rex_out *o, rex_err *e) {
    struct stat st;
    if (fstat(o->fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size == 0) return REX_OK;
    return ftruncate(o->fd, 0) == 0 ? REX_OK : out_fail(o, "empty", errno, e);
}

typedef enum { ASIDE, APPEND, ANEW } out_mode;

static rex_status out_start(const char *path, out_mode mode, rex_out **out, rex_err *e) {
    const bool append = mode != ASIDE;
    *out = NULL;
    rex_out *const o = rex_mem_take(1, sizeof *o, e);
    if (!o) return REX_ENOMEM;
    o->fd = -1;
    o->append = append;
    rex_buf_init(&o->names, 0);
    rex_status s = out_names(o, path, e);
    struct stat st;
    if (s != REX_OK) {
        rex_out_close(o);
        return s;
    }
    if (strcmp(path, "-") == 0) {
        o->fd = STDOUT_FILENO;
        memcpy(o->path, "-", 2);
    } else if (append || (stat(path, &st) == 0 && !S_ISREG(st.st_mode))) {
        /* Devices and pipes cannot be renamed over: they are written as they are. */
        o->own_fd = true;
        o->fd = open(path, append ? O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC : O_WRONLY | O_CLOEXEC,
                     0666);
        if (o->fd < 0) s = out_fail(o, "open for writing", errno, e);
        else if (append) s = claim(o, e);
        if (append && s == REX_OK) s = mode == ANEW ? begin_anew(o, e) : cut_torn(o, e);
    } else {
        o->own_fd = true;
        o->fd = open(o->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (o->fd < 0) s = out_fail(o, "open for writing", errno, e);
        else o->aside = true;
    }
    if (s != REX_OK) {
        rex_out_close(o);
        return s;
    }
    *out = o;
    return REX_OK;
}

rex_status rex_out_open(const char *path, rex_out **out, rex_err *e) {
    return out_start(path, ASIDE, out, e);
}

rex_status rex_out_append(const char *path, rex_out **out, rex_err *e) {
    return out_start(path, APPEND, out, e);
}

rex_status rex_out_anew(const char *path, rex_out **out, rex_err *e) {
    return out_start(path, ANEW, out, e);
}

static void write_all(rex_out *o, const char *p, size_t n) {
    while (n > 0 && !o->bad) {
        const ssize_t w = write(o->fd, p, n);
        if (w < 0 && errno == EINTR) continue;
        if (w < 0) {
            o->bad = errno;
            return;
        }
        p += w;
        n -= (size_t)w;
    }
}

void rex_out_add(rex_out *o, const void *p, size_t n) {
    if (o->bad) return;
    if (n > OUT_ROOM - o->n) {
        write_all(o, o->part, o->n);
        o->n = 0;
        if (n >= OUT_ROOM) {
            write_all(o, p, n);
            return;
        }
    }
    if (n) memcpy(o->part + o->n, p, n);
    o->n += n;
}

void rex_out_addf(rex_out *o, const char *fmt, ...) {
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    const int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (n >= 0 && (size_t)n < sizeof text) {
        rex_out_add(o, text, (size_t)n);
        return;
    }
    char *const big = n < 0 ? NULL : rex_mem_take((size_t)n + 1, 1, NULL);
    if (!big) {
        o->no_memory = true;
        return;
    }
    va_start(ap, fmt);
    (void)vsnprintf(big, (size_t)n + 1, fmt, ap);
    va_end(ap);
    rex_out_add(o, big, (size_t)n);
    rex_mem_free(big);
}

rex_status rex_out_flush(rex_out *o, rex_err *e) {
    write_all(o, o->part, o->n);
    o->n = 0;
    if (o->bad) return out_fail(o, "write", o->bad, e);
    if (o->no_memory)
        return rex_fail(e, REX_ENOMEM, -1, "%s: out of memory while writing", o->path);
    return REX_OK;
}

/* The rename is only as durable as the folder that holds it; not every one can be synced. */
static void sync_around(const char *path) {
    char dir[PATH_ROOM];
    const char *const slash = strrchr(path, '/');
    const size_t n = slash ? (size_t)(slash - path) + 1 : 1;
    if (n >= sizeof dir) return;
    memcpy(dir, slash ? path : ".", n);
    dir[n] = 0;
    (void)!rex_folder_sync(dir, NULL);
}

rex_status rex_out_sync(rex_out *o, rex_err *e) {
    REX_TRY(rex_out_flush(o, e));
    if (!o->own_fd) return REX_OK;
    if (fsync(o->fd) != 0 && errno != EINVAL && errno != ENOTSUP && errno != EROFS)
        return out_fail(o, "write", errno, e);
    return REX_OK;
}

static rex_status out_finish(rex_out *o, rex_err *e) {
    REX_TRY(rex_out_sync(o, e));
    if (!o->own_fd) return REX_OK;
    const int fd = o->fd;
    o->fd = -1;
    if (close(fd) != 0) return out_fail(o, "write", errno, e);
    if (!o->aside) return REX_OK;
    if (rename(o->temp, o->path) != 0) return out_fail(o, "rename into place", errno, e);
    o->aside = false;
    sync_around(o->path);
    return REX_OK;
}

rex_status rex_out_commit(rex_out *o, rex_err *e) {
    const rex_status s = out_finish(o, e);
    rex_out_close(o);
    return s;
}

void rex_out_close(rex_out *o) {
    if (!o) return;
    if (o->append && o->fd >= 0) write_all(o, o->part, o->n); /* whole records: worth keeping */
    if (o->own_fd && o->fd >= 0) (void)close(o->fd);
    if (o->aside) (void)unlink(o->temp);
    rex_buf_free(&o->names);
    rex_mem_free(o);
}

/* ---- folders ---------------------------------------------------------------------------- */

static rex_status folder_fail(const char *path, int err, rex_err *e) {
    return rex_fail(e, REX_EIO, -1, "cannot make the folder %s: %s", path, strerror(err));
}

static rex_status make_one(const char *path, bool fresh, rex_err *e) {
    struct stat st;
    if (mkdir(path, 0777) == 0) return REX_OK;
    const int err = errno;
    if (!fresh && stat(path, &st) == 0 && S_ISDIR(st.st_mode)) return REX_OK;
    return folder_fail(path, err, e);
}

rex_status rex_folder_make(const char *path, rex_folder_how how, rex_err *e) {
    char part[PATH_ROOM];
    const size_t n = strlen(path);
    if (how != REX_FOLDER_ALL) return make_one(path, how == REX_FOLDER_NEW, e);
    if (n >= sizeof part) return folder_fail(path, ENAMETOOLONG, e);
    memcpy(part, path, n + 1);
    for (size_t i = 1; i < n; i++) {
        if (part[i] != '/') continue;
        part[i] = 0;
        REX_TRY(make_one(part, false, e));
        part[i] = '/';
    }
    return make_one(path, false, e);
}

void rex_folder_remove(const char *path) {
    char file[PATH_ROOM];
    DIR *const d = opendir(path);
    for (struct dirent *f; d && (f = readdir(d)) != NULL;) {
        const int n = snprintf(file, sizeof file, "%s/%s", path, f->d_name);
        if (n > 0 && (size_t)n < sizeof file) (void)unlink(file);
    }
    if (d) (void)closedir(d);
    (void)rmdir(path);
}

rex_status rex_folder_sync(const char *path, rex_err *e) {
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return rex_fail(e, REX_EIO, -1, "%s: %s", path, strerror(errno));
    const int err = fsync(fd) == 0 ? 0 : errno;
    (void)close(fd);
    return err ? rex_fail(e, REX_EIO, -1, "%s: fsync: %s", path, strerror(err)) : REX_OK;
}

bool rex_folder_claim(const char *path, int *lock) {
    *lock = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*lock < 0 || lock_open(*lock)) return true;
    rex_folder_release(*lock);
    *lock = -1;
    return false;
}

void rex_folder_release(int lock) {
    if (lock >= 0) (void)close(lock);
}
