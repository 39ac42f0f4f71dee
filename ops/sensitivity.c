/* SPDX-License-Identifier: MIT
 *
 * sensitivity: S = sum over seed samples of |theta * dL_s/dtheta| for every parameter of the teacher (method.md 1). All
 * samples go end to end through one forward and one backward pass, layer by layer, so that every weight is read once in
 * each direction; the sink (runtime/model/scores.h) keeps the samples apart. Where memory is short the inputs of the layers
 * go to a file, and then each layer takes the samples in parts. Between layers of the backward pass the work can stop and go on.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/op.h"
#include "ops/lib/inputs.h"
#include "runtime/base/fs.h"
#include "runtime/base/guard.h"
#include "runtime/model/pass.h"
#include "runtime/model/scores.h"
#include "runtime/model/weights.h"

enum { NAMED = 20, KEEP_FLOPS = 1000 }; /* rows named one by one in a warning; see keeping_pays */

enum { USUAL_LENGTH = 400 }; /* tokens of a row, for estimates before any was read */

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

/* How the work fits into memory: see plan_memory. */
struct shape {
    size_t part; /* tokens that go through a layer together */
    bool spill;  /* the layers' inputs lie in a file */
    int kept;    /* uppermost layers whose activations are kept for the backward pass; those of the others are made again */
    int most;    /* of which it would pay */
    size_t rows; /* of all samples */
};

/* Beside the weights. */
static uint64_t working_memory(const struct model_config *c, enum dtype t, size_t tokens, size_t targets, const struct shape *s)
{
    return pass_parts_memory(c, t, tokens, s->part, targets, s->spill, s->kept) + scores_memory(c, t, tokens, s->part, s->rows, targets);
}

/* Whether a layer's activations are worth their memory: a fresh page costs as much as KEEP_FLOPS operations a byte, and making them again
 * takes two for every weight but down_proj's and every token. They are q, k, v, the attention's output, the residual, gate and up, f32. */
static bool keeping_pays(const struct model_config *c)
{
    double flops = 0, bytes = 0;
    for (int m = 0; m < MOD_DOWN; m++) {
        size_t out, in;
        module_shape(c, (enum module)m, &out, &in);
        flops += 2.0 * (double)out * (double)in;
        bytes += 4.0 * (double)out;
    }
    return flops >= KEEP_FLOPS * (bytes + 4.0 * c->num_attention_heads * c->head_dim);
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
    double longest = (double)max_length(a, &c), tokens = rows * (longest < USUAL_LENGTH ? longest : USUAL_LENGTH), n = parameters(&c);
    enum dtype t = op_compute(a), stored = op_model_dtype(a, "model");
    double head = (double)c.vocab_size * c.hidden_size; /* at targets, nearer half of the tokens than all, and not made again */
    *cost = (struct op_cost){.flops = (8 * (n - 2 * head) + 3 * head) * tokens,
                             .products = t,
                             .bytes_read = 2 * n * (double)dtype_size(stored),
                             .bytes_written = n * (strcmp(op_str(a, "dtype"), "bf16") == 0 ? 2 : 4)};
    size_t n_rows = (size_t)rows, all = (size_t)tokens, one = (size_t)longest < all ? (size_t)longest : all;
    const struct shape room = {all, false, 1, 0, n_rows}, filed = {all, true, 1, 0, n_rows}, parts = {one, true, 1, 0, n_rows};
    uint64_t fixed = weights_memory(&c, stored, t, WEIGHTS_STREAMED);
    cost->peak_memory = fixed + working_memory(&c, t, all, all / 2, &room);
    cost->less[0] = (struct op_less){fixed + working_memory(&c, t, all, all / 2, &filed), "keeps the layers' inputs in a file"};
    cost->less[1] = (struct op_less){fixed + working_memory(&c, t, all, all / 2, &parts),
                                     "keeps the layers' inputs in a file and takes the rows in parts"};
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

/* All tokens at once with everything in memory, with the activations of as many layers as it holds beside that; else the layers' inputs
 * in a file; else, beside that, parts of the batch, as large as memory allows and as the longest row at least. Kept activations are not
 * asked for: they take what the node is given beyond its need. */
static struct shape plan_memory(const struct model_config *c, enum dtype t, const struct samples *samples, uint64_t memory)
{
    size_t tokens = samples->tokens, targets = samples->targets, longest = samples->longest;
    struct shape s = {tokens, false, 1, keeping_pays(c) ? c->num_hidden_layers : 1, samples->n}, more = s;
    if (working_memory(c, t, tokens, targets, &s) <= memory) {
        while (++more.kept <= s.most && working_memory(c, t, tokens, targets, &more) <= memory)
            s.kept = more.kept;
        return s;
    }
    s.spill = true;
    while (s.part > longest && working_memory(c, t, tokens, targets, &s) > memory)
        s.part = s.part / 2 > longest ? s.part / 2 : longest;
    return s;
}

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

/* ---- the pass ---- */

static int pack(const struct samples *s, struct batch *b, int32_t **memory, struct err *e)
{
    size_t n = s->n, ints = 2 * (n + 1) + s->tokens + 2 * s->targets;
    if (s->tokens > INT32_MAX / 2)
        return err_set(e, ERR_INPUT, "%zu tokens in %zu rows are more than one pass can index; use fewer rows (limit)", s->tokens, n);
    int32_t *p = *memory = malloc(ints * sizeof *p), *cu = p, *tcu = cu + n + 1, *ids = tcu + n + 1,
            *pos = ids + s->tokens, *id = pos + s->targets;
    if (!p)
        return err_nomem(e, ints * sizeof *p, "the packed samples");
    int32_t at = 0, k = 0;
    cu[0] = tcu[0] = 0;
    for (size_t i = 0; i < n; i++) {
        const struct encoded *x = &s->v[i].x;
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
static int take_losses(struct samples *s, const double *sums, struct err *e)
{
    for (size_t i = 0; i < s->n; i++) {
        struct sample *v = &s->v[i];
        v->loss = sums[i] / (double)v->x.n_target;
        if (!isfinite(v->loss))
            return err_set(
                e, ERR_INPUT,
                "the loss of row %d is %s: the model overflows on it; try compute: f32, or leave the row out", v->row,
                isnan(v->loss) ? "not a number" : "infinite");
    }
    return 0;
}

/* Where the work stands, for checkpoints. */
struct work {
    struct op_run *r;
    struct samples *s;
    struct scores *scores;
    struct batch b;
    double *loss;
    int layers;
    char *partial, *state; /* files */
    time_t saved;
    double interval;       /* seconds */
};

static time_t seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec;
}

/* Between layers: a checkpoint when it is time for one, or when the work is cancelled. */
static int at_point(void *u, const struct pass_point *p, struct err *e)
{
    struct work *w = u;
    bool cancelled = progress_cancelled(op_progress(w->r));
    if (guard_check(e)) /* before a checkpoint of it is written */
        return e->code;
    if (p->layer == w->layers && take_losses(w->s, w->loss, e))
        return e->code;
    if (p->layer == 0 || (!cancelled && (double)(seconds() - w->saved) < w->interval))
        return 0;
    int rc = scores_save(w->scores, w->state, p, w->loss, e);
    w->saved = seconds();
    if (rc && rc != ERR_NOMEM && !cancelled) { /* the work itself can go on */
        progress_warn(op_progress(w->r), "no checkpoint: %s", e->msg);
        rc = 0;
    }
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

/* The point to go on from, if an earlier run left one. */
static int go_on(struct work *w, struct pass_point *from, bool *found, struct err *e)
{
    int rc = scores_go_on(w->scores, w->state, from, w->loss, e);
    *found = rc == 0;
    if (rc == ERR_DAMAGED)
        progress_warn(op_progress(w->r), "the checkpoint is left aside: %s", e->msg);
    if (*found)
        progress_warn(op_progress(w->r), "going on after layer %d of %d: those above are done", from->layer, w->layers);
    return rc == ERR_DAMAGED || rc == ERR_NOTFOUND ? 0 : rc;
}

static void say_shape(const struct work *w, const struct shape *s)
{
    if (!s->spill && s->kept < s->most)
        progress_warn(op_progress(w->r),
                      "the budget of %llu MiB holds the activations of %d of %d layers: those of the others are made again; --mem gives more",
                      (unsigned long long)(op_memory(w->r) >> 20), s->kept, s->most);
    if (!s->spill)
        return;
    char parts[96] = "";
    if (s->part < w->s->tokens)
        snprintf(parts, sizeof parts, ", and each layer takes them in parts of %zu tokens", s->part);
    progress_warn(op_progress(w->r),
                  "the budget of %llu MiB does not hold the activations of %zu tokens: the layers' inputs lie in a temporary file%s. "
                  "It takes longer, the scores are the same but for rounding; --mem gives more",
                  (unsigned long long)(op_memory(w->r) >> 20), w->s->tokens, parts);
}

/* Forward and backward of all samples into the scores. */
static int run_pass(struct work *w, const struct weights *weights, const struct shape *shape, const char *folder, struct err *e)
{
    struct pass_point from;
    struct pass_options o = {.weights = weights,
                             .recompute = true,
                             .precise = true,
                             .kept = shape->kept,
                             .progress = op_progress(w->r),
                             .progress_total = (double)w->s->tokens,
                             .part_tokens = shape->part < w->s->tokens ? shape->part : 0,
                             .spill = shape->spill ? folder : NULL,
                             .point = at_point,
                             .point_u = w};
    struct grad_sink sink = scores_sink(w->scores);
    bool found = false;
    double total;
    int rc = scores_batch(w->scores, &w->b, e);
    if (!rc)
        rc = go_on(w, &from, &found, e);
    o.from = found ? &from : NULL;
    if (rc)
        return rc;
    rc = pass_backward(&o, &w->b, &sink, w->loss, &total, e);
    if (rc == 0 || rc == ERR_INPUT) { /* scores that are not finite: the row is the better place to name */
        struct err lost;
        if (take_losses(w->s, w->loss, &lost)) {
            *e = lost;
            rc = e->code;
        }
    }
    return rc;
}

static int begin_work(struct work *w, char **folder, struct err *e)
{
    const char *dir;
    int rc = op_checkpoint_dir(w->r, &dir, e);
    if (rc)
        return rc;
    w->partial = fs_join(dir, "scores.partial");
    w->state = fs_join(dir, "state.safetensors");
    *folder = fs_join(dir, ".");
    w->loss = calloc(w->s->n, sizeof *w->loss);
    w->saved = seconds();
    w->interval = op_is_set(op_run_args(w->r), "save_interval") ? op_float(op_run_args(w->r), "save_interval") : 0;
    return w->partial && w->state && *folder && w->loss ? 0 : err_nomem(e, 4096, "a checkpoint");
}

static int score(struct op_run *r, struct model *m, struct samples *s, struct err *e)
{
    const struct op_args *a = op_run_args(r);
    const struct model_config *c = model_config(m);
    enum dtype t = op_compute(a);
    struct scores_options o = {.model = m, .dtype = strcmp(op_str(a, "dtype"), "bf16") == 0 ? DT_BF16 : DT_F32};
    struct weights *weights = NULL;
    struct work w = {.r = r, .s = s, .layers = c->num_hidden_layers};
    char *folder = NULL;
    int32_t *packed = NULL;
    struct digest digest;
    double *layers = calloc((size_t)c->num_hidden_layers, sizeof *layers), modules[MOD_COUNT];
    uint64_t memory = op_memory(r), fixed = weights_memory(c, op_model_dtype(a, "model"), t, WEIGHTS_STREAMED);
    struct shape shape = plan_memory(c, t, s, memory > fixed ? memory - fixed : 0);
    wanted_modules(a, o.wanted);
    int rc = layers ? op_out_file(r, "scores", "scores.safetensors", &o.path, e) : err_nomem(e, 4096, "layers");
    if (!rc)
        rc = begin_work(&w, &folder, e);
    if (!rc)
        rc = pack(s, &w.b, &packed, e);
    if (!rc)
        rc = weights_new(m, t, WEIGHTS_STREAMED, &weights, e);
    o.partial = w.partial;
    if (!rc)
        rc = scores_new(&o, &w.scores, e);
    if (!rc) {
        say_shape(&w, &shape);
        rc = run_pass(&w, weights, &shape, folder, e);
    }
    if (!rc)
        rc = scores_end(w.scores, layers, modules, e);
    if (!rc && scores_digest(w.scores, &digest))
        op_out_digest(r, "scores", "scores.safetensors", &digest);
    if (rc == ERR_INPUT && scores_check_weights(m, e)) /* a damaged weight is the cause: its name, not the row's */
        rc = e->code;
    if (!rc)
        rc = write_json(r, s, c, o.wanted, layers, modules, e);
    scores_free(w.scores);
    weights_free(weights);
    free(w.partial);
    free(w.state);
    free(w.loss);
    free(folder);
    free(packed);
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
    {.name = "save_interval",
     .type = PARAM_DURATION,
     .fallback = "30s",
     .min = 0,
     .max = 1e9,
     .flags = PARAM_NOKEY,
     .help = "how often a checkpoint is written, between layers; 0: after each"},
    PARAM_COMPUTE,
    {0},
};

const struct op op_sensitivity = {
    .name = "sensitivity",
    .version = 6,
    .summary = "Score every parameter of the teacher on seed samples: sum of |W * dL/dW|",
    .doc = "The loss of a sample is the mean cross entropy over its target tokens; the absolute value is taken per "
           "sample, before the sum. All samples go through "
           "one forward and one backward pass, layer by layer, so that weights are read once in each direction. In a large model the activations of "
           "as many layers as memory holds are kept for the backward pass, those of the others are made again. When memory is short, the inputs of "
           "the layers lie in a temporary file, and then each layer takes the samples in parts. A stopped run goes on from the last "
           "checkpoint, with the same bytes. A row without a "
           "target token (its prompt fills max_length) is skipped with a warning. A tied embedding is one parameter: "
           "both its gradients are added first.",
    .inputs = inputs,
    .outputs = outputs,
    .params = params,
    .infer = sensitivity_infer,
    .cost = sensitivity_cost,
    .run = sensitivity_run,
};
