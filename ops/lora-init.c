/* SPDX-License-Identifier: MIT
 *
 * lora-init: the adapter that training starts from (method.md 4): the teacher's blocks in their leading singular
 * triplets, or one of the other ways to begin. Where B starts at something else than zero the base is compensated, so
 * that the student starts as the unchanged student. The modules of some layers are factored side by side, the longest
 * first; embedding and lm_head alone.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/op.h"
#include "ops/lib/inputs.h"
#include "ops/lib/lora_start.h"
#include "ops/lib/rank_pattern.h"
#include "ops/lib/vocabulary.h"
#include "runtime/exec/par.h"
#include "runtime/formats/quant.h"

enum { TOGETHER = 28 }; /* modules handed out at once, the longest first, so that no processor waits long for the last */

static bool targets(const struct op_args *a, enum module m)
{
    for (size_t i = 0; i < op_count(a, "target_modules"); i++)
        if (strcmp(op_str_at(a, "target_modules", i), module_name(m)) == 0)
            return true;
    return false;
}

static bool has_block(const struct op_args *a, enum module m)
{
    const struct js *list = js_get(op_input(a, "blocks"), "modules");
    for (size_t i = 0; i < js_len(list); i++) {
        const char *name = js_cstr(js_at(list, i));
        if (name && strcmp(name, module_name(m)) == 0)
            return true;
    }
    return false;
}

/* How module m starts; -1: not at all. */
static int start_of(const struct op_args *a, enum module m)
{
    enum lora_init how = LORA_SVD;
    lora_init_parse(op_str(a, "init"), &how);
    if (!targets(a, m))
        return -1;
    if (!lora_init_needs_block(how) || has_block(a, m))
        return (int)how;
    return strcmp(op_str(a, "rest"), "default") == 0 ? LORA_DEFAULT : -1;
}

static bool is_target(enum module m)
{
    return (int)m < MOD_LINEARS || m == MOD_EMBED || m == MOD_HEAD;
}

/* out, in of B A: embeddings are turned. */
static void pair_shape(const struct model_config *c, enum module m, size_t *out, size_t *in)
{
    if (m == MOD_EMBED)
        module_shape(c, m, in, out);
    else
        module_shape(c, m, out, in);
}

static float scale_of(const struct op_args *a, int layer, enum module m)
{
    double r = rank_of(a, layer, m), alpha = alpha_of(a, layer, m);
    return (float)(op_bool(a, "use_rslora") ? alpha / sqrt(r) : alpha / r);
}

/* ---- plan time ---- */

/* Were the blocks cut for a student of these shapes? */
static int check_shapes(const struct model_config *cut, const struct model_config *student, struct err *e)
{
    if (cut->num_hidden_layers != student->num_hidden_layers)
        return err_set(e, ERR_INPUT, "the blocks were cut for a student of %d layers; this one has %d",
                       cut->num_hidden_layers, student->num_hidden_layers);
    for (int m = 0; m <= MOD_HEAD; m++) {
        size_t r, c, rows, cols;
        module_shape(cut, (enum module)m, &r, &c);
        module_shape(student, (enum module)m, &rows, &cols);
        if (r != rows || c != cols)
            return err_set(e, ERR_INPUT,
                           "the blocks were cut for another student: %s is %zu x %zu there and %zu x %zu in this one",
                           module_name((enum module)m), r, c, rows, cols);
    }
    return 0;
}

/* Rows of embedding and lm_head are tokens: those of the student that the blocks were cut for. */
static int check_vocabulary(const struct op_args *a, struct err *e)
{
    const struct js *cut = js_get(op_input(a, "blocks"), "vocabulary");
    struct js *own = cut ? vocabulary_facts(op_input(a, "student")) : NULL;
    int rc = !cut  ? 0
             : own ? vocabulary_same(cut, own, false, "the blocks were cut over the teacher's vocabulary", e)
                   : err_nomem(e, 0, "facts of a vocabulary");
    js_free(own);
    return rc;
}

static int check_blocks(struct op_infer *x, const struct model_config *student, bool any, struct err *e)
{
    const struct op_args *a = op_infer_args(x);
    const struct js *b = op_input(a, "blocks");
    enum lora_init how = LORA_SVD;
    struct model_config c;
    lora_init_parse(op_str(a, "init"), &how);
    if (!lora_init_needs_block(how))
        return 0;
    op_blame_param(x, "init");
    if (!b)
        return err_set(
            e, ERR_INPUT,
            "init: %s starts from the teacher's blocks: connect blocks to a dim-align node, or choose init: default",
            op_str(a, "init"));
    op_blame_input(x, "blocks");
    if (js_get(b, "student")) {
        if (model_config_parse(js_get(b, "student"), "blocks", &c, e))
            return e->code;
        if (check_shapes(&c, student, e) || check_vocabulary(a, e))
            return e->code;
    }
    return any ? 0
               : err_set(e, ERR_INPUT,
                         "none of target_modules has a block: the adapter would be init: default; extract other "
                         "modules, or name them in target_modules");
}

static struct js *describe(const struct op_args *a, bool compensated, const bool used[MOD_COUNT], int largest)
{
    struct js *d = js_object(), *names = js_array();
    for (int m = 0; m < MOD_COUNT; m++)
        if (used[m])
            js_push(names, js_new_cstr(module_name((enum module)m)));
    js_set(d, "student", js_ref(js_get(op_input(a, "student"), "config")));
    js_set(d, "r", js_new_int(op_int(a, "r")));
    if (largest != op_int(a, "r"))
        js_set(d, "largest_r", js_new_int(largest));
    js_set(d, "lora_alpha", js_new_num(op_float(a, "lora_alpha")));
    js_set(d, "use_rslora", js_new_bool(op_bool(a, "use_rslora")));
    js_set(d, "lora_dropout", js_new_num(op_float(a, "lora_dropout")));
    js_set(d, "target_modules", names);
    js_set(d, "compensated", js_new_bool(compensated));
    js_set(d, "init", js_new_cstr(op_str(a, "init")));
    return d;
}

/* A matrix that is factored must have as many singular values as its rank. *largest: of all ranks so far. */
static int check_ranks(struct op_infer *x, const struct model_config *c, enum module m, bool factors, int *largest, struct err *e)
{
    const struct op_args *a = op_infer_args(x);
    size_t out, in;
    pair_shape(c, m, &out, &in);
    for (int l = 0; l < ((int)m < MOD_LINEARS ? c->num_hidden_layers : 1); l++) {
        int r = rank_of(a, (int)m < MOD_LINEARS ? l : -1, m);
        *largest = r > *largest ? r : *largest;
        op_blame_param(x, r == op_int(a, "r") ? "r" : "rank_pattern");
        if (factors && (size_t)r > (out < in ? out : in))
            return err_set(e, ERR_INPUT, "r %d is more than %s has singular values (%zu x %zu in the student); at most %zu", r, module_name(m), out, in,
                           out < in ? out : in);
    }
    return 0;
}

static int init_infer(struct op_infer *x, struct err *e)
{
    const struct op_args *a = op_infer_args(x);
    struct model_config c;
    bool compensated = false, used[MOD_COUNT] = {false};
    int largest = 0;
    op_blame_input(x, "student");
    int rc = op_model_config(a, "student", &c, e);
    if (rc)
        return rc;
    for (int m = 0; m < MOD_COUNT; m++) {
        int how = is_target((enum module)m) ? start_of(a, (enum module)m) : -1;
        used[m] = how >= 0;
    }
    rc = rank_pattern_check(x, &c, used, e);
    for (int m = 0; rc == 0 && m < MOD_COUNT; m++) {
        bool factors = used[m] && lora_init_factors((enum lora_init)start_of(a, (enum module)m));
        compensated |= factors;
        if (used[m])
            rc = check_ranks(x, &c, (enum module)m, factors, &largest, e);
    }
    if (rc == 0)
        rc = check_blocks(x, &c, compensated, e);
    return rc ? rc : op_set_output(x, "adapter", describe(a, compensated, used, largest), e);
}

static void init_cost(const struct op_args *a, struct op_cost *cost)
{
    struct model_config c;
    struct err e;
    if (op_model_config(a, "student", &c, &e))
        return;
    double flops = 0, read = 0, written = 0;
    uint64_t largest = 0, together = 0;
    for (int m = 0; m < MOD_COUNT; m++) {
        int how = is_target((enum module)m) ? start_of(a, (enum module)m) : -1;
        size_t out, in;
        if (how < 0)
            continue;
        pair_shape(&c, (enum module)m, &out, &in);
        double r = 1;
        for (int l = 0; l < (m < MOD_LINEARS ? c.num_hidden_layers : 1); l++)
            r = fmax(r, rank_of(a, m < MOD_LINEARS ? l : -1, (enum module)m));
        double times = m < MOD_LINEARS ? c.num_hidden_layers : 1, n = (double)out * (double)in,
               p = out > in ? (double)out : (double)in, q = n / p;
        bool factors = lora_init_factors((enum lora_init)how);
        uint64_t memory = lora_start_memory((enum lora_init)how, out, in, (size_t)r);
        flops += times * (factors ? n * q + q * q * q / 2 : 50 * r * (double)in);
        read += factors ? times * 2 * n : 0;
        written += times * 4 * r * (double)(out + in) * (factors ? 2 : 1);
        together = m < MOD_LINEARS && memory > together ? memory : together;
        largest = memory > largest ? memory : largest;
    }
    together *= (uint64_t)(par_cpus() < TOGETHER ? par_cpus() : TOGETHER);
    *cost =
        (struct op_cost){.flops = flops,
                         .bytes_read = read,
                         .bytes_written = written,
                         .peak_memory = (uint64_t)written + (together > largest ? together : largest) + (64u << 20)};
}

/* ---- run time ---- */

struct job {
    struct lora_pair *p;
    enum lora_init how;
    const struct tensor *from;
    struct js *facts;
    struct err e;
    int rc;
    uint64_t seed;
    bool half;
};

struct work {
    struct op_run *r;
    struct model *student;
    struct st_file *blocks;
    struct lora *lora;
    struct job *jobs; /* one a pair */
};

/* {layer, module} in the order of struct lora: embedding, layers, lm_head. */
static size_t list_pairs(const struct op_args *a, const struct model_config *c, struct job *jobs,
                         struct lora_pair *pairs)
{
    size_t n = 0;
    for (int l = -1; l <= c->num_hidden_layers; l++)
        for (int m = 0; m < MOD_COUNT; m++) {
            bool here = l < 0 ? m == MOD_EMBED : l == c->num_hidden_layers ? m == MOD_HEAD : m < MOD_LINEARS;
            int how = here ? start_of(a, (enum module)m) : -1;
            if (how < 0)
                continue;
            if (pairs) {
                pairs[n].layer = m < MOD_LINEARS ? l : -1;
                pairs[n].mod = (enum module)m;
                pairs[n].r = rank_of(a, pairs[n].layer, pairs[n].mod);
                pairs[n].scale = scale_of(a, pairs[n].layer, pairs[n].mod);
                jobs[n] = (struct job){.p = &pairs[n],
                                       .how = (enum lora_init)how,
                                       .seed = (uint64_t)op_int(a, "seed"),
                                       .half = strcmp(op_str(a, "compat"), "reference") == 0};
            }
            n++;
        }
    return n;
}

/* The matrix that a job factors: its block, or the student's own weight. */
static int find_source(const struct work *w, struct job *j, struct err *e)
{
    char name[PARAM_NAME_MAX];
    param_name(name, j->p->layer, j->p->mod, false);
    if (!lora_init_factors(j->how))
        return 0;
    if (lora_init_needs_block(j->how)) {
        j->from = st_find(w->blocks, name);
        return j->from ? 0 : err_set(e, ERR_INPUT, "the blocks hold no %s", name);
    }
    j->from = model_tensor(w->student, name);
    if (!j->from && j->p->mod == MOD_HEAD)
        j->from = model_tensor(w->student, param_name(name, -1, MOD_EMBED, false));
    return j->from ? 0 : err_set(e, ERR_INPUT, "the student has no parameter %s", name);
}

static int make_pairs(struct work *w, const struct model_config *c, struct err *e)
{
    const struct op_args *a = op_run_args(w->r);
    size_t n = list_pairs(a, c, NULL, NULL);
    int rc = lora_new(n, &w->lora, e);
    w->jobs = calloc(n + 1, sizeof *w->jobs);
    if (!rc && !w->jobs)
        rc = err_nomem(e, n * sizeof *w->jobs, "adapters");
    if (rc)
        return rc;
    list_pairs(a, c, w->jobs, w->lora->pairs);
    w->lora->dropout = op_float(a, "lora_dropout");
    for (size_t i = 0; i < n && !rc; i++) {
        struct job *j = &w->jobs[i];
        rc = lora_pair_alloc(j->p, c, lora_init_factors(j->how) ? j->p->r : 0, e);
        j->facts = js_object();
        if (!rc)
            rc = find_source(w, j, e);
    }
    return rc ? rc : lora_index(w->lora, c->num_hidden_layers, e);
}

static void run_job(void *u, size_t i)
{
    struct job *j = ((struct job **)u)[i];
    struct tensor plain = {0};
    j->rc = j->from ? tensor_plain(j->from, &plain, &j->e) : 0;
    if (j->rc == 0)
        j->rc = lora_start(j->p, j->how, j->from ? &plain : NULL, j->seed, j->half, j->facts, &j->e);
    if (j->from)
        tensor_plain_release(&plain, j->from);
}

/* Larger matrices first; equals in their order. */
static int by_size(const void *a, const void *b)
{
    const struct job *x = *(struct job *const *)a, *y = *(struct job *const *)b;
    size_t n = x->p->out * x->p->in, m = y->p->out * y->p->in;
    return n != m ? (n < m) - (n > m) : (x > y) - (x < y);
}

/* Modules of layers go together, each on one processor; embedding and lm_head alone, on all. */
static int run_jobs(struct work *w, struct err *e)
{
    char name[PARAM_NAME_MAX];
    for (size_t i = 0; i < w->lora->n;) {
        struct job *order[TOGETHER];
        size_t n = 0;
        do {
            order[n] = &w->jobs[i + n];
            n++;
        } while (w->jobs[i].p->layer >= 0 && n < TOGETHER && i + n < w->lora->n && w->jobs[i + n].p->layer >= 0);
        qsort(order, n, sizeof *order, by_size);
        progress_update(op_progress(w->r), (double)i, (double)w->lora->n, "modules");
        int rc = progress_poll(op_progress(w->r), e);
        if (rc)
            return rc;
        par_for(n, run_job, order);
        for (size_t k = i; k < i + n; k++)
            if (w->jobs[k].rc) {
                *e = w->jobs[k].e;
                return err_prefix(e, "%s", module_path(name, w->jobs[k].p->layer, w->jobs[k].p->mod));
            }
        i += n;
    }
    return 0;
}

/* ---- files ---- */

/* Each module that differs by its whole path, so that PEFT's reading, the first key that fits, is ours. */
static void put_patterns(const struct op_args *a, const struct lora *l, struct js *c)
{
    struct js *ranks = js_object(), *alphas = js_object();
    char path[PARAM_NAME_MAX];
    for (size_t i = 0; i < l->n; i++) {
        const struct lora_pair *p = &l->pairs[i];
        double alpha = alpha_of(a, p->layer, p->mod);
        module_path(path, p->layer, p->mod);
        if (p->r != op_int(a, "r"))
            js_set(ranks, path, js_new_int(p->r));
        if (alpha != op_float(a, "lora_alpha"))
            js_set(alphas, path, alpha == floor(alpha) ? js_new_int((int64_t)alpha) : js_new_num(alpha));
    }
    js_set(c, "rank_pattern", ranks);
    js_set(c, "alpha_pattern", alphas);
}

/* PEFT's keys; init_lora_weights must say true, or PEFT would factor again when it loads the adapter. */
static struct js *adapter_config(const struct op_args *a, const struct lora *l)
{
    static const char *const nulls[] = {"base_model_name_or_path", "revision", "modules_to_save", "layers_to_transform",
                                        "layers_pattern"};
    struct js *c = js_object(), *names = js_array();
    for (int m = 0; m < MOD_COUNT; m++)
        for (size_t i = 0; i < l->n; i++)
            if ((int)l->pairs[i].mod == m) {
                js_push(names, js_new_cstr(module_name((enum module)m)));
                break;
            }
    for (size_t i = 0; i < sizeof nulls / sizeof *nulls; i++)
        js_set(c, nulls[i], js_new_null());
    double alpha = op_float(a, "lora_alpha");
    js_set(c, "peft_type", js_new_cstr("LORA"));
    js_set(c, "task_type", js_new_cstr("CAUSAL_LM"));
    js_set(c, "r", js_new_int(op_int(a, "r")));
    js_set(c, "lora_alpha", alpha == floor(alpha) ? js_new_int((int64_t)alpha) : js_new_num(alpha));
    js_set(c, "lora_dropout", js_new_num(op_float(a, "lora_dropout")));
    js_set(c, "use_rslora", js_new_bool(op_bool(a, "use_rslora")));
    js_set(c, "target_modules", names);
    js_set(c, "bias", js_new_cstr("none"));
    js_set(c, "fan_in_fan_out", js_new_bool(false));
    js_set(c, "inference_mode", js_new_bool(true));
    js_set(c, "init_lora_weights", js_new_bool(true));
    js_set(c, "use_dora", js_new_bool(false));
    put_patterns(a, l, c);
    return c;
}

static struct js *facts_json(const struct op_args *a, const struct work *w)
{
    static const char *const names[] = {"svd", "default", "gaussian", "pissa", "olora", "noise"};
    struct js *j = js_object(), *modules = js_object();
    char path[PARAM_NAME_MAX];
    bool compensated = false;
    for (size_t i = 0; i < w->lora->n; i++) {
        struct js *f = js_copy(w->jobs[i].facts);
        js_set(f, "init", js_new_cstr(names[w->jobs[i].how]));
        js_set(modules, module_path(path, w->lora->pairs[i].layer, w->lora->pairs[i].mod), f);
        compensated |= w->lora->pairs[i].B0 != NULL;
    }
    js_set(j, "init", js_new_cstr(op_str(a, "init")));
    js_set(j, "compat", js_new_cstr(op_str(a, "compat")));
    js_set(j, "compensated", js_new_bool(compensated));
    double r = (double)op_int(a, "r"), alpha = op_float(a, "lora_alpha");
    js_set(j, "scale", js_new_num((double)(float)(op_bool(a, "use_rslora") ? alpha / sqrt(r) : alpha / r)));
    js_set(j, "modules", modules);
    return j;
}

static int write_adapter(struct work *w, struct err *e)
{
    const struct op_args *a = op_run_args(w->r);
    const char *model, *compensation = NULL;
    bool compensated = false;
    for (size_t i = 0; i < w->lora->n; i++)
        compensated |= w->lora->pairs[i].B0 != NULL;
    w->lora->config = adapter_config(a, w->lora);
    int rc = op_out_file(w->r, "adapter", "adapter_model.safetensors", &model, e);
    if (!rc && compensated)
        rc = op_out_file(w->r, "adapter", "compensation.safetensors", &compensation, e);
    if (!rc)
        rc = lora_write(w->lora, model, NULL, compensation, e);
    if (!rc)
        rc = op_out_json(w->r, "adapter", "adapter_config.json", w->lora->config, e);
    if (rc)
        return rc;
    struct js *j = facts_json(a, w);
    rc = op_out_json(w->r, "adapter", "pkgraph.json", j, e);
    js_free(j);
    return rc;
}

static int init_run(struct op_run *r, struct err *e)
{
    const struct op_args *a = op_run_args(r);
    struct model_config c;
    struct work w = {.r = r};
    const char *blocks;
    enum lora_init how = LORA_SVD;
    lora_init_parse(op_str(a, "init"), &how);
    int rc = op_model_config(a, "student", &c, e);
    if (!rc && lora_init_needs_block(how)) {
        rc = op_in_file(r, "blocks", 0, "blocks.safetensors", &blocks, e);
        if (!rc)
            rc = st_open(blocks, &w.blocks, e);
    } else if (!rc && lora_init_factors(how))
        rc = op_open_model(r, "student", &w.student, e);
    if (!rc)
        rc = make_pairs(&w, &c, e);
    if (!rc)
        rc = run_jobs(&w, e);
    if (!rc)
        rc = write_adapter(&w, e);
    for (size_t i = 0; w.jobs && w.lora && i < w.lora->n; i++)
        js_free(w.jobs[i].facts);
    free(w.jobs);
    lora_free(w.lora);
    st_close(w.blocks);
    model_close(w.student);
    return rc;
}

static const struct port_def inputs[] = {
    {.name = "student", .type = "model", .help = "the model that the adapter is for"},
    {.name = "blocks",
     .type = "blocks",
     .help = "teacher's blocks in the student's shapes; needed by svd and noise",
     .flags = PORT_OPTIONAL},
    {0},
};

static const struct port_def outputs[] = {
    {.name = "adapter",
     .type = "adapter",
     .help = "PEFT files, the compensation where B starts at something else than zero, and pkgraph.json"},
    {0},
};

static const struct param_def params[] = {
    {.name = "init",
     .type = PARAM_ENUM,
     .fallback = "svd",
     .choices = "svd|default|gaussian|pissa|olora|noise",
     .help = "svd: leading singular triplets of the teacher's blocks, all singular values in B; default: A uniform, B "
             "zero; gaussian: A normal, B zero; pissa: "
             "triplets of the student's own weights; olora: their QR; noise: svd of normal numbers with each block's "
             "standard deviation, the control"},
    {.name = "r", .type = PARAM_INT, .fallback = "16", .min = 1, .max = 65536, .help = "rank"},
    {.name = "lora_alpha",
     .type = PARAM_FLOAT,
     .fallback = "16",
     .min = 1e-6,
     .max = 1e6,
     .help = "scale is lora_alpha / r"},
    {.name = "rank_pattern",
     .type = PARAM_MAP,
     .help = "ranks of single modules in place of r: {down_proj: 32, layers.0.self_attn.q_proj: 4}; ends of paths, the longest that fits holds"},
    {.name = "alpha_pattern", .type = PARAM_MAP, .help = "the same for lora_alpha"},
    {.name = "lora_dropout",
     .type = PARAM_FLOAT,
     .fallback = "0.05",
     .min = 0,
     .max = 0.999,
     .help = "dropout on the adapter's input in training"},
    {.name = "use_rslora", .type = PARAM_BOOL, .fallback = "false", .help = "scale is lora_alpha / sqrt(r)"},
    {.name = "target_modules",
     .type = PARAM_STRINGS,
     .fallback = "[q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj, embed_tokens, lm_head]",
     .choices = "q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj|embed_tokens|lm_head",
     .help = "modules that get an adapter"},
    {.name = "rest",
     .type = PARAM_ENUM,
     .fallback = "default",
     .choices = "default|none",
     .help = "svd and noise: targets without a block start as init: default, or get no adapter"},
    {.name = "compat",
     .type = PARAM_ENUM,
     .fallback = "none",
     .choices = "none|reference",
     .help = "reference: factors rounded to f16, as the published code does"},
    PARAM_SEED,
    {0},
};

const struct op op_lora_init = {
    .name = "lora-init",
    .version = 3,
    .summary = "Make the adapter that training starts from",
    .doc = "With init: svd a block M is U_r diag(s_r) V_r^T in its r leading singular triplets; B = U_r diag(s_r), A = "
           "V_r^T. The base is compensated by -scale B A, so "
           "that the student starts unchanged. Targets without a block (modules that dim-align left out, lm_head of a "
           "tied student) follow `rest`. Random "
           "draws depend on seed and module only. pissa: B = U_r sqrt(s_r / scale), A = sqrt(s_r / scale) V_r^T; "
           "olora: B and A are the leading columns of Q "
           "and rows of R. Embeddings are factored as (d, V). In a tied student the embed_tokens adapter acts on the "
           "input side only, lm_head's on the output side.",
    .inputs = inputs,
    .outputs = outputs,
    .params = params,
    .infer = init_infer,
    .cost = init_cost,
    .run = init_run,
};
