/* SPDX-License-Identifier: MIT */
#include "runtime/kernels/pairs.h"

#include "runtime/kernels/gemm_lib.h"

#ifdef __x86_64__

enum { LANES = 16, AHEAD = 16 /* rows: too far apart for the processor to see what comes next */ };

bool pairs_pay(void)
{
    return __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           lib_has_bf16() && !lib_has_tiles();
}

/* 16 columns of two rows, side by side; the second row may be missing. */
PAIRS_INLINE __m512i interleave(const uint16_t *a, const uint16_t *b, __mmask16 mask)
{
    __m512i low = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, a));
    return b ? _mm512_or_si512(low, _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, b)), 16)) : low;
}

PAIRS_CODE void pairs_lay(uint32_t *out, size_t stride, size_t columns, const uint16_t *src, size_t ld, size_t k, size_t n)
{
    for (size_t p = 0; 2 * p < k; p++, src += 2 * ld, out += columns) {
        const uint16_t *second = 2 * p + 1 < k ? src + ld : NULL;
        size_t ahead = 2 * p + AHEAD + 1 < k ? AHEAD * ld : 0;
        uint32_t *to = out;
        for (size_t c = 0; c < n; c += columns, to += stride) {
            _mm_prefetch((const char *)(src + ahead + c), _MM_HINT_T0);
            _mm_prefetch((const char *)(src + ahead + (second ? ld : 0) + c), _MM_HINT_T0);
            for (size_t i = 0; i < columns; i += LANES) {
                size_t at = c + i;
                __mmask16 there = pairs_mask(at, n) & pairs_mask(i, columns), all = pairs_mask(i, columns);
                _mm512_mask_storeu_epi32(to + i, all, interleave(src + (at < n ? at : 0), second ? second + (at < n ? at : 0) : NULL, there));
            }
        }
    }
}

/* 32 of k of 16 rows (fewer at the end): rows of a panel. */
PAIRS_CODE static void turn_16(uint32_t *out, size_t columns, const uint16_t *src, size_t ld, size_t rows)
{
    __m512i a[LANES];
#pragma GCC unroll 16
    for (size_t r = 0; r < LANES; r++)
        a[r] = r < rows ? _mm512_loadu_si512(src + r * ld) : _mm512_setzero_si512();
    pairs_transpose(a);
#pragma GCC unroll 16
    for (size_t p = 0; p < LANES; p++)
        _mm512_storeu_si512(out + p * columns, a[p]);
}

PAIRS_CODE void pairs_turn(uint32_t *out, size_t stride, size_t columns, const uint16_t *src, size_t ld, size_t k, size_t n)
{
    for (size_t c = 0; c < (n + columns - 1) / columns * columns; c += LANES) {
        const size_t rows = c >= n ? 0 : n - c < LANES ? n - c : LANES;
        uint32_t *to = out + c / columns * stride + c % columns;
        const uint16_t *from = rows ? src + c * ld : src;
        for (size_t i = 0; i < k; i += 2 * LANES)
            turn_16(to + i / 2 * columns, columns, from + i, ld, rows);
    }
}

#else

bool pairs_pay(void)
{
    return false;
}

void pairs_lay(uint32_t *out, size_t stride, size_t columns, const uint16_t *src, size_t ld, size_t k, size_t n)
{
    (void)out, (void)stride, (void)columns, (void)src, (void)ld, (void)k, (void)n;
}

void pairs_turn(uint32_t *out, size_t stride, size_t columns, const uint16_t *src, size_t ld, size_t k, size_t n)
{
    (void)out, (void)stride, (void)columns, (void)src, (void)ld, (void)k, (void)n;
}

#endif
