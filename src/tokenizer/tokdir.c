/* SPDX-License-Identifier: MIT
 *
 * tokdir: what stands beside tokenizer.json in a Hugging Face folder.
 *
 * tokenizer_config.json (or special_tokens_map.json) names bos, eos, pad and says whether they are
 * put round a text; where it says so it wins over the post-processor, as in the reference.
 * generation_config.json and config.json name the ids that end a generation. The chat template is
 * chat_template.jinja or a member of tokenizer_config.json. All but tokenizer.json may be missing.
 */
#include "tok.h"

#include <string.h>
#include <sys/stat.h>

typedef struct {
    rex_tok *t;
    rex_arena *tmp;
    const char *dir;
    rex_str path; /* of the file being read */
    rex_err *e;
} folder;

/* The path of dir/name; *there tells whether it is a file. */
static rex_status path_of(folder *f, const char *name, bool *there) {
    struct stat sb;
    REX_TRY(rex_str_fmt(f->tmp, &f->path, f->e, "%s/%s", f->dir, name));
    *there = stat(f->path.p, &sb) == 0 && S_ISREG(sb.st_mode);
    return REX_OK;
}

/* *root is NULL where there is no such file. */
static rex_status load(folder *f, const char *name, rex_jval **root) {
    bool there;
    *root = NULL;
    REX_TRY(path_of(f, name, &there));
    if (!there) return REX_OK;
    REX_TRY(rex_json_load(f->tmp, f->path.p, root, f->e));
    if ((*root)->kind != REX_J_OBJ)
        return rex_fail(f->e, REX_EFORMAT, 0, "%s: the file holds %s, expected an object",
                        f->path.p, rex_json_kind_name((*root)->kind));
    return REX_OK;
}

/* A token by its text or by {"content": text}; an id that is known stays. */
static rex_status mark(folder *f, const rex_jval *root, const char *key, int32_t *id) {
    const rex_jval *v = rex_json_get(root, key);
    if (v && v->kind == REX_J_OBJ) v = rex_json_get(v, "content");
    if (!v || v->kind == REX_J_NULL || *id >= 0) return REX_OK;
    if (v->kind != REX_J_STR)
        return rex_fail(f->e, REX_EFORMAT, v->at,
                        "%s: byte %lld: \"%s\" is %s, expected a token's text", f->path.p,
                        (long long)v->at, key, rex_json_kind_name(v->kind));
    *id = rex_tok_find(f->t, v->u.s);
    if (*id < 0)
        rex_say(REX_LOG_WARN, "%s: %s \"%.*s\" is not in the vocabulary", f->path.p, key,
                (int)(v->u.s.n < 64 ? v->u.s.n : 64), v->u.s.p);
    return REX_OK;
}

/* Takes `id` out of the ids, or puts it at their end, as the file says. */
static rex_status around(folder *f, const rex_jval *root, const char *key, int32_t id, int32_t **v,
                         size_t *n) {
    const rex_jval *const said = rex_json_get(root, key);
    bool want;
    if (!said || said->kind == REX_J_NULL || id < 0) return REX_OK;
    REX_TRY(rex_tj_bool(root, key, false, f->path.p, &want, f->e));
    size_t k = 0;
    bool has = false;
    for (size_t i = 0; i < *n; i++) {
        has = has || (*v)[i] == id;
        if (want || (*v)[i] != id) (*v)[k++] = (*v)[i];
    }
    *n = k;
    if (!want || has) return REX_OK;
    int32_t *const out = rex_arena_take(f->t->arena, *n + 1, sizeof *out, f->e);
    if (!out) return REX_ENOMEM;
    if (*n) memcpy(out, *v, *n * sizeof *out);
    out[(*n)++] = id;
    *v = out;
    return REX_OK;
}

/* "chat_template": a text, or a list of {name, template}, of which "default" counts. */
static rex_status template_of(folder *f, const rex_jval *root) {
    const rex_jval *v = rex_json_get(root, "chat_template");
    if (f->t->template_text.p || !v || v->kind == REX_J_NULL) return REX_OK;
    if (v->kind == REX_J_ARR) {
        const rex_jval *const list = v;
        v = NULL;
        for (uint32_t i = 0; i < list->n; i++) {
            rex_str name;
            REX_TRY(rex_tj_str(&list->u.c.item[i], "name", f->path.p, &name, f->e));
            if (name.p && rex_str_is(name, "default"))
                v = rex_json_get(&list->u.c.item[i], "template");
        }
        if (!v) return REX_OK;
    }
    if (v->kind != REX_J_STR)
        return rex_fail(f->e, REX_EFORMAT, v->at,
                        "%s: byte %lld: \"chat_template\" is %s, expected a "
                        "string",
                        f->path.p, (long long)v->at, rex_json_kind_name(v->kind));
    return rex_str_copy(f->t->arena, v->u.s, &f->t->template_text, f->e);
}

static rex_status template_file(folder *f) {
    bool there;
    REX_TRY(path_of(f, "chat_template.jinja", &there));
    if (!there) return REX_OK;
    rex_map *map;
    REX_TRY(rex_map_open(f->path.p, &map, f->e));
    const rex_view v = rex_map_view(map);
    const rex_str s = {v.n ? (const char *)v.p : "", v.n};
    const rex_status st = rex_str_copy(f->t->arena, s, &f->t->template_text, f->e);
    rex_map_close(map);
    return st;
}

static rex_status stop_add(folder *f, const rex_jval *v) {
    rex_tok_marks *const m = &f->t->marks;
    int64_t id;
    if (v->kind != REX_J_NUM || rex_json_i64(v, "eos_token_id", &id, NULL) != REX_OK || id < 0 ||
        id > INT32_MAX)
        return rex_fail(f->e, REX_EFORMAT, v->at, "%s: byte %lld: \"eos_token_id\" is no token id",
                        f->path.p, (long long)v->at);
    if (id >= f->t->n) {
        rex_say(REX_LOG_WARN, "%s: eos_token_id %lld is beyond the vocabulary", f->path.p,
                (long long)id);
        return REX_OK;
    }
    int32_t *const out = rex_arena_take(f->t->arena, m->n_stop + 1, sizeof *out, f->e);
    if (!out) return REX_ENOMEM;
    if (m->n_stop) memcpy(out, m->stop, m->n_stop * sizeof *out);
    out[m->n_stop++] = (int32_t)id;
    m->stop = out;
    return REX_OK;
}

static rex_status stops_of(folder *f, const rex_jval *root) {
    const rex_jval *const v = rex_json_get(root, "eos_token_id");
    if (!v || v->kind == REX_J_NULL) return REX_OK;
    if (v->kind != REX_J_ARR) return stop_add(f, v);
    for (uint32_t i = 0; i < v->n; i++) REX_TRY(stop_add(f, &v->u.c.item[i]));
    return REX_OK;
}

rex_status rex_tokdir_load(rex_tok *t, rex_arena *tmp, const char *dir, rex_err *e) {
    folder f = {.t = t, .tmp = tmp, .dir = dir, .e = e};
    rex_jval *root;
    bool there;
    REX_TRY(path_of(&f, "tokenizer.json", &there));
    if (!there) return rex_fail(e, REX_EIO, -1, "%s: no tokenizer.json in this folder", dir);
    REX_TRY(rex_tokjson_load(t, tmp, f.path.p, e));
    REX_TRY(template_file(&f));
    REX_TRY(load(&f, "tokenizer_config.json", &root));
    if (root) {
        REX_TRY(mark(&f, root, "bos_token", &t->marks.bos));
        REX_TRY(mark(&f, root, "eos_token", &t->marks.eos));
        REX_TRY(mark(&f, root, "pad_token", &t->marks.pad));
        REX_TRY(around(&f, root, "add_bos_token", t->marks.bos, &t->head, &t->n_head));
        REX_TRY(around(&f, root, "add_eos_token", t->marks.eos, &t->tail, &t->n_tail));
        REX_TRY(template_of(&f, root));
    }
    REX_TRY(load(&f, "special_tokens_map.json", &root));
    if (root) {
        REX_TRY(mark(&f, root, "bos_token", &t->marks.bos));
        REX_TRY(mark(&f, root, "eos_token", &t->marks.eos));
        REX_TRY(mark(&f, root, "pad_token", &t->marks.pad));
    }
    static const char *const stops[] = {"generation_config.json", "config.json"};
    for (int i = 0; i < 2; i++) {
        REX_TRY(load(&f, stops[i], &root));
        if (root) REX_TRY(stops_of(&f, root));
    }
    return REX_OK;
}
