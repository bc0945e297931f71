/* Student's quantiles against published tables, intervals against values worked out by hand. */
#include <criterion/criterion.h>
#include <math.h>

#include "common/stats.h"

Test(stats, t_quantiles_equal_the_tables)
{
    /* Ten digits of the usual two-sided 95 % and 99 % tables. */
    static const struct {
        double p, df, t;
    } table[] = {
        {0.975, 1, 12.7062047364}, {0.975, 2, 4.3026527297},  {0.975, 4, 2.7764451052}, {0.995, 4, 4.6040948713},
        {0.975, 9, 2.2621571628},  {0.975, 29, 2.0452296421}, {0.95, 10, 1.8124611228}, {0.5, 3, 0},
        {0.025, 4, -2.7764451052}};
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        cr_expect_float_eq(stats_t_quantile(table[i].p, table[i].df), table[i].t, 2e-9, "p %g, df %g: %.12g",
                           table[i].p, table[i].df, stats_t_quantile(table[i].p, table[i].df));
}

Test(stats, student_interval_by_hand)
{
    /* 1, 2, 3: mean 2, s = 1, t = 4.3026527297: half width 4.3026527297/√3. */
    struct interval i = stats_student((const double[]){1, 2, 3}, 3, 0.95);
    cr_expect_float_eq(i.mean, 2, 1e-15);
    cr_expect_float_eq(i.high - i.mean, 4.3026527297 / sqrt(3), 1e-9);
    cr_expect_float_eq(i.mean - i.low, 4.3026527297 / sqrt(3), 1e-9);
    i = stats_student((const double[]){5}, 1, 0.95);
    cr_expect_eq(i.mean, 5);
    cr_expect(isnan(i.low) && isnan(i.high));
    cr_expect(isnan(stats_student(NULL, 0, 0.95).mean));
}

Test(stats, sum_keeps_what_cancels)
{
    cr_expect_eq(stats_sum((const double[]){1e100, 1, -1e100}, 3), 1);
    cr_expect_eq(stats_sum(NULL, 0), 0);
}

Test(stats, quantile_interpolates)
{
    double values[] = {4, 1, 3, 2};
    cr_expect_eq(stats_quantile(values, 4, 0), 1);
    cr_expect_eq(stats_quantile(values, 4, 1), 4);
    cr_expect_float_eq(stats_quantile(values, 4, 0.5), 2.5, 1e-15);
    cr_expect_float_eq(stats_quantile(values, 4, 0.25), 1.75, 1e-15);
}

Test(stats, bootstrap_is_seeded_and_about_as_wide_as_theory_says)
{
    double values[400];
    for (int i = 0; i < 400; i++)
        values[i] = i % 2;
    struct interval a = stats_bootstrap_mean(values, 400, 0.95, 2000, 1),
                    b = stats_bootstrap_mean(values, 400, 0.95, 2000, 1);
    cr_expect_eq(a.mean, 0.5);
    cr_expect_eq(a.low, b.low);
    cr_expect_eq(a.high, b.high);
    /* ±1.96·0.5/√400 = ±0.049; the ends of 2,000 resamples vary by about 0.002. */
    cr_expect_float_eq(a.high - a.low, 2 * 1.96 * 0.025, 0.012);
    cr_expect(isnan(stats_bootstrap_mean(values, 0, 0.95, 100, 1).mean));
}
