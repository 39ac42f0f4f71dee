/* SPDX-License-Identifier: MIT */
#include "ops/lib/extract.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/arena.h"
#include "runtime/base/rng.h"
#include "runtime/exec/par.h"
#include "runtime/kernels/select.h"
#include "runtime/kernels/window.h"

/* ---- the plan ---- */

static bool takes(const struct model_config *student, const bool *wanted, enum module m)
{
    return wanted[m] && ((int)m < MOD_LINEARS || m == MOD_EMBED || (m == MOD_HEAD && !student->tie_word_embeddings));
}

static void add_job(struct extract_job *j, const struct model_config *teacher, const struct model_config *student,
                    int layer, int from, enum module m)
{
    *j = (struct extract_job){.layer = layer, .mod = m, .transposed = m == MOD_EMBED};
    module_shape(student, m, &j->rows, &j->cols);
    param_name(j->name, layer, m, false);
    param_name(j->source, from, m == MOD_HEAD && teacher->tie_word_embeddings ? MOD_EMBED : m, false);
}

int extract_plan(const struct model_config *teacher, const struct model_config *student, const int *map,
                 const bool wanted[MOD_COUNT], struct extract_job **jobs, size_t *n, struct err *e)
{
    size_t most = (size_t)student->num_hidden_layers * MOD_LINEARS + 2;
    *n = 0;
    *jobs = calloc(most, sizeof **jobs);
    if (!*jobs)
        return err_nomem(e, most * sizeof **jobs, "the list of blocks");
    if (takes(student, wanted, MOD_EMBED))
        add_job(&(*jobs)[(*n)++], teacher, student, -1, -1, MOD_EMBED);
    for (int l = 0; l < student->num_hidden_layers; l++)
        for (int m = 0; m < MOD_LINEARS; m++)
            if (takes(student, wanted, (enum module)m))
                add_job(&(*jobs)[(*n)++], teacher, student, l, map[l], (enum module)m);
    if (takes(student, wanted, MOD_HEAD))
        add_job(&(*jobs)[(*n)++], teacher, student, -1, -1, MOD_HEAD);
    return 0;
}

int extract_check(const struct model_config *teacher, const struct model_config *student, const bool wanted[MOD_COUNT],
                  struct err *e)
{
    bool any = false;
    for (int m = 0; m < MOD_COUNT; m++) {
        size_t r, c, rows, cols;
        if (!takes(student, wanted, (enum module)m))
            continue;
        any = true;
        module_shape(student, (enum module)m, &r, &c);
        module_shape(teacher, (enum module)m, &rows, &cols);
        if (m == MOD_EMBED || m == MOD_HEAD) /* a row for each token: the vocabularies are compared elsewhere */
            r = rows;
        if (r > rows || c > cols)
            return err_set(e, ERR_INPUT,
                           "%s of the student is %zu x %zu, of the teacher %zu x %zu (hidden_size %d and %d, "
                           "intermediate_size %d and %d, heads %d x %d "
                           "and %d x %d): a student matrix must fit into the teacher's",
                           module_name((enum module)m), r, c, rows, cols, student->hidden_size, teacher->hidden_size,
                           student->intermediate_size, teacher->intermediate_size, student->num_attention_heads,
                           student->head_dim, teacher->num_attention_heads, teacher->head_dim);
    }
    return any ? 0
               : err_set(e, ERR_INPUT,
                         "no module is left to extract: lm_head of a student with tied embeddings is its embedding; "
                         "add embed to modules");
}

/* ---- copying ---- */

struct copy {
    const struct extract_job *j;
    const char *w;
    size_t ld, size; /* of w: elements a row, bytes an element */
    char *out;
    const size_t *rows, *cols; /* index lists, or NULL: from j->row, j->col on */
    size_t row, col;
};

static void copy_rows(void *u, size_t first, size_t count)
{
    const struct copy *k = u;
    size_t cols = k->j->cols, size = k->size;
    for (size_t i = first; i < first + count; i++) {
        const char *from = k->w + (k->rows ? k->rows[i] : k->row + i) * k->ld * size;
        char *to = k->out + i * cols * size;
        if (!k->cols) {
            memcpy(to, from + k->col * size, cols * size);
            continue;
        }
        for (size_t c = 0; c < cols; c++)
            memcpy(to + c * size, from + k->cols[c] * size, size);
    }
}

enum { PIECE = 64 << 10 /* bytes that are copied before they are given away */ };

struct giving {
    const struct copy *k;
    const struct extract_sink *to;
    pthread_mutex_t lock; /* of the first error */
    int rc;
    struct err e;
};

static void give_rows(void *u, size_t first, size_t count)
{
    struct giving *g = u;
    _Alignas(64) char some[PIECE];
    struct copy k = *g->k;
    struct err e;
    size_t bytes = count * k.j->cols * k.size;
    char *room = bytes <= PIECE ? some : malloc(bytes);
    int rc = room ? 0 : err_nomem(&e, bytes, k.j->name);
    if (!rc) {
        k.out = room - first * k.j->cols * k.size;
        copy_rows(&k, first, count);
        rc = g->to->rows(g->to->u, first, count, room, &e);
    }
    if (room != some)
        free(room);
    if (!rc)
        return;
    pthread_mutex_lock(&g->lock);
    if (!g->rc) {
        g->rc = rc;
        g->e = e;
    }
    pthread_mutex_unlock(&g->lock);
}

/* The rows to where they belong. */
static int put_rows(const struct copy *k, const struct extract_sink *to, struct err *e)
{
    size_t row = k->j->cols * k->size;
    if (!to) {
        par_slabs(k->j->rows, 64, copy_rows, (void *)(uintptr_t)k);
        return 0;
    }
    struct giving g = {.k = k, .to = to, .lock = PTHREAD_MUTEX_INITIALIZER};
    par_slabs(k->j->rows, row && row < PIECE ? PIECE / row : 1, give_rows, &g);
    if (g.rc)
        *e = g.e;
    return g.rc;
}

static struct js *range(size_t start, size_t count)
{
    struct js *j = js_object();
    js_set(j, "start", js_new_int((int64_t)start));
    js_set(j, "count", js_new_int((int64_t)count));
    return j;
}

static struct js *list(const size_t *v, size_t n)
{
    struct js *j = js_array();
    for (size_t i = 0; i < n; i++)
        js_push(j, js_new_int((int64_t)v[i]));
    return j;
}

/* Takes over rows and cols. */
static int fill_info(struct js **info, const struct extract_job *j, struct js *rows, struct js *cols, double score,
                     double total, struct err *e)
{
    *info = js_object();
    int bad = js_set(*info, "rows", rows) | js_set(*info, "cols", cols) | js_set(*info, "score", js_new_num(score)) |
              js_set(*info, "total", js_new_num(total)) | js_set(*info, "source", js_new_cstr(j->source));
    return bad ? err_nomem(e, 256, "blocks.json") : 0;
}

/* ---- the structures ---- */

static int random_window(const struct extract_job *j, uint64_t seed, const struct window_view *v, struct window *w)
{
    uint64_t stream = rng_stream(seed, j->name);
    w->row = (size_t)rng_below(seed, stream, 0, v->rows - j->rows + 1);
    w->col = (size_t)rng_below(seed, stream, 1, v->cols - j->cols + 1);
    w->sum = window_sum(v, w->row, w->col, j->rows, j->cols);
    w->total = window_sum(v, 0, 0, v->rows, v->cols);
    return 0;
}

static int find_window(const struct extract_job *j, const struct extract_options *o, const struct window_view *v,
                       struct window *w, struct err *e)
{
    if (j->fixed) {
        *w = (struct window){.row = j->row, .col = j->col};
        w->sum = window_sum(v, w->row, w->col, j->rows, j->cols);
        w->total = window_sum(v, 0, 0, v->rows, v->cols);
        return 0;
    }
    if (o->structure == STRUCTURE_RANDOM)
        return random_window(j, o->seed, v, w);
    if (!o->reference)
        return window_best(v, j->rows, j->cols, w, e);
    if (!j->transposed)
        return window_reference(v, false, j->rows, j->cols, w, e);
    int rc = window_reference(v, true, j->cols, j->rows, w, e);
    size_t t = w->row;
    w->row = w->col;
    w->col = t;
    return rc;
}

static int by_window(const struct extract_job *j, const struct extract_options *o, const struct window_view *v,
                     struct copy *k, const struct extract_sink *to, struct js **info, struct err *e)
{
    struct window w = {0};
    int rc = find_window(j, o, v, &w, e);
    if (rc)
        return rc;
    k->row = w.row;
    k->col = w.col;
    rc = put_rows(k, to, e);
    return rc ? rc : fill_info(info, j, range(w.row, j->rows), range(w.col, j->cols), w.sum, w.total, e);
}

/* S summed over chosen rows and columns. */
static double chosen_sum(const struct window_view *v, const size_t *rows, size_t n, const size_t *cols, size_t m)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        size_t at = rows[i] * v->ld;
        for (size_t c = 0; c < m; c++)
            sum += v->t == DT_F32 ? ((const float *)v->data)[at + cols[c]]
                                  : bf16_to_f32(((const uint16_t *)v->data)[at + cols[c]]);
    }
    return sum;
}

static int by_rows_and_columns(const struct extract_job *j, const struct window_view *v, struct copy *k,
                               struct js **info, struct err *e)
{
    double *by_row = calloc(v->rows + v->cols, sizeof *by_row), *by_col = by_row ? by_row + v->rows : NULL, total = 0;
    size_t *rows = malloc((j->rows + j->cols) * sizeof *rows), *cols = rows ? rows + j->rows : NULL;
    int rc = by_row && rows ? 0 : err_nomem(e, (v->rows + v->cols) * 16, "row and column sums");
    if (!rc)
        rc = window_margins(v, 0, v->rows, 0, v->cols, by_row, by_col, e);
    if (!rc)
        rc = select_top(by_row, v->rows, j->rows, false, rows, e);
    if (!rc)
        rc = select_top(by_col, v->cols, j->cols, false, cols, e);
    if (!rc) {
        k->rows = rows;
        k->cols = cols;
        par_slabs(j->rows, 64, copy_rows, k);
        for (size_t i = 0; i < v->rows; i++)
            total += by_row[i];
        rc = fill_info(info, j, list(rows, j->rows), list(cols, j->cols), chosen_sum(v, rows, j->rows, cols, j->cols),
                       total, e);
    }
    free(by_row);
    free(rows);
    return rc;
}

/* The single weights with the largest scores, in the row-major order of the search's orientation. */
static int by_weights(const struct extract_job *j, const struct window_view *v, struct copy *k, struct js **info,
                      struct err *e)
{
    struct select_cut cut;
    size_t n = j->transposed ? v->cols : v->rows, m = j->transposed ? v->rows : v->cols, at = 0,
           width = j->transposed ? j->rows : j->cols;
    double sum = 0;
    int rc = select_cut(v->data, v->t, v->rows, v->cols, v->ld, j->rows * j->cols, &cut, e);
    if (rc)
        return rc;
    for (size_t a = 0; a < n; a++)
        for (size_t b = 0; b < m; b++) {
            size_t from = j->transposed ? b * v->ld + a : a * v->ld + b;
            float s = v->t == DT_F32 ? ((const float *)v->data)[from] : bf16_to_f32(((const uint16_t *)v->data)[from]);
            if (!select_takes(&cut, s))
                continue;
            size_t row = at / width, col = at % width, to = j->transposed ? col * j->cols + row : row * j->cols + col;
            memcpy(k->out + to * k->size, k->w + from * k->size, k->size);
            sum += (double)s;
            at++;
        }
    return fill_info(info, j, js_new_null(), js_new_null(), sum, window_sum(v, 0, 0, v->rows, v->cols), e);
}

static int check_shapes(const struct extract_job *j, const struct tensor *w, const struct tensor *s, struct err *e)
{
    if (s->ndim != 2 || w->ndim != 2 || s->shape[0] != w->shape[0] || s->shape[1] != w->shape[1])
        return err_set(e, ERR_INPUT, "%s has another shape in the scores than in the model", j->source);
    if (s->dtype != DT_F32 && s->dtype != DT_BF16)
        return err_set(e, ERR_INPUT, "scores of %s are of type %s; F32 or BF16 is needed", j->source,
                       dtype_name(s->dtype));
    if (j->rows > w->shape[0] || j->cols > w->shape[1] || (j->transposed && j->rows != w->shape[0]))
        return err_set(e, ERR_INPUT, "%s is %zu x %zu; %s needs %zu x %zu of it", j->source, w->shape[0], w->shape[1],
                       j->name, j->rows, j->cols);
    return 0;
}

/* Into data, or else to the sink. */
static int extract_part(const struct extract_job *j, const struct extract_options *o, const struct tensor *w, const struct tensor *s,
                        void *data, const struct extract_sink *to, struct js **info, struct err *e)
{
    *info = NULL;
    int rc = check_shapes(j, w, s, e);
    if (rc)
        return rc;
    struct window_view v = {s->data, s->dtype, s->shape[0], s->shape[1], s->shape[1]};
    struct copy k = {.j = j, .w = w->data, .ld = w->shape[1], .size = dtype_size(w->dtype), .out = data};
    if (o->structure == STRUCTURE_ROW_COLUMN)
        rc = by_rows_and_columns(j, &v, &k, info, e);
    else if (o->structure == STRUCTURE_NEURON)
        rc = by_weights(j, &v, &k, info, e);
    else
        rc = by_window(j, o, &v, &k, data ? NULL : to, info, e);
    if (rc) {
        js_free(*info);
        *info = NULL;
        err_prefix(e, "%s", j->source);
    }
    return rc;
}

/* One shape of (V, d): the rows of the tokens that both have; those beyond are padding, and zero in the block. */
static struct tensor first_rows(const struct tensor *t, size_t rows)
{
    struct tensor out = *t;
    if (t->ndim == 2 && t->shape[0] > rows) {
        out.shape[0] = rows;
        out.n = rows * t->shape[1];
        out.bytes = out.n * dtype_size(t->dtype);
    }
    return out;
}

static int put_zeros(const struct extract_job *j, size_t first, size_t size, void *data, const struct extract_sink *to, struct err *e)
{
    size_t row = j->cols * size, n = j->rows - first, most = row && row < PIECE ? PIECE / row : 1;
    int rc = 0;
    if (data)
        memset((char *)data + first * row, 0, n * row);
    void *zeros = !data && n ? calloc(most, row) : NULL;
    if (!data && n && !zeros)
        return err_nomem(e, most * row, j->name);
    for (size_t i = 0; zeros && !rc && i < n; i += most)
        rc = to->rows(to->u, first + i, n - i < most ? n - i : most, zeros, e);
    free(zeros);
    return rc;
}

/* Into data, or else to the sink. */
static int extract(const struct extract_job *j, const struct extract_options *o, const struct tensor *w, const struct tensor *s,
                   void *data, const struct extract_sink *to, struct js **info, struct err *e)
{
    struct extract_job part = *j;
    size_t rows = w->ndim == 2 ? w->shape[0] : 0;
    if (j->mod != MOD_EMBED && j->mod != MOD_HEAD)
        return extract_part(j, o, w, s, data, to, info, e);
    part.rows = rows && rows < j->rows ? rows : j->rows;
    struct tensor tokens = first_rows(w, part.rows), scores = first_rows(s, part.rows);
    int rc = extract_part(&part, o, &tokens, &scores, data, to, info, e);
    if (!rc && (rc = put_zeros(j, part.rows, dtype_size(w->dtype), data, to, e)) != 0) {
        js_free(*info);
        *info = NULL;
    }
    return rc;
}

int extract_block(const struct extract_job *j, const struct extract_options *o, const struct tensor *w,
                  const struct tensor *s, void *data, struct js **info, struct err *e)
{
    return extract(j, o, w, s, data, NULL, info, e);
}

int extract_give(const struct extract_job *j, const struct extract_options *o, const struct tensor *w, const struct tensor *s,
                 const struct extract_sink *to, struct js **info, struct err *e)
{
    if (o->structure != STRUCTURE_ROW_COLUMN && o->structure != STRUCTURE_NEURON)
        return extract(j, o, w, s, NULL, to, info, e);
    *info = NULL;
    size_t bytes = j->rows * j->cols * dtype_size(w->dtype);
    void *data = big_alloc(bytes);
    int rc = data ? extract(j, o, w, s, data, NULL, info, e) : err_nomem(e, bytes, j->name);
    if (!rc && (rc = to->rows(to->u, 0, j->rows, data, e)) != 0) {
        js_free(*info);
        *info = NULL;
    }
    big_free(data, bytes);
    return rc;
}

/* ---- shared axes ---- */

enum axis { AXIS_RESIDUAL, AXIS_QUERY, AXIS_KEY, AXIS_NEURON, AXIS_COUNT };

static enum axis row_axis(enum module m)
{
    return m == MOD_Q                     ? AXIS_QUERY
           : m == MOD_K || m == MOD_V     ? AXIS_KEY
           : m == MOD_GATE || m == MOD_UP ? AXIS_NEURON
                                          : AXIS_RESIDUAL;
}

static enum axis col_axis(enum module m)
{
    return m == MOD_O ? AXIS_QUERY : m == MOD_DOWN ? AXIS_NEURON : AXIS_RESIDUAL;
}

static void axis_sizes(const struct model_config *c, size_t n[AXIS_COUNT])
{
    n[AXIS_RESIDUAL] = (size_t)c->hidden_size;
    n[AXIS_QUERY] = (size_t)c->num_attention_heads * (size_t)c->head_dim;
    n[AXIS_KEY] = (size_t)c->num_key_value_heads * (size_t)c->head_dim;
    n[AXIS_NEURON] = (size_t)c->intermediate_size;
}

/* Adds what the jobs hold along one axis, inside the residual window for the others. */
static int axis_sums(struct extract_job *jobs, size_t n, const struct tensor *const *scores, enum axis a, size_t from,
                     size_t width, double *sums, struct err *e)
{
    for (size_t i = 0; i < n; i++) {
        const struct tensor *s = scores[i];
        struct window_view v = {s->data, s->dtype, s->shape[0], s->shape[1], s->shape[1]};
        bool row = row_axis(jobs[i].mod) == a, col = col_axis(jobs[i].mod) == a;
        if (!row && !col)
            continue;
        size_t r0 = 0, h = v.rows, c0 = 0, w = v.cols;
        if (a != AXIS_RESIDUAL && row) {
            c0 = from;
            w = width;
        } else if (a != AXIS_RESIDUAL) {
            r0 = from;
            h = width;
        }
        if (window_margins(&v, r0, h, c0, w, row ? sums : NULL, col ? sums : NULL, e))
            return err_prefix(e, "%s", jobs[i].source);
    }
    return 0;
}

int extract_shared(const struct model_config *teacher, const struct model_config *student, struct extract_job *jobs,
                   size_t n, const struct tensor *const *scores, struct err *e)
{
    size_t have[AXIS_COUNT], need[AXIS_COUNT], start[AXIS_COUNT] = {0};
    axis_sizes(teacher, have);
    axis_sizes(student, need);
    size_t head = teacher->head_dim == student->head_dim ? (size_t)teacher->head_dim : 1;
    for (int a = 0; a < AXIS_COUNT; a++) {
        double *sums = calloc(have[a], sizeof *sums);
        int rc = sums ? axis_sums(jobs, n, scores, (enum axis)a, start[AXIS_RESIDUAL], need[AXIS_RESIDUAL], sums, e)
                      : err_nomem(e, have[a] * sizeof *sums, "sums along an axis");
        if (!rc)
            start[a] = window_run(sums, have[a], need[a], a == AXIS_QUERY || a == AXIS_KEY ? head : 1);
        free(sums);
        if (rc)
            return rc;
    }
    for (size_t i = 0; i < n; i++) {
        jobs[i].fixed = true;
        jobs[i].row = start[row_axis(jobs[i].mod)];
        jobs[i].col = start[col_axis(jobs[i].mod)];
    }
    return 0;
}
