/* SPDX-License-Identifier: MIT
 *
 * The plan-time half of op.h: parameters, inputs, sources, infer. Names are the operator's own, so an unknown one is a
 * mistake in an operator; it reads as "not set" rather than as a crash.
 */
#include "engine/op.h"

#include <stdlib.h>
#include <string.h>

#include "engine/op_private.h"

size_t port_count(const struct port_def *ports)
{
    size_t n = 0;
    while (ports && ports[n].name)
        n++;
    return n;
}

size_t op_param_count(const struct op *op)
{
    size_t n = 0;
    while (op->params && op->params[n].name)
        n++;
    return n;
}

int port_index(const struct port_def *ports, const char *name)
{
    for (int i = 0; ports && ports[i].name; i++)
        if (strcmp(ports[i].name, name) == 0)
            return i;
    return -1;
}

int op_param_index(const struct op *op, const char *name)
{
    for (int i = 0; op->params && op->params[i].name; i++)
        if (strcmp(op->params[i].name, name) == 0)
            return i;
    return -1;
}

static bool has_type(const char *list, const char *type, size_t n)
{
    for (const char *p = list; p; p = strchr(p, '|')) {
        p += *p == '|';
        size_t len = strcspn(p, "|");
        if (len == n && memcmp(p, type, n) == 0)
            return true;
    }
    return false;
}

bool port_types_meet(const char *out, const char *in)
{
    for (const char *p = out; p; p = strchr(p, '|')) {
        p += *p == '|';
        if (has_type(in, p, strcspn(p, "|")))
            return true;
    }
    return false;
}

/* ---- parameters ---- */

static const struct param_def *param_of(const struct op_args *a, const char *name, const struct param_value **v)
{
    int i = op_param_index(a->op, name);
    *v = i < 0 || !a->values[i].set ? NULL : &a->values[i];
    return i < 0 ? NULL : &a->op->params[i];
}

bool op_is_set(const struct op_args *a, const char *param)
{
    const struct param_value *v;
    param_of(a, param, &v);
    return v != NULL;
}

bool op_is_given(const struct op_args *a, const char *param)
{
    int i = op_param_index(a->op, param);
    return i >= 0 && a->values[i].given;
}

bool op_bool(const struct op_args *a, const char *param)
{
    const struct param_value *v;
    const struct param_def *d = param_of(a, param, &v);
    return v && d->type == PARAM_BOOL && v->b;
}

int64_t op_int(const struct op_args *a, const char *param)
{
    const struct param_value *v;
    const struct param_def *d = param_of(a, param, &v);
    return v && (d->type == PARAM_INT || d->type == PARAM_SIZE) ? v->i : 0;
}

double op_float(const struct op_args *a, const char *param)
{
    const struct param_value *v;
    const struct param_def *d = param_of(a, param, &v);
    if (v && (d->type == PARAM_FLOAT || d->type == PARAM_DURATION))
        return v->f;
    return v && (d->type == PARAM_INT || d->type == PARAM_SIZE) ? (double)v->i : 0;
}

const char *op_str(const struct op_args *a, const char *param)
{
    const struct param_value *v;
    const struct param_def *d = param_of(a, param, &v);
    return v && (d->type == PARAM_STRING || d->type == PARAM_ENUM || d->type == PARAM_PATH) ? v->s : NULL;
}

size_t op_count(const struct op_args *a, const char *param)
{
    const struct param_value *v;
    const struct param_def *d = param_of(a, param, &v);
    return !v ? 0 : d->type == PARAM_INTS ? v->ints.n : d->type == PARAM_STRINGS ? v->strs.n : 0;
}

int64_t op_int_at(const struct op_args *a, const char *param, size_t i)
{
    const struct param_value *v;
    const struct param_def *d = param_of(a, param, &v);
    return v && d->type == PARAM_INTS && i < v->ints.n ? v->ints.v[i] : 0;
}

const char *op_str_at(const struct op_args *a, const char *param, size_t i)
{
    const struct param_value *v;
    const struct param_def *d = param_of(a, param, &v);
    return v && d->type == PARAM_STRINGS && i < v->strs.n ? v->strs.v[i] : NULL;
}

const struct js *op_map(const struct op_args *a, const char *param)
{
    const struct param_value *v;
    const struct param_def *d = param_of(a, param, &v);
    return v && d->type == PARAM_MAP ? v->map : NULL;
}

/* ---- inputs ---- */

const struct js *op_input_at(const struct op_args *a, const char *port, size_t i)
{
    int p = port_index(a->op->inputs, port);
    for (size_t k = 0; p >= 0 && k < a->n_in; k++)
        if (a->in[k].port == p && i-- == 0)
            return a->in[k].desc;
    return NULL;
}

const struct js *op_input(const struct op_args *a, const char *port)
{
    return op_input_at(a, port, 0);
}

size_t op_input_count(const struct op_args *a, const char *port)
{
    int p = port_index(a->op->inputs, port);
    size_t n = 0;
    for (size_t k = 0; p >= 0 && k < a->n_in; k++)
        n += a->in[k].port == p;
    return n;
}

const char *op_spec_dir(const struct op_args *a)
{
    return a->spec_dir;
}

/* ---- sources ---- */

int op_source(struct op_sources *s, const char *label, const char *path)
{
    if (s->n == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 8;
        struct op_source_entry *v = realloc(s->v, cap * sizeof *v);
        if (!v)
            return ERR_NOMEM;
        s->v = v;
        s->cap = cap;
    }
    struct op_source_entry x = {str_dup(str_of(label)), str_dup(str_of(path))};
    if (!x.label || !x.path) {
        free(x.label);
        free(x.path);
        return ERR_NOMEM;
    }
    s->v[s->n++] = x;
    return 0;
}

void op_sources_release(struct op_sources *s)
{
    for (size_t i = 0; i < s->n; i++) {
        free(s->v[i].label);
        free(s->v[i].path);
    }
    free(s->v);
    *s = (struct op_sources){0};
}

/* ---- infer ---- */

const struct op_args *op_infer_args(const struct op_infer *x)
{
    return x->args;
}

int op_set_output(struct op_infer *x, const char *port, struct js *desc, struct err *e)
{
    int p = port_index(x->args->op->outputs, port);
    if (!desc)
        return err_nomem(e, 0, "the description of an output");
    if (p < 0 || js_kind(desc) != JS_OBJECT) {
        js_free(desc);
        return err_set(e, ERR_INTERNAL, p < 0 ? "operator %s set the output \"%s\", which it does not have"
                                              : "operator %s described its output \"%s\" by something other than an object",
                       x->args->op->name, port);
    }
    js_free(x->out[p]);
    x->out[p] = desc;
    return 0;
}

int op_set_output_type(struct op_infer *x, const char *port, const char *type)
{
    const struct port_def *outputs = x->args->op->outputs;
    int p = port_index(outputs, port);
    if (p < 0 || strchr(type, '|') || !has_type(outputs[p].type, type, strlen(type)))
        return ERR_INTERNAL;
    x->out_type[p] = type;
    return 0;
}

void op_blame_param(struct op_infer *x, const char *param)
{
    x->blame_param = param;
    x->blame_input = NULL;
}

void op_blame_input(struct op_infer *x, const char *port)
{
    x->blame_input = port;
    x->blame_param = NULL;
}
