/* SPDX-License-Identifier: MIT
 *
 * arch.h: what distinguishes one architecture from another, as data. A decoder block is the same
 * walk for all of them (forward.c); a `rex_arch` says which config keys it reads, which tensors it
 * has under which names, and finishes the shape. One new family: one file arch_<family>.c with a
 * `const rex_arch` and one X line in REX_ARCHS.
 *
 * A config key is read, must have one of the values that are implemented, or is known to have no
 * effect on the forward pass; any other key is one warning that names it.
 */
#ifndef REX_ARCH_H
#define REX_ARCH_H

#include "../kernels/kern.h"

enum { REX_MAX_LAYERS = 512, REX_MAX_EOS = 16 };

/* Rotary embedding of one kind of layer. Pairs are (i, i + rot/2) within the first `rot` elements
 * of a head. The angle at position t is t * theta^(-2i/rot) / factor[i], the tables are times
 * `scale`. Frequencies, angles and tables are formed in double and rounded once. */
typedef struct {
    double theta;
    double scale;
    const float *factor; /* (rot/2), in the model's arena; NULL: all ones */
} rex_rope;

/* Everything the forward pass needs to know about a model but its weights. */
typedef struct {
    int L, H, K;        /* layers, query heads, key/value heads */
    int hd, rot;        /* head size (a multiple of 8), rotated part of it */
    int64_t D, F, V;    /* width, inner width of the MLP, vocabulary */
    int64_t ctx;        /* positions a sequence may have */
    float eps;          /* of every norm */
    float attn_scale;   /* scores are scaled by it */
    float embed_scale;  /* embeddings are scaled by it; 1: not at all */
    rex_act act;
    bool norm_plus1;    /* stored norm weights are w where 1 + w is meant */
    bool qk_norm;       /* an RMS norm over each head of q and k, before the rotation */
    bool sandwich;      /* a second norm behind attention and MLP, before the residual sum */
    bool qkv_bias, o_bias, mlp_bias;
    bool fused_qkv, fused_up; /* q, k, v (gate, up) are one tensor in the Hugging Face form */
    bool tied;          /* the head is the embedding */
    int64_t
        window; /* keys that a query of a local layer sees, itself included; 0: no local layer */
    uint8_t local[REX_MAX_LAYERS];
    rex_rope rope[2];   /* [0] of global layers, [1] of local ones */
    int32_t bos;        /* -1: none */
    int n_eos;
    int32_t eos[REX_MAX_EOS];
} rex_shape;

/* A config as it was read; -1 (or NaN-free 0 for reals) where a key was absent or null. */
typedef struct {
    int64_t layers, heads, kv_heads, head_dim, width, ffn, vocab, max_position;
    int64_t original_max, window, pattern, window_from, bos, rotary_dim;
    double eps, theta, local_theta, partial, query_scalar;
    bool tied, attn_bias, mlp_bias, use_window, plus1_done, permuted;
    const rex_jval *rope_scaling, *rope_parameters, *layer_types, *eos;
} rex_config;

typedef enum {
    REX_KEY_I64,  /* an integer (or null) into the field */
    REX_KEY_F64,
    REX_KEY_BOOL,
    REX_KEY_VAL,  /* the value itself */
    REX_KEY_IS,   /* must be one of the values in `allow`, separated by '|' */
    REX_KEY_SKIP  /* no effect on the forward pass */
} rex_key_kind;

typedef struct {
    const char *name;
    rex_key_kind kind;
    size_t off;        /* into rex_config */
    const char *allow; /* REX_KEY_IS */
} rex_config_key;

#define REX_CONFIG_KEY(kind, name, field) \
    { name, REX_KEY_##kind, offsetof(rex_config, field), NULL }
#define REX_CONFIG_IS(name, allow) { name, REX_KEY_IS, 0, allow }
#define REX_CONFIG_SKIP(name) { name, REX_KEY_SKIP, 0, NULL }

/* The tensors a decoder may have. `L` in the second column: one per layer. */
#define REX_SLOTS(X)                                                                         \
    X(EMBED, 0) X(IN_NORM, 1) X(Q, 1) X(Q_B, 1) X(K, 1) X(K_B, 1) X(V, 1) X(V_B, 1)          \
    X(QKV, 1) X(Q_NORM, 1) X(K_NORM, 1) X(O, 1) X(O_B, 1) X(POST_ATTN_NORM, 1)               \
    X(FFN_NORM, 1) X(GATE, 1) X(GATE_B, 1) X(UP, 1) X(UP_B, 1) X(GATE_UP, 1)                 \
    X(DOWN, 1) X(DOWN_B, 1) X(POST_FFN_NORM, 1) X(NORM, 0) X(HEAD, 0)
typedef enum {
#define X(name, per_layer) REX_SLOT_##name,
    REX_SLOTS(X)
#undef X
    REX_SLOT_COUNT
} rex_slot;

typedef struct {
    rex_slot slot;
    const char *hf; /* "%d" is the layer */
} rex_slot_name;

typedef struct rex_arch {
    const char *name;              /* as `inspect` shows it */
    const char *const *hf_types;   /* values of `model_type`, NULL-terminated */
    const char *const *gguf_types; /* values of `general.architecture`, NULL-terminated */
    const char *hf_class;          /* entry of `architectures` in a config that is written */
    bool gguf_permuted;            /* GGUF stores q and k rows of a head as interleaved pairs */
    const rex_config_key *key;     /* beyond the common ones; the first match wins */
    size_t n_key;
    const rex_slot_name *name_hf;  /* names that differ from the common ones */
    size_t n_name;
    /* Completes the shape; called after the common part. */
    rex_status (*finish)(const rex_config *c, rex_shape *s, rex_err *e);
} rex_arch;

#define REX_ARCHS(X) X(llama) X(mistral) X(qwen2) X(qwen3) X(phi3) X(gemma3)
#define X(n) extern const rex_arch rex_arch_##n;
REX_ARCHS(X)
#undef X

/* By `model_type` of a config.json or `general.architecture` of a GGUF file; NULL if unknown. */
const rex_arch *rex_arch_find(rex_str type, bool gguf);
/* "llama, mistral, ..." for messages. */
const char *rex_arch_names(void);

/* The Hugging Face name of a slot, "%d" for the layer. */
const char *rex_slot_hf(const rex_arch *a, rex_slot slot);
const char *rex_slot_gguf(rex_slot slot);
bool rex_slot_per_layer(rex_slot slot);
/* Where a GGUF file of an architecture that is `gguf_permuted` keeps row r of q or k, heads of hd
 * rows: interleaved pairs. hd 0: where it is. */
int64_t rex_gguf_row(int64_t r, int64_t hd);

/* Reads a config document of the given architecture into a shape; arrays go to `arena`. `what`
 * names the document. `context`: positions wanted, 0 for the model's own number. */
REX_MUST rex_status rex_shape_read(const rex_arch *a, const rex_jval *doc, const char *what,
                                   int64_t context, rex_arena *arena, rex_shape *out, rex_err *e);

/* Llama 3.1's stretching of long waves, in the words of its config. */
typedef struct {
    double factor, low, high, old; /* old: original_max_position_embeddings */
} rex_llama3;
/* The settings behind a list of factors, as GGUF has it: true where they give every factor back to
 * 2e-6, which is the rounding of those who wrote it in f32. Needs two factors between the ends. */
bool rex_rope_as_llama3(const rex_rope *r, int rot, rex_llama3 *out);

/* Angles: cos and sin of positions 0 .. n-1, (n, rot/2) each. */
void rex_rope_table(const rex_rope *r, int rot, int64_t n, float *cos_out, float *sin_out);

#endif
