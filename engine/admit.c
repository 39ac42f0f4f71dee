/* SPDX-License-Identifier: MIT
 *
 * Admission: which ready nodes start now and on how many processors. Candidates are taken by longest remaining path.
 * Free processors are divided among them in proportion to the work each is thought to be (equally when unknown), at
 * least one each; a node for which none is left waits. So two long trainings share a machine, while a long one beside a
 * short one gets it nearly whole, and the node that is alone gets all. What is idle after that is lent (lend).
 */
#include <stdlib.h>

#include "engine/budget.h"
#include "engine/plan_private.h"
#include "engine/sched_private.h"
#include "runtime/exec/pool.h"

enum { LOOK = 32 /* candidates that do not fit the memory are passed over up to this many */, LIGHTS = 4, QUEUED = 32 /* light tasks handed to the pool ahead of time, so that its threads need not wait for the loop */ };
static const uint64_t small_memory = (uint64_t)64 << 20; /* of a node that declares nothing */

static bool before(const struct sched *s, size_t a, size_t b)
{
    double pa = s->tasks[a].path, pb = s->tasks[b].path;
    return pa != pb ? pa > pb : a < b;
}

void ready_push(struct sched *s, size_t i)
{
    size_t k = s->n_heap++;
    while (k && before(s, i, s->heap[(k - 1) / 2])) {
        s->heap[k] = s->heap[(k - 1) / 2];
        k = (k - 1) / 2;
    }
    s->heap[k] = i;
    s->tasks[i].phase = TASK_READY;
}

size_t ready_pop(struct sched *s)
{
    size_t top = s->heap[0], last = s->heap[--s->n_heap], k = 0;
    for (;;) {
        size_t c = 2 * k + 1;
        if (c >= s->n_heap)
            break;
        if (c + 1 < s->n_heap && before(s, s->heap[c + 1], s->heap[c]))
            c++;
        if (!before(s, s->heap[c], last))
            break;
        s->heap[k] = s->heap[c];
        k = c;
    }
    s->heap[k] = last;
    return top;
}

static uint64_t declared(const struct sched *s, const struct task *t)
{
    uint64_t m = s->plan->nodes[t->i].cost.peak_memory;
    return m ? m : small_memory < s->o.mem ? small_memory : s->o.mem;
}

/* Parameters by which a user can make a node smaller, of those that this operator has. */
static void name_remedies(struct buf *b, const struct op *op)
{
    static const char *const names[] = {"max_length", "per_device_train_batch_size", "batch_tokens", "dtype", "modules", "r"};
    bool any = false;
    for (size_t k = 0; k < sizeof names / sizeof *names; k++)
        for (const struct param_def *d = op->params; d && d->name; d++)
            if (str_is(str_of(d->name), names[k])) {
                buf_printf(b, "%s%s", any ? ", " : "; or a smaller ", names[k]);
                any = true;
            }
}

/* What it takes at least, in the way that needs least. */
static uint64_t least_memory(const struct sched *s, const struct task *t)
{
    const struct op_cost *c = &s->plan->nodes[t->i].cost;
    uint64_t least = declared(s, t);
    for (int k = 0; k < OP_LESS_MAX && c->less[k].memory; k++)
        least = c->less[k].memory < least ? c->less[k].memory : least;
    return least;
}

static void fail_too_big(struct sched *s, struct task *t)
{
    struct buf b = {0};
    struct err e;
    buf_puts(&b, "needs ");
    budget_text(&b, least_memory(s, t));
    buf_puts(&b, " of memory, the budget is ");
    budget_text(&b, s->o.mem);
    buf_puts(&b, "; give more with --mem");
    name_remedies(&b, s->plan->graph->nodes[t->i].op);
    err_set(&e, ERR_NOMEM, "%s", b.p ? b.p : "needs more memory than the budget");
    buf_release(&b);
    task_fail(s, t, ERR_NOMEM, &e);
}

void refuse_too_big(struct sched *s)
{
    for (size_t i = 0; i < s->n; i++) {
        struct task *t = &s->tasks[i];
        enum node_state state = s->plan->nodes[i].state;
        bool will = state == NODE_RUN || (state == NODE_PENDING && !s->share.remote); /* a remote cache may have it */
        if (will && s->plan->nodes[i].same_as < 0 && t->phase == TASK_WAIT && declared(s, t) > s->o.mem)
            fail_too_big(s, t);
    }
}

static int most_threads(const struct sched *s, const struct task *t)
{
    int m = s->plan->nodes[t->i].cost.max_threads;
    return m > 0 && m < s->o.cpus ? m : s->o.cpus;
}

/* What the node may use: what it declared, or its part of the budget when that is more and free. Light ones, of which many run, have a
 * small part: what they declare rests on guesses too (the length of rows that are not there yet). */
static uint64_t memory_of(const struct sched *s, const struct task *t)
{
    uint64_t want = declared(s, t), left = s->o.mem - s->mem_used;
    uint64_t part = t->light ? s->o.mem / (2 * QUEUED) : s->o.mem / (uint64_t)s->o.cpus * (uint64_t)(t->share ? t->share : 1);
    if (part > want)
        want = part < left ? part : left;
    return want > declared(s, t) ? want : declared(s, t);
}

static void launch(struct sched *s, struct task *t)
{
    t->mem = memory_of(s, t);
    s->mem_used += t->mem;
    s->cpus_used += t->light ? 0 : t->share;
    s->lights += t->light;
    s->running++;
    task_start(s, t);
}

/* Divides `free` processors among n candidates; those that get none go back. */
static void divide(struct sched *s, struct task **c, size_t n, int free)
{
    double sum = 0;
    bool known = true;
    for (size_t k = 0; k < n; k++) {
        known = known && c[k]->work > 0;
        sum += c[k]->work;
    }
    for (size_t k = 0; k < n; k++) {
        double part = known && sum > 0 ? c[k]->work / sum : 1.0 / (double)(n - k);
        int share = (int)(free * part + 0.5), most = most_threads(s, c[k]);
        sum -= c[k]->work;
        share = share < 1 ? 1 : share > most ? most : share;
        c[k]->share = share < free ? share : free;
        free -= c[k]->share;
    }
    for (size_t k = 0; k < n && free > 0; k++) { /* what caps left over */
        int more = most_threads(s, c[k]) - c[k]->share;
        more = more < free ? more : free;
        c[k]->share += more;
        free -= more;
    }
    for (size_t k = 0; k < n; k++) {
        if (c[k]->share > 0 && declared(s, c[k]) <= s->o.mem - s->mem_used)
            launch(s, c[k]);
        else
            ready_push(s, c[k]->i);
    }
}

/* Unless the user gave a number, light tasks do not count: the pool's threads bound how many of them run. */
static size_t at_once(const struct sched *s)
{
    return s->jobs_given ? s->running : s->running - s->lights;
}

/* Light tasks start beside whatever runs. */
static bool start_light(struct sched *s, struct task *t)
{
    if (!t->light || s->lights >= (s->jobs_given ? LIGHTS : QUEUED) || declared(s, t) > s->o.mem - s->mem_used)
        return false;
    t->share = 1;
    launch(s, t);
    return true;
}

/* Processors that no ready node wants go to those that run, the longest path first; as soon as one is wanted they are
 * taken back (a running node notices at its next par_for). The budget counts the admitted share alone. */
static void lend(struct sched *s)
{
    int free = s->o.cpus - s->cpus_used;
    struct task *first[2 * POOL_MAX_THREADS];
    size_t n = 0;
    for (size_t k = 0; k < s->n_active; k++) {
        struct task *t = s->active[k];
        size_t at = n++;
        for (; at && before(s, t->i, first[at - 1]->i); at--)
            first[at] = first[at - 1];
        first[at] = t;
    }
    for (size_t k = 0; k < n; k++) {
        struct task *t = first[k];
        int more = t->light ? 0 : most_threads(s, t) - t->share;
        more = more < free ? more : free;
        more = more > 0 ? more : 0;
        free -= more;
        atomic_store(&t->job.team, t->share + more);
        if (t->share + more > atomic_load(&t->job.most_team))
            atomic_store(&t->job.most_team, t->share + more);
    }
}

static void admit_ready(struct sched *s)
{
    struct task *c[POOL_MAX_THREADS];
    size_t aside[LOOK], n = 0, n_aside = 0;
    int free = s->o.cpus - s->cpus_used;
    uint64_t left = s->o.mem - s->mem_used;
    while (!atomic_load(&s->cancel) && s->n_heap && at_once(s) + n < (size_t)s->o.jobs && n_aside < LOOK && n < POOL_MAX_THREADS) {
        struct task *t = &s->tasks[ready_pop(s)];
        if (declared(s, t) > s->o.mem) {
            fail_too_big(s, t);
            continue;
        }
        if (start_light(s, t)) {
            left = s->o.mem - s->mem_used;
            for (size_t k = 0; k < n; k++)
                left -= declared(s, c[k]) < left ? declared(s, c[k]) : left;
            continue;
        }
        bool enough = t->light && !s->jobs_given; /* light ones take no processor: beyond QUEUED they wait */
        if (!enough && (int)n < free && declared(s, t) <= left) {
            left -= declared(s, t);
            c[n++] = t;
        } else
            aside[n_aside++] = t->i;
    }
    for (size_t k = 0; k < n_aside; k++)
        ready_push(s, aside[k]);
    if (atomic_load(&s->cancel)) /* by a failure above */
        while (n)
            ready_push(s, c[--n]->i);
    if (n)
        divide(s, c, n, free);
}

void admit(struct sched *s)
{
    admit_ready(s);
    lend(s);
}
