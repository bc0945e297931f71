/* What the items of checks mean: every metric out of its items, for any weighting of them. */
#include <math.h>

#include "common/checks.h"
#include "common/fairness.h"
#include "common/text.h"

enum { GROUPS_MAX = 256 };

static double weight_of(const uint32_t *weights, int i)
{
    return weights ? weights[i] : 1;
}

/* [flipped, Δp]: means over the pairs. */
double check_metric_counterfactual(const char *metric, const double *items, int n, const uint32_t *weights)
{
    bool is_flip = text_equal(metric, "flip_rate"), is_absolute = text_equal(metric, "mean_absolute_difference");
    double sum = 0, count = 0;
    if (!is_flip && !is_absolute && !text_equal(metric, "signed_difference"))
        return NAN;
    for (int i = 0; i < n; i++) {
        const double *item = items + 2 * (long)i;
        sum += weight_of(weights, i) * (is_flip ? item[0] : is_absolute ? fabs(item[1]) : item[1]);
        count += weight_of(weights, i);
    }
    return count > 0 ? sum / count : (double)NAN;
}

/* [group, label is positive, predicted positive]. A resample without a group has no gap between the groups. */
double check_metric_group_fairness(const char *metric, const double *items, int n, const uint32_t *weights)
{
    struct fairness_group groups[GROUPS_MAX] = {0};
    int n_groups = 0;
    for (int i = 0; i < n; i++) {
        const double *v = items + 3 * (long)i;
        if (!(v[0] >= 0 && v[0] < GROUPS_MAX))
            return NAN;
        struct fairness_group *group = &groups[(int)v[0]];
        double weight = weight_of(weights, i);
        n_groups = (int)v[0] >= n_groups ? (int)v[0] + 1 : n_groups;
        group->items += weight;
        group->positives += weight * v[1];
        group->selected += weight * v[2];
        group->true_selected += weight * v[1] * v[2];
    }
    return fairness_metric(metric, groups, n_groups);
}
