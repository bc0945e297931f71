/* Association tests and pair likelihoods. */
#include "common/association.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/rng.h"
#include "common/stats.h"

/* WEAT ------------------------------------------------------------------------------------------------------------- */

static double cosine(const double *a, const double *b, int n)
{
    double dot = 0, norm_a = 0, norm_b = 0;
    for (int i = 0; i < n; i++) {
        dot += a[i] * b[i];
        norm_a += a[i] * a[i];
        norm_b += b[i] * b[i];
    }
    return dot / sqrt(norm_a * norm_b);
}

static double mean_cosine(const double *word, const double *set, int n, int width)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += cosine(word, set + (long)i * width, width);
    return sum / n;
}

void association_scores(const struct association *t, double *s)
{
    for (int i = 0; i < t->n_x + t->n_y; i++) {
        const double *word = i < t->n_x ? t->x + (long)i * t->width : t->y + (long)(i - t->n_x) * t->width;
        s[i] = mean_cosine(word, t->a, t->n_a, t->width) - mean_cosine(word, t->b, t->n_b, t->width);
    }
}

double association_effect(const double *s, int n_x, int n_y, const uint32_t *weights)
{
    double sum[2] = {0}, count[2] = {0}, squares = 0;
    for (int i = 0; i < n_x + n_y; i++) {
        double weight = weights ? weights[i] : 1;
        sum[i >= n_x] += weight * s[i];
        count[i >= n_x] += weight;
    }
    double n = count[0] + count[1], mean = (sum[0] + sum[1]) / n;
    if (!(count[0] > 0 && count[1] > 0))
        return NAN;
    for (int i = 0; i < n_x + n_y; i++)
        squares += (weights ? weights[i] : 1) * (s[i] - mean) * (s[i] - mean);
    return squares > 0 ? (sum[0] / count[0] - sum[1] / count[1]) / sqrt(squares / (n - 1)) : (double)NAN;
}

/* C(n, k), or limit + 1 when it is more. */
static int64_t divisions(int n, int k, int64_t limit)
{
    double count = 1;
    for (int i = 1; i <= k; i++) {
        count = count * (n - k + i) / i;
        if (count > (double)limit)
            return limit + 1;
    }
    return (int64_t)(count + 0.5);
}

/* Sums that differ by rounding alone are ties. */
static bool is_as_much(double sum, double observed)
{
    return sum >= observed - 1e-12 * fmax(1, fabs(observed));
}

/* All choices of k of n in lexicographic order. */
static double exact_p(const double *s, int n, int k, double observed, int *choice)
{
    int64_t hits = 0, all = 0;
    for (int i = 0; i < k; i++)
        choice[i] = i;
    for (;;) {
        double sum = 0;
        int i = k - 1;
        for (int m = 0; m < k; m++)
            sum += s[choice[m]];
        hits += is_as_much(sum, observed);
        all++;
        while (i >= 0 && choice[i] == n - k + i)
            i--;
        if (i < 0)
            return (double)hits / (double)all;
        choice[i]++;
        for (int m = i + 1; m < k; m++)
            choice[m] = choice[m - 1] + 1;
    }
}

static double sampled_p(const double *s, int n, int k, double observed, int64_t draws, uint64_t seed, uint32_t *order)
{
    struct rng rng = rng_make(seed, RNG_BOOTSTRAP);
    int64_t hits = 0;
    for (int64_t r = 0; r < draws; r++) {
        struct rng_stream stream = rng_stream(rng, (uint32_t)r, 0, 0);
        double sum = 0;
        for (int i = 0; i < n; i++)
            order[i] = (uint32_t)i;
        rng_shuffle(&stream, order, (uint32_t)n);
        for (int i = 0; i < k; i++)
            sum += s[order[i]];
        hits += is_as_much(sum, observed);
    }
    return (double)(1 + hits) / (double)(1 + draws);
}

int association_of_scores(const double *s, int n_x, int n_y, int64_t max_divisions, uint64_t seed,
                          struct association_result *result, struct err *err)
{
    int n = n_x + n_y;
    if (n_x < 1 || n_y < 1)
        return err_set(err, ERR_USAGE, "a set of words is empty");
    for (int i = 0; i < n; i++)
        if (isnan(s[i]))
            return err_set(err, ERR_USAGE, "a word's vector is zero or no number: it has no direction");
    uint32_t *order = malloc((size_t)n * sizeof(*order));
    if (!order)
        return err_set(err, ERR_NOMEM, "no memory for an association test of %d words", n);
    double sum_x = stats_sum(s, n_x);
    result->effect_size = association_effect(s, n_x, n_y, NULL);
    result->is_exact = divisions(n, n_x, max_divisions) <= max_divisions;
    result->p = result->is_exact ? exact_p(s, n, n_x, sum_x, (int *)order)
                                 : sampled_p(s, n, n_x, sum_x, max_divisions, seed, order);
    free(order);
    return 0;
}

int association_test(const struct association *t, int64_t max_divisions, uint64_t seed,
                     struct association_result *result, struct err *err)
{
    if (t->n_x < 1 || t->n_y < 1 || t->n_a < 1 || t->n_b < 1)
        return err_set(err, ERR_USAGE, "a set of words is empty");
    double *s = malloc((size_t)(t->n_x + t->n_y) * sizeof(*s));
    if (!s)
        return err_set(err, ERR_NOMEM, "no memory for an association test of %d words", t->n_x + t->n_y);
    association_scores(t, s);
    int rc = association_of_scores(s, t->n_x, t->n_y, max_divisions, seed, result, err);
    free(s);
    return rc;
}

/* Pairs ------------------------------------------------------------------------------------------------------------ */

static double round3(double value)
{
    return nearbyint(value * 1000) / 1000;
}

static double percent(double part, double whole)
{
    return whole > 0 ? 100.0 * part / whole : (double)NAN;
}

struct pair_scores pair_scores_weighted(const struct sentence_pair *pairs, int n, const uint32_t *weights)
{
    double hits[2] = {0}, counts[2] = {0}, neutral = 0;
    for (int i = 0; i < n; i++) {
        double more = round3(pairs[i].more), less = round3(pairs[i].less), weight = weights ? weights[i] : 1;
        counts[pairs[i].is_anti] += weight;
        neutral += !(more > less) && !(more < less) ? weight : 0;
        hits[pairs[i].is_anti] += more > less ? weight : 0;
    }
    return (struct pair_scores){percent(hits[0] + hits[1], counts[0] + counts[1]), percent(hits[0], counts[0]),
                                percent(hits[1], counts[1]), (int)(counts[0] + counts[1]), (int)neutral};
}

struct pair_scores pair_scores(const struct sentence_pair *pairs, int n)
{
    return pair_scores_weighted(pairs, n, NULL);
}

int stereo_scores(const struct stereo_item *items, int n, const uint32_t *weights, struct stereo_scores *scores,
                  struct err *err)
{
    int terms = 0, present = 0;
    double lms = 0, ss = 0;
    for (int i = 0; i < n; i++)
        terms = items[i].term >= terms ? items[i].term + 1 : terms;
    double *counts = calloc(3 * (size_t)terms + 1, sizeof(*counts));
    if (!counts)
        return err_set(err, ERR_NOMEM, "no memory for %d terms", terms);
    for (int i = 0; i < n; i++) {
        double *of_term = counts + 3 * (long)items[i].term, weight = weights ? weights[i] : 1;
        of_term[0] += weight;
        of_term[1] += items[i].stereotype > items[i].anti ? weight : 0;
        of_term[2] += weight * ((items[i].stereotype > items[i].unrelated) + (items[i].anti > items[i].unrelated));
    }
    for (int t = 0; t < terms; t++)
        if (counts[3 * t] > 0) {
            ss += percent(counts[3 * t + 1], counts[3 * t]);
            lms += percent(counts[3 * t + 2], 2 * counts[3 * t]);
            present++;
        }
    free(counts);
    ss = present ? ss / present : (double)NAN;
    lms = present ? lms / present : (double)NAN;
    *scores = (struct stereo_scores){lms, ss, lms * fmin(ss, 100 - ss) / 50};
    return 0;
}
