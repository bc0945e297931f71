/* The counterfactual check's sentence pairs: equal but for gendered words (docs/checks.md). */
#ifndef TRAINER_COUNTERFACTUAL_H
#define TRAINER_COUNTERFACTUAL_H

#include "common/hash.h"
#include "trainer/rows.h"

enum { COUNTERFACTUAL_MAX_PAIRS = 100000 };

struct counterfactual_pair {
    const char *first, *second; /* the first with the words that stand first in the word lists (female ones) */
};

struct counterfactual {
    struct counterfactual_pair *pairs;
    size_t count, n_templates; /* n_templates of them from the templates, the others from the test set */
    char item_set_sha256[HASH_HEX_SIZE];
};

/* Reads the item file and makes all pairs: every template with every pair of its word list, and every test sentence
 * (test may be NULL) in which a swap of words changes something. All in `arena`. ERR_FORMAT with the place;
 * ERR_DATA when no pair comes out. */
int counterfactual_read(struct counterfactual *set, const char *path, const struct rows *test, struct arena *arena,
                        struct err *err) MUST_CHECK;
/* The text with every swappable word replaced by its counterpart, letter case kept; NULL in *out when there is none.
 * *starts_first: the first word replaced was the first of its pair. "her" becomes "his" before a
 * word, "him" before a preposition, article, conjunction or the end of the clause. */
int counterfactual_swap(const char *text, const cJSON *swaps, struct arena *arena, const char **out, bool *starts_first,
                        struct err *err) MUST_CHECK;

#endif
