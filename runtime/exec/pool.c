/* SPDX-License-Identifier: MIT */
#include "runtime/exec/pool.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <uv.h>

struct pool {
    uv_loop_t loop;
    uv_timer_t timer;
    uv_async_t async;
    uv_signal_t signals[2];
    struct pool_calls calls;
    int interrupts;
    size_t jobs;
    bool stopping;
    uint64_t began;
};

struct job {
    uv_work_t work;
    struct pool *pool;
    void (*run)(void *u);
    void (*done)(void *u);
    void *u;
};

static void on_tick(uv_timer_t *t)
{
    struct pool *p = t->data;
    p->calls.tick(p->calls.u);
}

static void on_wake(uv_async_t *a)
{
    struct pool *p = a->data;
    if (p->calls.woken)
        p->calls.woken(p->calls.u);
}

static void on_signal(uv_signal_t *s, int number)
{
    struct pool *p = s->data;
    p->interrupts++;
    if (p->calls.interrupted)
        p->calls.interrupted(p->calls.u, number, p->interrupts);
}

/* libuv reads the variable when its first work is queued. */
static void size_workers(int threads)
{
    char z[16];
    if (threads < 4)
        threads = 4;
    snprintf(z, sizeof z, "%d", threads < POOL_MAX_THREADS ? threads : POOL_MAX_THREADS);
    setenv("UV_THREADPOOL_SIZE", z, 0);
}

int pool_new(int threads, const struct pool_calls *c, struct pool **out, struct err *e)
{
    static const int numbers[2] = {SIGINT, SIGTERM};
    struct pool *p = calloc(1, sizeof *p);
    if (!p)
        return err_nomem(e, sizeof *p, "the pool");
    size_workers(threads);
    p->calls = *c;
    p->began = uv_hrtime();
    int rc = uv_loop_init(&p->loop);
    if (rc < 0) {
        free(p);
        return err_set(e, ERR_INTERNAL, "event loop: %s", uv_strerror(rc));
    }
    uv_timer_init(&p->loop, &p->timer);
    rc = uv_async_init(&p->loop, &p->async, on_wake);
    p->timer.data = p->async.data = p;
    for (int i = 0; i < 2; i++) {
        uv_signal_init(&p->loop, &p->signals[i]);
        p->signals[i].data = p;
        if (rc == 0)
            rc = uv_signal_start(&p->signals[i], on_signal, numbers[i]);
    }
    if (rc == 0 && c->tick)
        rc = uv_timer_start(&p->timer, on_tick, (uint64_t)c->tick_ms, (uint64_t)c->tick_ms);
    *out = p;
    if (rc < 0) {
        err_set(e, ERR_INTERNAL, "event loop: %s", uv_strerror(rc));
        pool_free(p);
        *out = NULL;
        return ERR_INTERNAL;
    }
    return 0;
}

static void close_one(uv_handle_t *h, void *u)
{
    (void)u;
    if (!uv_is_closing(h))
        uv_close(h, NULL);
}

void pool_free(struct pool *p)
{
    if (!p)
        return;
    uv_walk(&p->loop, close_one, NULL);
    do /* the first call may only take back an earlier uv_stop */
        uv_run(&p->loop, UV_RUN_DEFAULT);
    while (uv_loop_close(&p->loop) == UV_EBUSY);
    free(p);
}

static void run_job(uv_work_t *w)
{
    struct job *j = w->data;
    j->run(j->u);
}

static void end_job(uv_work_t *w, int status)
{
    struct job *j = w->data;
    struct pool *p = j->pool;
    (void)status; /* work is never cancelled through libuv */
    p->jobs--;
    j->done(j->u);
    free(j);
    if (p->stopping && p->jobs == 0)
        uv_stop(&p->loop);
}

int pool_submit(struct pool *p, void (*work)(void *u), void (*done)(void *u), void *u, struct err *e)
{
    struct job *j = calloc(1, sizeof *j);
    if (!j)
        return err_nomem(e, sizeof *j, "a job");
    *j = (struct job){.pool = p, .run = work, .done = done, .u = u};
    j->work.data = j;
    int rc = uv_queue_work(&p->loop, &j->work, run_job, end_job);
    if (rc < 0) {
        free(j);
        return err_set(e, ERR_INTERNAL, "worker pool: %s", uv_strerror(rc));
    }
    p->jobs++;
    return 0;
}

void pool_run(struct pool *p)
{
    if (!p->stopping || p->jobs)
        uv_run(&p->loop, UV_RUN_DEFAULT);
}

void pool_stop(struct pool *p)
{
    p->stopping = true;
    if (p->jobs == 0)
        uv_stop(&p->loop);
}

void pool_wake(struct pool *p)
{
    uv_async_send(&p->async);
}

double pool_now(const struct pool *p)
{
    return (double)(uv_hrtime() - p->began) / 1e9;
}

static double clock_seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

double pool_thread_seconds(void)
{
    return clock_seconds(CLOCK_THREAD_CPUTIME_ID);
}

double pool_process_seconds(void)
{
    return clock_seconds(CLOCK_PROCESS_CPUTIME_ID);
}

const char *pool_library_version(void)
{
    return uv_version_string();
}
