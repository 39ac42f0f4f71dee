/* SPDX-License-Identifier: MIT
 *
 * The machine: a stack of values, a memo, marks. Every instruction is at least one byte and makes at most one value, so that
 * stack and memo are bounded by the length of the pickle. Containers are shared by pointer and never walked into but the
 * outermost, so that a container that holds itself is harmless.
 */
#include "runtime/formats/pickle.h"

#include <stdlib.h>
#include <string.h>

enum kind { NOTHING, NUMBER, TEXT, TUPLE, DICT, GLOBAL_NAME, STORAGE, TENSOR };
enum global { ORDERED_DICT, REBUILD_TENSOR, REBUILD_PARAMETER, STORAGE_TYPE };

struct value {
    enum kind kind;
    int64_t number;          /* NUMBER; GLOBAL_NAME: enum global */
    enum dtype dtype;        /* GLOBAL_NAME: storage types */
    struct str text;
    struct list *list;       /* TUPLE, DICT (keys and values in turn) */
    struct pickle_tensor *t; /* STORAGE, TENSOR */
};

struct list {
    struct value *v;
    size_t n, cap;
};

struct machine {
    const uint8_t *p;
    size_t at, n;
    const char *what;
    struct arena *arena;
    struct err *e;
    struct list stack, memo;
    size_t *marks, n_marks, cap_marks;
    bool done;
};

static int bad(struct machine *m, const char *why)
{
    return err_set(m->e, ERR_INPUT, "%s: data.pkl, byte %zu: %s; this is not a dictionary of tensors as torch.save writes it", m->what, m->at,
                   why);
}

/* ---- lists ---- */

static int append(struct machine *m, struct list *l, struct value v)
{
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 8;
        struct value *more = arena_array(m->arena, cap, sizeof *more);
        if (!more)
            return err_nomem(m->e, cap * sizeof *more, m->what);
        if (l->n)
            memcpy(more, l->v, l->n * sizeof *more);
        l->v = more;
        l->cap = cap;
    }
    l->v[l->n++] = v;
    return 0;
}

static int push(struct machine *m, struct value v)
{
    return append(m, &m->stack, v);
}

static size_t floor_of(const struct machine *m)
{
    return m->n_marks ? m->marks[m->n_marks - 1] : 0;
}

static int pop(struct machine *m, struct value *v)
{
    if (m->stack.n <= floor_of(m))
        return bad(m, "the stack is empty");
    *v = m->stack.v[--m->stack.n];
    return 0;
}

static int push_list(struct machine *m, enum kind kind, const struct value *v, size_t n)
{
    struct value x = {.kind = kind, .list = arena_alloc(m->arena, sizeof *x.list)};
    int rc = x.list ? 0 : err_nomem(m->e, sizeof *x.list, m->what);
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = append(m, x.list, v[i]);
    return rc ? rc : push(m, x);
}

/* The last n values become a tuple. */
static int tuple_of(struct machine *m, size_t n)
{
    if (m->stack.n - floor_of(m) < n)
        return bad(m, "the stack is empty");
    m->stack.n -= n;
    return push_list(m, TUPLE, m->stack.v + m->stack.n, n);
}

static int mark(struct machine *m)
{
    if (m->n_marks == m->cap_marks) {
        size_t cap = m->cap_marks ? 2 * m->cap_marks : 16;
        size_t *more = arena_array(m->arena, cap, sizeof *more);
        if (!more)
            return err_nomem(m->e, cap * sizeof *more, m->what);
        if (m->n_marks)
            memcpy(more, m->marks, m->n_marks * sizeof *more);
        m->marks = more;
        m->cap_marks = cap;
    }
    m->marks[m->n_marks++] = m->stack.n;
    return 0;
}

/* Values above the last mark: *n of them stay at the end of the stack. */
static int unmark(struct machine *m, size_t *n)
{
    if (!m->n_marks)
        return bad(m, "no mark");
    *n = m->stack.n - m->marks[--m->n_marks];
    return 0;
}

/* The n values on top go into the dictionary or list below them. */
static int put_items(struct machine *m, size_t n, enum kind kind, const char *complaint)
{
    if (m->stack.n - floor_of(m) < n + 1 || m->stack.v[m->stack.n - n - 1].kind != kind)
        return bad(m, complaint);
    struct list *list = m->stack.v[m->stack.n - n - 1].list;
    m->stack.n -= n;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = append(m, list, m->stack.v[m->stack.n + i]);
    return rc;
}

static int set_items(struct machine *m, size_t n)
{
    return n % 2 ? bad(m, "items without a dictionary") : put_items(m, n, DICT, "items without a dictionary");
}

static int append_items(struct machine *m, size_t n)
{
    return put_items(m, n, TUPLE, "elements without a list");
}

/* ---- arguments of instructions ---- */

static int take(struct machine *m, size_t n, const uint8_t **p)
{
    if (n > m->n - m->at)
        return bad(m, "it ends in the middle");
    *p = m->p + m->at;
    m->at += n;
    return 0;
}

static int take_int(struct machine *m, size_t bytes, bool is_signed, int64_t *v)
{
    const uint8_t *p = NULL;
    if (bytes > 8)
        return bad(m, "a number of more than 64 bits");
    int rc = take(m, bytes, &p);
    uint64_t u = 0;
    for (size_t i = bytes; p && i-- > 0;)
        u = u << 8 | p[i];
    if (p && is_signed && bytes && bytes < 8 && p[bytes - 1] & 0x80)
        u |= ~(uint64_t)0 << 8 * bytes;
    *v = (int64_t)u;
    return rc;
}

static int take_line(struct machine *m, struct str *s)
{
    const uint8_t *p = m->p + m->at, *end = memchr(p, '\n', m->n - m->at);
    if (!end)
        return bad(m, "it ends in the middle");
    *s = (struct str){(const char *)p, (size_t)(end - p)};
    m->at += s->n + 1;
    return 0;
}

static int push_number(struct machine *m, size_t bytes, bool is_signed)
{
    struct value v = {.kind = NUMBER};
    int rc = take_int(m, bytes, is_signed, &v.number);
    return rc ? rc : push(m, v);
}

static int push_text(struct machine *m, size_t length_bytes)
{
    int64_t n;
    const uint8_t *p = NULL;
    int rc = take_int(m, length_bytes, false, &n);
    if (rc == 0 && n < 0)
        rc = bad(m, "a text of negative length");
    if (rc == 0)
        rc = take(m, (size_t)n, &p);
    return rc ? rc : push(m, (struct value){.kind = TEXT, .text = {(const char *)p, (size_t)n}});
}

/* ---- names and calls ---- */

static const struct {
    const char *module, *name;
    enum global what;
    enum dtype dtype;
} names[] = {
    {"collections", "OrderedDict", ORDERED_DICT, DT_COUNT},
    {"torch._utils", "_rebuild_tensor_v2", REBUILD_TENSOR, DT_COUNT},
    {"torch._utils", "_rebuild_parameter", REBUILD_PARAMETER, DT_COUNT},
    {"torch", "FloatStorage", STORAGE_TYPE, DT_F32},
    {"torch", "HalfStorage", STORAGE_TYPE, DT_F16},
    {"torch", "BFloat16Storage", STORAGE_TYPE, DT_BF16},
    {"torch", "DoubleStorage", STORAGE_TYPE, DT_F64},
    {"torch", "LongStorage", STORAGE_TYPE, DT_I64},
    {"torch", "IntStorage", STORAGE_TYPE, DT_I32},
    {"torch", "ShortStorage", STORAGE_TYPE, DT_I16},
    {"torch", "CharStorage", STORAGE_TYPE, DT_I8},
    {"torch", "ByteStorage", STORAGE_TYPE, DT_U8},
    {"torch", "BoolStorage", STORAGE_TYPE, DT_BOOL},
};

static int push_global(struct machine *m)
{
    struct str module, name;
    int rc = take_line(m, &module);
    if (rc == 0)
        rc = take_line(m, &name);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (str_is(module, names[i].module) && str_is(name, names[i].name))
            return push(m, (struct value){.kind = GLOBAL_NAME, .number = names[i].what, .dtype = names[i].dtype});
    return err_set(m->e, ERR_UNSUPPORTED,
                   "%s: data.pkl asks for %.*s.%.*s; only dictionaries of tensors are read, and nothing in them is run. Save the weights "
                   "alone: torch.save(model.state_dict(), ...), or better with save_pretrained(safe_serialization=True)",
                   m->what, (int)(module.n < 100 ? module.n : 100), module.p, (int)(name.n < 100 ? name.n : 100), name.p);
}

/* ("storage", type, key, device, elements) */
static int persistent(struct machine *m)
{
    struct value id = {0};
    int rc = pop(m, &id);
    if (rc != 0)
        return rc;
    const struct value *v = id.kind == TUPLE ? id.list->v : NULL;
    if (!v || id.list->n != 5 || v[0].kind != TEXT || !str_is(v[0].text, "storage") || v[1].kind != GLOBAL_NAME ||
        v[1].number != STORAGE_TYPE || v[2].kind != TEXT || v[4].kind != NUMBER || v[4].number < 0)
        return bad(m, "a storage is described in an unknown way");
    struct pickle_tensor *t = arena_alloc(m->arena, sizeof *t);
    if (!t)
        return err_nomem(m->e, sizeof *t, m->what);
    *t = (struct pickle_tensor){.dtype = v[1].dtype, .storage = v[2].text, .numel = (uint64_t)v[4].number};
    return push(m, (struct value){.kind = STORAGE, .t = t});
}

static int take_dims(struct machine *m, const struct value *v, uint64_t *out, int *n)
{
    if (v->kind != TUPLE || v->list->n > PICKLE_MAX_DIMS)
        return bad(m, "a tensor's shape is not a tuple of at most 8 sizes");
    *n = (int)v->list->n;
    for (int i = 0; i < *n; i++) {
        if (v->list->v[i].kind != NUMBER || v->list->v[i].number < 0)
            return bad(m, "a tensor's shape or stride is not made of sizes");
        out[i] = (uint64_t)v->list->v[i].number;
    }
    return 0;
}

/* (storage, offset, shape, stride, requires_grad, hooks) */
static int rebuild(struct machine *m, const struct list *args)
{
    const struct value *v = args->v;
    int ndim, nstride;
    if (args->n < 6 || v[0].kind != STORAGE || v[1].kind != NUMBER || v[1].number < 0)
        return bad(m, "a tensor is described in an unknown way");
    struct pickle_tensor *t = arena_alloc(m->arena, sizeof *t);
    if (!t)
        return err_nomem(m->e, sizeof *t, m->what);
    *t = *v[0].t;
    t->offset = (uint64_t)v[1].number;
    int rc = take_dims(m, &v[2], t->shape, &ndim);
    if (rc == 0)
        rc = take_dims(m, &v[3], t->stride, &nstride);
    if (rc == 0 && ndim != nstride)
        rc = bad(m, "a tensor's shape and stride differ in length");
    t->ndim = rc == 0 ? ndim : 0;
    return rc ? rc : push(m, (struct value){.kind = TENSOR, .t = t});
}

static int reduce(struct machine *m)
{
    struct value args = {0}, f = {0};
    int rc = pop(m, &args);
    if (rc == 0)
        rc = pop(m, &f);
    if (rc != 0)
        return rc;
    if (f.kind != GLOBAL_NAME || args.kind != TUPLE || f.number == STORAGE_TYPE)
        return bad(m, "a call of something that is no known name");
    if (f.number == REBUILD_TENSOR)
        return rebuild(m, args.list);
    if (f.number == ORDERED_DICT)
        return args.list->n == 0 ? push_list(m, DICT, NULL, 0) : bad(m, "an OrderedDict made from arguments");
    if (args.list->n < 1 || args.list->v[0].kind != TENSOR)
        return bad(m, "a parameter without a tensor");
    return push(m, args.list->v[0]);
}

/* ---- instructions ---- */

static int memo_put(struct machine *m, int64_t at)
{
    int rc = 0;
    if (m->stack.n <= floor_of(m))
        return bad(m, "the stack is empty");
    if (at < 0 || (uint64_t)at > m->n)
        return bad(m, "a memo number larger than the file");
    while (rc == 0 && m->memo.n <= (size_t)at)
        rc = append(m, &m->memo, (struct value){0});
    if (rc == 0)
        m->memo.v[at] = m->stack.v[m->stack.n - 1];
    return rc;
}

static int memo_op(struct machine *m, size_t bytes, bool put)
{
    int64_t at;
    int rc = take_int(m, bytes, false, &at);
    if (rc != 0)
        return rc;
    if (put)
        return memo_put(m, at);
    if ((uint64_t)at >= m->memo.n)
        return bad(m, "a memo number that was never set");
    return push(m, m->memo.v[at]);
}

static int marked(struct machine *m, uint8_t op)
{
    size_t n = 0;
    int rc = unmark(m, &n);
    if (rc != 0)
        return rc;
    return op == 't' ? tuple_of(m, n) : op == 'u' ? set_items(m, n) : append_items(m, n);
}

static int simple(struct machine *m, uint8_t op)
{
    struct value v;
    const uint8_t *p;
    int64_t n;
    switch (op) {
    case '.':
        m->done = true;
        return 0;
    case ')':
    case ']':
        return push_list(m, TUPLE, NULL, 0);
    case '}':
        return push_list(m, DICT, NULL, 0);
    case 0x85:
    case 0x86:
    case 0x87:
        return tuple_of(m, op - 0x84u);
    case 'N':
        return push(m, (struct value){.kind = NOTHING});
    case 0x88:
    case 0x89:
        return push(m, (struct value){.kind = NUMBER, .number = op == 0x88});
    case 's':
        return set_items(m, 2);
    case 'a':
        return append_items(m, 1);
    case 'R':
        return reduce(m);
    case 'Q':
        return persistent(m);
    case 'b': /* attributes of the dictionary (_metadata): not needed */
    case '0':
        return pop(m, &v);
    case 'G':
        n = take(m, 8, &p);
        return n ? (int)n : push(m, (struct value){.kind = NOTHING});
    case 0x80:
        if (take_int(m, 1, false, &n) != 0)
            return m->e->code;
        return n == 2 || n == 3 ? 0 : bad(m, "a pickle of another protocol than 2 and 3");
    default:
        return err_set(m->e, ERR_UNSUPPORTED, "%s: data.pkl, byte %zu: instruction 0x%02x does not belong to a dictionary of tensors", m->what,
                       m->at - 1, op);
    }
}

static int step(struct machine *m)
{
    const uint8_t *op = NULL;
    int64_t n;
    int rc = take(m, 1, &op);
    if (rc != 0)
        return rc;
    switch (*op) {
    case '(':
        return mark(m);
    case 't':
    case 'u':
    case 'e':
        return marked(m, *op);
    case 'c':
        return push_global(m);
    case 'X':
        return push_text(m, 4);
    case 0x8c:
        return push_text(m, 1);
    case 'J':
        return push_number(m, 4, true);
    case 'K':
        return push_number(m, 1, false);
    case 'M':
        return push_number(m, 2, false);
    case 0x8a:
        rc = take_int(m, 1, false, &n);
        return rc ? rc : push_number(m, (size_t)n, true);
    case 'q':
        return memo_op(m, 1, true);
    case 'r':
        return memo_op(m, 4, true);
    case 'h':
        return memo_op(m, 1, false);
    case 'j':
        return memo_op(m, 4, false);
    default:
        return simple(m, *op);
    }
}

int pickle_tensors(struct str pickle, const char *what, struct arena *a, struct pickle_tensor **out, size_t *n, struct err *e)
{
    struct machine m = {.p = (const uint8_t *)pickle.p, .n = pickle.n, .what = what, .arena = a, .e = e};
    *out = NULL;
    *n = 0;
    int rc = 0;
    while (rc == 0 && !m.done)
        rc = step(&m);
    if (rc == 0 && (m.stack.n != 1 || m.stack.v[0].kind != DICT))
        rc = bad(&m, "the outermost value is no dictionary");
    const struct list *dict = rc == 0 ? m.stack.v[0].list : NULL;
    if (rc == 0 && !(*out = arena_array(a, dict->n / 2 + 1, sizeof **out)))
        rc = err_nomem(e, dict->n * sizeof **out, what);
    for (size_t i = 0; rc == 0 && i + 1 < dict->n; i += 2)
        if (dict->v[i].kind == TEXT && dict->v[i + 1].kind == TENSOR) {
            (*out)[*n] = *dict->v[i + 1].t;
            (*out)[(*n)++].name = dict->v[i].text;
        }
    return rc;
}
