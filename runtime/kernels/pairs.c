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

#else

bool pairs_pay(void)
{
    return false;
}

void pairs_lay(uint32_t *out, size_t stride, size_t columns, const uint16_t *src, size_t ld, size_t k, size_t n)
{
    (void)out, (void)stride, (void)columns, (void)src, (void)ld, (void)k, (void)n;
}

#endif
