/* The counterfactual swap: does the answer change with gendered words (docs/checks.md)? */
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
        rc = trial->job->task_kind->encode(trial, dataset, &rows, err);
    rows.path = NULL;
    rows_done(&rows);
    return rc;
}

/* [flipped, Δp] an item, Δp = p(last class | second) − p(last class | first). */
static int send_result(struct trial *trial, const struct trial_check *check, const struct counterfactual *set,
                       const struct predictions *first, const struct predictions *second, struct arena *arena,
                       struct err *err)
{
    size_t classes = (size_t)first->n_classes, last = classes - 1;
    double *items = arena_calloc(arena, 2 * set->count + 1, sizeof(*items));
    if (!items)
        return err_set(err, ERR_NOMEM, "no memory for %zu pairs", set->count);
    for (size_t i = 0; i < set->count; i++) {
        items[2 * i] = first->predicted[i] != second->predicted[i];
        items[2 * i + 1] =
            (double)second->probabilities[i * classes + last] - (double)first->probabilities[i * classes + last];
    }
    check_send(trial, check, items, set->count, set->item_set_sha256);
    return 0;
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
        rc = send_result(trial, check, &set, &predictions[0], &predictions[1], &arena, err);
    dataset_done(&data[0]);
    dataset_done(&data[1]);
    arena_done(&arena);
    return rc;
}

static int fits(struct trial *trial, const struct trial_check *check, struct err *err)
{
    struct arena arena = {0};
    struct counterfactual set;
    int rc = counterfactual_read(&set, check->file, trial->job->test ? &trial->test_rows : NULL, &arena, err);
    arena_done(&arena);
    return rc;
}

const struct check_kind check_counterfactual = {.name = "counterfactual", .fits = fits, .run = run};
