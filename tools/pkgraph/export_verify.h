/* SPDX-License-Identifier: MIT
 *
 * export_verify: does an exported adapter compute what the trained one does? Both are laid on the base model, and the
 * largest difference of their logits on fixed token ids is printed.
 */
#ifndef PKG_TOOLS_EXPORT_VERIFY_H
#define PKG_TOOLS_EXPORT_VERIFY_H

#include "tools/pkgraph/session.h"

/* node made `adapter`; dir holds the export. Status of the command. */
int export_verify(struct session *s, const struct args *a, size_t node, const struct artifact *adapter, const char *dir);

#endif
