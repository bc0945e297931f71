/* Curves for the page: every metric of every trial, thinned where a sweep is large. */
#ifndef ORCHESTRATOR_EXPORT_CURVES_H
#define ORCHESTRATOR_EXPORT_CURVES_H

#include "orchestrator/export_columns.h"
#include "orchestrator/store.h"

enum { EXPORT_MANY_TRIALS = 5000 }; /* a sweep of more is large: what the page shows of it is reduced */

int export_count_trials(struct store *store, int64_t sweep_id, int64_t *n, struct err *err) MUST_CHECK;
/* Gives ,"curves":{"names":[…],"trial":{…},"metric":{…},"n":{…},"steps":{…},"values":{"f32":base64}}: one entry a
 * curve in trial (number), metric (index into names) and n (points); steps and values hold the points of all curves
 * one after the other. A value that is no number is NaN. Longer curves keep the points that show their shape best
 * (Steinarsson 2013, largest triangle three buckets), at least 12 and at most 400, about a million in all; large
 * sweeps leave out train/grad_norm and train/learning_rate. The full numbers stay in the store. */
int export_curves(struct export_pieces *pieces, struct store *store, int64_t sweep_id, struct err *err) MUST_CHECK;
/* Picks at most `limit` (>= 3) of n points, first and last among them; writes their indices, gives their number. */
size_t export_thin(const uint32_t *steps, const float *values, size_t n, size_t limit, uint32_t *kept);

#endif
