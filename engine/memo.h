/* SPDX-License-Identifier: MIT
 *
 * memo: a plan in which everything was up to date, remembered in the store, so that the next command on the same
 * specification need not make it again: reading, expanding, checking and looking up thousands of nodes takes many times
 * as long as finding that nothing has changed. A memo is believed only when
 *   - it is of this program, specification, folder, --set, --variant, --only, and processor (resolved parameters);
 *   - every file and environment variable that making the graph looked at, and every source, is as it was (watch);
 *   - the index has lost or changed no record and no blob since (epoch);
 *   - every blob of every node has its size and time (the check of store_get_record);
 *   - its own bytes pass their digest.
 * Anything else is a miss, and the plan is made. Memos may be deleted at any time. What rests on this: `infer` and `sources`
 * depend on parameters, inputs, and what they read through runtime/base (fs, watch), and on nothing else.
 */
#ifndef PKG_ENGINE_MEMO_H
#define PKG_ENGINE_MEMO_H

#include "engine/plan.h"
#include "runtime/base/watch.h"

struct memo {
    size_t n, n_all, n_edges;  /* nodes; nodes of all points and variants written out; edges */
    const char *file;          /* absolute path of the specification, as in the graph */
    const char *result;        /* id of a node whose output nobody takes; "" none */
    const char *text;          /* what the one who saved it wanted to say */
    struct digest keys;        /* plan_digest */
    struct memo_node { const char *id, *op; } *nodes;
    struct buf bytes;          /* the file, into which the strings point */
};

/* 0 and *out (memo_free), or ERR_NOTFOUND. dir: the store's folder. s: the store opened; NULL: the graph alone is asked for,
 * whatever has become of its results. */
int memo_find(const char *spec, const struct graph_options *o, const char *dir, struct store *s, struct memo **out);
void memo_free(struct memo *m);

/* Remembers the plan (all of whose nodes must be up to date or done; else, and when a file changed meanwhile, nothing happens).
 * w: the watch over the graph_load that made its graph; this adds the sources. ERR_NOTFOUND: nothing was remembered. */
int memo_save(const struct plan *p, const char *spec, const struct graph_options *o, struct watch *w, const char *text, struct err *e);

#endif
