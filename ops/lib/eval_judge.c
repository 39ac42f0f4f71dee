/* SPDX-License-Identifier: MIT */
#include "ops/lib/eval_judge.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops/lib/judge.h"
#include "runtime/base/fs.h"
#include "runtime/exec/http.h"

/* ---- plan time ---- */

static bool is_variable(const char *z)
{
    if (!isalpha((unsigned char)*z) && *z != '_')
        return false;
    for (; *z; z++)
        if (!isalnum((unsigned char)*z) && *z != '_')
            return false;
    return true;
}

static int check_endpoint(struct op_infer *x, const char *url, struct err *e)
{
    const struct op_args *a = op_infer_args(x);
    char *plain = http_public_name(url);
    bool secret = plain && strcmp(plain, url) != 0;
    free(plain);
    if (secret)
        return err_set(e, ERR_INPUT, "judge: an address without user and password is needed; the key is read from the environment (judge_key)");
    if (!op_is_set(a, "judge_model")) {
        return err_set(e, ERR_INPUT, "a judge behind an endpoint needs `judge_model`, its name there");
    }
    op_blame_param(x, "judge_key");
    if (!is_variable(op_str(a, "judge_key")))
        return err_set(e, ERR_INPUT, "judge_key is the name of an environment variable that holds the key, not the key itself");
    op_blame_param(x, "judge_verdicts");
    if (op_is_set(a, "judge_verdicts") && op_count(a, "judge_verdicts") != 3)
        return err_set(e, ERR_INPUT, "judge_verdicts has %zu words; it takes three: the first output is better, the second, a tie", op_count(a, "judge_verdicts"));
    op_blame_param(x, "judge_max_cost");
    if (op_is_set(a, "judge_max_cost") && !op_is_set(a, "judge_price_in") && !op_is_set(a, "judge_price_out"))
        return err_set(e, ERR_INPUT, "judge_max_cost needs judge_price_in and judge_price_out, what a million tokens cost");
    static const char *const files[] = {"judge_prompt", "reference"};
    for (int i = 0; i < 2; i++) {
        op_blame_param(x, files[i]);
        if (op_is_set(a, files[i]) && !fs_exists(op_str(a, files[i])))
            return err_set(e, ERR_INPUT, "%s: no such file", op_str(a, files[i]));
    }
    return 0;
}

int eval_judge_check(struct op_infer *x, struct err *e)
{
    static const char *const only[] = {"judge_model", "judge_key", "judge_prompt", "judge_verdicts", "judge_order", "judge_request", "judge_threads",
                                       "judge_tries", "judge_timeout", "judge_rate", "judge_max_cost", "judge_price_in", "judge_price_out", "reference"};
    const struct op_args *a = op_infer_args(x);
    const char *judge = op_is_set(a, "judge") ? op_str(a, "judge") : "";
    op_blame_param(x, "judge");
    if (http_is_url(judge))
        return check_endpoint(x, judge, e);
    if (strstr(judge, "://"))
        return err_set(e, ERR_INPUT, "judge: %s: a file of annotations, or an address that begins with http:// or https://", judge);
    for (size_t i = 0; i < sizeof only / sizeof *only; i++)
        if (op_is_given(a, only[i])) {
            op_blame_param(x, only[i]);
            return err_set(e, ERR_INPUT, "%s is for a judge behind an endpoint (judge: https://...)", only[i]);
        }
    return 0;
}

/* ---- run ---- */

bool eval_judge_both(const struct op_args *a)
{
    return op_is_set(a, "judge_order") && strcmp(op_str(a, "judge_order"), "both") == 0;
}

static double float_or_zero(const struct op_args *a, const char *name)
{
    return op_is_set(a, name) ? op_float(a, name) : 0;
}

static struct judge_options options(const struct op_args *a)
{
    struct judge_options o = {.url = op_str(a, "judge"), .model = op_str(a, "judge_model"), .key = op_str(a, "judge_key"),
                              .need_key = op_is_given(a, "judge_key"), .prompt = op_is_set(a, "judge_prompt") ? op_str(a, "judge_prompt") : NULL,
                              .more = op_map(a, "judge_request"), .both = eval_judge_both(a),
                              .seed = (uint64_t)op_int(a, "seed"), .threads = (size_t)op_int(a, "judge_threads"),
                              .tries = (size_t)op_int(a, "judge_tries"), .per_minute = float_or_zero(a, "judge_rate"),
                              .timeout = op_float(a, "judge_timeout"), .max_cost = float_or_zero(a, "judge_max_cost"),
                              .price_in = float_or_zero(a, "judge_price_in"), .price_out = float_or_zero(a, "judge_price_out")};
    static const char *const ours[] = {"1", "2", "tie"};
    for (size_t i = 0; i < 3; i++)
        o.verdict[i] = op_is_set(a, "judge_verdicts") ? op_str_at(a, "judge_verdicts", i) : ours[i];
    return o;
}

static int count_and_write(struct evaluation *v, const struct questions *q, struct js *const *references, const struct judge_pair *pairs,
                           struct alpaca_judged *out, struct err *e)
{
    double *preference = calloc(q->n + 1, sizeof *preference);
    struct alpaca_verdict *verdicts = calloc(q->n + 1, sizeof *verdicts);
    const char *path;
    int rc = preference && verdicts ? 0 : err_nomem(e, q->n * sizeof *verdicts, "verdicts");
    for (size_t i = 0; rc == 0 && i < q->n; i++) {
        preference[i] = pairs[i].preference;
        verdicts[i] = (struct alpaca_verdict){pairs[i].preference, pairs[i].text};
    }
    if (rc == 0)
        rc = alpaca_count(q, preference, out, e);
    if (rc == 0)
        rc = op_out_file(v->r, "predictions", "annotations.json", &path, e);
    if (rc == 0)
        rc = alpaca_write_annotations(q, references, verdicts, op_str(v->a, "generator"), op_str(v->a, "judge_model"), path, e);
    free(preference);
    free(verdicts);
    return rc;
}

int eval_judge(struct evaluation *v, const struct questions *q, struct metrics *m, struct alpaca_judged *out, struct err *e)
{
    struct judge_options o = options(v->a);
    struct judge_sums sums = {0};
    struct js **references = NULL;
    struct judge_pair *pairs = calloc(q->n + 1, sizeof *pairs);
    struct buf *instructions = calloc(q->n + 1, sizeof *instructions);
    int rc = pairs && instructions ? alpaca_references(q, op_str(v->a, op_is_set(v->a, "reference") ? "reference" : "path"), &references, e)
                   : err_nomem(e, q->n * sizeof *pairs, "pairs");
    for (size_t i = 0; rc == 0 && i < q->n; i++) {
        alpaca_instruction(&q->v[i], &instructions[i]);
        rc = instructions[i].failed ? err_nomem(e, 0, "instructions") : 0;
        pairs[i] = (struct judge_pair){.instruction = buf_view(&instructions[i]), .reference = js_str(js_get(references[i], "output")),
                                       .output = buf_view(&q->v[i].output), .preference = NAN};
    }
    if (rc == 0)
        rc = judge_pairs(v->r, &o, pairs, q->n, &sums, e);
    if (rc == 0)
        rc = count_and_write(v, q, references, pairs, out, e);
    if (rc == 0 && out->failed)
        progress_warn(op_progress(v->r), "judge: %zu of %zu outputs got no verdict: the win rate is that of the others", out->failed, q->n);
    if (rc == 0) {
        metrics_by(m, "counts", "no_verdict", (double)out->failed);
        metrics_by(m, "counts", "judge_tokens", sums.tokens_in);
        metrics_by(m, "counts", "judge_new_tokens", sums.tokens_out);
    }
    for (size_t i = 0; pairs && instructions && i < q->n; i++) {
        free(pairs[i].text);
        buf_release(&instructions[i]);
    }
    free(pairs);
    free(instructions);
    alpaca_references_free(references, q->n);
    return rc;
}
