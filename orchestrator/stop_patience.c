/* Patience: a trial ends after so many reports without a value that is better by more than min_delta. */
#include <limits.h>
#include <math.h>

#include "orchestrator/stop_kinds.h"

/* Reports since the last k-th value that was better than all before by more than min_delta; *best: that one. */
static int reports_since(const struct study *study, const struct study_trial *trial, int k, double *best)
{
    int since = 0;
    *best = INFINITY;
    for (int i = 0; i < trial->n_points; i++) {
        double value = stop_value(study, &trial->points[i], k);
        if (isnan(value))
            continue;
        if (value < *best - study->definition->stopping.min_delta) {
            *best = value;
            since = 0;
        } else {
            since++;
        }
    }
    return since;
}

static enum stop_verdict decide(struct study *study, struct study_trial *trial)
{
    const struct stopping *stopping = &study->definition->stopping;
    double best = INFINITY;
    int since = INT_MAX;
    for (int k = stop_values(study) - 1; k >= 0; k--) {
        int own = reports_since(study, trial, k, &best);
        since = own < since ? own : since;
    }
    if ((double)trial->step < stopping->min_resource || since < (int)stopping->patience)
        return STOP_CONTINUE;
    text_printf(&study->reason, "step %lld: %d reports without %s better than %.6g by more than %g%s",
                (long long)trial->step, since, stopping->metric, stop_shown(study, best), stopping->min_delta,
                stop_values(study) > 1 ? ", or another objective better" : "");
    return STOP_END;
}

const struct stop_kind stop_patience = {
    .name = "patience",
    .help = "ends a trial that has not become better for so many reports",
    .options = "min_resource max_resource patience min_delta",
    .decide = decide,
};
