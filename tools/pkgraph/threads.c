/* SPDX-License-Identifier: MIT */
#include "tools/pkgraph/threads.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/buf.h"
#include "runtime/base/fs.h"

void threads_block_soon(void)
{
    if (getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT") || setenv("GOMP_SPINCOUNT", "2000", 1) != 0)
        return;
    struct buf line = {0};
    struct err e;
    char **argv = NULL;
    size_t n = 0;
    if (fs_read("/proc/self/cmdline", 1 << 26, &line, &e) == 0)
        argv = calloc(line.n + 2, sizeof *argv);
    for (size_t i = 0; argv && i < line.n; i += strlen(line.p + i) + 1)
        argv[n++] = line.p + i;
    if (n)
        execv("/proc/self/exe", argv);
    free(argv);
    buf_release(&line);
}
