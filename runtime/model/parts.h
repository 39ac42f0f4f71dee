/* SPDX-License-Identifier: MIT
 *
 * parts: training of small models, whose products are too small to share among threads: a micro-batch is cut into at most
 * PARTS runs of rows, each goes through the whole pass on one thread with memory and gradients of its own, and the
 * gradients are added in order. One hand-over to other threads in place of hundreds, and activations that stay in the
 * caches. The cut depends on the rows alone, so results do not depend on the number of threads.
 */
#ifndef PKG_MODEL_PARTS_H
#define PKG_MODEL_PARTS_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/model/optim.h"
#include "runtime/model/pass.h"
#include "runtime/model/samples.h"

enum { PARTS = 4 };

/* Whether a model of this shape with so many trained elements is small. */
bool parts_pay(const struct model_config *c, size_t elements);

struct parts;
/* o and l (NULL: full training) must outlive the parts. */
int parts_new(const struct optim *o, struct lora *l, bool tied, size_t hidden, struct parts **out, struct err *e);
void parts_free(struct parts *p); /* NULL is fine */

/* Forward and backward of the samples which[0..n), every target with weight `weight`: gradients are added to those of the
 * optim, *loss is the sum of the cross entropies of all targets, without the weight. base: weights and settings of the pass, without work
 * and lora; dropout_step is that of part 0, the others have it with the part's number in the upper bits. */
int parts_backward(struct parts *p, const struct pass_options *base, const struct samples *s, const uint32_t *which, size_t n,
                   double weight, double *loss, struct err *e);

#endif
