/* SPDX-License-Identifier: MIT
 *
 * export --as lm-eval: metrics in the layout of lm-evaluation-harness's results file, for programs that read those: shares as
 * fractions of one, "<metric>,none" beside "<metric>_stderr,none". Task names begin with pkgraph_, since none of the harness's
 * own tasks asks in the published protocol.
 */
#ifndef PKG_TOOLS_EXPORT_LMEVAL_H
#define PKG_TOOLS_EXPORT_LMEVAL_H

#include "runtime/store/store.h"
#include "tools/pkgraph/export_dir.h"

int export_lmeval(struct export_dir *d, struct store *s, const struct artifact *a, struct err *e);

#endif
