/* SPDX-License-Identifier: MIT */
#include "runtime/exec/par.h"

#include <omp.h>
#include <sched.h>
#include <string.h>

#include "runtime/exec/cgroup.h"

static _Thread_local int team;
static _Thread_local const _Atomic int *followed;

int par_cpus(void)
{
    static int known;
    int n = __atomic_load_n(&known, __ATOMIC_RELAXED);
    if (n)
        return n;
    cpu_set_t set;
    n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    struct cgroup_limits group;
    cgroup_limits("", &group);
    if (group.cpus && group.cpus < n)
        n = group.cpus;
    if (n < 1)
        n = 1;
    __atomic_store_n(&known, n, __ATOMIC_RELAXED);
    return n;
}

int par_threads(void)
{
    int n = followed ? atomic_load_explicit(followed, memory_order_relaxed) : team;
    return n > 0 ? n : par_cpus();
}

void par_follow_threads(const _Atomic int *share)
{
    followed = share;
}

void par_set_threads(int n)
{
    team = n > 0 ? n : 0;
}

void par_for(size_t n, void (*fn)(void *u, size_t i), void *u)
{
    int threads = par_threads();
    if (n < (size_t)threads)
        threads = (int)n;
    if (threads <= 1 || omp_in_parallel()) {
        for (size_t i = 0; i < n; i++)
            fn(u, i);
        return;
    }
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (size_t i = 0; i < n; i++)
        fn(u, i);
}

struct slabs {
    size_t n, slab;
    void (*fn)(void *u, size_t first, size_t count);
    void *u;
};

static void run_slab(void *u, size_t i)
{
    const struct slabs *s = u;
    size_t first = i * s->slab, left = s->n - first;
    s->fn(s->u, first, left < s->slab ? left : s->slab);
}

void par_slabs(size_t n, size_t slab, void (*fn)(void *u, size_t first, size_t count), void *u)
{
    struct slabs s = {n, slab, fn, u};
    par_for((n + slab - 1) / slab, run_slab, &s);
}

int par_worker(void)
{
    return omp_get_thread_num();
}
