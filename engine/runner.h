/* SPDX-License-Identifier: MIT
 *
 * runner: one node's run, from its scratch folder to its record: calls the operator, digests what it wrote and moves it into
 * the store; the record, which makes it last, the scheduler puts. Runs on a pool thread; the scheduler holds the lock of the key. The run-time half of
 * engine/op.h (op_in_file and its like) is here.
 *
 * Measured: wall time. Processor time: of the whole process when no other node ran beside this one; else of the pool
 * thread when its share is one thread, and of the pool thread times its share, at most that of the process, when it is
 * more (an estimate, too high where the team idled). Peak memory: as the growth of the
 * process's own resident memory (mapped files left out) since the node began, sampled by the scheduler ten times a second
 * and here at the end. Of nodes that run side by side each is charged the growth of all.
 */
#ifndef PKG_ENGINE_RUNNER_H
#define PKG_ENGINE_RUNNER_H

#include <stdatomic.h>

#include "engine/plan.h"

struct runner_job {
    const struct node *node;
    const struct planned *planned;       /* key, expanded key, sources */
    struct store *store;
    const struct artifact *const *inputs; /* in edge order */
    int threads;                         /* what it was admitted with */
    _Atomic int team;                    /* what it has now: the scheduler lends more and takes it back */
    _Atomic int most_team;               /* the most it has had */
    uint64_t memory;                     /* what it may use, at least what it declared */
    _Atomic bool asked;                  /* the operator asked how much that is, and may use it all */
    const struct progress *progress;
    _Atomic uint64_t rss_peak;           /* the scheduler raises it */
    _Atomic uint64_t rss_begin;
    _Atomic bool shared;                 /* another node ran at the same time; set by the scheduler */
    /* results */
    double wall, cpu;
    uint64_t peak_memory, bytes_read, bytes_written;
    struct record *record;               /* on success; the caller's, who puts it into the store */
};

int runner_run(struct runner_job *job, struct err *e);

#endif
