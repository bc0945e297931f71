/* Patience: a trial ends after so many reports without a value that is better by more than min_delta. */
#include <math.h>

#include "orchestrator/stop_kinds.h"

static enum stop_verdict decide(struct study *study, struct study_trial *trial)
{
    const struct stopping *stopping = &study->definition->stopping;
    double best = INFINITY;
    int since = 0;
    for (int i = 0; i < trial->n_points; i++) {
        double value = trial->points[i].value;
        if (isnan(value))
            continue;
        if (value < best - stopping->min_delta) {
            best = value;
            since = 0;
        } else {
            since++;
        }
    }
    if ((double)trial->step < stopping->min_resource || since < (int)stopping->patience)
        return STOP_CONTINUE;
    text_printf(&study->reason, "step %lld: %d reports without %s better than %.6g by more than %g",
                (long long)trial->step, since, stopping->metric, stop_shown(study, best), stopping->min_delta);
    return STOP_END;
}

const struct stop_kind stop_patience = {
    .name = "patience",
    .help = "ends a trial that has not become better for so many reports",
    .options = "min_resource max_resource patience min_delta",
    .decide = decide,
};
