/* SPDX-License-Identifier: MIT
 *
 * model: weights and the forward pass. A `rex_model` is read-only and may be shared; a `rex_ctx`
 * (cache, activations, tables) belongs to one caller at a time. The bits of a row of the forward
 * pass depend on the weights and on the tokens of its sequence up to its position, and on nothing
 * else: not on the other rows of the step, on how a prompt was cut into steps, on sharing, forking,
 * threads or the kernel table. Sampling, scoring and training walk through the same rex_ctx_step.
 */
#ifndef REX_MODEL_H
#define REX_MODEL_H

#include "../flow.h"
#include "../formats/formats.h"
#include "../kernels/kern.h"
#include "arch.h"

/* ---- where weights lie (source.c, gguf_config.c) ----------------------------------------- */

typedef struct {
    const char *path; /* borrowed */
    rex_arena *arena;
    rex_st *st;     /* owned; NULL until rex_source_weights */
    rex_gguf *gguf; /* owned; one of the two */
    const rex_arch *arch;
    const rex_jval *config;
} rex_source;

/* Reads the config of a model file or folder. After a failure rex_source_close is still due. */
REX_MUST rex_status rex_source_open(const char *path, rex_arena *arena, rex_source *s, rex_err *e);
/* Opens the weights (a GGUF file has them open already). */
REX_MUST rex_status rex_source_weights(rex_source *s, rex_err *e);
void rex_source_close(rex_source *s);
bool rex_source_name(const rex_source *s, rex_slot slot, int layer, char *out, size_t room);
const rex_tensor *rex_source_find(const rex_source *s, rex_slot slot, int layer); /* NULL: absent */
/* The tensor, (rows, cols) or a vector where rows is 1; missing, other dims or a type that cannot
 * be widened is an error naming it. */
REX_MUST rex_status rex_source_get(const rex_source *s, rex_slot slot, int layer, int64_t rows,
                                   int64_t cols, const rex_tensor **out, rex_err *e);
void rex_source_drop(rex_source *s, const rex_tensor *t);
/* One warning if the file has tensors that no slot names. */
void rex_source_warn_unused(const rex_source *s, const rex_shape *shape);
/* The metadata of a GGUF file as a config document; finds the architecture. */
REX_MUST rex_status rex_gguf_config(const rex_gguf *g, const char *path, rex_buf *out,
                                    const rex_arch **arch, rex_err *e);
/* dir/file into out; false if it does not fit. */
bool rex_path_join(char *out, size_t room, const char *dir, const char *file);

/* ---- weights (bind.c) -------------------------------------------------------------------- */

/* A linear layer: one tensor of the file, re-laid into panels. w.data NULL: the layer has none (k
 * and v where q holds all three, up where gate holds both). */
typedef struct rex_lora rex_lora;
typedef struct {
    rex_panels w;
    float *bias;   /* (n) or NULL */
    rex_lora *low; /* what an adapter adds (adapter.h), or NULL */
} rex_lin;

typedef enum { REX_LIN_Q, REX_LIN_K, REX_LIN_V, REX_LIN_O, REX_LIN_GATE, REX_LIN_UP, REX_LIN_DOWN,
               REX_LIN_COUNT } rex_lin_id;
typedef enum { REX_NORM_IN, REX_NORM_Q, REX_NORM_K, REX_NORM_POST_ATTN, REX_NORM_FFN,
               REX_NORM_POST_FFN, REX_NORM_COUNT } rex_norm_id;

typedef struct {
    rex_lin lin[REX_LIN_COUNT];
    float *norm[REX_NORM_COUNT]; /* as stored: rex_shape.norm_plus1 says whether 1 is added */
} rex_layer;

struct rex_model {
    rex_arena *arena; /* owned; names, norms, biases, tables */
    rex_source src;
    rex_shape s;
    rex_kern kern;
    rex_model_info info;
    bool bf16;  /* compute mode of the linear layers */
    bool train; /* everything f32, owned and writable: embed, norms, biases, panels */
    bool init;  /* weights are drawn, not read */
    bool blank; /* weights are neither: the memory is laid out and never touched */
    uint64_t seed;
    rex_layer *layer;
    rex_lin head; /* panels of lm_head, or of the embedding where tied */
    struct rex_adapter *adapter; /* owned; NULL: none */
    float *norm;  /* (D), the final one */
    const rex_tensor *embed_src;
    const void *embed; /* (V, D) rows of embed_elem; NULL: read through embed_src */
    rex_store embed_elem;
    void *slab, *embed_own; /* owned */
    size_t slab_bytes;
};

/* A parameter as the Hugging Face form has it, in the order of a checkpoint: the embedding, then
 * layer by layer, the final norm, the head (absent where tied), then an adapter's. */
typedef struct {
    char name[160];
    rex_slot slot;
    int layer;         /* -1: not of a layer */
    int part;          /* 0; 1, 2: A and B of an adapter on the layer that `slot` names */
    int64_t rows, cols; /* a vector has rows == 1 */
    rex_lin *lin;      /* the matrix (a tied embedding: the head), or the layer whose bias this is;
                        * NULL: vector or untied embedding */
    float *vec;        /* norms and biases; the embedding of a model opened for training */
} rex_param;

/* All parameters into the arena; of any opened model. */
REX_MUST rex_status rex_model_params(rex_model *m, rex_arena *a, rex_param **out, size_t *n,
                                     rex_err *e);
/* New weights of a parameter, row-major row `row` of `cols` numbers: embeddings and head normal
 * with deviation 0.02, matrices with D^-1/2, those that write into the stream times (2L)^-1/2,
 * norms 1, biases 0. Draws are named by seed, tensor, row and column. */
void rex_init_row(const rex_shape *s, uint64_t seed, rex_slot slot, const char *name, int64_t row,
                  int64_t cols, float *out);
/* Reads and re-lays all weights. */
REX_MUST rex_status rex_bind(rex_model *m, rex_pool *pool, rex_err *e);

/* ---- cache (cache.c) --------------------------------------------------------------------- */

enum { REX_KV = 32 }; /* positions in a block of the cache */

typedef struct {
    int layers, heads, hd, seqs;
    int32_t per_seq, blocks, n_spare;
    bool bf16;
    size_t side_bytes; /* keys (or values) of one layer: (heads, blocks, 32 * hd) */
    char *kv;          /* (layers, 2, side); owned as all below */
    int32_t *table;    /* (seqs, per_seq) block numbers */
    int32_t *len;      /* (seqs) positions stored */
    int32_t *room;     /* (seqs) blocks held */
    bool *used;        /* (seqs) */
    int32_t *ref;      /* (blocks) */
    int32_t *spare;    /* (blocks) a stack of free ones, n_spare of them */
} rex_cache;

size_t rex_cache_block_bytes(const rex_shape *s, int layers, bool bf16); /* of one block */
/* `layers`: the model's, or 1 where each layer uses the memory of the one before (training). */
REX_MUST rex_status rex_cache_open(const rex_shape *s, int layers, int seqs, int32_t per_seq,
                                   int32_t blocks, bool bf16, rex_cache *c, rex_err *e);
void rex_cache_close(rex_cache *c);
void rex_cache_reset(rex_cache *c); /* drops every sequence */
/* The stretches of a sequence in layer 0; later layers lie side_bytes * 2 * layer further on.
 * Returns how many; at most per_seq. Cut where sharing changes, so that forks list the same ones
 * first. */
int32_t rex_cache_segs(const rex_cache *c, int32_t seq, int32_t len, rex_kv_seg *out);

/* ---- forward (ctx.c, forward.c) ---------------------------------------------------------- */

typedef struct {
    int rows;         /* tokens of one step, over all sequences */
    int seqs;         /* sequences open at once */
    int64_t per_seq;  /* positions of one sequence, at most the model's context */
    int64_t cache;    /* positions of all, counted in whole blocks of 32; shared ones count once */
    int logit_rows;   /* rows of one rex_ctx_head */
    bool kv_bf16;     /* keys and values rounded to bf16 */
    bool keep;        /* layers keep what the backward pass needs: training. A sequence is then one
                       * step long, and the cache holds one layer at a time */
    int redo; /* with keep: the first `redo` layers keep only what enters them, and the backward
               * pass computes the rest again */
    int tap;  /* the layer whose states rex_ctx_tap shows: 0 embeddings .. L, -1 after the final
               * norm (the default) */
} rex_ctx_opts;

/* What one block leaves behind, (rows, width) each, packed. One set, or, if kept, one for each
 * layer but for xn1, xn2 and act, which rex_ctx_redo makes again, and in bf16 compute for what
 * `half` keeps instead. The keys and values are in the cache. */
typedef struct {
    float *x_in;   /* D: the stream that enters the block */
    float *xn1;    /* D: after the first norm */
    float *r1;     /* 1: its 1/rms */
    float *raw; /* (H+2K)*hd before QK-norm; only where there is QK-norm and it is kept, else qkv */
    float *rq;     /* H+K: 1/rms of the heads; only where there is QK-norm */
    float *qkv;    /* (H+2K)*hd: normed and turned q and k, v */
    float *att;    /* H*hd */
    float *o;      /* D: output of the o layer before the sandwich norm */
    float *r_o;    /* 1 */
    float *x_mid;  /* D: the stream between attention and MLP */
    float *xn2;    /* D */
    float *r2;     /* 1 */
    float *gu;     /* 2F: gate, up */
    float *act;    /* F */
    float *down;   /* D: output of the down layer before the sandwich norm */
    float *r_d;    /* 1 */
    uint16_t *half; /* gu, att and qkv as bf16, one behind the other; NULL: they are kept in f32 */
} rex_acts;

typedef struct rex_ctx rex_ctx;
struct rex_ctx {
    const rex_model *m;
    rex_pool *pool;
    rex_ctx_opts o;
    rex_cache cache;
    rex_acts *act;    /* L of them; all the same memory unless kept */
    float *x_out;     /* (rows, D): the stream behind the last block */
    float *xf, *rf;   /* (rows, D), (rows): after the final norm */
    float *tap;       /* (rows, D) or NULL: where another layer is tapped */
    float *logits;    /* (logit_rows, V) */
    float *pick;      /* (logit_rows, D) gathered rows of xf */
    float *low;       /* (3, rows, rank): what an adapter's A make of one input; NULL without */
    float *cos[2], *sin[2]; /* (per_seq, rot/2), global and local; may be the same */
    int32_t *tok, *pos, *seq; /* (rows) of the step */
    rex_attn_row *arow;       /* (rows) */
    rex_kv_seg *seg;          /* (seqs, per_seq/32 + 1) */
    int32_t *n_seg;           /* (seqs) */
    void *scratch;            /* rex_pool_size pieces of scratch_each */
    size_t scratch_each, bytes;
    void *slab; /* owned */
    int n;      /* rows of the last step */
};

typedef struct {
    int32_t seq, token;
} rex_row;

/* Fills in what a context is opened with when nothing is asked for. */
void rex_ctx_defaults(rex_ctx_opts *o);
/* Bytes that a context would take, without taking them; `text` (may be NULL) says of what. */
size_t rex_ctx_plan(const rex_model *m, const rex_pool *pool, const rex_ctx_opts *o,
                    size_t *cache_bytes);
/* Everything is allocated here. Too little memory is an error that names what to lower. `m` and
 * `pool` (may be NULL) are borrowed and outlive the context. */
REX_MUST rex_status rex_ctx_open(const rex_model *m, rex_pool *pool, const rex_ctx_opts *o,
                                 rex_ctx **out, rex_err *e);
void rex_ctx_close(rex_ctx *c);

/* An empty sequence, or -1 when all are open. */
int32_t rex_seq_open(rex_ctx *c);
/* A sequence that begins with the first `len` tokens of `seq`, or -1 when no sequence or block is
 * free. Full blocks are shared, the rest is copied. */
int32_t rex_seq_fork(rex_ctx *c, int32_t seq, int32_t len);
void rex_seq_close(rex_ctx *c, int32_t seq);
int32_t rex_seq_len(const rex_ctx *c, int32_t seq);
/* Blocks for `len` positions are taken now, next to each other where possible; false: too few. */
bool rex_seq_reserve(rex_ctx *c, int32_t seq, int32_t len);
/* Blocks that a sequence of `len` positions needs beyond `shared` shared ones; and free ones. */
int32_t rex_ctx_blocks(int32_t len, int32_t shared);
int32_t rex_ctx_free(const rex_ctx *c);

/* One step: n <= rows tokens, each at the next position of its sequence, rows of one sequence next
 * to each other in order, sequences that share a prefix next to each other. All blocks and the
 * final norm are computed. REX_ELIMIT: a sequence beyond per_seq or no block left (nothing is
 * changed); REX_EARG: a token outside the vocabulary. Allocates nothing. */
REX_MUST rex_status rex_ctx_step(rex_ctx *c, const rex_row *row, int n, rex_err *e);
/* After a step with `keep`: makes the activations of one layer whole again, the same bits but for
 * gu, att and qkv in bf16 compute: these come back rounded to bf16, and act is made of them. */
void rex_ctx_redo(rex_ctx *c, int layer);
/* After a step: the state of row i after the final norm; of the tapped layer; (D). */
const float *rex_ctx_state(const rex_ctx *c, int i);
const float *rex_ctx_tap(const rex_ctx *c, int i);
/* Logits (n, V) of states after the final norm, n <= logit_rows: rows of the last step or copies of
 * earlier ones. Valid until the next call. */
const float *rex_ctx_head(rex_ctx *c, const float *const *state, int n);

#endif
