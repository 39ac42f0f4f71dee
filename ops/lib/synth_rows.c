/* SPDX-License-Identifier: MIT */
#include "ops/lib/synth_rows.h"

#include <stdio.h>

#include "runtime/base/rng.h"

enum kind { ADD, SUB, MUL };

struct problem {
    enum kind kind;
    unsigned a, b;
};

static unsigned pick(uint64_t u, unsigned n)
{
    return (unsigned)(((u >> 32) * n) >> 32);
}

static enum synth_split split_of(const struct problem *p)
{
    uint64_t h = rng_splitmix((uint64_t)p->kind * 10000 + p->a * 100 + p->b) % 16;
    return h < 2 ? SYNTH_TEST : h == 2 ? SYNTH_SEED : SYNTH_TRAIN;
}

static void write_answer(const struct problem *p, char *out, size_t size)
{
    unsigned a0 = p->a % 10, a1 = p->a / 10, b0 = p->b % 10, b1 = p->b / 10, c, u;
    switch (p->kind) {
    case ADD:
        u = a0 + b0;
        c = u / 10;
        snprintf(out, size, "%u+%u=%02u,%u+%u+%u=%02u #### %u", a0, b0, u, a1, b1, c, a1 + b1 + c, p->a + p->b);
        break;
    case SUB:
        c = a0 < b0;
        u = a0 + 10 * c;
        snprintf(out, size, "%02u-%u=%u,%u-%u-%u=%u #### %u", u, b0, u - b0, a1, b1, c, a1 - b1 - c, p->a - p->b);
        break;
    case MUL:
        u = a0 * p->b;
        c = u / 10;
        snprintf(out, size, "%u*%u=%02u,%u*%u+%u=%02u #### %u", a0, p->b, u, a1, p->b, c, a1 * p->b + c, p->a * p->b);
        break;
    }
}

void synth_arithmetic(uint64_t seed, enum synth_split split, int difficulty, uint64_t i, struct synth_row *out)
{
    static const char *const names[] = {"Ann", "Bob", "Eve", "Ian", "Kim", "Leo", "Mia", "Sam"};
    static const char *const things[] = {"cups", "eggs", "figs", "hats", "keys", "nuts", "pens", "toys"};
    static const char *const forms[] = {
        [ADD] = "%s has %u %s and gets %u.", [SUB] = "%s has %u %s but lost %u.", [MUL] = "%s has %u %s in a bag x%u."};
    uint64_t base = rng_splitmix(rng_splitmix(seed) ^ i);
    for (uint64_t k = 0;; k++) {
        uint64_t u[5];
        for (uint64_t j = 0; j < 5; j++)
            u[j] = rng_splitmix(base + 8 * k + j);
        struct problem p = {.kind = (enum kind)pick(u[0], (unsigned)difficulty), .a = 10 + pick(u[1], 90)};
        p.b = p.kind == MUL ? 2 + pick(u[2], 4) : 10 + pick(u[2], 90);
        if (p.kind == SUB && p.a < p.b) {
            unsigned a = p.a;
            p.a = p.b;
            p.b = a;
        }
        if (split_of(&p) != split)
            continue;
        snprintf(out->user, sizeof out->user, forms[p.kind], names[pick(u[3], 8)], p.a, things[pick(u[4], 8)], p.b);
        write_answer(&p, out->assistant, sizeof out->assistant);
        return;
    }
}
