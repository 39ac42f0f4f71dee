/* SPDX-License-Identifier: MIT
 *
 * Writing: tensors lie in the file in ascending order of name, or as declared when the digest follows; the header is padded with spaces so that the data starts
 * at a multiple of 8. Everything goes into a temporary file beside the target, which is renamed at the end. Small pieces
 * are gathered before they are written.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/arena.h"
#include "runtime/base/follow.h"
#include "runtime/base/json.h"
#include "runtime/base/turns.h"
#include "runtime/formats/safetensors.h"

enum { GATHER = 1 << 16, LARGE = 1 << 20 };

struct st_writer {
    char *path, *tmp;
    int fd;
    struct turns *turns; /* of fd */
    struct arena arena;
    struct tensor *tensors;
    struct named {
        const char *name;
        size_t i;
    } *names; /* of tensors, ascending */
    size_t n, cap;
    size_t data_at, data_n; /* start and length of the data */
    size_t written;         /* by st_write, what is gathered included */
    struct buf gathered;    /* of st_write */
    bool begun, anywhere, ended, unsynced;
    bool follows; /* the digest is wanted: */
    struct follow *follow; /* NULL: it cannot be had */
    bool *final;           /* each tensor */
    size_t n_final;        /* from the first on */
    struct digest digest;
    bool digested;
    bool keep;    /* the unfinished file outlives the writer */
    bool goes_on; /* it was there, with this header */
};

/* tmp: taken over. */
static int open_writer(const char *path, char *tmp, bool keep, struct st_writer **out, struct err *e)
{
    struct st_writer *w = calloc(1, sizeof *w);
    *out = NULL;
    if (!w || !tmp || !(w->path = strdup(path))) {
        free(w);
        free(tmp);
        return err_nomem(e, sizeof *w, path);
    }
    w->tmp = tmp;
    w->keep = keep;
    w->fd = keep ? open(tmp, O_RDWR | O_CREAT | O_CLOEXEC, 0644) : mkostemp(tmp, O_CLOEXEC);
    if (w->fd < 0) {
        int rc = keep ? err_errno(e, "%s", tmp) : err_errno(e, "%s: cannot create a temporary file beside it", path);
        w->keep = true; /* there is nothing to remove */
        st_writer_free(w);
        return rc;
    }
    if (turns_new(w->fd, w->path, &w->turns, e)) {
        st_writer_free(w);
        return e->code;
    }
    *out = w;
    return 0;
}

int st_writer_new(const char *path, struct st_writer **out, struct err *e)
{
    size_t n = strlen(path) + 8;
    char *tmp = malloc(n);
    if (tmp)
        snprintf(tmp, n, "%s.XXXXXX", path);
    return open_writer(path, tmp, false, out, e);
}

int st_writer_new_partial(const char *path, const char *partial, struct st_writer **out, struct err *e)
{
    return open_writer(path, strdup(partial), true, out, e);
}

bool st_writer_goes_on(const struct st_writer *w)
{
    return w->goes_on;
}

int st_write_sync(struct st_writer *w, struct err *e)
{
    return fdatasync(w->fd) < 0 ? err_errno(e, "%s: write", w->tmp) : 0;
}

int st_declare(struct st_writer *w, const char *name, enum dtype t, int ndim, const size_t *shape, struct err *e)
{
    if (w->begun || ndim < 0 || ndim > TENSOR_MAX_DIMS)
        return err_set(e, ERR_INTERNAL, "%s: tensor \"%s\" declared too late or with %d dimensions", w->path, name, ndim);
    if (w->n == w->cap) {
        size_t cap = w->cap ? w->cap * 2 : 64;
        struct tensor *more = realloc(w->tensors, cap * sizeof *more);
        if (!more)
            return err_nomem(e, cap * sizeof *more, w->path);
        w->tensors = more;
        w->cap = cap;
    }
    struct tensor x = {.name = arena_str(&w->arena, str_of(name)), .dtype = t, .ndim = ndim, .n = 1};
    if (!x.name)
        return err_nomem(e, strlen(name), w->path);
    for (int i = 0; i < ndim; i++) {
        x.shape[i] = shape[i];
        if (__builtin_mul_overflow(x.n, shape[i], &x.n))
            return err_set(e, ERR_INPUT, "%s: tensor \"%s\" is too large", w->path, name);
    }
    if (__builtin_mul_overflow(x.n, dtype_size(t), &x.bytes))
        return err_set(e, ERR_INPUT, "%s: tensor \"%s\" is too large", w->path, name);
    w->tensors[w->n++] = x;
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct tensor *)a)->name, ((const struct tensor *)b)->name);
}

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct named *)a)->name, ((const struct named *)b)->name);
}

/* The tensors in their order, and their names to look up, each once. */
static int sort_names(struct st_writer *w, struct err *e)
{
    w->names = calloc(w->n + 1, sizeof *w->names);
    w->final = calloc(w->n + 1, sizeof *w->final);
    if (!w->names || !w->final)
        return err_nomem(e, w->n * sizeof *w->names, w->path);
    if (w->n && !w->follows)
        qsort(w->tensors, w->n, sizeof *w->tensors, by_name);
    for (size_t i = 0; i < w->n; i++)
        w->names[i] = (struct named){w->tensors[i].name, i};
    qsort(w->names, w->n, sizeof *w->names, by_key);
    for (size_t i = 1; i < w->n; i++)
        if (strcmp(w->names[i - 1].name, w->names[i].name) == 0)
            return err_set(e, ERR_INTERNAL, "%s: tensor \"%s\" declared twice", w->path, w->names[i].name);
    return 0;
}

static struct tensor *named(const struct st_writer *w, const char *name, size_t *i)
{
    struct named key = {.name = name};
    const struct named *k = w->begun && w->n ? bsearch(&key, w->names, w->n, sizeof key, by_key) : NULL;
    if (k && i)
        *i = k->i;
    return k ? &w->tensors[k->i] : NULL;
}

static void header_text(const struct st_writer *w, struct buf *b)
{
    buf_put(b, "01234567", 8); /* its length, later */
    buf_puts(b, "{\"__metadata__\":{\"format\":\"pt\"}");
    size_t at = 0;
    for (size_t i = 0; i < w->n; i++) {
        const struct tensor *t = &w->tensors[i];
        buf_putc(b, ',');
        js_write_str(b, str_of(t->name));
        buf_printf(b, ":{\"dtype\":\"%s\",\"shape\":[", dtype_name(t->dtype));
        for (int d = 0; d < t->ndim; d++)
            buf_printf(b, d ? ",%zu" : "%zu", t->shape[d]);
        buf_printf(b, "],\"data_offsets\":[%zu,%zu]}", at, at + t->bytes);
        at += t->bytes;
    }
    buf_putc(b, '}');
    while (b->n % 8 && !b->failed)
        buf_putc(b, ' ');
}

/* Does the file begin with this and have its full size? */
static bool file_begins(int fd, const void *head, size_t n, size_t size)
{
    struct stat st;
    char *have = malloc(n);
    bool same = have && fstat(fd, &st) == 0 && (size_t)st.st_size == size && pread(fd, have, n, 0) == (ssize_t)n &&
                memcmp(have, head, n) == 0;
    free(have);
    return same;
}

/* Header and room; or the file that is there already. */
static int begin_file(struct st_writer *w, const void *head, size_t n, struct err *e)
{
    if (w->keep && file_begins(w->fd, head, n, w->data_at + w->data_n)) {
        w->goes_on = true;
        return 0;
    }
    if (w->keep && ftruncate(w->fd, 0) < 0)
        return err_errno(e, "%s", w->tmp);
    if (w->data_n >= LARGE || w->keep) { /* the disk refuses now rather than after the work; sparse where that is not supported */
        int no = posix_fallocate(w->fd, 0, (off_t)(w->data_at + w->data_n));
        if (no == ENOSPC || no == EDQUOT || no == EFBIG) {
            errno = no;
            return err_errno(e, "%s: %zu bytes", w->path, w->data_at + w->data_n);
        }
    }
    return turns_write(w->turns, 0, head, n, e);
}

int st_write_begin(struct st_writer *w, struct err *e)
{
    if (sort_names(w, e))
        return e->code;
    struct buf head = {0};
    header_text(w, &head);
    if (head.failed)
        return err_nomem(e, head.n, w->path);
    for (int i = 0; i < 8; i++)
        head.p[i] = (char)((uint64_t)(head.n - 8) >> 8 * i);
    w->data_at = head.n;
    size_t at = w->data_at;
    for (size_t i = 0; i < w->n; i++) {
        w->tensors[i].offset = at;
        at += w->tensors[i].bytes;
    }
    w->data_n = at - w->data_at;
    int rc = begin_file(w, head.p, head.n, e);
    buf_release(&head);
    w->begun = rc == 0;
    if (w->begun && w->follows && w->data_n >= LARGE)
        w->follow = follow_new(w->fd);
    return rc;
}

size_t st_writer_count(const struct st_writer *w)
{
    return w->n;
}

const struct tensor *st_writer_at(const struct st_writer *w, size_t i)
{
    return &w->tensors[i];
}

static int flush_gathered(struct st_writer *w, struct err *e)
{
    int rc = turns_write(w->turns, w->data_at + w->written - w->gathered.n, w->gathered.p, w->gathered.n, e);
    buf_clear(&w->gathered);
    return rc;
}

int st_write(struct st_writer *w, const void *p, size_t bytes, struct err *e)
{
    if (!w->begun || bytes > w->data_n - w->written)
        return err_set(e, ERR_INTERNAL, "%s: more data than the declared tensors hold", w->path);
    int rc = bytes >= GATHER || w->gathered.n >= GATHER ? flush_gathered(w, e) : 0;
    if (rc == 0 && bytes >= GATHER)
        rc = turns_write(w->turns, w->data_at + w->written, p, bytes, e);
    else if (rc == 0) {
        buf_put(&w->gathered, p, bytes);
        rc = w->gathered.failed ? err_nomem(e, bytes, w->path) : 0;
    }
    w->written += bytes;
    if (rc == 0 && w->follow)
        follow_to(w->follow, w->data_at + w->written - w->gathered.n);
    return rc;
}

int st_write_at(struct st_writer *w, const char *name, size_t at, const void *p, size_t bytes, struct err *e)
{
    const struct tensor *t = named(w, name, NULL);
    if (!t || at > t->bytes || bytes > t->bytes - at)
        return err_set(e, ERR_INTERNAL, "%s: tensor \"%s\": %zu bytes at %zu do not fit", w->path, name, bytes, at);
    __atomic_store_n(&w->anywhere, true, __ATOMIC_RELAXED);
    return turns_write(w->turns, t->offset + at, p, bytes, e);
}

void st_writer_follow(struct st_writer *w)
{
    w->follows = true;
}

void st_writer_final(struct st_writer *w, const char *name)
{
    size_t i;
    if (!named(w, name, &i))
        return;
    w->final[i] = true;
    while (w->n_final < w->n && w->final[w->n_final])
        w->n_final++;
    if (w->follow)
        follow_to(w->follow, w->n_final < w->n ? w->tensors[w->n_final].offset : w->data_at + w->data_n);
}

bool st_writer_digest(const struct st_writer *w, struct digest *out)
{
    if (w->digested)
        *out = w->digest;
    return w->digested;
}

void st_writer_unsynced(struct st_writer *w)
{
    w->unsynced = true;
}

int st_write_end(struct st_writer *w, struct err *e)
{
    if (!w->begun || (!w->anywhere && w->written != w->data_n))
        return err_set(e, ERR_INTERNAL, "%s: %zu of %zu bytes were written", w->path, w->written, w->data_n);
    if (flush_gathered(w, e))
        return e->code;
    if (w->anywhere && ftruncate(w->fd, (off_t)(w->data_at + w->data_n)) < 0) /* its end need not have been written: zeros */
        return err_errno(e, "%s: write", w->path);
    w->digested = w->follow && follow_end(w->follow, w->data_at + w->data_n, &w->digest);
    if (fchmod(w->fd, 0644) < 0 || (!w->unsynced && fsync(w->fd) < 0))
        return err_errno(e, "%s: write", w->path);
    int fd = w->fd;
    w->fd = -1;
    if (close(fd) < 0)
        return err_errno(e, "%s: close", w->path);
    if (rename(w->tmp, w->path) < 0)
        return err_errno(e, "%s: rename", w->path);
    w->ended = true;
    return 0;
}

void st_writer_free(struct st_writer *w)
{
    if (!w)
        return;
    turns_free(w->turns);
    follow_free(w->follow);
    if (w->fd >= 0)
        close(w->fd);
    if (!w->ended && w->tmp && !w->keep)
        unlink(w->tmp);
    arena_release(&w->arena);
    buf_release(&w->gathered);
    free(w->tensors);
    free(w->names);
    free(w->final);
    free(w->tmp);
    free(w->path);
    free(w);
}
