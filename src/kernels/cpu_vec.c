/* SPDX-License-Identifier: MIT
 *
 * cpu_vec.c: the table of one instruction set. What stands in no slot is inherited from ref.
 */
#include "vec.h"

const rex_kern VEC_TABLE = {
    .gemm = VEC(gemm),
    .name = VEC_NAME,
    .bf16_note = "emulated",
};
