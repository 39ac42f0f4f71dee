/* SPDX-License-Identifier: MIT */
#include "runtime/exec/http.h"

#define CURL_DISABLE_TYPECHECK /* its checks are macros named as the functions, which a table of them cannot be called through */
#include <curl/curl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/buf.h"
#include "runtime/base/dso.h"

#define CURL_CALLS(X)                                                                                                          \
    X(curl_global_init) X(curl_easy_init) X(curl_easy_reset) X(curl_easy_setopt) X(curl_easy_perform) X(curl_easy_getinfo) \
    X(curl_easy_strerror) X(curl_easy_cleanup) X(curl_slist_append) X(curl_slist_free_all) \
    X(curl_version_info)

static struct {
    CURL_CALLS(DSO_FIELD)
} curl;
static const char *const curl_names[] = {CURL_CALLS(DSO_NAME)};
static struct dso curl_library = DSO("libcurl", PKG_CURL_FILE, PKG_CURL_PACKAGE, curl_names, curl);

enum { IDLE = 16, CONNECT_SECONDS = 10, SLOW_SECONDS = 15, SLOW_BYTES = 1000 };

struct http {
    char *token, *user, *password, *ca;
    pthread_mutex_t mutex;
    size_t n_idle;
    CURL *idle[IDLE];
};

static void init_curl(void)
{
    curl.curl_global_init(CURL_GLOBAL_DEFAULT);
}

static bool copy(char **to, const char *from)
{
    return !from || (*to = strdup(from)) != NULL;
}

int http_new(const struct http_login *l, struct http **out, struct err *e)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    *out = NULL;
    int rc = dso_load(&curl_library, e);
    if (rc != 0)
        return rc;
    pthread_once(&once, init_curl);
    struct http *h = calloc(1, sizeof *h);
    if (!h)
        return err_nomem(e, sizeof *h, "a client");
    pthread_mutex_init(&h->mutex, NULL);
    if (!copy(&h->token, l->token) || !copy(&h->user, l->user) || !copy(&h->password, l->password) || !copy(&h->ca, l->ca)) {
        http_free(h);
        return err_nomem(e, 0, "a client");
    }
    *out = h;
    return 0;
}

void http_free(struct http *h)
{
    if (!h)
        return;
    while (h->n_idle)
        curl.curl_easy_cleanup(h->idle[--h->n_idle]);
    pthread_mutex_destroy(&h->mutex);
    free(h->token);
    free(h->user);
    free(h->password);
    free(h->ca);
    free(h);
}

bool http_is_url(const char *text)
{
    return strncmp(text, "http://", 7) == 0 || strncmp(text, "https://", 8) == 0;
}

char *http_public_name(const char *url)
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

/* ---- one request ---- */

struct exchange {
    const struct http_request *q;
    CURL *curl;
    char text[CURL_ERROR_SIZE];
    uint64_t at; /* of what is sent */
    int rc;      /* why we stopped it ourselves */
    struct err why;
};

static CURL *take_handle(struct http *h)
{
    pthread_mutex_lock(&h->mutex);
    CURL *c = h->n_idle ? h->idle[--h->n_idle] : NULL;
    pthread_mutex_unlock(&h->mutex);
    if (c)
        curl.curl_easy_reset(c); /* the connection stays open */
    return c ? c : curl.curl_easy_init();
}

static void give_handle(struct http *h, CURL *c)
{
    pthread_mutex_lock(&h->mutex);
    if (h->n_idle < IDLE) {
        h->idle[h->n_idle++] = c;
        c = NULL;
    }
    pthread_mutex_unlock(&h->mutex);
    if (c)
        curl.curl_easy_cleanup(c);
}

static long status_of(CURL *c)
{
    long status = 0;
    curl.curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

static size_t on_body(char *p, size_t one, size_t n, void *u)
{
    struct exchange *x = u;
    size_t bytes = one * n;
    if (x->q->receive)
        x->rc = x->q->receive(x->q->u, status_of(x->curl), p, bytes, &x->why);
    return x->rc == 0 ? bytes : 0;
}

static size_t on_send(char *p, size_t one, size_t n, void *u)
{
    struct exchange *x = u;
    size_t want = one * n;
    uint64_t left = x->q->n - x->at;
    want = want < left ? want : (size_t)left;
    if (want == 0)
        return 0;
    long k = x->q->send(x->q->u, x->at, p, want, &x->why);
    if (k <= 0) {
        x->rc = k < 0 ? (int)k : err_set(&x->why, ERR_IO, "what is to be sent ends too soon");
        return CURL_READFUNC_ABORT;
    }
    x->at += (uint64_t)k;
    return (size_t)k;
}

static int on_seek(void *u, curl_off_t at, int origin)
{
    struct exchange *x = u;
    if (origin != SEEK_SET)
        return CURL_SEEKFUNC_CANTSEEK;
    x->at = (uint64_t)at;
    return CURL_SEEKFUNC_OK;
}

static int on_progress(void *u, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const struct exchange *x = u;
    (void)a;
    (void)b;
    (void)c;
    (void)d;
    return progress_cancelled(x->q->progress);
}

static void set_login(CURL *c, const struct http *h)
{
    if (h->ca)
        curl.curl_easy_setopt(c, CURLOPT_CAINFO, h->ca);
    if (h->token) {
        curl.curl_easy_setopt(c, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
        curl.curl_easy_setopt(c, CURLOPT_XOAUTH2_BEARER, h->token);
    } else if (h->user) {
        curl.curl_easy_setopt(c, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
        curl.curl_easy_setopt(c, CURLOPT_USERNAME, h->user);
        curl.curl_easy_setopt(c, CURLOPT_PASSWORD, h->password ? h->password : "");
    }
}

static void set_common(struct exchange *x)
{
    CURL *c = x->curl;
    curl.curl_easy_setopt(c, CURLOPT_URL, x->q->url);
    curl.curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl.curl_easy_setopt(c, CURLOPT_ERRORBUFFER, x->text);
    curl.curl_easy_setopt(c, CURLOPT_USERAGENT, "pkgraph/" PKG_VERSION);
    curl.curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl.curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, x->q->method == HTTP_POST ? 0L : 1L);
    curl.curl_easy_setopt(c, CURLOPT_MAXREDIRS, 5L);
    curl.curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
    if (x->q->seconds > 0) {
        curl.curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)(1000 * x->q->seconds) + 1);
    } else {
        curl.curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, (long)SLOW_BYTES);
        curl.curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, (long)SLOW_SECONDS);
    }
    curl.curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
    curl.curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl.curl_easy_setopt(c, CURLOPT_XFERINFODATA, x);
    curl.curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    curl.curl_easy_setopt(c, CURLOPT_WRITEDATA, x);
}

static void set_method(struct exchange *x)
{
    const struct http_request *q = x->q;
    CURL *c = x->curl;
    if (q->method == HTTP_HEAD)
        curl.curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
    if (q->method == HTTP_GET && q->from)
        curl.curl_easy_setopt(c, CURLOPT_RESUME_FROM_LARGE, (curl_off_t)q->from);
    if (q->method != HTTP_PUT && q->method != HTTP_POST)
        return;
    if (q->method == HTTP_PUT) {
        curl.curl_easy_setopt(c, CURLOPT_UPLOAD, 1L);
        curl.curl_easy_setopt(c, CURLOPT_INFILESIZE_LARGE, (curl_off_t)q->n);
    } else {
        curl.curl_easy_setopt(c, CURLOPT_POST, 1L);
        curl.curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)q->n);
    }
    curl.curl_easy_setopt(c, CURLOPT_READFUNCTION, on_send);
    curl.curl_easy_setopt(c, CURLOPT_READDATA, x);
    curl.curl_easy_setopt(c, CURLOPT_SEEKFUNCTION, on_seek);
    curl.curl_easy_setopt(c, CURLOPT_SEEKDATA, x);
}

static int set_headers(struct exchange *x, struct curl_slist **out, struct err *e)
{
    struct buf b = {0};
    *out = NULL;
    if (!x->q->type)
        return 0;
    buf_printf(&b, "Content-Type: %s", x->q->type);
    *out = b.failed ? NULL : curl.curl_slist_append(NULL, b.p);
    buf_release(&b);
    if (!*out)
        return err_nomem(e, 0, "a request");
    curl.curl_easy_setopt(x->curl, CURLOPT_HTTPHEADER, *out);
    return 0;
}

static int outcome(const struct exchange *x, CURLcode code, struct http_answer *a, struct err *e)
{
    curl_off_t wait = 0;
    a->status = status_of(x->curl);
    if (curl.curl_easy_getinfo(x->curl, CURLINFO_RETRY_AFTER, &wait) == CURLE_OK && wait > 0)
        a->retry_after = (double)wait;
    if (x->rc != 0) {
        *e = x->why;
        return x->rc;
    }
    if (code == CURLE_ABORTED_BY_CALLBACK)
        return err_set(e, ERR_CANCELLED, "cancelled");
    if (code == CURLE_OUT_OF_MEMORY)
        return err_nomem(e, 0, "a transfer");
    if (code == CURLE_OK)
        return 0;
    a->again = code != CURLE_PEER_FAILED_VERIFICATION && code != CURLE_URL_MALFORMAT && code != CURLE_SSL_CACERT_BADFILE &&
               code != CURLE_UNSUPPORTED_PROTOCOL;
    return err_set(e, ERR_IO, "%s", x->text[0] ? x->text : curl.curl_easy_strerror(code));
}

int http_perform(struct http *h, const struct http_request *q, struct http_answer *a, struct err *e)
{
    struct exchange x = {.q = q, .curl = take_handle(h)};
    struct curl_slist *headers = NULL;
    *a = (struct http_answer){.retry_after = -1};
    if (!x.curl)
        return err_nomem(e, 0, "a transfer");
    set_common(&x);
    set_login(x.curl, h);
    set_method(&x);
    int rc = set_headers(&x, &headers, e);
    if (rc == 0)
        rc = outcome(&x, curl.curl_easy_perform(x.curl), a, e);
    give_handle(h, x.curl);
    curl.curl_slist_free_all(headers);
    return rc;
}

const char *http_library_version(void)
{
    struct err ignored;
    return dso_load(&curl_library, &ignored) == 0 ? curl.curl_version_info(CURLVERSION_NOW)->version : NULL;
}
