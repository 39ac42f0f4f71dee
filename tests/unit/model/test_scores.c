/* SPDX-License-Identifier: MIT
 *
 * The sensitivity sink: on a random tiny model S must be the sum over sequences of |W * G_s|, with G_s from a pass over
 * that sequence alone (tied and untied, one batch and several, lm_head in chunks and in blocks of the vocabulary,
 * stored bf16); against finite differences of the loss; and against PyTorch's scores of the golden cases.
 */
#include "sum_sink.h"
#include "tiny.h"

#include <unistd.h>

#include "runtime/exec/par.h"
#include "runtime/model/scores.h"

static const char *const cases[] = {"mha", "gqa", "rope3", "odd", "qwen"};

static char *scores_path(void)
{
    char dir[] = "/tmp/pkgraph-scores-XXXXXX";
    assert_non_null(mkdtemp(dir));
    return fs_join(dir, "scores.safetensors");
}

static void drop_path(char *path)
{
    struct err e;
    char *dir = fs_dirname(path);
    OK(fs_remove_tree(dir, &e), e);
    free(dir);
    free(path);
}

struct run {
    size_t head_bytes, part_tokens;
    bool spill;
    int kept;
    int stop; /* the work is stopped at the point of this layer and begun again; 0: never */
    enum dtype dtype, compute;
    double *layers, modules[MOD_COUNT], loss[64];
};

/* Sequences [a, b) of a batch as one of their own. */
static struct batch part(const struct batch *w, int a, int b, int32_t *cu, int32_t *tcu, int32_t *pos)
{
    for (int i = a; i <= b; i++) {
        cu[i - a] = w->cu[i] - w->cu[a];
        tcu[i - a] = w->target_cu[i] - w->target_cu[a];
    }
    for (int k = w->target_cu[a]; k < w->target_cu[b]; k++)
        pos[k - w->target_cu[a]] = w->target_pos[k] - w->cu[a];
    return (struct batch){.n_seqs = b - a,
                          .cu = cu,
                          .ids = w->ids + w->cu[a],
                          .n_targets = w->target_cu[b] - w->target_cu[a],
                          .target_cu = tcu,
                          .target_pos = pos,
                          .target_id = w->target_id + w->target_cu[a]};
}

struct stopper {
    struct scores *s;
    const char *state;
    int layer;
    const double *loss;
};

static int stop_at(void *u, const struct pass_point *p, struct err *e)
{
    struct stopper *k = u;
    if (p->layer != k->layer)
        return 0;
    int rc = scores_save(k->s, k->state, p, k->loss, e);
    return rc ? rc : err_set(e, ERR_CANCELLED, "stopped");
}

/* Until the end, or until the stop; then gives whether it went on from one. */
static bool score_once(const struct model *m, const struct batch *b, struct run *r, const char *path, int stop)
{
    struct err e;
    struct weights *w;
    struct pass_point from;
    double total;
    char *dir = fs_dirname(path), *partial = fs_join(dir, "partial"), *state = fs_join(dir, "state");
    struct scores_options o = {.model = m, .dtype = r->dtype, .path = path, .partial = r->stop ? partial : NULL};
    for (int i = 0; i < MOD_COUNT; i++)
        o.wanted[i] = true;
    OK(weights_new(m, r->compute, WEIGHTS_STREAMED, &w, &e), e);
    struct stopper k = {.state = state, .layer = stop, .loss = r->loss};
    OK(scores_new(&o, &k.s, &e), e);
    OK(scores_batch(k.s, b, &e), e);
    int found = r->stop ? scores_go_on(k.s, state, &from, r->loss, &e) : ERR_NOTFOUND;
    assert_true(found == 0 || found == ERR_NOTFOUND);
    struct grad_sink sink = scores_sink(k.s);
    struct pass_options po = {.weights = w, .recompute = true, .kept = r->kept, .head_bytes = r->head_bytes, .part_tokens = r->part_tokens,
                              .spill = r->spill ? dir : NULL, .point = stop ? stop_at : NULL, .point_u = &k, .from = found ? NULL : &from};
    int rc = pass_backward(&po, b, &sink, r->loss, &total, &e);
    assert_int_equal(rc, stop ? ERR_CANCELLED : 0);
    if (!stop)
        OK(scores_end(k.s, r->layers, r->modules, &e), e);
    scores_free(k.s);
    weights_free(w);
    free(dir);
    free(partial);
    free(state);
    return found == 0;
}

static void score(const struct model *m, const struct batch *b, struct run *r, const char *path)
{
    r->layers = calloc((size_t)model_config(m)->num_hidden_layers, sizeof *r->layers);
    if (r->stop) {
        assert_false(score_once(m, b, r, path, r->stop));
        if (r->stop > 1)
            assert_true(score_once(m, b, r, path, r->stop - 1)); /* and once more */
    }
    assert_int_equal(score_once(m, b, r, path, 0), r->stop != 0);
}

/* S += |W * G| of one sequence alone */
static void add_sequence(const struct model *m, const struct batch *b, int seq, float **sum)
{
    struct err e;
    struct weights *w;
    struct sum_sink s;
    struct grad_sink sink;
    double total;
    int32_t cu[2], tcu[2], pos[256];
    struct batch q = part(b, seq, seq + 1, cu, tcu, pos);
    OK(weights_new(m, DT_F32, WEIGHTS_STREAMED, &w, &e), e);
    sum_init(&s, model_config(m), &sink);
    struct pass_options po = {.weights = w};
    OK(pass_backward(&po, &q, &sink, NULL, &total, &e), e);
    for (size_t i = 0; i < model_tensor_count(m); i++) {
        const struct tensor *t = model_tensor_at(m, i);
        int layer;
        enum module mod;
        bool bias;
        size_t n;
        if (param_name_parse(t->name, &layer, &mod, &bias) != 0)
            continue;
        const float *g = *sum_slot(&s, layer, mod, bias, &n);
        float *x = malloc(n * sizeof *x);
        dtype_to_f32(x, t->data, t->dtype, n);
        if (!sum[i])
            sum[i] = calloc(n, sizeof(float));
        for (size_t j = 0; j < n; j++)
            sum[i][j] += fabsf(x[j] * g[j]);
        free(x);
    }
    sum_release(&s);
    weights_free(w);
}

static void tiny(bool tied, enum dtype stored, struct run *r, double tolerance)
{
    struct err e;
    struct opened o;
    struct tiny_batch b;
    struct st_file *f;
    char *path = scores_path();
    double layer_sum = 0, module_sum = 0, all = 0;
    tiny_open(&o, tied, stored);
    tiny_fill(&b, model_config(o.m)->vocab_size);
    size_t n = model_tensor_count(o.m);
    float **want = calloc(n, sizeof *want);
    for (int s = 0; s < b.b.n_seqs; s++)
        add_sequence(o.m, &b.b, s, want);
    score(o.m, &b.b, r, path);
    OK(st_open(path, &f, &e), e);
    assert_int_equal(st_count(f), n);
    for (size_t i = 0; i < n; i++) {
        const struct tensor *t = st_find(f, model_tensor_at(o.m, i)->name);
        assert_non_null(t);
        assert_int_equal(t->dtype, r->dtype);
        float *got = malloc(t->n * sizeof *got);
        dtype_to_f32(got, t->data, t->dtype, t->n);
        double d = distance(got, want[i], t->n);
        if (!(d <= tolerance))
            fail_msg("%s: %g (tied %d, part %zu, head %zu, spill %d)", t->name, d, tied, r->part_tokens, r->head_bytes, r->spill);
        for (size_t j = 0; j < t->n; j++)
            all += (double)want[i][j];
        free(got);
        free(want[i]);
    }
    for (int l = 0; l < 3; l++)
        layer_sum += r->layers[l];
    for (int i = 0; i < MOD_COUNT; i++)
        module_sum += r->modules[i];
    assert_true(fabs(module_sum - all) <= 10 * tolerance * all && layer_sum < module_sum && layer_sum > 0.1 * all);
    st_close(f);
    free(r->layers);
    free(want);
    close_dir(&o);
    drop_path(path);
}

static void against_alone(void **state)
{
    (void)state;
    for (int tied = 0; tied < 2; tied++) {
        tiny(tied, DT_F32, &(struct run){0}, 1e-5);
        tiny(tied, DT_BF16, &(struct run){0}, 1e-5);
        tiny(tied, DT_F16, &(struct run){0}, 1e-5);
        tiny(tied, DT_F32, &(struct run){.part_tokens = 14}, 1e-5);
        tiny(tied, DT_F32, &(struct run){.part_tokens = 1, .spill = true}, 1e-5);
        tiny(tied, DT_F32, &(struct run){.head_bytes = 37 * 4 * 6}, 1e-5);                    /* chunks of sequences */
        tiny(tied, DT_F32, &(struct run){.part_tokens = 10, .head_bytes = 37 * 4 * 2}, 1e-5); /* blocks of the vocabulary */
        tiny(tied, DT_F32, &(struct run){.dtype = DT_BF16}, 4e-3);
        tiny(tied, DT_F32, &(struct run){.compute = DT_BF16}, 5e-2);
    }
}

/* Threads, kept activations, the file for layer inputs and stops: the bytes stay the same, sums and losses as well. In parts, products have
 * other shapes: the last bits differ. */
static void same_bytes(void **state)
{
    (void)state;
    static const struct run ways[] = {
        {0}, {0}, {.kept = 2}, {.kept = 9}, {.kept = 2, .stop = 3}, {.spill = true}, {.stop = 3}, {.stop = 2}, {.stop = 1, .spill = true},
        {.part_tokens = 9}, {.part_tokens = 9, .stop = 2, .spill = true},
    };
    enum { WHOLE = 9 }; /* from here on in parts */
    for (int tied = 0; tied < 2; tied++) {
        struct opened o;
        struct tiny_batch b;
        struct err e;
        struct buf first = {0};
        struct run want = {0};
        tiny_open(&o, tied, DT_F32);
        tiny_fill(&b, model_config(o.m)->vocab_size);
        for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
            struct run r = ways[i];
            struct buf got = {0};
            char *path = scores_path();
            par_set_threads(i ? 4 : 1);
            score(o.m, &b.b, &r, path);
            OK(fs_read(path, 1 << 24, &got, &e), e);
            drop_path(path);
            if (i == 0 || i == WHOLE) {
                buf_release(&first);
                free(want.layers);
                first = got;
                want = r;
                continue;
            }
            assert_int_equal(got.n, first.n);
            assert_memory_equal(got.p, first.p, got.n);
            assert_memory_equal(r.layers, want.layers, 3 * sizeof *r.layers);
            assert_memory_equal(r.modules, want.modules, sizeof r.modules);
            assert_memory_equal(r.loss, want.loss, sizeof r.loss);
            buf_release(&got);
            free(r.layers);
        }
        par_set_threads(0);
        buf_release(&first);
        free(want.layers);
        close_dir(&o);
    }
}

/* What is no checkpoint of this work is refused, and the work begins anew. */
static void damaged_checkpoint(void **state)
{
    (void)state;
    struct opened o;
    struct tiny_batch b;
    struct err e;
    struct pass_point from;
    struct scores *s;
    double loss[3];
    tiny_open(&o, true, DT_F32);
    tiny_fill(&b, model_config(o.m)->vocab_size);
    char *path = scores_path(), *dir = fs_dirname(path), *partial = fs_join(dir, "partial"), *file = fs_join(dir, "state");
    struct run r = {.stop = 2, .layers = NULL};
    assert_false(score_once(o.m, &b.b, &r, path, 2));
    struct buf good = {0};
    OK(fs_read(file, 1 << 24, &good, &e), e);
    for (size_t cut = 0; cut < good.n; cut += 1 + good.n / 50) {
        OK(fs_write_atomic(file, good.p, cut, &e), e);
        struct scores_options so = {.model = o.m, .path = path, .partial = partial};
        for (int i = 0; i < MOD_COUNT; i++)
            so.wanted[i] = true;
        OK(scores_new(&so, &s, &e), e);
        OK(scores_batch(s, &b.b, &e), e);
        assert_int_equal(scores_go_on(s, file, &from, loss, &e), ERR_DAMAGED);
        scores_free(s);
    }
    buf_release(&good);
    free(dir);
    free(partial);
    free(file);
    close_dir(&o);
    drop_path(path);
}

static void subset(void **state)
{
    (void)state;
    struct opened o;
    struct err e;
    struct scores *s;
    struct st_file *f;
    struct tiny_batch b;
    struct weights *w;
    double layers[3], modules[MOD_COUNT], total;
    tiny_open(&o, true, DT_F32);
    char *path = scores_path();
    struct scores_options so = {.model = o.m, .path = path};
    so.wanted[MOD_HEAD] = true; /* tied: there is no such parameter */
    assert_int_equal(scores_new(&so, &s, &e), ERR_INPUT);
    assert_null(s);
    so.wanted[MOD_Q] = true;
    OK(scores_new(&so, &s, &e), e);
    assert_int_equal(scores_end(s, layers, modules, &e), ERR_INTERNAL); /* no gradient came */
    scores_free(s);
    OK(scores_new(&so, &s, &e), e);
    tiny_fill(&b, model_config(o.m)->vocab_size);
    OK(weights_new(o.m, DT_F32, WEIGHTS_STREAMED, &w, &e), e);
    OK(scores_batch(s, &b.b, &e), e);
    struct grad_sink sink = scores_sink(s);
    struct pass_options po = {.weights = w, .recompute = true};
    OK(pass_backward(&po, &b.b, &sink, NULL, &total, &e), e);
    OK(scores_end(s, layers, modules, &e), e);
    scores_free(s);
    weights_free(w);
    OK(st_open(path, &f, &e), e);
    assert_int_equal(st_count(f), 6); /* weight and bias of three layers */
    assert_true(modules[MOD_Q] > 0 && modules[MOD_K] == 0 && fabs(modules[MOD_Q] - layers[0] - layers[1] - layers[2]) < 1e-9);
    st_close(f);
    close_dir(&o);
    drop_path(path);
}

/* ---- finite differences ---- */

static double loss_of(const struct weights *w, const struct batch *b)
{
    struct err e;
    double total;
    struct pass_options o = {.weights = w};
    OK(pass_loss(&o, b, NULL, &total, &e), e);
    return total;
}

/* |w (L(w + h) - L(w - h)) / 2h| of a weight, by Richardson's step from h and 2h. */
static double difference(struct weights *w, const char *name, size_t i, const struct batch *b)
{
    size_t n;
    float *p = weights_param(w, name, &n), was = p[i];
    double d[2];
    for (int k = 0; k < 2; k++) {
        float h = (float)(k + 1) * 0.01f, up = was + h, down = was - h;
        p[i] = up;
        double a = loss_of(w, b);
        p[i] = down;
        d[k] = (a - loss_of(w, b)) / ((double)up - (double)down);
    }
    p[i] = was;
    return fabs((double)was * (4 * d[0] - d[1]) / 3);
}

/* A few weights of every kind: S of one sequence is |w dL/dw|. */
static void finite_differences(void **state)
{
    (void)state;
    for (int tied = 0; tied < 2; tied++) {
        struct opened o;
        struct tiny_batch b;
        struct err e;
        struct weights *w;
        struct st_file *f;
        int32_t cu[2], tcu[2], pos[256];
        struct run r = {0};
        char *path = scores_path();
        tiny_open(&o, tied, DT_F32);
        tiny_fill(&b, model_config(o.m)->vocab_size);
        struct batch one = part(&b.b, 0, 1, cu, tcu, pos);
        score(o.m, &one, &r, path);
        OK(st_open(path, &f, &e), e);
        OK(weights_new(o.m, DT_F32, WEIGHTS_TRAINABLE, &w, &e), e);
        for (size_t i = 0; i < st_count(f); i++) {
            const struct tensor *t = st_at(f, i);
            const float *S = t->data;
            size_t at = 0; /* the largest score, and four places drawn at random */
            for (size_t k = 0; k < t->n; k++)
                at = S[k] > S[at] ? k : at;
            double top = (double)S[at];
            for (int k = 0; k < 5; k++) {
                double d = difference(w, t->name, at, &one);
                if (!(fabs(d - (double)S[at]) <= 2e-3 * top + 2e-5))
                    fail_msg("%s[%zu]: %g, by differences %g", t->name, at, (double)S[at], d);
                at = (size_t)(rng_uniform(11, i, (uint64_t)k) * (double)t->n);
            }
        }
        weights_free(w);
        st_close(f);
        free(r.layers);
        close_dir(&o);
        drop_path(path);
    }
}

/* ---- what is not finite ---- */

/* The sensitivity of the model in dir, damaged or not. */
static int score_dir(const char *dir, struct err *e)
{
    struct opened o;
    struct tiny_batch b;
    struct scores *s;
    struct weights *w;
    double layers[3], modules[MOD_COUNT], total;
    char *path = scores_path();
    open_dir(&o, dir);
    tiny_fill(&b, model_config(o.m)->vocab_size);
    struct scores_options so = {.model = o.m, .path = path};
    for (int i = 0; i < MOD_COUNT; i++)
        so.wanted[i] = true;
    OK(weights_new(o.m, DT_F32, WEIGHTS_STREAMED, &w, e), *e);
    OK(scores_new(&so, &s, e), *e);
    OK(scores_batch(s, &b.b, e), *e);
    struct grad_sink sink = scores_sink(s);
    struct pass_options po = {.weights = w, .recompute = true};
    int rc = pass_backward(&po, &b.b, &sink, NULL, &total, e);
    if (!rc)
        rc = scores_end(s, layers, modules, e);
    if (!rc && !isfinite(total)) /* the operator's check of the losses */
        rc = err_set(e, ERR_INPUT, "the loss");
    if (rc == ERR_INPUT && scores_check_weights(o.m, e))
        rc = e->code;
    scores_free(s);
    weights_free(w);
    close_dir(&o);
    drop_path(path);
    return rc;
}

/* A damaged weight is named: of every type and kind, NaN or infinite, also where no token of the samples reads it. */
static void damaged(void **state)
{
    (void)state;
    static const struct {
        enum dtype t;
        const char *nan, *inf;
    } types[] = {{DT_F32, "\0\0\xc0\x7f", "\0\0\x80\x7f"}, {DT_BF16, "\xc0\x7f", "\x80\xff"}, {DT_F16, "\x01\x7c", "\0\x7c"}};
    static const char *const names[] = {"model.layers.1.mlp.up_proj.weight", "model.layers.0.self_attn.k_proj.bias",
                                        "model.layers.2.input_layernorm.weight", "model.norm.weight", "model.embed_tokens.weight", "lm_head.weight"};
    struct err e;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        for (size_t n = 0; n < sizeof names / sizeof *names; n++)
            for (int inf = 0; inf < 2; inf++) {
                char dir[] = "/tmp/pkgraph-test-XXXXXX", want[200];
                struct js *c = tiny_config(false);
                struct st_file *f;
                assert_non_null(mkdtemp(dir));
                tiny_write(dir, c, types[i].t);
                char *path = fs_join(dir, "model.safetensors");
                if (n == 0 && inf == 0)
                    OK(score_dir(dir, &e), e);
                OK(st_open(path, &f, &e), e);
                const struct tensor *t = st_find(f, names[n]);
                assert_non_null(t);
                size_t size = dtype_size(t->dtype), at = t->offset + (t->n - 1) * size; /* of the embedding: the last token's row */
                st_close(f);
                FILE *file = fopen(path, "r+b");
                assert_non_null(file);
                assert_int_equal(fseek(file, (long)at, SEEK_SET), 0);
                assert_int_equal(fwrite(inf ? types[i].inf : types[i].nan, 1, size, file), size);
                assert_int_equal(fclose(file), 0);
                snprintf(want, sizeof want, "%s holds 1 weights that are not finite", names[n]);
                if (score_dir(dir, &e) != ERR_INPUT || !strstr(e.msg, want))
                    fail_msg("%s, type %d, infinite %d: %s", names[n], (int)types[i].t, inf, e.msg);
                OK(fs_remove_tree(dir, &e), e);
                free(path);
                js_free(c);
            }
}

/* A gradient that overflowed gives scores that are not finite: their parameter is named. */
static void overflow(void **state)
{
    (void)state;
    struct opened o;
    struct tiny_batch b;
    struct err e;
    struct scores *s;
    double layers[3], modules[MOD_COUNT];
    tiny_open(&o, false, DT_F32);
    tiny_fill(&b, model_config(o.m)->vocab_size);
    char *path = scores_path();
    struct scores_options so = {.model = o.m, .path = path};
    so.wanted[MOD_O] = true;
    OK(scores_new(&so, &s, &e), e);
    OK(scores_batch(s, &b.b, &e), e);
    struct grad_sink sink = scores_sink(s);
    size_t out, in, n = (size_t)b.b.cu[b.b.n_seqs];
    module_shape(model_config(o.m), MOD_O, &out, &in);
    float *dy = calloc(n * out, sizeof *dy), *x = calloc(n * in, sizeof *x);
    for (size_t i = 0; i < n * in; i++)
        x[i] = 1;
    dy[3] = INFINITY;
    struct grad_linear g = {.layer = 2, .mod = MOD_O, .rows = out, .in = in, .n = n, .t = DT_F32, .dy = dy, .x = x, .ldy = out, .ldx = in,
                            .n_seqs = b.b.n_seqs, .seq_cu = b.b.cu};
    int rc = sink.linear(sink.u, &g, &e);
    if (!rc)
        rc = scores_end(s, layers, modules, &e);
    assert_int_equal(rc, ERR_INPUT);
    assert_non_null(strstr(e.msg, "the scores of model.layers.2.self_attn.o_proj.weight are not finite"));
    scores_free(s);
    free(dy);
    free(x);
    close_dir(&o);
    drop_path(path);
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

struct seeds {
    struct batch b;
    int32_t cu[17], tcu[17], *ids, *pos, *tid;
};

static void read_seeds(struct seeds *s, const char *dir)
{
    struct js *j = read_json(dir, "tokens.json");
    const struct js *rows = js_get(j, "seeds");
    int n = 0, t = 0, k = 0;
    *s = (struct seeds){.ids = malloc(1 << 20), .pos = malloc(1 << 20), .tid = malloc(1 << 20)};
    for (size_t i = 0; i < js_len(rows); i++) {
        const struct js *ids = js_get(js_at(rows, i), "ids");
        int len = (int)js_len(ids), first = (int)js_int(js_get(js_at(rows, i), "n_prompt"), 0);
        if (!js_int(js_get(js_at(rows, i), "n_target"), 0))
            continue;
        for (int q = 0; q < len; q++) {
            s->ids[t + q] = (int32_t)js_int(js_at(ids, (size_t)q), -1);
            if (q >= first && q > 0) {
                s->pos[k] = t + q - 1;
                s->tid[k++] = s->ids[t + q];
            }
        }
        t += len;
        s->cu[++n] = t;
        s->tcu[n] = k;
    }
    s->b = (struct batch){.n_seqs = n,
                          .cu = s->cu,
                          .ids = s->ids,
                          .n_targets = k,
                          .target_cu = s->tcu,
                          .target_pos = s->pos,
                          .target_id = s->tid};
    js_free(j);
}

static void near(double a, double b, const char *what)
{
    if (!(fabs(a - b) <= 1e-4 * fabs(b)))
        fail_msg("%s: %.9g, not %.9g", what, a, b);
}

static void golden_case(const char *name, struct run r)
{
    char dir[600], model[700];
    struct err e;
    struct opened o;
    struct seeds seeds;
    struct st_file *got, *want;
    snprintf(dir, sizeof dir, "%s/oracle/golden/%s", TEST_SHARED, name);
    struct js *k = read_json(dir, "case.json"), *j = read_json(dir, "scores/scores.json");
    snprintf(model, sizeof model, "%s/oracle/golden/models/%s", TEST_SHARED, js_cstr(js_get(k, "teacher")));
    open_dir(&o, model);
    read_seeds(&seeds, dir);
    char *path = scores_path();
    score(o.m, &seeds.b, &r, path);
    OK(st_open(path, &got, &e), e);
    snprintf(model, sizeof model, "%s/scores/scores.safetensors", dir);
    OK(st_open(model, &want, &e), e);
    assert_int_equal(st_count(got), st_count(want));
    for (size_t i = 0; i < st_count(want); i++) {
        const struct tensor *w = st_at(want, i), *g = st_find(got, w->name);
        assert_non_null(g);
        double d = distance(g->data, w->data, w->n);
        if (!(d <= 1e-4))
            fail_msg("%s: %s: %g", name, w->name, d);
    }
    for (size_t i = 0; i < js_len(js_get(j, "layers")); i++)
        near(r.layers[i], js_num(js_at(js_get(j, "layers"), i), 0), "layer");
    for (int m = 0; m < MOD_COUNT; m++)
        if (js_get(js_get(j, "modules"), module_name((enum module)m)))
            near(r.modules[m], js_num(js_get(js_get(j, "modules"), module_name((enum module)m)), 0),
                 module_name((enum module)m));
    for (int s = 0; s < seeds.b.n_seqs; s++)
        near(r.loss[s] / (seeds.tcu[s + 1] - seeds.tcu[s]), js_num(js_at(js_get(j, "loss"), (size_t)s), 0), "loss");
    st_close(got);
    st_close(want);
    js_free(j);
    js_free(k);
    free(seeds.ids);
    free(seeds.pos);
    free(seeds.tid);
    free(r.layers);
    close_dir(&o);
    drop_path(path);
}

static void golden(void **state)
{
    (void)state;
    if (!fs_is_dir(TEST_SHARED "/oracle/golden/mha")) {
        print_message("SKIPPED: no golden vectors at %s/oracle/golden; set PKG_SHARED\n", TEST_SHARED);
        skip();
    }
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        golden_case(cases[i], (struct run){0});
    golden_case("gqa", (struct run){.part_tokens = 100, .spill = true});
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(against_alone), cmocka_unit_test(same_bytes),
                                       cmocka_unit_test(subset), cmocka_unit_test(damaged_checkpoint), cmocka_unit_test(finite_differences),
                                       cmocka_unit_test(damaged), cmocka_unit_test(overflow), cmocka_unit_test(golden)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
