/* What a search of a given size can expect to find, and which of its points nothing else beats. */
#ifndef COMMON_STATS_BUDGET_H
#define COMMON_STATS_BUDGET_H

#include <stdbool.h>

/* Expected best of k values drawn from `values` with replacement: Σ_i v_(i)·((i/n)^k − ((i−1)/n)^k), v sorted (Dodge et
 * al. 2019, arXiv:1909.03004, eq. 6); out[k − 1] for k = 1..n. Best is the largest, or with `minimize` the smallest.
 * Sorts `values`. */
void stats_expected_best(double *values, int n, bool minimize, double *out);

/* on_front[i]: no other point is at least as good on every axis and better on one. points (n, axes), smaller is better;
 * a point with a NaN takes no part. Equal points are on the front together. */
void stats_pareto(const double *points, int n, int axes, bool *on_front);

#endif
