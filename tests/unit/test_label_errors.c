/* Likely label errors: confident learning by hand, and planted errors that must be found. */
#include "trainer/label_errors.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>

static struct arena arena;

static void teardown(void)
{
    arena_done(&arena);
}

TestSuite(label_errors, .fini = teardown);

Test(label_errors, by_hand)
{
    /* Labels 0 0 0 1 1. t_0 = (0.9 + 0.7 + 0.2)/3 = 0.6, t_1 = (0.8 + 0.4)/2 = 0.6. Row 2 is confidently 1 (0.8 >=
     * 0.6); row 4 has 0.6 for 0, exactly its threshold: a tie counts. */
    const double p[] = {0.9, 0.1, 0.7, 0.3, 0.2, 0.8, 0.2, 0.8, 0.6, 0.4};
    const int labels[] = {0, 0, 0, 1, 1};
    struct label_errors e;
    struct err err;
    cr_assert_eq(label_errors_judge(&e, p, labels, 5, 2, &arena, &err), 0);
    cr_expect_float_eq(e.thresholds[0], 0.6, 1e-12);
    cr_expect_float_eq(e.thresholds[1], 0.6, 1e-12);
    cr_expect_eq(e.suggested[0], -1);
    cr_expect_eq(e.suggested[1], -1);
    cr_expect_eq(e.suggested[2], 1);
    cr_expect_eq(e.suggested[3], -1);
    cr_expect_float_eq(e.accuracy, 0.6, 1e-12);
    cr_expect(e.n_likely >= 1 && e.order[0] == 2, "the least self-confident first");
}

Test(label_errors, an_empty_class_suggests_nothing)
{
    const double p[] = {0.1, 0.1, 0.8};
    const int labels[] = {0};
    struct label_errors e;
    struct err err;
    cr_assert_eq(label_errors_judge(&e, p, labels, 1, 3, &arena, &err), 0);
    cr_expect(isnan(e.thresholds[2]), "no row is labelled so");
    cr_expect(e.suggested[0] == -1 && e.n_likely == 0);
    cr_assert_eq(label_errors_judge(&e, p, labels, 0, 3, &arena, &err), 0);
    cr_expect(isnan(e.accuracy) && e.n_likely == 0);
}

enum { ROWS = 600 };

/* About every 20th label is turned, whatever its text. */
static bool is_turned(uint32_t i)
{
    return (i * 2654435761u >> 8) % 20 == 3;
}

/* Texts that their words decide: the turned labels must be found, and hardly others. */
Test(label_errors, planted_errors_are_found)
{
    static char texts[ROWS][64];
    static const char *list[ROWS];
    static int labels[ROWS];
    static uint32_t groups[ROWS];
    static const char *const words[2][4] = {{"dull", "weak", "poor", "flat"}, {"bright", "fine", "superb", "lively"}};
    struct label_errors e;
    struct err err;
    for (uint32_t i = 0; i < ROWS; i++) {
        int truth = i * 7919u % 97 < 48;
        snprintf(texts[i], sizeof(texts[i]), "Item %u was %s and %s", i * 31u % 50, words[truth][i % 4],
                 words[truth][i / 4 % 4]);
        list[i] = texts[i];
        groups[i] = i;
        labels[i] = is_turned(i) ? 1 - truth : truth;
    }
    cr_assert_eq(label_errors_find(&e, list, labels, groups, ROWS, 2, &arena, &err), 0, "%s", err.message);
    size_t found = 0, turned = 0;
    for (uint32_t i = 0; i < ROWS; i++)
        turned += is_turned(i);
    for (size_t k = 0; k < e.n_likely; k++)
        found += is_turned(e.order[k]);
    cr_expect(turned > 20 && 10 * found >= 9 * turned, "%zu of %zu turned labels were found", found, turned);
    cr_expect_leq(e.n_likely - found, 6, "%zu others", e.n_likely - found);
    cr_expect_float_eq(e.accuracy, 1 - (double)turned / ROWS, 0.02);
    struct label_errors again;
    cr_assert_eq(label_errors_find(&again, list, labels, groups, ROWS, 2, &arena, &err), 0);
    cr_expect_eq(again.n_likely, e.n_likely, "the same every time");
}
