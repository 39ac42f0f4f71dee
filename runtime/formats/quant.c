/* SPDX-License-Identifier: MIT
 *
 * The blocks, one function a type. Where two elements share a byte, the low half belongs to the first half of the block.
 */
#include "runtime/formats/quant.h"

#include <math.h>
#include <string.h>

enum { K = 256 }; /* elements of a super-block of the K types */

static float half(const uint8_t *p)
{
    return f16_to_f32((uint16_t)(p[0] | p[1] << 8));
}

static uint32_t word(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void f32(float *out, const uint8_t *in, size_t n)
{
    memcpy(out, in, n * 4);
}

static void f16(float *out, const uint8_t *in, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = half(in + 2 * i);
}

static void bf16(float *out, const uint8_t *in, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = bf16_to_f32((uint16_t)(in[2 * i] | in[2 * i + 1] << 8));
}

/* d, 16 bytes of nibbles: d (q - 8) */
static void q4_0(float *out, const uint8_t *in, size_t n)
{
    for (; n; n--, in += 18, out += 32) {
        float d = half(in);
        for (int i = 0; i < 16; i++) {
            out[i] = (float)((in[2 + i] & 15) - 8) * d;
            out[i + 16] = (float)((in[2 + i] >> 4) - 8) * d;
        }
    }
}

/* d, m, nibbles: d q + m */
static void q4_1(float *out, const uint8_t *in, size_t n)
{
    for (; n; n--, in += 20, out += 32) {
        float d = half(in), m = half(in + 2);
        for (int i = 0; i < 16; i++) {
            out[i] = (float)(in[4 + i] & 15) * d + m;
            out[i + 16] = (float)(in[4 + i] >> 4) * d + m;
        }
    }
}

/* d, 32 fifth bits, nibbles: d (q - 16) */
static void q5_0(float *out, const uint8_t *in, size_t n)
{
    for (; n; n--, in += 22, out += 32) {
        float d = half(in);
        uint32_t h = word(in + 2);
        for (int i = 0; i < 16; i++) {
            out[i] = (float)((int)((in[6 + i] & 15) | (h >> i & 1) << 4) - 16) * d;
            out[i + 16] = (float)((int)(in[6 + i] >> 4 | (h >> (i + 16) & 1) << 4) - 16) * d;
        }
    }
}

static void q5_1(float *out, const uint8_t *in, size_t n)
{
    for (; n; n--, in += 24, out += 32) {
        float d = half(in), m = half(in + 2);
        uint32_t h = word(in + 4);
        for (int i = 0; i < 16; i++) {
            out[i] = (float)((in[8 + i] & 15) | (h >> i & 1) << 4) * d + m;
            out[i + 16] = (float)(in[8 + i] >> 4 | (h >> (i + 16) & 1) << 4) * d + m;
        }
    }
}

static void q8_0(float *out, const uint8_t *in, size_t n)
{
    for (; n; n--, in += 34, out += 32) {
        float d = half(in);
        for (int i = 0; i < 32; i++)
            out[i] = (float)(int8_t)in[2 + i] * d;
    }
}

/* 16 scales and minima of 4 bits, 64 bytes of 2-bit values (four planes of 32 in each half), d, dmin */
static void q2_k(float *out, const uint8_t *in, size_t n)
{
    for (; n; n--, in += 84, out += K) {
        float d = half(in + 80), dmin = half(in + 82);
        for (int i = 0; i < K; i++) {
            int plane = i / 32 % 4, at = i / 128 * 32 + i % 32;
            uint8_t s = in[i / 16];
            float scale = d * (float)(s & 15), min = dmin * (float)(s >> 4);
            out[i] = scale * (float)(in[16 + at] >> 2 * plane & 3) - min;
        }
    }
}

/* 32 bytes of third bits (set: no offset), 64 of 2-bit values, 12 of 6-bit scales less 32, d */
static void q3_k(float *out, const uint8_t *in, size_t n)
{
    for (; n; n--, in += 110, out += K) {
        const uint8_t *s = in + 96;
        float d = half(in + 108), scale[16];
        for (int i = 0; i < 16; i++) {
            int low = i < 8 ? s[i] & 15 : s[i - 8] >> 4, high = s[8 + i % 4] >> 2 * (i / 4) & 3;
            scale[i] = d * (float)((low | high << 4) - 32);
        }
        for (int i = 0; i < K; i++) {
            int q = in[32 + i / 128 * 32 + i % 32] >> 2 * (i / 32 % 4) & 3;
            out[i] = scale[i / 16] * (float)(q - (in[i % 32] >> i / 32 & 1 ? 0 : 4));
        }
    }
}

/* Eight scales and minima of 6 bits in 12 bytes, as in Q4_K and Q5_K. */
static void scales_k(float scale[8], float min[8], const uint8_t *in)
{
    float d = half(in), dmin = half(in + 2);
    const uint8_t *s = in + 4;
    for (int i = 0; i < 8; i++) {
        int sc = i < 4 ? s[i] & 63 : (s[i + 4] & 15) | (s[i - 4] >> 6) << 4;
        int m = i < 4 ? s[i + 4] & 63 : s[i + 4] >> 4 | (s[i] >> 6) << 4;
        scale[i] = d * (float)sc;
        min[i] = dmin * (float)m;
    }
}

static void q4_k(float *out, const uint8_t *in, size_t n)
{
    float scale[8], min[8];
    for (; n; n--, in += 144, out += K) {
        scales_k(scale, min, in);
        for (int j = 0; j < 4; j++) {
            const uint8_t *q = in + 16 + 32 * j;
            float *y = out + 64 * j;
            for (int i = 0; i < 32; i++) {
                y[i] = scale[2 * j] * (float)(q[i] & 15) - min[2 * j];
                y[i + 32] = scale[2 * j + 1] * (float)(q[i] >> 4) - min[2 * j + 1];
            }
        }
    }
}

static void q5_k(float *out, const uint8_t *in, size_t n)
{
    float scale[8], min[8];
    for (; n; n--, in += 176, out += K) {
        scales_k(scale, min, in);
        for (int j = 0; j < 4; j++) {
            const uint8_t *h = in + 16, *q = in + 48 + 32 * j;
            float *y = out + 64 * j;
            for (int i = 0; i < 32; i++) {
                y[i] = scale[2 * j] * (float)((q[i] & 15) | (h[i] >> 2 * j & 1) << 4) - min[2 * j];
                y[i + 32] = scale[2 * j + 1] * (float)(q[i] >> 4 | (h[i] >> (2 * j + 1) & 1) << 4) - min[2 * j + 1];
            }
        }
    }
}

/* 128 bytes of low nibbles, 64 of high pairs, 16 scales (i8), d: d scale (q - 32) */
static void q6_k(float *out, const uint8_t *in, size_t n)
{
    for (; n; n--, in += 210, out += K) {
        float d = half(in + 208), scale[16];
        for (int i = 0; i < 16; i++)
            scale[i] = d * (float)(int8_t)in[192 + i];
        for (int j = 0; j < 2; j++)
            for (int i = 0; i < 32; i++) {
                const uint8_t *l = in + 64 * j, h = in[128 + 32 * j + i];
                float *y = out + 128 * j;
                const float *s = scale + 8 * j + i / 16;
                y[i] = s[0] * (float)(((l[i] & 15) | (h & 3) << 4) - 32);
                y[i + 32] = s[2] * (float)(((l[i + 32] & 15) | (h >> 2 & 3) << 4) - 32);
                y[i + 64] = s[4] * (float)((l[i] >> 4 | (h >> 4 & 3) << 4) - 32);
                y[i + 96] = s[6] * (float)((l[i + 32] >> 4 | (h >> 6) << 4) - 32);
            }
    }
}

static void iq4_nl(float *out, const uint8_t *in, size_t n)
{
    static const int8_t level[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
    for (; n; n--, in += 18, out += 32) {
        float d = half(in);
        for (int i = 0; i < 16; i++) {
            out[i] = d * (float)level[in[2 + i] & 15];
            out[i + 16] = d * (float)level[in[2 + i] >> 4];
        }
    }
}

void quant_q8_0(uint8_t *out, const float *x, size_t blocks)
{
    for (; blocks; blocks--, out += 34, x += 32) {
        float most = 0;
        for (int i = 0; i < 32; i++)
            most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
        float d = most / 127, inverse = d != 0 ? 1 / d : 0;
        uint16_t h = f16_from_f32(d);
        out[0] = (uint8_t)h;
        out[1] = (uint8_t)(h >> 8);
        for (int i = 0; i < 32; i++) {
            float q = roundf(x[i] * inverse);
            out[2 + i] = (uint8_t)(int8_t)(fabsf(q) <= 127 ? q : 0); /* infinities and NaN have no place here */
        }
    }
}

static const struct quant_type types[] = {
    {"F32", 0, 1, 4, DT_F32, f32},
    {"F16", 1, 1, 2, DT_F16, f16},
    {"BF16", 30, 1, 2, DT_BF16, bf16},
    {"Q4_0", 2, 32, 18, DT_BF16, q4_0},
    {"Q4_1", 3, 32, 20, DT_BF16, q4_1},
    {"Q5_0", 6, 32, 22, DT_BF16, q5_0},
    {"Q5_1", 7, 32, 24, DT_BF16, q5_1},
    {"Q8_0", 8, 32, 34, DT_BF16, q8_0},
    {"Q2_K", 10, K, 84, DT_BF16, q2_k},
    {"Q3_K", 11, K, 110, DT_BF16, q3_k},
    {"Q4_K", 12, K, 144, DT_BF16, q4_k},
    {"Q5_K", 13, K, 176, DT_BF16, q5_k},
    {"Q6_K", 14, K, 210, DT_BF16, q6_k},
    {"IQ4_NL", 20, 32, 18, DT_BF16, iq4_nl},
    {"Q8_1", 9, 32, 36, DT_BF16, NULL},
    {"Q8_K", 15, K, 292, DT_BF16, NULL},
    {"IQ2_XXS", 16, K, 66, DT_BF16, NULL},
    {"IQ2_XS", 17, K, 74, DT_BF16, NULL},
    {"IQ3_XXS", 18, K, 98, DT_BF16, NULL},
    {"IQ1_S", 19, K, 50, DT_BF16, NULL},
    {"IQ3_S", 21, K, 110, DT_BF16, NULL},
    {"IQ2_S", 22, K, 82, DT_BF16, NULL},
    {"IQ4_XS", 23, K, 136, DT_BF16, NULL},
    {"IQ1_M", 29, K, 56, DT_BF16, NULL},
    {"TQ1_0", 34, K, 54, DT_BF16, NULL},
    {"TQ2_0", 35, K, 66, DT_BF16, NULL},
    {"MXFP4", 39, 32, 17, DT_BF16, NULL},
};

const struct quant_type *quant_by_id(uint32_t id)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].id == id)
            return &types[i];
    return NULL;
}

const struct quant_type *quant_by_name(const char *name)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i].name, name) == 0)
            return &types[i];
    return NULL;
}

const struct quant_type *quant_of(enum dtype t)
{
    return t == DT_F32 ? &types[0] : t == DT_F16 ? &types[1] : t == DT_BF16 ? &types[2] : NULL;
}
