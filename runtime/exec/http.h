/* SPDX-License-Identifier: MIT
 *
 * http: one request to a server and its answer. The one wrapper of libcurl, which is loaded by the first http_new. A client keeps
 * connections open between requests; any thread, each request takes a connection of its own. Redirections are followed (of GET and
 * HEAD), http and https only. What is sent and received goes through callbacks; trying again is the caller's.
 */
#ifndef PKG_EXEC_HTTP_H
#define PKG_EXEC_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/err.h"
#include "runtime/exec/progress.h"

struct http;

/* Who asks: a bearer token, else a user with a password (may be NULL), else nobody; a file with the certificate authority to
 * trust, NULL: the system's. Copied. */
struct http_login {
    const char *token, *user, *password, *ca;
};
int http_new(const struct http_login *l, struct http **out, struct err *e); /* ERR_UNSUPPORTED: no libcurl */
void http_free(struct http *h);                                             /* NULL is fine; no request may be under way */

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_PUT, HTTP_POST };

struct http_request {
    enum http_method method;
    const char *url;
    const char *type;  /* content type of what is sent; NULL: not said */
    uint64_t n;        /* PUT, POST: bytes to send */
    uint64_t from;     /* GET: asks for the bytes from here on */
    double seconds;    /* for all of it; 0: as long as bytes flow (1 KB/s over 15 s) */
    /* n bytes of what is sent, from byte `at` on, to p: how many, at least one, or an error. */
    long (*send)(void *u, uint64_t at, char *p, size_t n, struct err *e);
    /* Bytes of the body of an answer with this status; an error ends the request. NULL: the body is thrown away. */
    int (*receive)(void *u, long status, const char *p, size_t n, struct err *e);
    void *u;
    const struct progress *progress; /* for cancellation */
};

struct http_answer {
    long status;        /* 0: none came */
    double retry_after; /* seconds that the server asks to wait; negative: it does not say */
    bool again;         /* no whole answer, and another try may help */
};

/* 0: an answer came whole, whatever its status. ERR_CANCELLED; what send or receive returned; ERR_NOMEM; else ERR_IO with the reason
 * in e, without the address. */
int http_perform(struct http *h, const struct http_request *q, struct http_answer *a, struct err *e);

/* "https://user:secret@host/x" as "https://host/x", for messages: malloc'ed. */
char *http_public_name(const char *url);
bool http_is_url(const char *text); /* begins with http:// or https:// */

const char *http_library_version(void); /* of libcurl, which is loaded for it; NULL: it is not there */

#endif
