/* SPDX-License-Identifier: MIT
 *
 * budget: what memory there is and what this process holds. Linux: /proc and control groups.
 */
#ifndef PKG_ENGINE_BUDGET_H
#define PKG_ENGINE_BUDGET_H

#include <stdint.h>

#include "runtime/base/buf.h"

uint64_t budget_free(void); /* bytes free now: MemAvailable, and what the cgroup still allows; 0 when unknown */
uint64_t budget_rss(void);  /* resident bytes of this process that are its own: pages of mapped files are left out, the kernel can drop them */
void budget_text(struct buf *out, uint64_t bytes); /* "21.3 GiB" */

#endif
