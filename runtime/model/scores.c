/* SPDX-License-Identifier: MIT */
#include "runtime/model/scores.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runtime/base/arena.h"
#include "runtime/base/fs.h"
#include "runtime/exec/par.h"
#include "runtime/formats/quant.h"
#include "runtime/kernels/sens.h"
#include "runtime/model/scores_tokens.h"

enum { SLAB = 1 << 16 }; /* elements summed and written at a time */

/* One parameter. */
struct slot {
    const struct tensor *w; /* NULL: not wanted, or the model has none */
    float *S;               /* NULL before the first gradient and after writing */
    size_t at;              /* in the temporary file, in elements */
    bool done;
    double sum;
};

struct scores {
    struct scores_options o;
    const struct model_config *c;
    size_t n_slots;
    struct slot *slots; /* ((layer + 1) * MOD_COUNT + mod) * 2 + bias */
    struct st_writer *writer;
    float *scratch; /* the temporary file, mapped; NULL with one batch */
    size_t scratch_bytes;
    struct scores_tokens tokens; /* of the batch: the rows of the embedding that it touches */
    const struct batch *b;
};

static struct slot *slot_at(struct scores *s, int layer, enum module m, bool bias)
{
    return &s->slots[((size_t)(layer + 1) * MOD_COUNT + m) * 2 + bias];
}

static bool tied(const struct scores *s)
{
    return s->c->tie_word_embeddings;
}

/* ---- the file ---- */

/* An unlinked file beside the output, mapped: the kernel writes back what memory cannot hold. */
static int scratch_open(struct scores *s, size_t elements, struct err *e)
{
    char *dir = fs_dirname(s->o.path), *name = dir ? fs_join(dir, ".scores-XXXXXX") : NULL;
    int rc = 0, fd = -1;
    void *p;
    s->scratch_bytes = elements * sizeof(float);
    if (!name) {
        rc = err_nomem(e, 4096, "a path");
        goto out;
    }
    fd = mkstemp(name);
    if (fd < 0) {
        rc = err_errno(e, "%s", name);
        goto out;
    }
    unlink(name);
    errno = ftruncate(fd, (off_t)s->scratch_bytes) ? errno : posix_fallocate(fd, 0, (off_t)s->scratch_bytes);
    if (errno) {
        rc = err_errno(e, "%zu bytes of temporary scores in %s", s->scratch_bytes, dir);
        goto out;
    }
    p = mmap(NULL, s->scratch_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        rc = err_errno(e, "mapping %zu bytes of temporary scores", s->scratch_bytes);
    else
        s->scratch = p;
out:
    if (fd >= 0)
        close(fd);
    free(dir);
    free(name);
    return rc;
}

static bool wants(const struct scores *s, int layer, enum module m, bool bias)
{
    bool outside = m == MOD_EMBED || m == MOD_HEAD || m == MOD_NORM;
    if (outside != (layer < 0) || !s->o.wanted[m] || (bias && !module_has_bias(s->c, m)))
        return false;
    return m != MOD_HEAD || !tied(s);
}

static int declare(struct scores *s, int layer, enum module m, bool bias, size_t *elements, struct err *e)
{
    char name[PARAM_NAME_MAX];
    if (!wants(s, layer, m, bias))
        return 0;
    struct slot *k = slot_at(s, layer, m, bias);
    k->w = model_tensor(s->o.model, param_name(name, layer, m, bias));
    if (!k->w)
        return err_set(e, ERR_INPUT, "the model has no parameter %s", name);
    k->at = *elements;
    *elements += k->w->n;
    return st_declare(s->writer, name, s->o.dtype, k->w->ndim, k->w->shape, e);
}

int scores_new(const struct scores_options *o, struct scores **out, struct err *e)
{
    struct scores *s = calloc(1, sizeof *s);
    size_t elements = 0;
    *out = s;
    if (!s)
        return err_nomem(e, sizeof *s, "scores");
    s->o = *o;
    s->c = model_config(o->model);
    s->n_slots = ((size_t)s->c->num_hidden_layers + 1) * MOD_COUNT * 2;
    s->slots = calloc(s->n_slots, sizeof *s->slots);
    int rc = s->slots ? st_writer_new(o->path, &s->writer, e) : err_nomem(e, s->n_slots * sizeof *s->slots, "scores");
    if (!rc)
        st_writer_unsynced(s->writer);
    for (int l = -1; l < s->c->num_hidden_layers; l++)
        for (int m = 0; m < MOD_COUNT; m++)
            for (int bias = 0; bias < 2 && !rc; bias++)
                rc = declare(s, l, (enum module)m, bias, &elements, e);
    if (!rc && !elements)
        rc = err_set(e, ERR_INPUT, "no parameter is to be scored");
    if (!rc)
        rc = st_write_begin(s->writer, e);
    if (!rc && o->batches > 1)
        rc = scratch_open(s, elements, e);
    if (rc) {
        scores_free(s);
        *out = NULL;
    }
    return rc;
}

void scores_free(struct scores *s)
{
    if (!s)
        return;
    for (size_t i = 0; s->slots && i < s->n_slots; i++)
        if (s->slots[i].S && !s->scratch)
            big_free(s->slots[i].S, s->slots[i].w->n * sizeof(float));
    if (s->scratch)
        munmap(s->scratch, s->scratch_bytes);
    scores_tokens_release(&s->tokens);
    st_writer_free(s->writer);
    free(s->slots);
    free(s);
}

/* The scores of a parameter so far; zero at first. */
static int slot_open(struct scores *s, struct slot *k, struct err *e)
{
    if (k->S)
        return 0;
    k->S = s->scratch ? s->scratch + k->at : big_alloc(k->w->n * sizeof(float));
    return k->S ? 0 : err_nomem(e, k->w->n * sizeof(float), k->w->name);
}

struct sums {
    const float *x;
    size_t n;
    double *sum;
};

static void sum_slab(void *u, size_t i)
{
    const struct sums *k = u;
    size_t first = i * SLAB, n = k->n - first < SLAB ? k->n - first : SLAB;
    const float *x = k->x + first;
    double a[8] = {0};
    size_t j = 0;
    for (; j + 8 <= n; j += 8)
        for (int l = 0; l < 8; l++)
            a[l] += (double)x[j + l];
    for (; j < n; j++)
        a[0] += (double)x[j];
    k->sum[i] = ((a[0] + a[1]) + (a[2] + a[3])) + ((a[4] + a[5]) + (a[6] + a[7]));
}

static int write_bf16(struct scores *s, const struct slot *k, struct err *e)
{
    uint16_t *h = malloc(SLAB * sizeof *h);
    int rc = h ? 0 : err_nomem(e, SLAB * sizeof *h, "conversion");
    for (size_t i = 0; i < k->w->n && !rc; i += SLAB) {
        size_t n = k->w->n - i < SLAB ? k->w->n - i : SLAB;
        dtype_from_f32(h, DT_BF16, k->S + i, n);
        rc = st_write_at(s->writer, k->w->name, i * sizeof *h, h, n * sizeof *h, e);
    }
    free(h);
    return rc;
}

/* Sums, writes and drops a finished parameter. */
static int slot_finish(struct scores *s, struct slot *k, struct err *e)
{
    size_t n = (k->w->n + SLAB - 1) / SLAB;
    double *sum = malloc(n * sizeof *sum);
    if (!sum)
        return err_nomem(e, n * sizeof *sum, "sums");
    struct sums u = {k->S, k->w->n, sum};
    par_for(n, sum_slab, &u);
    k->sum = 0;
    for (size_t i = 0; i < n; i++)
        k->sum += sum[i];
    free(sum);
    if (!isfinite(k->sum))
        return err_set(e, ERR_INPUT, "the scores of %s are not finite: a gradient overflowed; try compute: f32",
                       k->w->name);
    int rc = s->o.dtype == DT_F32 ? st_write_at(s->writer, k->w->name, 0, k->S, k->w->n * sizeof(float), e)
                                  : write_bf16(s, k, e);
    if (!s->scratch)
        big_free(k->S, k->w->n * sizeof(float));
    k->S = NULL;
    k->done = true;
    return rc;
}

/* ---- the sink ---- */

int scores_batch(struct scores *s, const struct batch *b, struct err *e)
{
    scores_tokens_release(&s->tokens);
    s->b = b;
    struct slot *k = slot_at(s, -1, MOD_EMBED, false);
    if (!k->w)
        return 0;
    int rc = slot_open(s, k, e);
    return rc ? rc : scores_tokens_init(&s->tokens, b, k->w, k->S, tied(s), e);
}

static int take_linear(void *u, const struct grad_linear *g, struct err *e)
{
    struct scores *s = u;
    bool head = g->mod == MOD_HEAD, shared = head && tied(s);
    struct slot *k = slot_at(s, g->layer, shared ? MOD_EMBED : g->mod, false);
    if (!k->w)
        return 0;
    int rc = slot_open(s, k, e);
    if (rc)
        return rc;
    const size_t bytes = k->w->packed ? g->rows * g->in * dtype_size(k->w->dtype) : 0;
    void *plain = bytes ? big_alloc(bytes) : NULL;
    if (bytes && !plain)
        return err_nomem(e, bytes, k->w->name);
    if (plain)
        tensor_to_plain(plain, k->w, g->row0 * g->in, g->rows * g->in);
    const char *w = plain ? plain : (const char *)k->w->data + g->row0 * g->in * dtype_size(k->w->dtype);
    rc = sens_accumulate(k->S + g->row0 * g->in, g->in, w, k->w->dtype, g->in, g->dy, g->ldy, g->x, g->ldx, g->t,
                         g->rows, g->in, g->n_seqs, g->seq_cu, e);
    big_free(plain, bytes);
    if (!rc && shared)
        rc = scores_tokens_head(&s->tokens, g, e);
    if (!rc && !head && !s->scratch && g->row0 + g->rows == k->w->shape[0])
        rc = slot_finish(s, k, e);
    return rc;
}

struct vector_job {
    const struct grad_vector *g;
    const float *w;
    float *S;
};

/* One stripe of columns, all sequences in order. */
static void vector_stripe(void *u, size_t first, size_t count)
{
    const struct vector_job *v = u;
    const struct grad_vector *g = v->g;
    double sum[64];
    for (int s = 0; s < g->n_seqs; s++) {
        memset(sum, 0, sizeof sum);
        for (int32_t t = g->seq_cu[s]; t < g->seq_cu[s + 1]; t++) {
            const float *dy = g->dy + (size_t)t * g->n + first,
                        *xhat = g->xhat ? g->xhat + (size_t)t * g->n + first : NULL;
            for (size_t j = 0; j < count; j++)
                sum[j] += xhat ? (double)dy[j] * (double)xhat[j] : (double)dy[j];
        }
        for (size_t j = 0; j < count; j++)
            v->S[first + j] += (float)fabs((double)v->w[first + j] * sum[j]);
    }
}

static int take_vector(void *u, const struct grad_vector *g, struct err *e)
{
    struct scores *s = u;
    struct slot *k = slot_at(s, g->layer, g->mod, g->bias);
    if (!k->w)
        return 0;
    int rc = slot_open(s, k, e);
    float *w = rc ? NULL : malloc(g->n * sizeof *w);
    if (!rc && !w)
        rc = err_nomem(e, g->n * sizeof *w, k->w->name);
    if (!rc && (g->n != k->w->n || tensor_to_f32(w, k->w, 0, g->n)))
        rc = err_set(e, ERR_UNSUPPORTED, "%s is of type %s", k->w->name, dtype_name(k->w->dtype));
    if (!rc) {
        struct vector_job v = {g, w, k->S};
        par_slabs(g->n, 64, vector_stripe, &v);
        if (!s->scratch)
            rc = slot_finish(s, k, e);
    }
    free(w);
    return rc;
}

static int take_embed(void *u, const struct batch *b, const float *dx, struct err *e)
{
    struct scores *s = u;
    (void)b; /* the batch of scores_batch */
    return slot_at(s, -1, MOD_EMBED, false)->w ? scores_tokens_embed(&s->tokens, dx, e) : 0;
}

struct grad_sink scores_sink(struct scores *s)
{
    return (struct grad_sink){s, take_linear, take_vector, take_embed};
}

int scores_end(struct scores *s, double *layers, double *modules, struct err *e)
{
    memset(layers, 0, (size_t)s->c->num_hidden_layers * sizeof *layers);
    memset(modules, 0, MOD_COUNT * sizeof *modules);
    for (size_t i = 0; i < s->n_slots; i++) {
        struct slot *k = &s->slots[i];
        if (!k->w)
            continue;
        int rc = k->done ? 0 : slot_open(s, k, e);
        if (!rc && !k->done)
            rc = slot_finish(s, k, e);
        if (rc)
            return rc;
        size_t layer = i / (MOD_COUNT * 2);
        modules[i / 2 % MOD_COUNT] += k->sum;
        if (layer)
            layers[layer - 1] += k->sum;
    }
    return st_write_end(s->writer, e);
}

/* ---- damaged weights ---- */

struct finite {
    const struct tensor *t;
    _Atomic size_t bad;
};

static void count_bad(void *u, size_t first, size_t count)
{
    struct finite *f = u;
    float x[1024];
    size_t bad = 0;
    for (size_t i = 0; i < count; i += 1024) {
        size_t n = count - i < 1024 ? count - i : 1024;
        if (tensor_to_f32(x, f->t, first + i, n))
            return;
        for (size_t j = 0; j < n; j++)
            bad += !isfinite(x[j]);
    }
    f->bad += bad;
}

int scores_check_weights(const struct model *m, struct err *e)
{
    for (size_t i = 0; i < model_tensor_count(m); i++) {
        struct finite f = {.t = model_tensor_at(m, i)};
        par_slabs(f.t->n, SLAB, count_bad, &f);
        if (f.bad)
            return err_set(e, ERR_INPUT,
                           "%s holds %zu weights that are not finite (NaN or infinite) among %zu: the checkpoint is "
                           "damaged; fetch it again",
                           f.t->name, (size_t)f.bad, f.t->n);
    }
    return 0;
}

uint64_t scores_memory(const struct model_config *c, size_t tokens)
{
    uint64_t d = (uint64_t)c->hidden_size, v = (uint64_t)c->vocab_size, f = (uint64_t)c->intermediate_size;
    uint64_t qkv = d * (uint64_t)c->num_attention_heads * (uint64_t)c->head_dim, layer = d * f > qkv ? d * f : qkv;
    return 4 * (layer + v * d * 2 + 3 * (uint64_t)tokens * d);
}
