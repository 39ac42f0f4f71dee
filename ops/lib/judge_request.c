/* SPDX-License-Identifier: MIT */
#include "ops/lib/judge_request.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "runtime/base/fs.h"
#include "runtime/text/utf8.h"

static const char ours[] =
    "Two assistants were given the same instruction. Read it and both answers, and decide which answer serves the person who gave the "
    "instruction better: correct, to the point, complete, clear, and in the form that was asked for. Neither length nor order counts.\n\n"
    "# Instruction\n{instruction}\n\n# Answer 1\n{output_1}\n\n# Answer 2\n{output_2}\n\n"
    "Reply with one word and nothing else: 1 if answer 1 is better, 2 if answer 2 is better, tie if they are equally good.";

static const char *const places[] = {"{instruction}", "{output_1}", "{output_2}"};

int judge_template(const char *path, struct buf *out, struct err *e)
{
    if (!path) {
        buf_puts(out, ours);
        return out->failed ? err_nomem(e, sizeof ours, "a prompt") : 0;
    }
    int rc = fs_read(path, (size_t)1 << 20, out, e);
    for (int i = 0; rc == 0 && i < 3; i++)
        if (!out->n || !memmem(out->p, out->n, places[i], strlen(places[i])))
            rc = err_set(e, ERR_INPUT, "%s: the judge's prompt has no place %s", path, places[i]);
    return rc;
}

/* One pass over the template: what stands in the texts is not looked at for places. */
static void fill(struct str template, const struct str text[3], struct buf *out)
{
    for (size_t at = 0; at < template.n;) {
        int i = 0;
        while (i < 3 && (template.n - at < strlen(places[i]) || memcmp(template.p + at, places[i], strlen(places[i])) != 0))
            i++;
        if (i < 3) {
            buf_str(out, text[i]);
            at += strlen(places[i]);
        } else {
            buf_putc(out, template.p[at++]);
        }
    }
}

int judge_body(const struct judge_options *o, struct str template, const struct judge_pair *p, bool swapped, struct buf *out, struct err *e)
{
    const struct str text[3] = {p->instruction, swapped ? p->output : p->reference, swapped ? p->reference : p->output};
    struct buf prompt = {0};
    struct js *body = js_object(), *turn = js_object(), *turns = js_array();
    fill(template, text, &prompt);
    int bad = prompt.failed | js_set(turn, "role", js_new_cstr("user")) | js_set(turn, "content", js_new_str(buf_view(&prompt))) |
              js_push(turns, turn) | js_set(body, "messages", turns) | js_set(body, "model", js_new_cstr(o->model)) |
              js_set(body, "temperature", js_new_int(0)) | js_set(body, "max_tokens", js_new_int(64));
    for (void *it = js_iter(o->more); it && !bad; it = js_next(o->more, it)) {
        if (js_kind(js_iter_value(it)) == JS_NULL)
            js_del(body, js_iter_key(it));
        else
            bad |= js_set(body, js_iter_key(it), js_ref(js_iter_value(it)));
    }
    js_write(out, body);
    js_free(body);
    buf_release(&prompt);
    return bad || out->failed ? err_nomem(e, 0, "a request") : 0;
}

/* ---- answers ---- */

static bool letter(char c)
{
    return isalnum((unsigned char)c) || (unsigned char)c >= 0x80 || c == '_';
}

/* The last run of letters and digits. */
static struct str last_word(struct str s)
{
    while (s.n && !letter(s.p[s.n - 1]))
        s.n--;
    size_t n = 0;
    while (n < s.n && letter(s.p[s.n - 1 - n]))
        n++;
    return (struct str){s.p + s.n - n, n};
}

static double verdict(const struct judge_options *o, struct str text, bool swapped)
{
    struct str w = last_word(text);
    int found = -1, loose = -1, n = 0;
    for (int i = 0; i < 3; i++) {
        struct str v = str_of(o->verdict[i]);
        if (str_eq(w, v))
            found = i;
        if (w.n == v.n && strncasecmp(w.p, v.p, v.n) == 0) {
            loose = i;
            n++;
        }
    }
    found = found < 0 && n == 1 ? loose : found;
    if (found == 2)
        return 1.5;
    return found < 0 ? NAN : (found == 1) != swapped ? 2 : 1;
}

void judge_read(const struct judge_options *o, struct str body, bool swapped, struct judge_reply *out)
{
    struct err ignored;
    struct js *j = js_parse(body, "", &ignored);
    const struct js *choice = js_at(js_get(j, "choices"), 0), *usage = js_get(j, "usage");
    struct str text = js_str(js_get(js_get(choice, "message"), "content"));
    *out = (struct judge_reply){.preference = NAN, .tokens_in = js_num(js_get(usage, "prompt_tokens"), NAN),
                                .tokens_out = js_num(js_get(usage, "completion_tokens"), NAN)};
    out->tokens_in = out->tokens_in >= 0 ? out->tokens_in : NAN;
    out->tokens_out = out->tokens_out >= 0 ? out->tokens_out : NAN;
    if (text.p) {
        out->text = str_dup(text);
        out->preference = verdict(o, text, swapped);
    }
    js_free(j);
}

void judge_reason(struct str body, const char *secret, struct buf *out)
{
    struct err ignored;
    struct js *j = js_parse(body, "", &ignored);
    const struct js *error = js_get(j, "error");
    struct str s = js_str(js_get(error, "message"));
    size_t hidden = secret ? strlen(secret) : 0;
    s = s.p ? s : js_str(error).p ? js_str(error) : js_str(js_get(j, "message")).p ? js_str(js_get(j, "message")) : body;
    for (size_t i = 0; i < s.n && out->n < 300;) {
        if (hidden && s.n - i >= hidden && memcmp(s.p + i, secret, hidden) == 0) {
            buf_puts(out, "***");
            i += hidden;
            continue;
        }
        unsigned char c = (unsigned char)s.p[i++];
        buf_putc(out, c < 0x20 || c >= 0x7f ? ' ' : (char)c);
    }
    js_free(j);
}
