/* SPDX-License-Identifier: MIT
 *
 * gemm_blocked: see the header. A product goes in two parallel steps: bands of B (and rows of a transposed A) into the
 * caller's scratch, then tiles of ROWS x BAND. Memory is bounded: bands and rows are taken in groups of at most GROUP_BYTES.
 */
#include "runtime/kernels/gemm_blocked.h"

#include <string.h>

#include "runtime/exec/par.h"
#include "runtime/kernels/convert.h"
#include "runtime/kernels/scratch.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum { ROWS = 256, GROUP_BYTES = 48 << 20, WORTH_ROWS = 192, TRANSPOSE_ROWS = 64 };

bool blocked_wanted(enum dtype t)
{
    return t == DT_BF16 && lib_has_tiles();
}

int blocked_init(struct blocked *b, size_t n, size_t k, struct err *e)
{
    *b = (struct blocked){.n = n, .k = k, .kp = (k + 31) & ~(size_t)31, .bands = (n + BAND - 1) / BAND};
    size_t tail = n % BAND, widest = 0;
    int rc = 0;
    if (n >= BAND && (rc = lib_layout_get(BAND, b->kp, DT_BF16, &b->full, e)))
        return rc;
    if (tail && (rc = lib_layout_get(tail, b->kp, DT_BF16, &b->tail, e)))
        return rc;
    widest = b->full ? lib_layout_bytes(b->full) : lib_layout_bytes(b->tail);
    b->band_bytes = (widest + 63) & ~(size_t)63;
    return 0;
}

size_t blocked_width(const struct blocked *b, size_t i)
{
    size_t left = b->n - i * BAND;
    return left < BAND ? left : BAND;
}

static const struct lib_layout *layout(const struct blocked *b, size_t i)
{
    return blocked_width(b, i) == BAND ? b->full : b->tail;
}

int blocked_pack(const struct blocked *b, enum gemm_form f, const void *src, size_t ld, size_t i, void *out, struct err *e)
{
    size_t w = blocked_width(b, i);
    const uint16_t *x = src;
    if (f == GEMM_NT)
        return lib_pack(layout(b, i), x + i * BAND * ld, 1, ld, out, e);
    if (b->k == b->kp)
        return lib_pack(layout(b, i), x + i * BAND, ld, 1, out, e);
    uint16_t *full = scratch_get(SCRATCH_CONVERT, b->kp * w * sizeof *full, e);
    if (!full)
        return e->code;
    for (size_t l = 0; l < b->k; l++)
        memcpy(full + l * w, x + l * ld + i * BAND, w * sizeof *full);
    memset(full + b->k * w, 0, (b->kp - b->k) * w * sizeof *full);
    return lib_pack(layout(b, i), full, w, 1, out, e);
}

int blocked_multiply(const struct blocked *b, size_t i, size_t m, const void *a, const void *band, float *c, struct err *e)
{
    size_t w = blocked_width(b, i);
    struct lib_shape s = {GEMM_NT, m, w, b->kp, b->kp, 0, w, DT_BF16, false};
    return lib_gemm(&s, layout(b, i), a, band, c, e);
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

void blocked_transpose(uint16_t *out, size_t kp, const uint16_t *a, size_t lda, size_t k, size_t first, size_t count)
{
    size_t l8 = k & ~(size_t)7, j8 = count & ~(size_t)7;
    a += first;
    for (size_t j = 0; j < j8; j += 8)
        for (size_t l = 0; l < l8; l += 8)
            transpose8(out + j * kp + l, kp, a + l * lda + j, lda);
    for (size_t j = 0; j < count; j++) {
        for (size_t l = j < j8 ? l8 : 0; l < k; l++)
            out[j * kp + l] = a[l * lda + j];
        memset(out + j * kp + k, 0, (kp - k) * sizeof *out);
    }
}

struct job {
    struct lib_shape s;
    struct blocked b;
    const uint16_t *src_a, *src_b, *a; /* a: (rows of this group, kp) */
    uint16_t *at;
    char *bands;
    float *c;
    size_t row0, rows, band0, n_bands, row_tiles;
    struct first_err err;
};

static void pack_item(void *u, size_t i)
{
    struct job *j = u;
    struct err e = {0};
    if (blocked_pack(&j->b, j->s.form, j->src_b, j->s.ldb, j->band0 + i, j->bands + i * j->b.band_bytes, &e))
        first_err_put(&j->err, &e);
}

static void transpose_rows(void *u, size_t first, size_t count)
{
    struct job *j = u;
    blocked_transpose(j->at + first * j->b.kp, j->b.kp, j->src_a, j->s.lda, j->s.k, j->row0 + first, count);
}

static void tile_item(void *u, size_t i)
{
    struct job *j = u;
    size_t r0 = i % j->row_tiles * ROWS, band = i / j->row_tiles, rows = j->rows - r0 < ROWS ? j->rows - r0 : ROWS;
    size_t w = blocked_width(&j->b, j->band0 + band);
    float *c = j->c + (j->row0 + r0) * j->s.ldc + (j->band0 + band) * BAND;
    struct err e = {0};
    float *t = scratch_get(SCRATCH_TILE, (size_t)ROWS * BAND * sizeof *t, &e);
    int rc = t ? blocked_multiply(&j->b, j->band0 + band, rows, j->a + r0 * j->b.kp, j->bands + band * j->b.band_bytes, t, &e) : e.code;
    for (size_t r = 0; r < rows && !rc; r++)
        if (j->s.accumulate)
            convert_add_row(c + r * j->s.ldc, t + r * w, w);
        else
            memcpy(c + r * j->s.ldc, t + r * w, w * sizeof *t);
    if (rc)
        first_err_put(&j->err, &e);
}

static size_t group_of(size_t n, size_t bytes_each)
{
    size_t g = GROUP_BYTES / bytes_each;
    return g < 1 ? 1 : g > n ? n : g;
}

static int run(struct job *j, struct err *e)
{
    bool tn = j->s.form == GEMM_TN;
    size_t rows = tn ? group_of(j->s.m, j->b.kp * sizeof *j->at) : j->s.m, bands = group_of(j->b.bands, j->b.band_bytes);
    size_t a_bytes = tn ? (rows * j->b.kp * sizeof *j->at + 63) & ~(size_t)63 : 0;
    char *p = scratch_get(SCRATCH_CALL, a_bytes + bands * j->b.band_bytes, e);
    if (!p)
        return e->code;
    j->at = (uint16_t *)(void *)p;
    j->bands = p + a_bytes;
    for (j->row0 = 0; j->row0 < j->s.m; j->row0 += rows) {
        j->rows = j->s.m - j->row0 < rows ? j->s.m - j->row0 : rows;
        j->row_tiles = (j->rows + ROWS - 1) / ROWS;
        j->a = tn ? j->at : j->src_a;
        if (tn)
            par_slabs(j->rows, TRANSPOSE_ROWS, transpose_rows, j);
        for (j->band0 = 0; j->band0 < j->b.bands; j->band0 += bands) {
            j->n_bands = j->b.bands - j->band0 < bands ? j->b.bands - j->band0 : bands;
            if (j->row0 == 0 || bands < j->b.bands)
                par_for(j->n_bands, pack_item, j);
            if (!j->err.code)
                par_for(j->n_bands * j->row_tiles, tile_item, j);
        }
    }
    return first_err_get(&j->err, e);
}

int blocked_gemm(const struct lib_shape *s, const void *a, const void *b, float *c, struct err *e)
{
    bool tn = s->form == GEMM_TN;
    if (!blocked_wanted(s->t) || s->m < WORTH_ROWS || s->n < 64 || s->k < 64 || (!tn && (s->lda != s->k || s->k % 32)))
        return 1;
    struct job j = {.s = *s, .src_a = a, .src_b = b, .c = c};
    int rc = blocked_init(&j.b, s->n, s->k, e);
    return rc ? rc : run(&j, e);
}
