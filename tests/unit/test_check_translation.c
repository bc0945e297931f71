/* Corpus scores out of summed statistics equal those of the corpus, weights repeat items. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "common/bleu.h"
#include "common/checks.h"
#include "common/chrf.h"

static const char *const hypotheses[] = {"the cat sat on the mat .", "a dog barked at night", ""};
static const char *const references[] = {"the cat sat on a mat .", "the dog barked at night .", "nothing here"};

static void fill(double *item, const char *hypothesis, const char *reference)
{
    struct bleu bleu = {0};
    struct chrf chrf = {0};
    struct err err = {0};
    cr_assert_eq(bleu_add(&bleu, hypothesis, &reference, 1, &err), 0);
    cr_assert_eq(chrf_add(&chrf, hypothesis, &reference, 1, &err), 0);
    for (int k = 0; k < BLEU_ORDERS; k++) {
        item[k] = (double)bleu.correct[k];
        item[BLEU_ORDERS + k] = (double)bleu.total[k];
    }
    item[8] = (double)bleu.hypothesis_length;
    item[9] = (double)bleu.reference_length;
    for (int k = 0; k < CHRF_CHARACTER_ORDERS; k++) {
        double *place = item + 3 * TRANSLATION_BLEU + k;
        place[0] = (double)chrf.hypothesis[k];
        place[CHRF_CHARACTER_ORDERS] = (double)chrf.reference[k];
        place[2 * CHRF_CHARACTER_ORDERS] = (double)chrf.matches[k];
    }
}

Test(check_translation, sums_are_the_corpus)
{
    double items[3 * TRANSLATION_WIDTH] = {0};
    const uint32_t weights[] = {2, 0, 1};
    struct bleu all = {0}, weighted = {0};
    struct chrf chrf = {0};
    struct err err = {0};
    for (int i = 0; i < 3; i++) {
        fill(items + i * TRANSLATION_WIDTH, hypotheses[i], references[i]);
        cr_assert_eq(bleu_add(&all, hypotheses[i], &references[i], 1, &err), 0);
        cr_assert_eq(chrf_add(&chrf, hypotheses[i], &references[i], 1, &err), 0);
        for (uint32_t k = 0; k < weights[i]; k++)
            cr_assert_eq(bleu_add(&weighted, hypotheses[i], &references[i], 1, &err), 0);
    }
    cr_assert(bleu_score(&all) > 10);
    cr_expect_float_eq(check_metric_translation("bleu", items, 3, NULL), bleu_score(&all), 1e-12);
    cr_expect_float_eq(check_metric_translation("bleu", items, 3, weights), bleu_score(&weighted), 1e-12);
    cr_expect_float_eq(check_metric_translation("chrf", items, 3, NULL), chrf_score(&chrf), 1e-12);
    cr_expect_float_eq(check_metric_translation("bleu_normalized", items, 3, NULL), 0, 1e-12);
    cr_expect(isnan(check_metric_translation("round_trip_bleu", items, 3, NULL)), "there was no way back");
    items[TRANSLATION_WIDTH - 1] = 1;
    cr_expect_float_eq(check_metric_translation("round_trip_bleu", items, 3, NULL), 0, 1e-12);
    cr_expect(isnan(check_metric_translation("bleu", items, 0, NULL)));
    cr_expect(isnan(check_metric_translation("ter", items, 3, NULL)));
}
