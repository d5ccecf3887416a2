/* SPDX-License-Identifier: MIT
 *
 * gen: prompts to completions, and the same numbers for given completions. What other rooms use is
 * in repexp.h (rex_gen_*); here is what the files of this room share.
 */
#ifndef REX_GEN_H
#define REX_GEN_H

#include "../model/model.h"

/* ---- sampler.c: one row of logits to one token ------------------------------------------- */

typedef struct {
    double temperature, top_p, min_p; /* temperature 0: greedy */
    int64_t top_k;                    /* 0: off */
    rex_key key;                      /* of the run and step */
} rex_sampler;

/* The name of a draw: sample `sample` of the prompt whose id hashes to `id`, token at position
 * `pos` of its sequence. */
typedef struct {
    uint64_t id;
    uint32_t sample, pos;
} rex_draw_name;

typedef struct {
    int32_t token;
    float logp; /* at temperature 1, unfiltered */
    float logq; /* under the distribution that was drawn from */
    float ent;  /* entropy at temperature 1, in nats */
} rex_draw;

/* Scratch of one worker for a vocabulary of V. */
size_t rex_sampler_scratch(int64_t V);
/* True if logq can differ from logp. */
bool rex_sampler_bends(const rex_sampler *s);
/* REX_ENAN if the logits hold no finite maximum. `bent` (may be `logit`): the row that is drawn
 * from, where a hook has changed a copy. Reads only. */
REX_MUST rex_status rex_sample_token(const rex_kern *k, const rex_sampler *s, const float *logit,
                               const float *bent, int64_t V, rex_draw_name name, void *scratch,
                               rex_draw *out, rex_err *e);
/* The same numbers for a token that is given (logq = logp). */
REX_MUST rex_status rex_score_token(const rex_kern *k, const float *logit, int64_t V, int32_t token,
                                    rex_draw *out, rex_err *e);

/* ---- gen.c: memory, one round of the head, results in order ------------------------------ */

/* A prompt that is in the cache, or on its way there. */
typedef struct {
    size_t prompt;    /* index */
    const int32_t *ids;
    int32_t n, fed;   /* tokens; those that have been through a step */
    int32_t seq;      /* -1: this place is free */
    uint32_t started; /* samples that have forked from it */
    float *state, *tap; /* (D) of its last token: after the final norm, of the tapped layer */
    double *sum;      /* (D) of all its tokens' tapped states; mean-all only */
} rex_gen_group;

/* A response that grows, or is fed when it is given. */
typedef struct {
    int group;         /* -1: this place is free */
    size_t prompt;
    uint32_t sample;
    int32_t seq, n_prompt;
    int32_t n, fed;    /* tokens known; those that have been through a step */
    int32_t want;      /* n at which it ends by length */
    bool stopped, ending; /* ending: nothing more is drawn, the last state is still to come */
    const int32_t *given; /* scoring */
    int32_t *ids;      /* (max_tokens), as the next three */
    float *logp, *logq, *ent;
    double *sum;       /* (D) */
    float *last;       /* (D) */
    rex_tok_stream stream;
    char *tail;        /* the last bytes of text, where a stop text may have begun */
    size_t n_tail;
} rex_gen_slot;

/* One row of logits that is wanted. */
typedef struct {
    const float *state, *tap;
    rex_gen_slot *slot;
    int32_t target; /* index of the token it gives */
    int row;        /* of the logits */
    rex_draw draw;
    rex_status status;
} rex_gen_ask;

struct rex_engine {
    const rex_model *m;
    const rex_tok *tok; /* NULL: no text */
    rex_pool *pool;
    rex_gen_opts o;
    rex_ctx *ctx;
    rex_arena *arena; /* owned; text */
    rex_sampler sampler;
    int rows, batch, n_group;
    int64_t limit, max_prompt; /* positions of a sequence; tokens of a prompt */
    size_t max_stop;  /* bytes of the longest stop text */
    size_t bytes;
    void *slab;       /* owned; all below */
    rex_gen_group *group; /* (n_group) */
    rex_gen_slot *slot;   /* (batch) */
    rex_row *row;         /* (rows) */
    int32_t *owner;       /* (rows) slot of a row, or -1 - group */
    int32_t *order;       /* (batch) slots, those of one prompt next to each other */
    rex_gen_ask *ask;     /* (rows + batch) */
    int n_ask;
    const float **state;  /* (batch) */
    float *bent;          /* (V) where there is a hook */
    char *scratch;        /* one piece per worker */
    size_t scratch_each;
    /* results that wait for their turn */
    rex_gen_fn fn;
    void *ud;
    void **done;          /* owned, for one run: (total) finished samples, by order */
    size_t *offset;       /* owned, for one run: order of each prompt's first sample */
    size_t next, total;
    const rex_gen_prompt *prompt;
};

/* Computes the logits of all asks, some rows at a time, and draws (or scores, where the slot's
 * tokens are given). Results are in ask[].draw. */
REX_MUST rex_status rex_gen_answer(rex_engine *g, rex_err *e);
/* One step of the n rows in g->row, owners in g->owner: pools states, notes what the prompts leave.
 */
REX_MUST rex_status rex_gen_advance(rex_engine *g, int n, rex_err *e);
/* Opens a prompt in a free place and returns that, or -1. */
int rex_gen_group_open(rex_engine *g, size_t prompt, const int32_t *ids, int32_t n);
void rex_gen_group_close(rex_engine *g, int i);
/* Forks a response from a complete prompt into a free slot; NULL: no slot or no block. `most`
 * tokens. */
rex_gen_slot *rex_gen_slot_open(rex_engine *g, int group, int32_t most);
/* Hands a finished response over as number `order` of the run, and whatever is then in turn to fn.
 */
REX_MUST rex_status rex_gen_finish(rex_engine *g, rex_gen_slot *s, size_t order, rex_err *e);
/* Frees all places and results: before and after a run, and after a failure. */
void rex_gen_clear(rex_engine *g);
/* A token that ends a response. */
bool rex_gen_is_stop(const rex_engine *g, int32_t id);
/* The state of a stopped text: true if a stop text is complete in what token `id` adds. */
REX_MUST rex_status rex_gen_stop_text(rex_engine *g, rex_gen_slot *s, int32_t id, bool *hit,
                                      rex_err *e);

#endif
