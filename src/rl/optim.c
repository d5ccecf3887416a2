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

enum { CHUNK_LOG2 = 16 };

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

rex_status rex_optim_open(rex_grads *g, const rex_optim_opts *o, rex_optim **out, rex_err *e) {
    if (o->state != REX_K_F32 && o->state != REX_K_BF16)
        return rex_fail(e, REX_EARG, -1, "optimiser state is f32 or bf16");
    rex_optim *const p = rex_mem_take(1, sizeof *p, e);
    if (!p) return REX_ENOMEM;
    p->o = *o;
    p->g = g;
    p->n = g->off[g->n];
    p->bytes = p->n * (o->state == REX_K_F32 ? 4u : 2u);
    size_t largest = 0;
    for (size_t i = 0; i < g->n; i++)
        if (g->off[i + 1] - g->off[i] > largest) largest = g->off[i + 1] - g->off[i];
    p->m = rex_mem_take(1, p->bytes, e);
    p->v = p->m ? rex_mem_take(1, p->bytes, e) : NULL;
    p->part = p->v ? rex_mem_take((largest >> CHUNK_LOG2) + 1, sizeof *p->part, e) : NULL;
    p->decays = p->part ? rex_mem_take(g->n, sizeof *p->decays, e) : NULL;
    if (!p->decays) {
        rex_optim_close(p);
        return REX_ENOMEM;
    }
    for (size_t i = 0; i < g->n; i++)
        p->decays[i] = !rex_name_matches(o->no_decay, g->param[i].name);
    *out = p;
    return REX_OK;
}

void rex_optim_close(rex_optim *p) {
    if (!p) return;
    rex_mem_free(p->m);
    rex_mem_free(p->v);
    rex_mem_free(p->part);
    rex_mem_free(p->decays);
    rex_mem_free(p);
}

static rex_status norm_of(const rex_optim *p, rex_pool *pool, double *norm, rex_err *e) {
    const rex_grads *const g = p->g;
    double sum = 0.0;
    for (size_t i = 0; i < g->n; i++) {
        if (!g->train[i]) continue;
        const int64_t n = (int64_t)(g->off[i + 1] - g->off[i]);
        const double s = rex_sumsq_run(&g->m->kern, pool, g->grad + g->off[i], n, p->part);
        if (!isfinite(s))
            return rex_fail(e, REX_ENAN, p->t, "update %lld: the gradient of %s is not finite",
                            (long long)p->t, g->param[i].name);
        sum += s;
    }
    *norm = sqrt(sum);
    return REX_OK;
}

rex_status rex_optim_step(rex_optim *p, rex_pool *pool, double *norm, rex_err *e) {
    rex_grads *const g = p->g;
    const uint64_t fp = rex_fp_enter();
    rex_grads_finish(g, pool);
    double found = 0.0;
    const rex_status s = norm_of(p, pool, &found, e);
    if (s == REX_OK) {
        const double t = (double)(p->t + 1);
        rex_adamw a = { .lr = (float)rex_lr_at(&p->o, p->t), .beta1 = (float)p->o.beta1,
                        .beta2 = (float)p->o.beta2, .eps = (float)p->o.eps,
                        .fix1 = (float)(1.0 - rex_pow(p->o.beta1, t)),
                        .fix2 = (float)sqrt(1.0 - rex_pow(p->o.beta2, t)), .grad_scale = 1.0f,
                        .round_key = p->o.seed ^ (uint64_t)p->t << 32 };
        if (p->o.clip > 0.0 && found > p->o.clip) a.grad_scale = (float)(p->o.clip / found);
        const size_t each = p->o.state == REX_K_F32 ? 4 : 2;
        for (size_t i = 0; i < g->n; i++) {
            if (!g->train[i]) continue;
            const size_t at = g->off[i];
            a.decay = p->decays[i] ? (float)p->o.decay : 0.0f;
            rex_adamw_run(&g->m->kern, pool, rex_grads_weights(g, i), g->grad + at,
                          (char *)p->m + at * each, (char *)p->v + at * each, p->o.state,
                          (int64_t)(g->off[i + 1] - at), at, &a);
        }
        rex_grads_follow(g, pool);
        p->t++;
        if (norm) *norm = found;
    }
    rex_fp_leave(fp);
    return s;
}
