/* Almost stochastic order: does one method's whole distribution of scores lie above another's? */
#ifndef COMMON_STATS_ORDER_H
#define COMMON_STATS_ORDER_H

#include <stdint.h>

#include "common/err.h"

enum { STATS_ORDER_MAX = 4096 }; /* values a sample */

/* How far "a is stochastically larger than b" is violated:
 *     ε = ∫_{F⁻¹_a < F⁻¹_b} (F⁻¹_a − F⁻¹_b)² dt / ∫ (F⁻¹_a − F⁻¹_b)² dt,
 * 0: nowhere, 1: everywhere (del Barrio et al. 2018). The quantile functions are steps, so the integrals are exact.
 * 0.5 for equal samples. Sorts both. n_a, n_b > 0. */
double stats_violation_ratio(double *a, int n_a, double *b, int n_b);
/* ε_min = ε − σ̂·z_{1−c}/√(n_a·n_b/(n_a + n_b)), clipped to [0, 1], σ̂ from `resamples` bootstrap samples of both (Dror
 * et al. 2019, arXiv:1906.07701): below 0.5 a is better than b at confidence c, below 0.2 safely. For several
 * comparisons at 1 − α over all of them pass c = 1 − α/comparisons (Bonferroni). NaN when a sample has one value, which
 * is no distribution. ERR_NOMEM. */
int stats_almost_order(const double *a, int n_a, const double *b, int n_b, double confidence, int resamples,
                       uint64_t seed, double *out, struct err *err) MUST_CHECK;

#endif
