/* SPDX-License-Identifier: MIT
 *
 * rl: from scored samples to new weights. The registry of advantages is public (repexp.h); what the
 * files of this room share stands here.
 */
#ifndef REX_RL_H
#define REX_RL_H

#include "../base/base.h"

/* One prompt's share of an advantage: rewards in the order of the samples. */
typedef struct {
    const double *r; /* alpha * reward + beta * bonus, or the verifier's own for binary kinds */
    double *adv;
    size_t n;
    int64_t k;
} rex_adv_group;

/* PKPO's s, s_loo and s_loo1 and the general Pass@k advantage; `order` and `tmp` have room for n,
 * `w` for 2 n. O(n log n). k as rex_advantage_run has checked it. */
void rex_adv_pkpo(rex_adv_group g, rex_adv_kind kind, uint32_t *order, uint32_t *tmp, double *w);

#endif
