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

static void put_turns(struct buf *out, const struct row *r, size_t n, enum text_form form, const char *eos_text)
{
    for (size_t i = 0; i < n; i++) {
        const struct message *m = &r->messages[i];
        buf_puts(out, headers[m->role]);
        buf_str(out, utf8_strip(m->content));
        buf_puts(out, m->role == ROLE_ASSISTANT && form == FORM_SEED ? (eos_text ? eos_text : "") : "\n\n");
    }
}

/* The number of turns up to and with the last assistant turn; 0: there is none. */
static size_t answered(const struct row *r)
{
    size_t n = r->n;
    while (n && r->messages[n - 1].role != ROLE_ASSISTANT)
        n--;
    return n;
}

static void put_row(struct buf *out, const struct row *r, size_t n, enum text_form form, const char *eos_text)
{
    if (!r->plain) {
        put_turns(out, r, n, form, eos_text);
        return;
    }
    for (size_t i = 0; i < n; i++)
        buf_str(out, r->messages[i].content);
    if (form == FORM_SEED && eos_text)
        buf_puts(out, eos_text);
}

/* Everything before the content of turn n - 1, an assistant turn. */
static void put_prompt(struct buf *out, const struct row *r, size_t n, enum text_form form, const char *eos_text)
{
    if (r->plain)
        return;
    put_turns(out, r, n - 1, form, eos_text);
    buf_puts(out, headers[ROLE_ASSISTANT]);
}

int row_text(const struct row *r, enum text_form form, const char *eos_text, bool prompt_only, struct buf *out,
             struct err *e)
{
    size_t n = answered(r);
    if (!prompt_only)
        put_row(out, r, n ? n : r->n, form, eos_text);
    else
        put_prompt(out, r, n ? n : r->n + 1, form, eos_text);
    return out->failed ? err_nomem(e, out->n, "the text of a row") : 0;
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

static int count_ids(const struct tokenizer *t, struct buf *text, size_t *n, struct err *e)
{
    struct ids ids = {0};
    int rc =
        text->failed ? err_nomem(e, text->n, "the text of a row") : tokenizer_encode(t, buf_view(text), true, &ids, e);
    *n = ids.n;
    ids_release(&ids);
    return rc;
}

/* A text that begins with the BOS text itself gets only one BOS (users.md 3, #6). */
static int drop_second_bos(const struct tokenizer *t, struct ids *ids, struct err *e)
{
    struct ids empty = {0};
    int rc = tokenizer_encode(t, STR(""), true, &empty, e);
    if (rc == 0 && empty.n && ids->n >= 2 && ids->v[0] == empty.v[0] && ids->v[1] == empty.v[0])
        memmove(ids->v, ids->v + 1, --ids->n * sizeof *ids->v);
    ids_release(&empty);
    return rc;
}

/* trained[from..to) = 1, where from and to are the lengths of the rendered prefixes around the content of turn i */
static int mark_turn(const struct tokenizer *t, const struct row *r, size_t i, enum text_form form,
                     const char *eos_text, bool last, struct encoded *x, struct buf *text, struct err *e)
{
    size_t from, to = x->n;
    buf_clear(text);
    put_prompt(text, r, i + 1, form, eos_text);
    int rc = count_ids(t, text, &from, e);
    if (rc == 0 && !last) {
        buf_clear(text);
        put_turns(text, r, i + 1, form, eos_text);
        rc = count_ids(t, text, &to, e);
    }
    for (size_t k = from; rc == 0 && k < to && k < x->n; k++)
        x->trained[k] = 1;
    return rc;
}

static int mark(const struct tokenizer *t, const struct row *r, size_t n, enum text_form form, enum train_on on,
                const char *eos_text, struct encoded *x, struct buf *text, struct err *e)
{
    int rc = 0;
    if (on == TRAIN_ALL || r->plain) {
        memset(x->trained, 1, x->n);
    } else {
        for (size_t i = on == TRAIN_LAST ? n - 1 : 0; rc == 0 && i < n; i++) {
            if (r->messages[i].role == ROLE_ASSISTANT)
                rc = mark_turn(t, r, i, form, eos_text, i + 1 == n, x, text, e);
        }
    }
    while (x->n_prompt < x->n && !x->trained[x->n_prompt])
        x->n_prompt++;
    for (size_t i = 1; i < x->n; i++)
        x->n_target += x->trained[i];
    return rc;
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
    put_row(&text, r, n, form, eos_text);
    int rc =
        text.failed ? err_nomem(e, text.n, "the text of a row") : tokenizer_encode(t, buf_view(&text), true, &ids, e);
    if (rc == 0 && r->plain)
        rc = drop_second_bos(t, &ids, e);
    if (rc == 0 && form == FORM_TRAIN && eos_id >= 0 && (ids.n == 0 || ids.v[ids.n - 1] != eos_id) &&
        ids_push(&ids, eos_id) < 0)
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
    rc = mark(t, r, n, form, on, eos_text, out, &text, e);
out:
    ids_release(&ids);
    buf_release(&text);
    if (rc < 0)
        encoded_release(out);
    return rc;
}
