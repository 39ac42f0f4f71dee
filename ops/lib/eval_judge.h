/* SPDX-License-Identifier: MIT
 *
 * eval_judge: task alpaca of eval with a judge behind an endpoint (judge.h): what its parameters are, and the win rate.
 */
#ifndef PKG_OPS_LIB_EVAL_JUDGE_H
#define PKG_OPS_LIB_EVAL_JUDGE_H

#include "ops/lib/alpaca.h"
#include "ops/lib/evaluation.h"

/* Plan time: the judge's parameters fit each other. Blames the parameter. */
int eval_judge_check(struct op_infer *x, struct err *e);
bool eval_judge_both(const struct op_args *a); /* judge_order: both */
/* Asks about every output and writes annotations.json. */
int eval_judge(struct evaluation *v, const struct questions *q, struct metrics *m, struct alpaca_judged *out, struct err *e);

#endif
