/* SPDX-License-Identifier: MIT
 *
 * export.c: a model written anew, with an adapter merged or without: as a Hugging Face folder here,
 * as a GGUF file in export_gguf.c. Rows stream from the source to the destination, so that memory
 * holds one row. A merged element is W + scale * (B A), summed in double and rounded once; all
 * others are those of the source, exactly, where the type written can hold them.
 */
#include "export.h"

#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const rex_dtype types[] = {REX_T_F32, REX_T_F16, REX_T_BF16, REX_T_Q8_0};

rex_status rex_export_row(rex_exporting *x, const rex_weight *w, int64_t row, rex_dtype type,
                          bool plus1, size_t *n, rex_err *e) {
    const rex_dtype_info *const t = rex_dtype_get(type);
    REX_TRY(rex_weights_row(x->m, w, row, x->row, e));
    for (int64_t i = 0; plus1 && w->norm && i < w->cols; i++) x->row[i] += 1.0f;
    *n = (size_t)(w->cols / t->block) * (size_t)t->bytes;
    rex_dtype_pack(type, x->row, w->cols, x->bytes);
    return REX_OK;
}

/* ---- a Hugging Face folder --------------------------------------------------------------- */

static rex_status hf_name(const rex_exporting *x, const rex_weight *w, rex_str *out, rex_err *e) {
    const char *const f = rex_slot_hf(x->m->src.arch, w->slot), *const mark = strstr(f, "%d");
    if (!mark) return rex_str_copy(x->a, rex_str_of(f), out, e);
    return rex_str_fmt(x->a, out, e, "%.*s%d%s", (int)(mark - f), f, w->layer, mark + 2);
}

static rex_status put_weights(rex_exporting *x, const char *folder, rex_dtype type, rex_err *e) {
    rex_str path;
    REX_TRY(rex_str_fmt(x->a, &path, e, "%s/model.safetensors", folder));
    rex_tensor *const t = rex_arena_zero(x->a, x->n, sizeof *t, e);
    if (!t) return REX_ENOMEM;
    for (size_t i = 0; i < x->n; i++) {
        const rex_weight *const w = &x->w[i];
        t[i] = (rex_tensor){.type = type, .ndim = w->vector ? 1 : 2};
        t[i].dim[0] = w->vector ? w->cols : w->rows;
        t[i].dim[1] = w->cols;
        REX_TRY(hf_name(x, w, &t[i].name, e));
    }
    const rex_str meta[2] = {rex_str_of("format"), rex_str_of("pt")};
    rex_st_out *out = NULL;
    rex_status s = rex_st_out_open(path.p, t, x->n, meta, 1, &out, e);
    for (size_t i = 0; i < x->n && s == REX_OK; i++)
        for (int64_t r = 0; r < x->w[i].rows && s == REX_OK; r++) {
            size_t bytes = 0;
            s = rex_cancelled() ? rex_fail(e, REX_ECANCEL, -1, "stopped; nothing was written")
                                : rex_export_row(x, &x->w[i], r, type, false, &bytes, e);
            if (s == REX_OK) rex_st_out_add(out, x->bytes, bytes);
        }
    if (s == REX_OK) return rex_st_out_commit(out, e);
    rex_st_out_close(out);
    return s;
}

static rex_status put_side(rex_exporting *x, const char *folder, const char *dtype, rex_err *e) {
    rex_run r = {.model = x->m, .base = x->o.model};
    REX_TRY(rex_run_side(&r, x->o.tokenizer, dtype, x->a, e));
    if (r.n_side == 1)
        rex_say(REX_LOG_WARN, "%s has no tokenizer files: the new folder has none, either; "
                "--tokenizer FOLDER adds them", x->o.model);
    for (size_t i = 0; i < r.n_side; i++) {
        rex_str path;
        rex_out *out = NULL;
        REX_TRY(rex_str_fmt(x->a, &path, e, "%s/%s", folder, r.side[i].name));
        REX_TRY(rex_out_open(path.p, &out, e));
        rex_out_add(out, r.side[i].text.p, r.side[i].text.n);
        REX_TRY(rex_out_commit(out, e));
    }
    return REX_OK;
}

static rex_status export_folder(rex_exporting *x, rex_err *e) {
    static const char *const dtype[] = {"float32", "float16", "bfloat16"};
    rex_str part, out = rex_str_of(x->o.out);
    while (out.n > 1 && out.p[out.n - 1] == '/') out.n--;
    if (x->o.type == REX_WEIGHTS_Q8_0)
        return rex_fail(e, REX_EARG, -1,
                        "a Hugging Face folder holds f32, f16 or bf16 weights; q8_0 is for GGUF");
    if (x->m->src.gguf && x->m->src.arch == &rex_arch_gemma3)
        return rex_fail(e, REX_EUNSUP, -1,
                        "%s: the GGUF form of gemma3 has changed its norms; a folder is made from "
                        "a folder",
                        x->o.model);
    if (access(x->o.out, F_OK) == 0)
        return rex_fail(e, REX_EARG, -1, "%s is there already; give another --out", x->o.out);
    if (x->m->src.gguf)
        rex_say(REX_LOG_WARN, "%s: GGUF weights are written as a %s model folder", x->o.model,
                dtype[x->o.type]);
    REX_TRY(rex_str_fmt(x->a, &part, e, "%.*s.part", (int)out.n, out.p));
    rex_folder_remove(part.p);
    REX_TRY(rex_folder_make(part.p, REX_FOLDER_NEW, e));
    rex_status s = put_side(x, part.p, dtype[x->o.type], e);
    if (s == REX_OK) s = put_weights(x, part.p, types[x->o.type], e);
    if (s == REX_OK && rename(part.p, x->o.out) != 0)
        s = rex_fail(e, REX_EIO, -1, "%s: cannot be renamed: %s", part.p, strerror(errno));
    if (s != REX_OK) rex_folder_remove(part.p);
    return s;
}

/* ---- both -------------------------------------------------------------------------------- */

static rex_status open_tokenizer(rex_exporting *x, rex_tok **tok, rex_err *e) {
    struct stat sb;
    char file[4096];
    if (!x->o.gguf || x->o.no_tokenizer) return REX_OK;
    const char *const from = x->o.tokenizer ? x->o.tokenizer : x->o.model;
    const bool folder = stat(from, &sb) == 0 && S_ISDIR(sb.st_mode);
    const bool none = x->m->src.gguf && !x->o.tokenizer
                          ? !rex_gguf_meta_find(x->m->src.gguf, "tokenizer.ggml.model")
                          : folder && (!rex_path_join(file, sizeof file, from, "tokenizer.json") ||
                                 access(file, F_OK) != 0);
    if (none && !x->o.tokenizer) {
        rex_say(REX_LOG_WARN, "%s has no tokenizer: the GGUF file has none, either", x->o.model);
        return REX_OK;
    }
    REX_TRY(rex_tok_open(from, tok, e));
    x->tok = *tok;
    if (rex_tok_size(*tok) <= x->m->s.V) return REX_OK;
    return rex_fail(e, REX_EFORMAT, -1,
                    "the tokenizer has %lld ids and the weights %lld: they do not belong together",
                    (long long)rex_tok_size(*tok), (long long)x->m->s.V);
}

static rex_status work(rex_exporting *x, rex_tok **tok, rex_err *e) {
    rex_model_opts o;
    rex_model_defaults(&o);
    o.config_only = true;
    o.adapter = x->o.adapter;
    if (!x->o.model || !x->o.out)
        return rex_fail(e, REX_EARG, -1, "export: model and out are needed");
    if ((unsigned)x->o.type > REX_WEIGHTS_Q8_0)
        return rex_fail(e, REX_EARG, -1, "export: no such type of weights");
    REX_TRY(rex_model_open(x->o.model, &o, NULL, &x->m, e));
    REX_TRY(open_tokenizer(x, tok, e));
    REX_TRY(rex_weights_list(x->m, x->a, &x->w, &x->n, e));
    int64_t longest = 0;
    for (size_t i = 0; i < x->n; i++) longest = x->w[i].cols > longest ? x->w[i].cols : longest;
    x->row = rex_arena_take(x->a, (size_t)longest, sizeof *x->row, e);
    x->bytes = x->row ? rex_arena_take(x->a, (size_t)longest, sizeof *x->row, e) : NULL;
    if (!x->bytes) return REX_ENOMEM;
    const uint64_t fp = rex_fp_enter();
    const rex_status s = x->o.gguf ? rex_export_gguf(x, e) : export_folder(x, e);
    rex_fp_leave(fp);
    return s;
}

void rex_export_defaults(rex_export_opts *o) {
    *o = (rex_export_opts){.size = sizeof *o, .type = REX_WEIGHTS_F32};
}

rex_status rex_export_run(const rex_export_opts *o, rex_err *e) {
    rex_exporting x = {0};
    rex_tok *tok = NULL;
    rex_export_defaults(&x.o);
    memcpy(&x.o, o, o->size < sizeof x.o ? o->size : sizeof x.o);
    REX_TRY(rex_arena_open(0, &x.a, e));
    const rex_status s = work(&x, &tok, e);
    rex_tok_close(tok);
    rex_model_close(x.m);
    rex_arena_close(x.a);
    return s;
}
