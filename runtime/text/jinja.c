/* SPDX-License-Identifier: MIT
 *
 * Statements. A for loop, a macro and a set block have names of their own; if has none, as in Jinja.
 */
#include "runtime/text/jinja.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/text/jinja_parts.h"

enum { OUTPUT = 64 << 20 };

static int exec(struct run *r, const struct node *n);

const struct val *run_lookup(const struct run *r, struct str name)
{
    for (const struct frame *f = r->frame; f; f = f->up) {
        const struct val *v = dict_get(&f->vars, name);
        if (v)
            return v;
    }
    return NULL;
}

/* What list writes, as a value, with names of its own above `up`. */
static int capture(struct run *r, struct frame *f, const struct node *list, struct val *out)
{
    struct buf text = {0}, *outer = r->out;
    struct frame *frame = r->frame;
    struct jinja_spans *spans = r->spans;
    r->out = &text;
    r->frame = f;
    r->spans = NULL; /* positions would be those of this text */
    int rc = exec(r, list);
    r->out = outer;
    r->frame = frame;
    r->spans = spans;
    if (rc == 0)
        rc = val_copy_str(r, &text, out);
    buf_release(&text);
    return rc;
}

int call_macro(struct run *r, int line, const struct node *macro, const struct call_args *a, struct val *out)
{
    struct frame f = {.up = r->globals};
    size_t k = 0;
    bool used[sizeof a->v / sizeof *a->v] = {false};
    int rc = 0;
    if (r->depth > 200)
        return run_fail(r, line, ERR_INPUT, "macros call each other too deeply");
    for (const struct node *p = macro->a; rc == 0 && p; p = p->next) {
        struct val v = val_undefined(p->s);
        size_t i = 0;
        while (i < a->n && !(a->name[i].n && str_eq(a->name[i], p->s)))
            i++;
        if (i == a->n && k < a->n && !a->name[k].n)
            i = k++;
        if (i < a->n) {
            v = a->v[i];
            used[i] = true;
        } else if (p->a) {
            struct frame *frame = r->frame;
            r->frame = &f;
            rc = eval(r, p->a, &v);
            r->frame = frame;
        }
        if (rc == 0)
            rc = dict_set(r, &f.vars, p->s, v);
    }
    for (size_t i = 0; rc == 0 && i < a->n; i++)
        if (!used[i])
            rc = run_fail(r, line, ERR_INPUT, "the macro %.*s has no such parameter", (int)macro->s.n, macro->s.p);
    r->depth += 10;
    if (rc == 0)
        rc = capture(r, &f, macro->list, out);
    r->depth -= 10;
    return rc;
}

/* ---- assignments ---- */

static int assign_one(struct run *r, const struct node *target, struct val v)
{
    if (target->kind == N_NAME)
        return dict_set(r, &r->frame->vars, target->s, v);
    struct val ns;
    int rc = eval(r, target->a, &ns);
    if (rc == 0 && ns.kind != V_NAMESPACE)
        return run_fail(r, target->line, ERR_INPUT, "only a namespace() has attributes that can be set");
    return rc == 0 ? dict_set(r, ns.d, target->s, v) : rc;
}

static int assign(struct run *r, const struct node *target, struct val v)
{
    struct list *l;
    size_t i = 0, n = 0;
    if (target->kind != N_LIST)
        return assign_one(r, target, v);
    int rc = val_items(r, target->line, &v, &l);
    for (const struct node *t = target->list; t; t = t->next)
        n++;
    if (rc == 0 && l->n != n)
        return run_fail(r, target->line, ERR_INPUT, "%zu values for %zu names", l->n, n);
    for (const struct node *t = target->list; rc == 0 && t; t = t->next)
        rc = assign_one(r, t, l->v[i++]);
    return rc;
}

static int exec_set(struct run *r, const struct node *n)
{
    struct val v;
    struct frame f = {.up = r->frame};
    int rc = n->kind == N_SET ? eval(r, n->b, &v) : capture(r, &f, n->list, &v);
    return rc == 0 ? assign(r, n->a, v) : rc;
}

/* ---- loops ---- */

/* `loop`, as far as it does not change */
static int loop_facts(struct run *r, const struct list *l, size_t i, struct val *loop)
{
    const struct {
        const char *name;
        struct val v;
    } facts[] = {
        {"index", val_int((int64_t)i + 1)},      {"index0", val_int((int64_t)i)},
        {"first", val_bool(i == 0)},             {"last", val_bool(i + 1 == l->n)},
        {"length", val_int((int64_t)l->n)},      {"revindex", val_int((int64_t)(l->n - i))},
        {"revindex0", val_int((int64_t)(l->n - i) - 1)}, {"depth", val_int(1)},
        {"previtem", i ? l->v[i - 1] : val_undefined(STR("loop.previtem"))},
        {"nextitem", i + 1 < l->n ? l->v[i + 1] : val_undefined(STR("loop.nextitem"))},
    };
    int rc = 0;
    for (size_t k = 0; rc == 0 && k < sizeof facts / sizeof *facts; k++)
        rc = dict_set(r, loop->d, str_of(facts[k].name), facts[k].v);
    return rc;
}

/* The elements that pass the loop's own `if`. */
static int filtered(struct run *r, const struct node *n, struct list **l)
{
    struct val kept, yes;
    int rc = val_list(r, &kept);
    for (size_t i = 0; rc == 0 && i < (*l)->n; i++) {
        struct frame f = {.up = r->frame};
        r->frame = &f;
        rc = assign(r, n->a, (*l)->v[i]);
        if (rc == 0)
            rc = eval(r, n->c, &yes);
        r->frame = f.up;
        if (rc == 0 && val_true(&yes))
            rc = list_push(r, kept.l, (*l)->v[i]);
    }
    *l = kept.l;
    return rc;
}

static int exec_for(struct run *r, const struct node *n)
{
    struct val over, loop;
    struct list *l;
    int rc = eval(r, n->b, &over);
    if (rc == 0)
        rc = val_items(r, n->line, &over, &l);
    if (rc == 0 && n->c)
        rc = filtered(r, n, &l);
    if (rc == 0 && l->n == 0)
        return exec(r, n->more);
    if (rc == 0)
        rc = val_dict(r, &loop);
    for (size_t i = 0, end = rc == 0 ? l->n : 0; rc == 0 && i < end; i++) {
        struct frame f = {.up = r->frame};
        loop.kind = V_LOOP;
        rc = loop_facts(r, l, i, &loop);
        r->frame = &f;
        if (rc == 0)
            rc = dict_set(r, &f.vars, STR("loop"), loop);
        if (rc == 0)
            rc = assign(r, n->a, l->v[i]);
        if (rc == 0)
            rc = exec(r, n->list);
        r->frame = f.up;
        bool leave = r->flow == FLOW_BREAK;
        r->flow = FLOW_ON;
        if (leave)
            break;
    }
    return rc;
}

/* ---- the rest ---- */

static int exec_if(struct run *r, const struct node *n)
{
    struct val v;
    int rc = eval(r, n->a, &v);
    return rc < 0 ? rc : exec(r, val_true(&v) ? n->list : n->more);
}

static int exec_filter_block(struct run *r, const struct node *n)
{
    struct frame f = {.up = r->frame}, g = {.up = r->frame};
    struct val text, v;
    int rc = capture(r, &f, n->list, &text);
    if (rc == 0)
        rc = dict_set(r, &g.vars, STR(""), text); /* the empty name that the filters stand on */
    r->frame = &g;
    if (rc == 0)
        rc = eval(r, n->a, &v);
    r->frame = g.up;
    if (rc == 0)
        val_print(r->out, &v);
    return rc;
}

static int exec_generation(struct run *r, const struct node *n)
{
    size_t from = r->out->n;
    int rc = exec(r, n->list);
    if (rc < 0 || !r->spans || r->out->n == from)
        return rc;
    struct jinja_spans *s = r->spans;
    if (s->n == s->cap) {
        size_t cap = s->cap ? 2 * s->cap : 16;
        struct jinja_span *v = realloc(s->v, cap * sizeof *v);
        if (!v)
            return err_nomem(r->e, cap * sizeof *v, "rendering a template");
        s->v = v;
        s->cap = cap;
    }
    s->v[s->n++] = (struct jinja_span){from, r->out->n};
    return 0;
}

static int exec_one(struct run *r, const struct node *n)
{
    struct val v;
    int rc = 0;
    switch (n->kind) {
    case N_DATA: buf_str(r->out, n->s); return 0;
    case N_PRINT:
        rc = eval(r, n->a, &v);
        if (rc == 0)
            val_print(r->out, &v);
        return rc;
    case N_IF: return exec_if(r, n);
    case N_FOR: return exec_for(r, n);
    case N_SET:
    case N_SET_BLOCK: return exec_set(r, n);
    case N_MACRO: return dict_set(r, &r->frame->vars, n->s, (struct val){.kind = V_MACRO, .m = n});
    case N_FILTER_BLOCK: return exec_filter_block(r, n);
    case N_GENERATION: return exec_generation(r, n);
    case N_BREAK: r->flow = FLOW_BREAK; return 0;
    case N_CONTINUE: r->flow = FLOW_CONTINUE; return 0;
    default: return run_fail(r, n->line, ERR_INTERNAL, "an expression where a statement stands");
    }
}

static int exec(struct run *r, const struct node *n)
{
    int rc = 0;
    for (; rc == 0 && n && r->flow == FLOW_ON; n = n->next) {
        rc = ++r->steps > 20000000 ? run_fail(r, n->line, ERR_INPUT, "the template takes too long") : exec_one(r, n);
        if (rc == 0 && r->out->n > OUTPUT)
            rc = run_fail(r, n->line, ERR_INPUT, "the template writes more than %d MiB", OUTPUT >> 20);
    }
    return rc;
}

int jinja_render(const struct jinja *t, const struct js *vars, struct buf *out, struct jinja_spans *spans, struct err *e)
{
    struct frame globals = {0};
    struct buf text = {0};
    struct run r = {.t = t, .frame = &globals, .globals = &globals, .out = &text, .spans = spans, .e = e};
    struct val v;
    int rc = 0;
    for (void *it = js_iter(vars); rc == 0 && it; it = js_next(vars, it)) {
        rc = val_from_json(&r, js_iter_value(it), 0, &v);
        if (rc == 0)
            rc = dict_set(&r, &globals.vars, str_of(js_iter_key(it)), v);
    }
    if (rc == 0)
        rc = exec(&r, t->body);
    if (rc == 0)
        buf_str(out, buf_view(&text));
    if (rc == 0 && (text.failed || out->failed))
        rc = err_nomem(e, text.n, "rendering a template");
    buf_release(&text);
    arena_release(&r.mem);
    return rc;
}

void jinja_spans_release(struct jinja_spans *s)
{
    free(s->v);
    *s = (struct jinja_spans){0};
}
