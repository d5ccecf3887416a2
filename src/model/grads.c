/* SPDX-License-Identifier: MIT
 *
 * grads.c: the slab of gradients. A parameter's piece of it has the layout that its weights have,
 * so that the optimiser is one pass over two arrays and a gradient product writes where it ends up.
 * Every piece begins on a multiple of 16 floats.
 *
 * A tied embedding is read by row and multiplied as a matrix. Two chains of sums cannot be one
 * chain without depending on how tokens were cut into batches, so each has its own memory, and
 * rex_grads_finish adds the rows' gradient to the matrix's once per step.
 */
#include "adapter.h"
#include "train.h"

#include <string.h>

enum { ROUND = 16, CHUNK = 1 << 16 };

static bool matches(const char *pattern, size_t n, const char *name) {
    const char *star = NULL, *back = NULL;
    size_t i = 0, after = 0;
    while (*name) {
        if (i < n && pattern[i] == '*') {
            star = pattern + i;
            after = ++i;
            back = name;
        } else if (i < n && pattern[i] == *name) {
            i++;
            name++;
        } else if (star) {
            i = after;
            name = ++back;
        } else {
            return false;
        }
    }
    while (i < n && pattern[i] == '*') i++;
    return i == n;
}

bool rex_name_matches(const char *patterns, const char *name) {
    for (const char *p = patterns; p && *p;) {
        const char *const end = strchr(p, ',');
        const size_t n = end ? (size_t)(end - p) : strlen(p);
        if (matches(p, n, name)) return true;
        p += n + (end ? 1 : 0);
    }
    return false;
}

/* One "PATTERN=X" of n bytes. */
static rex_status put_factor(const rex_grads *g, const char *what, const char *p, size_t n,
                             double *factor, rex_err *e) {
    size_t eq = n, hits = 0;
    while (eq > 0 && p[eq - 1] != '=') eq--;
    double x = -1.0;
    if (eq < 2 || !rex_num_parse((rex_str){ p + eq, n - eq }, &x) || !(x >= 0.0) || x > 1e6)
        return rex_fail(e, REX_EARG, -1,
                        "%s takes PATTERN=FACTOR with a factor from 0 to 1e6, not \"%.*s\"", what,
                        (int)n, p);
    for (size_t i = 0; i < g->n; i++)
        if (g->train[i] && matches(p, eq - 1, g->param[i].name)) {
            factor[i] = x;
            hits++;
        }
    if (!hits)
        return rex_fail(e, REX_EARG, -1, "%s: no parameter that is trained is named like \"%.*s\"",
                        what, (int)eq - 1, p);
    return REX_OK;
}

rex_status rex_grads_factors(const rex_grads *g, const char *what, const char *list,
                             double *factor, rex_err *e) {
    for (size_t i = 0; i < g->n; i++) factor[i] = 1.0;
    for (const char *p = list; p && *p;) {
        const char *const end = strchr(p, ',');
        const size_t n = end ? (size_t)(end - p) : strlen(p);
        if (n) REX_TRY(put_factor(g, what, p, n, factor, e));
        p += n + (end ? 1 : 0);
    }
    return REX_OK;
}

static rex_status mark_frozen(rex_grads *g, const char *freeze, rex_err *e) {
    for (const char *p = freeze; p && *p;) {
        const char *const end = strchr(p, ',');
        const size_t n = end ? (size_t)(end - p) : strlen(p);
        size_t hits = 0;
        for (size_t i = 0; i < g->n; i++)
            if (matches(p, n, g->param[i].name)) {
                g->train[i] = false;
                hits++;
            }
        if (n && !hits)
            return rex_fail(e, REX_EARG, -1, "freeze: no parameter is named like \"%.*s\"", (int)n,
                            p);
        p += n + (end ? 1 : 0);
    }
    return REX_OK;
}

/* A matrix lies in panels; the embedding of an untied model and all vectors lie as they are. */
static bool in_panels(const rex_param *p) {
    return p->lin && !(p->vec && p->vec == p->lin->bias);
}

static size_t floats_of(const rex_param *p) {
    if (in_panels(p)) return (size_t)(rex_panel_count(p->rows) * REX_PANEL * p->cols);
    return (size_t)(p->rows * p->cols);
}

float *rex_grads_weights(const rex_grads *g, size_t i) {
    const rex_param *const p = &g->param[i];
    if (!in_panels(p)) return p->vec;
    union { /* a model opened for training owns its panels */
        const void *seen;
        float *own;
    } w = { .seen = p->lin->w.data };
    return w.own;
}

size_t rex_grads_size(const rex_grads *g, size_t i) {
    return g->train[i] ? floats_of(&g->param[i]) : 0;
}

static rex_status lay_out(rex_grads *g, rex_err *e) {
    size_t at = 0;
    for (size_t i = 0; i < g->n; i++) {
        g->off[i] = at;
        if (g->train[i]) at += (floats_of(&g->param[i]) + ROUND - 1) / ROUND * ROUND;
    }
    g->off[g->n] = at;
    if (at == 0) return rex_fail(e, REX_EARG, -1, "nothing to train: every parameter is frozen");
    g->grad = rex_mem_take(at, sizeof *g->grad, e);
    if (!g->grad) return REX_ENOMEM;
    if (g->m->s.tied && g->train[0]) {
        g->embed = rex_mem_take((size_t)(g->m->s.V * g->m->s.D), sizeof *g->embed, e);
        if (!g->embed) return REX_ENOMEM;
    }
    return REX_OK;
}

rex_status rex_grads_open(rex_model *m, const char *freeze, rex_grads **out, rex_err *e) {
    rex_assert(m->train || m->adapter);
    rex_grads *const g = rex_mem_take(1, sizeof *g, e);
    if (!g) return REX_ENOMEM;
    g->m = m;
    rex_status s = rex_arena_open(0, &g->arena, e);
    if (s == REX_OK) s = rex_model_params(m, g->arena, &g->param, &g->n, e);
    if (s == REX_OK) {
        g->off = rex_arena_take(g->arena, g->n + 1, sizeof *g->off, e);
        g->train = g->off ? rex_arena_take(g->arena, g->n + 1, sizeof *g->train, e) : NULL;
        if (!g->train) s = REX_ENOMEM;
    }
    if (s == REX_OK) {
        for (size_t i = 0; i < g->n; i++) g->train[i] = m->train || g->param[i].part > 0;
        s = mark_frozen(g, freeze, e);
    }
    if (s == REX_OK) s = lay_out(g, e);
    if (s != REX_OK) {
        rex_grads_close(g);
        return s;
    }
    *out = g;
    return REX_OK;
}

void rex_grads_close(rex_grads *g) {
    if (!g) return;
    rex_mem_free(g->grad);
    rex_mem_free(g->embed);
    rex_arena_close(g->arena);
    rex_mem_free(g);
}

/* ---- passes over the slab ---------------------------------------------------------------- */

typedef struct {
    const rex_grads *g;
    float *p;
    size_t n;
} sweep;

static void zero_chunk(void *ud, size_t item, int worker) {
    (void)worker;
    const sweep *const s = ud;
    const size_t at = item * CHUNK, n = s->n - at < CHUNK ? s->n - at : CHUNK;
    memset(s->p + at, 0, n * sizeof *s->p);
}

static void zero(rex_pool *pool, float *p, size_t n) {
    sweep s = { .p = p, .n = n };
    rex_pool_run(pool, (n + CHUNK - 1) / CHUNK, zero_chunk, &s);
}

void rex_grads_zero(rex_grads *g, rex_pool *pool) {
    zero(pool, g->grad, g->off[g->n]);
    if (g->embed) zero(pool, g->embed, (size_t)(g->m->s.V * g->m->s.D));
}

/* Panel p of the embedding: words 32p .. 32p+31, (D, 32), against rows (V, D). */
static void join_panel(void *ud, size_t item, int worker) {
    (void)worker;
    const sweep *const s = ud;
    const int64_t D = s->g->m->s.D, V = s->g->m->s.V, v0 = (int64_t)item * REX_PANEL;
    float *const panel = s->p + (int64_t)item * REX_PANEL * D;
    for (int64_t v = v0; v < v0 + REX_PANEL && v < V; v++)
        for (int64_t d = 0; d < D; d++) panel[d * REX_PANEL + v - v0] += s->g->embed[v * D + d];
}

void rex_grads_finish(rex_grads *g, rex_pool *pool) {
    if (!g->embed) return;
    sweep s = { .g = g, .p = g->grad + g->off[0] };
    rex_pool_run(pool, (size_t)rex_panel_count(g->m->s.V), join_panel, &s);
}

static void follow_panel(void *ud, size_t item, int worker) {
    (void)worker;
    const sweep *const s = ud;
    const rex_model *const m = s->g->m;
    const int64_t v0 = (int64_t)item * REX_PANEL,
                  v1 = v0 + REX_PANEL < m->s.V ? v0 + REX_PANEL : m->s.V;
    m->kern.unpack(s->p, REX_K_F32, m->s.D, m->head.w.data, m->s.V, m->s.D, v0, v1);
}

void rex_grads_follow(rex_grads *g, rex_pool *pool) {
    if (!g->m->s.tied || !g->train[0]) return;
    sweep s = { .g = g, .p = g->param[0].vec };
    rex_pool_run(pool, (size_t)rex_panel_count(g->m->s.V), follow_panel, &s);
}
