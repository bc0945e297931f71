/* Threshold: a trial ends as soon as its metric leaves the bounds. */
#include "orchestrator/stop_kinds.h"

static enum stop_verdict decide(struct study *study, struct study_trial *trial)
{
    const struct stopping *stopping = &study->definition->stopping;
    double value = stop_shown(study, trial->points[trial->n_points - 1].value);
    bool is_above = stopping->has_upper && value > stopping->upper;
    bool is_below = stopping->has_lower && value < stopping->lower;
    if ((double)trial->step < stopping->min_resource || (!is_above && !is_below))
        return STOP_CONTINUE;
    text_printf(&study->reason, "step %lld: %s %.6g is %s %.6g", (long long)trial->step, stopping->metric, value,
                is_above ? "above" : "below", is_above ? stopping->upper : stopping->lower);
    return STOP_END;
}

const struct stop_kind stop_threshold = {
    .name = "threshold",
    .help = "ends a trial whose metric leaves the bounds",
    .options = "min_resource max_resource upper lower",
    .decide = decide,
};
