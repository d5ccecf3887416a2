/* SPDX-License-Identifier: MIT
 *
 * fit.c: what a run takes before it takes it. The sizes are those of the very structures that the
 * trainer opens (the plans of context and backward pass, the slabs of gradients and moments), so
 * prediction and memory cannot come apart; a budget is met by smaller batches and by computing
 * activations again, neither of which changes a bit of the run.
 */
#include "fit.h"

#include "../model/adapter.h"

#include <stdio.h>
#include <string.h>

enum { LOOK = 1 << 20 };          /* documents looked at for the largest batch */
enum { GOOD_BATCH = 1024 };       /* tokens; products over fewer become slow */

/* ---- batches ----------------------------------------------------------------------------- */

typedef struct {
    int64_t rows, seqs;     /* of the largest batch */
    double batches, tokens; /* of a step, on average */
} cut;

/* Walks through the run's documents in their order, cutting batches as training does. */
static rex_status cut_batches(const rex_fit_in *in, int64_t micro, cut *c, rex_err *e) {
    const rex_docs *const d = in->docs;
    const int64_t n = (int64_t)d->n, seqs = in->o->seqs, all = in->o->steps * seqs;
    const int64_t look = all < LOOK ? all : LOOK > seqs ? LOOK / seqs * seqs : seqs;
    uint32_t *const order = rex_mem_take(d->n, sizeof *order, e);
    if (!order) return REX_ENOMEM;
    *c = (cut){.rows = 0};
    int64_t rows = 0, docs = 0;
    for (int64_t i = 0; i < look; i++) {
        if (i % n == 0)
            rex_rand_perm(rex_key_make((uint64_t)in->o->seed), REX_STREAM_DATA, (uint64_t)(i / n),
                          order, d->n);
        const uint32_t k = order[i % n];
        const int64_t len = d->first[k + 1] - d->first[k] - 1;
        if (i % seqs == 0 || rows + len > micro) {
            rows = docs = 0;
            c->batches++;
        }
        rows += len;
        docs++;
        c->tokens += (double)(len + 1);
        if (rows > c->rows) c->rows = rows;
        if (docs > c->seqs) c->seqs = docs;
    }
    c->batches /= (double)(look / seqs);
    c->tokens /= (double)(look / seqs);
    rex_mem_free(order);
    return REX_OK;
}

/* ---- sizes ------------------------------------------------------------------------------- */

static size_t docs_bytes(const rex_docs *d) {
    return (size_t)d->tokens * 5 + d->n * 12;
}

static void add_up(const rex_fit_in *in, rex_fit *f) {
    const rex_grads *const g = in->g;
    const rex_shape *const s = &in->m->s;
    const size_t table = (size_t)(s->V * s->D) * sizeof(float);
    size_t cache = 0;
    f->weights = rex_mem_whole(in->m->slab_bytes); /* an untrained embedding stays in its file */
    if (in->m->embed_own) f->weights += rex_mem_whole(table);
    if (in->m->adapter)
        f->weights += rex_mem_whole((size_t)in->m->adapter->params * sizeof(float));
    f->gradients = rex_mem_whole(g->off[g->n] * sizeof *g->grad);
    if (g->embed) f->gradients += rex_mem_whole(table);
    f->optimiser = 2 * rex_mem_whole(in->opt->bytes);
    const size_t ctx = rex_ctx_plan(in->m, in->pool, &f->ctx, &cache);
    f->activations = rex_mem_whole(ctx - cache) + rex_mem_whole(cache);
    f->backward = rex_mem_whole(rex_back_plan(in->m, &f->ctx));
    f->data = docs_bytes(in->docs) + (in->val ? docs_bytes(in->val) : 0);
    f->program = in->program > f->data ? in->program - f->data : 0;
    f->total = f->weights + f->gradients + f->optimiser + f->activations + f->backward + f->data +
               f->program;
}

/* Sizes with batches of at most `micro` tokens and `redo` layers computed again. */
static rex_status with(const rex_fit_in *in, int64_t micro, int64_t redo, rex_fit *f, rex_err *e) {
    cut c;
    const int64_t val = in->val ? in->val->longest : 0, L = in->m->s.L;
    const int64_t longest = in->docs->longest > val ? in->docs->longest : val;
    if (f->micro != micro) {
        REX_TRY(cut_batches(in, micro, &c, e));
        f->micro = micro;
        f->batches = c.batches;
        f->tokens = c.tokens;
        rex_ctx_defaults(&f->ctx);
        f->ctx.rows = (int)(c.rows > longest ? c.rows : longest);
        f->ctx.seqs = (int)c.seqs;
        f->ctx.per_seq = longest;
        f->ctx.cache = f->ctx.rows + c.seqs * REX_KV;
        f->ctx.logit_rows = in->val && in->val->n ? REX_FIT_LOGITS : 1;
        f->ctx.keep = true;
    }
    f->recompute = redo < L ? redo : L - 1;
    f->ctx.redo = (int)f->recompute;
    add_up(in, f);
    return REX_OK;
}

/* ---- the budget -------------------------------------------------------------------------- */

/* Smaller batches down to GOOD_BATCH cost next to nothing, then each layer computed again costs a
 * third of its own time, then batches become inefficient. */
static rex_status choose(const rex_fit_in *in, size_t limit, rex_fit *f, rex_err *e) {
    const int64_t least = in->docs->longest, L = in->m->s.L;
    int64_t micro = in->o->micro, redo = in->o->recompute;
    for (;;) {
        REX_TRY(with(in, micro, redo, f, e));
        if (f->total <= limit) return REX_OK;
        const int64_t half = (micro < f->ctx.rows ? micro : f->ctx.rows) / 2;
        if (half >= GOOD_BATCH && half >= least) micro = half;
        else if (redo < L - 1) redo++;
        else if (half >= least) micro = half;
        else return with(in, in->o->micro, in->o->recompute, f, e); /* in vain */
    }
}

static void list(rex_buf *b, const char *fmt, long long value) {
    if (b->n) rex_buf_addf(b, ", or ");
    rex_buf_addf(b, fmt, value);
}

typedef struct {
    char text[32];
} size;

static size said(uint64_t n) {
    size s;
    if (n >> 30) (void)snprintf(s.text, sizeof s.text, "%.2f GiB", (double)n / 0x1p30);
    else (void)snprintf(s.text, sizeof s.text, "%.1f MiB", (double)n / 0x1p20);
    return s;
}

/* Which of the three knobs makes it fit alone, else all three together. */
static rex_status refuse(const rex_fit_in *in, size_t limit, const rex_fit *asked, rex_err *e) {
    const int64_t least = in->docs->longest, L = in->m->s.L;
    rex_fit f = *asked;
    rex_buf b;
    rex_buf_init(&b, 0);
    rex_status s = REX_OK;
    for (int64_t micro = f.ctx.rows / 2; s == REX_OK && micro >= least; micro /= 2) {
        s = with(in, micro, asked->recompute, &f, e);
        if (s != REX_OK || f.total > limit) continue;
        list(&b, "micro: %lld", micro);
        break;
    }
    f = *asked;
    for (int64_t redo = asked->recompute + 1; s == REX_OK && redo < L; redo++) {
        s = with(in, asked->micro, redo, &f, e);
        if (s != REX_OK || f.total > limit) continue;
        list(&b, "recompute: %lld", redo);
        break;
    }
    const size_t saved = in->o->state_bf16 ? 0 : asked->optimiser / 2;
    if (saved && asked->total - saved <= limit) list(&b, "state: bf16", 0);
    if (s == REX_OK && b.n) {
        s = rex_buf_check(&b, e);
        if (s == REX_OK)
            s = rex_fail(e, REX_ELIMIT, -1,
                         "the run takes %s of memory, more than %s: %s would do",
                         said(asked->total).text, said(limit).text, b.p);
    } else if (s == REX_OK) {
        s = with(in, least, L - 1, &f, e);
        const size_t all = f.total - saved;
        if (s == REX_OK)
            s = rex_fail(e, REX_ELIMIT, -1,
                         "the run takes %s of memory, more than %s; with micro: %lld, recompute: "
                         "%lld and state: bf16 together %s: %s",
                         said(asked->total).text, said(limit).text, (long long)least,
                         (long long)L - 1, said(all).text,
                         all <= limit ? "that would do"
                                      : "it takes a smaller model or more memory");
    }
    rex_buf_free(&b);
    return s;
}

rex_status rex_fit_run(const rex_fit_in *in, rex_fit *f, rex_err *e) {
    *f = (rex_fit){.micro = -1};
    const size_t there = rex_mem_resident(), free_now = rex_mem_available();
    size_t limit = free_now > SIZE_MAX - there ? SIZE_MAX : free_now + there;
    f->limit = limit;
    if (in->o->memory > 0 && (size_t)in->o->memory < limit) {
        limit = f->limit = (size_t)in->o->memory;
        REX_TRY(choose(in, limit, f, e));
    } else {
        REX_TRY(with(in, in->o->micro, in->o->recompute, f, e));
    }
    return f->total <= limit ? REX_OK : refuse(in, limit, f, e);
}

/* ---- the disk ---------------------------------------------------------------------------- */

rex_status rex_fit_disk(const rex_sft_opts *o, uint64_t one, rex_fit *f, rex_err *e) {
    const int64_t saves =
        o->save_every > 0 ? (o->steps + o->save_every - 1) / o->save_every : 1;
    int64_t kept = o->keep == 0 || o->keep >= saves ? saves : o->keep + 1;
    const int64_t shown = o->sample_every > 0 ? o->steps / o->sample_every + 1 : 0;
    f->checkpoint = one;
    f->checkpoints = kept; /* with the one that is written before an old one goes */
    f->lines = (uint64_t)o->steps * 256 + (uint64_t)(shown * o->samples) *
                                              (uint64_t)(512 + 8 * o->sample_tokens);
    f->disk = one * (uint64_t)kept + f->lines;
    char p[4096];
    const uint64_t free_now = rex_disk_free(o->out && *o->out ? o->out : ".", p);
    f->disk_free = free_now;
    if (f->disk <= free_now || o->resume) return REX_OK;
    const int64_t room = free_now > f->lines ? (int64_t)((free_now - f->lines) / one) : 0;
    char keep[64] = "";
    if (room >= 2) (void)snprintf(keep, sizeof keep, "keep: %lld, or ", (long long)room - 1);
    return rex_fail(e, REX_ELIMIT, -1, "the run takes %s of disk and %s has %s: %s%s",
                    said(f->disk).text, p, said(free_now).text, keep,
                    room >= 1 ? "save_every: 0 (one checkpoint at the end), or an `out` elsewhere "
                                "would do"
                              : "not one checkpoint fits: an `out` elsewhere or a smaller model "
                                "would do");
}
