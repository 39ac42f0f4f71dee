/* SPDX-License-Identifier: MIT
 *
 * One lock a key: a write lock of the kernel (fcntl, F_OFD_SETLK) on one byte of a file DIR/locks/nodes/N, whose place is the
 * first 63 bits of the key; N is its first four bits, because the kernel keeps the locks of a file in a list. The lock belongs to the descriptor that this store holds open, so the kernel frees it when the process dies, and
 * no file is made and removed for a node. The locks of one store do not exclude each other: those are kept in lists.
 * Keys that share these bits (there are none) would only wait for each other.
 *
 * The first bytes of each file say who holds what: SLOTS short texts, found by the key; one is overwritten when another
 * key falls into it, and serves only to tell a user whom his run waits for.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "runtime/base/fs.h"
#include "runtime/store/store_private.h"

enum { SLOTS = 256, SLOT = 256, NAME = 16 /* digits of the key in front of the text */ };

struct store_lock {
    struct store *s;
    struct digest key;
    struct store_lock *next;
};

static off_t place_of(const struct digest *key)
{
    uint64_t x = 0;
    for (int i = 0; i < 8; i++)
        x = x << 8 | key->b[i];
    return (off_t)(x >> 1);
}

static int file_of(const struct digest *key)
{
    return key->b[0] >> 4;
}

static off_t slot_of(const struct digest *key)
{
    return (off_t)(key->b[8] % SLOTS) * SLOT;
}

static void describe_self(struct store *s, const struct digest *key)
{
    char host[100] = "", z[SLOT] = "", when[32] = "", hex[DIGEST_HEX];
    gethostname(host, sizeof host - 1);
    time_t now = time(NULL);
    struct tm tm;
    if (localtime_r(&now, &tm))
        strftime(when, sizeof when, "%H:%M:%S", &tm);
    digest_hex(key, hex);
    snprintf(z, sizeof z, "%.16s process %ld on %s since %s", hex, (long)getpid(), host, when);
    if (pwrite(s->keys_fd[file_of(key)], z, sizeof z, slot_of(key)) < 0)
        return; /* a description only */
}

static void describe_holder(struct store *s, const struct digest *key, struct err *e)
{
    char z[SLOT + 1] = "", hex[DIGEST_HEX];
    ssize_t n = pread(s->keys_fd[file_of(key)], z, SLOT, slot_of(key));
    digest_hex(key, hex);
    bool right = n > NAME + 1 && strncmp(z, hex, NAME) == 0;
    err_set(e, 0, "%s", right ? z + NAME + 1 : "another process");
}

static int set_lock(struct store *s, const struct digest *key, short type)
{
    struct flock f = {.l_type = type, .l_whence = SEEK_SET, .l_start = place_of(key), .l_len = 1};
    int rc;
    do
        rc = fcntl(s->keys_fd[file_of(key)], F_OFD_SETLK, &f);
    while (rc < 0 && errno == EINTR);
    return rc;
}

static int open_keys(struct store *s, int i, struct err *e)
{
    if (s->keys_fd[i] >= 0)
        return 0;
    struct buf b = {0};
    buf_printf(&b, "%s/locks/nodes", s->dir);
    int rc = b.failed ? err_nomem(e, 0, "a path") : fs_mkdirs(b.p, e);
    buf_printf(&b, "/%d", i);
    if (rc == 0 && b.failed)
        rc = err_nomem(e, 0, "a path");
    if (rc == 0 && (s->keys_fd[i] = open(b.p, O_RDWR | O_CREAT | O_CLOEXEC, 0666)) < 0)
        rc = err_errno(e, "%s: cannot create the lock", b.p);
    buf_release(&b);
    return rc;
}

/* With the mutex held. 0 locked, 1 busy, negative an error. */
static int try_lock(struct store *s, struct store_lock *l, struct err *e)
{
    int rc = open_keys(s, file_of(&l->key), e);
    if (rc != 0)
        return rc;
    bool mine = false;
    struct store_lock **bucket = &s->held[l->key.b[0]];
    for (const struct store_lock *h = *bucket; !mine && h; h = h->next)
        mine = place_of(&h->key) == place_of(&l->key);
    if (!mine && set_lock(s, &l->key, F_WRLCK) < 0) {
        if (errno != EAGAIN && errno != EACCES)
            return err_errno(e, "%s/locks/nodes/%d: lock", s->dir, file_of(&l->key));
        mine = true;
    }
    if (mine) {
        describe_holder(s, &l->key, e);
        return 1;
    }
    describe_self(s, &l->key);
    l->next = *bucket;
    *bucket = l;
    return 0;
}

int store_lock_key(struct store *s, const struct digest *key, bool wait, struct store_lock **out, bool *busy, struct err *e)
{
    static const struct timespec pause = {0, 20000000};
    struct store_lock *l = calloc(1, sizeof *l);
    *out = NULL;
    *busy = false;
    if (!l)
        return err_nomem(e, sizeof *l, "a lock");
    *l = (struct store_lock){.s = s, .key = *key};
    int rc;
    for (;;) {
        pthread_mutex_lock(&s->locks_mutex);
        rc = try_lock(s, l, e);
        pthread_mutex_unlock(&s->locks_mutex);
        if (rc != 1 || !wait)
            break;
        nanosleep(&pause, NULL);
    }
    if (rc == 0)
        *out = l;
    else
        free(l);
    *busy = rc == 1;
    return rc == 1 ? 0 : rc;
}

void store_unlock(struct store_lock *l)
{
    if (!l)
        return;
    struct store *s = l->s;
    pthread_mutex_lock(&s->locks_mutex);
    for (struct store_lock **p = &s->held[l->key.b[0]]; *p; p = &(*p)->next)
        if (*p == l) {
            *p = l->next;
            break;
        }
    set_lock(s, &l->key, F_UNLCK);
    pthread_mutex_unlock(&s->locks_mutex);
    free(l);
}

void locks_close(struct store *s)
{
    for (int i = 0; i < STORE_KEY_FILES; i++) {
        if (s->keys_fd[i] >= 0)
            close(s->keys_fd[i]);
        s->keys_fd[i] = -1;
    }
}
