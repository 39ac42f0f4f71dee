/* SPDX-License-Identifier: MIT */
#include "runtime/base/sha.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/ahead.h"

static EVP_MD_CTX *ctx_of(struct sha *s)
{
    return (EVP_MD_CTX *)s;
}

struct sha *sha_new(void)
{
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    if (c && EVP_DigestInit_ex(c, EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(c);
        c = NULL;
    }
    return (struct sha *)c;
}

void sha_add(struct sha *s, const void *p, size_t n)
{
    if (n)
        EVP_DigestUpdate(ctx_of(s), p, n);
}

void sha_end(struct sha *s, struct digest *out)
{
    EVP_DigestFinal_ex(ctx_of(s), out->b, NULL);
    EVP_MD_CTX_free(ctx_of(s));
}

void sha_bytes(const void *p, size_t n, struct digest *out)
{
    EVP_Digest(p ? p : "", n, out->b, NULL, EVP_sha256(), NULL);
}

int sha_file(const char *path, struct digest *out, uint64_t *bytes, struct err *e)
{
    return sha_file_told(path, out, bytes, NULL, NULL, e);
}

/* Large files are read in another thread: copying them out of the page cache takes a fifth of what digesting takes. */
static ssize_t next_piece(int fd, struct ahead *a, char *room, size_t size, const void **p)
{
    ssize_t n;
    if (a)
        return ahead_next(a, p);
    do
        n = read(fd, room, size);
    while (n < 0 && errno == EINTR);
    *p = room;
    return n;
}

int sha_file_told(const char *path, struct digest *out, uint64_t *bytes, bool (*more)(void *u, uint64_t done), void *u, struct err *e)
{
    enum { CHUNK = 1 << 18, LARGE = 1 << 25, TOLD = 1 << 24 };
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? err_set(e, ERR_NOTFOUND, "%s: no such file", path) : err_errno(e, "%s", path);
    struct stat st;
    if (fstat(fd, &st) < 0)
        st.st_size = 0;
    bool large = st.st_size >= LARGE;
    if (large)
        posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    struct ahead *a = large ? ahead_new(fd) : NULL;
    size_t size = st.st_size > 0 && st.st_size < CHUNK ? (size_t)st.st_size + 1 : CHUNK;
    char *room = a ? NULL : malloc(size);
    struct sha *s = sha_new();
    const void *p;
    uint64_t total = 0;
    int rc = s && (a || room) ? 0 : err_nomem(e, size, "digest");
    while (rc == 0) {
        ssize_t n = next_piece(fd, a, room, size, &p);
        if (n < 0)
            rc = err_errno(e, "%s: read", path);
        if (n <= 0)
            break;
        sha_add(s, p, (size_t)n);
        total += (uint64_t)n;
        if (more && total % TOLD < (uint64_t)n && !more(u, total))
            rc = err_set(e, ERR_CANCELLED, "cancelled");
    }
    if (s)
        sha_end(s, out);
    ahead_free(a);
    free(room);
    close(fd);
    if (bytes)
        *bytes = total;
    return rc;
}

void digest_hex(const struct digest *d, char out[DIGEST_HEX])
{
    static const char hex[] = "0123456789abcdef";
    for (int i = 0; i < 32; i++) {
        out[2 * i] = hex[d->b[i] >> 4];
        out[2 * i + 1] = hex[d->b[i] & 15];
    }
    out[64] = 0;
}

static int nibble(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int digest_parse(const char *hex, struct digest *out)
{
    for (int i = 0; i < 32; i++) {
        int hi = nibble(hex[2 * i]), lo = hi < 0 ? -1 : nibble(hex[2 * i + 1]);
        if (lo < 0)
            return -1;
        out->b[i] = (uint8_t)(hi << 4 | lo);
    }
    return hex[64] == 0 ? 0 : -1;
}

int digest_cmp(const struct digest *a, const struct digest *b)
{
    return memcmp(a->b, b->b, sizeof a->b);
}

const char *sha_library_version(void)
{
    return OpenSSL_version(OPENSSL_VERSION_STRING);
}
