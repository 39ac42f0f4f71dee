/* SPDX-License-Identifier: MIT
 *
 * scores_tokens: the rows of the embedding that a batch touches, for scores.c (private to runtime/model). Positions are
 * sorted by (token, sequence); a run of one token in one sequence is a pair, the pairs of one token are a row. The
 * gradient of a pair is the sum of dx over its positions, plus, in a tied model, lm_head's gradient of that token in
 * that sequence, which was kept when it passed by.
 */
#ifndef PKG_MODEL_SCORES_TOKENS_H
#define PKG_MODEL_SCORES_TOKENS_H

#include "runtime/model/pass.h"

struct scores_tokens {
    const struct batch *b;
    const struct tensor *w; /* the embedding (V, d) */
    size_t d, n_rows, n_pairs;
    int32_t *pos;     /* T positions, sorted by token, sequence, position */
    int32_t *seq;     /* n_pairs */
    int32_t *pair_at; /* n_pairs + 1: into pos */
    int32_t *row_at;  /* n_rows + 1: into pairs */
    int32_t *id;      /* n_rows, ascending */
    bool tied;
    float *S;      /* (n_rows, d) the rows' scores: what the input side gives them */
    float *head;   /* tied: (n_pairs, d) lm_head's gradient of the pairs */
    void *rows;    /* tied: (n_rows, d) their weights, as stored */
};

int scores_tokens_init(struct scores_tokens *k, const struct batch *b, const struct tensor *w, bool tied, struct err *e);
void scores_tokens_release(struct scores_tokens *k);
/* Tied: lm_head's gradient passes by; what sequences without a row's token give to that row goes to k->S. The caller's own
 * dense scores of the touched rows are of no use. */
int scores_tokens_head(struct scores_tokens *k, const struct grad_linear *g, struct err *e);
/* The input side: finishes the touched rows in k->S. */
int scores_tokens_embed(struct scores_tokens *k, const float *dx, struct err *e);

#endif
