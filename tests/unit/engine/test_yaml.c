/* SPDX-License-Identifier: MIT
 * The YAML tree: places, anchors, merge keys, refusals, bombs. */
#include "engine/yaml.h"

#include "toys.h"

struct parsed {
    struct arena a;
    struct diags *d;
    const struct ynode *y;
    int rc;
    struct buf text;
};

static struct parsed parse(const char *text)
{
    struct parsed p = {.d = diags_new()};
    diags_add_source(p.d, "t.yaml", str_of(text));
    p.rc = yaml_parse(str_of(text), "t.yaml", &p.a, p.d, &p.y);
    diags_print(p.d, false, &p.text);
    return p;
}

static void done(struct parsed *p)
{
    diags_free(p->d);
    arena_release(&p->a);
    buf_release(&p->text);
}

static void refused(const char *text, const char *piece)
{
    struct parsed p = parse(text);
    assert_int_equal(p.rc, ERR_INPUT);
    if (!p.text.p || !strstr(p.text.p, piece))
        print_error("missing: %s\nin: %s", piece, p.text.p ? p.text.p : "(nothing)\n");
    assert_true(p.text.p && strstr(p.text.p, piece));
    done(&p);
}

static void is_json(const char *text, const char *json)
{
    struct parsed p = parse(text);
    struct buf b = {0};
    assert_int_equal(p.rc, 0);
    struct js *j = ynode_json(p.y);
    js_write(&b, j);
    assert_string_equal(b.p, json);
    js_free(j);
    buf_release(&b);
    done(&p);
}

static void test_places(void **state)
{
    (void)state;
    struct parsed p = parse("a: 1\nbé: {c: [x, \"y z\"]}\n");
    assert_int_equal(p.rc, 0);
    const struct ypair *b = ynode_pair(p.y, STR("bé"));
    assert_int_equal(b->at.line, 2);
    assert_int_equal(b->at.column, 1);
    assert_int_equal(b->at.length, 2); /* characters, not bytes */
    const struct ynode *c = ynode_get(b->value, "c");
    assert_int_equal(c->at.column, 9);
    assert_int_equal(c->at.length, 10);
    assert_int_equal(c->v[1]->at.column, 13);
    assert_int_equal(c->v[1]->at.length, 5);
    assert_false(c->v[1]->plain);
    assert_true(c->v[0]->plain);
    assert_null(ynode_get(c, "x"));
    assert_null(ynode_get(NULL, "x"));
    done(&p);
}

static void test_scalars(void **state)
{
    (void)state;
    is_json("[true, True, false, null, ~, 3, -4, 0.5, 3e-4, 1e3, \"3\", 'true', text, 1_000, yes, no, 0x10, .5, 1.2.3]",
            "[true,true,false,null,null,3,-4,0.5,0.0003,1000.0,\"3\",\"true\",\"text\",1000,\"yes\",\"no\",\"0x10\",0.5,\"1.2.3\"]");
}

static void test_merge(void **state)
{
    (void)state;
    is_json("x: &x {a: 1, b: 2}\ny: &y {b: 3, c: 4}\nz: {<<: *x, a: 9}\nw: {<<: [*x, *y], d: 5}\nv: {d: 1, <<: {e: 2}}\nq: {\"<<\": 1}",
            "{\"q\":{\"<<\":1},\"v\":{\"d\":1,\"e\":2},\"w\":{\"a\":1,\"b\":2,\"c\":4,\"d\":5},\"x\":{\"a\":1,\"b\":2},\"y\":{\"b\":3,\"c\":4},\"z\":{\"a\":9,\"b\":2}}");
    refused("a: {<<: 3}", "a merge key takes a mapping, not a number");
    refused("x: &x {a: 1}\ny: {<<: *x, <<: *x}", "the merge key stands here twice");
}

static void test_refused(void **state)
{
    (void)state;
    refused("a: 1\nb: 2\na: 3\n", "t.yaml:3:1: error: the key \"a\" stands here twice (first in line 1)");
    refused("a: &a [1, *a]\n", "the alias *a stands inside the value that it names");
    refused("a: *b\n", "there is no anchor \"b\"");
    refused("a: 1\n---\nb: 2\n", "a second document starts here");
    refused("a: !python/object x\n", "the tag !python/object has no meaning here");
    refused("[1, 2]: 3\n", "a key must be text, not a list");
    refused("a: [1, 2\nb: 3\n", "t.yaml:2:2: error");
    refused("a: b: c\n", "mapping values are not allowed");
    refused("a: \"x\\0y\"\n", "NUL");
    refused("a: \xff\xfe\n", "UTF-8");
    refused("\tb: 1\n", "cannot start any token");
    is_json("--- {a: !!str 3, b: !!int 4}\n...\n", "{\"a\":\"3\",\"b\":4}");
    is_json("\xef\xbb\xbf" "a: 1\nb: 2\n", "{\"a\":1,\"b\":2}");
    is_json("a: &x 1\nb: &x 2\nc: *x\n", "{\"a\":1,\"b\":2,\"c\":2}");
    struct parsed p = parse("# nothing\n");
    assert_int_equal(p.rc, 0);
    assert_null(p.y);
    done(&p);
    p = parse("a: 1\na: 2\nb: *x\nb: !t 3\n"); /* one pass reports all */
    assert_int_equal(diags_errors(p.d), 4);
    done(&p);
}

static void test_bombs(void **state)
{
    (void)state;
    struct buf b = {0};
    buf_puts(&b, "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for (int i = 1; i < 20; i++) {
        buf_printf(&b, "a%d: &a%d [", i, i);
        for (int k = 0; k < 10; k++)
            buf_printf(&b, "%s*a%d", k ? ", " : "", i - 1);
        buf_puts(&b, "]\n");
    }
    refused(b.p, "when its aliases are written out");
    buf_clear(&b);
    for (int i = 0; i < 100; i++)
        buf_putc(&b, '[');
    refused(b.p, "more than 64 levels");
    buf_clear(&b);
    for (int i = 0; i < 100; i++)
        buf_printf(&b, "%*sk:\n", i, "");
    refused(b.p, "more than 64 levels");
    buf_clear(&b);
    for (int i = 0; i < YAML_BYTES / 2; i++)
        buf_puts(&b, "a\n\n");
    refused(b.p, "more than 33554432 bytes");
    buf_release(&b);
}

static void test_large(void **state)
{
    (void)state; /* ten thousand keys: no quadratic search for duplicates */
    struct buf b = {0};
    for (int i = 0; i < 50000; i++)
        buf_printf(&b, "key%d: {op: x, params: {v: %d}}\n", i, i);
    struct parsed p = parse(b.p);
    assert_int_equal(p.rc, 0);
    assert_int_equal(p.y->n, 50000);
    assert_int_equal(p.y->weight, 1 + 50000 * 4);
    done(&p);
    buf_release(&b);
}

static void test_equal(void **state)
{
    (void)state;
    struct parsed p = parse("[{a: [1, x]}, {a: [1, x]}, {a: [1, \"x\"]}, {b: [1, x]}, [1], 1]");
    assert_true(ynode_equal(p.y->v[0], p.y->v[1]));
    for (int i = 2; i < 6; i++)
        assert_false(ynode_equal(p.y->v[0], p.y->v[i]));
    assert_false(ynode_equal(p.y->v[0], NULL));
    assert_true(ynode_equal(NULL, NULL));
    assert_string_equal(ynode_kind_name(p.y->v[5]), "number");
    done(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places), cmocka_unit_test(test_scalars), cmocka_unit_test(test_merge), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_bombs), cmocka_unit_test(test_large), cmocka_unit_test(test_equal),
    };
    return cmocka_run_group_tests(tests, NULL, toy_cleanup);
}
