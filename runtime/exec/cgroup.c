/* SPDX-License-Identifier: MIT
 *
 * /proc/self/cgroup has a line "N:controllers:/path" for each hierarchy; version 2 is "0::/path". The path is below the
 * mount point, /sys/fs/cgroup or (version 1) /sys/fs/cgroup/CONTROLLER; inside a container it may name a group that is not
 * visible there, and then the mount point itself is the container's group.
 */
#include "runtime/exec/cgroup.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_LONG = 4096, TEXT_LONG = 16384 };

static bool read_text(const char *root, const char *dir, const char *name, char *z, size_t cap)
{
    char path[2 * PATH_LONG];
    if (snprintf(path, sizeof path, "%s%s/%s", root, dir, name) >= (int)sizeof path)
        return false;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, z, cap - 1);
    if (fd >= 0)
        close(fd);
    z[n > 0 ? n : 0] = 0;
    return n > 0;
}

/* "max", nothing, or more than any machine has: no limit. */
static uint64_t read_limit(const char *root, const char *dir, const char *name)
{
    char z[64];
    if (!read_text(root, dir, name, z, sizeof z) || z[0] < '0' || z[0] > '9')
        return UINT64_MAX;
    uint64_t v = strtoull(z, NULL, 10);
    return v >= (uint64_t)1 << 60 ? UINT64_MAX : v;
}

static uint64_t field(const char *z, const char *name)
{
    size_t n = strlen(name);
    for (const char *p = z; p && *p; p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL)
        if (strncmp(p, name, n) == 0 && p[n] == ' ')
            return strtoull(p + n, NULL, 10);
    return 0;
}

static void look_at_memory(const char *root, const char *dir, bool v2, struct cgroup_limits *out)
{
    char z[TEXT_LONG];
    uint64_t max = read_limit(root, dir, v2 ? "memory.max" : "memory.limit_in_bytes");
    if (max == UINT64_MAX)
        return;
    uint64_t used = read_limit(root, dir, v2 ? "memory.current" : "memory.usage_in_bytes"), cache = 0;
    if (used == UINT64_MAX)
        used = 0;
    if (read_text(root, dir, "memory.stat", z, sizeof z))
        cache = field(z, v2 ? "inactive_file" : "total_inactive_file") + field(z, v2 ? "active_file" : "total_active_file");
    used -= cache < used ? cache : used;
    uint64_t left = max > used ? max - used : 0;
    out->memory_max = max < out->memory_max ? max : out->memory_max;
    out->memory_free = left < out->memory_free ? left : out->memory_free;
}

static void look_at_cpu(const char *root, const char *dir, bool v2, struct cgroup_limits *out)
{
    char z[64];
    long long quota = 0, period = 0;
    if (v2) {
        if (!read_text(root, dir, "cpu.max", z, sizeof z) || sscanf(z, "%lld %lld", &quota, &period) != 2)
            return;
    } else {
        if (!read_text(root, dir, "cpu.cfs_quota_us", z, sizeof z) || sscanf(z, "%lld", &quota) != 1 ||
            !read_text(root, dir, "cpu.cfs_period_us", z, sizeof z) || sscanf(z, "%lld", &period) != 1)
            return;
    }
    if (quota <= 0 || period <= 0)
        return;
    long long n = (quota + period - 1) / period;
    if (!out->cpus || n < out->cpus)
        out->cpus = n < 1 << 20 ? (int)n : 1 << 20;
}

/* path at the mount point and all groups above it. */
static void climb(const char *root, const char *mount, char *path, bool v2, void (*look)(const char *, const char *, bool, struct cgroup_limits *),
                  struct cgroup_limits *out)
{
    char dir[2 * PATH_LONG];
    for (;;) {
        while (*path && path[strlen(path) - 1] == '/')
            path[strlen(path) - 1] = 0;
        snprintf(dir, sizeof dir, "%s%s", mount, path);
        look(root, dir, v2, out);
        char *slash = strrchr(path, '/');
        if (!slash)
            return;
        *slash = 0;
    }
}

static bool lists(const char *controllers, const char *name)
{
    size_t n = strlen(name);
    for (const char *p = controllers; p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL)
        if (strncmp(p, name, n) == 0 && (p[n] == 0 || p[n] == ','))
            return true;
    return false;
}

/* One line, cut into its fields. */
static void hierarchy(const char *root, const char *controllers, const char *path, struct cgroup_limits *out)
{
    char copy[PATH_LONG], mount[128];
    if (strlen(path) >= sizeof copy)
        return;
    if (!*controllers) {
        static const char *const mounts[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
        for (int i = 0; i < 2; i++) {
            climb(root, mounts[i], strcpy(copy, path), true, look_at_memory, out);
            climb(root, mounts[i], strcpy(copy, path), true, look_at_cpu, out);
        }
        return;
    }
    bool memory = lists(controllers, "memory");
    if (!memory && !lists(controllers, "cpu"))
        return;
    snprintf(mount, sizeof mount, "/sys/fs/cgroup/%s", memory ? "memory" : "cpu");
    climb(root, mount, strcpy(copy, path), false, memory ? look_at_memory : look_at_cpu, out);
}

void cgroup_limits(const char *root, struct cgroup_limits *out)
{
    char z[TEXT_LONG], *save = NULL;
    *out = (struct cgroup_limits){UINT64_MAX, UINT64_MAX, 0};
    if (!read_text(root, "/proc/self", "cgroup", z, sizeof z))
        return;
    for (char *line = strtok_r(z, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path)
            continue;
        *path++ = 0;
        hierarchy(root, controllers + 1, path, out);
    }
}
