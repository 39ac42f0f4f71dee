/* SPDX-License-Identifier: MIT
 *
 * par: data parallelism inside a node. Work is cut into items of fixed size (never n / threads), so that results do not
 * depend on the size of the team; each item may make single-threaded library calls. The team size is a property of the
 * calling thread, set by the scheduler to the node's share; nested calls run inline. One OpenMP runtime (libgomp)
 * serves us, oneDNN and OpenBLAS.
 */
#ifndef PKG_EXEC_PAR_H
#define PKG_EXEC_PAR_H

#include <stdatomic.h>
#include <stddef.h>

int par_cpus(void);          /* processors this process may use (affinity and cgroup quota), at least 1 */
int par_threads(void);       /* team size of the calling thread; par_cpus() unless set */
void par_set_threads(int n); /* for the calling thread; n <= 0 restores the default */
/* From now on the calling thread's team size is *share, read anew by each par_for, so that a scheduler can lend idle
 * processors to work under way and take them back; NULL ends it. Results do not depend on it, par_worker() does: scratch
 * buffers are sized by par_cpus(), or inside the par_for's caller by the par_threads() of that moment. */
void par_follow_threads(const _Atomic int *share);

/* fn(u, i) for every i in [0, n), each once, in any order and on any thread of the team. Returns when all are done. */
void par_for(size_t n, void (*fn)(void *u, size_t i), void *u);

/* Items of `slab` consecutive indices: fn(u, first, count). */
void par_slabs(size_t n, size_t slab, void (*fn)(void *u, size_t first, size_t count), void *u);

int par_worker(void);        /* inside fn: 0 .. par_threads()-1, to choose a scratch buffer; 0 outside */

#endif
