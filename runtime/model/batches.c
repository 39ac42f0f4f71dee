/* SPDX-License-Identifier: MIT */
#include "runtime/model/batches.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "runtime/base/rng.h"

/* A row of a run that is sorted; `at`: its place before, so that equals keep their order. */
struct placed {
    uint32_t sample, at;
    size_t n;
};

static int longer_first(const void *a, const void *b)
{
    const struct placed *x = a, *y = b;
    return x->n != y->n ? (x->n < y->n) - (x->n > y->n) : (x->at > y->at) - (x->at < y->at);
}

/* Rows of a micro-batch; with a budget of tokens, on average. */
static size_t usual_rows(const struct samples *s, const struct batch_settings *b)
{
    size_t rows = b->tokens ? (size_t)((double)b->tokens * (double)s->n / (double)(s->tokens ? s->tokens : 1)) : b->rows;
    return rows ? rows : 1;
}

static int group_by_length(const struct samples *s, const struct batch_settings *b, uint32_t *order, struct err *e)
{
    size_t rows = usual_rows(s, b), run = s->n / (rows * 4) < GROUP_MICRO_BATCHES ? s->n / (rows * 4) * rows : GROUP_MICRO_BATCHES * rows, longest = 0;
    run = run ? run : rows;
    struct placed *v = malloc(s->n * sizeof *v);
    if (!v)
        return err_nomem(e, s->n * sizeof *v, "the order of rows");
    for (size_t i = 0; i < s->n; i++)
        v[i] = (struct placed){order[i], (uint32_t)i, s->v[order[i]].x.n};
    for (size_t i = 0; i < s->n; i += run) {
        qsort(v + i, s->n - i < run ? s->n - i : run, sizeof *v, longer_first);
        longest = v[i].n > v[longest].n ? i : longest;
    }
    for (size_t i = 0; i < s->n; i++)
        order[i] = v[i].sample;
    uint32_t first = order[0];
    order[0] = order[longest];
    order[longest] = first;
    free(v);
    return 0;
}

int epoch_make(const struct samples *s, const struct batch_settings *b, int64_t epoch, struct epoch *out, struct err *e)
{
    *out = (struct epoch){0};
    out->order = malloc((s->n + 1) * sizeof *out->order);
    out->cut = malloc((s->n + 1) * sizeof *out->cut);
    if (!out->order || !out->cut) {
        epoch_release(out);
        return err_nomem(e, s->n * 12, "the order of rows");
    }
    for (size_t i = 0; i < s->n; i++)
        out->order[i] = (uint32_t)i;
    if (b->shuffle) {
        char name[64];
        snprintf(name, sizeof name, "train order, epoch %lld", (long long)epoch);
        rng_shuffle(out->order, s->n, b->seed, rng_stream(b->seed, name));
        int rc = b->by_length ? group_by_length(s, b, out->order, e) : 0;
        if (rc) {
            epoch_release(out);
            return rc;
        }
    }
    out->cut[0] = 0;
    for (size_t i = 0; i < s->n;) {
        size_t n = 0, tokens = 0;
        while (i + n < s->n && (b->tokens ? n == 0 || tokens + s->v[out->order[i + n]].x.n <= b->tokens : n < b->rows))
            tokens += s->v[out->order[i + n++]].x.n;
        i += n;
        out->cut[++out->n_micro] = i;
    }
    out->steps = out->n_micro / b->accumulate;
    if (out->steps == 0) {
        size_t n = out->n_micro;
        epoch_release(out);
        return err_set(e, ERR_INPUT,
                       "%zu rows make %zu micro-batches, fewer than gradient_accumulation_steps (%zu), so an epoch has no step; "
                       "lower gradient_accumulation_steps or the batch size",
                       s->n, n, b->accumulate);
    }
    return 0;
}

void epoch_release(struct epoch *x)
{
    free(x->order);
    free(x->cut);
    *x = (struct epoch){0};
}

static void add_epoch(const struct samples *s, const struct batch_settings *b, const struct epoch *x, size_t steps, struct training_size *t)
{
    for (size_t m = 0; m < steps * b->accumulate; m++) {
        size_t tokens = 0, targets = 0;
        for (size_t i = x->cut[m]; i < x->cut[m + 1]; i++) {
            tokens += s->v[x->order[i]].x.n;
            targets += s->v[x->order[i]].x.n_target;
        }
        t->tokens += (double)tokens;
        t->micro_tokens = tokens > t->micro_tokens ? tokens : t->micro_tokens;
        t->micro_targets = targets > t->micro_targets ? targets : t->micro_targets;
    }
    t->steps += (int64_t)steps;
}

int training_size(const struct samples *s, const struct batch_settings *b, double epochs, int64_t max_steps, struct training_size *out,
                  struct err *e)
{
    *out = (struct training_size){0};
    for (int64_t i = 0; max_steps ? out->steps < max_steps : (double)i < epochs; i++) {
        struct epoch x;
        int rc = epoch_make(s, b, i, &x, e);
        if (rc)
            return rc;
        size_t steps = x.steps;
        if (max_steps && (int64_t)steps > max_steps - out->steps)
            steps = (size_t)(max_steps - out->steps);
        if (!max_steps && epochs - (double)i < 1)
            steps = (size_t)ceil((epochs - (double)i) * (double)x.steps);
        add_epoch(s, b, &x, steps, out);
        epoch_release(&x);
    }
    return 0;
}
