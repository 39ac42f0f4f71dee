/* SPDX-License-Identifier: MIT */
#include "tools/pkgraph/machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>

#include "engine/plan.h"
#include "runtime/base/fs.h"
#include "runtime/exec/par.h"
#include "runtime/store/store.h"
#include "tools/pkgraph/doctor_speed.h"

static const double measuring_seconds = 0.05;

/* A store may be shared: one file a machine and number of processors. */
static char *speed_file(const char *dir, bool fresh)
{
    struct utsname u;
    struct err ignored;
    struct digest name;
    struct buf b = {0};
    char *path = NULL;
    if (uname(&u) != 0)
        return NULL;
    buf_printf(&b, "speed of %s, %s, %d processors", u.nodename, u.machine, par_cpus());
    if (!b.failed) {
        sha_bytes(b.p, b.n, &name);
        store_memo_path(dir, &name, fresh, &path, &ignored);
    }
    buf_release(&b);
    return path;
}

static double read_speed(const char *dir)
{
    struct err ignored;
    struct buf b = {0};
    char *path = speed_file(dir, false);
    double rate = path && fs_read(path, 64, &b, &ignored) == 0 && b.p ? strtod(b.p, NULL) : 0;
    free(path);
    buf_release(&b);
    return rate > 1e6 && rate < 1e18 ? rate : 0;
}

/* One thread, so that other work on the machine disturbs it less. */
static double measure_speed(void)
{
    par_set_threads(1);
    double rate = speed_gemm(DT_F32, measuring_seconds) * par_cpus();
    par_set_threads(0);
    return rate;
}

void machine_estimates(const char *dir, bool measure)
{
    struct err ignored;
    double rate = read_speed(dir);
    if (!(rate > 0) && measure && (rate = measure_speed()) > 0) {
        char text[64], *path = speed_file(dir, true);
        int n = snprintf(text, sizeof text, "%.6g\n", rate);
        if (path)
            fs_write_atomic(path, text, (size_t)n, &ignored); /* not being able to keep it costs time only */
        free(path);
    }
    if (rate > 0)
        plan_machine(rate);
}
