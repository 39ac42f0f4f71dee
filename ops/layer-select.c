/* SPDX-License-Identifier: MIT
 *
 * layer-select: which teacher layer feeds which student layer (method.md 2). By the layers' scores (sums of S over all
 * their parameters), or one of the controls of the paper's ablation.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/op.h"
#include "ops/lib/inputs.h"
#include "ops/lib/layers.h"

static int configs(const struct op_args *a, struct model_config *teacher, struct model_config *student, struct err *e)
{
    const struct js *c = js_get(op_input(a, "scores"), "model");
    if (!c)
        return err_set(e, ERR_INTERNAL, "the scores name no model configuration");
    int rc = model_config_parse(c, "scores", teacher, e);
    return rc ? rc : op_model_config(a, "student", student, e);
}

static int check_list(struct op_infer *x, int n_teacher, int n_student, struct err *e)
{
    const struct op_args *a = op_infer_args(x);
    bool listed = strcmp(op_str(a, "strategy"), "explicit") == 0;
    size_t n = op_count(a, "layers");
    op_blame_param(x, n > 0 ? "layers" : "strategy");
    if (!listed)
        return n == 0 ? 0
                      : err_set(e, ERR_INPUT, "layers is a list for strategy: explicit; strategy is %s",
                                op_str(a, "strategy"));
    if (n == 0)
        return err_set(e, ERR_INPUT,
                       "strategy: explicit needs layers: a list of %d teacher layers, one for each student layer",
                       n_student);
    if (n != (size_t)n_student)
        return err_set(e, ERR_INPUT,
                       "layers has %zu entries; the student has %d layers and needs a teacher layer for each", n,
                       n_student);
    for (size_t i = 0; i < n; i++)
        if (op_int_at(a, "layers", i) < 0 || op_int_at(a, "layers", i) >= n_teacher)
            return err_set(e, ERR_INPUT, "layer %lld does not exist in the teacher, which has layers 0 to %d",
                           (long long)op_int_at(a, "layers", i), n_teacher - 1);
    return 0;
}

static int select_infer(struct op_infer *x, struct err *e)
{
    const struct op_args *a = op_infer_args(x);
    struct model_config teacher, student;
    op_blame_input(x, "student");
    int rc = configs(a, &teacher, &student, e);
    if (!rc && teacher.num_hidden_layers < student.num_hidden_layers)
        rc = err_set(e, ERR_INPUT,
                     "the student has %d layers, the scored teacher only %d: every student layer needs a teacher layer "
                     "of its own",
                     student.num_hidden_layers, teacher.num_hidden_layers);
    if (!rc)
        rc = check_list(x, teacher.num_hidden_layers, student.num_hidden_layers, e);
    if (rc)
        return rc;
    struct js *d = js_object();
    js_set(d, "teacher_layers", js_new_int(teacher.num_hidden_layers));
    js_set(d, "student_layers", js_new_int(student.num_hidden_layers));
    js_set(d, "strategy", js_new_cstr(op_str(a, "strategy")));
    return op_set_output(x, "layers", d, e);
}

static int read_scores(struct op_run *r, size_t n, double *scores, struct err *e)
{
    const char *path;
    int rc = op_in_file(r, "scores", 0, "scores.json", &path, e);
    struct js *j = rc ? NULL : js_read(path, e);
    if (!j)
        return e->code;
    const struct js *l = js_get(j, "layers");
    if (js_len(l) != n)
        rc = err_set(e, ERR_INPUT, "scores.json has %zu layer scores; the model has %zu layers", js_len(l), n);
    for (size_t i = 0; i < n && !rc; i++)
        scores[i] = js_num(js_at(l, i), 0);
    js_free(j);
    return rc;
}

static int select_run(struct op_run *r, struct err *e)
{
    const struct op_args *a = op_run_args(r);
    struct model_config teacher, student;
    int rc = configs(a, &teacher, &student, e);
    if (rc)
        return rc;
    size_t n = (size_t)teacher.num_hidden_layers, k = (size_t)student.num_hidden_layers;
    double *scores = calloc(n, sizeof *scores);
    int *map = calloc(k, sizeof *map);
    struct js *j = NULL;
    rc = scores && map ? read_scores(r, n, scores, e) : err_nomem(e, n * 16, "layers");
    enum layer_strategy s = LAYERS_SENSITIVITY;
    layers_strategy(op_str(a, "strategy"), &s);
    if (!rc && s == LAYERS_EXPLICIT)
        for (size_t i = 0; i < k; i++)
            map[i] = (int)op_int_at(a, "layers", i);
    else if (!rc)
        rc = layers_choose(s, scores, n, k, (uint64_t)op_int(a, "seed"), map, e);
    if (!rc)
        rc = (j = layers_json(op_str(a, "strategy"), scores, n, map, k)) ? 0 : err_nomem(e, 4096, "layers.json");
    if (!rc)
        rc = op_out_json(r, "layers", "layers.json", j, e);
    js_free(j);
    free(scores);
    free(map);
    return rc;
}

static const struct port_def inputs[] = {
    {.name = "scores", .type = "scores", .help = "sensitivity of the teacher: one score a layer is used"},
    {.name = "student", .type = "model", .help = "only its number of layers is used"},
    {0},
};

static const struct port_def outputs[] = {
    {.name = "layers", .type = "layer-map", .help = "layers.json: the teacher layer that feeds each student layer"},
    {0},
};

static const struct param_def params[] = {
    {.name = "strategy",
     .type = PARAM_ENUM,
     .fallback = "sensitivity",
     .choices = "sensitivity|random|first|last|uniform|least|explicit",
     .help = "sensitivity: the layers with the highest scores, in ascending order; random: drawn with seed; first, "
             "last: from one end; uniform: evenly "
             "spaced; least: the lowest scores; explicit: the list in layers"},
    {.name = "layers",
     .type = PARAM_INTS,
     .min = 0,
     .max = 1e6,
     .help = "strategy explicit: teacher layer of each student layer, from 0"},
    PARAM_SEED,
    {0},
};

const struct op op_layer_select = {
    .name = "layer-select",
    .version = 1,
    .summary = "Choose the teacher layers that feed the student's layers",
    .doc = "A layer's score is the sum of the sensitivity over all its parameters, both norms included, whichever "
           "modules are extracted later. Ties go to the "
           "lower layer. `uniform` takes round-half-up(i (n_L - 1) / (n_S - 1)). An explicit list is taken as it "
           "stands: any order, repetitions allowed.",
    .inputs = inputs,
    .outputs = outputs,
    .params = params,
    .infer = select_infer,
    .run = select_run,
};
