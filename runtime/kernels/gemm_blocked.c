/* SPDX-License-Identifier: MIT
 *
 * gemm_blocked: see the header. A product goes in parallel steps: bands of B and rows of A into the caller's scratch, then
 * tiles of TILE x BAND through dense scratch to C. Memory is bounded: bands and rows are taken in groups of at most
 * GROUP_BYTES.
 */
#include "runtime/kernels/gemm_blocked.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/arena.h"
#include "runtime/exec/par.h"
#include "runtime/kernels/convert.h"
#include "runtime/kernels/panel.h"
#include "runtime/kernels/scratch.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum { BAND = 256, TILE = 256 /* rows of a work item */, PANEL = 1024, GROUP_BYTES = 48 << 20, WORTH_ROWS = 192, STREAM_BYTES = 4 << 20, ROWS_SLAB = 64 };

struct blocked {
    enum dtype t;
    size_t n, k, kc, panels, last; /* widths of a panel and of the last one */
    size_t bands, panel_bytes, band_bytes;
    const struct lib_layout *layout[2][2]; /* [last panel][last band, when narrower] */
};

/* bf16 on tile units: worth arranging operands for one call. */
static bool blocked_pays(enum dtype t)
{
    return t == DT_BF16 && lib_has_tiles();
}

/* n, k > 0; t: F32, or BF16 in hardware. */
static int blocked_init(struct blocked *b, size_t n, size_t k, enum dtype t, struct err *e)
{
    bool tiles = blocked_pays(t);
    size_t unit = tiles ? 32 : 1, units = (k + unit - 1) / unit;
    *b = (struct blocked){.t = t, .n = n, .k = k, .panels = tiles ? (k + PANEL - 1) / PANEL : 1, .bands = (n + BAND - 1) / BAND};
    size_t each = (units + b->panels - 1) / b->panels;
    b->panels = (units + each - 1) / each;
    b->kc = each * unit;
    b->last = (units - (b->panels - 1) * each) * unit;
    for (int p = 0; p < 2; p++)
        for (int w = 0; w < 2; w++) {
            size_t cols = w ? n % BAND : n < BAND ? 0 : BAND, rows = p ? b->last : b->kc;
            if (!cols || (!p && b->panels == 1))
                continue;
            int rc = lib_layout_get(cols, rows, t, &b->layout[p][w], e);
            if (rc)
                return rc;
            size_t bytes = (lib_layout_bytes(b->layout[p][w]) + 63) & ~(size_t)63;
            b->panel_bytes = bytes > b->panel_bytes ? bytes : b->panel_bytes;
        }
    b->band_bytes = b->panels * b->panel_bytes;
    return 0;
}

/* Columns. */
static size_t blocked_width(const struct blocked *b, size_t band)
{
    size_t left = b->n - band * BAND;
    return left < BAND ? left : BAND;
}

/* Elements of one row of A, all panels. */
static size_t blocked_row(const struct blocked *b)
{
    return (b->panels - 1) * b->kc + b->last;
}

static size_t panel_width(const struct blocked *b, size_t p)
{
    return p + 1 < b->panels ? b->kc : b->last;
}

/* How much of the panel's width holds numbers; the rest is zeros. */
static size_t panel_filled(const struct blocked *b, size_t p)
{
    size_t left = b->k - p * b->kc;
    return left < panel_width(b, p) ? left : panel_width(b, p);
}

static const struct lib_layout *layout(const struct blocked *b, size_t band, size_t p)
{
    return b->layout[p + 1 == b->panels][blocked_width(b, band) < BAND];
}

/* The last panel of a band, filled up with zeros, as (width, w) or, for GEMM_NT, (w, width). */
static void *fill_up(const struct blocked *b, enum gemm_form f, const char *src, size_t ld, size_t w, size_t p, struct err *e)
{
    size_t width = panel_width(b, p), have = panel_filled(b, p), es = dtype_size(b->t);
    char *full = scratch_get(SCRATCH_CONVERT, width * w * es, e);
    if (!full)
        return NULL;
    if (f == GEMM_NT)
        for (size_t j = 0; j < w; j++) {
            memcpy(full + j * width * es, src + j * ld * es, have * es);
            memset(full + (j * width + have) * es, 0, (width - have) * es);
        }
    else {
        for (size_t l = 0; l < have; l++)
            memcpy(full + l * w * es, src + l * ld * es, w * es);
        memset(full + have * w * es, 0, (width - have) * w * es);
    }
    return full;
}

/* One band of B to out (band_bytes, 64-byte aligned): src is (n, k) for GEMM_NT, (k, n) otherwise. SCRATCH_CONVERT. */
static int blocked_pack(const struct blocked *b, enum gemm_form f, const void *src, size_t ld, size_t band, void *out, struct err *e)
{
    size_t w = blocked_width(b, band), es = dtype_size(b->t);
    bool nt = f == GEMM_NT;
    for (size_t p = 0; p < b->panels; p++) {
        const char *x = (const char *)src + (nt ? band * BAND * ld + p * b->kc : p * b->kc * ld + band * BAND) * es;
        size_t stride = ld;
        if (panel_filled(b, p) < panel_width(b, p)) {
            x = fill_up(b, f, x, ld, w, p, e);
            stride = nt ? panel_width(b, p) : w;
        }
        int rc = x ? lib_pack(layout(b, band, p), x, nt ? 1 : stride, nt ? stride : 1, (char *)out + p * b->panel_bytes, e) : e->code;
        if (rc)
            return rc;
    }
    return 0;
}

/* c (count, width of the band) without gaps = rows first .. of A times the band. */
static int blocked_multiply(const struct blocked *b, size_t band, const void *packed, const void *a, size_t m, size_t first, size_t count,
                     float *c, struct err *e)
{
    size_t w = blocked_width(b, band), es = dtype_size(b->t);
    int rc = 0;
    for (size_t p = 0; p < b->panels && !rc; p++) {
        size_t width = panel_width(b, p);
        struct lib_shape s = {GEMM_NT, count, w, width, width, 0, w, b->t, p > 0};
        const char *rows = (const char *)a + (m * p * b->kc + first * width) * es;
        rc = lib_gemm(&s, layout(b, band, p), rows, (const char *)packed + p * b->panel_bytes, c, e);
    }
    return rc;
}

#ifdef __SSE2__
/* out[j][l] = a[l][j], 8 x 8, by three rounds of interleaving. */
static void transpose8(uint16_t *out, size_t ldo, const uint16_t *a, size_t lda)
{
    __m128i r[8], t[8];
    for (int i = 0; i < 8; i++)
        r[i] = _mm_loadu_si128((const __m128i *)(const void *)(a + (size_t)i * lda));
    for (int i = 0; i < 4; i++) {
        t[2 * i] = _mm_unpacklo_epi16(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm_unpackhi_epi16(r[2 * i], r[2 * i + 1]);
    }
    for (int i = 0; i < 2; i++) {
        r[4 * i] = _mm_unpacklo_epi32(t[4 * i], t[4 * i + 2]);
        r[4 * i + 1] = _mm_unpackhi_epi32(t[4 * i], t[4 * i + 2]);
        r[4 * i + 2] = _mm_unpacklo_epi32(t[4 * i + 1], t[4 * i + 3]);
        r[4 * i + 3] = _mm_unpackhi_epi32(t[4 * i + 1], t[4 * i + 3]);
    }
    for (int i = 0; i < 4; i++) {
        _mm_storeu_si128((__m128i *)(void *)(out + (size_t)(2 * i) * ldo), _mm_unpacklo_epi64(r[i], r[4 + i]));
        _mm_storeu_si128((__m128i *)(void *)(out + (size_t)(2 * i + 1) * ldo), _mm_unpackhi_epi64(r[i], r[4 + i]));
    }
}
#else
static void transpose8(uint16_t *out, size_t ldo, const uint16_t *a, size_t lda)
{
    for (size_t j = 0; j < 8; j++)
        for (size_t l = 0; l < 8; l++)
            out[j * ldo + l] = a[l * lda + j];
}
#endif

/* out (count, width) = a (k, count) transposed; zeros from k to width. */
static void transpose(uint16_t *out, size_t width, const uint16_t *a, size_t lda, size_t k, size_t count)
{
    size_t l8 = k & ~(size_t)7, j8 = count & ~(size_t)7;
    for (size_t j = 0; j < j8; j += 8)
        for (size_t l = 0; l < l8; l += 8)
            transpose8(out + j * width + l, width, a + l * lda + j, lda);
    for (size_t j = 0; j < count; j++) {
        for (size_t l = j < j8 ? l8 : 0; l < k; l++)
            out[j * width + l] = a[l * lda + j];
        memset(out + j * width + k, 0, (width - k) * sizeof *out);
    }
}

/* Rows first .. first + count of A, of m in all, to out (m * blocked_row elements): src is (k, m) for GEMM_TN (bf16 only),
 * (m, k) otherwise. */
static void blocked_rows(const struct blocked *b, enum gemm_form f, void *out, size_t m, const void *src, size_t ld, size_t first, size_t count)
{
    size_t es = dtype_size(b->t);
    for (size_t p = 0; p < b->panels; p++) {
        size_t width = panel_width(b, p), have = panel_filled(b, p), k0 = p * b->kc;
        char *y = (char *)out + (m * k0 + first * width) * es;
        if (f == GEMM_TN) {
            transpose((uint16_t *)(void *)y, width, (const uint16_t *)src + k0 * ld + first, ld, have, count);
            continue;
        }
        for (size_t r = 0; r < count; r++) {
            memcpy(y + r * width * es, (const char *)src + ((first + r) * ld + k0) * es, have * es);
            memset(y + (r * width + have) * es, 0, (width - have) * es);
        }
    }
}

/* What the parallel steps of one call share. Rows row0 .. of C are done, bands band0 .. in `bands`. */
struct job {
    enum gemm_form form;
    bool accumulate, stream;
    const struct blocked *b;
    const char *src_a, *src_b, *a; /* a: arranged, `rows` rows */
    char *at, *bands;
    float *c;
    size_t lda, ldb, ldc, row0, rows, band0, n_bands, row_tiles;
    struct first_err err;
};

static void pack_item(void *u, size_t i)
{
    struct job *j = u;
    struct err e = {0};
    if (blocked_pack(j->b, j->form, j->src_b, j->ldb, j->band0 + i, j->bands + i * j->b->band_bytes, &e))
        first_err_put(&j->err, &e);
}

static void rows_slab(void *u, size_t first, size_t count)
{
    struct job *j = u;
    const char *src = j->src_a + j->row0 * (j->form == GEMM_TN ? 1 : j->lda) * dtype_size(j->b->t);
    blocked_rows(j->b, j->form, j->at, j->rows, src, j->lda, first, count);
}

/* A tile to C. A large C is written past the caches: it will not be read from them, and need not be read to be written. */
static void store_tile(float *c, size_t ldc, const float *t, size_t rows, size_t w, bool stream)
{
#ifdef __SSE2__
    if (stream) {
        for (size_t r = 0; r < rows; r++, c += ldc, t += w) {
            size_t i = 0;
            for (; i < w && ((uintptr_t)(c + i) & 15); i++)
                c[i] = t[i];
            for (; i + 4 <= w; i += 4)
                _mm_stream_ps(c + i, _mm_loadu_ps(t + i));
            for (; i < w; i++)
                c[i] = t[i];
        }
        _mm_sfence();
        return;
    }
#endif
    (void)stream;
    for (size_t r = 0; r < rows; r++)
        memcpy(c + r * ldc, t + r * w, w * sizeof *t);
}

static void tile_item(void *u, size_t i)
{
    struct job *j = u;
    size_t r0 = i % j->row_tiles * TILE, band = i / j->row_tiles, rows = j->rows - r0 < TILE ? j->rows - r0 : TILE;
    size_t w = blocked_width(j->b, j->band0 + band);
    float *c = j->c + (j->row0 + r0) * j->ldc + (j->band0 + band) * BAND;
    struct err e = {0};
    float *t = scratch_get(SCRATCH_TILE, (size_t)TILE * BAND * sizeof *t, &e);
    int rc = t ? blocked_multiply(j->b, j->band0 + band, j->bands + band * j->b->band_bytes, j->a, j->rows, r0, rows, t, &e) : e.code;
    if (!rc && !j->accumulate)
        store_tile(c, j->ldc, t, rows, w, j->stream);
    for (size_t r = 0; r < rows && !rc && j->accumulate; r++)
        convert_add_row(c + r * j->ldc, t + r * w, w);
    if (rc)
        first_err_put(&j->err, &e);
}

/* Rows of A need no arranging when the source is that already. */
static bool rows_as_they_are(const struct job *j)
{
    return j->form != GEMM_TN && j->b->panels == 1 && j->lda == j->b->k && j->b->last == j->b->k;
}

static void take_rows(struct job *j, size_t row0, size_t rows)
{
    j->row0 = row0;
    j->rows = rows;
    j->row_tiles = (rows + TILE - 1) / TILE;
    if (rows_as_they_are(j))
        j->a = j->src_a + row0 * j->lda * dtype_size(j->b->t);
    else
        par_slabs(rows, ROWS_SLAB, rows_slab, j);
}

static void take_bands(struct job *j, size_t band0, size_t n, bool pack)
{
    j->band0 = band0;
    j->n_bands = n;
    if (pack)
        par_for(n, pack_item, j);
    if (!j->err.code)
        par_for(n * j->row_tiles, tile_item, j);
}

static size_t group_of(size_t n, size_t bytes_each)
{
    size_t g = GROUP_BYTES / bytes_each;
    return g < 1 ? 1 : g > n ? n : g;
}

/* C (m, n); B is arranged on the way unless j->bands holds all of it. */
static int run(struct job *j, size_t m, struct err *e)
{
    size_t row_bytes = blocked_row(j->b) * dtype_size(j->b->t), all = j->b->bands;
    bool copy = !rows_as_they_are(j), packed = j->bands != NULL;
    size_t rows = copy ? group_of(m, row_bytes) : m, bands = packed ? all : group_of(all, j->b->band_bytes);
    size_t a_bytes = copy ? (rows * row_bytes + 63) & ~(size_t)63 : 0;
    char *p = scratch_get(SCRATCH_CALL, a_bytes + (packed ? 0 : bands * j->b->band_bytes), e);
    if (!p)
        return e->code;
    j->a = j->at = p;
    j->stream = m * j->b->n * sizeof *j->c > STREAM_BYTES;
    if (!packed)
        j->bands = p + a_bytes;
    for (size_t r = 0; r < m; r += rows) {
        take_rows(j, r, m - r < rows ? m - r : rows);
        for (size_t i = 0; i < all; i += bands)
            take_bands(j, i, all - i < bands ? all - i : bands, !packed && (r == 0 || bands < all));
    }
    return first_err_get(&j->err, e);
}

int blocked_gemm(const struct lib_shape *s, const void *a, const void *b, float *c, struct err *e)
{
    if (!blocked_pays(s->t) || s->m < WORTH_ROWS || s->n < 64 || s->k < 64)
        return 1;
    struct blocked bl;
    int rc = blocked_init(&bl, s->n, s->k, s->t, e);
    struct job j = {.form = s->form, .accumulate = s->accumulate, .b = &bl, .src_a = a, .src_b = b, .c = c,
                    .lda = s->lda, .ldb = s->ldb, .ldc = s->ldc};
    return rc ? rc : run(&j, s->m, e);
}

struct gemm_packed {
    size_t n, k;
    enum dtype x_type; /* of the products' left side */
    struct blocked b;  /* unset when n or k is 0, and in panels */
    bool in_panels;    /* data is laid out as panel.h says */
    size_t bytes;
    char *data;
};

struct packing {
    const struct gemm_packed *w;
    const char *src;
    struct first_err err;
};

/* A band; by way of f32 where bf16 is not in hardware. */
static void pack_weight(void *u, size_t i)
{
    struct packing *p = u;
    const struct gemm_packed *w = p->w;
    size_t n = blocked_width(&w->b, i), k = w->k;
    char *out = w->data + i * w->b.band_bytes;
    struct err e = {0};
    int rc = 0;
    if (w->b.t == w->x_type) {
        rc = blocked_pack(&w->b, GEMM_NT, p->src, k, i, out, &e);
    } else {
        float *f = scratch_get(SCRATCH_TILE, n * k * sizeof *f, &e);
        rc = f ? 0 : e.code;
        if (f) {
            convert_bf16_row(f, (const uint16_t *)(const void *)p->src + i * BAND * k, n * k);
            rc = lib_pack(layout(&w->b, i, 0), f, 1, k, out, &e);
        }
    }
    if (rc)
        first_err_put(&p->err, &e);
}

bool gemm_pack_joins(enum dtype t, size_t k)
{
    return t == DT_BF16 && panel_pays(k);
}

int gemm_pack(const void *w, size_t n, size_t k, enum dtype t, struct gemm_packed **out, struct err *e)
{
    *out = NULL;
    struct gemm_packed *p = calloc(1, sizeof *p);
    if (!p)
        return err_nomem(e, sizeof *p, "a packed weight");
    p->n = n, p->k = k, p->x_type = t;
    int rc = 0;
    p->in_panels = n && k && gemm_pack_joins(t, k);
    if (p->in_panels) {
        p->bytes = panel_bytes(n, k);
        if (!(p->data = big_alloc(p->bytes)))
            rc = err_nomem(e, p->bytes, "a packed weight");
        else
            panel_pack(w, n, k, (uint16_t *)(void *)p->data);
    } else if (n && k) {
        struct packing job = {.w = p, .src = w};
        rc = blocked_init(&p->b, n, k, t == DT_BF16 && !gemm_has_bf16() ? DT_F32 : t, e);
        p->bytes = rc ? 0 : p->b.bands * p->b.band_bytes;
        if (!rc && !(p->data = big_alloc(p->bytes)))
            rc = err_nomem(e, p->bytes, "a packed weight");
        if (!rc) {
            par_for(p->b.bands, pack_weight, &job);
            rc = first_err_get(&job.err, e);
        }
    }
    if (rc)
        gemm_packed_free(p);
    else
        *out = p;
    return rc;
}

void gemm_packed_free(struct gemm_packed *w)
{
    if (!w)
        return;
    if (w->data)
        big_free(w->data, w->bytes);
    free(w);
}

size_t gemm_packed_bytes(const struct gemm_packed *w)
{
    return sizeof *w + w->bytes;
}

int gemm_nt_packed(size_t m, const void *x, size_t ldx, const struct gemm_packed *w, bool accumulate, float *y, size_t ldy,
                   struct err *e)
{
    if (w->in_panels) {
        struct panel_job part = {.w = (const uint16_t *)(const void *)w->data, .n = w->n, .accumulate = accumulate, .y = y, .ldy = ldy};
        panel_nt(m, w->k, x, ldx, &part, 1);
        return 0;
    }
    if (!m || !w->n || !w->k)
        return gemm_serial(GEMM_NT, m, w->n, w->k, w->x_type, x, ldx, NULL, 0, accumulate, y, ldy, e);
    struct job j = {.form = GEMM_NT, .accumulate = accumulate, .b = &w->b, .src_a = x, .bands = w->data, .c = y, .lda = ldx, .ldc = ldy};
    float *f = NULL;
    if (w->b.t != w->x_type) { /* bf16 activations for a weight that became f32 */
        if (!(f = malloc(m * w->k * sizeof *f)))
            return err_nomem(e, m * w->k * sizeof *f, "activations in f32");
        for (size_t r = 0; r < m; r++)
            convert_bf16_row(f + r * w->k, (const uint16_t *)x + r * ldx, w->k);
        j.src_a = (const char *)f;
        j.lda = w->k;
    }
    int rc = run(&j, m, e);
    free(f);
    return rc;
}

bool gemm_packed_joins(const struct gemm_packed *w)
{
    return w && w->in_panels;
}

void gemm_nt_parts(size_t m, const void *x, size_t ldx, const struct gemm_part *parts, size_t n)
{
    struct panel_job jobs[GEMM_PARTS];
    for (size_t i = 0; i < n; i++) {
        const struct gemm_part *p = &parts[i];
        jobs[i] = (struct panel_job){.w = (const uint16_t *)(const void *)p->w->data, .n = p->w->n, .bias = p->bias, .accumulate = p->accumulate,
                                     .y = p->y, .ldy = p->w->n, .up = p->up ? (const uint16_t *)(const void *)p->up->data : NULL, .half = p->half};
    }
    panel_nt(m, parts[0].w->k, x, ldx, jobs, n);
}
