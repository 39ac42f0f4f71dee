/* SPDX-License-Identifier: MIT
 *
 * convert: element types in bulk, and the small sums between kernels. Parallel above some tens of thousands of elements,
 * vectorised; the same bytes as the scalar functions of runtime/base/dtype.h. Arrays may not overlap unless said.
 */
#ifndef PKG_KERNELS_CONVERT_H
#define PKG_KERNELS_CONVERT_H

#include <stddef.h>
#include <stdint.h>

#include "runtime/base/dtype.h"

void to_bf16(uint16_t *out, const float *in, size_t n);                 /* nearest even; NaN stays NaN */
void to_bf16_ref(uint16_t *out, const float *in, size_t n);
void to_f32(float *out, const void *in, enum dtype t, size_t n);        /* t: F32, BF16, F16 or F64 */
void to_f32_ref(float *out, const void *in, enum dtype t, size_t n);
/* The same on the calling thread alone. */
void convert_bf16_row(float *out, const uint16_t *in, size_t n);
void convert_f16_row(float *out, const uint16_t *in, size_t n);
void convert_to_bf16_row(uint16_t *out, const float *in, size_t n);
void convert_bf16_rest_row(uint16_t *out, const float *in, const uint16_t *bf16, size_t n); /* in - bf16, in bf16: what in bf16 lacks of in */
void convert_add_row(float *y, const float *x, size_t n);
double convert_sum_row(const float *x, size_t n);                       /* f64: eight running sums, added in a fixed order */
double convert_sum_to_bf16_row(uint16_t *out, const float *in, size_t n); /* both in one go: the bytes of convert_to_bf16_row, the sum of convert_sum_row */
void add_into(float *y, const float *x, size_t n);                      /* y += x */
void add_into_ref(float *y, const float *x, size_t n);
void add_bias(float *y, const float *b, size_t T, size_t n);            /* y (T, n) += b (n) in every row */
void add_bias_ref(float *y, const float *b, size_t T, size_t n);
void scale_into(float *y, const float *x, float s, size_t n);           /* y += s * x */
void scale_into_ref(float *y, const float *x, float s, size_t n);

#endif
