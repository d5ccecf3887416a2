/* SPDX-License-Identifier: MIT
 *
 * made: what a pool was made with, kept beside it (pool.jsonl.json), so that a run which goes on
 * with
 * --resume is held to the same settings, model and prompts. Invariant: the file stands, complete,
 * before the pool's first line does.
 */
#include "cli.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* ---- digests ----------------------------------------------------------------------------- */

enum { LANES = 8, PIECE = 1 << 22 };

/* Eight running products over words: each step is a bijection of its lane, so that one changed word
 * is always seen, and a model's weights pass at the speed of memory. */
static void fold(uint64_t lane[LANES], const uint8_t *p, size_t n) {
    for (; n >= 8 * LANES; p += 8 * LANES, n -= 8 * LANES) {
        uint64_t w[LANES];
        memcpy(w, p, sizeof w);
        for (int l = 0; l < LANES; l++) {
            lane[l] = (lane[l] ^ w[l]) * 0x9E3779B97F4A7C15u;
            lane[l] ^= lane[l] >> 32;
        }
    }
    lane[0] ^= rex_hash64(p, n);
}

static bool digest_file(const char *path, uint64_t *h) {
    rex_map *m = NULL;
    struct stat sb;
    if (stat(path, &sb) != 0 || !S_ISREG(sb.st_mode)) return false;
    if (rex_map_open(path, &m, NULL) != REX_OK) return false;
    const rex_view v = rex_map_view(m);
    uint64_t lane[LANES + 2] = {0};
    for (size_t at = 0; at < v.n; at += PIECE) {
        const size_t n = v.n - at < PIECE ? v.n - at : PIECE;
        fold(lane, v.p + at, n);
        rex_map_drop(m, (rex_view){v.p + at, n});
    }
    rex_map_close(m);
    lane[LANES] = v.n;
    lane[LANES + 1] = *h;
    *h = rex_hash64(lane, sizeof lane);
    return true;
}

static bool counts(const char *name) {
    static const char *const parts[] = {"config.json", "generation_config.json", "tokenizer.json",
                                        "tokenizer_config.json", "special_tokens_map.json",
                                        "chat_template.jinja", "adapter_config.json"};
    const size_t n = strlen(name);
    if (n > 12 && strcmp(name + n - 12, ".safetensors") == 0) return true;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (strcmp(name, parts[i]) == 0) return true;
    return false;
}

/* A sum over files, each with its name: the order in which a folder lists them is not told. */
static bool digest_folder(const char *path, uint64_t *h) {
    DIR *const d = opendir(path);
    bool any = false;
    for (struct dirent *x; d && (x = readdir(d)) != NULL;) {
        char file[4096];
        const int len = snprintf(file, sizeof file, "%s/%s", path, x->d_name);
        uint64_t one = rex_hash64(x->d_name, strlen(x->d_name));
        if (!counts(x->d_name) || len < 0 || (size_t)len >= sizeof file) continue;
        if (!digest_file(file, &one)) continue;
        *h += one;
        any = true;
    }
    if (d) (void)closedir(d);
    return any;
}

bool rex_cli_digest(const char *path, char text[17]) {
    uint64_t h = 0;
    struct stat sb;
    if (!path || !*path || stat(path, &sb) != 0) return false;
    if (!(S_ISDIR(sb.st_mode) ? digest_folder(path, &h) : digest_file(path, &h))) return false;
    (void)snprintf(text, 17, "%016llx", (unsigned long long)h);
    return true;
}

static uint64_t of_text(rex_str s) { return s.p ? rex_hash64(s.p, s.n) : 0; }

/* Of what the model is given and what the records take over. */
static uint64_t of_prompts(const rex_prompt *p, const rex_ids *ids, size_t n) {
    uint64_t h = n;
    for (size_t i = 0; i < n; i++) {
        const uint64_t part[] = {h, of_text(p[i].id),
                                 rex_hash64(ids[i].v, ids[i].n * sizeof *ids[i].v),
                                 of_text(p[i].answer), of_text(p[i].problem)};
        h = rex_hash64(part, sizeof part);
    }
    return h;
}

/* ---- settings ---------------------------------------------------------------------------- */

/* Options that change no byte of a pool, and those that a digest stands for. */
static bool is_silent(rex_str name) {
    static const char *const names[] = {"json",  "threads", "quiet",     "batch",
                                        "chunk", "out",     "resume",    "show_prompt",
                                        "map",   "model",   "tokenizer", "prompts",
                                        "adapter"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (rex_str_is(name, names[i])) return true;
    return false;
}

static void put_digest(rex_jw *w, const char *key, const char *path) {
    char text[17];
    if (!rex_cli_digest(path, text)) return;
    rex_jw_key(w, key);
    rex_jw_cstr(w, text);
}

static rex_status write_made(const rex_cli_made *m, rex_arena *a, rex_buf *b, rex_err *e) {
    rex_buf options;
    rex_jw w;
    rex_jval *all = NULL;
    rex_str text;
    char prompts[17];
    rex_buf_init(&options, 0);
    rex_jw_init(&w, &options);
    rex_opt_json(m->list, m->n_list, m->opts, &w);
    rex_status s = rex_buf_check(&options, e);
    if (s == REX_OK) s = rex_str_copy(a, (rex_str){options.p, options.n}, &text, e);
    rex_buf_free(&options);
    REX_TRY(s);
    REX_TRY(rex_json_parse(a, text, "options", &all, e));
    (void)snprintf(prompts, sizeof prompts, "%016llx",
                   (unsigned long long)of_prompts(m->prompt, m->ids, m->n));
    rex_jw_init(&w, b);
    rex_jw_obj(&w);
    put_digest(&w, "model", m->model);
    put_digest(&w, "adapter", m->adapter);
    put_digest(&w, "tokenizer", m->tokenizer);
    rex_jw_key(&w, "prompts");
    rex_jw_cstr(&w, prompts);
    for (uint32_t i = 0; i < all->n; i++) {
        if (is_silent(all->u.c.key[i])) continue;
        rex_jw_keys(&w, all->u.c.key[i]);
        rex_jw_val(&w, &all->u.c.item[i]);
    }
    rex_jw_obj_end(&w);
    rex_buf_addf(b, "\n");
    return rex_buf_check(b, e);
}

/* ---- the file beside a pool -------------------------------------------------------------- */

static rex_str value_text(const rex_jval *v) {
    if (!v || v->kind == REX_J_NULL) return rex_str_of("none");
    if (v->kind == REX_J_STR || v->kind == REX_J_NUM) return v->u.s;
    return rex_str_of(v->kind == REX_J_TRUE ? "true" : "false");
}

/* "seed was 5, is 6" for a member that differs. */
static void tell(rex_buf *b, rex_str key, const rex_jval *was, const rex_jval *is) {
    const rex_str x = value_text(was), y = value_text(is);
    if (rex_str_eq(x, y)) return;
    rex_buf_addf(b, "%s", b->n ? "; " : "");
    for (size_t i = 0; i < key.n; i++) rex_buf_addf(b, "%c", key.p[i] == '_' ? '-' : key.p[i]);
    rex_buf_addf(b, " was %.*s, is %.*s", (int)(x.n < 60 ? x.n : 60), x.p,
                 (int)(y.n < 60 ? y.n : 60), y.p);
}

static rex_status compare(const char *path, const char *pool, rex_str now, rex_arena *a, rex_buf *b,
                          rex_err *e) {
    rex_jval *was = NULL, *is = NULL;
    REX_TRY(rex_json_load(a, path, &was, e));
    REX_TRY(rex_json_parse(a, now, "settings", &is, e));
    if (was->kind != REX_J_OBJ)
        return rex_fail(e, REX_EFORMAT, 0, "%s: %s, expected the settings of a pool", path,
                        rex_json_kind_name(was->kind));
    for (uint32_t i = 0; i < is->n; i++) {
        const rex_str key = is->u.c.key[i];
        const rex_jval *old = NULL;
        for (uint32_t k = 0; k < was->n; k++)
            if (rex_str_eq(key, was->u.c.key[k])) old = &was->u.c.item[k];
        tell(b, key, old, &is->u.c.item[i]);
    }
    for (uint32_t k = 0; k < was->n; k++) {
        bool there = false;
        for (uint32_t i = 0; i < is->n; i++)
            there = there || rex_str_eq(was->u.c.key[k], is->u.c.key[i]);
        if (!there) tell(b, was->u.c.key[k], &was->u.c.item[k], NULL);
    }
    REX_TRY(rex_buf_check(b, e));
    if (b->n == 0) return REX_OK;
    return rex_fail(e, REX_EARG, -1, "--resume: %s was made with other settings: %.*s", pool,
                    (int)(b->n < 380 ? b->n : 380), b->p);
}

rex_status rex_cli_made_with(const rex_cli_made *m, const char *pool, bool begun, rex_arena *a,
                             rex_err *e) {
    rex_str path;
    rex_buf now, said;
    struct stat sb;
    REX_TRY(rex_str_fmt(a, &path, e, "%s.json", pool));
    rex_buf_init(&now, 0);
    rex_buf_init(&said, 0);
    rex_status s = write_made(m, a, &now, e);
    if (s == REX_OK && begun && stat(path.p, &sb) == 0) {
        s = compare(path.p, pool, (rex_str){now.p, now.n}, a, &said, e);
    } else if (s == REX_OK) {
        if (begun)
            rex_cli_note("warning: no %s: whether %s was made with these settings is not known",
                         path.p, pool);
        rex_out *out = NULL;
        s = rex_out_open(path.p, &out, e);
        if (s == REX_OK) {
            rex_out_add(out, now.p, now.n);
            s = rex_out_commit(out, e);
        }
        if (s != REX_OK) s = rex_fail_in(e, s, "%s", pool);
    }
    rex_buf_free(&said);
    rex_buf_free(&now);
    return s;
}
