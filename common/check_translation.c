/* What the items of the check `translation` mean: corpus scores out of summed statistics. */
#include <math.h>

#include "common/bleu.h"
#include "common/checks.h"
#include "common/chrf.h"
#include "common/text.h"

enum {
    RAW = 0,
    NORMALIZED = TRANSLATION_BLEU,
    BACK = 2 * TRANSLATION_BLEU,
    CHRF_RAW = 3 * TRANSLATION_BLEU,
    CHRF_NORMALIZED = CHRF_RAW + TRANSLATION_CHRF,
    HAS_BACK = TRANSLATION_WIDTH - 1
};

static int64_t sum_at(const double *items, int n, const uint32_t *weights, int place)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += (weights ? (double)weights[i] : 1.0) * items[(long)i * TRANSLATION_WIDTH + place];
    return (int64_t)sum;
}

static double bleu_of(const double *items, int n, const uint32_t *weights, int place)
{
    struct bleu bleu = {.hypothesis_length = sum_at(items, n, weights, place + 2 * BLEU_ORDERS),
                        .reference_length = sum_at(items, n, weights, place + 2 * BLEU_ORDERS + 1)};
    for (int k = 0; k < BLEU_ORDERS; k++) {
        bleu.correct[k] = sum_at(items, n, weights, place + k);
        bleu.total[k] = sum_at(items, n, weights, place + BLEU_ORDERS + k);
    }
    return bleu_score(&bleu);
}

static double chrf_of(const double *items, int n, const uint32_t *weights, int place)
{
    struct chrf chrf = {0};
    for (int k = 0; k < CHRF_CHARACTER_ORDERS; k++) {
        chrf.hypothesis[k] = sum_at(items, n, weights, place + k);
        chrf.reference[k] = sum_at(items, n, weights, place + CHRF_CHARACTER_ORDERS + k);
        chrf.matches[k] = sum_at(items, n, weights, place + 2 * CHRF_CHARACTER_ORDERS + k);
    }
    return chrf_score(&chrf);
}

double check_metric_translation(const char *metric, const double *items, int n, const uint32_t *weights)
{
    if (n == 0)
        return NAN;
    if (text_equal(metric, "bleu"))
        return bleu_of(items, n, weights, RAW);
    if (text_equal(metric, "bleu_normalized"))
        return bleu_of(items, n, weights, NORMALIZED);
    if (text_equal(metric, "round_trip_bleu") && items[HAS_BACK] > 0)
        return bleu_of(items, n, weights, BACK);
    if (text_equal(metric, "chrf"))
        return chrf_of(items, n, weights, CHRF_RAW);
    if (text_equal(metric, "chrf_normalized"))
        return chrf_of(items, n, weights, CHRF_NORMALIZED);
    return NAN;
}
