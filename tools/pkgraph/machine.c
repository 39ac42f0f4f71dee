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

static const double measuring_seconds = 0.03; /* of each type */

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

/* Operations a second, all processors. */
struct rates {
    double f32, bf16;
};

static bool plausible(double rate)
{
    return rate > 1e6 && rate < 1e18;
}

static bool read_speed(const char *dir, struct rates *r)
{
    struct err ignored;
    struct buf b = {0};
    char *path = speed_file(dir, false);
    bool found = path && fs_read(path, 64, &b, &ignored) == 0 && b.p && sscanf(b.p, "%lf %lf", &r->f32, &r->bf16) == 2;
    free(path);
    buf_release(&b);
    return found && plausible(r->f32) && plausible(r->bf16);
}

/* One thread, so that other work on the machine disturbs it less. */
static bool measure_speed(struct rates *r)
{
    par_set_threads(1);
    r->f32 = speed_gemm(DT_F32, measuring_seconds) * par_cpus();
    r->bf16 = speed_gemm(DT_BF16, measuring_seconds) * par_cpus();
    par_set_threads(0);
    return plausible(r->f32) && plausible(r->bf16);
}

static void keep_speed(const char *dir, const struct rates *r)
{
    struct err ignored; /* not being able to keep it costs time only */
    char text[64], *path = speed_file(dir, true);
    int n = snprintf(text, sizeof text, "%.6g %.6g\n", r->f32, r->bf16);
    if (path)
        fs_write_atomic(path, text, (size_t)n, &ignored);
    free(path);
}

void machine_estimates(const char *dir, bool measure)
{
    struct rates r;
    bool known = read_speed(dir, &r);
    if (!known && measure && (known = measure_speed(&r)))
        keep_speed(dir, &r);
    if (known)
        plan_machine(r.f32, r.bf16);
}
