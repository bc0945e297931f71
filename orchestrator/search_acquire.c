/* Acquisition functions. */
#include "orchestrator/search_acquire.h"

#include <math.h>

static double density(double z)
{
    return exp(-0.5 * z * z) * 0.39894228040143267794;
}

static double below(double z)
{
    return 0.5 * erfc(-z * 0.70710678118654752440);
}

double acquire_log_h(double z, double *slope)
{
    if (z > -25) {
        double p = below(z), h = density(z) + z * p;
        if (slope)
            *slope = p / h;
        return log(h);
    }
    /* 1 + z Φ/φ = 1/z² − 3/z⁴ + 15/z⁶ − …, what cancellation leaves of h/φ. */
    double w = 1 / (z * z), h = w * (1 - 3 * w * (1 - 5 * w * (1 - 7 * w)));
    if (slope)
        *slope = (1 - h) / (-z * h);
    return -0.5 * z * z - 0.91893853320467274178 + log(h);
}

double acquire_log_ei(double mean, double deviation, double best, double *by_mean, double *by_deviation)
{
    double slope, z = (best - mean) / deviation, value = log(deviation) + acquire_log_h(z, &slope);
    if (by_mean)
        *by_mean = -slope / deviation;
    if (by_deviation)
        *by_deviation = (1 - z * slope) / deviation;
    return value;
}

double acquire_log_probability(double mean, double deviation, double bound, double *by_mean, double *by_deviation)
{
    double z = (bound - mean) / deviation, ratio, value;
    if (z > -25) {
        double p = below(z);
        value = log(p);
        ratio = density(z) / p;
    } else {
        ratio = -z / (1 - 1 / (z * z));
        value = -0.5 * z * z - 0.91893853320467274178 - log(ratio);
    }
    if (by_mean)
        *by_mean = -ratio / deviation;
    if (by_deviation)
        *by_deviation = -ratio * z / deviation;
    return value;
}

/* E[max(a − f, 0)] */
static double shortfall(double mean, double deviation, double a)
{
    double z = (a - mean) / deviation;
    return deviation * (density(z) + z * below(z));
}

/* The gain is a sum over strips of the first objective between neighbours of the front; within a strip everything below
 * the strip's front value of the second objective is gained. */
double acquire_ehvi2(const double mean[2], const double deviation[2], const double (*front)[2], int n,
                     const double reference[2])
{
    double sum = 0, before = 0;
    for (int i = 0; i <= n; i++) {
        double right = i < n ? front[i][0] : reference[0], top = i > 0 ? front[i - 1][1] : reference[1];
        double upto = shortfall(mean[0], deviation[0], right);
        sum += (upto - before) * shortfall(mean[1], deviation[1], top);
        before = upto;
    }
    return sum;
}
