/* SPDX-License-Identifier: MIT */
#include "tools/pkgraph/export_lmeval.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/json.h"

enum { NAME = 300 };

/* A mean over tokens or its exponential; all else are per cent. */
static double fraction(const char *metric, double v)
{
    return strstr(metric, "loss") || strcmp(metric, "perplexity") == 0 ? v : v / 100;
}

static int put_metric(struct js *o, const char *metric, double value, double error)
{
    char key[NAME];
    snprintf(key, sizeof key, "%s,none", metric);
    int bad = js_set(o, key, js_new_num(fraction(metric, value)));
    snprintf(key, sizeof key, "%s_stderr,none", metric);
    return bad | js_set(o, key, isnan(error) ? js_new_cstr("N/A") : js_new_num(fraction(metric, error)));
}

/* One task of the results with all metrics of m. */
static int put_task(struct js *results, const char *name, const char *alias, const struct js *m, const struct js *errors)
{
    struct js *o = js_object();
    int bad = js_set(o, "alias", js_new_cstr(alias));
    for (void *it = js_iter(m); it; it = js_next(m, it))
        bad |= put_metric(o, js_iter_key(it), js_num(js_iter_value(it), NAN), js_num(js_get(errors, js_iter_key(it)), NAN));
    return bad | js_set(results, name, o);
}

/* by[group]: a task each, named task_key, with the one metric. */
static int put_group(struct js *results, struct js *members, const struct js *j, const char *task, const char *group, const char *metric)
{
    const struct js *g = js_get(js_get(j, "by"), group), *errors = js_get(js_get(j, "by_stderr"), group);
    int bad = 0;
    for (void *it = js_iter(g); it; it = js_next(g, it)) {
        char name[NAME];
        snprintf(name, sizeof name, "%s_%s", task, js_iter_key(it));
        for (char *p = name; *p; p++)
            if (*p == ' ')
                *p = '_';
        struct js *o = js_object();
        bad |= js_set(o, "alias", js_new_cstr(js_iter_key(it))) |
               put_metric(o, metric, js_num(js_iter_value(it), NAN), js_num(js_get(errors, js_iter_key(it)), NAN)) | js_set(results, name, o) |
               js_push(members, js_new_cstr(name));
    }
    return bad;
}

/* {task: value} */
static struct js *of_task(const char *task, struct js *value)
{
    struct js *o = js_object();
    if (js_set(o, task, value)) {
        js_free(o);
        return NULL;
    }
    return o;
}

static struct js *samples(const struct js *j)
{
    struct js *o = js_object();
    int64_t n = js_int(js_get(j, "n"), 0);
    int bad = js_set(o, "effective", js_new_int(n)) | js_set(o, "original", js_new_int(js_int(js_get(js_get(j, "limit"), "of"), n)));
    if (bad) {
        js_free(o);
        return NULL;
    }
    return o;
}

static struct js *build(const struct js *j)
{
    char task[NAME], alias[NAME];
    const char *plain = js_cstr(js_get(j, "task")), *protocol = js_cstr(js_get(j, "protocol"));
    struct js *out = js_object(), *results = js_object(), *subjects = js_array(), *groups = js_array(), *config = js_object();
    snprintf(task, sizeof task, "pkgraph_%s", plain ? plain : "task");
    snprintf(alias, sizeof alias, "%s (%s)", plain ? plain : "task", protocol ? protocol : "");
    int bad = put_task(results, task, alias, js_get(j, "metrics"), js_get(j, "stderr")) | put_group(results, subjects, j, task, "subject", "acc") |
              put_group(results, subjects, j, task, "task", "rouge_l") | put_group(results, groups, j, task, "category", "acc") |
              js_set(config, "limit", js_get(j, "limit") ? js_ref(js_get(js_get(j, "limit"), "rows")) : js_new_null()) |
              js_set(config, "protocol", js_new_cstr(protocol ? protocol : ""));
    if (js_len(subjects))
        bad |= js_set(out, "groups", of_task(task, js_ref(js_get(results, task)))) | js_set(out, "group_subtasks", of_task(task, js_ref(subjects)));
    bad |= js_set(out, "results", results) | js_set(out, "config", config) | js_set(out, "configs", of_task(task, js_object())) |
           js_set(out, "versions", of_task(task, js_new_int(1))) | js_set(out, "n-shot", of_task(task, js_new_int(js_int(js_get(j, "n_shot"), 0)))) |
           js_set(out, "n-samples", of_task(task, samples(j))) |
           js_set(out, "higher_is_better", of_task(task, js_get(j, "higher_is_better") ? js_ref(js_get(j, "higher_is_better")) : js_object()));
    js_free(subjects);
    js_free(groups);
    if (bad) {
        js_free(out);
        return NULL;
    }
    return out;
}

int export_lmeval(struct export_dir *d, struct store *s, const struct artifact *a, struct err *e)
{
    char *path = NULL;
    const char *tmp;
    if (strcmp(a->type, "metrics") != 0)
        return err_set(e, ERR_INPUT, "--as lm-eval is for metrics; this is of type %s", a->type);
    int rc = err_set(e, ERR_DAMAGED, "the artifact has no metrics.json");
    for (size_t i = 0; i < a->n; i++)
        if (strcmp(a->files[i].name, "metrics.json") == 0)
            rc = store_resolve(s, &a->files[i].digest, &path, e);
    struct js *j = rc == 0 ? js_read(path, e) : NULL, *out = j ? build(j) : NULL;
    if (rc == 0 && !j)
        rc = e->code;
    if (rc == 0 && !out)
        rc = err_nomem(e, 0, "results.json");
    if (rc == 0)
        rc = export_add(d, "results.json", &tmp, e);
    if (rc == 0)
        rc = js_save(tmp, out, e);
    js_free(j);
    js_free(out);
    free(path);
    return rc;
}
