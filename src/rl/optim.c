/* SPDX-License-Identifier: MIT
 *
 * optim.c: AdamW with decoupled decay (Loshchilov and Hutter 2019), one pass over weights,
 * gradients and both moments, tensor by tensor. Everything that decides, the norm and the schedule,
 * is double in a fixed order and with our own cosine and power, so that a run is the same on every
 * machine.
 */
#include "optim.h"

#include <math.h>
#include <string.h>

void rex_optim_defaults(rex_optim_opts *o) {
    *o = (rex_optim_opts){.lr = 1e-3,
                          .beta1 = 0.9,
                          .beta2 = 0.95,
                          .eps = 1e-8,
                          .decay = 0.01,
                          .clip = 1.0,
                          .schedule = REX_LR_CONSTANT,
                          .steps = 1,
                          .state = REX_K_F32};
}

double rex_lr_at(const rex_optim_opts *o, int64_t t) {
    if (t < o->warmup) return o->lr * (double)(t + 1) / (double)o->warmup;
    const int64_t span = o->steps - o->warmup;
    double x = span > 0 ? (double)(t - o->warmup) / (double)span : 0.0;
    if (x > 1.0) x = 1.0;
    double f = 1.0;
    if (o->schedule == REX_LR_LINEAR) f = 1.0 - x;
    else if (o->schedule == REX_LR_COSINE) f = 0.5 * (1.0 + rex_cos(3.14159265358979323846 * x));
    return o->lr * (o->floor + (1.0 - o->floor) * f);
}

/* The spans, with their places among the moments, and the chunks of all parameters. */
static rex_status lay_out(rex_optim *p, const rex_slab_span *span, size_t n_span, rex_err *e) {
    const rex_grads *const g = p->g;
    p->chunk = rex_mem_take(g->n + 1, sizeof *p->chunk, e);
    p->span = p->chunk ? rex_mem_take((span ? n_span : g->n) + 1, sizeof *p->span, e) : NULL;
    if (!p->span) return REX_ENOMEM;
    for (size_t i = 0; i < g->n; i++) {
        const size_t n = rex_grads_size(g, i);
        p->chunk[i + 1] = p->chunk[i] + (n + REX_CHUNK - 1) / REX_CHUNK;
        if (n && !span)
            p->span[p->n_span++] = (rex_slab_span){ .param = i, .at = g->off[i], .n = n,
                                               .chunk = p->chunk[i] };
    }
    if (span) memcpy(p->span, span, n_span * sizeof *span);
    if (span) p->n_span = n_span;
    for (size_t i = 0; i < p->n_span; i++) {
        p->span[i].state = p->n;
        p->n += p->span[i].n;
    }
    return REX_OK;
}

/* What multiplies learning rate and decay of each parameter. */
static rex_status find_factors(rex_optim *p, rex_err *e) {
    const rex_grads *const g = p->g;
    p->lr_factor = rex_mem_take(g->n, sizeof *p->lr_factor, e);
    p->decay_factor = p->lr_factor ? rex_mem_take(g->n, sizeof *p->decay_factor, e) : NULL;
    if (!p->decay_factor) return REX_ENOMEM;
    REX_TRY(rex_grads_factors(g, "lr_for", p->o.lr_for, p->lr_factor, e));
    REX_TRY(rex_grads_factors(g, "decay_for", p->o.decay_for, p->decay_factor, e));
    for (size_t i = 0; i < g->n; i++)
        if (rex_name_matches(p->o.no_decay, g->param[i].name)) p->decay_factor[i] = 0.0;
    return REX_OK;
}

rex_status rex_optim_open_part(rex_grads *g, const rex_optim_opts *o, const rex_slab_span *span,
                               size_t n_span, rex_optim **out, rex_err *e) {
    if (o->state != REX_K_F32 && o->state != REX_K_BF16)
        return rex_fail(e, REX_EARG, -1, "optimiser state is f32 or bf16");
    rex_optim *const p = rex_mem_take(1, sizeof *p, e);
    if (!p) return REX_ENOMEM;
    p->o = *o;
    p->g = g;
    if (lay_out(p, span, n_span, e) != REX_OK) {
        rex_optim_close(p);
        return REX_ENOMEM;
    }
    p->bytes = p->n * (o->state == REX_K_F32 ? 4u : 2u);
    p->m = rex_mem_take(1, p->bytes + 1, e);
    p->v = p->m ? rex_mem_take(1, p->bytes + 1, e) : NULL;
    p->part = p->v ? rex_mem_take(p->chunk[g->n] + 1, sizeof *p->part, e) : NULL;
    const rex_status s = p->part ? find_factors(p, e) : REX_ENOMEM;
    if (s != REX_OK) {
        rex_optim_close(p);
        return s;
    }
    *out = p;
    return REX_OK;
}

rex_status rex_optim_open(rex_grads *g, const rex_optim_opts *o, rex_optim **out, rex_err *e) {
    return rex_optim_open_part(g, o, NULL, 0, out, e);
}

void rex_optim_close(rex_optim *p) {
    if (!p) return;
    rex_mem_free(p->m);
    rex_mem_free(p->v);
    rex_mem_free(p->part);
    rex_mem_free(p->span);
    rex_mem_free(p->chunk);
    rex_mem_free(p->lr_factor);
    rex_mem_free(p->decay_factor);
    rex_mem_free(p);
}

void rex_optim_sums(rex_optim *p, rex_pool *pool) {
    const uint64_t fp = rex_fp_enter();
    for (size_t i = 0; i < p->n_span; i++) {
        const rex_slab_span *const s = &p->span[i];
        (void)rex_sumsq_run(&p->g->m->kern, pool, p->g->grad + s->at, (int64_t)s->n,
                            p->part + s->chunk);
    }
    rex_fp_leave(fp);
}

rex_status rex_optim_norm(const rex_optim *p, double *norm, rex_err *e) {
    const rex_grads *const g = p->g;
    const uint64_t fp = rex_fp_enter();
    rex_status st = REX_OK;
    double sum = 0.0;
    for (size_t i = 0; i < g->n && st == REX_OK; i++) {
        double s = 0.0;
        for (size_t c = p->chunk[i]; c < p->chunk[i + 1]; c++) s += p->part[c];
        if (!isfinite(s))
            st = rex_fail(e, REX_ENAN, p->t, "the gradient of %s is not finite",
                          g->param[i].name);
        sum += s;
    }
    *norm = sqrt(sum);
    rex_fp_leave(fp);
    return st;
}

void rex_optim_update(rex_optim *p, rex_pool *pool, double norm, rex_span_fn done, void *ud) {
    rex_grads *const g = p->g;
    const uint64_t fp = rex_fp_enter();
    const double t = (double)(p->t + 1);
    const double lr = rex_lr_at(&p->o, p->t);
    rex_adamw a = { .beta1 = (float)p->o.beta1,
                    .beta2 = (float)p->o.beta2, .eps = (float)p->o.eps,
                    .fix1 = (float)(1.0 - rex_pow(p->o.beta1, t)),
                    .fix2 = (float)sqrt(1.0 - rex_pow(p->o.beta2, t)), .grad_scale = 1.0f,
                    .round_key = p->o.seed ^ (uint64_t)p->t << 32 };
    if (p->o.clip > 0.0 && norm > p->o.clip) a.grad_scale = (float)(p->o.clip / norm);
    const size_t each = p->o.state == REX_K_F32 ? 4 : 2;
    for (size_t i = 0; i < p->n_span; i++) {
        const rex_slab_span *const s = &p->span[i];
        a.lr = (float)(lr * p->lr_factor[s->param]);
        a.decay = (float)(p->o.decay * p->decay_factor[s->param]);
        float *const w = rex_grads_weights(g, s->param) + (s->at - g->off[s->param]);
        rex_adamw_run(&g->m->kern, pool, w, g->grad + s->at, (char *)p->m + s->state * each,
                      (char *)p->v + s->state * each, p->o.state, (int64_t)s->n, s->at, &a);
        if (done) done(ud, s);
    }
    p->t++;
    rex_fp_leave(fp);
}

rex_status rex_optim_step(rex_optim *p, rex_pool *pool, double *norm, rex_err *e) {
    double found = 0.0;
    rex_grads_finish(p->g, pool);
    rex_optim_sums(p, pool);
    REX_TRY(rex_optim_norm(p, &found, e));
    rex_optim_update(p, pool, found, NULL, NULL);
    rex_grads_follow(p->g, pool);
    if (norm) *norm = found;
    return REX_OK;
}
