/* SPDX-License-Identifier: MIT
 *
 * metrics: every metrics artifact of a plan in one table: a row for each evaluated model (with its adapter), a column
 * for each metric. Shares are printed in per cent with two decimals, losses as they are; +- is the standard error.
 */
#ifndef PKG_TOOLS_METRICS_H
#define PKG_TOOLS_METRICS_H

#include <stdbool.h>
#include <stdio.h>

#include "engine/plan.h"

struct js;

/* Prints the table (and nothing when there are no metrics). Returns the number of rows. */
size_t metrics_print(const struct plan *p, FILE *f);
/* [{"node", "model", "adapter", "task", "metrics", "stderr", ...}] */
struct js *metrics_json(const struct plan *p);
/* metrics.json of one artifact; NULL when it cannot be read. js_free. */
struct js *metrics_read(const struct plan *p, const struct artifact *a);
/* "95.57" or "0.0781", with "+- x" when there is a standard error (NaN: none). */
enum { METRIC_MAX = 64 };
char *metric_text(char out[METRIC_MAX], const char *name, double value, double error);

#endif
