/* SPDX-License-Identifier: MIT
 *
 * gemm_lib: oneDNN's matmul primitive and sgemm (C API 2.6 and 3.x), and cblas_sgemm for tiny f32 products.
 *
 * One thread: both libraries ask OpenMP how many threads there are, at creation and at execution. Around every call the
 * calling thread's own setting is 1 (one_thread_begin/end), inside or outside of a parallel region, so that the same
 * kernel with the same blocking runs whatever the team.
 *
 * Cache: an open hash of at most CACHE_MAX primitives under one mutex; an entry in use has refs > 0 and is never evicted;
 * the least recently used idle one goes first. Creation happens outside of the lock; the loser of a race is destroyed.
 */
#include "runtime/base/watch.h"
#include "runtime/kernels/gemm_lib.h"

#include <dnnl.h>
#include <omp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/kernels/blas.h"
#include "runtime/kernels/pairs.h"
#include "runtime/kernels/scratch.h"

#if DNNL_VERSION_MAJOR >= 3
typedef const_dnnl_memory_desc_t md_view;
#define MD(m) (m)
#else
typedef const dnnl_memory_desc_t *md_view;
#define MD(m) (&(m))
#endif

#define DNNL_CALLS(X)                                                                                                        \
    X(dnnl_engine_create) X(dnnl_get_effective_cpu_isa) X(dnnl_memory_create) X(dnnl_memory_desc_equal)                      \
    X(dnnl_memory_desc_get_size) X(dnnl_memory_destroy) X(dnnl_post_ops_append_sum) X(dnnl_post_ops_create)                  \
    X(dnnl_post_ops_destroy)                                                                                                 \
    X(dnnl_primitive_attr_create) X(dnnl_primitive_attr_destroy) X(dnnl_primitive_attr_set_post_ops)                         \
    X(dnnl_primitive_attr_set_scratchpad_mode) X(dnnl_primitive_create) X(dnnl_primitive_desc_destroy)                       \
    X(dnnl_primitive_desc_query) X(dnnl_primitive_desc_query_md) X(dnnl_primitive_destroy) X(dnnl_primitive_execute)         \
    X(dnnl_reorder_primitive_desc_create) X(dnnl_set_primitive_cache_capacity) X(dnnl_sgemm) X(dnnl_stream_create)           \
    X(dnnl_version)
#if DNNL_VERSION_MAJOR >= 3
#define DNNL_CALLS_OF_VERSION(X)                                                                                             \
    X(dnnl_matmul_primitive_desc_create) X(dnnl_memory_desc_clone) X(dnnl_memory_desc_create_with_strides)                   \
    X(dnnl_memory_desc_create_with_tag) X(dnnl_memory_desc_destroy)
#else
#define DNNL_CALLS_OF_VERSION(X)                                                                                             \
    X(dnnl_matmul_desc_init) X(dnnl_memory_desc_init_by_strides) X(dnnl_memory_desc_init_by_tag) X(dnnl_primitive_desc_create)
#endif

static struct {
    DNNL_CALLS(DSO_FIELD) DNNL_CALLS_OF_VERSION(DSO_FIELD)
} nn;
static const char *const nn_names[] = {DNNL_CALLS(DSO_NAME) DNNL_CALLS_OF_VERSION(DSO_NAME)};
static struct dso nn_library = DSO("oneDNN", PKG_DNNL_FILE, PKG_DNNL_PACKAGE, nn_names, nn);

enum { CACHE_MAX = 2048, BUCKETS = 1024, BLAS_FLOPS = 1 << 16, SGEMM_FLOPS = 1 << 23, SGEMM_DEPTH = 1024 };

/* Beside the products: arranging a weight for a layout; lda and ldb are then the strides of k and n. */
#define FORM_PACK ((enum gemm_form)(GEMM_TN + 1))

struct lib_layout {
    size_t n, k;
    enum dtype t;
    dnnl_memory_desc_t md;
    bool made;
    size_t columns; /* of a panel of pairs (pairs.h), when the layout is that; 0: another */
    struct lib_layout *next;
};

struct entry {
    struct lib_shape shape;
    bool packed;
    int refs;
    uint64_t used; /* clock of the last use */
    struct entry *next;
    dnnl_primitive_desc_t pd;
    dnnl_primitive_t prim;
    size_t scratch;
    bool slow; /* the library has only its plain loops for it */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct entry *buckets[BUCKETS];
static size_t n_entries;
static uint64_t clock_now;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static dnnl_engine_t engine;
static dnnl_stream_t stream; /* CPU streams have no state: calls return when the work is done */
static struct err start_error; /* why there is no engine; code 0: there is */
static bool has_bf16, has_tiles, has_lanes;

static void start(void)
{
    if (dso_load(&nn_library, &start_error) || blas_load(&start_error))
        return;
    nn.dnnl_set_primitive_cache_capacity(0); /* the cache is ours */
    dnnl_status_t rc = nn.dnnl_engine_create(&engine, dnnl_cpu, 0);
    if (rc == dnnl_success)
        rc = nn.dnnl_stream_create(&stream, engine, dnnl_stream_default_flags);
    if (rc != dnnl_success)
        err_set(&start_error, ERR_INTERNAL, "oneDNN cannot start on this machine (status %d)", (int)rc);
    unsigned isa = (unsigned)nn.dnnl_get_effective_cpu_isa(), need = (unsigned)dnnl_cpu_isa_avx512_core_bf16;
    unsigned tiles = (unsigned)dnnl_cpu_isa_avx512_core_amx, lanes = (unsigned)dnnl_cpu_isa_avx512_core;
    has_bf16 = (isa & need) == need;
    has_tiles = (isa & tiles) == tiles;
    has_lanes = (isa & lanes) == lanes;
}

static int started(struct err *e)
{
    pthread_once(&once, start);
    return start_error.code ? err_set(e, start_error.code, "%s", start_error.msg) : 0;
}

/* Asked while a specification is checked, so not by loading the library, unless the user has told it to use less than there is. */
bool gemm_has_bf16(void)
{
    if (watch_env("ONEDNN_MAX_CPU_ISA") || watch_env("DNNL_MAX_CPU_ISA"))
        return lib_has_bf16();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bf16");
}

bool lib_has_bf16(void)
{
    pthread_once(&once, start);
    return has_bf16;
}

bool lib_has_tiles(void)
{
    pthread_once(&once, start);
    return has_tiles;
}

bool lib_has_lanes(void)
{
    pthread_once(&once, start);
    return has_lanes;
}

const char *gemm_version(void)
{
    static char text[128];
    static pthread_mutex_t once_text = PTHREAD_MUTEX_INITIALIZER;
    pthread_once(&once, start);
    if (start_error.code)
        return start_error.msg;
    const dnnl_version_t *v = nn.dnnl_version();
    const char *name = has_tiles   ? "avx512_core_amx"
                       : has_bf16  ? "avx512_core_bf16"
                       : has_lanes ? "avx512_core"
                                   : "avx2 or less";
    pthread_mutex_lock(&once_text);
    if (!text[0]) {
        char number[24] = ""; /* of "OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH ..." */
        sscanf(blas.openblas_get_config(), "OpenBLAS %23s", number);
        snprintf(text, sizeof text, "oneDNN %d.%d.%d (%s), OpenBLAS %s (%.24s)", v->major, v->minor, v->patch, name, number,
                 blas.openblas_get_corename());
    }
    pthread_mutex_unlock(&once_text);
    return text;
}

static int one_thread_begin(void)
{
    int before = omp_get_max_threads();
    if (before != 1)
        omp_set_num_threads(1);
    return before;
}

static void one_thread_end(int before)
{
    if (before != 1)
        omp_set_num_threads(before);
}

static int refused(struct err *e, const char *what, const struct lib_shape *s, dnnl_status_t rc)
{
    if (rc == dnnl_out_of_memory)
        return err_set(e, ERR_NOMEM, "out of memory in oneDNN (%s, %zu x %zu x %zu)", what, s->m, s->n, s->k);
    return err_set(e, ERR_INTERNAL, "oneDNN refused %s of %zu x %zu x %zu %s (status %d)", what, s->m, s->n, s->k,
                   dtype_name(s->t), (int)rc);
}

/* Memory descriptors: values in 2.x, handles in 3.x. */
static dnnl_status_t md_strides(dnnl_memory_desc_t *md, size_t rows, size_t cols, dnnl_data_type_t t, size_t rs, size_t cs)
{
    dnnl_dims_t d = {(dnnl_dim_t)rows, (dnnl_dim_t)cols}, st = {(dnnl_dim_t)rs, (dnnl_dim_t)cs};
#if DNNL_VERSION_MAJOR >= 3
    return nn.dnnl_memory_desc_create_with_strides(md, 2, d, t, st);
#else
    return nn.dnnl_memory_desc_init_by_strides(md, 2, d, t, st);
#endif
}

static dnnl_status_t md_tag(dnnl_memory_desc_t *md, size_t rows, size_t cols, dnnl_data_type_t t, dnnl_format_tag_t tag)
{
    dnnl_dims_t d = {(dnnl_dim_t)rows, (dnnl_dim_t)cols};
#if DNNL_VERSION_MAJOR >= 3
    return nn.dnnl_memory_desc_create_with_tag(md, 2, d, t, tag);
#else
    return nn.dnnl_memory_desc_init_by_tag(md, 2, d, t, tag);
#endif
}

static dnnl_status_t md_any(dnnl_memory_desc_t *md, size_t rows, size_t cols, dnnl_data_type_t t)
{
    return md_tag(md, rows, cols, t, dnnl_format_tag_any);
}

static dnnl_status_t md_copy(dnnl_memory_desc_t *to, md_view from)
{
#if DNNL_VERSION_MAJOR >= 3
    return nn.dnnl_memory_desc_clone(to, from);
#else
    *to = *from;
    return dnnl_success;
#endif
}

static void md_free(dnnl_memory_desc_t *md, bool made)
{
#if DNNL_VERSION_MAJOR >= 3
    if (made)
        nn.dnnl_memory_desc_destroy(*md);
#else
    (void)md, (void)made;
#endif
}

static dnnl_status_t append_sum(dnnl_post_ops_t po)
{
#if DNNL_VERSION_MAJOR >= 3
    return nn.dnnl_post_ops_append_sum(po, 1.0f, 0, dnnl_data_type_undef);
#else
    return nn.dnnl_post_ops_append_sum(po, 1.0f);
#endif
}

static dnnl_status_t matmul_pd(dnnl_primitive_desc_t *pd, md_view a, md_view b, md_view c, dnnl_primitive_attr_t attr)
{
#if DNNL_VERSION_MAJOR >= 3
    return nn.dnnl_matmul_primitive_desc_create(pd, engine, a, b, NULL, c, attr);
#else
    dnnl_matmul_desc_t d;
    dnnl_status_t rc = nn.dnnl_matmul_desc_init(&d, a, b, NULL, c);
    return rc == dnnl_success ? nn.dnnl_primitive_desc_create(pd, &d, attr, engine, NULL) : rc;
#endif
}

/* The scratchpad is the caller's; C += by a post-op. */
static dnnl_status_t make_attr(dnnl_primitive_attr_t *attr, bool accumulate)
{
    dnnl_post_ops_t po = NULL;
    dnnl_status_t rc = nn.dnnl_primitive_attr_create(attr);
    if (rc == dnnl_success)
        rc = nn.dnnl_primitive_attr_set_scratchpad_mode(*attr, dnnl_scratchpad_mode_user);
    if (rc == dnnl_success && accumulate) {
        rc = nn.dnnl_post_ops_create(&po);
        if (rc == dnnl_success)
            rc = append_sum(po);
        if (rc == dnnl_success)
            rc = nn.dnnl_primitive_attr_set_post_ops(*attr, po);
        if (po)
            nn.dnnl_post_ops_destroy(po);
    }
    return rc;
}

static dnnl_data_type_t lib_type(enum dtype t)
{
    return t == DT_BF16 ? dnnl_bf16 : dnnl_f32;
}

/* A stride of a dimension of size 1 is free; give the library the plain one. */
static size_t stride(size_t ld, size_t rows, size_t cols)
{
    return rows == 1 ? cols : ld;
}

static dnnl_status_t shape_pd(const struct lib_shape *s, const struct lib_layout *l, bool any, dnnl_primitive_desc_t *pd)
{
    dnnl_memory_desc_t a, b, c;
    dnnl_primitive_attr_t attr = NULL;
    bool ha = false, hb = false, hc = false, at = s->form == GEMM_TN, bt = s->form == GEMM_NT;
    size_t lda = at ? stride(s->lda, s->k, s->m) : stride(s->lda, s->m, s->k);
    size_t ldb = bt ? stride(s->ldb, s->n, s->k) : stride(s->ldb, s->k, s->n);
    dnnl_data_type_t t = lib_type(s->t);
    dnnl_status_t rc = md_strides(&a, s->m, s->k, t, at ? 1 : lda, at ? lda : 1);
    ha = rc == dnnl_success;
    if (ha && !l) {
        rc = any ? md_any(&b, s->k, s->n, t) : md_strides(&b, s->k, s->n, t, bt ? 1 : ldb, bt ? ldb : 1);
        hb = rc == dnnl_success;
    }
    if (rc == dnnl_success) {
        rc = md_strides(&c, s->m, s->n, dnnl_f32, stride(s->ldc, s->m, s->n), 1);
        hc = rc == dnnl_success;
    }
    if (rc == dnnl_success)
        rc = make_attr(&attr, s->accumulate);
    if (rc == dnnl_success)
        rc = matmul_pd(pd, MD(a), l ? MD(l->md) : MD(b), MD(c), attr);
    if (attr)
        nn.dnnl_primitive_attr_destroy(attr);
    md_free(&a, ha);
    md_free(&b, hb);
    md_free(&c, hc);
    return rc;
}

static dnnl_status_t pack_pd(const struct lib_shape *s, const struct lib_layout *l, dnnl_primitive_desc_t *pd)
{
    dnnl_memory_desc_t plain;
    dnnl_status_t rc = md_strides(&plain, s->k, s->n, lib_type(s->t), s->k == 1 ? s->n * s->ldb : s->lda, s->n == 1 ? s->k * s->lda : s->ldb);
    if (rc != dnnl_success)
        return rc;
    rc = nn.dnnl_reorder_primitive_desc_create(pd, MD(plain), engine, MD(l->md), engine, NULL);
    md_free(&plain, true);
    return rc;
}

static void entry_free(struct entry *x)
{
    if (x->prim)
        nn.dnnl_primitive_destroy(x->prim);
    if (x->pd)
        nn.dnnl_primitive_desc_destroy(x->pd);
    free(x);
}

static bool is_plain_loops(dnnl_primitive_desc_t pd)
{
    const char *impl = NULL;
    dnnl_status_t rc = nn.dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &impl);
    return rc == dnnl_success && impl && strncmp(impl, "ref", 3) == 0;
}

static struct entry *entry_new(const struct lib_shape *s, const struct lib_layout *l, struct err *e)
{
    struct entry *x = calloc(1, sizeof *x);
    if (!x) {
        err_nomem(e, sizeof *x, "a matrix product");
        return NULL;
    }
    x->shape = *s;
    x->packed = l != NULL;
    bool pack = s->form == FORM_PACK;
    dnnl_status_t rc = pack ? pack_pd(s, l, &x->pd) : shape_pd(s, l, false, &x->pd);
    if (rc == dnnl_success)
        rc = nn.dnnl_primitive_create(&x->prim, x->pd);
    if (rc != dnnl_success) {
        refused(e, "the product", s, rc);
        entry_free(x);
        return NULL;
    }
    x->slow = l && !pack && is_plain_loops(x->pd);
    md_view pad = pack ? NULL : nn.dnnl_primitive_desc_query_md(x->pd, dnnl_query_scratchpad_md, 0);
    x->scratch = pad ? nn.dnnl_memory_desc_get_size(pad) : 0;
    return x;
}

static bool same_shape(const struct lib_shape *a, const struct lib_shape *b)
{
    return a->form == b->form && a->m == b->m && a->n == b->n && a->k == b->k && a->lda == b->lda && a->ldb == b->ldb &&
           a->ldc == b->ldc && a->t == b->t && a->accumulate == b->accumulate;
}

static size_t bucket(const struct lib_shape *s, bool packed)
{
    uint64_t v[] = {(uint64_t)s->form, s->m, s->n, s->k, s->lda, s->ldb, s->ldc, (uint64_t)s->t, s->accumulate, packed};
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < sizeof v / sizeof *v; i++)
        h = (h ^ v[i]) * 0x100000001b3u ^ h >> 29;
    return (h ^ h >> 32) % BUCKETS;
}

/* The three below under the lock. */
static struct entry *cache_find(const struct lib_shape *s, bool packed)
{
    for (struct entry *x = buckets[bucket(s, packed)]; x; x = x->next)
        if (x->packed == packed && same_shape(&x->shape, s)) {
            x->refs++;
            x->used = ++clock_now;
            return x;
        }
    return NULL;
}

static struct entry *cache_oldest_out(void)
{
    struct entry **best = NULL;
    for (size_t b = 0; b < BUCKETS; b++)
        for (struct entry **p = &buckets[b]; *p; p = &(*p)->next)
            if ((*p)->refs == 0 && (!best || (*p)->used < (*best)->used))
                best = p;
    if (!best)
        return NULL;
    struct entry *x = *best;
    *best = x->next;
    n_entries--;
    return x;
}

static void cache_put(struct entry *x)
{
    size_t b = bucket(&x->shape, x->packed);
    x->refs = 1;
    x->used = ++clock_now;
    x->next = buckets[b];
    buckets[b] = x;
    n_entries++;
}

static struct entry *entry_get(const struct lib_shape *s, const struct lib_layout *l, struct err *e)
{
    pthread_mutex_lock(&lock);
    struct entry *x = cache_find(s, l != NULL);
    pthread_mutex_unlock(&lock);
    if (x)
        return x;
    struct entry *made = entry_new(s, l, e), *out = NULL;
    if (!made)
        return NULL;
    pthread_mutex_lock(&lock);
    x = cache_find(s, l != NULL);
    if (x) {
        out = made;
    } else {
        if (n_entries >= CACHE_MAX)
            out = cache_oldest_out();
        cache_put(made);
        x = made;
    }
    pthread_mutex_unlock(&lock);
    if (out)
        entry_free(out);
    return x;
}

static void entry_put(struct entry *x)
{
    pthread_mutex_lock(&lock);
    x->refs--;
    pthread_mutex_unlock(&lock);
}

/* b is NULL for an entry that packs. */
static int entry_run(struct entry *x, const void *a, const void *b, void *c, struct err *e)
{
    void *pad = NULL;
    if (x->scratch && !(pad = scratch_get(SCRATCH_LIB, x->scratch, e)))
        return e->code;
    const struct {
        int arg;
        dnnl_query_t query;
        void *data;
    } use[4] = {{DNNL_ARG_SRC, dnnl_query_src_md, (void *)(uintptr_t)a},
                {DNNL_ARG_DST, dnnl_query_dst_md, c},
                {DNNL_ARG_WEIGHTS, dnnl_query_weights_md, (void *)(uintptr_t)b},
                {DNNL_ARG_SCRATCHPAD, dnnl_query_scratchpad_md, pad}};
    dnnl_exec_arg_t args[4];
    dnnl_status_t rc = dnnl_success;
    int n = 0;
    for (int i = 0; i < 4 && rc == dnnl_success; i++) {
        if (!use[i].data)
            continue;
        args[n].arg = use[i].arg;
        rc = nn.dnnl_memory_create(&args[n].memory, nn.dnnl_primitive_desc_query_md(x->pd, use[i].query, 0), engine, use[i].data);
        n += rc == dnnl_success;
    }
    if (rc == dnnl_success)
        rc = nn.dnnl_primitive_execute(x->prim, stream, n, args);
    for (int i = 0; i < n; i++)
        nn.dnnl_memory_destroy(args[i].memory);
    return rc == dnnl_success ? 0 : refused(e, "to run the product", &x->shape, rc);
}

static void blas_gemm(const struct lib_shape *s, const float *a, const float *b, float *c)
{
    blas.cblas_sgemm(CblasRowMajor, s->form == GEMM_TN ? CblasTrans : CblasNoTrans, s->form == GEMM_NT ? CblasTrans : CblasNoTrans,
                (blasint)s->m, (blasint)s->n, (blasint)s->k, 1.0f, a, (blasint)s->lda, b, (blasint)s->ldb,
                s->accumulate ? 1.0f : 0.0f, c, (blasint)s->ldc);
}

/* f32 without a primitive: the library's own sgemm, which has no objects to make for a call and is up to a tenth faster
 * (small products: a third) where it does not have to walk a long k. */
static bool fits_sgemm(const struct lib_shape *s)
{
    if (s->t != DT_F32 || s->form == FORM_PACK)
        return false;
    return s->form == GEMM_NT ? s->m * s->n * s->k <= SGEMM_FLOPS / 2 : s->k <= SGEMM_DEPTH;
}

static int run_sgemm(const struct lib_shape *s, const float *a, const float *b, float *c, struct err *e)
{
    dnnl_status_t rc = nn.dnnl_sgemm(s->form == GEMM_TN ? 'T' : 'N', s->form == GEMM_NT ? 'T' : 'N', (dnnl_dim_t)s->m, (dnnl_dim_t)s->n,
                                  (dnnl_dim_t)s->k, 1.0f, a, (dnnl_dim_t)s->lda, b, (dnnl_dim_t)s->ldb, s->accumulate ? 1.0f : 0.0f, c,
                                  (dnnl_dim_t)s->ldc);
    return rc == dnnl_success ? 0 : refused(e, "the product", s, rc);
}

static bool fits_blas(const struct lib_shape *s)
{
    size_t max = (size_t)1 << 30;
    return s->t == DT_F32 && s->m * s->n * s->k <= BLAS_FLOPS / 2 && s->lda < max && s->ldb < max && s->ldc < max;
}

/* Rows of the products that a layout must serve well; any number of rows is a sum of these. */
static const size_t probes[] = {512, 64, 16, 4, 2, 1};
enum { PROBES = sizeof probes / sizeof *probes };

static int run_one(const struct lib_shape *s, const struct lib_layout *l, const void *a, const void *b, float *c, struct err *e)
{
    struct entry *x = entry_get(s, l, e);
    if (!x)
        return e->code;
    int rc = x->slow ? 1 : entry_run(x, a, b, c, e);
    entry_put(x);
    return rc;
}

/* The library has no fast kernel for this number of rows in this layout: numbers that it was asked about instead. */
static int run_pieces(const struct lib_shape *s, const struct lib_layout *l, const char *a, const void *b, float *c, struct err *e)
{
    struct lib_shape p = *s;
    int rc = 0;
    for (size_t r = 0, i = 0; r < s->m && !rc; r += p.m) {
        while (probes[i] > s->m - r)
            i++;
        p.m = probes[i];
        struct entry *x = entry_get(&p, l, e);
        rc = x ? entry_run(x, a + r * s->lda * dtype_size(s->t), b, c + r * s->ldc, e) : e->code;
        if (x)
            entry_put(x);
    }
    return rc;
}

int lib_gemm(const struct lib_shape *s, const struct lib_layout *l, const void *a, const void *b, float *c, struct err *e)
{
    if (started(e))
        return e->code;
    int before = one_thread_begin(), rc = 0;
    if (!l && fits_blas(s))
        blas_gemm(s, a, b, c);
    else if (!l && fits_sgemm(s))
        rc = run_sgemm(s, a, b, c, e);
    else if ((rc = run_one(s, l, a, b, c, e)) == 1)
        rc = run_pieces(s, l, a, b, c, e);
    one_thread_end(before);
    return rc;
}

/* Does every probe, with and without accumulation, have a kernel better than the library's plain loops? */
static bool serves_all(struct lib_layout *l)
{
    for (int i = 0; i < 2 * PROBES; i++) {
        struct lib_shape s = {GEMM_NT, probes[i / 2], l->n, l->k, l->k, l->k, l->n, l->t, i % 2};
        dnnl_primitive_desc_t pd = NULL;
        if (shape_pd(&s, l, false, &pd) != dnnl_success)
            return false;
        bool plain = is_plain_loops(pd);
        nn.dnnl_primitive_desc_destroy(pd);
        if (plain)
            return false;
    }
    return true;
}

/* What the library prefers for some number of rows and runs well for all; else (k, n) row-major, which it always does. */
static dnnl_status_t choose_layout(struct lib_layout *l)
{
    for (int i = 0; i < PROBES; i++) {
        struct lib_shape s = {GEMM_NT, probes[i], l->n, l->k, l->k, l->k, l->n, l->t, false};
        dnnl_primitive_desc_t pd = NULL;
        if (shape_pd(&s, NULL, true, &pd) != dnnl_success)
            continue;
        l->made = md_copy(&l->md, nn.dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0)) == dnnl_success;
        nn.dnnl_primitive_desc_destroy(pd);
        if (l->made && serves_all(l))
            return dnnl_success;
        md_free(&l->md, l->made);
        l->made = false;
    }
    return md_strides(&l->md, l->k, l->n, lib_type(l->t), l->n, 1);
}

/* Tile units take B in blocks of 32 of k, neighbours side by side: one block after the other they are a panel of pairs.h, and pairs.c lays
 * that out in a fraction of the time of the library's reorder (docs/performance.md). 0: the layout is another. */
static size_t panel_columns(const struct lib_layout *l)
{
    static const struct {
        dnnl_format_tag_t tag;
        size_t columns;
    } panels[] = {{dnnl_BA16a64b2a, 64}, {dnnl_BA16a48b2a, 48}, {dnnl_BA16a32b2a, 32}, {dnnl_BA16a16b2a, 16}};
    size_t columns = 0;
    if (l->t != DT_BF16 || l->k % 32 || !has_tiles)
        return 0;
    for (size_t i = 0; i < sizeof panels / sizeof *panels && !columns; i++) {
        dnnl_memory_desc_t md;
        if (md_tag(&md, l->k, l->n, dnnl_bf16, panels[i].tag) != dnnl_success)
            continue;
        columns = nn.dnnl_memory_desc_equal(MD(md), MD(l->md)) ? panels[i].columns : 0;
        md_free(&md, true);
    }
    return columns;
}

int lib_layout_get(size_t n, size_t k, enum dtype t, const struct lib_layout **out, struct err *e)
{
    static pthread_mutex_t layouts_lock = PTHREAD_MUTEX_INITIALIZER;
    static struct lib_layout *layouts;
    if (started(e))
        return e->code;
    dnnl_status_t rc = dnnl_success;
    pthread_mutex_lock(&layouts_lock);
    struct lib_layout *l = layouts;
    while (l && (l->n != n || l->k != k || l->t != t))
        l = l->next;
    if (!l && (l = calloc(1, sizeof *l))) {
        l->n = n, l->k = k, l->t = t;
        int before = one_thread_begin();
        rc = choose_layout(l);
        one_thread_end(before);
        if (rc == dnnl_success) {
            l->columns = panel_columns(l);
            l->next = layouts;
            layouts = l;
        } else {
            free(l);
            l = NULL;
        }
    }
    pthread_mutex_unlock(&layouts_lock);
    struct lib_shape s = {.form = GEMM_NT, .m = 1, .n = n, .k = k, .t = t};
    *out = l;
    return l ? 0 : refused(e, "a packed layout", &s, rc == dnnl_success ? dnnl_out_of_memory : rc);
}

size_t lib_layout_bytes(const struct lib_layout *l)
{
    return nn.dnnl_memory_desc_get_size(MD(l->md));
}

int lib_pack(const struct lib_layout *l, const void *src, size_t rs, size_t cs, void *packed, struct err *e)
{
    if (l->columns && (rs == 1 || cs == 1)) {
        const size_t stride = l->k / 2 * l->columns;
        if (cs == 1)
            pairs_lay(packed, stride, l->columns, src, rs, l->k, l->n);
        else
            pairs_turn(packed, stride, l->columns, src, cs, l->k, l->n);
        return 0;
    }
    struct lib_shape s = {.form = FORM_PACK, .m = 1, .n = l->n, .k = l->k, .lda = rs, .ldb = cs, .t = l->t};
    int before = one_thread_begin();
    struct entry *x = entry_get(&s, l, e);
    int rc = x ? entry_run(x, src, NULL, packed, e) : e->code;
    if (x)
        entry_put(x);
    one_thread_end(before);
    return rc;
}
