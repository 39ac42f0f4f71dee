/* SPDX-License-Identifier: MIT
 *
 * cgroup: what the control groups that this process is in still allow, version 1 or 2, or both at once (Linux). Every level
 * from the process's own group to the root counts; the tightest holds.
 */
#ifndef PKG_EXEC_CGROUP_H
#define PKG_EXEC_CGROUP_H

#include <stdint.h>

struct cgroup_limits {
    uint64_t memory_max;  /* bytes, the smallest limit; UINT64_MAX: none */
    uint64_t memory_free; /* of the limit that is nearest to being reached, page cache that can be dropped counted as free; UINT64_MAX: no limit */
    int cpus;             /* quota over period, rounded up; 0: no quota */
};

/* root is put before /proc and /sys: "" for this machine, a folder that looks like it in tests. */
void cgroup_limits(const char *root, struct cgroup_limits *out);

#endif
