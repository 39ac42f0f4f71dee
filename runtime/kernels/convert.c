/* SPDX-License-Identifier: MIT
 *
 * convert: slabs of elements; each inner loop is written so that the compiler vectorises it. f16 uses the processor's
 * conversion (F16C) where there is one: it gives the scalar function's bytes, except that a NaN comes out quiet.
 */
#include "runtime/kernels/convert.h"

#include "runtime/exec/par.h"
#include "runtime/kernels/vmath.h"

#ifdef __x86_64__
#include <immintrin.h>
#endif

enum { SLAB = 32768 };

struct job {
    void *out;
    const void *in;
    enum dtype t;
    float s;
};

VECTOR static void bf16_slab(uint16_t *restrict out, const float *restrict in, size_t n)
{
    const uint32_t *restrict w = (const uint32_t *)(const void *)in;
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        uint32_t u = w[i];
        uint32_t r = (u + 0x7fffu + (u >> 16 & 1)) >> 16, q = u >> 16 | 0x40;
        out[i] = (uint16_t)((u & 0x7fffffffu) > 0x7f800000u ? q : r);
    }
}

#ifdef __x86_64__
/* Sixteen at a time, the same arithmetic; compilers do badly on a loop that halves its element. */
#define WIDE_CODE __attribute__((target("avx512f")))

__attribute__((always_inline)) WIDE_CODE static inline void bf16_16(uint16_t *out, __m512 x)
{
    const __m512i half = _mm512_set1_epi32(0x7fff), one = _mm512_set1_epi32(1), quiet = _mm512_set1_epi32(0x40);
    __m512i u = _mm512_castps_si512(x), top = _mm512_srli_epi32(u, 16);
    __m512i r = _mm512_srli_epi32(_mm512_add_epi32(u, _mm512_add_epi32(half, _mm512_and_si512(top, one))), 16);
    r = _mm512_mask_or_epi32(r, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), top, quiet);
    _mm256_storeu_si256((__m256i *)(void *)out, _mm512_cvtepi32_epi16(r));
}

WIDE_CODE static size_t bf16_avx512(uint16_t *out, const float *in, size_t n)
{
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        bf16_16(out + i, _mm512_loadu_ps(in + i));
    return i;
}

/* Sixteen at a time, with the eight running sums of convert_sum_row. */
WIDE_CODE static size_t sum_bf16_avx512(uint16_t *out, const float *in, size_t n, double sums[8])
{
    __m512d a = _mm512_setzero_pd();
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        a = _mm512_add_pd(a, _mm512_cvtps_pd(_mm256_loadu_ps(in + i)));
        a = _mm512_add_pd(a, _mm512_cvtps_pd(_mm256_loadu_ps(in + i + 8)));
        bf16_16(out + i, _mm512_loadu_ps(in + i));
    }
    _mm512_storeu_pd(sums, a);
    return i;
}
#endif

static void bf16_row(uint16_t *out, const float *in, size_t n)
{
    size_t i = 0;
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx512f"))
        i = bf16_avx512(out, in, n);
#endif
    bf16_slab(out + i, in + i, n - i);
}

VECTOR static void from_bf16(float *restrict out, const uint16_t *restrict in, size_t n)
{
    uint32_t *restrict w = (uint32_t *)(void *)out;
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        w[i] = (uint32_t)in[i] << 16;
}

#ifdef __x86_64__
__attribute__((target("avx,f16c"))) static size_t from_f16_hw(float *out, const uint16_t *in, size_t n)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(out + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(in + i))));
    return i;
}
#endif

static void from_f16(float *out, const uint16_t *in, size_t n)
{
    size_t i = 0;
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx") && __builtin_cpu_supports("avx2")) /* every AVX2 processor has F16C */
        i = from_f16_hw(out, in, n);
#endif
    dtype_to_f32(out + i, in + i, DT_F16, n - i);
}

static void to_bf16_slab(void *u, size_t i, size_t n)
{
    const struct job *j = u;
    bf16_row((uint16_t *)j->out + i, (const float *)j->in + i, n);
}

void to_bf16(uint16_t *out, const float *in, size_t n)
{
    struct job j = {.out = out, .in = in};
    par_slabs(n, SLAB, to_bf16_slab, &j);
}

void to_bf16_ref(uint16_t *out, const float *in, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = bf16_from_f32(in[i]);
}

void convert_bf16_row(float *out, const uint16_t *in, size_t n)
{
    from_bf16(out, in, n);
}

void convert_to_bf16_row(uint16_t *out, const float *in, size_t n)
{
    bf16_row(out, in, n);
}

void convert_bf16_rest_row(uint16_t *out, const float *in, const uint16_t *bf16, size_t n)
{
    float rest[256];
    for (size_t i = 0; i < n; i += 256) {
        size_t m = n - i < 256 ? n - i : 256;
        from_bf16(rest, bf16 + i, m);
        for (size_t j = 0; j < m; j++)
            rest[j] = in[i + j] - rest[j];
        bf16_row(out + i, rest, m);
    }
}

void convert_f16_row(float *out, const uint16_t *in, size_t n)
{
    from_f16(out, in, n);
}

static void to_f32_slab(void *u, size_t i, size_t n)
{
    const struct job *j = u;
    float *out = (float *)j->out + i;
    const char *in = (const char *)j->in + i * dtype_size(j->t);
    if (j->t == DT_BF16)
        from_bf16(out, (const void *)in, n);
    else if (j->t == DT_F16)
        from_f16(out, (const void *)in, n);
    else
        dtype_to_f32(out, in, j->t, n);
}

void to_f32(float *out, const void *in, enum dtype t, size_t n)
{
    struct job j = {.out = out, .in = in, .t = t};
    par_slabs(n, SLAB, to_f32_slab, &j);
}

void to_f32_ref(float *out, const void *in, enum dtype t, size_t n)
{
    dtype_to_f32(out, in, t, n);
}

VECTOR static void add(float *restrict y, const float *restrict x, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        y[i] += x[i];
}

void convert_add_row(float *y, const float *x, size_t n)
{
    add(y, x, n);
}

VECTOR static double sum_on(double a[8], const float *x, size_t n)
{
    size_t j = 0;
    for (; j + 8 <= n; j += 8)
        for (int k = 0; k < 8; k++)
            a[k] += (double)x[j + k];
    for (; j < n; j++)
        a[0] += (double)x[j];
    return ((a[0] + a[1]) + (a[2] + a[3])) + ((a[4] + a[5]) + (a[6] + a[7]));
}

double convert_sum_row(const float *x, size_t n)
{
    double a[8] = {0};
    return sum_on(a, x, n);
}

double convert_sum_to_bf16_row(uint16_t *out, const float *in, size_t n)
{
    double a[8] = {0};
    size_t i = 0;
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx512f"))
        i = sum_bf16_avx512(out, in, n, a);
#endif
    bf16_row(out + i, in + i, n - i);
    return sum_on(a, in + i, n - i);
}

static void add_slab(void *u, size_t i, size_t n)
{
    const struct job *j = u;
    add((float *)j->out + i, (const float *)j->in + i, n);
}

void add_into(float *y, const float *x, size_t n)
{
    struct job j = {.out = y, .in = x};
    par_slabs(n, SLAB, add_slab, &j);
}

void add_into_ref(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] += x[i];
}

struct bias_job {
    float *y;
    const float *b;
    size_t n;
};

static void bias_rows(void *u, size_t first, size_t count)
{
    const struct bias_job *j = u;
    for (size_t t = first; t < first + count; t++)
        add(j->y + t * j->n, j->b, j->n);
}

void add_bias(float *y, const float *b, size_t T, size_t n)
{
    struct bias_job j = {y, b, n};
    if (n)
        par_slabs(T, n < SLAB ? SLAB / n : 1, bias_rows, &j);
}

void add_bias_ref(float *y, const float *b, size_t T, size_t n)
{
    for (size_t t = 0; t < T; t++)
        for (size_t i = 0; i < n; i++)
            y[t * n + i] += b[i];
}

VECTOR static void axpy(float *restrict y, const float *restrict x, float s, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        y[i] += s * x[i];
}

static void axpy_slab(void *u, size_t i, size_t n)
{
    const struct job *j = u;
    axpy((float *)j->out + i, (const float *)j->in + i, j->s, n);
}

void scale_into(float *y, const float *x, float s, size_t n)
{
    struct job j = {.out = y, .in = x, .s = s};
    par_slabs(n, SLAB, axpy_slab, &j);
}

void scale_into_ref(float *y, const float *x, float s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] += s * x[i];
}
