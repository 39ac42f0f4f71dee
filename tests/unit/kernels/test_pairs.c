/* SPDX-License-Identifier: MIT
 *
 * pairs: both ways of laying a matrix out against the description in pairs.h, for panels of every width that somebody asks for.
 */
#include "helper.h"

#include "runtime/kernels/pairs.h"

static const size_t widths[] = {12, 16, 32, 48, 64};

/* The word (pair p of k, column c) of a matrix whose element (l, c) is 1 + l * n + c, modulo 2^16; zeros beyond it. */
static uint32_t word(size_t p, size_t c, size_t k, size_t n)
{
    uint32_t low = c < n && 2 * p < k ? (uint16_t)(1 + 2 * p * n + c) : 0, high = c < n && 2 * p + 1 < k ? (uint16_t)(1 + (2 * p + 1) * n + c) : 0;
    return low | high << 16;
}

static void check(size_t columns, size_t k, size_t n, size_t pad, bool turned)
{
    const size_t panels = (n + columns - 1) / columns, stride = (k + 1) / 2 * columns, ld = (turned ? k : n) + pad;
    uint16_t *src = calloc((turned ? n : k) * ld + 1, sizeof *src);
    uint32_t *out = aligned_alloc(64, (panels * stride * sizeof *out + 63) & ~(size_t)63);
    assert_true(src && out);
    memset(out, 0xee, panels * stride * sizeof *out);
    for (size_t l = 0; l < k; l++)
        for (size_t c = 0; c < n; c++)
            src[turned ? c * ld + l : l * ld + c] = (uint16_t)(1 + l * n + c);
    (turned ? pairs_turn : pairs_lay)(out, stride, columns, src, ld, k, n);
    for (size_t i = 0; i < panels; i++)
        for (size_t p = 0; p < (k + 1) / 2; p++)
            for (size_t c = 0; c < columns; c++)
                if (out[i * stride + p * columns + c] != word(p, i * columns + c, k, n))
                    fail_msg("panels of %zu, k %zu, n %zu, turned %d: pair %zu of column %zu", columns, k, n, turned, p, i * columns + c);
    free(src);
    free(out);
}

static void layouts(void **state)
{
    (void)state;
#ifdef __x86_64__
    if (!__builtin_cpu_supports("avx512bf16") || !__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512vl"))
        skip();
    static const size_t ks[] = {1, 2, 7, 32, 33, 64, 96, 320}, ns[] = {1, 5, 15, 16, 17, 31, 63, 64, 65, 100, 128, 200};
    for (size_t w = 0; w < sizeof widths / sizeof *widths; w++)
        for (size_t a = 0; a < sizeof ks / sizeof *ks; a++)
            for (size_t b = 0; b < sizeof ns / sizeof *ns; b++)
                for (size_t pad = 0; pad < 8; pad += 3) {
                    check(widths[w], ks[a], ns[b], pad, false);
                    if (ks[a] % 32 == 0 && widths[w] % 16 == 0)
                        check(widths[w], ks[a], ns[b], pad, true);
                }
#else
    skip();
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(layouts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
