/* SPDX-License-Identifier: MIT
 *
 * cpu_vec.c: the table of one instruction set. What stands in no slot is inherited from ref.
 */
#include "vec.h"

const rex_kern VEC_TABLE = {
    .rmsnorm_bwd = VEC(rmsnorm_bwd),
    .rmsnorm_dw = VEC(rmsnorm_dw),
    .col_sum = VEC(col_sum),
    .gate_bwd = VEC(gate_bwd),
    .embed_bwd = VEC(embed_bwd),
    .xent_bwd = VEC(xent_bwd),
    .adamw = VEC(adamw),
    .pack = VEC(pack),
    .attn = VEC(attn),
    .attn_bwd = VEC(attn_bwd),
    .kv_put = VEC(kv_put),
    .gemm = VEC(gemm),
    .dot = VEC(dot),
    .sumsq = VEC(sumsq),
    .dotd = VEC(dotd),
    .axpyd = VEC(axpyd),
    .gemvd = VEC(gemvd),
    .gerd = VEC(gerd),
    .add = VEC(add),
    .axpy = VEC(axpy),
    .scale = VEC(scale),
    .round_bf16 = VEC(round_bf16),
    .cast_to = VEC(cast_to),
    .cast_from = VEC(cast_from),
    .embed = VEC(embed),
    .rmsnorm = VEC(rmsnorm),
    .rope = VEC(rope),
    .gate = VEC(gate),
    .softmax = VEC(softmax),
    .lse_tile = VEC(lse_tile),
    .lse = VEC(lse),
    .argmax = VEC(argmax),
    .name = VEC_NAME,
    .bf16_note = "emulated",
};
