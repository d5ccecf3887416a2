/* SPDX-License-Identifier: MIT
 *
 * bind.c: tensors of a file to the layers of a model. Matrices are re-laid once into panels, in one
 * slab, source pages given back as they are consumed; norms and biases are small and widened to
 * f32; the embedding is read where it lies. A model opened for training owns everything as f32.
 *
 * Two walks over the same list: the first checks every tensor and sums up sizes, the second packs.
 * Weights are widened exactly (BF16, F16 stay as they are, Q8_0 blocks are kept) or, for the other
 * quantised types, by their formula into f32.
 */
#include "adapter.h"

#include <stdio.h>
#include <string.h>

/* One matrix of the walk. */
typedef struct {
    rex_slot slot;
    int layer;
    int64_t rows, cols;
    int turn_heads; /* GGUF's interleaved q and k: heads whose rows are put back; 0: none */
    rex_lin *lin;
} matrix;

typedef struct {
    rex_model *m;
    rex_pool *pool;
    bool packing;
    size_t at;      /* bytes of the slab used so far */
    uint8_t *stage; /* rows of one tensor, where they cannot be packed from the file */
    size_t stage_room;
    int64_t n_param;
    rex_store seen; /* element type of the largest part of the panels */
    size_t seen_bytes[REX_K_Q8_0 + 1];
} walk;

static size_t align64(size_t n) { return (n + 63) & ~(size_t)63; }

static bool as_elem(rex_dtype t, rex_store *out) {
    switch (t) {
    case REX_T_F32: *out = REX_K_F32; return true;
    case REX_T_BF16: *out = REX_K_BF16; return true;
    case REX_T_F16: *out = REX_K_F16; return true;
    case REX_T_Q8_0: *out = REX_K_Q8_0; return true;
    default: return false;
    }
}

/* The panels' format. A summed length that Q8_0 panels cannot hold does not occur: rows of a Q8_0
 * tensor are whole blocks. */
static rex_store panel_elem(const rex_model *m, rex_dtype t) {
    rex_store el = REX_K_F32;
    if (m->train) return REX_K_F32;
    if (m->bf16) return REX_K_BF16;
    return as_elem(t, &el) ? el : REX_K_F32;
}

/* ---- rows that need work before they can be packed --------------------------------------- */

/* One item is one panel: its rows go into the worker's own stage and from there into the panel, so
 * that they stay in a cache in between. */
typedef struct {
    const rex_kern *k;
    const rex_tensor *t;
    uint8_t *stage;
    rex_store elem; /* of the staged rows */
    size_t row_bytes;
    int64_t hd; /* > 0: rows of a head are interleaved pairs in the source */
    const rex_panels *to;
} staging;

int64_t rex_gguf_row(int64_t r, int64_t hd) {
    if (hd <= 0) return r;
    const int64_t head = r / hd, i = r % hd, half = hd / 2;
    return head * hd + (i < half ? 2 * i : 2 * (i - half) + 1);
}

static void stage_panel(void *ud, size_t item, int worker) {
    const staging *s = ud;
    rex_store el = REX_K_F32;
    const bool raw = as_elem(s->t->type, &el) && el == s->elem;
    const int64_t from = (int64_t)item * REX_PANEL;
    const int64_t left = s->t->rows - from, rows = left < REX_PANEL ? left : REX_PANEL;
    uint8_t *const stage = s->stage + (size_t)worker * REX_PANEL * s->row_bytes;
    for (int64_t r = 0; r < rows; r++) {
        uint8_t *out = stage + (size_t)r * s->row_bytes;
        const int64_t src = rex_gguf_row(from + r, s->hd);
        if (raw) memcpy(out, s->t->data.p + (size_t)src * s->t->row_bytes, s->row_bytes);
        else rex_tensor_get_f32(s->t, src, 0, s->t->cols, (float *)(void *)out);
    }
    const size_t at = item * rex_panel_bytes(s->to->type, s->to->k);
    const rex_pack job = {.from = s->elem, .to = s->to->type, .src = stage, .row = s->t->cols,
                          .col = 1, .n = rows, .k = s->t->cols,
                          .dst = (uint8_t *)(uintptr_t)s->to->data + at};
    s->k->pack(&job, 0, 1);
}

static rex_status stage_room(walk *w, size_t need, rex_err *e) {
    if (need <= w->stage_room) return REX_OK;
    rex_mem_free(w->stage);
    w->stage_room = 0;
    w->stage = rex_mem_take(need, 1, e);
    if (!w->stage) return REX_ENOMEM;
    w->stage_room = need;
    return REX_OK;
}

static bool aligned(const rex_tensor *t, rex_store el) {
    const uintptr_t unit = el == REX_K_F32 ? 4 : 2;
    return (uintptr_t)t->data.p % unit == 0;
}

static rex_status pack(walk *w, const matrix *x, const rex_tensor *t, rex_err *e) {
    rex_store from = REX_K_F32;
    const int64_t hd = x->turn_heads ? x->rows / x->turn_heads : 0;
    if (as_elem(t->type, &from) && hd == 0 && aligned(t, from)) {
        const rex_pack job = {.from = from, .to = x->lin->w.type, .src = t->data.p, .row = t->cols,
                              .col = 1, .n = t->rows, .k = t->cols,
                              .dst = (void *)(uintptr_t)x->lin->w.data};
        rex_pack_run(&w->m->kern, w->pool, &job);
    } else {
        rex_store el = REX_K_F32;
        from = as_elem(t->type, &el) ? el : REX_K_F32;
        const size_t row_bytes = rex_store_row_bytes(from, t->cols);
        REX_TRY(stage_room(w, REX_PANEL * row_bytes * (size_t)rex_pool_size(w->pool), e));
        staging s = {&w->m->kern, t, w->stage, from, row_bytes, hd, &x->lin->w};
        rex_pool_run(w->pool, (size_t)rex_panel_count(t->rows), stage_panel, &s);
    }
    rex_source_drop(&w->m->src, t);
    return REX_OK;
}

/* ---- new weights ------------------------------------------------------------------------- */

void rex_init_row(const rex_shape *s, uint64_t seed, rex_slot slot, const char *name, int64_t row,
                  int64_t cols, float *out) {
    double std = 1.0 / __builtin_sqrt((double)s->D);
    switch (slot) {
    case REX_SLOT_EMBED:
    case REX_SLOT_HEAD: std = 0.02; break;
    case REX_SLOT_O:
    case REX_SLOT_DOWN: std /= __builtin_sqrt(2.0 * (double)s->L); break;
    case REX_SLOT_Q:
    case REX_SLOT_K:
    case REX_SLOT_V:
    case REX_SLOT_QKV:
    case REX_SLOT_GATE:
    case REX_SLOT_UP:
    case REX_SLOT_GATE_UP: break;
    default: { /* a vector: a norm is 1 (or 0, where 1 is added), a bias 0 */
        const bool bias = strstr(name, ".bias") != NULL;
        for (int64_t i = 0; i < cols; i++) out[i] = bias || s->norm_plus1 ? 0.0F : 1.0F;
        return;
    }
    }
    const rex_key key = rex_key_make(seed);
    const uint64_t id = rex_hash64(name, strlen(name));
    for (int64_t i = 0; i < cols; i++)
        out[i] =
            (float)(std * rex_rand_normal(key, REX_STREAM_INIT, (uint32_t)i, (uint32_t)row, id));
}

typedef struct {
    const rex_model *m;
    rex_slot slot;
    char name[256];
    int64_t cols;
    float *out; /* row-major */
} drawing;

static void draw_rows(void *ud, size_t item, int worker) {
    (void)worker;
    const drawing *d = ud;
    rex_init_row(&d->m->s, d->m->seed, d->slot, d->name, (int64_t)item, d->cols,
                 d->out + (int64_t)item * d->cols);
}

static void draw(walk *w, rex_slot slot, int layer, int64_t rows, int64_t cols, float *out) {
    drawing d = {.m = w->m, .slot = slot, .cols = cols, .out = out};
    (void)rex_source_name(&w->m->src, slot, layer, d.name, sizeof d.name);
    const uint64_t fp = rex_fp_enter();
    rex_pool_run(w->pool, (size_t)rows, draw_rows, &d);
    rex_fp_leave(fp);
}

/* A tied embedding was drawn before; the head is the same rows. */
static rex_status draw_matrix(walk *w, const matrix *x, rex_err *e) {
    rex_model *m = w->m;
    const float *rows = m->embed_own;
    if (x->slot != REX_SLOT_EMBED) {
        REX_TRY(stage_room(w, (size_t)(x->rows * x->cols) * sizeof(float), e));
        draw(w, x->slot, x->layer, x->rows, x->cols, (float *)(void *)w->stage);
        rows = (const float *)(const void *)w->stage;
    }
    const rex_pack job = {.from = REX_K_F32, .to = REX_K_F32, .src = rows, .row = x->cols, .col = 1,
                          .n = x->rows, .k = x->cols, .dst = (void *)(uintptr_t)x->lin->w.data};
    rex_pack_run(&m->kern, w->pool, &job);
    return REX_OK;
}

/* ---- the walk ---------------------------------------------------------------------------- */

static rex_status one_matrix(walk *w, const matrix *x, rex_err *e) {
    const rex_tensor *t = NULL;
    rex_model *m = w->m;
    if (!m->init) REX_TRY(rex_source_get(&m->src, x->slot, x->layer, x->rows, x->cols, &t, e));
    const rex_store el = m->init ? REX_K_F32 : panel_elem(m, t->type);
    const size_t bytes = align64(rex_panel_bytes(el, x->cols) * (size_t)rex_panel_count(x->rows));
    if (!w->packing) {
        w->at += bytes;
        w->seen_bytes[el] += bytes;
        return REX_OK;
    }
    x->lin->w = (rex_panels){.type = el, .n = x->rows, .k = x->cols, .ld = 0,
                             .data = (uint8_t *)m->slab + w->at};
    w->at += bytes;
    if (m->blank) return REX_OK;
    return m->init ? draw_matrix(w, x, e) : pack(w, x, t, e);
}

/* A norm or a bias: widened into the arena. */
static rex_status one_vector(walk *w, rex_slot slot, int layer, int64_t n, float **out,
                             rex_err *e) {
    const rex_tensor *t = NULL;
    if (!w->m->init) REX_TRY(rex_source_get(&w->m->src, slot, layer, 1, n, &t, e));
    w->n_param += n;
    if (!w->packing) return REX_OK;
    *out = rex_arena_take(w->m->arena, (size_t)n, sizeof **out, e);
    if (!*out) return REX_ENOMEM;
    if (w->m->init || w->m->blank) draw(w, slot, layer, 1, n, *out);
    else rex_tensor_get_f32(t, 0, 0, n, *out);
    return REX_OK;
}

static rex_status lin(walk *w, int layer, rex_lin_id id, rex_slot slot, int64_t rows, int64_t cols,
                      int turn, int bias_slot, rex_err *e) {
    rex_lin *l = &w->m->layer[layer].lin[id];
    const matrix x = {slot, layer, rows, cols, turn, l};
    w->n_param += rows * cols;
    REX_TRY(one_matrix(w, &x, e));
    if (bias_slot < 0) return REX_OK;
    REX_TRY(one_vector(w, (rex_slot)bias_slot, layer, rows, &l->bias, e));
    if (turn && w->packing) { /* the bias of a turned matrix is interleaved, too */
        const int64_t hd = rows / turn;
        float *v = rex_arena_take(w->m->arena, (size_t)rows, sizeof *v, e);
        if (!v) return REX_ENOMEM;
        for (int64_t i = 0; i < rows; i++) v[i] = l->bias[rex_gguf_row(i, hd)];
        l->bias = v;
    }
    return REX_OK;
}

static rex_status layer_attn(walk *w, int i, rex_err *e) {
    const rex_shape *s = &w->m->s;
    const int64_t q = (int64_t)s->H * s->hd, k = (int64_t)s->K * s->hd;
    const bool turned = w->m->src.gguf && w->m->src.arch->gguf_permuted;
    if (s->fused_qkv) {
        REX_TRY(lin(w, i, REX_LIN_Q, REX_SLOT_QKV, q + 2 * k, s->D, 0, -1, e));
    } else {
        REX_TRY(lin(w, i, REX_LIN_Q, REX_SLOT_Q, q, s->D, turned ? s->H : 0,
                    s->qkv_bias ? REX_SLOT_Q_B : -1, e));
        REX_TRY(lin(w, i, REX_LIN_K, REX_SLOT_K, k, s->D, turned ? s->K : 0,
                    s->qkv_bias ? REX_SLOT_K_B : -1, e));
        REX_TRY(lin(w, i, REX_LIN_V, REX_SLOT_V, k, s->D, 0, s->qkv_bias ? REX_SLOT_V_B : -1, e));
    }
    if (s->qk_norm) {
        float **n = w->m->layer[i].norm;
        REX_TRY(one_vector(w, REX_SLOT_Q_NORM, i, s->hd, &n[REX_NORM_Q], e));
        REX_TRY(one_vector(w, REX_SLOT_K_NORM, i, s->hd, &n[REX_NORM_K], e));
    }
    return lin(w, i, REX_LIN_O, REX_SLOT_O, s->D, q, 0, s->o_bias ? REX_SLOT_O_B : -1, e);
}

static rex_status layer_mlp(walk *w, int i, rex_err *e) {
    const rex_shape *s = &w->m->s;
    if (s->fused_up) {
        REX_TRY(lin(w, i, REX_LIN_GATE, REX_SLOT_GATE_UP, 2 * s->F, s->D, 0, -1, e));
    } else {
        REX_TRY(lin(w, i, REX_LIN_GATE, REX_SLOT_GATE, s->F, s->D, 0,
                    s->mlp_bias ? REX_SLOT_GATE_B : -1, e));
        REX_TRY(
            lin(w, i, REX_LIN_UP, REX_SLOT_UP, s->F, s->D, 0, s->mlp_bias ? REX_SLOT_UP_B : -1, e));
    }
    return lin(w, i, REX_LIN_DOWN, REX_SLOT_DOWN, s->D, s->F, 0, s->mlp_bias ? REX_SLOT_DOWN_B : -1,
               e);
}

static rex_status layer(walk *w, int i, rex_err *e) {
    const rex_shape *s = &w->m->s;
    float **n = w->m->layer[i].norm;
    REX_TRY(one_vector(w, REX_SLOT_IN_NORM, i, s->D, &n[REX_NORM_IN], e));
    REX_TRY(layer_attn(w, i, e));
    if (s->sandwich)
        REX_TRY(one_vector(w, REX_SLOT_POST_ATTN_NORM, i, s->D, &n[REX_NORM_POST_ATTN], e));
    REX_TRY(one_vector(w, REX_SLOT_FFN_NORM, i, s->D, &n[REX_NORM_FFN], e));
    REX_TRY(layer_mlp(w, i, e));
    if (s->sandwich)
        REX_TRY(one_vector(w, REX_SLOT_POST_FFN_NORM, i, s->D, &n[REX_NORM_POST_FFN], e));
    return REX_OK;
}

static rex_status embedding(walk *w, rex_err *e) {
    rex_model *m = w->m;
    const rex_shape *s = &m->s;
    const rex_tensor *t = NULL;
    if (!m->init) REX_TRY(rex_source_get(&m->src, REX_SLOT_EMBED, 0, s->V, s->D, &t, e));
    w->n_param += s->V * s->D;
    if (!w->packing) return REX_OK;
    m->embed_src = t;
    if (m->train) {
        float *own = rex_mem_take((size_t)s->V * (size_t)s->D, sizeof *own, e);
        if (!own) return REX_ENOMEM;
        m->embed_own = own;
        if (m->init && !m->blank) draw(w, REX_SLOT_EMBED, 0, s->V, s->D, own);
        for (int64_t r = 0; r < s->V && !m->init && !m->blank; r++)
            rex_tensor_get_f32(t, r, 0, s->D, own + r * s->D);
        m->embed = own;
        m->embed_elem = REX_K_F32;
        return REX_OK;
    }
    rex_store el = REX_K_F32;
    if (as_elem(t->type, &el) && aligned(t, el)) {
        m->embed = t->data.p;
        m->embed_elem = el;
    }
    return REX_OK;
}

static rex_status all(walk *w, rex_err *e) {
    rex_model *m = w->m;
    const rex_shape *s = &m->s;
    w->at = 0;
    w->n_param = 0;
    REX_TRY(embedding(w, e));
    for (int i = 0; i < s->L; i++) REX_TRY(layer(w, i, e));
    REX_TRY(one_vector(w, REX_SLOT_NORM, 0, s->D, &m->norm, e));
    const matrix head = {s->tied ? REX_SLOT_EMBED : REX_SLOT_HEAD, 0, s->V, s->D, 0, &m->head};
    if (!s->tied) w->n_param += s->V * s->D;
    return one_matrix(w, &head, e);
}

rex_status rex_bind(rex_model *m, rex_pool *pool, rex_err *e) {
    static const char *const type_name[] = {"f32", "bf16", "f16", "q8_0"};
    walk w = {.m = m, .pool = pool};
    m->layer = rex_arena_zero(m->arena, (size_t)m->s.L, sizeof *m->layer, e);
    if (!m->layer) return REX_ENOMEM;
    REX_TRY(all(&w, e));
    m->slab = rex_mem_take(w.at ? w.at : 64, 1, e);
    if (!m->slab)
        return rex_fail(e, REX_ENOMEM, -1,
                        "%s: no memory for %zu MiB of weights; a smaller model, or a "
                        "quantised file, needs less",
                        m->src.path, w.at >> 20);
    m->slab_bytes = w.at;
    for (int el = 0; el <= REX_K_Q8_0; el++)
        if (w.seen_bytes[el] > w.seen_bytes[w.seen]) w.seen = (rex_store)el;
    m->info.weights = type_name[w.seen];
    m->info.panel_bytes = w.at;
    w.packing = true;
    const rex_status st = all(&w, e);
    m->info.params = w.n_param;
    rex_mem_free(w.stage);
    return st;
}

/* ---- parameters by name ------------------------------------------------------------------ */

typedef struct {
    const rex_model *m;
    rex_param *p;
    size_t n;
} listing;

static void put(listing *l, rex_slot slot, int layer, int64_t rows, int64_t cols, rex_lin *lin,
                float *vec) {
    if (l->p) {
        rex_param *p = &l->p[l->n];
        *p = (rex_param){
            .slot = slot, .layer = layer, .rows = rows, .cols = cols, .lin = lin, .vec = vec};
        const char *f = rex_slot_hf(l->m->src.arch, slot);
        const char *mark = strstr(f, "%d");
        if (mark)
            snprintf(p->name, sizeof p->name, "%.*s%d%s", (int)(mark - f), f, layer, mark + 2);
        else snprintf(p->name, sizeof p->name, "%s", f);
    }
    l->n++;
}

static void put_lin(listing *l, rex_slot slot, rex_slot bias, int layer, rex_lin *x) {
    if (!x->w.data) return;
    put(l, slot, layer, x->w.n, x->w.k, x, NULL);
    if (x->bias) put(l, bias, layer, 1, x->w.n, x, x->bias);
}

static void list_layer(listing *l, rex_model *m, int i) {
    rex_layer *y = &m->layer[i];
    const rex_shape *s = &m->s;
    put(l, REX_SLOT_IN_NORM, i, 1, s->D, NULL, y->norm[REX_NORM_IN]);
    put_lin(l, s->fused_qkv ? REX_SLOT_QKV : REX_SLOT_Q, REX_SLOT_Q_B, i, &y->lin[REX_LIN_Q]);
    put_lin(l, REX_SLOT_K, REX_SLOT_K_B, i, &y->lin[REX_LIN_K]);
    put_lin(l, REX_SLOT_V, REX_SLOT_V_B, i, &y->lin[REX_LIN_V]);
    if (s->qk_norm) {
        put(l, REX_SLOT_Q_NORM, i, 1, s->hd, NULL, y->norm[REX_NORM_Q]);
        put(l, REX_SLOT_K_NORM, i, 1, s->hd, NULL, y->norm[REX_NORM_K]);
    }
    put_lin(l, REX_SLOT_O, REX_SLOT_O_B, i, &y->lin[REX_LIN_O]);
    if (s->sandwich) put(l, REX_SLOT_POST_ATTN_NORM, i, 1, s->D, NULL, y->norm[REX_NORM_POST_ATTN]);
    put(l, REX_SLOT_FFN_NORM, i, 1, s->D, NULL, y->norm[REX_NORM_FFN]);
    put_lin(l, s->fused_up ? REX_SLOT_GATE_UP : REX_SLOT_GATE, REX_SLOT_GATE_B, i,
            &y->lin[REX_LIN_GATE]);
    put_lin(l, REX_SLOT_UP, REX_SLOT_UP_B, i, &y->lin[REX_LIN_UP]);
    put_lin(l, REX_SLOT_DOWN, REX_SLOT_DOWN_B, i, &y->lin[REX_LIN_DOWN]);
    if (s->sandwich) put(l, REX_SLOT_POST_FFN_NORM, i, 1, s->D, NULL, y->norm[REX_NORM_POST_FFN]);
}

static void list_all(listing *l, rex_model *m) {
    put(l, REX_SLOT_EMBED, -1, m->s.V, m->s.D, m->s.tied ? &m->head : NULL, m->embed_own);
    for (int i = 0; i < m->s.L; i++) list_layer(l, m, i);
    put(l, REX_SLOT_NORM, -1, 1, m->s.D, NULL, m->norm);
    if (!m->s.tied) put(l, REX_SLOT_HEAD, -1, m->s.V, m->s.D, &m->head, NULL);
    if (m->adapter) l->n += rex_adapter_params(m, l->p ? l->p + l->n : NULL);
}

rex_status rex_model_params(rex_model *m, rex_arena *a, rex_param **out, size_t *n, rex_err *e) {
    listing l = {.m = m};
    list_all(&l, m);
    l.p = rex_arena_zero(a, l.n, sizeof *l.p, e);
    if (!l.p) return REX_ENOMEM;
    *n = l.n;
    *out = l.p;
    l.n = 0;
    list_all(&l, m);
    return REX_OK;
}
