/* SPDX-License-Identifier: MIT
 *
 * pass: the one forward and backward pass (method.md 8), over a packed batch: tokens of several sequences end to end;
 * positions and attention restart at every boundary; no padding. What differs between uses is handed in: a weight
 * source, an adapter set, a gradient sink, a target selection.
 *
 * Residual stream, norms, softmax and losses are f32; matrix products take inputs in the compute type (f32, or bf16 with
 * f32 accumulation). Results do not depend on the number of threads.
 */
#ifndef PKG_MODEL_PASS_H
#define PKG_MODEL_PASS_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/base/dtype.h"
#include "runtime/base/err.h"
#include "runtime/exec/progress.h"
#include "runtime/model/config.h"
#include "runtime/model/lora.h"
#include "runtime/model/weights.h"

/* T = cu[n_seqs] tokens. Targets: position pos[i] (index into the packed tokens) predicts token id[i] with weight w[i] in
 * the total loss; ascending; sequence s owns targets target_cu[s] .. target_cu[s+1]. All arrays belong to the caller. */
struct soft_targets;
struct batch {
    int n_seqs;
    const int32_t *cu;        /* n_seqs + 1, cu[0] = 0 */
    const int32_t *ids;       /* T */
    int n_targets;
    const int32_t *target_cu; /* n_seqs + 1 */
    const int32_t *target_pos, *target_id;
    const float *target_weight; /* NULL: 1 / (targets of its sequence) */
    const struct soft_targets *soft; /* NULL: none; else every target's loss is distill.h's, in pass_backward alone */
    const uint32_t *soft_row;   /* n_targets: its row of `soft` */
};

/* What the backward pass gives away. A NULL function means "not wanted" (and is not computed).
 *
 * linear: the gradient of rows [row0, row0 + rows) of weight (layer, mod) is dW = dY^T X, dY (n, rows), X (n, in), both in
 *   type t (the compute type), row strides ldy, ldx in elements. A layer's weights come whole, once for every part of the
 *   batch (part_tokens: runs of whole sequences; without it there is one part). lm_head
 *   may come in several chunks of tokens whose boundaries are sequence boundaries: all rows for one chunk, then the next chunk. As many whole sequences as fit the logits buffer
 *   make a chunk with row0 = 0, rows = V; a sequence whose targets alone do not fit comes as blocks of the vocabulary
 *   (row0 ascending), after a first pass for its log-sum-exp. seq_cu[0..n_seqs] cut the n rows into sequences
 *   first_seq .. first_seq + n_seqs - 1 (a sequence may be empty); the rows of lm_head are the chunk's targets. With soft
 *   targets lm_head's chunks may end anywhere: n_seqs is 0 and seq_cu NULL.
 * vector: the gradient of a norm weight or bias is dw[j] = sum_t dy[t][j] * (xhat ? xhat[t][j] : 1), f32, (T, n).
 * embed: dx (T, d) f32, the gradient with respect to the embedding rows of ids[t]. For tied models lm_head's gradient
 *   comes through `linear` as MOD_HEAD; the sink adds both before anything non-linear. (seq_cu of the final norm cuts the
 *   targets, not the tokens.) With soft targets the chunks of lm_head are cut anywhere: n_seqs is 0.
 * Order: lm_head, norm, layers from last to first (each: down, up, gate, post norm, o, v, k, q, input norm), embed. */
struct grad_linear {
    int layer;
    enum module mod;
    size_t row0, rows, in, n;
    enum dtype t;
    const void *dy, *x;
    size_t ldy, ldx;
    int first_seq, n_seqs;
    const int32_t *seq_cu;
};
struct grad_vector {
    int layer;
    enum module mod;
    bool bias;
    size_t n, tokens;
    const float *dy, *xhat; /* row stride n */
    int first_seq, n_seqs;
    const int32_t *seq_cu;
};
struct grad_sink {
    void *u;
    int (*linear)(void *u, const struct grad_linear *g, struct err *e);
    int (*vector)(void *u, const struct grad_vector *g, struct err *e);
    int (*embed)(void *u, const struct batch *b, const float *dx, struct err *e);
};

/* Memory that calls reuse: it grows to the largest call and is given back by pass_work_free. One call at a time. Without
 * one a call allocates for itself, and pays for the page faults each time. */
struct pass_work;
int pass_work_new(struct pass_work **out, struct err *e);
void pass_work_free(struct pass_work *w);
struct pass_options;
/* Room at once for calls of up to so many tokens and targets with these weights and adapters, so that it need not grow (and its
 * pages need not be zeroed again) with every larger batch. ERR_NOMEM. */
int pass_work_reserve(struct pass_work *w, const struct pass_options *o, size_t tokens, size_t targets, bool backward, struct err *e);

/* Stopping and going on between layers of the backward pass (recompute, no adapters). dres (T, d) f32: the gradient of the
 * input of layer `layer`, whose backward pass and that of all above is over (L: the head's). */
struct pass_point {
    int layer;
    const float *dres;
};

struct pass_options {
    const struct weights *weights;
    struct lora *lora;           /* NULL: none. Gradients go into its accumulators when it is trainable */
    bool training;               /* dropout active */
    uint64_t dropout_seed, dropout_step; /* the counter of the generator; each micro-batch its own step */
    bool recompute;              /* keep only each layer's input; recompute the layer in backward (least memory) */
    int kept;                    /* with recompute: keep the activations of so many of the uppermost layers all the same (the first
                                    that backward needs; 0: of one) */
    bool precise;                /* bf16: inputs of the layers' products that recur in many sequences have 16 bits in the forward pass;
                                    precise.h says why */
    const struct progress *progress; /* polled once a layer; updated in units of `progress_unit` when not NULL */
    double progress_done, progress_total; /* tokens: the pass adds its own T from progress_done on */
    struct pass_work *work;      /* NULL: memory of this call only */
    /* pass_loss: is given the logits (n, V) of targets first .. first + n, ascending, whatever is in them; may be NULL */
    int (*logits)(void *u, size_t first, size_t n, const float *logits, struct err *e);
    void *logits_u;
    /* The next four: recompute only, without adapters. They change where things lie and when, not the results
     * (parts: their last bits, because products have other shapes). */
    size_t part_tokens;          /* each layer takes runs of whole sequences of at most so many tokens (one sequence at
                                    least), so that the activations of a layer are those of one run; 0: all at once */
    const char *spill;           /* folder for a file that holds the layers' inputs; NULL: memory does */
    int (*point)(void *u, const struct pass_point *p, struct err *e); /* called at every such place; NULL: never */
    void *point_u;
    const struct pass_point *from; /* go on from there; head and losses are left out; NULL: from the beginning */
    size_t head_bytes;           /* bound of the logits buffer; 0: 384 MiB. For tests */
};

/* Forward with losses: seq_loss[s] (n_seqs, f64, may be NULL) = sum of the cross entropies of the sequence's targets,
 * unweighted; *total = weighted sum over all targets. A batch without targets is ERR_INPUT. */
int pass_loss(const struct pass_options *o, const struct batch *b, double *seq_loss, double *total, struct err *e);

/* Forward and backward of the weighted total loss. sink may be NULL (adapter training alone). */
int pass_backward(const struct pass_options *o, const struct batch *b, const struct grad_sink *sink, double *seq_loss,
                  double *total, struct err *e);

/* Logits (n, vocab_size) f32 at the given packed positions. */
int pass_logits(const struct pass_options *o, const struct batch *b, const int32_t *pos, int n, float *logits, struct err *e);

/* Tokens of the largest part that a batch of sequences cu[0 .. n_seqs] is cut into with part_tokens = most. */
size_t pass_part(const int32_t *cu, int n_seqs, size_t most);
/* Estimated peak bytes of pass_backward with recompute and precise, without adapters: parts of `part` tokens, layer inputs in a file or not, the
 * activations of `kept` layers. */
uint64_t pass_parts_memory(const struct model_config *c, enum dtype compute, size_t tokens, size_t part, size_t targets, bool spill, int kept);

/* Targets with which lm_head comes in one chunk. */
size_t pass_head_rows(const struct model_config *c);

/* Estimated peak bytes, without adapters, of pass_backward (or of pass_loss when !backward) beyond the weights. */
uint64_t pass_memory(const struct model_config *c, enum dtype compute, size_t tokens, size_t targets, bool backward, bool recompute);

#endif
