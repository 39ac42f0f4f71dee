/* SPDX-License-Identifier: MIT
 *
 * window_scan: the column sums of eight top rows, eight columns at a time, are turned so that a vector holds one column of all eight;
 * then one sum for each slides along the columns.
 */
#include "runtime/kernels/window_scan.h"

#ifdef __x86_64__
#include <immintrin.h>
#include <stdint.h>

#define WIDE __attribute__((target("avx512f")))
#define WIDE_INLINE __attribute__((always_inline, target("avx512f"))) static inline

bool window_scan_pays(void)
{
    return __builtin_cpu_supports("avx512f");
}

WIDE_INLINE __m512d wide(const float *x, __mmask16 mask)
{
    return _mm512_cvtps_pd(_mm512_castps512_ps256(_mm512_maskz_loadu_ps(mask, x)));
}

/* 8 x 8: pairs within quarters, then quarters. */
WIDE_INLINE void turn8(__m512d r[SCAN_ROWS])
{
    __m512d t[SCAN_ROWS];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        t[2 * i] = _mm512_unpacklo_pd(r[2 * i], r[2 * i + 1]);     /* columns 0 2 4 6 of rows 2 i, 2 i + 1 */
        t[2 * i + 1] = _mm512_unpackhi_pd(r[2 * i], r[2 * i + 1]); /* columns 1 3 5 7 */
    }
#pragma GCC unroll 2
    for (int k = 0; k < 2; k++) {
        __m512d a = _mm512_shuffle_f64x2(t[k], t[2 + k], 0x88), b = _mm512_shuffle_f64x2(t[4 + k], t[6 + k], 0x88); /* columns k, 4 + k */
        __m512d c = _mm512_shuffle_f64x2(t[k], t[2 + k], 0xdd), d = _mm512_shuffle_f64x2(t[4 + k], t[6 + k], 0xdd); /* 2 + k, 6 + k */
        r[k] = _mm512_shuffle_f64x2(a, b, 0x88);
        r[4 + k] = _mm512_shuffle_f64x2(a, b, 0xdd);
        r[2 + k] = _mm512_shuffle_f64x2(c, d, 0x88);
        r[6 + k] = _mm512_shuffle_f64x2(c, d, 0xdd);
    }
}

WIDE static void make_lanes(double *c, const float *const *below, const float *const *above, size_t cols, double *lanes)
{
    for (size_t j = 0; j < cols; j += 8) {
        size_t n = cols - j < 8 ? cols - j : 8;
        __mmask16 mask = (__mmask16)((1u << n) - 1);
        __m512d r[SCAN_ROWS];
        r[0] = _mm512_maskz_loadu_pd((__mmask8)mask, c + j);
#pragma GCC unroll 8
        for (int i = 1; i < SCAN_ROWS; i++)
            r[i] = _mm512_add_pd(r[i - 1], _mm512_sub_pd(wide(below[i - 1] + j, mask), wide(above[i - 1] + j, mask)));
        _mm512_mask_storeu_pd(c + j, (__mmask8)mask, r[SCAN_ROWS - 1]);
        turn8(r);
        for (size_t k = 0; k < n; k++)
            _mm512_store_pd(lanes + (j + k) * SCAN_ROWS, r[k]);
    }
}

WIDE void window_scan(double *c, const float *const *below, const float *const *above, size_t cols, size_t w, double *lanes, double sum[SCAN_ROWS],
                      size_t col[SCAN_ROWS])
{
    make_lanes(c, below, above, cols, lanes);
    __m512d a[4];
    for (int k = 0; k < 4; k++)
        a[k] = _mm512_setzero_pd();
    size_t j = 0;
    for (; j + 4 <= w; j += 4)
        for (size_t k = 0; k < 4; k++)
            a[k] = _mm512_add_pd(a[k], _mm512_load_pd(lanes + (j + k) * SCAN_ROWS));
    for (; j < w; j++)
        a[0] = _mm512_add_pd(a[0], _mm512_load_pd(lanes + j * SCAN_ROWS));
    __m512d s = _mm512_add_pd(_mm512_add_pd(a[0], a[1]), _mm512_add_pd(a[2], a[3])), best = s;
    __m512i at = _mm512_setzero_si512();
    for (j = 1; j + w <= cols; j++) {
        s = _mm512_add_pd(s, _mm512_sub_pd(_mm512_load_pd(lanes + (j + w - 1) * SCAN_ROWS), _mm512_load_pd(lanes + (j - 1) * SCAN_ROWS)));
        __mmask8 more = _mm512_cmp_pd_mask(s, best, _CMP_GT_OQ);
        best = _mm512_mask_mov_pd(best, more, s);
        at = _mm512_mask_mov_epi64(at, more, _mm512_set1_epi64((long long)j));
    }
    _mm512_storeu_pd(sum, best);
    _mm512_storeu_si512(col, at);
}

#else

bool window_scan_pays(void)
{
    return false;
}

void window_scan(double *c, const float *const *below, const float *const *above, size_t cols, size_t w, double *lanes, double sum[SCAN_ROWS],
                 size_t col[SCAN_ROWS])
{
    (void)c, (void)below, (void)above, (void)cols, (void)w, (void)lanes, (void)sum, (void)col;
}

#endif
