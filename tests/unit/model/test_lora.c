/* SPDX-License-Identifier: MIT
 *
 * Adapter files: written and read back; PEFT's own files; shapes, ranks and kinds that do not fit are refused by name.
 * Generation: does not depend on the batch, stops where it should. Loss of compensated adapters against PEFT's.
 */
#include "tiny.h"

#include "runtime/model/generate.h"

static struct js *peft_config(int r, double alpha, bool rslora)
{
    struct err e;
    char z[256];
    snprintf(z, sizeof z, "{\"peft_type\":\"LORA\",\"r\":%d,\"lora_alpha\":%g,\"use_rslora\":%s,\"lora_dropout\":0.1,\"bias\":\"none\"}", r,
             alpha, rslora ? "true" : "false");
    return js_parse(str_of(z), "t", &e);
}

struct files {
    char dir[32];
    char *model, *config, *compensation;
};

static void files_init(struct files *f)
{
    strcpy(f->dir, "/tmp/pkgraph-test-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->model = fs_join(f->dir, "adapter_model.safetensors");
    f->config = fs_join(f->dir, "adapter_config.json");
    f->compensation = fs_join(f->dir, "compensation.safetensors");
}

static void files_release(struct files *f)
{
    struct err e;
    OK(fs_remove_tree(f->dir, &e), e);
    free(f->model);
    free(f->config);
    free(f->compensation);
}

static void round_trip(void **state)
{
    (void)state;
    struct files f;
    struct err e;
    struct opened o;
    struct lora *back;
    files_init(&f);
    tiny_open(&o, false, DT_F32);
    const struct model_config *c = model_config(o.m);
    for (int i = 0; i < 2; i++) {
        struct lora *l = tiny_lora(c, i ? 2 : 0, false, 0);
        l->config = peft_config(3, 6, i);
        OK(lora_write(l, f.model, f.config, f.compensation, &e), e);
        assert_int_equal(fs_exists(f.compensation), i);
        OK(lora_read(f.model, f.config, i ? f.compensation : NULL, c, &back, &e), e);
        assert_int_equal(back->n, l->n);
        assert_true(back->dropout == 0.1);
        for (size_t k = 0; k < l->n; k++) {
            const struct lora_pair *p = &l->pairs[k], *q = &back->pairs[k];
            assert_true(p->layer == q->layer && p->mod == q->mod && p->out == q->out && p->in == q->in && q->r == 3);
            assert_true(fabsf(q->scale - (i ? 6 / sqrtf(3) : 2)) < 1e-6f);
            assert_memory_equal(p->B, q->B, p->out * 3 * sizeof(float));
            assert_memory_equal(p->A, q->A, p->in * 3 * sizeof(float));
            assert_int_equal(q->B0 != NULL, i);
            if (i)
                assert_memory_equal(p->A0, q->A0, p->in * 2 * sizeof(float));
        }
        lora_free(l);
        lora_free(back);
    }
    close_dir(&o);
    files_release(&f);
}

static void refuse(const struct files *f, const struct model_config *c, int code, const char *says)
{
    struct err e = {0};
    struct lora *l;
    assert_int_equal(lora_read(f->model, f->config, fs_exists(f->compensation) ? f->compensation : NULL, c, &l, &e), code);
    assert_null(l);
    if (!strstr(e.msg, says))
        fail_msg("\"%s\" does not say \"%s\"", e.msg, says);
}

static void write_tensor(const char *path, const char *const *names, size_t (*shape)[2], int n)
{
    struct err e;
    struct st_writer *w;
    static const float zero[4096];
    OK(st_writer_new(path, &w, &e), e);
    for (int i = 0; i < n; i++)
        OK(st_declare(w, names[i], DT_F32, 2, shape[i], &e), e);
    OK(st_write_begin(w, &e), e);
    for (int i = 0; i < n; i++)
        OK(st_write(w, zero, st_writer_at(w, (size_t)i)->bytes, &e), e);
    OK(st_write_end(w, &e), e);
    st_writer_free(w);
}

static void refusals(void **state)
{
    (void)state;
    struct files f;
    struct err e;
    struct opened o;
    files_init(&f);
    tiny_open(&o, false, DT_F32);
    const struct model_config *c = model_config(o.m);
    struct js *config = peft_config(2, 4, false);
    OK(js_save(f.config, config, &e), e);
#define Q "base_model.model.model.layers.0.self_attn.q_proj"
    write_tensor(f.model, (const char *[]){Q ".lora_A.weight", Q ".lora_B.weight"}, (size_t[][2]){{2, 20}, {24, 2}}, 2);
    struct lora *l;
    OK(lora_read(f.model, f.config, NULL, c, &l, &e), e);
    assert_true(l->n == 1 && lora_find(l, 0, MOD_Q) && !lora_find(l, 1, MOD_Q) && !lora_find(l, 0, MOD_K));
    lora_free(l);
    write_tensor(f.model, (const char *[]){Q ".lora_A.weight", Q ".lora_B.weight"}, (size_t[][2]){{2, 21}, {24, 2}}, 2);
    refuse(&f, c, ERR_INPUT, "q_proj.lora_A.weight\" has shape (2, 21)");
    write_tensor(f.model, (const char *[]){Q ".lora_A.weight", Q ".lora_B.weight"}, (size_t[][2]){{3, 20}, {24, 3}}, 2);
    refuse(&f, c, ERR_INPUT, "rank 3, the configuration says 2");
    write_tensor(f.model, (const char *[]){Q ".lora_A.weight"}, (size_t[][2]){{2, 20}}, 1);
    refuse(&f, c, ERR_INPUT, "q_proj.lora_B.weight\" is missing");
    write_tensor(f.model, (const char *[]){"base_model.model.model.layers.7.mlp.up_proj.lora_A.weight"}, (size_t[][2]){{2, 20}}, 1);
    refuse(&f, c, ERR_INPUT, "3 layers");
    write_tensor(f.model, (const char *[]){"model.layers.0.mlp.router.lora_A.weight"}, (size_t[][2]){{2, 20}}, 1);
    refuse(&f, c, ERR_INPUT, "router");
    js_set(config, "use_dora", js_new_bool(true));
    OK(js_save(f.config, config, &e), e);
    refuse(&f, c, ERR_UNSUPPORTED, "use_dora");
    js_free(config);
    close_dir(&o);
    files_release(&f);
}

static void rank_and_alpha_patterns(void **state)
{
    (void)state;
    struct files f;
    struct err e;
    struct opened o;
    struct lora *l;
    files_init(&f);
    tiny_open(&o, false, DT_F32);
    struct js *config = peft_config(8, 4, false), *rank = js_object(), *alpha = js_object();
    js_set(rank, "self_attn.q_proj", js_new_int(2));
    js_set(alpha, "q_proj", js_new_int(10));
    js_set(config, "rank_pattern", rank);
    js_set(config, "alpha_pattern", alpha);
    OK(js_save(f.config, config, &e), e);
    write_tensor(f.model, (const char *[]){Q ".lora_A.weight", Q ".lora_B.weight"}, (size_t[][2]){{2, 20}, {24, 2}}, 2);
    OK(lora_read(f.model, f.config, NULL, model_config(o.m), &l, &e), e);
    assert_true(l->pairs[0].scale == 5);
    lora_free(l);
    js_free(config);
    close_dir(&o);
    files_release(&f);
}

/* peft.json: PEFT's losses of the plain student and of the compensated one with its adapter. */
static void peft_losses(void **state)
{
    (void)state;
    static const char *const cases[] = {"mha", "gqa", "rope3", "odd", "qwen"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char dir[512], path[4][600];
        struct err e;
        struct opened o;
        struct weights *w;
        struct lora *l;
        snprintf(dir, sizeof dir, "%s/oracle/golden/%s", TEST_SHARED, cases[i]);
        if (!fs_is_dir(dir)) {
            print_message("SKIPPED: no golden vectors at %s; set PKG_SHARED\n", dir);
            skip();
        }
        snprintf(path[0], sizeof path[0], "%s/lora-init/adapter_model.safetensors", dir);
        snprintf(path[1], sizeof path[1], "%s/lora-init/adapter_config.json", dir);
        snprintf(path[2], sizeof path[2], "%s/lora-init/compensation.safetensors", dir);
        snprintf(path[3], sizeof path[3], "%s/oracle/golden/models/%s-student", TEST_SHARED, cases[i]);
        open_dir(&o, path[3]);
        OK(lora_read(path[0], path[1], path[2], model_config(o.m), &l, &e), e);
        OK(weights_new(o.m, DT_F32, WEIGHTS_RESIDENT, &w, &e), e);
        snprintf(path[0], sizeof path[0], "%s/peft.json", dir);
        snprintf(path[1], sizeof path[1], "%s/tokens.json", dir);
        struct js *want = js_read(path[0], &e), *tokens = js_read(path[1], &e);
        for (size_t r = 0; r < 4; r++) {
            const struct js *row = js_at(js_get(tokens, "train"), r), *list = js_get(row, "ids");
            int32_t ids[2048], pos[2048], tid[2048];
            int n = (int)js_len(list), k = 0, p = (int)js_int(js_get(row, "n_prompt"), 0);
            for (int t = 0; t < n; t++)
                ids[t] = (int32_t)js_int(js_at(list, (size_t)t), -1);
            for (int t = p > 1 ? p : 1; t < n; t++, k++) {
                pos[k] = t - 1;
                tid[k] = ids[t];
            }
            struct batch b = {.n_seqs = 1, .cu = (int32_t[]){0, n}, .ids = ids, .n_targets = k, .target_cu = (int32_t[]){0, k},
                              .target_pos = pos, .target_id = tid};
            double plain, step0;
            OK(pass_loss(&(struct pass_options){.weights = w}, &b, NULL, &plain, &e), e);
            OK(pass_loss(&(struct pass_options){.weights = w, .lora = l}, &b, NULL, &step0, &e), e);
            double golden = js_num(js_at(js_get(want, "plain"), r), NAN);
            assert_true(plain == step0);
            assert_true(fabs(plain - golden) < 1e-4 * golden);
        }
        js_free(want);
        js_free(tokens);
        lora_free(l);
        weights_free(w);
        close_dir(&o);
    }
}

static bool stop_at_three(void *u, size_t prompt, const int32_t *ids, size_t n)
{
    (void)u;
    (void)ids;
    return prompt == 1 && n == 3;
}

static void generation_alone_or_together(void **state)
{
    (void)state;
    struct opened o;
    struct err e;
    struct weights *w;
    enum { N = 11 };
    struct ids prompts[N] = {0}, first[N] = {0};
    tiny_open(&o, true, DT_F32);
    OK(weights_new(o.m, DT_F32, WEIGHTS_RESIDENT, &w, &e), e);
    struct lora *l = tiny_lora(weights_config(w), 3, false, 0.5);
    for (size_t i = 0; i < N; i++)
        for (size_t t = 0; t < 1 + i * 6; t++) /* up to 61 of 64 positions */
            ids_push(&prompts[i], (int32_t)rng_below(4, i, t, 37));
    for (size_t batch = 0; batch < 5; batch++) {
        struct ids out[N] = {0};
        int eos = 5;
        struct generate_options g = {.weights = w, .lora = l, .max_new_tokens = 12, .n_eos = 1, .eos = &eos, .max_batch = batch,
                                     .stop = stop_at_three};
        OK(generate_greedy(&g, N, prompts, out, &e), e);
        assert_true(out[1].n <= 3 && out[10].n <= 3 && out[0].n >= 1);
        for (size_t i = 0; i < N; i++) {
            for (size_t t = 0; t + 1 < out[i].n; t++)
                assert_int_not_equal(out[i].v[t], eos);
            if (batch) {
                assert_int_equal(out[i].n, first[i].n);
                assert_memory_equal(out[i].v, first[i].v, out[i].n * sizeof(int32_t));
                ids_release(&out[i]);
            } else
                first[i] = out[i];
        }
    }
    struct ids none = {0};
    assert_int_equal(generate_greedy(&(struct generate_options){.weights = w, .max_new_tokens = 2}, 1, &none, &none, &e), ERR_INPUT);
    for (size_t i = 0; i < N; i++) {
        ids_release(&prompts[i]);
        ids_release(&first[i]);
    }
    lora_free(l);
    weights_free(w);
    close_dir(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(refusals),
        cmocka_unit_test(rank_and_alpha_patterns),
        cmocka_unit_test(peft_losses),
        cmocka_unit_test(generation_alone_or_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
