/* Paired bootstrap over test items, nested over seeds.
 *
 * One resample draws the items once for all rows (a row: the items of one method and seed), so that any two methods are
 * compared on the same draws; the differences of a pair are then resampled over its seeds too. */
#ifndef COMMON_STATS_BOOTSTRAP_H
#define COMMON_STATS_BOOTSTRAP_H

#include <stdint.h>

#include "common/err.h"

/* A metric of a row under item weights (how often each item was drawn; they add up to n_items). */
typedef double stats_metric(const void *row, const uint32_t *weights, int n_items);

/* means[r·n_rows + k] = metric of rows[k] under resample r, items drawn by (seed, RNG_BOOTSTRAP, r) with replacement.
 * ERR_NOMEM. */
int stats_resample(stats_metric *metric, const void *const *rows, int n_rows, int n_items, int resamples, uint64_t seed,
                   double *means, struct err *err) MUST_CHECK;

struct resampled {
    double low, high;     /* 95 %: percentiles 2.5 and 97.5 of the difference */
    double low90, high90; /* 90 %: for one-sided statements at 5 % */
    double p;             /* two-sided: 2·(1 + the fewer of resamples <= 0 and >= 0)/(resamples + 1), at most 1 */
};

/* The difference of rows a[s] − b[s] over n_seeds matched seeds: of each resample of `means` the mean over seeds drawn
 * anew (seed, RNG_BOOTSTRAP). The part that the seeds add is stretched by √(n/(n − 1)), without which a handful of
 * seeds looks surer than it is (Rao & Wu 1988); one seed adds nothing. ERR_NOMEM. */
int stats_resampled_difference(const double *means, int n_rows, int resamples, const int *a, const int *b, int n_seeds,
                               uint64_t seed, struct resampled *out, struct err *err) MUST_CHECK;

#endif
