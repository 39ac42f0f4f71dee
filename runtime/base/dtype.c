/* SPDX-License-Identifier: MIT */
#include "runtime/base/dtype.h"

static const struct {
    const char *name;
    size_t size;
} types[DT_COUNT] = {
    [DT_F32] = {"F32", 4}, [DT_BF16] = {"BF16", 2}, [DT_F16] = {"F16", 2}, [DT_F64] = {"F64", 8}, [DT_I64] = {"I64", 8},
    [DT_I32] = {"I32", 4}, [DT_I16] = {"I16", 2},   [DT_I8] = {"I8", 1},   [DT_U8] = {"U8", 1},   [DT_BOOL] = {"BOOL", 1},
};

size_t dtype_size(enum dtype t)
{
    return types[t].size;
}

const char *dtype_name(enum dtype t)
{
    return types[t].name;
}

int dtype_parse(const char *name, enum dtype *t)
{
    for (int i = 0; i < DT_COUNT; i++)
        if (strcmp(types[i].name, name) == 0) {
            *t = (enum dtype)i;
            return 0;
        }
    return -1;
}

float f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exp = h >> 10 & 31, man = h & 0x3ff, u;
    if (exp == 31)
        u = sign | 0x7f800000u | man << 13;
    else if (exp)
        u = sign | (exp + 112) << 23 | man << 13;
    else {
        float f = (float)man * 0x1p-24f;
        memcpy(&u, &f, 4);
        u |= sign;
    }
    float f;
    memcpy(&f, &u, 4);
    return f;
}

uint16_t f16_from_f32(float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    uint16_t sign = (uint16_t)(u >> 16 & 0x8000);
    u &= 0x7fffffffu;
    if (u > 0x7f800000u)
        return sign | 0x7e00;
    if (u >= 0x477ff000u)
        return sign | 0x7c00;
    if (u < 0x38800000u) { /* subnormal or zero: let the float adder round */
        float a;
        memcpy(&a, &u, 4);
        a += 0.5f;
        uint32_t r;
        memcpy(&r, &a, 4);
        return (uint16_t)(sign | (r - 0x3f000000u));
    }
    u += 0xfffu + (u >> 13 & 1);
    return (uint16_t)(sign | (u - 0x38000000u) >> 13);
}

int dtype_to_f32(float *out, const void *in, enum dtype t, size_t n)
{
    switch (t) {
    case DT_F32:
        memcpy(out, in, n * 4);
        return 0;
    case DT_BF16:
        for (size_t i = 0; i < n; i++)
            out[i] = bf16_to_f32(((const uint16_t *)in)[i]);
        return 0;
    case DT_F16:
        for (size_t i = 0; i < n; i++)
            out[i] = f16_to_f32(((const uint16_t *)in)[i]);
        return 0;
    case DT_F64:
        for (size_t i = 0; i < n; i++)
            out[i] = (float)((const double *)in)[i];
        return 0;
    default:
        return -1;
    }
}

int dtype_from_f32(void *out, enum dtype t, const float *in, size_t n)
{
    switch (t) {
    case DT_F32:
        memcpy(out, in, n * 4);
        return 0;
    case DT_BF16:
        for (size_t i = 0; i < n; i++)
            ((uint16_t *)out)[i] = bf16_from_f32(in[i]);
        return 0;
    case DT_F16:
        for (size_t i = 0; i < n; i++)
            ((uint16_t *)out)[i] = f16_from_f32(in[i]);
        return 0;
    default:
        return -1;
    }
}
