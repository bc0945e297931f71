/* Expected validation performance and Pareto fronts. */
#include "common/stats_budget.h"

#include <math.h>

#include "common/stats.h"

void stats_expected_best(double *values, int n, bool minimize, double *out)
{
    if (n > 0)
        (void)stats_quantile(values, n, 0); /* sorts */
    for (int k = 1; k <= n; k++) {
        double sum = 0;
        for (int i = 1; i <= n; i++) {
            double share = pow((double)i / n, k) - pow((double)(i - 1) / n, k);
            sum += share * values[minimize ? n - i : i - 1];
        }
        out[k - 1] = sum;
    }
}

static bool has_nan(const double *point, int axes)
{
    for (int x = 0; x < axes; x++)
        if (isnan(point[x]))
            return true;
    return false;
}

static bool dominates(const double *a, const double *b, int axes)
{
    bool is_better = false;
    for (int x = 0; x < axes; x++) {
        if (a[x] > b[x])
            return false;
        is_better = is_better || a[x] < b[x];
    }
    return is_better;
}

void stats_pareto(const double *points, int n, int axes, bool *on_front)
{
    for (int i = 0; i < n; i++) {
        const double *point = points + (long)i * axes;
        on_front[i] = !has_nan(point, axes);
        for (int j = 0; j < n && on_front[i]; j++) {
            const double *other = points + (long)j * axes;
            on_front[i] = has_nan(other, axes) || !dominates(other, point, axes);
        }
    }
}
