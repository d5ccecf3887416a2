/* SPDX-License-Identifier: MIT
 *
 * score.c: the numbers of given responses: log-probabilities, entropies and pooled states, through
 * the same steps and the same head as sampling. Work goes in waves: as many pairs as there are
 * places; their prompts first (neighbours with equal prompts share one), then the responses, many
 * tokens a step.
 */
#include "gen.h"

#include <string.h>

typedef struct {
    rex_engine *g;
    const rex_gen_pair *p;
    size_t n, from, to; /* pairs; the present wave */
} scoring;

static rex_status check(const rex_engine *g, const rex_gen_pair *p, size_t n, rex_err *e) {
    for (size_t i = 0; i < n; i++) {
        if (p[i].n_prompt == 0)
            return rex_fail(e, REX_EARG, (int64_t)i, "pair %zu has no prompt tokens", i);
        if ((int64_t)p[i].n > g->o.max_tokens || (int64_t)p[i].n_prompt > g->max_prompt ||
            (int64_t)(p[i].n_prompt + p[i].n) > g->limit)
            return rex_fail(e, REX_ELIMIT, (int64_t)i,
                            "pair %zu has %zu + %zu tokens, at most %lld + %lld, together %lld, "
                            "were planned for",
                            i, p[i].n_prompt, p[i].n, (long long)g->max_prompt,
                            (long long)g->o.max_tokens, (long long)g->limit);
    }
    return REX_OK;
}

static bool same_prompt(const rex_gen_pair *a, const rex_gen_pair *b) {
    return a->n_prompt == b->n_prompt &&
           memcmp(a->prompt, b->prompt, a->n_prompt * sizeof *a->prompt) == 0;
}

/* Opens prompts for the pairs from `from` on, as far as places and blocks reach. */
static rex_status open_wave(scoring *s, rex_err *e) {
    rex_engine *g = s->g;
    int group = -1;
    int64_t promised = 0;
    s->to = s->from;
    for (size_t i = s->from; i < s->n && i - s->from < (size_t)g->batch; i++) {
        const rex_gen_pair *p = &s->p[i];
        const int64_t need =
            rex_ctx_blocks((int32_t)(p->n_prompt + p->n), (int32_t)p->n_prompt) + 1;
        const bool shared = group >= 0 && same_prompt(p, &s->p[i - 1]);
        const int64_t base = shared ? 0 : rex_ctx_blocks((int32_t)p->n_prompt, 0);
        if (rex_ctx_free(g->ctx) < promised + need + base) break;
        if (!shared) group = rex_gen_group_open(g, i, p->prompt, (int32_t)p->n_prompt);
        if (group < 0) break;
        promised += need;
        g->group[group].started++;
        s->to = i + 1;
    }
    if (s->to > s->from) return REX_OK;
    return rex_fail(e, REX_EBUG, -1, "the plan has no room for pair %zu", s->from);
}

static rex_status feed_prompts(scoring *s, rex_err *e) {
    rex_engine *g = s->g;
    for (;;) {
        int n = 0;
        for (int i = 0; i < g->n_group; i++) {
            const rex_gen_group *p = &g->group[i];
            for (int32_t t = p->fed; p->seq >= 0 && t < p->n && n < g->rows; t++) {
                g->owner[n] = -1 - i;
                g->row[n++] = (rex_row){p->seq, p->ids[t]};
            }
        }
        if (n == 0) return REX_OK;
        REX_TRY(rex_gen_advance(g, n, e));
    }
}

static void ask(rex_engine *g, rex_gen_slot *s, const float *state, int32_t target) {
    g->ask[g->n_ask++] = (rex_gen_ask){.state = state, .slot = s, .target = target};
}

static rex_status take(rex_engine *g, rex_err *e) {
    if (!g->o.detail) g->n_ask = 0;
    REX_TRY(rex_gen_answer(g, e));
    for (int i = 0; i < g->n_ask; i++) {
        const rex_gen_ask *q = &g->ask[i];
        q->slot->logp[q->target] = q->slot->logq[q->target] = q->draw.logp;
        q->slot->ent[q->target] = q->draw.ent;
    }
    g->n_ask = 0;
    return REX_OK;
}

/* A slot for every pair of the wave; the first token's row is the prompt's last state. */
static rex_status open_slots(scoring *s, rex_err *e) {
    rex_engine *g = s->g;
    int group = 0;
    for (size_t i = s->from; i < s->to; i++) {
        const rex_gen_pair *p = &s->p[i];
        for (int j = 0; j < g->n_group; j++) { /* the prompt that was opened for it */
            const rex_gen_group *x = &g->group[j];
            if (x->seq >= 0 && x->prompt <= i && i < x->prompt + x->started) group = j;
        }
        rex_gen_slot *x = rex_gen_slot_open(g, group, (int32_t)p->n);
        if (!x) return rex_fail(e, REX_EBUG, -1, "the plan has no slot for pair %zu", i);
        x->prompt = i;
        x->given = p->ids;
        x->n = (int32_t)p->n;
        if (p->n > 0) ask(g, x, g->group[group].state, 0);
    }
    REX_TRY(take(g, e));
    for (int j = 0; j < g->n_group; j++)
        if (g->group[j].seq >= 0) rex_gen_group_close(g, j);
    return REX_OK;
}

/* The last token of a response matters for its state alone. */
static int32_t need(const rex_engine *g, const rex_gen_slot *s) {
    return g->o.pooling != REX_POOLING_NONE || s->n == 0 ? s->n : s->n - 1;
}

static rex_status feed_slots(scoring *s, rex_err *e) {
    rex_engine *g = s->g;
    for (;;) {
        int n = 0;
        for (int i = 0; i < g->batch; i++) {
            const rex_gen_slot *x = &g->slot[i];
            if (x->group < 0) continue;
            for (int32_t t = x->fed; t < need(g, x) && n < g->rows; t++) {
                g->owner[n] = i;
                g->row[n++] = (rex_row){x->seq, x->given[t]};
            }
        }
        if (n == 0) return REX_OK;
        REX_TRY(rex_gen_advance(g, n, e));
        int32_t t = 0;
        for (int i = 0; i < n; i++) {
            rex_gen_slot *x = &g->slot[g->owner[i]];
            if (i == 0 || g->owner[i] != g->owner[i - 1]) { /* rows of a slot run up to x->fed */
                int m = 1;
                while (i + m < n && g->owner[i + m] == g->owner[i]) m++;
                t = x->fed - m;
            }
            if (++t < x->n) ask(g, x, rex_ctx_state(g->ctx, i), t);
        }
        REX_TRY(take(g, e));
    }
}

static rex_status end_wave(scoring *s, rex_err *e) {
    rex_engine *g = s->g;
    for (int i = 0; i < g->batch; i++)
        if (g->slot[i].group >= 0) REX_TRY(rex_gen_finish(g, &g->slot[i], g->slot[i].prompt, e));
    s->from = s->to;
    return REX_OK;
}

static rex_status go(scoring *s, rex_err *e) {
    rex_engine *g = s->g;
    rex_gen_clear(g);
    g->done = rex_mem_take(s->n + 1, sizeof *g->done, e);
    if (!g->done) return REX_ENOMEM;
    g->next = 0;
    g->total = s->n;
    while (s->from < s->n) {
        if (rex_cancelled())
            return rex_fail(e, REX_ECANCEL, -1, "stopped after %zu of %zu pairs", g->next, s->n);
        REX_TRY(open_wave(s, e));
        REX_TRY(feed_prompts(s, e));
        REX_TRY(open_slots(s, e));
        REX_TRY(feed_slots(s, e));
        REX_TRY(end_wave(s, e));
    }
    return REX_OK;
}

rex_status rex_gen_score(rex_engine *g, const rex_gen_pair *p, size_t n, rex_gen_fn fn, void *ud,
                         rex_err *e) {
    scoring s = {.g = g, .p = p, .n = n};
    REX_TRY(check(g, p, n, e));
    const uint64_t fp = rex_fp_enter();
    g->fn = fn;
    g->ud = ud;
    const rex_status st = go(&s, e);
    rex_gen_clear(g);
    rex_fp_leave(fp);
    return st;
}
