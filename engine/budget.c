/* SPDX-License-Identifier: MIT */
#include "engine/budget.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/exec/cgroup.h"

static size_t read_small(const char *path, char *z, size_t cap)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, z, cap - 1);
    if (fd >= 0)
        close(fd);
    z[n > 0 ? n : 0] = 0;
    return n > 0 ? (size_t)n : 0;
}

static uint64_t number_after(const char *z, const char *label)
{
    const char *p = strstr(z, label);
    return p ? strtoull(p + strlen(label), NULL, 10) : 0;
}

uint64_t budget_free(void)
{
    char z[4096];
    if (!read_small("/proc/meminfo", z, sizeof z))
        return 0;
    uint64_t machine = number_after(z, "MemAvailable:") * 1024;
    struct cgroup_limits group;
    cgroup_limits("", &group);
    uint64_t least = machine < group.memory_free ? machine : group.memory_free;
    return least ? least : 1; /* known to be none */
}

uint64_t budget_rss(void)
{
    char z[256];
    unsigned long long size, resident, shared;
    if (!read_small("/proc/self/statm", z, sizeof z) || sscanf(z, "%llu %llu %llu", &size, &resident, &shared) != 3)
        return 0;
    return (resident > shared ? resident - shared : 0) * (uint64_t)sysconf(_SC_PAGESIZE);
}

void budget_text(struct buf *out, uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double v = (double)bytes;
    int u = 0;
    for (; v >= 1024 && u < 4; u++)
        v /= 1024;
    buf_printf(out, u == 0 ? "%.0f %s" : "%.1f %s", v, units[u]);
}
