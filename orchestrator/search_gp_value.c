/* What a point is worth: predictions of all models in one number. */
#include <math.h>

#include "orchestrator/search_acquire.h"
#include "orchestrator/search_gp.h"

/* What the end of a continuous range costs in the log of the gain, and how far from it, in ranges. */
static const double edge_weight = 0.3, edge_width = 0.05;

static int no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "no memory for the Gaussian process");
}

/* log of the expected gain in hypervolume and its derivatives by mean and deviation of both objectives. */
static double gain(const struct gp_search *search, const double mean[2], const double deviation[2], double by_mean[2],
                   double by_deviation[2])
{
    double value =
        acquire_ehvi2(mean, deviation, (const double(*)[2])search->front, search->n_front, search->reference);
    for (int k = 0; k < 2 && by_mean; k++) {
        double step = 1e-5 * (deviation[k] + 1e-6), shifted[2] = {mean[0], mean[1]};
        shifted[k] += step;
        by_mean[k] =
            acquire_ehvi2(shifted, deviation, (const double(*)[2])search->front, search->n_front, search->reference) -
            value;
        shifted[0] = deviation[0];
        shifted[1] = deviation[1];
        shifted[k] += step;
        by_deviation[k] =
            acquire_ehvi2(mean, shifted, (const double(*)[2])search->front, search->n_front, search->reference) - value;
        by_mean[k] /= step * (value + 1e-300);
        by_deviation[k] /= step * (value + 1e-300);
    }
    return log(value + 1e-300);
}

/* What a point is worth at the end of a noisy search: its value, a deviation worse than expected, on the scale of the
 * log of a gain. The least mean alone lies where noise or the end of a range promised it, in directions that matter
 * less than the noise; where points lie around it is less in doubt. */
static double sure_value(double mean, double deviation, double *by_mean, double *by_deviation)
{
    static const double scale = 0.02;
    if (by_mean)
        *by_mean = -1 / scale;
    if (by_deviation)
        *by_deviation = -1 / scale;
    return -(mean + deviation) / scale;
}

/* The value from predictions of every usable quantity, and the derivatives by each prediction. */
static double combine(const struct study *study, const struct gp_search *search, const double *mean,
                      const double *deviation, double *by_mean, double *by_deviation)
{
    bool is_pair = study->n_objectives == 2;
    double value = 0;
    if (search->has_best && is_pair)
        value = gain(search, mean, deviation, by_mean, by_deviation);
    else if (search->has_best && search->is_end)
        value = sure_value(mean[0], deviation[0], by_mean, by_deviation);
    else if (search->has_best)
        value = acquire_log_ei(mean[0], deviation[0], search->best, by_mean, by_deviation);
    for (int i = 0; i < search->n_quantities; i++) {
        const struct gp_quantity *quantity = &search->quantities[i];
        if (quantity->role == GP_OBJECTIVE || !quantity->is_usable)
            continue;
        if (quantity->role == GP_COST) { /* the gain per cost: log gain − log cost, counted from the mean cost */
            value -= mean[i] * quantity->warp.deviation;
            if (by_mean)
                by_mean[i] = -quantity->warp.deviation;
            continue;
        }
        value += acquire_log_probability(mean[i], deviation[i], quantity->bound, by_mean ? &by_mean[i] : NULL,
                                         by_deviation ? &by_deviation[i] : NULL);
    }
    return value;
}

/* Ranges are drawn around where the best is expected, and a model is least sure at their ends: what promises the same
 * within is taken first. Up to edge_weight a number is subtracted from the log of the gain, little beside what a model
 * says that knows the end to be better; derivatives are added to `gradient` unless NULL. */
static double edge_value(const struct study *study, const double *x, double *gradient)
{
    double sum = 0;
    for (int j = 0; j < study->codec.n && study->n_objectives == 1; j++) {
        const struct codec_dimension *dimension = &study->codec.dimensions[j];
        if (isnan(x[j]) || dimension->is_category || (dimension->n_values > 0 && dimension->n_values < 1 / edge_width))
            continue;
        double low = edge_weight * exp(-x[j] / edge_width), high = edge_weight * exp((x[j] - 1) / edge_width);
        sum -= low + high;
        if (gradient)
            gradient[j] += (low - high) / edge_width;
    }
    return sum;
}

double gp_value(struct study *study, struct gp_search *search, const double *x, double *gradient)
{
    double point[512], mean[GP_MODELS_MAX] = {0}, deviation[GP_MODELS_MAX] = {0};
    double by_mean[GP_MODELS_MAX] = {0}, by_deviation[GP_MODELS_MAX] = {0};
    double mean_gradient[GP_MODELS_MAX][512], deviation_gradient[GP_MODELS_MAX][512];
    gp_point(study, search, x, 1, point);
    for (int i = 0; i < search->n_quantities; i++)
        if (search->quantities[i].is_usable)
            gp_predict_gradient(&search->quantities[i].gp, point, &mean[i], &deviation[i], mean_gradient[i],
                                deviation_gradient[i]);
    double value = combine(study, search, mean, deviation, by_mean, by_deviation);
    for (int j = 0; j < study->codec.n && gradient; j++) {
        gradient[j] = 0;
        for (int i = 0; i < search->n_quantities; i++)
            if (search->quantities[i].is_usable)
                gradient[j] += by_mean[i] * mean_gradient[i][j] + by_deviation[i] * deviation_gradient[i][j];
    }
    return value + edge_value(study, x, gradient);
}

int gp_values(struct study *study, struct gp_search *search, const double *points, int m, double *values,
              struct err *err)
{
    struct arena_mark mark = arena_mark(&search->scratch);
    size_t count = (size_t)m, quantities = (size_t)search->n_quantities;
    double *x = arena_alloc(&search->scratch, ((size_t)search->d * count + 1) * sizeof(double));
    double *mean = arena_calloc(&search->scratch, quantities * count + 1, sizeof(double));
    double *deviation = arena_calloc(&search->scratch, quantities * count + 1, sizeof(double));
    int rc = x && mean && deviation ? 0 : no_memory(err);
    for (int c = 0; c < m && rc == 0; c++)
        gp_point(study, search, points + (size_t)c * (size_t)study->codec.n, count, x + c);
    for (int i = 0; i < search->n_quantities && rc == 0; i++) {
        struct gp *gp = &search->quantities[i].gp;
        if (!search->quantities[i].is_usable)
            continue;
        double *cross = arena_alloc(&search->scratch, ((size_t)gp->n * count + 1) * sizeof(double));
        if (!cross)
            rc = no_memory(err);
        else
            gp_predict(gp, x, m, mean + (size_t)i * count, deviation + (size_t)i * count, cross);
    }
    for (int c = 0; c < m && rc == 0; c++) {
        double at_mean[GP_MODELS_MAX], at_deviation[GP_MODELS_MAX];
        for (int i = 0; i < search->n_quantities; i++) {
            at_mean[i] = mean[(size_t)i * count + (size_t)c];
            at_deviation[i] = deviation[(size_t)i * count + (size_t)c];
        }
        values[c] = combine(study, search, at_mean, at_deviation, NULL, NULL) +
                    edge_value(study, points + (size_t)c * (size_t)study->codec.n, NULL);
    }
    arena_rewind(&search->scratch, mark);
    return rc;
}
