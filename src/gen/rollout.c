/* SPDX-License-Identifier: MIT
 *
 * rollout.c: many prompts times many samples. Each round: samples start from prompts that are in
 * the cache; one step takes a token of every running sample and, as far as the step has room and
 * places will be free, the next prompts; the new rows of logits are drawn from. A sample that ends
 * makes room at once.
 *
 * Who shares a step with whom is decided by what is free, and never shows: every row's bits are its
 * own, and every draw has a name.
 */
#include "gen.h"

#include <string.h>

typedef struct {
    rex_engine *g;
    const rex_gen_prompt *p;
    size_t n, next; /* prompts; the next one to open */
    size_t running; /* samples in slots */
} rollout;

static rex_status check(const rex_engine *g, const rex_gen_prompt *p, size_t n, rex_err *e) {
    for (size_t i = 0; i < n; i++) {
        if (p[i].n == 0) return rex_fail(e, REX_EARG, (int64_t)i, "prompt %zu has no tokens", i);
        if ((int64_t)p[i].n > g->max_prompt)
            return rex_fail(e, REX_ELIMIT, (int64_t)i,
                            "prompt %zu has %zu tokens, at most %lld were planned for", i, p[i].n,
                            (long long)g->max_prompt);
        if (p[i].samples > (1u << 24) || p[i].first > (1u << 24) - p[i].samples)
            return rex_fail(e, REX_ELIMIT, (int64_t)i, "prompt %zu: sample numbers go up to 2^24",
                            i);
    }
    return REX_OK;
}

static rex_status begin(rollout *r, rex_err *e) {
    rex_engine *g = r->g;
    rex_gen_clear(g);
    g->offset = rex_mem_take(r->n + 1, sizeof *g->offset, e);
    if (!g->offset) return REX_ENOMEM;
    size_t total = 0;
    for (size_t i = 0; i < r->n; i++) {
        g->offset[i] = total;
        total += r->p[i].samples;
    }
    g->done = rex_mem_take(total + 1, sizeof *g->done, e);
    if (!g->done) return REX_ENOMEM;
    g->next = 0;
    g->total = total;
    g->prompt = r->p;
    return REX_OK;
}

static rex_gen_ask *ask(rex_engine *g, rex_gen_slot *s, const float *state, const float *tap) {
    rex_gen_ask *q = &g->ask[g->n_ask++];
    *q = (rex_gen_ask){.state = state, .tap = tap, .slot = s, .target = s->n};
    return q;
}

/* Samples of complete prompts into free slots. */
static void start(rollout *r) {
    rex_engine *g = r->g;
    for (int i = 0; i < g->n_group; i++) {
        rex_gen_group *p = &g->group[i];
        if (p->seq < 0 || p->fed < p->n) continue;
        const rex_gen_prompt *from = &r->p[p->prompt];
        const int64_t room = g->limit - p->n;
        const int32_t most = (int32_t)(room < g->o.max_tokens ? room : g->o.max_tokens);
        while (p->started < from->samples) {
            rex_gen_slot *s = rex_gen_slot_open(g, i, most);
            if (!s) break;
            s->sample = from->first + p->started++;
            r->running++;
            ask(g, s, p->state, p->tap);
        }
    }
}

/* Prompts whose samples have all been drawn from their last state can go; their forks keep what
 * they need. Called after the round's answers, for start() lends the state until then. */
static void let_go(rollout *r) {
    rex_engine *g = r->g;
    for (int i = 0; i < g->n_group; i++) {
        const rex_gen_group *p = &g->group[i];
        if (p->seq >= 0 && p->fed == p->n && p->started == r->p[p->prompt].samples)
            rex_gen_group_close(g, i);
    }
}

/* What has been drawn: tokens are appended, ends are noticed. */
static rex_status take(rollout *r, rex_err *e) {
    rex_engine *g = r->g;
    REX_TRY(rex_gen_answer(g, e));
    for (int i = 0; i < g->n_ask; i++) {
        const rex_draw *d = &g->ask[i].draw;
        rex_gen_slot *s = g->ask[i].slot;
        s->ids[s->n] = d->token;
        if (g->o.detail) {
            s->logp[s->n] = d->logp;
            s->logq[s->n] = d->logq;
            s->ent[s->n] = d->ent;
        }
        s->n++;
        s->stopped = rex_gen_is_stop(g, d->token);
        if (!s->stopped && g->o.n_stop) REX_TRY(rex_gen_stop_text(g, s, d->token, &s->stopped, e));
        s->ending = s->stopped || s->n == s->want;
    }
    g->n_ask = 0;
    let_go(r);
    return REX_OK;
}

static rex_status finish(rollout *r, rex_gen_slot *s, rex_err *e) {
    rex_engine *g = r->g;
    r->running--;
    return rex_gen_finish(g, s, g->offset[s->prompt] + (s->sample - r->p[s->prompt].first), e);
}

/* Samples that need nothing more. With pooling the state of the last token is still to come. */
static rex_status sweep(rollout *r, rex_err *e) {
    rex_engine *g = r->g;
    for (int i = 0; i < g->batch; i++) {
        rex_gen_slot *s = &g->slot[i];
        if (s->group < 0 || !s->ending) continue;
        if (g->o.pooling == REX_POOLING_NONE || s->fed == s->n) REX_TRY(finish(r, s, e));
    }
    return REX_OK;
}

/* Slots by prompt; nearly sorted since the last round. */
static void sort_slots(rex_engine *g) {
    for (int i = 1; i < g->batch; i++) {
        const int32_t v = g->order[i];
        const size_t key = g->slot[v].prompt;
        int j = i;
        for (; j > 0 && g->slot[g->order[j - 1]].prompt > key; j--) g->order[j] = g->order[j - 1];
        g->order[j] = v;
    }
}

/* Rows of running samples, those of one prompt next to each other. */
static int slot_rows(rollout *r) {
    rex_engine *g = r->g;
    int n = 0;
    sort_slots(g);
    for (int i = 0; i < g->batch; i++) {
        const rex_gen_slot *s = &g->slot[g->order[i]];
        if (s->group < 0) continue;
        g->owner[n] = g->order[i];
        g->row[n++] = (rex_row){s->seq, s->ids[s->n - 1]};
    }
    return n;
}

/* How many samples could start if there were places. */
static size_t waiting(const rollout *r) {
    size_t n = 0;
    for (int i = 0; i < r->g->n_group; i++)
        if (r->g->group[i].seq >= 0)
            n += r->p[r->g->group[i].prompt].samples - r->g->group[i].started;
    return n;
}

static void open_prompts(rollout *r) {
    rex_engine *g = r->g;
    while (r->next < r->n && waiting(r) < (size_t)g->batch - r->running) {
        const rex_gen_prompt *p = &r->p[r->next];
        if (p->samples > 0 && rex_gen_group_open(g, r->next, p->ids, (int32_t)p->n) < 0) return;
        r->next++;
    }
}

/* Prompt tokens behind the n rows that are there already. */
static int prompt_rows(rollout *r, int n) {
    rex_engine *g = r->g;
    for (int i = 0; i < g->n_group; i++) {
        const rex_gen_group *p = &g->group[i];
        if (p->seq < 0) continue;
        for (int32_t t = p->fed; t < p->n && n < g->rows; t++) {
            g->owner[n] = -1 - i;
            g->row[n++] = (rex_row){p->seq, p->ids[t]};
        }
    }
    return n;
}

/* After a step: the rows of samples that go on ask for a token. */
static void ask_next(rollout *r, int n) {
    rex_engine *g = r->g;
    for (int i = 0; i < n; i++) {
        rex_gen_slot *s = &g->slot[g->owner[i]];
        if (!s->ending) ask(g, s, rex_ctx_state(g->ctx, i), rex_ctx_tap(g->ctx, i));
    }
}

static rex_status go(rollout *r, rex_err *e) {
    rex_engine *g = r->g;
    while (g->next < g->total) {
        if (rex_cancelled())
            return rex_fail(e, REX_ECANCEL, -1, "stopped after %zu of %zu samples", g->next,
                            g->total);
        start(r);
        if (g->n_ask > 0) {
            REX_TRY(take(r, e));
            REX_TRY(sweep(r, e));
        }
        open_prompts(r);
        const int n_slot = slot_rows(r);
        const int n = prompt_rows(r, n_slot);
        if (n == 0 && r->running == 0 && g->next < g->total && waiting(r) == 0 && r->next == r->n)
            return rex_fail(e, REX_EBUG, -1, "nothing to do with %zu samples missing",
                            g->total - g->next);
        if (n == 0) continue;
        REX_TRY(rex_gen_advance(g, n, e));
        ask_next(r, n_slot);
        if (g->n_ask > 0) REX_TRY(take(r, e));
        REX_TRY(sweep(r, e));
    }
    return REX_OK;
}

rex_status rex_gen_run(rex_engine *g, const rex_gen_prompt *p, size_t n, rex_gen_fn fn, void *ud,
                       rex_err *e) {
    rollout r = {.g = g, .p = p, .n = n};
    REX_TRY(check(g, p, n, e));
    const uint64_t fp = rex_fp_enter();
    g->fn = fn;
    g->ud = ud;
    rex_status st = begin(&r, e);
    if (st == REX_OK) st = go(&r, e);
    rex_gen_clear(g);
    rex_fp_leave(fp);
    return st;
}
