/* SPDX-License-Identifier: MIT
 *
 * fold: weights of 16 bits are expanded in registers where there is AVX-512, and elsewhere some at a time on the stack.
 */
#include "runtime/kernels/fold.h"

#include <stdint.h>

#include "runtime/kernels/convert.h"
#include "runtime/kernels/vmath.h"

#ifdef __x86_64__
#include <immintrin.h>
#endif

enum { SOME = 8 * FOLD_WIDE };

VECTOR static void add(float *restrict S, const float *restrict W, const float *restrict G, size_t next, size_t n)
{
    for (size_t k = 0; k < n; k += FOLD_WIDE, G += next) {
        const size_t wide = n - k < FOLD_WIDE ? n - k : FOLD_WIDE;
#pragma omp simd
        for (size_t i = 0; i < wide; i++)
            S[k + i] += __builtin_fabsf(W[k + i] * G[i]);
    }
}

/* S = where add has S +=. */
VECTOR static void set(float *restrict S, const float *restrict W, const float *restrict G, size_t next, size_t n)
{
    for (size_t k = 0; k < n; k += FOLD_WIDE, G += next) {
        const size_t wide = n - k < FOLD_WIDE ? n - k : FOLD_WIDE;
#pragma omp simd
        for (size_t i = 0; i < wide; i++)
            S[k + i] = __builtin_fabsf(W[k + i] * G[i]);
    }
}

#ifdef __x86_64__
__attribute__((always_inline, target("avx512f"))) static inline void half_piece(float *S, const uint16_t *W, const float *G, bool fresh)
{
    __m512i w = _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)W)), 16);
    __m512 g = _mm512_abs_ps(_mm512_mul_ps(_mm512_castsi512_ps(w), _mm512_loadu_ps(G)));
    _mm512_storeu_ps(S, fresh ? g : _mm512_add_ps(_mm512_loadu_ps(S), g));
}

/* Whole pieces with W in bf16; how many elements they are. */
__attribute__((target("avx512f"))) static size_t fold_bf16(float *S, const uint16_t *W, const float *G, size_t next, size_t n, bool fresh)
{
    size_t i = 0;
    for (; i + FOLD_WIDE <= n; i += FOLD_WIDE, G += next) {
        half_piece(S + i, W + i, G, fresh);
        half_piece(S + i + 16, W + i + 16, G + 16, fresh);
    }
    return i;
}
#endif

/* W of 16 bits. */
static void fold_short(float *S, const uint16_t *W, enum dtype wt, const float *G, size_t next, size_t n, bool fresh)
{
    float w[SOME];
    for (size_t i = 0; i < n; i += SOME, G += SOME / FOLD_WIDE * next) {
        size_t m = n - i < SOME ? n - i : SOME;
        (wt == DT_BF16 ? convert_bf16_row : convert_f16_row)(w, W + i, m);
        (fresh ? set : add)(S + i, w, G, next, m);
    }
}

void fold_row(float *S, const void *W, enum dtype wt, const float *G, size_t next, size_t n, bool fresh)
{
    if (wt == DT_F32) {
        (fresh ? set : add)(S, W, G, next, n);
        return;
    }
    size_t i = 0;
#ifdef __x86_64__
    if (wt == DT_BF16 && __builtin_cpu_supports("avx512f"))
        i = fold_bf16(S, W, G, next, n, fresh);
#endif
    fold_short(S + i, (const uint16_t *)W + i, wt, G + i / FOLD_WIDE * next, next, n - i, fresh);
}
