/* SPDX-License-Identifier: MIT
 *
 * mem: everything that asks the system for memory or files as memory: large slabs, arenas,
 * growing buffers, mapped files. The only file of the library that calls malloc.
 *
 * Invariants: every allocation passes `admit`, which counts it, lets tests make the n-th one
 * fail, and treats one inside a guarded loop as a bug; `live` returns to its old value when
 * everything is given back. Sizes are checked for overflow before they are added or multiplied.
 * Under AddressSanitizer the parts of an arena that nobody took are poisoned, so that a write
 * past an arena object is seen like one past a malloc.
 */
#define _DEFAULT_SOURCE /* madvise, MAP_ANONYMOUS */
#include "base.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define REX_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define REX_ASAN 1
#endif
#endif
#ifdef REX_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(p, n) ASAN_POISON_MEMORY_REGION((p), (n))
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION((p), (n))
#else
#define POISON(p, n) ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#endif

#define HUGE ((size_t)2 << 20) /* from here on memory comes from mmap, with huge pages asked for \
                                */
#define HEAD ((size_t)64)      /* room for the header of a slab; keeps the 64-byte alignment */
#ifdef REX_SMALL
#define BLOCK_MIN ((size_t)177)
#define BUF_MIN ((size_t)7)
#else
#define BLOCK_MIN ((size_t)16 << 10)
#define BUF_MIN ((size_t)256)
#endif
#define BLOCK_MAX ((size_t)8 << 20)
#define SPARE_MAX ((size_t)8 << 20)

/* ---- counting, failing, guarding -------------------------------------------------------- */

static atomic_int_fast64_t n_asked, n_live, fail_in;
static _Thread_local const char *guard_what;

void rex_mem_guard_begin(const char *what) { guard_what = what; }
void rex_mem_guard_end(void) { guard_what = NULL; }
void rex_mem_fail_at(int64_t n) { atomic_store(&fail_in, n); }
int64_t rex_mem_count(void) { return atomic_load(&n_asked); }
int64_t rex_mem_live(void) { return atomic_load(&n_live); }

/* False when a test wants this allocation to fail. */
static bool admit(void) {
    if (guard_what) rex_die(__FILE__, __LINE__, guard_what);
    atomic_fetch_add_explicit(&n_asked, 1, memory_order_relaxed);
    if (atomic_load_explicit(&fail_in, memory_order_relaxed) <= 0) return true;
    return atomic_fetch_sub(&fail_in, 1) != 1;
}

rex_status rex_mul_size(size_t a, size_t b, size_t *out, rex_err *e) {
    if (__builtin_mul_overflow(a, b, out))
        return rex_fail(e, REX_ELIMIT, -1, "%zu x %zu bytes do not fit into an address", a, b);
    return REX_OK;
}

static rex_status no_memory(rex_err *e, size_t bytes) {
    return rex_fail(e, REX_ENOMEM, -1, "out of memory: %zu bytes were asked for", bytes);
}

/* ---- slabs ------------------------------------------------------------------------------ */

typedef struct {
    size_t whole; /* bytes that came from the system, header included */
    void *base;   /* what munmap takes; NULL: from malloc */
} slab_head;

/* `bytes` beyond a header of 64, aligned to 64; NULL when there is none. */
static void *slab_take(size_t bytes, bool zero) {
    size_t whole;
    if (__builtin_add_overflow(bytes, HEAD, &whole) || whole > (size_t)PTRDIFF_MAX - 2 * HUGE)
        return NULL;
    if (!admit()) return NULL;
    slab_head head = {.whole = whole};
    void *p = NULL;
#ifndef REX_ASAN
    if (whole >= HUGE) {
        /* One huge page more than needed, so that the slab can start on a huge page border. */
        head.whole = ((whole + HUGE - 1) & ~(HUGE - 1)) + HUGE;
        void *const m = mmap(NULL, head.whole, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (m == MAP_FAILED) return NULL;
        const uintptr_t start = ((uintptr_t)m + HUGE - 1) & ~(uintptr_t)(HUGE - 1);
        p = (void *)start;
        head.base = m;
        (void)madvise(p, head.whole - HUGE, MADV_HUGEPAGE); /* a wish; refusal changes nothing */
    }
#endif
    if (!p) {
        if (posix_memalign(&p, 64, whole) != 0) return NULL;
        if (zero) memset((char *)p + HEAD, 0, bytes);
    }
    memcpy(p, &head, sizeof head);
    atomic_fetch_add_explicit(&n_live, 1, memory_order_relaxed);
    return (char *)p + HEAD;
}

static void slab_give(void *p) {
    if (!p) return;
    char *const start = (char *)p - HEAD;
    slab_head head;
    memcpy(&head, start, sizeof head);
    atomic_fetch_sub_explicit(&n_live, 1, memory_order_relaxed);
    if (head.base) (void)munmap(head.base, head.whole);
    else free(start);
}

void *rex_mem_take(size_t count, size_t size, rex_err *e) {
    size_t bytes;
    if (rex_mul_size(count, size, &bytes, e) != REX_OK) return NULL;
    void *const p = slab_take(bytes, true);
    if (!p) (void)no_memory(e, bytes);
    return p;
}

void rex_mem_free(void *p) { slab_give(p); }

size_t rex_mem_whole(size_t bytes) {
    const size_t whole = bytes + HEAD;
    return whole >= HUGE ? (whole + HUGE - 1) & ~(HUGE - 1) : whole;
}

size_t rex_mem_resident(void) {
    FILE *const f = fopen("/proc/self/statm", "r");
    size_t pages = 0;
    if (!f) return 0;
    if (fscanf(f, "%*s %zu", &pages) != 1) pages = 0;
    fclose(f);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

size_t rex_mem_available(void) {
    FILE *const f = fopen("/proc/meminfo", "r");
    if (!f) return SIZE_MAX;
    char line[128];
    size_t kib = SIZE_MAX >> 10;
    while (fgets(line, sizeof line, f)) {
        unsigned long long v = 0;
        if (sscanf(line, "MemAvailable: %llu", &v) == 1) {
            kib = (size_t)v;
            break;
        }
    }
    fclose(f);
    return kib == SIZE_MAX >> 10 ? SIZE_MAX : kib << 10;
}

/* ---- arenas ----------------------------------------------------------------------------- */

typedef struct block block;
struct block {
    block *prev;
    size_t room, used; /* of the bytes after this header */
    size_t pad;
};
_Static_assert(sizeof(block) % 16 == 0, "the bytes after the header stay aligned");

struct rex_arena {
    block *top, *spare;
    size_t cap, bytes, next;
};

rex_status rex_arena_open(size_t cap, rex_arena **out, rex_err *e) {
    *out = NULL;
    rex_arena *const a = rex_mem_take(1, sizeof *a, e);
    if (!a) return REX_ENOMEM;
    a->cap = cap;
    a->next = BLOCK_MIN;
    *out = a;
    return REX_OK;
}

static void block_give(rex_arena *a, block *b) {
    a->bytes -= b->room;
    UNPOISON((char *)(b + 1), b->room);
    slab_give(b);
}

void rex_arena_close(rex_arena *a) {
    if (!a) return;
    for (block *b = a->top, *prev; b; b = prev) {
        prev = b->prev;
        block_give(a, b);
    }
    if (a->spare) block_give(a, a->spare);
    rex_mem_free(a);
}

/* A block with at least `need` bytes on top of the list. Blocks double up to 8 MiB, so that a
 * small arena stays small and a large one asks the system seldom. */
static rex_status block_push(rex_arena *a, size_t need, rex_err *e) {
    block *b = a->spare;
    a->spare = NULL;
    if (b && b->room < need) {
        block_give(a, b);
        b = NULL;
    }
    if (!b) {
        size_t room = need > a->next ? need : a->next;
        if (a->cap) {
            const size_t left = a->cap > a->bytes ? a->cap - a->bytes : 0;
            if (need > left)
                return rex_fail(e, REX_ELIMIT, -1,
                                "arena: %zu bytes more would pass its cap of %zu", need, a->cap);
            if (room > left) room = left;
        }
        if (room > (size_t)PTRDIFF_MAX - sizeof *b || !(b = slab_take(sizeof *b + room, false)))
            return no_memory(e, room);
        b->room = room;
        a->bytes += room;
        if (a->next < BLOCK_MAX) a->next *= 2;
        POISON((char *)(b + 1), room);
    }
    b->used = 0;
    b->prev = a->top;
    a->top = b;
    return REX_OK;
}

/* Where an object of `bytes` with alignment `align` would start in `b`; SIZE_MAX if it would not.
 */
static size_t fit(const block *b, size_t bytes, size_t align) {
    if (!b) return SIZE_MAX;
    const uintptr_t base = (uintptr_t)(b + 1);
    const size_t at = (size_t)(((base + b->used + align - 1) & ~(uintptr_t)(align - 1)) - base);
    return at <= b->room && bytes <= b->room - at ? at : SIZE_MAX;
}

void *rex_arena_take(rex_arena *a, size_t count, size_t size, rex_err *e) {
    size_t bytes;
    if (rex_mul_size(count, size, &bytes, e) != REX_OK) return NULL;
    const size_t align = bytes >= 4096 ? 64 : 16;
    size_t at = fit(a->top, bytes, align);
    if (at == SIZE_MAX) {
        if (bytes > (size_t)PTRDIFF_MAX - 128) {
            (void)no_memory(e, bytes);
            return NULL;
        }
        if (block_push(a, bytes + align, e) != REX_OK) return NULL;
        at = fit(a->top, bytes, align);
        rex_assert(at != SIZE_MAX);
    }
    char *const p = (char *)(a->top + 1) + at;
    a->top->used = at + bytes;
    UNPOISON(p, bytes);
    return p;
}

void *rex_arena_zero(rex_arena *a, size_t count, size_t size, rex_err *e) {
    void *const p = rex_arena_take(a, count, size, e);
    if (p) memset(p, 0, count * size);
    return p;
}

rex_mark rex_arena_mark(rex_arena *a) {
    return (rex_mark){.block = a->top, .used = a->top ? a->top->used : 0};
}

/* The largest block given back is kept for the next round of the loop that marks and goes back;
 * one above 8 MiB is not, or a single large call would hold its memory for ever. */
void rex_arena_back(rex_arena *a, rex_mark m) {
    while (a->top != m.block) {
        block *const b = a->top;
        rex_assert(b != NULL);
        a->top = b->prev;
        block *drop = b;
        if (b->room <= SPARE_MAX && (!a->spare || a->spare->room < b->room)) {
            drop = a->spare;
            a->spare = b;
            POISON((char *)(b + 1), b->room);
        }
        if (drop) block_give(a, drop);
    }
    if (!a->top) return;
    rex_assert(m.used <= a->top->used);
    a->top->used = m.used;
    POISON((char *)(a->top + 1) + m.used, a->top->room - m.used);
}

size_t rex_arena_bytes(const rex_arena *a) { return a->bytes; }

/* ---- text ------------------------------------------------------------------------------- */

rex_status rex_str_copy(rex_arena *a, rex_str s, rex_str *out, rex_err *e) {
    size_t room;
    if (__builtin_add_overflow(s.n, (size_t)1, &room)) return no_memory(e, s.n);
    char *const p = rex_arena_take(a, room, 1, e);
    if (!p) return e ? e->code : REX_ENOMEM;
    if (s.n) memcpy(p, s.p, s.n);
    p[s.n] = 0;
    *out = (rex_str){p, s.n};
    return REX_OK;
}

rex_status rex_str_fmt(rex_arena *a, rex_str *out, rex_err *e, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    const int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0) return rex_fail(e, REX_EBUG, -1, "a format could not be printed");
    char *const p = rex_arena_take(a, (size_t)n + 1, 1, e);
    if (!p) return e ? e->code : REX_ENOMEM;
    va_start(ap, fmt);
    (void)vsnprintf(p, (size_t)n + 1, fmt, ap);
    va_end(ap);
    *out = (rex_str){p, (size_t)n};
    return REX_OK;
}

bool rex_str_eq(rex_str a, rex_str b) {
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

rex_str rex_str_of(const char *s) { return (rex_str){s, s ? strlen(s) : 0}; }
bool rex_str_is(rex_str a, const char *b) { return rex_str_eq(a, rex_str_of(b)); }

uint64_t rex_hash64(const void *p, size_t n) {
    const uint8_t *const b = p;
    uint64_t h = 0xCBF29CE484222325u;
    for (size_t i = 0; i < n; i++) h = (h ^ b[i]) * 0x100000001B3u;
    h ^= h >> 33;
    h *= 0xFF51AFD7ED558CCDu;
    h ^= h >> 33;
    h *= 0xC4CEB9FE1A85EC53u;
    return h ^ (h >> 33);
}

/* ---- growing buffers -------------------------------------------------------------------- */

void rex_buf_init(rex_buf *b, size_t cap) { *b = (rex_buf){.cap = cap}; }

/* Room for `more` bytes and a NUL behind them; false leaves the status set. */
static bool buf_room(rex_buf *b, size_t more) {
    if (b->bad != REX_OK) return false;
    size_t need;
    if (__builtin_add_overflow(b->n, more, &need) || need >= (size_t)PTRDIFF_MAX ||
        (b->cap && need > b->cap)) {
        b->bad = REX_ELIMIT;
        return false;
    }
    need++;
    if (need <= b->room) return true;
    size_t room = b->room + b->room / 2;
    if (room < BUF_MIN) room = BUF_MIN;
    if (room < need) room = need;
    char *const p = admit() ? realloc(b->p, room) : NULL;
    if (!p) {
        b->bad = REX_ENOMEM;
        return false;
    }
    if (!b->p) atomic_fetch_add_explicit(&n_live, 1, memory_order_relaxed);
    b->p = p;
    b->room = room;
    return true;
}

void rex_buf_add(rex_buf *b, const void *p, size_t n) {
    if (!buf_room(b, n)) return;
    if (n) memcpy(b->p + b->n, p, n);
    b->n += n;
    b->p[b->n] = 0;
}

void rex_buf_addf(rex_buf *b, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    const size_t have = b->bad == REX_OK && b->room > b->n ? b->room - b->n : 0;
    const int n = vsnprintf(have ? b->p + b->n : NULL, have, fmt, ap);
    va_end(ap);
    if (n < 0) b->bad = REX_EBUG;
    if (n < 0 || !buf_room(b, (size_t)n)) {
        if (have) b->p[b->n] = 0;
        return;
    }
    if ((size_t)n >= have) {
        va_start(ap, fmt);
        (void)vsnprintf(b->p + b->n, b->room - b->n, fmt, ap);
        va_end(ap);
    }
    b->n += (size_t)n;
}

void rex_buf_reset(rex_buf *b) {
    b->n = 0;
    b->bad = REX_OK;
    if (b->p) b->p[0] = 0;
}

rex_status rex_buf_check(const rex_buf *b, rex_err *e) {
    if (b->bad == REX_ELIMIT)
        return rex_fail(e, REX_ELIMIT, (int64_t)b->n, "text grew beyond its cap of %zu bytes",
                        b->cap);
    if (b->bad == REX_ENOMEM) return no_memory(e, b->n);
    if (b->bad != REX_OK) return rex_fail(e, b->bad, -1, "a format could not be printed");
    return REX_OK;
}

void rex_buf_free(rex_buf *b) {
    if (b->p) atomic_fetch_sub_explicit(&n_live, 1, memory_order_relaxed);
    free(b->p);
    *b = (rex_buf){.cap = b->cap};
}

/* ---- views and mapped files ------------------------------------------------------------- */

rex_status rex_view_sub(rex_view all, uint64_t off, uint64_t len, rex_view *out, rex_err *e) {
    if (off > all.n || len > all.n - off)
        return rex_fail(e, REX_EFORMAT, off > INT64_MAX ? -1 : (int64_t)off,
                        "needs %llu bytes at byte %llu, but there are only %zu",
                        (unsigned long long)len, (unsigned long long)off, all.n);
    *out = (rex_view){all.n ? all.p + off : NULL, (size_t)len};
    return REX_OK;
}

struct rex_map {
    rex_view view;
    void *mapped; /* owned; NULL when the bytes are in `read` */
    rex_buf read;
};

/* Pipes and devices have no size: they are read to their end. */
static rex_status read_all(int fd, const char *path, rex_map *m, rex_err *e) {
    char part[1 << 14];
    for (;;) {
        const ssize_t n = read(fd, part, sizeof part);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return rex_fail(e, REX_EIO, -1, "%s: cannot read: %s", path, strerror(errno));
        if (n == 0) break;
        rex_buf_add(&m->read, part, (size_t)n);
        REX_TRY(rex_buf_check(&m->read, e));
    }
    m->view = (rex_view){(const uint8_t *)m->read.p, m->read.n};
    return REX_OK;
}

static rex_status map_fd(int fd, const char *path, rex_map *m, rex_err *e) {
    struct stat st;
    if (fstat(fd, &st) != 0)
        return rex_fail(e, REX_EIO, -1, "%s: cannot read: %s", path, strerror(errno));
    if (S_ISDIR(st.st_mode))
        return rex_fail(e, REX_EIO, -1, "%s: is a directory, a file was expected", path);
    if (!S_ISREG(st.st_mode) || st.st_size == 0) return read_all(fd, path, m, e);
    void *const p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED)
        return rex_fail(e, REX_EIO, -1, "%s: cannot map: %s", path, strerror(errno));
    m->mapped = p;
    m->view = (rex_view){p, (size_t)st.st_size};
    return REX_OK;
}

rex_status rex_map_open(const char *path, rex_map **out, rex_err *e) {
    *out = NULL;
    rex_map *const m = rex_mem_take(1, sizeof *m, e);
    if (!m) return REX_ENOMEM;
    rex_status s = REX_OK;
    const bool in = strcmp(path, "-") == 0;
    const int fd = in ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) s = rex_fail(e, REX_EIO, -1, "%s: cannot open: %s", path, strerror(errno));
    else s = map_fd(fd, in ? "stdin" : path, m, e);
    if (fd >= 0 && !in) (void)close(fd);
    if (s != REX_OK) {
        rex_map_close(m);
        return s;
    }
    *out = m;
    return REX_OK;
}

rex_view rex_map_view(const rex_map *m) { return m->view; }

/* The pages stay valid: touched again, they are read again from the file. */
void rex_map_drop(rex_map *m, rex_view consumed) {
    if (!m->mapped || consumed.n == 0) return;
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    const uintptr_t from = ((uintptr_t)consumed.p + page - 1) & ~(page - 1);
    const uintptr_t to = ((uintptr_t)consumed.p + consumed.n) & ~(page - 1);
    if (from < to) (void)madvise((void *)from, to - from, MADV_DONTNEED);
}

void rex_map_close(rex_map *m) {
    if (!m) return;
    if (m->mapped) (void)munmap(m->mapped, m->view.n);
    rex_buf_free(&m->read);
    rex_mem_free(m);
}
