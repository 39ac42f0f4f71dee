/* SPDX-License-Identifier: MIT
 *
 * generate: continuation of many prompts at once with a cache of keys and values. Prompts are prefilled packed, in pieces
 * of bounded length; every step decodes one token of each running sequence; a finished sequence makes room for the next
 * prompt at once. A prompt whose front is still in some sequence's cache (few-shot prompts) takes it from there.
 *
 * Greedy at temperature 0, else drawn from softmax(logits / temperature), restricted to the top_k most probable ids, then
 * to the fewest whose probabilities reach top_p (Holtzman et al., arXiv 1904.09751). The number that decides draw i of
 * prompt p is a function of (seed, p, i) alone. In f32 the text does not depend on how many sequences run together, nor on
 * the number of threads.
 */
#ifndef PKG_MODEL_GENERATE_H
#define PKG_MODEL_GENERATE_H

#include "runtime/exec/progress.h"
#include "runtime/model/lora.h"
#include "runtime/model/weights.h"
#include "runtime/text/tokenizer.h"

enum { GENERATE_BATCH = 64 }; /* sequences at once, at most */

struct generate_options {
    const struct weights *weights;
    const struct lora *lora;      /* NULL: none */
    size_t max_new_tokens;
    int n_eos;
    const int *eos;               /* any of these ends a sequence; it is part of the output */
    size_t max_batch;             /* sequences at once, at most GENERATE_BATCH; 0: chosen from the sizes */
    size_t prefill;               /* tokens of prompts in one pass; 0: 1024 */
    bool copy_weights;            /* where there is memory for it: a copy in large pages for long decoding. For weights that are
                                     mapped; those that were converted lie in such memory already */
    const struct progress *progress; /* in new tokens; their total is an estimate from the answers so far */
    /* a prompt is answered: out[prompt] is final; an error ends the generation. May be NULL */
    int (*answered)(void *u, size_t prompt, const struct ids *out, struct err *e);
    void *answered_u;
    /* stop test after each token, beside EOS; may be NULL: ids generated so far */
    bool (*stop)(void *u, size_t prompt, const int32_t *ids, size_t n);
    void *stop_u;
    double temperature;           /* 0: greedy, the lowest id of equals */
    double top_p;                 /* 0 or 1: all */
    size_t top_k;                 /* 0: all */
    uint64_t seed;
};

/* out[i] gets the new ids of prompts[i] (both n long; out zeroed by the caller, released with ids_release). Prompts whose out
 * holds ids already are done, and left alone: work taken up again. A prompt plus
 * max_new_tokens longer than max_position_embeddings is cut short there. An empty prompt is ERR_INPUT. */
int generate(const struct generate_options *o, size_t n, const struct ids *prompts, struct ids *out, struct err *e);
/* The same at temperature 0, whatever the options say. */
int generate_greedy(const struct generate_options *o, size_t n, const struct ids *prompts, struct ids *out, struct err *e);
/* Bytes beyond the weights, of prompts of at most `longest` ids. */
uint64_t generate_memory(const struct model_config *c, enum dtype compute, size_t longest, size_t max_new_tokens, size_t max_batch);

#endif
