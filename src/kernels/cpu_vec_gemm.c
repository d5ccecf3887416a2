/* SPDX-License-Identifier: MIT
 *
 * cpu_vec_gemm.c: matrix products over panels, compiled once per instruction set.
 *
 * Lanes run over outputs and every output has one accumulator that walks k upwards, so tile shapes
 * are free: they never change a bit. Two roads: a matrix-vector path that streams panels as they
 * lie and widens in registers, and register tiles of TILE_M rows by two vectors over rows packed as
 * [tile][k][TILE_M] and panels widened into scratch where they are not f32. (Attention has a third,
 * cpu_vec_strip.c.) A k-block continues its accumulators through y (exact).
 *
 * In bf16 mode rows and panels are laid down with the two elements of each pair exchanged, so that
 * the same tile, with denormals flushed, performs the odd product first and then the even one.
 */
#include "vec.h"

#define TILE_N (2 * VW)

/* A block of k. Long enough that reading and writing the accumulators in y costs little; a panel's
 * block (80 KiB) and the rows come from the second-level cache, called up some steps ahead. */
#define K_STEP 640
#define ROWS_AHEAD 32
#define PANEL_AHEAD 12
#define ROWS_APART 16
#define COLUMNS_APART 4

#if defined(REX_VEC_AVX512)
#define TILE_ROWS(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13)
#elif defined(REX_VEC_AVX2)
#define TILE_ROWS(X) X(0) X(1) X(2) X(3) X(4) X(5)
#else
#define TILE_ROWS(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#endif

/* ---- register tiles ---------------------------------------------------------------------- */

/* How the columns of a tile lie: as f32, or as pairs of bf16 that the tile leaves behind as f32, so
 * that the first tile of rows widens for all others while it computes. */
enum { PLAIN, PAIRS, PAIRS_TURNED };

/* Rows of REX_PANEL floats `row` bytes apart that will be wanted soon. A tile calls one line of
 * them every second step: in a burst they would fill the line buffers of a core, and the tile's own
 * lines would wait for all of them. */
typedef struct {
    const char *at;
    int64_t row, n;
} wanted;
enum { WANTED = 3, ROW_BYTES = REX_PANEL * sizeof(float) };

typedef struct {
    int64_t k_len;
    const float *a;        /* packed rows [k_len][TILE_M] */
    const float *b;        /* PLAIN: [k_len][32] */
    const uint16_t *pairs; /* else: [k_len/2][32][2] */
    float *wide;           /* and where it goes as [k_len][32] */
    const float *from;     /* accumulators so far, or NULL */
    float *y;
    int64_t from_row, y_row;
    const float *bias, *add; /* edges, or NULL */
    int64_t add_row;
    const char *ahead; /* wanted soon in the second-level cache: `pace` bytes of it a step */
    int64_t pace;
    wanted soon[WANTED];
} tile_job;

/* A step of k: `x` at a, columns b0 and b1. */
#define TILE_FMA(i)                                                                              \
    if (i < rows) {                                                                              \
        const vf x = v_set(a[i]);                                                                \
        c##i = v_fma(x, b0, c##i);                                                               \
        d##i = v_fma(x, b1, d##i);                                                               \
    }

/* The same with f32 columns at b, on to the next. */
#define TILE_STEP                                                                                \
    {                                                                                            \
        const vf b0 = v_load(b);                                                                 \
        const vf b1 = v_load(b + VW);                                                            \
        tile_call(a, (const char *)(b + PANEL_AHEAD * REX_PANEL));                               \
        TILE_ROWS(TILE_FMA)                                                                      \
        a += TILE_M;                                                                             \
        b += REX_PANEL;                                                                          \
    }

/* The same with columns from one half of the pairs at p, left at w. */
#define TILE_HALF(high)                                                                          \
    {                                                                                            \
        const vf b0 = half(p, high);                                                             \
        const vf b1 = half(p + 2 * VW, high);                                                    \
        v_store(w, b0);                                                                          \
        v_store(w + VW, b1);                                                                     \
        __builtin_prefetch(ahead, 0, 2);                                                         \
        tile_call(a, (const char *)(p + PANEL_AHEAD * REX_PANEL));                               \
        TILE_ROWS(TILE_FMA)                                                                      \
        ahead += t->pace;                                                                        \
        a += TILE_M;                                                                             \
        w += REX_PANEL;                                                                          \
    }

HOT vf half(const uint16_t *p, bool high) {
    vf a, b;
    v_load_pairs(p, &a, &b);
    return high ? b : a;
}

/* Narrower tiles have no load to spare for these, and do not outrun the cache. */
HOT void tile_call(const float *a, const char *b) {
    if (VW == 16) {
        __builtin_prefetch(a + ROWS_AHEAD * TILE_M, 0, 3);
        __builtin_prefetch(b, 0, 3);
        __builtin_prefetch(b + 64, 0, 3);
    }
}

/* `rows` and `how` are constants at every call, so each instance keeps its accumulators in
 * registers. Columns c .. c+2*VW-1 of the job. */
HOT void tile(const int rows, const int how, const tile_job *t, int64_t c) {
    const float *a = t->a;
    const char *ahead = t->ahead;
#define X(i) vf c##i = v_zero(), d##i = v_zero();
    TILE_ROWS(X)
#undef X
    if (t->from != NULL) {
        const float *from = t->from + c;
#define X(i)                                                                                     \
    if (i < rows) {                                                                              \
        c##i = v_load(from + i * t->from_row);                                                   \
        d##i = v_load(from + i * t->from_row + VW);                                              \
    }
        TILE_ROWS(X)
#undef X
    }
    if (how == PLAIN) {
        const float *b = t->b + c;
        int64_t k = 0;
        for (const wanted *w = t->soon; w < t->soon + WANTED; w++) {
            const char *far = w->at;
            int64_t on = 64;
            for (int64_t n = w->n * ROW_BYTES / 64; n > 0 && k + 1 < t->k_len; n--, k += 2) {
                __builtin_prefetch(far, 0, 2);
                TILE_STEP
                TILE_STEP
                far += on;
                on = w->row + 64 + 64 - ROW_BYTES - on; /* line and next row in turns */
            }
        }
        if (t->pace > 0)
            for (; k < t->k_len; k++) {
                __builtin_prefetch(ahead, 0, 2);
                ahead += t->pace;
                TILE_STEP
            }
        else
            for (; k < t->k_len; k++) TILE_STEP
    } else {
        const uint16_t *p = t->pairs + 2 * c;
        float *w = t->wide + c;
        for (int64_t k = 0; k < t->k_len; k += 2, p += 2 * REX_PANEL) {
            TILE_HALF(how == PAIRS_TURNED)
            if (k + 1 == t->k_len) break;
            __asm__("" : "+r"(p)); /* load it again: there is no register to keep it in */
            TILE_HALF(how == PAIRS)
        }
    }
    if (t->bias != NULL) {
        const vf b0 = v_load(t->bias + c);
        const vf b1 = v_load(t->bias + c + VW);
#define X(i) c##i = v_add(c##i, b0), d##i = v_add(d##i, b1);
        TILE_ROWS(X)
#undef X
    }
    if (t->add != NULL) {
        const float *add = t->add + c;
#define X(i)                                                                                     \
    if (i < rows) {                                                                              \
        c##i = v_add(c##i, v_load(add + i * t->add_row));                                        \
        d##i = v_add(d##i, v_load(add + i * t->add_row + VW));                                   \
    }
        TILE_ROWS(X)
#undef X
    }
    float *y = t->y + c;
#define X(i)                                                                                     \
    if (i < rows) {                                                                              \
        v_store(y + i * t->y_row, c##i);                                                         \
        v_store(y + i * t->y_row + VW, d##i);                                                    \
    }
    TILE_ROWS(X)
#undef X
}

static void tile_plain(int rows, const tile_job *t, int64_t c) {
    switch (rows) {
#define X(i) case i + 1: tile(i + 1, PLAIN, t, c); break;
        TILE_ROWS(X)
#undef X
    }
}

static void tile_pairs(int rows, const tile_job *t, int64_t c) {
    switch (rows) {
#define X(i) case i + 1: tile(i + 1, PAIRS, t, c); break;
        TILE_ROWS(X)
#undef X
    }
}

static void tile_turned(int rows, const tile_job *t, int64_t c) {
    switch (rows) {
#define X(i) case i + 1: tile(i + 1, PAIRS_TURNED, t, c); break;
        TILE_ROWS(X)
#undef X
    }
}

/* A tile of rows by all columns of a panel. */
static void tile_panel(int rows, int how, const tile_job *t) {
    void (*const run)(int, const tile_job *, int64_t) = how == PLAIN   ? tile_plain
                                                        : how == PAIRS ? tile_pairs
                                                                       : tile_turned;
    for (int64_t c = 0; c < REX_PANEL; c += TILE_N) run(rows, t, c);
}

/* ---- packing rows ------------------------------------------------------------------------ */

/* Rows in tiles as equal as can be: tile i ends at floor((i + 1) rows / tiles), counted without a
 * division, which would cost a hundredth of a tile. */
typedef struct {
    int64_t each, rest, tiles, at;
} slices;

static slices slices_of(int64_t rows, int64_t tiles) {
    return (slices){rows / tiles, rows % tiles, tiles, 0};
}

HOT int next_slice(slices *s) {
    s->at += s->rest;
    if (s->at < s->tiles) return (int)s->each;
    s->at -= s->tiles;
    return (int)s->each + 1;
}

/* Where element k of a row goes: in bf16 mode the elements of a pair change places. */
static int64_t slot(bool bf16, int64_t k) {
    return bf16 ? k ^ 1 : k;
}

/* Slots of n steps of k: bf16 mode fills a pair up. */
static int64_t slots_of(bool bf16, int64_t n) {
    return bf16 ? (n + 1) / 2 * 2 : n;
}

/* Rows m .. m+rows-1 of k0 .. k1-1 into dst[slot][wide]. Stores may run up to VW - 1 floats behind
 * a row; ascending order repairs all but the last, for which the scratch has slack. */
static void pack_rows(const rex_gemm *j, int64_t m, int rows, int64_t k0, int64_t k1, int wide,
                      float *dst) {
    const float *x = j->x + m * j->x_row + k0 * j->x_col;
    const int64_t n = k1 - k0;
    int64_t k = 0;
    if (rows > 2 && (wide <= VW || wide % VW == 0)) {
        for (; k + VW <= n; k += VW)
            for (int r0 = 0; r0 < rows; r0 += VW) {
                const float *at = x + r0 * j->x_row + k; /* the last row stands for missing ones */
                vf t[VW];
#pragma GCC unroll 16
                for (int r = 0; r < VW; r++) {
                    t[r] = v_load(at);
                    __builtin_prefetch(at + 64, 0, 3);
                    if (r0 + r + 1 < rows) at += j->x_row;
                }
                v_transpose(t);
#pragma GCC unroll 16
                for (int i = 0; i < VW; i++) {
                    const vf v = j->bf16 ? v_near_bf16(t[i ^ 1]) : t[i];
                    v_store(dst + (k + i) * wide + r0, v);
                }
            }
    }
    for (; k < n; k++)
        for (int r = 0; r < rows; r++) {
            const float v = x[r * j->x_row + k * j->x_col];
            dst[slot(j->bf16, k) * wide + r] = j->bf16 ? bf16_wide(bf16_near(v)) : v;
        }
    if (j->bf16 && n % 2 != 0)
        for (int r = 0; r < rows; r++) dst[(n - 1) * wide + r] = 0.0f;
}

/* The same for all tiles of a transposed operand: its memory is read along, a step of k at a time,
 * because their short pieces of it lie pages apart. */
static void pack_columns(const rex_gemm *j, int64_t m0, slices cut, int64_t k0, int64_t k1,
                         int wide, float *dst) {
    const int64_t deep = slots_of(j->bf16, k1 - k0);
    for (int64_t k = k0; k < k1; k++) {
        const float *x = j->x + m0 + k * j->x_col;
        float *to = dst + slot(j->bf16, k - k0) * wide;
        slices next = cut;
        for (int64_t t = 0; t < cut.tiles; t++, to += deep * wide) {
            const int rows = next_slice(&next);
            __builtin_prefetch(x + COLUMNS_APART * j->x_col, 0, 2);
            for (int r = 0; r < rows; r += VW) {
                const int left = rows - r < VW ? rows - r : VW;
                vf v = v_loadn(x + r, left);
                if (j->bf16) v = v_near_bf16(v);
                v_storen(to + r, v, left);
            }
            x += rows;
        }
    }
    for (int64_t t = 0; t < cut.tiles && deep > k1 - k0; t++)
        memset(dst + ((t + 1) * deep - 2) * wide, 0, (size_t)wide * sizeof *dst);
}

/* Rows m0 .. m1-1 in tiles, one behind the other: dst[tile][slot][wide]. */
static void pack(const rex_gemm *j, int64_t m0, int64_t m1, int64_t tiles, int64_t k0, int64_t k1,
                 int wide, float *dst) {
    slices next = slices_of(m1 - m0, tiles);
    if (j->x_row == 1) {
        pack_columns(j, m0, next, k0, k1, wide, dst);
        return;
    }
    for (int64_t t = 0; t < tiles; t++, dst += slots_of(j->bf16, k1 - k0) * wide) {
        const int rows = next_slice(&next);
        pack_rows(j, m0, rows, k0, k1, wide, dst);
        m0 += rows;
    }
}

/* ---- widening panels --------------------------------------------------------------------- */

/* Activations (K, N) where they lie, columns n0 .. n0+cols-1, others zero. */
static void widen_rows(float *dst, const rex_gemm *j, int64_t n0, int64_t k0, int64_t k1) {
    const int64_t cols = j->n - n0 < REX_PANEL ? j->n - n0 : REX_PANEL;
    const float *src = (const float *)j->w.data + k0 * j->w.ld + n0;
    for (int64_t k = 0; k < k1 - k0; k++) {
        for (int64_t c = 0; c < REX_PANEL;
             c += 16) /* rows lie pages apart: nothing else calls them */
            __builtin_prefetch(src + (k + ROWS_APART) * j->w.ld + c, 0, 2);
        for (int c = 0; c < REX_PANEL; c += VW) {
            const int64_t left = cols - c;
            vf v = left >= VW ? v_load(src + k * j->w.ld + c)
                   : left > 0 ? v_loadn(src + k * j->w.ld + c, left)
                              : v_zero();
            if (j->bf16) v = v_near_bf16(v);
            v_store(dst + slot(j->bf16, k) * REX_PANEL + c, v);
        }
    }
    if (j->bf16 && (k1 - k0) % 2 != 0)
        memset(dst + (k1 - k0 - 1) * REX_PANEL, 0, REX_PANEL * sizeof(float));
}

/* Scales and quants of rows k0 .. k1-1 of a Q8_0 panel. */
static void widen_q8(float *dst, const char *panel, int64_t k0, int64_t k1, bool bf16) {
    for (int64_t k = k0; k < k1; k++) {
        const char *block = panel + k / 32 * (64 + 32 * REX_PANEL);
        const int8_t *q = (const int8_t *)block + 64 + k % 32 * REX_PANEL;
        for (int c = 0; c < REX_PANEL; c += VW) {
            const vf d = v_load_f16((const uint16_t *)(const void *)block + c);
            vf w = v_mul(d, v_load_i8(q + c));
            if (bf16) w = v_near_bf16(w);
            v_store(dst + slot(bf16, k - k0) * REX_PANEL + c, w);
        }
    }
}

/* Rows k0 .. k1-1 of panel p as f32 [k][32], in place where they are that. */
static const float *widen(const rex_gemm *j, int64_t p, int64_t k0, int64_t k1, float *room) {
    if (j->w.ld > 0) {
        widen_rows(room, j, p * REX_PANEL, k0, k1);
        return room;
    }
    const char *panel = (const char *)j->w.data + (size_t)p * rex_panel_bytes(j->w.type, j->k);
    const float *f = (const float *)(const void *)panel + k0 * REX_PANEL;
    switch (j->w.type) {
    case REX_K_F32: {
        if (!j->bf16) return f;
        for (int64_t i = 0; i < (k1 - k0) * REX_PANEL; i += VW)
            v_store(room + slot(true, i / REX_PANEL) * REX_PANEL + i % REX_PANEL,
                    v_near_bf16(v_load(f + i)));
        break;
    }
    case REX_K_BF16: break; /* the first tile does it */
    case REX_K_F16:
        for (int64_t i = 0; i < (k1 - k0) * REX_PANEL; i += VW) {
            vf v = v_load_f16((const uint16_t *)(const void *)panel + k0 * REX_PANEL + i);
            if (j->bf16) v = v_near_bf16(v);
            v_store(room + slot(j->bf16, i / REX_PANEL) * REX_PANEL + i % REX_PANEL, v);
        }
        break;
    case REX_K_Q8_0: widen_q8(room, panel, k0, k1, j->bf16); break;
    }
    if (j->bf16 && (k1 - k0) % 2 != 0)
        memset(room + (k1 - k0 - 1) * REX_PANEL, 0, REX_PANEL * sizeof(float));
    return room;
}

/* ---- edges ------------------------------------------------------------------------------- */

static float *out_at(const rex_gemm *j, int64_t m, int64_t p) {
    return j->y + m * j->y_row + p * j->y_panel;
}

/* v + bias + add for `left` columns from n on of row m. */
HOT vf edge(const rex_gemm *j, int64_t m, int64_t n, int64_t left, vf v) {
    if (j->bias != NULL) v = v_add(v, v_loadn(j->bias + n, left));
    if (j->add != NULL) v = v_add(v, v_loadn(j->add + m * j->add_row + n, left));
    return v;
}

/* What becomes of the accumulators (rows, 32) of a panel that is not full. */
typedef enum { TAKE, GIVE, GIVE_EDGES } ending;

/* From y, to y, to y with its edges. */
static void finish(const rex_gemm *j, int64_t m0, int64_t m1, int64_t p, float *acc, ending what) {
    const int64_t n = p * REX_PANEL;
    const int64_t cols = j->n - n < REX_PANEL ? j->n - n : REX_PANEL;
    for (int64_t m = m0; m < m1; m++, acc += REX_PANEL) {
        float *y = out_at(j, m, p);
        for (int64_t c = 0; c < cols; c += VW) {
            const int64_t left = cols - c < VW ? cols - c : VW;
            if (what == TAKE) {
                v_store(acc + c, v_loadn(y + c, left));
                continue;
            }
            vf v = v_load(acc + c);
            if (what == GIVE_EDGES) v = edge(j, m, n + c, left, v);
            v_storen(y + c, v, left);
        }
    }
}

/* ---- matrix-vector ----------------------------------------------------------------------- */

#define NC (REX_PANEL / VW) /* vectors across a panel */

/* Few rows by one panel as it lies: a[slot][rows]. */
HOT void thin_body(const int rows, const rex_gemm *j, const char *panel, const float *a, vf acc[]) {
    const bool bf16 = j->bf16;
    const int64_t n = j->k;
    if (j->w.type == REX_K_F32) {
        const float *b = (const float *)(const void *)panel;
        for (int64_t k = 0; k < n; k++, b += REX_PANEL) {
            __builtin_prefetch((const char *)b + 2048, 0, 3);
            __builtin_prefetch((const char *)b + 2048 + 64, 0, 3);
#pragma GCC unroll 8
            for (int c = 0; c < NC; c++)
#pragma GCC unroll 4
                for (int r = 0; r < rows; r++)
                    acc[r * NC + c] =
                        v_fma(v_set(a[k * rows + r]), v_load(b + c * VW), acc[r * NC + c]);
        }
    } else if (j->w.type == REX_K_BF16) {
        const uint16_t *b = (const uint16_t *)(const void *)panel;
        for (int64_t k = 0; k < n / 2 * 2 + (bf16 ? n % 2 * 2 : 0); k += 2, b += 2 * REX_PANEL) {
            __builtin_prefetch((const char *)b + 2048, 0, 3);
            __builtin_prefetch((const char *)b + 2048 + 64, 0, 3);
#pragma GCC unroll 8
            for (int c = 0; c < NC; c++) {
                vf e, o;
                v_load_pairs(b + 2 * c * VW, &e, &o);
#pragma GCC unroll 4
                for (int r = 0; r < rows; r++) {
                    vf t = acc[r * NC + c];
                    t = v_fma(v_set(a[k * rows + r]), bf16 ? o : e, t);
                    acc[r * NC + c] = v_fma(v_set(a[(k + 1) * rows + r]), bf16 ? e : o, t);
                }
            }
        }
        if (!bf16 && n % 2 != 0)
            for (int c = 0; c < NC; c++) {
                vf e, o;
                v_load_pairs(b + 2 * c * VW, &e, &o);
                for (int r = 0; r < rows; r++)
                    acc[r * NC + c] = v_fma(v_set(a[(n - 1) * rows + r]), e, acc[r * NC + c]);
            }
    } else if (j->w.type == REX_K_F16) {
        const uint16_t *b = (const uint16_t *)(const void *)panel;
        for (int64_t k = 0; k < n; k++, b += REX_PANEL) {
            __builtin_prefetch((const char *)b + 2048, 0, 3);
#pragma GCC unroll 8
            for (int c = 0; c < NC; c++)
#pragma GCC unroll 4
                for (int r = 0; r < rows; r++)
                    acc[r * NC + c] =
                        v_fma(v_set(a[k * rows + r]), v_load_f16(b + c * VW), acc[r * NC + c]);
        }
    } else {
        for (int64_t kb = 0; kb < n; kb += 32, panel += 64 + 32 * REX_PANEL) {
            vf d[NC];
            for (int c = 0; c < NC; c++)
                d[c] = v_load_f16((const uint16_t *)(const void *)panel + c * VW);
            const int8_t *q = (const int8_t *)panel + 64;
            for (int64_t k = kb; k < kb + 32; k++, q += REX_PANEL) {
                __builtin_prefetch(q + 2048, 0, 3);
#pragma GCC unroll 8
                for (int c = 0; c < NC; c++) {
                    const vf w = v_mul(d[c], v_load_i8(q + c * VW));
#pragma GCC unroll 4
                    for (int r = 0; r < rows; r++)
                        acc[r * NC + c] = v_fma(v_set(a[k * rows + r]), w, acc[r * NC + c]);
                }
            }
        }
    }
}

HOT void thin_rows(const int rows, const rex_gemm *j, int64_t m, int64_t p0, int64_t p1,
                   const float *a) {
    for (int64_t p = p0; p < p1; p++) {
        const char *panel = (const char *)j->w.data + (size_t)p * rex_panel_bytes(j->w.type, j->k);
        const int64_t cols = j->n - p * REX_PANEL;
        vf acc[THIN_M * NC];
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
            for (int c = 0; c < NC; c++) {
                const int64_t left = cols - c * VW;
                const float *y = out_at(j, m + r, p) + c * VW;
                acc[r * NC + c] = !j->more || left <= 0 ? v_zero()
                                  : left >= VW          ? v_load(y)
                                                        : v_loadn(y, left);
            }
        thin_body(rows, j, panel, a, acc);
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
            for (int c = 0; c < NC; c++) {
                const int64_t left = cols - c * VW;
                float *y = out_at(j, m + r, p) + c * VW;
                const int64_t n = p * REX_PANEL + c * VW;
                if (left >= VW)
                    v_store(y, edge(j, m + r, n, VW, acc[r * NC + c]));
                else if (left > 0)
                    v_storen(y, edge(j, m + r, n, left, acc[r * NC + c]), left);
            }
    }
}

/* bf16 mode needs weights that are bf16 already; what else would have to be rounded takes the road
 * of tiles. */
static bool is_thin(const rex_gemm *j, int64_t rows) {
    const size_t floats = REX_GEMM_SCRATCH / sizeof(float) - 64;
    return rows <= THIN_M && j->w.ld == 0 && (!j->bf16 || j->w.type == REX_K_BF16) &&
           (size_t)(rows * (j->k + 2)) <= floats;
}

static void thin(const rex_gemm *j, int64_t m, int rows, int64_t p0, int64_t p1, float *a) {
    pack(j, m, m + rows, 1, 0, j->k, rows, a);
    switch (rows) {
    case 1: thin_rows(1, j, m, p0, p1, a); break;
    case 2: thin_rows(2, j, m, p0, p1, a); break;
#if THIN_M > 2
    case 3: thin_rows(3, j, m, p0, p1, a); break;
    case 4: thin_rows(4, j, m, p0, p1, a); break;
#endif
    }
}

/* ---- the product ------------------------------------------------------------------------- */

/* Floats of scratch for packed rows. A product that adds into its own output keeps the accumulators
 * of one panel in scratch too, because y holds what is added until the end. */
#define ROOM ((int64_t)(REX_GEMM_SCRATCH / sizeof(float)) - K_STEP * REX_PANEL - 64)
#define MOST (36 * TILE_M)
/* As many as stay in a second-level cache beside a panel, unless one tile needs more. */
#define WARM ((int64_t)180 << 10)

static bool in_place(const rex_gemm *j) {
    return j->add == j->y;
}

/* A block of a panel as the tiles take it: f32 in `t->b`, where it lies or from `room`, or pairs
 * that the first tile will leave in `room`. */
static int columns(const rex_gemm *j, int64_t p, int64_t k0, int64_t k1, float *room,
                   tile_job *t) {
    if (j->w.ld == 0 && j->w.type == REX_K_BF16) {
        const char *panel = (const char *)j->w.data + (size_t)p * rex_panel_bytes(j->w.type, j->k);
        t->pairs = (const uint16_t *)(const void *)panel + k0 * REX_PANEL;
        t->b = t->wide = room;
        return j->bf16 ? PAIRS_TURNED : PAIRS;
    }
    t->b = widen(j, p, k0, k1, room);
    return PLAIN;
}

static wanted rows_of(const float *x, int64_t row, int64_t n) {
    return (wanted){(const char *)x, row * (int64_t)sizeof *x, n};
}

/* What tile i of `tiles` calls up of the columns behind steps ks .. ks+n-1 of panel p: of rows the
 * same steps of the next panel, else the next n steps. Few tiles call at every step: they have
 * little time for each line. */
static void look_ahead(const rex_gemm *j, int64_t p, int64_t ks, int64_t n, int64_t i,
                       int64_t tiles, bool plain, tile_job *t) {
    wanted *const w = &t->soon[WANTED - 1];
    if (j->w.ld > 0) {
        const int64_t k = ks + i * n / tiles;
        *w = rows_of((const float *)j->w.data + k * j->w.ld + (p + 1) * REX_PANEL, j->w.ld,
                     n / tiles + 1);
        return;
    }
    const int64_t bytes = (int64_t)rex_panel_bytes(j->w.type, n / 32 * 32) / tiles + 1;
    t->ahead = (const char *)j->w.data + (size_t)p * rex_panel_bytes(j->w.type, j->k) +
               rex_panel_bytes(j->w.type, (ks + n) / 32 * 32) + i * bytes;
    const bool spread = plain && tiles > 8;
    *w = (wanted){t->ahead, ROW_BYTES, spread ? bytes / ROW_BYTES + 1 : 0};
    t->pace = spread ? 0 : bytes / n < 64 ? bytes / n + 1 : 64;
}

/* One panel by the packed rows of k0 .. k1-1. Between blocks of k the accumulators wait in `acc`
 * (rows, 32); those of a last panel that is not full stay there, so that nothing beyond n is
 * touched. */
static void panel_of(const rex_gemm *j, int64_t m0, int64_t m1, int64_t p, int64_t k0, int64_t k1,
                     const float *a, float *room, float *acc) {
    const int64_t tiles = (m1 - m0 + TILE_M - 1) / TILE_M;
    const int64_t deep = slots_of(j->bf16, k1 - k0);
    const int64_t steps = (deep + K_STEP - 1) / K_STEP;
    const int64_t step = steps > 1 ? ((deep + steps - 1) / steps + 1) / 2 * 2 : deep + 1;
    const bool whole = j->n - p * REX_PANEL >= REX_PANEL;
    const bool begun = j->more || k0 > 0; /* y holds accumulators */
    const slices cut = slices_of(m1 - m0, tiles);
    if (!whole && begun) finish(j, m0, m1, p, acc, TAKE);
    for (int64_t s = 0; s == 0 || s < deep; s += step) {
        const int64_t n = deep - s < step ? deep - s : step;
        const int64_t ke = k0 + s + n < k1 ? k0 + s + n : k1;
        const bool out = whole && s + n >= deep;
        const bool edges = out && k1 == j->k;
        const int64_t col = p * REX_PANEL;
        tile_job t = { .k_len = n, .y_row = out ? j->y_row : REX_PANEL, .add_row = j->add_row };
        const bool in_y = s == 0 && whole;
        t.from_row = in_y ? j->y_row : REX_PANEL;
        if (edges && j->bias != NULL) t.bias = j->bias + col;
        int how = columns(j, p, k0 + s, ke, room, &t);
        t.a = a + s * TILE_M;
        slices next = cut;
        int64_t m = m0;
        for (int64_t i = 0; i < tiles; i++) {
            const int rows = next_slice(&next);
            float *const held = acc + (m - m0) * REX_PANEL;
            t.a = a + (i * deep + s) * TILE_M;
            t.y = out ? out_at(j, m, p) : held;
            t.from = s > 0 || (!whole && begun) ? held : begun ? out_at(j, m, p) : NULL;
            if (edges && j->add != NULL) t.add = j->add + m * j->add_row + col;
            const bool last = i + 1 == tiles;
            if (out && j->y_row != REX_PANEL)
                t.soon[0] = rows_of(out_at(j, last ? m0 : m + rows, p + last), j->y_row, rows);
            if (t.add != NULL && !last)
                t.soon[1] = rows_of(t.add + rows * j->add_row, j->add_row, rows);
            look_ahead(j, p, k0 + s, ke - k0 - s, i, tiles, how == PLAIN, &t);
            tile_panel(rows, how, &t);
            how = PLAIN;
            m += rows;
        }
    }
    if (!whole) finish(j, m0, m1, p, acc, k1 == j->k ? GIVE_EDGES : GIVE);
}

/* Rows m0 .. m1-1, at most MOST: k is cut so that their packed form fits the scratch. */
static void block(const rex_gemm *j, int64_t m0, int64_t m1, int64_t p0, int64_t p1, float *room) {
    const int64_t tiles = (m1 - m0 + TILE_M - 1) / TILE_M;
    float *acc = room + K_STEP * REX_PANEL;
    float *a = acc + (m1 - m0) * REX_PANEL;
    const int64_t left = ROOM - (m1 - m0) * REX_PANEL;
    int64_t k_room = (!in_place(j) && left > WARM ? WARM : left) / (tiles * TILE_M) / 2 * 2;
    const int64_t cuts = (j->k + k_room - 1) / k_room;
    if (cuts > 1) k_room = ((j->k + cuts - 1) / cuts + 1) / 2 * 2;
    rex_dassert(!in_place(j) || cuts <= 1);
    for (int64_t k0 = 0; k0 == 0 || k0 < j->k; k0 += k_room) {
        const int64_t k1 = k0 + k_room < j->k ? k0 + k_room : j->k;
        pack(j, m0, m1, tiles, k0, k1, TILE_M, a);
        for (int64_t p = p0; p < p1; p++) panel_of(j, m0, m1, p, k0, k1, a, room, acc);
    }
}

/* Rows of a block. Rather few rows with all of k than many with a part of it: y is then touched
 * once, and panels are read again from a cache, which is cheap. In place all of k is a must. */
static int64_t rows_at_once(const rex_gemm *j, int64_t rows) {
    const int64_t one = j->k + REX_PANEL + 2;
    int64_t most = WARM / one / TILE_M * TILE_M;
    if (in_place(j)) {
        if (most < TILE_M) most = TILE_M;
        rex_assert(most * one <= ROOM);
    } else if (j->w.ld > 0) {
        most = MOST; /* every block of rows reads scattered columns anew */
    } else if (most < 6 * TILE_M) {
        most = 18 * TILE_M;
    }
    if (most > MOST) most = MOST;
    const int64_t blocks = (rows + most - 1) / most; /* equal ones */
    return ((rows + blocks - 1) / blocks + TILE_M - 1) / TILE_M * TILE_M;
}

void VEC(gemm)(const rex_gemm *j, int64_t m0, int64_t m1, int64_t p0, int64_t p1, void *scratch) {
    if (m1 <= m0 || p1 <= p0) return;
    const uint64_t fp = j->bf16 ? flush_enter() : 0;
    const int64_t most = rows_at_once(j, m1 - m0);
    if (is_thin(j, m1 - m0))
        thin(j, m0, (int)(m1 - m0), p0, p1, scratch);
    else
        for (int64_t m = m0; m < m1; m += most)
            block(j, m, m1 - m < most ? m1 : m + most, p0, p1, scratch);
    if (j->bf16) flush_leave(fp);
}
