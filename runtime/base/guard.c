/* SPDX-License-Identifier: MIT */
#include "runtime/base/guard.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PLACES = 512 };

/* Written under the lock; the handler reads start and n. n is set before start and start is cleared first. */
static struct place {
    _Atomic uintptr_t start; /* 0: free */
    _Atomic size_t n;
    atomic_bool damaged;
    pthread_t owner;
    dev_t dev;
    ino_t ino;
    char *path;
} places[PLACES];

static _Thread_local char lost[PATH_MAX]; /* a mapping of this thread that was damaged and is gone; "": none */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction before;
static uintptr_t page;

/* Zeros from the page at `at` to the end of its mapping: a page at a time would use up the mappings that a process may
 * have. errno is the interrupted code's. */
static bool patch(uintptr_t at, uintptr_t end)
{
    int saved = errno;
    uintptr_t from = at & ~(page - 1);
    void *p = mmap((void *)from, (end - from + page - 1) & ~(page - 1), PROT_READ,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
    errno = saved;
    return p != MAP_FAILED;
}

static void on_bus(int sig, siginfo_t *info, void *context)
{
    uintptr_t at = (uintptr_t)info->si_addr;
    for (int i = 0; i < PLACES; i++) {
        uintptr_t start = atomic_load(&places[i].start);
        size_t n = atomic_load(&places[i].n), whole = (n + page - 1) & ~(page - 1);
        if (!start || at < start || at - start >= whole)
            continue;
        atomic_store(&places[i].damaged, true);
        if (patch(at, start + n))
            return;
    }
    if (before.sa_flags & SA_SIGINFO)
        before.sa_sigaction(sig, info, context);
    else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN)
        before.sa_handler(sig);
    else
        sigaction(SIGBUS, &before, NULL); /* the instruction faults again, and the process ends as it always did */
}

/* At every mapping, because a library or a test program may have put its own handler there since. */
static void install(void)
{
    struct sigaction a = {.sa_sigaction = on_bus, .sa_flags = SA_SIGINFO | SA_ONSTACK}, now;
    if (sigaction(SIGBUS, NULL, &now) == 0 && (now.sa_flags & SA_SIGINFO) && now.sa_sigaction == on_bus)
        return;
    sigemptyset(&a.sa_mask);
    page = (uintptr_t)sysconf(_SC_PAGESIZE);
    before = now;
    sigaction(SIGBUS, &a, NULL);
}

void guard_add(const void *p, const struct stat *st, const char *path)
{
    pthread_mutex_lock(&lock);
    install();
    for (int i = 0; i < PLACES; i++) {
        struct place *k = &places[i];
        if (atomic_load(&k->start))
            continue;
        k->path = strdup(path); /* NULL: the message does without */
        k->owner = pthread_self();
        k->dev = st->st_dev;
        k->ino = st->st_ino;
        atomic_store(&k->damaged, false);
        atomic_store(&k->n, (size_t)st->st_size);
        atomic_store(&k->start, (uintptr_t)p);
        break;
    }
    pthread_mutex_unlock(&lock);
}

/* The file that is mapped is shorter now. One that was replaced is another file: the mapping keeps the old one. */
static bool shorter(const struct place *k)
{
    struct stat st;
    return k->path && stat(k->path, &st) == 0 && st.st_dev == k->dev && st.st_ino == k->ino &&
           (uint64_t)st.st_size < atomic_load(&k->n);
}

static bool damaged(const struct place *k)
{
    return atomic_load(&k->damaged) || shorter(k);
}

static const char *name_of(const struct place *k)
{
    return k->path ? k->path : "a mapped file";
}

void guard_remove(const void *p)
{
    pthread_mutex_lock(&lock);
    for (int i = 0; i < PLACES; i++)
        if (p && atomic_load(&places[i].start) == (uintptr_t)p) {
            if (pthread_equal(places[i].owner, pthread_self()) && damaged(&places[i]))
                snprintf(lost, sizeof lost, "%s", name_of(&places[i]));
            atomic_store(&places[i].start, 0);
            free(places[i].path);
            places[i].path = NULL;
            break;
        }
    pthread_mutex_unlock(&lock);
}

static int fail(const char *name, struct err *e)
{
    return err_set(e, ERR_IO,
                   "%s: could not be read to its end: it was cut short, or its disk failed, while it was in use; "
                   "nothing of this work is kept. Bring the file back and run again",
                   name);
}

/* The first damaged mapping: of this thread, or of any. */
static int check(bool own, struct err *e)
{
    int rc = 0;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < PLACES && !rc; i++)
        if (atomic_load(&places[i].start) && (!own || pthread_equal(places[i].owner, pthread_self())) && damaged(&places[i]))
            rc = fail(name_of(&places[i]), e);
    pthread_mutex_unlock(&lock);
    return rc;
}

int guard_check(struct err *e)
{
    return lost[0] ? fail(lost, e) : check(false, e);
}

void guard_begin(void)
{
    lost[0] = 0;
}

int guard_end(struct err *e)
{
    return lost[0] ? fail(lost, e) : check(true, e);
}
