/* SPDX-License-Identifier: MIT
 *
 * row_text: the text and token ids of a row in the published template (method.md 1, 5), the half of rows.h that knows
 * the template. A turn is "<|role|>\n", its content without the white space around it, and an end: two newlines, or in
 * the seed form the EOS text after an assistant turn.
 * Masks are made by rendering prefixes and counting their ids, never by searching for texts in the tokens.
 * Turns after the last trained one are left out: attention is causal, so they change no loss.
 */
#include "runtime/text/rows.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/text/utf8.h"

static const char *const headers[] = {
    [ROLE_SYSTEM] = "<|system|>\n", [ROLE_USER] = "<|user|>\n", [ROLE_ASSISTANT] = "<|assistant|>\n"};

static int put_turns(struct buf *out, const struct row *r, size_t n, enum text_form form, const char *eos_text, struct err *e)
{
    if (r->chat)
        return chat_render(r->chat, r->messages, n, r->tools, false, out, e);
    if (row_uses_tools(r))
        return err_set(e, ERR_UNSUPPORTED, "tools have no form in the template open-instruct; template: tokenizer takes the checkpoint's");
    for (size_t i = 0; i < n; i++) {
        const struct message *m = &r->messages[i];
        buf_puts(out, headers[m->role]);
        buf_str(out, utf8_strip(m->content));
        buf_puts(out, m->role == ROLE_ASSISTANT && form == FORM_SEED ? (eos_text ? eos_text : "") : "\n\n");
    }
    return 0;
}

/* The number of turns up to and with the last assistant turn; 0: there is none. */
static size_t answered(const struct row *r)
{
    size_t n = r->n;
    while (n && r->messages[n - 1].role != ROLE_ASSISTANT)
        n--;
    return n;
}

static int put_row(struct buf *out, const struct row *r, size_t n, enum text_form form, const char *eos_text, struct err *e)
{
    int rc = r->plain ? 0 : put_turns(out, r, n, form, eos_text, e);
    for (size_t i = 0; r->plain && i < n; i++)
        buf_str(out, r->messages[i].content);
    if (r->plain && form == FORM_SEED && eos_text)
        buf_puts(out, eos_text);
    return rc == 0 && out->failed ? err_nomem(e, out->n, "the text of a row") : rc;
}

/* Everything before the content of turn n - 1, an assistant turn. */
static int put_prompt(struct buf *out, const struct row *r, size_t n, enum text_form form, const char *eos_text, struct err *e)
{
    if (r->plain)
        return 0;
    if (r->chat)
        return chat_render(r->chat, r->messages, n - 1, r->tools, true, out, e);
    int rc = put_turns(out, r, n - 1, form, eos_text, e);
    buf_puts(out, headers[ROLE_ASSISTANT]);
    return rc ? rc : out->failed ? err_nomem(e, out->n, "the text of a row") : 0;
}

int row_text(const struct row *r, enum text_form form, const char *eos_text, bool prompt_only, struct buf *out,
             struct err *e)
{
    size_t n = answered(r);
    return prompt_only ? put_prompt(out, r, n ? n : r->n + 1, form, eos_text, e) : put_row(out, r, n ? n : r->n, form, eos_text, e);
}

void eval_prompt(struct buf *out, struct str prompt)
{
    buf_puts(out, "<|user|>\n");
    buf_str(out, prompt);
    buf_puts(out, "\n<|assistant|>\n");
}

void encoded_release(struct encoded *x)
{
    free(x->ids);
    free(x->trained);
    *x = (struct encoded){0};
}

/* ---- what is trained ---- */

/* what the marks of a row are made from */
struct marking {
    const struct tokenizer *t;
    const struct row *r;
    enum text_form form;
    const char *eos_text;
    struct str whole;        /* the text of the row */
    struct encoded *x;
    struct buf text;         /* of a prefix */
    struct ids ids;
};

/* Tokens of the prefix in m->text. With a template of the row's own: those that the row begins with, too. */
static int prefix_ids(struct marking *m, size_t *n, struct err *e)
{
    m->ids.n = 0;
    int rc = chat_encode(m->r->chat, m->t, buf_view(&m->text), &m->ids, e);
    *n = m->ids.n;
    if (rc == 0 && m->r->chat)
        for (*n = 0; *n < m->ids.n && *n < m->x->n && m->ids.v[*n] == m->x->ids[*n];)
            ++*n;
    return rc;
}

/* How much of the row's text the prefix is. */
static size_t common(const struct marking *m)
{
    size_t i = 0;
    while (i < m->text.n && i < m->whole.n && m->text.p[i] == m->whole.p[i])
        i++;
    return i;
}

/* Where a template puts the content of turn i, found as the prefixes say, or refused. begin: bytes before the answer. */
static int check_place(const struct marking *m, size_t i, size_t begin, size_t end, struct err *e)
{
    struct str content = utf8_strip(m->r->messages[i].content);
    if (content.n == 0 || (begin <= end && end - begin >= content.n && memmem(m->whole.p + begin, end - begin, content.p, content.n)))
        return 0;
    return err_set(e, ERR_UNSUPPORTED,
                   "the template changes the text of turn %zu when other turns follow, so that its place in the row is not known; "
                   "train_on: last trains the last answer alone", i + 1);
}

/* trained[from..to) = 1, where from and to are the lengths of the rendered prefixes around the content of turn i */
static int mark_turn(struct marking *m, size_t i, bool last, struct err *e)
{
    size_t from = 0, to = m->x->n, begin, end = m->whole.n;
    buf_clear(&m->text);
    int rc = put_prompt(&m->text, m->r, i + 1, m->form, m->eos_text, e);
    if (rc == 0)
        rc = prefix_ids(m, &from, e);
    begin = common(m);
    if (rc == 0 && !last) {
        buf_clear(&m->text);
        rc = put_turns(&m->text, m->r, i + 1, m->form, m->eos_text, e);
        if (rc == 0)
            rc = prefix_ids(m, &to, e);
        end = common(m);
    }
    if (rc == 0 && m->r->chat && !last)
        rc = check_place(m, i, begin, end, e);
    for (size_t k = from; rc == 0 && k < to && k < m->x->n; k++)
        m->x->trained[k] = 1;
    return rc;
}

static int mark(struct marking *m, size_t n, enum train_on on, struct err *e)
{
    struct encoded *x = m->x;
    int rc = 0;
    if (on == TRAIN_ALL || m->r->plain) {
        memset(x->trained, 1, x->n);
    } else {
        for (size_t i = on == TRAIN_LAST ? n - 1 : 0; rc == 0 && i < n; i++) {
            if (m->r->messages[i].role == ROLE_ASSISTANT)
                rc = mark_turn(m, i, i + 1 == n, e);
        }
    }
    while (x->n_prompt < x->n && !x->trained[x->n_prompt])
        x->n_prompt++;
    for (size_t i = 1; i < x->n; i++)
        x->n_target += x->trained[i];
    return rc;
}

/* Is EOS still to be put behind the ids? A template may have written it, with white space behind. */
static bool eos_missing(const struct tokenizer *t, const struct row *r, const struct ids *ids, int32_t eos_id)
{
    size_t behind = 0, most = r->chat && !r->plain ? 8 : 0;
    while (behind < ids->n && behind <= most && ids->v[ids->n - 1 - behind] != eos_id)
        behind++;
    if (eos_id < 0 || (behind == 0 && ids->n))
        return false;
    if (behind >= ids->n || behind > most)
        return true;
    struct buf text = {0};
    struct err ignored;
    int rc = tokenizer_decode(t, ids->v + ids->n - behind, behind, false, &text, &ignored);
    bool blank = rc == 0 && utf8_strip(buf_view(&text)).n == 0;
    buf_release(&text);
    return !blank;
}

int row_encode(const struct tokenizer *t, const struct row *r, enum text_form form, enum train_on on, size_t max_length,
               const char *eos_text, int32_t eos_id, struct encoded *out, struct err *e)
{
    struct buf text = {0};
    struct ids ids = {0};
    *out = (struct encoded){0};
    size_t n = answered(r);
    if (n == 0 && (on != TRAIN_ALL || r->n == 0))
        return err_set(e, ERR_INPUT, "%s%s%s has no assistant turn, so nothing in it is a target; leave such rows out",
                       r->id ? "the row \"" : "a row", r->id ? r->id : "", r->id ? "\"" : "");
    if (on == TRAIN_ALL)
        n = r->n;
    int rc = put_row(&text, r, n, form, eos_text, e);
    if (rc == 0)
        rc = chat_encode(r->plain ? NULL : r->chat, t, buf_view(&text), &ids, e);
    if (rc == 0 && form == FORM_TRAIN && eos_missing(t, r, &ids, eos_id) && ids_push(&ids, eos_id) < 0)
        rc = err_nomem(e, ids.n * sizeof *ids.v, "the ids of a row");
    if (rc < 0)
        goto out;
    out->cut = ids.n > max_length;
    out->n = out->cut ? max_length : ids.n;
    out->trained = calloc(out->n + 1, 1);
    if (!out->trained) {
        rc = err_nomem(e, out->n, "the labels of a row");
        goto out;
    }
    out->ids = ids.v;
    ids = (struct ids){0};
    struct marking m = {.t = t, .r = r, .form = form, .eos_text = eos_text, .whole = buf_view(&text), .x = out};
    rc = mark(&m, n, on, e);
    buf_release(&m.text);
    ids_release(&m.ids);
out:
    ids_release(&ids);
    buf_release(&text);
    if (rc < 0)
        encoded_release(out);
    return rc;
}
