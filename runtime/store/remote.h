/* SPDX-License-Identifier: MIT
 *
 * remote: a server that keeps records under /ac/KEY and contents under /cas/SHA256, over HTTP(S): GET, HEAD, PUT. Any
 * server that stores what it is PUT will do (nginx with WebDAV, bazel-remote). Any thread.
 *
 * Environment (remote_from_env): PKGRAPH_REMOTE is the address, PKGRAPH_REMOTE_TOKEN a bearer token, or
 * PKGRAPH_REMOTE_USER and PKGRAPH_REMOTE_PASSWORD for basic authentication, PKGRAPH_REMOTE_CA a file with the certificate
 * authority to trust, PKGRAPH_REMOTE_READONLY=1 to fetch and never send. What passes is tried again with growing pauses
 * (no connection, time out, 5xx, 429); a transfer slower than 1 KB/s over 15 s counts as failed.
 */
#ifndef PKG_STORE_REMOTE_H
#define PKG_STORE_REMOTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/buf.h"
#include "runtime/base/err.h"
#include "runtime/exec/progress.h"

struct remote;

int remote_from_env(struct remote **out, struct err *e); /* *out NULL: $PKGRAPH_REMOTE is not set */
void remote_free(struct remote *r);
const char *remote_name(const struct remote *r); /* the address without credentials, for messages */
bool remote_readonly(const struct remote *r);

/* Paths are "ac/..." and "cas/...". ERR_NOTFOUND: the server has no such thing; ERR_NOSPACE: it is full; ERR_CANCELLED
 * when p says so; ERR_IO else. p is told the bytes of files as they move. */
int remote_get(struct remote *r, const char *path, size_t most, struct buf *out, const struct progress *p, struct err *e);
/* Appends to fd, which holds the first `have` bytes, what is missing; a server that cannot resume sends all again. At most
 * `most` bytes in all. *resumed: bytes of an earlier attempt are in it. */
int remote_get_file(struct remote *r, const char *path, int fd, uint64_t have, uint64_t most, bool *resumed, const struct progress *p,
                    struct err *e);
int remote_has(struct remote *r, const char *path, const struct progress *p, struct err *e); /* 1, 0, or an error */
int remote_put(struct remote *r, const char *path, const void *bytes, size_t n, const struct progress *p, struct err *e);
int remote_put_file(struct remote *r, const char *path, const char *file, const struct progress *p, struct err *e);

#endif
