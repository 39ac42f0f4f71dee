/* SPDX-License-Identifier: MIT */
#include "runtime/model/teacher.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/arena.h"
#include "runtime/formats/safetensors.h"

/* Where the logits of the pass in hand go. */
struct ask {
    size_t V, ids, k, at;
    int32_t *id;
    float *logp;
};

static int take(void *u, size_t first, size_t n, const float *logits, struct err *e)
{
    const struct ask *a = u;
    size_t to = (a->at + first) * a->k;
    top_logprobs(logits, n, a->V, a->ids, a->k, a->id + to, a->logp + to);
    for (size_t i = to; i < to + n * a->k; i += a->k)
        if (!isfinite(a->logp[i]))
            return err_set(e, ERR_INPUT, "the teacher's logits are not finite numbers; check its weights, or use compute: f32");
    return 0;
}

static int ask_pass(const struct samples *s, const uint32_t *which, size_t n, const struct loss_options *o, struct ask *a, double done, struct err *e)
{
    struct packed p = {0};
    double total;
    int rc = packed_make(s, which, n, 1, &p, e);
    struct pass_options po = {.weights = o->weights, .lora = o->lora, .progress = o->progress, .progress_done = done,
                              .progress_total = (double)s->tokens, .work = o->work, .logits = take, .logits_u = a};
    if (rc == 0 && p.b.n_targets)
        rc = pass_loss(&po, &p.b, NULL, &total, e);
    a->at += p.targets;
    packed_release(&p);
    return rc;
}

int teacher_ask(const struct samples *s, const struct loss_options *o, size_t ids, size_t k, struct teacher *out, struct err *e)
{
    size_t budget = o->budget ? o->budget : 4096;
    double done = 0;
    *out = (struct teacher){.targets = s->targets, .soft = {.k = k}};
    if (s->tokens > INT32_MAX || s->v[s->n - 1].row > INT32_MAX || k > SIZE_MAX / 8 / (s->targets ? s->targets : 1))
        return err_set(e, ERR_INPUT, "too many tokens (%zu) for top_k %zu; use fewer rows", s->tokens, k);
    uint32_t *which = malloc((s->n ? s->n : 1) * sizeof *which);
    out->memory = big_alloc(teacher_memory(s->targets, k));
    int rc = which && out->memory ? 0 : err_nomem(e, teacher_memory(s->targets, k), "the teacher's logits");
    struct ask a = {.V = (size_t)weights_config(o->weights)->vocab_size, .ids = ids, .k = k, .id = out->memory};
    if (rc == 0)
        a.logp = (float *)(void *)(a.id + s->targets * k);
    for (size_t i = 0; rc == 0 && i < s->n;) {
        size_t n = 0, tokens = 0;
        while (i + n < s->n && (n == 0 || tokens + s->v[i + n].x.n <= budget)) {
            tokens += s->v[i + n].x.n;
            which[n] = (uint32_t)(i + n);
            n++;
        }
        rc = ask_pass(s, which, n, o, &a, done, e);
        done += (double)tokens;
        i += n;
    }
    out->soft = (struct soft_targets){k, a.id, a.logp, 1, 1};
    free(which);
    if (rc)
        teacher_release(out);
    return rc;
}

static int write_ids(struct st_writer *w, const struct samples *s, struct err *e)
{
    size_t at = 0;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < s->n; i++) {
        int32_t row = (int32_t)s->v[i].row, from = (int32_t)at;
        rc = st_write_at(w, "ids", at * 4, s->v[i].x.ids, s->v[i].x.n * 4, e);
        if (rc == 0)
            rc = st_write_at(w, "rows", i * 4, &row, 4, e);
        if (rc == 0)
            rc = st_write_at(w, "cu", i * 4, &from, 4, e);
        at += s->v[i].x.n;
    }
    int32_t end = (int32_t)at;
    return rc ? rc : st_write_at(w, "cu", s->n * 4, &end, 4, e);
}

int teacher_write(const struct teacher *t, const struct samples *s, const char *path, struct err *e)
{
    struct st_writer *w = NULL;
    size_t tops[] = {t->targets, t->soft.k}, tokens = s->tokens, cu = s->n + 1, bytes = t->targets * t->soft.k * 4;
    int rc = st_writer_new(path, &w, e);
    if (rc == 0)
        rc = st_declare(w, "cu", DT_I32, 1, &cu, e);
    if (rc == 0)
        rc = st_declare(w, "ids", DT_I32, 1, &tokens, e);
    if (rc == 0)
        rc = st_declare(w, "rows", DT_I32, 1, &s->n, e);
    if (rc == 0)
        rc = st_declare(w, "top_ids", DT_I32, 2, tops, e);
    if (rc == 0)
        rc = st_declare(w, "top_logprobs", DT_F32, 2, tops, e);
    if (rc == 0)
        rc = st_write_begin(w, e);
    if (rc == 0)
        rc = write_ids(w, s, e);
    if (rc == 0)
        rc = st_write_at(w, "top_ids", 0, t->soft.id, bytes, e);
    if (rc == 0)
        rc = st_write_at(w, "top_logprobs", 0, t->soft.logp, bytes, e);
    if (rc == 0)
        rc = st_write_end(w, e);
    st_writer_free(w);
    return rc;
}

static int damaged(struct err *e, const char *path, const char *what)
{
    return err_set(e, ERR_DAMAGED, "%s: not a teacher's logits: %s", path, what);
}

static const struct tensor *find(const struct st_file *f, const char *name, enum dtype t, int ndim)
{
    const struct tensor *x = st_find(f, name);
    return x && x->dtype == t && x->ndim == ndim && (uintptr_t)x->data % dtype_size(t) == 0 ? x : NULL;
}

int teacher_read(const char *path, int vocab_size, struct teacher *out, struct err *e)
{
    *out = (struct teacher){0};
    int rc = st_open(path, &out->file, e);
    if (rc)
        return rc;
    const struct tensor *id = find(out->file, "top_ids", DT_I32, 2), *logp = find(out->file, "top_logprobs", DT_F32, 2);
    const struct tensor *cu = find(out->file, "cu", DT_I32, 1), *rows = find(out->file, "rows", DT_I32, 1), *ids = find(out->file, "ids", DT_I32, 1);
    if (!id || !logp || !cu || !rows || !ids || cu->n != rows->n + 1)
        rc = damaged(e, path, "a tensor is missing or has another type");
    else if (id->shape[0] != logp->shape[0] || id->shape[1] != logp->shape[1] || id->shape[1] < 1 || id->shape[0] > UINT32_MAX)
        rc = damaged(e, path, "top_ids and top_logprobs have different shapes");
    const int32_t *at = rc ? NULL : cu->data;
    for (size_t i = 0; rc == 0 && i < rows->n; i++)
        if (at[0] != 0 || at[i + 1] < at[i] || (size_t)at[i + 1] > ids->n)
            rc = damaged(e, path, "cu is not ascending");
    for (size_t i = 0; rc == 0 && i < id->n; i++)
        if (((const int32_t *)id->data)[i] < 0 || ((const int32_t *)id->data)[i] >= vocab_size || !(((const float *)logp->data)[i] <= 1e-3f))
            rc = damaged(e, path, "a token outside the vocabulary, or no log-probability");
    if (rc == 0) {
        out->targets = id->shape[0];
        out->soft = (struct soft_targets){id->shape[1], id->data, logp->data, 1, 1};
    } else
        teacher_release(out);
    return rc;
}

static int other(struct err *e, const struct sample *x, const char *what)
{
    return err_set(e, ERR_INPUT, "row %zu%s%s%s: the teacher's logits %s; make them from the same data, max_length and too_long", x->row,
                   x->id ? " (id \"" : "", x->id ? x->id : "", x->id ? "\")" : "", what);
}

/* One sample of the file for one of ours. */
static int same_row(const struct teacher *t, const struct sample *x, size_t i, struct err *e)
{
    const struct tensor *rows = st_find(t->file, "rows");
    const int32_t *cu = st_find(t->file, "cu")->data;
    const int32_t *ids = st_find(t->file, "ids")->data;
    if (i >= rows->n || (size_t)((const int32_t *)rows->data)[i] != x->row)
        return other(e, x, "are of other rows");
    if ((size_t)(cu[i + 1] - cu[i]) != x->x.n || memcmp(ids + cu[i], x->x.ids, x->x.n * sizeof *ids) != 0)
        return other(e, x, "are of another text or tokenizer");
    return 0;
}

int teacher_join(const struct teacher *t, struct samples *s, struct err *e)
{
    size_t at = 0;
    for (size_t i = 0; i < s->n; i++) {
        int rc = t->file ? same_row(t, &s->v[i], i, e) : 0;
        if (rc)
            return rc;
        s->v[i].soft = at;
        at += s->v[i].x.n_target;
    }
    if (at > t->targets)
        return err_set(e, ERR_INPUT, "the teacher's logits are of %zu target tokens, the rows have %zu; train_on must be the same", t->targets, at);
    s->soft = &t->soft;
    return 0;
}

void teacher_release(struct teacher *t)
{
    if (t->memory)
        big_free(t->memory, teacher_memory(t->targets, t->soft.k));
    st_close(t->file);
    *t = (struct teacher){0};
}

uint64_t teacher_memory(size_t targets, size_t k)
{
    return (uint64_t)targets * k * 8 + 64;
}
