/* SPDX-License-Identifier: MIT
 *
 * sensitivity: S = sum over seed samples of |theta * dL_s/dtheta| for every parameter of the teacher (method.md 1). All
 * samples go end to end through one forward and one backward pass, layer by layer, so that every weight is read once in
 * each direction; the sink (runtime/model/scores.h) keeps the samples apart. Only where memory does not allow it are
 * they divided into groups.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/op.h"
#include "ops/lib/inputs.h"
#include "runtime/base/guard.h"
#include "runtime/model/pass.h"
#include "runtime/model/scores.h"
#include "runtime/model/weights.h"

enum { NAMED = 20 }; /* rows named one by one in a warning */

/* Asked of the scheduler at most, unless one row needs more; a larger budget is used all the same. */
#define ENOUGH ((uint64_t)4 << 30)

static void wanted_modules(const struct op_args *a, bool wanted[MOD_COUNT])
{
    static const struct {
        const char *group;
        enum module first, last;
    } groups[] = {
        {"attention", MOD_Q, MOD_O},     {"ffn", MOD_GATE, MOD_DOWN},         {"embed", MOD_EMBED, MOD_EMBED},
        {"lm_head", MOD_HEAD, MOD_HEAD}, {"norms", MOD_INPUT_NORM, MOD_NORM},
    };
    for (int m = 0; m < MOD_COUNT; m++)
        wanted[m] = !op_is_set(a, "modules");
    for (size_t i = 0; op_is_set(a, "modules") && i < op_count(a, "modules"); i++)
        for (size_t g = 0; g < sizeof groups / sizeof *groups; g++)
            for (int m = (int)groups[g].first; m <= (int)groups[g].last; m++)
                if (strcmp(op_str_at(a, "modules", i), groups[g].group) == 0 ||
                    strcmp(op_str_at(a, "modules", i), "all") == 0)
                    wanted[m] = true;
}

/* ---- plan time ---- */

/* {name: [shape]} of what will be scored. */
static struct js *score_shapes(const struct model_config *c, const bool *wanted)
{
    struct js *t = js_object();
    char name[PARAM_NAME_MAX];
    for (int l = -1; l < c->num_hidden_layers; l++)
        for (int m = 0; m < MOD_COUNT; m++) {
            bool outside = m == MOD_EMBED || m == MOD_HEAD || m == MOD_NORM;
            if (outside != (l < 0) || !wanted[m] || (m == MOD_HEAD && c->tie_word_embeddings))
                continue;
            size_t out, in;
            module_shape(c, (enum module)m, &out, &in);
            for (int bias = 0; bias < 1 + module_has_bias(c, (enum module)m); bias++) {
                struct js *shape = js_array();
                js_push(shape, js_new_int((int64_t)out));
                if (in > 1 && !bias)
                    js_push(shape, js_new_int((int64_t)in));
                js_set(t, param_name(name, l, (enum module)m, bias), shape);
            }
        }
    return t;
}

static int sensitivity_infer(struct op_infer *x, struct err *e)
{
    const struct op_args *a = op_infer_args(x);
    struct model_config c;
    bool wanted[MOD_COUNT], any = false;
    wanted_modules(a, wanted);
    op_blame_input(x, "model");
    int rc = op_model_config(a, "model", &c, e);
    if (rc)
        return rc;
    op_blame_param(x, "modules");
    for (int m = 0; m < MOD_COUNT; m++)
        any |= wanted[m] && !(m == MOD_HEAD && c.tie_word_embeddings);
    if (!any)
        return err_set(
            e, ERR_INPUT,
            "nothing is left to score: lm_head of a model with tied embeddings is its embedding; name embed");
    op_blame_param(x, "max_length");
    if (op_is_given(a, "max_length") && op_int(a, "max_length") > c.max_position_embeddings)
        return err_set(e, ERR_INPUT, "max_length %lld is more than the model's %d positions (max_position_embeddings)",
                       (long long)op_int(a, "max_length"), c.max_position_embeddings);
    if ((rc = op_check_chat(x, "data", "model", e)))
        return rc;
    struct js *d = js_object();
    js_set(d, "model", js_ref(js_get(op_input(a, "model"), "config")));
    js_set(d, "tensors", score_shapes(&c, wanted));
    js_set(d, "dtype", js_new_cstr(op_str(a, "dtype")));
    js_set(d, "tied", js_new_bool(c.tie_word_embeddings));
    return op_set_output(x, "scores", d, e);
}

/* The default never exceeds what the model can read. */
static size_t max_length(const struct op_args *a, const struct model_config *c)
{
    int64_t n = op_int(a, "max_length");
    return (size_t)(n < c->max_position_embeddings ? n : c->max_position_embeddings);
}

static double parameters(const struct model_config *c)
{
    double n = 2.0 * c->vocab_size * c->hidden_size;
    for (int m = 0; m < MOD_LINEARS; m++) {
        size_t out, in;
        module_shape(c, (enum module)m, &out, &in);
        n += (double)c->num_hidden_layers * (double)out * (double)in;
    }
    return n;
}

/* Of one group, beside the weights. */
static uint64_t working_memory(const struct model_config *c, enum dtype t, size_t tokens, size_t targets)
{
    return pass_memory(c, t, tokens, targets, true, true) + scores_memory(c, tokens);
}

static void sensitivity_cost(const struct op_args *a, struct op_cost *cost)
{
    struct model_config c;
    struct err e;
    if (op_model_config(a, "model", &c, &e))
        return;
    double rows = (double)js_int(js_get(op_input(a, "data"), "rows"), 32);
    if (op_is_set(a, "limit") && (double)op_int(a, "limit") < rows)
        rows = (double)op_int(a, "limit");
    double longest = (double)max_length(a, &c), length = longest < 400 ? longest : 400, tokens = rows * length,
           n = parameters(&c);
    size_t fit = (size_t)(tokens < 65536 ? tokens : 65536); /* more go in groups */
    enum dtype t = op_compute(a), stored = op_model_dtype(a, "model");
    *cost = (struct op_cost){.flops = 8 * n * tokens,
                             .bytes_read = 2 * n * (double)dtype_size(stored),
                             .bytes_written = n * (strcmp(op_str(a, "dtype"), "bf16") == 0 ? 2 : 4)};
    uint64_t all = working_memory(&c, t, fit, fit / 2), one = working_memory(&c, t, (size_t)longest, (size_t)longest);
    one = one > ENOUGH ? one : ENOUGH; /* less than all of it: groups, see score() */
    cost->peak_memory = (all < one ? all : one) + weights_memory(&c, stored, t, WEIGHTS_STREAMED);
}

/* ---- samples ---- */

struct sample {
    struct encoded x;
    int row;
    double loss;
};

struct samples {
    size_t n; /* with at least one target */
    struct sample *v;
    struct js *skipped; /* [{row, reason}] */
    size_t tokens, targets, longest;
};

static void samples_drop(struct samples *s)
{
    for (size_t i = 0; i < s->n; i++)
        encoded_release(&s->v[i].x);
    free(s->v);
    js_free(s->skipped);
}

static void skip(struct samples *s, const struct progress *p, const struct row *row, size_t i, const struct encoded *x)
{
    struct js *k = js_object();
    js_set(k, "row", js_new_int((int64_t)i));
    js_set(k, "reason", js_new_cstr("no target token"));
    js_push(s->skipped, k);
    progress_warn(p, "row %zu%s%s%s is skipped: no target token%s", i, row->id ? " (id " : "", row->id ? row->id : "",
                  row->id ? ")" : "", x->cut ? "; what comes before the answer fills max_length" : "");
}

static void warn_cut(const struct progress *p, const struct samples *s, size_t longest)
{
    size_t n = 0;
    struct buf b = {0};
    for (size_t i = 0; i < s->n; i++)
        if (s->v[i].x.cut && n++ < NAMED)
            buf_printf(&b, "%s%d", n > 1 ? ", " : "", s->v[i].row);
    if (n)
        progress_warn(p, "%zu rows are longer than max_length %zu and are cut there, as published: rows %s%s", n,
                      longest, b.p ? b.p : "", n > NAMED ? ", ..." : "");
    buf_release(&b);
}

static int encode(struct op_run *r, struct model *m, const struct op_dataset *d, struct samples *s, struct err *e)
{
    const struct op_args *a = op_run_args(r);
    const struct tokenizer *t;
    const char *eos;
    int id, rc = model_tokenizer(m, &t, e);
    size_t n = d->rows.n, limit = op_is_set(a, "limit") ? (size_t)op_int(a, "limit") : n;
    enum text_form form = strcmp(op_str(a, "text"), "train") == 0 ? FORM_TRAIN : FORM_SEED;
    n = limit < n ? limit : n;
    if (!rc)
        rc = op_model_eos(m, &eos, &id, e);
    s->v = calloc(n + 1, sizeof *s->v);
    s->skipped = js_array();
    if (!rc && (!s->v || !s->skipped))
        rc = err_nomem(e, n * sizeof *s->v, "samples");
    for (size_t i = 0; i < n && !rc; i++) {
        struct sample *v = &s->v[s->n];
        *v = (struct sample){.row = (int)i};
        rc = row_encode(t, &d->rows.v[i], form, d->train_on, max_length(a, model_config(m)), eos, id, &v->x, e);
        if (rc)
            return err_prefix(e, "row %zu", i);
        for (size_t k = 0; k < v->x.n; k++)
            if (v->x.ids[k] < 0 || v->x.ids[k] >= model_config(m)->vocab_size)
                return err_set(
                    e, ERR_INPUT,
                    "row %zu has token %d; the model's vocab_size is %d: tokenizer and weights do not belong together",
                    i, v->x.ids[k], model_config(m)->vocab_size);
        if (!v->x.n_target) {
            skip(s, op_progress(r), &d->rows.v[i], i, &v->x);
            encoded_release(&v->x);
            continue;
        }
        s->tokens += v->x.n;
        s->targets += v->x.n_target;
        s->longest = v->x.n > s->longest ? v->x.n : s->longest;
        s->n++;
    }
    if (!rc && !s->n)
        rc = err_set(e, ERR_INPUT,
                     "none of the %zu rows has a target token: nothing can be scored; raise max_length, or check that "
                     "every row ends in an "
                     "assistant turn",
                     n);
    if (!rc)
        warn_cut(op_progress(r), s, max_length(a, model_config(m)));
    return rc;
}

/* ---- groups ---- */

struct group {
    size_t first, n, tokens, targets;
};

/* As many samples as memory allows; one at least. */
static struct group next_group(const struct samples *s, size_t first, const struct model_config *c, enum dtype t,
                               uint64_t memory)
{
    struct group g = {first, 0, 0, 0};
    while (first + g.n < s->n) {
        const struct encoded *x = &s->v[first + g.n].x;
        uint64_t need = working_memory(c, t, g.tokens + x->n, g.targets + x->n_target);
        if (g.n && (need > memory || g.tokens + x->n > INT32_MAX / 2))
            break;
        g.n++;
        g.tokens += x->n;
        g.targets += x->n_target;
    }
    return g;
}

static int pack(const struct samples *s, const struct group *g, struct batch *b, int32_t **memory, struct err *e)
{
    size_t n = g->n, ints = 2 * (n + 1) + g->tokens + 2 * g->targets;
    int32_t *p = *memory = malloc(ints * sizeof *p), *cu = p, *tcu = cu + n + 1, *ids = tcu + n + 1,
            *pos = ids + g->tokens, *id = pos + g->targets;
    if (!p)
        return err_nomem(e, ints * sizeof *p, "the packed samples");
    int32_t at = 0, k = 0;
    cu[0] = tcu[0] = 0;
    for (size_t i = 0; i < n; i++) {
        const struct encoded *x = &s->v[g->first + i].x;
        memcpy(ids + at, x->ids, x->n * sizeof *ids);
        for (size_t t = 1; t < x->n; t++)
            if (x->trained[t]) {
                pos[k] = at + (int32_t)t - 1;
                id[k++] = x->ids[t];
            }
        at += (int32_t)x->n;
        cu[i + 1] = at;
        tcu[i + 1] = k;
    }
    *b = (struct batch){
        .n_seqs = (int)n, .cu = cu, .ids = ids, .n_targets = k, .target_cu = tcu, .target_pos = pos, .target_id = id};
    return 0;
}

/* Losses from sums; ERR_INPUT names the first row whose loss is not finite. */
static int take_losses(struct samples *s, const struct group *g, const double *sums, struct err *e)
{
    for (size_t i = 0; i < g->n; i++) {
        struct sample *v = &s->v[g->first + i];
        v->loss = sums[i] / (double)v->x.n_target;
        if (!isfinite(v->loss))
            return err_set(
                e, ERR_INPUT,
                "the loss of row %d is %s: the model overflows on it; try compute: f32, or leave the row out", v->row,
                isnan(v->loss) ? "not a number" : "infinite");
    }
    return 0;
}

static int run_group(struct op_run *r, const struct weights *w, struct scores *scores, struct samples *s,
                     const struct group *g, double done, struct err *e)
{
    struct batch b;
    int32_t *memory = NULL;
    double *loss = calloc(g->n, sizeof *loss), total;
    struct pass_options o = {.weights = w,
                             .recompute = true,
                             .progress = op_progress(r),
                             .progress_done = done,
                             .progress_total = (double)s->tokens};
    struct grad_sink sink = scores_sink(scores);
    int rc = loss ? pack(s, g, &b, &memory, e) : err_nomem(e, g->n * sizeof *loss, "losses");
    if (!rc)
        rc = scores_batch(scores, &b, e);
    if (!rc) {
        rc = pass_backward(&o, &b, &sink, loss, &total, e);
        if (rc == 0 || rc == ERR_INPUT) { /* scores that are not finite: the row is the better place to name */
            int lost = take_losses(s, g, loss, e);
            rc = lost ? lost : rc;
        }
    }
    free(memory);
    free(loss);
    return rc;
}

/* ---- output ---- */

static struct js *scores_json(const struct samples *s, const struct model_config *c, const bool *wanted,
                              const double *layers, const double *modules)
{
    struct js *j = js_object(), *l = js_array(), *m = js_object(), *loss = js_array();
    for (int i = 0; i < c->num_hidden_layers; i++)
        js_push(l, js_new_num(layers[i]));
    for (int i = 0; i < MOD_COUNT; i++)
        if (wanted[i] && !(i == MOD_HEAD && c->tie_word_embeddings))
            js_set(m, module_name((enum module)i), js_new_num(modules[i]));
    for (size_t i = 0; i < s->n; i++)
        js_push(loss, js_new_num(s->v[i].loss));
    js_set(j, "samples", js_new_int((int64_t)s->n));
    js_set(j, "skipped", js_ref(s->skipped));
    js_set(j, "loss", loss);
    js_set(j, "tokens", js_new_int((int64_t)s->tokens));
    js_set(j, "target_tokens", js_new_int((int64_t)s->targets));
    js_set(j, "layers", l);
    js_set(j, "modules", m);
    return j;
}

static int write_json(struct op_run *r, const struct samples *s, const struct model_config *c, const bool *wanted,
                      const double *layers, const double *modules, struct err *e)
{
    struct js *j = scores_json(s, c, wanted, layers, modules);
    int rc = op_out_json(r, "scores", "scores.json", j, e);
    js_free(j);
    return rc;
}

static int score(struct op_run *r, struct model *m, struct samples *s, struct err *e)
{
    const struct op_args *a = op_run_args(r);
    const struct model_config *c = model_config(m);
    enum dtype t = op_compute(a);
    struct scores_options o = {.model = m, .dtype = strcmp(op_str(a, "dtype"), "bf16") == 0 ? DT_BF16 : DT_F32};
    struct weights *w = NULL;
    struct scores *scores = NULL;
    double *layers = calloc((size_t)c->num_hidden_layers, sizeof *layers), modules[MOD_COUNT];
    uint64_t memory = op_memory(r), fixed = weights_memory(c, op_model_dtype(a, "model"), t, WEIGHTS_STREAMED);
    memory = memory > fixed ? memory - fixed : 0;
    size_t done = 0;
    wanted_modules(a, o.wanted);
    for (size_t i = 0; i < s->n; o.batches++)
        i += next_group(s, i, c, t, memory).n;
    int rc = layers ? op_out_file(r, "scores", "scores.safetensors", &o.path, e) : err_nomem(e, 4096, "layers");
    if (!rc)
        rc = weights_new(m, t, WEIGHTS_STREAMED, &w, e);
    if (!rc)
        rc = scores_new(&o, &scores, e);
    if (!rc && o.batches > 1)
        progress_warn(op_progress(r),
                      "the budget of %llu MiB holds the activations of some rows only: the %zu rows (%zu tokens) go in %d "
                      "groups, and each reads the weights again; the scores are the same. --mem gives more",
                      (unsigned long long)(op_memory(r) >> 20), s->n, s->tokens, o.batches);
    for (size_t i = 0; i < s->n && !rc;) {
        struct group g = next_group(s, i, c, t, memory);
        rc = run_group(r, w, scores, s, &g, (double)done, e);
        done += g.tokens;
        i += g.n;
    }
    if (!rc)
        rc = scores_end(scores, layers, modules, e);
    if (rc == ERR_INPUT && scores_check_weights(m, e)) /* a damaged weight is the cause: its name, not the row's */
        rc = e->code;
    if ((!rc || rc == ERR_INPUT) && guard_check(e)) /* a file that shrank reads as zeros */
        rc = e->code;
    if (!rc)
        rc = write_json(r, s, c, o.wanted, layers, modules, e);
    scores_free(scores);
    weights_free(w);
    free(layers);
    return rc;
}

static int sensitivity_run(struct op_run *r, struct err *e)
{
    struct model *m = NULL;
    struct op_dataset d = {0};
    struct samples s = {0};
    int rc = op_open_model(r, "model", &m, e);
    if (!rc)
        rc = op_read_dataset(r, "data", &d, e);
    if (!rc)
        rc = op_dataset_chat(&d, m, e);
    if (!rc)
        rc = encode(r, m, &d, &s, e);
    if (!rc)
        rc = score(r, m, &s, e);
    samples_drop(&s);
    op_dataset_release(&d);
    model_close(m);
    return rc;
}

static const struct port_def inputs[] = {
    {.name = "model", .type = "model", .help = "the teacher"},
    {.name = "data", .type = "dataset", .help = "seed samples; the paper uses 32"},
    {0},
};

static const struct port_def outputs[] = {
    {.name = "scores",
     .type = "scores",
     .help = "scores.safetensors: S under every parameter's name, in its shape; scores.json: losses, sums by layer and "
             "module"},
    {0},
};

static const struct param_def params[] = {
    {.name = "max_length",
     .type = PARAM_INT,
     .fallback = "2048",
     .min = 2,
     .max = 1 << 24,
     .help = "rows are cut at this many tokens, as published"},
    {.name = "modules",
     .type = PARAM_STRINGS,
     .fallback = "all",
     .unset = "all",
     .choices = "all|attention|ffn|embed|lm_head|norms",
     .help = "which parameters to score; layer scores are sums over the scored ones only"},
    {.name = "dtype",
     .type = PARAM_ENUM,
     .fallback = "f32",
     .choices = "f32|bf16",
     .help = "type of the stored scores"},
    {.name = "limit",
     .type = PARAM_INT,
     .fallback = "all",
     .unset = "all",
     .min = 1,
     .max = 1e9,
     .help = "use the first rows only"},
    {.name = "text",
     .type = PARAM_ENUM,
     .fallback = "seed",
     .choices = "seed|train",
     .help = "seed: the published form of seed samples (answer, EOS text); train: the form that training uses (answer, "
             "blank line, EOS)"},
    PARAM_COMPUTE,
    {0},
};

const struct op op_sensitivity = {
    .name = "sensitivity",
    .version = 1,
    .summary = "Score every parameter of the teacher on seed samples: sum of |W * dL/dW|",
    .doc = "The loss of a sample is the mean cross entropy over its target tokens; the absolute value is taken per "
           "sample, before the sum. All samples go through "
           "one forward and one backward pass, so that weights are read once in each direction; they are divided only "
           "when memory is short. A row without a "
           "target token (its prompt fills max_length) is skipped with a warning. A tied embedding is one parameter: "
           "both its gradients are added first.",
    .inputs = inputs,
    .outputs = outputs,
    .params = params,
    .infer = sensitivity_infer,
    .cost = sensitivity_cost,
    .run = sensitivity_run,
};
