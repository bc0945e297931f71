/* chrF and chrF++ of a corpus (Popović 2015, 2017): F of n-grams of characters (orders 1 to 6, white space left out)
 * and, for chrF++, of words (orders 1 and 2), recall weighing β = 2. Averages precision and recall over the orders that
 * both sides have. Signature: nrefs:N|case:mixed|eff:yes|nc:6|nw:0 or 2|space:no. */
#ifndef COMMON_CHRF_H
#define COMMON_CHRF_H

#include <stdint.h>

#include "common/err.h"

enum { CHRF_CHARACTER_ORDERS = 6, CHRF_WORD_ORDERS = 2, CHRF_ORDERS = 8 };

/* Zeroed but for word_orders: no segment yet. */
struct chrf {
    int word_orders; /* 0: chrF, 2: chrF++ */
    int64_t hypothesis[CHRF_ORDERS], reference[CHRF_ORDERS], matches[CHRF_ORDERS];
};

/* Adds a segment against the reference of the best F. Texts are valid UTF-8; n_references >= 1. ERR_NOMEM. */
int chrf_add(struct chrf *chrf, const char *hypothesis, const char *const *references, int n_references,
             struct err *err) MUST_CHECK;
double chrf_score(const struct chrf *chrf); /* 0..100 */

#endif
