/* SPDX-License-Identifier: MIT
 *
 * codec: the artifacts of a record as bytes, for the index. Integers little-endian, strings with their length (4 bytes)
 * in front:
 *   "R2", number of outputs (4), each: port, type, artifact digest (32), descriptor (JSON), number of files (4), each:
 *   name, digest (32), bytes (8); at the end a sum (8, check.h) over the key and all before it.
 * "R1", of older stores, is the same without the sum. Not JSON throughout, because a plan reads thousands of them.
 */
#ifndef PKG_STORE_CODEC_H
#define PKG_STORE_CODEC_H

#include "runtime/base/buf.h"
#include "runtime/store/store.h"

int record_encode(const struct record *r, struct buf *out, struct err *e); /* ERR_NOMEM */
/* A new record with key, ports and artifacts (descriptors as text). NULL when the bytes are not those of a record of this key (or
 * memory is out). */
struct record *record_decode(struct str body, const struct digest *key);

#endif
