/* SPDX-License-Identifier: MIT
 *
 * plan_private: between plan.c, sources.c and the scheduler.
 */
#ifndef PKG_ENGINE_PLAN_PRIVATE_H
#define PKG_ENGINE_PLAN_PRIVATE_H

#include "engine/plan.h"

/* Replaces n->reason. 0 or ERR_NOMEM. */
int plan_set_reason(struct planned *n, struct err *e, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Asks every operator for its sources and digests them (read: those too that the stat cache does not know). A node whose
 * source cannot be read becomes NODE_BLOCKED with the reason. */
int plan_sources(struct plan *p, bool read, const struct progress *progress, struct err *e);

/* Over the keys of all nodes in order; false: one has none. */
bool plan_digest(const struct plan *p, struct digest *out);

double plan_cost_seconds(const struct op_cost *c);
/* Estimates that come from costs alone, made those of this machine where the operator has run on it. estimate.c */
void plan_scale(struct plan *p);

#endif
