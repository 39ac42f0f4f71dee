/* SPDX-License-Identifier: MIT */
#include "ops/lib/rank_pattern.h"

#include <math.h>
#include <string.h>

enum { RANK_MAX = 65536 };

static bool ends_path(const char *path, const char *end)
{
    size_t n = strlen(path), k = strlen(end);
    return k && k <= n && strcmp(path + n - k, end) == 0 && (k == n || path[n - k - 1] == '.');
}

static const struct js *find(const struct op_args *a, const char *param, int layer, enum module m)
{
    const struct js *map = op_map(a, param), *best = NULL;
    char path[PARAM_NAME_MAX];
    size_t longest = 0;
    module_path(path, layer, m);
    for (void *it = map ? js_iter(map) : NULL; it; it = js_next(map, it))
        if (ends_path(path, js_iter_key(it)) && strlen(js_iter_key(it)) > longest) {
            longest = strlen(js_iter_key(it));
            best = js_iter_value(it);
        }
    return best;
}

int rank_of(const struct op_args *a, int layer, enum module m)
{
    const struct js *v = find(a, "rank_pattern", layer, m);
    return (int)(v ? js_int(v, 1) : op_int(a, "r"));
}

double alpha_of(const struct op_args *a, int layer, enum module m)
{
    const struct js *v = find(a, "alpha_pattern", layer, m);
    return v ? js_num(v, 1) : op_float(a, "lora_alpha");
}

static bool ends_some(const struct model_config *c, const bool targets[MOD_COUNT], const char *key)
{
    char path[PARAM_NAME_MAX];
    for (int m = 0; m < MOD_COUNT; m++)
        for (int l = 0; targets[m] && l < (m < MOD_LINEARS ? c->num_hidden_layers : 1); l++)
            if (ends_path(module_path(path, m < MOD_LINEARS ? l : -1, (enum module)m), key))
                return true;
    return false;
}

static int check_value(const char *param, const char *key, const struct js *v, struct err *e)
{
    double x = js_num(v, NAN);
    if (strcmp(param, "rank_pattern") == 0 && !(x >= 1 && x <= RANK_MAX && x == floor(x)))
        return err_set(e, ERR_INPUT, "rank_pattern: the rank of \"%.60s\" must be an integer from 1 to %d", key, RANK_MAX);
    if (!(x >= 1e-6 && x <= 1e6))
        return err_set(e, ERR_INPUT, "alpha_pattern: the alpha of \"%.60s\" must be a number from 1e-06 to 1e+06", key);
    return 0;
}

int rank_pattern_check(struct op_infer *x, const struct model_config *c, const bool targets[MOD_COUNT], struct err *e)
{
    static const char *const params[] = {"rank_pattern", "alpha_pattern"};
    for (int i = 0; i < 2; i++) {
        const struct js *map = op_map(op_infer_args(x), params[i]);
        op_blame_param(x, params[i]);
        for (void *it = map ? js_iter(map) : NULL; it; it = js_next(map, it)) {
            int rc = check_value(params[i], js_iter_key(it), js_iter_value(it), e);
            if (rc)
                return rc;
            if (!ends_some(c, targets, js_iter_key(it)))
                return err_set(e, ERR_INPUT,
                               "%s: \"%.80s\" is not the end of any target's path; write down_proj, or layers.3.mlp.down_proj (regular expressions are not "
                               "understood)",
                               params[i], js_iter_key(it));
        }
    }
    return 0;
}
