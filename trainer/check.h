/* Checks: measurements beside the objective, after training, on the best weights. A kind is one file check_<kind>.c and
 * one row in trial_check.c; common/checks.c says what a definition may set. */
#ifndef TRAINER_CHECK_H
#define TRAINER_CHECK_H

#include "trainer/trial.h"

struct check_kind {
    const char *name;
    /* Measures and sends points and the `check` record. ERR_DATA and ERR_USAGE with the place. */
    int (*run)(struct trial *trial, const struct trial_check *check, struct err *err);
};

extern const struct check_kind check_counterfactual, check_group_fairness;
extern const struct check_kind *const check_kinds[]; /* NULL-terminated */

/* Starts the record of a check; metrics, n_items, item_set_sha256 and items follow as members. */
struct text *check_begin(struct trial *trial, const struct trial_check *check);

#endif
