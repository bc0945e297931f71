/* WEAT against numpy (tests/stats/make_association.py); pairs and continuations by hand. */
#include <criterion/criterion.h>
#include <math.h>

#include "common/association.h"
#include "common/json.h"

enum { MOST = 256 };

static const double *numbers(const cJSON *c, const char *key, double *out)
{
    int n = 0;
    for (const cJSON *item = json_get(c, key)->child; item && n < MOST; item = item->next)
        out[n++] = item->valuedouble;
    return out;
}

static int size(const cJSON *c, int i)
{
    return cJSON_GetArrayItem(json_get(c, "sizes"), i)->valueint;
}

Test(association, effect_sizes_and_exact_p_equal_numpys)
{
    static double x[MOST], y[MOST], a[MOST], b[MOST];
    cJSON *root = NULL;
    const cJSON *c;
    struct err err;
    cr_assert_eq(json_read_file("tests/stats/association.json", &root, &err), 0, "%s", err.message);
    cJSON_ArrayForEach(c, json_get(root, "cases"))
    {
        const struct association t = {numbers(c, "x", x), numbers(c, "y", y), numbers(c, "a", a),
                                      numbers(c, "b", b), size(c, 0),         size(c, 1),
                                      size(c, 2),         size(c, 3),         size(c, 4)};
        struct association_result got;
        double p = json_get(c, "p")->valuedouble, all = json_get(c, "divisions")->valuedouble;
        cr_assert_eq(association_test(&t, 100000, 1, &got, &err), 0, "%s", err.message);
        cr_expect(got.is_exact);
        cr_expect_float_eq(got.effect_size, json_get(c, "effect_size")->valuedouble, 1e-9);
        cr_expect_float_eq(got.p, p, 1e-12, "%g, expected %g", got.p, p);
        if (all < 100)
            continue;
        /* Of 2,000 random divisions the share varies by √(p(1−p)/2000); five of those and the + 1. */
        cr_assert_eq(association_test(&t, 99, 1, &got, &err), 0);
        cr_expect_not(got.is_exact);
        cr_expect_float_eq(got.p, p, 5 * sqrt(p * (1 - p) / 99) + 0.02, "sampled %g, exact %g", got.p, p);
    }
    json_free(root);
}

Test(association, ties_empty_sets_and_zero_vectors)
{
    const double one[] = {1, 0, 1, 0}, other[] = {0, 1}, zero[] = {0, 0, 0, 0};
    struct association_result got;
    struct err err;
    /* All words alike: every division does as much, and there is no spread. */
    struct association t = {one, one, one, other, 2, 2, 1, 1, 2};
    cr_assert_eq(association_test(&t, 1000, 1, &got, &err), 0);
    cr_expect(isnan(got.effect_size) && got.p >= 1);
    t.x = zero;
    cr_expect_eq(association_test(&t, 1000, 1, &got, &err), ERR_USAGE);
    t.n_x = 0;
    cr_expect_eq(association_test(&t, 1000, 1, &got, &err), ERR_USAGE);
}

Test(association, pairs_are_compared_at_three_decimals)
{
    const struct sentence_pair pairs[] = {
        {-10, -12, false}, {-12, -10, false}, {-10.0001, -10.0002, false}, {-8, -9, true}, {-9, -8.5, true}};
    struct pair_scores scores = pair_scores(pairs, 5);
    cr_expect_float_eq(scores.metric, 40, 1e-12);
    cr_expect_float_eq(scores.stereotype, 100.0 / 3, 1e-12);
    cr_expect_float_eq(scores.anti, 50, 1e-12);
    cr_expect(scores.n == 5 && scores.n_neutral == 1);
    scores = pair_scores(pairs, 1);
    cr_expect(scores.metric >= 100 && isnan(scores.anti), "no anti-stereotype: null, not 0");
    cr_expect(isnan(pair_scores(NULL, 0).metric));
}

Test(association, icat_is_of_the_means_over_terms)
{
    /* Term 0: ss 100, lms 100. Term 2: two items, ss 0, lms 25. Term 1 has none. */
    const struct stereo_item items[] = {{3, 2, 1, 0}, {1, 2, 1.5, 2}, {1, 1, 1, 2}};
    struct stereo_scores scores;
    struct err err;
    cr_assert_eq(stereo_scores(items, 3, NULL, &scores, &err), 0);
    cr_expect_float_eq(scores.ss, 50, 1e-12);
    cr_expect_float_eq(scores.lms, 62.5, 1e-12);
    cr_expect_float_eq(scores.icat, 62.5, 1e-12);
    cr_assert_eq(stereo_scores(items, 1, NULL, &scores, &err), 0);
    cr_expect_float_eq(scores.icat, 0, 1e-12, "always the stereotype");
    cr_assert_eq(stereo_scores(NULL, 0, NULL, &scores, &err), 0);
    cr_expect(isnan(scores.ss) && isnan(scores.icat));
}
