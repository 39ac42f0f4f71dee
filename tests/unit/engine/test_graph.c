/* SPDX-License-Identifier: MIT
 * Loading a graph: nodes, parameters, inputs, types, infer, selection, size. */
#include "engine/graph.h"

#include <time.h>

#include "engine/op_private.h"
#include "toys.h"

static void test_small(void **state)
{
    (void)state;
    struct loaded l = toy_good(HEAD "  c: {op: join, inputs: {first: a, rest: [b, a]}, doc: the sum}\n"
                                    "  a: {op: number, params: {value: 2}}\n"
                                    "  b: {op: number, params: {value: 3}}\n");
    assert_string_equal(toy_ids(&l), "a b c");
    const struct node *c = &l.g->nodes[2];
    assert_string_equal(c->doc, "the sum");
    assert_int_equal(c->n_edges, 3);
    assert_int_equal(c->edges[0].from, 0);
    assert_int_equal(c->edges[1].from, 1);
    assert_int_equal(c->edges[2].from, 0);
    assert_int_equal(c->edges[1].port, 1);
    assert_int_equal(js_int(js_get(c->out[0], "value"), 0), 7);
    assert_string_equal(js_cstr(js_get(c->out[0], "type")), "number");
    assert_int_equal(c->at.line, 3);
    assert_int_equal(graph_find(l.g, "b"), 1);
    assert_int_equal(graph_find(l.g, "x"), -1);
    assert_int_equal(node_port(c, NULL), 0);
    assert_int_equal(node_port(c, "out"), 0);
    assert_int_equal(node_port(c, "in"), -1);
    assert_string_equal(l.g->name, "spec");
    toy_free(&l);
}

static void test_accessors(void **state)
{
    (void)state;
    struct loaded l = toy_good(HEAD "  a: {op: number, params: {value: 1_000, scale: 3e-4, mode: fancy, tags: [x, y], sizes: 7, memory: 16GiB,\n"
                                    "      time: 30min, extra: {k: [1, two, 0.5, null, true, \"5\"]}, flag: true, file: data/x.txt}}\n"
                                    "  b: {op: number}\n");
    const struct op_args *a = &l.g->nodes[0].args, *b = &l.g->nodes[1].args;
    assert_int_equal(op_int(a, "value"), 1000);
    assert_true(op_float(a, "scale") == 3e-4);
    assert_string_equal(op_str(a, "mode"), "fancy");
    assert_int_equal(op_count(a, "tags"), 2);
    assert_string_equal(op_str_at(a, "tags", 1), "y");
    assert_null(op_str_at(a, "tags", 2));
    assert_int_equal(op_count(a, "sizes"), 1);
    assert_int_equal(op_int_at(a, "sizes", 0), 7);
    assert_int_equal(op_int(a, "memory"), (int64_t)16 << 30);
    assert_true(op_float(a, "time") == 1800);
    assert_true(op_bool(a, "flag"));
    const struct js *k = js_get(op_map(a, "extra"), "k");
    assert_int_equal(js_len(k), 6);
    assert_int_equal(js_kind(js_at(k, 5)), JS_STRING);
    assert_int_equal(js_kind(js_at(k, 3)), JS_NULL);
    assert_true(op_str(a, "file")[0] == '/');
    assert_true(strstr(op_str(a, "file"), "/data/x.txt") != NULL);
    assert_false(op_is_set(a, "limit"));
    assert_true(op_is_given(a, "value"));
    assert_int_equal(op_int(b, "value"), 1);
    assert_true(op_is_set(b, "value"));
    assert_false(op_is_given(b, "value"));
    assert_int_equal(op_count(b, "sizes"), 2);
    assert_null(op_map(b, "extra"));
    assert_null(op_str(b, "nonsense"));
    assert_false(op_is_set(b, "nonsense"));
    assert_null(op_input(b, "nonsense"));
    toy_free(&l);
}

static void test_sources(void **state)
{
    (void)state;
    struct op_sources s = {0};
    for (int i = 0; i < 20; i++)
        assert_int_equal(op_source(&s, "config.json", "/a/b"), 0);
    assert_int_equal(s.n, 20);
    assert_string_equal(s.v[19].label, "config.json");
    assert_string_equal(s.v[19].path, "/a/b");
    op_sources_release(&s);
    assert_true(port_types_meet("a|b", "c|b"));
    assert_false(port_types_meet("a|b", "ab"));
    assert_true(port_types_meet("model", "model|adapter"));
}

static void test_errors(void **state)
{
    (void)state;
    BAD(HEAD "  a: {op: numbr}\n", "unknown operator \"numbr\"", "did you mean \"number\"?", ":3:11: error");
    BAD(HEAD "  a: {op: number, params: {valu: 3}}\n", "unknown parameter \"valu\" of number", "did you mean \"value\"?", ":3:28: error");
    BAD(HEAD "  a: {op: number, params: {num_epochs: 3}}\n",
        "unknown parameter \"num_epochs\" of number (axolotl's name); here it is \"num_train_epochs\"");
    BAD(HEAD "  a: {op: number, params: {value: many}}\n", "parameter value of a (number): expected integer from -1000 to 100000, found text \"many\"");
    BAD(HEAD "  a: {op: number, params: {value: 100001}}\n", "found number \"100001\"");
    BAD(HEAD "  a: {op: number, params: {mode: fancey}}\n", "one of plain, fancy, odd", "did you mean \"fancy\"?");
    BAD(HEAD "  a: {op: number, params: {flag: yes}}\n", "true or false");
    BAD(HEAD "  a: {op: text}\n", "the parameter \"text\" of text is missing", "what to say");
    BAD(HEAD "  a: {op: number}\n  b: {op: join, inputs: {frist: a}}\n", "unknown input \"frist\" of join", "did you mean \"first\"?");
    BAD(HEAD "  a: {op: number}\n  b: {op: join, inputs: {first: aa, rest: a}}\n", "there is no node \"aa\"", ":4:33: error");
    BAD(HEAD "  alpha: {op: number}\n  b: {op: join, inputs: {first: alpah}}\n", "did you mean \"alpha\"?");
    BAD(HEAD "  a: {op: number}\n  b: {op: join, inputs: {first: a.oot}}\n", "a (number) has no output \"oot\"", "did you mean \"a.out\"?");
    BAD(HEAD "  a: {op: number}\n  b: {op: join}\n", "node b: the input \"first\" of join is missing", "nodes that give one: a");
    BAD(HEAD "  a: {op: sink, inputs: {in: b}}\n  b: {op: number, inputs: {first: a}}\n", "it has no inputs");
    BAD(HEAD "  a: {op: number}\n  s: {op: sink, inputs: {in: a}}\n  b: {op: join, inputs: {first: s}}\n", "s (sink) has no outputs");
    BAD(HEAD "  a: {op: number, value: 3}\n", "unknown key \"value\" in node a", "stands under params: {value: ...}");
    BAD(HEAD "  a: {op: number}\n  b: {op: join, first: a}\n", "an input of join stands under inputs");
    BAD(HEAD "  a: {opp: number}\n", "node a has no op", "unknown key \"opp\"", "did you mean \"op\"?");
    BAD(HEAD "  a: [1, 2]\n", "a node must be a mapping, not a list");
    BAD(HEAD "  a.b: {op: number}\n", "cannot be the name of a node");
    BAD(HEAD "  a: {op: number}\n  b: {op: join, inputs: {first: [a, a]}}\n", "takes one node, not 2");
    BAD(HEAD "  a: {op: number}\n  b: {op: join, inputs: {first: {x: a}}}\n", "an input is the name of a node, not a mapping");
    BAD(HEAD "  t: {op: text, params: {text: hi, measure: false}}\n  b: {op: table, inputs: {of: t.metrics}}\n",
        "t (text) does not produce its output \"metrics\" with these parameters", ":4:31: error");
    BAD("pkgraph: 1\n", "the spec has no nodes");
    BAD("", "the file is empty");
    BAD("pkgraph: 2\nnodes: {a: {op: number}}\n", "reads version 1");
    BAD("nodes: {a: {op: number}}\n", "version of the language is missing");
    BAD("pkgraph: 1\nnodez: {a: {op: number}}\n", "unknown key \"nodez\" in a spec", "did you mean \"nodes\"?");
    BAD("[1]\n", "a spec is a mapping");
}

static void test_types(void **state)
{
    (void)state;
    BAD(HEAD "  t: {op: text, params: {text: hi}}\n  a: {op: number}\n  s: {op: sink, inputs: {in: t}}\n",
        "the input \"in\" of sink takes a number, but \"t\" gives a text", "spec.yaml:5:30: error", "spec.yaml:3:3: t (text) is here",
        "nodes that give one: a");
    BAD(HEAD "  t: {op: text, params: {text: hi}}\n  j: {op: join, inputs: {first: t}}\n  s: {op: sink, inputs: {in: j}}\n",
        "takes number, but \"j\" gives text here", "spec.yaml:5:30: error");
    BAD(HEAD "  t: {op: text, params: {text: hi, measure: false}}\n  j: {op: join, inputs: {first: t, note: t.metrics}}\n", "takes a text, but \"t.metrics\" gives a metrics");
    struct loaded l = toy_good(HEAD "  t: {op: text, params: {text: hi}}\n  j: {op: join, inputs: {first: t}}\n");
    assert_string_equal(js_cstr(js_get(l.g->nodes[1].out[0], "type")), "text");
    toy_free(&l);
}

static void test_infer(void **state)
{
    (void)state;
    BAD(HEAD "  a: {op: number, params: {value: 13}}\n", "a (number): 13 is not allowed", ":3:35: error");
    BAD(HEAD "  a: {op: number, params: {value: 7}}\n  j: {op: join, inputs: {first: a, rest: [a]}, params: {most: 10}}\n",
        "j (join): the sum 14 is more than 10", ":4:43: error");
    BAD("pkgraph: 1\nvars: {n: 13}\nnodes:\n  a: {op: number, params: {value: \"${n}\"}}\n", "13 is not allowed", ":2:11: error",
        "spec.yaml:4:35: \"${n}\" is used here");
    /* downstream of a bad node nobody is asked */
    toy_infers = 0;
    struct loaded l = toy_load(HEAD "  a: {op: number, params: {value: 13}}\n  j: {op: join, inputs: {first: a}}\n");
    assert_int_equal(toy_infers, 1);
    assert_int_equal(diags_errors(l.d), 1);
    assert_string_equal(strrchr(l.e.msg, ':'), ": 1 error");
    toy_free(&l);
}

static void test_circles(void **state)
{
    (void)state;
    BAD(HEAD "  a: {op: join, inputs: {first: b}}\n  b: {op: join, inputs: {first: c}}\n  c: {op: join, inputs: {first: a}}\n",
        "nodes in a circle: a -> b -> c -> a");
    BAD(HEAD "  a: {op: join, inputs: {first: a}}\n", "nodes in a circle: a -> a");
}

static void test_all_at_once(void **state)
{
    (void)state;
    struct loaded l = toy_load(HEAD "  a: {op: number, params: {valu: 1, mode: x, value: y}}\n  b: {op: nope}\n  c: {op: join, inputs: {first: b, rest: d}}\n");
    assert_int_equal(diags_errors(l.d), 5);
    for (size_t i = 1; i < diags_count(l.d); i++)
        assert_true(diags_at(l.d, i - 1)->at.line <= diags_at(l.d, i)->at.line);
    toy_free(&l);
}

static void test_only(void **state)
{
    (void)state;
    const char *spec = HEAD "  a: {op: number}\n  b: {op: join, inputs: {first: a}}\n  c: {op: join, inputs: {first: b}}\n  d: {op: number}\n";
    struct loaded l = toy_load_with(spec, (struct graph_options){.only = (const char *const[]){"b"}, .n_only = 1});
    assert_string_equal(toy_ids(&l), "a b");
    toy_free(&l);
    l = toy_load_with(spec, (struct graph_options){.only = (const char *const[]){"d", "c"}, .n_only = 2});
    assert_string_equal(toy_ids(&l), "a b c d");
    toy_free(&l);
    l = toy_load_with(spec, (struct graph_options){.only = (const char *const[]){"e"}, .n_only = 1});
    assert_int_equal(l.rc, ERR_INPUT);
    assert_non_null(strstr(l.text.p, "there is no node \"e\""));
    toy_free(&l);
}

static void test_missing_file(void **state)
{
    (void)state;
    toy_write("x", "");
    struct loaded l = toy_load_file("nowhere.yaml", (struct graph_options){0});
    assert_int_equal(l.rc, ERR_INPUT);
    assert_non_null(strstr(l.text.p, "nowhere.yaml"));
    toy_free(&l);
    l = toy_load_file(".", (struct graph_options){0});
    assert_int_equal(l.rc, ERR_INPUT);
    assert_non_null(strstr(l.text.p, "is a folder"));
    toy_free(&l);
}

static void test_unquoted(void **state)
{
    (void)state; /* the table decides the type, not YAML's guess */
    struct loaded l = toy_good(HEAD "  a: {op: text, params: {text: 1.10}}\n  b: {op: text, params: {text: no}}\n  c: {op: number, params: {value: \"12\"}}\n");
    assert_string_equal(op_str(&l.g->nodes[0].args, "text"), "1.10");
    assert_string_equal(op_str(&l.g->nodes[1].args, "text"), "no");
    assert_int_equal(op_int(&l.g->nodes[2].args, "value"), 12);
    toy_free(&l);
}

static void test_no_infer(void **state)
{
    (void)state;
    struct loaded l = toy_load_with(HEAD "  a: {op: number, params: {value: 13}}\n", (struct graph_options){.no_infer = true});
    assert_int_equal(l.rc, 0);
    assert_null(l.g->nodes[0].out[0]);
    toy_free(&l);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void test_long_chain(void **state)
{
    (void)state; /* depth must not be the machine stack's */
    struct buf b = {0};
    buf_puts(&b, HEAD);
    for (int i = 20000; i > 0; i--)
        buf_printf(&b, "  n%d: {op: join, inputs: {first: n%d}}\n", i, i - 1);
    buf_puts(&b, "  n0: {op: number}\n");
    struct loaded l = toy_good(b.p);
    assert_int_equal(l.g->n, 20001);
    assert_string_equal(l.g->nodes[0].id, "n0");
    toy_free(&l);
    buf_release(&b);
}

static void test_many_nodes(void **state)
{
    (void)state;
    const char *spec = "pkgraph: 1\nvars: {a: 1, b: 2}\nnodes:\n  base: {op: number}\n  x: {op: number, params: {value: \"${a}\"}}\n"
                       "  y: {op: join, inputs: {first: base, rest: x}, params: {most: \"${b}\"}}\n"
                       "sweep: {a: {from: 101, to: 200}, b: {from: 1000, to: 1099}}\n";
    double t = now();
    struct loaded l = toy_good(spec);
    t = now() - t;
    assert_int_equal(l.g->n, 1 + 100 + 10000);
    print_message("10101 nodes from a sweep: %.1f ms\n", t * 1e3);
    assert_true(t < 5); /* generous: sanitizers, a busy machine */
    toy_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small), cmocka_unit_test(test_accessors), cmocka_unit_test(test_sources), cmocka_unit_test(test_errors),
        cmocka_unit_test(test_types), cmocka_unit_test(test_infer), cmocka_unit_test(test_circles), cmocka_unit_test(test_all_at_once),
        cmocka_unit_test(test_only), cmocka_unit_test(test_missing_file), cmocka_unit_test(test_unquoted), cmocka_unit_test(test_no_infer),
        cmocka_unit_test(test_long_chain), cmocka_unit_test(test_many_nodes),
    };
    return cmocka_run_group_tests(tests, NULL, toy_cleanup);
}
