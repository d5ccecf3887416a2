/* SPDX-License-Identifier: MIT
 *
 * sft.h: what the files of supervised training share: documents of token ids, checkpoints, the run
 * folder. The public part (rex_sft_opts, rex_sft_run) stands in repexp.h.
 */
#ifndef REX_SFT_H
#define REX_SFT_H

#include "share.h"

/* ---- documents (data.c) ------------------------------------------------------------------ */

/* All documents of a file behind each other: those of document i are id[first[i]] ..
 * id[first[i+1]-1], loss[] says which of them are targets. */
typedef struct {
    size_t n;
    int64_t *first; /* n + 1 */
    int32_t *id;
    uint8_t *loss;
    int64_t tokens, targets, longest;
    int64_t too_long, left_out; /* documents that exceed the context, those of them not taken */
    int64_t lost;  /* bytes for which the vocabulary has no token: dropped */
    uint64_t hash; /* of ids and targets: names the data in run.json and on resume */
} rex_docs;

typedef struct {
    const rex_tok *tok;    /* NULL: records must hold ids */
    const rex_chat *chat;  /* NULL: messages are refused */
    const char *map;
    int64_t context, vocab;
    bool all;              /* every token is a target, prompts too */
    bool truncate;         /* too long documents are cut, not left out */
    int32_t eos;           /* put behind responses and texts; -1: none */
} rex_docs_opts;

/* One JSON object a line: `messages`; `prompt` (text or messages) and `response`; `text`; or
 * `prompt_ids` and `ids`. Errors name the line. */
REX_MUST rex_status rex_docs_read(rex_arena *a, const char *path, const rex_docs_opts *o,
                                  rex_docs *out, rex_err *e);
/* Says what there is, and what was left out or dropped. */
void rex_docs_tell(const rex_docs *d, const char *path, int64_t context);
/* The texts of such a file, for building a tokenizer. */
REX_MUST rex_status rex_docs_texts(rex_arena *a, const char *path, const char *map, rex_str **out,
                                   size_t *n, rex_err *e);

/* ---- checkpoints (checkpoint.c) ---------------------------------------------------------- */

/* What a model folder needs besides weights: name and text of each file. */
typedef struct {
    const char *name;
    rex_str text;
} rex_side_file;

typedef struct {
    const rex_grads *g;
    const rex_optim *opt;        /* NULL: a model folder without state */
    rex_share *share;            /* whose ranks hold the moments; NULL: `opt` holds all of them */
    const rex_side_file *side;
    size_t n_side;
    rex_str state;               /* a JSON object: what resume needs besides the optimiser */
} rex_ckpt;

/* Writes folder/step_N aside, fsyncs, renames; then removes all but the `keep` newest (0: none).
 * Room on the disk is checked first. */
REX_MUST rex_status rex_ckpt_save(const char *folder, int64_t step, const rex_ckpt *c, int64_t keep,
                                  rex_err *e);
/* The step of the newest checkpoint by its name, or -1; no file is looked at. */
int64_t rex_ckpt_newest(const char *folder);
/* The newest whole checkpoint below `folder`: its path in the arena and its step, or step -1. What
 * a kill has left half-written is passed over, and so is, said with the file, one whose files are
 * not as they were written. REX_EFORMAT: there are some, none of them whole. */
REX_MUST rex_status rex_ckpt_latest(rex_arena *a, const char *folder, rex_str *path, int64_t *step,
                                    rex_err *e);
/* Moments and update count of the optimiser from a checkpoint; its state object into the arena. */
REX_MUST rex_status rex_ckpt_load(rex_arena *a, const char *path, rex_optim *opt, rex_jval **state,
                                  rex_err *e);
/* Bytes that one checkpoint takes. */
uint64_t rex_ckpt_bytes(const rex_ckpt *c);
/* Names the weights in a GGUF file or a model folder: over the bytes of their files. */
REX_MUST rex_status rex_weights_sum(const char *model, uint64_t *sum, rex_err *e);
/* REX_EIO where the disk of `folder`, which need not be there yet, has less left than that. */
REX_MUST rex_status rex_ckpt_room(const char *folder, const rex_ckpt *c, rex_err *e);
/* Bytes left where `path` is or would be (UINT64_MAX: its file system does not tell); `at` gets the
 * nearest folder that is there. */
uint64_t rex_disk_free(const char *path, char at[4096]);
/* What is trained, in a folder: all weights as model.safetensors (f32), or an adapter's as
 * adapter_model.safetensors. */
REX_MUST rex_status rex_weights_save(const rex_grads *g, const char *folder, rex_err *e);

#endif
