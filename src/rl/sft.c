/* SPDX-License-Identifier: MIT
 *
 * sft.c: supervised training, the walk of a run. A step takes the next `seqs` documents of a seeded
 * permutation (one per epoch), cuts them into batches of at most `micro` tokens, runs forward and
 * backward on each, and makes one update with one denominator, the targets of the whole step. What
 * is written to steps.jsonl is a function of model, data, options and seed alone.
 */
#include "sft.h"

#include "../gen/gen.h"
#include "../model/adapter.h"
#include "fit.h"
#include "run.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOGIT_ROWS = REX_FIT_LOGITS };

typedef struct {
    rex_sft_opts o;
    rex_arena *a;
    rex_pool *pool;
    rex_run run;      /* the folder: base files, tokenizer, model, line files */
    rex_docs docs, val;
    rex_ctx *c;
    rex_grads *g;
    rex_back *b;
    rex_share *share;
    rex_dist *sharers; /* of the slab: those of the run, in a plan as well, which is made alone */
    rex_optim *opt;
    int rank, ranks;
    rex_row *row;     /* (rows) */
    int32_t *idx, *target;
    uint32_t *order;  /* (documents) of `epoch` */
    int64_t epoch, step;
    double loss, denominator; /* of the step (of this rank's part): sum of -logp; targets */
    double *part, *all;       /* what this rank tells of a step; what all tell */
    size_t *count;            /* (ranks) how many numbers each tells */
    double saved_at;          /* when the newest checkpoint was written */
    bool stop, save;          /* what the ranks have agreed upon in this step */
    rex_fit fit;
} sft;

/* ---- one batch --------------------------------------------------------------------------- */

static void add_loss(void *ud, int64_t i0, int64_t n, const double *logp, const double *ent,
                     float *dlogp, float *dent) {
    (void)i0;
    (void)ent;
    (void)dent;
    sft *const t = ud;
    for (int64_t i = 0; i < n; i++) {
        t->loss -= logp[i];
        dlogp[i] = (float)(-1.0 / t->denominator);
    }
}

/* Puts a document's tokens but its last behind the rows so far. */
static int put_document(sft *t, const rex_docs *d, size_t doc, int n, int64_t *n_target) {
    const int64_t at = d->first[doc], len = d->first[doc + 1] - at;
    const int32_t seq = rex_seq_open(t->c);
    rex_assert(seq >= 0);
    for (int64_t i = 0; i + 1 < len; i++) {
        t->row[n + i] = (rex_row){ seq, d->id[at + i] };
        if (!d->loss[at + i + 1]) continue;
        t->idx[*n_target] = (int32_t)(n + i);
        t->target[(*n_target)++] = d->id[at + i + 1];
    }
    return n + (int)len - 1;
}

static void close_documents(sft *t, int n) {
    for (int i = 0; i < n; i++)
        if (i == 0 || t->row[i].seq != t->row[i - 1].seq) rex_seq_close(t->c, t->row[i].seq);
}

/* As many of the documents pick[from .. to-1] as fit into one batch; returns the first that does
 * not. */
static size_t fill(sft *t, const rex_docs *d, const uint32_t *pick, size_t from, size_t to,
                   int *rows, int64_t *targets) {
    *rows = 0;
    *targets = 0;
    size_t i = from;
    for (; i < to && i - from < (size_t)t->c->o.seqs; i++) {
        const int64_t len = d->first[pick[i] + 1] - d->first[pick[i]] - 1;
        if (*rows + len > t->c->o.rows) break;
        *rows = put_document(t, d, pick[i], *rows, targets);
    }
    return i;
}

/* ---- one step ---------------------------------------------------------------------------- */

/* Document number `at` of the run: its epoch's permutation, made when the epoch begins. */
static uint32_t document(sft *t, int64_t at) {
    const int64_t epoch = at / (int64_t)t->docs.n;
    if (epoch != t->epoch) {
        rex_rand_perm(rex_key_make((uint64_t)t->o.seed), REX_STREAM_DATA, (uint64_t)epoch, t->order,
                      t->docs.n);
        t->epoch = epoch;
    }
    return t->order[at % (int64_t)t->docs.n];
}

/* Forward and backward of documents pick[lo .. hi-1], in batches; the last one is watched. */
static rex_status batches(sft *t, const uint32_t *pick, size_t lo, size_t hi, rex_err *e) {
    for (size_t i = lo; i < hi;) {
        int rows = 0;
        int64_t count = 0;
        const size_t next = fill(t, &t->docs, pick, i, hi, &rows, &count);
        rex_assert(next > i);
        REX_TRY(rex_ctx_step(t->c, t->row, rows, e));
        rex_back_watch(t->b, next == hi && !t->o.exact ? rex_share_layer : NULL, t->share);
        REX_TRY(rex_back_run(t->b, t->idx, t->target, count, add_loss, t, e));
        close_documents(t, rows);
        i = next;
    }
    return REX_OK;
}

enum { TELL_STOP, TELL_SAVE, TELL_LOSS }; /* numbers of a rank: two wishes, then its losses */
static const double SAVE_SECONDS = 600.0; /* with several ranks, a checkpoint at least that often */

/* The gradient of this rank's documents; part[] gets their losses: of each document in exact mode,
 * of all together otherwise. */
static rex_status own_gradient(sft *t, const uint32_t *pick, rex_err *e) {
    int64_t lo, hi;
    rex_share_range(t->share, t->rank, &lo, &hi);
    t->loss = 0.0;
    if (!t->o.exact || lo == hi) {
        rex_grads_zero(t->g, t->pool);
        REX_TRY(batches(t, pick, (size_t)lo, (size_t)hi, e));
        t->part[TELL_LOSS] = t->loss;
        return REX_OK;
    }
    for (int64_t i = lo; i < hi; i++) {
        t->loss = 0.0;
        rex_grads_zero(t->g, t->pool);
        REX_TRY(batches(t, pick, (size_t)i, (size_t)i + 1, e));
        rex_grads_finish(t->g, t->pool);
        rex_share_leaf(t->share, i - lo, t->pool);
        t->part[TELL_LOSS + i - lo] = t->loss;
    }
    return REX_OK;
}

/* Tells the others what this rank has found and wishes, and hears them. */
static rex_status exchange(sft *t, rex_err *e) {
    t->part[TELL_STOP] = rex_cancelled();
    t->part[TELL_SAVE] = t->rank == 0 && t->ranks > 1 && rex_clock() - t->saved_at > SAVE_SECONDS;
    REX_TRY(rex_share_numbers(t->share, t->opt, t->part, t->count, t->all, e));
    t->loss = 0.0;
    t->stop = t->save = false;
    const double *x = t->all;
    for (int r = 0; r < t->ranks; x += t->count[r++]) {
        t->stop |= x[TELL_STOP] != 0.0;
        t->save |= x[TELL_SAVE] != 0.0;
        for (size_t i = TELL_LOSS; i < t->count[r]; i++) t->loss += x[i];
    }
    return REX_OK;
}

/* What is trained and is not finite: its name, or NULL. */
static const char *broken_weights(const rex_grads *g) {
    for (size_t i = 0; i < g->n; i++) {
        const float *const w = rex_grads_weights(g, i);
        const size_t n = rex_grads_size(g, i); /* 0 where it is frozen */
        for (size_t k = 0; k < n; k++)
            if (!isfinite(w[k])) return g->param[i].name;
    }
    return NULL;
}

/* The norm of a gradient that is finite, as the loss is; or the first tensor that is not. */
static rex_status check_finite(const sft *t, double *norm, rex_err *e) {
    const long long step = (long long)t->step + 1;
    const rex_status s = rex_optim_norm(t->opt, norm, e);
    if (s == REX_OK && isfinite(t->loss)) return REX_OK;
    const char *const name = broken_weights(t->g);
    if (name)
        return rex_fail(e, REX_ENAN, t->step, "step %lld: the weights of %s are not finite", step,
                        name);
    if (s != REX_OK) return rex_fail_in(e, s, "step %lld", step);
    return rex_fail(e, REX_ENAN, t->step, "step %lld: the loss is %s", step,
                    isnan(t->loss) ? "NaN" : "infinite");
}

static rex_status one_update(sft *t, const uint32_t *pick, double *norm, int64_t *tokens,
                             rex_err *e) {
    int64_t targets = 0;
    *tokens = 0;
    for (int64_t i = 0; i < t->o.seqs; i++)
        for (int64_t k = t->docs.first[pick[i]]; k < t->docs.first[pick[i] + 1]; k++) {
            targets += t->docs.loss[k];
            ++*tokens;
        }
    t->denominator = (double)targets;
    REX_TRY(rex_share_begin(t->share, e));
    REX_TRY(own_gradient(t, pick, e));
    REX_TRY(rex_share_sum(t->share, t->pool, e));
    rex_optim_sums(t->opt, t->pool);
    REX_TRY(exchange(t, e));
    t->loss /= t->denominator;
    REX_TRY(check_finite(t, norm, e));
    return rex_share_update(t->share, t->opt, t->pool, *norm, e);
}

/* The ids of a step that failed, for another look. */
static rex_status keep_batch(const sft *t, const uint32_t *pick, rex_err *e) {
    rex_buf b;
    rex_buf_init(&b, 0);
    rex_jw w;
    for (int64_t i = 0; i < t->o.seqs; i++) {
        rex_jw_init(&w, &b);
        rex_jw_obj(&w);
        rex_jw_key(&w, "ids");
        rex_jw_arr(&w);
        for (int64_t k = t->docs.first[pick[i]]; k < t->docs.first[pick[i] + 1]; k++)
            rex_jw_i64(&w, t->docs.id[k]);
        rex_jw_arr_end(&w);
        rex_jw_obj_end(&w);
        rex_buf_addf(&b, "\n");
    }
    char name[64];
    (void)snprintf(name, sizeof name, "failed_step_%lld.jsonl", (long long)t->step + 1);
    rex_status s = rex_run_write(&t->run, name, &b, e);
    rex_buf_free(&b);
    return s;
}

static rex_status log_step(sft *t, double norm, double lr, int64_t tokens, double seconds,
                           rex_err *e) {
    rex_buf b;
    rex_buf_init(&b, 0);
    rex_jw w;
    rex_jw_init(&w, &b);
    rex_jw_obj(&w);
    rex_jw_key(&w, "step");
    rex_jw_i64(&w, t->step);
    rex_jw_key(&w, "loss");
    rex_jw_f64(&w, t->loss);
    rex_jw_key(&w, "grad_norm");
    rex_jw_f64(&w, norm);
    rex_jw_key(&w, "lr");
    rex_jw_f64(&w, lr);
    rex_jw_key(&w, "tokens");
    rex_jw_i64(&w, tokens);
    rex_jw_key(&w, "targets");
    rex_jw_i64(&w, (int64_t)t->denominator);
    rex_jw_obj_end(&w);
    rex_buf_addf(&b, "\n");
    rex_status s = rex_run_line(&t->run, "steps.jsonl", &b, e);
    rex_buf_reset(&b);
    rex_buf_addf(&b, "{\"step\":%lld,\"seconds\":%.6f,\"tok_s\":%.1f}\n", (long long)t->step,
                 seconds, (double)tokens / seconds);
    if (s == REX_OK) s = rex_run_line(&t->run, "timing.jsonl", &b, e);
    rex_buf_free(&b);
    return s;
}

static rex_status step(sft *t, uint32_t *pick, rex_progress *p, rex_err *e) {
    const double start = rex_clock();
    rex_dist_at(t->o.dist, t->step + 1);
    for (int64_t i = 0; i < t->o.seqs; i++) pick[i] = document(t, t->step * t->o.seqs + i);
    const double lr = rex_lr_at(&t->opt->o, t->opt->t);
    double norm = 0.0;
    int64_t tokens = 0;
    const rex_status s = one_update(t, pick, &norm, &tokens, e);
    if (s == REX_ENAN && t->rank == 0 && keep_batch(t, pick, NULL) == REX_OK)
        rex_say(REX_LOG_ERROR, "the batch is kept in %s/failed_step_%lld.jsonl", t->o.out,
                (long long)t->step + 1);
    REX_TRY(s);
    t->step++;
    rex_progress_add(p, 1, tokens);
    rex_say(REX_LOG_STEP, "step %lld loss %.4f norm %.3f lr %.3g", (long long)t->step, t->loss,
            norm, lr);
    return log_step(t, norm, lr, tokens, rex_clock() - start, e);
}

/* ---- validation and samples -------------------------------------------------------------- */

/* sum[i] = -log p of the targets of validation document i, for those from lo to hi-1. */
static rex_status validate_part(sft *t, size_t lo, size_t hi, double *sum, rex_err *e) {
    const int64_t V = t->run.model->s.V;
    uint32_t *const pick = rex_mem_take(t->val.n, sizeof *pick, e);
    if (!pick) return REX_ENOMEM;
    for (size_t i = 0; i < t->val.n; i++) pick[i] = (uint32_t)i;
    rex_status s = REX_OK;
    for (size_t i = lo; i < hi && s == REX_OK;) {
        int rows = 0;
        int64_t count = 0;
        size_t doc = i;
        i = fill(t, &t->val, pick, i, hi, &rows, &count);
        s = rex_ctx_step(t->c, t->row, rows, e);
        int64_t end = t->val.first[doc + 1] - t->val.first[doc] - 1; /* rows of `doc` */
        for (int64_t k = 0; k < count && s == REX_OK; k += LOGIT_ROWS) {
            const int m = count - k < LOGIT_ROWS ? (int)(count - k) : LOGIT_ROWS;
            const float *state[LOGIT_ROWS];
            for (int r = 0; r < m; r++) state[r] = rex_ctx_state(t->c, t->idx[k + r]);
            const float *const logit = rex_ctx_head(t->c, state, m);
            for (int r = 0; r < m && s == REX_OK; r++) {
                rex_draw d;
                s = rex_score_token(&t->run.model->kern, logit + r * V, V, t->target[k + r], &d, e);
                while (t->idx[k + r] >= end) {
                    doc++;
                    end += t->val.first[doc + 1] - t->val.first[doc] - 1;
                }
                sum[doc] -= (double)d.logp;
            }
        }
        close_documents(t, rows);
    }
    rex_mem_free(pick);
    return s;
}

/* Every rank takes a part of the documents; their sums are added in the order of documents. */
static rex_status validate(sft *t, rex_err *e) {
    if (t->val.n == 0) return REX_OK;
    double *const by_doc = rex_mem_take(t->val.n, sizeof *by_doc, e);
    size_t *const at = by_doc ? rex_mem_take((size_t)t->ranks + 1, sizeof *at, e) : NULL;
    rex_status s = at ? REX_OK : REX_ENOMEM;
    for (int r = 0; r <= t->ranks && s == REX_OK; r++)
        at[r] = t->val.n * (size_t)r / (size_t)t->ranks;
    if (s == REX_OK) s = validate_part(t, at[t->rank], at[t->rank + 1], by_doc, e);
    for (int r = 0; r <= t->ranks && s == REX_OK; r++) at[r] *= sizeof *by_doc;
    if (s == REX_OK) s = rex_dist_share(t->o.dist, by_doc, at, e);
    double sum = 0.0;
    for (size_t i = 0; i < t->val.n && s == REX_OK; i++) sum += by_doc[i];
    rex_mem_free(at);
    rex_mem_free(by_doc);
    REX_TRY(s);
    if (t->rank > 0) return REX_OK;
    rex_say(REX_LOG_INFO, "step %lld: validation loss %.4f over %lld targets", (long long)t->step,
            sum / (double)t->val.targets, (long long)t->val.targets);
    rex_buf b;
    rex_buf_init(&b, 0);
    rex_jw w;
    rex_jw_init(&w, &b);
    rex_jw_obj(&w);
    rex_jw_key(&w, "step");
    rex_jw_i64(&w, t->step);
    rex_jw_key(&w, "loss");
    rex_jw_f64(&w, sum / (double)t->val.targets);
    rex_jw_key(&w, "targets");
    rex_jw_i64(&w, t->val.targets);
    rex_jw_obj_end(&w);
    rex_buf_addf(&b, "\n");
    char name[64];
    (void)snprintf(name, sizeof name, "eval/step_%lld.json", (long long)t->step);
    s = rex_run_write(&t->run, name, &b, e);
    rex_buf_free(&b);
    return s;
}

typedef struct {
    const sft *t;
    rex_buf *b;
    rex_arena *a;
    const rex_gen_prompt *prompt;
} sample_ud;

static rex_status put_sample(void *ud, const rex_gen_sample *x, rex_err *e) {
    const sample_ud *const u = ud;
    char id[32];
    rex_str line, prompt = { NULL, 0 };
    (void)snprintf(id, sizeof id, "%zu", x->prompt);
    rex_sample s = {.prompt_id = rex_str_of(id),
                    .has = REX_F(SAMPLE) | REX_F(IDS) | REX_F(TEXT) | REX_F(FINISH),
                    .sample = x->sample,
                    .ids = x->ids,
                    .n_ids = x->n,
                    .text = x->text,
                    .finish = rex_str_of(x->stopped ? "stop" : "length")};
    REX_TRY(rex_sample_line(u->a, &s, &line, e));
    rex_buf_add(u->b, line.p, line.n);
    const rex_gen_prompt *const q = &u->prompt[x->prompt];
    if (u->t->run.tok)
        REX_TRY(rex_tok_decode(u->t->run.tok, q->ids, q->n, REX_TOK_SPECIAL, u->a, &prompt, e));
    rex_say(REX_LOG_INFO, "sample %s: %.*s -> %.*s", id, (int)(prompt.n < 200 ? prompt.n : 200),
            prompt.p ? prompt.p : "", (int)(x->text.n < 200 ? x->text.n : 200),
            x->text.p ? x->text.p : "");
    return REX_OK;
}

/* Continues the first prompts of the validation (or training) data with the weights as they are. */
static rex_status show_samples(sft *t, rex_err *e) {
    const rex_docs *const d = t->val.n ? &t->val : &t->docs;
    const size_t n = (size_t)t->o.samples < d->n ? (size_t)t->o.samples : d->n;
    if (n == 0) return REX_OK;
    rex_gen_prompt prompt[32];
    rex_gen_opts o;
    rex_gen_defaults(&o);
    o.max_tokens = t->o.sample_tokens;
    o.batch = 32;
    o.seed = (uint64_t)t->o.seed;
    o.step = (uint64_t)t->step;
    o.detail = false;
    size_t m = 0;
    for (size_t i = 0; i < n && m < 32; i++) {
        int64_t k = d->first[i];
        while (k < d->first[i + 1] && !d->loss[k]) k++;
        if (k == d->first[i]) continue;
        if (k - d->first[i] > o.max_prompt) o.max_prompt = k - d->first[i];
        prompt[m++] = (rex_gen_prompt){
            .hash = i, .ids = d->id + d->first[i], .n = (size_t)(k - d->first[i]), .samples = 1};
    }
    const int64_t left = t->run.model->s.ctx - o.max_prompt;
    if (m == 0 || left < 1) return REX_OK;
    if (o.max_tokens > left) o.max_tokens = left;
    rex_buf b;
    rex_buf_init(&b, 0);
    rex_engine *g = NULL;
    const rex_mark mark = rex_arena_mark(t->a);
    sample_ud u = { t, &b, t->a, prompt };
    rex_status s = rex_gen_open(t->run.model, t->run.tok, t->pool, &o, &g, e);
    if (s == REX_OK) s = rex_gen_run(g, prompt, m, put_sample, &u, e);
    rex_gen_close(g);
    char name[64];
    (void)snprintf(name, sizeof name, "samples/step_%lld.jsonl", (long long)t->step);
    if (s == REX_OK) s = rex_run_write(&t->run, name, &b, e);
    rex_buf_free(&b);
    rex_arena_back(t->a, mark);
    return s;
}

/* ---- the run ----------------------------------------------------------------------------- */

static rex_ckpt checkpoint_of(const sft *t) {
    return (rex_ckpt){ .g = t->g, .opt = t->opt, .share = t->share, .side = t->run.side,
                       .n_side = t->run.n_side };
}

/* Room for the next one is looked for behind it, where nothing is lost yet. */
static rex_status write_checkpoint(sft *t, rex_err *e) {
    rex_buf b;
    rex_buf_init(&b, 0);
    rex_buf_addf(&b, "{\"step\":%lld,\"seed\":%lld,\"data\":\"%016llx\"}", (long long)t->step,
                 (long long)t->o.seed, (unsigned long long)t->docs.hash);
    rex_ckpt c = checkpoint_of(t);
    c.state = (rex_str){ b.p, b.n };
    char folder[4096];
    rex_status s = rex_buf_check(&b, e);
    (void)snprintf(folder, sizeof folder, "%s/checkpoints", t->o.out);
    if (s == REX_OK) s = rex_run_sync(&t->run, e);
    if (s == REX_OK) s = rex_ckpt_save(folder, t->step, &c, t->o.keep, e);
    rex_buf_free(&b);
    if (s != REX_OK || t->stop || t->step == t->o.steps) return s;
    s = rex_ckpt_room(folder, &c, e);
    return s == REX_OK ? s
                       : rex_fail_in(e, s,
                                     "step %lld is saved, the next checkpoint would not be; go on "
                                     "with --resume %s when there is room",
                                     (long long)t->step, t->o.out);
}

/* Rank 0 writes, the others hand it their moments; all know how it ended. */
static rex_status save(sft *t, rex_err *e) {
    t->saved_at = rex_clock();
    if (t->ranks == 1) return write_checkpoint(t, e);
    rex_dist_busy(t->o.dist, true);
    rex_status s = t->rank == 0 ? write_checkpoint(t, e) : rex_share_serve(t->share, t->opt, e);
    if (t->rank == 0) {
        const rex_status rest = rex_share_drain(t->share, t->opt, s == REX_OK ? e : NULL);
        if (s == REX_OK) s = rest;
    }
    s = rex_dist_agree(t->o.dist, s, e);
    rex_dist_busy(t->o.dist, false);
    return s;
}

/* Room for what ranks tell each other of a step. */
static rex_status open_numbers(sft *t, rex_err *e) {
    const size_t most = (size_t)(t->o.seqs + TELL_LOSS * t->ranks + t->ranks);
    t->part = rex_arena_zero(t->a, most, sizeof *t->part, e);
    t->all = t->part ? rex_arena_zero(t->a, most, sizeof *t->all, e) : NULL;
    t->count = t->all ? rex_arena_zero(t->a, (size_t)t->ranks, sizeof *t->count, e) : NULL;
    if (!t->count) return REX_ENOMEM;
    for (int r = 0; r < t->ranks; r++) {
        int64_t lo, hi;
        rex_share_range(t->share, r, &lo, &hi);
        t->count[r] = TELL_LOSS + (t->o.exact ? (size_t)(hi - lo) : 1);
    }
    return REX_OK;
}

static rex_optim_opts optim_opts(const rex_sft_opts *o) {
    rex_optim_opts p;
    rex_optim_defaults(&p);
    p.lr = o->lr;
    p.beta1 = o->beta1;
    p.beta2 = o->beta2;
    p.eps = o->eps;
    p.decay = o->weight_decay;
    p.clip = o->clip;
    p.schedule = o->schedule == REX_SCHEDULE_CONSTANT ? REX_LR_CONSTANT
                 : o->schedule == REX_SCHEDULE_LINEAR ? REX_LR_LINEAR : REX_LR_COSINE;
    p.warmup = o->warmup;
    p.steps = o->steps;
    p.floor = o->lr_floor;
    p.no_decay = o->no_decay;
    p.lr_for = o->lr_for;
    p.decay_for = o->decay_for;
    p.state = o->state_bf16 ? REX_K_BF16 : REX_K_F32;
    p.seed = (uint64_t)o->seed;
    return p;
}

/* What lasts from step to step, and the sizes of the rest. */
static rex_status open_slabs(sft *t, rex_err *e) {
    const rex_optim_opts p = optim_opts(&t->o);
    const size_t there = rex_mem_resident(), model = t->run.model_bytes;
    REX_TRY(rex_grads_open(t->run.model, t->o.freeze, &t->g, e));
    REX_TRY(rex_share_open(t->g, t->sharers, t->o.exact, t->o.seqs, &t->share, e));
    size_t n_span = 0;
    const rex_slab_span *const span = rex_share_spans(t->share, &n_span);
    REX_TRY(rex_optim_open_part(t->g, &p, span, n_span, &t->opt, e));
    const rex_fit_in in = { .o = &t->o, .m = t->run.model, .g = t->g, .opt = t->opt,
                            .pool = t->pool, .docs = &t->docs, .val = &t->val,
                            .program = (there > model ? there - model : 0) +
                                       rex_share_bytes(t->share) };
    return rex_fit_run(&in, &t->fit, e);
}

static rex_status open_step(sft *t, rex_err *e) {
    const size_t rows = (size_t)t->fit.ctx.rows;
    REX_TRY(rex_ctx_open(t->run.model, t->pool, &t->fit.ctx, &t->c, e));
    REX_TRY(rex_back_open(t->c, t->g, &t->b, e));
    REX_TRY(open_numbers(t, e));
    t->row = rex_arena_take(t->a, rows, sizeof *t->row, e);
    t->idx = t->row ? rex_arena_take(t->a, rows, sizeof *t->idx, e) : NULL;
    t->target = t->idx ? rex_arena_take(t->a, rows, sizeof *t->target, e) : NULL;
    t->order = t->target ? rex_arena_take(t->a, t->docs.n, sizeof *t->order, e) : NULL;
    return t->order ? REX_OK : REX_ENOMEM;
}

static rex_status read_data(sft *t, rex_err *e) {
    const rex_docs_opts o = {.tok = t->run.tok,
                             .chat = t->run.chat,
                             .map = t->o.map,
                             .context = t->run.model->s.ctx,
                             .vocab = t->run.model->s.V,
                             .all = t->o.loss_on_all,
                             .truncate = t->o.truncate,
                             .eos = t->run.eos};
    REX_TRY(rex_docs_read(t->a, t->o.data, &o, &t->docs, e));
    return t->o.val ? rex_docs_read(t->a, t->o.val, &o, &t->val, e) : REX_OK;
}

static void tell_data(const sft *t) {
    const int64_t context = t->run.model->s.ctx;
    rex_docs_tell(&t->docs, t->o.data, context);
    if (t->o.val) rex_docs_tell(&t->val, t->o.val, context);
}

/* Takes up the newest checkpoint that can be read. */
static rex_status resume(sft *t, rex_err *e) {
    if (t->run.from_step < 0)
        return rex_run_cut(&t->run, 0, e); /* killed before its first checkpoint */
    rex_jval *state = NULL;
    REX_TRY(rex_ckpt_load(t->a, t->run.from, t->opt, &state, e));
    REX_TRY(rex_json_i64(rex_json_get(state, "step"), "step", &t->step, e));
    const rex_jval *const data = rex_json_get(state, "data");
    char hash[32];
    (void)snprintf(hash, sizeof hash, "%016llx", (unsigned long long)t->docs.hash);
    if (!data || data->kind != REX_J_STR || !rex_str_is(data->u.s, hash))
        return rex_fail(e, REX_EFORMAT, -1,
                        "resume %s: the data are not those of the run: %s is different now",
                        t->o.out, t->o.data);
    rex_say(REX_LOG_INFO, "goes on behind step %lld", (long long)t->step);
    return rex_run_cut(&t->run, t->step, e);
}

/* Rank 0 shows them; the others wait. */
static rex_status samples(sft *t, rex_err *e) {
    rex_dist_busy(t->o.dist, true);
    const rex_status s = t->rank == 0 ? show_samples(t, e) : REX_OK;
    const rex_status all = rex_dist_agree(t->o.dist, s, e);
    rex_dist_busy(t->o.dist, false);
    return all;
}

static rex_status train(sft *t, rex_err *e) {
    uint32_t *const pick = rex_arena_take(t->a, (size_t)t->o.seqs, sizeof *pick, e);
    if (!pick) return REX_ENOMEM;
    rex_progress p;
    rex_progress_begin(&p, "steps", t->o.steps - t->step, "tok");
    rex_status s = REX_OK;
    bool saved = t->step > 0;
    while (s == REX_OK && t->step < t->o.steps) {
        s = step(t, pick, &p, e);
        if (s != REX_OK) break;
        const bool last = t->step == t->o.steps, stop = t->stop;
        saved = false;
        if (t->o.eval_every > 0 && (t->step % t->o.eval_every == 0 || last)) s = validate(t, e);
        if (s == REX_OK && t->o.sample_every > 0 && (t->step % t->o.sample_every == 0 || last))
            s = samples(t, e);
        if (s == REX_OK &&
            (last || stop || t->save || (t->o.save_every > 0 && t->step % t->o.save_every == 0))) {
            s = save(t, e);
            saved = true;
        }
        if (s == REX_OK && stop && !last)
            s = rex_fail(e, REX_ECANCEL, t->step,
                         "stopped behind step %lld; go on with --resume %s", (long long)t->step,
                         t->o.out);
    }
    rex_progress_end(&p);
    return s == REX_OK && !saved ? save(t, e) : s;
}

/* Before the first step all ranks must be about to do the same. */
static rex_status compare_ranks(sft *t, rex_err *e) {
    rex_dist *const d = t->o.dist;
    if (!d) return REX_OK;
    REX_TRY(rex_dist_same(d, "the training data", t->docs.hash, e));
    REX_TRY(rex_dist_same(d, "the validation data", t->val.n ? t->val.hash : 0, e));
    REX_TRY(rex_run_same_config(&t->run, e));
    uint64_t hash = rex_hash64(t->run.model->slab, t->run.model->slab_bytes); /* the matrices */
    for (size_t i = 0; i < t->g->n; i++) {
        const rex_param *const p = &t->g->param[i];
        if (!p->vec) continue;
        const size_t bytes = (size_t)(p->rows * p->cols) * sizeof(float);
        const uint64_t pair[2] = { hash, rex_hash64(p->vec, bytes) };
        hash = rex_hash64(pair, sizeof pair);
    }
    REX_TRY(rex_dist_same(d, "the model's weights", hash, e));
    const rex_adapter *const low = t->run.model->adapter;
    const uint64_t own = low ? rex_hash64(low->slab, low->floats * sizeof *low->slab) : 0;
    REX_TRY(rex_dist_same(d, "the adapter", own, e));
    return rex_dist_same(d, "the steps done", (uint64_t)t->step, e);
}

static rex_status prepare(sft *t, rex_err *e) {
    const int threads = rex_dist_threads(t->o.dist, (int)t->o.threads);
    REX_TRY(rex_run_same(t->o.dist, &t->o, e));
    rex_status s = rex_pool_open(threads, &t->pool, e);
    if (s == REX_OK) s = rex_run_open(&t->run, &t->o, false, t->a, t->pool, e);
    REX_TRY(rex_dist_agree(t->o.dist, s, e));
    s = read_data(t, e);
    if (s == REX_OK) tell_data(t);
    if (s == REX_OK) s = open_slabs(t, e);
    if (s == REX_OK) s = open_step(t, e);
    if (s == REX_OK && t->rank == 0 && t->run.from_step < t->o.steps) {
        const rex_ckpt c = checkpoint_of(t);
        s = rex_ckpt_room(t->o.out, &c, e);
    }
    if (s == REX_OK) s = rex_run_begin(&t->run, &t->docs, e);
    REX_TRY(rex_dist_agree(t->o.dist, s, e));
    if (t->o.resume) s = resume(t, e);
    REX_TRY(rex_dist_agree(t->o.dist, s, e));
    return compare_ranks(t, e);
}

static rex_status run(sft *t, rex_err *e) {
    rex_dist_busy(t->o.dist, true); /* reading data takes as long as it takes */
    REX_TRY(prepare(t, e));
    if (t->o.memory)
        rex_say(REX_LOG_INFO, "%.2f GiB of memory: batches of %lld tokens, %lld of %d layers "
                "computed again", (double)t->fit.total / 0x1p30, (long long)t->fit.micro,
                (long long)t->fit.recompute, t->run.model->s.L);
    if (t->ranks > 1)
        rex_say(REX_LOG_INFO, "%d ranks of %d threads each%s", t->ranks, rex_pool_size(t->pool),
                t->o.exact ? ", exact sums" : "");
    t->saved_at = rex_clock();
    rex_dist_busy(t->o.dist, false);
    return train(t, e);
}

/* What is lost with a rank, and what is not. Quickly: mpirun is about to end this one, too. */
static rex_status say_lost(const sft *t, rex_status s, rex_err *e) {
    char folder[4096];
    (void)snprintf(folder, sizeof folder, "%s/checkpoints", t->o.out);
    const int64_t step = rex_ckpt_newest(folder);
    const size_t n = strlen(e->text);
    if (step >= 0)
        (void)snprintf(e->text + n, sizeof e->text - n,
                       "; the newest checkpoint is that of step %lld: go on with --resume %s",
                       (long long)step, t->o.out);
    else
        (void)snprintf(e->text + n, sizeof e->text - n, "; there is no checkpoint yet");
    return s;
}

void rex_sft_defaults(rex_sft_opts *o) {
    *o = (rex_sft_opts){.size = sizeof *o,
                        .steps = 1000,
                        .seqs = 64,
                        .micro = 4096,
                        .lr = 1e-3,
                        .lr_floor = 0.1,
                        .beta1 = 0.9,
                        .beta2 = 0.95,
                        .eps = 1e-8,
                        .weight_decay = 0.01,
                        .clip = 1.0,
                        .schedule = REX_SCHEDULE_COSINE,
                        .samples = 4,
                        .sample_tokens = 64,
                        .keep = 2,
                        .layers = 3,
                        .width = 96,
                        .heads = 4,
                        .ffn = 256,
                        .vocab = 512,
                        .seed = 0};
}

static void close_all(sft *t) {
    rex_optim_close(t->opt);
    rex_share_close(t->share);
    rex_back_close(t->b);
    rex_grads_close(t->g);
    rex_ctx_close(t->c);
    rex_run_close(&t->run);
    rex_pool_close(t->pool);
    rex_arena_close(t->a);
}

/* AdamW divides by 1 - beta^t and by a root plus eps, all in float. */
static rex_status check_optim(const rex_sft_opts *o, rex_err *e) {
    const struct {
        const char *name;
        double value;
        bool good;
    } x[] = { { "beta1", o->beta1, (float)o->beta1 < 1.0f },
              { "beta2", o->beta2, (float)o->beta2 < 1.0f },
              { "eps", o->eps, (float)o->eps > 0.0f } };
    for (size_t i = 0; i < sizeof x / sizeof *x; i++)
        if (!x[i].good)
            return rex_fail(e, REX_EARG, -1, "%s: %.9g %s", x[i].name, x[i].value,
                            i < 2 ? "is not below 1" : "is not above 0");
    return REX_OK;
}

static rex_status open_opts(sft *t, const rex_sft_opts *o, rex_err *e) {
    *t = (sft){ .epoch = -1 };
    rex_sft_defaults(&t->o);
    memcpy(&t->o, o, o->size < sizeof t->o ? o->size : sizeof t->o);
    REX_TRY(check_optim(&t->o, e));
    t->sharers = t->o.dist;
    t->rank = rex_dist_rank(t->o.dist);
    t->ranks = rex_dist_size(t->o.dist);
    return rex_arena_open(0, &t->a, e);
}

rex_status rex_sft_run(const rex_sft_opts *o, rex_err *e) {
    sft t;
    rex_sft_cost cost = { .size = sizeof cost };
    if (o->dry_run) return rex_sft_plan(o, &cost, e);
    REX_TRY(open_opts(&t, o, e));
    rex_err own = { .code = REX_OK, .at = -1 };
    rex_status s = run(&t, &own);
    rex_dist_fail(t.o.dist, s, &own);
    if (s == REX_ECHILD && t.ranks > 1) s = say_lost(&t, s, &own);
    if (s != REX_OK && e) *e = own;
    if (s != REX_OK && t.run.fresh) rex_run_forget(t.o.out, t.run.made);
    close_all(&t);
    return s;
}

/* ---- the plan ---------------------------------------------------------------------------- */

/* Seconds of a step: gradients and weights are passed over once, and one batch of moderate size is
 * run forward and backward, again while that is quick. */
static rex_status measure(sft *t, double *seconds, rex_err *e) {
    enum { ROWS = 1024, MOST = 8 };
    uint32_t *const pick = rex_arena_take(t->a, (size_t)t->o.seqs, sizeof *pick, e);
    if (!pick) return REX_ENOMEM;
    size_t n = 0;
    int64_t tokens = 0;
    for (; n < (size_t)t->o.seqs && n < (size_t)t->c->o.seqs; n++) {
        const uint32_t k = document(t, (int64_t)n);
        const int64_t len = t->docs.first[k + 1] - t->docs.first[k];
        if (n && (tokens + len > ROWS || tokens + len > t->c->o.rows)) break;
        pick[n] = k;
        tokens += len;
    }
    double batch = HUGE_VAL, update = HUGE_VAL, spent = 0.0, norm = 0.0;
    t->denominator = 1.0;
    for (int i = 0; i < MOST && (i < 1 || spent < 0.5); i++) {
        int rows = 0;
        int64_t count = 0;
        const double start = rex_clock();
        const size_t next = fill(t, &t->docs, pick, 0, n, &rows, &count);
        rex_assert(next == n);
        REX_TRY(rex_ctx_step(t->c, t->row, rows, e));
        REX_TRY(rex_back_run(t->b, t->idx, t->target, count, add_loss, t, e));
        close_documents(t, rows);
        const double took = rex_clock() - start;
        batch = took < batch ? took : batch;
        spent += took;
    }
    for (int i = 0; i < 3; i++) { /* the first one finds memory that nobody has touched */
        const double start = rex_clock();
        rex_grads_zero(t->g, t->pool);
        REX_TRY(rex_optim_step(t->opt, t->pool, &norm, e));
        const double took = rex_clock() - start;
        update = took < update ? took : update;
    }
    *seconds = update + batch * t->fit.tokens / (double)tokens;
    return REX_OK;
}

/* Opens what a run opens, blank or with its weights. A model from scratch begins in a folder of its
 * own: `tmp`. */
static rex_status open_plan(sft *t, const rex_sft_opts *o, const char *tmp, bool blank,
                            rex_err *e) {
    REX_TRY(open_opts(t, o, e));
    t->o.dist = NULL;
    if (!o->resume) t->o.out = tmp;
    REX_TRY(rex_pool_open((int)o->threads, &t->pool, e));
    REX_TRY(rex_run_open(&t->run, &t->o, blank, t->a, t->pool, e));
    REX_TRY(read_data(t, e));
    if (blank) tell_data(t); /* the second opening reads the same */
    if (blank && o->resume) REX_TRY(rex_run_compare(&t->run, &t->docs, e));
    t->o.out = o->out;
    return open_slabs(t, e);
}

static void tell(const sft *t, rex_sft_cost *c) {
    const rex_fit *const f = &t->fit;
    c->params = rex_model_about(t->run.model)->params;
    for (size_t i = 0; i < t->g->n; i++)
        if (t->g->train[i]) c->trained += t->g->param[i].rows * t->g->param[i].cols;
    c->weights = (int64_t)f->weights;
    c->gradients = (int64_t)f->gradients;
    c->optimiser = (int64_t)f->optimiser;
    c->activations = (int64_t)f->activations;
    c->backward = (int64_t)f->backward;
    c->data = (int64_t)f->data;
    c->program = (int64_t)f->program;
    c->memory = (int64_t)f->total;
    c->memory_limit = f->limit > INT64_MAX ? INT64_MAX : (int64_t)f->limit;
    c->micro = f->micro;
    c->recompute = f->recompute;
    c->documents = (int64_t)t->docs.n;
    c->steps = t->o.steps;
    c->batches = f->batches;
    c->tokens_per_step = f->tokens;
}

static rex_status plan(const rex_sft_opts *o, const char *tmp, rex_sft_cost *c, rex_err *e) {
    sft t;
    rex_status s = open_plan(&t, o, tmp, true, e);
    if (t.opt && t.fit.total) {
        tell(&t, c);
        const rex_ckpt one = checkpoint_of(&t);
        const rex_status d = rex_fit_disk(&t.o, rex_ckpt_bytes(&one), &t.fit, s ? NULL : e);
        if (s == REX_OK) s = d;
        c->checkpoint = (int64_t)t.fit.checkpoint;
        c->checkpoints = t.fit.checkpoints;
        c->disk = (int64_t)t.fit.disk;
        c->disk_free = t.fit.disk_free > INT64_MAX ? INT64_MAX : (int64_t)t.fit.disk_free;
    }
    close_all(&t);
    REX_TRY(s);
    s = open_plan(&t, o, tmp, false, e);
    if (s == REX_OK) s = open_step(&t, e);
    if (s == REX_OK) s = measure(&t, &c->seconds_per_step, e);
    close_all(&t);
    return s;
}

static rex_status plan_alone(const rex_sft_opts *o, rex_sft_cost *out, rex_err *e) {
    rex_sft_cost c = { .size = sizeof c };
    if (o->out && !o->resume) REX_TRY(rex_run_check(o->out, e));
    char tmp[] = "/tmp/repexp-plan.XXXXXX";
    if (!mkdtemp(tmp)) return rex_fail(e, REX_EIO, -1, "cannot make a folder below /tmp");
    const rex_status s = plan(o, tmp, &c, e);
    rex_run_forget(tmp, true);
    c.size = out->size < sizeof c ? out->size : sizeof c;
    memcpy(out, &c, c.size);
    return s;
}

/* Rank 0 plans, for its share of the slab; the others, if they are to plan as well, wait for it. */
rex_status rex_sft_plan(const rex_sft_opts *o, rex_sft_cost *out, rex_err *e) {
    rex_err own = { .code = REX_OK, .at = -1 };
    rex_dist_busy(o->dist, true);
    rex_status s = rex_run_same(o->dist, o, &own);
    if (s == REX_OK) {
        if (rex_dist_rank(o->dist) == 0) s = plan_alone(o, out, &own);
        s = rex_dist_agree(o->dist, s, &own);
    }
    rex_dist_busy(o->dist, false);
    rex_dist_fail(o->dist, s, &own);
    if (s != REX_OK && e) *e = own;
    return s;
}
