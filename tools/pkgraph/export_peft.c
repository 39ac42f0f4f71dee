/* SPDX-License-Identifier: MIT */
#include "tools/pkgraph/export_peft.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/model/peft_export.h"
#include "tools/pkgraph/export_vllm.h"
#include "tools/pkgraph/session.h"
#include "tools/pkgraph/term.h"

/* NULL when the artifact has no such file. */
static int file_of(struct resolver *r, const struct artifact *a, const char *name, const char **path, struct err *e)
{
    char hex[DIGEST_HEX];
    *path = NULL;
    for (size_t i = 0; i < a->n; i++)
        if (strcmp(a->files[i].name, name) == 0) {
            digest_hex(&a->files[i].digest, hex);
            return resolver_find(r, hex, path, e);
        }
    return 0;
}

int adapter_read(struct resolver *r, const struct artifact *a, const struct model_config *c, struct lora **out, struct err *e)
{
    const char *weights, *config, *compensation;
    int rc = file_of(r, a, "adapter_model.safetensors", &weights, e);
    if (!rc)
        rc = file_of(r, a, "adapter_config.json", &config, e);
    if (!rc)
        rc = file_of(r, a, "compensation.safetensors", &compensation, e);
    if (!rc && (!weights || !config))
        rc = err_set(e, ERR_INPUT, "--as peft is for adapters; this artifact is of type %s", a->type);
    return rc ? rc : lora_read(weights, config, compensation, c, out, e);
}

static void print_errors(const struct lora *l, const struct peft_module *m)
{
    struct table t = {.cols = 2};
    char name[PARAM_NAME_MAX];
    table_cell(&t, "module");
    table_cell(&t, "relative error");
    for (size_t i = 0; i < l->n; i++) {
        table_cell(&t, "%s", module_path(name, m[i].layer, m[i].mod));
        table_cell(&t, "%.3g", m[i].error);
    }
    table_print(&t, true, stderr);
    table_release(&t);
}

static int write_adapter(struct export_dir *d, const struct lora *l, struct err *e)
{
    const char *weights, *config;
    int rc = export_add(d, "adapter_model.safetensors", &weights, e);
    if (!rc)
        rc = export_add(d, "adapter_config.json", &config, e);
    return rc ? rc : lora_write(l, weights, config, NULL, e);
}

int export_peft(struct export_dir *d, struct store *s, const struct artifact *adapter, int rank, const char *base, struct buf *vllm, struct err *e)
{
    const char *type = js_cstr(js_get(js_get(artifact_desc(adapter), "student"), "model_type"));
    struct resolver r = {.store = s};
    struct lora *l = NULL, *portable = NULL;
    struct peft_module *errors = NULL;
    struct model_config c;
    if (strcmp(adapter->type, "adapter") != 0)
        return err_set(e, ERR_INPUT, "--as peft is for adapters; this is of type %s", adapter->type);
    int rc = model_config_parse(js_get(artifact_desc(adapter), "student"), "the adapter's student", &c, e);
    if (!rc)
        rc = adapter_read(&r, adapter, &c, &l, e);
    if (!rc && !(errors = calloc(l->n + 1, sizeof *errors)))
        rc = err_nomem(e, l->n * sizeof *errors, "errors");
    if (!rc)
        rc = peft_portable(l, &c, rank, base, &portable, errors, e);
    if (!rc && vllm)
        rc = vllm_command(portable, &c, type ? type : "llama", base, d->path, vllm, e);
    if (!rc)
        rc = write_adapter(d, portable, e);
    if (!rc && rank)
        print_errors(portable, errors);
    lora_free(portable);
    lora_free(l);
    free(errors);
    resolver_release(&r);
    return rc;
}
