/* Multiple choice: which of several texts goes with a text. Each choice is a sequence of its own, behind the text; a
 * head with one output scores it, and the softmax goes over an item's choices.   Zellers et al. 2018, arXiv:1808.05326;
 * Devlin et al. 2018, arXiv:1810.04805, 4.4 */
#include <stdlib.h>
#include <string.h>

#include "trainer/task.h"
#include "trainer/trial.h"

/* Choices are called by their number from 0. */
static int read_labels(struct trial *trial, struct err *err)
{
    const struct rows *rows = &trial->train_rows;
    int n = rows->count ? rows->items[0].list_count : 0;
    const char **names = calloc((size_t)n + 1, sizeof(*names));
    if (!names)
        return err_set(err, ERR_NOMEM, "no memory for %d choices", n);
    trial->labels = (struct labels){names, n};
    for (int c = 0; c < n; c++)
        if (!(names[c] = arena_printf(&trial->arena, "%d", c)))
            return err_set(err, ERR_NOMEM, "no memory for %d choices", n);
    return n > 1 ? 0
                 : err_set(err, ERR_DATA, "'%s', line %u: %d choices, at least two are needed", rows->path,
                           rows->count ? rows->items[0].line : 1, n);
}

/* The number of the right choice, or its text. */
static int find_label(const struct trial *trial, const struct rows *rows, const struct row *row, int32_t *label,
                      struct err *err)
{
    *label = 0;
    if (row->list_count != trial->labels.count)
        return err_set(err, ERR_DATA, "'%s', line %u: %d choices, %d were expected, as in the first training row",
                       rows->path, row->line, row->list_count, trial->labels.count);
    if (!row->label[0])
        return 0;
    *label = labels_find(&trial->labels, row->label);
    for (int c = 0; *label < 0 && c < row->list_count; c++)
        *label = strcmp(row->list[c], row->label) == 0 ? c : -1;
    return *label >= 0 ? 0
                       : err_set(err, ERR_DATA,
                                 "'%s', line %u: label '%s', the number of a choice from 0 to %d or its text was "
                                 "expected",
                                 rows->path, row->line, row->label, row->list_count - 1);
}

static int append(struct arena *arena, struct example *example, const struct encoding *part, struct err *err)
{
    size_t n = (size_t)example->n_tokens, added = (size_t)part->n;
    int32_t *ids = arena_alloc(arena, (n + added + 1) * sizeof(*ids));
    uint8_t *types = arena_alloc(arena, n + added + 1);
    if (!ids || !types)
        return err_set(err, ERR_NOMEM, "no memory for %zu tokens", n + added);
    if (n) {
        memcpy(ids, example->ids, n * sizeof(*ids));
        memcpy(types, example->type_ids, n);
    }
    memcpy(ids + n, part->ids, added * sizeof(*ids));
    memcpy(types + n, part->type_ids, added);
    example->ids = ids;
    example->type_ids = types;
    example->parts[example->n_parts++] = part->n;
    example->n_tokens += part->n;
    return 0;
}

static int encode_row(struct row_encoding *e, struct err *err)
{
    const struct trial *trial = e->trial;
    const struct row *row = e->row;
    struct dataset *dataset = e->dataset;
    struct example *example = &dataset->examples[dataset->count];
    struct arena *arena = &dataset->arena;
    *example = (struct example){.parts = arena_alloc(arena, ((size_t)row->list_count + 1) * sizeof(int32_t))};
    int rc = example->parts ? find_label(trial, e->rows, row, &example->label, err)
                            : err_set(err, ERR_NOMEM, "no memory for %d choices", row->list_count);
    bool is_cut = false;
    for (int c = 0; c < row->list_count && rc == 0; c++) {
        struct encoding part;
        const char *choice = row->list[c];
        if (row->pair) /* the choices go on behind the second text, as SWAG's endings do */
            choice = arena_printf(&e->scratch, "%s %s", row->pair, choice);
        rc = choice ? tokenizer_encode(trial->tokenizer, row->text, choice, trial->max_tokens, &e->scratch, &part, err)
                    : err_set(err, ERR_NOMEM, "no memory for a choice");
        if (rc == 0)
            rc = append(arena, example, &part, err);
        is_cut = is_cut || (rc == 0 && part.is_truncated);
    }
    dataset->count++;
    dataset->n_tokens += (size_t)example->n_tokens;
    dataset->n_truncated += is_cut;
    return rc;
}

static int encode(const struct trial *trial, struct dataset *dataset, const struct rows *rows, struct err *err)
{
    return task_encode_rows(trial, dataset, rows, encode_row, err);
}

/* Sequences of an item follow each other, and all items have as many. */
static struct value *loss(struct pass *pass, struct loss_options options, struct task_result *result)
{
    int n = pass->batch->n_items, choices = pass->batch->layout.n_segments / n;
    struct value *x = pass->model->kind->classify(pass);
    if (x)
        x->balanced_cols = 1; /* the softmax does not see what all choices have in common */
    return task_class_loss(pass, op_reshape(pass->tape, x, n, choices), options, result);
}

const struct task_kind task_multiple_choice = {
    .name = "multiple_choice",
    .model_task = TASK_CHOICE,
    .n_outputs = 1,
    .read_labels = read_labels,
    .encode = encode,
    .weight = task_weight_one,
    .loss = loss,
    .start = task_class_start,
    .keep = task_class_keep,
    .measure = task_class_measure,
    .add_answer = task_class_answer,
};
