/* SPDX-License-Identifier: MIT
 *
 * The pass and generation against vectors from PyTorch (shared/oracle/README.md): logits, losses and gradients to 1e-4,
 * generated ids exactly. Skips without the folder.
 */
#include "sum_sink.h"

#include "runtime/model/generate.h"

static const char *const cases[] = {"mha", "gqa", "rope3", "odd", "qwen", "linear"};
enum { N_CASES = sizeof cases / sizeof *cases };
#define TOLERANCE 1e-4

struct row {
    int32_t *ids;
    int n, prompt;
};

struct golden {
    char dir[600];
    struct opened student, teacher;
    bool has_teacher;
    struct row rows[16];
    int n;
};

static struct js *read_json(const char *dir, const char *name)
{
    char path[700];
    struct err e;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    struct js *j = js_read(path, &e);
    if (!j)
        fail_msg("%s", e.msg);
    return j;
}

static void open_case(struct golden *g, const char *name)
{
    char path[700];
    memset(g, 0, sizeof *g);
    snprintf(g->dir, sizeof g->dir, "%s/oracle/golden/%s", TEST_SHARED, name);
    if (!fs_is_dir(g->dir)) {
        print_message("SKIPPED: no golden vectors at %s; set PKG_SHARED\n", g->dir);
        skip();
    }
    struct js *j = read_json(g->dir, "case.json");
    snprintf(path, sizeof path, "%s/oracle/golden/models/%s", TEST_SHARED, js_cstr(js_get(j, "student")));
    open_dir(&g->student, path);
    g->has_teacher = js_get(j, "teacher") != NULL;
    if (g->has_teacher) {
        snprintf(path, sizeof path, "%s/oracle/golden/models/%s", TEST_SHARED, js_cstr(js_get(j, "teacher")));
        open_dir(&g->teacher, path);
    }
    js_free(j);
    j = read_json(g->dir, "tokens.json");
    const struct js *seeds = js_get(j, "seeds");
    for (size_t i = 0; i < js_len(seeds) && i < 16; i++) {
        const struct js *ids = js_get(js_at(seeds, i), "ids");
        struct row *r = &g->rows[g->n++];
        r->n = (int)js_len(ids);
        r->prompt = (int)js_int(js_get(js_at(seeds, i), "n_prompt"), 0);
        r->ids = malloc((size_t)r->n * sizeof *r->ids);
        for (int t = 0; t < r->n; t++)
            r->ids[t] = (int32_t)js_int(js_at(ids, (size_t)t), -1);
    }
    js_free(j);
}

static void close_case(struct golden *g)
{
    for (int i = 0; i < g->n; i++)
        free(g->rows[i].ids);
    close_dir(&g->student);
    if (g->has_teacher)
        close_dir(&g->teacher);
}

/* A batch of rows [from, to) that have targets. */
struct packed {
    struct batch b;
    int32_t cu[17], tcu[17], ids[16384], pos[16384], tid[16384];
    int of[16];
};

static void pack(struct packed *p, const struct golden *g, int from, int to)
{
    memset(p, 0, sizeof *p);
    int n = 0, t = 0, k = 0;
    for (int i = from; i < to; i++) {
        const struct row *r = &g->rows[i];
        int first = r->prompt > 1 ? r->prompt : 1;
        if (r->n <= first)
            continue;
        memcpy(p->ids + t, r->ids, (size_t)r->n * sizeof *r->ids);
        for (int q = first; q < r->n; q++, k++) {
            p->pos[k] = t + q - 1;
            p->tid[k] = r->ids[q];
        }
        t += r->n;
        p->of[n] = i;
        p->cu[++n] = t;
        p->tcu[n] = k;
    }
    p->b = (struct batch){.n_seqs = n, .cu = p->cu, .ids = p->ids, .n_targets = k, .target_cu = p->tcu, .target_pos = p->pos,
                          .target_id = p->tid};
}

static void check_logits(const struct golden *g, const struct opened *o, const char *which)
{
    char path[700], name[64];
    struct err e;
    struct st_file *f;
    struct weights *w;
    snprintf(path, sizeof path, "%s/logits.safetensors", g->dir);
    OK(st_open(path, &f, &e), e);
    OK(weights_new(o->m, DT_F32, WEIGHTS_RESIDENT, &w, &e), e);
    struct pass_options po = {.weights = w};
    size_t V = (size_t)model_config(o->m)->vocab_size;
    float *logits = malloc(32 * V * sizeof *logits);
    snprintf(name, sizeof name, "%s.first", which);
    const struct tensor *first = st_find(f, name);
    snprintf(name, sizeof name, "%s.last", which);
    const struct tensor *last = st_find(f, name);
    for (int i = 0; i < g->n; i++) {
        int32_t cu[2] = {0, g->rows[i].n}, pos[32];
        struct batch b = {.n_seqs = 1, .cu = cu, .ids = g->rows[i].ids};
        pos[0] = g->rows[i].n - 1;
        OK(pass_logits(&po, &b, pos, 1, logits, &e), e);
        assert_true(distance(logits, (const float *)last->data + (size_t)i * V, V) < TOLERANCE);
        if (i)
            continue;
        for (int q = 0; q < 32; q++)
            pos[q] = q;
        OK(pass_logits(&po, &b, pos, 32, logits, &e), e);
        assert_true(distance(logits, first->data, 32 * V) < TOLERANCE);
    }
    free(logits);
    weights_free(w);
    st_close(f);
}

static void check_losses(const struct golden *g, const struct opened *o, const char *which, enum weights_kind kind)
{
    static struct packed p;
    struct err e;
    struct weights *w;
    double seq[16], total;
    struct js *j = read_json(g->dir, "loss.json");
    OK(weights_new(o->m, DT_F32, kind, &w, &e), e);
    pack(&p, g, 0, g->n);
    OK(pass_loss(&(struct pass_options){.weights = w}, &p.b, seq, &total, &e), e);
    for (int s = 0; s < p.b.n_seqs; s++) {
        double want = js_num(js_at(js_get(j, which), (size_t)p.of[s]), NAN), got = seq[s] / (p.tcu[s + 1] - p.tcu[s]);
        if (!(fabs(got - want) < TOLERANCE * want))
            fail_msg("%s %s row %d: loss %.7f, golden %.7f", g->dir, which, p.of[s], got, want);
    }
    weights_free(w);
    js_free(j);
}

static void check_grads(const struct golden *g, bool recompute)
{
    static struct packed p;
    char path[700];
    struct err e;
    struct st_file *f;
    struct weights *w;
    struct sum_sink s;
    struct grad_sink sink;
    double total;
    snprintf(path, sizeof path, "%s/grads.safetensors", g->dir);
    OK(st_open(path, &f, &e), e);
    OK(weights_new(g->student.m, DT_F32, WEIGHTS_RESIDENT, &w, &e), e);
    pack(&p, g, 0, 1);
    sum_init(&s, weights_config(w), &sink);
    OK(pass_backward(&(struct pass_options){.weights = w, .recompute = recompute}, &p.b, &sink, NULL, &total, &e), e);
    for (size_t i = 0; i < st_count(f); i++) {
        const struct tensor *t = st_at(f, i);
        int layer;
        enum module m;
        bool bias;
        size_t n;
        assert_int_equal(param_name_parse(t->name, &layer, &m, &bias), 0);
        float *got = *sum_slot(&s, layer, m, bias, &n);
        assert_int_equal(n, t->n);
        double far = distance(got, t->data, n);
        if (!(far < TOLERANCE))
            fail_msg("%s %s: gradient is %g away", g->dir, t->name, far);
    }
    sum_release(&s);
    weights_free(w);
    st_close(f);
}

static void check_generation(const struct golden *g, size_t max_batch)
{
    struct err e;
    struct weights *w;
    struct js *j = read_json(g->dir, "generate.json");
    size_t n = js_len(j);
    struct ids *prompts = calloc(n, sizeof *prompts), *out = calloc(n, sizeof *out);
    OK(weights_new(g->student.m, DT_F32, WEIGHTS_RESIDENT, &w, &e), e);
    for (size_t i = 0; i < n; i++)
        for (size_t t = 0; t < js_len(js_get(js_at(j, i), "ids")); t++)
            ids_push(&prompts[i], (int32_t)js_int(js_at(js_get(js_at(j, i), "ids"), t), -1));
    const struct model_config *c = weights_config(w);
    struct generate_options o = {.weights = w, .max_new_tokens = 32, .n_eos = c->n_eos, .eos = c->eos_token_id, .max_batch = max_batch};
    OK(generate_greedy(&o, n, prompts, out, &e), e);
    for (size_t i = 0; i < n; i++) {
        const struct js *want = js_get(js_at(j, i), "new_ids");
        assert_int_equal(out[i].n, js_len(want));
        for (size_t t = 0; t < out[i].n; t++)
            assert_int_equal(out[i].v[t], js_int(js_at(want, t), -1));
        ids_release(&prompts[i]);
        ids_release(&out[i]);
    }
    free(prompts);
    free(out);
    weights_free(w);
    js_free(j);
}

static void each(void (*check)(const struct golden *g))
{
    for (int i = 0; i < N_CASES; i++) {
        struct golden g;
        open_case(&g, cases[i]);
        check(&g);
        close_case(&g);
    }
}

static void logits_of(const struct golden *g)
{
    check_logits(g, &g->student, "student");
    if (g->has_teacher)
        check_logits(g, &g->teacher, "teacher");
}

static void losses_of(const struct golden *g)
{
    for (int kind = WEIGHTS_RESIDENT; kind <= WEIGHTS_PACKED_BOTH; kind++) {
        check_losses(g, &g->student, "student", (enum weights_kind)kind);
        if (g->has_teacher)
            check_losses(g, &g->teacher, "teacher", (enum weights_kind)kind);
    }
}

static void grads_of(const struct golden *g)
{
    check_grads(g, false);
    check_grads(g, true);
}

static void generation_of(const struct golden *g)
{
    check_generation(g, 0);
    check_generation(g, 1);
    check_generation(g, 2);
}

static void logits(void **state)
{
    (void)state;
    each(logits_of);
}

static void losses(void **state)
{
    (void)state;
    each(losses_of);
}

static void grads(void **state)
{
    (void)state;
    each(grads_of);
}

static void generation(void **state)
{
    (void)state;
    each(generation_of);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits),
        cmocka_unit_test(losses),
        cmocka_unit_test(grads),
        cmocka_unit_test(generation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
