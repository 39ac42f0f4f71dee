/* SPDX-License-Identifier: MIT
 *
 * Limits of control groups, read from folders that look like /proc and /sys of machines with version 1, version 2 and both.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/base/fs.h"
#include "runtime/exec/cgroup.h"

static char root[] = "/tmp/pkgtest-XXXXXX";

static void put(const char *path, const char *text)
{
    struct err e;
    char *full = NULL, *dir;
    assert_true(asprintf(&full, "%s%s", root, path) > 0);
    dir = fs_dirname(full);
    assert_int_equal(fs_mkdirs(dir, &e), 0);
    assert_int_equal(fs_write_atomic(full, text, strlen(text), &e), 0);
    free(dir);
    free(full);
}

static int setup(void **state)
{
    (void)state;
    strcpy(root, "/tmp/pkgtest-XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int teardown(void **state)
{
    struct err e;
    (void)state;
    return fs_remove_tree(root, &e);
}

static void expect(uint64_t max, uint64_t left, int cpus)
{
    struct cgroup_limits l;
    cgroup_limits(root, &l);
    assert_int_equal(l.memory_max, max);
    assert_int_equal(l.memory_free, left);
    assert_int_equal(l.cpus, cpus);
}

static void test_none(void **state)
{
    (void)state;
    expect(UINT64_MAX, UINT64_MAX, 0);
    put("/proc/self/cgroup", "0::/\n");
    expect(UINT64_MAX, UINT64_MAX, 0);
    put("/sys/fs/cgroup/memory.max", "max\n");
    put("/sys/fs/cgroup/cpu.max", "max 100000\n");
    expect(UINT64_MAX, UINT64_MAX, 0);
    put("/proc/self/cgroup", "rubbish\n:\n7:\n0::\n");
    expect(UINT64_MAX, UINT64_MAX, 0);
}

static void test_v2(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "0::/user.slice/job\n");
    put("/sys/fs/cgroup/user.slice/job/memory.max", "4000000\n");
    put("/sys/fs/cgroup/user.slice/job/memory.current", "1500000\n");
    put("/sys/fs/cgroup/user.slice/job/memory.stat", "anon 900000\nfile 600000\ninactive_anon 5\ninactive_file 400000\nactive_file 100000\n");
    put("/sys/fs/cgroup/user.slice/job/cpu.max", "250000 100000\n");
    expect(4000000, 3000000, 3);
    put("/sys/fs/cgroup/user.slice/memory.max", "9000000\n"); /* wider, but others fill it */
    put("/sys/fs/cgroup/user.slice/memory.current", "8000000\n");
    put("/sys/fs/cgroup/user.slice/cpu.max", "150000 100000\n");
    expect(4000000, 1000000, 2);
}

/* In a container the path is the host's, and what is mounted is the container's group. */
static void test_v2_container(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "0::/../../kubepods/x\n");
    put("/sys/fs/cgroup/memory.max", "1000000\n");
    put("/sys/fs/cgroup/memory.current", "1200000\n");
    put("/sys/fs/cgroup/cpu.max", "50000 100000\n");
    expect(1000000, 0, 1);
}

static void test_v1(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "12:cpuset:/a\n4:memory:/docker/a\n2:cpu,cpuacct:/docker/a\n0::/\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    put("/sys/fs/cgroup/memory/docker/a/memory.limit_in_bytes", "8000000\n");
    put("/sys/fs/cgroup/memory/docker/a/memory.usage_in_bytes", "5000000\n");
    put("/sys/fs/cgroup/memory/docker/a/memory.stat", "inactive_file 1\nactive_file 1\ntotal_inactive_file 2000000\ntotal_active_file 500000\n");
    put("/sys/fs/cgroup/cpu/docker/a/cpu.cfs_quota_us", "-1\n");
    put("/sys/fs/cgroup/cpu/docker/a/cpu.cfs_period_us", "100000\n");
    expect(8000000, 5500000, 0);
    put("/sys/fs/cgroup/cpu/docker/a/cpu.cfs_quota_us", "400000\n");
    expect(8000000, 5500000, 4);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_none), TEST(test_v2), TEST(test_v2_container), TEST(test_v1)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
