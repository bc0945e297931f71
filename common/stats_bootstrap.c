/* Resampling items once for all rows, and seeds pair by pair. */
#include "common/stats_bootstrap.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/rng.h"
#include "common/stats.h"

enum { SITE_ITEMS, SITE_SEEDS }; /* counters of the two kinds of draws */

int stats_resample(stats_metric *metric, const void *const *rows, int n_rows, int n_items, int resamples, uint64_t seed,
                   double *means, struct err *err)
{
    struct rng rng = rng_make(seed, RNG_BOOTSTRAP);
    uint32_t *weights = malloc(((size_t)n_items + 1) * sizeof(*weights));
    if (!weights)
        return err_set(err, ERR_NOMEM, "no memory to resample %d items", n_items);
    for (int r = 0; r < resamples; r++) {
        struct rng_stream stream = rng_stream(rng, (uint32_t)r, 0, SITE_ITEMS);
        memset(weights, 0, (size_t)n_items * sizeof(*weights));
        for (int i = 0; i < n_items; i++)
            weights[rng_below(&stream, (uint32_t)n_items)]++;
        for (int k = 0; k < n_rows; k++)
            means[(size_t)r * (size_t)n_rows + (size_t)k] = metric(rows[k], weights, n_items);
    }
    free(weights);
    return 0;
}

/* The difference under one resample of items, seeds drawn anew. */
static double draw_difference(const double *means, const int *a, const int *b, int n, struct rng_stream *stream)
{
    double all = 0, drawn = 0;
    for (int s = 0; s < n; s++)
        all += means[a[s]] - means[b[s]];
    if (n == 1)
        return all;
    for (int s = 0; s < n; s++) {
        uint32_t k = rng_below(stream, (uint32_t)n);
        drawn += means[a[k]] - means[b[k]];
    }
    return (all + sqrt((double)n / (n - 1)) * (drawn - all)) / n;
}

int stats_resampled_difference(const double *means, int n_rows, int resamples, const int *a, const int *b, int n_seeds,
                               uint64_t seed, struct resampled *out, struct err *err)
{
    struct rng rng = rng_make(seed, RNG_BOOTSTRAP);
    int not_above = 0, not_below = 0;
    double *differences = malloc(((size_t)resamples + 1) * sizeof(*differences));
    if (!differences)
        return err_set(err, ERR_NOMEM, "no memory for %d resamples", resamples);
    for (int r = 0; r < resamples; r++) {
        struct rng_stream stream = rng_stream(rng, (uint32_t)r, 0, SITE_SEEDS);
        differences[r] = draw_difference(means + (size_t)r * (size_t)n_rows, a, b, n_seeds, &stream);
        not_above += differences[r] <= 0;
        not_below += differences[r] >= 0;
    }
    int fewer = not_above < not_below ? not_above : not_below;
    *out = (struct resampled){.p = fmin(1, 2.0 * (1 + fewer) / (resamples + 1)),
                              .low = stats_quantile(differences, resamples, 0.025),
                              .high = stats_quantile(differences, resamples, 0.975),
                              .low90 = stats_quantile(differences, resamples, 0.05),
                              .high90 = stats_quantile(differences, resamples, 0.95)};
    free(differences);
    return 0;
}
