/* SPDX-License-Identifier: MIT
 *
 * rope: a table of cos and sin per position, half of head_dim wide, and the rotation of slabs of tokens. The angle is
 * formed in f32 as position * freq, as the published implementations do; its cosine is taken in f64 and rounded.
 */
#include "runtime/kernels/rope.h"

#include <math.h>
#include <stdlib.h>

#include "runtime/exec/par.h"
#include "runtime/kernels/vmath.h"

enum { SLAB = 16 };

struct rope {
    size_t half, positions;
    float *table; /* (positions, 2, half): cos, sin */
};

/* llama3: Hugging Face's rope_type of that name, after the Llama 3.1 release. */
static float scaled_freq(float f, int type, double factor, double low, double high, double original_max)
{
    if (type == 1)
        return f / (float)factor;
    if (type != 2)
        return f;
    double wave = 2 * M_PI / (double)f;
    if (wave < original_max / high)
        return f;
    if (wave > original_max / low)
        return f / (float)factor;
    double smooth = (original_max / wave - low) / (high - low);
    return (float)((1 - smooth) * (double)f / factor + smooth * (double)f);
}

struct fill {
    struct rope *r;
    const float *freq;
};

static void fill_slab(void *u, size_t first, size_t count)
{
    const struct fill *f = u;
    size_t half = f->r->half;
    for (size_t p = first; p < first + count; p++)
        for (size_t i = 0; i < half; i++) {
            float a = (float)p * f->freq[i];
            f->r->table[2 * half * p + i] = (float)cos((double)a);
            f->r->table[2 * half * p + half + i] = (float)sin((double)a);
        }
}

int rope_new(int head_dim, double theta, int type, double factor, double low, double high, double original_max,
             size_t positions, struct rope **out, struct err *e)
{
    *out = NULL;
    if (head_dim <= 0 || head_dim % 2 || head_dim > 1 << 16 || positions > (size_t)1 << 32)
        return err_set(e, ERR_INPUT, "rotary embedding: head_dim %d must be even and positive, positions %zu reasonable", head_dim, positions);
    if (!(theta > 0) || (type != 0 && !(factor > 0)) || (type == 2 && (!(low > 0) || !(high > low) || !(original_max > 0))))
        return err_set(e, ERR_INPUT, "rotary embedding: rope_theta %g, factor %g, low %g, high %g, original maximum %g make no sense",
                       theta, factor, low, high, original_max);
    size_t half = (size_t)head_dim / 2, n = (positions ? positions : 1) * 2 * half;
    struct rope *r = calloc(1, sizeof *r);
    float *freq = malloc(half * sizeof *freq);
    int rc = 0;
    if (!r || !freq || !(r->table = malloc(n * sizeof *r->table))) {
        rc = err_nomem(e, n * sizeof *freq, "the rotary table");
        goto out;
    }
    r->half = half;
    r->positions = positions;
    for (size_t i = 0; i < half; i++)
        freq[i] = scaled_freq(1.0f / (float)pow(theta, (double)((float)(2 * i) / (float)head_dim)), type, factor, low, high, original_max);
    struct fill f = {r, freq};
    par_slabs(positions, 256, fill_slab, &f);
out:
    free(freq);
    if (rc)
        rope_free(r);
    else
        *out = r;
    return rc;
}

void rope_free(struct rope *r)
{
    if (!r)
        return;
    free(r->table);
    free(r);
}

size_t rope_positions(const struct rope *r)
{
    return r->positions;
}

VECTOR static void rotate(float *restrict x1, float *restrict x2, const float *restrict c, const float *restrict s, float sign, size_t half)
{
#pragma omp simd
    for (size_t i = 0; i < half; i++) {
        float a = x1[i], b = x2[i], sn = sign * s[i];
        x1[i] = a * c[i] - b * sn;
        x2[i] = b * c[i] + a * sn;
    }
}

struct job {
    const struct rope *r;
    float *x;
    size_t ld, heads;
    const int32_t *pos;
    float sign;
};

static void apply_slab(void *u, size_t first, size_t count)
{
    const struct job *j = u;
    size_t half = j->r->half;
    for (size_t t = first; t < first + count; t++) {
        const float *c = j->r->table + (size_t)j->pos[t] * 2 * half;
        for (size_t h = 0; h < j->heads; h++) {
            float *x = j->x + t * j->ld + h * 2 * half;
            rotate(x, x + half, c, c + half, j->sign, half);
        }
    }
}

void rope_apply(const struct rope *r, float *x, size_t ld, size_t T, size_t heads, const int32_t *pos, bool inverse)
{
    struct job j = {r, x, ld, heads, pos, inverse ? -1.0f : 1.0f};
    par_slabs(T, SLAB, apply_slab, &j);
}

void rope_apply_ref(const struct rope *r, float *x, size_t ld, size_t T, size_t heads, const int32_t *pos, bool inverse)
{
    size_t half = r->half;
    for (size_t t = 0; t < T; t++)
        for (size_t h = 0; h < heads; h++)
            for (size_t i = 0; i < half; i++) {
                float *x1 = x + t * ld + h * 2 * half + i, *x2 = x1 + half, a = *x1, b = *x2;
                float c = r->table[(size_t)pos[t] * 2 * half + i], s = r->table[(size_t)pos[t] * 2 * half + half + i];
                s = inverse ? -s : s;
                *x1 = a * c - b * s;
                *x2 = b * c + a * s;
            }
}
