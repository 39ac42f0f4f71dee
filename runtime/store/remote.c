/* SPDX-License-Identifier: MIT */
#include "runtime/store/remote.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "runtime/exec/http.h"

enum { TRIES = 3 };

struct remote {
    char *url, *name;
    struct http *http;
    bool readonly;
};

/* ---- setting up ---- */

static const char *env(const char *name)
{
    const char *v = getenv(name);
    return v && *v ? v : NULL;
}

int remote_from_env(struct remote **out, struct err *e)
{
    const char *readonly = getenv("PKGRAPH_REMOTE_READONLY");
    struct http_login login = {env("PKGRAPH_REMOTE_TOKEN"), env("PKGRAPH_REMOTE_USER"), env("PKGRAPH_REMOTE_PASSWORD"), env("PKGRAPH_REMOTE_CA")};
    *out = NULL;
    if (!env("PKGRAPH_REMOTE"))
        return 0;
    struct remote *r = calloc(1, sizeof *r);
    if (!r || !(r->url = strdup(env("PKGRAPH_REMOTE"))) || !(r->name = http_public_name(r->url))) {
        remote_free(r);
        return err_nomem(e, sizeof *r, "the remote");
    }
    for (size_t n = strlen(r->url); n && r->url[n - 1] == '/';)
        r->url[--n] = 0;
    for (size_t n = strlen(r->name); n && r->name[n - 1] == '/';)
        r->name[--n] = 0;
    r->readonly = readonly && *readonly && strcmp(readonly, "0") != 0;
    int rc = http_is_url(r->url) ? http_new(&login, &r->http, e) : ERR_INPUT;
    if (rc == ERR_INPUT)
        err_set(e, rc, "$PKGRAPH_REMOTE (%s): an address that begins with http:// or https:// is needed", r->name);
    else if (rc != 0)
        err_prefix(e, "$PKGRAPH_REMOTE");
    if (rc != 0) {
        remote_free(r);
        return rc;
    }
    *out = r;
    return 0;
}

void remote_free(struct remote *r)
{
    if (!r)
        return;
    http_free(r->http);
    free(r->url);
    free(r->name);
    free(r);
}

const char *remote_name(const struct remote *r)
{
    return r->name;
}

bool remote_readonly(const struct remote *r)
{
    return r->readonly;
}

/* ---- one request ---- */

struct request {
    struct remote *r;
    const struct progress *progress;
    enum { GET, GET_FILE, HEAD, PUT } kind;
    size_t most;       /* GET, GET_FILE: bytes to accept */
    struct buf *out;   /* GET */
    int fd;            /* GET_FILE, PUT of a file (else -1) */
    uint64_t have;     /* GET_FILE: bytes in fd when it began */
    uint64_t at;       /* GET_FILE: the place in fd */
    bool fresh;        /* GET_FILE: the answer's status was looked at */
    const char *bytes; /* PUT of memory */
    uint64_t n;        /* PUT: bytes to send */
};

static int too_much(const struct request *q, struct err *e)
{
    return err_set(e, ERR_DAMAGED, "sends more than the %zu bytes that were to come", q->most);
}

static int on_body(void *u, long status, const char *p, size_t bytes, struct err *e)
{
    struct request *q = u;
    int rc = 0;
    if (status < 200 || status >= 300) /* the page that explains an error */
        return 0;
    if (q->kind == GET) {
        if (bytes > q->most - q->out->n)
            return too_much(q, e);
        buf_put(q->out, p, bytes);
        return q->out->failed ? err_nomem(e, 0, "a transfer") : 0;
    }
    if (q->kind != GET_FILE)
        return 0;
    if (!q->fresh) {
        q->fresh = true;
        q->at = status == 206 ? q->have : 0; /* 200: all of it comes, whatever we have */
        if (status != 206)
            q->have = 0;
        if (ftruncate(q->fd, (off_t)q->at) < 0)
            rc = err_errno(e, "partial download");
    }
    if (bytes > q->most - q->at)
        return too_much(q, e);
    for (size_t done = 0; rc == 0 && done < bytes;) {
        ssize_t k = pwrite(q->fd, p + done, bytes - done, (off_t)q->at);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            rc = err_errno(e, "partial download");
        else {
            done += (size_t)k;
            q->at += (uint64_t)k;
        }
    }
    progress_update(q->progress, (double)q->at, (double)q->most, "bytes");
    return rc;
}

static long on_send(void *u, uint64_t at, char *p, size_t want, struct err *e)
{
    struct request *q = u;
    if (q->fd < 0) {
        memcpy(p, q->bytes + at, want);
        return (long)want;
    }
    ssize_t k;
    do
        k = pread(q->fd, p, want, (off_t)at);
    while (k < 0 && errno == EINTR);
    if (k > 0)
        progress_update(q->progress, (double)at + (double)k, (double)q->n, "bytes");
    return k > 0 ? (long)k : err_set(e, ERR_IO, "the stored file cannot be read to its end");
}

/* What an answer's status means. 0; a negative error; 1: passing, worth another try. */
static int judge(const struct request *q, long status, const char *path, struct err *e)
{
    const char *name = q->r->name;
    if (status >= 200 && status < 300)
        return 0;
    if (status == 404 || status == 410)
        return err_set(e, ERR_NOTFOUND, "%s/%s: not there", name, path);
    if (status == 507 || status == 413)
        return err_set(e, ERR_NOSPACE, "%s/%s: the server has no room for it (status %ld)", name, path, status);
    if (status == 401 || status == 403)
        return err_set(e, ERR_IO, "%s/%s: access refused (status %ld); set $PKGRAPH_REMOTE_TOKEN, or $PKGRAPH_REMOTE_USER and _PASSWORD", name,
                       path, status);
    if (status == 416 && q->kind == GET_FILE) { /* what we have is not the beginning of it */
        err_set(e, ERR_IO, "%s/%s: cannot be resumed", name, path);
        return ftruncate(q->fd, 0) < 0 ? err_errno(e, "partial download") : 1;
    }
    err_set(e, ERR_IO, "%s/%s: answered with status %ld", name, path, status);
    return status >= 500 || status == 429 || status == 408 ? 1 : ERR_IO;
}

static void restart(struct request *q)
{
    struct stat st;
    if (q->kind == GET)
        buf_clear(q->out);
    if (q->kind == GET_FILE) /* goes on behind what the last try got */
        q->have = q->fd >= 0 && fstat(q->fd, &st) == 0 ? (uint64_t)st.st_size : 0;
    q->at = 0;
    q->fresh = false;
}

static int once(struct request *q, const char *url, const char *path, struct err *e)
{
    static const enum http_method methods[] = {[GET] = HTTP_GET, [GET_FILE] = HTTP_GET, [HEAD] = HTTP_HEAD, [PUT] = HTTP_PUT};
    struct http_request x = {.method = methods[q->kind], .url = url, .n = q->n, .from = q->kind == GET_FILE ? q->have : 0,
                             .send = on_send, .receive = on_body, .u = q, .progress = q->progress};
    struct http_answer a;
    int rc = http_perform(q->r->http, &x, &a, e);
    if (a.status == 416 && rc != 0 && rc != ERR_CANCELLED)
        rc = 0;
    if (rc == 0)
        return judge(q, a.status, path, e);
    if (rc == ERR_CANCELLED || rc == ERR_NOMEM)
        return rc;
    err_prefix(e, "%s/%s", q->r->name, path);
    return a.again ? 1 : rc;
}

static int perform(struct request *q, const char *path, struct err *e)
{
    struct buf url = {0};
    buf_printf(&url, "%s/%s", q->r->url, path);
    int rc = url.failed ? err_nomem(e, 0, "an address") : 1;
    for (int i = 0; rc == 1 && i < TRIES; i++) {
        struct timespec pause = {0, 200000000L << (i ? i - 1 : 0)};
        if (i)
            nanosleep(&pause, NULL);
        if (i)
            restart(q);
        rc = progress_cancelled(q->progress) ? err_set(e, ERR_CANCELLED, "cancelled") : once(q, url.p, path, e);
    }
    buf_release(&url);
    return rc == 1 ? e->code : rc;
}

/* ---- the calls ---- */

int remote_get(struct remote *r, const char *path, size_t most, struct buf *out, const struct progress *p, struct err *e)
{
    struct request q = {.r = r, .progress = p, .kind = GET, .most = most, .out = out, .fd = -1};
    return perform(&q, path, e);
}

int remote_get_file(struct remote *r, const char *path, int fd, uint64_t have, uint64_t most, bool *resumed, const struct progress *p,
                    struct err *e)
{
    struct request q = {.r = r, .progress = p, .kind = GET_FILE, .fd = fd, .have = have, .most = most};
    int rc = perform(&q, path, e);
    *resumed = have > 0 && q.have > 0;
    if (rc == 0 && !q.fresh && ftruncate(fd, 0) < 0) /* an empty body */
        rc = err_errno(e, "partial download");
    return rc;
}

int remote_has(struct remote *r, const char *path, const struct progress *p, struct err *e)
{
    struct request q = {.r = r, .progress = p, .kind = HEAD, .fd = -1};
    int rc = perform(&q, path, e);
    return rc == 0 ? 1 : rc == ERR_NOTFOUND ? 0 : rc;
}

int remote_put(struct remote *r, const char *path, const void *bytes, size_t n, const struct progress *p, struct err *e)
{
    struct request q = {.r = r, .progress = p, .kind = PUT, .fd = -1, .bytes = bytes, .n = n};
    return perform(&q, path, e);
}

int remote_put_file(struct remote *r, const char *path, const char *file, const struct progress *p, struct err *e)
{
    struct stat st;
    int fd = open(file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    int rc = fd < 0 || fstat(fd, &st) < 0 ? err_errno(e, "%s", file) : 0;
    if (rc == 0) {
        struct request q = {.r = r, .progress = p, .kind = PUT, .fd = fd, .n = (uint64_t)st.st_size};
        rc = perform(&q, path, e);
    }
    if (fd >= 0)
        close(fd);
    return rc;
}
