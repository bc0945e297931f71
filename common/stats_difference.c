/* Differences of means, their tests and sizes. */
#include "common/stats_difference.h"

#include <math.h>
#include <stdbool.h>

#include "common/stats.h"

/* Sum of squared deviations; the mean into *mean. */
static double squares(const double *values, int n, double *mean)
{
    double sum = 0;
    *mean = stats_sum(values, n) / n;
    for (int i = 0; i < n; i++)
        sum += (values[i] - *mean) * (values[i] - *mean);
    return sum;
}

static struct difference with_interval(double mean, double se, double df)
{
    struct difference out = {mean, se, df, NAN, NAN};
    if (!isnan(se)) {
        double half = stats_t_quantile(0.975, df) * se;
        out.low = mean - half;
        out.high = mean + half;
    }
    return out;
}

struct difference stats_paired(const double *a, const double *b, int n)
{
    if (n == 0)
        return with_interval(NAN, NAN, NAN);
    double mean = 0, sum = 0;
    for (int i = 0; i < n; i++)
        mean += (a[i] - b[i]) / n;
    for (int i = 0; i < n; i++)
        sum += (a[i] - b[i] - mean) * (a[i] - b[i] - mean);
    return n == 1 ? with_interval(mean, NAN, NAN) : with_interval(mean, sqrt(sum / (n - 1) / n), n - 1);
}

struct difference stats_welch(const double *a, int n_a, const double *b, int n_b)
{
    double mean_a, mean_b;
    if (n_a == 0 || n_b == 0)
        return with_interval(NAN, NAN, NAN);
    double var_a = squares(a, n_a, &mean_a), var_b = squares(b, n_b, &mean_b);
    if (n_a == 1 || n_b == 1)
        return with_interval(mean_a - mean_b, NAN, NAN);
    var_a /= (double)n_a * (n_a - 1);
    var_b /= (double)n_b * (n_b - 1);
    double sum = var_a + var_b;
    double df = sum > 0 ? sum * sum / (var_a * var_a / (n_a - 1) + var_b * var_b / (n_b - 1)) : n_a + n_b - 2;
    return with_interval(mean_a - mean_b, sqrt(sum), df);
}

/* P(T > distance/se); without spread what is certain is certain. */
static double tail(double distance, double se, double df)
{
    if (isnan(se))
        return NAN;
    if (se <= 0)
        return distance > 0 ? 0 : 1;
    return stats_t_tail(distance / se, df);
}

double stats_difference_p(struct difference d)
{
    double p = 2 * tail(fabs(d.mean), d.se, d.df);
    return p > 1 ? 1 : p;
}

double stats_inferior_p(struct difference d, double margin)
{
    return tail(d.mean + margin, d.se, d.df);
}

double stats_tost_p(struct difference d, double margin)
{
    double lower = tail(d.mean + margin, d.se, d.df), upper = tail(margin - d.mean, d.se, d.df);
    return isnan(lower) ? lower : fmax(lower, upper);
}

/* T' = (Z + shift)/U with U = √(χ²_df/df): P(T' > t) = ∫ P(Z > t·u − shift) f_U(u) du, by Simpson's rule over the range
 * that holds all but 1e-16 of U: √df·U has its middle at √(df − 1/2) and a deviation below 1, so twelve to either side.
 * u = v⁴ makes the integrand smooth at 0, where f_U goes with u^(df − 1). */
double stats_noncentral_t_tail(double t, double df, double shift)
{
    enum { NODES = 2000 };
    double root = sqrt(df), middle = sqrt(df - 0.5) / root, sum = 0;
    double low = pow(fmax(0, middle - 12 / root), 0.25), step = (pow(middle + 12 / root, 0.25) - low) / NODES;
    double log_scale = log(2) + df / 2 * log(df / 2) - lgamma(df / 2);
    for (int i = 0; i <= NODES; i++) {
        double v = low + i * step, u = v * v * v * v;
        if (u <= 0)
            continue; /* 4v³·f_U(0) = 0 */
        double density = 4 * v * v * v * exp(log_scale + (df - 1) * log(u) - df * u * u / 2);
        double weight = i == 0 || i == NODES ? 1 : i % 2 ? 4 : 2;
        sum += weight * density * 0.5 * erfc((t * u - shift) / sqrt(2));
    }
    return sum * step / 3;
}

double stats_detectable(struct difference d, double alpha, double power)
{
    if (isnan(d.se) || d.se <= 0)
        return d.se;
    double critical = stats_t_quantile(1 - alpha / 2, d.df), low = 0, high = 1;
    while (stats_noncentral_t_tail(critical, d.df, high) < power && high < 1e6)
        high *= 2;
    for (int i = 0; i < 60 && high - low > 1e-13 * high; i++) {
        double shift = 0.5 * (low + high);
        double found = stats_noncentral_t_tail(critical, d.df, shift) + 1 -
                       stats_noncentral_t_tail(-critical, d.df, shift); /* on either side */
        if (found < power)
            low = shift;
        else
            high = shift;
    }
    return 0.5 * (low + high) * d.se;
}

double stats_cohen_d(const double *a, int n_a, const double *b, int n_b)
{
    double mean_a, mean_b;
    if (n_a < 1 || n_b < 1 || n_a + n_b < 3)
        return NAN;
    double sum = squares(a, n_a, &mean_a);
    sum += squares(b, n_b, &mean_b);
    return sum > 0 ? (mean_a - mean_b) / sqrt(sum / (n_a + n_b - 2)) : (double)NAN;
}

double stats_cliff_delta(const double *a, int n_a, const double *b, int n_b)
{
    long long balance = 0;
    for (int i = 0; i < n_a; i++)
        for (int j = 0; j < n_b; j++)
            balance += (a[i] > b[j]) - (a[i] < b[j]);
    return n_a > 0 && n_b > 0 ? (double)balance / ((double)n_a * n_b) : (double)NAN;
}

/* The k-th smallest of m is multiplied by m − k + 1, and none comes out below a smaller one's. Selection by counting:
 * there are a few hundred pairs at most. */
void stats_holm(double *p, int n)
{
    int m = 0, k = 0;
    double least = 0, done = -1;
    for (int i = 0; i < n; i++)
        m += !isnan(p[i]);
    while (k < m) {
        double next = INFINITY;
        int ties = 0;
        for (int i = 0; i < n; i++)
            if (p[i] > done && p[i] < next)
                next = p[i];
        least = fmin(1, fmax(least, (m - k) * next));
        /* Adjusted values carry a mark, −2 − value, until all raw ones are read. */
        for (int i = 0; i < n; i++)
            if (p[i] >= next && p[i] <= next) {
                p[i] = -2 - least;
                ties++;
            }
        k += ties;
        done = next;
    }
    for (int i = 0; i < n; i++)
        p[i] = p[i] <= -2 ? -2 - p[i] : p[i];
}
