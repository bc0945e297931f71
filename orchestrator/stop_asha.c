/* Asynchronous successive halving (Li et al. 2020, arXiv:1810.05934).
 *
 * Rungs lie at min_resource · reduction_factor^k. A trial goes on from a rung while it is among the best
 * 1/reduction_factor of those that reached it. Where trials can be paused, one that is not yet among them waits there
 * and is promoted when it is (the paper's form); where they cannot, it ends. A rung is never waited for, so a slow
 * trial delays nobody; the price is some wrong promotions. */
#include <math.h>

#include "orchestrator/stop_kinds.h"

/* How many of n go on from a rung. Where trials end there it is at least the best one; where they wait, the first wait
 * until there are enough to choose from, or nobody else comes. */
static int quota(const struct study *study, int n)
{
    int kept = (int)floor(n / study->definition->stopping.reduction_factor + 1e-9);
    bool is_patient = study->can_pause && !study_is_complete(study);
    return kept > 0 || is_patient ? kept : 1;
}

static double rung_step(double min, double factor, int rung)
{
    return min * pow(factor, rung);
}

enum stop_verdict stop_halve(struct study *study, struct study_trial *trial, double min)
{
    const struct stopping *stopping = &study->definition->stopping;
    double factor = stopping->reduction_factor, step = rung_step(min, factor, trial->rung);
    while (step <= (double)trial->step && (stopping->max_resource <= 0 || step < stopping->max_resource)) {
        int n, better = stop_count_better(study, trial, step, trial->bracket, &n);
        double value = stop_shown(study, stop_point_at(trial, step)->value);
        trial->rung++;
        if (better >= quota(study, n)) {
            text_reset(&study->reason);
            text_printf(&study->reason, "rung %d at step %.0f: %s %.6g is behind %d of %d trials, %d go on",
                        trial->rung, step, stopping->metric, value, better, n, quota(study, n));
            return study->can_pause ? STOP_PAUSE : STOP_END;
        }
        text_reset(&study->reason);
        text_printf(&study->reason, "rung %d at step %.0f: %s %.6g is place %d of %d trials, %d go on", trial->rung,
                    step, stopping->metric, value, better + 1, n, quota(study, n));
        step = rung_step(min, factor, trial->rung);
    }
    return STOP_CONTINUE;
}

/* Of the highest rung that has one, the best paused trial that is among the best of those that reached it. */
struct study_trial *stop_promote(struct study *study,
                                 double (*min_of)(const struct study *, const struct study_trial *))
{
    double factor = study->definition->stopping.reduction_factor;
    struct study_trial *best = NULL;
    int best_better = 0, best_n = 0;
    for (int i = 0; i < study->n_trials; i++) {
        struct study_trial *trial = study->trials[i];
        if (trial->state != TRIAL_PAUSED || trial->rung < 1 || (best && trial->rung < best->rung))
            continue;
        int n, better = stop_count_better(study, trial, rung_step(min_of(study, trial), factor, trial->rung - 1),
                                          trial->bracket, &n);
        if (better >= quota(study, n) || (best && trial->rung == best->rung && better >= best_better))
            continue;
        best = trial;
        best_better = better;
        best_n = n;
    }
    if (best) {
        text_reset(&study->reason);
        text_printf(&study->reason, "rung %d: promoted, place %d of %d trials", best->rung, best_better + 1, best_n);
    }
    return best;
}

static double min_of(const struct study *study, const struct study_trial *trial)
{
    (void)trial;
    return study->definition->stopping.min_resource;
}

static enum stop_verdict decide(struct study *study, struct study_trial *trial)
{
    return stop_halve(study, trial, study->definition->stopping.min_resource);
}

static struct study_trial *promote(struct study *study)
{
    return stop_promote(study, min_of);
}

const struct stop_kind stop_asha = {
    .name = "asha",
    .help = "at rising rungs the best 1/reduction_factor of the trials go on, the others pause or end",
    .options = "min_resource max_resource reduction_factor",
    .can_pause = true,
    .decide = decide,
    .promote = promote,
};
