/* SPDX-License-Identifier: MIT
 *
 * The text between tags is data; white space around tags goes as Jinja's trim_blocks (a newline behind {% %} and {# #})
 * and lstrip_blocks (blanks in front of them on their line), and the marks - and + at a tag say.
 */
#include <string.h>

#include "runtime/text/jinja_parts.h"
#include "runtime/text/utf8.h"

struct lexer {
    struct str in;
    size_t i;
    int line;
    const char *what;
    struct arena *mem;
    struct tok *v;
    size_t n, cap;
    bool line_start; /* the tag before ended with a newline, or there was none */
    bool trim;       /* the tag before ended with - */
    struct err *e;
};

static int bad(struct lexer *l, const char *text)
{
    return err_set(l->e, ERR_INPUT, "%s: line %d: %s", l->what, l->line, text);
}

static int put(struct lexer *l, enum tok_kind kind, struct str s, int line)
{
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 256;
        struct tok *v = arena_array(l->mem, cap, sizeof *v);
        if (!v)
            return err_nomem(l->e, cap * sizeof *v, "a template");
        if (l->n)
            memcpy(v, l->v, l->n * sizeof *v);
        l->v = v;
        l->cap = cap;
    }
    l->v[l->n++] = (struct tok){kind, s, line};
    return 0;
}

static bool space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static void advance(struct lexer *l, size_t to)
{
    for (; l->i < to; l->i++)
        l->line += l->in.p[l->i] == '\n';
}

static bool at(const struct lexer *l, const char *z)
{
    size_t n = strlen(z);
    return l->in.n - l->i >= n && memcmp(l->in.p + l->i, z, n) == 0;
}

/* Data up to the next tag (or all of the rest), with the white space that the tag takes along removed. */
static int data(struct lexer *l)
{
    size_t end = l->i;
    int line = l->line;
    while (end < l->in.n && !(l->in.p[end] == '{' && end + 1 < l->in.n && memchr("{%#", l->in.p[end + 1], 3)))
        end++;
    struct str s = {l->in.p + l->i, end - l->i};
    if (l->trim)
        while (s.n && space(s.p[0])) {
            s.p++;
            s.n--;
        }
    bool block = end < l->in.n && l->in.p[end + 1] != '{';
    char mark = end + 2 < l->in.n ? l->in.p[end + 2] : 0;
    if (end < l->in.n && mark == '-') {
        while (s.n && space(s.p[s.n - 1]))
            s.n--;
    } else if (block && mark != '+') {
        size_t k = s.n;
        while (k && (s.p[k - 1] == ' ' || s.p[k - 1] == '\t'))
            k--;
        /* what - removed in front ended with a newline, when there was one */
        bool start = k ? s.p[k - 1] == '\n' : s.p != l->in.p + l->i ? s.p[-1] == '\n' : l->line_start;
        if (start)
            s.n = k;
    }
    advance(l, end);
    return s.n ? put(l, TOK_DATA, s, line) : 0;
}

/* Behind the end of a tag: what follows belongs to it. */
static void tag_end(struct lexer *l, size_t length, bool minus, bool trim_newline)
{
    l->i += length;
    l->trim = minus;
    l->line_start = false;
    if (!minus && trim_newline && l->i < l->in.n && l->in.p[l->i] == '\n') {
        advance(l, l->i + 1);
        l->line_start = true;
    }
}

static int comment(struct lexer *l)
{
    for (size_t k = l->i + 2; k + 1 < l->in.n; k++)
        if (l->in.p[k] == '#' && l->in.p[k + 1] == '}') {
            char c = l->in.p[k - 1];
            advance(l, k);
            tag_end(l, 2, c == '-' && k > l->i + 2, c != '+');
            return 0;
        }
    return bad(l, "a comment {# without its end #}");
}

/* "{% raw %}": the text up to {% endraw %}, as it stands. 1: it was one. */
static int raw(struct lexer *l)
{
    size_t k = l->i + 2;
    const char *p = l->in.p;
    k += k < l->in.n && (p[k] == '-' || p[k] == '+');
    while (k < l->in.n && space(p[k]))
        k++;
    if (l->in.n - k < 3 || memcmp(p + k, "raw", 3) != 0)
        return 0;
    for (k += 3; k < l->in.n && space(p[k]); k++)
        ;
    bool minus = k < l->in.n && p[k] == '-';
    k += minus;
    if (l->in.n - k < 2 || p[k] != '%' || p[k + 1] != '}')
        return 0;
    size_t from = k + 2;
    from += !minus && from < l->in.n && p[from] == '\n';
    for (size_t end = from; end + 1 < l->in.n; end++) {
        if (p[end] != '{' || p[end + 1] != '%')
            continue;
        size_t q = end + 2;
        bool before = q < l->in.n && p[q] == '-', after;
        q += before;
        while (q < l->in.n && space(p[q]))
            q++;
        if (l->in.n - q < 6 || memcmp(p + q, "endraw", 6) != 0)
            continue;
        for (q += 6; q < l->in.n && space(p[q]); q++)
            ;
        after = q < l->in.n && p[q] == '-';
        q += after;
        if (l->in.n - q < 2 || p[q] != '%' || p[q + 1] != '}')
            continue;
        struct str s = {p + from, end - from};
        while (minus && s.n && space(s.p[0])) {
            s.p++;
            s.n--;
        }
        while (before && s.n && space(s.p[s.n - 1]))
            s.n--;
        int rc = s.n ? put(l, TOK_DATA, s, l->line) : 0;
        advance(l, q);
        tag_end(l, 2, after, true);
        return rc < 0 ? rc : 1;
    }
    return bad(l, "{% raw %} without {% endraw %}");
}

/* ---- inside tags ---- */

static int hex_value(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* \xNN, \uNNNN, \UNNNNNNNN at in.p[*i] (the letter); the character's bytes in out */
static size_t code_escape(struct str in, size_t *i, char *out)
{
    size_t digits = in.p[*i] == 'x' ? 2 : in.p[*i] == 'u' ? 4 : 8;
    uint32_t cp = 0;
    if (in.n - *i <= digits)
        return 0;
    for (size_t k = 1; k <= digits; k++) {
        int h = hex_value(in.p[*i + k]);
        if (h < 0)
            return 0;
        cp = cp << 4 | (uint32_t)h;
    }
    if (cp == 0 || cp > 0x10ffff || (cp >= 0xd800 && cp < 0xe000))
        return 0;
    *i += digits;
    return utf8_put(cp, out);
}

static int string(struct lexer *l)
{
    static const char from[] = "ntrbfav", to[] = "\n\t\r\b\f\a\v";
    char quote = l->in.p[l->i];
    size_t end = l->i + 1, n = 0;
    int line = l->line;
    while (end < l->in.n && l->in.p[end] != quote)
        end += l->in.p[end] == '\\' ? 2 : 1;
    if (end >= l->in.n)
        return bad(l, "a string without its end");
    char *p = arena_alloc(l->mem, end - l->i + 1);
    if (!p)
        return err_nomem(l->e, end - l->i, "a template");
    struct str in = {l->in.p, end};
    for (size_t i = l->i + 1; i < end; i++) {
        if (in.p[i] != '\\') {
            p[n++] = in.p[i];
            continue;
        }
        const char *k = memchr(from, in.p[++i], sizeof from - 1);
        if (k)
            p[n++] = to[k - from];
        else if (memchr("xuU", in.p[i], 3)) {
            size_t bytes = code_escape(in, &i, p + n);
            if (!bytes)
                return bad(l, "a wrong \\x, \\u or \\U in a string");
            n += bytes;
        } else if (memchr("\\'\"", in.p[i], 3))
            p[n++] = in.p[i];
        else if (in.p[i] != '\n') {
            p[n++] = '\\';
            p[n++] = in.p[i];
        }
    }
    advance(l, end + 1);
    return put(l, TOK_STRING, (struct str){p, n}, line);
}

static bool name_char(char c, bool first)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (!first && c >= '0' && c <= '9') || (unsigned char)c >= 0x80;
}

static bool digit(const struct lexer *l, size_t k)
{
    return k < l->in.n && l->in.p[k] >= '0' && l->in.p[k] <= '9';
}

static int number(struct lexer *l)
{
    size_t k = l->i;
    enum tok_kind kind = TOK_INT;
    while (digit(l, k) || (k < l->in.n && l->in.p[k] == '_' && digit(l, k + 1)))
        k++;
    if (k < l->in.n && l->in.p[k] == '.' && digit(l, k + 1)) {
        kind = TOK_FLOAT;
        for (k++; digit(l, k); k++)
            ;
    }
    if (k < l->in.n && (l->in.p[k] == 'e' || l->in.p[k] == 'E')) {
        size_t q = k + 1;
        q += q < l->in.n && (l->in.p[q] == '-' || l->in.p[q] == '+');
        if (digit(l, q)) {
            kind = TOK_FLOAT;
            for (k = q; digit(l, k); k++)
                ;
        }
    }
    struct str s = {l->in.p + l->i, k - l->i};
    l->i = k;
    return put(l, kind, s, l->line);
}

static int operator(struct lexer *l)
{
    static const char *const ops[] = {"//", "**", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "~", "<", ">", "=", "|", ".", ",", ":", "(", ")", "[", "]", "{", "}", NULL};
    for (size_t k = 0; ops[k]; k++)
        if (at(l, ops[k])) {
            int rc = put(l, TOK_OP, str_of(ops[k]), l->line);
            l->i += strlen(ops[k]);
            return rc;
        }
    return bad(l, "a character that no expression has");
}

/* From "{{" or "{%" to its end. */
static int tag(struct lexer *l)
{
    bool expr = at(l, "{{");
    const char *ends[] = {expr ? "}}" : "%}", expr ? "-}}" : "-%}", expr ? "+}}" : "+%}"};
    int depth = 0, line = l->line;
    int rc = put(l, expr ? TOK_EXPR : TOK_TAG, STR(""), line);
    l->i += 2;
    l->i += l->i < l->in.n && (l->in.p[l->i] == '-' || l->in.p[l->i] == '+');
    while (rc == 0 && l->i < l->in.n) {
        char c = l->in.p[l->i];
        for (int k = 0; depth == 0 && k < 3; k++)
            if (at(l, ends[k])) {
                tag_end(l, strlen(ends[k]), k == 1, !expr && k == 0);
                return put(l, expr ? TOK_EXPR_END : TOK_TAG_END, STR(""), line);
            }
        if (space(c)) {
            advance(l, l->i + 1);
        } else if (c == '\'' || c == '"') {
            rc = string(l);
        } else if (c >= '0' && c <= '9') {
            rc = number(l);
        } else if (name_char(c, true)) {
            size_t k = l->i + 1;
            while (k < l->in.n && name_char(l->in.p[k], false))
                k++;
            rc = put(l, TOK_NAME, (struct str){l->in.p + l->i, k - l->i}, l->line);
            l->i = k;
        } else {
            depth += memchr("([{", c, 3) ? 1 : memchr(")]}", c, 3) ? -1 : 0;
            depth = depth < 0 ? 0 : depth;
            rc = operator(l);
        }
    }
    return rc < 0 ? rc : bad(l, expr ? "{{ without its end }}" : "{% without its end %}");
}

/* Newlines as \n; the last one of the template does not count. */
static int normal(struct lexer *l, struct str text)
{
    char *p = arena_alloc(l->mem, text.n + 1);
    size_t n = 0;
    if (!p)
        return err_nomem(l->e, text.n, "a template");
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '\r') {
            p[n++] = '\n';
            i += i + 1 < text.n && text.p[i + 1] == '\n';
        } else {
            p[n++] = text.p[i];
        }
    }
    n -= n && p[n - 1] == '\n';
    l->in = (struct str){p, n};
    return 0;
}

int jinja_lex(struct str text, const char *what, struct arena *mem, struct tok **out, struct err *e)
{
    struct lexer l = {.line = 1, .what = what, .mem = mem, .line_start = true, .e = e};
    int rc = normal(&l, text);
    while (rc == 0 && l.i < l.in.n) {
        rc = data(&l);
        l.trim = false;
        if (rc < 0 || l.i >= l.in.n)
            break;
        if (at(&l, "{#"))
            rc = comment(&l);
        else if (at(&l, "{{") || (rc = raw(&l)) == 0)
            rc = tag(&l);
        else
            rc = rc < 0 ? rc : 0;
    }
    if (rc == 0)
        rc = put(&l, TOK_END, STR(""), l.line);
    *out = l.v;
    return rc;
}
