/* SPDX-License-Identifier: MIT */
#include "tools/pkgraph/score_map.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/exec/par.h"
#include "runtime/formats/safetensors.h"

enum { SLAB = 1 << 18, MAX_LAYERS = 4096 };

double score_at(const struct score_map *m, size_t layer, size_t kind)
{
    return m->sum[layer * SCORE_KINDS + kind];
}

/* ---- the sum of a tensor ---- */

struct summing {
    const struct tensor *t;
    double *sums;
};

static void sum_slab(void *u, size_t i)
{
    const struct summing *s = u;
    size_t first = i * SLAB, n = s->t->n - first < SLAB ? s->t->n - first : SLAB;
    const unsigned char *p = (const unsigned char *)s->t->data + first * (s->t->dtype == DT_BF16 ? 2 : 4);
    double sum = 0;
    for (size_t k = 0; k < n; k++) {
        uint32_t bits = 0;
        float v;
        if (s->t->dtype == DT_BF16) {
            uint16_t half;
            memcpy(&half, p + 2 * k, 2);
            bits = (uint32_t)half << 16;
        } else {
            memcpy(&bits, p + 4 * k, 4);
        }
        memcpy(&v, &bits, 4);
        sum += (double)v;
    }
    s->sums[i] = sum;
}

static int tensor_sum(const struct tensor *t, double *out, struct err *e)
{
    size_t slabs = t->n / SLAB + (t->n % SLAB != 0);
    struct summing s = {.t = t, .sums = calloc(slabs + 1, sizeof(double))};
    if (!s.sums)
        return err_nomem(e, slabs * sizeof(double), "sums of scores");
    par_for(slabs, sum_slab, &s);
    *out = 0;
    for (size_t i = 0; i < slabs; i++)
        *out += s.sums[i];
    free(s.sums);
    return 0;
}

/* ---- names ---- */

/* "model.layers.12.self_attn.q_proj.weight" -> 12 and "q_proj"; -1 outside the layers. */
static long split(const char *name, char kind[SCORE_NAME])
{
    const char *at = strstr(name, "layers.");
    char *end;
    long layer = at ? strtol(at + 7, &end, 10) : -1;
    const char *last = strrchr(name, '.'), *word = last;
    if (!last || (strcmp(last, ".weight") != 0 && strcmp(last, ".bias") != 0)) {
        snprintf(kind, SCORE_NAME, "%.*s", SCORE_NAME - 1, last ? last + 1 : name);
        return layer;
    }
    while (word > name && word[-1] != '.')
        word--;
    snprintf(kind, SCORE_NAME, "%.*s", (int)(last - word < SCORE_NAME - 1 ? last - word : SCORE_NAME - 1), word);
    return layer;
}

/* Where a kind stands in a forward pass; unknown ones come last. */
static int rank_of(const char *kind)
{
    static const char *const order[] = {"input_layernorm", "q_proj",     "k_proj", "v_proj",   "q_norm", "k_norm", "o_proj",
                                        "post_attention_layernorm", "gate_proj", "up_proj", "down_proj"};
    for (int i = 0; i < (int)(sizeof order / sizeof *order); i++)
        if (strcmp(order[i], kind) == 0)
            return i;
    return (int)(sizeof order / sizeof *order);
}

static int find_kind(char names[][SCORE_NAME], size_t n, const char *kind)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(names[i], kind) == 0)
            return (int)i;
    return -1;
}

/* First pass: layers and kinds, the kinds in order. */
static int shape_of(const struct st_file *f, struct score_map *m, struct err *e)
{
    for (size_t i = 0; i < st_count(f); i++) {
        char kind[SCORE_NAME];
        long layer = split(st_at(f, i)->name, kind);
        if (layer >= MAX_LAYERS)
            return err_set(e, ERR_DAMAGED, "%s: %s: more than %d layers", st_path(f), st_at(f, i)->name, MAX_LAYERS);
        if (layer >= 0 && (size_t)layer >= m->n_layers)
            m->n_layers = (size_t)layer + 1;
        char(*names)[SCORE_NAME] = layer >= 0 ? m->kinds : m->rest;
        size_t *n = layer >= 0 ? &m->n_kinds : &m->n_rest;
        if (find_kind(names, *n, kind) >= 0)
            continue;
        if (*n == SCORE_KINDS)
            return err_set(e, ERR_DAMAGED, "%s: more than %d kinds of parameters", st_path(f), SCORE_KINDS);
        size_t at = (*n)++;
        for (; layer >= 0 && at > 0 && rank_of(names[at - 1]) > rank_of(kind); at--)
            memcpy(names[at], names[at - 1], SCORE_NAME);
        memcpy(names[at], kind, SCORE_NAME);
    }
    return 0;
}

int score_map_read(const char *path, struct score_map *m, struct err *e)
{
    struct st_file *f = NULL;
    *m = (struct score_map){0};
    int rc = st_open(path, &f, e);
    if (!rc)
        rc = shape_of(f, m, e);
    if (!rc && !(m->sum = calloc((m->n_layers + 1) * SCORE_KINDS, sizeof *m->sum)))
        rc = err_nomem(e, m->n_layers * SCORE_KINDS * sizeof *m->sum, "sums of scores");
    for (size_t i = 0; !rc && i < st_count(f); i++) {
        const struct tensor *t = st_at(f, i);
        char kind[SCORE_NAME];
        double v = 0;
        long layer = split(t->name, kind);
        if (t->dtype != DT_F32 && t->dtype != DT_BF16)
            rc = err_set(e, ERR_DAMAGED, "%s: %s is of type %s; scores are f32 or bf16", path, t->name, dtype_name(t->dtype));
        else
            rc = tensor_sum(t, &v, e);
        if (!rc && layer >= 0)
            m->sum[(size_t)layer * SCORE_KINDS + (size_t)find_kind(m->kinds, m->n_kinds, kind)] += v;
        else if (!rc)
            m->rest_sum[find_kind(m->rest, m->n_rest, kind)] += v;
    }
    if (f)
        st_close(f);
    if (rc)
        score_map_release(m);
    return rc;
}

void score_map_release(struct score_map *m)
{
    free(m->sum);
    *m = (struct score_map){0};
}
