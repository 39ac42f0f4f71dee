/* SPDX-License-Identifier: MIT
 *
 * ui: what a person sees while a plan runs. On a terminal one line per running node (bar, share, rate, time left, memory) is
 * redrawn below the lines of what is finished; in a pipe plain lines come at the start, at most every few seconds, and
 * at the end of a node. Also writes the events as JSON lines and the timeline as a Chrome trace. All calls come from the
 * scheduler's loop thread.
 */
#ifndef PKG_TOOLS_UI_H
#define PKG_TOOLS_UI_H

#include "engine/sched.h"

struct ui;

/* events, trace: paths or NULL. */
int ui_new(const struct plan *p, bool quiet, const char *events, const char *trace, struct ui **out, struct err *e);
void ui_event(void *ui, const struct sched_event *ev); /* fits sched_options.event */
double ui_cpu_seconds(const struct ui *u);             /* of the nodes that are done */
int ui_finish(struct ui *u, struct err *e);            /* clears the running lines, closes the files, frees */

#endif
