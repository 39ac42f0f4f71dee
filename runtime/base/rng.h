/* SPDX-License-Identifier: MIT
 *
 * rng: counter-based random numbers: the value at (seed, stream, index) is a pure function, so results do not depend on
 * the number of threads or the order of work. splitmix64: Steele, Lea, Flood 2014. Philox4x32-10: Salmon et al. 2011.
 */
#ifndef PKG_BASE_RNG_H
#define PKG_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

uint64_t rng_splitmix(uint64_t x);                             /* rng_splitmix(0) = 0xe220a8397b1dcdaf */
uint64_t rng_stream(uint64_t seed, const char *name);          /* a stream number from a name ("dropout", a parameter's) */
void rng_philox(uint64_t key, uint64_t hi, uint64_t lo, uint32_t out[4]);

uint64_t rng_u64(uint64_t seed, uint64_t stream, uint64_t i);
double rng_uniform(uint64_t seed, uint64_t stream, uint64_t i); /* [0, 1), 53 bits */
uint64_t rng_below(uint64_t seed, uint64_t stream, uint64_t i, uint64_t n); /* [0, n), n > 0 */
double rng_normal(uint64_t seed, uint64_t stream, uint64_t i);  /* N(0, 1), Box-Muller */
void rng_fill_normal(float *x, size_t n, double std, uint64_t seed, uint64_t stream);
void rng_fill_uniform(float *x, size_t n, double low, double high, uint64_t seed, uint64_t stream);
void rng_shuffle(uint32_t *x, size_t n, uint64_t seed, uint64_t stream); /* Fisher-Yates */

#endif
