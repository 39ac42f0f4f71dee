/* SPDX-License-Identifier: MIT */
#include "engine/sweep.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/param.h"
#include "engine/spec.h"

enum { LABEL = 60 };

/* ---- values ---- */

/* The text of a value in ids: as written, on one line, long ones cut with a hash of the rest. */
static const char *label_of(const struct ynode *y, struct arena *a)
{
    struct buf b = {0};
    if (y->kind == Y_SCALAR) {
        buf_str(&b, ynode_is_null(y) ? STR("null") : y->text);
    } else {
        struct js *j = ynode_json(y);
        if (j)
            js_write(&b, j);
        js_free(j);
    }
    if (b.n > LABEL) {
        uint32_t h = (uint32_t)hash_bytes(0, b.p, b.n);
        size_t n = LABEL - 9;
        while (n > 0 && ((unsigned char)b.p[n] & 0xc0) == 0x80)
            n--;
        b.n = n;
        buf_printf(&b, "~%08x", h);
    }
    for (size_t i = 0; i < b.n; i++)
        if ((unsigned char)b.p[i] < 0x20 || b.p[i] == 0x7f)
            b.p[i] = '?';
    const char *z = b.failed ? NULL : arena_str(a, buf_view(&b));
    buf_release(&b);
    return z;
}

/* {from, to, step}: both ends included. */
static int read_range(struct sweep_key *k, const struct ynode *y, struct scope *s)
{
    static const char *const known[] = {"from", "to", "step"};
    check_keys(s->d, y, "a range", known, 3);
    double v[3] = {0, 0, 1};
    bool whole = true;
    for (int i = 0; i < 3; i++) {
        const struct ynode *x = ynode_get(y, known[i]);
        if (!x && i == 2)
            continue;
        if (!x || x->kind != Y_SCALAR || !parse_float(x->text, &v[i])) {
            diag_value(s->d, DIAG_ERROR, x ? x : y, "write {from: 1, to: 9, step: 2}", "a range needs the number \"%s\"", known[i]);
            return ERR_INPUT;
        }
        whole &= v[i] == floor(v[i]) && fabs(v[i]) < 0x1p53;
    }
    double n = v[2] != 0 ? floor((v[1] - v[0]) / v[2] + 1e-9) + 1 : 0;
    if (!(n >= 1 && n <= SWEEP_VALUES)) {
        if (n > SWEEP_VALUES)
            diag_value(s->d, DIAG_ERROR, y, NULL, "the range has more than %d values", SWEEP_VALUES);
        else
            diag_value(s->d, DIAG_ERROR, y, "step leads from `from` towards `to`; the default is 1", "the range has no values");
        return ERR_INPUT;
    }
    k->v = arena_array(s->arena, (size_t)n, sizeof *k->v);
    if (!k->v)
        return ERR_NOMEM;
    for (; k->n < (size_t)n; k->n++) {
        char z[64];
        snprintf(z, sizeof z, whole ? "%.0f" : "%.12g", v[0] + (double)k->n * v[2]);
        if (!(k->v[k->n].y = ynode_scalar(s->arena, str_of(z), true, y->at)))
            return ERR_NOMEM;
    }
    return 0;
}

static int read_list(struct sweep_key *k, const struct ynode *y, struct scope *s)
{
    if (y->n == 0 || y->n > SWEEP_VALUES) {
        if (y->n)
            diag_value(s->d, DIAG_ERROR, y, NULL, "more than %d values", SWEEP_VALUES);
        else
            diag_value(s->d, DIAG_ERROR, y, NULL, "the list of values is empty");
        return ERR_INPUT;
    }
    k->v = arena_array(s->arena, y->n, sizeof *k->v);
    if (!k->v)
        return ERR_NOMEM;
    for (; k->n < y->n; k->n++)
        k->v[k->n].y = y->v[k->n];
    return 0;
}

/* Labels, and which values are equal. In a zip group a key may repeat a value. */
static int label_values(struct sweep_key *k, struct scope *s, bool zipped)
{
    struct names seen = {0};
    int rc = 0;
    k->distinct = true;
    for (size_t i = 0; i < k->n && rc == 0; i++) {
        struct sweep_value *v = &k->v[i];
        v->same = (uint32_t)i;
        if (!(v->label = label_of(v->y, s->arena))) {
            rc = ERR_NOMEM;
            break;
        }
        size_t first = names_get(&seen, str_of(v->label));
        if (first != NAMES_NONE && ynode_equal(k->v[first].y, v->y)) {
            v->same = (uint32_t)first;
            k->distinct = false;
            if (!zipped)
                diag_value(s->d, DIAG_ERROR, v->y, "remove one of the two", "%s takes the value %s twice", k->name, v->label);
        } else if (first != NAMES_NONE) {
            v->label = arena_printf(s->arena, "%s~%zu", v->label, i + 1);
        }
        if (!v->label || !names_put(&seen, str_of(v->label), v->same))
            rc = ERR_NOMEM;
    }
    names_release(&seen);
    return rc;
}

/* ---- keys ---- */

static int bind_key(struct sweep_key *k, struct str name, struct scope *s)
{
    k->name = arena_str(s->arena, name);
    if (!k->name)
        return ERR_NOMEM;
    const char *dot = memchr(name.p, '.', name.n);
    if (dot) {
        k->node = arena_str(s->arena, (struct str){name.p, (size_t)(dot - name.p)});
        k->param = arena_str(s->arena, (struct str){dot + 1, name.n - (size_t)(dot - name.p) - 1});
        return k->node && k->param ? 0 : ERR_NOMEM;
    }
    k->var = scope_find(s, name);
    if (k->var)
        return 0;
    char hint[200] = "a key is a variable (declared under vars:) or node.param";
    const char *near = scope_near(s, k->name);
    if (near)
        snprintf(hint, sizeof hint, "did you mean \"%.100s\"?", near);
    diag_add(s->d, DIAG_ERROR, k->at, hint, "the sweep varies \"%.80s\", which is not a variable", k->name);
    return ERR_INPUT;
}

static int read_key(struct sweep *w, const struct ypair *p, struct scope *s, const struct names *pinned, bool zipped)
{
    if (ynode_is_null(p->value) || names_get(pinned, p->key) != NAMES_NONE)
        return 0;
    if (w->n_keys == SWEEP_KEYS) {
        diag_add(s->d, DIAG_ERROR, p->at, NULL, "more than %d keys in the sweep", SWEEP_KEYS);
        return ERR_INPUT;
    }
    struct sweep_key *k = &w->keys[w->n_keys];
    *k = (struct sweep_key){.at = p->at, .group = w->n_groups};
    const struct ynode *y = scope_subst(s, p->value);
    if (!y)
        return s->nomem ? ERR_NOMEM : ERR_INPUT;
    int rc = bind_key(k, p->key, s);
    if (rc)
        return rc;
    if (y->kind == Y_SCALAR) {
        diag_value(s->d, DIAG_ERROR, y, "write a list, [4, 16], or a range, {from: 1, to: 9, step: 2}", "the sweep needs the values of %s as a list",
                   k->name);
        return ERR_INPUT;
    }
    rc = y->kind == Y_MAP ? read_range(k, y, s) : read_list(k, y, s);
    if (rc == 0)
        rc = label_values(k, s, zipped);
    if (rc == 0)
        w->n_keys++;
    return rc;
}

static int read_zip(struct sweep *w, const struct ynode *y, struct scope *s, const struct names *pinned)
{
    if (!ynode_map(s->d, y, "zip"))
        return ERR_INPUT;
    size_t first = w->n_keys;
    int rc = 0;
    for (size_t i = 0; i < y->n && rc != ERR_NOMEM; i++) {
        rc = read_key(w, &y->pairs[i], s, pinned, true);
        size_t n = w->n_keys;
        if (rc == 0 && n > first + 1 && w->keys[n - 1].n != w->keys[first].n) {
            diag_add(s->d, DIAG_ERROR, w->keys[n - 1].at, "the lists of a zip are as long as each other", "%s has %zu values, %s has %zu",
                     w->keys[n - 1].name, w->keys[n - 1].n, w->keys[first].name, w->keys[first].n);
            w->n_keys--;
        }
    }
    if (w->n_keys > first)
        w->group_n[w->n_groups++] = w->keys[first].n;
    return rc;
}

static int read_section(struct sweep *w, const struct ynode *y, struct scope *s, const struct names *pinned)
{
    for (size_t i = 0; i < y->n; i++) {
        const struct ypair *p = &y->pairs[i];
        int rc = 0;
        if (str_is(p->key, "zip") && p->value->kind == Y_LIST) {
            for (size_t k = 0; k < p->value->n && rc != ERR_NOMEM; k++)
                rc = read_zip(w, p->value->v[k], s, pinned);
        } else if (str_is(p->key, "zip")) {
            rc = ynode_is_null(p->value) ? 0 : read_zip(w, p->value, s, pinned);
        } else {
            size_t n = w->n_keys;
            rc = read_key(w, p, s, pinned, false);
            if (w->n_keys > n)
                w->group_n[w->n_groups++] = w->keys[n].n;
        }
        if (rc == ERR_NOMEM)
            return rc;
    }
    return 0;
}

static void refuse_doubles(struct sweep *w, struct scope *s)
{
    for (size_t i = 0; i < w->n_keys; i++)
        for (size_t k = 0; k < i; k++)
            if (strcmp(w->keys[i].name, w->keys[k].name) == 0)
                diag_add(s->d, DIAG_ERROR, w->keys[i].at, NULL, "the sweep varies %s twice", w->keys[i].name);
}

int sweep_read(struct sweep *w, const struct ynode *y, struct scope *s, const struct names *pinned)
{
    *w = (struct sweep){.n_points = 1};
    int rc = y ? read_section(w, y, s, pinned) : 0;
    refuse_doubles(w, s);
    for (size_t i = 0; i < w->n_keys; i++)
        if (w->keys[i].var)
            w->keys[i].var->sweep_key = (int)i;
    for (size_t g = 0; g < w->n_groups; g++) {
        w->n_points *= w->group_n[g];
        if (w->n_points > SWEEP_POINTS) {
            diag_add(s->d, DIAG_ERROR, w->keys[0].at, "fewer values, or `zip:` for lists that belong together", "the sweep has more than %d points",
                     SWEEP_POINTS);
            w->n_points = 1;
            break;
        }
    }
    return rc;
}

void sweep_point(const struct sweep *w, size_t i, uint32_t *index)
{
    size_t at[SWEEP_KEYS];
    for (size_t g = w->n_groups; g-- > 0;) {
        at[g] = i % w->group_n[g];
        i /= w->group_n[g];
    }
    for (size_t k = 0; k < w->n_keys; k++)
        index[k] = w->keys[k].v[at[w->keys[k].group]].same;
}

/* Whether another key of its zip, also in mask, says what key k would. */
static bool is_said(const struct sweep *w, size_t k, uint64_t mask)
{
    for (size_t j = 0; j < w->n_keys; j++)
        if (j != k && mask >> j & 1 && w->keys[j].group == w->keys[k].group && w->keys[j].distinct && (j < k || !w->keys[k].distinct))
            return true;
    return false;
}

const char *sweep_label(const struct sweep *w, const uint32_t *index, uint64_t mask, struct arena *a)
{
    if (!mask)
        return NULL;
    struct buf b = {0};
    for (size_t k = 0; k < w->n_keys; k++)
        if (mask >> k & 1 && !is_said(w, k, mask))
            buf_printf(&b, "%s%s=%s", b.n ? "," : "", w->keys[k].name, w->keys[k].v[index[k]].label);
    const char *z = b.failed ? NULL : arena_str(a, buf_view(&b));
    buf_release(&b);
    return z;
}
