/* SPDX-License-Identifier: MIT
 *
 * doctor: what this machine offers and what pkgraph makes of it. The first thing to look at when something is slow.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/graph.h"
#include "ops/table.h"
#include "runtime/base/fs.h"
#include "runtime/exec/par.h"
#include "runtime/kernels/gemm.h"
#include "tools/pkgraph/session.h"
#include "tools/pkgraph/term.h"

static void cpu_name(char *out, size_t n)
{
    char line[512];
    FILE *f = fopen("/proc/cpuinfo", "r");
    snprintf(out, n, "unknown");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, "model name", 10) == 0 && strchr(line, ':')) {
            struct str s = str_trim(str_of(strchr(line, ':') + 1));
            snprintf(out, n, "%.*s", (int)s.n, s.p);
            break;
        }
    if (f)
        fclose(f);
}

static void print_isa(void)
{
#if defined(__x86_64__)
    const struct {
        const char *name;
        int have;
    } isa[] = {
        {"avx2", __builtin_cpu_supports("avx2")},
        {"fma", __builtin_cpu_supports("fma")},
        {"avx512f", __builtin_cpu_supports("avx512f")},
        {"avx512bw", __builtin_cpu_supports("avx512bw")},
        {"avx512vnni", __builtin_cpu_supports("avx512vnni")},
        {"avx512bf16", __builtin_cpu_supports("avx512bf16")},
    };
    for (size_t i = 0; i < sizeof isa / sizeof *isa; i++)
        printf("%s%s%s", i ? " " : "", isa[i].have ? "" : "no-", isa[i].name);
    putchar('\n');
#else
    puts("not x86-64");
#endif
}

static double meminfo(const char *field)
{
    char line[256];
    double kib = 0;
    FILE *f = fopen("/proc/meminfo", "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, field, strlen(field)) == 0)
            kib = strtod(line + strlen(field), NULL);
    if (f)
        fclose(f);
    return kib * 1024;
}

static void print_cgroup(void)
{
    struct buf b = {0};
    struct err e;
    char x[TEXT_MAX];
    if (fs_read("/sys/fs/cgroup/memory.max", 64, &b, &e) == 0 && b.n && b.p[0] >= '0' && b.p[0] <= '9')
        printf(", limited to %s by the control group", text_bytes(x, strtod(b.p, NULL)));
    buf_release(&b);
}

static int run_doctor(const struct args *a)
{
    char name[256], x[TEXT_MAX], y[TEXT_MAX];
    size_t ops = 0;
    cpu_name(name, sizeof name);
    while (ops_table[ops])
        ops++;
    printf("pkgraph      %s, %zu operators\n", PKG_VERSION, ops);
    printf("processor    %s\n", name);
    printf("instructions ");
    print_isa();
    printf("threads      %d of %ld processors\n", par_cpus(), sysconf(_SC_NPROCESSORS_ONLN));
    printf("memory       %s free of %s", text_bytes(x, meminfo("MemAvailable:")), text_bytes(y, meminfo("MemTotal:")));
    print_cgroup();
    printf("\nlibraries    %s\n", gemm_version());
    printf("compute      auto is %s here\n", gemm_has_bf16() ? "bf16 (the processor multiplies it in hardware)" : "f32 (no bf16 in hardware)");
    const char *store = store_folder(a);
    if (fs_is_dir(store))
        printf("store        %s%s\n", store, access(store, W_OK) ? " (NOT WRITABLE)" : "");
    else
        printf("store        %s (not there yet: `run` makes it)\n", store);
    printf("graphviz     %s\n", system("command -v dot >/dev/null 2>&1") == 0 ? "dot is there" : "no dot: viz --format svg and png need it");
    return STATUS_DONE;
}

static const struct option_def options[] = {OPTIONS_STORE, OPTIONS_HELP, {0}};

const struct command cmd_doctor = {
    .name = "doctor",
    .usage = "",
    .summary = "processor, threads, memory, libraries, store: what pkgraph finds here",
    .example = "pkgraph doctor",
    .options = options,
    .run = run_doctor,
};
