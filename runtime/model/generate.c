/* SPDX-License-Identifier: MIT
 *
 * Slots hold the keys and values of running sequences, [layer][key or value][position][kd] f32. Prompts enter packed, as
 * many as are free and fit PREFILL tokens; then all running sequences step together, one row each; what is finished leaves
 * its slot to the next prompt.
 */
#include "runtime/model/generate.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/base/arena.h"
#include "runtime/exec/par.h"
#include "runtime/kernels/attention.h"
#include "runtime/model/run.h"

enum { PREFILL = 1024, MAX_BATCH = 64 };
#define KV_BYTES ((size_t)2 << 30)

struct slot {
    size_t prompt, len;  /* len: positions whose keys and values are kept */
    size_t limit;        /* new ids at most */
    int32_t next;        /* the id to feed */
};

struct generator {
    const struct generate_options *o;
    const struct ids *prompts;
    struct ids *out;
    size_t n, started, finished;
    struct run r;
    struct pass_options po;
    struct batch b;
    size_t batch, room, tokens; /* slots; positions a slot; tokens a prefill */
    struct slot *slots;         /* (batch) the first `running` are in use */
    size_t running, first;      /* first: of the rows in hand, when prompts enter */
    float **kv;                 /* (batch) */
    size_t kv_bytes, logits_bytes;
    float *logits;              /* (batch, V) */
    int32_t *ids, *cu, *len, *best;
    const float **keys, **values;
};

static float *cache(const struct generator *g, size_t slot, int layer, int value)
{
    return g->kv[slot] + ((size_t)layer * 2 + (size_t)value) * g->room * g->r.kd;
}

/* Prefill: the packed rows of each entering sequence. */
static int keep(void *u, int layer, const float *k, const float *v, struct err *e)
{
    struct generator *g = u;
    (void)e;
    for (int s = 0; s < g->b.n_seqs; s++) {
        size_t from = (size_t)g->cu[s] * g->r.kd, n = (size_t)(g->cu[s + 1] - g->cu[s]) * g->r.kd;
        memcpy(cache(g, g->first + (size_t)s, layer, 0), k + from, n * sizeof(float));
        memcpy(cache(g, g->first + (size_t)s, layer, 1), v + from, n * sizeof(float));
    }
    return 0;
}

/* Decode: appends one position a sequence and attends over its cache. */
static int attend(void *u, int layer, const float *q, const float *k, const float *v, float *out, struct err *e)
{
    struct generator *g = u;
    const struct model_config *c = g->r.c;
    size_t kd = g->r.kd;
    for (size_t s = 0; s < g->running; s++) {
        float *ck = cache(g, s, layer, 0), *cv = cache(g, s, layer, 1);
        memcpy(ck + g->slots[s].len * kd, k + s * kd, kd * sizeof(float));
        memcpy(cv + g->slots[s].len * kd, v + s * kd, kd * sizeof(float));
        g->keys[s] = ck;
        g->values[s] = cv;
        g->len[s] = (int32_t)g->slots[s].len + 1;
    }
    return attention_decode(out, q, g->keys, g->values, g->len, (int)g->running, c->num_attention_heads,
                            c->num_key_value_heads, c->head_dim, e);
}

static void best_row(void *u, size_t i)
{
    const struct generator *g = u;
    const float *z = g->logits + i * g->r.V;
    size_t best = 0;
    for (size_t j = 1; j < g->r.V; j++)
        if (z[j] > z[best])
            best = j;
    g->best[i] = (int32_t)best;
}

/* Takes row i's best id for its sequence. Returns 1 when that ends it, 0, or an error. */
static int accept(struct generator *g, struct slot *s, int32_t id, struct err *e)
{
    struct ids *out = &g->out[s->prompt];
    if (ids_push(out, id) != 0)
        return err_nomem(e, (out->n + 1) * sizeof id, "generated ids");
    s->next = id;
    for (int i = 0; i < g->o->n_eos; i++)
        if (g->o->eos[i] == id)
            return 1;
    if (g->o->stop && g->o->stop(g->o->stop_u, s->prompt, out->v, out->n))
        return 1;
    return out->n >= s->limit;
}

/* Rows are `n` last residuals in r.hx, of the slots from `first` on; finished slots are closed up. */
static int take_ids(struct generator *g, size_t first, size_t n, struct err *e)
{
    int rc = head_logits(&g->r, g->r.hx, n, g->logits, e);
    if (rc != 0)
        return rc;
    par_for(n, best_row, g);
    size_t to = first;
    for (size_t i = 0; i < n; i++) {
        struct slot s = g->slots[first + i];
        rc = accept(g, &s, g->best[i], e);
        if (rc < 0)
            return rc;
        if (rc == 1) {
            g->finished++;
            continue;
        }
        float *mine = g->kv[first + i]; /* slots move with their memory */
        g->kv[first + i] = g->kv[to];
        g->kv[to] = mine;
        g->slots[to++] = s;
    }
    g->running = to;
    progress_update(g->o->progress, (double)g->finished, (double)g->n, "rows");
    return 0;
}

/* The next prompts into free slots, packed. */
static int enter(struct generator *g, struct err *e)
{
    const struct kv_sink kv = {.u = g, .keep = keep};
    size_t limit_pos = (size_t)g->r.c->max_position_embeddings, T = 0, n = 0;
    g->first = g->running;
    for (; g->started < g->n && g->running + n < g->batch; g->started++) {
        const struct ids *p = &g->prompts[g->started];
        size_t limit = p->n < limit_pos ? limit_pos - p->n : 0;
        limit = limit < g->o->max_new_tokens ? limit : g->o->max_new_tokens;
        if (limit == 0) {
            g->finished++;
            continue;
        }
        if (n && T + p->n > g->tokens)
            break;
        memcpy(g->ids + T, p->v, p->n * sizeof *p->v);
        for (size_t t = 0; t < p->n; t++)
            g->r.pos[T + t] = (int32_t)t;
        g->slots[g->running + n] = (struct slot){.prompt = g->started, .len = p->n, .limit = limit};
        T += p->n;
        g->cu[++n] = (int32_t)T;
    }
    if (n == 0)
        return 0;
    g->b = (struct batch){.n_seqs = (int)n, .cu = g->cu, .ids = g->ids};
    g->r.T = T;
    g->r.kv = &kv;
    int rc = run_forward(&g->r, e);
    for (size_t i = 0; rc == 0 && i < n; i++)
        memcpy(g->r.hx + i * g->r.d, g->r.x + (size_t)(g->cu[i + 1] - 1) * g->r.d, g->r.d * sizeof(float));
    g->r.kv = NULL;
    return rc == 0 ? take_ids(g, g->running, n, e) : rc;
}

static int step(struct generator *g, struct err *e)
{
    const struct kv_sink kv = {.u = g, .attend = attend};
    for (size_t i = 0; i < g->running; i++) {
        g->ids[i] = g->slots[i].next;
        g->r.pos[i] = (int32_t)g->slots[i].len;
        g->cu[i + 1] = (int32_t)i + 1;
    }
    g->b = (struct batch){.n_seqs = (int)g->running, .cu = g->cu, .ids = g->ids};
    g->r.T = g->running;
    g->r.kv = &kv;
    int rc = run_forward(&g->r, e);
    g->r.kv = NULL;
    if (rc != 0)
        return rc;
    memcpy(g->r.hx, g->r.x, g->running * g->r.d * sizeof(float));
    for (size_t i = 0; i < g->running; i++)
        g->slots[i].len++;
    return take_ids(g, 0, g->running, e);
}

/* Slots and their size from the prompts and the options. */
static int sizes(struct generator *g, const struct model_config *c, struct err *e)
{
    size_t longest = 0, kd = (size_t)c->num_key_value_heads * (size_t)c->head_dim, vocab = (size_t)c->vocab_size, all = 0;
    for (size_t i = 0; i < g->n; i++) {
        const struct ids *p = &g->prompts[i];
        if (p->n == 0)
            return err_set(e, ERR_INPUT, "prompt %zu is empty: there is no token to go on from", i);
        for (size_t t = 0; t < p->n; t++)
            if (p->v[t] < 0 || (size_t)p->v[t] >= vocab)
                return err_set(e, ERR_INPUT, "prompt %zu has token id %d, outside the model's vocabulary of %zu; does the tokenizer belong "
                               "to this model?", i, (int)p->v[t], vocab);
        if (p->n >= (size_t)c->max_position_embeddings)
            continue;
        longest = p->n > longest ? p->n : longest;
        all += p->n;
    }
    size_t end = longest + g->o->max_new_tokens;
    g->room = end < (size_t)c->max_position_embeddings ? end : (size_t)c->max_position_embeddings;
    g->kv_bytes = (size_t)c->num_hidden_layers * 2 * g->room * kd * sizeof(float);
    g->batch = g->o->max_batch ? g->o->max_batch : MAX_BATCH;
    if (!g->o->max_batch && g->kv_bytes && g->batch > KV_BYTES / g->kv_bytes)
        g->batch = KV_BYTES / g->kv_bytes ? KV_BYTES / g->kv_bytes : 1;
    g->batch = g->batch > g->n ? g->n : g->batch;
    g->tokens = all < PREFILL ? all : PREFILL;
    g->tokens = g->tokens < longest ? longest : g->tokens;
    g->tokens = g->tokens < g->batch ? g->batch : g->tokens;
    return 0;
}

static int prepare(struct generator *g, struct pass_work *work, struct err *e)
{
    const struct generate_options *o = g->o;
    g->po = (struct pass_options){.weights = o->weights, .lora = (struct lora *)(uintptr_t)o->lora, .progress = o->progress,
                                  .head_bytes = 1};
    struct run_shape s = {.T = g->tokens, .N = g->batch, .n_seqs = g->batch, .max_seq = g->room};
    int rc = run_begin(&g->r, &g->po, &s, work, e);
    if (rc != 0)
        return rc;
    g->r.b = &g->b;
    g->logits_bytes = g->batch * g->r.V * sizeof(float);
    g->logits = big_alloc(g->logits_bytes);
    g->slots = calloc(g->batch, sizeof *g->slots);
    g->kv = calloc(g->batch, sizeof *g->kv);
    g->ids = calloc(g->tokens, sizeof *g->ids);
    g->cu = calloc(g->batch + 1, sizeof *g->cu);
    g->len = calloc(g->batch, sizeof *g->len);
    g->best = calloc(g->batch, sizeof *g->best);
    g->keys = calloc(g->batch, sizeof *g->keys);
    g->values = calloc(g->batch, sizeof *g->values);
    bool ok = g->logits && g->slots && g->kv && g->ids && g->cu && g->len && g->best && g->keys && g->values;
    for (size_t i = 0; ok && i < g->batch; i++)
        ok = (g->kv[i] = big_alloc(g->kv_bytes)) != NULL;
    return ok ? 0 : err_nomem(e, g->logits_bytes + g->batch * g->kv_bytes, "generation; lower max_batch");
}

static void release(struct generator *g)
{
    for (size_t i = 0; g->kv && i < g->batch; i++)
        big_free(g->kv[i], g->kv_bytes);
    big_free(g->logits, g->logits_bytes);
    free(g->slots);
    free(g->kv);
    free(g->ids);
    free(g->cu);
    free(g->len);
    free(g->best);
    free(g->keys);
    free(g->values);
}

int generate_greedy(const struct generate_options *o, size_t n, const struct ids *prompts, struct ids *out, struct err *e)
{
    struct generator g = {.o = o, .prompts = prompts, .out = out, .n = n};
    struct pass_work *work = NULL;
    if (n == 0 || o->max_new_tokens == 0)
        return 0;
    int rc = sizes(&g, weights_config(o->weights), e);
    if (rc == 0 && g.tokens == 0)
        return 0; /* no prompt leaves room */
    if (rc == 0)
        rc = pass_work_new(&work, e);
    if (rc == 0)
        rc = prepare(&g, work, e);
    while (rc == 0 && g.finished < n) {
        rc = progress_poll(o->progress, e);
        /* entering a few at a time would waste the packed prefill; the step beside it costs little */
        size_t open = g.batch - g.running;
        if (rc == 0 && g.started < n && (g.running == 0 || open * 8 >= g.batch))
            rc = enter(&g, e);
        if (rc == 0 && g.running)
            rc = step(&g, e);
    }
    release(&g);
    pass_work_free(work);
    return rc;
}
