/* Intervals. Student's quantile by Newton's method on the incomplete beta function (continued fraction, Lentz). */
#include "common/stats.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "common/rng.h"

double stats_sum(const double *values, int n)
{
    double sum = 0, lost = 0;
    for (int i = 0; i < n; i++) {
        double next = sum + values[i];
        lost += fabs(sum) >= fabs(values[i]) ? (sum - next) + values[i] : (values[i] - next) + sum;
        sum = next;
    }
    return sum + lost;
}

/* Continued fraction of the regularised incomplete beta function, DLMF 8.17.22, by the modified Lentz method. */
static double beta_fraction(double a, double b, double x)
{
    const double tiny = 1e-300;
    double c = 1, d = 1 - (a + b) * x / (a + 1);
    d = 1 / (fabs(d) < tiny ? tiny : d);
    double h = d;
    for (int m = 1; m <= 10000; m++) {
        double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        double delta = 1;
        for (int half = 0; half < 2; half++) {
            double term = half == 0 ? even : odd;
            d = 1 + term * d;
            c = 1 + term / c;
            d = 1 / (fabs(d) < tiny ? tiny : d);
            c = fabs(c) < tiny ? tiny : c;
            delta = d * c;
            h *= delta;
        }
        if (fabs(delta - 1) < 1e-16)
            break;
    }
    return h;
}

double stats_beta_below(double a, double b, double x)
{
    if (x <= 0 || x >= 1)
        return x <= 0 ? 0 : 1;
    double front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x));
    if (x < (a + 1) / (a + b + 2))
        return front * beta_fraction(a, b, x) / a;
    return 1 - front * beta_fraction(b, a, 1 - x) / b;
}

double stats_t_tail(double t, double df)
{
    double beyond = 0.5 * stats_beta_below(df / 2, 0.5, df / (df + t * t)); /* |t| */
    return t >= 0 ? beyond : 1 - beyond;
}

double stats_normal_quantile(double p)
{
    assert(p > 0 && p < 1);
    double tail = p < 0.5 ? p : 1 - p, low = 0, high = 40;
    for (int i = 0; i < 200 && high - low > 1e-15 * high; i++) {
        double middle = 0.5 * (low + high);
        if (0.5 * erfc(middle / sqrt(2)) > tail)
            low = middle;
        else
            high = middle;
    }
    double z = p == 0.5 ? 0 : 0.5 * (low + high);
    return p < 0.5 ? -z : z;
}

double stats_t_quantile(double p, double df)
{
    assert(p > 0 && p < 1 && df >= 1);
    if (p == 0.5)
        return 0;
    double tail = p < 0.5 ? p : 1 - p;
    double low = 0, high = 1;
    while (stats_t_tail(high, df) > tail && high < 1e300)
        high *= 2;
    /* Bisection: slow, sure, and exact to the last bit that matters. */
    for (int i = 0; i < 200 && high - low > 1e-15 * high; i++) {
        double middle = 0.5 * (low + high);
        if (stats_t_tail(middle, df) > tail)
            low = middle;
        else
            high = middle;
    }
    double t = 0.5 * (low + high);
    return p < 0.5 ? -t : t;
}

struct interval stats_student(const double *values, int n, double confidence)
{
    struct interval out = {NAN, NAN, NAN, n};
    if (n == 0)
        return out;
    out.mean = stats_sum(values, n) / n;
    if (n == 1)
        return out;
    double squares = 0;
    for (int i = 0; i < n; i++)
        squares += (values[i] - out.mean) * (values[i] - out.mean);
    double half = stats_t_quantile(0.5 + confidence / 2, n - 1) * sqrt(squares / (n - 1) / n);
    out.low = out.mean - half;
    out.high = out.mean + half;
    return out;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double stats_quantile(double *values, int n, double p)
{
    assert(n > 0);
    qsort(values, (size_t)n, sizeof(*values), compare_doubles);
    double position = p * (n - 1);
    int below = (int)floor(position);
    int above = below + 1 < n ? below + 1 : below;
    return values[below] + (position - below) * (values[above] - values[below]);
}

struct interval stats_bootstrap_mean(const double *values, int n, double confidence, int resamples, uint64_t seed)
{
    struct interval out = {NAN, NAN, NAN, n};
    if (n == 0)
        return out;
    out.mean = stats_sum(values, n) / n;
    double *means = resamples > 0 ? malloc((size_t)resamples * sizeof(*means)) : NULL;
    if (!means)
        return out;
    struct rng rng = rng_make(seed, RNG_BOOTSTRAP);
    for (int r = 0; r < resamples; r++) {
        struct rng_stream stream = rng_stream(rng, (uint32_t)r, 0, 0);
        double sum = 0;
        for (int i = 0; i < n; i++)
            sum += values[rng_below(&stream, (uint32_t)n)];
        means[r] = sum / n;
    }
    out.low = stats_quantile(means, resamples, (1 - confidence) / 2);
    out.high = stats_quantile(means, resamples, (1 + confidence) / 2);
    free(means);
    return out;
}
