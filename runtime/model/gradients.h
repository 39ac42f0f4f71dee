/* SPDX-License-Identifier: MIT
 *
 * gradients: the sink of full training: adds what the backward pass gives away to the gradients of an optim. Results do not
 * depend on the number of threads: sums over tokens run in token order, columns are divided among threads.
 */
#ifndef PKG_MODEL_GRADIENTS_H
#define PKG_MODEL_GRADIENTS_H

#include "runtime/model/optim.h"
#include "runtime/model/pass.h"

struct gradients {
    const struct optim *optim;
    bool tied;   /* lm_head's gradient goes to the embedding */
    size_t hidden;
    float *grads; /* NULL: the optim's own; else a block laid out like optim->grads */
};

struct grad_sink gradients_sink(struct gradients *g); /* borrows g */

#endif
