/* SPDX-License-Identifier: MIT
 *
 * source.c: where the weights of a model lie. A Hugging Face directory or a GGUF file, behind one
 * face: the config document, and a tensor by slot and layer, with its shape checked. A dtype that
 * lies cannot pass: formats has checked that type times dims is the bytes there are, and here the
 * dims are those that the config demands.
 */
#include "model.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static const size_t config_cap = 4 << 20;

bool rex_path_join(char *out, size_t room, const char *dir, const char *file) {
    const size_t n = strlen(dir);
    const char *sep = n > 0 && dir[n - 1] == '/' ? "" : "/";
    const int got = snprintf(out, room, "%s%s%s", dir, sep, file);
    return got >= 0 && (size_t)got < room;
}

static rex_status open_hf(rex_source *s, const char *path, rex_err *e) {
    char file[4096];
    if (!rex_path_join(file, sizeof file, path, "config.json"))
        return rex_fail(e, REX_EARG, -1, "model %s: path is too long", path);
    struct stat sb;
    if (stat(file, &sb) != 0)
        return rex_fail(e, REX_EIO, -1,
                        "model %s: neither a GGUF file nor a folder with config.json", path);
    rex_jval *doc = NULL;
    REX_TRY(rex_json_load(s->arena, file, &doc, e));
    const rex_jval *type = rex_json_get(doc, "model_type");
    if (!type || type->kind != REX_J_STR)
        return rex_fail(e, REX_EFORMAT, -1, "%s: no `model_type`", file);
    s->arch = rex_arch_find(type->u.s, false);
    if (!s->arch)
        return rex_fail(e, REX_EUNSUP, type->at,
                        "%s: model_type `%.*s` is not implemented (%s are)", file,
                        (int)(type->u.s.n > 40 ? 40 : type->u.s.n), type->u.s.p, rex_arch_names());
    s->config = doc;
    return REX_OK;
}

static rex_status open_gguf(rex_source *s, const char *path, rex_err *e) {
    REX_TRY(rex_gguf_open(path, &s->gguf, e));
    rex_buf text;
    rex_buf_init(&text, config_cap);
    rex_jval *doc = NULL;
    rex_status st = rex_gguf_config(s->gguf, path, &text, &s->arch, e);
    rex_str copy = {0};
    if (st == REX_OK) st = rex_str_copy(s->arena, (rex_str){text.p, text.n}, &copy, e);
    if (st == REX_OK) st = rex_json_parse(s->arena, copy, path, &doc, e);
    rex_buf_free(&text);
    s->config = doc;
    return st;
}

rex_status rex_source_open(const char *path, rex_arena *arena, rex_source *s, rex_err *e) {
    *s = (rex_source){.path = path, .arena = arena};
    struct stat sb;
    if (stat(path, &sb) != 0) return rex_fail(e, REX_EIO, -1, "model %s: cannot be opened", path);
    return S_ISDIR(sb.st_mode) ? open_hf(s, path, e) : open_gguf(s, path, e);
}

rex_status rex_source_weights(rex_source *s, rex_err *e) {
    if (s->gguf || s->st) return REX_OK;
    return rex_st_open(s->path, &s->st, e);
}

void rex_source_close(rex_source *s) {
    rex_st_close(s->st);
    rex_gguf_close(s->gguf);
    s->st = NULL;
    s->gguf = NULL;
}

bool rex_source_name(const rex_source *s, rex_slot slot, int layer, char *out, size_t room) {
    const char *f = s->gguf ? rex_slot_gguf(slot) : rex_slot_hf(s->arch, slot);
    const char *mark = strstr(f, "%d");
    const int n = mark ? snprintf(out, room, "%.*s%d%s", (int)(mark - f), f, layer, mark + 2)
                       : snprintf(out, room, "%s", f);
    return n >= 0 && (size_t)n < room;
}

const rex_tensor *rex_source_find(const rex_source *s, rex_slot slot, int layer) {
    char name[256];
    if (!rex_source_name(s, slot, layer, name, sizeof name)) return NULL;
    return s->gguf ? rex_gguf_find(s->gguf, name) : rex_st_find(s->st, name);
}

rex_status rex_source_get(const rex_source *s, rex_slot slot, int layer, int64_t rows, int64_t cols,
                          const rex_tensor **out, rex_err *e) {
    char name[256] = "";
    (void)rex_source_name(s, slot, layer, name, sizeof name);
    const rex_tensor *t = rex_source_find(s, slot, layer);
    if (!t) return rex_fail(e, REX_EFORMAT, -1, "%s: tensor %s is missing", s->path, name);
    if (!rex_dtype_get(t->type)->wide)
        return rex_fail(e, REX_EUNSUP, -1, "%s: tensor %s: type %s cannot be read as weights",
                        s->path, name, rex_dtype_get(t->type)->name);
    const bool vector = rows == 1;
    if (t->rows != rows || t->cols != cols || t->ndim != (vector ? 1 : 2))
        return rex_fail(e, REX_EFORMAT, -1, "%s: tensor %s is %lld x %lld, expected %lld x %lld",
                        s->path, name, (long long)t->rows, (long long)t->cols, (long long)rows,
                        (long long)cols);
    *out = t;
    return REX_OK;
}

void rex_source_drop(rex_source *s, const rex_tensor *t) {
    if (s->gguf) rex_gguf_drop(s->gguf, t);
    else rex_st_drop(s->st, t);
}

static bool is_used(const rex_source *s, const rex_shape *shape, rex_str name) {
    char want[256];
    for (int slot = 0; slot < REX_SLOT_COUNT; slot++) {
        const bool per = rex_slot_per_layer((rex_slot)slot);
        const char *f =
            s->gguf ? rex_slot_gguf((rex_slot)slot) : rex_slot_hf(s->arch, (rex_slot)slot);
        const char *mark = strstr(f, "%d");
        if (!per) {
            if (rex_str_is(name, f)) return true;
            continue;
        }
        /* the number between the two halves of the name tells the layer */
        const size_t head = (size_t)(mark - f), tail = strlen(mark + 2);
        if (name.n <= head + tail || memcmp(name.p, f, head) != 0 ||
            memcmp(name.p + name.n - tail, mark + 2, tail) != 0)
            continue;
        int layer = 0;
        for (size_t i = head; i < name.n - tail && layer < REX_MAX_LAYERS; i++) {
            if (name.p[i] < '0' || name.p[i] > '9') { layer = REX_MAX_LAYERS; break; }
            layer = layer * 10 + (name.p[i] - '0');
        }
        if (layer < shape->L && rex_source_name(s, (rex_slot)slot, layer, want, sizeof want) &&
            rex_str_is(name, want))
            return true;
    }
    return false;
}

void rex_source_warn_unused(const rex_source *s, const rex_shape *shape) {
    static const char *const harmless[] = {"rope_freqs.weight", "rope_factors_long.weight",
                                           "rope_factors_short.weight"};
    const size_t n = s->gguf ? rex_gguf_count(s->gguf) : rex_st_count(s->st);
    size_t extra = 0;
    rex_str first = {0};
    for (size_t i = 0; i < n; i++) {
        const rex_tensor *t = s->gguf ? rex_gguf_at(s->gguf, i) : rex_st_at(s->st, i);
        bool fine = is_used(s, shape, t->name);
        for (size_t j = 0; j < sizeof harmless / sizeof harmless[0]; j++)
            fine |= rex_str_is(t->name, harmless[j]);
        if (t->name.n > 8 && memcmp(t->name.p + t->name.n - 8, "inv_freq", 8) == 0) fine = true;
        if (!fine && extra++ == 0) first = t->name;
    }
    if (extra > 0)
        rex_say(REX_LOG_WARN,
                "%s: %zu tensors are not part of a %s model and are not used, first `%.*s`",
                s->path, extra, s->arch->name, (int)first.n, first.p);
}
