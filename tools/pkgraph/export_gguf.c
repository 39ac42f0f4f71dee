/* SPDX-License-Identifier: MIT */
#include "tools/pkgraph/export_gguf.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "runtime/model/gguf_export.h"
#include "runtime/model/peft_export.h"
#include "tools/pkgraph/export_peft.h"
#include "tools/pkgraph/session.h"

static const struct quant_type *type_of(const char *dtype)
{
    char name[16] = "";
    for (size_t i = 0; dtype && dtype[i] && i + 1 < sizeof name; i++)
        name[i] = (char)toupper((unsigned char)dtype[i]);
    return dtype ? quant_by_name(name) : NULL;
}

static int modelfile(struct export_dir *d, const struct js *facts, struct err *e)
{
    struct buf b = {0};
    const char *eos = js_cstr(js_get(facts, "eos_token"));
    buf_puts(&b, "FROM ./model.gguf\n");
    if (eos && !strpbrk(eos, "\"\n"))
        buf_printf(&b, "PARAMETER stop \"%s\"\n", eos);
    int rc = b.failed ? err_nomem(e, b.n, "Modelfile") : export_text(d, "Modelfile", buf_view(&b), e);
    buf_release(&b);
    return rc;
}

static int write_model(struct export_dir *d, struct resolver *r, const struct js *json, const char *dtype, struct err *e)
{
    struct model *m = NULL;
    const struct js *facts = js_get(json, "tokenizer");
    const char *digest = js_cstr(js_get(facts, "digest")), *tokenizer = NULL, *path;
    int rc = model_open(json, resolver_find, r, &m, e);
    if (!rc && digest)
        rc = resolver_find(r, digest, &tokenizer, e);
    if (!rc)
        rc = export_add(d, "model.gguf", &path, e);
    if (!rc)
        rc = gguf_export_model(m, tokenizer, type_of(dtype), path, e);
    if (!rc)
        rc = modelfile(d, facts, e);
    if (m)
        model_close(m);
    return rc;
}

static int of_model(struct export_dir *d, struct resolver *r, const struct artifact *a, const char *dtype, struct err *e)
{
    struct js *json = NULL;
    const char *path;
    char hex[DIGEST_HEX];
    int rc = err_set(e, ERR_DAMAGED, "the model artifact has no model.json");
    for (size_t i = 0; i < a->n; i++)
        if (strcmp(a->files[i].name, "model.json") == 0) {
            digest_hex(&a->files[i].digest, hex);
            rc = resolver_find(r, hex, &path, e);
        }
    if (!rc && !(json = js_read(path, e)))
        rc = e->code;
    if (!rc)
        rc = write_model(d, r, json, dtype, e);
    js_free(json);
    return rc;
}

static int of_adapter(struct export_dir *d, struct resolver *r, const struct artifact *a, int rank, struct err *e)
{
    struct model_config c;
    struct lora *l = NULL, *portable = NULL;
    const char *path;
    int rc = model_config_parse(js_get(artifact_desc(a), "student"), "the adapter's student", &c, e);
    if (!rc)
        rc = adapter_read(r, a, &c, &l, e);
    if (!rc)
        rc = peft_portable(l, &c, rank, NULL, &portable, NULL, e);
    if (!rc)
        rc = export_add(d, "adapter.gguf", &path, e);
    if (!rc)
        rc = gguf_export_adapter(portable, &c, path, e);
    lora_free(portable);
    lora_free(l);
    return rc;
}

int export_gguf(struct export_dir *d, struct store *s, const struct artifact *a, const char *dtype, int rank, struct err *e)
{
    struct resolver r = {.store = s};
    bool model = strcmp(a->type, "model") == 0, adapter = strcmp(a->type, "adapter") == 0;
    int rc = 0;
    if (!model && !adapter)
        rc = err_set(e, ERR_INPUT, "--as gguf is for models and adapters; this is of type %s", a->type);
    else if (model && rank)
        rc = err_set(e, ERR_INPUT, "--rank is for adapters; this is a model");
    else if (adapter && dtype)
        rc = err_set(e, ERR_INPUT, "--dtype is for models; adapters are written in f32");
    else
        rc = model ? of_model(d, &r, a, dtype, e) : of_adapter(d, &r, a, rank, e);
    resolver_release(&r);
    return rc;
}
