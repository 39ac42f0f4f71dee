/* SPDX-License-Identifier: MIT */
#include "runtime/kernels/select.h"

#include <math.h>
#include <stdlib.h>

struct entry {
    double v;
    size_t i;
};

static int larger_first(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if (x->v != y->v)
        return x->v > y->v ? -1 : 1;
    return x->i < y->i ? -1 : x->i > y->i;
}

static int ascending(const void *a, const void *b)
{
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return x < y ? -1 : x > y;
}

int select_top(const double *v, size_t n, size_t k, bool smallest, size_t *out, struct err *e)
{
    if (k > n)
        return err_set(e, ERR_INPUT, "%zu of %zu cannot be chosen", k, n);
    struct entry *x = malloc((n + !n) * sizeof *x);
    if (!x)
        return err_nomem(e, n * sizeof *x, "sorting scores");
    int rc = 0;
    for (size_t i = 0; i < n; i++) {
        if (isnan(v[i])) {
            rc = err_set(e, ERR_INPUT, "score %zu is not a number", i);
            goto out;
        }
        x[i] = (struct entry){smallest ? -v[i] : v[i], i};
    }
    qsort(x, n, sizeof *x, larger_first);
    for (size_t i = 0; i < k; i++)
        out[i] = x[i].i;
    qsort(out, k, sizeof *out, ascending);
out:
    free(x);
    return rc;
}

static inline float element(const void *x, enum dtype t, size_t i)
{
    return t == DT_F32 ? ((const float *)x)[i] : bf16_to_f32(((const uint16_t *)x)[i]);
}

/* The bin in which the k-th largest lies; *k becomes its rank inside the bin. */
static uint32_t find_bin(const size_t *count, size_t *k)
{
    uint32_t b = 65535;
    while (count[b] < *k)
        *k -= count[b--];
    return b;
}

int select_cut(const void *x, enum dtype t, size_t rows, size_t cols, size_t ld, size_t k, struct select_cut *out,
               struct err *e)
{
    if (t != DT_F32 && t != DT_BF16)
        return err_set(e, ERR_INPUT, "scores are of type %s; F32 or BF16 is needed", dtype_name(t));
    if (!k || k > rows * cols)
        return err_set(e, ERR_INPUT, "%zu of %zu weights cannot be chosen", k, rows * cols);
    size_t *high = calloc(65536, sizeof *high), *low = calloc(65536, sizeof *low);
    int rc = 0;
    if (!high || !low) {
        rc = err_nomem(e, 2 * 65536 * sizeof *high, "histograms");
        goto out;
    }
    bool nan = false;
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < cols; j++) {
            float f = element(x, t, i * ld + j);
            nan |= f != f;
            high[select_key(f) >> 16]++;
        }
    if (nan) {
        rc = err_set(e, ERR_INPUT, "the scores hold a value that is not a number");
        goto out;
    }
    uint32_t top = find_bin(high, &k);
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < cols; j++) {
            uint32_t key = select_key(element(x, t, i * ld + j));
            if (key >> 16 == top)
                low[key & 65535]++;
        }
    out->key = top << 16 | find_bin(low, &k);
    out->ties = k;
out:
    free(high);
    free(low);
    return rc;
}
