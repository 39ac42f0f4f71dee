/* SPDX-License-Identifier: MIT
 *
 * doctor_speed: short measurements of the machine. Rates are per second; 0: it could not be measured.
 */
#ifndef PKG_TOOLS_DOCTOR_SPEED_H
#define PKG_TOOLS_DOCTOR_SPEED_H

#include "runtime/base/dtype.h"
#include "runtime/base/err.h"

double speed_gemm(enum dtype t, double seconds); /* floating-point operations, 1024 x 1024 x 1024 */
double speed_memory(double seconds);             /* bytes read plus written by copies with all threads */
/* Bytes written and synced to a file in dir that has no name any more. */
int speed_disk(const char *dir, double *write_rate, struct err *e);

#endif
