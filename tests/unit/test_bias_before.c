/* What fine-tuning added to a check: pairing with the baseline of the same seed, and the paired interval. */
#include "orchestrator/bias_before.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/checks.h"
#include "orchestrator/store_op.h"
#include "tests/support/store_rows.h"
#include "tests/support/temp.h"

static struct temp temp;
static struct store *store;
static int64_t sweep, baseline, searched;

static void setup(void)
{
    temp_open(&temp);
    store = rows_open(temp_path(&temp, "x.db"));
    sweep = rows_sweep(store, "s");
    baseline = store_new_id(store, STORE_CONFIGURATION);
    ROWS_APPLY(store, {.kind = STORE_ADD_CONFIGURATION,
                       .configuration = {.id = baseline,
                                         .sweep_id = sweep,
                                         .number = 1,
                                         .is_baseline = true,
                                         .parameters = "{}",
                                         .settings = "{\"method\":\"linear_probe\"}"}});
    searched = rows_configuration(store, sweep, 2);
}

static void teardown(void)
{
    store_close(store);
    temp_close(&temp);
}

TestSuite(bias_before, .init = setup, .fini = teardown);

static void add_check(int64_t trial, const char *metric, double after, const char *items, const char *set)
{
    ROWS_APPLY(store, {.kind = STORE_BIAS_CHECK,
                       .bias_check = {.trial_id = trial,
                                      .check_name = "0:counterfactual",
                                      .metric = metric,
                                      .n_items = 4,
                                      .after = after,
                                      .item_set_sha256 = set,
                                      .items = items}});
}

static void fill(void)
{
    struct err err = {0};
    cr_assert_eq(bias_before_fill(store, sweep, &err), 0, "%s", err.message);
}

#define COLUMN(name, trial)                                                                                            \
    rows_number(store, "SELECT " name " FROM bias_check b JOIN trial t ON t.id = b.trial_id WHERE metric = "           \
                       "'signed_difference' AND t.number = " trial)

Test(bias_before, the_baseline_of_the_same_seed_is_before)
{
    int64_t b1 = rows_trial(store, sweep, baseline, 1, 10), b2 = rows_trial(store, sweep, baseline, 2, 20);
    int64_t t = rows_trial(store, sweep, searched, 3, 20);
    add_check(b1, "signed_difference", 0.9, "[[0,0.9],[0,0.9],[0,0.9],[0,0.9]]", "set");
    add_check(b2, "signed_difference", 0.1, "[[0,0.1],[0,0.2],[0,0.0],[0,0.1]]", "set");
    /* Every pair moved by exactly 0.25: the paired interval has no width, whatever is drawn. */
    add_check(t, "signed_difference", 0.35, "[[0,0.35],[1,0.45],[0,0.25],[0,0.35]]", "set");
    fill();
    cr_expect_float_eq(COLUMN("before", "3"), 0.1, 1e-12);
    cr_expect_float_eq(COLUMN("delta", "3"), 0.25, 1e-12);
    cr_expect_float_eq(COLUMN("low", "3"), 0.25, 1e-12);
    cr_expect_float_eq(COLUMN("high", "3"), 0.25, 1e-12);
    cr_expect(isnan(COLUMN("before", "1")), "a baseline has no before");
}

Test(bias_before, items_of_the_first_metric_serve_all)
{
    int64_t b = rows_trial(store, sweep, baseline, 1, 10), t = rows_trial(store, sweep, searched, 2, 10);
    add_check(b, "flip_rate", 0.25, "[[1,-0.2],[0,0.1],[0,0.1],[0,0]]", "set");
    add_check(b, "signed_difference", 0, NULL, "set");
    add_check(t, "flip_rate", 0.75, "[[1,-0.6],[1,0.5],[1,0.5],[0,0]]", "set");
    add_check(t, "signed_difference", 0.1, NULL, "set");
    fill();
    cr_expect_float_eq(COLUMN("delta", "2"), 0.1, 1e-12);
    cr_expect(COLUMN("low", "2") < 0.1 && COLUMN("high", "2") > 0.1, "an interval around the mean of -0.4 0.4 0.4 0");
    cr_expect_float_eq(rows_number(store, "SELECT delta FROM bias_check WHERE metric = 'flip_rate' AND before = 0.25"),
                       0.5, 1e-12);
}

Test(bias_before, other_items_have_no_interval)
{
    int64_t b = rows_trial(store, sweep, baseline, 1, 10), t = rows_trial(store, sweep, searched, 2, 10);
    add_check(b, "signed_difference", 0.1, "[[0,0.1],[0,0.1],[0,0.1],[0,0.1]]", "set");
    add_check(t, "signed_difference", 0.3, "[[0,0.3],[0,0.3],[0,0.3],[0,0.3]]", "another");
    fill();
    cr_expect_float_eq(COLUMN("delta", "2"), 0.2, 1e-12);
    cr_expect(isnan(COLUMN("low", "2")));
}

static void drop(const char *check_name)
{
    struct err err = {0};
    cr_assert_eq(bias_before_drop_items(store, sweep, check_name, &err), 0, "%s", err.message);
}

#define HAS_ITEMS(trial)                                                                                               \
    rows_number(store,                                                                                                 \
                "SELECT COUNT(items) FROM bias_check b JOIN trial t ON t.id = b.trial_id WHERE t.number = " trial)

/* Only what is paired loses its items; a baseline keeps them for trials to come. */
Test(bias_before, items_nobody_asked_for_go)
{
    int64_t b = rows_trial(store, sweep, baseline, 1, 10), t = rows_trial(store, sweep, searched, 2, 10);
    int64_t alone = rows_trial(store, sweep, searched, 3, 99);
    add_check(b, "signed_difference", 0.1, "[[0,0.1],[0,0.2],[0,0.0],[0,0.1]]", "set");
    add_check(t, "signed_difference", 0.35, "[[0,0.35],[1,0.45],[0,0.25],[0,0.35]]", "set");
    add_check(alone, "signed_difference", 0.3, "[[0,0.3],[0,0.3],[0,0.3],[0,0.3]]", "set");
    fill();
    drop("1:counterfactual");
    cr_expect_eq(HAS_ITEMS("2"), 1);
    drop("0:counterfactual");
    cr_expect_eq(HAS_ITEMS("1"), 1);
    cr_expect_eq(HAS_ITEMS("2"), 0);
    cr_expect_eq(HAS_ITEMS("3"), 1);
    fill();
    cr_expect_float_eq(COLUMN("delta", "2"), 0.25, 1e-12);
    cr_expect_float_eq(COLUMN("low", "2"), 0.25, 1e-12);
}

Test(bias_before, without_a_baseline_nothing_is_filled_in)
{
    int64_t t = rows_trial(store, sweep, searched, 1, 10);
    add_check(t, "signed_difference", 0.3, "[[0,0.3],[0,0.3],[0,0.3],[0,0.3]]", "set");
    fill();
    cr_expect(isnan(COLUMN("before", "1")));
    cr_expect_float_eq(COLUMN("after", "1"), 0.3, 1e-12);
}

static void add_fairness(int64_t trial, const char *metric, double after, const char *items)
{
    ROWS_APPLY(store, {.kind = STORE_BIAS_CHECK,
                       .bias_check = {.trial_id = trial,
                                      .check_name = "1:group_fairness",
                                      .metric = metric,
                                      .n_items = 8,
                                      .after = after,
                                      .item_set_sha256 = "rows",
                                      .items = items}});
}

Test(bias_before, group_fairness_is_computed_again_in_every_resample)
{
    int64_t b = rows_trial(store, sweep, baseline, 1, 10), t = rows_trial(store, sweep, searched, 2, 10);
    /* [group, label, selected]: before 2 of 4 in both groups; after 4 of 4 against 0 of 4. */
    add_fairness(b, "demographic_parity_difference", 0,
                 "[[0,1,1],[0,0,1],[0,1,0],[0,0,0],[1,1,1],[1,0,1],[1,1,0],[1,0,0]]");
    add_fairness(t, "demographic_parity_difference", 1,
                 "[[0,1,1],[0,0,1],[0,1,1],[0,0,1],[1,1,0],[1,0,0],[1,1,0],[1,0,0]]");
    add_fairness(b, "equalized_odds_difference", 0, NULL);
    add_fairness(t, "equalized_odds_difference", 1, NULL);
    fill();
#define FAIR(name, metric)                                                                                             \
    rows_number(store, "SELECT " name " FROM bias_check WHERE before IS NOT NULL AND metric = '" metric "'")
    cr_expect_float_eq(FAIR("delta", "demographic_parity_difference"), 1, 1e-12);
    /* After is 1 in every resample with both groups; before varies between 0 and 1. */
    cr_expect(FAIR("low", "demographic_parity_difference") >= 0 && FAIR("low", "demographic_parity_difference") < 1);
    cr_expect_float_eq(FAIR("high", "demographic_parity_difference"), 1, 1e-12);
    cr_expect(FAIR("high", "equalized_odds_difference") <= 1, "the items of the first metric serve all");
#undef FAIR
}

Test(bias_before, an_item_under_each_metric)
{
    const double item[2] = {1, -0.25};
    cr_expect_float_eq(check_metric_counterfactual("flip_rate", item, 1, NULL), 1, 0);
    cr_expect_float_eq(check_metric_counterfactual("mean_absolute_difference", item, 1, NULL), 0.25, 0);
    cr_expect_float_eq(check_metric_counterfactual("signed_difference", item, 1, NULL), -0.25, 0);
    cr_expect(isnan(check_metric_counterfactual("another", item, 1, NULL)));
    cr_expect(isnan(check_metric_counterfactual("flip_rate", item, 0, NULL)), "no items: no rate");
}
