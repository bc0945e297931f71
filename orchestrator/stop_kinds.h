/* The stopping rules, one file each: what the table in stop.c is made from, and what they share. */
#ifndef ORCHESTRATOR_STOP_KINDS_H
#define ORCHESTRATOR_STOP_KINDS_H

#include "orchestrator/study_internal.h"

extern const struct stop_kind stop_asha;
extern const struct stop_kind stop_hyperband;
extern const struct stop_kind stop_median;
extern const struct stop_kind stop_patience;
extern const struct stop_kind stop_threshold;
extern const struct stop_kind stop_predicted;

/* The first point at or after `step`: what the trial had when it reached the rung; NULL: it has not. */
const struct study_point *stop_point_at(const struct study_trial *trial, double step);
/* How many trials of the bracket had a better value when they reached `step`, which `trial` has reached; with several
 * objectives how many dominate it there. *n_there: how many reached it. */
int stop_count_better(const struct study *study, const struct study_trial *trial, double step, double bracket,
                      int *n_there);
/* Successive halving at the rungs min, min η, min η², … below max (0: no end), among the trials of one bracket. */
enum stop_verdict stop_halve(struct study *study, struct study_trial *trial, double min);
struct study_trial *stop_promote(struct study *study,
                                 double (*min_of)(const struct study *, const struct study_trial *));
/* The value in the rule's own direction, for messages. */
double stop_shown(const struct study *study, double value);

#endif
