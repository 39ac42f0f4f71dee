/* SPDX-License-Identifier: MIT
 *
 * A ring of pieces: the reader fills piece number `filled`, the user holds number `used` - 1 until it asks for the next.
 */
#include "runtime/base/ahead.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

enum { PIECES = 4, PIECE = 1 << 20 };

struct ahead {
    int fd;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    size_t filled, used; /* pieces so far */
    bool stop;
    ssize_t n[PIECES];
    int code[PIECES]; /* errno */
    char *room;
};

static void *read_on(void *u)
{
    struct ahead *a = u;
    ssize_t n = 1;
    pthread_mutex_lock(&a->mutex);
    while (n > 0) {
        while (!a->stop && a->filled - a->used >= PIECES - 1) /* one is in the user's hands */
            pthread_cond_wait(&a->changed, &a->mutex);
        if (a->stop)
            break;
        size_t i = a->filled % PIECES;
        pthread_mutex_unlock(&a->mutex);
        do
            n = read(a->fd, a->room + i * PIECE, PIECE);
        while (n < 0 && errno == EINTR);
        int code = errno;
        pthread_mutex_lock(&a->mutex);
        a->n[i] = n;
        a->code[i] = code;
        a->filled++;
        pthread_cond_signal(&a->changed);
    }
    pthread_mutex_unlock(&a->mutex);
    return NULL;
}

struct ahead *ahead_new(int fd)
{
    struct ahead *a = calloc(1, sizeof *a);
    if (!a)
        return NULL;
    a->fd = fd;
    a->room = malloc((size_t)PIECES * PIECE);
    pthread_mutex_init(&a->mutex, NULL);
    pthread_cond_init(&a->changed, NULL);
    if (a->room && pthread_create(&a->thread, NULL, read_on, a) == 0)
        return a;
    pthread_mutex_destroy(&a->mutex);
    pthread_cond_destroy(&a->changed);
    free(a->room);
    free(a);
    return NULL;
}

ssize_t ahead_next(struct ahead *a, const void **p)
{
    pthread_mutex_lock(&a->mutex);
    while (a->filled == a->used)
        pthread_cond_wait(&a->changed, &a->mutex);
    size_t i = a->used % PIECES;
    ssize_t n = a->n[i];
    *p = a->room + i * PIECE;
    if (n > 0)
        a->used++;
    else /* the end stays */
        errno = a->code[i];
    pthread_cond_signal(&a->changed);
    pthread_mutex_unlock(&a->mutex);
    return n;
}

void ahead_free(struct ahead *a)
{
    if (!a)
        return;
    pthread_mutex_lock(&a->mutex);
    a->stop = true;
    pthread_cond_signal(&a->changed);
    pthread_mutex_unlock(&a->mutex);
    pthread_join(a->thread, NULL);
    pthread_mutex_destroy(&a->mutex);
    pthread_cond_destroy(&a->changed);
    free(a->room);
    free(a);
}
