/* SPDX-License-Identifier: MIT
 *
 * The state of a run before its first and after its last node: tasks from the plan, who consumes what, the longest path
 * that hangs on each, the limits of the machine where the caller gave none, the pool.
 */
#include <stdlib.h>

#include "engine/budget.h"
#include "engine/sched_private.h"
#include "runtime/exec/par.h"

static const double light_seconds = 0.1;

static int index_consumers(struct sched *s)
{
    const struct graph *g = s->plan->graph;
    size_t edges = 0;
    for (size_t i = 0; i < g->n; i++)
        edges += g->nodes[i].n_edges;
    s->consumer_at = calloc(g->n + 2, sizeof *s->consumer_at);
    s->consumers = calloc(edges + 1, sizeof *s->consumers);
    if (!s->consumer_at || !s->consumers)
        return -1;
    for (size_t i = 0; i < g->n; i++)
        for (size_t k = 0; k < g->nodes[i].n_edges; k++)
            s->consumer_at[g->nodes[i].edges[k].from + 2]++;
    for (size_t i = 2; i < g->n + 2; i++)
        s->consumer_at[i] += s->consumer_at[i - 1];
    for (size_t i = 0; i < g->n; i++)
        for (size_t k = 0; k < g->nodes[i].n_edges; k++)
            s->consumers[s->consumer_at[g->nodes[i].edges[k].from + 1]++] = i;
    return 0;
}

static void init_tasks(struct sched *s)
{
    const struct graph *g = s->plan->graph;
    for (size_t k = g->n; k-- > 0;) { /* consumers come later in topological order */
        struct task *t = &s->tasks[k];
        struct planned *p = &s->plan->nodes[k];
        t->s = s;
        t->i = k;
        t->follower = t->next = -1;
        t->news.last = &t->news.first;
        t->deps = g->nodes[k].n_edges;
        t->work = p->seconds;
        t->light = (g->nodes[k].op->flags & OP_PURE_IO) || (p->seconds > 0 && p->seconds < light_seconds);
        for (size_t j = s->consumer_at[k]; j < s->consumer_at[k + 1]; j++)
            if (s->tasks[s->consumers[j]].path > t->path)
                t->path = s->tasks[s->consumers[j]].path;
        t->path += p->state == NODE_UPTODATE ? 0 : t->work + 1e-6;
    }
}

static void set_limits(struct sched *s)
{
    struct sched_options *o = &s->o;
    if (o->cpus <= 0)
        o->cpus = par_cpus();
    s->jobs_given = o->jobs > 0;
    if (o->jobs <= 0)
        o->jobs = o->cpus + 4;
    if (o->jobs > POOL_MAX_THREADS - 1) /* one thread stores */
        o->jobs = POOL_MAX_THREADS - 1;
    if (!o->mem)
        o->mem = budget_free();
    if (!o->mem)
        o->mem = UINT64_MAX;
    plan_fit(s->plan, o->mem);
}

int sched_setup(struct sched *s, const struct pool_calls *calls, struct err *e)
{
    s->n = s->plan->graph->n;
    s->locked = s->resting = -1;
    s->sends = calloc(s->n + 1, sizeof *s->sends);
    s->storing = calloc(s->n + 1, sizeof *s->storing);
    s->committing = calloc(s->n + 1, sizeof *s->committing);
    s->puts = calloc(s->n + 1, sizeof *s->puts);
    s->tasks = calloc(s->n + 1, sizeof *s->tasks);
    s->heap = calloc(s->n + 1, sizeof *s->heap);
    s->woken = calloc(2 * s->n + 1, sizeof *s->woken);
    s->skip = calloc(s->n + 1, sizeof *s->skip);
    if (!s->tasks || !s->heap || !s->woken || !s->skip || !s->sends || !s->storing || !s->committing || !s->puts || index_consumers(s) < 0 || keymap_init(&s->keys, s->n) != 0)
        return err_nomem(e, s->n * sizeof *s->tasks, "the schedule");
    init_tasks(s);
    set_limits(s);
    int rc = share_open(&s->share, s->plan->store, e);
    return rc == 0 ? pool_new(s->o.jobs + 1 + (s->share.remote ? SCHED_SENDERS : 0), calls, &s->pool, e) : rc;
}

void sched_teardown(struct sched *s)
{
    pool_free(s->pool);
    for (size_t i = 0; s->tasks && i < s->n; i++) {
        store_unlock(s->tasks[i].lock);
        free(s->tasks[i].inputs);
    }
    keymap_release(&s->keys);
    free(s->consumer_at);
    free(s->consumers);
    free(s->heap);
    free(s->woken);
    free(s->skip);
    share_close(&s->share);
    free(s->sends);
    free(s->storing);
    free(s->committing);
    free(s->puts);
    free(s->tasks);
    pthread_mutex_destroy(&s->mutex);
}
