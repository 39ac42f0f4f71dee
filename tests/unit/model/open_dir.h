/* SPDX-License-Identifier: MIT
 *
 * For tests: a model opened straight from a Hugging Face directory, without a store.
 */
#ifndef TEST_OPEN_DIR_H
#define TEST_OPEN_DIR_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/fs.h"
#include "runtime/base/json.h"
#include "runtime/model/model.h"
#include "runtime/model/weights.h"

#define OK(call, err)                         \
    do {                                      \
        if ((call) != 0)                      \
            fail_msg("%s: %s", #call, (err).msg); \
    } while (0)

struct opened {
    char *dir;
    char *paths[16];
    int n;
    struct js *json;
    struct model *m;
};

static inline int resolve_in_dir(void *u, const char *name, const char **path, struct err *e)
{
    struct opened *o = u;
    if (o->n == 16)
        return err_set(e, ERR_INTERNAL, "too many files");
    *path = o->paths[o->n++] = fs_join(o->dir, name);
    return 0;
}

static inline void open_dir(struct opened *o, const char *dir)
{
    struct err e;
    memset(o, 0, sizeof *o);
    o->dir = str_dup(str_of(dir));
    OK(model_describe_dir(dir, &o->json, &e), e);
    OK(model_open(o->json, resolve_in_dir, o, &o->m, &e), e);
}

static inline void close_dir(struct opened *o)
{
    model_close(o->m);
    js_free(o->json);
    for (int i = 0; i < o->n; i++)
        free(o->paths[i]);
    free(o->dir);
}

/* ||a - b|| / ||b|| */
static inline double distance(const float *a, const float *b, size_t n)
{
    double d = 0, s = 0;
    for (size_t i = 0; i < n; i++) {
        d += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        s += (double)b[i] * b[i];
    }
    return sqrt(d) / (s > 0 ? sqrt(s) : 1);
}

#endif
