/* Rates by group, their largest gap and their smallest ratio. */
#include "common/fairness.h"

#include <math.h>
#include <string.h>

const char *const fairness_metrics[] = {"demographic_parity_difference", "demographic_parity_ratio",
                                        "equalized_odds_difference", "equalized_odds_ratio", NULL};

enum rate { RATE_SELECTION, RATE_TRUE_POSITIVE, RATE_FALSE_POSITIVE };

static double rate_of(const struct fairness_group *g, enum rate rate)
{
    double part = rate == RATE_SELECTION       ? g->selected
                  : rate == RATE_TRUE_POSITIVE ? g->true_selected
                                               : g->selected - g->true_selected;
    double whole = rate == RATE_SELECTION       ? g->items
                   : rate == RATE_TRUE_POSITIVE ? g->positives
                                                : g->items - g->positives;
    return whole > 0 ? part / whole : (double)NAN;
}

static double gap(const struct fairness_group *groups, int n, enum rate rate, int is_ratio)
{
    double least = INFINITY, most = -INFINITY;
    for (int i = 0; i < n; i++) {
        double value = rate_of(&groups[i], rate);
        if (isnan(value))
            return value;
        least = value < least ? value : least;
        most = value > most ? value : most;
    }
    if (n == 0 || (is_ratio && most <= 0))
        return NAN;
    return is_ratio ? least / most : most - least;
}

double fairness_metric(const char *name, const struct fairness_group *groups, int n)
{
    if (strcmp(name, fairness_metrics[0]) == 0)
        return gap(groups, n, RATE_SELECTION, 0);
    if (strcmp(name, fairness_metrics[1]) == 0)
        return gap(groups, n, RATE_SELECTION, 1);
    int is_ratio = strcmp(name, fairness_metrics[3]) == 0;
    if (!is_ratio && strcmp(name, fairness_metrics[2]) != 0)
        return NAN;
    double hits = gap(groups, n, RATE_TRUE_POSITIVE, is_ratio), alarms = gap(groups, n, RATE_FALSE_POSITIVE, is_ratio);
    if (isnan(hits) || isnan(alarms))
        return NAN;
    return is_ratio ? fmin(hits, alarms) : fmax(hits, alarms);
}
