/* Metrics of predictions: a number for each name of the task's row in common/tasks.c. */
#ifndef TRAINER_METRICS_H
#define TRAINER_METRICS_H

#include <stdint.h>

#include "common/err.h"
#include "common/tasks.h"
#include "common/text.h"
#include "trainer/dataset.h"
#include "trainer/real.h"

/* What an evaluation found, item by item: n items of C classes. */
struct predictions {
    size_t n;
    int n_classes;
    int32_t *labels, *predicted; /* classes; tasks whose items have none: a weight of the item, and −1 */
    real *losses;                /* −log p of the label; items of several tokens: the mean over them */
    int32_t *n_tokens;   /* items of several tokens: how many of each are predicted, and labels are the same numbers */
    real *probabilities; /* (n, C); NULL of tasks without classes */
    real *values, *targets; /* regression: what is predicted, and what it should be */
    int32_t **tags;         /* token classification: a class for each word */
    int32_t *spans;         /* question answering: bytes [start, end) of the answer in the second text */
};

struct metrics {
    const struct task_info *task;
    double values[TASK_MAX_METRICS]; /* in the order of task->metrics; NaN: undefined */
    double *f1;                      /* classes: one each; 0 where precision and recall are 0; else NULL */
    int64_t *confusion;              /* (label, prediction) */
    int n_classes;
};

/* Of classes: accuracy; loss; macro_f1, the mean F1 over the classes that occur as label or prediction; ece,
 * Σ_b n_b/n |accuracy_b − confidence_b| over 15 equal bins (Guo et al. 2017, arXiv:1706.04599, 2); adaptive_ece, the
 * same over 15 bins of equally many items, by confidence (Nguyen & O'Connor 2015); brier, the mean of
 * Σ_c (p_c − [c is the label])², 0..2 (Brier 1950). Arrays lie in `arena`. n > 0. ERR_NOMEM. */
int metrics_of_classes(struct metrics *metrics, const struct predictions *predictions, struct arena *arena,
                       struct err *err) MUST_CHECK;
/* Of tokens: loss, where each token counts the same, whatever item it is in; perplexity, exp(loss). */
void metrics_of_tokens(struct metrics *metrics, const struct predictions *predictions);
/* Of numbers: loss and mse, the mean squared error; pearson and spearman (equal values share their ranks' mean), 0 when
 * one side does not vary. n > 0. ERR_NOMEM. */
int metrics_of_numbers(struct metrics *metrics, const struct predictions *predictions, struct arena *arena,
                       struct err *err) MUST_CHECK;
/* Starts with all values undefined. */
void metrics_begin(struct metrics *metrics, const char *task);
/* Sets the value of that name; a task without such a metric has no such value. */
void metrics_set(struct metrics *metrics, const char *name, double value);
/* {"accuracy":…,…,"f1":{label:…},"confusion":[[…]]} */
void metrics_add_json(struct text *json, const struct metrics *metrics, const struct labels *labels);
/* NaN for a name that the task does not have. */
double metrics_get(const struct metrics *metrics, const char *name);

#endif
