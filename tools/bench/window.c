/* SPDX-License-Identifier: MIT
 *
 * bench window: the search for the window of a student's matrix in the scores of a teacher's, alone, and beside it what memory gives: the
 * sum of all scores, read once by as many threads. Scores are random and larger than the caches. A search should take at most twice
 * what reading them twice does.
 *
 *   bench ROWS COLS HEIGHT WIDTH [f32|bf16] [REPETITIONS] [THREADS]      gate_proj of 1.5B and 0.5B: 8960 1536 4864 896
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/base/arena.h"
#include "runtime/base/rng.h"
#include "runtime/exec/par.h"
#include "runtime/kernels/convert.h"
#include "runtime/kernels/window.h"

enum { SLAB = 4096, READ = 1 << 18 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

struct scores {
    void *p;
    enum dtype t;
    _Atomic uint64_t seen; /* so that reading is not left out */
};

static void fill(void *u, size_t first, size_t count)
{
    const struct scores *s = u;
    float x[SLAB];
    rng_fill_normal(x, count, 1, 1, first);
    for (size_t i = 0; i < count; i++)
        x[i] = x[i] < 0 ? -x[i] : x[i];
    dtype_from_f32((char *)s->p + first * dtype_size(s->t), s->t, x, count);
}

static void read_slab(void *u, size_t first, size_t count)
{
    struct scores *s = u;
    const uint64_t *p = (const uint64_t *)(const void *)((const char *)s->p + first);
    uint64_t a[8] = {0};
    for (size_t i = 0; i + 8 <= count / 8; i += 8)
        for (int k = 0; k < 8; k++)
            a[k] ^= p[i + (size_t)k];
    s->seen += a[0] ^ a[1] ^ a[2] ^ a[3] ^ a[4] ^ a[5] ^ a[6] ^ a[7];
}

static size_t number(int argc, char **argv, int i, size_t fallback)
{
    return argc > i ? (size_t)strtoul(argv[i], NULL, 10) : fallback;
}

int main(int argc, char **argv)
{
    struct err e = {0};
    struct scores s = {.t = argc > 5 && strcmp(argv[5], "bf16") == 0 ? DT_BF16 : DT_F32};
    size_t rows = number(argc, argv, 1, 0), cols = number(argc, argv, 2, 0), h = number(argc, argv, 3, 0), w = number(argc, argv, 4, 0);
    size_t bytes = rows * cols * dtype_size(s.t), reps = number(argc, argv, 6, 5);
    if (!rows || !cols || !h || !w || h > rows || w > cols || !reps || !(s.p = big_alloc(bytes))) {
        fprintf(stderr, "usage: bench ROWS COLS HEIGHT WIDTH [f32|bf16] [REPETITIONS] [THREADS]\n");
        return 2;
    }
    par_set_threads((int)number(argc, argv, 7, 0));
    par_slabs(rows * cols, SLAB, fill, &s);
    const struct window_view v = {s.p, s.t, rows, cols, cols};
    double best = 1e9, once = 1e9;
    struct window found;
    for (size_t i = 0; i < reps; i++) {
        double t = now();
        par_slabs(bytes, READ, read_slab, &s);
        t = now() - t;
        once = t < once ? t : once;
        t = now();
        if (window_best(&v, h, w, &found, &e)) {
            fprintf(stderr, "bench: %s\n", e.msg);
            return 1;
        }
        t = now() - t;
        best = t < best ? t : best;
    }
    printf("%zu x %zu in %zu x %zu: %.2f ms, %.1f GB/s of two readings; reading alone %.1f GB/s: %.2f times reading twice\n", h, w, rows, cols,
           1e3 * best, 2e-9 * (double)bytes / best, 1e-9 * (double)bytes / once, best / (2 * once));
    big_free(s.p, bytes);
    return 0;
}
