/* SPDX-License-Identifier: MIT */
#include "runtime/base/follow.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

enum { PIECE = 1 << 20, ASIDE = 16 << 20 /* bytes that go to the disk at a time */ };

struct follow {
    int fd;
    struct sha *sha;
    char *piece;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t change;
    uint64_t final;
    bool last;   /* `final` is the whole file */
    bool stop, failed;
    bool joined;
};

/* How far to read now: beyond `done`, or what is left; `done` itself when it is over. */
static uint64_t wait_for(struct follow *f, uint64_t done)
{
    pthread_mutex_lock(&f->lock);
    while (!f->stop && !f->last && f->final < done + PIECE)
        pthread_cond_wait(&f->change, &f->lock);
    uint64_t to = f->stop ? done : f->final;
    pthread_mutex_unlock(&f->lock);
    return to;
}

static bool read_piece(const struct follow *f, uint64_t at, size_t n)
{
    for (size_t have = 0; have < n;) {
        ssize_t k = pread(f->fd, f->piece + have, n - have, (off_t)(at + have));
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return false;
        have += (size_t)k;
    }
    return true;
}

/* Bytes from .. to go to the disk now: nobody waits, and whoever calls fsync later finds little left to wait for. */
static void start_writing(const struct follow *f, uint64_t from, uint64_t to)
{
#ifdef SYNC_FILE_RANGE_WRITE
    sync_file_range(f->fd, (off_t)from, (off_t)(to - from), SYNC_FILE_RANGE_WRITE); /* a help: fsync reports what goes wrong */
#else
    (void)f, (void)from, (void)to;
#endif
}

static bool stopped(struct follow *f)
{
    pthread_mutex_lock(&f->lock);
    bool stop = f->stop;
    pthread_mutex_unlock(&f->lock);
    return stop;
}

static void *read_behind(void *u)
{
    struct follow *f = u;
    uint64_t done = 0, aside = 0, to;
    while (!f->failed && (to = wait_for(f, done)) > done)
        while (!f->failed && done < to && !stopped(f)) {
            size_t n = to - done < PIECE ? (size_t)(to - done) : PIECE;
            f->failed = !read_piece(f, done, n);
            if (!f->failed)
                sha_add(f->sha, f->piece, n);
            done += n;
            if (done - aside >= ASIDE) {
                start_writing(f, aside, done);
                aside = done;
            }
        }
    return NULL;
}

static void release(struct follow *f)
{
    struct digest ignored;
    if (f->sha)
        sha_end(f->sha, &ignored);
    free(f->piece);
    free(f);
}

struct follow *follow_new(int fd)
{
    struct follow *f = calloc(1, sizeof *f);
    if (!f)
        return NULL;
    f->fd = fd;
    f->sha = sha_new();
    f->piece = malloc(PIECE);
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->change, NULL);
    if (f->sha && f->piece && pthread_create(&f->thread, NULL, read_behind, f) == 0)
        return f;
    pthread_cond_destroy(&f->change);
    pthread_mutex_destroy(&f->lock);
    release(f);
    return NULL;
}

/* Sets what the thread waits for. */
static void tell(struct follow *f, uint64_t bytes, bool last, bool stop)
{
    pthread_mutex_lock(&f->lock);
    f->final = bytes > f->final ? bytes : f->final;
    f->last = f->last || last;
    f->stop = f->stop || stop;
    pthread_cond_signal(&f->change);
    pthread_mutex_unlock(&f->lock);
}

void follow_to(struct follow *f, uint64_t bytes)
{
    tell(f, bytes, false, false);
}

bool follow_end(struct follow *f, uint64_t bytes, struct digest *out)
{
    tell(f, bytes, true, false);
    pthread_join(f->thread, NULL);
    f->joined = true;
    if (f->failed || f->final != bytes)
        return false;
    sha_end(f->sha, out);
    f->sha = NULL;
    return true;
}

void follow_free(struct follow *f)
{
    if (!f)
        return;
    if (!f->joined) {
        tell(f, 0, false, true);
        pthread_join(f->thread, NULL);
    }
    pthread_cond_destroy(&f->change);
    pthread_mutex_destroy(&f->lock);
    release(f);
}
