/* Gaussian process regression over points (search_codec.h) with a Matérn 5/2 kernel.
 *
 *     k(a, b) = s² (1 + √5 r + 5/3 r²) exp(−√5 r),   r² = Σ_j λ_j Δ_j²
 *
 * Δ_j is the difference of numbers, and 0 or 1 for equal or different categories; a dimension that does not exist
 * counts as the middle of its range, or as a category of its own. λ_j = 1/ℓ_j². Rasmussen and Williams
 * 2006, 2.2, 4.2, 5.4.
 *
 * In conditional spaces a second kernel of the same form over the dimensions that always exist is added: what all
 * branches have in common, beside what is each one's own. */
#ifndef ORCHESTRATOR_SEARCH_GP_MODEL_H
#define ORCHESTRATOR_SEARCH_GP_MODEL_H

#include <stdbool.h>

#include "common/arena.h"

/* log λ_j of d dimensions, then log s², then log of the noise's variance; where points have common dimensions log λ_j
 * and log s² of the second kernel behind. */
enum { GP_SIGNAL = 0, GP_NOISE = 1, GP_EXTRA = 2 };

struct gp_data {
    int n, d;
    const double *x;         /* (d, n): dimension after dimension, NaN replaced (gp_fill) */
    const bool *is_category; /* (d) */
    const double *y;         /* (n), about mean 0, deviation 1 */
    const double *noise;     /* (n): the noise's variance times this: 1/seeds */
    const bool *is_common;   /* (d): part of the second kernel; NULL: there is none */
};

/* How many parameters θ has. */
int gp_n_theta(int d, bool has_common);

/* What stands for a dimension that does not exist. */
double gp_fill(bool is_category, double value);
/* Kernel of two points with d dimensions, `stride` apart, without s²: the formula above. */
double gp_kernel(double squared_distance);

/* log p(y | x, θ) + log p(θ) and, unless NULL, its gradient (as θ). −∞ when the matrix is not positive definite. */
double gp_evidence(const struct gp_data *data, const double *theta, double *gradient, struct arena *scratch);
/* log p(θ), a part of the evidence. */
double gp_log_prior(const double *theta, int d, bool has_common);
/* Maximises it from `theta`, with at most max_calls evaluations; the evidence reached. */
double gp_fit(const struct gp_data *data, double *theta, int max_calls, struct arena *scratch);
/* A start for gp_fit: lengths of `scale` times the prior's. */
void gp_start(int d, bool has_common, double scale, double *theta);

/* What is known after the data: grows row by row. Zeroed: nothing. */
struct gp {
    int n, d, capacity, n_base;
    bool has_common;
    double *theta;     /* (2 d + 3) */
    double *scale;     /* (d): λ_j */
    double *common;    /* (d): λ_j of the second kernel, 0 of dimensions that are not in it */
    bool *is_category; /* (d) */
    double *x;         /* (d, capacity) */
    double *noise;     /* (capacity) */
    double *factor;    /* (capacity, capacity) row-major lower Cholesky factor of K + noise */
    double *weights;   /* (n): K⁻¹ y */
    double *work;      /* (5, capacity) */
};

/* Conditions on the data: the first n_base rows are factorised at once, the others appended one at a time, so that the
 * result depends on the data alone and not on what was there before; rows that are as they were are not computed
 * again. false when the matrix is not positive definite even with jitter, or without memory. */
bool gp_condition(struct gp *gp, const struct gp_data *data, const double *theta, int n_base);
void gp_done(struct gp *gp);
/* Mean and deviation (of the noise-free value) at m points (d, m) column by column; `cross` has room for n × m. */
void gp_predict(struct gp *gp, const double *x, int m, double *mean, double *deviation, double *cross);
/* The mean at one point (d). */
double gp_mean(struct gp *gp, const double *x);
/* The same at one point (d) with the derivatives by its numbers (categories get 0); gradients have d entries. */
void gp_predict_gradient(struct gp *gp, const double *x, double *mean, double *deviation, double *mean_gradient,
                         double *deviation_gradient);

#endif
