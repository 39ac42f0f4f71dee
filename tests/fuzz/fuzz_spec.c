/* SPDX-License-Identifier: MIT
 *
 * fuzz_spec: specifications, mutated by bytes, by words of the language and by lines of each other. Every input must become
 * a graph that keeps its promises or be refused with a message, in little time. With files as arguments: those inputs once.
 * fuzz_spec -s SEED [SECONDS]: another run of mutations. With -DPKG_LIBFUZZER there is no main, and clang's libFuzzer
 * drives (target fuzz_spec_libfuzzer where the compiler is clang; tests/cases/diag/ is a corpus).
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine/graph.h"
#include "engine/param.h"
#include "runtime/base/fs.h"
#include "runtime/base/rng.h"

/* ---- two toy operators ---- */

static int infer(struct op_infer *x, struct err *e)
{
    const struct op_args *a = op_infer_args(x);
    if (op_int(a, "value") == 7) {
        op_blame_param(x, "value");
        return err_set(e, ERR_INPUT, "seven");
    }
    for (size_t i = 0; i < op_input_count(a, "in"); i++)
        if (!js_cstr(js_get(op_input_at(a, "in", i), "type")))
            abort();
    if (op_set_output(x, "out", js_object(), e))
        return e->code;
    return op_is_set(a, "flag") && strcmp(a->op->name, "make") == 0 ? op_set_output(x, "more", js_object(), e) : 0;
}

static int run(struct op_run *r, struct err *e)
{
    (void)r;
    (void)e;
    return 0;
}

static const struct port_def in[] = {{.name = "in", .type = "a|b", .flags = PORT_VARIADIC | PORT_OPTIONAL}, {.name = "one", .type = "a", .flags = PORT_OPTIONAL}, {0}};
static const struct port_def out_a[] = {{.name = "out", .type = "a"}, {.name = "more", .type = "b"}, {0}};
static const struct port_def out_b[] = {{.name = "out", .type = "b"}, {0}};
static const struct param_def params[] = {
    {.name = "value", .type = PARAM_INT, .fallback = "1", .min = 0, .max = 1000},
    {.name = "r", .type = PARAM_FLOAT, .unset = "all"},
    {.name = "map", .type = PARAM_MAP, .fallback = "{a: 1}"},
    {.name = "list", .type = PARAM_STRINGS, .fallback = "[x, y]"},
    {.name = "ints", .type = PARAM_INTS},
    {.name = "path", .type = PARAM_PATH},
    {.name = "size", .type = PARAM_SIZE, .fallback = "1GiB"},
    {.name = "time", .type = PARAM_DURATION, .fallback = "1min"},
    {.name = "kind", .type = PARAM_ENUM, .choices = "x|y", .fallback = "x"},
    {.name = "flag", .type = PARAM_BOOL, .fallback = "true"},
    {0},
};
static const struct op op_a = {.name = "make", .version = 1, .outputs = out_a, .params = params, .infer = infer, .run = run};
static const struct op op_b = {.name = "join", .version = 1, .inputs = in, .outputs = out_b, .params = params, .infer = infer, .run = run};
static const struct op *const ops[] = {&op_a, &op_b, NULL};

/* ---- corpus ---- */

static const char *const corpus[] = {
    "pkgraph: 1\nname: x\nvars: {a: 1, b: \"${a}\", c: [1, \"${b}\"]}\nnodes:\n  m: {op: make, params: {value: \"${a}\", list: \"${c}\"}}\n"
    "  j: {op: join, inputs: {in: [m, m.more], one: m}, params: {r: 3e-4, path: data/x}}\nsweep:\n  a: [1, 2, 3]\n  j.r: {from: 0.5, to: 2, step: 0.5}\n",
    "pkgraph: 1\nx-c: &c {value: 3, size: 16GiB}\ndefaults: {make: {<<: *c, time: 30min}}\nnodes:\n  m: &m {op: make, doc: text}\n  n: *m\n"
    "  j:\n    op: join\n    inputs:\n      in:\n        - m\n        - n\n    params:\n      map: {a: {b: [1, null, ~, true, \"x\"]}}\n"
    "variants:\n  v: {nodes: {m: {params: {value: 4}}, n: null, j: {inputs: {in: [m]}}}}\n  w: {vars: {}, defaults: {make: {value: 5}}}\n",
    "pkgraph: 1\nvars: {who: m, t: \"x${env:HOME}y$${z}\"}\nnodes:\n  m: {op: make}\n  m2: {op: make, params: {kind: y, ints: [1, 2e1, 3_0], flag: false}}\n"
    "  j: {op: join, inputs: {in: \"${who}\"}, params: {path: \"${t}\"}}\nsweep: {zip: {who: [m, m2], j.value: [1, 2]}, m.ints: [[1], [2, 3], 4]}\n",
    "pkgraph: 1\nextends: base.yaml\nnodes: {m: {params: {value: null}}, k: {op: join, inputs: {one: m}}}\n",
    "pkgraph: 1\nnodes:\n  a: {op: join, inputs: {in: b}}\n  b: {op: join, inputs: {in: c}}\n  c: {op: join, inputs: {in: a}}\n",
};
static const char base[] = "pkgraph: 1\nvars: {q: 1}\nnodes:\n  m: {op: make, params: {value: \"${q}\"}}\n";

static const char *const words[] = {
    "${a}", "${b}", "$${", "${", "}", "*c", "&c ", "<<: *c", "null", "~", "nodes:", "params:", "inputs: {in: m}", "op: make", "op: join", ": ", "- ", ", ",
    "[", "]", "{", "}", "\n  ", "\n    ", "\n", "\"", "'", "|\n", ">\n", "!!str ", "---\n", "zip: {", "from: 1", "to: 9", "step: 2", "1e9", "-1", "0.1",
    "99999999999999999999", "m.more", "m.", ".", "@", "x-", "variants:", "vars:", "sweep:", "defaults:", "extends: spec.yaml\n", "\xff", "\xc3\xa9", "\t", "#", "%",
};

static char folder[] = "/tmp/fuzz-spec-XXXXXX";
static char path[64];

static void save(const char *name, const void *p, size_t n)
{
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(p, 1, n, f) != n || fclose(f))
        exit(2);
}

/* ---- one input ---- */

static void check(const struct graph *g, bool inferred)
{
    for (size_t i = 0; i < g->n; i++) {
        const struct node *n = &g->nodes[i];
        if (graph_find(g, n->id) != (int)i || n->bad)
            abort();
        for (size_t k = 0; k < n->n_edges; k++)
            if (n->edges[k].from < 0 || (size_t)n->edges[k].from >= i || n->edges[k].port < 0)
                abort();
        if (inferred && n->n_out && !js_cstr(js_get(n->out[0], "type")))
            abort();
        struct buf b = {0};
        for (size_t k = 0; n->op->params[k].name; k++)
            param_canon(&b, &n->op->params[k], &n->values[k]);
        buf_release(&b);
    }
}

static bool one(const char *file, const struct graph_options *o)
{
    struct diags *d = diags_new();
    struct graph *g = NULL;
    struct err e = {0};
    struct buf text = {0};
    int rc = graph_load(file, o, d, &g, &e);
    if ((rc == 0) != (g != NULL) || (rc == 0) != (diags_errors(d) == 0) || (rc && !e.msg[0])) {
        fprintf(stderr, "rc %d, graph %p, %zu errors, \"%s\"\n", rc, (void *)g, diags_errors(d), e.msg);
        abort();
    }
    if (g)
        check(g, !o->no_infer);
    diags_print(d, true, &text);
    buf_release(&text);
    graph_free(g);
    diags_free(d);
    return rc == 0;
}

/* ---- mutation ---- */

static void splice(struct buf *b, size_t at, size_t cut, const char *p, size_t n)
{
    struct buf to = {0};
    at = at > b->n ? b->n : at;
    cut = cut > b->n - at ? b->n - at : cut;
    buf_put(&to, b->p, at);
    buf_put(&to, p, n);
    buf_put(&to, b->p + at + cut, b->n - at - cut);
    buf_release(b);
    *b = to;
}

/* A random line of a random entry of the corpus. */
static struct str some_line(uint64_t s)
{
    const char *text = corpus[rng_below(s, 20, 0, sizeof corpus / sizeof *corpus)];
    size_t at = (size_t)rng_below(s, 21, 0, strlen(text));
    while (at && text[at - 1] != '\n')
        at--;
    return (struct str){text + at, strcspn(text + at, "\n") + 1};
}

static bool wordy(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.';
}

/* The word around a random place of text. */
static struct str some_word(struct str text, uint64_t s)
{
    size_t at = (size_t)rng_below(s, 30, 0, text.n + 1), end;
    while (at < text.n && !wordy(text.p[at]))
        at++;
    while (at && wordy(text.p[at - 1]))
        at--;
    for (end = at; end < text.n && wordy(text.p[end]);)
        end++;
    return (struct str){text.p + at, end - at};
}

/* One word becomes another: mostly still YAML, so that the later stages see it. */
static void swap_word(struct buf *b, uint64_t s)
{
    static const char *const values[] = {"0", "1", "1000", "1001", "3e-4", "all", "x", "null", "true", "m", "j", "n", "a", "b", "make", "join", "value", "r", "in", "one"};
    struct str old = some_word(buf_view(b), s), from = str_of(corpus[rng_below(s, 31, 0, sizeof corpus / sizeof *corpus)]);
    struct str with = rng_below(s, 32, 0, 2) ? some_word(from, s + 1) : str_of(values[rng_below(s, 33, 0, sizeof values / sizeof *values)]);
    splice(b, (size_t)(old.p - b->p), old.n, with.p, with.n);
}

static void mutate(struct buf *b, uint64_t seed)
{
    uint64_t kinds = rng_below(seed, 9, 0, 2) ? 7 : 16; /* bytes and lines, or words mostly */
    uint64_t first = kinds == 16 && rng_below(seed, 10, 0, 4) ? 7 : 0;
    for (uint64_t k = 0; k < 1 + rng_below(seed, 1, 0, 3); k++) {
        uint64_t s = rng_u64(seed, 2, k);
        size_t at = (size_t)rng_below(s, 3, 0, b->n + 1), n = (size_t)rng_below(s, 4, 0, 12);
        char c = (char)rng_below(s, 5, 0, 256);
        const char *w = words[rng_below(s, 6, 0, sizeof words / sizeof *words)];
        struct str line;
        switch (first + rng_below(s, 7, 0, kinds - first)) {
        case 0: splice(b, at, 1, &c, 1); break;
        case 1: splice(b, at, n, "", 0); break;
        case 2:
        case 3: splice(b, at, n % 3, w, strlen(w)); break;
        case 4: line = some_line(s); splice(b, at, 0, line.p, line.n); break;
        case 5: line = some_line(s); while (at && b->p[at - 1] != '\n') at--; splice(b, at, 0, line.p, line.n); break;
        case 6: splice(b, at, 0, corpus[0] + at % 40, n); break;
        default: swap_word(b, s); break;
        }
    }
}

#ifdef PKG_LIBFUZZER
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t n, size_t max);

/* Ours (words and lines of the language) as often as libFuzzer's own. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned seed)
{
    struct buf b = {0};
    if (seed % 2)
        return LLVMFuzzerMutate(data, n, max);
    if (seed % 64 == 0)
        buf_puts(&b, corpus[seed / 64 % (sizeof corpus / sizeof *corpus)]);
    else
        buf_put(&b, data, n);
    mutate(&b, seed);
    n = b.n < max ? b.n : max;
    if (n)
        memcpy(data, b.p, n);
    buf_release(&b);
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (strstr(folder, "XXXXXX")) {
        if (!mkdtemp(folder))
            exit(2);
        save("base.yaml", base, sizeof base - 1);
    }
    const char *const variants[] = {"v", "base"}, *const sets[] = {"a=2", "j.r=5"};
    struct graph_options o = {.ops = ops, .no_infer = n % 8 == 7};
    if (n % 4 == 1)
        o = (struct graph_options){.ops = ops, .variants = variants, .n_variants = 2, .sets = sets, .n_sets = 2};
    save("spec.yaml", data, n);
    one(path, &o);
    return 0;
}
#else

static double now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int fuzz(uint64_t seed0, double seconds)
{
    double start = now(CLOCK_MONOTONIC), slowest = 0;
    size_t tried = 0, good = 0;
    const char *const sets[] = {"a=2", "j.r=5"}, *const variants[] = {"v", "base"}, *const only[] = {"j"};
    save("base.yaml", base, sizeof base - 1);
    for (uint64_t i = 0; now(CLOCK_MONOTONIC) - start < seconds; i++, tried++) {
        uint64_t seed = rng_splitmix(seed0 * 1000003 + i);
        struct buf b = {0};
        buf_puts(&b, corpus[rng_below(seed, 8, 0, sizeof corpus / sizeof *corpus)]);
        mutate(&b, seed);
        save("spec.yaml", b.p, b.n);
        struct graph_options o = {.ops = ops, .no_infer = i % 16 == 15};
        if (i % 8 == 3)
            o = (struct graph_options){.ops = ops, .sets = sets, .n_sets = 2};
        else if (i % 8 == 5)
            o = (struct graph_options){.ops = ops, .variants = variants, .n_variants = 2, .only = only, .n_only = 1};
        double t = now(CLOCK_PROCESS_CPUTIME_ID);
        good += one(path, &o);
        t = now(CLOCK_PROCESS_CPUTIME_ID) - t;
        slowest = t > slowest ? t : slowest;
        buf_release(&b);
        if (t > 10) {
            fprintf(stderr, "input %llu took %.1f s: %s\n", (unsigned long long)i, t, path);
            return 1;
        }
    }
    printf("%zu inputs, %zu of them good; slowest %.0f ms\n", tried, good, slowest * 1e3);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "-s") != 0) {
        for (int i = 1; i < argc; i++)
            one(argv[i], &(struct graph_options){.ops = ops});
        printf("%d files\n", argc - 1);
        return 0;
    }
    if (!mkdtemp(folder))
        return 2;
    int rc = fuzz(argc > 2 ? strtoull(argv[2], NULL, 10) : 1, argc > 3 ? atof(argv[3]) : 5);
    struct err e;
    if (rc == 0)
        fs_remove_tree(folder, &e);
    return rc;
}
#endif
