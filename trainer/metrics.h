/* Metrics of classification and of language models. */
#ifndef TRAINER_METRICS_H
#define TRAINER_METRICS_H

#include <stdint.h>

#include "common/err.h"
#include "common/text.h"
#include "trainer/dataset.h"
#include "trainer/real.h"

/* What an evaluation found, item by item: n items of C classes. */
struct predictions {
    size_t n;
    int n_classes;
    int32_t *labels, *predicted;
    real *losses;        /* −log p of the label; language models: mean over the item's tokens */
    int32_t *n_tokens;   /* language models: how many tokens of each item are predicted; else NULL. labels are then the
                          * same numbers, predicted −1 and probabilities NULL */
    real *probabilities; /* (n, C) */
};

struct metrics {
    bool is_language;  /* only loss and perplexity exist */
    double perplexity; /* exp(loss): of the mean over tokens */
    double accuracy, loss;
    double macro_f1; /* mean F1 over the classes that occur as label or prediction */
    double ece; /* Σ_b n_b/n |accuracy_b − confidence_b| over 15 equal bins (Guo et al. 2017, arXiv:1706.04599, 2) */
    double adaptive_ece; /* the same over 15 bins of equally many items, by confidence (Nguyen & O'Connor 2015) */
    double brier;        /* mean of Σ_c (p_c − [c is the label])², 0..2 (Brier 1950) */
    double *f1;          /* a class each; 0 where precision and recall are 0 */
    int64_t *confusion;  /* (label, prediction) */
    int n_classes;
};

/* Arrays lie in `arena`. n > 0. ERR_NOMEM. */
int metrics_compute(struct metrics *metrics, const struct predictions *predictions, struct arena *arena,
                    struct err *err) MUST_CHECK;
/* {"accuracy":…,"macro_f1":…,"loss":…,"ece":…,"adaptive_ece":…,"brier":…,"f1":{label:…},"confusion":[[…]]} or
 * {"loss":…,"perplexity":…} */
void metrics_add_json(struct text *json, const struct metrics *metrics, const struct labels *labels);
/* Names of those an evaluation reports as curves, NULL-terminated. */
const char *const *metrics_names(const struct metrics *metrics);
/* "accuracy", "loss", "macro_f1", "ece", "adaptive_ece" or "brier", of language models "loss" or "perplexity"; NaN for
 * another name. */
double metrics_get(const struct metrics *metrics, const char *name);

#endif
