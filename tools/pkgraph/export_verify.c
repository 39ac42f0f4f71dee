/* SPDX-License-Identifier: MIT */
#include "tools/pkgraph/export_verify.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/fs.h"
#include "runtime/model/pass.h"
#include "tools/pkgraph/export_peft.h"
#include "tools/pkgraph/term.h"

enum { VERIFY_TOKENS = 32, VERIFY_AT = 4 };

/* The model under the adapter: what feeds `model` (train) or `student` (lora-init). -1: none. */
static int base_of(const struct graph *g, size_t node)
{
    const struct node *n = &g->nodes[node];
    for (size_t i = 0; i < n->n_edges; i++) {
        const char *port = n->op->inputs[n->edges[i].port].name;
        if (strcmp(port, "model") == 0 || strcmp(port, "student") == 0)
            return n->edges[i].from;
    }
    return -1;
}

static int logits(const struct weights *w, struct lora *l, float *out, struct err *e)
{
    int32_t ids[VERIFY_TOKENS], cu[2] = {0, VERIFY_TOKENS}, pos[VERIFY_AT];
    const struct model_config *c = weights_config(w);
    for (int i = 0; i < VERIFY_TOKENS; i++)
        ids[i] = (int32_t)((uint64_t)(i + 1) * 2654435761u % (uint64_t)c->vocab_size);
    for (int i = 0; i < VERIFY_AT; i++)
        pos[i] = (i + 1) * (VERIFY_TOKENS / VERIFY_AT) - 1;
    struct batch b = {.n_seqs = 1, .cu = cu, .ids = ids};
    struct pass_options o = {.weights = w, .lora = l};
    int rc = lora_index(l, c->num_hidden_layers, e);
    return rc ? rc : pass_logits(&o, &b, pos, VERIFY_AT, out, e);
}

static int read_export(const char *dir, const struct model_config *c, struct lora **out, struct err *e)
{
    char *weights = fs_join(dir, "adapter_model.safetensors"), *config = fs_join(dir, "adapter_config.json");
    int rc = weights && config ? lora_read(weights, config, NULL, c, out, e) : err_nomem(e, 0, "a path");
    free(weights);
    free(config);
    return rc;
}

static int compare(const struct weights *w, struct lora *trained, struct lora *exported, struct err *e)
{
    size_t n = (size_t)VERIFY_AT * (size_t)weights_config(w)->vocab_size;
    float *x = calloc(n, sizeof *x), *y = calloc(n, sizeof *y);
    double worst = 0, largest = 0;
    int rc = x && y ? logits(w, trained, x, e) : err_nomem(e, 2 * n * sizeof *x, "logits");
    if (!rc)
        rc = logits(w, exported, y, e);
    for (size_t i = 0; !rc && i < n; i++) {
        worst = fmax(worst, fabs((double)x[i] - (double)y[i]));
        largest = fmax(largest, fabs((double)x[i]));
    }
    if (!rc)
        fprintf(stderr, "verified on the base model: largest difference of logits %.3g (largest logit %.3g)\n", worst, largest);
    free(x);
    free(y);
    return rc;
}

static int verify(struct session *s, const struct artifact *base, const struct artifact *adapter, const char *dir, struct err *e)
{
    struct resolver r = {.store = s->store};
    struct model *m = NULL;
    struct weights *w = NULL;
    struct lora *trained = NULL, *exported = NULL;
    struct js *json = NULL;
    char *path = session_file(s, base, "model.json");
    int rc = path && (json = js_read(path, e)) ? 0 : err_set(e, ERR_DAMAGED, "the base model's model.json cannot be read");
    if (!rc)
        rc = model_open(json, resolver_find, &r, &m, e);
    if (!rc)
        rc = weights_new(m, DT_F32, WEIGHTS_STREAMED, &w, e);
    if (!rc)
        rc = adapter_read(&r, adapter, model_config(m), &trained, e);
    if (!rc)
        rc = read_export(dir, model_config(m), &exported, e);
    if (!rc)
        rc = compare(w, trained, exported, e);
    lora_free(exported);
    lora_free(trained);
    weights_free(w);
    if (m)
        model_close(m);
    js_free(json);
    free(path);
    resolver_release(&r);
    return rc;
}

int export_verify(struct session *s, const struct args *a, size_t node, const struct artifact *adapter, const char *dir)
{
    struct err e = {0};
    const struct artifact *base;
    int from = base_of(s->graph, node);
    if (from < 0)
        return usage_error(a->command, "--verify: %s has no base model among its inputs", s->graph->nodes[node].id);
    int status = session_artifact(s, a, (size_t)from, 0, &base);
    if (status != STATUS_DONE)
        return status;
    if (verify(s, base, adapter, dir, &e) != 0) {
        say_err(&e);
        return STATUS_FAILED;
    }
    return STATUS_DONE;
}
