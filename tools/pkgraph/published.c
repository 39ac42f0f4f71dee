/* SPDX-License-Identifier: MIT */
#include "tools/pkgraph/published.h"

#include <math.h>
#include <string.h>

#include "runtime/base/json.h"
#include "tools/pkgraph/term.h"

enum column { GSM_0, GSM_8, MMLU_0, MMLU_5, NI_EM, NI_ROUGE, ALPACA, COLUMNS };

/* "+" rows: a LoRA start from that teacher's parameters; means of three runs. NAN: not given. */
static const struct {
    const char *model;
    double v[COLUMNS];
} rows[] = {
    {"LLaMA-1 7B, untrained", {4.70, 10.77, 32.10, 35.30, 0.67, 5.55, NAN}},
    {"LLaMA-1 7B, LoRA", {17.26, 16.93, 43.43, 38.90, 22.91, 40.49, 9.07}},
    {"LLaMA-1 7B + 13B", {18.73, 18.85, 44.03, 39.77, 24.51, 42.37, 9.28}},
    {"LLaMA-1 7B + 30B", {18.63, 18.52, 45.20, 40.60, 25.01, 43.08, 9.40}},
    {"LLaMA-1 13B, untrained", {4.93, 17.44, 43.50, 46.80, 2.18, 7.78, NAN}},
    {"LLaMA-1 13B, LoRA", {26.18, 23.78, 50.43, 50.03, 27.34, 45.53, 13.91}},
    {"LLaMA-1 13B + 30B", {27.85, 27.70, 51.30, 51.03, 27.51, 46.09, 17.27}},
    {"Llama-2 7B, untrained", {3.34, 15.54, 41.70, 45.80, 0.00, 4.68, NAN}},
    {"Llama-2 13B, untrained", {6.52, 27.82, 52.10, 55.20, 0.00, 4.84, NAN}},
    {"Llama-2 7B, LoRA", {23.38, 21.05, 47.77, 47.07, 24.93, 41.25, 20.50}},
    {"Llama-2 7B + 13B", {25.30, 26.31, 49.37, 46.53, 26.16, 42.98, 24.64}},
};

static const struct {
    const char *task;
    int shots;
    const char *metric;
    enum column column;
} measures[] = {
    {"gsm8k", 0, "exact_match", GSM_0}, {"gsm8k", 8, "exact_match", GSM_8}, {"mmlu", 0, "acc", MMLU_0}, {"mmlu", 5, "acc", MMLU_5},
    {"super_ni", 0, "exact_match", NI_EM}, {"super_ni", 0, "rouge_l", NI_ROUGE}, {"alpaca", 0, "win_rate", ALPACA},
};

void published_print(const struct js *metrics, FILE *f)
{
    const char *task = js_cstr(js_get(metrics, "task"));
    size_t used[COLUMNS], n = 0;
    for (size_t i = 0; task && i < sizeof measures / sizeof *measures; i++)
        if (strcmp(measures[i].task, task) == 0 && js_int(js_get(metrics, "n_shot"), -1) == measures[i].shots &&
            js_get(js_get(metrics, "metrics"), measures[i].metric))
            used[n++] = i;
    if (n == 0)
        return;
    struct table t = {.cols = n + 1};
    table_cell(&t, "published");
    for (size_t k = 0; k < n; k++)
        table_cell(&t, "%s", measures[used[k]].metric);
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        table_cell(&t, "%s", rows[r].model);
        for (size_t k = 0; k < n; k++) {
            double v = rows[r].v[measures[used[k]].column];
            if (isnan(v))
                table_cell(&t, "-");
            else
                table_cell(&t, "%.2f", v);
        }
    }
    fputs("\n", f);
    table_print(&t, true, f);
    table_release(&t);
}
