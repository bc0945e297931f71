/* What fine-tuning added to a check: the value before it, of the baseline trial (a linear probe of the same seed), and
 * the paired interval of the difference. */
#ifndef ORCHESTRATOR_BIAS_BEFORE_H
#define ORCHESTRATOR_BIAS_BEFORE_H

#include "orchestrator/store.h"

enum { BIAS_RESAMPLES = 2000 };

/* Fills in before, delta = after − before, low and high of every check of the sweep's trials whose baseline is there
 * and whose before is not: the 95 % percentile bootstrap interval of the mean difference over the items (pairs), both
 * sides resampled together (Efron & Tibshirani 1993, 13.3). Checks of other items, or without items, get before and
 * delta and no interval. */
int bias_before_fill(struct store *store, int64_t sweep_id, struct err *err) MUST_CHECK;
/* Empties the items of a check (by its name in the store) where the trial's before is filled in; baselines keep theirs.
 * For a check whose definition does not ask to keep them. */
int bias_before_drop_items(struct store *store, int64_t sweep_id, const char *check_name, struct err *err) MUST_CHECK;

#endif
