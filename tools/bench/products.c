/* SPDX-License-Identifier: MIT
 *
 * bench products: what the matrix products of the sensitivity pass reach alone, in the shapes of a model: for each kind of
 * matrix forward (x W^T), backward (dy W) and scores (|W * dY^T X|, rows cut into equal sequences), in GFLOP/s of one processor
 * (by processor time). Operands are random, one set for all matrices, and larger than the caches. The last line weighs them as one
 * layer of the pass uses them (forward twice but for down_proj, backward and scores once): tokens a second of processor time that the
 * products alone would allow.
 *
 *   bench CONFIG.json [bf16|f32] [SEQUENCES] [TOKENS A SEQUENCE] [REPETITIONS] [THREADS]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/base/arena.h"
#include "runtime/base/json.h"
#include "runtime/base/rng.h"
#include "runtime/exec/par.h"
#include "runtime/kernels/convert.h"
#include "runtime/kernels/gemm.h"
#include "runtime/kernels/sens.h"
#include "runtime/model/config.h"

enum { SLAB = 4096 };
enum what { FORWARD, BACKWARD, SCORES, WHATS };

struct bench {
    enum dtype t;
    size_t T, n_seqs, reps;
    int32_t *cu;
};

/* Processor time of all threads, which a loaded machine leaves comparable. */
static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

struct slab {
    float *x;
    enum dtype t;
};

/* Random numbers in type t; in bf16 the first half of the room is used. */
static void fill(void *u, size_t first, size_t count)
{
    const struct slab *k = u;
    float x[SLAB];
    rng_fill_normal(x, count, 1, 1, first);
    if (k->t == DT_BF16)
        to_bf16((uint16_t *)(void *)k->x + first, x, count);
    else
        memcpy(k->x + first, x, count * sizeof *x);
}

static void *operand(size_t n, enum dtype t)
{
    struct slab k = {big_alloc(n * sizeof(float)), t};
    if (k.x)
        par_slabs(n, SLAB, fill, &k);
    return k.x;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* One set for all matrices; y takes C and scores. */
struct operands {
    size_t weights, acts, results; /* elements */
    float *W, *x, *dy, *y;
};

static void operands_free(struct operands *o)
{
    big_free(o->W, o->weights * sizeof(float));
    big_free(o->x, o->acts * sizeof(float));
    big_free(o->dy, o->acts * sizeof(float));
    big_free(o->y, o->results * sizeof(float));
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static int operands_make(const struct bench *b, const struct model_config *c, struct operands *o, struct err *e)
{
    *o = (struct operands){0};
    for (int m = 0; m < MOD_LINEARS; m++) {
        size_t out, in;
        module_shape(c, (enum module)m, &out, &in);
        o->weights = larger(o->weights, out * in);
        o->acts = larger(o->acts, b->T * larger(out, in));
    }
    o->results = larger(o->weights, o->acts);
    o->W = operand(o->weights, b->t);
    o->x = operand(o->acts, b->t);
    o->dy = operand(o->acts, b->t);
    o->y = operand(o->results, DT_F32);
    return o->W && o->x && o->dy && o->y ? 0 : err_nomem(e, o->results * sizeof(float), "operands");
}

/* Median seconds of one product of a matrix (out, in); negative after an error. */
static double measure(const struct bench *b, const struct operands *o, enum what w, size_t out, size_t in, struct err *e)
{
    double *t = calloc(b->reps + 1, sizeof *t), median = -1;
    int rc = t ? 0 : err_nomem(e, b->reps * sizeof *t, "times");
    for (size_t i = 0; i <= b->reps && rc == 0; i++) {
        double start = now();
        if (w == FORWARD)
            rc = gemm(GEMM_NT, b->T, out, in, b->t, o->x, in, o->W, in, false, o->y, out, e);
        else if (w == BACKWARD)
            rc = gemm(GEMM_NN, b->T, in, out, b->t, o->dy, out, o->W, in, false, o->y, in, e);
        else
            rc = sens_accumulate(o->y, in, o->W, b->t, in, o->dy, out, o->x, in, b->t, out, in, (int)b->n_seqs, b->cu, e);
        if (i) /* the first makes the library's kernels */
            t[i - 1] = now() - start;
    }
    if (rc == 0) {
        qsort(t, b->reps, sizeof *t, by_value);
        median = t[b->reps / 2];
    }
    free(t);
    return median;
}

static int run(const struct bench *b, const struct model_config *c, const struct operands *o, struct err *e)
{
    double layer = 0, flops = 0;
    for (int m = 0; m < MOD_LINEARS; m++) {
        size_t out, in;
        module_shape(c, (enum module)m, &out, &in);
        double f = 2.0 * (double)b->T * (double)out * (double)in, s[WHATS];
        for (int w = 0; w < WHATS; w++)
            if ((s[w] = measure(b, o, (enum what)w, out, in, e)) < 0)
                return e->code;
        printf("%-9s %5zu x %-5zu  forward %6.1f  backward %6.1f  scores %6.1f GFLOP/s\n", module_name((enum module)m), out, in,
               1e-9 * f / s[FORWARD], 1e-9 * f / s[BACKWARD], 1e-9 * f / s[SCORES]);
        int times = m == MOD_DOWN ? 1 : 2;
        layer += times * s[FORWARD] + s[BACKWARD] + s[SCORES];
        flops += (times + 2) * f;
    }
    printf("a layer: %.1f GFLOP/s, %d layers %.1f tokens/s of one processor\n", 1e-9 * flops / layer, c->num_hidden_layers,
           (double)b->T / (layer * c->num_hidden_layers));
    return 0;
}

static size_t number(int argc, char **argv, int i, size_t fallback)
{
    return argc > i ? (size_t)strtoul(argv[i], NULL, 10) : fallback;
}

int main(int argc, char **argv)
{
    struct err e = {0};
    struct model_config c;
    struct bench b = {.t = argc > 2 && strcmp(argv[2], "f32") == 0 ? DT_F32 : DT_BF16, .n_seqs = number(argc, argv, 3, 32),
                      .reps = number(argc, argv, 5, 5)};
    size_t each = number(argc, argv, 4, 160);
    if (argc < 2 || !b.n_seqs || !each || !b.reps) {
        fprintf(stderr, "usage: bench CONFIG.json [bf16|f32] [SEQUENCES] [TOKENS A SEQUENCE] [REPETITIONS] [THREADS]\n");
        return 2;
    }
    b.T = b.n_seqs * each;
    b.cu = calloc(b.n_seqs + 1, sizeof *b.cu);
    for (size_t s = 0; b.cu && s <= b.n_seqs; s++)
        b.cu[s] = (int32_t)(s * each);
    par_set_threads((int)number(argc, argv, 6, 0));
    struct js *j = js_read(argv[1], &e);
    int rc = !b.cu ? err_nomem(&e, b.n_seqs * 4, "sequences") : !j ? e.code : model_config_parse(j, argv[1], &c, &e);
    struct operands o = {0};
    if (rc == 0)
        rc = operands_make(&b, &c, &o, &e);
    if (rc == 0)
        rc = run(&b, &c, &o, &e);
    operands_free(&o);
    if (rc)
        fprintf(stderr, "bench: %s\n", e.msg);
    js_free(j);
    free(b.cu);
    return rc ? 1 : 0;
}
