/* SPDX-License-Identifier: MIT
 *
 * Number extraction is a hand-written matcher of one regular expression; see the header for it. No alternative of that
 * expression can profit from backtracking: a sign or point without digits behind it never starts a match.
 */
#include "runtime/text/answers.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/text/utf8.h"

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

static void drop_commas(struct str s, struct buf *out)
{
    size_t i = 0;
    while (i < s.n) {
        if (i + 2 < s.n && digit(s.p[i]) && s.p[i + 1] == ',' && digit(s.p[i + 2])) {
            buf_putc(out, s.p[i]);
            buf_putc(out, s.p[i + 2]);
            i += 3;
        } else {
            buf_putc(out, s.p[i++]);
        }
    }
}

/* Length of the match that starts at s.p[i]; 0: none. */
static size_t number_at(struct str s, size_t i)
{
    size_t j = i;
    if (j < s.n && (s.p[j] == '-' || s.p[j] == '+'))
        j++;
    while (j < s.n && digit(s.p[j]))
        j++;
    if (j + 1 < s.n && s.p[j] == '.' && digit(s.p[j + 1])) {
        for (j++; j < s.n && digit(s.p[j]); j++)
            ;
        return j - i;
    }
    for (j = i; j < s.n && digit(s.p[j]); j++)
        ;
    return j - i;
}

bool answer_last_number(struct str text, struct buf *out)
{
    struct buf b = {0};
    drop_commas(text, &b);
    struct str s = buf_view(&b), last = {0};
    for (size_t i = 0; i < s.n;) {
        size_t k = number_at(s, i);
        if (k)
            last = (struct str){s.p + i, k};
        i += k ? k : 1;
    }
    bool found = last.n && !b.failed;
    if (found)
        buf_str(out, last);
    buf_release(&b);
    return found;
}

static bool parse_number(struct str s, double *v)
{
    struct buf b = {0};
    drop_commas(str_trim(s), &b);
    char *end = NULL;
    bool plain = b.n > 0 && !b.failed;
    for (size_t i = 0; plain && i < b.n; i++)
        plain = digit(b.p[i]) || (b.p[i] != '\0' && strchr("+-.eE", b.p[i]));
    if (plain)
        *v = strtod(b.p, &end);
    bool ok = plain && end == b.p + b.n;
    buf_release(&b);
    return ok;
}

bool answer_same_number(struct str a, struct str b)
{
    double x = 0, y = 0;
    return parse_number(a, &x) && parse_number(b, &y) && x == y;
}

static bool punctuation(char c)
{
    return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
}

static bool space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Lower case of a two-byte UTF-8 letter: Latin-1, Latin Extended-A, Greek, Cyrillic. */
static unsigned fold(unsigned c)
{
    if ((c >= 0xc0 && c <= 0xde && c != 0xd7) || (c >= 0x391 && c <= 0x3a9 && c != 0x3a2) || (c >= 0x410 && c <= 0x42f))
        return c + 0x20;
    if (c >= 0x400 && c <= 0x40f)
        return c + 0x50;
    bool even_upper = (c >= 0x100 && c <= 0x12f) || (c >= 0x132 && c <= 0x137) || (c >= 0x14a && c <= 0x177) || (c >= 0x460 && c <= 0x481);
    bool odd_upper = (c >= 0x139 && c <= 0x148) || (c >= 0x179 && c <= 0x17e);
    if ((even_upper && c % 2 == 0) || (odd_upper && c % 2 == 1))
        return c + 1;
    return c == 0x178 ? 0xff : c;
}

static void put_lower(struct buf *out, struct str s, size_t *i)
{
    unsigned char a = (unsigned char)s.p[*i];
    if (a >= 'A' && a <= 'Z') {
        buf_putc(out, (char)(a + 32));
    } else if (a >= 0xc3 && a <= 0xd2 && *i + 1 < s.n && ((unsigned char)s.p[*i + 1] & 0xc0) == 0x80) {
        unsigned c = fold((a & 0x1fu) << 6 | ((unsigned char)s.p[*i + 1] & 0x3fu));
        buf_putc(out, (char)(0xc0 | c >> 6));
        buf_putc(out, (char)(0x80 | (c & 0x3f)));
        ++*i;
    } else {
        buf_putc(out, (char)a);
    }
    ++*i;
}

void answer_normalise(struct str text, struct buf *out)
{
    bool gap = false, any = false;
    for (size_t i = 0; i < text.n;) {
        if (punctuation(text.p[i])) {
            i++;
        } else if (space(text.p[i])) {
            gap = any;
            i++;
        } else {
            if (gap)
                buf_putc(out, ' ');
            gap = false;
            any = true;
            put_lower(out, text, &i);
        }
    }
}

bool answer_exact(struct str prediction, struct str reference)
{
    struct buf a = {0}, b = {0};
    answer_normalise(prediction, &a);
    answer_normalise(reference, &b);
    bool same = !a.failed && !b.failed && str_eq(buf_view(&a), buf_view(&b));
    buf_release(&a);
    buf_release(&b);
    return same;
}

static void strip(struct str text, struct buf *out)
{
    for (size_t i = 0; i < text.n;) {
        if (punctuation(text.p[i]))
            i++;
        else
            put_lower(out, text, &i);
    }
}

bool answer_same_reference(struct str prediction, struct str reference)
{
    struct buf a = {0}, b = {0}, c = {0};
    strip(prediction, &a);
    drop_commas(reference, &c);
    strip(buf_view(&c), &b);
    bool same = !a.failed && !b.failed && !c.failed && str_eq(buf_view(&a), buf_view(&b));
    buf_release(&a);
    buf_release(&b);
    buf_release(&c);
    return same;
}

/* ---- GSM8K ---- */

static size_t last_mark(struct str s)
{
    for (size_t i = s.n; i >= 4; i--)
        if (!memcmp(s.p + i - 4, "####", 4))
            return i - 4;
    return s.n;
}

struct str gsm8k_reference(struct str answer)
{
    size_t at = last_mark(answer);
    return at == answer.n ? (struct str){"", 0} : str_trim((struct str){answer.p + at + 4, answer.n - at - 4});
}

/* The end of a calculator note that starts at i, or i when there is none on this line. */
static size_t note_end(struct str s, size_t i)
{
    if (i + 1 >= s.n || s.p[i] != '<' || s.p[i + 1] != '<')
        return i;
    for (size_t j = i + 2; j + 1 < s.n && s.p[j] != '\n'; j++)
        if (s.p[j] == '>' && s.p[j + 1] == '>')
            return j + 2;
    return i;
}

void gsm8k_exemplar(struct str question, struct str answer, struct buf *out)
{
    struct str raw = {answer.p, last_mark(answer)}, number = gsm8k_reference(answer);
    struct buf why = {0};
    for (size_t i = 0; i < raw.n;) {
        size_t j = note_end(raw, i);
        if (j > i) {
            i = j;
            continue;
        }
        buf_putc(&why, raw.p[i] == '\n' ? ' ' : raw.p[i]);
        i++;
    }
    struct str w = str_trim(buf_view(&why));
    buf_puts(out, "Question: ");
    buf_str(out, str_trim(question));
    buf_puts(out, "\nAnswer: ");
    buf_str(out, w);
    if (!str_ends(w, "."))
        buf_putc(out, '.');
    buf_puts(out, " So the answer is ");
    buf_str(out, number);
    buf_putc(out, '.');
    out->failed |= why.failed;
    buf_release(&why);
}

void gsm8k_exemplar_direct(struct str question, struct str answer, struct buf *out)
{
    buf_puts(out, "Question: ");
    buf_str(out, str_trim(question));
    buf_puts(out, "\nAnswer: ");
    buf_str(out, gsm8k_reference(answer));
}

void gsm8k_prompt(size_t n_shot, const struct str *exemplars, struct str question, struct buf *out)
{
    buf_puts(out, n_shot ? "Answer the following questions.\n\n" : "Answer the following question.\n\n");
    for (size_t i = 0; i < n_shot; i++) {
        buf_str(out, exemplars[i]);
        buf_puts(out, "\n\n");
    }
    buf_puts(out, "Question: ");
    buf_str(out, str_trim(question));
}

/* ---- Super-NaturalInstructions ---- */

static void put_sentence(struct str s, bool stop, struct buf *out)
{
    buf_str(out, s);
    if (stop && (s.n == 0 || !punctuation(s.p[s.n - 1])))
        buf_putc(out, '.');
}

void super_ni_prompt(struct str definition, struct str input, bool reference, struct buf *out)
{
    struct str d = utf8_strip(definition);
    if (definition.n == 0) {
        buf_str(out, input);
        return;
    }
    put_sentence(d, reference && d.n > 0, out);
    buf_puts(out, "\n\nInput: ");
    put_sentence(utf8_strip(input), true, out);
    buf_puts(out, "\n\nOutput:");
}
