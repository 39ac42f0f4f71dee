/* SPDX-License-Identifier: MIT
 *
 * Tokens that recur lose less to bf16: which they are, and that the losses of batches that are all such tokens come near those of f32,
 * whole and in parts, with more of them than go through a product at once.
 */
#include "sum_sink.h"
#include "tiny.h"

#include "runtime/model/precise.h"

enum { TOKENS = 16, KINDS = 40, SEQS = 2 * KINDS, VOCAB = 37 };

/* Every sequence stands there twice, first all of one copy, then all of the other; each predicts its last token's successor. */
struct twins {
    struct batch b;
    int32_t cu[SEQS + 1], ids[SEQS * TOKENS], tcu[SEQS + 1], pos[SEQS], tid[SEQS];
};

static void twins_fill(struct twins *t)
{
    for (int s = 0; s < SEQS; s++) {
        t->cu[s] = s * TOKENS;
        t->tcu[s] = s;
        t->pos[s] = (s + 1) * TOKENS - 1;
        for (int i = 0; i < TOKENS; i++)
            t->ids[s * TOKENS + i] = s < KINDS ? (int32_t)rng_below(11, (uint64_t)s, (uint64_t)i, VOCAB) : t->ids[(s - KINDS) * TOKENS + i];
        t->tid[s] = t->ids[s * TOKENS];
    }
    t->cu[SEQS] = SEQS * TOKENS;
    t->tcu[SEQS] = SEQS;
    t->b = (struct batch){.n_seqs = SEQS, .cu = t->cu, .ids = t->ids, .n_targets = SEQS, .target_cu = t->tcu, .target_pos = t->pos, .target_id = t->tid};
}

static void rows_that_recur(void **state)
{
    (void)state;
    const int32_t ids[] = {5, 6, 7, 8, 5, 6, 9, 1, 5, 6, 7, 8, 4, 5, 6}, cu[] = {0, 4, 7, 8, 12, 12, 13, 15};
    const struct {
        int seq;
        int32_t lead;
    } want[] = {{4, 0}, {2, 1}, {5, 1}, {6, 2}, {0, 4}, {3, 4}, {1, 2}};
    struct precise_row rows[7];
    precise_rows(&(struct batch){.n_seqs = 7, .cu = cu, .ids = ids}, rows);
    for (int i = 0; i < 7; i++) {
        assert_int_equal(rows[i].seq, want[i].seq);
        assert_int_equal(rows[i].lead, want[i].lead);
    }
}

/* Losses of the sequences, backward pass included when `part` is not 0. */
static void losses(const struct weights *w, const struct twins *t, bool precise, size_t part, double *seq)
{
    struct err e;
    struct sum_sink s;
    struct grad_sink sink;
    double total;
    struct pass_options o = {.weights = w, .recompute = true, .precise = precise, .part_tokens = part};
    if (!part) {
        OK(pass_loss(&o, &t->b, seq, &total, &e), e);
        return;
    }
    sum_init(&s, weights_config(w), &sink);
    OK(pass_backward(&o, &t->b, &sink, seq, &total, &e), e);
    sum_release(&s);
}

static double far(const double *a, const double *b)
{
    double sum = 0;
    for (int i = 0; i < SEQS; i++)
        sum += fabs(a[i] - b[i]);
    return sum;
}

/* What is left is the rounding before lm_head, in attention, and of 16 bits. */
static void losses_come_near(void **state)
{
    (void)state;
    static struct twins t;
    twins_fill(&t);
    for (int kind = WEIGHTS_RESIDENT; kind <= WEIGHTS_PACKED_BOTH; kind++) {
        struct opened o;
        struct weights *f, *g;
        struct err e;
        double want[SEQS], plain[SEQS], precise[SEQS], parts[SEQS];
        tiny_open(&o, false, DT_BF16);
        OK(weights_new(o.m, DT_F32, (enum weights_kind)kind, &f, &e), e);
        OK(weights_new(o.m, DT_BF16, (enum weights_kind)kind, &g, &e), e);
        losses(f, &t, true, 0, want);
        losses(g, &t, false, 0, plain);
        losses(g, &t, true, 0, precise);
        assert_true(far(precise, want) < far(plain, want) / 2);
        losses(g, &t, true, 5 * TOKENS, parts);
        assert_true(far(parts, want) < far(plain, want) / 2);
        weights_free(g);
        weights_free(f);
        close_dir(&o);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_that_recur),
        cmocka_unit_test(losses_come_near),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
