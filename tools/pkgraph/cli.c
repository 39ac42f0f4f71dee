/* SPDX-License-Identifier: MIT */
#include "tools/pkgraph/cli.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/diag.h"
#include "tools/pkgraph/term.h"

enum { MAX_OPTIONS = 32 };

static size_t option_count(const struct command *c)
{
    size_t n = 0;
    while (c->options && c->options[n].name)
        n++;
    return n;
}

static const struct option_def *option_find(const struct command *c, const char *name, size_t len)
{
    for (const struct option_def *o = c->options; o && o->name; o++)
        if (strlen(o->name) == len && memcmp(o->name, name, len) == 0)
            return o;
    return NULL;
}

int usage_error(const struct command *c, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    say_error("%s\n  pkgraph %s --help shows what it takes", text, c->name);
    return STATUS_USAGE;
}

static int unknown_option(const struct command *c, const char *token)
{
    const char *names[MAX_OPTIONS];
    size_t n = 0;
    for (const struct option_def *o = c->options; o && o->name && n < MAX_OPTIONS; o++)
        names[n++] = o->name;
    char name[128];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(token, "="), token);
    const char *word = name + strspn(name, "-");
    const char *near = nearest_name(word, names, n);
    for (size_t i = 0; !near && strlen(word) >= 2 && i < n; i++) /* an abbreviation names its option */
        if (strncmp(names[i], word, strlen(word)) == 0)
            near = names[i];
    if (near)
        return usage_error(c, "unknown option %s of `%s`; did you mean --%s?", name, c->name, near);
    return usage_error(c, "unknown option %s of `%s`", name, c->name);
}

static bool one_of(const char *choices, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = choices; *p; p += *p == '|') {
        size_t k = strcspn(p, "|");
        if (k == n && memcmp(p, word, n) == 0)
            return true;
        p += k;
    }
    return false;
}

static int check_choice(const struct command *c, const struct option_def *o, const char *value)
{
    if (!o->choices || one_of(o->choices, value))
        return 0;
    usage_error(c, "--%s %s: it is one of %s", o->name, value, o->choices);
    return -1;
}

/* getopt's two tables from ours. */
static void getopt_tables(const struct command *c, struct option *longs, char *shorts)
{
    size_t n = option_count(c);
    char *s = shorts;
    *s++ = '-'; /* arguments come in order, as the "option" 1 */
    *s++ = ':';
    for (size_t i = 0; i < n; i++) {
        const struct option_def *o = &c->options[i];
        longs[i] = (struct option){.name = o->name, .has_arg = o->arg ? required_argument : no_argument, .val = 256 + (int)i};
        if (o->letter) {
            *s++ = o->letter;
            if (o->arg)
                *s++ = ':';
        }
    }
    longs[n] = (struct option){0};
    *s = 0;
}

static const struct option_def *option_of(const struct command *c, int code)
{
    if (code >= 256)
        return &c->options[code - 256];
    for (const struct option_def *o = c->options; o->name; o++)
        if (o->letter && o->letter == code)
            return o;
    return NULL;
}

/* One getopt result into a. -1: told. */
static int take(struct args *a, int code, const char *token)
{
    const struct command *c = a->command;
    if (code == 1) {
        a->pos[a->n_pos++] = optarg;
        return 0;
    }
    if (code == ':') {
        usage_error(c, "%s needs a value", token);
        return -1;
    }
    bool is_long = token[0] == '-' && token[1] == '-';
    const struct option_def *o = code == '?' ? NULL : option_of(c, code);
    if (is_long && !option_find(c, token + 2, strcspn(token + 2, "=")))
        o = NULL; /* an abbreviation that getopt completed */
    if (!o) {
        const struct option_def *flag = is_long ? option_find(c, token + 2, strcspn(token + 2, "=")) : NULL;
        if (flag)
            usage_error(c, "--%s takes no value", flag->name);
        else
            unknown_option(c, token);
        return -1;
    }
    if (o->arg && check_choice(c, o, optarg) < 0)
        return -1;
    a->given[a->n_given++] = (struct given){.def = o, .value = optarg};
    return 0;
}

int args_parse(struct args *a, const struct command *c, int argc, char **argv, int *status)
{
    struct option longs[MAX_OPTIONS + 1];
    char shorts[3 * MAX_OPTIONS + 3];
    *a = (struct args){.command = c};
    a->pos = calloc((size_t)argc + 1, sizeof *a->pos);
    a->given = calloc((size_t)argc + 1, sizeof *a->given);
    *status = STATUS_FAILED;
    if (!a->pos || !a->given) {
        say_error("out of memory");
        return -1;
    }
    getopt_tables(c, longs, shorts);
    *status = STATUS_USAGE;
    opterr = 0;
    optind = 1;
    for (int at = 1, code; (code = getopt_long(argc, argv, shorts, longs, NULL)) != -1; at = optind)
        if (take(a, code, argv[at]) < 0)
            return -1;
    for (int i = optind; i < argc; i++)
        a->pos[a->n_pos++] = argv[i];
    if (args_has(a, "help")) {
        struct buf b = {0};
        command_help(c, &b);
        if (!b.failed)
            fwrite(b.p, 1, b.n, stdout);
        buf_release(&b);
        *status = STATUS_DONE;
        return -1;
    }
    if (a->n_pos < c->min_pos || a->n_pos > c->max_pos) {
        usage_error(c, a->n_pos < c->min_pos ? "`%s` needs %s" : "too many arguments; `%s` takes %s", c->name, c->usage);
        return -1;
    }
    *status = STATUS_DONE;
    return 0;
}

void args_release(struct args *a)
{
    free(a->pos);
    free(a->given);
    *a = (struct args){0};
}

const char *args_get(const struct args *a, const char *option)
{
    for (size_t i = a->n_given; i-- > 0;)
        if (strcmp(a->given[i].def->name, option) == 0)
            return a->given[i].value ? a->given[i].value : "";
    return NULL;
}

bool args_has(const struct args *a, const char *option)
{
    return args_get(a, option) != NULL;
}

const char **args_all(const struct args *a, const char *option, size_t *n)
{
    *n = 0;
    const char **v = calloc(a->n_given + 1, sizeof *v);
    for (size_t i = 0; v && i < a->n_given; i++)
        if (a->given[i].value && strcmp(a->given[i].def->name, option) == 0)
            v[(*n)++] = a->given[i].value;
    return v;
}

int args_int(const struct args *a, const char *option, long low, long high, long *out)
{
    const char *text = args_get(a, option);
    if (!text)
        return 0;
    char *end;
    long v = strtol(text, &end, 10);
    if (end == text || *end || v < low || v > high) {
        usage_error(a->command, "--%s %s: a whole number from %ld to %ld", option, text, low, high);
        return -1;
    }
    *out = v;
    return 0;
}

void command_help(const struct command *c, struct buf *out)
{
    buf_printf(out, "%s\n\n  pkgraph %s%s%s [options]\n", c->summary, c->name, *c->usage ? " " : "", c->usage);
    if (c->about)
        buf_printf(out, "\n%s\n", c->about);
    buf_puts(out, "\nOptions\n");
    int width = 0;
    for (const struct option_def *o = c->options; o->name; o++) {
        int w = (int)(strlen(o->name) + (o->arg ? strlen(o->arg) + 1 : 0));
        width = w > width ? w : width;
    }
    for (const struct option_def *o = c->options; o->name; o++) {
        char left[128];
        snprintf(left, sizeof left, "%s%s%s", o->name, o->arg ? " " : "", o->arg ? o->arg : "");
        if (o->letter)
            buf_printf(out, "  -%c, --%-*s  %s\n", o->letter, width, left, o->help);
        else
            buf_printf(out, "      --%-*s  %s\n", width, left, o->help);
    }
    buf_puts(out, strchr(c->example, '\n') ? "\nExamples\n" : "\nExample\n");
    for (const char *p = c->example; *p; p += *p == '\n') {
        size_t n = strcspn(p, "\n");
        buf_printf(out, "  %.*s\n", (int)n, p);
        p += n;
    }
}

const struct command *command_find(const char *name)
{
    for (const struct command *const *c = commands; *c; c++)
        if (strcmp((*c)->name, name) == 0)
            return *c;
    return NULL;
}
