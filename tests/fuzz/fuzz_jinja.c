/* SPDX-License-Identifier: MIT
 *
 * fuzz_jinja: chat templates, mutated, rendered with a small conversation: read or refused, never a crash or a hang.
 */
#include "runtime/text/jinja.h"
#define FUZZ_ROOM ((size_t)256 << 20) /* a template is a program, with a bound of its own */
#include "tests/fuzz/driver.h"

#define LIT(s) {s, sizeof s - 1}
static const struct str corpus[] = {
    LIT("{%- for m in messages -%}{{ m.role + ': ' + m['content'] | trim }}{%- if not loop.last %}, {% endif %}{% endfor %}"),
    LIT("{% set ns = namespace(a=0) %}{% macro f(x, y=2) %}{{ x }}{% endmacro %}{% for i in range(3) if i %}{% set ns.a = ns.a + i %}{{ f(i, y=1) }}{% else %}no{% endfor %}"),
    LIT("{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | join(', ') }}{{ messages[1:] | tojson(indent=2) }}{# c #}"),
    LIT("{% if add_generation_prompt is defined and x is not none %}{{ 'a' if 1 < 2 <= 3 else \"b\\n\" }}{% elif 1 in [1, 2] %}{% break %}{% endif %}{% raw %}{{{% endraw %}"),
    LIT("{{ 'a b'.split(' ')[-1][::-1] ~ 2 ** 3 // 4 % 5 }}{% filter upper %}{% generation %}x{% endgeneration %}{% endfilter %}{{ {'k': (1, 2.5)}.items() | list }}"),
};
static const struct str words[] = {LIT("{{"), LIT("}}"), LIT("{%"), LIT("%}"), LIT("-%}"), LIT("{%- "), LIT("{#"), LIT("#}"), LIT("|"), LIT("("), LIT(")"), LIT("["), LIT("]"),
                                   LIT(" if "), LIT(" else "), LIT(" in "), LIT(" is "), LIT(" not "), LIT("'"), LIT("\\"), LIT("{% endfor %}"), LIT("{% endif %}"), LIT("messages"),
                                   LIT("loop"), LIT(" * 99999999"), LIT(" ** "), LIT("range(99999)"), LIT("f()"), LIT("{% set x %}"), LIT("{% endset %}"), LIT("\xc3")};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct err e;
    struct buf out = {0};
    struct jinja_spans spans = {0};
    struct jinja *t = NULL;
    struct js *vars = js_parse(str_of("{\"messages\":[{\"role\":\"user\",\"content\":\" q\"},{\"role\":\"assistant\",\"content\":\"\"}],\"add_generation_prompt\":true,\"x\":null}"), "vars", &e);
    if (vars && jinja_parse((struct str){(const char *)data, n}, "t", &t, &e) == 0)
        jinja_render(t, vars, &out, &spans, &e);
    for (size_t i = 0; i < spans.n; i++)
        if (spans.v[i].from > spans.v[i].to)
            abort();
    jinja_spans_release(&spans);
    jinja_free(t);
    js_free(vars);
    buf_release(&out);
    return 0;
}

#ifndef PKG_LIBFUZZER
int main(int argc, char **argv)
{
    return fuzz_main(argc, argv, corpus, sizeof corpus / sizeof *corpus, words, sizeof words / sizeof *words);
}
#endif
