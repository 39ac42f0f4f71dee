/* SPDX-License-Identifier: MIT */
#include "runtime/text/regex.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "runtime/text/unicode.h"

struct regex {
    pcre2_code *code;
    bool jit;
    char *source; /* as in the file, for messages */
};

/* White_Space, which is what \s means in Oniguruma; in PCRE2 it has U+180E too */
#define SPACES                                                                                                         \
    "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"
#define NO_SPACES                                                                                                      \
    "\\x{0}-\\x{8}\\x{e}-\\x{1f}\\x{21}-\\x{84}\\x{86}-\\x{9f}\\x{a1}-\\x{167f}\\x{1681}-\\x{1fff}\\x{200b}-\\x{2027}" \
    "\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}\\x{3001}-\\x{10ffff}"

/* the state of a translation */
struct trans {
    struct str in;
    size_t i;
    bool in_class;
    const char *where;
    struct buf *out;
};

static int unsupported(const struct trans *t, const char *what, struct err *e)
{
    return err_set(e, ERR_UNSUPPORTED, "%s: the pattern %.*s has %s, which pkgraph does not know", t->where,
                   (int)(t->in.n < 400 ? t->in.n : 400), t->in.p, what);
}

/* A set of characters, written as elements of a class. */
static void put_set(struct trans *t, bool negated, const char *elements)
{
    if (t->in_class)
        buf_puts(t->out, elements);
    else
        buf_printf(t->out, "[%s%s]", negated ? "^" : "", elements);
}

/* \p{category}: what PCRE2 has, and the characters of newer versions of Unicode */
static void put_category(struct buf *b, struct str name)
{
    buf_printf(b, "\\p{%.*s}", (int)name.n, name.p);
    for (size_t i = 0; i < unicode_newer_count; i++) {
        const struct unicode_range *r = &unicode_newer[i];
        if (r->category[0] == name.p[0] && (name.n == 1 || r->category[1] == name.p[1]))
            buf_printf(b, "\\x{%x}-\\x{%x}", (unsigned)r->first, (unsigned)r->last);
    }
}

static bool is_category(struct str name)
{
    return (name.n == 1 && memchr("LMNPSZC", name.p[0], 7)) ||
           (name.n == 2 && memchr("LMNPSZC", name.p[0], 7) && memchr("ultomncepdsifk", name.p[1], 14));
}

static int property(struct trans *t, bool negated, struct err *e)
{
    static const char *const scripts[] = {"Han",    "Hiragana", "Katakana", "Hangul",     "Latin", "Greek",
                                          "Arabic", "Hebrew",   "Cyrillic", "Devanagari", "Thai",  "Bopomofo"};
    struct str in = t->in;
    const char *end = t->i < in.n && in.p[t->i] == '{' ? memchr(in.p + t->i, '}', in.n - t->i) : NULL;
    if (!end)
        return unsupported(t, "\\p without {name}", e);
    struct str name = {in.p + t->i + 1, (size_t)(end - (in.p + t->i + 1))};
    t->i += name.n + 2;
    if (name.n && name.p[0] == '^') {
        negated = !negated;
        name.p++;
        name.n--;
    }
    if (is_category(name)) {
        struct buf set = {0};
        if (t->in_class && negated) /* newer characters cannot be taken out again; they are few */
            buf_printf(&set, "\\P{%.*s}", (int)name.n, name.p);
        else
            put_category(&set, name);
        put_set(t, negated, set.p ? set.p : "");
        t->out->failed |= set.failed;
        buf_release(&set);
        return 0;
    }
    for (size_t i = 0; i < sizeof scripts / sizeof scripts[0]; i++) {
        if (str_is(name, scripts[i])) {
            buf_printf(t->out, "\\%c{sc:%s}", negated ? 'P' : 'p', scripts[i]);
            return 0;
        }
    }
    return unsupported(t, "a \\p{name} that is neither a general category nor one of the common scripts", e);
}

static int escape(struct trans *t, struct err *e)
{
    if (t->i + 1 >= t->in.n)
        return unsupported(t, "a backslash at its end", e);
    char c = t->in.p[t->i + 1];
    t->i += 2;
    switch (c) {
    case 's':
        put_set(t, false, SPACES);
        return 0;
    case 'S':
        put_set(t, !t->in_class, t->in_class ? NO_SPACES : SPACES);
        return 0;
    case 'h':
        put_set(t, false, "0-9a-fA-F");
        return 0;
    case 'd': {
        struct buf set = {0};
        put_category(&set, STR("Nd"));
        put_set(t, false, set.p ? set.p : "");
        buf_release(&set);
        return 0;
    }
    case 'w':
    case 'W': {
        if (c == 'W' && t->in_class)
            return unsupported(t, "\\W inside a character class", e);
        struct buf set = {0};
        put_category(&set, STR("L"));
        put_category(&set, STR("M"));
        put_category(&set, STR("Nd"));
        put_category(&set, STR("Pc"));
        put_set(t, c == 'W', set.p ? set.p : "");
        buf_release(&set);
        return 0;
    }
    case 'p':
    case 'P':
        return property(t, c == 'P', e);
    case 'D':
    case 'H':
    case 'b':
    case 'B':
    case 'G':
    case 'K':
    case 'g':
    case 'k':
    case 'y':
    case 'Y':
    case 'O':
    case 'N':
    case 'c':
    case 'C':
    case 'M':
    case 'Q':
    case 'E':
    case 'R':
    case 'X':
        break;
    default:
        buf_putc(t->out, '\\');
        buf_putc(t->out, c);
        return 0;
    }
    char what[] = "the escape \\?";
    what[sizeof what - 2] = c;
    return unsupported(t, what, e);
}

/* `[`, already at t->i; its elements follow */
static void open_class(struct trans *t)
{
    t->in_class = true;
    buf_putc(t->out, t->in.p[t->i++]);
    if (t->i < t->in.n && t->in.p[t->i] == '^')
        buf_putc(t->out, t->in.p[t->i++]);
    if (t->i < t->in.n && t->in.p[t->i] == ']') {
        buf_puts(t->out, "\\]");
        t->i++;
    }
}

/* "(?" and the flags behind it: Ruby's m is PCRE2's s. */
static void open_group(struct trans *t)
{
    buf_puts(t->out, "(?");
    for (t->i += 2; t->i < t->in.n && memchr("imx-", t->in.p[t->i], 4); t->i++)
        buf_putc(t->out, t->in.p[t->i] == 'm' ? 's' : t->in.p[t->i]);
}

int regex_translate(struct str pattern, const char *where, struct buf *out, struct err *e)
{
    struct trans t = {.in = pattern, .where = where, .out = out};
    while (t.i < pattern.n) {
        char c = pattern.p[t.i], next = t.i + 1 < pattern.n ? pattern.p[t.i + 1] : 0;
        int rc = 0;
        if (c == '\\') {
            rc = escape(&t, e);
        } else if (!t.in_class && c == '[') {
            open_class(&t);
        } else if (t.in_class && c == '[') {
            return unsupported(&t, "a character class inside another", e);
        } else if (t.in_class && c == '&' && next == '&') {
            return unsupported(&t, "an intersection of character classes", e);
        } else if (!t.in_class && c == '(' && next == '?') {
            open_group(&t);
        } else {
            if (t.in_class && c == ']')
                t.in_class = false;
            buf_putc(out, c);
            t.i++;
        }
        if (rc < 0)
            return rc;
    }
    return out->failed ? err_nomem(e, pattern.n, "a pattern") : 0;
}

static int compile(struct regex *r, struct str pattern, uint32_t options, const char *where, struct err *e)
{
    int code = 0;
    PCRE2_SIZE at = 0;
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    if (!context)
        return err_nomem(e, pattern.n, "a pattern");
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    r->code = pcre2_compile((PCRE2_SPTR)pattern.p, pattern.n, options, &code, &at, context);
    pcre2_compile_context_free(context);
    if (!r->code) {
        PCRE2_UCHAR text[256] = "";
        pcre2_get_error_message(code, text, sizeof text);
        return err_set(e, ERR_INPUT, "%s: the pattern %.400s is not valid: %s", where, r->source, (char *)text);
    }
    r->jit = pcre2_jit_compile(r->code, PCRE2_JIT_COMPLETE) == 0;
    return 0;
}

int regex_new(struct str pattern, bool literal, const char *where, struct regex **out, struct err *e)
{
    struct buf text = {0};
    struct regex *r = calloc(1, sizeof *r);
    *out = NULL;
    int rc = 0;
    if (!r || !(r->source = str_dup(pattern))) {
        rc = err_nomem(e, pattern.n, "a pattern");
        goto out;
    }
    if (!literal && (rc = regex_translate(pattern, where, &text, e)) < 0)
        goto out;
    rc = literal
             ? compile(r, pattern, PCRE2_UTF | PCRE2_LITERAL, where, e)
             : compile(r, buf_view(&text), PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, where, e);
    if (rc == 0) {
        *out = r;
        r = NULL;
    }
out:
    buf_release(&text);
    regex_free(r);
    return rc;
}

void regex_free(struct regex *r)
{
    if (!r)
        return;
    pcre2_code_free(r->code);
    free(r->source);
    free(r);
}

void matcher_release(struct matcher *m)
{
    pcre2_match_data_free(m->data);
    pcre2_match_context_free(m->context);
    if (m->stack)
        pcre2_jit_stack_free(m->stack);
    *m = (struct matcher){0};
}

/* PCRE2's machine stack of 32 KiB was not enough: one of up to 64 MiB. */
static bool more_stack(struct matcher *m)
{
    if (m->stack)
        return false;
    m->stack = pcre2_jit_stack_create(64 * 1024, 64 * 1024 * 1024, NULL);
    m->context = pcre2_match_context_create(NULL);
    if (!m->stack || !m->context)
        return false;
    pcre2_jit_stack_assign(m->context, NULL, m->stack);
    return true;
}

static int search(struct match_iter *it, struct matcher *m, struct err *e)
{
    const struct regex *r = it->regex;
    if (!m->data && !(m->data = pcre2_match_data_create(1, NULL)))
        return err_nomem(e, 0, "matching a pattern");
    for (;;) {
        int n = r->jit ? pcre2_jit_match(r->code, (PCRE2_SPTR)it->text.p, it->text.n, it->pos, 0, m->data, m->context)
                       : pcre2_match(r->code, (PCRE2_SPTR)it->text.p, it->text.n, it->pos, PCRE2_NO_UTF_CHECK, m->data,
                                     m->context);
        if (n >= 0)
            break;
        if (n == PCRE2_ERROR_NOMATCH)
            return 0;
        if (n == PCRE2_ERROR_JIT_STACKLIMIT && more_stack(m))
            continue;
        PCRE2_UCHAR text[256] = "";
        pcre2_get_error_message(n, text, sizeof text);
        return err_set(e, ERR_INPUT, "the pattern %.400s cannot be matched at byte %zu of a text of %zu bytes: %s",
                       r->source, it->pos, it->text.n, (char *)text);
    }
    PCRE2_SIZE *v = pcre2_get_ovector_pointer(m->data);
    it->start = v[0];
    it->end = v[1];
    if (it->start < it->pos || it->end < it->start) /* only \K in a lookahead could do that */
        return err_set(e, ERR_UNSUPPORTED, "the pattern %.400s matches backwards", r->source);
    return 1;
}

void match_start(struct match_iter *it, const struct regex *r, struct str text)
{
    *it = (struct match_iter){.regex = r, .text = text.p ? text : STR(""), .last = SIZE_MAX};
}

int match_next(struct match_iter *it, struct matcher *m, struct err *e)
{
    while (it->pos <= it->text.n) {
        int rc = search(it, m, e);
        if (rc <= 0)
            return rc;
        if (it->start != it->end || it->last != it->end) {
            it->pos = it->last = it->end;
            return 1;
        }
        it->pos++;
        while (it->pos < it->text.n && ((unsigned char)it->text.p[it->pos] & 0xc0) == 0x80)
            it->pos++;
    }
    return 0;
}

static char library_version[64];

static void read_version(void)
{
    if (pcre2_config(PCRE2_CONFIG_VERSION, NULL) < (int)sizeof library_version)
        pcre2_config(PCRE2_CONFIG_VERSION, library_version);
    library_version[strcspn(library_version, " ")] = 0; /* its date */
}

const char *regex_library_version(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, read_version);
    return library_version;
}
