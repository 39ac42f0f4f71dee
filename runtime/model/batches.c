/* SPDX-License-Identifier: MIT */
#include "runtime/model/batches.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "runtime/base/rng.h"

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
