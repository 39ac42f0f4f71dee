/* SPDX-License-Identifier: MIT
 *
 * pool: the loop and worker threads of a run; the one wrapper of libuv. A pool belongs to one thread, the loop thread,
 * which calls everything below except pool_wake. libuv's workers serve all pools of a process; their number is fixed by
 * the first (UV_THREADPOOL_SIZE if the user set it, else what pool_new asks for, at most 128).
 */
#ifndef PKG_EXEC_POOL_H
#define PKG_EXEC_POOL_H

#include "runtime/base/err.h"

struct pool;

enum { POOL_MAX_THREADS = 128 };

struct pool_calls {
    void *u;
    void (*tick)(void *u);              /* every tick_ms milliseconds */
    void (*woken)(void *u);             /* after pool_wake, on the loop thread; several calls may become one */
    void (*interrupted)(void *u, int signal, int times); /* SIGINT or SIGTERM; times: 1, 2, ... */
    int tick_ms;
};

int pool_new(int threads, const struct pool_calls *c, struct pool **out, struct err *e); /* takes over SIGINT and SIGTERM */
void pool_free(struct pool *p); /* after pool_run; gives the signals back */

/* work(u) on a worker thread, then done(u) on the loop thread. */
int pool_submit(struct pool *p, void (*work)(void *u), void (*done)(void *u), void *u, struct err *e);
void pool_run(struct pool *p);  /* until pool_stop was called and all submitted work is done */
void pool_stop(struct pool *p);
void pool_wake(struct pool *p); /* from any thread, while pool_run runs */
double pool_now(const struct pool *p); /* seconds since pool_new, monotonic; any thread */

double pool_thread_seconds(void);  /* processor time of the calling thread */
double pool_process_seconds(void); /* of all threads of the process */

const char *pool_library_version(void); /* of libuv */

#endif
