/* SPDX-License-Identifier: MIT
 *
 * bench svd: the truncated SVD of random matrices (normal, 0.02, f32): wall time, processor time, and by how much the error is above
 * the least that the rank allows, which energy and singular values give.
 *
 *   bench RANK REPETITIONS THREADS MxN ...      for instance 16 3 2 4864x896 8960x1536 896x151936
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "runtime/base/arena.h"
#include "runtime/base/rng.h"
#include "runtime/exec/par.h"
#include "runtime/kernels/svd.h"

enum { SLAB = 4096 };

static double now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void fill(void *u, size_t first, size_t count)
{
    rng_fill_normal((float *)u + first, count, 0.02, 1, first);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* |M - B A|^2 of the rows from `first` on. */
struct residual {
    const float *x;
    const double *us, *vt;
    size_t n, r;
    double *sums; /* of each row */
};

static void residual_rows(void *u, size_t first, size_t count)
{
    const struct residual *k = u;
    double *row = malloc(k->n * sizeof *row);
    for (size_t i = first; i < first + count && row; i++) {
        for (size_t j = 0; j < k->n; j++)
            row[j] = k->x[i * k->n + j];
        for (size_t c = 0; c < k->r; c++)
            for (size_t j = 0; j < k->n; j++)
                row[j] -= k->us[i * k->r + c] * k->vt[c * k->n + j];
        k->sums[i] = 0;
        for (size_t j = 0; j < k->n; j++)
            k->sums[i] += row[j] * row[j];
    }
    free(row);
}

struct factors {
    double *s, *us, *vt, *wall, *cpu, *sums;
};

static int measure(const struct svd_matrix *a, size_t r, size_t reps, struct factors *f, struct err *e)
{
    double energy = 0, left = 0, missed = 0;
    for (size_t i = 0; i < reps; i++) {
        double w = now(CLOCK_MONOTONIC), c = now(CLOCK_PROCESS_CPUTIME_ID);
        int rc = svd_truncated(a, r, f->s, f->us, f->vt, &energy, e);
        if (rc)
            return rc;
        f->wall[i] = now(CLOCK_MONOTONIC) - w;
        f->cpu[i] = now(CLOCK_PROCESS_CPUTIME_ID) - c;
    }
    struct residual k = {a->data, f->us, f->vt, a->n, r, f->sums};
    par_slabs(a->m, 16, residual_rows, &k);
    for (size_t i = 0; i < a->m; i++)
        missed += f->sums[i];
    left = energy;
    for (size_t i = 0; i < r; i++)
        left -= f->s[i] * f->s[i];
    qsort(f->wall, reps, sizeof *f->wall, by_value);
    qsort(f->cpu, reps, sizeof *f->cpu, by_value);
    printf("%zu x %zu, rank %zu: %.3f s (%.3f to %.3f, %zu runs), processor time %.3f s; error %.1e above energy less the values' squares\n", a->m,
           a->n, r, f->wall[reps / 2], f->wall[0], f->wall[reps - 1], reps, f->cpu[reps / 2], sqrt(missed / left) - 1);
    return 0;
}

static int one(size_t m, size_t n, size_t r, size_t reps, struct err *e)
{
    float *x = big_alloc(m * n * sizeof *x);
    struct factors f = {calloc(r, 8), calloc(m * r, 8), calloc(r * n, 8), calloc(reps, 8), calloc(reps, 8), calloc(m, 8)};
    int rc = x && f.s && f.us && f.vt && f.wall && f.cpu && f.sums ? 0 : err_nomem(e, m * n * 4, "a matrix");
    struct svd_matrix a = {x, DT_F32, m, n, n, false};
    if (!rc)
        par_slabs(m * n, SLAB, fill, x);
    if (!rc)
        rc = measure(&a, r, reps, &f, e);
    free(f.s);
    free(f.us);
    free(f.vt);
    free(f.wall);
    free(f.cpu);
    free(f.sums);
    big_free(x, m * n * sizeof *x);
    return rc;
}

int main(int argc, char **argv)
{
    struct err e = {0};
    long r = argc > 4 ? atol(argv[1]) : 0, reps = argc > 4 ? atol(argv[2]) : 0, threads = argc > 4 ? atol(argv[3]) : 0;
    if (r < 1 || reps < 1 || threads < 0) {
        fprintf(stderr, "usage: bench RANK REPETITIONS THREADS MxN ...\n");
        return 2;
    }
    par_set_threads((int)threads);
    for (int i = 4; i < argc; i++) {
        size_t m, n;
        if (sscanf(argv[i], "%zux%zu", &m, &n) != 2 || !m || !n || one(m, n, (size_t)r, (size_t)reps, &e)) {
            fprintf(stderr, "%s: %s\n", argv[i], e.msg[0] ? e.msg : "not MxN");
            return 1;
        }
    }
    return 0;
}
