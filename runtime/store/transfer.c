/* SPDX-License-Identifier: MIT
 *
 * What lies under /ac/KEY: "pkgraph ac 1", the key, the SHA-256 of all behind the head and the length of the JSON object,
 * a line each; then the object (made, wall, cpu, peak, expanded) and the record as in the index (codec.h).
 */
#include "runtime/store/transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "runtime/base/fs.h"
#include "runtime/store/codec.h"
#include "runtime/store/store_private.h"

enum { RECORD_MOST = 64 << 20, TEAM = 8 };
static const char magic[] = "pkgraph ac 1\n";

static void path_of(char out[80], const char *kind, const struct digest *d)
{
    char hex[DIGEST_HEX];
    digest_hex(d, hex);
    snprintf(out, 80, "%s/%s", kind, hex);
}

/* ---- the record as bytes ---- */

static int pack(const struct record *r, struct buf *out, struct err *e)
{
    struct buf json = {0}, body = {0};
    char key[DIGEST_HEX], hex[DIGEST_HEX];
    struct js *j = js_object();
    int bad = !j || js_set(j, "made", js_new_int(r->made_at)) || js_set(j, "wall", js_new_num(r->wall)) || js_set(j, "cpu", js_new_num(r->cpu)) ||
              js_set(j, "peak", js_new_int((int64_t)r->peak_memory)) || (r->expanded && js_set(j, "expanded", js_ref(r->expanded)));
    if (!bad)
        js_write(&json, j);
    js_free(j);
    int rc = bad || json.failed ? err_nomem(e, 0, "a record") : record_encode(r, &body, e);
    if (rc == 0) {
        struct digest d;
        size_t n = json.n;
        buf_put(&json, body.p, body.n);
        sha_bytes(json.p, json.n, &d);
        digest_hex(&r->key, key);
        digest_hex(&d, hex);
        buf_printf(out, "%s%s\n%s\n%zu\n", magic, key, hex, n);
        buf_put(out, json.p, json.n);
        rc = out->failed || json.failed ? err_nomem(e, json.n, "a record") : 0;
    }
    buf_release(&json);
    buf_release(&body);
    return rc;
}

/* Names become names of files on export; the digest of an artifact enters keys. */
static bool sound(const struct record *r)
{
    for (size_t i = 0; i < r->n_out; i++) {
        struct artifact *a = &r->out[i];
        struct digest said = a->digest;
        for (size_t k = 0; k < a->n; k++) {
            const char *n = a->files[k].name;
            if (!*n || strchr(n, '/') || strcmp(n, ".") == 0 || strcmp(n, "..") == 0)
                return false;
        }
        artifact_seal(a);
        if (digest_cmp(&said, &a->digest) != 0)
            return false;
    }
    return true;
}

static struct record *unpack(const struct digest *key, const struct buf *b)
{
    enum { HEAD = sizeof magic - 1, LINES = HEAD + 2 * DIGEST_HEX };
    char want[DIGEST_HEX], hex[DIGEST_HEX], *end = NULL;
    struct digest d;
    struct err ignored;
    digest_hex(key, want);
    if (!b->p || b->n < LINES || memcmp(b->p, magic, HEAD) != 0 || memcmp(b->p + HEAD, want, 64) != 0)
        return NULL;
    unsigned long long n = strtoull(b->p + LINES, &end, 10); /* a buf ends with NUL */
    if (!end || *end != '\n' || n > b->n - (size_t)(end + 1 - b->p))
        return NULL;
    struct str rest = {end + 1, b->n - (size_t)(end + 1 - b->p)};
    sha_bytes(rest.p, rest.n, &d);
    digest_hex(&d, hex);
    if (memcmp(b->p + HEAD + DIGEST_HEX, hex, 64) != 0)
        return NULL;
    struct js *j = js_parse((struct str){rest.p, (size_t)n}, "record", &ignored);
    struct record *r = j ? record_decode((struct str){rest.p + n, rest.n - (size_t)n}, key) : NULL;
    if (r && !sound(r)) {
        record_free(r);
        r = NULL;
    }
    if (r) {
        r->made_at = js_int(js_get(j, "made"), 0);
        r->wall = js_num(js_get(j, "wall"), 0);
        r->cpu = js_num(js_get(j, "cpu"), 0);
        r->peak_memory = (uint64_t)js_int(js_get(j, "peak"), 0);
        const struct js *x = js_get(j, "expanded");
        r->expanded = x ? js_copy(x) : NULL;
    }
    js_free(j);
    return r;
}

/* ---- how long it takes ---- */

/* Stands between the files of a record and the caller's progress. */
struct pace {
    const struct progress *outer;
    struct progress own;
    double began, most;   /* seconds; most 0: no limit */
    uint64_t total, done; /* bytes of the files to move; of those that have moved */
    uint64_t at;          /* of the one under way */
    bool slow;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void pace_update(void *u, double done, double total, const char *unit)
{
    struct pace *p = u;
    (void)total;
    p->at = (uint64_t)done;
    progress_update(p->outer, (double)p->done + done, (double)p->total, unit);
}

static bool pace_cancelled(void *u)
{
    enum { JUDGED = 5 }; /* seconds before anything can be said */
    struct pace *p = u;
    double t = now() - p->began, moved = (double)(p->done + p->at);
    if (p->most > 0 && t > JUDGED && moved < (double)p->total)
        p->slow = p->slow || t * (double)p->total > p->most * (moved > 1 ? moved : 1);
    return p->slow || progress_cancelled(p->outer);
}

static void pace_begin(struct pace *p, const struct progress *outer, const struct patience *patience, const struct record *r)
{
    *p = (struct pace){.outer = outer, .began = now()};
    p->own = (struct progress){.u = p, .update = pace_update, .cancelled = pace_cancelled};
    if (patience)
        p->most = patience->times * r->wall > patience->least ? patience->times * r->wall : patience->least;
    for (size_t i = 0; i < r->n_out; i++)
        for (size_t k = 0; k < r->out[i].n; k++)
            p->total += r->out[i].files[k].bytes;
}

static void pace_next(struct pace *p, uint64_t bytes)
{
    p->done += bytes;
    p->at = 0;
}

/* rc, with the reason when it was we who gave up. */
static int pace_end(const struct pace *p, const struct remote *r, int rc, struct err *e)
{
    if (rc != ERR_CANCELLED || !p->slow)
        return rc;
    return err_set(e, ERR_CANCELLED, "%s is slow: %.1f of %.1f MB in %.0f s, all would take longer than %.0f s", remote_name(r),
                   (double)(p->done + p->at) / 1e6, (double)p->total / 1e6, now() - p->began, p->most);
}

/* ---- fetching ---- */

/* A file for what arrives: DIR/partial/SHA256, which an earlier attempt may have begun, or a scratch file when another
 * process is fetching the same. */
static int open_partial(struct store *s, const struct digest *d, char **path, int *fd, struct err *e)
{
    char hex[DIGEST_HEX], *dir = fs_join(s->dir, "partial");
    digest_hex(d, hex);
    int rc = dir ? fs_mkdirs(dir, e) : err_nomem(e, 0, "a path");
    *path = rc == 0 ? fs_join(dir, hex) : NULL;
    free(dir);
    if (rc == 0 && !*path)
        rc = err_nomem(e, 0, "a path");
    if (rc == 0 && (*fd = open(*path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644)) < 0)
        rc = err_errno(e, "%s", *path);
    struct stat here, there;
    if (rc != 0 || (flock(*fd, LOCK_EX | LOCK_NB) == 0 && fstat(*fd, &here) == 0 && stat(*path, &there) == 0 && here.st_ino == there.st_ino))
        return rc;
    close(*fd);
    *fd = -1;
    free(*path);
    *path = NULL;
    rc = store_tmp_dir(s, &dir, e);
    if (rc == 0 && !(*path = fs_join(dir, hex)))
        rc = err_nomem(e, 0, "a path");
    if (rc == 0)
        free(dir);
    if (rc == 0 && (*fd = open(*path, O_RDWR | O_CREAT | O_CLOEXEC, 0644)) < 0)
        rc = err_errno(e, "%s", *path);
    return rc;
}

/* 0 the file is in the store; 1 it is something else and what was resumed is suspect. */
static int fetch_once(struct store *s, struct remote *r, const struct artifact_file *f, const struct progress *p, struct err *e)
{
    char url[80], *path = NULL;
    struct stat st = {0};
    struct digest d;
    uint64_t bytes = 0;
    int fd = -1, rc = open_partial(s, &f->digest, &path, &fd, e);
    bool resumed = false;
    path_of(url, "cas", &f->digest);
    if (rc == 0 && fstat(fd, &st) < 0)
        rc = err_errno(e, "%s", path);
    if (rc == 0 && (uint64_t)st.st_size > f->bytes && ftruncate(fd, st.st_size = 0) < 0)
        rc = err_errno(e, "%s", path);
    if (rc == 0 && ((uint64_t)st.st_size < f->bytes || f->bytes == 0))
        rc = remote_get_file(r, url, fd, (uint64_t)st.st_size, f->bytes, &resumed, p, e);
    else
        resumed = true;
    if (rc == 0)
        rc = progress_sha_file(p, path, &d, &bytes, e);
    if (rc == 0 && (bytes != f->bytes || digest_cmp(&d, &f->digest) != 0)) {
        unlink(path);
        rc = resumed ? 1
                     : err_set(e, ERR_DAMAGED, "%s/%s: the server sent other bytes than these (%llu of %llu)", remote_name(r), url,
                               (unsigned long long)bytes, (unsigned long long)f->bytes);
    }
    if (rc == 0)
        rc = store_put_file(s, path, p, &d, &bytes, e);
    if (rc == 0 && digest_cmp(&d, &f->digest) != 0) /* changed under our hands */
        rc = err_set(e, ERR_DAMAGED, "%s: changed while it was stored", path);
    if (fd >= 0)
        close(fd);
    free(path);
    return rc;
}

static int fetch(struct store *s, struct remote *r, const struct artifact_file *f, const struct progress *p, struct err *e)
{
    if (store_has_blob(s, &f->digest, f->bytes))
        return 0;
    int rc = fetch_once(s, r, f, p, e);
    if (rc == 1)
        rc = fetch_once(s, r, f, p, e);
    return rc == 1 ? err_set(e, ERR_DAMAGED, "%s: the server sent other bytes than these", remote_name(r)) : rc;
}

/* Is the file at hand, here or there? */
static int is_there(struct store *s, struct remote *r, const struct artifact_file *f, const struct progress *p, struct err *e)
{
    char url[80];
    path_of(url, "cas", &f->digest);
    int rc = store_has_blob(s, &f->digest, f->bytes) ? 1 : remote_has(r, url, p, e);
    return rc > 0 ? 0 : rc < 0 ? rc : err_set(e, ERR_NOTFOUND, "%s/%s is gone", remote_name(r), url);
}

/* The record that the server has under a key; url: its path there, for messages. */
static int get_record(struct remote *r, const struct digest *key, const struct progress *p, char url[80], struct record **out, struct err *e)
{
    struct buf b = {0};
    path_of(url, "ac", key);
    int rc = remote_get(r, url, RECORD_MOST, &b, p, e);
    *out = rc == 0 ? unpack(key, &b) : NULL;
    if (rc == 0 && !*out)
        rc = err_set(e, ERR_DAMAGED, "%s/%s: not a record of this key", remote_name(r), url);
    buf_release(&b);
    return rc;
}

/* The record goes to the caller when all of it is there. */
static int hand_over(int rc, struct record *rec, struct record **out)
{
    if (rc != 0) {
        record_free(rec);
        rec = NULL;
    }
    *out = rec;
    return rc;
}

int transfer_look(struct store *s, struct remote *r, const struct digest *key, const struct progress *p, struct record **out, struct err *e)
{
    char url[80];
    struct record *rec;
    int rc = get_record(r, key, p, url, &rec, e);
    for (size_t i = 0; rc == 0 && i < rec->n_out; i++)
        for (size_t k = 0; rc == 0 && k < rec->out[i].n; k++)
            rc = is_there(s, r, &rec->out[i].files[k], p, e);
    return hand_over(rc, rec, out);
}

int transfer_pull(struct store *s, struct remote *r, const struct digest *key, const struct patience *patience, const struct progress *p,
                  struct record **out, struct err *e)
{
    struct pace pace = {0};
    char url[80];
    struct record *rec;
    int rc = get_record(r, key, p, url, &rec, e);
    if (rc == 0)
        pace_begin(&pace, p, patience, rec);
    for (size_t i = 0; rc == 0 && i < rec->n_out; i++)
        for (size_t k = 0; rc == 0 && k < rec->out[i].n; k++) {
            rc = pace_end(&pace, r, fetch(s, r, &rec->out[i].files[k], &pace.own, e), e);
            pace_next(&pace, rec->out[i].files[k].bytes);
            if (rc == ERR_NOTFOUND) /* evicted there: a miss */
                err_prefix(e, "%s/%s names a file that is gone", remote_name(r), url);
        }
    return hand_over(rc, rec, out);
}

/* ---- sending ---- */

static int send_file(struct store *s, struct remote *r, const struct artifact_file *f, const struct progress *p, struct transfer_result *sent,
                     struct err *e)
{
    char url[80], *path = NULL;
    path_of(url, "cas", &f->digest);
    int rc = remote_has(r, url, p, e);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    if (!store_has_blob(s, &f->digest, f->bytes))
        return err_set(e, ERR_NOTFOUND, "its stored file %s is gone or damaged", f->name);
    rc = store_blob_path(s, &f->digest, &path, e);
    if (rc == 0)
        rc = remote_put_file(r, url, path, p, e);
    free(path);
    if (rc == 0) {
        sent->files++;
        sent->bytes += f->bytes;
    }
    return rc;
}

int transfer_push(struct store *s, struct remote *r, const struct record *rec, const struct patience *patience, const struct progress *p,
                  struct transfer_result *sent, struct err *e)
{
    struct buf b = {0};
    struct pace pace;
    char url[80];
    path_of(url, "ac", &rec->key);
    pace_begin(&pace, p, patience, rec);
    int rc = remote_has(r, url, p, e);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    rc = 0;
    for (size_t i = 0; rc == 0 && i < rec->n_out; i++)
        for (size_t k = 0; rc == 0 && k < rec->out[i].n; k++) {
            rc = pace_end(&pace, r, send_file(s, r, &rec->out[i].files[k], &pace.own, sent, e), e);
            pace_next(&pace, rec->out[i].files[k].bytes);
        }
    if (rc == 0)
        rc = pack(rec, &b, e);
    if (rc == 0)
        rc = remote_put(r, url, b.p, b.n, p, e);
    buf_release(&b);
    sent->records += rc == 0;
    return rc;
}

/* ---- many ---- */

struct moving {
    struct store *s;
    struct remote *r;
    const struct digest *keys;
    size_t n;
    int (*one)(struct moving *t, const struct digest *key, const struct progress *p, struct transfer_result *moved, struct err *e);
    _Atomic size_t next;
    _Atomic bool stop;
    pthread_mutex_t mutex; /* guards what follows */
    struct transfer_result *moved;
    int rc;
    struct err first;
};

static bool stopped(void *u)
{
    const struct moving *t = u;
    return atomic_load(&t->stop);
}

static int push_one(struct moving *t, const struct digest *key, const struct progress *p, struct transfer_result *moved, struct err *e)
{
    struct record *rec = NULL;
    struct err ignored;
    int rc = store_get_record(t->s, key, &rec, e);
    if (rc == 0) {
        store_expanded(t->s, key, &rec->expanded, &ignored);
        rc = transfer_push(t->s, t->r, rec, NULL, p, moved, e);
    }
    record_free(rec);
    return rc;
}

static int pull_one(struct moving *t, const struct digest *key, const struct progress *p, struct transfer_result *moved, struct err *e)
{
    struct record *rec = NULL;
    int rc = transfer_pull(t->s, t->r, key, NULL, p, &rec, e);
    if (rc == 0)
        rc = store_put_record(t->s, rec, e);
    for (size_t i = 0; rc == 0 && i < rec->n_out; i++)
        for (size_t k = 0; k < rec->out[i].n; k++) {
            moved->files++;
            moved->bytes += rec->out[i].files[k].bytes;
        }
    moved->records += rc == 0;
    record_free(rec);
    return rc;
}

static void *move_some(void *u)
{
    struct moving *t = u;
    struct progress p = {.u = t, .cancelled = stopped};
    size_t i;
    while (!atomic_load(&t->stop) && (i = atomic_fetch_add(&t->next, 1)) < t->n) {
        struct err e;
        struct transfer_result moved = {0};
        int rc = t->one(t, &t->keys[i], &p, &moved, &e);
        rc = rc == ERR_NOTFOUND ? 0 : rc;
        pthread_mutex_lock(&t->mutex);
        t->moved->records += moved.records;
        t->moved->files += moved.files;
        t->moved->bytes += moved.bytes;
        if (rc != 0 && t->rc == 0) {
            t->rc = rc;
            t->first = e;
        }
        pthread_mutex_unlock(&t->mutex);
        if (rc != 0) /* what fails after its retries fails for all */
            atomic_store(&t->stop, true);
    }
    return NULL;
}

static int move_all(struct moving *t, struct err *e)
{
    pthread_t team[TEAM];
    size_t k = 0;
    *t->moved = (struct transfer_result){0};
    pthread_mutex_init(&t->mutex, NULL);
    while (k < TEAM && k < t->n && pthread_create(&team[k], NULL, move_some, t) == 0)
        k++;
    if (k == 0)
        move_some(t);
    while (k)
        pthread_join(team[--k], NULL);
    pthread_mutex_destroy(&t->mutex);
    if (t->rc != 0)
        *e = t->first;
    return t->rc;
}

int transfer_push_all(struct store *s, struct remote *r, const struct digest *keys, size_t n, struct transfer_result *moved, struct err *e)
{
    struct moving t = {.s = s, .r = r, .keys = keys, .n = n, .moved = moved, .one = push_one};
    return move_all(&t, e);
}

int transfer_pull_all(struct store *s, struct remote *r, const struct digest *keys, size_t n, struct transfer_result *moved, struct err *e)
{
    struct moving t = {.s = s, .r = r, .keys = keys, .n = n, .moved = moved, .one = pull_one};
    return move_all(&t, e);
}
