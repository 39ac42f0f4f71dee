/* SPDX-License-Identifier: MIT
 * Rows: every format and file kind, and what is said about wrong ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/base/fs.h"
#include "runtime/text/row_tools.h"
#include "runtime/text/rows.h"

static char dir[] = "/tmp/pkgraph-rows-XXXXXX";

static int setup(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
    struct err e;
    (void)state;
    return fs_remove_tree(dir, &e);
}

static const char *file(const char *name, struct str text)
{
    static char path[256];
    struct err e;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(fs_write_atomic(path, text.p, text.n, &e), 0);
    return path;
}

/* The row as "u:...|a:...|". */
static const char *row_string(const struct row *r)
{
    static struct buf b;
    buf_clear(&b);
    for (size_t i = 0; i < r->n; i++)
        buf_printf(&b, "%c:%.*s|", "suat"[r->messages[i].role], (int)r -> messages[i].content.n,
                   r->messages[i].content.p);
    return b.p ? b.p : "";
}

static void formats(void **state)
{
    static const struct {
        const char *name, *text;
        enum row_format format;
        size_t n;
        const char *rows[3];
    } cases[] = {
        {"a.jsonl",
         "{\"messages\":[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content\":\" "
         "q\\n\"},{\"role\":\"assistant\",\"content\":\"a\"}]}\n",
         ROW_MESSAGES,
         1,
         {"s:S|u: q\n|a:a|"}},
        {"b.jsonl",
         "\xef\xbb\xbf\r\n  {\"text\":\"one\"}\r\n\r\n\t\n{\"text\":\"two\"}",
         ROW_TEXT,
         2,
         {"a:one|", "a:two|"}},
        {"c.json", "[\n{\"text\":\"one\"},\n {\"text\":\"two\"}\n]\n", ROW_TEXT, 2, {"a:one|", "a:two|"}},
        {"d.jsonl",
         "{\"conversations\":[{\"from\":\"human\",\"value\":\"q\"},{\"from\":\"gpt\",\"value\":\"a\"}],\"system\":"
         "\"S\"}",
         ROW_SHAREGPT,
         1,
         {"s:S|u:q|a:a|"}},
        {"e.jsonl",
         "{\"instruction\":\"i\",\"input\":\"\",\"output\":\"o\"}\n{\"instruction\":\"i\",\"input\":\"x\",\"output\":"
         "\"o\",\"system\":\"s\",\"history\":[[\"p\",\"q\"]]}\n"
         "{\"instruction\":\"i\",\"output\":\"o\",\"input\":null}",
         ROW_ALPACA,
         3,
         {"u:i|a:o|", "s:s|u:p|a:q|u:i\nx|a:o|", "u:i|a:o|"}},
        {"f.jsonl",
         "{\"prompt\":\"p\",\"completion\":\"c\"}\n{\"prompt\":[{\"role\":\"user\",\"content\":\"p\"}],\"completion\":["
         "{\"role\":\"assistant\",\"content\":\"c\"}]}",
         ROW_PROMPT_COMPLETION,
         2,
         {"u:p|a:c|", "u:p|a:c|"}},
        {"g.csv",
         "instruction,input,output\r\n\"say \"\"hi\"\"\",,\"a,b\nc\"\r\n\r\nx,y,z",
         ROW_ALPACA,
         2,
         {"u:say \"hi\"|a:a,b\nc|", "u:x\ny|a:z|"}},
        {"h.jsonl",
         "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\","
         "\"text\":\"b\"}]}]}",
         ROW_MESSAGES,
         1,
         {"u:ab|"}},
        {"i.csv", "\xef\xbb\xbftext\n\xc3\xa9\n\"\"\nq", ROW_TEXT, 3, {"a:\xc3\xa9|", "a:|", "a:q|"}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct err e = {0};
        struct rows rows;
        size_t n = 0;
        enum row_format found = ROW_AUTO;
        const char *path = file(cases[i].name, str_of(cases[i].text));
        if (rows_read(path, ROW_AUTO, 0, SIZE_MAX, &rows, &e) < 0 || rows_peek(path, ROW_AUTO, &n, &found, &e) < 0)
            fail_msg("%s", e.msg);
        assert_int_equal(rows.format, cases[i].format);
        assert_int_equal(found, cases[i].format);
        assert_int_equal(rows.n, cases[i].n);
        assert_int_equal(n, cases[i].n);
        for (size_t k = 0; k < rows.n; k++)
            assert_string_equal(row_string(&rows.v[k]), cases[i].rows[k]);
        assert_int_equal(rows.v[0].plain, cases[i].format == ROW_TEXT);
        rows_release(&rows);
    }
}

static void choosing(void **state)
{
    struct err e = {0};
    struct rows rows;
    struct buf b = {0};
    (void)state;
    for (int i = 0; i < 200; i++)
        buf_printf(&b, "{\"text\":\"%d\",\"id\":%s%d%s}\n", i, i % 2 ? "\"" : "", i, i % 2 ? "\"" : "");
    buf_puts(&b, "not JSON\n");
    const char *path = file("many.jsonl", buf_view(&b));
    assert_int_equal(rows_read(path, ROW_AUTO, 190, 10, &rows, &e), 0); /* the bad line is beyond them */
    assert_int_equal(rows.n, 10);
    assert_string_equal(row_string(&rows.v[9]), "a:199|");
    assert_string_equal(rows.v[8].id, "198");
    assert_string_equal(rows.v[9].id, "199");
    assert_int_equal(js_int(js_get(rows.v[8].source, "id"), 0), 198);
    rows_release(&rows);
    assert_int_equal(rows_read(path, ROW_AUTO, 190, 11, &rows, &e), ERR_INPUT);
    assert_non_null(strstr(e.msg, "many.jsonl:201:"));
    path = file("few.jsonl", STR("{\"text\":\"a\"}\n"));
    assert_int_equal(rows_read(path, ROW_AUTO, 1, 1, &rows, &e), ERR_INPUT);
    assert_non_null(strstr(e.msg, "1 rows"));
    assert_int_equal(rows_read(path, ROW_AUTO, 0, 0, &rows, &e), ERR_INPUT);
    buf_release(&b);
}

static void mistakes(void **state)
{
    static const struct {
        const char *name, *text;
        size_t n; /* 0: strlen */
        int code;
        const char *place, *part;
    } cases[] = {
        {"a.parquet", "PAR1", 0, ERR_UNSUPPORTED, "a.parquet", "to_json"},
        {"a.jsonl.gz", "x", 0, ERR_UNSUPPORTED, "a.jsonl.gz", "gunzip"},
        {"gz.jsonl", "\x1f\x8b\x08", 3, ERR_UNSUPPORTED, "gz.jsonl", "gunzip"},
        {"utf16.jsonl", "\xff\xfe{\0", 4, ERR_UNSUPPORTED, "utf16.jsonl", "iconv"},
        {"empty.jsonl", "", 0, ERR_INPUT, "empty.jsonl", "no rows"},
        {"blank.jsonl", " \n\n\r\n", 0, ERR_INPUT, "blank.jsonl", "no rows"},
        {"none.json", "[]", 0, ERR_INPUT, "none.json", "no rows"},
        {"head.csv", "text\n", 0, ERR_INPUT, "head.csv", "no rows"},
        {"words.txt", "hello", 0, ERR_INPUT, "words.txt", ".csv"},
        {"syntax.jsonl", "{\"text\":\"a\"}\n\n{\"text\":b}\n", 0, ERR_INPUT,
         "syntax.jsonl:3:", "one whole object a line"},
        {"pretty.jsonl", "{\n\"text\":\"a\"\n}\n", 0, ERR_INPUT, "pretty.jsonl:1:", "one whole object a line"},
        {"latin1.jsonl", "{\"text\":\"a\"}\n{\"text\":\"\xe9\"}\n", 0, ERR_INPUT,
         "latin1.jsonl:2:", "UTF-8 at byte 10"},
        {"latin1.csv", "text\na\n\xe9\n", 0, ERR_INPUT, "latin1.csv:3:", "UTF-8"},
        {"keys.jsonl", "{\"question\":\"a\",\"answer\":\"b\"}\n", 0, ERR_INPUT, "keys.jsonl:1:", "question, answer"},
        {"list.jsonl", "{\"text\":\"a\"}\n[1]\n", 0, ERR_INPUT, "list.jsonl:2:", "a list"},
        {"mixed.jsonl", "{\"text\":\"a\"}\n{\"messages\":[]}\n", 0, ERR_INPUT, "mixed.jsonl:2:", "format messages"},
        {"role.jsonl", "{\"messages\":[{\"role\":\"boss\",\"content\":\"a\"}]}\n", 0, ERR_INPUT,
         "role.jsonl:1:", "boss"},
        {"call.jsonl", "{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"1\"}]}]}\n", 0, ERR_INPUT, "call.jsonl:1:", "a call with a \"name\""},
        {"calls.jsonl", "{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":3}]}\n", 0, ERR_INPUT, "calls.jsonl:1:", "\"tool_calls\" should be a list"},
        {"called.jsonl", "{\"conversations\":[{\"from\":\"function_call\",\"value\":\"add(1)\"}]}\n", 0, ERR_INPUT, "called.jsonl:1:", "\"value\" should be JSON"},
        {"silent.jsonl", "{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[]}]}\n", 0, ERR_INPUT, "silent.jsonl:1:", "\"content\" should be a string"},
        {"null.jsonl", "{\"messages\":[{\"role\":\"user\",\"content\":null}]}\n", 0, ERR_INPUT,
         "null.jsonl:1:", "found null"},
        {"image.jsonl", "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image\"}]}]}\n", 0, ERR_UNSUPPORTED,
         "image.jsonl:1:", "image"},
        {"nomsg.jsonl", "{\"messages\":[]}\n", 0, ERR_INPUT, "nomsg.jsonl:1:", "empty list"},
        {"turn.jsonl", "{\"messages\":[\"a\"]}\n", 0, ERR_INPUT, "turn.jsonl:1:", "turn 1"},
        {"hist.jsonl", "{\"instruction\":\"a\",\"output\":\"b\",\"history\":[[\"x\"]]}\n", 0, ERR_INPUT,
         "hist.jsonl:1:", "[question, answer]"},
        {"tools.jsonl", "{\"conversations\":[{\"from\":\"human\",\"value\":\"q\"}],\"tools\":\"[]x\"}\n", 0,
         ERR_INPUT, "tools.jsonl:1:", "the text of \"tools\" should be JSON"},
        {"text.json", "[{\"text\":\"a\"},{\"text\":1}]", 0, ERR_INPUT, "text.json: row 2:", "a number"},
        {"open.csv", "text\n\"a\nb", 0, ERR_INPUT, "open.csv:2:", "closing quote"},
        {"quote.csv", "text\n\"a\"b\n", 0, ERR_INPUT, "quote.csv:2:", "closing quote"},
        {"width.csv", "text,b\na,b\nc\n", 0, ERR_INPUT, "width.csv:3:", "1 fields"},
        {"twice.csv", "text,text\na,b\n", 0, ERR_INPUT, "twice.csv:1:", "two columns"},
        {"noname.csv", "text,\na,b\n", 0, ERR_INPUT, "noname.csv:1:", "column 2"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct err e = {0};
        struct rows rows;
        struct str text = {cases[i].text, cases[i].n ? cases[i].n : strlen(cases[i].text)};
        int rc = rows_read(file(cases[i].name, text), ROW_AUTO, 0, SIZE_MAX, &rows, &e);
        const char *place = strstr(e.msg, cases[i].place);
        if (rc != cases[i].code || !place || !strstr(place, cases[i].part))
            fail_msg("%s: code %d, message %s", cases[i].name, rc, e.msg);
        assert_int_equal(rows.n, 0);
    }
    struct err e = {0};
    struct rows rows;
    assert_int_equal(rows_read("/nonexistent.jsonl", ROW_AUTO, 0, SIZE_MAX, &rows, &e), ERR_NOTFOUND);
    assert_int_equal(rows_read(file("a.jsonl", STR("{\"text\":\"a\"}")), ROW_ALPACA, 0, SIZE_MAX, &rows, &e),
                     ERR_INPUT);
    assert_non_null(strstr(e.msg, "alpaca"));
}

static const char *text_of(const struct js *j)
{
    static struct buf b;
    buf_clear(&b);
    js_write_ordered(&b, j);
    return b.p ? b.p : "";
}

/* Tools, their calls and answers, in every form, become OpenAI's; as text and back they stay the same, keys in their order. */
static void tools(void **state)
{
    static const char list[] = "[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":\"d\"}}]";
    static const char call[] = "[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":{\"z\":1,\"a\":\"b\"}}}]";
    static const char with_id[] = "[{\"id\":\"1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":{\"z\":1,\"a\":\"b\"}}}]";
    static const struct {
        const char *text, *roles, *calls;
    } cases[] = {
        {"{\"tools\":[{\"name\":\"f\",\"description\":\"d\"}],\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":null,"
         "\"tool_calls\":[{\"id\":\"1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"z\\\":1,\\\"a\\\":\\\"b\\\"}\"}}]},"
         "{\"role\":\"tool\",\"tool_call_id\":\"1\",\"content\":\"r\"},{\"role\":\"assistant\",\"content\":\"a\"}]}", "u:q|a:|t:r|a:a|", with_id},
        {"{\"tools\":\"[{\\\"name\\\":\\\"f\\\",\\\"description\\\":\\\"d\\\"}]\",\"conversations\":[{\"from\":\"human\",\"value\":\"q\"},"
         "{\"from\":\"function_call\",\"value\":\"{\\\"name\\\":\\\"f\\\",\\\"arguments\\\":{\\\"z\\\":1,\\\"a\\\":\\\"b\\\"}}\"},"
         "{\"from\":\"observation\",\"value\":\"r\"},{\"from\":\"gpt\",\"value\":\"a\"}]}", "u:q|a:|t:r|a:a|", call},
        {"{\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":\"d\"}}],\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\","
         "\"function_call\":{\"name\":\"f\",\"arguments\":\"{\\\"z\\\":1,\\\"a\\\":\\\"b\\\"}\"}},{\"role\":\"function\",\"name\":\"f\",\"content\":\"r\"}]}", "u:q|a:|t:r|", call},
    };
    (void)state;
    for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
        struct err e = {0};
        struct rows rows;
        struct js *source = js_parse(str_of(cases[i / 2].text), "row", &e), *text = i % 2 ? tools_as_text(source) : js_ref(source);
        struct buf line = {0};
        js_write(&line, text); /* sorts what is not text */
        assert_int_equal(rows_read(file("t.jsonl", i % 2 ? buf_view(&line) : str_of(cases[i / 2].text)), ROW_AUTO, 0, SIZE_MAX, &rows, &e), 0);
        assert_string_equal(row_string(&rows.v[0]), cases[i / 2].roles);
        assert_true(row_uses_tools(&rows.v[0]));
        assert_string_equal(text_of(rows.v[0].tools), list);
        assert_string_equal(text_of(rows.v[0].messages[1].calls), cases[i / 2].calls);
        assert_null(rows.v[0].messages[0].calls);
        rows_release(&rows);
        buf_release(&line);
        js_free(source);
        js_free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(formats), cmocka_unit_test(choosing), cmocka_unit_test(tools),
                                       cmocka_unit_test(mistakes)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
