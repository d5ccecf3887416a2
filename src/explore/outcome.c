/* SPDX-License-Identifier: MIT
 *
 * outcome: which rows say the same, how much weight an outcome has, which row stands for it, and
 * orders by a fixed number. Masses stay in logarithms (log-sum-exp), so that nothing underflows.
 * The tie rule of the house is not transitive (a ties with b, b with c, but a not with c), so an
 * order is defined as repeated choice: of what is left, the rows within REX_TIE of the largest are
 * tied and the lowest index goes next. A sorted array and a heap of indices do that in n log n.
 */
#include "explore.h"

#include <math.h>
#include <stdlib.h>

typedef struct {
    int64_t label, index;
} labelled;

static int by_label(const void *x, const void *y) {
    const labelled *const a = x, *const b = y;
    if (a->label != b->label) return a->label < b->label ? -1 : 1;
    return (a->index > b->index) - (a->index < b->index);
}

/* The rows of one outcome, `n` of them in ascending order. */
static void settle_outcome(rex_outcomes *o, const labelled *row, int64_t n, double sharpness) {
    int64_t rep = row[0].index;
    double mass = rex_log((double)n);
    if (o->l) {
        double top = o->l[rep];
        for (int64_t i = 1; i < n; i++) top = fmax(top, o->l[row[i].index]);
        for (int64_t i = n - 1; i >= 0; i--)
            if (o->l[row[i].index] >= top - REX_TIE) rep = row[i].index;
        if (sharpness != 0.0) {
            double most = sharpness * o->l[rep], sum = 0.0;
            for (int64_t i = 0; i < n; i++) most = fmax(most, sharpness * o->l[row[i].index]);
            for (int64_t i = 0; i < n; i++) sum += rex_exp(sharpness * o->l[row[i].index] - most);
            mass = most + rex_log(sum);
        }
    }
    for (int64_t i = 0; i < n; i++) {
        o->rep[row[i].index] = rep;
        o->mass[row[i].index] = mass;
    }
}

rex_status rex_outcomes_open(rex_arena *a, int64_t n, const double *l, const int64_t *label,
                             double sharpness, rex_outcomes *out, rex_err *e) {
    rex_outcomes o = {.n = n, .l = l, .label = label};
    o.mass = rex_arena_take(a, (size_t)n, sizeof(double), e);
    o.rep = rex_arena_take(a, (size_t)n, sizeof(int64_t), e);
    if (!o.mass || !o.rep) return REX_ENOMEM;
    const rex_mark start = rex_arena_mark(a);
    labelled *const row = rex_arena_take(a, (size_t)n, sizeof *row, e);
    if (!row) return REX_ENOMEM;
    for (int64_t i = 0; i < n; i++) row[i] = (labelled){label ? label[i] : i, i};
    if (label) qsort(row, (size_t)n, sizeof *row, by_label);
    for (int64_t i = 0; i < n;) {
        int64_t end = i + 1;
        while (end < n && row[end].label == row[i].label) end++;
        settle_outcome(&o, row + i, end - i, sharpness);
        i = end;
    }
    rex_arena_back(a, start);
    *out = o;
    return REX_OK;
}

/* ---- orders by a fixed number ------------------------------------------------------------ */

typedef struct {
    double key;
    int64_t index;
} keyed;

static int by_falling_key(const void *x, const void *y) {
    const keyed *const a = x, *const b = y;
    if (a->key != b->key) return a->key > b->key ? -1 : 1;
    return (a->index > b->index) - (a->index < b->index);
}

/* A heap of positions in `k`, lowest row index on top. */
static void heap_push(int64_t *heap, int64_t n, int64_t pos, const keyed *k) {
    int64_t i = n;
    for (; i > 0 && k[heap[(i - 1) / 2]].index > k[pos].index; i = (i - 1) / 2)
        heap[i] = heap[(i - 1) / 2];
    heap[i] = pos;
}

static int64_t heap_pop(int64_t *heap, int64_t n, const keyed *k) {
    const int64_t top = heap[0], last = heap[n - 1];
    int64_t i = 0;
    for (;;) {
        int64_t c = 2 * i + 1;
        if (c >= n - 1) break;
        if (c + 1 < n - 1 && k[heap[c + 1]].index < k[heap[c]].index) c++;
        if (k[heap[c]].index >= k[last].index) break;
        heap[i] = heap[c];
        i = c;
    }
    heap[i] = last;
    return top;
}

rex_status rex_order_falling(rex_arena *a, int64_t *idx, int64_t n, const double *key, rex_err *e) {
    if (!key || n == 0) return REX_OK;
    const rex_mark start = rex_arena_mark(a);
    keyed *const k = rex_arena_take(a, (size_t)n, sizeof *k, e);
    int64_t *const heap = rex_arena_take(a, (size_t)n, sizeof *heap, e);
    bool *const gone = rex_arena_zero(a, (size_t)n, sizeof *gone, e);
    if (!k || !heap || !gone) return REX_ENOMEM;
    for (int64_t i = 0; i < n; i++) k[i] = (keyed){key[idx[i]], idx[i]};
    qsort(k, (size_t)n, sizeof *k, by_falling_key);

    int64_t largest = 0, entered = 0, in_heap = 0;
    for (int64_t i = 0; i < n; i++) {
        while (gone[largest]) largest++;
        /* what is not comparable (-infinity) is tied with its like */
        while (entered < n && (k[entered].key >= k[largest].key - REX_TIE ||
                               k[entered].key == k[largest].key))
            heap_push(heap, in_heap++, entered++, k);
        const int64_t pos = heap_pop(heap, in_heap--, k);
        gone[pos] = true;
        idx[i] = k[pos].index;
    }
    rex_arena_back(a, start);
    return REX_OK;
}
