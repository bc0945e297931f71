/* Comparison statistics against scipy's values (tests/stats/make_expected.py), and edges worked out by hand. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/stats.h"
#include "common/stats_bootstrap.h"
#include "common/stats_budget.h"
#include "common/stats_difference.h"
#include "common/stats_order.h"

enum { MOST = 512 };

static cJSON *expected(void)
{
    cJSON *root = NULL;
    struct err err;
    cr_assert_eq(json_read_file("tests/stats/expected.json", &root, &err), 0, "%s", err.message);
    return root;
}

static int numbers(const cJSON *list, double *out)
{
    int n = 0;
    for (const cJSON *item = list->child; item && n < MOST; item = item->next)
        out[n++] = item->valuedouble;
    return n;
}

static double number(const cJSON *object, const char *key)
{
    const cJSON *value = json_get(object, key);
    cr_assert_not_null(value, "'%s' is missing", key);
    return cJSON_IsNumber(value) ? value->valuedouble : (double)NAN;
}

/* 1e-9 of the value (and as much beside 0). */
static void near(const cJSON *c, const char *key, double got)
{
    double want = number(c, key);
    cr_expect((isnan(want) && isnan(got)) || fabs(got - want) <= 1e-9 * fmax(1, fabs(want)),
              "%s: %.15g, expected %.15g", key, got, want);
}

Test(stats_compare, distributions_equal_scipy)
{
    cJSON *root = expected();
    const cJSON *c;
    cJSON_ArrayForEach(c, json_get(root, "t_tail")) near(c, "p", stats_t_tail(number(c, "t"), number(c, "df")));
    cJSON_ArrayForEach(c, json_get(root, "normal")) near(c, "z", stats_normal_quantile(number(c, "p")));
    cJSON_ArrayForEach(c, json_get(root, "noncentral"))
        near(c, "p", stats_noncentral_t_tail(number(c, "t"), number(c, "df"), number(c, "shift")));
    json_free(root);
}

static void check_effect(const cJSON *c, bool is_paired)
{
    double a[MOST], b[MOST], order;
    struct err err;
    int n_a = numbers(json_get(c, "a"), a), n_b = numbers(json_get(c, "b"), b);
    struct difference d = is_paired ? stats_paired(a, b, n_a) : stats_welch(a, n_a, b, n_b);
    near(c, "mean", d.mean);
    near(c, "se", d.se);
    near(c, "df", d.df);
    near(c, "low", d.low);
    near(c, "high", d.high);
    near(c, "p", stats_difference_p(d));
    near(c, "inferior", stats_inferior_p(d, number(c, "margin")));
    near(c, "tost", stats_tost_p(d, number(c, "margin")));
    near(c, "detectable", stats_detectable(d, 0.05, 0.8));
    near(c, "cohen", stats_cohen_d(a, n_a, b, n_b));
    near(c, "cliff", stats_cliff_delta(a, n_a, b, n_b));
    cr_assert_eq(stats_almost_order(a, n_a, b, n_b, 0.95, 2000, 3, &order, &err), 0);
    /* The bootstrap's deviation of σ̂ at 2,000 resamples is 1/√4000 of σ̂, times z = 1.64; σ of a ratio is at most 0.5.
     */
    cr_expect_float_eq(order, number(c, "order"), 6 * 1.64 * 0.5 / sqrt(4000),
                       "almost stochastic order %g, expected %g", order, number(c, "order"));
    near(c, "ratio", stats_violation_ratio(a, n_a, b, n_b)); /* sorts: last */
}

Test(stats_compare, differences_tests_and_effect_sizes_equal_scipy)
{
    cJSON *root = expected();
    const cJSON *c;
    cJSON_ArrayForEach(c, json_get(root, "paired")) check_effect(c, true);
    cJSON_ArrayForEach(c, json_get(root, "welch")) check_effect(c, false);
    json_free(root);
}

Test(stats_compare, holm_and_expected_best_equal_their_definitions)
{
    cJSON *root = expected();
    double values[MOST], want[MOST], got[MOST];
    const cJSON *c;
    cJSON_ArrayForEach(c, json_get(root, "holm"))
    {
        int n = numbers(json_get(c, "p"), values);
        numbers(json_get(c, "adjusted"), want);
        stats_holm(values, n);
        for (int i = 0; i < n; i++)
            cr_expect_float_eq(values[i], want[i], 1e-12, "Holm %d: %g, expected %g", i, values[i], want[i]);
    }
    cJSON_ArrayForEach(c, json_get(root, "budget"))
    {
        int n = numbers(json_get(c, "values"), values);
        numbers(json_get(c, "best"), want);
        stats_expected_best(values, n, cJSON_IsTrue(json_get(c, "minimize")), got);
        for (int k = 0; k < n; k++)
            cr_expect_float_eq(got[k], want[k], 1e-9, "best of %d: %.12g, expected %.12g", k + 1, got[k], want[k]);
    }
    json_free(root);
}

Test(stats_compare, holm_leaves_out_what_is_unknown)
{
    double p[] = {0.04, NAN, 0.03};
    stats_holm(p, 3);
    cr_expect_float_eq(p[0], 0.06, 1e-15, "0.03 · 2, which 0.04 must not fall below");
    cr_expect(isnan(p[1]));
    cr_expect_float_eq(p[2], 0.06, 1e-15);
}

Test(stats_compare, one_value_and_no_variance_by_hand)
{
    const double one[] = {0.8}, two[] = {0.7}, same[] = {0.5, 0.5}, higher[] = {0.75, 0.75};
    double order = 0;
    struct err err;
    struct difference d = stats_paired(one, two, 1);
    cr_expect_float_eq(d.mean, 0.1, 1e-15);
    cr_expect(isnan(d.se) && isnan(stats_difference_p(d)) && isnan(stats_tost_p(d, 0.1)) &&
                  isnan(stats_detectable(d, 0.05, 0.8)),
              "one seed has no spread");
    cr_expect(isnan(stats_paired(NULL, NULL, 0).mean) && isnan(stats_welch(one, 1, two, 1).se));
    cr_expect(isnan(stats_cohen_d(one, 1, two, 1)) && isnan(stats_cohen_d(same, 2, higher, 2)));
    cr_expect_eq(stats_cliff_delta(one, 1, two, 1), 1);
    cr_expect_eq(stats_cliff_delta(same, 2, same, 2), 0);
    cr_expect(isnan(stats_cliff_delta(one, 0, two, 1)));
    /* Every seed differs by exactly 0.25: certain, whatever is asked. */
    d = stats_paired(higher, same, 2);
    cr_expect(d.se <= 0 && stats_difference_p(d) <= 0 && stats_tost_p(d, 0.5) <= 0);
    cr_expect_eq(stats_tost_p(d, 0.1), 1);
    cr_expect_eq(stats_inferior_p(d, 0.1), 0);
    cr_expect_eq(stats_difference_p(stats_paired(same, same, 2)), 1);
    cr_expect_eq(stats_almost_order(one, 1, same, 2, 0.95, 100, 1, &order, &err), 0);
    cr_expect(isnan(order), "one seed is no distribution");
    cr_expect_eq(stats_almost_order(same, 2, same, 2, 0.95, 100, 1, &order, &err), 0);
    cr_expect_float_eq(order, 0.5, 0);
    cr_expect_eq(stats_almost_order(higher, 2, same, 2, 0.95, 100, 1, &order, &err), 0);
    cr_expect_float_eq(order, 0, 0);
}

Test(stats_compare, a_front_keeps_what_nothing_beats)
{
    /* cost, loss: b is beaten by a; c is cheap; d equals a; e has no cost. */
    const double points[] = {5, 1, 6, 1, 1, 4, 5, 1, NAN, 0};
    bool on_front[5];
    stats_pareto(points, 5, 2, on_front);
    cr_expect(on_front[0] && !on_front[1] && on_front[2] && on_front[3] && !on_front[4]);
}

/* The nested bootstrap ----------------------------------------------------------------------------------------------
 */

static double share(const void *row, const uint32_t *weights, int n)
{
    const double *values = row;
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += weights[i] * values[i];
    return sum / n;
}

Test(stats_compare, nested_bootstrap_equals_numpys_to_its_noise)
{
    enum { SEEDS = 3, RESAMPLES = 10000 };
    cJSON *root = expected();
    const cJSON *c = json_get(root, "nested");
    static double values[2 * SEEDS][MOST];
    const void *rows[2 * SEEDS];
    int n = 0;
    for (int s = 0; s < SEEDS; s++) {
        n = numbers(cJSON_GetArrayItem(json_get(c, "a"), s), values[s]);
        n = numbers(cJSON_GetArrayItem(json_get(c, "b"), s), values[SEEDS + s]);
    }
    for (int k = 0; k < 2 * SEEDS; k++)
        rows[k] = values[k];
    double *means = malloc(2 * SEEDS * RESAMPLES * sizeof(*means));
    struct resampled out, again;
    struct err err;
    const int a[] = {0, 1, 2}, b[] = {3, 4, 5};
    cr_assert_eq(stats_resample(share, rows, 2 * SEEDS, n, RESAMPLES, 9, means, &err), 0);
    cr_assert_eq(stats_resampled_difference(means, 2 * SEEDS, RESAMPLES, a, b, SEEDS, 9, &out, &err), 0);
    cr_assert_eq(stats_resampled_difference(means, 2 * SEEDS, RESAMPLES, a, b, SEEDS, 9, &again, &err), 0);
    cr_expect_eq(memcmp(&out, &again, sizeof(out)), 0, "draws are a function of the seed");
    /* The deviation of the difference is about 0.036: a 2.5 % quantile of 10,000 draws varies by 0.0009. */
    cr_expect_float_eq(out.low, number(c, "low"), 0.005, "%g", out.low);
    cr_expect_float_eq(out.high, number(c, "high"), 0.005, "%g", out.high);
    cr_expect_float_eq(out.low90, number(c, "low90"), 0.005, "%g", out.low90);
    cr_expect_float_eq(out.high90, number(c, "high90"), 0.005, "%g", out.high90);
    cr_expect_float_eq(out.p, number(c, "p"), 0.015, "%g, expected %g", out.p, number(c, "p"));
    free(means);
    json_free(root);
}

Test(stats_compare, nested_bootstrap_of_one_item_one_seed_and_no_difference)
{
    enum { RESAMPLES = 199 };
    const double right[] = {1}, wrong[] = {0};
    const void *rows[] = {right, wrong};
    double means[2 * RESAMPLES];
    struct resampled out;
    struct err err;
    const int a[] = {0}, b[] = {1};
    cr_assert_eq(stats_resample(share, rows, 2, 1, RESAMPLES, 1, means, &err), 0);
    cr_assert_eq(stats_resampled_difference(means, 2, RESAMPLES, a, b, 1, 1, &out, &err), 0);
    cr_expect(out.low >= 1 && out.high <= 1);
    cr_expect_float_eq(out.p, 2.0 / 200, 1e-15);
    cr_assert_eq(stats_resampled_difference(means, 2, RESAMPLES, a, a, 1, 1, &out, &err), 0);
    cr_expect(out.low >= 0 && out.high <= 0 && out.p >= 1);
}
