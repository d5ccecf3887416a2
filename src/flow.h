/* SPDX-License-Identifier: MIT
 *
 * flow.h: everything that crosses a room border while a batch walks through the house. Plain data,
 * one owner: the arena of the step. Types and hook types only, no functions.
 */
#ifndef REX_FLOW_H
#define REX_FLOW_H

#include "base/base.h"

/* A hidden row of one sequence at one position, offered by the engine while it runs. */
typedef void (*rex_row_hook)(void *ud, uint32_t seq, int32_t pos, const float *row, int64_t n);
/* The logits of one sequence before sampling; may be bent. */
typedef void (*rex_logit_hook)(void *ud, uint32_t seq, int32_t pos, float *logit, int64_t n);

#endif
