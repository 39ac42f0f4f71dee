/* SPDX-License-Identifier: MIT
 *
 * dtype: element types of tensors and their conversion. bf16 and f16 are held as their 16 bits. Rounding to bf16 is to
 * nearest even, NaN stays NaN (quiet). Array functions run on the calling thread; in and out may not overlap.
 */
#ifndef PKG_BASE_DTYPE_H
#define PKG_BASE_DTYPE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum dtype { DT_F32, DT_BF16, DT_F16, DT_F64, DT_I64, DT_I32, DT_I16, DT_I8, DT_U8, DT_BOOL, DT_COUNT };

size_t dtype_size(enum dtype t);
const char *dtype_name(enum dtype t);             /* safetensors' spelling: "F32", "BF16", ... */
int dtype_parse(const char *name, enum dtype *t); /* 0, or -1 for an unknown name */

static inline float bf16_to_f32(uint16_t h)
{
    uint32_t u = (uint32_t)h << 16;
    float f;
    memcpy(&f, &u, 4);
    return f;
}

static inline uint16_t bf16_from_f32(float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    if ((u & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1)) >> 16);
}

float f16_to_f32(uint16_t h);
uint16_t f16_from_f32(float f); /* to nearest even, overflow to infinity */

int dtype_to_f32(float *out, const void *in, enum dtype t, size_t n);   /* F32 BF16 F16 F64; -1 for another type */
int dtype_from_f32(void *out, enum dtype t, const float *in, size_t n); /* F32 BF16 F16; -1 for another type */

#endif
