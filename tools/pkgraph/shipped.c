/* SPDX-License-Identifier: MIT */
#include "tools/pkgraph/shipped.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/buf.h"

char *shipped_spec(const char *spec)
{
    char program[PATH_MAX];
    struct buf b = {0};
    ssize_t n = readlink("/proc/self/exe", program, sizeof program);
    if (strncmp(spec, "specs/", 6) != 0 || n <= 0 || n == (ssize_t)sizeof program)
        return NULL;
    for (int up = 0; up < 2; up++) /* PREFIX of PREFIX/bin/pkgraph */
        while (n > 0 && program[--n] != '/')
            ;
    buf_printf(&b, "%.*s/share/pkgraph/%s", (int)n, program, spec);
    char *path = buf_steal(&b);
    if (path && access(path, R_OK) == 0)
        return path;
    free(path);
    return NULL;
}
