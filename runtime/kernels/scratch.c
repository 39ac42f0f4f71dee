/* SPDX-License-Identifier: MIT
 *
 * scratch: see the header. A pthread key and not _Thread_local, because only a key has a destructor. Large buffers lie in huge pages.
 */
#include "runtime/kernels/scratch.h"

#include <pthread.h>
#include <stdlib.h>

#include "runtime/base/arena.h"

enum { LARGE = 2 << 20 };

struct scratch {
    void *p[SCRATCH_SLOTS];
    size_t cap[SCRATCH_SLOTS];
};

static pthread_key_t key;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int key_rc;

static void slot_free(struct scratch *s, int slot)
{
    if (s->cap[slot] < LARGE)
        free(s->p[slot]);
    else
        big_free(s->p[slot], s->cap[slot]);
    s->p[slot] = NULL;
    s->cap[slot] = 0;
}

static void scratch_free(void *v)
{
    struct scratch *s = v;
    for (int i = 0; i < SCRATCH_SLOTS; i++)
        slot_free(s, i);
    free(s);
}

static void make_key(void)
{
    key_rc = pthread_key_create(&key, scratch_free);
}

static struct scratch *mine(void)
{
    pthread_once(&once, make_key);
    if (key_rc)
        return NULL;
    struct scratch *s = pthread_getspecific(key);
    if (!s) {
        s = calloc(1, sizeof *s);
        if (s && pthread_setspecific(key, s)) {
            free(s);
            s = NULL;
        }
    }
    return s;
}

void *scratch_get(enum scratch_slot slot, size_t bytes, struct err *e)
{
    struct scratch *s = mine();
    if (s && s->p[slot] && s->cap[slot] >= bytes)
        return s->p[slot];
    size_t cap = bytes < 4096 ? 4096 : (bytes + 4095) & ~(size_t)4095;
    void *p = NULL;
    if (s) {
        slot_free(s, slot); /* its content is undefined from here on: the old and the new need not be there together */
        p = cap < bytes ? NULL : cap < LARGE ? aligned_alloc(64, cap) : big_alloc(cap);
    }
    if (!p) {
        err_nomem(e, bytes, "a kernel's scratch buffer");
        return NULL;
    }
    s->p[slot] = p;
    s->cap[slot] = cap;
    return p;
}

void first_err_put(struct first_err *f, const struct err *e)
{
    if (__atomic_exchange_n(&f->taken, 1, __ATOMIC_ACQ_REL) == 0) {
        f->e = *e;
        __atomic_store_n(&f->code, e->code, __ATOMIC_RELEASE);
    }
}

int first_err_get(const struct first_err *f, struct err *e)
{
    int code = __atomic_load_n(&f->code, __ATOMIC_ACQUIRE);
    if (code)
        *e = f->e;
    return code;
}
