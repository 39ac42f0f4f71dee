/* SPDX-License-Identifier: MIT
 *
 * schema: the JSON Schema (2020-12) of the spec language, made from the operators' tables, for completion and checking
 * in editors. It accepts every spec that graph_load accepts; what needs the whole graph (names, types) it does not see.
 */
#ifndef PKG_ENGINE_SCHEMA_H
#define PKG_ENGINE_SCHEMA_H

#include "engine/op.h"

struct js *schema_make(const struct op *const *ops); /* ops: ends with NULL. NULL when out of memory */

#endif
