/* SPDX-License-Identifier: MIT
 *
 * A batch is either whole prompts packed end to end (the ordinary pass), or the ends of prompts of one group, whose common
 * front lies in every slot of the cache, [layer][key or value][position][kd] f32. In the second case each row is a query of its own
 * over the cache of its slot up to its own position: what decoding does, many positions at once.
 */
#include "runtime/model/choices.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/base/arena.h"
#include "runtime/kernels/attention.h"
#include "runtime/model/decode.h"
#include "runtime/model/run.h"

enum { TOKENS = 2048, MAX_SLOTS = 16, MIN_SHARED = 16 };
#define KV_BYTES ((size_t)512 << 20)

struct chooser {
    const struct choices_options *o;
    const struct ids *prompts;
    float *out;
    size_t n, longest, tokens, slots, room;
    struct run r;
    struct pass_options po;
    struct batch b;
    size_t shared; /* positions of the group's front in the cache */
    double done, total; /* ids computed and to compute */
    size_t kv_bytes, logits_bytes;
    float *kv, *logits; /* (slots) caches; (slots, V) */
    int32_t *ids, *cu, *len;
    const float **keys, **values; /* (tokens) */
};

static float *cache(const struct chooser *g, size_t slot, int layer, int value)
{
    return g->kv + ((slot * (size_t)g->r.L + (size_t)layer) * 2 + (size_t)value) * g->room * g->r.kd;
}

/* The front of a group: its rows go to every slot. */
static int keep(void *u, int layer, const float *k, const float *v, struct err *e)
{
    struct chooser *g = u;
    size_t bytes = g->shared * g->r.kd * sizeof(float);
    (void)e;
    for (size_t s = 0; s < g->slots; s++) {
        memcpy(cache(g, s, layer, 0), k, bytes);
        memcpy(cache(g, s, layer, 1), v, bytes);
    }
    return 0;
}

static int attend(void *u, int layer, const float *q, const float *k, const float *v, float *out, struct err *e)
{
    struct chooser *g = u;
    const struct model_config *c = g->r.c;
    size_t kd = g->r.kd;
    for (int s = 0; s < g->b.n_seqs; s++) {
        size_t from = (size_t)g->cu[s], n = (size_t)g->cu[s + 1] - from;
        float *ck = cache(g, (size_t)s, layer, 0), *cv = cache(g, (size_t)s, layer, 1);
        memcpy(ck + g->shared * kd, k + from * kd, n * kd * sizeof(float));
        memcpy(cv + g->shared * kd, v + from * kd, n * kd * sizeof(float));
        for (size_t t = from; t < from + n; t++) {
            g->keys[t] = ck;
            g->values[t] = cv;
            g->len[t] = g->r.pos[t] + 1;
        }
    }
    return attention_decode(out, q, g->keys, g->values, g->len, (int)g->r.T, c->num_attention_heads, c->num_key_value_heads,
                            c->head_dim, e);
}

static int forward(struct chooser *g, size_t n_seqs, const struct kv_sink *kv, struct err *e)
{
    g->b = (struct batch){.n_seqs = (int)n_seqs, .cu = g->cu, .ids = g->ids};
    g->r.T = (size_t)g->cu[n_seqs];
    g->r.S = n_seqs;
    g->r.kv = kv;
    int rc = decode_forward(&g->r, NULL, e);
    g->r.kv = NULL;
    return rc;
}

/* Appends prompt ids [from, to) as sequence `at` of the batch. */
static void put(struct chooser *g, size_t at, const struct ids *p, size_t from, size_t to)
{
    size_t T = (size_t)g->cu[at];
    memcpy(g->ids + T, p->v + from, (to - from) * sizeof *p->v);
    for (size_t t = from; t < to; t++)
        g->r.pos[T + t - from] = (int32_t)t;
    g->cu[at + 1] = (int32_t)(T + to - from);
}

/* The batch holds the ends of prompts first .. first + n. */
static int take(struct chooser *g, size_t first, size_t n, struct err *e)
{
    size_t d = g->r.d, k = g->o->n_choices;
    for (size_t i = 0; i < n; i++)
        memcpy(g->r.hx + i * d, g->r.x + (size_t)(g->cu[i + 1] - 1) * d, d * sizeof(float));
    int rc = decode_logits(&g->r, NULL, g->r.hx, n, g->logits, e);
    for (size_t i = 0; rc == 0 && i < n; i++)
        for (size_t j = 0; j < k; j++)
            g->out[(first + i) * k + j] = g->logits[i * g->r.V + (size_t)g->o->choice[j]];
    g->done += (double)g->cu[n];
    progress_update(g->o->progress, g->done, g->total, "tokens");
    return rc == 0 && g->o->answered ? g->o->answered(g->o->answered_u, first + n, e) : rc;
}

/* Prompts first .. end, each from position `shared` on. */
static int group(struct chooser *g, size_t first, size_t end, struct err *e)
{
    const struct kv_sink front = {.u = g, .keep = keep}, rest = {.u = g, .attend = attend};
    int rc = 0;
    if (g->shared) {
        put(g, 0, &g->prompts[first], 0, g->shared);
        rc = forward(g, 1, &front, e);
        g->done += (double)g->shared;
    }
    while (rc == 0 && first < end) {
        size_t n = 0;
        while (first + n < end && n < g->slots &&
               (n == 0 || (size_t)g->cu[n] + g->prompts[first + n].n - g->shared <= g->tokens)) {
            put(g, n, &g->prompts[first + n], g->shared, g->prompts[first + n].n);
            n++;
        }
        rc = progress_poll(g->o->progress, e);
        if (rc == 0)
            rc = forward(g, n, g->shared ? &rest : NULL, e);
        if (rc == 0)
            rc = take(g, first, n, e);
        first += n;
    }
    return rc;
}

/* Ids that the prompts have in common at the front, of each at least one left over. */
static size_t common(const struct ids *p, size_t n)
{
    size_t k = p[0].n - 1;
    for (size_t i = 1; i < n; i++) {
        size_t j = 0;
        k = p[i].n - 1 < k ? p[i].n - 1 : k;
        while (j < k && p[i].v[j] == p[0].v[j])
            j++;
        k = j;
    }
    return k;
}

static int check(struct chooser *g, const struct model_config *c, struct err *e)
{
    for (size_t i = 0; i < g->n; i++) {
        const struct ids *p = &g->prompts[i];
        if (p->n == 0 || p->n > (size_t)c->max_position_embeddings)
            return err_set(e, ERR_INPUT, "prompt %zu has %zu tokens; the model takes 1 to %d", i, p->n, c->max_position_embeddings);
        for (size_t t = 0; t < p->n; t++)
            if (p->v[t] < 0 || p->v[t] >= c->vocab_size)
                return err_set(e, ERR_INPUT, "prompt %zu has token id %d, outside the model's vocabulary of %d; does the tokenizer belong "
                               "to this model?", i, (int)p->v[t], c->vocab_size);
        g->longest = p->n > g->longest ? p->n : g->longest;
    }
    for (size_t j = 0; j < g->o->n_choices; j++)
        if (g->o->choice[j] < 0 || g->o->choice[j] >= c->vocab_size)
            return err_set(e, ERR_INPUT, "choice %zu is token id %d, outside the model's vocabulary of %d", j, (int)g->o->choice[j], c->vocab_size);
    return 0;
}

static size_t slots_for(const struct model_config *c, size_t room)
{
    size_t slot = (size_t)c->num_hidden_layers * 2 * room * (size_t)c->num_key_value_heads * (size_t)c->head_dim * sizeof(float);
    size_t n = slot ? KV_BYTES / slot : MAX_SLOTS;
    return n == 0 ? 1 : n > MAX_SLOTS ? MAX_SLOTS : n;
}

static int prepare(struct chooser *g, const struct model_config *c, struct pass_work *work, struct err *e)
{
    const struct choices_options *o = g->o;
    g->room = g->longest;
    g->slots = slots_for(c, g->room);
    g->tokens = o->tokens ? o->tokens : TOKENS;
    g->tokens = g->tokens < g->longest ? g->longest : g->tokens;
    g->po = (struct pass_options){.weights = o->weights, .lora = (struct lora *)(uintptr_t)o->lora, .head_bytes = 1};
    struct run_shape s = {.T = g->tokens, .N = g->slots, .n_seqs = g->slots, .max_seq = g->room};
    int rc = run_begin(&g->r, &g->po, &s, work, e);
    if (rc)
        return rc;
    g->r.b = &g->b;
    g->logits_bytes = g->slots * g->r.V * sizeof(float);
    g->kv_bytes = o->group ? g->slots * (size_t)g->r.L * 2 * g->room * g->r.kd * sizeof(float) : 0;
    g->logits = big_alloc(g->logits_bytes);
    g->kv = g->kv_bytes ? big_alloc(g->kv_bytes) : NULL;
    g->ids = calloc(g->tokens, sizeof *g->ids);
    g->len = calloc(g->tokens, sizeof *g->len);
    g->cu = calloc(g->slots + 1, sizeof *g->cu);
    g->keys = calloc(g->tokens, sizeof *g->keys);
    g->values = calloc(g->tokens, sizeof *g->values);
    bool ok = g->logits && (g->kv || !g->kv_bytes) && g->ids && g->len && g->cu && g->keys && g->values;
    return ok ? 0 : err_nomem(e, g->logits_bytes + g->kv_bytes, "choices");
}

static void release(struct chooser *g)
{
    big_free(g->kv, g->kv_bytes);
    big_free(g->logits, g->logits_bytes);
    free(g->ids);
    free(g->len);
    free(g->cu);
    free(g->keys);
    free(g->values);
}

/* The end of the group that begins at `from`, and the length of its front. */
static size_t group_end(const struct chooser *g, size_t from, size_t *shared)
{
    const uint32_t *group = g->o->group;
    size_t end = from + 1;
    while (end < g->n && (!group || group[end] == group[from]))
        end++;
    *shared = group && end - from > 1 ? common(g->prompts + from, end - from) : 0;
    *shared = *shared < MIN_SHARED ? 0 : *shared;
    return end;
}

/* Ids to compute for prompts from .. end of a group. */
static size_t ids_of(const struct chooser *g, size_t from, size_t end)
{
    size_t n = g->shared;
    for (size_t i = from; i < end; i++)
        n += g->prompts[i].n - g->shared;
    return n;
}

int choices_logits(const struct choices_options *o, size_t n, const struct ids *prompts, float *logits, struct err *e)
{
    struct chooser g = {.o = o, .prompts = prompts, .out = logits, .n = n};
    const struct model_config *c = weights_config(o->weights);
    struct pass_work *work = NULL;
    if (n == 0 || o->first >= n)
        return 0;
    int rc = check(&g, c, e);
    if (rc == 0)
        rc = pass_work_new(&work, e);
    if (rc == 0)
        rc = prepare(&g, c, work, e);
    for (size_t from = 0, end; rc == 0 && from < n; from = end) {
        end = group_end(&g, from, &g.shared);
        if (end > o->first)
            g.total += (double)ids_of(&g, from < o->first ? o->first : from, end);
    }
    for (size_t from = 0, end; rc == 0 && from < n; from = end) {
        end = group_end(&g, from, &g.shared);
        if (end > o->first)
            rc = group(&g, from < o->first ? o->first : from, end, e);
    }
    release(&g);
    pass_work_free(work);
    return rc;
}

uint64_t choices_memory(const struct model_config *c, enum dtype t, size_t longest)
{
    size_t slots = slots_for(c, longest), tokens = longest > TOKENS ? longest : TOKENS;
    struct run_shape s = {.T = tokens, .N = slots, .n_seqs = slots, .max_seq = longest};
    uint64_t kv = (uint64_t)slots * (uint64_t)c->num_hidden_layers * 2 * longest * (uint64_t)c->num_key_value_heads * (uint64_t)c->head_dim * 4;
    return run_memory(c, t, &s) + kv + (uint64_t)slots * (uint64_t)c->vocab_size * 4;
}
