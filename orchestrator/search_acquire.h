/* What a Gaussian process says a point is worth: acquisition functions and their derivatives. */
#ifndef ORCHESTRATOR_SEARCH_ACQUIRE_H
#define ORCHESTRATOR_SEARCH_ACQUIRE_H

/* log h(z), h(z) = φ(z) + z Φ(z): the expected improvement of a standard normal by z. Accurate for any z (Ament et al.
 * 2023, arXiv:2310.20708); *slope (may be NULL) is its derivative Φ(z)/h(z). */
double acquire_log_h(double z, double *slope);
/* log E[max(best − f, 0)] for f normal; derivatives by mean and deviation unless NULL. */
double acquire_log_ei(double mean, double deviation, double best, double *by_mean, double *by_deviation);
/* log P(f <= bound) and derivatives. */
double acquire_log_probability(double mean, double deviation, double bound, double *by_mean, double *by_deviation);
/* Expected gain in hypervolume (both minimised) of a point with independent normal objectives over a front of n points,
 * sorted by the first objective rising, none dominated, all below the reference point. Exact (Emmerich et al. 2011). */
double acquire_ehvi2(const double mean[2], const double deviation[2], const double (*front)[2], int n,
                     const double reference[2]);

#endif
