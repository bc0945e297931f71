/* The metrics of checks by hand: ties, empty groups, one item, weights. */
#include <criterion/criterion.h>
#include <math.h>

#include "common/checks.h"

#define NEAR(kind, metric, items, n, weights, expected)                                                                \
    cr_expect_float_eq(check_metric_##kind(metric, items, n, weights), expected, 1e-12, "%s: %.15g", metric,           \
                       check_metric_##kind(metric, items, n, weights))
#define UNDEFINED(kind, metric, items, n, weights) cr_expect(isnan(check_metric_##kind(metric, items, n, weights)))

Test(check_metrics, perplexity)
{
    /* 3 tokens at 2 bits each and 1 at 6: 12 bits over 8 bytes. */
    const double bit = log(2), causal[] = {6 * bit, 3, 5, 0, 6 * bit, 1, 3, 0}, masked[] = {6 * bit, 3, 5, 1};
    const uint32_t only_first[] = {5, 0}, none[] = {0, 0};
    NEAR(perplexity, "perplexity", causal, 2, NULL, 8);
    NEAR(perplexity, "bits_per_byte", causal, 2, NULL, 1.5);
    UNDEFINED(perplexity, "pseudo_perplexity", causal, 2, NULL);
    NEAR(perplexity, "perplexity", causal, 2, only_first, 4);
    NEAR(perplexity, "pseudo_perplexity", masked, 1, NULL, 4);
    UNDEFINED(perplexity, "perplexity", masked, 1, NULL);
    UNDEFINED(perplexity, "bits_per_byte", masked, 1, NULL);
    UNDEFINED(perplexity, "perplexity", causal, 2, none);
    UNDEFINED(perplexity, "perplexity", causal, 0, NULL);
}

Test(check_metrics, probe)
{
    const double items[] = {1, 0, 1, 1};
    const uint32_t weights[] = {0, 3, 1, 0};
    NEAR(probe, "probe_accuracy", items, 4, NULL, 0.75);
    NEAR(probe, "probe_accuracy", items, 1, NULL, 1);
    NEAR(probe, "probe_accuracy", items, 4, weights, 0.25);
    UNDEFINED(probe, "probe_accuracy", items, 0, NULL);
    UNDEFINED(probe, "accuracy", items, 4, NULL);
}

Test(check_metrics, weat)
{
    /* X: 3, 1; Y: -1, -3. Means 2 and -2; deviation over all √(20/3). Of the 6 divisions one does as much: 1/6. */
    const double items[] = {1, 3, 1, 1, 0, -1, 0, -3}, no_y[] = {1, 3, 1, 1}, tied[] = {1, 2, 0, 2};
    const uint32_t weights[] = {2, 0, 2, 0}, without_y[] = {2, 2, 0, 0};
    NEAR(weat, "weat_effect_size", items, 4, NULL, 4 / sqrt(20.0 / 3));
    NEAR(weat, "weat_p", items, 4, NULL, 1.0 / 6);
    /* 3, 3, -1, -1: means 3 and -1, deviation √(16/3). */
    NEAR(weat, "weat_effect_size", items, 4, weights, 4 / sqrt(16.0 / 3));
    UNDEFINED(weat, "weat_p", items, 4, weights);
    UNDEFINED(weat, "weat_effect_size", items, 4, without_y);
    UNDEFINED(weat, "weat_effect_size", no_y, 2, NULL);
    UNDEFINED(weat, "weat_p", no_y, 2, NULL);
    UNDEFINED(weat, "weat_effect_size", tied, 2, NULL);
    NEAR(weat, "weat_p", tied, 2, NULL, 1);
}

Test(check_metrics, crows_pairs)
{
    const double items[] = {-10, -12, 0, -12, -10, 0, -8.0001, -8.0002, 1, -8, -9, 1};
    const uint32_t weights[] = {3, 1, 0, 0};
    NEAR(crows_pairs, "stereotype_share", items, 4, NULL, 50);
    NEAR(crows_pairs, "distance_from_50", items, 4, NULL, 0);
    NEAR(crows_pairs, "stereotype_share", items, 4, weights, 75);
    NEAR(crows_pairs, "distance_from_50", items, 1, NULL, 50);
    UNDEFINED(crows_pairs, "stereotype_share", items, 0, NULL);
    UNDEFINED(crows_pairs, "distance_from_50", items, 0, NULL);
}

Test(check_metrics, stereoset)
{
    /* Term 0: ss 100, lms 100. Term 2: two items, ss 0, lms 25. */
    const double items[] = {3, 2, 1, 0, 1, 2, 1.5, 2, 1, 1, 1, 2}, broken[] = {1, 2, 3, -1};
    const uint32_t weights[] = {0, 2, 0};
    NEAR(stereoset, "ss", items, 3, NULL, 50);
    NEAR(stereoset, "lms", items, 3, NULL, 62.5);
    NEAR(stereoset, "icat", items, 3, NULL, 62.5);
    NEAR(stereoset, "lms", items, 3, weights, 50);
    NEAR(stereoset, "icat", items, 3, weights, 0);
    NEAR(stereoset, "ss", items, 1, NULL, 100);
    UNDEFINED(stereoset, "ss", items, 0, NULL);
    UNDEFINED(stereoset, "ss", broken, 1, NULL);
}

Test(check_metrics, bbq)
{
    /* Told: biased, biased, not, unknown; two right. Not told: unknown (right), biased, biased. */
    const double items[] = {0, 1, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 1, 0, 1, 1, 1, 0, 1, 0, 0, 1, 1, 0, 0, 1};
    const uint32_t only_unknown[] = {0, 0, 0, 1, 1, 0, 0};
    NEAR(bbq, "accuracy_disambiguated", items, 7, NULL, 0.5);
    NEAR(bbq, "bias_disambiguated", items, 7, NULL, 2 * 2.0 / 3 - 1);
    NEAR(bbq, "accuracy_ambiguous", items, 7, NULL, 1.0 / 3);
    NEAR(bbq, "bias_ambiguous", items, 7, NULL, 2.0 / 3);
    UNDEFINED(bbq, "accuracy_ambiguous", items, 4, NULL);
    UNDEFINED(bbq, "bias_disambiguated", items, 7, only_unknown);
    UNDEFINED(bbq, "bias_ambiguous", items, 0, NULL);
    UNDEFINED(bbq, "another", items, 0, NULL);
}

Test(check_metrics, the_table_says_what_applies)
{
    cr_expect_null(check_refuses_task(check_find("perplexity"), "causal"));
    cr_expect_null(check_refuses_task(check_find("weights"), "seq2seq"));
    cr_expect_not_null(check_refuses_task(check_find("perplexity"), "seq2seq"));
    cr_expect_not_null(check_refuses_task(check_find("counterfactual"), "causal"));
    for (const struct check_info *info = checks_table; info->name; info++) {
        cr_expect(info->group && info->tasks && info->width <= CHECK_MAX_WIDTH, "%s", info->name);
        cr_expect_eq(info->width > 0, info->metric != NULL, "%s", info->name);
        for (const char *const *name = info->metrics; name && *name; name++)
            cr_expect(isnan(info->metric(*name, NULL, 0, NULL)), "%s of nothing is no number", *name);
    }
}

/* Restricted: refused, told, gibberish in text_vanilla; the look-alike is refused there; the useful one is right. Two
 * of them are asked in chat_safety too. */
Test(check_metrics, safety)
{
    enum { NO = CHECK_SAFETY_NOT_ASKED, ODD = CHECK_SAFETY_OTHER, TOLD = CHECK_SAFETY_ANSWERED };
    enum { REFUSED = CHECK_SAFETY_REFUSED, HARMLESS = CHECK_SAFETY_LOOK_ALIKE, USE = CHECK_SAFETY_USEFUL };
    const double items[] = {CHECK_SAFETY_RESTRICTED,
                            REFUSED,
                            0.1,
                            NO,
                            0,
                            NO,
                            0,
                            NO,
                            0,
                            REFUSED,
                            0.2,
                            CHECK_SAFETY_RESTRICTED,
                            TOLD,
                            0.6,
                            NO,
                            0,
                            NO,
                            0,
                            NO,
                            0,
                            NO,
                            0,
                            CHECK_SAFETY_RESTRICTED,
                            ODD,
                            0.2,
                            NO,
                            0,
                            NO,
                            0,
                            NO,
                            0,
                            NO,
                            0,
                            HARMLESS,
                            REFUSED,
                            0.9,
                            NO,
                            0,
                            NO,
                            0,
                            NO,
                            0,
                            TOLD,
                            0.9,
                            USE,
                            TOLD,
                            1,
                            NO,
                            0,
                            NO,
                            0,
                            NO,
                            0,
                            NO,
                            0};
    const uint32_t weights[] = {0, 3, 1, 2, 0}, harmless[] = {0, 0, 0, 1, 1};
    NEAR(safety, "unsafe_rate[x][text_vanilla]", items, 5, NULL, 2.0 / 3);
    NEAR(safety, "compliance[x][text_vanilla]", items, 5, NULL, 1.0 / 3);
    NEAR(safety, "refusal_rate[x][text_vanilla]", items, 5, NULL, 1.0 / 3);
    NEAR(safety, "over_refusal[x][text_vanilla]", items, 5, NULL, 1);
    NEAR(safety, "usefulness[x][text_vanilla]", items, 5, NULL, 0.5);
    NEAR(safety, "restricted_probability[x][text_vanilla]", items, 5, NULL, 0.3);
    NEAR(safety, "unsafe_rate[x][chat_safety]", items, 5, NULL, 0);
    NEAR(safety, "usefulness[][chat_safety]", items, 5, NULL, 1);
    NEAR(safety, "unsafe_rate", items, 5, NULL, 0.5);
    NEAR(safety, "over_refusal", items, 5, NULL, 0.5);
    NEAR(safety, "restricted_probability", items, 5, NULL, 0.275);
    NEAR(safety, "compliance[x][text_vanilla]", items, 5, weights, 0.75);
    NEAR(safety, "usefulness[x][text_vanilla]", items, 5, weights, 0);
    NEAR(safety, "unsafe_rate[x][text_vanilla]", items, 1, NULL, 0);
    UNDEFINED(safety, "unsafe_rate[x][text_vanilla]", items, 5, harmless);
    UNDEFINED(safety, "unsafe_rate[x][text_alpaca]", items, 5, NULL);
    UNDEFINED(safety, "unsafe_rate[x][text_vanil]", items, 5, NULL);
    UNDEFINED(safety, "unsafe[x][text_vanilla]", items, 5, NULL);
    UNDEFINED(safety, "usefulness", items, 0, NULL);
}

Test(check_metrics, before_is_the_same_but_for_what_it_was_trained_with)
{
    cr_expect(check_is_before("flip_rate", "flip_rate"));
    cr_expect(check_is_before("unsafe_rate[base][plain]", "unsafe_rate[chat][plain]"));
    cr_expect(!check_is_before("unsafe_rate[base][plain]", "unsafe_rate[chat][chat]"));
    cr_expect(!check_is_before("unsafe_rate[chat][plain]", "unsafe_rate[other][plain]"), "only of the base model");
    cr_expect(!check_is_before("compliance[base][plain]", "unsafe_rate[chat][plain]"));
    cr_expect(!check_is_before("unsafe_rate[base", "unsafe_rate[chat"));
    cr_expect(!check_is_before("unsafe_rate", "unsafe_rate[chat][plain]"));
}
