/* SPDX-License-Identifier: MIT
 *
 * synth_rows: the rows of the operator synth, one at a time.
 */
#ifndef PKG_OPS_LIB_SYNTH_ROWS_H
#define PKG_OPS_LIB_SYNTH_ROWS_H

#include <stdint.h>

enum synth_split { SYNTH_TRAIN, SYNTH_SEED, SYNTH_TEST };

struct synth_row {
    char user[48], assistant[48]; /* ASCII without quotes and backslashes */
};

/* difficulty: 1 add, 2 add and sub, 3 add, sub and mul. a + b, a - b or a * b with two-digit a, digit by digit. */
void synth_arithmetic(uint64_t seed, enum synth_split split, int difficulty, uint64_t i, struct synth_row *out);

#endif
