/* SPDX-License-Identifier: MIT
 *
 * sched: carries out a plan on a libuv pool. Only the loop thread (the caller's) writes graph state; nodes run on pool
 * threads. A node is admitted when its share of processors and its declared memory fit the budget.
 */
#ifndef PKG_ENGINE_SCHED_H
#define PKG_ENGINE_SCHED_H

#include "engine/plan.h"

struct sched_event {
    enum { EVENT_START, EVENT_PROGRESS, EVENT_WARNING, EVENT_DONE, EVENT_UPTODATE, EVENT_FAILED, EVENT_SKIPPED, EVENT_WAITING, EVENT_TICK } kind;
    size_t node;          /* graph index */
    double now;           /* seconds since the run began */
    double done, total;   /* EVENT_PROGRESS */
    const char *unit;
    const char *text;     /* warning, failure message, whom it waits for */
    double wall, cpu;     /* EVENT_DONE */
    uint64_t peak_memory; /* EVENT_DONE; EVENT_PROGRESS: so far */
    uint64_t bytes_read, bytes_written;
    int threads;          /* EVENT_START: its share of processors; EVENT_DONE: the most it had */
};

enum { SCHED_RETRIES = 3 };

struct sched_options {
    int jobs;                /* nodes at once; 0: as the budget allows */
    int cpus;                /* 0: par_cpus() */
    uint64_t mem;            /* bytes; 0: what the machine and cgroup have free */
    bool keep_going;
    double timeout;          /* seconds that one node may run; 0: no limit */
    int retries;             /* of operators that say they can be retried; 0: SCHED_RETRIES, negative: none */
    void (*event)(void *u, const struct sched_event *ev); /* on the loop thread; may be NULL. EVENT_TICK ten times a second */
    void *u;
    const char *command;     /* for the history; NULL: "run" */
};

struct sched_result {
    size_t ran, uptodate, failed, skipped;
    bool cancelled;
    int64_t run;             /* its number in the history; 0: none */
};

/* Carries out the plan, writes the run into the history, and leaves states and records in p->nodes (NODE_DONE ran now,
 * NODE_UPTODATE found, also when another process or a node with the same key made it meanwhile).
 * 0 when every node is done; ERR_CANCELLED; else the code of the first failure with its message in e (place included).
 * SIGINT and SIGTERM cancel: running nodes stop at their next poll; a second one ends the process at once. */
int sched_run(struct plan *p, const struct sched_options *o, struct sched_result *out, struct err *e);

#endif
