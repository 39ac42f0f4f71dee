/* SPDX-License-Identifier: MIT
 *
 * run: one call of the pass from inside (private to runtime/model): sizes, all memory it will touch, and the functions
 * that the files of the pass share. Memory is laid out once, before the first product, in one block that calls reuse
 * (pass_work); nothing big is allocated on the way.
 *
 * Names: T tokens, N targets, d hidden, f intermediate, qd = heads * head_dim, kd = kv_heads * head_dim, V vocabulary.
 * Buffers "c" hold the compute type. In f32 the conversion is nothing and the f32 buffer itself is used.
 */
#ifndef PKG_MODEL_RUN_H
#define PKG_MODEL_RUN_H

#include "runtime/kernels/rope.h"
#include "runtime/model/pass.h"
#include "runtime/model/spill.h"

/* What the backward pass needs of one layer beyond its input. */
struct saved {
    float *rstd1, *rstd2;  /* (T) */
    float *q, *k, *v;      /* (T, qd), (T, kd), after the rotation */
    float *attn, *lse;     /* (T, qd), (T, heads) */
    float *h;              /* (T, d): the residual after attention */
    float *gate, *up;      /* (T, f) */
    void *uc[MOD_LINEARS]; /* (T, K) compute type: an adapter's inner product, times scale */
};

/* A pair made ready for the products (lora.h): without compensation K = R = r, ae = A, bd = B; with it K = 2R,
 * ae = [A ; A - A0] (K, in), bd = [B - B0 | B0] (out, K), both padded with zeros to the larger rank R. Compute type, except
 * that bd of embed_tokens is f32 and has no ae (columns of A are gathered). */
struct prep {
    struct lora_pair *pair; /* NULL: no adapter here */
    size_t R, K;
    void *ae, *bd;
    uint64_t stream;        /* of the dropout */
};

/* Decoding (generate.c): rows are one token each of different sequences; where their keys and values are kept. */
struct kv_sink {
    void *u;
    /* after the rotation; out (T, qd) is filled when the sink attends itself (decode), else left alone (prefill) */
    int (*attend)(void *u, int layer, const float *q, const float *k, const float *v, float *out, struct err *e);
    int (*keep)(void *u, int layer, const float *k, const float *v, struct err *e);
};

struct run {
    const struct pass_options *o;
    const struct batch *b;
    const struct grad_sink *sink; /* NULL: none */
    const struct model_config *c;
    const struct weights *w;
    enum dtype t;
    size_t esz;                   /* bytes of an element of the compute type */
    size_t T, N, S, d, f, qd, kd, V; /* S: sequences */
    size_t all, off;              /* tokens of the batch; T and b are those of the part in hand, which begins at token off */
    size_t part_room;             /* tokens of the largest part */
    const struct batch *whole;    /* NULL: there are no parts */
    struct batch part;            /* its cu is part_cu, without targets */
    int32_t *part_cu;             /* (S + 1) */
    int part_seq;                 /* first sequence of the part */
    int L;
    bool backward;
    int kept;                     /* uppermost layers whose activations are kept, at least 1; those below share the first one's memory */
    bool trainable;               /* some adapter pair takes gradients */
    double p;                     /* dropout in this call; 0: none */
    int lowest;                   /* the lowest layer that backward must enter */
    const struct rope *rope;
    const struct kv_sink *kv;     /* NULL outside generation */
    struct layer_weights lw;      /* of the layer in hand */
    const void *head;             /* (V, d) compute type */

    int32_t *pos;                 /* (T) position within the sequence */
    float *x;                     /* (all, d) the residual, or (L + 1) of them when backward; NULL: in the spill */
    const struct spill *spill;
    struct saved *saved;          /* (kept) */
    float *n;                     /* (T, d) normed input, later dn */
    float *fa, *fb;               /* (T, max(f, qd + 2 kd)) */
    float *dres, *dn;             /* (all, d), from the part's first token on; (T, d) */
    void *nc, *fc, *dc;           /* compute type: (T, d), (T, max(f, qd)), (T, d) */
    struct precise_row *precise;  /* (S) NULL: not wanted; the others of precise.h: */
    size_t precise_room;          /* rows that go through a product together */
    int32_t *precise_token, *precise_slot; /* (T) */
    uint16_t *precise_c;          /* (precise_room, max(d, f, qd)) bf16 */
    float *precise_y;             /* the same shape */
    size_t u_max, x_max;          /* adapters: widest K, widest in */
    float *u, *v, *xd;            /* (T, u_max) twice, (T, x_max) */
    void *vc, *xdc, *puc;         /* compute type: (T, u_max), (T, x_max), (T, u_max) */
    struct prep *prep;            /* (L + 1) * MOD_COUNT, as lora_index */

    size_t chunk;                 /* elements of the logits buffer */
    int32_t *tid;                 /* (N) */
    int32_t *seq_cu;              /* (n_seqs + 1) of a chunk, for the sink */
    float *tw, *hx, *hn, *dh;     /* (N); (N, d) three times: gathered residual, normed, its gradient */
    float *hrstd;                 /* (N) */
    double *tloss, *lse_max, *lse_sum; /* (N) */
    void *hc, *huc;               /* (N, d), (N, K of the head) compute type */
    float *logits;
    void *logitsc;
};

/* run.c: sizes and memory. run_begin checks the batch, lays out and fills the tables; work owns the memory and must
 * outlive the run. T and N are the largest that the run will meet. */
struct pass_work {
    void *p;
    size_t bytes;
    struct rope *rope;
    struct model_config rope_of; /* the configuration that the table was made for */
    struct spill spill;
};
struct run_shape {
    size_t T, N, n_seqs, max_seq; /* max_seq: positions of the rotation table */
    size_t part;                  /* tokens of the largest part; 0: T */
    bool backward, spill, precise;
    int kept;                     /* 0: 1; more than there are: all */
};
int pass_kept(const struct pass_options *o); /* of its backward pass */
int run_begin(struct run *r, const struct pass_options *o, const struct run_shape *s, struct pass_work *work, struct err *e);
uint64_t run_memory(const struct model_config *c, enum dtype t, const struct run_shape *s);
/* (x, n elements) in the compute type: x itself in f32, else rounded into scratch. */
const void *run_compute(const struct run *r, const float *x, void *scratch, size_t n);
const struct saved *run_saved(const struct run *r, int layer); /* where its activations go */
float *run_layer_input(const struct run *r, int layer); /* the residual that layer `layer` reads, from the part on; L: the last */
/* Calls fn for every part of the batch, which is the one in hand meanwhile; polls for cancellation before each. */
int run_parts(struct run *r, int (*fn)(struct run *r, int layer, struct err *e), int layer, struct err *e);

/* adapter.c: adapters beside a product, in four steps so that lm_head can take its rows in blocks. xc and xf are the same
 * input (n, in) in the compute type and in f32 (xf is read with dropout only); `at` is the index of row 0 for dropout. */
const struct prep *run_prep(const struct run *r, int layer, enum module m); /* NULL: no adapter */
size_t prep_bytes(const struct lora_pair *p, size_t esz, size_t *ae, size_t *bd);
int prep_fill(const struct run *r, struct prep *p, int layer, enum module m, struct err *e);
/* uc (n, K) = scale * inner product */
int adapter_inner(const struct run *r, const struct prep *p, const void *xc, const float *xf, size_t n, size_t at, void *uc,
                  struct err *e);
/* y (n, rows; ldy) += uc bd[row0 ..]^T */
int adapter_outer(const struct run *r, const struct prep *p, const void *uc, size_t n, size_t row0, size_t rows, float *y,
                  size_t ldy, struct err *e);
/* r->u (n, K) (+)= dy bd[row0 ..]; dB[row0 ..] += dy^T uc */
int adapter_back_outer(const struct run *r, const struct prep *p, const void *dyc, size_t ldy, const void *uc, size_t n,
                       size_t row0, size_t rows, bool more, struct err *e);
/* from r->u: dA; dx (n, in) += ... unless NULL */
int adapter_back_inner(const struct run *r, const struct prep *p, const void *xc, const float *xf, size_t n, size_t at,
                       float *dx, struct err *e);
int embed_forward(const struct run *r, float *x, struct err *e);
int embed_backward(const struct run *r, const float *dx, struct err *e);

/* layer_forward.c: y (rows, out) (+)= x (rows, in) W^T, of the layer in hand */
int run_product(const struct run *r, enum module m, size_t rows, const void *x, bool add, float *y, struct err *e);
/* y (T, d) = layer(x (T, d)); y may be x; NULL: only what backward needs, which goes to s. */
int layer_forward(struct run *r, int layer, const float *x, float *y, const struct saved *s, struct err *e);
/* Everything up to the last residual; x of layer 0 .. L are kept when r->backward. */
int run_forward(struct run *r, struct err *e);

/* layer_backward.c: r->dres holds the gradient of the layer's output and leaves with that of its input. */
int layer_backward(struct run *r, int layer, const struct saved *s, struct err *e);

/* head.c: final norm, lm_head, cross entropy at the targets; with r->backward fills r->dres (T, d). */
int head_loss(struct run *r, const float *x, double *seq_loss, double *total, struct err *e);
/* logits (n, V) of the rows x (n, d); uses r->hn, r->hc: n at most the run's N. */
int head_logits(struct run *r, const float *x, size_t n, float *logits, struct err *e);

#endif
