/* SPDX-License-Identifier: MIT
 *
 * Layer choice and dimension alignment: by hand on small matrices, and against the golden cases: maps, windows, index
 * lists exactly, blocks bit for bit.
 */
#include "../model/open_dir.h"

#include "ops/lib/extract.h"
#include "ops/lib/layers.h"
#include "runtime/base/rng.h"

static const char *const cases[] = {"mha", "gqa", "rope3", "odd", "qwen"};

/* ---- layers ---- */

static void choose(enum layer_strategy s, const double *v, size_t n, size_t k, const int *want)
{
    int map[8];
    struct err e;
    OK(layers_choose(s, v, n, k, 0, map, &e), e);
    assert_memory_equal(map, want, k * sizeof *map);
}

static void layers(void **state)
{
    (void)state;
    static const double v[] = {3, 5, 1, 5, 3, 2};
    int map[8], other[8], differ = 0;
    struct err e;
    choose(LAYERS_SENSITIVITY, v, 6, 3, (int[]){0, 1, 3});
    choose(LAYERS_LEAST, v, 6, 3, (int[]){0, 2, 5});
    choose(LAYERS_FIRST, v, 6, 3, (int[]){0, 1, 2});
    choose(LAYERS_LAST, v, 6, 3, (int[]){3, 4, 5});
    choose(LAYERS_UNIFORM, v, 6, 3, (int[]){0, 3, 5}); /* 2.5 rounds up */
    choose(LAYERS_UNIFORM, v, 6, 1, (int[]){0});
    choose(LAYERS_UNIFORM, v, 6, 6, (int[]){0, 1, 2, 3, 4, 5});
    for (uint64_t seed = 0; seed < 8; seed++) {
        OK(layers_choose(LAYERS_RANDOM, v, 6, 3, seed, map, &e), e);
        OK(layers_choose(LAYERS_RANDOM, v, 6, 3, seed + 1, other, &e), e);
        assert_true(0 <= map[0] && map[0] < map[1] && map[1] < map[2] && map[2] < 6);
        differ += memcmp(map, other, 3 * sizeof *map) != 0;
    }
    assert_true(differ >= 4);
    assert_int_equal(layers_choose(LAYERS_FIRST, v, 3, 4, 0, map, &e), ERR_INPUT);
    enum layer_strategy s;
    assert_true(layers_strategy("uniform", &s) == 0 && s == LAYERS_UNIFORM && layers_strategy("top", &s) < 0);
}

static void layer_files(void **state)
{
    (void)state;
    static const double v[] = {3, 5, 1};
    char path[] = "/tmp/pkgraph-layers-XXXXXX";
    int map[2], fd = mkstemp(path);
    struct err e;
    assert_true(fd >= 0);
    fclose(fdopen(fd, "w"));
    struct js *j = layers_json("explicit", v, 3, (int[]){2, 0}, 2);
    OK(js_save(path, j, &e), e);
    OK(layers_read(path, 3, 2, map, &e), e);
    assert_true(map[0] == 2 && map[1] == 0);
    assert_int_equal(layers_read(path, 3, 3, map, &e), ERR_INPUT);
    assert_int_equal(layers_read(path, 2, 2, map, &e), ERR_INPUT);
    js_free(j);
    remove(path);
}

/* ---- small matrices ---- */

static struct tensor tensor2(void *data, enum dtype t, size_t rows, size_t cols)
{
    return (struct tensor){.name = "t",
                           .dtype = t,
                           .ndim = 2,
                           .shape = {rows, cols},
                           .n = rows * cols,
                           .bytes = rows * cols * dtype_size(t),
                           .data = data};
}

static void weights_by_hand(void **state)
{
    (void)state;
    float s[3 * 4] = {9, 0, 1, 7, 2, 2, 8, 0, 0, 5, 5, 6}, w[12], out[6];
    struct err e;
    struct js *info;
    for (int i = 0; i < 12; i++)
        w[i] = (float)(10 * (i / 4) + i % 4);
    struct tensor tw = tensor2(w, DT_F32, 3, 4), ts = tensor2(s, DT_F32, 3, 4);
    struct extract_job j = {.name = "a", .source = "b", .rows = 2, .cols = 3, .mod = MOD_Q};
    struct extract_options o = {.structure = STRUCTURE_NEURON};
    OK(extract_block(&j, &o, &tw, &ts, out, &info, &e), e); /* 9 7 8 5 5 6 */
    assert_memory_equal(out, ((float[]){0, 3, 12, 21, 22, 23}), sizeof out);
    assert_true(js_num(js_get(info, "score"), 0) == 40 && js_num(js_get(info, "total"), 0) == 45 &&
                js_kind(js_get(info, "rows")) == JS_NULL);
    js_free(info);
    o.structure = STRUCTURE_ROW_COLUMN; /* row sums 17 12 16; column sums 11 7 14 13 */
    OK(extract_block(&j, &o, &tw, &ts, out, &info, &e), e);
    assert_memory_equal(out, ((float[]){0, 2, 3, 20, 22, 23}), sizeof out);
    assert_true(js_num(js_get(info, "score"), 0) == 28 && js_int(js_at(js_get(info, "rows"), 1), 0) == 2);
    js_free(info);
    o.structure = STRUCTURE_SUBMATRIX;
    OK(extract_block(&j, &o, &tw, &ts, out, &info, &e), e); /* 22 20 ; 22 28 */
    assert_memory_equal(out, ((float[]){11, 12, 13, 21, 22, 23}), sizeof out);
    js_free(info);
    j.fixed = true;
    j.col = 1;
    OK(extract_block(&j, &o, &tw, &ts, out, &info, &e), e);
    assert_memory_equal(out, ((float[]){1, 2, 3, 11, 12, 13}), sizeof out);
    assert_true(js_num(js_get(info, "score"), 0) == 18);
    js_free(info);
    j.fixed = false;
    o.structure = STRUCTURE_RANDOM;
    OK(extract_block(&j, &o, &tw, &ts, out, &info, &e), e);
    js_free(info);
    /* turned: the embedding (V, d) = (4 tokens, 3), two columns kept; search order runs over (d, V) */
    struct tensor ew = tensor2(w, DT_F32, 4, 3), es = tensor2(s, DT_F32, 4, 3);
    struct extract_job t = {.name = "a", .source = "b", .rows = 4, .cols = 1, .mod = MOD_EMBED, .transposed = true};
    o.structure = STRUCTURE_NEURON; /* columns of s: 9 7 8 5 | 0 2 0 5 | 1 2 0 6: the four largest are 9 7 8 6 */
    OK(extract_block(&t, &o, &ew, &es, out, &info, &e), e);
    assert_memory_equal(out, ((float[]){w[0], w[3], w[6], w[11]}), 4 * sizeof *out);
    js_free(info);
    /* padding: of five rows four have tokens in the teacher; of two rows both */
    float wide[5] = {1, 1, 1, 1, 1};
    o.structure = STRUCTURE_SUBMATRIX;
    t.rows = 5; /* columns sum to 9 + 7 + 8 + 5, 7, 9 */
    OK(extract_block(&t, &o, &ew, &es, wide, &info, &e), e);
    assert_memory_equal(wide, ((float[]){w[0], w[3], w[6], w[9], 0}), sizeof wide);
    assert_true(js_int(js_get(js_get(info, "rows"), "count"), 0) == 4);
    js_free(info);
    t.rows = 2;
    OK(extract_block(&t, &o, &ew, &es, wide, &info, &e), e);
    assert_memory_equal(wide, ((float[]){w[0], w[3]}), 2 * sizeof *wide);
    js_free(info);
    s[3] = NAN;
    o.structure = STRUCTURE_SUBMATRIX;
    assert_int_equal(extract_block(&j, &o, &tw, &ts, out, &info, &e), ERR_INPUT);
    assert_non_null(strstr(e.msg, "b: "));
    j.rows = 4;
    assert_int_equal(extract_block(&j, &o, &tw, &ts, out, &info, &e), ERR_INPUT);
}

/* Given away in runs of rows, the block is the one that is kept; an error of the sink ends the call. */
struct given {
    char *data;
    size_t row;
    int times[700];
};

static int take(void *u, size_t first, size_t n, const void *data, struct err *e)
{
    struct given *g = u;
    for (size_t i = first; i < first + n; i++)
        __atomic_add_fetch(&g->times[i], 1, __ATOMIC_RELAXED);
    if (!g->data)
        return first ? 0 : err_set(e, ERR_IO, "no room");
    memcpy(g->data + first * g->row, data, n * g->row);
    return 0;
}

static void given_away(void **state)
{
    (void)state;
    enum { ROWS = 700, COLS = 130, H = 650, W = 120, WIDE = 20000 };
    struct err e;
    struct js *info;
    float *w = malloc(ROWS * COLS * sizeof *w), *s = malloc(ROWS * COLS * sizeof *s), *kept = malloc(H * W * sizeof *kept), *got = malloc(H * W * sizeof *got);
    for (size_t i = 0; i < ROWS * COLS; i++) {
        w[i] = (float)i;
        s[i] = (float)(i * 2654435761u % 1000);
    }
    struct tensor tw = tensor2(w, DT_F32, ROWS, COLS), ts = tensor2(s, DT_F32, ROWS, COLS), lw = tensor2(w, DT_F32, 4, WIDE), ls = tensor2(s, DT_F32, 4, WIDE);
    struct extract_job j = {.name = "a", .source = "b", .rows = H, .cols = W}, l = {.name = "a", .source = "b", .rows = 3, .cols = WIDE - 7};
    for (int k = STRUCTURE_SUBMATRIX; k <= STRUCTURE_RANDOM; k++) {
        struct extract_options o = {.structure = (enum structure)k};
        struct given g = {.data = (char *)got, .row = W * sizeof *got}, full = {0};
        OK(extract_block(&j, &o, &tw, &ts, kept, &info, &e), e);
        js_free(info);
        OK(extract_give(&j, &o, &tw, &ts, &(struct extract_sink){&g, take}, &info, &e), e);
        js_free(info);
        assert_memory_equal(got, kept, H * W * sizeof *got);
        for (size_t i = 0; i < H; i++)
            assert_int_equal(g.times[i], 1);
        assert_int_equal(extract_give(&j, &o, &tw, &ts, &(struct extract_sink){&full, take}, &info, &e), ERR_IO);
        g.row = (WIDE - 7) * sizeof *got; /* a row is more than a piece */
        OK(extract_block(&l, &o, &lw, &ls, kept, &info, &e), e);
        js_free(info);
        OK(extract_give(&l, &o, &lw, &ls, &(struct extract_sink){&g, take}, &info, &e), e);
        js_free(info);
        assert_memory_equal(got, kept, 3 * g.row);
    }
    free(w), free(s), free(kept), free(got);
}

static void shared_axes(void **state)
{
    (void)state;
    struct model_config t = {.hidden_size = 12,
                             .intermediate_size = 10,
                             .num_attention_heads = 4,
                             .num_key_value_heads = 2,
                             .head_dim = 3,
                             .num_hidden_layers = 1,
                             .vocab_size = 5},
                        s = {.hidden_size = 5,
                             .intermediate_size = 4,
                             .num_attention_heads = 2,
                             .num_key_value_heads = 1,
                             .head_dim = 3,
                             .num_hidden_layers = 1,
                             .vocab_size = 5};
    bool wanted[MOD_COUNT] = {[MOD_Q] = true,    [MOD_K] = true,  [MOD_V] = true,   [MOD_O] = true,
                              [MOD_GATE] = true, [MOD_UP] = true, [MOD_DOWN] = true};
    struct extract_job *jobs;
    struct tensor scores[MOD_LINEARS];
    const struct tensor *at[MOD_LINEARS];
    struct err e;
    size_t n;
    OK(extract_check(&t, &s, wanted, &e), e);
    OK(extract_plan(&t, &s, (int[]){0}, wanted, &jobs, &n, &e), e);
    assert_int_equal(n, MOD_LINEARS);
    for (int m = 0; m < MOD_LINEARS; m++) {
        size_t r, c;
        module_shape(&t, (enum module)m, &r, &c);
        float *x = calloc(r * c, sizeof *x);
        for (size_t i = 0; i < r; i++)
            for (size_t j = 0; j < c; j++) {
                size_t res = m == MOD_O || m == MOD_DOWN ? i : j, other = m == MOD_O || m == MOD_DOWN ? j : i;
                bool in = m <= MOD_O ? (m == MOD_K || m == MOD_V ? other >= 3 : other >= 6) : other >= 2 && other < 6;
                x[i * c + j] = (float)(1 + (res >= 4 && res < 9) * 2 + in);
            }
        scores[m] = tensor2(x, DT_F32, r, c);
        at[m] = &scores[m];
    }
    OK(extract_shared(&t, &s, jobs, n, at, &e), e);
    for (size_t i = 0; i < n; i++) {
        enum module m = jobs[i].mod;
        size_t inner = m == MOD_Q || m == MOD_O ? 6 : m == MOD_K || m == MOD_V ? 3 : 2;
        bool back = m == MOD_O || m == MOD_DOWN;
        assert_true(jobs[i].fixed);
        assert_int_equal(back ? jobs[i].row : jobs[i].col, 4);
        assert_int_equal(back ? jobs[i].col : jobs[i].row, inner);
    }
    for (int m = 0; m < MOD_LINEARS; m++)
        free((void *)(uintptr_t)scores[m].data);
    free(jobs);
    s.intermediate_size = 11;
    assert_int_equal(extract_check(&t, &s, wanted, &e), ERR_INPUT);
    assert_non_null(strstr(e.msg, "11"));
    bool head[MOD_COUNT] = {[MOD_HEAD] = true};
    s.vocab_size = 4; /* compared elsewhere */
    OK(extract_check(&t, &s, head, &e), e);
    s.tie_word_embeddings = true;
    assert_int_equal(extract_check(&t, &s, head, &e), ERR_INPUT);
}

/* ---- golden cases ---- */

static struct js *read_json(const char *dir, const char *name)
{
    struct err e;
    char *path = fs_join(dir, name);
    struct js *j = js_read(path, &e);
    if (!j)
        fail_msg("%s", e.msg);
    free(path);
    return j;
}

static void read_config(const char *model, struct model_config *c)
{
    char dir[700];
    struct err e;
    snprintf(dir, sizeof dir, "%s/oracle/golden/models/%s", TEST_SHARED, model);
    struct js *j = read_json(dir, "config.json");
    OK(model_config_parse(j, model, c, &e), e);
    js_free(j);
}

static int golden_map(const char *dir, const char *strategy, int *map)
{
    char name[100];
    snprintf(name, sizeof name, "layers/%s/layers.json", strategy);
    struct js *j = read_json(dir, name);
    const struct js *m = js_get(j, "map");
    int n = (int)js_len(m);
    for (int i = 0; i < n; i++)
        map[i] = (int)js_int(js_at(m, (size_t)i), -1);
    js_free(j);
    return n;
}

static void golden_layers(const char *dir)
{
    static const char *const strategies[] = {"sensitivity", "least", "first", "last", "uniform"};
    struct js *j = read_json(dir, "scores/scores.json");
    const struct js *l = js_get(j, "layers");
    double v[64];
    struct err e;
    for (size_t i = 0; i < js_len(l); i++)
        v[i] = js_num(js_at(l, i), 0);
    for (size_t k = 0; k < sizeof strategies / sizeof *strategies; k++) {
        enum layer_strategy s;
        int want[64], map[64], n = golden_map(dir, strategies[k], want);
        assert_int_equal(layers_strategy(strategies[k], &s), 0);
        OK(layers_choose(s, v, js_len(l), (size_t)n, 0, map, &e), e);
        assert_memory_equal(map, want, (size_t)n * sizeof *map);
    }
    js_free(j);
}

static void golden_blocks(const char *dir, const struct opened *teacher, const struct model_config *student,
                          const char *structure, struct extract_options o)
{
    char path[800];
    struct err e;
    struct st_file *scores, *want = NULL;
    struct extract_job *jobs;
    size_t n;
    int map[64];
    bool wanted[MOD_COUNT];
    for (int m = 0; m < MOD_COUNT; m++)
        wanted[m] = true;
    snprintf(path, sizeof path, "%s/scores/scores.safetensors", dir);
    OK(st_open(path, &scores, &e), e);
    snprintf(path, sizeof path, "%s/blocks/%s/blocks.safetensors", dir, structure);
    if (fs_exists(path))
        OK(st_open(path, &want, &e), e);
    snprintf(path, sizeof path, "blocks/%s/blocks.json", structure);
    struct js *j = read_json(dir, path);
    const struct js *tensors = js_get(j, "tensors");
    golden_map(dir, "sensitivity", map);
    OK(extract_check(model_config(teacher->m), student, wanted, &e), e);
    OK(extract_plan(model_config(teacher->m), student, map, wanted, &jobs, &n, &e), e);
    assert_int_equal(n, js_len(tensors));
    for (size_t i = 0; i < n; i++) {
        const struct js *g = js_get(tensors, jobs[i].name);
        const struct tensor *w = model_tensor(teacher->m, jobs[i].source), *s = st_find(scores, jobs[i].source);
        struct js *info;
        assert_true(g && w && s);
        size_t bytes = jobs[i].rows * jobs[i].cols * dtype_size(w->dtype);
        char *data = malloc(bytes);
        OK(extract_block(&jobs[i], &o, w, s, data, &info, &e), e);
        if (!js_equal(js_get(info, "rows"), js_get(g, "rows")) || !js_equal(js_get(info, "cols"), js_get(g, "cols")) ||
            !js_equal(js_get(info, "source"), js_get(g, "source")))
            fail_msg("%s %s: not the golden window", structure, jobs[i].name);
        for (int k = 0; k < 2; k++) {
            double a = js_num(js_get(info, k ? "score" : "total"), -1),
                   b = js_num(js_get(g, k ? "score" : "total"), -2);
            assert_true(fabs(a - b) <= 1e-9 * fabs(b));
        }
        if (want) {
            const struct tensor *t = st_find(want, jobs[i].name);
            assert_non_null(t);
            assert_true(t->dtype == w->dtype && t->shape[0] == jobs[i].rows && t->shape[1] == jobs[i].cols);
            assert_memory_equal(t->data, data, bytes);
        }
        free(data);
        js_free(info);
    }
    js_free(j);
    free(jobs);
    st_close(scores);
    st_close(want);
}

static void golden(void **state)
{
    (void)state;
    if (!fs_is_dir(TEST_SHARED "/oracle/golden/mha")) {
        print_message("SKIPPED: no golden vectors at %s/oracle/golden; set PKG_SHARED\n", TEST_SHARED);
        skip();
    }
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char dir[600], model[700];
        struct opened teacher;
        struct model_config student;
        snprintf(dir, sizeof dir, "%s/oracle/golden/%s", TEST_SHARED, cases[i]);
        struct js *k = read_json(dir, "case.json");
        snprintf(model, sizeof model, "%s/oracle/golden/models/%s", TEST_SHARED, js_cstr(js_get(k, "teacher")));
        open_dir(&teacher, model);
        read_config(js_cstr(js_get(k, "student")), &student);
        golden_layers(dir);
        golden_blocks(dir, &teacher, &student, "submatrix", (struct extract_options){.structure = STRUCTURE_SUBMATRIX});
        golden_blocks(dir, &teacher, &student, "submatrix-reference",
                      (struct extract_options){.structure = STRUCTURE_SUBMATRIX, .reference = true});
        golden_blocks(dir, &teacher, &student, "row-column",
                      (struct extract_options){.structure = STRUCTURE_ROW_COLUMN});
        golden_blocks(dir, &teacher, &student, "neuron", (struct extract_options){.structure = STRUCTURE_NEURON});
        js_free(k);
        close_dir(&teacher);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(layers), cmocka_unit_test(layer_files),
                                       cmocka_unit_test(weights_by_hand), cmocka_unit_test(given_away), cmocka_unit_test(shared_axes),
                                       cmocka_unit_test(golden)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
