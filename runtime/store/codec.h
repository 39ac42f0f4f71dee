/* SPDX-License-Identifier: MIT
 *
 * codec: the artifacts of a record as bytes, for the index. Integers little-endian, strings with their length (4 bytes)
 * in front:
 *   "R1", number of outputs (4), each: port, type, artifact digest (32), descriptor (JSON), number of files (4), each:
 *   name, digest (32), bytes (8).
 * Not JSON throughout, because a plan reads thousands of them.
 */
#ifndef PKG_STORE_CODEC_H
#define PKG_STORE_CODEC_H

#include "runtime/base/buf.h"
#include "runtime/store/store.h"

int record_encode(const struct record *r, struct buf *out, struct err *e); /* ERR_NOMEM */
/* A new record with ports and artifacts; without descriptors unless `desc`. NULL when the bytes are not a record's (or
 * memory is out). */
struct record *record_decode(struct str body, bool desc);

#endif
