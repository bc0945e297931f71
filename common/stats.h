/* Statistics that more than one program needs: intervals over seeds and paired bootstrap over items. */
#ifndef COMMON_STATS_H
#define COMMON_STATS_H

#include <stddef.h>
#include <stdint.h>

struct interval {
    double mean, low, high;
    int n;
};

/* Mean and Student interval mean ± t_{(1+confidence)/2, n-1} · s/√n. n = 1 has no interval: low and high are NaN. */
struct interval stats_student(const double *values, int n, double confidence);
/* Quantile of Student's t with `df` degrees of freedom (df >= 1), 0 < p < 1; relative error below 1e-9. */
double stats_t_quantile(double p, double df);
/* P(T > t) of the same; any t. */
double stats_t_tail(double t, double df);
/* P(X < x) of the beta distribution: the regularised incomplete beta function I_x(a, b), a > 0, b > 0 (DLMF 8.17). */
double stats_beta_below(double a, double b, double x);
/* Quantile of the standard normal distribution, 0 < p < 1. */
double stats_normal_quantile(double p);
/* Mean of values and percentile bootstrap interval over items (Efron & Tibshirani 1993, 13.3), `resamples` draws of
 * (seed, RNG_BOOTSTRAP). For paired differences pass the differences. n = 0 gives NaN. */
struct interval stats_bootstrap_mean(const double *values, int n, double confidence, int resamples, uint64_t seed);
/* Sum with Neumaier's compensation, so that a mean does not depend on magnitude order. */
double stats_sum(const double *values, int n);
/* Sorts in place and returns the quantile by linear interpolation (Hyndman-Fan type 7). */
double stats_quantile(double *values, int n, double p);

#endif
