/* SPDX-License-Identifier: MIT
 *
 * sha: SHA-256 through OpenSSL's EVP (hardware instructions where the processor has them). The only file that includes
 * OpenSSL. Reentrant.
 */
#ifndef PKG_BASE_SHA_H
#define PKG_BASE_SHA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/err.h"

struct digest {
    uint8_t b[32];
};

struct sha;                                             /* a running digest */
struct sha *sha_new(void);                              /* NULL when out of memory */
void sha_add(struct sha *s, const void *p, size_t n);
void sha_end(struct sha *s, struct digest *out);        /* frees s */

void sha_bytes(const void *p, size_t n, struct digest *out);
int sha_file(const char *path, struct digest *out, uint64_t *bytes, struct err *e); /* reads it; bytes may be NULL */
/* The same, telling `more` after every few MiB how many bytes are done; false from it ends it with ERR_CANCELLED. */
int sha_file_told(const char *path, struct digest *out, uint64_t *bytes, bool (*more)(void *u, uint64_t done), void *u, struct err *e);

#define DIGEST_HEX 65
void digest_hex(const struct digest *d, char out[DIGEST_HEX]); /* 64 lower-case digits and NUL */
int digest_parse(const char *hex, struct digest *out);         /* 0, or -1 unless exactly 64 hex digits */
int digest_cmp(const struct digest *a, const struct digest *b);

const char *sha_library_version(void); /* of OpenSSL, for `doctor`; such a function in each wrapper of a library */

#endif
