/* SPDX-License-Identifier: MIT */
#include "runtime/base/rng.h"

#include <math.h>

uint64_t rng_splitmix(uint64_t x)
{
    uint64_t z = x + 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

uint64_t rng_stream(uint64_t seed, const char *name)
{
    uint64_t h = rng_splitmix(seed);
    for (; *name; name++)
        h = rng_splitmix(h ^ (uint8_t)*name);
    return h;
}

void rng_philox(uint64_t key, uint64_t hi, uint64_t lo, uint32_t out[4])
{
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    uint32_t c0 = (uint32_t)lo, c1 = (uint32_t)(lo >> 32), c2 = (uint32_t)hi, c3 = (uint32_t)(hi >> 32);
    for (int r = 0; r < 10; r++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

uint64_t rng_u64(uint64_t seed, uint64_t stream, uint64_t i)
{
    uint32_t o[4];
    rng_philox(seed, stream, i, o);
    return (uint64_t)o[0] << 32 | o[1];
}

double rng_uniform(uint64_t seed, uint64_t stream, uint64_t i)
{
    return (double)(rng_u64(seed, stream, i) >> 11) * 0x1p-53;
}

uint64_t rng_below(uint64_t seed, uint64_t stream, uint64_t i, uint64_t n)
{
    return (uint64_t)((__uint128_t)rng_u64(seed, stream, i) * n >> 64);
}

double rng_normal(uint64_t seed, uint64_t stream, uint64_t i)
{
    uint32_t o[4];
    rng_philox(seed, stream, i, o);
    double u = ((double)(((uint64_t)o[0] << 32 | o[1]) >> 11) + 0.5) * 0x1p-53;
    double v = (double)(((uint64_t)o[2] << 32 | o[3]) >> 11) * 0x1p-53;
    return sqrt(-2 * log(u)) * cos(6.283185307179586476925 * v);
}

void rng_fill_normal(float *x, size_t n, double std, uint64_t seed, uint64_t stream)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(std * rng_normal(seed, stream, i));
}

void rng_fill_uniform(float *x, size_t n, double low, double high, uint64_t seed, uint64_t stream)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(low + (high - low) * rng_uniform(seed, stream, i));
}

void rng_shuffle(uint32_t *x, size_t n, uint64_t seed, uint64_t stream)
{
    for (size_t i = n; i > 1; i--) {
        size_t j = (size_t)rng_below(seed, stream, i, i);
        uint32_t t = x[i - 1];
        x[i - 1] = x[j];
        x[j] = t;
    }
}
