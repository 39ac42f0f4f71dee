/* SPDX-License-Identifier: MIT
 *
 * sha_blocks: the compression function of SHA-256 (FIPS 180-4, 6.2.2) over whole blocks; the private half of sha. Three ways
 * to the same bits: the processor's instructions (x86 SHA extensions), libcrypto, plain C. The only file that includes
 * OpenSSL, which is loaded where the processor has no such instructions and there is much to digest.
 */
#ifndef PKG_BASE_SHA_BLOCKS_H
#define PKG_BASE_SHA_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

extern const uint32_t sha_begin[8]; /* the state before the first block */

/* h: the state, changed by n blocks of 64 bytes at p (any alignment). The best way for this machine and n. Any thread. */
void sha_blocks(uint32_t h[8], const uint8_t *p, size_t n);

/* One way each; false: not on this machine, nothing was done. */
bool sha_blocks_hardware(uint32_t h[8], const uint8_t *p, size_t n);
bool sha_blocks_crypto(uint32_t h[8], const uint8_t *p, size_t n);
void sha_blocks_plain(uint32_t h[8], const uint8_t *p, size_t n);

#endif
