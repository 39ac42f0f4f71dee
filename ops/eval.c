/* SPDX-License-Identifier: MIT
 *
 * eval: how good a model is (method.md 6). This file is what is known before anything runs: which parameters a task takes, which
 * files it reads, what it costs; ops/lib/eval_*.c are the tasks. Results go to metrics.json and, a line a row, to
 * predictions.jsonl.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ops/lib/data_samples.h"
#include "ops/lib/eval_judge.h"
#include "ops/lib/evaluation.h"
#include "ops/lib/mmlu_set.h"
#include "ops/lib/super_ni.h"
#include "runtime/base/fs.h"
#include "runtime/exec/http.h"
#include "runtime/model/choices.h"

/* ---- plan time ---- */

/* Parameters that would change the meaning of another task are errors, not ignored; sizes may stand in `defaults:`. */
static int check_unused(struct op_infer *x, enum task t, struct err *e)
{
    const struct op_args *a = op_infer_args(x);
    bool gsm = t == TASK_GSM8K, mmlu = t == TASK_MMLU, ni = t == TASK_SUPER_NI, alpaca = t == TASK_ALPACA, from_file = gsm || mmlu || ni || alpaca;
    const struct {
        const char *name;
        bool used;
    } all[] = {{"path", from_file}, {"shots_path", gsm}, {"n_shot", gsm || mmlu}, {"cot", gsm}, {"chat", from_file},
               {"compat", gsm || mmlu || ni || t == TASK_EXACT}, {"subjects", mmlu}, {"split", ni}, {"per_task", ni}, {"judge", alpaca},
               {"outputs", alpaca}, {"generator", alpaca}, {"reference", alpaca}, {"judge_model", alpaca}, {"judge_prompt", alpaca},
               {"judge_verdicts", alpaca}, {"judge_order", alpaca}, {"judge_request", alpaca}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!all[i].used && op_is_given(a, all[i].name)) {
            op_blame_param(x, all[i].name);
            return err_set(e, ERR_INPUT, "task: %s does not use %s", task_name(t), all[i].name);
        }
    op_blame_param(x, "sample");
    if ((t == TASK_LOSS || t == TASK_PERPLEXITY) && strcmp(op_str(a, "sample"), "random") == 0)
        return err_set(e, ERR_INPUT, "sample: random is for the tasks with answers; choose rows for %s with start and limit of the operator data", task_name(t));
    op_blame_param(x, "template");
    if (op_is_set(a, "template") && from_file && !op_bool(a, "chat"))
        return err_set(e, ERR_INPUT, "template: train wraps the question as a chat turn; it does not go with chat: false");
    return 0;
}

static int check_gsm8k(struct op_infer *x, struct err *e)
{
    const struct op_args *a = op_infer_args(x);
    op_blame_param(x, "n_shot");
    if (op_int(a, "n_shot") > 0 && !op_is_set(a, "shots_path"))
        return err_set(e, ERR_INPUT, "n_shot: %lld needs `shots_path`: the file of training questions whose first rows are the exemplars",
                       (long long)op_int(a, "n_shot"));
    op_blame_param(x, "shots_path");
    if (op_is_set(a, "shots_path") && op_int(a, "n_shot") == 0)
        return err_set(e, ERR_INPUT, "shots_path is used with n_shot alone, which is 0");
    if (op_is_set(a, "shots_path") && !fs_exists(op_str(a, "shots_path")))
        return err_set(e, ERR_INPUT, "%s: no such file", op_str(a, "shots_path"));
    op_blame_param(x, "cot");
    if (op_is_given(a, "cot") && op_int(a, "n_shot") == 0)
        return err_set(e, ERR_INPUT, "cot is about the exemplars, and n_shot is 0");
    return 0;
}

static int check_mmlu(struct op_infer *x, struct err *e)
{
    char **names = NULL;
    size_t n = 0;
    op_blame_param(x, op_is_set(op_infer_args(x), "subjects") ? "subjects" : "path");
    int rc = mmlu_subjects(op_infer_args(x), &names, &n, e);
    fs_list_free(names, n);
    return rc;
}

static int check_super_ni(struct op_infer *x, struct err *e)
{
    const struct op_args *a = op_infer_args(x);
    struct js *files = NULL;
    bool folder = fs_is_dir(op_str(a, "path"));
    op_blame_param(x, op_is_given(a, "split") ? "split" : "per_task");
    if (!folder && (op_is_given(a, "split") || op_is_given(a, "per_task")))
        return err_set(e, ERR_INPUT, "split and per_task belong to a checkout of the benchmark; %s is a file of rows", op_str(a, "path"));
    op_blame_param(x, "path");
    int rc = folder ? super_ni_files(op_str(a, "path"), op_str(a, "split"), &files, e) : 0;
    js_free(files);
    return rc;
}

static int check_alpaca(struct op_infer *x, struct err *e)
{
    static const char *const files[] = {"judge", "outputs"};
    const struct op_args *a = op_infer_args(x);
    bool endpoint = op_is_set(a, "judge") && http_is_url(op_str(a, "judge"));
    int rc = eval_judge_check(x, e);
    if (rc)
        return rc;
    for (int i = 0; i < 2; i++) {
        op_blame_param(x, files[i]);
        if (op_is_set(a, files[i]) && !(i == 0 && endpoint) && !fs_exists(op_str(a, files[i])))
            return err_set(e, ERR_INPUT, "%s: no such file", op_str(a, files[i]));
    }
    if (op_is_set(a, "outputs") && !op_is_set(a, "judge"))
        return err_set(e, ERR_INPUT, "outputs takes the place of generating for a win rate, which needs `judge`: a file of annotations, or an endpoint");
    return 0;
}

static int check_path(struct op_infer *x, enum task t, struct err *e)
{
    static const char *const what[] = {
        [TASK_GSM8K] = "the file of test questions (test.jsonl, rows {\"question\", \"answer\"})",
        [TASK_MMLU] = "the folder with test/SUBJECT_test.csv and dev/SUBJECT_dev.csv",
        [TASK_SUPER_NI] = "a checkout of the benchmark (tasks/*.json, splits/) or a JSONL file",
        [TASK_ALPACA] = "the instructions, a JSON list of {\"dataset\", \"instruction\"}",
    };
    const struct op_args *a = op_infer_args(x);
    op_blame_input(x, "data");
    if (op_input_count(a, "data"))
        return err_set(e, ERR_INPUT, "task: %s reads its questions from `path`; task: exact evaluates on a dataset", task_name(t));
    op_blame_param(x, "task");
    if (!op_is_set(a, "path"))
        return err_set(e, ERR_INPUT, "task: %s needs `path`: %s", task_name(t), what[t]);
    op_blame_param(x, "path");
    if (!fs_exists(op_str(a, "path")))
        return err_set(e, ERR_INPUT, "%s: no such %s", op_str(a, "path"), t == TASK_MMLU ? "folder" : "file");
    return t == TASK_GSM8K ? check_gsm8k(x, e) : t == TASK_MMLU ? check_mmlu(x, e) : t == TASK_SUPER_NI ? check_super_ni(x, e) : check_alpaca(x, e);
}

static int check_adapter(struct op_infer *x, struct err *e)
{
    const struct op_args *a = op_infer_args(x);
    const struct js *student = js_get(op_input(a, "adapter"), "student");
    struct model_config c, s;
    if (!student)
        return 0;
    int rc = op_model_config(a, "model", &c, e);
    op_blame_input(x, "adapter");
    if (rc == 0)
        rc = model_config_parse(student, "adapter", &s, e);
    if (rc == 0 && (c.hidden_size != s.hidden_size || c.num_hidden_layers != s.num_hidden_layers || c.vocab_size != s.vocab_size ||
                    c.intermediate_size != s.intermediate_size))
        rc = err_set(e, ERR_INPUT, "the adapter was made for another model (%d layers of width %d, vocabulary %d) than this one (%d of %d, %d)",
                     s.num_hidden_layers, s.hidden_size, s.vocab_size, c.num_hidden_layers, c.hidden_size, c.vocab_size);
    return rc;
}

static int eval_infer(struct op_infer *x, struct err *e)
{
    const struct op_args *a = op_infer_args(x);
    enum task t = task_of(a);
    int rc = check_unused(x, t, e);
    if (rc == 0)
        rc = check_adapter(x, e);
    if (rc == 0 && t >= TASK_GSM8K) {
        rc = check_path(x, t, e);
    } else if (rc == 0 && !op_input_count(a, "data")) {
        op_blame_param(x, "task");
        rc = err_set(e, ERR_INPUT, "task: %s needs a dataset at the input `data`", task_name(t));
    } else if (rc == 0)
        rc = data_samples_infer(x, "data", e);
    static const char *const ports[] = {"metrics", "predictions"};
    for (int i = 0; rc == 0 && i < 2; i++) {
        struct js *d = js_object();
        js_set(d, "task", js_new_cstr(task_name(t)));
        rc = op_set_output(x, ports[i], d, e);
    }
    return rc;
}

/* ---- the user's files ---- */

static int mmlu_sources(const struct op_args *a, struct op_sources *s, struct err *e)
{
    static const char *const splits[] = {"test", "dev"};
    char **names = NULL;
    size_t n = 0;
    int rc = mmlu_subjects(a, &names, &n, e);
    for (size_t i = 0; rc == 0 && i < n; i++)
        for (int k = 0; rc == 0 && k < (op_int(a, "n_shot") ? 2 : 1); k++) {
            char *path = mmlu_path(op_str(a, "path"), splits[k], names[i]);
            if (!path || op_source(s, fs_basename(path), path))
                rc = err_nomem(e, 0, "sources");
            free(path);
        }
    fs_list_free(names, n);
    return rc;
}

static int super_ni_sources(const struct op_args *a, struct op_sources *s, struct err *e)
{
    struct js *files = NULL;
    int rc = super_ni_files(op_str(a, "path"), op_str(a, "split"), &files, e);
    for (size_t i = 0; rc == 0 && i < js_len(files); i++) {
        const char *path = js_cstr(js_at(files, i));
        if (op_source(s, fs_basename(path), path))
            rc = err_nomem(e, 0, "sources");
    }
    js_free(files);
    return rc;
}

static int eval_sources(const struct op_args *a, struct op_sources *s, struct err *e)
{
    static const char *const files[][2] = {{"shots_path", "exemplars"}, {"judge", "annotations"}, {"outputs", "outputs"},
                                            {"judge_prompt", "judge prompt"}, {"reference", "reference outputs"}};
    enum task t = task_of(a);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (op_is_set(a, files[i][0]) && !http_is_url(op_str(a, files[i][0])) && op_source(s, files[i][1], op_str(a, files[i][0])))
            return err_nomem(e, 0, "sources");
    if (!op_is_set(a, "path"))
        return 0;
    if (t == TASK_MMLU)
        return mmlu_sources(a, s, e);
    if (t == TASK_SUPER_NI && fs_is_dir(op_str(a, "path")))
        return super_ni_sources(a, s, e);
    return op_source(s, "questions", op_str(a, "path")) ? err_nomem(e, 0, "sources") : 0;
}

/* ---- cost ---- */

static double rows_of(const struct op_args *a, enum task t)
{
    static const double published[] = {[TASK_GSM8K] = 1319, [TASK_MMLU] = 14042, [TASK_SUPER_NI] = 11900, [TASK_ALPACA] = 805};
    double rows = t >= TASK_GSM8K ? published[t] : (double)data_samples_rows(a, "data");
    rows = rows < 0 ? 1000 : rows;
    return op_is_set(a, "limit") && (double)op_int(a, "limit") < rows ? (double)op_int(a, "limit") : rows;
}

static void eval_cost(const struct op_args *a, struct op_cost *cost)
{
    struct model_config c;
    struct err ignored = {0};
    if (op_model_config(a, "model", &c, &ignored))
        return;
    enum dtype t = op_compute(a);
    enum task task = task_of(a);
    bool text = task == TASK_EXACT || task == TASK_GSM8K || task == TASK_SUPER_NI || (task == TASK_ALPACA && !op_is_set(a, "outputs"));
    double rows = rows_of(a, task), d = c.hidden_size;
    double n = c.num_hidden_layers * (2 * d * c.head_dim * (c.num_attention_heads + c.num_key_value_heads) + 3 * d * c.intermediate_size) + d * c.vocab_size;
    double tokens = rows * (text ? 150 + (double)task_new_tokens(a) / 2 : task == TASK_MMLU ? 130 : 300);
    uint64_t cache = 8ull * (uint64_t)c.num_hidden_layers * (uint64_t)c.num_key_value_heads * (uint64_t)c.head_dim * 32 * 1024;
    uint64_t work = task == TASK_MMLU ? choices_memory(&c, t, 2048) : pass_memory(&c, t, EVALUATION_BUDGET, EVALUATION_BUDGET, false, false);
    *cost = (struct op_cost){.flops = 2 * n * tokens, .products = t, .bytes_read = 2 * n, .bytes_written = rows * 1000,
                             .peak_memory = op_answer_memory(&c, op_model_dtype(a, "model"), t) + work + (text ? cache : 0)};
}

static int eval_run(struct op_run *r, struct err *e)
{
    struct evaluation v = {.r = r, .a = op_run_args(r), .eos_id = -1};
    v.task = task_of(v.a);
    int rc = evaluation_open(&v, e);
    if (rc == 0)
        rc = v.task == TASK_MMLU ? evaluate_mmlu(&v, e) : v.task == TASK_LOSS || v.task == TASK_PERPLEXITY ? evaluate_loss(&v, e) : evaluate_text(&v, e);
    evaluation_release(&v);
    return rc;
}

/* ---- tables ---- */

static const struct port_def inputs[] = {
    {.name = "model", .type = "model", .help = "the model"},
    {.name = "adapter", .type = "adapter", .flags = PORT_OPTIONAL, .help = "beside the model's weights"},
    {.name = "data", .type = "dataset", .flags = PORT_OPTIONAL, .help = "rows for loss, perplexity and exact"},
    {0},
};

static const struct port_def outputs[] = {
    {.name = "metrics", .type = "metrics", .help = "task, protocol, n, values with standard errors; accuracies in per cent"},
    {.name = "predictions", .type = "predictions", .help = "a line a row: what was written and whether it is right, or its loss"},
    {0},
};

static const struct param_def params[] = {
    {.name = "task", .type = PARAM_ENUM, .fallback = "loss", .choices = "loss|perplexity|exact|gsm8k|mmlu|super_ni|alpaca",
     .help = "loss, perplexity: over a dataset; exact: greedy answers to a dataset's last turns; the others: the published protocols, on files at path"},
    {.name = "template", .type = PARAM_ENUM, .choices = "train", .help = "train: the form that training uses; unset: that of the task's protocol"},
    {.name = "path", .type = PARAM_PATH,
     .help = "gsm8k: JSONL with question and answer; mmlu: the folder with test/ and dev/ CSV files; super_ni: a checkout of the benchmark, or JSONL rows; "
             "alpaca: the JSON list of instructions"},
    {.name = "shots_path", .type = PARAM_PATH, .help = "gsm8k: where the exemplars come from, its first n_shot rows"},
    {.name = "n_shot", .type = PARAM_INT, .fallback = "0", .min = 0, .max = 64,
     .help = "exemplars in the prompt (as published gsm8k 0 or 8, mmlu 0 or 5; of mmlu's those that fit 2048 tokens)"},
    {.name = "cot", .type = PARAM_BOOL, .fallback = "true", .help = "gsm8k: exemplars with their reasoning; without it the answer alone"},
    {.name = "subjects", .type = PARAM_STRINGS, .fallback = "all", .unset = "all", .help = "mmlu: which; all: those that have a file under test/"},
    {.name = "split", .type = PARAM_STRING, .fallback = "default", .help = "super_ni: the folder under splits/ whose test_tasks.txt counts (default, xlingual)"},
    {.name = "per_task", .type = PARAM_INT, .fallback = "100", .unset = "all", .min = 1, .max = 1e9,
     .help = "super_ni: the first instances of each task (of a checkout)"},
    {.name = "chat", .type = PARAM_BOOL, .fallback = "true", .help = "wrap the prompt as a user turn; without it a newline ends the answers of gsm8k"},
    {.name = "compat", .type = PARAM_ENUM, .fallback = "none", .choices = "none|reference",
     .help = "reference: gsm8k and exact compare answers as strings without punctuation, so that 10.00 is not 10; mmlu has two spaces before the subject; "
             "super_ni ends a definition with a full stop"},
    {.name = "limit", .type = PARAM_INT, .fallback = "all", .unset = "all", .min = 1, .max = 1e12, .help = "this many rows only; named in the metrics"},
    {.name = "sample", .type = PARAM_ENUM, .fallback = "first", .choices = "first|random", .help = "which rows limit takes: the first, or a seeded sample"},
    {.name = "max_new_tokens", .type = PARAM_INT, .min = 1, .max = 1 << 20, .help = "tokens of an answer; unset: the protocol's (512; super_ni 256, alpaca 2048)"},
    {.name = "outputs", .type = PARAM_PATH, .help = "alpaca, with judge: the outputs.json of an earlier evaluation, instead of generating again"},
    {.name = "generator", .type = PARAM_STRING, .fallback = "pkgraph", .help = "alpaca: the name of the model in outputs.json"},
    {.name = "judge", .type = PARAM_PATH,
     .help = "alpaca, for the win rate: a file of annotations ({instruction, preference}) made elsewhere, or the address of an OpenAI-compatible API "
             "(https://host/v1)"},
    {.name = "judge_model", .type = PARAM_STRING, .help = "endpoint: the judging model's name there"},
    {.name = "judge_key", .type = PARAM_STRING, .fallback = "PKGRAPH_JUDGE_KEY", .flags = PARAM_NOKEY,
     .help = "endpoint: the environment variable that holds the key; unset by default: no key is sent"},
    {.name = "reference", .type = PARAM_PATH, .help = "endpoint: the outputs to compare with ({instruction, output}); unset: those of the file of instructions"},
    {.name = "judge_prompt", .type = PARAM_PATH, .help = "endpoint: a text with {instruction}, {output_1}, {output_2}; unset: ours"},
    {.name = "judge_verdicts", .type = PARAM_STRINGS,
     .help = "endpoint: the last word of the judge's answer when the first output is better, the second, for a tie; unset: [1, 2, tie]"},
    {.name = "judge_order", .type = PARAM_ENUM, .choices = "random|both",
     .help = "endpoint: which output stands first: drawn for each row (unset: random), or both orders are asked and their mean taken"},
    {.name = "judge_request", .type = PARAM_MAP, .help = "endpoint: further members of the request; null takes one of ours away (temperature: 0, max_tokens: 64)"},
    {.name = "judge_threads", .type = PARAM_INT, .fallback = "4", .min = 1, .max = 64, .flags = PARAM_NOKEY, .help = "endpoint: requests at once"},
    {.name = "judge_rate", .type = PARAM_FLOAT, .min = 0.001, .max = 1e9, .flags = PARAM_NOKEY, .help = "endpoint: requests a minute at most"},
    {.name = "judge_tries", .type = PARAM_INT, .fallback = "6", .min = 1, .max = 100, .flags = PARAM_NOKEY,
     .help = "endpoint: tries of a request, with growing pauses or those that the server asks for"},
    {.name = "judge_timeout", .type = PARAM_DURATION, .fallback = "2min", .min = 0.01, .max = 86400, .flags = PARAM_NOKEY, .help = "endpoint: of one try"},
    {.name = "judge_max_cost", .type = PARAM_FLOAT, .min = 0, .max = 1e12, .flags = PARAM_NOKEY,
     .help = "endpoint: stop before more than this is spent; what was answered is kept"},
    {.name = "judge_price_in", .type = PARAM_FLOAT, .min = 0, .max = 1e12, .flags = PARAM_NOKEY, .help = "endpoint: the price of a million tokens asked"},
    {.name = "judge_price_out", .type = PARAM_FLOAT, .min = 0, .max = 1e12, .flags = PARAM_NOKEY, .help = "endpoint: the price of a million tokens answered"},
    PARAM_SEED,
    PARAM_MAX_LENGTH,
    PARAM_TOO_LONG,
    PARAM_COMPUTE,
    {0},
};

const struct op op_eval = {
    .name = "eval",
    .version = 4,
    .summary = "Evaluate a model, with or without an adapter",
    .doc = "loss is the mean over all target tokens, row_loss the mean of the rows' means; the standard error of loss takes a row as the unit of "
           "sampling. exact_match, acc, rouge_l, win_rate and finished (answers that ended before max_new_tokens) are in per cent, each with its "
           "standard error; `by` holds them by subject, category or task, `by_stderr` their errors.\n"
           "A model that was trained in one wrapping of the turns can be far worse in another: `exact` and `template: train` evaluate in the form of "
           "training, the others by themselves in that of the published evaluation (one newline before the assistant turn).\n"
           "mmlu reads subject_test.csv and subject_dev.csv without a header line; with `limit` take `sample: random`, the first rows are of one subject. "
           "alpaca also writes outputs.json. For the win rate, give a second node that file (outputs) and a judge: annotations that were made elsewhere, or an endpoint, "
           "which is asked about every row and leaves annotations.json. An interrupted evaluation goes on from the answers it has.",
    .inputs = inputs,
    .outputs = outputs,
    .params = params,
    .sources = eval_sources,
    .infer = eval_infer,
    .cost = eval_cost,
    .run = eval_run,
};
