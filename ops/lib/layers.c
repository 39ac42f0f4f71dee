/* SPDX-License-Identifier: MIT */
#include "ops/lib/layers.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/base/rng.h"
#include "runtime/kernels/select.h"

int layers_strategy(const char *name, enum layer_strategy *s)
{
    static const char *const names[] = {"sensitivity", "random", "first", "last", "uniform", "least", "explicit"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0) {
            *s = (enum layer_strategy)i;
            return 0;
        }
    return -1;
}

/* Drawn numbers: the k largest are a random choice of k. */
static void random_places(double *v, size_t n, uint64_t seed)
{
    uint64_t stream = rng_stream(seed, "layer-select");
    for (size_t i = 0; i < n; i++)
        v[i] = rng_uniform(seed, stream, i);
}

int layers_choose(enum layer_strategy s, const double *scores, size_t n, size_t k, uint64_t seed, int *map,
                  struct err *e)
{
    if (k == 0 || k > n)
        return err_set(e, ERR_INPUT, "%zu layers cannot be chosen from %zu", k, n);
    double *v = malloc(n * sizeof *v);
    size_t *top = malloc(k * sizeof *top);
    int rc = v && top ? 0 : err_nomem(e, n * 16, "layers");
    if (rc)
        goto out;
    memcpy(v, scores, n * sizeof *v);
    if (s == LAYERS_RANDOM)
        random_places(v, n, seed);
    if (s == LAYERS_SENSITIVITY || s == LAYERS_LEAST || s == LAYERS_RANDOM)
        rc = select_top(v, n, k, s == LAYERS_LEAST, top, e);
    for (size_t i = 0; i < k && !rc; i++)
        map[i] = (int)(s == LAYERS_FIRST     ? i
                       : s == LAYERS_LAST    ? n - k + i
                       : s == LAYERS_UNIFORM ? (k == 1 ? 0 : (2 * i * (n - 1) + (k - 1)) / (2 * (k - 1)))
                                             : top[i]);
out:
    free(v);
    free(top);
    return rc;
}

struct js *layers_json(const char *strategy, const double *scores, size_t n, const int *map, size_t k)
{
    struct js *j = js_object(), *m = js_array(), *s = js_array();
    int bad = 0;
    for (size_t i = 0; i < k; i++)
        bad |= js_push(m, js_new_int(map[i]));
    for (size_t i = 0; i < n; i++)
        bad |= js_push(s, js_new_num(scores[i]));
    bad |= js_set(j, "map", m) | js_set(j, "scores", s) | js_set(j, "strategy", js_new_cstr(strategy)) |
           js_set(j, "teacher_layers", js_new_int((int64_t)n)) | js_set(j, "student_layers", js_new_int((int64_t)k));
    if (bad) {
        js_free(j);
        return NULL;
    }
    return j;
}

int layers_read(const char *path, size_t n, size_t k, int *map, struct err *e)
{
    struct js *j = js_read(path, e);
    if (!j)
        return e->code;
    const struct js *m = js_get(j, "map");
    int rc = 0;
    if (js_len(m) != k)
        rc = err_set(e, ERR_INPUT, "layers.json maps %zu layers; the student has %zu", js_len(m), k);
    for (size_t i = 0; i < k && !rc; i++) {
        int64_t l = js_int(js_at(m, i), -1);
        if (l < 0 || l >= (int64_t)n)
            rc = err_set(e, ERR_INPUT, "layers.json maps student layer %zu to teacher layer %lld; the teacher has %zu",
                         i, (long long)l, n);
        map[i] = (int)l;
    }
    js_free(j);
    return rc;
}
