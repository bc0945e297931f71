/* n-grams of a sequence of units (words or characters as numbers): sorted, so that two bags are compared by merging. */
#ifndef COMMON_NGRAMS_H
#define COMMON_NGRAMS_H

#include <stdint.h>

#include "common/arena.h"

struct ngrams {
    const uint32_t *units; /* borrowed */
    int order, n;          /* n = max(0, units − order + 1) */
    int *starts;           /* sorted by the n-gram that starts there */
};

/* In `arena`; ERR_NOMEM. */
int ngrams_sort(struct ngrams *ngrams, const uint32_t *units, int n_units, int order, struct arena *arena,
                struct err *err) MUST_CHECK;
/* Σ over the distinct n-grams of `a` of min(count in a, largest count in one of the n_others others). */
int64_t ngrams_match(const struct ngrams *a, const struct ngrams *others, int n_others);

/* Text into units. `text` is valid UTF-8 of n bytes. White space is what Python's str.split splits at, as in the
 * programs whose scores are met: Unicode's White_Space and U+001C to U+001F. */
bool text_is_space(uint32_t code_point);
/* Code points without white space; *n_units of them. In `arena`, NULL without memory. */
uint32_t *ngrams_characters(const char *text, size_t n, int *n_units, struct arena *arena);

struct word {
    const char *start;
    int bytes;
};
/* The words between white space; *n_words of them. In `arena`, NULL without memory. */
struct word *ngrams_split(const char *text, size_t n, int *n_words, struct arena *arena);
/* Numbers for the words of several lists, equal exactly for equal words: units[l][i] of lists[l][i]. ERR_NOMEM. */
int ngrams_number(const struct word *const *lists, const int *counts, int n_lists, uint32_t **units,
                  struct arena *arena, struct err *err) MUST_CHECK;

#endif
