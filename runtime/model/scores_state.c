/* SPDX-License-Identifier: MIT
 *
 * Scores that were stopped: one safetensors file beside the partial one, with the point of the pass, the sums of the parameters
 * that are finished, and of a tied model what lm_head left for the rows of the batch's tokens. Rows of the partial file
 * that are newer than this file do no harm: they will be written again, with the same bytes.
 */
#include <stdlib.h>
#include <string.h>

#include "runtime/base/fs.h"
#include "runtime/model/scores_private.h"

enum { FIELDS = 8 };

struct field {
    const char *name;
    enum dtype t;
    size_t n;
    void *data; /* of the scores, or of the caller */
};

/* What the file holds; sums and done are the slots' own. */
static size_t fields(const struct scores *s, struct field v[FIELDS], double *layer, double *sums, uint8_t *done, const double *loss,
                     const float *dres)
{
    const struct scores_tokens *k = &s->tokens;
    size_t n = 0, T = (size_t)s->b->cu[s->b->n_seqs];
    bool head = k->tied && k->w;
    v[n++] = (struct field){"layer", DT_F64, 1, layer};
    v[n++] = (struct field){"sums", DT_F64, s->n_slots, sums};
    v[n++] = (struct field){"done", DT_U8, s->n_slots, done};
    v[n++] = (struct field){"loss", DT_F64, (size_t)s->b->n_seqs, (void *)(uintptr_t)loss};
    v[n++] = (struct field){"dres", DT_F32, T * (size_t)s->c->hidden_size, (void *)(uintptr_t)dres};
    if (head) {
        v[n++] = (struct field){"rows", DT_F32, k->n_rows * k->d, k->S};
        v[n++] = (struct field){"pairs", DT_F32, k->n_pairs * k->d, k->head};
        v[n++] = (struct field){"head_sums", DT_F64, k->w->shape[0], s->head_sums};
    }
    return n;
}

static int slot_tables(const struct scores *s, double **sums, uint8_t **done, struct err *e)
{
    *sums = malloc(s->n_slots * sizeof **sums);
    *done = malloc(s->n_slots);
    for (size_t i = 0; *sums && *done && i < s->n_slots; i++) {
        (*sums)[i] = s->slots[i].sum;
        (*done)[i] = s->slots[i].done;
    }
    return *sums && *done ? 0 : err_nomem(e, s->n_slots * 9, "sums");
}

static int write_fields(const char *path, const struct field *v, size_t n, struct err *e)
{
    struct st_writer *w = NULL;
    int rc = st_writer_new(path, &w, e);
    for (size_t i = 0; i < n && !rc; i++)
        rc = st_declare(w, v[i].name, v[i].t, 1, &v[i].n, e);
    if (!rc)
        rc = st_write_begin(w, e);
    for (size_t i = 0; i < n && !rc; i++)
        rc = st_write_at(w, v[i].name, 0, v[i].data, v[i].n * dtype_size(v[i].t), e);
    if (!rc)
        rc = st_write_end(w, e);
    st_writer_free(w);
    return rc;
}

int scores_save(struct scores *s, const char *path, const struct pass_point *p, const double *loss, struct err *e)
{
    struct field v[FIELDS];
    double layer = p->layer, *sums = NULL;
    uint8_t *done = NULL;
    int rc = slot_tables(s, &sums, &done, e);
    if (!rc)
        rc = st_write_sync(s->writer, e); /* first the scores, then what says that they are there */
    if (!rc)
        rc = write_fields(path, v, fields(s, v, &layer, sums, done, loss, p->dres), e);
    free(sums);
    free(done);
    return rc;
}

static int check_fields(const struct st_file *f, const struct scores *s, const struct field *v, size_t n, const char *path, struct err *e)
{
    bool same = st_count(f) == n;
    for (size_t i = 0; i < n && same; i++) {
        const struct tensor *t = st_find(f, v[i].name);
        same = t && t->dtype == v[i].t && t->n == v[i].n;
    }
    const struct tensor *t = same ? st_find(f, "layer") : NULL;
    double layer = -1;
    if (t)
        memcpy(&layer, t->data, sizeof layer);
    if (!(layer >= 0 && layer <= s->c->num_hidden_layers))
        return err_set(e, ERR_DAMAGED, "%s: not a checkpoint of these scores", path);
    return 0;
}

static int make_room(struct scores *s, size_t n_dres, struct err *e)
{
    size_t rows = s->tokens.tied && s->tokens.w ? s->tokens.w->shape[0] : 0;
    free(s->dres);
    s->dres = malloc(n_dres * sizeof *s->dres);
    if (rows && !s->head_sums)
        s->head_sums = malloc(rows * sizeof *s->head_sums);
    return s->dres && (!rows || s->head_sums) ? 0 : err_nomem(e, n_dres * 4, "a checkpoint");
}

int scores_go_on(struct scores *s, const char *path, struct pass_point *p, double *loss, struct err *e)
{
    struct field v[FIELDS];
    struct st_file *f = NULL;
    double layer, *sums = NULL;
    uint8_t *done = NULL;
    if (!st_writer_goes_on(s->writer) || !fs_exists(path))
        return err_set(e, ERR_NOTFOUND, "%s: no checkpoint", path);
    int rc = st_open(path, &f, e);
    if (rc)
        return rc == ERR_NOMEM ? rc : (e->code = ERR_DAMAGED);
    rc = slot_tables(s, &sums, &done, e);
    if (!rc)
        rc = check_fields(f, s, v, fields(s, v, &layer, sums, done, loss, NULL), path, e);
    if (!rc)
        rc = make_room(s, (size_t)s->b->cu[s->b->n_seqs] * (size_t)s->c->hidden_size, e);
    size_t n = rc ? 0 : fields(s, v, &layer, sums, done, loss, s->dres);
    for (size_t i = 0; i < n; i++)
        memcpy(v[i].data, st_find(f, v[i].name)->data, v[i].n * dtype_size(v[i].t));
    for (size_t i = 0; n && i < s->n_slots; i++) {
        s->slots[i].sum = sums[i];
        s->slots[i].done = done[i] != 0;
        if (s->slots[i].done && s->slots[i].w)
            st_writer_final(s->writer, s->slots[i].w->name);
    }
    if (!rc)
        *p = (struct pass_point){(int)layer, s->dres};
    st_close(f);
    free(sums);
    free(done);
    return rc;
}
