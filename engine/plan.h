/* SPDX-License-Identifier: MIT
 *
 * plan: what a run would do. Digests the sources (or looks them up), computes keys in topological order as far as they
 * can be known, and asks the store. Early cutoff: a node downstream of something that will run has no key yet.
 */
#ifndef PKG_ENGINE_PLAN_H
#define PKG_ENGINE_PLAN_H

#include "engine/graph.h"
#include "runtime/store/store.h"

enum node_state {
    NODE_PENDING,    /* not decided: something upstream will run (shown as "to run, if ... changes") */
    NODE_RUN,        /* will run: no record under its key */
    NODE_UPTODATE,   /* record found, nothing to do */
    NODE_RESTORE,    /* the remote cache has it (plan_restore alone says so) */
    NODE_BLOCKED,    /* cannot run (source missing) */
    NODE_RUNNING, NODE_DONE, NODE_FAILED, NODE_SKIPPED, /* during and after a run */
};
const char *node_state_name(enum node_state s); /* "pending", "to run", "up to date", "to restore", "blocked", "running", "done", "failed", "skipped" */

struct planned {
    enum node_state state;
    bool keyed;
    struct digest key;
    struct js *expanded;   /* the expanded key: of nodes to run, of others when plan_expanded was asked; NULL else */
    struct record *record; /* when up to date or done */
    char *reason;          /* "never run", "learning_rate 0.0003 -> 0.001", "input lora changed", "lora runs first" */
    int same_as;           /* another node with the same key that computes it, -1: none */
    bool forced;           /* runs whatever the store holds */
    struct op_cost cost;
    const char *how_less;  /* the way that plan_fit chose for this node to need less memory; NULL: the usual one */
    double seconds;        /* estimate: history of equal work, else cost; 0 unknown */
    size_t n_sources;
    struct plan_source { char *label, *path; bool known; struct digest digest; } *sources;
};

struct plan {
    const struct graph *graph;
    struct store *store;
    struct planned *nodes; /* one a graph node */
    size_t n_run, n_pending, n_uptodate, n_restore, n_blocked, n_shared;
    double seconds;
    uint64_t peak_memory;
    bool seen;             /* all up to date, and so the last run left it a short time ago: nothing is to be written */
};

/* `read_sources`: digest files that the stat cache does not know (run); else nodes with unknown sources are NODE_RUN with
 * the reason "source not read yet" (plan, viz, show). Reports file digesting through p. force: node ids or base names that
 * run in any case. */
int plan_make(const struct graph *g, struct store *s, bool read_sources, const char *const *force, size_t n_force,
              const struct progress *p, struct plan **out, struct err *e);
/* Asks the remote cache for what the store lacks, and goes on from what it has: to show, not to run. A remote that cannot be
 * reached costs one warning. */
struct share;
int plan_restore(struct plan *p, struct share *s, const struct progress *progress, struct err *e);
/* Large products of f32 and of bf16 reach so many operations a second on this machine with all processors: estimates from costs go by
 * it. Before plan_make, on one thread. */
void plan_machine(double f32, double bf16);
void plan_free(struct plan *p);

/* Chooses how nodes that need more than `mem` bytes can do with less, where their operators know a way (struct op_less): their peak_memory
 * and that of the plan become what is needed then. Once. */
void plan_fit(struct plan *p, uint64_t mem);

/* The artifact that node i gives at an output port (from its record), NULL: none yet, or not produced. */
const struct artifact *plan_output(const struct plan *p, size_t i, int port);

const struct js *plan_expanded(struct plan *p, size_t i); /* made when asked for; NULL: no key, or out of memory. One thread */
/* Computes key and expanded key of node i whose input artifacts are known (in edge order). */
int plan_key(struct plan *p, size_t i, const struct artifact *const *inputs, struct err *e);
/* Why the keyed node i has to run, against its last run in the history: malloc'ed, NULL when out of memory. `gone`: what
 * store_get_record said. */
char *plan_reason(struct plan *p, size_t i, const char *gone);

#endif
