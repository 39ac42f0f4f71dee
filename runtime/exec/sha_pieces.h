/* SPDX-License-Identifier: MIT
 *
 * sha_pieces: the digest of a user's file. SHA-256 is one chain, which one processor follows at 2 GB/s, so that a checkpoint would
 * keep the others waiting. A file of at most SHA_PIECE bytes has its SHA-256; a longer one the SHA-256 of a text, which any
 * shell can make (docs/store.md): the line "pkgraph pieces 67108864", then a line for each piece of SHA_PIECE bytes, in order (the last
 * may be shorter), with its SHA-256 in hex. No checkpoint, archive or data file begins with that line.
 * Blobs of the store are named by their plain SHA-256.
 */
#ifndef PKG_EXEC_SHA_PIECES_H
#define PKG_EXEC_SHA_PIECES_H

#include "runtime/base/sha.h"
#include "runtime/exec/progress.h"

enum { SHA_PIECE = 64 << 20 };

/* Reads the file in the team of the calling thread. p is told the bytes read so far, from one thread at a time. ERR_NOTFOUND, ERR_IO,
 * ERR_CANCELLED. A file that grows or shrinks meanwhile gets some digest: the caller looks at its state before and after. */
int sha_pieces_file(const char *path, const struct progress *p, struct digest *out, struct err *e);

#endif
