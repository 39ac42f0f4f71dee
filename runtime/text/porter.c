/* SPDX-License-Identifier: MIT
 *
 * A word is looked at as a row of consonants (c) and vowels (v): a, e, i, o, u are vowels, and so is y after a consonant.
 * The measure of a stem is the number of places where a c follows a v. Rules are tables of (suffix, replacement, condition);
 * the first suffix that fits decides, whether its condition holds or not.
 */
#include "runtime/text/porter.h"

#include <stdbool.h>
#include <string.h>

struct word {
    char *p;
    size_t n;
};

enum condition { ALWAYS, MEASURE_1, MEASURE_2, MEASURE_2_ST, MEASURE_LOGI };

struct rule {
    const char *suffix, *replacement;
    enum condition when;
};

static bool plain_vowel(char c)
{
    return c == 'a' || c == 'e' || c == 'i' || c == 'o' || c == 'u';
}

/* A run of y alternates: its first letter is a consonant at the start of the word or after a vowel. */
static bool consonant(const char *p, size_t i)
{
    bool flip = false;
    if (plain_vowel(p[i]))
        return false;
    while (i > 0 && p[i] == 'y') {
        flip = !flip;
        i--;
    }
    return plain_vowel(p[i]) == flip;
}

struct shape {
    size_t measure;
    bool vowel;
};

static struct shape shape_of(const char *p, size_t n)
{
    struct shape s = {0, false};
    bool before = true;
    for (size_t i = 0; i < n; i++) {
        bool c = !plain_vowel(p[i]) && (p[i] != 'y' || i == 0 || !before);
        s.measure += i && c && !before;
        s.vowel |= !c;
        before = c;
    }
    return s;
}

static size_t measure(const char *p, size_t n)
{
    return shape_of(p, n).measure;
}

static bool ends(const struct word *w, const char *suffix)
{
    size_t k = strlen(suffix);
    return w->n >= k && memcmp(w->p + w->n - k, suffix, k) == 0;
}

static void replace(struct word *w, const char *suffix, const char *by)
{
    size_t k = strlen(by);
    w->n -= strlen(suffix);
    memcpy(w->p + w->n, by, k);
    w->n += k;
}

/* Consonant, vowel, consonant other than w, x, y; or the whole of a two-letter vowel, consonant. */
static bool ends_cvc(const char *p, size_t n)
{
    if (n == 2)
        return !consonant(p, 0) && consonant(p, 1);
    return n >= 3 && consonant(p, n - 3) && !consonant(p, n - 2) && consonant(p, n - 1) && !strchr("wxy", p[n - 1]);
}

static bool holds(const struct word *w, const struct rule *r)
{
    size_t n = w->n - strlen(r->suffix);
    switch (r->when) {
    case ALWAYS: return true;
    case MEASURE_1: return measure(w->p, n) > 0;
    case MEASURE_2: return measure(w->p, n) > 1;
    case MEASURE_2_ST: return measure(w->p, n) > 1 && (w->p[n - 1] == 's' || w->p[n - 1] == 't');
    case MEASURE_LOGI: return measure(w->p, n + 1) > 0; /* the l belongs to the stem: geo, theo */
    }
    return false;
}

/* Whether a rule's suffix fits. */
static bool apply(struct word *w, const struct rule *rules)
{
    for (; rules->suffix; rules++)
        if (ends(w, rules->suffix)) {
            if (holds(w, rules))
                replace(w, rules->suffix, rules->replacement);
            return true;
        }
    return false;
}

static const struct rule plurals[], undone[], double_suffixes[], endings[], residues[];

/* What -ed and -ing leave behind gets its e back or loses a double letter. */
static void repair(struct word *w)
{
    size_t n = w->n;
    if (apply(w, undone))
        return;
    if (n >= 2 && w->p[n - 1] == w->p[n - 2] && consonant(w->p, n - 1)) {
        if (!strchr("lsz", w->p[n - 1]))
            w->n--;
    } else if (measure(w->p, n) == 1 && ends_cvc(w->p, n)) {
        w->p[w->n++] = 'e';
    }
}

static void past_and_progressive(struct word *w)
{
    static const char *const suffixes[] = {"ed", "ing"};
    if (ends(w, "ied")) {
        replace(w, "ied", w->n == 4 ? "ie" : "i");
        return;
    }
    if (ends(w, "eed")) {
        if (measure(w->p, w->n - 3) > 0)
            w->n--;
        return;
    }
    for (int i = 0; i < 2; i++)
        if (ends(w, suffixes[i]) && shape_of(w->p, w->n - strlen(suffixes[i])).vowel) {
            w->n -= strlen(suffixes[i]);
            repair(w);
            return;
        }
}

static void final_e_and_l(struct word *w)
{
    if (ends(w, "e")) {
        size_t m = measure(w->p, w->n - 1);
        if (m > 1 || (m == 1 && !ends_cvc(w->p, w->n - 1)))
            w->n--;
    }
    if (ends(w, "ll") && measure(w->p, w->n - 1) > 1)
        w->n--;
}

static bool irregular(struct word *w)
{
    static const char *const pool[][2] = {
        {"sky", "sky"}, {"skies", "sky"}, {"dying", "die"}, {"lying", "lie"}, {"tying", "tie"}, {"news", "news"},
        {"innings", "inning"}, {"inning", "inning"}, {"outings", "outing"}, {"outing", "outing"}, {"cannings", "canning"},
        {"canning", "canning"}, {"howe", "howe"}, {"proceed", "proceed"}, {"exceed", "exceed"}, {"succeed", "succeed"},
    };
    for (size_t i = 0; i < sizeof pool / sizeof *pool; i++)
        if (w->n == strlen(pool[i][0]) && memcmp(w->p, pool[i][0], w->n) == 0) {
            w->n = strlen(pool[i][1]);
            memcpy(w->p, pool[i][1], w->n);
            return true;
        }
    return false;
}

size_t porter_stem(char *p, size_t n)
{
    struct word w = {p, n};
    if (irregular(&w) || n <= 2)
        return w.n;
    if (n == 4 && ends(&w, "ies"))
        w.n--;
    else
        apply(&w, plurals);
    past_and_progressive(&w);
    if (ends(&w, "y") && w.n > 2 && consonant(w.p, w.n - 2))
        w.p[w.n - 1] = 'i';
    while (ends(&w, "alli") && measure(w.p, w.n - 4) > 0)
        w.n -= 2;
    apply(&w, double_suffixes);
    apply(&w, endings);
    apply(&w, residues);
    final_e_and_l(&w);
    return w.n;
}

/* ---- tables ---- */

static const struct rule plurals[] = {{"sses", "ss", ALWAYS}, {"ies", "i", ALWAYS}, {"ss", "ss", ALWAYS}, {"s", "", ALWAYS}, {0}};

static const struct rule undone[] = {{"at", "ate", ALWAYS}, {"bl", "ble", ALWAYS}, {"iz", "ize", ALWAYS}, {0}};

static const struct rule double_suffixes[] = {
    {"ational", "ate", MEASURE_1}, {"tional", "tion", MEASURE_1}, {"enci", "ence", MEASURE_1}, {"anci", "ance", MEASURE_1},
    {"izer", "ize", MEASURE_1}, {"bli", "ble", MEASURE_1}, {"alli", "al", MEASURE_1}, {"entli", "ent", MEASURE_1},
    {"eli", "e", MEASURE_1}, {"ousli", "ous", MEASURE_1}, {"ization", "ize", MEASURE_1}, {"ation", "ate", MEASURE_1},
    {"ator", "ate", MEASURE_1}, {"alism", "al", MEASURE_1}, {"iveness", "ive", MEASURE_1}, {"fulness", "ful", MEASURE_1},
    {"ousness", "ous", MEASURE_1}, {"aliti", "al", MEASURE_1}, {"iviti", "ive", MEASURE_1}, {"biliti", "ble", MEASURE_1},
    {"fulli", "ful", MEASURE_1}, {"logi", "log", MEASURE_LOGI}, {0},
};

static const struct rule endings[] = {
    {"icate", "ic", MEASURE_1}, {"ative", "", MEASURE_1}, {"alize", "al", MEASURE_1}, {"iciti", "ic", MEASURE_1},
    {"ical", "ic", MEASURE_1}, {"ful", "", MEASURE_1}, {"ness", "", MEASURE_1}, {0},
};

static const struct rule residues[] = {
    {"al", "", MEASURE_2}, {"ance", "", MEASURE_2}, {"ence", "", MEASURE_2}, {"er", "", MEASURE_2}, {"ic", "", MEASURE_2},
    {"able", "", MEASURE_2}, {"ible", "", MEASURE_2}, {"ant", "", MEASURE_2}, {"ement", "", MEASURE_2}, {"ment", "", MEASURE_2},
    {"ent", "", MEASURE_2}, {"ion", "", MEASURE_2_ST}, {"ou", "", MEASURE_2}, {"ism", "", MEASURE_2}, {"ate", "", MEASURE_2},
    {"iti", "", MEASURE_2}, {"ous", "", MEASURE_2}, {"ive", "", MEASURE_2}, {"ize", "", MEASURE_2}, {0},
};
