/* SPDX-License-Identifier: MIT
 * table: every operator, collected from the files of ops/ by the build; ends with NULL. */
#ifndef PKG_OPS_TABLE_H
#define PKG_OPS_TABLE_H

#include "engine/op.h"

extern const struct op *const ops_table[];

#endif
