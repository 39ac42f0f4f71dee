/* SPDX-License-Identifier: MIT */
#include "engine/share.h"

#include <string.h>

#include "engine/op_private.h"
#include "runtime/store/transfer.h"

int share_open(struct share *s, struct store *store, struct err *e)
{
    s->store = store;
    s->remote = NULL;
    atomic_init(&s->away, false);
    atomic_init(&s->full, false);
    return remote_from_env(&s->remote, e);
}

void share_close(struct share *s)
{
    remote_free(s->remote);
    s->remote = NULL;
}

bool share_sends(const struct share *s)
{
    return s->remote && !remote_readonly(s->remote) && !atomic_load(&s->away) && !atomic_load(&s->full);
}

static const char *type_of(const struct node *n, size_t port)
{
    const char *type = js_cstr(js_get(n->out[port], "type"));
    return type ? type : n->op->outputs[port].type;
}

/* What the node will give: each announced port once, with its type. */
static bool fits(const struct node *n, const struct record *r)
{
    size_t found = 0, want = 0;
    for (size_t i = 0; i < n->n_out; i++) {
        want += n->out[i] != NULL;
        for (size_t k = 0; n->out[i] && k < r->n_out; k++)
            found += strcmp(r->ports[k], n->op->outputs[i].name) == 0 && strcmp(r->out[k].type, type_of(n, i)) == 0 && r->out[k].n > 0;
    }
    return found == want && r->n_out == want;
}

static struct record *ask(struct share *s, const struct node *n, const struct planned *p, bool files, const struct progress *progress)
{
    struct record *r = NULL;
    struct err e = {0};
    if (!s->remote || p->forced || atomic_load(&s->away))
        return NULL;
    static const struct patience patience = {10, 2};
    int rc = files ? transfer_pull(s->store, s->remote, &p->key, &patience, progress, &r, &e)
                   : transfer_look(s->store, s->remote, &p->key, progress, &r, &e);
    if (rc == 0 && !fits(n, r)) {
        rc = err_set(&e, ERR_DAMAGED, "%s: its record of this key is not of operator %s", remote_name(s->remote), n->op->name);
        record_free(r);
        r = NULL;
    }
    if (rc == 0) {
        js_free(r->expanded);
        r->expanded = js_ref(p->expanded);
        return r;
    }
    if (rc == ERR_NOTFOUND || progress_cancelled(progress))
        return NULL;
    if (rc == ERR_DAMAGED || rc == ERR_CANCELLED)
        progress_warn(progress, "remote cache: %s; the node runs here", e.msg);
    else if (!atomic_exchange(&s->away, true))
        progress_warn(progress, "remote cache: %s; this run goes on without it", e.msg);
    return NULL;
}

struct record *share_fetch(struct share *s, const struct node *n, const struct planned *p, const struct progress *progress)
{
    return ask(s, n, p, true, progress);
}

struct record *share_look(struct share *s, const struct node *n, const struct planned *p, const struct progress *progress)
{
    return ask(s, n, p, false, progress);
}

void share_send(struct share *s, const struct record *r, const struct progress *progress)
{
    struct transfer_result sent = {0};
    struct err e = {0};
    if (!share_sends(s))
        return;
    static const struct patience patience = {60, 1};
    struct progress quiet = {.u = progress->u, .cancelled = progress->cancelled}; /* the node has ended */
    int rc = transfer_push(s->store, s->remote, r, &patience, &quiet, &sent, &e);
    if (rc == 0 || rc == ERR_NOTFOUND || progress_cancelled(progress))
        return;
    _Atomic bool *flag = rc == ERR_NOSPACE ? &s->full : &s->away;
    if (!atomic_exchange(flag, true))
        progress_warn(progress, "remote cache: %s; this run sends nothing more to it", e.msg);
}
