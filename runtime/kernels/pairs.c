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

/* 16 rows of 16 pairs become 16 pairs of 16 rows: rounds of interleaving by 1, 2, 4 and 8 elements. */
PAIRS_INLINE void turn16(__m512i r[LANES])
{
    __m512i t[LANES];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        r[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
        r[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
        r[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
        r[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
    }
    /* r[4 i + j]: in each quarter q, pair 4 q + j of rows 4 i .. 4 i + 3 */
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        t[j] = _mm512_shuffle_i32x4(r[j], r[4 + j], 0x88);
        t[4 + j] = _mm512_shuffle_i32x4(r[j], r[4 + j], 0xdd);
        t[8 + j] = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0x88);
        t[12 + j] = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0xdd);
    }
    /* t[j]: pairs j and 8 + j (quarters 0, 2) of rows 0 .. 7; t[4 + j]: 4 + j and 12 + j; t[8 ..]: of rows 8 .. 15 */
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        r[j] = _mm512_shuffle_i32x4(t[j], t[8 + j], 0x88);
        r[8 + j] = _mm512_shuffle_i32x4(t[j], t[8 + j], 0xdd);
        r[4 + j] = _mm512_shuffle_i32x4(t[4 + j], t[12 + j], 0x88);
        r[12 + j] = _mm512_shuffle_i32x4(t[4 + j], t[12 + j], 0xdd);
    }
}

PAIRS_CODE void pairs_lay_turned(uint32_t *out, size_t stride, const uint16_t *src, size_t ld, size_t k, size_t n)
{
    for (size_t c = 0; c < n; c += LANES) {
        uint32_t *to = out + c / PAIRS_WIDE * stride + c % PAIRS_WIDE;
        for (size_t p = 0; 2 * p < k; p += LANES) {
            __mmask16 there = pairs_mask(p, k / 2);
            __m512i r[LANES];
#pragma GCC unroll 16
            for (size_t i = 0; i < LANES; i++)
                r[i] = c + i < n ? _mm512_maskz_loadu_epi32(there, src + (c + i) * ld + 2 * p) : _mm512_setzero_si512();
            turn16(r);
            for (size_t i = 0; i < LANES && p + i < k / 2; i++)
                _mm512_store_si512(to + (p + i) * PAIRS_WIDE, r[i]);
        }
    }
    if (n % PAIRS_WIDE && n % PAIRS_WIDE <= LANES)
        for (size_t p = 0; p < k / 2; p++)
            _mm512_store_si512(out + n / PAIRS_WIDE * stride + p * PAIRS_WIDE + LANES, _mm512_setzero_si512());
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

void pairs_lay_turned(uint32_t *out, size_t stride, const uint16_t *src, size_t ld, size_t k, size_t n)
{
    (void)out, (void)stride, (void)src, (void)ld, (void)k, (void)n;
}

#endif
