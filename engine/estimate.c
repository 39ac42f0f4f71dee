/* SPDX-License-Identifier: MIT
 *
 * estimate: how long what a plan will run may take. An operator's cost counts work, which the measured speed of this
 * machine (plan_machine) makes seconds; where nodes of the operator have run here (records and history of the same graph,
 * of runs long enough to be measured), what they took for their cost scales the rest.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/names.h"
#include "engine/plan_private.h"
#include "runtime/exec/par.h"

struct speed {
    double took, counted; /* seconds: of runs, and by cost */
};

/* A guess until there is history: operators are not all product, and small products are slower. */
static const double share = 0.5;
static double per_cpu = 3e10, per_cpu_bf16 = 6e10; /* floating-point operations a second and processor */

void plan_machine(double f32, double bf16)
{
    per_cpu = share * f32 / par_cpus();
    per_cpu_bf16 = share * bf16 / par_cpus();
}

double plan_cost_seconds(const struct op_cost *c)
{
    const double bytes = 1e9;
    int threads = c->max_threads > 0 && c->max_threads < par_cpus() ? c->max_threads : par_cpus();
    return c->flops / ((c->products == DT_BF16 ? per_cpu_bf16 : per_cpu) * threads) + (c->bytes_read + c->bytes_written) / bytes;
}

static bool is_due(const struct planned *n)
{
    return n->state == NODE_RUN || n->state == NODE_PENDING;
}

/* The estimate of a due node comes from its cost; else its own history said it. */
static bool is_guessed(const struct planned *n)
{
    return n->seconds == plan_cost_seconds(&n->cost);
}

/* Seconds that the node took; 0: it has not run. */
static double took(const struct planned *n)
{
    return n->state == NODE_UPTODATE && n->record ? n->record->wall : is_due(n) && !is_guessed(n) ? n->seconds : 0;
}

/* What the nodes of each operator took, and what their costs say; false: nothing is known, or no memory. */
static bool measure(const struct plan *p, struct names *ops, struct speed *speeds)
{
    enum { SHORTEST_MS = 50 }; /* shorter ones are made of starting and storing */
    size_t n = 0;
    for (size_t i = 0; i < p->graph->n; i++) {
        const struct node *g = &p->graph->nodes[i];
        struct op_cost c = {0};
        double wall = took(&p->nodes[i]);
        if (!g->op->cost || wall * 1e3 < SHORTEST_MS)
            continue;
        size_t k = names_get(ops, str_of(g->op->name));
        if (k == NAMES_NONE && !names_put(ops, str_of(g->op->name), k = n++))
            return false;
        g->op->cost(&g->args, &c);
        speeds[k].took += wall;
        speeds[k].counted += plan_cost_seconds(&c);
    }
    return n > 0;
}

void plan_scale(struct plan *p)
{
    struct names ops = {0};
    bool idle = true;
    for (size_t i = 0; i < p->graph->n && idle; i++)
        idle = !is_due(&p->nodes[i]);
    struct speed *speeds = idle ? NULL : calloc(p->graph->n + 1, sizeof *speeds);
    if (speeds && measure(p, &ops, speeds))
        for (size_t i = 0; i < p->graph->n; i++) {
            struct planned *n = &p->nodes[i];
            size_t k = names_get(&ops, str_of(p->graph->nodes[i].op->name));
            if (is_due(n) && is_guessed(n) && k != NAMES_NONE && speeds[k].counted > 0)
                n->seconds *= speeds[k].took / speeds[k].counted;
        }
    names_release(&ops);
    free(speeds);
}
