/* SPDX-License-Identifier: MIT
 *
 * gen.c: what sampling (rollout.c) and scoring (score.c) share: the memory of a generator, a step
 * with its pooling, the rows of the head, and the order in which results leave. Both walk through
 * the same functions here, so a number that was recorded while sampling and the one that scoring
 * gives are the same bits.
 */
#include "gen.h"

#include <string.h>

uint64_t rex_name_hash(rex_str prompt_id) { return rex_hash64(prompt_id.p, prompt_id.n); }

void rex_gen_defaults(rex_gen_opts *o) {
    *o = (rex_gen_opts){.size = sizeof *o, .temperature = 1.0, .top_p = 1.0, .max_tokens = 256,
                        .batch = 64, .chunk = 256, .group = 1, .detail = true, .layer = -1};
}

/* ---- memory ------------------------------------------------------------------------------ */

typedef struct {
    char *base;
    size_t at;
} slab;

static void *piece(slab *s, int64_t count, size_t size) {
    void *p = s->base ? s->base + s->at : NULL;
    s->at += ((size_t)count * size + 63) & ~(size_t)63;
    return p;
}

static size_t lay_out(rex_engine *g, char *base) {
    slab s = {base, 0};
    const int64_t D = g->m->s.D, T = g->o.max_tokens;
    const bool pools = g->o.pooling != REX_POOLING_NONE;
    g->group = piece(&s, g->n_group, sizeof *g->group);
    g->slot = piece(&s, g->batch, sizeof *g->slot);
    g->row = piece(&s, g->rows, sizeof *g->row);
    g->owner = piece(&s, g->rows, sizeof *g->owner);
    g->order = piece(&s, g->batch, sizeof *g->order);
    g->ask = piece(&s, g->rows + g->batch, sizeof *g->ask);
    g->state = piece(&s, g->batch, sizeof *g->state);
    g->bent = g->o.bend ? piece(&s, g->m->s.V, sizeof *g->bent) : NULL;
    g->scratch_each = rex_sampler_scratch(g->m->s.V);
    g->scratch = piece(&s, g->pool ? rex_pool_size(g->pool) : 1, g->scratch_each);
    for (int i = 0; i < g->n_group; i++) {
        float *const state = piece(&s, D, sizeof(float)), *const tap = piece(&s, D, sizeof(float));
        double *const sum =
            g->o.pooling == REX_POOLING_MEAN_ALL ? piece(&s, D, sizeof(double)) : NULL;
        if (base) g->group[i] = (rex_gen_group){.seq = -1, .state = state, .tap = tap, .sum = sum};
    }
    for (int i = 0; i < g->batch; i++) {
        rex_gen_slot x = {.group = -1};
        x.ids = piece(&s, T, sizeof *x.ids);
        if (g->o.detail) {
            x.logp = piece(&s, T, sizeof *x.logp);
            x.logq = piece(&s, T, sizeof *x.logq);
            x.ent = piece(&s, T, sizeof *x.ent);
        }
        x.sum = pools ? piece(&s, D, sizeof *x.sum) : NULL;
        x.last = pools ? piece(&s, D, sizeof *x.last) : NULL;
        x.tail = g->max_stop ? piece(&s, (int64_t)g->max_stop, 1) : NULL;
        if (base) g->slot[i] = x;
        if (base) g->order[i] = i;
    }
    return s.at;
}

static int64_t up32(int64_t n) { return (n + REX_KV - 1) / REX_KV * REX_KV; }

static rex_status check(const rex_engine *g, rex_err *e) {
    const rex_gen_opts *o = &g->o;
    if (!(o->temperature == 0.0 || (o->temperature >= 1e-4 && o->temperature <= 1e4)))
        return rex_fail(e, REX_EARG, -1, "temperature %g: expected 0 or 0.0001 to 10000",
                        o->temperature);
    if (!(o->top_p > 0.0 && o->top_p <= 1.0))
        return rex_fail(e, REX_EARG, -1, "top-p %g: expected more than 0, at most 1", o->top_p);
    if (!(o->min_p >= 0.0 && o->min_p <= 1.0))
        return rex_fail(e, REX_EARG, -1, "min-p %g: expected 0 to 1", o->min_p);
    if (o->top_k < 0)
        return rex_fail(e, REX_EARG, -1, "top-k %lld: expected 0 or more", (long long)o->top_k);
    if (o->max_tokens < 1 || o->batch < 1 || o->chunk < 1 || o->group < 1)
        return rex_fail(e, REX_EARG, -1, "max tokens, batch, chunk and group must be at least 1");
    if (o->batch > 65536 || o->chunk > 1 << 20)
        return rex_fail(e, REX_ELIMIT, -1, "a batch beyond 65536 or a chunk beyond 1048576");
    if (o->n_stop > 0 && !g->tok)
        return rex_fail(e, REX_EARG, -1, "a stop text needs a tokenizer; stop ids do not");
    for (size_t i = 0; i < o->n_stop; i++)
        if (!o->stop[i][0]) return rex_fail(e, REX_EARG, -1, "stop text %zu is empty", i + 1);
    return REX_OK;
}

static rex_status plan(rex_engine *g, rex_err *e) {
    rex_gen_opts *o = &g->o;
    const int64_t ctx = g->m->s.ctx;
    REX_TRY(check(g, e));
    if (o->max_tokens > ctx - 1) o->max_tokens = ctx - 1;
    if (o->max_tokens < 1)
        return rex_fail(e, REX_EARG, -1, "a context of %lld leaves no room for a response",
                        (long long)ctx);
    int64_t prompt = o->max_prompt > 0 ? o->max_prompt : ctx - o->max_tokens;
    if (prompt > ctx - 1) prompt = ctx - 1;
    if (prompt < 1) prompt = 1;
    g->max_prompt = prompt;
    g->limit = prompt + o->max_tokens < ctx ? prompt + o->max_tokens : ctx;
    g->batch = (int)o->batch;
    g->rows = (int)(o->chunk > o->batch ? o->chunk : o->batch);
    g->n_group = (int)((o->batch + o->group - 1) / o->group) + 1;
    if (g->n_group > g->batch + 1) g->n_group = g->batch + 1;
    for (size_t i = 0; i < o->n_stop; i++)
        if (strlen(o->stop[i]) > g->max_stop) g->max_stop = strlen(o->stop[i]);
    g->sampler = (rex_sampler){.temperature = o->temperature, .top_p = o->top_p, .min_p = o->min_p,
                               .top_k = o->top_k};
    rex_gen_step(g, o->seed, o->step);
    rex_ctx_opts c;
    rex_ctx_defaults(&c);
    c.rows = g->rows;
    c.seqs = g->batch + g->n_group;
    c.per_seq = g->limit;
    c.cache = g->n_group * up32(prompt) + g->batch * (up32(o->max_tokens) + REX_KV);
    c.logit_rows = g->batch;
    c.kv_bf16 = o->kv_bf16;
    c.tap = o->layer;
    const size_t n = lay_out(g, NULL);
    REX_TRY(rex_ctx_open(g->m, g->pool, &c, &g->ctx, e));
    g->slab = rex_mem_take(n, 1, e);
    if (!g->slab)
        return rex_fail(e, REX_ENOMEM, -1,
                        "no memory for %zu MiB of samples in flight: lower the "
                        "batch or max-tokens",
                        n >> 20);
    lay_out(g, g->slab);
    g->bytes = g->ctx->bytes + n;
    return REX_OK;
}

rex_status rex_gen_open(const rex_model *m, const rex_tok *tok, rex_pool *pool,
                        const rex_gen_opts *o, rex_engine **out, rex_err *e) {
    *out = NULL;
    rex_engine *g = rex_mem_take(1, sizeof *g, e);
    if (!g) return REX_ENOMEM;
    rex_gen_defaults(&g->o);
    memcpy(&g->o, o, o->size < sizeof g->o ? o->size : sizeof g->o);
    g->m = m;
    g->tok = tok;
    g->pool = pool;
    rex_status st = rex_arena_open(0, &g->arena, e);
    if (st == REX_OK) st = plan(g, e);
    if (st != REX_OK) rex_gen_close(g);
    else *out = g;
    return st;
}

void rex_gen_close(rex_engine *g) {
    if (!g) return;
    if (g->slab) rex_gen_clear(g);
    rex_ctx_close(g->ctx);
    rex_arena_close(g->arena);
    rex_mem_free(g->slab);
    rex_mem_free(g);
}

size_t rex_gen_bytes(const rex_engine *g) { return g->bytes; }

void rex_gen_step(rex_engine *g, uint64_t seed, uint64_t step) {
    g->sampler.key = rex_key_fold(rex_key_make(seed), step);
}

/* ---- places ------------------------------------------------------------------------------ */

int rex_gen_group_open(rex_engine *g, size_t prompt, const int32_t *ids, int32_t n) {
    for (int i = 0; i < g->n_group; i++) {
        rex_gen_group *p = &g->group[i];
        if (p->seq >= 0) continue;
        const int32_t seq = rex_seq_open(g->ctx);
        if (seq < 0) return -1;
        if (!rex_seq_reserve(g->ctx, seq, n)) {
            rex_seq_close(g->ctx, seq);
            return -1;
        }
        *p = (rex_gen_group){.prompt = prompt, .ids = ids, .n = n, .seq = seq, .state = p->state,
                             .tap = p->tap, .sum = p->sum};
        if (p->sum) memset(p->sum, 0, (size_t)g->m->s.D * sizeof *p->sum);
        return i;
    }
    return -1;
}

void rex_gen_group_close(rex_engine *g, int i) {
    rex_seq_close(g->ctx, g->group[i].seq);
    g->group[i].seq = -1;
}

rex_gen_slot *rex_gen_slot_open(rex_engine *g, int group, int32_t most) {
    rex_gen_group *p = &g->group[group];
    for (int i = 0; i < g->batch; i++) {
        rex_gen_slot *s = &g->slot[i];
        if (s->group >= 0) continue;
        if (rex_ctx_free(g->ctx) < rex_ctx_blocks(p->n + most, p->n)) return NULL;
        const int32_t seq = rex_seq_fork(g->ctx, p->seq, p->n);
        if (seq < 0) return NULL;
        const bool ok = rex_seq_reserve(g->ctx, seq, p->n + most);
        rex_assert(ok);
        *s = (rex_gen_slot){.group = group,
                            .prompt = p->prompt,
                            .seq = seq,
                            .n_prompt = p->n,
                            .want = most,
                            .ids = s->ids,
                            .logp = s->logp,
                            .logq = s->logq,
                            .ent = s->ent,
                            .sum = s->sum,
                            .last = s->last,
                            .tail = s->tail};
        if (s->sum && p->sum) memcpy(s->sum, p->sum, (size_t)g->m->s.D * sizeof *s->sum);
        else if (s->sum) memset(s->sum, 0, (size_t)g->m->s.D * sizeof *s->sum);
        if (g->max_stop) rex_tok_stream_init(&s->stream, g->tok, 0);
        return s;
    }
    return NULL;
}

void rex_gen_clear(rex_engine *g) {
    for (int i = 0; i < g->batch; i++) {
        if (g->slot[i].group >= 0) rex_seq_close(g->ctx, g->slot[i].seq);
        g->slot[i].group = -1;
    }
    for (int i = 0; i < g->n_group; i++)
        if (g->group[i].seq >= 0) rex_gen_group_close(g, i);
    for (size_t i = g->next; g->done && i < g->total; i++) rex_mem_free(g->done[i]);
    rex_mem_free(g->done);
    rex_mem_free(g->offset);
    g->done = NULL;
    g->offset = NULL;
    g->n_ask = 0;
}

/* ---- a step ------------------------------------------------------------------------------ */

/* A running sum in double, positions ascending: the order is the sequence's own. */
static void add_state(double *sum, const float *state, int64_t D) {
    for (int64_t i = 0; i < D; i++) sum[i] += (double)state[i];
}

static void after_prompt_row(rex_engine *g, rex_gen_group *p, int i) {
    const size_t D = (size_t)g->m->s.D;
    if (p->sum) add_state(p->sum, rex_ctx_tap(g->ctx, i), g->m->s.D);
    if (++p->fed < p->n) return;
    memcpy(p->state, rex_ctx_state(g->ctx, i), D * sizeof(float));
    memcpy(p->tap, rex_ctx_tap(g->ctx, i), D * sizeof(float));
}

static void after_slot_row(rex_engine *g, rex_gen_slot *s, int i) {
    s->fed++;
    if (g->o.pooling == REX_POOLING_MEAN || g->o.pooling == REX_POOLING_MEAN_ALL)
        add_state(s->sum, rex_ctx_tap(g->ctx, i), g->m->s.D);
    else if (g->o.pooling == REX_POOLING_LAST && s->fed == s->n)
        memcpy(s->last, rex_ctx_tap(g->ctx, i), (size_t)g->m->s.D * sizeof *s->last);
}

rex_status rex_gen_advance(rex_engine *g, int n, rex_err *e) {
    REX_TRY(rex_ctx_step(g->ctx, g->row, n, e));
    for (int i = 0; i < n; i++) {
        if (g->owner[i] < 0) after_prompt_row(g, &g->group[-1 - g->owner[i]], i);
        else after_slot_row(g, &g->slot[g->owner[i]], i);
    }
    return REX_OK;
}

static void finish_feature(const rex_engine *g, const rex_gen_slot *s, float *out) {
    const int64_t D = g->m->s.D;
    const int64_t n = g->o.pooling == REX_POOLING_MEAN_ALL ? s->n_prompt + s->n : s->n;
    for (int64_t i = 0; i < D; i++) {
        if (g->o.pooling == REX_POOLING_LAST) out[i] = s->n > 0 ? s->last[i] : 0.0F;
        else out[i] = n > 0 ? (float)(s->sum[i] / (double)n) : 0.0F;
    }
}

/* ---- the head ---------------------------------------------------------------------------- */

typedef struct {
    rex_engine *g;
    const float *logit;
    int first;
} answering;

static rex_status answer_one(const answering *a, rex_gen_ask *q, const float *bent, int worker,
                             rex_err *e) {
    rex_engine *g = a->g;
    const rex_gen_slot *s = q->slot;
    const int64_t V = g->m->s.V;
    const float *x = a->logit + q->row * V;
    if (s->given) return rex_score_token(&g->m->kern, x, V, s->given[q->target], &q->draw, e);
    const rex_draw_name name = {.id = g->prompt[s->prompt].hash, .sample = s->sample,
                                .pos = (uint32_t)(s->n_prompt + q->target)};
    return rex_sample_token(&g->m->kern, &g->sampler, x, bent ? bent : x, V, name,
                      g->scratch + (size_t)worker * g->scratch_each, &q->draw, e);
}

static void answer_item(void *ud, size_t item, int worker) {
    const answering *a = ud;
    rex_gen_ask *q = &a->g->ask[a->first + (int)item];
    q->status = answer_one(a, q, NULL, worker, NULL);
}

/* With a hook the rows come one after the other. */
static void answer_bent(answering *a, int n) {
    rex_engine *g = a->g;
    const rex_shape *h = &g->m->s;
    for (int i = 0; i < n; i++) {
        rex_gen_ask *q = &g->ask[a->first + i];
        memcpy(g->bent, a->logit + q->row * h->V, (size_t)h->V * sizeof *g->bent);
        g->o.bend(g->o.bend_ud, q->slot->prompt, q->slot->sample, q->slot->n_prompt + q->target,
                  q->tap, h->D, g->bent, h->V);
        q->status = answer_one(a, q, g->bent, 0, NULL);
    }
}

rex_status rex_gen_answer(rex_engine *g, rex_err *e) {
    for (int at = 0; at < g->n_ask;) {
        int n = 0, states = 0;
        for (; at + n < g->n_ask; n++) { /* samples that start together share their row */
            rex_gen_ask *q = &g->ask[at + n];
            const bool same = states > 0 && g->state[states - 1] == q->state;
            if (!same && states == g->batch) break;
            if (!same) g->state[states++] = q->state;
            q->row = states - 1;
        }
        answering a = {g, rex_ctx_head(g->ctx, g->state, states), at};
        if (g->o.bend && !g->ask[at].slot->given) answer_bent(&a, n);
        else rex_pool_run(g->pool, (size_t)n, answer_item, &a);
        for (int i = at; i < at + n; i++)
            if (g->ask[i].status != REX_OK)
                return rex_fail(e, g->ask[i].status, -1,
                                "prompt %zu, sample %u, token %d: the logits are not "
                                "finite",
                                g->ask[i].slot->prompt, (unsigned)g->ask[i].slot->sample,
                                (int)g->ask[i].target);
        at += n;
    }
    return REX_OK;
}

/* ---- stops ------------------------------------------------------------------------------- */

bool rex_gen_is_stop(const rex_engine *g, int32_t id) {
    for (size_t i = 0; i < g->o.n_stop_ids; i++)
        if (g->o.stop_ids[i] == id) return true;
    if (g->o.ignore_eos) return false;
    for (int i = 0; i < g->m->s.n_eos; i++)
        if (g->m->s.eos[i] == id) return true;
    const rex_tok_marks *marks = g->tok ? rex_tok_special(g->tok) : NULL;
    for (size_t i = 0; marks && i < marks->n_stop; i++)
        if (marks->stop[i] == id) return true;
    return false;
}

/* The first place of any stop text in t, or SIZE_MAX. */
static size_t find_stop(const rex_gen_opts *o, rex_str t) {
    for (size_t i = 0; i < t.n; i++)
        for (size_t j = 0; j < o->n_stop; j++) {
            const size_t n = strlen(o->stop[j]);
            if (n <= t.n - i && memcmp(t.p + i, o->stop[j], n) == 0) return i;
        }
    return SIZE_MAX;
}

rex_status rex_gen_stop_text(rex_engine *g, rex_gen_slot *s, int32_t id, bool *hit, rex_err *e) {
    const rex_mark mark = rex_arena_mark(g->arena);
    rex_str piece_text;
    rex_status st = rex_tok_stream_put(&s->stream, id, false, g->arena, &piece_text, e);
    char *t = st == REX_OK ? rex_arena_take(g->arena, s->n_tail + piece_text.n + 1, 1, e) : NULL;
    if (t) {
        memcpy(t, s->tail, s->n_tail);
        if (piece_text.n) memcpy(t + s->n_tail, piece_text.p, piece_text.n);
        const size_t n = s->n_tail + piece_text.n;
        *hit = find_stop(&g->o, (rex_str){t, n}) != SIZE_MAX;
        s->n_tail = n < g->max_stop - 1 ? n : g->max_stop - 1;
        memcpy(s->tail, t + n - s->n_tail, s->n_tail);
    } else if (st == REX_OK) {
        st = REX_ENOMEM;
    }
    rex_arena_back(g->arena, mark);
    return st;
}

/* ---- results ----------------------------------------------------------------------------- */

/* A finished sample that waits: the head, then ids, logp, logq, ent (n each), the feature (D). */
typedef struct {
    size_t prompt, n;
    uint32_t sample;
    bool stopped, text;
    int32_t *ids;
    float *logp, *logq, *ent, *feature;
} kept;

static kept *keep(const rex_engine *g, const rex_gen_slot *s, rex_err *e) {
    const size_t n = (size_t)s->n, D = (size_t)g->m->s.D;
    const bool pools = g->o.pooling != REX_POOLING_NONE;
    const size_t words = n * (g->o.detail ? 4 : 1) + (pools ? D : 0);
    kept *r = rex_mem_take(sizeof *r + words * 4, 1, e);
    if (!r) return NULL;
    int32_t *at = (int32_t *)(void *)(r + 1);
    *r = (kept){.prompt = s->prompt, .n = n, .sample = s->sample, .stopped = s->stopped,
                .text = g->tok && !s->given, .ids = at};
    memcpy(r->ids, s->given ? s->given : s->ids, n * sizeof *at);
    float *f = (float *)(void *)(at + n);
    if (g->o.detail) {
        r->logp = f;
        r->ent = f + n;
        memcpy(r->logp, s->logp, n * sizeof *f);
        memcpy(r->ent, s->ent, n * sizeof *f);
        if (!s->given && (rex_sampler_bends(&g->sampler) || g->o.bend)) {
            r->logq = f + 2 * n;
            memcpy(r->logq, s->logq, n * sizeof *f);
        }
        f += 3 * n;
    }
    if (pools) {
        r->feature = f;
        finish_feature(g, s, f);
    }
    return r;
}

/* Text of a response: without the stop token, cut at a stop text. */
static rex_status text_of(rex_engine *g, const kept *r, rex_str *out, rex_err *e) {
    size_t n = r->n;
    if (r->stopped && n > 0 && rex_gen_is_stop(g, r->ids[n - 1])) n--;
    REX_TRY(rex_tok_decode(g->tok, r->ids, n, 0, g->arena, out, e));
    const size_t cut = r->stopped && g->o.n_stop ? find_stop(&g->o, *out) : SIZE_MAX;
    if (cut != SIZE_MAX) out->n = cut;
    return REX_OK;
}

static rex_status hand_over(rex_engine *g, const kept *r, rex_err *e) {
    const rex_mark mark = rex_arena_mark(g->arena);
    rex_gen_sample s = {.prompt = r->prompt, .sample = r->sample, .ids = r->ids, .logp = r->logp,
                        .logq = r->logq, .ent = r->ent, .n = r->n, .stopped = r->stopped,
                        .has_text = r->text, .feature = r->feature};
    rex_status st = r->text ? text_of(g, r, &s.text, e) : REX_OK;
    if (st == REX_OK) st = g->fn(g->ud, &s, e);
    rex_arena_back(g->arena, mark);
    return st;
}

rex_status rex_gen_finish(rex_engine *g, rex_gen_slot *s, size_t order, rex_err *e) {
    kept *r = keep(g, s, e);
    rex_seq_close(g->ctx, s->seq);
    s->group = -1;
    if (!r) return REX_ENOMEM;
    g->done[order] = r;
    while (g->next < g->total && g->done[g->next]) {
        REX_TRY(hand_over(g, g->done[g->next], e));
        rex_mem_free(g->done[g->next]);
        g->done[g->next++] = NULL;
    }
    return REX_OK;
}
