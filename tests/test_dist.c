/* SPDX-License-Identifier: MIT
 *
 * test_dist.c: ranks as threads over mailboxes in memory. Collective calls against what they are
 * defined to be; failures, silent and stuck ranks; then the sums of gradients of a whole model
 * against a tree written down as a recursion, and the same weights on 1, 2 and 4 ranks.
 */
#include "rex_test.h"

#include "../src/rl/share.h"

#include <pthread.h>
#include <time.h>

enum { MOST = 4 };

/* ---- a transport in memory --------------------------------------------------------------- */

typedef struct letter letter;
struct letter {
    letter *next;
    int from, to, tag, owner; /* owner: the rank that posted it */
    bool in, done;
    void *p;
    size_t n;
    void *ticket;
};

typedef struct {
    pthread_mutex_t lock;
    letter *all; /* in the order in which they were posted */
    bool mute[MOST]; /* what this rank sends does not leave it, what comes is not seen */
    int stopped, closed;
} post_office;

typedef struct {
    rex_transport t;
    post_office *o;
} box;

static int put(rex_transport *t, bool in, int peer, int tag, void *p, size_t n, void *ticket) {
    post_office *const o = ((box *)t)->o;
    letter *const x = malloc(sizeof *x + n);
    if (!in) p = memcpy(x + 1, p, n); /* the sender may be gone when it is read */
    *x = (letter){ NULL, in ? peer : t->rank, in ? t->rank : peer, tag, t->rank, in, false, p, n,
                   ticket };
    pthread_mutex_lock(&o->lock);
    letter **at = &o->all;
    while (*at) at = &(*at)->next;
    *at = x;
    pthread_mutex_unlock(&o->lock);
    return 0;
}

static int box_send(rex_transport *t, int peer, int tag, const void *p, size_t n, void *ticket) {
    return put(t, false, peer, tag, (void *)(uintptr_t)p, n, ticket);
}

static int box_recv(rex_transport *t, int peer, int tag, void *p, size_t n, void *ticket) {
    return put(t, true, peer, tag, p, n, ticket);
}

static int box_poll(rex_transport *t, void **ticket, int room) {
    post_office *const o = ((box *)t)->o;
    int n = 0;
    pthread_mutex_lock(&o->lock);
    for (letter *r = o->mute[t->rank] ? NULL : o->all; r; r = r->next) {
        if (!r->in || r->done || r->owner != t->rank || o->mute[r->from]) continue;
        letter *s = o->all;
        while (s && (s->in || s->done || s->from != r->from || s->to != r->to || s->tag != r->tag))
            s = s->next;
        if (!s) continue;
        if (s->n != r->n) abort(); /* both sides name their messages in the same order */
        memcpy(r->p, s->p, s->n);
        s->done = r->done = true;
    }
    for (letter **at = &o->all; *at && n < room;) {
        letter *const x = *at;
        if (!x->done || x->owner != t->rank) {
            at = &x->next;
            continue;
        }
        ticket[n++] = x->ticket;
        *at = x->next;
        free(x);
    }
    pthread_mutex_unlock(&o->lock);
    return n;
}

static int box_cores(rex_transport *t, int want) {
    (void)t;
    return want;
}

static void leave(rex_transport *t, bool orderly) {
    post_office *const o = ((box *)t)->o;
    pthread_mutex_lock(&o->lock);
    if (orderly) o->closed++;
    else o->stopped++;
    pthread_mutex_unlock(&o->lock);
}

static void box_stop(rex_transport *t, int status) {
    (void)status;
    leave(t, false);
}

static void box_close(rex_transport *t) {
    leave(t, true);
}

/* ---- ranks as threads -------------------------------------------------------------------- */

typedef struct group group;
typedef struct {
    group *g;
    int rank;
    box box;
    rex_dist *d;
    rex_status s;
    rex_err e;
    void *out; /* of the test */
} worker;

struct group {
    post_office o;
    worker w[MOST];
    int size;
    double deadline;
    void (*fn)(worker *w);
    void *ud;
};

static void *as_rank(void *arg) {
    worker *const w = arg;
    box *const b = &w->box;
    b->t = (rex_transport){ .rank = w->rank, .size = w->g->size, .local_size = w->g->size,
                            .host = "loop", .send = box_send, .recv = box_recv, .poll = box_poll,
                            .cores = box_cores, .stop = box_stop, .close = box_close };
    b->o = &w->g->o;
    w->s = rex_dist_join(&b->t, w->g->deadline, &w->d, &w->e);
    if (w->s == REX_OK) w->g->fn(w);
    rex_dist_fail(w->d, w->s, &w->e);
    rex_dist_close(w->d);
    return NULL;
}

static void run_group(group *g, int size, double deadline, void (*fn)(worker *w), void *ud) {
    *g = (group){ .size = size, .deadline = deadline, .fn = fn, .ud = ud };
    pthread_mutex_init(&g->o.lock, NULL);
    pthread_t thread[MOST];
    for (int r = 0; r < size; r++) {
        g->w[r] = (worker){ .g = g, .rank = r };
        pthread_create(&thread[r], NULL, as_rank, &g->w[r]);
    }
    for (int r = 0; r < size; r++) pthread_join(thread[r], NULL);
    while (g->o.all) {
        letter *const x = g->o.all;
        g->o.all = x->next;
        free(x);
    }
    pthread_mutex_destroy(&g->o.lock);
}

/* ---- collective calls -------------------------------------------------------------------- */

static void do_collect(worker *w) {
    static const double part[3] = { 1e16, 1.0, -1e16 };
    double *const x = w->out = calloc(40, sizeof *x);
    const size_t at[4] = { 0, 8, 8, 20 * 8 }; /* rank 1 has nothing to say */
    x[0] = part[w->rank];
    if ((w->s = rex_dist_sum(w->d, x, 1, &w->e)) != REX_OK) return;
    if (w->rank == 0) x[10] = 7.0;
    for (int i = 1; w->rank == 2 && i < 20; i++) x[10 + i] = i;
    if ((w->s = rex_dist_share(w->d, x + 10, at, &w->e)) != REX_OK) return;
    if ((w->s = rex_dist_same(w->d, "the plans", 5, &w->e)) != REX_OK) return;
    w->s = rex_dist_agree(w->d, REX_OK, &w->e);
}

START_TEST(t_dist_collective_calls) {
    group g;
    run_group(&g, 3, 20.0, do_collect, NULL);
    for (int r = 0; r < 3; r++) {
        const double *const x = g.w[r].out;
        CHECK_EQ(g.w[r].s, REX_OK);
        CHECK(x[0] == 0.0); /* (1e16 + 1) - 1e16, in this order */
        CHECK(x[10] == 7.0);
        for (int i = 1; i < 20; i++) CHECK(x[10 + i] == i);
        free(g.w[r].out);
    }
    CHECK_EQ(g.o.closed, 3);
    CHECK_EQ(g.o.stopped, 0);
} END_TEST

static void do_differ(worker *w) {
    w->s = rex_dist_same(w->d, "the plans", w->rank == 0 ? 5 : 6, &w->e);
}

static void do_disagree(worker *w) {
    rex_status s = REX_OK;
    if (w->rank == 1) s = rex_fail(&w->e, REX_EFORMAT, 3, "line 3 is broken");
    w->s = rex_dist_agree(w->d, s, &w->e);
}

START_TEST(t_dist_names_who_differs) {
    group g;
    run_group(&g, 3, 20.0, do_differ, NULL);
    for (int r = 0; r < 3; r++) {
        CHECK_EQ(g.w[r].s, REX_EFORMAT);
        CHECK(!strcmp(g.w[r].e.text, "the plans of ranks 1, 2 are not those of rank 0"));
    }
    run_group(&g, 3, 20.0, do_disagree, NULL);
    for (int r = 0; r < 3; r++) {
        CHECK_EQ(g.w[r].s, REX_EFORMAT);
        CHECK(!strcmp(g.w[r].e.text, r == 1 ? "line 3 is broken" : "rank 1: line 3 is broken"));
    }
    CHECK_EQ(g.o.closed, 3); /* everybody knew it, and left in peace */
} END_TEST

/* ---- failures ---------------------------------------------------------------------------- */

static void rest(double seconds) {
    const double whole = floor(seconds);
    const struct timespec t = { (time_t)whole, (long)((seconds - whole) * 1e9) };
    nanosleep(&t, NULL);
}

static void do_fail(worker *w) {
    double x = 1.0;
    rex_dist_at(w->d, 9);
    if (w->rank == 2) w->s = rex_fail(&w->e, REX_EIO, -1, "the disk is full");
    else w->s = rex_dist_sum(w->d, &x, 1, &w->e); /* rank 2 never comes */
}

static void do_mute(worker *w) {
    double x = 1.0;
    rex_dist_at(w->d, 9);
    w->s = rex_dist_sum(w->d, &x, 1, &w->e);
    if (w->s != REX_OK) return;
    if (w->rank == 1) {
        pthread_mutex_lock(&w->g->o.lock);
        w->g->o.mute[1] = true;
        pthread_mutex_unlock(&w->g->o.lock);
    }
    w->s = rex_dist_sum(w->d, &x, 1, &w->e);
}

static void do_stick(worker *w) {
    double x = 1.0;
    rex_dist_at(w->d, 9);
    if (w->rank == 1) rest(2.5); /* alive, but it does not come */
    w->s = rex_dist_sum(w->d, &x, 1, &w->e);
}

START_TEST(t_dist_failures_reach_all) {
    group g;
    run_group(&g, 3, 20.0, do_fail, NULL);
    for (int r = 0; r < 3; r++) CHECK_EQ(g.w[r].s, REX_EIO);
    CHECK(!strcmp(g.w[0].e.text, "rank 2 (loop): the disk is full"));
    CHECK(!strcmp(g.w[1].e.text, "rank 2 (loop): the disk is full"));
    run_group(&g, 3, 0.7, do_mute, NULL);
    for (int r = 0; r < 3; r++) CHECK_EQ(g.w[r].s, REX_ECHILD);
    CHECK(strstr(g.w[0].e.text, "rank 1 (loop, process ") != NULL);
    CHECK(strstr(g.w[0].e.text, "has been silent for 1 s, in step 9") != NULL);
    CHECK_EQ(g.o.closed, 0);
    run_group(&g, 3, 0.7, do_stick, NULL);
    CHECK_EQ(g.w[0].s, REX_ECHILD);
    CHECK(strstr(g.w[0].e.text, "rank 1 (loop, process ") != NULL);
    CHECK(strstr(g.w[0].e.text, "has kept the others waiting for 1 s, in step 9") != NULL);
} END_TEST

/* ---- sums of gradients ------------------------------------------------------------------- */

enum { DOCS = 5 };

typedef struct {
    bool exact;
    float *grad, *weights; /* of the tensors one behind the other; out, rank 0 or the owner */
    size_t n;
} training;

/* The gradient of a document: numbers of very different size, so that the order of a sum shows. */
static float draw(uint32_t doc, size_t i) {
    const rex_u32x4 r = rex_rand_u32x4(rex_key_make(3), (rex_u32x4){ { (uint32_t)i, doc, 1, 2 } });
    const float x = (float)r.v[0] * 0x1p-31f - 1.0f;
    return r.v[1] % 3 == 0 ? x * 1e-4f : x;
}

static rex_status train_part(worker *w, rex_model *m, rex_grads **g, rex_share **s, rex_optim **p) {
    training *const t = w->g->ud;
    rex_optim_opts o;
    rex_optim_defaults(&o);
    REX_TRY(rex_grads_open(m, NULL, g, &w->e));
    REX_TRY(rex_share_open(*g, w->d, t->exact, DOCS, s, &w->e));
    size_t n_span = 0;
    const rex_slab_span *const span = rex_share_spans(*s, &n_span);
    REX_TRY(rex_optim_open_part(*g, &o, span, n_span, p, &w->e));
    int64_t lo, hi;
    rex_share_range(*s, w->rank, &lo, &hi);
    REX_TRY(rex_share_begin(*s, &w->e));
    for (int64_t doc = lo; doc < hi; doc++) {
        if (t->exact || doc == lo) rex_grads_zero(*g, NULL);
        for (size_t i = 0; i < (*g)->n; i++)
            for (size_t k = 0; k < rex_grads_size(*g, i); k++)
                (*g)->grad[(*g)->off[i] + k] += draw((uint32_t)doc, (*g)->off[i] + k);
        if (t->exact) rex_share_leaf(*s, doc - lo, NULL);
    }
    for (int l = m->s.L; l >= 0 && !t->exact; l--) rex_share_layer(*s, l);
    REX_TRY(rex_share_sum(*s, NULL, &w->e));
    for (size_t k = 0; k < n_span; k++)
        memcpy(t->grad + span[k].at, (*g)->grad + span[k].at, span[k].n * sizeof(float));
    rex_optim_sums(*p, NULL);
    const size_t one[MOST] = { 1, 1, 1, 1 };
    double mine = w->rank, all[MOST], norm;
    REX_TRY(rex_share_numbers(*s, *p, &mine, one, all, &w->e));
    for (int r = 0; r < w->g->size; r++)
        if (all[r] != r) return REX_EBUG;
    REX_TRY(rex_optim_norm(*p, &norm, &w->e));
    REX_TRY(rex_share_update(*s, *p, NULL, norm, &w->e));
    for (size_t i = 0; i < (*g)->n && w->rank == w->g->size - 1; i++)
        memcpy(t->weights + (*g)->off[i], rex_grads_weights(*g, i),
               rex_grads_size(*g, i) * sizeof(float));
    return rex_dist_agree(w->d, REX_OK, &w->e);
}

static void do_train(worker *w) {
    rex_model_opts o;
    rex_model_defaults(&o);
    o.train = true;
    rex_model *m = NULL;
    rex_grads *g = NULL;
    rex_share *s = NULL;
    rex_optim *p = NULL;
    w->s = rex_model_open("tests/golden/models/qwen2", &o, NULL, &m, &w->e);
    if (w->s == REX_OK) w->s = train_part(w, m, &g, &s, &p);
    if (w->s != REX_OK) rex_dist_fail(w->d, w->s, &w->e);
    rex_optim_close(p);
    rex_share_close(s);
    rex_grads_close(g);
    rex_model_close(m);
}

/* The tree as it is defined: nothing where there are no documents. */
static bool tree(size_t i, int lo, int width, float *out) {
    float right = 0.0f;
    if (lo >= DOCS) return false;
    if (width == 1) {
        *out = draw((uint32_t)lo, i);
        return true;
    }
    (void)tree(i, lo, width / 2, out);
    if (tree(i, lo + width / 2, width / 2, &right)) *out += right;
    return true;
}

/* Ranks in their order, each one's documents in theirs. */
static float fast_sum(size_t i, int ranks) {
    float sum = 0.0f;
    for (int r = 0; r < ranks; r++) {
        float part = 0.0f;
        for (int d = DOCS * r / ranks; d < DOCS * (r + 1) / ranks; d++)
            part += draw((uint32_t)d, i);
        sum = r == 0 ? part : sum + part;
    }
    return sum;
}

START_TEST(t_share_sums_and_weights) {
    rex_model_opts o;
    rex_model_defaults(&o);
    o.train = true;
    rex_model *m = NULL;
    rex_grads *g = NULL;
    CHECK_STATUS(rex_model_open("tests/golden/models/qwen2", &o, NULL, &m, NULL), REX_OK);
    CHECK_STATUS(rex_grads_open(m, NULL, &g, NULL), REX_OK);
    const size_t n = g->off[g->n];
    float *const first = calloc(n, sizeof *first);
    for (int round = 0; round < 6; round++) {
        const int ranks = round < 3 ? 1 << round : round - 1; /* exact: 1 2 4; fast: 2 3 4 */
        training t = { .exact = round < 3, .grad = calloc(n, sizeof(float)),
                       .weights = calloc(n, sizeof(float)), .n = n };
        group w;
        run_group(&w, ranks, 60.0, do_train, &t);
        for (int r = 0; r < ranks; r++)
            if (w.w[r].s != REX_OK)
                rex_test_fail(__FILE__, __LINE__, "rank %d of %d: %s", r, ranks, w.w[r].e.text);
        int64_t wrong = 0;
        for (size_t i = 0; i < g->n; i++)
            for (size_t k = g->off[i]; k < g->off[i] + rex_grads_size(g, i); k++) {
                float want = 0.0f;
                if (t.exact) (void)tree(k, 0, 8, &want);
                else want = fast_sum(k, ranks);
                wrong += memcmp(&want, &t.grad[k], sizeof want) != 0;
            }
        CHECK_EQ(wrong, 0);
        if (round == 0) memcpy(first, t.weights, n * sizeof *first);
        if (t.exact) CHECK(memcmp(first, t.weights, n * sizeof *first) == 0);
        free(t.grad);
        free(t.weights);
    }
    free(first);
    rex_grads_close(g);
    rex_model_close(m);
} END_TEST

REX_TEST_MAIN("dist", t_dist_collective_calls, t_dist_names_who_differs, t_dist_failures_reach_all,
              t_share_sums_and_weights)
