/* SPDX-License-Identifier: MIT
 *
 * rng: counter-based randomness, Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random
 * numbers: as easy as 1, 2, 3", SC 2011).
 *
 * A draw is a pure function of its name: the key (a seed, folded with whatever it belongs to) and
 * the counter (position, purpose << 24 | sample, and 64 bits of an id). Nobody draws "the next"
 * number, so threads, order and dropped items cannot change anybody's draw. Purposes live in
 * REX_STREAMS; 255 is kept for folding keys, so that a folded key never meets a draw.
 */
#include "base.h"

#include <math.h>

#define FOLD_PURPOSE 0xFFu

_Static_assert(REX_STREAM_COUNT < FOLD_PURPOSE, "a purpose is one byte");

/* One round: two 32 x 32 -> 64 products, their halves crossed over and keyed. */
static rex_u32x4 philox_round(rex_u32x4 c, rex_key k) {
    const uint64_t a = (uint64_t)0xD2511F53u * c.v[0];
    const uint64_t b = (uint64_t)0xCD9E8D57u * c.v[2];
    return (rex_u32x4){{(uint32_t)(b >> 32) ^ c.v[1] ^ k.v[0], (uint32_t)b,
                        (uint32_t)(a >> 32) ^ c.v[3] ^ k.v[1], (uint32_t)a}};
}

rex_u32x4 rex_rand_u32x4(rex_key k, rex_u32x4 counter) {
    for (int i = 0; i < 10; i++) {
        counter = philox_round(counter, k);
        k.v[0] += 0x9E3779B9u; /* the golden ratio */
        k.v[1] += 0xBB67AE85u; /* sqrt(3) - 1 */
    }
    return counter;
}

rex_key rex_key_make(uint64_t seed) { return (rex_key){{(uint32_t)seed, (uint32_t)(seed >> 32)}}; }

rex_key rex_key_fold(rex_key k, uint64_t with) {
    const rex_u32x4 r = rex_rand_u32x4(
        k, (rex_u32x4){{0, FOLD_PURPOSE << 24, (uint32_t)with, (uint32_t)(with >> 32)}});
    return (rex_key){{r.v[0], r.v[1]}};
}

/* ---- named draws ------------------------------------------------------------------------ */

static rex_u32x4 named(rex_key k, rex_stream s, uint32_t pos, uint32_t sample, uint64_t id) {
    rex_assert(sample < 1u << 24);
    return rex_rand_u32x4(
        k, (rex_u32x4){{pos, (uint32_t)s << 24 | sample, (uint32_t)id, (uint32_t)(id >> 32)}});
}

/* [0, 1) in steps of 2^-53: with 24 bits, what is rarer than 6e-8 would be out of reach. */
static double unit(uint32_t hi, uint32_t lo) {
    return ((double)(hi >> 5) * 0x1p26 + (double)(lo >> 6)) * 0x1p-53;
}

double rex_rand_unit(rex_key k, rex_stream s, uint32_t pos, uint32_t sample, uint64_t id) {
    const rex_u32x4 r = named(k, s, pos, sample, id);
    return unit(r.v[0], r.v[1]);
}

/* Box and Muller with one of the two values: 1 - u is in (0, 1], so the logarithm is finite. */
double rex_rand_normal(rex_key k, rex_stream s, uint32_t pos, uint32_t sample, uint64_t id) {
    const rex_u32x4 r = named(k, s, pos, sample, id);
    const double radius = sqrt(-2.0 * rex_log(1.0 - unit(r.v[0], r.v[1])));
    return radius * rex_cos(6.283185307179586477 * unit(r.v[2], r.v[3]));
}

/* Lemire's multiplication, with the rejection that makes it exact; a rejected draw takes its
 * next words under a folded key, so that the name of the draw stays the caller's. */
uint64_t rex_rand_below(rex_key k, rex_stream s, uint32_t pos, uint32_t sample, uint64_t id,
                        uint64_t n) {
    __extension__ typedef unsigned __int128 u128;
    rex_assert(n > 0);
    const uint64_t bias = (0 - n) % n; /* 2^64 mod n */
    for (uint64_t again = 0;; again++) {
        const rex_u32x4 r = named(again ? rex_key_fold(k, again) : k, s, pos, sample, id);
        const uint64_t w[2] = {(uint64_t)r.v[0] << 32 | r.v[1], (uint64_t)r.v[2] << 32 | r.v[3]};
        for (int i = 0; i < 2; i++) {
            const u128 m = (u128)w[i] * n;
            if ((uint64_t)m >= bias) return (uint64_t)(m >> 64);
        }
    }
}

void rex_rand_perm(rex_key k, rex_stream s, uint64_t id, uint32_t *out, size_t n) {
    rex_assert(n <= UINT32_MAX);
    for (size_t i = 0; i < n; i++) {
        const size_t j = (size_t)rex_rand_below(k, s, (uint32_t)i, 0, id, i + 1);
        out[i] = out[j];
        out[j] = (uint32_t)i;
    }
}
