/* SPDX-License-Identifier: MIT
 *
 * Logits of choices: prompts with a common front, computed once, against a pass over every prompt alone, with and without an
 * adapter; and against PyTorch on the prompts of MMLU with real models (from $PKG_REAL, a folder that holds hf/NAME).
 */
#include "tiny.h"

#include "runtime/model/choices.h"

enum { N = 9, K = 4, MAX = 60 };

static void one_by_one(const struct weights *w, struct lora *l, const struct ids *p, const int32_t *choice, float *out)
{
    struct err e;
    size_t V = (size_t)weights_config(w)->vocab_size;
    float *z = malloc(V * sizeof *z);
    struct pass_options o = {.weights = w, .lora = l};
    for (int i = 0; i < N; i++) {
        int32_t cu[2] = {0, (int32_t)p[i].n}, last = cu[1] - 1;
        struct batch b = {.n_seqs = 1, .cu = cu, .ids = p[i].v};
        OK(pass_logits(&o, &b, &last, 1, z, &e), e);
        for (int k = 0; k < K; k++)
            out[i * K + k] = z[choice[k]];
    }
    free(z);
}

/* Fronts of 20, 20, 20, 0 (alone), 3 (too short to share), ... */
static void make_prompts(struct ids *p, uint32_t *group)
{
    static const uint32_t groups[N] = {0, 0, 0, 1, 2, 2, 3, 3, 3};
    static const size_t front[] = {20, 0, 3, 40};
    for (size_t i = 0; i < N; i++) {
        group[i] = groups[i];
        for (size_t t = 0; t < front[groups[i]]; t++)
            ids_push(&p[i], (int32_t)rng_below(1, groups[i], t, 37));
        for (size_t t = 0; t < 1 + i * 2; t++)
            ids_push(&p[i], (int32_t)rng_below(2, i, t, 37));
    }
}

static void sharing(void **state)
{
    (void)state;
    static const int32_t choice[K] = {3, 0, 36, 17};
    struct opened o;
    struct err e;
    struct weights *w;
    struct ids p[N] = {{0}};
    uint32_t group[N];
    float want[N * K], got[N * K];
    tiny_open(&o, false, DT_F32);
    OK(weights_new(o.m, DT_F32, WEIGHTS_RESIDENT, &w, &e), e);
    make_prompts(p, group);
    struct lora *l = tiny_lora(weights_config(w), 2, false, 0);
    for (int pass = 0; pass < 8; pass++) {
        struct lora *adapter = pass / 4 ? l : NULL;
        one_by_one(w, adapter, p, choice, want);
        struct choices_options c = {.weights = w, .lora = adapter, .n_choices = K, .choice = choice, .group = pass % 2 ? group : NULL, .tokens = pass & 2 ? 1 : 0};
        memset(got, 0, sizeof got);
        OK(choices_logits(&c, N, p, got, &e), e);
        assert_true(distance(got, want, N * K) < 1e-6);
    }
    struct choices_options c = {.weights = w, .n_choices = K, .choice = choice};
    p[4].v[1] = 37;
    assert_int_equal(choices_logits(&c, N, p, got, &e), ERR_INPUT);
    p[4].v[1] = 1;
    size_t n = p[4].n;
    p[4].n = 0;
    assert_int_equal(choices_logits(&c, N, p, got, &e), ERR_INPUT);
    p[4].n = n;
    for (int i = 0; i < N; i++)
        ids_release(&p[i]);
    lora_free(l);
    weights_free(w);
    close_dir(&o);
}

/* ---- real models ---- */

static struct js *golden(const char *rel)
{
    const char *dir = getenv("PKG_SHARED");
    char path[700];
    struct err e;
    snprintf(path, sizeof path, "%s/oracle/golden/%s", dir ? dir : TEST_SHARED, rel);
    if (!fs_exists(path)) {
        print_message("SKIPPED: no golden file %s; set PKG_SHARED\n", path);
        skip();
    }
    struct js *j = js_read(path, &e);
    if (!j)
        fail_msg("%s", e.msg);
    return j;
}

static const char *prompt_of(const struct js *cases, const struct js *row)
{
    for (size_t i = 0; i < js_len(cases); i++) {
        const struct js *c = js_at(cases, i);
        if (strcmp(js_cstr(js_get(c, "subject")), js_cstr(js_get(row, "subject"))) == 0 && js_int(js_get(c, "row"), -1) == js_int(js_get(row, "row"), -2) &&
            js_int(js_get(c, "shots"), -1) == js_int(js_get(row, "shots"), -2))
            return js_cstr(js_get(c, "chat"));
    }
    return NULL;
}

static void real_model(const char *name, bool slow)
{
    char path[700], rel[200];
    const char *real = getenv("PKG_REAL");
    snprintf(path, sizeof path, "%s/hf/%s", real ? real : "", name);
    if (!real || !fs_is_dir(path) || (slow && !getenv("PKG_SLOW"))) {
        print_message("SKIPPED: no model %s; set PKG_REAL to a folder that holds hf/%s%s\n", path, name, slow ? ", and PKG_SLOW" : "");
        skip();
    }
    snprintf(rel, sizeof rel, "real/mmlu-%s.json", name);
    struct js *g = golden(rel), *t = golden("text/mmlu_prompts.json");
    const struct js *rows = js_get(g, "rows"), *want_ids = js_get(g, "choice_ids");
    struct opened o;
    struct err e;
    struct weights *w;
    struct tokenizer *tok;
    struct ids p[32] = {{0}};
    int32_t choice[K];
    uint32_t group[32] = {0};
    float z[32 * K];
    size_t n = js_len(rows);
    assert_true(n > 10 && n <= 32);
    open_dir(&o, path);
    snprintf(path, sizeof path, "%s/hf/%s/tokenizer.json", real, name);
    OK(tokenizer_read(path, &tok, &e), e);
    OK(weights_new(o.m, DT_F32, WEIGHTS_RESIDENT, &w, &e), e);
    for (int k = 0; k < K; k++) {
        struct ids x = {0};
        char text[3] = {' ', (char)('A' + k), 0};
        OK(tokenizer_encode(tok, str_of(text), true, &x, &e), e);
        choice[k] = x.v[x.n - 1];
        assert_int_equal(choice[k], js_int(js_at(want_ids, (size_t)k), -1));
        ids_release(&x);
    }
    /* in the file's order: rows 0 and 2 of a subject share the head, rows 1 and 3 the exemplars */
    for (size_t i = 0; i < n; i++) {
        const struct js *r = js_at(rows, i);
        OK(tokenizer_encode(tok, str_of(prompt_of(js_get(t, "cases"), r)), true, &p[i], &e), e);
        assert_int_equal(p[i].n, js_int(js_get(r, "tokens"), -1));
        group[i] = i < 4 ? 0 : (uint32_t)i; /* four prompts of one subject, then each alone */
    }
    struct choices_options c = {.weights = w, .n_choices = K, .choice = choice, .group = group};
    OK(choices_logits(&c, n, p, z, &e), e);
    double worst = 0;
    for (size_t i = 0; i < n; i++) {
        const struct js *want = js_get(js_at(rows, i), "logits");
        double top = 0, diff = 0;
        int best = 0;
        for (int k = 0; k < K; k++) {
            double v = js_num(js_at(want, (size_t)k), 0);
            top = fabs(v) > top ? fabs(v) : top;
            diff = fmax(diff, fabs(v - (double)z[i * K + (size_t)k]));
            best = z[i * K + (size_t)k] > z[i * K + (size_t)best] ? k : best;
        }
        worst = fmax(worst, diff / top);
        assert_int_equal('A' + best, js_cstr(js_get(js_at(rows, i), "prediction"))[0]);
    }
    print_message("%s: largest difference of choice logits %.2g of the largest\n", name, worst);
    assert_true(worst < 1e-4);
    for (size_t i = 0; i < n; i++)
        ids_release(&p[i]);
    tokenizer_free(tok);
    weights_free(w);
    close_dir(&o);
    js_free(g);
    js_free(t);
}

static void smollm(void **state)
{
    (void)state;
    real_model("smollm2-135m", false);
}

static void qwen(void **state)
{
    (void)state;
    real_model("qwen2.5-coder-0.5b", true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(sharing), cmocka_unit_test(smollm), cmocka_unit_test(qwen)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
