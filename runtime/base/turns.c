/* SPDX-License-Identifier: MIT */
#include "runtime/base/turns.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PIECE = 128 << 10, PIECES = 64, AT_ONCE = 1 << 30 };

/* A copy that waits, or room for one. */
struct piece {
    size_t at, n;
    struct piece *next;
    char bytes[PIECE];
};

struct turns {
    int fd;
    const char *path;
    pthread_mutex_t lock;
    pthread_cond_t change; /* the writer has ended, or a piece is free */
    bool writing;
    struct piece *first, **last; /* wait, in the order they came */
    struct piece *free;
    int pieces; /* made so far */
};

int turns_new(int fd, const char *path, struct turns **out, struct err *e)
{
    struct turns *t = *out = calloc(1, sizeof *t);
    if (!t)
        return err_nomem(e, sizeof *t, path);
    t->fd = fd;
    t->path = path;
    t->last = &t->first;
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->change, NULL);
    return 0;
}

static void free_pieces(struct piece *p)
{
    while (p) {
        struct piece *next = p->next;
        free(p);
        p = next;
    }
}

void turns_free(struct turns *t)
{
    if (!t)
        return;
    free_pieces(t->free);
    free_pieces(t->first);
    pthread_cond_destroy(&t->change);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

static int write_all(const struct turns *t, size_t at, const char *p, size_t n, struct err *e)
{
    while (n) {
        ssize_t k = pwrite(t->fd, p, n < AT_ONCE ? n : AT_ONCE, (off_t)at);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return err_errno(e, "%s: write", t->path);
        p += k;
        at += (size_t)k;
        n -= (size_t)k;
    }
    return 0;
}

/* The turn is ours: what waits, until nothing does. After an error the rest is let go. Under the lock, which is open during writes. */
static int write_waiting(struct turns *t, int rc, struct err *e)
{
    while (t->first) {
        struct piece *p = t->first;
        if (!(t->first = p->next))
            t->last = &t->first;
        pthread_mutex_unlock(&t->lock);
        if (!rc)
            rc = write_all(t, p->at, p->bytes, p->n, e);
        pthread_mutex_lock(&t->lock);
        p->next = t->free;
        t->free = p;
        pthread_cond_signal(&t->change);
    }
    t->writing = false;
    pthread_cond_broadcast(&t->change);
    return rc;
}

/* Room for a copy, or NULL. */
static struct piece *take_piece(struct turns *t)
{
    struct piece *p = t->free;
    if (p)
        t->free = p->next;
    else if (t->pieces < PIECES && (p = malloc(sizeof *p)))
        t->pieces++;
    return p;
}

int turns_write(struct turns *t, size_t at, const void *bytes, size_t n, struct err *e)
{
    const char *p = bytes;
    int rc = 0;
    pthread_mutex_lock(&t->lock);
    while (n && t->writing) {
        struct piece *x = take_piece(t);
        if (!x) {
            pthread_cond_wait(&t->change, &t->lock);
            continue;
        }
        x->at = at;
        x->n = n < PIECE ? n : PIECE;
        x->next = NULL;
        pthread_mutex_unlock(&t->lock); /* it is nobody else's yet */
        memcpy(x->bytes, p, x->n);
        p += x->n;
        at += x->n;
        n -= x->n;
        pthread_mutex_lock(&t->lock);
        *t->last = x;
        t->last = &x->next;
        if (!t->writing && !n) { /* the writer went meanwhile */
            t->writing = true;
            rc = write_waiting(t, 0, e);
        }
    }
    if (n) {
        t->writing = true;
        pthread_mutex_unlock(&t->lock);
        rc = write_all(t, at, p, n, e);
        pthread_mutex_lock(&t->lock);
        rc = write_waiting(t, rc, e);
    }
    pthread_mutex_unlock(&t->lock);
    return rc;
}
