/* SPDX-License-Identifier: MIT
 *
 * checkpoint.c: a checkpoint is a Hugging Face model folder, or a folder with an adapter in the
 * form of PEFT, plus state.safetensors, the moments of the optimiser by parameter name in the
 * orientation of the weights and, in its metadata, a JSON object with everything else. It depends
 * neither on panels nor on ranks.
 *
 * The folder is written as step_N.part, every file fsynced, then renamed, then its parent is
 * synced: a folder without .part is whole. What a kill leaves is a .part, which nobody reads and
 * the next save removes. What a disk does to a folder afterwards shows in sums over its files,
 * which stand in the metadata of the state; a folder that differs from them is passed over.
 */
#include "../model/adapter.h"
#include "sft.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { PATH_ROOM = 4096, ROWS = 8 * REX_PANEL };

static bool in_panels(const rex_grads *g, size_t i) {
    return rex_grads_weights(g, i) != g->param[i].vec;
}

/* ---- tensors out ------------------------------------------------------------------------- */

/* A parameter-shaped array (panels of f32 or bf16, or rows) as rows of f32. */
static rex_status put_rows(rex_st_out *out, const rex_grads *g, size_t i, const float *from,
                           rex_err *e) {
    const rex_param *const p = &g->param[i];
    if (!in_panels(g, i)) {
        rex_st_out_add(out, from, (size_t)(p->rows * p->cols) * sizeof *from);
        return REX_OK;
    }
    float *const row = rex_mem_take((size_t)p->cols * ROWS, sizeof *row, e);
    if (!row) return REX_ENOMEM;
    for (int64_t r = 0; r < p->rows; r += ROWS) {
        const int64_t to = r + ROWS < p->rows ? r + ROWS : p->rows;
        /* ROWS is a whole number of panels: those from row r on are a matrix of their own */
        g->m->kern.unpack(row, REX_K_F32, p->cols, from + r * p->cols, p->rows - r, p->cols, 0,
                          to - r);
        rex_st_out_add(out, row, (size_t)((to - r) * p->cols) * sizeof *row);
    }
    rex_mem_free(row);
    return REX_OK;
}

static rex_tensor shape_of(const rex_param *p, const char *name) {
    const bool vector = p->rows == 1 && p->part == 0;
    rex_tensor t = {.name = rex_str_of(name), .type = REX_T_F32, .ndim = vector ? 1 : 2};
    t.dim[0] = vector ? p->cols : p->rows;
    t.dim[1] = p->cols;
    return t;
}

static rex_status path_in(const char *folder, const char *name, char out[PATH_ROOM], rex_err *e) {
    const int n = snprintf(out, PATH_ROOM, "%s/%s", folder, name);
    return n > 0 && n < PATH_ROOM ? REX_OK
                                  : rex_fail(e, REX_EARG, -1, "the path of %s is too long", folder);
}

/* The parameters that a checkpoint holds: those of a model's adapter, where it has one, else all.
 */
static bool is_kept(const rex_grads *g, size_t i) {
    return !g->m->adapter || g->param[i].part > 0;
}

rex_status rex_weights_save(const rex_grads *g, const char *folder, rex_err *e) {
    char path[PATH_ROOM];
    REX_TRY(path_in(folder, g->m->adapter ? "adapter_model.safetensors" : "model.safetensors", path,
                    e));
    rex_tensor *const t = rex_mem_take(g->n, sizeof *t, e);
    if (!t) return REX_ENOMEM;
    size_t n = 0;
    for (size_t i = 0; i < g->n; i++)
        if (is_kept(g, i)) t[n++] = shape_of(&g->param[i], g->param[i].name);
    const rex_str meta[2] = { rex_str_of("format"), rex_str_of("pt") };
    rex_st_out *out = NULL;
    rex_status s = rex_st_out_open(path, t, n, meta, 1, &out, e);
    for (size_t i = 0; i < g->n && s == REX_OK; i++)
        if (is_kept(g, i)) s = put_rows(out, g, i, rex_grads_weights(g, i), e);
    if (s == REX_OK) s = rex_st_out_commit(out, e);
    else rex_st_out_close(out);
    rex_mem_free(t);
    return s;
}

/* ---- sums -------------------------------------------------------------------------------- */

static const char SEAL[] = "{\"__metadata__\":{\"seal\":\""; /* so the head of a state begins */
static const char UNSEALED[] = "0000000000000000";
enum { SUM_DIGITS = sizeof UNSEALED - 1 };

/* Four chains over words, side by side, for speed; h is what came before. */
static uint64_t sum_block(uint64_t h, const uint8_t *p, size_t n) {
    uint64_t lane[4] = { h, h + 1, h + 2, h + 3 };
    for (; n >= sizeof lane; p += sizeof lane, n -= sizeof lane) {
        uint64_t word[4];
        memcpy(word, p, sizeof word);
        for (int i = 0; i < 4; i++) {
            lane[i] = (lane[i] ^ word[i]) * 0x9E3779B97F4A7C15u;
            lane[i] ^= lane[i] >> 29;
        }
    }
    const uint64_t all[5] = { lane[0], lane[1], lane[2], lane[3], rex_hash64(p, n) };
    return rex_hash64(all, sizeof all);
}

/* Over a file but for the bytes from `gap` to `gap + skip`. */
static uint64_t sum_map(rex_map *m, size_t gap, size_t skip) {
    enum { BLOCK = 1 << 18 };
    const rex_view v = rex_map_view(m);
    uint64_t h = v.n;
    for (size_t at = 0; at < v.n;) {
        if (at == gap) at += skip;
        size_t n = v.n - at < BLOCK ? v.n - at : BLOCK;
        if (at < gap && gap - at < n) n = gap - at;
        h = sum_block(h, v.p + at, n);
        rex_map_drop(m, (rex_view){ v.p + at, n });
        at += n;
    }
    return h;
}

static rex_status sum_file(const char *folder, const char *name, uint64_t *sum, rex_err *e) {
    char path[PATH_ROOM];
    rex_map *m = NULL;
    REX_TRY(path_in(folder, name, path, e));
    REX_TRY(rex_map_open(path, &m, e));
    *sum = sum_map(m, SIZE_MAX, 0);
    rex_map_close(m);
    return REX_OK;
}

typedef struct {
    char text[SUM_DIGITS + 1];
} digits;

static digits digits_of(uint64_t sum) {
    digits d;
    (void)snprintf(d.text, sizeof d.text, "%016llx", (unsigned long long)sum);
    return d;
}

rex_status rex_weights_sum(const char *model, uint64_t *sum, rex_err *e) {
    static const char ending[] = ".safetensors";
    DIR *const d = opendir(model);
    *sum = 0;
    if (!d) {
        rex_map *m = NULL;
        REX_TRY(rex_map_open(model, &m, e));
        *sum = sum_map(m, SIZE_MAX, 0);
        rex_map_close(m);
        return REX_OK;
    }
    rex_status s = REX_OK;
    for (struct dirent *x; s == REX_OK && (x = readdir(d));) { /* in any order */
        const size_t n = strlen(x->d_name), tail = sizeof ending - 1;
        if (n <= tail || strcmp(x->d_name + n - tail, ending) != 0) continue;
        uint64_t pair[2] = { rex_hash64(x->d_name, n), 0 };
        s = sum_file(model, x->d_name, &pair[1], e);
        *sum += rex_hash64(pair, sizeof pair);
    }
    closedir(d);
    return s;
}

/* Where the digits of the state's own sum stand in it. */
static bool find_seal(rex_view v, size_t *at) {
    *at = sizeof(uint64_t) + sizeof SEAL - 1;
    return v.n >= *at + SUM_DIGITS && memcmp(v.p + sizeof(uint64_t), SEAL, sizeof SEAL - 1) == 0;
}

/* The sum of the state into its head, where room was left. */
static rex_status put_seal(const char *path, rex_err *e) {
    rex_map *m = NULL;
    size_t at = 0;
    digits d = { "" };
    REX_TRY(rex_map_open(path, &m, e));
    const bool found = find_seal(rex_map_view(m), &at);
    if (found) d = digits_of(sum_map(m, at, SUM_DIGITS));
    rex_map_close(m);
    if (!found) return rex_fail(e, REX_EBUG, -1, "%s: no room for its sum", path);
    const int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool good = fd >= 0 && pwrite(fd, d.text, SUM_DIGITS, (off_t)at) == SUM_DIGITS &&
                fsync(fd) == 0;
    if (fd >= 0) good = close(fd) == 0 && good;
    return good ? REX_OK : rex_fail(e, REX_EIO, -1, "%s: %s", path, strerror(errno));
}

/* `name=digits ` for every file that stands beside the state. */
static rex_status list_sums(const rex_ckpt *c, const char *folder, rex_buf *b, rex_err *e) {
    const char *const weights =
        c->g->m->adapter ? "adapter_model.safetensors" : "model.safetensors";
    for (size_t i = 0; i <= c->n_side; i++) {
        const char *const name = i < c->n_side ? c->side[i].name : weights;
        uint64_t sum = 0;
        REX_TRY(sum_file(folder, name, &sum, e));
        rex_buf_addf(b, "%s=%s ", name, digits_of(sum).text);
    }
    return rex_buf_check(b, e);
}

static rex_status damaged(const char *folder, const char *name, rex_err *e) {
    return rex_fail(e, REX_EFORMAT, -1, "%s/%s is not as it was written", folder, name);
}

static rex_status check_sums(const char *folder, rex_str list, rex_err *e) {
    while (list.n) {
        char name[64];
        const char *const eq = memchr(list.p, '=', list.n);
        const size_t n = eq ? (size_t)(eq - list.p) : 0, used = n + 1 + SUM_DIGITS + 1;
        if (n == 0 || n >= sizeof name || used > list.n)
            return damaged(folder, "state.safetensors", e);
        memcpy(name, list.p, n);
        name[n] = 0;
        uint64_t sum = 0;
        REX_TRY(sum_file(folder, name, &sum, e));
        if (memcmp(list.p + n + 1, digits_of(sum).text, SUM_DIGITS) != 0)
            return damaged(folder, name, e);
        list.p += used;
        list.n -= used;
    }
    return REX_OK;
}

/* REX_OK where every file of the folder is as it was written. */
static rex_status check_whole(const char *folder, rex_err *e) {
    char path[PATH_ROOM];
    rex_st *st = NULL;
    rex_map *m = NULL;
    size_t at = 0;
    REX_TRY(path_in(folder, "state.safetensors", path, e));
    REX_TRY(rex_st_open(path, &st, e));
    const rex_str seal = rex_st_meta(st, "seal");
    rex_status s = rex_map_open(path, &m, e);
    if (s == REX_OK && (seal.n != SUM_DIGITS || !find_seal(rex_map_view(m), &at) ||
                        memcmp(seal.p, digits_of(sum_map(m, at, SUM_DIGITS)).text, SUM_DIGITS)))
        s = damaged(folder, "state.safetensors", e);
    rex_map_close(m);
    if (s == REX_OK) s = check_sums(folder, rex_st_meta(st, "sums"), e);
    rex_st_close(st);
    return s;
}

/* ---- the state --------------------------------------------------------------------------- */

static void moment_name(char out[192], const char *which, const char *name) {
    (void)snprintf(out, 192, "%s.%s", which, name);
}

/* The moments of parameter i, in the slab's layout, into `raw`; bf16 state is widened into `wide`.
 * NULL on failure. */
static const float *moment_of(const rex_ckpt *c, size_t i, int which, float *raw, float *wide,
                              rex_err *e) {
    const rex_optim *const p = c->opt;
    const rex_grads *const g = c->g;
    const size_t each = p->o.state == REX_K_F32 ? 4 : 2;
    if (c->share && rex_share_moments(c->share, p, i, which, raw, e) != REX_OK) return NULL;
    for (size_t k = 0; !c->share && k < p->n_span; k++)
        if (p->span[k].param == i)
            memcpy((char *)raw + (p->span[k].at - g->off[i]) * each,
                   (const char *)(which ? p->v : p->m) + p->span[k].state * each,
                   p->span[k].n * each);
    if (p->o.state == REX_K_F32) return raw;
    const void *const bf16 = raw;
    g->m->kern.cast_from(wide, bf16, REX_K_BF16, (int64_t)(g->off[i + 1] - g->off[i]));
    return wide;
}

static size_t largest_piece(const rex_grads *g) {
    size_t n = 0;
    for (size_t i = 0; i < g->n; i++)
        if (g->off[i + 1] - g->off[i] > n) n = g->off[i + 1] - g->off[i];
    return n;
}

/* `sums`: those of the other files. */
static rex_status write_state(const rex_ckpt *c, const char *path, rex_str sums, rex_err *e) {
    const rex_optim *const p = c->opt;
    const rex_grads *const g = c->g;
    rex_tensor *const t = rex_mem_take(2 * g->n, sizeof *t, e);
    char(*const name)[192] = t ? rex_mem_take(2 * g->n, sizeof *name, e) : NULL;
    float *const wide = name ? rex_mem_take(2 * largest_piece(g), sizeof *wide, e) : NULL;
    rex_status s = wide ? REX_OK : REX_ENOMEM;
    size_t n = 0;
    for (size_t i = 0; i < g->n && s == REX_OK; i++)
        for (int k = 0; k < 2 && g->train[i]; k++, n++) {
            moment_name(name[n], k ? "v" : "m", g->param[i].name);
            t[n] = shape_of(&g->param[i], name[n]);
        }
    char count[32];
    (void)snprintf(count, sizeof count, "%lld", (long long)p->t);
    const rex_str meta[8] = { rex_str_of("seal"),  rex_str_of(UNSEALED),
                              rex_str_of("sums"),  sums,
                              rex_str_of("updates"), rex_str_of(count),
                              rex_str_of("state"), c->state };
    rex_st_out *out = NULL;
    if (s == REX_OK) s = rex_st_out_open(path, t, n, meta, 4, &out, e);
    for (size_t i = 0; i < g->n && s == REX_OK; i++)
        for (int k = 0; k < 2 && g->train[i] && s == REX_OK; k++) {
            const float *const x = moment_of(c, i, k, wide + largest_piece(g), wide, e);
            s = x ? put_rows(out, g, i, x, e) : REX_EIO;
        }
    if (s == REX_OK) s = rex_st_out_commit(out, e);
    else rex_st_out_close(out);
    rex_mem_free(wide);
    rex_mem_free(name);
    rex_mem_free(t);
    return s;
}

static rex_status save_state(const rex_ckpt *c, const char *folder, rex_err *e) {
    char path[PATH_ROOM];
    rex_buf sums;
    REX_TRY(path_in(folder, "state.safetensors", path, e));
    rex_buf_init(&sums, 0);
    rex_status s = list_sums(c, folder, &sums, e);
    if (s == REX_OK) s = write_state(c, path, (rex_str){ sums.p, sums.n }, e);
    if (s == REX_OK) s = put_seal(path, e);
    rex_buf_free(&sums);
    return s;
}

/* Of what is in the file, this process keeps its own spans. */
static rex_status take_moment(const rex_optim *p, void *slab, size_t i, const rex_tensor *t,
                              float *row, float *panels, rex_err *e) {
    const rex_grads *const g = p->g;
    const rex_param *const q = &g->param[i];
    if (!t || t->rows * t->cols != q->rows * q->cols || t->type != REX_T_F32)
        return rex_fail(e, REX_EFORMAT, -1, "the state of %s is missing or of another shape",
                        q->name);
    for (int64_t r = 0; r < t->rows; r++) rex_tensor_get_f32(t, r, 0, t->cols, row + r * t->cols);
    const float *from = row;
    if (in_panels(g, i)) {
        const rex_pack j = {.from = REX_K_F32,
                            .to = REX_K_F32,
                            .src = row,
                            .row = q->cols,
                            .col = 1,
                            .n = q->rows,
                            .k = q->cols,
                            .dst = panels};
        rex_pack_run(&g->m->kern, NULL, &j);
        from = panels;
    }
    for (size_t k = 0; k < p->n_span; k++) {
        const rex_slab_span *const x = &p->span[k];
        if (x->param != i) continue;
        const float *const src = from + (x->at - g->off[i]);
        if (p->o.state == REX_K_F32) memcpy((float *)slab + x->state, src, x->n * sizeof *src);
        else g->m->kern.cast_to((uint16_t *)slab + x->state, REX_K_BF16, src, (int64_t)x->n);
    }
    return REX_OK;
}

rex_status rex_ckpt_load(rex_arena *a, const char *path, rex_optim *p, rex_jval **state,
                         rex_err *e) {
    char file[PATH_ROOM], name[192];
    REX_TRY(path_in(path, "state.safetensors", file, e));
    rex_st *st = NULL;
    REX_TRY(rex_st_open(file, &st, e));
    const size_t room = largest_piece(p->g);
    float *const row = rex_mem_take(room, sizeof *row, e);
    float *const panels = row ? rex_mem_take(room, sizeof *panels, e) : NULL;
    rex_status s = panels ? REX_OK : REX_ENOMEM;
    for (size_t i = 0; i < p->g->n && s == REX_OK; i++)
        for (int k = 0; k < 2 && p->g->train[i] && s == REX_OK; k++) {
            moment_name(name, k ? "v" : "m", p->g->param[i].name);
            s = take_moment(p, k ? p->v : p->m, i, rex_st_find(st, name), row, panels, e);
            if (s != REX_OK) s = rex_fail_in(e, s, "%s", file);
        }
    double updates = -1.0;
    if (s == REX_OK && (!rex_num_parse(rex_st_meta(st, "updates"), &updates) || updates < 0.0))
        s = rex_fail(e, REX_EFORMAT, -1, "%s: no number of updates in its metadata", file);
    rex_str text;
    if (s == REX_OK) s = rex_str_copy(a, rex_st_meta(st, "state"), &text, e);
    if (s == REX_OK) s = rex_json_parse(a, text, file, state, e);
    if (s == REX_OK) p->t = (int64_t)updates;
    rex_mem_free(row);
    rex_mem_free(panels);
    rex_st_close(st);
    return s;
}

/* ---- folders ----------------------------------------------------------------------------- */

/* step_N, or -1; `part` tells step_N.part. */
static int64_t step_of(const char *name, bool *part) {
    long long n = -1;
    int used = 0;
    char own[32];
    *part = false;
    if (sscanf(name, "step_%lld%n", &n, &used) != 1 || n < 0) return -1;
    const int len = snprintf(own, sizeof own, "step_%lld", n);
    if (len != used || memcmp(own, name, (size_t)len) != 0) return -1; /* step_007 is not ours */
    *part = strcmp(name + used, ".part") == 0;
    return *part || name[used] == 0 ? (int64_t)n : -1;
}

/* The largest step below `under` (or of all, with -1), or -1. `parts`: removes unfinished ones. */
static int64_t newest(const char *folder, int64_t under, bool parts) {
    DIR *const d = opendir(folder);
    int64_t best = -1;
    char path[PATH_ROOM];
    for (struct dirent *x; d && (x = readdir(d));) {
        bool part = false;
        const int64_t n = step_of(x->d_name, &part);
        if (part && parts && path_in(folder, x->d_name, path, NULL) == REX_OK)
            rex_folder_remove(path);
        if (n >= 0 && !part && n > best && (under < 0 || n < under)) best = n;
    }
    if (d) closedir(d);
    return best;
}

int64_t rex_ckpt_newest(const char *folder) {
    return newest(folder, -1, false);
}

rex_status rex_ckpt_latest(rex_arena *a, const char *folder, rex_str *path, int64_t *step,
                           rex_err *e) {
    bool passed = false;
    for (int64_t under = -1; (*step = newest(folder, under, false)) >= 0; under = *step) {
        rex_err why = { .code = REX_OK, .at = -1 };
        REX_TRY(rex_str_fmt(a, path, e, "%s/step_%lld", folder, (long long)*step));
        const rex_status s = check_whole(path->p, &why);
        if (s == REX_ENOMEM && e) *e = why;
        if (s == REX_OK || s == REX_ENOMEM) return s;
        rex_say(REX_LOG_WARN, "the checkpoint of step %lld is passed over: %s", (long long)*step,
                why.text);
        passed = true;
    }
    if (!passed) return REX_OK;
    return rex_fail(e, REX_EFORMAT, -1,
                    "%s: none of the checkpoints is whole; without that folder the run begins anew",
                    folder);
}

uint64_t rex_ckpt_bytes(const rex_ckpt *c) {
    uint64_t n = 65536;
    for (size_t i = 0; i < c->g->n; i++) {
        const uint64_t size = (uint64_t)(c->g->param[i].rows * c->g->param[i].cols) * 4;
        n += (is_kept(c->g, i) ? size : 0) + (c->opt && c->g->train[i] ? 2 * size : 0);
    }
    for (size_t i = 0; i < c->n_side; i++) n += c->side[i].text.n;
    return n;
}

uint64_t rex_disk_free(const char *path, char at[PATH_ROOM]) {
    struct statvfs v;
    (void)snprintf(at, PATH_ROOM, "%s", path);
    bool known = statvfs(at, &v) == 0;
    for (char *slash = at; !known && slash;) {
        slash = strrchr(at, '/');
        if (slash && slash != at) *slash = 0;
        else memcpy(at, slash ? "/" : ".", 2);
        known = statvfs(at, &v) == 0;
        if (slash == at) break;
    }
    return known ? (uint64_t)v.f_bavail * v.f_frsize : UINT64_MAX;
}

rex_status rex_ckpt_room(const char *folder, const rex_ckpt *c, rex_err *e) {
    char at[PATH_ROOM];
    const uint64_t need = rex_ckpt_bytes(c), have = rex_disk_free(folder, at);
    if (have >= need) return REX_OK;
    return rex_fail(e, REX_EIO, -1, "%s: a checkpoint needs %.1f MiB, the disk has %.1f MiB left",
                    folder, (double)need / 0x1p20, (double)have / 0x1p20);
}

static rex_status write_side(const char *folder, const rex_side_file *f, rex_err *e) {
    char path[PATH_ROOM];
    REX_TRY(path_in(folder, f->name, path, e));
    rex_out *out = NULL;
    REX_TRY(rex_out_open(path, &out, e));
    rex_out_add(out, f->text.p, f->text.n);
    return rex_out_commit(out, e);
}

static rex_status write_all(const char *part, const rex_ckpt *c, rex_err *e) {
    for (size_t i = 0; i < c->n_side; i++) REX_TRY(write_side(part, &c->side[i], e));
    REX_TRY(rex_weights_save(c->g, part, e));
    if (c->opt) REX_TRY(save_state(c, part, e));
    return rex_folder_sync(part, e);
}

/* What was passed over makes room and stays for another look; it may hold anything. */
static void put_aside(const char *final) {
    char torn[PATH_ROOM + 8];
    (void)snprintf(torn, sizeof torn, "%s.torn", final);
    rex_folder_remove(torn);
    (void)rename(final, torn);
}

/* Under another name first, so that a kill in between leaves no half of a checkpoint. */
static void remove_old(const char *folder, int64_t step) {
    char name[64], old[PATH_ROOM], part[PATH_ROOM];
    (void)snprintf(name, sizeof name, "step_%lld", (long long)step);
    if (path_in(folder, name, old, NULL) != REX_OK) return;
    (void)snprintf(name, sizeof name, "step_%lld.part", (long long)step);
    if (path_in(folder, name, part, NULL) != REX_OK) return;
    if (rename(old, part) == 0) rex_folder_remove(part);
}

rex_status rex_ckpt_save(const char *folder, int64_t step, const rex_ckpt *c, int64_t keep,
                         rex_err *e) {
    char part[PATH_ROOM], final[PATH_ROOM], name[64];
    REX_TRY(rex_folder_make(folder, REX_FOLDER_ANY, e));
    (void)newest(folder, -1, true);
    (void)snprintf(name, sizeof name, "step_%lld", (long long)step);
    REX_TRY(path_in(folder, name, final, e));
    (void)snprintf(name, sizeof name, "step_%lld.part", (long long)step);
    REX_TRY(path_in(folder, name, part, e));
    if (access(final, F_OK) == 0) {
        if (check_whole(final, NULL) == REX_OK) return REX_OK;
        put_aside(final);
    }
    REX_TRY(rex_ckpt_room(folder, c, e));
    REX_TRY(rex_folder_make(part, REX_FOLDER_NEW, e));
    rex_status s = write_all(part, c, e);
    if (s == REX_OK && rename(part, final) != 0)
        s = rex_fail(e, REX_EIO, step, "%s: cannot be renamed: %s", part, strerror(errno));
    if (s != REX_OK) {
        rex_folder_remove(part);
        return s;
    }
    REX_TRY(rex_folder_sync(folder, e));
    int64_t old = step;
    for (int64_t i = 1; keep > 0 && (old = newest(folder, old, false)) >= 0; i++) {
        if (i >= keep) remove_old(folder, old);
    }
    return REX_OK;
}
