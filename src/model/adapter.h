/* SPDX-License-Identifier: MIT
 *
 * adapter.h: low-rank adapters (LoRA, Hu et al. 2021) on linear layers, in the form in which the
 * package PEFT keeps them. y = W x + bias, continued by B u with u = scale * (A x): applied in the
 * one forward pass, never merged into W. The panels of W are never written; A and B are f32,
 * ours, and the only parameters of such a model that can be trained.
 */
#ifndef REX_ADAPTER_H
#define REX_ADAPTER_H

#include "model.h"

struct rex_lora {
    rex_lin a, b; /* panels of A (rank, in) and B (out, rank) */
};

typedef struct rex_adapter {
    int64_t rank;
    double alpha;
    bool rslora;  /* scale = alpha / sqrt(rank), not alpha / rank */
    float scale;
    uint32_t slots; /* 1 << rex_slot of every kind of layer that has one */
    int64_t params;
    char targets[128]; /* their names, "q_proj,v_proj" */
    const char *path;  /* the folder, in the model's arena; NULL: a new one */
    float *slab;       /* owned: all panels, `floats` of them */
    size_t floats;
} rex_adapter;

/* What config and names say of a folder's adapter, before any weight is looked at. */
typedef struct {
    int64_t rank;
    double alpha;
    bool rslora;
} rex_lora_config;
/* Reads an adapter_config.json (`what` names it). Everything that would change a number and that
 * is not implemented is refused by its key. */
REX_MUST rex_status rex_lora_config_read(const rex_model *m, const rex_jval *doc, const char *what,
                                         rex_lora_config *out, rex_err *e);

/* Gives an opened model (or one of which only the config was read) the adapter of the options: from
 * a folder, or a new one with A drawn uniformly within in^-1/2, named by seed, tensor, row and
 * column, and B zero. */
REX_MUST rex_status rex_adapter_open(rex_model *m, const rex_model_opts *o, rex_pool *pool,
                                     rex_err *e);
void rex_adapter_close(rex_adapter *a);
void rex_adapter_info(const rex_model *m, rex_model_info *i);

/* Appends the adapter's parameters, layer by layer, A before B; `out` NULL counts. */
size_t rex_adapter_params(rex_model *m, rex_param *out);
/* adapter_config.json, as PEFT reads it; `base` is the path that it names as its model. */
void rex_adapter_config(const rex_model *m, const char *base, rex_buf *out);
/* Row `row` of W + scale * B A, given that row of W: each element rounded once. */
void rex_adapter_merge_row(const rex_adapter *a, const rex_lora *low, int64_t row, float *w);

/* The linear layer that a slot names: where it lies in a rex_layer, its rows and columns. False
 * where the model has no such layer. */
bool rex_slot_lin(const rex_shape *s, rex_slot slot, rex_lin_id *id, int64_t *rows, int64_t *cols);

#endif
