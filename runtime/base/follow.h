/* SPDX-License-Identifier: MIT
 *
 * follow: the SHA-256 of a file while it is being written. A thread of its own reads behind the writers what is final, so that a large
 * file is not read a second time when it is finished, by then perhaps from the disk, and on one processor. What it has read starts on its
 * way to the disk, so that fsync does not find gigabytes to wait for.
 *
 * It only saves time: whatever goes wrong (no thread, no memory, a read error) leaves follow_end without a digest, and the caller
 * reads the file as if there had been nothing.
 */
#ifndef PKG_BASE_FOLLOW_H
#define PKG_BASE_FOLLOW_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/base/sha.h"

struct follow;
struct follow *follow_new(int fd); /* NULL: cannot. fd is readable, stays the caller's and open until the follow is freed */
void follow_free(struct follow *f); /* NULL is fine; waits for the thread, which stops at once */

/* The first `bytes` bytes are written and will not change. Any thread; smaller than before is fine. */
void follow_to(struct follow *f, uint64_t bytes);
/* All of the file, `bytes` bytes, is final: waits for the digest. false: there is none. Once. */
bool follow_end(struct follow *f, uint64_t bytes, struct digest *out);

#endif
