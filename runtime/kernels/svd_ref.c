/* SPDX-License-Identifier: MIT
 *
 * svd_ref: singular triplets by one-sided Jacobi rotations (Hestenes 1958; Golub and Van Loan, Matrix
 * Computations, 8.6.3), without any library: what the fast path is compared with. Columns of a copy of A (or of its
 * transpose, whichever has fewer columns) are rotated until all are orthogonal; their norms are the singular values.
 */
#include "runtime/kernels/svd.h"

#include <math.h>
#include <stdlib.h>

static double element(const struct svd_matrix *a, size_t i, size_t j)
{
    size_t k = a->transposed ? j * a->ld + i : i * a->ld + j;
    switch (a->t) {
    case DT_F64:
        return ((const double *)a->data)[k];
    case DT_F32:
        return ((const float *)a->data)[k];
    case DT_BF16:
        return bf16_to_f32(((const uint16_t *)a->data)[k]);
    default:
        return f16_to_f32(((const uint16_t *)a->data)[k]);
    }
}

static double dot(const double *x, const double *y, size_t n)
{
    double a = 0;
    for (size_t i = 0; i < n; i++)
        a += x[i] * y[i];
    return a;
}

static void rotate(double *x, double *y, size_t n, double c, double s)
{
    for (size_t i = 0; i < n; i++) {
        double t = x[i];
        x[i] = c * t - s * y[i];
        y[i] = s * t + c * y[i];
    }
}

/* w: q columns of length p; v: q columns of length q, the identity before. */
static void jacobi(double *w, double *v, size_t p, size_t q)
{
    for (int sweep = 0, again = 1; again && sweep < 60; sweep++) {
        again = 0;
        for (size_t i = 0; i + 1 < q; i++)
            for (size_t j = i + 1; j < q; j++) {
                double *x = w + i * p, *y = w + j * p, a = dot(x, x, p), b = dot(y, y, p), g = dot(x, y, p);
                if (fabs(g) <= 1e-15 * sqrt(a * b) || g == 0)
                    continue;
                again = 1;
                double z = (b - a) / (2 * g), t = (z < 0 ? -1 : 1) / (fabs(z) + sqrt(1 + z * z)),
                       c = 1 / sqrt(1 + t * t);
                rotate(x, y, p, c, c * t);
                rotate(v + i * q, v + j * q, q, c, c * t);
            }
    }
}

int svd_truncated_ref(const struct svd_matrix *a, size_t r, double *s, double *us, double *vt, double *energy,
                      struct err *e)
{
    bool swapped = a->m < a->n;
    size_t p = swapped ? a->n : a->m, q = swapped ? a->m : a->n;
    if (!r || r > q)
        return err_set(e, ERR_INPUT, "rank %zu of a %zu x %zu matrix", r, a->m, a->n);
    double *w = malloc(p * q * sizeof *w), *v = calloc(q * q, sizeof *v);
    bool *used = calloc(q, sizeof *used);
    int rc = w && v && used ? 0 : err_nomem(e, p * q * 8, "a reference SVD");
    for (size_t j = 0; j < q && !rc; j++) {
        v[j * q + j] = 1;
        for (size_t i = 0; i < p; i++)
            w[j * p + i] = swapped ? element(a, j, i) : element(a, i, j);
    }
    if (rc)
        goto out;
    if (energy)
        *energy = dot(w, w, p * q);
    jacobi(w, v, p, q);
    for (size_t k = 0; k < r; k++) {
        size_t at = q;
        for (size_t j = 0; j < q; j++)
            if (!used[j] && (at == q || dot(w + j * p, w + j * p, p) > dot(w + at * p, w + at * p, p)))
                at = j;
        used[at] = true;
        s[k] = sqrt(dot(w + at * p, w + at * p, p));
        for (size_t i = 0; i < p; i++) {
            double x = w[at * p + i];
            if (swapped)
                vt[k * a->n + i] = s[k] > 0 ? x / s[k] : 0;
            else
                us[i * r + k] = x;
        }
        for (size_t i = 0; i < q; i++) {
            if (swapped)
                us[i * r + k] = v[at * q + i] * s[k];
            else
                vt[k * a->n + i] = v[at * q + i];
        }
    }
out:
    free(w);
    free(v);
    free(used);
    return rc;
}
