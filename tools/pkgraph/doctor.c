/* SPDX-License-Identifier: MIT
 *
 * doctor: what this machine offers and what pkgraph makes of it. The first thing to look at when something is slow.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/graph.h"
#include "engine/yaml.h"
#include "ops/table.h"
#include "runtime/base/fs.h"
#include "runtime/base/json.h"
#include "runtime/exec/cgroup.h"
#include "runtime/exec/http.h"
#include "runtime/exec/par.h"
#include "runtime/exec/pool.h"
#include "runtime/kernels/gemm.h"
#include "runtime/store/db.h"
#include "runtime/text/normalize.h"
#include "runtime/text/regex.h"
#include "tools/pkgraph/doctor_speed.h"
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
    struct cgroup_limits group;
    char x[TEXT_MAX];
    cgroup_limits("", &group);
    if (group.memory_max != UINT64_MAX)
        printf(", limited to %s by the control group", text_bytes(x, (double)group.memory_max));
}

static void print_libraries(void)
{
    const struct {
        const char *name, *version;
    } library[] = {
        {"SQLite", db_library_version()},       {"OpenSSL", sha_library_version()},  {"libuv", pool_library_version()},
        {"libyaml", yaml_library_version()},    {"Jansson", js_library_version()},   {"PCRE2", regex_library_version()},
        {"utf8proc", normalize_library_version()}, {"libcurl", http_library_version()},
    };
    printf("\nlibraries    %s\n            ", gemm_version());
    for (size_t i = 0; i < sizeof library / sizeof *library; i++)
        printf(" %s %s%s", library[i].name, library[i].version ? library[i].version : "NOT THERE", i + 1 < sizeof library / sizeof *library ? "," : "\n");
}

/* A token costs 2 P operations forward and about 4 P in LoRA training (forward, and gradients of activations). */
static void print_speed(const char *store)
{
    struct err e = {0};
    double f32 = speed_gemm(DT_F32, 0.4), bf16 = gemm_has_bf16() ? speed_gemm(DT_BF16, 0.4) : 0, disk = 0;
    char folder[4096];
    snprintf(folder, sizeof folder, "%s", store);
    while (!fs_is_dir(folder) && strchr(folder, '/'))
        *strrchr(folder, '/') = 0;
    printf("products     %.0f GFLOP/s in f32", f32 / 1e9);
    if (bf16 > 0)
        printf(", %.0f in bf16", bf16 / 1e9);
    printf(", 1024 x 1024 x 1024\nmemory rate  %.1f GB/s, read and written\n", speed_memory(0.4) / 1e9);
    if (speed_disk(fs_is_dir(folder) ? folder : ".", &disk, &e) == 0)
        printf("disk         %.0f MB/s written and synced\n", disk / 1e6);
    else
        printf("disk         not measured: %s\n", e.msg);
    double best = bf16 > f32 ? bf16 : f32;
    if (best > 0)
        printf("expect       a model of 0.5B parameters to read about %.0f tokens/s and to train LoRA on %.0f/s, as far as products bound it\n",
               best / (2 * 0.5e9), best / (4 * 0.5e9));
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
    print_libraries();
    printf("compute      auto is %s here\n", gemm_has_bf16() ? "bf16 (the processor multiplies it in hardware)" : "f32 (no bf16 in hardware)");
    const char *store = store_folder(a);
    if (fs_is_dir(store))
        printf("store        %s%s\n", store, access(store, W_OK) ? " (NOT WRITABLE)" : "");
    else
        printf("store        %s (not there yet: `run` makes it)\n", store);
    if (!args_has(a, "no-speed"))
        print_speed(store);
    printf("graphviz     %s\n", system("command -v dot >/dev/null 2>&1") == 0 ? "dot is there" : "no dot: viz --format svg and png need it (report does not)");
    return STATUS_DONE;
}

static const struct option_def options[] = {
    {.name = "no-speed", .help = "leave out the measurements (they take about two seconds)"},
    OPTIONS_STORE,
    OPTIONS_HELP,
    {0},
};

const struct command cmd_doctor = {
    .name = "doctor",
    .usage = "",
    .summary = "processor, memory, libraries, store, and the speed to expect here",
    .example = "pkgraph doctor",
    .options = options,
    .run = run_doctor,
};
