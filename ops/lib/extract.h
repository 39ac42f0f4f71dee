/* SPDX-License-Identifier: MIT
 *
 * extract: dimension alignment (method.md 3): which block of which teacher matrix becomes which student matrix, and the
 * copying of it. Rows and columns are those of the parameters as stored, embeddings (V, d) included; the search sees
 * embeddings transposed, which matters for ties and in reference mode only. Used by ops/dim-align.c; knows no engine.
 */
#ifndef PKG_OPS_LIB_EXTRACT_H
#define PKG_OPS_LIB_EXTRACT_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/base/err.h"
#include "runtime/base/json.h"
#include "runtime/formats/safetensors.h"
#include "runtime/model/config.h"

enum structure { STRUCTURE_SUBMATRIX, STRUCTURE_ROW_COLUMN, STRUCTURE_NEURON, STRUCTURE_RANDOM };

/* One block. */
struct extract_job {
    char name[PARAM_NAME_MAX];   /* the student's parameter */
    char source[PARAM_NAME_MAX]; /* the teacher's */
    int layer;                   /* the student's; -1 outside a layer */
    enum module mod;
    size_t rows, cols; /* of the block, as stored */
    bool transposed;   /* the search's orientation: embeddings */
    bool fixed;        /* row and col are set (shared axes): no search */
    size_t row, col;
};

/* All blocks in model order: embedding, layers, lm_head. map: teacher layer of each student layer. wanted: by module.
 * No lm_head for a tied student; a tied teacher's lm_head is its embedding. jobs is malloc'ed. */
int extract_plan(const struct model_config *teacher, const struct model_config *student, const int *map,
                 const bool wanted[MOD_COUNT], struct extract_job **jobs, size_t *n, struct err *e);

/* Can every wanted matrix of the student be cut out of the teacher's? ERR_INPUT names both sides. Rows of embedding and lm_head are not
 * compared. */
int extract_check(const struct model_config *teacher, const struct model_config *student, const bool wanted[MOD_COUNT],
                  struct err *e);

struct extract_options {
    enum structure structure;
    bool reference; /* submatrix: the published arithmetic */
    uint64_t seed;  /* random */
};

/* The block of w by the scores s (same shape; F32 or BF16): data (rows * cols elements of w's type, in the student's
 * shape) and its entry of blocks.json in *info: source, rows, cols, score, total. Embedding and lm_head: the rows that both models
 * have; where the student has more of them (padding, ops/lib/vocabulary), those are zero. */
int extract_block(const struct extract_job *j, const struct extract_options *o, const struct tensor *w,
                  const struct tensor *s, void *data, struct js **info, struct err *e);

/* The same, given away in runs of rows, each once, on any thread of the team; a window never lies in memory whole. An error that
 * `rows` returns ends the call. */
struct extract_sink {
    void *u;
    int (*rows)(void *u, size_t first, size_t n, const void *data, struct err *e);
};
int extract_give(const struct extract_job *j, const struct extract_options *o, const struct tensor *w, const struct tensor *s,
                 const struct extract_sink *to, struct js **info, struct err *e);

/* Shared axes: for the n jobs of one layer one residual window (columns of q k v gate up, rows of o down), one window
 * of query heads (rows of q, columns of o), one of key and value heads (rows of k v) and one of feed-forward neurons
 * (rows of gate up, columns of down), each the run with the largest sum of S over the matrices that share it, the
 * residual window first, the others inside it. Windows of heads start at a head where both models have the same head
 * size. scores[i] belongs to jobs[i]. */
int extract_shared(const struct model_config *teacher, const struct model_config *student, struct extract_job *jobs,
                   size_t n, const struct tensor *const *scores, struct err *e);

#endif
