/* Duplicates among texts: equal ones, and nearly equal ones by MinHash (Broder 1997). */
#ifndef TRAINER_DUPLICATES_H
#define TRAINER_DUPLICATES_H

#include <stddef.h>
#include <stdint.h>

#include "common/arena.h"

enum {
    DUPLICATES_PERMUTATIONS = 128,
    DUPLICATES_BANDS = 32,         /* of 4 permutations: candidates from a similarity of about (1/32)^(1/4) = 0.42 on */
    DUPLICATES_MAX_NEAR = 1 << 20, /* texts; of more only the equal ones are looked for */
    DUPLICATES_MAX_GROUP = 64      /* earlier texts of a band that a text is compared with */
};

#define DUPLICATES_SIMILARITY 0.8

struct near_pair {
    uint32_t a, b; /* a < b; the first texts of their groups of equal ones */
    double similarity;
};

struct duplicates {
    uint32_t *first; /* (n): the first text equal to this one */
    struct near_pair *pairs;
    size_t n_pairs;
};

/* Texts are compared in NFC, case folded, white space as single spaces. Nearly equal: the sets of their shingles of
 * five characters have a Jaccard similarity of at least 0.8, computed exactly for every pair that MinHash proposes (a
 * pair of that similarity is missed with probability (1 − 0.8⁴)³² < 1e-7). All in `arena`. ERR_NOMEM. */
int duplicates_find(struct duplicates *duplicates, const char *const *texts, size_t n, struct arena *arena,
                    struct err *err) MUST_CHECK;
/* Jaccard similarity of two texts as above: 1 for equal ones. ERR_NOMEM. */
int duplicates_similarity(const char *a, const char *b, double *out, struct err *err) MUST_CHECK;

#endif
