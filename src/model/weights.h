/* SPDX-License-Identifier: MIT
 *
 * weights.h: the tensors of a model one after the other, row by row, whatever file they lie in:
 * what writes a model anew reads them here. The model need have been opened with config_only.
 */
#ifndef REX_WEIGHTS_H
#define REX_WEIGHTS_H

#include "adapter.h"

/* One tensor as the Hugging Face form has it; a vector has rows == 1. */
typedef struct {
    rex_slot slot;
    int layer; /* 0 where the slot is not of a layer */
    bool vector, norm;
    int64_t rows, cols;
    int64_t hd;          /* > 0: q or k, heads of hd rows, which some GGUF files interleave */
    const rex_lora *low; /* an adapter that is to be merged, or NULL */
} rex_weight;

/* All tensors, in the order of a checkpoint, into the arena. */
REX_MUST rex_status rex_weights_list(const rex_model *m, rex_arena *a, rex_weight **out, size_t *n,
                                     rex_err *e);
/* Row `row` widened to f32, with the adapter's part added (each element rounded once). Opens the
 * weights when first asked. */
REX_MUST rex_status rex_weights_row(rex_model *m, const rex_weight *w, int64_t row, float *out,
                                    rex_err *e);

#endif
