/* SPDX-License-Identifier: MIT */
#include "ops/lib/metrics.h"

#include <math.h>

struct metrics metrics_new(const char *task, const char *protocol, int64_t n, int64_t n_shot)
{
    struct metrics m = {js_object(), js_object(), js_object(), js_object(), js_object(), false};
    m.bad = js_set(m.root, "task", js_new_cstr(task)) | js_set(m.root, "protocol", js_new_cstr(protocol)) | js_set(m.root, "n", js_new_int(n)) |
            js_set(m.root, "n_shot", js_new_int(n_shot)) | js_set(m.root, "metrics", m.values) | js_set(m.root, "stderr", m.errors) |
            js_set(m.root, "higher_is_better", m.higher) | js_set(m.root, "by", m.by);
    return m;
}

void metrics_add(struct metrics *m, const char *name, double value, double std_error, bool higher_is_better)
{
    if (m->bad)
        return;
    m->bad = js_set(m->values, name, js_new_num(value)) | js_set(m->higher, name, js_new_bool(higher_is_better));
    if (!m->bad && isfinite(std_error))
        m->bad = js_set(m->errors, name, js_new_num(std_error)) != 0;
}

void metrics_by(struct metrics *m, const char *what, const char *key, double value)
{
    if (m->bad)
        return;
    struct js *group = (struct js *)(uintptr_t)js_get(m->by, what);
    if (!group) {
        m->bad = js_set(m->by, what, js_object()) != 0;
        group = (struct js *)(uintptr_t)js_get(m->by, what);
    }
    m->bad |= !group || js_set(group, key, js_new_num(value)) != 0;
}

int metrics_save(struct metrics *m, const char *path, struct err *e)
{
    int rc = m->bad ? err_nomem(e, 0, "metrics.json") : js_save(path, m->root, e);
    js_free(m->root);
    *m = (struct metrics){0};
    return rc;
}

void metrics_accuracy(struct metrics *m, const char *name, size_t hits, size_t n)
{
    double p = n ? (double)hits / (double)n : 0;
    metrics_add(m, name, 100 * p, n > 1 ? 100 * sqrt(p * (1 - p) / (double)(n - 1)) : NAN, true);
}
