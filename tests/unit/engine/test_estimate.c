/* SPDX-License-Identifier: MIT
 *
 * What took how long here scales what costs alone would say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/plan_private.h"

static void cost(const struct op_args *a, struct op_cost *c)
{
    (void)a;
    *c = (struct op_cost){.flops = 3e10, .max_threads = 1}; /* 1 s by cost alone */
}

static const struct op slow = {.name = "slow", .cost = cost}, other = {.name = "other", .cost = cost};

static struct planned due(enum node_state s)
{
    struct planned n = {.state = s, .same_as = -1};
    cost(NULL, &n.cost);
    n.seconds = plan_cost_seconds(&n.cost);
    return n;
}

static void test_scale(void **state)
{
    (void)state;
    struct record ran = {.wall = 4}, short_one = {.wall = 0.001};
    struct node nodes[] = {{.op = &slow}, {.op = &slow}, {.op = &slow}, {.op = &other}, {.op = &other}};
    struct graph g = {.n = 5, .nodes = nodes};
    struct planned n[5] = {due(NODE_UPTODATE), due(NODE_RUN), due(NODE_PENDING), due(NODE_PENDING), due(NODE_UPTODATE)};
    struct plan p = {.graph = &g, .nodes = n};
    n[0].record = &ran;
    n[2].seconds = 6;         /* of its history */
    n[4].record = &short_one; /* too short to say anything */
    assert_true(n[1].seconds == 1);
    plan_scale(&p);
    assert_true(n[1].seconds == 5); /* 4 s and 6 s were measured where costs say 1 s and 1 s */
    assert_true(n[2].seconds == 6);
    assert_true(n[3].seconds == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_scale)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
