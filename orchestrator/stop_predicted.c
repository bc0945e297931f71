/* Stopping by the predicted curve (after Domhan et al. 2015): the power law a + b t^−c is fitted to the points so far;
 * a trial ends when even its prediction at max_resource, less two deviations of the fit's residuals, is worse than the
 * best value that a trial reached there. */
#include <math.h>

#include "orchestrator/stop_kinds.h"

enum { POINTS_MIN = 5, EXPONENTS = 24 };

struct fit {
    double a, b, c, deviation;
};

/* Least squares for a and b at one exponent; the mean squared residual. */
static double fit_linear(const struct study *study, const struct study_trial *trial, int k, double c, struct fit *fit)
{
    double n = 0, sx = 0, sy = 0, sxx = 0, sxy = 0, rest = 0;
    for (int i = 0; i < trial->n_points; i++) {
        double x = pow((double)trial->points[i].step, -c), y = stop_value(study, &trial->points[i], k);
        if (isnan(y))
            continue;
        n++;
        sx += x;
        sy += y;
        sxx += x * x;
        sxy += x * y;
    }
    double determinant = n * sxx - sx * sx;
    fit->c = c;
    fit->b = determinant > 1e-12 ? (n * sxy - sx * sy) / determinant : 0;
    fit->a = n > 0 ? (sy - fit->b * sx) / n : 0;
    for (int i = 0; i < trial->n_points; i++) {
        double y = stop_value(study, &trial->points[i], k);
        if (isnan(y))
            continue;
        double off = y - fit->a - fit->b * pow((double)trial->points[i].step, -c);
        rest += off * off;
    }
    return n > 3 ? rest / (n - 3) : INFINITY;
}

static struct fit fit_curve(const struct study *study, const struct study_trial *trial, int k)
{
    struct fit best = {0};
    double least = INFINITY;
    for (int i = 0; i < EXPONENTS; i++) {
        struct fit fit = {0};
        double rest = fit_linear(study, trial, k, 0.05 * pow(60.0, i / (EXPONENTS - 1.0)), &fit);
        if (rest < least) {
            least = rest;
            best = fit;
        }
    }
    best.deviation = sqrt(least);
    return best;
}

static double best_end(const struct study *study, int k, int *n)
{
    double best = INFINITY;
    *n = 0;
    for (int i = 0; i < study->n_trials; i++) {
        const struct study_point *point = stop_point_at(study->trials[i], study->definition->stopping.max_resource);
        if (!point)
            continue;
        ++*n;
        best = fmin(best, stop_value(study, point, k));
    }
    return best;
}

/* Whether the k-th value, continued, stays behind the best that a trial reached. */
static bool is_behind(const struct study *study, const struct study_trial *trial, int k, double *predicted,
                      double *margin, double *best)
{
    const struct stopping *stopping = &study->definition->stopping;
    int n;
    *best = best_end(study, k, &n);
    if (n < (int)stopping->min_trials)
        return false;
    struct fit fit = fit_curve(study, trial, k);
    *predicted = fit.a + fit.b * pow(stopping->max_resource, -fit.c);
    *margin = 2 * fit.deviation;
    return *predicted - *margin > *best;
}

static enum stop_verdict decide(struct study *study, struct study_trial *trial)
{
    const struct stopping *stopping = &study->definition->stopping;
    double predicted = 0, margin = 0, best = 0;
    if (trial->n_points < POINTS_MIN || (double)trial->step < stopping->min_resource)
        return STOP_CONTINUE;
    for (int k = stop_values(study) - 1; k >= 0; k--)
        if (!is_behind(study, trial, k, &predicted, &margin, &best))
            return STOP_CONTINUE;
    text_printf(&study->reason, "step %lld: %s is predicted as %.6g ± %.2g at step %.0f, the best there is %.6g%s",
                (long long)trial->step, stopping->metric, stop_shown(study, predicted), margin, stopping->max_resource,
                stop_shown(study, best), stop_values(study) > 1 ? "; behind in the other objectives too" : "");
    return STOP_END;
}

const struct stop_kind stop_predicted = {
    .name = "predicted",
    .help = "ends a trial whose curve, continued, stays behind the best",
    .options = "min_resource max_resource min_trials",
    .min_trials = 3,
    .needs_max = true,
    .decide = decide,
};
