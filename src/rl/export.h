/* SPDX-License-Identifier: MIT
 *
 * export.h: what the two ways of writing a model anew share. The public part (rex_export_opts,
 * rex_export_run) stands in repexp.h.
 */
#ifndef REX_EXPORT_H
#define REX_EXPORT_H

#include "../model/weights.h"

typedef struct {
    rex_export_opts o;
    rex_arena *a;
    rex_model *m;
    rex_weight *w; /* n of them */
    size_t n;
    const rex_tok *tok; /* NULL: none */
    float *row;    /* the longest row */
    uint8_t *bytes; /* the same, packed */
} rex_exporting;

/* Row `row` of a tensor as elements of `type`: *n bytes at x->bytes. `plus1`: a norm stored as w
 * where 1 + w is meant is written as 1 + w, rounded as the forward pass rounds it. */
REX_MUST rex_status rex_export_row(rex_exporting *x, const rex_weight *w, int64_t row,
                                   rex_dtype type, bool plus1, size_t *n, rex_err *e);
/* Writes the GGUF file x->o.out; whole or not at all, and read back before it has its name. */
REX_MUST rex_status rex_export_gguf(rex_exporting *x, rex_err *e);

/* The tokenizer of a GGUF file as the texts of tokenizer.json and tokenizer_config.json; p NULL,
 * with the reason as a warning, where the file has none or one that has no such form. */
REX_MUST rex_status rex_export_tokenizer(const rex_gguf *g, const char *path, rex_arena *a,
                                         rex_str *tokenizer, rex_str *config, rex_err *e);

#endif
