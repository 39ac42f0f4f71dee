/* SPDX-License-Identifier: MIT
 *
 * sens_pairs: tiles of 12 x 32 by AVX-512 BF16 (pairs.h): 24 sums in registers. As many sequences at a time as leave their rows of dY and a
 * panel of X in the second-level cache.
 */
#include "runtime/kernels/sens_fused.h"

#include "runtime/kernels/pairs.h"

#ifdef __x86_64__

PAIRS_INLINE void tile_of(const struct sens_tile *t, const int M)
{
    const struct sens_block *b = t->b;
    bool fresh = b->fresh;
    for (int s = b->s0; s < b->s1; s++) {
        size_t pairs = b->at[s + 1] - b->at[s];
        if (!pairs)
            continue;
        __m512 sum[PAIRS_NARROW][2];
#pragma GCC unroll 12
        for (int i = 0; i < M; i++)
            sum[i][0] = sum[i][1] = _mm512_setzero_ps();
        pairs_add(sum, sens_x(t, s), sens_dy(t, s), pairs, M);
#pragma GCC unroll 12
        for (int i = 0; i < M; i++)
            sens_row(t->sum, (size_t)i, sum[i][0], sum[i][1], fresh);
        fresh = false;
    }
}

SENS_TILES_12(block, tile_of, PAIRS_CODE)

static void lay_x(const struct sens_lay *l)
{
    pairs_lay(l->out, l->stride, PAIRS_WIDE, l->src, l->ld, l->k, l->n);
}

static void lay_dy(const struct sens_lay *l)
{
    pairs_lay(l->out, l->stride, PAIRS_NARROW, l->src, l->ld, l->k, l->n);
}

const struct sens_kernel *sens_pairs_kernel(void)
{
    static const struct sens_kernel kernel = {
        .t = DT_BF16, .narrow = PAIRS_NARROW, .round = 1, .together = 1024, .tiles = 8, .columns = 512, .lay_x = lay_x, .lay_dy = lay_dy, .block = block,
    };
    return pairs_pay() ? &kernel : NULL;
}

#else

const struct sens_kernel *sens_pairs_kernel(void)
{
    return NULL;
}

#endif
