/* SPDX-License-Identifier: MIT
 *
 * First values of adapters: every method's product and distribution, keyed draws, f16, errors; B A and singular values
 * of the golden cases.
 */
#include "../model/open_dir.h"

#include "ops/lib/lora_start.h"
#include "runtime/base/rng.h"

static const char *const cases[] = {"mha", "gqa", "rope3", "odd", "qwen"};

static const struct model_config config = {.hidden_size = 12,
                                           .intermediate_size = 20,
                                           .num_attention_heads = 4,
                                           .num_key_value_heads = 2,
                                           .head_dim = 3,
                                           .num_hidden_layers = 2,
                                           .vocab_size = 30};

static struct lora *one(const struct model_config *c, int layer, enum module m, int r, float scale, bool compensated)
{
    struct lora *l;
    struct err e;
    OK(lora_new(1, &l, &e), e);
    l->pairs[0] = (struct lora_pair){.layer = layer, .mod = m, .r = r, .scale = scale};
    OK(lora_pair_alloc(&l->pairs[0], c, compensated ? r : 0, &e), e);
    return l;
}

/* (B A)[i][j], f64 */
static double product(const struct lora_pair *p, size_t i, size_t j)
{
    double x = 0;
    for (size_t k = 0; k < (size_t)p->r; k++)
        x += (double)p->B[i * (size_t)p->r + k] * (double)p->A[k * p->in + j];
    return x;
}

static struct tensor matrix(float *x, size_t rows, size_t cols, uint64_t seed)
{
    rng_fill_normal(x, rows * cols, 1, seed, 1);
    return (struct tensor){.name = "t",
                           .dtype = DT_F32,
                           .ndim = 2,
                           .shape = {rows, cols},
                           .n = rows * cols,
                           .bytes = rows * cols * 4,
                           .data = x};
}

/* At full rank the product is the matrix: B A for svd, scale * B A for pissa, B A for olora. Embeddings are turned. */
static void full_rank(void **state)
{
    (void)state;
    static const struct {
        enum lora_init how;
        double times;
    } v[] = {{LORA_SVD, 1}, {LORA_PISSA, 0.5}, {LORA_OLORA, 1}};
    struct err e;
    float x[12 * 30];
    for (size_t k = 0; k < 3; k++)
        for (int embed = 0; embed < 2; embed++) {
            struct lora *l = one(&config, embed ? -1 : 1, embed ? MOD_EMBED : MOD_DOWN, 12, 0.5f, true);
            struct lora_pair *p = &l->pairs[0];
            struct tensor t = embed ? matrix(x, 30, 12, 5) : matrix(x, 12, 20, 5);
            struct js *facts = js_object();
            OK(lora_start(p, v[k].how, &t, 0, false, facts, &e), e);
            for (size_t i = 0; i < p->out; i++)
                for (size_t j = 0; j < p->in; j++)
                    assert_true(fabs(v[k].times * product(p, i, j) - (double)(embed ? x[j * 12 + i] : x[i * 20 + j])) <
                                1e-5);
            assert_memory_equal(p->A, p->A0, 12 * p->in * sizeof(float));
            assert_memory_equal(p->B, p->B0, 12 * p->out * sizeof(float));
            if (v[k].how != LORA_OLORA) {
                assert_int_equal(js_len(js_get(facts, "singular_values")), 12);
                assert_true(fabs(js_num(js_get(facts, "energy_kept"), 0) - 1) < 1e-12);
            }
            js_free(facts);
            lora_free(l);
        }
}

static void random_starts(void **state)
{
    (void)state;
    struct err e;
    struct model_config c = config;
    c.hidden_size = 400;
    struct lora *l = one(&c, 0, MOD_GATE, 8, 1, false);
    struct lora_pair *p = &l->pairs[0];
    double sum = 0, top = 0;
    OK(lora_start(p, LORA_DEFAULT, NULL, 3, false, NULL, &e), e);
    for (size_t i = 0; i < 8 * p->in; i++)
        top = fmax(top, fabs((double)p->A[i]));
    assert_true(top <= 1 / sqrt(400.0) && top > 0.95 / sqrt(400.0));
    for (size_t i = 0; i < 8 * p->out; i++)
        assert_true(p->B[i] == 0);
    float first = p->A[0];
    OK(lora_start(p, LORA_DEFAULT, NULL, 4, false, NULL, &e), e);
    assert_true(p->A[0] != first);
    p->layer = 1;
    OK(lora_start(p, LORA_DEFAULT, NULL, 3, false, NULL, &e), e);
    assert_true(p->A[0] != first);
    p->layer = 0;
    OK(lora_start(p, LORA_DEFAULT, NULL, 3, false, NULL, &e), e);
    assert_true(p->A[0] == first);
    OK(lora_start(p, LORA_GAUSSIAN, NULL, 3, false, NULL, &e), e);
    for (size_t i = 0; i < 8 * p->in; i++)
        sum += (double)p->A[i] * (double)p->A[i];
    assert_true(fabs(sqrt(sum / (8.0 * (double)p->in)) - 1.0 / 8) < 0.01);
    lora_free(l);
    l = one(&c, -1, MOD_EMBED, 8, 1, false);
    p = &l->pairs[0];
    OK(lora_start(p, LORA_DEFAULT, NULL, 3, false, NULL, &e), e);
    sum = 0;
    for (size_t i = 0; i < 8 * p->out; i++)
        sum += (double)p->B[i] * (double)p->B[i];
    assert_true(fabs(sqrt(sum / (8.0 * 400)) - 1) < 0.05);
    for (size_t i = 0; i < 8 * p->in; i++)
        assert_true(p->A[i] == 0);
    lora_free(l);
}

/* At full rank noise shows itself: mean 0 and the block's standard deviation, whatever the block's mean. */
static void noise(void **state)
{
    (void)state;
    struct err e;
    float x[12 * 20];
    struct lora *l = one(&config, 0, MOD_DOWN, 12, 1, true);
    struct lora_pair *p = &l->pairs[0];
    struct tensor t = matrix(x, 12, 20, 8);
    double sum = 0, square = 0;
    for (size_t i = 0; i < t.n; i++)
        x[i] = x[i] * 0.25f + 7;
    OK(lora_start(p, LORA_NOISE, &t, 1, false, NULL, &e), e);
    for (size_t i = 0; i < 12; i++)
        for (size_t j = 0; j < 20; j++) {
            double v = product(p, i, j);
            sum += v / 240;
            square += v * v / 240;
        }
    assert_true(fabs(sum) < 0.1 && fabs(sqrt(square) - 0.25) < 0.05);
    lora_free(l);
}

static void half_and_errors(void **state)
{
    (void)state;
    struct err e;
    float x[12 * 20];
    struct lora *l = one(&config, 0, MOD_DOWN, 4, 1, true);
    struct lora_pair *p = &l->pairs[0];
    struct tensor t = matrix(x, 12, 20, 8);
    OK(lora_start(p, LORA_SVD, &t, 0, true, NULL, &e), e);
    for (size_t i = 0; i < 4 * p->out; i++)
        assert_true(f16_to_f32(f16_from_f32(p->B[i])) == p->B[i] && p->B0[i] == p->B[i]);
    for (size_t i = 0; i < t.n; i++)
        x[i] *= 1e5f;
    assert_int_equal(lora_start(p, LORA_SVD, &t, 0, true, NULL, &e), ERR_INPUT);
    assert_non_null(strstr(e.msg, "f16"));
    x[3] = INFINITY;
    assert_int_equal(lora_start(p, LORA_SVD, &t, 0, false, NULL, &e), ERR_INPUT);
    assert_int_equal(lora_start(p, LORA_SVD, NULL, 0, false, NULL, &e), ERR_INPUT);
    lora_free(l);
    l = one(&config, 0, MOD_DOWN, 13, 1, true);
    t = matrix(x, 12, 20, 8);
    assert_int_equal(lora_start(&l->pairs[0], LORA_PISSA, &t, 0, false, NULL, &e), ERR_INPUT);
    lora_free(l);
    enum lora_init how;
    assert_true(lora_init_parse("noise", &how) == 0 && how == LORA_NOISE && lora_init_parse("lora", &how) < 0);
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

static void golden_module(const struct lora_pair *want, const struct model_config *c, const struct st_file *blocks,
                          const struct js *singular)
{
    char name[PARAM_NAME_MAX];
    struct err e;
    const struct tensor *t = st_find(blocks, param_name(name, want->layer, want->mod, false));
    assert_non_null(t);
    struct lora *l = one(c, want->layer, want->mod, want->r, want->scale, true);
    struct lora_pair *p = &l->pairs[0];
    struct js *facts = js_object();
    OK(lora_start(p, LORA_SVD, t, 0, false, facts, &e), e);
    double d = 0, n = 0;
    for (size_t i = 0; i < p->out; i++)
        for (size_t j = 0; j < p->in; j++) {
            double a = product(p, i, j), b = product(want, i, j);
            d += (a - b) * (a - b);
            n += b * b;
        }
    if (!(sqrt(d / n) <= 1e-5))
        fail_msg("%s: B A differs by %g", name, sqrt(d / n));
    for (int k = 0; k < p->r; k++) {
        double first = js_num(js_at(singular, 0), 0), b = js_num(js_at(singular, (size_t)k), -1),
               a = js_num(js_at(js_get(facts, "singular_values"), (size_t)k), -2);
        assert_true(fabs(a - b) <= 1e-6 * first);
    }
    js_free(facts);
    lora_free(l);
}

static void golden_case(const char *name)
{
    char dir[600], path[4][700];
    struct err e;
    struct lora *l;
    struct st_file *blocks;
    struct model_config c;
    snprintf(dir, sizeof dir, "%s/oracle/golden/%s", TEST_SHARED, name);
    snprintf(path[0], sizeof path[0], "%s/oracle/golden/models/%s-student/config.json", TEST_SHARED, name);
    static const char *const files[] = {"lora-init/adapter_model.safetensors", "lora-init/adapter_config.json",
                                        "blocks/submatrix/blocks.safetensors"};
    for (int i = 0; i < 3; i++)
        snprintf(path[i + 1], sizeof path[i + 1], "%s/%s", dir, files[i]);
    struct js *j = js_read(path[0], &e), *singular = read_json(dir, "lora-init/singular.json");
    assert_non_null(j);
    OK(model_config_parse(j, "config.json", &c, &e), e);
    OK(lora_read(path[1], path[2], NULL, &c, &l, &e), e);
    OK(st_open(path[3], &blocks, &e), e);
    for (size_t i = 0; i < l->n; i++) {
        char param[PARAM_NAME_MAX];
        golden_module(&l->pairs[i], &c, blocks,
                      js_get(singular, param_name(param, l->pairs[i].layer, l->pairs[i].mod, false)));
    }
    st_close(blocks);
    lora_free(l);
    js_free(j);
    js_free(singular);
}

static void golden(void **state)
{
    (void)state;
    if (!fs_is_dir(TEST_SHARED "/oracle/golden/mha")) {
        print_message("SKIPPED: no golden vectors at %s/oracle/golden; set PKG_SHARED\n", TEST_SHARED);
        skip();
    }
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        golden_case(cases[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(full_rank), cmocka_unit_test(random_starts),
                                       cmocka_unit_test(noise), cmocka_unit_test(half_and_errors),
                                       cmocka_unit_test(golden)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
