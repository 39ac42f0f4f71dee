/* SPDX-License-Identifier: MIT
 *
 * published: the results of the papers (arXiv 2310.11451) beside one's own, for the tasks with a published protocol.
 */
#ifndef PKG_TOOLS_PUBLISHED_H
#define PKG_TOOLS_PUBLISHED_H

#include <stdio.h>

struct js;

/* A table of the published rows for the task and number of shots of a metrics.json; nothing for other tasks. */
void published_print(const struct js *metrics, FILE *f);

#endif
