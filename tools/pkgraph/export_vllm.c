/* SPDX-License-Identifier: MIT */
#include "tools/pkgraph/export_vllm.h"

#include <string.h>

enum { MOST_TOKENS = 258048 };
static const int ranks[] = {1, 8, 16, 32, 64, 128, 256, 320, 512};

static int check_table(const struct lora_pair *p, const struct model_config *c, const char *model_type, struct err *e)
{
    static const char remedy[] = "merge it into the model (op merge, export --as hf), or leave the module out of target_modules";
    const char *name = module_name(p->mod);
    if (p->mod != MOD_EMBED && p->mod != MOD_HEAD)
        return 0;
    if (c->tie_word_embeddings)
        return err_set(e, ERR_UNSUPPORTED, "vLLM serves no adapter of %s where it is tied to the other table; %s", name, remedy);
    if (strcmp(model_type, "llama") != 0 && strcmp(model_type, "mistral") != 0)
        return err_set(e, ERR_UNSUPPORTED, "vLLM serves no adapter of %s of %s models; %s", name, model_type, remedy);
    if (c->vocab_size > MOST_TOKENS)
        return err_set(e, ERR_UNSUPPORTED, "vLLM serves no adapter of %s with %d tokens, at most %d; %s", name, c->vocab_size, MOST_TOKENS, remedy);
    return 0;
}

int vllm_command(const struct lora *l, const struct model_config *c, const char *model_type, const char *base, const char *dir, struct buf *out, struct err *e)
{
    size_t k = 0, n = sizeof ranks / sizeof *ranks;
    int r = 0;
    for (size_t i = 0; i < l->n; i++) {
        int rc = check_table(&l->pairs[i], c, model_type, e);
        if (rc != 0)
            return rc;
        r = l->pairs[i].r > r ? l->pairs[i].r : r;
    }
    while (k < n && ranks[k] < r)
        k++;
    if (k == n)
        return err_set(e, ERR_UNSUPPORTED, "the adapter has rank %d, vLLM serves at most %d; --rank %d cuts it, with the error of each module", r, ranks[n - 1], ranks[n - 1]);
    buf_printf(out, "vllm serve %s --enable-lora --max-lora-rank %d --lora-modules adapter=%s\n", base ? base : "BASE", ranks[k], dir);
    return out->failed ? err_nomem(e, strlen(dir), "a command line") : 0;
}
