/* SPDX-License-Identifier: MIT
 *
 * libyaml's events are turned into the tree by a stack of open containers. An alias is a pointer to its node, so a
 * document never grows here; each node carries how many values it would be when written out, and that is capped.
 */
#include "engine/yaml.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "engine/names.h"
#include "engine/param.h"

struct frame {
    struct ynode *node;
    size_t cap;
    bool want_key;
    struct str key;
    struct place key_at;
    bool skip;              /* the value of a key that was refused */
    const struct ynode *merge; /* value of `<<` */
    struct names keys;      /* of a mapping, for duplicates: key -> line */
};

struct reader {
    yaml_parser_t parser;
    struct str source;
    const char *file;
    struct arena *arena;
    struct diags *d;
    struct frame *stack[YAML_DEPTH];
    int depth;
    struct names anchors;   /* name -> index */
    size_t n_anchors, cap_anchors;
    struct ynode **anchor;
    const struct ynode *root;
    bool nomem, failed, stop;
    int documents;
};

static struct place place_of(const struct reader *r, yaml_mark_t a, yaml_mark_t b)
{
    int length = a.line == b.line && b.column > a.column ? (int)(b.column - a.column) : 0;
    return (struct place){r->file, (int)a.line + 1, (int)a.column + 1, length};
}

__attribute__((format(printf, 4, 5)))
static void complain(struct reader *r, struct place at, const char *hint, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    diag_add(r->d, DIAG_ERROR, at, hint, "%s", text);
    r->failed = true;
}

/* ---- merge keys ---- */

static bool put_pair(struct reader *r, struct frame *f, struct ypair p)
{
    struct ynode *m = f->node;
    if (m->n == f->cap) {
        size_t cap = f->cap ? f->cap * 2 : 8;
        struct ypair *v = arena_array(r->arena, cap, sizeof *v);
        if (!v)
            return false;
        if (m->n)
            memcpy(v, m->pairs, m->n * sizeof *v);
        m->pairs = v;
        f->cap = cap;
    }
    m->pairs[m->n++] = p;
    m->weight += p.value->weight;
    m->dollar |= p.value->dollar;
    return true;
}

static void merge_one(struct reader *r, struct frame *f, const struct ynode *from)
{
    if (from->kind != Y_MAP) {
        complain(r, from->at, "write `<<: *name` or `<<: [*one, *two]`", "a merge key takes a mapping, not a %s",
                 ynode_kind_name(from));
        return;
    }
    for (size_t i = 0; i < from->n; i++) {
        const struct ypair *p = &from->pairs[i];
        if (names_get(&f->keys, p->key) != NAMES_NONE)
            continue;
        if (!names_put(&f->keys, p->key, (size_t)p->at.line) || !put_pair(r, f, *p)) {
            r->nomem = true;
            return;
        }
    }
}

static void merge_all(struct reader *r, struct frame *f)
{
    const struct ynode *m = f->merge;
    if (!m)
        return;
    if (m->kind != Y_LIST) {
        merge_one(r, f, m);
        return;
    }
    for (size_t i = 0; i < m->n; i++)
        merge_one(r, f, m->v[i]);
}

/* ---- values ---- */

static bool put_item(struct reader *r, struct frame *f, const struct ynode *y)
{
    struct ynode *l = f->node;
    if (l->n == f->cap) {
        size_t cap = f->cap ? f->cap * 2 : 8;
        const struct ynode **v = arena_array(r->arena, cap, sizeof *v);
        if (!v)
            return false;
        if (l->n)
            memcpy(v, l->v, l->n * sizeof *v);
        l->v = v;
        f->cap = cap;
    }
    l->v[l->n++] = y;
    l->weight += y->weight;
    l->dollar |= y->dollar;
    return true;
}

static void take_key(struct reader *r, struct frame *f, const struct ynode *y)
{
    f->want_key = false;
    f->skip = true;
    f->key_at = y->at;
    if (y->kind != Y_SCALAR) {
        complain(r, y->at, NULL, "a key must be text, not a %s", ynode_kind_name(y));
        return;
    }
    f->key = y->text;
    f->skip = false;
    if (y->plain && str_is(y->text, "<<")) {
        if (f->merge)
            complain(r, y->at, "give one list: `<<: [*one, *two]`", "the merge key stands here twice");
        return;
    }
    size_t line = names_get(&f->keys, y->text);
    if (line != NAMES_NONE) {
        complain(r, y->at, "remove one of the two", "the key \"%.80s\" stands here twice (first in line %zu)", y->text.p, line);
        f->skip = true;
    } else if (!names_put(&f->keys, y->text, (size_t)y->at.line)) {
        r->nomem = true;
    }
}

/* A finished value goes to where it belongs: key, value, item, or the document itself. */
static void deliver(struct reader *r, const struct ynode *y)
{
    if (y->weight > YAML_NODES) {
        complain(r, y->at, NULL, "the document is more than %d values when its aliases are written out", YAML_NODES);
        r->stop = true;
        return;
    }
    struct frame *f = r->depth ? r->stack[r->depth - 1] : NULL;
    if (!f) {
        r->root = y;
    } else if (f->node->kind == Y_LIST) {
        r->nomem |= !put_item(r, f, y);
    } else if (f->want_key) {
        take_key(r, f, y);
    } else {
        f->want_key = true;
        if (!f->skip && str_is(f->key, "<<") && names_get(&f->keys, f->key) == NAMES_NONE)
            f->merge = f->merge ? f->merge : y;
        else if (!f->skip)
            r->nomem |= !put_pair(r, f, (struct ypair){f->key, f->key_at, y});
    }
}

static void set_anchor(struct reader *r, const yaml_char_t *name, struct ynode *y)
{
    if (!name)
        return;
    if (r->n_anchors == r->cap_anchors) {
        size_t cap = r->cap_anchors ? r->cap_anchors * 2 : 8;
        struct ynode **v = realloc(r->anchor, cap * sizeof *v);
        if (!v) {
            r->nomem = true;
            return;
        }
        r->anchor = v;
        r->cap_anchors = cap;
    }
    r->anchor[r->n_anchors] = y;
    if (!names_put(&r->anchors, str_of((const char *)name), r->n_anchors++))
        r->nomem = true;
}

static bool check_tag(struct reader *r, const yaml_char_t *tag, struct place at, bool *text)
{
    const char *t = (const char *)tag;
    *text = false;
    if (!t || strcmp(t, "!") == 0) {
        *text = t != NULL;
        return true;
    }
    if (strncmp(t, "tag:yaml.org,2002:", 18) == 0) {
        *text = strcmp(t + 18, "str") == 0;
        if (strstr(" str int float bool null map seq ", t + 18))
            return true;
    }
    complain(r, at, "remove the tag", "the tag %.80s has no meaning here", t);
    return false;
}

static void on_scalar(struct reader *r, const yaml_event_t *ev)
{
    struct place at = place_of(r, ev->start_mark, ev->end_mark);
    struct str text = {(const char *)ev->data.scalar.value, ev->data.scalar.length};
    bool forced;
    check_tag(r, ev->data.scalar.tag, at, &forced);
    if (memchr(text.p, 0, text.n)) {
        complain(r, at, NULL, "text must not hold the character NUL");
        text.n = 0;
    }
    bool plain = ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && !forced;
    struct ynode *y = ynode_scalar(r->arena, text, plain, at);
    if (!y) {
        r->nomem = true;
        return;
    }
    set_anchor(r, ev->data.scalar.anchor, y);
    deliver(r, y);
}

static void on_alias(struct reader *r, const yaml_event_t *ev)
{
    struct place at = place_of(r, ev->start_mark, ev->end_mark);
    const char *name = (const char *)ev->data.alias.anchor;
    size_t i = names_get(&r->anchors, str_of(name));
    const struct ynode *y = i == NAMES_NONE ? NULL : r->anchor[i];
    if (!y)
        complain(r, at, "an anchor is written &name, before its first use", "there is no anchor \"%.80s\"", name);
    for (int k = 0; y && k < r->depth; k++)
        if (r->stack[k]->node == y) {
            complain(r, at, NULL, "the alias *%.80s stands inside the value that it names", name);
            y = NULL;
        }
    if (!y)
        y = ynode_scalar(r->arena, STR(""), true, at);
    if (y)
        deliver(r, y);
    else
        r->nomem = true;
}

static void on_open(struct reader *r, const yaml_event_t *ev, enum ynode_kind kind)
{
    struct place at = place_of(r, ev->start_mark, ev->end_mark);
    if (r->depth == YAML_DEPTH) {
        complain(r, at, NULL, "more than %d levels of lists and mappings", YAML_DEPTH);
        r->stop = true;
        return;
    }
    bool text;
    check_tag(r, kind == Y_MAP ? ev->data.mapping_start.tag : ev->data.sequence_start.tag, at, &text);
    struct ynode *y = arena_alloc(r->arena, sizeof *y);
    struct frame *f = calloc(1, sizeof *f);
    if (!y || !f) {
        free(f);
        r->nomem = true;
        return;
    }
    *y = (struct ynode){.kind = kind, .at = at, .weight = 1};
    *f = (struct frame){.node = y, .want_key = true};
    set_anchor(r, kind == Y_MAP ? ev->data.mapping_start.anchor : ev->data.sequence_start.anchor, y);
    r->stack[r->depth++] = f;
}

static void on_close(struct reader *r, const yaml_event_t *ev)
{
    struct frame *f = r->stack[--r->depth];
    struct place end = place_of(r, ev->start_mark, ev->end_mark);
    if (end.line == f->node->at.line && end.length) /* a flow collection on one line */
        f->node->at.length = end.column + end.length - f->node->at.column;
    merge_all(r, f);
    deliver(r, f->node);
    names_release(&f->keys);
    free(f);
}

static void on_event(struct reader *r, const yaml_event_t *ev)
{
    switch (ev->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (++r->documents > 1) {
            complain(r, place_of(r, ev->start_mark, ev->end_mark), "put the second document into a file of its own",
                     "a second document starts here; a spec is one document");
            r->stop = true;
        }
        break;
    case YAML_SCALAR_EVENT: on_scalar(r, ev); break;
    case YAML_ALIAS_EVENT: on_alias(r, ev); break;
    case YAML_SEQUENCE_START_EVENT: on_open(r, ev, Y_LIST); break;
    case YAML_MAPPING_START_EVENT: on_open(r, ev, Y_MAP); break;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT: on_close(r, ev); break;
    case YAML_STREAM_END_EVENT: r->stop = true; break;
    default: break;
    }
}

static void syntax_error(struct reader *r)
{
    const yaml_parser_t *p = &r->parser;
    if (p->error == YAML_MEMORY_ERROR) {
        r->nomem = true;
        return;
    }
    struct place at = place_of(r, p->problem_mark, p->problem_mark);
    const char *problem = p->problem ? p->problem : "not YAML";
    if (p->error == YAML_READER_ERROR) {
        at.line = at.column = 1; /* the reader knows a byte offset only */
        for (size_t i = 0; i < p->problem_offset && i < r->source.n; i++) {
            unsigned char c = (unsigned char)r->source.p[i];
            at.column = c == '\n' ? 1 : at.column + ((c & 0xc0) != 0x80);
            at.line += c == '\n';
        }
        complain(r, at, "a spec is UTF-8 text", "%s (byte %zu)", problem, p->problem_offset);
        return;
    }
    size_t mark = p->problem_mark.index; /* in characters: a tab after other alphabets is not seen */
    bool tab = mark < r->source.n && r->source.p[mark] == '\t';
    const char *hint = tab ? "YAML is indented with blanks, not with tabs" : strstr(problem, "cannot start any token") ? "text that starts with @, ` or a tab needs quotes" :
                       strstr(problem, "mapping values are not allowed") ? "a \": \" inside text needs quotes around the text" : NULL;
    complain(r, at, hint, "%s", problem);
    if (p->context)
        diag_via(r->d, place_of(r, p->context_mark, p->context_mark), "%s", p->context);
}

static void read_events(struct reader *r)
{
    while (!r->stop && !r->nomem) {
        yaml_event_t ev;
        if (!yaml_parser_parse(&r->parser, &ev)) {
            syntax_error(r);
            return;
        }
        on_event(r, &ev);
        yaml_event_delete(&ev);
    }
}

int yaml_parse(struct str text, const char *file, struct arena *arena, struct diags *d, const struct ynode **out)
{
    *out = NULL;
    struct reader r = {.file = file, .arena = arena, .d = d};
    if (text.n > YAML_BYTES) {
        diag_add(d, DIAG_ERROR, (struct place){.file = file}, NULL, "more than %d bytes", YAML_BYTES);
        return ERR_INPUT;
    }
    if (text.n >= 3 && memcmp(text.p, "\xef\xbb\xbf", 3) == 0)
        text = (struct str){text.p + 3, text.n - 3};
    if (!yaml_parser_initialize(&r.parser))
        return ERR_NOMEM;
    r.source = text;
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)(text.p ? text.p : ""), text.n);
    read_events(&r);
    while (r.depth) {
        struct frame *f = r.stack[--r.depth];
        names_release(&f->keys);
        free(f);
    }
    yaml_parser_delete(&r.parser);
    names_release(&r.anchors);
    free(r.anchor);
    if (r.nomem)
        return ERR_NOMEM;
    if (r.failed)
        return ERR_INPUT;
    *out = r.root;
    return 0;
}

/* ---- reading the tree ---- */

const struct ypair *ynode_pair(const struct ynode *map, struct str key)
{
    for (size_t i = 0; map && map->kind == Y_MAP && i < map->n; i++)
        if (str_eq(map->pairs[i].key, key))
            return &map->pairs[i];
    return NULL;
}

const struct ynode *ynode_get(const struct ynode *map, const char *key)
{
    const struct ypair *p = ynode_pair(map, str_of(key));
    return p ? p->value : NULL;
}

bool ynode_is_null(const struct ynode *y)
{
    return !y || (y->kind == Y_SCALAR && y->plain &&
                  (y->text.n == 0 || str_is(y->text, "~") || str_is(y->text, "null") || str_is(y->text, "Null") ||
                   str_is(y->text, "NULL")));
}

static bool is_bool(struct str s, bool *v)
{
    *v = str_is(s, "true") || str_is(s, "True") || str_is(s, "TRUE");
    return *v || str_is(s, "false") || str_is(s, "False") || str_is(s, "FALSE");
}

const char *ynode_kind_name(const struct ynode *y)
{
    bool b;
    double f;
    if (y->kind != Y_SCALAR)
        return y->kind == Y_LIST ? "list" : "mapping";
    if (!y->plain)
        return "text";
    return ynode_is_null(y) ? "null" : is_bool(y->text, &b) ? "boolean" : parse_float(y->text, &f) ? "number" : "text";
}

struct ynode *ynode_scalar(struct arena *a, struct str text, bool plain, struct place at)
{
    struct ynode *y = arena_alloc(a, sizeof *y);
    char *copy = arena_str(a, text);
    if (!y || !copy)
        return NULL;
    *y = (struct ynode){.kind = Y_SCALAR, .plain = plain, .at = at, .text = {copy, text.n}, .weight = 1};
    y->dollar = strstr(copy, "${") != NULL;
    return y;
}

static struct js *scalar_json(const struct ynode *y)
{
    bool b;
    int64_t i;
    double f;
    if (!y->plain)
        return js_new_str(y->text);
    if (ynode_is_null(y))
        return js_new_null();
    if (is_bool(y->text, &b))
        return js_new_bool(b);
    if (parse_int(y->text, &i) && !memchr(y->text.p, 'e', y->text.n) && !memchr(y->text.p, 'E', y->text.n))
        return js_new_int(i);
    return parse_float(y->text, &f) ? js_new_num(f) : js_new_str(y->text);
}

struct js *ynode_json(const struct ynode *y)
{
    if (!y)
        return js_new_null();
    if (y->kind == Y_SCALAR)
        return scalar_json(y);
    struct js *j = y->kind == Y_LIST ? js_array() : js_object();
    for (size_t i = 0; j && i < y->n; i++) {
        int rc = y->kind == Y_LIST ? js_push(j, ynode_json(y->v[i])) : js_set(j, y->pairs[i].key.p, ynode_json(y->pairs[i].value));
        if (rc) {
            js_free(j);
            return NULL;
        }
    }
    return j;
}

bool ynode_equal(const struct ynode *a, const struct ynode *b)
{
    if (a == b)
        return true;
    if (!a || !b || a->kind != b->kind || a->n != b->n)
        return false;
    if (a->kind == Y_SCALAR)
        return a->plain == b->plain && str_eq(a->text, b->text);
    for (size_t i = 0; i < a->n; i++) {
        if (a->kind == Y_LIST ? !ynode_equal(a->v[i], b->v[i])
                              : !str_eq(a->pairs[i].key, b->pairs[i].key) || !ynode_equal(a->pairs[i].value, b->pairs[i].value))
            return false;
    }
    return true;
}

void diag_value(struct diags *d, enum diag_level level, const struct ynode *y, const char *hint, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    diag_add(d, level, y->at, hint, "%s", text);
    for (const struct via *v = y->via; v; v = v->next)
        diag_via(d, v->at, "%s", v->text);
}

const char *yaml_library_version(void)
{
    return yaml_get_version_string();
}
