/* SPDX-License-Identifier: MIT
 *
 * sens_lanes: tiles of 12 x 32 in f32 by AVX-512: 24 sums in registers, each in ascending order of k.
 */
#include "runtime/kernels/sens_fused.h"

#include "runtime/kernels/gemm_lib.h"
#include "runtime/kernels/pairs.h"

#ifdef __x86_64__

enum { NARROW = 12, AHEAD = 8 /* steps of X that are asked for ahead of their use */ };

#define LANES_CODE __attribute__((target("avx512f,avx512bw,avx512vl")))

SENS_INLINE void tile_of(const struct sens_tile *t, const int M)
{
    const struct sens_block *k = t->b;
    bool fresh = k->fresh;
    for (int s = k->s0; s < k->s1; s++) {
        const size_t n = k->at[s + 1] - k->at[s];
        const float *x = (const float *)(const void *)sens_x(t, s), *dy = (const float *)(const void *)sens_dy(t, s);
        if (!n)
            continue;
        __m512 sum[NARROW][2];
#pragma GCC unroll 12
        for (int i = 0; i < M; i++)
            sum[i][0] = sum[i][1] = _mm512_setzero_ps();
        for (size_t p = 0; p < n; p++, x += SENS_WIDE, dy += NARROW) {
            _mm_prefetch((const char *)(x + AHEAD * SENS_WIDE), _MM_HINT_T0);
            _mm_prefetch((const char *)(x + AHEAD * SENS_WIDE + 16), _MM_HINT_T0);
            __m512 a = _mm512_load_ps(x), b = _mm512_load_ps(x + 16);
#pragma GCC unroll 12
            for (int i = 0; i < M; i++) {
                __m512 v = _mm512_set1_ps(dy[i]);
                sum[i][0] = _mm512_fmadd_ps(a, v, sum[i][0]);
                sum[i][1] = _mm512_fmadd_ps(b, v, sum[i][1]);
            }
        }
#pragma GCC unroll 12
        for (int i = 0; i < M; i++)
            sens_row(t->sum, (size_t)i, sum[i][0], sum[i][1], fresh);
        fresh = false;
    }
}

SENS_TILES_12(block, tile_of, LANES_CODE)

/* Panels of so many columns. */
SENS_INLINE void lay(const struct sens_lay *l, size_t columns)
{
    const float *src = l->src;
    float *out = (float *)(void *)l->out;
    for (size_t p = 0; p < l->k; p++, src += l->ld, out += columns)
        for (size_t c = 0; c < l->n; c += columns)
            for (size_t i = 0; i < columns; i += 16) {
                size_t at = c + i;
                __mmask16 all = pairs_mask(i, columns), there = pairs_mask(at, l->n) & all;
                _mm512_mask_storeu_ps(out + c / columns * l->stride + i, all, _mm512_maskz_loadu_ps(there, src + (at < l->n ? at : 0)));
            }
}

LANES_CODE static void lay_x(const struct sens_lay *l)
{
    lay(l, SENS_WIDE);
}

LANES_CODE static void lay_dy(const struct sens_lay *l)
{
    lay(l, NARROW);
}

const struct sens_kernel *sens_lanes_kernel(void)
{
    static const struct sens_kernel kernel = {
        .t = DT_F32, .narrow = NARROW, .round = 1, .together = 160, .tiles = 8, .columns = 1024, .lay_x = lay_x, .lay_dy = lay_dy, .block = block,
    };
    return lib_has_lanes() ? &kernel : NULL;
}

#else

const struct sens_kernel *sens_lanes_kernel(void)
{
    return NULL;
}

#endif
