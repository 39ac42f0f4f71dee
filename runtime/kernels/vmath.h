/* SPDX-License-Identifier: MIT
 *
 * vmath: exp and maximum in f32 for loops that the compiler vectorises, and the attribute that makes it do so for the processor at
 * hand. Private to this room.
 *
 * exp(x) = 2^n e^r with n = round(x log2 e), r = x - n ln 2 (ln 2 in two parts: Cody and Waite), |r| <= 0.35, and the
 * degree-6 polynomial 1 + r + r^2 p(r) with the coefficients of Cephes' expf (S. Moshier). Relative error below 1.2e-7 (one
 * unit in the last place) on [-87.33, 88.37]; below it 0, above it the largest value; NaN stays NaN. No fused
 * multiply-add, so that every vector width gives the same bytes.
 */
#ifndef PKG_KERNELS_VMATH_H
#define PKG_KERNELS_VMATH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Several versions of a function, chosen when the program is loaded. Not under the sanitizers, whose run time is not up
 * when the choice is made; nor with old clangs, whose resolvers of static functions are global symbols that clash. */
#if defined(__clang__) && __clang_major__ < 17
#define VECTOR
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__x86_64__)
#define VECTOR
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define VECTOR
#endif
#endif
#ifndef VECTOR
#define VECTOR __attribute__((target_clones("avx512f", "avx2", "default")))
#endif

static inline float vexp(float x)
{
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    float c = x > 88.3762f ? 88.3762f : x;
    c = c < -87.33f ? -87.33f : c;
    float t = c * 1.44269504088896341f + magic, n = t - magic;
    float r = c - n * 0.693359375f;
    r = r - n * -2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    float y = p * r * r + r + 1.0f;
    int32_t bits;
    memcpy(&bits, &t, 4);
    bits = (int32_t)(((uint32_t)bits - 0x4b400000u + 127u) << 23);
    float scale;
    memcpy(&scale, &bits, 4);
    y = y * scale;
    return x < -87.33f ? 0.0f : y;
}

/* The largest of n >= 1 numbers; lanes by hand, since a compiler that honours NaN may not make them. */
static inline float vmax(const float *x, size_t n)
{
    float m[32], best = x[0];
    size_t i = 0;
    if (n >= 32) {
        memcpy(m, x, sizeof m);
        for (i = 32; i + 32 <= n; i += 32)
#pragma omp simd
            for (size_t l = 0; l < 32; l++)
                m[l] = x[i + l] > m[l] ? x[i + l] : m[l];
        for (size_t l = 0; l < 32; l++)
            best = m[l] > best ? m[l] : best;
    }
    for (; i < n; i++)
        best = x[i] > best ? x[i] : best;
    return best;
}

#endif
