/* SPDX-License-Identifier: MIT */
#include "engine/opset.h"

#include <stdlib.h>
#include <string.h>

#include "engine/op_private.h"
#include "engine/param.h"

enum { MAX_NEAR = 256 };

void opset_release(struct opset *s)
{
    for (size_t i = 0; i < s->n; i++) {
        struct op_entry *x = &s->v[i];
        for (size_t k = 0; x->fallback && k < x->n_params; k++)
            if (x->op->params[k].type == PARAM_MAP && x->fallback[k].set)
                js_free(x->fallback[k].map);
        names_release(&x->params);
    }
    free(s->v);
    free(s->list);
    names_release(&s->names);
    *s = (struct opset){0};
}

static bool add_op(struct opset *s, const struct op *op)
{
    struct op_entry *x = &s->v[s->n];
    *x = (struct op_entry){.op = op, .n_params = op_param_count(op), .n_inputs = port_count(op->inputs),
                           .n_outputs = port_count(op->outputs)};
    s->list[s->n] = op->name;
    s->n++;
    for (size_t k = 0; k < x->n_params; k++)
        if (!names_put(&x->params, str_of(op->params[k].name), k))
            return false;
    return names_put(&s->names, str_of(op->name), s->n - 1) != NULL;
}

int opset_init(struct opset *s, const struct op *const *table, struct err *e)
{
    size_t n = 0;
    while (table && table[n])
        n++;
    *s = (struct opset){0};
    s->v = calloc(n + 1, sizeof *s->v);
    s->list = calloc(n + 1, sizeof *s->list);
    bool ok = s->v && s->list;
    for (size_t i = 0; ok && i < n; i++)
        ok = add_op(s, table[i]);
    if (ok)
        return 0;
    opset_release(s);
    return err_nomem(e, n * sizeof *s->v, "the table of operators");
}

struct op_entry *opset_find(struct opset *s, struct str name)
{
    size_t i = names_get(&s->names, name);
    return i == NAMES_NONE ? NULL : &s->v[i];
}

int opset_fallback(struct op_entry *x, const char *dir, struct arena *a, struct err *e)
{
    if (x->fallback)
        return 0;
    struct param_value *v = arena_array(a, x->n_params + 1, sizeof *v);
    if (!v)
        return err_nomem(e, x->n_params * sizeof *v, "defaults");
    x->fallback = v;
    for (size_t k = 0; k < x->n_params; k++)
        if (param_fallback(&x->op->params[k], dir, a, &v[k], e))
            return err_prefix(e, "operator %s", x->op->name);
    return 0;
}

const char *opset_near(const struct opset *s, const char *word)
{
    return nearest_name(word, s->list, s->n);
}

const char *op_near_param(const struct op *op, const char *word)
{
    const char *names[MAX_NEAR];
    size_t n = 0;
    while (op->params && n < MAX_NEAR && op->params[n].name) {
        names[n] = op->params[n].name;
        n++;
    }
    return nearest_name(word, names, n);
}

const char *op_near_port(const struct port_def *ports, const char *word)
{
    const char *names[MAX_NEAR];
    size_t n = 0;
    while (ports && n < MAX_NEAR && ports[n].name) {
        names[n] = ports[n].name;
        n++;
    }
    return nearest_name(word, names, n);
}

/* ---- names of other trainers ---- */

#define AXOLOTL "axolotl's name"
#define LLAMA_FACTORY "LLaMA-Factory's name"
#define TORCHTUNE "torchtune's name"
#define OPEN_INSTRUCT "open-instruct's name"
#define PEFT_NAME "PEFT's name"

static const struct foreign {
    const char *theirs, *ours, *whose;
} foreign[] = {
    {"lora_r", "r", AXOLOTL},
    {"lora_rank", "r", "the name of LLaMA-Factory, torchtune and open-instruct"},
    {"rank", "r", NULL},
    {"alpha", "lora_alpha", NULL},
    {"dropout", "lora_dropout", NULL},
    {"lora_target_modules", "target_modules", AXOLOTL},
    {"lora_target_linear", "target_modules", AXOLOTL},
    {"lora_target", "target_modules", LLAMA_FACTORY},
    {"lora_attn_modules", "target_modules", TORCHTUNE},
    {"apply_lora_to_mlp", "target_modules", TORCHTUNE},
    {"apply_lora_to_output", "target_modules", TORCHTUNE},
    {"init_lora_weights", "init", PEFT_NAME},
    {"peft_init_lora_weights", "init", AXOLOTL},
    {"pissa_init", "init", LLAMA_FACTORY},
    {"peft_use_rslora", "use_rslora", AXOLOTL},
    {"lr", "learning_rate", TORCHTUNE},
    {"optimizer.lr", "learning_rate", TORCHTUNE},
    {"num_epochs", "num_train_epochs", AXOLOTL},
    {"epochs", "num_train_epochs", TORCHTUNE},
    {"micro_batch_size", "per_device_train_batch_size", AXOLOTL},
    {"batch_size", "per_device_train_batch_size", TORCHTUNE},
    {"max_steps_per_epoch", "max_steps", TORCHTUNE},
    {"max_train_steps", "max_steps", OPEN_INSTRUCT},
    {"lr_scheduler", "lr_scheduler_type", AXOLOTL},
    {"lr_scheduler._component_", "lr_scheduler_type", TORCHTUNE},
    {"warmup_steps", "warmup_ratio", "a name of transformers"},
    {"num_warmup_steps", "warmup_ratio", TORCHTUNE},
    {"clip_grad_norm", "max_grad_norm", "the name of torchtune and open-instruct"},
    {"adam_beta_1", "adam_beta1", NULL},
    {"adam_beta_2", "adam_beta2", NULL},
    {"adam_eps", "adam_epsilon", NULL},
    {"sequence_len", "max_length", AXOLOTL},
    {"cutoff_len", "max_length", LLAMA_FACTORY},
    {"max_seq_length", "max_length", OPEN_INSTRUCT},
    {"max_seq_len", "max_length", TORCHTUNE},
    {"tokenizer.max_seq_len", "max_length", TORCHTUNE},
    {"early_stopping_steps", "early_stopping_patience", LLAMA_FACTORY},
    {"checkpointing_steps", "save_steps", OPEN_INSTRUCT},
    {"eval_strategy", "eval_steps", "a name of transformers"},
    {"evaluation_strategy", "eval_steps", "a name of transformers"},
    {"load_best_model", "load_best_model_at_end", NULL},
    {"train_sampling_strategy", "group_by_length", "a name of transformers"},
    {"kd_temperature", "temperature", AXOLOTL},
    {"kd_alpha", "distill_weight", AXOLOTL},
    {"bf16", "compute", "a name of transformers"},
    {"excess_length_strategy", "too_long", AXOLOTL},
    {"roles_to_train", "train_on", AXOLOTL},
    {"train_on_inputs", "train_on", AXOLOTL},
    {"train_on_input", "train_on", TORCHTUNE},
    {"train_on_prompt", "train_on", LLAMA_FACTORY},
    {"mask_history", "train_on", LLAMA_FACTORY},
    {"assistant_only_loss", "train_on", "TRL's name"},
    {"completion_only_loss", "train_on", "TRL's name"},
    {"reduce_loss", "loss_reduction", OPEN_INSTRUCT},
    {"sample_packing", "batch_tokens", AXOLOTL},
    {"neat_packing", "batch_tokens", LLAMA_FACTORY},
    {"packing", "batch_tokens", "a name of TRL and LLaMA-Factory"},
    {"dataset.packed", "batch_tokens", TORCHTUNE},
    {"base_model", "model", AXOLOTL},
    {"model_name_or_path", "model", "the name of LLaMA-Factory and open-instruct"},
    {"chat_template", "template", "the name of transformers and axolotl"},
    {"num_fewshot", "n_shot", "lm-evaluation-harness's name"},
    {"n_shots", "n_shot", NULL},
    {"max_gen_toks", "max_new_tokens", "lm-evaluation-harness's name"},
    {"max_tokens", "max_new_tokens", "the OpenAI API's name"},
};

const char *foreign_param(const struct op *op, const char *word, const char **whose)
{
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        if (strcmp(foreign[i].theirs, word) == 0 && op_param_index(op, foreign[i].ours) >= 0) {
            *whose = foreign[i].whose;
            return foreign[i].ours;
        }
    return NULL;
}
