/* SPDX-License-Identifier: MIT
 *
 * quant.h: the block-quantised types of GGUF, for tensor.c alone.
 */
#ifndef REX_QUANT_H
#define REX_QUANT_H

#include "formats.h"

/* n elements (a multiple of the type's block) of a quantised wide type. */
void rex_quant_widen(rex_dtype t, const uint8_t *src, int64_t n, float *out);
/* n a multiple of 32. */
void rex_quant_pack_q8_0(const float *src, int64_t n, uint8_t *dst);

#endif
