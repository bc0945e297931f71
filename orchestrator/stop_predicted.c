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
static double fit_linear(const struct study_trial *trial, double c, struct fit *fit)
{
    double n = 0, sx = 0, sy = 0, sxx = 0, sxy = 0, rest = 0;
    for (int i = 0; i < trial->n_points; i++) {
        double x = pow((double)trial->points[i].step, -c), y = trial->points[i].value;
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
        double y = trial->points[i].value;
        if (isnan(y))
            continue;
        double off = y - fit->a - fit->b * pow((double)trial->points[i].step, -c);
        rest += off * off;
    }
    return n > 3 ? rest / (n - 3) : INFINITY;
}

static struct fit fit_curve(const struct study_trial *trial)
{
    struct fit best = {0};
    double least = INFINITY;
    for (int i = 0; i < EXPONENTS; i++) {
        struct fit fit = {0};
        double rest = fit_linear(trial, 0.05 * pow(60.0, i / (EXPONENTS - 1.0)), &fit);
        if (rest < least) {
            least = rest;
            best = fit;
        }
    }
    best.deviation = sqrt(least);
    return best;
}

static double best_end(const struct study *study, int *n)
{
    double best = INFINITY;
    *n = 0;
    for (int i = 0; i < study->n_trials; i++) {
        const struct study_point *point = stop_point_at(study->trials[i], study->definition->stopping.max_resource);
        if (!point)
            continue;
        ++*n;
        best = fmin(best, point->value);
    }
    return best;
}

static enum stop_verdict decide(struct study *study, struct study_trial *trial)
{
    const struct stopping *stopping = &study->definition->stopping;
    int n;
    double best = best_end(study, &n);
    if (trial->n_points < POINTS_MIN || (double)trial->step < stopping->min_resource || n < (int)stopping->min_trials)
        return STOP_CONTINUE;
    struct fit fit = fit_curve(trial);
    double predicted = fit.a + fit.b * pow(stopping->max_resource, -fit.c);
    if (!(predicted - 2 * fit.deviation > best))
        return STOP_CONTINUE;
    text_printf(&study->reason, "step %lld: %s is predicted as %.6g ± %.2g at step %.0f, the best there is %.6g",
                (long long)trial->step, stopping->metric, stop_shown(study, predicted), 2 * fit.deviation,
                stopping->max_resource, stop_shown(study, best));
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
