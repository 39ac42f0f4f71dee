/* SPDX-License-Identifier: MIT
 *
 * dim-align: blocks of the student's shape out of the teacher's matrices, where the sensitivity is largest (method.md
 * 3). Scores and weights are mapped, the block is copied bit for bit, some rows at a time, and written to its place; a few
 * matrices together, one on each processor.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/op.h"
#include "ops/lib/extract.h"
#include "ops/lib/inputs.h"
#include "ops/lib/layers.h"
#include "ops/lib/vocabulary.h"
#include "runtime/base/fs.h"
#include "runtime/exec/par.h"
#include "runtime/formats/quant.h"

enum { TOGETHER = 14 }; /* blocks under way at a time */

static void wanted_modules(const struct op_args *a, bool wanted[MOD_COUNT])
{
    memset(wanted, 0, MOD_COUNT * sizeof *wanted);
    for (size_t i = 0; i < op_count(a, "modules"); i++) {
        const char *g = op_str_at(a, "modules", i);
        for (int m = 0; m < MOD_LINEARS; m++)
            if (strcmp(g, m <= MOD_O ? "attention" : "ffn") == 0)
                wanted[m] = true;
        if (strcmp(g, "embed") == 0)
            wanted[MOD_EMBED] = true;
        if (strcmp(g, "lm_head") == 0)
            wanted[MOD_HEAD] = true;
    }
}

static struct extract_options options(const struct op_args *a)
{
    static const char *const names[] = {"submatrix", "row-column", "neuron", "random"};
    struct extract_options o = {.reference = strcmp(op_str(a, "compat"), "reference") == 0,
                                .seed = (uint64_t)op_int(a, "seed")};
    for (int i = 0; i < 4; i++)
        if (strcmp(op_str(a, "structure"), names[i]) == 0)
            o.structure = (enum structure)i;
    return o;
}

/* ---- plan time ---- */

static int check_scores(struct op_infer *x, const struct model_config *teacher, const bool *wanted, struct err *e)
{
    const struct op_args *a = op_infer_args(x);
    const struct js *scores = op_input(a, "scores"), *tensors = js_get(scores, "tensors");
    struct model_config c;
    op_blame_input(x, "scores");
    if (js_get(scores, "model") && model_config_parse(js_get(scores, "model"), "scores", &c, e))
        return e->code;
    if (js_get(scores, "model") &&
        (c.hidden_size != teacher->hidden_size || c.intermediate_size != teacher->intermediate_size ||
         c.num_hidden_layers != teacher->num_hidden_layers || c.vocab_size != teacher->vocab_size ||
         c.num_attention_heads != teacher->num_attention_heads || c.head_dim != teacher->head_dim))
        return err_set(e, ERR_INPUT,
                       "the scores are those of another model (hidden_size %d, %d layers, vocab_size %d) than the one "
                       "given as model (hidden_size %d, %d layers, "
                       "vocab_size %d)",
                       c.hidden_size, c.num_hidden_layers, c.vocab_size, teacher->hidden_size,
                       teacher->num_hidden_layers, teacher->vocab_size);
    for (int m = 0; m < MOD_COUNT && tensors; m++) {
        char name[PARAM_NAME_MAX];
        enum module from = m == MOD_HEAD && teacher->tie_word_embeddings ? MOD_EMBED : (enum module)m;
        param_name(name, m < MOD_LINEARS ? 0 : -1, from, false);
        if (wanted[m] && !js_get(tensors, name))
            return err_set(e, ERR_INPUT,
                           "there are no scores of %s: sensitivity was told to leave it out (modules); extract other "
                           "modules, or score it",
                           module_name((enum module)m));
    }
    return 0;
}

static int check_layers(struct op_infer *x, const struct model_config *teacher, const struct model_config *student,
                        struct err *e)
{
    const struct js *l = op_input(op_infer_args(x), "layers");
    int64_t n = js_int(js_get(l, "teacher_layers"), teacher->num_hidden_layers),
            k = js_int(js_get(l, "student_layers"), student->num_hidden_layers);
    op_blame_input(x, "layers");
    if (n != teacher->num_hidden_layers || k != student->num_hidden_layers)
        return err_set(e, ERR_INPUT, "the layer map leads from %lld layers to %lld; the teacher has %d, the student %d",
                       (long long)n, (long long)k, teacher->num_hidden_layers, student->num_hidden_layers);
    return 0;
}

static int check_vocabulary(const struct op_args *a, struct err *e)
{
    struct js *t = vocabulary_facts(op_input(a, "model")), *s = vocabulary_facts(op_input(a, "student"));
    int rc = t && s ? vocabulary_same(t, s, false,
                                      "embed_tokens and lm_head have a row for each token and can only be taken over one vocabulary; leave embed "
                                      "and lm_head out of modules, or take a student with the teacher's vocabulary", e)
                    : err_nomem(e, 0, "facts of a vocabulary");
    js_free(t);
    js_free(s);
    return rc;
}

static int align_infer(struct op_infer *x, struct err *e)
{
    const struct op_args *a = op_infer_args(x);
    struct model_config teacher, student;
    bool wanted[MOD_COUNT];
    wanted_modules(a, wanted);
    op_blame_input(x, "model");
    int rc = op_model_config(a, "model", &teacher, e);
    op_blame_input(x, "student");
    if (!rc)
        rc = op_model_config(a, "student", &student, e);
    if (!rc && student.tie_word_embeddings)
        wanted[MOD_HEAD] = false;
    if (!rc)
        rc = extract_check(&teacher, &student, wanted, e);
    if (!rc && (wanted[MOD_EMBED] || wanted[MOD_HEAD]))
        rc = check_vocabulary(a, e);
    if (!rc)
        rc = check_scores(x, &teacher, wanted, e);
    if (!rc)
        rc = check_layers(x, &teacher, &student, e);
    struct extract_options o = options(a);
    if (!rc && op_bool(a, "shared_axes") && (o.structure != STRUCTURE_SUBMATRIX || o.reference)) {
        op_blame_param(x, "shared_axes");
        rc = err_set(
            e, ERR_INPUT,
            "shared_axes chooses the windows of a layer together: it needs structure: submatrix and compat: none");
    }
    if (rc)
        return rc;
    struct js *d = js_object(), *names = js_array();
    for (int m = 0; m < MOD_COUNT; m++)
        if (wanted[m])
            js_push(names, js_new_cstr(module_name((enum module)m)));
    js_set(d, "student", js_ref(js_get(op_input(a, "student"), "config")));
    js_set(d, "modules", names);
    if (wanted[MOD_EMBED] || wanted[MOD_HEAD])
        js_set(d, "vocabulary", vocabulary_facts(op_input(a, "student")));
    js_set(d, "structure", js_new_cstr(op_str(a, "structure")));
    return op_set_output(x, "blocks", d, e);
}

static void align_cost(const struct op_args *a, struct op_cost *c)
{
    struct model_config t, s;
    struct err e;
    bool wanted[MOD_COUNT];
    wanted_modules(a, wanted);
    if (op_model_config(a, "model", &t, &e) || op_model_config(a, "student", &s, &e))
        return;
    double scores = 0, blocks = 0, largest = 0, together = 0, w = (double)dtype_size(op_model_dtype(a, "model"));
    for (int m = 0; m < MOD_COUNT; m++) {
        size_t r, k, rows, cols;
        if (!wanted[m] || (m == MOD_HEAD && s.tie_word_embeddings))
            continue;
        module_shape(&s, (enum module)m, &r, &k);
        module_shape(&t, (enum module)m, &rows, &cols);
        double times = m < MOD_LINEARS ? s.num_hidden_layers : 1, block = (double)r * (double)k;
        scores += times * (double)rows * (double)cols;
        blocks += times * block;
        largest = block > largest ? block : largest;
        together = m < MOD_LINEARS && block > together ? block : together;
    }
    double at_once = par_cpus() < TOGETHER ? par_cpus() : TOGETHER, table = strcmp(op_str(a, "compat"), "reference") == 0;
    largest = largest > at_once * together ? largest : at_once * together;
    *c = (struct op_cost){
        .flops = 8 * scores,
        .bytes_read = 4 * scores + w * blocks,
        .bytes_written = w * blocks,
        .peak_memory = (uint64_t)(w * largest + table * at_once * 4.0 * t.hidden_size * t.intermediate_size) + (64u << 20)};
}

/* ---- run time ---- */

struct align {
    struct op_run *r;
    struct model *teacher;
    const struct model_config *t;
    struct model_config student;
    struct st_file *scores;
    struct extract_job *jobs;
    size_t n;
    struct st_writer *out;
    struct js *tensors; /* of blocks.json */
};

static int find(const struct align *x, const struct extract_job *j, const struct tensor **w, const struct tensor **s,
                struct err *e)
{
    *w = model_tensor(x->teacher, j->source);
    *s = st_find(x->scores, j->source);
    if (!*w)
        return err_set(e, ERR_INPUT, "the teacher has no parameter %s", j->source);
    if (!*s)
        return err_set(e, ERR_INPUT, "the scores have no entry for %s", j->source);
    return 0;
}

static int share_axes(struct align *x, struct err *e)
{
    for (size_t i = 0; i < x->n;) {
        size_t n = 1;
        const struct tensor *scores[MOD_LINEARS], *w;
        while (x->jobs[i].layer >= 0 && i + n < x->n && x->jobs[i + n].layer == x->jobs[i].layer)
            n++;
        int rc = progress_poll(op_progress(x->r), e);
        for (size_t k = 0; k < n && x->jobs[i].layer >= 0 && !rc; k++)
            rc = find(x, &x->jobs[i + k], &w, &scores[k], e);
        if (!rc && x->jobs[i].layer >= 0)
            rc = extract_shared(x->t, &x->student, x->jobs + i, n, scores, e);
        if (rc)
            return rc;
        i += n;
    }
    return 0;
}

static int declare_blocks(struct align *x, struct err *e)
{
    const char *path;
    int rc = op_out_file(x->r, "blocks", "blocks.safetensors", &path, e);
    if (!rc)
        rc = st_writer_new(path, &x->out, e);
    if (!rc) {
        st_writer_unsynced(x->out);
        st_writer_follow(x->out);
    }
    for (size_t i = 0; i < x->n && !rc; i++) {
        const struct tensor *w, *s;
        rc = find(x, &x->jobs[i], &w, &s, e);
        if (!rc)
            rc = st_declare(x->out, x->jobs[i].name, w->dtype, 2, (size_t[]){x->jobs[i].rows, x->jobs[i].cols}, e);
    }
    return rc ? rc : st_write_begin(x->out, e);
}

/* One block among those under way together; the index of x->jobs it stands for. */
struct item {
    struct align *x;
    const struct extract_options *o;
    const struct extract_job *j;
    size_t size; /* bytes of an element */
    struct js *info;
    int rc;
    struct err e;
};

static int write_rows(void *u, size_t first, size_t n, const void *data, struct err *e)
{
    const struct item *k = u;
    size_t row = k->j->cols * k->size;
    return st_write_at(k->x->out, k->j->name, first * row, data, n * row, e);
}

static int write_block(struct item *k, struct err *e)
{
    const struct extract_job *j = k->j;
    const struct tensor *w, *s;
    int rc = find(k->x, j, &w, &s, e);
    if (rc)
        return rc;
    const struct extract_sink to = {k, write_rows};
    struct tensor plain; /* quantised weights become bf16, one matrix at a time */
    rc = tensor_plain(w, &plain, e);
    if (!rc) {
        k->size = dtype_size(plain.dtype);
        rc = extract_give(j, k->o, &plain, s, &to, &k->info, e);
        tensor_plain_release(&plain, w);
        fs_map_drop(s->data, s->bytes);
        if (!w->packed)
            fs_map_drop(w->data, w->bytes);
    }
    if (!rc && w->packed && js_set(k->info, "expanded_from", js_new_cstr(w->packed->type->name)))
        rc = err_nomem(e, 256, "blocks.json");
    return rc;
}

static void write_item(void *u, size_t i)
{
    struct item *k = (struct item *)u + i;
    k->rc = write_block(k, &k->e);
}

/* Modules of layers go together, each on one processor; embedding and lm_head alone, on all. */
static int write_blocks(struct align *x, const struct extract_options *o, struct err *e)
{
    for (size_t i = 0, n; i < x->n; i += n) {
        struct item items[TOGETHER] = {0};
        n = 0;
        do {
            items[n] = (struct item){.x = x, .o = o, .j = &x->jobs[i + n]};
            n++;
        } while (x->jobs[i].layer >= 0 && n < TOGETHER && i + n < x->n && x->jobs[i + n].layer >= 0);
        progress_update(op_progress(x->r), (double)i, (double)x->n, "blocks");
        int rc = progress_poll(op_progress(x->r), e);
        if (!rc)
            par_for(n, write_item, items);
        for (size_t k = 0; k < n; k++) {
            if (!rc && items[k].rc) {
                *e = items[k].e;
                rc = items[k].rc;
            }
            if (!rc && js_set(x->tensors, items[k].j->name, js_ref(items[k].info)))
                rc = err_nomem(e, 256, "blocks.json");
            js_free(items[k].info);
            st_writer_final(x->out, items[k].j->name);
        }
        if (rc)
            return rc;
    }
    return 0;
}

static int write_json(struct align *x, struct err *e)
{
    struct js *j = js_object();
    int rc = js_set(j, "structure", js_new_cstr(op_str(op_run_args(x->r), "structure"))) |
             js_set(j, "tensors", js_ref(x->tensors));
    rc = rc ? err_nomem(e, 4096, "blocks.json") : op_out_json(x->r, "blocks", "blocks.json", j, e);
    js_free(j);
    return rc;
}

static int open_inputs(struct align *x, struct err *e)
{
    const struct op_args *a = op_run_args(x->r);
    const char *scores, *layers;
    bool wanted[MOD_COUNT];
    wanted_modules(a, wanted);
    int rc = op_open_model(x->r, "model", &x->teacher, e);
    if (!rc)
        rc = op_model_config(a, "student", &x->student, e);
    if (!rc)
        rc = op_in_file(x->r, "scores", 0, "scores.safetensors", &scores, e);
    if (!rc)
        rc = st_open(scores, &x->scores, e);
    if (!rc)
        rc = op_in_file(x->r, "layers", 0, "layers.json", &layers, e);
    if (rc)
        return rc;
    x->t = model_config(x->teacher);
    int *map = calloc((size_t)x->student.num_hidden_layers, sizeof *map);
    rc = map ? layers_read(layers, (size_t)x->t->num_hidden_layers, (size_t)x->student.num_hidden_layers, map, e)
             : err_nomem(e, 4096, "layers");
    if (!rc)
        rc = extract_plan(x->t, &x->student, map, wanted, &x->jobs, &x->n, e);
    free(map);
    return rc;
}

static int align_run(struct op_run *r, struct err *e)
{
    const struct op_args *a = op_run_args(r);
    struct align x = {.r = r, .tensors = js_object()};
    struct extract_options o = options(a);
    struct digest digest;
    int rc = open_inputs(&x, e);
    if (!rc && op_bool(a, "shared_axes"))
        rc = share_axes(&x, e);
    if (!rc)
        rc = declare_blocks(&x, e);
    if (!rc)
        rc = write_blocks(&x, &o, e);
    if (!rc)
        rc = st_write_end(x.out, e);
    if (!rc && st_writer_digest(x.out, &digest))
        op_out_digest(r, "blocks", "blocks.safetensors", &digest);
    if (!rc)
        rc = write_json(&x, e);
    st_writer_free(x.out);
    st_close(x.scores);
    model_close(x.teacher);
    js_free(x.tensors);
    free(x.jobs);
    return rc;
}

static const struct port_def inputs[] = {
    {.name = "model", .type = "model", .help = "the teacher, whose matrices the blocks are cut from"},
    {.name = "scores", .type = "scores", .help = "sensitivity of the teacher, in its shapes"},
    {.name = "layers", .type = "layer-map", .help = "teacher layer of each student layer"},
    {.name = "student", .type = "model", .help = "the student, whose shapes the blocks have"},
    {0},
};

static const struct port_def outputs[] = {
    {.name = "blocks",
     .type = "blocks",
     .help = "one tensor for each extracted student parameter, in its name and shape, the teacher's type (bf16 where that is quantised)"},
    {0},
};

static const struct param_def params[] = {
    {.name = "structure",
     .type = PARAM_ENUM,
     .fallback = "submatrix",
     .choices = "submatrix|row-column|neuron|random",
     .help = "submatrix: the contiguous window with the largest sum of scores; row-column: the rows and columns with "
             "the largest means; neuron: the single "
             "weights with the largest scores, in row-major order; random: a window drawn with seed"},
    {.name = "modules",
     .type = PARAM_STRINGS,
     .fallback = "[attention, ffn, embed, lm_head]",
     .choices = "attention|ffn|embed|lm_head",
     .help = "which matrices to extract"},
    {.name = "shared_axes",
     .type = PARAM_BOOL,
     .fallback = "false",
     .help = "one residual-stream window and one window of query heads, key heads and neurons a layer, instead of a "
             "window for each matrix"},
    {.name = "compat",
     .type = PARAM_ENUM,
     .fallback = "none",
     .choices = "none|reference",
     .help = "reference: the published code's f32 summed-area table, which decides near ties in its own way"},
    PARAM_SEED,
    {0},
};

const struct op op_dim_align = {
    .name = "dim-align",
    .version = 2,
    .summary = "Cut blocks of the student's shape out of the teacher's matrices",
    .doc = "Every matrix chooses its own window, as published; the first of equal sums in row-major order wins. Sums "
           "are f64. With grouped queries k and v use "
           "the student's key/value width. lm_head and the embedding keep their rows (the vocabulary) and choose "
           "columns; a student with tied embeddings "
           "has no lm_head block, and an untied student of a tied teacher takes both from the embedding. The paper "
           "names the structure `neuron` without "
           "defining it; here it is the out x in single weights with the largest scores, kept in row-major order "
           "(embeddings transposed) and reshaped. "
           "`shared_axes` is not in the paper: embedding and lm_head still choose their own columns.",
    .inputs = inputs,
    .outputs = outputs,
    .params = params,
    .infer = align_infer,
    .cost = align_cost,
    .run = align_run,
};
