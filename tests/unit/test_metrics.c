/* Metrics against numbers worked out by hand, and their JSON. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "common/json.h"
#include "trainer/metrics.h"

enum { N = 6, C = 4 };

/* Classes 0, 1, 2 occur; class 3 is neither a label nor a prediction; class 2 is only a label. */
static int32_t labels[N] = {0, 0, 0, 1, 1, 2};
static int32_t predicted[N] = {0, 0, 1, 1, 0, 0};
static real losses[N] = {(real)0.5, (real)0.25, 1, (real)0.25, 2, 3};
static const char *names[] = {"bad \"one\"", "fair", "good", "unseen", NULL};

static void fill(real probabilities[N * C], const real confidence[N])
{
    memset(probabilities, 0, N * C * sizeof(real));
    for (int i = 0; i < N; i++)
        probabilities[i * C + predicted[i]] = confidence[i];
}

static struct metrics compute(const real confidence[N], struct arena *arena)
{
    real probabilities[N * C];
    fill(probabilities, confidence);
    struct predictions p = {.n = N,
                            .n_classes = C,
                            .labels = labels,
                            .predicted = predicted,
                            .losses = losses,
                            .probabilities = probabilities};
    struct metrics metrics;
    struct err err = {0};
    metrics_begin(&metrics, "classification");
    cr_assert_eq(metrics_of_classes(&metrics, &p, arena, &err), 0, "%s", err.message);
    return metrics;
}

static double value_of(const real confidence[N], struct arena *arena, const char *name)
{
    struct metrics metrics = compute(confidence, arena);
    return metrics_get(&metrics, name);
}

static const real even[N] = {(real)0.5, (real)0.5, (real)0.5, (real)0.5, (real)0.5, (real)0.5};

/* Class 0: tp 2, fp 2, fn 1 → 4/7. Class 1: tp 1, fp 1, fn 1 → 1/2. Class 2: tp 0 → 0. Class 3 does not count. */
Test(metrics, scores_count_the_classes_that_occur)
{
    struct arena arena = {0};
    struct metrics m = compute(even, &arena);
    cr_expect_float_eq(metrics_get(&m, "accuracy"), 0.5, 1e-15);
    cr_expect_float_eq(metrics_get(&m, "loss"), 7.0 / 6, 1e-15);
    cr_expect_float_eq(m.f1[0], 4.0 / 7, 1e-15);
    cr_expect_float_eq(m.f1[1], 0.5, 1e-15);
    cr_expect_eq(m.f1[2], 0);
    cr_expect_eq(m.f1[3], 0);
    cr_expect_float_eq(metrics_get(&m, "macro_f1"), (4.0 / 7 + 0.5) / 3, 1e-15, "%.17g", metrics_get(&m, "macro_f1"));
    static const int64_t expected[C * C] = {2, 1, 0, 0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0};
    for (int i = 0; i < C * C; i++)
        cr_expect_eq(m.confusion[i], expected[i], "cell %d", i);
    arena_done(&arena);
}

/* One bin, 3 of 6 right at confidence 0.5: perfectly calibrated. */
Test(metrics, calibration_error_is_zero_when_confidence_is_accuracy)
{
    struct arena arena = {0};
    cr_expect_float_eq(value_of(even, &arena, "ece"), 0, 1e-15);
    arena_done(&arena);
}

/* Hits are items 0, 1, 3. Bins are (k/15, (k+1)/15]:
 * 1 and 0.95 (both right) share the last one: |2 − 1.95|; 0.55 and 0.59 (one right) share (8/15, 9/15]: |1 − 1.14|;
 * 0.3 and 0.28 (both wrong) share bin 4: 0.58. */
Test(metrics, calibration_error_sums_the_bins_gaps)
{
    static const real confidence[N] = {1, (real)0.95, (real)0.3, (real)0.55, (real)0.28, (real)0.59};
    struct arena arena = {0};
    cr_expect_float_eq(value_of(confidence, &arena, "ece"), (0.05 + 0.14 + 0.58) / 6, 1e-6);
    arena_done(&arena);
}

/* Sorted: 0.28w 0.3w 0.55r 0.59w 0.95r 1r, each in a bin of its own. */
Test(metrics, adaptive_calibration_error_has_bins_of_equal_mass)
{
    static const real confidence[N] = {1, (real)0.95, (real)0.3, (real)0.55, (real)0.28, (real)0.59};
    struct arena arena = {0};
    cr_expect_float_eq(value_of(confidence, &arena, "adaptive_ece"), (0.28 + 0.3 + 0.45 + 0.59 + 0.05) / 6, 1e-6);
    /* 30 items, two a bin: a right and a wrong one of confidence 0.5 cancel, whatever their order. */
    int32_t label[30], prediction[30] = {0};
    real loss[30] = {0}, p[60];
    for (int order = 0; order < 2; order++) {
        for (int i = 0; i < 30; i++) {
            label[i] = order ? i % 2 : i >= 15;
            p[2 * i] = p[2 * i + 1] = (real)0.5;
        }
        struct predictions predictions = {
            .n = 30, .n_classes = 2, .labels = label, .predicted = prediction, .losses = loss, .probabilities = p};
        struct metrics m;
        struct err err = {0};
        metrics_begin(&m, "classification");
        cr_assert_eq(metrics_of_classes(&m, &predictions, &arena, &err), 0);
        /* All wrong ones first: seven bins of two wrong, one mixed, seven of two right. */
        cr_expect_float_eq(metrics_get(&m, "adaptive_ece"), 14.0 / 30, 1e-6, "%.9g", metrics_get(&m, "adaptive_ece"));
    }
    arena_done(&arena);
}

Test(metrics, brier_score_by_hand)
{
    struct arena arena = {0};
    int32_t label[2] = {0, 1}, prediction[2] = {0, 0};
    real loss[2] = {0, 0}, p[4] = {(real)0.75, (real)0.25, 1, 0};
    struct predictions predictions = {
        .n = 2, .n_classes = 2, .labels = label, .predicted = prediction, .losses = loss, .probabilities = p};
    struct metrics m;
    struct err err = {0};
    metrics_begin(&m, "classification");
    cr_assert_eq(metrics_of_classes(&m, &predictions, &arena, &err), 0);
    cr_expect_float_eq(metrics_get(&m, "brier"), (2 * 0.0625 + 2) / 2, 1e-7); /* sklearn's binary score is half of it */
    arena_done(&arena);
}

/* 3/15 = 0.2 parts two bins: a right and a wrong answer cancel only inside one. */
Test(metrics, bins_end_at_fifteenths)
{
    struct arena arena = {0};
    int32_t label[2] = {0, 1}, prediction[2] = {0, 0};
    real loss[2] = {0, 0}, one_bin[4] = {(real)0.199, 0, (real)0.14, 0}, two_bins[4] = {(real)0.201, 0, (real)0.14, 0};
    struct predictions p = {
        .n = 2, .n_classes = 2, .labels = label, .predicted = prediction, .losses = loss, .probabilities = one_bin};
    struct metrics m;
    struct err err = {0};
    metrics_begin(&m, "classification");
    cr_assert_eq(metrics_of_classes(&m, &p, &arena, &err), 0);
    cr_expect_float_eq(metrics_get(&m, "ece"), (1 - 0.199 - 0.14) / 2, 1e-6, "%.9g", metrics_get(&m, "ece"));
    p.probabilities = two_bins;
    cr_assert_eq(metrics_of_classes(&m, &p, &arena, &err), 0);
    cr_expect_float_eq(metrics_get(&m, "ece"), (0.799 + 0.14) / 2, 1e-6, "%.9g", metrics_get(&m, "ece"));
    arena_done(&arena);
}

Test(metrics, json_has_the_records_form_and_null_for_what_is_no_number)
{
    struct arena arena = {0};
    struct labels map = {names, C};
    real confidence[N] = {(real)NAN, 1, 1, 1, 1, 1};
    struct metrics m = compute(confidence, &arena);
    metrics_set(&m, "loss", INFINITY);
    struct text json = {0};
    metrics_add_json(&json, &m, &map);
    cJSON *root = NULL;
    struct err err = {0};
    cr_assert_eq(json_parse(json.data, json.len, &root, &err), 0, "%s in %s", err.message, json.data);
    cr_expect(cJSON_IsNull(json_get(root, "loss")));
    cr_expect(cJSON_IsNull(json_get(root, "ece")));
    cr_expect_float_eq(json_get(root, "accuracy")->valuedouble, 0.5, 1e-15);
    cr_expect_float_eq(json_get(root, "macro_f1")->valuedouble, metrics_get(&m, "macro_f1"), 1e-15);
    cr_expect_float_eq(json_get(json_get(root, "f1"), "bad \"one\"")->valuedouble, 4.0 / 7, 1e-15);
    const cJSON *confusion = json_get(root, "confusion");
    cr_assert_eq(cJSON_GetArraySize(confusion), C);
    cr_expect_eq(cJSON_GetArrayItem(cJSON_GetArrayItem(confusion, 0), 1)->valueint, 1);
    cr_expect_eq(cJSON_GetArrayItem(cJSON_GetArrayItem(confusion, 2), 0)->valueint, 1);
    json_free(root);
    text_done(&json);
    arena_done(&arena);
}

Test(metrics, get_knows_the_names_of_the_points)
{
    struct metrics m;
    metrics_begin(&m, "classification");
    metrics_set(&m, "accuracy", 1);
    metrics_set(&m, "loss", 2);
    metrics_set(&m, "macro_f1", 3);
    metrics_set(&m, "ece", 4);
    metrics_set(&m, "perplexity", 5); /* it has none */
    cr_expect(isnan(metrics_get(&m, "perplexity")));
    cr_expect_eq(metrics_get(&m, "accuracy"), 1);
    cr_expect_eq(metrics_get(&m, "loss"), 2);
    cr_expect_eq(metrics_get(&m, "macro_f1"), 3);
    cr_expect_eq(metrics_get(&m, "ece"), 4);
    cr_expect(isnan(metrics_get(&m, "f1")));
}

/* Three tokens of loss 1 and one of loss 5: (3 + 5)/4. */
Test(metrics, of_language_models_every_token_counts_the_same)
{
    struct arena arena = {0};
    real loss[2] = {1, 5};
    int32_t tokens[2] = {3, 1}, prediction[2] = {-1, -1};
    struct predictions p = {.n = 2, .labels = tokens, .predicted = prediction, .losses = loss, .n_tokens = tokens};
    struct metrics m;
    metrics_begin(&m, "causal");
    metrics_of_tokens(&m, &p);
    cr_expect_float_eq(metrics_get(&m, "loss"), 2, 1e-12);
    cr_expect_float_eq(metrics_get(&m, "perplexity"), exp(2), 1e-12);
    cr_expect(isnan(metrics_get(&m, "accuracy")) && isnan(metrics_get(&m, "brier")) &&
              isnan(metrics_get(&m, "adaptive_ece")));
    arena_done(&arena);
}

Test(metrics, a_full_arena_is_an_error)
{
    struct arena arena;
    arena_init(&arena, 64);
    real probabilities[N * C];
    fill(probabilities, even);
    struct predictions p = {.n = N,
                            .n_classes = C,
                            .labels = labels,
                            .predicted = predicted,
                            .losses = losses,
                            .probabilities = probabilities};
    struct metrics m;
    struct err err = {0};
    metrics_begin(&m, "classification");
    cr_expect_eq(metrics_of_classes(&m, &p, &arena, &err), ERR_NOMEM);
    arena_done(&arena);
}

/* x: 1, 2, 3, 4; targets 1, 3, 2, 10: by hand, and scipy's pearsonr and spearmanr. */
Test(metrics, of_numbers)
{
    struct arena arena = {0};
    real values[4] = {1, 2, 3, 4}, targets[4] = {1, 3, 2, 10}, losses_of[4] = {0, 1, 1, 36},
         even_targets[4] = {5, 5, 5, 5};
    struct predictions p = {.n = 4, .losses = losses_of, .values = values, .targets = targets};
    struct metrics m;
    struct err err = {0};
    metrics_begin(&m, "regression");
    cr_assert_eq(metrics_of_numbers(&m, &p, &arena, &err), 0, "%s", err.message);
    cr_expect_float_eq(metrics_get(&m, "mse"), 9.5, 1e-12);
    cr_expect_float_eq(metrics_get(&m, "loss"), 9.5, 1e-12);
    cr_expect_float_eq(metrics_get(&m, "pearson"), 13 / sqrt(5.0 * 50), 1e-12);
    cr_expect_float_eq(metrics_get(&m, "spearman"), 0.8, 1e-12);
    p.targets = even_targets; /* nothing varies: they do not go together */
    cr_assert_eq(metrics_of_numbers(&m, &p, &arena, &err), 0);
    cr_expect_eq(metrics_get(&m, "pearson"), 0);
    cr_expect_eq(metrics_get(&m, "spearman"), 0);
    /* Ranks of 1, 1, 2, 2 are 1.5, 1.5, 3.5, 3.5. */
    real tied[4] = {1, 1, 2, 2};
    p.values = tied;
    p.targets = targets;
    cr_assert_eq(metrics_of_numbers(&m, &p, &arena, &err), 0);
    cr_expect_float_eq(metrics_get(&m, "spearman"), 2 / sqrt(4.0 * 5), 1e-12);
    arena_done(&arena);
}
