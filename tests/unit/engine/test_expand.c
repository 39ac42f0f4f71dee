/* SPDX-License-Identifier: MIT
 * Variables, defaults, extends, merge keys, variants, sweep, --set. */
#include "engine/expand.h"

#include "toys.h"

static int64_t value_of(const struct loaded *l, const char *id, const char *param)
{
    int i = graph_find(l->g, id);
    if (i < 0)
        print_error("no node %s in: %s\n", id, toy_ids(l));
    assert_true(i >= 0);
    return op_int(&l->g->nodes[i].args, param);
}

static struct loaded with_sets(const char *text, const char *a, const char *b)
{
    const char *sets[] = {a, b};
    return toy_load_with(text, (struct graph_options){.sets = sets, .n_sets = b ? 2 : 1});
}

static void bad_set(const char *text, const char *set, const char *piece)
{
    struct loaded l = with_sets(text, set, NULL);
    assert_int_equal(l.rc, ERR_INPUT);
    if (!strstr(l.text.p, piece))
        print_error("missing: %s\nin:\n%s", piece, l.text.p);
    assert_non_null(strstr(l.text.p, piece));
    toy_free(&l);
}

/* ---- variables ---- */

static void test_vars(void **state)
{
    (void)state;
    setenv("TOY_HOME", "/home/toy", 1);
    setenv("TOY_NUMBER", "77", 1);
    struct loaded l = toy_good("pkgraph: 1\n"
                               "vars: {n: 5, m: \"${n}\", list: [3, \"${n}\"], dir: data, who: a, whole: {op: number, params: {value: 9}}, none: }\n"
                               "nodes:\n"
                               "  a: {op: number, params: {value: \"${m}\", sizes: \"${list}\", file: \"${dir}/x${n}.txt\", extra: {k: \"${n}\", t: \"v${n}\"}}}\n"
                               "  b: {op: join, inputs: {first: \"${who}\", rest: [\"${who}\", \"${who}.out\"]}}\n"
                               "  t: {op: text, params: {text: \"$${n} ${env:TOY_HOME} $ {x} $5 ${ n }\"}}\n"
                               "  w: \"${whole}\"\n"
                               "  e: {op: number, params: {value: \"${env:TOY_NUMBER}\"}}\n");
    assert_int_equal(value_of(&l, "a", "value"), 5);
    const struct op_args *a = &l.g->nodes[graph_find(l.g, "a")].args;
    assert_int_equal(op_count(a, "sizes"), 2);
    assert_int_equal(op_int_at(a, "sizes", 1), 5);
    assert_true(str_ends(str_of(op_str(a, "file")), "/data/x5.txt"));
    assert_int_equal(js_kind(js_get(op_map(a, "extra"), "k")), JS_INT);
    assert_string_equal(js_cstr(js_get(op_map(a, "extra"), "t")), "v5");
    assert_int_equal(l.g->nodes[graph_find(l.g, "b")].n_edges, 3);
    assert_string_equal(op_str(&l.g->nodes[graph_find(l.g, "t")].args, "text"), "${n} /home/toy $ {x} $5 5");
    assert_int_equal(value_of(&l, "w", "value"), 9);
    assert_int_equal(value_of(&l, "e", "value"), 77);
    toy_free(&l);
}

static void test_bad_vars(void **state)
{
    (void)state;
    BAD("pkgraph: 1\nvars: {rank: 1}\nnodes: {a: {op: number, params: {value: \"${rnak}\"}}}\n", "unknown variable \"rnak\"", "did you mean \"${rank}\"?", ":3:41");
    BAD("pkgraph: 1\nvars: {a: \"${b}\", b: \"x${c}\", c: \"${a}\"}\nnodes: {a: {op: number, params: {value: \"${a}\"}}}\n", "variables in a circle: a -> b -> c -> a");
    BAD("pkgraph: 1\nvars: {a: \"${a}\"}\nnodes: {a: {op: number}}\n", "variables in a circle: a -> a");
    BAD("pkgraph: 1\nvars: {a: }\nnodes: {a: {op: number, params: {value: \"${a}\"}}}\n", "the variable \"a\" has no value", "--set a=VALUE");
    BAD("pkgraph: 1\nvars: {a: [1]}\nnodes: {a: {op: text, params: {text: \"x ${a}\"}}}\n", "the variable \"a\" is a list; it cannot stand inside text");
    BAD("pkgraph: 1\nvars: {a: 1}\nnodes: {a: {op: text, params: {text: \"x ${a\"}}}\n", "\"${\" without \"}\"");
    BAD("pkgraph: 1\nvars: {a b: 1}\nnodes: {a: {op: number}}\n", "cannot be the name of a variable");
    BAD("pkgraph: 1\nnodes: {a: {op: text, params: {text: \"${env:TOY_NOT_THERE}\"}}}\n", "the environment has no TOY_NOT_THERE");
    BAD("pkgraph: 1\nvars: 5\nnodes: {a: {op: number}}\n", "vars must be a mapping, not a number");
    BAD("pkgraph: 1\nvars: {v: many}\nnodes: {a: {op: number, params: {value: \"${v}\"}}}\n", "spec.yaml:2:11: error", "found text \"many\"",
        "spec.yaml:3:41: \"${v}\" is used here");
}

static void test_long_vars(void **state)
{
    (void)state; /* chains and doublings end in an error, not in a crash */
    struct buf b = {0};
    buf_puts(&b, "pkgraph: 1\nvars:\n  v0: 1\n");
    for (int i = 1; i < 5000; i++)
        buf_printf(&b, "  v%d: \"${v%d}\"\n", i, i - 1);
    buf_puts(&b, "nodes: {a: {op: number, params: {value: \"${v4999}\"}}}\n");
    struct loaded l = toy_load(b.p); /* in order of the file every chain is short when it is met */
    toy_free(&l);
    buf_clear(&b);
    buf_puts(&b, "pkgraph: 1\nvars:\n");
    for (int i = 5000; i > 0; i--)
        buf_printf(&b, "  v%d: \"${v%d}\"\n", i, i - 1);
    buf_puts(&b, "  v0: 1\nnodes: {a: {op: number, params: {value: \"${v5000}\"}}}\n");
    BAD(b.p, "more than 64 variables use each other in a row");
    buf_clear(&b);
    buf_puts(&b, "pkgraph: 1\nvars:\n  v0: xxxxxxxxxx\n");
    for (int i = 1; i < 40; i++)
        buf_printf(&b, "  v%d: \"${v%d}${v%d}\"\n", i, i - 1, i - 1);
    buf_puts(&b, "nodes: {a: {op: text, params: {text: \"${v39}\"}}}\n");
    BAD(b.p, "longer than 65536 bytes after substitution");
    buf_clear(&b);
    buf_puts(&b, "pkgraph: 1\nvars:\n  v0: [1, 2]\n");
    for (int i = 1; i < 40; i++)
        buf_printf(&b, "  v%d: [\"${v%d}\", \"${v%d}\"]\n", i, i - 1, i - 1);
    buf_puts(&b, "nodes: {a: {op: number, params: {extra: {k: \"${v39}\"}}}}\n");
    BAD(b.p, "values after substitution");
    buf_release(&b);
}

/* ---- defaults, extends, anchors ---- */

static void test_defaults(void **state)
{
    (void)state;
    struct loaded l = toy_good("pkgraph: 1\nvars: {v: 4}\ndefaults: {number: {value: \"${v}\", scale: 2.5}}\n"
                               "nodes:\n  a: {op: number}\n  b: {op: number, params: {value: 6}}\n  c: {op: number, params: {value: null}}\n");
    assert_int_equal(value_of(&l, "a", "value"), 4);
    assert_int_equal(value_of(&l, "b", "value"), 6);
    assert_int_equal(value_of(&l, "c", "value"), 4);
    assert_true(op_float(&l.g->nodes[1].args, "scale") == 2.5);
    assert_true(op_is_given(&l.g->nodes[0].args, "value"));
    toy_free(&l);
    BAD("pkgraph: 1\ndefaults: {numbr: {value: 1}}\nnodes: {a: {op: number}}\n", "unknown operator \"numbr\" in defaults", "\"number\"");
    BAD("pkgraph: 1\ndefaults: {number: {valeu: 1}}\nnodes: {a: {op: text, params: {text: x}}}\n", "unknown parameter \"valeu\" of number", ":2:21: error");
    BAD("pkgraph: 1\ndefaults: {number: {value: x}}\nnodes: {a: {op: text, params: {text: x}}}\n", "parameter value of number: expected integer");
    BAD("pkgraph: 1\ndefaults: {number: 3}\nnodes: {a: {op: number}}\n", "the defaults of an operator must be a mapping");
}

static void test_extends(void **state)
{
    (void)state;
    struct err e;
    toy_write("spec.yaml", "");
    char *sub = fs_join(toy_dir, "sub");
    assert_int_equal(fs_mkdirs(sub, &e), 0);
    free(sub);
    toy_write("sub/base.yaml", "pkgraph: 1\nname: base\nvars: {n: 1, dir: here}\nnodes:\n  a: {op: number, params: {value: 3, scale: 2, file: x.txt}}\n"
                               "  b: {op: join, inputs: {first: a, rest: [a]}}\n  c: {op: number, params: {file: \"${dir}/y\"}}\n");
    toy_write("middle.yaml", "extends: sub/base.yaml\nname: middle\nnodes: {a: {params: {scale: null}}}\n");
    struct loaded l = toy_good("pkgraph: 1\nextends: middle.yaml\nvars: {dir: there}\nnodes:\n  a: {params: {value: 4}}\n  b: {inputs: {rest: null}}\n"
                               "  d: {op: number, params: {file: z}}\n");
    assert_string_equal(l.g->name, "middle");
    assert_string_equal(toy_ids(&l), "a b c d");
    assert_int_equal(value_of(&l, "a", "value"), 4);
    assert_true(op_float(&l.g->nodes[0].args, "scale") == 1);
    assert_int_equal(l.g->nodes[1].n_edges, 1);
    assert_true(str_ends(str_of(op_str(&l.g->nodes[0].args, "file")), "/sub/x.txt"));
    assert_false(str_ends(str_of(op_str(&l.g->nodes[2].args, "file")), "/sub/there/y")); /* the variable stands in spec.yaml */
    assert_true(str_ends(str_of(op_str(&l.g->nodes[2].args, "file")), "/there/y"));
    assert_false(str_ends(str_of(op_str(&l.g->nodes[3].args, "file")), "/sub/z"));
    toy_free(&l);

    toy_write("wrong.yaml", "pkgraph: 1\nnodes: {a: {op: nmuber}}\n");
    BAD("pkgraph: 1\nextends: wrong.yaml\n", "wrong.yaml:2:17: error: unknown operator \"nmuber\"", "spec.yaml:2:10: extended here");
    BAD("pkgraph: 1\nextends: nowhere.yaml\n", "spec.yaml:2:10: error", "nowhere.yaml");
    BAD("pkgraph: 1\nextends: spec.yaml\n", "extends itself");
    toy_write("x.yaml", "extends: y.yaml\n");
    toy_write("y.yaml", "extends: x.yaml\n");
    BAD("pkgraph: 1\nextends: x.yaml\n", "x.yaml extends itself");
    BAD("pkgraph: 1\nextends: {a: b}\n", "extends takes the path");
    BAD("pkgraph: 1\nextends: \"${x}\"\n", "extends takes a plain path");
    l = toy_good("extends: [sub/base.yaml, middle.yaml]\nnodes: {a: null, b: null}\n");
    assert_string_equal(toy_ids(&l), "c");
    toy_free(&l);
    BAD("extends: sub/base.yaml\nnodes: {a: null}\n", "there is no node \"a\"", "base.yaml:6:33");
}

static void test_anchors(void **state)
{
    (void)state;
    struct loaded l = toy_good("pkgraph: 1\nx-common: &common {value: 8, scale: 2}\nnodes:\n  a: &a {op: number, params: {<<: *common, scale: 3}}\n"
                               "  b: *a\n  c: {<<: *a, doc: other}\n");
    assert_int_equal(value_of(&l, "a", "value"), 8);
    assert_true(op_float(&l.g->nodes[0].args, "scale") == 3);
    assert_int_equal(value_of(&l, "b", "value"), 8);
    assert_string_equal(l.g->nodes[2].doc, "other");
    toy_free(&l);
}

/* ---- --set ---- */

static void test_set(void **state)
{
    (void)state;
    const char *spec = "pkgraph: 1\nvars: {n: 1, who: a}\nnodes:\n  a: {op: number, params: {value: \"${n}\"}}\n  b: {op: number}\n"
                       "  c: {op: join, inputs: {first: \"${who}\"}}\n";
    struct loaded l = with_sets(spec, "n=42", "b.sizes=[1, 2, 3]");
    assert_int_equal(l.rc, 0);
    assert_int_equal(value_of(&l, "a", "value"), 42);
    assert_int_equal(op_count(&l.g->nodes[1].args, "sizes"), 3);
    assert_true(op_is_given(&l.g->nodes[1].args, "sizes"));
    toy_free(&l);
    l = with_sets(spec, "who=b", "n=${who}");
    assert_int_equal(l.rc, ERR_INPUT);
    toy_free(&l);
    l = with_sets(spec, "who=b", "a.value=6");
    assert_string_equal(l.g->nodes[l.g->nodes[2].edges[0].from].id, "b");
    assert_int_equal(value_of(&l, "a", "value"), 6);
    toy_free(&l);
    l = with_sets(spec, "n=5", "n=6");
    assert_int_equal(value_of(&l, "a", "value"), 6);
    toy_free(&l);
    bad_set(spec, "m=3", "no variable \"m\"");
    bad_set(spec, "whoo=3", "did you mean \"who\"?");
    bad_set(spec, "n", "is not NAME=VALUE");
    bad_set(spec, "=3", "is not NAME=VALUE");
    bad_set(spec, "n=x", "--set n=x: error: parameter value of a (number): expected integer");
    bad_set(spec, "z.value=3", "there is no such node");
    bad_set(spec, "a.valeu=3", "unknown parameter \"valeu\" of number");
    bad_set(spec, "b.sizes=[1, 2", "--set b.sizes=[1, 2");
}

/* ---- sweep ---- */

static void test_sweep(void **state)
{
    (void)state;
    const char *spec = "pkgraph: 1\nvars: {r: 16}\nnodes:\n  a: {op: number}\n  b: {op: number, params: {value: \"${r}\"}}\n  c: {op: join, inputs: {first: a, rest: b}}\n"
                       "  d: {op: sink, inputs: {in: c}}\n  e: {op: join, inputs: {first: a}}\nsweep:\n  r: [4, 8]\n  c.r: [1, 2, 3]\n";
    struct loaded l = toy_good(spec);
    assert_int_equal(l.g->n, 1 + 2 + 6 + 6 + 1);
    assert_int_equal(value_of(&l, "b@r=4", "value"), 4);
    assert_int_equal(value_of(&l, "c@r=8,c.r=3", "r"), 3);
    int d = graph_find(l.g, "d@r=8,c.r=2");
    assert_true(d >= 0);
    const struct node *up = &l.g->nodes[l.g->nodes[d].edges[0].from];
    assert_string_equal(up->id, "c@r=8,c.r=2");
    assert_string_equal(up->base, "c");
    assert_string_equal(up->point, "r=8,c.r=2");
    assert_null(up->variant);
    assert_true(graph_find(l.g, "e") >= 0);
    for (size_t i = 0; i < l.g->n; i++)
        for (size_t k = 0; k < l.g->nodes[i].n_edges; k++)
            assert_true(l.g->nodes[i].edges[k].from < (int)i);
    toy_free(&l);
    l = with_sets(spec, "r=5", NULL); /* fixes the key */
    assert_int_equal(l.g->n, 1 + 1 + 3 + 3 + 1);
    assert_int_equal(value_of(&l, "b", "value"), 5);
    toy_free(&l);
    l = with_sets(spec, "r=5", "c.r=7");
    assert_string_equal(toy_ids(&l), "a b c d e");
    assert_int_equal(value_of(&l, "c", "r"), 7);
    toy_free(&l);
    l = toy_load_with(spec, (struct graph_options){.only = (const char *const[]){"c@r=4,c.r=1"}, .n_only = 1});
    assert_string_equal(toy_ids(&l), "a b@r=4 c@r=4,c.r=1");
    toy_free(&l);
}

static void test_sweep_forms(void **state)
{
    (void)state;
    struct loaded l = toy_good("pkgraph: 1\nvars: {x: 1, y: 2, z: 3}\nnodes:\n  a: {op: number, params: {value: \"${x}\", scale: \"${y}\"}}\n"
                               "  b: {op: number, params: {value: \"${z}\"}}\nsweep:\n  zip: {x: [1, 2, 2], y: [1, 1, 0.5]}\n  z: {from: 10, to: 30, step: 10}\n");
    assert_string_equal(toy_ids(&l), "a@x=1,y=1 b@z=10 b@z=20 b@z=30 a@x=2,y=1 a@x=2,y=0.5");
    toy_free(&l);
    l = toy_good("pkgraph: 1\nvars: {x: 1}\nnodes:\n  a: {op: number, params: {scale: \"${x}\"}}\nsweep: {x: {from: 0.1, to: 0.3, step: 0.1}}\n");
    assert_string_equal(toy_ids(&l), "a@x=0.1 a@x=0.2 a@x=0.3");
    toy_free(&l);
    l = toy_good("pkgraph: 1\nnodes:\n  a: {op: number}\n  b: {op: text, params: {text: x}}\n  j: {op: join, inputs: {first: \"${w}\"}}\n"
                 "vars: {w: a, l: [3, 1e-3]}\nsweep:\n  w: [a, b]\n  a.scale: \"${l}\"\n");
    assert_string_equal(toy_ids(&l), "a@a.scale=3 b j@w=a,a.scale=3 a@a.scale=1e-3 j@w=a,a.scale=1e-3 j@w=b");
    toy_free(&l);
    l = toy_good("pkgraph: 1\nnodes:\n  a: {op: number}\nsweep:\n  a.sizes: [[1, 2], [3], 4]\n  a.limit: [all, 5]\n");
    assert_true(graph_find(l.g, "a@a.sizes=[1,2],a.limit=all") >= 0);
    toy_free(&l);
}

static void test_sweep_dependence(void **state)
{
    (void)state; /* a default or variable that a node does not use does not multiply it */
    struct loaded l = toy_good("pkgraph: 1\nvars: {r: 1, s: \"${r}\"}\ndefaults: {number: {value: \"${s}\"}}\nnodes:\n  a: {op: number, params: {value: 2}}\n"
                               "  b: {op: number}\n  t: {op: text, params: {text: x}}\nsweep: {r: [1, 2]}\n");
    assert_string_equal(toy_ids(&l), "a b@r=1 t b@r=2");
    toy_free(&l);
    /* a null of the sweep or of --set takes away what the node says: the default is next */
    const char *spec = "pkgraph: 1\nvars: {r: 3}\ndefaults: {number: {value: \"${r}\"}}\nnodes: {a: {op: number, params: {value: 9}}}\nsweep: {a.value: [5, null], r: [7, 8]}\n";
    l = toy_good(spec);
    assert_int_equal(value_of(&l, "a@a.value=5,r=7", "value"), 5);
    assert_int_equal(value_of(&l, "a@a.value=null,r=8", "value"), 8);
    toy_free(&l);
    l = with_sets(spec, "a.value=null", NULL);
    assert_string_equal(toy_ids(&l), "a@r=7 a@r=8");
    toy_free(&l);
    l = with_sets(spec, "a.value=2", NULL);
    assert_string_equal(toy_ids(&l), "a");
    toy_free(&l);
    l = toy_good("pkgraph: 1\nvars: {r: 1}\nnodes: {a: {op: number}}\nsweep: {r: [1, 2]}\n");
    assert_string_equal(toy_ids(&l), "a");
    assert_int_equal(diags_count(l.d), 1);
    assert_non_null(strstr(l.text.p, "warning: no node depends on \"r\""));
    toy_free(&l);
}

static void test_bad_sweep(void **state)
{
    (void)state;
    const char *head = "pkgraph: 1\nvars: {rank: 1}\nnodes: {lora: {op: join, inputs: {first: n}, params: {r: \"${rank}\"}}, n: {op: number}}\nsweep: ";
    static const char *const cases[][2] = {
        {"{rnak: [1]}", "the sweep varies \"rnak\", which is not a variable"},
        {"{rank: 4}", "needs the values of rank as a list"},
        {"{rank: []}", "the list of values is empty"},
        {"{rank: [4, 4]}", "rank takes the value 4 twice"},
        {"{lroa.r: [4]}", "did you mean \"lora.r\"?"},
        {"{lora.rank: [4]}", "unknown parameter \"rank\" of join"},
        {"{rank: [4, many]}", "expected integer from 1 to 512, found text \"many\""},
        {"{rank: {from: 1, too: 3}}", "unknown key \"too\" in a range"},
        {"{rank: {from: 1, to: 3, step: 0}}", "the range has no values"},
        {"{rank: {from: 1, to: 1e9}}", "more than 100000 values"},
        {"{zip: {rank: [1, 2], lora.most: [1]}}", "lora.most has 1 values, rank has 2"},
        {"{rank: [1, 2], zip: {rank: [1]}}", "the sweep varies rank twice"},
        {"[1]", "sweep must be a mapping"},
        {"{rank: {from: 1, to: 500}, lora.most: {from: 1, to: 1000}}", "more than 100000 points"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf b = {0};
        buf_printf(&b, "%s%s\n", head, cases[i][0]);
        BAD(b.p, cases[i][1]);
        buf_release(&b);
    }
}

/* ---- variants ---- */

static const char *const variants_spec =
    "pkgraph: 1\nvars: {n: 1}\nnodes:\n  a: {op: number}\n  b: {op: number, params: {value: 2, scale: \"${n}\"}}\n  c: {op: join, inputs: {first: a, rest: b}}\n"
    "  d: {op: sink, inputs: {in: c}}\n"
    "variants:\n  big: {nodes: {b: {params: {value: 50}}}}\n  alone: {nodes: {c: {inputs: {rest: null}}}}\n"
    "  same: {nodes: {b: {params: {value: 2}}}}\n  more: {vars: {n: 3}, nodes: {e: {op: sink, inputs: {in: d2}}, d2: {op: number}}}\n"
    "  less: {nodes: {d: null}}\n";

static void test_variants(void **state)
{
    (void)state;
    struct loaded l = toy_good(variants_spec);
    assert_string_equal(toy_ids(&l), "a b c d b@big c@big d@big c@alone d@alone b@more c@more d@more d2@more e@more");
    const struct node *c = &l.g->nodes[graph_find(l.g, "c@big")];
    assert_string_equal(c->variant, "big");
    assert_string_equal(l.g->nodes[c->edges[0].from].id, "a");
    assert_string_equal(l.g->nodes[c->edges[1].from].id, "b@big");
    toy_free(&l);
    l = toy_load_with(variants_spec, (struct graph_options){.variants = (const char *const[]){"alone"}, .n_variants = 1});
    assert_string_equal(toy_ids(&l), "a b c@alone d@alone");
    toy_free(&l);
}

static void test_variant_errors(void **state)
{
    (void)state;
    struct loaded l = toy_load_with(variants_spec, (struct graph_options){.variants = (const char *const[]){"alnoe"}, .n_variants = 1});
    assert_int_equal(l.rc, ERR_INPUT);
    assert_non_null(strstr(l.text.p, "did you mean \"alone\"?"));
    toy_free(&l);
    BAD(HEAD "  a: {op: number}\n  b: {op: sink, inputs: {in: a}}\nvariants: {v: {nodes: {a: null}}}\n", "there is no node \"a\"",
        "the variant removes it", "in the variant \"v\"");
    BAD(HEAD "  a: {op: number}\nvariants: {v: {nods: {a: null}}}\n", "unknown key \"nods\" in variant v", "\"nodes\"");
    BAD(HEAD "  a: {op: number}\nvariants: {base: {nodes: {a: null}}}\n", "cannot be the name of a variant");
    BAD(HEAD "  a: {op: number}\nvariants: {v: {nodes: {a: {params: {valeu: 1}}}}}\n", "unknown parameter \"valeu\"", ":4:37");
    l = toy_good(HEAD "  a: {op: number}\nvariants: {v: {nodes: {q: null}}}\n");
    assert_non_null(strstr(l.text.p, "warning: there is no node \"q\" to remove"));
    toy_free(&l);
}

static void test_variants_and_sweep(void **state)
{
    (void)state;
    const char *spec = "pkgraph: 1\nvars: {r: 1}\nnodes:\n  a: {op: number}\n  b: {op: number, params: {value: \"${r}\"}}\n  c: {op: join, inputs: {first: a, rest: b}}\n"
                       "sweep: {r: [4, 8]}\n"
                       "variants:\n  x: {nodes: {a: {params: {value: 5}}}}\n  fixed: {nodes: {b: {params: {value: 4}}}}\n  nine: {vars: {r: 9}}\n";
    struct loaded l = toy_good(spec);
    /* x: a differs, so c does at every point; fixed: b no longer depends on r, and is b@r=4 but for who gave the value */
    assert_string_equal(toy_ids(&l), "a b@r=4 c@r=4 b@r=8 c@r=8 a@x c@x,r=4 c@x,r=8 b@nine c@nine");
    toy_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vars), cmocka_unit_test(test_bad_vars), cmocka_unit_test(test_long_vars), cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_extends), cmocka_unit_test(test_anchors), cmocka_unit_test(test_set), cmocka_unit_test(test_sweep),
        cmocka_unit_test(test_sweep_forms), cmocka_unit_test(test_sweep_dependence), cmocka_unit_test(test_bad_sweep),
        cmocka_unit_test(test_variants), cmocka_unit_test(test_variant_errors), cmocka_unit_test(test_variants_and_sweep),
    };
    return cmocka_run_group_tests(tests, NULL, toy_cleanup);
}
