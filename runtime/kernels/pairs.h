/* SPDX-License-Identifier: MIT
 *
 * pairs: bf16 products by AVX-512 BF16 whose operands are laid out on the way. Private to this room.
 *
 * The instruction multiplies pairs of neighbours along k. So an operand lies in panels of some columns, in each the pairs of k one
 * after the other with all of the panel's columns side by side: [n / columns][ceil(k / 2)][columns][2]; zeros fill an odd k and
 * the last panel. A wide panel (32 columns) meets 12 rows of the other operand, whose pairs are broadcast one at a time: 24 sums in
 * registers, each in ascending order of k. (panel.h keeps whole weights in the wide layout.)
 */
#ifndef PKG_KERNELS_PAIRS_H
#define PKG_KERNELS_PAIRS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PAIRS_WIDE = 32, PAIRS_NARROW = 12 };

bool pairs_pay(void); /* the processor has the instructions, and no tile units (which are faster another way) */

/* Columns 0 .. n of src (k, n), row stride ld, as panels of `columns` (PAIRS_NARROW, or a multiple of 16); a panel begins `stride` pairs
 * after the one before. out: 64-byte aligned when wide. */
void pairs_lay(uint32_t *out, size_t stride, size_t columns, const uint16_t *src, size_t ld, size_t k, size_t n);
/* The same of src (n, k), row stride ld. k is a multiple of 32, columns of 16. */
void pairs_turn(uint32_t *out, size_t stride, size_t columns, const uint16_t *src, size_t ld, size_t k, size_t n);

#ifdef __x86_64__
#include <immintrin.h>

#define PAIRS_CODE __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16")))
#define PAIRS_INLINE __attribute__((always_inline, target("avx512f,avx512bw,avx512vl,avx512bf16"))) static inline

enum { PAIRS_AHEAD = 8 }; /* steps of the panel that are asked of the second-level cache ahead of their use */

/* sum (M, 32) += M columns of a narrow panel times a wide panel. M: a constant. */
PAIRS_INLINE void pairs_add(__m512 sum[PAIRS_NARROW][2], const uint32_t *panel, const uint32_t *narrow, size_t pairs, const int M)
{
    for (size_t p = 0; p < pairs; p++, panel += PAIRS_WIDE, narrow += PAIRS_NARROW) {
        _mm_prefetch((const char *)(panel + PAIRS_AHEAD * PAIRS_WIDE), _MM_HINT_T0);
        _mm_prefetch((const char *)(panel + PAIRS_AHEAD * PAIRS_WIDE + PAIRS_WIDE / 2), _MM_HINT_T0);
        __m512bh low = (__m512bh)_mm512_load_si512(panel), high = (__m512bh)_mm512_load_si512(panel + PAIRS_WIDE / 2);
#pragma GCC unroll 12
        for (int i = 0; i < M; i++) {
            __m512bh v = (__m512bh)_mm512_set1_epi32((int32_t)narrow[i]);
            sum[i][0] = _mm512_dpbf16_ps(sum[i][0], low, v);
            sum[i][1] = _mm512_dpbf16_ps(sum[i][1], high, v);
        }
    }
}

/* a (16, 16) words become their transpose. */
__attribute__((always_inline, target("avx512f"))) static inline void pairs_transpose(__m512i a[16])
{
    __m512i b[16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; i += 4) { /* 4 x 4 words within each quarter of 128 bits */
        __m512i p = _mm512_unpacklo_epi32(a[i], a[i + 1]), q = _mm512_unpackhi_epi32(a[i], a[i + 1]),
                r = _mm512_unpacklo_epi32(a[i + 2], a[i + 3]), s = _mm512_unpackhi_epi32(a[i + 2], a[i + 3]);
        b[i] = _mm512_unpacklo_epi64(p, r);
        b[i + 1] = _mm512_unpackhi_epi64(p, r);
        b[i + 2] = _mm512_unpacklo_epi64(q, s);
        b[i + 3] = _mm512_unpackhi_epi64(q, s);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) { /* then the quarters: of b[i + 4 j], quarter k is word 4 j .. of row 4 k + i */
        __m512i p = _mm512_shuffle_i32x4(b[i], b[i + 4], 0x88), q = _mm512_shuffle_i32x4(b[i], b[i + 4], 0xdd),
                r = _mm512_shuffle_i32x4(b[i + 8], b[i + 12], 0x88), s = _mm512_shuffle_i32x4(b[i + 8], b[i + 12], 0xdd);
        a[i] = _mm512_shuffle_i32x4(p, r, 0x88);
        a[i + 8] = _mm512_shuffle_i32x4(p, r, 0xdd);
        a[i + 4] = _mm512_shuffle_i32x4(q, s, 0x88);
        a[i + 12] = _mm512_shuffle_i32x4(q, s, 0xdd);
    }
}

/* Which of the 16 lanes from column `at` on lie before column n. */
__attribute__((always_inline, target("avx512f"))) static inline __mmask16 pairs_mask(size_t at, size_t n)
{
    return at >= n ? 0 : n - at >= 16 ? 0xffff : (__mmask16)((1u << (n - at)) - 1);
}
#endif

#endif
