/* Median rule (Golovin et al. 2017, Vizier): a trial ends when its best value so far is worse than the median (or
 * another percentile) of what the others had at the same step. */
#include <math.h>
#include <stdlib.h>

#include "common/stats.h"
#include "orchestrator/stop_kinds.h"

/* Whether the trial's best k-th value is worse than what the percentile of the others had at its step. *n: how many. */
static bool is_behind(const struct study *study, const struct study_trial *trial, int k, double *best, double *limit,
                      int *n)
{
    const struct stopping *stopping = &study->definition->stopping;
    double *values = malloc((size_t)study->n_trials * sizeof(*values));
    *n = 0;
    *best = INFINITY;
    for (int i = 0; values && i < study->n_trials; i++) {
        const struct study_trial *other = study->trials[i];
        const struct study_point *point = other != trial ? stop_point_at(other, (double)trial->step) : NULL;
        if (point)
            values[(*n)++] = stop_value(study, point, k);
    }
    for (int i = 0; i < trial->n_points; i++)
        *best = fmin(*best, stop_value(study, &trial->points[i], k));
    *limit = *n > 0 ? stats_quantile(values, *n, stopping->percentile / 100) : INFINITY;
    free(values);
    return *n >= (int)stopping->min_trials && *best > *limit;
}

static enum stop_verdict decide(struct study *study, struct study_trial *trial)
{
    const struct stopping *stopping = &study->definition->stopping;
    double step = (double)trial->step, best = 0, limit = 0;
    int n = 0;
    if (step < stopping->min_resource || fmod(step - stopping->min_resource, stopping->interval) != 0)
        return STOP_CONTINUE;
    for (int k = stop_values(study) - 1; k >= 0; k--)
        if (!is_behind(study, trial, k, &best, &limit, &n))
            return STOP_CONTINUE;
    text_printf(&study->reason, "step %.0f: best %s %.6g is worse than %.6g, percentile %g of %d trials there%s", step,
                stopping->metric, stop_shown(study, best), stop_shown(study, limit), stopping->percentile, n,
                stop_values(study) > 1 ? ", and so in the other objectives" : "");
    return STOP_END;
}

const struct stop_kind stop_median = {
    .name = "median",
    .help = "ends a trial whose best value is worse than the median of the others at its step",
    .options = "min_resource max_resource min_trials percentile interval",
    .min_trials = 5,
    .decide = decide,
};
