/* Group fairness against fairlearn's values (tests/stats/make_fairness.py), and what is undefined. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "common/checks.h"
#include "common/fairness.h"
#include "common/json.h"
#include "trainer/check.h"

enum { GROUPS = 8 };

static int count(const cJSON *c, struct fairness_group groups[GROUPS])
{
    int n = cJSON_GetArraySize(json_get(c, "group")), n_groups = 0;
    memset(groups, 0, GROUPS * sizeof(*groups));
    const cJSON *group = json_get(c, "group")->child, *label = json_get(c, "label")->child,
                *predicted = json_get(c, "predicted")->child;
    for (int i = 0; i < n; i++) {
        struct fairness_group *g = &groups[group->valueint];
        n_groups = group->valueint >= n_groups ? group->valueint + 1 : n_groups;
        g->items++;
        g->positives += label->valueint;
        g->selected += predicted->valueint;
        g->true_selected += label->valueint && predicted->valueint;
        group = group->next, label = label->next, predicted = predicted->next;
    }
    return n_groups;
}

Test(fairness, metrics_equal_fairlearns)
{
    cJSON *root = NULL;
    const cJSON *c;
    struct err err;
    struct fairness_group groups[GROUPS];
    cr_assert_eq(json_read_file("tests/stats/fairness.json", &root, &err), 0, "%s", err.message);
    cJSON_ArrayForEach(c, json_get(root, "cases"))
    {
        int n = count(c, groups);
        for (const char *const *m = fairness_metrics; *m; m++) {
            const cJSON *want = json_get(json_get(c, "metrics"), *m);
            double got = fairness_metric(*m, groups, n);
            cr_expect(cJSON_IsNull(want) ? isnan(got) : fabs(got - want->valuedouble) < 1e-12, "%s: %.15g", *m, got);
        }
    }
    json_free(root);
}

Test(fairness, an_undefined_rate_is_no_number)
{
    /* The second group has nobody with the positive label: hits cannot be compared, selection can. */
    struct fairness_group no_positives[] = {{4, 2, 2, 1}, {4, 0, 1, 0}};
    cr_expect_float_eq(fairness_metric("demographic_parity_difference", no_positives, 2), 0.25, 1e-15);
    cr_expect_float_eq(fairness_metric("demographic_parity_ratio", no_positives, 2), 0.5, 1e-15);
    cr_expect(isnan(fairness_metric("equalized_odds_difference", no_positives, 2)));
    cr_expect(isnan(fairness_metric("equalized_odds_ratio", no_positives, 2)));
    struct fairness_group empty[] = {{4, 2, 2, 1}, {0, 0, 0, 0}}, nobody[] = {{4, 2, 0, 0}, {4, 2, 0, 0}};
    cr_expect(isnan(fairness_metric("demographic_parity_difference", empty, 2)), "a group without items");
    cr_expect_eq(fairness_metric("demographic_parity_difference", nobody, 2), 0);
    cr_expect(isnan(fairness_metric("demographic_parity_ratio", nobody, 2)), "0 to 0");
    cr_expect(isnan(fairness_metric("demographic_parity_difference", NULL, 0)));
    cr_expect(isnan(fairness_metric("accuracy", nobody, 2)));
}

Test(fairness, every_kind_of_the_table_can_be_measured)
{
    int n = 0;
    for (const char *const *name = check_names(); *name; name++, n++) {
        int found = 0;
        for (const struct check_kind *const *kind = check_kinds; *kind; kind++)
            found += strcmp((*kind)->name, *name) == 0;
        cr_expect_eq(found, 1, "'%s' has %d rows in the trainer", *name, found);
    }
    cr_expect_geq(n, 2);
}
