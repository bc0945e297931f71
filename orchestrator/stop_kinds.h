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
extern const struct stop_kind stop_pbt;

/* The first point at or after `step`: what the trial had when it reached the rung; NULL: it has not. */
const struct study_point *stop_point_at(const struct study_trial *trial, double step);
/* How many trials of the bracket had a better value when they reached `step`, which `trial` has reached; with several
 * objectives how many dominate it there. *n_there: how many reached it. */
int stop_count_better(const struct study *study, const struct study_trial *trial, double step, double bracket,
                      int *n_there);
/* Whether one point is better than another: by the rule's metric, or with several objectives by dominating it. */
bool stop_is_better(const struct study *study, const struct study_point *a, const struct study_point *b);
/* How many values of a point a rule looks at, and the k-th of them: its metric, or every objective where several are
 * asked for and the rule has no metric of its own. A trial ends only when it is behind in all. */
int stop_values(const struct study *study);
double stop_value(const struct study *study, const struct study_point *point, int k);
/* Whether population-based training may change a parameter while a trial is trained. */
bool stop_pbt_can_change(const struct definition *definition, const char *name);
/* The parameters (codec.n) of trial number `child`: those of its parent, moved. */
int stop_pbt_perturb(struct study *study, const struct study_trial *parent, int64_t child, double *x,
                     struct err *err) MUST_CHECK;
/* Successive halving at the rungs min, min η, min η², … below max (0: no end), among the trials of one bracket. */
enum stop_verdict stop_halve(struct study *study, struct study_trial *trial, double min);
struct study_trial *stop_promote(struct study *study,
                                 double (*min_of)(const struct study *, const struct study_trial *));
/* The value in the rule's own direction, for messages. */
double stop_shown(const struct study *study, double value);

#endif
