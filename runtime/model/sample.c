/* SPDX-License-Identifier: MIT
 *
 * Without restrictions the distribution is walked in the order of ids. With top_p, ids whose probability is below
 * (1 - top_p) / n cannot be among the chosen (together they weigh less than 1 - top_p); with top_k only what reaches the
 * k-th largest can: what is left is sorted, by probability, equals by id.
 */
#include "runtime/model/sample.h"

#include <math.h>
#include <stdlib.h>

#include "runtime/kernels/select.h"

enum { LANES = 16 };

int32_t sample_best(const float *z, size_t n)
{
    float m[LANES], best = -INFINITY;
    size_t i = 0;
    for (size_t l = 0; l < LANES; l++)
        m[l] = -INFINITY;
    for (; i + LANES <= n; i += LANES)
#pragma omp simd
        for (size_t l = 0; l < LANES; l++)
            m[l] = z[i + l] > m[l] ? z[i + l] : m[l];
    for (; i < n; i++)
        best = z[i] > best ? z[i] : best;
    for (size_t l = 0; l < LANES; l++)
        best = m[l] > best ? m[l] : best;
    for (i = 0; i < n; i++)
        if (z[i] == best)
            return (int32_t)i;
    return 0;
}

struct candidate {
    double p;
    int32_t id;
};

static int more_probable(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    return x->p != y->p ? (x->p < y->p) - (x->p > y->p) : (x->id > y->id) - (x->id < y->id);
}

/* The id at which the running sum passes u times the weight of c[0 .. n). */
static int32_t walk(const struct candidate *c, size_t n, double u)
{
    double sum = 0, at = 0;
    for (size_t i = 0; i < n; i++)
        sum += c[i].p;
    for (size_t i = 0; i + 1 < n; i++) {
        at += c[i].p;
        if (at > u * sum)
            return c[i].id;
    }
    return c[n - 1].id;
}

int sample_draw(const float *z, size_t n, double temperature, double top_p, size_t top_k, double u, int32_t *id, struct err *e)
{
    bool nucleus = top_p > 0 && top_p < 1, some = top_k && top_k < n;
    struct select_cut cut = {0};
    struct candidate *c = malloc(n * sizeof *c);
    if (!c)
        return err_nomem(e, n * sizeof *c, "sampling");
    int rc = some ? select_cut(z, DT_F32, 1, n, n, top_k, &cut, e) : 0;
    double max = z[sample_best(z, n)], sum = 0;
    size_t k = 0;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        if (some && !select_takes(&cut, z[i]))
            continue;
        c[k] = (struct candidate){exp(((double)z[i] - max) / temperature), (int32_t)i};
        sum += c[k++].p;
    }
    if (rc == 0 && !(sum >= 1)) /* the largest weighs 1 */
        rc = err_set(e, ERR_INPUT, "the logits are not finite numbers");
    if (rc == 0 && nucleus) {
        double least = (1 - top_p) / (double)k * sum, have = 0;
        size_t kept = 0;
        for (size_t i = 0; i < k; i++)
            if (c[i].p >= least)
                c[kept++] = c[i];
        qsort(c, kept, sizeof *c, more_probable);
        for (k = 0; k < kept && have < top_p * sum; k++)
            have += c[k].p;
    }
    if (rc == 0)
        *id = walk(c, k, u);
    free(c);
    return rc;
}
