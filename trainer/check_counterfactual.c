/* The counterfactual swap: does the answer change with gendered words (docs/checks.md)? */
#include <math.h>
#include <string.h>

#include "trainer/check.h"
#include "trainer/counterfactual.h"

/* A data set of texts whose labels are of no interest. */
static int encode_texts(struct trial *trial, const struct counterfactual *set, bool is_second, struct dataset *dataset,
                        struct err *err)
{
    struct rows rows = {.path = (char *)(uintptr_t) "check"};
    int rc = 0;
    for (size_t i = 0; i < set->count && rc == 0; i++) {
        struct row row = {.text = is_second ? set->pairs[i].second : set->pairs[i].first,
                          .label = trial->labels.names[0],
                          .line = (uint32_t)i + 1};
        rc = rows_add(&rows, row, err);
    }
    if (rc == 0)
        rc = dataset_encode(dataset, &rows, &trial->labels, trial->tokenizer, trial->max_tokens, err);
    rows.path = NULL;
    rows_done(&rows);
    return rc;
}

static void add_item(struct text *items, size_t i, bool is_flipped, double difference)
{
    text_printf(items, "%s[%d,", i ? "," : "", is_flipped);
    if (isfinite(difference))
        text_add_double(items, difference);
    else
        text_add(items, "null");
    text_add(items, "]");
}

/* Δp = p(last class | second) − p(last class | first). */
static void send_result(struct trial *trial, const struct trial_check *check, const struct counterfactual *set,
                        const struct predictions *first, const struct predictions *second)
{
    double flips = 0, absolute = 0, signed_sum = 0, n = (double)set->count;
    size_t classes = (size_t)first->n_classes, last = classes - 1;
    struct text items = {0};
    for (size_t i = 0; i < set->count; i++) {
        bool is_flipped = first->predicted[i] != second->predicted[i];
        double difference =
            (double)second->probabilities[i * classes + last] - (double)first->probabilities[i * classes + last];
        flips += is_flipped;
        absolute += fabs(difference);
        signed_sum += difference;
        add_item(&items, i, is_flipped, difference);
    }
    records_point(trial->records, "bias/flip_rate", trial->progress.best_step, flips / n);
    records_point(trial->records, "bias/mean_absolute_difference", trial->progress.best_step, absolute / n);
    records_point(trial->records, "bias/signed_difference", trial->progress.best_step, signed_sum / n);
    struct text *line = check_begin(trial, check);
    text_add(line, ",\"metrics\":{\"flip_rate\":");
    text_add_double(line, flips / n);
    records_add_number(line, "mean_absolute_difference", absolute / n);
    records_add_number(line, "signed_difference", signed_sum / n);
    text_add(line, "}");
    records_add_int(line, "n_items", (int64_t)set->count);
    records_add_text(line, "item_set_sha256", set->item_set_sha256);
    text_printf(line, ",\"items\":[%s]", items.failed || !items.data ? "" : items.data);
    records_send(trial->records);
    text_done(&items);
}

static int run(struct trial *trial, const struct trial_check *check, struct err *err)
{
    struct arena arena = {0};
    struct counterfactual set;
    struct dataset data[2];
    struct predictions predictions[2];
    memset(data, 0, sizeof(data));
    int rc = counterfactual_read(&set, check->file, trial->job->test ? &trial->test_rows : NULL, &arena, err);
    for (int side = 0; side < 2 && rc == 0; side++) {
        rc = encode_texts(trial, &set, side == 1, &data[side], err);
        if (rc == 0)
            rc = trial_predict(trial, &data[side], &predictions[side], &arena, err);
    }
    if (rc == 0)
        send_result(trial, check, &set, &predictions[0], &predictions[1]);
    dataset_done(&data[0]);
    dataset_done(&data[1]);
    arena_done(&arena);
    return rc;
}

const struct check_kind check_counterfactual = {.name = "counterfactual", .run = run};
