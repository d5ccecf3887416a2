/* SPDX-License-Identifier: MIT
 *
 * vec.h: the vocabulary of the vector files, for the one instruction set that a file is being
 * compiled for. VEC(op) names this set's version of an operation; a vector file that implements one
 * is linked into that set's table at the bottom of cpu_vec.c.
 */
#ifndef REX_VEC_H
#define REX_VEC_H

#include "kern_impl.h"

#if defined(REX_VEC_AVX512)
#define VEC(op) rex_avx512_##op
#define VEC_NAME "avx512"
#define VEC_TABLE rex_kern_avx512
#elif defined(REX_VEC_AVX2)
#define VEC(op) rex_avx2_##op
#define VEC_NAME "avx2"
#define VEC_TABLE rex_kern_avx2
#elif defined(REX_VEC_NEON)
#define VEC(op) rex_neon_##op
#define VEC_NAME "neon"
#define VEC_TABLE rex_kern_neon
#endif

#define X(ret, op, args) ret VEC(op) args;
REX_KERN_OPS(X)
#undef X

extern const rex_kern VEC_TABLE;

#endif
