/* SPDX-License-Identifier: MIT
 *
 * For each pair: left (out, k) and right (k, in) with left right = B A - B0 A0, k = r + r0. With equal ranks they are
 * [B - B0 | B0] and [A ; A - A0], in which nothing large cancels. QR of left and of right^T, SVD of the small core.
 */
#include "runtime/model/peft_export.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/kernels/svd.h"

struct factors {
    size_t out, in, k, p, q; /* p = min(out, k), q = min(in, k): ranks of the QR factors */
    double *left, *right;    /* (out, k), (in, k): right is kept transposed */
    double *ql, *ul, *qr, *ur; /* (out, p), (p, k), (in, q), (q, k) */
    double *core, *s, *us, *vt;
};

static void factors_release(struct factors *f)
{
    double *all[] = {f->left, f->right, f->ql, f->ul, f->qr, f->ur, f->core, f->s, f->us, f->vt};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

static int factors_new(struct factors *f, const struct lora_pair *p, struct err *e)
{
    *f = (struct factors){.out = p->out, .in = p->in, .k = (size_t)p->r + (size_t)(p->B0 ? p->r0 : 0)};
    f->p = f->out < f->k ? f->out : f->k;
    f->q = f->in < f->k ? f->in : f->k;
    double **at[] = {&f->left, &f->right, &f->ql, &f->ul, &f->qr, &f->ur, &f->core, &f->s, &f->us, &f->vt};
    size_t n[] = {f->out * f->k, f->in * f->k, f->out * f->p, f->p * f->k, f->in * f->q, f->q * f->k, f->p * f->q, f->k, f->p * f->k, f->k * f->q};
    for (size_t i = 0; i < sizeof n / sizeof *n; i++)
        if (!(*at[i] = calloc(n[i] + 1, sizeof(double))))
            return err_nomem(e, n[i] * sizeof(double), "factors of an adapter");
    return 0;
}

static void fill(struct factors *f, const struct lora_pair *p)
{
    size_t r = (size_t)p->r, r0 = f->k - r;
    bool same = p->B0 && r0 == r;
    for (size_t i = 0; i < f->out; i++) {
        double *row = f->left + i * f->k;
        for (size_t j = 0; j < r; j++)
            row[j] = (double)p->B[i * r + j] - (same ? (double)p->B0[i * r + j] : 0);
        for (size_t j = 0; j < r0; j++)
            row[r + j] = same ? (double)p->B0[i * r0 + j] : -(double)p->B0[i * r0 + j];
    }
    for (size_t j = 0; j < r; j++)
        for (size_t i = 0; i < f->in; i++)
            f->right[i * f->k + j] = p->A[j * f->in + i];
    for (size_t j = 0; j < r0; j++)
        for (size_t i = 0; i < f->in; i++)
            f->right[i * f->k + r + j] = (same ? (double)p->A[j * f->in + i] : 0) - (double)p->A0[j * f->in + i];
    if (!same)
        for (size_t j = 0; j < r0; j++)
            for (size_t i = 0; i < f->in; i++)
                f->right[i * f->k + r + j] = p->A0[j * f->in + i];
}

/* f->s, f->us, f->vt of the core; *rank of them; 0 when the change is zero. */
static int decompose(struct factors *f, size_t *rank, struct err *e)
{
    struct svd_matrix l = {f->left, DT_F64, f->out, f->k, f->k, false}, r = {f->right, DT_F64, f->in, f->k, f->k, false};
    int rc = svd_qr(&l, f->p, f->ql, f->ul, e);
    if (rc == 0)
        rc = svd_qr(&r, f->q, f->qr, f->ur, e);
    if (rc)
        return rc;
    double sum = 0;
    for (size_t i = 0; i < f->p; i++)
        for (size_t j = 0; j < f->q; j++) {
            double v = 0;
            for (size_t k = 0; k < f->k; k++)
                v += f->ul[i * f->k + k] * f->ur[j * f->k + k];
            f->core[i * f->q + j] = v;
            sum += v * v;
        }
    *rank = 0;
    if (sum == 0)
        return 0;
    *rank = f->p < f->q ? f->p : f->q;
    struct svd_matrix core = {f->core, DT_F64, f->p, f->q, f->q, false};
    return svd_truncated(&core, *rank, f->s, f->us, f->vt, NULL, e);
}

/* Columns of B' and rows of A' for the first n triplets. */
static void compose(const struct factors *f, size_t n, double scale, struct lora_pair *to)
{
    size_t R = (size_t)to->r;
    for (size_t j = 0; j < n && f->s[j] > 0; j++) {
        double root = sqrt(f->s[j]);
        for (size_t i = 0; i < f->out; i++) {
            double v = 0;
            for (size_t k = 0; k < f->p; k++)
                v += f->ql[i * f->p + k] * f->us[k * f->k + j];
            to->B[i * R + j] = (float)(scale * v / root);
        }
        for (size_t i = 0; i < f->in; i++) {
            double v = 0;
            for (size_t k = 0; k < f->q; k++)
                v += f->vt[j * f->q + k] * f->qr[i * f->q + k];
            to->A[j * f->in + i] = (float)(v * root);
        }
    }
}

static int one_module(const struct lora_pair *p, struct lora_pair *to, struct peft_module *m, struct err *e)
{
    struct factors f;
    size_t rank = 0, n;
    int rc = factors_new(&f, p, e);
    if (rc == 0) {
        fill(&f, p);
        rc = decompose(&f, &rank, e);
    }
    if (rc == 0) {
        /* svd_truncated lays us out (p, rank); spread it to rows of k */
        for (size_t i = f.p; i-- > 0;)
            memmove(f.us + i * f.k, f.us + i * rank, rank * sizeof(double));
        n = rank < (size_t)to->r ? rank : (size_t)to->r;
        compose(&f, n, p->scale, to);
        double all = 0, lost = 0;
        for (size_t i = rank; i-- > 0;) {
            all += f.s[i] * f.s[i];
            lost += i >= n ? f.s[i] * f.s[i] : 0;
        }
        if (m)
            *m = (struct peft_module){p->layer, p->mod, fabs((double)p->scale) * sqrt(all), all > 0 ? sqrt(lost / all) : 0};
    }
    factors_release(&f);
    return rc;
}

int peft_full_rank(const struct lora *l)
{
    int rank = 1;
    for (size_t i = 0; i < l->n; i++) {
        int k = l->pairs[i].r + (l->pairs[i].B0 ? l->pairs[i].r0 : 0);
        rank = k > rank ? k : rank;
    }
    return rank;
}

static struct js *target_names(const struct lora *l)
{
    static const enum module order[] = {MOD_Q, MOD_K, MOD_V, MOD_O, MOD_GATE, MOD_UP, MOD_DOWN, MOD_EMBED, MOD_HEAD};
    struct js *a = js_array();
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        for (size_t k = 0; k < l->n; k++)
            if (l->pairs[k].mod == order[i]) {
                js_push(a, js_new_cstr(module_name(order[i])));
                break;
            }
    return a;
}

static struct js *portable_config(const struct lora *l, int rank, const char *base_model)
{
    struct js *c = js_object();
    static const char *const off[] = {"fan_in_fan_out", "use_rslora", "use_dora"};
    static const char *const none[] = {"modules_to_save", "layers_to_transform", "layers_pattern", "revision"};
    int bad = js_set(c, "peft_type", js_new_cstr("LORA")) | js_set(c, "task_type", js_new_cstr("CAUSAL_LM")) |
              js_set(c, "base_model_name_or_path", base_model ? js_new_cstr(base_model) : js_new_null()) | js_set(c, "r", js_new_int(rank)) |
              js_set(c, "lora_alpha", js_new_int(rank)) | js_set(c, "lora_dropout", js_new_num(0)) | js_set(c, "bias", js_new_cstr("none")) |
              js_set(c, "target_modules", target_names(l)) | js_set(c, "inference_mode", js_new_bool(true)) |
              js_set(c, "init_lora_weights", js_new_bool(true)) | js_set(c, "rank_pattern", js_object()) | js_set(c, "alpha_pattern", js_object());
    for (size_t i = 0; i < sizeof off / sizeof *off; i++)
        bad |= js_set(c, off[i], js_new_bool(false));
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        bad |= js_set(c, none[i], js_new_null());
    if (bad) {
        js_free(c);
        return NULL;
    }
    return c;
}

int peft_portable(const struct lora *l, const struct model_config *c, int rank, const char *base_model, struct lora **out,
                  struct peft_module *errors, struct err *e)
{
    struct lora *x = NULL;
    int full = peft_full_rank(l);
    *out = NULL;
    if (rank < 0)
        return err_set(e, ERR_INPUT, "rank %d: a rank is at least 1", rank);
    int rc = lora_new(l->n, &x, e);
    for (size_t i = 0; rc == 0 && i < l->n; i++) {
        struct lora_pair *to = &x->pairs[i];
        to->layer = l->pairs[i].layer;
        to->mod = l->pairs[i].mod;
        to->r = rank ? rank : full;
        to->scale = 1;
        rc = lora_pair_alloc(to, c, 0, e);
        if (rc == 0)
            rc = one_module(&l->pairs[i], to, errors ? errors + i : NULL, e);
    }
    if (rc == 0 && !(x->config = portable_config(l, rank ? rank : full, base_model)))
        rc = err_nomem(e, 0, "adapter_config.json");
    if (rc == 0)
        rc = lora_index(x, c->num_hidden_layers, e);
    if (rc == 0)
        *out = x;
    else
        lora_free(x);
    return rc;
}
