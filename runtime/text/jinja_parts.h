/* SPDX-License-Identifier: MIT
 *
 * jinja_parts: the inside of jinja: tokens (jinja_lex.c), the tree (jinja_parse.c), values (jinja_value.c), expressions
 * (jinja_expr.c), filters, tests and methods (jinja_call.c), statements (jinja.c). All memory of a template lies in the
 * template's arena, all memory of a rendering in the rendering's.
 */
#ifndef PKG_TEXT_JINJA_PARTS_H
#define PKG_TEXT_JINJA_PARTS_H

#include "runtime/base/arena.h"
#include "runtime/text/jinja.h"

enum { JINJA_DEPTH = 120 }; /* nesting of expressions, blocks and macro calls */

/* ---- tokens ---- */

enum tok_kind { TOK_END, TOK_DATA, TOK_EXPR, TOK_EXPR_END, TOK_TAG, TOK_TAG_END, TOK_NAME, TOK_STRING, TOK_INT, TOK_FLOAT, TOK_OP };

struct tok {
    enum tok_kind kind;
    struct str s; /* TOK_STRING: decoded */
    int line;
};

/* The tokens of text, ended by TOK_END, in the arena. */
int jinja_lex(struct str text, const char *what, struct arena *mem, struct tok **out, struct err *e);

/* ---- values ---- */

enum val_kind { V_UNDEFINED, V_NONE, V_BOOL, V_INT, V_FLOAT, V_STR, V_LIST, V_DICT, V_NAMESPACE, V_LOOP, V_MACRO, V_FUNCTION };

struct val {
    enum val_kind kind;
    union {
        bool b;
        int64_t i;
        double f;
        struct str s; /* V_STR; V_UNDEFINED, V_FUNCTION: its name */
        struct list *l;
        struct dict *d; /* V_DICT, V_NAMESPACE, V_LOOP */
        const struct node *m; /* V_MACRO */
    };
};

struct list {
    size_t n, cap;
    bool tuple; /* shown in parentheses */
    struct val *v;
};

struct dict {
    size_t n, cap;
    struct dict_entry {
        struct str key;
        struct val v;
    } * v;
};

/* ---- the tree ---- */

enum node_kind {
    N_DATA, N_PRINT, N_IF, N_FOR, N_SET, N_SET_BLOCK, N_MACRO, N_FILTER_BLOCK, N_GENERATION, N_BREAK, N_CONTINUE,
    N_LITERAL, N_NAME, N_LIST, N_DICT, N_UNARY, N_BINARY, N_AND, N_OR, N_NOT, N_COMPARE, N_COND, N_ATTR, N_ITEM, N_SLICE,
    N_FILTER, N_TEST, N_CALL, N_ARG
};

/* What a, b, c, list and more are, by kind:
 * IF: a condition, list body, more else. FOR: a target (NAME or LIST), b iterable, c condition, list body, more else.
 * SET: a target, b value. SET_BLOCK: a target, list body. MACRO: s name, a parameters (ARG: s name, a default), list body.
 * BINARY: s operator, a, b. COMPARE: a first, list of BINARY (s operator, b operand). COND: a if b else c.
 * ATTR: a.s. ITEM: a[b]. SLICE: a[b:c:list]. FILTER, TEST: a | s(list of ARG). CALL: a(list). ARG: s keyword or empty, a.
 * LIST: list of elements, s not empty: a tuple. DICT: list of BINARY (a key, b value). FILTER_BLOCK: a the filters on an empty NAME, list body. */
struct node {
    enum node_kind kind;
    int line;
    struct str s;
    struct val value; /* LITERAL */
    struct node *a, *b, *c, *list, *more, *next;
};

struct jinja {
    struct arena mem;
    char *what;
    struct node *body;
};

struct call_args {
    size_t n;
    struct val v[16];
    struct str name[16]; /* empty: by position */
};

/* ---- a rendering ---- */

struct frame {
    struct frame *up;
    struct dict vars;
};

struct run {
    const struct jinja *t;
    struct arena mem;
    size_t used, steps;
    int depth;
    struct frame *frame, *globals;
    struct buf *out;
    struct jinja_spans *spans;
    enum { FLOW_ON, FLOW_BREAK, FLOW_CONTINUE } flow;
    struct err *e;
};

/* Sets the error with template name and line; returns the code. */
int run_fail(struct run *r, int line, int code, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
void *run_alloc(struct run *r, size_t bytes); /* NULL: the error is set */

/* values */
struct val val_str(struct str s);
struct val val_int(int64_t i);
struct val val_bool(bool b);
struct val val_undefined(struct str name);
int val_list(struct run *r, struct val *out);
int val_dict(struct run *r, struct val *out);
int list_push(struct run *r, struct list *l, struct val v);
int dict_set(struct run *r, struct dict *d, struct str key, struct val v);
const struct val *dict_get(const struct dict *d, struct str key);
int val_from_json(struct run *r, const struct js *j, int depth, struct val *out);
int val_copy_str(struct run *r, const struct buf *b, struct val *out); /* also refuses a failed buffer */
bool val_true(const struct val *v);
bool val_equal(const struct val *a, const struct val *b);
bool val_number(const struct val *v, double *out); /* bool, int, float */
int val_order(struct run *r, int line, const struct val *a, const struct val *b, int *out); /* -1, 0, 1 */
const char *val_type(const struct val *v); /* Python's name of the type */
void val_print(struct buf *out, const struct val *v);  /* str() */
void val_repr(struct buf *out, const struct val *v, int depth);
struct json_style {
    int indent; /* -1: one line */
    bool sort, ascii;
    struct str comma, colon;
};
int val_json(struct run *r, int line, struct buf *out, const struct val *v, const struct json_style *style, int depth);
size_t text_length(struct str s); /* characters */
/* The elements that iterating over v gives: list, keys of a dict, characters. */
int val_items(struct run *r, int line, const struct val *v, struct list **out);

/* expressions */
int eval(struct run *r, const struct node *n, struct val *out);
int eval_args(struct run *r, const struct node *args, struct call_args *out);
int eval_attribute(struct run *r, int line, const struct val *v, struct str name, struct val *out);
int call_macro(struct run *r, int line, const struct node *macro, const struct call_args *a, struct val *out); /* jinja.c */
const struct val *run_lookup(const struct run *r, struct str name);

/* filters, tests, methods, functions */
bool filter_known(struct str name);
bool test_known(struct str name);
int apply_filter(struct run *r, int line, struct str name, const struct val *v, const struct call_args *a, struct val *out);
int apply_test(struct run *r, int line, struct str name, const struct val *v, const struct call_args *a, bool *out);
/* ERR_NOTFOUND when values of this type have no such method. */
int call_method(struct run *r, int line, const struct val *self, struct str name, const struct call_args *a, struct val *out);
int call_function(struct run *r, int line, struct str name, const struct call_args *a, struct val *out);
bool function_known(struct str name);

#endif
