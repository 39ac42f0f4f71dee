/* SPDX-License-Identifier: MIT
 *
 * share: a run's use of the remote cache ($PKGRAPH_REMOTE): asked before a node runs, told after it was stored. Whatever
 * goes wrong costs one warning: what cannot be reached is not asked again in this run, what is full is not sent to again,
 * what lies counts as a miss. Pool threads; the warning goes to the progress given.
 */
#ifndef PKG_ENGINE_SHARE_H
#define PKG_ENGINE_SHARE_H

#include <stdatomic.h>

#include "engine/plan.h"
#include "runtime/exec/progress.h"
#include "runtime/store/remote.h"

struct share {
    struct store *store;
    struct remote *remote; /* NULL: none */
    _Atomic bool away, full;
};

int share_open(struct share *s, struct store *store, struct err *e); /* ERR_INPUT: the address is not one */
void share_close(struct share *s);
bool share_sends(const struct share *s);
/* The record of the node, its files in the store; NULL: it has to run. */
struct record *share_fetch(struct share *s, const struct node *n, const struct planned *p, const struct progress *progress);
/* The same, its files only asked for: what share_fetch would find. */
struct record *share_look(struct share *s, const struct node *n, const struct planned *p, const struct progress *progress);
void share_send(struct share *s, const struct record *r, const struct progress *progress);

#endif
