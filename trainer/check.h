/* Checks: measurements beside the objective, after training, on the best weights. A kind is one file check_<kind>.c and
 * one row in trial_check.c; common/checks.c says what a definition may set. */
#ifndef TRAINER_CHECK_H
#define TRAINER_CHECK_H

#include "trainer/trial.h"

struct check_kind {
    const char *name;
    /* Before anything is trained: ERR_UNSUPPORTED with the reason when it does not apply to this model, and what is
     * wrong with its item file (ERR_FORMAT, file and line). NULL: it always applies. */
    int (*fits)(struct trial *trial, const struct trial_check *check, struct err *err);
    /* Measures and sends points and the `check` record. ERR_DATA and ERR_USAGE with the place. */
    int (*run)(struct trial *trial, const struct trial_check *check, struct err *err);
    /* After each validation in the course of training: points of curves alone. NULL: it is not followed. */
    int (*follow)(struct trial *trial, const struct trial_check *check, struct err *err);
};

extern const struct check_kind check_counterfactual, check_group_fairness, check_weights, check_perplexity, check_probe,
    check_weat, check_crows_pairs, check_stereoset, check_bbq, check_safety, check_translation;
extern const struct check_kind *const check_kinds[]; /* NULL-terminated */

/* Starts the record of a check; metrics, n_items, item_set_sha256 and items follow as members. */
struct text *check_begin(struct trial *trial, const struct trial_check *check);
/* A point "<group>/<metric>" at the best step; of a check behind another one of its kind "<group>/<metric>.<number>".
 */
void check_point(struct trial *trial, const struct trial_check *check, const char *metric, double value);
/* Points and record of a kind whose metrics come out of its items (common/checks.h): n items of the kind's width. */
void check_send(struct trial *trial, const struct trial_check *check, const double *items, size_t n,
                const char *item_set_sha256);
/* The same for a kind that names its metrics itself; `metrics` ends with NULL. */
void check_send_metrics(struct trial *trial, const struct trial_check *check, const char *const *metrics,
                        const double *items, size_t n, const char *item_set_sha256);

#endif
