/* Rows whose label is likely wrong: confident learning on cross-validated probabilities (`nightsweep data`). */
#ifndef TRAINER_LABEL_ERRORS_H
#define TRAINER_LABEL_ERRORS_H

#include <stddef.h>
#include <stdint.h>

#include "common/arena.h"

enum {
    LABEL_ERRORS_FOLDS = 5,
    LABEL_ERRORS_MIN_ROWS = 50,
    LABEL_ERRORS_MAX_CLASSES = 100,
    LABEL_ERRORS_BITS = 16 /* words and pairs of words are hashed into 2^16 features */
};

/* Of n rows and C classes. */
struct label_errors {
    double *probabilities; /* (n, C), each row's by a model that has not seen it */
    double *thresholds;    /* (C): t_j, the mean of p_j over the rows labelled j; NaN without such rows */
    int *suggested;        /* (n): the class that is confidently another one, or −1 */
    uint32_t *order;       /* (n_likely): the rows with a suggestion, the least self-confident first */
    size_t n_likely;
    double accuracy; /* of the model, against the labels as they are */
};

/* Confident learning (Northcutt, Jiang & Chuang 2021, arXiv:1911.00068): a row counts as class j when p_j >= t_j (the
 * largest such p_j); a row that counts as another class than its label's is likely wrong. Fills thresholds, suggested,
 * order, n_likely and accuracy from the probabilities. Arrays in `arena`. ERR_NOMEM. */
int label_errors_judge(struct label_errors *errors, const double *probabilities, const int *labels, size_t n,
                       int n_classes, struct arena *arena, struct err *err) MUST_CHECK;
/* Cross-validated probabilities of a softmax regression on the words and pairs of neighbouring words of each text
 * (hashed, lower case), and the judgement on them. groups[i]: rows of the same number stay in one fold (equal texts).
 * No seed. */
int label_errors_find(struct label_errors *errors, const char *const *texts, const int *labels, const uint32_t *groups,
                      size_t n, int n_classes, struct arena *arena, struct err *err) MUST_CHECK;

#endif
