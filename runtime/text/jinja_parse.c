/* SPDX-License-Identifier: MIT
 *
 * Recursive descent, with Jinja's own levels: if-else, or, and, not, comparison, + -, ~, * / // %, **, unary, then
 * attributes, items, calls, filters and tests behind a primary.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/text/jinja_parts.h"

struct parser {
    struct jinja *t;
    struct tok *at;
    int depth;
    bool failed; /* out of memory */
    struct err *e;
};

static int expression(struct parser *p, struct node **out);
static int body(struct parser *p, const char *const *ends, struct node **out);

static int syntax(struct parser *p, const char *wanted)
{
    static const char *const kinds[] = {"the end of the template", "text", "{{", "}}", "{%", "the end of the tag", "", "a string", "a number", "a number", ""};
    const struct tok *k = p->at;
    if (k->kind == TOK_NAME || k->kind == TOK_OP)
        return err_set(p->e, ERR_INPUT, "%s: line %d: %s expected, found \"%.*s\"", p->t->what, k->line, wanted, (int)(k->s.n < 40 ? k->s.n : 40), k->s.p);
    return err_set(p->e, ERR_INPUT, "%s: line %d: %s expected, found %s", p->t->what, k->line, wanted, kinds[k->kind]);
}

static int unsupported(struct parser *p, int line, const char *what, struct str name)
{
    return err_set(p->e, ERR_UNSUPPORTED, "%s: line %d: the %s \"%.*s\" is not supported", p->t->what, line, what, (int)(name.n < 40 ? name.n : 40), name.p);
}

static struct node *new_node(struct parser *p, enum node_kind kind, int line)
{
    struct node *n = arena_alloc(&p->t->mem, sizeof *n);
    if (n) {
        n->kind = kind;
        n->line = line;
    } else {
        err_nomem(p->e, sizeof *n, "a template");
    }
    return n;
}

static bool is_op(const struct parser *p, const char *z)
{
    return p->at->kind == TOK_OP && str_is(p->at->s, z);
}

static bool is_name(const struct parser *p, const char *z)
{
    return p->at->kind == TOK_NAME && str_is(p->at->s, z);
}

static bool take_op(struct parser *p, const char *z)
{
    bool yes = is_op(p, z);
    p->at += yes;
    return yes;
}

static bool take_name(struct parser *p, const char *z)
{
    bool yes = is_name(p, z);
    p->at += yes;
    return yes;
}

static int want_op(struct parser *p, const char *z)
{
    char text[16] = "\"";
    strncat(text, z, 8);
    strcat(text, "\"");
    return take_op(p, z) ? 0 : syntax(p, text);
}

/* ---- primaries ---- */

static bool keyword(struct str s)
{
    static const char *const words[] = {"and", "or", "not", "in", "is", "if", "else", "elif"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (str_is(s, words[i]))
            return true;
    return false;
}

static int name(struct parser *p, struct node **out)
{
    struct str s = p->at->s;
    if (keyword(s))
        return syntax(p, "an expression");
    struct node *n = *out = new_node(p, N_NAME, p->at->line);
    if (!n)
        return p->e->code;
    p->at++;
    n->s = s;
    bool yes = str_is(s, "true") || str_is(s, "True"), no = str_is(s, "false") || str_is(s, "False");
    if (yes || no) {
        n->kind = N_LITERAL;
        n->value = val_bool(yes);
    } else if (str_is(s, "none") || str_is(s, "None")) {
        n->kind = N_LITERAL;
        n->value = (struct val){.kind = V_NONE};
    }
    return 0;
}

static int number(struct parser *p, struct node **out)
{
    char text[64];
    size_t k = 0;
    struct node *n = *out = new_node(p, N_LITERAL, p->at->line);
    if (!n)
        return p->e->code;
    for (size_t i = 0; i < p->at->s.n && k + 1 < sizeof text; i++)
        if (p->at->s.p[i] != '_')
            text[k++] = p->at->s.p[i];
    text[k] = 0;
    errno = 0;
    if (p->at->kind == TOK_INT)
        n->value = val_int(strtoll(text, NULL, 10));
    else
        n->value = (struct val){.kind = V_FLOAT, .f = strtod(text, NULL)};
    if (errno || k + 1 == sizeof text)
        return syntax(p, "a number within 64 bits");
    p->at++;
    return 0;
}

/* Strings beside each other are one. */
static int string(struct parser *p, struct node **out)
{
    struct node *n = *out = new_node(p, N_LITERAL, p->at->line);
    size_t bytes = 0, k = 0;
    struct tok *end = p->at;
    for (; end->kind == TOK_STRING; end++)
        bytes += end->s.n;
    char *text = n ? arena_alloc(&p->t->mem, bytes + 1) : NULL;
    if (!text)
        return err_nomem(p->e, bytes, "a template");
    for (; p->at < end; p->at++) {
        if (p->at->s.n)
            memcpy(text + k, p->at->s.p, p->at->s.n);
        k += p->at->s.n;
    }
    n->value = val_str((struct str){text, bytes});
    return 0;
}

/* Expressions up to the closing operator; tuple: whether a comma was there. */
static int items(struct parser *p, const char *close, struct node **list, bool *comma)
{
    while (!take_op(p, close)) {
        int rc = expression(p, list);
        if (rc < 0)
            return rc;
        list = &(*list)->next;
        if (take_op(p, ","))
            *comma = true;
        else if (!is_op(p, close))
            return want_op(p, close);
    }
    return 0;
}

static int pairs(struct parser *p, struct node **list)
{
    while (!take_op(p, "}")) {
        struct node *x = *list = new_node(p, N_BINARY, p->at->line);
        int rc = x ? expression(p, &x->a) : p->e->code;
        if (rc == 0)
            rc = want_op(p, ":");
        if (rc == 0)
            rc = expression(p, &x->b);
        if (rc < 0)
            return rc;
        list = &x->next;
        if (!take_op(p, ",") && !is_op(p, "}"))
            return want_op(p, "}");
    }
    return 0;
}

static int primary(struct parser *p, struct node **out)
{
    int line = p->at->line;
    bool comma = false;
    if (p->at->kind == TOK_NAME)
        return name(p, out);
    if (p->at->kind == TOK_STRING)
        return string(p, out);
    if (p->at->kind == TOK_INT || p->at->kind == TOK_FLOAT)
        return number(p, out);
    if (take_op(p, "[")) {
        *out = new_node(p, N_LIST, line);
        return *out ? items(p, "]", &(*out)->list, &comma) : p->e->code;
    }
    if (take_op(p, "{")) {
        *out = new_node(p, N_DICT, line);
        return *out ? pairs(p, &(*out)->list) : p->e->code;
    }
    if (take_op(p, "(")) {
        struct node *list = NULL;
        int rc = items(p, ")", &list, &comma);
        if (rc < 0)
            return rc;
        if (list && !comma) {
            *out = list;
            return 0;
        }
        *out = new_node(p, N_LIST, line); /* a tuple */
        if (*out) {
            (*out)->list = list;
            (*out)->s = STR("(");
        }
        return *out ? 0 : p->e->code;
    }
    return syntax(p, "an expression");
}

/* ---- behind a primary ---- */

/* Arguments up to ")". */
static int arguments(struct parser *p, struct node **list)
{
    while (!take_op(p, ")")) {
        struct node *x = *list = new_node(p, N_ARG, p->at->line);
        if (!x)
            return p->e->code;
        if (is_op(p, "*") || is_op(p, "**"))
            return unsupported(p, p->at->line, "argument", p->at->s);
        if (p->at->kind == TOK_NAME && p->at[1].kind == TOK_OP && str_is(p->at[1].s, "=")) {
            x->s = p->at->s;
            p->at += 2;
        }
        int rc = expression(p, &x->a);
        if (rc < 0)
            return rc;
        list = &x->next;
        if (!take_op(p, ",") && !is_op(p, ")"))
            return want_op(p, ")");
    }
    return 0;
}

/* [i], [a:b:c] */
static int subscript(struct parser *p, struct node **out)
{
    struct node *n = new_node(p, N_ITEM, p->at->line);
    int rc = n ? 0 : p->e->code, colons = 0;
    struct node **parts[] = {&n->b, &n->c, &n->list};
    if (rc == 0)
        n->a = *out;
    while (rc == 0 && !is_op(p, "]")) {
        if (is_op(p, ":")) {
            p->at++;
            if (++colons > 2)
                return syntax(p, "\"]\"");
        } else if (*parts[colons]) {
            return syntax(p, "\"]\"");
        } else {
            rc = expression(p, parts[colons]);
        }
    }
    if (rc == 0 && colons == 0 && !n->b)
        return syntax(p, "an expression");
    if (rc == 0) {
        n->kind = colons ? N_SLICE : N_ITEM;
        *out = n;
        p->at++;
    }
    return rc;
}

static int attribute(struct parser *p, struct node **out)
{
    struct node *n = new_node(p, N_ATTR, p->at->line);
    if (!n)
        return p->e->code;
    n->a = *out;
    *out = n;
    if (p->at->kind == TOK_INT) { /* x.0 */
        n->kind = N_ITEM;
        return number(p, &n->b);
    }
    if (p->at->kind != TOK_NAME)
        return syntax(p, "a name");
    n->s = (p->at++)->s;
    return 0;
}

static int call(struct parser *p, struct node **out)
{
    struct node *n = new_node(p, N_CALL, p->at->line);
    if (!n)
        return p->e->code;
    n->a = *out;
    *out = n;
    return arguments(p, &n->list);
}

static int filter(struct parser *p, struct node **out)
{
    struct node *n = new_node(p, N_FILTER, p->at->line);
    if (!n)
        return p->e->code;
    if (p->at->kind != TOK_NAME)
        return syntax(p, "the name of a filter");
    n->a = *out;
    n->s = (p->at++)->s;
    *out = n;
    if (!filter_known(n->s))
        return unsupported(p, n->line, "filter", n->s);
    return take_op(p, "(") ? arguments(p, &n->list) : 0;
}

static int postfix(struct parser *p, struct node **out);

static int test(struct parser *p, struct node **out)
{
    int line = p->at->line, rc = 0;
    bool negated = take_name(p, "not");
    struct node *n = new_node(p, N_TEST, line);
    if (!n)
        return p->e->code;
    if (p->at->kind != TOK_NAME)
        return syntax(p, "the name of a test");
    n->a = *out;
    n->s = (p->at++)->s;
    *out = n;
    if (!test_known(n->s))
        return unsupported(p, n->line, "test", n->s);
    if (take_op(p, "(")) {
        rc = arguments(p, &n->list);
    } else if (p->at->kind == TOK_STRING || p->at->kind == TOK_INT || p->at->kind == TOK_FLOAT || is_op(p, "[") || is_op(p, "{") ||
               (p->at->kind == TOK_NAME && !keyword(p->at->s))) {
        n->list = new_node(p, N_ARG, line);
        rc = n->list ? primary(p, &n->list->a) : p->e->code;
        if (rc == 0)
            rc = postfix(p, &n->list->a);
    }
    if (rc == 0 && negated) {
        struct node *not = new_node(p, N_NOT, line);
        if (!not)
            return p->e->code;
        not->a = *out;
        *out = not;
    }
    return rc;
}

static int postfix(struct parser *p, struct node **out)
{
    int rc = 0;
    while (rc == 0) {
        if (take_op(p, "."))
            rc = attribute(p, out);
        else if (take_op(p, "["))
            rc = subscript(p, out);
        else if (take_op(p, "("))
            rc = call(p, out);
        else
            break;
    }
    return rc;
}

static int filters(struct parser *p, struct node **out)
{
    int rc = 0;
    while (rc == 0) {
        if (take_op(p, "|"))
            rc = filter(p, out);
        else if (take_name(p, "is"))
            rc = test(p, out);
        else if (take_op(p, "("))
            rc = call(p, out);
        else
            break;
    }
    return rc;
}

/* ---- levels ---- */

static int unary(struct parser *p, bool with_filters, struct node **out)
{
    int line = p->at->line, rc;
    if (is_op(p, "-") || is_op(p, "+")) {
        struct node *n = new_node(p, N_UNARY, line);
        if (!n || ++p->depth > JINJA_DEPTH)
            return n ? syntax(p, "less nesting") : p->e->code;
        n->s = (p->at++)->s;
        rc = unary(p, false, &n->a);
        p->depth--;
        *out = n;
    } else {
        rc = primary(p, out);
    }
    if (rc == 0)
        rc = postfix(p, out);
    return rc == 0 && with_filters ? filters(p, out) : rc;
}

/* left-associative operators of level k, the tightest last */
static const char *const levels[][5] = {{"+", "-"}, {"~"}, {"*", "/", "//", "%"}, {"**"}};

static int binary(struct parser *p, size_t level, struct node **out)
{
    if (level == sizeof levels / sizeof *levels)
        return unary(p, true, out);
    int rc = binary(p, level + 1, out);
    while (rc == 0) {
        int k = 0;
        while (levels[level][k] && !is_op(p, levels[level][k]))
            k++;
        if (!levels[level][k])
            break;
        struct node *n = new_node(p, N_BINARY, p->at->line);
        if (!n)
            return p->e->code;
        n->s = (p->at++)->s;
        n->a = *out;
        *out = n;
        rc = binary(p, level + 1, &n->b);
    }
    return rc;
}

static bool comparison(struct parser *p, struct str *op)
{
    static const char *const ops[] = {"==", "!=", "<", "<=", ">", ">="};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (take_op(p, ops[i])) {
            *op = str_of(ops[i]);
            return true;
        }
    if (take_name(p, "in")) {
        *op = STR("in");
        return true;
    }
    if (is_name(p, "not") && p->at[1].kind == TOK_NAME && str_is(p->at[1].s, "in")) {
        p->at += 2;
        *op = STR("not in");
        return true;
    }
    return false;
}

static int compare(struct parser *p, struct node **out)
{
    int rc = binary(p, 0, out);
    struct node *n = NULL, **last = NULL;
    struct str op;
    while (rc == 0 && comparison(p, &op)) {
        if (!n) {
            if (!(n = new_node(p, N_COMPARE, p->at->line)))
                return p->e->code;
            n->a = *out;
            *out = n;
            last = &n->list;
        }
        struct node *x = *last = new_node(p, N_BINARY, p->at->line);
        if (!x)
            return p->e->code;
        x->s = op;
        rc = binary(p, 0, &x->b);
        last = &x->next;
    }
    return rc;
}

static int negation(struct parser *p, struct node **out)
{
    if (!is_name(p, "not"))
        return compare(p, out);
    struct node *n = *out = new_node(p, N_NOT, (p->at++)->line);
    if (!n || ++p->depth > JINJA_DEPTH)
        return n ? syntax(p, "less nesting") : p->e->code;
    int rc = negation(p, &n->a);
    p->depth--;
    return rc;
}

static int junction(struct parser *p, bool or, struct node **out)
{
    int rc = or ? junction(p, false, out) : negation(p, out);
    while (rc == 0 && take_name(p, or ? "or" : "and")) {
        struct node *n = new_node(p, or ? N_OR : N_AND, p->at->line);
        if (!n)
            return p->e->code;
        n->a = *out;
        *out = n;
        rc = or ? junction(p, false, &n->b) : negation(p, &n->b);
    }
    return rc;
}

static int expression(struct parser *p, struct node **out)
{
    if (++p->depth > JINJA_DEPTH)
        return syntax(p, "less nesting");
    int rc = junction(p, true, out);
    while (rc == 0 && take_name(p, "if")) {
        struct node *n = new_node(p, N_COND, p->at->line);
        if (!n)
            return p->e->code;
        n->a = *out;
        *out = n;
        rc = junction(p, true, &n->b);
        if (rc == 0 && take_name(p, "else"))
            rc = expression(p, &n->c);
    }
    p->depth--;
    return rc;
}

/* a, b, c without parentheses is a tuple */
static int tuple(struct parser *p, struct node **out)
{
    int line = p->at->line, rc = expression(p, out);
    if (rc < 0 || !is_op(p, ","))
        return rc;
    struct node *n = new_node(p, N_LIST, line);
    if (!n)
        return p->e->code;
    n->list = *out;
    n->s = STR("(");
    struct node **last = &n->list->next;
    *out = n;
    while (rc == 0 && take_op(p, ",") && p->at->kind != TOK_TAG_END && p->at->kind != TOK_EXPR_END && !is_op(p, "=")) {
        rc = expression(p, last);
        if (rc == 0)
            last = &(*last)->next;
    }
    return rc;
}

/* ---- statements ---- */

static int tag_end(struct parser *p)
{
    if (p->at->kind != TOK_TAG_END)
        return syntax(p, "the end of the tag");
    p->at++;
    return 0;
}

/* The tag that ended a body, when it has the name. */
static bool ended_by(struct parser *p, const char *name)
{
    if (!is_name(p, name))
        return false;
    p->at++;
    return true;
}

static int block(struct parser *p, const char *end, struct node **out)
{
    const char *const ends[] = {end, NULL};
    int rc = tag_end(p);
    if (rc == 0)
        rc = body(p, ends, out);
    if (rc == 0) {
        p->at++;
        rc = tag_end(p);
    }
    return rc;
}

static int parse_if(struct parser *p, struct node *n)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    int rc = tuple(p, &n->a);
    if (rc == 0)
        rc = tag_end(p);
    if (rc == 0)
        rc = body(p, ends, &n->list);
    if (rc < 0)
        return rc;
    if (ended_by(p, "elif")) {
        n->more = new_node(p, N_IF, p->at->line);
        if (!n->more || ++p->depth > JINJA_DEPTH)
            return n->more ? syntax(p, "less nesting") : p->e->code;
        rc = parse_if(p, n->more);
        p->depth--;
        return rc;
    }
    if (ended_by(p, "else"))
        return block(p, "endif", &n->more);
    p->at++;
    return tag_end(p);
}

/* NAME or NAME, NAME, ...; also a.b when attributes are allowed */
static int target(struct parser *p, bool attributes, struct node **out)
{
    struct node *list = NULL, **last = &list;
    int line = p->at->line;
    bool comma = false, parentheses = take_op(p, "(");
    do {
        if (p->at->kind != TOK_NAME || keyword(p->at->s))
            return syntax(p, "a name");
        int rc = name(p, last);
        if (rc == 0 && (*last)->kind != N_NAME)
            return syntax(p, "a name that is no constant");
        if (rc == 0 && attributes && take_op(p, "."))
            rc = attribute(p, last);
        if (rc < 0)
            return rc;
        last = &(*last)->next;
        if (!take_op(p, ","))
            break;
        comma = true;
    } while (p->at->kind == TOK_NAME);
    if (parentheses && !take_op(p, ")"))
        return want_op(p, ")");
    *out = list;
    if (comma) {
        if (!(*out = new_node(p, N_LIST, line)))
            return p->e->code;
        (*out)->list = list;
    }
    return 0;
}

static int parse_for(struct parser *p, struct node *n)
{
    static const char *const ends[] = {"else", "endfor", NULL};
    int rc = target(p, false, &n->a);
    if (rc == 0 && !take_name(p, "in"))
        return syntax(p, "\"in\"");
    if (rc == 0)
        rc = junction(p, true, &n->b);
    if (rc == 0 && take_name(p, "if"))
        rc = expression(p, &n->c);
    if (rc == 0 && is_name(p, "recursive"))
        return unsupported(p, p->at->line, "loop", p->at->s);
    if (rc == 0)
        rc = tag_end(p);
    if (rc == 0)
        rc = body(p, ends, &n->list);
    if (rc < 0)
        return rc;
    if (ended_by(p, "else"))
        return block(p, "endfor", &n->more);
    p->at++;
    return tag_end(p);
}

static int parse_set(struct parser *p, struct node *n)
{
    int rc = target(p, true, &n->a);
    if (rc < 0)
        return rc;
    if (take_op(p, "=")) {
        rc = tuple(p, &n->b);
        return rc == 0 ? tag_end(p) : rc;
    }
    n->kind = N_SET_BLOCK;
    if (is_op(p, "|"))
        return unsupported(p, p->at->line, "filter of a set block", p->at[1].s);
    return block(p, "endset", &n->list);
}

static int parse_macro(struct parser *p, struct node *n)
{
    if (p->at->kind != TOK_NAME)
        return syntax(p, "the name of the macro");
    n->s = (p->at++)->s;
    int rc = want_op(p, "(");
    struct node **last = &n->a;
    while (rc == 0 && !take_op(p, ")")) {
        struct node *x = *last = new_node(p, N_ARG, p->at->line);
        if (!x)
            return p->e->code;
        if (p->at->kind != TOK_NAME)
            return syntax(p, "the name of a parameter");
        x->s = (p->at++)->s;
        if (take_op(p, "="))
            rc = expression(p, &x->a);
        last = &x->next;
        if (rc == 0 && !take_op(p, ",") && !is_op(p, ")"))
            rc = want_op(p, ")");
    }
    return rc == 0 ? block(p, "endmacro", &n->list) : rc;
}

static int parse_filter_block(struct parser *p, struct node *n)
{
    struct node *text = n->a = new_node(p, N_NAME, p->at->line);
    int rc = text ? filter(p, &n->a) : p->e->code;
    if (rc == 0)
        rc = filters(p, &n->a);
    return rc == 0 ? block(p, "endfilter", &n->list) : rc;
}

static int parse_generation(struct parser *p, struct node *n)
{
    return block(p, "endgeneration", &n->list);
}

static int parse_alone(struct parser *p, struct node *n)
{
    (void)n;
    return tag_end(p);
}

static const struct {
    const char *name;
    enum node_kind kind;
    int (*parse)(struct parser *p, struct node *n);
} tags[] = {
    {"if", N_IF, parse_if},           {"for", N_FOR, parse_for},
    {"set", N_SET, parse_set},        {"macro", N_MACRO, parse_macro},
    {"filter", N_FILTER_BLOCK, parse_filter_block}, {"generation", N_GENERATION, parse_generation},
    {"break", N_BREAK, parse_alone},  {"continue", N_CONTINUE, parse_alone},
};

static int statement(struct parser *p, struct node **out)
{
    int line = p->at->line;
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++)
        if (take_name(p, tags[i].name)) {
            struct node *n = *out = new_node(p, tags[i].kind, line);
            return n ? tags[i].parse(p, n) : p->e->code;
        }
    return p->at->kind == TOK_NAME ? unsupported(p, line, "tag", p->at->s) : syntax(p, "the name of a tag");
}

/* Statements up to the tag with one of the names (NULL: to the end), whose name is then p->at. */
static int body(struct parser *p, const char *const *ends, struct node **out)
{
    int rc = ++p->depth > JINJA_DEPTH ? syntax(p, "less nesting") : 0;
    while (rc == 0) {
        int line = p->at->line;
        if (p->at->kind == TOK_END) {
            p->depth--;
            return ends ? syntax(p, ends[1] ? "{% else %} or the end of the block" : ends[0]) : 0;
        }
        if (p->at->kind == TOK_TAG) {
            p->at++;
            for (size_t i = 0; ends && ends[i]; i++)
                if (is_name(p, ends[i])) {
                    p->depth--;
                    return 0;
                }
            rc = statement(p, out);
        } else if (p->at->kind == TOK_EXPR) {
            p->at++;
            if (!(*out = new_node(p, N_PRINT, line)))
                return p->e->code;
            rc = tuple(p, &(*out)->a);
            if (rc == 0 && p->at->kind != TOK_EXPR_END)
                rc = syntax(p, "}}");
            p->at += rc == 0;
        } else {
            if (!(*out = new_node(p, N_DATA, line)))
                return p->e->code;
            (*out)->s = (p->at++)->s;
        }
        if (rc == 0)
            out = &(*out)->next;
    }
    return rc;
}

int jinja_parse(struct str text, const char *what, struct jinja **out, struct err *e)
{
    struct jinja *t = calloc(1, sizeof *t);
    struct parser p = {.t = t, .e = e};
    *out = NULL;
    if (!t)
        return err_nomem(e, sizeof *t, "a template");
    t->what = arena_str(&t->mem, str_of(what));
    int rc = t->what ? jinja_lex(text, t->what, &t->mem, &p.at, e) : err_nomem(e, 64, "a template");
    if (rc == 0)
        rc = body(&p, NULL, &t->body);
    if (rc < 0)
        jinja_free(t);
    else
        *out = t;
    return rc;
}

void jinja_free(struct jinja *t)
{
    if (!t)
        return;
    arena_release(&t->mem);
    free(t);
}
