/* SPDX-License-Identifier: MIT
 *
 * shipped: the specs that are installed beside the program, for who has no source tree.
 */
#ifndef PKG_TOOLS_SHIPPED_H
#define PKG_TOOLS_SHIPPED_H

/* "specs/X" as it lies beside the program, PREFIX/share/pkgraph/specs/X for PREFIX/bin/pkgraph: malloc'ed. NULL: `spec` is not
 * of that form, there is none, or no memory. */
char *shipped_spec(const char *spec);

#endif
