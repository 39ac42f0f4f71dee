/* SPDX-License-Identifier: MIT */
#include "runtime/model/schedule.h"

#include <math.h>
#include <string.h>

int schedule_parse(const char *name, enum schedule *s)
{
    static const char *const names[] = {"linear", "cosine", "constant"};
    for (int i = 0; name && i < 3; i++)
        if (!strcmp(name, names[i])) {
            *s = (enum schedule)i;
            return 0;
        }
    return -1;
}

int64_t schedule_warmup(double ratio, int64_t steps)
{
    return (int64_t)ceil(ratio * (double)steps);
}

double schedule_at(enum schedule s, int64_t step, int64_t steps, int64_t warmup)
{
    if (step < warmup)
        return (double)step / (double)warmup;
    double rest = (double)(steps - warmup > 0 ? steps - warmup : 1);
    if (s == SCHEDULE_LINEAR)
        return (double)(steps - step) / rest;
    if (s == SCHEDULE_COSINE)
        return 0.5 * (1 + cos(3.14159265358979323846 * (double)(step - warmup) / rest));
    return 1;
}
