/* BLEU of a corpus as WMT reports it (Papineni et al. 2002; Post 2018, arXiv:1804.08771): tokens by mteval-v13a's
 * rules, orders 1 to 4, exponential smoothing, case kept. Signature: nrefs:N|case:mixed|eff:no|tok:13a|smooth:exp. */
#ifndef COMMON_BLEU_H
#define COMMON_BLEU_H

#include <stdint.h>

#include "common/text.h"

enum { BLEU_ORDERS = 4, BLEU_MAX_REFERENCES = 16 };

/* Sufficient statistics; zeroed: no segment yet. */
struct bleu {
    int64_t correct[BLEU_ORDERS], total[BLEU_ORDERS]; /* n-grams, clipped matches and all */
    int64_t hypothesis_length, reference_length;      /* of references the one nearest in length, the shorter of two */
};

/* Adds a segment. Texts are valid UTF-8; 1 to BLEU_MAX_REFERENCES references. ERR_NOMEM. */
int bleu_add(struct bleu *bleu, const char *hypothesis, const char *const *references, int n_references,
             struct err *err) MUST_CHECK;
/* 0..100; 0 when nothing matches or no hypothesis has four words. */
double bleu_score(const struct bleu *bleu);
/* mteval-v13a's tokens, separated by white space, appended to `out`. */
void bleu_tokenize(struct text *out, const char *line);

#endif
