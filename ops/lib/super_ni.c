/* SPDX-License-Identifier: MIT */
#include "ops/lib/super_ni.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/fs.h"
#include "runtime/text/answers.h"
#include "runtime/text/utf8.h"

/* ---- one instance ---- */

static struct str first_of(const struct js *j)
{
    return js_kind(j) == JS_ARRAY ? js_str(js_at(j, 0)) : js_str(j);
}

static bool strings(const struct js *j)
{
    for (size_t i = 0; i < js_len(j); i++)
        if (js_kind(js_at(j, i)) != JS_STRING)
            return false;
    return js_kind(j) == JS_STRING || (js_kind(j) == JS_ARRAY && js_len(j) > 0);
}

struct instance {
    struct str task, definition, input;
    const struct js *output, *id;
    bool whole; /* the input is the prompt already (chat rows) */
};

struct reader {
    const struct super_ni_options *o;
    struct questions *out;
};

static int add(struct reader *r, const struct instance *x, const char *place, struct err *e)
{
    if (!x->input.p || !strings(x->output))
        return err_set(e, ERR_INPUT, "%s: an instance has the string \"input\" and \"output\", a string or a list of strings", place);
    struct question *q = questions_add(r->out);
    if (!q)
        return err_nomem(e, (r->out->n + 1) * sizeof *q, "questions");
    if (x->whole)
        buf_str(&q->prompt, x->input);
    else
        super_ni_prompt(x->definition, x->input, r->o->reference, &q->prompt);
    q->reference = str_dup(first_of(x->output));
    q->references = js_kind(x->output) == JS_ARRAY && js_len(x->output) > 1 ? js_ref(x->output) : NULL;
    q->task = x->task.n ? str_dup(x->task) : NULL;
    q->id = js_cstr(x->id) ? str_dup(js_str(x->id)) : NULL;
    bool ok = q->reference && !q->prompt.failed && (q->task || !x->task.n) && (q->id || !js_cstr(x->id));
    return ok ? 0 : err_nomem(e, 0, "questions");
}

/* ---- JSONL ---- */

static const struct js *either(const struct js *j, const char *a, const char *b)
{
    return js_get(j, a) ? js_get(j, a) : js_get(j, b);
}

/* "super_ni_task070-0123": the task's name in the ids of the published rows. */
static struct str task_in_id(struct str id)
{
    const char *at = id.p ? strstr(id.p, "task") : NULL;
    size_t n = at ? strcspn(at, "-") : 0;
    return (struct str){at, n};
}

static int row(void *u, const struct js *j, const char *place, struct err *e)
{
    const struct js *inner = js_get(j, "Instance") ? js_get(j, "Instance") : j, *turns = js_get(j, "messages");
    struct instance x = {.task = js_str(either(j, "Task", "task")), .id = either(inner, "id", "Id"),
                         .definition = first_of(either(j, "Definition", "definition")), .input = js_str(js_get(inner, "input")),
                         .output = js_get(inner, "output")};
    if (turns) {
        size_t n = js_len(turns);
        const struct js *last = n ? js_at(turns, n - 1) : NULL, *before = n > 1 ? js_at(turns, n - 2) : NULL;
        if (!str_is(js_str(js_get(last, "role")), "assistant") || !str_is(js_str(js_get(before, "role")), "user"))
            return err_set(e, ERR_INPUT, "%s: the row does not end in a user turn and an assistant turn", place);
        x.input = utf8_strip(js_str(js_get(before, "content")));
        x.output = js_get(last, "content");
        x.whole = true;
        x.task = x.task.n ? x.task : task_in_id(js_str(x.id));
    } else if (!x.definition.p) {
        return err_set(e, ERR_INPUT, "%s: the row has no \"definition\"; rows are {definition, input, output}, the benchmark's {Task, "
                       "Definition, Instance}, or chat rows", place);
    }
    return add(u, &x, place, e);
}

/* ---- the benchmark's repository ---- */

static int push_path(struct js *list, char *path, struct err *e)
{
    int bad = !path || js_push(list, js_new_cstr(path)) != 0;
    free(path);
    return bad ? err_nomem(e, 0, "file names") : 0;
}

static int push_task(struct js *list, const char *folder, const char *split_file, size_t line, struct str name, struct err *e)
{
    char *path = NULL;
    if (memchr(name.p, '/', name.n) || asprintf(&path, "%s/tasks/%.*s.json", folder, (int)name.n, name.p) < 0)
        return err_set(e, ERR_INPUT, "%s:%zu: not the name of a task", split_file, line);
    if (!fs_exists(path)) {
        int rc = err_set(e, ERR_INPUT, "%s:%zu: there is no file %s", split_file, line, path);
        free(path);
        return rc;
    }
    return push_path(list, path, e);
}

int super_ni_files(const char *folder, const char *split, struct js **out, struct err *e)
{
    struct buf text = {0};
    char *file = NULL;
    struct js *list = js_array();
    int rc = asprintf(&file, "%s/splits/%s/test_tasks.txt", folder, split) < 0 || !list ? err_nomem(e, 0, "file names") : 0;
    if (rc == 0 && !fs_exists(file))
        rc = err_set(e, ERR_INPUT, "%s: no such file; path is a checkout of the benchmark (tasks/*.json, splits/%s/test_tasks.txt) or a JSONL file",
                     file, split);
    if (rc == 0)
        rc = push_path(list, strdup(file), e);
    if (rc == 0)
        rc = fs_read(file, (size_t)1 << 24, &text, e);
    struct str s = buf_view(&text);
    for (size_t at = 0, line = 1; rc == 0 && at < s.n; line++) {
        size_t n = strcspn(s.p + at, "\n");
        struct str name = str_trim((struct str){s.p + at, n});
        if (name.n)
            rc = push_task(list, folder, file, line, name, e);
        at += n + 1;
    }
    if (rc == 0 && js_len(list) < 2)
        rc = err_set(e, ERR_INPUT, "%s: no tasks", file);
    buf_release(&text);
    free(file);
    if (rc)
        js_free(list);
    *out = rc ? NULL : list;
    return rc;
}

static int task_file(struct reader *r, const char *path, struct err *e)
{
    char place[4200];
    struct js *j = js_read(path, e);
    if (!j)
        return e->code;
    const struct js *all = js_get(j, "Instances"), *definition = js_get(j, "Definition");
    const char *base = fs_basename(path);
    size_t n = js_len(all);
    int rc = 0;
    if (js_kind(all) != JS_ARRAY || n == 0 || !first_of(definition).p)
        rc = err_set(e, ERR_INPUT, "%s: a task has a \"Definition\" and a list \"Instances\" that is not empty", path);
    n = r->o->per_task && r->o->per_task < n ? r->o->per_task : n;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        const struct js *x = js_at(all, i);
        struct instance one = {.task = {base, strlen(base) - strlen(".json")}, .definition = first_of(definition), .id = js_get(x, "id"),
                               .input = js_str(js_get(x, "input")), .output = js_get(x, "output")};
        snprintf(place, sizeof place, "%s: instance %zu", path, i);
        rc = add(r, &one, place, e);
    }
    js_free(j);
    return rc;
}

int super_ni_questions(const struct super_ni_options *o, struct questions *out, struct err *e)
{
    struct reader r = {o, out};
    *out = (struct questions){0};
    if (!fs_is_dir(o->path))
        return questions_file(o->path, row, &r, e);
    struct js *files = NULL;
    int rc = super_ni_files(o->path, o->split, &files, e);
    for (size_t i = 1; rc == 0 && i < js_len(files); i++)
        rc = task_file(&r, js_cstr(js_at(files, i)), e);
    js_free(files);
    return rc;
}

int super_ni_cut(struct questions *q, const struct tokenizer *t, size_t max_length, size_t *cut, struct err *e)
{
    int rc = 0;
    *cut = 0;
    for (size_t i = 0; rc == 0 && i < q->n; i++) {
        struct ids ids = {0};
        struct buf *p = &q->v[i].prompt;
        rc = tokenizer_encode(t, buf_view(p), true, &ids, e);
        if (rc == 0 && ids.n > max_length) {
            buf_clear(p);
            rc = tokenizer_decode(t, ids.v, max_length, true, p, e);
            ++*cut;
        }
        ids_release(&ids);
    }
    return rc;
}
