/* SPDX-License-Identifier: MIT
 *
 * journal: what long work has already found out, a JSON object a line, in a folder that survives a kill
 * (op_checkpoint_dir). The first line says what the others belong to; another first line, or none, and the journal begins anew. A
 * line that a kill cut short is dropped together with what follows it. Lines reach the kernel at once, and the disk every few seconds.
 */
#ifndef PKG_OPS_LIB_JOURNAL_H
#define PKG_OPS_LIB_JOURNAL_H

#include "engine/op.h"

struct journal;

/* Opens NAME in the node's checkpoint folder. `head` (taken over) is compared with the first line; each(u, line) gets every later
 * one, in order, and returns false for one that makes no sense: it is dropped with all that follow. One thread at a time. */
typedef bool journal_each(void *u, const struct js *line);
int journal_open(struct op_run *r, const char *name, struct js *head, journal_each *each, void *u, struct journal **out, struct err *e);
/* Appends a line (taken over; NULL is ERR_NOMEM). */
int journal_add(struct journal *j, struct js *line, struct err *e);
void journal_close(struct journal *j); /* NULL is fine */

#endif
