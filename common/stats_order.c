/* Almost stochastic order. */
#include "common/stats_order.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/rng.h"
#include "common/stats.h"

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* In units of 1/(n_a·n_b) the quantile functions step at multiples of n_b and of n_a. */
double stats_violation_ratio(double *a, int n_a, double *b, int n_b)
{
    double violated = 0, total = 0;
    long long at = 0, end = (long long)n_a * n_b;
    qsort(a, (size_t)n_a, sizeof(*a), compare);
    qsort(b, (size_t)n_b, sizeof(*b), compare);
    for (long long i = 0, j = 0; at < end;) {
        long long step_a = (i + 1) * n_b, step_b = (j + 1) * n_a, next = step_a < step_b ? step_a : step_b;
        double difference = a[i] - b[j], part = difference * difference * (double)(next - at);
        total += part;
        violated += difference < 0 ? part : 0;
        i += step_a == next;
        j += step_b == next;
        at = next;
    }
    return total > 0 ? violated / total : 0.5;
}

static void draw(struct rng_stream *stream, const double *from, int n, double *into)
{
    for (int i = 0; i < n; i++)
        into[i] = from[rng_below(stream, (uint32_t)n)];
}

int stats_almost_order(const double *a, int n_a, const double *b, int n_b, double confidence, int resamples,
                       uint64_t seed, double *out, struct err *err)
{
    struct rng rng = rng_make(seed, RNG_BOOTSTRAP);
    size_t n = (size_t)n_a + (size_t)n_b;
    if (n_a < 2 || n_b < 2 || n_a > STATS_ORDER_MAX || n_b > STATS_ORDER_MAX) {
        *out = NAN;
        return 0;
    }
    double *drawn = malloc((n + (size_t)resamples) * sizeof(*drawn)), *ratios = drawn ? drawn + n : NULL;
    if (!drawn)
        return err_set(err, ERR_NOMEM, "no memory for %d resamples", resamples);
    memcpy(drawn, a, (size_t)n_a * sizeof(*a));
    memcpy(drawn + n_a, b, (size_t)n_b * sizeof(*b));
    double ratio = stats_violation_ratio(drawn, n_a, drawn + n_a, n_b), variance = 0;
    for (int r = 0; r < resamples; r++) {
        struct rng_stream stream = rng_stream(rng, (uint32_t)r, 0, 0);
        draw(&stream, a, n_a, drawn);
        draw(&stream, b, n_b, drawn + n_a);
        ratios[r] = stats_violation_ratio(drawn, n_a, drawn + n_a, n_b);
    }
    double mean = stats_sum(ratios, resamples) / resamples;
    for (int r = 0; r < resamples; r++)
        variance += (ratios[r] - mean) * (ratios[r] - mean) / resamples;
    /* σ̂/√(n_a·n_b/(n_a + n_b)) is the deviation of the ratio itself: the two roots cancel. */
    *out = fmin(1, fmax(0, ratio - sqrt(variance) * stats_normal_quantile(1 - confidence)));
    free(drawn);
    return 0;
}
