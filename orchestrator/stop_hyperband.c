/* Hyperband (Li et al. 2018, arXiv:1603.06560), asynchronous: trials are dealt to brackets, and each bracket halves
 * from its own first rung on, min_resource · reduction_factor^s. Brackets hedge against rules that end slow starters.
 */
#include <math.h>

#include "orchestrator/stop_kinds.h"

/* The last bracket's number: the largest s with min η^s <= max. */
static int last_bracket(const struct stopping *stopping)
{
    return (int)floor(log(stopping->max_resource / stopping->min_resource) / log(stopping->reduction_factor) + 1e-9);
}

/* Bracket s starts with ceil((S+1)/(S−s+1) · η^(S−s)) trials in the paper's sizes, S the last: a share of all. */
static double weight(const struct stopping *stopping, int s, int last)
{
    return ceil((last + 1.0) / (last - s + 1.0) * pow(stopping->reduction_factor, last - s));
}

/* Dealt by the golden ratio: any run of trials has the shares nearly exactly, and nothing has to be remembered. */
static double bracket_of(const struct study *study, const struct study_trial *trial)
{
    const struct stopping *stopping = &study->definition->stopping;
    double sum = 0, whole, share = modf((double)trial->number * 0.6180339887498949, &whole);
    int last = last_bracket(stopping);
    for (int s = 0; s <= last; s++)
        sum += weight(stopping, s, last);
    double below = 0;
    for (int s = 0; s < last; s++) {
        below += weight(stopping, s, last) / sum;
        if (share < below)
            return s;
    }
    return last;
}

static double min_of(const struct study *study, const struct study_trial *trial)
{
    const struct stopping *stopping = &study->definition->stopping;
    return stopping->min_resource * pow(stopping->reduction_factor, bracket_of(study, trial));
}

static enum stop_verdict decide(struct study *study, struct study_trial *trial)
{
    trial->bracket = bracket_of(study, trial);
    return stop_halve(study, trial, min_of(study, trial));
}

static struct study_trial *promote(struct study *study)
{
    return stop_promote(study, min_of);
}

const struct stop_kind stop_hyperband = {
    .name = "hyperband",
    .help = "brackets of successive halving that start at different rungs",
    .options = "min_resource max_resource reduction_factor",
    .needs_max = true,
    .can_pause = true,
    .decide = decide,
    .promote = promote,
};
