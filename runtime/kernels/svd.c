/* SPDX-License-Identifier: MIT */
#include "runtime/kernels/svd.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/arena.h"
#include "runtime/base/rng.h"
#include "runtime/exec/par.h"
#include "runtime/kernels/blas.h"
#include "runtime/kernels/vmath.h"

enum {
    CHUNK = 1024,   /* lines of the long side converted to f64 at a time */
    TILE = 512,     /* of the Gram matrix, at most */
    SMALL = 1000,   /* up to this size LAPACK's eigensolver is as fast as Lanczos, or faster */
    BLOCK_MIN = 16, /* Lanczos block */
    BLOCK_MAX = 64,
    FIRST_LOOK = 4, /* blocks before Ritz vectors are looked at, and the most between two looks */
    LOOK_MAX = 8,
};

/* The matrix seen with its long side as p lines of q elements: p >= q. along: the elements of a line are contiguous. */
struct lines {
    const struct svd_matrix *a;
    size_t p, q;
    bool swapped; /* lines are the columns of the (m, n) matrix */
    bool along;
};

static struct lines lines_of(const struct svd_matrix *a)
{
    bool swapped = a->m < a->n;
    return (struct lines){a, swapped ? a->n : a->m, swapped ? a->m : a->n, swapped, swapped == a->transposed};
}

/* A piece of lines in f64: (n, q) when along, else (q, n), rows ld apart. */
struct piece {
    const struct lines *l;
    size_t first, n;
    double *x;
};

static size_t piece_rows(const struct piece *c)
{
    return c->l->along ? c->n : c->l->q;
}

static size_t piece_ld(const struct piece *c)
{
    return c->l->along ? c->l->q : c->n;
}

VECTOR static void f32_to_f64(double *restrict out, const float *restrict in, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        out[i] = in[i];
}

VECTOR static void bf16_to_f64(double *restrict out, const uint16_t *restrict in, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        out[i] = bf16_to_f32(in[i]);
}

static void to_f64(double *out, const void *in, enum dtype t, size_t n)
{
    switch (t) {
    case DT_F64:
        memcpy(out, in, n * sizeof *out);
        break;
    case DT_F32:
        f32_to_f64(out, in, n);
        break;
    case DT_BF16:
        bf16_to_f64(out, in, n);
        break;
    default: /* DT_F16: the caller checked */
        for (size_t i = 0; i < n; i++)
            out[i] = f16_to_f32(((const uint16_t *)in)[i]);
    }
}

static void fill_rows(void *u, size_t first, size_t count)
{
    const struct piece *c = u;
    const struct svd_matrix *a = c->l->a;
    size_t w = piece_ld(c), size = dtype_size(a->t);
    for (size_t i = first; i < first + count; i++) {
        size_t row = c->l->along ? c->first + i : i, col = c->l->along ? 0 : c->first;
        to_f64(c->x + i * w, (const char *)a->data + (row * a->ld + col) * size, a->t, w);
    }
}

static void fill(struct piece *c, const struct lines *l, size_t first)
{
    c->l = l;
    c->first = first;
    c->n = l->p - first < CHUNK ? l->p - first : CHUNK;
    par_slabs(piece_rows(c), 32, fill_rows, c);
}

/* ---- Gram matrix ---- */

struct gram {
    const struct piece *c;
    double *g;           /* (q, q); tiles on and above the diagonal */
    size_t tile, tiles;
};

static void gram_tile(void *u, size_t t)
{
    const struct gram *x = u;
    size_t q = x->c->l->q, i = 0;
    while (t >= x->tiles - i)
        t -= x->tiles - i++;
    size_t j = i + t, r = i * x->tile, c = j * x->tile, h = q - r < x->tile ? q - r : x->tile, w = q - c < x->tile ? q - c : x->tile,
           ld = piece_ld(x->c);
    bool along = x->c->l->along;
    const double *a = x->c->x + (along ? r : r * ld), *b = x->c->x + (along ? c : c * ld);
    double *g = x->g + r * q + c;
    if (i == j)
        blas.cblas_dsyrk(CblasRowMajor, CblasUpper, along ? CblasTrans : CblasNoTrans, (int)h, (int)x->c->n, 1.0, a, (int)ld, 1.0, g, (int)q);
    else
        blas.cblas_dgemm(CblasRowMajor, along ? CblasTrans : CblasNoTrans, along ? CblasNoTrans : CblasTrans, (int)h, (int)w, (int)x->c->n, 1.0,
                         a, (int)ld, b, (int)ld, 1.0, g, (int)q);
}

static void mirror(double *g, size_t q)
{
    for (size_t i = 0; i < q; i++)
        for (size_t j = 0; j < i; j++)
            g[i * q + j] = g[j * q + i];
}

/* g (q, q) = sum over lines of line^T line. */
static int gram_matrix(const struct lines *l, double *g, double *buf, struct err *e)
{
    struct piece c = {.x = buf};
    struct gram x = {.c = &c, .g = g, .tiles = (l->q + TILE - 1) / TILE};
    x.tile = (l->q + x.tiles - 1) / x.tiles;
    for (size_t first = 0; first < l->p; first += CHUNK) {
        fill(&c, l, first);
        par_for(x.tiles * (x.tiles + 1) / 2, gram_tile, &x);
    }
    double trace = 0;
    for (size_t i = 0; i < l->q; i++)
        trace += g[i * l->q + i];
    if (!isfinite(trace))
        return err_set(e, ERR_INPUT, "the matrix holds a value that is not finite, or overflows when squared");
    mirror(g, l->q);
    return 0;
}

/* y (p, r) = lines * v (q, r). */
static void project(const struct lines *l, const double *v, size_t r, double *y, double *buf)
{
    struct piece c = {.x = buf};
    for (size_t first = 0; first < l->p; first += CHUNK) {
        fill(&c, l, first);
        blas.cblas_dgemm(CblasRowMajor, l->along ? CblasNoTrans : CblasTrans, CblasNoTrans, (int)c.n, (int)r, (int)l->q, 1.0,
                    c.x, (int)piece_ld(&c), v, (int)r, 0.0, y + first * r, (int)r);
    }
}

/* ---- small dense problems, column-major ---- */

static int lapack_failed(struct err *e, const char *what, int info)
{
    return err_set(e, ERR_INTERNAL, "LAPACK's %s gave up (info %d)", what, info);
}

/* The k largest eigenvalues of the symmetric g (n, n), destroyed: w (k) descending, z column-major (n, k) in that
 * order. */
static int eigen(double *g, size_t n, size_t k, double *w, double *z, struct err *e)
{
    int in = (int)n, il = (int)(n - k + 1), iu = in, found = 0, info = 0, lwork = -1, liwork = -1, isize = 0, rc = 0;
    double zero = 0, size = 0, *work = NULL, *all = malloc(n * sizeof *all);
    int *support = malloc(2 * n * sizeof *support), *iwork = NULL;
    const char *range = k == n ? "A" : "I";
    if (!all || !support) {
        rc = err_nomem(e, n * 16, "eigenvalues");
        goto out;
    }
    blas.dsyevr_("V", range, "L", &in, g, &in, &zero, &zero, &il, &iu, &zero, &found, all, z, &in, support, &size, &lwork,
            &isize, &liwork, &info);
    lwork = (int)size;
    liwork = isize;
    work = malloc((size_t)lwork * sizeof *work);
    iwork = malloc((size_t)liwork * sizeof *iwork);
    if (!work || !iwork) {
        rc = err_nomem(e, (unsigned long long)lwork * 8, "eigenvectors");
        goto out;
    }
    blas.dsyevr_("V", range, "L", &in, g, &in, &zero, &zero, &il, &iu, &zero, &found, all, z, &in, support, work, &lwork,
            iwork, &liwork, &info);
    if (info || found != (int)k) {
        rc = lapack_failed(e, "dsyevr", info);
        goto out;
    }
    for (size_t i = 0; i < k; i++)
        w[i] = all[k - 1 - i];
    for (size_t i = 0; i < k / 2; i++)
        for (size_t j = 0; j < n; j++) {
            double t = z[i * n + j];
            z[i * n + j] = z[(k - 1 - i) * n + j];
            z[(k - 1 - i) * n + j] = t;
        }
out:
    free(all);
    free(support);
    free(work);
    free(iwork);
    return rc;
}

/* a column-major (m, n), m >= n, becomes Q; upper triangle R, column-major (n, n), unless NULL. */
static int qr(double *a, size_t m, size_t n, double *r, struct err *e)
{
    int im = (int)m, in = (int)n, info = 0, lwork = -1, rc = 0;
    double one = 0, two = 0, *tau = malloc(n * sizeof *tau), *work = NULL;
    if (!tau) {
        rc = err_nomem(e, n * 8, "QR");
        goto out;
    }
    blas.dgeqrf_(&im, &in, a, &im, tau, &one, &lwork, &info);
    blas.dorgqr_(&im, &in, &in, a, &im, tau, &two, &lwork, &info);
    lwork = (int)(one > two ? one : two);
    work = malloc((size_t)lwork * sizeof *work);
    if (!work) {
        rc = err_nomem(e, (unsigned long long)lwork * 8, "QR");
        goto out;
    }
    blas.dgeqrf_(&im, &in, a, &im, tau, work, &lwork, &info);
    if (!info && r)
        for (size_t j = 0; j < n; j++)
            for (size_t i = 0; i < n; i++)
                r[j * n + i] = i <= j ? a[j * m + i] : 0;
    if (!info)
        blas.dorgqr_(&im, &in, &in, a, &im, tau, work, &lwork, &info);
    if (info)
        rc = lapack_failed(e, "QR", info);
out:
    free(tau);
    free(work);
    return rc;
}

/* a column-major (n, n), destroyed = u diag(s) vt, all column-major. */
static int small_svd(double *a, size_t n, double *s, double *u, double *vt, struct err *e)
{
    int in = (int)n, info = 0, lwork = -1;
    double size = 0;
    blas.dgesvd_("A", "A", &in, &in, a, &in, s, u, &in, vt, &in, &size, &lwork, &info);
    lwork = (int)size;
    double *work = malloc((size_t)lwork * sizeof *work);
    if (!work)
        return err_nomem(e, (unsigned long long)lwork * 8, "a small SVD");
    blas.dgesvd_("A", "A", &in, &in, a, &in, s, u, &in, vt, &in, work, &lwork, &info);
    free(work);
    return info ? lapack_failed(e, "dgesvd", info) : 0;
}

/* ---- block Lanczos on the Gram matrix, column-major ---- */

struct krylov {
    const double *g; /* (q, q) */
    size_t q, b, k, max;
    double *basis; /* (q, max) orthonormal columns, k of them so far */
    double *image; /* (q, max) = g * basis */
    double *h;     /* (max, max) = basis^T image */
    double *small, *w, *y,
        *x; /* (max, max) copy of h; Ritz values; vectors (max, r + 1); work (q, r + 1) or (max, b) */
};

static void krylov_release(struct krylov *k)
{
    free(k->basis);
    free(k->image);
    free(k->h);
    free(k->small);
    free(k->w);
    free(k->y);
    free(k->x);
}

static int krylov_init(struct krylov *k, const double *g, size_t q, size_t r, struct err *e)
{
    size_t b = r + 4 < BLOCK_MIN ? BLOCK_MIN : r + 4 > BLOCK_MAX ? BLOCK_MAX : r + 4, max = 24 * b + 8 * r;
    max = max < q / 4 * 3 ? max : q / 4 * 3;
    max -= max % b;
    size_t wide = r + 1 > b ? r + 1 : b;
    *k = (struct krylov){.g = g, .q = q, .b = b, .max = max};
    k->basis = malloc(q * max * sizeof(double));
    k->image = malloc(q * max * sizeof(double));
    k->h = calloc(max * max, sizeof(double));
    k->small = malloc(max * max * sizeof(double));
    k->w = malloc(max * sizeof(double));
    k->y = malloc(max * (r + 1) * sizeof(double));
    k->x = malloc(q * wide * sizeof(double));
    if (!k->basis || !k->image || !k->h || !k->small || !k->w || !k->y || !k->x)
        return err_nomem(e, 2ull * q * max * 8, "Lanczos vectors");
    return 0;
}

/* block (q, b) -= basis * (basis^T * block), twice with a QR between: as orthogonal as f64 can be. */
static int append(struct krylov *k, double *block, struct err *e)
{
    for (int pass = 0; pass < 2; pass++) {
        if (k->k) {
            blas.cblas_dgemm(CblasColMajor, CblasTrans, CblasNoTrans, (int)k->k, (int)k->b, (int)k->q, 1.0, k->basis,
                        (int)k->q, block, (int)k->q, 0.0, k->small, (int)k->k);
            blas.cblas_dgemm(CblasColMajor, CblasNoTrans, CblasNoTrans, (int)k->q, (int)k->b, (int)k->k, -1.0, k->basis,
                        (int)k->q, k->small, (int)k->k, 1.0, block, (int)k->q);
        }
        if (qr(block, k->q, k->b, NULL, e))
            return e->code;
    }
    double *image = k->image + k->k * k->q;
    memcpy(k->basis + k->k * k->q, block, k->q * k->b * sizeof *block);
    blas.cblas_dgemm(CblasColMajor, CblasNoTrans, CblasNoTrans, (int)k->q, (int)k->b, (int)k->q, 1.0, k->g, (int)k->q, block,
                (int)k->q, 0.0, image, (int)k->q);
    k->k += k->b;
    blas.cblas_dgemm(CblasColMajor, CblasTrans, CblasNoTrans, (int)k->k, (int)k->b, (int)k->q, 1.0, k->basis, (int)k->q,
                image, (int)k->q, 0.0, k->h + (k->k - k->b) * k->max, (int)k->max);
    return 0;
}

/* Ritz pairs of the basis. *far: the residual over what it should be: 1e-7 of the gap below the r leading ones, so that the sine of the
 * angle between their span and the exact one is at most sqrt(r) 1e-7, or as good as f64 can tell. z (q, r): the vectors. */
static int ritz(struct krylov *k, size_t r, double *z, double *far, struct err *e)
{
    size_t n = k->k;
    for (size_t j = 0; j < n; j++) /* the lower triangle, from the columns above the diagonal */
        for (size_t i = 0; i <= j; i++)
            k->small[i * n + j] = k->small[j * n + i] = k->h[j * k->max + i];
    if (eigen(k->small, n, r + 1, k->w, k->y, e))
        return e->code;
    blas.cblas_dgemm(CblasColMajor, CblasNoTrans, CblasNoTrans, (int)k->q, (int)r, (int)n, 1.0, k->basis, (int)k->q, k->y,
                (int)n, 0.0, z, (int)k->q);
    blas.cblas_dgemm(CblasColMajor, CblasNoTrans, CblasNoTrans, (int)k->q, (int)r, (int)n, 1.0, k->image, (int)k->q, k->y,
                (int)n, 0.0, k->x, (int)k->q);
    double gap = k->w[r - 1] - k->w[r], worst = 0;
    for (size_t i = 0; i < r; i++) {
        double sum = 0;
        for (size_t j = 0; j < k->q; j++) {
            double d = k->x[i * k->q + j] - k->w[i] * z[i * k->q + j];
            sum += d * d;
        }
        worst = sqrt(sum) > worst ? sqrt(sum) : worst;
    }
    double goal = fmax(1e-7 * gap, 1e-14 * k->w[0]);
    *far = worst <= goal || k->w[0] <= 0 ? 0 : worst / goal;
    return 0;
}

/* Blocks until it is worth looking again, when `far` was `before` some blocks ago: convergence is taken for geometric. */
static size_t look_again(double before, double far, size_t blocks)
{
    double each = before > far ? log(before / far) / (double)blocks : 0;
    double need = each > 0 ? ceil(log(far) / each) : LOOK_MAX;
    return need < 1 ? 1 : need > LOOK_MAX ? LOOK_MAX : (size_t)need;
}

/* The r leading eigenvectors of g, column-major (q, r). *done is false when the basis filled up first. */
static int lanczos(const double *g, size_t q, size_t r, double *z, bool *done, struct err *e)
{
    struct krylov k;
    *done = false;
    int rc = krylov_init(&k, g, q, r, e);
    double *block = rc ? NULL : malloc(q * k.b * sizeof *block);
    if (!rc && !block)
        rc = err_nomem(e, q * k.b * 8, "Lanczos vectors");
    if (rc)
        goto out;
    for (size_t i = 0; i < q * k.b; i++)
        block[i] = rng_normal(0x5eed, 0x73766400, i);
    double before = 0, far = 0;
    for (size_t look = FIRST_LOOK, last = 0; k.k + k.b <= k.max && !*done;) {
        if ((rc = append(&k, block, e)))
            goto out;
        memcpy(block, k.image + (k.k - k.b) * q, q * k.b * sizeof *block);
        size_t blocks = k.k / k.b;
        if (k.k <= r || (blocks < look && k.k + k.b <= k.max))
            continue;
        if ((rc = ritz(&k, r, z, &far, e)))
            goto out;
        *done = far == 0;
        look = blocks + (before > 0 && !*done ? look_again(before, far, blocks - last) : FIRST_LOOK);
        before = far;
        last = blocks;
    }
out:
    krylov_release(&k);
    free(block);
    return rc;
}

static bool by_lanczos(size_t q, size_t r)
{
    return q > SMALL && r * 6 <= q;
}

/* v row-major (q, r): the leading eigenvectors of g, which may be destroyed. */
static int leading(double *g, size_t q, size_t r, double *v, struct err *e)
{
    double *z = malloc(q * r * sizeof *z), *w = malloc(r * sizeof *w);
    bool done = false;
    int rc = 0;
    if (!z || !w) {
        rc = err_nomem(e, q * r * 8, "singular vectors");
        goto out;
    }
    if (by_lanczos(q, r))
        rc = lanczos(g, q, r, z, &done, e);
    if (!rc && !done)
        rc = eigen(g, q, r, w, z, e);
    for (size_t i = 0; i < q && !rc; i++)
        for (size_t j = 0; j < r; j++)
            v[i * r + j] = z[j * q + i];
out:
    free(z);
    free(w);
    return rc;
}

/* ---- the triplets ---- */

static int check(const struct svd_matrix *a, size_t r, struct err *e)
{
    if (a->t != DT_F32 && a->t != DT_BF16 && a->t != DT_F16 && a->t != DT_F64)
        return err_set(e, ERR_INPUT, "a matrix of type %s cannot be factored", dtype_name(a->t));
    if (!r || r > a->m || r > a->n)
        return err_set(e, ERR_INPUT, "rank %zu of a %zu x %zu matrix: it must be between 1 and %zu", r, a->m, a->n,
                       a->m < a->n ? a->m : a->n);
    if (a->m > INT_MAX || a->n > INT_MAX || a->ld > INT_MAX)
        return err_set(e, ERR_UNSUPPORTED, "a %zu x %zu matrix is too large to be factored", a->m, a->n);
    if (blas_load(e))
        return e->code;
    blas.openblas_set_num_threads(1); /* our slabs are the parallelism: the same bytes for any number of threads */
    return 0;
}

/* long side (p, r) and short side (q, r), row-major: lines ~ q_s a_s ... From y = lines * v: y = Q R, R = u s w^T, so
 * the lines' leading triplets are Q u, s, v w. On return y holds Q u and v holds v w. */
static int rotate(double *y, size_t p, double *v, size_t q, size_t r, double *s, struct err *e)
{
    double *col = malloc(p * r * sizeof *col), *small = malloc(3 * r * r * sizeof *small),
           *copy = malloc(q * r * sizeof *copy);
    int rc = 0;
    if (!col || !small || !copy) {
        rc = err_nomem(e, p * r * 8, "singular vectors");
        goto out;
    }
    double *u = small + r * r, *wt = u + r * r;
    for (size_t i = 0; i < p; i++)
        for (size_t j = 0; j < r; j++)
            col[j * p + i] = y[i * r + j];
    if ((rc = qr(col, p, r, small, e)) || (rc = small_svd(small, r, s, u, wt, e)))
        goto out;
    /* u is column-major: row-major it is u^T */
    blas.cblas_dgemm(CblasRowMajor, CblasTrans, CblasTrans, (int)p, (int)r, (int)r, 1.0, col, (int)p, u, (int)r, 0.0, y,
                (int)r);
    memcpy(copy, v, q * r * sizeof *v);
    blas.cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)q, (int)r, (int)r, 1.0, copy, (int)r, wt, (int)r, 0.0,
                v, (int)r);
out:
    free(col);
    free(small);
    free(copy);
    return rc;
}

/* us and vt from the long and the short vectors, signs fixed. */
static void deliver(const struct lines *l, const double *y, const double *v, size_t r, const double *s, double *us,
                    double *vt)
{
    size_t m = l->swapped ? l->q : l->p, n = l->swapped ? l->p : l->q;
    const double *left = l->swapped ? v : y, *right = l->swapped ? y : v;
    for (size_t k = 0; k < r; k++) {
        double top = 0, sign = 1;
        for (size_t j = 0; j < n; j++)
            if (fabs(right[j * r + k]) > top) {
                top = fabs(right[j * r + k]);
                sign = right[j * r + k] < 0 ? -1 : 1;
            }
        for (size_t j = 0; j < n; j++)
            vt[k * n + j] = sign * right[j * r + k];
        for (size_t i = 0; i < m; i++)
            us[i * r + k] = sign * s[k] * left[i * r + k];
    }
}

int svd_truncated(const struct svd_matrix *a, size_t r, double *s, double *us, double *vt, double *energy,
                  struct err *e)
{
    if (check(a, r, e))
        return e->code;
    struct lines l = lines_of(a);
    size_t gram = l.q * l.q * sizeof(double), piece = l.q * CHUNK * sizeof(double);
    double *g = big_alloc(gram), *buf = big_alloc(piece), *v = malloc(l.q * r * sizeof *v),
           *y = malloc(l.p * r * sizeof *y);
    int rc = 0;
    if (!g || !buf || !v || !y) {
        rc = err_nomem(e, gram + piece, "an SVD");
        goto out;
    }
    if ((rc = gram_matrix(&l, g, buf, e)))
        goto out;
    if (energy) {
        *energy = 0;
        for (size_t i = 0; i < l.q; i++)
            *energy += g[i * l.q + i];
    }
    if ((rc = leading(g, l.q, r, v, e)))
        goto out;
    project(&l, v, r, y, buf);
    if ((rc = rotate(y, l.p, v, l.q, r, s, e)))
        goto out;
    deliver(&l, y, v, r, s, us, vt);
out:
    big_free(g, gram);
    big_free(buf, piece);
    free(v);
    free(y);
    return rc;
}

int svd_qr(const struct svd_matrix *a, size_t r, double *q, double *u, struct err *e)
{
    if (check(a, r, e))
        return e->code;
    double *col = malloc(a->m * r * sizeof *col), *line = malloc(a->n * sizeof *line);
    size_t size = dtype_size(a->t);
    int rc = 0;
    if (!col || !line) {
        rc = err_nomem(e, a->m * r * 8, "QR");
        goto out;
    }
    for (size_t i = 0; i < a->m; i++)
        for (size_t j = 0; j < r; j++)
            to_f64(&col[j * a->m + i], (const char *)a->data + (a->transposed ? j * a->ld + i : i * a->ld + j) * size,
                   a->t, 1);
    for (size_t i = 0; i < a->m * r; i++)
        if (!isfinite(col[i])) {
            rc = err_set(e, ERR_INPUT, "the matrix holds a value that is not finite");
            goto out;
        }
    if ((rc = qr(col, a->m, r, NULL, e)))
        goto out;
    memset(u, 0, r * a->n * sizeof *u);
    for (size_t i = 0; i < a->m; i++) {
        for (size_t j = 0; j < r; j++)
            q[i * r + j] = col[j * a->m + i];
        if (!a->transposed)
            to_f64(line, (const char *)a->data + i * a->ld * size, a->t, a->n);
        else
            for (size_t j = 0; j < a->n; j++)
                to_f64(&line[j], (const char *)a->data + (j * a->ld + i) * size, a->t, 1);
        blas.cblas_dger(CblasRowMajor, (int)r, (int)a->n, 1.0, q + i * r, 1, line, 1, u, (int)a->n);
    }
out:
    free(col);
    free(line);
    return rc;
}

uint64_t svd_memory(size_t m, size_t n, size_t r)
{
    uint64_t p = m > n ? m : n, q = m > n ? n : m, basis = 24 * (r + 16) + 8 * r, lapack = 80 * q; /* (nb + 6) n, nb at most 64 */
    if (basis > q / 4 * 3)
        basis = q / 4 * 3;
    if (!by_lanczos(q, r))
        basis = 0;
    return 8 * (q * q + q * CHUNK + 2 * (p + q) * r + 2 * q * basis + 2 * basis * basis + lapack);
}

double svd_flops(size_t m, size_t n, size_t r)
{
    double p = m > n ? m : n, q = m > n ? n : m;
    return p * q * q + 4.0 * q * q * q / 10 + 2 * p * q * r + 4 * p * r * r;
}
