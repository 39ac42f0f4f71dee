/* SPDX-License-Identifier: MIT */
#include "runtime/store/remote.h"

#define CURL_DISABLE_TYPECHECK /* its checks are macros named as the functions, which a table of them cannot be called through */
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "runtime/base/dso.h"

#define CURL_CALLS(X)                                                                                                          \
    X(curl_global_init) X(curl_easy_init) X(curl_easy_reset) X(curl_easy_setopt) X(curl_easy_perform) X(curl_easy_getinfo) \
    X(curl_easy_strerror) X(curl_easy_cleanup)

static struct {
    CURL_CALLS(DSO_FIELD)
} curl;
static const char *const curl_names[] = {CURL_CALLS(DSO_NAME)};
static struct dso curl_library = DSO("libcurl", PKG_CURL_FILE, PKG_CURL_PACKAGE, curl_names, curl);

enum { TRIES = 3, IDLE = 16, CONNECT_SECONDS = 10, SLOW_SECONDS = 15, SLOW_BYTES = 1000 };

struct remote {
    char *url, *name, *token, *user, *password, *ca;
    bool readonly;
    pthread_mutex_t mutex;
    size_t n_idle;
    CURL *idle[IDLE];
};

/* ---- setting up ---- */

static void init_curl(void)
{
    curl.curl_global_init(CURL_GLOBAL_DEFAULT);
}

static char *from_env(const char *name)
{
    const char *v = getenv(name);
    return v && *v ? strdup(v) : NULL;
}

/* "https://user:secret@host/x" as "https://host/x" */
static char *without_credentials(const char *url)
{
    const char *start = strstr(url, "://"), *at, *slash;
    struct buf b = {0};
    start = start ? start + 3 : url;
    slash = strchr(start, '/');
    at = strchr(start, '@');
    if (!at || (slash && at > slash))
        return strdup(url);
    buf_printf(&b, "%.*s%s", (int)(start - url), url, at + 1);
    return buf_steal(&b);
}

int remote_from_env(struct remote **out, struct err *e)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    char *url = from_env("PKGRAPH_REMOTE"), *readonly = from_env("PKGRAPH_REMOTE_READONLY");
    *out = NULL;
    if (!url) {
        free(readonly);
        return 0;
    }
    if (dso_load(&curl_library, e)) {
        free(url);
        free(readonly);
        return err_prefix(e, "$PKGRAPH_REMOTE");
    }
    pthread_once(&once, init_curl);
    size_t n = strlen(url);
    while (n && url[n - 1] == '/')
        url[--n] = 0;
    struct remote *r = calloc(1, sizeof *r);
    char *name = without_credentials(url);
    int rc = !r || !name ? err_nomem(e, n, "the remote") : 0;
    if (rc == 0 && strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0)
        rc = err_set(e, ERR_INPUT, "$PKGRAPH_REMOTE (%s): an address that begins with http:// or https:// is needed", name);
    if (rc != 0) {
        free(r);
        free(url);
        free(name);
        free(readonly);
        return rc;
    }
    *r = (struct remote){.url = url, .name = name, .token = from_env("PKGRAPH_REMOTE_TOKEN"), .user = from_env("PKGRAPH_REMOTE_USER"),
                         .password = from_env("PKGRAPH_REMOTE_PASSWORD"), .ca = from_env("PKGRAPH_REMOTE_CA"),
                         .readonly = readonly && strcmp(readonly, "0") != 0};
    pthread_mutex_init(&r->mutex, NULL);
    free(readonly);
    *out = r;
    return 0;
}

void remote_free(struct remote *r)
{
    if (!r)
        return;
    while (r->n_idle)
        curl.curl_easy_cleanup(r->idle[--r->n_idle]);
    pthread_mutex_destroy(&r->mutex);
    free(r->url);
    free(r->name);
    free(r->token);
    free(r->user);
    free(r->password);
    free(r->ca);
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
    CURL *curl;
    char text[CURL_ERROR_SIZE];
    size_t most;        /* GET, GET_FILE: bytes to accept */
    struct buf *out;    /* GET */
    int fd;             /* GET_FILE, PUT of a file (else -1) */
    uint64_t have;      /* GET_FILE: bytes in fd when it began */
    uint64_t at;        /* bytes moved, or the place in fd */
    bool fresh;         /* GET_FILE: the answer's status was looked at */
    const char *bytes;  /* PUT of memory */
    uint64_t n;         /* PUT: bytes to send */
    int rc;             /* why we stopped it ourselves */
    struct err why;
};

static CURL *take_handle(struct remote *r)
{
    pthread_mutex_lock(&r->mutex);
    CURL *c = r->n_idle ? r->idle[--r->n_idle] : NULL;
    pthread_mutex_unlock(&r->mutex);
    if (c)
        curl.curl_easy_reset(c); /* the connection stays open */
    return c ? c : curl.curl_easy_init();
}

static void give_handle(struct remote *r, CURL *c)
{
    pthread_mutex_lock(&r->mutex);
    if (r->n_idle < IDLE) {
        r->idle[r->n_idle++] = c;
        c = NULL;
    }
    pthread_mutex_unlock(&r->mutex);
    if (c)
        curl.curl_easy_cleanup(c);
}

static long status_of(CURL *c)
{
    long status = 0;
    curl.curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

static size_t too_much(struct request *q)
{
    q->rc = err_set(&q->why, ERR_DAMAGED, "sends more than the %zu bytes that were to come", q->most);
    return 0;
}

static size_t on_body(char *p, size_t one, size_t n, void *u)
{
    struct request *q = u;
    size_t bytes = one * n;
    long status = status_of(q->curl);
    if (status < 200 || status >= 300) /* the page that explains an error */
        return bytes;
    if (q->kind == GET) {
        if (bytes > q->most - q->out->n)
            return too_much(q);
        buf_put(q->out, p, bytes);
        return q->out->failed ? 0 : bytes;
    }
    if (q->kind != GET_FILE)
        return bytes;
    if (!q->fresh) {
        q->fresh = true;
        q->at = status == 206 ? q->have : 0; /* 200: all of it comes, whatever we have */
        if (status != 206)
            q->have = 0;
        if (ftruncate(q->fd, (off_t)q->at) < 0)
            q->rc = err_errno(&q->why, "partial download");
    }
    if (bytes > q->most - q->at)
        return too_much(q);
    for (size_t done = 0; q->rc == 0 && done < bytes;) {
        ssize_t k = pwrite(q->fd, p + done, bytes - done, (off_t)q->at);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            q->rc = err_errno(&q->why, "partial download");
        else {
            done += (size_t)k;
            q->at += (uint64_t)k;
        }
    }
    return q->rc == 0 ? bytes : 0;
}

static size_t on_send(char *p, size_t one, size_t n, void *u)
{
    struct request *q = u;
    size_t want = one * n, left = (size_t)(q->n - q->at);
    want = want < left ? want : left;
    if (q->fd < 0) {
        memcpy(p, q->bytes + q->at, want);
        q->at += want;
        return want;
    }
    ssize_t k;
    do
        k = pread(q->fd, p, want, (off_t)q->at);
    while (k < 0 && errno == EINTR);
    if (k < 0 || (k == 0 && want)) {
        q->rc = err_set(&q->why, ERR_IO, "the stored file cannot be read to its end");
        return CURL_READFUNC_ABORT;
    }
    q->at += (uint64_t)k;
    return (size_t)k;
}

static int on_seek(void *u, curl_off_t at, int origin)
{
    struct request *q = u;
    if (origin != SEEK_SET)
        return CURL_SEEKFUNC_CANTSEEK;
    q->at = (uint64_t)at;
    return CURL_SEEKFUNC_OK;
}

static int on_progress(void *u, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const struct request *q = u;
    (void)a;
    (void)b;
    (void)c;
    (void)d;
    return progress_cancelled(q->progress);
}

static void set_common(struct request *q, const char *url)
{
    CURL *c = q->curl;
    curl.curl_easy_setopt(c, CURLOPT_URL, url);
    curl.curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl.curl_easy_setopt(c, CURLOPT_ERRORBUFFER, q->text);
    curl.curl_easy_setopt(c, CURLOPT_USERAGENT, "pkgraph/" PKG_VERSION);
    curl.curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl.curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
    curl.curl_easy_setopt(c, CURLOPT_MAXREDIRS, 5L);
    curl.curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
    curl.curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, (long)SLOW_BYTES);
    curl.curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, (long)SLOW_SECONDS);
    curl.curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
    curl.curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl.curl_easy_setopt(c, CURLOPT_XFERINFODATA, q);
    curl.curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    curl.curl_easy_setopt(c, CURLOPT_WRITEDATA, q);
    if (q->r->ca)
        curl.curl_easy_setopt(c, CURLOPT_CAINFO, q->r->ca);
    if (q->r->token) {
        curl.curl_easy_setopt(c, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
        curl.curl_easy_setopt(c, CURLOPT_XOAUTH2_BEARER, q->r->token);
    } else if (q->r->user) {
        curl.curl_easy_setopt(c, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
        curl.curl_easy_setopt(c, CURLOPT_USERNAME, q->r->user);
        curl.curl_easy_setopt(c, CURLOPT_PASSWORD, q->r->password ? q->r->password : "");
    }
}

static void set_kind(struct request *q)
{
    CURL *c = q->curl;
    if (q->kind == HEAD)
        curl.curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
    if (q->kind == GET_FILE && q->have)
        curl.curl_easy_setopt(c, CURLOPT_RESUME_FROM_LARGE, (curl_off_t)q->have);
    if (q->kind == PUT) {
        curl.curl_easy_setopt(c, CURLOPT_UPLOAD, 1L);
        curl.curl_easy_setopt(c, CURLOPT_READFUNCTION, on_send);
        curl.curl_easy_setopt(c, CURLOPT_READDATA, q);
        curl.curl_easy_setopt(c, CURLOPT_SEEKFUNCTION, on_seek);
        curl.curl_easy_setopt(c, CURLOPT_SEEKDATA, q);
        curl.curl_easy_setopt(c, CURLOPT_INFILESIZE_LARGE, (curl_off_t)q->n);
    }
}

/* 0; a negative error; 1: passing, worth another try. */
static int judge(struct request *q, CURLcode code, const char *path, struct err *e)
{
    const char *name = q->r->name;
    long status = status_of(q->curl);
    if (q->rc != 0)
        return err_set(e, q->rc, "%s/%s: %s", name, path, q->why.msg);
    if (code == CURLE_ABORTED_BY_CALLBACK)
        return err_set(e, ERR_CANCELLED, "cancelled");
    if (code == CURLE_OUT_OF_MEMORY || (q->kind == GET && q->out->failed))
        return err_nomem(e, 0, "a transfer");
    if (code == CURLE_OK && status >= 200 && status < 300)
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
        return 1;
    }
    if (code == CURLE_OK) {
        err_set(e, ERR_IO, "%s/%s: answered with status %ld", name, path, status);
        return status >= 500 || status == 429 || status == 408 ? 1 : ERR_IO;
    }
    err_set(e, ERR_IO, "%s/%s: %s", name, path, q->text[0] ? q->text : curl.curl_easy_strerror(code));
    return code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_URL_MALFORMAT || code == CURLE_SSL_CACERT_BADFILE ? ERR_IO : 1;
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
    q->text[0] = 0;
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
        if (progress_cancelled(q->progress)) {
            rc = err_set(e, ERR_CANCELLED, "cancelled");
            break;
        }
        q->curl = take_handle(q->r);
        if (!q->curl) {
            rc = err_nomem(e, 0, "a transfer");
            break;
        }
        set_common(q, url.p);
        set_kind(q);
        rc = judge(q, curl.curl_easy_perform(q->curl), path, e);
        if (rc == 1 && status_of(q->curl) == 416 && ftruncate(q->fd, 0) < 0)
            rc = err_errno(e, "partial download");
        give_handle(q->r, q->curl);
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

int remote_has(struct remote *r, const char *path, struct err *e)
{
    struct request q = {.r = r, .kind = HEAD, .fd = -1};
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
