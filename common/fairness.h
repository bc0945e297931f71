/* Group fairness of a classifier: does it select, hit and miss alike in every group?
 *
 * Equal to fairlearn's demographic_parity_difference, demographic_parity_ratio, equalized_odds_difference (worst case)
 * and equalized_odds_ratio wherever every rate is defined. Where one is not (a group without items, without positives,
 * without negatives, or a ratio of 0 to 0), the metric is NaN and not a number that nobody measured. */
#ifndef COMMON_FAIRNESS_H
#define COMMON_FAIRNESS_H

/* One group; doubles, so that resampled items count as often as they were drawn. */
struct fairness_group {
    double items, positives;        /* with the positive label */
    double selected, true_selected; /* predicted positive; and rightly so */
};

/* "demographic_parity_difference": largest − smallest selection rate. "…_ratio": smallest/largest.
 * "equalized_odds_difference": the larger of the gaps of true and false positive rates (Hardt et al. 2016).
 * "equalized_odds_ratio": the smaller of the two rates' smallest/largest. NaN for another name. */
double fairness_metric(const char *name, const struct fairness_group *groups, int n_groups);
/* The names above, NULL-terminated, in the order of the records. */
extern const char *const fairness_metrics[];

#endif
