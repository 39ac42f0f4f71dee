/* SPDX-License-Identifier: MIT
 *
 * machine: the speed of this machine that estimates start from, measured once a store (a tenth of a second) and kept in it.
 */
#ifndef PKG_TOOLS_MACHINE_H
#define PKG_TOOLS_MACHINE_H

#include <stdbool.h>

/* Gives the speed to the engine's estimates (plan_machine), if it is known for the store in `dir` or `measure` is asked for. */
void machine_estimates(const char *dir, bool measure);

#endif
