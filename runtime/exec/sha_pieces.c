/* SPDX-License-Identifier: MIT */
#include "runtime/exec/sha_pieces.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/buf.h"
#include "runtime/exec/par.h"

enum { CHUNK = 1 << 20 };

struct whole {
    const char *path;
    const struct progress *progress;
    uint64_t size;
    struct digest *v;      /* one a piece */
    pthread_mutex_t mutex; /* guards what follows, and calls of the progress */
    uint64_t done;
    int rc;
    struct err e;
};

/* True: another piece failed, or the caller wants no more. */
static bool told(struct whole *w, size_t n)
{
    pthread_mutex_lock(&w->mutex);
    w->done += n;
    progress_update(w->progress, (double)w->done, (double)w->size, "bytes");
    if (w->rc == 0)
        w->rc = progress_poll(w->progress, &w->e);
    bool stop = w->rc != 0;
    pthread_mutex_unlock(&w->mutex);
    return stop;
}

static int read_piece(struct whole *w, int fd, size_t i, char *room, struct sha *s, struct err *e)
{
    uint64_t at = (uint64_t)i * SHA_PIECE, end = at + SHA_PIECE < w->size ? at + SHA_PIECE : w->size;
    while (at < end) {
        size_t want = end - at < CHUNK ? (size_t)(end - at) : CHUNK;
        ssize_t n = pread(fd, room, want, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(e, "%s: read", w->path);
        if (n == 0)
            break;
        sha_add(s, room, (size_t)n);
        at += (uint64_t)n;
        if (told(w, (size_t)n))
            break;
    }
    return 0;
}

static void digest_piece(void *u, size_t i)
{
    struct whole *w = u;
    struct err e;
    if (told(w, 0))
        return;
    int fd = open(w->path, O_RDONLY | O_CLOEXEC), rc = fd < 0 ? err_errno(&e, "%s", w->path) : 0; /* its own: the kernel reads ahead by open file */
    if (rc == 0)
        posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    char *room = malloc(CHUNK);
    struct sha *s = sha_new();
    if (rc == 0)
        rc = room && s ? read_piece(w, fd, i, room, s, &e) : err_nomem(&e, CHUNK, "digest");
    if (s)
        sha_end(s, &w->v[i]);
    free(room);
    if (fd >= 0)
        close(fd);
    if (rc == 0)
        return;
    pthread_mutex_lock(&w->mutex);
    if (w->rc == 0) {
        w->rc = rc;
        w->e = e;
    }
    pthread_mutex_unlock(&w->mutex);
}

/* The text, and its digest. */
static int join(const struct digest *v, size_t n, struct digest *out, struct err *e)
{
    struct buf text = {0};
    buf_printf(&text, "pkgraph pieces %d\n", SHA_PIECE);
    for (size_t i = 0; i < n; i++) {
        char hex[DIGEST_HEX];
        digest_hex(&v[i], hex);
        buf_printf(&text, "%s\n", hex);
    }
    int rc = text.failed ? err_nomem(e, n * DIGEST_HEX, "digest") : 0;
    if (rc == 0)
        sha_bytes(text.p, text.n, out);
    buf_release(&text);
    return rc;
}

static bool pass_on(void *u, uint64_t done)
{
    struct whole *w = u;
    return !told(w, (size_t)(done - w->done));
}

int sha_pieces_file(const char *path, const struct progress *p, struct digest *out, struct err *e)
{
    struct stat st;
    struct whole w = {.path = path, .progress = p};
    if (stat(path, &st) < 0)
        return errno == ENOENT ? err_set(e, ERR_NOTFOUND, "%s: no such file", path) : err_errno(e, "%s", path);
    w.size = (uint64_t)st.st_size;
    size_t n = (w.size + SHA_PIECE - 1) / SHA_PIECE;
    pthread_mutex_init(&w.mutex, NULL);
    int rc = 0;
    if (n <= 1)
        rc = sha_file_told(path, out, NULL, pass_on, &w, e);
    else if (!(w.v = malloc(n * sizeof *w.v)))
        rc = err_nomem(e, n * sizeof *w.v, "digest");
    else {
        par_for(n, digest_piece, &w);
        rc = w.rc;
        if (rc != 0)
            *e = w.e;
        else
            rc = join(w.v, n, out, e);
    }
    pthread_mutex_destroy(&w.mutex);
    free(w.v);
    return rc;
}
