/* Branches of a conditional space: which one the next trial of the Gaussian process search belongs to. */
#include <math.h>

#include "orchestrator/search_gp.h"

/* What of the budget is spent on finding the best branch at most; the rest goes where the most is promised. */
static const double branch_share = 0.9;
enum { BRANCHES_MAX = 32 };

/* Where conditions hang on a category each of its values is a branch with an optimum of its own. */
static int branching_dimension(const struct study *study)
{
    if (study->n_objectives > 1 || study->codec.n_keys == study->codec.n)
        return -1;
    for (int j = 0; j < study->codec.n; j++) {
        const struct codec_dimension *dimension = &study->codec.dimensions[j];
        if (dimension->is_category && study->codec.decides[j] && dimension->n_values <= BRANCHES_MAX &&
            dimension->distribution->n_conditions == 0)
            return j;
    }
    return -1;
}

/* Successive rejects (Audibert, Bubeck and Munos 2010): of n arms and a budget of pulls, so many each of them has when
 * one of the `left` is given up. */
static double arm_quota(double budget, int n, int left)
{
    double sum = 0.5;
    for (int i = 2; i <= n; i++)
        sum += 1.0 / i;
    return ceil(fmax(1, budget - n) / (sum * left));
}

/* The first arm that has not had its share; the worst is given up, share after share. −1: all have. */
static int next_arm(const double *best, const int *counts, int n, double budget)
{
    bool is_rejected[BRANCHES_MAX] = {0};
    for (int left = n; left > 1; left--) {
        int least = -1, worst = -1;
        for (int k = 0; k < n; k++) {
            if (is_rejected[k])
                continue;
            if (least < 0 || counts[k] < counts[least] || (counts[k] == counts[least] && best[k] < best[least]))
                least = k;
            if (worst < 0 || best[k] >= best[worst])
                worst = k;
        }
        if (counts[least] < arm_quota(budget, n, left))
            return least;
        is_rejected[worst] = true;
    }
    return -1;
}

void gp_enter_branch(struct study *study, struct gp_search *search)
{
    double best[BRANCHES_MAX];
    int counts[BRANCHES_MAX] = {0}, j = branching_dimension(study);
    if (j < 0 || !search->has_best)
        return;
    int n = (int)study->codec.dimensions[j].n_values;
    for (int k = 0; k < n; k++)
        best[k] = INFINITY;
    for (int i = 0; i < study->n_configurations; i++)
        if (!isnan(study->configurations[i].x[j]))
            counts[(int)study->configurations[i].x[j]]++;
    for (int i = 0; i < search->n_known; i++) {
        int k = (int)search->known[i].x[j];
        best[k] = fmin(best[k], search->known[i].value);
    }
    /* Where more may come than came so far, the end is taken to be as far away as the beginning: of a large budget
     * the early part alone must have brought something too. */
    double expected = fmin((double)study_expected_configurations(study), 2.0 * study->n_configurations);
    int chosen = next_arm(best, counts, n, branch_share * expected);
    if (chosen < 0)
        return;
    search->branch = j;
    search->branch_value = chosen;
    search->best = isinf(best[chosen]) ? 0 : best[chosen];
    /* What is not the best branch is there to be explored, at the end too. */
    for (int k = 0; k < n; k++)
        search->is_end = search->is_end && best[chosen] <= best[k];
}
