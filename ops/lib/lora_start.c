/* SPDX-License-Identifier: MIT */
#include "ops/lib/lora_start.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/arena.h"
#include "runtime/base/rng.h"
#include "runtime/exec/par.h"
#include "runtime/kernels/svd.h"

static const char *const names[] = {"svd", "default", "gaussian", "pissa", "olora", "noise"};

int lora_init_parse(const char *name, enum lora_init *out)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0) {
            *out = (enum lora_init)i;
            return 0;
        }
    return -1;
}

bool lora_init_factors(enum lora_init how)
{
    return how != LORA_DEFAULT && how != LORA_GAUSSIAN;
}

bool lora_init_needs_block(enum lora_init how)
{
    return how == LORA_SVD || how == LORA_NOISE;
}

/* A stream for each (module, what is drawn). */
static uint64_t stream_of(const struct lora_pair *p, uint64_t seed, const char *what)
{
    char path[PARAM_NAME_MAX], name[PARAM_NAME_MAX + 32];
    size_t n = 0, m = strlen(what);
    module_path(path, p->layer, p->mod);
    n = strlen(path);
    memcpy(name, path, n);
    name[n] = ':';
    memcpy(name + n + 1, what, m + 1);
    return rng_stream(seed, name);
}

static void random_start(struct lora_pair *p, enum lora_init how, uint64_t seed)
{
    size_t na = (size_t)p->r * p->in, nb = p->out * (size_t)p->r;
    if (p->mod == MOD_EMBED) {
        memset(p->A, 0, na * sizeof(float));
        rng_fill_normal(p->B, nb, 1, seed, stream_of(p, seed, "lora_embedding_B"));
        return;
    }
    memset(p->B, 0, nb * sizeof(float));
    double bound = 1 / sqrt((double)p->in);
    if (how == LORA_GAUSSIAN)
        rng_fill_normal(p->A, na, 1.0 / p->r, seed, stream_of(p, seed, "lora_A"));
    else
        rng_fill_uniform(p->A, na, -bound, bound, seed, stream_of(p, seed, "lora_A"));
}

/* The matrix that B A stands for: (out, in), an embedding (V, d) turned. */
static struct svd_matrix matrix_of(const struct lora_pair *p, const void *data, enum dtype t)
{
    bool turned = p->mod == MOD_EMBED;
    return (struct svd_matrix){data, t, p->out, p->in, turned ? p->out : p->in, turned};
}

/* ---- noise ---- */

struct noise {
    const struct tensor *from;
    double mean, *sums;
    float *out;
    double std;
    uint64_t seed, stream;
};

enum { SLAB = 1 << 16 };

/* Sum of (x - mean)^k, k = 1 or 2, of a slab. */
static void moment(const struct noise *n, size_t slab, int k)
{
    float x[1024];
    size_t size = dtype_size(n->from->dtype), first = slab * SLAB,
           end = first + SLAB < n->from->n ? first + SLAB : n->from->n;
    double sum = 0;
    for (size_t i = first; i < end; i += 1024) {
        size_t m = end - i < 1024 ? end - i : 1024;
        dtype_to_f32(x, (const char *)n->from->data + i * size, n->from->dtype, m);
        for (size_t j = 0; j < m; j++)
            sum += k == 1 ? (double)x[j] : ((double)x[j] - n->mean) * ((double)x[j] - n->mean);
    }
    n->sums[slab] = sum;
}

static void first_moment(void *u, size_t i)
{
    moment(u, i, 1);
}

static void second_moment(void *u, size_t i)
{
    moment(u, i, 2);
}

static void draw(void *u, size_t first, size_t count)
{
    const struct noise *n = u;
    for (size_t i = first; i < first + count; i++)
        n->out[i] = (float)(n->std * rng_normal(n->seed, n->stream, i));
}

/* Normal numbers with the block's standard deviation, in its shape. */
static int fill_noise(struct noise *n, struct err *e)
{
    size_t slabs = (n->from->n + SLAB - 1) / SLAB;
    double sum = 0;
    n->sums = malloc(slabs * sizeof *n->sums);
    if (!n->sums)
        return err_nomem(e, slabs * 8, "moments");
    par_for(slabs, first_moment, n);
    for (size_t i = 0; i < slabs; i++)
        sum += n->sums[i];
    n->mean = sum / (double)n->from->n;
    par_for(slabs, second_moment, n);
    sum = 0;
    for (size_t i = 0; i < slabs; i++)
        sum += n->sums[i];
    n->std = sqrt(sum / (double)n->from->n);
    free(n->sums);
    par_slabs(n->from->n, SLAB, draw, n);
    return 0;
}

/* ---- factors ---- */

static int put_facts(struct js *facts, const double *s, int r, double energy, struct err *e)
{
    double kept = 0;
    struct js *v = js_array();
    int bad = 0;
    for (int i = 0; i < r; i++) {
        bad |= js_push(v, js_new_num(s[i]));
        kept += s[i] * s[i];
    }
    bad |=
        js_set(facts, "singular_values", v) | js_set(facts, "energy_kept", js_new_num(energy > 0 ? kept / energy : 1));
    return bad ? err_nomem(e, 256, "pkgraph.json") : 0;
}

/* b (out, r) = U s and a (r, in) = V^T in f64 become the pair. svd: as they are; pissa: the roots of s on both sides,
 * and of 1 / scale, so that scale B A is the product. */
static void store_triplets(struct lora_pair *p, bool pissa, const double *s, const double *b, const double *a)
{
    size_t r = (size_t)p->r;
    for (size_t k = 0; k < r; k++) {
        double left = 1, right = 1;
        if (pissa) {
            right = sqrt(s[k] / p->scale);
            left = s[k] > 0 ? 1 / sqrt(s[k] * p->scale) : 0;
        }
        for (size_t i = 0; i < p->out; i++)
            p->B[i * r + k] = (float)(left * b[i * r + k]);
        for (size_t j = 0; j < p->in; j++)
            p->A[k * p->in + j] = (float)(right * a[k * p->in + j]);
    }
}

static int factor(struct lora_pair *p, enum lora_init how, const struct svd_matrix *m, struct js *facts, struct err *e)
{
    size_t r = (size_t)p->r, nb = p->out * r, na = r * p->in;
    double *s = malloc((r + nb + na) * sizeof *s), *b = s + r, *a = b + nb, energy;
    if (!s)
        return err_nomem(e, (nb + na) * 8, "factors");
    int rc;
    if (how == LORA_OLORA) {
        rc = svd_qr(m, r, b, a, e);
        for (size_t i = 0; i < nb && !rc; i++)
            p->B[i] = (float)b[i];
        for (size_t i = 0; i < na && !rc; i++)
            p->A[i] = (float)a[i];
    } else {
        rc = svd_truncated(m, r, s, b, a, &energy, e);
        if (!rc)
            store_triplets(p, how == LORA_PISSA, s, b, a);
        if (!rc && facts)
            rc = put_facts(facts, s, p->r, energy, e);
    }
    free(s);
    return rc;
}

static int through_half(float *x, size_t n, struct err *e)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = f16_to_f32(f16_from_f32(x[i]));
        if (!isfinite(x[i]))
            return err_set(
                e, ERR_INPUT,
                "a factor is too large for f16 (over 65504), which compat: reference casts to; use compat: none");
    }
    return 0;
}

int lora_start(struct lora_pair *p, enum lora_init how, const struct tensor *from, uint64_t seed, bool half,
               struct js *facts, struct err *e)
{
    size_t na = (size_t)p->r * p->in, nb = p->out * (size_t)p->r, bytes = 0;
    int rc = 0;
    struct noise noise = {.from = from, .seed = seed};
    if (!lora_init_factors(how))
        random_start(p, how, seed);
    else if (!from || from->n != p->out * p->in)
        rc =
            err_set(e, ERR_INPUT, "the matrix to factor is missing or has another shape than %zu x %zu", p->out, p->in);
    else if (how == LORA_NOISE) {
        bytes = from->n * sizeof(float);
        noise.out = big_alloc(bytes);
        noise.stream = stream_of(p, seed, "noise");
        rc = noise.out ? fill_noise(&noise, e) : err_nomem(e, bytes, "noise");
    }
    if (!rc && lora_init_factors(how)) {
        struct svd_matrix m = matrix_of(p, noise.out ? noise.out : from->data, noise.out ? DT_F32 : from->dtype);
        rc = factor(p, how, &m, facts, e);
    }
    big_free(noise.out, bytes);
    if (!rc && half)
        rc = through_half(p->A, na, e);
    if (!rc && half)
        rc = through_half(p->B, nb, e);
    if (!rc && p->B0) {
        memcpy(p->B0, p->B, nb * sizeof(float));
        memcpy(p->A0, p->A, na * sizeof(float));
    }
    return rc;
}

uint64_t lora_start_memory(enum lora_init how, size_t out, size_t in, size_t r)
{
    if (!lora_init_factors(how))
        return 0;
    uint64_t factors = 8 * (uint64_t)(out + in + 1) * r, noise = how == LORA_NOISE ? 4 * (uint64_t)out * in : 0;
    return factors + noise + (how == LORA_OLORA ? factors : svd_memory(out, in, r));
}
