/* SPDX-License-Identifier: MIT
 *
 * rank_pattern: ranks and alphas of single modules, as PEFT's rank_pattern and alpha_pattern: a map from the end of a module's path
 * ("down_proj", "layers.3.mlp.up_proj") to a number. Of several that fit the longest holds.
 */
#ifndef PKG_OPS_LIB_RANK_PATTERN_H
#define PKG_OPS_LIB_RANK_PATTERN_H

#include "engine/op.h"
#include "runtime/model/config.h"

int rank_of(const struct op_args *a, int layer, enum module m);     /* parameters r and rank_pattern */
double alpha_of(const struct op_args *a, int layer, enum module m); /* lora_alpha and alpha_pattern */

/* Plan time: values in range, and every key is the end of some target's path (`targets`: by module). Blames the parameter. */
int rank_pattern_check(struct op_infer *x, const struct model_config *c, const bool targets[MOD_COUNT], struct err *e);

#endif
