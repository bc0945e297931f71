/* Median rule (Golovin et al. 2017, Vizier): a trial ends when its best value so far is worse than the median (or
 * another percentile) of what the others had at the same step. */
#include <math.h>
#include <stdlib.h>

#include "common/stats.h"
#include "orchestrator/stop_kinds.h"

static enum stop_verdict decide(struct study *study, struct study_trial *trial)
{
    const struct stopping *stopping = &study->definition->stopping;
    double step = (double)trial->step, best = INFINITY;
    int n = 0;
    if (step < stopping->min_resource || fmod(step - stopping->min_resource, stopping->interval) != 0)
        return STOP_CONTINUE;
    double *values = malloc((size_t)study->n_trials * sizeof(*values));
    for (int i = 0; values && i < study->n_trials; i++) {
        const struct study_trial *other = study->trials[i];
        const struct study_point *point = other != trial ? stop_point_at(other, step) : NULL;
        if (point)
            values[n++] = point->value;
    }
    for (int i = 0; i < trial->n_points; i++)
        best = fmin(best, trial->points[i].value);
    double limit = n > 0 ? stats_quantile(values, n, stopping->percentile / 100) : INFINITY;
    free(values);
    if (n < (int)stopping->min_trials || best <= limit)
        return STOP_CONTINUE;
    text_printf(&study->reason, "step %.0f: best %s %.6g is worse than %.6g, percentile %g of %d trials there", step,
                stopping->metric, stop_shown(study, best), stop_shown(study, limit), stopping->percentile, n);
    return STOP_END;
}

const struct stop_kind stop_median = {
    .name = "median",
    .help = "ends a trial whose best value is worse than the median of the others at its step",
    .options = "min_resource max_resource min_trials percentile interval",
    .min_trials = 5,
    .decide = decide,
};
