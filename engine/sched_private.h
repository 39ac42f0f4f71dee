/* SPDX-License-Identifier: MIT
 *
 * sched_private: the state of one run, shared by sched.c (events, what becomes of nodes) and admit.c (who runs next, on
 * how much). Everything belongs to the loop thread but `news`, which pool threads write under the mutex, and `cancel`.
 */
#ifndef PKG_ENGINE_SCHED_PRIVATE_H
#define PKG_ENGINE_SCHED_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "engine/keymap.h"
#include "engine/runner.h"
#include "engine/sched.h"
#include "engine/share.h"
#include "runtime/exec/pool.h"

enum task_phase {
    TASK_WAIT,   /* for its inputs */
    TASK_FOLLOW, /* another node of this run computes its key */
    TASK_READY,  /* in the heap */
    TASK_REST,   /* failed, will be tried again */
    TASK_LOCKED, /* another process computes its key */
    TASK_RUNNING,
    TASK_STORING, /* has run; its record is not yet on the disk, but consumers may start */
    TASK_END,
};

struct warning {
    char *text;
    struct warning *next;
};

struct task {
    struct sched *s;
    size_t i;
    enum task_phase phase;
    size_t deps;          /* edges whose producer has not ended */
    double work;          /* seconds this node alone is thought to take */
    double path;          /* with what hangs on it: the longest remaining path */
    int follower;         /* first of the nodes that wait for this one's key, -1: none */
    int next;             /* next follower, or next in the list of locked tasks; -1 */
    bool light;           /* does next to nothing: needs no processor of the budget */
    char whom[192];       /* who computes its key elsewhere, as last said */
    int share;
    uint64_t mem;         /* reserved */
    struct store_lock *lock;
    const struct artifact **inputs;
    struct progress progress;
    struct runner_job job;
    int rc;
    bool fetched;         /* its record came from the remote cache */
    int attempt;          /* retries so far */
    double not_before;    /* of the next attempt, in seconds since the run began */
    double began;         /* this attempt */
    _Atomic bool timed_out;
    struct err err;
    struct {
        bool fresh;
        double done, total;
        const char *unit;
        struct warning *first, **last;
    } news;
};

struct sched {
    struct plan *plan;
    struct sched_options o;
    struct sched_result *result;
    struct pool *pool;
    struct task *tasks;
    size_t n, ended;
    size_t *consumer_at;  /* n + 1 offsets into consumers */
    size_t *consumers;
    size_t *heap, n_heap; /* ready tasks, longest path first */
    size_t *woken, n_woken; /* tasks whose inputs are known or whose key is computed, not yet looked at */
    size_t *skip, n_skip;   /* work list of skip_from */
    int locked;           /* list of tasks that wait for other processes, -1: none */
    size_t running;       /* admitted; those whose operator runs are in `active` */
    struct task *active[2 * POOL_MAX_THREADS];
    size_t n_active;
    struct share share;
    size_t *sends, n_sends, sent;     /* tasks whose record goes to the remote; the first `sent` are on their way or there */
    size_t sending;
    size_t *storing, n_storing;       /* tasks whose record waits to be put */
    size_t *committing, n_committing; /* those of the commit in flight */
    struct store_put *puts;           /* of the same */
    bool commit_due;                  /* a tick has passed */
    int commit_rc;
    struct err commit_err;
    int resting;          /* list of tasks that wait for their next attempt, -1: none */
    bool jobs_given;      /* by the user */
    size_t lights;        /* running light tasks */
    int cpus_used;
    uint64_t mem_used;
    uint64_t rss_begin;   /* what the process held before the first node */
    bool said_budget;
    struct keymap keys;
    pthread_mutex_t mutex;
    _Atomic bool cancel;
    bool interrupted;
    int64_t run;
    int first_rc;         /* of the first failure */
    struct err first;
};

enum { SCHED_SENDERS = 4 }; /* transfers to the remote cache at once */

/* sched_setup.c */
int sched_setup(struct sched *s, const struct pool_calls *calls, struct err *e); /* when it fails, too: */
void sched_teardown(struct sched *s);

/* admit.c */
void ready_push(struct sched *s, size_t i);
size_t ready_pop(struct sched *s);
void refuse_too_big(struct sched *s); /* fails the nodes that the budget cannot hold, before anything runs */
void admit(struct sched *s); /* starts what fits, and lends idle processors to what runs */

/* sched.c */
void task_start(struct sched *s, struct task *t);
void task_fail(struct sched *s, struct task *t, int rc, const struct err *why);

#endif
