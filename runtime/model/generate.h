/* SPDX-License-Identifier: MIT
 *
 * generate: greedy continuation of many prompts at once with a KV cache: prompts are prefilled packed, then every step
 * decodes one token of each running sequence. The text does not depend on how many run together (f32).
 */
#ifndef PKG_MODEL_GENERATE_H
#define PKG_MODEL_GENERATE_H

#include "runtime/exec/progress.h"
#include "runtime/model/lora.h"
#include "runtime/model/weights.h"
#include "runtime/text/tokenizer.h"

struct generate_options {
    const struct weights *weights;
    const struct lora *lora;      /* NULL: none */
    size_t max_new_tokens;
    int n_eos;
    const int *eos;               /* any of these ends a sequence; it is part of the output */
    size_t max_batch;             /* sequences at once; 0: chosen from the sizes */
    const struct progress *progress; /* in finished prompts ("rows") */
    /* stop test after each token, beside EOS; may be NULL: ids generated so far */
    bool (*stop)(void *u, size_t prompt, const int32_t *ids, size_t n);
    void *stop_u;
};

/* out[i] gets the new ids of prompts[i] (both n long; out zeroed by the caller, released with ids_release). A prompt plus
 * max_new_tokens longer than max_position_embeddings is cut short there. An empty prompt is ERR_INPUT. */
int generate_greedy(const struct generate_options *o, size_t n, const struct ids *prompts, struct ids *out, struct err *e);

#endif
