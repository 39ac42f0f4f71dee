/* SPDX-License-Identifier: MIT
 *
 * A cache holds the keys and values of one sequence, [layer][key or value][position][kd], in bf16 where products are, else
 * f32. A running sequence has one; a free one still holds a prompt, whose front the next prompt may share. Prompts enter
 * packed, as many as are free and fit the tokens of a prefill, each from the position on that its cache lacks; then all
 * running sequences step together, one row each; what is finished leaves its cache to the next prompt.
 */
#include "runtime/model/generate.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/base/arena.h"
#include "runtime/base/rng.h"
#include "runtime/exec/par.h"
#include "runtime/kernels/attention.h"
#include "runtime/kernels/convert.h"
#include "runtime/model/decode.h"
#include "runtime/model/sample.h"

enum { PREFILL = 1024, MIN_SHARED = 16, COPY_STEPS = 32 /* that pay for copying the weights */ };
#define KV_BYTES ((size_t)2 << 30)

struct cache {
    char *kv;
    size_t prompt, held; /* positions of that prompt that lie here */
    bool used;           /* by a running sequence */
};

struct slot {
    size_t prompt, cache;
    size_t len;          /* positions whose keys and values are kept */
    size_t limit;        /* new ids at most */
    int32_t next;        /* the id to feed */
};

struct generator {
    const struct generate_options *o;
    const struct ids *prompts;
    struct ids *out;
    size_t n, started, finished;
    size_t left, written;         /* prompts to answer when it began; new ids since */
    bool *known;                 /* (n) answered before it began */
    struct run r;
    struct pass_options po;
    struct batch b;
    struct decode_copy copy;
    size_t batch, room, tokens; /* slots; positions a slot; tokens a prefill */
    enum dtype kt;              /* type of the caches */
    struct slot *slots;         /* (batch) the first `running` are in use */
    struct cache *caches;       /* (batch) */
    size_t running, first;      /* first: of the rows in hand, when prompts enter */
    bool fresh;                 /* no row in hand has anything before it */
    size_t kv_bytes, logits_bytes;
    float *logits;              /* (batch, V) */
    int32_t *ids, *cu, *len, *best;
    const void **keys, **values;
    struct err *failed;         /* (batch) of the draws */
};

static char *rows_at(const struct generator *g, size_t cache, int layer, int value, size_t position)
{
    return g->caches[cache].kv + (((size_t)layer * 2 + (size_t)value) * g->room + position) * g->r.kd * dtype_size(g->kt);
}

static void store(const struct generator *g, char *to, const float *from, size_t rows)
{
    if (g->kt == DT_F32)
        memcpy(to, from, rows * g->r.kd * sizeof(float));
    else
        to_bf16((uint16_t *)(void *)to, from, rows * g->r.kd);
}

/* The rows in hand, cu apart, of the slots from `first` on, behind what their caches hold. */
static void keep_rows(struct generator *g, int layer, const float *k, const float *v)
{
    for (int s = 0; s < g->b.n_seqs; s++) {
        const struct slot *slot = &g->slots[g->first + (size_t)s];
        size_t from = (size_t)g->cu[s], n = (size_t)(g->cu[s + 1]) - from;
        store(g, rows_at(g, slot->cache, layer, 0, slot->len), k + from * g->r.kd, n);
        store(g, rows_at(g, slot->cache, layer, 1, slot->len), v + from * g->r.kd, n);
        g->keys[s] = rows_at(g, slot->cache, layer, 0, 0);
        g->values[s] = rows_at(g, slot->cache, layer, 1, 0);
        g->len[s] = (int32_t)(slot->len + n);
    }
}

static int keep(void *u, int layer, const float *k, const float *v, struct err *e)
{
    (void)e;
    keep_rows(u, layer, k, v);
    return 0;
}

static int attend(void *u, int layer, const float *q, const float *k, const float *v, float *out, struct err *e)
{
    struct generator *g = u;
    const struct model_config *c = g->r.c;
    keep_rows(g, layer, k, v);
    return attention_cached(out, q, g->cu, g->b.n_seqs, g->keys, g->values, g->len, g->kt, c->num_attention_heads,
                            c->num_key_value_heads, c->head_dim, e);
}

static void choose(void *u, size_t i)
{
    struct generator *g = u;
    const struct generate_options *o = g->o;
    const struct slot *s = &g->slots[g->first + i];
    const float *z = g->logits + i * g->r.V;
    struct err *e = &g->failed[i];
    e->code = 0;
    if (o->temperature > 0)
        sample_draw(z, g->r.V, o->temperature, o->top_p, o->top_k, rng_uniform(o->seed, s->prompt, g->out[s->prompt].n), &g->best[i], e);
    else
        g->best[i] = sample_best(z, g->r.V);
}

/* Takes the id for its sequence. Returns 1 when that ends it, 0, or an error. */
static int accept(struct generator *g, struct slot *s, int32_t id, struct err *e)
{
    struct ids *out = &g->out[s->prompt];
    if (ids_push(out, id) != 0)
        return err_nomem(e, (out->n + 1) * sizeof id, "generated ids");
    s->next = id;
    g->written++;
    for (int i = 0; i < g->o->n_eos; i++)
        if (g->o->eos[i] == id)
            return 1;
    if (g->o->stop && g->o->stop(g->o->stop_u, s->prompt, out->v, out->n))
        return 1;
    return out->n >= s->limit;
}

/* New ids of all prompts are guessed from those so far: a sequence under way is half done, in the mean. */
static void tell(const struct generator *g)
{
    double seen = (double)(g->finished - (g->n - g->left)) + (double)g->running / 2;
    double total = seen > 0 ? (double)g->written / seen * (double)g->left : 0, left = g->left > 0 ? (double)g->written : 0;
    progress_update(g->o->progress, (double)g->written, total > left ? total : left, "tokens");
}

static int finish(struct generator *g, const struct slot *s, struct err *e)
{
    g->finished++;
    g->caches[s->cache].used = false;
    return g->o->answered ? g->o->answered(g->o->answered_u, s->prompt, &g->out[s->prompt], e) : 0;
}

/* Rows are `n` last residuals in r.hx, of the slots from `first` on; finished slots are closed up. */
static int take_ids(struct generator *g, size_t n, struct err *e)
{
    int rc = decode_logits(&g->r, &g->copy, g->r.hx, n, g->logits, e);
    if (rc != 0)
        return rc;
    par_for(n, choose, g);
    size_t to = g->first;
    for (size_t i = 0; i < n; i++) {
        struct slot s = g->slots[g->first + i];
        if (g->failed[i].code) {
            *e = g->failed[i];
            return err_prefix(e, "prompt %zu", s.prompt);
        }
        rc = accept(g, &s, g->best[i], e);
        if (rc == 0)
            g->slots[to++] = s;
        else if (rc < 0 || (rc = finish(g, &s, e)) != 0)
            return rc;
    }
    g->running = to;
    tell(g);
    return 0;
}

/* ---- prompts enter ---- */

/* Ids that prompt p has in common with the front of q; one of p is left over. */
static size_t common(const struct generator *g, size_t p, size_t q)
{
    const struct ids *a = &g->prompts[p], *b = &g->prompts[q];
    size_t k = 0, most = a->n - 1 < b->n ? a->n - 1 : b->n;
    while (k < most && a->v[k] == b->v[k])
        k++;
    return k;
}

/* A free cache for the prompt, with as much of its front as any cache holds. Returns how much. */
static size_t take_cache(struct generator *g, size_t prompt, size_t *cache)
{
    size_t best = 0, from = 0, to = g->batch;
    for (size_t i = 0; i < g->batch; i++) {
        struct cache *c = &g->caches[i];
        size_t k = c->held ? common(g, prompt, c->prompt) : 0;
        k = k < c->held ? k : c->held;
        if (k > best || (k == best && k && !c->used && g->caches[from].used)) {
            best = k;
            from = i;
        }
        if (!c->used && (to == g->batch || c->held < g->caches[to].held))
            to = i;
    }
    best = best < MIN_SHARED ? 0 : best;
    if (best && !g->caches[from].used)
        to = from;
    for (int l = 0; best && to != from && l < g->r.L; l++)
        for (int v = 0; v < 2; v++)
            memcpy(rows_at(g, to, l, v, 0), rows_at(g, from, l, v, 0), best * g->r.kd * dtype_size(g->kt));
    g->caches[to] = (struct cache){g->caches[to].kv, prompt, best, true};
    *cache = to;
    return best;
}

/* Does the prompt share more with one that is about to enter than with what is cached? Then it waits a turn. */
static bool better_later(const struct generator *g, size_t prompt, size_t entering)
{
    size_t soon = 0, now = 0;
    for (size_t i = 0; i < entering; i++) {
        size_t k = common(g, prompt, g->slots[g->first + i].prompt);
        soon = k > soon ? k : soon;
    }
    for (size_t i = 0; soon >= MIN_SHARED && i < g->batch; i++) {
        const struct cache *c = &g->caches[i];
        size_t k = c->held ? common(g, prompt, c->prompt) : 0;
        k = k < c->held ? k : c->held;
        now = k > now ? k : now;
    }
    return soon >= MIN_SHARED && soon >= now + MIN_SHARED;
}

/* Appends rows of sequence n of the batch in hand: `count` ids of its prompt behind what its cache holds. */
static void put_rows(struct generator *g, size_t n, size_t count)
{
    const struct slot *s = &g->slots[g->first + n];
    size_t T = (size_t)g->cu[n];
    memcpy(g->ids + T, g->prompts[s->prompt].v + s->len, count * sizeof *g->ids);
    for (size_t t = 0; t < count; t++)
        g->r.pos[T + t] = (int32_t)(s->len + t);
    g->cu[n + 1] = (int32_t)(T + count);
    g->fresh = g->fresh && s->len == 0;
}

/* The n sequences in hand through the model; their caches grow by their rows. */
static int forward(struct generator *g, size_t n, bool step, struct err *e)
{
    const struct kv_sink fresh = {.u = g, .keep = keep}, more = {.u = g, .attend = attend};
    g->b = (struct batch){.n_seqs = (int)n, .cu = g->cu, .ids = g->ids};
    g->r.T = (size_t)g->cu[n];
    g->r.S = n;
    g->r.kv = !step && g->fresh ? &fresh : &more;
    int rc = decode_forward(&g->r, &g->copy, e);
    g->r.kv = NULL;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        struct slot *s = &g->slots[g->first + i];
        s->len += (size_t)(g->cu[i + 1] - g->cu[i]);
        if (!step)
            g->caches[s->cache].held = s->len;
        memcpy(g->r.hx + i * g->r.d, g->r.x + (size_t)(g->cu[i + 1] - 1) * g->r.d, g->r.d * sizeof(float));
    }
    return rc;
}

static void begin(struct generator *g)
{
    g->first = g->running;
    g->cu[0] = 0;
    g->fresh = true;
}

/* The front of a prompt that is longer than a prefill, all but its last piece. */
static int enter_long(struct generator *g, struct err *e)
{
    struct slot *s = &g->slots[g->running];
    int rc = 0;
    while (rc == 0 && g->prompts[s->prompt].n - s->len > g->tokens) {
        begin(g);
        put_rows(g, 0, g->tokens);
        rc = progress_poll(g->o->progress, e);
        if (rc == 0)
            rc = forward(g, 1, false, e);
    }
    begin(g);
    return rc;
}

static size_t new_ids(const struct generator *g, size_t prompt)
{
    size_t end = (size_t)g->r.c->max_position_embeddings, n = g->prompts[prompt].n, left = n < end ? end - n : 0;
    return left < g->o->max_new_tokens ? left : g->o->max_new_tokens;
}

/* The next prompts into free slots, packed. */
static int enter(struct generator *g, struct err *e)
{
    size_t n = 0;
    int rc = 0;
    begin(g);
    for (; rc == 0 && g->started < g->n && g->running + n < g->batch; g->started++) {
        size_t limit = new_ids(g, g->started), left = g->prompts[g->started].n;
        if (g->known[g->started])
            continue;
        if (limit == 0) {
            g->finished++;
            continue;
        }
        if (n && (g->tokens == (size_t)g->cu[n] || better_later(g, g->started, n)))
            break;
        struct slot *s = &g->slots[g->running + n];
        *s = (struct slot){.prompt = g->started, .limit = limit};
        s->len = take_cache(g, g->started, &s->cache);
        left -= s->len;
        if (n && (size_t)g->cu[n] + left > g->tokens) {
            g->caches[s->cache].used = false; /* what was copied is found there the next time */
            break;
        }
        if (left > g->tokens)
            rc = enter_long(g, e);
        put_rows(g, n, g->prompts[g->started].n - s->len);
        n++;
    }
    if (rc == 0 && n)
        rc = forward(g, n, false, e);
    return rc == 0 && n ? take_ids(g, n, e) : rc;
}

static bool copy_pays(const struct generator *g)
{
    return g->o->copy_weights && !g->copy.p && !weights_head_packed(g->o->weights) && g->left / g->batch * g->o->max_new_tokens >= COPY_STEPS;
}

static int step(struct generator *g, struct err *e)
{
    int rc = copy_pays(g) ? decode_copy_new(g->o->weights, &g->copy, e) : 0;
    if (rc != 0)
        return rc;
    g->first = 0;
    for (size_t i = 0; i < g->running; i++) {
        g->ids[i] = g->slots[i].next;
        g->r.pos[i] = (int32_t)g->slots[i].len;
        g->cu[i + 1] = (int32_t)i + 1;
    }
    rc = forward(g, g->running, true, e);
    return rc == 0 ? take_ids(g, g->running, e) : rc;
}

/* ---- memory ---- */

static enum dtype cache_type(const struct model_config *c, enum dtype compute)
{
    return attention_cached_has(compute, c->head_dim) ? compute : DT_F32;
}

/* Slots and their size from the lengths of the prompts. */
static void plan(struct generator *g, const struct model_config *c, enum dtype compute, size_t longest, size_t all)
{
    size_t end = longest + g->o->max_new_tokens, kd = (size_t)c->num_key_value_heads * (size_t)c->head_dim;
    size_t prefill = g->o->prefill ? g->o->prefill : PREFILL;
    g->kt = cache_type(c, compute);
    g->room = end < (size_t)c->max_position_embeddings ? end : (size_t)c->max_position_embeddings;
    g->kv_bytes = (size_t)c->num_hidden_layers * 2 * g->room * kd * dtype_size(g->kt);
    g->batch = g->o->max_batch && g->o->max_batch < GENERATE_BATCH ? g->o->max_batch : GENERATE_BATCH;
    if (!g->o->max_batch && g->kv_bytes && g->batch > KV_BYTES / g->kv_bytes)
        g->batch = KV_BYTES / g->kv_bytes ? KV_BYTES / g->kv_bytes : 1;
    g->batch = g->batch > g->left ? g->left : g->batch;
    g->tokens = all < prefill ? all : prefill;
    g->tokens = g->tokens < g->batch ? g->batch : g->tokens;
}

static int sizes(struct generator *g, const struct weights *w, struct err *e)
{
    const struct model_config *c = weights_config(w);
    size_t longest = 0, vocab = (size_t)c->vocab_size, all = 0;
    for (size_t i = 0; i < g->n; i++) {
        const struct ids *p = &g->prompts[i];
        if (p->n == 0)
            return err_set(e, ERR_INPUT, "prompt %zu is empty: there is no token to go on from", i);
        for (size_t t = 0; t < p->n; t++)
            if (p->v[t] < 0 || (size_t)p->v[t] >= vocab)
                return err_set(e, ERR_INPUT, "prompt %zu has token id %d, outside the model's vocabulary of %zu; does the tokenizer belong "
                               "to this model?", i, (int)p->v[t], vocab);
        if (p->n >= (size_t)c->max_position_embeddings || g->known[i])
            continue;
        longest = p->n > longest ? p->n : longest;
        all += p->n;
    }
    plan(g, c, weights_compute(w), longest, all);
    g->tokens = all ? g->tokens : 0;
    return 0;
}

uint64_t generate_memory(const struct model_config *c, enum dtype compute, size_t longest, size_t max_new_tokens, size_t max_batch)
{
    struct generate_options o = {.max_new_tokens = max_new_tokens, .max_batch = max_batch};
    struct generator g = {.o = &o, .n = GENERATE_BATCH, .left = GENERATE_BATCH};
    plan(&g, c, compute, longest, longest * GENERATE_BATCH);
    struct run_shape s = {.T = g.tokens, .N = g.batch, .n_seqs = g.batch, .max_seq = g.room};
    return run_memory(c, compute, &s) + (uint64_t)g.batch * ((uint64_t)g.kv_bytes + (uint64_t)c->vocab_size * sizeof(float));
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
    g->caches = calloc(g->batch, sizeof *g->caches);
    g->ids = calloc(g->tokens, sizeof *g->ids);
    g->cu = calloc(g->batch + 1, sizeof *g->cu);
    g->len = calloc(g->batch, sizeof *g->len);
    g->best = calloc(g->batch, sizeof *g->best);
    g->failed = calloc(g->batch, sizeof *g->failed);
    g->keys = calloc(g->batch, sizeof *g->keys);
    g->values = calloc(g->batch, sizeof *g->values);
    bool ok = g->logits && g->slots && g->caches && g->ids && g->cu && g->len && g->best && g->failed && g->keys && g->values;
    for (size_t i = 0; ok && i < g->batch; i++)
        ok = (g->caches[i].kv = big_alloc(g->kv_bytes)) != NULL;
    return ok ? 0 : err_nomem(e, g->logits_bytes + g->batch * g->kv_bytes, "generation; lower the number of sequences at once");
}

static void release(struct generator *g)
{
    for (size_t i = 0; g->caches && i < g->batch; i++)
        big_free(g->caches[i].kv, g->kv_bytes);
    big_free(g->logits, g->logits_bytes);
    decode_copy_release(&g->copy);
    free(g->known);
    free(g->slots);
    free(g->caches);
    free(g->ids);
    free(g->cu);
    free(g->len);
    free(g->best);
    free(g->failed);
    free((void *)g->keys);
    free((void *)g->values);
}

static int take_known(struct generator *g, struct err *e)
{
    g->left = g->n;
    g->known = calloc(g->n, sizeof *g->known);
    if (!g->known)
        return err_nomem(e, g->n, "prompts");
    for (size_t i = 0; i < g->n; i++)
        if (g->out[i].n) {
            g->known[i] = true;
            g->finished++;
            g->left--;
        }
    return 0;
}

int generate(const struct generate_options *o, size_t n, const struct ids *prompts, struct ids *out, struct err *e)
{
    struct generator g = {.o = o, .prompts = prompts, .out = out, .n = n};
    struct pass_work *work = NULL;
    if (n == 0 || o->max_new_tokens == 0)
        return 0;
    int rc = take_known(&g, e);
    if (rc == 0)
        rc = sizes(&g, o->weights, e);
    bool room = g.tokens > 0; /* some prompt is left, and leaves room */
    if (rc == 0 && room)
        rc = pass_work_new(&work, e);
    if (rc == 0 && room)
        rc = prepare(&g, work, e);
    while (rc == 0 && room && g.finished < n) {
        rc = progress_poll(o->progress, e);
        /* entering a few at a time would waste the packed prefill; a step costs about the same for few and for many */
        bool open = g.running == 0 || (g.batch - g.running) * 8 >= g.batch;
        while (rc == 0 && open && g.started < n && g.running < g.batch)
            rc = enter(&g, e);
        if (rc == 0 && g.running)
            rc = step(&g, e);
    }
    release(&g);
    pass_work_free(work);
    return rc;
}

int generate_greedy(const struct generate_options *o, size_t n, const struct ids *prompts, struct ids *out, struct err *e)
{
    struct generate_options greedy = *o;
    greedy.temperature = 0;
    return generate(&greedy, n, prompts, out, e);
}
