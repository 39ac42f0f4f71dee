/* SPDX-License-Identifier: MIT
 * jinja: texts that the Jinja of transformers (3.1, its environment for chat templates) wrote for the same template and
 * values; mistakes and what is not supported are named with their line; limits hold. chat: built-in templates. */
#include "tok_helper.h"

#include "runtime/text/chat.h"
#include "runtime/text/jinja.h"
#include "runtime/text/rows.h"

static const char vars[] = "{\"m\": [{\"role\": \"system\", \"content\": \" S \"}, {\"role\": \"user\", \"content\": \"héy\"}, {\"role\": \"assistant\", \"content\": \"a\\nb\", \"n\": 3}], \"s\": \"abc def\", \"z\": \"\", \"n\": null, \"x\": 3, \"f\": 2.5, \"t\": true, \"d\": {\"k\": \"v\", \"l\": [1, 2]}, \"add\": true}";

/* template, text */
static const char *const cases[][2] = {
    {"a{{ x }}b{{- f }} {{ t }} {{ n }} {{ d }} {{ q }}",
     "a3b2.5 True None {'k': 'v', 'l': [1, 2]} "},
    {"{% if x > 2 %}  yes\n{% endif %}",
     "  yes\n"},
    {"  {% if x %}\nno indent {# gone #}\n  {% endif %}end",
     "no indent end"},
    {"{%- for i in m -%} {{ i.role }};{{ loop.index }}/{{ loop.length }}{{ ',' if not loop.last }} {%- endfor %}",
     "system;1/3,user;2/3,assistant;3/3"},
    {"{% for i in m if i.role != 'user' %}{{ loop.index0 }}{{ i['role'][0] }}{% else %}none{% endfor %}",
     "0s1a"},
    {"{% for i in [] %}x{% else %}empty{% endfor %}",
     "empty"},
    {"{% set ns = namespace(n=0, l=[]) %}{% for i in m %}{% set ns.n = ns.n + loop.index %}{% set ns.l = ns.l + [i.role] %}{% endfor %}{{ ns.n }}{{ ns.l }}",
     "6['system', 'user', 'assistant']"},
    {"{% set a, b = 1, 'two' %}{{ a }}{{ b }}{% for i in [1] %}{% set a = 5 %}{% endfor %}{{ a }}",
     "1two1"},
    {"{% set big %}x{{ x }}y{% endset %}{{ big * 2 }}",
     "x3yx3y"},
    {"{% macro f(a, b='B', c=none) %}[{{ a }}{{ b }}{{ c }}]{% endmacro %}{{ f(1) }}{{ f('x', c=2) }}{{ f(b=1, a=2) }}",
     "[1BNone][xB2][21None]"},
    {"{{ 'a' ~ 1 ~ none ~ 2.0 }}{{ 7 // 2 }}{{ -7 // 2 }}{{ 7 % 3 }}{{ -7 % 3 }}{{ 2 ** 3 }}{{ 7 / 2 }}{{ 1 + 2 * 3 }}{{ (1 + 2) * 3 }}",
     "a1None2.03-41283.579"},
    {"{{ 1 < 2 < 3 }}{{ 3 in [1, 3] }}{{ 'b' in s }}{{ 'k' in d }}{{ 4 not in [1] }}{{ not x == 3 }}",
     "TrueTrueTrueTrueTrueFalse"},
    {"{{ x is defined }}{{ q is defined }}{{ n is none }}{{ s is string }}{{ d is mapping }}{{ m is sequence }}{{ x is odd }}{{ 4 is divisibleby 2 }}{{ x is eq 3 }}{{ q is not defined }}{{ t is true }}{{ x is number }}",
     "TrueFalseTrueTrueTrueTrueTrueTrueTrueTrueTrueTrue"},
    {"{{ s[0] }}{{ s[-1] }}{{ s[1:3] }}{{ s[::-1] }}{{ m[1:]|length }}{{ m[-1].content }}{{ d['l'][1] }}{{ m[0:1][0]['role'] }}",
     "afbcfed cba2a\nb2system"},
    {"{{ m[1].content|upper }}{{ m[1].content.upper() }}{{ s|title }}{{ s|capitalize }}{{ ' x '|trim }}|{{ s.split(' ')|join('-') }}{{ 'a,b,c'.split(',', 1) }}{{ 'xxaxx'.strip('x') }}{{ s.startswith('ab') }}{{ s.endswith(('z', 'f')) }}{{ s.replace('abc', 'X') }}{{ 'a b'.lstrip() }}",
     "HÉYHÉYAbc DefAbc defx|abc-def['a', 'b,c']aTrueTrueX defa b"},
    {"{{ d|tojson }}{{ m|tojson }}{{ 'é\"<&>'|tojson }}{{ d|tojson(indent=2) }}{{ [1, 2.0, none, true]|tojson }}",
     "{\"k\": \"v\", \"l\": [1, 2]}[{\"role\": \"system\", \"content\": \" S \"}, {\"role\": \"user\", \"content\": \"héy\"}, {\"role\": \"assistant\", \"content\": \"a\\nb\", \"n\": 3}]\"é\\\"<&>\"{\n  \"k\": \"v\",\n  \"l\": [\n    1,\n    2\n  ]\n}[1, 2.0, null, true]"},
    {"{{ m|map(attribute='role')|join(',') }}{{ m|selectattr('role', 'equalto', 'user')|list|length }}{{ m|rejectattr('role', 'in', ['user'])|map(attribute='role')|list }}{{ [0, 1, 2]|select|list }}{{ m|selectattr('n', 'defined')|list|length }}",
     "system,user,assistant1['system', 'assistant'][1, 2]1"},
    {"{{ q|default('D') }}{{ z|default('E', true) }}{{ [3, 1, 2]|sort }}{{ [3, 1]|first }}{{ [3, 1]|last }}{{ [1, 2]|reverse|list }}{{ 'abc'|reverse }}{{ [1, 1, 2]|unique|list }}{{ [1, 2]|sum }}{{ [1, 2]|max }}{{ '12'|int + 1 }}{{ 3.7|int }}{{ 2.567|round(1) }}{{ -3|abs }}",
     "DE[1, 2, 3]31[2, 1]cba[1, 2]321332.63"},
    {"{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}{% for k in d %}{{ k }}{% endfor %}{{ d.get('k') }}{{ d.get('u', 'none') }}{{ d|items|list }}{{ d|dictsort }}",
     "k=v;l=[1, 2];klvnone[('k', 'v'), ('l', [1, 2])][('k', 'v'), ('l', [1, 2])]"},
    {"{{ range(3)|list }}{{ range(1, 7, 2)|list }}{{ range(3, 0, -1)|list }}",
     "[0, 1, 2][1, 3, 5][3, 2, 1]"},
    {"{% for i in range(9) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 4 %}{% break %}{% endif %}{{ i }}{% endfor %}",
     "013"},
    {"{% raw %}{{ not this }}{% endraw %}{{ '{{' }}{{ \"q'\\\"\\n\\t\\u00e9\" }}",
     "{{ not this }}{{q'\"\n\té"},
    {"{{ 'a' if x == 1 else 'b' if x == 2 else 'c' }}{{ ('p' if x) }}{{ 'n' if not x }}|{{ x and 'and' }}{{ z or 'or' }}",
     "cp|andor"},
    {"{% filter upper %}shout {{ s }}{% endfilter %}{{ 'a\\nb'|indent(2) }}{{ 'a\\nb'|indent(2, true) }}",
     "SHOUT ABC DEFa\n  b  a\n  b"},
    {"{% for i in m %}{{ loop.previtem.role if loop.previtem is defined }}<{{ i.role }}>{{ loop.nextitem.role if not loop.last }} {{ loop.revindex }}{{ loop.cycle('o', 'e') }}{% endfor %}",
     "<system>user 3osystem<user>assistant 2euser<assistant> 1o"},
    {"{% generation %}gen{% endgeneration %}{{ (1,) }}{{ (1, 2) }}{{ {'a': 1}['a'] }}{{ [1] + [2] }}{{ 'ab' * 2 }}{{ [0] * 3 }}",
     "gen(1,)(1, 2)1[1, 2]abab[0, 0, 0]"},
    {"{{ d.k }}{{ d.l[0] }}{{ d.missing }}{{ d.missing is defined }}{{ 'x' 'y' }}{{ 1_000 }}{{ 1e3 }}{{ 1.0 }}{{ true }}{{ None }}",
     "v1Falsexy10001000.01.0TrueNone"},
    {"{{ 'Abc'.lower().capitalize() }}{{ 'a-b-c'.rsplit('-', 1) }}{{ 'a b  c'.split() }}{{ 'abcabc'.find('c') }}{{ 'abcabc'.rfind('c') }}{{ 'abcabc'.count('c') }}{{ '12'.isdigit() }}{{ 'l1\\nl2'.splitlines() }}{{ ''.join(['a', 'b']) }}",
     "Abc['a-b', 'c']['a', 'b', 'c']252True['l1', 'l2']ab"},
    {"{%- set x = 9 -%}\n {{ x }} {%+ if true %} kept{% endif +%}",
     "9  kept"},
    {"{{ namespace(a=1).a }}{{ dict(a=1, b=2) }}{{ m[0].content is in ['x', ' S '] }}{{ 3 is ge 2 }}{{ 'A' is upper }}",
     "1{'a': 1, 'b': 2}TrueTrueTrue"},
    {"{{ m[5] is defined }}{{ m[5] }}{{ s[9] is undefined }}{{ 10 == 10.0 }}{{ '1' == 1 }}{{ none == none }}{{ [1, 2] == [1, 2] }}",
     "FalseTrueTrueFalseTrueTrue"},
};

static int render(const char *template, const char *json, struct buf *out, struct jinja_spans *spans, struct err *e)
{
    struct jinja *t = NULL;
    struct js *v = js_parse(str_of(json), "vars", e);
    int rc = v ? jinja_parse(str_of(template), "T", &t, e) : e->code;
    if (rc == 0)
        rc = jinja_render(t, v, out, spans, e);
    jinja_free(t);
    js_free(v);
    return rc;
}

static void same_text(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf b = {0};
        struct err e = {0};
        if (render(cases[i][0], vars, &b, NULL, &e) < 0)
            fail_msg("%s: %s", cases[i][0], e.msg);
        assert_string_equal(b.p ? b.p : "", cases[i][1]);
        buf_release(&b);
    }
}

static void mistakes(void **state)
{
    static const struct {
        const char *template, *message;
        int code;
    } bad[] = {
        {"\n{% if %}", "line 2: an expression expected", ERR_INPUT},
        {"{% if x %}", "{% else %} or the end of the block", ERR_INPUT},
        {"{{ x", "{{ without its end }}", ERR_INPUT},
        {"{{ 'x }}", "a string without its end", ERR_INPUT},
        {"{# x", "a comment", ERR_INPUT},
        {"\n\n{% include 'x' %}", "line 3: the tag \"include\" is not supported", ERR_UNSUPPORTED},
        {"{{ x | frob }}", "the filter \"frob\" is not supported", ERR_UNSUPPORTED},
        {"{{ x is frob }}", "the test \"frob\" is not supported", ERR_UNSUPPORTED},
        {"{{ s.frob() }}", "the method \"frob\" of str is not supported", ERR_UNSUPPORTED},
        {"{{ frob(1) }}", "\"frob\" is called, which is no function known here", ERR_UNSUPPORTED},
        {"{{ strftime_now('%Y') }}", "write the date into a copy of the template", ERR_UNSUPPORTED},
        {"{{ raise_exception('only ' ~ 1) }}", "refuses this conversation: only 1", ERR_INPUT},
        {"{{ q.a }}", "\"q\" is undefined", ERR_INPUT},
        {"{{ 'a' + 1 }}", "str + int cannot be computed", ERR_INPUT},
        {"{{ 1 // 0 }}", "a division by zero", ERR_INPUT},
        {"{{ 9223372036854775807 + 1 }}", "beyond 64 bits", ERR_INPUT},
        {"{% set d.x = 1 %}", "only a namespace()", ERR_INPUT},
        {"{% for i in range(100000) %}{% for j in range(100000) %}{% set x = i * j %}{% endfor %}{% endfor %}", "MiB of memory", ERR_INPUT},
        {"{% for i in range(100000) %}{{ 'x' * 10000 }}{% endfor %}", "MiB", ERR_INPUT},
        {"{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "too deeply", ERR_INPUT},
        {"{{ 'x' * 99999999999 }}", "too long", ERR_INPUT},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct buf b = {0};
        struct err e = {0};
        assert_int_equal(render(bad[i].template, vars, &b, NULL, &e), bad[i].code);
        if (!strstr(e.msg, bad[i].message))
            fail_msg("%s: %s", bad[i].template, e.msg);
        buf_release(&b);
    }
    struct buf deep = {0}, out = {0};
    struct err e = {0};
    for (int i = 0; i < 100000; i++)
        buf_puts(&deep, "{{ (");
    assert_int_equal(render(deep.p, vars, &out, NULL, &e), ERR_INPUT);
    buf_clear(&deep);
    buf_puts(&deep, "{{ 1");
    for (int i = 0; i < 100000; i++)
        buf_puts(&deep, " + 1");
    buf_puts(&deep, " }}");
    assert_int_equal(render(deep.p, vars, &out, NULL, &e), ERR_INPUT);
    buf_release(&deep);
    buf_release(&out);
}

static void generation(void **state)
{
    struct buf b = {0};
    struct jinja_spans s = {0};
    struct err e = {0};
    (void)state;
    assert_int_equal(render("{% for i in m %}{{ i.role }}:{% if i.role == 'assistant' %}{% generation %}{{ i.content }}{% endgeneration %}{% endif %}{% endfor %}", vars,
                            &b, &s, &e), 0);
    assert_int_equal(s.n, 1);
    assert_memory_equal(b.p + s.v[0].from, "a\nb", 3);
    assert_int_equal(s.v[0].to - s.v[0].from, 3);
    jinja_spans_release(&s);
    buf_release(&b);
}

static struct message talk[] = {{.role = ROLE_SYSTEM, .content = {"S", 1}}, {.role = ROLE_USER, .content = {" q ", 3}}, {.role = ROLE_ASSISTANT, .content = {"a", 1}},
                              {.role = ROLE_USER, .content = {"r", 1}}, {.role = ROLE_ASSISTANT, .content = {"b", 1}}};

static void built_in(void **state)
{
    static const struct {
        const char *name;
        bool prompt;
        const char *text;
    } all[] = {
        {"chatml", true, "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\n q <|im_end|>\n<|im_start|>assistant\n"},
        {"llama2", false, "<s>[INST] <<SYS>>\nS\n<</SYS>>\n\n q [/INST] a </s><s>[INST] r [/INST] b </s>"},
        {"llama2", true, "<s>[INST] <<SYS>>\nS\n<</SYS>>\n\n q [/INST]"},
        {"llama3", true, "<s><|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nq<|eot_id|>"
                         "<|start_header_id|>assistant<|end_header_id|>\n\n"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct chat *c = NULL;
        struct buf b = {0};
        struct err e = {0};
        assert_int_equal(chat_new(all[i].name, (struct str){NULL, 0}, NULL, &c, &e), 0);
        assert_int_equal(chat_check(c, &e), 0);
        assert_int_equal(chat_render(c, talk, all[i].prompt ? 2 : 5, NULL, all[i].prompt, &b, &e), 0);
        assert_string_equal(b.p, all[i].text);
        buf_release(&b);
        chat_free(c);
    }
}

/* The tokens that are trained on, as text (bytes: one token each), and whether all of it ends in EOS. */
static void trained(const char *template, enum train_on on, const char *expected, int code)
{
    struct buf got = {0};
    struct tokenizer *t = byte_tokenizer();
    struct chat *c = NULL;
    struct err e = {0};
    struct encoded x = {0};
    assert_int_equal(chat_new("file", str_of(template), NULL, &c, &e), 0);
    struct row r = {.n = 5, .messages = talk, .chat = c};
    assert_int_equal(row_encode(t, &r, FORM_TRAIN, on, 1000, "</s>", BYTES_EOS, &x, &e), code);
    for (size_t i = 0; i < x.n; i++)
        if (x.trained[i])
            buf_putc(&got, x.ids[i] == BYTES_EOS ? '$' : x.ids[i] < 256 ? (char)x.ids[i] : '?');
    if (code == 0)
        assert_string_equal(got.p, expected);
    encoded_release(&x);
    buf_release(&got);
    tokenizer_free(t);
    chat_free(c);
}

static void masks(void **state)
{
    (void)state;
    const char *plain = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ eos_token + '\n' if m.role == 'assistant' }}{% endfor %}{{ '<assistant>' if add_generation_prompt }}";
    trained(plain, TRAIN_LAST, "b$\n", 0);
    trained(plain, TRAIN_ASSISTANT, "a$\nb$\n", 0);
    /* no EOS of its own: one is put behind */
    trained("{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{{ '<assistant>' if add_generation_prompt }}", TRAIN_LAST, "b$", 0);
    /* a prompt that begins the answer in another way than the answer itself does */
    trained("{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ eos_token if m.role == 'assistant' }}{% endfor %}{{ '<assistant>[think]' if add_generation_prompt }}", TRAIN_LAST,
            "b$", 0);
    /* earlier answers are written without their content */
    const char *forgets = "{% for m in messages %}<{{ m.role }}>{{ m.content if m.role != 'assistant' or loop.last }}{{ eos_token if m.role == 'assistant' }}{% endfor %}{{ "
                          "'<assistant>' if add_generation_prompt }}";
    trained(forgets, TRAIN_LAST, "b$", 0);
    trained(forgets, TRAIN_ASSISTANT, "", ERR_UNSUPPORTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_text), cmocka_unit_test(mistakes), cmocka_unit_test(generation), cmocka_unit_test(built_in), cmocka_unit_test(masks),
    };
    return cmocka_run_group_tests_name("jinja", tests, NULL, NULL);
}
