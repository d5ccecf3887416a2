/* SPDX-License-Identifier: MIT
 *
 * describe.c: what is in this file or folder, as one JSON object. It stands in this room because it
 * looks both at arrays and models (formats) and at records. What a file is, is decided by its first
 * bytes, by its name only where these leave it open.
 * Invariant: a description is made by the readers that everybody uses, so what they would refuse is
 * refused here with the same sentence.
 */
#include "records.h"

#include "../formats/formats.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct {
    rex_arena *a;
    const char *path;
    rex_jw w;
    rex_err *e;
} job;

static void key_i64(job *j, const char *key, int64_t v) {
    rex_jw_key(&j->w, key);
    rex_jw_i64(&j->w, v);
}

static void key_str(job *j, const char *key, const char *v) {
    rex_jw_key(&j->w, key);
    rex_jw_cstr(&j->w, v);
}

static void head(job *j, const char *kind) {
    rex_jw_obj(&j->w);
    key_str(j, "kind", kind);
    key_str(j, "path", j->path);
}

static bool there(const char *path, const char *name) {
    char full[4096];
    struct stat st;
    const int n = snprintf(full, sizeof full, "%s/%s", path, name);
    return n > 0 && (size_t)n < sizeof full && stat(full, &st) == 0;
}

static bool ends_in(const char *s, const char *end) {
    const size_t n = strlen(s);
    const size_t m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

/* ---- arrays and tensors ---- */

static void put_shape(job *j, const rex_tensor *t) {
    rex_jw_key(&j->w, "shape");
    rex_jw_arr(&j->w);
    for (int i = 0; i < t->ndim; i++) rex_jw_i64(&j->w, t->dim[i]);
    rex_jw_arr_end(&j->w);
}

static int64_t elements(const rex_tensor *t) { return t->rows * t->cols; }

static rex_status npy(job *j) {
    rex_npy *n;
    char beside[4096];
    REX_TRY(rex_npy_open(j->path, &n, j->e));
    const rex_tensor *t = rex_npy_tensor(n);
    head(j, "npy");
    key_str(j, "type", rex_dtype_get(t->type)->name);
    put_shape(j, t);
    key_i64(j, "bytes", (int64_t)t->data.n);
    rex_npy_close(n);
    const int len = snprintf(beside, sizeof beside, "%s.json", j->path);
    struct stat st;
    if (len > 0 && (size_t)len < sizeof beside && stat(beside, &st) == 0) {
        rex_map *m;
        rex_jval *v;
        REX_TRY(rex_json_load(j->a, beside, &v, j->e)); /* only what can be read is handed on */
        REX_TRY(rex_map_open(beside, &m, j->e));
        const rex_view all = rex_map_view(m);
        rex_str text = { (const char *)all.p, all.n };
        while (text.n && text.p[text.n - 1] <= ' ') text.n--;
        rex_jw_key(&j->w, "about");
        rex_jw_raw(&j->w, text);
        rex_map_close(m);
    }
    rex_jw_obj_end(&j->w);
    return REX_OK;
}

/* Totals, counts by type, and the list: of tensors handed out by `at`. */
static void put_tensors(job *j, const void *h, size_t n,
                        const rex_tensor *(*at)(const void *, size_t)) {
    int64_t count[REX_T_COUNT] = { 0 };
    int64_t all = 0;
    int64_t bytes = 0;
    for (size_t i = 0; i < n; i++) {
        const rex_tensor *t = at(h, i);
        count[t->type]++;
        all += elements(t);
        bytes += (int64_t)t->data.n;
    }
    key_i64(j, "tensors", (int64_t)n);
    key_i64(j, "parameters", all);
    key_i64(j, "bytes", bytes);
    rex_jw_key(&j->w, "types");
    rex_jw_obj(&j->w);
    for (int t = 0; t < REX_T_COUNT; t++)
        if (count[t]) key_i64(j, rex_dtype_get((rex_dtype)t)->name, count[t]);
    rex_jw_obj_end(&j->w);
    rex_jw_key(&j->w, "list");
    rex_jw_arr(&j->w);
    for (size_t i = 0; i < n; i++) {
        const rex_tensor *t = at(h, i);
        rex_jw_obj(&j->w);
        rex_jw_key(&j->w, "name");
        rex_jw_str(&j->w, t->name);
        key_str(j, "type", rex_dtype_get(t->type)->name);
        put_shape(j, t);
        rex_jw_obj_end(&j->w);
    }
    rex_jw_arr_end(&j->w);
}

static const rex_tensor *st_at(const void *h, size_t i) { return rex_st_at(h, i); }
static const rex_tensor *gguf_at(const void *h, size_t i) { return rex_gguf_at(h, i); }

static void put_st(job *j, const rex_st *s) {
    rex_jw_key(&j->w, "metadata");
    rex_jw_obj(&j->w);
    for (size_t i = 0; i < rex_st_meta_count(s); i++) {
        rex_str k;
        rex_str v;
        rex_st_meta_at(s, i, &k, &v);
        rex_jw_keys(&j->w, k);
        rex_jw_str(&j->w, v);
    }
    rex_jw_obj_end(&j->w);
    put_tensors(j, s, rex_st_count(s), st_at);
}

static rex_status safetensors(job *j) {
    rex_st *s;
    REX_TRY(rex_st_open(j->path, &s, j->e));
    head(j, "safetensors");
    put_st(j, s);
    rex_jw_obj_end(&j->w);
    rex_st_close(s);
    return REX_OK;
}

/* One element as JSON; what JSON has no number for is text. */
static void put_elem(job *j, const rex_gguf_meta *m, uint64_t i) {
    if (m->elem == REX_G_STR) {
        rex_jw_str(&j->w, m->str[i]);
    } else if (m->elem == REX_G_BOOL) {
        rex_jw_bool(&j->w, rex_gguf_elem_i64(m, i) != 0);
    } else if (m->elem == REX_G_ARR) {
        rex_jw_null(&j->w);
    } else if (m->elem == REX_G_F32 || m->elem == REX_G_F64) {
        const double v = rex_gguf_elem_f64(m, i);
        if (isnan(v))
            rex_jw_cstr(&j->w, "nan");
        else if (isinf(v))
            rex_jw_cstr(&j->w, v < 0 ? "-inf" : "inf");
        else if (m->elem == REX_G_F32)
            rex_jw_f32(&j->w, (float)v);
        else
            rex_jw_f64(&j->w, v);
    } else if (m->elem == REX_G_U64 && rex_gguf_elem_i64(m, i) < 0) {
        rex_jw_f64(&j->w, rex_gguf_elem_f64(m, i));
    } else {
        rex_jw_i64(&j->w, rex_gguf_elem_i64(m, i));
    }
}

static void put_gguf_meta(job *j, const rex_gguf_meta *m) {
    static const char *const kinds[] = {
#define X(name, bytes) #name,
        REX_GGUF_KINDS(X)
#undef X
    };
    rex_jw_keys(&j->w, m->key);
    if (m->kind != REX_G_ARR) {
        put_elem(j, m, 0);
        return;
    }
    rex_jw_obj(&j->w);
    key_str(j, "of", kinds[m->elem]);
    key_i64(j, "n", (int64_t)m->n);
    rex_jw_key(&j->w, "first");
    rex_jw_arr(&j->w);
    for (uint64_t i = 0; i < m->n && i < 8; i++) put_elem(j, m, i);
    rex_jw_arr_end(&j->w);
    rex_jw_obj_end(&j->w);
}

static rex_status gguf(job *j) {
    rex_gguf *g;
    REX_TRY(rex_gguf_open(j->path, &g, j->e));
    head(j, "gguf");
    key_i64(j, "version", rex_gguf_version(g));
    rex_jw_key(&j->w, "metadata");
    rex_jw_obj(&j->w);
    for (size_t i = 0; i < rex_gguf_meta_count(g); i++) put_gguf_meta(j, rex_gguf_meta_at(g, i));
    rex_jw_obj_end(&j->w);
    put_tensors(j, g, rex_gguf_count(g), gguf_at);
    rex_jw_obj_end(&j->w);
    rex_gguf_close(g);
    return REX_OK;
}

/* ---- records ---- */

static const char *const field_names[] = {
#define X(NAME, name, kind) #name,
    REX_FIELDS(X)
#undef X
};
static size_t present(const rex_records *r, rex_field f) {
    const size_t rows = rex_records_rows(r);
    const double *num = rex_records_num(r, f);
    const int64_t *len = rex_records_len(r, f);
    const uint32_t *id = rex_records_ids(r, f);
    size_t n = 0;
    for (size_t i = 0; i < rows; i++) {
        const bool has = len ? len[i] >= 0 : id ? id[i] != UINT32_MAX : num && !isnan(num[i]);
        n += has;
    }
    return n;
}

/* How often each text of a column occurs, in order of first appearance; at most 20 of them. */
static rex_status put_counts(job *j, const rex_records *r, rex_field f) {
    const size_t rows = rex_records_rows(r);
    const uint32_t *id = rex_records_ids(r, f);
    int64_t count[20] = { 0 };
    size_t first[20] = { 0 };
    uint32_t n = 0;
    for (size_t i = 0; i < rows; i++) {
        if (id[i] >= 20) continue;
        if (count[id[i]]++ == 0) first[id[i]] = i;
        if (id[i] >= n) n = id[i] + 1;
    }
    rex_jw_key(&j->w, field_names[f]);
    rex_jw_obj(&j->w);
    for (uint32_t k = 0; k < n; k++) {
        rex_jw_keys(&j->w, rex_records_str(r, f, first[k]));
        rex_jw_i64(&j->w, count[k]);
    }
    rex_jw_obj_end(&j->w);
    return REX_OK;
}

static int64_t distinct(const rex_records *r, rex_field f) {
    const size_t rows = rex_records_rows(r);
    const uint32_t *id = rex_records_ids(r, f);
    uint32_t n = 0;
    for (size_t i = 0; i < rows; i++)
        if (id[i] != UINT32_MAX && id[i] >= n) n = id[i] + 1;
    return n;
}

static void put_rewards(job *j, const rex_records *r) {
    const size_t rows = rex_records_rows(r);
    const double *v = rex_records_num(r, REX_FI_REWARD);
    int64_t n = 0;
    int64_t right = 0;
    int64_t graded = 0;
    double sum = 0;
    for (size_t i = 0; i < rows; i++) {
        if (isnan(v[i])) continue;
        n++;
        sum += v[i];
        right += v[i] == 1;
        graded += v[i] != 0 && v[i] != 1;
    }
    size_t solvable = 0;
    for (size_t g = 0; g < rex_records_groups(r); g++) {
        size_t m;
        const uint32_t *of = rex_records_of(r, g, &m);
        bool any = false;
        for (size_t i = 0; i < m; i++) any = any || v[of[i]] > 0;
        solvable += any;
    }
    rex_jw_key(&j->w, "rewards");
    rex_jw_obj(&j->w);
    key_i64(j, "rows", n);
    key_i64(j, "right", right);
    key_i64(j, "graded", graded);
    if (n) {
        rex_jw_key(&j->w, "mean");
        rex_jw_f64(&j->w, sum / (double)n);
    }
    key_i64(j, "prompts_solved", (int64_t)solvable);
    rex_jw_obj_end(&j->w);
}

/* The first line: what kind of records, and the members that no reader of ours knows. */
static rex_status put_first_line(job *j, const char **kind, rex_str **other, size_t *n_other) {
    static const char *const samples[] = { "text",   "ids",  "reward", "response",
                                           "sample", "logp", "verdict" };
    static const char *const prompts[] = { "prompt", "question", "messages", "prompt_ids",
                                           "problem" };
    rex_lines *l;
    rex_str line;
    int64_t no;
    bool more;
    rex_jval *v;
    REX_TRY(rex_lines_open(j->path, &l, j->e));
    rex_status s = rex_lines_next(l, &line, &no, &more, j->e);
    if (s == REX_OK && !more) s = rex_fail(j->e, REX_EFORMAT, 0, "%s: is empty", j->path);
    if (s == REX_OK) {
        s = rex_json_parse(j->a, line, j->path, &v, j->e);
        if (s != REX_OK)
            s = rex_fail_in(j->e, s, "no file that this program knows, read as records");
    }
    if (s == REX_OK && v->kind != REX_J_OBJ)
        s = rex_fail(j->e, REX_EFORMAT, v->at, "%s: line %lld: expected an object, found %s",
                     j->path, (long long)no, rex_json_kind_name(v->kind));
    rex_str *names = NULL;
    if (s == REX_OK) {
        names = rex_arena_take(j->a, (size_t)v->n + 1, sizeof *names, j->e);
        if (!names) s = REX_ENOMEM;
    }
    if (s == REX_OK) {
        *kind = "records";
        for (size_t i = 0; i < sizeof prompts / sizeof *prompts; i++)
            if (rex_json_get(v, prompts[i])) *kind = "prompts";
        for (size_t i = 0; i < sizeof samples / sizeof *samples; i++)
            if (rex_json_get(v, samples[i])) *kind = "samples";
        *n_other = 0;
        for (uint32_t i = 0; i < v->n; i++) {
            bool known = rex_str_is(v->u.c.key[i], "prompt_id");
            for (int f = 0; f < REX_FIELD_COUNT; f++)
                known = known || rex_str_is(v->u.c.key[i], field_names[f]);
            if (!known)
                s = s == REX_OK ? rex_str_copy(j->a, v->u.c.key[i], &names[(*n_other)++], j->e) : s;
        }
        *other = names;
    }
    rex_lines_close(l);
    return s;
}

static rex_status put_records(job *j, const rex_records *r) {
    size_t least = SIZE_MAX;
    size_t most = 0;
    for (size_t g = 0; g < rex_records_groups(r); g++) {
        size_t n;
        (void)rex_records_of(r, g, &n);
        least = n < least ? n : least;
        most = n > most ? n : most;
    }
    key_i64(j, "rows", (int64_t)rex_records_rows(r));
    key_i64(j, "prompts", (int64_t)rex_records_groups(r));
    rex_jw_key(&j->w, "rows_per_prompt");
    rex_jw_obj(&j->w);
    key_i64(j, "min", least == SIZE_MAX ? 0 : (int64_t)least);
    key_i64(j, "max", (int64_t)most);
    rex_jw_obj_end(&j->w);
    rex_jw_key(&j->w, "fields");
    rex_jw_obj(&j->w);
    for (int f = 0; f < REX_FIELD_COUNT; f++) {
        const size_t n = present(r, (rex_field)f);
        if (n) key_i64(j, field_names[f], (int64_t)n);
    }
    rex_jw_obj_end(&j->w);
    if (present(r, REX_FI_REWARD)) put_rewards(j, r);
    if (present(r, REX_FI_VERDICT)) REX_TRY(put_counts(j, r, REX_FI_VERDICT));
    if (present(r, REX_FI_FINISH)) REX_TRY(put_counts(j, r, REX_FI_FINISH));
    if (present(r, REX_FI_TEXT)) key_i64(j, "distinct_texts", distinct(r, REX_FI_TEXT));
    if (present(r, REX_FI_EXTRACTED))
        key_i64(j, "distinct_extracted", distinct(r, REX_FI_EXTRACTED));
    return REX_OK;
}

static rex_status records(job *j) {
    const char *kind = "records";
    rex_str *other = NULL;
    size_t n_other = 0;
    rex_records_opts o;
    rex_records *r;
    REX_TRY(put_first_line(j, &kind, &other, &n_other));
    rex_records_defaults(&o);
    for (int f = 0; f < REX_FIELD_COUNT; f++) o.want |= 1u << f;
    o.broken = REX_BROKEN_KEEP;
    REX_TRY(rex_records_open(j->path, &o, &r, j->e));
    head(j, kind);
    const rex_status s = put_records(j, r);
    rex_records_close(r);
    rex_jw_key(&j->w, "other_fields");
    rex_jw_arr(&j->w);
    for (size_t i = 0; i < n_other; i++) rex_jw_str(&j->w, other[i]);
    rex_jw_arr_end(&j->w);
    rex_jw_obj_end(&j->w);
    return s;
}

/* ---- folders and single JSON files ---- */

/* A member of a JSON file, as it stands there. */
static rex_status put_member(job *j, const char *key, const rex_jval *v) {
    if (!v) return REX_OK;
    rex_jw_key(&j->w, key);
    switch (v->kind) {
    case REX_J_NULL: rex_jw_null(&j->w); return REX_OK;
    case REX_J_TRUE:
    case REX_J_FALSE: rex_jw_bool(&j->w, v->kind == REX_J_TRUE); return REX_OK;
    case REX_J_NUM: rex_jw_raw(&j->w, v->u.s); return REX_OK;
    case REX_J_STR: rex_jw_str(&j->w, v->u.s); return REX_OK;
    case REX_J_ARR:
        rex_jw_arr(&j->w);
        for (uint32_t i = 0; i < v->n; i++)
            if (v->u.c.item[i].kind == REX_J_STR) rex_jw_str(&j->w, v->u.c.item[i].u.s);
        rex_jw_arr_end(&j->w);
        return REX_OK;
    case REX_J_OBJ: rex_jw_null(&j->w); return REX_OK;
    }
    return REX_OK;
}

/* An adapter in the form of PEFT: its settings and its tensors. */
static rex_status adapter_folder(job *j) {
    static const char *const keys[] = {"peft_type", "base_model_name_or_path", "r", "lora_alpha",
                                       "use_rslora", "target_modules"};
    rex_str path;
    rex_jval *v;
    head(j, "adapter");
    REX_TRY(rex_str_fmt(j->a, &path, j->e, "%s/adapter_config.json", j->path));
    REX_TRY(rex_json_load(j->a, path.p, &v, j->e));
    rex_jw_key(&j->w, "config");
    rex_jw_obj(&j->w);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const rex_jval *const m = rex_json_get(v, keys[i]);
        if (m && m->kind != REX_J_OBJ) REX_TRY(put_member(j, keys[i], m));
    }
    rex_jw_obj_end(&j->w);
    if (there(j->path, "adapter_model.safetensors")) {
        rex_st *s;
        REX_TRY(rex_str_fmt(j->a, &path, j->e, "%s/adapter_model.safetensors", j->path));
        REX_TRY(rex_st_open(path.p, &s, j->e));
        put_st(j, s);
        rex_st_close(s);
    }
    rex_jw_obj_end(&j->w);
    return REX_OK;
}

static rex_status model_folder(job *j) {
    static const char *const keys[] = { "architectures",
                                        "model_type",
                                        "hidden_size",
                                        "num_hidden_layers",
                                        "num_attention_heads",
                                        "num_key_value_heads",
                                        "head_dim",
                                        "intermediate_size",
                                        "vocab_size",
                                        "max_position_embeddings",
                                        "tie_word_embeddings",
                                        "torch_dtype",
                                        "dtype" };
    head(j, "model");
    if (there(j->path, "config.json")) {
        rex_str full;
        rex_jval *v;
        REX_TRY(rex_str_fmt(j->a, &full, j->e, "%s/config.json", j->path));
        REX_TRY(rex_json_load(j->a, full.p, &v, j->e));
        rex_jw_key(&j->w, "config");
        rex_jw_obj(&j->w);
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
            const rex_jval *m = rex_json_get(v, keys[i]);
            if (m && m->kind != REX_J_OBJ) REX_TRY(put_member(j, keys[i], m));
        }
        rex_jw_obj_end(&j->w);
    }
    static const char *const files[] = { "tokenizer.json", "tokenizer_config.json",
                                         "generation_config.json", "chat_template.jinja" };
    rex_jw_key(&j->w, "files");
    rex_jw_arr(&j->w);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (there(j->path, files[i])) rex_jw_cstr(&j->w, files[i]);
    rex_jw_arr_end(&j->w);
    if (there(j->path, "model.safetensors") || there(j->path, "model.safetensors.index.json")) {
        rex_st *s;
        REX_TRY(rex_st_open(j->path, &s, j->e));
        put_st(j, s);
        rex_st_close(s);
    }
    rex_jw_obj_end(&j->w);
    return REX_OK;
}

/* Names in a subfolder, in order; a folder that is not there has none. */
static int by_name(const void *a, const void *b) {
    return strcmp(((const rex_str *)a)->p, ((const rex_str *)b)->p);
}

static rex_status put_names(job *j, const char *key, const char *sub) {
    rex_str full;
    rex_str name[1000];
    size_t n = 0;
    REX_TRY(rex_str_fmt(j->a, &full, j->e, "%s/%s", j->path, sub));
    DIR *d = opendir(full.p);
    if (!d) return REX_OK;
    rex_status s = REX_OK;
    for (const struct dirent *x; s == REX_OK && n < 1000 && (x = readdir(d)) != NULL;)
        if (x->d_name[0] != '.') s = rex_str_copy(j->a, rex_str_of(x->d_name), &name[n++], j->e);
    (void)closedir(d);
    REX_TRY(s);
    qsort(name, n, sizeof *name, by_name);
    rex_jw_key(&j->w, key);
    rex_jw_arr(&j->w);
    for (size_t i = 0; i < n; i++) rex_jw_str(&j->w, name[i]);
    rex_jw_arr_end(&j->w);
    return REX_OK;
}

static rex_status run_folder(job *j) {
    rex_str full;
    rex_jval *v;
    rex_map *m;
    REX_TRY(rex_str_fmt(j->a, &full, j->e, "%s/run.json", j->path));
    REX_TRY(rex_json_load(j->a, full.p, &v, j->e));
    REX_TRY(rex_map_open(full.p, &m, j->e));
    rex_str text = { (const char *)rex_map_view(m).p, rex_map_view(m).n };
    while (text.n && text.p[text.n - 1] <= ' ') text.n--;
    head(j, "run");
    rex_jw_key(&j->w, "run");
    rex_jw_raw(&j->w, text);
    rex_map_close(m);
    if (there(j->path, "steps.jsonl")) {
        rex_lines *l;
        rex_str line;
        rex_str last = { NULL, 0 };
        int64_t no;
        int64_t steps = 0;
        bool more = true;
        REX_TRY(rex_str_fmt(j->a, &full, j->e, "%s/steps.jsonl", j->path));
        REX_TRY(rex_lines_open(full.p, &l, j->e));
        rex_status s = REX_OK;
        while (s == REX_OK && more) {
            s = rex_lines_next(l, &line, &no, &more, j->e);
            if (s != REX_OK || !more) break;
            steps++;
            last = line;
        }
        rex_jval *checked;
        if (s == REX_OK && last.p) s = rex_json_parse(j->a, last, full.p, &checked, j->e);
        key_i64(j, "steps", steps);
        if (s == REX_OK && last.p) {
            rex_jw_key(&j->w, "last_step");
            rex_jw_raw(&j->w, last);
        }
        rex_lines_close(l);
        REX_TRY(s);
    }
    REX_TRY(put_names(j, "checkpoints", "checkpoints"));
    REX_TRY(put_names(j, "samples", "samples"));
    REX_TRY(put_names(j, "eval", "eval"));
    rex_jw_obj_end(&j->w);
    return REX_OK;
}

static rex_status json_file(job *j) {
    rex_jval *v;
    REX_TRY(rex_json_load(j->a, j->path, &v, j->e));
    const rex_jval *model = rex_json_get(v, "model");
    const rex_jval *vocab = rex_json_get(model, "vocab");
    head(j, vocab ? "tokenizer" : "json");
    if (vocab) {
        REX_TRY(put_member(j, "type", rex_json_get(model, "type")));
        key_i64(j, "vocab", vocab->n);
        const rex_jval *merges = rex_json_get(model, "merges");
        const rex_jval *added = rex_json_get(v, "added_tokens");
        if (merges) key_i64(j, "merges", merges->n);
        if (added) key_i64(j, "added_tokens", added->n);
    }
    rex_jw_key(&j->w, "members");
    rex_jw_arr(&j->w);
    for (uint32_t i = 0; v->kind == REX_J_OBJ && i < v->n; i++) rex_jw_str(&j->w, v->u.c.key[i]);
    rex_jw_arr_end(&j->w);
    rex_jw_obj_end(&j->w);
    return REX_OK;
}

static rex_status folder(job *j) {
    if (there(j->path, "run.json")) return run_folder(j);
    if (there(j->path, "config.json") || there(j->path, "model.safetensors") ||
        there(j->path, "model.safetensors.index.json"))
        return model_folder(j);
    if (there(j->path, "adapter_config.json")) return adapter_folder(j);
    return rex_fail(j->e, REX_EFORMAT, -1,
                    "folder %s: neither a run (run.json) nor a model (config.json) nor an adapter "
                    "(adapter_config.json)",
                    j->path);
}

static rex_status any(job *j) {
    struct stat st;
    if (stat(j->path, &st) == 0 && S_ISDIR(st.st_mode)) return folder(j);
    rex_map *m;
    REX_TRY(rex_map_open(j->path, &m, j->e));
    const rex_view all = rex_map_view(m);
    const bool is_gguf = all.n >= 4 && memcmp(all.p, "GGUF", 4) == 0;
    const bool is_npy = all.n >= 6 && memcmp(all.p, "\x93NUMPY", 6) == 0;
    const bool is_st =
        ends_in(j->path, ".safetensors") || (all.n > 9 && all.p[7] == 0 && all.p[8] == '{');
    rex_map_close(m);
    if (is_gguf || ends_in(j->path, ".gguf")) return gguf(j);
    if (is_npy || ends_in(j->path, ".npy")) return npy(j);
    if (is_st || ends_in(j->path, ".safetensors.index.json")) return safetensors(j);
    if (ends_in(j->path, ".json")) return json_file(j);
    return records(j);
}

rex_status rex_file_describe(rex_arena *a, const char *path, rex_str *json, rex_err *e) {
    rex_buf b;
    rex_buf_init(&b, 0);
    job j = { .a = a, .path = path, .e = e };
    rex_jw_init(&j.w, &b);
    rex_status s = any(&j);
    if (s == REX_OK) s = rex_buf_check(&b, e);
    if (s == REX_OK) s = rex_str_copy(a, (rex_str){ b.p, b.n }, json, e);
    rex_buf_free(&b);
    return s;
}
