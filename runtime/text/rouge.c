/* SPDX-License-Identifier: MIT
 *
 * Words become numbers (equal words, equal numbers), so that the quadratic part compares integers; it keeps one row.
 * Two characters outside ASCII have a lower case that begins in ASCII, and Python's lower() finds it: the Kelvin sign gives
 * k, the capital i with a dot gives i and a combining dot (which separates).
 */
#include "runtime/text/rouge.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/text/porter.h"

/* The next letter of a word from text at *i, or 0 for what separates; *i moves on. */
static char letter(struct str t, size_t *i, bool *breaks)
{
    char c = t.p[(*i)++];
    *breaks = false;
    if (c >= 'A' && c <= 'Z')
        return (char)(c + 32);
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
        return c;
    if (c == '\xe2' && *i + 1 < t.n && t.p[*i] == '\x84' && t.p[*i + 1] == '\xaa') {
        *i += 2;
        return 'k';
    }
    if (c == '\xc4' && *i < t.n && t.p[*i] == '\xb0') {
        *i += 1;
        *breaks = true;
        return 'i';
    }
    return 0;
}

static void end_word(struct buf *out, size_t start, size_t *n)
{
    size_t len = out->n - start;
    if (len == 0 || out->failed || !buf_reserve(out, 2))
        return;
    out->n = start + (len > 3 ? porter_stem(out->p + start, len) : len);
    if (out->n > start) {
        buf_putc(out, ' ');
        ++*n;
    }
}

void rouge_words(struct str text, struct buf *out, size_t *n)
{
    size_t start = out->n;
    *n = 0;
    for (size_t i = 0; i < text.n;) {
        bool breaks;
        char c = letter(text, &i, &breaks);
        if (c)
            buf_putc(out, c);
        if (!c || breaks) {
            end_word(out, start, n);
            start = out->n;
        }
    }
    end_word(out, start, n);
}

struct token {
    const char *p;
    size_t n;
    uint32_t *id;
};

static int by_text(const void *a, const void *b)
{
    const struct token *x = a, *y = b;
    int c = memcmp(x->p, y->p, x->n < y->n ? x->n : y->n);
    return c ? c : (x->n > y->n) - (x->n < y->n);
}

static void split(struct str words, size_t n, struct token *out, uint32_t *ids)
{
    const char *p = words.p;
    for (size_t i = 0; i < n; i++) {
        const char *end = memchr(p, ' ', (size_t)(words.p + words.n - p));
        out[i] = (struct token){p, (size_t)(end - p), &ids[i]};
        p = end + 1;
    }
}

/* row[j]: longest common subsequence of the first rows of a with b[0..j). */
static uint32_t common(const uint32_t *a, size_t n, const uint32_t *b, size_t m, uint32_t *row)
{
    memset(row, 0, (m + 1) * sizeof *row);
    for (size_t i = 0; i < n; i++) {
        uint32_t diagonal = 0;
        for (size_t j = 0; j < m; j++) {
            uint32_t above = row[j + 1], best = above > row[j] ? above : row[j];
            row[j + 1] = a[i] == b[j] ? diagonal + 1 : best;
            diagonal = above;
        }
    }
    return row[m];
}

int rouge_l(struct str prediction, struct str reference, double *f1, struct err *e)
{
    struct buf a = {0}, b = {0};
    struct token *t = NULL;
    uint32_t *ids = NULL, *row = NULL, next = 0;
    size_t n, m;
    int rc = 0;
    *f1 = 0;
    rouge_words(prediction, &a, &n);
    rouge_words(reference, &b, &m);
    if (a.failed || b.failed) {
        rc = err_nomem(e, prediction.n + reference.n, "words");
        goto out;
    }
    if (n == 0 || m == 0)
        goto out;
    t = calloc(n + m, sizeof *t);
    ids = calloc(n + m, sizeof *ids);
    row = calloc(m + 1, sizeof *row);
    if (!t || !ids || !row) {
        rc = err_nomem(e, (n + m) * sizeof *t, "words");
        goto out;
    }
    split(buf_view(&a), n, t, ids);
    split(buf_view(&b), m, t + n, ids + n);
    qsort(t, n + m, sizeof *t, by_text);
    for (size_t i = 0; i < n + m; i++)
        *t[i].id = i && by_text(&t[i - 1], &t[i]) != 0 ? ++next : next;
    double k = common(ids, n, ids + n, m, row), p = k / (double)n, r = k / (double)m;
    *f1 = p + r > 0 ? 2 * p * r / (p + r) : 0;
out:
    buf_release(&a);
    buf_release(&b);
    free(t);
    free(ids);
    free(row);
    return rc;
}
