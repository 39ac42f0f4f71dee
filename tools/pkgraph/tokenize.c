/* SPDX-License-Identifier: MIT
 *
 * tokenize: text to token ids and back, a line at a time, for pipes and for comparing with other tokenizers.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/fs.h"
#include "runtime/base/json.h"
#include "runtime/exec/par.h"
#include "runtime/model/gguf_model.h"
#include "runtime/text/pieces.h"
#include "runtime/text/tokenizer.h"
#include "tools/pkgraph/cli.h"
#include "tools/pkgraph/term.h"

struct work {
    struct tokenizer *t;
    bool json, decode, special, keep_special;
    size_t line;
    struct buf out;
    struct ids ids;
};

/* A number in decimal; ids are many, and printf is slow. */
static void put_int(struct buf *b, int32_t v)
{
    char text[12];
    size_t i = sizeof text;
    do
        text[--i] = (char)('0' + v % 10);
    while (v /= 10);
    buf_put(b, text + i, sizeof text - i);
}

/* ids is scratch of the calling thread. */
static int encode(const struct work *w, struct str text, struct ids *ids, struct buf *out, struct err *e)
{
    ids->n = 0;
    int rc = tokenizer_encode(w->t, text, w->special, ids, e);
    if (rc)
        return rc;
    buf_putc(out, '[');
    for (size_t i = 0; i < ids->n; i++) {
        if (i)
            buf_put(out, ", ", 2);
        put_int(out, ids->v[i]);
    }
    buf_puts(out, "]\n");
    return out->failed ? err_nomem(e, ids->n, "output") : 0;
}

static int encode_line(const struct work *w, size_t number, struct str line, struct ids *ids, struct buf *out, struct err *e)
{
    if (!w->json)
        return encode(w, line, ids, out, e);
    struct js *j = js_parse(line, "standard input", e);
    int rc = !j ? e->code : 0;
    if (!rc && js_kind(j) != JS_STRING)
        rc = err_set(e, ERR_INPUT, "line %zu: with --json each line is a JSON string", number);
    if (!rc)
        rc = encode(w, js_str(j), ids, out, e);
    js_free(j);
    return rc;
}

static int decode_line(struct work *w, struct str line, struct err *e)
{
    struct js *j = js_parse(line, "standard input", e);
    int rc = !j ? e->code : 0;
    struct buf text = {0};
    if (!rc && js_kind(j) != JS_ARRAY)
        rc = err_set(e, ERR_INPUT, "line %zu: --decode takes a JSON list of token ids on each line", w->line);
    w->ids.n = 0;
    for (size_t i = 0; !rc && i < js_len(j); i++) {
        int64_t id = js_kind(js_at(j, i)) == JS_INT ? js_int(js_at(j, i), -1) : -1;
        if (id < 0 || (size_t)id >= tokenizer_size(w->t))
            rc = err_set(e, ERR_INPUT, "line %zu, element %zu: a token id is a whole number from 0 to %zu", w->line, i + 1,
                         tokenizer_size(w->t) - 1);
        else if (ids_push(&w->ids, (int32_t)id) < 0)
            rc = err_nomem(e, w->ids.n, "ids");
    }
    if (!rc)
        rc = tokenizer_decode(w->t, w->ids.v, w->ids.n, !w->keep_special, &text, e);
    if (!rc && w->json)
        js_write_str(&w->out, buf_view(&text));
    else if (!rc)
        buf_str(&w->out, buf_view(&text));
    buf_putc(&w->out, '\n');
    if (!rc && (w->out.failed || text.failed))
        rc = err_nomem(e, text.n, "output");
    buf_release(&text);
    js_free(j);
    return rc;
}

static int one_line(struct work *w, struct str line, struct err *e)
{
    w->line++;
    buf_clear(&w->out);
    int rc = w->decode ? decode_line(w, line, e) : encode_line(w, w->line, line, &w->ids, &w->out, e);
    if (!rc)
        fwrite(w->out.p, 1, w->out.n, stdout);
    return rc;
}

/* ---- many lines on all processors ---- */

enum { SHARE = 64 }; /* lines that one thread takes at once */

/* Whole lines that have arrived, in shares; a share stops at its first mistake. */
struct lines {
    struct work *w;
    struct str *v;
    size_t n, cap;
    struct share {
        struct buf out;
        int rc;
        struct err e;
    } * shares;
};

static void encode_share(void *u, size_t k)
{
    struct lines *l = u;
    struct share *s = &l->shares[k];
    struct ids ids = {0};
    for (size_t i = k * SHARE; i < l->n && i < (k + 1) * SHARE && s->rc == 0; i++)
        s->rc = encode_line(l->w, l->w->line + i + 1, l->v[i], &ids, &s->out, &s->e);
    ids_release(&ids);
}

static int encode_lines(struct lines *l, struct err *e)
{
    size_t n = (l->n + SHARE - 1) / SHARE;
    int rc = 0;
    l->shares = calloc(n ? n : 1, sizeof *l->shares);
    if (!l->shares)
        return err_nomem(e, n * sizeof *l->shares, "lines");
    par_for(n, encode_share, l);
    for (size_t k = 0; k < n; k++) {
        struct share *s = &l->shares[k];
        if (rc == 0 && s->out.n)
            fwrite(s->out.p, 1, s->out.n, stdout);
        if (rc == 0 && s->rc) {
            rc = s->rc;
            *e = s->e;
        }
        buf_release(&s->out);
    }
    l->w->line += l->n;
    l->n = 0;
    free(l->shares);
    l->shares = NULL;
    return rc;
}

static int add_line(struct lines *l, struct str line, struct err *e)
{
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 1024;
        struct str *v = realloc(l->v, cap * sizeof *v);
        if (!v)
            return err_nomem(e, cap * sizeof *v, "lines");
        l->v = v;
        l->cap = cap;
    }
    l->v[l->n++] = line;
    return 0;
}

/* What has been read, up to the last newline (or all of it at the end); returns how much was used. */
static int take_lines(struct lines *l, const struct buf *in, bool last, size_t *used, struct err *e)
{
    int rc = 0;
    *used = 0;
    while (rc == 0 && *used < in->n) {
        const char *p = in->p + *used, *end = memchr(p, '\n', in->n - *used);
        if (!end && !last)
            break;
        struct str line = {p, end ? (size_t)(end - p) : in->n - *used};
        *used += line.n + (end != NULL);
        rc = l->w->decode ? one_line(l->w, line, e) : add_line(l, line, e);
    }
    return rc == 0 && l->n ? encode_lines(l, e) : rc;
}

/* Lines are answered as they arrive, so that a pipe can talk back and forth. */
static int all_lines(struct work *w, struct err *e)
{
    enum { CHUNK = 1 << 20 };
    struct lines l = {.w = w};
    struct buf in = {0};
    int rc = 0;
    for (bool last = false; rc == 0 && !last;) {
        size_t used;
        if (!buf_reserve(&in, CHUNK)) {
            rc = err_nomem(e, CHUNK, "standard input");
            break;
        }
        ssize_t n = read(STDIN_FILENO, in.p + in.n, CHUNK);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            rc = err_errno(e, "standard input");
            break;
        }
        in.n += (size_t)n;
        last = n == 0;
        rc = take_lines(&l, &in, last, &used, e);
        memmove(in.p, in.p + used, in.n - used);
        in.n -= used;
        fflush(stdout);
    }
    free(l.v);
    buf_release(&in);
    return rc;
}

/* A tokenizer.json made from another program's file. Takes over j. */
static int from_json(struct js *j, const char *path, struct tokenizer **t, struct err *e)
{
    struct buf b = {0};
    if (!j)
        return e->code;
    js_write(&b, j);
    int rc = b.failed ? err_nomem(e, b.n, path) : tokenizer_parse(buf_view(&b), path, t, e);
    buf_release(&b);
    js_free(j);
    return rc;
}

static int from_gguf(const char *path, struct tokenizer **t, struct err *e)
{
    struct gguf *g = NULL;
    int rc = gguf_open(path, &g, e);
    rc = rc ? rc : from_json(gguf_tokenizer(g, e), path, t, e);
    gguf_close(g);
    return rc;
}

/* tokenizer.model of a folder, with what its tokenizer_config.json says. */
static int from_pieces(const char *path, const char *config_path, struct tokenizer **t, struct err *e)
{
    struct fs_map map;
    struct js *config = NULL;
    int rc = fs_exists(config_path) && !(config = js_read(config_path, e)) ? e->code : fs_map(path, &map, e);
    if (!rc) {
        rc = from_json(sentencepiece_json((struct str){(const char *)map.p, map.n}, path, config, e), path, t, e);
        fs_unmap(&map);
    }
    js_free(config);
    return rc;
}

/* A folder with tokenizer.json, the file itself, or a GGUF file. */
static int open_tokenizer(const char *path, struct tokenizer **t, struct err *e)
{
    if (gguf_is(path))
        return from_gguf(path, t, e);
    if (!fs_is_dir(path))
        return tokenizer_read(path, t, e);
    char *file = fs_join(path, "tokenizer.json"), *pieces = fs_join(path, "tokenizer.model"), *config = fs_join(path, "tokenizer_config.json");
    int rc = !file || !pieces || !config                     ? err_nomem(e, 0, "a path")
             : fs_exists(file) || !fs_exists(pieces) ? tokenizer_read(file, t, e)
                                                     : from_pieces(pieces, config, t, e);
    free(file);
    free(pieces);
    free(config);
    return rc;
}

static int run_tokenize(const struct args *a)
{
    struct err e = {0};
    struct work w = {.json = args_has(a, "json"), .decode = args_has(a, "decode"), .special = !args_has(a, "no-special"),
                     .keep_special = args_has(a, "keep-special")};
    int rc = open_tokenizer(a->pos[0], &w.t, &e);
    if (!rc && (a->n_pos < 2 || strcmp(a->pos[1], "-") == 0))
        rc = all_lines(&w, &e);
    else if (!rc)
        rc = one_line(&w, str_of(a->pos[1]), &e);
    if (rc)
        say_err(&e);
    tokenizer_free(w.t);
    ids_release(&w.ids);
    buf_release(&w.out);
    return !rc ? STATUS_DONE : rc == ERR_INPUT || rc == ERR_NOTFOUND || rc == ERR_UNSUPPORTED ? STATUS_USAGE : STATUS_FAILED;
}

static const struct option_def options[] = {
    {.name = "decode", .help = "the reverse: each line is a JSON list of ids"},
    {.name = "json", .help = "texts are JSON strings, so that newlines can be inside"},
    {.name = "no-special", .help = "do not add what the tokenizer adds (BOS)"},
    {.name = "keep-special", .help = "with --decode: print special tokens too"},
    OPTIONS_HELP,
    {0},
};

const struct command cmd_tokenize = {
    .name = "tokenize",
    .usage = "MODEL [TEXT|-]",
    .summary = "token ids of a text or of each line of standard input; --decode for the reverse",
    .about = "MODEL is a folder with tokenizer.json (or tokenizer.model), the file, or a GGUF file. Output: a JSON list of ids a line. BOS stands where the\n"
             "tokenizer adds it.",
    .example = "pkgraph tokenize models/Qwen2.5-0.5B 'Hello, world'\n"
               "pkgraph tokenize models/Qwen2.5-0.5B - < lines.txt\n"
               "echo '[9707, 11, 1879]' | pkgraph tokenize models/Qwen2.5-0.5B --decode",
    .options = options,
    .min_pos = 1,
    .max_pos = 2,
    .run = run_tokenize,
};
