/* SPDX-License-Identifier: MIT
 *
 * What to expect of this machine, measured in about two seconds: matrix products in f32 and bf16, memory, and the disk
 * under the store. Each figure is the best of several short rounds, so that other work on the machine disturbs it little.
 */
#include "tools/pkgraph/doctor_speed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "runtime/exec/par.h"
#include "runtime/kernels/gemm.h"

enum { SIZE = 1024, COPY = 64 << 20, PIECE = 1 << 20, WRITE = 64 << 20 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double speed_gemm(enum dtype t, double seconds)
{
    struct err e;
    size_t n = (size_t)SIZE * SIZE;
    void *a = calloc(n, dtype_size(t)), *b = calloc(n, dtype_size(t));
    float *c = calloc(n, sizeof *c);
    double best = 0, end = now() + seconds;
    for (int round = 0; a && b && c && (round < 2 || now() < end); round++) {
        double begin = now();
        if (gemm(GEMM_NT, SIZE, SIZE, SIZE, t, a, SIZE, b, SIZE, false, c, SIZE, &e) != 0)
            break;
        double rate = 2.0 * SIZE * SIZE * SIZE / (now() - begin);
        best = rate > best ? rate : best;
    }
    free(a);
    free(b);
    free(c);
    return best;
}

struct copying {
    char *to;
    const char *from;
};

static void copy_piece(void *u, size_t i)
{
    const struct copying *c = u;
    memcpy(c->to + i * PIECE, c->from + i * PIECE, PIECE);
}

double speed_memory(double seconds)
{
    struct copying c = {malloc(COPY), NULL};
    char *from = malloc(COPY);
    double best = 0, end = now() + seconds;
    c.from = from;
    if (from)
        memset(from, 1, COPY);
    for (int round = 0; c.to && from && (round < 3 || now() < end); round++) {
        double begin = now();
        par_for(COPY / PIECE, copy_piece, &c);
        double rate = 2.0 * COPY / (now() - begin);
        best = round > 0 && rate > best ? rate : best; /* the first round only touches the pages */
    }
    free(c.to);
    free(from);
    return best;
}

int speed_disk(const char *dir, double *write_rate, struct err *e)
{
    char path[4096];
    char *p = malloc(PIECE);
    int fd = -1, rc = p ? 0 : err_nomem(e, PIECE, "a buffer");
    snprintf(path, sizeof path, "%s/pkgraph-doctor-XXXXXX", dir);
    if (!rc && (fd = mkstemp(path)) < 0)
        rc = err_errno(e, "%s", path);
    if (!rc) {
        unlink(path); /* nothing is left behind, whatever happens */
        memset(p, 0x5a, PIECE);
    }
    double begin = now();
    size_t done = 0;
    while (!rc && done < WRITE && now() - begin < 0.5) {
        ssize_t n = write(fd, p, PIECE);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            rc = err_errno(e, "writing %s", path);
        else
            done += (size_t)n;
    }
    if (!rc && fdatasync(fd) != 0)
        rc = err_errno(e, "fsync of %s", path);
    *write_rate = rc ? 0 : (double)done / (now() - begin);
    if (fd >= 0)
        close(fd);
    free(p);
    return rc;
}
