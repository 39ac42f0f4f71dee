/* SPDX-License-Identifier: MIT
 *
 * dropout: the mask is a pure function of (seed, stream, index). Seed and stream are mixed once, in 64 bits (splitmix64's
 * finaliser), into two 32-bit keys; an index is mixed in 32 bits (the "lowbias32" constants of C. Wellons' hash search),
 * keyed before and between the rounds, which the compiler vectorises. Indices beyond 2^32 change the keys.
 */
#include "runtime/kernels/dropout.h"

#include <string.h>

#include "runtime/exec/par.h"
#include "runtime/kernels/vmath.h"

enum { SLAB = 32768 };

struct job {
    float *y;
    const float *x;
    uint32_t drop_below;
    float scale;
    uint64_t key, base;
};

static uint64_t mix64(uint64_t z)
{
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static uint64_t stream_key(uint64_t seed, uint64_t stream)
{
    return mix64(mix64(seed + 0x9e3779b97f4a7c15u) + stream * 0xd1342543de82ef95u + 0x9e3779b97f4a7c15u);
}

static inline uint32_t hash32(uint32_t i, uint32_t k0, uint32_t k1)
{
    uint32_t h = i ^ k0;
    h = (h ^ h >> 16) * 0x7feb352du;
    h = (h ^ h >> 15) * 0x846ca68bu;
    h = (h ^ h >> 16) + k1;
    h = (h ^ h >> 16) * 0x7feb352du;
    h = (h ^ h >> 15) * 0x846ca68bu;
    return h ^ h >> 16;
}

VECTOR static void mask(float *y, const float *x, size_t n, uint32_t i0, uint32_t k0, uint32_t k1, uint32_t below, float scale)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        float kept = x[i] * scale;
        y[i] = hash32(i0 + (uint32_t)i, k0, k1) >= below ? kept : 0.0f;
    }
}

static void slab(void *u, size_t first, size_t n)
{
    const struct job *j = u;
    while (n) {
        uint64_t at = j->base + first, to_wrap = ((uint64_t)1 << 32) - (at & 0xffffffffu), key = j->key;
        if (at >> 32)
            key = mix64(key + (at >> 32));
        size_t here = n < to_wrap ? n : (size_t)to_wrap;
        mask(j->y + first, j->x + first, here, (uint32_t)at, (uint32_t)key, (uint32_t)(key >> 32), j->drop_below, j->scale);
        first += here;
        n -= here;
    }
}

/* u = h / 2^32 >= p exactly when h >= ceil(p 2^32). */
static uint32_t threshold(double p)
{
    double t = p * 0x1p32;
    uint64_t c = (uint64_t)t;
    c += (double)c < t;
    return c > 0xffffffffu ? 0xffffffffu : (uint32_t)c;
}

void dropout_apply(float *y, const float *x, size_t n, double p, uint64_t seed, uint64_t stream, uint64_t base)
{
    if (!(p > 0)) {
        memmove(y, x, n * sizeof *y);
        return;
    }
    struct job j = {y, x, threshold(p), (float)(1 / (1 - p)), stream_key(seed, stream), base};
    par_slabs(n, SLAB, slab, &j);
}

void dropout_apply_ref(float *y, const float *x, size_t n, double p, uint64_t seed, uint64_t stream, uint64_t base)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t at = base + i, key = stream_key(seed, stream);
        if (at >> 32)
            key = mix64(key + (at >> 32));
        double u = (double)hash32((uint32_t)at, (uint32_t)key, (uint32_t)(key >> 32)) * 0x1p-32;
        y[i] = !(p > 0) ? x[i] : u >= p ? x[i] * (float)(1 / (1 - p)) : 0.0f;
    }
}
