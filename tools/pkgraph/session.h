/* SPDX-License-Identifier: MIT
 *
 * session: what most commands begin with: the spec read and checked, the store opened, the plan made, with every problem
 * told on standard error. Also names: NODE[.PORT] as a person types it.
 */
#ifndef PKG_TOOLS_SESSION_H
#define PKG_TOOLS_SESSION_H

#include "engine/graph.h"
#include "engine/memo.h"
#include "engine/plan.h"
#include "runtime/store/store.h"
#include "tools/pkgraph/cli.h"

enum {
    SESSION_STORE = 1,        /* open the store, making it if need be */
    SESSION_STORE_IF_THERE = 2, /* open the store when its folder exists; else no store and no plan */
    SESSION_PLAN = 4,         /* make the plan (needs a store) */
    SESSION_READ = 8,         /* digest the source files that the store does not know yet */
    SESSION_QUIET = 16,       /* no progress line while files are digested */
    SESSION_MEMO = 64,        /* be content with a memo when everything is as it was (needs a store; SESSION_PLAN: up to date, too) */
    SESSION_SPEED = 128,      /* measure this machine for the estimates, unless the store knows it */
    SESSION_NO_INFER = 32,    /* when the spec does not pass its checks, load its shape alone (viz) */
};

struct session {
    struct diags *diags;
    struct graph *graph;
    struct store *store;
    struct plan *plan;
    struct memo *memo;  /* SESSION_MEMO, and one stands: then there is no graph and no plan */
    struct watch watch; /* over the making of the graph */
    bool broken; /* SESSION_NO_INFER was needed */
    const char *folder; /* of `inspect`: the files of an artifact lie here under their names, and there is neither plan nor store */
};

/* The spec is a->pos[0]; options set, variant, only, force and store are honoured where the command has them.
 * Returns STATUS_DONE, or the status with which the command ends (told already). Always session_close after. */
int session_open(struct session *s, const struct args *a, unsigned what);
int session_plan(struct session *s, const struct args *a, bool read_sources); /* makes the plan anew */
void session_close(struct session *s);
/* The same for a command at its end: closes the store and leaves graph and plan, which must be static, to the end of the process: to
 * take 10,000 nodes apart costs a fifth of planning them. */
void session_leave(struct session *s);

/* Has the plan remembered for the next SESSION_MEMO, when all of it is up to date or done. Says nothing. */
void session_remember(struct session *s, const struct args *a);

/* NODE or NODE.PORT (node ids may hold dots). STATUS_DONE, or STATUS_USAGE with the nearest names told. */
int session_find(const struct session *s, const char *text, size_t *node, int *port);

/* The stored artifact at the port, reading the sources if the plan could not know the key otherwise. STATUS_FAILED with
 * the remedy told when the node has not run. *out lives as long as the plan. */
int session_artifact(struct session *s, const struct args *a, size_t node, int port, const struct artifact **out);
/* The same without words: NULL when there is none. Follows nodes that share a key. */
const struct artifact *plan_artifact(const struct plan *p, size_t node, int port);

/* A readable path of a file of an artifact; NULL, told, when it is not there. free() it. */
char *session_file(const struct session *s, const struct artifact *a, const char *name);

/* For model_open: u is a struct resolver. */
struct resolver {
    struct store *store;
    char **paths;
    size_t n;
};
int resolver_find(void *u, const char *digest_hex, const char **path, struct err *e);
void resolver_release(struct resolver *r);

const char *store_folder(const struct args *a); /* --store, $PKGRAPH_STORE, ".pkgraph" */

#endif
