/* SPDX-License-Identifier: MIT
 *
 * prop_kern: every table against ref by bits. Both run on equal copies of one slab, which holds all
 * operands at odd places with guard zones between, and the whole slabs are compared: a wrong bit
 * and a write out of bounds are both seen. NaN must appear in the same places.
 */
#include "rex_test.h"

#include "../src/kernels/kern.h"

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

#define SLAB ((size_t)1 << 22) /* floats */
#define GUARD 19

static float *slab[2];
static size_t used;
static uint32_t rng;
static rex_kern ref, fast;
static char *scratch;
#define SCRATCH ((size_t)8 << 20) /* at least two of REX_GEMM_SCRATCH */

static uint32_t draw(void) {
    rng = rng * 1664525u + 1013904223u;
    return rng >> 8;
}

static int64_t range(int64_t lo, int64_t hi) {
    return lo + (int64_t)(draw() % (uint32_t)(hi - lo + 1));
}

/* Lengths about the vector widths, and a few large ones. */
static int64_t length(void) {
    static const int64_t some[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 130};
    return some[draw() % (sizeof some / sizeof some[0])];
}

typedef enum { PLAIN, HUGE_, TINY, ZEROS, WITH_NAN, KINDS } kind;

static float value(kind k) {
    const float u = ((float)draw() - 8388608.0f) * 0x1p-23f;
    if (k == HUGE_) return u * 1e30f;
    if (k == TINY) return u * 1e-38f;
    if (k == ZEROS) return draw() % 3 == 0 ? 0.0f : draw() % 3 == 0 ? -0.0f : u;
    return u;
}

/* n floats at an odd place; the same offset in both slabs. */
static size_t place(int64_t n, kind k) {
    used += GUARD + draw() % 16;
    const size_t at = used;
    for (int64_t i = 0; i < n; i++) slab[0][at + (size_t)i] = value(k);
    if (k == WITH_NAN && n > 0) slab[0][at + draw() % (uint32_t)n] = NAN;
    used += (size_t)n + GUARD;
    if (used > SLAB) abort();
    return at;
}

static size_t place64(int64_t n, kind k) { /* 64-byte aligned */
    used = (used + GUARD + 15) / 16 * 16;
    const size_t at = used;
    for (int64_t i = 0; i < n; i++) slab[0][at + (size_t)i] = value(k);
    used += (size_t)n + GUARD;
    if (used > SLAB) abort();
    return at;
}

static void begin(uint32_t seed) {
    rng = seed * 2654435761u + 12345u;
    used = 0;
}

/* After placing: both slabs hold the same; the second one is the table's. */
static void twin(void) {
    memcpy(slab[1], slab[0], used * sizeof(float));
}

static void same(const char *what, uint32_t seed) {
    for (size_t i = 0; i < used; i++) {
        const float a = slab[0][i];
        const float b = slab[1][i];
        if (memcmp(&a, &b, sizeof a) == 0 || (a != a && b != b)) continue;
        rex_test_fail(__FILE__, __LINE__, "%s, %s, seed %u: float %zu of %zu is %a, ref has %a",
                      fast.name, what, seed, i, used, (double)b, (double)a);
        return;
    }
}

/* Runs `call` for ref on slab 0 and for the table on slab 1; inside, OP is the table and AT(x) the
 * place x of its slab. */
#define AT(x) (s_ + (x))
#define BOTH(...)                                                                                \
    do {                                                                                         \
        twin();                                                                                  \
        for (int w_ = 0; w_ < 2; w_++) {                                                         \
            float *const s_ = slab[w_];                                                          \
            const rex_kern *const OP = w_ == 0 ? &ref : &fast;                                    \
            (void)s_;                                                                            \
            __VA_ARGS__;                                                                         \
        }                                                                                        \
    } while (0)

/* Host programs built with fast-math leave other control bits, which entry must undo: every other
 * case starts with denormals flushed and another rounding mode. */
static void spoil(uint32_t c) {
#if defined(__SSE2__)
    if (c % 2 != 0) _mm_setcsr(0x1f80u | 0x8040u | (c / 2 % 3 + 1) << 13);
#else
    (void)c;
#endif
}

static void all_tables(void (*one)(uint32_t seed), uint32_t cases) {
    const char *name[8];
    const size_t n = rex_kern_list(name, 8);
    slab[0] = calloc(SLAB, sizeof(float));
    slab[1] = calloc(SLAB, sizeof(float));
    scratch = aligned_alloc(64, SCRATCH);
    CHECK_STATUS(rex_kern_pick("ref", &ref, NULL), REX_OK);
    for (size_t i = 0; i < n; i++) {
        CHECK_STATUS(rex_kern_pick(name[i], &fast, NULL), REX_OK);
        if (strcmp(name[i], "ref") == 0 && n > 1) continue;
        for (uint32_t c = 0; c < REX_TEST_FEW(cases); c++) {
            const uint64_t found = rex_fp_enter();
            spoil(c);
            const uint64_t fp = rex_fp_enter();
            begin(c);
            one(c);
            rex_fp_leave(fp);
            rex_fp_leave(found);
        }
    }
    free(slab[0]);
    free(slab[1]);
    free(scratch);
}

/* ---- products ---------------------------------------------------------------------------- */

static void one_gemm(uint32_t seed) {
    const kind k = (kind)(seed % KINDS);
    const bool big = seed % 29 == 0;
    const int64_t m = big ? range(1, 700) : range(1, 45);
    const int64_t n = big ? range(1, 40) : range(1, 100);
    static const rex_store types[] = { REX_K_F32, REX_K_BF16, REX_K_F16, REX_K_Q8_0 };
    const rex_store to = types[seed / 5 % 4];
    int64_t K = big ? range(1, 500) : range(1, 80);
    if (to == REX_K_Q8_0) K = (K + 31) / 32 * 32;
    const bool rows = draw() % 4 == 0; /* B is activations */
    const bool turned = draw() % 2 == 0;
    const size_t w = place(n * K, k == HUGE_ ? PLAIN : k);
    const size_t q = place(to == REX_K_Q8_0 ? n * K / 32 * 34 / 4 + 16 : n * K, PLAIN);
    const size_t pan = place64((int64_t)(rex_panel_bytes(to, K) / 4) * rex_panel_count(n), PLAIN);
    const size_t x = place(m * K, k);
    const size_t y = place(m * n, PLAIN);
    const size_t bias = place(n, PLAIN);
    const size_t add = place(m * n, PLAIN);
    const size_t yp = place(rex_panel_count(n) * 32 * m, PLAIN);
    rex_pack pk = { REX_K_F32, to, NULL, K, 1, false, n, K, NULL };
    if (to == REX_K_F16) {
        ref.cast_to(slab[0] + q, REX_K_F16, slab[0] + w, n * K);
        pk.from = REX_K_F16;
    } else if (to == REX_K_Q8_0) {
        for (int64_t i = 0; i < n * K / 32; i++) {
            uint8_t *b = (uint8_t *)(slab[0] + q) + i * 34;
            const uint16_t d = rex_f32_f16(value(PLAIN) * 0.01f);
            memcpy(b, &d, 2);
            for (int c = 0; c < 32; c++) b[2 + c] = (uint8_t)draw();
        }
        pk.from = REX_K_Q8_0;
    }
    const bool in_panels = draw() % 4 == 0;
    rex_gemm j = { .m = m, .n = n, .k = K, .x_row = turned ? 1 : K, .x_col = turned ? m : 1,
                   .w = { to, n, K, 0, NULL }, .y_row = in_panels ? 32 : n,
                   .y_panel = in_panels ? 32 * m : 32, .add_row = n,
                   .more = draw() % 2 == 0, .bf16 = draw() % 2 == 0 };
    const bool with_bias = draw() % 2 == 0;
    const bool with_add = draw() % 2 == 0;
    const bool onto = draw() % 2 == 0; /* adds into its own output */
    const int64_t m1 = draw() % 2 == 0 ? m : range(0, m);
    const int64_t p1 = draw() % 2 == 0 ? rex_panel_count(n) : range(0, rex_panel_count(n));
    if (rows) j.w = (rex_panels){ REX_K_F32, n, K, n, NULL };
    BOTH({
        pk.src = pk.from == REX_K_F32 ? AT(w) : AT(q);
        pk.dst = AT(pan);
        OP->pack(&pk, 0, rex_panel_count(n));
        j.x = AT(x);
        j.w.data = rows ? AT(w) : AT(pan);
        j.y = in_panels ? AT(yp) : AT(y);
        j.bias = with_bias ? AT(bias) : NULL;
        j.add = !with_add ? NULL : onto && !in_panels ? AT(y) : AT(add);
        /* any split into ranges is the same product */
        OP->gemm(&j, 0, m1, 0, p1, scratch);
        OP->gemm(&j, m1, m, 0, p1, scratch);
        OP->gemm(&j, 0, m, p1, rex_panel_count(n), scratch);
    });
    same("gemm", seed);
}

START_TEST(t_gemm_equals_ref) {
    all_tables(one_gemm, 400);
}
END_TEST

/* Products that share their rows, run over a pool: parts that lie side by side, as query, key and
 * value do, and parts that only nearly do, which must not be taken for one. */
static rex_pool *workers;

static void one_run(uint32_t seed) {
    enum { PARTS = 3 };
    const int64_t m = draw() % 8 == 0 ? range(250, 300) : range(1, 45);
    const int64_t K = range(1, 70);
    int64_t n[PARTS], all = 0;
    for (int i = 0; i < PARTS; i++) {
        n[i] = draw() % 4 == 0 ? range(1, 70) : 32 * range(1, 3);
        all += n[i];
    }
    const int64_t gap = draw() % 4 == 0 ? 8 : 0; /* between the parts' columns and biases */
    const int64_t ld = all + PARTS * gap;
    const rex_store to = draw() % 2 == 0 ? REX_K_F32 : REX_K_BF16;
    const size_t w = place(all * K, PLAIN);
    const size_t pan = place64((int64_t)(rex_panel_bytes(to, K) / 4) * (all / 32 + PARTS), PLAIN);
    const size_t x = place(m * K, PLAIN);
    const size_t y = place(m * ld, PLAIN);
    const size_t bias = place(ld, PLAIN);
    const size_t add = place(m * ld, PLAIN);
    const bool with_bias = draw() % 2 == 0, with_add = draw() % 2 == 0, more = draw() % 2 == 0;
    const bool bf16 = draw() % 2 == 0;
    BOTH({
        rex_gemm j[PARTS];
        int64_t at = 0;
        char *panel = (char *)AT(pan);
        for (int i = 0; i < PARTS; i++) {
            const rex_pack pk = { REX_K_F32, to, AT(w) + (at - i * gap) * K, K, 1, false, n[i], K,
                                  panel };
            OP->pack(&pk, 0, rex_panel_count(n[i]));
            j[i] = (rex_gemm){ .m = m, .n = n[i], .k = K, .x = AT(x), .x_row = K, .x_col = 1,
                               .w = { to, n[i], K, 0, panel }, .y = AT(y) + at, .y_row = ld,
                               .y_panel = REX_PANEL, .more = more, .bf16 = bf16,
                               .bias = with_bias ? AT(bias) + at : NULL,
                               .add = with_add ? AT(add) + at : NULL, .add_row = ld };
            panel += rex_panel_bytes(to, K) * (size_t)rex_panel_count(n[i]);
            at += n[i] + gap;
        }
        if (OP == &fast)
            rex_gemm_run(OP, workers, j, PARTS, scratch, REX_GEMM_SCRATCH);
        for (int i = 0; i < PARTS && OP == &ref; i++)
            OP->gemm(&j[i], 0, m, 0, rex_panel_count(n[i]), scratch);
    });
    same("products of parts", seed);
}

START_TEST(t_parts_of_products_equal_ref) {
    for (int threads = 1; threads <= 2; threads++) {
        CHECK_STATUS(rex_pool_open(threads, &workers, NULL), REX_OK);
        all_tables(one_run, 60);
        rex_pool_close(workers);
    }
}
END_TEST

static void one_pack(uint32_t seed) {
    const int64_t n = range(1, 100);
    const int64_t k = range(1, 100);
    const rex_store to = seed % 2 == 0 ? REX_K_F32 : REX_K_BF16;
    const size_t w = place(n * k, (kind)(seed % KINDS));
    const size_t h = place(n * k, PLAIN);
    const size_t pan = place64(rex_panel_count(n) * 32 * k, PLAIN);
    const size_t back = place(n * k, PLAIN);
    const size_t turned = place64(rex_panel_count(k) * 32 * (n + 1), PLAIN);
    const size_t other = place64(rex_panel_count(k) * 32 * (n + 1), PLAIN);
    const bool half = seed % 3 == 0;
    BOTH({
        OP->cast_to(AT(h), REX_K_BF16, AT(w), n * k);
        const rex_pack a = { half ? REX_K_BF16 : REX_K_F32, REX_K_F32, half ? AT(h) : AT(w), k, 1,
                             false, n, k, AT(pan) };
        OP->pack(&a, 0, rex_panel_count(n));
        OP->unpack(AT(back), REX_K_F32, k, AT(pan), n, k, 0, n);
        const rex_pack b = { REX_K_F32, to, AT(pan), 0, 0, true, k, n, AT(turned) };
        OP->pack(&b, 0, rex_panel_count(k));
        const rex_pack c = { a.from, to, a.src, 1, k, false, k, n, AT(other) };
        OP->pack(&c, 0, rex_panel_count(k));
    });
    same("pack", seed);
    /* turning panels round and packing the turned source are the same thing */
    CHECK_MEM(slab[0] + turned, slab[0] + other,
              rex_panel_bytes(to, n) * (size_t)rex_panel_count(k));
    if (!half) CHECK_MEM(slab[0] + back, slab[0] + w, (size_t)(n * k) * sizeof(float));
}

/* Frozen weights as they are kept, turned round for the gradient of what they multiply: the same
 * as widening the rows and packing those transposed. */
static void one_turn(uint32_t seed) {
    static const rex_store types[] = { REX_K_BF16, REX_K_F16, REX_K_Q8_0 };
    const rex_store from = types[seed % 3];
    const rex_store to = draw() % 2 == 0 ? REX_K_F32 : REX_K_BF16;
    const int64_t n = draw() % 2 == 0 ? range(1, 100) : 32 * range(1, 4);
    const int64_t k = from == REX_K_Q8_0 || draw() % 2 == 0 ? 32 * range(1, 4) : range(1, 100);
    const size_t w = place(n * k, PLAIN);
    const size_t q = place(n * k + 16, PLAIN);
    const size_t pan = place64((int64_t)(rex_panel_bytes(from, k) / 4) * rex_panel_count(n), PLAIN);
    const size_t turned = place64(rex_panel_count(k) * 32 * (n + 1), PLAIN);
    const size_t other = place64(rex_panel_count(k) * 32 * (n + 1), PLAIN);
    for (int64_t i = 0; from == REX_K_Q8_0 && i < n * k / 32; i++) {
        uint8_t *const b = (uint8_t *)(slab[0] + q) + i * 34;
        const uint16_t d = rex_f32_f16(value(PLAIN) * 0.01f);
        memcpy(b, &d, 2);
        for (int c = 0; c < 32; c++) b[2 + c] = (uint8_t)draw();
    }
    if (from != REX_K_Q8_0) ref.cast_to(slab[0] + q, from, slab[0] + w, n * k);
    BOTH({
        const rex_pack a = { from, from, AT(q), k, 1, false, n, k, AT(pan) };
        OP->pack(&a, 0, rex_panel_count(n));
        const rex_pack b = { from, to, AT(pan), 0, 0, true, k, n, AT(turned) };
        OP->pack(&b, 0, rex_panel_count(k));
        OP->cast_from(AT(w), AT(q), from, n * k);
        const rex_pack c = { REX_K_F32, to, AT(w), 1, k, false, k, n, AT(other) };
        OP->pack(&c, 0, rex_panel_count(k));
    });
    same("turned panels", seed);
    CHECK_MEM(slab[0] + turned, slab[0] + other,
              rex_panel_bytes(to, n) * (size_t)rex_panel_count(k));
}

START_TEST(t_pack_equals_ref_and_turns) {
    all_tables(one_pack, 300);
    all_tables(one_turn, 300);
}
END_TEST

/* ---- attention --------------------------------------------------------------------------- */

/* Sequences that share a prefix and have tails of their own, cut at odd places. */
static void one_attn(uint32_t seed) {
    static const int64_t heads[][2] = {{4, 4}, {6, 2}, {9, 3}, {8, 1}, {2, 2}, {40, 1}};
    const int64_t *hs = heads[seed % 6];
    const int64_t H = hs[0], KV = hs[1], hd = 8 * range(1, 10);
    const bool bf16 = seed / 6 % 3 == 0;
    const rex_store cache = bf16 ? REX_K_BF16 : REX_K_F32;
    const kind kk = (kind)(seed / 2 % KINDS);
    const int64_t prefix = range(1, 150);
    const int64_t n_seq = range(1, 7);
    const int64_t n_tok = seed % 4 == 0 ? range(1, 40) : range(1, 3); /* per sequence */
    const int64_t window = seed % 3 == 0 ? range(1, 60) : 0;
    const int64_t cap = 64;
    const int64_t pcap = (prefix + 31) / 32 * 32;
    const size_t pk = place64(KV * pcap * hd, PLAIN), pv = place64(KV * pcap * hd, PLAIN);
    const size_t tk = place64(n_seq * KV * cap * hd, PLAIN),
                 tv = place64(n_seq * KV * cap * hd, PLAIN);
    const size_t kr = place((prefix + n_seq * n_tok) * KV * hd, kk);
    const size_t vr = place((prefix + n_seq * n_tok) * KV * hd, kk);
    const size_t q = place(n_seq * n_tok * H * hd, PLAIN);
    const size_t out = place(n_seq * n_tok * H * hd, PLAIN);
    const int64_t row = KV * hd;
    rex_attn_row rows[300];
    rex_kv_seg segs[8][2];
    BOTH({
        for (int64_t s = 0; s < n_seq; s++) {
            segs[s][0] = (rex_kv_seg){ AT(pk), AT(pv), pcap * hd, pcap * hd, 0, (int32_t)prefix };
            const size_t at = (size_t)(s * KV * cap * hd) / (bf16 ? 2 : 1);
            segs[s][1] = (rex_kv_seg){AT(tk) + at, AT(tv) + at,     cap * hd,
                                      cap * hd,    (int32_t)prefix, (int32_t)n_tok};
            const float *k = AT(kr) + (prefix + s * n_tok) * row;
            const float *v = AT(vr) + (prefix + s * n_tok) * row;
            OP->kv_put(&segs[s][1], cache, KV, hd, 0, n_tok, k, row, v, row);
            for (int64_t t = 0; t < n_tok; t++) {
                rex_attn_row *r = &rows[s * n_tok + t];
                r->q = AT(q) + (s * n_tok + t) * H * hd;
                r->out = AT(out) + (s * n_tok + t) * H * hd;
                r->seg = segs[s];
                r->n_seg = 2;
                r->hi = (int32_t)(prefix + t + 1);
                r->lo = window > 0 && r->hi > window ? (int32_t)(r->hi - window) : 0;
            }
        }
        OP->kv_put(&segs[0][0], cache, KV, hd, 0, prefix, AT(kr), row, AT(vr), row);
        const rex_attn j = { rows, n_seq * n_tok, H, KV, hd, 0.25f, cache };
        if (rex_attn_scratch(&j) > SCRATCH) abort();
        memset(scratch, 0xff, rex_attn_scratch(&j)); /* NaN: nothing stale may be used */
        for (int64_t h = 0; h < KV; h++) OP->attn(&j, h, 0, j.n_row, scratch);
    });
    same("attn", seed);
}

START_TEST(t_attention_equals_ref) {
    all_tables(one_attn, 200);
}
END_TEST

/* One sequence whole, token by token, in another cut: the same bits. */
static void one_cut(uint32_t seed) {
    const int64_t H = 6, KV = 2, hd = 24, T = range(2, 120), row = KV * hd;
    const int64_t cap = (T + 31) / 32 * 32;
    const int64_t cut = range(1, T - 1);
    const int64_t half = KV * cap * hd;
    const size_t kr = place(T * row, PLAIN), vr = place(T * row, PLAIN),
                 q = place(T * H * hd, PLAIN);
    const size_t one = place64(2 * half, PLAIN), two = place64(2 * half, PLAIN),
                 three = place64(2 * half, PLAIN);
    const size_t a = place(T * H * hd, PLAIN), b = place(T * H * hd, PLAIN);
    rex_attn_row rows[128];
    BOTH({
        const rex_kv_seg whole = { AT(one), AT(one) + half, cap * hd, cap * hd, 0, (int32_t)T };
        const rex_kv_seg parts[2] = {
            { AT(two), AT(two) + half, cap * hd, cap * hd, 0, (int32_t)cut },
            { AT(three), AT(three) + half, cap * hd, cap * hd, (int32_t)cut, (int32_t)(T - cut) },
        };
        OP->kv_put(&whole, REX_K_F32, KV, hd, 0, T, AT(kr), row, AT(vr), row);
        OP->kv_put(&parts[0], REX_K_F32, KV, hd, 0, cut, AT(kr), row, AT(vr), row);
        for (int64_t t = cut; t < T; t++)
            OP->kv_put(&parts[1], REX_K_F32, KV, hd, t - cut, 1, AT(kr) + t * row, row,
                      AT(vr) + t * row, row);
        for (int64_t t = 0; t < T; t++)
            rows[t] = (rex_attn_row){ AT(q) + t * H * hd, AT(a) + t * H * hd, &whole, 1, 0,
                                      (int32_t)t + 1 };
        const rex_attn j = { rows, T, H, KV, hd, 0.2f, REX_K_F32 };
        for (int64_t h = 0; h < KV; h++) OP->attn(&j, h, 0, T, scratch);
        for (int64_t t = 0; t < T; t++) {
            rows[t].out = AT(b) + t * H * hd;
            rows[t].seg = parts;
            rows[t].n_seg = 2;
        }
        for (int64_t t = 0; t < T; t++)
            for (int64_t h = 0; h < KV; h++) OP->attn(&j, h, t, t + 1, scratch);
    });
    same("attn cut", seed);
    CHECK_MEM(slab[1] + a, slab[1] + b, (size_t)(T * H * hd) * sizeof(float));
}

START_TEST(t_attention_ignores_cuts) {
    all_tables(one_cut, 60);
}
END_TEST

static void one_attn_bwd(uint32_t seed) {
    static const int64_t heads[][2] = {{4, 4}, {6, 2}, {9, 3}, {8, 1}, {1, 1}, {40, 1}};
    const int64_t H = heads[seed % 6][0], KV = heads[seed % 6][1], hd = 8 * range(1, 9);
    const int64_t T = seed % 5 == 0 ? range(60, 120) : range(1, 50);
    const kind k = (kind)(seed / 3 % KINDS);
    const size_t q = place(T * H * hd, k), kk = place(T * KV * hd, k), v = place(T * KV * hd, k);
    const size_t dy = place(T * H * hd, k), dq = place(T * H * hd, PLAIN);
    const size_t dk = place(T * KV * hd, PLAIN), dv = place(T * KV * hd, PLAIN);
    const int64_t window = seed % 3 == 0 ? range(1, 40) : 0;
    BOTH({
        const rex_attn_grad j = {
            .T = T, .H = H, .KV = KV, .hd = hd, .window = window, .scale = 0.3f,
            .q = AT(q), .k = AT(kk), .v = AT(v), .dout = AT(dy),
            .q_row = H * hd, .k_row = KV * hd, .v_row = KV * hd, .dout_row = H * hd,
            .dq = AT(dq), .dk = AT(dk), .dv = AT(dv),
            .dq_row = H * hd, .dk_row = KV * hd, .dv_row = KV * hd,
            .cache = seed % 4 == 1 ? REX_K_BF16 : REX_K_F32,
        };
        const size_t need = rex_attn_grad_scratch(H, KV, hd, T);
        if (need > SCRATCH) abort();
        memset(scratch, 0xff, need);
        for (int64_t h = 0; h < KV; h++) OP->attn_bwd(&j, h, scratch);
    });
    same("attn_bwd", seed);
}

START_TEST(t_attention_gradient_equals_ref) {
    all_tables(one_attn_bwd, 120);
}
END_TEST

/* ---- rows -------------------------------------------------------------------------------- */

static void one_row(uint32_t seed) {
    const kind k = (kind)(seed % KINDS);
    const int64_t n = seed % 11 == 0 ? 4096 + length() : length();
    const int64_t rows = range(1, 4);
    const int64_t ld = n + range(0, 5);
    const size_t a = place(rows * ld, k), b = place(rows * ld, k), c = place(rows * ld, k);
    const size_t y = place(rows * ld, PLAIN), z = place(rows * ld, PLAIN);
    const size_t w = place(n, PLAIN), r = place(rows, PLAIN), h = place(n, PLAIN);
    const float s = value(PLAIN);
    const rex_act act = seed % 2 == 0 ? REX_SILU : REX_GELU_TANH;
    const size_t d = place64(24, PLAIN);
    int64_t best[2];
    int w_i = 0;
    BOTH({
        OP->rmsnorm(AT(y), ld, AT(a), ld, AT(w), seed % 3 == 0 ? 1.0f : 0.0f, rows, n, 1e-6, AT(r));
        OP->rmsnorm_bwd(AT(z), ld, AT(b), ld, AT(a), ld, AT(w), 1.0f, AT(r), rows, n,
                        seed % 2 == 0);
        OP->rmsnorm_dw(AT(w), AT(b), ld, AT(a), ld, AT(r), rows, n / 3, n);
        OP->col_sum(AT(h), AT(b), ld, rows, n / 4, n);
        OP->gate(AT(c), ld, AT(a), ld, AT(b), ld, rows, n, act);
        OP->gate_bwd(AT(a), ld, AT(b), ld, AT(a), ld, AT(b), ld, AT(c), ld, rows, n, act);
        OP->add(AT(c), AT(c), AT(y), n);
        OP->axpy(AT(c), s, AT(b), n);
        OP->scale(AT(z), s, n);
        ((double *)(void *)AT(d))[0] = OP->dot(AT(c), AT(b), n);
        ((double *)(void *)AT(d))[1] = OP->sumsq(AT(a), n);
        rex_lse l = OP->lse(AT(a), 0.7f, n);
        memcpy(AT(d) + 4, &l, sizeof l);
        OP->softmax(AT(y), AT(b), 1.25f, n);
        OP->xent_bwd(AT(b), 17, n, 17 + n / 2, 1.5, 0.75, s, seed % 2 == 0 ? 0.0f : 0.25f);
        best[w_i++ % 2] = OP->argmax(AT(a), n);
        OP->cast_to(AT(h), seed % 2 == 0 ? REX_K_BF16 : REX_K_F16, AT(c), n);
        OP->cast_from(AT(z), AT(h), seed % 2 == 0 ? REX_K_BF16 : REX_K_F16, n);
        OP->round_bf16(AT(c), n);
    });
    same("rows", seed);
    CHECK_EQ(best[1], best[0]);
}

START_TEST(t_rows_equal_ref) {
    all_tables(one_row, 900);
}
END_TEST

static void one_table(uint32_t seed) {
    const int64_t D = 32 * range(1, 4), V = 20, n = range(1, 9), H = range(1, 3),
                  half = range(1, 40);
    const int64_t hd = 2 * half + range(0, 3);
    const kind k = (kind)(seed % KINDS);
    const size_t t = place(V * D, k), out = place(n * D, PLAIN), x = place(n * H * hd, k);
    const size_t cs = place(V * half, PLAIN), sn = place(V * half, PLAIN), g = place(V * D, PLAIN);
    const rex_store type = (rex_store)(seed % 4);
    int32_t id[16];
    for (int i = 0; i < 16; i++) id[i] = (int32_t)range(0, V - 1);
    BOTH({
        OP->embed(AT(out), D, AT(t), type, D, id, n, seed % 2 == 0 ? 1.0f : 3.7f);
        OP->embed_bwd(AT(g), D, AT(out), D, id, n, 5, D - 3, 0.5f);
        OP->rope(AT(x), H * hd, n, H, hd, half, AT(cs), AT(sn), id, seed % 2 == 0, 1.0f);
        OP->rope(AT(x), H * hd, n, H, hd, half, AT(cs), AT(sn), id, seed % 2 != 0, -1.0f);
    });
    same("table", seed);
}

START_TEST(t_embedding_and_rotation_equal_ref) {
    all_tables(one_table, 400);
}
END_TEST

static void one_double(uint32_t seed) {
    const int64_t n = length(), m = range(1, 9);
    const size_t a = place64(2 * m * n, PLAIN), x = place64(2 * n, PLAIN),
                 y = place64(2 * m, PLAIN);
    double *p = (double *)(void *)(slab[0] + a);
    for (int64_t i = 0; i < m * n; i++) p[i] = (double)value(PLAIN) * 3.1;
    p = (double *)(void *)(slab[0] + x);
    for (int64_t i = 0; i < n; i++) p[i] = (double)value(PLAIN) / 3.0;
    p = (double *)(void *)(slab[0] + y);
    for (int64_t i = 0; i < m; i++) p[i] = (double)value(PLAIN) / 7.0;
    BOTH({
        double *A = (double *)(void *)AT(a);
        double *X = (double *)(void *)AT(x);
        double *Y = (double *)(void *)AT(y);
        OP->gemvd(Y, A, n, m, n, X);
        OP->gerd(A, n, m, n, Y, X);
        OP->axpyd(X, 0.3, A, n);
        Y[0] = OP->dotd(A, X, n);
    });
    same("double", seed);
}

START_TEST(t_doubles_equal_ref) {
    all_tables(one_double, 200);
}
END_TEST

static void one_adamw(uint32_t seed) {
    const int64_t n = length() + length();
    const kind k = (kind)(seed % KINDS);
    const size_t p = place(n, k), g = place(n, k), m = place(n, PLAIN), v = place(n, ZEROS);
    const bool half = seed % 2 == 0;
    for (int64_t i = 0; i < n; i++) slab[0][v + (size_t)i] = fabsf(slab[0][v + (size_t)i]);
    if (half) ref.cast_to(slab[0] + v, REX_K_BF16, slab[0] + v, n);
    const rex_adamw a = { 1e-3f, 0.9f, 0.999f, 1e-8f, 0.1f, 0.1f, 0.0316f, 0.5f, 77 };
    BOTH(OP->adamw(AT(p), AT(g), AT(m), AT(v), half ? REX_K_BF16 : REX_K_F32, n, 1000 + seed, &a));
    same("adamw", seed);
}

START_TEST(t_adamw_equals_ref) {
    all_tables(one_adamw, 300);
}
END_TEST

/* ---- against double precision ------------------------------------------------------------ */

static void need_ref(void) {
    slab[0] = calloc(SLAB, sizeof(float));
    scratch = aligned_alloc(64, SCRATCH);
    CHECK_STATUS(rex_kern_pick("ref", &ref, NULL), REX_OK);
}

static void drop_ref(void) {
    free(slab[0]);
    free(scratch);
}

/* A chain of K roundings is within K/2 ulps of the sum of absolute terms. */
START_TEST(t_product_is_near_double) {
    need_ref();
    for (uint32_t seed = 0; seed < 20; seed++) {
        begin(seed);
        const int64_t m = 3, n = 37, k = range(1, 300);
        float *w = slab[0] + place(n * k, PLAIN), *x = slab[0] + place(m * k, PLAIN);
        float *y = slab[0] + place(m * n, PLAIN), *b = slab[0] + place(n, PLAIN);
        float *pan = slab[0] + place64(rex_panel_count(n) * 32 * k, PLAIN);
        const rex_pack pk = { REX_K_F32, REX_K_F32, w, k, 1, false, n, k, pan };
        ref.pack(&pk, 0, rex_panel_count(n));
        const rex_gemm j = { .m = m, .n = n, .k = k, .x = x, .x_row = k, .x_col = 1, .bias = b,
                             .w = { REX_K_F32, n, k, 0, pan }, .y = y, .y_row = n, .y_panel = 32 };
        ref.gemm(&j, 0, m, 0, rex_panel_count(n), scratch);
        for (int64_t i = 0; i < m * n; i++) {
            double sum = (double)b[i % n], terms = fabs(sum);
            for (int64_t d = 0; d < k; d++) {
                const double t = (double)x[i / n * k + d] * (double)w[i % n * k + d];
                sum += t;
                terms += fabs(t);
            }
            CHECK_CLOSE(y[i], sum, terms, (double)k / 2.0 + 1.0);
        }
    }
    drop_ref();
}
END_TEST

/* Plain double forms of what has a gradient, for central differences. */
static double norm_loss(const double *x, const float *w, const float *dy, int64_t D) {
    double ss = 0.0, loss = 0.0;
    for (int64_t d = 0; d < D; d++) ss += x[d] * x[d];
    for (int64_t d = 0; d < D; d++)
        loss += (double)dy[d] * x[d] / sqrt(ss / (double)D + 1e-6) * (1.0 + (double)w[d]);
    return loss;
}

static double gate_loss(double g, double u, int act) {
    const double a = 2.0 * sqrt(2.0 / acos(-1.0));
    const double z = act == REX_SILU ? g : a * (g + 0.044715 * g * g * g);
    return g / (1.0 + exp(-z)) * u;
}

/* dlogp log p[id] + dent H */
static double xent_loss(const double *x, int64_t n, int64_t id, double dlogp, double dent) {
    double sum = 0.0, ent = 0.0;
    for (int64_t i = 0; i < n; i++) sum += exp(x[i]);
    for (int64_t i = 0; i < n; i++) ent -= exp(x[i]) / sum * (x[i] - log(sum));
    return dlogp * (x[id] - log(sum)) + dent * ent;
}

#define STEP 1e-5

START_TEST(t_row_gradients_follow_differences) {
    need_ref();
    for (uint32_t seed = 0; seed < 20; seed++) {
        begin(seed);
        const int64_t n = range(2, 40);
        float *x = slab[0] + place(n, PLAIN), *w = slab[0] + place(n, PLAIN);
        float *dy = slab[0] + place(n, PLAIN), *y = slab[0] + place(n, PLAIN), r;
        float *g = slab[0] + place(n, PLAIN), *u = slab[0] + place(n, PLAIN);
        double xd[64];
        ref.rmsnorm(y, n, x, n, w, 1.0f, 1, n, 1e-6, &r);
        ref.rmsnorm_bwd(y, n, dy, n, x, n, w, 1.0f, &r, 1, n, false);
        for (int64_t d = 0; d < n; d++) {
            for (int64_t i = 0; i < n; i++) xd[i] = (double)x[i];
            xd[d] += STEP;
            const double up = norm_loss(xd, w, dy, n);
            xd[d] -= 2.0 * STEP;
            CHECK_NEAR(y[d], (up - norm_loss(xd, w, dy, n)) / (2.0 * STEP), 2e-5);
        }
        for (int act = 0; act < 2; act++) {
            ref.gate_bwd(g, n, u, n, x, n, w, n, dy, n, 1, n, (rex_act)act);
            for (int64_t d = 0; d < n; d++) {
                const double a = (double)x[d], b = (double)w[d], c = (double)dy[d];
                CHECK_NEAR(g[d], c * (gate_loss(a + STEP, b, act) - gate_loss(a - STEP, b, act)) /
                                     (2.0 * STEP), 1e-6);
                CHECK_NEAR(u[d], c * gate_loss(a, 1.0, act), 1e-6);
            }
        }
        const rex_lse l = ref.lse(x, 1.0f, n);
        memcpy(y, x, (size_t)n * sizeof(float));
        ref.xent_bwd(y, 0, n, n / 2, rex_lse_log(l), rex_lse_entropy(l), 0.7f, 0.3f);
        for (int64_t d = 0; d < n; d++) {
            for (int64_t i = 0; i < n; i++) xd[i] = (double)x[i];
            xd[d] += STEP;
            const double up = xent_loss(xd, n, n / 2, (double)0.7f, (double)0.3f);
            xd[d] -= 2.0 * STEP;
            const double down = xent_loss(xd, n, n / 2, (double)0.7f, (double)0.3f);
            CHECK_NEAR(y[d], (up - down) / (2.0 * STEP), 1e-6);
        }
    }
    drop_ref();
}
END_TEST

/* Sum over heads and tokens of dout . attention(q, k, v), all in double. */
static double attn_loss(const double *q, const double *k, const double *v, const float *dy,
                        int64_t T, int64_t H, int64_t KV, int64_t hd, int64_t window) {
    double loss = 0.0;
    for (int64_t t = 0; t < T; t++)
        for (int64_t h = 0; h < H; h++) {
            const int64_t lo = window > 0 && t - window + 1 > 0 ? t - window + 1 : 0;
            const int64_t g = h / (H / KV);
            double sum = 0.0, dot = 0.0;
            for (int64_t p = lo; p <= t; p++) {
                double s = 0.0, o = 0.0;
                for (int64_t d = 0; d < hd; d++) {
                    s += q[(t * H + h) * hd + d] * k[(p * KV + g) * hd + d];
                    o += (double)dy[(t * H + h) * hd + d] * v[(p * KV + g) * hd + d];
                }
                sum += exp(s * 0.5);
                dot += exp(s * 0.5) * o;
            }
            loss += dot / sum;
        }
    return loss;
}

START_TEST(t_attention_gradient_follows_differences) {
    enum { T = 7, H = 4, KV = 2, HD = 8, NQ = T * H * HD, NK = T * KV * HD };
    static double in[NQ + 2 * NK];
    need_ref();
    for (uint32_t seed = 0; seed < 4; seed++) {
        begin(seed);
        float *x = slab[0] + place(NQ + 2 * NK, PLAIN), *dy = slab[0] + place(NQ, PLAIN);
        float *grad_ = slab[0] + place(NQ + 2 * NK, PLAIN);
        const int64_t window = seed % 2 == 0 ? 0 : 3;
        const rex_attn_grad j = {.T = T,
                                 .H = H,
                                 .KV = KV,
                                 .hd = HD,
                                 .window = window,
                                 .scale = 0.5f,
                                 .q = x,
                                 .k = x + NQ,
                                 .v = x + NQ + NK,
                                 .dout = dy,
                                 .q_row = H * HD,
                                 .k_row = KV * HD,
                                 .v_row = KV * HD,
                                 .dout_row = H * HD,
                                 .dq = grad_,
                                 .dk = grad_ + NQ,
                                 .dv = grad_ + NQ + NK,
                                 .dq_row = H * HD,
                                 .dk_row = KV * HD,
                                 .dv_row = KV * HD,
                                 .cache = REX_K_F32};
        for (int64_t h = 0; h < KV; h++) ref.attn_bwd(&j, h, scratch);
        for (int i = 0; i < NQ + 2 * NK; i++) in[i] = (double)x[i];
        for (int i = 0; i < NQ + 2 * NK; i += 3) {
            in[i] += STEP;
            const double up = attn_loss(in, in + NQ, in + NQ + NK, dy, T, H, KV, HD, window);
            in[i] -= 2.0 * STEP;
            const double down = attn_loss(in, in + NQ, in + NQ + NK, dy, T, H, KV, HD, window);
            in[i] += STEP;
            CHECK_NEAR(grad_[i], (up - down) / (2.0 * STEP), 2e-6);
        }
    }
    drop_ref();
}
END_TEST

START_TEST(t_pick_refuses_unknown) {
    rex_err e;
    rex_kern k;
    CHECK_STATUS(rex_kern_pick("sse9", &k, &e), REX_EARG);
    CHECK_HAS(e.text, "ref");
    CHECK_STATUS(rex_kern_pick(NULL, &k, &e), REX_OK);
#define X(ret, op, args) CHECK(k.op != NULL);
    REX_KERN_OPS(X)
#undef X
}
END_TEST

REX_TEST_MAIN("kern", t_gemm_equals_ref, t_parts_of_products_equal_ref, t_pack_equals_ref_and_turns,
              t_attention_equals_ref, t_attention_ignores_cuts, t_attention_gradient_equals_ref,
              t_rows_equal_ref, t_embedding_and_rotation_equal_ref, t_doubles_equal_ref,
              t_adamw_equals_ref, t_product_is_near_double, t_row_gradients_follow_differences,
              t_attention_gradient_follows_differences, t_pick_refuses_unknown)
